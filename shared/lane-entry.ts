/** Inside a helper thread: takes its part of a large sealed file, and tells what went wrong. */
import { parentPort, workerData } from 'node:worker_threads';
import { failureOf, Lane, type LanePlan } from './seal-lanes.ts';

const lane = new Lane(workerData as LanePlan);
try {
  while (lane.step());
} catch (error) {
  // At once, and not only when the message has arrived.
  lane.stop();
  parentPort?.postMessage(failureOf(error));
}
