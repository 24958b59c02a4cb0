/**
 * What would an undo do? Compares what an operation left on each drive with what stands there now, and sorts every path:
 * files and folders that go away, folders that are made again, versions that come back, names that are given back; and what
 * is refused, with the reason. What was done before some of the operation's renames is undone after those are taken back,
 * so that each step finds the names of its own moment. Reads only.
 */
import type { Context } from '../shared/context.ts';
import type { Problem } from '../shared/errors.ts';
import { statsAt } from '../shared/folders.ts';
import { Entry, eachRecord, factsOf, sameInode } from '../shared/listing.ts';
import { type Change, readManifest } from '../shared/manifest.ts';
import { depthOf, isInside, parentOf } from '../shared/paths.ts';
import { isRespelling, type Rename, Renames } from '../shared/renames.ts';
import { sidesOf } from '../shared/rows.ts';
import { mountsBelow, walkTree } from '../shared/scan.ts';
import type { DriveRoot } from '../shared/store.ts';
import { storedPath } from '../shared/stored.ts';
import { trashFolder } from '../shared/trash.ts';
import { findPair, type Operation, pathsChangedAfter, readBaseline } from './history.ts';
import { copiedFiles, type Done, type DriveSide, journalled, readFolderManifest, writesTo } from './manifests.ts';
import { pathsMeant } from './meanings.ts';
import type { OpenPair } from './session.ts';

/** What an undo does to one drive. */
export interface UndoPlan {
  side: DriveSide;
  /** Files and folders that the operation made. */
  away: UndoStep[];
  /** Folders that it deleted. */
  folders: UndoStep[];
  /** Files that it replaced or deleted. */
  back: UndoStep[];
  /** Names that are given back, in the order in which that is done. */
  moves: UndoMove[];
  /** Facts to be set on folders and files, deepest first. */
  metadata: { path: string; facts: string; after: number }[];
  /** Paths that stay as they are, and why. */
  refused: Problem[];
  /** What comes back, but not quite as it was. */
  notes: Problem[];
}

export interface UndoStep {
  /** The name at the moment of this step. */
  path: string;
  /** Facts of what stands there now; null: nothing. */
  current: string | null;
  shared?: boolean;
  /** Path of the version, from the drive's root; null: none is needed. */
  version: string | null;
  /** Facts of what comes back; null: nothing. */
  before: string | null;
  /** So many of the plan's moves are done by then. */
  after: number;
  /** Another name of the same file; its facts, or null where it only comes back with this undo. */
  link?: { path: string; facts: string | null };
}

export interface UndoMove {
  /** The name that the operation gave, at the moment of this step. */
  path: string;
  /** The former name. */
  to: string;
  /** Facts of what stands there now. */
  current: string;
}

/** By drive; a drive that the operation did nothing to has no plan. */
export async function planUndoOf(pair: OpenPair, operation: Operation, ctx: Context): Promise<UndoPlan[]> {
  const plans: UndoPlan[] = [];
  if (operation.target_kind === 'folder') {
    const known = readFolderManifest(operation.uuid, ctx);
    const done = { changes: known?.changes ?? [], moves: known?.moves ?? [] };
    return [await new Planner(pair, 'backup', operation, done, ctx).plan()];
  }
  for (const side of ['backup', 'master'] as const) {
    const done = await doneBy(pair, side, operation, ctx);
    if (done.changes.length + done.moves.length > 0)
      plans.push(await new Planner(pair, side, operation, done, ctx).plan());
  }
  return plans;
}

export function isEmpty({ away, folders, back, moves, metadata }: UndoPlan): boolean {
  return away.length + folders.length + back.length + moves.length + metadata.length === 0;
}

/** What stands at these paths of a drive now. */
export function factsAt(root: DriveRoot, paths: Iterable<string>, stable: boolean): Map<string, string> {
  const found = new Map<string, string>();
  for (const [path, stat] of statsAt(root.dir, paths)) found.set(path, factsOf(stat, stable));
  return found;
}

// --- internal ---

async function doneBy(pair: OpenPair, side: DriveSide, operation: Operation, ctx: Context): Promise<Done> {
  const manifest = readManifest(pair[side].dir, operation.uuid);
  if (manifest === null) return journalled(pair, side, operation, ctx);
  const { changes, moves = [], journal } = manifest;
  if (journal !== true && writesTo(operation.operation_type) !== side) return { changes, moves };
  const known = new Set(changes.map(({ path }) => path));
  const copied = await copiedFiles(pair, side, operation.id, ctx);
  return { changes: [...changes, ...copied.filter(({ path }) => !known.has(path))], moves };
}

interface Placed extends Change {
  at: number;
  /** Where what it left stands now, as far as names tell; null: nothing that is there had this name then. */
  place: string | null;
}

/** A step whose name depends on which renames can be taken back. */
interface Draft extends UndoStep {
  at: number;
  place: string | null;
  wasShared: boolean;
}

/** Decides, path by path, what can be undone on one drive. */
class Planner {
  private readonly pair: OpenPair;
  private readonly root: DriveRoot;
  private readonly stable: boolean;
  private readonly operation: Operation;
  private readonly ctx: Context;
  private readonly changes: readonly Placed[];
  private readonly shared: ReadonlySet<string>;
  /** Those that stand, in the order in which they were done. */
  private readonly moves: readonly Rename[];
  private readonly renames: Renames;
  /** Those of them that are not taken back, by number. */
  private readonly staying: number[] = [];
  private readonly result: UndoPlan;
  private readonly drafts: Draft[] = [];
  private now: ReadonlyMap<string, string> = new Map();
  /** Paths that a later operation worked on: where a drive keeps no ctime, facts alone do not tell. */
  private later: ReadonlySet<string> = new Set();
  /** The path that a name on this drive stands for. */
  private meant: (place: string) => string = (place) => place;

  constructor(pair: OpenPair, side: DriveSide, operation: Operation, done: Done, ctx: Context) {
    this.pair = pair;
    this.root = pair[side];
    this.stable = (side === 'master' ? pair.masterTraits : pair.backupTraits).stable_ids;
    this.operation = operation;
    this.ctx = ctx;
    this.result = { side, away: [], folders: [], back: [], moves: [], metadata: [], refused: [], notes: [] };
    this.shared = sharedInodes(done.changes);
    this.moves = done.moves.slice(0, done.moves.length - this.takenBack(done.moves));
    this.renames = new Renames(this.moves);
    this.changes = this.placed(done);
  }

  async plan(): Promise<UndoPlan> {
    const { result, renames, moves } = this;
    const places = moves.map(({ path }, index) => renames.forward(path, index + 1));
    const homes = moves.map(({ from }, index) => renames.forward(from, index + 1));
    const paths = [...this.changes.flatMap(({ place }) => place ?? []), ...places, ...homes];
    const wanted = new Set([...paths, ...paths.map(parentOf)]);
    wanted.delete('');
    this.now = factsAt(this.root, wanted, this.stable);
    if (!this.stable) {
      this.later = new Set(await pathsChangedAfter(this.operation, this.ctx));
      if (result.side === 'backup') this.meant = await pathsMeant(this.pair, this.ctx);
    }
    const unable = this.sortChanges(places);
    const pending = this.sortMoves(places, homes, unable);
    this.name(pending);
    await this.linkAgain();
    result.away.sort((a, b) => depthOf(b.path) - depthOf(a.path));
    this.addParents([...places, ...homes]);
    const { away, folders, back } = result;
    return { ...result, away: away.map(plainStep), folders: folders.map(plainStep), back: back.map(plainStep) };
  }

  // --- names ---

  /** How many of the last renames an earlier try has taken back. */
  private takenBack(moves: readonly Rename[]): number {
    let count = 0;
    for (const { path, from, after } of moves.toReversed()) {
      const found = factsAt(this.root, [path, from], this.stable);
      if (found.has(path) || !isSameThing(found.get(from), after, this.stable)) break;
      count += 1;
    }
    return count;
  }

  /** Changes in the names of a moment that there still is. */
  private placed({ changes, moves: all }: Done): Placed[] {
    const { renames, moves } = this;
    const whole = moves.length < all.length ? new Renames(all) : renames;
    return changes.map((change) => {
      const said = Math.min(change.at ?? all.length, all.length);
      const path = said > moves.length ? whole.back(change.path, moves.length, said) : change.path;
      const at = Math.min(said, moves.length);
      const place = renames.forward(path, at);
      return { ...change, path, at, place: renames.back(place, at) === path ? place : null };
    });
  }

  /** The name at a moment, when some of the renames after it are not taken back. */
  private nameAt(path: string, at: number): string {
    let name = path;
    for (const index of this.staying) {
      if (index < at) continue;
      const { path: to, from, after } = this.moves[index] as Rename;
      const then = this.renames.forward(name, at, index);
      if (then !== from && !(after.startsWith('d ') && isInside(then, from))) continue;
      name = this.renames.back(to + then.slice(from.length), at, index);
    }
    return name;
  }

  // --- what can be undone ---

  /** @returns places of files whose former content cannot come back. */
  private sortChanges(arrived: readonly string[]): Set<string> {
    const blocked = this.blockedFolders(arrived);
    const unable = new Set<string>();
    for (const change of this.changes) {
      const at = change.place ?? change.path;
      const why = blocked.find((path) => isInside(at, path))
        ? 'the folder holds files that were put there since'
        : this.sort(change);
      if (why === undefined) continue;
      if (change.change === 'replaced') unable.add(at);
      this.result.refused.push({ path: at, message: `not undone: ${why}` });
    }
    return unable;
  }

  /** Folders that took the place of a file, and hold something now that the operation did not put there. */
  private blockedFolders(arrived: readonly string[]): string[] {
    const made = new Set([...this.changes.flatMap(({ place }) => place ?? []), ...arrived]);
    const folders = this.changes.filter(
      ({ change, after }) => change === 'replaced' && after?.startsWith('d ') === true,
    );
    const isMade = (path: string, top: string): boolean => {
      if (made.has(path)) return true;
      return path !== top && arrived.some((folder) => isInside(path, folder));
    };
    return folders
      .flatMap(({ place }) => place ?? [])
      .filter((top) => {
        const mounts = mountsBelow(this.root.mountPath);
        const { bytes, unknown } = walkTree({ root: this.root.dir, subpath: top, stable: false, mounts });
        let others = unknown.length > 0;
        eachRecord(bytes, (view) => {
          if (!isMade(bytes.toString('utf8', view.pathStart, view.pathEnd), top)) others = true;
        });
        return others;
      });
  }

  /** Puts a change where it belongs; or says why it cannot be undone. */
  private sort(change: Placed): string | undefined {
    const { after, before, place } = change;
    const current = place === null ? null : (this.now.get(place) ?? null);
    if (change.change === 'meta') return this.sortMetadata(change, current);
    if (after === '') return 'it is not known what the operation left there';
    if (place !== null && this.later.has(this.meant(place))) return 'a later operation changed it';
    if (change.change === 'created' && current === null) return undefined;
    const folderBack = change.change === 'deleted' && before?.startsWith('d ') === true;
    if (folderBack && current?.startsWith('d ')) return undefined;
    if (!this.isAsLeft(current, after)) return current === null ? 'it is gone since' : 'it changed since';
    if (change.change === 'created') this.draft(change, current, null, 'away');
    else if (folderBack) this.draft(change, current, null, 'folders');
    else if (change.version === undefined) return 'its version was pruned, or not kept';
    else this.draft(change, current, `${trashFolder(this.operation.uuid, '')}/${change.version}`, 'back');
    return undefined;
  }

  private draft(change: Placed, current: string | null, version: string | null, list: 'away' | 'folders' | 'back') {
    const { path, at, place } = change;
    const shared = current !== null && this.shared.has(new Entry(current, path).ino);
    const before = list === 'away' ? null : change.before;
    const draft = { path, current, shared, version, before, after: 0, at, place, wasShared: change.shared === true };
    this.drafts.push(draft);
    this.result[list].push(draft);
  }

  /** Times of a folder follow what is put into it: they come back where nothing else has moved them. */
  private sortMetadata({ place, before, after }: Placed, current: string | null): string | undefined {
    if (place === null || before === null || current === null || before[0] !== current[0]) return undefined;
    if (current === after) this.result.metadata.push({ path: place, facts: before, after: 0 });
    else if (!current.startsWith('d ')) return 'it changed since';
    return undefined;
  }

  private isAsLeft(current: string | null, after: string | null): boolean {
    if (current === null || after === null) return current === after;
    if (current.startsWith('d ') && after.startsWith('d ')) return true;
    if (current === after) return true;
    return this.shared.has(new Entry(after, '').ino) && sameInode(current, after);
  }

  /**
   * The last rename is taken back first.
   * @returns numbers of those that are taken back, in that order.
   */
  private sortMoves(places: readonly string[], homes: readonly string[], unable: ReadonlySet<string>): number[] {
    const left = new Map(this.changes.map(({ place, after }) => [place, after]));
    const leaving = new Set(this.result.away.map((step) => (step as Draft).place));
    const coming = this.drafts.filter(({ before }) => before?.startsWith('d ')).map(({ place, path }) => place ?? path);
    const pending: number[] = [];
    for (let index = this.moves.length - 1; index >= 0; index -= 1) {
      const [place = '', home = ''] = [places[index], homes[index]];
      const expected = left.get(place) || (this.moves[index] as Rename).after;
      const current = this.now.get(place);
      if (current === undefined && isSameThing(this.now.get(home), expected, this.stable)) continue;
      const why = this.whyNot(place, home, expected, unable, leaving, coming);
      if (why === undefined) {
        pending.push(index);
        leaving.add(place);
      } else {
        this.staying.unshift(index);
        this.result.refused.push({ path: place, message: `not renamed back to '${home}': ${why}` });
      }
    }
    return pending;
  }

  private whyNot(
    place: string,
    home: string,
    expected: string,
    unable: ReadonlySet<string>,
    leaving: ReadonlySet<string | null>,
    coming: readonly string[],
  ): string | undefined {
    const current = this.now.get(place);
    if (current === undefined) return 'it is gone since';
    const folder = expected.startsWith('d ');
    const same = folder ? isSameThing(current, expected, this.stable) : current === expected;
    if (!same) return 'it changed since';
    if (this.later.has(this.meant(place))) return 'a later operation changed it';
    if (unable.has(place)) return 'its former content cannot come back';
    const there = this.now.get(home);
    // On a drive that takes both spellings for one, it is the same file.
    if (there !== undefined && !isRespelling(place, home) && !leaving.has(home))
      return 'something else has that name now';
    const above = parentOf(home);
    const exists = above === '' || this.now.has(above) || coming.some((folder) => isInside(above, folder));
    return exists ? undefined : 'the folder that it was in is not there any more';
  }

  /** Says each step in the names of its moment. */
  private name(pending: readonly number[]): void {
    for (const index of pending) {
      const { path, from } = this.moves[index] as Rename;
      const current = this.now.get(this.renames.forward(path, index + 1)) ?? '';
      this.result.moves.push({ path: this.nameAt(path, index + 1), to: this.nameAt(from, index + 1), current });
    }
    // How many of those that are taken back came at or after each moment.
    const since = Array.from({ length: this.moves.length + 1 }, () => 0);
    for (const index of pending) since[index] = 1;
    for (let index = this.moves.length - 1; index >= 0; index -= 1)
      since[index] = (since[index] ?? 0) + (since[index + 1] ?? 0);
    for (const draft of this.drafts) {
      draft.path = this.nameAt(draft.path, draft.at);
      draft.after = since[draft.at] ?? 0;
    }
    for (const { path, before, after } of this.result.folders)
      if (before !== null) this.result.metadata.push({ path, facts: before, after });
  }

  // --- hard links ---

  /** What was one file under several names becomes that again, as far as one of the names is known. */
  private async linkAgain(): Promise<void> {
    if (!this.stable) return;
    const files = (this.result.back as Draft[]).filter(({ before }) => before?.startsWith('f '));
    const groups = new Map<string, Draft[]>();
    for (const draft of files) {
      const { ino } = new Entry(draft.before ?? '', draft.path);
      const group = groups.get(ino);
      if (group) group.push(draft);
      else groups.set(ino, [draft]);
    }
    const several = [...groups].filter(([, group]) => group.length > 1 || group.some(({ wasShared }) => wasShared));
    if (several.length === 0) return;
    const { masterTraits, backupTraits } = this.pair;
    const able = (this.result.side === 'master' ? masterTraits : backupTraits).hard_links;
    const others = able && several.some(([, group]) => group.some((one) => one.wasShared)) ? await this.names() : null;
    for (const [ino, group] of several) this.linkGroup(group, others?.get(ino), able);
  }

  private linkGroup(group: readonly Draft[], other: { path: string; facts: string } | undefined, able: boolean): void {
    const [first] = group as [Draft, ...Draft[]];
    for (const draft of group) {
      const known = other ?? (draft === first ? undefined : { path: first.place ?? first.path, facts: null });
      const name = known && other ? this.nameAt(this.renames.back(known.path, draft.at), draft.at) : first.path;
      if (able && known && (other || first.after === draft.after) && !draft.current?.startsWith('d '))
        draft.link = { path: name, facts: known.facts };
      else if (!able || (group.length === 1 && !known))
        this.result.notes.push({ path: draft.path, message: able ? ALONE : NO_LINKS });
    }
  }

  /** One recorded name of each file, by its id, that the operation left alone and that stands as it was recorded. */
  private async names(): Promise<Map<string, { path: string; facts: string }>> {
    const pairId = await findPair(this.pair.masterUuid, this.pair.backupUuid, this.ctx);
    const changed = new Set(this.changes.filter(({ change }) => change !== 'meta').map(({ place }) => place));
    const wanted = new Set(this.drafts.map(({ before, path }) => new Entry(before ?? '', path).ino));
    const found = new Map<string, { path: string; facts: string }>();
    for (const row of pairId === null ? [] : await readBaseline(pairId, '', this.ctx)) {
      const facts = sidesOf(row, this.result.side === 'master').target;
      const { ino } = new Entry(facts, row.path);
      const path = this.result.side === 'backup' ? storedPath(row.path, row.stored_name) : row.path;
      if (facts.startsWith('f ') && wanted.has(ino) && !changed.has(path)) found.set(ino, { path, facts });
    }
    const now = factsAt(
      this.root,
      [...found.values()].map(({ path }) => path),
      true,
    );
    for (const [ino, { path, facts }] of found) if (!sameInode(now.get(path) ?? '', facts)) found.delete(ino);
    return found;
  }

  // --- folders' times ---

  /** Folders that something is put into or taken from keep their times, unless the operation had changed them. */
  private addParents(moved: readonly string[]): void {
    const { metadata } = this.result;
    const known = new Set(metadata.map(({ path }) => path));
    const going = new Set(this.result.away.map((step) => (step as Draft).place));
    for (const path of [...this.drafts.flatMap(({ place }) => place ?? []), ...moved]) {
      const parent = parentOf(path);
      const facts = this.now.get(parent);
      if (facts === undefined || known.has(parent) || going.has(parent)) continue;
      known.add(parent);
      metadata.push({ path: parent, facts, after: 0 });
    }
  }
}

function plainStep({ path, current, shared, version, before, after, link }: UndoStep): UndoStep {
  const step: UndoStep = { path, current, version, before, after };
  if (shared) step.shared = true;
  return link ? { ...step, link } : step;
}

const NO_LINKS = 'came back as a file of its own: this drive has no hard links';
const ALONE =
  'came back as a file of its own: it was one of several names of a file, of which no other is there as it was';

/** What stands there is what a rename left, wherever it stands. */
function isSameThing(facts: string | undefined, left: string, stable: boolean): boolean {
  if (facts === undefined || facts[0] !== left[0]) return false;
  if (facts.startsWith('d ')) return !stable || new Entry(facts, '').ino === new Entry(left, '').ino;
  if (stable) return sameInode(facts, left);
  return (
    new Entry(facts, '').size === new Entry(left, '').size && new Entry(facts, '').mtime === new Entry(left, '').mtime
  );
}

/** Inodes that several of these paths have: what is done to one of them moves the ctime of the others. */
function sharedInodes(changes: readonly Change[]): Set<string> {
  const seen = new Set<string>();
  const shared = new Set<string>();
  for (const { path, after } of changes) {
    if (!after?.startsWith('f ')) continue;
    const { ino } = new Entry(after, path);
    if (ino !== '-' && seen.has(ino)) shared.add(ino);
    seen.add(ino);
  }
  return shared;
}
