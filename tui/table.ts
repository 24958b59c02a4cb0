/**
 * A list of any length: sort, filter, selection, keys, mouse, and a drawing of the rows that are seen. The columns are the
 * features' own. Only what is seen is formatted, so a key costs the same on ten rows and on a hundred thousand; sorting
 * and filtering go over all rows, once for each change of rows, order or filter.
 *
 * State is plain data. `tableKey` and `tableMouse` return the next state, or undefined for what is not theirs.
 */
import type { Column } from '../shared/feature.ts';
import { displayWidth, formatCount } from '../shared/format.ts';
import { type Canvas, drawScrollbar } from './canvas.ts';
import type { InputEvent } from './input.ts';
import { clean, fit } from './sanitize.ts';

export interface TableState {
  /** Selected row among those shown, from 0. */
  at: number;
  /** First row seen. */
  top: number;
  sort: { column: number; descending: boolean } | null;
  filter: string;
  /** Keys go into the filter. */
  typing: boolean;
  /** Rows that fit, as of the last drawing; pages are this long. */
  page: number;
}

export const emptyTable: TableState = { at: 0, top: 0, sort: null, filter: '', typing: false, page: 10 };

/** The rows in the order and choice of the state; the same array for the same rows, sort and filter. */
export function tableRows<T extends object>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  { sort, filter }: Pick<TableState, 'sort' | 'filter'>,
): readonly T[] {
  if (sort === null && filter === '') return rows;
  const key = JSON.stringify([sort, filter]);
  const cached = ORDERED.get(rows);
  if (cached?.key === key && cached.columns === columns) return cached.rows as readonly T[];
  const ordered = sorted(matching(rows, columns, filter), columns, sort);
  ORDERED.set(rows, { key, columns, rows: ordered });
  return ordered;
}

export function selectedRow<T extends object>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  state: TableState,
): T | undefined {
  const shown = tableRows(rows, columns, state);
  return shown[Math.min(state.at, shown.length - 1)];
}

/** @param count rows shown. Undefined: not a key of tables. */
export function tableKey(
  state: TableState,
  event: Extract<InputEvent, { kind: 'key' }>,
  count: number,
  columns: number,
): TableState | undefined {
  if (state.typing) return filterKey(state, event);
  const { at, page } = clamp(state, count);
  const step = STEPS[event.name];
  if (step) return clamp({ ...state, at: at + step(page) }, count);
  switch (event.name) {
    case 'g':
    case 'home':
      return clamp({ ...state, at: 0 }, count);
    case 'G':
    case 'end':
      return clamp({ ...state, at: count - 1 }, count);
    case 'o':
      return columns > 0 ? { ...state, sort: nextSort(state.sort, columns), at: 0, top: 0 } : undefined;
    case '/':
      return { ...state, typing: true };
    case 'esc':
      return state.filter === '' ? undefined : { ...state, filter: '', at: 0, top: 0 };
    default:
      return undefined;
  }
}

/** Rows that are sorted and chosen elsewhere: those given are the ones from `from` on, of `count`. */
export interface Window {
  from: number;
  count: number;
}

/** @param area where the table was drawn: `x`, `y` of its head line, `width`, `height` with the head. */
export function tableMouse<T extends object>(
  state: TableState,
  event: Extract<InputEvent, { kind: 'mouse' }>,
  area: { x: number; y: number; width: number; height: number },
  rows: readonly T[],
  columns: readonly Column<T>[],
  window?: Window,
): TableState | undefined {
  const { x, y } = { x: event.x - area.x, y: event.y - area.y };
  if (x < 0 || y < 0 || x >= area.width || y >= area.height) return undefined;
  const shown = window ? rows : tableRows(rows, columns, state);
  const { from, count } = window ?? { from: 0, count: shown.length };
  if (event.action !== 'click') {
    const move = event.action === 'wheelup' ? -3 : 3;
    return clamp({ ...state, at: clamp(state, count).at + move }, count);
  }
  if (y === 0) {
    const column = columnAt(x, layoutOf(shown, columns, { ...state, top: state.top - from }, area.width));
    return column === undefined ? state : { ...state, sort: clicked(state.sort, column), at: 0, top: 0 };
  }
  const at = state.top + y - 1;
  return at < count ? { ...state, at } : state;
}

/** Pastes go into an open filter. */
export function tablePaste(state: TableState, text: string): TableState | undefined {
  return state.typing ? { ...state, filter: state.filter + clean(text), at: 0, top: 0 } : undefined;
}

export interface TableLook {
  /** The rows have the keys; else the selection is not marked. */
  focus: boolean;
  /** What to say when there is no row at all. */
  empty: string;
  /** Left out: no head line. */
  head?: boolean;
  window?: Window | undefined;
}

/** Draws head, visible rows, scroll bar; returns the state with `top` and `page` as they fit this size. */
export function drawTable<T extends object>(
  canvas: Canvas,
  rows: readonly T[],
  columns: readonly Column<T>[],
  state: TableState,
  { focus, empty, head = true, window }: TableLook,
): TableState {
  const shown = window ? rows : tableRows(rows, columns, state);
  const { from, count } = window ?? { from: 0, count: shown.length };
  const page = Math.max(1, canvas.height - (head ? 1 : 0));
  const fitted = clamp({ ...state, page }, count);
  const body = canvas.area(0, head ? 1 : 0, canvas.width, page);
  if (count === 0) {
    const say =
      rows.length > 0 || (window && state.filter !== '') ? `Nothing matches “${state.filter}”. Esc shows all.` : empty;
    wrap(say, canvas.width).forEach((line, y) => {
      body.put(0, y, line, 'dim');
    });
    return fitted;
  }
  const widths = layoutOf(shown, columns, { ...fitted, top: fitted.top - from }, canvas.width, head);
  if (head) drawHead(canvas, columns, widths, fitted);
  for (let y = 0; y < page && fitted.top + y < count; y += 1) {
    const row = shown[fitted.top + y - from];
    const here = fitted.top + y === fitted.at;
    if (row) drawRow(body, y, row, columns, widths, focus && here, here);
    else body.put(MARK, y, '…', 'dim');
  }
  drawScrollbar(body, fitted.top, count);
  return fitted;
}

/** `3 of 120 · /raw`: for the title of the box. */
export function tableCount(state: TableState, shown: number, all: number): string {
  const counted = shown === all ? formatCount(all) : `${formatCount(shown)} of ${formatCount(all)}`;
  const filter = state.typing ? ` · /${state.filter}_` : state.filter === '' ? '' : ` · /${state.filter}`;
  return counted + filter;
}

/** Words broken into lines of at most `width` cells. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of clean(text).split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && displayWidth(last) + 1 + displayWidth(word) <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

// --- internal ---

const ORDERED = new WeakMap<readonly object[], { key: string; columns: unknown; rows: readonly object[] }>();

const STEPS: Readonly<Record<string, (page: number) => number>> = {
  j: () => 1,
  down: () => 1,
  k: () => -1,
  up: () => -1,
  'C-d': (page) => Math.ceil(page / 2),
  'C-u': (page) => -Math.ceil(page / 2),
  pgdn: (page) => page,
  pgup: (page) => -page,
};

function clamp(state: TableState, count: number): TableState {
  const at = Math.max(0, Math.min(state.at, count - 1));
  const top = Math.max(0, Math.min(state.top, at, count - state.page));
  return { ...state, at, top: Math.max(top, at - state.page + 1) };
}

function filterKey(state: TableState, { name, text }: { name: string; text: string }): TableState {
  if (name === 'enter') return { ...state, typing: false };
  if (name === 'esc') return { ...state, typing: false, filter: '', at: 0, top: 0 };
  if (name === 'C-u') return { ...state, filter: '', at: 0, top: 0 };
  if (name === 'backspace') {
    return state.filter === ''
      ? { ...state, typing: false }
      : { ...state, filter: [...state.filter].slice(0, -1).join('') };
  }
  return text === '' ? state : { ...state, filter: state.filter + text, at: 0, top: 0 };
}

function nextSort(sort: TableState['sort'], columns: number): TableState['sort'] {
  if (sort === null) return { column: 0, descending: false };
  if (!sort.descending) return { ...sort, descending: true };
  return sort.column + 1 < columns ? { column: sort.column + 1, descending: false } : null;
}

function clicked(sort: TableState['sort'], column: number): TableState['sort'] {
  if (sort?.column !== column) return { column, descending: false };
  return sort.descending ? null : { column, descending: true };
}

function matching<T>(rows: readonly T[], columns: readonly Column<T>[], filter: string): readonly T[] {
  if (filter === '') return rows;
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => {
    const text = columns
      .map((column) => column.value(row))
      .join('\n')
      .toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

const UNITS: Readonly<Record<string, number>> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, PB: 1e15 };

const SECONDS: Readonly<Record<string, number>> = { s: 1, min: 60, h: 3600, d: 86_400 };

/** `1.5 GB` before `900 MB` would be wrong, `10` before `9` and `2 min 05 s` before `42 s` as well. A date is a text. */
function sortKey(text: string): number | string {
  const time = /^(\d+(?:\.\d+)?) (s|min|h|d)(?: (\d+) (s|min|h))?$/.exec(text);
  if (time)
    return Number(time[1]) * (SECONDS[time[2] ?? ''] ?? 1) + Number(time[3] ?? 0) * (SECONDS[time[4] ?? ''] ?? 0);
  const match = /^(-?[\d,]+(?:\.\d+)?)\s*([a-z]+)?(?![-:\w])/i.exec(text);
  if (!match) return text.toLowerCase();
  const unit = match[2] === undefined ? 1 : UNITS[match[2]];
  return unit === undefined ? text.toLowerCase() : Number((match[1] ?? '').replaceAll(',', '')) * unit;
}

function sorted<T>(rows: readonly T[], columns: readonly Column<T>[], sort: TableState['sort']): readonly T[] {
  const column = sort === null ? undefined : columns[sort.column];
  if (!column) return rows;
  const keyed = rows.map((row) => ({ row, key: column.order ? column.order(row) : sortKey(column.value(row)) }));
  const sign = sort?.descending ? -1 : 1;
  keyed.sort((a, b) => {
    if (typeof a.key === typeof b.key) return a.key < b.key ? -sign : a.key > b.key ? sign : 0;
    return typeof a.key === 'number' ? -sign : sign;
  });
  return keyed.map(({ row }) => row);
}

/** Rows that decide how wide columns are, besides those that are seen. */
const SAMPLE = 100;
const GAP = 2;
const MARK = 2;

/** Widths of columns: as wide as they need, the widest left-aligned one gives way or takes what is left. */
function layoutOf<T>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  state: TableState,
  width: number,
  head = true,
): number[] {
  const seen = [...rows.slice(0, SAMPLE), ...rows.slice(Math.max(0, state.top), state.top + state.page)];
  const widths = columns.map((column, index) =>
    seen.reduce(
      (most, row) => Math.max(most, displayWidth(clean(column.value(row)))),
      head ? displayWidth(column.title) + (state.sort?.column === index ? 1 : 0) : 0,
    ),
  );
  const room = width - MARK - 1 - GAP * Math.max(0, columns.length - 1);
  let over = widths.reduce((sum, one) => sum + one, 0) - room;
  while (over > 0) {
    const widest = widths.indexOf(Math.max(...widths));
    const one = widths[widest] ?? 0;
    if (one <= 4) break;
    const less = Math.min(over, Math.max(1, Math.floor(one / 4)), one - 4);
    widths[widest] = one - less;
    over -= less;
  }
  return widths;
}

function columnAt(x: number, widths: readonly number[]): number | undefined {
  let at = MARK;
  for (const [index, width] of widths.entries()) {
    if (x >= at && x < at + width + GAP) return index;
    at += width + GAP;
  }
  return undefined;
}

function drawHead<T>(
  canvas: Canvas,
  columns: readonly Column<T>[],
  widths: readonly number[],
  { sort }: TableState,
): void {
  let x = MARK;
  for (const [index, column] of columns.entries()) {
    const width = widths[index] ?? 0;
    const arrow = sort?.column === index ? (sort.descending ? '↓' : '↑') : '';
    canvas.put(x, 0, fit(column.title.toUpperCase() + arrow, width, { align: column.align ?? 'left' }), 'dim');
    x += width + GAP;
  }
}

function drawRow<T>(
  canvas: Canvas,
  y: number,
  row: T,
  columns: readonly Column<T>[],
  widths: readonly number[],
  selected: boolean,
  here: boolean,
): void {
  if (selected) canvas.fillLine(y, 'plain', true);
  if (here) canvas.put(0, y, '▸', selected ? 'plain' : 'dim', selected);
  let x = MARK;
  for (const [index, column] of columns.entries()) {
    const width = widths[index] ?? 0;
    const text = column.value(row);
    const cut = text.includes('/') ? 'middle' : 'end';
    canvas.put(
      x,
      y,
      fit(text, width, { align: column.align ?? 'left', cut }),
      column.style?.(row) ?? 'plain',
      selected,
    );
    x += width + GAP;
  }
}
