/**
 * What was only renamed on the Master? Finds files and whole folders that stand elsewhere now, so that the Backup renames
 * them too instead of copying them again and asking about a deletion that was none. Pure, like `reconcile`: it takes the
 * trees and what reconcile found gone, and gives the moves together with the trees as they will be after them; a second
 * look at those decides all the rest (a file that was moved and edited is then simply an edited file).
 *
 * A move is believed only on proof: the same file id, size and time, on a file no younger than its record; or the
 * recorded checksum. Where two could be meant, or anything on the Backup is not as recorded, there is no move.
 */
import { Entry, factsField } from '../shared/listing.ts';
import { baseName, joinPath, parentOf, sortPaths } from '../shared/paths.ts';
import { type Action, type Evidence, keyOf, type Need, type Recorded, type Rules, type Trees } from './reconcile.ts';

export interface MoveRules
  extends Pick<Rules, 'keys' | 'onMasterDelete' | 'compareContents' | 'frozen' | 'unknown' | 'holdsOthers'> {
  /** File ids of the Master last. */
  stable: boolean;
  /** When the Master's file or folder came into being, in nanoseconds since 1970; null where that is not kept. */
  born(path: string): bigint | null;
  /** The Backup can hold something under this path. */
  fits(path: string): boolean;
}

export interface Moves {
  /** In the order in which they are to be carried out; `from` is the name at that moment. */
  moves: Action[];
  /** What `reconcile` is to look at instead: both sides' records as they will be. */
  trees: Trees;
  /** Files whose content tells; ask again with their checksums. */
  needs: Need[];
  /** Keys of files that a move takes along. */
  moved: ReadonlySet<string>;
  /** Where the Backup has, until then, what will stand under a key. */
  places: ReadonlyMap<string, string>;
  /** Deletions of the folders that nothing is left in, parents first. */
  emptied: Action[];
}

/** @param gone of `Reconciled`: keys that the Master has no longer, while the Backup is as recorded. */
export function findMoves(
  trees: Trees,
  gone: readonly string[],
  rules: MoveRules,
  evidence: Evidence = new Map(),
): Moves {
  const folds = rules.keys.foldCase || rules.keys.normalise;
  if (trees.baseline.size === 0 || (gone.length === 0 && !folds))
    return { moves: [], trees, needs: [], moved: new Set(), places: new Map(), emptied: [] };
  const search = new Search(trees, gone, rules, evidence);
  if (folds) search.respellings();
  if (gone.length > 0) {
    search.folders();
    search.filesById();
    search.filesByContent();
  }
  return search.result();
}

/** The actions of the second look, with the folders that nothing is left in: they go, and are no loss to be asked about. */
export function withEmptied(actions: readonly Action[], { emptied }: Moves): Action[] {
  const paths = new Set(emptied.map(({ path }) => path));
  return [...actions.filter(({ entry, path }) => entry !== 'd' || !paths.has(path)), ...emptied];
}

// --- internal ---

interface Subject {
  key: string;
  row: Recorded;
  b: Entry;
}

class Search {
  private readonly trees: Trees;
  private readonly rules: MoveRules;
  private readonly evidence: Evidence;
  private readonly baseline: Map<string, Recorded>;
  private readonly backup: Map<string, Entry>;
  /** Keys, as they are after the moves so far, whose Backup is as recorded and which the Master had no longer. */
  private readonly intact: Set<string>;
  /** Keys below folders that are known to hold nothing else. */
  private readonly proved = new Set<string>();
  private readonly children = new Map<string, Set<string>>();
  private readonly moves: Action[] = [];
  private readonly needs: Need[] = [];
  private readonly moved = new Set<string>();
  private readonly places = new Map<string, string>();
  /** Folders that something was moved out of. */
  private readonly left = new Set<string>();

  constructor(trees: Trees, gone: readonly string[], rules: MoveRules, evidence: Evidence) {
    this.trees = trees;
    this.rules = rules;
    this.evidence = evidence;
    this.baseline = new Map(trees.baseline);
    this.backup = new Map(trees.backup);
    this.intact = new Set(gone);
    for (const key of this.baseline.keys()) this.adopt(key);
    for (const key of this.backup.keys()) this.adopt(key);
  }

  result(): Moves {
    const { moves, needs, moved, baseline, backup } = this;
    const trees = { master: this.trees.master, baseline, backup };
    return { moves, needs, moved, places: this.places, emptied: this.emptied(), trees };
  }

  /** Also those that an interrupted run emptied: it cannot be told any more why nothing is in them. */
  private emptied(): Action[] {
    const all = [...this.intact].filter((key) => this.backup.get(key)?.kind === 'd');
    const asked = new Set(this.rules.onMasterDelete === 'ask' ? all : this.left);
    const isEmpty = (key: string): boolean =>
      this.goneAt(key)?.b.kind === 'd' && this.below(key).every((one) => !this.backup.has(one) || isEmpty(one));
    return sortPaths(asked)
      .filter((key) => isEmpty(key) && !this.givesWay(key) && !this.rules.holdsOthers(this.placeOf(key)))
      .map((key): Action => {
        const { path, facts } = this.backup.get(key) as Entry;
        const reason = 'nothing is left in it';
        return { kind: 'delete', path, entry: 'd', size: 0, reason, master: null, backup: facts };
      });
  }

  /** A file of the Master takes the place of a folder above it, which goes to the trash as a whole. */
  private givesWay(key: string): boolean {
    for (let at: string = parentOf(key); at !== ''; at = parentOf(at)) {
      const above = this.trees.master.get(at);
      if (above && above.kind !== 'd') return true;
    }
    return false;
  }

  /** A name that one of the drives takes for the same in another spelling: the Backup follows the Master. */
  respellings(): void {
    for (const key of sortPaths(new Set(this.trees.master.keys()))) {
      const m = this.trees.master.get(key) as Entry;
      const row = this.baseline.get(key);
      const b = this.backup.get(key);
      if (!row || !b || b.kind !== m.kind || b.path !== row.path || this.isLeftAlone(m.path)) continue;
      if (b.kind !== 'd' && b.facts !== row.backup_facts) continue;
      if (b.path === m.path || joinPath(parentOf(b.path), baseName(m.path)) !== m.path) continue;
      const same = isSameFile(row, m) && row.doubt === '' && !this.rules.compareContents;
      this.add({ key, row, b }, key, m, 'spelled differently on the Master now', same);
    }
  }

  /** Whole folders, topmost first, so that a folder in a folder that moved is looked for where it is then. */
  folders(): void {
    const targets = this.newEntries(({ kind }) => kind === 'd');
    if (targets.size === 0) return;
    const open = sortPaths(new Set([...this.intact].filter((key) => this.baseline.get(key)?.master_facts[0] === 'd')));
    const visit = (key: string): void => {
      const subject = this.goneAt(key);
      const target = subject && this.idOf(subject.row, targets);
      const to = target ? keyOf(target.path, this.rules.keys) : key;
      const proved = target && this.isFree(target) && this.isWhole(key) && this.isSameFolder(subject, key, to, target);
      if (proved) this.add(subject, to, target, 'renamed on the Master', false);
      for (const child of this.foldersBelow(proved ? to : key)) visit(child);
    };
    for (const key of open) if (this.intact.has(key)) visit(key);
  }

  filesById(): void {
    if (this.rules.compareContents) return;
    const targets = this.newEntries((entry) => entry.kind === 'l' || isSingle(entry));
    if (targets.size === 0) return;
    for (const subject of this.goneFiles()) {
      const target = this.idOf(subject.row, targets);
      if (!target || subject.row.doubt !== '' || !isSameFile(subject.row, target) || !this.isFree(target)) continue;
      const proved =
        target.kind === 'l' ? target.target === subject.row.link_target : this.isNoYounger(subject.row, target);
      if (proved) this.add(subject, keyOf(target.path, this.rules.keys), target, 'renamed on the Master', true);
    }
  }

  /** Where ids do not last, or prove nothing: the recorded checksum, asked of files whose size and time one record has. */
  filesByContent(): void {
    const classOf = (facts: string): string => `${factsField(facts, 1)} ${factsField(facts, 2)}`;
    const records = grouped(
      this.goneFiles().filter(({ row }) => row.checksum !== '' && factsField(row.master_facts, 1) !== '0'),
      ({ row }) => classOf(row.master_facts),
    );
    if (records.size === 0) return;
    const news = [...this.trees.master].filter(([key, entry]) => isSingle(entry) && this.isNew(key, entry));
    for (const [kind, found] of grouped(news, ([, { facts }]) => classOf(facts))) {
      const [subject, ambiguous] = records.get(kind) ?? [];
      if (!subject || ambiguous) continue;
      const unread = found.filter(([key]) => this.evidence.get(key)?.master === undefined);
      this.needs.push(...unread.map(([key, entry]) => need(key, entry, subject.row)));
      const equal = found.filter(([key]) => this.evidence.get(key)?.master === subject.row.checksum);
      const [only] = equal;
      if (unread.length === 0 && only && equal.length === 1 && this.isFree(only[1]))
        this.add(subject, only[0], only[1], 'renamed on the Master, with the same content', true);
    }
  }

  // --- what may move ---

  private isLeftAlone(path: string): boolean {
    return this.rules.frozen(path) || this.rules.unknown(path);
  }

  private isNew(key: string, entry: Entry): boolean {
    return !this.baseline.has(key) && !this.backup.has(key) && !this.isLeftAlone(entry.path);
  }

  /** New on the Master, by file id; an id that two of them have stands for neither. */
  private newEntries(wanted: (entry: Entry) => boolean): Map<string, Entry | null> {
    const found = new Map<string, Entry | null>();
    if (!this.rules.stable) return found;
    for (const [key, entry] of this.trees.master) {
      if (wanted(entry) && this.isNew(key, entry)) found.set(entry.ino, found.has(entry.ino) ? null : entry);
    }
    return found;
  }

  private idOf(row: Recorded, targets: ReadonlyMap<string, Entry | null>): Entry | undefined {
    const ino = factsField(row.master_facts, 4);
    const target = ino === '-' ? undefined : (targets.get(ino) ?? undefined);
    return target && this.isNew(keyOf(target.path, this.rules.keys), target) ? target : undefined;
  }

  /** What is recorded under this key is on the Backup as recorded, and not on the Master. */
  private goneAt(key: string): Subject | undefined {
    const row = this.baseline.get(key);
    const b = this.backup.get(key);
    if (!row || !b || !this.intact.has(key) || this.trees.master.has(key) || row.path !== b.path) return undefined;
    return { key, row, b };
  }

  private goneFiles(): Subject[] {
    const found: Subject[] = [];
    for (const key of this.intact) {
      const subject = this.goneAt(key);
      if (subject && (subject.b.kind === 'l' || isSingle(subject.b))) found.push(subject);
    }
    return found;
  }

  /** A rename could end there: the Backup can hold the name, and has folders, or will have, all the way. */
  private isFree(target: Entry): boolean {
    if (!this.rules.fits(target.path)) return false;
    for (let at = keyOf(parentOf(target.path), this.rules.keys); at !== ''; at = parentOf(at)) {
      const above = this.backup.get(at);
      if (above && above.kind !== 'd') return false;
    }
    return true;
  }

  /** The Backup's folder holds what is recorded below it, as recorded, and nothing else. */
  private isWhole(key: string): boolean {
    if (this.proved.has(key)) return true;
    const below = this.below(key);
    if (!below.every((one) => this.goneAt(one) !== undefined)) return false;
    return !this.rules.holdsOthers(this.placeOf(key));
  }

  /** Where the drive has it now. */
  private placeOf(key: string): string {
    return this.places.get(key) ?? (this.backup.get(key) as Entry).path;
  }

  /** The id alone may have been given to another folder since: its age tells, or a file that is still in it. */
  private isSameFolder({ row }: Subject, from: string, to: string, target: Entry): boolean {
    const below = this.below(from);
    const inside = (key: string): string => `${to}${key.slice(from.length)}`;
    if (below.some((key) => this.isLeftAlone(`${target.path}${key.slice(from.length)}`))) return false;
    const kept = below.some((key) => {
      const facts = this.trees.master.get(inside(key))?.facts;
      return facts !== undefined && facts[0] !== 'd' && facts === this.baseline.get(key)?.master_facts;
    });
    return kept || this.isNoYounger(row, target);
  }

  /** An id is given anew once its file is gone; but what was recorded existed before the recorded change. */
  private isNoYounger(row: Recorded, target: Entry): boolean {
    const changed = nanoseconds(factsField(row.master_facts, 3));
    const born = changed === null ? null : this.rules.born(target.path);
    return changed !== null && born !== null && born > 0n && born <= changed;
  }

  // --- the trees after the moves ---

  private add(subject: Subject, to: string, target: Entry, reason: string, same: boolean): void {
    const { key, row, b } = subject;
    const action: Action = {
      kind: 'move',
      path: target.path,
      from: b.path,
      entry: target.kind === 'o' ? 'f' : target.kind,
      size: target.kind === 'f' ? target.size : 0,
      reason,
      master: target.facts,
      backup: b.facts,
    };
    if (target.kind === 'l') action.target = target.target;
    if (b.stored !== '') action.stored = b.stored;
    if (row.checksum !== '') {
      action.checksum = row.checksum;
      action.checksum_algorithm = row.checksum_algorithm;
    }
    if (target.kind === 'd') this.addBelow(action, key);
    else if (this.moved.has(key)) action.files = 0;
    if (key !== to) for (let at = parentOf(key); at !== ''; at = parentOf(at)) this.left.add(at);
    this.moves.push(action);
    this.relocate(key, to, b.path, target.path);
    if (!same) return;
    // What was proved to be the same file is recorded as the listings have it now.
    const now = { master_facts: target.facts, backup_facts: b.facts, doubt: '' };
    this.baseline.set(to, { ...row, ...now, path: target.path });
  }

  private addBelow(action: Action, key: string): void {
    const files = this.below(key).filter((one) => this.backup.get(one)?.kind !== 'd');
    // What an outer folder takes along is counted there.
    action.files = files.filter((one) => !this.moved.has(one)).length;
    for (const one of files) action.size += (this.backup.get(one) as Entry).size;
  }

  /** Everything at and below `from` stands at `to`. */
  private relocate(from: string, to: string, path: string, newPath: string): void {
    const depth = path.length;
    const taken = [from, ...this.below(from)].map((key) => {
      const row = this.baseline.get(key);
      const b = this.backup.get(key);
      const intact = this.intact.delete(key);
      this.moved.delete(key);
      this.baseline.delete(key);
      this.backup.delete(key);
      this.disown(key);
      const origin = this.places.get(key) ?? b?.path;
      this.places.delete(key);
      return { row, b, intact, origin };
    });
    for (const { row, b, intact, origin } of taken) {
      const place = `${newPath}${(b ?? row)?.path.slice(depth) ?? ''}`;
      const key = keyOf(place, this.rules.keys);
      if (row) this.baseline.set(key, { ...row, path: place });
      if (b) this.backup.set(key, new Entry(b.facts, place, b.nlink, b.blocks, b.target, b.stored));
      if (intact) this.intact.add(key);
      if (origin !== undefined) this.places.set(key, origin);
      if (from !== to && key !== to) this.proved.add(key);
      if (b && b.kind !== 'd') this.moved.add(key);
      this.adopt(key);
    }
  }

  private adopt(key: string): void {
    const folder = parentOf(key);
    const list = this.children.get(folder);
    if (list) list.add(key);
    else this.children.set(folder, new Set([key]));
  }

  private disown(key: string): void {
    this.children.get(parentOf(key))?.delete(key);
  }

  private below(key: string): string[] {
    const found: string[] = [];
    const visit = (folder: string): void => {
      for (const child of this.children.get(folder) ?? []) {
        found.push(child);
        visit(child);
      }
    };
    visit(key);
    return found;
  }

  private foldersBelow(key: string): string[] {
    return [...(this.children.get(key) ?? [])].filter((child) => this.backup.get(child)?.kind === 'd');
  }
}

function need(key: string, entry: Entry, row: Recorded): Need {
  const { path, facts, size } = entry;
  return { path, key, side: 'master', facts, size, algorithm: row.checksum_algorithm, stored: '' };
}

/** A regular file with no other name: what happens to one of several names says nothing about the others. */
function isSingle({ kind, nlink }: Entry): boolean {
  return kind === 'f' && nlink === 1;
}

/** Kind, size, time and file id agree; a rename moves ctime, and permissions are carried over with it. */
function isSameFile(row: Recorded, entry: Entry): boolean {
  return [0, 1, 2, 4].every((field) => factsField(row.master_facts, field) === factsField(entry.facts, field));
}

function nanoseconds(time: string): bigint | null {
  return time === '-' ? null : BigInt(time.replace('.', '').slice(0, -1));
}

function grouped<T>(items: Iterable<T>, of: (item: T) => string): Map<string, T[]> {
  const found = new Map<string, T[]>();
  for (const item of items) {
    const list = found.get(of(item));
    if (list) list.push(item);
    else found.set(of(item), [item]);
  }
  return found;
}
