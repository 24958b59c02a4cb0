/**
 * One writer per drive: the file `.tandem/lock` on the drive itself. It names the process in full, so that a lock left
 * by a crash, or carried here from another computer, is recognised without anyone's help.
 */
import { randomUUID } from 'node:crypto';
import { closeSync, constants, fsyncSync, writeSync } from 'node:fs';
import { errnoOf, TandemError } from './errors.ts';
import { isGone, isThisProcess, type ProcessIdentity, thisProcess } from './machine.ts';
import { readSmall } from './own-folder.ts';
import {
  closeFolder,
  type Dir,
  mkdirAt,
  OPEN_CREATE,
  OPEN_READ,
  openAt,
  openRoot,
  renameNoReplace,
  unlinkAt,
} from './syscalls.ts';

export interface LockOptions {
  /** For messages. */
  label: string;
  /** Seconds to wait for another process; 0 fails at once. */
  wait: number;
  /** Take the lock whoever holds it. */
  breakLock: boolean;
  /** On a network drive another machine may be alive: its lock is not stale. */
  network: boolean;
  signal: AbortSignal;
}

interface LockFile extends ProcessIdentity {
  token: string;
  counter: number;
}

const FOLDER = '.tandem';
const NAME = '.tandem/lock';

export class DriveLock {
  private counter = 0;
  private readonly root: Dir;
  private readonly label: string;
  private readonly token: string;

  private constructor(root: Dir, label: string, token: string) {
    this.root = root;
    this.label = label;
    this.token = token;
  }

  /** @throws TandemError `locked` (exit 7) naming the holder. */
  static async acquire(root: Dir, options: LockOptions): Promise<DriveLock> {
    makeFolder(root);
    const token = randomUUID();
    const deadline = Date.now() + options.wait * 1000;
    let brokenSince: number | undefined;
    for (;;) {
      if (create(root, token)) {
        mine.add(token);
        return new DriveLock(root, options.label, token);
      }
      const held = readLock(root);
      // A lock that cannot be read may be one that is just being written: it gets a second to become whole.
      brokenSince = held === 'broken' ? (brokenSince ?? Date.now()) : undefined;
      if (brokenSince !== undefined && Date.now() - brokenSince < 1000 && !options.breakLock) {
        await new Promise((done) => setTimeout(done, 100));
        continue;
      }
      if (held !== null && (options.breakLock || held === 'broken' || isStale(held, options.network))) {
        takeAway(root, held);
        continue;
      }
      if (held === null) continue;
      if (Date.now() >= deadline) throw lockedError(options.label, held);
      options.signal.throwIfAborted();
      await new Promise((done) => setTimeout(done, 200));
    }
  }

  /**
   * Proves that the lock is still ours and beats its heart; called before every batch of writes.
   * @throws TandemError `locked` when another process took it meanwhile.
   */
  confirm(): void {
    const held = readLock(this.root);
    if (held === null || held === 'broken' || held.token !== this.token) throw lockedError(this.label, held);
    this.counter += 1;
    const fd = openAt(this.root, NAME, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const bytes = Buffer.from(text(this.token, this.counter));
      writeSync(fd, bytes, 0, bytes.length, 0);
    } finally {
      closeSync(fd);
    }
  }

  /** Removes the lock if it is still ours; a drive that is gone keeps it, and the next run finds it stale. */
  release(): void {
    mine.delete(this.token);
    try {
      const held = readLock(this.root);
      if (held !== null && held !== 'broken' && held.token === this.token) unlinkAt(this.root, NAME);
    } catch {
      // The drive may have been pulled.
    }
  }
}

/** Who holds the drive, if a living process of this machine does; for `detect eject` and `status`. */
export function lockHolder(root: Dir): ProcessIdentity | null {
  const held = readLock(root);
  return held === null || held === 'broken' || isStale(held, false) ? null : held;
}

/** The same of a drive that is mounted there, as far as it can be read. The root is closed again at once: it would keep the drive busy. */
export function holderAt(mountPath: string): ProcessIdentity | null {
  try {
    const root = openRoot(mountPath);
    try {
      return lockHolder(root);
    } finally {
      closeFolder(root);
    }
  } catch {
    return null;
  }
}

function makeFolder(root: Dir): void {
  try {
    mkdirAt(root, FOLDER, 0o755);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}

/** Fixed width, so that a heartbeat overwrites in place. */
function text(token: string, counter: number): string {
  return `${JSON.stringify({ token, counter, ...thisProcess() })}`.padEnd(1024).concat('\n');
}

function create(root: Dir, token: string): boolean {
  let fd: number;
  try {
    fd = openAt(root, NAME, OPEN_CREATE, 0o644);
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw error;
  }
  try {
    writeSync(fd, text(token, 0));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  return true;
}

/** `broken`: there, but not readable as a lock: a crash between creating and writing it, or no plain file at all. */
function readLock(root: Dir, name = NAME): LockFile | 'broken' | null {
  let fd: number;
  try {
    fd = openAt(root, name, OPEN_READ);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT') return null;
    // A symlink, a socket.
    if (code === 'ELOOP' || code === 'ENXIO') return 'broken';
    throw error;
  }
  try {
    const value = JSON.parse(readSmall(fd)) as LockFile;
    const whole = typeof value.token === 'string' && Number.isSafeInteger(value.pid) && value.pid > 0;
    return whole ? value : 'broken';
  } catch (error) {
    // What the drive cannot read says nothing of the lock.
    if (errnoOf(error) !== undefined) throw error;
    return 'broken';
  }
}

/** Tokens of the locks that this process holds. Any other of its own was left on a drive that was pulled meanwhile. */
const mine = new Set<string>();

function isStale(held: LockFile, network: boolean): boolean {
  if (held.machine_id !== thisProcess().machine_id) return !network;
  return isThisProcess(held) ? !mine.has(held.token) : isGone(held);
}

/** Moves a stale lock aside and puts it back if, between reading and moving, someone else took it. */
function takeAway(root: Dir, stale: LockFile | 'broken'): void {
  const aside = `${NAME}.${randomUUID()}`;
  try {
    if (!renameNoReplace(root, NAME, root, aside)) return;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  const moved = JSON.stringify(readLock(root, aside));
  if (moved !== JSON.stringify(stale) && renameNoReplace(root, aside, root, NAME)) return;
  try {
    unlinkAt(root, aside);
  } catch (error) {
    // A folder stays aside: what is in it is not ours to remove.
    if (errnoOf(error) !== 'EISDIR' && errnoOf(error) !== 'EPERM') throw error;
  }
}

function lockedError(label: string, held: LockFile | 'broken' | null): TandemError {
  if (held === null)
    return new TandemError('locked', `The lock of the drive '${label}' was taken away while this run held it.`, {
      hint: 'Another program, or --break-lock of another tandem, removed it; run again when no other one writes to the drive.',
    });
  const who = held === 'broken' ? 'another process' : `process ${held.pid}`;
  return new TandemError('locked', `The drive '${label}' is being written by ${who}.`, {
    hint: 'Wait for it to end, give --lock-wait 60s, or see `tandem status`; --break-lock takes the lock by force.',
  });
}
