/**
 * What would a sync do? Opens both drives, proves that they are the right ones, lists both trees at once and, only where
 * they differ from what was recorded, lets `reconcile` decide. Reads only: a dry run prints the very object that
 * `sync.ts` carries out.
 */
import { existsSync } from 'node:fs';
import type { Context } from '../shared/context.ts';
import { type Problem, TandemError } from '../shared/errors.ts';
import { Filter } from '../shared/filters.ts';
import { formatBytes, plural } from '../shared/format.ts';
import { ALGORITHMS, type Algorithm } from '../shared/hash.ts';
import { type OpenConflict, readConflicts } from '../shared/inbox.ts';
import { Entry, eachRecord } from '../shared/listing.ts';
import {
  baseName,
  displayPath,
  isInside,
  isWindowsFamily,
  type KeyRules,
  nameProblem,
  parentOf,
  type RelPath,
  relPath,
  timeLimits,
} from '../shared/paths.ts';
import { alwaysExcluded, mountsBelow, type Scan, walkTree } from '../shared/scan.ts';
import { freeBytes } from '../shared/store.ts';
import { settableGranularity, statAt } from '../shared/syscalls.ts';
import type { Traits } from './detect.ts';
import type { Group } from './groups.ts';
import { type BaselineRow, findPair, readBaseline } from './history.ts';
import { type Action, type Evidence, keyOf, type Need, type Rules, reconcile, type SideRules } from './reconcile.ts';
import { carriesOwner, type OpenPair, OS_JUNK, type SyncOptions, workersOf } from './session.ts';
import { type OpenTrees, openTrees, type Survey, survey } from './survey.ts';

export interface SyncTarget {
  group: Group;
  /** Folder of the drives that is synced; `''` for the whole drive. */
  subpath: RelPath;
}

export interface PlanTotals {
  copy: number;
  update: number;
  delete: number;
  conflict: number;
  files: number;
  bytes: number;
  skipped: number;
}

export interface Plan {
  tandem_plan: 1;
  target: { kind: 'group'; group_id: string; name: string; subpath: string };
  master_uuid: string;
  backup_uuid: string;
  created_at: string;
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

export interface Guard {
  /** For `--force NAME`. */
  name: 'empty-master' | 'free-space';
  message: string;
  hint: string;
}

/**
 * Lists both sides and decides every path; writes nothing. What should stop a run is in `guards`.
 * @param foresee called as soon as it is known that there will be something to do.
 */
export async function makePlan(
  pair: OpenPair,
  target: SyncTarget,
  options: SyncOptions,
  ctx: Context,
  foresee: () => void = () => {},
): Promise<Plan> {
  requireFolder(pair, target);
  const filter = new Filter(options.filters, ctx.now());
  const pairId = await findPair(pair.masterUuid, pair.backupUuid, ctx);
  const surveying = survey(pair, target.subpath, filter, keyRules(pair), pairId, ctx);
  if (pairId === null) foresee();
  const found = await surveying;
  const plan = emptyPlan(pair, target, options, ctx);
  plan.problems.push(...sideProblems(found.master, 'Master'), ...sideProblems(found.backup, 'Backup'));
  // What cannot be read on the Master is not backed up: that is no complete run.
  plan.failed += found.master.unknown.filter(({ why }) => why === 'unreadable').length;
  const believe = !options.checksum && options.incremental;
  const waiting = pairId === null ? [] : await readConflicts(pairId, target.subpath, ctx);
  if (found.unchanged && believe && !filter.limits) {
    plan.totals.skipped = found.masterFiles;
    plan.settled = settled(waiting, plan, found, (path) => filter.excludesAny(path));
    return plan;
  }
  foresee();
  const rows = pairId === null ? [] : await readBaseline(pairId, target.subpath, ctx);
  await decide(plan, { pair, target, options, filter, found, rows, waiting, believe }, ctx);
  plan.guards.push(...emptyMaster(rows, found, target, filter), ...tooLittleSpace(plan, pair));
  return plan;
}

const KINDS: readonly string[] = ['mkdir', 'copy', 'update', 'meta', 'adopt', 'forget', 'delete', 'conflict', 'skip'];

/** Why a value from a file cannot be carried out as a plan, or undefined when it can. */
export function planProblem(value: unknown): string | undefined {
  const plan = record(value);
  if (plan?.['tandem_plan'] !== 1)
    return `tandem_plan is ${JSON.stringify(plan?.['tandem_plan'])}, this version takes 1`;
  const target = record(plan['target']);
  const texts = [target?.['group_id'], target?.['name'], target?.['subpath'], plan['master_uuid'], plan['backup_uuid']];
  if (target?.['kind'] !== 'group' || texts.some((text) => typeof text !== 'string'))
    return 'it names no group and drives';
  const { actions, problems, guards, settled } = plan;
  if (!Array.isArray(settled) || settled.some((path) => typeof path !== 'string')) return 'a list is missing';
  if (!Array.isArray(actions) || !Array.isArray(problems) || !Array.isArray(guards)) return 'a list is missing';
  if (record(plan['totals']) === undefined || typeof plan['failed'] !== 'number') return 'its totals are missing';
  const options = record(plan['options']);
  const known =
    ALGORITHMS.includes(options?.['checksum_algorithm'] as Algorithm) &&
    ['none', 'size', 'checksum'].includes(String(options?.['verify_checksums'])) &&
    typeof record(options?.['versions'])?.['enabled'] === 'boolean';
  const parallel = options?.['max_parallel_files'];
  if (
    !known ||
    typeof options?.['enable_parallel_copy'] !== 'boolean' ||
    !(parallel === 'auto' || (Number.isInteger(parallel) && Number(parallel) >= 1 && Number(parallel) <= 16))
  )
    return 'its options are not those of a plan';
  for (const action of actions) {
    const why = actionProblem(action, String(target['subpath']));
    if (why !== undefined) return why;
  }
  return undefined;
}

function actionProblem(value: unknown, subpath: string): string | undefined {
  const action = record(value);
  if (action === undefined || typeof action['path'] !== 'string') return 'a step of it has no path';
  const { path, link_to } = action;
  const name = displayPath(path as string);
  if (!KINDS.includes(String(action['kind'])) || !['f', 'd', 'l'].includes(String(action['entry'])))
    return `the step for '${name}' is of no known kind`;
  const facts = [action['master'], action['backup']].every(
    (one) => one === null || (typeof one === 'string' && /^[fdlo] \d+ /.test(one)),
  );
  if (!facts || typeof action['size'] !== 'number' || typeof action['reason'] !== 'string')
    return `the step for '${name}' is incomplete`;
  for (const one of link_to === undefined ? [path] : [path, link_to]) {
    if (typeof one !== 'string' || !isSynced(one))
      return `'${displayPath(String(one))}' is not a path that is ever synced`;
    if (!isInside(one, subpath) && !(action['kind'] === 'mkdir' && isInside(subpath, one)))
      return `'${displayPath(one)}' lies outside of '${displayPath(subpath)}'`;
  }
  return undefined;
}

/** Inside the drive, and nothing of tandem's or the system's own. */
function isSynced(text: string): boolean {
  try {
    return text !== '' && relPath(text) === text && !alwaysExcluded(text);
  } catch {
    return false;
  }
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** The plan without the actions at and below these paths. */
export function withoutPaths(plan: Plan, left: readonly RelPath[]): Plan {
  const actions = plan.actions.filter(({ path }) => !left.some((place) => isInside(path, place)));
  const before = plan.actions.filter(isLeftAsIs).length;
  const totals = {
    copy: 0,
    update: 0,
    delete: 0,
    conflict: 0,
    files: 0,
    bytes: 0,
    skipped: plan.totals.skipped - before,
  };
  const kept = { ...plan, actions, totals };
  countTotals(kept);
  return kept;
}

/** @throws TandemError `guard` (exit 6) for the first guard that the user has not lifted. */
export function assertGuards(plan: Plan, ctx: Context): void {
  const guard = plan.guards.find(({ name }) => !ctx.force.has('all') && !ctx.force.has(name));
  if (guard)
    throw new TandemError('guard', guard.message, {
      guard: guard.name,
      hint: guard.hint,
      details: { totals: plan.totals },
    });
}

// --- internal ---

function requireFolder(pair: OpenPair, target: SyncTarget): void {
  if (target.subpath === '' || existsSync(`${pair.master.dir.path}/${target.subpath}`)) return;
  if (existsSync(`${pair.backup.dir.path}/${target.subpath}`)) return;
  throw new TandemError('not_found', `There is no folder '${target.subpath}' on '${pair.master.label}'.`, {
    hint: "Give the folder as it is named from the drive's root, for example --path Projects/Wedding.",
  });
}

function emptyPlan(pair: OpenPair, target: SyncTarget, options: SyncOptions, ctx: Context): Plan {
  return {
    tandem_plan: 1,
    target: { kind: 'group', group_id: pair.group.id, name: pair.group.name, subpath: target.subpath },
    master_uuid: pair.masterUuid,
    backup_uuid: pair.backupUuid,
    created_at: ctx.now().toISOString(),
    options,
    actions: [],
    totals: { copy: 0, update: 0, delete: 0, conflict: 0, files: 0, bytes: 0, skipped: 0 },
    problems: [],
    failed: 0,
    settled: [],
    guards: [],
  };
}

function sideProblems(scan: Scan, side: string): Problem[] {
  return scan.unknown.map(({ path, message }) => ({
    path,
    message: `on the ${side}: ${message}; nothing at or below it is deleted`,
  }));
}

interface Inputs {
  pair: OpenPair;
  target: SyncTarget;
  options: SyncOptions;
  filter: Filter;
  found: Survey;
  rows: BaselineRow[];
  /** What waits for a decision already. */
  waiting: readonly OpenConflict[];
  believe: boolean;
}

/** Sorts out what is equal, lets `reconcile` decide the rest, and fills the plan. */
async function decide(plan: Plan, inputs: Inputs, ctx: Context): Promise<void> {
  const { pair, options, filter, found, rows, believe, target } = inputs;
  const limited = new Set<string>();
  const rules = rulesFor(inputs, limited);
  const open = openTrees(found, rows, filter, rules.keys, believe);
  if (filter.limits) for (const path of beyondLimits(open, filter)) limited.add(path);
  plan.problems.push(...open.problems);
  plan.failed += open.problems.length;
  const evidence = new Map<string, { master?: string; backup?: string }>();
  let result = reconcile(open, rules, evidence);
  while (result.needs.length > 0) {
    await readContents(result.needs, evidence, pair, options, plan.problems, ctx);
    result = reconcile(open, rules, evidence);
  }
  plan.totals.skipped = open.equal + result.skipped;
  for (const path of result.special)
    plan.problems.push({ path, message: 'is a socket, pipe or device; such files are not copied' });
  const actions = [...missingParents(pair, target, result.actions), ...result.actions];
  plan.actions = assignHardLinks(withoutImpossible(hold(actions, inputs.waiting), plan, pair), open.links, pair);
  for (const action of plan.actions) recordEvidence(action, evidence, keyOf(action.path, rules.keys), options);
  countTotals(plan);
  plan.settled = settled(inputs.waiting, plan, found, rules.frozen);
}

/** What is no conflict any more, of what this plan looked at. */
function settled(
  waiting: readonly OpenConflict[],
  { actions }: Plan,
  { master, backup }: Survey,
  frozen: (path: string) => boolean,
): RelPath[] {
  const unknown = [...master.unknown, ...backup.unknown].map(({ path }) => path);
  const found = new Set(actions.filter(({ kind }) => kind === 'conflict').map(({ path }) => path));
  const gone = waiting.filter(
    ({ path }) => !found.has(path) && !frozen(path) && !unknown.some((place) => isInside(path, place)),
  );
  return gone.map(({ path }) => relPath(path));
}

/** What was undone stays as it is until the user says which state shall stand: no run may undo the undo. */
function hold(actions: readonly Action[], waiting: readonly OpenConflict[]): readonly Action[] {
  const undone = new Map(
    waiting.filter(({ conflict_type }) => conflict_type === 'undone').map((one) => [one.path, one]),
  );
  if (undone.size === 0) return actions;
  return actions.map((action): Action => {
    const held = undone.get(action.path);
    const harmless = action.kind === 'adopt' || action.kind === 'skip' || action.kind === 'forget';
    if (!held || harmless) return action;
    const { path, entry, size, master, backup } = action;
    return { kind: 'conflict', path, entry, size, master, backup, reason: held.reason, conflict_type: 'undone' };
  });
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
function missingParents(pair: OpenPair, target: SyncTarget, actions: readonly Action[]): Action[] {
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
    permissions: pair.masterTraits.permissions && pair.backupTraits.permissions,
    owner: carriesOwner(pair),
    master: sideRules(pair.masterTraits),
    backup: sideRules(pair.backupTraits),
    keys: keyRules(pair),
    frozen: (path) => limited.has(path) || filter.excludesAny(path),
    unknown: (path) => unknown.some((place) => isInside(path, place)),
    holdsOthers: (path) => holdsOthers(pair, path, filter),
  };
}

/** Asked only of a folder that is to give way to a file. */
function holdsOthers(pair: OpenPair, folder: string, filter: Filter): boolean {
  const { bytes, unknown } = walkTree({
    root: pair.backup.dir,
    subpath: folder,
    stable: pair.backupTraits.stable_ids,
    mounts: mountsBelow(pair.backup.mountPath),
  });
  let others = unknown.length > 0;
  eachRecord(bytes, (view) => {
    const path = bytes.toString('utf8', view.pathStart, view.pathEnd);
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

/** Reads the files whose content decides, both sides at once, in small groups so that no worker idles. */
async function readContents(
  needs: readonly Need[],
  evidence: Map<string, { master?: string; backup?: string }>,
  pair: OpenPair,
  options: SyncOptions,
  problems: Problem[],
  ctx: Context,
): Promise<void> {
  const pool = workersOf(pair, 'plan', options);
  await Promise.all(
    groupNeeds(needs).map(async (group) => {
      const first = group[0] as Need;
      const results = await pool.run(
        'hash',
        first.side,
        group.map(({ path, facts }) => ({ path, facts })),
        (first.algorithm ?? options.checksum_algorithm) as Algorithm,
      );
      ctx.signal.throwIfAborted();
      results.forEach(({ checksum, message, path }, index) => {
        const { key, side } = group[index] as Need;
        evidence.set(key, { ...evidence.get(key), [side]: checksum });
        if (message !== '')
          problems.push({
            path,
            message: `on the ${side === 'master' ? 'Master' : 'Backup'}: cannot be compared: ${message}`,
          });
      });
    }),
  );
}

function groupNeeds(needs: readonly Need[]): Need[][] {
  const groups: Need[][] = [];
  const open = new Map<string, { group: Need[]; bytes: number }>();
  for (const need of needs) {
    const kind = `${need.side} ${need.algorithm}`;
    let current = open.get(kind);
    if (!current || current.group.length >= 64 || current.bytes > 64e6) {
      current = { group: [], bytes: 0 };
      groups.push(current.group);
      open.set(kind, current);
    }
    current.group.push(need);
    current.bytes += need.size;
  }
  return groups;
}

/** Checksums that were read to decide are worth keeping with the record. */
function recordEvidence(action: Action, evidence: Evidence, key: string, options: SyncOptions): void {
  const read = evidence.get(key)?.master ?? '';
  if (action.kind !== 'adopt' && action.kind !== 'meta') return;
  if (action.checksum === undefined && read !== '') action.checksum = read;
  if (action.checksum !== undefined) action.checksum_algorithm ??= options.checksum_algorithm;
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
    if (action.kind !== 'copy' && action.kind !== 'mkdir' && action.kind !== 'update') return true;
    const why = impossible(action, traits);
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

function impossible(action: Action, traits: Traits): string | undefined {
  const name = nameProblem(baseName(action.path), {
    filesystem: traits.filesystem,
    maxName: traits.max_name,
    nameUnit: traits.name_unit,
  });
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

/** Every name of a file after the first becomes a hard link, where the Backup has them. */
function assignHardLinks(actions: Action[], links: ReadonlyMap<string, string[]>, pair: OpenPair): Action[] {
  if (links.size === 0 || !pair.backupTraits.hard_links) return actions;
  const byPath = new Map(actions.map((action) => [action.path, action]));
  for (const names of links.values()) {
    if (names.length < 2) continue;
    const untouched = names.find((name) => !byPath.has(name));
    const first = untouched ?? names.find((name) => ['copy', 'update'].includes(byPath.get(name)?.kind ?? ''));
    if (first === undefined) continue;
    for (const name of names) {
      const action = byPath.get(name);
      if (action && name !== first && (action.kind === 'copy' || action.kind === 'update')) action.link_to = first;
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
    else if (action.kind === 'delete') totals.delete += action.entry === 'd' ? 0 : 1;
    else if ((action.kind === 'copy' || action.kind === 'update') && action.entry !== 'd') {
      totals[action.kind] += 1;
      if (action.link_to === undefined) totals.bytes += action.size;
    } else if (isLeftAsIs(action)) totals.skipped += 1;
  }
  totals.files = totals.copy + totals.update;
}

function emptyMaster(rows: readonly BaselineRow[], found: Survey, target: SyncTarget, filter: Filter): Guard[] {
  if (found.masterFiles > 0 || found.master.unknown.length > 0) return [];
  const files = rows.filter(
    ({ path, master_facts }) => !master_facts.startsWith('d') && !filter.excludesAny(path),
  ).length;
  if (files === 0) return [];
  const where = target.subpath === '' ? 'The Master' : `The folder '${target.subpath}' on the Master`;
  return [
    {
      name: 'empty-master',
      message: `${where} is empty, but ${plural(files, 'file')} of it ${files === 1 ? 'is' : 'are'} recorded as synced: this run would treat all of them as deleted.`,
      hint: 'Check that the right drive is mounted and readable. If you emptied it on purpose, repeat with --force empty-master.',
    },
  ];
}

const BLOCK = 4096;

/** Sparse files count as nothing here: what they will take is not known before their holes are. */
function tooLittleSpace(plan: Plan, pair: OpenPair): Guard[] {
  let needed = 0;
  for (const action of plan.actions) {
    if (action.kind === 'mkdir') needed += BLOCK;
    else if ((action.kind === 'copy' || action.kind === 'update') && action.link_to === undefined && !action.sparse)
      needed += Math.ceil(action.size / BLOCK) * BLOCK;
  }
  const free = freeBytes(pair.backup);
  if (needed <= free) return [];
  return [
    {
      name: 'free-space',
      message: `The Backup '${pair.backup.label}' has ${formatBytes(free)} free, but this run needs ${formatBytes(needed)} (replaced files are kept as versions).`,
      hint: 'Free some space on the Backup, sync a part with --path, or leave files out with --exclude; --force free-space copies as much as fits.',
    },
  ];
}
