/**
 * `npx tsx tests/bench/watch.ts [files per folder] [folders]`: how soon a watcher of a large tree is ready, how long a change
 * takes to the Backup beyond the debounce, and what the process weighs. Drives are virtual, on tmpfs where there is one.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Watcher } from '../../features/watch.ts';
import { watchTree } from '../../shared/tree-events.ts';
import { archive, withPair } from '../helpers/pair.ts';

if (existsSync('/dev/shm')) process.env['TMPDIR'] = '/dev/shm';
const [files = 10, folders = 5000] = process.argv.slice(2).map(Number);
const CHANGES = 20;
const DEBOUNCE = 0.5;

await withPair({}, async (pair) => {
  for (let folder = 0; folder < folders; folder += 1) {
    const path = join(pair.master, `${folder % 50}/${folder}`);
    mkdirSync(path, { recursive: true });
    for (let file = 0; file < files; file += 1) writeFileSync(join(path, `${file}.raw`), `${file}`);
  }
  await pair.sync();
  const began = performance.now();
  const nothing = (): void => {};
  const tree = await watchTree(
    pair.master,
    { ignored: (path) => path.startsWith('.tandem'), patience: 600_000 },
    { changed: nothing, blind: console.error, sighted: nothing, flooded: nothing },
  );
  await tree.ready;
  console.log(`ready: ${Math.round(performance.now() - began)} ms for ${files * folders} files in ${folders} folders`);
  await tree.close();
  const watcher = new Watcher(archive(pair.ctx), pair.ctx, { debounce: DEBOUNCE });
  await watcher.start();
  const took: number[] = [];
  for (let change = 0; change < CHANGES; change += 1) {
    const path = `${change % 50}/${change % 50}/changed${change}.raw`;
    const start = performance.now();
    writeFileSync(join(pair.master, path), `${change}`);
    while (!existsSync(join(pair.backup, path))) await new Promise((done) => setTimeout(done, 5));
    took.push(performance.now() - start - DEBOUNCE * 1000);
    await new Promise((done) => setTimeout(done, 1000));
  }
  console.log(`each: ${took.map(Math.round).join(', ')} ms`);
  took.sort((a, b) => a - b);
  const at = (share: number): number => Math.round(took[Math.floor(took.length * share)] ?? 0);
  console.log(`change to Backup beyond the debounce: median ${at(0.5)} ms, p95 ${at(0.95)} ms`);
  const before = process.cpuUsage();
  await new Promise((done) => setTimeout(done, 20_000));
  const { user, system } = process.cpuUsage(before);
  console.log(`idle: ${((user + system) / 200_000).toFixed(2)} % of a core`);
  const memory = /^VmRSS:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  console.log(`memory: ${Math.round(Number(memory) / 1024)} MB resident, the bench and its file system included`);
  await watcher.close();
});
