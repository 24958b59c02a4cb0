/**
 * Random lives of a pair of drives: edits on both sides, runs of every kind, crashes, failing drives, cables pulled and put
 * back. `MODEL` lists the operations with their weights; each knows how to make its own random step and how to carry it
 * out. After each run `Life` compares what stands on the drives with what it knows must be there.
 */

import {
  type BigIntStats,
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { listConflicts, resolveConflicts } from '../../features/conflicts.ts';
import { setGroupOptions } from '../../features/groups.ts';
import { listOperations } from '../../features/history.ts';
import type { Keep } from '../../features/resolution.ts';
import { restoreFromBackup, undoOperation } from '../../features/restore.ts';
import type { RunFlags, SyncResult } from '../../features/sync.ts';
import { verifyFiles } from '../../features/verify.ts';
import type { Context } from '../../shared/context.ts';
import { errnoOf, TandemError } from '../../shared/errors.ts';
import type { GroupKey } from '../../shared/keyring.ts';
import { isInside } from '../../shared/paths.ts';
import { recoverDrive } from '../../shared/recover.ts';
import { formOf, isStoredWell, SUFFIXES, type Suffix, storedPath, suffixFor } from '../../shared/stored.ts';
import { closeFolder, openRoot } from '../../shared/syscalls.ts';
import { type Errno, type Mischief, mortal, under } from './calls.ts';
import { encoded, meaningAt, meaningOf } from './forms.ts';
import { differences, snapshotOf, type TestPair } from './pair.ts';

type Side = 'master' | 'backup';

/** Path → `f CONTENT`, `d` or `l TARGET`. */
type Tree = Map<string, string>;

/** How the Backup can replace a file; each has its own order of renames. */
export type Drive = 'exchange' | 'links' | 'renames' | 'plain';

/** Compressed, sealed, or as it is; null: this pair never stores anything in another form. */
export type Form = { suffix: Suffix; key: GroupKey } | null;

/** One step of a life. */
export interface Step {
  /** For reports: what fast-check prints. */
  toString(): string;
  run(life: Life): Promise<void>;
}

export interface Operation {
  name: string;
  weight: number;
  /** Makes the step from its random parameters. */
  step: fc.Arbitrary<Step>;
}

/** What a run promises, as flags of the library. */
interface Run {
  remove: boolean;
  checksum: boolean;
  path: string;
}

export class Life {
  readonly pair: TestPair;
  readonly drive: Drive;
  readonly away = new Set<Side>();
  /** What both sides may have agreed on, by path: a run may replace or delete nothing else on the Backup. */
  private agreed = new Map<string, Set<string>>();
  private serial = 0;
  /** The last run met with its accident. */
  private killed = false;
  /** Conflicts that the last completed run left. */
  private waiting = 0;
  /** Calls and changes of the last whole run, by which a mischief finds its place in the next one. */
  private last = { calls: 150, changes: 60 };

  /** A careful run was among them. */
  private careful = false;
  /** The last whole run left work for the next one. */
  private unsettled = false;
  /** How the Backup is to store files now. */
  private suffix: Suffix;
  /** Null: a pair whose files always have their own names. */
  private readonly key: GroupKey | null;

  constructor(pair: TestPair, drive: Drive, form: Form = null) {
    this.pair = pair;
    this.drive = drive;
    this.suffix = form?.suffix ?? '';
    this.key = form?.key ?? null;
  }

  /** Both drives as they were on the day they were paired. */
  async reset(): Promise<void> {
    for (const root of [this.pair.master, this.pair.backup]) {
      for (const name of readdirSync(root)) if (name !== '.tandem') rmSync(join(root, name), { recursive: true });
      for (const name of readdirSync(join(root, '.tandem')))
        if (name !== 'drive.json' && name !== 'keyring.json') rmSync(join(root, '.tandem', name), { recursive: true });
    }
    const file = join(this.pair.backup, '.tandem/drive.json');
    const signature = JSON.parse(readFileSync(file, 'utf8')) as { traits: Record<string, unknown> };
    const plain = this.drive === 'plain';
    signature.traits['hard_links'] = this.drive === 'exchange' || this.drive === 'links';
    signature.traits['exchange'] = this.drive === 'exchange';
    signature.traits['stable_ids'] = !plain;
    writeFileSync(file, JSON.stringify(signature));
    const db = await this.pair.ctx.db();
    await db.run('PRAGMA synchronous = OFF');
    await db.run('DELETE FROM pairs');
    await db.run('DELETE FROM sync_operations');
    if (this.key) await this.setOptions();
  }

  /**
   * Another form from now on. Stored files that no record knows are strangers' files on a Backup that stores none, and plain
   * ones on a Backup that does: the user takes them away.
   */
  async turn(suffix: Suffix): Promise<void> {
    if (!this.key || this.away.size > 0) return;
    this.suffix = suffix;
    await this.setOptions();
    const recorded = new Set((await this.pair.rows()).map(({ path, stored_name }) => storedPath(path, stored_name)));
    const root = this.rootOf('backup');
    for (const [place, entry] of treeOf(root)) {
      if (entry === 'd' || entry.startsWith('l ') || recorded.has(place)) continue;
      if ((meaningAt(root, place, this.key).suffix === '') === (suffix !== '')) rmSync(join(root, place));
    }
  }

  private async setOptions(): Promise<void> {
    const { compression, sealed } = formOf(this.suffix);
    const words = [
      `enable_encryption=${sealed}`,
      `enable_compression=${compression !== null}`,
      `compression_type=${compression ?? 'gzip'}`,
      'compression_level=1',
    ];
    await setGroupOptions('Archive', words, undefined, this.pair.ctx);
  }

  rootOf(side: Side): string {
    const root = side === 'master' ? this.pair.master : this.pair.backup;
    return this.away.has(side) ? `${root}-away` : root;
  }

  files(side: Side): string[] {
    return [...treeOf(this.rootOf(side), undefined, this.keyOf(side))]
      .filter(([, entry]) => entry !== 'd')
      .map(([path]) => path);
  }

  private keyOf(side: Side): GroupKey | null {
    return side === 'backup' ? this.key : null;
  }

  /** Where a file or link of this path stands, in whatever form. */
  private places(side: Side, path: string): string[] {
    const root = this.rootOf(side);
    const suffixes: readonly Suffix[] = this.keyOf(side) ? ['', ...SUFFIXES] : [''];
    return suffixes
      .map((suffix) => path + suffix)
      .filter((place) => {
        const stat = lookAt(join(root, place));
        if (!stat || stat.isDirectory()) return false;
        return !stat.isFile() || !this.keyOf(side) || meaningAt(root, place, this.key).path === path;
      })
      .map((place) => join(root, place));
  }

  /** A file as a user puts it there; onto a Backup that stores files in another form as another computer would. */
  private put(side: Side, path: string, content: string): void {
    const full = this.makeRoom(side, path);
    for (const place of this.places(side, path)) rmSync(place);
    const suffix = this.keyOf(side) ? suffixFor(path, this.suffix) : '';
    rmSync(full, { recursive: true, force: true });
    rmSync(full + suffix, { recursive: true, force: true });
    writeFileSync(full + suffix, encoded(path, content, suffix, this.key));
    utimesSync(full + suffix, 1e9 + this.serial * 10, 1e9 + this.serial * 10);
  }

  // --- edits ---

  /** Content that never was before, in one of three lengths. */
  private fresh(length: number): string {
    this.serial += 1;
    return `${this.serial}:`.padEnd(8 + length * 8, 'x');
  }

  write(side: Side, path: string, length: number): void {
    const content = this.fresh(length);
    this.put(side, path, content);
  }

  /** Other content of the same size with the same time; on a drive without ctime nothing but reading would tell. */
  async writeInSecret(side: Side, path: string): Promise<void> {
    const full = this.places(side, path)[0] ?? join(this.rootOf(side), path);
    const before = lookAt(full);
    if (!before?.isFile() || this.drive === 'plain') return;
    const suffix = full.slice(join(this.rootOf(side), path).length) as Suffix;
    // A change within one tick of the clock cannot be told by any time: this one comes a tick later.
    await new Promise((done) => setTimeout(done, 11));
    const size =
      suffix === '' ? Number(before.size) : meaningAt(this.rootOf(side), path + suffix, this.key).content.length;
    writeFileSync(full, encoded(path, this.fresh(0).slice(0, size).padEnd(size, 'y'), suffix, this.key));
    utimesSync(full, Number(before.mtimeMs) / 1000, Number(before.mtimeMs) / 1000);
  }

  /** The same new content on both sides. */
  async writeBoth(path: string, length: number): Promise<void> {
    const content = this.fresh(length);
    for (const side of ['master', 'backup'] as const) this.put(side, path, content);
  }

  remove(side: Side, path: string): void {
    const places = this.places(side, path);
    for (const place of places) rmSync(place);
    const full = join(this.rootOf(side), path);
    if (lookAt(full)?.isDirectory()) rmSync(full, { recursive: true });
  }

  rename(side: Side, from: string, to: string): void {
    if (isInside(to, from) || isInside(from, to)) return;
    const old = join(this.rootOf(side), from);
    const source = lookAt(old)?.isDirectory() ? old : this.places(side, from)[0];
    if (source === undefined) return;
    // Anything else would be a stranger under its new name.
    const suffix = source.slice(old.length) as Suffix;
    const folder = source === old && lookAt(old)?.isDirectory();
    if (this.keyOf(side) && (folder || suffix !== suffixFor(from, this.suffix))) return;
    const target = this.makeRoom(side, to);
    for (const place of this.places(side, to)) rmSync(place);
    rmSync(target, { recursive: true, force: true });
    rmSync(target + source.slice(old.length), { recursive: true, force: true });
    renameSync(source, target + source.slice(old.length));
  }

  folder(side: Side, path: string): void {
    const full = this.makeRoom(side, path);
    for (const place of this.places(side, path)) rmSync(place);
    clear(full);
    mkdirSync(full, { recursive: true });
  }

  link(side: Side, path: string, target: string): void {
    const full = this.makeRoom(side, path);
    for (const place of this.places(side, path)) rmSync(place);
    rmSync(full, { recursive: true, force: true });
    symlinkSync(target, full);
  }

  mode(side: Side, path: string, mode: number): void {
    for (const place of this.places(side, path)) if (lookAt(place)?.isFile()) chmodSync(place, mode);
  }

  /** A parent that is a file or a link gives way: that is how types change, and no edit leaves the drive. */
  private makeRoom(side: Side, path: string): string {
    const parts = path.split('/');
    for (let count = 1; count < parts.length; count += 1) {
      const above = parts.slice(0, count).join('/');
      for (const place of this.places(side, above)) rmSync(place);
      clear(join(this.rootOf(side), above));
    }
    const full = join(this.rootOf(side), path);
    mkdirSync(dirname(full), { recursive: true });
    return full;
  }

  // --- cables ---

  unplug(side: Side): void {
    if (this.away.has(side)) return;
    const root = this.rootOf(side);
    renameSync(root, `${root}-away`);
    this.away.add(side);
  }

  replug(side: Side): void {
    if (!this.away.has(side)) return;
    const root = this.rootOf(side);
    this.away.delete(side);
    renameSync(root, this.rootOf(side));
  }

  // --- runs ---

  /** One run, whatever happens to it, and the proof of what holds after any run. */
  async run(run: Run, mischief: Accident): Promise<SyncResult | undefined> {
    const before = this.look();
    const recovers = this.killed;
    const flags = flagsOf(run);
    let result: SyncResult | undefined;
    const chosen = mischief(this.last);
    const outcome = await under(chosen, async () => {
      result = await this.pair.sync(flags, mortal(this.pair.ctx));
    });
    this.killed = outcome.struck;
    this.orphanLocks();
    const after = this.look();
    this.nothingLost(before, after, outcome.struck);
    this.carryAlong(before.backup.tree, after.backup.tree);
    if (outcome.struck) {
      this.learn(after, true, run.path);
      return undefined;
    }
    if (outcome.error !== undefined) {
      this.refused(outcome.error, before, after, run, recovers);
      return undefined;
    }
    this.last = { calls: Math.max(60, outcome.calls), changes: Math.max(40, outcome.changes) };
    const done = result as unknown as SyncResult;
    // Two paths that would have one name, while a conflict keeps one of them where it is.
    const alike = done.problems.some(({ message }) => message.includes('rename one of the two'));
    // Of a file that somebody changed beside the one that is recorded, neither is touched.
    const doubled = done.problems.some(({ message }) => message.includes('in two forms'));
    // A careful run forgets what differs, and with it which file a name stood for.
    const strange = this.careful && done.problems.every(({ message }) => /did not put it there|careful/.test(message));
    if (this.key && done.status === 'failed' && (alike || strange || doubled)) {
      this.learn(after, true, run.path);
      return undefined;
    }
    assert.is(done.status, 'completed', JSON.stringify(done.problems));
    // A second form that a failure left may speak for itself once its file is gone; a careful run converts nothing.
    const careful = this.key !== null && done.problems.some(({ message }) => message.startsWith('careful run'));
    this.unsettled = before.backup.second.length > 0 || careful;
    this.careful ||= careful;
    if (!this.unsettled) await this.completed(done, after, run);
    this.learn(after, this.unsettled, run.path);
    return done;
  }

  /** @param alone the next start gets as far as recovery, and no further: that much must be right by then. */
  async crash(run: Run, mischief: Accident, alone: boolean): Promise<void> {
    const before = this.look();
    await this.run(run, mischief);
    if (!alone || !this.killed || this.away.size > 0) return;
    const root = openRoot(this.pair.backup);
    recoverDrive(root);
    closeFolder(root);
    const after = this.look();
    this.nothingLost(before, after, false);
    this.learn(after, true, '');
  }

  /** Settles some of what waits: each drive keeps all that it held, live or as a version, and nothing else moves. */
  async resolve(keep: Keep, some: number, mischief: Accident): Promise<void> {
    const waiting = await listConflicts('Archive', undefined, this.pair.ctx);
    const chosen = waiting.filter((_, index) => ((some >> (index % 8)) & 1) === 1).map(({ path }) => path);
    if (chosen.length === 0) return;
    const choice = Object.fromEntries(chosen.map((path) => [path, keep]));
    await this.both(mischief, (ctx) => resolveConflicts('Archive', choice, ctx));
  }

  /** Undoes the last operation that changed anything. */
  async undo(mischief: Accident): Promise<void> {
    const ended = (await listOperations({ limit: 10 }, this.pair.ctx)).filter(({ status }) => status === 'completed');
    const last = ended.find((one) => one.files_copied + one.files_moved + one.files_deleted > 0);
    if (last) await this.both(mischief, (ctx) => undoOperation(last.uuid, {}, ctx));
  }

  /** Work that may change both drives. */
  private async both(mischief: Accident, work: (ctx: Context) => Promise<unknown>): Promise<void> {
    const before = this.look();
    const outcome = await under(mischief(this.last), () => work(mortal(this.pair.ctx)));
    this.killed = outcome.struck;
    this.orphanLocks();
    const after = this.look();
    for (const side of ['master', 'backup'] as const) {
      const kept = new Set([...after[side].tree.values(), ...after[side].trash.values(), ...after[side].second]);
      for (const [path, entry] of [...before[side].tree, ...before[side].trash])
        if (entry !== 'd' && !kept.has(entry) && !this.isStaged(entry, outcome.struck, side))
          assert.unreachable(`${JSON.stringify(entry)}, once at ${path}, is gone from the ${side} without a version`);
    }
    if (!outcome.struck && outcome.error !== undefined && !(outcome.error instanceof TandemError)) throw outcome.error;
    this.learn(after, true, '');
  }

  /** Writes nothing at all. */
  async dryRun(run: Run): Promise<void> {
    if (this.away.size > 0) return;
    const before = [this.pair.master, this.pair.backup].map(snapshotOf);
    await this.pair.plan(flagsOf(run)).catch((error: unknown) => {
      if (!(error instanceof TandemError)) throw error;
    });
    [this.pair.master, this.pair.backup].forEach((root, index) => {
      assert.equal(differences(before[index] ?? {}, snapshotOf(root)), [], 'a dry run writes nothing');
    });
  }

  /** Again the same run: nothing more to do, and conflicts stay. */
  async repeat(run: Run): Promise<void> {
    const first = await this.run(run, quiet);
    if (!first || this.unsettled) return;
    const { waiting } = this;
    const before = this.look();
    const second = await this.run(run, quiet);
    if (!second) return;
    const after = this.look();
    assert.is(second.conflicts_detected, waiting, 'conflicts stay until they are resolved');
    assert.equal([second.files_copied, second.files_deleted], [0, 0], 'a second run copies and deletes nothing');
    assert.equal([...after.backup.facts], [...before.backup.facts], 'a second run changes nothing');
  }

  /** All cables in, and a clean run: nothing that happened before keeps the sides from coming together. */
  async end(): Promise<void> {
    for (const side of ['master', 'backup'] as const) this.replug(side);
    const last = { remove: true, checksum: false, path: '' };
    let result = await this.run(last, quiet);
    if (this.unsettled) result = await this.run(last, quiet);
    if (this.unsettled) return;
    // What lies there under its own name was told: it is nobody's, and the user's to judge.
    if (this.key && result && this.waiting === 0) await this.wholeAndReadable(new Set(strangersOf(result)));
  }

  /** With nothing waiting, every file is stored as it is to be, and gives back what the Master has. */
  private async wholeAndReadable(strangers: ReadonlySet<string>): Promise<void> {
    const { ctx, box, backup, master } = this.pair;
    for (const place of treeOf(backup).keys()) {
      if (!lookAt(join(backup, place))?.isFile() || strangers.has(place)) continue;
      const { path, suffix } = meaningAt(backup, place, this.key);
      const form = { wanted: this.suffix, asked: this.suffix, active: true, sealed: true };
      assert.ok(isStoredWell(form, path, suffix), `${place} is not stored as it is to be`);
    }
    if ((await this.pair.rows()).length === 0) return;
    const verified = await verifyFiles('Archive', {}, ctx);
    assert.equal(
      [verified.status, verified.findings],
      ['completed', []],
      JSON.stringify([verified.status, verified.findings]),
    );
    const out = join(box.root, `out-${this.serial}`);
    const restored = await restoreFromBackup('Archive', { to: out }, ctx);
    assert.equal([restored.status, restored.problems], ['completed', []], JSON.stringify(restored.problems));
    assert.equal([...treeOf(out)].sort(), [...treeOf(master)].sort(), 'what is restored is what the Master has');
    rmSync(out, { recursive: true });
  }

  private look(): { master: Look; backup: Look } {
    return { master: lookAround(this.rootOf('master'), null), backup: lookAround(this.rootOf('backup'), this.key) };
  }

  /** What a run may never do, even if it is killed or the drive fails under it. */
  private nothingLost(before: Looks, after: Looks, struck: boolean): void {
    assert.equal([...after.master.facts], [...before.master.facts], 'the Master is only read');
    const kept = new Set([...after.backup.tree.values(), ...after.backup.trash.values(), ...after.backup.second]);
    const others = before.backup.second.map((entry) => ['a second form', entry] as const);
    for (const [path, entry] of [...before.backup.tree, ...before.backup.trash, ...others])
      if (entry !== 'd' && !kept.has(entry) && !this.isStaged(entry, struck))
        assert.unreachable(`${JSON.stringify(entry)}, once at ${path}, is gone from the Backup without a version`);
    for (const [path, entry] of after.backup.tree) {
      if (entry === 'd' || entry === before.backup.tree.get(path)) continue;
      // Struck between the rename of a folder and the update of what was edited in it.
      const former = struck ? [...before.backup.tree].filter(([, one]) => one === entry) : [];
      if (former.some(([old]) => !after.backup.tree.has(old) && !before.master.tree.has(old))) continue;
      assert.is(entry, before.master.tree.get(path), `${path} is neither what it was nor what the Master has`);
    }
    for (const [path, entry] of before.backup.tree) {
      if (entry === 'd') continue;
      const now = after.backup.tree.get(path);
      const wanted = before.master.tree.get(path);
      // A stored file that no record knows stays where it is, beside what came under its own name.
      if (after.backup.second.includes(entry)) continue;
      if (now === undefined && wanted !== undefined && wanted !== 'd' && !this.isStaged(entry, struck))
        assert.unreachable(`${path} is gone from the Backup, and is on the Master`);
      if (now !== entry && entry !== wanted && !this.agreed.get(path)?.has(entry) && !this.isStaged(entry, struck))
        assert.unreachable(`${path} on the Backup was never agreed on, and became ${JSON.stringify(now)}`);
    }
  }

  /**
   * Between two renames on a drive without exchange, what stood at a path is in the trash or in a partial, and an intent
   * record says so: the next run puts it right before it looks at anything.
   */
  private isStaged(entry: string, struck: boolean, side: Side = 'backup'): boolean {
    if (!struck) return false;
    const own = join(this.rootOf(side), '.tandem');
    const intents = treeOf(join(own, 'intent'));
    const held = ['partial', 'trash'].flatMap((name) => [...contentsOf(join(own, name), this.keyOf(side))]);
    return intents.size > 0 && held.includes(entry);
  }

  /** Refusals that a run may end in without any mischief; nothing was changed, but for what a killed run before it left. */
  private refused(error: unknown, before: Looks, after: Looks, run: Run, recovers: boolean): void {
    if (!(error instanceof TandemError)) throw error;
    const expected =
      (error.code === 'drive_missing' && this.away.size > 0) ||
      (error.code === 'guard' && error.guard === 'empty-master') ||
      (error.code === 'not_found' && run.path !== '');
    if (!expected) throw error;
    if (!recovers) assert.equal([...after.backup.tree], [...before.backup.tree], 'a refused run changes nothing');
  }

  /** What `completed` means. */
  private async completed(result: SyncResult, after: Looks, run: Run): Promise<void> {
    assert.is(this.away.size, 0, 'no run completes without both drives');
    // The run has deleted the last of what it was asked to look at: there is nothing left to ask about.
    if (![after.master.tree, after.backup.tree].some((tree) => run.path === '' || tree.has(run.path))) {
      this.waiting = 0;
      return;
    }
    const plan = await this.pair.plan(flagsOf(run));
    const open = plan.actions.filter(({ kind }) => kind === 'conflict');
    const conflicts = open.map(({ path }) => path);
    // A folder is a conflict of its own once the run has taken away what spoke for it.
    const files = open.filter(({ entry }) => entry !== 'd').length;
    const same = files <= result.conflicts_detected && result.conflicts_detected <= open.length;
    assert.ok(same, `${result.conflicts_detected} conflicts became ${JSON.stringify(conflicts)}`);
    this.waiting = open.length;
    assert.equal(
      plan.actions.filter(({ kind }) => kind !== 'conflict' && kind !== 'adopt'),
      [],
      `applying twice is applying once: ${JSON.stringify(plan.actions)} after ${JSON.stringify(result)}`,
    );
    for (const path of new Set([...after.master.tree.keys(), ...after.backup.tree.keys()])) {
      if (after.master.tree.get(path) === after.backup.tree.get(path) || !isInside(path, run.path)) continue;
      const stored = this.careful ? SUFFIXES.map((suffix) => path + suffix) : [];
      const explained = [...conflicts, ...strangersOf(result)].some(
        (at) => isInside(at, path) || isInside(path, at) || stored.includes(at),
      );
      assert.ok(explained, `${path} differs after a completed run, and neither conflict nor problem says why`);
    }
  }

  /** @param partly the run may have recorded any of what is equal now. */
  private learn({ master, backup }: Looks, partly: boolean, scope: string): void {
    for (const path of new Set([...this.agreed.keys(), ...master.tree.keys()])) {
      if (!isInside(path, scope)) continue;
      const entry = master.tree.get(path);
      if (entry !== backup.tree.get(path)) continue;
      if (entry === undefined) {
        if (!partly) this.agreed.delete(path);
      } else this.agreed.set(path, new Set(partly ? [...(this.agreed.get(path) ?? []), entry] : [entry]));
    }
  }

  /** What was renamed is what was agreed on under its former name. */
  private carryAlong(before: Tree, after: Tree): void {
    const gone = [...before].filter(([path]) => !after.has(path));
    for (const [path, entry] of after) {
      if (entry === 'd' || before.get(path) === entry) continue;
      const carried = gone.some(([old, one]) => one === entry && this.agreed.get(old)?.has(entry));
      if (carried) this.agreed.set(path, new Set([...(this.agreed.get(path) ?? []), entry]));
    }
  }

  /** The process is gone, so its locks are stale, as they would be after a kill. */
  private orphanLocks(): void {
    for (const side of ['master', 'backup'] as const) {
      const file = join(this.rootOf(side), '.tandem/lock');
      if (!lookAt(file)) continue;
      const text = readFileSync(file, 'utf8');
      if (text.trim() === '') continue;
      writeFileSync(file, JSON.stringify({ ...(JSON.parse(text) as object), boot_id: 'former' }).padEnd(1024));
    }
  }
}

/** Plain files on a Backup that stores others: told, and nobody's. */
function strangersOf({ problems }: SyncResult): string[] {
  return problems.flatMap(({ path, message }) => (message.startsWith('lies under its own name') ? [path] : []));
}

/** Finds its place by the length of the last whole run. */
type Accident = (last: { calls: number; changes: number }) => Mischief;

const quiet = (): Mischief => ({ kind: 'none' });

interface Look {
  tree: Tree;
  /** Stat of every entry. */
  facts: Map<string, string>;
  /** Versions, by operation and path. */
  trash: Tree;
  /** What files hold that stand there in a second form. */
  second: string[];
}

interface Looks {
  master: Look;
  backup: Look;
}

function flagsOf({ remove, checksum, path }: Run): RunFlags {
  const options = { on_master_delete: remove ? ('trash' as const) : ('ask' as const), checksum };
  return path === '' ? { options } : { options, path };
}

function lookAround(root: string, key: GroupKey | null): Look {
  const facts = new Map<string, string>();
  const trash = join(root, '.tandem/trash');
  const versions = key === null ? treeOf(trash) : new Map(contentsOf(trash, key).map((one, at) => [String(at), one]));
  const second: string[] = [];
  return { tree: treeOf(root, facts, key, second), facts, trash: versions, second };
}

/** What the files and links below hold, whatever form and name they have there. */
function contentsOf(root: string, key: GroupKey | null): string[] {
  return [...treeOf(root)].flatMap(([path, entry]) => {
    if (entry === 'd' || entry.startsWith('l ') || key === null) return [entry];
    const bytes = readFileSync(join(root, path));
    const forms = SUFFIXES.map((suffix) => meaningOf(`x${suffix}`, bytes, key)).filter(({ suffix }) => suffix !== '');
    const whole = forms.find(({ content }) => content !== 'damaged') ?? forms[0];
    return [whole ? `f ${whole.content}` : entry];
  });
}

/** Everything below `root` but `.tandem`; with a key by the paths that names stand for. */
function treeOf(root: string, facts?: Map<string, string>, key: GroupKey | null = null, second?: string[]): Tree {
  const tree: Tree = new Map();
  const visit = (folder: string, prefix: string): void => {
    for (const name of namesIn(folder)) {
      if (prefix === '' && name === '.tandem') continue;
      const full = `${folder}/${name}`;
      const path = `${prefix}${name}`;
      const stat = lstatSync(full, { bigint: true });
      facts?.set(path, `${stat.mode} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs} ${stat.nlink}`);
      if (stat.isDirectory()) {
        tree.set(path, 'd');
        visit(full, `${path}/`);
      } else if (stat.isSymbolicLink()) tree.set(path, `l ${readlinkSync(full)}`);
      else if (key === null) tree.set(path, `f ${readFileSync(full, 'utf8')}`);
      else {
        const { path: meant, content } = meaningOf(path, readFileSync(full), key);
        if (tree.has(meant)) second?.push(`f ${content}`);
        else tree.set(meant, `f ${content}`);
      }
    }
  };
  visit(root, '');
  return tree;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Undefined where nothing is, also below what is a file or a link. */
function lookAt(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    if (['ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** Removes what is no folder. */
function clear(path: string): void {
  const stat = lookAt(path);
  if (stat && !stat.isDirectory()) rmSync(path);
}

// --- operations ---

/** Few names, so that edits meet: as files, as folders, as links, with a newline in one. */
const name = fc.constantFrom('a', 'b', 'A', 'n\nl', 'é');
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
/** Edits of the Master are what a backup is for. */
const side = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Side>('master') },
  { weight: 2, arbitrary: fc.constant<Side>('backup') },
);
const run = fc.record<Run>({
  remove: fc.boolean(),
  checksum: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  path: fc.oneof({ weight: 6, arbitrary: fc.constant('') }, { weight: 1, arbitrary: name }),
});
const keep = fc.constantFrom<Keep>('master', 'backup', 'both', 'newest', 'largest');
const errno = fc.constantFrom<Errno>('EIO', 'ENOSPC', 'EACCES', 'EROFS', 'ENOENT');
/** Where in a run something happens, as a share of its length. */
const moment = fc.noBias(fc.nat(999)).map((thousandth) => thousandth / 1000);

/** Something to do for the run that meets with an accident. */
const work = fc.array(fc.record({ path, known: fc.nat(9), length: fc.nat(2), gone: fc.nat(3) }), {
  minLength: 1,
  maxLength: 4,
});

/** @param edits with `known` below 6: that file of the Master, where there are so many. */
function busy(life: Life, edits: readonly { path: string; known: number; length: number; gone: number }[]): void {
  for (const { path, known, length, gone } of edits) {
    const place = (known < 6 ? life.files('master')[known] : undefined) ?? path;
    if (gone === 0) life.remove('master', place);
    else life.write('master', place, length);
  }
}

function operation<T>(
  title: string,
  weight: number,
  parameters: fc.Arbitrary<T>,
  work: (life: Life, parameters: T) => unknown,
): Operation {
  const step = parameters.map(
    (values): Step => ({
      toString: () => `${title} ${JSON.stringify(values)}`,
      run: async (life) => void (await work(life, values)),
    }),
  );
  return { name: title, weight, step };
}

/** The run before may have been a quiet one: some places lie beyond the end of this one, where nothing happens. */
const place = (share: number, length: number): number => 1 + Math.floor(share * length * 1.5);

/** Further operations are further lines; a step may do anything that its `Life` can. */
export const MODEL: readonly Operation[] = [
  operation('write', 8, fc.record({ side, path, length: fc.nat(2) }), (life, { side, path, length }) =>
    life.write(side, path, length),
  ),
  operation('write in secret', 2, fc.record({ side, path }), (life, { side, path }) => life.writeInSecret(side, path)),
  operation('write both', 1, fc.record({ path, length: fc.nat(2) }), (life, { path, length }) =>
    life.writeBoth(path, length),
  ),
  operation('remove', 5, fc.record({ side, path }), (life, { side, path }) => life.remove(side, path)),
  operation('rename', 3, fc.record({ side, from: path, to: path }), (life, { side, from, to }) =>
    life.rename(side, from, to),
  ),
  operation('folder', 2, fc.record({ side, path }), (life, { side, path }) => life.folder(side, path)),
  operation(
    'link',
    2,
    fc.record({ side, path, target: fc.constantFrom('a', '../b', '/nowhere') }),
    (life, { side, path, target }) => life.link(side, path, target),
  ),
  operation('mode', 1, fc.record({ side, path, mode: fc.constantFrom(0o600, 0o755) }), (life, { side, path, mode }) =>
    life.mode(side, path, mode),
  ),
  operation('sync', 6, run, (life, flags) => life.run(flags, quiet)),
  operation('sync twice', 1, run, (life, flags) => life.repeat(flags)),
  operation('dry run', 1, run, (life, flags) => life.dryRun(flags)),
  operation('crash', 5, fc.record({ work, run, moment, alone: fc.boolean() }), (life, { work, run, moment, alone }) => {
    busy(life, work);
    return life.crash(run, ({ changes }) => ({ kind: 'kill', at: place(moment, changes) }), alone);
  }),
  operation(
    'fault',
    4,
    fc.record({ work, run, moment, code: errno, forever: fc.boolean() }),
    (life, { work, run, moment, code, forever }) => {
      busy(life, work);
      return life.run(run, ({ calls }) => ({ kind: 'fail', at: place(moment, calls), code, forever }));
    },
  ),
  operation('resolve', 3, fc.record({ keep, some: fc.integer({ min: 1, max: 255 }) }), (life, { keep, some }) =>
    life.resolve(keep, some, quiet),
  ),
  operation(
    'fault in a resolution',
    2,
    fc.record({ keep, some: fc.integer({ min: 1, max: 255 }), moment, kill: fc.boolean(), code: errno }),
    (life, { keep, some, moment, kill, code }) =>
      life.resolve(keep, some, ({ calls, changes }) =>
        kill
          ? { kind: 'kill', at: place(moment, changes) }
          : { kind: 'fail', at: place(moment, calls), code, forever: false },
      ),
  ),
  operation('undo', 2, fc.constant(null), (life) => life.undo(quiet)),
  operation('killed undo', 1, moment, (life, share) =>
    life.undo(({ changes }) => ({ kind: 'kill', at: place(share, changes) })),
  ),
  operation('fault in an undo', 1, fc.record({ moment, code: errno }), (life, { moment, code }) =>
    life.undo(({ calls }) => ({ kind: 'fail', at: place(moment, calls), code, forever: false })),
  ),
  operation('unplug', 1, side, (life, which) => life.unplug(which)),
  operation('replug', 2, side, (life, which) => life.replug(which)),
];

export interface Story {
  drive: Drive;
  steps: Step[];
  /** How the Backup stores files on the first day. */
  suffix?: Suffix;
}

/** Whole lives. `toString` of a step is what a failure prints. */
export function lives(operations: readonly Operation[], maxLength: number): fc.Arbitrary<Story> {
  return fc.record({
    drive: fc.constantFrom<Drive>('exchange', 'links', 'renames', 'plain'),
    steps: fc.array(fc.oneof(...operations.map(({ weight, step }) => ({ weight, arbitrary: step }))), {
      minLength: 4,
      maxLength,
    }),
  });
}

const suffix = fc.constantFrom<Suffix>('', '.gz', '.lz4', '.encrypted', '.gz.encrypted', '.lz4.encrypted');
/** Names that are stored names of each other. */
const alike = fc.constantFrom('a', 'a.gz', 'a.lz4', 'a.encrypted', 'b/a', 'b/a.gz', 'b/a.encrypted');

/** Further steps of a pair whose Backup compresses or seals what it stores. */
export const STORED_MODEL: readonly Operation[] = [
  ...MODEL,
  operation('form', 5, suffix, (life, wanted) => life.turn(wanted)),
  operation('write alike', 3, fc.record({ path: alike, length: fc.nat(2) }), (life, { path, length }) =>
    life.write('master', path, length),
  ),
  operation(
    'converted and killed',
    5,
    fc.record({ wanted: suffix, run, moment, alone: fc.boolean() }),
    async (life, { wanted, run, moment, alone }) => {
      await life.turn(wanted);
      await life.crash(run, ({ changes }) => ({ kind: 'kill', at: place(moment, changes) }), alone);
    },
  ),
  operation(
    'converted with a fault',
    3,
    fc.record({ wanted: suffix, run, moment, code: errno, forever: fc.boolean() }),
    async (life, { wanted, run, moment, code, forever }) => {
      await life.turn(wanted);
      await life.run(run, ({ calls }) => ({ kind: 'fail', at: place(moment, calls), code, forever }));
    },
  ),
];

/** Whole lives that begin with a Backup in one of the forms. */
export function storedLives(maxLength: number): fc.Arbitrary<Story> {
  return fc
    .record({ story: lives(STORED_MODEL, maxLength), suffix })
    .map(({ story, suffix }) => ({ ...story, suffix }));
}

/** Lives one story from the first day to a clean end. @param key of a pair whose Backup may store files in another form. */
export async function live(pair: TestPair, { drive, steps, suffix }: Story, key?: GroupKey): Promise<void> {
  const life = new Life(pair, drive, key && suffix !== undefined ? { suffix, key } : null);
  try {
    await life.reset();
    for (const step of steps) {
      await step.run(life);
    }
    await life.end();
  } finally {
    for (const which of ['master', 'backup'] as const) life.replug(which);
  }
}
