/**
 * The bytes of files: copied with their checksum in one pass, holes kept as holes, and read back past the page cache.
 * Synchronous, for worker threads.
 */
import { closeSync, constants, fstatSync, ftruncateSync, readSync, writeSync } from 'node:fs';
import type { Codec } from './codec.ts';
import type { Digester } from './digests.ts';
import { errnoOf } from './errors.ts';
import type { Hasher, HasherFactory, PieceReader } from './hash.ts';
import type { LargeCopy } from './resume.ts';
import { type Dir, dropCache, nextData, OPEN_READ, openAt } from './syscalls.ts';

/** Told between files and chunks; `pause` blocks inside. */
export interface Control {
  /** True: stop at once, leave partials to the next start. */
  stop(): boolean;
  /** True: finish the file in hand, take no other. */
  cancel(): boolean;
  moved(bytes: number): void;
  holding(path: string): void;
  /** Waits until some of these bytes may be written; returns how many. */
  allowed(wanted: number): number;
  /** Whether `allowed` may make it wait at all. */
  limited?(): boolean;
  /** Two checksums of one content, where the hashers take two. */
  paired?(checksum: string, also: string): void;
}

/** What became of a file. */
export interface Copied {
  checksum: string;
  /** Of the content. */
  bytes: number;
  /** Bytes that were written, where they are not the content itself. */
  written?: number;
  /** Another checksum that was asked for. */
  other?: string;
}

const CHUNK = 4 * 1024 * 1024;
const SMALL = 1024 * 1024;
/** Smaller files are hashed before another thread has begun. */
const LARGE = 64 * 1024 * 1024;
const ZEROS = Buffer.alloc(64 * 1024);

export class Content {
  private readonly newHasher: HasherFactory;
  private readonly control: Control;

  constructor(newHasher: HasherFactory, control: Control) {
    this.newHasher = newHasher;
    this.control = control;
  }

  private get buffer(): Buffer {
    chunk ??= Buffer.allocUnsafeSlow(CHUNK);
    return chunk;
  }

  /** Null when the run was stopped in the middle. */
  copy(source: number, target: number, size: number, sparse: boolean): Copied | null {
    if (size <= SMALL && !sparse) {
      const content = this.readSmall(source, size);
      const bytes = content.length;
      for (let left = bytes; left > 0; ) left -= this.control.allowed(left);
      writeFully(target, content);
      this.control.moved(bytes);
      return { checksum: this.sumOf(content), bytes };
    }
    const hasher = this.newHasher();
    const bytes = sparse
      ? this.copySparse(source, target, size, hasher)
      : this.copyRange(source, target, 0, size + 1, hasher, false);
    if (bytes === null) return null;
    if (sparse) ftruncateSync(target, bytes);
    return { checksum: this.ended(hasher), bytes };
  }

  /**
   * Writes the stored form of a file. Null when the run was stopped in the middle.
   * @param how `plain`: what is written is the content itself, and zeros become holes; `also` takes another checksum of it.
   * @returns the checksum and the length of the content, and the length of what was written.
   */
  encode(
    source: number,
    target: number,
    size: number,
    encoder: Codec,
    how: { plain: boolean; also: Digester | undefined },
  ): Copied | null {
    const { plain, also } = how;
    if (size <= SMALL) return this.encodeSmall(source, target, size, encoder, how);
    // Sealing and compressing go on while another thread takes the checksum.
    const newHasher = forSize(size, this.newHasher);
    const hasher = newHasher();
    let bytes = 0;
    let written = 0;
    const write = (pieces: readonly Uint8Array[]): boolean => {
      for (const piece of pieces) {
        if (!this.writeGently(target, piece, written, plain)) return false;
        written += piece.length;
      }
      return true;
    };
    // One byte more than expected: a file that grew shows as a longer read.
    const pieces = this.reader(newHasher, source, size + 1);
    try {
      while (bytes <= size) {
        if (this.control.stop()) return null;
        const content = pieces.next();
        if (content.length === 0) break;
        bytes += content.length;
        if (bytes > size) break;
        hasher.update(content);
        also?.update(content);
        if (!write(encoder.update(content))) return null;
        this.control.moved(content.length);
      }
    } finally {
      pieces.close();
    }
    // Not what it was when it was opened: nothing of it is kept.
    if (bytes !== size) return { checksum: '', bytes, written };
    if (!write(encoder.final())) return null;
    if (plain) ftruncateSync(target, written);
    return { checksum: this.ended(hasher), bytes, written, ...(also ? { other: also.digest() } : {}) };
  }

  private reader(newHasher: HasherFactory, source: number, end: number): PieceReader {
    if (newHasher.reader) return newHasher.reader(source, 0, end);
    let at = 0;
    return {
      next: () => {
        const read = readSync(source, this.buffer, 0, Math.min(CHUNK, end - at), at);
        at += read;
        return this.buffer.subarray(0, read);
      },
      close: () => {},
    };
  }

  /** One read and one write: system calls are most of what a small file costs. */
  private encodeSmall(
    source: number,
    target: number,
    size: number,
    encoder: Codec,
    { plain, also }: { plain: boolean; also: Digester | undefined },
  ): Copied | null {
    const content = this.readSmall(source, size);
    const bytes = content.length;
    if (bytes !== size) return { checksum: '', bytes };
    const pieces = encoder.whole?.(content) ?? [...encoder.update(content), ...encoder.final()];
    const whole = this.inOnePiece(pieces);
    if (!this.writeGently(target, whole, 0, plain)) return null;
    if (plain) ftruncateSync(target, bytes);
    this.control.moved(bytes);
    also?.update(content);
    const other = also ? { other: also.digest() } : {};
    return { checksum: this.sumOf(content), bytes, written: whole.length, ...other };
  }

  /** In memory that is used again for the next file: taking new one costs more than the copy. */
  private inOnePiece(pieces: readonly Uint8Array[]): Uint8Array {
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    joined ??= Buffer.allocUnsafeSlow(2 * SMALL);
    if (length > joined.length) return Buffer.concat(pieces);
    let at = 0;
    for (const piece of pieces) {
      joined.set(piece, at);
      at += piece.length;
    }
    return joined.subarray(0, at);
  }

  /** Up to one byte more than expected, into the buffer. */
  private readSmall(source: number, size: number): Buffer {
    let bytes = 0;
    for (;;) {
      const read = readSync(source, this.buffer, bytes, size + 1 - bytes, -1);
      bytes += read;
      // A short read that comes to the expected size is the end; a longer file than expected shows as a longer read.
      if (read === 0 || bytes === size || bytes > size) return this.buffer.subarray(0, bytes);
    }
  }

  private sumOf(content: Buffer): string {
    if (!this.newHasher.single) return this.newHasher.once(content);
    const hasher = this.newHasher();
    hasher.update(content);
    return this.ended(hasher);
  }

  /**
   * Writes the content of a stored file; what holds nothing but zeros becomes a hole. Null when the run was stopped.
   * @param size of the stored file.
   */
  decode(source: number, target: number, size: number, decoder: Codec): Copied | null {
    const hasher = forSize(size, this.newHasher)();
    let bytes = 0;
    const done = this.decodeAll(source, this.buffer, decoder, (piece) => {
      hasher.update(piece);
      if (!this.writeGently(target, piece, bytes, true)) return false;
      bytes += piece.length;
      this.control.moved(piece.length);
      return true;
    });
    if (!done) return null;
    ftruncateSync(target, bytes);
    return { checksum: this.ended(hasher), bytes, written: bytes };
  }

  /** @returns false when the run was stopped in the middle. */
  private decodeAll(fd: number, buffer: Buffer, decoder: Codec, take: (piece: Uint8Array) => boolean): boolean {
    for (let at = 0; ; ) {
      if (this.control.stop()) return false;
      const read = readSync(fd, buffer, 0, buffer.length, at);
      const pieces = read === 0 ? decoder.final() : decoder.update(buffer.subarray(0, read));
      for (const piece of pieces) if (!take(piece)) return false;
      if (read === 0) return true;
      at += read;
    }
  }

  /** Not faster than allowed. @returns false when the run was stopped. */
  private writeGently(target: number, piece: Uint8Array, position: number, skipZeros = false): boolean {
    for (let done = 0; done < piece.length; ) {
      if (this.control.stop()) return false;
      const part = piece.subarray(done, done + this.control.allowed(piece.length - done));
      if (skipZeros) writeNonZero(target, Buffer.from(part.buffer, part.byteOffset, part.length), position + done);
      else writeFully(target, part, position + done);
      done += part.length;
    }
    return true;
  }

  /** The rest of a large file that is there in part. Null when the run was stopped in the middle. */
  finish(source: number, copy: LargeCopy, size: number): Copied | null {
    this.control.moved(copy.done);
    const { hasher, target, done, progress } = copy;
    const bytes = this.copyRange(source, target, done, size + 1, hasher, false, progress);
    return bytes === null ? null : { checksum: this.ended(hasher), bytes };
  }

  private ended(hasher: Hasher): string {
    const checksum = hasher.digest();
    if (hasher.also) this.control.paired?.(checksum, hasher.also());
    return checksum;
  }

  /** Copies [from, end) or up to the end of the file; returns the position after the last byte. */
  private copyRange(
    source: number,
    target: number,
    from: number,
    end: number,
    hasher: Hasher,
    skipZeros: boolean,
    progress: LargeCopy['progress'] = () => {},
  ): number | null {
    let at = from;
    while (at < end) {
      if (this.control.stop()) return null;
      const read = readSync(source, this.buffer, 0, this.control.allowed(Math.min(CHUNK, end - at)), at);
      if (read === 0) break;
      const content = this.buffer.subarray(0, read);
      hasher.update(content);
      if (skipZeros) writeNonZero(target, content, at);
      else writeFully(target, content, at);
      at += read;
      this.control.moved(read);
      progress(at, hasher);
    }
    return at;
  }

  private copySparse(source: number, target: number, size: number, hasher: Hasher): number | null {
    let at = 0;
    while (at < size) {
      const data = nextData(source, at);
      if (data === undefined) return this.copyRange(source, target, at, size + 1, hasher, true);
      const start = data === null ? size : data[0];
      for (let hole = start - at; hole > 0; hole -= ZEROS.length)
        hasher.update(hole >= ZEROS.length ? ZEROS : ZEROS.subarray(0, hole));
      this.control.moved(start - at);
      if (data === null) return size;
      const end = this.copyRange(source, target, start, data[1], hasher, true);
      if (end === null || end < data[1]) return end;
      at = end;
    }
    return at;
  }

  /** The checksum of a file as the drive has it; `direct` asks for a way around the page cache, and says whether there was one. */
  readBack(dir: Dir, name: string, direct: boolean, decoder?: () => Codec): { checksum: string; direct: boolean } {
    const { result, direct: reached } = this.pastCache(dir, name, direct, (fd, buffer) =>
      this.hashOpen(fd, buffer, this.newHasher.single ?? this.newHasher, decoder?.()),
    );
    return { checksum: result, direct: reached };
  }

  /** The same with several checksums from one reading; null when the run was stopped in the middle. */
  digests(
    dir: Dir,
    name: string,
    direct: boolean,
    makers: readonly (() => Pick<Hasher, 'update' | 'digest'>)[],
    decoder?: () => Codec,
  ): { checksums: string[]; direct: boolean } | null {
    const { result, direct: reached } = this.pastCache(dir, name, direct, (fd, buffer) => {
      const hashers = makers.map((make) => make());
      if (decoder) {
        const whole = this.decodeAll(fd, buffer, decoder(), (piece) => {
          for (const hasher of hashers) hasher.update(piece);
          this.control.moved(piece.length);
          return true;
        });
        return whole ? hashers.map((hasher) => hasher.digest()) : null;
      }
      for (let at = 0; ; ) {
        if (this.control.stop()) return null;
        const read = readSync(fd, buffer, 0, buffer.length, at);
        if (read === 0) return hashers.map((hasher) => hasher.digest());
        for (const hasher of hashers) hasher.update(buffer.subarray(0, read));
        at += read;
        this.control.moved(read);
      }
    });
    return result === null ? null : { checksums: result, direct: reached };
  }

  private pastCache<T>(
    dir: Dir,
    name: string,
    direct: boolean,
    read: (fd: number, buffer: Buffer) => T,
  ): { result: T; direct: boolean } {
    if (direct && constants.O_DIRECT !== undefined) {
      try {
        const fd = openAt(dir, name, OPEN_READ | constants.O_DIRECT);
        try {
          return { result: read(fd, alignedBuffer()), direct: true };
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
      return { result: read(fd, this.buffer), direct: false };
    } finally {
      closeSync(fd);
    }
  }

  private hashOpen(fd: number, buffer: Buffer, newHasher: HasherFactory, decoder?: Codec): string {
    if (decoder) {
      const hasher = forSize(fstatSync(fd).size, newHasher)();
      const whole = this.decodeAll(fd, buffer, decoder, (piece) => {
        hasher.update(piece);
        return true;
      });
      return whole ? this.ended(hasher) : '';
    }
    const hasher = newHasher();
    for (let at = 0; ; ) {
      const read = readSync(fd, buffer, 0, buffer.length, at);
      if (read === 0) return this.ended(hasher);
      hasher.update(buffer.subarray(0, read));
      at += read;
    }
  }

  /** Lower-case hexadecimal checksum of an open file. */
  checksum(fd: number, newHasher: HasherFactory, decoder?: Codec): string {
    return this.hashOpen(fd, this.buffer, newHasher, decoder);
  }
}

/** Hashers of a file of so many bytes. */
function forSize(size: number, newHasher: HasherFactory): HasherFactory {
  return size >= LARGE ? (newHasher.large ?? newHasher) : newHasher;
}

function writeFully(fd: number, bytes: Uint8Array, position = 0): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}

const BLOCK = 4096;

/** Writes only blocks that hold something; the rest stays a hole. */
function writeNonZero(fd: number, bytes: Buffer, position: number): void {
  let from = -1;
  for (let at = 0; at < bytes.length; at += BLOCK) {
    const end = Math.min(at + BLOCK, bytes.length);
    const zero = bytes.subarray(at, end).equals(ZEROS.subarray(0, end - at));
    if (!zero && from < 0) from = at;
    if (zero && from >= 0) {
      writeFully(fd, bytes.subarray(from, at), position + from);
      from = -1;
    }
  }
  if (from >= 0) writeFully(fd, bytes.subarray(from), position + from);
}

/**
 * Of the thread: what one call puts in, the next one finds overwritten. A watcher's threads see thousands of runs, and new
 * memory of this size for each of them scatters what the process has.
 */
let chunk: Buffer | undefined;
let joined: Buffer | undefined;
let aligned: Buffer | undefined;

/** Neither the ES nor the Node types declare it. */
const wasm = globalThis as unknown as {
  WebAssembly: { Memory: new (size: { initial: number }) => { buffer: ArrayBuffer } };
};

/** O_DIRECT needs a page-aligned buffer; WebAssembly memory is one. */
function alignedBuffer(): Buffer {
  aligned ??= Buffer.from(new wasm.WebAssembly.Memory({ initial: CHUNK / 65_536 }).buffer);
  return aligned;
}
