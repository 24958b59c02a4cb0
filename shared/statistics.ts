import type { Problem } from './errors.ts';
import type { SpaceSavings } from './space.ts';

/** Reference name of the result of a sync; `files_moved` belongs to moves. */
export interface SyncStatistics {
  files_copied: number;
  files_skipped: number;
  files_failed: number;
  files_moved: number;
  files_deleted: number;
  bytes_copied: number;
  conflicts_detected: number;
  verified: 'none' | 'cache' | 'device';
  problems: Problem[];
  /** Of what the run compressed, unless `calculate_space_savings` is off. */
  space_savings?: SpaceSavings | undefined;
  cancelled: boolean;
}

export function noStatistics(): SyncStatistics {
  return {
    files_copied: 0,
    files_skipped: 0,
    files_failed: 0,
    files_moved: 0,
    files_deleted: 0,
    bytes_copied: 0,
    conflicts_detected: 0,
    verified: 'none',
    problems: [],
    cancelled: false,
  };
}
