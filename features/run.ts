/**
 * One run of a sync as an operation: both drives opened and locked, what an interruption left put right, the journal kept
 * from the first moment to the last whatever happens in between.
 */
import { randomUUID } from 'node:crypto';
import type { Context } from '../shared/context.ts';
import { explain, messageOf, TandemError } from '../shared/errors.ts';
import type { Progress } from '../shared/events.ts';
import { plural } from '../shared/format.ts';
import { DriveLock } from '../shared/lock.ts';
import { collectGarbage } from '../shared/memory.ts';
import { noteFilter } from '../shared/pair-notes.ts';
import { displayPath } from '../shared/paths.ts';
import { recoverDrive } from '../shared/recover.ts';
import { noStatistics, type SyncStatistics } from '../shared/statistics.ts';
import type { DriveRoot } from '../shared/store.ts';
import { WorkerPool } from '../shared/workers.ts';
import { applyPlan } from './apply.ts';
import type { Group } from './groups.ts';
import { acknowledgeForced, filterText } from './guards.ts';
import { completeOperation, ensurePair, findPair, reportProgress, startOperation } from './history.ts';
import type { Plan, SyncTarget } from './plan.ts';
import { type OpenPair, openPair, type SyncOptions, syncOptions, workerCount } from './session.ts';

export interface RunFlags {
  /** Folder of the drives; `''` for everything. */
  path?: string;
  options?: Partial<SyncOptions>;
  /** Seconds to wait for another writer. */
  lockWait?: number;
  breakLock?: boolean;
  /** Name for the operation; a new one otherwise. */
  operation?: string;
}

/** `sync run --json`; the reference's SyncStatistics with ours added. */
export interface SyncResult extends Omit<SyncStatistics, 'cancelled'> {
  operation_id: string;
  target: string;
  status: 'completed' | 'failed' | 'cancelled';
  start_time: string;
  end_time: string;
}

export type Prepare = (
  run: { pair: OpenPair; target: SyncTarget; operation: string },
  ctx: Context,
) => Promise<{ plan: Plan; strict: boolean }>;

/** @param prepare makes the plan, once the drives are locked; what it throws ends the operation as failed. */
export async function runLocked(
  target: SyncTarget,
  flags: RunFlags,
  ctx: Context,
  prepare: Prepare,
): Promise<SyncResult> {
  const early = earlyWorkers(target.group, flags, ctx);
  const pair = await openPair(target.group, ctx, false).catch(async (error: unknown) => {
    await (await early)?.close();
    throw error;
  });
  const locks: DriveLock[] = [];
  try {
    pair.workers = await early;
    await lockDrives(pair, flags, locks, ctx);
    const recovered = recoverDrive(pair.backup.dir);
    if (recovered.interrupted.length > 0)
      ctx.emit({
        kind: 'note',
        message: 'An earlier run was interrupted; what it left behind was cleared, and this run finishes its work.',
      });
    for (const path of recovered.restored)
      ctx.emit({ kind: 'note', message: `Put right after an interruption: ${displayPath(path)}` });
    return await journal(target, { pair, locks }, flags, ctx, prepare);
  } finally {
    for (const lock of locks) lock.release();
    await pair.close();
  }
}

// --- internal ---

/** Paths; below that the garbage of planning is not worth a pause. */
const LARGE_PLAN = 50_000;

/** For drives that were never synced with each other there will be work: threads start while the drives are opened. */
async function earlyWorkers(group: Group, flags: RunFlags, ctx: Context): Promise<WorkerPool | undefined> {
  const { master_drive: master, backup_drive: backup } = group;
  const known = await findPair(master.drive_uuid ?? '', backup.drive_uuid ?? '', ctx).catch(() => null);
  return known === null ? new WorkerPool(workerCount(syncOptions(group, flags.options ?? {}))).warm() : undefined;
}

interface Locked {
  pair: OpenPair;
  locks: DriveLock[];
}

async function journal(
  target: SyncTarget,
  locked: Locked,
  flags: RunFlags,
  ctx: Context,
  prepare: Prepare,
): Promise<SyncResult> {
  const { pair, locks } = locked;
  const operation = flags.operation ?? randomUUID();
  const startTime = ctx.now().toISOString();
  const operationId = await startOperation(
    {
      uuid: operation,
      group_id: pair.group.id,
      operation_type: 'sync',
      target_kind: 'group',
      target_name: pair.group.name,
      subpath: target.subpath,
    },
    ctx,
  );
  ctx.emit({ kind: 'operation_started', operation_id: operation, target: pair.group.name });
  const finish = async (
    { cancelled: _cancelled, ...counts }: SyncStatistics,
    status: SyncResult['status'],
    reason: string | null,
  ): Promise<SyncResult> => {
    await completeOperation(operationId, { ...counts, reason }, status, ctx);
    ctx.emit({ kind: 'operation_ended', operation_id: operation, target: pair.group.name, status });
    return {
      operation_id: operation,
      target: pair.group.name,
      status,
      ...counts,
      start_time: startTime,
      end_time: ctx.now().toISOString(),
    };
  };
  let statistics: SyncStatistics = noStatistics();
  const watched = watchControl(operationId, operation, pair, ctx);
  try {
    const { plan, strict } = await prepare({ pair, target, operation }, watched.ctx);
    watched.end();
    if (plan.actions.length > LARGE_PLAN) collectGarbage();
    statistics = startStatistics(plan);
    const pairId =
      (await findPair(pair.masterUuid, pair.backupUuid, ctx)) ??
      (await ensurePair(pair.group.id, pair.masterUuid, pair.backupUuid, ctx));
    await noteFilter(pairId, filterText(plan.options.filters), ctx);
    await acknowledgeForced(plan.guards, pairId, ctx);
    if (plan.actions.length > 0 || plan.problems.length > 0) {
      await applyPlan({ plan, pair, locks, operationId, operation, pairId, strict, statistics }, ctx);
    }
    const { cancelled, files_failed } = statistics;
    if (cancelled) return await finish(statistics, 'cancelled', null);
    if (files_failed > 0) return await finish(statistics, 'failed', `${plural(files_failed, 'file')} failed`);
    return await finish(statistics, 'completed', null);
  } catch (error) {
    if (!watched.ctx.signal.aborted) {
      await finish(statistics, 'failed', messageOf(error));
      throw error;
    }
    return await finish(statistics, 'cancelled', null);
  } finally {
    watched.end();
  }
}

/** While the plan is being made: shows the run to other processes, and takes their wish to cancel it. */
function watchControl(id: number, operation: string, pair: OpenPair, ctx: Context): { ctx: Context; end(): void } {
  const cancel = new AbortController();
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
      current: pair.workers?.holding ?? [],
      paused: false,
    };
    ctx.emit({ kind: 'progress', operation_id: operation, target: pair.group.name, progress });
    const control = await reportProgress(id, progress, ctx);
    if (control === 'cancel' || control === 'stop') cancel.abort();
  };
  const timer = setInterval(() => void report().catch(() => {}), 250);
  return { ctx: { ...ctx, signal: AbortSignal.any([ctx.signal, cancel.signal]) }, end: () => clearInterval(timer) };
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

async function lockDrive(root: DriveRoot, network: boolean, flags: RunFlags, ctx: Context): Promise<DriveLock> {
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

/** What a run starts from: everything that the plan could not do counts already. */
function startStatistics({ totals, failed, problems, options }: Plan): SyncStatistics {
  return {
    ...noStatistics(),
    files_skipped: totals.skipped,
    files_failed: failed,
    conflicts_detected: totals.conflict,
    verified: options.verify_checksums === 'checksum' && totals.files > 0 ? 'device' : 'none',
    problems: [...problems],
  };
}
