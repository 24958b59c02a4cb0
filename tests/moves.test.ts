/** Renames on the Master become renames on the Backup: no byte is copied, and nothing is taken for a rename that is none. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  lstatSync,
  lutimesSync,
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
import { getOperation, operationFiles } from '../features/history.ts';
import { findMoves, type MoveRules, type Moves, withEmptied } from '../features/moves.ts';
import { type Action, type Recorded, type Rules, reconcile } from '../features/reconcile.ts';
import { applySavedPlan } from '../features/sync.ts';
import type { HasherFactory } from '../shared/hash.ts';
import { Entry } from '../shared/listing.ts';
import { MoveTransfer } from '../shared/move-transfer.ts';
import { clockRules } from '../shared/rows.ts';
import { openRoot } from '../shared/syscalls.ts';
import { REPOSITORY } from './helpers/cli.ts';
import { type DriveKind, type DriveSpec, driveTest, type TestDrive } from './helpers/drives.ts';
import './helpers/inline-workers.ts';
import { edit, type TestPair, versionsOf, withPair, withRealPair } from './helpers/pair.ts';
import { treeOf, type World } from './helpers/world.ts';

const test = suite('moves');

// --- the decision, without a disk ---

const side = { filesystem: 'ext4', granularity: 1, stable: true };
const RULES: Rules & MoveRules = {
  onMasterDelete: 'ask',
  onBackupDelete: 'restore',
  skipExisting: false,
  trustMtime: false,
  compareContents: false,
  full: false,
  permissions: true,
  owner: false,
  master: side,
  backup: side,
  keys: { foldCase: false, normalise: false },
  frozen: () => false,
  unknown: () => false,
  careful: false,
  holdsOthers: () => false,
  stable: true,
  born: () => 1_000_000_000n,
  fits: () => true,
  isStoredWell: () => true,
};

/** `id content@mtime`, the content's length is the size; `id /` a folder; `id >target` a link; ctime 5 unless `!ctime`. */
type Literal = Record<string, string>;

function entry(path: string, text: string): Entry {
  const [id = '', rest = ''] = text.split(' ');
  const [body = '', ctime = '5'] = rest.split('!');
  const [content = '', mtime = '3'] = body.split('@');
  const tail = `${mtime}.0000000000 ${ctime}.0000000000 ${id}`;
  if (content === '/') return new Entry(`d 0 ${tail} 755 0 0`, path, 2);
  if (content.startsWith('>')) return new Entry(`l 1 ${tail} 777 0 0`, path, 1, 0, content.slice(1));
  return new Entry(`f ${content.length} ${tail} 644 0 0`, path, id.endsWith('h') ? 2 : 1, 8);
}

const plain = (facts: string): string =>
  facts
    .split(' ')
    .map((field, index) => (index === 3 || index === 4 ? '-' : field))
    .join(' ');

interface Case {
  baseline: Literal;
  master: Literal;
  /** As recorded, unless it says otherwise. */
  backup?: Literal;
  rules?: Partial<Rules & MoveRules>;
  /** Ids and ctime do not last. */
  unstable?: boolean;
}

interface Found {
  moves: string[];
  rest: string[];
  read: string[];
}

function decided(one: Case): Found {
  const rules = { ...RULES, ...one.rules };
  if (one.unstable) Object.assign(rules, { stable: false, master: { ...side, stable: false } });
  const shown = (facts: string): string => (one.unstable ? plain(facts) : facts);
  const listing = (literal: Literal, base: string): Map<string, Entry> =>
    new Map(
      Object.entries(literal).map(([path, text]) => {
        const { facts, nlink, blocks, target } = entry(path, base + text);
        const key = rules.keys.foldCase ? path.toLowerCase() : path;
        return [key, new Entry(base === '' ? shown(facts) : facts, path, nlink, blocks, target)];
      }),
    );
  const master = listing(one.master, '');
  const backup = listing(one.backup ?? one.baseline, '9');
  const contents = new Map(Object.entries(one.master).map(([path, text]) => [path, contentOf(text)]));
  const baseline = new Map(
    Object.entries(one.baseline).map(([path, text]): [string, Recorded] => {
      const m = entry(path, text);
      const checksum = m.kind === 'f' ? `sum-${contentOf(text)}` : '';
      const facts = { master_facts: shown(m.facts), backup_facts: entry(path, `9${text}`).facts };
      const key = rules.keys.foldCase ? path.toLowerCase() : path;
      return [key, { path, checksum, checksum_algorithm: 'sha256', ...facts, link_target: m.target, doubt: '' }];
    }),
  );
  const evidence = new Map<string, { master?: string; backup?: string }>();
  const trees = { baseline, master, backup };
  const read: string[] = [];
  const answer = (needs: Moves['needs'], places?: Moves['places']): boolean => {
    for (const { path, key, side: which } of needs) {
      read.push(path);
      const sum =
        which === 'master'
          ? `sum-${contents.get(path)}`
          : `sum-${contentOf((one.backup ?? one.baseline)[places?.get(key) ?? path] ?? '')}`;
      evidence.set(key, { ...evidence.get(key), [which]: sum });
    }
    return needs.length > 0;
  };
  let first = reconcile(trees, rules, evidence);
  while (answer(first.needs)) first = reconcile(trees, rules, evidence);
  let found = findMoves(trees, first.gone, rules, evidence);
  while (answer(found.needs)) found = findMoves(trees, first.gone, rules, evidence);
  let second = reconcile(found.trees, rules, evidence);
  while (answer(second.needs, found.places)) second = reconcile(found.trees, rules, evidence);
  const told = ({ kind, path, conflict_type }: Action): string =>
    `${kind} ${path}${conflict_type ? ` ${conflict_type}` : ''}`;
  return {
    moves: found.moves.map(({ from, path, files }) => `${from} → ${path}${files === undefined ? '' : ` (${files})`}`),
    rest: withEmptied(second.actions, found).map(told),
    read,
  };
}

const contentOf = (text: string): string => (text.split(' ')[1] ?? '').split(/[@!]/)[0] ?? '';

const TABLE: [name: string, given: Case, moves: string[], rest: string[], read?: string[]][] = [
  ['a file by its id', { baseline: { a: '1 xx' }, master: { b: '1 xx!9' } }, ['a → b'], []],
  ['a link by its id', { baseline: { a: '1 >t' }, master: { b: '1 >t!9' } }, ['a → b'], []],
  [
    'a link that points elsewhere now is none',
    { baseline: { a: '1 >t' }, master: { b: '1 >u!9' } },
    [],
    ['conflict a deleted_master', 'copy b'],
  ],
  [
    'into a new folder, out of one that is gone with it',
    { baseline: { d: '1 /', 'd/a': '2 xx' }, master: { e: '3 /', 'e/b': '2 xx!9' } },
    ['d/a → e/b'],
    ['mkdir e', 'delete d'],
  ],
  [
    'out of a folder in which something else is left',
    { baseline: { d: '1 /', 'd/a': '2 xx', 'd/k': '4 kk' }, master: { b: '2 xx!9' } },
    ['d/a → b'],
    ['copy b'].slice(1).concat(['conflict d/k deleted_master']),
  ],
  [
    'a whole folder is one move',
    {
      baseline: { d: '1 /', 'd/a': '2 xx', 'd/s': '3 /', 'd/s/b': '4 y' },
      master: { e: '1 /', 'e/a': '2 xx', 'e/s': '3 /', 'e/s/b': '4 y' },
    },
    ['d → e (2)'],
    [],
  ],
  ['an empty folder', { baseline: { d: '1 /' }, master: { e: '1 /!9' } }, ['d → e (0)'], ['meta e']],
  [
    'a folder, and a file in it renamed and one edited and one deleted and one new',
    {
      baseline: { d: '1 /', 'd/a': '2 xx', 'd/b': '3 y', 'd/c': '4 zzz' },
      master: { e: '1 /', 'e/A': '2 xx!9', 'e/b': '3 YY@8!9', 'e/n': '7 n' },
    },
    ['d → e (3)', 'e/a → e/A (0)'],
    ['update e/b', 'conflict e/c deleted_master', 'copy e/n'],
  ],
  [
    'a folder in a folder, both renamed',
    { baseline: { d: '1 /', 'd/s': '2 /', 'd/s/a': '3 x' }, master: { e: '1 /!9', 'e/t': '2 /', 'e/t/a': '3 x' } },
    ['d → e (1)', 'e/s → e/t (0)'],
    ['meta e'],
  ],
  [
    'a folder whose Backup holds one file more goes file by file',
    {
      baseline: { d: '1 /', 'd/a': '2 xx' },
      master: { e: '1 /', 'e/a': '2 xx!9' },
      backup: { d: '1 /', 'd/a': '2 xx', 'd/extra': '8 e' },
    },
    ['d/a → e/a'],
    ['conflict d/extra new_backup', 'mkdir e'],
  ],
  [
    'a folder whose Backup changed goes file by file, and the changed file is a conflict',
    {
      baseline: { d: '1 /', 'd/a': '2 xx', 'd/b': '3 y' },
      master: { e: '1 /', 'e/a': '2 xx', 'e/b': '3 y' },
      backup: { d: '1 /', 'd/a': '2 xx', 'd/b': '3 changed' },
    },
    ['d/a → e/a'],
    ['conflict d/b deleted_master', 'mkdir e', 'copy e/b'],
  ],
  [
    'a folder that holds what the filter leaves out goes file by file',
    {
      baseline: { d: '1 /', 'd/a': '2 xx' },
      master: { e: '1 /', 'e/a': '2 xx' },
      rules: { holdsOthers: (path) => path === 'd' },
    },
    ['d/a → e/a'],
    ['mkdir e', 'conflict d deleted_master'],
  ],
  [
    'edited as well: the new content is copied, the old name asked about',
    { baseline: { a: '1 xx' }, master: { b: '1 yyy@8!9' } },
    [],
    ['conflict a deleted_master', 'copy b'],
  ],
  [
    'the id was given to another file: time',
    { baseline: { a: '1 xx' }, master: { b: '1 yy@8!9' } },
    [],
    ['conflict a deleted_master', 'copy b'],
  ],
  [
    'the id was given to another file of the same size and time: it is younger than the record, its content decides',
    { baseline: { a: '1 xx' }, master: { b: '1 yy!9' }, rules: { born: () => 8_000_000_000n } },
    [],
    ['conflict a deleted_master', 'copy b'],
    ['b'],
  ],
  [
    'where the age is not kept, the content decides',
    { baseline: { a: '1 xx' }, master: { b: '1 xx!9' }, rules: { born: () => null } },
    ['a → b'],
    [],
    ['b'],
  ],
  [
    'without lasting ids: by content',
    { baseline: { a: '1 xx' }, master: { b: '2 xx' }, unstable: true },
    ['a → b'],
    [],
    ['b'],
  ],
  [
    'without lasting ids: another content',
    { baseline: { a: '1 xx' }, master: { b: '2 yy' }, unstable: true },
    [],
    ['conflict a deleted_master', 'copy b'],
    ['b'],
  ],
  [
    'without lasting ids: another time is not even read',
    { baseline: { a: '1 xx' }, master: { b: '1 xx@4' }, unstable: true },
    [],
    ['conflict a deleted_master', 'copy b'],
    [],
  ],
  [
    'two records of the same size and time: no move',
    { baseline: { a: '1 xx', b: '2 xx' }, master: { c: '3 xx' }, unstable: true },
    [],
    ['conflict a deleted_master', 'conflict b deleted_master', 'copy c'],
    [],
  ],
  [
    'two new files with that content: no move',
    { baseline: { a: '1 xx' }, master: { b: '2 xx', c: '3 xx' }, unstable: true },
    [],
    ['conflict a deleted_master', 'copy b', 'copy c'],
    ['b', 'c'],
  ],
  [
    'a copy beside the original is no move',
    { baseline: { a: '1 xx' }, master: { a: '1 xx', b: '2 xx' } },
    [],
    ['copy b'],
  ],
  [
    'a file with several names is left to copying',
    { baseline: { a: '1h xx' }, master: { b: '1h xx!9' } },
    [],
    ['conflict a deleted_master', 'copy b'],
  ],
  [
    'something has the new name on the Backup',
    { baseline: { a: '1 xx' }, master: { b: '1 xx!9' }, backup: { a: '1 xx', b: '7 other' } },
    [],
    ['conflict a deleted_master', 'conflict b size_mismatch'],
  ],
  [
    'the Backup changed at the old name',
    { baseline: { a: '1 xx' }, master: { b: '1 xx!9' }, backup: { a: '1 changed' } },
    [],
    ['conflict a deleted_master', 'copy b'],
  ],
  [
    'a name that the Backup cannot hold',
    { baseline: { a: '1 xx' }, master: { 'b:': '1 xx!9' }, rules: { fits: (path) => !path.includes(':') } },
    [],
    ['conflict a deleted_master', 'copy b:'],
  ],
  [
    'a swap of two names is two changed files',
    { baseline: { a: '1 xx', b: '2 yyy' }, master: { a: '2 yyy!9', b: '1 xx!9' } },
    [],
    ['update a', 'update b'],
  ],
  [
    'a chain: only the end of it is a new name',
    { baseline: { a: '1 xx', b: '2 yyy' }, master: { b: '1 xx!9', c: '2 yyy!9' } },
    [],
    ['conflict a deleted_master', 'update b', 'copy c'],
  ],
  [
    'what is frozen, at either name, stays where it is',
    {
      baseline: { a: '1 xx', c: '2 y' },
      master: { b: '1 xx!9', d: '2 y!9' },
      rules: { frozen: (path) => path === 'a' || path === 'd' },
    },
    [],
    ['copy b', 'conflict c deleted_master'],
  ],
  [
    'an old place that could not be read is not gone',
    { baseline: { 'u/a': '1 xx' }, master: { b: '1 xx!9' }, rules: { unknown: (path) => path.startsWith('u') } },
    [],
    ['copy b'],
  ],
  [
    'where deletions are kept, a rename is a rename all the same',
    { baseline: { a: '1 xx', d: '2 y' }, master: { b: '1 xx!9' }, rules: { onMasterDelete: 'keep' } },
    ['a → b'],
    [],
  ],
  [
    'every file is read: the id alone proves nothing',
    { baseline: { a: '1 xx' }, master: { b: '1 xx!9' }, rules: { compareContents: true } },
    ['a → b'],
    [],
    ['b'],
  ],
  [
    'an empty folder in a folder that gives way to a file goes with that',
    { baseline: { x: '1 /', 'x/e': '2 /' }, master: { x: '3 f!9' } },
    [],
    ['update x', 'forget x/e'],
  ],
  [
    'a folder that holds nothing any more goes without a question',
    { baseline: { d: '1 /', 'd/s': '2 /' }, master: {} },
    [],
    ['delete d', 'delete d/s'],
  ],
  [
    'a folder whose files are gone from both sides goes with them',
    { baseline: { d: '1 /', 'd/a': '2 x' }, master: {}, backup: { d: '1 /' } },
    [],
    ['delete d', 'forget d/a'],
  ],
  [
    'another spelling, where a drive takes both for one',
    {
      baseline: { 'Img.jpg': '1 xx' },
      master: { 'IMG.jpg': '1 xx!9' },
      rules: { keys: { foldCase: true, normalise: false } },
    },
    ['Img.jpg → IMG.jpg'],
    [],
  ],
  [
    'a folder in another spelling takes along what is in it',
    {
      baseline: { day: '1 /', 'day/a': '2 x', 'day/b': '3 y' },
      master: { Day: '1 /', 'Day/a': '2 x', 'Day/B': '3 y!9' },
      rules: { keys: { foldCase: true, normalise: false } },
    },
    ['day → Day (2)', 'Day/b → Day/B (0)'],
    [],
  ],
];

for (const [name, given, moves, rest, read] of TABLE) {
  test(`decision: ${name}`, () => {
    const found = decided(given);
    assert.equal(found.moves, moves);
    assert.equal(found.rest.sort(), [...rest].sort());
    if (read !== undefined)
      assert.equal(
        [...new Set(found.read)].filter((path) => path in given.master && !(path in given.baseline)),
        read,
      );
  });
}

// --- on drives ---

const drives = (master: DriveKind, backup: DriveKind): DriveSpec[] => [
  { label: 'Master', fs: master },
  { label: 'Backup', fs: backup },
];

const contents = (root: string): Record<string, string> =>
  Object.fromEntries(
    Object.entries(treeOf(root, ['mode', 'mtime']))
      .filter(([path]) => path !== 'lost+found/')
      .map(([path, leaf]) => [path, leaf.content ?? leaf.symlink ?? '']),
  );

const move = (pair: TestPair, from: string, to: string): void => {
  mkdirSync(join(pair.master, to, '..'), { recursive: true });
  renameSync(join(pair.master, from), join(pair.master, to));
};

/** Of a length that no other has, and short enough to be shown. */
const body = (
  text: string,
  size = 3000 + ((text.charCodeAt(0) + 7 * text.charCodeAt(Math.max(0, text.length - 2))) % 900),
): string => text.repeat(Math.ceil(size / text.length));

const TREE: World = {
  'one.raw': body('one '),
  'two.raw': body('two '),
  'Day/a.raw': body('day a '),
  'Day/b.raw': body('day b '),
  'Day/deep/c.raw': body('deep c '),
  'Gone/x.raw': body('gone x '),
  'Gone/sub/y.raw': body('gone y '),
};

/** Everything that a day of tidying up does; returns how many files get another name. */
function tidy(pair: TestPair): number {
  move(pair, 'one.raw', 'uno.raw');
  move(pair, 'two.raw', 'New/place/two.raw');
  move(pair, 'Day', 'Trip/Day 1');
  move(pair, 'Trip/Day 1/deep', 'Trip/Day 1/low');
  move(pair, 'Gone/x.raw', 'x.raw');
  move(pair, 'Gone/sub/y.raw', 'Trip/y.raw');
  rmSync(join(pair.master, 'Gone'), { recursive: true });
  return 7;
}

async function tidiesUp(pair: TestPair): Promise<void> {
  await pair.sync();
  const inodes = (root: string): string[] =>
    Object.keys(treeOf(root))
      .map((path) => String(lstatSync(join(root, path)).ino))
      .sort();
  const before = inodes(pair.backup).length;
  const files = tidy(pair);
  const result = await pair.sync();
  assert.equal([result.status, result.problems], ['completed', []]);
  assert.equal([result.files_moved, result.files_copied, result.bytes_copied, result.files_deleted], [files, 0, 0, 0]);
  assert.is(result.conflicts_detected, 0, 'a rename is no deletion to be asked about');
  assert.equal(contents(pair.backup), contents(pair.master));
  assert.equal(versionsOf(pair.backup, result.operation_id), []);
  assert.ok(before > 0);
  assert.equal((await pair.plan()).actions, []);
  const paths = (await pair.rows()).map(({ path }) => path).sort();
  assert.equal(
    paths,
    Object.keys(contents(pair.master))
      .map((path) => path.replace(/\/$/, ''))
      .sort(),
  );
  const journal = await operationFiles((await getOperation(result.operation_id, pair.ctx)).id, pair.ctx);
  assert.ok(
    journal.some(({ path, action, message }) => path === 'uno.raw' && action === 'move' && message === 'from one.raw'),
  );
}

test('files, folders, folders in folders, into new ones, out of deleted ones: nothing is copied, nothing asked', async () => {
  await withPair({ master: TREE }, tidiesUp);
});

for (const [master, backup] of [
  ['ext4', 'exfat'],
  ['exfat', 'ext4'],
] as [DriveKind, DriveKind][]) {
  driveTest(test, `${master} to ${backup}: the same`, drives(master, backup), async (both) => {
    await withRealPair(both, { master: TREE }, tidiesUp);
  });
}

test('permissions, attributes and an edit that came with the name arrive', async () => {
  await withPair({ master: { a: body('a'), 'd/b': body('b') } }, async (pair) => {
    await pair.sync();
    move(pair, 'a', 'c');
    spawnSync('chmod', ['640', join(pair.master, 'c')]);
    spawnSync('setfattr', ['-n', 'user.rating', '-v', '5', join(pair.master, 'c')]);
    move(pair, 'd', 'e');
    edit(pair.master, { 'e/b': 'edited', 'e/new': 'n' });
    const result = await pair.sync();
    assert.equal([result.files_moved, result.files_copied, result.problems], [2, 2, []]);
    assert.equal(treeOf(pair.backup), treeOf(pair.master));
    assert.equal(versionsOf(pair.backup, result.operation_id), [['e/b', body('b')]]);
    const attribute = (root: string): string =>
      spawnSync('getfattr', ['-d', 'c'], { cwd: root, encoding: 'utf8' }).stdout;
    assert.is(attribute(pair.backup), attribute(pair.master));
    assert.equal((await pair.plan()).actions, []);
  });
});

test('a folder that gives way to a file after something was renamed out of it', async () => {
  await withPair({ master: { 'A/a': 'a', 'A/b': 'b' } }, async (pair) => {
    await pair.sync();
    mkdirSync(join(pair.master, 'other'));
    renameSync(join(pair.master, 'A/a'), join(pair.master, 'other/a'));
    rmSync(join(pair.master, 'A'), { recursive: true });
    edit(pair.master, { A: 'a file now' });
    const result = await pair.sync();
    assert.equal(
      [result.status, result.files_moved, result.conflicts_detected, result.problems],
      ['completed', 1, 0, []],
    );
    assert.equal(treeOf(pair.backup), treeOf(pair.master));
    assert.ok(versionsOf(pair.backup).some(([, content]) => content === 'b'));
  });
});

test('a folder that was renamed to one that the Backup has too is gone from there after one run, with what was empty in it', () =>
  withPair({ master: { 'a/file': 'x', 'a/empty/': null } }, async (pair) => {
    await pair.sync();
    edit(pair.backup, { 'new/empty': { symlink: 'nowhere' } });
    renameSync(join(pair.master, 'a'), join(pair.master, 'new'));
    const run = await pair.sync({ options: { on_master_delete: 'trash' } });
    assert.equal([run.problems, run.files_moved, run.files_copied], [[], 1, 0]);
    assert.not(existsSync(join(pair.backup, 'a')));
  }));

test('a swap, a chain, duplicates: right in the end, and every former content is kept', async () => {
  await withPair(
    {
      master: {
        a: body('a'),
        b: body('b'),
        c: body('c'),
        d: body('d'),
        twin: body('t'),
        other: body('t'),
      },
    },
    async (pair) => {
      for (const name of ['twin', 'other']) utimesSync(join(pair.master, name), 1e9, 1e9);
      await pair.sync();
      move(pair, 'a', 'tmp');
      move(pair, 'b', 'a');
      move(pair, 'tmp', 'b');
      move(pair, 'd', 'e');
      move(pair, 'c', 'd');
      rmSync(join(pair.master, 'twin'));
      move(pair, 'other', 'third');
      const result = await pair.sync({ options: { on_master_delete: 'trash' } });
      assert.equal([result.status, result.problems], ['completed', []]);
      assert.equal(contents(pair.backup), contents(pair.master));
      const kept = versionsOf(pair.backup, result.operation_id).map(([path]) => path);
      assert.ok(
        ['a', 'b', 'twin'].every((path) => kept.includes(path)),
        kept.join(),
      );
      assert.equal((await pair.plan()).actions, []);
    },
  );
});

test('renamed twice between two runs is renamed once', async () => {
  await withPair({ master: { a: body('a') } }, async (pair) => {
    await pair.sync();
    move(pair, 'a', 'b');
    move(pair, 'b', 'c');
    const { actions, totals } = await pair.plan();
    assert.equal(
      actions.map(({ kind, from, path }) => [kind, from, path]),
      [['move', 'a', 'c']],
    );
    assert.is(totals.move, 1);
    assert.is((await pair.sync()).files_moved, 1);
  });
});

test('the Backup changed at the old name, or has the new one: nothing there is touched', async () => {
  await withPair({ master: { a: body('a'), b: body('b') } }, async (pair) => {
    await pair.sync();
    move(pair, 'a', 'a2');
    move(pair, 'b', 'b2');
    edit(pair.backup, { a: 'edited on the Backup', b2: 'somebody put this here' });
    const result = await pair.sync({ options: { on_master_delete: 'trash' } });
    assert.is(result.files_moved, 0);
    assert.is(readFileSync(join(pair.backup, 'a'), 'utf8'), 'edited on the Backup');
    assert.is(readFileSync(join(pair.backup, 'b2'), 'utf8'), 'somebody put this here');
    assert.is(readFileSync(join(pair.backup, 'a2'), 'utf8'), body('a'));
  });
});

test('an id that was given to a file of the same size and time is no proof', async () => {
  await withPair({ master: { a: { content: body('a'), mtime: 1e9 } } }, async (pair) => {
    await pair.sync();
    const { ino } = lstatSync(join(pair.master, 'a'));
    rmSync(join(pair.master, 'a'));
    let reused = false;
    for (let index = 0; index < 200 && !reused; index += 1) {
      const name = join(pair.master, `n${index}`);
      writeFileSync(name, body('z'));
      utimesSync(name, 1e9, 1e9);
      reused = lstatSync(name).ino === ino;
    }
    const result = await pair.sync();
    assert.is(result.files_moved, 0);
    assert.equal(contents(pair.backup), { ...contents(pair.master), a: body('a') });
  });
});

driveTest(
  test,
  'exFAT numbers its files anew at each mount: no file is taken for another',
  drives('exfat', 'ext4'),
  async (both) => {
    const world: World = Object.fromEntries(
      Array.from({ length: 12 }, (_, index) => [
        `f${index}`,
        { content: body(`${index}-`, 3000).slice(0, 3000), mtime: 1e9 },
      ]),
    );
    await withRealPair(both, { master: world }, async (pair) => {
      await pair.sync();
      for (let index = 0; index < 12; index += 2) rmSync(join(pair.master, `f${index}`));
      for (let index = 0; index < 6; index += 1) {
        writeFileSync(join(pair.master, `g${index}`), body(`new ${index}`, 3000).slice(0, 3000));
        utimesSync(join(pair.master, `g${index}`), 1e9, 1e9);
      }
      remount(both);
      const result = await pair.sync({ options: { on_master_delete: 'trash' } });
      assert.equal([result.files_moved, result.files_copied, result.files_deleted], [0, 6, 6]);
      assert.equal(contents(pair.backup), contents(pair.master));
    });
  },
);

for (const [master, backup] of [
  ['exfat', 'exfat'],
  ['ext4', 'exfat'],
  ['exfat', 'ext4'],
] as [DriveKind, DriveKind][]) {
  driveTest(
    test,
    `${master} to ${backup}: another spelling is one rename, of files and of folders`,
    drives(master, backup),
    async (both) => {
      await withRealPair(
        both,
        { master: { 'img_1.jpg': body('1'), 'day/x.raw': body('x'), 'day/y.raw': body('y') } },
        async (pair) => {
          await pair.sync();
          respell(pair.master, 'img_1.jpg', 'IMG_1.JPG');
          respell(pair.master, 'day', 'DAY');
          respell(join(pair.master, 'DAY'), 'y.raw', 'Y.raw');
          const result = await pair.sync();
          assert.equal([result.files_copied, result.conflicts_detected, result.problems], [0, 0, []]);
          assert.is(result.files_moved, 3);
          assert.equal(contents(pair.backup), contents(pair.master));
          assert.ok(readdirSync(pair.backup).includes('DAY'));
          assert.equal(readdirSync(join(pair.backup, '.tandem/partial')), []);
          assert.equal((await pair.plan()).actions, []);
          const paths = (await pair.rows()).map(({ path }) => path).sort();
          assert.equal(paths, ['DAY', 'DAY/Y.raw', 'DAY/x.raw', 'IMG_1.JPG']);
        },
      );
    },
  );
}

driveTest(
  test,
  'killed between the two steps of a new spelling: the next run finishes it',
  drives('ext4', 'exfat'),
  async (both) => {
    await withRealPair(both, { master: { 'img.jpg': body('1') } }, async (pair) => {
      await pair.sync();
      const aside = '.tandem/partial/dead-1';
      mkdirSync(join(pair.backup, aside), { recursive: true });
      mkdirSync(join(pair.backup, '.tandem/intent'), { recursive: true });
      const intent = { path: 'IMG.jpg', partial: `${aside}/0`, trash: '.tandem/trash/dead/IMG.jpg' };
      writeFileSync(join(pair.backup, '.tandem/intent/dead-1.json'), JSON.stringify([intent]));
      renameSync(join(pair.backup, 'img.jpg'), join(pair.backup, aside, '0'));
      renameSync(join(pair.master, 'img.jpg'), join(pair.master, 'IMG.jpg'));
      const result = await pair.sync();
      assert.equal([result.files_copied, result.conflicts_detected, result.problems], [0, 0, []]);
      assert.equal(contents(pair.backup), { 'IMG.jpg': body('1') });
      assert.equal((await pair.plan()).actions, []);
    });
  },
);

test('killed between the rename and its record: the next run copies nothing and loses nothing', async () => {
  await withPair({ master: TREE }, async (pair) => {
    await pair.sync();
    move(pair, 'one.raw', 'uno.raw');
    move(pair, 'Day', 'Trip/Day 1');
    // What a killed run leaves: names on the drive are new, the records are not.
    for (const [from, to] of [
      ['one.raw', 'uno.raw'],
      ['Day', 'Trip/Day 1'],
    ] as const) {
      mkdirSync(join(pair.backup, to, '..'), { recursive: true });
      renameSync(join(pair.backup, from), join(pair.backup, to));
    }
    const result = await pair.sync();
    assert.equal([result.files_copied, result.conflicts_detected, result.problems], [0, 0, []]);
    assert.equal(contents(pair.backup), contents(pair.master));
    // What was renamed a moment ago is looked at once more.
    const { actions } = await pair.plan();
    assert.equal(
      actions.filter(({ kind }) => kind !== 'adopt'),
      [],
    );
  });
});

test('killed at random moments of many renames: no content is gone, the next run ends where it should', async () => {
  const names = Array.from({ length: 600 }, (_, index) => `d${index % 6}/f${index}`);
  await withPair({ master: Object.fromEntries(names.map((name) => [name, `content of ${name}`])) }, async (pair) => {
    await pair.sync();
    let kills = 0;
    for (let round = 0; round < 6; round += 1) {
      const [old, now] = round % 2 === 0 ? ['d', 'e'] : ['e', 'd'];
      for (let index = 0; index < 6; index += 1) {
        if (index < 3) move(pair, `${old}${index}`, `${now}${index}`);
        else {
          for (const name of readdirSync(join(pair.master, `${old}${index}`)))
            move(pair, `${old}${index}/${name}`, `${now}${index}/${name}`);
          rmSync(join(pair.master, `${old}${index}`), { recursive: true });
        }
      }
      const child = spawn(
        process.execPath,
        [join(REPOSITORY, 'tui/tandem.mjs'), 'sync', 'run', 'Archive', '--progress', 'none'],
        {
          env: { ...process.env, TANDEM_CONFIG: pair.box.config, TANDEM_DATA: pair.box.data },
          stdio: 'ignore',
        },
      );
      const ended = once(child, 'close');
      const changing = (): boolean => existsSync(join(pair.backup, `${now}3`));
      for (const deadline = Date.now() + 10_000; !changing() && child.exitCode === null && Date.now() < deadline; )
        await new Promise((done) => setTimeout(done, 2));
      await new Promise((done) => setTimeout(done, round * 8));
      if (child.kill('SIGKILL')) kills += 1;
      await ended;
      const there = Object.values(contents(pair.backup));
      for (const name of names) assert.ok(there.includes(`content of ${name}`), `${name} is gone`);
      const result = await pair.sync();
      assert.equal([result.files_copied, result.conflicts_detected, result.status], [0, 0, 'completed']);
      assert.equal(contents(pair.backup), contents(pair.master));
    }
    assert.ok(kills >= 3, `${kills} runs were killed`);
  });
});

test('a saved plan renames; what changed since is not renamed; what is skipped stays at its old name', async () => {
  await withPair({ master: { ...TREE, k: body('k') } }, async (pair) => {
    await pair.sync();
    tidy(pair);
    move(pair, 'k', 'kk');
    const plan = JSON.parse(JSON.stringify(await pair.plan()));
    edit(pair.backup, { k: 'changed since' });
    const result = await applySavedPlan(plan, ['one.raw'], {}, pair.ctx);
    assert.is(result.files_moved, 6);
    assert.ok(existsSync(join(pair.backup, 'one.raw')) && !existsSync(join(pair.backup, 'uno.raw')));
    assert.is(readFileSync(join(pair.backup, 'k'), 'utf8'), 'changed since');
    assert.is(result.conflicts_detected, 1);
  });
});

test('what is done to the names between plan and rename stops that rename alone', () => {
  return withPair({ master: { a: body('a'), b: body('b'), c: body('c'), d: body('d') } }, async (pair) => {
    await pair.sync();
    const rows = new Map((await pair.rows()).map((row) => [row.path, row]));
    for (const name of ['a', 'b', 'c', 'd']) move(pair, name, `${name}2`);
    const { actions } = await pair.plan();
    copyFileSync(join(pair.master, 'a2'), join(pair.master, 'a'));
    writeFileSync(join(pair.backup, 'b2'), 'taken');
    lutimesSync(join(pair.master, 'c2'), 1e9, 1e9);
    const transfer = new MoveTransfer(
      {
        master: openRoot(pair.master),
        backup: openRoot(pair.backup),
        reversed: false,
        masterStable: true,
        masterClock: clockRules(true, 1),
        operation: 'test',
        owner: false,
        traits: { stable: true, permissions: true, hardLinks: true, exchange: true, minTime: 0, maxTime: 1e12 },
      },
      'sha256',
      {} as HasherFactory,
      { stop: () => false, cancel: () => false, moved: () => {}, holding: () => {}, allowed: (wanted) => wanted },
      { key: null, compressionLevel: 1 },
    );
    const items = actions.map(({ path, from = '', entry: kind, master, backup }, seq) => {
      return { seq, path, from, kind, masterFacts: master ?? '', backupFacts: backup ?? '', respelled: false };
    });
    const outcomes = transfer.move(items).map(({ outcome }) => outcome);
    assert.equal(outcomes, ['changed', 'conflict', 'changed', 'done']);
    assert.is(readFileSync(join(pair.backup, 'b2'), 'utf8'), 'taken');
    assert.equal(
      ['a', 'b', 'c'].map((name) => readFileSync(join(pair.backup, name), 'utf8') === body(name)),
      [true, true, true],
    );
    assert.is(rows.size, 4);
  });
});

function respell(folder: string, from: string, to: string): void {
  renameSync(join(folder, from), join(folder, 'on the way'));
  renameSync(join(folder, 'on the way'), join(folder, to));
}

function remount(both: readonly TestDrive[]): void {
  for (const drive of both) {
    spawnSync('umount', [drive.mount]);
    drive.replug();
  }
}

test.run();
