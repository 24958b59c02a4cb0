/** The screen of conflicts: as a terminal shows it, what its keys ask and begin, the reader's side of it, and the whole way. */
import { existsSync, readFileSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Outcome } from '../../tui/actions.ts';
import { type ConflictRow, conflictReads, type Sides } from '../../tui/reads/conflicts.ts';
import type { Memory } from '../../tui/reads.ts';
import { aligned, firstDifference } from '../../tui/screens/conflicts-text.ts';
import { ago, type Board, type BoardOptions, group, matchesGolden, openBoard, overview } from '../helpers/board.ts';
import { edit, type TestPair, withPair } from '../helpers/pair.ts';
import { nobodyIn, openTmux, TANDEM } from '../helpers/tmux.ts';

const test = suite('conflicts');

const file = (size: number, minutes: number, checksum?: string) => ({
  ...{ kind: 'f' as const, size, mtime: ago(minutes) },
  ...(checksum !== undefined && { checksum }),
});

function conflict(path: string, more: Partial<ConflictRow> = {}): ConflictRow {
  return {
    ...{ path, target: 'photos', group_id: 'id-photos', project: null, keeps: true, detected_at: ago(9) },
    ...{ conflict_type: 'modified_both', reason: 'changed on both sides' },
    ...{ master: file(4200, 30), backup: file(3900, 41), baseline: file(4000, 9000, '9f2c0011aa') },
    ...more,
  };
}

const ROWS: ConflictRow[] = [
  conflict('notes/plan.md'),
  conflict('2026/07/IMG_4410.JPG', { master: file(18e6, 40), backup: file(19e6, 40) }),
  conflict('2026/07/IMG_4410.xmp', { project: 'Wedding (footage)' }),
  conflict('budget.ods', {
    ...{ conflict_type: 'deleted_master', reason: 'deleted on the Master', master: null },
    backup: file(4000, 9000, '9f2c0011aa'),
  }),
  conflict('evil\x1b[31m\nname\u202egpj', { conflict_type: 'new_backup', master: null, baseline: null }),
  conflict('video/clip.mov', { target: 'work', group_id: 'id-work', keeps: false }),
  conflict('-rf [1].txt'),
];

const PICTURE = {
  ...{ width: 4, height: 4 },
  rgb: Buffer.from(Array.from({ length: 48 }, (_, index) => (index * 5) % 256)).toString('base64'),
};

const text = (lines: readonly string[]) => ({ facts: [], note: '', text: { lines, cut: false } });
const now = ({ size, mtime }: { size: number; mtime: string }) => ({
  here: true,
  state: { kind: 'f' as const, size, mtime },
});

function sides(row: ConflictRow, master: Sides['master']['preview'], backup: Sides['master']['preview']): Sides {
  const gone = { here: true, state: null, preview: { facts: [], note: '' } };
  return {
    master: row.master ? { ...now(row.master), preview: master } : gone,
    backup: row.backup ? { ...now(row.backup), preview: backup } : gone,
  };
}

async function withConflicts(options: BoardOptions, work: (board: Board) => Promise<void>): Promise<void> {
  const board = await openBoard(options);
  try {
    const groups = [
      group('photos', 'ATLAS-A', 'ATLAS-B', { open_conflicts: 6 }),
      group('work', 'ATLAS-A', 'ROVER', { open_conflicts: 1 }),
    ];
    board.give('running', []);
    board.give('status', overview({ groups }));
    board.give('conflicts', ROWS);
    const [plan, picture] = ROWS as [ConflictRow, ConflictRow];
    const left = text(['# Plan', '', '- buy two new drives', '- rotate on Sundays', '- test \x1b[2Jrestore']);
    const right = text(['# Plan', '', '- buy one new drive', '- test \x1b[2Jrestore']);
    board.give('sides', sides(plan, left, right), 'id-photos', plan.path);
    const facts = [
      ['Size', '6000x4000'],
      ['Camera', 'Canon EOS R5\x1b[31m'],
    ] as const;
    const drawn = { facts, note: '', picture: PICTURE };
    board.give(
      'sides',
      sides(picture, drawn, { facts: [], note: 'no preview: it took longer than 10 s' }),
      'id-photos',
      picture.path,
    );
    await board.press('3');
    await work(board);
  } finally {
    board.close();
  }
}

const shown = async (board: Board): Promise<string> => (await board.lines()).join('\n');
const leave = async (board: Board): Promise<void> => {
  await board.press('\x1b');
  await pause(80);
};

const done = (result: object | null, style: Outcome['style'] = 'good'): Outcome => {
  return { style, text: 'x: done', lines: [...JSON.stringify(result, null, 2).split('\n'), 'warning: one'] };
};

for (const [name, options, keys] of [
  ['conflicts-120x35', {}, []],
  ['conflicts-80x24', { width: 80, height: 24 }, []],
  ['conflicts-picture', { width: 80, height: 24 }, ['j']],
  ['conflicts-ascii', { width: 80, height: 24, theme: { colours: 16, unicode: false } }, [' ']],
] as const) {
  test(`${name} is what it was`, () =>
    withConflicts(options, async (board) => {
      await board.press(...keys);
      matchesGolden(name, await board.lines());
    }));
}

test('a picture has colours of its own, where there are 256', () =>
  withConflicts({ width: 80, height: 24 }, async (board) => {
    await board.press('j');
    const lines = await board.lines();
    const y = lines.findIndex((line) => line.includes('▀'));
    assert.equal(board.look(lines[y]?.indexOf('▀') ?? 0, y), ['fg', 'bg']);
    assert.not.match(board.raw(), '[31m\n');
  }));

test('the tab tells how many wait, on every screen', () =>
  withConflicts({}, async (board) => {
    await board.press('1');
    assert.match((await board.lines())[0] ?? '', '3 Conflicts •7');
  }));

test('without conflicts all is well; before the answer and without one it says so', async () => {
  const board = await openBoard();
  try {
    await board.press('3');
    assert.match(await shown(board), 'Reading …');
    board.fail('conflicts', 'The database cannot be read.');
    assert.match(await shown(board), 'The database cannot be read.');
    board.give('conflicts', []);
    assert.match(await shown(board), 'All is well: no conflict waits.');
    await board.press('<', '*', ' ', '\r');
    assert.equal(board.started, []);
    assert.match(await shown(board), 'no conflict is selected');
  } finally {
    board.close();
  }
});

test('< and > say what gives way and where it is kept, and that No comes first; then the command runs', () =>
  withConflicts({}, async (board) => {
    await board.press('<');
    const question = await shown(board);
    assert.match(question, "! Let the Master's state stand?");
    assert.match(question, "The Backup's plan.md (3.90 kB");
    assert.match(question, 'It is kept in the trash of ATLAS-B');
    await board.press('\r');
    assert.equal(board.started, []);
    await board.press('<', 'y');
    assert.equal(board.started, ['conflicts resolve id-photos notes/plan.md --keep master --json']);
    board.finish(done({ operation_id: 'op-1', problems: [] }));
    assert.match(await shown(board), "✓ plan.md: the Master's state: settled · u undo");
    await board.press('u');
    assert.is(board.started.at(-1), 'restore undo op-1');
    board.finish({ style: 'warn', text: 'undo: done, conflicts are waiting', lines: [] });
    await board.press('>');
    assert.match(await shown(board), "The Master's plan.md (4.20 kB");
    await board.press('y');
    board.finish(done({ operation_id: 'op-2', problems: [{ path: 'a\x1b[2J', message: 'changed since' }] }, 'warn'));
    assert.match(await shown(board), /a␛\[2J .*\n.* {2}changed since/);
  }));

test('a refused decision stays as an error, and is nothing to undo', () =>
  withConflicts({}, async (board) => {
    await board.press('=');
    assert.equal(
      board.started,
      ['conflicts resolve id-photos notes/plan.md --keep both --json'],
      'nothing is lost, so it asks nothing',
    );
    board.finish({ style: 'bad', text: 'plan.md: The Backup is away.', hint: 'Plug it in.', lines: [] });
    assert.match(await shown(board), '✗ plan.md: The Backup is away. Plug it in.');
    await leave(board);
    await board.press('u');
    assert.match(await shown(board), 'nothing was done here yet');
  }));

test('a deletion that stands is named as one; what belongs to the same shot goes along; without versions it is lost', () =>
  withConflicts({}, async (board) => {
    await board.press('j', '<');
    const shot = await shown(board);
    assert.match(shot, "The Backup's IMG_4410.xmp");
    assert.match(shot, 'It belongs to the same shot as IMG_4410.xmp, which goes along.');
    await board.press('n', 'j', 'j', '<');
    assert.match(await shown(board), /budget\.ods .* is deleted/);
    await board.press('n', '>');
    assert.equal(board.started, ['conflicts resolve id-photos budget.ods --keep backup --json'], 'nothing gives way');
    await board.press('j', 'j', '>');
    assert.match(await shown(board), 'It is lost: versions are off for this group.');
  }));

test('n and l say which side that is, or why neither; a name like an option becomes a pattern', () =>
  withConflicts({}, async (board) => {
    await board.press('n');
    assert.match(await shown(board), '! Let the newest version stand?');
    assert.match(await shown(board), "The Backup's plan.md (3.90 kB");
    await board.press('n', 'j', 'n');
    assert.match(await shown(board), 'IMG_4410.JPG: both have the same time');
    await board.press('l');
    assert.match(await shown(board), "The Master's IMG_4410.JPG (18.0 MB");
    await board.press('n', 'j', 'j', 'n');
    assert.match(await shown(board), 'only one side has it, so none is the newest');
    await board.press('G', '=', 'd');
    assert.equal(board.started, ['conflicts resolve id-photos /-rf\\ \\[1\\].txt --keep both --json']);
    assert.match(await shown(board), 'its name looks like an option');
  }));

test('* makes one choice for what is marked, a command for each group, or for all of the group; No comes first', () =>
  withConflicts({}, async (board) => {
    await board.press('*');
    assert.match(await shown(board), 'not now: Space marks');
    await leave(board);
    await board.press(' ', 'G', 'k', ' ', '*');
    assert.match(await shown(board), 'For the 2 marked conflicts');
    await board.press('m');
    const all = await shown(board);
    assert.match(all, 'For the 2 marked conflicts: notes/plan.md, video/clip.mov');
    assert.match(all, 'What gives way of photos is replaced or removed on its drive, and');
    assert.match(all, /of work is replaced .*\n.* lost: versions/);
    await board.press('\r');
    assert.equal(board.started, []);
    await board.press('*', 'm', '>');
    assert.equal(board.started, [
      'conflicts resolve id-photos notes/plan.md --keep backup --json',
      'conflicts resolve id-work video/clip.mov --keep backup --json',
    ]);
    board.finish(done({ operation_id: 'op-1', problems: [] }));
    await board.press('g', '*', 't');
    assert.match(await shown(board), '3 cannot be settled so');
    await board.press('l');
    assert.match(board.started.at(-1) ?? '', /^conflicts resolve id-photos notes\/plan\.md .* --keep largest --json$/s);
    assert.not.match(board.started.at(-1) ?? '', 'clip.mov');
  }));

test('s leaves it for later and goes on; the selection follows its row; / and a click work as in every list', () =>
  withConflicts({}, async (board) => {
    await board.press('s');
    const lines = await board.lines();
    assert.match(lines.find((line) => line.includes('plan.md')) ?? '', '–');
    assert.match(lines.find((line) => line.includes('▸')) ?? '', 'IMG_4410.JPG');
    board.give('conflicts', ROWS.slice(1));
    assert.match((await board.lines()).find((line) => line.includes('▸')) ?? '', 'IMG_4410.JPG');
    await board.press('/', 'w', 'e', 'd', '\r');
    assert.match(await shown(board), '1 of 6 · /wed');
    await leave(board);
    const head = (await board.lines()).findIndex((line) => line.includes('FILE'));
    const x = (await board.lines())[head]?.indexOf('FILE') ?? 0;
    await board.press(`\x1b[<0;${x + 1};${head + 1}M`);
    assert.match((await board.lines())[head] ?? '', 'FILE↑');
    await board.press(`\x1b[<0;${x + 1};${head + 3}M`);
    assert.match((await board.lines())[head + 2] ?? '', '▸');
  }));

test('d shows what the command prints, Enter all that is known, m asks for a program', () =>
  withConflicts({}, async (board) => {
    await board.press('d');
    assert.equal(board.started, ['conflicts diff id-photos notes/plan.md']);
    board.finish({ style: 'good', text: 'done', lines: ['--- Master', '-old \x1b[31m', '+new'] });
    assert.match(await shown(board), '-old ␛[31m');
    await leave(board);
    await board.press('\r');
    assert.match(await shown(board), /Agreed {4}4\.00 kB/);
    assert.match(await shown(board), 'checksum 9f2c0011aa');
    await leave(board);
    await board.press('m', 'm', 'eld {merged}', '\x13');
    assert.is(board.started.at(-1), 'conflicts merge id-photos notes/plan.md --json --program=meld {merged}');
    await board.press('j', 'j', 'j', 'm');
    assert.match(await shown(board), 'it is not a file on both sides');
  }));

test('a sealed group is asked for its password, which is no word', () =>
  withConflicts({}, async (board) => {
    const sealed = group('photos', 'ATLAS-A', 'ATLAS-B', { storage: { form: 'sealed' } as never });
    board.give('status', overview({ groups: [sealed], sealed: [sealed.id] }));
    await board.press('=', 's', 'e', 'c', '\x13');
    assert.equal(board.started, ['conflicts resolve id-photos notes/plan.md --keep both --json']);
    assert.is(board.secrets[0]?.password, 'sec');
  }));

test('with --read-only nothing is decided; a side that changed or is away says so', () =>
  withConflicts({ readOnly: true }, async (board) => {
    await board.press('<', '>', '=', 'n', 'l', 'm', '*');
    assert.equal(board.started, []);
    assert.match(await shown(board), 'the dashboard was started with --read-only');
    const [plan] = ROWS as [ConflictRow];
    const changed = sides(plan, text(['a']), undefined);
    board.give(
      'sides',
      {
        master: { ...changed.master, state: { kind: 'f', size: 1, mtime: ago(1) } },
        backup: { here: false, state: null },
      },
      'id-photos',
      plan.path,
    );
    const seen = await shown(board);
    assert.match(seen, '! changed since it was found');
    assert.match(seen, '○ away');
  }));

test('texts stand beside each other line by line', () => {
  const cases: [left: string, right: string, expected: string][] = [
    ['abc', 'abc', 'a=a b=b c=c'],
    ['abc', 'axc', 'a=a b~x c=c'],
    ['abcd', 'ad', 'a=a b~. c~. d=d'],
    ['', 'ab', '.~a .~b'],
    ['xaybz', 'ab', 'x~. a=a y~. b=b z~.'],
    ['ab', 'ba', 'a~. b=b .~a'],
  ];
  for (const [left, right, expected] of cases) {
    const pairs = aligned([...left], [...right]);
    assert.is(pairs.map((one) => `${one.left ?? '.'}${one.same ? '=' : '~'}${one.right ?? '.'}`).join(' '), expected);
  }
  const many = Array.from({ length: 2000 }, (_, index) => `left ${index}`);
  const pairs = aligned(many, [...many.slice(0, 1000), 'new', ...many.slice(1001)]);
  assert.is(firstDifference(pairs, 20), 997);
  assert.is(
    aligned(
      many,
      many.map((line) => `x${line}`),
    ).length,
    2000,
  );
});

// --- the reader's side ---

const memoryOf = (pair: TestPair, news: () => void = () => {}, signal?: AbortSignal): Memory => {
  return { ctx: pair.context(signal ? { signal } : {}), seen: [], rates: new Map(), news };
};

const SAMPLE = { 'notes.txt': 'old', link: 'x', 'gone.txt': 'g' };

async function apart(pair: TestPair): Promise<void> {
  await pair.sync();
  edit(pair.master, { 'notes.txt': 'one\ntwo' });
  edit(pair.backup, { 'notes.txt': 'one\nthree!' });
  await pair.sync();
}

test('the reader lists what waits, and looks at both sides as they are now, whatever stands there', () =>
  withPair({ master: SAMPLE }, async (pair) => {
    await apart(pair);
    const gone = new AbortController();
    const memory = memoryOf(pair, () => {}, gone.signal);
    try {
      const [row] = await conflictReads.conflicts.read([], memory);
      assert.equal([row?.path, row?.target, row?.keeps, row?.project], ['notes.txt', 'Archive', true, null]);
      const id = row?.group_id ?? '';
      const look = (path: string): Promise<Sides> => conflictReads.sides.read([id, path], memory);
      await until(async () => (await look('notes.txt')).backup.preview !== undefined);
      const both = await look('notes.txt');
      assert.equal(both.master.preview?.text?.lines, ['one', 'two']);
      assert.equal(both.backup.preview?.text?.lines, ['one', 'three!']);
      assert.is(both.backup.state?.size, 10);
      renameSync(join(pair.backup, 'notes.txt'), join(pair.backup, 'elsewhere'));
      symlinkSync('/etc/passwd', join(pair.backup, 'notes.txt'));
      symlinkSync('/etc', join(pair.backup, 'folder'));
      assert.is((await look('notes.txt')).backup.preview?.note, 'a link to /etc/passwd');
      assert.is((await look('folder/passwd')).backup.state, null, 'what lies behind a link is not there');
      assert.equal((await look('nowhere')).master, { here: true, state: null, preview: { facts: [], note: '' } });
    } finally {
      gone.abort();
      await nobodyIn(pair.box.data);
    }
  }));

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 60_000; !(await holds()); await pause(50))
    if (Date.now() > end) throw new Error('It did not happen in time.');
}

test('the whole way in a terminal: both sides are seen, the Master stands, and u takes that back', () =>
  withPair({ master: { 'notes.txt': 'old' } }, async (pair) => {
    const { box, backup } = pair;
    await apart(pair);
    const tmux = openTmux(120, 35, { TANDEM_CONFIG: box.config, TANDEM_DATA: box.data });
    const content = (): string => readFileSync(join(backup, 'notes.txt'), 'utf8');
    try {
      tmux.keys(`${TANDEM}; echo "code $?"`, 'Enter');
      await tmux.shows('Conflicts •1');
      tmux.keys('3');
      await tmux.shows('three!');
      await tmux.shows('~ two');
      tmux.keys('<');
      await tmux.shows('It is kept in the trash of BACKUP');
      tmux.keys('y');
      await tmux.shows('All is well');
      await until(async () => content() === 'one\ntwo');
      tmux.keys('u');
      await tmux.shows('undone');
      await until(async () => content() === 'one\nthree!');
      tmux.keys('q');
      await tmux.shows('code 0');
      assert.ok(existsSync(join(backup, 'notes.txt')));
    } finally {
      tmux.close();
      await nobodyIn(box.data);
    }
  }));

test.run();
