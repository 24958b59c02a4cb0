/** Inside a worker thread: carries out the tasks of shared/workers.ts one after the other. */
import { parentPort, workerData } from 'node:worker_threads';
import { WorkerTransfer } from './columns.ts';
import type { Control } from './content.ts';
import { errnoOf, messageOf } from './errors.ts';
import { type Algorithm, hasherFactory } from './hash.ts';
import { CANCEL, PAUSE, STOP, type TaskMessage, type WorkerData, type WorkerReply } from './workers.ts';

const data = workerData as WorkerData;
const state = new Int32Array(data.shared, 0, 1);
const bytes = new BigInt64Array(data.shared, 8, 1);
const junk = new Set(data.junk);
let told = 0;

/** Blocks here while the run is paused. */
function current(): number {
  let now = Atomics.load(state, 0);
  while (now === PAUSE) {
    Atomics.wait(state, 0, PAUSE, 1000);
    now = Atomics.load(state, 0);
  }
  return now;
}

const control: Control = {
  stop: () => current() === STOP,
  cancel: () => current() >= CANCEL,
  moved: (count) => void Atomics.add(bytes, 0, BigInt(count)),
  holding: (path) => {
    const now = Date.now();
    if (now - told < 100) return;
    told = now;
    reply({ holding: path });
  },
};

function reply(message: WorkerReply): void {
  parentPort?.postMessage(JSON.stringify(message));
}

const isJunk = (name: string): boolean => junk.has(name) || name.startsWith('._');
const ready = hasherFactory(data.algorithm).then((newHasher) => new WorkerTransfer(data.session, newHasher, control));

/** Puts in what cannot be sent to a thread. */
async function withFunctions(task: TaskMessage['task'], args: unknown[]): Promise<unknown[]> {
  if (task === 'remove') return [args[0], isJunk];
  if (task === 'hash') return [args[0], args[1], await hasherFactory(args[2] as Algorithm)];
  return args;
}

parentPort?.on('message', async (text: string) => {
  const { id, task, args } = JSON.parse(text) as TaskMessage;
  const transfer = await ready;
  try {
    const method = transfer[task] as (...values: unknown[]) => unknown;
    const result = method.apply(transfer, await withFunctions(task, args));
    reply({ id, result });
  } catch (error) {
    reply({ id, error: { message: messageOf(error), code: errnoOf(error) } });
  } finally {
    transfer.close();
  }
});
