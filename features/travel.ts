/**
 * State travels with the drives. Before a run this compares what both drives carry of the pair with the database: takes
 * the drives' record over where this computer has none or an older one, and where a drive was rolled back, a record is
 * unknown or anything else is doubtful, makes the run a *careful* one, which deletes and overwrites nothing. After the
 * run it brings the new record to both drives. How the record is kept is in shared/state.ts and shared/carry.ts.
 */
import {
  type Carrier,
  carriedRows,
  carryState,
  hasChanges,
  type KnownPair,
  knownPair,
  takeOver,
  writeNotes,
} from '../shared/carry.ts';
import type { Context } from '../shared/context.ts';
import { assertSound } from '../shared/db.ts';
import { messageOf, type Problem, TandemError } from '../shared/errors.ts';
import { carriedGroup, type Group, listGroups, type Role } from '../shared/groups-file.ts';
import type { DriveLock } from '../shared/lock.ts';
import { displayPath } from '../shared/paths.ts';
import { usableSerial } from '../shared/platform.ts';
import { type DriveState, readState } from '../shared/state.ts';
import { readSignature } from './detect.ts';
import { ensurePair, markInterrupted } from './history.ts';
import { ROLE_NAME } from './pairs.ts';
import { assertIdentity, type OpenPair } from './session.ts';

/** One run's way: what it found on the drives, and what it owes them at its end. */
export interface Journey {
  pair: OpenPair;
  /** The drives that carry the state, the Master first; a read-only Master carries none. */
  carriers: Carrier[];
  opened: boolean;
  problems: Problem[];
}

/** How far the clock may go back between two runs: people cross time zones, and two systems on one computer disagree. */
const CLOCK_SLACK_MS = 86_400_000;

/**
 * For a run that writes nothing: says in the pair whether it has to be careful, and lends it the rows that the drives
 * carry where a run would take them over.
 */
export async function lookAhead(pair: OpenPair, ctx: Context): Promise<void> {
  const found = await inspect(pair, ctx);
  pair.careful = found.doubt === '' ? null : found.doubt;
  for (const source of found.sources) {
    try {
      pair.borrowed = await carriedRows(source);
      return;
    } catch (error) {
      pair.careful = unusable(source, error, found.known) ?? pair.careful;
    }
  }
}

/**
 * Start of a run, with the drives locked: brings the database to what the drives carry.
 * @throws TandemError `guard` (`identity`) when the drives are signed for the opposite roles, `database` when the database
 * was damaged by a crash.
 */
export async function arrive(pair: OpenPair, ctx: Context): Promise<Journey> {
  if ((await markInterrupted(ctx)) > 0) await assertSound(await ctx.db(), ctx.dataDir);
  const { carriers, sources, known, problems, ...found } = await inspect(pair, ctx);
  let doubt = found.doubt;
  let taken = false;
  for (const source of sources) {
    if (taken) break;
    try {
      const id = known?.id ?? (await ensurePair(pair.group.id, pair.masterUuid, pair.backupUuid, ctx));
      await takeOver(id, pair.group.id, source, ctx);
      taken = true;
    } catch (error) {
      doubt ||= unusable(source, error, known) ?? '';
      problems.push({ path: PLACE, message: `the state of '${source.root.label}' was not used: ${messageOf(error)}` });
    }
  }
  if (taken)
    say(
      'Took over what the drives carry of this pair: another computer synced them, or this one lost its record.',
      ctx,
    );
  pair.careful = doubt === '' ? null : doubt;
  if (pair.careful !== null) say(`Careful run: ${pair.careful} Nothing is deleted or overwritten.`, ctx);
  return { pair, carriers, opened: false, problems };
}

/** Before the first write of a run: notes on both drives that it began, so that a drive that misses it gives itself away. */
export function depart(journey: Journey, operation: string, ctx: Context): void {
  const { pair, carriers } = journey;
  const shared = carriers.length === 2;
  // What the Backup saw last, also where a run was killed before it noted itself there.
  const before = carriers.at(-1)?.state?.open ?? '';
  for (const carrier of carriers) {
    const state = carrier.state ?? blankState(pair, ctx);
    const open = shared ? { open: operation, before } : {};
    const next = {
      ...state,
      ...open,
      opened_at: ctx.now().toISOString(),
      doubt: pair.careful ?? '',
      group: carriedGroup(recordedGroup(pair, ctx)),
    };
    const problem = writeNotes(carrier, next);
    // The Master is noted first: a Backup that misses an unfinished run is no doubt, the other way round it is.
    if (problem) {
      journey.problems.push(problem);
      return;
    }
    carrier.state = next;
  }
  journey.opened = true;
}

/**
 * End of a run: brings what it recorded to both drives. Writes nothing when nothing changed. What fails is a problem of
 * the run; the drives keep their former state, and the next run makes up for it.
 * @param settled the run looked at all of both drives and came to its end: a doubt is settled.
 */
export async function arriveHome(
  journey: Journey,
  run: { operation: string; settled: boolean; locks: readonly DriveLock[] },
  ctx: Context,
): Promise<Problem[]> {
  const { pair, carriers, opened, problems } = journey;
  try {
    const known = await knownPair(pair.masterUuid, pair.backupUuid, ctx);
    if (!known) return problems;
    const behind = known.generation !== '' && carriers.some(({ state }) => state?.generation !== known.generation);
    const settles = pair.careful !== null && run.settled;
    if (!opened && !behind && !settles && !(await hasChanges(known, ctx))) return problems;
    assertIdentity(pair);
    for (const lock of run.locks) lock.confirm();
    const last = carriers.at(-1)?.state ?? blankState(pair, ctx);
    const notes = {
      master_uuid: pair.masterUuid,
      backup_uuid: pair.backupUuid,
      group: carriedGroup(recordedGroup(pair, ctx)),
      open: carriers.length === 2 ? run.operation : last.open,
      before: last.before,
      opened_at: opened ? last.opened_at : ctx.now().toISOString(),
      closed: run.operation,
      doubt: run.settled ? '' : (pair.careful ?? ''),
    };
    problems.push(...(await carryState(known, carriers.toReversed(), notes, ctx)));
  } catch (error) {
    problems.push({ path: PLACE, message: `the state could not be brought to the drives: ${messageOf(error)}` });
  }
  return problems;
}

// --- internal ---

const PLACE = '.tandem/state';

interface Findings {
  known: KnownPair | null;
  carriers: Carrier[];
  /** Where to take the record over from, the best first; none: the database's holds. */
  sources: Carrier[];
  /** Why the run has to be careful; empty: it need not. */
  doubt: string;
  problems: Problem[];
}

/** Reads only. */
async function inspect(pair: OpenPair, ctx: Context): Promise<Findings> {
  checkRoles(pair);
  const known = await knownPair(pair.masterUuid, pair.backupUuid, ctx);
  const problems: Problem[] = [];
  const carrier = (role: Role): Carrier => {
    const root = pair[role];
    const { state, problem } = readState(root.dir);
    if (problem !== null)
      problems.push({ path: PLACE, message: `the state of '${root.label}' is not used: ${problem}` });
    const own = state?.master_uuid === pair.masterUuid && state.backup_uuid === pair.backupUuid;
    return { root, state: own ? state : null };
  };
  const backup = carrier('backup');
  const master = pair.masterDrive.read_only ? null : carrier('master');
  const carriers = master ? [master, backup] : [backup];
  const record = master ? newest(master, backup) : { sources: [backup], fork: '' };
  const head = record.sources.find(({ state }) => state && state.generation !== '')?.state ?? null;
  const doubts = [
    stickyDoubt(carriers),
    master ? missedRun(pair, master.state, backup.state) : '',
    record.fork,
    strayed(known, head, carriers),
    ...(['master', 'backup'] as const).map((role) => otherSerial(pair, role)),
    clockDoubt(carriers, ctx),
  ];
  const doubt = ctx.force.has('careful') ? '' : (doubts.find((one) => one !== '') ?? '');
  const takes = head !== null && head.generation !== known?.generation && !isStray(known, head);
  const sources = takes ? record.sources.filter(({ state }) => state && state.generation !== '') : [];
  return { known, carriers, sources, doubt, problems };
}

/** Another computer may have exchanged the roles: then what is the Backup here is the Master there. */
function checkRoles(pair: OpenPair): void {
  for (const role of ['master', 'backup'] as const) {
    const signed = readSignature(pair[role].dir.path)?.role ?? role;
    if (signed === role) continue;
    throw new TandemError(
      'guard',
      `'${displayPath(pair[role].label)}' is the ${ROLE_NAME[role]} of '${displayPath(pair.group.name)}' here, but it is signed as the ${ROLE_NAME[signed]}: the roles were exchanged on another computer.`,
      { guard: 'identity', hint: 'Nothing was written. Take the roles over with `tandem groups adopt`.' },
    );
  }
}

/** Which drive's record is the newer one: one descends from the other, or neither does. */
function newest(master: Carrier, backup: Carrier): { sources: Carrier[]; fork: string } {
  const [m, b] = [master.state, backup.state];
  if (!m || m.generation === '') return { sources: [backup], fork: '' };
  if (!b || b.generation === '') return { sources: [master], fork: '' };
  if (m.generation === b.generation) return { sources: [backup, master], fork: '' };
  if (m.ancestors.includes(b.generation)) return { sources: [master], fork: '' };
  if (b.ancestors.includes(m.generation)) return { sources: [backup], fork: '' };
  return { sources: [backup, master], fork: 'Master and Backup carry records that do not follow from each other.' };
}

function stickyDoubt(carriers: readonly Carrier[]): string {
  return carriers.find(({ state }) => state && state.doubt !== '')?.state?.doubt ?? '';
}

/** A drive that was rolled back, or restored from an image, never saw its twin's last run. */
function missedRun(pair: OpenPair, m: DriveState | null, b: DriveState | null): string {
  const rolledBack = (role: Role): string =>
    `The ${ROLE_NAME[role]} '${displayPath(pair[role].label)}' did not see the last run that '${displayPath(pair[role === 'master' ? 'backup' : 'master'].label)}' saw: it was restored from an older copy, or its state is lost.`;
  const [mine, theirs] = [m?.open ?? '', b?.open ?? ''];
  if (mine === theirs) return '';
  // Noted on the Master first: this run was killed before it could note itself on the Backup, and so wrote nothing.
  if (m && theirs === m.before && m.closed !== mine) return '';
  if (!m || !b) return rolledBack(m ? 'backup' : 'master');
  return rolledBack(m.opened_at < b.opened_at ? 'master' : 'backup');
}

/** The database knows a generation that the drives' record does not descend from. */
function isStray(known: KnownPair | null, head: DriveState): boolean {
  if (!known || known.generation === '' || known.generation === head.generation) return false;
  return !head.ancestors.includes(known.generation);
}

function strayed(known: KnownPair | null, head: DriveState | null, carriers: readonly Carrier[]): string {
  if (head && isStray(known, head))
    return 'Both drives carry a record that this computer has already left behind, or does not know.';
  if (head || !known || known.generation === '') return '';
  return carriers.length === 2
    ? 'Both drives lost the record that they carried.'
    : 'The Backup lost the record that it carried.';
}

function otherSerial({ group, masterDrive, backupDrive }: OpenPair, role: Role): string {
  const recorded = usableSerial(group[`${role}_drive`].serial_number);
  const found = usableSerial((role === 'master' ? masterDrive : backupDrive).serial_number);
  if (recorded === null || found === null || recorded === found) return '';
  const name = displayPath(group.name);
  return `The ${ROLE_NAME[role]} of '${name}' has the serial number ${displayPath(found)}, recorded is ${displayPath(recorded)}; another dock is harmless, a copied drive is not. If it is right: tandem groups edit ${group.id} --${role} DRIVE.`;
}

/** A clock that is ahead is no doubt: drives lie in drawers for years. */
function clockDoubt(carriers: readonly Carrier[], ctx: Context): string {
  const last = Math.max(
    ...carriers.map(({ state }) => Date.parse(state?.opened_at ?? '')).filter((time) => time > 0),
    0,
  );
  if (ctx.now().getTime() >= last - CLOCK_SLACK_MS) return '';
  return `The clock says ${ctx.now().toISOString().slice(0, 16)}, but the last run was at ${new Date(last).toISOString().slice(0, 16)}: one of the two is wrong.`;
}

/** Without a baseline every path is compared anyway; with an older one the run has to be careful. */
function unusable(source: Carrier, error: unknown, known: KnownPair | null): string | undefined {
  return known === null
    ? undefined
    : `The state of '${displayPath(source.root.label)}' cannot be used: ${displayPath(messageOf(error))}.`;
}

function blankState(pair: OpenPair, ctx: Context): DriveState {
  return {
    tandem_state: 1,
    master_uuid: pair.masterUuid,
    backup_uuid: pair.backupUuid,
    group: carriedGroup(recordedGroup(pair, ctx)),
    open: '',
    before: '',
    opened_at: '',
    closed: '',
    doubt: '',
    generation: '',
    ancestors: [],
    files: [],
  };
}

function say(message: string, ctx: Context): void {
  ctx.emit({ kind: 'note', message });
}

/** As the groups file has it: a project's options are no business of the drives. */
function recordedGroup({ group }: OpenPair, ctx: Context): Group {
  return listGroups(ctx).find(({ id }) => id === group.id) ?? group;
}
