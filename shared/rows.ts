/**
 * One row of the baseline: what was recorded of a path when both sides agreed on it. Pure, so that worker threads make
 * rows as well.
 */
import { factsField, rowChecks } from './listing.ts';
import { type Suffix, storedName, storedPath } from './stored.ts';

export interface BaselineRow {
  /** From the drive's root. */
  path: string;
  size: number;
  /** Hex; empty when the row was adopted by size and mtime and the content was not read yet. */
  checksum: string;
  checksum_algorithm: string;
  /** Facts of a listing (shared/listing.ts) as they were when both sides agreed. */
  master_facts: string;
  backup_facts: string;
  link_target: string;
  /** Its name on the Backup where that is another one (shared/stored.ts); else empty. */
  stored_name: string;
  /**
   * `pending`: not yet covered by a flush; `racy`: written within the clock's granule; `unequal`: a content was found that
   * is not what was recorded, while facts are. Each of them: compare the content.
   */
  doubt: '' | 'pending' | 'racy' | 'unequal';
  /** Unsigned 32-bit hashes. */
  check_a: number;
  check_b: number;
}

export interface RowExtras {
  checksum?: string;
  algorithm?: string;
  /** Of a symbolic link. */
  target?: string;
  doubt?: KeptDoubt;
  /** How the Backup stores it. */
  stored?: Suffix;
}

/** What a row is doubted for when nothing is pending. */
type KeptDoubt = Exclude<BaselineRow['doubt'], 'pending'>;

/** The doubt of a row whose facts are recorded anew while its content was not looked at. */
export function keptDoubt({ doubt }: Pick<BaselineRow, 'doubt'>): KeptDoubt {
  return doubt === 'pending' ? 'racy' : doubt;
}

/** No edit goes unnoticed by its facts: another content behind the same facts is damage. */
export function hasSettled(doubt: string): boolean {
  return doubt === '' || doubt === 'unequal';
}

/** The record of a path that both sides agree on, with its checks. */
export function makeRow(
  path: string,
  size: number,
  masterFacts: string,
  backupFacts: string,
  extras: RowExtras,
): BaselineRow {
  const stored = storedName(path, extras.stored ?? '');
  const { a, b } = rowChecks(path, extras.target ?? '', masterFacts, backupFacts, storedPath(path, stored));
  return {
    path,
    size,
    checksum: extras.checksum ?? '',
    checksum_algorithm: extras.algorithm ?? '',
    master_facts: masterFacts,
    backup_facts: backupFacts,
    link_target: extras.target ?? '',
    stored_name: stored,
    doubt: extras.doubt ?? '',
    check_a: a,
    check_b: b,
  };
}

/** The same from what was copied and what came of it; `reversed`: it was copied from the Backup. */
export function makeSidedRow(
  reversed: boolean,
  path: string,
  size: number,
  sourceFacts: string,
  targetFacts: string,
  extras: RowExtras,
): BaselineRow {
  return reversed
    ? makeRow(path, size, targetFacts, sourceFacts, extras)
    : makeRow(path, size, sourceFacts, targetFacts, extras);
}

/** Facts of the side that is copied from, and of the one that is copied to. */
export function sidesOf(row: BaselineRow, reversed: boolean): { source: string; target: string } {
  return reversed
    ? { source: row.backup_facts, target: row.master_facts }
    : { source: row.master_facts, target: row.backup_facts };
}

export type RowTuple = [
  path: string,
  size: number,
  check_a: number,
  check_b: number,
  doubt: BaselineRow['doubt'],
  checksum: string,
  checksum_algorithm: string,
  master_facts: string,
  backup_facts: string,
  link_target: string,
  stored_name: string,
];

/** The order of a tuple's values. */
export const ROW_FIELDS = [
  'path',
  'size',
  'check_a',
  'check_b',
  'doubt',
  'checksum',
  'checksum_algorithm',
  'master_facts',
  'backup_facts',
  'link_target',
  'stored_name',
] as const satisfies readonly (keyof BaselineRow)[];

export function rowTuple(row: BaselineRow): RowTuple {
  // Spelt out, here and below: a map over the fields, a rest or a spread makes 100,000 rows three times slower.
  return [
    row.path,
    row.size,
    row.check_a,
    row.check_b,
    row.doubt,
    row.checksum,
    row.checksum_algorithm,
    row.master_facts,
    row.backup_facts,
    row.link_target,
    row.stored_name,
  ];
}

export function rowOfTuple(tuple: RowTuple): BaselineRow {
  const [path, size, check_a, check_b, doubt, checksum, checksum_algorithm, master_facts, backup_facts, link, stored] =
    tuple;
  return {
    path,
    size,
    checksum,
    checksum_algorithm,
    master_facts,
    backup_facts,
    link_target: link,
    stored_name: stored,
    doubt,
    check_a,
    check_b,
  };
}

/** How finely a side dates changes. */
export interface ClockRules {
  /** ctime and file id last. */
  stable: boolean;
  /** Milliseconds within which two changes can carry the same time. */
  margin: number;
}

/** The coarsest clock tick of a kernel (HZ=100): times on filesystems with nanoseconds move in ticks. */
const TICK_NS = 10_000_000;

/** ctime moves in ticks of the kernel's clock; mtime, where there is nothing else, is taken twice as coarsely. */
export function clockRules(stable: boolean, mtimeGranularityNs: number): ClockRules {
  return { stable, margin: (stable ? TICK_NS : 2 * Math.max(mtimeGranularityNs, TICK_NS)) / 1e6 };
}

/**
 * Whether a file was written so shortly before it was looked at that a later change could carry the same time.
 * @param lookedAt milliseconds since 1970, before it was looked at.
 */
export function isRacy(facts: string, lookedAt: number, { stable, margin }: ClockRules): boolean {
  const changedAt = Number(factsField(facts, stable ? 3 : 2)) * 1000;
  // A date far in the future says nothing about now: a camera's clock was wrong.
  return changedAt >= lookedAt - margin && changedAt <= Date.now() + margin;
}
