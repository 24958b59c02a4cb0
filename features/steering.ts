/**
 * A running operation from other processes: its progress, and what is asked of it, through its row in the journal.
 */
import type { Context } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import type { Progress } from '../shared/events.ts';
import type { Verb } from '../shared/feature.ts';
import { displayPath } from '../shared/paths.ts';
import { readMegabytes } from '../shared/throttle.ts';
import { type Control, getOperation, markInterrupted, type Operation, unknownOperation } from './history.ts';

/** What other processes ask of a running operation; `bandwidth_limit` in MB per second, 0: none, null: as its options say. */
export interface Wishes {
  control: Control;
  bandwidth_limit: number | null;
}

/** Publishes progress and brings back what other processes ask for. */
export async function reportProgress(id: number, progress: Progress, ctx: Context): Promise<Wishes> {
  const db = await ctx.db();
  const sql = 'UPDATE sync_operations SET progress = ? WHERE id = ? RETURNING control, bandwidth_limit';
  const row = await db.get<Wishes>(sql, [JSON.stringify(progress), id]);
  if (!row) throw unknownOperation(String(id));
  return row;
}

/**
 * How fast a running operation may write from now on, its parts included, whatever its options say.
 * @param megabytes per second; 0: without limit, null: as its options say.
 * @throws TandemError `invalid` when it is not running.
 */
export async function setBandwidthLimit(
  { id, uuid }: Operation,
  megabytes: number | null,
  ctx: Context,
): Promise<void> {
  await markInterrupted(ctx);
  const db = await ctx.db();
  const sql =
    "UPDATE sync_operations SET bandwidth_limit = ?1 WHERE (id = ?2 OR parent_id = ?2) AND status = 'running'";
  const { changes } = await db.transaction(() => db.run(sql, [megabytes, id]));
  if (changes === 0) throw notRunning(await getOperation(uuid, ctx));
}

/**
 * Asks a running operation to pause, go on, cancel or stop at once. After `cancel` only `stop` is taken.
 * @throws TandemError `invalid` when it is not running, or is already being cancelled.
 */
export async function setControl(operation: Operation, control: Control, ctx: Context): Promise<void> {
  await markInterrupted(ctx);
  const db = await ctx.db();
  const { changes } = await db.transaction(() =>
    db.run(
      `UPDATE sync_operations SET control = ?1 WHERE (id = ?2 OR parent_id = ?2) AND status = 'running'
        AND NOT (control = 'stop' AND ?1 <> 'stop') AND NOT (control = 'cancel' AND ?1 NOT IN ('cancel', 'stop'))`,
      [control, operation.id],
    ),
  );
  if (changes > 0) return;
  throw notRunning(await getOperation(operation.uuid, ctx));
}

const control = (summary: string, value: Operation['control'], done: string): Verb => ({
  summary,
  examples: [`tandem sync ${value === '' ? 'resume' : value} 3f2a`],
  args: [{ name: 'operation', description: 'number or id of a running operation', complete: 'operation' }],
  run: async ({ args }, ctx) => {
    const operation = await getOperation(args['operation'] as string, ctx);
    await setControl(operation, value, ctx);
    return {
      json: { operation_id: operation.uuid, control: value },
      text: () => `${done}: ${operation.uuid.slice(0, 8)} (${displayPath(operation.target_name)})`,
    };
  },
});

/** Verbs of the command `sync`. */
export const steeringVerbs: Readonly<Record<string, Verb>> = {
  limit: {
    summary: 'how fast a running sync may write from now on',
    examples: ['tandem sync limit 3f2a 5', 'tandem sync limit 3f2a off'],
    args: [
      { name: 'operation', description: 'number or id of a running operation', complete: 'operation' },
      { name: 'mb', description: 'megabytes per second, 0.1 to 1000; off for none, auto for what its options say' },
    ],
    run: async ({ args }, ctx) => {
      const text = args['mb'] as string;
      const megabytes = text === 'auto' ? null : megabytesOf(text === 'off' ? '0' : text, 'The limit');
      const operation = await getOperation(args['operation'] as string, ctx);
      await setBandwidthLimit(operation, megabytes, ctx);
      const said = megabytes === null ? 'as its options say' : megabytes === 0 ? 'no limit' : `${megabytes} MB/s`;
      return {
        json: { operation_id: operation.uuid, bandwidth_limit: megabytes },
        text: () => `${said}: ${operation.uuid.slice(0, 8)} (${displayPath(operation.target_name)})`,
      };
    },
  },
  cancel: control('stop a running sync; files in flight are finished', 'cancel', 'Cancelling'),
  pause: control('hold a running sync', 'pause', 'Paused'),
  resume: control('let a paused sync go on', '', 'Resumed'),
};

/** @returns megabytes per second; 0: without limit. */
export function megabytesOf(text: string, what: string): number {
  const value = text === '0' ? 0 : readMegabytes(text);
  if (value !== undefined) return value;
  throw new TandemError('usage', `${what} takes megabytes per second from 0.1 to 1000, not '${displayPath(text)}'.`, {
    hint: 'For example 10; 0 lifts the limit.',
  });
}

// --- internal ---

function notRunning({ id, status }: Operation): TandemError {
  const trouble = status === 'running' ? 'is already being cancelled' : `is not running: its status is ${status}`;
  return new TandemError('invalid', `Operation ${id} ${trouble}.`, {
    hint: '`tandem history list --status running` shows what is running.',
  });
}
