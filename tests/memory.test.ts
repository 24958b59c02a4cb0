/** What a process that runs for weeks does about its memory. */
import { spawnSync } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { REPOSITORY } from './helpers/cli.ts';

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

test.run();
