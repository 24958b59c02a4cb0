/** What is left of a sealed first sync or of a conversion that is killed, cancelled, or finds the Backup full: through the real program. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { restoreFromBackup } from '../features/restore.ts';
import { verifyFiles } from '../features/verify.ts';
import type { GroupKey } from '../shared/keyring.ts';
import type { SparseOptions } from '../shared/options.ts';
import { REPOSITORY } from './helpers/cli.ts';
import { driveTest } from './helpers/drives.ts';
import { meaningAt } from './helpers/forms.ts';
import { type TestPair, withPair, withRealPair } from './helpers/pair.ts';
import { contents, GZIP, LZ4, put, SEALED, setForm, store } from './helpers/stored.ts';

const test = suite('stored Backups that are interrupted');
const MB = 1024 * 1024;

/** Starts the real program and does not wait for it. */
function start(pair: TestPair, args: readonly string[]): { child: ChildProcess; ended: Promise<unknown[]> } {
  const { config, data } = pair.box;
  const child = spawn(process.execPath, [join(REPOSITORY, 'tui', 'tandem.mjs'), ...args], {
    env: { ...process.env, TANDEM_CONFIG: config, TANDEM_DATA: data },
    stdio: 'ignore',
  });
  return { child, ended: once(child, 'close') };
}

async function until(condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 30_000; !condition(); ) {
    if (Date.now() > deadline) throw new Error('what the test waits for did not happen');
    await new Promise((done) => setTimeout(done, 5));
  }
}

const working = (pair: TestPair) => (): boolean => {
  const folder = join(pair.backup, '.tandem/partial');
  return existsSync(folder) && readdirSync(folder).length > 0;
};

/** Each file on the Backup opens and is the Master's, whatever its form; returns the paths that are there. */
function assertWhole(pair: TestPair, key: GroupKey): Set<string> {
  const found = new Set<string>();
  for (const [place, is] of Object.entries(contents(pair.backup))) {
    if (is === 'd') continue;
    const { path, content } = meaningAt(pair.backup, place, key);
    assert.ok(content === readFileSync(join(pair.master, path), 'utf8'), `${place} is whole`);
    found.add(path);
  }
  return found;
}

/** No run before is in the way of this one, and all is as it is to be. */
async function finishes(pair: TestPair, suffix: string): Promise<void> {
  const run = await pair.box.run(['sync', 'run', 'Archive', '--json'], { timeout: 120_000 });
  assert.is(run.code, 0, `${run.stdout}${run.stderr}`);
  const { problems, conflicts_detected } = run.json() as { problems: unknown[]; conflicts_detected: number };
  assert.equal([problems, conflicts_detected], [[], 0]);
  for (const [place, is] of Object.entries(contents(pair.backup)))
    assert.ok(is === 'd' || place.endsWith(suffix), `${place} is stored as it is to be`);
  const partial = join(pair.backup, '.tandem/partial');
  assert.equal(existsSync(partial) ? readdirSync(partial) : [], []);
  const verified = await verifyFiles('Archive', {}, pair.context());
  assert.equal([verified.status, verified.findings], ['completed', []]);
  const out = join(pair.box.root, 'out');
  await restoreFromBackup('Archive', { to: out }, pair.context());
  assert.equal(contents(out), contents(pair.master));
  rmSync(out, { recursive: true });
}

function fill(pair: TestPair, files: number, bytes: number): void {
  for (let index = 0; index < files; index += 1)
    put(pair.master, `d${index % 7}/file ${index}`, `${index} `.repeat(Math.ceil(bytes / 4)));
}

test('a sealed first sync is killed again and again: what is there opens, and the next run finishes', async () => {
  await withPair({}, async (pair) => {
    const key = await store(pair, { ...LZ4, ...SEALED });
    fill(pair, 1500, 4000);
    let kills = 0;
    for (let turn = 0; turn < 4; turn += 1) {
      const run = start(pair, ['sync', 'run', 'Archive', '--progress', 'none']);
      await until(() => working(pair)() || run.child.exitCode !== null);
      await new Promise((done) => setTimeout(done, Math.random() * 200));
      if (run.child.kill('SIGKILL')) kills += 1;
      await run.ended;
      assertWhole(pair, key);
    }
    assert.ok(kills >= 1);
    await finishes(pair, '.lz4.encrypted');
  });
});

test('conversions are killed, one after the other, each to another form: never two truths, and the last one finishes', async () => {
  await withPair({}, async (pair) => {
    const key = await store(pair, {});
    fill(pair, 1200, 3000);
    await pair.sync();
    const all = assertWhole(pair, key).size;
    const forms: SparseOptions[] = [SEALED, GZIP, {}, { ...LZ4, ...SEALED }];
    for (const form of forms) {
      await setForm(pair, form);
      const run = start(pair, ['sync', 'run', 'Archive', '--progress', 'none']);
      await until(() => working(pair)() || run.child.exitCode !== null);
      await new Promise((done) => setTimeout(done, 50 + Math.random() * 250));
      run.child.kill('SIGKILL');
      await run.ended;
      assert.is(assertWhole(pair, key).size, all, 'no file is gone in between');
    }
    await finishes(pair, '.lz4.encrypted');
  });
});

test('a conversion is cancelled, two runs meet, and it goes on from where it was', async () => {
  await withPair({}, async (pair) => {
    const key = await store(pair, {});
    fill(pair, 40, 2 * MB);
    await pair.sync();
    await setForm(pair, SEALED);
    const run = start(pair, ['sync', 'run', 'Archive', '--bwlimit', '8', '--progress', 'none']);
    await until(working(pair));
    assert.is((await pair.box.run(['sync', 'run', 'Archive'])).code, 7, 'the other run is refused');
    run.child.kill('SIGINT');
    assert.equal(await run.ended, [130, null]);
    assert.is(assertWhole(pair, key).size, 40);
    const other = await pair.box.run(['verify', 'run', 'Archive', '--json'], { timeout: 60_000 });
    assert.is(other.code, 0, `${other.stdout}${other.stderr}`);
    await finishes(pair, '.encrypted');
  });
});

driveTest(
  test,
  'the Backup is too full for a conversion: it says so, nothing is lost, and with room it goes on',
  [
    { label: 'Master', fs: 'ext4' },
    { label: 'Backup', fs: 'ext4', size: 24 * MB },
  ],
  async (drives) => {
    await withRealPair(drives, {}, async (pair) => {
      const key = await store(pair, {});
      for (let index = 0; index < 8; index += 1) put(pair.master, `f${index}`, randomBytes(MB).toString('hex'));
      await pair.sync();
      await setForm(pair, SEALED);
      const run = await pair.box.run(['sync', 'run', 'Archive', '--json', '--force', 'free-space'], {
        timeout: 60_000,
      });
      assert.ok([0, 4].includes(run.code), `${run.stdout}${run.stderr}`);
      assert.is(assertWhole(pair, key).size, 8);
      for (let turn = 0; turn < 4; turn += 1)
        await pair.box.run(['sync', 'run', 'Archive', '--force', 'free-space'], { timeout: 60_000 });
      await finishes(pair, '.encrypted');
    });
  },
);

for (const kind of ['ext4', 'exfat'] as const)
  driveTest(
    test,
    `the Backup (${kind}) is pulled in the middle of a conversion: exit 5, each file whole, the next run finishes`,
    [
      { label: 'Master', fs: 'ext4', size: 128 * MB },
      { label: 'Backup', fs: kind, size: 200 * MB },
    ],
    async (drives) => {
      await withRealPair(drives, {}, async (pair) => {
        const key = await store(pair, {});
        fill(pair, 30, 2 * MB);
        await pair.sync();
        await setForm(pair, SEALED);
        const run = start(pair, ['sync', 'run', 'Archive', '--bwlimit', '8', '--progress', 'none']);
        await until(working(pair));
        await new Promise((done) => setTimeout(done, 1500));
        drives[1]?.unplug();
        assert.equal(await run.ended, [5, null]);
        assert.equal(readdirSync(drives[1]?.mount ?? ''), [], 'nothing was written below the mount point');
        drives[1]?.replug();
        assert.is(assertWhole(pair, key).size, 30);
        await finishes(pair, '.encrypted');
      });
    },
  );

test.run();
