/**
 * The short way for plain new files, nearly all there are in a first sync: a worker gets a group's paths as one text,
 * keeps what it learns of the files until it also puts them in place, and answers with the finished rows of their
 * records as one text. Between threads, and on the main one, twenty thousand small objects cost as much as copying
 * their files.
 */
import { threadId } from 'node:worker_threads';
import { BulkGroup, BulkLoops, sealOf, TOGETHER } from './bulk-native.ts';
import type { CodecSettings } from './codec.ts';
import type { Control } from './content.ts';
import { type HasherFactory, isKeyed, plainAlgorithm, type Recorded } from './hash.ts';
import type { GroupKey } from './keyring.ts';
import { factsField } from './listing.ts';
import { parentOf } from './paths.ts';
import { PutBack } from './put-back.ts';
import { partialFolder } from './recover.ts';
import { isRacy, makeSidedRow, rowTuple } from './rows.ts';
import type { Suffix } from './stored.ts';
import type { Dir } from './syscalls.ts';
import type { CommitItem, PlacedGroup, StagedGroup, StageItem, TransferSession } from './tasks.ts';
import { LOST } from './transfer.ts';

interface Waiting {
  item: CommitItem;
  checksum: string;
  bytes: number;
  /** On the Backup. */
  written: number;
}

interface Group {
  first: number;
  paths: readonly string[];
  startedAt: number;
  encode: Suffix;
  /** What the compiled loops did of it, where there are any. */
  bulk: BulkGroup | null;
  /** What was staged file by file. */
  files: Waiting[];
}

export class BulkTransfer extends PutBack {
  private readonly groups = new Map<number, Group>();
  /** Of its own: threads that make and move files in one folder wait for each other. No partial has such a name. */
  private readonly folder: string;
  /** Null where there are none, or the checksum is another one than they take. */
  private readonly loops: BulkLoops | null;

  constructor(
    session: TransferSession,
    algorithm: Recorded,
    newHasher: HasherFactory,
    control: Control,
    codec: CodecSettings,
  ) {
    super(session, algorithm, newHasher, control, codec);
    this.folder = `${partialFolder(session.operation)}/-${threadId}`;
    const taken = plainAlgorithm(algorithm) === 'sha256' && !newHasher.single;
    this.loops = taken ? BulkLoops.forRun(session) : null;
  }

  /**
   * `stage` for regular files that are new on the Backup, numbered from `first`; the group waits under that number.
   * @param paths joined by NUL.
   * @param startedAt milliseconds since 1970, before any of them is opened.
   * @param encode the form in which they are stored.
   */
  stageNew(first: number, paths: string, startedAt: number, encode: Suffix): StagedGroup {
    const list = paths.split('\0');
    const group: Group = { first, paths: list, startedAt, encode, bulk: null, files: [] };
    const staged = { files: 0, bytes: 0, others: [] };
    const key = this.keyFor(encode);
    if (this.loops && key !== undefined) {
      const bulk = new BulkGroup(this.loops, list, first, startedAt);
      this.stageBulk(group, bulk, staged, key);
      if (staged.files > 0) group.bulk = bulk;
      else bulk.close();
    }
    this.stageEach(group, staged);
    this.groups.set(first, group);
    return staged;
  }

  /** `commit` for the group that this worker's `stageNew` left waiting. */
  placeNew(first: number): PlacedGroup {
    const group = this.groups.get(first);
    if (!group) throw new Error('another worker staged these files');
    this.groups.delete(first);
    const placed = { files: 0, bytes: 0, written: 0, folders: [], others: [] };
    const rows: string[] = [];
    if (group.bulk) {
      this.placeBulk(group, group.bulk, placed, rows);
      group.bulk.close();
    }
    this.placeEach(group, placed, rows);
    return { ...placed, rows: rows.join(',') };
  }

  // --- file by file ---

  /** What the loops have not staged. */
  private stageEach({ first, paths, encode, bulk, files }: Group, staged: StagedGroup): void {
    const items = paths.flatMap((path, index): StageItem[] => {
      if (bulk?.fate(index) === 'staged') return [];
      const plain = {
        seq: first + index,
        kind: 'f',
        size: 0,
        linkTo: null,
        masterFacts: null,
        backupFacts: null,
      } as const;
      return [encode === '' ? { ...plain, path } : { ...plain, path: path + encode, from: path, encode }];
    });
    if (items.length === 0) return;
    this.stage(items, this.folder).forEach(
      ({ seq, outcome, message, checksum, masterFacts, bytes, written }, index) => {
        if (outcome !== 'done') {
          staged.others.push({ seq, outcome, message });
          return;
        }
        const { path, from, kind, linkTo, backupFacts } = items[index] as StageItem;
        const item = { seq, path, from, kind, linkTo, backupFacts, stagedFacts: masterFacts };
        files.push({ item, checksum, bytes, written });
        staged.files += 1;
        staged.bytes += bytes;
      },
    );
  }

  private placeEach({ files, startedAt, encode }: Group, placed: Placed, rows: string[]): void {
    if (files.length === 0) return;
    const items = files.map(({ item }) => item);
    this.commit(items, this.folder).forEach(({ seq, outcome, message, backupFacts }, index) => {
      const { item, checksum, bytes, written } = files[index] as Waiting;
      const path = item.from ?? item.path;
      if (outcome !== 'done') {
        placed.others.push({ seq, outcome, message });
        return;
      }
      if (Number(factsField(backupFacts, 1)) !== written) {
        placed.others.push({ seq, outcome: 'failed', message: SHORT });
        return;
      }
      const doubt = isRacy(item.stagedFacts, startedAt, this.session.masterClock) ? 'racy' : '';
      const extras = { checksum, algorithm: this.algorithm, doubt, stored: encode } as const;
      const row = makeSidedRow(this.session.reversed, path, bytes, item.stagedFacts, backupFacts, extras);
      rows.push(JSON.stringify(rowTuple(row)));
      count(placed, path, bytes, written);
    });
  }

  // --- many in one call ---

  /** Null: the loops store the files as they are; undefined: this form is none of theirs. */
  private keyFor(encode: Suffix): GroupKey | null | undefined {
    if (encode === '') return isKeyed(this.algorithm) ? undefined : null;
    return encode === '.encrypted' && isKeyed(this.algorithm) ? (this.codec.key ?? undefined) : undefined;
  }

  private stageBulk({ paths }: Group, bulk: BulkGroup, staged: StagedGroup, key: GroupKey | null): void {
    const seal = key && sealOf(key);
    try {
      this.eachCall(paths, (partials, from, to) => {
        // A limited rate is kept file by file.
        if (this.control.cancel() || this.control.limited?.() !== false) return false;
        bulk.stage(partials, this.masters, from, seal);
        let moved = 0;
        for (let at = from; at < to; at += 1) {
          if (bulk.fate(at) !== 'staged') continue;
          staged.files += 1;
          moved += bulk.size(at);
        }
        staged.bytes += moved;
        this.control.moved(moved);
        return true;
      });
    } finally {
      seal?.fill(0);
    }
  }

  private placeBulk(group: Group, bulk: BulkGroup, placed: Placed, rows: string[]): void {
    const { paths, first, files, encode } = group;
    this.eachCall(paths, (partials, from) => {
      const some = bulk.place(partials, this.masters, this.backups, from, encode);
      if (some !== '') rows.push(some);
      return true;
    });
    paths.forEach((path, at) => {
      const fate = bulk.fate(at);
      const bytes = bulk.size(at);
      const written = bulk.written(at);
      if (fate === 'placed') count(placed, path, bytes, written);
      else if (fate === 'staged') {
        const { checksum, stagedFacts } = bulk.read(at, this.session.masterStable);
        const plain = { seq: first + at, kind: 'f', linkTo: null, backupFacts: null, stagedFacts } as const;
        const item = encode === '' ? { ...plain, path } : { ...plain, path: path + encode, from: path };
        files.push({ item, checksum, bytes, written });
      } else if (fate === 'lost' || fate === 'short')
        placed.others.push({ seq: first + at, outcome: 'failed', message: fate === 'lost' ? LOST : SHORT });
    });
  }

  /** `work` says whether to go on. What it does not reach is done file by file, which also says why that fails. */
  private eachCall(paths: readonly string[], work: (partials: Dir, from: number, to: number) => boolean): void {
    let partials: Dir;
    try {
      partials = this.begin(this.folder);
    } catch {
      return;
    }
    for (let from = 0; from < paths.length; from += TOGETHER) {
      this.nextItem(paths[from] as string);
      if (!work(partials, from, Math.min(paths.length, from + TOGETHER))) return;
    }
  }
}

type Placed = Omit<PlacedGroup, 'rows'>;

function count(placed: Placed, path: string, bytes: number, written: number): void {
  placed.files += 1;
  placed.bytes += bytes;
  placed.written += written;
  const folder = parentOf(path);
  if (folder !== placed.folders.at(-1)) placed.folders.push(folder);
}

/** A drive that lies about its capacity keeps names, not bytes. */
export const SHORT = 'the drive holds fewer bytes than were written';
