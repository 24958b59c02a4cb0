/** What happened lately, as lines for the event feed: from the journal, the drives and the warnings of this session. Pure. */
import type { DriveEvent } from '../features/detect.ts';
import { type Operation, targetOf } from '../features/history.ts';
import { formatBytes, plural } from '../shared/format.ts';

export interface FeedLine {
  /** ISO 8601, UTC. */
  time: string;
  style: 'good' | 'warn' | 'bad' | 'dim' | 'plain';
  /** `✓`, `!`, `✗`, `◐`, `○`, `●`. */
  sign: string;
  /** A group, a project or a drive. */
  subject: string;
  text: string;
}

/** Something that this session saw and no journal keeps. */
export type Seen = { time: string } & ({ drive: DriveEvent } | { warning: string });

/** Newest first. */
export function feedOf(operations: readonly Operation[], seen: readonly Seen[]): FeedLine[] {
  const lines = [...operations.flatMap(operationLines), ...seen.map(seenLine)];
  return lines.sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0));
}

/** What it did, in numbers. */
export function resultOf(operation: Operation): string {
  const { files_copied: copied, files_moved: moved, files_deleted: deleted, bytes_copied: bytes } = operation;
  const parts = [
    copied > 0 ? `${plural(copied, 'file')} copied, ${formatBytes(bytes)}` : '',
    moved > 0 ? `${plural(moved, 'file')} moved` : '',
    deleted > 0 ? `${plural(deleted, 'file')} deleted` : '',
  ].filter(Boolean);
  return parts.length > 0 ? parts.join(', ') : 'nothing to do';
}

// --- internal ---

function operationLines(operation: Operation): FeedLine[] {
  const subject = targetOf(operation);
  const started: FeedLine = {
    time: operation.start_time,
    style: 'plain',
    sign: '◐',
    subject,
    text: `${operation.operation_type} started`,
  };
  return operation.end_time === null
    ? [started]
    : [started, { ...endOf(operation), time: operation.end_time, subject }];
}

function endOf(operation: Operation): Pick<FeedLine, 'style' | 'sign' | 'text'> {
  const { status, operation_type: type, conflicts_detected: conflicts, files_failed: failed, reason } = operation;
  const result = resultOf(operation);
  const why = reason === null ? '' : ` (${reason})`;
  if (status === 'failed') {
    const some = failed > 0 ? `, ${plural(failed, 'file')} failed` : '';
    return { style: 'bad', sign: '✗', text: `${type} failed${why}${some}` };
  }
  if (status === 'cancelled') return { style: 'warn', sign: '!', text: `${type} cancelled after ${result}` };
  if (conflicts > 0)
    return { style: 'warn', sign: '!', text: `${type}: ${result}; ${plural(conflicts, 'conflict')} waiting` };
  return { style: 'good', sign: '✓', text: `${type}: ${result}` };
}

const DRIVE_LINES = {
  plugged: { sign: '●', style: 'good', text: 'drive connected' },
  unplugged: { sign: '○', style: 'dim', text: 'drive gone' },
  remounted: { sign: '●', style: 'plain', text: 'drive mounted anew' },
  changed: { sign: '●', style: 'plain', text: 'drive changed' },
} as const;

function seenLine(seen: Seen): FeedLine {
  if ('warning' in seen) return { time: seen.time, style: 'warn', sign: '!', subject: '', text: seen.warning };
  const { kind, drive } = seen.drive;
  return { ...DRIVE_LINES[kind], time: seen.time, subject: drive.label };
}
