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
import { mountsBelow, type Scan, scanTree } from '../shared/scan.ts';
import type { DriveRoot } from '../shared/store.ts';
import type { Traits } from './detect.ts';
import { type BaselineRow, baselineChecks } from './history.ts';
import { keyOf } from './reconcile.ts';
import type { OpenPair } from './session.ts';

export interface Survey {
  master: Scan;
  backup: Scan;
  /** Files of the Master that the filter lets through by name; 0 for a pair that was never synced. */
  masterFiles: number;
  /** Everything is as recorded. */
  unchanged: boolean;
}

/** @param pairId of the recorded pair; null: never synced. */
export async function survey(
  pair: OpenPair,
  subpath: string,
  filter: Filter,
  pairId: number | null,
  ctx: Context,
): Promise<Survey> {
  const look = async (side: Side, root: DriveRoot, traits: Traits): Promise<{ scan: Scan; totals: Totals }> => {
    let totals = new Totals(side, filter);
    const begin = (): ((bytes: Buffer) => number) => {
      totals = new Totals(side, filter);
      return pairId === null ? (bytes) => bytes.length : (bytes) => totals.take(bytes);
    };
    const request = { root: root.dir, subpath, stable: traits.stable_ids, mounts: mountsBelow(root.mountPath) };
    const scan = await scanTree(request, begin, ctx.signal);
    return { scan, totals };
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
  return { master: master.scan, backup: backup.scan, masterFiles: master.totals.files, unchanged };
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
}

/** @param believe false: equal facts do not settle a path, its content will be read. */
export function openTrees(
  found: Survey,
  rows: readonly BaselineRow[],
  filter: Filter,
  keys: KeyRules,
  believe: boolean,
): OpenTrees {
  const trees: OpenTrees = {
    baseline: new Map(),
    master: new Map(),
    backup: new Map(),
    equal: 0,
    links: new Map(),
    problems: [],
  };
  for (const row of rows) trees.baseline.set(keyOf(row.path, keys), row);
  const settled = new Map<string, number>();
  const shared = new Set<string>();
  collect(trees, 'master', found.master.bytes, filter, keys, believe, settled, shared);
  collect(trees, 'backup', found.backup.bytes, filter, keys, believe, settled, shared);
  for (const [key, sides] of settled) {
    const row = trees.baseline.get(key) as BaselineRow;
    if (sides === BOTH) {
      trees.baseline.delete(key);
      if (!row.master_facts.startsWith('d')) trees.equal += 1;
    } else if (sides === MASTER)
      trees.master.set(key, new Entry(row.master_facts, row.path, 1, UNKNOWN, row.link_target));
    else
      trees.backup.set(key, new Entry(row.backup_facts, row.path, shared.has(key) ? 2 : 1, UNKNOWN, row.link_target));
  }
  return trees;
}

// --- internal ---

const MASTER = 1;
const BACKUP = 2;
const BOTH = 3;
/** Blocks of an entry that was rebuilt from its record. */
const UNKNOWN = -1;

/** Sums over one side of what the filter lets through by name. */
class Totals {
  readonly checks = new Checks();
  entries = 0;
  files = 0;
  private readonly side: Side;
  private readonly included: Included;

  constructor(side: Side, filter: Filter) {
    this.side = side;
    this.included = new Included(filter);
  }

  /** Takes the whole records at the start of `bytes`; returns their length. */
  take(bytes: Buffer): number {
    return this.included.each(bytes, (view) => {
      this.checks.addRecord(bytes, view, this.side);
      this.entries += 1;
      if (bytes[view.factsStart] !== 0x64) this.files += 1;
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

  constructor(filter: Filter) {
    this.filter = filter;
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
    const folder = bytes[view.factsStart] === 0x64;
    const excluded = this.filter.excludes(bytes.toString('utf8', view.pathStart, view.pathEnd), folder);
    if (excluded && folder)
      this.skipped = Buffer.concat([bytes.subarray(view.pathStart, view.pathEnd), Buffer.from('/')]);
    return excluded;
  }
}

function collect(
  trees: OpenTrees,
  side: Side,
  bytes: Buffer,
  filter: Filter,
  keys: KeyRules,
  believe: boolean,
  settled: Map<string, number>,
  shared: Set<string>,
): void {
  const mark = side === 'master' ? MASTER : BACKUP;
  const entries = trees[side];
  new Included(filter).each(bytes, (view) => {
    const path = bytes.toString('utf8', view.pathStart, view.pathEnd);
    const key = keyOf(path, keys);
    if (hasSeveralNames(bytes, view)) {
      if (side === 'master') noteLink(trees.links, bytes, view, path);
      else shared.add(key);
    }
    const sides = settled.get(key) ?? 0;
    if (entries.has(key) || (sides & mark) !== 0) {
      trees.problems.push({
        path,
        message: `differs only in spelling from another name beside it, and one of the drives takes both for one`,
      });
      return;
    }
    const row = trees.baseline.get(key);
    if (believe && row?.doubt === '' && row.path === path && isAsRecorded(row, side, bytes, view)) {
      settled.set(key, sides | mark);
      return;
    }
    entries.set(key, entryAt(bytes, view, path));
  });
}

function isAsRecorded(row: BaselineRow, side: Side, bytes: Buffer, view: RecordView): boolean {
  const facts = bytes.toString('latin1', view.factsStart, view.factsEnd);
  if ((side === 'master' ? row.master_facts : row.backup_facts) !== facts) return false;
  return !facts.startsWith('l') || bytes.toString('utf8', view.pathEnd + 1, view.targetEnd) === row.link_target;
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
