/**
 * ASC MHL 2.0 histories: what stands in a folder, with checksums, in files beside it (`ascmhl/`) that other programs read
 * as well. Each run adds a generation that says of every file whether it is what the generations before said; a chain
 * file names all generations with their C4, so that a changed one is noticed.
 */
import { randomUUID } from 'node:crypto';
import { closeSync, fsyncSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { groupBySize } from '../shared/batches.ts';
import type { Context } from '../shared/context.ts';
import { type Digest, digestOf, type Hashers, hashersFor } from '../shared/digests.ts';
import { errnoOf, messageOf, TandemError } from '../shared/errors.ts';
import { VERSION } from '../shared/feature.ts';
import { FolderCache } from '../shared/folders.ts';
import { type Entry, eachRecord, entryAt, type Side } from '../shared/listing.ts';
import type { DriveLock } from '../shared/lock.ts';
import {
  type ChainEntry,
  canBeListed,
  extendChain,
  hashListText,
  MHL_FORMATS,
  type MhlFile,
  type MhlFormat,
  parseChain,
  parseHashList,
} from '../shared/mhl.ts';
import { baseName, displayPath, joinPath, parentOf, type RelPath } from '../shared/paths.ts';
import { clearPartials, partialFolder } from '../shared/recover.ts';
import { ALWAYS_EXCLUDED, mountsBelow, scanTree } from '../shared/scan.ts';
import type { ScrubResult } from '../shared/scrub.ts';
import { mkdirAt, OPEN_CREATE, OPEN_READ, openAt, renameNoReplace, renameOver, statOpen } from '../shared/syscalls.ts';
import { WorkerPool } from '../shared/workers.ts';
import type { Group } from './groups.ts';
import { type BaselineRow, findPair, readBaseline } from './history.ts';
import { judge, type OpenSide, readingSession, readsDirect } from './scrub.ts';
import { assertSide, OS_JUNK, syncOptions, workerCount } from './session.ts';

/**
 * `rot`: other content than the baseline recorded, everything else as recorded · `altered`: other content than the history
 * says · `missing`: in the newest generation, not there · `extra`: there, not in it · `unreadable` · `history`: a
 * generation or the chain itself is not what it should be · `unlisted`: its name cannot stand in a manifest.
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
  const hashers = await hashersFor([...MHL_FORMATS]);
  const history = readHistory(side, subpath, hashers);
  const result = newResult(task, history);
  if (lock === null && history.generations.length === 0 && history.findings.length === 0) {
    throw new TandemError('invalid', `There is no ASC MHL history at '${displayPath(joinPath(subpath, FOLDER))}'.`, {
      hint: 'Write one first: the same command without --check.',
    });
  }
  if (lock !== null && history.findings.length > 0) {
    const [first] = history.findings as [ManifestFinding];
    throw new TandemError(
      'invalid',
      `Nothing is added to a damaged history: ${displayPath(first.path)} ${first.message}.`,
      {
        hint: 'See all of it with --check; move the folder ascmhl/ away to begin a new history.',
      },
    );
  }
  const files = await listFiles(task, result, ctx);
  const looked = await readFiles(task, history, files, result, ctx);
  for (const path of history.newest.keys()) {
    if (files.has(path)) continue;
    result.findings.push({ path: joinPath(subpath, path), kind: 'missing', message: 'is not there' });
  }
  if (ctx.signal.aborted) result.status = 'cancelled';
  else {
    if (lock !== null) writeGeneration(task, lock, history, looked, hashers, result, ctx);
    if (result.findings.length > 0) result.status = 'failed';
  }
  result.findings.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  return result;
}

// --- internal ---

const FOLDER = 'ascmhl';
const CHAIN = 'ascmhl_chain.xml';
/** Longer documents are not read. */
const MAX_BYTES = 256 * 1024 * 1024;
/** Tried first when something is compared: fast ones before slow ones. */
const PREFERRED: readonly MhlFormat[] = ['xxh128', 'xxh3', 'xxh64', 'md5', 'sha1', 'c4'];
/** Other programs match these at any depth, so nothing of such a name is listed at any depth. */
const IGNORED = ['.DS_Store', 'ascmhl', 'ascmhl/', ...new Set([...ALWAYS_EXCLUDED, ...OS_JUNK, '._*'])].filter(
  (name, index, all) => all.indexOf(name) === index && canBeListed(name) && !name.includes('\r'),
);
const ignoredName = new RegExp(
  `^(?:${IGNORED.map((name) => name.replace(/\/$/, '').replace(/[.$+]/g, '\\$&').replace('*', '.*')).join('|')})$`,
  's',
);

interface History {
  generations: ChainEntry[];
  chain: string | null;
  /** The earliest hash of each format that did not fail, by path. */
  known: Map<string, Map<MhlFormat, string>>;
  /** What the newest generation lists. */
  newest: Map<string, MhlFile>;
  /** The highest number that any file in the folder has. */
  last: number;
  findings: ManifestFinding[];
}

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
    findings: [...history.findings],
  };
}

/** What the folder `ascmhl/` says; what is wrong with it is a finding and is not believed. */
function readHistory(side: OpenSide, subpath: RelPath, hashers: Hashers): History {
  const home = joinPath(subpath, FOLDER);
  const history: History = { generations: [], chain: null, known: new Map(), newest: new Map(), last: 0, findings: [] };
  const wrong = (name: string, message: string): void =>
    void history.findings.push({ path: name === '' ? home : joinPath(home, name), kind: 'history', message });
  const folders = new FolderCache(side.root.dir);
  try {
    const names = namesIn(folders, home);
    if (names === null) return history;
    const manifests = names.filter((name) => name.endsWith('.mhl') && !name.startsWith('._'));
    for (const name of manifests) history.last = Math.max(history.last, Number(/^\d{1,9}/.exec(name)?.[0] ?? 0));
    if (!names.includes(CHAIN)) {
      if (manifests.length > 0) wrong(CHAIN, 'is missing, so nothing proves the generations');
      return history;
    }
    history.chain = readText(folders, home, CHAIN).toString('utf8');
    history.generations = parseChain(history.chain);
    for (const entry of history.generations) {
      history.last = Math.max(history.last, entry.sequence);
      if (!manifests.includes(entry.name)) wrong(entry.name, 'is named in the chain and is missing');
      else takeGeneration(history, entry, readText(folders, home, entry.name), hashers, wrong);
    }
    const chained = new Set(history.generations.map(({ name }) => name));
    for (const name of manifests) if (!chained.has(name)) wrong(name, 'is not named in the chain');
  } catch (error) {
    wrong('', `cannot be read: ${messageOf(error)}`);
  } finally {
    folders.clear();
  }
  return history;
}

function takeGeneration(
  history: History,
  { name, c4 }: ChainEntry,
  bytes: Buffer,
  hashers: Hashers,
  wrong: (name: string, message: string) => void,
): void {
  if (digestOf(bytes, 'c4', hashers) !== c4) {
    wrong(name, 'was changed since it was written: its C4 is not the one in the chain');
    return;
  }
  let files: MhlFile[];
  try {
    files = parseHashList(bytes.toString('utf8'));
  } catch (error) {
    wrong(name, `cannot be read as a manifest: ${messageOf(error)}`);
    return;
  }
  history.newest = new Map(files.map((file) => [file.path, file]));
  for (const { path, hashes } of files) {
    const known = history.known.get(path) ?? new Map<MhlFormat, string>();
    history.known.set(path, known);
    for (const { format, value, action } of hashes)
      if (action !== 'failed' && !known.has(format)) known.set(format, value);
  }
}

function namesIn(folders: FolderCache, path: string): string[] | null {
  try {
    return readdirSync(folders.open(path).path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

function readText(folders: FolderCache, folder: string, name: string): Buffer {
  const fd = openAt(folders.open(folder), name, OPEN_READ);
  try {
    const { kind, size } = statOpen(fd);
    if (kind !== 'f' || size > MAX_BYTES) throw new Error(`${name} is no plain file of a sensible size`);
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Files below the folder, by their path from it. What cannot be looked at, or not be named, is a finding. */
async function listFiles(task: ManifestTask, result: ManifestResult, ctx: Context): Promise<Map<string, Entry>> {
  const { root, traits } = task.side;
  const { subpath } = task;
  const request = { root: root.dir, subpath, stable: traits.stable_ids, mounts: mountsBelow(root.mountPath) };
  const { bytes, unknown } = await scanTree(request, undefined, ctx.signal);
  for (const { path, message } of unknown) result.findings.push({ path, kind: 'unlisted', message });
  const files = new Map<string, Entry>();
  eachRecord(bytes, (view) => {
    const path = bytes.toString('utf8', view.pathStart, view.pathEnd);
    const below = subpath === '' ? path : path.slice(subpath.length + 1);
    if (below === '' || below.split('/').some((name) => ignoredName.test(name))) return;
    const entry = entryAt(bytes, view, path);
    if (entry.kind !== 'f') return;
    if (canBeListed(path)) files.set(below, entry);
    else result.findings.push({ path, kind: 'unlisted', message: 'its name holds a character that XML cannot hold' });
  });
  return files;
}

interface Question {
  below: string;
  entry: Entry;
  row: BaselineRow | undefined;
  known: ReadonlyMap<MhlFormat, string>;
  formats: Digest[];
}

/** Reads every file once, with all checksums that are needed; returns what a new generation says of them. */
async function readFiles(
  task: ManifestTask,
  history: History,
  files: ReadonlyMap<string, Entry>,
  result: ManifestResult,
  ctx: Context,
): Promise<MhlFile[]> {
  const { group, side, lock } = task;
  const rows = await recordedRows(task, ctx);
  const questions: (Question & { size: number })[] = [];
  for (const [below, entry] of files) {
    const known = history.known.get(below) ?? new Map<MhlFormat, string>();
    const row = rows.get(entry.path);
    if (lock === null && !history.newest.has(below)) {
      result.findings.push({ path: entry.path, kind: 'extra', message: 'is not in the newest manifest' });
      continue;
    }
    const formats = formatsFor(task, known, row);
    questions.push({ below, entry, row, known, formats, size: entry.size });
  }
  const looked: MhlFile[] = [];
  const options = syncOptions(group, {});
  const pool = new WorkerPool(workerCount(options));
  pool.open({ transfer: readingSession([side], randomUUID()), algorithm: options.checksum_algorithm, junk: OS_JUNK });
  const groups = groupBySize(questions);
  const lane = async (): Promise<void> => {
    for (let some = groups.shift(); some !== undefined && !ctx.signal.aborted; some = groups.shift()) {
      const items = some.map(({ entry, formats }) => ({ path: entry.path, size: null, formats }));
      const formats = [...new Set(some.flatMap((one) => one.formats))];
      const results = await pool.run('scrub', side.side, items, readsDirect(side), formats);
      if (results.some(({ state }) => state !== 'read')) assertSide(side.root, side.uuid);
      results.forEach((seen, index) => {
        const file = answer(some[index] as Question, seen, side.side, result);
        if (file) looked.push(file);
      });
    }
  };
  try {
    const outcomes = await Promise.allSettled(Array.from({ length: workerCount(options) }, lane));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  } finally {
    await pool.close();
  }
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
function answer(question: Question, seen: ScrubResult, side: Side, result: ManifestResult): MhlFile | undefined {
  const { entry, row, known, formats, below } = question;
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
  return { path: below, size: entry.size, mtime: entry.mtimeMs, hashes };
}

/** Manifest first, then the chain that names it: both flushed before they get their names. */
function writeGeneration(
  task: ManifestTask,
  lock: DriveLock,
  history: History,
  files: readonly MhlFile[],
  hashers: Hashers,
  result: ManifestResult,
  ctx: Context,
): void {
  const { side, subpath } = task;
  const now = ctx.now();
  const sequence = history.last + 1;
  const stamp = `${now.toISOString().slice(0, 10)}_${now.toISOString().slice(11, 19).replaceAll(':', '')}Z`;
  const name = `${String(sequence).padStart(4, '0')}_${plainName(subpath === '' ? side.root.label : baseName(subpath))}_${stamp}.mhl`;
  const header = { created: now.getTime(), hostname: hostname(), tool: 'tandem', version: VERSION, ignore: IGNORED };
  const manifest = Buffer.from(hashListText(header, files, hashers));
  const entry = { sequence, name, c4: digestOf(manifest, 'c4', hashers) };
  const chain = Buffer.from(extendChain(history.chain, entry));
  parseChain(chain.toString('utf8'));
  assertSide(side.root, side.uuid);
  lock.confirm();
  const operation = randomUUID();
  const folders = new FolderCache(side.root.dir);
  try {
    const partials = folders.makePinned(partialFolder(operation));
    const home = makeHome(folders, subpath);
    put(partials.fd, () => openAt(partials, 'manifest', OPEN_CREATE, 0o644), manifest);
    put(partials.fd, () => openAt(partials, 'chain', OPEN_CREATE, 0o644), chain);
    if (!renameNoReplace(partials, 'manifest', home, name)) throw new Error(`${name} is there already`);
    fsyncSync(home.fd);
    renameOver(partials, 'chain', home, CHAIN);
    fsyncSync(home.fd);
  } finally {
    folders.clear();
    clearPartials(side.root.dir, operation);
  }
  result.manifest = joinPath(joinPath(subpath, FOLDER), name);
  result.generations += 1;
}

function makeHome(folders: FolderCache, subpath: RelPath): ReturnType<FolderCache['open']> {
  const home = joinPath(subpath, FOLDER);
  try {
    mkdirAt(folders.open(parentOf(home)), FOLDER, 0o777);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
  return folders.makePinned(home);
}

function put(folder: number, open: () => number, bytes: Buffer): void {
  const fd = open();
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  fsyncSync(folder);
}

/** As every filesystem takes it. */
function plainName(name: string): string {
  const plain = name.replace(/[^\p{L}\p{N}._-]+/gu, '_').slice(0, 60);
  return plain === '' ? 'root' : plain;
}
