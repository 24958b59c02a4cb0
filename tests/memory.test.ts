/** What a process that runs for weeks does about its memory. */
import { spawnSync } from 'node:child_process';
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { Script } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { atWork, collectGarbage } from '../shared/memory.ts';
import { REPOSITORY } from './helpers/cli.ts';
import { pause } from './helpers/watching.ts';

const test = suite('memory');

/** Prints by how many bytes buffers of 200 kB make the heap grow after a large buffer was freed. */
const script = (first: string): string => `
import { readFileSync } from 'node:fs';
import { keepMemoryTogether } from '${REPOSITORY}/shared/memory.ts';
const heap = () => {
  const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) .*\\[heap\\]$/m.exec(readFileSync('/proc/self/maps', 'latin1'));
  return parseInt(to, 16) - parseInt(from, 16);
};
${first};
let large = Buffer.allocUnsafeSlow(30_000_000);
large = undefined;
gc();
await new Promise((done) => setTimeout(done, 50));
const before = heap();
const kept = Array.from({ length: 200 }, () => Buffer.allocUnsafeSlow(200_000));
console.log(heap() - before, kept.length);
`;

test('large buffers do not come out of the heap, where they would leave gaps', () => {
  const growth = (first: string): number => {
    const words = ['--expose-gc', '--import', 'tsx', '--input-type=module', '--eval', script(first)];
    const { stdout, stderr } = spawnSync(process.execPath, words, { cwd: REPOSITORY, encoding: 'utf8' });
    assert.match(stdout, /^\d+ 200/, stderr);
    return Number(stdout.split(' ')[0]);
  };
  // Other C libraries never do that.
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  if (header.glibcVersionRuntime !== undefined) assert.ok(growth('') > 20_000_000, 'what it is about');
  assert.ok(growth('keepMemoryTogether()') < 5_000_000);
});

/** How often somebody other than V8 had garbage collected during `work`. */
async function collections(work: () => Promise<void>): Promise<number> {
  let count = 0;
  const note = (entries: readonly object[]): void => {
    for (const entry of entries) {
      const { flags } = (entry as { detail: { flags: number } }).detail;
      if (flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED) count += 1;
    }
  };
  const observer = new PerformanceObserver((list) => note(list.getEntries()));
  observer.observe({ entryTypes: ['gc'] });
  try {
    await work();
    await pause(50);
    note(observer.takeRecords());
  } finally {
    observer.disconnect();
  }
  return count;
}

const RESTED = 6200;

test('what work leaves behind is collected twice, when none has been under way for a while', async () => {
  const [one, other] = [atWork(), atWork()];
  one();
  one();
  assert.is(await collections(() => pause(RESTED)), 0, 'the other goes on');
  other();
  assert.is(
    await collections(async () => {
      await pause(RESTED / 2);
      atWork()();
      await pause(RESTED / 2);
    }),
    0,
    'it has to be quiet for a while',
  );
  assert.is(await collections(() => pause(2 * RESTED)), 2);
  assert.is(await collections(() => pause(RESTED)), 0, 'nothing was done since');
});

test('code that was compiled before garbage was collected serves after it, and the other way round', () => {
  const source = 'function one() { return 1; } one();';
  const rejected = (cachedData: Buffer): boolean | undefined => new Script(source, { cachedData }).cachedDataRejected;
  const before = new Script(source).createCachedData();
  collectGarbage();
  assert.is(rejected(before), false);
  assert.is(rejected(new Script(source).createCachedData()), false);
});

test('threads that rest at the same moment do not take the collector from each other', async () => {
  const barrier = new Int32Array(new SharedArrayBuffer(4));
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    import('tsx/esm/api').then(async ({ register }) => {
      register();
      const { collectGarbage } = await import('${REPOSITORY}/shared/memory.ts');
      parentPort.postMessage('ready');
      Atomics.wait(workerData, 0, 0);
      collectGarbage();
      parentPort.postMessage('done');
      parentPort.close();
    });`;
  const threads = Array.from({ length: 12 }, () => new Worker(code, { eval: true, workerData: barrier }));
  const heard = (word: string): Promise<unknown> =>
    Promise.all(
      threads.map(
        (thread) =>
          new Promise<void>((done, fail) => {
            thread.once('error', fail);
            thread.on('message', (said) => said === word && done());
          }),
      ),
    );
  try {
    const done = heard('done');
    await heard('ready');
    Atomics.store(barrier, 0, 1);
    Atomics.notify(barrier, 0);
    await done;
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
});

test.run();
