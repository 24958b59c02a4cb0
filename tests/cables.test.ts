/** Real accidents of real runs: kill -9 fifty times, a cable pulled ten times, a drive that is full to the last byte. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statfsSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SyncResult } from '../features/sync.ts';
import { REPOSITORY } from './helpers/cli.ts';
import { driveTest, type TestDrive } from './helpers/drives.ts';
import { inMemory } from './helpers/memory.ts';
import { edit, type TestPair, versionsOf, withPair, withRealPair } from './helpers/pair.ts';
import { treeOf } from './helpers/world.ts';

const test = suite('cables');
const MB = 1024 * 1024;

/** Most of these small trees changes from run to run. */
const MEANT = ['--force', 'mass-change'];

const sync = (pair: TestPair): Promise<SyncResult> => pair.sync({}, pair.context({ force: ['mass-change'] }));

function start(pair: TestPair): ChildProcess {
  return spawn(
    process.execPath,
    [join(REPOSITORY, 'tui/tandem.mjs'), 'sync', 'run', 'Archive', '--progress', 'none', ...MEANT],
    {
      env: { ...process.env, TANDEM_CONFIG: pair.box.config, TANDEM_DATA: pair.box.data },
      stdio: 'ignore',
    },
  );
}

const pause = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));

function isWorking(pair: TestPair): boolean {
  try {
    return readdirSync(join(pair.backup, '.tandem/partial')).length > 0;
  } catch {
    return false;
  }
}

/** Returns once files are on their way, or the run is over. */
async function untilWorking(pair: TestPair, child: ChildProcess): Promise<void> {
  while (child.exitCode === null && child.signalCode === null && !isWorking(pair)) await pause(2);
}

const contents = (root: string): Map<string, string> =>
  new Map(
    Object.entries(treeOf(root, ['mode', 'mtime'])).flatMap(([path, { content }]): [string, string][] =>
      content === undefined ? [] : [[path, content]],
    ),
  );

/** Every file of the Backup has its former or its new content, and what was replaced is a version. */
function assertWhole(pair: TestPair, former: ReadonlyMap<string, string>): void {
  const master = contents(pair.master);
  const backup = contents(pair.backup);
  for (const [path, content] of backup)
    assert.ok(content === master.get(path) || content === former.get(path), `${path} is neither old nor new`);
  const versions = new Set(versionsOf(pair.backup).map(([, content]) => content));
  for (const [path, content] of former) {
    assert.ok(backup.has(path), `${path} is gone`);
    const kept = backup.get(path) === content || content.startsWith('sha256:') || versions.has(content);
    assert.ok(kept, `the former content of ${path} is gone`);
  }
}

test('kill -9, fifty times, in syncs of many small files and a large one', async () => {
  await inMemory(() =>
    withPair({}, async (pair) => {
      let [kills, round] = [0, 0];
      let former = new Map<string, string>();
      const turn = (): void => {
        round += 1;
        mkdirSync(join(pair.master, 'small'), { recursive: true });
        for (let index = 0; index < 300; index += 1) {
          if (round > 1 && index % 4 !== round % 4) continue;
          writeFileSync(join(pair.master, `small/${index}`), `${round} of ${index}`);
          utimesSync(join(pair.master, `small/${index}`), 1e9 + round, 1e9 + round);
        }
        writeFileSync(join(pair.master, 'large'), Buffer.alloc(8 * MB, round));
        utimesSync(join(pair.master, 'large'), 1e9 + round, 1e9 + round);
      };
      turn();
      for (let attempt = 0; kills < 50; attempt += 1) {
        assert.ok(attempt < 120, `${kills} kills in ${attempt} runs`);
        const child = start(pair);
        const ended = once(child, 'exit');
        await untilWorking(pair, child);
        await pause(Math.random() * 90);
        child.kill('SIGKILL');
        await ended;
        assertWhole(pair, former);
        if (child.signalCode === 'SIGKILL') kills += 1;
        if (child.signalCode === 'SIGKILL' && kills % 5 !== 0) continue;
        assert.is((await sync(pair)).status, 'completed');
        assert.equal(contents(pair.backup), contents(pair.master));
        former = contents(pair.backup);
        turn();
      }
      assert.is((await sync(pair)).conflicts_detected, 0);
    }),
  );
});

driveTest(
  test,
  'the Backup is pulled ten times in mid-copy: nothing half, nothing beside it, and in the end all is there',
  [
    { label: 'Master', fs: 'ext4', size: 160 * MB },
    { label: 'Backup', fs: 'ext4', size: 320 * MB },
  ],
  async (drives) => {
    const backup = drives[1] as TestDrive;
    const big = (round: number): Record<string, Buffer> =>
      Object.fromEntries(
        Array.from({ length: 12 }, (_, index) => [`f${index}`, Buffer.alloc(2 * MB, round * 16 + index)]),
      );
    await withRealPair(drives, { master: { ...big(0), small: 'old' } }, async (pair) => {
      let former = new Map<string, string>();
      for (let round = 1; round <= 10; round += 1) {
        const child = start(pair);
        const ended = once(child, 'exit');
        await untilWorking(pair, child);
        await pause(Math.random() * 60);
        backup.unplug();
        await ended;
        assert.ok(child.exitCode === 5 || child.exitCode === 0, `exit ${child.exitCode}`);
        assert.equal(readdirSync(backup.mount), [], 'nothing was written below the mount point');
        backup.replug();
        assertWhole(pair, former);
        if (round % 3 !== 0) continue;
        assert.is((await sync(pair)).status, 'completed');
        former = contents(pair.backup);
        edit(pair.master, { [`f${round}`]: Buffer.alloc(3 * MB, 200 + round), small: `new ${round}` });
      }
      assert.equal((await sync(pair)).conflicts_detected, 0);
      const wanted = contents(pair.master);
      for (const [path, content] of wanted) assert.is(contents(pair.backup).get(path), content, path);
    });
  },
);

driveTest(
  test,
  'a drive of 64 MB that is full to the last byte: files fail one by one, old ones stay, room mends it',
  [
    { label: 'Master', fs: 'ext4', size: 64 * MB },
    { label: 'Backup', fs: 'ext4', size: 64 * MB },
  ],
  async (drives) => {
    await withRealPair(drives, { master: { a: 'old', 'd/b': 'old' } }, async (pair) => {
      await sync(pair);
      const former = contents(pair.backup);
      const filler = join(pair.backup, 'filler');
      writeFileSync(filler, '');
      for (let size = 4 * MB; size >= 1; size = Math.floor(size / 4)) {
        try {
          for (;;) writeFileSync(filler, Buffer.alloc(size, 7), { flag: 'a' });
        } catch {
          // No room for so much: smaller pieces go on.
        }
      }
      assert.ok(statfsSync(pair.backup).bavail < 2, 'the drive is full');
      edit(pair.master, { a: 'x'.repeat(9000), 'd/b': 'y'.repeat(9000), 'd/new': 'z'.repeat(9000) });
      const full = await pair.box.run(['sync', 'run', 'Archive', '--force', 'free-space']);
      assert.ok([1, 4].includes(full.code), `exit ${full.code}: ${full.stderr}`);
      for (const [path, content] of former) assert.is(contents(pair.backup).get(path), content, `${path} stays`);
      writeFileSync(filler, '');
      assert.is((await pair.box.run(['sync', 'run', 'Archive'])).code, 3, 'the filler is a conflict, all else is done');
      for (const [path, content] of contents(pair.master)) assert.is(contents(pair.backup).get(path), content, path);
      assert.ok(existsSync(filler) && readFileSync(filler, 'utf8') === '');
      assert.is(versionsOf(pair.backup).filter(([, content]) => content === 'old').length, 2);
    });
  },
);

test.run();
