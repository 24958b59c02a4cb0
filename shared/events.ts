/** What a running feature tells the outside world; `--progress json` prints each as one NDJSON line on stderr. */

export type Phase = 'scan' | 'compare' | 'prepare' | 'copy' | 'delete' | 'finish';

/** Written to the operation's row at most four times a second, so that other processes see the run. */
export interface Progress {
  phase: Phase;
  files_done: number;
  files_total: number;
  files_copied: number;
  files_skipped: number;
  files_failed: number;
  bytes_done: number;
  bytes_total: number;
  /** Smoothed, bytes per second. */
  rate: number;
  /** Seconds left, or null while unknown. */
  eta: number | null;
  /** The file each worker holds now. */
  current: string[];
  /** Bytes done of each of them. */
  current_bytes?: number[];
  paused: boolean;
}

export type TandemEvent =
  | { kind: 'operation_started'; operation_id: string; target: string }
  | { kind: 'progress'; operation_id: string; target: string; progress: Progress }
  | { kind: 'operation_ended'; operation_id: string; target: string; status: string }
  | { kind: 'warning'; message: string }
  | { kind: 'note'; message: string };
