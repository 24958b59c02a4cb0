/**
 * ASC MHL 2.0 histories: what stands in a folder, with checksums, in files beside it (`ascmhl/`) that other programs read
 * as well. Each run adds a generation that says of every file whether it is what the generations before said; a chain
 * file names all generations with their C4, so that a changed one is noticed. Files that a history further down lists are
 * compared with that one, and referred to.
 */
import { randomUUID } from 'node:crypto';
import { groupBySize } from '../shared/batches.ts';
import type { Context } from '../shared/context.ts';
import { type Digest, type Hashers, hashersFor } from '../shared/digests.ts';
import { TandemError } from '../shared/errors.ts';
import { isKeyed } from '../shared/hash.ts';
import { lanesFor } from '../shared/lanes.ts';
import { type Entry, eachRecord, entryAt, type Side } from '../shared/listing.ts';
import type { DriveLock } from '../shared/lock.ts';
import { canBeListed, MHL_FORMATS, type MhlFile, type MhlFormat, type MhlReference } from '../shared/mhl.ts';
import { recordPairs } from '../shared/mhl-hashes.ts';
import { baseName, displayPath, isInside, joinPath, parentOf, type RelPath } from '../shared/paths.ts';
import { mountsBelow, scanTree } from '../shared/scan.ts';
import type { ScrubResult } from '../shared/scrub.ts';
import { WorkerPool } from '../shared/workers.ts';
import {
  addGeneration,
  CHAIN,
  FOLDER,
  type History,
  type HistoryTrouble,
  isIgnored,
  readHistory,
  referenceTo,
} from './generation.ts';
import type { Group } from './groups.ts';
import { type BaselineRow, findPair, readBaseline } from './history.ts';
import { groupKey } from './keyring.ts';
import { judge, type OpenSide, readingSession } from './scrub.ts';
import { assertSide, OS_JUNK, syncOptions } from './session.ts';
import { storedForms } from './storing.ts';

/**
 * `rot`: other content than the baseline recorded, everything else as recorded · `altered`: other content than the history
 * says · `missing`: in the history, not there · `extra`: there, not in it · `unreadable` · `history`: a generation or the
 * chain itself is not what it should be · `unlisted`: its name cannot stand in a manifest.
 */
export type ManifestKind = 'rot' | 'altered' | 'missing' | 'extra' | 'unreadable' | 'history' | 'unlisted';

export interface ManifestFinding {
  /** From the drive's root. */
  path: string;
  kind: ManifestKind;
  message: string;
}

/** `verify manifest --json`: one for each side. */
export interface ManifestResult {
  side: Side;
  /** Of the folder that was looked at, from the drive's root. */
  folder: string;
  /** The manifest that was written, or the newest that was compared with, from the drive's root; null: none. */
  manifest: string | null;
  generations: number;
  files_verified: number;
  bytes_verified: number;
  verified: 'none' | 'cache' | 'device';
  status: 'completed' | 'failed' | 'cancelled';
  findings: ManifestFinding[];
}

export interface ManifestTask {
  group: Group;
  subpath: RelPath;
  side: OpenSide;
  /** Formats of a new generation. */
  formats: readonly MhlFormat[];
  /** Held while a generation is written; null: compare only. */
  lock: DriveLock | null;
}

/**
 * Reads everything below a folder, compares it with the folder's history and, with a lock, adds a generation.
 * @throws TandemError `invalid` when there is no history to compare with, or one that nothing may be added to.
 */
export async function manifestOf(task: ManifestTask, ctx: Context): Promise<ManifestResult> {
  const { side, subpath, lock } = task;
  await requirePlain(task, ctx);
  const hashers = await hashersFor([...MHL_FORMATS]);
  const history = readHistory(side.root.dir, subpath, hashers);
  const result = newResult(task, history);
  if (lock === null && history.generations.length === 0 && history.troubles.length === 0) {
    throw new TandemError('invalid', `There is no ASC MHL history at '${displayPath(joinPath(subpath, FOLDER))}'.`, {
      hint: 'Write one first: the same command without --check.',
    });
  }
  if (lock !== null && history.troubles.length > 0) {
    const [first] = history.troubles as [HistoryTrouble];
    throw new TandemError(
      'invalid',
      `Nothing is added to a damaged history: ${displayPath(first.path)} ${first.message}.`,
      {
        hint: 'See all of it with --check; move the folder ascmhl/ away to begin a new history.',
      },
    );
  }
  const { files, folders } = await listFiles(task, result, ctx);
  const all = new Histories(history, folders, (folder) => {
    return readHistory(side.root.dir, joinPath(subpath, folder), hashers);
  });
  for (const { path, message } of all.troubles(subpath)) result.findings.push({ path, kind: 'history', message });
  const looked = await readFiles(task, all, files, result, ctx);
  for (const path of all.expected()) {
    if (files.has(path)) continue;
    result.findings.push({ path: joinPath(subpath, path), kind: 'missing', message: 'is not there' });
  }
  if (ctx.signal.aborted) result.status = 'cancelled';
  else {
    if (lock !== null)
      writeGeneration(task, lock, history, { looked, references: all.references() }, hashers, result, ctx);
    if (result.findings.length > 0) result.status = 'failed';
  }
  result.findings.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  return result;
}

// --- internal ---

/** @throws TandemError `invalid`: a manifest names files and their contents, and a stored Backup has neither as they are. */
async function requirePlain({ group, side }: ManifestTask, ctx: Context): Promise<void> {
  const { master_drive, backup_drive } = group;
  if (side.side === 'master') return;
  const pairId = await findPair(master_drive.drive_uuid ?? '', backup_drive.drive_uuid ?? '', ctx);
  if (pairId === null || !(await storedForms(pairId, ctx)).stored) return;
  throw new TandemError('invalid', 'The files of this Backup are compressed or sealed; a manifest lists plain ones.', {
    hint: 'Use --side master; `tandem verify run` proves the Backup against the same checksums.',
  });
}

/** Tried first when something is compared: fast ones before slow ones. */
const PREFERRED: readonly MhlFormat[] = ['xxh128', 'xxh3', 'xxh64', 'md5', 'sha1', 'c4'];

function newResult({ side, subpath }: ManifestTask, history: History): ManifestResult {
  const newest = history.generations.at(-1);
  return {
    side: side.side,
    folder: subpath,
    manifest: newest ? joinPath(joinPath(subpath, FOLDER), newest.name) : null,
    generations: history.generations.length,
    files_verified: 0,
    bytes_verified: 0,
    verified: 'none',
    status: 'completed',
    findings: history.troubles.map((trouble) => ({ ...trouble, kind: 'history' })),
  };
}

/** Files below the folder, by their path from it. What cannot be looked at, or not be named, is a finding. */
async function listFiles(
  task: ManifestTask,
  result: ManifestResult,
  ctx: Context,
): Promise<{ files: Map<string, Entry>; folders: string[] }> {
  const { root, traits } = task.side;
  const { subpath } = task;
  const request = { root: root.dir, subpath, stable: traits.stable_ids, mounts: mountsBelow(root.mountPath) };
  const { bytes, unknown } = await scanTree(request, undefined, ctx.signal);
  for (const { path, message } of unknown) result.findings.push({ path, kind: 'unlisted', message });
  const files = new Map<string, Entry>();
  /** With a history of their own. */
  const folders: string[] = [];
  eachRecord(bytes, (view) => {
    const path = bytes.toString('utf8', view.pathStart, view.pathEnd);
    const below = subpath === '' ? path : path.slice(subpath.length + 1);
    if (below.endsWith(`/${FOLDER}/${CHAIN}`)) {
      const folder = parentOf(parentOf(below));
      if (!isIgnored(folder) && canBeListed(path)) folders.push(folder);
    }
    if (below === '' || isIgnored(below)) return;
    const entry = entryAt(bytes, view, path);
    if (entry.kind !== 'f') return;
    if (canBeListed(path)) files.set(below, entry);
    else result.findings.push({ path, kind: 'unlisted', message: 'its name holds a character that XML cannot hold' });
  });
  return { files, folders };
}

/** The history of the folder, and those of folders further down. */
class Histories {
  private readonly own: History;
  private readonly others: ReadonlyMap<string, History>;

  constructor(own: History, folders: readonly string[], read: (folder: string) => History) {
    this.own = own;
    this.others = new Map(folders.map((folder) => [folder, read(folder)]));
  }

  /** The history that speaks for a file: the deepest above it that lists it, else the folder's own. */
  of(path: string): { known: ReadonlyMap<MhlFormat, string>; expected: boolean; elsewhere: boolean } {
    for (let at = this.others.size > 0 ? parentOf(path) : ''; at !== ''; at = parentOf(at)) {
      const other = this.others.get(at);
      const below = path.slice(at.length + 1);
      if (!other || other.troubles.length > 0) continue;
      if (other.expected.has(below))
        return { known: other.known.get(below) ?? new Map(), expected: true, elsewhere: true };
      break;
    }
    return { known: this.own.known.get(path) ?? new Map(), expected: this.own.expected.has(path), elsewhere: false };
  }

  *expected(): Iterable<string> {
    yield* this.own.expected;
    for (const [folder, { expected, troubles }] of this.others)
      if (troubles.length === 0) for (const path of expected) yield joinPath(folder, path);
  }

  /** To the histories directly below; those refer to the ones below them. */
  references(): MhlReference[] {
    const folders = [...this.others.keys()];
    return [...this.others].flatMap(([folder, history]) => {
      const above = folders.some((other) => other !== folder && isInside(folder, other));
      return above ? [] : (referenceTo(folder, history) ?? []);
    });
  }

  /** What is wrong with those below, and with what was said of them; paths from the drive's root. */
  troubles(subpath: RelPath): HistoryTrouble[] {
    const found = [...this.others.values()].flatMap(({ troubles }) => troubles);
    for (const [folder, { path, c4 }] of this.own.references) {
      const other = this.others.get(folder);
      const name = baseName(path);
      const same = other?.generations.some((entry) => entry.name === name && entry.c4 === c4);
      if (!same)
        found.push({ path: joinPath(subpath, path), message: 'is not there as the history above refers to it' });
    }
    return found;
  }
}

interface Question {
  below: string;
  entry: Entry;
  row: BaselineRow | undefined;
  known: ReadonlyMap<MhlFormat, string>;
  elsewhere: boolean;
  formats: Digest[];
}

/** Reads every file once, with all checksums that are needed; returns what a new generation says of them. */
async function readFiles(
  task: ManifestTask,
  all: Histories,
  files: ReadonlyMap<string, Entry>,
  result: ManifestResult,
  ctx: Context,
): Promise<MhlFile[]> {
  const { group, side, lock } = task;
  const rows = await recordedRows(task, ctx);
  const questions: (Question & { size: number })[] = [];
  for (const [below, entry] of files) {
    const { known, expected, elsewhere } = all.of(below);
    const row = rows.get(entry.path);
    if (lock === null && !expected) {
      result.findings.push({ path: entry.path, kind: 'extra', message: 'is in no manifest' });
      continue;
    }
    const formats = formatsFor(task, known, row);
    questions.push({ below, entry, row, known, elsewhere, formats, size: entry.size });
  }
  const looked: MhlFile[] = [];
  const pairs: string[] = [];
  const options = syncOptions(group, {});
  const { small: lanes } = lanesFor(options, [side.drive]);
  const pool = new WorkerPool(lanes);
  pool.open({
    transfer: readingSession([side], randomUUID()),
    algorithm: options.checksum_algorithm,
    junk: OS_JUNK,
    mhl: false,
  });
  if (questions.some(({ formats }) => formats.some(isKeyed))) {
    const { key, keyId } = await groupKey(group, { master: side.root, backup: null }, ctx);
    pool.setKey({ key, keyId });
    key.fill(0);
  }
  const groups = groupBySize(questions);
  const lane = async (): Promise<void> => {
    for (let some = groups.shift(); some !== undefined && !ctx.signal.aborted; some = groups.shift()) {
      const items = some.map(({ entry, formats }) => ({ path: entry.path, size: null, formats }));
      const formats = [...new Set(some.flatMap((one) => one.formats))];
      const results = await pool.run('scrub', side.side, items, side.direct, formats);
      if (results.some(({ state }) => state !== 'read')) assertSide(side.root, side.uuid);
      results.forEach((seen, index) => {
        const question = some[index] as Question;
        const file = answer(question, seen, side.side, result, pairs);
        if (file) looked.push(file);
      });
    }
  };
  try {
    const outcomes = await Promise.allSettled(Array.from({ length: lanes }, lane));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  } finally {
    await pool.close();
  }
  await recordPairs(pairs, ctx);
  return looked;
}

/** Nothing that the baseline knows to be damaged is to be certified. */
async function recordedRows({ group, subpath, lock }: ManifestTask, ctx: Context): Promise<Map<string, BaselineRow>> {
  if (lock === null) return new Map();
  const { master_drive, backup_drive } = group;
  const pairId = await findPair(master_drive.drive_uuid ?? '', backup_drive.drive_uuid ?? '', ctx);
  const rows = pairId === null ? [] : await readBaseline(pairId, subpath, ctx);
  return new Map(rows.filter(({ checksum }) => checksum !== '').map((row) => [row.path, row]));
}

function formatsFor(
  { formats, lock }: ManifestTask,
  known: ReadonlyMap<MhlFormat, string>,
  row: BaselineRow | undefined,
): Digest[] {
  const found = new Set<Digest>(lock === null ? [] : formats);
  if (row) found.add(row.checksum_algorithm as Digest);
  // At least one that can be compared with what is known.
  if (known.size > 0 && !PREFERRED.some((format) => found.has(format) && known.has(format)))
    found.add(PREFERRED.find((format) => known.has(format)) as MhlFormat);
  return [...found];
}

/** What the new generation says of a file; undefined for one that it must not vouch for. */
function answer(
  question: Question,
  seen: ScrubResult,
  side: Side,
  result: ManifestResult,
  pairs: string[],
): MhlFile | undefined {
  const { entry, row, known, formats, below, elsewhere } = question;
  const say = (kind: ManifestKind, message: string): void =>
    void result.findings.push({ path: entry.path, kind, message });
  if (seen.state !== 'read') {
    if (seen.state === 'missing') say('missing', 'vanished while the folder was being read');
    else if (seen.state !== 'stopped') say('unreadable', seen.message);
    return undefined;
  }
  if (!seen.direct) result.verified = 'cache';
  else if (result.verified === 'none') result.verified = 'device';
  const sums = new Map(formats.map((format, index) => [format, seen.checksums[index] ?? '']));
  const compared = MHL_FORMATS.filter((format) => sums.has(format) && known.has(format));
  const failed = compared.some((format) => sums.get(format) !== known.get(format));
  const recorded = row && { ...seen, checksums: [sums.get(row.checksum_algorithm as Digest) ?? ''] };
  const verdict = row && recorded ? judge(row, side, recorded) : 'good';
  const rotten = verdict !== 'good' && verdict.kind === 'rot';
  const taken = sums.get('xxh128');
  // What a run need not read again: only of content that is the recorded one.
  if (row && verdict === 'good' && taken !== undefined && row.checksum_algorithm !== 'xxh128')
    pairs.push(row.checksum, taken);
  if (rotten) say('rot', `${verdict.message}; it is not vouched for`);
  else if (failed) say('altered', 'is not what the history says');
  if (rotten && compared.length === 0) return undefined;
  if (!rotten && !failed) {
    result.files_verified += 1;
    result.bytes_verified += entry.size;
  }
  const action = failed || rotten ? 'failed' : known.size > 0 ? 'verified' : 'original';
  const hashes = MHL_FORMATS.filter((format) => sums.has(format)).map((format) => {
    return { format, value: sums.get(format) ?? '', action } as const;
  });
  const file = { path: below, size: entry.size, mtime: entry.mtimeMs, hashes };
  return elsewhere ? { ...file, elsewhere } : file;
}

function writeGeneration(
  { side, subpath }: ManifestTask,
  lock: DriveLock,
  history: History,
  { looked, references }: { looked: MhlFile[]; references: MhlReference[] },
  hashers: Hashers,
  result: ManifestResult,
  ctx: Context,
): void {
  const prove = (): void => {
    assertSide(side.root, side.uuid);
    lock.confirm();
  };
  const list = { files: looked, complete: true, references, removed: [] };
  const place = { root: side.root, subpath, history, prove };
  result.manifest = addGeneration(place, list, 'in-place', hashers, ctx.now());
  result.generations += 1;
}
