/**
 * The text form in which a tree travels from the scanner to the planner: one record per entry,
 *
 *     <facts> NUL <nlink> SPACE <blocks> NUL <path> NUL <link target> NUL
 *
 * parents before children and a folder's whole subtree together. `facts` is
 * `<kind> <size> <mtime> <ctime> <ino> <mode> <uid> <gid>`: kind f d l, any other letter for sockets, pipes and devices; times as seconds with ten decimals, the last
 * a zero (as GNU find prints them); mode octal; ctime and ino are `-` on drives where they do not last.
 * The baseline keeps the facts of both sides, so "unchanged" is the equality of two strings.
 */
import type { Suffix } from './stored.ts';
import type { Kind, Stat, Time } from './syscalls.ts';

/** One path on one side. Most fields are read from the facts only when asked for: a run makes a hundred thousand of these. */
export class Entry {
  readonly path: string;
  readonly facts: string;
  readonly kind: Kind;
  readonly nlink: number;
  /** 512-byte blocks; negative where they are not known. */
  readonly blocks: number;
  /** Of a symbolic link. */
  readonly target: string;
  /** How the Backup stores it: what its name has behind `path`. Its facts are those of the stored file. */
  readonly stored: Suffix;

  constructor(facts: string, path: string, nlink = 1, blocks = 0, target = '', stored: Suffix = '') {
    this.facts = facts;
    this.path = path;
    const kind = facts[0];
    this.kind = kind === 'f' || kind === 'd' || kind === 'l' ? kind : 'o';
    this.nlink = nlink;
    this.blocks = blocks;
    this.target = target;
    this.stored = stored;
  }

  get size(): number {
    return Number(this.facts.slice(2, this.facts.indexOf(' ', 2)));
  }

  /** Nanoseconds since 1970. */
  get mtime(): bigint {
    return parseTime(this.field(2));
  }

  /** Milliseconds since 1970, for comparisons that do not need more. */
  get mtimeMs(): number {
    return Number(this.field(2)) * 1000;
  }

  /** NaN where the drive keeps none. */
  get ctimeMs(): number {
    return Number(this.field(3)) * 1000;
  }

  /** `-` where the drive keeps none. */
  get ino(): string {
    return this.field(4);
  }

  get mode(): number {
    return Number.parseInt(this.field(5), 8);
  }

  /** `uid gid` */
  get owner(): string {
    return `${this.field(6)} ${this.field(7)}`;
  }

  private field(index: number): string {
    return factsField(this.facts, index);
  }
}

/** One of the fields of facts, counted from 0; `0` beyond the last. */
export function factsField(facts: string, index: number): string {
  let start = 0;
  for (let skipped = 0; skipped < index; skipped += 1) {
    start = facts.indexOf(' ', start) + 1;
    if (start === 0) return '0';
  }
  const end = facts.indexOf(' ', start);
  return end < 0 ? facts.slice(start) : facts.slice(start, end);
}

/** `1700000000.1234567890`: seconds rounded down, also before 1970, as GNU find prints them. */
function timeText({ seconds, nanoseconds }: Time): string {
  return `${seconds}.${String(nanoseconds).padStart(9, '0')}0`;
}

function parseTime(text: string): bigint {
  const dot = text.indexOf('.');
  if (dot < 0) return BigInt(text) * 1_000_000_000n;
  return BigInt(text.slice(0, dot)) * 1_000_000_000n + BigInt(text.slice(dot + 1, dot + 10).padEnd(9, '0'));
}

/** The facts of a stat; `stable` says whether ctime and inode mean something on this drive. */
export function factsOf(stat: Stat, stable: boolean): string {
  const identity = stable ? `${timeText(stat.ctime)} ${stat.ino}` : '- -';
  return `${stat.kind} ${stat.size} ${timeText(stat.mtime)} ${identity} ${stat.mode.toString(8)} ${stat.uid} ${stat.gid}`;
}

/**
 * Facts of one file under two of its names, or before and after another name of it was made, moved or changed: kind, size,
 * mtime and inode agree; ctime, mode and owner, which all names share, may have moved.
 */
export function sameInode(a: string, b: string): boolean {
  const left = a.split(' ');
  const right = b.split(' ');
  return left[4] !== '-' && [0, 1, 2, 4].every((field) => left[field] === right[field]);
}

/** Appends one record; the counterpart of `readRecords`. */
export function formatRecord(facts: string, nlink: number, blocks: number, path: string, target: string): string {
  return `${facts}\0${nlink} ${blocks}\0${path}\0${target}\0`;
}

/** Where one record lies in the buffer; reused between calls, so copy what must last. */
export interface RecordView {
  factsStart: number;
  factsEnd: number;
  extraEnd: number;
  pathStart: number;
  pathEnd: number;
  targetEnd: number;
}

/**
 * Calls `visit` for each whole record in order, with one reused view.
 * @returns where the first incomplete record begins: the length of `bytes` when all are whole.
 */
export function eachRecord(bytes: Buffer, visit: (view: RecordView) => void): number {
  const view: RecordView = { factsStart: 0, factsEnd: 0, extraEnd: 0, pathStart: 0, pathEnd: 0, targetEnd: 0 };
  for (let at = 0; at < bytes.length; at = view.targetEnd + 1) {
    view.factsStart = at;
    view.factsEnd = nul(bytes, at);
    view.extraEnd = nul(bytes, view.factsEnd + 1);
    view.pathStart = view.extraEnd + 1;
    view.pathEnd = nul(bytes, view.pathStart);
    view.targetEnd = nul(bytes, view.pathEnd + 1);
    if (view.targetEnd >= bytes.length) return at;
    visit(view);
  }
  return bytes.length;
}

/** A plain loop: `Buffer.indexOf` costs more than it saves on such short stretches. */
function nul(bytes: Buffer, from: number): number {
  let at = from;
  while (at < bytes.length && bytes[at] !== 0) at += 1;
  return at;
}

export function entryAt(bytes: Buffer, view: RecordView, path: string, stored: Suffix = ''): Entry {
  const found = bytes.toString('latin1', view.factsStart, view.factsEnd);
  // find has letters of its own for sockets, pipes and devices.
  const facts = /^[fdl]/.test(found) ? found : `o${found.slice(1)}`;
  const extra = bytes.toString('latin1', view.factsEnd + 1, view.extraEnd);
  const space = extra.indexOf(' ');
  const target = view.targetEnd > view.pathEnd + 1 ? bytes.toString('utf8', view.pathEnd + 1, view.targetEnd) : '';
  return new Entry(facts, path, Number(extra.slice(0, space)), Number(extra.slice(space + 1)), target, stored);
}

export type Side = 'master' | 'backup';

/** Two 32-bit sums over any number of records, independent of their order. */
export class Checks {
  a = 0;
  b = 0;

  /** Adds one record of a listing. */
  addRecord(bytes: Buffer, view: RecordView, side: Side): void {
    const end = view.targetEnd > view.pathEnd + 1 ? view.targetEnd : view.pathEnd;
    this.mix(bytes, view.factsStart, view.factsEnd, view.pathStart, end, side);
  }

  /** Adds what a record with these texts would add. */
  add(facts: string, path: string, target: string, side: Side): void {
    const name = target === '' ? path : `${path}\0${target}`;
    let bytes = scratch;
    const need = facts.length + name.length * 3;
    if (need > bytes.length) bytes = Buffer.alloc(need);
    const middle = bytes.write(facts, 0, 'latin1');
    const end = middle + bytes.write(name, middle, 'utf8');
    this.mix(bytes, 0, middle, middle, end, side);
  }

  /** MurmurHash3's mixing step (Appleby, public domain) in two lanes, four bytes at a time, over facts, path and link target. */
  private mix(bytes: Buffer, aStart: number, aEnd: number, bStart: number, bEnd: number, side: Side): void {
    let h = side === 'master' ? 0x9747b28c : 0x2f1c3d5a;
    let g = side === 'master' ? 0x165667b1 : 0x7f4a7c15;
    let start = aStart;
    let end = aEnd;
    for (let part = 0; part < 2; part += 1) {
      let at = start;
      for (; at + 4 <= end; at += 4) {
        const word = bytes.readInt32LE(at);
        h = Math.imul(h ^ Math.imul(word, 0xcc9e2d51), 0x1b873593);
        h = (h << 13) | (h >>> 19);
        g = Math.imul(g ^ word, 0x85ebca6b);
        g ^= g >>> 15;
      }
      for (; at < end; at += 1) {
        h = Math.imul(h ^ (bytes[at] as number), 0x01000193);
        g = Math.imul(g ^ (bytes[at] as number), 0xc2b2ae35);
        g ^= g >>> 13;
      }
      h ^= end - start;
      start = bStart;
      end = bEnd;
    }
    this.a = (this.a + finish(h)) >>> 0;
    this.b = (this.b + finish(g ^ (h >>> 7))) >>> 0;
  }
}

const scratch = Buffer.alloc(16_384);

function finish(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * `check_a` and `check_b` of a baseline row: what its two records add to the sums of the two listings together.
 * @param backupPath where the Backup has it.
 */
export function rowChecks(
  path: string,
  target: string,
  masterFacts: string,
  backupFacts: string,
  backupPath = path,
): { a: number; b: number } {
  const checks = new Checks();
  checks.add(masterFacts, path, target, 'master');
  checks.add(backupFacts, backupPath, target, 'backup');
  return { a: checks.a, b: checks.b };
}
