/**
 * Keeps the watchers of the database running: starts those that are enabled, ends those that are not any more, and starts
 * one anew when the options of its target changed, or when it failed: soon at first, then less and less often, and its row
 * says why. Each lives for itself; none holds up or ends another.
 */
import { fileStamp } from '../shared/config.ts';
import type { Context } from '../shared/context.ts';
import { endWithin } from '../shared/ending.ts';
import { messageOf, TandemError } from '../shared/errors.ts';
import { formatDuration } from '../shared/format.ts';
import { log } from '../shared/log.ts';
import { withDefaults } from '../shared/options.ts';
import { displayPath } from '../shared/paths.ts';
import { projectsFile } from '../shared/projects-file.ts';
import { claimWatcher, noteWatcher, readWatchers, type WatchRow } from '../shared/watch-rows.ts';
import type { DriveEvent } from './detect.ts';
import type { Target } from './targets.ts';
import { WatchTeller } from './telling.ts';
import { type Watcher, type WatchListener, watchedTarget, watcherOf } from './watch.ts';

export interface SupervisorDeps extends WatchListener {
  /** A watcher that has not begun, for a row that this process has claimed. */
  open: typeof watcherOf;
}

export class Supervisor {
  readonly #ctx: Context;
  readonly #deps: SupervisorDeps;
  readonly #soft = new AbortController();
  readonly #hard = new AbortController();
  readonly #kept = new Map<string, Kept>();
  readonly #ears = new Set<(event: DriveEvent) => void>();
  /** Drives may carry other projects than before. */
  #plugged = 0;

  /** @param deps what differs from the functions of the features. `ctx.signal` ends all watchers. */
  constructor(ctx: Context, deps: Partial<SupervisorDeps> = {}) {
    this.#deps = { open: watcherOf, state: () => {}, synced: () => {}, ...deps };
    this.#ctx = {
      ...ctx,
      signal: AbortSignal.any([ctx.signal, this.#soft.signal]),
      hardSignal: AbortSignal.any([ctx.hardSignal, this.#hard.signal]),
    };
  }

  /** Ids of the watchers that run now. */
  get running(): string[] {
    return [...this.#kept].filter(([, { watcher }]) => watcher !== undefined).map(([id]) => id);
  }

  /** Brings the watchers in line with the database and the settings, without waiting for any of them. */
  async look(): Promise<void> {
    if (this.#ctx.signal.aborted) return;
    const rows = new Map((await readWatchers(this.#ctx)).map((row) => [row.watch_id, row]));
    for (const [id, kept] of this.#kept) {
      if (rows.get(id)?.enabled) continue;
      this.#stop(kept);
      if (kept.life === undefined) this.#kept.delete(id);
    }
    const mark = this.#settingsMark();
    for (const row of rows.values()) if (row.enabled) await this.#serve(row, mark);
  }

  drivesChanged(event: DriveEvent): void {
    this.#plugged += 1;
    for (const hear of this.#ears) hear(event);
  }

  /** Of errors that nobody knows the origin of: all begin anew. */
  restart(): void {
    for (const kept of this.#kept.values()) this.#stop(kept);
  }

  /** Ends all of them within ten seconds. */
  async close(): Promise<void> {
    this.#soft.abort();
    this.restart();
    await endWithin(Promise.all([...this.#kept.values()].map(({ life }) => life)), this.#hard);
  }

  async #serve(row: WatchRow, mark: string): Promise<void> {
    const id = row.watch_id;
    const elsewhere = row.process_id !== null && row.process_id !== process.pid;
    if (elsewhere || this.#ctx.signal.aborted) return;
    const kept = this.#kept.get(id) ?? { failures: 0, again: 0, mark: '', key: '' };
    this.#kept.set(id, kept);
    const own = `${mark} ${row.debounce_seconds}`;
    // A clock that was set back must not make it wait for longer.
    const due = Date.now() >= kept.again || kept.again - Date.now() > LONGEST_PAUSE;
    if (kept.mark === own && (kept.life !== undefined || !due)) return;
    let target: Target;
    try {
      target = await watchedTarget(row, this.#ctx);
    } catch (error) {
      // Only what is known to be gone ends one that runs.
      const gone = error instanceof TandemError && (error.code === 'not_found' || error.code === 'invalid');
      if (kept.life !== undefined && gone) this.#stop(kept);
      if (kept.life !== undefined) return;
      kept.mark = own;
      await this.#failed(row, kept, error);
      return;
    }
    kept.mark = own;
    const key = keyOf(target, row);
    if (kept.life === undefined) {
      if (key !== kept.key) kept.teller = new WatchTeller(target, this.#ctx, row.message);
      kept.key = key;
      this.#begin(row, target, kept);
    } else if (key !== kept.key) {
      log(this.#ctx, 'info', 'watcher.changed', `${row.target}: its settings changed, it begins anew.`, {
        target: row.target,
      });
      this.#stop(kept);
    }
  }

  #begin(row: WatchRow, target: Target, kept: Kept): void {
    kept.stopping = false;
    kept.life = this.#live(row, target, kept)
      .then(
        () => {
          kept.again = 0;
        },
        async (error: unknown) => this.#failed(row, kept, error),
      )
      .finally(() => {
        kept.life = undefined;
        kept.watcher = undefined;
      });
  }

  /** Resolves when it was ended, and throws what broke it. */
  async #live(row: WatchRow, target: Target, kept: Kept): Promise<void> {
    if (!(await claimWatcher(row.watch_id, this.#ctx))) return;
    const follow = (heard: (event: DriveEvent) => void): (() => void) => {
      this.#ears.add(heard);
      return () => this.#ears.delete(heard);
    };
    const watcher = this.#deps.open(row, target, { follow }, this.#deps, this.#ctx, kept.teller);
    kept.watcher = watcher;
    const begun = Date.now();
    try {
      // It may have been stopped before there was anything to stop.
      if (!kept.stopping) await watcher.start();
      if (!kept.stopping) await watcher.ended();
    } finally {
      if (Date.now() - begun > STEADY_AFTER) kept.failures = 0;
      await watcher.close();
    }
  }

  #stop(kept: Kept): void {
    kept.stopping = true;
    kept.again = 0;
    kept.watcher?.end();
  }

  async #failed(row: WatchRow, kept: Kept, error: unknown): Promise<void> {
    if (kept.stopping && this.#ctx.signal.aborted) return;
    const pause = Math.min(FIRST_PAUSE * 2 ** kept.failures, LONGEST_PAUSE);
    kept.failures += 1;
    kept.again = Date.now() + pause;
    const message = `${messageOf(error)} It begins anew in ${formatDuration(pause / 1000)}.`;
    log(this.#ctx, 'error', 'watcher.failed', `${row.target}: ${message}`, { target: row.target });
    this.#deps.state(row.target, 'failed', message);
    kept.teller?.failed(messageOf(error));
    try {
      // Claimed, so that the row shows the state of a living process.
      if (!(await claimWatcher(row.watch_id, this.#ctx))) return;
      const { watch_path, last_event, last_sync } = row;
      const news = { watch_path, last_event, last_sync, status: 'failed', message, queue_length: 0 };
      await noteWatcher(row.watch_id, news, this.#ctx);
    } catch (second) {
      this.#ctx.emit({ kind: 'warning', message: `${displayPath(row.target)}: ${messageOf(second)}` });
    }
  }

  /** Differs as soon as a target may mean something else. */
  #settingsMark(): string {
    const { storageGroupsFile } = this.#ctx.settings();
    const stamps = [storageGroupsFile, projectsFile(this.#ctx)].map((path) => {
      try {
        return fileStamp(path);
      } catch (error) {
        return messageOf(error);
      }
    });
    return JSON.stringify([storageGroupsFile, stamps, this.#plugged]);
  }
}

// --- internal ---

interface Kept {
  watcher?: Watcher | undefined;
  /** While it runs, or is about to end. */
  life?: Promise<void> | undefined;
  stopping?: boolean;
  /** Knows what was told already. */
  teller?: WatchTeller;
  /** In a row. */
  failures: number;
  /** When to begin anew. */
  again: number;
  /** Of the settings that were looked at last. */
  mark: string;
  /** What it was begun with. */
  key: string;
}

/** Milliseconds. */
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 300_000;
/** One that has lived for so long did not fail at once. */
const STEADY_AFTER = 60_000;

function keyOf({ group, subpath, project }: Target, { debounce_seconds }: WatchRow): string {
  const { id, name, options, master_drive, backup_drive } = group;
  const drives = [master_drive.drive_uuid, backup_drive.drive_uuid];
  return JSON.stringify([id, name, withDefaults(options), drives, subpath, project, debounce_seconds]);
}
