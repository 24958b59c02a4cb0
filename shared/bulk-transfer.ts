/**
 * The short way for plain new files, nearly all there are in a first sync: a worker gets a group's paths as one text,
 * keeps what it learns of the files until it also puts them in place, and answers with the finished rows of their
 * records as one text. Between threads, and on the main one, twenty thousand small objects cost as much as copying
 * their files.
 */
import { threadId } from 'node:worker_threads';
import type { Control } from './content.ts';
import type { Algorithm, HasherFactory } from './hash.ts';
import { factsField } from './listing.ts';
import { parentOf } from './paths.ts';
import { PutBack } from './put-back.ts';
import { partialFolder } from './recover.ts';
import { isRacy, makeSidedRow, rowTuple } from './rows.ts';
import type { CommitItem, Other, PlacedGroup, StagedGroup, StageItem, TransferSession } from './tasks.ts';

interface Waiting {
  item: CommitItem;
  checksum: string;
  bytes: number;
}

interface Group {
  startedAt: number;
  files: Waiting[];
}

export class BulkTransfer extends PutBack {
  private readonly groups = new Map<number, Group>();
  /** Of its own: threads that make and move files in one folder wait for each other. No partial has such a name. */
  private readonly folder: string;

  constructor(session: TransferSession, algorithm: Algorithm, newHasher: HasherFactory, control: Control) {
    super(session, algorithm, newHasher, control);
    this.folder = `${partialFolder(session.operation)}/-${threadId}`;
  }

  /**
   * `stage` for regular files that are new on the Backup, numbered from `first`; the group waits under that number.
   * @param paths joined by NUL.
   * @param startedAt milliseconds since 1970, before any of them is opened.
   */
  stageNew(first: number, paths: string, startedAt: number): StagedGroup {
    const items = paths.split('\0').map((path, index): StageItem => {
      return { seq: first + index, path, kind: 'f', size: 0, linkTo: null, masterFacts: null, backupFacts: null };
    });
    const files: Waiting[] = [];
    const others: Other[] = [];
    let total = 0;
    this.stage(items, this.folder).forEach(({ seq, outcome, message, checksum, masterFacts, bytes }, index) => {
      if (outcome !== 'done') {
        others.push({ seq, outcome, message });
        return;
      }
      const { path, kind, linkTo, backupFacts } = items[index] as StageItem;
      files.push({ item: { seq, path, kind, linkTo, backupFacts, stagedFacts: masterFacts }, checksum, bytes });
      total += bytes;
    });
    this.groups.set(first, { startedAt, files });
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
    const items = group.files.map(({ item }) => item);
    this.commit(items, this.folder).forEach(({ seq, outcome, message, backupFacts }, index) => {
      const { item, checksum, bytes } = group.files[index] as Waiting;
      if (outcome !== 'done') {
        others.push({ seq, outcome, message });
        return;
      }
      if (Number(factsField(backupFacts, 1)) !== bytes) {
        others.push({ seq, outcome: 'failed', message: SHORT });
        return;
      }
      const doubt = isRacy(item.stagedFacts, group.startedAt, this.session.masterClock) ? 'racy' : '';
      const extras = { checksum, algorithm: this.algorithm, doubt } as const;
      const row = makeSidedRow(this.session.reversed, item.path, bytes, item.stagedFacts, backupFacts, extras);
      rows.push(JSON.stringify(rowTuple(row)));
      total += bytes;
      const folder = parentOf(item.path);
      if (folder !== folders.at(-1)) folders.push(folder);
    });
    return { files: rows.length, bytes: total, rows: rows.join(','), folders, others };
  }
}

/** A drive that lies about its capacity keeps names, not bytes. */
export const SHORT = 'the drive holds fewer bytes than were written';
