/** The launcher's code cache: it makes a start faster, and nothing that happens to it makes one fail. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { VERSION } from '../shared/feature.ts';
import { REPOSITORY, sandbox } from './helpers/cli.ts';

const test = suite('launcher');

// The bundle is run only while it is made of the sources that are here.
test.before(() => {
  const { status, stderr } = spawnSync(process.execPath, [join(REPOSITORY, 'tui', 'build.mjs')], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
});

async function withCache(work: (home: string, folder: string, start: () => Promise<void>) => Promise<void>) {
  const home = mkdtempSync(join(tmpdir(), 'tandem-cache-'));
  const box = sandbox();
  const start = async (): Promise<void> => {
    const { code, stdout, stderr } = await box.run(['--version'], { env: { XDG_CACHE_HOME: home } });
    assert.equal([code, stdout, stderr], [0, `${VERSION}\n`, '']);
  };
  try {
    await work(home, join(home, 'tandem', 'code'), start);
  } finally {
    box.cleanup();
    rmSync(home, { recursive: true, force: true });
  }
}

const only = (folder: string): string => {
  const names = readdirSync(folder);
  assert.is(names.length, 1, names.join(' '));
  return join(folder, names[0] ?? '');
};

test('a run leaves one file that is for the user alone, and the next run leaves it as it is', () =>
  withCache(async (_, folder, start) => {
    await start();
    const file = only(folder);
    assert.equal([statSync(folder).mode & 0o777, statSync(file).mode & 0o777], [0o700, 0o600]);
    const { ino, mtimeMs } = statSync(file);
    await start();
    assert.equal([statSync(only(folder)).ino, statSync(file).mtimeMs], [ino, mtimeMs]);
  }));

test('a damaged, short, empty or unreadable cache is not run, and is replaced', () =>
  withCache(async (_, folder, start) => {
    await start();
    const file = only(folder);
    const whole = readFileSync(file);
    const flipped = Buffer.from(whole);
    flipped[whole.length >> 1] = (flipped[whole.length >> 1] ?? 0) ^ 1;
    for (const bytes of [flipped, whole.subarray(0, whole.length >> 1), Buffer.alloc(0)]) {
      writeFileSync(file, bytes);
      await start();
      assert.not(readFileSync(only(folder)).equals(bytes));
    }
    rmSync(file);
    mkdirSync(file);
    await start();
    assert.equal(readdirSync(folder).length, 1, 'nothing half-written stays behind');
  }));

test('a folder that others may write is neither read nor written', () =>
  withCache(async (_, folder, start) => {
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o777);
    await start();
    assert.equal(readdirSync(folder), []);
  }));

test('a place where nothing can be written costs only time', () =>
  withCache(async (home, _, start) => {
    writeFileSync(join(home, 'tandem'), 'a file');
    await start();
    await start();
  }));

test('a command that fails is not remembered', () =>
  withCache(async (home, folder) => {
    const box = sandbox();
    try {
      const { code } = await box.run(['snyc'], { env: { XDG_CACHE_HOME: home } });
      assert.is.not(code, 0);
      assert.throws(() => readdirSync(folder), /ENOENT/);
    } finally {
      box.cleanup();
    }
  }));

test.run();
