/**
 * Undoes an operation: what it replaced or deleted comes back from the trash, what it made goes there, on every drive that
 * it wrote to. It is an operation of its own, with versions and a manifest, so it can be undone as well. A path that
 * changed since is refused, one by one. What was undone waits in the inbox of conflicts until the user says which state
 * shall stand: no run takes the undo back.
 */
import { BATCH_FILES, chunk, GROUP_FILES } from '../shared/batches.ts';
import type { Context } from '../shared/context.ts';
import { type Problem, TandemError } from '../shared/errors.ts';
import type { Phase } from '../shared/events.ts';
import { FolderCache } from '../shared/folders.ts';
import { type InboxEntry, removeConflicts, writeConflicts } from '../shared/inbox.ts';
import { Entry, eachRecord, factsOf, sameInode } from '../shared/listing.ts';
import { type Change, readManifest } from '../shared/manifest.ts';
import { baseName, depthOf, displayPath, isInside, parentOf } from '../shared/paths.ts';
import { clearPartials, partialFolder } from '../shared/recover.ts';
import { mountsBelow, walkTree } from '../shared/scan.ts';
import type { DriveRoot } from '../shared/store.ts';
import { statAt } from '../shared/syscalls.ts';
import type { PutBackItem, PutBackResult } from '../shared/tasks.ts';
import { trashFolder } from '../shared/trash.ts';
import type { WorkerPool } from '../shared/workers.ts';
import { RunControl } from './control.ts';
import { getGroup } from './groups.ts';
import {
  ensurePair,
  type FileAction,
  getOperation,
  type Operation,
  operationFiles,
  pathsChangedAfter,
  recordActions,
} from './history.ts';
import { copiedFiles, type DriveSide, journalledChanges, writesTo } from './manifests.ts';
import { type PreparedRun, type RunFlags, runLocked, type SyncResult } from './run.ts';
import { assertIdentity, type OpenPair, openPair, reversedPair, syncOptions, workersOf } from './session.ts';
import { wholeOf } from './targets.ts';

/** What an undo does to one drive. */
export interface UndoPlan {
  side: DriveSide;
  /** Files and folders that the operation made. */
  away: UndoStep[];
  /** Folders that it deleted. */
  folders: UndoStep[];
  /** Files that it replaced or deleted. */
  back: UndoStep[];
  /** Facts to be set on folders and files, deepest first. */
  metadata: { path: string; facts: string }[];
  /** Paths that stay as they are, and why. */
  refused: Problem[];
}

export interface UndoStep {
  path: string;
  /** Facts of what stands there now; null: nothing. */
  current: string | null;
  shared?: boolean;
  /** Path of the version, from the drive's root; null: none is needed. */
  version: string | null;
  /** Facts of what comes back; null: nothing. */
  before: string | null;
}

/** What `undoOperation` would do; writes nothing anywhere. */
export async function planUndo(query: string, ctx: Context): Promise<{ operation: Operation; plans: UndoPlan[] }> {
  const operation = await undoable(query, ctx);
  const pair = await openPair(getGroup(operation.group_id, ctx), ctx, true);
  try {
    return { operation, plans: await planBoth(pair, operation, ctx) };
  } finally {
    await pair.close();
  }
}

/**
 * Undoes an operation, as a new one.
 * @throws TandemError `invalid` for an operation that is running or cannot be undone, `not_found` when none is called so.
 */
export async function undoOperation(query: string, flags: RunFlags, ctx: Context): Promise<SyncResult> {
  const operation = await undoable(query, ctx);
  const target = wholeOf(getGroup(operation.group_id, ctx));
  return runLocked(
    target,
    flags,
    ctx,
    async (run, running) => {
      const plans = await planBoth(run.pair, operation, running);
      run.begin();
      if (plans.every((plan) => isEmpty(plan) && plan.refused.length === 0)) throw nothingToUndo(operation);
      const seq = { next: 0 };
      for (const plan of plans) await new Undo(run, plan, operation, seq, ctx).carryOut();
      return [];
    },
    'undo',
  );
}

// --- internal ---

async function undoable(query: string, ctx: Context): Promise<Operation> {
  const operation = await getOperation(query, ctx);
  if (operation.status === 'running') {
    throw new TandemError('invalid', `Operation ${operation.id} is still running, so it cannot be undone.`, {
      hint: `Stop it first: tandem sync cancel ${operation.uuid.slice(0, 8)}.`,
    });
  }
  return operation;
}

function nothingToUndo(operation: Operation): TandemError {
  return new TandemError('invalid', `Operation ${operation.id} left nothing that could be undone.`, {
    hint: 'It changed nothing, or its versions were pruned; `tandem restore versions` shows what there is of a file.',
  });
}

function isEmpty({ away, folders, back, metadata }: UndoPlan): boolean {
  return away.length + folders.length + back.length + metadata.length === 0;
}

async function planBoth(pair: OpenPair, operation: Operation, ctx: Context): Promise<UndoPlan[]> {
  const plans: UndoPlan[] = [];
  for (const side of ['backup', 'master'] as const) {
    const changes = await changesOf(pair, side, operation, ctx);
    if (changes.length > 0) plans.push(await new Planner(pair, side, operation, changes, ctx).plan());
  }
  const renamed = await renames(operation, ctx);
  if (renamed.length === 0) return plans;
  const backup = plans.find(({ side }) => side === 'backup');
  if (backup) backup.refused.push(...renamed);
  else plans.push({ side: 'backup', away: [], folders: [], back: [], metadata: [], refused: renamed });
  return plans;
}

/** A rename put nothing aside, so there is no version to put back; saying so is better than to leave it out. */
async function renames({ id }: Operation, ctx: Context): Promise<Problem[]> {
  const done = (await operationFiles(id, ctx)).filter(({ action, status }) => action === 'move' && status === 'done');
  return done.map(({ path, message = '' }) => ({
    path,
    message: `not undone: it was only renamed (${message}); rename it back on the Master`,
  }));
}

async function changesOf(pair: OpenPair, side: DriveSide, operation: Operation, ctx: Context): Promise<Change[]> {
  const manifest = readManifest(pair[side].dir, operation.uuid);
  if (manifest === null) return journalledChanges(pair, side, operation, ctx);
  if (manifest.journal !== true && writesTo(operation.operation_type) !== side) return manifest.changes;
  const known = new Set(manifest.changes.map(({ path }) => path));
  const copied = await copiedFiles(pair, side, operation.id, ctx);
  return [...manifest.changes, ...copied.filter(({ path }) => !known.has(path))];
}

/** What stands at these paths of a drive now. */
function factsAt(root: DriveRoot, paths: readonly string[], stable: boolean): Map<string, string> {
  const folders = new FolderCache(root.dir);
  const found = new Map<string, string>();
  try {
    for (const path of paths) {
      folders.trim();
      const stat = folders.exists(path) ? statAt(folders.open(parentOf(path)), baseName(path)) : null;
      if (stat) found.set(path, factsOf(stat, stable));
    }
  } finally {
    folders.clear();
  }
  return found;
}

/** Decides, path by path, what can be undone on one drive. */
class Planner {
  private readonly root: DriveRoot;
  private readonly side: DriveSide;
  private readonly stable: boolean;
  private readonly operation: Operation;
  private readonly changes: readonly Change[];
  private readonly ctx: Context;
  private readonly shared: ReadonlySet<string>;
  private now: ReadonlyMap<string, string> = new Map();
  /** Paths that a later operation worked on: where a drive keeps no ctime, facts alone do not tell. */
  private later: ReadonlySet<string> = new Set();

  constructor(pair: OpenPair, side: DriveSide, operation: Operation, changes: readonly Change[], ctx: Context) {
    this.side = side;
    this.root = pair[side];
    this.stable = (side === 'master' ? pair.masterTraits : pair.backupTraits).stable_ids;
    this.operation = operation;
    this.changes = changes;
    this.ctx = ctx;
    this.shared = sharedInodes(changes);
  }

  async plan(): Promise<UndoPlan> {
    const plan: UndoPlan = { side: this.side, away: [], folders: [], back: [], metadata: [], refused: [] };
    const parents = this.changes.map(({ path }) => parentOf(path)).filter((path) => path !== '');
    this.now = factsAt(this.root, [...new Set([...this.changes.map(({ path }) => path), ...parents])], this.stable);
    if (!this.stable) this.later = new Set(await pathsChangedAfter(this.operation, this.ctx));
    const blocked = this.blockedFolders();
    for (const change of this.changes) {
      const why = blocked.find((path) => isInside(change.path, path))
        ? 'the folder holds files that were put there since'
        : this.sort(change, plan);
      if (why !== undefined) plan.refused.push({ path: change.path, message: `not undone: ${why}` });
    }
    plan.away.sort((a, b) => depthOf(b.path) - depthOf(a.path));
    this.addParents(plan);
    plan.metadata.sort((a, b) => depthOf(b.path) - depthOf(a.path));
    return plan;
  }

  /** Folders that took the place of a file, and hold something now that the operation did not put there. */
  private blockedFolders(): string[] {
    const made = new Set(this.changes.map(({ path }) => path));
    const folders = this.changes.filter(
      ({ change, after }) => change === 'replaced' && after?.startsWith('d ') === true,
    );
    return folders
      .map(({ path }) => path)
      .filter((path) => {
        const mounts = mountsBelow(this.root.mountPath);
        const { bytes, unknown } = walkTree({ root: this.root.dir, subpath: path, stable: false, mounts });
        let others = unknown.length > 0;
        eachRecord(bytes, (view) => {
          if (!made.has(bytes.toString('utf8', view.pathStart, view.pathEnd))) others = true;
        });
        return others;
      });
  }

  /** Puts a change where it belongs in the plan; or says why it cannot be undone. */
  private sort(change: Change, plan: UndoPlan): string | undefined {
    const { path, after, before } = change;
    const current = this.now.get(path) ?? null;
    if (change.change === 'meta') return this.sortMetadata(change, current, plan);
    if (after === '') return 'it is not known what the operation left there';
    if (this.later.has(path)) return 'a later operation changed it';
    if (change.change === 'created' && current === null) return undefined;
    const folderBack = change.change === 'deleted' && before?.startsWith('d ') === true;
    if (folderBack && current?.startsWith('d ')) return undefined;
    if (!this.isAsLeft(current, after)) return current === null ? 'it is gone since' : 'it changed since';
    const shared = current !== null && this.shared.has(new Entry(current, path).ino);
    if (change.change === 'created') plan.away.push({ path, current, shared, version: null, before: null });
    else if (folderBack) {
      plan.folders.push({ path, current, version: null, before });
      if (before !== null) plan.metadata.push({ path, facts: before });
    } else if (change.version === undefined) return 'its version was pruned, or not kept';
    else {
      const version = `${trashFolder(this.operation.uuid, '')}/${change.version}`;
      plan.back.push({ path, current, shared, version, before });
    }
    return undefined;
  }

  /** Times of a folder follow what is put into it: they come back where nothing else has moved them. */
  private sortMetadata({ path, before, after }: Change, current: string | null, plan: UndoPlan): string | undefined {
    if (before === null || current === null || before[0] !== current[0]) return undefined;
    if (current === after) plan.metadata.push({ path, facts: before });
    else if (!current.startsWith('d ')) return 'it changed since';
    return undefined;
  }

  private isAsLeft(current: string | null, after: string | null): boolean {
    if (current === null || after === null) return current === after;
    if (current.startsWith('d ') && after.startsWith('d ')) return true;
    if (current === after) return true;
    return this.shared.has(new Entry(after, '').ino) && sameInode(current, after);
  }

  /** Folders that something is put into or taken from keep their times, unless the operation had changed them. */
  private addParents(plan: UndoPlan): void {
    const known = new Set(plan.metadata.map(({ path }) => path));
    const going = new Set(plan.away.map(({ path }) => path));
    for (const { path } of [...plan.away, ...plan.folders, ...plan.back]) {
      const parent = parentOf(path);
      const facts = this.now.get(parent);
      if (facts === undefined || known.has(parent) || going.has(parent)) continue;
      known.add(parent);
      plan.metadata.push({ path: parent, facts });
    }
  }
}

/** Inodes that several of these paths have: what is done to one of them moves the ctime of the others. */
function sharedInodes(changes: readonly Change[]): Set<string> {
  const seen = new Set<string>();
  const shared = new Set<string>();
  for (const { path, after } of changes) {
    if (!after?.startsWith('f ')) continue;
    const { ino } = new Entry(after, path);
    if (ino !== '-' && seen.has(ino)) shared.add(ino);
    seen.add(ino);
  }
  return shared;
}

type Method = 'takeAway' | 'remakeFolders' | 'putBack';

/** Carries one drive's plan out, in batches: inbox → rename → flush → journal. */
class Undo {
  private readonly run: PreparedRun;
  private readonly plan: UndoPlan;
  private readonly operation: Operation;
  private readonly ctx: Context;
  private readonly seq: { next: number };
  /** The drive that is written to is its Backup. */
  private readonly view: OpenPair;
  private readonly pool: WorkerPool;
  private readonly control: RunControl;
  private pairId = 0;
  private item = 0;
  private filesDone = 0;
  private phase: Phase = 'prepare';

  constructor(run: PreparedRun, plan: UndoPlan, operation: Operation, seq: { next: number }, ctx: Context) {
    this.run = run;
    this.plan = plan;
    this.operation = operation;
    this.ctx = ctx;
    this.seq = seq;
    this.view = plan.side === 'backup' ? run.pair : reversedPair(run.pair);
    this.pool = workersOf(this.view, run.operation, syncOptions(run.pair.group, {}));
    const names = { operationId: run.operationId, operation: run.operation, target: run.pair.group.name };
    this.control = new RunControl(names, this.pool, () => this.counts(), ctx);
  }

  async carryOut(): Promise<void> {
    const { pair, statistics } = this.run;
    const { away, folders, back, refused } = this.plan;
    this.pairId = await ensurePair(pair.group.id, pair.masterUuid, pair.backupUuid, this.ctx);
    statistics.files_failed += refused.length;
    statistics.problems.push(...refused);
    await this.journal(refused.map((one) => ({ ...one, action: 'undo', size: 0, status: 'failed' })));
    this.control.begin();
    try {
      this.prove();
      // Says to the next start that this undo was under way.
      const mark = new FolderCache(this.view.backup.dir);
      mark.make(partialFolder(this.run.operation));
      mark.clear();
      this.phase = 'delete';
      await this.step('takeAway', away.filter(isFile), true);
      await this.step(
        'takeAway',
        away.filter((one) => !isFile(one)),
        false,
      );
      await this.step('remakeFolders', folders, false);
      this.phase = 'copy';
      await this.step('putBack', back, true);
      this.phase = 'finish';
      await this.finish();
    } finally {
      this.control.end();
      if (this.control.cancelled) statistics.cancelled = true;
      await this.end();
    }
  }

  private async end(): Promise<void> {
    try {
      clearPartials(this.view.backup.dir, this.run.operation);
    } catch {
      // A drive that is gone keeps its mark; the next run clears it.
    }
    if (this.view !== this.run.pair) await this.view.close();
  }

  private counts() {
    const { files_copied, files_skipped, files_failed } = this.run.statistics;
    const files_total = this.plan.away.length + this.plan.back.length;
    const done = { files_copied, files_skipped, files_failed };
    return { phase: this.phase, files_done: this.filesDone, files_total, ...done, bytes_total: 0 };
  }

  private prove(): void {
    assertIdentity(this.run.pair);
    for (const lock of this.run.locks) lock.confirm();
  }

  private async step(method: Method, steps: readonly UndoStep[], parallel: boolean): Promise<void> {
    for (const part of chunk(steps, BATCH_FILES)) {
      if (this.control.cancelled) return;
      this.prove();
      await this.hold(part);
      const items = part.map(({ path, current, shared = false, version, before }): PutBackItem => {
        this.item += 1;
        return { seq: this.item, path, current, shared, version, before };
      });
      const groups = parallel ? chunk(items, GROUP_FILES) : [items];
      const results = (await Promise.all(groups.map((group) => this.pool.run(method, group)))).flat();
      await this.pool.run('flush');
      await this.record(method, part, results);
      if (results.some(({ outcome }) => outcome === 'failed')) assertIdentity(this.run.pair);
    }
  }

  /** Before anything changes: a run that follows a crash must find these paths held. */
  private async hold(steps: readonly UndoStep[]): Promise<void> {
    const entries = this.inboxEntries(
      steps.map(({ path, current, before }) => [path, before ?? current ?? '', before]),
    );
    await writeConflicts(this.pairId, this.run.pair.group.id, this.run.operationId, entries, this.ctx);
  }

  /** @param undone path, facts that tell its kind, and what stands there once it is undone. */
  private inboxEntries(undone: readonly (readonly [path: string, kind: string, facts: string | null])[]): InboxEntry[] {
    const { side } = this.plan;
    const other = factsAt(
      this.view.master,
      undone.map(([path]) => path),
      this.view.masterTraits.stable_ids,
    );
    return undone.map(([path, kind, facts]) => ({
      path,
      conflict_type: 'undone',
      reason: `operation ${this.operation.id} was undone on the ${side === 'backup' ? 'Backup' : 'Master'}`,
      entry: kind.startsWith('d ') ? 'd' : kind.startsWith('l ') ? 'l' : 'f',
      master_facts: side === 'master' ? facts : (other.get(path) ?? null),
      backup_facts: side === 'backup' ? facts : (other.get(path) ?? null),
    }));
  }

  private async record(method: Method, steps: readonly UndoStep[], results: readonly PutBackResult[]): Promise<void> {
    const { statistics, changes } = this.run;
    const log = changes[this.plan.side];
    const notes: FileAction[] = [];
    const done: { path: string; action: string }[] = [];
    const left = new Map<string, string>();
    const former = new Map<string, { facts: string; checksum: string; checksum_algorithm: string }>();
    const free: string[] = [];
    results.forEach(({ outcome, message, facts }, index) => {
      const { path, current, before } = steps[index] as UndoStep;
      if (outcome !== 'done') {
        free.push(path);
        if (outcome === 'stopped') return;
        statistics.files_failed += 1;
        statistics.problems.push({ path, message });
        notes.push({ path, action: 'undo', size: 0, status: 'failed', message });
        return;
      }
      if (current !== null) former.set(path, { facts: current, checksum: '', checksum_algorithm: '' });
      if (facts !== null) left.set(path, facts);
      if (facts === null) done.push({ path, action: 'delete' });
      else done.push({ path, action: current === null ? 'copy' : 'update' });
      const size = new Entry(before ?? current ?? 'f 0 ', path).size;
      notes.push({ path, action: method === 'takeAway' ? 'delete' : 'put back', size, status: 'done' });
      if (method === 'takeAway') statistics.files_deleted += isFile({ current, before }) ? 1 : 0;
      else if (method === 'putBack') statistics.files_moved += 1;
      this.filesDone += 1;
    });
    for (const path of [...left.keys()]) if (left.get(path)?.startsWith('d ')) this.noteInside(path, left, done);
    log.note(left, done, former);
    await this.journal(notes);
    await this.settle(steps, results, free);
  }

  /** A folder that came back as a whole brought what is in it. */
  private noteInside(folder: string, left: Map<string, string>, done: { path: string; action: string }[]): void {
    const { backup, backupTraits } = this.view;
    const { bytes } = walkTree({ root: backup.dir, subpath: folder, stable: backupTraits.stable_ids, mounts: [] });
    eachRecord(bytes, (view) => {
      const path = bytes.toString('utf8', view.pathStart, view.pathEnd);
      if (path === folder) return;
      left.set(path, bytes.toString('latin1', view.factsStart, view.factsEnd));
      done.push({ path, action: 'copy' });
    });
  }

  /** What an undo of an undo brought back agrees with the other side again: nothing waits for a decision there. */
  private async settle(steps: readonly UndoStep[], results: readonly PutBackResult[], free: readonly string[]) {
    const undone = steps.map(({ path }) => path);
    if (this.operation.operation_type === 'undo') return removeConflicts(this.pairId, undone, this.ctx);
    await removeConflicts(this.pairId, free, this.ctx);
    const done = results.flatMap(({ outcome, facts }, index) => {
      const { path, current, before } = steps[index] as UndoStep;
      return outcome === 'done' ? [[path, before ?? current ?? '', facts] as const] : [];
    });
    const entries = this.inboxEntries(done);
    await writeConflicts(this.pairId, this.run.pair.group.id, this.run.operationId, entries, this.ctx);
    this.run.statistics.conflicts_detected += entries.length;
  }

  private async finish(): Promise<void> {
    const log = this.run.changes[this.plan.side];
    const { metadata } = this.plan;
    for (const part of chunk(metadata, BATCH_FILES)) {
      if (this.control.cancelled) return;
      this.prove();
      const changed = part.filter(({ facts }) => !facts.startsWith('d '));
      if (this.operation.operation_type !== 'undo')
        await this.hold(changed.map(({ path, facts }) => ({ path, current: null, version: null, before: facts })));
      const stable = this.view.backupTraits.stable_ids;
      const old = factsAt(
        this.view.backup,
        part.map(({ path }) => path),
        stable,
      );
      const results = await this.pool.run('setMetadata', part);
      const left = new Map<string, string>();
      const former = new Map<string, { facts: string; checksum: string; checksum_algorithm: string }>();
      results.forEach(({ facts }, index) => {
        const { path } = part[index] as { path: string };
        if (facts !== null) left.set(path, facts);
        former.set(path, { facts: old.get(path) ?? '', checksum: '', checksum_algorithm: '' });
      });
      const files = [...left]
        .filter(([, facts]) => !facts.startsWith('d '))
        .map(([path]) => ({ path, action: 'meta' }));
      log.note(left, files, former);
      if (this.operation.operation_type === 'undo')
        await removeConflicts(
          this.pairId,
          changed.map(({ path }) => path),
          this.ctx,
        );
    }
    await this.pool.run('flush');
  }

  private async journal(notes: readonly FileAction[]): Promise<void> {
    if (notes.length === 0) return;
    const first = this.seq.next;
    this.seq.next += notes.length;
    await recordActions(this.run.operationId, first, notes, this.ctx);
  }
}

function isFile({ current, before }: Pick<UndoStep, 'current' | 'before'>): boolean {
  return !(before ?? current ?? '').startsWith('d ');
}

/** For people: how many paths an undo would touch. */
export function describeUndo(plans: readonly UndoPlan[]): string[] {
  return plans.flatMap(({ side, away, folders, back, refused }) => [
    `${side === 'backup' ? 'Backup' : 'Master'}: ${back.length} to put back, ${away.length} to move to the trash, ${folders.length} folders to make again, ${refused.length} refused`,
    ...refused.map(({ path, message }) => `  ! ${displayPath(path)}: ${message}`),
  ]);
}
