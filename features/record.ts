/**
 * What a run writes down: the baseline of what both sides agree on now, and in the journal what was done to each path.
 */
import type { Context } from '../shared/context.ts';
import type { InboxEntry } from '../shared/inbox.ts';
import type { ChangeLog } from '../shared/manifest.ts';
import { recordPairs } from '../shared/mhl-hashes.ts';
import { removeTree } from '../shared/recover.ts';
import { movedFrom } from '../shared/renames.ts';
import { type BaselineRow, makeSidedRow, type RowExtras, sidesOf } from '../shared/rows.ts';
import { storedPath } from '../shared/stored.ts';
import type { Dir } from '../shared/syscalls.ts';
import { trashFolder } from '../shared/trash.ts';
import { markVerified } from '../shared/verified.ts';
import { type FileAction, readRows, recordActions, writeBaseline, writeCopied } from './history.ts';
import type { OpenPair } from './session.ts';

/** Of a step of a run. */
export interface RecordTarget {
  pairId: number;
  operationId: number;
  operation: string;
  plan: { target: { group_id: string }; options: { versions: { enabled: boolean } } };
  /** `reversed`: copied from the Backup to the Master. */
  pair: Pick<OpenPair, 'reversed' | 'storedSide' | 'workers'> & { backup: { dir: Dir } };
  /** False: what is copied is no agreement of both sides (an older version, another folder), so no rows are written. */
  agrees: boolean;
  /** Of the drive that is written to. */
  changes: ChangeLog;
  /** Number of the next action in the journal of the operation. */
  firstSeq: number;
}

export class RunRecord {
  private readonly target: RecordTarget;
  private readonly ctx: Context;
  private seq: number;

  constructor(target: RecordTarget, ctx: Context) {
    this.target = target;
    this.seq = target.firstSeq;
    this.ctx = ctx;
  }

  /** Conflicts that showed only when the plan was carried out. */
  readonly late: InboxEntry[] = [];

  /** The next look at both sides tells more. */
  lateConflict(path: string, reason: string): void {
    const entry = { path, conflict_type: 'modified_backup', reason, entry: 'f' } as const;
    this.late.push({ ...entry, master_facts: null, backup_facts: null });
  }

  get nextSeq(): number {
    return this.seq;
  }

  row(path: string, size: number, source: string, target: string, extras: RowExtras): BaselineRow {
    return makeSidedRow(this.target.pair.reversed, path, size, source, target, extras);
  }

  sides(row: BaselineRow): { source: string; target: string } {
    return sidesOf(row, this.target.pair.reversed);
  }

  async write(rows: readonly BaselineRow[], removed: readonly string[], actions: readonly FileAction[]): Promise<void> {
    const { pairId, operationId, agrees, plan } = this.target;
    await this.notePairs();
    await this.noteChanges(rows, removed, actions);
    const changed = rows.length > 0 || removed.length > 0;
    if (agrees && changed) await writeBaseline(pairId, plan.target.group_id, 'sync', rows, removed, this.ctx);
    const first = this.seq;
    this.seq += actions.length;
    if (actions.length > 0) await recordActions(operationId, first, actions, this.ctx);
    if (changed && !plan.options.versions.enabled) this.dropVersions();
  }

  /** These files were read back from the drive that was written to, past its cache, before they took their names. */
  async readBack(rows: readonly BaselineRow[]): Promise<void> {
    const { pairId, agrees, pair } = this.target;
    const files = rows.filter(({ checksum }) => checksum !== '');
    if (agrees) await markVerified(pairId, pair.reversed ? 'master' : 'backup', files, this.ctx);
  }

  /** Before the rows: what is recorded has the checksum of manifests, also after a crash. */
  private async notePairs(): Promise<void> {
    await recordPairs(this.target.pair.workers?.takePairs() ?? [], this.ctx);
  }

  /** Versions are off: they go when the batch is on the medium and recorded, while nothing is being put into the trash. */
  private dropVersions(): void {
    removeTree(this.target.pair.backup.dir, trashFolder(this.target.operation, ''));
  }

  /** Before the rows are replaced: what they say is what stood there. */
  private async noteChanges(rows: readonly BaselineRow[], removed: readonly string[], actions: readonly FileAction[]) {
    const done = actions.filter(({ status, action }) => status === 'done' && action !== 'adopt');
    if (done.length === 0 && rows.length === 0) return;
    const paths = [...rows.map(({ path }) => path), ...removed];
    const old = await readRows(this.target.pairId, paths, this.ctx);
    const stands = (row: BaselineRow): string =>
      this.target.pair.storedSide === 'backup' ? storedPath(row.path, row.stored_name) : row.path;
    const before = new Map(old.map((row) => [row.path, stands(row)] as const));
    const after = new Map(rows.map((row) => [row.path, stands(row)] as const));
    const former = old.map((row) => [stands(row), { ...row, facts: this.sides(row).target }] as const);
    const left = new Map(rows.map((row) => [stands(row), this.sides(row).target] as const));
    const converted = new Set<string>();
    for (const action of done) {
      const from = movedFrom(action);
      const to = after.get(action.path) ?? action.path;
      const suffix = to.slice(action.path.length);
      if (from !== undefined) this.target.changes.moved(to, from + suffix, left.get(to) ?? '');
      // The content is the same, and nothing is left of the former form: there is nothing to be undone.
      if (action.action === 'convert') converted.add(to);
    }
    for (const path of converted) left.delete(path);
    const named = done.filter(({ action }) => action !== 'convert').flatMap((one) => placed(one, before, after));
    this.target.changes.note(left, named, new Map(former));
  }

  note(actions: readonly FileAction[]): Promise<void> {
    return this.write([], [], actions);
  }

  /** @param texts rows of the baseline as JSON arrays, joined by commas; so many `files` altogether. */
  async copied(files: number, texts: readonly string[]): Promise<void> {
    const { pairId, operationId, plan } = this.target;
    await this.notePairs();
    const first = this.seq;
    this.seq += files;
    this.target.changes.bulk = true;
    await writeCopied(pairId, plan.target.group_id, operationId, first, texts, this.ctx);
  }
}

// --- internal ---

/** In the names that the drive has: a replacement that got another name is a new file, and the old one is gone. */
function placed(
  { path, action }: FileAction,
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): { path: string; action: string }[] {
  const [old, now] = [before.get(path) ?? path, after.get(path) ?? before.get(path) ?? path];
  if (action === 'delete') return [{ path: old, action }];
  if (action !== 'update' || old === now) return [{ path: now, action }];
  return [
    { path: old, action: 'delete' },
    { path: now, action: 'copy' },
  ];
}
