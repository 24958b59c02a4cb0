/**
 * The one place that writes users' files. Everything here is synchronous and runs in worker threads (shared/workers.ts).
 *
 * A batch goes: stage (partials beside the trash, hashed while they are written) → flush → commit (look at both sides
 * again, put in place) → flush → the caller records. Any other order has a pulled cable that loses a file. At every
 * instant a path holds its former complete content or its new complete content.
 */
import { closeSync, constants, fsyncSync } from 'node:fs';
import { type Codec, type CodecSettings, decoderFor, encoderFor } from './codec.ts';
import { Content, type Control, type Copied } from './content.ts';
import type { Digester, Hashers } from './digests.ts';
import { errnoOf, explain, TandemError } from './errors.ts';
import { FolderCache } from './folders.ts';
import type { HasherFactory, Recorded } from './hash.ts';
import { Entry, factsOf, sameInode } from './listing.ts';
import { Metadata } from './metadata.ts';
import { baseName, parentOf } from './paths.ts';
import {
  dropIntents,
  type Place,
  partialFolder,
  partialName,
  replaceAnnounced,
  Torn,
  writeIntents,
} from './recover.ts';
import { beginLargeCopy, type LargeCopy, RESUMABLE } from './resume.ts';
import type { Suffix } from './stored.ts';
import {
  type Dir,
  flushFilesystem,
  isShared,
  isSparse,
  linkAt,
  mkdirAt,
  OPEN_CREATE,
  OPEN_READ,
  openAt,
  readAttributes,
  readlinkAt,
  renameNoReplace,
  renameOver,
  rmdirAt,
  type Stat,
  statAt,
  statOpen,
  symlinkAt,
  unlinkAt,
} from './syscalls.ts';
import {
  type CommitItem,
  type CommitResult,
  commitResult,
  type Retired,
  type StageItem,
  type StageResult,
  stageResult,
  type TransferSession,
} from './tasks.ts';
import { type Slot, Trash, trashFolder } from './trash.ts';

/** Stands for the checksum of a stored file that cannot be opened: no content has it. */
export const DAMAGED = 'damaged';
/** What became of a file between being put in place and a second look. */
export const LOST = 'is not there after it was put in place';
/** Files above this size are flushed by themselves, as soon as they are written. */
const LARGE = 4 * 1024 * 1024;

export class Transfer {
  protected readonly session: TransferSession;
  protected readonly masters: FolderCache;
  protected readonly backups: FolderCache;
  protected readonly trash: Trash;
  protected readonly metadata: Metadata;
  protected readonly control: Control;
  protected readonly content: Content;
  protected readonly newHasher: HasherFactory;
  protected readonly algorithm: Recorded;
  protected readonly codec: CodecSettings;
  /** Names of the two sides, for messages. */
  protected readonly source: string;
  protected readonly target: string;
  private readonly umask = process.umask();
  private expecting: Hashers = new Map();
  /** Trash names fixed by an intent record, by item. */
  private readonly announced = new Map<number, string>();

  constructor(
    session: TransferSession,
    algorithm: Recorded,
    newHasher: HasherFactory,
    control: Control,
    codec: CodecSettings,
  ) {
    this.algorithm = algorithm;
    this.codec = codec;
    this.newHasher = newHasher;
    this.session = session;
    this.content = new Content(newHasher, control);
    this.control = control;
    this.masters = new FolderCache(session.master);
    this.backups = new FolderCache(session.backup);
    this.metadata = new Metadata(session);
    this.trash = new Trash(this.backups, session.operation);
    [this.source, this.target] = session.reversed ? ['Backup', 'Master'] : ['Master', 'Backup'];
  }

  close(): void {
    this.masters.clear();
    this.backups.clear();
  }

  /** Fresh descriptors for a batch: a folder that was moved since is found where it is now. */
  protected begin(partials = partialFolder(this.session.operation)): Dir {
    this.close();
    return this.backups.makePinned(partials);
  }

  protected nextItem(path: string): void {
    this.control.holding(path);
    this.masters.trim();
    this.backups.trim();
  }

  // --- stage ---

  /**
   * @param folder of the drive for the partials, when it is not the one of all workers.
   * @param hashers for what is expected of contents, where that is another checksum than is taken anyway.
   */
  stage(items: readonly StageItem[], folder?: string, hashers?: Hashers): StageResult[] {
    let partials: Dir;
    this.expecting = hashers ?? new Map();
    try {
      partials = this.begin(folder);
    } catch (error) {
      return items.map((item) => stageResult(item, 'failed', explain(error)));
    }
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
    const from = item.from ?? item.path;
    const folder = this.masters.open(parentOf(from));
    const name = baseName(from);
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
      if (item.masterFacts !== null && item.masterFacts !== facts)
        return stageResult(item, 'changed', 'changed since the plan was made');
      const asItIs = !item.encode && !item.decode;
      const large =
        asItIs && before.size > RESUMABLE && !isSparse(before)
          ? this.large(item, facts, partials, before, source)
          : null;
      const target = large?.target ?? openAt(partials, partialName(item.seq), OPEN_CREATE, before.mode & 0o777);
      try {
        const copied =
          asItIs && !item.expect
            ? large
              ? this.content.finish(source, large, before.size)
              : this.content.copy(source, target, before.size, isSparse(before))
            : this.recode(item, source, target, before);
        if (copied === null) return stageResult(item, 'stopped', 'stopped while it was being copied');
        if (item.expect && copied.bytes === before.size && !this.isExpected(item.expect, copied)) {
          unlinkAt(partials, partialName(item.seq));
          return stageResult(
            item,
            'failed',
            `${this.source}: the content is not what was recorded; its copy stays as it is`,
          );
        }
        // That nothing else changed is proved by `commit`, which looks at the name once more.
        if (!item.decode && copied.bytes !== before.size) {
          unlinkAt(partials, partialName(item.seq));
          return stageResult(item, 'changed', 'changed during copy');
        }
        const created = large?.done ? null : before.mode & 0o777 & ~this.umask;
        this.metadata.apply(target, before, readAttributes(source), created);
        if (before.size > LARGE) fsyncSync(target);
        const { checksum, bytes, written = bytes } = copied;
        return { ...stageResult(item, 'done', ''), checksum, masterFacts: facts, bytes, written };
      } finally {
        closeSync(target);
        large?.close();
      }
    } finally {
      closeSync(source);
    }
  }

  /** Into the form in which the Backup stores it, or out of it. */
  private recode(item: StageItem, source: number, target: number, { size, mtime }: Stat): Copied | null {
    if (item.decode) return this.content.decode(source, target, size, decoderFor(item.decode, this.codec.key));
    const name = baseName(item.from ?? item.path);
    const nanoseconds = BigInt(mtime.seconds) * 1_000_000_000n + BigInt(mtime.nanoseconds);
    const encoder = encoderFor(item.encode ?? '', this.codec, { name, size, mtime: nanoseconds });
    const how = { plain: !item.encode, also: this.expectedHasher(item) };
    return this.content.encode(source, target, size, encoder, how);
  }

  private expectedHasher({ expect }: StageItem): Digester | undefined {
    return expect && expect.algorithm !== this.algorithm ? this.expecting.get(expect.algorithm)?.() : undefined;
  }

  private isExpected({ algorithm, checksum }: NonNullable<StageItem['expect']>, copied: Copied): boolean {
    return (algorithm === this.algorithm ? copied.checksum : copied.other) === checksum;
  }

  private large(item: StageItem, facts: string, partials: Dir, { mode }: Stat, source: number): LargeCopy {
    const header = { path: item.path, facts, algorithm: this.algorithm };
    const compared = this.session.masterStable ? null : source;
    const name = partialName(item.seq);
    return beginLargeCopy(this.backups, partials, name, header, mode & 0o777, compared, this.newHasher);
  }

  private stageSymlink(item: StageItem, folder: Dir, name: string, partials: Dir): StageResult {
    const stat = statAt(folder, name);
    if (stat?.kind !== 'l') return stageResult(item, 'failed', 'is no longer a symbolic link');
    const facts = factsOf(stat, this.session.masterStable);
    if (item.masterFacts !== null && item.masterFacts !== facts)
      return stageResult(item, 'changed', 'changed since the plan was made');
    const target = readlinkAt(folder, name);
    symlinkAt(target, partials, partialName(item.seq));
    this.metadata.applyToLink(partials, partialName(item.seq), stat);
    return { ...stageResult(item, 'done', ''), masterFacts: facts, target };
  }

  /** Nothing is written yet: the other name may still be a partial itself. */
  private stageHardLink(item: StageItem, folder: Dir, name: string): StageResult {
    const stat = statAt(folder, name);
    if (stat?.kind !== 'f') return stageResult(item, 'failed', 'is no longer a regular file');
    const masterFacts = factsOf(stat, this.session.masterStable);
    if (masterFacts !== item.linkFacts?.master)
      return stageResult(item, 'changed', 'changed since its other name was copied');
    return { ...stageResult(item, 'done', ''), masterFacts };
  }

  /** A folder that takes the place of something else; plain new folders are made by `makeFolders`. */
  private stageFolder(item: StageItem, folder: Dir, name: string, partials: Dir): StageResult {
    const stat = statAt(folder, name);
    if (stat?.kind !== 'd') return stageResult(item, 'failed', 'is no longer a folder');
    mkdirAt(partials, partialName(item.seq), 0o777);
    return { ...stageResult(item, 'done', ''), masterFacts: factsOf(stat, this.session.masterStable) };
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
  verify(
    items: readonly { seq: number; checksum: string; stored?: Suffix }[],
    direct: boolean,
  ): { failed: number[]; level: 'cache' | 'device' } {
    const partials = this.begin();
    const failed: number[] = [];
    let level: 'cache' | 'device' = 'device';
    for (const item of items) {
      const read = this.readBack(partials, item, direct);
      if (!read.direct) level = 'cache';
      if (read.checksum !== item.checksum) {
        failed.push(item.seq);
        this.dropPartial(partials, item.seq);
      }
    }
    return { failed, level };
  }

  private readBack(
    partials: Dir,
    { seq, stored }: { seq: number; stored?: Suffix },
    direct: boolean,
  ): { checksum: string; direct: boolean } {
    const decoder = stored ? () => decoderFor(stored, this.codec.key) : undefined;
    try {
      return this.content.readBack(partials, partialName(seq), direct, decoder);
    } catch (error) {
      // What cannot be opened again is not what was written.
      if (stored && error instanceof TandemError) return { checksum: '', direct };
      throw error;
    }
  }

  /** Checksums of the content of files as they are, `at` where they lie; `''` with a message where one could not be read or changed meanwhile. */
  hash(
    side: 'master' | 'backup',
    items: readonly { path: string; facts: string; stored?: Suffix; at?: string }[],
    newHasher: HasherFactory,
  ): { path: string; checksum: string; message: string }[] {
    this.close();
    const cache = side === 'master' ? this.masters : this.backups;
    const stable = side === 'master' ? this.session.masterStable : this.session.traits.stable;
    return items.map(({ path, facts, stored = '', at = path + stored }) => {
      if (this.control.cancel()) return { path, checksum: '', message: 'cancelled before it was read' };
      this.nextItem(path);
      try {
        const fd = openAt(cache.open(parentOf(at)), baseName(at), OPEN_READ);
        try {
          const decoder = stored ? decoderFor(stored, this.codec.key) : undefined;
          const checksum = this.contentOf(fd, newHasher, decoder);
          const same = factsOf(statOpen(fd), stable) === facts;
          this.control.moved(new Entry(facts, path).size);
          return same
            ? { path, checksum, message: '' }
            : { path, checksum: '', message: 'changed while it was being read' };
        } finally {
          closeSync(fd);
        }
      } catch (error) {
        return { path, checksum: '', message: explain(error) };
      }
    });
  }

  /** What cannot be opened to its end holds other content than anything that was recorded or stands elsewhere. */
  private contentOf(fd: number, newHasher: HasherFactory, decoder: Codec | undefined): string {
    try {
      return this.content.checksum(fd, newHasher, decoder);
    } catch (error) {
      if (decoder && error instanceof TandemError) return DAMAGED;
      throw error;
    }
  }

  // --- commit ---

  commit(items: readonly CommitItem[], folder?: string): CommitResult[] {
    let partials: Dir;
    let records: string | undefined;
    try {
      partials = this.begin(folder);
      this.announced.clear();
      records = this.announce(items.filter((item) => this.needsIntent(item)));
    } catch (error) {
      return items.map((item) => commitResult(item, 'failed', explain(error)));
    }
    let torn = false;
    const results = items.map((item) => {
      this.nextItem(item.path);
      try {
        return this.commitOne(item, partials);
      } catch (error) {
        torn ||= error instanceof Torn;
        return commitResult(item, 'failed', explain(error));
      }
    });
    if (records !== undefined && !torn) {
      this.flush();
      dropIntents(this.session.backup, records);
    }
    return results;
  }

  /** A hard link keeps an old file while the new one takes its name; what has none is announced on the drive first. */
  private needsIntent(item: CommitItem): boolean {
    if (item.backupFacts === null) return false;
    return !this.session.traits.hardLinks || item.kind === 'd' || item.backupFacts.startsWith('d ');
  }

  /** Fixes where each old file will go and says so on the drive, flushed, before the first of the renames. */
  private announce(items: readonly CommitItem[]): string | undefined {
    if (items.length === 0) return undefined;
    const { operation } = this.session;
    const intents = items.map((item) => {
      const slot = this.trash.slot(item.path);
      const folder = trashFolder(operation, parentOf(item.path));
      this.announced.set(item.seq, slot.name);
      this.backups.trim();
      return {
        path: item.path,
        partial: `${partialFolder(operation)}/${partialName(item.seq)}`,
        trash: `${folder}/${slot.name}`,
        swap: this.session.traits.exchange,
      };
    });
    this.flush();
    return writeIntents(this.backups, `${operation}-${partialName(items[0]?.seq ?? 0)}.json`, intents);
  }

  private commitOne(item: CommitItem, partials: Dir): CommitResult {
    const from = item.from ?? item.path;
    const source = statAt(this.masters.open(parentOf(from)), baseName(from));
    if (source === null || factsOf(source, this.session.masterStable) !== item.stagedFacts) {
      if (item.linkTo === null) this.dropPartial(partials, item.seq);
      return commitResult(item, 'changed', source === null ? 'vanished during copy' : 'changed during copy');
    }
    const folder = this.backups.open(parentOf(item.path));
    const name = baseName(item.path);
    if (item.linkTo !== null) {
      this.dropPartial(partials, item.seq);
      const first = this.backups.open(parentOf(item.linkTo));
      const original = statAt(first, baseName(item.linkTo));
      if (original === null || !this.isAsRecorded(original, item.linkFacts?.backup ?? '', true)) {
        return commitResult(item, 'failed', `its other name changed on the ${this.target}`);
      }
      linkAt(first, baseName(item.linkTo), partials, partialName(item.seq));
    }
    const { retire } = item;
    if (retire && !this.stands(retire)) return this.unplanned(item, partials);
    if (retire && item.kind === 'd' && item.backupFacts === null && statAt(folder, name)?.kind === 'd') {
      // Made by a run that was interrupted before the file that it takes the place of was gone.
      this.dropPartial(partials, item.seq);
    } else if (item.backupFacts === null) {
      if (!renameNoReplace(partials, partialName(item.seq), folder, name)) return this.unplanned(item, partials);
    } else {
      const there = statAt(folder, name);
      if (there === null || !this.isAsRecorded(there, item.backupFacts, item.backupShared))
        return this.unplanned(item, partials);
      this.replace(
        { dir: folder, name, path: item.path, old: there },
        { dir: partials, name: partialName(item.seq) },
        this.announced.get(item.seq),
      );
    }
    const placed = statAt(folder, name);
    if (placed === null) return commitResult(item, 'failed', LOST);
    return { ...commitResult(item, 'done', ''), backupFacts: factsOf(placed, this.session.traits.stable) };
  }

  protected stands({ path, facts, shared }: Retired): boolean {
    const there = statAt(this.backups.open(parentOf(path)), baseName(path));
    return there !== null && this.isAsRecorded(there, facts, shared);
  }

  /**
   * What the plan saw still stands there. A `shared` file had several names, with one ctime, mode and owner for all of
   * them, which the run itself moves when it works on another name.
   */
  protected isAsRecorded(there: Stat, facts: string, shared = false): boolean {
    const now = factsOf(there, this.session.traits.stable);
    return now === facts || (shared && sameInode(now, facts));
  }

  private unplanned(item: CommitItem, partials: Dir): CommitResult {
    this.dropPartial(partials, item.seq);
    return commitResult(
      item,
      'conflict',
      `the ${this.target} changed since the plan was made; nothing was overwritten`,
    );
  }

  /**
   * What stood there goes to the trash, complete, before the new content takes its name; or, where no hard link can do
   * that, while an intent record on the medium says where both are, so that a crash in between loses neither.
   */
  protected replace(live: Place & { path: string; old: Stat }, next: Place, slotName: string | undefined): void {
    const { dir, name, path, old } = live;
    if (slotName === undefined) {
      const slot = this.trash.slot(path);
      if (isShared(old)) this.copyAside(dir, name, slot, old);
      else linkAt(dir, name, slot.dir, slot.name);
      try {
        renameOver(next.dir, next.name, dir, name);
      } catch (error) {
        // Still one file under both names: an edit of the live one would change the version.
        if (statAt(dir, name)?.ino === statAt(slot.dir, slot.name)?.ino) unlinkAt(slot.dir, slot.name);
        throw error;
      }
      return;
    }
    this.backups.forget(path);
    const trash = this.backups.make(trashFolder(this.session.operation, parentOf(path)));
    replaceAnnounced({ dir, name }, next, { dir: trash, name: slotName }, this.session.traits.exchange);
  }

  /**
   * Moves what has this name into the trash. A file that lives on under another name is copied there instead: an edit of
   * the living name would change the version.
   */
  protected putAside(dir: Dir, name: string, path: string, old: Stat): void {
    if (!isShared(old)) {
      this.trash.take(dir, name, path);
      return;
    }
    this.copyAside(dir, name, this.trash.slot(path), old);
    unlinkAt(dir, name);
  }

  protected copyAside(dir: Dir, name: string, slot: Slot, old: Stat): void {
    const source = openAt(dir, name, OPEN_READ);
    try {
      const target = openAt(slot.dir, slot.name, OPEN_CREATE, old.mode & 0o777);
      try {
        const copied = this.content.copy(source, target, old.size, isSparse(old));
        if (copied?.bytes !== old.size) throw new Error('the version of a file with several names could not be copied');
        this.metadata.apply(target, old, readAttributes(source), null);
        fsyncSync(target);
      } finally {
        closeSync(target);
      }
    } finally {
      closeSync(source);
    }
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
