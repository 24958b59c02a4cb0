/**
 * The inbox: paths of a pair of drives that wait for a decision, in the user's database. A sync puts in what it finds and
 * takes out what has settled itself; `undone` stays until the user says which state shall stand.
 */
import { boundsBelow } from './baseline.ts';
import type { Context } from './context.ts';
import { storable, writePacked } from './db.ts';

export interface InboxEntry {
  /** From the drive's root. */
  path: string;
  conflict_type: string;
  reason: string;
  /** What stands, or stood, there: f file, d folder, l symbolic link. */
  entry: 'f' | 'd' | 'l';
  /** Facts (shared/listing.ts) as they were when it was found; null: nothing was there, or it was not looked at. */
  master_facts: string | null;
  backup_facts: string | null;
}

export interface OpenConflict extends InboxEntry {
  group_id: string;
  detected_at: string;
  /** Number of the operation that found it. */
  operation_id: number | null;
}

/** What waits at `subpath` and below it, in path order. */
export async function readConflicts(pairId: number, subpath: string, ctx: Context): Promise<OpenConflict[]> {
  const db = await ctx.dbIfExists();
  const rows = await db?.all<OpenConflict>(
    `SELECT ${COLUMNS.join(', ')}, group_id, detected_at, operation_id FROM conflicts
      WHERE pair_id = ?1 AND (path = ?2 OR path > ?3 AND path < ?4) ORDER BY path`,
    [pairId, subpath, ...boundsBelow(subpath)],
  );
  return rows ?? [];
}

/** Puts conflicts in; one that waits already under the same type keeps its date. */
export async function writeConflicts(
  pairId: number,
  groupId: string,
  operationId: number | null,
  entries: readonly InboxEntry[],
  ctx: Context,
): Promise<void> {
  if (entries.length === 0) return;
  const db = await ctx.db();
  const sql = `INSERT INTO conflicts (pair_id, group_id, operation_id, detected_at, ${COLUMNS.join(', ')})
    SELECT ?1, ?2, ?3, ?4, ${COLUMNS.map((_, index) => `value ->> ${index}`).join(', ')} FROM jsonb_each(?5) WHERE true
    ON CONFLICT (pair_id, path) DO UPDATE SET
      detected_at = iif(conflict_type = excluded.conflict_type, detected_at, excluded.detected_at),
      group_id = excluded.group_id, operation_id = excluded.operation_id, conflict_type = excluded.conflict_type,
      reason = excluded.reason, entry = excluded.entry, master_facts = excluded.master_facts,
      backup_facts = excluded.backup_facts`;
  const rows = entries.map(({ path, conflict_type, reason, entry, master_facts, backup_facts }) => {
    return [storable(path), conflict_type, reason, entry, master_facts, backup_facts];
  });
  const fixed = [pairId, groupId, operationId, ctx.now().toISOString()];
  await db.transaction(() => writePacked(db, sql, fixed, rows));
}

/** Takes these paths out. */
export async function removeConflicts(pairId: number, paths: readonly string[], ctx: Context): Promise<void> {
  if (paths.length === 0) return;
  const db = await ctx.db();
  const sql = 'DELETE FROM conflicts WHERE pair_id = ?1 AND path IN (SELECT value FROM json_each(?2))';
  await db.transaction(() => writePacked(db, sql, [pairId], paths));
}

/** How many wait, by group. */
export async function countConflicts(ctx: Context): Promise<Map<string, number>> {
  const db = await ctx.dbIfExists();
  const rows = await db?.all<{ group_id: string; n: number }>(
    'SELECT group_id, count(*) AS n FROM conflicts GROUP BY group_id',
  );
  return new Map((rows ?? []).map(({ group_id, n }) => [group_id, n]));
}

/** How many of a group were found at this time (ISO 8601, UTC) or later, and wait. */
export async function countConflictsSince(groupId: string, time: string, ctx: Context): Promise<number> {
  const db = await ctx.dbIfExists();
  const sql = 'SELECT count(*) AS n FROM conflicts WHERE group_id = ? AND detected_at >= ?';
  return (await db?.get<{ n: number }>(sql, [groupId, time]))?.n ?? 0;
}

// --- internal ---

const COLUMNS = ['path', 'conflict_type', 'reason', 'entry', 'master_facts', 'backup_facts'] as const;
