/**
 * Reads what is recorded on one drive or both and says of each file whether it is still what was recorded. It tells rot
 * (the content changed, and nothing that the filesystem says of the file did) from edits, which are a sync's business.
 * Writes nothing on the drives; in the database it notes, batch by batch, what was found good, so that a run that ends
 * early is not lost.
 */
import { silence } from '../shared/answering.ts';
import { Batches, groupBySize } from '../shared/batches.ts';
import type { Context } from '../shared/context.ts';
import type { Digest } from '../shared/digests.ts';
import { TandemError } from '../shared/errors.ts';
import { factsField, type Side } from '../shared/listing.ts';
import { readsPastCache } from '../shared/past-cache.ts';
import { displayPath } from '../shared/paths.ts';
import { clockRules, hasSettled } from '../shared/rows.ts';
import type { ScrubResult } from '../shared/scrub.ts';
import { closeDriveRoot, type DriveRoot, openDriveRoot } from '../shared/store.ts';
import { recordedSuffix, type Suffix } from '../shared/stored.ts';
import type { TransferSession } from '../shared/tasks.ts';
import { markVerified, recordChecksums, type Verified } from '../shared/verified.ts';
import type { WorkerPool } from '../shared/workers.ts';
import { type DriveInfo, listDrives, type Traits } from './detect.ts';
import type { Group } from './groups.ts';
import type { BaselineRow } from './history.ts';
import { matchPair, ROLE_NAME } from './pairs.ts';
import { assertSide, type OpenPair, traitsOf } from './session.ts';

/** One drive, open. */
export interface OpenSide {
  side: Side;
  root: DriveRoot;
  drive: DriveInfo;
  traits: Traits;
  uuid: string;
  /** Reading past every cache can be asked of this drive. */
  direct: boolean;
}

/**
 * `rot`: other content, everything else as recorded · `unreadable` · `differs`: both sides disagree on content that was
 * never recorded · `edited` · `missing`. The first three are damage; the others are for a sync to decide.
 */
export type FindingKind = 'rot' | 'unreadable' | 'differs' | 'edited' | 'missing';

export interface Finding {
  path: string;
  side: Side;
  kind: FindingKind;
  size: number;
  /** One sentence. */
  message: string;
  healed: boolean;
  /** Where the damaged file is kept, from its drive's root; null unless it was healed. */
  version: string | null;
}

/** A finding with what healing it needs. */
export interface Case {
  finding: Finding;
  row: BaselineRow;
  seen: ScrubResult;
}

/** Opens the wanted drives of a group, and proves that they are the right ones. The other one may be away. */
export async function openSides(group: Group, wanted: readonly Side[], ctx: Context): Promise<OpenSide[]> {
  const { problem, ...found } = matchPair(group, await listDrives(ctx), ctx);
  if (problem) throw problem;
  const sides: OpenSide[] = [];
  try {
    for (const side of wanted) {
      const drive = found[side];
      const known = group[`${side}_drive`];
      if (!drive) {
        const other = side === 'master' ? 'backup' : 'master';
        throw new TandemError(
          'drive_missing',
          `The ${ROLE_NAME[side]} '${displayPath(known.label)}' of group '${displayPath(group.name)}' is not connected${silence()}.`,
          { hint: `Plug it in, or read the other drive alone with --side ${other}.` },
        );
      }
      const root = openDriveRoot(drive.mount_path, drive.label);
      const traits = traitsOf(root, drive);
      const open = { side, root, drive, traits, uuid: known.drive_uuid ?? '', direct: false };
      sides.push(open);
      assertSide(root, known.drive_uuid ?? '');
      open.direct = await readsPastCache(root, drive, ctx);
    }
    return sides;
  } catch (error) {
    closeSides(sides);
    throw error;
  }
}

export function closeSides(sides: readonly OpenSide[]): void {
  for (const { root } of sides) closeDriveRoot(root);
}

/** Those of an open pair; they are closed with it. */
export async function sidesOf(pair: OpenPair, wanted: readonly Side[], ctx: Context): Promise<OpenSide[]> {
  const sides: OpenSide[] = [];
  for (const side of wanted) {
    const [root, drive] = [pair[side], pair[`${side}Drive`]];
    const direct = await readsPastCache(root, drive, ctx);
    sides.push({ side, root, drive, traits: pair[`${side}Traits`], uuid: pair[`${side}Uuid`], direct });
  }
  return sides;
}

/** What worker threads need to read these drives; nothing can be written with it. */
export function readingSession(sides: readonly OpenSide[], operation: string): TransferSession {
  const at = (side: Side): OpenSide => (sides.find((one) => one.side === side) ?? sides[0]) as OpenSide;
  const [master, backup] = [at('master'), at('backup')];
  return {
    master: master.root.dir,
    backup: backup.root.dir,
    reversed: false,
    masterStable: master.traits.stable_ids,
    masterClock: clockRules(master.traits.stable_ids, master.traits.mtime_granularity_ns),
    operation,
    owner: false,
    traits: {
      stable: backup.traits.stable_ids,
      permissions: false,
      hardLinks: false,
      exchange: false,
      minTime: 0,
      maxTime: 0,
    },
  };
}

/** What a run will read. */
export interface ScrubPlan {
  /** Rows with a checksum, for each side by itself. */
  recorded: { side: OpenSide; rows: BaselineRow[] }[];
  /** Rows without one, read on both sides. */
  unrecorded: BaselineRow[];
  files: number;
  bytes: number;
  /** Left out because they were read since `since`. */
  recent: number;
}

export interface ScrubChoice {
  /** Percentage by bytes of what was read longest ago; null: everything. */
  sample: number | null;
  /** What was found good at or after this moment (ISO 8601) is not read again; null: read everything. */
  since: string | null;
}

/** Chooses what to read. */
export function chooseRows(
  rows: readonly BaselineRow[],
  dates: ReadonlyMap<string, Verified>,
  sides: readonly OpenSide[],
  { sample, since }: ScrubChoice,
): ScrubPlan {
  const files = rows.filter(({ master_facts }) => master_facts === '' || master_facts.startsWith('f'));
  const both = sides.length === 2;
  const plan: ScrubPlan = { recorded: [], unrecorded: [], files: 0, bytes: 0, recent: 0 };
  for (const side of sides) {
    const date = ({ path }: BaselineRow): string => dates.get(path)?.[side.side] ?? '';
    const candidates = files.filter(({ checksum }) => both || checksum !== '');
    const due = candidates.filter((row) => since === null || date(row) < since);
    const chosen = sample === null ? due : oldestShare(due, date, sample, candidates);
    if (sample === null) plan.recent += candidates.length - due.length;
    plan.recorded.push({ side, rows: chosen.filter(({ checksum }) => checksum !== '') });
    if (both && side === sides[0]) plan.unrecorded = chosen.filter(({ checksum }) => checksum === '');
  }
  const readings = [...plan.recorded.map((one) => one.rows), plan.unrecorded, plan.unrecorded];
  plan.files = readings.reduce((sum, some) => sum + some.length, 0);
  plan.bytes = readings.flat().reduce((sum, { size }) => sum + size, 0);
  return plan;
}

/** What a run found, counted up while it goes on. One count is one file on one side. */
export interface Tally {
  verified: number;
  bytes: number;
  /** Checksums that were not known before, by path. */
  learned: number;
  /** Not read, because the run was cancelled. */
  stopped: number;
  level: 'none' | 'cache' | 'device';
  cases: Case[];
}

export interface ScrubTask {
  plan: ScrubPlan;
  sides: readonly OpenSide[];
  pool: WorkerPool;
  lanes: number;
  pairId: number;
  /** For checksums that are not recorded yet. */
  algorithm: Digest;
  cancelled(): boolean;
  tally: Tally;
}

/** Reads everything that the plan names, the drives side by side. @throws TandemError when a drive is gone. */
export async function scrubRows(task: ScrubTask, ctx: Context): Promise<void> {
  const { plan, sides } = task;
  const outcomes = await Promise.allSettled(plan.recorded.map((one) => scrubSide(task, one.side, one.rows, ctx)));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  if (sides.length === 2) await learn(task, ctx);
}

/** What one look at a file means against its record. */
export function judge(
  row: BaselineRow,
  side: Side,
  seen: ScrubResult,
): { kind: FindingKind; message: string } | 'good' {
  const recorded = row[`${side}_facts`];
  switch (seen.state) {
    case 'read':
      if (seen.checksums[0] === row.checksum) return 'good';
      return hasSettled(row.doubt) && sameMoment(recorded, seen.facts)
        ? { kind: 'rot', message: 'the content changed while size, times and file id did not' }
        : { kind: 'edited', message: 'was changed since it was last synced' };
    case 'missing':
      return { kind: 'missing', message: seen.message };
    case 'unreadable':
      return { kind: 'unreadable', message: seen.message };
    default:
      return { kind: 'edited', message: seen.message };
  }
}

// --- internal ---

/** Oldest first, never read before all; a file without content counts as a byte, so that its turn comes and passes. */
function oldestShare(
  due: readonly BaselineRow[],
  date: (row: BaselineRow) => string,
  percent: number,
  all: readonly BaselineRow[],
): BaselineRow[] {
  const weight = ({ size }: BaselineRow): number => Math.max(1, size);
  let left = (all.reduce((sum, row) => sum + weight(row), 0) * percent) / 100;
  const chosen: BaselineRow[] = [];
  for (const row of due.toSorted((a, b) => compare(date(a), date(b)) || compare(a.path, b.path))) {
    if (left <= 0) break;
    left -= weight(row);
    chosen.push(row);
  }
  return chosen.sort((a, b) => compare(a.path, b.path));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Kind, size, mtime, ctime and file id. Permissions and owner move no content, nor does a drive keep them everywhere. */
function sameMoment(recorded: string, now: string): boolean {
  return [0, 1, 2, 3, 4].every((field) => factsField(recorded, field) === factsField(now, field));
}

async function scrubSide(task: ScrubTask, side: OpenSide, rows: readonly BaselineRow[], ctx: Context): Promise<void> {
  const groups = groupBySize(rows);
  const good = new Batches<readonly BaselineRow[]>((batch) => markVerified(task.pairId, side.side, batch.flat(), ctx));
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < groups.length && !task.cancelled()) {
      const group = groups[next] as BaselineRow[];
      next += 1;
      const results = await readRows(task, side, group, (row) => row.checksum_algorithm as Digest);
      const found = sort(task.tally, side.side, group, results);
      good.add(
        found,
        found.reduce((sum, { size }) => sum + size, 0),
        found.length,
      );
      await good.turn();
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: task.lanes }, lane));
  task.tally.stopped += groups.slice(next).flat().length;
  await good.finish();
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

async function readRows(
  { pool }: ScrubTask,
  side: OpenSide,
  rows: readonly BaselineRow[],
  formatOf: (row: BaselineRow) => Digest,
): Promise<ScrubResult[]> {
  const formats = new Set(rows.map(formatOf));
  const items = rows.map((row) => ({ path: row.path, ...contentOf(row, side.side), formats: [formatOf(row)] }));
  const results = await pool.run('scrub', side.side, items, side.direct, [...formats]);
  // A pulled drive looks like a thousand files that are gone.
  if (results.some(({ state }) => state === 'missing' || state === 'unreadable')) assertSide(side.root, side.uuid);
  return results;
}

/** A stored file has a length of its own. */
function contentOf(row: BaselineRow, side: Side): { size: number; stored: Suffix } {
  const stored = side === 'backup' ? recordedSuffix(row) : '';
  return { size: stored === '' ? row.size : Number(factsField(row.backup_facts, 1)), stored };
}

/** Takes the findings; returns the rows that are good. */
function sort(tally: Tally, side: Side, rows: readonly BaselineRow[], results: readonly ScrubResult[]): BaselineRow[] {
  const good: BaselineRow[] = [];
  results.forEach((seen, index) => {
    const row = rows[index] as BaselineRow;
    if (seen.state === 'stopped') {
      tally.stopped += 1;
      return;
    }
    if (seen.state === 'read') noteLevel(tally, seen);
    const verdict = judge(row, side, seen);
    if (verdict !== 'good') {
      tally.cases.push(caseOf(row, side, seen, verdict));
      return;
    }
    tally.verified += 1;
    tally.bytes += row.size;
    good.push(row);
  });
  return good;
}

function noteLevel(tally: Tally, { direct }: ScrubResult): void {
  if (!direct) tally.level = 'cache';
  else if (tally.level === 'none') tally.level = 'device';
}

function caseOf(row: BaselineRow, side: Side, seen: ScrubResult, what: { kind: FindingKind; message: string }): Case {
  return { row, seen, finding: { path: row.path, side, size: row.size, ...what, healed: false, version: null } };
}

/** Rows that were adopted by size and time: where both sides hold the same, its checksum is recorded. */
async function learn(task: ScrubTask, ctx: Context): Promise<void> {
  const [master, backup] = task.sides as [OpenSide, OpenSide];
  for (const group of groupBySize(task.plan.unrecorded)) {
    if (task.cancelled()) {
      task.tally.stopped += group.length;
      continue;
    }
    const read = (side: OpenSide): Promise<ScrubResult[]> => readRows(task, side, group, () => task.algorithm);
    const [ones, others] = await Promise.all([read(master), read(backup)]);
    const learned = group.flatMap((row, index) => {
      const [one, other] = [ones[index] as ScrubResult, others[index] as ScrubResult];
      const checksum = compareSides(task.tally, row, one, other);
      return checksum === undefined ? [] : [{ row, checksum }];
    });
    await recordChecksums(task.pairId, task.algorithm, learned, ctx);
    task.tally.learned += learned.length;
  }
}

/** The checksum to be recorded: both sides hold the same, and are what was adopted. */
function compareSides(tally: Tally, row: BaselineRow, one: ScrubResult, other: ScrubResult): string | undefined {
  const looks = [['master', one] as const, ['backup', other] as const];
  if (looks.some(([, { state }]) => state === 'stopped')) {
    tally.stopped += looks.length;
    return undefined;
  }
  const held = looks.every(([side, seen]) => seen.state === 'read' && sameMoment(row[`${side}_facts`], seen.facts));
  const equal = one.checksums[0] === other.checksums[0];
  for (const [side, seen] of looks) {
    if (seen.state === 'read') noteLevel(tally, seen);
    if (held && equal) {
      tally.verified += 1;
      tally.bytes += row.size;
    } else if (held && hasSettled(row.doubt)) {
      const message = 'both sides differ, and it was never recorded which is right';
      tally.cases.push(caseOf(row, side, seen, { kind: 'differs', message }));
    } else if (seen.state !== 'read' || !equal) {
      const verdict = judge({ ...row, doubt: 'racy' }, side, seen);
      if (verdict !== 'good') tally.cases.push(caseOf(row, side, seen, verdict));
    }
  }
  return held && equal && row.doubt === '' ? one.checksums[0] : undefined;
}
