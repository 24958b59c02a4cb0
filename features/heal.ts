/**
 * Puts a good copy in the place of a damaged one, in either direction. The source proves itself by the checksum of the
 * very bytes that are written, the damaged file stays as a version in the trash of its own drive, and what was written is
 * read back before it takes the name. Called with both drives locked.
 */
import { chunk, GROUP_FILES, groupBySize } from '../shared/batches.ts';
import type { Context } from '../shared/context.ts';
import { RECORDED, type Recorded } from '../shared/hash.ts';
import { factsField } from '../shared/listing.ts';
import type { DriveLock } from '../shared/lock.ts';
import { readsPastCache } from '../shared/past-cache.ts';
import { depthOf, parentOf } from '../shared/paths.ts';
import { clearPartials } from '../shared/recover.ts';
import { isRacy, makeSidedRow } from '../shared/rows.ts';
import { recordedSuffix, storedPath } from '../shared/stored.ts';
import type { CommitItem, StageItem, StageResult } from '../shared/tasks.ts';
import { trashFolder } from '../shared/trash.ts';
import type { WorkerPool } from '../shared/workers.ts';
import { type BaselineRow, writeBaseline } from './history.ts';
import {
  assertIdentity,
  masterClock,
  type OpenPair,
  OS_JUNK,
  reversedPair,
  syncOptions,
  transferSession,
} from './session.ts';

export type Direction = 'to_master' | 'to_backup';

/** A damaged file, and what is recorded of it. */
export interface HealItem {
  row: BaselineRow;
  /** The damaged file as it was seen a moment ago. */
  facts: string;
  /** It has other names. */
  shared: boolean;
}

export interface HealResult {
  path: string;
  healed: boolean;
  /** Why not; empty when it was healed. */
  message: string;
  /** Where the damaged file is, from the root of its drive; null when nothing was moved. */
  version: string | null;
  bytes: number;
}

export interface HealTask {
  pair: OpenPair;
  /** Confirmed before each batch. */
  locks: readonly DriveLock[];
  /** Told anew what to work on; nothing else may use it meanwhile. */
  pool: WorkerPool;
  operation: string;
  pairId: number;
  cancelled(): boolean;
  /** Told as soon as a file is healed and recorded, or refused: also when a later batch throws. */
  done(result: HealResult): void;
}

/**
 * Copies over damaged files from the other side and records them, batch by batch: what was put in place before a throw is
 * recorded. What a cancelled run did not come to is not told of.
 * @throws TandemError when a drive is gone or another one, or a lock was taken.
 */
export async function copyFiles(
  task: HealTask,
  direction: Direction,
  items: readonly HealItem[],
  ctx: Context,
): Promise<void> {
  const healed: string[] = [];
  const view = direction === 'to_backup' ? task.pair : reversedPair(task.pair);
  let seq = 0;
  try {
    for (const algorithm of RECORDED) {
      const some = items.filter(({ row }) => row.checksum_algorithm === algorithm);
      if (some.length === 0) continue;
      const { compression_level: compressionLevel } = syncOptions(task.pair.group, {});
      const transfer = transferSession(view, task.operation);
      task.pool.open({ transfer, algorithm, junk: OS_JUNK, mhl: false, compressionLevel });
      for (const batch of groupBySize(some.map((item) => ({ ...item, size: item.row.size })))) {
        if (task.cancelled()) break;
        const results = await new Batch({ task, view, algorithm, ctx }, batch, seq).run();
        for (const result of results) task.done(result);
        healed.push(...results.filter((result) => result.healed).map(({ path }) => path));
        seq += batch.length;
      }
    }
    await finishFolders(task, view, healed, ctx);
  } finally {
    try {
      clearPartials(view.backup.dir, task.operation);
    } catch {
      // A drive that is gone keeps its partials; the next run clears them.
    }
  }
}

// --- internal ---

/** The Master in the Backup's place: a session on it reads from the Backup and writes to the Master. */
interface Setting {
  task: HealTask;
  /** `master` is the source, `backup` the target. */
  view: OpenPair;
  algorithm: Recorded;
  ctx: Context;
}

interface Staged {
  item: HealItem;
  stage: StageItem;
  result: StageResult;
}

/** Some files that go stage → flush → read back → commit → flush → record together. */
class Batch {
  private readonly setting: Setting;
  private readonly items: readonly HealItem[];
  private readonly firstSeq: number;
  private readonly results: HealResult[] = [];
  private readonly startedAt = Date.now();

  constructor(setting: Setting, items: readonly HealItem[], firstSeq: number) {
    this.setting = setting;
    this.items = items;
    this.firstSeq = firstSeq;
  }

  async run(): Promise<HealResult[]> {
    const { task } = this.setting;
    assertIdentity(task.pair);
    for (const lock of task.locks) lock.confirm();
    const staged = await this.stage();
    if (staged.length > 0) {
      await task.pool.run('flush');
      const proved = await this.readBack(staged);
      await this.commit(proved);
    }
    if (this.results.some(({ healed }) => !healed)) assertIdentity(task.pair);
    return this.results;
  }

  private async stage(): Promise<Staged[]> {
    const stages = this.items.map(({ row, facts, shared }, index): StageItem => {
      const place = placeOf(row, this.setting.view);
      const seq = this.firstSeq + index + 1;
      const expected = { masterFacts: null, backupFacts: facts, backupShared: shared };
      return { seq, ...place, kind: 'f', size: row.size, linkTo: null, ...expected };
    });
    const results = await this.setting.task.pool.run('stage', stages);
    return results.flatMap((result, index): Staged[] => {
      const item = this.items[index] as HealItem;
      if (result.outcome !== 'done') this.refuse(item, result.message);
      else if (result.checksum !== item.row.checksum)
        this.refuse(item, 'the other copy is not what was recorded either; nothing was changed');
      else return [{ item, stage: stages[index] as StageItem, result }];
      return [];
    });
  }

  /** What the medium gives back, before the damaged file loses its name. */
  private async readBack(staged: readonly Staged[]): Promise<Staged[]> {
    const { task, view, ctx } = this.setting;
    const direct = await readsPastCache(view.backup, view.backupDrive, ctx);
    const sums = staged.map(({ stage, result: { seq, checksum } }) => ({ seq, checksum, stored: stage.encode ?? '' }));
    const { failed } = await task.pool.run('verify', sums, direct);
    const bad = new Set(failed);
    return staged.filter(({ item, result }) => {
      if (bad.has(result.seq))
        this.refuse(item, 'what was read back differs from what was written; the drive may be failing');
      return !bad.has(result.seq);
    });
  }

  private async commit(staged: readonly Staged[]): Promise<void> {
    const { task, view, algorithm, ctx } = this.setting;
    if (staged.length === 0) return;
    const results = await task.pool.run('commit', staged.map(commitItem));
    await task.pool.run('flush');
    const rows: BaselineRow[] = [];
    results.forEach(({ outcome, message, backupFacts }, index) => {
      const { item, stage, result } = staged[index] as Staged;
      const { path, size, checksum } = item.row;
      if (outcome !== 'done') {
        this.refuse(item, message);
        return;
      }
      const doubt = isRacy(result.masterFacts, this.startedAt, masterClock(view)) ? 'racy' : '';
      rows.push(
        makeSidedRow(view.reversed, path, size, result.masterFacts, backupFacts, {
          checksum,
          algorithm,
          doubt,
          stored: recordedSuffix(item.row),
        }),
      );
      const version = `${trashFolder(task.operation, '')}/${stage.path}`;
      this.results.push({ path, healed: true, message: '', version, bytes: Number(factsField(backupFacts, 1)) });
    });
    await writeBaseline(task.pairId, task.pair.group.id, 'restore', rows, [], ctx);
  }

  private refuse({ row }: HealItem, message: string): void {
    this.results.push(refused(row.path, message));
  }
}

/** The Backup's file may be stored under another name; it keeps its form. */
function placeOf(row: BaselineRow, { storedSide }: OpenPair): Pick<StageItem, 'path' | 'from' | 'encode' | 'decode'> {
  const stored = recordedSuffix(row);
  if (stored === '') return { path: row.path };
  const place = storedPath(row.path, row.stored_name);
  return storedSide === 'backup'
    ? { path: place, from: row.path, encode: stored }
    : { path: row.path, from: place, decode: stored };
}

function refused(path: string, message: string): HealResult {
  return { path, healed: false, message, version: null, bytes: 0 };
}

function commitItem({ stage, result }: Staged): CommitItem {
  const { seq, path, from, backupFacts, backupShared } = stage;
  return { seq, path, from, kind: 'f', linkTo: null, backupFacts, backupShared, stagedFacts: result.masterFacts };
}

/** A folder in which a file was exchanged has another time now: it gets that of its twin again. */
async function finishFolders(task: HealTask, view: OpenPair, healed: readonly string[], ctx: Context): Promise<void> {
  const folders = new Set(healed.map((path) => parentOf(path)).filter((path) => path !== ''));
  if (folders.size === 0) return;
  assertIdentity(view);
  const deepest = [...folders].sort((a, b) => depthOf(b) - depthOf(a));
  for (const part of chunk(deepest, GROUP_FILES)) {
    const done = await task.pool.run('finishFolders', part);
    const rows = done.flatMap(({ path, masterFacts, backupFacts, message }) => {
      if (message !== '') return [];
      return [makeSidedRow(view.reversed, path, 0, masterFacts, backupFacts, {})];
    });
    await task.pool.run('flush');
    await writeBaseline(task.pairId, task.pair.group.id, 'restore', rows, [], ctx);
  }
}
