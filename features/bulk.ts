/**
 * Copies files that are new on the Backup, group by group: each worker keeps what it staged until it puts it in place and
 * then says in one text what is to be recorded. The order is that of every batch (features/apply.ts): written, flushed,
 * put in place, flushed, recorded; one batch is recorded while the next is put in place.
 */
import { Batches, groupBySize } from '../shared/batches.ts';
import { inLanes, type Lanes } from '../shared/lanes.ts';
import type { Suffix } from '../shared/stored.ts';
import type { Other, Outcome, PlacedGroup } from '../shared/tasks.ts';
import type { WorkerPool } from '../shared/workers.ts';
import type { Action } from './reconcile.ts';

/** What a run gives to its bulk copy. */
export interface BulkHost {
  readonly pool: WorkerPool;
  readonly lanes: Lanes;
  /** The form in which they are stored. */
  readonly encode: Suffix;
  readonly control: { readonly cancelled: boolean; readonly stopped: boolean };
  /** Before anything is put in place; throws when the drives or the lock are not ours any more. */
  prove(): void;
  /** So many more files were staged; negative: had to be given up after all. */
  staged(files: number): void;
  /** Files that were not done; throws when the drives are not ours any more. */
  setAside(others: readonly { action: Action; outcome: Outcome; message: string }[]): Promise<void>;
  /**
   * Records the placed files: rows of the baseline as JSON arrays, joined by commas.
   * @param written bytes that they take up on the Backup.
   */
  placed(
    files: number,
    bytes: number,
    written: number,
    folders: readonly string[],
    rows: readonly string[],
  ): Promise<void>;
}

/** @param first number of the first action's partial; they are numbered in a row. */
export async function copyNewFiles(actions: readonly Action[], first: number, host: BulkHost): Promise<void> {
  const groups: Group[] = [];
  let seq = first;
  for (const part of groupBySize(actions)) {
    groups.push({ first: seq, items: part, on: 0 });
    seq += part.length;
  }
  const records = new OneBehind();
  const batches = new Batches<Group>((batch) => place(batch, host, records));
  const outcomes = await inLanes(
    groups,
    host.lanes,
    (count) => host.pool.grow(count),
    async (group) => {
      await stage(group, batches, host);
      await batches.turn();
    },
    () => host.control.cancelled,
  );
  try {
    if (!host.control.stopped) await batches.finish();
  } finally {
    await records.finish();
  }
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

// --- internal ---

interface Group {
  first: number;
  items: readonly Action[];
  /** The worker that has it waiting. */
  on: number;
}

/** One after the other; whoever adds waits only for the one before. */
class OneBehind {
  private last: Promise<void> = Promise.resolve();

  /** Throws what the one before threw. */
  async add(work: () => Promise<void>): Promise<void> {
    await this.last;
    this.last = work();
    // Whoever comes next, or finishes, hears of it.
    this.last.catch(() => {});
  }

  async finish(): Promise<void> {
    await this.last;
  }
}

async function stage(group: Group, batches: Batches<Group>, host: BulkHost): Promise<void> {
  const paths = group.items.map(({ path }) => path).join('\0');
  const { result, on } = await host.pool.runSomewhere('stageNew', group.first, paths, Date.now(), host.encode);
  host.staged(result.files);
  if (result.files > 0) batches.add({ ...group, on }, result.bytes, result.files);
  await setAside(group, result.others, host);
}

async function place(batch: readonly Group[], host: BulkHost, records: OneBehind): Promise<void> {
  if (batch.length === 0) return;
  host.prove();
  await host.pool.run('flush');
  const results = await Promise.all(batch.map(({ on, first }) => host.pool.runOn(on, 'placeNew', first)));
  await host.pool.run('flush');
  const sum = (of: (result: PlacedGroup) => number): number => results.reduce((total, result) => total + of(result), 0);
  const rows = results.map((result) => result.rows).filter((text) => text !== '');
  const folders = results.flatMap((result) => result.folders);
  await records.add(() =>
    host.placed(
      sum(({ files }) => files),
      sum(({ bytes }) => bytes),
      sum(({ written }) => written),
      folders,
      rows,
    ),
  );
  for (const [index, { others }] of results.entries()) {
    host.staged(-others.filter(({ outcome }) => outcome === 'changed').length);
    await setAside(batch[index] as Group, others, host);
  }
}

async function setAside(group: Group, others: readonly Other[], host: BulkHost): Promise<void> {
  if (others.length === 0) return;
  await host.setAside(
    others.map(({ seq, outcome, message }) => ({
      action: group.items[seq - group.first] as Action,
      outcome,
      message,
    })),
  );
}
