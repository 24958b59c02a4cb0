/**
 * One run of a schedule: what it needs (which drives, and whether they are here), then sync or verification, reading
 * back, ejecting, and one sentence that says how it went. Nothing is asked of anybody: what needs an answer fails.
 */
import { silence } from '../shared/answering.ts';
import { type Context, refusingPrompts } from '../shared/context.ts';
import type { TandemError } from '../shared/errors.ts';
import { formatBytes, formatCount, plural } from '../shared/format.ts';
import { quote } from '../shared/named.ts';
import { displayPath } from '../shared/paths.ts';
import { type DriveInfo, ejectDrive, listDrives } from './detect.ts';
import { getGroup } from './groups.ts';
import { matchPair, type Pair, ROLE_NAME } from './pairs.ts';
import { type RunFlags, type SyncResult, syncToBackup } from './sync.ts';
import type { Target } from './targets.ts';
import { sentenceOf, syncSentence } from './telling.ts';
import { choiceOf, type Ending, type Schedule, targetsOfEntry } from './timetable.ts';
import { type VerifyFlags, type VerifyResult, verifyFiles } from './verify.ts';

/** What a job does to the world; the functions of the features, unless a test takes others. */
export interface Deeds {
  drives(ctx: Context): Promise<DriveInfo[]>;
  sync(target: string, flags: RunFlags, ctx: Context): Promise<SyncResult>;
  verify(target: string, flags: VerifyFlags, ctx: Context): Promise<VerifyResult>;
  eject(drive: DriveInfo, ctx: Context): Promise<void>;
}

export const DEEDS: Deeds = { drives: listDrives, sync: syncToBackup, verify: verifyFiles, eject: ejectDrive };

/** What a schedule works on, as it is now. */
export interface View {
  pairs: Pair[];
  /** One sentence: what is not there; null: everything is. */
  missing: string | null;
  /** Keys of the drives; no two jobs may share one. */
  drives: string[];
  /** Changes whenever one of the drives is plugged in anew; `''` while one is away. */
  connection: string;
  /** For notices. */
  group_id: string;
  groups: string[];
}

export interface JobResult extends Ending {
  conflicts: number;
  /** The document of the sync or the verification; null: it did not come that far. */
  result: SyncResult | VerifyResult | null;
}

/** @throws TandemError `not_found`, `invalid` when the target is not known any more. */
export async function viewOf(schedule: Schedule, drives: readonly DriveInfo[], ctx: Context): Promise<View> {
  const targets = await targetsOfEntry(schedule, ctx);
  const groups = new Map(targets.map(({ group }) => [group.id, getGroup(group.id, ctx)]));
  const pairs = [...groups.values()].map((group) => ({ group, ...matchPair(group, drives, ctx) }));
  const missing = pairs.map(missingOf).find((why) => why !== null) ?? null;
  const here = pairs.flatMap(({ master, backup }) => [master, backup]);
  return {
    pairs,
    missing,
    drives: pairs.flatMap(({ group }) => [
      group.master_drive.drive_uuid ?? `master of ${group.id}`,
      group.backup_drive.drive_uuid ?? `backup of ${group.id}`,
    ]),
    connection: missing !== null ? '' : here.map((drive) => `${drive?.mount_path} ${drive?.device_number}`).join('\n'),
    group_id: groupIdOf(schedule, targets),
    groups: pairs.flatMap(({ group }) => [group.id, group.name]),
  };
}

/**
 * Carries one run out.
 * @throws TandemError what kept it from beginning: `drive_missing`, `locked`, `guard`, `key` …
 */
export async function carryOut(schedule: Schedule, view: View, deeds: Deeds, outer: Context): Promise<JobResult> {
  const ctx: Context = { ...outer, prompts: refusingPrompts };
  const choice = choiceOf(schedule);
  if (schedule.job === 'verify') {
    const flags = { ...choice, ...(schedule.sample === null ? {} : { sample: schedule.sample }) };
    return verifyJob(await deeds.verify(schedule.target_id, flags, ctx));
  }
  const options: RunFlags['options'] = schedule.verify ? { verify_checksums: 'checksum' } : {};
  const done = syncJob(await deeds.sync(schedule.target_id, { ...choice, options, lockWait: LOCK_WAIT }, ctx));
  if (done.status !== 'completed') return done;
  if (schedule.verify && schedule.sample !== null) {
    const read = verifyJob(await deeds.verify(schedule.target_id, { ...choice, sample: schedule.sample }, ctx));
    done.message += ` ${read.message}`;
    if (read.status !== 'completed') return { ...done, status: read.status, operation: read.operation };
  }
  if (schedule.eject !== '') await letGo(schedule.eject, view, deeds, done, ctx);
  return done;
}

/** As the history names it. */
function groupIdOf({ target_id }: Schedule, targets: readonly Target[]): string {
  const ids = new Set(targets.map(({ group }) => group.id));
  const [only] = ids;
  return ids.size === 1 && only !== undefined ? only : target_id;
}

// --- internal ---

/** Seconds; a person's own run goes before. */
const LOCK_WAIT = 10;

function missingOf(pair: Pair & { problem?: TandemError }): string | null {
  if (pair.problem) return pair.problem.message;
  const away = (['master', 'backup'] as const).filter((role) => pair[role] === null);
  const [first, second] = away.map((role) => `${ROLE_NAME[role]} ${quote(pair.group[`${role}_drive`].label)}`);
  if (first === undefined) return null;
  return second === undefined
    ? `The ${first} of ${quote(pair.group.name)} is not connected${silence()}.`
    : `The ${first} and the ${second} of ${quote(pair.group.name)} are not connected${silence()}.`;
}

function syncJob(result: SyncResult): JobResult {
  const { status, operation_id: operation, conflicts_detected: conflicts } = result;
  return { status, message: syncSentence(result), operation, conflicts, result };
}

function verifyJob(result: VerifyResult): JobResult {
  const counts: [number, string][] = [
    [result.files_rotten, 'rotten'],
    [result.files_unreadable, 'unreadable'],
    [result.files_differing, 'differing'],
    [result.files_missing, 'missing'],
    [result.files_edited, 'edited'],
  ];
  const parts = counts.flatMap(([count, what]) => (count > 0 ? [`${formatCount(count)} ${what}`] : []));
  const good = `${plural(result.files_verified, 'file')} as recorded (${formatBytes(result.bytes_verified)})`;
  return {
    status: result.status,
    message: `Verification of ${displayPath(result.target)} ${result.status}: ${[good, ...parts].join(', ')}.`,
    operation: result.operation_id,
    conflicts: 0,
    result,
  };
}

/** A drive that stays mounted is no failure of the run: its files are on the medium. */
async function letGo(which: 'backup' | 'both', view: View, deeds: Deeds, done: JobResult, ctx: Context): Promise<void> {
  const roles = which === 'both' ? (['backup', 'master'] as const) : (['backup'] as const);
  for (const role of roles)
    for (const pair of view.pairs) {
      const drive = pair[role];
      if (!drive) continue;
      const name = `The ${ROLE_NAME[role]} ${quote(drive.label)}`;
      try {
        await deeds.eject(drive, ctx);
        done.message += ` ${name} is safe to remove.`;
      } catch (error) {
        done.message += ` ${name} was not ejected: ${sentenceOf(error)}`;
      }
    }
}
