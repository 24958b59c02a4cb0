/**
 * What would a sync do? Opens both drives, proves that they are the right ones, lists both trees at once and, only where
 * they differ from what was recorded, lets `reconcile` decide. Reads only: a dry run prints the very object that
 * `sync.ts` carries out.
 */
import { existsSync } from 'node:fs';
import type { Context } from '../shared/context.ts';
import { type Problem, TandemError } from '../shared/errors.ts';
import { Filter } from '../shared/filters.ts';
import { plural } from '../shared/format.ts';
import { isKeyed, type Recorded } from '../shared/hash.ts';
import { type OpenConflict, readConflicts } from '../shared/inbox.ts';
import { Entry, eachRecord } from '../shared/listing.ts';
import {
  baseName,
  isInside,
  isInsideAny,
  isWindowsFamily,
  type KeyRules,
  nameProblem,
  parentOf,
  type RelPath,
  timeLimits,
} from '../shared/paths.ts';
import { mountsBelow, type Scan, walkTree } from '../shared/scan.ts';
import { isStoredWell, PLAIN, type Storing, SUFFIXES, splitStored, suffixFor } from '../shared/stored.ts';
import { bornAt, settableGranularity, statAt } from '../shared/syscalls.ts';
import { withoutCollisions } from './colliding.ts';
import type { Traits } from './detect.ts';
import { type Checksums, keyIfAny, readContents } from './evidence.ts';
import { type Guard, guardsOf, sayWhatIsNewlyLeftOut } from './guards.ts';
import { type BaselineRow, findPair, readBaseline } from './history.ts';
import { findMoves, type MoveRules, type Moves, withEmptied } from './moves.ts';
import {
  type Action,
  type Evidence,
  keyOf,
  type Need,
  type Reconciled,
  type Rules,
  reconcile,
  type SideRules,
  type Trees,
} from './reconcile.ts';
import {
  carriesOwner,
  LOOKING,
  type OpenPair,
  OS_JUNK,
  recordedAlgorithm,
  type SyncOptions,
  workersOf,
} from './session.ts';
import { allStoredWell, formsOf, haveKey, lacksRing, storingOf } from './storing.ts';
import { type Double, type OpenTrees, openTrees, type Survey, survey } from './survey.ts';
import type { Target } from './targets.ts';
import { hold, noLonger } from './waiting.ts';

export interface PlanTotals {
  copy: number;
  update: number;
  /** Files that are stored in another form, with the same content. */
  convert: number;
  delete: number;
  conflict: number;
  files: number;
  bytes: number;
  /** Files that keep their content and get another name. */
  move: number;
  skipped: number;
}

/** What the plan is for; a project's part has its id and, when it has several, the role. */
export interface PlanTarget {
  kind: 'group' | 'project';
  group_id: string;
  name: string;
  subpath: string;
  project_id?: string;
  role?: string;
}

export interface Plan {
  tandem_plan: 1;
  target: PlanTarget;
  master_uuid: string;
  backup_uuid: string;
  created_at: string;
  /** Why nothing is deleted or overwritten; null: an ordinary run. */
  careful: string | null;
  options: SyncOptions;
  actions: Action[];
  totals: PlanTotals;
  /** Paths that cannot be done, or not exactly as they are. */
  problems: Problem[];
  /** Files among the problems that will not be copied at all. */
  failed: number;
  /** Paths that waited for a decision and are no conflict any more. */
  settled: RelPath[];
  /** What refuses the run unless it is forced. */
  guards: Guard[];
}

/**
 * Lists both sides and decides every path; writes nothing. What should stop a run is in `guards`.
 * @param foresee called as soon as it is known that there will be something to do.
 */
export async function makePlan(
  pair: OpenPair,
  target: Target,
  options: SyncOptions,
  ctx: Context,
  foresee: () => void = () => {},
): Promise<Plan> {
  requireFolder(pair, target);
  const filter = new Filter(options.filters, ctx.now());
  const pairId = pair.borrowed ? NO_PAIR : await findPair(pair.masterUuid, pair.backupUuid, ctx);
  const storing = await storingFor(pair, pairId, options, ctx);
  // Of drives that were never synced there will be work: the key is had while they are listed.
  const key = pairId === null && storing.sealed ? haveKey(pair, ctx) : undefined;
  key?.catch(() => {});
  const surveying = survey(pair, target.subpath, filter, keyRules(pair), pairId, storing, ctx);
  if (pairId === null) foresee();
  const found = await surveying;
  const plan = emptyPlan(pair, target, options, ctx);
  if (pair.careful !== null) plan.problems.push({ path: '.tandem/state', message: `careful run: ${pair.careful}` });
  plan.problems.push(...sideProblems(found.master, 'Master'), ...sideProblems(found.backup, 'Backup'));
  // What cannot be read on the Master is not backed up: that is no complete run.
  plan.failed += found.master.unknown.filter(({ why }) => why === 'unreadable').length;
  const believe = !options.checksum && options.incremental;
  const waiting = pairId === null ? [] : await readConflicts(pairId, target.subpath, ctx);
  const converted = pairId === null || (await allStoredWell(pairId, target.subpath, storing, ctx));
  if (found.unchanged && believe && converted && !filter.limits) {
    if (storing.sealed && lacksRing(pair)) await haveKey(pair, ctx);
    plan.totals.skipped = found.masterFiles;
    plan.settled = noLonger(waiting, plan.actions, found, (path) => filter.excludesAny(path));
    return plan;
  }
  if (storing.sealed) await (key ?? haveKey(pair, ctx));
  foresee();
  const recorded = pairId === null ? [] : await rowsOf(pair, pairId, target, ctx);
  const rows = storing.sealed ? recorded : recorded.map(withoutKeyed);
  await decide(plan, { pair, target, options, filter, found, rows, waiting, believe, storing }, ctx);
  await sayWhatIsNewlyLeftOut({ rows, filter, options: options.filters, pairId }, ctx);
  const { actions } = plan;
  plan.guards.push(...(await guardsOf({ pair, subpath: target.subpath, actions, rows, found, filter, pairId }, ctx)));
  return plan;
}

/** The plan without the actions at and below these paths. */
export function withoutPaths(plan: Plan, left: readonly RelPath[]): Plan {
  const places: ReadonlySet<string> = new Set(left);
  // What is to stay at its old name is not to be worked on at its new one either.
  const moves = plan.actions.filter(({ from }) => from !== undefined && isInsideAny(from, places));
  const staying: ReadonlySet<string> = new Set(moves.map(({ path }) => path));
  const actions = plan.actions.filter(({ path }) => !isInsideAny(path, places) && !isInsideAny(path, staying));
  const before = plan.actions.filter(isLeftAsIs).length;
  const kept = { ...plan, actions, totals: { ...noTotals(), skipped: plan.totals.skipped - before } };
  countTotals(kept);
  return kept;
}

/** A plan for the same drives and options that does this and nothing else. */
export function planOf(base: Plan, actions: Action[], problems: Problem[]): Plan {
  const failed = problems.length;
  const plan = { ...base, actions, totals: noTotals(), problems, failed, settled: [], guards: [] };
  countTotals(plan);
  return plan;
}

/** A plan that does nothing yet. */
export function emptyPlan(pair: OpenPair, target: Target, options: SyncOptions, ctx: Context): Plan {
  return {
    tandem_plan: 1,
    target: planTarget(target),
    master_uuid: pair.masterUuid,
    backup_uuid: pair.backupUuid,
    created_at: ctx.now().toISOString(),
    careful: pair.careful,
    options,
    actions: [],
    totals: noTotals(),
    problems: [],
    failed: 0,
    settled: [],
    guards: [],
  };
}

// --- internal ---

/** Has no rows in the database: those that were lent are the baseline. */
const NO_PAIR = -1;

/** Rows that the drives lend are asked as well: the database has none of this pair. */
async function storingFor(pair: OpenPair, pairId: number | null, options: SyncOptions, ctx: Context): Promise<Storing> {
  if (pair.storedSide !== 'backup') return PLAIN;
  const storing = await storingOf(pairId, options, ctx);
  const lent = pair.borrowed?.filter(({ stored_name }) => stored_name !== '') ?? [];
  if (lent.length === 0) return storing;
  const sealed = storing.sealed || lent.some(({ stored_name }) => stored_name.endsWith('.encrypted'));
  return { ...formsOf(options), active: true, sealed };
}

async function rowsOf(pair: OpenPair, pairId: number, { subpath }: Target, ctx: Context): Promise<BaselineRow[]> {
  if (!pair.borrowed) return readBaseline(pairId, subpath, ctx);
  return pair.borrowed.filter(({ path }) => isInside(path, subpath));
}

/** Where nothing is sealed the group's key is not at hand: a keyed checksum that a cut conversion left is as good as none. */
function withoutKeyed(row: BaselineRow): BaselineRow {
  return isKeyed(row.checksum_algorithm) ? { ...row, checksum: '', checksum_algorithm: '' } : row;
}

function requireFolder(pair: OpenPair, target: Target): void {
  if (target.subpath === '' || existsSync(`${pair.master.dir.path}/${target.subpath}`)) return;
  const forms = pair.storedSide === 'backup' ? SUFFIXES : [];
  if (['', ...forms].some((suffix) => existsSync(`${pair.backup.dir.path}/${target.subpath}${suffix}`))) return;
  throw new TandemError('not_found', `There is no folder '${target.subpath}' on '${pair.master.label}'.`, {
    hint: "Give the folder as it is named from the drive's root, for example --path Projects/Wedding.",
  });
}

function planTarget({ group, subpath, project }: Target): PlanTarget {
  const place = { group_id: group.id, subpath };
  if (project === null) return { kind: 'group', name: group.name, ...place };
  const role = project.role === null ? {} : { role: project.role };
  return { kind: 'project', name: project.name, ...place, project_id: project.id, ...role };
}

function noTotals(): Plan['totals'] {
  return { copy: 0, update: 0, convert: 0, delete: 0, conflict: 0, files: 0, bytes: 0, move: 0, skipped: 0 };
}

function sideProblems(scan: Scan, side: string): Problem[] {
  return scan.unknown.map(({ path, message }) => ({
    path,
    message: `on the ${side}: ${message}; nothing at or below it is deleted`,
  }));
}

interface Inputs {
  pair: OpenPair;
  target: Target;
  options: SyncOptions;
  filter: Filter;
  found: Survey;
  rows: BaselineRow[];
  /** What waits for a decision already. */
  waiting: readonly OpenConflict[];
  believe: boolean;
  storing: Storing;
}

/** Sorts out what is equal, lets `reconcile` decide the rest, and fills the plan. */
async function decide(plan: Plan, inputs: Inputs, ctx: Context): Promise<void> {
  const { pair, options, filter, found, rows, believe, target, storing } = inputs;
  const limited = new Set<string>();
  const rules = rulesFor(inputs, limited);
  const open = openTrees(found, rows, filter, rules.keys, believe, storing);
  if (filter.limits) for (const path of beyondLimits(open, filter)) limited.add(path);
  plan.problems.push(...open.problems, ...open.strangers);
  plan.failed += open.problems.length;
  const evidence: Checksums = new Map();
  const settled = async (trees: Trees, places?: Moves['places']): Promise<Reconciled> => {
    let result = reconcile(trees, rules, evidence);
    while (result.needs.length > 0) {
      const needs = result.needs.map((one) => (one.side === 'backup' ? placed(one, places) : one));
      await readContents(needs, evidence, pair, options, plan.problems, ctx);
      result = reconcile(trees, rules, evidence);
    }
    return result;
  };
  const first = await settled(open);
  // A careful run believes no record, so no rename can be proved.
  const moves = rules.careful ? undefined : await settleMoves(plan, open, first, rules, evidence, inputs, ctx);
  const result = moves ? await settled(moves.trees, moves.places) : first;
  plan.totals.skipped = open.equal + result.skipped;
  for (const path of result.special)
    plan.problems.push({ path, message: 'is a socket, pipe or device; such files are not copied' });
  const decided = moves ? [...moves.moves, ...withEmptied(result.actions, moves)] : result.actions;
  if (moves) plan.totals.skipped -= movedAsTheyAre(moves, result, rules.keys);
  const actions = [...missingParents(pair, target, decided), ...decided];
  const held = hold(actions, inputs.waiting);
  const possible = withoutCollisions(held, { others: open.others, rows }, storing, rules.keys);
  plan.problems.push(...possible.problems);
  plan.failed += possible.files;
  plan.actions = assignHardLinks(withoutImpossible(possible.actions, plan, pair), open.links, pair);
  const recorded = recordedAlgorithm(pair, options);
  for (const action of plan.actions) recordEvidence(action, evidence, keyOf(action.path, rules.keys), recorded);
  await settleDoubles(plan, open.doubles, inputs, ctx);
  countTotals(plan);
  plan.settled = noLonger(inputs.waiting, plan.actions, found, rules.frozen);
}

/**
 * A second form of a file gives way when it holds what was recorded of the file, or what the Master has: an earlier
 * conversion left it. Anything else is the user's to judge; where the file itself is to stand there, it is not written.
 */
async function settleDoubles(plan: Plan, doubles: OpenTrees['doubles'], inputs: Inputs, ctx: Context): Promise<void> {
  if (doubles.size === 0) return;
  const keys = keyRules(inputs.pair);
  const writing = new Map(plan.actions.map((action) => [keyOf(action.path, keys), action]));
  const proved = inputs.rows.filter(({ checksum }) => checksum !== '');
  const recorded = new Map(proved.map((row) => [keyOf(row.path, keys), row]));
  for (const [key, double] of doubles) {
    const { path, facts } = double;
    const action = writing.get(key);
    const writes = action !== undefined && WRITING.includes(action.kind);
    if (writes && action.entry === 'd' && facts.startsWith('d') && action.path === path) continue;
    const wanted = suffixFor(action?.path ?? '', inputs.storing.wanted);
    const left = writes && action.entry === 'f' && (await isLeft(action, double, recorded.get(key), inputs, ctx));
    const stands = action?.entry === 'f' && action.path + wanted === path;
    if (left && stands) action.occupied = facts;
    else if (left) action.leftover = { path, facts };
    else plan.problems.push({ path, message: 'is on the Backup in two forms; this one is left as it is' });
    if (left || !writes || !stands) continue;
    plan.actions = plan.actions.filter((one) => one !== action);
    plan.failed += 1;
  }
}

/** Whether a second form was left by a conversion: its content was recorded, or is that of the Master. */
async function isLeft(
  { path, master }: Action,
  double: Double,
  row: BaselineRow | undefined,
  { pair, options }: Inputs,
  ctx: Context,
): Promise<boolean> {
  if (!double.facts.startsWith('f') || master === null) return false;
  const plain = recordedAlgorithm(pair, options);
  const algorithm = (row?.checksum_algorithm ?? plain) as Recorded;
  if (double.stored.endsWith('.encrypted') || [algorithm, plain].some(isKeyed)) await keyIfAny(pair, ctx);
  const pool = workersOf(pair, LOOKING, options);
  const there = { path, facts: double.facts, stored: double.stored, at: double.path };
  const [found] = await pool.run('hash', 'backup', [there], algorithm);
  if (found === undefined || found.checksum === '') return false;
  if (found.checksum === row?.checksum) return true;
  const [here] = await pool.run('hash', 'master', [{ path, facts: master }], algorithm);
  return here?.checksum === found.checksum;
}

/** What was only renamed; undefined: nothing was. */
async function settleMoves(
  plan: Plan,
  open: OpenTrees,
  { gone }: Reconciled,
  rules: Rules,
  evidence: Checksums,
  { pair, options, waiting, storing }: Inputs,
  ctx: Context,
): Promise<Moves | undefined> {
  const undone = new Set(waiting.filter((one) => one.conflict_type === 'undone').map(({ path }) => path));
  const doubled = new Set(open.problems.map(({ path }) => keyOf(path, rules.keys)));
  const moveRules: MoveRules = {
    ...rules,
    frozen: (path) => rules.frozen(path) || doubled.has(keyOf(path, rules.keys)) || undone.has(path),
    stable: pair.masterTraits.stable_ids,
    born: (path) => bornAt(pair.master.dir, path),
    // Its suffix would mean something else there.
    fits: (path) =>
      suffixFor(path, storing.wanted) === storing.wanted &&
      path.split('/').every((name) => fits(name + storing.wanted, pair.backupTraits) === undefined),
  };
  let moves = findMoves(open, gone, moveRules, evidence);
  while (moves.needs.length > 0) {
    await readContents(moves.needs, evidence, pair, options, plan.problems, ctx);
    moves = findMoves(open, gone, moveRules, evidence);
  }
  return moves.moves.length > 0 || moves.emptied.length > 0 ? moves : undefined;
}

/** A file that is to be moved is read where it is. */
function placed(need: Need, places: Moves['places'] | undefined): Need {
  const path = places?.get(need.key);
  return path === undefined ? need : { ...need, path };
}

/** Files that a move takes along and that need nothing else; the second look takes them for unchanged ones. */
function movedAsTheyAre({ moved, trees }: Moves, { actions }: Reconciled, keys: KeyRules): number {
  const others = new Set(actions.filter((action) => !isLeftAsIs(action)).map(({ path }) => keyOf(path, keys)));
  return [...moved].filter((key) => trees.master.has(key) && !others.has(key)).length;
}

/** Paths that size or age leaves out, judged by the Master's file, or by the Backup's where there is none. */
function beyondLimits(open: OpenTrees, filter: Filter): string[] {
  const found: string[] = [];
  for (const [key, entry] of [...open.master, ...open.backup]) {
    const judged = open.master.get(key) ?? entry;
    if (judged.kind !== 'f' || !filter.beyondLimits(judged.size, judged.mtime)) continue;
    found.push(judged.path, open.baseline.get(key)?.path ?? judged.path);
  }
  return found;
}

/** A folder that is synced by itself needs the folders above it, which the listing does not show. */
function missingParents(pair: OpenPair, target: Target, actions: readonly Action[]): Action[] {
  const made: Action[] = [];
  if (!actions.some(({ kind }) => kind === 'mkdir' || kind === 'copy')) return made;
  for (let path: string = parentOf(target.subpath); path !== ''; path = parentOf(path)) {
    if (statAt(pair.backup.dir, path) !== null) break;
    made.unshift({
      kind: 'mkdir',
      path,
      entry: 'd',
      size: 0,
      reason: 'above the folder that is synced',
      master: null,
      backup: null,
    });
  }
  return made;
}

function keyRules({ masterTraits, backupTraits }: OpenPair): KeyRules {
  return {
    foldCase: !masterTraits.case_sensitive || !backupTraits.case_sensitive,
    normalise: masterTraits.normalises || backupTraits.normalises,
  };
}

function rulesFor(inputs: Inputs, limited: ReadonlySet<string>): Rules {
  const { pair, options, filter, found, believe } = inputs;
  const unknown = [...found.master.unknown, ...found.backup.unknown].map(({ path }) => path);
  return {
    onMasterDelete: options.on_master_delete,
    onBackupDelete: options.on_backup_delete,
    skipExisting: options.skip_existing,
    trustMtime: options.trust_mtime,
    compareContents: !believe,
    full: !options.incremental,
    careful: pair.careful !== null,
    permissions: pair.masterTraits.permissions && pair.backupTraits.permissions,
    owner: carriesOwner(pair),
    master: sideRules(pair.masterTraits),
    backup: sideRules(pair.backupTraits),
    keys: keyRules(pair),
    isStoredWell: (path, stored) => isStoredWell(inputs.storing, path, stored),
    frozen: (path) => limited.has(path) || filter.excludesAny(path),
    unknown: (path) => unknown.some((place) => isInside(path, place)),
    holdsOthers: (path) => holdsOthers(pair, path, filter, inputs.storing),
  };
}

/** Asked only of a folder that is to give way to a file. */
function holdsOthers(pair: OpenPair, folder: string, filter: Filter, { active, wanted }: Storing): boolean {
  const { bytes, unknown } = walkTree({
    root: pair.backup.dir,
    subpath: folder,
    stable: pair.backupTraits.stable_ids,
    mounts: mountsBelow(pair.backup.mountPath),
  });
  let others = unknown.length > 0;
  eachRecord(bytes, (view) => {
    const place = bytes.toString('utf8', view.pathStart, view.pathEnd);
    const { path, suffix } =
      active && bytes[view.factsStart] === 0x66 ? splitStored(place) : { path: place, suffix: wanted };
    // A plain file on a Backup that stores others: nobody recorded it, or it waits to be converted.
    if (suffix === '' && wanted !== '') others = true;
    if (filter.excludesAny(path) && !OS_JUNK.includes(baseName(path)) && !baseName(path).startsWith('._'))
      others = true;
  });
  return others;
}

function sideRules(traits: Traits): SideRules {
  return {
    filesystem: traits.filesystem,
    stable: traits.stable_ids,
    granularity: Math.max(traits.mtime_granularity_ns, settableGranularity()),
  };
}

/** Checksums that were read to decide are worth keeping with the record. */
function recordEvidence(action: Action, evidence: Evidence, key: string, recorded: Recorded): void {
  const { master: read = '', algorithm = recorded } = evidence.get(key) ?? {};
  if (!['adopt', 'meta', 'convert'].includes(action.kind)) return;
  if (action.checksum === undefined && read !== '') action.checksum = read;
  if (action.checksum !== undefined) action.checksum_algorithm ??= algorithm;
}

/** What the Backup cannot hold is found before the first byte is written; a folder takes what is in it along. */
export function withoutImpossible(actions: readonly Action[], plan: Plan, pair: OpenPair): Action[] {
  const traits = pair.backupTraits;
  const blocked = new Map<string, number>();
  const kept = actions.filter((action) => {
    for (let at: string = blocked.size === 0 ? '' : parentOf(action.path); at !== ''; at = parentOf(at)) {
      const count = blocked.get(at);
      if (count === undefined) continue;
      blocked.set(at, count + (action.entry === 'd' ? 0 : 1));
      return false;
    }
    if (!['copy', 'mkdir', 'update', 'convert'].includes(action.kind)) return true;
    const why = impossible(action, traits, plan.options, pair.storedSide === 'backup');
    if (why === undefined) {
      if (isWindowsFamily(traits.filesystem)) noteClamped(action, plan, traits);
      return true;
    }
    if (action.entry === 'd') blocked.set(action.path, 0);
    else plan.failed += 1;
    plan.problems.push({ path: action.path, message: `cannot be stored on the Backup: ${why}` });
    return false;
  });
  for (const [path, count] of blocked) {
    plan.failed += count;
    if (count > 0) plan.problems.push({ path, message: `${plural(count, 'file')} below it cannot be stored either` });
  }
  return kept;
}

/** Why the drive cannot hold a name. */
function fits(name: string, { filesystem, max_name: maxName, name_unit: nameUnit }: Traits): string | undefined {
  return nameProblem(name, { filesystem, maxName, nameUnit });
}

function impossible(action: Action, traits: Traits, options: SyncOptions, stores: boolean): string | undefined {
  const { wanted } = formsOf(options);
  const stored = action.entry === 'f' && stores ? suffixFor(action.path, wanted) : '';
  const name = fits(baseName(action.path) + stored, traits);
  if (name !== undefined) return name;
  if (action.entry === 'l' && !traits.symlinks) return `${traits.filesystem} has no symbolic links`;
  if (action.size > 0xffff_ffff && /^(vfat|fat|msdos)/.test(traits.filesystem))
    return `${traits.filesystem} takes files up to 4 GiB`;
  return undefined;
}

function noteClamped(action: Action, plan: Plan, traits: Traits): void {
  const [min, max] = timeLimits(traits.filesystem);
  const seconds = Number(new Entry(action.master ?? '', action.path).mtime / 1_000_000_000n);
  if (action.master === null || (seconds >= min && seconds <= max)) return;
  plan.problems.push({
    path: action.path,
    message: `its time lies outside of what ${traits.filesystem} can hold (1980 to 2107) and is stored as the nearest one`,
  });
}

const WRITING: readonly string[] = ['copy', 'update', 'convert'];

/** Every name of a file after the first becomes a hard link, where the Backup has them. */
function assignHardLinks(actions: Action[], links: ReadonlyMap<string, string[]>, pair: OpenPair): Action[] {
  if (links.size === 0 || !pair.backupTraits.hard_links) return actions;
  const byPath = new Map(actions.map((action) => [action.path, action]));
  for (const names of links.values()) {
    if (names.length < 2) continue;
    const untouched = names.find((name) => !byPath.has(name));
    const first = untouched ?? names.find((name) => WRITING.includes(byPath.get(name)?.kind ?? ''));
    if (first === undefined) continue;
    for (const name of names) {
      const action = byPath.get(name);
      if (action && name !== first && WRITING.includes(action.kind)) action.link_to = first;
    }
  }
  return actions;
}

/** A file whose content stays as it is on both sides. */
function isLeftAsIs({ kind, entry }: Action): boolean {
  return kind === 'skip' || ((kind === 'adopt' || kind === 'meta') && entry !== 'd');
}

/** Counts the actions anew; what was skipped already stays counted. */
export function countTotals(plan: Plan): void {
  const { totals } = plan;
  for (const action of plan.actions) {
    if (action.kind === 'conflict') totals.conflict += 1;
    else if (action.kind === 'move') totals.move += action.files ?? 1;
    else if (action.kind === 'delete') totals.delete += action.entry === 'd' ? 0 : 1;
    else if (WRITING.includes(action.kind) && action.entry !== 'd') {
      totals[action.kind as 'copy' | 'update' | 'convert'] += 1;
      if (action.link_to === undefined) totals.bytes += action.size;
    } else if (isLeftAsIs(action)) totals.skipped += 1;
  }
  totals.files = totals.copy + totals.update + totals.convert;
}
