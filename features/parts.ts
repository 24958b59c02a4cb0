/**
 * One operation on several groups at once: the roles of a project. Each part is an operation of its own, on its own
 * drives; parts that share no drive run side by side. The operation above them is in the history from its first moment,
 * sums its parts up, and passes on what is asked of it. A part that cannot run does not keep the others from it.
 */
import { randomUUID } from 'node:crypto';
import type { Context } from '../shared/context.ts';
import { messageOf, type Problem } from '../shared/errors.ts';
import { isInside } from '../shared/paths.ts';
import {
  completeOperation,
  getOperation,
  listOperations,
  NOTHING_DONE,
  type Operation,
  type OperationResult,
  type OperationStatus,
  startOperation,
} from './history.ts';
import { type Target, targetName } from './targets.ts';

/** What every operation ends in. */
export interface Outcome {
  operation_id: string;
  target: string;
  status: 'completed' | 'failed' | 'cancelled';
  start_time: string;
  end_time: string;
  problems?: readonly Problem[];
}

export interface Work<R extends Outcome> {
  /** `sync`, `restore`, `verify` … */
  kind: string;
  /** Name for the operation; a new one otherwise. */
  operation: string | undefined;
  /** One part after the other, also where they share no drive: they share something else. */
  inTurn?: boolean;
  /** Runs one part. @param part what it has to know of the whole; undefined: it is the whole. */
  run(target: Target, part: { operation?: string; parent?: number }): Promise<R>;
  /** The numbers of all parts. */
  sum(done: readonly R[]): Omit<R, keyof Outcome>;
  /** As the history keeps them. */
  counts(result: R): Partial<OperationResult>;
}

/**
 * @throws what a part threw, when none of them came to an end.
 * @returns of several parts their sum, as `failed` when one could not run, with `parts`.
 */
export async function runParts<R extends Outcome>(targets: readonly Target[], work: Work<R>, ctx: Context): Promise<R> {
  const [first, ...others] = targets as [Target, ...Target[]];
  if (others.length === 0) return work.run(first, work.operation === undefined ? {} : { operation: work.operation });
  const uuid = work.operation ?? randomUUID();
  const start_time = ctx.now().toISOString();
  const name = first.project?.name ?? '';
  const parent = await startOperation(
    {
      uuid,
      group_id: first.project?.id ?? '',
      operation_type: work.kind,
      target_kind: 'project',
      target_name: name,
      subpath: '',
      parts: targets.length,
    },
    ctx,
  );
  const done: R[] = [];
  const failures: { target: Target; error: unknown }[] = [];
  const lane = async (some: readonly Target[]): Promise<void> => {
    for (const target of some) {
      // What is asked of the whole reaches the parts that run; those that wait are asked here.
      const { control } = await getOperation(uuid, ctx);
      if (ctx.signal.aborted || control === 'cancel' || control === 'stop') return;
      try {
        done.push(await work.run(target, { parent }));
      } catch (error) {
        failures.push({ target, error });
      }
    }
  };
  await Promise.all((work.inTurn ? [targets] : lanesOf(targets)).map(lane));
  const problems = failures.map(({ target, error }) => ({ path: targetName(target), message: messageOf(error) }));
  const result = {
    ...work.sum(done),
    operation_id: uuid,
    target: name,
    status: statusOf(done, failures.length, targets.length),
    start_time,
    end_time: ctx.now().toISOString(),
    problems: [...problems, ...done.flatMap((one) => one.problems ?? [])],
    parts: done,
  } as unknown as R;
  const reason = problems.length > 0 ? problems.map(({ path, message }) => `${path}: ${message}`).join(' ') : null;
  await completeOperation(parent, { ...NOTHING_DONE, ...work.counts(result), reason }, result.status, ctx);
  if (done.length === 0 && failures[0]) throw failures[0].error;
  return result;
}

/** The newest operation of a kind that worked on all of a target, with this status or with any. */
export async function lastOf(
  { group, subpath }: Target,
  type: string,
  status: OperationStatus | undefined,
  ctx: Context,
): Promise<Operation | null> {
  const filter = { group_id: group.id, type, limit: PAGE, ...(status === undefined ? {} : { status }) };
  for (let offset = 0; ; offset += PAGE) {
    const page = await listOperations({ ...filter, offset }, ctx);
    const found = page.find((one) => isInside(subpath, one.subpath));
    if (found) return found;
    if (page.length < PAGE) return null;
  }
}

// --- internal ---

const PAGE = 50;

/** What shares a group, and so its drives, runs one after the other. */
function lanesOf(targets: readonly Target[]): Target[][] {
  const lanes = new Map<string, Target[]>();
  for (const target of targets) lanes.set(target.group.id, [...(lanes.get(target.group.id) ?? []), target]);
  return [...lanes.values()];
}

function statusOf(done: readonly Outcome[], failed: number, all: number): Outcome['status'] {
  if (done.some(({ status }) => status === 'cancelled') || done.length + failed < all) return 'cancelled';
  return failed > 0 || done.some(({ status }) => status === 'failed') ? 'failed' : 'completed';
}
