/**
 * Large copies that were interrupted go on where they stopped. Beside the partial of a large file lies a note: the source
 * as it was, and from time to time how many bytes were written with the checksum of what was read so far. The next run
 * reads the partial and keeps the longest part that has the noted checksum, provided the source is still the same;
 * nothing that a lost cache or a damaged medium took is built upon.
 */
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, ftruncateSync, readdirSync, readSync, writeSync } from 'node:fs';
import { errnoOf } from './errors.ts';
import { FolderCache } from './folders.ts';
import type { Hasher, HasherFactory } from './hash.ts';
import { readSmall } from './own-folder.ts';
import { type Dir, OPEN_CREATE, OPEN_READ, openAt, renameOver, statAt, unlinkAt } from './syscalls.ts';

/** Smaller files are copied anew: that takes no longer than finding out. */
export const RESUMABLE = 64 * 1024 * 1024;
/** Bytes between two entries of a note. */
const STEP = 64 * 1024 * 1024;
const NOTE = '.note';

/** Where interrupted partials wait, named by a hash of their path. */
export const WAITING = '.tandem/partial/resume';

export interface LargeCopy {
  target: number;
  /** Bytes that are there already and proved to be the source's. */
  done: number;
  /** Over these bytes. */
  hasher: Hasher;
  /** Called while the copy goes on. */
  progress(bytes: number, hasher: Hasher): void;
  /** Closes the note, not the target. */
  close(): void;
}

interface Header {
  path: string;
  facts: string;
  algorithm: string;
}

/**
 * Opens the partial of a large file: what an earlier run left of it, or a new one.
 * @param compared the open source, where its size and time are all that tells it from another file: then the partial has
 * to hold the same bytes; null: equal facts prove that it is the same.
 */
export function beginLargeCopy(
  folders: FolderCache,
  partials: Dir,
  name: string,
  header: Header,
  mode: number,
  compared: number | null,
  newHasher: HasherFactory,
): LargeCopy {
  const waiting = takeWaiting(folders, partials, name, header);
  const target = openAt(partials, name, waiting ? OPEN_AGAIN : OPEN_CREATE, mode);
  try {
    const proved = waiting
      ? prove(target, waiting, compared, newHasher)
      : { done: 0, hasher: newHasher(), checkpoints: [] };
    if (waiting) ftruncateSync(target, proved.done);
    // A first try of the same file may have left its note.
    const note = openAt(partials, name + NOTE, OPEN_NOTE, 0o600);
    const lines = [JSON.stringify(header), ...proved.checkpoints].map((line) => `${line}\n`);
    writeSync(note, lines.join(''));
    let noted = proved.done;
    return {
      target,
      done: proved.done,
      hasher: proved.hasher,
      progress: (bytes, hasher) => {
        if (bytes - noted < STEP) return;
        noted = bytes;
        writeSync(note, `${bytes} ${hasher.fork().digest()}\n`);
      },
      close: () => closeSync(note),
    };
  } catch (error) {
    closeSync(target);
    throw error;
  }
}

/** Keeps the noted partials of an operation that did not end; the rest of its folder is left to the caller. */
export function keepPartials(folders: FolderCache, folder: string): void {
  for (const name of namesIn(folders, folder)) {
    const dir = folders.open(folder);
    if (statAt(dir, name)?.kind === 'd') {
      keepPartials(folders, `${folder}/${name}`);
      continue;
    }
    const partial = name.slice(0, -NOTE.length);
    if (!name.endsWith(NOTE) || statAt(dir, partial)?.kind !== 'f') continue;
    const header = readNote(dir, name)?.header;
    if (!header) continue;
    const store = folders.make(WAITING);
    const key = keyOf(header.path);
    renameOver(folders.open(folder), partial, store, key);
    renameOver(folders.open(folder), name, store, key + NOTE);
  }
}

/** Removes what waits for other paths than these. */
export function dropWaiting(root: Dir, wanted: ReadonlySet<string>): void {
  const keys = new Set([...wanted].map(keyOf));
  withFolders(root, (folders) => {
    for (const name of namesIn(folders, WAITING)) {
      if (!keys.has(name.replace(NOTE, ''))) unlinkAt(folders.open(WAITING), name);
    }
  });
}

/** Bytes that wait on the drive; a run either builds upon them or frees them. */
export function waitingBytes(root: Dir): number {
  return withFolders(root, (folders) =>
    namesIn(folders, WAITING).reduce((sum, name) => sum + (statAt(folders.open(WAITING), name)?.size ?? 0), 0),
  );
}

// --- internal ---

const OPEN_AGAIN = constants.O_RDWR | constants.O_NOFOLLOW;
const OPEN_NOTE = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;

interface Waiting {
  checkpoints: { bytes: number; checksum: string; line: string }[];
}

/** Moves the waiting partial to its new name, when it is of this very source; else removes it. */
function takeWaiting(folders: FolderCache, partials: Dir, name: string, header: Header): Waiting | undefined {
  const key = keyOf(header.path);
  let store: Dir;
  try {
    store = folders.open(WAITING);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  const found = readNote(store, key + NOTE);
  const there = statAt(store, key);
  if (statAt(store, key + NOTE) !== null) unlinkAt(store, key + NOTE);
  if (there === null) return undefined;
  const { path, facts, algorithm } = found?.header ?? {};
  if (there.kind !== 'f' || path !== header.path || facts !== header.facts || algorithm !== header.algorithm) {
    if (there.kind !== 'd') unlinkAt(store, key);
    return undefined;
  }
  renameOver(store, key, partials, name);
  return found;
}

function readNote(dir: Dir, name: string): (Waiting & { header: Header }) | undefined {
  let lines: string[];
  try {
    lines = readSmall(openAt(dir, name, OPEN_READ)).split('\n');
  } catch {
    return undefined;
  }
  let header: Partial<Record<keyof Header, unknown>>;
  try {
    header = JSON.parse(lines[0] ?? '') as Partial<Record<keyof Header, unknown>>;
  } catch {
    return undefined;
  }
  const { path, facts, algorithm } = header ?? {};
  if (typeof path !== 'string' || typeof facts !== 'string' || typeof algorithm !== 'string') return undefined;
  // The last line may be cut off.
  const checkpoints = lines.slice(1, -1).flatMap((line) => {
    const [, bytes, checksum = ''] = /^(\d{1,15}) ([0-9a-f]+)$/.exec(line) ?? [];
    return bytes === undefined ? [] : [{ bytes: Number(bytes), checksum, line }];
  });
  return { header: { path, facts, algorithm }, checkpoints };
}

/** Reads the partial up to each noted length; the last one whose checksum is right is built upon. */
function prove(
  fd: number,
  { checkpoints }: Waiting,
  compared: number | null,
  newHasher: HasherFactory,
): { done: number; hasher: Hasher; checkpoints: string[] } {
  const { size } = fstatSync(fd);
  const buffer = Buffer.allocUnsafe(4 * 1024 * 1024);
  const other = compared === null ? buffer : Buffer.allocUnsafe(buffer.length);
  const proved = { done: 0, hasher: newHasher(), checkpoints: [] as string[] };
  let hasher = proved.hasher.fork();
  let at = 0;
  for (const { bytes, checksum, line } of checkpoints) {
    if (bytes > size || bytes <= at) break;
    while (at < bytes) {
      const read = readSync(fd, buffer, 0, Math.min(buffer.length, bytes - at), at);
      if (read === 0) return proved;
      if (compared !== null && !holdsSame(compared, at, buffer.subarray(0, read), other)) return proved;
      hasher.update(buffer.subarray(0, read));
      at += read;
    }
    if (hasher.fork().digest() !== checksum) return proved;
    proved.done = bytes;
    proved.hasher = hasher;
    proved.checkpoints.push(line);
    hasher = hasher.fork();
  }
  return proved;
}

function holdsSame(fd: number, position: number, bytes: Buffer, scratch: Buffer): boolean {
  for (let done = 0; done < bytes.length; ) {
    const read = readSync(fd, scratch, done, bytes.length - done, position + done);
    if (read === 0) return false;
    done += read;
  }
  return scratch.subarray(0, bytes.length).equals(bytes);
}

function keyOf(path: string): string {
  return createHash('sha256').update(path).digest('hex').slice(0, 32);
}

function namesIn(folders: FolderCache, path: string): string[] {
  try {
    return readdirSync(folders.open(path).path);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '');
}

function withFolders<T>(root: Dir, work: (folders: FolderCache) => T): T {
  const folders = new FolderCache(root);
  try {
    return work(folders);
  } finally {
    folders.clear();
  }
}
