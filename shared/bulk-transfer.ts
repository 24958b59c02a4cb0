/**
 * The short way for plain new files, nearly all there are in a first sync: a worker gets a group's paths as one text,
 * keeps what it learns of the files until it also puts them in place, and answers with the finished rows of their
 * records as one text. Between threads, and on the main one, twenty thousand small objects cost as much as copying
 * their files.
 */
import { threadId } from 'node:worker_threads';
import type { CodecSettings } from './codec.ts';
import type { Control } from './content.ts';
import type { HasherFactory, Recorded } from './hash.ts';
import { factsField } from './listing.ts';
import { parentOf } from './paths.ts';
import { PutBack } from './put-back.ts';
import { partialFolder } from './recover.ts';
import { isRacy, makeSidedRow, rowTuple } from './rows.ts';
import type { Suffix } from './stored.ts';
import type { CommitItem, Other, PlacedGroup, StagedGroup, StageItem, TransferSession } from './tasks.ts';

interface Waiting {
  item: CommitItem;
  checksum: string;
  bytes: number;
  /** On the Backup. */
  written: number;
}

interface Group {
  startedAt: number;
  encode: Suffix;
  files: Waiting[];
}

export class BulkTransfer extends PutBack {
  private readonly groups = new Map<number, Group>();
  /** Of its own: threads that make and move files in one folder wait for each other. No partial has such a name. */
  private readonly folder: string;

  constructor(
    session: TransferSession,
    algorithm: Recorded,
    newHasher: HasherFactory,
    control: Control,
    codec: CodecSettings,
  ) {
    super(session, algorithm, newHasher, control, codec);
    this.folder = `${partialFolder(session.operation)}/-${threadId}`;
  }

  /**
   * `stage` for regular files that are new on the Backup, numbered from `first`; the group waits under that number.
   * @param paths joined by NUL.
   * @param startedAt milliseconds since 1970, before any of them is opened.
   * @param encode the form in which they are stored.
   */
  stageNew(first: number, paths: string, startedAt: number, encode: Suffix): StagedGroup {
    const items = paths.split('\0').map((path, index): StageItem => {
      const plain = {
        seq: first + index,
        kind: 'f',
        size: 0,
        linkTo: null,
        masterFacts: null,
        backupFacts: null,
      } as const;
      return encode === '' ? { ...plain, path } : { ...plain, path: path + encode, from: path, encode };
    });
    const files: Waiting[] = [];
    const others: Other[] = [];
    let total = 0;
    this.stage(items, this.folder).forEach(
      ({ seq, outcome, message, checksum, masterFacts, bytes, written }, index) => {
        if (outcome !== 'done') {
          others.push({ seq, outcome, message });
          return;
        }
        const { path, from, kind, linkTo, backupFacts } = items[index] as StageItem;
        const item = { seq, path, from, kind, linkTo, backupFacts, stagedFacts: masterFacts };
        files.push({ item, checksum, bytes, written });
        total += bytes;
      },
    );
    this.groups.set(first, { startedAt, encode, files });
    return { files: files.length, bytes: total, others };
  }

  /** `commit` for the group that this worker's `stageNew` left waiting. */
  placeNew(first: number): PlacedGroup {
    const group = this.groups.get(first);
    if (!group) throw new Error('another worker staged these files');
    this.groups.delete(first);
    const rows: string[] = [];
    const folders: string[] = [];
    const others: Other[] = [];
    let total = 0;
    let stored = 0;
    const items = group.files.map(({ item }) => item);
    this.commit(items, this.folder).forEach(({ seq, outcome, message, backupFacts }, index) => {
      const { item, checksum, bytes, written } = group.files[index] as Waiting;
      const path = item.from ?? item.path;
      if (outcome !== 'done') {
        others.push({ seq, outcome, message });
        return;
      }
      if (Number(factsField(backupFacts, 1)) !== written) {
        others.push({ seq, outcome: 'failed', message: SHORT });
        return;
      }
      const doubt = isRacy(item.stagedFacts, group.startedAt, this.session.masterClock) ? 'racy' : '';
      const extras = { checksum, algorithm: this.algorithm, doubt, stored: group.encode } as const;
      const row = makeSidedRow(this.session.reversed, path, bytes, item.stagedFacts, backupFacts, extras);
      rows.push(JSON.stringify(rowTuple(row)));
      total += bytes;
      stored += written;
      const folder = parentOf(path);
      if (folder !== folders.at(-1)) folders.push(folder);
    });
    return { files: rows.length, bytes: total, written: stored, rows: rows.join(','), folders, others };
  }
}

/** A drive that lies about its capacity keeps names, not bytes. */
export const SHORT = 'the drive holds fewer bytes than were written';
