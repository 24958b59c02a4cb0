/** The screen of runs and plans: as a terminal shows it, what its keys do, and the reader's side of it on real folders. */
import { readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listOperations } from '../../features/history.ts';
import { type RunFiles, runFiles } from '../../tui/reads/files.ts';
import { type PlanFiles, type PlanHead, planFiles, planFolder, type Tick } from '../../tui/reads/plans.ts';
import type { Memory } from '../../tui/reads.ts';
import { ASKS } from '../../tui/reads.ts';
import { type Choice, chosenRows, type FileRow, PAGE, pageOf } from '../../tui/rows.ts';
import {
  type Board,
  type BoardOptions,
  group,
  matchesGolden,
  NOW,
  openBoard,
  overview,
  running,
} from '../helpers/board.ts';
import { edit, withPair } from '../helpers/pair.ts';

const test = suite('run');

const ALL: Choice = { filter: '', action: '', errors: false };

const row = (path: string, more: Partial<FileRow> = {}): FileRow => ({
  ...{ path, action: 'copy', entry: 'f', size: 53e6, state: 'queued' },
  ...more,
});

const FLIGHT = [
  row('2026/07/IMG_4410.RAF', { state: 'flight', share: 0.77 }),
  row('2026/07 東京/IMG_4411 📷.RAF', { state: 'flight', share: 0.21 }),
];
const ROWS: FileRow[] = [
  ...FLIGHT,
  row('2026/07/IMG_4412.RAF'),
  row('2026/06/a.jpg', { action: 'move', from: 'inbox/a.jpg', size: 4.1e6, state: 'done' }),
  row('2026/06/b.jpg', { action: 'move', from: '2026/06/old.jpg', size: 4.1e6, state: 'done' }),
  row('2026/05/dup(1).jpg', { action: 'delete', size: 4.1e6, state: 'done' }),
  row('video/a very long folder name/that goes on and on/name-final.mov', {
    ...{ size: 2.1e9, state: 'failed', message: 'no space left on the drive' },
  }),
  row('evil\x1b[31m\nname\u202egpj', { state: 'skipped' }),
  row('notes/plan.md', {
    action: 'conflict',
    size: 4200,
    state: 'conflict',
    message: 'modified_both: changed on both',
  }),
  row('2026/07', { entry: 'd', size: 0, state: 'done' }),
];

function files(rows: readonly FileRow[], more: Partial<RunFiles> = {}, choice: Choice = ALL, page = 0): RunFiles {
  const run = { ...running('photos'), target: 'photos', result: '4,812 files copied' };
  return { ...pageOf(rows, chosenRows(rows, choice), page), run, flight: FLIGHT, keeps: true, ...more };
}

function giveRun(board: Board, value: RunFiles, choice: Choice = ALL, page = 0, subject = 'auto'): void {
  board.give('files', value, subject, JSON.stringify(choice), String(page));
}

async function withRun(options: BoardOptions, work: (board: Board) => Promise<void>): Promise<void> {
  const board = await openBoard(options);
  try {
    board.give('running', [running('photos')]);
    board.give('status', overview({ groups: [group('photos', 'ATLAS-A', 'ATLAS-B')] }));
    board.give('plans', '/data/plans');
    giveRun(board, files(ROWS));
    await board.press('2');
    await work(board);
  } finally {
    board.close();
  }
}

const text = async (board: Board): Promise<string> => (await board.lines()).join('\n');

for (const [name, options] of [
  ['run-120x35', {}],
  ['run-80x24', { width: 80, height: 24 }],
  ['run-ascii', { width: 80, height: 24, theme: { colours: 16, unicode: false } }],
] as const) {
  test(`${name} is what it was`, () => withRun(options, async (board) => matchesGolden(name, await board.lines())));
}

test('an ended run says how it went, when, and who began it; without versions nothing goes to a trash', () =>
  withRun({ width: 80, height: 24 }, async (board) => {
    const run = { ...running('photos'), target: 'photos', result: '212 files copied, 8.10 GB' };
    const ended = { ...run, status: 'failed' as const, reason: '1 file failed', end_time: NOW.toISOString() };
    giveRun(board, files(ROWS, { run: { ...ended, started_by: 'schedule nightly' }, flight: [], keeps: false }));
    const shown = await text(board);
    assert.match(shown, '✗ failed (1 file failed)   212 files copied, 8.10 GB');
    assert.match(shown, 'by schedule nightly');
    assert.not.match(shown, 'trash');
    await board.press('p', 'x', 'b');
    assert.equal(board.asked, []);
    assert.match(await text(board), 'nothing that is shown here is running');
    await board.press('s');
    assert.equal(board.started, ['sync run id-photos']);
  }));

test('p and Space hold it and let it go on, x asks and names what is not copied, b limits it', () =>
  withRun({}, async (board) => {
    await board.press('p', ' ');
    await board.press('x');
    assert.match(await text(board), '4,318 files will not be copied now');
    await board.press('\r', 'x', 'y');
    await board.press('b', '1', '2', '0', '0', '\r');
    assert.match(await text(board), 'A number from 0.1 to 1000');
    await board.press('\x7f', '\x7f', '\r');
    assert.equal(board.asked, [
      'control uuid-photos pause',
      'control uuid-photos pause',
      'control uuid-photos cancel',
      'limit uuid-photos 12',
    ]);
    assert.match(await text(board), 'photos: 12 MB/s');
    await board.press('s');
    assert.match(await text(board), 's start: it is running');
  }));

test('a shows one action, e the errors, o and a click sort, / filters; all of it is asked of the reader', () =>
  withRun({}, async (board) => {
    const give = (choice: Choice): void => giveRun(board, files(ROWS, {}, choice), choice);
    give({ ...ALL, action: 'conflict' });
    await board.press('a');
    const conflicts = await text(board);
    assert.match(conflicts, 'Files · action:conflict');
    assert.match(conflicts, '1 of 10');
    give({ ...ALL, errors: true });
    await board.press('a', 'a', 'a', 'a', 'e');
    const errors = await text(board);
    assert.match(errors, '! no space left on the drive');
    assert.not.match(errors, 'IMG_4412');
    await board.press('e', 'o', 'o', 'o', 'o');
    const bySize = { filter: '', action: '', errors: false, sort: 'path', descending: true } as const;
    give(bySize);
    assert.match((await board.lines()).find((line) => line.includes('FILE')) ?? '', 'FILE↓');
    const head = (await board.lines()).findIndex((line) => line.includes('FILE'));
    assert.match((await board.lines())[head + 1] ?? '', '▸ copy      video');
    // A click on SIZE.
    const x = (await board.lines())[head]?.indexOf('SIZE') ?? 0;
    give({ ...ALL, sort: 'size', descending: false });
    await board.press(`\x1b[<0;${x + 1};${head + 1}M`);
    assert.match((await board.lines())[head + 1] ?? '', '2026/07/');
    give({ ...ALL, filter: '4412', sort: 'size', descending: false });
    await board.press('/', '4', '4', '1', '2', '\r');
    assert.match(await text(board), '1 of 10 · /4412');
  }));

test('Enter tells everything of a file, whatever its name holds', () =>
  withRun({ width: 80, height: 24 }, async (board) => {
    await board.press(...'jjjjjjj'.split(''), '\r');
    const shown = await text(board);
    assert.match(shown, 'Path      evil␛[31m␊name');
    assert.match(shown, 'Size      53.0 MB (53,000,000 bytes)');
    assert.not.match(shown, '\u202e');
  }));

test('of 100,000 files a page or two is asked for, and the ends are a key away', () =>
  withRun({}, async (board) => {
    const many = Array.from({ length: 100_000 }, (_, index) => row(`folder/IMG_${index}.RAF`));
    giveRun(board, files(many));
    assert.match(await text(board), '100,000 rows');
    await board.press('G');
    assert.match(await text(board), '…');
    const last = Math.floor(99_999 / PAGE);
    for (const page of [last - 1, last]) giveRun(board, files(many, {}, ALL, page), ALL, page);
    assert.match(await text(board), '▸ copy    folder/IMG_99999.RAF');
    for (const size of [files(many).rows.length, files(many, {}, ALL, last).rows.length]) assert.ok(size <= PAGE);
  }));

test('with several runs Tab goes from one to the next, and c chooses from those that ended as well', () =>
  withRun({}, async (board) => {
    const other = running('work');
    board.give('running', [running('photos'), other]);
    assert.match(await text(board), 'Run: sync photos (1 of 2, Tab next)');
    giveRun(board, files([], { run: { ...other, target: 'work', result: '' }, flight: [] }), ALL, 0, 'uuid-work');
    await board.press('\t');
    assert.match(await text(board), 'Run: sync work (2 of 2');
    await board.press('p');
    assert.equal(board.asked, ['control uuid-work pause']);
    const old = {
      ...running('old'),
      status: 'completed' as const,
      target: 'old',
      result: '',
      group_name: 'old',
      problem_count: 0,
    };
    board.give('history', { rows: [old], more: false, targets: [] }, '20', '', '');
    giveRun(board, files([], { run: { ...old, end_time: NOW.toISOString() }, flight: [] }), ALL, 0, 'uuid-old');
    await board.press('c', 'G', '\r');
    assert.match(await text(board), 'Run: sync old');
    giveRun(board, files(ROWS), ALL, 0, 'uuid-photos');
    await board.press('c', 'j', '\r');
    assert.match(await text(board), 'Run: sync photos');
  }));

test('without any run it says what to do; an error of the reader is told', () =>
  withRun({ width: 80, height: 24 }, async (board) => {
    giveRun(board, files([], { run: null, flight: [] }));
    assert.match(await text(board), 'Sync a group: s starts it, P shows what it would do');
    await board.press('s');
    assert.equal(board.started, ['sync run id-photos']);
  }));

test('with --read-only nothing is begun, held or stopped', () =>
  withRun({ readOnly: true }, async (board) => {
    await board.press('p', ' ', 'x', 'b', 's', 'P');
    assert.equal([...board.started, ...board.asked], []);
    assert.match(await text(board), 'the dashboard was started with --read-only');
  }));

// --- plans ---

const GUARD = { name: 'mass-change', message: 'more than half is deleted', hint: '' } as const;
const NAME = `id-photos-${NOW.getTime()}.json`;
const TOTALS = {
  copy: 2,
  update: 1,
  convert: 0,
  delete: 1,
  conflict: 1,
  files: 3,
  bytes: 29.6e9,
  move: 1,
  skipped: 900,
};
const PLAN: FileRow[] = [
  row('2026/06/a.jpg', {
    action: 'move',
    from: 'inbox/a.jpg',
    size: 4.1e6,
    state: 'ticked',
    message: 'renamed on the Master',
  }),
  row('2026/07', { action: 'mkdir', entry: 'd', size: 0, state: 'ticked', message: 'new on the Master' }),
  row('2026/07/IMG_4410.RAF', {
    state: 'ticked',
    message: 'new on the Master',
    master: { size: 53e6, mtime: NOW.toISOString() },
    backup: null,
  }),
  row('2026/07/IMG_4411.RAF', { state: 'left', message: 'new on the Master' }),
  row('old.jpg', { action: 'delete', state: 'ticked', message: 'deleted on the Master' }),
];

function plan(head: Partial<PlanHead> = {}): PlanFiles {
  const about = { target: 'photos', created_at: NOW.toISOString(), careful: null, guards: [], problems: [], failed: 0 };
  return { ...pageOf(PLAN, PLAN, 0), plan: { ...about, totals: TOTALS, left: 1, ...head } };
}

function givePlan(board: Board, value: PlanFiles, ticks: readonly Tick[] = [], choice: Choice = ALL): void {
  board.give('plan', value, NAME, JSON.stringify(choice), JSON.stringify(ticks), '0');
}

for (const [name, options] of [
  ['plan-120x35', {}],
  ['plan-80x24', { width: 80, height: 24 }],
] as const) {
  test(`${name} is what it was`, () =>
    withRun(options, async (board) => {
      givePlan(board, plan({ guards: [GUARD] }));
      await board.press('P');
      board.finish({ style: 'good', text: '', lines: [] });
      matchesGolden(name, await board.lines());
    }));
}

test('P makes a plan in a process of its own, ticks go to the reader, s runs what is left of it', () =>
  withRun({}, async (board) => {
    await board.press('P');
    assert.equal(board.asked, ['plan-begin']);
    assert.equal(board.started, [`sync plan id-photos --out /data/plans/${NAME}`]);
    assert.match(await text(board), 'Comparing both drives of photos …');
    // A plan with conflicts, or one that would be refused, ends with a code of its own, and is there.
    board.finish({ style: 'bad', text: 'plan of photos: it ended with code 6', lines: [] });
    givePlan(board, plan());
    assert.match(await text(board), '2 to copy, 1 to update (29.6 GB), 1 to rename, 1 to delete, 1 conflict');
    assert.not.match(await text(board), 'code 6');
    const ticks: Tick[] = [
      { on: false, of: 'path', path: '2026/06/a.jpg' },
      { on: false, of: 'chosen', choice: { ...ALL, action: 'delete' } },
    ];
    await board.press(' ');
    givePlan(board, plan(), ticks.slice(0, 1));
    givePlan(board, plan(), ticks.slice(0, 1), { ...ALL, action: 'copy' });
    givePlan(board, plan(), ticks.slice(0, 1), { ...ALL, action: 'delete' });
    givePlan(board, plan(), ticks, { ...ALL, action: 'delete' });
    await board.press('a', 'a', '-');
    await board.press('s');
    const question = await text(board);
    assert.match(question, '! Run the plan of photos?');
    assert.match(question, '1 deleted on the Backup');
    await board.press('\r');
    assert.is(board.started.length, 1, 'No is chosen first');
    await board.press('s', 'y');
    assert.equal(board.asked.slice(1), [`plan-left ${NAME} ${JSON.stringify(ticks)}`]);
    assert.equal(board.started.slice(1), [`sync apply /data/plans/${NAME} --skip-from /data/plans/${NAME}.left`]);
    assert.match(await text(board), 'Run: sync photos');
    board.finish({ style: 'warn', text: 'plan of photos: done, conflicts are waiting', lines: [] });
    assert.match(await text(board), '! plan of photos: done, conflicts are waiting');
    assert.is(board.asked.at(-1), `plan-drop ${NAME}`);
  }));

test('a click in the first column ticks; a plan that would be refused is forced by name, after the reason', () =>
  withRun({}, async (board) => {
    await board.press('P');
    board.finish({ style: 'good', text: '', lines: [] });
    const value = plan({ guards: [GUARD] });
    givePlan(board, value);
    const y = (await board.lines()).findIndex((line) => line.includes('IMG_4411'));
    const tick: Tick = { on: true, of: 'path', path: '2026/07/IMG_4411.RAF' };
    givePlan(board, value, [tick]);
    await board.press(`\x1b[<0;7;${y + 1}M`, 's');
    assert.match(await text(board), 'mass-change: more than half is deleted');
    await board.press('y');
    assert.match(board.asked.at(-1) ?? '', JSON.stringify([tick]));
    assert.match(board.started.at(-1) ?? '', '--force mass-change');
  }));

test('a plan of a sealed group, and the run of it, are told the password that is asked for', () =>
  withRun({}, async (board) => {
    board.give('status', overview({ groups: [group('photos', 'ATLAS-A', 'ATLAS-B')], sealed: ['id-photos'] }));
    await board.press('P');
    assert.match(await text(board), 'The Backup of photos is sealed.');
    assert.equal(board.started, []);
    await board.press('pw', '\x13');
    board.finish({ style: 'good', text: '', lines: [] });
    givePlan(board, plan());
    assert.match(await text(board), '1 to delete');
    await board.press('s', 'y');
    assert.match(await text(board), 'The Backup of photos is sealed.');
    await board.press('pw', '\x13');
    assert.match(board.started.join('; '), /^sync plan .*; sync apply /);
    assert.equal(
      board.secrets.map(({ password }) => password),
      ['pw', 'pw'],
    );
  }));

test('a plan that could not be made says why; D throws one away, and asks when something was unticked', () =>
  withRun({}, async (board) => {
    await board.press('P');
    board.finish({
      style: 'bad',
      text: 'plan of photos: gone',
      lines: ['error: The Backup is away.', 'hint: Plug it in.'],
    });
    givePlan(board, { ...pageOf([], [], 0), plan: null });
    assert.match(await text(board), '✗ The Backup is away.');
    await board.press('s');
    assert.match(await text(board), 's start: the plan is not ready');
    givePlan(board, plan());
    await board.lines();
    await board.press(' ', 'D');
    assert.match(await text(board), 'What you unticked is forgotten');
    await board.press('y');
    assert.is(board.asked.at(-1), `plan-drop ${NAME}`);
    assert.match(await text(board), 'Run: sync photos');
  }));

// --- the reader's side, on real folders ---

const memoryOf = (ctx: Memory['ctx']): Memory => ({ ctx, seen: [], rates: new Map(), news: () => {} });

test('the reader pages a run from its journal, and reads on where it was', () =>
  withPair({ master: { 'a.txt': '1', 'd/b.txt': '22' } }, async ({ ctx, sync, master }) => {
    const memory = memoryOf(ctx);
    assert.is((await runFiles('auto', ALL, 0, memory)).run, null);
    await sync();
    const first = await runFiles('auto', ALL, 0, memory);
    assert.is(first.run?.status, 'completed');
    assert.equal(first.rows.map(({ path, state }) => `${path} ${state}`).sort(), ['a.txt done', 'd/b.txt done']);
    renameSync(join(master, 'a.txt'), join(master, 'new.txt'));
    await sync();
    const second = await runFiles('auto', { ...ALL, sort: 'path', descending: true }, 0, memory);
    assert.equal(
      second.rows.map(({ path, from }) => [path, from]),
      [['new.txt', 'a.txt']],
    );
    const [, older] = await listOperations({ limit: 2 }, ctx);
    assert.is((await runFiles(older?.uuid ?? '', ALL, 0, memory)).count, 2);
  }));

test('what is unticked is not done, what is left of the plan is, and both are counted as the run does it', () =>
  withPair(
    { master: { 'keep.txt': '1', 'gone.txt': '1', 'old.txt': '1' } },
    async ({ ctx, sync, master, backup, box }) => {
      await sync();
      edit(master, { 'new/a.txt': 'a', 'new/b.txt': 'bb', 'odd\nname': 'o', 'keep.txt': 'changed' });
      rmSync(join(master, 'gone.txt'));
      renameSync(join(master, 'old.txt'), join(master, 'moved.txt'));
      const memory = memoryOf(ctx);
      const ask = (name: string, ...args: string[]): Promise<void> => ASKS[name]?.(args, memory) ?? Promise.reject();
      await ask('plan-begin');
      assert.is(statSync(planFolder(ctx)).mode & 0o077, 0);
      const file = join(planFolder(ctx), 'one.json');
      assert.is((await planFiles('one.json', ALL, [], 0, memory)).plan, null);
      assert.is((await box.run(['sync', 'plan', 'Archive', '--delete', '--out', file])).code, 0);
      const whole = await planFiles('one.json', ALL, [], 0, memory);
      assert.equal(
        whole.rows.map(({ action, path }) => `${action} ${path}`).sort(),
        [
          'copy new/a.txt',
          'copy new/b.txt',
          'copy odd\nname',
          'delete gone.txt',
          'mkdir new',
          'move moved.txt',
          'update keep.txt',
        ].sort(),
      );
      assert.is(whole.plan?.left, 0);
      const ticks: Tick[] = [
        { on: false, of: 'all' },
        { on: true, of: 'chosen', choice: { ...ALL, filter: 'new' } },
        { on: false, of: 'path', path: 'new/a.txt' },
        { on: true, of: 'path', path: 'odd\nname' },
        { on: true, of: 'chosen', choice: { ...ALL, action: 'move' } },
      ];
      const some = await planFiles('one.json', ALL, ticks, 0, memory);
      assert.equal(
        some.rows
          .filter(({ state }) => state === 'left')
          .map(({ path }) => path)
          .sort(),
        ['gone.txt', 'keep.txt', 'new/a.txt'],
      );
      assert.equal([some.plan?.totals.copy, some.plan?.totals.move, some.plan?.totals.delete], [2, 1, 0]);
      await ask('plan-left', 'one.json', JSON.stringify(ticks));
      const applied = await box.run(['sync', 'apply', file, '--skip-from', `${file}.left`, '--json']);
      assert.is(applied.code, 0, applied.stderr);
      assert.is((applied.json() as { files_copied: number }).files_copied, some.plan?.totals.copy);
      assert.equal(
        readdirSync(backup)
          .filter((name) => name !== '.tandem')
          .sort(),
        ['gone.txt', 'keep.txt', 'moved.txt', 'new', 'odd\nname'],
      );
      assert.equal(readdirSync(join(backup, 'new')), ['b.txt']);
      assert.is(readFileSync(join(backup, 'keep.txt'), 'utf8'), '1');
      await ask('plan-drop', 'one.json');
      assert.equal(readdirSync(planFolder(ctx)), []);
    },
  ));

test('a folder that is unticked takes what is in it along; a file that is ticked again brings its folder', () =>
  withPair({ master: { 'd/a': '1', 'd/b': '2', 'd/e/c': '3' } }, async ({ ctx, box }) => {
    const memory = memoryOf(ctx);
    await ASKS['plan-begin']?.([], memory);
    await box.run(['sync', 'plan', 'Archive', '--out', join(planFolder(ctx), 'p')]);
    const left = async (...ticks: Tick[]): Promise<string[]> => {
      const { rows } = await planFiles('p', ALL, ticks, 0, memory);
      return rows.filter(({ state }) => state === 'left').map(({ path }) => path);
    };
    const out: Tick = { on: false, of: 'path', path: 'd' };
    assert.equal((await left(out)).sort(), ['d', 'd/a', 'd/b', 'd/e', 'd/e/c']);
    assert.equal((await left(out, { on: true, of: 'path', path: 'd/e/c' })).sort(), ['d/a', 'd/b']);
    assert.equal(await left(out, { on: true, of: 'all' }), []);
    for (const name of ['../../outside', '/etc/passwd'])
      assert.is((await planFiles(name, ALL, [], 0, memory)).plan, null);
  }));

test.run();
