/**
 * System calls relative to an open folder. On Linux they go through koffi as openat(2), statx(2), renameat2(2) …, so that
 * neither an unmount nor a symlink put in a folder's place can send a call to another disk; elsewhere, or without koffi,
 * each has a fallback on plain paths. Everything here is synchronous: it runs in worker threads, or for single calls.
 */
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  futimesSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { constants as os } from 'node:os';
import { join } from 'node:path';

/** An open folder. `path` leads to it: `/proc/self/fd/N` on Linux, the plain path elsewhere. */
export interface Dir {
  readonly fd: number;
  readonly path: string;
}

export type Kind = 'f' | 'd' | 'l' | 'o';

/** A moment as system calls give it: whole seconds since 1970, rounded down, and 0 to 999,999,999 nanoseconds. */
export interface Time {
  seconds: number;
  nanoseconds: number;
}

export interface Stat {
  /** file, directory, link, other (socket, fifo, device) */
  kind: Kind;
  size: number;
  mtime: Time;
  ctime: Time;
  ino: string;
  /** Permission bits with setuid, setgid, sticky. */
  mode: number;
  uid: number;
  gid: number;
  nlink: number;
  /** 512-byte blocks allocated. */
  blocks: number;
  /** `major:minor` of the filesystem. */
  dev: string;
}

const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_EMPTY_PATH = 0x1000;
const STATX_BASIC = 0x7ff;
const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
const O_CLOEXEC = 0o2000000;

type Native = Record<
  | 'openat'
  | 'statx'
  | 'renameat2'
  | 'linkat'
  | 'unlinkat'
  | 'mkdirat'
  | 'symlinkat'
  | 'utimensat'
  | 'futimens'
  | 'syncfs'
  | 'flistxattr'
  | 'fgetxattr'
  | 'fsetxattr'
  | 'fremovexattr'
  | 'lseek'
  | 'posix_fadvise'
  | 'fcntl',
  (...args: unknown[]) => number
>;

interface Library {
  call: Native;
  errno(): number;
}

let library: Library | null | undefined;

/** The native functions, loaded on first use; null where there are none. `TANDEM_NO_FFI=1` turns them off (tests do). */
function native(): Library | null {
  if (library !== undefined) return library;
  library = null;
  if (process.platform !== 'linux' || process.env['TANDEM_NO_FFI']) return library;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const libc = koffi.load(null);
    const bind = (signature: string): ((...args: unknown[]) => number) =>
      libc.func(signature) as (...args: unknown[]) => number;
    library = {
      errno: () => koffi.errno(),
      call: {
        openat: bind('int openat(int, const char*, int, uint32_t)'),
        statx: bind('int statx(int, const char*, int, unsigned int, void*)'),
        renameat2: bind('int renameat2(int, const char*, int, const char*, unsigned int)'),
        linkat: bind('int linkat(int, const char*, int, const char*, int)'),
        unlinkat: bind('int unlinkat(int, const char*, int)'),
        mkdirat: bind('int mkdirat(int, const char*, uint32_t)'),
        symlinkat: bind('int symlinkat(const char*, int, const char*)'),
        utimensat: bind('int utimensat(int, const char*, const void*, int)'),
        futimens: bind('int futimens(int, const void*)'),
        syncfs: bind('int syncfs(int)'),
        flistxattr: bind('int64_t flistxattr(int, void*, size_t)'),
        fgetxattr: bind('int64_t fgetxattr(int, const char*, void*, size_t)'),
        fsetxattr: bind('int fsetxattr(int, const char*, const void*, size_t, int)'),
        fremovexattr: bind('int fremovexattr(int, const char*)'),
        lseek: bind('int64_t lseek(int, int64_t, int)'),
        posix_fadvise: bind('int posix_fadvise(int, int64_t, int64_t, int)'),
        fcntl: bind('int fcntl(int, int, ...)'),
      },
    };
  } catch {
    library = null;
  }
  return library;
}

/**
 * Functions of a compiled file of our own, by their signatures in C, or without one of the C library; null where there are
 * no native calls, or it does not load.
 */
export function functionsOf<N extends string>(
  file: string | null,
  signatures: Readonly<Record<N, string>>,
): Record<N, (...args: unknown[]) => number> | null {
  if (!native()) return null;
  try {
    const own = (createRequire(import.meta.url)('koffi') as typeof import('koffi')).load(file);
    const bound = Object.entries<string>(signatures).map(([name, signature]) => [name, own.func(signature)]);
    return Object.fromEntries(bound) as Record<N, (...args: unknown[]) => number>;
  } catch {
    // Another C library than it was compiled for, or than was expected, or a Node.js without the OpenSSL that it needs.
    return null;
  }
}

/** Whether nanosecond times, exchange and flushes of a whole filesystem are there. */
export function hasNative(): boolean {
  return native() !== null;
}

/** Granularity in ns of the times this process can set: 1 with native calls, else the 2 µs that Node 20 keeps. */
export function settableGranularity(): number {
  return hasNative() ? 1 : 2000;
}

const errnoNames = new Map(Object.entries(os.errno).map(([name, number]) => [number, name]));

/** The same shape as Node's own system errors. */
function fail(lib: Library, call: string, name: string): never {
  const number = lib.errno();
  const code = errnoNames.get(number) ?? `E${number}`;
  throw Object.assign(new Error(`${code}: ${call} '${name}'`), { code, errno: -number, syscall: call });
}

// --- folders ---

/** Opens a drive's root or any folder by its path, following links in it. */
export function openRoot(path: string): Dir {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  return { fd, path: process.platform === 'linux' ? `/proc/self/fd/${fd}` : path };
}

/** Opens a folder by one name below an open one; never through a symlink. */
export function openFolder(parent: Dir, name: string): Dir {
  const fd = openAt(parent, name, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  return { fd, path: process.platform === 'linux' ? `/proc/self/fd/${fd}` : join(parent.path, name) };
}

export function closeFolder(dir: Dir): void {
  closeSync(dir.fd);
}

/** Opens a file or folder by one name below an open folder. Throws Node-like errors. */
export function openAt(dir: Dir, name: string, flags: number, mode = 0o600): number {
  const lib = native();
  if (!lib) return openSync(join(dir.path, name), flags, mode);
  const fd = lib.call.openat(dir.fd, name, flags | O_CLOEXEC, mode);
  return fd < 0 ? fail(lib, 'openat', name) : fd;
}

/** For reading: a fifo put in a file's place cannot hang it, a symlink is refused. */
export const OPEN_READ = constants.O_RDONLY | constants.O_NOFOLLOW | (constants.O_NONBLOCK ?? 0);
/** For a new file: fails when anything has the name already. */
export const OPEN_CREATE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

// --- stat ---

const statBuffer = Buffer.alloc(256);
const statView = new DataView(statBuffer.buffer, statBuffer.byteOffset, 256);

/** What `name` is, not following links; null when it is not there. */
export function statAt(dir: Dir, name: string): Stat | null {
  const lib = native();
  if (!lib) {
    try {
      return fromNode(lstatSync(join(dir.path, name), { bigint: true }));
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'ENOENT' || code === 'ENOTDIR') return null;
      throw error;
    }
  }
  if (lib.call.statx(dir.fd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC, statBuffer) === 0) return fromStatx();
  const code = errnoNames.get(lib.errno());
  if (code === 'ENOENT' || code === 'ENOTDIR') return null;
  return fail(lib, 'statx', name);
}

/** When it came into being, in nanoseconds since 1970; null where that is not kept, or nothing is there. */
export function bornAt(dir: Dir, name: string): bigint | null {
  const stat = lstatSync(join(dir.path, name), { bigint: true, throwIfNoEntry: false });
  return stat === undefined || stat.birthtimeNs <= 0n ? null : stat.birthtimeNs;
}

export function statOpen(fd: number): Stat {
  const lib = native();
  if (!lib) return fromNode(fstatSync(fd, { bigint: true }));
  if (lib.call.statx(fd, '', AT_EMPTY_PATH, STATX_BASIC, statBuffer) !== 0) fail(lib, 'statx', String(fd));
  return fromStatx();
}

/** The struct statx (linux/stat.h) that lies there. */
export function statIn(view: DataView, at: number): Stat {
  const mode = view.getUint16(at + 28, true);
  return {
    kind: kindOf(mode),
    size: wide(view, at + 40),
    mtime: { seconds: signedWide(view, at + 112), nanoseconds: view.getUint32(at + 120, true) },
    ctime: { seconds: signedWide(view, at + 96), nanoseconds: view.getUint32(at + 104, true) },
    ino:
      view.getUint32(at + 36, true) === 0
        ? String(view.getUint32(at + 32, true))
        : view.getBigUint64(at + 32, true).toString(),
    mode: mode & 0o7777,
    uid: view.getUint32(at + 20, true),
    gid: view.getUint32(at + 24, true),
    nlink: view.getUint32(at + 16, true),
    blocks: wide(view, at + 48),
    dev: `${view.getUint32(at + 136, true)}:${view.getUint32(at + 140, true)}`,
  };
}

function fromStatx(): Stat {
  return statIn(statView, 0);
}

/** Numbers instead of BigInts: a run does this a million times. Exact up to 2^53. */
function wide(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32;
}

function signedWide(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getInt32(offset + 4, true) * 2 ** 32;
}

function fromNanoseconds(ns: bigint): Time {
  const rest = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return { seconds: Number((ns - rest) / 1_000_000_000n), nanoseconds: Number(rest) };
}

function fromNode(stat: BigIntStats): Stat {
  const dev = Number(stat.dev);
  return {
    kind: kindOf(Number(stat.mode)),
    size: Number(stat.size),
    mtime: fromNanoseconds(stat.mtimeNs),
    ctime: fromNanoseconds(stat.ctimeNs),
    ino: stat.ino.toString(),
    mode: Number(stat.mode) & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    nlink: Number(stat.nlink),
    blocks: Number(stat.blocks ?? 0n),
    dev: deviceNumber(dev),
  };
}

/** glibc's encoding of st_dev (gnu_dev_major, gnu_dev_minor). */
export function deviceNumber(dev: number): string {
  const big = BigInt(dev);
  const major = ((big >> 8n) & 0xfffn) | ((big >> 32n) & ~0xfffn);
  const minor = (big & 0xffn) | ((big >> 12n) & ~0xffn & 0xffffffffn);
  return `${major}:${minor}`;
}

function kindOf(mode: number): Kind {
  switch (mode & 0o170000) {
    case 0o100000:
      return 'f';
    case 0o040000:
      return 'd';
    case 0o120000:
      return 'l';
    default:
      return 'o';
  }
}

/** A file that has other names too. */
export function isShared(stat: Stat): boolean {
  return stat.kind === 'f' && stat.nlink > 1;
}

/** Fewer blocks than bytes: there are holes, or the filesystem has not placed the blocks yet. Small files are not worth it. */
export function isSparse(stat: Stat): boolean {
  return stat.size >= 65_536 && stat.blocks * 512 < stat.size;
}

// --- names ---

/** Gives `from` the new name only if nothing has it; false when something does. */
export function renameNoReplace(fromDir: Dir, from: string, toDir: Dir, to: string): boolean {
  const lib = native();
  if (lib) {
    if (lib.call.renameat2(fromDir.fd, from, toDir.fd, to, RENAME_NOREPLACE) === 0) return true;
    const code = errnoNames.get(lib.errno());
    if (code === 'EEXIST') return false;
    if (code !== 'EINVAL' && code !== 'ENOSYS') fail(lib, 'renameat2', to);
  }
  return linkThenUnlink(fromDir, from, toDir, to);
}

/** Without an exclusive rename: a hard link fails when the name is taken; where there are no hard links, look and rename. */
function linkThenUnlink(fromDir: Dir, from: string, toDir: Dir, to: string): boolean {
  try {
    linkSync(join(fromDir.path, from), join(toDir.path, to));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EEXIST') return false;
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP' && code !== 'ENOSYS' && code !== 'EMLINK')
      throw error;
    if (statAt(toDir, to) !== null) return false;
    renameSync(join(fromDir.path, from), join(toDir.path, to));
    return true;
  }
  unlinkSync(join(fromDir.path, from));
  return true;
}

/** Swaps two names in one step; false where the filesystem or the platform cannot. */
export function exchange(aDir: Dir, a: string, bDir: Dir, b: string): boolean {
  const lib = native();
  if (!lib) return false;
  if (lib.call.renameat2(aDir.fd, a, bDir.fd, b, RENAME_EXCHANGE) === 0) return true;
  const code = errnoNames.get(lib.errno());
  if (code === 'EINVAL' || code === 'ENOSYS' || code === 'EOPNOTSUPP') return false;
  return fail(lib, 'renameat2', b);
}

/** Replaces whatever has the new name. */
export function renameOver(fromDir: Dir, from: string, toDir: Dir, to: string): void {
  const lib = native();
  if (!lib) renameSync(join(fromDir.path, from), join(toDir.path, to));
  else if (lib.call.renameat2(fromDir.fd, from, toDir.fd, to, 0) !== 0) fail(lib, 'renameat2', to);
}

/** A second name for a file; throws EEXIST when the name is taken. */
export function linkAt(fromDir: Dir, from: string, toDir: Dir, to: string): void {
  const lib = native();
  if (!lib) linkSync(join(fromDir.path, from), join(toDir.path, to));
  else if (lib.call.linkat(fromDir.fd, from, toDir.fd, to, 0) !== 0) fail(lib, 'linkat', to);
}

export function unlinkAt(dir: Dir, name: string): void {
  const lib = native();
  if (!lib) unlinkSync(join(dir.path, name));
  else if (lib.call.unlinkat(dir.fd, name, 0) !== 0) fail(lib, 'unlinkat', name);
}

export function mkdirAt(dir: Dir, name: string, mode = 0o777): void {
  const lib = native();
  if (!lib) mkdirSync(join(dir.path, name), mode);
  else if (lib.call.mkdirat(dir.fd, name, mode) !== 0) fail(lib, 'mkdirat', name);
}

export function rmdirAt(dir: Dir, name: string): void {
  rmdirSync(join(dir.path, name));
}

export function symlinkAt(target: string, dir: Dir, name: string): void {
  const lib = native();
  if (!lib) symlinkSync(target, join(dir.path, name));
  else if (lib.call.symlinkat(target, dir.fd, name) !== 0) fail(lib, 'symlinkat', name);
}

/** The link's target; bytes that are not UTF-8 throw EILSEQ, because the target could not be written back. */
export function readlinkAt(dir: Dir, name: string): string {
  const bytes = readlinkSync(join(dir.path, name), { encoding: 'buffer' });
  const text = bytes.toString('utf8');
  if (!Buffer.from(text).equals(bytes)) {
    throw Object.assign(new Error(`EILSEQ: readlink '${name}'`), { code: 'EILSEQ' });
  }
  return text;
}

// --- times ---

const timesBuffer = Buffer.alloc(32);
const timesView = new DataView(timesBuffer.buffer, timesBuffer.byteOffset, 32);

function fillTimes({ seconds, nanoseconds }: Time): void {
  // Both times: UTIME_OMIT for one of them sets it to now on some FUSE drivers.
  for (const at of [0, 16]) {
    timesView.setBigInt64(at, BigInt(seconds), true);
    timesView.setUint32(at + 8, nanoseconds, true);
  }
}

/** Node 20 reads negative seconds as the current time; negative dates it takes as they are. */
function nodeTime({ seconds, nanoseconds }: Time): number | Date {
  return seconds < 0 ? new Date(seconds * 1000 + nanoseconds / 1e6) : seconds + nanoseconds / 1e9;
}

/** Sets access and modification time of an open file. */
export function setTimes(fd: number, mtime: Time): void {
  const lib = native();
  if (!lib) {
    const time = nodeTime(mtime);
    futimesSync(fd, time, time);
    return;
  }
  fillTimes(mtime);
  if (lib.call.futimens(fd, timesBuffer) !== 0) fail(lib, 'futimens', String(fd));
}

/** Sets both times of `name` itself, a symlink included. */
export function setTimesAt(dir: Dir, name: string, mtime: Time): void {
  const lib = native();
  if (!lib) {
    const time = nodeTime(mtime);
    lutimesSync(join(dir.path, name), time, time);
    return;
  }
  fillTimes(mtime);
  if (lib.call.utimensat(dir.fd, name, timesBuffer, AT_SYMLINK_NOFOLLOW) !== 0) fail(lib, 'utimensat', name);
}

// --- flush ---

/**
 * Brings everything written on the filesystem of `dir` to the medium: syncfs, then fsync of one file there, because FUSE
 * drivers issue no device flush otherwise. Throws when the medium reports a write error.
 */
export function flushFilesystem(dir: Dir, file: number | undefined): void {
  const lib = native();
  if (lib && lib.call.syncfs(dir.fd) !== 0) fail(lib, 'syncfs', dir.path);
  if (file !== undefined) fsyncSync(file);
  else if (!lib) fsyncTolerant(dir.fd);
}

function fsyncTolerant(fd: number): void {
  try {
    fsyncSync(fd);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'EINVAL' && code !== 'ENOTTY' && code !== 'EISDIR' && code !== 'EPERM') throw error;
  }
}

// --- extended attributes ---

const nameBuffer = Buffer.alloc(65_536);
const valueBuffer = Buffer.alloc(65_536);

/** Attributes worth carrying to another drive; security labels belong to the machine. */
function carried(name: string): boolean {
  return name.startsWith('user.') || name === 'system.posix_acl_access' || name === 'system.posix_acl_default';
}

export type Attributes = ReadonlyArray<readonly [name: string, value: Buffer]>;

const none: Attributes = [];

/** Extended attributes of an open file, sorted by name; none where the platform or the filesystem has none. */
export function readAttributes(fd: number): Attributes {
  const lib = native();
  if (!lib) return none;
  const length = lib.call.flistxattr(fd, nameBuffer, nameBuffer.length);
  if (length <= 0) return none;
  const names = nameBuffer
    .toString('utf8', 0, length - 1)
    .split('\0')
    .filter(carried)
    .sort();
  const found: [string, Buffer][] = [];
  for (const name of names) {
    const size = lib.call.fgetxattr(fd, name, valueBuffer, valueBuffer.length);
    if (size >= 0) found.push([name, Buffer.from(valueBuffer.subarray(0, size))]);
  }
  return found;
}

/** Makes the carried attributes of an open file equal to `wanted`; false when the filesystem refused one. */
export function writeAttributes(fd: number, wanted: Attributes): boolean {
  const lib = native();
  if (!lib) return wanted.length === 0;
  let complete = true;
  const keep = new Set(wanted.map(([name]) => name));
  for (const [name] of readAttributes(fd)) {
    if (!keep.has(name)) lib.call.fremovexattr(fd, name);
  }
  for (const [name, value] of wanted) {
    if (lib.call.fsetxattr(fd, name, value, value.length, 0) !== 0) complete = false;
  }
  return complete;
}

// --- sparse files and the page cache ---

const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** The next stretch of data at or after `from`: [start, end), or null when only a hole is left; undefined where unknown. */
export function nextData(fd: number, from: number): readonly [number, number] | null | undefined {
  const lib = native();
  if (!lib) return undefined;
  const start = lib.call.lseek(fd, from, SEEK_DATA);
  if (start < 0) return errnoNames.get(lib.errno()) === 'ENXIO' ? null : undefined;
  const end = lib.call.lseek(fd, start, SEEK_HOLE);
  return end < 0 ? undefined : [start, end];
}

const FADV_DONTNEED = 4;

/** Asks the kernel to forget the clean cached pages of an open file. */
export function dropCache(fd: number): void {
  native()?.call.posix_fadvise(fd, 0, 0, FADV_DONTNEED);
}

const F_SETSIG = 10;
const F_SETLEASE = 1024;
/** Ignored by default, unlike the signal that a lease sends otherwise: a writer who comes at that moment must not end us. */
const SIGURG = 23;

/**
 * Whether any process has this file open for writing: the kernel grants a read lease on no such file. Undefined where it
 * does not tell (another owner, a network drive). The lease is given back at once; whoever opens the file for writing in
 * between waits for that.
 */
export function isBeingWritten(dir: Dir, name: string): boolean | undefined {
  const lib = native();
  if (!lib) return undefined;
  let fd: number;
  try {
    fd = openAt(dir, name, OPEN_READ);
  } catch {
    return undefined;
  }
  try {
    if (lib.call.fcntl(fd, F_SETSIG, 'int', SIGURG) !== 0) return undefined;
    if (lib.call.fcntl(fd, F_SETLEASE, 'int', F_RDLCK) === 0) {
      lib.call.fcntl(fd, F_SETLEASE, 'int', F_UNLCK);
      return false;
    }
    return lib.errno() === os.errno.EAGAIN ? true : undefined;
  } finally {
    closeSync(fd);
  }
}

const F_RDLCK = 0;
const F_UNLCK = 2;
