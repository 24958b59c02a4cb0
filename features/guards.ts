/**
 * What should stop a run that could be carried out: a Master that is suddenly empty, more deleted or replaced than a day's
 * work would explain, too little room. A guard refuses with exit code 6, says what the run would have done, and is lifted
 * by name. (Which drive is which is no guard: nothing lifts that.)
 */
import type { Context } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import { Filter, type FilterOptions } from '../shared/filters.ts';
import { formatBytes, plural } from '../shared/format.ts';
import { Entry, factsField } from '../shared/listing.ts';
import { acknowledgeLosses, lostSince, notedFilter } from '../shared/pair-notes.ts';
import { displayPath, isInside } from '../shared/paths.ts';
import { waitingBytes } from '../shared/resume.ts';
import { freeBytes } from '../shared/store.ts';
import type { BaselineRow } from './history.ts';
import type { Action } from './reconcile.ts';
import type { OpenPair } from './session.ts';
import type { Survey } from './survey.ts';

export interface Guard {
  /** For `--force NAME`. */
  name: 'empty-master' | 'mass-change' | 'free-space';
  message: string;
  hint: string;
}

/** What the guards look at. */
export interface Guarded {
  pair: OpenPair;
  subpath: string;
  /** Of the run, moves found. */
  actions: readonly Action[];
  /** The baseline at and below `subpath`. */
  rows: readonly BaselineRow[];
  found: Survey;
  filter: Filter;
  /** Null: these drives were never synced with each other. */
  pairId: number | null;
}

/** Every guard that refuses this run; reads only. */
export async function guardsOf(guarded: Guarded, ctx: Context): Promise<Guard[]> {
  const empty = emptyMaster(guarded);
  return [...empty, ...(empty.length > 0 ? [] : await massChange(guarded, ctx)), ...tooLittleSpace(guarded)];
}

/** @throws TandemError `guard` (exit 6) for the first guard that the user has not lifted. */
export function assertGuards({ guards, totals }: { guards: readonly Guard[]; totals: object }, ctx: Context): void {
  const guard = guards.find(({ name }) => !ctx.force.has('all') && !ctx.force.has(name));
  if (guard)
    throw new TandemError('guard', guard.message, { guard: guard.name, hint: guard.hint, details: { totals } });
}

/** A run that was forced past a guard against losses counts as meant: later runs count from here. */
export async function acknowledgeForced(guards: readonly Guard[], pairId: number, ctx: Context): Promise<void> {
  if (guards.some(({ name }) => name !== 'free-space')) await acknowledgeLosses(pairId, ctx);
}

/** A filter that leaves out more than the last run's did: its files stay as they are on the Backup, and the run says so. */
export async function sayWhatIsNewlyLeftOut(
  now: { rows: readonly BaselineRow[]; filter: Filter; options: FilterOptions; pairId: number | null },
  ctx: Context,
): Promise<void> {
  const { rows, filter, options, pairId } = now;
  const noted = pairId === null ? '' : await notedFilter(pairId, ctx);
  const former = noted === filterText(options) ? undefined : formerFilter(noted, ctx);
  if (!former) return;
  const left = rows.filter((row) => leavesOut(filter, row) && !leavesOut(former, row)).length;
  if (left === 0) return;
  ctx.emit({
    kind: 'note',
    message: `The filter changed: ${plural(left, 'file')} that ${left === 1 ? 'was' : 'were'} in sync ${left === 1 ? 'is' : 'are'} left out now. What the Backup has of ${left === 1 ? 'it' : 'them'} stays as it is.`,
  });
}

/** A filter as it is noted with the pair (shared/pair-notes.ts). */
export function filterText(options: FilterOptions): string {
  return JSON.stringify(options ?? null);
}

// --- internal ---

function formerFilter(noted: string, ctx: Context): Filter | undefined {
  try {
    const options = JSON.parse(noted === '' ? 'null' : noted) as FilterOptions | null;
    return options ? new Filter(options, ctx.now()) : undefined;
  } catch {
    return undefined; // Its preset is gone, or another version wrote it.
  }
}

function leavesOut(filter: Filter, { path, master_facts }: BaselineRow): boolean {
  if (master_facts.startsWith('d')) return false;
  const entry = new Entry(master_facts, path);
  return filter.excludesAny(path) || (filter.limits && filter.beyondLimits(entry.size, entry.mtime));
}

function emptyMaster({ rows, found, subpath, filter }: Guarded): Guard[] {
  if (found.masterFiles > 0 || found.master.unknown.length > 0) return [];
  const files = rows.filter(
    ({ path, master_facts }) => !master_facts.startsWith('d') && !filter.excludesAny(path),
  ).length;
  if (files === 0) return [];
  const where = subpath === '' ? 'The Master' : `The folder '${displayPath(subpath)}' on the Master`;
  return [
    {
      name: 'empty-master',
      message: `${where} is empty, but ${plural(files, 'file')} of it ${files === 1 ? 'is' : 'are'} recorded as synced: this run would treat all of them as deleted.`,
      hint: 'Check that the right drive is mounted and readable. If you emptied it on purpose, repeat with --force empty-master.',
    },
  ];
}

const DAY = 86_400_000;
/** Below both of these nothing is a mass. */
const MANY_FILES = 20;
const MANY_BYTES = 1024 ** 3;

/**
 * Deleted and replaced files of a day, this run's with those of the runs before it, against what was recorded when the day
 * began. Added up, because a drive that loses its files bit by bit loses them all the same.
 */
async function massChange({ actions, rows, subpath, pairId, pair }: Guarded, ctx: Context): Promise<Guard[]> {
  const planned = actions.flatMap(lossOf);
  if (planned.length === 0 || pairId === null) return [];
  const since = new Date(ctx.now().getTime() - DAY);
  const earlier = (await lostSince(pairId, pair.group.id, since, ctx)).filter(({ path }) => isInside(path, subpath));
  const lost = new Map([...earlier, ...planned].map(({ path, size }) => [path, size]));
  const known = new Map(earlier.map(({ path, size }) => [path, size]));
  for (const { path, size, master_facts } of rows) if (!master_facts.startsWith('d')) known.set(path, size);
  const bytesOf = (files: ReadonlyMap<string, number>): number =>
    [...files.values()].reduce((sum, one) => sum + one, 0);
  const [bytes, all] = [bytesOf(lost), bytesOf(known)];
  if (lost.size < MANY_FILES && bytes < MANY_BYTES) return [];
  if (lost.size * 2 <= known.size && bytes * 2 <= all) return [];
  const deleted = actions.filter(({ kind, entry }) => kind === 'delete' && entry !== 'd').length;
  const before = lost.size > planned.length ? `, ${plural(lost.size, 'file')} together with the last 24 hours` : '';
  return [
    {
      name: 'mass-change',
      message: `This run would delete ${plural(deleted, 'file')} and replace ${planned.length - deleted} (${formatBytes(bytesOf(new Map(planned.map(({ path, size }) => [path, size]))))})${before}: more than half of the ${plural(known.size, 'file')} (${formatBytes(all)}) that were in sync.`,
      hint: 'Nothing was changed. Look at `tandem sync run GROUP --dry-run`; if all of it is meant, repeat with --force mass-change: versions are kept in the trash.',
    },
  ];
}

/** A file of the Backup that leaves its place: deleted, replaced, or gone with a folder that gives way to a file. */
function lossOf({ kind, path, backup }: Action): { path: string; size: number }[] {
  const leaves = kind === 'delete' || kind === 'update' || kind === 'forget';
  if (!leaves || backup === null || backup.startsWith('d')) return [];
  return [{ path, size: Number(factsField(backup, 1)) }];
}

const BLOCK = 4096;

/**
 * A replaced file keeps its room as a version while the new one is written, so every copy counts in full and nothing is
 * given back; a deleted one only changes its name. Sparse files count as nothing: what they will take is not known before
 * their holes are.
 */
function tooLittleSpace({ actions, pair }: Guarded): Guard[] {
  let needed = 0;
  let largest = 0;
  for (const action of actions) {
    const copied = action.kind === 'copy' || action.kind === 'update';
    if (action.kind === 'mkdir') needed += BLOCK;
    else if (copied && action.link_to === undefined && !action.sparse) needed += rounded(action.size);
    // A file that is only stored in another form gives its room back: there has to be room for one at a time.
    else if (action.kind === 'convert') largest = Math.max(largest, rounded(action.size));
    // A version of a file with several names is a copy of its own.
    if ((copied || action.kind === 'delete') && action.backup_shared && action.backup !== null)
      needed += rounded(Number(factsField(action.backup, 1)));
  }
  needed += largest;
  // Parts of large files that wait on the drive are built upon or freed.
  const free = freeBytes(pair.backup) + waitingBytes(pair.backup.dir);
  if (needed <= free) return [];
  return [
    {
      name: 'free-space',
      message: `The Backup '${displayPath(pair.backup.label)}' has ${formatBytes(free)} free, but this run needs ${formatBytes(needed)} (replaced files are kept as versions).`,
      hint: 'Free some space on the Backup, sync a part with --path, or leave files out with --exclude; --force free-space copies as much as fits.',
    },
  ];
}

function rounded(bytes: number): number {
  return Math.ceil(bytes / BLOCK) * BLOCK;
}
