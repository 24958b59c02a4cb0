/** The row of the table `daemon`: which process it is, since when, and what others ask of it. */
import type { Context } from './context.ts';
import { isGone, readProcess, thisProcess } from './machine.ts';
import { readWatchers } from './watch-rows.ts';

/** Times are ISO 8601, UTC. */
export interface DaemonState {
  running: boolean;
  /** False: it runs, and has not been heard of for a while. */
  answers: boolean;
  process_id: number | null;
  version: string | null;
  started: string | null;
  heartbeat: string | null;
  /** Where it serves metrics; null: nowhere. */
  metrics: string | null;
  /** What is wrong with it as a whole; `''`: nothing. */
  message: string;
}

export async function readDaemon(ctx: Context): Promise<DaemonState> {
  const db = await ctx.dbIfExists();
  const row = await db?.get<Stored>('SELECT * FROM daemon');
  const owner = readProcess(row?.process ?? null);
  if (!row || !owner || isStale(row, ctx)) return NONE;
  const { version, started, heartbeat, metrics, message } = row;
  return {
    running: true,
    answers: silence(row, ctx) < SILENT,
    process_id: owner.pid,
    version,
    started,
    heartbeat,
    metrics: metrics === '' ? null : metrics,
    message,
  };
}

/** `daemon status --json`. */
export interface DaemonStatus extends DaemonState {
  /** Those that it is to watch, and how many of them any process watches. */
  watchers: { enabled: number; running: number };
  schedules: { enabled: number; running: number };
}

/** The daemon with what it carries out. */
export async function daemonStatus(ctx: Context): Promise<DaemonStatus> {
  const watchers = (await readWatchers(ctx)).filter(({ enabled }) => enabled);
  const sql = `SELECT count(*) AS enabled, coalesce(sum(last_status IS 'running'), 0) AS running FROM schedules
    WHERE enabled = 1`;
  const schedules = await (await ctx.dbIfExists())?.get<DaemonStatus['schedules']>(sql);
  return {
    ...(await readDaemon(ctx)),
    watchers: { enabled: watchers.length, running: watchers.filter(({ process_id }) => process_id !== null).length },
    schedules: schedules ?? { enabled: 0, running: 0 },
  };
}

/** Makes this process the daemon. @returns the one that is it already, or null. */
export async function claimDaemon(version: string, ctx: Context): Promise<DaemonState | null> {
  const db = await ctx.db();
  return db.transaction(async () => {
    const held = await readDaemon(ctx);
    if (held.running) return held;
    const now = ctx.now().toISOString();
    await db.run(
      `INSERT INTO daemon (id, process, version, started, heartbeat) VALUES (1, ?1, ?2, ?3, ?3)
        ON CONFLICT (id) DO UPDATE SET process = ?1, version = ?2, started = ?3, heartbeat = ?3, metrics = '',
        message = '', control = ''`,
      [mine(), version, now],
    );
    return null;
  });
}

/** @returns what others ask of it; `lost`: the row belongs to another process, or is gone. */
export async function beatDaemon(
  news: { metrics: string; message: string },
  ctx: Context,
): Promise<'' | 'stop' | 'lost'> {
  const db = await ctx.db();
  const sql = 'UPDATE daemon SET heartbeat = ?, metrics = ?, message = ? WHERE process = ? RETURNING control';
  const row = await db.get<{ control: string }>(sql, [ctx.now().toISOString(), news.metrics, news.message, mine()]);
  if (!row) return 'lost';
  return row.control === 'stop' ? 'stop' : '';
}

/** What others ask of it now, without a heartbeat: a look costs less than a note. */
export async function isAskedToStop(ctx: Context): Promise<boolean> {
  const db = await ctx.dbIfExists();
  return (await db?.get<{ control: string }>('SELECT control FROM daemon'))?.control === 'stop';
}

/** Asks it to end, and wakes it where it can be seen from here. */
export async function askToStop(ctx: Context): Promise<void> {
  const db = await ctx.db();
  await db.transaction(() => db.run("UPDATE daemon SET control = 'stop'"));
  const owner = readProcess((await db.get<Stored>('SELECT * FROM daemon'))?.process ?? null);
  if (!owner || owner.pid_namespace !== thisProcess().pid_namespace || isGone(owner)) return;
  try {
    process.kill(owner.pid, 'SIGTERM');
  } catch {
    // Of another user: it looks at its row within a second or two.
  }
}

export async function releaseDaemon(ctx: Context): Promise<void> {
  const db = await ctx.db();
  await db.transaction(() => db.run("UPDATE daemon SET process = '', control = '' WHERE process = ?", [mine()]));
}

// --- internal ---

interface Stored {
  process: string;
  version: string;
  started: string;
  heartbeat: string;
  metrics: string;
  message: string;
}

const NONE: DaemonState = {
  running: false,
  answers: false,
  process_id: null,
  version: null,
  started: null,
  heartbeat: null,
  metrics: null,
  message: '',
};

/** Milliseconds. */
const SILENT = 60_000;
/** A process of another container cannot be seen; what was not heard of for so long is taken to be gone. */
const UNSEEN = 600_000;

const mine = (): string => JSON.stringify(thisProcess());

/** Negative after a clock that was set back. */
function silence({ heartbeat }: Stored, ctx: Context): number {
  return ctx.now().getTime() - Date.parse(heartbeat);
}

/** Rows of a database are this machine's (it is never shared between two), whatever name that had when it was copied. */
function isStale(row: Stored, ctx: Context): boolean {
  const owner = readProcess(row.process);
  const me = thisProcess();
  if (!owner || owner.machine_id !== me.machine_id || isGone(owner)) return true;
  return owner.pid_namespace !== me.pid_namespace && silence(row, ctx) > UNSEEN;
}
