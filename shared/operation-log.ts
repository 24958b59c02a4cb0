/** What the log says of operations: when they begin, how they end. */
import type { Context } from './context.ts';
import type { Problem } from './errors.ts';
import { plural } from './format.ts';
import { type LogFields, log } from './log.ts';

export interface LoggedOperation {
  uuid: string;
  operation_type: string;
  group_id: string;
  target_name: string;
}

/** And counts. */
interface Result {
  problems: readonly Problem[];
  reason: string | null;
  verified: string;
  conflicts_detected: number;
}

export function logStarted(one: LoggedOperation, ctx: Context): void {
  log(ctx, 'info', 'operation.started', `${sentence(one)} started.`, names(one));
}

export function logEnded(
  one: LoggedOperation,
  { problems, reason, verified, ...counts }: Result,
  status: 'completed' | 'failed' | 'cancelled',
  ctx: Context,
): void {
  const minor = status === 'cancelled' || counts.conflicts_detected > 0 ? 'warn' : 'info';
  const said = Object.entries(counts).filter(([, count]) => count !== 0);
  const why = reason === null ? '' : ` ${reason}`;
  log(ctx, status === 'failed' ? 'error' : minor, `operation.${status}`, `${sentence(one)} ${status}.${why}`, {
    ...names(one),
    ...Object.fromEntries(said),
    ...(verified === 'none' ? {} : { verified }),
    ...(problems.length === 0 ? {} : { problems: problems.slice(0, LOGGED_PROBLEMS) }),
  });
}

/** @param numbers of operations whose processes are gone. */
export function logInterrupted(numbers: readonly number[], ctx: Context): void {
  const message = `${plural(numbers.length, 'operation')} ended with the process that carried them out.`;
  log(ctx, 'warn', 'operation.interrupted', message, { operations: numbers });
}

// --- internal ---

/** The history has the others. */
const LOGGED_PROBLEMS = 20;

function sentence({ operation_type, target_name }: LoggedOperation): string {
  return `${operation_type.slice(0, 1).toUpperCase()}${operation_type.slice(1)} of ${target_name}`;
}

function names({ uuid, operation_type, group_id, target_name }: LoggedOperation): LogFields {
  return { operation_id: uuid, operation_type, group_id, target: target_name };
}
