/** What the screen of conflicts holds: the list, its marks, and which side a choice lets stand. Pure. */
import type { SideState } from '../../features/conflicts.ts';
import type { Column, Style } from '../../shared/feature.ts';
import { formatBytes, formatTime } from '../../shared/format.ts';
import type { ConflictRow, SideNow, Sides } from '../reads/conflicts.ts';
import type { View } from '../screen.ts';
import { emptyTable, type TableState, tableRows } from '../table.ts';
import { want } from '../wants.ts';

export interface ConflictsState {
  table: TableState;
  /** A new object with each change: columns are remembered by it. */
  signs: Signs;
  /** Of the row that was selected when it was drawn last: it is followed when others come and go. */
  selected: { group: string; path: string } | null;
  area: { x: number; y: number; width: number; height: number };
}

/** Rows by `keyOfRow`. */
interface Signs {
  marked: ReadonlySet<string>;
  /** To be decided later. */
  later: ReadonlySet<string>;
}

export type ConflictsView = View<ConflictsState>;
export type Side = 'master' | 'backup';
export type Keep = Side | 'both' | 'newest' | 'largest';

export const SIDE_NAME = { master: 'Master', backup: 'Backup' } as const;

export const startConflicts: ConflictsState = {
  table: emptyTable,
  signs: { marked: new Set(), later: new Set() },
  selected: null,
  area: { x: 0, y: 0, width: 0, height: 0 },
};

export function wantsOfConflicts({ selected }: ConflictsState) {
  const chosen = selected ? [want('sides', selected.group, selected.path), want('group', selected.group)] : [];
  return [want('conflicts'), want('status'), ...chosen];
}

export function keyOfRow({ group_id: id, path }: Pick<ConflictRow, 'group_id' | 'path'>): string {
  return `${id} ${path}`;
}

export function rowsOf({ read }: Pick<View, 'read'>): readonly ConflictRow[] {
  return read('conflicts').value ?? NONE;
}

/** In their order and choice. */
export function listed(view: ConflictsView, width = view.state.area.width): readonly ConflictRow[] {
  return tableRows(rowsOf(view), columnsFor(view.state, width), view.state.table);
}

export function chosen(view: ConflictsView): ConflictRow | undefined {
  const rows = listed(view);
  return rows[Math.min(view.state.table.at, rows.length - 1)];
}

export function markedRows(view: ConflictsView): ConflictRow[] {
  const { marked } = view.state.signs;
  return marked.size === 0 ? [] : rowsOf(view).filter((row) => marked.has(keyOfRow(row)));
}

/** As far as they were read: the versions of the row as they are now. */
export function sidesOf({ read }: Pick<View, 'read'>, { group_id: id, path }: ConflictRow) {
  return read('sides', id, path);
}

/** The list with the row in it that was selected, wherever that stands now; without it, what came into its place. */
export function followed(view: ConflictsView, rows: readonly ConflictRow[]): TableState {
  const { selected, table } = view.state;
  const here = rows[Math.min(table.at, rows.length - 1)];
  if (!selected || !here || (here.group_id === selected.group && here.path === selected.path)) return table;
  const at = rows.findIndex(({ group_id: id, path }) => id === selected.group && path === selected.path);
  return at < 0 ? table : { ...table, at };
}

/** With the key in the set, or without it when it was there. */
export function toggled(set: ReadonlySet<string>, key: string): ReadonlySet<string> {
  const next = new Set(set);
  if (!next.delete(key)) next.add(key);
  return next;
}

/** Which side a choice lets stand, or why it does not say. */
export function winner({ master, backup }: ConflictRow, keep: Keep): Side | 'both' | { why: string } {
  if (keep === 'master' || keep === 'backup') return keep;
  if (master === null || backup === null) {
    if (keep === 'both') return master === null ? 'backup' : 'master';
    return { why: `only one side has it, so none is the ${keep}: choose Master or Backup` };
  }
  if (keep === 'both')
    return backup.kind === 'f' ? 'both' : { why: 'only a file can be kept beside another: choose Master or Backup' };
  const [left, right] = keep === 'newest' ? [timeOf(master), timeOf(backup)] : [master.size, backup.size];
  if (left === right)
    return { why: `both have the same ${keep === 'newest' ? 'time' : 'size'}: choose Master or Backup` };
  return left > right ? 'master' : 'backup';
}

/** The side with the later time; undefined where neither is. */
export function newer({ master, backup }: ConflictRow): Side | undefined {
  if (!master || !backup || timeOf(master) === timeOf(backup)) return undefined;
  return timeOf(master) > timeOf(backup) ? 'master' : 'backup';
}

export function describeState(state: SideState | null): string {
  if (state === null) return 'not there';
  const what = { f: formatBytes(state.size), d: 'folder', l: 'link' }[state.kind];
  return `${what}   ${formatTime(new Date(state.mtime)).slice(0, 16)}`;
}

/** What happened to one side since both last agreed. */
export function storyOf({ baseline, ...row }: ConflictRow, side: Side): string {
  const state = row[side];
  if (row.conflict_type === 'undone') return state === null ? 'not there after an undo' : 'as an undo left it';
  if (state === null) return baseline === null ? 'nothing of this name' : 'deleted here';
  if (baseline === null) return 'never compared before';
  // Of a sealed group nothing tells the stored file from another one.
  if (baseline.checksum === undefined) return row.reason;
  if (state.checksum !== undefined || isSame(state, baseline)) return 'as both last agreed';
  return 'changed since both agreed';
}

/** It is not any more what was found; then a decision is refused until a sync has looked again. */
export function hasChanged(recorded: SideState | null, { here, state }: SideNow): boolean {
  if (!here) return false;
  if (recorded === null || state === null) return (recorded === null) !== (state === null);
  const isFile = recorded.kind === 'f';
  // What is neither file, folder nor link is recorded as a file.
  const kind = state.kind === 'o' ? 'f' : state.kind;
  return kind !== recorded.kind || (isFile && (state.size !== recorded.size || state.mtime !== recorded.mtime));
}

/** In two or three words. */
export function kindOf({ conflict_type: type }: ConflictRow): string {
  return KINDS[type] ?? type;
}

/** What Enter tells. */
export function conflictFacts(row: ConflictRow, sides: Sides | undefined): string[] {
  const side = (one: Side): string[] => {
    const [state, now] = [row[one], sides?.[one]];
    const name = SIDE_NAME[one].padEnd(9);
    const facts = now?.preview?.facts ?? [];
    return [
      '',
      `${name} ${describeState(state)}${state?.kind === 'f' ? `   (${state.size} bytes)` : ''}`,
      `          ${storyOf(row, one)}`,
      ...(state?.checksum === undefined ? [] : [`          checksum ${state.checksum}`]),
      ...(now && hasChanged(state, now) ? ['          changed since it was found; a sync looks again'] : []),
      ...facts.map(([key, value]) => `          ${key.padEnd(9)} ${value}`),
    ];
  };
  return [
    `Path      ${row.path}`,
    `Group     ${row.target}`,
    ...(row.project === null ? [] : [`Project   ${row.project}`]),
    `What      ${kindOf(row)} (${row.conflict_type}): ${row.reason}`,
    `Since     ${formatTime(new Date(row.detected_at))}`,
    ...side('master'),
    ...side('backup'),
    '',
    `Agreed    ${row.baseline === null ? 'never' : describeState(row.baseline)}`,
    ...(row.baseline?.checksum === undefined ? [] : [`          checksum ${row.baseline.checksum}`]),
  ];
}

export function columnsFor({ signs }: Pick<ConflictsState, 'signs'>, width: number): readonly Column<ConflictRow>[] {
  const roomy = width >= ROOMY;
  const known = COLUMNS.get(signs);
  if (known?.roomy === roomy) return known.columns;
  const columns = makeColumns(signs, roomy);
  COLUMNS.set(signs, { roomy, columns });
  return columns;
}

// --- internal ---

const NONE: readonly ConflictRow[] = [];
const ROOMY = 100;
const COLUMNS = new WeakMap<Signs, { roomy: boolean; columns: readonly Column<ConflictRow>[] }>();

const KINDS: Readonly<Record<string, string>> = {
  modified_both: 'both changed',
  size_mismatch: 'sizes differ',
  modified_backup: 'changed on Backup',
  new_backup: 'only on Backup',
  deleted_master: 'deleted on Master',
  deleted_backup: 'deleted on Backup',
  undone: 'undone',
};

function timeOf({ mtime }: SideState): number {
  return Date.parse(mtime);
}

function isSame(one: SideState, other: SideState): boolean {
  return one.kind === other.kind && one.size === other.size && one.mtime === other.mtime;
}

function makeColumns({ marked, later }: Signs, roomy: boolean): readonly Column<ConflictRow>[] {
  const isLater = (row: ConflictRow): boolean => later.has(keyOfRow(row));
  const style =
    (own: Style) =>
    (row: ConflictRow): Style =>
      isLater(row) ? 'dim' : own;
  const sign = (row: ConflictRow): string => (marked.has(keyOfRow(row)) ? '●' : isLater(row) ? '–' : ' ');
  const columns: Column<ConflictRow>[] = [
    { title: '', value: sign, style: style('warn') },
    { title: 'Target', value: ({ target, project }) => project ?? target, style: style('plain') },
    { title: 'File', value: ({ path }) => path, style: style('plain') },
    { title: 'What', value: kindOf, style: style('warn') },
  ];
  if (!roomy) return columns;
  return [
    ...columns,
    { title: 'Why', value: ({ reason }) => reason, style: style('dim') },
    { title: 'Since', value: (row) => formatTime(new Date(row.detected_at)).slice(0, 16), style: style('dim') },
  ];
}
