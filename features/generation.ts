/**
 * One ASC MHL history on a drive: what its generations say together of the files in a folder, and how one more is added.
 * A generation that was changed since it was written is not believed, and nothing is added to such a history. A folder
 * further down may have a history of its own, which this one refers to.
 */
import { randomUUID } from 'node:crypto';
import { closeSync, fsyncSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { digestOf, type Hashers } from '../shared/digests.ts';
import { errnoOf, messageOf } from '../shared/errors.ts';
import { VERSION } from '../shared/feature.ts';
import { FolderCache } from '../shared/folders.ts';
import {
  type ChainEntry,
  canBeListed,
  extendChain,
  type HashList,
  hashListText,
  type MhlFile,
  type MhlFormat,
  type MhlHeader,
  type MhlReference,
  parseChain,
  parseHashList,
} from '../shared/mhl.ts';
import { baseName, joinPath, parentOf, type RelPath } from '../shared/paths.ts';
import { clearPartials, partialFolder } from '../shared/recover.ts';
import { ALWAYS_EXCLUDED } from '../shared/scan.ts';
import type { DriveRoot } from '../shared/store.ts';
import {
  type Dir,
  mkdirAt,
  OPEN_CREATE,
  OPEN_READ,
  openAt,
  renameNoReplace,
  renameOver,
  statOpen,
} from '../shared/syscalls.ts';
import { OS_JUNK } from './session.ts';

export const FOLDER = 'ascmhl';
export const CHAIN = 'ascmhl_chain.xml';

/** What is wrong with a history; the path is from the drive's root. */
export interface HistoryTrouble {
  path: string;
  message: string;
}

/** Paths are relative to the folder that holds `ascmhl/`. */
export interface History {
  generations: ChainEntry[];
  chain: string | null;
  /** By path, of each format the earliest hash that did not fail, since the content was last new. */
  known: Map<string, Map<MhlFormat, string>>;
  /** What ought to be there. */
  expected: Set<string>;
  /** The newest to each history further down, by the folder that has it. */
  references: Map<string, MhlReference>;
  /** The highest number that any file in the folder has. */
  last: number;
  troubles: HistoryTrouble[];
}

/** Other programs match these at any depth, so nothing of such a name is listed at any depth. */
const IGNORED = ['.DS_Store', 'ascmhl', 'ascmhl/', ...new Set([...ALWAYS_EXCLUDED, ...OS_JUNK, '._*'])].filter(
  (name, index, all) => all.indexOf(name) === index && canBeListed(name) && !name.includes('\r'),
);
const ignoredName = new RegExp(
  `^(?:${IGNORED.map((name) => name.replace(/\/$/, '').replace(/[.$+]/g, '\\$&').replace('*', '.*')).join('|')})$`,
  's',
);

/** Left out of every list. */
export function isIgnored(path: string): boolean {
  return path.split('/').some((name) => ignoredName.test(name));
}

/** What the folder `ascmhl/` in this folder says; what is wrong with it is not believed. */
export function readHistory(root: Dir, subpath: RelPath, hashers: Hashers): History {
  const home = joinPath(subpath, FOLDER);
  const history: History = {
    generations: [],
    chain: null,
    known: new Map(),
    expected: new Set(),
    references: new Map(),
    last: 0,
    troubles: [],
  };
  const wrong = (name: string, message: string): void =>
    void history.troubles.push({ path: name === '' ? home : joinPath(home, name), message });
  const folders = new FolderCache(root);
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

/** Where a generation is added. */
export interface Place {
  root: DriveRoot;
  subpath: RelPath;
  history: History;
  /** Throws when the drive or the lock is not ours any more. */
  prove(): void;
}

/**
 * Manifest first, then the chain that names it: both flushed before they get their names.
 * @returns the path of the manifest, from the drive's root.
 */
export function addGeneration(
  place: Place,
  list: HashList,
  process: MhlHeader['process'],
  hashers: Hashers,
  now: Date,
): string {
  const { root, subpath, history } = place;
  const sequence = history.last + 1;
  const stamp = `${now.toISOString().slice(0, 10)}_${now.toISOString().slice(11, 19).replaceAll(':', '')}Z`;
  const name = `${String(sequence).padStart(4, '0')}_${plainName(subpath === '' ? root.label : baseName(subpath))}_${stamp}.mhl`;
  const origin = { created: now.getTime(), hostname: hostname(), tool: 'tandem', version: VERSION };
  const manifest = Buffer.from(hashListText({ ...origin, ignore: IGNORED, process }, list, hashers));
  const entry = { sequence, name, c4: digestOf(manifest, 'c4', hashers) };
  const chain = Buffer.from(extendChain(history.chain, entry));
  parseChain(chain.toString('utf8'));
  place.prove();
  const operation = randomUUID();
  const folders = new FolderCache(root.dir);
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
    clearPartials(root.dir, operation);
  }
  return joinPath(joinPath(subpath, FOLDER), name);
}

/** To the newest generation of a history further down; undefined where there is none that can be believed. */
export function referenceTo(folder: string, { generations, troubles }: History): MhlReference | undefined {
  const newest = generations.at(-1);
  if (!newest || troubles.length > 0) return undefined;
  return { path: joinPath(joinPath(folder as RelPath, FOLDER), newest.name), c4: newest.c4 };
}

// --- internal ---

/** Longer documents are not read. */
const MAX_BYTES = 256 * 1024 * 1024;

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
  try {
    takeList(history, parseHashList(bytes.toString('utf8')));
  } catch (error) {
    wrong(name, `cannot be read as a manifest: ${messageOf(error)}`);
  }
}

/** What a list says goes over what the lists before it said. */
function takeList(history: History, { files, complete, references, removed }: HashList): void {
  const { known, expected } = history;
  if (complete) {
    expected.clear();
    history.references.clear();
  }
  forget(history, new Set(removed));
  for (const reference of references) history.references.set(parentOf(parentOf(reference.path)), reference);
  // Two files may have taken each other's names.
  const before = new Map(files.map(({ path, previousPath }) => [path, known.get(previousPath ?? '')]));
  for (const { previousPath } of files) {
    if (previousPath === undefined) continue;
    known.delete(previousPath);
    expected.delete(previousPath);
  }
  for (const file of files) {
    expected.add(file.path);
    known.set(file.path, hashesAfter(file, before.get(file.path) ?? known.get(file.path)));
  }
}

function hashesAfter({ hashes }: MhlFile, before: Map<MhlFormat, string> | undefined): Map<MhlFormat, string> {
  const good = hashes.filter(({ action }) => action !== 'failed');
  const shared = good.filter(({ format }) => before?.has(format));
  const renewed = good.some(({ action }) => action === 'original');
  const goesOn = !renewed || (shared.length > 0 && shared.every(({ format, value }) => before?.get(format) === value));
  const after = new Map(goesOn ? before : []);
  for (const { format, value } of good) if (!after.has(format)) after.set(format, value);
  return after;
}

function forget({ known, expected, references }: History, removed: ReadonlySet<string>): void {
  if (removed.size === 0) return;
  for (const paths of [known, expected, references])
    for (const path of paths.keys()) if (isAtOrBelow(path, removed)) paths.delete(path);
}

function isAtOrBelow(path: string, folders: ReadonlySet<string>): boolean {
  for (let at = path; at !== ''; at = parentOf(at as RelPath)) if (folders.has(at)) return true;
  return false;
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

function makeHome(folders: FolderCache, subpath: RelPath): Dir {
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
