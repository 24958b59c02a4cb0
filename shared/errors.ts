/**
 * The one error class that reaches the user, and the exit codes of the command line.
 *
 * A message is a whole sentence that carries the current value ("No group is called 'Archiv'."), the hint says what to
 * do next ("Did you mean 'Archive'? See `tandem groups list`."). Nothing else in the code base exits the process.
 */

/** Exit codes of the `tandem` command, as documented in docs/guide.md. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  conflicts: 3,
  partial: 4,
  driveMissing: 5,
  guard: 6,
  locked: 7,
  key: 8,
  cancelled: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Stable, machine-readable names of failures; `--json` prints them as `error.code`. */
export type ErrorCode =
  | 'failed'
  | 'usage'
  | 'config'
  | 'not_found'
  | 'ambiguous'
  | 'invalid'
  | 'drive_missing'
  | 'guard'
  | 'locked'
  | 'key'
  | 'cancelled'
  | 'database';

const EXIT_OF: Record<ErrorCode, ExitCode> = {
  failed: EXIT.failed,
  usage: EXIT.usage,
  config: EXIT.usage,
  not_found: EXIT.usage,
  ambiguous: EXIT.usage,
  invalid: EXIT.usage,
  drive_missing: EXIT.driveMissing,
  guard: EXIT.guard,
  locked: EXIT.locked,
  key: EXIT.key,
  cancelled: EXIT.cancelled,
  database: EXIT.failed,
};

export interface ErrorExtras {
  /** What the user can do about it; one sentence. */
  hint?: string;
  /** The guard that refused, for `--force GUARD`. */
  guard?: string;
  /** More facts for `--json`. */
  details?: Record<string, unknown>;
  cause?: unknown;
}

export class TandemError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly guard: string | undefined;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: ErrorCode, message: string, extras: ErrorExtras = {}) {
    super(message, extras.cause === undefined ? undefined : { cause: extras.cause });
    this.name = 'TandemError';
    this.code = code;
    this.hint = extras.hint;
    this.guard = extras.guard;
    this.details = extras.details;
  }

  get exitCode(): ExitCode {
    return EXIT_OF[this.code];
  }
}

/** The `code` of a Node system error ("ENOENT"), or undefined for anything else. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Something that went wrong with one path; collected and reported, never thrown. */
export interface Problem {
  /** Path from the drive's root, with `/`. */
  path: string;
  /** One sentence. */
  message: string;
}

/** One sentence for a system error. */
export function explain(error: unknown): string {
  switch (errnoOf(error)) {
    case 'ENOSPC':
      return 'the drive is full (ENOSPC)';
    case 'EDQUOT':
      return 'the quota on the drive is used up (EDQUOT)';
    case 'EACCES':
    case 'EPERM':
      return `permission denied (${errnoOf(error)})`;
    case 'EROFS':
      return 'the drive is read-only (EROFS)';
    case 'EIO':
      return 'the drive reported an input/output error (EIO)';
    case 'ENODEV':
    case 'ENXIO':
    case 'ESTALE':
    case 'ENOTCONN':
      return `the drive is gone (${errnoOf(error)})`;
    case 'ENOENT':
      return 'vanished during the run (ENOENT)';
    case 'ELOOP':
      return 'a symbolic link stands where a folder or file was (ELOOP)';
    case 'EFBIG':
      return 'the file is larger than the drive can hold (EFBIG)';
    case 'ENAMETOOLONG':
      return 'the name is too long for the drive (ENAMETOOLONG)';
    case 'EILSEQ':
      return 'the link target is not valid UTF-8 (EILSEQ)';
    default:
      return messageOf(error);
  }
}
