/** What travels between a run and its worker threads: the drives, the items of work, and what became of each. */
import type { Recorded } from './hash.ts';
import type { ClockRules } from './rows.ts';
import type { Suffix } from './stored.ts';
import type { Dir, Kind } from './syscalls.ts';

/** What a drive can do, as far as writing is concerned; a subset of its probed traits. */
export interface WriteTraits {
  stable: boolean;
  permissions: boolean;
  hardLinks: boolean;
  exchange: boolean;
  /** Times the drive can hold, in seconds since 1970; others are clamped. */
  minTime: number;
  maxTime: number;
}

/** Everything a worker needs to know of a run; sent once. Descriptors are shared by all threads of the process. */
export interface TransferSession {
  /** Copied from; the Backup where the Master is written to. */
  master: Dir;
  /** Copied to. */
  backup: Dir;
  /** The roles are exchanged: what is copied from is the Backup. */
  reversed: boolean;
  masterStable: boolean;
  masterClock: ClockRules;
  traits: WriteTraits;
  operation: string;
  /** Restore owner and group: the process may, and the drive keeps them. */
  owner: boolean;
}

/** A path as the plan saw it. */
export interface ExpectedItem {
  path: string;
  kind: Kind;
  masterFacts: string;
  backupFacts: string;
  /** The Backup's file had other names too. */
  backupShared?: boolean;
  /** How the Backup stores it: its name there is `path` with this behind it. */
  stored?: Suffix;
}

export interface StageItem {
  /** Names the partial; unique within the operation. */
  seq: number;
  path: string;
  kind: 'f' | 'l' | 'd';
  size: number;
  /** Where it is copied from, when that is another path. */
  from?: string | undefined;
  /** What is written is a stored file of this form. */
  encode?: Suffix;
  /** What is read is a stored file of this form. */
  decode?: Suffix;
  /** What the content has to be, or nothing is written. */
  expect?: { algorithm: Recorded; checksum: string };
  /** What stands under another name until this is in place, and goes then. */
  retire?: Retired;
  /** A further form of it, which goes as well. */
  leftover?: Retired;
  /** Make a hard link to this path of the Backup instead of copying. */
  linkTo: string | null;
  /** With `linkTo`: what is recorded of that path; the link is made only where it still holds. */
  linkFacts?: { master: string; backup: string };
  /** What a saved plan saw on the Master; another state is refused. */
  masterFacts: string | null;
  /** What the plan saw at the destination; null: nothing. */
  backupFacts: string | null;
  /** That had other names too. */
  backupShared?: boolean;
}

/** The same file as it was stored before. */
export interface Retired {
  path: string;
  facts: string;
  shared: boolean;
  /** Keep it as a version. */
  keep: boolean;
}

export type Outcome = 'done' | 'failed' | 'changed' | 'conflict' | 'stopped';

export interface StageResult {
  seq: number;
  outcome: Outcome;
  message: string;
  checksum: string;
  /** The source as it was read. */
  masterFacts: string;
  target: string;
  /** Of the content. */
  bytes: number;
  /** That the target takes up; the same unless it is stored otherwise. */
  written: number;
}

export interface CommitItem {
  seq: number;
  path: string;
  kind: 'f' | 'l' | 'd';
  from?: string | undefined;
  retire?: Retired | undefined;
  linkTo: string | null;
  linkFacts?: StageItem['linkFacts'] | undefined;
  backupFacts: string | null;
  backupShared?: boolean | undefined;
  /** The source as it was when it was staged. */
  stagedFacts: string;
}

export interface CommitResult {
  seq: number;
  outcome: Outcome;
  message: string;
  backupFacts: string;
  /** Names that the Backup's file has now. */
  links: number;
}

/** A path that is to be as it was before an operation. */
export interface PutBackItem {
  seq: number;
  path: string;
  /** What must stand there now; null: nothing. */
  current: string | null;
  /** That has other names, whose changes move its ctime, mode and owner. */
  shared?: boolean;
  /** Path of its version, from the drive's root; null: it is only to go away. */
  version: string | null;
  /** Facts of the version; null: not known. */
  before: string | null;
  /** Another name of the same file, to be made one with it again; facts: what must stand there, null: what has just come back. */
  link?: { path: string; facts: string | null };
}

/** A path that gets back the name that it had before an operation. */
export interface MoveBackItem {
  seq: number;
  /** Where it stands. */
  path: string;
  to: string;
  /** Facts of what must stand there. */
  current: string;
  respelled: boolean;
}

export interface PutBackResult {
  seq: number;
  outcome: Outcome;
  message: string;
  /** What stands there now; null: nothing, or not done. */
  facts: string | null;
}

/** A path of the Backup that gets another name, as the Master's has; both as the plan saw them. */
export interface MoveItem extends ExpectedItem {
  /** Numbers what is set aside for a change of spelling; unique within the operation. */
  seq: number;
  from: string;
  /** One of the drives takes both names for one. */
  respelled: boolean;
}

/** A file of a group that was not done. */
export interface Other {
  seq: number;
  outcome: Outcome;
  message: string;
}

/** What became of a group of new files. */
export interface StagedGroup {
  files: number;
  bytes: number;
  others: Other[];
}

export interface PlacedGroup extends StagedGroup {
  /** Bytes that they take up on the Backup. */
  written: number;
  /** Rows of the baseline (shared/rows.ts), as JSON arrays joined by commas. */
  rows: string;
  /** Folders that files were put into. */
  folders: string[];
}

/** What became of an item that was not done; or the beginning of the result of one that was. */
export function stageResult(item: { seq: number }, outcome: Outcome, message: string): StageResult {
  return { seq: item.seq, outcome, message, checksum: '', masterFacts: '', target: '', bytes: 0, written: 0 };
}

export function commitResult(item: { seq: number }, outcome: Outcome, message: string): CommitResult {
  return { seq: item.seq, outcome, message, backupFacts: '', links: 0 };
}
