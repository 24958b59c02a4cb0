/**
 * What every process of tandem noted, as it is in the log of the data folder: runs and how they ended, watchers, schedules,
 * drives, the daemon. Shows the newest lines, or follows them as they come, also when the file is set aside meanwhile.
 */
import { closeSync, fstatSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../shared/context.ts';
import { errnoOf } from '../shared/errors.ts';
import {
  type Column,
  defineCommand,
  definePanel,
  type Output,
  renderTable,
  runIfMain,
  type Style,
} from '../shared/feature.ts';
import { formatTime } from '../shared/format.ts';
import { formerLog, logFile } from '../shared/log.ts';
import { displayPath } from '../shared/paths.ts';
import { wholeNumber } from '../shared/run-options.ts';
import { LOG_LEVELS, type LogLevel } from '../shared/settings.ts';

/** One line of the log; more fields depend on `event`. */
export interface LogLine {
  level: LogLevel;
  /** ISO 8601, UTC. */
  time: string;
  pid: number;
  /** For programs: `operation.completed`, `watcher.state` … */
  event: string;
  /** One sentence. */
  msg: string;
  [field: string]: unknown;
}

export interface LogFilter {
  /** This one and what is worse. */
  level?: LogLevel | undefined;
  /** Part of the line, ignoring case. */
  grep?: string | undefined;
}

/**
 * The newest lines that fit, oldest first. What is no line of ours is passed over.
 * @param end of the newest file only so many bytes.
 */
export function readLog(filter: LogFilter, lines: number, ctx: Context, end?: number): LogLine[] {
  const found: LogLine[] = [];
  const file = logFile(ctx);
  for (let number = 0; found.length < lines; number += 1) {
    const bytes = readIfThere(nameFor(file, number));
    if (bytes === undefined) {
      // A moment ago the newest may have been set aside, and the next one not begun.
      if (number === 0 && statSync(formerLog(file, 1), { throwIfNoEntry: false })) continue;
      break;
    }
    const all = (number === 0 ? bytes.subarray(0, end) : bytes).toString('utf8').split('\n');
    for (let at = all.length - 1; at >= 0 && found.length < lines; at -= 1) {
      const line = parseLine(all[at] ?? '', filter);
      if (line) found.push(line);
    }
  }
  return found.reverse();
}

/**
 * Hands over the newest lines that fit and then each new one, until `ctx.signal` aborts; every line once, also across files
 * that are set aside.
 */
export async function followLog(
  filter: LogFilter,
  lines: number,
  onLine: (line: LogLine) => void,
  ctx: Context,
): Promise<void> {
  const file = logFile(ctx);
  let open = openTail(file, 'end');
  try {
    for (const line of readLog(filter, lines, ctx, open?.at ?? 0)) onLine(line);
    while (!ctx.signal.aborted) {
      // Nothing was there at first: all that is there now is new.
      open ??= openTail(nameFor(file, Math.max(0, numberOf(undefined, file) - 1)), 'start');
      for (const text of open ? newLines(open) : []) {
        const line = parseLine(text, filter);
        if (line) onLine(line);
      }
      if (open && isSetAside(open, file)) {
        // Whoever had it open may have written one line more. A second look, and the next file.
        const next: Tail | undefined = open.leaving ? openNext(open, file) : undefined;
        open.leaving = true;
        if (next) {
          closeSync(open.fd);
          open = next;
          continue;
        }
      }
      await sleep(LOOK_EVERY, undefined, { signal: ctx.signal }).catch(() => {});
    }
  } finally {
    if (open) closeSync(open.fd);
  }
}

// --- internal ---

/** Milliseconds. */
const LOOK_EVERY = 200;

interface Tail {
  fd: number;
  inode: number;
  at: number;
  /** Of a line that has not ended yet. */
  rest: string;
  decoder: StringDecoder;
  leaving: boolean;
}

function openTail(file: string, from: 'start' | 'end'): Tail | undefined {
  try {
    const fd = openSync(file, 'r');
    const { size, ino } = fstatSync(fd);
    const at = from === 'end' ? size : 0;
    return { fd, inode: ino, at, rest: '', decoder: new StringDecoder('utf8'), leaving: false };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * The file that was begun after this one: several may have been set aside since, and one may be at this moment, which shifts
 * all of them. Undefined: that cannot be told now.
 */
function openNext({ inode }: Tail, file: string): Tail | undefined {
  const number = numberOf(inode, file);
  if (number === 0) return undefined;
  const next = openTail(nameFor(file, number - 1), 'start');
  if (next && numberOf(inode, file) === number) return next;
  if (next) closeSync(next.fd);
  return undefined;
}

function nameFor(file: string, number: number): string {
  return number === 0 ? file : formerLog(file, number);
}

/** How old the file is by now; one more than the oldest when it was removed. */
function numberOf(inode: number | undefined, file: string): number {
  let last = -1;
  // While they are shifted, one of them is missing.
  for (let number = 0; number <= last + 2; number += 1) {
    const stat = statSync(nameFor(file, number), { throwIfNoEntry: false });
    if (stat && stat.ino === inode) return number;
    if (stat) last = number;
  }
  return last + 1;
}

function isSetAside({ inode }: Tail, file: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.ino !== inode;
}

function newLines(tail: Tail): string[] {
  const chunk = Buffer.alloc(65_536);
  const lines: string[] = [];
  for (;;) {
    const count = readSync(tail.fd, chunk, 0, chunk.length, tail.at);
    if (count === 0) return lines;
    tail.at += count;
    const parts = (tail.rest + tail.decoder.write(chunk.subarray(0, count))).split('\n');
    tail.rest = parts.pop() ?? '';
    lines.push(...parts);
  }
}

function readIfThere(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function parseLine(text: string, { level, grep }: LogFilter): LogLine | undefined {
  if (grep !== undefined && !text.toLowerCase().includes(grep.toLowerCase())) return undefined;
  try {
    const line = JSON.parse(text) as LogLine;
    const rank = LOG_LEVELS.indexOf(line.level);
    return rank >= LOG_LEVELS.indexOf(level ?? 'debug') && rank >= 0 ? line : undefined;
  } catch {
    return undefined;
  }
}

const STYLE: Record<LogLevel, Style> = { debug: 'dim', info: 'plain', warn: 'warn', error: 'bad' };

const columns: readonly Column<LogLine>[] = [
  { title: 'TIME', value: ({ time }) => formatTime(new Date(time)) },
  { title: 'LEVEL', value: ({ level }) => level, style: ({ level }) => STYLE[level] },
  { title: 'PROCESS', value: ({ pid }) => String(pid), align: 'right' },
  { title: 'EVENT', value: ({ event }) => displayPath(String(event)) },
  { title: 'MESSAGE', value: ({ msg }) => displayPath(String(msg)) },
];

const EMPTY = 'Nothing was noted yet.';

/** As a line of the table that began before it, whose widths nobody knows any more. */
function lineText(line: LogLine): string {
  const [time, level, pid, , message] = columns.map((column) => column.value(line));
  return `${time}  ${(level ?? '').padEnd(5)}  ${pid}  ${message}`;
}

// --- command ---

export const command = defineCommand({
  name: 'log',
  summary: 'What all runs, watchers and schedules noted',
  single: true,
  verbs: {
    log: {
      summary: 'the newest lines of the log, or new ones as they come',
      examples: ['tandem log', 'tandem log -f --level warn', 'tandem log --grep Archive --lines 200 --json'],
      options: [
        { flags: '-f, --follow', description: 'go on with new lines until Ctrl-C' },
        { flags: '--level <level>', description: 'this one and what is worse', choices: LOG_LEVELS },
        {
          flags: '-n, --lines <n>',
          description: 'how many (default 50)',
          parse: (text) => wholeNumber(text, '--lines', 0, 1_000_000),
        },
        { flags: '--grep <text>', description: 'only lines that hold this, ignoring upper and lower case' },
      ],
      run: async ({ options }, ctx, write): Promise<Output | undefined> => {
        const filter: LogFilter = {
          level: options['level'] as LogLevel | undefined,
          grep: options['grep'] as string | undefined,
        };
        const count = (options['lines'] as number | undefined) ?? 50;
        if (options['follow']) {
          const show = (line: LogLine): void => write(options['json'] ? JSON.stringify(line) : lineText(line));
          await followLog(filter, count, show, ctx);
          return undefined;
        }
        const lines = readLog(filter, count, ctx);
        return { json: lines, text: (paint) => (lines.length > 0 ? renderTable(lines, columns, paint) : EMPTY) };
      },
    },
  },
});

export const panel = definePanel<LogLine>({
  title: 'Log',
  rows: (ctx) => Promise.resolve(readLog({}, 200, ctx).reverse()),
  columns,
  empty: EMPTY,
  actions: [],
});

runIfMain(import.meta, command);
