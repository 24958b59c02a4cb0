/**
 * What a restore would do: which paths there are to bring back, and what stands where they belong. It makes the plan that a
 * sync makes, so the same engine carries it out. Reads only.
 */
import { withTheirSets } from '../shared/camera-sets.ts';
import { carriedRows } from '../shared/carry.ts';
import type { Context } from '../shared/context.ts';
import { formatBytes } from '../shared/format.ts';
import { Entry } from '../shared/listing.ts';
import { parentOf, relPath } from '../shared/paths.ts';
import { readState } from '../shared/state.ts';
import { freeBytes } from '../shared/store.ts';
import type { Suffix } from '../shared/stored.ts';
import { settableGranularity } from '../shared/syscalls.ts';
import { type BaselineRow, findPair, readBaseline } from './history.ts';
import { type Item, itemsAt, type Moment, standing, traitsOf } from './origin.ts';
import { countTotals, emptyPlan, type Plan, withoutImpossible } from './plan.ts';
import type { Action } from './reconcile.ts';
import { type OpenPair, recordedAlgorithm, type SyncOptions, syncOptions, workersOf } from './session.ts';
import { haveKey } from './storing.ts';
import { wholeOf } from './targets.ts';

export interface Recall {
  moment: Moment;
  /** Paths or patterns; none: everything. */
  paths: readonly string[];
  /** Named files alone, without what belongs to the same shot. */
  only: boolean;
  options: Partial<SyncOptions>;
  operation: string;
}

/** @param view the drive that is read as its Master, the one that is written to as its Backup. */
export async function recall(view: OpenPair, wanted: Recall, ctx: Context): Promise<Plan> {
  const { moment, operation } = wanted;
  const options = syncOptions(view.group, wanted.options);
  const rows = view.storedSide === 'master' ? await recordedOn(view, ctx) : null;
  const all = await itemsAt(view.master, traitsOf(view.master, view.masterDrive), moment, rows, ctx);
  const paths = wanted.only ? wanted.paths : widened(wanted.paths, all);
  const chosen = chooseItems(all, paths);
  const sealed = options.enable_encryption || chosen.some(({ entry }) => entry.stored.endsWith('.encrypted'));
  if (view.storedSide !== null && sealed) await haveKey(view, ctx);
  const plan = { ...emptyPlan(view, wholeOf(view.group), options, ctx), careful: null };
  const there = standing(
    view.backup,
    chosen.map(({ path }) => path),
    view.backupTraits.stable_ids,
  );
  const equal = await equalContents(chosen, there, view, options, operation, ctx);
  const actions = new Map<string, Action>();
  for (const item of chosen) {
    const action = actionFor(item, there.get(item.path), { view, options, equal });
    if (action) actions.set(item.path, action);
    else if (item.entry.kind !== 'd') plan.totals.skipped += 1;
  }
  if (chosen.length === 0)
    plan.problems.push({ path: paths[0] ?? '', message: 'there is nothing of this name to restore' });
  linkAgain(actions, chosen, view);
  shareAgain(actions, there);
  plan.actions = withoutImpossible([...actions.values()], plan, view);
  countTotals(plan);
  guardSpace(plan, view);
  return plan;
}

// --- internal ---

/** A file that is named brings along what belongs to the same shot; folders and patterns mean what they say. */
function widened(paths: readonly string[], all: ReadonlyMap<string, Item>): string[] {
  const isFile = (text: string): boolean => all.get(relPath(text))?.entry.kind === 'f';
  return paths.flatMap((text) => (isFile(text) ? [...withTheirSets([relPath(text)], all.keys())] : [text]));
}

/** The items that the paths name, with all that is below and the folders above them, parents first. */
function chooseItems(all: ReadonlyMap<string, Item>, paths: readonly string[]): Item[] {
  const matches = paths.map((text) => matcher(text, all));
  const wanted = new Set<string>();
  for (const { path, entry } of all.values()) {
    if (entry.kind === 'o' || (paths.length > 0 && !matches.some((one) => one(path)))) continue;
    for (let at: string = path; at !== '' && !wanted.has(at); at = parentOf(at)) wanted.add(at);
  }
  // A folder that is gone by now is made for what was in it.
  const folder = (path: string): Item => ({
    path,
    entry: new Entry('d 0 0 - - 755 0 0', path),
    from: '',
    size: 0,
    rank: 0,
  });
  return [...wanted].sort(byPath).map((path) => all.get(path) ?? folder(path));
}

function byPath(a: string, b: string): number {
  const [left, right] = [a.replaceAll('/', '\0'), b.replaceAll('/', '\0')];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** A name that is there means itself; another one is a pattern. Either takes what is below it. */
function matcher(text: string, all: ReadonlyMap<string, Item>): (path: string) => boolean {
  const path = relPath(text);
  if (path === '' || all.has(path)) return (other) => path === '' || other === path || other.startsWith(`${path}/`);
  const source = path.replace(/\*\*\/?|[*?]|[.+^${}()|[\]\\]/g, (part) => {
    if (part === '**/') return '(?:.*/)?';
    if (part === '**') return '.*';
    return part === '*' ? '[^/]*' : part === '?' ? '[^/]' : `\\${part}`;
  });
  const pattern = new RegExp(`^${source}(?:/.*)?$`, 's');
  return (other) => pattern.test(other);
}

interface Inputs {
  view: OpenPair;
  options: SyncOptions;
  /** Paths whose contents were read: whether they are the same on both sides. */
  equal: ReadonlyMap<string, boolean>;
}

function actionFor(item: Item, there: Entry | undefined, inputs: Inputs): Action | undefined {
  const { path, entry, from, size } = item;
  if (entry.kind === 'o') return undefined;
  if (entry.kind === 'd' && there?.kind === 'd') return undefined;
  if (there && entry.kind !== 'd' && (inputs.options.skip_existing || isEqual(item, there, inputs))) return undefined;
  const newer = there !== undefined && there.mtime > entry.mtime ? 'newer' : 'other';
  const action: Action = {
    kind: there ? 'update' : entry.kind === 'd' ? 'mkdir' : 'copy',
    path,
    entry: entry.kind,
    size: entry.kind === 'f' ? (size ?? entry.size) : 0,
    reason: there
      ? `a${newer === 'other' ? 'n' : ''} ${newer} ${there.kind === 'd' ? 'folder' : 'file'} stands there; it becomes a version`
      : 'missing',
    master: entry.facts,
    backup: there?.facts ?? null,
  };
  if (from !== undefined && isVersion(item)) action.source_path = from;
  if (entry.stored !== '') action.stored = entry.stored;
  else if (entry.kind === 'f' && entry.blocks >= 0 && entry.size >= 65_536 && entry.blocks * 512 < entry.size)
    action.sparse = true;
  return action;
}

function isEqual(item: Item, there: Entry, { view, equal }: Inputs): boolean {
  return equal.get(item.path) ?? looksEqual(item, there, view);
}

function looksEqual({ entry, size }: Item, there: Entry, { masterTraits, backupTraits }: OpenPair): boolean {
  if (entry.kind !== there.kind) return false;
  // What it holds, or how much, cannot be told: then it is brought back, and what stands there becomes a version.
  if (size !== there.size) return false;
  const granule = Math.max(masterTraits.mtime_granularity_ns, backupTraits.mtime_granularity_ns, settableGranularity());
  const apart = entry.mtime - there.mtime;
  return (apart < 0n ? -apart : apart) < BigInt(granule === 1 ? 1 : granule);
}

/** A version lies elsewhere than the file that it is one of. */
function isVersion({ path, entry, from }: Item): boolean {
  return from !== undefined && from !== path + entry.stored;
}

/** With `--checksum`, and of versions that look like what stands there: that took their place because it differed. */
async function equalContents(
  chosen: readonly Item[],
  there: ReadonlyMap<string, Entry>,
  view: OpenPair,
  options: SyncOptions,
  operation: string,
  ctx: Context,
): Promise<ReadonlyMap<string, boolean>> {
  const alike = chosen.filter((item) => {
    const { path, entry, size } = item;
    const other = there.get(path);
    if (entry.kind !== 'f' || other?.kind !== 'f') return false;
    if (options.checksum) return size === null || other.size === size;
    return isVersion(item) && looksEqual(item, other, view);
  });
  const equal = new Map<string, boolean>();
  if (alike.length === 0) return equal;
  const pool = workersOf(view, operation, options);
  const algorithm = recordedAlgorithm(view, options);
  for (const item of alike) {
    const other = there.get(item.path) as Entry;
    const [[source], [target]] = await Promise.all([
      pool.run('hash', 'master', [{ path: item.path, at: item.from ?? item.path, ...contentOf(item) }], algorithm),
      pool.run('hash', 'backup', [{ path: item.path, facts: other.facts }], algorithm),
    ]);
    ctx.signal.throwIfAborted();
    equal.set(item.path, source !== undefined && source.checksum !== '' && source.checksum === target?.checksum);
  }
  return equal;
}

function contentOf({ entry: { facts, stored } }: Item): { facts: string; stored: Suffix } {
  return { facts, stored };
}

/** What is recorded of the drive that is read: here, or else on the drive itself. */
async function recordedOn(view: OpenPair, ctx: Context): Promise<BaselineRow[]> {
  const pairId = await findPair(view.backupUuid, view.masterUuid, ctx);
  if (pairId !== null) return readBaseline(pairId, '', ctx);
  const { state } = readState(view.master.dir);
  if (state === null || state.generation === '' || state.backup_uuid !== view.masterUuid) return [];
  // A state that cannot be used costs a look at each file.
  return carriedRows({ root: view.master, state }).catch(() => []);
}

/** Further names of a file become names of the same file again, where the other side can. */
function linkAgain(actions: ReadonlyMap<string, Action>, chosen: readonly Item[], view: OpenPair): void {
  if (!view.backupTraits.hard_links || !view.masterTraits.stable_ids) return;
  const first = new Map<string, string>();
  for (const { path, entry, from } of chosen) {
    const action = actions.get(path);
    if (!action || entry.kind !== 'f' || entry.nlink < 2 || (from !== undefined && entry.stored === '')) continue;
    const known = first.get(entry.ino);
    if (known === undefined) first.set(entry.ino, path);
    else action.link_to = known;
  }
}

/** What stands in the way may be one file under several names, whose changes move each other's ctime. */
function shareAgain(actions: ReadonlyMap<string, Action>, there: ReadonlyMap<string, Entry>): void {
  for (const [path, action] of actions) if ((there.get(path)?.nlink ?? 1) > 1) action.backup_shared = true;
}

function guardSpace(plan: Plan, view: OpenPair): void {
  const needed = plan.actions.reduce(
    (sum, { size, link_to, sparse }) => sum + (link_to || sparse ? 0 : size + 4096),
    0,
  );
  const free = freeBytes(view.backup);
  if (needed <= free) return;
  plan.guards.push({
    name: 'free-space',
    message: `'${view.backup.label}' has ${formatBytes(free)} free, but this restore needs ${formatBytes(needed)}.`,
    hint: 'Restore single paths, or another place with --to; --force free-space copies as much as fits.',
  });
}
