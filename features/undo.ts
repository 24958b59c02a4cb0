/**
 * Undoes an operation: what it replaced or deleted comes back from the trash, what it made goes there, on every drive that
 * it wrote to. It is an operation of its own, with versions and a manifest, so it can be undone as well. A path that
 * changed since is refused, one by one. What was undone waits in the inbox of conflicts until the user says which state
 * shall stand: no run takes the undo back.
 */
import { join } from 'node:path';
import { BATCH_FILES, chunk, GROUP_FILES } from '../shared/batches.ts';
import type { Context } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import type { Phase } from '../shared/events.ts';
import { FolderCache } from '../shared/folders.ts';
import { type InboxEntry, removeConflicts, writeConflicts } from '../shared/inbox.ts';
import { Entry, eachRecord } from '../shared/listing.ts';
import { depthOf, displayPath, isInside } from '../shared/paths.ts';
import { clearPartials, partialFolder } from '../shared/recover.ts';
import { isRespelling } from '../shared/renames.ts';
import { walkTree } from '../shared/scan.ts';
import type { MoveBackItem, PutBackItem, PutBackResult } from '../shared/tasks.ts';
import { TRASH } from '../shared/trash.ts';
import type { WorkerPool } from '../shared/workers.ts';
import { RunControl } from './control.ts';
import { getGroup } from './groups.ts';
import {
  doubtRows,
  ensurePair,
  type FileAction,
  getOperation,
  type Operation,
  partsOfOperation,
  recordActions,
} from './history.ts';
import { readFolderManifest } from './manifests.ts';
import { pathsMeant } from './meanings.ts';
import { openFolderAlone } from './origin.ts';
import { runParts } from './parts.ts';
import { factsAt, isEmpty, planUndoOf, type UndoMove, type UndoPlan, type UndoStep } from './retrace.ts';
import { type PreparedRun, type RunFlags, runLocked, type SyncResult, syncSums } from './run.ts';
import { assertIdentity, type OpenPair, openPair, reversedPair, syncOptions, workersOf } from './session.ts';
import { type Target, wholeOf } from './targets.ts';

/** What `undoOperation` would do; writes nothing anywhere. */
export async function planUndo(query: string, ctx: Context): Promise<{ operation: Operation; plans: UndoPlan[] }> {
  const operation = await undoable(query, ctx);
  const plans: UndoPlan[] = [];
  for (const one of operation.parts > 0 ? await partsOfOperation(operation, ctx) : [operation]) {
    const pair = isOfFolder(one) ? openFolder(one, true, ctx) : await openPair(getGroup(one.group_id, ctx), ctx, true);
    try {
      plans.push(...(await planUndoOf(pair, one, ctx)));
    } finally {
      await pair.close();
    }
  }
  return { operation, plans };
}

/**
 * Undoes an operation, as a new one.
 * @throws TandemError `invalid` for an operation that is running or cannot be undone, `not_found` when none is called so.
 */
export async function undoOperation(query: string, flags: RunFlags, ctx: Context): Promise<SyncResult> {
  const operation = await undoable(query, ctx);
  if (operation.parts === 0) return undoOne(operation, flags, ctx);
  const parts = new Map<Target, Operation>();
  for (const part of await partsOfOperation(operation, ctx)) {
    const project = { id: operation.group_id, name: operation.target_name, role: part.role };
    parts.set({ ...wholeOf(getGroup(part.group_id, ctx)), project }, part);
  }
  const run = (target: Target, part: { parent?: number }): Promise<SyncResult> =>
    undoOne(parts.get(target) as Operation, { ...flags, ...part }, ctx, target);
  const work = { kind: 'undo', operation: flags.operation, inTurn: true, run, ...syncSums };
  return runParts([...parts.keys()], work, ctx);
}

// --- internal ---

async function undoOne(operation: Operation, flags: RunFlags, ctx: Context, named?: Target): Promise<SyncResult> {
  const folder = isOfFolder(operation) ? openFolder(operation, false, ctx) : undefined;
  const target = named ?? wholeOf(folder?.group ?? getGroup(operation.group_id, ctx));
  const open = folder ? async (): Promise<OpenPair> => folder : undefined;
  return runLocked(
    target,
    flags,
    ctx,
    async (run, running) => {
      const plans = await planUndoOf(run.pair, operation, running);
      run.begin();
      // One part of several may have had nothing to do.
      if (named === undefined && plans.every((plan) => isEmpty(plan) && plan.refused.length === 0))
        throw nothingToUndo(operation);
      const seq = { next: 0 };
      for (const plan of plans) await new Undo(run, plan, operation, seq, ctx).carryOut();
      if (folder && run.statistics.files_deleted > 0) sayWhatIsKept(folder, ctx);
      return [];
    },
    'undo',
    open,
  );
}

async function undoable(query: string, ctx: Context): Promise<Operation> {
  const operation = await getOperation(query, ctx);
  if (operation.status === 'running') {
    throw new TandemError('invalid', `Operation ${operation.id} is still running, so it cannot be undone.`, {
      hint: `Stop it first: tandem sync cancel ${operation.uuid.slice(0, 8)}.`,
    });
  }
  return operation;
}

/** What it did, it did to a folder that is no drive. */
function isOfFolder({ target_kind }: Operation): boolean {
  return target_kind === 'folder';
}

/** @throws TandemError `invalid` when it was interrupted before it noted what it made. */
function openFolder(operation: Operation, readOnly: boolean, ctx: Context): OpenPair {
  const known = readFolderManifest(operation.uuid, ctx);
  if (known === null) {
    const { id, uuid } = operation;
    throw new TandemError('invalid', `What operation ${id} did to its folder is not known on this computer.`, {
      hint: `It was interrupted, ran on another computer, or is older than 90 days; \`tandem history show ${uuid.slice(0, 8)}\` lists its files, which can be removed by hand.`,
    });
  }
  const left = [...known.changes, ...(known.moves ?? [])].find(({ after }) => after !== null && after !== '');
  const stable = left?.after != null && new Entry(left.after, '').ino !== '-';
  return openFolderAlone(operation, known.folder, stable, readOnly);
}

function sayWhatIsKept({ backup }: OpenPair, ctx: Context): void {
  const trash = displayPath(join(backup.mountPath, TRASH));
  ctx.emit({ kind: 'note', message: `What was taken away is kept in ${trash}; remove that folder to free its space.` });
}

function nothingToUndo(operation: Operation): TandemError {
  return new TandemError('invalid', `Operation ${operation.id} left nothing that could be undone.`, {
    hint: 'It changed nothing, or its versions were pruned; `tandem restore versions` shows what there is of a file.',
  });
}

/** Path, facts that tell its kind, and what stands there once it is undone. */
type Undone = readonly [path: string, kind: string, facts: string | null];

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
  /** 0: of a folder, for which nothing is recorded. */
  private pairId = 0;
  /** The path that a name on this drive stands for. */
  private meant: (place: string) => string = (place) => place;
  private item = 0;
  /** Renames that were tried so far, in their order. */
  private readonly tried: (UndoMove & { done: boolean })[] = [];
  /** Facts of files that came back with this undo, under the names that they have now. */
  private readonly fresh = new Map<string, string>();
  private filesDone = 0;
  private phase: Phase = 'prepare';

  constructor(run: PreparedRun, plan: UndoPlan, operation: Operation, seq: { next: number }, ctx: Context) {
    this.run = run;
    this.plan = plan;
    this.operation = operation;
    this.ctx = ctx;
    this.seq = seq;
    this.view = plan.side === 'backup' ? run.pair : reversedPair(run.pair);
    // It records no content, so no key is needed for what is sealed.
    this.pool = workersOf(this.view, run.operation, { ...syncOptions(run.pair.group, {}), enable_encryption: false });
    const names = { operationId: run.operationId, operation: run.operation, target: run.pair.group.name };
    this.control = new RunControl(names, this.pool, () => this.counts(), ctx);
  }

  async carryOut(): Promise<void> {
    const { pair, statistics } = this.run;
    const { refused, notes } = this.plan;
    if (!isOfFolder(this.operation))
      this.pairId = await ensurePair(pair.group.id, pair.masterUuid, pair.backupUuid, this.ctx);
    if (this.plan.side === 'backup') this.meant = await pathsMeant(pair, this.ctx);
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
      await this.steps();
      statistics.problems.push(...notes);
      this.phase = 'finish';
      await this.finish();
    } finally {
      this.control.end();
      if (this.control.cancelled) statistics.cancelled = true;
      await this.end();
    }
  }

  /** What was done after a rename is undone before it, the last rename first. */
  private async steps(): Promise<void> {
    const { away, folders, back, moves } = this.plan;
    const moments = new Set([...away, ...folders, ...back].map(({ after }) => after));
    for (let done = 0; done <= moves.length && !this.control.cancelled; ) {
      const now = <T extends UndoStep>(steps: readonly T[]): T[] => steps.filter(({ after }) => after === done);
      if (moments.has(done)) await this.contents(now(away), now(folders), now(back));
      const batch: UndoMove[] = [];
      do {
        const move = moves[done + batch.length];
        if (!move) break;
        batch.push(move);
        // Recorded at once: what was renamed in a folder is found by the folder's name.
        if (move.current.startsWith('d ')) break;
      } while (
        batch.length < BATCH_FILES &&
        !moments.has(done + batch.length) &&
        !isFolder(moves[done + batch.length])
      );
      await this.moveBack(batch);
      done += Math.max(1, batch.length);
    }
  }

  private async contents(away: UndoStep[], folders: UndoStep[], back: UndoStep[]): Promise<void> {
    this.phase = 'delete';
    await this.step('takeAway', away.filter(isFile), true);
    const made = away.filter((one) => !isFile(one));
    await this.step('takeAway', made, false);
    await this.step('remakeFolders', folders, false);
    this.phase = 'copy';
    const plain = back.filter(({ link }) => link === undefined);
    await this.step('putBack', plain, true);
    const linked = back.filter(({ link }) => link !== undefined);
    await this.step('putBack', linked, true);
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
    const files_total = this.plan.away.length + this.plan.back.length + this.plan.moves.length;
    const done = { files_copied, files_skipped, files_failed };
    return { phase: this.phase, files_done: this.filesDone, files_total, ...done, bytes_total: 0 };
  }

  private prove(): void {
    assertIdentity(this.run.pair);
    for (const lock of this.run.locks) lock.confirm();
  }

  private async step(method: Method, steps: readonly UndoStep[], parallel: boolean): Promise<void> {
    const named = steps.map((one) => ({ ...one, path: this.actual(one.path, one.after) }));
    for (const part of chunk(this.tried.length > 0 ? named : steps, BATCH_FILES)) {
      if (this.control.cancelled) return;
      this.prove();
      await this.hold(part);
      const items = part.map(({ path, current, shared = false, version, before, link }): PutBackItem => {
        this.item += 1;
        const item = { seq: this.item, path, current, shared, version, before };
        return link ? { ...item, link } : item;
      });
      const groups = parallel ? chunk(items, GROUP_FILES) : [items];
      const results = (await Promise.all(groups.map((group) => this.pool.run(method, group)))).flat();
      await this.pool.run('flush');
      await this.record(method, part, results);
      if (results.some(({ outcome }) => outcome === 'failed')) assertIdentity(this.run.pair);
    }
  }

  /** Before anything changes: a run that follows a crash must find these paths held. */
  private async hold(steps: readonly Pick<UndoStep, 'path' | 'current' | 'before'>[]): Promise<void> {
    await this.wait(steps.map(({ path, current, before }) => [path, before ?? current ?? '', before]));
    // Without file ids a former state can look like the recorded one to the last bit.
    const paths = steps.map(({ path }) => this.meant(path));
    if (this.pairId !== 0 && !this.view.backupTraits.stable_ids) await doubtRows(this.pairId, paths, this.ctx);
  }

  /** @returns how many paths are put into the inbox. */
  private async wait(undone: readonly Undone[]): Promise<number> {
    // A folder that is no drive is no side of anything: nobody has to decide.
    if (this.pairId === 0) return 0;
    const entries = this.inboxEntries(undone);
    await writeConflicts(this.pairId, this.run.pair.group.id, this.run.operationId, entries, this.ctx);
    return entries.length;
  }

  /** Nothing has to be decided there any more. */
  private forget(places: readonly string[]): Promise<void> {
    return removeConflicts(this.pairId, places.map(this.meant), this.ctx);
  }

  private inboxEntries(undone: readonly Undone[]): InboxEntry[] {
    const { side } = this.plan;
    const meant = undone.map(([place, kind, facts]): Undone => [this.meant(place), kind, facts]);
    const other = factsAt(
      this.view.master,
      meant.map(([path]) => path),
      this.view.masterTraits.stable_ids,
    );
    return meant.map(([path, kind, facts]) => ({
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
      if (message !== '') statistics.problems.push({ path, message });
      if (facts !== null && this.plan.moves.length > 0) this.fresh.set(path, facts);
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
    if (this.operation.operation_type === 'undo') return this.forget(undone);
    await this.forget(free);
    const done = results.flatMap(({ outcome, facts }, index) => {
      const { path, current, before } = steps[index] as UndoStep;
      return outcome === 'done' ? [[path, before ?? current ?? '', facts] as const] : [];
    });
    this.run.statistics.conflicts_detected += await this.wait(done);
  }

  // --- names ---

  /** Where what the plan calls so once `after` renames are done stands, when some of them failed. */
  private actual(path: string, after: number): string {
    let name = path;
    for (const move of this.tried.slice(0, after).toReversed())
      if (!move.done && isInside(name, move.to)) name = move.path + name.slice(move.to.length);
    return name;
  }

  /** Where it stands once all is done. */
  private finally(path: string, after: number): string {
    let name = path;
    for (const move of this.tried.slice(after))
      if (move.done && isInside(name, move.path)) name = move.to + name.slice(move.path.length);
    return name;
  }

  private async moveBack(batch: readonly UndoMove[]): Promise<void> {
    if (batch.length === 0 || this.control.cancelled) return;
    this.prove();
    const first = this.tried.length;
    const moves = batch.map(({ path, to, current }, index): UndoMove => {
      const name = this.actual(path, first + index);
      return { path: name, to: this.actual(to, first + index), current: this.fresh.get(name) ?? current };
    });
    const held = moves.map((move) => this.withContents(move));
    await this.wait(held.flat());
    const items = moves.map(({ path, to, current }): MoveBackItem => {
      this.item += 1;
      return { seq: this.item, path, to, current, respelled: isRespelling(path, to) };
    });
    const results = await this.pool.run('moveBack', items);
    await this.pool.run('flush');
    await this.recordMoves(moves, held, results);
    if (results.some(({ outcome }) => outcome === 'failed')) assertIdentity(this.run.pair);
  }

  /** All that gets another name: nothing stands at the old ones, and what stands at the new ones is as it was. */
  private withContents({ path, to, current }: UndoMove): Undone[] {
    const found: Undone[] = [];
    const add = (name: string, facts: string): void => {
      found.push([name, facts, null], [to + name.slice(path.length), facts, facts]);
    };
    if (!current.startsWith('d ')) add(path, current);
    else {
      const { backup, backupTraits } = this.view;
      const { bytes } = walkTree({ root: backup.dir, subpath: path, stable: backupTraits.stable_ids, mounts: [] });
      eachRecord(bytes, (view) => {
        const facts = bytes.toString('latin1', view.factsStart, view.factsEnd);
        add(bytes.toString('utf8', view.pathStart, view.pathEnd), facts);
      });
    }
    return found;
  }

  private async recordMoves(moves: readonly UndoMove[], held: readonly Undone[][], results: readonly PutBackResult[]) {
    const { statistics, changes } = this.run;
    const notes: FileAction[] = [];
    const free: string[] = [];
    const settled: Undone[] = [];
    for (const [index, { outcome, message, facts }] of results.entries()) {
      const { path, to, current } = moves[index] as UndoMove;
      const names = held[index] as Undone[];
      const done = outcome === 'done' && facts !== null;
      this.tried.push({ path, to, current, done });
      if (!done) {
        free.push(...names.map(([name]) => name));
        if (outcome === 'stopped') continue;
        statistics.files_failed += 1;
        statistics.problems.push({ path, message });
        notes.push({ path, action: 'undo', size: 0, status: 'failed', message });
        continue;
      }
      changes[this.plan.side].moved(to, path, facts);
      this.rename(path, to);
      const files = names.filter(([, kind, left]) => left !== null && !kind.startsWith('d '));
      const size = files.reduce((sum, [name, kind]) => sum + new Entry(kind, name).size, 0);
      notes.push({ path: to, action: 'move', size, status: 'done', message: `from ${path}` });
      statistics.files_moved += files.length;
      this.filesDone += 1;
      if (this.operation.operation_type === 'undo') free.push(...names.map(([name]) => name));
      else {
        settled.push([path, current, null], [to, current, facts]);
        if (this.pairId !== 0) statistics.conflicts_detected += names.length;
      }
    }
    await this.journal(notes);
    await this.forget(free);
    await this.wait(settled);
  }

  private rename(path: string, to: string): void {
    for (const [name, facts] of [...this.fresh]) {
      if (!isInside(name, path)) continue;
      this.fresh.delete(name);
      this.fresh.set(to + name.slice(path.length), facts);
    }
  }

  private async finish(): Promise<void> {
    const log = this.run.changes[this.plan.side];
    const metadata = this.plan.metadata
      .map(({ path, facts, after }) => ({ path: this.finally(path, after), facts }))
      .sort((a, b) => depthOf(b.path) - depthOf(a.path));
    for (const part of chunk(metadata, BATCH_FILES)) {
      if (this.control.cancelled) return;
      this.prove();
      const changed = part.filter(({ facts }) => !facts.startsWith('d '));
      if (this.operation.operation_type !== 'undo')
        await this.hold(changed.map(({ path, facts }) => ({ path, current: null, before: facts })));
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
      if (this.operation.operation_type === 'undo') await this.forget(changed.map(({ path }) => path));
    }
    await this.pool.run('flush');
  }

  private async journal(notes: readonly FileAction[]): Promise<void> {
    if (notes.length === 0) return;
    const first = this.seq.next;
    this.seq.next += notes.length;
    const named = notes.map((note) => ({ ...note, path: this.meant(note.path) }));
    await recordActions(this.run.operationId, first, named, this.ctx);
  }
}

function isFolder(move: UndoMove | undefined): boolean {
  return move?.current.startsWith('d ') === true;
}

function isFile({ current, before }: Pick<UndoStep, 'current' | 'before'>): boolean {
  return !(before ?? current ?? '').startsWith('d ');
}

/** For people: how many paths an undo would touch. */
export function describeUndo(plans: readonly UndoPlan[]): string[] {
  return plans.flatMap(({ side, away, folders, back, moves, refused, notes }) => [
    `${side === 'backup' ? 'Backup' : 'Master'}: ${back.length} to put back, ${away.length} to move to the trash, ${folders.length} folders to make again, ${moves.length} to rename back, ${refused.length} refused`,
    ...[...refused, ...notes].map(({ path, message }) => `  ! ${displayPath(path)}: ${displayPath(message)}`),
  ]);
}
