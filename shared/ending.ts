/** How a process that works in the background ends: within ten seconds, whatever it does at that moment. */
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits for work that was asked to end, and lets files in flight finish. After seven seconds `hard` is aborted: large
 * files stop too, to go on where they were at the next run. A drive that does not answer at all is left two seconds later.
 */
export async function endWithin(ended: Promise<unknown>, hard: AbortController): Promise<void> {
  const timer = setTimeout(() => hard.abort(), HARD_AFTER);
  try {
    await Promise.race([ended, sleep(LEFT_AFTER, undefined, { ref: false })]);
  } finally {
    clearTimeout(timer);
  }
}

// --- internal ---

const HARD_AFTER = 6500;
const LEFT_AFTER = 8500;
