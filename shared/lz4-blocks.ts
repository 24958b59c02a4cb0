/**
 * LZ4 blocks and their checksum xxHash32, as the LZ4 specifications describe them. A library in WebAssembly encodes the fast
 * levels and decodes; the slow levels are encoded here, and so is the decoding without the library, so that what was once
 * written is readable on any machine. Synchronous. (A native library would free its buffers only when the thread is idle:
 * a large file in one loop would stay in memory.)
 */
import { createRequire } from 'node:module';
import { messageOf } from './errors.ts';

/** The two calls of the library. Both work with blocks behind their content's length, a little-endian u32. */
export interface Lz4Library {
  compress(content: Uint8Array): Uint8Array;
  /** @throws anything for a block that is none. */
  decompress(block: Uint8Array): Uint8Array;
}

let loaded: Lz4Library | string | undefined;

/** The library, loaded on first use; a string says why there is none. `TANDEM_NO_LZ4=1` turns it off. */
export function lz4Library(): Lz4Library | string {
  if (process.env['TANDEM_NO_LZ4']) return 'TANDEM_NO_LZ4 is set';
  if (loaded !== undefined) return loaded;
  try {
    loaded = createRequire(import.meta.url)('lz4-wasm-nodejs') as Lz4Library;
  } catch (error) {
    loaded = messageOf(error).split('\n')[0] ?? '';
  }
  return loaded;
}

const PRIME_1 = -1_640_531_535;
const PRIME_2 = -2_048_144_777;
const PRIME_3 = -1_028_477_379;
const PRIME_4 = 668_265_263;
const PRIME_5 = 374_761_393;

/** With seed 0; an unsigned number. */
export function xxh32(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { length } = bytes;
  let at = 0;
  let hash = PRIME_5;
  if (length >= 16) {
    let [a, b, c, d] = [(PRIME_1 + PRIME_2) | 0, PRIME_2, 0, -PRIME_1 | 0];
    for (; at <= length - 16; at += 16) {
      a = Math.imul(rotated((a + Math.imul(view.getInt32(at, true), PRIME_2)) | 0, 13), PRIME_1);
      b = Math.imul(rotated((b + Math.imul(view.getInt32(at + 4, true), PRIME_2)) | 0, 13), PRIME_1);
      c = Math.imul(rotated((c + Math.imul(view.getInt32(at + 8, true), PRIME_2)) | 0, 13), PRIME_1);
      d = Math.imul(rotated((d + Math.imul(view.getInt32(at + 12, true), PRIME_2)) | 0, 13), PRIME_1);
    }
    hash = (rotated(a, 1) + rotated(b, 7) + rotated(c, 12) + rotated(d, 18)) | 0;
  }
  hash = (hash + length) | 0;
  for (; at + 4 <= length; at += 4)
    hash = Math.imul(rotated((hash + Math.imul(view.getInt32(at, true), PRIME_3)) | 0, 17), PRIME_4);
  for (; at < length; at += 1)
    hash = Math.imul(rotated((hash + Math.imul(bytes[at] as number, PRIME_5)) | 0, 11), PRIME_1);
  hash = Math.imul(hash ^ (hash >>> 15), PRIME_2);
  hash = Math.imul(hash ^ (hash >>> 13), PRIME_3);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Whether the block is well formed and has exactly as much content as `content` has room. */
export function decodeBlock(block: Uint8Array, content: Uint8Array): boolean {
  const end = block.length;
  let [from, to] = [0, 0];
  /** The rest of a length that did not fit its half of the token; NaN where the block ends within it. */
  const longer = (length: number): number => {
    let sum = length;
    for (let byte = 255; byte === 255; sum += byte) byte = from < end ? (block[from++] as number) : Number.NaN;
    return sum;
  };
  while (from < end) {
    const token = block[from++] as number;
    const literals = token >> 4 === 15 ? longer(15) : token >> 4;
    // Comparisons that NaN fails.
    if (!(from + literals <= end && to + literals <= content.length)) return false;
    if (literals > SHORT) content.set(block.subarray(from, from + literals), to);
    else for (let at = 0; at < literals; at += 1) content[to + at] = block[from + at] as number;
    from += literals;
    to += literals;
    if (from === end) return to === content.length;
    if (from + 2 > end) return false;
    const distance = (block[from] as number) | ((block[from + 1] as number) << 8);
    from += 2;
    const match = ((token & 15) === 15 ? longer(15) : token & 15) + LEAST_MATCH;
    if (distance === 0 || distance > to || !(to + match <= content.length)) return false;
    // A match may overlap what it writes; then it repeats it.
    if (match > SHORT && distance >= match) content.copyWithin(to, to - distance, to - distance + match);
    else for (let at = to; at < to + match; at += 1) content[at] = content[at - distance] as number;
    to += match;
  }
  return false;
}

/**
 * The block of this content by a search for long matches: the higher the level (1 to 12), the more places it compares.
 * The result is valid until the next call.
 */
export function encodeBlock(content: Uint8Array, level: number): Buffer {
  const room = content.length + Math.ceil(content.length / 255) + 16;
  if (output.length < room) output = Buffer.allocUnsafeSlow(room);
  const last = content.length - END_LITERALS;
  const matches = new Matches(content, last, TRIES[level - 1] ?? 1);
  let [written, done] = [0, 0];
  for (let at = 0; at < content.length - LAST_START; ) {
    if (!matches.find(at, LEAST_MATCH - 1)) {
      at += 1;
      continue;
    }
    let [start, source, length] = [at, matches.source, matches.length];
    // A longer match that begins a little later is worth the literals before it.
    while (length < LONG && start + 1 < content.length - LAST_START && matches.find(start + 1, length)) {
      start += 1;
      source = matches.source;
      length = matches.length;
    }
    for (; start > done && source > 0 && content[start - 1] === content[source - 1]; length += 1) {
      start -= 1;
      source -= 1;
    }
    const token = written;
    written = putLiterals(content, done, start, written);
    output[written++] = (start - source) & 255;
    output[written++] = (start - source) >> 8;
    output[token] = (output[token] as number) | Math.min(15, length - LEAST_MATCH);
    if (length - LEAST_MATCH >= 15) written = putLonger(length - LEAST_MATCH - 15, written);
    done = start + length;
    at = done;
  }
  return output.subarray(0, putLiterals(content, done, content.length, written));
}

// --- internal ---

/** Of the format: a match has at least four bytes, starts at least 12 and ends at least five bytes before the end. */
const LEAST_MATCH = 4;
const LAST_START = 12;
const END_LITERALS = 5;
const WINDOW = 65_535;
/** Up to here a loop is faster than a call. */
const SHORT = 32;
/** Longer matches are taken without a look at the next place. */
const LONG = 256;
/** Places that are compared, by level. */
const TRIES = [1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 512];

/** Each thread's own, reused for every block. */
let output: Buffer = Buffer.alloc(0);
let heads: Int32Array | undefined;
let steps: Uint16Array | undefined;

function rotated(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** Earlier places with the same four bytes: the last one by their hash, and from each the step to the one before. */
class Matches {
  /** Of the last one found. */
  source = 0;
  length = 0;
  private readonly content: Uint8Array;
  private readonly view: DataView;
  private readonly end: number;
  private readonly tries: number;
  private readonly heads: Int32Array;
  private readonly steps: Uint16Array;
  private next = 0;

  constructor(content: Uint8Array, end: number, tries: number) {
    heads ??= new Int32Array(65_536);
    steps ??= new Uint16Array(65_536);
    this.heads = heads.fill(-WINDOW - 1);
    this.steps = steps;
    this.content = content;
    this.view = new DataView(content.buffer, content.byteOffset, content.length);
    this.end = end;
    this.tries = tries;
  }

  /** Whether there is a match at this place that is longer than `least`. */
  find(at: number, least: number): boolean {
    this.insert(at);
    const { content, view, end, steps: step } = this;
    const word = view.getInt32(at, true);
    this.length = least;
    let place = at;
    for (let left = this.tries; left > 0; left -= 1) {
      const back = step[place & WINDOW] as number;
      place -= back;
      if (back === 0 || at - place > WINDOW) break;
      if (content[place + this.length] !== content[at + this.length] || view.getInt32(place, true) !== word) continue;
      let length = LEAST_MATCH;
      while (at + length < end && content[place + length] === content[at + length]) length += 1;
      if (length <= this.length) continue;
      this.length = length;
      this.source = place;
      if (at + length === end) break;
    }
    return this.length > least;
  }

  private insert(to: number): void {
    const { view, heads: head, steps: step } = this;
    for (; this.next <= to; this.next += 1) {
      const hash = Math.imul(view.getInt32(this.next, true), PRIME_1) >>> 16;
      const back = this.next - (head[hash] as number);
      step[this.next & WINDOW] = back > WINDOW ? 0 : back;
      head[hash] = this.next;
    }
  }
}

/** A token with the length of these literals, and they themselves; returns the place behind. */
function putLiterals(content: Uint8Array, from: number, to: number, place: number): number {
  const length = to - from;
  output[place] = Math.min(15, length) << 4;
  let at = length >= 15 ? putLonger(length - 15, place + 1) : place + 1;
  if (length > SHORT) output.set(content.subarray(from, to), at);
  else for (let next = 0; next < length; next += 1) output[at + next] = content[from + next] as number;
  at += length;
  return at;
}

function putLonger(length: number, place: number): number {
  let at = place;
  let rest = length;
  for (; rest >= 255; rest -= 255) output[at++] = 255;
  output[at++] = rest;
  return at;
}
