/** The screen of the history: as a terminal shows it, the words of its commands, and the whole way on practice folders. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { HistoryRow } from '../../tui/reads/history.ts';
import { historyPage } from '../../tui/reads/history.ts';
import { pageOf } from '../../tui/rows.ts';
import { ago, type Board, type BoardOptions, matchesGolden, openBoard, overview, running } from '../helpers/board.ts';
import { edit, withPair } from '../helpers/pair.ts';
import { nobodyIn, openTmux, quit, TANDEM } from '../helpers/tmux.ts';

const test = suite('history');

function entry(id: number, more: Partial<HistoryRow> = {}): HistoryRow {
  const { rates: _, ...operation } = running('photos');
  const ended = {
    status: 'completed' as const,
    progress: null,
    start_time: ago(id * 700),
    end_time: ago(id * 700 - 3),
  };
  const numbers = { files_copied: 212, bytes_copied: 8.1e9, files_skipped: 88_210, verified: 'device' };
  const read = { target: 'photos', group_name: 'photos', result: '212 files copied, 8.10 GB', problem_count: 0 };
  return { ...operation, ...ended, ...numbers, ...read, id: 420 - id, uuid: `uuid-${id}`, ...more };
}

const ROWS: HistoryRow[] = [
  entry(0, { ...running('photos'), target: 'photos', result: 'nothing to do', end_time: null, status: 'running' }),
  entry(1, { started_by: 'schedule nightly' }),
  entry(2, {
    ...{
      status: 'failed',
      files_failed: 2,
      problem_count: 31,
      reason: '2 files failed',
      target: 'work/RAW',
      subpath: 'RAW',
    },
    problems: [
      { path: 'evil\x1b[31m\nname.raf', message: 'no space left' },
      { path: 'b.raf', message: 'changed during copy' },
    ],
  }),
  entry(3, { status: 'cancelled', target: 'archive 東京' }),
  entry(4, { conflicts_detected: 2, files_copied: 0, result: 'nothing to do', operation_type: 'verify' }),
  entry(5, {
    target_kind: 'project',
    target_name: 'Wedding',
    target: 'Wedding (footage)',
    role: 'footage',
    group_name: null,
  }),
  entry(6, { target_kind: 'folder', operation_type: 'restore', target: 'photos 💾' }),
  entry(7, { target_kind: 'project', target_name: 'Wedding', target: 'Wedding', parts: 2, group_id: 'project-id' }),
];

async function withHistory(options: BoardOptions, work: (board: Board) => Promise<void>): Promise<void> {
  const board = await openBoard(options);
  try {
    board.give('running', []);
    board.give('status', overview());
    give(board, ROWS);
    await board.press('4');
    await work(board);
  } finally {
    board.close();
  }
}

function give(board: Board, rows: HistoryRow[], limit = '50', target = '', status = ''): void {
  board.give('history', { rows, more: limit !== 'all', targets: ['photos', 'Wedding'] }, limit, target, status);
}

const text = async (board: Board): Promise<string> => (await board.lines()).join('\n');
const leave = async (board: Board): Promise<void> => {
  await board.press('\x1b');
  await new Promise((done) => setTimeout(done, 80));
};

for (const [name, options] of [
  ['history-120x35', {}],
  ['history-80x24', { width: 80, height: 24 }],
  ['history-mono', { width: 80, height: 24, theme: { colours: 'mono', unicode: false } }],
] as const) {
  test(`${name} is what it was`, () =>
    withHistory(options, async (board) => {
      await board.press('j', 'j');
      matchesGolden(name, await board.lines());
    }));
}

test('colour follows the status, and the sign says the same', () =>
  withHistory({}, async (board) => {
    const lines = await board.lines();
    for (const sign of ['✓', '✗', '!', '◐'])
      assert.ok(
        lines.some((line) => line.includes(`${sign} `)),
        sign,
      );
    const y = lines.findIndex((line) => line.includes('✗ 2 files'));
    assert.ok(board.look(lines[y]?.indexOf('✗') ?? 0, y).includes('fg'));
  }));

test('+ and - ask for more and fewer, t for one target, f for one status', () =>
  withHistory({}, async (board) => {
    give(board, ROWS.slice(0, 2), '100');
    await board.press('-', '+');
    assert.match(await text(board), '2 of 100+');
    for (const limit of ['200', '500', 'all']) give(board, ROWS, limit);
    await board.press('+', '+', '+', '+');
    assert.match(await text(board), '─ 8 ─');
    give(board, [], 'all', '', 'running');
    give(board, [ROWS[2] as HistoryRow], 'all', '', 'failed');
    await board.press('f');
    assert.match(await text(board), 'No operation of this kind. t and f choose others.');
    await board.press('f', 'f');
    assert.match(await text(board), 'History · failed');
    give(board, [ROWS[7] as HistoryRow], 'all', 'Wedding', 'failed');
    await board.press('t', 'j', 'j', '\r');
    assert.match(await text(board), 'History · of Wedding, failed');
  }));

test('Enter shows the files, Esc comes back; / and o are those of every list', () =>
  withHistory({}, async (board) => {
    const all = JSON.stringify({ filter: '', action: '', errors: false });
    const run = { ...running('photos'), ...entry(1), rates: [] };
    board.give('files', { ...pageOf([], [], 0), run, flight: [], keeps: true }, 'uuid-1', all, '0');
    await board.press('j', '\r');
    assert.match(await text(board), 'Run: sync photos');
    await leave(board);
    await board.press('/', 'r', 'a', 'w', '\r', 'o');
    const filtered = await text(board);
    assert.match(filtered, '1 of 8 · /raw');
    assert.match(filtered, 'NO.↑');
  }));

test('R begins the same again, where the history says enough', () =>
  withHistory({}, async (board) => {
    await board.press('R');
    assert.match(await text(board), 'R again: it is still running');
    await board.press('j', 'R', 'j', 'R', 'j', 'j', 'R', 'j', 'R', 'j', 'R');
    assert.equal(board.started, [
      'sync run id-photos',
      'sync run id-photos --path RAW',
      'verify run id-photos',
      'sync run Wedding --role footage',
    ]);
    assert.match(await text(board), 'does not say enough to begin a run of the kind restore');
    await board.press('j', 'R');
    assert.is(board.started.at(-1), 'sync run Wedding');
  }));

test('u says first what comes back and what goes; No is chosen first; what cannot be undone says why', () =>
  withHistory({ width: 80, height: 24 }, async (board) => {
    const finish = (lines: string[], style: 'good' | 'bad' = 'good', said = ''): void =>
      board.finish({ style, text: said, lines });
    await board.press('u');
    assert.match(await text(board), 'u undo: it is still running');
    await board.press('j', 'u');
    assert.equal(board.started, ['restore undo uuid-1 --dry-run']);
    const counts = '3 to put back, 1200 to move to the trash, 0 folders to make again, 0 to rename back, 1 refused';
    finish([`Backup: ${counts}`, '  ! a\x1b[31m.raf: it changed since', 'Nothing was written.']);
    const question = await text(board);
    assert.match(question, '! Undo sync 419 of photos?');
    assert.match(question, 'On the Backup: 3 put back, 1,200 moved to the trash, 1 refused.');
    assert.match(question, 'a␛[31m.raf: it changed since');
    await board.press('\r', 'u');
    finish(['Backup: 0 to put back, 0 to move to the trash, 0 folders to make again, 0 to rename back, 0 refused']);
    assert.match(await text(board), 'sync 419 left nothing that could be undone');
    await board.press('u');
    finish([], 'bad', 'undo: The Backup is away.');
    assert.match(await text(board), '✗ undo: The Backup is away.');
    await leave(board);
    await board.press('u');
    finish([`Master: ${counts}`]);
    await board.press('y');
    assert.is(board.started.at(-1), 'restore undo uuid-1');
  }));

test('r restores into a folder, with the words of restore run', () =>
  withHistory({}, async (board) => {
    await board.press('j', 'r', '\x13');
    assert.match(await text(board), 'Name a folder');
    await board.press('R', 'escued', '\t', '\x1b[200~**/*.xmp\x1b[201~', '\x13');
    board.finish({ style: 'good', text: 'done', lines: [] });
    await board.press('j', 'j', 'j', 'j', 'r', 'Out', '\t', '\t', ' ', '\t', ' ', '\x13');
    board.finish({ style: 'good', text: 'done', lines: [] });
    assert.equal(board.started, [
      'restore run id-photos **/*.xmp --to Rescued --verify checksum',
      'restore run Wedding --to Out --role footage --version uuid-5',
    ]);
    await board.press('j', 'r');
    assert.match(await text(board), 'it worked on a folder that is no drive');
  }));

test('E exports as history export does, the name follows the format, and an old file only goes when told', () =>
  withHistory({}, async (board) => {
    await board.press('E', '\x13');
    board.finish({ style: 'good', text: 'done', lines: [] });
    await board.press('E', ' ', '\t', '\t', ' ', '\x13');
    board.finish({ style: 'good', text: 'done', lines: [] });
    assert.equal(board.started, [
      'history export --format csv --out history-2026-11-20.csv',
      'history export --format json --out history-2026-11-20.json --yes',
    ]);
  }));

test('with --read-only nothing is undone, begun, restored or written; an empty history says what to do', () =>
  withHistory({ readOnly: true }, async (board) => {
    await board.press('j', 'u', 'R', 'r', 'E');
    assert.equal(board.started, []);
    assert.match(await text(board), 'the dashboard was started with --read-only');
    give(board, []);
    assert.match(await text(board), 'Nothing was synced yet. Sync a group on Home (1)');
  }));

test('of an operation with parts each is told', () =>
  withHistory({}, async (board) => {
    const parts = [
      entry(8, { target: 'Wedding (footage)' }),
      entry(9, { target: 'Wedding (audio)', status: 'failed' }),
    ];
    board.give('parts', parts, 'uuid-7');
    await board.press('G');
    const shown = await text(board);
    assert.match(shown, '✓ Wedding (footage)');
    assert.match(shown, '✗ Wedding (audio)');
  }));

test('the reader counts and cuts the history, and knows targets of the past', () =>
  withPair({ master: { a: '1' } }, async ({ ctx, sync }) => {
    await sync();
    await sync();
    const one = await historyPage('1', '', '', ctx);
    assert.equal([one.rows.length, one.more, one.targets], [1, true, ['Archive']]);
    assert.equal([one.rows[0]?.group_name, one.rows[0]?.result], ['Archive', 'nothing to do']);
    assert.is((await historyPage('all', 'Archive', 'failed', ctx)).rows.length, 0);
    assert.is((await historyPage('all', 'nobody', '', ctx)).rows.length, 0);
  }));

test('the whole way in a terminal: a plan is unticked and run, its run looked at in the history, exported and undone', () =>
  withPair({ master: { 'old.txt': '1' } }, async ({ box, sync, master, backup }) => {
    await sync();
    edit(master, { 'wanted.txt': 'w', 'unwanted.txt': 'u' });
    const tmux = openTmux(120, 35, { TANDEM_CONFIG: box.config, TANDEM_DATA: box.data });
    try {
      tmux.keys(`cd ${box.root} && ${TANDEM}; echo "code $?"`, 'Enter');
      await tmux.shows('MASTER');
      tmux.keys('2');
      await tmux.shows('1 file copied');
      tmux.keys('P');
      await tmux.shows('2 to copy');
      tmux.keys('Space');
      await tmux.shows('1 of 2 left out');
      tmux.keys('s');
      await tmux.shows('Yes, run it');
      tmux.keys('y');
      await tmux.shows('by dashboard');
      assert.ok(existsSync(join(backup, 'wanted.txt')));
      assert.not.ok(existsSync(join(backup, 'unwanted.txt')));
      tmux.keys('4');
      await tmux.shows(/▸ +2 /);
      tmux.keys('E');
      await tmux.shows('Export the history');
      tmux.keys('C-s');
      await tmux.shows(/export to history-\S+: done/);
      tmux.keys('u');
      await tmux.shows('1 moved to the trash');
      tmux.keys('y');
      await tmux.shows('undo of sync 2: done');
      assert.not.ok(existsSync(join(backup, 'wanted.txt')));
      await quit(tmux);
      const file = /history-[\d-]+\.csv/.exec(readdirSync(box.root).join(' '))?.[0] ?? '';
      assert.match(
        readFileSync(join(box.root, file), 'utf8'),
        /^Operation ID,Type,Status.*\n1,sync,completed,1,.*\n2,sync,completed,1,/,
      );
    } finally {
      tmux.close();
      await nobodyIn(box.data);
    }
  }));

test.run();
