/**
 * Lists a tree as records (shared/listing.ts). GNU find, run on the drive's open root, is the fastest lister there is and
 * is used where it is installed; when it reports anything unusual, and wherever it is missing, the same listing is
 * made by a walk of our own, which says for each path what went wrong.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { isUtf8 } from 'node:buffer';
import { constants, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Problem } from './errors.ts';
import { errnoOf } from './errors.ts';
import { factsOf, formatRecord } from './listing.ts';
import { isInside, joinPath } from './paths.ts';
import { closeFolder, type Dir, openAt, statAt } from './syscalls.ts';

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
  unknown: Problem[];
}

/** Names at a drive's root that no sync ever looks at; `*` stands for any text. */
export const ALWAYS_EXCLUDED: readonly string[] = [
  '.tandem', '.Trash*', '.Trashes', '$RECYCLE.BIN', 'System Volume Information', 'lost+found', '.Spotlight-V100', '.fseventsd',
];

const excludedName = new RegExp(`^(?:${ALWAYS_EXCLUDED.map((name) => name.replace(/[.$+]/g, '\\$&').replace('*', '.*')).join('|')})$`, 's');

/** Whether `path` (from the drive's root) lies in one of the always excluded folders. */
export function alwaysExcluded(path: string): boolean {
  const slash = path.indexOf('/');
  return excludedName.test(slash < 0 ? path : path.slice(0, slash));
}

/** Lists with find where possible, else with `walkTree` in this thread. A missing subpath gives an empty listing. */
export async function scanTree(request: ScanRequest, signal?: AbortSignal): Promise<Scan> {
  if (process.platform === 'linux' && !process.env['TANDEM_NO_FIND']) {
    const bytes = await runFind(request, signal).catch(() => undefined);
    if (bytes && isUtf8(bytes)) return { bytes, unknown: mountProblems(request) };
  }
  signal?.throwIfAborted();
  return walkTree(request);
}

/** Mount points below `root`'s mount path, as paths from the root; Linux only (elsewhere a walk compares devices). */
export function mountsBelow(mountPath: string): string[] {
  if (process.platform !== 'linux') return [];
  const found = new Set<string>();
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const target = (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    const path = Buffer.from(target, 'latin1').toString('utf8');
    if (path !== mountPath && isInside(path, mountPath === '/' ? '' : mountPath)) found.add(path.slice(mountPath.length).replace(/^\//, ''));
  }
  found.delete('');
  return [...found];
}

const PRINT = { stable: '%y %s %T@ %C@ %i %m %U %G\\0%n %b\\0', plain: '%y %s %T@ - - %m %U %G\\0%n %b\\0' };

/** Undefined when find complains about anything: then every path has to be looked at by name. */
function runFind(request: ScanRequest, signal?: AbortSignal): Promise<Buffer | undefined> {
  const { root, subpath, stable, mounts } = request;
  if (subpath !== '' && pathKind(root, subpath) !== 'd') return Promise.resolve(undefined);
  const start = '/proc/self/fd/3/.';
  const glob = (path: string): string => `${start}/${path.replace(/[\\*?[\]]/g, '\\$&')}`;
  const args = [subpath === '' ? start : `${start}/${subpath}`, '-mindepth', '1'];
  const pruned = [...ALWAYS_EXCLUDED.map((name) => `${start}/${name}`), ...mounts.map(glob)];
  args.push('(', ...pruned.flatMap((pattern, index) => (index === 0 ? ['-path', pattern] : ['-o', '-path', pattern])), ')', '-prune', '-o');
  const prefix = subpath === '' ? '' : `${subpath.replace(/%/g, '%%').replace(/\\/g, '\\\\')}/`;
  args.push('-printf', `${stable ? PRINT.stable : PRINT.plain}${prefix}%P\\0%l\\0`);
  return new Promise((done) => {
    const child: ChildProcess = spawn('find', args, {
      stdio: ['ignore', 'pipe', 'pipe', root.fd],
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' },
    });
    const chunks: Buffer[] = [];
    let complained = false;
    const stop = (): void => void child.kill('SIGKILL');
    signal?.addEventListener('abort', stop, { once: true });
    child.stdout?.on('data', (chunk: Buffer) => void chunks.push(chunk));
    child.stderr?.on('data', () => {
      complained = true;
      stop();
    });
    child.on('error', () => {
      complained = true;
    });
    child.on('close', (code) => {
      signal?.removeEventListener('abort', stop);
      done(code === 0 && !complained ? normaliseKinds(Buffer.concat(chunks)) : undefined);
    });
  });
}

/** find names sockets, fifos and devices by letters of their own; here they are all `o`. Returns the same buffer. */
function normaliseKinds(bytes: Buffer): Buffer {
  let field = 0;
  let start = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    if (bytes[at] !== 0) continue;
    if (field === 0) {
      const kind = bytes[start];
      if (kind !== 0x66 && kind !== 0x64 && kind !== 0x6c) bytes[start] = 0x6f;
    }
    field = (field + 1) % 4;
    start = at + 1;
  }
  return bytes;
}

function mountProblems(request: ScanRequest): Problem[] {
  return request.mounts
    .filter((path) => isInside(path, request.subpath))
    .map((path) => ({ path, message: 'another filesystem is mounted here; it is not entered' }));
}

function pathKind(root: Dir, path: string): string | undefined {
  return statAt(root, path)?.kind;
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
  const device = statAt(root, '.')?.dev;
  const visit = (path: string): void => {
    let stat: ReturnType<typeof statAt>;
    try {
      stat = statAt(root, path);
    } catch (error) {
      unknown.push({ path, message: `cannot be looked at (${errnoOf(error) ?? String(error)})` });
      return;
    }
    if (stat === null) {
      unknown.push({ path, message: 'vanished while the folder was being listed' });
      return;
    }
    if (stat.dev !== device) {
      unknown.push({ path, message: 'another filesystem is mounted here; it is not entered' });
      return;
    }
    let target = '';
    if (stat.kind === 'l') {
      const bytes = readLink(root, path);
      if (bytes === undefined || !isUtf8(bytes)) {
        unknown.push({ path, message: bytes ? 'the link target is not valid UTF-8' : 'the link cannot be read' });
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
      unknown.push({ path: folder, message: `cannot be listed (${errnoOf(error) ?? String(error)})` });
      return;
    }
    for (const bytes of names) {
      const name = bytes.toString('utf8');
      const path = joinPath(folder, name);
      if (folder === '' && excludedName.test(name)) continue;
      if (mounts.has(path)) continue;
      if (!isUtf8(bytes)) unknown.push({ path, message: 'the name is not valid UTF-8; rename it to have it synced' });
      else visit(path);
    }
  };
  if (subpath === '') list('');
  else if (pathKind(root, subpath) === 'd') list(subpath);
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
