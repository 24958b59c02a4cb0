/**
 * Puts the names on the Backup in order before any content is copied: new folders, and renames of what was renamed on the
 * Master. A folder comes before what is moved into it, and a moved folder before what is made in it. A batch of renames is
 * flushed and only then recorded.
 */
import { BATCH_FILES, chunk } from '../shared/batches.ts';
import { isInside, isInsideAny, parentOf } from '../shared/paths.ts';
import { isRespelling } from '../shared/renames.ts';
import { type ClockRules, isRacy, keptDoubt, makeRow } from '../shared/rows.ts';
import type { SyncStatistics } from '../shared/statistics.ts';
import { recordedSuffix } from '../shared/stored.ts';
import { statAt } from '../shared/syscalls.ts';
import type { CommitResult, MoveItem } from '../shared/tasks.ts';
import type { WorkerPool } from '../shared/workers.ts';
import type { BaselineRow, FileAction } from './history.ts';
import type { Action } from './reconcile.ts';
import { assertIdentity, type OpenPair } from './session.ts';

/** What a run gives to this step. */
export interface ArrangeHost {
  readonly pool: WorkerPool;
  readonly pair: OpenPair;
  readonly clock: ClockRules;
  readonly control: { readonly cancelled: boolean };
  /** Folders that something was put into, or taken out of. */
  readonly touched: Set<string>;
  readonly statistics: SyncStatistics;
  /** Before anything is written; throws when the drives or the lock are not ours any more. */
  prove(): void;
  /** So many more files are done. */
  done(files: number): void;
  /** A folder that was not there before. */
  madeFolder(path: string): void;
  /** Count and word what could not be done. */
  conflict(path: string, message: string): FileAction;
  fail(path: string, message: string): FileAction;
  /** The baseline's rows at and below a path. */
  rowsAt(path: string): Promise<BaselineRow[]>;
  record(rows: readonly BaselineRow[], removed: readonly string[], notes: readonly FileAction[]): Promise<void>;
}

/** @returns the plan's other actions as they are after this step. */
export async function arrange(actions: readonly Action[], host: ArrangeHost): Promise<Action[]> {
  const folders = actions.filter(({ kind }) => kind === 'mkdir');
  const moves = actions.filter(({ kind }) => kind === 'move');
  const others = actions.filter(({ kind }) => kind !== 'mkdir' && kind !== 'move');
  if (moves.length === 0) {
    await makeFolders(folders, host);
    return others;
  }
  const step = new Arrangement(folders, host);
  await step.carryOut(moves);
  await step.lookAgain(others);
  return step.after(others);
}

// --- internal ---

class Arrangement {
  private readonly host: ArrangeHost;
  private waiting: Action[];
  /** By path: what the Backup says of a moved file. */
  private readonly fresh = new Map<string, string>();
  /** Files that could not be renamed: they are copied. */
  private readonly copies: Action[] = [];
  /** Folders that are not where the plan wants them. */
  private readonly missing = new Set<string>();
  private seq = 0;

  constructor(folders: readonly Action[], host: ArrangeHost) {
    this.host = host;
    this.waiting = [...folders];
  }

  async carryOut(moves: readonly Action[]): Promise<void> {
    const arriving = new Set(moves.filter(({ entry }) => entry === 'd').map(({ path }) => path));
    await this.make((folder) => !isInsideAny(parentOf(folder), arriving));
    let batch: Action[] = [];
    for (const move of moves) {
      const needs = this.waiting.filter(({ path }) => isInside(move.path, path));
      if (needs.length > 0 || batch.length >= BATCH_FILES) {
        await this.move(batch);
        batch = [];
        await this.make((folder) => isInside(move.path, folder));
      }
      batch.push(move);
      // Recorded at once: after a crash, what was renamed in it in its turn could not be found again.
      if (move.entry === 'd') {
        await this.move(batch);
        batch = [];
      }
    }
    await this.move(batch);
    await this.make(() => true);
  }

  /** A folder that something was renamed out of has another time than the plan saw; it is still the one that gives way. */
  async lookAgain(others: readonly Action[]): Promise<void> {
    const giving = others.filter(
      ({ kind, path, backup }) => kind === 'update' && backup?.startsWith('d ') && !this.isMissing(path),
    );
    const paths = giving.map(({ path }) => path);
    const facts = await this.host.pool.run('restat', paths);
    facts.forEach((now, index) => {
      if (now.startsWith('d ')) this.fresh.set(paths[index] as string, now);
    });
  }

  after(others: readonly Action[]): Action[] {
    const left = others
      .filter(({ path }) => !this.isMissing(path))
      .map((action) => {
        const backup = this.fresh.get(action.path);
        return backup === undefined ? action : { ...action, backup };
      });
    return [...this.copies, ...left];
  }

  private isMissing(path: string): boolean {
    return isInsideAny(path, this.missing);
  }

  private async make(now: (path: string) => boolean): Promise<void> {
    const folders = this.waiting.filter(({ path }) => now(path));
    this.waiting = this.waiting.filter(({ path }) => !now(path));
    await makeFolders(
      folders.filter(({ path }) => !this.isMissing(path)),
      this.host,
    );
  }

  private async move(batch: readonly Action[]): Promise<void> {
    const { host } = this;
    const moves = batch.filter(({ path, from }) => !this.isMissing(path) && !this.isMissing(from ?? ''));
    if (moves.length === 0 || host.control.cancelled) {
      for (const { path } of moves) this.missing.add(path);
      return;
    }
    host.prove();
    const startedAt = Date.now();
    const results = await host.pool.run(
      'move',
      moves.map((action) => this.itemOf(action)),
    );
    await host.pool.run('flush');
    await this.recordAll(moves, results, startedAt);
    if (results.some(({ outcome }) => outcome === 'failed')) assertIdentity(host.pair);
  }

  private itemOf({ path, from = '', entry, master, backup, stored = '' }: Action): MoveItem {
    this.seq += 1;
    const facts = { masterFacts: master ?? '', backupFacts: backup ?? '' };
    return { seq: this.seq, path, from, kind: entry, ...facts, stored, respelled: isRespelling(from, path) };
  }

  private async recordAll(moves: readonly Action[], results: readonly CommitResult[], since: number): Promise<void> {
    let pending: { rows: BaselineRow[]; removed: string[]; notes: FileAction[] } = { rows: [], removed: [], notes: [] };
    const write = async (): Promise<void> => {
      const { rows, removed, notes } = pending;
      pending = { rows: [], removed: [], notes: [] };
      await this.host.record(rows, removed, notes);
    };
    for (const [index, { outcome, message, backupFacts }] of results.entries()) {
      const action = moves[index] as Action;
      if (outcome !== 'done') {
        pending.notes.push(...this.notDone(action, outcome, message));
        continue;
      }
      const { path, from = '', entry, size } = action;
      if (message !== '') this.host.statistics.problems.push({ path, message });
      const note: FileAction = { path, action: 'move', size, status: 'done', message: `from ${from}` };
      this.host.statistics.files_moved += action.files ?? 1;
      this.host.done(action.files ?? 1);
      this.touch(path, from, entry === 'd');
      if (entry === 'd') {
        await write();
        const rows = await this.host.rowsAt(from);
        const removed = rows.map((row) => row.path);
        await this.host.record(rowsOfFolder(rows, action, backupFacts), removed, [note]);
      } else {
        pending.notes.push(note);
        this.fresh.set(path, backupFacts);
        pending.rows.push(this.rowOf(action, backupFacts, since));
        pending.removed.push(from);
      }
    }
    await write();
  }

  /** A file is copied instead, unless the Backup is not what the plan saw: that is the next run's to decide. */
  private notDone(action: Action, outcome: CommitResult['outcome'], message: string): FileAction[] {
    const { path, entry, from = '' } = action;
    const lost = this.isMissing(path) || this.isMissing(from);
    this.missing.add(path);
    if (lost || outcome === 'stopped') return [];
    if (outcome === 'conflict') return [this.host.conflict(path, message)];
    if (entry === 'd') return [this.host.fail(path, message)];
    const { size, master } = action;
    const reason = `could not be renamed: ${message}`;
    this.copies.push({ kind: 'copy', path, entry, size, reason, master, backup: null });
    return [];
  }

  private touch(path: string, from: string, folder: boolean): void {
    const { host } = this;
    if (folder) host.touched.add(path);
    host.touched.add(parentOf(path));
    const old = parentOf(from);
    if (old !== parentOf(path) && statAt(host.pair.master.dir, old === '' ? '.' : old)?.kind === 'd')
      host.touched.add(old);
  }

  private rowOf(action: Action, backupFacts: string, since: number): BaselineRow {
    const { path, size, master, checksum = '', checksum_algorithm: algorithm = '', target = '' } = action;
    const facts = master ?? '';
    const doubt = action.entry === 'f' && isRacy(facts, since, this.host.clock) ? 'racy' : '';
    const extras = { checksum, algorithm, target, doubt, stored: action.stored ?? '' } as const;
    return makeRow(path, size, facts, backupFacts, extras);
  }
}

/** Renaming a folder touches nothing in it: what was recorded below it holds under the new names. */
function rowsOfFolder(rows: readonly BaselineRow[], action: Action, backupFacts: string): BaselineRow[] {
  const { path, from = '', master } = action;
  return rows.map((row) => {
    if (row.path === from) return makeRow(path, 0, master ?? '', backupFacts, {});
    const { checksum, checksum_algorithm: algorithm, link_target: target } = row;
    const place = `${path}${row.path.slice(from.length)}`;
    const extras = { checksum, algorithm, target, doubt: keptDoubt(row), stored: recordedSuffix(row) };
    return makeRow(place, row.size, row.master_facts, row.backup_facts, extras);
  });
}

async function makeFolders(actions: readonly Action[], host: ArrangeHost): Promise<void> {
  for (const part of chunk(actions, BATCH_FILES)) {
    if (host.control.cancelled) return;
    host.prove();
    const problems = await host.pool.run(
      'makeFolders',
      part.map(({ path }) => path),
    );
    const failed = new Map(problems.map(({ path, message }) => [path, message]));
    for (const { path, source_path } of part) {
      const message = failed.get(path);
      if (message !== undefined) {
        host.statistics.problems.push({ path, message });
        continue;
      }
      host.madeFolder(path);
      // What is made for a version has no folder beside it to take its times from.
      if (source_path !== undefined) continue;
      host.touched.add(path);
      host.touched.add(parentOf(path));
    }
    if (failed.size > 0) assertIdentity(host.pair);
  }
}
