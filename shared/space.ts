/** What compression saves: the reference's SpaceSavingsReport. Pure. */
import { formatBytes, plural } from './format.ts';

/** What was counted; sizes in bytes. */
export interface SpaceCounts {
  original_size: number;
  compressed_size: number;
  files_processed: number;
}

/** Reference: `SpaceSavingsReport`. Below nothing where the stored files are larger than what is in them. */
export interface SpaceSavings extends SpaceCounts {
  /** How many times smaller; 1 for nothing. */
  compression_ratio: number;
  space_saved_bytes: number;
  space_saved_percent: number;
}

/** The whole report from what was counted. */
export function spaceSavings({ original_size, compressed_size, files_processed }: SpaceCounts): SpaceSavings {
  const space_saved_bytes = original_size - compressed_size;
  return {
    original_size,
    compressed_size,
    compression_ratio: compressed_size === 0 ? 1 : original_size / compressed_size,
    space_saved_bytes,
    space_saved_percent: original_size === 0 ? 0 : (space_saved_bytes / original_size) * 100,
    files_processed,
  };
}

/** Several reports as one; undefined for none. */
export function addSavings(reports: readonly (SpaceCounts | undefined)[]): SpaceSavings | undefined {
  const counted = reports.filter((one) => one !== undefined);
  if (counted.length === 0) return undefined;
  const sum = (key: keyof SpaceCounts): number => counted.reduce((total, one) => total + one[key], 0);
  return spaceSavings({
    original_size: sum('original_size'),
    compressed_size: sum('compressed_size'),
    files_processed: sum('files_processed'),
  });
}

/** In one line, for people. */
export function savingsText(report: SpaceSavings): string {
  const { original_size, compressed_size, compression_ratio, space_saved_bytes, space_saved_percent } = report;
  const sizes = `${formatBytes(original_size)} in ${plural(report.files_processed, 'file')} stored as ${formatBytes(compressed_size)}`;
  const saved = space_saved_bytes >= 0 ? 'saved' : 'added';
  const share = `${formatBytes(Math.abs(space_saved_bytes))} (${Math.abs(space_saved_percent).toFixed(1)} %) ${saved}`;
  return `${sizes}: ${share}, ratio ${compression_ratio.toFixed(2)}`;
}
