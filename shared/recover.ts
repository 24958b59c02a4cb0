/**
 * After a crash or a pulled cable: finishes what an interrupted run left between two renames, and clears what it left
 * behind. Called with the drive's lock held, before anything is scanned.
 */
import { closeSync, fsyncSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { errnoOf, explain } from './errors.ts';
import { FolderCache } from './folders.ts';
import { baseName, isInside, joinPath, parentOf, relPath } from './paths.ts';
import { keepPartials, WAITING } from './resume.ts';
import {
  type Dir,
  exchange,
  OPEN_CREATE,
  OPEN_READ,
  openAt,
  renameNoReplace,
  renameOver,
  rmdirAt,
  statAt,
  unlinkAt,
} from './syscalls.ts';
import { TRASH } from './trash.ts';

/** A replacement that needs two renames: `path` → `trash`, then `partial` → `path`. All from the drive's root. */
export interface Intent {
  path: string;
  partial: string;
  trash: string;
  /** Both names were to be swapped in one step: the partial may hold what stood there. */
  swap?: boolean;
}

const INTENTS = '.tandem/intent';
const PARTIALS = '.tandem/partial';

/** Writes the record that recovery needs; flushed when this returns. Returns its path, for `dropIntents`. */
export function writeIntents(folders: FolderCache, name: string, intents: readonly Intent[]): string {
  const dir = folders.make(INTENTS);
  const fd = openAt(dir, name, OPEN_CREATE, 0o600);
  try {
    writeSync(fd, JSON.stringify(intents));
    fsyncSync(fd);
    fsyncSync(dir.fd);
  } finally {
    closeSync(fd);
  }
  return `${INTENTS}/${name}`;
}

export function dropIntents(root: Dir, path: string): void {
  unlinkAt(root, path);
}

/** A replacement that could be neither finished nor taken back: its intent and its partial are what recovery needs. */
export class Torn extends Error {}

/** Both names of a replacement: in its open folder, and in that of the trash or of the partials. */
export interface Place {
  dir: Dir;
  name: string;
}

/**
 * Carries an announced replacement out. Where a rename fails, what was done before it is taken back.
 * @throws Torn where that fails too; any other error leaves `live` as it was.
 */
export function replaceAnnounced(live: Place, partial: Place, trash: Place, swap: boolean): void {
  const exchanged = swap && exchange(partial.dir, partial.name, live.dir, live.name);
  const old = exchanged ? partial : live;
  let aside = false;
  try {
    aside = renameNoReplace(old.dir, old.name, trash.dir, trash.name);
    if (!aside) throw new Error('its place in the trash was taken');
    if (!exchanged) renameOver(partial.dir, partial.name, live.dir, live.name);
  } catch (error) {
    if (exchanged) takeBack(() => exchange(partial.dir, partial.name, live.dir, live.name), error);
    else if (aside) takeBack(() => renameNoReplace(trash.dir, trash.name, live.dir, live.name), error);
    throw error;
  }
}

function takeBack(undo: () => boolean, cause: unknown): void {
  try {
    if (undo()) return;
  } catch {
    // The drive fails: what stands where is in the intent.
  }
  throw new Torn(`${explain(cause)}; the next run puts it right`, { cause });
}

/**
 * Removes what an operation left unfinished, unless an intent of it still needs it; large files that it had begun wait to
 * be gone on with.
 */
export function clearPartials(root: Dir, operation: string): void {
  const folders = new FolderCache(root);
  try {
    if (namesIn(folders, INTENTS).some((name) => name.startsWith(`${operation}-`))) return;
    if (!folders.exists(partialFolder(operation))) return;
    keepPartials(folders, partialFolder(operation));
    folders.clear();
    removeTree(root, partialFolder(operation));
  } finally {
    folders.clear();
  }
}

export interface Recovery {
  /** Paths that were put right from an intent record. */
  restored: string[];
  /** Operations whose partials were removed: they were interrupted. */
  interrupted: string[];
}

export function recoverDrive(root: Dir): Recovery {
  const folders = new FolderCache(root);
  try {
    const restored = replayIntents(folders);
    const interrupted = namesIn(folders, PARTIALS).filter((name) => `${PARTIALS}/${name}` !== WAITING);
    for (const operation of interrupted) {
      unshareTrash(root, folders, `${TRASH}/${operation}`, '');
      clearPartials(root, operation);
    }
    return { restored, interrupted };
  } finally {
    folders.clear();
  }
}

function replayIntents(folders: FolderCache): string[] {
  const restored: string[] = [];
  for (const name of namesIn(folders, INTENTS)) {
    for (const intent of readIntents(folders, name)) {
      if (replay(folders, intent)) restored.push(intent.path);
      folders.trim();
    }
    removeEntry(folders, INTENTS, name);
  }
  return restored;
}

/**
 * The partial was complete and flushed before the intent was written, so the newer content wins where the path is empty.
 * Where it is not, a swap may have left the old content in the partial: it goes to the trash, whichever it is.
 */
function replay(folders: FolderCache, { path, partial, trash, swap }: Intent): boolean {
  if (folders.exists(path)) {
    if (swap === true && folders.exists(partial)) move(folders, partial, trash, true);
    return false;
  }
  const source = [partial, trash].find((one) => folders.exists(one));
  return source !== undefined && move(folders, source, path, false);
}

function move(folders: FolderCache, from: string, to: string, makeFolder: boolean): boolean {
  try {
    const target = makeFolder ? folders.make(parentOf(to)) : folders.open(parentOf(to));
    return renameNoReplace(folders.open(parentOf(from)), baseName(from), target, baseName(to));
  } catch (error) {
    // Its folder is gone: whatever happened there was not the crash.
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return false;
    throw error;
  }
}

/** What can be believed of an intent record; one that was cut short was never acted upon. */
function readIntents(folders: FolderCache, name: string): Intent[] {
  let value: unknown;
  try {
    const fd = openAt(folders.open(INTENTS), name, OPEN_READ);
    try {
      value = JSON.parse(readFileSync(fd, 'utf8'));
    } finally {
      closeSync(fd);
    }
  } catch {
    return [];
  }
  return Array.isArray(value) ? value.filter(isIntent) : [];
}

/** Only from tandem's own folders to a user's path. */
function isIntent(value: unknown): value is Intent {
  const { path, partial, trash } = (value ?? {}) as Record<string, unknown>;
  if (typeof path !== 'string' || typeof partial !== 'string' || typeof trash !== 'string') return false;
  try {
    for (const one of [path, partial, trash]) relPath(one);
  } catch {
    return false;
  }
  return (
    path !== '' &&
    !isInside(path, '.tandem') &&
    // What is put back comes from the trash of another operation.
    [PARTIALS, TRASH].some((home) => partial.startsWith(`${home}/`)) &&
    trash.startsWith(`${TRASH}/`)
  );
}

/**
 * Between the hard link into the trash and the rename over the live name, both names are one file: an edit of the live
 * one would change the version. Such entries leave the trash.
 */
function unshareTrash(root: Dir, folders: FolderCache, trash: string, below: string): void {
  const folder = below === '' ? trash : `${trash}/${below}`;
  for (const name of namesIn(folders, folder)) {
    const path = joinPath(below, name);
    const entry = statAt(folders.open(folder), name);
    if (entry?.kind === 'd') unshareTrash(root, folders, trash, path);
    else if (entry?.kind === 'f' && entry.nlink > 1 && folders.exists(path)) {
      const live = statAt(folders.open(parentOf(path)), baseName(path));
      if (live?.ino === entry.ino && live.dev === entry.dev) unlinkAt(folders.open(folder), name);
    }
  }
}

/** Removes what stands at a path of tandem's own, with all that is in it; follows no link, neither there nor on the way. */
export function removeTree(root: Dir, path: string): void {
  const folders = new FolderCache(root);
  try {
    if (folders.exists(path)) removeEntry(folders, parentOf(path), baseName(path));
  } finally {
    folders.clear();
  }
}

function removeEntry(folders: FolderCache, folder: string, name: string): void {
  const path = joinPath(folder, name);
  if (statAt(folders.open(folder), name)?.kind !== 'd') {
    unlinkAt(folders.open(folder), name);
    return;
  }
  for (const child of namesIn(folders, path)) removeEntry(folders, path, child);
  folders.forget(path);
  rmdirAt(folders.open(folder), name);
}

/** Names in a folder; none where it is missing, or a link or file has its name. */
function namesIn(folders: FolderCache, path: string): string[] {
  try {
    return readdirSync(folders.open(path).path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}

/** Where an operation writes what has no name yet. */
export function partialFolder(operation: string): string {
  return `.tandem/partial/${operation}`;
}

export function partialName(seq: number): string {
  return seq.toString(36);
}
