/**
 * What a watcher does with paths that were touched on the Master: looks at each of them once, leaves out what is as it was
 * recorded or still being written, and brings the rest to the Backup as one ordinary run over the smallest places that
 * hold it, with the same decisions, guards and versions as any sync. A deletion has to be seen twice, some seconds apart,
 * before it is passed on. Where nothing is to be done no operation comes into the history.
 */
import type { Context } from '../shared/context.ts';
import { Filter } from '../shared/filters.ts';
import { FolderCache } from '../shared/folders.ts';
import { readConflicts } from '../shared/inbox.ts';
import { factsField, factsOf } from '../shared/listing.ts';
import { baseName, isInside, parentOf, type RelPath, relPath } from '../shared/paths.ts';
import { isBeingWritten, type Stat, statAt } from '../shared/syscalls.ts';
import { commonPlace, coveringPlaces } from '../shared/watch-queue.ts';
import { WorkerPool } from '../shared/workers.ts';
import { assertGuards } from './guards.ts';
import { findPair, readBaseline, readRows } from './history.ts';
import { makeRoom } from './manifests.ts';
import { makePlan, type Plan } from './plan.ts';
import type { Action } from './reconcile.ts';
import { runLocked, type SyncResult } from './run.ts';
import { type OpenPair, openPair, type SyncOptions, syncOptions, workersOf } from './session.ts';
import { settleByPolicy } from './settle.ts';
import { haveKey, storingOf } from './storing.ts';
import type { Target } from './targets.ts';
import { lookAhead } from './travel.ts';

/** Of what is being written: when it is looked at again. */
const LOOK_AGAIN_MS = 1000;
/** A file that stays open for writing counts as quiet when it has not changed for so long. */
const OPEN_AND_QUIET_MS = 600_000;
/** More places than these are looked at as the folders that hold them. */
const MOST_PLACES = 16;
/** Of more paths than these not each is looked at by itself. */
const MANY = 2000;
/** So many touched paths are left to the threads that wait for them; more are worth threads of their own. */
const HANDFUL = 256;
/** The same of all that is to be done, as far as its bytes go. */
const FEW_BYTES = 64 * 1024 * 1024;
const WAITING_THREADS = 2;

/** More parts of the target than these are not worth an operation each. */
const MOST_PARTS = 4;

/** What a batch came to. */
export interface Batch {
  /** One for each part of the target in which there was something to be done. */
  results: SyncResult[];
  /** To be looked at again, and in how many milliseconds. */
  again: { path: string; delay: number }[];
}

/** Looks at one folder of a pair again and again; remembers what it has seen missing. */
export class Follower {
  private readonly target: Target;
  private readonly ctx: Context;
  private readonly options: Partial<SyncOptions>;
  /** Milliseconds for which a file must not have changed. */
  private readonly quiet: number;
  private readonly lockWait: number;
  private readonly secondLook: number;
  /** When each path was first seen to be absent on the Master. */
  private readonly missing = new Map<string, number>();
  private spare: WorkerPool | undefined;

  /** @param settings `lockWait`: seconds to wait for another writer; `secondLook`: milliseconds between the two looks that a deletion needs. */
  constructor(target: Target, settings: { quiet: number; lockWait: number; secondLook: number }, ctx: Context) {
    this.target = target;
    this.quiet = settings.quiet;
    this.lockWait = settings.lockWait;
    this.secondLook = settings.secondLook;
    this.ctx = ctx;
    const { options } = target.group;
    this.options = { on_master_delete: options.on_master_delete ?? 'trash' };
  }

  /** Has the key of a sealed group ready, which the process then remembers. @throws TandemError `key`, `drive_missing`. */
  async prepare(): Promise<void> {
    const pair = await openPair(this.target.group, this.ctx, true);
    try {
      const pairId = await findPair(pair.masterUuid, pair.backupUuid, this.ctx);
      const storing = await storingOf(pairId, syncOptions(this.target.group, this.options), this.ctx);
      if (storing.sealed) await haveKey(pair, this.ctx);
    } finally {
      await pair.close();
    }
  }

  /** So that the first change finds its thread running. */
  warm(): void {
    this.spare ??= new WorkerPool(1, WAITING_THREADS).warm();
  }

  /** What was seen before the drive went says nothing about the drive that came. */
  forget(): void {
    this.missing.clear();
  }

  /** @param touched from the drive's root. @throws TandemError as every run does. */
  async follow(touched: readonly string[]): Promise<Batch> {
    const again: Batch['again'] = [];
    const results: SyncResult[] = [];
    for (const places of await this.placesOf(touched, again))
      results.push(await this.run(places, touched.length <= HANDFUL, again));
    return { results, again };
  }

  /** Everything, whatever was touched. */
  async followAll(): Promise<Batch> {
    const again: Batch['again'] = [];
    const work = await this.workOn([this.target.subpath], again);
    if (work === 'none') return { results: [], again };
    return { results: [await this.run([this.target.subpath], work === 'little', again)], again };
  }

  async close(): Promise<void> {
    await this.spare?.close();
    this.spare = undefined;
  }

  /** The places of what is to be done, operation by operation; none: nothing is. */
  private async placesOf(touched: readonly string[], again: Batch['again']): Promise<RelPath[][]> {
    if (touched.length > MANY) {
      const place = relPath(commonPlace(touched));
      const places = [isInside(place, this.target.subpath) ? place : this.target.subpath];
      return (await this.workOn(places, again)) === 'none' ? [] : [places];
    }
    const pair = await openPair(this.target.group, this.ctx, true);
    let looks: Looks;
    try {
      looks = await this.lookAt(touched, pair, again);
    } finally {
      await pair.close();
    }
    const { changed, folders, gone, exchanged, whole } = looks;
    if (whole) return [[this.target.subpath]];
    const open = [...changed, ...folders, ...gone];
    if (open.length === 0) return [];
    // What is gone here and new there may have been renamed: one look has to see both.
    const renamed = exchanged || (gone.length > 0 && changed.length + folders.length > 0);
    const covering = renamed ? [commonPlace(open)] : coveringPlaces(open, MOST_PLACES);
    const places = covering.map((place) =>
      isInside(place, this.target.subpath) ? relPath(place) : this.target.subpath,
    );
    if (changed.length === 0 && (await this.workOn(places, again)) === 'none') return [];
    return this.inParts(places);
  }

  /** No operation may look like one on all of the target when it looked at some places of it. */
  private inParts(places: readonly RelPath[]): RelPath[][] {
    const { subpath } = this.target;
    if (places.includes(subpath)) return [[subpath]];
    const parts = new Map<string, RelPath[]>();
    for (const place of places) {
      const [part = ''] = place.slice(subpath === '' ? 0 : subpath.length + 1).split('/');
      parts.set(part, [...(parts.get(part) ?? []), place]);
    }
    return parts.size > MOST_PARTS ? [[subpath]] : [...parts.values()];
  }

  private async lookAt(touched: readonly string[], pair: OpenPair, again: Batch['again']): Promise<Looks> {
    const looks: Looks = { changed: [], folders: [], gone: [], exchanged: false, whole: false };
    const options = syncOptions(this.target.group, this.options);
    const filter = new Filter(options.filters, this.ctx.now());
    const pairId = await findPair(pair.masterUuid, pair.backupUuid, this.ctx);
    if (pairId === null) return { ...looks, whole: true };
    const rows = new Map((await readRows(pairId, touched, this.ctx)).map((row) => [row.path, row]));
    const cache = new FolderCache(pair.master.dir);
    try {
      for (const path of touched) {
        if (path === this.target.subpath) looks.whole = true;
        if (looks.whole || !isInside(path, this.target.subpath) || filter.excludesAny(path)) continue;
        cache.trim();
        const stat = statIn(cache, path);
        if (stat === undefined) {
          looks.whole = true;
          continue;
        }
        const row = rows.get(path);
        if (stat === null) {
          // A look at its folder tells one that lost a file from one that was emptied.
          if (row || (await readBaseline(pairId, path, this.ctx)).length > 0) looks.gone.push(parentOf(path));
        } else if (stat.kind === 'd') {
          looks.folders.push(path);
          looks.exchanged ||= row !== undefined && factsField(row.master_facts, INODE) !== inodeOf(stat, pair);
        } else if (stat.kind === 'f' && this.isBusy(pair, path, factsOf(stat, true), cache))
          again.push({ path, delay: Math.max(this.quiet, LOOK_AGAIN_MS) });
        else if (row?.master_facts !== factsOf(stat, pair.masterTraits.stable_ids)) {
          looks.changed.push(path);
          // Its other names are somewhere else.
          if (stat.kind === 'f' && stat.nlink > 1) looks.whole = true;
        }
      }
    } finally {
      cache.clear();
    }
    return looks;
  }

  /** Changed a moment ago, or open for writing. */
  private isBusy(pair: OpenPair, path: string, facts: string, cache?: FolderCache): boolean {
    const changed = Number(factsField(facts, factsField(facts, 3) === '-' ? 2 : 3)) * 1000;
    const age = this.ctx.now().getTime() - changed;
    if (age >= 0 && age < Math.min(this.quiet, 2000)) return true;
    if (age > OPEN_AND_QUIET_MS) return false;
    const folders = cache ?? new FolderCache(pair.master.dir);
    try {
      return isBeingWritten(folders.open(parentOf(path)), baseName(path)) === true;
    } catch {
      return false;
    } finally {
      if (!cache) folders.clear();
    }
  }

  /** Reads only: what a run would do beyond looking. */
  private async workOn(places: readonly RelPath[], again: Batch['again']): Promise<Work> {
    const pair = await openPair(this.target.group, this.ctx, true);
    try {
      await lookAhead(pair, this.ctx);
      const plan = this.heldBack(await this.planFor(pair, places, this.ctx), pair, again);
      const pairId = await findPair(pair.masterUuid, pair.backupUuid, this.ctx);
      if (pairId === null) return 'much';
      const { actions, settled, totals } = plan;
      const much = actions.filter(({ kind }) => kind !== 'skip').length > HANDFUL || totals.bytes > FEW_BYTES;
      const work = much ? 'much' : 'little';
      if (settled.length > 0) return work;
      // A run makes room where it can; any other guard would refuse it, and the history would fill with refusals.
      assertGuards({ ...plan, guards: plan.guards.filter(({ name }) => name !== 'free-space') }, this.ctx);
      const waiting = new Set((await readConflicts(pairId, plan.target.subpath, this.ctx)).map(({ path }) => path));
      const isNew = actions.some(({ kind, path }) =>
        kind === 'conflict' ? !waiting.has(path) : kind !== 'skip' && kind !== 'adopt',
      );
      return isNew ? work : 'none';
    } finally {
      await pair.close();
    }
  }

  /** @param little work is left to the threads that wait for it. */
  private async run(places: readonly RelPath[], little: boolean, again: Batch['again']): Promise<SyncResult> {
    const target = { ...this.target, subpath: relPath(commonPlace(places)) };
    const open = async (ctx: Context): Promise<OpenPair> => {
      const pair = await openPair(this.target.group, ctx, false);
      if (little) this.lend(pair);
      return pair;
    };
    const flags = { options: this.options, lockWait: this.lockWait };
    const prepare: Parameters<typeof runLocked>[3] = async ({ pair, operation }, running) => {
      const options = syncOptions(this.target.group, this.options);
      const whole = await this.planFor(pair, places, running, () => workersOf(pair, operation, options).warm());
      const plan = this.heldBack(whole, pair, again);
      await makeRoom(plan, pair, operation, running);
      assertGuards(plan, running);
      return settleByPolicy(plan, options.conflict_policy, pair, running);
    };
    try {
      return await runLocked(target, flags, this.ctx, prepare, 'sync', open);
    } finally {
      // The next handful finds its thread running already.
      if (!this.ctx.signal.aborted) this.warm();
    }
  }

  /** Threads for a run, to be used again by the next: each one that is started leaves some memory behind for good. */
  private lend(pair: OpenPair): void {
    const pool = this.spare;
    if (!pool) return;
    this.spare = undefined;
    pair.workers = pool;
    const { close } = pair;
    pair.close = async () => {
      if (pair.workers === pool) {
        pair.workers = undefined;
        if (await pool.rest()) this.spare = pool;
      }
      await close();
    };
  }

  /** One plan over all places; its guards judge by the whole target, of which an emptied folder is only a part. */
  private async planFor(
    pair: OpenPair,
    places: readonly RelPath[],
    ctx: Context,
    foresee: () => void = () => {},
  ): Promise<Seen> {
    const options = syncOptions(this.target.group, this.options);
    const plans: Plan[] = [];
    const existing = places.filter((place) => place === this.target.subpath || this.isAnywhere(pair, place));
    for (const place of existing)
      plans.push(await makePlan(pair, { ...this.target, subpath: place }, options, ctx, foresee));
    const whole = existing.includes(this.target.subpath);
    if (!whole && (plans.length === 0 || plans.some(({ guards }) => guards.some(({ name }) => name !== 'free-space'))))
      return { plan: await makePlan(pair, this.target, options, ctx, foresee), places: [this.target.subpath] };
    return { plan: plans.length === 1 ? (plans[0] as Plan) : together(plans), places };
  }

  private isAnywhere(pair: OpenPair, place: string): boolean {
    return [pair.master, pair.backup].some(({ dir }) => {
      const folders = new FolderCache(dir);
      try {
        return folders.exists(place);
      } catch {
        return true;
      } finally {
        folders.clear();
      }
    });
  }

  /** The plan without deletions that were seen for the first time, and without files that are still being written. */
  private heldBack({ plan, places }: Seen, pair: OpenPair, again: Batch['again']): Plan {
    const now = this.ctx.now().getTime();
    const deleted = new Set(plan.actions.filter(({ kind }) => kind === 'delete').map(({ path }) => path as string));
    for (const path of this.missing.keys())
      if (!deleted.has(path) && places.some((place) => isInside(path, place))) this.missing.delete(path);
    const held = new Set<string>();
    let next = 0;
    for (const path of deleted) {
      const since = this.missing.get(path);
      // A clock that was set back makes the first look count anew.
      if (since !== undefined && now >= since && now - since >= this.secondLook) continue;
      if (since === undefined || now < since) this.missing.set(path, now);
      next = Math.max(next, this.secondLook - (now - (this.missing.get(path) as number)));
      // The folders above it cannot go either.
      for (let at = path; at !== '' && !held.has(at); at = parentOf(at)) held.add(at);
    }
    if (next > 0) for (const path of coveringPlaces(deleted, MOST_PLACES)) again.push({ path, delay: next + 50 });
    const writing = plan.actions.filter(
      ({ kind, entry, path, master }) =>
        (kind === 'copy' || kind === 'update') && entry === 'f' && master !== null && this.isBusy(pair, path, master),
    );
    for (const { path } of writing) again.push({ path, delay: Math.max(this.quiet, LOOK_AGAIN_MS) });
    const waiting = new Set<Action>(writing);
    // Metadata of a folder that is about to lose something is set when it has.
    const early = ({ kind, entry, path }: Action): boolean =>
      held.has(path) && (kind === 'delete' || (kind === 'meta' && entry === 'd'));
    const actions = plan.actions.filter((one) => !waiting.has(one) && !early(one));
    return actions.length === plan.actions.length ? plan : counted(plan, actions);
  }
}

// --- internal ---

type Work = 'none' | 'little' | 'much';

interface Seen {
  plan: Plan;
  /** What it looked at, with all that is below. */
  places: readonly string[];
}

interface Looks {
  /** Files and links that are not as recorded. */
  changed: string[];
  /** Folders: what is in them is known only after a look. */
  folders: string[];
  /** Folders that something recorded is missing from. */
  gone: string[];
  /** A folder has the name of one that was recorded, which may be somewhere else now. */
  exchanged: boolean;
  /** Only a look at everything can tell. */
  whole: boolean;
}

/** Where facts have it; a drive without lasting ones cannot tell. */
const INODE = 4;

function inodeOf({ ino }: Stat, { masterTraits }: OpenPair): string {
  return masterTraits.stable_ids ? String(ino) : '';
}

/** Null: it is not there; undefined: that cannot be told. */
function statIn(cache: FolderCache, path: string): Stat | null | undefined {
  try {
    return cache.exists(path) ? statAt(cache.open(parentOf(path)), baseName(path)) : null;
  } catch {
    return undefined;
  }
}

/** Plans of places that do not lie in each other, as one over the folder that holds them all. */
function together(plans: readonly Plan[]): Plan {
  const [first, ...others] = plans as [Plan, ...Plan[]];
  const made = new Set<string>();
  const actions = plans
    .flatMap((plan) => plan.actions)
    .filter(({ kind, path }) => {
      // Folders above the places are needed by several of them.
      if (kind !== 'mkdir') return true;
      const isNew = !made.has(path);
      made.add(path);
      return isNew;
    });
  const totals = { ...first.totals };
  for (const key of Object.keys(totals) as (keyof Plan['totals'])[])
    for (const plan of others) totals[key] += plan.totals[key];
  const subpath = commonPlace(plans.map(({ target }) => target.subpath));
  return {
    ...first,
    target: { ...first.target, subpath },
    actions,
    totals,
    problems: plans.flatMap(({ problems }) => problems),
    failed: plans.reduce((sum, { failed }) => sum + failed, 0),
    settled: plans.flatMap(({ settled }) => settled),
    guards: plans.flatMap(({ guards }) => guards),
  };
}

/** The plan with fewer actions. */
function counted(plan: Plan, actions: Action[]): Plan {
  const left = plan.actions.filter((one) => !actions.includes(one));
  const files = (kind: Action['kind']): number => left.filter((one) => one.kind === kind && one.entry !== 'd').length;
  const { totals } = plan;
  const [copy, update] = [files('copy'), files('update')];
  const bytes = left.reduce((sum, { kind, size }) => sum + (kind === 'delete' ? 0 : size), 0);
  return {
    ...plan,
    actions,
    totals: {
      ...totals,
      copy: totals.copy - copy,
      update: totals.update - update,
      delete: totals.delete - files('delete'),
      files: totals.files - copy - update,
      bytes: Math.max(0, totals.bytes - bytes),
    },
  };
}
