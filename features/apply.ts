/**
 * Carries a plan out. Folders first, then renames, copies in batches, hard links, metadata, deletions, and folder times
 * last. A batch is written to partials, flushed, put in place, flushed and only then recorded; before each batch both
 * drives prove once more that they are the right ones and that the lock is ours. What fails is reported path by path.
 */
import { BATCH_FILES, Batches, chunk, GROUP_FILES, groupBySize } from '../shared/batches.ts';
import { SHORT } from '../shared/bulk-transfer.ts';
import type { Context } from '../shared/context.ts';
import type { Phase } from '../shared/events.ts';
import type { InboxEntry } from '../shared/inbox.ts';
import { inLanes, type Lanes } from '../shared/lanes.ts';
import { Entry, sameInode } from '../shared/listing.ts';
import type { DriveLock } from '../shared/lock.ts';
import type { ChangeLog } from '../shared/manifest.ts';
import { readsPastCache } from '../shared/past-cache.ts';
import { parentOf } from '../shared/paths.ts';
import { clearPartials } from '../shared/recover.ts';
import { dropWaiting, RESUMABLE } from '../shared/resume.ts';
import { type ClockRules, isRacy, keptDoubt } from '../shared/rows.ts';
import { addSavings } from '../shared/space.ts';
import type { SyncStatistics } from '../shared/statistics.ts';
import { formOf, recordedSuffix } from '../shared/stored.ts';
import type { CommitItem, Outcome, StageItem, StageResult } from '../shared/tasks.ts';
import type { WorkerPool } from '../shared/workers.ts';
import { type ArrangeHost, arrange } from './arrange.ts';
import { type BulkHost, copyNewFiles } from './bulk.ts';
import { inRounds } from './colliding.ts';
import { type Counts, RunControl } from './control.ts';
import { Finish, type FinishHost } from './finish.ts';
import { type BaselineRow, type FileAction, readBaseline } from './history.ts';
import { Placing } from './placing.ts';
import type { Plan } from './plan.ts';
import { shareQueue } from './queue.ts';
import type { Action } from './reconcile.ts';
import { RunRecord } from './record.ts';
import { assertIdentity, lanesOf, masterClock, type OpenPair, recordedAlgorithm, workersOf } from './session.ts';

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
  /** Counted up while the run goes on, so that they are right also when it throws. */
  statistics: SyncStatistics;
  /** False: what is copied is no agreement of both sides, so the baseline stays as it is. */
  agrees: boolean;
  /** Number of the next action in the operation's journal. */
  firstSeq: number;
  /** What becomes of the drive that is written to. */
  changes: ChangeLog;
}

/**
 * @throws TandemError when the run must stop: a drive is gone (`drive_missing`), is another one (`guard`), or the lock
 * was taken (`locked`). Everything put in place before is recorded.
 * @returns number of the next action in the operation's journal, and the conflicts that only showed now.
 */
export async function applyPlan(task: ApplyTask, ctx: Context): Promise<{ nextSeq: number; late: InboxEntry[] }> {
  const run = new Run(task, ctx);
  try {
    await run.start();
    await run.steps();
    return { nextSeq: run.record.nextSeq, late: run.record.late };
  } finally {
    await run.end();
  }
}

// --- internal ---

interface Staged {
  item: StageItem;
  result: StageResult;
  /** Milliseconds since 1970, before the source was opened. */
  startedAt: number;
}

class Run {
  private readonly statistics: SyncStatistics;
  private readonly task: ApplyTask;
  private readonly ctx: Context;
  private readonly pool: WorkerPool;
  private readonly lanes: Lanes;
  private readonly touched = new Set<string>();
  /** Folders that gave way to something else: only then are the records below them forgotten. */
  private readonly gone = new Set<string>();
  /** What they take the place of could not go. */
  private readonly halfway = new Set<string>();
  private readonly failedLinks: StageItem[] = [];
  /** New files that changed while they were copied. */
  private readonly changed: Action[] = [];
  private readonly clock: ClockRules;
  /** First names of files that get further names in this run. */
  private readonly linkTargets: ReadonlySet<string>;
  /** Records, made or used in this run, of files with several names. */
  private readonly linked = new Map<string, BaselineRow>();
  /** By the number of its item: what is being copied. */
  private readonly subjects = new Map<number, Action>();
  private readonly place: Placing;
  private phase: Phase = 'prepare';
  private filesDone = 0;
  private seq = 0;
  readonly record: RunRecord;
  private readonly control: RunControl;
  private hideQueue = (): void => {};

  constructor(task: ApplyTask, ctx: Context) {
    this.task = task;
    this.ctx = ctx;
    const { options } = task.plan;
    this.lanes = lanesOf(task.pair, options);
    this.pool = workersOf(task.pair, task.operation, options);
    this.control = new RunControl(
      { operationId: task.operationId, operation: task.operation, target: task.plan.target.name },
      this.pool,
      () => this.counts(),
      ctx,
      options,
    );
    this.linkTargets = new Set(task.plan.actions.flatMap(({ link_to }) => link_to ?? []));
    this.statistics = task.statistics;
    this.clock = masterClock(task.pair);
    this.record = new RunRecord(task, ctx);
    this.place = new Placing(task.pair, options);
  }

  async start(): Promise<void> {
    this.control.begin();
    this.hideQueue = shareQueue(this.task.operation, this.task.plan.actions, this.ctx);
    if (this.task.plan.target.subpath === '') this.dropWaiting();
    await this.recordPlanned();
  }

  /** Parts of large files that this run does not copy are of no use any more. */
  private dropWaiting(): void {
    const copies = this.task.plan.actions.filter(({ kind, size }) => size > RESUMABLE && kind !== 'delete');
    dropWaiting(this.task.pair.backup.dir, new Set(copies.map(({ path }) => path)));
  }

  async steps(): Promise<void> {
    const all = this.task.plan.actions;
    const isFolder = ({ kind, entry }: Action): boolean => entry === 'd' && (kind === 'copy' || kind === 'update');
    await this.copy(all.filter(isFolder));
    const actions = await arrange(
      all.filter((action) => !isFolder(action)),
      this.arrangeHost(),
    );
    const of = (...kinds: Action['kind'][]): Action[] => actions.filter(({ kind }) => kinds.includes(kind));
    const copies = of('copy', 'update', 'convert');
    this.phase = 'copy';
    const files = copies.filter(({ link_to }) => link_to === undefined);
    const [first = [], ...later] = inRounds(files, (action) => this.place.of(action).path);
    await this.copyNew(first.filter((action) => this.isPlainNew(action)));
    await this.copy([...first.filter((action) => !this.isPlainNew(action)), ...this.changed]);
    for (const round of later) await this.copy(round);
    await this.copyLinks(copies.filter(({ link_to }) => link_to !== undefined));
    const finish = new Finish(this.finishHost());
    await finish.mirrorMetadata(of('meta').filter(({ entry }) => entry !== 'd'));
    for (const { path } of of('meta').filter(({ entry }) => entry === 'd')) this.touched.add(path);
    this.phase = 'delete';
    await finish.remove(of('delete'));
    await this.refreshLinks();
    await finish.recordAgreed(of('adopt'), of('forget'));
    this.phase = 'finish';
    await finish.finishFolders();
  }

  async end(): Promise<void> {
    this.control.end();
    this.hideQueue();
    if (this.control.cancelled) this.statistics.cancelled = true;
    try {
      clearPartials(this.task.pair.backup.dir, this.task.operation);
    } catch {
      // A drive that is gone keeps its partials; the next run clears them.
    }
  }

  private counts(): Counts {
    const { totals } = this.task.plan;
    const { files_copied, files_skipped, files_failed } = this.statistics;
    return {
      phase: this.phase,
      files_done: this.filesDone,
      files_total: totals.move + totals.files + totals.delete,
      files_copied,
      files_skipped,
      files_failed,
      bytes_total: totals.bytes,
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

  /** A file that nothing on the Backup stands in the way of, and no other name of it will refer to. */
  private isPlainNew({ kind, entry, backup, path, source_path, stored, occupied, leftover }: Action): boolean {
    const { strict, plan } = this.task;
    if (leftover) return false;
    if (strict || !this.task.agrees || plan.options.verify_checksums === 'checksum') return false;
    if (stored || occupied || this.place.encodes(path) !== this.place.encode) return false;
    return (
      kind === 'copy' && entry === 'f' && backup === null && source_path === undefined && !this.linkTargets.has(path)
    );
  }

  private async copyNew(actions: readonly Action[]): Promise<void> {
    const first = this.seq + 1;
    this.seq += actions.length;
    await copyNewFiles(actions, first, this.bulkHost());
  }

  private bulkHost(): BulkHost {
    return {
      pool: this.pool,
      lanes: this.lanes,
      encode: this.place.encode,
      control: this.control,
      prove: () => this.prove(),
      staged: (files) => {
        this.filesDone += files;
      },
      setAside: (others) => this.setAside(others),
      placed: async (files, bytes, written, folders, rows) => {
        this.count(files, bytes, this.place.encode === '' ? null : written);
        for (const folder of folders) this.touched.add(folder);
        await this.record.copied(files, rows);
      },
    };
  }

  /** A changed file is tried once more with all others. */
  private async setAside(others: readonly { action: Action; outcome: Outcome; message: string }[]): Promise<void> {
    const notes: FileAction[] = [];
    for (const { action, outcome, message } of others) {
      if (outcome === 'changed') this.changed.push(action);
      else if (outcome === 'conflict') notes.push(this.lateConflict(action.path, message));
      else if (outcome !== 'stopped') notes.push(this.fail(action.path, message, action.size));
    }
    // A pulled drive fails file by file: then the run ends here instead of listing them all.
    if (others.some(({ outcome }) => outcome === 'failed')) assertIdentity(this.task.pair);
    await this.record.note(notes);
  }

  /**
   * Stages on all workers; commits one batch while the next is being staged. A file that changed is tried once more, a
   * hard link that could not be made is copied.
   */
  private async copy(actions: readonly Action[]): Promise<void> {
    await this.copyItems(actions, (action) => this.stageItem(action));
  }

  private async copyItems<T extends { size: number }>(
    work: readonly T[],
    toItem: (one: T) => StageItem,
  ): Promise<void> {
    const retry: StageItem[] = [];
    await this.stageAndCommit(work, toItem, retry);
    const again: StageItem[] = [];
    const copies = this.failedLinks.splice(0).map((item) => this.asCopy(item));
    await this.stageAndCommit([...retry, ...copies], (item) => item, again);
    await this.record.note(again.map((item) => this.fail(this.pathOf(item), 'changed during copy', item.size)));
  }

  private asCopy({ linkFacts: _, ...item }: StageItem): StageItem {
    return { ...item, ...this.place.of(this.subjectOf(item)), linkTo: null };
  }

  private subjectOf({ seq }: Pick<StageItem, 'seq'>): Action {
    return this.subjects.get(seq) as Action;
  }

  private pathOf(item: Pick<StageItem, 'seq'>): string {
    return this.subjectOf(item).path;
  }

  /** Further names of files, once the first name is in place and recorded. */
  private async copyLinks(actions: readonly Action[]): Promise<void> {
    const items: StageItem[] = [];
    for (const action of actions) {
      const item = this.stageItem(action);
      const first = item.linkTo ?? '';
      const known = this.linked.get(first) ?? (await readBaseline(this.task.pairId, first, this.ctx))[0];
      if (action.kind === 'convert' && known && recordedSuffix(known) === (action.stored ?? '')) {
        // They are one file still.
        await this.record.note([this.fail(action.path, 'stays as it is stored, as its other name does', action.size)]);
      } else if (known?.path === first) {
        this.linked.set(first, known);
        const sides = this.record.sides(known);
        const linked = this.place.link(item, { path: action.path, first: known });
        items.push({ ...linked, linkFacts: { master: sides.source, backup: sides.target } });
      } else items.push({ ...item, linkTo: null });
    }
    await this.copyItems(items, (item) => item);
  }

  private stageItem(action: Action): StageItem {
    this.seq += 1;
    this.subjects.set(this.seq, action);
    return {
      seq: this.seq,
      kind: action.entry,
      size: action.size,
      linkTo: action.link_to ?? null,
      masterFacts: this.task.strict || action.kind === 'convert' ? action.master : null,
      ...this.place.of(action),
    };
  }

  private async stageAndCommit<T extends { size: number }>(
    work: readonly T[],
    toItem: (one: T) => StageItem,
    retry: StageItem[],
  ): Promise<void> {
    const groups = groupBySize(work).map((items) => ({ items }));
    const batches = new Batches<Staged>((batch) => this.commit(batch, retry));
    const stage = async ({ items }: { items: readonly T[] }): Promise<void> => {
      const group = items.map(toItem);
      const startedAt = Date.now();
      await this.sortStaged(group, await this.pool.run('stage', group), startedAt, batches);
      await batches.turn();
    };
    const { pool, control, lanes } = this;
    const outcomes = await inLanes(
      groups,
      lanes,
      (count) => pool.grow(count),
      stage,
      () => control.cancelled,
    );
    if (!this.control.stopped) await batches.finish();
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }

  private async sortStaged(
    group: readonly StageItem[],
    results: readonly StageResult[],
    startedAt: number,
    batches: Batches<Staged>,
  ): Promise<void> {
    const failed: FileAction[] = [];
    results.forEach((result, index) => {
      const item = group[index] as StageItem;
      if (result.outcome === 'done') {
        batches.add({ item, result, startedAt }, result.bytes);
        this.filesDone += 1;
      } else if (result.outcome === 'stopped') return;
      else if (item.linkTo !== null) this.failedLinks.push(item);
      else failed.push(this.fail(this.pathOf(item), result.message, item.size));
    });
    if (failed.length === 0) return;
    // A pulled drive fails file by file: then the run ends here instead of listing them all.
    assertIdentity(this.task.pair);
    await this.record.note(failed);
  }

  private async commit(batch: readonly Staged[], retry: StageItem[]): Promise<void> {
    if (batch.length === 0) return;
    this.prove();
    const good = await this.verifyStaged(batch);
    await this.pool.run('flush');
    const parts = chunk(good.map(commitItem), GROUP_FILES);
    const results = (await Promise.all(parts.map((part) => this.pool.run('commit', part)))).flat();
    await this.pool.run('flush');
    const stays = await this.retire(good.filter((_, index) => results[index]?.outcome === 'done'));
    const rows: BaselineRow[] = [];
    const actions: FileAction[] = [];
    results.forEach((committed, index) => {
      const staged = good[index] as Staged;
      const { size, linkTo } = staged.item;
      const subject = this.subjectOf(staged.item);
      const { path } = subject;
      const old = stays.get(staged.item.retire?.path ?? '');
      if (committed.outcome === 'done' && isShort(staged, committed.backupFacts)) {
        actions.push(this.fail(path, SHORT, size));
      } else if (committed.outcome === 'done' && old !== undefined) {
        // Still recorded as it stood before: the next run takes it from there.
        this.halfway.add(path);
        actions.push(this.fail(path, old, size));
      } else if (committed.outcome === 'done') {
        const recorded = this.rowOf(staged, committed.backupFacts);
        if (subject.source_path === undefined) rows.push(recorded);
        if (linkTo !== null || this.linkTargets.has(path)) this.linked.set(path, recorded);
        actions.push({ path, action: doneTo(subject), size, status: 'done' });
        this.placed(staged);
        this.subjects.delete(staged.item.seq);
      } else if (committed.outcome === 'changed') {
        retry.push(staged.item);
        this.filesDone -= 1;
      } else if (committed.outcome === 'conflict') actions.push(this.lateConflict(path, committed.message));
      else if (linkTo !== null) this.failedLinks.push(staged.item);
      else actions.push(this.fail(path, committed.message, size));
    });
    await this.record.write(rows, [], actions);
    if (this.statistics.verified === 'device') await this.record.readBack(rows);
    if (results.some(({ outcome }) => outcome === 'failed')) assertIdentity(this.task.pair);
  }

  /** What was stored in another form goes once its new form is on the medium. Returns what stayed, with the reason. */
  private async retire(placed: readonly Staged[]): Promise<ReadonlyMap<string, string>> {
    const items = placed.flatMap(({ item: { retire, leftover } }) => [retire ?? [], leftover ?? []].flat());
    if (items.length === 0) return new Map();
    this.prove();
    const results = await this.pool.run('retire', items);
    await this.pool.run('flush');
    return new Map(results.flatMap(({ path, message }) => (message === '' ? [] : [[path, message]])));
  }

  /** Whatever is done to one name of a file changes the ctime that is recorded under its other names. */
  private async refreshLinks(): Promise<void> {
    for (const part of chunk([...this.linked.values()], BATCH_FILES)) {
      const facts = await this.pool.run(
        'restat',
        part.map((known) => this.place.stands(known)),
      );
      const rows = part.flatMap((known, index): BaselineRow[] => {
        const now = facts[index] ?? '';
        const { source, target } = this.record.sides(known);
        if (now === target || !sameInode(now, target)) return [];
        const { checksum, checksum_algorithm: algorithm, size, path } = known;
        const stored = recordedSuffix(known);
        return [this.record.row(path, size, source, now, { checksum, algorithm, doubt: keptDoubt(known), stored })];
      });
      await this.record.write(rows, [], []);
    }
  }

  private placed({ item, result }: Staged): void {
    const { path, source_path, backup } = this.subjectOf(item);
    if (item.kind === 'd') this.touched.add(path);
    else {
      this.count(1, result.bytes, item.encode === undefined || item.linkTo !== null ? null : result.written);
    }
    if (backup?.startsWith('d ')) this.gone.add(path);
    if (source_path === undefined) this.touched.add(parentOf(path));
  }

  /** @param written bytes that they take up; null: they are not stored in a form of their own. */
  private count(files: number, bytes: number, written: number | null): void {
    const { statistics, task } = this;
    statistics.files_copied += files;
    statistics.bytes_copied += bytes;
    if (written === null || files === 0 || !task.plan.options.calculate_space_savings) return;
    if (formOf(this.place.encode).compression === null) return;
    const more = { original_size: bytes, compressed_size: written, files_processed: files };
    statistics.space_savings = addSavings([statistics.space_savings, more]);
  }

  private lateConflict(path: string, message: string): FileAction {
    this.statistics.conflicts_detected += 1;
    this.statistics.problems.push({ path, message });
    if (!this.task.pair.reversed) this.record.lateConflict(path, message);
    return { path, action: 'conflict', size: 0, status: 'conflict', message };
  }

  /** Compares what was written with what was read, before any of it takes a name. */
  private async verifyStaged(batch: readonly Staged[]): Promise<readonly Staged[]> {
    const level = this.task.plan.options.verify_checksums;
    const wanted = ({ item }: Staged): boolean => level === 'checksum' || this.subjectOf(item).kind === 'convert';
    const files = batch.filter((one) => one.item.kind === 'f' && one.item.linkTo === null && wanted(one));
    if (files.length === 0) return batch;
    await this.pool.run('flush');
    const direct = await readsPastCache(this.task.pair.backup, this.task.pair.backupDrive, this.ctx);
    const bad = new Set<number>();
    for (const part of await Promise.all(
      chunk(files, 64).map((some) =>
        this.pool.run(
          'verify',
          some.map(({ item, result: { seq, checksum } }) => ({ seq, checksum, stored: item.encode ?? '' })),
          direct,
        ),
      ),
    )) {
      for (const seq of part.failed) bad.add(seq);
      if (part.level === 'cache' && level === 'checksum') this.statistics.verified = 'cache';
    }
    const failed = batch
      .filter(({ item }) => bad.has(item.seq))
      .map(({ item }) =>
        this.fail(this.pathOf(item), 'what was read back from the drive differs from what was written', item.size),
      );
    await this.record.note(failed);
    return batch.filter(({ item }) => !bad.has(item.seq));
  }

  private rowOf({ item, result, startedAt }: Staged, backupFacts: string): BaselineRow {
    const subject = this.subjectOf(item);
    const { path } = subject;
    const original = item.linkTo === null ? undefined : this.linked.get(subject.link_to ?? '');
    const checksum = original?.checksum ?? result.checksum;
    const algorithm = original?.checksum_algorithm ?? recordedAlgorithm(this.task.pair, this.task.plan.options);
    const size = item.kind === 'f' ? (original?.size ?? result.bytes) : 0;
    return this.record.row(path, size, result.masterFacts, backupFacts, {
      checksum,
      algorithm: checksum === '' ? '' : algorithm,
      target: result.target,
      stored: this.place.left(item, subject, original),
      doubt: original?.doubt === 'racy' ? 'racy' : this.doubt(item.kind, result.masterFacts, startedAt),
    });
  }

  private doubt(entry: Action['entry'], masterFacts: string, lookedAt: number): '' | 'racy' {
    return entry === 'f' && isRacy(masterFacts, lookedAt, this.clock) ? 'racy' : '';
  }

  // --- folders, metadata, deletions ---

  private finishHost(): FinishHost {
    const { pool, place, record, clock, control, statistics, touched, gone, halfway, linked } = this;
    return {
      plan: this.task.plan,
      ...{ pool, place, record, clock, control, statistics, touched, gone, halfway, linked },
      prove: () => this.prove(),
      done: (files) => {
        this.filesDone += files;
      },
      conflict: (path, message) => this.lateConflict(path, message),
      fail: (path, message) => this.fail(path, message),
    };
  }

  private arrangeHost(): ArrangeHost {
    const { pool, clock, control, touched, statistics, task, ctx } = this;
    const place = { pool, clock, control, touched, statistics, pair: task.pair };
    return {
      ...place,
      prove: () => this.prove(),
      done: (files) => {
        this.filesDone += files;
      },
      madeFolder: (path) => task.changes.madeFolder(path),
      conflict: (path, message) => this.lateConflict(path, message),
      fail: (path, message) => ({ ...this.fail(path, message), action: 'move' }),
      rowsAt: (path) => readBaseline(task.pairId, path, ctx),
      record: (rows, removed, notes) => this.record.write(rows, removed, notes),
    };
  }

  // --- records ---

  /** Conflicts and impossible paths are part of the operation's record from the start. */
  private async recordPlanned(): Promise<void> {
    const { actions, problems } = this.task.plan;
    const conflicts = actions.filter(({ kind }) => kind === 'conflict');
    await this.record.note([
      ...conflicts.map(({ path, size, reason, conflict_type }): FileAction => {
        return { path, action: 'conflict', size, status: 'conflict', message: `${conflict_type}: ${reason}` };
      }),
      ...problems.map(({ path, message }): FileAction => {
        return { path, action: 'problem', size: 0, status: 'failed', message };
      }),
    ]);
  }
}

/** Field by field: spreading a hundred thousand objects shows. */
function commitItem({ item, result }: Staged): CommitItem {
  const { seq, path, kind, from, retire, linkTo, linkFacts, backupFacts, backupShared } = item;
  return {
    seq,
    path,
    kind,
    from,
    retire,
    linkTo,
    linkFacts,
    backupFacts,
    backupShared,
    stagedFacts: result.masterFacts,
  };
}

function isShort({ item, result }: Staged, backupFacts: string): boolean {
  return item.kind === 'f' && item.linkTo === null && new Entry(backupFacts, item.path).size !== result.written;
}

function doneTo({ kind, backup }: Action): string {
  return kind === 'convert' ? kind : backup === null ? 'copy' : 'update';
}
