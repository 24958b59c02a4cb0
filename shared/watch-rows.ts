/** Rows of the table `watchers`: what is to be watched, and what the process that watches last said of it. */
import { randomUUID } from 'node:crypto';
import type { Context } from './context.ts';
import type { Reader } from './db.ts';
import { isGone, readProcess, thisProcess } from './machine.ts';

/** One folder on the drives of one group. */
export interface WatchPlace {
  /** As the user names it. */
  target: string;
  group_id: string;
  /** Empty: the group itself. */
  project_id: string;
  role: string;
  subpath: string;
}

export interface WatchRow extends WatchPlace {
  watch_id: string;
  /** Absolute, on the Master; empty until it was connected. */
  watch_path: string;
  /** Null: as the target's options say. */
  debounce_seconds: number | null;
  /** The daemon is to watch it. */
  enabled: boolean;
  paused: boolean;
  status: string;
  message: string;
  last_event: string | null;
  last_sync: string | null;
  queue_length: number;
  /** Of the process that watches it; null: none does. */
  process_id: number | null;
}

export type WatchNews = Pick<
  WatchRow,
  'watch_path' | 'status' | 'message' | 'last_event' | 'last_sync' | 'queue_length'
>;

/** All rows, by target; one whose process is gone counts as stopped. */
export async function readWatchers(ctx: Context): Promise<WatchRow[]> {
  const db = await ctx.dbIfExists();
  const rows = db ? await allRows(db) : [];
  return rows.map(toRow);
}

/** The row of a place, made when there is none. */
export async function ensureWatcher(place: WatchPlace, ctx: Context): Promise<WatchRow> {
  const db = await ctx.db();
  await db.transaction(() =>
    db.run(
      `INSERT INTO watchers (watch_id, target, group_id, project_id, role, subpath) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (group_id, project_id, role, subpath) DO UPDATE SET target = excluded.target`,
      [randomUUID(), place.target, place.group_id, place.project_id, place.role, place.subpath],
    ),
  );
  return (await allRows(db)).map(toRow).find((row) => isSame(row, place)) as WatchRow;
}

export async function changeWatcher(
  id: string,
  change: Partial<Pick<WatchRow, 'enabled' | 'paused' | 'debounce_seconds'>>,
  ctx: Context,
): Promise<void> {
  const db = await ctx.db();
  const columns = Object.entries(change).filter(([, value]) => value !== undefined);
  if (columns.length === 0) return;
  const values = columns.map(([, value]) => (typeof value === 'boolean' ? Number(value) : (value ?? null)));
  const sql = `UPDATE watchers SET ${columns.map(([name]) => `${name} = ?`).join(', ')} WHERE watch_id = ?`;
  await db.transaction(() => db.run(sql, [...values, id]));
}

export async function removeWatcher(id: string, ctx: Context): Promise<void> {
  const db = await ctx.db();
  await db.transaction(() => db.run('DELETE FROM watchers WHERE watch_id = ?', [id]));
}

/** Makes this process the one that watches; false: another living one does. */
export async function claimWatcher(id: string, ctx: Context): Promise<boolean> {
  const db = await ctx.db();
  return db.transaction(async () => {
    const row = await db.get<{ process: string }>('SELECT process FROM watchers WHERE watch_id = ?', [id]);
    if (!row) return false;
    const holder = readProcess(row.process);
    if (holder && !isGone(holder) && holder.pid !== process.pid) return false;
    await db.run('UPDATE watchers SET process = ? WHERE watch_id = ?', [JSON.stringify(thisProcess()), id]);
    return true;
  });
}

/** What the process that watches has to say. */
export async function noteWatcher(id: string, news: WatchNews, ctx: Context): Promise<void> {
  const db = await ctx.db();
  const { watch_path, status, message, last_event, last_sync, queue_length } = news;
  await db.transaction(() =>
    db.run(
      `UPDATE watchers SET watch_path = ?, status = ?, message = ?, last_event = ?, last_sync = ?, queue_length = ?
        WHERE watch_id = ?`,
      [watch_path, status, message, last_event, last_sync, queue_length, id],
    ),
  );
}

/** The process watches no longer; the last state stays to be read. */
export async function releaseWatcher(id: string, ctx: Context): Promise<void> {
  const db = await ctx.db();
  await db.transaction(() =>
    db.run("UPDATE watchers SET process = '', status = 'stopped', queue_length = 0 WHERE watch_id = ?", [id]),
  );
}

// --- internal ---

type Stored = Omit<WatchRow, 'enabled' | 'paused' | 'process_id'> & {
  enabled: number;
  paused: number;
  process: string;
};

async function allRows(db: Reader): Promise<Stored[]> {
  return db.all<Stored>('SELECT * FROM watchers ORDER BY target, role, subpath');
}

function toRow({ process: holder, enabled, paused, ...row }: Stored): WatchRow {
  const owner = readProcess(holder);
  const alive = owner !== null && !isGone(owner);
  return {
    ...row,
    enabled: enabled === 1,
    paused: paused === 1,
    status: alive ? row.status : 'stopped',
    queue_length: alive ? row.queue_length : 0,
    process_id: alive ? owner.pid : null,
  };
}

function isSame(a: WatchPlace, b: WatchPlace): boolean {
  return a.group_id === b.group_id && a.project_id === b.project_id && a.role === b.role && a.subpath === b.subpath;
}
