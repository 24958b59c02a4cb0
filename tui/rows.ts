/**
 * Files of a run or of a plan as the dashboard's lists show them: chosen, sorted and cut into pages where they are read, so
 * that a hundred thousand of them cost the dashboard as much as the few that it shows. Pure.
 */

export interface FileRow {
  path: string;
  /** Of a move: the former name. */
  from?: string;
  action: string;
  entry: 'f' | 'd' | 'l';
  /** Bytes. */
  size: number;
  /**
   * `queued`, `flight`: of a run that goes on; `unfinished`: it was stopped before; `done`, `failed`, `skipped`,
   * `conflict`: as the journal says; `ticked`, `left`: of a plan.
   */
  state: 'queued' | 'flight' | 'done' | 'failed' | 'skipped' | 'conflict' | 'unfinished' | 'ticked' | 'left';
  /** 0 to 1: how much of it is done. */
  share?: number;
  message?: string;
  /** What stands on either drive, as the plan saw it; null: nothing. */
  master?: Seen | null;
  backup?: Seen | null;
}

export interface Seen {
  size: number;
  /** ISO 8601, UTC. */
  mtime: string;
}

/** Which rows, and in which order. */
export interface Choice {
  /** Left out: in the order of the run. */
  sort?: SortBy;
  descending?: boolean;
  /** Words that all have to be there; empty: every row. */
  filter: string;
  /** Empty: every action. */
  action: string;
  /** Only what failed or waits for a decision. */
  errors: boolean;
}

export type SortBy = 'action' | 'path' | 'size' | 'status';

/** Rows of a page. */
export const PAGE = 256;

export interface Page {
  /** Number of the first row. */
  from: number;
  rows: FileRow[];
  /** Rows that were chosen. */
  count: number;
  /** All rows. */
  total: number;
  /** How many rows there are of each action. */
  actions: Record<string, number>;
  errors: number;
}

/** The same array for the same rows and choice; a change of rows makes a new array of them. */
export function chosenRows(rows: readonly FileRow[], choice: Choice): readonly FileRow[] {
  const key = JSON.stringify([choice.sort, choice.descending, choice.filter, choice.action, choice.errors]);
  const known = CHOSEN.get(rows);
  if (known?.key === key) return known.chosen;
  const chosen = sorted(rows.filter(matcher(choice)), choice);
  CHOSEN.set(rows, { key, chosen });
  return chosen;
}

export function matcher({ filter, action, errors }: Choice): (row: FileRow) => boolean {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  return (row) => {
    if (action !== '' && row.action !== action) return false;
    if (errors && !isError(row)) return false;
    if (words.length === 0) return true;
    const text = `${row.action} ${row.path} ${row.from ?? ''} ${row.state} ${row.message ?? ''}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
}

/** @param chosen of the rows, in their order; `page` counts from 0. */
export function pageOf(rows: readonly FileRow[], chosen: readonly FileRow[], page: number): Page {
  const from = page * PAGE;
  const { actions, errors } = countsOf(rows);
  return { from, rows: chosen.slice(from, from + PAGE), count: chosen.length, total: rows.length, actions, errors };
}

// --- internal ---

const CHOSEN = new WeakMap<readonly FileRow[], { key: string; chosen: readonly FileRow[] }>();
const COUNTS = new WeakMap<readonly FileRow[], Pick<Page, 'actions' | 'errors'>>();

function isError({ state }: FileRow): boolean {
  return state === 'failed' || state === 'conflict';
}

function countsOf(rows: readonly FileRow[]): Pick<Page, 'actions' | 'errors'> {
  const known = COUNTS.get(rows);
  if (known) return known;
  const actions: Record<string, number> = {};
  for (const { action } of rows) actions[action] = (actions[action] ?? 0) + 1;
  const counts = { actions, errors: rows.filter(isError).length };
  COUNTS.set(rows, counts);
  return counts;
}

/** What needs a look first. */
const RANK: Readonly<Record<FileRow['state'], number>> = {
  failed: 0,
  conflict: 1,
  flight: 2,
  queued: 3,
  unfinished: 4,
  skipped: 5,
  done: 6,
  ticked: 7,
  left: 8,
};

const KEYS: Readonly<Record<SortBy, (row: FileRow) => string | number>> = {
  action: ({ action }) => action,
  path: ({ path }) => path.toLowerCase(),
  size: ({ size }) => size,
  status: ({ state }) => RANK[state],
};

function sorted(rows: FileRow[], { sort, descending = false }: Choice): FileRow[] {
  if (sort === undefined) return rows;
  const keyOf = KEYS[sort];
  const keyed = rows.map((row) => ({ row, key: keyOf(row) }));
  const sign = descending ? -1 : 1;
  keyed.sort((a, b) => (a.key < b.key ? -sign : a.key > b.key ? sign : 0));
  return keyed.map(({ row }) => row);
}
