/**
 * One verification as an operation: the drives opened, with a repair also locked and put right, what is recorded read
 * anew, damage healed, and the journal kept from the first moment to the last whatever happens in between.
 */
import { randomUUID } from 'node:crypto';
import type { Context } from '../shared/context.ts';
import { messageOf, type Problem, TandemError } from '../shared/errors.ts';
import type { Phase } from '../shared/events.ts';
import { plural } from '../shared/format.ts';
import { isKeyed } from '../shared/hash.ts';
import { lanesFor } from '../shared/lanes.ts';
import type { Side } from '../shared/listing.ts';
import type { DriveLock } from '../shared/lock.ts';
import { displayPath } from '../shared/paths.ts';
import { hasKeyedChecksums, storedForms } from '../shared/storage.ts';
import type { DriveRoot } from '../shared/store.ts';
import { verifiedDates } from '../shared/verified.ts';
import { WorkerPool } from '../shared/workers.ts';
import { RunControl } from './control.ts';
import { copyFiles, type HealResult } from './heal.ts';
import {
  completeOperation,
  findPair,
  listOperations,
  NOTHING_DONE,
  type OperationResult,
  readBaseline,
  recordActions,
  startOperation,
} from './history.ts';
import { groupKey } from './keyring.ts';
import { ROLE_NAME } from './pairs.ts';
import { type Outcome, runParts } from './parts.ts';
import { lockDrive, named, recoverPair } from './run.ts';
import {
  type Case,
  chooseRows,
  closeSides,
  type Finding,
  type OpenSide,
  openSides,
  readingSession,
  type ScrubPlan,
  scrubRows,
  sidesOf,
  type Tally,
} from './scrub.ts';
import { type OpenPair, OS_JUNK, openPair, recordedAlgorithm, syncOptions } from './session.ts';
import { type Target, targetName, targetsOf } from './targets.ts';

export interface VerifyFlags {
  /** Which drives to read; both when it is left out. */
  side?: Side | 'both';
  /** Folder or file of the drives; `''` for everything. */
  path?: string;
  /** Percent by bytes, above 0 and up to 100, of what was read longest ago; everything when it is left out. */
  sample?: number;
  /** Heal what is damaged from the other side; both drives have to be connected. */
  repair?: boolean;
  /** Only this part of a project. */
  role?: string;
  /** Number of the operation that this one is a part of. */
  parent?: number;
  /** Seconds to wait for another writer; with `repair`. */
  lockWait?: number;
  breakLock?: boolean;
}

/** `verify run --json`. A count is one file on one side. */
export interface VerifyResult {
  operation_id: string;
  target: string;
  subpath: string;
  sides: Side[];
  status: 'completed' | 'failed' | 'cancelled';
  /** Read, and as recorded. */
  files_verified: number;
  bytes_verified: number;
  /** Not read again, because a run that was interrupted had read them. */
  files_skipped: number;
  files_rotten: number;
  files_unreadable: number;
  files_differing: number;
  files_edited: number;
  files_missing: number;
  files_healed: number;
  /** Paths whose checksum was not known and was recorded now. */
  checksums_recorded: number;
  verified: 'none' | 'cache' | 'device';
  findings: Finding[];
  start_time: string;
  end_time: string;
}

/**
 * Reads the files of a group, or of a folder of it, and compares them with what was recorded. Writes nothing on the
 * drives unless `flags.repair` is set.
 * @throws TandemError `drive_missing`, `guard`, `locked`; `invalid` when nothing is recorded of this pair.
 */
export async function verifyFiles(target: string, flags: VerifyFlags, ctx: Context): Promise<VerifyResult> {
  const run = (one: Target, part: { parent?: number }): Promise<VerifyResult> =>
    verifyTarget(one, { ...flags, ...part }, ctx);
  const targets = await targetsOf(target, flags, ctx);
  return runParts(targets, { kind: 'verify', operation: undefined, run, sum: summed, counts: countsOf }, ctx);
}

async function verifyTarget(target: Target, flags: VerifyFlags, ctx: Context): Promise<VerifyResult> {
  const wanted: Side[] = flags.side === undefined || flags.side === 'both' ? ['master', 'backup'] : [flags.side];
  if (flags.repair !== true) {
    const sides = await openSides(target.group, wanted, ctx);
    try {
      return await runVerify({ ...target, sides, repair: null }, flags, ctx);
    } finally {
      closeSides(sides);
    }
  }
  const pair = await openPair(target.group, ctx, true);
  const locks: DriveLock[] = [];
  try {
    const drives = [
      { root: pair.master, drive: pair.masterDrive, uuid: pair.masterUuid },
      { root: pair.backup, drive: pair.backupDrive, uuid: pair.backupUuid },
    ].sort((a, b) => (a.uuid < b.uuid ? -1 : 1));
    for (const { root, drive } of drives)
      if (!drive.read_only) locks.push(await lockDrive(root, drive.network, flags, ctx));
    await recoverPair(pair, ctx);
    const sides = await sidesOf(pair, wanted, ctx);
    return await runVerify({ ...target, sides, repair: { pair, locks } }, flags, ctx);
  } finally {
    for (const lock of locks) lock.release();
    await pair.close();
  }
}

/** Damage, as against what a sync has to decide. */
export const DAMAGE: ReadonlySet<Finding['kind']> = new Set(['rot', 'unreadable', 'differs']);

export const isDamage = ({ kind, healed }: Finding): boolean => DAMAGE.has(kind) && !healed;

// --- internal ---

const COUNTED = [
  'files_verified',
  'bytes_verified',
  'files_skipped',
  'files_rotten',
  'files_unreadable',
  'files_differing',
  'files_edited',
  'files_missing',
  'files_healed',
  'checksums_recorded',
] as const;

/** The parts of a project as one result. */
function summed(done: readonly VerifyResult[]): Omit<VerifyResult, keyof Outcome> {
  const levels = ['none', 'cache', 'device'] as const;
  const weakest = Math.min(2, ...done.map(({ verified }) => levels.indexOf(verified)));
  const counts = COUNTED.map((key) => [key, done.reduce((sum, one) => sum + one[key], 0)] as const);
  return {
    ...(Object.fromEntries(counts) as Record<(typeof COUNTED)[number], number>),
    subpath: '',
    sides: [...new Set(done.flatMap(({ sides }) => sides))],
    verified: done.length === 0 ? 'none' : (levels[weakest] ?? 'none'),
    findings: done.flatMap(({ findings }) => findings),
  };
}

/** The numbers of a verification in the columns of the journal. */
function countsOf(result: VerifyResult): Partial<OperationResult> {
  const { files_healed: files_copied, files_verified: files_skipped, verified } = result;
  return { files_copied, files_skipped, files_failed: result.findings.filter(isDamage).length, verified };
}

interface Job extends Target {
  sides: readonly OpenSide[];
  repair: { pair: OpenPair; locks: readonly DriveLock[] } | null;
}

/** One run as an operation in the history, from its first moment to its last whatever happens in between. */
async function runVerify(job: Job, flags: VerifyFlags, ctx: Context): Promise<VerifyResult> {
  const { pairId, plan } = await prepare(job, flags, ctx);
  const names = { uuid: randomUUID(), group_id: job.group.id, ...named(job) };
  const startTime = ctx.now().toISOString();
  const id = await startOperation(
    { ...names, operation_type: 'verify', ...(flags.parent === undefined ? {} : { parent_id: flags.parent }) },
    ctx,
  );
  const event = { operation_id: names.uuid, target: targetName(job) };
  ctx.emit({ kind: 'operation_started', ...event });
  const run = new Run(job, { id, uuid: names.uuid, pairId, plan }, ctx);
  let failure: { error: unknown } | undefined;
  try {
    await run.read();
    await run.repair();
  } catch (error) {
    failure = { error };
  } finally {
    await run.end();
  }
  const result = run.result(startTime);
  if (failure) result.status = 'failed';
  await recordActions(id, 0, result.findings.map(actionOf), ctx);
  await completeOperation(id, run.counts(result, failure?.error), result.status, ctx);
  ctx.emit({ kind: 'operation_ended', ...event, status: result.status });
  if (failure) throw failure.error;
  return result;
}

async function prepare(
  { group, subpath, sides }: Job,
  flags: VerifyFlags,
  ctx: Context,
): Promise<{ pairId: number; plan: ScrubPlan }> {
  const { master_drive, backup_drive } = group;
  const pairId = await findPair(master_drive.drive_uuid ?? '', backup_drive.drive_uuid ?? '', ctx);
  const rows = pairId === null ? [] : await readBaseline(pairId, subpath, ctx);
  if (pairId === null || rows.length === 0) {
    const what = subpath === '' ? `group '${displayPath(group.name)}'` : `'${displayPath(subpath)}'`;
    throw new TandemError('invalid', `Nothing is recorded of ${what} on these drives, so nothing can be compared.`, {
      hint: 'Sync first: what a sync copies it records with a checksum.',
    });
  }
  const since = flags.sample === undefined ? await interruptedSince(group.id, subpath, ctx) : null;
  const dates = await verifiedDates(pairId, subpath, ctx);
  return { pairId, plan: chooseRows(rows, dates, sides, { sample: flags.sample ?? null, since }) };
}

/** A run that was cancelled longer ago is not gone on with: its readings say too little about today. */
const GO_ON_WITHIN_DAYS = 7;

/** Start of the oldest of the newest runs over this path if none of them came to its end; null: start anew. */
async function interruptedSince(groupId: string, subpath: string, ctx: Context): Promise<string | null> {
  const runs = await listOperations({ group_id: groupId, type: 'verify', limit: 50 }, ctx);
  const limit = new Date(ctx.now().getTime() - GO_ON_WITHIN_DAYS * 86_400_000).toISOString();
  let since: string | null = null;
  for (const run of runs.filter((one) => one.subpath === subpath)) {
    const broken = run.status === 'cancelled' || run.reason === 'interrupted';
    if (!broken || run.start_time < limit) break;
    since = run.start_time;
  }
  return since;
}

class Run {
  private readonly job: Job;
  private readonly names: { id: number; uuid: string; pairId: number; plan: ScrubPlan };
  private readonly ctx: Context;
  private readonly pool: WorkerPool;
  private readonly lanes: number;
  private readonly control: RunControl;
  private readonly algorithm;
  private readonly tally: Tally = { verified: 0, bytes: 0, learned: 0, stopped: 0, level: 'none', cases: [] };
  private phase: Phase = 'compare';
  private healedBytes = 0;
  private finished = false;

  constructor(job: Job, names: Run['names'], ctx: Context) {
    this.job = job;
    this.names = names;
    this.ctx = ctx;
    const options = syncOptions(job.group, {});
    this.algorithm = recordedAlgorithm({ storedSide: 'backup' }, options);
    const { small } = lanesFor(
      options,
      job.sides.map(({ drive }) => drive),
    );
    this.lanes = Math.max(1, Math.floor(small / job.sides.length));
    this.pool = new WorkerPool(this.lanes * job.sides.length);
    const { id, uuid, plan } = names;
    const run = { operationId: id, operation: uuid, target: targetName(job) };
    this.control = new RunControl(
      run,
      this.pool,
      () => ({
        phase: this.phase,
        files_done: this.tally.verified + this.tally.cases.length,
        files_total: plan.files,
        files_copied: this.healed.length,
        files_skipped: this.tally.verified,
        files_failed: this.tally.cases.filter(({ finding }) => isDamage(finding)).length,
        bytes_total: plan.bytes,
      }),
      ctx,
    );
  }

  async read(): Promise<void> {
    const { sides } = this.job;
    const { plan, pairId, uuid } = this.names;
    await this.haveKey();
    this.control.begin();
    this.pool.open({ transfer: readingSession(sides, uuid), algorithm: this.algorithm, junk: OS_JUNK, mhl: false });
    const cancelled = (): boolean => this.control.cancelled;
    const { pool, lanes, algorithm, tally } = this;
    await scrubRows({ plan, sides, pool, lanes, pairId, algorithm, cancelled, tally }, this.ctx);
    // A cancellation that comes with the last file has nothing left to stop.
    this.finished = tally.stopped === 0;
  }

  /** What is sealed can be read with the group's key alone. */
  private async haveKey(): Promise<void> {
    const { group, sides } = this.job;
    const { pairId } = this.names;
    const keyed = isKeyed(this.algorithm) || (await hasKeyedChecksums(pairId, this.ctx));
    if (!keyed && !(await storedForms(pairId, this.ctx)).sealed) return;
    const rootOf = (wanted: Side): DriveRoot | null => sides.find(({ side }) => side === wanted)?.root ?? null;
    const key = await groupKey(group, { master: rootOf('master'), backup: rootOf('backup') }, this.ctx);
    this.pool.setKey(key);
    key.key.fill(0);
  }

  /** A cancelled run heals nothing more. */
  async repair(): Promise<void> {
    const { job, control, tally } = this;
    if (job.repair === null) return;
    const damaged = tally.cases.filter((one) => canHeal(one, tally.cases, job.repair?.pair));
    if (damaged.length === 0) return;
    if (control.cancelled) {
      this.finished = false;
      return;
    }
    this.phase = 'copy';
    for (const [side, direction] of [['master', 'to_master'] as const, ['backup', 'to_backup'] as const]) {
      const some = new Map(damaged.filter((one) => one.finding.side === side).map((one) => [one.finding.path, one]));
      if (some.size === 0) continue;
      const task = {
        ...job.repair,
        pool: this.pool,
        operation: this.names.uuid,
        pairId: this.names.pairId,
        cancelled: () => control.cancelled,
        done: (result: HealResult) => this.note(some.get(result.path)?.finding, result),
      };
      const items = [...some.values()].map(({ row, seen: { facts, shared } }) => ({ row, facts, shared }));
      await copyFiles(task, direction, items, this.ctx);
    }
    if (control.cancelled) this.finished = false;
  }

  async end(): Promise<void> {
    this.control.end();
    await this.pool.close();
  }

  private note(finding: Finding | undefined, { healed, message, version, bytes }: HealResult): void {
    if (!finding) return;
    finding.healed = healed;
    finding.version = version;
    if (healed) this.healedBytes += bytes;
    else finding.message = `${finding.message}; not healed: ${message}`;
  }

  private get healed(): Finding[] {
    return this.findings.filter((finding) => finding.healed);
  }

  private get findings(): Finding[] {
    return this.tally.cases.map(({ finding }) => finding);
  }

  result(startTime: string): VerifyResult {
    const findings = this.findings.toSorted(byPath);
    const count = (kind: Finding['kind']): number => findings.filter((one) => one.kind === kind).length;
    const damage = findings.some(isDamage);
    return {
      operation_id: this.names.uuid,
      target: targetName(this.job),
      subpath: this.job.subpath,
      sides: this.job.sides.map(({ side }) => side),
      status: this.finished ? (damage ? 'failed' : 'completed') : 'cancelled',
      files_verified: this.tally.verified,
      bytes_verified: this.tally.bytes,
      files_skipped: this.names.plan.recent,
      files_rotten: count('rot'),
      files_unreadable: count('unreadable'),
      files_differing: count('differs'),
      files_edited: count('edited'),
      files_missing: count('missing'),
      files_healed: this.healed.length,
      checksums_recorded: this.tally.learned,
      verified: this.tally.level,
      findings,
      start_time: startTime,
      end_time: this.ctx.now().toISOString(),
    };
  }

  /** The same in the journal's columns. */
  counts(result: VerifyResult, error: unknown): Parameters<typeof completeOperation>[1] {
    const damage = result.findings.filter(isDamage);
    const problems = damage.map(
      ({ path, side, message }): Problem => ({ path, message: `${ROLE_NAME[side]}: ${message}` }),
    );
    const reason =
      error === undefined ? (damage.length > 0 ? `${plural(damage.length, 'file')} damaged` : null) : messageOf(error);
    return {
      ...NOTHING_DONE,
      ...countsOf(result),
      bytes_copied: this.healedBytes,
      problems,
      reason: result.status === 'cancelled' ? null : reason,
    };
  }
}

/** Says in the finding why not, where it cannot. */
function canHeal({ finding, row, seen }: Case, cases: readonly Case[], pair: OpenPair | undefined): boolean {
  if (!isDamage(finding) || pair === undefined) return false;
  const twin = cases.find((one) => one.finding.path === finding.path && one.finding.side !== finding.side);
  const why =
    finding.kind === 'differs' || row.checksum === ''
      ? 'it is not known which side is right'
      : twin !== undefined
        ? `the ${ROLE_NAME[twin.finding.side]}'s copy is no help (${twin.finding.kind})`
        : pair[`${finding.side}Drive`].read_only
          ? 'the drive is read-only'
          : finding.kind === 'unreadable' && !seen.damaged
            ? 'the drive is in order, the file may not be read'
            : seen.facts === ''
              ? 'the drive does not say what the file is; check its filesystem'
              : undefined;
  if (why !== undefined) finding.message = `${finding.message}; not healed: ${why}`;
  return why === undefined;
}

function actionOf({ path, side, kind, size, message, healed }: Finding): Parameters<typeof recordActions>[2][number] {
  const status = healed ? 'done' : DAMAGE.has(kind) ? 'failed' : 'skipped';
  return { path, action: healed ? 'heal' : kind, size, status, message: `${ROLE_NAME[side]}: ${message}` };
}

/** By path, the Master first. */
function byPath(a: Finding, b: Finding): number {
  if (a.path !== b.path) return a.path < b.path ? -1 : 1;
  return a.side === b.side ? 0 : a.side === 'master' ? -1 : 1;
}
