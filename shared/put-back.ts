/**
 * Puts versions back to where they were: the undo of an operation on one drive. What stands there now goes to the trash of
 * the undoing operation first; a version is renamed, never copied. Like everything in transfer.ts it is synchronous and
 * runs in worker threads, and at every instant a path holds one of its complete contents.
 */
import { closeSync, constants, fchmodSync, fchownSync, lchownSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, explain } from './errors.ts';
import { Entry, factsOf } from './listing.ts';
import { isAsSeen, MoveTransfer } from './move-transfer.ts';
import { baseName, parentOf } from './paths.ts';
import { dropIntents, partialFolder, partialName, Torn, writeIntents } from './recover.ts';
import {
  type Dir,
  linkAt,
  mkdirAt,
  OPEN_READ,
  openAt,
  renameNoReplace,
  rmdirAt,
  type Stat,
  setTimes,
  setTimesAt,
  statAt,
  type Time,
} from './syscalls.ts';
import type { MoveBackItem, Outcome, PutBackItem, PutBackResult } from './tasks.ts';
import { trashFolder } from './trash.ts';

export class PutBack extends MoveTransfer {
  /** A replacement could be neither finished nor taken back: the intents of its batch stay for the next start. */
  private torn = false;

  /** In the order given. Files that the operation made are moved to the trash, its folders removed when empty. */
  takeAway(items: readonly PutBackItem[]): PutBackResult[] {
    this.close();
    return this.each(items, (item, folder, name) => {
      const there = statAt(folder, name);
      if (there === null) return this.done(item, folder, name);
      if (there.kind === 'd') {
        if (readdirSync(this.backups.open(item.path).path).length > 0)
          return refused(item, 'changed', 'kept: it holds files that the operation did not put there');
        this.backups.forget(item.path);
        rmdirAt(folder, name);
      } else {
        if (!this.isAsRecorded(there, item.current ?? '', item.shared)) return this.changed(item);
        this.putAside(folder, name, item.path, there);
      }
      return this.done(item, folder, name);
    });
  }

  /** Folders that were deleted, parents first. What was in them comes with `putBack`. */
  remakeFolders(items: readonly PutBackItem[]): PutBackResult[] {
    this.close();
    return this.each(items, (item, folder, name) => {
      const there = statAt(folder, name);
      if (there !== null && there.kind !== 'd') return this.changed(item);
      if (there === null) mkdirAt(folder, name, 0o777);
      return this.done(item, folder, name);
    });
  }

  /** Renames versions to where they were. */
  putBack(items: readonly PutBackItem[]): PutBackResult[] {
    this.close();
    const slots = new Map<number, string>();
    this.torn = false;
    const intents = this.announcePutBack(items, slots);
    const results = this.each(items, (item, folder, name) => this.putOneBack(item, folder, name, slots));
    if (intents !== undefined && !this.torn) {
      this.flush();
      dropIntents(this.session.backup, intents);
    }
    return results;
  }

  /** In the order given: a later item may build on an earlier one. Nothing that has the former name is overwritten. */
  moveBack(items: readonly MoveBackItem[]): PutBackResult[] {
    this.close();
    const steps = items.map((item) => ({ ...item, version: null, before: null }));
    return this.each(steps, (step, folder, name) => {
      const item = step as (typeof steps)[number];
      const there = statAt(folder, name);
      if (there === null || !isAsSeen(there, item.current, this.session.traits.stable)) return this.changed(item);
      // Their descriptors would go on leading to the folder, wherever it is.
      this.backups.forget(item.path);
      this.backups.forget(item.to);
      const home = this.backups.open(parentOf(item.to));
      const names = { seq: item.seq, from: item.path, path: item.to, respelled: item.respelled };
      if (!renameNoReplace(folder, name, home, baseName(item.to)) && !this.respell(names, folder))
        return refused(item, 'conflict', `its former name '${item.to}' is taken; nothing was overwritten`);
      return this.done(item, this.backups.open(parentOf(item.to)), baseName(item.to));
    });
  }

  /** Permissions, owner and times as facts say them, deepest paths first. */
  setMetadata(items: readonly { path: string; facts: string }[]): PutBackResult[] {
    this.close();
    return this.each(
      items.map(({ path, facts }, seq) => ({ seq, path, current: null, version: null, before: facts })),
      (item, folder, name) => {
        const there = statAt(folder, name);
        const wanted = new Entry(item.before ?? '', item.path);
        if (there === null || there.kind !== wanted.kind) return this.changed(item);
        this.applyFacts(folder, name, wanted, there);
        return this.done(item, folder, name);
      },
    );
  }

  private each(
    items: readonly PutBackItem[],
    one: (item: PutBackItem, folder: Dir, name: string) => PutBackResult,
  ): PutBackResult[] {
    return items.map((item) => {
      if (this.control.cancel()) return refused(item, 'stopped', 'cancelled before it was put back');
      this.nextItem(item.path);
      try {
        return one(item, this.backups.open(parentOf(item.path)), baseName(item.path));
      } catch (error) {
        this.torn ||= error instanceof Torn;
        const gone = errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR';
        return refused(item, 'failed', gone ? 'the folder that it was in is not there any more' : explain(error));
      }
    });
  }

  private done(item: PutBackItem, folder: Dir, name: string): PutBackResult {
    const placed = statAt(folder, name);
    const facts = placed === null ? null : factsOf(placed, this.session.traits.stable);
    return { seq: item.seq, outcome: 'done', message: '', facts };
  }

  private changed(item: PutBackItem): PutBackResult {
    return refused(item, 'conflict', `it changed on the ${this.target} since; nothing was undone here`);
  }

  /** Where no hard link can keep what stands there, both renames are announced on the drive first. */
  private announcePutBack(items: readonly PutBackItem[], slots: Map<number, string>): string | undefined {
    const { operation, traits } = this.session;
    const folders = (facts: string | null): boolean => facts?.startsWith('d ') === true;
    const risky = items.filter(({ current, before }) => {
      return current !== null && (!traits.hardLinks || folders(current) || folders(before));
    });
    if (risky.length === 0) return undefined;
    const intents = risky.map((item) => {
      const slot = this.trash.slot(item.path);
      slots.set(item.seq, slot.name);
      this.backups.trim();
      const trash = `${trashFolder(operation, parentOf(item.path))}/${slot.name}`;
      return { path: item.path, partial: item.version ?? '', trash, swap: traits.exchange };
    });
    this.flush();
    return writeIntents(this.backups, `${operation}-back-${items[0]?.seq ?? 0}.json`, intents);
  }

  private putOneBack(item: PutBackItem, folder: Dir, name: string, slots: ReadonlyMap<number, string>): PutBackResult {
    const from = item.version ?? '';
    const shelf = this.backups.exists(from) ? this.backups.open(parentOf(from)) : null;
    const version = shelf && statAt(shelf, baseName(from));
    if (!shelf || !version) return refused(item, 'failed', 'its version is not in the trash any more');
    if (!isVersion(version, item.before)) return refused(item, 'failed', 'its version in the trash was changed');
    const there = statAt(folder, name);
    const linked = item.link && !slots.has(item.seq) ? this.linkBack(item, folder, name, there) : undefined;
    if (linked) return linked;
    const message = item.link ? 'came back as a file of its own: its other name is not what it was' : '';
    if (item.current === null) {
      if (there !== null || !renameNoReplace(shelf, baseName(from), folder, name)) return this.changed(item);
      return { ...this.done(item, folder, name), message };
    }
    if (there === null || !this.stillThere(item, there)) return this.changed(item);
    const live = { dir: folder, name, path: item.path, old: there };
    this.replace(live, { dir: shelf, name: baseName(from) }, slots.get(item.seq));
    return { ...this.done(item, folder, name), message };
  }

  /**
   * One of several names of a file, whose other name is there: the version stays where it is, and both are one file again.
   * @returns undefined where that name is not what it was: then the version comes back, as a file of its own.
   */
  private linkBack(item: PutBackItem, folder: Dir, name: string, there: Stat | null): PutBackResult | undefined {
    const { path = '', facts = null } = item.link ?? {};
    const first = this.backups.exists(path) ? this.backups.open(parentOf(path)) : null;
    const other = first && statAt(first, baseName(path));
    if (!first || other?.kind !== 'f' || !isVersion(other, item.before)) return undefined;
    // They were one file: only what was written to one of them since, in secret, could tell them apart.
    const asRecorded = facts !== null && factsOf(other, this.session.traits.stable) === facts;
    if (!asRecorded && !this.isEqual(first, baseName(path), item.version ?? '')) return undefined;
    if (item.current === null ? there !== null : there === null || !this.stillThere(item, there)) return undefined;
    const partials = this.backups.make(partialFolder(this.session.operation));
    const partial = partialName(item.seq);
    linkAt(first, baseName(path), partials, partial);
    if (there === null) {
      if (!renameNoReplace(partials, partial, folder, name)) throw new Error('its name was taken meanwhile');
    } else
      this.replace({ dir: folder, name, path: item.path, old: there }, { dir: partials, name: partial }, undefined);
    return this.done(item, folder, name);
  }

  private isEqual(folder: Dir, name: string, version: string): boolean {
    const sums = [openAt(folder, name, OPEN_READ)];
    try {
      sums.push(openAt(this.backups.open(parentOf(version)), baseName(version), OPEN_READ));
      const [one, two] = sums.map((fd) => this.content.checksum(fd, this.newHasher));
      return one !== '' && one === two;
    } finally {
      for (const fd of sums) closeSync(fd);
    }
  }

  /** A folder is known by what it is: its times move with what is taken out of it. */
  private stillThere(item: PutBackItem, there: Stat): boolean {
    if (there.kind !== 'd') return this.isAsRecorded(there, item.current ?? '', item.shared);
    return item.current?.startsWith('d ') === true && readdirSync(this.backups.open(item.path).path).length === 0;
  }

  private applyFacts(folder: Dir, name: string, wanted: Entry, there: Stat): void {
    const mtime = timeOf(wanted.mtime);
    const [uid = 0, gid = 0] = wanted.owner.split(' ').map(Number);
    const owner = this.session.owner && (there.uid !== uid || there.gid !== gid);
    if (there.kind === 'l') {
      if (owner) lchownSync(join(folder.path, name), uid, gid);
      setTimesAt(folder, name, mtime);
      return;
    }
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | (there.kind === 'd' ? constants.O_DIRECTORY : 0);
    const fd = openAt(folder, name, flags);
    try {
      if (owner) fchownSync(fd, uid, gid);
      if (this.session.traits.permissions && there.mode !== wanted.mode) fchmodSync(fd, wanted.mode);
      setTimes(fd, mtime);
    } finally {
      closeSync(fd);
    }
  }
}

function refused(item: PutBackItem, outcome: Outcome, message: string): PutBackResult {
  return { seq: item.seq, outcome, message, facts: null };
}

/** What lies in the trash is what was put there; of a folder only its kind can be told. */
function isVersion(stat: Stat, before: string | null): boolean {
  if (before === null) return true;
  const now = new Entry(factsOf(stat, false), '');
  const then = new Entry(before, '');
  return now.kind === then.kind && (now.kind === 'd' || (now.size === then.size && now.mtime === then.mtime));
}

function timeOf(nanoseconds: bigint): Time {
  const rest = ((nanoseconds % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return { seconds: Number((nanoseconds - rest) / 1_000_000_000n), nanoseconds: Number(rest) };
}
