/**
 * Keeps one folder of a pair in step while it is worked in. Listens to the Master, waits for quiet, has the touched paths
 * followed (touched.ts), and trusts none of it: everything is looked at when it starts, after the drives went or came back,
 * after a flood of events or a leap of the clock, and from time to time anyway. Where the system cannot tell what changes,
 * it looks at everything every minute. It goes on until it is closed; a drive that is away is waited for.
 */
import { join } from 'node:path';
import type { Context } from '../shared/context.ts';
import { errnoOf, messageOf, TandemError } from '../shared/errors.ts';
import { Filter } from '../shared/filters.ts';
import { log } from '../shared/log.ts';
import { type Bell, createBell } from '../shared/mount-events.ts';
import { joinPath, relPath } from '../shared/paths.ts';
import { alwaysExcluded } from '../shared/scan.ts';
import { type TreeEvents, watchTree } from '../shared/tree-events.ts';
import { TouchQueue } from '../shared/watch-queue.ts';
import { noteWatcher, readWatchers, releaseWatcher, type WatchNews } from '../shared/watch-rows.ts';
import { type DriveEvent, watchDrives } from './detect.ts';
import type { SyncResult } from './run.ts';
import { openPair, syncOptions } from './session.ts';
import { type Target, targetName } from './targets.ts';
import { type Batch, Follower } from './touched.ts';

export type WatchState =
  | 'starting'
  | 'active'
  | `degraded: scanning every ${number} s (${string})`
  | 'waiting for drive'
  | 'paused'
  | 'stopped'
  /** Of one that the daemon starts again. */
  | 'failed';

export interface WatcherOptions {
  /** Row of the table `watchers` that it reports to, and takes its pauses from. */
  watchId?: string;
  /** Seconds; else as the target's options say. */
  debounce?: number | undefined;
  /** Seconds that a batch waits for another writer. */
  lockWait?: number;
  /** Seconds between two looks where the system does not tell of changes. */
  scanEvery?: number;
  /** Seconds until all folders have to be watched. */
  patience?: number;
  /** Somebody who follows the drives already; without it the watcher does so itself. Returns what ends it. */
  follow?: ((heard: (event: DriveEvent) => void) => () => void) | undefined;
  onState?(state: WatchState, message: string): void;
  onResult?(result: SyncResult): void;
  /** A look failed, for no passing reason. */
  onTrouble?(message: string): void;
}

/** How often it asks what is wanted of it. */
const TICK_MS = 2000;
/** A step that comes so much later than it was due tells of a sleep, or of a clock that was set. */
const LEAP_MS = 10_000;
/** A drive may come back without any news of it: looked for soon, and then less and less often. */
const LOOK_FOR_DRIVE_MS = { first: 2000, most: 30_000 } as const;
const NEW_FOLDER_AGAIN_MS = 1000;

export class Watcher {
  private readonly target: Target;
  private readonly ctx: Context;
  private readonly options: WatcherOptions;
  private readonly ending = new AbortController();
  private readonly bell: Bell;
  private readonly queue: TouchQueue;
  private readonly follower: Follower;
  private readonly fullEvery: number;
  private readonly scanEvery: number;
  private current: WatchState = 'stopped';
  private news: WatchNews = {
    watch_path: '',
    status: 'stopped',
    message: '',
    last_event: null,
    last_sync: null,
    queue_length: 0,
  };
  private noted = { urgent: '', all: '', at: 0 };
  private eyes: TreeEvents | undefined;
  /** Which drive, mounted where, is being watched; empty: none. */
  private place = '';
  private blind: 'limit' | 'slow' | 'error' | undefined;
  private openEyesAt = 0;
  private fullAt = 0;
  private retryMs: number;
  private lookForDrive = true;
  /** A drive may be mounted again at the same place between two looks: of that one nothing is heard any more. */
  private unmounted = false;
  private lookAt = 0;
  private lookMs: number = LOOK_FOR_DRIVE_MS.first;
  private paused = false;
  private asked = 0;
  private stepAt = Date.now();
  private readonly newFolders = new Set<string>();
  private loop: Promise<void> | undefined;
  private drives: Promise<void> | undefined;
  private unfollow: (() => void) | undefined;

  constructor(target: Target, ctx: Context, options: WatcherOptions = {}) {
    this.target = target;
    this.options = options;
    this.ctx = { ...ctx, signal: AbortSignal.any([ctx.signal, this.ending.signal]) };
    this.bell = createBell(this.ctx.signal);
    const { realtime } = syncOptions(target.group, {});
    const debounce = (options.debounce ?? realtime.debounce_seconds) * 1000;
    this.queue = new TouchQueue(debounce);
    this.follower = new Follower(target, { quiet: debounce, lockWait: options.lockWait ?? 10 }, this.ctx);
    this.fullEvery = realtime.full_scan_every * 1000;
    this.scanEvery = (options.scanEvery ?? 60) * 1000;
    this.retryMs = this.scanEvery;
  }

  get state(): WatchState {
    return this.current;
  }

  /** As the table `watchers` has it. */
  get report(): Readonly<WatchNews> {
    return { ...this.news, queue_length: this.queue.length };
  }

  /**
   * Resolves when everything was looked at for the first time, or a drive is being waited for.
   * @throws TandemError `key` when the group's key cannot be had: nobody could be asked for it later.
   */
  async start(): Promise<void> {
    if (this.loop !== undefined) return;
    await this.say('starting');
    try {
      await this.follower.prepare();
    } catch (error) {
      if (!isAway(error)) {
        await this.close();
        throw error;
      }
    }
    const heard = (event: DriveEvent): void => this.heard(event);
    if (this.options.follow) this.unfollow = this.options.follow(heard);
    else this.drives = watchDrives(this.ctx, heard).catch(() => {});
    await this.step();
    this.follower.warm();
    this.loop = this.live();
  }

  /** Asks it to end; a run in flight finishes the files that it holds. `close` is still to be called. */
  end(): void {
    this.ending.abort();
  }

  /** Ends it, and waits for that. */
  async close(): Promise<void> {
    this.ending.abort();
    this.unfollow?.();
    await this.loop?.catch(() => {});
    await this.drives;
    await this.closeEyes();
    await this.follower.close();
    this.current = 'stopped';
    this.news.status = 'stopped';
    this.options.onState?.('stopped', '');
    if (this.options.watchId !== undefined) await releaseWatcher(this.options.watchId, this.ctx).catch(() => {});
  }

  /** Resolves when it was ended from outside. */
  async ended(): Promise<void> {
    await this.loop;
  }

  private heard({ kind, drive }: DriveEvent): void {
    this.lookForDrive = true;
    if (kind !== 'changed' && this.place.includes(drive.drive_uuid ?? drive.mount_path)) this.unmounted = true;
    this.bell.ring();
  }

  private async live(): Promise<void> {
    while (!this.ctx.signal.aborted) {
      await this.bell.wait(this.idleMs());
      if (!this.ctx.signal.aborted) await this.step();
    }
  }

  private idleMs(): number {
    const now = Date.now();
    this.stepAt = now;
    if (this.paused || this.place === '') return TICK_MS;
    const due = Math.min(this.queue.due() ?? Number.POSITIVE_INFINITY, this.fullAt);
    return Math.max(0, Math.min(TICK_MS, due - now));
  }

  /** One turn. Nothing that goes wrong in it ends the watcher. */
  private async step(): Promise<void> {
    let batch: string[] = [];
    try {
      if (Math.abs(Date.now() - this.stepAt) > LEAP_MS) this.fullAt = 0;
      this.stepAt = Date.now();
      await this.ask();
      if (this.paused) {
        await this.leave();
        await this.say('paused');
        return;
      }
      if (this.current === 'waiting for drive' && !this.lookForDrive && Date.now() < this.lookAt) return;
      await this.findDrive();
      await this.openEyes();
      if (Date.now() >= this.fullAt) await this.full();
      else {
        batch = this.queue.take(Date.now());
        if (batch.length > 0) await this.follow(batch);
      }
      await this.say(this.seeing());
    } catch (error) {
      if (!this.ctx.signal.aborted) await this.trouble(error, batch);
    }
  }

  private async follow(batch: readonly string[]): Promise<void> {
    const fresh = batch.filter((path) => this.newFolders.delete(path));
    this.done(await this.follower.follow(batch));
    // What was put into a folder before it was watched told nobody.
    for (const path of fresh) this.queue.touch(path, Date.now(), NEW_FOLDER_AGAIN_MS);
  }

  private async full(): Promise<void> {
    this.fullAt = Date.now() + (this.blind ? this.scanEvery : this.fullEvery);
    this.done(await this.follower.followAll());
  }

  private done({ results, again }: Batch): void {
    const now = Date.now();
    for (const { path, delay } of again) this.queue.touch(path, now, delay);
    for (const result of results) this.options.onResult?.(result);
    const failed = results.find(({ status }) => status === 'failed');
    this.news.message = failed ? `${failed.files_failed} files failed: ${failed.problems[0]?.message ?? ''}` : '';
    if (failed) this.again();
    else {
      this.retryMs = this.scanEvery;
      if (results.length > 0) this.news.last_sync = this.ctx.now().toISOString();
    }
  }

  /** Looks at everything soon, and each time later than the time before. */
  private again(): void {
    this.fullAt = Math.min(this.fullAt === 0 ? Number.POSITIVE_INFINITY : this.fullAt, Date.now() + this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, this.fullEvery);
  }

  private async trouble(error: unknown, batch: readonly string[]): Promise<void> {
    if (isAway(error)) {
      await this.leave();
      await this.say('waiting for drive', messageOf(error));
      return;
    }
    this.fullAt ||= Date.now();
    if (error instanceof TandemError && error.code === 'locked') {
      for (const path of batch) this.queue.touch(path, Date.now(), TICK_MS);
      if (batch.length === 0) this.fullAt = Date.now() + TICK_MS;
    } else {
      this.fullAt = Number.POSITIVE_INFINITY;
      this.again();
      if (errnoOf(error) !== 'SQLITE_BUSY') this.options.onTrouble?.(messageOf(error));
    }
    await this.say(this.seeing(), messageOf(error));
  }

  /** The drives that are watched are the ones that are there; otherwise it begins anew with what is there now. */
  private async findDrive(): Promise<void> {
    if (this.place !== '' && !this.lookForDrive) return;
    this.lookForDrive = false;
    this.lookAt = Date.now() + this.lookMs;
    this.lookMs = Math.min(this.lookMs * 2, LOOK_FOR_DRIVE_MS.most);
    const { group, subpath } = this.target;
    const pair = await openPair(group, this.ctx, true);
    const { masterDrive: master, backupDrive: backup } = pair;
    await pair.close();
    const place = JSON.stringify([master, backup].map((one) => [one.mount_path, one.device_number, one.drive_uuid]));
    this.lookMs = LOOK_FOR_DRIVE_MS.first;
    if (place === this.place && !this.unmounted) return;
    await this.leave();
    this.place = place;
    this.news.watch_path = join(master.mount_path, subpath);
  }

  private async openEyes(): Promise<void> {
    if (this.isBlind()) await this.closeEyes();
    if (this.eyes || Date.now() < this.openEyesAt) return;
    this.blind = undefined;
    this.unmounted = false;
    const { subpath, group } = this.target;
    const filter = new Filter(syncOptions(group, {}).filters, this.ctx.now());
    const own = (path: string): string => (path === '' ? subpath : subpath === '' ? path : joinPath(subpath, path));
    const eyes = await watchTree(
      this.news.watch_path,
      {
        ignored: (path) => alwaysExcluded(own(path)) || filter.excludes(own(path), true),
        patience: (this.options.patience ?? 60) * 1000,
      },
      {
        changed: (path, folder) => this.touch(own(path), folder),
        blind: (reason) => {
          this.blind ??= reason;
          this.openEyesAt = Date.now() + (reason === 'limit' ? this.fullEvery : this.scanEvery);
          this.fullAt = Math.min(this.fullAt, Date.now());
          this.bell.ring();
        },
        sighted: () => {
          if (this.blind !== 'slow') return;
          this.blind = undefined;
          this.fullAt = 0;
          this.bell.ring();
        },
        flooded: () => {
          this.fullAt = 0;
          this.bell.ring();
        },
      },
    );
    this.eyes = eyes;
    await eyes.ready;
    if (this.isBlind()) await this.closeEyes();
    this.fullAt = 0;
  }

  /** What is slow tells of most changes all the same. */
  private isBlind(): boolean {
    return this.blind !== undefined && this.blind !== 'slow';
  }

  private touch(path: string, folder: boolean): void {
    try {
      relPath(path);
    } catch {
      return;
    }
    const before = this.queue.length;
    this.queue.touch(path, Date.now());
    if (folder) this.newFolders.add(path);
    if (this.queue.length > before) this.news.last_event = this.ctx.now().toISOString();
    if (before === 0) this.bell.ring();
  }

  private async closeEyes(): Promise<void> {
    const eyes = this.eyes;
    this.eyes = undefined;
    await eyes?.close();
  }

  /** What was heard and seen until now says nothing about what comes next. */
  private async leave(): Promise<void> {
    await this.closeEyes();
    this.queue.clear();
    this.newFolders.clear();
    this.follower.forget();
    this.place = '';
    this.openEyesAt = 0;
    this.fullAt = 0;
  }

  private seeing(): WatchState {
    if (this.place === '') return this.current;
    if (!this.blind) return 'active';
    const why = { limit: 'inotify limit', slow: 'watching did not begin in time', error: 'watching failed' };
    return `degraded: scanning every ${this.scanEvery / 1000} s (${why[this.blind]})`;
  }

  /** What the user wants of it, from any process. */
  private async ask(): Promise<void> {
    const { watchId } = this.options;
    if (watchId === undefined || Date.now() - this.asked < TICK_MS) return;
    this.asked = Date.now();
    const row = (await readWatchers(this.ctx)).find(({ watch_id }) => watch_id === watchId);
    if (row) this.paused = row.paused;
    else this.ending.abort();
  }

  private async say(state: WatchState, message = this.news.message): Promise<void> {
    if (state !== this.current || message !== this.news.message) {
      const target = targetName(this.target);
      const said = [`${target}: ${state}`, message].filter(Boolean).join('. ');
      log(this.ctx, message === '' ? 'info' : 'warn', 'watcher.state', said, { target, state });
      this.options.onState?.(state, message);
    }
    this.current = state;
    Object.assign(this.news, { status: state, message });
    const { watchId } = this.options;
    const [urgent, all] = [`${state} ${message}`, JSON.stringify(this.report)];
    const due = urgent !== this.noted.urgent || (all !== this.noted.all && Date.now() - this.noted.at >= 1000);
    if (watchId === undefined || !due) return;
    this.noted = { urgent, all, at: Date.now() };
    await noteWatcher(watchId, this.report, this.ctx).catch(() => {});
  }
}

// --- internal ---

/** A drive is not there, or is not the one that it should be. */
function isAway(error: unknown): boolean {
  if (!(error instanceof TandemError)) return false;
  return error.code === 'drive_missing' || (error.code === 'guard' && error.guard === 'identity');
}
