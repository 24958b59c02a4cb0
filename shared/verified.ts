/**
 * When the content of a path was last read and found to be as recorded, on each side apart: two columns of the baseline.
 * A row that a sync records anew has no such date again. What is written here holds only while the row is the one that
 * was read, because a scrub takes no lock and a sync may be running.
 */
import { boundsBelow } from './baseline.ts';
import type { Context } from './context.ts';
import { storable, writePacked } from './db.ts';
import type { Side } from './listing.ts';
import type { BaselineRow } from './rows.ts';

/** ISO 8601, UTC; null: never. */
export interface Verified {
  master: string | null;
  backup: string | null;
}

/** Dates of the paths at `subpath` and below it (`''`: everything) that have any. */
export async function verifiedDates(pairId: number, subpath: string, ctx: Context): Promise<Map<string, Verified>> {
  const db = await ctx.dbIfExists();
  const rows = await db?.all<{ path: string } & Verified>(
    `SELECT relative_path AS path, master_verified AS master, backup_verified AS backup FROM file_sync_history
      WHERE pair_id = ?1 AND (relative_path = ?2 OR relative_path > ?3 AND relative_path < ?4)
      AND (master_verified IS NOT NULL OR backup_verified IS NOT NULL)`,
    [pairId, subpath, ...boundsBelow(subpath)],
  );
  return new Map(rows?.map(({ path, master, backup }) => [path, { master, backup }]));
}

/** These rows were read on this side and are as recorded. */
export async function markVerified(
  pairId: number,
  side: Side,
  rows: readonly BaselineRow[],
  ctx: Context,
): Promise<void> {
  if (rows.length === 0) return;
  const db = await ctx.db();
  const sql = `UPDATE file_sync_history SET ${side}_verified = ?2 FROM jsonb_each(?3) AS good WHERE pair_id = ?1
    AND relative_path = good.value ->> 0 AND ${side}_facts = good.value ->> 1 AND checksum = good.value ->> 2`;
  const packed = rows.map((row) => [storable(row.path), row[`${side}_facts`], row.checksum]);
  await db.transaction(() => writePacked(db, sql, [pairId, ctx.now().toISOString()], packed));
}

export interface Learned {
  row: BaselineRow;
  checksum: string;
}

/** Fills in checksums that were not known, of paths that were read on both sides and agree. */
export async function recordChecksums(
  pairId: number,
  algorithm: string,
  learned: readonly Learned[],
  ctx: Context,
): Promise<void> {
  if (learned.length === 0) return;
  const db = await ctx.db();
  const sql = `UPDATE file_sync_history SET checksum = good.value ->> 3, checksum_algorithm = ?2, master_verified = ?3,
    backup_verified = ?3 FROM jsonb_each(?4) AS good WHERE pair_id = ?1 AND relative_path = good.value ->> 0
    AND master_facts = good.value ->> 1 AND backup_facts = good.value ->> 2 AND checksum = '' AND doubt = ''`;
  const packed = learned.map(({ row, checksum }) => [storable(row.path), row.master_facts, row.backup_facts, checksum]);
  await db.transaction(() => writePacked(db, sql, [pairId, algorithm, ctx.now().toISOString()], packed));
}
