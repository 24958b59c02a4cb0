/** `restore undo` of renames and hard links: names come back by renames, and what is in the way is never overwritten. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listOperations } from '../features/history.ts';
import { planUndo, undoOperation } from '../features/undo.ts';
import { REPOSITORY } from './helpers/cli.ts';
import { driveTest } from './helpers/drives.ts';
import './helpers/inline-workers.ts';
import { edit, type TestPair, usersTree, versionsOf, withPair, withRealPair } from './helpers/pair.ts';

const test = suite('undo-renames');

const TRASH = { options: { on_master_delete: 'trash' } } as const;

/** Content by path; folders without theirs. */
function contents(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  const visit = (folder: string, prefix: string): void => {
    for (const { name, ...entry } of readdirSync(folder, { withFileTypes: true }).map((one) => ({
      name: one.name,
      folder: one.isDirectory(),
    }))) {
      if (prefix === '' && (name === '.tandem' || name === 'lost+found')) continue;
      if (entry.folder) {
        found[`${prefix}${name}/`] = '';
        visit(join(folder, name), `${prefix}${name}/`);
      } else found[prefix + name] = readFileSync(join(folder, name), 'utf8');
    }
  };
  visit(root, '');
  return Object.fromEntries(Object.entries(found).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function numbers(root: string): Map<number, string> {
  return new Map(
    (readdirSync(root, { recursive: true }) as string[])
      .filter((path) => !path.startsWith('.tandem'))
      .map((path) => [lstatSync(join(root, path)).ino, path]),
  );
}

/** The work, its undo, a run that leaves that alone, the undo of the undo, and a run that finds nothing to do. */
async function thereAndBack(pair: TestPair, work: () => void, moved: number): Promise<void> {
  const first = await pair.sync();
  assert.is(first.status, 'completed');
  const former = usersTree(pair.backup);
  const formerContents = contents(pair.backup);
  work();
  const run = await pair.sync(TRASH, pair.context({ force: ['mass-change'] }));
  assert.equal([run.status, run.files_moved], ['completed', moved], JSON.stringify(run.problems));
  const later = contents(pair.backup);
  assert.equal(later, contents(pair.master));

  const before = usersTree(pair.backup);
  const { plans } = await planUndo(run.operation_id, pair.ctx);
  assert.equal(
    plans.flatMap(({ refused }) => refused),
    [],
  );
  assert.equal(usersTree(pair.backup), before, 'a plan writes nothing');
  const undone = await undoOperation(run.operation_id, {}, pair.ctx);
  assert.equal([undone.status, undone.bytes_copied, undone.problems], ['completed', 0, []]);
  assert.equal(contents(pair.backup), formerContents);
  assert.equal(usersTree(pair.backup), former, 'with times and permissions');

  const next = await pair.sync(TRASH, pair.context({ force: ['mass-change'] }));
  assert.equal(
    [next.status, next.files_copied, next.files_moved, next.files_deleted, next.problems],
    ['completed', 0, 0, 0, []],
    'a run does not undo the undo',
  );
  assert.equal(contents(pair.backup), formerContents);
  assert.equal(contents(pair.master), later, 'nor is the Master touched');
  assert.ok(next.conflicts_detected > 0);

  const again = await undoOperation(undone.operation_id, {}, pair.ctx);
  assert.equal([again.status, again.problems], ['completed', []]);
  assert.equal(contents(pair.backup), later, 'an undo can be undone');
  const last = await pair.sync(TRASH, pair.context({ force: ['mass-change'] }));
  assert.equal(
    [last.status, last.files_copied, last.files_moved, last.files_deleted, last.conflicts_detected],
    ['completed', 0, 0, 0, 0],
  );
}

interface Case {
  before: Record<string, string | null>;
  work(master: string): void;
  moved: number;
}

const to = (root: string, from: string, path: string): void => {
  mkdirSync(join(root, path, '..'), { recursive: true });
  renameSync(join(root, from), join(root, path));
};

const CASES: Record<string, Case> = {
  'a file, and one that was edited too': {
    before: { a: 'first', 'D/b': 'second', keep: 'k' },
    work: (root) => {
      to(root, 'a', 'renamed');
      to(root, 'D/b', 'D/c');
    },
    moved: 2,
  },
  'a folder with all that is in it, and work in it under the new name': {
    before: { 'D/a': 'a', 'D/b': 'b', 'D/gone': 'gone', 'D/Sub/c': 'c', 'D/Sub/same': 's', keep: 'k' },
    work: (root) => {
      to(root, 'D', 'E');
      edit(root, { 'E/b': 'b, edited', 'E/new': 'new', 'E/More/new': 'newer' });
      chmodSync(join(root, 'E/Sub/c'), 0o600);
      utimesSync(join(root, 'E/Sub'), 1_500_000_000, 1_500_000_000);
    },
    moved: 5,
  },
  'a new folder under the old name of a folder': {
    before: { 'D/a': 'a', 'D/b': 'b' },
    work: (root) => {
      to(root, 'D', 'E');
      edit(root, { 'D/a': 'another a', 'D/new': 'new' });
    },
    moved: 1,
  },
  'out of a folder that is removed then': {
    before: { 'D/a': 'a', 'D/b': 'b', 'D/Deep/c': 'c', keep: 'k' },
    work: (root) => {
      to(root, 'D/a', 'a');
      to(root, 'D/Deep/c', 'New/Deep/c');
      rmSync(join(root, 'D'), { recursive: true });
    },
    moved: 2,
  },
  'a folder, a folder in it, and a file in that one': {
    before: { 'D/Sub/a': 'a', 'D/Sub/b': 'b', 'D/c': 'c' },
    work: (root) => {
      to(root, 'D', 'E');
      to(root, 'E/Sub', 'E/Other');
      to(root, 'E/Other/a', 'E/Other/z');
    },
    moved: 3,
  },
  'a file that gave its name away to a new one': {
    before: { a: 'a', b: 'b', 'D/x': 'x' },
    work: (root) => {
      to(root, 'a', 'kept-a');
      edit(root, { a: 'a new file' });
    },
    moved: 0,
  },
  'two folders that went different ways': {
    before: { 'D/a': 'a', 'E/b': 'b' },
    work: (root) => {
      to(root, 'D', 'Old/D');
      to(root, 'E', 'Old/E');
      edit(root, { 'Old/E/c': 'c' });
    },
    moved: 2,
  },
};

for (const [name, { before, work, moved }] of Object.entries(CASES))
  test(`there and back: ${name}`, () =>
    withPair({ master: before }, (pair) => thereAndBack(pair, () => work(pair.master), moved)));

driveTest(
  test,
  'the same on exFAT, which has neither hard links nor exchange nor file ids',
  [
    { label: 'M', fs: 'ext4' },
    { label: 'B', fs: 'exfat' },
  ],
  (drives) =>
    withRealPair(drives, { master: { 'D/a': 'a', 'D/b': 'b', 'D/Sub/c': 'c', x: 'x', Spelt: 's' } }, (pair) =>
      thereAndBack(
        pair,
        () => {
          to(pair.master, 'D', 'E');
          to(pair.master, 'x', 'E/y');
          to(pair.master, 'Spelt', 'sPELT');
          edit(pair.master, { 'E/b': 'b, edited', 'D/new': 'new' });
        },
        4,
      ),
    ),
);

test('no data is written for a folder: every file stays the very file', async () => {
  await withPair({ master: { 'D/a': 'a', 'D/Sub/b': 'b' } }, async (pair) => {
    await pair.sync();
    const before = numbers(pair.backup);
    to(pair.master, 'D', 'E');
    const run = await pair.sync();
    await undoOperation(run.operation_id, {}, pair.ctx);
    assert.equal(numbers(pair.backup), before);
    assert.not(existsSync(join(pair.backup, '.tandem/trash')), 'nothing had to be set aside');
  });
});

test('what stands at the old name, and what changed since, is refused with a sentence; nothing is overwritten', async () => {
  const before = { a: 'a content', b: 'b content', c: 'c content', 'D/x': 'x' };
  await withPair({ master: before }, async (pair) => {
    await pair.sync();
    for (const name of ['a', 'b', 'c']) to(pair.master, name, `${name}2`);
    to(pair.master, 'D', 'E');
    const run = await pair.sync();
    assert.is(run.files_moved, 4);
    writeFileSync(join(pair.backup, 'a'), 'put there by hand');
    writeFileSync(join(pair.backup, 'b2'), 'changed by hand');
    mkdirSync(join(pair.backup, 'D'));
    const undone = await undoOperation(run.operation_id, {}, pair.ctx);
    assert.is(undone.status, 'failed');
    assert.equal(undone.problems.map(({ path, message }) => `${path}: ${message}`).sort(), [
      "E: not renamed back to 'D': something else has that name now",
      "a2: not renamed back to 'a': something else has that name now",
      "b2: not renamed back to 'b': it changed since",
    ]);
    assert.equal(contents(pair.backup), {
      'D/': '',
      'E/': '',
      'E/x': 'x',
      a: 'put there by hand',
      a2: 'a content',
      b2: 'changed by hand',
      c: 'c content',
    });
    // Once the way is free, what was refused can be undone; what was done already is no reproach.
    rmSync(join(pair.backup, 'a'));
    rmSync(join(pair.backup, 'D'), { recursive: true });
    const twice = await undoOperation(run.operation_id, {}, pair.ctx);
    assert.equal(
      twice.problems.map(({ path }) => path),
      ['b2'],
    );
    assert.is(contents(pair.backup)['a'], 'a content');
    assert.is(contents(pair.backup)['D/x'], 'x');
  });
});

test('a name that is taken in the last moment is not overwritten', async () => {
  await withPair({ master: { a: 'a content' } }, async (pair) => {
    await pair.sync();
    to(pair.master, 'a', 'b');
    const run = await pair.sync();
    // Comes with the first progress of the undo, after its plan.
    const ctx = pair.context();
    const emit = ctx.emit;
    ctx.emit = (event) => {
      if (event.kind === 'progress' && !existsSync(join(pair.backup, 'a')))
        writeFileSync(join(pair.backup, 'a'), 'in the last moment');
      emit(event);
    };
    await undoOperation(run.operation_id, {}, ctx);
    const all = Object.values(contents(pair.backup)).sort();
    assert.ok(all.includes('a content'), JSON.stringify(all));
  });
});

test('content that cannot come back keeps the file under its new name', async () => {
  await withPair({ master: { a: 'a content', b: 'b' } }, async (pair) => {
    await pair.sync();
    to(pair.master, 'a', 'c');
    await pair.sync();
    rmSync(join(pair.master, 'b'));
    to(pair.master, 'c', 'd');
    const run = await pair.sync(TRASH);
    rmSync(join(pair.backup, '.tandem/trash', run.operation_id), { recursive: true });
    const undone = await undoOperation(run.operation_id, {}, pair.ctx);
    assert.equal(
      undone.problems.map(({ path }) => path),
      ['b'],
    );
    assert.equal(contents(pair.backup), { c: 'a content' });
  });
});

test('new work in a folder whose rename was undone is copied, and the rest waits', async () => {
  await withPair({ master: { 'D/a': 'a', 'D/b': 'b' } }, async (pair) => {
    await pair.sync();
    to(pair.master, 'D', 'E');
    const run = await pair.sync();
    await undoOperation(run.operation_id, {}, pair.ctx);
    edit(pair.master, { 'E/new': 'new' });
    const next = await pair.sync(TRASH);
    assert.equal([next.status, next.files_copied, next.files_deleted], ['completed', 1, 0]);
    assert.equal(contents(pair.backup), { 'D/': '', 'D/a': 'a', 'D/b': 'b', 'E/': '', 'E/new': 'new' });
    // The user follows on the Master: then both sides agree.
    to(pair.master, 'E/new', 'new');
    to(pair.master, 'E', 'D');
    const last = await pair.sync(TRASH);
    assert.is(last.status, 'completed');
    const end = await pair.sync(TRASH);
    assert.equal([end.conflicts_detected, contents(pair.backup)], [0, contents(pair.master)]);
  });
});

test('kill -9 in the undo of renames: nothing is lost, no run takes it back, and it can be undone to the end', async () => {
  await withPair({}, async (pair) => {
    const names = Array.from({ length: 480 }, (_, n) => `F${n % 120}/${n}.txt`);
    edit(pair.master, Object.fromEntries(names.map((name) => [name, `content of ${name}`])));
    await pair.sync();
    const former = contents(pair.backup);
    for (let n = 0; n < 120; n += 1) to(pair.master, `F${n}`, `G${n}`);
    const run = await pair.sync({}, pair.context({ force: ['mass-change'] }));
    assert.is(run.files_moved, 480);
    const program = [join(REPOSITORY, 'tui', 'tandem.mjs'), 'restore', 'undo', run.operation_id];
    const env = { ...process.env, TANDEM_CONFIG: pair.box.config, TANDEM_DATA: pair.box.data };
    const child = spawn(process.execPath, program, { env, stdio: 'ignore', detached: true });
    const ended = new Promise((done) => child.on('close', done));
    const moved = (): number => readdirSync(pair.backup).filter((name) => name.startsWith('F')).length;
    for (let tries = 0; tries < 3000 && moved() < 8 && child.exitCode === null; tries += 1)
      await new Promise((done) => setTimeout(done, 5));
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    await ended;
    const halfway = moved();
    assert.ok(halfway >= 8, `${halfway} folders were renamed back before the end`);
    const next = await pair.sync(TRASH, pair.context({ force: ['mass-change'] }));
    assert.equal([next.files_copied, next.files_moved, next.files_deleted], [0, 0, 0], 'no run takes it back');
    const all = (): string[] => Object.values(contents(pair.backup)).filter((text) => text !== '');
    assert.equal(all().sort(), names.map((name) => `content of ${name}`).sort());
    // What its journal knows of the interrupted undo can be undone as well.
    const [interrupted] = await listOperations({ type: 'undo', limit: 1 }, pair.ctx);
    assert.is(interrupted?.reason, 'interrupted');
    await undoOperation(interrupted?.uuid ?? '', {}, pair.context());
    assert.ok(moved() <= 1, `${moved()} folders were not named forward again`);
    const undone = await undoOperation(run.operation_id, {}, pair.context());
    assert.equal([undone.status, undone.problems], ['completed', []]);
    assert.equal(contents(pair.backup), former);
    assert.is(versionsOf(pair.backup).length, 0);
  });
});

// --- hard links ---

async function withLinks(work: (pair: TestPair) => Promise<void>): Promise<void> {
  await withPair({ master: { x: 'one content', single: 's' } }, async (pair) => {
    linkSync(join(pair.master, 'x'), join(pair.master, 'y'));
    linkSync(join(pair.master, 'x'), join(pair.master, 'z'));
    await pair.sync();
    assert.is(lstatSync(join(pair.backup, 'y')).nlink, 3);
    await work(pair);
  });
}

const isOne = (root: string, a: string, b: string): boolean =>
  lstatSync(join(root, a)).ino === lstatSync(join(root, b)).ino;

async function undoneRun(pair: TestPair): Promise<void> {
  const run = await pair.sync(TRASH);
  assert.is(run.status, 'completed', JSON.stringify(run.problems));
  const undone = await undoOperation(run.operation_id, {}, pair.ctx);
  assert.equal([undone.status, undone.problems], ['completed', []]);
}

test('names of one file that a run replaced, deleted or separated become one file again', () =>
  withLinks(async (pair) => {
    for (const name of ['x', 'y', 'z']) rmSync(join(pair.master, name));
    edit(pair.master, { x: 'separate', y: 'separate too' });
    await undoneRun(pair);
    for (const name of ['x', 'y', 'z']) assert.is(readFileSync(join(pair.backup, name), 'utf8'), 'one content');
    assert.equal([isOne(pair.backup, 'x', 'y'), isOne(pair.backup, 'x', 'z')], [true, true]);
  }));

test('a name that a run took off a file is put on it again', () =>
  withLinks(async (pair) => {
    rmSync(join(pair.master, 'y'));
    await undoneRun(pair);
    assert.ok(isOne(pair.backup, 'x', 'y'));
    assert.is(lstatSync(join(pair.backup, 'x')).nlink, 3);
  }));

test('where the other names changed since, it comes back as a file of its own, and the undo says so', () =>
  withLinks(async (pair) => {
    rmSync(join(pair.master, 'y'));
    const run = await pair.sync(TRASH);
    writeFileSync(join(pair.backup, 'x'), 'other words');
    const { mtime } = lstatSync(join(pair.master, 'x'));
    utimesSync(join(pair.backup, 'x'), mtime, mtime);
    const undone = await undoOperation(run.operation_id, {}, pair.ctx);
    assert.match(undone.problems.find(({ path }) => path === 'y')?.message ?? '', /file of its own/);
    assert.is(readFileSync(join(pair.backup, 'y'), 'utf8'), 'one content');
    assert.is(readFileSync(join(pair.backup, 'x'), 'utf8'), 'other words');
  }));

test.run();
