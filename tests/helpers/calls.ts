/**
 * Runs in the test's own thread whose system calls are counted, so that the n-th one can fail, or be the last that the
 * process makes. Needs no hook in the product: it wraps the functions of `node:fs` and of the native library. Import it before anything of the product makes a call.
 *
 * Flushes are counted and not made: what is tested here is order and error handling, not the medium.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import fs from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { constants as os, tmpdir } from 'node:os';
import type { Context } from '../../shared/context.ts';
import type { Database } from '../../shared/db.ts';
import { isInside } from '../../shared/paths.ts';
import './inline-workers.ts';

export type Errno = 'EIO' | 'ENOSPC' | 'EACCES' | 'EROFS' | 'ENOENT';

/** What happens to the calls of one run. */
export type Mischief =
  | { kind: 'none' }
  /** The `at`-th call fails, or all from there on. */
  | { kind: 'fail'; at: number; code: Errno; forever: boolean }
  /** The process dies just before its `at`-th change of a drive or of the database. */
  | { kind: 'kill'; at: number };

/** What a killed run throws wherever it goes on. */
export class Killed extends Error {}

export interface Tally {
  /** Calls on drives. */
  calls: number;
  /** Changes of drives and of the database. */
  changes: number;
  /** Whether the mischief came to pass. */
  struck: boolean;
}

/** Carries `work` out under a mischief. */
export async function under(mischief: Mischief, work: () => Promise<unknown>): Promise<Tally & { error: unknown }> {
  const tally: Tally = { calls: 0, changes: 0, struck: false };
  try {
    await runs.run({ mischief, tally }, work);
    return { ...tally, error: undefined };
  } catch (error) {
    return { ...tally, error };
  }
}

/** A context whose database dies with the process. */
export function mortal(ctx: Context): Context {
  const guard = <T extends Partial<Database>>(database: T): T =>
    new Proxy(database, {
      get: (target, name: keyof Database & keyof T) => {
        const method = target[name];
        if (typeof method !== 'function') return method;
        return (...args: unknown[]) => {
          try {
            if (name === 'run' || name === 'transaction') change();
            else alive();
          } catch (error) {
            return Promise.reject(error);
          }
          return (method as (...values: unknown[]) => unknown).apply(target, args);
        };
      },
    });
  return {
    ...ctx,
    db: async () => guard(await ctx.db()),
    dbIfExists: async () => {
      const found = await ctx.dbIfExists();
      return found && guard(found);
    },
  };
}

// --- internal ---

/** Of the run that makes the call: several go on side by side. */
const runs = new AsyncLocalStorage<{ mischief: Mischief; tally: Tally }>();

function alive(): void {
  const current = runs.getStore();
  if (current?.mischief.kind === 'kill' && current.tally.struck) throw new Killed('killed');
}

/** Before anything that a crash leaves undone. */
function change(): void {
  alive();
  const current = runs.getStore();
  if (!current) return;
  current.tally.changes += 1;
  if (current.mischief.kind === 'kill' && current.tally.changes >= current.mischief.at) {
    current.tally.struck = true;
    alive();
  }
}

/** Before a call on a drive; the error that it ends with instead of being made. */
function verdict(): Errno | undefined {
  const current = runs.getStore();
  if (!current) return undefined;
  current.tally.calls += 1;
  const { mischief, tally } = current;
  if (mischief.kind !== 'fail') return undefined;
  const hit = mischief.forever ? tally.calls >= mischief.at : tally.calls === mischief.at;
  if (!hit) return undefined;
  tally.struck = true;
  return mischief.code;
}

type Call = (...args: unknown[]) => unknown;

const READS = [
  'readSync',
  'fstatSync',
  'readFileSync',
  'lstatSync',
  'statSync',
  'readdirSync',
  'readlinkSync',
  'statfsSync',
];
const CHANGES = [
  'writeSync',
  'ftruncateSync',
  'fchmodSync',
  'fchownSync',
  'futimesSync',
  'fsyncSync',
  'mkdirSync',
  'rmdirSync',
  'unlinkSync',
  'renameSync',
  'linkSync',
  'symlinkSync',
  'lutimesSync',
  'lchownSync',
];
const FLUSHES = new Set(['fsyncSync', 'syncfs']);

/** Descriptors of folders and files on drives. */
const open = new Set<unknown>();

/** Paths on drives begin with a descriptor, but for those of the roots. */
const isOnDrive = ([path]: unknown[]): boolean =>
  typeof path === 'string' ? path.startsWith('/proc/self/fd/') : open.has(path);

const creates = (flags: unknown): boolean => ((flags as number) & fs.constants.O_CREAT) !== 0;

function failure(code: Errno, name: string): Error {
  const call = name.replace(/Sync$/, '');
  return Object.assign(new Error(`${code}: ${call}`), { code, errno: -os.errno[code], syscall: call });
}

function wrapNode(): void {
  const table = fs as unknown as Record<string, Call>;
  const wrap = (name: string, changes: (args: unknown[]) => boolean): void => {
    const original = table[name] as Call;
    table[name] = (...args) => {
      if (!runs.getStore()) return FLUSHES.has(name) ? undefined : original(...args);
      if (changes(args)) change();
      else alive();
      const code = isOnDrive(args) ? verdict() : undefined;
      if (code !== undefined) throw failure(code, name);
      return FLUSHES.has(name) ? undefined : original(...args);
    };
  };
  for (const name of READS) wrap(name, () => false);
  for (const name of CHANGES) wrap(name, isOnDrive);
  wrap('openSync', (args) => isOnDrive(args) && creates(args[1]));
  const openSync = table['openSync'] as Call;
  const closeSync = table['closeSync'] as Call;
  table['openSync'] = (...args) => {
    const fd = openSync(...args);
    if (isOnDrive(args) || ((args[1] as number) & fs.constants.O_DIRECTORY) !== 0) open.add(fd);
    return fd;
  };
  table['closeSync'] = (fd) => {
    open.delete(fd);
    return closeSync(fd);
  };
  syncBuiltinESMExports();
}

const NATIVE_READS = new Set(['statx', 'flistxattr', 'fgetxattr', 'lseek', 'posix_fadvise']);
/** Without an error of their own. */
const NATIVE_QUIET = new Set(['flistxattr', 'fgetxattr', 'lseek', 'posix_fadvise']);

interface Koffi {
  load(path: string | null): { func(signature: string): Call };
  errno(value?: number): number;
}

/** The mounts of the first moment that lead to the drives: those of other tests come and go, and take long to look at. */
function freezeMounts(): void {
  const table = fs as unknown as Record<string, Call>;
  const read = table['readFileSync'] as Call;
  let mounts: Buffer | undefined;
  table['readFileSync'] = (...args) => {
    if (args[0] !== '/proc/self/mountinfo') return read(...args);
    const here = fs.realpathSync(tmpdir());
    const leadsHere = (line: string): boolean => isInside(here, (line.split(' ')[4] ?? '').replace(/^\/$/, ''));
    mounts ??= Buffer.from(
      String(read(...args))
        .split('\n')
        .filter(leadsHere)
        .join('\n'),
    );
    return mounts;
  };
}

function wrapNative(): void {
  const koffi = createRequire(import.meta.url)('koffi') as Koffi;
  const load = koffi.load;
  koffi.load = (path) => {
    const library = load(path);
    const func = (signature: string): Call => {
      const original = library.func(signature);
      const name = /(\w+)\(/.exec(signature)?.[1] ?? '';
      return (...args) => {
        const reads = NATIVE_READS.has(name) || (name === 'openat' && !creates(args[2]));
        if (reads) alive();
        else change();
        const code = NATIVE_QUIET.has(name) ? undefined : verdict();
        if (code !== undefined) {
          koffi.errno(os.errno[code]);
          return -1;
        }
        const result = FLUSHES.has(name) ? 0 : original(...args);
        if (name === 'openat') open.add(result);
        return result;
      };
    };
    return { func };
  };
}

// A listing by `find` would be made by another process, out of reach of what is counted here.
process.env['TANDEM_NO_FIND'] = '1';
freezeMounts();
wrapNode();
wrapNative();
