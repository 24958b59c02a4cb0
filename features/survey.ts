/**
 * What stands on both drives, and where does it differ from what was recorded? Lists both sides at the same time and adds
 * up checks while the listings come in, so that an unchanged pair is known as such without a record being read; else
 * leaves only the paths that are not, on both sides, exactly as recorded. Reads only, decides nothing.
 */
import type { Context } from '../shared/context.ts';
import type { Problem } from '../shared/errors.ts';
import type { Filter } from '../shared/filters.ts';
import { Checks, Entry, eachRecord, entryAt, type RecordView, type Side } from '../shared/listing.ts';
import type { KeyRules } from '../shared/paths.ts';
import { mountsBelow, type Scan, type ScanRequest, scanTree, walkTree } from '../shared/scan.ts';
import type { DriveRoot } from '../shared/store.ts';
import {
  BackupNames,
  isStoredWell,
  PLAIN,
  recordedSuffix,
  type StandsFor,
  type Storing,
  SUFFIXES,
  type Suffix,
  splitStored,
} from '../shared/stored.ts';
import { statAt } from '../shared/syscalls.ts';
import type { Traits } from './detect.ts';
import { type BaselineRow, baselineChecks, readRows } from './history.ts';
import { keyOf } from './reconcile.ts';
import type { OpenPair } from './session.ts';

export interface Survey {
  master: Scan;
  backup: Scan;
  /** Files of the Master that the filter lets through by name; 0 for a pair that was never synced. */
  masterFiles: number;
  /** Everything is as recorded. */
  unchanged: boolean;
  /** Of a pair that was never synced: both sides, taken in while they were listed. */
  gathered: { master: Gathered; backup: Gathered } | null;
}

/** @param pairId of the recorded pair; null: never synced. */
export async function survey(
  pair: OpenPair,
  subpath: string,
  filter: Filter,
  keys: KeyRules,
  pairId: number | null,
  storing: Storing,
  ctx: Context,
): Promise<Survey> {
  const look = async (side: Side, root: DriveRoot, traits: Traits): Promise<Look> => {
    const own = side === 'backup' ? storing : PLAIN;
    let totals = new Totals(side, filter, own);
    let gathered = new Gathered(side, filter, keys, NO_RECORDS, own);
    const begin = (): ((bytes: Buffer) => number) => {
      totals = new Totals(side, filter, own);
      gathered = new Gathered(side, filter, keys, NO_RECORDS, own);
      return pairId === null ? (bytes) => gathered.take(bytes) : (bytes) => totals.take(bytes);
    };
    const request = { root: root.dir, subpath, stable: traits.stable_ids, mounts: mountsBelow(root.mountPath) };
    const scan = await scanTree(request, begin, ctx.signal);
    const forms = own.active && subpath !== '' ? await otherForms(request, pairId, ctx) : [];
    for (const { bytes, unknown } of forms) {
      if (pairId === null) gathered.take(bytes);
      else totals.take(bytes);
      scan.unknown.push(...unknown);
    }
    const bytes = Buffer.concat([scan.bytes, ...forms.map((one) => one.bytes)]);
    return { scan: { ...scan, bytes }, totals, gathered };
  };
  const [master, backup, recorded] = await Promise.all([
    look('master', pair.master, pair.masterTraits),
    look('backup', pair.backup, pair.backupTraits),
    pairId === null ? undefined : baselineChecks(pairId, subpath, ctx),
  ]);
  ctx.signal.throwIfAborted();
  const known = master.scan.unknown.length === 0 && backup.scan.unknown.length === 0;
  const unchanged =
    known && recorded !== undefined && recorded.doubtful === 0 && sameTotals(master.totals, backup.totals, recorded);
  return {
    master: master.scan,
    backup: backup.scan,
    masterFiles: master.totals.files,
    unchanged,
    gathered: pairId === null ? { master: master.gathered, backup: backup.gathered } : null,
  };
}

/** The paths that reconcile has to decide; keyed by `keyOf`. */
export interface OpenTrees {
  baseline: Map<string, BaselineRow>;
  master: Map<string, Entry>;
  backup: Map<string, Entry>;
  /** Files that are as recorded on both sides. */
  equal: number;
  /** Master's paths by inode where a file has several names. */
  links: Map<string, string[]>;
  /** Names that one of the drives cannot tell from another one. */
  problems: Problem[];
  /** Files under their own names on a Backup that stores others; they are no content of anything. */
  strangers: Problem[];
  /** Keys of folders and links, on either side, whose names end as those of stored files do. */
  others: ReadonlySet<string>;
  /** By key: a second form of a file on the Backup, which an interrupted run left, or somebody put there. */
  doubles: Map<string, Double>;
}

export interface Double {
  /** Where it stands. */
  path: string;
  facts: string;
  stored: Suffix;
}

/** @param believe false: equal facts do not settle a path, its content will be read. */
export function openTrees(
  found: Survey,
  rows: readonly BaselineRow[],
  filter: Filter,
  keys: KeyRules,
  believe: boolean,
  storing: Storing,
): OpenTrees {
  const baseline = new Map(rows.map((row) => [keyOf(row.path, keys), row]));
  const records = { baseline, believe };
  const { master, backup } = found.gathered ?? {
    master: new Gathered('master', filter, keys, records, PLAIN),
    backup: new Gathered('backup', filter, keys, records, storing),
  };
  if (!found.gathered) {
    master.take(found.master.bytes);
    backup.take(found.backup.bytes);
  }
  const trees: OpenTrees = {
    baseline,
    master: master.entries,
    backup: backup.entries,
    equal: 0,
    links: master.links,
    problems: [...master.problems, ...backup.problems],
    strangers: backup.strangers,
    others: new Set([...master.others, ...backup.others]),
    doubles: backup.doubles,
  };
  for (const key of master.settled) {
    const row = baseline.get(key) as BaselineRow;
    if (backup.settled.delete(key)) {
      baseline.delete(key);
      if (!row.master_facts.startsWith('d')) trees.equal += 1;
    } else trees.master.set(key, new Entry(row.master_facts, row.path, 1, UNKNOWN, row.link_target));
  }
  for (const key of backup.settled) {
    const row = baseline.get(key) as BaselineRow;
    trees.backup.set(
      key,
      new Entry(
        row.backup_facts,
        row.path,
        backup.shared.has(key) ? 2 : 1,
        UNKNOWN,
        row.link_target,
        recordedSuffix(row),
      ),
    );
  }
  return trees;
}

/** One side's entries, without those that are exactly as recorded. */
class Gathered {
  readonly entries = new Map<string, Entry>();
  /** Keys of what is as recorded on this side. */
  readonly settled = new Set<string>();
  /** The Master's paths by inode, where a file has several names. */
  readonly links = new Map<string, string[]>();
  /** Keys of the Backup's files with several names. */
  readonly shared = new Set<string>();
  readonly problems: Problem[] = [];
  readonly strangers: Problem[] = [];
  readonly doubles = new Map<string, Double>();
  /** Keys of folders and links whose names end as those of stored files do. */
  readonly others = new Set<string>();
  private readonly side: Side;
  private readonly keys: KeyRules;
  private readonly records: Records;
  private readonly included: Included;
  private readonly storing: Storing;
  /** Of a Backup that stores files under other names. */
  private readonly names: BackupNames | null;
  /** Keys of what stands where it is recorded. */
  private readonly claimed = new Set<string>();

  constructor(side: Side, filter: Filter, keys: KeyRules, records: Records, storing: Storing) {
    this.side = side;
    this.keys = keys;
    this.records = records;
    this.storing = storing;
    const names = storing.active ? new BackupNames(storing, records.baseline.values()) : null;
    this.names = names;
    this.included = new Included(filter, names ? (place) => names.of(place)?.path ?? place : null);
  }

  /** Takes the whole records at the start of `bytes`; returns their length. */
  take(bytes: Buffer): number {
    return this.included.each(bytes, (view) => this.add(bytes, view));
  }

  private add(bytes: Buffer, view: RecordView): void {
    const place = bytes.toString('utf8', view.pathStart, view.pathEnd);
    const found = this.meant(place, bytes[view.factsStart] === 0x66);
    if (found === null) {
      this.strangers.push({ path: place, message: STRANGER });
      return;
    }
    const { path, stored } = found;
    const key = keyOf(path, this.keys);
    if (bytes[view.factsStart] !== 0x66 && splitStored(path).suffix !== '') this.others.add(key);
    if (hasSeveralNames(bytes, view)) {
      if (this.side === 'master') noteLink(this.links, bytes, view, path);
      else this.shared.add(key);
    }
    if (this.entries.has(key) || this.settled.has(key)) {
      if (this.names && this.isDouble(key, found, entryAt(bytes, view, path, stored))) return;
      this.problems.push({
        path,
        message: `differs only in spelling from another name beside it, and one of the drives takes both for one`,
      });
      return;
    }
    const { baseline, believe } = this.records;
    const row = baseline.get(key);
    if (found.claimed || (this.names && stored === '' && isFolder(bytes, view) && row?.backup_facts.startsWith('d')))
      this.claimed.add(key);
    const known = believe && row?.doubt === '' && row.path === path && isAsRecorded(row, this.side, bytes, view);
    if (known && this.isWell(path, stored, row)) this.settled.add(key);
    else this.entries.set(key, entryAt(bytes, view, path, stored));
  }

  private meant(place: string, file: boolean): StandsFor | null {
    return this.names && file ? this.names.of(place) : { path: place, stored: '', claimed: false };
  }

  /** As recorded, and as it is to be stored. */
  private isWell(path: string, stored: Suffix, row: BaselineRow): boolean {
    if (this.names === null || !row.backup_facts.startsWith('f')) return true;
    return stored === recordedSuffix(row) && isStoredWell(this.storing, path, stored);
  }

  /** A file that stands there in two forms is the recorded one, or else the one that is wanted. */
  private isDouble(key: string, { claimed }: StandsFor, entry: Entry): boolean {
    const known = this.entries.get(key);
    const [path, stored] = known ? [known.path, known.stored] : [entry.path, undefined];
    if (path !== entry.path || stored === entry.stored || entry.kind !== 'f') return false;
    const better = !this.claimed.has(key) && (claimed || isStoredWell(this.storing, path, entry.stored));
    const other = better && known ? known : entry;
    if (other !== entry) {
      this.entries.set(key, entry);
      if (claimed) this.claimed.add(key);
    }
    this.doubles.set(key, { path: other.path + other.stored, facts: other.facts, stored: other.stored });
    return true;
  }
}

// --- internal ---

/** What is looked at may be a file, now or when it was recorded: then it stands beside its own name. */
async function otherForms(request: ScanRequest, pairId: number | null, ctx: Context): Promise<Scan[]> {
  const { root, subpath } = request;
  const places = SUFFIXES.map((suffix) => subpath + suffix).filter((place) => statAt(root, place)?.kind === 'f');
  if (places.length === 0) return [];
  const rows = pairId === null ? [] : await readRows(pairId, places, ctx);
  const others = new Set(rows.filter(({ stored_name }) => stored_name === '').map(({ path }) => path));
  return places
    .filter((place) => !others.has(place))
    .map((place) => walkTree({ ...request, subpath: place, mounts: [] }));
}

interface Look {
  scan: Scan;
  totals: Totals;
  gathered: Gathered;
}

interface Records {
  baseline: ReadonlyMap<string, BaselineRow>;
  /** Equal facts settle a path. */
  believe: boolean;
}

const NO_RECORDS: Records = { baseline: new Map(), believe: true };

const STRANGER =
  'lies under its own name on a Backup whose files are compressed or sealed, and tandem did not put it there; it is left alone';

/** Blocks of an entry that was rebuilt from its record. */
const UNKNOWN = -1;

/** Sums over one side of what the filter lets through by name. */
class Totals {
  readonly checks = new Checks();
  entries = 0;
  files = 0;
  private readonly side: Side;
  private readonly included: Included;

  constructor(side: Side, filter: Filter, { active }: Storing) {
    this.side = side;
    // Before the records are read, a suffix is the best guess; where it is wrong, the sums differ.
    this.included = new Included(filter, active ? (place) => splitStored(place).path : null);
  }

  /** Takes the whole records at the start of `bytes`; returns their length. */
  take(bytes: Buffer): number {
    return this.included.each(bytes, (view) => {
      this.checks.addRecord(bytes, view, this.side);
      this.entries += 1;
      if (!isFolder(bytes, view)) this.files += 1;
    });
  }
}

/** The sums do not depend on the order; any difference, also a missing or an additional entry, changes them. */
function sameTotals(master: Totals, backup: Totals, recorded: { rows: number; a: number; b: number }): boolean {
  const a = (master.checks.a + backup.checks.a) >>> 0;
  const b = (master.checks.b + backup.checks.b) >>> 0;
  return a === recorded.a && b === recorded.b && master.entries === recorded.rows && backup.entries === recorded.rows;
}

/** Walks through records that the filter lets through by name; a folder that is left out takes its subtree with it. */
class Included {
  private readonly filter: Filter;
  /** The folder, with its `/`, whose subtree is being passed over. */
  private skipped: Buffer | undefined;

  /** The path that a file's name stands for, where that is another one. */
  private readonly meaning: ((place: string) => string) | null;

  constructor(filter: Filter, meaning: ((place: string) => string) | null) {
    this.filter = filter;
    this.meaning = meaning;
  }

  each(bytes: Buffer, visit: (view: RecordView) => void): number {
    return eachRecord(bytes, (view) => {
      if (this.skipped && !this.isBelow(bytes, view, this.skipped)) this.skipped = undefined;
      if (!this.skipped && !this.isExcluded(bytes, view)) visit(view);
    });
  }

  private isBelow(bytes: Buffer, view: RecordView, folder: Buffer): boolean {
    const end = view.pathStart + folder.length;
    return end <= view.pathEnd && bytes.compare(folder, 0, folder.length, view.pathStart, end) === 0;
  }

  private isExcluded(bytes: Buffer, view: RecordView): boolean {
    let name = view.pathEnd;
    while (name > view.pathStart && bytes[name - 1] !== 0x2f) name -= 1;
    if (!this.filter.mayMatch(bytes[name] ?? 0, name + 1 < view.pathEnd ? (bytes[name + 1] ?? 0) : 0)) return false;
    const folder = isFolder(bytes, view);
    const place = bytes.toString('utf8', view.pathStart, view.pathEnd);
    const file = bytes[view.factsStart] === 0x66;
    const excluded = this.filter.excludes(this.meaning && file ? this.meaning(place) : place, folder);
    if (excluded && folder)
      this.skipped = Buffer.concat([bytes.subarray(view.pathStart, view.pathEnd), Buffer.from('/')]);
    return excluded;
  }
}

function isAsRecorded(row: BaselineRow, side: Side, bytes: Buffer, view: RecordView): boolean {
  const facts = bytes.toString('latin1', view.factsStart, view.factsEnd);
  if ((side === 'master' ? row.master_facts : row.backup_facts) !== facts) return false;
  return !facts.startsWith('l') || bytes.toString('utf8', view.pathEnd + 1, view.targetEnd) === row.link_target;
}

function isFolder(bytes: Buffer, view: RecordView): boolean {
  return bytes[view.factsStart] === 0x64;
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
