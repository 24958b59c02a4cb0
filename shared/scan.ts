/**
 * Lists a tree as records (shared/listing.ts). GNU find, run on the drive's open root, is the fastest lister there is and
 * is used where it is installed; when it reports anything unusual, and wherever it is missing, the same listing is
 * made by a walk of our own, which says for each path what went wrong.
 */

import { isUtf8 } from 'node:buffer';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { constants, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { Problem } from './errors.ts';
import { errnoOf } from './errors.ts';
import { FolderCache } from './folders.ts';
import { factsOf, formatRecord } from './listing.ts';
import { isInside, joinPath } from './paths.ts';
import { parseMountInfo } from './platform.ts';
import { closeFolder, type Dir, openAt, statAt, statOpen } from './syscalls.ts';

export interface ScanRequest {
  /** The drive's open root. */
  root: Dir;
  /** Only this folder of it; `''` for all. */
  subpath: string;
  /** ctime and inode numbers of this drive last. */
  stable: boolean;
  /** Paths from the drive's root that other filesystems are mounted on: not entered. */
  mounts: readonly string[];
}

export interface Scan {
  /** Records, parents first. */
  bytes: Buffer;
  /** Paths whose state could not be read: unknown, with everything below them. Never to be taken for absent. */
  unknown: Unknown[];
}

export interface Unknown extends Problem {
  why: 'mount' | 'vanished' | 'unreadable';
}

/** Names at a drive's root that no sync ever looks at; `*` stands for any text. */
export const ALWAYS_EXCLUDED: readonly string[] = [
  '.tandem',
  '.Trash*',
  '.Trashes',
  '$RECYCLE.BIN',
  'System Volume Information',
  'lost+found',
  '.Spotlight-V100',
  '.fseventsd',
  // The history of a whole drive: each drive has its own. Deeper down it belongs to the folder that it lies in.
  'ascmhl',
];

const excludedName = new RegExp(
  `^(?:${ALWAYS_EXCLUDED.map((name) => name.replace(/[.$+]/g, '\\$&').replace('*', '.*')).join('|')})$`,
  's',
);

/** Whether `path` (from the drive's root) lies in one of the always excluded folders. */
export function alwaysExcluded(path: string): boolean {
  const slash = path.indexOf('/');
  return excludedName.test(slash < 0 ? path : path.slice(0, slash));
}

/**
 * Lists with find where possible, else with `walkTree` in this thread. A missing subpath gives an empty listing; the
 * subpath itself is its first record.
 * @param begin gives a function that is handed the listing as it comes in, and says how many bytes of whole records it
 * took; called again when the listing starts anew.
 */
export async function scanTree(
  request: ScanRequest,
  begin: () => (bytes: Buffer) => number = () => (bytes) => bytes.length,
  signal?: AbortSignal,
): Promise<Scan> {
  const folders = new FolderCache(request.root);
  try {
    const start = startFolder(folders, request);
    if (start && process.platform === 'linux' && !process.env['TANDEM_NO_FIND']) {
      const bytes = await runFind(start, request, begin(), signal).catch(() => undefined);
      if (bytes && isUtf8(bytes)) return { bytes, unknown: mountProblems(request) };
    }
  } finally {
    folders.clear();
  }
  signal?.throwIfAborted();
  const scan = walkTree(request);
  begin()(scan.bytes);
  return scan;
}

/** The folder to be listed, reached through no link; undefined when it is none. */
function startFolder(folders: FolderCache, { subpath }: ScanRequest): Dir | undefined {
  try {
    return folders.open(subpath);
  } catch {
    return undefined;
  }
}

/** Mount points below `root`'s mount path, as paths from the root; Linux only (elsewhere a walk compares devices). */
export function mountsBelow(mountPath: string): string[] {
  if (process.platform !== 'linux') return [];
  // mountinfo names real paths; a virtual drive may be named through a link.
  const root = realpathSync(mountPath);
  const found = new Set<string>();
  for (const { mount_path: target } of parseMountInfo(readFileSync('/proc/self/mountinfo'))) {
    if (target !== root && isInside(target, root === '/' ? '' : root))
      found.add(target.slice(root.length).replace(/^\//, ''));
  }
  found.delete('');
  return [...found];
}

const PRINT = { stable: '%y %s %T@ %C@ %i %m %U %G\\0%n %b\\0', plain: '%y %s %T@ - - %m %U %G\\0%n %b\\0' };

/** Undefined when find complains about anything: then every path has to be looked at by name. */
function runFind(
  start: Dir,
  request: ScanRequest,
  take: (bytes: Buffer) => number,
  signal?: AbortSignal,
): Promise<Buffer | undefined> {
  const head = headRecord(start, request);
  return new Promise((done) => {
    const child: ChildProcess = spawn('find', findArguments(request), {
      stdio: ['ignore', 'pipe', 'pipe', start.fd],
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' },
    });
    const chunks: Buffer[] = [head];
    let rest = head.subarray(take(head));
    let complained = false;
    const stop = (): void => void child.kill('SIGKILL');
    signal?.addEventListener('abort', stop, { once: true });
    child.stdout?.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      const open = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      rest = open.subarray(take(open));
    });
    child.stderr?.on('data', () => {
      complained = true;
      stop();
    });
    child.on('error', () => {
      complained = true;
    });
    child.on('close', (code) => {
      signal?.removeEventListener('abort', stop);
      done(code === 0 && !complained && rest.length === 0 ? Buffer.concat(chunks) : undefined);
    });
  });
}

/** find runs in the start folder, which it has as descriptor 3. */
function findArguments({ subpath, stable, mounts }: ScanRequest): string[] {
  const start = '/proc/self/fd/3/.';
  const below = mounts
    .filter((path) => path !== subpath && isInside(path, subpath))
    .map((path) => path.slice(subpath === '' ? 0 : subpath.length + 1));
  const own = subpath === '' ? ALWAYS_EXCLUDED : [];
  const pruned = [...own, ...below.map((path) => path.replace(/[\\*?[\]]/g, '\\$&'))].map((path) => `${start}/${path}`);
  const prune = pruned.flatMap((pattern, index) => (index === 0 ? ['-path', pattern] : ['-o', '-path', pattern]));
  const prefix = subpath === '' ? '' : `${subpath.replace(/%/g, '%%').replace(/\\/g, '\\\\')}/`;
  const print = ['-printf', `${stable ? PRINT.stable : PRINT.plain}${prefix}%P\\0%l\\0`];
  return [start, '-mindepth', '1', ...(prune.length > 0 ? ['(', ...prune, ')', '-prune', '-o'] : []), ...print];
}

/** The record of the subpath itself; empty for the whole drive. */
function headRecord(start: Dir, { subpath, stable }: ScanRequest): Buffer {
  if (subpath === '') return Buffer.alloc(0);
  const stat = statOpen(start.fd);
  return Buffer.from(formatRecord(factsOf(stat, stable), stat.nlink, stat.blocks, subpath, ''));
}

function mountProblems(request: ScanRequest): Unknown[] {
  return request.mounts
    .filter((path) => isInside(path, request.subpath))
    .map((path) => ({ path, message: 'another filesystem is mounted here; it is not entered', why: 'mount' }));
}

/** Whether GNU find is here; `doctor` says so. */
export function findVersion(): string | undefined {
  const result = spawnSync('find', ['--version'], { encoding: 'utf8' });
  return /GNU findutils\) ([\d.]+)/.exec(result.stdout ?? '')?.[1];
}

/** The same listing without find: synchronous, one folder at a time, every error kept with its path. */
export function walkTree(request: ScanRequest): Scan {
  const { root, subpath, stable } = request;
  const unknown = mountProblems(request);
  const mounts = new Set(request.mounts);
  const parts: string[] = [];
  const device = statOpen(root.fd).dev;
  const visit = (path: string): void => {
    let stat: ReturnType<typeof statAt>;
    try {
      stat = statAt(root, path);
    } catch (error) {
      unknown.push({ path, message: `cannot be looked at (${errnoOf(error) ?? String(error)})`, why: 'unreadable' });
      return;
    }
    if (stat === null) {
      unknown.push({ path, message: 'vanished while the folder was being listed', why: 'vanished' });
      return;
    }
    if (stat.dev !== device) {
      unknown.push({ path, message: 'another filesystem is mounted here; it is not entered', why: 'mount' });
      return;
    }
    let target = '';
    if (stat.kind === 'l') {
      const bytes = readLink(root, path);
      if (bytes === undefined || !isUtf8(bytes)) {
        unknown.push({
          path,
          message: bytes ? 'the link target is not valid UTF-8' : 'the link cannot be read',
          why: 'unreadable',
        });
        return;
      }
      target = bytes.toString('utf8');
    }
    parts.push(formatRecord(factsOf(stat, stable), stat.nlink, stat.blocks, path, target));
    if (stat.kind === 'd') list(path);
  };
  const list = (folder: string): void => {
    let names: Buffer[];
    try {
      names = readNames(root, folder);
    } catch (error) {
      unknown.push({
        path: folder,
        message: `cannot be listed (${errnoOf(error) ?? String(error)})`,
        why: 'unreadable',
      });
      return;
    }
    for (const bytes of names) {
      const name = bytes.toString('utf8');
      const path = joinPath(folder, name);
      if (folder === '' && excludedName.test(name)) continue;
      if (mounts.has(path)) continue;
      if (!isUtf8(bytes))
        unknown.push({ path, message: 'the name is not valid UTF-8; rename it to have it synced', why: 'unreadable' });
      else visit(path);
    }
  };
  if (subpath === '') list('');
  else {
    const folders = new FolderCache(root);
    try {
      if (folders.exists(subpath)) visit(subpath);
    } catch (error) {
      unknown.push({
        path: subpath,
        message: `cannot be reached (${errnoOf(error) ?? String(error)})`,
        why: 'unreadable',
      });
    } finally {
      folders.clear();
    }
  }
  return { bytes: Buffer.from(parts.join('')), unknown };
}

function readNames(root: Dir, folder: string): Buffer[] {
  if (folder === '') return readdirSync(root.path, { encoding: 'buffer' });
  const fd = openAt(root, folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  const dir: Dir = { fd, path: process.platform === 'linux' ? `/proc/self/fd/${fd}` : join(root.path, folder) };
  try {
    return readdirSync(dir.path, { encoding: 'buffer' });
  } finally {
    closeFolder(dir);
  }
}

function readLink(root: Dir, path: string): Buffer | undefined {
  try {
    return readlinkSync(join(root.path, path), { encoding: 'buffer' });
  } catch {
    return undefined;
  }
}
