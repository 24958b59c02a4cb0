/**
 * What a run does when its content is copied: metadata, deletions, what both sides agree on already, and the times of
 * folders last. Each step is flushed and only then recorded.
 */
import { BATCH_FILES, chunk } from '../shared/batches.ts';
import { Entry } from '../shared/listing.ts';
import { depthOf, isInside, parentOf } from '../shared/paths.ts';
import { type ClockRules, isRacy } from '../shared/rows.ts';
import type { SyncStatistics } from '../shared/statistics.ts';
import type { ExpectedItem } from '../shared/tasks.ts';
import type { WorkerPool } from '../shared/workers.ts';
import type { BaselineRow, FileAction } from './history.ts';
import type { Placing } from './placing.ts';
import type { Plan } from './plan.ts';
import type { Action } from './reconcile.ts';
import type { RunRecord } from './record.ts';

/** What a run gives to these steps. */
export interface FinishHost {
  readonly plan: Plan;
  readonly pool: WorkerPool;
  readonly place: Placing;
  readonly record: RunRecord;
  readonly clock: ClockRules;
  readonly control: { readonly cancelled: boolean };
  readonly statistics: SyncStatistics;
  /** Folders that something was put into, or taken out of. */
  readonly touched: Set<string>;
  /** Folders that gave way to something else. */
  readonly gone: ReadonlySet<string>;
  /** Folders that the record does not know yet, because what they replace is still there. */
  readonly halfway: ReadonlySet<string>;
  /** Records, made or used in this run, of files with several names. */
  readonly linked: Map<string, BaselineRow>;
  /** Before anything is written; throws when the drives or the lock are not ours any more. */
  prove(): void;
  /** So many more files are done. */
  done(files: number): void;
  /** Count and word what could not be done. */
  conflict(path: string, message: string): FileAction;
  fail(path: string, message: string): FileAction;
}

export class Finish {
  private readonly host: FinishHost;

  constructor(host: FinishHost) {
    this.host = host;
  }

  /** A path whose content agrees on both sides already, as far as the plan saw. */
  private agreedRow(action: Action, backupFacts: string): BaselineRow {
    const seenAt = Date.parse(this.host.plan.created_at);
    return this.host.record.row(action.path, action.size, action.master ?? '', backupFacts, {
      checksum: action.checksum ?? '',
      algorithm: action.checksum_algorithm ?? '',
      target: action.target ?? '',
      stored: action.stored ?? '',
      doubt: action.entry === 'f' && isRacy(action.master ?? '', seenAt, this.host.clock) ? 'racy' : '',
    });
  }

  /** What the plan saw of a path, for a worker to find again before it touches anything. */
  private expected(action: Action): ExpectedItem {
    const { path, entry, master, backup, backup_shared } = action;
    const facts = { masterFacts: master ?? '', backupFacts: backup ?? '' };
    return {
      path,
      kind: entry,
      ...facts,
      backupShared: backup_shared === true,
      stored: this.host.place.suffix(action),
    };
  }

  async mirrorMetadata(actions: readonly Action[]): Promise<void> {
    for (const part of chunk(actions, BATCH_FILES)) {
      if (this.host.control.cancelled) return;
      this.host.prove();
      const results = await this.host.pool.run(
        'copyMetadata',
        part.map((action) => this.expected(action)),
      );
      await this.host.pool.run('flush');
      const rows: BaselineRow[] = [];
      const notes: FileAction[] = [];
      results.forEach(({ outcome, message, backupFacts, links }, index) => {
        const action = part[index] as Action;
        if (outcome === 'done') {
          const recorded = this.agreedRow(action, backupFacts);
          rows.push(recorded);
          if (links > 1 && action.entry === 'f') this.host.linked.set(action.path, recorded);
          notes.push({ path: action.path, action: 'meta', size: action.size, status: 'done' });
        } else if (outcome === 'conflict') notes.push(this.host.conflict(action.path, message));
        else notes.push({ ...this.host.fail(action.path, message), action: 'meta' });
      });
      await this.host.record.write(rows, [], notes);
    }
  }

  /** Children before parents, one group after the other: a folder can go only when it is empty. */
  async remove(actions: readonly Action[]): Promise<void> {
    const deepestFirst = actions.toReversed().sort((a, b) => depthOf(b.path) - depthOf(a.path));
    for (const part of chunk(deepestFirst, BATCH_FILES)) {
      if (this.host.control.cancelled) return;
      this.host.prove();
      const results = await this.host.pool.run(
        'remove',
        part.map((action) => this.expected(action)),
      );
      await this.host.pool.run('flush');
      const gone: string[] = [];
      const notes: FileAction[] = [];
      results.forEach(({ path, outcome, message }, index) => {
        const { entry, backup } = part[index] as Action;
        if (outcome === 'done') {
          gone.push(path);
          this.host.linked.delete(path);
          this.host.touched.delete(path);
          this.host.touched.add(parentOf(path));
          if (entry !== 'd') {
            this.host.statistics.files_deleted += 1;
            this.host.done(1);
          }
          notes.push({ path, action: 'delete', size: new Entry(backup ?? '', path).size, status: 'done' });
        } else if (outcome === 'conflict') notes.push(this.host.conflict(path, message));
        else if (outcome === 'failed') notes.push({ ...this.host.fail(path, message), action: 'delete' });
        else if (outcome === 'changed') this.host.statistics.problems.push({ path, message });
      });
      await this.host.record.write([], gone, notes);
    }
  }

  async recordAgreed(adopted: readonly Action[], forgotten: readonly Action[]): Promise<void> {
    for (const { entry, path } of adopted) if (entry === 'd') this.host.touched.add(path);
    const files = adopted.filter(({ entry }) => entry !== 'd');
    // Another program may have written them a moment ago: what is recorded is on the medium.
    if (files.length > 0) await this.host.pool.run('flush');
    const rows = files.map((action) => this.agreedRow(action, action.backup ?? ''));
    const notes = rows.map(({ path, size }): FileAction => ({ path, action: 'adopt', size, status: 'done' }));
    for (const part of chunk(rows, BATCH_FILES)) await this.host.record.write(part, [], []);
    const held = this.host.plan.actions.filter(
      ({ kind, path, backup }) => kind === 'update' && backup?.startsWith('d ') && !this.host.gone.has(path),
    );
    const left = forgotten.filter(({ path }) => !held.some((folder) => isInside(path, folder.path)));
    const removed = left.map(({ path }) => path);
    await this.host.record.write([], removed, notes);
  }

  /** Deepest first, because setting a folder's times is undone by any change in it. */
  async finishFolders(): Promise<void> {
    this.host.touched.delete('');
    const { touched, halfway } = this.host;
    const paths = [...touched].filter((path) => !halfway.has(path)).sort((a, b) => depthOf(b) - depthOf(a));
    if (paths.length === 0) return;
    this.host.prove();
    const rows: BaselineRow[] = [];
    for (const part of chunk(paths, BATCH_FILES)) {
      for (const { path, masterFacts, backupFacts, message } of await this.host.pool.run('finishFolders', part)) {
        if (message === '') rows.push(this.host.record.row(path, 0, masterFacts, backupFacts, {}));
        else this.host.statistics.problems.push({ path, message });
      }
    }
    await this.host.pool.run('flush');
    await this.host.record.write(rows, [], []);
  }
}
