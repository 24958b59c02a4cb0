/**
 * One run of a sync as an operation: both drives opened and locked, what an interruption left put right, the journal kept
 * from the first moment to the last whatever happens in between.
 */
import { randomUUID } from 'node:crypto';
import type { Context } from '../shared/context.ts';
import { EXIT, type ExitCode, errnoOf, explain, messageOf, TandemError } from '../shared/errors.ts';
import type { Progress } from '../shared/events.ts';
import { plural } from '../shared/format.ts';
import { type InboxEntry, removeConflicts, writeConflicts } from '../shared/inbox.ts';
import { leastLanes } from '../shared/lanes.ts';
import { DriveLock } from '../shared/lock.ts';
import { ChangeLog } from '../shared/manifest.ts';
import { collectGarbage } from '../shared/memory.ts';
import { noteFilter } from '../shared/pair-notes.ts';
import { displayPath } from '../shared/paths.ts';
import { type Recovery, recoverDrive } from '../shared/recover.ts';
import { joinedTo } from '../shared/signals.ts';
import { addSavings } from '../shared/space.ts';
import { noStatistics, type SyncStatistics } from '../shared/statistics.ts';
import type { DriveRoot } from '../shared/store.ts';
import { WorkerPool } from '../shared/workers.ts';
import { type ApplyTask, applyPlan } from './apply.ts';
import { listBrought } from './brought.ts';
import type { Group } from './groups.ts';
import { acknowledgeForced, filterText } from './guards.ts';
import {
  completeOperation,
  doubtContents,
  ensurePair,
  findPair,
  type OperationStart,
  startOperation,
} from './history.ts';
import { type DriveSide, type Ended, pruneAfterRun, repairManifests, writeManifests } from './manifests.ts';
import type { Plan } from './plan.ts';
import type { Action } from './reconcile.ts';
import { assertIdentity, type OpenPair, openPair, reversedPair, type SyncOptions, syncOptions } from './session.ts';
import { reportProgress } from './steering.ts';
import { bringRing } from './storing.ts';
import { type Target, targetName } from './targets.ts';
import { arrive, arriveHome, depart, type Journey } from './travel.ts';

export interface RunFlags {
  /** Folder of the drives; `''` for everything. */
  path?: string;
  options?: Partial<SyncOptions>;
  /** Seconds to wait for another writer. */
  lockWait?: number;
  breakLock?: boolean;
  /** Name for the operation; a new one otherwise. */
  operation?: string;
  /** Only this part of a project. */
  role?: string;
  /** Number of the operation that this one is a part of. */
  parent?: number;
  /** The Backup is the source: no state of the pair is read from the drives or left there. */
  turned?: true;
}

/** `sync run --json`; the reference's SyncStatistics with ours added. */
export interface SyncResult extends Omit<SyncStatistics, 'cancelled'> {
  operation_id: string;
  target: string;
  /** Of a project with several roles, what each came to; the numbers are their sums. */
  parts?: SyncResult[];
  status: 'completed' | 'failed' | 'cancelled';
  start_time: string;
  end_time: string;
}

/** What a command ends with. */
export function exitCodeOf(results: readonly SyncResult[]): ExitCode {
  if (results.some(({ status }) => status === 'cancelled')) return EXIT.cancelled;
  if (results.some(({ status }) => status === 'failed')) return EXIT.partial;
  return results.some(({ conflicts_detected }) => conflicts_detected > 0) ? EXIT.conflicts : EXIT.done;
}

/** Several results as one: their sums, and the weakest of their verifications. */
export const syncSums = {
  sum: (done: readonly SyncResult[]): Omit<SyncStatistics, 'cancelled' | 'problems'> => {
    const { problems: _problems, cancelled: _cancelled, ...total } = noStatistics();
    for (const key of COUNTED) total[key] = done.reduce((sum, one) => sum + one[key], 0);
    const levels = ['none', 'cache', 'device'] as const;
    const weakest = done.map(({ verified }) => levels.indexOf(verified)).reduce((a, b) => Math.min(a, b), 2);
    const space_savings = addSavings(done.map((one) => one.space_savings));
    return {
      ...total,
      verified: done.length === 0 ? 'none' : (levels[weakest] ?? 'none'),
      ...(space_savings ? { space_savings } : {}),
    };
  },
  counts: (result: SyncResult): SyncResult => result,
};

/** One pass over the drives; an operation has one, or several that follow each other. */
export interface Step {
  plan: Plan;
  /** Refuse every path that changed since the plan was made. */
  strict: boolean;
  /** The plan is for `reversedPair`: from the Backup to the Master. */
  reversed?: boolean;
  /** The plan is for these two folders, which the caller opens and closes. */
  pair?: OpenPair;
  /** False: what is copied is no agreement of both sides, so the baseline stays as it is. */
  agrees?: boolean;
  /** It builds on the steps before: left out where one of them failed a file. */
  follows?: boolean;
  /** Paths whose conflict this step ends, unless something goes wrong with them. */
  resolves?: readonly string[];
}

/** A run whose drives are open and locked. */
export interface PreparedRun {
  pair: OpenPair;
  target: Target;
  operation: string;
  operationId: number;
  locks: readonly DriveLock[];
  /** What is done without a step counts here. */
  statistics: SyncStatistics;
  /** What is done without a step is noted here, by the drive it was done to. */
  changes: Readonly<Record<DriveSide, ChangeLog>>;
  /** Ends the progress of planning, for work that shows its own. */
  begin(): void;
}

/** @returns the steps to be carried out one after the other; none when it did all the work itself. */
export type Prepare = (run: PreparedRun, ctx: Context) => Promise<readonly Step[]>;

/** How the two sides of a run are found and opened; a group's drives unless told otherwise. */
export type Opener = (ctx: Context) => Promise<OpenPair>;

/**
 * @param kind of the operation, for the history.
 * @param prepare makes the plans, once the drives are locked; what it throws ends the operation as failed.
 */
export async function runLocked(
  target: Target,
  flags: RunFlags,
  ctx: Context,
  prepare: Prepare,
  kind = 'sync',
  open: Opener = () => openPair(target.group, ctx, false),
): Promise<SyncResult> {
  const early = earlyWorkers(target.group, flags, ctx);
  const pair = await open(ctx).catch(async (error: unknown) => {
    await (await early)?.close();
    throw error;
  });
  const locks: DriveLock[] = [];
  try {
    if (pair.workers) await (await early)?.close();
    else pair.workers = await early;
    await lockDrives(pair, flags, locks, ctx);
    await recoverPair(pair, ctx);
    const travels = !flags.turned && pair.masterUuid !== '' && pair.backupUuid !== '';
    const journey = travels ? await arrive(pair, ctx) : null;
    return await journal(target, { pair, locks, journey }, flags, ctx, prepare, kind);
  } catch (error) {
    throw spoken(error, pair);
  } finally {
    for (const lock of locks) lock.release();
    await pair.close();
  }
}

/** Puts right what an interrupted run left on either drive. Both are locked. */
export async function recoverPair(pair: OpenPair, ctx: Context): Promise<void> {
  const recovered: Recovery[] = [];
  for (const side of ['backup', 'master'] as const) {
    const drive = side === 'master' ? pair.masterDrive : pair.backupDrive;
    if (drive.read_only) continue;
    const found = recoverDrive(pair[side].dir);
    await repairManifests(pair, side, found.interrupted, ctx);
    recovered.push(found);
  }
  if (recovered.some(({ interrupted }) => interrupted.length > 0))
    ctx.emit({
      kind: 'note',
      message: 'An earlier run was interrupted; what it left behind was cleared, and this run finishes its work.',
    });
  for (const path of recovered.flatMap(({ restored }) => restored))
    ctx.emit({ kind: 'note', message: `Put right after an interruption: ${displayPath(path)}` });
}

/** @throws TandemError `locked` when another process writes to the drive, `failed` when it cannot be written at all. */
export async function lockDrive(
  root: DriveRoot,
  network: boolean,
  flags: Pick<RunFlags, 'lockWait' | 'breakLock'>,
  ctx: Context,
): Promise<DriveLock> {
  const wait = flags.lockWait ?? 0;
  const breakLock = flags.breakLock === true;
  try {
    return await DriveLock.acquire(root.dir, { label: root.label, wait, breakLock, network, signal: ctx.signal });
  } catch (error) {
    if (error instanceof TandemError || ctx.signal.aborted) throw error;
    throw new TandemError('failed', `The drive '${root.label}' cannot be locked for writing: ${explain(error)}.`, {
      hint: 'Check that it is writable and not full; `tandem doctor` looks at it.',
      cause: error,
    });
  }
}

/** A target as the history names it. */
export function named({
  group,
  subpath,
  project,
}: Target): Pick<OperationStart, 'target_kind' | 'target_name' | 'subpath' | 'role'> {
  if (project === null) return { target_kind: 'group', target_name: group.name, subpath };
  return { target_kind: 'project', target_name: project.name, subpath, role: project.role ?? '' };
}

// --- internal ---

/** What the system says of a call that failed, as a sentence about the drives. */
function spoken(error: unknown, pair: OpenPair): unknown {
  if (error instanceof TandemError || errnoOf(error) === undefined) return error;
  try {
    assertIdentity(pair);
  } catch (gone) {
    if (gone instanceof TandemError) return gone;
  }
  const labels = [pair.master, pair.backup].map(({ label }) => `'${displayPath(label)}'`).join(' or ');
  return new TandemError('failed', `A drive failed (${labels}): ${explain(error)}.`, {
    hint: 'Check its cable and whether it is full or read-only; the next run goes on where this one stopped.',
    cause: error,
  });
}

const COUNTED = [
  'files_copied',
  'files_skipped',
  'files_failed',
  'files_moved',
  'files_deleted',
  'bytes_copied',
  'conflicts_detected',
] as const;

/** Paths; below that the garbage of planning is not worth a pause. */
const LARGE_PLAN = 50_000;

/** For drives that were never synced with each other there will be work: threads start while the drives are opened. */
async function earlyWorkers(group: Group, flags: RunFlags, ctx: Context): Promise<WorkerPool | undefined> {
  const { master_drive: master, backup_drive: backup } = group;
  const known = await findPair(master.drive_uuid ?? '', backup.drive_uuid ?? '', ctx).catch(() => null);
  return known === null ? new WorkerPool(leastLanes(syncOptions(group, flags.options ?? {}))).warm() : undefined;
}

interface Locked {
  pair: OpenPair;
  locks: DriveLock[];
  journey: Journey | null;
}

/** Steps that leave both drives as they are. */
const QUIET: readonly Action['kind'][] = ['conflict', 'skip', 'forget'];

async function journal(
  target: Target,
  locked: Locked,
  flags: RunFlags,
  ctx: Context,
  prepare: Prepare,
  kind: string,
): Promise<SyncResult> {
  const { pair, locks, journey } = locked;
  const operation = flags.operation ?? randomUUID();
  const startTime = ctx.now().toISOString();
  const operationId = await startOperation(
    {
      uuid: operation,
      group_id: pair.group.id,
      operation_type: kind,
      ...named(target),
      ...(pair.backupUuid === '' ? { target_kind: 'folder' as const } : {}),
      ...(flags.parent === undefined ? {} : { parent_id: flags.parent }),
    },
    ctx,
  );
  ctx.emit({ kind: 'operation_started', operation_id: operation, target: targetName(target) });
  const finish = async (
    { cancelled: _cancelled, ...counts }: SyncStatistics,
    status: SyncResult['status'],
    reason: string | null,
  ): Promise<SyncResult> => {
    await completeOperation(operationId, { ...counts, reason }, status, ctx);
    ctx.emit({ kind: 'operation_ended', operation_id: operation, target: targetName(target), status });
    return {
      operation_id: operation,
      target: targetName(target),
      status,
      ...counts,
      start_time: startTime,
      end_time: ctx.now().toISOString(),
    };
  };
  const statistics: SyncStatistics = noStatistics();
  const changes = { master: new ChangeLog(), backup: new ChangeLog() };
  const { versions, mhl } = syncOptions(pair.group, flags.options ?? {});
  const ended: Ended = { pair, operation, operationId, operationType: kind, startTime, versions };
  const watched = watchControl(operationId, { operation, target: targetName(target) }, pair, ctx);
  let actions: readonly Action[] = [];
  try {
    try {
      const begin = (): void => {
        watched.end();
        if (journey && !journey.opened) depart(journey, operation, ctx);
      };
      const run = { pair, target, operation, operationId, locks, statistics, changes, begin };
      const steps = await prepare(run, watched.ctx);
      watched.end();
      countPlans(statistics, steps);
      actions = steps.flatMap(({ plan }) => plan.actions);
      if (actions.length > LARGE_PLAN) collectGarbage();
      if (actions.some((action) => !QUIET.includes(action.kind))) begin();
      // Before anything sealed comes to a drive, what opens it is there.
      const prove = (): void => {
        assertIdentity(pair);
        for (const lock of locks) lock.confirm();
      };
      statistics.problems.push(...bringRing(pair, prove, ctx));
      await carryOut(steps, kind, { pair, locks, operationId, operation, statistics, changes }, ctx);
      if (actions.length > LARGE_PLAN) collectGarbage();
    } finally {
      await writeManifests(ended, changes, ctx);
    }
    await pruneAfterRun(ended, changes, ctx);
    const { cancelled, files_failed } = statistics;
    const settled = !cancelled && files_failed === 0 && target.subpath === '';
    const changed = actions.some(({ kind }) => kind !== 'conflict' && kind !== 'skip');
    if (mhl && journey && changed && !cancelled && files_failed === 0) {
      const pairId = await pairNumber(pair, ctx);
      statistics.problems.push(...(await listBrought({ pair, pairId, operationId, locks, actions }, ctx)));
    }
    if (journey) statistics.problems.push(...(await arriveHome(journey, { operation, settled, locks }, ctx)));
    if (cancelled) return await finish(statistics, 'cancelled', null);
    if (files_failed > 0) return await finish(statistics, 'failed', `${plural(files_failed, 'file')} failed`);
    return await finish(statistics, 'completed', null);
  } catch (error) {
    if (!watched.ctx.signal.aborted) {
      const said = spoken(error, pair);
      await finish(statistics, 'failed', messageOf(said));
      throw said;
    }
    return await finish(statistics, 'cancelled', null);
  } finally {
    watched.close();
  }
}

async function carryOut(
  steps: readonly Step[],
  kind: string,
  {
    changes,
    ...run
  }: Pick<ApplyTask, 'pair' | 'locks' | 'operationId' | 'operation' | 'statistics'> & Pick<PreparedRun, 'changes'>,
  ctx: Context,
): Promise<void> {
  const { pair } = run;
  const [first] = steps;
  if (!first) return;
  const pairId = await pairNumber(pair, ctx);
  if (kind === 'sync') {
    await noteFilter(pairId, filterText(first.plan.options.filters), ctx);
    await acknowledgeForced(first.plan.guards, pairId, ctx);
  }
  let firstSeq = 0;
  const late: InboxEntry[] = [];
  let ended = false;
  let stepFailed = false;
  try {
    for (const { plan, strict, reversed = false, agrees = true, follows = false, pair: own } of steps) {
      if (follows && stepFailed) return;
      const failedBefore = run.statistics.files_failed + run.statistics.conflicts_detected;
      if (run.statistics.cancelled || (plan.actions.length === 0 && plan.problems.length === 0)) continue;
      const side = own ?? (reversed ? reversedPair(pair) : pair);
      try {
        const log = changes[side.backup.mountPath === pair.master.mountPath ? 'master' : 'backup'];
        const task = { ...run, pair: side, plan, strict, agrees, firstSeq, pairId, changes: log };
        const done = await applyPlan(task, ctx);
        firstSeq = done.nextSeq;
        late.push(...done.late);
        stepFailed = run.statistics.files_failed + run.statistics.conflicts_detected > failedBefore;
      } finally {
        if (reversed && !own) await side.close();
      }
    }
    ended = !run.statistics.cancelled;
  } finally {
    await fillInbox(steps, late, pairId, ended, run, ctx);
  }
}

/** 0 where one side is a plain folder, for which nothing is recorded. */
async function pairNumber({ group, masterUuid, backupUuid }: OpenPair, ctx: Context): Promise<number> {
  if (masterUuid === '' || backupUuid === '') return 0;
  return (await findPair(masterUuid, backupUuid, ctx)) ?? (await ensurePair(group.id, masterUuid, backupUuid, ctx));
}

/** What waits goes into the inbox, what was resolved or has settled itself leaves it. */
async function fillInbox(
  steps: readonly Step[],
  late: readonly InboxEntry[],
  pairId: number,
  ended: boolean,
  run: Pick<ApplyTask, 'pair' | 'operationId' | 'statistics'>,
  ctx: Context,
): Promise<void> {
  if (pairId === 0) return;
  const wrong = new Set(run.statistics.problems.map(({ path }) => path));
  const resolved = steps.flatMap(({ resolves = [] }) => resolves).filter((path) => !wrong.has(path));
  const gone = ended ? resolved : [];
  await removeConflicts(pairId, [...gone, ...steps.flatMap(({ plan }) => plan.settled)], ctx);
  const found = steps.flatMap(({ plan }) => plan.actions).filter(({ kind }) => kind === 'conflict');
  const entries = found.map(({ path, conflict_type, reason, entry, master, backup }): InboxEntry => {
    return { path, conflict_type: conflict_type ?? '', reason, entry, master_facts: master, backup_facts: backup };
  });
  // First: what is in the inbox without a doubt would be forgotten after a crash.
  await doubtContents(pairId, entries, ctx);
  await writeConflicts(pairId, run.pair.group.id, run.operationId, [...entries, ...late], ctx);
}

/** While the plan is being made: shows the run to other processes, and takes their wish to cancel it. */
function watchControl(
  id: number,
  names: { operation: string; target: string },
  pair: OpenPair,
  ctx: Context,
): { ctx: Context; end(): void; close(): void } {
  const { controller: cancel, letGo } = joinedTo(ctx.signal);
  const report = async (): Promise<void> => {
    const read = pair.workers?.bytesMoved ?? 0;
    const progress: Progress = {
      phase: read > 0 ? 'compare' : 'scan',
      files_done: 0,
      files_total: 0,
      files_copied: 0,
      files_skipped: 0,
      files_failed: 0,
      bytes_done: read,
      bytes_total: 0,
      rate: 0,
      eta: null,
      current: pair.workers?.holding.map(({ path }) => path) ?? [],
      paused: false,
    };
    ctx.emit({ kind: 'progress', operation_id: names.operation, target: names.target, progress });
    const { control } = await reportProgress(id, progress, ctx);
    if (control === 'cancel' || control === 'stop') cancel.abort();
  };
  const timer = setInterval(() => void report().catch(() => {}), 250);
  const end = (): void => clearInterval(timer);
  const close = (): void => {
    end();
    letGo();
  };
  return { ctx: { ...ctx, signal: cancel.signal }, end, close };
}

async function lockDrives(pair: OpenPair, flags: RunFlags, locks: DriveLock[], ctx: Context): Promise<void> {
  const sides = [
    { root: pair.master, drive: pair.masterDrive, uuid: pair.masterUuid },
    { root: pair.backup, drive: pair.backupDrive, uuid: pair.backupUuid },
  ].sort((a, b) => (a.uuid < b.uuid ? -1 : 1));
  if (pair.backupDrive.read_only) {
    throw new TandemError('failed', `The Backup '${pair.backup.label}' is read-only at ${pair.backup.mountPath}.`, {
      hint: 'Mount it writable (a damaged filesystem is often mounted read-only: check it first), then repeat.',
    });
  }
  for (const { root, drive } of sides) {
    if (!drive.read_only) locks.push(await lockDrive(root, drive.network, flags, ctx));
  }
}

/** What a run starts from: everything that the plan could not do counts already. */
function countPlans(start: SyncStatistics, steps: readonly Step[]): void {
  for (const { totals, failed, problems, options } of steps.map(({ plan }) => plan)) {
    start.files_skipped += totals.skipped;
    start.files_failed += failed;
    start.conflicts_detected += totals.conflict;
    if (options.verify_checksums === 'checksum' && totals.files > 0) start.verified = 'device';
    start.problems.push(...problems);
  }
}
