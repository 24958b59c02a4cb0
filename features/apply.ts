/**
 * Carries a plan out. Folders first, then copies in batches, hard links, metadata, deletions, and folder times last. A
 * batch is written to partials, flushed, put in place, flushed and only then recorded; before each batch both drives
 * prove once more that they are the right ones and that the lock is ours. What fails is reported path by path.
 */
import type { Context } from '../shared/context.ts';
import type { Problem } from '../shared/errors.ts';
import type { Phase, Progress } from '../shared/events.ts';
import { Entry, rowChecks } from '../shared/listing.ts';
import type { DriveLock } from '../shared/lock.ts';
import { depthOf, parentOf } from '../shared/paths.ts';
import { removeTree } from '../shared/recover.ts';
import { statAt } from '../shared/syscalls.ts';
import { type CommitItem, partialFolder, type StageItem, type StageResult } from '../shared/transfer.ts';
import { CANCEL, PAUSE, RUN, STOP, type WorkerPool } from '../shared/workers.ts';
import { type BaselineRow, type Control, type FileAction, readBaseline, recordActions, reportProgress, writeBaseline } from './history.ts';
import { assertIdentity, type OpenPair, type Plan, workerCount, workersOf } from './plan.ts';
import type { Action } from './reconcile.ts';

export interface ApplyTask {
  plan: Plan;
  pair: OpenPair;
  /** The locks held, confirmed before each batch. */
  locks: readonly DriveLock[];
  operationId: number;
  operation: string;
  pairId: number;
  /** Refuse every path whose Master changed since the plan was made (saved plans). */
  strict: boolean;
}

/** Reference name of the result of a sync; `files_moved` belongs to moves. */
export interface SyncStatistics {
  files_copied: number;
  files_skipped: number;
  files_failed: number;
  files_moved: number;
  files_deleted: number;
  bytes_copied: number;
  conflicts_detected: number;
  verified: 'none' | 'cache' | 'device';
  problems: Problem[];
  cancelled: boolean;
}

/**
 * @throws TandemError when the run must stop: a drive is gone (`drive_missing`), is another one (`guard`), or the lock
 * was taken (`locked`). Everything put in place before is recorded.
 */
export async function applyPlan(task: ApplyTask, ctx: Context): Promise<SyncStatistics> {
  const run = new Run(task, ctx);
  try {
    await run.start();
    await run.steps();
    return run.statistics;
  } finally {
    await run.end();
  }
}

// --- internal ---

const SMALL_FILE = 8 * 1024 * 1024;
const GROUP_FILES = 64;
const BATCH = { files: 2000, bytes: 512 * 1024 * 1024, milliseconds: 5000 };
/** Several times the coarsest clock tick of a kernel: times on ns filesystems move in ticks. */
const TICK_NS = 10_000_000;

interface Staged {
  item: StageItem;
  result: StageResult;
  /** Milliseconds since 1970, before the source was opened. */
  startedAt: number;
}

class Run {
  readonly statistics: SyncStatistics;
  private readonly task: ApplyTask;
  private readonly ctx: Context;
  private readonly pool: WorkerPool;
  private readonly lanes: number;
  private readonly touched = new Set<string>();
  private readonly failedLinks: StageItem[] = [];
  private timer: NodeJS.Timeout | undefined;
  private phase: Phase = 'prepare';
  private filesDone = 0;
  private seq = 0;
  private actionSeq = 0;
  private rate = 0;
  private lastBytes = 0;
  private lastTime = Date.now();
  private control: Control = '';
  private reporting = false;

  constructor(task: ApplyTask, ctx: Context) {
    this.task = task;
    this.ctx = ctx;
    const { options, totals, problems, failed } = task.plan;
    this.lanes = workerCount(options);
    this.pool = workersOf(task.pair, task.operation, options);
    this.statistics = {
      files_copied: 0, files_skipped: totals.skipped, files_failed: failed, files_moved: 0, files_deleted: 0,
      bytes_copied: 0, conflicts_detected: totals.conflict, verified: options.verify_checksums === 'checksum' ? 'device' : 'none',
      problems: [...problems], cancelled: false,
    };
  }

  async start(): Promise<void> {
    const stop = (): void => this.setState();
    this.ctx.signal.addEventListener('abort', stop, { once: true });
    this.ctx.hardSignal.addEventListener('abort', stop, { once: true });
    this.timer = setInterval(() => void this.report(), 250);
    await this.recordPlanned();
  }

  async steps(): Promise<void> {
    const { actions } = this.task.plan;
    const of = (...kinds: Action['kind'][]): Action[] => actions.filter(({ kind }) => kinds.includes(kind));
    const copies = of('copy', 'update');
    await this.copy(copies.filter(({ entry }) => entry === 'd'));
    await this.makeFolders(of('mkdir'));
    this.phase = 'copy';
    await this.copy(copies.filter(({ entry, link_to }) => entry !== 'd' && link_to === undefined));
    await this.copy(copies.filter(({ link_to }) => link_to !== undefined));
    await this.copyItems(this.failedLinks.splice(0));
    await this.refreshLinks(copies);
    await this.mirrorMetadata(of('meta').filter(({ entry }) => entry !== 'd'));
    for (const { path } of of('meta').filter(({ entry }) => entry === 'd')) this.touched.add(path);
    this.phase = 'delete';
    await this.remove(of('delete'));
    await this.recordAgreed(of('adopt'), of('forget'));
    this.phase = 'finish';
    await this.finishFolders();
  }

  async end(): Promise<void> {
    clearInterval(this.timer);
    if (this.cancelled) this.statistics.cancelled = true;
    try {
      const { pair, operation } = this.task;
      if (statAt(pair.backup.dir, partialFolder(operation)) !== null) removeTree(pair.backup.dir, partialFolder(operation));
    } catch {
      // A drive that is gone keeps its partials; the next run clears them.
    }
  }

  // --- control and progress ---

  private get cancelled(): boolean {
    return this.ctx.signal.aborted || this.control === 'cancel' || this.control === 'stop';
  }

  private get stopped(): boolean {
    return this.ctx.hardSignal.aborted || this.control === 'stop';
  }

  private setState(): void {
    this.pool.setState(this.stopped ? STOP : this.cancelled ? CANCEL : this.control === 'pause' ? PAUSE : RUN);
  }

  private async report(): Promise<void> {
    if (this.reporting) return;
    this.reporting = true;
    try {
      const progress = this.progress();
      this.ctx.emit({ kind: 'progress', operation_id: this.task.operation, target: this.task.plan.target.name, progress });
      this.control = await reportProgress(this.task.operationId, progress, this.ctx);
      this.setState();
    } catch (error) {
      this.ctx.emit({ kind: 'warning', message: `The progress could not be recorded: ${String(error)}` });
    } finally {
      this.reporting = false;
    }
  }

  private progress(): Progress {
    const { totals } = this.task.plan;
    const bytes = this.pool.bytesMoved;
    const now = Date.now();
    const seconds = Math.max(0.001, (now - this.lastTime) / 1000);
    const momentary = (bytes - this.lastBytes) / seconds;
    this.rate = this.rate === 0 ? momentary : this.rate * 0.85 + momentary * 0.15;
    this.lastBytes = bytes;
    this.lastTime = now;
    const left = totals.bytes - bytes;
    return {
      phase: this.phase,
      files_done: this.filesDone,
      files_total: totals.files + totals.delete,
      files_copied: this.statistics.files_copied,
      files_skipped: this.statistics.files_skipped,
      files_failed: this.statistics.files_failed,
      bytes_done: Math.min(bytes, totals.bytes),
      bytes_total: totals.bytes,
      rate: Math.round(this.rate),
      eta: this.rate > 1 && left > 0 ? Math.round(left / this.rate) : null,
      current: this.pool.holding,
      paused: this.control === 'pause',
    };
  }

  /** Before anything is written: same drives, still our lock. */
  private prove(): void {
    assertIdentity(this.task.pair);
    for (const lock of this.task.locks) lock.confirm();
  }

  private fail(path: string, message: string, size = 0): FileAction {
    this.statistics.files_failed += 1;
    this.statistics.problems.push({ path, message });
    return { path, action: 'copy', size, status: 'failed', message };
  }

  // --- copies ---

  private async copy(actions: readonly Action[]): Promise<void> {
    await this.copyItems(actions.map((action) => this.stageItem(action)));
  }

  private stageItem(action: Action): StageItem {
    this.seq += 1;
    return {
      seq: this.seq,
      path: action.path,
      kind: action.entry,
      size: action.size,
      sparse: action.sparse === true,
      linkTo: action.link_to ?? null,
      masterFacts: this.task.strict ? action.master : null,
      backupFacts: action.backup,
    };
  }

  /** Stages on all workers; commits one batch while the next is being staged. A file that changed is tried once more. */
  private async copyItems(items: readonly StageItem[]): Promise<void> {
    const retry: StageItem[] = [];
    await this.stageAndCommit(items, retry);
    const again: StageItem[] = [];
    await this.stageAndCommit(retry, again);
    await this.note(again.map((item) => this.fail(item.path, 'changed during copy', item.size)));
  }

  private async stageAndCommit(items: readonly StageItem[], retry: StageItem[]): Promise<void> {
    const groups = groupItems(items);
    const batches = new Batches((batch) => this.commit(batch, retry));
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < groups.length && !this.cancelled) {
        const group = groups[next] as StageItem[];
        next += 1;
        const startedAt = Date.now();
        const results = await this.pool.run('stage', group);
        await this.sortStaged(group, results, startedAt, batches);
        await batches.turn();
      }
    };
    const outcomes = await Promise.allSettled(Array.from({ length: this.lanes }, lane));
    if (!this.stopped) await batches.finish();
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }

  private async sortStaged(group: readonly StageItem[], results: readonly StageResult[], startedAt: number, batches: Batches): Promise<void> {
    const failed: FileAction[] = [];
    results.forEach((result, index) => {
      const item = group[index] as StageItem;
      if (result.outcome === 'done') batches.add({ item, result, startedAt });
      else if (result.outcome !== 'stopped') failed.push(this.fail(item.path, result.message, item.size));
    });
    if (failed.length === 0) return;
    // A pulled drive fails file by file: then the run ends here instead of listing them all.
    assertIdentity(this.task.pair);
    await this.note(failed);
  }

  private async commit(batch: readonly Staged[], retry: StageItem[]): Promise<void> {
    if (batch.length === 0) return;
    this.prove();
    const good = await this.verifyStaged(batch);
    await this.pool.run('flush');
    const chunks = chunk(good, 128);
    const results = (await Promise.all(chunks.map((part) => this.pool.run('commit', part.map(commitItem))))).flat();
    await this.pool.run('flush');
    const rows: BaselineRow[] = [];
    const actions: FileAction[] = [];
    results.forEach((committed, index) => {
      const staged = good[index] as Staged;
      const { path, size, linkTo } = staged.item;
      if (committed.outcome === 'done') {
        rows.push(this.rowOf(staged, committed.backupFacts));
        actions.push({ path, action: staged.item.backupFacts === null ? 'copy' : 'update', size, status: 'done' });
        this.placed(staged);
      } else if (committed.outcome === 'changed') retry.push(staged.item);
      else if (committed.outcome === 'conflict') actions.push(this.lateConflict(path, committed.message));
      else if (linkTo !== null) this.failedLinks.push({ ...staged.item, linkTo: null });
      else actions.push(this.fail(path, committed.message, size));
    });
    await this.record(rows, [], actions);
    if (results.some(({ outcome }) => outcome === 'failed')) assertIdentity(this.task.pair);
  }

  /** Each further name changes the ctime of the file, and so what is recorded under its other names. */
  private async refreshLinks(copies: readonly Action[]): Promise<void> {
    const linked = copies.filter(({ link_to }) => link_to !== undefined);
    const firstNames = new Map(linked.map(({ path, link_to }) => [path, link_to]));
    const paths = [...new Set(linked.flatMap(({ path, link_to }) => [link_to ?? path, path]))];
    for (const part of chunk(paths, BATCH.files)) {
      const facts = await this.pool.run('restat', part);
      const rows: BaselineRow[] = [];
      for (const [index, path] of part.entries()) {
        const known = (await readBaseline(this.task.pairId, path, this.ctx))[0];
        const now = facts[index] ?? '';
        if (!known || now === '') continue;
        const first = firstNames.get(path);
        const original = first === undefined || known.checksum !== '' ? known : (await readBaseline(this.task.pairId, first, this.ctx))[0];
        rows.push(row(path, known.size, known.master_facts, now, { checksum: original?.checksum ?? '', algorithm: original?.checksum_algorithm ?? '' }));
      }
      await this.record(rows, [], []);
    }
  }

  private placed({ item, result }: Staged): void {
    if (item.kind === 'd') this.touched.add(item.path);
    else {
      this.statistics.files_copied += 1;
      this.statistics.bytes_copied += result.bytes;
      this.filesDone += 1;
    }
    this.touched.add(parentOf(item.path));
  }

  private lateConflict(path: string, message: string): FileAction {
    this.statistics.conflicts_detected += 1;
    this.statistics.problems.push({ path, message });
    return { path, action: 'conflict', size: 0, status: 'conflict', message };
  }

  /** Compares what was written with what was read, before any of it takes a name. */
  private async verifyStaged(batch: readonly Staged[]): Promise<readonly Staged[]> {
    const level = this.task.plan.options.verify_checksums;
    const files = batch.filter(({ item }) => item.kind === 'f' && item.linkTo === null);
    if (level !== 'checksum' || files.length === 0) return batch;
    await this.pool.run('flush');
    const direct = !this.task.pair.backupDrive.network && !/fuse/.test(this.task.pair.backupDrive.filesystem);
    const bad = new Set<number>();
    for (const part of await Promise.all(
      chunk(files, 64).map((some) => this.pool.run('verify', some.map(({ result }) => ({ seq: result.seq, checksum: result.checksum })), direct)),
    )) {
      for (const seq of part.failed) bad.add(seq);
      if (part.level === 'cache') this.statistics.verified = 'cache';
    }
    const failed = batch.filter(({ item }) => bad.has(item.seq)).map(({ item }) => this.fail(item.path, 'what was read back from the Backup differs from what was written', item.size));
    await this.note(failed);
    return batch.filter(({ item }) => !bad.has(item.seq));
  }

  private rowOf({ item, result, startedAt }: Staged, backupFacts: string): BaselineRow {
    const { options } = this.task.plan;
    const linked = item.linkTo !== null;
    const granule = Math.max(this.task.pair.masterTraits.mtime_granularity_ns, TICK_NS);
    const racy = item.kind === 'f' && new Entry(result.masterFacts, item.path).mtime >= BigInt(startedAt) * 1_000_000n - BigInt(2 * granule);
    return row(item.path, item.kind === 'f' ? item.size : 0, result.masterFacts, backupFacts, {
      checksum: result.checksum,
      algorithm: linked || result.checksum === '' ? '' : options.checksum_algorithm,
      target: result.target,
      doubt: racy ? 'racy' : '',
    });
  }

  // --- folders, metadata, deletions ---

  private async makeFolders(actions: readonly Action[]): Promise<void> {
    for (const part of chunk(actions, BATCH.files)) {
      if (this.cancelled) return;
      this.prove();
      const problems = await this.pool.run('makeFolders', part.map(({ path }) => path));
      const failed = new Map(problems.map(({ path, message }) => [path, message]));
      for (const { path } of part) {
        const message = failed.get(path);
        if (message !== undefined) this.statistics.problems.push({ path, message });
        else {
          this.touched.add(path);
          this.touched.add(parentOf(path));
        }
      }
      if (failed.size > 0) assertIdentity(this.task.pair);
    }
  }

  private async mirrorMetadata(actions: readonly Action[]): Promise<void> {
    for (const part of chunk(actions, BATCH.files)) {
      if (this.cancelled) return;
      this.prove();
      const results = await this.pool.run('copyMetadata', part.map(({ path, entry, master, backup }) => ({ path, kind: entry, masterFacts: master ?? '', backupFacts: backup ?? '' })));
      await this.pool.run('flush');
      const rows: BaselineRow[] = [];
      const notes: FileAction[] = [];
      results.forEach(({ outcome, message, backupFacts }, index) => {
        const action = part[index] as Action;
        if (outcome === 'done') {
          rows.push(agreedRow(action, backupFacts));
          notes.push({ path: action.path, action: 'meta', size: action.size, status: 'done' });
        } else if (outcome === 'conflict') notes.push(this.lateConflict(action.path, message));
        else notes.push({ ...this.fail(action.path, message), action: 'meta' });
      });
      await this.record(rows, [], notes);
    }
  }

  /** Children before parents, one group after the other: a folder can go only when it is empty. */
  private async remove(actions: readonly Action[]): Promise<void> {
    const deepestFirst = actions.toReversed();
    for (const part of chunk(deepestFirst, BATCH.files)) {
      if (this.cancelled) return;
      this.prove();
      const results = await this.pool.run('remove', part.map(({ path, entry, backup }) => ({ path, kind: entry, backupFacts: backup ?? '' })));
      await this.pool.run('flush');
      const gone: string[] = [];
      const notes: FileAction[] = [];
      results.forEach(({ path, outcome, message }, index) => {
        const { entry, backup } = part[index] as Action;
        if (outcome === 'done') {
          gone.push(path);
          this.touched.delete(path);
          this.touched.add(parentOf(path));
          if (entry !== 'd') {
            this.statistics.files_deleted += 1;
            this.filesDone += 1;
          }
          notes.push({ path, action: 'delete', size: new Entry(backup ?? '', path).size, status: 'done' });
        } else if (outcome === 'conflict') notes.push(this.lateConflict(path, message));
        else if (outcome === 'failed') notes.push({ ...this.fail(path, message), action: 'delete' });
        else if (outcome === 'changed') this.statistics.problems.push({ path, message });
      });
      await this.record([], gone, notes);
    }
  }

  private async recordAgreed(adopted: readonly Action[], forgotten: readonly Action[]): Promise<void> {
    for (const { entry, path } of adopted) if (entry === 'd') this.touched.add(path);
    const rows = adopted.filter(({ entry }) => entry !== 'd').map((action) => agreedRow(action, action.backup ?? ''));
    const notes = rows.map(({ path, size }): FileAction => ({ path, action: 'adopt', size, status: 'done' }));
    for (const part of chunk(rows, BATCH.files)) await this.record(part, [], []);
    await this.record([], forgotten.map(({ path }) => path), notes);
  }

  /** Deepest first, because setting a folder's times is undone by any change in it. */
  private async finishFolders(): Promise<void> {
    this.touched.delete('');
    const paths = [...this.touched].sort((a, b) => depthOf(b) - depthOf(a));
    if (paths.length === 0) return;
    this.prove();
    const rows: BaselineRow[] = [];
    for (const part of chunk(paths, BATCH.files)) {
      for (const { path, masterFacts, backupFacts, message } of await this.pool.run('finishFolders', part)) {
        if (message === '') rows.push(row(path, 0, masterFacts, backupFacts, {}));
        else this.statistics.problems.push({ path, message });
      }
    }
    await this.pool.run('flush');
    await this.record(rows, [], []);
  }

  // --- records ---

  /** Conflicts and impossible paths are part of the operation's record from the start. */
  private async recordPlanned(): Promise<void> {
    const { actions, problems } = this.task.plan;
    const conflicts = actions
      .filter(({ kind }) => kind === 'conflict')
      .map(({ path, size, reason, conflict_type }): FileAction => ({ path, action: 'conflict', size, status: 'conflict', message: `${conflict_type}: ${reason}` }));
    await this.note([...conflicts, ...problems.map(({ path, message }): FileAction => ({ path, action: 'problem', size: 0, status: 'failed', message }))]);
  }

  private async note(actions: readonly FileAction[]): Promise<void> {
    await this.record([], [], actions);
  }

  private async record(rows: readonly BaselineRow[], removed: readonly string[], actions: readonly FileAction[]): Promise<void> {
    const { pairId, plan, operationId } = this.task;
    if (rows.length > 0 || removed.length > 0) await writeBaseline(pairId, plan.target.group_id, 'sync', rows, removed, this.ctx);
    if (actions.length === 0) return;
    const first = this.actionSeq;
    this.actionSeq += actions.length;
    await recordActions(operationId, first, actions, this.ctx);
  }
}

/** Staged files gather here; a full batch is committed while others are being staged, at most one ahead. */
class Batches {
  private open: Staged[] = [];
  private bytes = 0;
  private since = Date.now();
  private running: Promise<void> = Promise.resolve();
  private waiting = 0;
  private readonly commit: (batch: readonly Staged[]) => Promise<void>;

  constructor(commit: (batch: readonly Staged[]) => Promise<void>) {
    this.commit = commit;
  }

  add(staged: Staged): void {
    this.open.push(staged);
    this.bytes += staged.result.bytes;
  }

  /** Starts a commit when the batch is full; waits while two are under way. */
  async turn(): Promise<void> {
    const full = this.open.length >= BATCH.files || this.bytes >= BATCH.bytes || Date.now() - this.since >= BATCH.milliseconds;
    if (full) this.begin();
    if (this.waiting > 1) await this.running;
  }

  async finish(): Promise<void> {
    this.begin();
    await this.running;
  }

  private begin(): void {
    const batch = this.open;
    this.open = [];
    this.bytes = 0;
    this.since = Date.now();
    this.waiting += 1;
    this.running = this.running.then(() => this.commit(batch)).finally(() => {
      this.waiting -= 1;
    });
    this.running.catch(() => {});
  }
}

/** Small files travel in groups, large ones alone. */
function groupItems(items: readonly StageItem[]): StageItem[][] {
  const groups: StageItem[][] = [];
  let group: StageItem[] = [];
  let bytes = 0;
  for (const item of items) {
    if (item.size >= SMALL_FILE) {
      groups.push([item]);
      continue;
    }
    if (group.length >= GROUP_FILES || bytes + item.size > SMALL_FILE) {
      groups.push(group);
      group = [];
      bytes = 0;
    }
    group.push(item);
    bytes += item.size;
  }
  if (group.length > 0) groups.push(group);
  return groups;
}

function chunk<T>(items: readonly T[], size: number): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < items.length; at += size) parts.push(items.slice(at, at + size));
  return parts;
}

function commitItem({ item, result }: Staged): CommitItem {
  return { ...item, stagedFacts: result.masterFacts };
}

interface RowExtras {
  checksum?: string;
  algorithm?: string;
  target?: string;
  doubt?: '' | 'racy';
}

function row(path: string, size: number, masterFacts: string, backupFacts: string, extras: RowExtras): BaselineRow {
  const { a, b } = rowChecks(path, extras.target ?? '', masterFacts, backupFacts);
  return {
    path,
    size,
    checksum: extras.checksum ?? '',
    checksum_algorithm: extras.algorithm ?? '',
    master_facts: masterFacts,
    backup_facts: backupFacts,
    link_target: extras.target ?? '',
    stored_name: '',
    doubt: extras.doubt ?? '',
    check_a: a,
    check_b: b,
  };
}

/** A path whose content agrees on both sides already. */
function agreedRow(action: Action, backupFacts: string): BaselineRow {
  return row(action.path, action.size, action.master ?? '', backupFacts, {
    checksum: action.checksum ?? '',
    algorithm: action.checksum_algorithm ?? '',
    target: action.target ?? '',
  });
}

