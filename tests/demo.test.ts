import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type DemoResult, runDemo } from '../features/demo.ts';
import { createContext } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import { type CliResult, REPOSITORY, run } from './helpers/cli.ts';
import { skipped } from './helpers/drives.ts';
import { treeOf } from './helpers/world.ts';

const test = suite('demo');

/** A folder of its own as temporary folder and as home, so that whatever is left behind shows. */
async function withHome(work: (home: { root: string; temporary: string }) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'tandem-demo-test-'));
  const temporary = join(root, 'tmp');
  mkdirSync(temporary);
  try {
    await work({ root, temporary });
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function demo(home: { root: string; temporary: string }, ...args: string[]): Promise<CliResult> {
  const { root, temporary } = home;
  const own = (name: string): string => join(root, 'home', name);
  const env = { TMPDIR: temporary, HOME: own(''), TANDEM_CONFIG: own('config'), TANDEM_DATA: own('data') };
  const cache = { XDG_CACHE_HOME: join(root, 'cache') };
  return run(['demo', ...args], { env: { ...env, ...cache }, timeout: 60_000 });
}

/** What tandem left; the loader of the sources keeps a cache of its own there. */
const left = (folder: string): string[] => readdirSync(folder).filter((name) => name.startsWith('tandem'));

test('the whole run: every claim printed, nothing left behind, nothing outside', async () => {
  await withHome(async (home) => {
    const { code, stdout, stderr } = await demo(home);
    assert.is(code, 0, stderr);
    assert.is(stderr, '');
    assert.match(stdout, /\$ tandem groups create Archive --master PhotoMaster --backup PhotoBackup/);
    assert.match(stdout, /✓ 22 copied, .*\n.*every byte, name, link, mode and time compared/);
    assert.match(stdout, /✓ 0 copied, 22 unchanged/);
    assert.match(stdout, /the older version is PhotoBackup\/\.tandem\/trash\/[\w-]{36}\/.*IMG_0102\.xmp/);
    assert.match(stdout, /1 conflict: notes\.txt \(modified_both/);
    assert.match(stdout, /1 conflict \(deleted_master.*the Backup still has it/);
    assert.match(stdout, /\$ tandem sync run Archive --delete\n.*1 moved to the trash/);
    assert.match(stdout, /history\.csv has 7 rows/);
    assert.match(stdout, /All of it checked in/);
    assert.ok(stdout.split('\n').length < 55, 'short enough for one look');
    assert.equal(left(home.temporary), []);
    assert.is(existsSync(join(home.root, 'home')), false, 'no settings, no journal outside');
  });
});

test('--json: one document with every step, its command and what it said', async () => {
  await withHome(async (home) => {
    const result = (await demo(home, '--json')).json() as DemoResult;
    assert.is(result.kept, false);
    assert.is(existsSync(result.folder), false);
    const runs = result.steps.filter(({ command }) => command.startsWith('tandem sync run Archive'));
    const counts = runs.map((step) => {
      const { status, files_copied, files_deleted, conflicts_detected } = step.result as Record<string, unknown>;
      return [status, files_copied, files_deleted, conflicts_detected];
    });
    assert.equal(counts, [
      ['completed', 22, 0, 0],
      ['completed', 0, 0, 0],
      ['completed', 1, 0, 0],
      ['completed', 0, 0, 1],
      ['completed', 0, 0, 0],
      ['completed', 0, 0, 1],
      ['completed', 0, 1, 0],
    ]);
    for (const { title, command, result: said, checked } of result.steps) {
      assert.ok(title !== '' && command !== '');
      if (said !== null) assert.ok(checked.length > 0, `nothing is claimed of: ${command}`);
    }
  });
});

test('--keep keeps a folder in which one can go on', async () => {
  await withHome(async (home) => {
    const { code, stdout } = await demo(home, '--keep');
    assert.is(code, 0);
    const [name, ...others] = left(home.temporary);
    assert.equal(others, []);
    const folder = join(home.temporary, name ?? '');
    assert.match(stdout, `cd ${folder}; export TANDEM_CONFIG=$PWD/config TANDEM_DATA=$PWD/data`);
    const env = { TANDEM_CONFIG: join(folder, 'config'), TANDEM_DATA: join(folder, 'data') };
    const status = await run(['sync', 'status', 'Archive', '--json'], { env });
    assert.is((status.json() as { in_sync: boolean }).in_sync, true);
    const master = treeOf(join(folder, 'PhotoMaster'));
    assert.equal(treeOf(join(folder, 'PhotoBackup')), master);
    assert.is(master['Latest']?.symlink, '2026-05 Müller/JPG');
    assert.ok('Exports/' in master && '2026-06 東京/東京タワー_0001.JPG' in master);
    const version = /older version is (\S+\/2026-05 Müller\/\S+)/.exec(stdout)?.[1] ?? '';
    assert.match(readFileSync(join(folder, version), 'utf8'), /<Rating>3<\/Rating>/);
    assert.is(readFileSync(join(folder, 'history.csv'), 'utf8').split('\n').length, 9);
  });
});

test('the media are the same in every run', async () => {
  await withHome(async ({ root }) => {
    const trees = [];
    for (const name of ['one', 'two']) {
      const ctx = createContext({ configDir: join(root, 'none'), dataDir: join(root, 'none') });
      const { folder, kept } = await runDemo({ dir: join(root, name) }, ctx);
      assert.is(kept, true);
      trees.push(treeOf(join(folder, 'PhotoMaster'), ['mtime']));
    }
    assert.equal(trees[0], trees[1]);
    assert.is(existsSync(join(root, 'none')), false);
  });
});

test('--dir: a folder that holds anything, or is none, is refused and stays as it is', async () => {
  await withHome(async (home) => {
    const full = join(home.root, 'full');
    mkdirSync(full);
    writeFileSync(join(full, '.hidden'), 'mine');
    const refused = await demo(home, '--dir', full);
    assert.is(refused.code, 2);
    assert.match(refused.stderr, /is not empty: it holds 1 entry/);
    assert.equal(treeOf(full, ['mode', 'mtime']), { '.hidden': { content: 'mine' } });
    const file = await demo(home, '--dir', join(full, '.hidden'));
    assert.is(file.code, 2);
    assert.match(file.stderr, /cannot be made/);
    assert.equal(left(home.temporary), []);
  });
});

test('--dir with a hostile name works, is kept, and does not reach the terminal', async () => {
  await withHome(async (home) => {
    const dir = join(home.root, "it's\n\u001b[31m a: #folder");
    const { code, stdout, stderr } = await demo(home, '--dir', dir);
    assert.is(code, 0, stderr);
    assert.not.match(stdout, '\u001b');
    assert.equal(readdirSync(dir).sort(), ['PhotoBackup', 'PhotoMaster', 'config', 'data', 'history.csv']);
    assert.is((await demo(home, '--dir', dir)).code, 2, 'a second run does not go over the first');
  });
});

test('a Backup that differs in one byte, size and time alike, makes the run fail', async () => {
  await withHome(async ({ root }) => {
    const dir = join(root, 'practice');
    const copy = join(dir, 'PhotoBackup', '2026-05 Müller', 'JPG', 'IMG_0103.JPG');
    let spoilt = false;
    const now = (): Date => {
      if (!spoilt && existsSync(copy)) {
        const { status } = spawnSync('sh', [
          '-c',
          'touch -r "$1" "$1.t" && printf x | dd of="$1" bs=1 conv=notrunc 2>&1 && touch -r "$1.t" "$1" && rm "$1.t"',
          'sh',
          copy,
        ]);
        assert.is(status, 0);
        spoilt = true;
      }
      return new Date();
    };
    const ctx = createContext({ configDir: join(root, 'none'), dataDir: join(root, 'none'), now });
    const error = await runDemo({ dir }, ctx).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    assert.ok(spoilt);
    assert.instance(error, TandemError);
    const { code, exitCode, message, hint } = error as TandemError;
    assert.equal([code, exitCode], ['failed', 1]);
    assert.match(message, /failed after step 3 .*does not hold: every byte/);
    assert.match(hint ?? '', dir);
  });
});

test('Ctrl-C ends it as cancelled, and the temporary folder goes too', async () => {
  await withHome(async ({ root, temporary }) => {
    const before = process.env['TMPDIR'];
    process.env['TMPDIR'] = temporary;
    try {
      const ctx = createContext({
        configDir: join(root, 'none'),
        dataDir: join(root, 'none'),
        signal: AbortSignal.abort(),
      });
      const error = await runDemo({}, ctx).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      assert.is((error as TandemError).code, 'cancelled');
      assert.equal(left(temporary), []);
    } finally {
      if (before === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = before;
    }
  });
});

/** Another user with no right but to pass through folders: those above a test's own are root's alone. */
const NOBODY = ['--reuid=65534', '--regid=65534', '--clear-groups'].concat(
  ['inh-caps', 'ambient-caps', 'bounding-set'].map((set) => `--${set}=-all,+dac_read_search`),
);

function asNobody(words: readonly string[], home: string): { status: number | null; output: string } {
  const env = { PATH: process.env['PATH'] ?? '', TMPDIR: home, HOME: home };
  const options = { cwd: home, env, encoding: 'utf8', timeout: 60_000 } as const;
  const { status, stdout, stderr } = spawnSync('setpriv', [...NOBODY, ...words], options);
  return { status, output: `${stdout ?? ''}${stderr ?? ''}` };
}

test('it takes no root rights', async () => {
  await withHome(async ({ temporary }) => {
    chmodSync(temporary, 0o777);
    if (process.getuid?.() !== 0 || asNobody(['id', '-u'], temporary).output !== '65534\n') {
      skipped('it takes no root rights', 'another user cannot be tried here');
      return;
    }
    const { status, output } = asNobody([process.execPath, join(REPOSITORY, 'tui', 'tandem.mjs'), 'demo'], temporary);
    assert.is(status, 0, output);
    assert.match(output, 'All of it checked');
    assert.equal(left(temporary), []);
  });
});

test.run();
