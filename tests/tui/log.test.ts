/** The log on its screen: following, standing still, searching, copying; and the reader behind it, on real files. */
import { appendFileSync, existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { LogLine } from '../../features/log.ts';
import { createContext } from '../../shared/context.ts';
import { formerLog, logFile } from '../../shared/log.ts';
import type { LogLevel } from '../../shared/settings.ts';
import { KEPT, type LogChunk, logReads } from '../../tui/reads/log.ts';
import type { Memory } from '../../tui/reads.ts';
import { brokenParts, emptyLog, lineParts, lineText, nextOf, withChunk } from '../../tui/screens/log-lines.ts';
import { ago, type Board, type BoardOptions, matchesGolden, NOW, openBoard, running } from '../helpers/board.ts';
import { sandbox } from '../helpers/cli.ts';

const test = suite('log screen');

function line(number: number, more: Partial<LogLine> = {}): LogLine {
  return {
    level: 'info',
    time: ago(100 - number / 10),
    pid: 4711,
    event: 'operation.completed',
    msg: `Sync of Archive completed, number ${number}.`,
    operation_id: `0a1b2c3d-${number}`,
    operation_type: 'sync',
    target: 'Archive',
    files_copied: number,
    ...more,
  };
}

const lines = (from: number, count: number): LogLine[] => Array.from({ length: count }, (_, at) => line(from + at));
const chunk = (first: number, all: LogLine[], epoch = 'one'): LogChunk => ({
  epoch,
  first,
  next: first + all.length,
  lines: all,
});

const EVIL = 'x\u001b]52;c;ZXZpbA==\u0007 \u202egnp.exe\u202c 📷 end\nnext';

const START: LogLine[] = [
  ...lines(0, 60),
  { level: 'warn', time: ago(94), pid: 4711, event: 'watcher.state', msg: 'work: degraded', state: 'degraded' },
  line(61, { level: 'error', msg: `Verify of ${EVIL} failed.`, reason: EVIL }),
  line(62, { msg: 'Sync of 東京 completed.' }),
];

async function withLog(
  options: BoardOptions,
  work: (board: Board) => Promise<void>,
  start: LogLine[] = START,
): Promise<void> {
  const board = await openBoard(options);
  try {
    board.give('running', []);
    board.give('log', chunk(0, start), 'info', '0');
    await board.press('7');
    await board.lines();
    await work(board);
  } finally {
    board.close();
  }
}

/** What was handed to the clipboard. */
const copies = (board: Board): string[] =>
  board
    .raw()
    .split('\u001b]52;c;')
    .slice(1)
    .map((text) => text.split('\u0007')[0] ?? '');

const shown = async (board: Board): Promise<string> => (await board.lines()).join('\n');

for (const [name, options] of [
  ['log-120x35', {}],
  ['log-80x24', { width: 80, height: 24 }],
  ['log-ascii', { width: 80, height: 24, theme: { colours: 'mono', unicode: false } }],
] as const)
  test(`${name} is what it was`, () => withLog(options, async (board) => matchesGolden(name, await board.lines())));

test('new lines push up the old ones, until one looks at another; then it stands still and counts', () =>
  withLog({}, async (board) => {
    board.give('log', chunk(63, lines(63, 2)), 'info', '63');
    assert.match(await shown(board), 'number 64');
    assert.match(await shown(board), 'follow on');
    await board.press('k');
    // Without the scroll bar, which tells that there is more.
    const text = async (): Promise<string[]> => (await board.lines()).slice(2, -2).map((row) => row.slice(0, 110));
    const still = await text();
    board.give('log', chunk(65, lines(65, 40)), 'info', '65');
    assert.equal(await text(), still);
    assert.match(await shown(board), 'follow off, 41 below');
    await board.press('f');
    assert.match(await shown(board), 'number 104');
    await board.press('g');
    assert.match(await shown(board), 'number 0.');
    await board.press('G');
    assert.match(await shown(board), 'follow on');
  }));

test('/ searches backwards while one types, n and N go on, Esc ends it', () =>
  withLog({}, async (board) => {
    await board.press('/', 'n', 'u', 'm', 'b', 'e', 'r', ' ', '1');
    assert.match(await shown(board), 'Log · /number 1_');
    await board.press('\r', 'n', 'n');
    assert.match(await shown(board), 'follow off, 45 below', 'from 19 to 18 to 17');
    await board.press('N', 'N', 'N');
    assert.match(await shown(board), 'Nothing newer contains “number 1”');
    await board.press('\x1b');
    await pause(80);
    assert.not.match(await shown(board), '/number 1');
    await board.press('n');
    assert.match(await shown(board), 'nothing is searched for');
  }));

test('y hands over the whole line as base64, cleaned; one that is too long is not sent', () =>
  withLog({}, async (board) => {
    await board.press('k', 'y');
    await board.lines();
    const sent = copies(board);
    assert.is(sent.length, 1);
    const copied = Buffer.from(sent[0] ?? '', 'base64').toString();
    assert.match(copied, '"event":"operation.completed"');
    assert.match(copied, '0a1b2c3d-61');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them may be there
    assert.not.match(copied, /[\x00-\x1f\u202e]/);
    board.give('log', chunk(63, [line(63, { msg: 'm'.repeat(80_000) })]), 'info', '63');
    await board.press('f', 'y');
    assert.match(await shown(board), 'Too long to copy');
    assert.is(copies(board).length, 1);
  }));

test('Enter goes to the operation of a line in the history, and else shows the whole line', () =>
  withLog({}, async (board) => {
    const { rates: _, ...operation } = running('photos');
    const row = { ...operation, target: 'photos', group_name: 'photos', result: '', problem_count: 0 };
    const rows = [1, 2, 3].map((id) => ({ ...row, id, uuid: id === 2 ? '0a1b2c3d-62' : `other-${id}` }));
    await board.press('\r');
    assert.match(await shown(board), 'Reading …');
    board.give('history', { rows: rows.slice(0, 1), more: true, targets: [] }, '500', '', '');
    assert.match(await shown(board), 'operation 0a1b2c3d is not among these; + shows more');
    board.give('history', { rows, more: false, targets: [] }, '500', '', '');
    assert.match(await shown(board), /▸ +2 /);
    assert.not.match(await shown(board), 'is not among these');
    await board.press('\x1b');
    await pause(80);
    await board.press('k', 'k', '\r');
    const text = await shown(board);
    assert.match(text, /event +watcher\.state/);
    assert.match(text, /state +degraded/);
    assert.equal(board.started, []);
  }));

test('no text of the log sends a sequence, and every border stands', () =>
  withLog({}, async (board) => {
    for (const wrapped of [false, true]) {
      if (wrapped) await board.press('w');
      for (const row of (await board.lines()).slice(1, -1)) assert.match(row.trimEnd(), /^[┌│└].*[┐│┘]$/u);
    }
    assert.not.match(board.raw(), '\u001b]52;c;ZXZp');
    assert.not.match(board.raw(), '\u202e');
    assert.match(await shown(board), '␛]52;c;ZXZpbA==␇');
  }));

test('wrapping shows long lines whole, and the selected one stays in sight', () =>
  withLog({ width: 80, height: 24 }, async (board) => {
    assert.not.match(await shown(board), 'files_copied=62');
    await board.press('w');
    assert.match((await shown(board)).replaceAll(/[│\s]/g, ''), 'operation_id=0a1b2c3d');
    for (let times = 0; times < 30; times += 1) await board.press('k');
    assert.match(await shown(board), 'number 32');
    await board.press('\x1b[<65;10;10M', '\x1b[<64;10;10M', '\x1b[<0;10;3M', '\r');
    assert.match(await shown(board), '[4 Hist]');
  }));

test('another level begins anew; nothing says what will be here', () =>
  withLog({}, async (board) => {
    await board.press('v');
    assert.match(await shown(board), 'level: warn+');
    board.give('log', chunk(0, [], 'two'), 'warn', '0');
    assert.match(await shown(board), 'Nothing was noted yet at the level warn');
    board.give('log', chunk(0, [line(3, { level: 'error', msg: 'broken' })], 'two'), 'warn', '0');
    assert.match(await shown(board), 'ERROR');
    board.fail('log', 'The log cannot be read.');
    assert.match(await shown(board), 'broken');
  }));

test('of a log that grows by hundreds of lines a second every one is taken once, and each screen is sent once', () =>
  withLog({}, async (board) => {
    const one = board.sent();
    for (let at = 63; at < 563; at += 50) {
      board.give('log', chunk(at, lines(at, 50)), 'info', String(at));
      await board.lines();
    }
    assert.match(await shown(board), 'number 562');
    assert.ok(board.sent() - one < 11 * one, `${board.sent() - one} bytes for ten screens, ${one} for the first two`);
  }));

test('chunks are joined by their numbers: what is known, what is new, a gap, another file', () => {
  let state = withChunk(emptyLog, chunk(0, lines(0, 10)));
  assert.is(withChunk(state, chunk(0, lines(0, 10))), state);
  state = withChunk(state, chunk(5, lines(5, 10)));
  assert.equal(
    state.lines.map(({ files_copied: number }) => number),
    Array.from({ length: 15 }, (_, at) => at),
  );
  state = withChunk({ ...state, at: 3 }, chunk(15, lines(15, 4000)));
  assert.is(nextOf(state), 4015);
  assert.ok(state.lines.length <= 2000);
  assert.is(state.at, state.first);
  assert.equal(withChunk(state, chunk(9000, lines(9000, 3))).first, 9000);
  const other = withChunk(state, chunk(0, lines(0, 2), 'two'));
  assert.equal([other.first, other.lines.length, other.at], [0, 2, null]);
});

test('a broken line keeps every letter and no row is wider than asked', () => {
  for (const msg of ['short', 'word '.repeat(60), '東京'.repeat(50), EVIL.repeat(9)]) {
    const parts = lineParts(line(1, { msg }), NOW);
    const rows = brokenParts(parts, 37);
    const text = rows
      .map((row, index) =>
        row
          .map((part) => part.text)
          .join('')
          .slice(index === 0 ? 0 : 2),
      )
      .join('');
    assert.is(text, lineText(line(1, { msg }), NOW));
    assert.ok(rows.every((row) => row.map((part) => [...part.text].length).reduce((a, b) => a + b, 0) <= 37));
  }
});

/** A reader's memory on a data folder of its own. */
async function withReader(
  work: (
    read: (level: LogLevel, from: number) => Promise<LogChunk>,
    file: string,
    heard: () => number,
  ) => Promise<void>,
): Promise<void> {
  const box = sandbox();
  const gone = new AbortController();
  const ctx = createContext({ configDir: box.config, dataDir: box.data, signal: gone.signal });
  let news = 0;
  const memory: Memory = {
    ctx,
    seen: [],
    rates: new Map(),
    news: () => {
      news += 1;
    },
  };
  try {
    mkdirSync(dirname(logFile(ctx)), { recursive: true });
    await work(
      (level, from) => logReads.log.read([level, String(from)], memory),
      logFile(ctx),
      () => news,
    );
  } finally {
    gone.abort();
    await pause(20);
    await ctx.close();
    box.cleanup();
  }
}

const written = (number: number, level: LogLevel = 'info'): string => `${JSON.stringify(line(number, { level }))}\n`;

test('the reader brings what is new, across files that are set aside, and begins anew with another level', () =>
  withReader(async (read, file, heard) => {
    writeFileSync(file, written(0) + written(1, 'warn'));
    const first = await read('info', 0);
    assert.is(first.lines.length, 2);
    let next = first.next;
    const got: number[] = [];
    const until = Date.now() + 30_000;
    for (let number = 2; number < 42; number += 1) {
      appendFileSync(file, written(number));
      if (number % 10 === 0) {
        // As the writers do: the older one goes up by one.
        if (existsSync(file)) renameSync(file, formerLog(file, 1));
        writeFileSync(file, '');
        const before = heard();
        while (heard() === before && Date.now() < until) await pause(20);
        await pause(500);
      }
    }
    while (got.length < 40 && Date.now() < until) {
      const more = await read('info', next);
      assert.is(more.epoch, first.epoch);
      assert.is(more.first, next);
      got.push(...more.lines.map(({ files_copied: number }) => Number(number)));
      next = more.next;
      await pause(20);
    }
    assert.equal(
      got,
      Array.from({ length: 40 }, (_, at) => at + 2),
    );
    const warned = await read('warn', next);
    assert.is.not(warned.epoch, first.epoch);
    assert.equal([warned.first, warned.next], [0, warned.lines.length]);
  }));

test('the reader keeps a bounded part of a long log, and says from where on', () =>
  withReader(async (read, file) => {
    writeFileSync(file, Array.from({ length: KEPT + 500 }, (_, at) => written(at)).join(''));
    const first = await read('info', 0);
    assert.is(first.lines.length, KEPT);
    assert.is(first.lines.at(-1)?.['files_copied'], KEPT + 499);
    appendFileSync(file, written(9999));
    const until = Date.now() + 30_000;
    for (;;) {
      const { lines: more } = await read('info', first.next);
      if (more.length > 0) {
        assert.is(more.length, 1);
        break;
      }
      if (Date.now() > until) throw new Error('The new line did not come.');
      await pause(20);
    }
  }));

test.run();
