/** What the screen of the history holds: which operations, their columns and details. Pure. */
import type { Column, Style } from '../../shared/feature.ts';
import { formatBytes, formatCount, formatDuration, formatTime, plural } from '../../shared/format.ts';
import { secondsOf } from '../../shared/history-files.ts';
import type { HistoryRow } from '../reads/history.ts';
import type { View } from '../screen.ts';
import { emptyTable, type TableState, tableRows } from '../table.ts';
import { want } from '../wants.ts';
import { resultOf } from './run-draw.ts';

/** As many as the history is asked for. */
export const LIMITS = ['50', '100', '200', '500', 'all'] as const;
export const STATUSES = ['', 'running', 'completed', 'failed', 'cancelled'] as const;

export interface HistoryState {
  table: TableState;
  limit: (typeof LIMITS)[number];
  /** Empty: all. */
  target: string;
  status: (typeof STATUSES)[number];
  /** Of the operation that was selected when it was drawn last; its parts are read. */
  selected: { uuid: string; parts: number } | null;
  area: { x: number; y: number; width: number; height: number };
  /** uuid of the operation that another screen wants to be selected, until it is. */
  wanted: string;
}

export type HistoryView = View<HistoryState>;

export const startHistory: HistoryState = {
  table: emptyTable,
  limit: '50',
  target: '',
  status: '',
  selected: null,
  area: { x: 0, y: 0, width: 0, height: 0 },
  wanted: '',
};

export function wantsOfHistory({ limit, target, status, selected }: HistoryState) {
  const parts = selected && selected.parts > 0 ? [want('parts', selected.uuid)] : [];
  return [want('history', limit, target, status), want('status'), ...parts];
}

export function rowsOf({ state: { limit, target, status }, read }: HistoryView): readonly HistoryRow[] {
  return read('history', limit, target, status).value?.rows ?? NONE;
}

const NONE: readonly HistoryRow[] = [];

const STYLE = { running: 'plain', completed: 'good', failed: 'bad', cancelled: 'warn' } as const;

function styleOf(row: HistoryRow): Style {
  return row.status === 'completed' && row.conflicts_detected > 0 ? 'warn' : STYLE[row.status];
}

const WHEN: Column<HistoryRow> = { title: 'When', value: (row) => formatTime(new Date(row.start_time)).slice(2, 16) };
const TYPE: Column<HistoryRow> = { title: 'Type', value: (row) => row.operation_type };
const TARGET: Column<HistoryRow> = { title: 'Target', value: (row) => row.target };
const RESULT: Column<HistoryRow> = { title: 'Result', value: resultLine, style: styleOf };

const historyColumns: readonly Column<HistoryRow>[] = [
  { title: 'No.', align: 'right', value: (row) => String(row.id), style: () => 'dim' },
  WHEN,
  TYPE,
  TARGET,
  RESULT,
  { title: 'Time', align: 'right', value: durationOf, style: () => 'dim' },
];

/** Where there is little room; the year is told by the details. */
const NARROW: readonly Column<HistoryRow>[] = [
  { ...WHEN, value: (row) => formatTime(new Date(row.start_time)).slice(5, 16) },
  TARGET,
  RESULT,
];
/** As which of all columns those are sorted. */
const SORTED_AS = [1, 3, 4];
const ROOMY = 70;

export function columnsFor(width: number): readonly Column<HistoryRow>[] {
  return width >= ROOMY ? historyColumns : NARROW;
}

/** The rows in their order, whatever is seen of them. */
export function listed(view: HistoryView): readonly HistoryRow[] {
  const { table, area } = view.state;
  const column = table.sort && columnsFor(area.width) === NARROW ? SORTED_AS[table.sort.column] : table.sort?.column;
  const sort = table.sort === null || column === undefined ? null : { ...table.sort, column };
  return tableRows(rowsOf(view), historyColumns, { sort, filter: table.filter });
}

export function chosen(view: HistoryView): HistoryRow | undefined {
  const rows = listed(view);
  return rows[Math.min(view.state.table.at, rows.length - 1)];
}

/** The pane beside the list; `tone` where a line says how it went. */
export function detailLines(row: HistoryRow, parts: readonly HistoryRow[]): { text: string; style: Style }[] {
  const { sign, word } = resultOf(row);
  const line = (text: string, style: Style = 'plain') => ({ text, style });
  const number = (name: string, value: string): ReturnType<typeof line> => line(`${name.padEnd(10)}${value}`);
  // What goes on is counted in its progress until it ends.
  const now = row.progress ?? row;
  const [start, end] = [row.start_time, row.end_time].map((time) => (time === null ? '…' : formatTime(new Date(time))));
  const lines = [
    line(row.target),
    line(`${row.operation_type} by ${row.started_by === '' ? 'hand' : row.started_by}`, 'dim'),
    line(`${sign} ${word}`, styleOf(row)),
    line(''),
    number('Started', start ?? ''),
    number('Ended', end ?? ''),
    number('Took', durationOf(row)),
    number(
      row.target_kind === 'project' ? 'Project' : 'Kind',
      row.target_kind === 'project' ? row.target_name : row.target_kind,
    ),
    number('Group', row.group_name ?? '—'),
    number('Id', row.uuid.slice(0, 8)),
    line(''),
    number('Copied', `${formatCount(now.files_copied)} (${formatBytes(row.progress?.bytes_done ?? row.bytes_copied)})`),
    number('Unchanged', formatCount(now.files_skipped)),
    number('Moved', formatCount(row.files_moved)),
    number('Deleted', formatCount(row.files_deleted)),
    number('Conflicts', formatCount(row.conflicts_detected)),
    {
      ...number('Failed', formatCount(now.files_failed)),
      style: now.files_failed > 0 ? ('bad' as const) : ('plain' as const),
    },
    number(
      'Verified',
      { none: 'no', cache: 'yes, in the cache', device: 'yes, on the drive' }[row.verified] ?? row.verified,
    ),
  ];
  if (parts.length > 0)
    lines.push(
      line(''),
      ...parts.map((part) => line(`${resultOf(part).sign} ${part.target}: ${part.result}`, styleOf(part))),
    );
  if (row.problem_count === 0) return lines;
  const more = row.problem_count - row.problems.length;
  return [
    ...lines,
    line(''),
    ...row.problems.map(({ path, message }) => line(`! ${path}: ${message}`, 'warn')),
    ...(more > 0 ? [line(`… and ${plural(more, 'other problem')}; Enter shows the files`, 'dim')] : []),
  ];
}

/** The wanted operation selected, if it is among the rows; else a state that still wants it. */
export function withWanted(view: HistoryView): HistoryState {
  const { state } = view;
  const at = state.wanted === '' ? -1 : listed(view).findIndex(({ uuid }) => uuid === state.wanted);
  return at < 0 ? state : { ...state, wanted: '', table: { ...state.table, at } };
}

/** All kinds of operations, and enough of them for this one to be there. */
export function wanting({ area }: HistoryState, uuid: string): HistoryState {
  return { ...startHistory, area, limit: '500', wanted: uuid };
}

export function durationOf(row: HistoryRow): string {
  const seconds = secondsOf(row);
  return seconds === null ? '—' : formatDuration(seconds);
}

// --- internal ---

function resultLine(row: HistoryRow): string {
  const { sign, word } = resultOf(row);
  if (row.status === 'completed') return `${sign} ${numbersOf(row)}`;
  if (row.status === 'failed' && row.files_failed > 0) return `${sign} ${plural(row.files_failed, 'file')} failed`;
  return `${sign} ${word}`;
}

/** Short, for the list; `result` says the same in the details and above the files. */
function numbersOf({
  files_copied: copied,
  files_moved: moved,
  files_deleted: deleted,
  bytes_copied,
}: HistoryRow): string {
  const parts = [
    copied > 0 ? `${plural(copied, 'file')} ${formatBytes(bytes_copied)}` : '',
    moved > 0 ? `${formatCount(moved)} moved` : '',
    deleted > 0 ? `${formatCount(deleted)} deleted` : '',
  ].filter(Boolean);
  return parts.length > 0 ? parts.join(', ') : '0 changes';
}
