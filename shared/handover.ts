/** Hands files to the workers and takes back what became of them. */
import { chunk, GROUP_FILES } from './batches.ts';
import type { CommitItem, CommitResult, StageItem, StageResult } from './tasks.ts';
import type { WorkerPool } from './workers.ts';

export interface Staged {
  item: StageItem;
  result: StageResult;
  /** Milliseconds since 1970, before the source was opened. */
  startedAt: number;
  /** The worker that has it waiting; undefined: any may put it in place. */
  on: number | undefined;
}

/** Plain new files, nearly all there are, go to a worker and come back in few words; it also puts them in place. */
export async function stageGroup(
  pool: WorkerPool,
  group: readonly StageItem[],
): Promise<{ results: StageResult[]; on: number | undefined }> {
  const first = group[0]?.seq ?? 0;
  if (!group.every((item, index) => isPlainNew(item) && item.seq === first + index)) {
    return { results: await pool.run('stage', group), on: undefined };
  }
  const paths = group.map(({ path }) => path);
  const { result, on } = await pool.runSomewhere('stageNew', first, paths);
  const others = new Map(result.others.map((other) => [other.seq, other]));
  const checksums = result.checksums.split('\n');
  const facts = result.facts.split('\n');
  let at = 0;
  const results = group.map(({ seq }): StageResult => {
    const other = others.get(seq);
    if (other) return other;
    const [checksum = '', masterFacts = '', bytes = 0] = [checksums[at], facts[at], result.bytes[at]];
    at += 1;
    return { seq, outcome: 'done', message: '', checksum, masterFacts, target: '', bytes };
  });
  return { results, on };
}

/** In the order of `staged`. */
export async function putInPlace(pool: WorkerPool, staged: readonly Staged[]): Promise<CommitResult[]> {
  const found = new Map<number, CommitResult>();
  const workers = new Set(staged.map(({ on }) => on));
  const parts = [...workers].flatMap((on) =>
    chunk(
      staged.filter((one) => one.on === on),
      GROUP_FILES,
    ).map((part) => ({ on, part })),
  );
  await Promise.all(
    parts.map(async ({ on, part }) => {
      if (on === undefined) {
        for (const result of await pool.run('commit', part.map(commitItem))) found.set(result.seq, result);
        return;
      }
      const { facts, others } = await pool.runOn(
        on,
        'commitStaged',
        part.map(({ item }) => item.seq),
      );
      for (const other of others) found.set(other.seq, other);
      const lines = facts.split('\n');
      let at = 0;
      for (const { item } of part) {
        if (found.has(item.seq)) continue;
        found.set(item.seq, { seq: item.seq, outcome: 'done', message: '', backupFacts: lines[at] ?? '', links: 1 });
        at += 1;
      }
    }),
  );
  return staged.map(({ item }) => found.get(item.seq) as CommitResult);
}

/** A regular file that is new on the Backup, from a plan that was made just now. */
function isPlainNew({ kind, linkTo, masterFacts, backupFacts }: StageItem): boolean {
  return kind === 'f' && linkTo === null && masterFacts === null && backupFacts === null;
}

/** Field by field: spreading a hundred thousand objects shows. */
function commitItem({ item, result }: Staged): CommitItem {
  const { seq, path, kind, linkTo, linkFacts, backupFacts, backupShared } = item;
  return { seq, path, kind, linkTo, linkFacts, backupFacts, backupShared, stagedFacts: result.masterFacts };
}
