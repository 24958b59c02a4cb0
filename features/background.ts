/** A sync as a process of its own, which goes on when this one and its terminal are gone. */
import { randomUUID } from 'node:crypto';
import type { Context } from '../shared/context.ts';
import { spawnDetached } from '../shared/detach.ts';
import { TandemError } from '../shared/errors.ts';
import type { Output } from '../shared/feature.ts';
import { listOperations } from './history.ts';
import { type Choice, targetsOf } from './targets.ts';

/**
 * Starts the run, and waits until its operation is in the journal.
 * @param flags of `sync run`, as words.
 * @throws TandemError `failed` with what the process said, when it ended before.
 */
export async function runDetached(
  targets: readonly string[],
  choice: Choice,
  flags: readonly string[],
  ctx: Context,
): Promise<Output> {
  const [target] = targets;
  if (target === undefined || targets.length > 1)
    throw new TandemError('usage', `--detach takes one target: current value is ${targets.length}.`, {
      hint: 'Start one run for each group.',
    });
  await targetsOf(target, choice, ctx);
  const operation = randomUUID();
  const child = spawnDetached(['sync', 'run', target, '--operation-id', operation, '--yes', ...flags], ctx);
  let code: number | undefined;
  void child.ended.then((ended) => {
    code = ended;
  });
  try {
    for (const deadline = Date.now() + START_WITHIN; Date.now() < deadline; ) {
      const found = (await listOperations({ limit: 20, whole: true }, ctx)).find(({ uuid }) => uuid === operation);
      if (found) return { json: { operation_id: operation, process_id: child.pid }, text: () => operation };
      if (code !== undefined)
        throw new TandemError('failed', `The run ended before it began: ${child.complaint().trim()}`, {
          hint: 'Run it without --detach to see more.',
        });
      await new Promise((done) => setTimeout(done, 50));
    }
    throw new TandemError('failed', `The background run did not begin within ${START_WITHIN / 1000} s.`, {
      hint: 'See `tandem history list`.',
    });
  } finally {
    child.release();
  }
}

// --- internal ---

const START_WITHIN = 15_000;
