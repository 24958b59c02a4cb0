/**
 * One side of a sync as an open drive. All input and output of a run goes through the descriptor of the drive's root, so
 * that after an unmount nothing lands on the disk below; `assertPresent` says when the drive is no longer where it was.
 */
import { statfsSync } from 'node:fs';
import { errnoOf, TandemError } from './errors.ts';
import { closeFolder, type Dir, openRoot, statAt, statOpen } from './syscalls.ts';

export interface DriveRoot {
  readonly dir: Dir;
  readonly mountPath: string;
  readonly label: string;
  /** Device and inode of the root folder, as they were when it was opened. */
  readonly identity: string;
}

/** @throws TandemError `drive_missing` when nothing can be opened there. */
export function openDriveRoot(mountPath: string, label: string): DriveRoot {
  try {
    const dir = openRoot(mountPath);
    const stat = statOpen(dir.fd);
    return { dir, mountPath, label, identity: `${stat.dev} ${stat.ino}` };
  } catch (error) {
    throw missing(label, mountPath, error);
  }
}

export function closeDriveRoot(root: DriveRoot): void {
  closeFolder(root.dir);
}

/** @throws TandemError `drive_missing` (exit 5) when the mount path no longer leads to the opened drive. */
export function assertPresent(root: DriveRoot): void {
  let now = '';
  try {
    const again = openRoot(root.mountPath);
    try {
      const stat = statOpen(again.fd);
      now = `${stat.dev} ${stat.ino}`;
    } finally {
      closeFolder(again);
    }
    statAt(root.dir, '.tandem');
  } catch (error) {
    throw missing(root.label, root.mountPath, error);
  }
  if (now !== root.identity) throw missing(root.label, root.mountPath, undefined);
}

/** Bytes free for this user on the drive. */
export function freeBytes(root: DriveRoot): number {
  const stat = statfsSync(root.dir.path);
  return stat.bavail * stat.bsize;
}

/** FUSE_SUPER_MAGIC of linux/magic.h. A FUSE driver reads through a cache of its own, whatever it is asked. */
export function isFuse(root: DriveRoot): boolean {
  return statfsSync(root.dir.path).type === 0x65735546;
}

function missing(label: string, mountPath: string, error: unknown): TandemError {
  const why = error === undefined ? '' : ` (${errnoOf(error) ?? String(error)})`;
  return new TandemError('drive_missing', `The drive '${label}' is no longer at ${mountPath}${why}.`, {
    hint: 'Plug it in again and repeat the command: what was done stays done, nothing half-written has a final name.',
    cause: error,
  });
}
