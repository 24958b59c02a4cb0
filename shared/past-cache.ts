/**
 * Whether what is read of a drive comes from its medium. The kernel's own drivers read past the page cache when asked
 * to. Behind a FUSE driver (exFAT, NTFS) there is a second cache, that of the block device, which has to be emptied first;
 * that takes the rights to do so.
 */
import { statSync } from 'node:fs';
import type { Context } from './context.ts';
import { type DriveRoot, isFuse } from './store.ts';
import { deviceNumber, statOpen } from './syscalls.ts';
import { tryRun } from './volumes.ts';

/** @returns false where a cache may answer from now on. What was written before is flushed to the medium. */
export async function readsPastCache(
  root: DriveRoot,
  { network, device }: { network: boolean; device: string },
  ctx: Context,
): Promise<boolean> {
  if (network) return false;
  if (!isFuse(root)) return true;
  if (!isDeviceOf(device, root)) return false;
  for (const program of ['blockdev', '/usr/sbin/blockdev', '/sbin/blockdev']) {
    const result = await tryRun(ctx, program, ['--flushbufs', device]);
    if (result) return result.code === 0;
  }
  return false;
}

// --- internal ---

/** A name in the table of mounts proves little; the number of the mounted device does. */
function isDeviceOf(device: string, { dir }: DriveRoot): boolean {
  try {
    const stat = statSync(device);
    return stat.isBlockDevice() && deviceNumber(stat.rdev) === statOpen(dir.fd).dev;
  } catch {
    return false;
  }
}
