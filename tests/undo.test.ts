/** `restore undo`: an operation's former state comes back to the byte, and no run takes that back. */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findPair, getOperation } from '../features/history.ts';
import { restoreFromBackup } from '../features/restore.ts';
import { resolvePaths } from '../features/settle.ts';
import { undoOperation } from '../features/undo.ts';
import { readConflicts } from '../shared/inbox.ts';
import { REPOSITORY } from './helpers/cli.ts';
import { driveTest } from './helpers/drives.ts';
import './helpers/inline-workers.ts';
import {
  archive,
  edit,
  refusal,
  type TestPair,
  usersTree,
  versionsOf,
  withPair,
  withRealPair,
} from './helpers/pair.ts';
import { world } from './helpers/world.ts';

const test = suite('undo');

const BEFORE = {
  'changed.txt': 'old content',
  'gone.txt': 'deleted later',
  'same.txt': 'same',
  'mode.txt': 'mode',
  'Folder/kept.txt': 'kept',
  'Old/a.txt': 'a',
  'Old/Deeper/b.txt': 'b',
  'Old/Empty/': null,
  'was-folder/x.txt': 'x',
  'was-folder/y/z.txt': 'z',
  'was-file': 'a file',
};

/** One of everything that a sync does to a Backup. */
function changeEverything(master: string): void {
  for (const gone of ['gone.txt', 'Old', 'was-folder', 'was-file']) rmSync(join(master, gone), { recursive: true });
  edit(master, {
    'changed.txt': 'new content',
    'New/fresh.txt': 'fresh',
    'New/Deep/more.txt': 'more',
    'Folder/added.txt': 'added',
    'was-folder': 'a file now',
    'was-file/inside.txt': 'in a folder now',
  });
  chmodSync(join(master, 'mode.txt'), 0o600);
  utimesSync(join(master, 'Folder'), 1_500_000_000, 1_500_000_000);
}

const TRASH = { options: { on_master_delete: 'trash' } } as const;

async function waiting({ ctx, master, backup }: TestPair): Promise<string[]> {
  const uuid = (root: string): string =>
    JSON.parse(readFileSync(join(root, '.tandem', 'drive.json'), 'utf8')).drive_uuid;
  const pairId = await findPair(uuid(master), uuid(backup), ctx);
  return pairId === null ? [] : (await readConflicts(pairId, '', ctx)).map(({ path }) => path);
}

async function thereAndBack(pair: TestPair): Promise<void> {
  await pair.sync();
  const former = usersTree(pair.backup);
  changeEverything(pair.master);
  const second = await pair.sync(TRASH);
  assert.is(second.status, 'completed', JSON.stringify(second.problems));
  const later = usersTree(pair.backup);
  assert.not.equal(later, former);

  const undone = await undoOperation(second.operation_id, {}, pair.ctx);
  assert.is(undone.status, 'completed', JSON.stringify(undone.problems));
  assert.equal(usersTree(pair.backup), former, 'the former tree');
  assert.equal((await getOperation(undone.operation_id, pair.ctx)).operation_type, 'undo');

  const master = usersTree(pair.master);
  const run = await pair.sync(TRASH);
  assert.is(run.status, 'completed', JSON.stringify(run.problems));
  assert.is(run.files_copied + run.files_deleted, 0, 'a run does not undo the undo');
  assert.equal(contents(usersTree(pair.backup)), contents(former));
  assert.equal(usersTree(pair.master), master, 'nor is the Master touched');
  assert.ok((await waiting(pair)).includes('changed.txt'));

  const again = await undoOperation(undone.operation_id, {}, pair.ctx);
  assert.is(again.status, 'completed', JSON.stringify(again.problems));
  assert.equal(contents(usersTree(pair.backup)), contents(later), 'an undo can be undone');
  const last = await pair.sync(TRASH);
  assert.is(last.files_copied + last.files_deleted + last.conflicts_detected, 0, JSON.stringify(await waiting(pair)));
}

/** Without the times of folders, which follow the Master at every run. */
function contents(tree: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(tree).map(([path, text]) => {
      const [mode = '', , , ...rest] = text.split(' ');
      return [path, (Number(mode) & 0o170000) === 0o040000 ? 'folder' : [mode, ...rest].join(' ')];
    }),
  );
}

test('update, delete, new, folders, type changes and metadata: there, back, held by a run, and there again', () =>
  withPair({ master: BEFORE }, thereAndBack));

driveTest(
  test,
  'the same on exFAT, which has neither hard links nor exchange nor file ids',
  [
    { label: 'M', fs: 'ext4' },
    { label: 'B', fs: 'exfat' },
  ],
  (drives) => withRealPair(drives, { master: BEFORE }, thereAndBack),
);

driveTest(
  test,
  'a former state that looks like the recorded one to the last bit is undone for good as well',
  [
    { label: 'M', fs: 'ext4' },
    { label: 'B', fs: 'exfat' },
  ],
  (drives) =>
    withRealPair(drives, { master: { 'a.txt': { content: 'old content', mtime: 1_700_000_000 } } }, async (pair) => {
      await pair.sync();
      world({ 'a.txt': { content: 'new content', mtime: 1_700_000_000 } }, pair.master);
      const second = await pair.sync();
      assert.is(second.files_copied, 1, 'ext4 tells them apart');
      await undoOperation(second.operation_id, {}, pair.ctx);
      const run = await pair.sync();
      assert.equal([run.files_copied, run.conflicts_detected], [0, 1]);
      assert.is(readFileSync(join(pair.backup, 'a.txt'), 'utf8'), 'old content');
      assert.equal(await waiting(pair), ['a.txt']);
    }),
);

test('a first sync is undone: everything it made goes to the trash', async () => {
  await withPair({ master: { 'a.txt': 'a', 'D/b.txt': 'b', 'D/E/': null } }, async (pair) => {
    const first = await pair.sync();
    const undone = await undoOperation(first.operation_id, {}, pair.ctx);
    assert.is(undone.status, 'completed', JSON.stringify(undone.problems));
    assert.equal(usersTree(pair.backup), {});
    assert.equal(versionsOf(pair.backup, undone.operation_id), [
      ['D/b.txt', 'b'],
      ['a.txt', 'a'],
    ]);
    assert.is((await pair.sync()).files_copied, 0, 'held until the user decides');
  });
});

test('what changed since is refused path by path; the rest is undone; a second undo finds nothing to do', async () => {
  await withPair({ master: { 'a.txt': 'a1', 'b.txt': 'b1', 'c.txt': 'c1' } }, async (pair) => {
    await pair.sync();
    edit(pair.master, { 'a.txt': 'a2!', 'b.txt': 'b2!' });
    rmSync(join(pair.master, 'c.txt'));
    const second = await pair.sync(TRASH);
    edit(pair.master, { 'b.txt': 'b3!!' });
    await pair.sync(TRASH);
    writeFileSync(join(pair.backup, 'c.txt'), 'put there by hand');
    const undone = await undoOperation(second.operation_id, {}, pair.ctx);
    assert.is(undone.status, 'failed');
    assert.equal(undone.problems.map(({ path }) => path).sort(), ['b.txt', 'c.txt']);
    assert.is(readFileSync(join(pair.backup, 'a.txt'), 'utf8'), 'a1');
    assert.is(readFileSync(join(pair.backup, 'b.txt'), 'utf8'), 'b3!!');
    assert.is(readFileSync(join(pair.backup, 'c.txt'), 'utf8'), 'put there by hand');
    const before = usersTree(pair.backup);
    const twice = await undoOperation(second.operation_id, {}, pair.ctx);
    assert.is(twice.problems.length, 3, JSON.stringify(twice.problems));
    assert.equal(usersTree(pair.backup), before);
  });
});

test('versions that were pruned are refused, files beside new ones keep their folder', async () => {
  await withPair({ master: { 'a.txt': 'a1' } }, async (pair) => {
    await pair.sync();
    edit(pair.master, { 'a.txt': 'a2!', 'New/x.txt': 'x' });
    const second = await pair.sync();
    rmSync(join(pair.backup, '.tandem', 'trash', second.operation_id), { recursive: true });
    mkdirSync(join(pair.backup, 'New'), { recursive: true });
    writeFileSync(join(pair.backup, 'New/own.txt'), 'mine');
    const undone = await undoOperation(second.operation_id, {}, pair.ctx);
    assert.is(undone.status, 'failed');
    assert.match(undone.problems.find(({ path }) => path === 'a.txt')?.message ?? '', /trash|pruned/);
    assert.is(readFileSync(join(pair.backup, 'a.txt'), 'utf8'), 'a2!');
    assert.is(readFileSync(join(pair.backup, 'New/own.txt'), 'utf8'), 'mine');
    assert.not.ok(existsSync(join(pair.backup, 'New/x.txt')));
  });
});

test('a restore and a resolution are undone on the Master, and the undone state can be made to stand', async () => {
  await withPair({ master: { 'a.txt': 'old' } }, async (pair) => {
    await pair.sync();
    edit(pair.master, { 'a.txt': 'newer' });
    const former = usersTree(pair.master);
    const restored = await restoreFromBackup('Archive', {}, pair.ctx);
    assert.is(readFileSync(join(pair.master, 'a.txt'), 'utf8'), 'old');
    const undone = await undoOperation(restored.operation_id, {}, pair.ctx);
    assert.is(undone.status, 'completed', JSON.stringify(undone.problems));
    assert.equal(usersTree(pair.master), former);
    assert.is((await pair.sync()).files_copied, 0);
    assert.equal(await waiting(pair), ['a.txt']);
    const keep = new Map([['a.txt', 'master' as const]]);
    const resolved = await resolvePaths(archive(pair.ctx), { keep }, pair.ctx);
    assert.is(resolved.status, 'completed', JSON.stringify(resolved.problems));
    assert.is(readFileSync(join(pair.backup, 'a.txt'), 'utf8'), 'newer');
    assert.equal(await waiting(pair), []);
    const back = await undoOperation(resolved.operation_id, {}, pair.ctx);
    assert.is(back.status, 'completed', JSON.stringify(back.problems));
    assert.is(readFileSync(join(pair.backup, 'a.txt'), 'utf8'), 'old');
  });
});

test('an operation that never was, and one of nothing', async () => {
  await withPair({ master: { 'a.txt': 'a' } }, async (pair) => {
    await pair.sync();
    const nothing = await pair.sync();
    assert.is((await refusal(undoOperation(nothing.operation_id, {}, pair.ctx))).code, 'invalid');
    assert.is((await refusal(undoOperation('ffffffff', {}, pair.ctx))).code, 'not_found');
  });
});

test('new work in a folder that was undone is copied; what was undone in it waits', async () => {
  await withPair({ master: { keep: 'k' } }, async (pair) => {
    await pair.sync();
    edit(pair.master, { 'new/a': 'a', file: 'was a file' });
    const run = await pair.sync();
    await undoOperation(run.operation_id, {}, pair.ctx);
    assert.not(existsSync(join(pair.backup, 'new')));
    edit(pair.master, { 'new/b': 'b' });
    const next = await pair.sync();
    assert.equal([next.status, next.files_copied, next.problems], ['completed', 1, []]);
    assert.equal([existsSync(join(pair.backup, 'new/a')), existsSync(join(pair.backup, 'new/b'))], [false, true]);
  });
});

test('where an undone file stays, a folder that was to take its place waits with all it holds', async () => {
  await withPair({ master: { x: 'first' } }, async (pair) => {
    await pair.sync();
    edit(pair.master, { x: 'second' });
    const run = await pair.sync();
    await undoOperation(run.operation_id, {}, pair.ctx);
    rmSync(join(pair.master, 'x'));
    edit(pair.master, { 'x/y': 'below' });
    const next = await pair.sync();
    assert.equal([next.status, next.files_copied, next.problems], ['completed', 0, []]);
    assert.is(readFileSync(join(pair.backup, 'x'), 'utf8'), 'first');
  });
});

test('kill -9 in an undo: every path holds one of its contents, nothing is lost, no run takes it back', async () => {
  await withPair({}, async (pair) => {
    const names = Array.from({ length: 1500 }, (_, n) => `F${n % 10}/${n}.txt`);
    edit(pair.master, Object.fromEntries(names.map((name) => [name, `old ${name}`])));
    await pair.sync();
    edit(pair.master, Object.fromEntries(names.map((name) => [name, `newer ${name}`])));
    // All of it is meant to change.
    const second = await pair.sync({}, pair.context({ force: ['mass-change'] }));
    const program = [join(REPOSITORY, 'tui', 'tandem.mjs'), 'restore', 'undo', second.operation_id];
    const env = { ...process.env, TANDEM_CONFIG: pair.box.config, TANDEM_DATA: pair.box.data };
    const child = spawn(process.execPath, program, { env, stdio: 'ignore', detached: true });
    const ended = new Promise((done) => child.on('close', done));
    const moved = (): boolean => names.some((name) => readFileSync(join(pair.backup, name), 'utf8').startsWith('old'));
    for (let tries = 0; tries < 300 && !moved() && child.exitCode === null; tries += 1)
      await new Promise((done) => setTimeout(done, 10));
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    await ended;
    const run = await pair.sync({}, pair.context());
    assert.is(run.files_copied, 0, 'no run takes it back');
    const kept = new Set(versionsOf(pair.backup).map(([, content]) => content));
    for (const name of names) {
      const now = readFileSync(join(pair.backup, name), 'utf8');
      assert.ok(now === `old ${name}` || now === `newer ${name}`, `${name} is whole`);
      const other = now === `old ${name}` ? `newer ${name}` : `old ${name}`;
      assert.ok(kept.has(other), `${name}: the other content is kept`);
    }
  });
});

test.run();
