/**
 * The lines of the log as its screen keeps them: those that the reader brought, numbered; which one is selected; how one
 * looks. Pure. The newest lines are kept, up to a bound, whether one looks at them or not.
 */
import type { LogLine } from '../../features/log.ts';
import type { Style } from '../../shared/feature.ts';
import { formatTime } from '../../shared/format.ts';
import type { LogLevel } from '../../shared/settings.ts';
import type { LogChunk } from '../reads/log.ts';
import { cellsOf, clean } from '../sanitize.ts';

export interface LogState {
  level: LogLevel;
  /** Which lines the numbers belong to. */
  epoch: string;
  /** Number of the oldest line here. */
  first: number;
  lines: readonly LogLine[];
  /** Number of the selected line; null: the newest, whichever that is. */
  at: number | null;
  /** Number of the first line that is seen. */
  top: number;
  wrap: boolean;
  search: string;
  typing: boolean;
  /** Lines that fit, and where they were drawn, as of the last drawing. */
  page: number;
  area: { x: number; y: number; width: number; height: number };
  /** Number of the line on each row of the screen. */
  rows: readonly number[];
}

export const emptyLog: LogState = {
  level: 'info',
  epoch: '',
  first: 0,
  lines: [],
  at: null,
  top: 0,
  wrap: false,
  search: '',
  typing: false,
  page: 10,
  area: { x: 0, y: 0, width: 0, height: 0 },
  rows: [],
};

/** Number of the line that comes next. */
export const nextOf = ({ first, lines }: Pick<LogState, 'first' | 'lines'>): number => first + lines.length;

/** Number of the selected line; -1: there is none. */
export const selectedAt = (state: LogState): number => Math.max(state.first, state.at ?? nextOf(state) - 1);

export function lineAt(state: LogState, number: number): LogLine | undefined {
  return state.lines[number - state.first];
}

/** The state with what the reader brought. A gap, or another file, begins anew with the newest lines. */
export function withChunk(state: LogState, chunk: LogChunk | undefined): LogState {
  if (!chunk) return state;
  const known = nextOf(state);
  if (chunk.epoch !== state.epoch || chunk.first > known)
    return { ...state, epoch: chunk.epoch, first: chunk.first, lines: chunk.lines.slice(-MOST), at: null };
  if (chunk.next <= known) return state;
  const all = [...state.lines, ...chunk.lines.slice(known - chunk.first)];
  const lines = all.slice(-MOST);
  const first = state.first + all.length - lines.length;
  return { ...state, first, lines, at: state.at === null ? null : Math.max(first, state.at) };
}

/** Selects a line; the last one means to follow. */
export function select(state: LogState, number: number): LogState {
  const last = nextOf(state) - 1;
  return { ...state, at: number >= last ? null : Math.max(state.first, number) };
}

/** The nearest line that contains what is searched for, in the direction of `step`; undefined: there is none. */
export function findFrom(state: LogState, from: number, step: 1 | -1, now: Date): number | undefined {
  const wanted = state.search.toLowerCase();
  for (let number = from + step; number >= state.first && number < nextOf(state); number += step) {
    const line = lineAt(state, number);
    if (line && lineText(line, now).toLowerCase().includes(wanted)) return number;
  }
  return undefined;
}

export interface Part {
  text: string;
  style: Style | 'bold';
}

/** `14:32:05 INFO  operation.completed  Sync of Archive completed.  files_copied=3 operation_id=1b2c3d4e` */
export function lineParts(line: LogLine, now: Date): Part[] {
  const { level, time, event, msg, operation_id: id, ...fields } = line;
  const shown = Object.entries(fields).filter(([name]) => !IN_SENTENCE.has(name));
  const more = [...shown, ...(typeof id === 'string' ? [['operation_id', id.slice(0, 8)]] : [])]
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');
  const style = STYLE[level];
  return [
    { text: `${clockOf(time, now)} `, style: 'dim' },
    { text: `${level.toUpperCase().padEnd(5)} `, style: style === 'plain' ? 'bold' : style },
    { text: `${event}  `, style: 'dim' },
    { text: String(msg), style: style === 'dim' ? 'dim' : style },
    ...(more === '' ? [] : [{ text: `  ${more}`, style: 'dim' as const }]),
  ].map((part) => ({ ...part, text: clean(part.text) }) as Part);
}

export function lineText(line: LogLine, now: Date): string {
  return lineParts(line, now)
    .map(({ text }) => text)
    .join('');
}

/** The parts in rows of at most `width` cells; rows after the first begin with two spaces. */
export function brokenParts(parts: readonly Part[], width: number): Part[][] {
  const rows: Part[][] = [[]];
  let used = 0;
  for (const { text, style } of parts) {
    let run = '';
    for (const cell of cellsOf(text)) {
      if (used + cell.width > width) {
        rows.at(-1)?.push({ text: run, style });
        rows.push([{ text: '  ', style: 'plain' }]);
        run = '';
        used = 2;
      }
      run += cell.text;
      used += cell.width;
    }
    rows.at(-1)?.push({ text: run, style });
  }
  return rows;
}

// --- internal ---

/** What the sentence of the line says already, or a program wants to know. */
const IN_SENTENCE = new Set(['pid', 'operation_type', 'group_id', 'target']);
/** Lines that are kept. */
const MOST = 2000;
const STYLE: Record<LogLevel, Style> = { debug: 'dim', info: 'plain', warn: 'warn', error: 'bad' };

function clockOf(time: string, now: Date): string {
  const text = formatTime(new Date(time));
  return text.slice(0, 10) === formatTime(now).slice(0, 10) ? text.slice(11) : text.slice(5);
}
