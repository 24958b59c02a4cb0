/**
 * After a crash or a pulled cable: finishes what an interrupted run left between two renames, and clears what it left
 * behind. Called with the drive's lock held, before anything is scanned.
 */
import { closeSync, fsyncSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from './errors.ts';
import { FolderCache } from './folders.ts';
import { baseName, joinPath, parentOf } from './paths.ts';
import { type Dir, OPEN_CREATE, openAt, renameNoReplace, rmdirAt, statAt, unlinkAt } from './syscalls.ts';

/** A replacement that needs two renames: `path` → `trash`, then `partial` → `path`. All from the drive's root. */
export interface Intent {
  path: string;
  partial: string;
  trash: string;
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

export interface Recovery {
  /** Paths that were put right from an intent record. */
  restored: string[];
  /** Operations whose partials were removed: they were interrupted. */
  interrupted: string[];
}

export function recoverDrive(root: Dir): Recovery {
  const folders = new FolderCache(root);
  try {
    const restored = replayIntents(root, folders);
    const interrupted = list(root, PARTIALS);
    for (const operation of interrupted) {
      unshareTrash(root, folders, `.tandem/trash/${operation}`, '');
      removeTree(root, `${PARTIALS}/${operation}`);
    }
    return { restored, interrupted };
  } finally {
    folders.clear();
  }
}

function replayIntents(root: Dir, folders: FolderCache): string[] {
  const restored: string[] = [];
  for (const name of list(root, INTENTS)) {
    for (const intent of readIntents(root, name)) {
      if (folders.exists(intent.path)) continue;
      // The partial was complete and flushed before the intent was written, so the newer content wins.
      const source = [intent.partial, intent.trash].find((path) => folders.exists(path));
      if (source === undefined) continue;
      const from = folders.open(parentOf(source));
      if (renameNoReplace(from, baseName(source), folders.open(parentOf(intent.path)), baseName(intent.path)))
        restored.push(intent.path);
    }
    unlinkAt(root, `${INTENTS}/${name}`);
  }
  return restored;
}

/** An intent record that was cut short was never acted upon. */
function readIntents(root: Dir, name: string): Intent[] {
  try {
    return JSON.parse(readFileSync(join(root.path, INTENTS, name), 'utf8')) as Intent[];
  } catch {
    return [];
  }
}

/**
 * Between the hard link into the trash and the rename over the live name, both names are one file: an edit of the live
 * one would change the version. Such entries leave the trash.
 */
function unshareTrash(root: Dir, folders: FolderCache, trash: string, below: string): void {
  const folder = below === '' ? trash : `${trash}/${below}`;
  for (const name of list(root, folder)) {
    const path = joinPath(below, name);
    const entry = statAt(root, `${trash}/${path}`);
    if (entry?.kind === 'd') unshareTrash(root, folders, trash, path);
    else if (entry?.kind === 'f' && entry.nlink > 1 && folders.exists(path)) {
      const live = statAt(root, path);
      if (live?.ino === entry.ino && live.dev === entry.dev) unlinkAt(root, `${trash}/${path}`);
    }
  }
}

/** Removes a folder of tandem's own with what is in it; never follows a link. */
export function removeTree(root: Dir, path: string): void {
  for (const name of list(root, path)) {
    const child = `${path}/${name}`;
    if (statAt(root, child)?.kind === 'd') removeTree(root, child);
    else unlinkAt(root, child);
  }
  rmdirAt(root, path);
}

function list(root: Dir, path: string): string[] {
  try {
    return readdirSync(join(root.path, path));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return [];
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

/** Where it keeps what it replaces or deletes, under the same paths. */
export function trashFolder(operation: string, folder: string): string {
  return folder === '' ? `.tandem/trash/${operation}` : `.tandem/trash/${operation}/${folder}`;
}
