/** What the screen of runs and plans holds: which of them, which rows, and the pages that answer. Pure. */
import type { Column, Style } from '../../shared/feature.ts';
import { formatBytes, formatTime, plural } from '../../shared/format.ts';
import { baseName, parentOf } from '../../shared/paths.ts';
import type { RunFiles } from '../reads/files.ts';
import type { PlanFiles, Tick } from '../reads/plans.ts';
import type { Overview, Want } from '../reads.ts';
import { type Choice, type FileRow, PAGE, type SortBy } from '../rows.ts';
import type { View } from '../screen.ts';
import { emptyTable, type TableState, type Window } from '../table.ts';
import { want } from '../wants.ts';

export type Group = Overview['groups'][number];

/** A group or a project to be planned. */
export interface PlanTarget {
  id: string;
  name: string;
  /** Ids of the groups that it lies on. */
  groups: readonly string[];
}

export function targetOf({ id, name }: Pick<Group, 'id' | 'name'>): PlanTarget {
  return { id, name, groups: [id] };
}

/** A plan that is being made or looked through. */
export interface Review {
  /** Of its file. */
  name: string;
  folder: string;
  target: PlanTarget;
  making: boolean;
  /** Why there is none. */
  trouble: string;
  ticks: readonly Tick[];
}

export interface RunState {
  /** uuid of an operation, `auto` for the newest, or `plan`. */
  subject: string;
  review: Review | null;
  /** What another screen wants to be planned. */
  planned: PlanTarget | null;
  table: TableState;
  /** Empty: all. */
  action: string;
  errors: boolean;
  /** What was drawn last, for as long as the next answer takes. */
  shown: Shown | null;
  area: { x: number; y: number; width: number; height: number };
}

export type RunView = View<RunState>;

/** What is known of the rows around those that are seen. */
export interface Shown {
  rows: readonly FileRow[];
  window: Window;
  total: number;
  actions: Readonly<Record<string, number>>;
  errors: number;
  run: RunFiles['run'];
  flight: readonly FileRow[];
  keeps: boolean;
  plan: PlanFiles['plan'];
}

export const startRun: RunState = {
  subject: 'auto',
  review: null,
  planned: null,
  table: emptyTable,
  action: '',
  errors: false,
  shown: null,
  area: { x: 0, y: 0, width: 0, height: 0 },
};

/** Another run or plan, with all of its rows. */
export function turnTo(state: RunState, subject: string): RunState {
  const table = { ...emptyTable, page: state.table.page };
  return { ...startRun, review: state.review, subject, table };
}

export function reviewOf({ subject, review }: RunState): Review | null {
  return subject === 'plan' ? review : null;
}

/** Rows beyond those that are seen. */
const AHEAD = 64;

const RUN_SORT: readonly SortBy[] = ['action', 'path', 'size', 'status'];
const PLAN_SORT: readonly SortBy[] = ['status', 'action', 'path', 'size', 'status'];

export function choiceOf(state: RunState): Choice {
  const { sort, filter } = state.table;
  const column = sort === null ? undefined : (reviewOf(state) ? PLAN_SORT : RUN_SORT)[sort.column];
  const choice: Choice = { filter, action: state.action, errors: state.errors };
  return column === undefined ? choice : { ...choice, sort: column, descending: sort?.descending === true };
}

/** The pages that hold what is seen, and a little more to either side. */
export function pagesWanted(state: RunState): Want[] {
  const { top, page } = state.table;
  const first = Math.floor(Math.max(0, top - AHEAD) / PAGE);
  const last = Math.floor((top + page + AHEAD) / PAGE);
  return Array.from({ length: last - first + 1 }, (_, index) => question(state, first + index));
}

/** Answers to `pagesWanted`, as far as they are there; else what was shown before. */
export function shownBy(view: RunView): Shown | null {
  const { state } = view;
  const answers = pagesWanted(state).flatMap(({ name, args }) => {
    const { value } = view.read(name as 'files' | 'plan', ...args);
    return value ? [value] : [];
  });
  const [first] = answers;
  if (!first) return state.shown;
  const together = answers.filter(({ from }, index) => from === first.from + index * PAGE);
  const rows = sameRows(together.map((one) => one.rows));
  const { total, actions, errors, count } = first;
  const about = { rows, window: { from: first.from, count }, total, actions, errors };
  return 'plan' in first
    ? { ...about, plan: first.plan, run: null, flight: [], keeps: true }
    : { ...about, plan: null, run: first.run, flight: first.flight, keeps: first.keeps };
}

export function troubleOf(view: RunView): string | undefined {
  const [first] = pagesWanted(view.state);
  return first && view.read(first.name, ...first.args).error;
}

export function selectedFile({ table, shown }: RunState): FileRow | undefined {
  return shown?.rows[table.at - shown.window.from];
}

/** The run that is shown, while it goes on. */
export function goingRun({ state }: RunView): NonNullable<RunFiles['run']> | undefined {
  const run = state.shown?.run;
  return reviewOf(state) || run?.status !== 'running' ? undefined : run;
}

/** Columns for so many cells: without room, why a plan does something is told by Enter alone. */
export function columnsOf(state: RunState, width: number): readonly Column<FileRow>[] {
  if (reviewOf(state)) return width < 90 ? PLAN_COLUMNS.slice(0, -1) : PLAN_COLUMNS;
  return state.shown?.keeps === false ? RUN_COLUMNS : KEEPING_COLUMNS;
}

/** What Enter on a file tells. */
export function fileFacts(row: FileRow, keeps: boolean): string[] {
  const { path, from, action, entry, size, message, master, backup } = row;
  const side = (name: string, seen: FileRow['master']): string[] => {
    if (seen === undefined) return [];
    const what = seen === null ? 'not there' : `${formatBytes(seen.size)}, ${formatTime(new Date(seen.mtime))}`;
    return [`${name}  ${what}`];
  };
  return [
    `Path      ${path}`,
    ...(from === undefined ? [] : [`Was       ${from}`]),
    `Kind      ${{ f: 'file', d: 'folder', l: 'symbolic link' }[entry]}`,
    `Action    ${action}`,
    `Size      ${formatBytes(size)} (${plural(size, 'byte')})`,
    `Status    ${row.state === 'ticked' || row.state === 'left' ? (row.state === 'left' ? 'left out' : 'will be done') : statusOf(row, keeps)}`,
    ...(message === undefined ? [] : [`Reason    ${message}`]),
    ...side('Master  ', master),
    ...side('Backup  ', backup),
  ];
}

// --- internal ---

function question(state: RunState, page: number): Want {
  const choice = JSON.stringify(choiceOf(state));
  const review = reviewOf(state);
  if (review) return want('plan', review.name, choice, JSON.stringify(review.ticks), String(page));
  return want('files', state.subject, choice, String(page));
}

/** The same array for the same pages. */
function sameRows(pages: readonly (readonly FileRow[])[]): readonly FileRow[] {
  const [first, second] = pages;
  if (!first || !second) return first ?? [];
  const known = JOINED.get(first);
  if (known?.second === second) return known.rows;
  const rows = pages.flat();
  JOINED.set(first, { second, rows });
  return rows;
}

const JOINED = new WeakMap<readonly FileRow[], { second: readonly FileRow[]; rows: readonly FileRow[] }>();

/** Of a move in one folder only the names are told apart. */
function nameOf({ path, from, entry }: FileRow): string {
  if (from === undefined) return path + (entry === 'd' ? '/' : '');
  return `${path} ← ${parentOf(from) === parentOf(path) ? baseName(from) : from}`;
}

function statusOf({ state, share, message, action }: FileRow, keeps: boolean): string {
  switch (state) {
    case 'flight':
      return share === undefined ? '◐ now' : `${Math.floor(share * 100)}%`;
    case 'done':
      return action === 'delete' && keeps ? 'done → trash' : 'done';
    case 'failed':
    case 'conflict':
      return `! ${message ?? state}`;
    case 'unfinished':
      return 'not done';
    default:
      return state;
  }
}

const STYLE: Readonly<Partial<Record<FileRow['state'], Style>>> = {
  queued: 'dim',
  done: 'good',
  failed: 'bad',
  conflict: 'warn',
  unfinished: 'warn',
  skipped: 'dim',
  left: 'dim',
};

const dimmed = ({ state }: FileRow): Style => (state === 'left' ? 'dim' : 'plain');
const ACTION: Column<FileRow> = {
  title: 'Action',
  value: ({ action }) => action,
  style: (row) =>
    row.state === 'left' ? 'dim' : row.action === 'delete' ? 'bad' : row.action === 'conflict' ? 'warn' : 'plain',
};
const FILE: Column<FileRow> = { title: 'File', value: nameOf, style: dimmed };
const SIZE: Column<FileRow> = {
  title: 'Size',
  align: 'right',
  value: ({ size, entry }) => (entry === 'd' ? '' : formatBytes(size)),
  style: dimmed,
};

function runColumns(keeps: boolean): readonly Column<FileRow>[] {
  const style = ({ state }: FileRow): Style => STYLE[state] ?? 'plain';
  return [ACTION, FILE, SIZE, { title: 'Status', value: (row) => statusOf(row, keeps), style }];
}

const RUN_COLUMNS = runColumns(false);
const KEEPING_COLUMNS = runColumns(true);
const PLAN_COLUMNS: readonly Column<FileRow>[] = [
  { title: 'Do', value: ({ state }) => (state === 'left' ? '[ ]' : '[x]'), style: dimmed },
  ACTION,
  FILE,
  SIZE,
  { title: 'Why', value: ({ message = '' }) => message, style: () => 'dim' },
];
