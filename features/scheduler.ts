/**
 * Carries schedules out while it is asked to: each `tick` notes what came due, sees whether its drives are here and free,
 * and starts it; none waits for a run. What is owed is in the database (timetable.ts), so that neither sleep, nor a crash,
 * nor a drive that is away loses it. A run that fails is noted and told, and never keeps the others from running.
 *
 * Whoever has a loop of its own calls `tick` when `nextWake` says so, and `drivesChanged` when drives come and go.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../shared/context.ts';
import { endWithin } from '../shared/ending.ts';
import { errnoOf, messageOf, TandemError } from '../shared/errors.ts';
import { formatDuration, plural } from '../shared/format.ts';
import { log } from '../shared/log.ts';
import { type Bell, createBell } from '../shared/mount-events.ts';
import { displayPath } from '../shared/paths.ts';
import { type DriveEvent, type DriveInfo, watchDrives } from './detect.ts';
import { listGroups } from './groups.ts';
import { carryOut, DEEDS, type Deeds, type JobResult, type View, viewOf } from './job.ts';
import { drainNotices, type NoticeInput, notify } from './notify.ts';
import { lastOf } from './parts.ts';
import { wholeOf } from './targets.ts';
import { conflictSentence, sentenceOf } from './telling.ts';
import {
  changeMark,
  claimReminder,
  claimRun,
  type Ending,
  type Entry,
  endRun,
  getSchedule,
  noteDue,
  noteOwed,
  noteWaiting,
  readEntries,
  releaseInterrupted,
  returnRun,
} from './timetable.ts';

/** Something that a person may want to see; also told through `notify`. */
export interface JobEvent extends NoticeInput {
  schedule_id: string | null;
}

export interface SchedulerDeps extends Deeds {
  /** Must neither throw nor wait. */
  notify(notice: NoticeInput, ctx: Context): void;
  /** Everything that happens, for a log or a terminal. */
  report(event: JobEvent): void;
  /** A run ended, or something changed that the next `tick` should see at once. */
  wake(): void;
}

export class Scheduler {
  readonly #ctx: Context;
  readonly #deps: SchedulerDeps;
  readonly #soft = new AbortController();
  readonly #hard = new AbortController();
  /** Of the runs: one for all, since each one that is made stays with its sources as long as they live. */
  readonly #signals: Pick<Context, 'signal' | 'hardSignal'>;
  readonly #running = new Map<string, { drives: readonly string[]; done: Promise<void> }>();
  /** Of schedules that plugging in starts: since when the pair is there, and whether it was served since. */
  readonly #present = new Map<string, { connection: string; since: number; served: boolean }>();
  /** When to look again at what waits; milliseconds. */
  readonly #again = new Map<string, number>();
  #entries: readonly Entry[] = [];
  #mark = '';
  #readAt = Number.NEGATIVE_INFINITY;
  #drives: readonly DriveInfo[] = [];
  /** By id, as long as the drives are believed. */
  readonly #views = new Map<string, View>();
  #drivesAt = Number.NEGATIVE_INFINITY;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #lastTick: number | undefined;
  #ticks: Promise<void> = Promise.resolve();
  /** When each group's Backup was last found to be too old; milliseconds. */
  readonly #overdue = new Map<string, number>();

  /** @param deps what differs from the functions of the features. `ctx.now` is the clock; `ctx.signal` ends all runs. */
  constructor(ctx: Context, deps: Partial<SchedulerDeps> = {}) {
    this.#ctx = ctx;
    this.#deps = { ...DEEDS, notify, report: () => {}, wake: () => {}, ...deps };
    this.#signals = {
      signal: AbortSignal.any([ctx.signal, this.#soft.signal]),
      hardSignal: AbortSignal.any([ctx.hardSignal, this.#hard.signal]),
    };
  }

  /** Ids of the schedules that are being carried out. */
  get running(): string[] {
    return [...this.#running.keys()];
  }

  /** Notes and starts what is due; ends without waiting for it. Trouble of one schedule is told, never thrown. */
  async tick(): Promise<void> {
    // One after the other: two at the same time would start one run two times.
    this.#ticks = this.#ticks.then(() => this.#look());
    await this.#ticks;
  }

  /** When the next `tick` has something to do, as far as is known: at the latest in a minute, never in the past. */
  nextWake(): Date {
    const now = this.#ctx.now().getTime();
    const times = [now + LOOK_AGAIN];
    for (const { enabled, next_run, schedule_id, when } of this.#entries) {
      if (!enabled) continue;
      if (next_run !== null) times.push(Date.parse(next_run));
      const present = this.#present.get(schedule_id);
      if (when.kind === 'on-connect' && present && !present.served) times.push(present.since + when.settle * 1000);
      const again = this.#again.get(schedule_id);
      if (again !== undefined && !this.#running.has(schedule_id)) times.push(again);
    }
    return new Date(Math.max(now, Math.min(...times)));
  }

  /** The next `tick` looks at the drives anew. One that was plugged in anew between two looks counts as a new one. */
  drivesChanged(event?: DriveEvent): void {
    this.#drivesAt = Number.NEGATIVE_INFINITY;
    this.#again.clear();
    if (event === undefined || event.kind === 'changed') return;
    for (const present of this.#present.values())
      if (present.connection.includes(`${event.drive.mount_path} `)) present.connection = '';
    this.#deps.wake();
  }

  /** Waits for the runs that go on. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  /**
   * Ends all runs: files in flight finish, but after seven seconds they stop as well, to go on where they were at the next
   * run. What is cut short stays owed. Notices get another second.
   */
  async close(): Promise<void> {
    this.#soft.abort();
    await endWithin(
      this.#ticks.then(() => this.idle()),
      this.#hard,
    );
    await drainNotices(LAST_NOTICES);
  }

  async #look(): Promise<void> {
    if (this.#closing()) return;
    const now = this.#ctx.now().getTime();
    this.#noticeJump(now);
    try {
      await this.#read(now);
      if (now - this.#checkedAt >= LOOK_AGAIN || now < this.#checkedAt) {
        this.#checkedAt = now;
        const released = await releaseInterrupted(this.#entries, this.#ctx);
        if (released.length > 0) await this.#read(now);
        await this.#tellOverdue(now).catch((error: unknown) => this.#warn(messageOf(error)));
      }
    } catch (error) {
      this.#warn(`The schedules cannot be read: ${messageOf(error)}`);
      return;
    }
    const owed: Entry[] = [];
    for (const entry of this.#entries) {
      if (entry.enabled) await this.#safely(entry, now, async () => void owed.push(await this.#noted(entry, now)));
    }
    // Who has waited longest goes first: else one that runs all the time would keep the others off its drives.
    owed.sort((a, b) => ((a.due ?? '') < (b.due ?? '') ? -1 : 1));
    for (const entry of owed) await this.#safely(entry, now, () => this.#serve(entry, now));
    for (const id of this.#present.keys())
      if (!this.#entries.some(({ schedule_id }) => schedule_id === id)) this.#present.delete(id);
  }

  /** Anew only when something changed: a thousand rows at each look would be felt. */
  async #read(now: number): Promise<void> {
    const mark = await changeMark(this.#ctx);
    const age = now - this.#readAt;
    if (mark === this.#mark && age >= 0 && age < LOOK_AGAIN) return;
    this.#entries = await readEntries(this.#ctx);
    this.#mark = mark;
    this.#readAt = now;
  }

  async #safely(entry: Entry, now: number, work: () => Promise<void>): Promise<void> {
    if (this.#closing()) return;
    try {
      await work();
    } catch (error) {
      this.#again.set(entry.schedule_id, now + LOOK_AGAIN);
      await this.#cannot(entry, error);
    }
  }

  /** The entry with what is owed of it now. */
  async #noted(entry: Entry, now: number): Promise<Entry> {
    const { schedule_id: id, next_run, covered, when } = entry;
    if (when.kind === 'on-connect') {
      const settled = await this.#settled(entry, when.settle, now);
      // Owed since before: it counts again when the drives have settled.
      if (!this.#present.get(id)?.served) return { ...entry, due: null };
      if (!settled || entry.due !== null || !(await noteOwed(id, this.#ctx))) return entry;
      this.#again.delete(id);
      return { ...entry, due: new Date(now).toISOString() };
    }
    if (next_run !== null && Date.parse(next_run) > now && covered.getTime() <= now) return entry;
    const due = await noteDue(entry, this.#ctx);
    if (due === undefined) {
      // A run that was skipped, or a clock that was set back: the times have moved.
      this.#entries = this.#entries.map((one) => (one === entry ? { ...one, next_run: null } : one));
      return entry;
    }
    this.#entries = this.#entries.map((one) => (one === entry ? due : one));
    this.#again.delete(id);
    return due;
  }

  /** Both drives have been there for so long, and were not served since. */
  async #settled(entry: Entry, settle: number, now: number): Promise<boolean> {
    const { connection } = await this.#view(entry, now);
    const id = entry.schedule_id;
    if (connection === '') {
      this.#present.delete(id);
      return false;
    }
    let present = this.#present.get(id);
    if (present?.connection !== connection || present.since > now) {
      present = { connection, since: now, served: false };
      this.#present.set(id, present);
    }
    if (present.served || now - present.since < settle * 1000) return false;
    present.served = true;
    return true;
  }

  async #serve(entry: Entry, now: number): Promise<void> {
    const { schedule_id: id, due, runner } = entry;
    if (due === null || runner !== null || this.#running.has(id)) return;
    if (this.#running.size >= AT_ONCE || (this.#again.get(id) ?? 0) > now) return;
    const view = await this.#view(entry, now);
    if (view.missing !== null) {
      this.#again.set(id, now + LOOK_AGAIN);
      if (entry.waiting === view.missing) return;
      if (await noteWaiting(id, view.missing, this.#ctx)) this.#tell(entry, view, 'waiting', view.missing);
      return;
    }
    const busy = [...this.#running].find(([, { drives }]) => drives.some((drive) => view.drives.includes(drive)));
    if (busy) {
      if (entry.waiting === null) await noteWaiting(id, BUSY, this.#ctx);
      return;
    }
    if (!(await claimRun(id, this.#ctx))) return;
    this.#again.delete(id);
    const done = this.#run(entry, view).catch((error: unknown) => this.#warn(`${id}: ${messageOf(error)}`));
    this.#running.set(id, { drives: view.drives, done });
    void done.then(() => {
      this.#running.delete(id);
      this.#deps.wake();
    });
  }

  async #run(entry: Entry, view: View): Promise<void> {
    const { schedule_id: id, job } = entry;
    const started = `${job === 'sync' ? 'Sync' : 'Verification'} of ${displayPath(entry.target)} started.`;
    const heard = this.#context((operation) => this.#tell(entry, view, 'started', started, operation));
    const context = { ...heard, startedBy: `schedule ${id}` };
    const ended = await runJob(entry, view, this.#deps, context);
    if ('kept' in ended) {
      await returnRun(id, ended.kept, this.#ctx);
      if (this.#closing()) return;
      this.#again.set(id, this.#ctx.now().getTime() + LOOK_AGAIN);
      if (entry.waiting !== ended.kept) this.#tell(entry, view, 'waiting', ended.kept);
      return;
    }
    if (ended.status === 'cancelled' && this.#closing()) {
      await returnRun(id, 'The scheduler was stopped during the run.', this.#ctx);
      return;
    }
    await endRun(id, ended, this.#ctx);
    const event = ended.status === 'completed' ? 'completed' : 'failed';
    this.#tell(entry, view, event, ended.message, ended.operation);
    if (ended.conflicts > 0)
      this.#tell(entry, view, 'conflict', conflictSentence(entry.target, ended.conflicts), ended.operation);
  }

  /** A schedule whose target is gone, or whose settings are broken: it says so, once. */
  async #cannot(entry: Entry, error: unknown): Promise<void> {
    const message = messageOf(error);
    try {
      if (await noteWaiting(entry.schedule_id, message, this.#ctx))
        this.#tell(entry, { group_id: entry.target_id, groups: [] }, 'failed', message);
    } catch (second) {
      this.#warn(`${entry.schedule_id}: ${message} (${messageOf(second)})`);
    }
  }

  async #view(entry: Entry, now: number): Promise<View> {
    const age = now - this.#drivesAt;
    if (age < 0 || age >= DRIVES_FOR) {
      this.#drives = await this.#deps.drives(this.#ctx);
      this.#drivesAt = now;
      this.#views.clear();
    }
    const view = this.#views.get(entry.schedule_id) ?? (await viewOf(entry, this.#drives, this.#ctx));
    this.#views.set(entry.schedule_id, view);
    return view;
  }

  /** After sleep the drives may be others; after a clock that was set back, no wait may last longer for it. */
  #noticeJump(now: number): void {
    const last = this.#lastTick ?? now;
    this.#lastTick = now;
    if (now >= last && now - last < LOOK_AGAIN * 2) return;
    this.drivesChanged();
    if (now > last)
      this.#ctx.emit({
        kind: 'note',
        message: `The clock went on by ${formatDuration((now - last) / 1000)} without a look: the computer slept, or was set.`,
      });
  }

  /** Once a day for each Backup that was not brought into step for too long, whichever process tells it. */
  async #tellOverdue(now: number): Promise<void> {
    const days = this.#ctx.settings().notify.overdueDays;
    if (days === 0) return;
    for (const group of listGroups(this.#ctx)) {
      const told = this.#overdue.get(group.id);
      if (told !== undefined && told <= now && now - told < DAY) continue;
      const good = await lastOf(wholeOf(group), 'sync', 'completed', this.#ctx);
      const since = Date.parse(good?.end_time ?? group.created);
      const old = Math.floor((now - since) / DAY);
      if (!(old >= days)) continue;
      this.#overdue.set(group.id, now);
      if (!(await claimReminder(group.id, DAY, this.#ctx))) continue;
      const name = displayPath(group.name);
      const message =
        good === null ? `${name} was never synced as a whole.` : `Backup of ${name} is ${plural(old, 'day')} old.`;
      const notice = { event: 'overdue', group_id: group.id, target: group.name, message, schedule_id: null } as const;
      log(this.#ctx, 'warn', 'backup.overdue', message, { group_id: group.id, target: group.name });
      this.#deps.report(notice);
      this.#deps.notify(notice, this.#ctx);
    }
  }

  #tell(
    { schedule_id, target }: Entry,
    { group_id, groups }: Pick<View, 'group_id' | 'groups'>,
    event: NoticeInput['event'],
    message: string,
    operation_id: string | null = null,
  ): void {
    const notice = { event, group_id, groups, target, message, operation_id, schedule_id };
    const level = event === 'failed' ? 'error' : event === 'started' || event === 'completed' ? 'info' : 'warn';
    log(this.#ctx, level, `schedule.${event}`, message, { schedule_id, target, group_id, operation_id });
    this.#deps.report(notice);
    this.#deps.notify(notice, this.#ctx);
  }

  #warn(message: string): void {
    this.#ctx.emit({ kind: 'warning', message });
  }

  #closing(): boolean {
    return this.#soft.signal.aborted || this.#ctx.signal.aborted;
  }

  /** Of one run. Several go on at a time: their progress is in the journal, and only what went wrong is told here. */
  #context(onStart: (operation: string) => void): Context {
    let begun = false;
    return {
      ...this.#ctx,
      ...this.#signals,
      emit: (event) => {
        if (event.kind === 'warning' || event.kind === 'note') this.#ctx.emit(event);
        if (event.kind !== 'operation_started' || begun) return;
        begun = true;
        onStart(event.operation_id);
      },
    };
  }
}

/** Carries schedules out until `ctx.signal` aborts, and then for as long as its runs need to end, ten seconds at most. */
export async function runScheduler(ctx: Context, deps: Partial<SchedulerDeps> = {}): Promise<void> {
  const stop = new AbortController();
  const bell = createBell(ctx.signal);
  const scheduler = new Scheduler(ctx, { ...deps, wake: bell.ring });
  const watching = watchDrives({ ...ctx, signal: AbortSignal.any([ctx.signal, stop.signal]) }, (event) =>
    scheduler.drivesChanged(event),
  ).catch((error: unknown) => ctx.emit({ kind: 'warning', message: `Drives cannot be watched: ${messageOf(error)}` }));
  try {
    await keepTime(scheduler, bell, ctx);
  } finally {
    stop.abort();
    await scheduler.close();
    await Promise.race([watching, sleep(1000, undefined, { ref: false })]);
  }
}

/** Looks whenever something is due, or the bell rings, until `ctx.signal` aborts. */
export async function keepTime(scheduler: Scheduler, bell: Bell, ctx: Context): Promise<void> {
  while (!ctx.signal.aborted) {
    await scheduler.tick();
    const wait = scheduler.nextWake().getTime() - ctx.now().getTime();
    // Other processes change the schedules, and a timer stands still while the computer sleeps.
    await bell.wait(Math.min(Math.max(wait, SHORTEST), POLL));
  }
}

/**
 * Carries a schedule out at once, in this process, whatever the clock says; its next time stays as it is.
 * @throws TandemError `drive_missing` when a drive is not here, `locked` while it is being carried out, and what the run
 * itself throws.
 */
export async function runScheduleNow(id: string, ctx: Context, deps: Partial<Deeds> = {}): Promise<JobResult> {
  const deeds = { ...DEEDS, ...deps };
  await getSchedule(id, ctx);
  const entries = await readEntries(ctx);
  await releaseInterrupted(entries, ctx);
  const entry = entries.find(({ schedule_id }) => schedule_id === id) as Entry;
  const view = await viewOf(entry, await deeds.drives(ctx), ctx);
  if (view.missing !== null)
    throw new TandemError('drive_missing', view.missing, { hint: 'Connect it and try again.' });
  if (!(await claimRun(id, ctx, true)))
    throw new TandemError('locked', `The schedule '${displayPath(id)}' is being carried out already.`, {
      hint: 'See `tandem status`.',
    });
  try {
    const ended = await carryOut(entry, view, deeds, ctx);
    await endRun(id, ended, ctx);
    return ended;
  } catch (error) {
    await endRun(id, { status: 'failed', message: sentenceOf(error), operation: null }, ctx);
    throw error;
  }
}

// --- internal ---

const BUSY = 'Another schedule uses the same drive at this moment.';
/** Milliseconds. What waits is looked at again after so long, even when no drive came. */
const LOOK_AGAIN = 60_000;
/** A list of drives is believed for so long, unless `drivesChanged` says otherwise. */
const DRIVES_FOR = 60_000;
const POLL = 2000;
const SHORTEST = 20;
const LAST_NOTICES = 1000;
const DAY = 86_400_000;
/** Runs on different drives at the same time. */
const AT_ONCE = 4;

/** `kept`: it could not begin, and stays owed; why. */
type Ended = JobResult | { kept: string };

async function runJob(entry: Entry, view: View, deeds: Deeds, ctx: Context): Promise<Ended> {
  try {
    return await carryOut(entry, view, deeds, ctx);
  } catch (error) {
    if (ctx.signal.aborted) return { kept: 'The scheduler was stopped before the run began.' };
    const passing = error instanceof TandemError && (error.code === 'drive_missing' || error.code === 'locked');
    if (passing || errnoOf(error) === 'SQLITE_BUSY') return { kept: sentenceOf(error) };
    const failed: Ending = { status: 'failed', message: sentenceOf(error), operation: null };
    return { ...failed, conflicts: 0, result: null };
  }
}
