/**
 * The checksum that manifests list (xxh128), by the one that the baseline records of the same content. Both are taken
 * in one pass while a file is copied or compared, so a manifest needs no second reading.
 */
import type { Context } from './context.ts';
import { writePacked } from './db.ts';

/** @param pairs the recorded checksum of a content, then its xxh128, and so on. */
export async function recordPairs(pairs: readonly string[], ctx: Context): Promise<void> {
  if (pairs.length === 0) return;
  const rows = Array.from({ length: pairs.length / 2 }, (_, index) => [pairs[2 * index], pairs[2 * index + 1]]);
  const db = await ctx.db();
  const sql = `INSERT OR REPLACE INTO mhl_hashes (checksum, mhl_checksum)
    SELECT value ->> 0, value ->> 1 FROM jsonb_each(?1)`;
  await db.transaction(() => writePacked(db, sql, [], rows));
}

/** Those that are known of the contents that a pair records. */
export async function pairsKnown(pairId: number, ctx: Context): Promise<Map<string, string>> {
  const db = await ctx.dbIfExists();
  const rows = await db?.all<{ checksum: string; mhl_checksum: string }>(
    `SELECT checksum, mhl_checksum FROM mhl_hashes
      WHERE checksum IN (SELECT checksum FROM file_sync_history WHERE pair_id = ?)`,
    [pairId],
  );
  return new Map(rows?.map((row) => [row.checksum, row.mhl_checksum]));
}
