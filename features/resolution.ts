/**
 * How is a conflict to be settled? From the conflicts of a plan, and the side that shall stand for each, come the steps of
 * a run: from the Backup to the Master where the Backup stands, from the Master to the Backup where the Master does. What
 * loses goes to the trash of its own drive. The plan was made just now, so a choice rests on both drives as they are.
 */
import type { Problem } from '../shared/errors.ts';
import { Entry, eachRecord, entryAt } from '../shared/listing.ts';
import type { Policy } from '../shared/options.ts';
import { baseName, isInside, joinPath, nameProblem, parentOf, sortPaths } from '../shared/paths.ts';
import type { BaselineRow } from '../shared/rows.ts';
import { mountsBelow, type Scan, walkTree } from '../shared/scan.ts';
import type { DriveRoot } from '../shared/store.ts';
import { BackupNames, PLAIN, SUFFIXES, type Suffix } from '../shared/stored.ts';
import { statAt } from '../shared/syscalls.ts';
import type { Traits } from './detect.ts';
import { type Plan, planOf } from './plan.ts';
import type { Action } from './reconcile.ts';
import type { OpenPair } from './session.ts';
import { formsOf } from './storing.ts';

export type Keep = Exclude<Policy, 'ask'>;

export interface Choice {
  /** An action of kind `conflict`. */
  conflict: Action;
  keep: Keep;
}

/** Part of `Step` in features/run.ts. */
export interface ResolutionStep {
  plan: Plan;
  strict: boolean;
  reversed: boolean;
  follows: boolean;
  resolves: readonly string[];
}

/**
 * The steps that settle these conflicts, in their order.
 * @param rows the baseline, to forget what goes with a folder, and to know what the names on the Backup stand for.
 * @returns problems for choices that cannot be made: those conflicts stay.
 */
export function resolutionSteps(
  base: Plan,
  choices: readonly Choice[],
  rows: readonly BaselineRow[],
  pair: OpenPair,
): { steps: ResolutionStep[]; problems: Problem[] } {
  const recorded = rows.map(({ path }) => path);
  const sides = new Sides(pair, new BackupNames({ ...PLAIN, wanted: formsOf(base.options).wanted }, rows));
  const problems: Problem[] = [];
  for (const { conflict, keep } of choices) {
    const side = winner(conflict, keep);
    if (typeof side === 'object') problems.push({ path: conflict.path, message: side.problem });
    else if (side === 'both') problems.push(...sides.keepBoth(conflict));
    else if (side === 'master') sides.keepMaster(conflict, recorded);
    else sides.keepBackup(conflict, recorded);
  }
  sides.clearFolders();
  return { steps: sides.steps(base), problems };
}

/** `Photo3.jpg` → `Photo3_backup.jpg`; a sidecar keeps the name it belongs to: `A.CR3.xmp` → `A_backup.CR3.xmp`. */
export function besideName(name: string, number: number): string {
  const [, stem = name, extension = ''] = /^(.+?)((?:\.[^.]{1,8})?\.(?:xmp|dop|pp3|thm|cos))$/i.exec(name) ??
    /^(.+)(\.[^.]*)$/.exec(name) ?? [name, name, ''];
  return `${stem}_backup${number === 1 ? '' : `_${number}`}${extension}`;
}

// --- internal ---

/** Which side stands; for `newest` and `largest` what the facts say. */
function winner({ master, backup, path }: Action, keep: Keep): 'master' | 'backup' | 'both' | { problem: string } {
  if (keep === 'both') {
    if (master === null || backup === null) return master === null ? 'backup' : 'master';
    if (backup.startsWith('f ')) return 'both';
    return { problem: 'only a file can be kept under a second name: choose master or backup' };
  }
  if (keep === 'master' || keep === 'backup') return keep;
  if (master === null || backup === null)
    return { problem: `only one side has it, so none is the ${keep}: choose master or backup` };
  const [m, b] = [new Entry(master, path), new Entry(backup, path)];
  const [left, right] = keep === 'newest' ? [m.mtime, b.mtime] : [BigInt(m.size), BigInt(b.size)];
  if (left === right)
    return { problem: `both sides have the same ${keep === 'newest' ? 'time' : 'size'}: choose master or backup` };
  return left > right ? 'master' : 'backup';
}

interface Side {
  root: DriveRoot;
  traits: Traits;
  /** Of a Backup: what the names on it stand for. */
  names: BackupNames | null;
}

class Sides {
  private readonly master: Side;
  private readonly backup: Side;
  private readonly toMaster: Action[] = [];
  private readonly toBackup: Action[] = [];
  /** Files that the first step brings to the Master, to be taken back to the Backup under their new names. */
  private readonly beside: Action[] = [];
  private readonly resolved: string[] = [];
  private readonly taken = new Set<string>();

  constructor(pair: OpenPair, names: BackupNames) {
    this.master = { root: pair.master, traits: pair.masterTraits, names: null };
    this.backup = { root: pair.backup, traits: pair.backupTraits, names };
  }

  keepMaster(conflict: Action, recorded: readonly string[]): void {
    this.resolved.push(conflict.path);
    this.toBackup.push(...carry(conflict, conflict.master, conflict.backup, this.master, this.backup));
    this.toBackup.push(...forgotten(conflict, conflict.backup, conflict.master, recorded));
  }

  keepBackup(conflict: Action, recorded: readonly string[]): void {
    this.resolved.push(conflict.path);
    this.toMaster.push(...carry(conflict, conflict.backup, conflict.master, this.backup, this.master));
    this.toMaster.push(...forgotten(conflict, conflict.master, conflict.backup, recorded));
  }

  /** The Backup's file gets a name of its own on both sides; then the Master's takes its place. */
  keepBoth(conflict: Action): Problem[] {
    const why = this.nameProblem(conflict.path);
    if (why !== undefined) return [{ path: conflict.path, message: `its second name cannot be stored: ${why}` }];
    this.resolved.push(conflict.path);
    const path = this.freeName(conflict.path);
    const { size } = new Entry(conflict.backup ?? '', path);
    const copy = { kind: 'copy', path, entry: 'f', size, backup: null } as const;
    this.toMaster.push({
      ...copy,
      master: conflict.backup,
      source_path: conflict.path + (conflict.stored ?? ''),
      ...storedAs(conflict),
      reason: "the Backup's version, beside the Master's",
    });
    this.beside.push({ ...copy, master: null, reason: "the Backup's version, beside the Master's" });
    this.toBackup.push(...carry(conflict, conflict.master, conflict.backup, this.master, this.backup));
    return [];
  }

  /** Folders that are on one side only go when all that is in them goes. */
  clearFolders(): void {
    this.toBackup.push(...emptied(this.toBackup, this.backup, this.master));
    this.toMaster.push(...emptied(this.toMaster, this.master, this.backup));
  }

  steps(base: Plan): ResolutionStep[] {
    const step = (actions: readonly Action[], reversed: boolean, strict: boolean): ResolutionStep => {
      const order = new Map(sortPaths(new Set(actions.map(({ path }) => path))).map((path, index) => [path, index]));
      const once = new Map(actions.map((action) => [`${action.kind} ${action.path}`, action]));
      const sorted = [...once.values()].sort((a, b) => (order.get(a.path) ?? 0) - (order.get(b.path) ?? 0));
      return { plan: planOf(base, sorted, []), strict, reversed, follows: false, resolves: [] };
    };
    const steps = [
      step(this.toMaster, true, true),
      step(this.toBackup, false, true),
      step(this.beside, false, false),
    ].filter(({ plan }) => plan.actions.length > 0);
    for (const one of steps.slice(1)) one.follows = true;
    const last = steps.at(-1);
    if (last) last.resolves = this.resolved;
    return steps;
  }

  /** Why one of the drives cannot hold the second name; undefined when both can. */
  private nameProblem(path: string): string | undefined {
    const name = besideName(baseName(path), 1);
    for (const { traits } of [this.master, this.backup]) {
      const { filesystem, max_name: maxName, name_unit: nameUnit } = traits;
      const why = nameProblem(name, { filesystem, maxName, nameUnit });
      if (why !== undefined) return why;
    }
    return undefined;
  }

  private freeName(path: string): string {
    for (let number = 1; ; number += 1) {
      const free = joinPath(parentOf(path), besideName(baseName(path), number));
      const forms = ['', ...SUFFIXES].map((suffix) => free + suffix);
      const exists = [this.master, this.backup].some(({ root }) => forms.some((one) => statAt(root.dir, one) !== null));
      if (exists || this.taken.has(free)) continue;
      this.taken.add(free);
      return free;
    }
  }
}

/** Makes `target` like `source` at this path: copies, with what a folder holds and the folders above, or deletes. */
function carry(conflict: Action, source: string | null, target: string | null, from: Side, to: Side): Action[] {
  const { path } = conflict;
  if (source === null) return target === null ? [] : [{ ...removal(path, target), ...storedAs(conflict) }];
  const actions: Action[] = missingParents(path, to);
  const entry = kindOf(source);
  const size = new Entry(source, path).size;
  if (entry === 'd' && target?.startsWith('d ')) return [];
  const kind = target !== null ? 'update' : entry === 'd' ? 'mkdir' : 'copy';
  const shared = to.names !== null && conflict.backup_shared ? { backup_shared: true as const } : {};
  const facts = { master: source, backup: target, ...storedAs(conflict), ...shared };
  actions.push({ kind, path, entry, size: entry === 'f' ? size : 0, reason: 'chosen', ...facts });
  if (entry === 'd') actions.push(...contents(path, from));
  return actions;
}

/** Whichever side stands, it is the Backup's file that may be stored otherwise. */
function storedAs({ stored }: Pick<Action, 'stored'>): Pick<Action, 'stored'> {
  return stored === undefined ? {} : { stored };
}

function removal(path: string, facts: string): Action {
  const entry = kindOf(facts);
  const size = entry === 'f' ? new Entry(facts, path).size : 0;
  return { kind: 'delete', path, entry, size, reason: 'chosen', master: null, backup: facts };
}

function kindOf(facts: string): Action['entry'] {
  return facts.startsWith('d') ? 'd' : facts.startsWith('l') ? 'l' : 'f';
}

function missingParents(path: string, { root }: Side): Action[] {
  const missing: Action[] = [];
  for (let at: string = parentOf(path); at !== '' && statAt(root.dir, at) === null; at = parentOf(at)) {
    missing.unshift({
      kind: 'mkdir',
      path: at,
      entry: 'd',
      size: 0,
      reason: 'above what was chosen',
      master: null,
      backup: null,
    });
  }
  return missing;
}

/** What a folder holds, to be copied with it. */
function contents(folder: string, side: Side): Action[] {
  const { bytes } = walk(folder, side);
  const actions: Action[] = [];
  eachRecord(bytes, (view) => {
    const place = bytes.toString('utf8', view.pathStart, view.pathEnd);
    const found = entryAt(bytes, view, place);
    if (place === folder || found.kind === 'o') return;
    const kind = found.kind === 'd' ? 'mkdir' : 'copy';
    const size = found.kind === 'f' ? found.size : 0;
    const { path, stored } = meant(place, found.kind, side);
    const facts = { master: found.facts, backup: null, ...(stored === '' ? {} : { stored }) };
    actions.push({ kind, path, entry: found.kind, size, reason: 'chosen', ...facts });
  });
  return actions;
}

/** What lies on a stored Backup under its own name and should not is brought over as it is. */
function meant(place: string, kind: Entry['kind'], { names }: Side): { path: string; stored: Suffix } {
  return (kind === 'f' ? names?.of(place) : null) ?? { path: place, stored: '' };
}

function walk(subpath: string, { root, traits }: Side): Scan {
  return walkTree({ root: root.dir, subpath, stable: traits.stable_ids, mounts: mountsBelow(root.mountPath) });
}

/** A folder that gives way to something else takes the records of what was in it along. */
function forgotten(
  { path }: Action,
  loser: string | null,
  chosen: string | null,
  recorded: readonly string[],
): Action[] {
  if (!loser?.startsWith('d') || chosen?.startsWith('d')) return [];
  const below = recorded.filter((one) => one !== path && isInside(one, path));
  return below.map((one) => ({
    kind: 'forget',
    path: one,
    entry: 'f',
    size: 0,
    reason: 'its folder gave way',
    master: null,
    backup: null,
  }));
}

/** Folders on `here` whose whole content is deleted, and that are not on `there`. */
function emptied(actions: readonly Action[], here: Side, there: Side): Action[] {
  const going = new Set(actions.filter(({ kind }) => kind === 'delete').map(({ path }) => path));
  const made: Action[] = [];
  for (const path of [...going].sort((a, b) => b.length - a.length)) {
    for (let folder: string = parentOf(path); folder !== '' && !going.has(folder); folder = parentOf(folder)) {
      const { bytes, unknown } = walk(folder, here);
      let facts = '';
      let stays = unknown.length > 0 || statAt(there.root.dir, folder) !== null;
      eachRecord(bytes, (view) => {
        const one = bytes.toString('utf8', view.pathStart, view.pathEnd);
        if (one === folder) facts = bytes.toString('latin1', view.factsStart, view.factsEnd);
        else if (!going.has(one) && !going.has(here.names?.of(one)?.path ?? one)) stays = true;
      });
      if (stays || facts === '') break;
      going.add(folder);
      made.push(removal(folder, facts));
    }
  }
  return made;
}
