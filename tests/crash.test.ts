/** What is left when a run is killed, cancelled, paused, or meets another one: through the real program. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listConflicts, resolveConflicts } from '../features/conflicts.ts';
import { getOperation, listOperations } from '../features/history.ts';
import { setControl } from '../features/steering.ts';
import { thisProcess } from '../shared/machine.ts';
import { REPOSITORY, type Sandbox } from './helpers/cli.ts';
import { age, edit, type TestPair, versionsOf, withPair } from './helpers/pair.ts';
import { treeOf } from './helpers/world.ts';

const test = suite('crash');
const MB = 1024 * 1024;

interface Running {
  child: ChildProcess;
  stderr: () => string;
  stdout: () => string;
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

/** Starts the real program and does not wait for it. */
function start(box: Sandbox, args: readonly string[], env: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, [join(REPOSITORY, 'tui', 'tandem.mjs'), ...args], {
    env: { ...process.env, TANDEM_CONFIG: box.config, TANDEM_DATA: box.data, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (text) => {
    stdout += String(text);
  });
  child.stderr?.on('data', (text) => {
    stderr += String(text);
  });
  const ended = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
  }));
  return { child, stdout: () => stdout, stderr: () => stderr, ended };
}

async function until(condition: () => boolean | Promise<boolean>, milliseconds = 15_000): Promise<void> {
  for (const deadline = Date.now() + milliseconds; !(await condition()); ) {
    if (Date.now() > deadline) throw new Error('what the test waits for did not happen');
    await new Promise((done) => setTimeout(done, 5));
  }
}

const working = (pair: TestPair) => (): boolean => {
  const folder = join(pair.backup, '.tandem/partial');
  return existsSync(folder) && readdirSync(folder).length > 0;
};

/** Big enough that a run of one lane takes seconds. */
function bigWorld(pair: TestPair, files = 40, megabytes = 6): void {
  for (let index = 0; index < files; index += 1) {
    mkdirSync(join(pair.master, `d${index % 4}`), { recursive: true });
    writeFileSync(join(pair.master, `d${index % 4}/f${index}`), Buffer.alloc(megabytes * MB, index + 1));
  }
  age(pair.master);
}

/** Each file of the Backup is whole: the Master's content as it is or as it was. */
function assertWhole(pair: TestPair, former: Record<string, string>): void {
  const now = treeOf(pair.master);
  for (const [path, leaf] of Object.entries(treeOf(pair.backup))) {
    if (path.endsWith('/')) continue;
    assert.ok(
      leaf.content === now[path]?.content || leaf.content === former[path],
      `${path} is neither the old nor the new content`,
    );
  }
}

function assertNoSharedInodes(backup: string): void {
  const live = new Set<string>();
  const visit = (folder: string, found: (path: string, inode: string) => void, skip: string): void => {
    for (const entry of existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : []) {
      const path = join(folder, entry.name);
      if (entry.name === skip) continue;
      if (entry.isDirectory()) visit(path, found, skip);
      else found(path, String(lstatSync(path, { bigint: true }).ino));
    }
  };
  visit(backup, (_, inode) => live.add(inode), '.tandem');
  visit(
    join(backup, '.tandem/trash'),
    (path, inode) => assert.not(live.has(inode), `${path} is a second name of a live file`),
    '',
  );
}

for (const [how, env] of [
  ['exchange', {}],
  ['hard links', { TANDEM_NO_FFI: '1' }],
] as [string, Record<string, string>][]) {
  test(`killed at random moments (${how}): every file whole, every version kept, the next run finishes`, async () => {
    await withPair({}, async (pair) => {
      const names = Array.from({ length: 1000 }, (_, index) => `d${index % 20}/s${index % 3}/file ${index}`);
      const write = (round: number): void => {
        for (const [index, name] of names.entries()) {
          if (round > 0 && index % 3 !== round % 3) continue;
          mkdirSync(join(pair.master, name, '..'), { recursive: true });
          writeFileSync(join(pair.master, name), `${round} ${name} ${'x'.repeat((index * 37) % 4000)}`);
          utimesSync(join(pair.master, name), 1e9 + round, 1e9 + round);
        }
      };
      // Round after round replaces far more than half of all files.
      const forced = ['sync', 'run', 'Archive', '--force', 'mass-change'];
      write(0);
      await pair.sync();
      const deadline = Date.now() + 16_000;
      let kills = 0;
      let round = 0;
      while (kills < 8 && Date.now() < deadline) {
        const former = Object.fromEntries(
          Object.entries(treeOf(pair.backup)).map(([path, { content }]) => [path, content ?? '']),
        );
        round += 1;
        write(round);
        for (let attempt = 0; attempt < 2; attempt += 1) {
          const run = start(pair.box, [...forced, '--progress', 'none'], env);
          await until(() => working(pair)() || run.child.exitCode !== null);
          await new Promise((done) => setTimeout(done, Math.random() * 250));
          const killed = run.child.kill('SIGKILL');
          const { signal } = await run.ended;
          if (!killed || signal !== 'SIGKILL') break;
          kills += 1;
          assertWhole(pair, former);
        }
        const next = await pair.box.run([...forced, '--json'], { env });
        assert.is(next.code, 0, `${next.stdout}${next.stderr}`);
        assert.equal(treeOf(pair.backup, ['mtime']), treeOf(pair.master, ['mtime']));
        assertNoSharedInodes(pair.backup);
        const versions = new Set(versionsOf(pair.backup).map(([, content]) => content));
        const now = treeOf(pair.master);
        const lost = Object.entries(former).filter(
          ([path, content]) => !path.endsWith('/') && now[path]?.content !== content && !versions.has(content),
        );
        assert.equal(
          lost.map(([path]) => path),
          [],
          'every replaced content is kept as a version',
        );
      }
      assert.ok(kills >= 3, `${kills} kills`);
      const interrupted = (await listOperations({ limit: 'all' }, pair.ctx)).filter(
        ({ status }) => status === 'failed',
      );
      assert.equal([...new Set(interrupted.map(({ reason }) => reason))], ['interrupted']);
      assert.ok(interrupted.length <= kills);
      assert.equal(readdirSync(join(pair.backup, '.tandem/partial')), []);
      assert.equal((await pair.plan()).actions, []);
    });
  });
}

test('Ctrl-C: files in flight are finished, exit 130, the journal says cancelled, the next run goes on', async () => {
  await withPair({}, async (pair) => {
    bigWorld(pair);
    const run = start(pair.box, ['sync', 'run', 'Archive', '--parallel', '1', '--json']);
    await until(working(pair));
    run.child.kill('SIGINT');
    assert.is((await run.ended).code, 130, run.stderr());
    assertWhole(pair, {});
    const [operation] = await listOperations({ limit: 1 }, pair.ctx);
    assert.is(operation?.status, 'cancelled');
    assert.not(existsSync(join(pair.backup, '.tandem/lock')));
    assert.is((await pair.sync()).status, 'completed');
    assert.equal(treeOf(pair.backup), treeOf(pair.master));
  });
});

test('Ctrl-C twice stops at once and leaves no half file under a name', async () => {
  await withPair({}, async (pair) => {
    bigWorld(pair, 2, 300);
    const run = start(pair.box, ['sync', 'run', 'Archive', '--parallel', '1', '--json']);
    await until(working(pair));
    const since = Date.now();
    run.child.kill('SIGINT');
    await new Promise((done) => setTimeout(done, 100));
    run.child.kill('SIGINT');
    assert.is((await run.ended).code, 130, run.stderr());
    assert.ok(Date.now() - since < 30_000);
    assertWhole(pair, {});
    assert.is((await listOperations({ limit: 1 }, pair.ctx))[0]?.status, 'cancelled');
  });
});

test('from another process: pause holds, resume goes on, cancel ends with 130', async () => {
  await withPair({}, async (pair) => {
    bigWorld(pair, 60, 8);
    const run = start(pair.box, ['sync', 'run', 'Archive', '--parallel', '1', '--json']);
    let id = '';
    await until(async () => {
      id = (await listOperations({ limit: 1 }, pair.ctx))[0]?.uuid ?? '';
      return id !== '' && working(pair)();
    });
    assert.is((await pair.box.run(['sync', 'pause', id.slice(0, 8)])).code, 0);
    await until(async () => (await getOperation(id, pair.ctx)).progress?.paused === true);
    const bytes = async (): Promise<number> => (await getOperation(id, pair.ctx)).progress?.bytes_done ?? -1;
    await new Promise((done) => setTimeout(done, 600));
    const held = await bytes();
    await new Promise((done) => setTimeout(done, 700));
    assert.is(await bytes(), held, 'a paused run moves nothing');
    assert.is(run.child.exitCode, null);
    assert.is((await pair.box.run(['sync', 'resume', id])).code, 0);
    await until(async () => (await getOperation(id, pair.ctx)).progress?.paused === false);
    await setControl(await getOperation(id, pair.ctx), 'cancel', pair.ctx);
    assert.is((await run.ended).code, 130, run.stderr());
    assertWhole(pair, {});
    assert.is((await pair.box.run(['sync', 'cancel', id])).code, 2, 'what has ended cannot be cancelled');
    assert.is((await pair.sync()).status, 'completed');
    assert.equal(treeOf(pair.backup), treeOf(pair.master));
  });
});

test('--detach prints the id at once, the run goes on by itself and shows in the history', async () => {
  await withPair({}, async (pair) => {
    bigWorld(pair, 10, 4);
    const detached = await pair.box.run(['sync', 'run', 'Archive', '--detach', '--json']);
    assert.is(detached.code, 0, detached.stderr);
    const { operation_id } = detached.json() as { operation_id: string };
    await until(async () => (await getOperation(operation_id, pair.ctx)).status !== 'running');
    const operation = await getOperation(operation_id, pair.ctx);
    assert.equal([operation.status, operation.files_copied], ['completed', 10]);
    assert.equal(treeOf(pair.backup), treeOf(pair.master));
    const failing = await pair.box.run(['sync', 'run', 'nothing', '--detach']);
    assert.is(failing.code, 2);
  });
});

test('two runs at once: one works, the other is refused with 7 or waits; both ends are clean', async () => {
  await withPair({}, async (pair) => {
    bigWorld(pair);
    const first = start(pair.box, ['sync', 'run', 'Archive', '--parallel', '1', '--json']);
    await until(working(pair));
    const refused = await pair.box.run(['sync', 'run', 'Archive']);
    assert.is(refused.code, 7, refused.stdout);
    assert.match(refused.stderr, String(first.child.pid));
    const waiting = await pair.box.run(['sync', 'run', 'Archive', '--lock-wait', '60s', '--json']);
    assert.is((await first.ended).code, 0, first.stderr());
    assert.is(waiting.code, 0, waiting.stderr);
    assert.is((waiting.json() as { files_copied: number }).files_copied, 0);
    assert.equal(treeOf(pair.backup), treeOf(pair.master));
    for (const root of [pair.master, pair.backup]) assert.not(existsSync(join(root, '.tandem/lock')));
  });
});

test('a run that loses its lock stops before the next batch and says so', async () => {
  await withPair({}, async (pair) => {
    bigWorld(pair, 60, 8);
    const run = start(pair.box, ['sync', 'run', 'Archive', '--parallel', '1', '--json']);
    await until(working(pair));
    const stolen = JSON.stringify({ token: 'stolen', counter: 0, ...thisProcess() }).padEnd(1024);
    writeFileSync(join(pair.backup, '.tandem/lock'), stolen);
    const { code } = await run.ended;
    assert.is(code, 7, `${run.stdout()}${run.stderr()}`);
    assert.is(readFileSync(join(pair.backup, '.tandem/lock'), 'utf8').trim(), stolen.trim(), "the other's lock stays");
    assertWhole(pair, {});
    assert.is((await listOperations({ limit: 1 }, pair.ctx))[0]?.status, 'failed');
    assert.is((await pair.box.run(['sync', 'run', 'Archive'])).code, 7);
    assert.is((await pair.box.run(['sync', 'run', 'Archive', '--break-lock'], { timeout: 60_000 })).code, 0);
    assert.equal(treeOf(pair.backup), treeOf(pair.master));
  });
});

test('the drive becomes an empty folder in mid-run: exit 5, and the folder stays empty', async () => {
  await withPair({}, async (pair) => {
    bigWorld(pair);
    const { renameSync } = await import('node:fs');
    const run = start(pair.box, ['sync', 'run', 'Archive', '--parallel', '1']);
    await until(working(pair));
    renameSync(pair.backup, `${pair.backup}-away`);
    mkdirSync(pair.backup);
    assert.is((await run.ended).code, 5, run.stderr());
    assert.equal(readdirSync(pair.backup), []);
    rmSync(pair.backup, { recursive: true });
    renameSync(`${pair.backup}-away`, pair.backup);
    assertWhole(pair, {});
    assert.is((await pair.sync()).status, 'completed');
  });
});

test('the signature is taken away in mid-run: exit 6 before the next batch', async () => {
  await withPair({}, async (pair) => {
    bigWorld(pair, 60, 8);
    const run = start(pair.box, ['sync', 'run', 'Archive', '--parallel', '1', '--force']);
    await until(working(pair));
    rmSync(join(pair.backup, '.tandem/drive.json'));
    assert.is((await run.ended).code, 6, `${run.stdout()}${run.stderr()}`);
    assert.match(run.stderr(), 'signature');
  });
});

test('killed between two runs of appends: a growing file is never recorded as something it was not', async () => {
  await withPair({ master: { log: 'start\n' } }, async (pair) => {
    for (let turn = 0; turn < 4; turn += 1) {
      appendFileSync(join(pair.master, 'log'), `line ${turn}\n`);
      const run = start(pair.box, ['sync', 'run', 'Archive']);
      appendFileSync(join(pair.master, 'log'), `late ${turn}\n`);
      if (turn % 2 === 0) setTimeout(() => run.child.kill('SIGKILL'), 200 + turn * 40);
      await run.ended;
    }
    edit(pair.master, { other: '1' });
    await pair.sync();
    await pair.sync();
    const content = (root: string): string => readFileSync(join(root, 'log'), 'utf8');
    const conflicts = await listConflicts('Archive', undefined, pair.ctx);
    if (conflicts.length > 0) {
      // Killed between putting in place and recording, and the Master grew once more: nothing tells whose the Backup's is.
      assert.equal(
        conflicts.map(({ path, conflict_type }) => [path, conflict_type]),
        [['log', 'modified_both']],
      );
      assert.ok(content(pair.master).startsWith(content(pair.backup)), 'a state that the Master once had');
      await resolveConflicts('Archive', { log: 'keep_master' }, pair.ctx);
    }
    assert.is(content(pair.backup), content(pair.master));
  });
});

test.run();
