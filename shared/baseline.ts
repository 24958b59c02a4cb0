/**
 * The baseline: per pair of drives and path, what both sides looked like when they last agreed; a sync compares the
 * drives with it. It is in the user's database; the drives are never touched here.
 */
import type { Context } from './context.ts';
import { type Database, fieldsOf, type SqlValue, storable, writePacked } from './db.ts';
import { TandemError } from './errors.ts';
import { Entry } from './listing.ts';
import { displayPath } from './paths.ts';
import { type BaselineRow, ROW_FIELDS, type RowTuple, rowOfTuple, rowTuple } from './rows.ts';

export type { BaselineRow } from './rows.ts';

/** The pair's number, or null when these two drives were never synced with each other here. Writes nothing. */
export async function findPair(masterUuid: string, backupUuid: string, ctx: Context): Promise<number | null> {
  const db = await ctx.dbIfExists();
  const sql = 'SELECT id FROM pairs WHERE master_uuid = ? AND backup_uuid = ?';
  return (await db?.get<{ id: number }>(sql, [masterUuid, backupUuid]))?.id ?? null;
}

/** The pair's number; a pair that is known under another group goes over to this one. */
export async function ensurePair(groupId: string, master: string, backup: string, ctx: Context): Promise<number> {
  const db = await ctx.db();
  // What the group lost on other drives is no loss of this pair.
  const sql = `INSERT INTO pairs (group_id, master_uuid, backup_uuid, acknowledged_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (master_uuid, backup_uuid) DO UPDATE SET group_id = excluded.group_id RETURNING id`;
  const values = [groupId, master, backup, ctx.now().toISOString()];
  const [row] = await db.transaction(() => db.all<{ id: number }>(sql, values));
  return (row as { id: number }).id;
}

/**
 * Count, sums and doubtful rows at `subpath` and below it (`''`: everything), without reading the rows. The sums are
 * taken modulo 2^32, so that they stay exact and do not depend on order.
 */
export async function baselineChecks(pairId: number, subpath: string, ctx: Context): Promise<BaselineChecks> {
  const db = await ctx.dbIfExists();
  const part = `SELECT count(*) AS n, sum(check_a) AS a, sum(check_b) AS b, sum(doubt <> '') AS d FROM file_sync_history`;
  const row = await db?.get<BaselineChecks>(
    `SELECT sum(n) AS rows, coalesce(sum(a), 0) & 4294967295 AS a, coalesce(sum(b), 0) & 4294967295 AS b,
      coalesce(sum(d), 0) AS doubtful FROM (${part} WHERE pair_id = ?1 AND relative_path = ?2
        UNION ALL ${part} WHERE pair_id = ?1 AND relative_path > ?3 AND relative_path < ?4)`,
    [pairId, subpath, ...boundsBelow(subpath)],
  );
  return row ?? { rows: 0, a: 0, b: 0, doubtful: 0 };
}

/** The rows at `subpath` and below it (`''`: everything). */
export async function readBaseline(pairId: number, subpath: string, ctx: Context): Promise<BaselineRow[]> {
  const db = await ctx.dbIfExists();
  if (!db) return [];
  const found: BaselineRow[] = [];
  // One JSON text per page costs a third of an object per row; short pages keep the peak of the memory low.
  const read = async (condition: string, bounds: readonly SqlValue[]): Promise<string | null> => {
    const page = await db.get<{ rows: string; last: string | null }>(
      `SELECT json_group_array(json_array(${BASELINE_COLUMNS.join(', ')})) AS rows, max(relative_path) AS last FROM
        (SELECT * FROM file_sync_history WHERE pair_id = ?1 AND ${condition} ORDER BY relative_path LIMIT 4000)`,
      [pairId, ...bounds],
    );
    for (const row of JSON.parse(page?.rows ?? '[]') as RowTuple[]) found.push(rowOfTuple(row));
    return page?.last ?? null;
  };
  await read('relative_path = ?2', [subpath]);
  const [above, below] = boundsBelow(subpath);
  let last: SqlValue = above;
  while (last !== null) last = await read('relative_path > ?2 AND relative_path < ?3', [last, below]);
  return found;
}

/** What is recorded of these paths. */
export async function readRows(pairId: number, paths: readonly string[], ctx: Context): Promise<BaselineRow[]> {
  const db = await ctx.dbIfExists();
  if (!db || paths.length === 0) return [];
  const page = await db.get<{ rows: string }>(
    `SELECT json_group_array(json_array(${BASELINE_COLUMNS.join(', ')})) AS rows FROM file_sync_history
      WHERE pair_id = ?1 AND relative_path IN (SELECT value FROM json_each(?2))`,
    [pairId, JSON.stringify(paths)],
  );
  return (JSON.parse(page?.rows ?? '[]') as RowTuple[]).map(rowOfTuple);
}

/**
 * Records rows (replacing those of the same path) and forgets the `removed` paths, all or nothing; a path in both is
 * recorded.
 * @throws TandemError `invalid` for a path that no database text can hold: it would come back as another path.
 */
export async function writeBaseline(
  pairId: number,
  groupId: string,
  operationType: 'sync' | 'restore' | 'delete',
  rows: readonly BaselineRow[],
  removed: readonly string[],
  ctx: Context,
): Promise<void> {
  for (const { path, link_target, stored_name } of rows) {
    if (storable(path) === path && storable(link_target) === link_target && storable(stored_name) === stored_name)
      continue;
    throw new TandemError('invalid', `The path '${displayPath(path)}' holds a character that cannot be recorded.`, {
      hint: 'Rename the file; nothing of this batch was recorded.',
    });
  }
  const db = await ctx.db();
  await db.transaction(async () => {
    await dropRows(db, pairId, removed);
    await putRows(db, pairId, groupId, operationType, rows.map(rowTuple), ctx);
  });
}

/** Forgets paths; inside a transaction. */
export async function dropRows(db: Database, pairId: number, paths: readonly string[]): Promise<void> {
  const sql = `DELETE FROM file_sync_history WHERE pair_id = ?1 AND relative_path IN (SELECT value FROM json_each(?2))`;
  await writePacked(db, sql, [pairId], paths);
}

/** What was recorded of these paths holds no more, though facts may not show it: a run looks at their content. */
export async function doubtRows(pairId: number, paths: readonly string[], ctx: Context): Promise<void> {
  const db = await ctx.db();
  await db.run(
    `UPDATE file_sync_history SET doubt = 'racy'
      WHERE pair_id = ?1 AND doubt = '' AND relative_path IN (SELECT value FROM json_each(?2))`,
    [pairId, JSON.stringify(paths)],
  );
}

/**
 * Of these paths contents were found that are not what was recorded. Where sizes and times still are, no run would find
 * that again without reading: from now on each of them reads, until both sides agree.
 */
export async function doubtContents(
  pairId: number,
  found: readonly { path: string; master_facts: string | null; backup_facts: string | null }[],
  ctx: Context,
): Promise<void> {
  if (found.length === 0) return;
  const db = await ctx.db();
  const sql = `UPDATE file_sync_history SET doubt = 'unequal' FROM jsonb_each(?2) AS found
    WHERE pair_id = ?1 AND doubt = '' AND relative_path = found.value ->> 0
      AND master_facts = found.value ->> 1 AND backup_facts = found.value ->> 2`;
  const rows = found.map(({ path, master_facts, backup_facts }) => [path, master_facts, backup_facts]);
  await db.transaction(() => writePacked(db, sql, [pairId], rows));
}

/** Records checked rows; inside a transaction. */
export async function putRows(
  db: Database,
  pairId: number,
  groupId: string,
  operationType: string,
  rows: readonly RowTuple[],
  ctx: Context,
): Promise<void> {
  await writePacked(db, UPSERT, [pairId, groupId, operationType, ctx.now().toISOString()], rows);
}

/**
 * Records copied files whose rows are JSON already, in the baseline and, numbered from `firstSeq`, in the journal.
 * @param texts each some rows of shared/rows.ts, joined by commas.
 */
export async function writeCopied(
  pairId: number,
  groupId: string,
  operationId: number,
  firstSeq: number,
  texts: readonly string[],
  ctx: Context,
): Promise<void> {
  const db = await ctx.db();
  const journal = `INSERT INTO operation_files (operation_id, seq, path, action, size, status)
    SELECT ?1, ?2 + key, value ->> 0, 'copy', value ->> 1, 'done' FROM jsonb_each(?3)`;
  await db.transaction(async () => {
    let seq = firstSeq;
    for (const text of texts) {
      const rows = `[${text}]`;
      await db.run(UPSERT, [pairId, groupId, 'sync', ctx.now().toISOString(), rows]);
      seq += (await db.run(journal, [operationId, seq, rows])).changes;
    }
  });
}

// The reference's tracking interface, for callers who know a group and no drives: it works on the pair of drives that
// the group got last.

/** True unless size, checksum and mtime are all as recorded when the path was last synced. */
export async function needsSync(
  groupId: string,
  relativePath: string,
  checksum: string,
  mtime: Date,
  size: number,
  ctx: Context,
): Promise<boolean> {
  const db = await ctx.dbIfExists();
  const row = await db?.get<{ facts: string; doubt: string; last_synced: string }>(
    `SELECT master_facts AS facts, doubt, last_synced FROM file_sync_history
      WHERE pair_id = (SELECT max(id) FROM pairs WHERE group_id = ?) AND relative_path = ? AND checksum = ? AND file_size = ?`,
    [groupId, relativePath, checksum, size],
  );
  if (!row) return true;
  if (row.facts === '') return mtime.getTime() > Date.parse(row.last_synced);
  const recorded = Number(new Entry(row.facts, relativePath).mtime) / 1e6;
  return row.doubt === 'pending' || Math.abs(recorded - mtime.getTime()) > 1;
}

/**
 * Records that a path was synced, restored or (`delete`) removed by other means. The row says nothing about the
 * drives, so the next sync compares this path by content.
 */
export async function updateFileRecord(
  groupId: string,
  relativePath: string,
  checksum: string,
  size: number,
  operationType: 'sync' | 'restore' | 'delete',
  ctx: Context,
): Promise<void> {
  const db = await ctx.db();
  const pair = await db.get<{ id: number | null }>('SELECT max(id) AS id FROM pairs WHERE group_id = ?', [groupId]);
  const pairId = pair?.id ?? (await ensurePair(groupId, groupId, groupId, ctx));
  const row = rowOfTuple([relativePath, size, 0, 0, 'pending', checksum, 'sha256', '', '', '', '']);
  const gone = operationType === 'delete';
  await writeBaseline(pairId, groupId, operationType, gone ? [] : [row], gone ? [relativePath] : [], ctx);
}

// --- internal ---

interface BaselineChecks {
  rows: number;
  a: number;
  b: number;
  doubtful: number;
}

const COLUMN_NAMES: Partial<Record<keyof BaselineRow, string>> = { path: 'relative_path', size: 'file_size' };
/** In the order of a tuple. */
export const BASELINE_COLUMNS = ROW_FIELDS.map((field) => COLUMN_NAMES[field] ?? field);
const ALL_COLUMNS = ['pair_id', 'group_id', 'operation_type', 'last_synced', ...BASELINE_COLUMNS];

// Without the key: setting it, even to itself, writes every index anew.
const SET_COLUMNS = ALL_COLUMNS.filter((column) => column !== 'pair_id' && column !== 'relative_path');

const UPSERT = `INSERT INTO file_sync_history (${ALL_COLUMNS.join(', ')})
  SELECT ?1, ?2, ?3, ?4, ${fieldsOf(BASELINE_COLUMNS.length)} FROM jsonb_each(?5) WHERE true
  ON CONFLICT (pair_id, relative_path) DO UPDATE SET
  ${SET_COLUMNS.map((column) => `${column} = excluded.${column}`).join(', ')},
  master_verified = NULL, backup_verified = NULL`;

/** Bounds, both exclusive, of the paths below a folder; any BLOB sorts behind every text. */
export function boundsBelow(subpath: string): [SqlValue, SqlValue] {
  return subpath === '' ? ['', Uint8Array.of(0xff)] : [`${subpath}/`, `${subpath}0`];
}
