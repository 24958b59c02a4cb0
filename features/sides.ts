/**
 * How one side of a path stands to what was recorded of it, as far as a listing tells: the same, touched, changed, or gone.
 * Pure.
 */
import { Entry } from '../shared/listing.ts';
import { isWindowsFamily } from '../shared/paths.ts';

/** How far one side's facts can be believed. */
export interface SideRules {
  filesystem: string;
  /** Nanoseconds. */
  granularity: number;
  /** ctime and file id last. */
  stable: boolean;
}

/** `touched`: facts differ, or are doubted, and the content tells. */
export type SideState = 'same' | 'touched' | 'changed' | 'absent';

/** How one side stands to its record, as far as facts can tell; `touched` wants the content (files) or is mere metadata. */
export function sideState(
  entry: Entry | undefined,
  recorded: string,
  row: { path: string; link_target: string },
  side: SideRules,
  doubt: boolean,
  /** Stored in another form now, or when it was recorded: the size of one says nothing of the other. */
  stored = false,
): SideState {
  if (!entry) return 'absent';
  if (entry.kind === 'l' && entry.target !== row.link_target) return 'changed';
  if (entry.facts === recorded) return doubt && entry.kind === 'f' ? 'touched' : 'same';
  const old = new Entry(recorded, row.path);
  if (entry.kind !== old.kind) return 'changed';
  if (entry.kind === 'd' || entry.kind === 'l' || stored) return 'touched';
  if (entry.size !== old.size) return 'changed';
  const shift = entry.mtime > old.mtime ? entry.mtime - old.mtime : old.mtime - entry.mtime;
  const granule = BigInt(side.granularity);
  if (shift === 0n || shift < granule) return side.stable || doubt ? 'touched' : 'same';
  return isWholeHours(shift, granule) && isFat(side.filesystem) ? 'touched' : 'changed';
}

const HOUR = 3_600_000_000_000n;

/** FAT keeps local time: daylight saving or another zone shifts every file by whole hours. */
function isWholeHours(shift: bigint, granule: bigint): boolean {
  const rest = shift % HOUR;
  return shift < 27n * HOUR && (rest <= granule || HOUR - rest <= granule);
}

function isFat(filesystem: string): boolean {
  return isWindowsFamily(filesystem) && !filesystem.startsWith('ntfs');
}
