/**
 * `npm run bench:tui soak`: the dashboard in this process for BENCH_MINUTES (6), ten times as busy as a busy hour: runs that
 * come and go, progress, a growing feed and log, drives that are pulled, keys on every screen, resizes. Prints the heap after
 * a collection, and the memory of the process, at the start, each minute and at the end. A heap that grows is a leak.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { LogLine } from '../../features/log.ts';
import type { FeedLine } from '../../tui/feed.ts';
import type { Running } from '../../tui/reads.ts';
import { pageOf } from '../../tui/rows.ts';
import { type Board, drive, group, NOW, openBoard, overview, running } from '../helpers/board.ts';

const SPEED = 10;

export async function soak(minutes: number): Promise<void> {
  const begun = performance.now();
  const passed = (): number => performance.now() - begun;
  const now = (): Date => new Date(NOW.getTime() + passed() * SPEED);
  const board = await openBoard({ now, keep: false });
  const world = new Life(board, now);
  console.log(`${minutes} min at ${SPEED} times the speed`);
  let turns = 0;
  let told = 0;
  try {
    while (passed() < minutes * 60_000) {
      await world.turn(turns);
      turns += 1;
      // The first half minute fills what is bounded: answers, lists, compiled functions.
      if (passed() < 30_000 || passed() < told) continue;
      told = passed() + 60_000;
      tell(passed(), turns);
    }
    tell(passed(), turns);
    console.log(`${(board.sent() / 1e6).toFixed(1)} MB were sent to the terminal`);
  } finally {
    board.close();
  }
}

// --- internal ---

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function tell(milliseconds: number, turns: number): void {
  collect();
  const { heapUsed, rss } = process.memoryUsage();
  const [heap, all] = [heapUsed, rss].map((bytes) => `${(bytes / 2 ** 20).toFixed(1)} MB`);
  console.log(
    `after ${(milliseconds / 1000).toFixed(0).padStart(4)} s   heap ${heap}   memory ${all}   ${turns} turns`,
  );
}

/** Keys that start nothing, and close what they open. */
const KEYS = [...'jjjjkkgG', '\t', '\x1b[Z', '\r', '\x1b', 'o', '/', 'x', '\x7f', '\x1b', '?', '\x1b', ':', '\x1b'];
const SCREENS = '12345678';
const SIZES: readonly [number, number][] = [
  [120, 35],
  [80, 24],
  [200, 60],
  [60, 20],
  [97, 31],
];
const EVERYTHING = JSON.stringify({ filter: '', action: '', errors: false });

class Life {
  private readonly board: Board;
  private readonly now: () => Date;
  private feed: FeedLine[] = [];
  private lines = 0;

  constructor(board: Board, now: () => Date) {
    this.board = board;
    this.now = now;
  }

  /** What comes within a quarter of a second of a busy hour, and a key. */
  async turn(count: number): Promise<void> {
    this.tellRuns(count);
    if (count % 4 === 0) this.tellStatus(count);
    this.tellLog();
    if (count % 40 === 0) await this.board.press(SCREENS[(count / 40) % SCREENS.length] ?? '1');
    await this.board.press(KEYS[(count * 7) % KEYS.length] ?? 'j');
    if (count % 25 === 0) await this.board.resize(...(SIZES[(count / 25) % SIZES.length] ?? [120, 35]));
    this.board.finish({ style: count % 3 === 0 ? 'bad' : 'good', text: `command ${count}`, lines: ['done'] });
    for (const list of [this.board.started, this.board.asked, this.board.secrets, this.board.handed]) list.length = 0;
    await pause(1);
  }

  private tellRuns(count: number): void {
    const files = count % 400;
    const path = `2026/${files}/IMG_${count}.RAF`;
    const run = running('photos', { uuid: `uuid-${Math.floor(count / 400)}` });
    const progress = { ...(run.progress as NonNullable<Running['progress']>), files_done: files, current: [path] };
    this.board.give('running', files > 350 ? [] : [{ ...run, progress, rates: run.rates.map((rate) => rate + count) }]);
    const rows = Array.from({ length: 200 }, (_, index) => ({
      path: `${path}-${index}`,
      action: 'copy' as const,
      entry: 'f' as const,
      size: count,
      state: 'done' as const,
    }));
    this.board.give(
      'files',
      { ...pageOf(rows, rows, 0), run: { ...run, target: 'photos', result: '' }, flight: [], keeps: true },
      'auto',
      EVERYTHING,
      '0',
    );
  }

  private tellStatus(count: number): void {
    const gone = count % 80 < 20;
    const drives = [drive('A', { group_id: 'id-photos', role: 'master', free_size: 4e11 - count }), drive('B')];
    const groups = Array.from({ length: 12 }, (_, index) => group(index === 0 ? 'photos' : `group ${index}`, 'A', 'B'));
    this.board.give('status', overview({ drives: gone ? drives.slice(1) : drives, groups }));
    const line = { time: this.now().toISOString(), style: 'plain', sign: '●', subject: 'A', text: `drive ${count}` };
    this.feed = [line as FeedLine, ...this.feed].slice(0, 60);
    this.board.give('feed', this.feed);
  }

  /** What was added since the lines that the screen has, as the reader answers it. */
  private tellLog(): void {
    this.lines += 5;
    const from = Number(this.board.wanted().find(({ name }) => name === 'log')?.args[1] ?? this.lines);
    const first = Math.max(from, this.lines - 500);
    const lines = Array.from({ length: this.lines - first }, (_, index): LogLine => {
      const msg = `line ${first + index}`;
      return { level: 'info', time: this.now().toISOString(), pid: 1, event: 'soak', msg };
    });
    this.board.forget('log');
    this.board.give('log', { epoch: 'soak', first, next: this.lines, lines }, 'info', String(from));
  }
}
