/**
 * What an operation changed on a drive, path by path, kept on that drive as `.tandem/operations/<operation>.json`: enough to
 * find each version again, and to undo the operation. The trash itself is the truth; a manifest that is missing or
 * broken costs details only. It lies beside the trash because every name inside it may be a user's.
 */
import { closeSync, fstatSync, fsyncSync, readFileSync, writeSync } from 'node:fs';
import { errnoOf } from './errors.ts';
import { FolderCache } from './folders.ts';
import { Entry, eachRecord, entryAt } from './listing.ts';
import { isInside, relPath } from './paths.ts';
import type { Rename } from './renames.ts';
import { scanTree } from './scan.ts';
import { type Dir, OPEN_CREATE, OPEN_READ, openAt, renameOver, statAt, unlinkAt } from './syscalls.ts';
import { TRASH } from './trash.ts';

export const MANIFESTS = '.tandem/operations';

export interface Change {
  /** From the drive's root. */
  path: string;
  /** `meta`: only times, permissions or owner. */
  change: 'created' | 'replaced' | 'deleted' | 'meta';
  /** Facts (shared/listing.ts) of what stood there before; null: nothing, or not known. */
  before: string | null;
  /** Facts of what the operation left there; null: nothing; `''`: not known. */
  after: string | null;
  /** Path of the version below the operation's folder in the trash. */
  version?: string;
  /** Of the version, where it was recorded. */
  checksum?: string;
  checksum_algorithm?: string;
  /** What stood there was one of several names of a file; the version is a copy. */
  shared?: true;
  /** So many of the renames were done by then, and `path` is said in the names of that moment; absent: all of them. */
  at?: number;
}

export interface Manifest {
  tandem_manifest: 1;
  operation: string;
  operation_type: string;
  group_id: string;
  role: 'master' | 'backup' | 'folder';
  /** Absolute path of a folder that was restored into; only in what is kept of it on the computer. */
  folder?: string;
  /** ISO 8601, UTC. */
  start_time: string;
  end_time: string;
  /** Made after an interruption, from the trash and the journal. */
  reconstructed?: true;
  /** Files that were copied to where nothing was are not listed here: the journal has them. */
  journal?: true;
  /** What was renamed, in the order in which it was done. */
  moves?: Rename[];
  changes: Change[];
}

/** What was recorded of a path before an operation. */
export interface Former {
  facts: string;
  checksum: string;
  checksum_algorithm: string;
}

/** Gathers what a run does to one drive. */
export class ChangeLog {
  /** Under the names that they have now. */
  private readonly byPath = new Map<string, Change & { at: number }>();
  /** What was gone before something else got its name. */
  private readonly past: (Change & { at: number })[] = [];
  /** Renames, in the order in which they were done. */
  readonly moves: Rename[] = [];
  /** Files were copied in bulk to where nothing was; only the journal has their names. */
  bulk = false;

  get isEmpty(): boolean {
    return this.byPath.size + this.past.length + this.moves.length === 0;
  }

  /** A folder that was not there before. */
  madeFolder(path: string): void {
    if (!this.byPath.has(path)) this.put(path, 'created', undefined, '');
  }

  /** @param after facts of what has the new name now. */
  moved(path: string, from: string, after: string): void {
    this.moves.push({ path, from, after });
    const whole = after.startsWith('d ');
    const arriving: [string, Change & { at: number }][] = [];
    for (const key of whole ? [...this.byPath.keys()] : [path, from]) {
      const known = this.byPath.get(key);
      if (!known) continue;
      if (key === from || (whole && isInside(key, from))) arriving.push([path + key.slice(from.length), known]);
      else if (key === path || isInside(key, path)) this.past.push(known);
      else continue;
      this.byPath.delete(key);
      // What a rename itself moves of the facts is no change of the content.
      if (key === from && known.after !== null) known.after = after;
    }
    for (const [key, known] of arriving) this.byPath.set(key, known);
  }

  /**
   * @param left facts of this drive after the batch, by path.
   * @param done what was done to a path, in the words of the journal.
   */
  note(
    left: ReadonlyMap<string, string>,
    done: readonly { path: string; action: string }[],
    former: ReadonlyMap<string, Former>,
  ): void {
    const named = new Set<string>();
    for (const { path, action } of done) {
      named.add(path);
      const old = former.get(path);
      const after = left.get(path) ?? '';
      if (action === 'copy') this.put(path, 'created', undefined, after);
      else if (action === 'update') this.put(path, 'replaced', old, after);
      else if (action === 'meta') this.put(path, 'meta', old, after);
      else if (action === 'delete') this.put(path, 'deleted', old, null);
    }
    for (const [path, after] of left) {
      if (named.has(path)) continue;
      const known = this.byPath.get(path);
      const old = former.get(path);
      if (known) known.after = after;
      else if (after.startsWith('d ') && old && old.facts !== after) this.put(path, 'meta', old, after);
    }
  }

  /** Parents before children. */
  get changes(): Change[] {
    return [...this.past, ...this.byPath.values()]
      .map(({ at, ...change }): Change => (at === this.moves.length ? change : { ...change, at }))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  private put(path: string, change: Change['change'], old: Former | undefined, after: string | null): void {
    const known = this.byPath.get(path);
    if (known) {
      known.after = after;
      if (known.before === null && after === null) this.byPath.delete(path);
      else if (known.change !== 'created' && change !== 'meta') known.change = after === null ? 'deleted' : change;
      return;
    }
    const entry: Change & { at: number } = { path, change, before: old?.facts ?? null, after, at: this.moves.length };
    if (old && old.checksum !== '' && change !== 'meta') {
      entry.checksum = old.checksum;
      entry.checksum_algorithm = old.checksum_algorithm;
    }
    this.byPath.set(path, entry);
  }
}

/** Every name in an operation's trash, by its path there; empty when there is none. */
export async function listTrash(root: Dir, operation: string, signal?: AbortSignal): Promise<Map<string, Entry>> {
  const subpath = `${TRASH}/${operation}`;
  const { bytes } = await scanTree({ root, subpath, stable: true, mounts: [] }, undefined, signal);
  const found = new Map<string, Entry>();
  eachRecord(bytes, (view) => {
    const path = bytes.toString('utf8', view.pathStart, view.pathEnd);
    if (path !== subpath) found.set(path.slice(subpath.length + 1), entryAt(bytes, view, path));
  });
  return found;
}

/**
 * Where the version of `path` is in a listing of the trash: under its own name, or under `~2` … where the name was taken.
 * @param before facts of what it was; null: not known, so only its own name will do.
 */
export function versionName(
  trash: ReadonlyMap<string, Entry>,
  path: string,
  before: string | null,
): string | undefined {
  if (before === null) return trash.has(path) ? path : undefined;
  const wanted = new Entry(before, path);
  const alike: string[] = [];
  for (let copy = 2, name = path; trash.has(name); copy += 1) {
    if (isSame(trash.get(name) as Entry, wanted)) alike.push(name);
    name = `${path}~${copy}`;
  }
  if (alike.length === 0) return trash.has(path) ? path : undefined;
  // A folder that goes after its files finds its name taken by the folder that they lie in.
  return alike.find((name) => trash.get(name)?.ino === wanted.ino) ?? alike.at(wanted.kind === 'd' ? -1 : 0);
}

function isSame(a: Entry, b: Entry): boolean {
  return a.kind === b.kind && (a.kind === 'd' || (a.size === b.size && a.mtime === b.mtime));
}

/** Says in each change where its version is, and what stood there where only the trash knows. */
export function findVersions(changes: readonly Change[], trash: ReadonlyMap<string, Entry>): void {
  for (const change of changes) {
    if (change.change !== 'replaced' && change.change !== 'deleted') continue;
    const name = versionName(trash, change.path, change.before);
    // A folder that was removed empty has no version: the one of its name in the trash holds those of its files.
    if (name === undefined || (change.change === 'deleted' && change.before?.startsWith('d ') === true)) continue;
    change.version = name;
    const kept = trash.get(name) as Entry;
    const then = change.before === null ? null : new Entry(change.before, '');
    if (then?.kind === 'f' && then.ino !== '-' && then.ino !== kept.ino) change.shared = true;
    if (then && isSame(kept, then)) continue;
    delete change.shared;
    // It had changed since it was recorded: what lies in the trash is what stood there.
    change.before = kept.facts;
    delete change.checksum;
    delete change.checksum_algorithm;
  }
}

/** Written by partial, flush, rename and flush, so that there is a whole one or none. */
export function writeManifest(root: Dir, manifest: Manifest): void {
  const folders = new FolderCache(root);
  try {
    const dir = folders.make(MANIFESTS);
    const name = `${manifest.operation}.json`;
    const partial = `${name}.partial`;
    if (statAt(dir, partial) !== null) unlinkAt(dir, partial);
    // What retention asks for is in the first line, which stays short.
    const { changes, moves = [], ...head } = manifest;
    const listed = (name: string, list: readonly unknown[]): string =>
      `,"${name}":[\n${list.map((one) => JSON.stringify(one)).join(',\n')}\n]`;
    const lists = listed('changes', changes) + (moves.length > 0 ? listed('moves', moves) : '');
    const fd = openAt(dir, partial, OPEN_CREATE, 0o600);
    try {
      const bytes = Buffer.from(`${JSON.stringify(head).slice(0, -1)}${lists}}\n`);
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameOver(dir, partial, dir, name);
    fsyncFolder(dir);
  } finally {
    folders.clear();
  }
}

/** Null when there is none, or none that can be believed. */
export function readManifest(root: Dir, operation: string): Manifest | null {
  const folders = new FolderCache(root);
  try {
    const fd = openAt(folders.open(MANIFESTS), `${operation}.json`, OPEN_READ);
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile() || stat.size > LARGEST) return null;
      const value: unknown = JSON.parse(readFileSync(fd, 'utf8'));
      return isManifest(value, operation) ? value : null;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (error instanceof SyntaxError || ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return null;
    throw error;
  } finally {
    folders.clear();
  }
}

/** It was pruned, or nothing of it is needed any more. */
export function removeManifest(root: Dir, operation: string): void {
  const folders = new FolderCache(root);
  try {
    if (folders.exists(`${MANIFESTS}/${operation}.json`)) unlinkAt(folders.open(MANIFESTS), `${operation}.json`);
  } finally {
    folders.clear();
  }
}

// --- internal ---

const LARGEST = 512 * 1024 * 1024;
const CHANGES: readonly unknown[] = ['created', 'replaced', 'deleted', 'meta'];

/** Some drivers cannot flush a folder by itself; the file was flushed, and its name follows with the drive's next flush. */
function fsyncFolder(dir: Dir): void {
  try {
    fsyncSync(dir.fd);
  } catch (error) {
    if (!['EINVAL', 'ENOTTY', 'EBADF', 'ENOSYS', 'EPERM'].includes(errnoOf(error) ?? '')) throw error;
  }
}

function isManifest(value: unknown, operation: string): value is Manifest {
  const head = (value ?? {}) as Record<string, unknown>;
  const { tandem_manifest, operation: named, changes, moves = [], start_time, end_time } = head;
  if (tandem_manifest !== 1 || named !== operation || !Array.isArray(changes) || !Array.isArray(moves)) return false;
  if ([start_time, end_time].some((time) => typeof time !== 'string' || Number.isNaN(Date.parse(time)))) return false;
  return changes.every(isChange) && moves.every(isRename);
}

function isRename(value: unknown): value is Rename {
  const { path, from, after } = (value ?? {}) as Record<string, unknown>;
  return isUsers(path) && isUsers(from) && typeof after === 'string' && /^[fdl] \d+ /.test(after);
}

/** Only users' paths, and only facts that are facts. */
function isChange(value: unknown): value is Change {
  const { path, change, before, after, version, at = 0 } = (value ?? {}) as Record<string, unknown>;
  const isFacts = (one: unknown): boolean => one === null || (typeof one === 'string' && /^[fdl] \d+ /.test(one));
  if (!CHANGES.includes(change) || !isFacts(before) || !(after === '' || isFacts(after))) return false;
  if (!Number.isInteger(at) || Number(at) < 0) return false;
  return isUsers(path) && (version === undefined || isPath(version));
}

function isPath(text: unknown): text is string {
  if (typeof text !== 'string' || text === '') return false;
  try {
    return relPath(text) === text;
  } catch {
    return false;
  }
}

function isUsers(text: unknown): text is string {
  return isPath(text) && !isInside(text, '.tandem');
}
