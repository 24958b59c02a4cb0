/**
 * The one place that writes users' files. Everything here is synchronous and runs in worker threads (shared/workers.ts).
 *
 * A batch goes: stage (partials beside the trash, hashed while they are written) → flush → commit (look at both sides
 * again, put in place) → flush → the caller records. Any other order has a pulled cable that loses a file. At every
 * instant a path holds its former complete content or its new complete content.
 */
import { closeSync, constants, fchmodSync, fchownSync, fsyncSync, ftruncateSync, readdirSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, messageOf } from './errors.ts';
import { FolderCache } from './folders.ts';
import type { Hasher, HasherFactory } from './hash.ts';
import { Entry, factsOf } from './listing.ts';
import { baseName, parentOf } from './paths.ts';
import { dropIntents, writeIntents } from './recover.ts';
import {
  type Attributes, closeFolder, type Dir, dropCache, exchange, flushFilesystem, type Kind, linkAt, mkdirAt, nextData, openAt, OPEN_CREATE,
  OPEN_READ, readAttributes, readlinkAt, renameNoReplace, renameOver, rmdirAt, type Stat, setTimes, setTimesAt, statAt, statOpen, type Time,
  symlinkAt, unlinkAt, writeAttributes,
} from './syscalls.ts';

/** What a drive can do, as far as writing is concerned; a subset of its probed traits. */
export interface WriteTraits {
  stable: boolean;
  permissions: boolean;
  hardLinks: boolean;
  exchange: boolean;
  /** Times the drive can hold, in seconds since 1970; others are clamped. */
  minTime: number;
  maxTime: number;
}

/** Everything a worker needs to know of a run; sent once. Descriptors are shared by all threads of the process. */
export interface TransferSession {
  master: Dir;
  backup: Dir;
  masterStable: boolean;
  traits: WriteTraits;
  operation: string;
  /** Restore owner and group: the process may, and the drive keeps them. */
  owner: boolean;
}

export interface StageItem {
  /** Names the partial; unique within the operation. */
  seq: number;
  path: string;
  kind: 'f' | 'l' | 'd';
  size: number;
  /** The file occupies fewer blocks than its size: holes are worth looking for. */
  sparse: boolean;
  /** Make a hard link to this path of the Backup instead of copying. */
  linkTo: string | null;
  /** What a saved plan saw on the Master; another state is refused. */
  masterFacts: string | null;
  /** What the plan saw at the destination; null: nothing. */
  backupFacts: string | null;
}

export type Outcome = 'done' | 'failed' | 'changed' | 'conflict' | 'stopped';

export interface StageResult {
  seq: number;
  outcome: Outcome;
  message: string;
  checksum: string;
  /** The source as it was read. */
  masterFacts: string;
  target: string;
  bytes: number;
}

export interface CommitItem extends StageItem {
  stagedFacts: string;
}

export interface CommitResult {
  seq: number;
  outcome: Outcome;
  message: string;
  backupFacts: string;
}

/** Told between files and chunks; `pause` blocks inside. */
export interface Control {
  /** True: stop at once, leave partials to the next start. */
  stop(): boolean;
  /** True: finish the file in hand, take no other. */
  cancel(): boolean;
  moved(bytes: number): void;
  holding(path: string): void;
}

const CHUNK = 4 * 1024 * 1024;
const SMALL = 1024 * 1024;
const ZEROS = Buffer.alloc(64 * 1024);

export class Transfer {
  private readonly session: TransferSession;
  private readonly masters: FolderCache;
  private readonly backups: FolderCache;
  private readonly newHasher: HasherFactory;
  private readonly control: Control;
  private readonly buffer = Buffer.allocUnsafeSlow(CHUNK);
  private readonly umask = process.umask();
  /** Trash names fixed by an intent record, by item. */
  private readonly announced = new Map<number, string>();

  constructor(session: TransferSession, newHasher: HasherFactory, control: Control) {
    this.session = session;
    this.newHasher = newHasher;
    this.control = control;
    this.masters = new FolderCache(session.master);
    this.backups = new FolderCache(session.backup);
  }

  close(): void {
    this.masters.clear();
    this.backups.clear();
  }

  /** Fresh descriptors for a batch: a folder that was moved since is found where it is now. */
  private begin(): Dir {
    this.close();
    return this.backups.makePinned(partialFolder(this.session.operation));
  }

  private nextItem(path: string): void {
    this.control.holding(path);
    this.masters.trim();
    this.backups.trim();
  }

  // --- stage ---

  stage(items: readonly StageItem[]): StageResult[] {
    const partials = this.begin();
    return items.map((item) => {
      if (this.control.cancel()) return stageResult(item, 'stopped', 'cancelled before it was copied');
      this.nextItem(item.path);
      try {
        const first = this.stageOne(item, partials);
        return first.outcome === 'changed' && item.masterFacts === null ? this.stageOne(item, partials) : first;
      } catch (error) {
        if (errnoOf(error) === 'EEXIST') return this.stageAgain(item, partials);
        this.dropPartial(partials, item.seq);
        return stageResult(item, 'failed', explain(error));
      }
    });
  }

  /** A second try finds the partial of the first. */
  private stageAgain(item: StageItem, partials: Dir): StageResult {
    try {
      this.dropPartial(partials, item.seq);
      return this.stageOne(item, partials);
    } catch (error) {
      return stageResult(item, 'failed', explain(error));
    }
  }

  private stageOne(item: StageItem, partials: Dir): StageResult {
    const folder = this.masters.open(parentOf(item.path));
    const name = baseName(item.path);
    if (item.kind === 'd') return this.stageFolder(item, folder, name, partials);
    if (item.kind === 'l') return this.stageSymlink(item, folder, name, partials);
    if (item.linkTo !== null) return this.stageHardLink(item, folder, name);
    return this.stageFile(item, folder, name, partials);
  }

  private stageFile(item: StageItem, folder: Dir, name: string, partials: Dir): StageResult {
    const source = openAt(folder, name, OPEN_READ);
    try {
      const before = statOpen(source);
      const facts = factsOf(before, this.session.masterStable);
      if (before.kind !== 'f') return stageResult(item, 'failed', 'is no longer a regular file');
      if (item.masterFacts !== null && item.masterFacts !== facts) return stageResult(item, 'changed', 'changed since the plan was made');
      const target = openAt(partials, partialName(item.seq), OPEN_CREATE, before.mode & 0o777);
      try {
        const copied = this.copyBytes(source, target, before, item.sparse);
        if (copied === null) return stageResult(item, 'stopped', 'stopped while it was being copied');
        // That nothing else changed is proved by `commit`, which looks at the name once more.
        if (copied.bytes !== before.size) {
          unlinkAt(partials, partialName(item.seq));
          return stageResult(item, 'changed', 'changed during copy');
        }
        this.applyMetadata(target, before, readAttributes(source), before.mode & 0o777 & ~this.umask);
        if (before.size > CHUNK) fsyncSync(target);
        return { ...stageResult(item, 'done', ''), checksum: copied.checksum, masterFacts: facts, bytes: copied.bytes };
      } finally {
        closeSync(target);
      }
    } finally {
      closeSync(source);
    }
  }

  /** Null when the run was stopped in the middle. */
  private copyBytes(source: number, target: number, stat: Stat, sparse: boolean): { checksum: string; bytes: number } | null {
    const hasher = this.newHasher();
    if (stat.size <= SMALL && !sparse) {
      let bytes = 0;
      for (;;) {
        const read = readSync(source, this.buffer, bytes, Math.min(CHUNK - bytes, stat.size + 1 - bytes), -1);
        if (read === 0) break;
        bytes += read;
        if (bytes > stat.size) break;
      }
      const content = this.buffer.subarray(0, bytes);
      hasher.update(content);
      writeFully(target, content);
      this.control.moved(bytes);
      return { checksum: hasher.digest(), bytes };
    }
    const bytes = sparse ? this.copySparse(source, target, stat.size, hasher) : this.copyRange(source, target, 0, Number.POSITIVE_INFINITY, hasher, false);
    if (bytes === null) return null;
    if (sparse) ftruncateSync(target, bytes);
    return { checksum: hasher.digest(), bytes };
  }

  /** Copies [from, end) or up to the end of the file; returns the position after the last byte. */
  private copyRange(source: number, target: number, from: number, end: number, hasher: Hasher, skipZeros: boolean): number | null {
    let at = from;
    while (at < end) {
      if (this.control.stop()) return null;
      const read = readSync(source, this.buffer, 0, Math.min(CHUNK, end - at), at);
      if (read === 0) break;
      const content = this.buffer.subarray(0, read);
      hasher.update(content);
      if (skipZeros) writeNonZero(target, content, at);
      else writeFully(target, content, at);
      at += read;
      this.control.moved(read);
    }
    return at;
  }

  private copySparse(source: number, target: number, size: number, hasher: Hasher): number | null {
    let at = 0;
    while (at < size) {
      const data = nextData(source, at);
      if (data === undefined) return this.copyRange(source, target, at, Number.POSITIVE_INFINITY, hasher, true);
      const start = data === null ? size : data[0];
      for (let hole = start - at; hole > 0; hole -= ZEROS.length) hasher.update(hole >= ZEROS.length ? ZEROS : ZEROS.subarray(0, hole));
      this.control.moved(start - at);
      if (data === null) return size;
      const end = this.copyRange(source, target, start, data[1], hasher, true);
      if (end === null || end < data[1]) return end;
      at = end;
    }
    return at;
  }

  private stageSymlink(item: StageItem, folder: Dir, name: string, partials: Dir): StageResult {
    const stat = statAt(folder, name);
    if (stat?.kind !== 'l') return stageResult(item, 'failed', 'is no longer a symbolic link');
    const facts = factsOf(stat, this.session.masterStable);
    if (item.masterFacts !== null && item.masterFacts !== facts) return stageResult(item, 'changed', 'changed since the plan was made');
    const target = readlinkAt(folder, name);
    symlinkAt(target, partials, partialName(item.seq));
    setTimesAt(partials, partialName(item.seq), this.clamp(stat.mtime));
    return { ...stageResult(item, 'done', ''), masterFacts: facts, target };
  }

  /** Nothing is written yet: the other name may still be a partial itself. */
  private stageHardLink(item: StageItem, folder: Dir, name: string): StageResult {
    const stat = statAt(folder, name);
    if (stat?.kind !== 'f') return stageResult(item, 'failed', 'is no longer a regular file');
    return { ...stageResult(item, 'done', ''), masterFacts: factsOf(stat, this.session.masterStable) };
  }

  /** A folder that takes the place of something else; plain new folders are made by `makeFolders`. */
  private stageFolder(item: StageItem, folder: Dir, name: string, partials: Dir): StageResult {
    const stat = statAt(folder, name);
    if (stat?.kind !== 'd') return stageResult(item, 'failed', 'is no longer a folder');
    mkdirAt(partials, partialName(item.seq), 0o777);
    return { ...stageResult(item, 'done', ''), masterFacts: factsOf(stat, this.session.masterStable) };
  }

  /** `created`: the permission bits that creating the file has already given it. */
  private applyMetadata(fd: number, stat: Stat, attributes: Attributes, created: number | null): void {
    if (this.session.traits.permissions) {
      if (this.session.owner && (stat.uid !== ownUid || stat.gid !== ownGid)) fchownSync(fd, stat.uid, stat.gid);
      if (stat.mode !== created) fchmodSync(fd, stat.mode);
    }
    if (attributes.length > 0) writeAttributes(fd, attributes);
    setTimes(fd, this.clamp(stat.mtime));
  }

  private clamp(time: Time): Time {
    const { minTime, maxTime } = this.session.traits;
    if (time.seconds < minTime) return { seconds: minTime, nanoseconds: 0 };
    return time.seconds >= maxTime ? { seconds: maxTime, nanoseconds: 0 } : time;
  }

  private dropPartial(partials: Dir, seq: number): void {
    const name = partialName(seq);
    const stat = statAt(partials, name);
    if (stat === null) return;
    if (stat.kind === 'd') rmdirAt(partials, name);
    else unlinkAt(partials, name);
  }

  // --- verify ---

  /**
   * Reads staged partials back and compares. `device`: past the page cache; `cache`: the medium could not be told from it.
   */
  verify(items: readonly { seq: number; checksum: string }[], direct: boolean): { failed: number[]; level: 'cache' | 'device' } {
    const partials = this.begin();
    const failed: number[] = [];
    let level: 'cache' | 'device' = 'device';
    for (const item of items) {
      const read = this.readBack(partials, partialName(item.seq), direct);
      if (!read.direct) level = 'cache';
      if (read.checksum !== item.checksum) {
        failed.push(item.seq);
        this.dropPartial(partials, item.seq);
      }
    }
    return { failed, level };
  }

  private readBack(dir: Dir, name: string, direct: boolean): { checksum: string; direct: boolean } {
    if (direct && constants.O_DIRECT !== undefined) {
      try {
        const fd = openAt(dir, name, OPEN_READ | constants.O_DIRECT);
        try {
          return { checksum: this.hashOpen(fd, alignedBuffer()), direct: true };
        } finally {
          closeSync(fd);
        }
      } catch (error) {
        if (errnoOf(error) !== 'EINVAL') throw error;
      }
    }
    const fd = openAt(dir, name, OPEN_READ);
    try {
      dropCache(fd);
      return { checksum: this.hashOpen(fd, this.buffer), direct: false };
    } finally {
      closeSync(fd);
    }
  }

  private hashOpen(fd: number, buffer: Buffer, newHasher = this.newHasher): string {
    const hasher = newHasher();
    for (let at = 0; ; ) {
      const read = readSync(fd, buffer, 0, buffer.length, at);
      if (read === 0) return hasher.digest();
      hasher.update(buffer.subarray(0, read));
      at += read;
    }
  }

  /** Checksums of files as they are; `''` with a message where one could not be read or changed meanwhile. */
  hash(side: 'master' | 'backup', items: readonly { path: string; facts: string }[], newHasher: HasherFactory): { path: string; checksum: string; message: string }[] {
    this.close();
    const cache = side === 'master' ? this.masters : this.backups;
    const stable = side === 'master' ? this.session.masterStable : this.session.traits.stable;
    return items.map(({ path, facts }) => {
      if (this.control.cancel()) return { path, checksum: '', message: 'cancelled before it was read' };
      this.nextItem(path);
      try {
        const fd = openAt(cache.open(parentOf(path)), baseName(path), OPEN_READ);
        try {
          const checksum = this.hashOpen(fd, this.buffer, newHasher);
          const same = factsOf(statOpen(fd), stable) === facts;
          this.control.moved(new Entry(facts, path).size);
          return same ? { path, checksum, message: '' } : { path, checksum: '', message: 'changed while it was being read' };
        } finally {
          closeSync(fd);
        }
      } catch (error) {
        return { path, checksum: '', message: explain(error) };
      }
    });
  }

  // --- commit ---

  commit(items: readonly CommitItem[]): CommitResult[] {
    const partials = this.begin();
    this.announced.clear();
    const records = this.announce(items.filter((item) => this.needsTwoRenames(item)));
    const results = items.map((item) => {
      this.nextItem(item.path);
      try {
        return this.commitOne(item, partials);
      } catch (error) {
        return commitResult(item, 'failed', explain(error));
      }
    });
    if (records !== undefined) {
      this.flush();
      dropIntents(this.session.backup, records);
    }
    return results;
  }

  /** No exchange, and no hard link that could keep the old file while the new one takes its name. */
  private needsTwoRenames(item: CommitItem): boolean {
    const { exchange: exchanges, hardLinks } = this.session.traits;
    if (item.backupFacts === null || exchanges) return false;
    return !hardLinks || item.kind === 'd' || item.backupFacts.startsWith('d ');
  }

  /** Fixes where each old file will go and says so on the drive, flushed, before the first of the renames. */
  private announce(items: readonly CommitItem[]): string | undefined {
    if (items.length === 0) return undefined;
    const { operation } = this.session;
    const intents = items.map((item) => {
      const slot = this.trashSlot(item.path);
      const folder = joinTrash(operation, parentOf(item.path));
      this.announced.set(item.seq, slot.name);
      this.backups.trim();
      return { path: item.path, partial: `${partialFolder(operation)}/${partialName(item.seq)}`, trash: `${folder}/${slot.name}` };
    });
    this.flush();
    return writeIntents(this.backups, `${operation}-${partialName(items[0]?.seq ?? 0)}.json`, intents);
  }

  private commitOne(item: CommitItem, partials: Dir): CommitResult {
    const source = statAt(this.masters.open(parentOf(item.path)), baseName(item.path));
    if (source === null || factsOf(source, this.session.masterStable) !== item.stagedFacts) {
      if (item.linkTo === null) this.dropPartial(partials, item.seq);
      return commitResult(item, 'changed', source === null ? 'vanished during copy' : 'changed during copy');
    }
    const folder = this.backups.open(parentOf(item.path));
    const name = baseName(item.path);
    if (item.linkTo !== null) {
      this.dropPartial(partials, item.seq);
      linkAt(this.backups.open(parentOf(item.linkTo)), baseName(item.linkTo), partials, partialName(item.seq));
    }
    if (item.backupFacts === null) {
      if (!renameNoReplace(partials, partialName(item.seq), folder, name)) return this.unplanned(item, partials);
    } else {
      const there = statAt(folder, name);
      if (there === null || factsOf(there, this.session.traits.stable) !== item.backupFacts) return this.unplanned(item, partials);
      this.replace(item, partials, folder, name, there);
    }
    const placed = statAt(folder, name);
    if (placed === null) return commitResult(item, 'failed', 'is not there after it was put in place');
    return { ...commitResult(item, 'done', ''), backupFacts: factsOf(placed, this.session.traits.stable) };
  }

  private unplanned(item: CommitItem, partials: Dir): CommitResult {
    this.dropPartial(partials, item.seq);
    return commitResult(item, 'conflict', 'the Backup changed since the plan was made; nothing was overwritten');
  }

  /** What stood there goes to the trash, complete, before or while the new content takes its name. */
  private replace(item: CommitItem, partials: Dir, folder: Dir, name: string, old: Stat): void {
    const partial = partialName(item.seq);
    if (this.session.traits.exchange && exchange(partials, partial, folder, name)) {
      this.backups.forget(item.path);
      this.toTrash(partials, partial, item.path);
      return;
    }
    if (this.session.traits.hardLinks && old.kind !== 'd' && item.kind !== 'd') {
      const trash = this.trashSlot(item.path);
      linkAt(folder, name, trash.dir, trash.name);
      renameOver(partials, partial, folder, name);
      return;
    }
    // Between the two renames the path is empty: only with the intent record of this item on the medium.
    const trashName = this.announced.get(item.seq);
    if (trashName === undefined) throw new Error('the drive could not replace it in one step; `tandem doctor` checks what the drive can do');
    this.backups.forget(item.path);
    const trash = this.backups.make(joinTrash(this.session.operation, parentOf(item.path)));
    if (!renameNoReplace(folder, name, trash, trashName)) throw new Error('its place in the trash was taken');
    renameOver(partials, partial, folder, name);
  }

  private trashSlot(path: string): { dir: Dir; name: string } {
    const dir = this.backups.make(joinTrash(this.session.operation, parentOf(path)));
    const base = baseName(path);
    for (let copy = 1; ; copy += 1) {
      const name = copy === 1 ? base : `${base}~${copy}`;
      if (statAt(dir, name) === null) return { dir, name };
    }
  }

  private toTrash(dir: Dir, name: string, path: string): void {
    for (;;) {
      const slot = this.trashSlot(path);
      if (renameNoReplace(dir, name, slot.dir, slot.name)) return;
    }
  }

  // --- folders, deletions, metadata ---

  /** New folders, parents first. Their times and modes are set last, by `finishFolders`. */
  makeFolders(paths: readonly string[]): { path: string; message: string }[] {
    this.close();
    const problems: { path: string; message: string }[] = [];
    for (const path of paths) {
      this.nextItem(path);
      try {
        mkdirAt(this.backups.open(parentOf(path)), baseName(path), 0o777);
      } catch (error) {
        if (errnoOf(error) === 'EEXIST' && statAt(this.backups.open(parentOf(path)), baseName(path))?.kind === 'd') continue;
        problems.push({ path, message: explain(error) });
      }
    }
    return problems;
  }

  /**
   * Moves files to the trash and removes empty folders, in the order given (children first). Each looks at the Master
   * once more: only a name that is provably not there lets the deletion happen.
   */
  remove(items: readonly { path: string; kind: Kind; backupFacts: string }[], junk: (name: string) => boolean): { path: string; outcome: Outcome; message: string }[] {
    this.close();
    return items.map(({ path, kind, backupFacts }) => {
      if (this.control.cancel()) return { path, outcome: 'stopped', message: 'cancelled before it was deleted' };
      this.nextItem(path);
      try {
        if (this.masters.exists(path)) return { path, outcome: 'changed', message: 'is on the Master again' };
        const folder = this.backups.open(parentOf(path));
        if (kind === 'd') return this.removeFolder(folder, path, junk);
        const there = statAt(folder, baseName(path));
        if (there === null) return { path, outcome: 'done', message: '' };
        if (factsOf(there, this.session.traits.stable) !== backupFacts) {
          return { path, outcome: 'conflict', message: 'the Backup changed since the plan was made; nothing was deleted' };
        }
        this.toTrash(folder, baseName(path), path);
        return { path, outcome: 'done', message: '' };
      } catch (error) {
        return { path, outcome: 'failed', message: explain(error) };
      }
    });
  }

  private removeFolder(folder: Dir, path: string, junk: (name: string) => boolean): { path: string; outcome: Outcome; message: string } {
    const inside = this.backups.open(path);
    const names = readdirSync(inside.path);
    if (!names.every(junk)) return { path, outcome: 'changed', message: 'kept: it still holds other files' };
    for (const name of names) this.toTrash(inside, name, `${path}/${name}`);
    this.backups.forget(path);
    rmdirAt(folder, baseName(path));
    return { path, outcome: 'done', message: '' };
  }

  /** Makes mode, owner, times and attributes of files like the Master's, without touching their content. */
  copyMetadata(items: readonly { path: string; kind: Kind; masterFacts: string; backupFacts: string }[]): CommitResult[] {
    this.close();
    return items.map((item, seq) => {
      this.nextItem(item.path);
      try {
        const folder = this.masters.open(parentOf(item.path));
        const name = baseName(item.path);
        const stat = statAt(folder, name);
        if (stat === null || factsOf(stat, this.session.masterStable) !== item.masterFacts) return commitResult({ seq }, 'changed', 'changed since it was compared');
        const target = this.backups.open(parentOf(item.path));
        const there = statAt(target, name);
        if (there === null || factsOf(there, this.session.traits.stable) !== item.backupFacts) {
          return commitResult({ seq }, 'conflict', 'the Backup changed since the plan was made');
        }
        this.mirrorMetadata(folder, target, name, stat);
        const placed = statAt(target, name);
        return { ...commitResult({ seq }, 'done', ''), backupFacts: placed ? factsOf(placed, this.session.traits.stable) : '' };
      } catch (error) {
        return commitResult({ seq }, 'failed', explain(error));
      }
    });
  }

  private mirrorMetadata(from: Dir, to: Dir, name: string, stat: Stat): void {
    if (stat.kind === 'l') {
      setTimesAt(to, name, this.clamp(stat.mtime));
      return;
    }
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | (stat.kind === 'd' ? constants.O_DIRECTORY : 0);
    const source = openAt(from, name, flags);
    try {
      const target = openAt(to, name, flags);
      try {
        this.applyMetadata(target, stat, readAttributes(source), null);
      } finally {
        closeSync(target);
      }
    } finally {
      closeSync(source);
    }
  }

  /** Modes and times of folders, deepest first, after everything in them is done; returns what both sides say then. */
  finishFolders(paths: readonly string[]): { path: string; masterFacts: string; backupFacts: string; message: string }[] {
    this.close();
    return paths.map((path) => {
      this.nextItem(path);
      try {
        const from = this.masters.open(parentOf(path));
        const to = this.backups.open(parentOf(path));
        const name = baseName(path);
        const stat = statAt(from, name);
        if (stat?.kind !== 'd') return { path, masterFacts: '', backupFacts: '', message: 'the folder is gone from the Master' };
        this.mirrorMetadata(from, to, name, stat);
        const placed = statAt(to, name);
        const backupFacts = placed ? factsOf(placed, this.session.traits.stable) : '';
        return { path, masterFacts: factsOf(stat, this.session.masterStable), backupFacts, message: '' };
      } catch (error) {
        return { path, masterFacts: '', backupFacts: '', message: explain(error) };
      }
    });
  }

  /** What the Backup says of these paths now; `''` where nothing is. */
  restat(paths: readonly string[]): string[] {
    this.close();
    return paths.map((path) => {
      this.nextItem(path);
      const stat = this.backups.exists(path) ? statAt(this.backups.open(parentOf(path)), baseName(path)) : null;
      return stat ? factsOf(stat, this.session.traits.stable) : '';
    });
  }

  /** Everything written so far reaches the medium. */
  flush(): void {
    const fd = openAt(this.session.backup, '.tandem/lock', constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      flushFilesystem(this.session.backup, fd);
    } finally {
      closeSync(fd);
    }
  }
}

export function partialFolder(operation: string): string {
  return `.tandem/partial/${operation}`;
}

export function partialName(seq: number): string {
  return seq.toString(36);
}

function joinTrash(operation: string, folder: string): string {
  return folder === '' ? `.tandem/trash/${operation}` : `.tandem/trash/${operation}/${folder}`;
}

const ownUid = process.geteuid?.() ?? -1;
const ownGid = process.getegid?.() ?? -1;

function stageResult(item: { seq: number }, outcome: Outcome, message: string): StageResult {
  return { seq: item.seq, outcome, message, checksum: '', masterFacts: '', target: '', bytes: 0 };
}

function commitResult(item: { seq: number }, outcome: Outcome, message: string): CommitResult {
  return { seq: item.seq, outcome, message, backupFacts: '' };
}

function writeFully(fd: number, bytes: Uint8Array, position = 0): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}

const BLOCK = 4096;

/** Writes only blocks that hold something; the rest stays a hole. */
function writeNonZero(fd: number, bytes: Buffer, position: number): void {
  let from = -1;
  for (let at = 0; at <= bytes.length; at += BLOCK) {
    const end = Math.min(at + BLOCK, bytes.length);
    const zero = at >= bytes.length || bytes.subarray(at, end).equals(ZEROS.subarray(0, end - at));
    if (!zero && from < 0) from = at;
    if (zero && from >= 0) {
      writeFully(fd, bytes.subarray(from, Math.min(at, bytes.length)), position + from);
      from = -1;
    }
  }
}

let aligned: Buffer | undefined;

/** Neither the ES nor the Node types declare it. */
const wasm = globalThis as unknown as { WebAssembly: { Memory: new (size: { initial: number }) => { buffer: ArrayBuffer } } };

/** O_DIRECT needs a page-aligned buffer; WebAssembly memory is one. */
function alignedBuffer(): Buffer {
  aligned ??= Buffer.from(new wasm.WebAssembly.Memory({ initial: CHUNK / 65_536 }).buffer);
  return aligned;
}

/** One sentence for a system error. */
export function explain(error: unknown): string {
  switch (errnoOf(error)) {
    case 'ENOSPC': return 'the Backup is full (ENOSPC)';
    case 'EDQUOT': return 'the quota on the Backup is used up (EDQUOT)';
    case 'EACCES': case 'EPERM': return `permission denied (${errnoOf(error)})`;
    case 'EROFS': return 'the drive is read-only (EROFS)';
    case 'EIO': return 'the drive reported an input/output error (EIO)';
    case 'ENODEV': case 'ENXIO': case 'ESTALE': case 'ENOTCONN': return `the drive is gone (${errnoOf(error)})`;
    case 'ENOENT': return 'vanished during the run (ENOENT)';
    case 'ELOOP': return 'a symbolic link stands where a folder or file was (ELOOP)';
    case 'EFBIG': return 'the file is larger than the drive can hold (EFBIG)';
    case 'ENAMETOOLONG': return 'the name is too long for the drive (ENAMETOOLONG)';
    case 'EILSEQ': return 'the link target is not valid UTF-8 (EILSEQ)';
    default: return messageOf(error);
  }
}
