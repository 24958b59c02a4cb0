/**
 * The journal. Every run (sync, restore, verify …) is an *operation*: a row from its first moment, with live progress
 * and a control flag, so that any other process can watch or cancel it. Below each operation stand its per-file
 * actions. The *baseline* beside them (what both sides looked like when they last agreed) is in shared/baseline.ts. All of
 * it is in the user's database; the drives are never touched here.
 */
import { randomUUID } from 'node:crypto';
import { realpathSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { writeFileAtomic } from '../shared/config.ts';
import type { Context } from '../shared/context.ts';
import { type Database, fieldsOf, storable, writePacked } from '../shared/db.ts';
import { type Problem, TandemError } from '../shared/errors.ts';
import type { Progress } from '../shared/events.ts';
import type { Column, Output, Paint, Style, VerbInput } from '../shared/feature.ts';
import { defineCommand, definePanel, renderTable, runIfMain } from '../shared/feature.ts';
import { formatBytes, formatCount, formatDuration, formatRate, formatTime, plural } from '../shared/format.ts';
import { csvOf, jsonOf, secondsOf } from '../shared/history-files.ts';
import { isGone, type ProcessIdentity, thisProcess } from '../shared/machine.ts';
import { type LoggedOperation, logEnded, logInterrupted, logStarted } from '../shared/operation-log.ts';
import { displayPath } from '../shared/paths.ts';
import { movedFrom } from '../shared/renames.ts';
import { wholeNumber } from '../shared/run-options.ts';

export * from '../shared/baseline.ts';

export type OperationStatus = 'running' | 'completed' | 'failed' | 'cancelled';
type EndStatus = Exclude<OperationStatus, 'running'>;

/** What another process asks of a running one; `''` lets it run (and resumes a paused one). */
export type Control = '' | 'pause' | 'cancel' | 'stop';

export interface OperationStart {
  /** The operation's name on drives and between computers. */
  uuid: string;
  group_id: string;
  /** `sync`, `restore`, `verify` … */
  operation_type: string;
  target_kind: 'group' | 'project' | 'folder';
  target_name: string;
  subpath: string;
  /** Of a project with several parts, the one that this is. */
  role?: string;
  /** Number of the operation that this is a part of. */
  parent_id?: number;
  /** How many parts it is made of; they do the work, and this one sums them up. */
  parts?: number;
}

export interface OperationResult {
  files_copied: number;
  files_skipped: number;
  files_failed: number;
  bytes_copied: number;
  files_moved: number;
  files_deleted: number;
  conflicts_detected: number;
  /** How far down the copies were read back. */
  verified: 'none' | 'cache' | 'device';
  /** The first 1,000 are kept. */
  problems: Problem[];
  reason: string | null;
}

export interface Operation
  extends Omit<OperationStart, 'target_kind' | 'role' | 'parent_id' | 'parts'>,
    Omit<OperationResult, 'verified'> {
  id: number;
  role: string;
  parent_id: number | null;
  parts: number;
  status: OperationStatus;
  target_kind: string;
  verified: string;
  /** ISO 8601, UTC, with milliseconds. */
  start_time: string;
  end_time: string | null;
  process_id: number;
  /** The last report of a running or interrupted operation. */
  progress: Progress | null;
  control: Control;
}

export interface FileAction {
  path: string;
  action: string;
  /** Bytes. */
  size: number;
  status: 'done' | 'failed' | 'skipped' | 'conflict';
  message?: string;
}

export interface HistoryFilter {
  group_id?: string;
  /** Name of the target, or a group's id. */
  target?: string;
  status?: OperationStatus;
  /** `sync`, `verify` … */
  type?: string;
  /** Only what is a part of no other; else everything that worked on drives, and no sums of others. */
  whole?: boolean;
  limit: number | 'all';
  offset?: number;
}

export interface GroupStatistics {
  group_id: string;
  /** As the newest run of the whole group recorded it; null when only projects of it were run. */
  group_name: string | null;
  operations: Record<OperationStatus, number>;
  files_copied: number;
  files_moved: number;
  files_deleted: number;
  files_failed: number;
  bytes_copied: number;
  /** Of all ended operations but the interrupted ones, whose end nobody saw. */
  duration_seconds: number;
  /** Over the operations that copied something; null when none did. */
  bytes_per_second: number | null;
  /** End of the newest completed sync. */
  last_success: string | null;
}

/** Begins an operation, after marking those whose process died. Returns its number. */
export async function startOperation(start: OperationStart, ctx: Context): Promise<number> {
  const db = await ctx.db();
  await markInterrupted(ctx);
  const { pid, start: processStart, boot_id, pid_namespace } = thisProcess();
  const { lastId } = await db.transaction(() =>
    db.run(
      `INSERT INTO sync_operations (uuid, group_id, operation_type, target_kind, target_name, subpath, role, parent_id, parts,
        status, start_time, process_id, process_start, boot_id, pid_namespace) SELECT ?1 ->> 'uuid', ?1 ->> 'group_id',
        ?1 ->> 'operation_type', ?1 ->> 'target_kind', ?1 ->> 'target_name', ?1 ->> 'subpath', ?1 ->> 'role',
        ?1 ->> 'parent_id', ?1 ->> 'parts', 'running', ?2, ?3, ?4, ?5, ?6`,
      [
        JSON.stringify({ role: '', parts: 0, ...start }),
        ctx.now().toISOString(),
        pid,
        processStart,
        boot_id,
        pid_namespace,
      ],
    ),
  );
  logStarted(start, ctx);
  return lastId;
}

/**
 * Ends an operation, then drops the per-file actions of operations that are beyond both limits of the settings
 * (`history.keep_operations`, `history.keep_days`). The operations themselves stay.
 */
export async function completeOperation(id: number, result: OperationResult, status: EndStatus, ctx: Context) {
  const db = await ctx.db();
  const columns = Object.keys(NOTHING_DONE).map((column) => `${column} = ?1 ->> '${column}'`);
  const ended = await db.transaction(() =>
    db.get<LoggedOperation>(
      `UPDATE sync_operations SET ${columns.join(', ')}, status = ?2, end_time = ?3, progress = NULL, control = ''
        WHERE id = ?4 RETURNING uuid, operation_type, group_id, target_name`,
      [JSON.stringify({ ...result, problems: result.problems.slice(0, 1000) }), status, ctx.now().toISOString(), id],
    ),
  );
  if (!ended) throw unknownOperation(String(id));
  logEnded(ended, result, status, ctx);
  await pruneActions(db, ctx);
}

/** Appends per-file actions; the first gets the number `firstSeq`. No number can be used twice in an operation. */
export async function recordActions(id: number, firstSeq: number, actions: readonly FileAction[], ctx: Context) {
  const db = await ctx.db();
  const rows = actions.map(({ path, action, size, status, message }, index) => {
    return [firstSeq + index, storable(path), action, size, status, message === undefined ? null : storable(message)];
  });
  const sql = `INSERT INTO operation_files (operation_id, seq, path, action, size, status, message)
    SELECT ?1, ${fieldsOf(6)} FROM jsonb_each(?2)`;
  await db.transaction(() => writePacked(db, sql, [id], rows));
}

/** Running rows whose process is provably gone become `failed` with the reason `interrupted`. Returns how many. */
export async function markInterrupted(ctx: Context): Promise<number> {
  const reader = await ctx.dbIfExists();
  const running = await reader?.all<Omit<ProcessIdentity, 'machine_id'> & { id: number }>(
    `SELECT id, process_id AS pid, process_start AS start, boot_id, pid_namespace FROM sync_operations
      WHERE status = 'running'`,
  );
  // A database in WAL mode is never shared between machines, so its rows are this machine's.
  const { machine_id } = thisProcess();
  const gone = running?.filter((row) => isGone({ ...row, machine_id })).map((row) => row.id) ?? [];
  if (gone.length === 0) return 0;
  const db = await ctx.db();
  const sql = `UPDATE sync_operations SET status = 'failed', reason = 'interrupted', end_time = ?1, control = ''
    WHERE status = 'running' AND id IN (SELECT value FROM json_each(?2))`;
  const { changes } = await db.transaction(() => db.run(sql, [ctx.now().toISOString(), JSON.stringify(gone)]));
  if (changes > 0) logInterrupted(gone, ctx);
  return changes;
}

/** Newest first. */
export async function listOperations(filter: HistoryFilter, ctx: Context): Promise<Operation[]> {
  const db = await ctx.dbIfExists();
  if (!db) return [];
  const { group_id, target, status, type, whole = false, limit, offset = 0 } = filter;
  const conditions = [whole ? '(parent_id IS NULL OR group_id = ?2)' : 'parts = 0'];
  if (group_id !== undefined) conditions.push('group_id = ?1');
  if (target !== undefined) conditions.push('(target_name = ?2 OR group_id = ?2)');
  if (status !== undefined) conditions.push('status = ?3');
  if (type !== undefined) conditions.push('operation_type = ?4');
  const rows = await db.all<OperationRow>(
    `SELECT ${OPERATION_COLUMNS} FROM sync_operations WHERE ${conditions.join(' AND ')}
      ORDER BY id DESC LIMIT ?5 OFFSET ?6`,
    [group_id ?? null, target ?? null, status ?? null, type ?? null, limit === 'all' ? -1 : limit, offset],
  );
  return rows.map(toOperation);
}

/**
 * Finds an operation by its number, its uuid, or the beginning of its uuid if no other begins so.
 * @throws TandemError `not_found`, `ambiguous`
 */
export async function getOperation(query: string, ctx: Context): Promise<Operation> {
  const db = await ctx.dbIfExists();
  const word = query.trim().toLowerCase();
  if (!db || word === '') throw unknownOperation(query);
  const rows = await db.all<OperationRow>(
    `SELECT ${OPERATION_COLUMNS} FROM sync_operations
      WHERE CAST(id AS TEXT) = ?1 OR lower(substr(uuid, 1, length(?1))) = ?1
      ORDER BY CAST(id AS TEXT) = ?1 DESC, lower(uuid) = ?1 DESC LIMIT 2`,
    [word],
  );
  const [first, second] = rows.map(toOperation);
  if (!first) throw unknownOperation(query);
  if (!second || String(first.id) === word || first.uuid.toLowerCase() === word) return first;
  throw new TandemError(
    'ambiguous',
    `Several operations begin with '${displayPath(query)}', ${second.uuid} among them.`,
    {
      hint: 'Give more of the id, or the number from `tandem history list`.',
    },
  );
}

/** What an operation over several groups is made of, in the order in which they began. */
export async function partsOfOperation({ id, parts }: Operation, ctx: Context): Promise<Operation[]> {
  const db = parts > 0 ? await ctx.dbIfExists() : undefined;
  const sql = `SELECT ${OPERATION_COLUMNS} FROM sync_operations WHERE parent_id = ? ORDER BY id`;
  return (await db?.all<OperationRow>(sql, [id]))?.map(toOperation) ?? [];
}

/** In the order in which they were recorded; empty when they were pruned. */
export async function operationFiles(id: number, ctx: Context): Promise<FileAction[]> {
  const db = await ctx.dbIfExists();
  const rows = await db?.all<Omit<FileAction, 'message'> & { message: string | null }>(
    'SELECT path, action, size, status, message FROM operation_files WHERE operation_id = ? ORDER BY seq',
    [id],
  );
  return rows?.map(({ message, ...action }) => (message === null ? action : { ...action, message })) ?? [];
}

/** Paths that later operations of the same group worked on, former names included. */
export async function pathsChangedAfter({ id, group_id }: Operation, ctx: Context): Promise<string[]> {
  const rows = await (await ctx.dbIfExists())?.all<FileAction>(
    `SELECT DISTINCT path, action, message FROM operation_files JOIN sync_operations AS one ON one.id = operation_id
      WHERE operation_id > ? AND group_id = ? AND operation_files.status = 'done' AND action NOT IN ('adopt', 'skip')`,
    [id, group_id],
  );
  return rows?.flatMap((row) => [row.path, movedFrom(row) ?? row.path]) ?? [];
}

/**
 * The chosen operations, oldest first, as CSV (RFC 4180 quoting, times `YYYY-MM-DD hh:mm:ss` in UTC) or as one JSON
 * document. Ends in a newline. The CSV's duration is empty while an operation runs and when it was interrupted.
 */
export async function exportHistory(format: 'csv' | 'json', filter: HistoryFilter, ctx: Context): Promise<string> {
  const operations = (await listOperations(filter, ctx)).reverse();
  return format === 'csv' ? csvOf(operations) : jsonOf(operations, ctx.now());
}

/** One entry per group, or only the group with this id or name; the group that ran last comes first. */
export async function historyStatistics(group: string | undefined, ctx: Context): Promise<GroupStatistics[]> {
  const db = await ctx.dbIfExists();
  const rows = await db?.all<Omit<GroupStatistics, 'operations'> & { operations: string }>(STATISTICS, [group ?? null]);
  return rows?.map((row) => ({ ...row, operations: JSON.parse(row.operations) })) ?? [];
}

/** Newest first; 50 unless told otherwise. */
export function getSyncHistory(groupId: string, limit: number | undefined, ctx: Context): Promise<Operation[]> {
  return listOperations({ group_id: groupId, limit: limit ?? 50 }, ctx);
}

export function startSyncOperation(groupId: string, operationType: string, ctx: Context): Promise<number> {
  const names = { uuid: randomUUID(), group_id: groupId, target_name: groupId, operation_type: operationType };
  return startOperation({ ...names, target_kind: 'group', subpath: '' }, ctx);
}

/** Counts that are not given are zero. */
export function completeSyncOperation(id: number, stats: Partial<OperationResult>, status: EndStatus, ctx: Context) {
  return completeOperation(id, { ...NOTHING_DONE, ...stats }, status, ctx);
}

// --- internal ---

/** A result before anything is counted. */
export const NOTHING_DONE: OperationResult = {
  files_copied: 0,
  files_skipped: 0,
  files_failed: 0,
  bytes_copied: 0,
  files_moved: 0,
  files_deleted: 0,
  conflicts_detected: 0,
  verified: 'none',
  problems: [],
  reason: null,
};

type OperationRow = Omit<Operation, 'problems' | 'progress'> & { problems: string; progress: string | null };

const OPERATION_COLUMNS = `id, uuid, group_id, operation_type, status, start_time, end_time, process_id, progress, control,
  target_kind, target_name, subpath, role, parent_id, parts, ${Object.keys(NOTHING_DONE).join(', ')}`;

const ENDED = `FILTER (WHERE end_time IS NOT NULL AND reason IS NOT 'interrupted'`;
const SECONDS = `max(0, unixepoch(end_time, 'subsec') - unixepoch(start_time, 'subsec'))`;

const STATISTICS = `SELECT group_id, (SELECT target_name FROM sync_operations AS named
    WHERE named.group_id = every.group_id AND target_kind = 'group' ORDER BY id DESC LIMIT 1) AS group_name,
  json_object('running', sum(status = 'running'), 'completed', sum(status = 'completed'),
    'failed', sum(status = 'failed'), 'cancelled', sum(status = 'cancelled')) AS operations,
  sum(files_copied) AS files_copied, sum(files_moved) AS files_moved, sum(files_deleted) AS files_deleted,
  sum(files_failed) AS files_failed, sum(bytes_copied) AS bytes_copied,
  coalesce(sum(${SECONDS}) ${ENDED}), 0.0) AS duration_seconds,
  sum(bytes_copied) ${ENDED}) / nullif(sum(${SECONDS}) ${ENDED} AND bytes_copied > 0), 0) AS bytes_per_second,
  max(end_time) FILTER (WHERE status = 'completed' AND operation_type = 'sync') AS last_success
  FROM sync_operations AS every WHERE parts = 0 AND (?1 IS NULL OR group_id = ?1 OR group_id IN
    (SELECT group_id FROM sync_operations WHERE target_kind = 'group' AND target_name = ?1))
  GROUP BY group_id ORDER BY max(id) DESC`;

async function pruneActions(db: Database, ctx: Context): Promise<void> {
  let keep: { keepOperations: number; keepDays: number };
  try {
    keep = ctx.settings().history;
  } catch {
    return; // Settings that became unreadable during a run must not turn its result into a failure.
  }
  const oldest = new Date(ctx.now().getTime() - keep.keepDays * 86_400_000).toISOString();
  const sql = `DELETE FROM operation_files WHERE operation_id IN (SELECT id FROM sync_operations
    WHERE id >= (SELECT min(operation_id) FROM operation_files)
    AND id <= (SELECT id FROM sync_operations ORDER BY id DESC LIMIT 1 OFFSET ?)
    AND status <> 'running' AND coalesce(end_time, start_time) < ?)`;
  await db.transaction(() => db.run(sql, [keep.keepOperations, oldest]));
}

function toOperation(row: OperationRow): Operation {
  return { ...row, problems: parsed(row.problems) ?? [], progress: parsed(row.progress) ?? null };
}

function parsed<T>(json: string | null): T | undefined {
  try {
    return JSON.parse(json ?? 'null') ?? undefined;
  } catch {
    return undefined;
  }
}

export function unknownOperation(query: string): TandemError {
  return new TandemError('not_found', `No operation is called '${displayPath(query)}'.`, {
    hint: 'Give a number or an id from `tandem history list`.',
  });
}

const STYLE: Record<string, Style> = {
  completed: 'good',
  failed: 'bad',
  cancelled: 'warn',
  done: 'good',
  skipped: 'dim',
  conflict: 'warn',
};

const columns: readonly Column<Operation>[] = [
  { title: 'No.', align: 'right', value: (row) => String(row.id) },
  { title: 'Type', value: (row) => displayPath(row.operation_type) },
  { title: 'Target', value: targetOf },
  { title: 'Status', value: statusOf, style: (row) => STYLE[row.status] ?? 'plain' },
  { title: 'Copied', align: 'right', value: (row) => formatCount(row.files_copied) },
  { title: 'Failed', align: 'right', value: (row) => formatCount(row.files_failed) },
  { title: 'Size', align: 'right', value: (row) => formatBytes(row.bytes_copied) },
  { title: 'Duration', align: 'right', value: durationOf },
  { title: 'Started', value: (row) => localTime(row.start_time) },
];

const actionColumns: readonly Column<FileAction>[] = [
  { title: 'Action', value: (row) => displayPath(row.action) },
  { title: 'Result', value: (row) => row.status, style: (row) => STYLE[row.status] ?? 'plain' },
  { title: 'Size', align: 'right', value: (row) => formatBytes(row.size) },
  { title: 'Path', value: (row) => displayPath(row.path + (row.message === undefined ? '' : ` (${row.message})`)) },
];

const statisticsColumns: readonly Column<GroupStatistics>[] = [
  { title: 'Group', value: (row) => displayPath(row.group_name ?? row.group_id) },
  { title: 'Completed', align: 'right', value: (row) => formatCount(row.operations.completed) },
  { title: 'Failed', align: 'right', value: (row) => formatCount(row.operations.failed) },
  { title: 'Cancelled', align: 'right', value: (row) => formatCount(row.operations.cancelled) },
  { title: 'Running', align: 'right', value: (row) => formatCount(row.operations.running) },
  { title: 'Copied', align: 'right', value: (row) => formatCount(row.files_copied) },
  { title: 'Size', align: 'right', value: (row) => formatBytes(row.bytes_copied) },
  { title: 'Time', align: 'right', value: (row) => formatDuration(row.duration_seconds) },
  { title: 'Rate', align: 'right', value: ({ bytes_per_second: rate }) => (rate === null ? '—' : formatRate(rate)) },
  { title: 'Last good sync', value: (row) => localTime(row.last_success) },
];

function localTime(iso: string | null): string {
  return iso === null ? '—' : formatTime(new Date(iso));
}

/** What it worked on, as people call it. */
export function targetOf({ target_kind, target_name, subpath, role }: Operation): string {
  if (target_kind === 'project') return displayPath(role === '' ? target_name : `${target_name} (${role})`);
  return displayPath(subpath === '' ? target_name : `${target_name}/${subpath}`);
}

function statusOf(row: Operation): string {
  if (row.reason !== null) return `${row.status} (${displayPath(row.reason)})`;
  if (row.status !== 'running' || row.progress === null) return row.status;
  return `${row.progress.paused ? 'paused' : 'running'} (${row.progress.phase})`;
}

function durationOf(row: Operation): string {
  const seconds = secondsOf(row);
  return seconds === null ? '—' : formatDuration(seconds);
}

function detailsOf(row: Operation, files: readonly FileAction[], parts: readonly Operation[], paint: Paint): string {
  const copied = `${plural(row.files_copied, 'file')} (${formatBytes(row.bytes_copied)}) copied`;
  const others = (['skipped', 'moved', 'deleted', 'failed'] as const).map((what) => {
    return `${formatCount(row[`files_${what}`])} ${what}`;
  });
  const seen = row.progress
    ? `, last seen at ${formatCount(row.progress.files_done)} of ${plural(row.progress.files_total, 'file')}`
    : '';
  const lines = [
    `${paint('bold', `Operation ${row.id}`)}  ${displayPath(row.uuid)}`,
    `What      ${displayPath(row.operation_type)} ${row.target_kind === 'folder' ? 'in a folder, for' : `of the ${displayPath(row.target_kind)}`} ${targetOf(row)}`,
    `Status    ${paint(STYLE[row.status] ?? 'plain', statusOf(row))}${seen}`,
    `Time      ${localTime(row.start_time)} to ${localTime(row.end_time)}, ${durationOf(row)}`,
    `Result    ${[copied, ...others, plural(row.conflicts_detected, 'conflict')].join(', ')}`,
    `Verified  ${displayPath(row.verified)}`,
    ...row.problems.map((one) => `${paint('bad', 'Problem')}   ${displayPath(`${one.path}: ${one.message}`)}`),
  ];
  if (parts.length > 0) return [...lines, '', renderTable(parts, columns, paint)].join('\n');
  const none = 'It touched no file, or the list of its files was pruned (`history:` in app.yaml).';
  return [...lines, '', files.length > 0 ? renderTable(files, actionColumns, paint) : none].join('\n');
}

async function runList({ options }: VerbInput, ctx: Context): Promise<Output> {
  await markInterrupted(ctx);
  const { target, status, limit = 50, offset = 0 } = options;
  // One more than is shown tells whether there are older ones.
  const found = await listOperations(
    { target, status, whole: true, limit: limit === 'all' ? limit : limit + 1, offset },
    ctx,
  );
  const shown = limit === 'all' ? found : found.slice(0, limit);
  const more = found.length > shown.length ? `\nOlder ones: --offset ${offset + shown.length}, or --limit all.` : '';
  const none = 'No such operation is recorded; `tandem sync run GROUP` makes the first one.';
  const text = (paint: Paint): string => renderTable(shown, columns, paint) + paint('dim', more);
  return { json: shown, text: (paint) => (shown.length > 0 ? text(paint) : none) };
}

async function runShow({ args }: VerbInput, ctx: Context): Promise<Output> {
  await markInterrupted(ctx);
  const operation = await getOperation(args['operation'], ctx);
  const files = await operationFiles(operation.id, ctx);
  const parts = await partsOfOperation(operation, ctx);
  const json = parts.length > 0 ? { ...operation, files, part_operations: parts } : { ...operation, files };
  return { json, text: (paint) => detailsOf(operation, files, parts, paint) };
}

async function runExport({ options }: VerbInput, ctx: Context): Promise<Output> {
  const { format, out } = options;
  if (format === undefined) {
    throw new TandemError('usage', 'The format of the export is missing.', { hint: 'Give --format csv or json.' });
  }
  await markInterrupted(ctx);
  const path = out === undefined ? undefined : await outputFile(out, ctx);
  const text = await exportHistory(format, { limit: 'all' }, ctx);
  if (path === undefined)
    return { json: format === 'json' ? JSON.parse(text) : { format, text }, text: () => text.trimEnd() };
  writeFileAtomic(path, text);
  return { json: { format, path }, text: () => `Wrote ${displayPath(path)}.` };
}

/** The file to write: an existing one only when it is a plain file and the user agrees. */
async function outputFile(out: string, ctx: Context): Promise<string> {
  const path = resolve(out);
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) return path;
  if (!found.isFile()) {
    const hint = 'Name a file, or leave --out away to print.';
    throw new TandemError('invalid', `${displayPath(path)} is not a plain file.`, { hint });
  }
  if (await ctx.prompts.confirm(`${displayPath(path)} exists. Replace it?`, '--yes')) return realpathSync(path);
  throw new TandemError('cancelled', `${displayPath(path)} was left as it is.`, { hint: 'Give --out another name.' });
}

async function runStats({ options }: VerbInput, ctx: Context): Promise<Output> {
  await markInterrupted(ctx);
  const rows = await historyStatistics(options['group'], ctx);
  const none = 'No such operation is recorded.';
  return { json: rows, text: (paint) => (rows.length > 0 ? renderTable(rows, statisticsColumns, paint) : none) };
}

export const command = defineCommand({
  name: 'history',
  summary: 'What was synced, restored and verified, when, and with what result',
  verbs: {
    list: {
      summary: 'Operations, newest first',
      examples: ['tandem history list', 'tandem history list --target Archive --status failed --limit all'],
      options: [
        {
          flags: '--target <target>',
          description: 'only this group or project (name or group id)',
          complete: 'target',
        },
        {
          flags: '--status <status>',
          description: 'only these',
          choices: ['running', 'completed', 'failed', 'cancelled'],
        },
        {
          flags: '--limit <n>',
          description: 'how many, or all (default 50)',
          parse: (text) => (text === 'all' ? text : wholeNumber(text, '--limit', 1)),
        },
        { flags: '--offset <n>', description: 'skip the newest N', parse: (text) => wholeNumber(text, '--offset', 0) },
      ],
      run: runList,
    },
    show: {
      summary: 'One operation and what it did, file by file',
      examples: ['tandem history show 12', 'tandem history show 3f2a91'],
      args: [{ name: 'operation', description: 'number, id or beginning of the id', complete: 'operation' }],
      run: runShow,
    },
    export: {
      summary: 'All operations as CSV or JSON, oldest first',
      examples: ['tandem history export --format csv --out history.csv'],
      options: [
        { flags: '--format <format>', description: 'csv or json', choices: ['csv', 'json'] },
        { flags: '--out <file>', description: 'write this file instead of printing', complete: 'path' },
      ],
      run: runExport,
    },
    stats: {
      summary: 'Totals per group: operations, files, bytes, time, rate, last good sync',
      examples: ['tandem history stats', 'tandem history stats --group Archive'],
      options: [{ flags: '--group <group>', description: 'only this group (name or id)', complete: 'group' }],
      run: runStats,
    },
  },
});

export const panel = definePanel<Operation>({
  title: 'History',
  rows: async (ctx) => {
    await markInterrupted(ctx);
    return listOperations({ limit: 50 }, ctx);
  },
  columns,
  empty: 'Nothing was synced yet. Sync a group, and the run appears here.',
  actions: [{ key: 'enter', label: 'details', command: (row) => ['history', 'show', String(row.id)] }],
});

runIfMain(import.meta, command);
