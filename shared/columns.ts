/**
 * The short way between a run and its workers for plain new files, nearly all there are: paths in, a few long texts out,
 * and the worker that staged a file also puts it in place, so that it need not be told of it again.
 */
import type { CommitItem, CommitResult, CommittedColumns, StagedColumns, StageItem, StageResult } from './tasks.ts';
import { Transfer } from './transfer.ts';

export class WorkerTransfer extends Transfer {
  /** Staged by `stageNew`, by number. */
  private readonly waiting = new Map<number, CommitItem>();

  /** `stage` for regular files that are new on the Backup, numbered from `first`; `commitStaged` puts them in place. */
  stageNew(first: number, paths: readonly string[]): StagedColumns {
    const items = paths.map((path, index): StageItem => {
      return { seq: first + index, path, kind: 'f', size: 0, linkTo: null, masterFacts: null, backupFacts: null };
    });
    const columns: { checksums: string[]; facts: string[]; bytes: number[]; others: StageResult[] } = {
      checksums: [],
      facts: [],
      bytes: [],
      others: [],
    };
    this.stage(items).forEach((result, index) => {
      if (result.outcome !== 'done') {
        columns.others.push(result);
        return;
      }
      const { seq, path, kind, linkTo, backupFacts } = items[index] as StageItem;
      this.waiting.set(seq, { seq, path, kind, linkTo, backupFacts, stagedFacts: result.masterFacts });
      columns.checksums.push(result.checksum);
      columns.facts.push(result.masterFacts);
      columns.bytes.push(result.bytes);
    });
    return { ...columns, checksums: columns.checksums.join('\n'), facts: columns.facts.join('\n') };
  }

  /** `commit` for what this worker's `stageNew` left waiting. */
  commitStaged(seqs: readonly number[]): CommittedColumns {
    const items = seqs.flatMap((seq) => this.waiting.get(seq) ?? []);
    if (items.length !== seqs.length) throw new Error('another worker staged these files');
    for (const seq of seqs) this.waiting.delete(seq);
    const facts: string[] = [];
    const others: CommitResult[] = [];
    for (const result of this.commit(items)) {
      if (result.outcome === 'done') facts.push(result.backupFacts);
      else others.push(result);
    }
    return { facts: facts.join('\n'), others };
  }
}
