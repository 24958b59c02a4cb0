/**
 * Compressed files, `.gz` and `.lz4` (docs/formats.md): standard gzip members and LZ4 frames of at most 512 KiB of content
 * each, with what those formats leave to the writer: a mark of size and time of the content, the length of each part and a
 * chain of checksums through all parts. `gunzip` and `lz4 -d` open them; `Decompressor` also knows whether they are whole.
 * Nothing leaves it before its checksums were compared. Bytes in, bytes out, synchronous; memory for a part or two, whatever
 * the size of the file.
 */
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib';
import { TandemError } from './errors.ts';
import { decodeBlock, encodeBlock, type Lz4Library, lz4Library, xxh32 } from './lz4-blocks.ts';

export type Compression = 'gzip' | 'lz4';

/** What a compressed file says of its content. */
export interface Mark {
  /** Bytes. */
  size: number;
  /** Nanoseconds since 1970. */
  mtime: bigint;
}

/** The first bytes of a compressed file that `readMark` needs. */
export const MARK_BYTES = 41;
/** What compressed files end in, before `.encrypted`. */
export const COMPRESSED_SUFFIX = { gzip: '.gz', lz4: '.lz4' } as const;

/** What is wrong with a level; undefined: nothing. */
export function levelProblem(kind: Compression, level: number): { message: string; hint: string } | undefined {
  const highest = kind === 'gzip' ? 9 : 12;
  if (Number.isInteger(level) && level >= 1 && level <= highest) return undefined;
  const fast = kind === 'gzip' ? '1 is fast, 9 is small' : '1 and 2 are fast, 3 to 12 small';
  return {
    message: `Level ${level} is none of ${NAMES[kind]}'s.`,
    hint: `Give a level from 1 to ${highest}: ${fast}.`,
  };
}

/** What files are compressed with here: gzip instead of LZ4 without its library, and a sentence that says so. */
export function availableCompression(
  wanted: Compression,
  level: number,
  library: Lz4Library | string = lz4Library(),
): { kind: Compression; level: number; note?: string } {
  if (wanted === 'gzip' || typeof library !== 'string') return { kind: wanted, level };
  const note = `LZ4 is not available on this machine (${library}), so new files are compressed with gzip; files that are LZ4 are read.`;
  return { kind: 'gzip', level: Math.min(9, level), note };
}

/** Whether LZ4 is used where it is asked for. */
export function isLz4Available(): boolean {
  return typeof lz4Library() !== 'string';
}

/**
 * Compresses one file: what `update` and `final` return, in order. Returned buffers are fresh and stay as they are.
 * Content that does not shrink is stored as it is.
 */
export class Compressor {
  private readonly kind: Compression;
  private readonly level: number;
  private readonly mark: Mark;
  private readonly library: Lz4Library | string;
  private readonly stored: boolean;
  private pending: Buffer | undefined;
  private filled = 0;
  private done = 0;
  private chain = 0;
  /** Whether the part before did. */
  private shrank = false;

  /**
   * @param mark the size must be that of the content.
   * @param name of the file: contents of known kinds are compressed already.
   * @throws TandemError `invalid` for a level that the kind does not have.
   */
  constructor(kind: Compression, level: number, mark: Mark, name: string, library: Lz4Library | string = lz4Library()) {
    const problem = levelProblem(kind, level);
    if (problem) throw new TandemError('invalid', problem.message, { hint: problem.hint });
    this.kind = kind;
    this.level = level;
    this.mark = mark;
    this.library = library;
    this.stored = COMPACT.test(name);
  }

  /** @throws TandemError `failed` when there is more content than was announced. */
  update(plain: Uint8Array): Buffer[] {
    const out: Buffer[] = [];
    for (let at = 0; at < plain.length; ) {
      const size = Math.min(UNIT, this.mark.size - this.done);
      if (size === 0) throw this.otherSize('more');
      const part = plain.subarray(at, at + size - this.filled);
      at += part.length;
      if (part.length === size) out.push(...this.unit(asBuffer(part)));
      else {
        this.pending ??= Buffer.allocUnsafeSlow(size);
        this.pending.set(part, this.filled);
        this.filled += part.length;
        if (this.filled === size) out.push(...this.unit(this.pending.subarray(0, size)));
      }
    }
    return out;
  }

  /** @throws TandemError `failed` when there was less content than was announced. */
  final(): Buffer[] {
    if (this.done !== this.mark.size) throw this.otherSize('less');
    return this.mark.size === 0 ? this.unit(Buffer.alloc(0)) : [];
  }

  private unit(plain: Buffer): Buffer[] {
    const first = this.done === 0;
    this.done += plain.length;
    this.filled = 0;
    const checksum = this.kind === 'gzip' ? crc32(plain) : xxh32(plain);
    const shrunk = this.shrinks(plain) ? this.compressed(plain) : undefined;
    // What saves less than a thirty-second is not worth the time of those who read it.
    const shrank = shrunk !== undefined && shrunk.length < plain.length - plain.length / 32;
    this.shrank = shrank;
    const body = shrank ? shrunk : this.kind === 'gzip' ? storedBlocks(plain) : Buffer.from(plain);
    const bodyChecksum = this.kind === 'gzip' ? crc32(body) : shrank ? xxh32(body) : checksum;
    const facts = { first: first ? this.mark : undefined, chain: this.chain, plain: plain.length, shrank };
    const head = headOf(this.kind, { ...facts, body: body.length, bodyChecksum });
    const tail = tailOf(this.kind, { plain: plain.length, checksum, bodyChecksum });
    this.chain = chained(head, tail);
    head.writeUInt32LE(this.chain, chainAt(this.kind, first));
    return body.length < SMALL ? [Buffer.concat([head, body, tail])] : [head, body, tail];
  }

  /** A guess: by the part before, else by samples. */
  private shrinks(plain: Buffer): boolean {
    if (this.stored || plain.length === 0) return false;
    if (this.shrank || plain.length <= SAMPLES * SAMPLE) return true;
    const step = Math.floor((plain.length - SAMPLE) / (SAMPLES - 1));
    const parts = Array.from({ length: SAMPLES }, (_, at) => plain.subarray(at * step, at * step + SAMPLE));
    const sample = Buffer.concat(parts);
    // Deflate also saves where some bytes are rarer than others. Trying it takes many times as long as these two.
    if (this.kind === 'gzip' && entropy(sample) < 8 * SAMPLE_SHRINKS) return true;
    return this.lz4(sample, 1).length < sample.length * SAMPLE_SHRINKS;
  }

  private compressed(plain: Buffer): Buffer {
    const { kind, level } = this;
    if (kind === 'lz4') return this.lz4(plain, level);
    return deflateRawSync(plain, { level, chunkSize: storedBytes(plain.length) + 64 });
  }

  private lz4(plain: Buffer, level: number): Buffer {
    if (typeof this.library !== 'string' && level <= FAST_LZ4)
      return asBuffer(this.library.compress(plain).subarray(4));
    return Buffer.from(encodeBlock(plain, level));
  }

  private otherSize(what: 'more' | 'less'): TandemError {
    return new TandemError('failed', `The file had ${this.mark.size} bytes, and has ${what} now.`, {
      hint: 'It was changed while it was read; the next run takes it as it is then.',
    });
  }
}

/**
 * Opens one compressed file, fed in pieces of any size. Returned buffers are fresh and stay as they are.
 * @throws TandemError `invalid` for bytes that are no compressed file of tandem's, `failed` for one that is damaged.
 */
export class Decompressor {
  private readonly kind: Compression;
  private readonly library: Lz4Library | string;
  private found: Mark | null = null;
  private pending: Buffer;
  private filled = 0;
  /** Bytes that must be there before there is anything to do. */
  private wanted: number;
  private step: 'mark' | 'head' | 'unit' | 'end' = 'mark';
  private done = 0;
  private chain = 0;

  constructor(kind: Compression, library: Lz4Library | string = lz4Library()) {
    this.kind = kind;
    this.library = library;
    this.pending = Buffer.alloc(HEAD_ROOM);
    this.wanted = MARK_END[kind];
  }

  /** Known once the beginning was read. */
  get mark(): Mark | null {
    return this.found;
  }

  update(bytes: Uint8Array): Buffer[] {
    const out: Buffer[] = [];
    for (let at = 0; at < bytes.length; ) {
      if (this.step === 'end') throw damaged('something follows its end');
      const part = bytes.subarray(at, at + this.wanted - this.filled);
      this.pending.set(part, this.filled);
      this.filled += part.length;
      at += part.length;
      if (this.filled === this.wanted) this.advance(out);
    }
    return out;
  }

  /** @throws TandemError `failed` for a file that is cut. */
  final(): Buffer[] {
    if (this.step === 'mark') {
      if (!begins(this.kind, this.pending.subarray(0, this.filled))) throw notCompressed(this.kind);
      throw damaged('it ends within its beginning');
    }
    if (this.step !== 'end') throw damaged('its end is missing');
    return [];
  }

  private advance(out: Buffer[]): void {
    if (this.step === 'mark') {
      this.found = this.readMark();
      this.wanted = headBytes(this.kind, true, this.size());
      this.step = 'head';
    } else if (this.step === 'head') {
      const plain = this.size();
      const body = this.bodyBytes(plain);
      this.wanted = this.filled + body + tailBytes(this.kind, plain);
      if (this.pending.length < this.wanted) {
        const room = Buffer.allocUnsafeSlow(HEAD_ROOM + storedBytes(plain) + TAIL_ROOM);
        room.set(this.pending.subarray(0, this.filled));
        this.pending = room;
      }
      this.step = 'unit';
    } else {
      const plain = this.open(this.size());
      this.done += plain.length;
      this.filled = 0;
      this.step = this.done === this.found?.size ? 'end' : 'head';
      this.wanted = headBytes(this.kind, false, this.size());
      if (plain.length > 0) out.push(plain);
    }
  }

  /** Of the content of the part in hand. */
  private size(): number {
    return Math.min(UNIT, (this.found as Mark).size - this.done);
  }

  private readMark(): Mark {
    const bytes = this.pending.subarray(0, this.filled);
    if (!begins(this.kind, bytes)) throw notCompressed(this.kind);
    const mark = decodeMark(bytes.subarray(this.filled - MARK));
    if (mark === 'other') throw otherVersion();
    if (mark === null) throw damaged('its beginning is not as it was written');
    return mark;
  }

  /** Bounded by the content's size, so that no length that a file names is believed. */
  private bodyBytes(plain: number): number {
    const { kind, pending, filled } = this;
    if (kind === 'lz4' && plain === 0) return 0;
    const body = kind === 'gzip' ? pending.readUInt32LE(filled - 12) : pending.readUInt32LE(filled - 4) & ~STORED;
    const most = kind === 'gzip' ? storedBytes(plain) : plain;
    if (body < 1 || body > most) throw this.damagedPart();
    return body;
  }

  private open(plain: number): Buffer {
    const { kind, pending, filled, done } = this;
    const start = headBytes(kind, done === 0, plain);
    const head = pending.subarray(0, start);
    const body = pending.subarray(start, filled - tailBytes(kind, plain));
    const tail = pending.subarray(start + body.length, filled);
    const bodyChecksum = kind === 'gzip' ? crc32(body) : plain === 0 ? 0 : xxh32(body);
    const shrank = kind === 'lz4' && plain > 0 && pending.readUInt32LE(start - 4) < STORED;
    const first = done === 0 ? (this.found as Mark) : undefined;
    const due = headOf(kind, { first, chain: this.chain, plain, shrank, body: body.length, bodyChecksum });
    const chain = chained(due, tail);
    due.writeUInt32LE(chain, chainAt(kind, done === 0));
    if (!due.equals(head)) throw this.damagedPart();
    this.chain = chain;
    const content = kind === 'gzip' ? inflated(body, plain) : this.decoded(body, plain, shrank);
    if (content === undefined) throw this.damagedPart();
    const checksum = kind === 'gzip' ? crc32(content) : xxh32(content);
    if (!tailOf(kind, { plain, checksum, bodyChecksum }).equals(tail)) throw this.damagedPart();
    return content;
  }

  private decoded(body: Buffer, plain: number, shrank: boolean): Buffer | undefined {
    if (!shrank) return body.length === plain ? Buffer.from(body) : undefined;
    if (typeof this.library !== 'string') {
      // The library reads the content's size where the frame has the block's; that was compared already.
      const start = body.byteOffset - this.pending.byteOffset - 4;
      this.pending.writeUInt32LE(plain, start);
      try {
        const content = this.library.decompress(this.pending.subarray(start, start + 4 + body.length));
        return content.length === plain ? asBuffer(content) : undefined;
      } catch {
        // Whatever it stumbled over, the own decoder has the last word.
      }
    }
    const content = Buffer.allocUnsafe(plain);
    return decodeBlock(body, content) ? content : undefined;
  }

  private damagedPart(): TandemError {
    return damaged(`its part ${Math.floor(this.done / UNIT) + 1} is not as it was written`);
  }
}

/** What a compressed file says of its content; null for first bytes that are not those of one, or too few. */
export function readMark(kind: Compression, head: Uint8Array): Mark | null {
  const end = MARK_END[kind];
  const bytes = asBuffer(head.subarray(0, end));
  if (bytes.length < end || !begins(kind, bytes)) return null;
  const mark = decodeMark(bytes.subarray(end - MARK));
  return mark === 'other' ? null : mark;
}

// --- internal ---

const NAMES = { gzip: 'gzip', lz4: 'LZ4' } as const;
/** Bytes of content in every part but the last. */
const UNIT = 512 * 1024;
/** A part that is smaller is one buffer. */
const SMALL = 65_536;
const SAMPLES = 4;
const SAMPLE = 4096;
const SAMPLE_SHRINKS = 0.97;
const FAST_LZ4 = 2;
const STORED = 0x8000_0000;
const VERSION = 1;
/** Of the mark: version, size, seconds, nanoseconds, CRC-32. */
const MARK = 25;
/** Of a deflate block that is stored. */
const LONGEST_STORED = 65_535;
const HEAD_ROOM = 64;
const TAIL_ROOM = 12;
const BILLION = 1_000_000_000n;

/** Names of contents that are compressed or encrypted already. */
const COMPACT = new RegExp(
  `\\.(${[
    'jpe?g|jpe|jxl|jp2|j2k|png|gif|webp|avif|hei[cf]|hif',
    'cr[23w]|nef|nrw|arw|srf|sr2|raf|dng|rw2|orf|pef|srw|x3f|3fr|fff|iiq|gpr',
    'mp4|m4[avbp]|mov|qt|mxf|mkv|webm|avi|mpe?g|mts|m2ts|wmv|flv|3gp|lrv|insv|360|braw|r3d|crm|nev',
    'mp3|aac|ogg|opus|flac|wma|ape|wv',
    'zip|7z|rar|gz|tgz|bz2|tbz2?|xz|txz|zst|lz4|lz|lzma|br|cab|dmg|jar|apk|docx|xlsx|pptx|odt|ods|odp|epub',
    'encrypted|gpg|pgp|age|aes|kdbx',
  ].join('|')})$`,
  'i',
);

/** First bytes, up to the mark. Of gzip: header, length of the extra field, its first name and length. Of LZ4: skippable frame, its length, tag. */
const BEGINNING = {
  gzip: Buffer.from('1f8b08040000000000ff' + '2d00' + '544d1900', 'hex'),
  lz4: Buffer.from('5d2a4d18' + '21000000' + '544e444d', 'hex'),
} as const;
/** The same of the parts that follow, up to what they have of the field or frame. */
const FOLLOWING = {
  gzip: Buffer.from('1f8b08040000000000ff' + '1000', 'hex'),
  lz4: Buffer.from('5d2a4d18' + '08000000' + '544e444d', 'hex'),
} as const;
const MARK_END = { gzip: BEGINNING.gzip.length + MARK, lz4: BEGINNING.lz4.length + MARK } as const;
/** Name and length of the field of gzip that every member has. */
const MEMBER_FIELD = Buffer.from('54550c00', 'hex');
/** LZ4 frame: version 1, independent blocks, checksums of block and content, blocks of at most 1 MiB. */
const FRAME = Buffer.from('04224d187460d9', 'hex');

interface UnitFacts {
  /** Only of the first part. */
  first: Mark | undefined;
  /** Of the part before; 0 for the first. */
  chain: number;
  plain: number;
  shrank: boolean;
  body: number;
  bodyChecksum: number;
}

/** All bytes before the compressed ones, with the chain of the part before in the place of its own. */
function headOf(kind: Compression, { first, chain, plain, shrank, body, bodyChecksum }: UnitFacts): Buffer {
  const head = Buffer.alloc(headBytes(kind, first !== undefined, plain));
  let end = (first ? BEGINNING : FOLLOWING)[kind].copy(head);
  if (first) end += encodeMark(first).copy(head, end);
  if (kind === 'gzip') {
    MEMBER_FIELD.copy(head, end);
    head.writeUInt32LE(body, end + 4);
    head.writeUInt32LE(bodyChecksum, end + 8);
    head.writeUInt32LE(chain, end + 12);
    return head;
  }
  head.writeUInt32LE(chain, end);
  FRAME.copy(head, end + 4);
  if (plain > 0) head.writeUInt32LE(shrank ? body : body + STORED, end + 4 + FRAME.length);
  return head;
}

function headBytes(kind: Compression, first: boolean, plain: number): number {
  const start = first ? MARK_END[kind] : FOLLOWING[kind].length;
  if (kind === 'gzip') return start + MEMBER_FIELD.length + 12;
  return start + 4 + FRAME.length + (plain > 0 ? 4 : 0);
}

function tailOf(
  kind: Compression,
  { plain, checksum, bodyChecksum }: { plain: number; checksum: number; bodyChecksum: number },
): Buffer {
  const tail = Buffer.alloc(tailBytes(kind, plain));
  if (kind === 'gzip') {
    tail.writeUInt32LE(checksum, 0);
    tail.writeUInt32LE(plain, 4);
  } else {
    if (plain > 0) tail.writeUInt32LE(bodyChecksum, 0);
    tail.writeUInt32LE(checksum, tail.length - 4);
  }
  return tail;
}

function tailBytes(kind: Compression, plain: number): number {
  return kind === 'lz4' && plain > 0 ? TAIL_ROOM : 8;
}

function chainAt(kind: Compression, first: boolean): number {
  const start = first ? MARK_END[kind] : FOLLOWING[kind].length;
  return kind === 'gzip' ? start + MEMBER_FIELD.length + 8 : start;
}

/** Binds a part to all before it; the compressed bytes take part with their checksum. */
function chained(head: Buffer, tail: Buffer): number {
  return crc32(tail, crc32(head));
}

function encodeMark({ size, mtime }: Mark): Buffer {
  const mark = Buffer.alloc(MARK);
  const nanoseconds = ((mtime % BILLION) + BILLION) % BILLION;
  mark[0] = VERSION;
  mark.writeBigUInt64LE(BigInt(size), 1);
  mark.writeBigInt64LE((mtime - nanoseconds) / BILLION, 9);
  mark.writeUInt32LE(Number(nanoseconds), 17);
  mark.writeUInt32LE(crc32(mark.subarray(0, 21)), 21);
  return mark;
}

/** Null for a damaged one. */
function decodeMark(mark: Buffer): Mark | null | 'other' {
  if (mark.readUInt32LE(21) !== crc32(mark.subarray(0, 21))) return null;
  if (mark[0] !== VERSION) return 'other';
  const [size, nanoseconds] = [mark.readBigUInt64LE(1), BigInt(mark.readUInt32LE(17))];
  if (size > BigInt(Number.MAX_SAFE_INTEGER) || nanoseconds >= BILLION) return null;
  return { size: Number(size), mtime: mark.readBigInt64LE(9) * BILLION + nanoseconds };
}

/** Whether the bytes, as far as they go, are those that a compressed file of this kind begins with. */
function begins(kind: Compression, bytes: Uint8Array): boolean {
  const due = BEGINNING[kind].subarray(0, bytes.length);
  return due.length > 0 && due.equals(bytes.subarray(0, due.length));
}

/** Bits that a byte of these holds, by how often each value comes. */
function entropy(bytes: Uint8Array): number {
  const counts = new Uint32Array(256);
  for (const byte of bytes) counts[byte] = (counts[byte] as number) + 1;
  let bits = 0;
  for (const count of counts) if (count > 0) bits -= (count / bytes.length) * Math.log2(count / bytes.length);
  return bits;
}

function storedBytes(plain: number): number {
  return plain + 5 * Math.max(1, Math.ceil(plain / LONGEST_STORED));
}

/** Deflate without compression. */
function storedBlocks(plain: Buffer): Buffer {
  const out = Buffer.allocUnsafe(storedBytes(plain.length));
  let at = 0;
  let to = 0;
  do {
    const part = plain.subarray(at, at + LONGEST_STORED);
    at += part.length;
    out[to] = at === plain.length ? 1 : 0;
    out.writeUInt16LE(part.length, to + 1);
    out.writeUInt16LE(LONGEST_STORED - part.length, to + 3);
    out.set(part, to + 5);
    to += 5 + part.length;
  } while (at < plain.length);
  return out;
}

/** Undefined unless the bytes, to their last, are deflate of exactly this much content. */
function inflated(body: Buffer, plain: number): Buffer | undefined {
  const options = { info: true, chunkSize: Math.max(plain, 64) + 1, maxOutputLength: Math.max(plain, 1) };
  try {
    const { buffer, engine } = inflateRawSync(body, options) as unknown as {
      buffer: Buffer;
      engine: { bytesWritten: number };
    };
    return buffer.length === plain && engine.bytesWritten === body.length ? buffer : undefined;
  } catch {
    return undefined;
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function notCompressed(kind: Compression): TandemError {
  return new TandemError('invalid', 'This is not a compressed file that tandem wrote: it does not begin as one.', {
    hint: kind === 'gzip' ? 'If gunzip made it, gunzip opens it.' : 'If lz4 made it, lz4 -d opens it.',
  });
}

function otherVersion(): TandemError {
  return new TandemError('invalid', 'This compressed file was written by another version of tandem.', {
    hint: 'A newer tandem knows it; gunzip or lz4 -d open it as well.',
  });
}

function damaged(why: string): TandemError {
  return new TandemError('failed', `The compressed file is damaged: ${why}.`, {
    hint: 'Nothing of the damaged part was written; take another copy of the file.',
  });
}
