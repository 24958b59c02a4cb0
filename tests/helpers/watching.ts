/** A watcher on a test's pair, and waits for what it brings about. */
import fs, { readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { listOperations, type Operation } from '../../features/history.ts';
import { Watcher, type WatcherOptions } from '../../features/watch.ts';
import { archive, type TestPair, usersTree } from './pair.ts';

export interface Watched {
  watcher: Watcher;
  /** Each state it was in, one after the other. */
  states: string[];
  /** Until both sides are equal and no run is under way. Throws after `limit` milliseconds, with what differs. */
  agreed(limit?: number): Promise<void>;
  /** Operations since the watcher was ready, oldest first. */
  operations(): Promise<Operation[]>;
}

/** Starts a watcher, runs `work`, and closes it. */
export async function watched(
  pair: TestPair,
  options: WatcherOptions,
  work: (watched: Watched) => Promise<void>,
): Promise<void> {
  const states: string[] = [];
  const watcher = new Watcher(archive(pair.ctx), pair.ctx, {
    debounce: 0.2,
    ...options,
    onState: (state) => {
      if (states.at(-1) !== state) states.push(state);
    },
  });
  const all = async (): Promise<Operation[]> => (await listOperations({ limit: 'all' }, pair.ctx)).reverse();
  try {
    // What was written a moment ago is still being written to a watcher: the first look would leave it to a later one.
    await pause(SETTLED_MS);
    await watcher.start();
    const before = (await all()).length;
    await work({
      watcher,
      states,
      agreed: (limit = LONG_MS) =>
        until(async () => {
          const running = await listOperations({ status: 'running', limit: 1 }, pair.ctx);
          return difference(pair) ?? (running.length === 0 || 'a run has not ended');
        }, limit),
      operations: async () => (await all()).slice(before),
    });
  } finally {
    await watcher.close();
  }
}

/** Asks until the answer is true. @throws with the last other answer after `limit` milliseconds. */
export async function until(
  question: () => true | string | false | Promise<true | string | false>,
  limit = LONG_MS,
): Promise<void> {
  for (const end = Date.now() + limit; ; ) {
    const answer = await question();
    if (answer === true) return;
    if (Date.now() > end) throw new Error(`It did not come about within ${limit} ms: ${answer}`);
    await pause(50);
  }
}

/** As if the system allowed no more than so many watches; only in this process. */
export async function withFewWatches(most: number, work: () => Promise<void>): Promise<void> {
  const { watch } = fs;
  let left = most;
  fs.watch = ((...args: Parameters<typeof watch>) => {
    left -= 1;
    if (left < 0) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    return watch(...args);
  }) as typeof watch;
  syncBuiltinESMExports();
  try {
    await work();
  } finally {
    fs.watch = watch;
    syncBuiltinESMExports();
  }
}

/** More changes in this folder than the queue of the kernel holds, as long as nobody empties it. */
export function overflow(folder: string): void {
  const most = Number(readFileSync('/proc/sys/fs/inotify/max_queued_events', 'utf8'));
  const files = [join(folder, 'one'), join(folder, 'other')] as const;
  for (const file of files) writeFileSync(file, '');
  // The same file twice in a row would be one event.
  for (let event = 0; event < most * 1.2; event += 1) utimesSync(files[event % 2] as string, event, event);
}

/** On a slow and busy machine all takes its time. */
const LONG_MS = 90_000;
/** Longer than the debounce of these tests, and than the clocks of the drives need to tell two changes apart. */
const SETTLED_MS = 500;

export const pause = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));

// --- internal ---

/** The time of a folder alone waits for the next look at everything. */
function treeOf(root: string): Record<string, string> {
  const tree = usersTree(root);
  for (const [path, text] of Object.entries(tree)) {
    const [mode = ''] = text.split(' ');
    if ((Number(mode) & 0o170000) === 0o040000) tree[path] = mode;
  }
  return tree;
}

function difference({ master, backup }: TestPair): string | undefined {
  try {
    const [one, other] = [treeOf(master), treeOf(backup)];
    const wrong = [...new Set([...Object.keys(one), ...Object.keys(other)])].filter(
      (path) => one[path] !== other[path],
    );
    return wrong.length === 0
      ? undefined
      : wrong
          .slice(0, 5)
          .map((path) => `${path}: ${one[path]} / ${other[path]}`)
          .join('; ');
  } catch (error) {
    // Something vanished between two looks.
    return String(error);
  }
}
