/**
 * What is remembered of a pair of drives beside its baseline: what it lost lately, up to where somebody said that this was
 * meant, and the filter of its last run. In the user's database.
 */
import type { Context } from './context.ts';

/**
 * Files of the Backup that runs deleted or replaced since `since`, or since the losses were acknowledged if that was later;
 * each path once. A file's size is the last one that was recorded for it, in bytes.
 */
export async function lostSince(
  pairId: number,
  groupId: string,
  since: Date,
  ctx: Context,
): Promise<{ path: string; size: number }[]> {
  const db = await ctx.dbIfExists();
  // An acknowledgement from the future tells of a clock that was wrong, and covers nothing.
  const rows = await db?.all<{ path: string; size: number }>(
    `SELECT path, max(size) AS size FROM operation_files JOIN sync_operations ON id = operation_id
      WHERE group_id = ?1 AND action IN ('delete', 'update') AND operation_files.status = 'done' AND start_time > max(?2,
        coalesce((SELECT acknowledged_at FROM pairs WHERE id = ?3 AND acknowledged_at <= ?4), ''))
      GROUP BY path`,
    [groupId, since.toISOString(), pairId, ctx.now().toISOString()],
  );
  return rows ?? [];
}

/** All that was deleted and replaced so far was meant. */
export async function acknowledgeLosses(pairId: number, ctx: Context): Promise<void> {
  const db = await ctx.db();
  const sql = 'UPDATE pairs SET acknowledged_at = ? WHERE id = ?';
  await db.transaction(() => db.run(sql, [ctx.now().toISOString(), pairId]));
}

/** The filter of the pair's last run as it was noted, `''` before the first. */
export async function notedFilter(pairId: number, ctx: Context): Promise<string> {
  const db = await ctx.dbIfExists();
  return (await db?.get<{ filters: string }>('SELECT filters FROM pairs WHERE id = ?', [pairId]))?.filters ?? '';
}

/** Notes the filter of a run; writes only what is new. */
export async function noteFilter(pairId: number, filter: string, ctx: Context): Promise<void> {
  if ((await notedFilter(pairId, ctx)) === filter) return;
  const db = await ctx.db();
  await db.transaction(() => db.run('UPDATE pairs SET filters = ? WHERE id = ?', [filter, pairId]));
}
