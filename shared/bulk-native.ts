/** The compiled loops of shared/bulk-native.c: small new files, many in one call. Without them all goes on, only more slowly. */
import { randomBytes } from 'node:crypto';
import { type Compiled, compiled } from './compiled.ts';
import type { FolderCache } from './folders.ts';
import { checksumKey, type GroupKey } from './keyring.ts';
import { factsOf } from './listing.ts';
import { parentOf } from './paths.ts';
import { partialName } from './recover.ts';
import type { Suffix } from './stored.ts';
import { type Dir, statIn } from './syscalls.ts';
import type { TransferSession } from './tasks.ts';

/** Files of one call: between two calls a run looks whether it is to stop. */
export const TOGETHER = 32;

/**
 * What became of a file: `left` as it was, to be done by other means; `lost`: not there after it was put in place;
 * `short`: in its place with fewer bytes than were written.
 */
const FATES = ['staged', 'left', 'placed', 'lost', 'short'] as const;
export type Fate = (typeof FATES)[number];

/** Layout of `struct record`; its first part is the source's struct statx. */
const RECORD = 576;
const SIZE_AT = 40;
const CHECKSUM_AT = 512;
const STATUS_AT = 544;
const WRITTEN_AT = 552;
const NO_FOLDER = -1;
/** Bytes. Files with longer paths are left: the rows of a call have to fit. */
const LONGEST_PATH = 4096;
const ROWS = TOGETHER * (12 * LONGEST_PATH + 1024);
/** Random bytes that a sealed file takes: its salt and the beginning of its nonces. */
const RANDOM = 23;
const NO_BYTES = Buffer.alloc(1);

/** What sealed files and their checksums are made with; the caller's to wipe. */
export function sealOf(key: GroupKey): Buffer {
  const checksums = checksumKey(key);
  const seal = Buffer.concat([key.key, key.keyId, checksums]);
  checksums.fill(0);
  return seal;
}

/** The loops for one run, in one thread. */
export class BulkLoops {
  readonly library: Compiled;
  private readonly rules: readonly number[];

  private constructor(library: Compiled, session: TransferSession) {
    const { traits, owner, masterStable, masterClock, reversed } = session;
    this.library = library;
    const any = -1;
    const [uid, gid] =
      owner && traits.permissions ? [process.geteuid?.() ?? any, process.getegid?.() ?? any] : [any, any];
    const flags = [masterStable, traits.stable, reversed].map(Number);
    const { permissions, minTime, maxTime } = traits;
    this.rules = [
      Number(permissions),
      uid,
      gid,
      minTime,
      maxTime,
      process.umask(),
      ...flags,
      Math.ceil(masterClock.margin),
    ];
  }

  /** Null where they were not compiled, or cannot be loaded. */
  static forRun(session: TransferSession): BulkLoops | null {
    const library = compiled();
    return library && new BulkLoops(library, session);
  }

  /** `struct rules` */
  rulesOf(startedAt: number): BigInt64Array {
    const limit = 2 ** 53;
    return BigInt64Array.from([...this.rules, startedAt], (rule) => BigInt(Math.max(-limit, Math.min(limit, rule))));
  }

  recordsFor(files: number): Buffer {
    const index = spare.findIndex(({ length }) => length >= files * RECORD);
    return (index < 0 ? undefined : spare.splice(index, 1)[0]) ?? Buffer.allocUnsafeSlow(files * RECORD);
  }

  giveBack(records: Buffer): void {
    if (spare.length < MOST_SPARE) spare.push(records);
  }

  /** Of the call in hand. */
  get rows(): Buffer {
    rows ??= Buffer.allocUnsafeSlow(ROWS);
    return rows;
  }
}

/** A group of new files on its way through the loops: staged, and later put in place. */
export class BulkGroup {
  private readonly loops: BulkLoops;
  private readonly paths: readonly string[];
  private readonly first: number;
  private readonly rules: BigInt64Array;
  private readonly records: Buffer;
  /** By the place of its first file: what a call is told of its files. */
  private readonly names = new Map<number, Buffer>();

  /**
   * @param first number of the first file's partial.
   * @param startedAt milliseconds since 1970, before any of them is opened.
   */
  constructor(loops: BulkLoops, paths: readonly string[], first: number, startedAt: number) {
    this.loops = loops;
    this.paths = paths;
    this.first = first;
    this.rules = loops.rulesOf(startedAt);
    this.records = loops.recordsFor(paths.length);
    for (let at = 0; at < paths.length; at += 1)
      this.records.writeInt32LE(FATES.indexOf('left'), at * RECORD + STATUS_AT);
  }

  fate(at: number): Fate {
    return FATES[this.records.readInt32LE(at * RECORD + STATUS_AT)] as Fate;
  }

  /** Bytes, of a file that was staged. */
  size(at: number): number {
    return this.records.readUInt32LE(at * RECORD + SIZE_AT);
  }

  /** What was read of a file that was staged. */
  read(at: number, stable: boolean): { checksum: string; stagedFacts: string } {
    const start = at * RECORD + CHECKSUM_AT;
    const view = new DataView(this.records.buffer, this.records.byteOffset);
    return {
      checksum: this.records.toString('hex', start, start + 32),
      stagedFacts: factsOf(statIn(view, at * RECORD), stable),
    };
  }

  /** Bytes on the drive, of a file that was staged. */
  written(at: number): number {
    return this.records.readUInt32LE(at * RECORD + WRITTEN_AT);
  }

  /**
   * Copies the files from the one at `from` on into partials.
   * @param seal what `sealOf` made: they are sealed; null: stored as they are.
   */
  stage(partials: Dir, masters: FolderCache, from: number, seal: Buffer | null): void {
    const some = this.paths.slice(from, from + TOGETHER);
    const names = Buffer.from(
      some.map((path, index) => `${path}\0${partialName(this.first + from + index)}\0`).join(''),
    );
    this.names.set(from, names);
    const folders = Int32Array.from(foldersOf(some, masters));
    const random = seal ? randomBytes(some.length * RANDOM) : NO_BYTES;
    this.loops.library.stage(partials.fd, names, folders, some.length, this.rules, this.from(from), seal, random);
  }

  /**
   * Puts those of them that are staged in place, where nothing stands, with the suffix behind their names.
   * @returns their rows (shared/rows.ts) as JSON arrays, joined by commas.
   */
  place(partials: Dir, masters: FolderCache, backups: FolderCache, from: number, suffix: Suffix): string {
    const names = this.names.get(from);
    if (!names) return '';
    const some = this.paths.slice(from, from + TOGETHER);
    const sources = foldersOf(some, masters);
    const targets = foldersOf(some, backups);
    const folders = Int32Array.from(
      { length: 2 * some.length },
      (_, at) => (at % 2 === 0 ? sources : targets)[at >> 1] ?? NO_FOLDER,
    );
    const { library, rows } = this.loops;
    const length = library.place(partials.fd, names, folders, some.length, this.rules, this.from(from), suffix, rows);
    return rows.toString('utf8', 0, length);
  }

  /** Nothing is asked of it any more. */
  close(): void {
    this.loops.giveBack(this.records);
  }

  private from(at: number): Buffer {
    return this.records.subarray(at * RECORD);
  }
}

// --- internal ---

/** Of the thread, for all the runs that it sees: new memory for each of them would scatter what the process has. */
let rows: Buffer | undefined;
const spare: Buffer[] = [];
const MOST_SPARE = 8;

/** Descriptors of the folders that they lie in. */
function foldersOf(paths: readonly string[], folders: FolderCache): number[] {
  let last: string | undefined;
  let fd = NO_FOLDER;
  return paths.map((path) => {
    if (path.length > LONGEST_PATH / 3) return NO_FOLDER;
    const folder = parentOf(path);
    if (folder !== last) {
      last = folder;
      try {
        fd = folders.open(folder).fd;
      } catch {
        fd = NO_FOLDER;
      }
    }
    return fd;
  });
}
