/**
 * What would a sync do? Opens both drives, proves that they are the right ones, lists both trees at once and, only where
 * they differ from what was recorded, lets `reconcile` decide. Reads only: a dry run prints the very object that
 * `sync.ts` carries out.
 */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { Context } from '../shared/context.ts';
import { type Problem, TandemError } from '../shared/errors.ts';
import { Filter } from '../shared/filters.ts';
import { formatBytes, plural } from '../shared/format.ts';
import type { Algorithm } from '../shared/hash.ts';
import { Checks, eachRecord, Entry, entryAt, type RecordView } from '../shared/listing.ts';
import { baseName, isInside, isWindowsFamily, nameProblem, parentOf, type RelPath } from '../shared/paths.ts';
import { mountsBelow, type Scan, scanTree } from '../shared/scan.ts';
import { assertPresent, closeDriveRoot, type DriveRoot, freeBytes, openDriveRoot } from '../shared/store.ts';
import { settableGranularity } from '../shared/syscalls.ts';
import type { TransferSession } from '../shared/transfer.ts';
import { WorkerPool } from '../shared/workers.ts';
import { defaultTraits, type DriveInfo, listDrives, readSignature, type Traits } from './detect.ts';
import { connectPair, ensureSigned, type Group, type GroupOptions, type Pair, resolveOptions } from './groups.ts';
import { baselineChecks, type BaselineRow, findPair, readBaseline } from './history.ts';
import { matchPair } from './pairs.ts';
import { type Action, type Evidence, keyOf, type Need, reconcile, type Rules, type SideRules } from './reconcile.ts';

export interface SyncTarget {
  group: Group;
  /** Folder of the drives that is synced; `''` for the whole drive. */
  subpath: RelPath;
}

/** The group's options with the flags of this run over them. */
export interface SyncOptions extends GroupOptions {
  checksum: boolean;
  trust_mtime: boolean;
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
  /** What refuses the run unless it is forced. */
  guards: Guard[];
}

export interface Guard {
  /** For `--force NAME`. */
  name: 'empty-master' | 'free-space';
  message: string;
  hint: string;
}

/** Both drives of a pair, open and proved. */
export interface OpenPair {
  group: Group;
  master: DriveRoot;
  backup: DriveRoot;
  masterDrive: DriveInfo;
  backupDrive: DriveInfo;
  masterTraits: Traits;
  backupTraits: Traits;
  masterUuid: string;
  backupUuid: string;
  /** Started by `workersOf`, shared by all steps of a run. */
  workers: WorkerPool | undefined;
  close(): Promise<void>;
}

/**
 * Finds, signs if need be (never when `readOnly`), opens and proves both drives of a group.
 * @throws TandemError `drive_missing` (exit 5) naming what to plug in, `guard` for an impostor.
 */
export async function openPair(group: Group, ctx: Context, readOnly: boolean): Promise<OpenPair> {
  const found = readOnly ? await lookAtPair(group, ctx) : await connectPair(group, ctx);
  requireBoth(found);
  const pair = readOnly ? found : await ensureSigned(found, ctx);
  const { master, backup } = requireBoth(pair);
  const masterRoot = openDriveRoot(master.mount_path, master.label);
  try {
    const backupRoot = openDriveRoot(backup.mount_path, backup.label);
    const open: OpenPair = {
      group: pair.group,
      master: masterRoot,
      backup: backupRoot,
      masterDrive: master,
      backupDrive: backup,
      masterTraits: traitsOf(masterRoot, master),
      backupTraits: traitsOf(backupRoot, backup),
      masterUuid: pair.group.master_drive.drive_uuid ?? '',
      backupUuid: pair.group.backup_drive.drive_uuid ?? '',
      workers: undefined,
      close: async () => {
        await open.workers?.close();
        closeDriveRoot(masterRoot);
        closeDriveRoot(backupRoot);
      },
    };
    assertIdentity(open);
    return open;
  } catch (error) {
    closeDriveRoot(masterRoot);
    throw error;
  }
}

/** The run's worker threads; the first call decides operation and number. */
export function workersOf(pair: OpenPair, operation: string, options: SyncOptions): WorkerPool {
  pair.workers ??= new WorkerPool({ session: transferSession(pair, operation), algorithm: options.checksum_algorithm, junk: OS_JUNK }, workerCount(options));
  return pair.workers;
}

export function workerCount(options: SyncOptions): number {
  const { enable_parallel_copy, max_parallel_files } = options;
  if (!enable_parallel_copy) return 1;
  return max_parallel_files === 'auto' ? Math.min(4, Math.max(2, availableParallelism())) : max_parallel_files;
}

/**
 * Both drives are still where they were, and still the drives that were signed for this pair.
 * @throws TandemError `drive_missing` or `guard` (`identity`, which nothing can force).
 */
export function assertIdentity(pair: OpenPair): void {
  for (const [root, uuid] of [[pair.master, pair.masterUuid], [pair.backup, pair.backupUuid]] as const) {
    assertPresent(root);
    if (uuid === '') continue;
    const found = readSignature(root.dir.path)?.drive_uuid ?? null;
    if (found === uuid) continue;
    throw new TandemError('guard', `The drive at ${root.mountPath} is not '${root.label}' of this group: its signature is ${found ?? 'missing'}, expected ${uuid}.`, {
      guard: 'identity',
      hint: 'Nothing was written. Plug in the right drive; for a new or reformatted drive edit the group with `tandem groups edit`.',
    });
  }
}

/**
 * Lists both sides and decides every path; writes nothing. What should stop a run is in `guards`.
 * @param foresee called as soon as it is known that there will be something to do.
 */
export async function makePlan(pair: OpenPair, target: SyncTarget, options: SyncOptions, ctx: Context, foresee: () => void = () => {}): Promise<Plan> {
  requireFolder(pair, target);
  const filter = new Filter(options.filters, ctx.now());
  const request = (root: DriveRoot, traits: Traits): Parameters<typeof scanTree>[0] => ({
    root: root.dir,
    subpath: target.subpath,
    stable: traits.stable_ids,
    mounts: mountsBelow(root.mountPath),
  });
  const pairId = await findPair(pair.masterUuid, pair.backupUuid, ctx);
  if (pairId === null) foresee();
  const [master, backup, recorded] = await Promise.all([
    scanTree(request(pair.master, pair.masterTraits), ctx.signal),
    scanTree(request(pair.backup, pair.backupTraits), ctx.signal),
    pairId === null ? undefined : baselineChecks(pairId, target.subpath, ctx),
  ]);
  ctx.signal.throwIfAborted();
  const plan = emptyPlan(pair, target, options, ctx);
  plan.problems.push(...sideProblems(master, 'Master'), ...sideProblems(backup, 'Backup'));
  const files = recorded && isUnchanged(master, backup, recorded, filter, options);
  if (files !== undefined) {
    plan.totals.skipped = files;
    return plan;
  }
  foresee();
  const rows = pairId === null ? [] : await readBaseline(pairId, target.subpath, ctx);
  await decide(plan, { pair, target, options, filter, master, backup, rows }, ctx);
  plan.guards.push(...emptyMaster(rows, master, target), ...tooLittleSpace(plan, pair));
  return plan;
}

/** @throws TandemError `guard` (exit 6) for the first guard that the user has not lifted. */
export function assertGuards(plan: Plan, ctx: Context): void {
  const guard = plan.guards.find(({ name }) => !ctx.force.has('all') && !ctx.force.has(name));
  if (guard) throw new TandemError('guard', guard.message, { guard: guard.name, hint: guard.hint, details: { totals: plan.totals } });
}

/** The options of a group with flags over them. */
export function syncOptions(group: Group, flags: Partial<SyncOptions>): SyncOptions {
  return { ...resolveOptions(group), checksum: false, trust_mtime: false, ...flags };
}

/** What a worker needs to know of the pair. */
function transferSession(pair: OpenPair, operation: string): TransferSession {
  const traits = pair.backupTraits;
  const [minTime, maxTime] = timeLimits(traits.filesystem);
  return {
    master: pair.master.dir,
    backup: pair.backup.dir,
    masterStable: pair.masterTraits.stable_ids,
    operation,
    owner: ownsOwners(pair),
    traits: { stable: traits.stable_ids, permissions: traits.permissions, hardLinks: traits.hard_links, exchange: traits.exchange, minTime, maxTime },
  };
}

/** Names of operating systems' litter: it may go to the trash with its folder. */
const OS_JUNK: readonly string[] = ['.DS_Store', '.localized', 'Thumbs.db', 'ehthumbs.db', 'desktop.ini', 'Desktop.ini', '.directory', 'Icon\r'];

// --- internal ---

/** Like `connectPair`, but a changed label is not even noted in the groups file. */
async function lookAtPair(group: Group, ctx: Context): Promise<Pair> {
  const { problem, master, backup } = matchPair(group, await listDrives(ctx), ctx);
  if (problem) throw problem;
  return { group, master, backup };
}

interface Both extends Pair {
  master: DriveInfo;
  backup: DriveInfo;
}

function requireBoth(pair: Pair): Both {
  const { group, master, backup } = pair;
  if (master && backup) return { group, master, backup };
  const missing = [master ? undefined : `Master '${group.master_drive.label}'`, backup ? undefined : `Backup '${group.backup_drive.label}'`].filter((text) => text !== undefined);
  throw new TandemError('drive_missing', `The ${missing.join(' and the ')} of group '${group.name}' ${missing.length > 1 ? 'are' : 'is'} not connected.`, {
    hint: 'Plug it in and repeat the command; `tandem detect list` shows what is connected.',
    details: { master_connected: master !== null, backup_connected: backup !== null },
  });
}

function traitsOf(root: DriveRoot, drive: DriveInfo): Traits {
  return readSignature(root.dir.path)?.traits ?? defaultTraits(drive.filesystem);
}

function ownsOwners(pair: OpenPair): boolean {
  return process.geteuid?.() === 0 && pair.masterTraits.permissions && pair.backupTraits.permissions;
}

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
    guards: [],
  };
}

function sideProblems(scan: Scan, side: string): Problem[] {
  return scan.unknown.map(({ path, message }) => ({ path, message: `on the ${side}: ${message}; nothing at or below it is deleted` }));
}

/**
 * The number of files when both listings are, entry for entry, what was recorded: then no row needs to be read. The
 * sums do not depend on the order; any difference, also a missing or an additional entry, changes them.
 */
function isUnchanged(master: Scan, backup: Scan, recorded: Awaited<ReturnType<typeof baselineChecks>>, filter: Filter, options: SyncOptions): number | undefined {
  if (options.checksum || !options.incremental || filter.limits || recorded.doubtful > 0) return undefined;
  if (master.unknown.length > 0 || backup.unknown.length > 0) return undefined;
  const checks = new Checks();
  let files = 0;
  let entries = 0;
  for (const [scan, side] of [[master, 'master'], [backup, 'backup']] as const) {
    eachIncluded(scan.bytes, filter, (view) => {
      checks.addRecord(scan.bytes, view, side);
      if (side === 'master') {
        entries += 1;
        if (scan.bytes[view.factsStart] !== 0x64) files += 1;
      }
    });
  }
  return checks.a === recorded.a && checks.b === recorded.b && entries === recorded.rows ? files : undefined;
}

/** Visits the records that the filter lets through by name; a folder that is left out takes its subtree with it. */
function eachIncluded(bytes: Buffer, filter: Filter, visit: (view: RecordView) => void): void {
  let skipped: Buffer | undefined;
  eachRecord(bytes, (view) => {
    if (skipped) {
      const end = view.pathStart + skipped.length;
      if (end <= view.pathEnd && bytes.compare(skipped, 0, skipped.length, view.pathStart, end) === 0) return;
      skipped = undefined;
    }
    let name = view.pathEnd;
    while (name > view.pathStart && bytes[name - 1] !== 0x2f) name -= 1;
    if (filter.mayMatch(bytes[name] ?? 0, name + 1 < view.pathEnd ? (bytes[name + 1] ?? 0) : 0)) {
      const folder = bytes[view.factsStart] === 0x64;
      if (filter.excludes(bytes.toString('utf8', view.pathStart, view.pathEnd), folder)) {
        if (folder) skipped = Buffer.concat([bytes.subarray(view.pathStart, view.pathEnd), Buffer.from('/')]);
        return;
      }
    }
    visit(view);
  });
}

interface Inputs {
  pair: OpenPair;
  target: SyncTarget;
  options: SyncOptions;
  filter: Filter;
  master: Scan;
  backup: Scan;
  rows: BaselineRow[];
}

/** Sorts out what is equal, lets `reconcile` decide the rest, and fills the plan. */
async function decide(plan: Plan, inputs: Inputs, ctx: Context): Promise<void> {
  const { pair, options, filter } = inputs;
  const limited = new Set<string>();
  const rules = rulesFor(inputs, limited);
  const open = openTrees(inputs, rules, limited, plan.problems);
  plan.totals.skipped += open.equal;
  const evidence = new Map<string, { master?: string; backup?: string }>();
  let result = reconcile(open, rules, evidence);
  while (result.needs.length > 0) {
    await readContents(result.needs, evidence, pair, options, plan.problems, ctx);
    result = reconcile(open, rules, evidence);
  }
  plan.totals.skipped += result.skipped;
  for (const path of result.special) plan.problems.push({ path, message: 'is a socket, pipe or device; such files are not copied' });
  plan.actions = assignHardLinks(withoutImpossible(result.actions, plan, pair), open.links, pair);
  for (const action of plan.actions) recordEvidence(action, evidence, keyOf(action.path, rules.keys), options);
  countTotals(plan);
  if (filter.limits) plan.totals.skipped += limited.size;
}

function rulesFor(inputs: Inputs, limited: ReadonlySet<string>): Rules {
  const { pair, options, filter, master, backup } = inputs;
  const unknown = [...master.unknown, ...backup.unknown].map(({ path }) => path);
  return {
    onMasterDelete: options.on_master_delete,
    onBackupDelete: options.on_backup_delete,
    skipExisting: options.skip_existing,
    trustMtime: options.trust_mtime,
    compareContents: options.checksum || !options.incremental,
    full: !options.incremental,
    permissions: pair.masterTraits.permissions && pair.backupTraits.permissions,
    owner: ownsOwners(pair),
    master: sideRules(pair.masterTraits),
    backup: sideRules(pair.backupTraits),
    keys: {
      foldCase: !pair.masterTraits.case_sensitive || !pair.backupTraits.case_sensitive,
      normalise: pair.masterTraits.normalises || pair.backupTraits.normalises,
    },
    frozen: (path) => limited.has(path) || filter.excludesAny(path),
    unknown: (path) => unknown.some((place) => isInside(path, place)),
  };
}

function sideRules(traits: Traits): SideRules {
  return { filesystem: traits.filesystem, stable: traits.stable_ids, granularity: Math.max(traits.mtime_granularity_ns, settableGranularity()) };
}

interface OpenTrees {
  baseline: Map<string, BaselineRow>;
  master: Map<string, Entry>;
  backup: Map<string, Entry>;
  /** Files that are as recorded on both sides. */
  equal: number;
  /** Master's paths by inode where a file has several names. */
  links: Map<string, string[]>;
}

/** Leaves only paths that are not, on both sides, exactly as recorded. */
function openTrees(inputs: Inputs, rules: Rules, limited: Set<string>, problems: Problem[]): OpenTrees {
  const trees: OpenTrees = { baseline: new Map(), master: new Map(), backup: new Map(), equal: 0, links: new Map() };
  for (const row of inputs.rows) trees.baseline.set(keyOf(row.path, rules.keys), row);
  const believe = !rules.compareContents;
  const seen = new Map<string, number>();
  collect('master');
  collect('backup');
  for (const [key, marks] of seen) {
    const row = trees.baseline.get(key) as BaselineRow;
    if (marks === 3) {
      trees.baseline.delete(key);
      if (!row.master_facts.startsWith('d')) trees.equal += 1;
    } else if (marks === 1) trees.master.set(key, new Entry(row.master_facts, row.path, 1, 0, row.link_target));
    else trees.backup.set(key, new Entry(row.backup_facts, row.path, 1, 0, row.link_target));
  }
  return trees;

  function collect(side: 'master' | 'backup'): void {
    const mark = side === 'master' ? 1 : 2;
    const entries = trees[side];
    const { bytes } = inputs[side];
    eachIncluded(bytes, inputs.filter, (view) => {
      const path = bytes.toString('utf8', view.pathStart, view.pathEnd);
      const key = keyOf(path, rules.keys);
      if (side === 'master' && hasSeveralNames(bytes, view)) noteLink(trees.links, bytes, view, path);
      const row = trees.baseline.get(key);
      if (row && believe && row.doubt === '' && row.path === path) {
        const facts = bytes.toString('latin1', view.factsStart, view.factsEnd);
        const target = facts.startsWith('l') ? bytes.toString('utf8', view.pathEnd + 1, view.targetEnd) : '';
        if ((side === 'master' ? row.master_facts : row.backup_facts) === facts && target === row.link_target) {
          seen.set(key, (seen.get(key) ?? 0) + mark);
          return;
        }
      }
      if (entries.has(key)) {
        problems.push({ path, message: `differs only in spelling from '${entries.get(key)?.path}', and one of the drives takes both for one name` });
        return;
      }
      const entry = entryAt(bytes, view, path);
      if (side === 'master' && entry.kind === 'f' && inputs.filter.beyondLimits(entry.size, entry.mtime)) limited.add(path);
      entries.set(key, entry);
    });
  }
}

/** A regular file whose link count is not 1. */
function hasSeveralNames(bytes: Buffer, view: RecordView): boolean {
  return bytes[view.factsStart] === 0x66 && !(bytes[view.factsEnd + 1] === 0x31 && bytes[view.factsEnd + 2] === 0x20);
}

function noteLink(links: Map<string, string[]>, bytes: Buffer, view: RecordView, path: string): void {
  const { ino } = entryAt(bytes, view, path);
  if (ino === '-') return;
  const names = links.get(ino);
  if (names) names.push(path);
  else links.set(ino, [path]);
}

/** Reads the files whose content decides, both sides at once, in small groups so that no worker idles. */
async function readContents(needs: readonly Need[], evidence: Map<string, { master?: string; backup?: string }>, pair: OpenPair, options: SyncOptions, problems: Problem[], ctx: Context): Promise<void> {
  const pool = workersOf(pair, 'plan', options);
    await Promise.all(
      groupNeeds(needs).map(async (group) => {
        const first = group[0] as Need;
        const results = await pool.run('hash', first.side, group.map(({ path, facts }) => ({ path, facts })), (first.algorithm ?? options.checksum_algorithm) as Algorithm);
        ctx.signal.throwIfAborted();
        results.forEach(({ checksum, message, path }, index) => {
          const { key, side } = group[index] as Need;
          evidence.set(key, { ...evidence.get(key), [side]: checksum });
          if (message !== '') problems.push({ path, message: `on the ${side === 'master' ? 'Master' : 'Backup'}: cannot be compared: ${message}` });
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
function withoutImpossible(actions: readonly Action[], plan: Plan, pair: OpenPair): Action[] {
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
  const name = nameProblem(baseName(action.path), { filesystem: traits.filesystem, maxName: traits.max_name, nameUnit: traits.name_unit });
  if (name !== undefined) return name;
  if (action.entry === 'l' && !traits.symlinks) return `${traits.filesystem} has no symbolic links`;
  if (action.size > 0xffff_ffff && /^(vfat|fat|msdos)/.test(traits.filesystem)) return `${traits.filesystem} takes files up to 4 GiB`;
  return undefined;
}

/** Seconds since 1970. FAT and exFAT count years from 1980 to 2107. */
function timeLimits(filesystem: string): [min: number, max: number] {
  if (!isWindowsFamily(filesystem) || filesystem.startsWith('ntfs')) return [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
  return [315_532_800, 4_354_819_198];
}

function noteClamped(action: Action, plan: Plan, traits: Traits): void {
  const [min, max] = timeLimits(traits.filesystem);
  const seconds = Number(new Entry(action.master ?? '', action.path).mtime / 1_000_000_000n);
  if (action.master === null || (seconds >= min && seconds <= max)) return;
  plan.problems.push({ path: action.path, message: `its time lies outside of what ${traits.filesystem} can hold (1980 to 2107) and is stored as the nearest one` });
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

function countTotals(plan: Plan): void {
  const { totals } = plan;
  for (const action of plan.actions) {
    if (action.kind === 'conflict') totals.conflict += 1;
    else if (action.kind === 'delete') totals.delete += action.entry === 'd' ? 0 : 1;
    else if ((action.kind === 'copy' || action.kind === 'update') && action.entry !== 'd') {
      totals[action.kind] += 1;
      if (action.link_to === undefined) totals.bytes += action.size;
    } else if (action.kind === 'skip' || ((action.kind === 'adopt' || action.kind === 'meta') && action.entry !== 'd')) totals.skipped += 1;
  }
  totals.files = totals.copy + totals.update;
}

function emptyMaster(rows: readonly BaselineRow[], master: Scan, target: SyncTarget): Guard[] {
  const files = rows.filter((row) => !row.master_facts.startsWith('d')).length;
  if (master.bytes.length > 0 || files === 0) return [];
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
    else if ((action.kind === 'copy' || action.kind === 'update') && action.link_to === undefined && !action.sparse) needed += Math.ceil(action.size / BLOCK) * BLOCK;
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
