/**
 * Large sealed files, several chunks at a time: this thread and helper threads each read, seal or open, and write ranges
 * of chunks of their own, which they take from one counter. The output is whole once all of them have ended without an
 * error, and none of them touches a descriptor after that.
 */
import { fstatSync, readSync, writeSync, writevSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type ErrorCode, errnoOf, messageOf, TandemError } from './errors.ts';
import {
  type ChunkKeys,
  HEADER_BYTES,
  openChunk,
  openChunkInto,
  plainSize,
  readHeader,
  sealChunk,
  sealChunkInto,
  TAG_BYTES,
} from './sealed.ts';

/** Bytes; a smaller file is done before a helper has begun. */
export const LANES_FROM = 64 * 1024 * 1024;

/** Descriptors of two regular files. The header of the sealed one is dealt with already. */
export interface LaneFiles {
  way: 'seal' | 'open';
  input: number;
  output: number;
}

/** Bytes of both files, with the header of the sealed one. */
export interface LaneResult {
  read: number;
  written: number;
}

/**
 * All chunks of a file. Wipes the key.
 * @param lanes threads, this one among them.
 * @throws TandemError `cancelled`, `failed` for a file that is damaged or was changed meanwhile; system errors as they are.
 */
export async function throughLanes(
  files: LaneFiles,
  keys: ChunkKeys,
  signal: AbortSignal,
  lanes = Math.min(availableParallelism(), MOST_LANES),
): Promise<LaneResult> {
  const before = fstatSync(files.input);
  const seal = files.way === 'seal';
  const plain = seal ? before.size : plainSize(before.size, readHeader(keys.header));
  const plan: LanePlan = { ...files, plain, shared: new SharedArrayBuffer(HEADER_AT + HEADER_BYTES) };
  new Uint8Array(plan.shared, KEY_AT).set(keys.key);
  new Uint8Array(plan.shared, HEADER_AT).set(keys.header);
  keys.key.fill(0);
  const lane = new Lane(plan);
  const helpers = Array.from({ length: lanes - 1 }, () => startHelper(plan, lane));
  const failures: unknown[] = [];
  try {
    while (!signal.aborted && lane.step()) await new Promise((next) => setImmediate(next));
  } catch (error) {
    failures.push(error);
  }
  // Cancelled or failed, here or there: the others end with the range they have in hand.
  if (failures.length > 0 || signal.aborted) lane.stop();
  // A descriptor may not be closed while a helper uses it: its number would soon be that of another file.
  failures.push(...(await Promise.all(helpers)).filter((failure) => failure !== undefined));
  lane.wipe();
  if (failures.length > 0) throw failures[0];
  if (lane.stopped)
    throw new TandemError('cancelled', 'It was stopped before its end.', { hint: 'No file was written.' });
  const after = fstatSync(files.input);
  // What was opened is as it was sealed; what was sealed could be half of the one content and half of the other.
  if (after.size !== before.size || (seal && after.mtimeMs !== before.mtimeMs)) throw changed();
  return { read: before.size, written: seal ? lane.sealedEnd : plain };
}

/** What every lane of a file knows; travels to a thread. */
export interface LanePlan extends LaneFiles {
  /** Bytes of the content. */
  plain: number;
  /** Int32: the next range, 1 once all shall stop; then key and header. */
  shared: SharedArrayBuffer;
}

/** How a helper tells its failure. */
export interface LaneFailure {
  message: string;
  code: string | undefined;
  hint: string | undefined;
  /** Was a TandemError. */
  ours: boolean;
}

/** One thread's part in a file. */
export class Lane {
  private readonly plan: LanePlan;
  private readonly keys: ChunkKeys;
  private readonly words: Int32Array;
  private readonly buffer: Buffer;
  private readonly out: Buffer;
  private readonly chunk: number;
  private readonly chunks: number;
  private readonly perRange: number;

  constructor(plan: LanePlan) {
    this.plan = plan;
    this.words = new Int32Array(plan.shared, 0, 2);
    this.keys = {
      key: new Uint8Array(plan.shared, KEY_AT, HEADER_AT - KEY_AT),
      header: Buffer.from(plan.shared, HEADER_AT, HEADER_BYTES),
    };
    this.chunk = readHeader(this.keys.header).chunk_size;
    this.chunks = Math.max(1, Math.ceil(plan.plain / this.chunk));
    this.perRange = Math.max(1, RANGE / this.chunk);
    this.buffer = Buffer.allocUnsafeSlow(this.perRange * (this.chunk + TAG_BYTES));
    this.out = Buffer.allocUnsafeSlow(this.buffer.length);
  }

  /** The next range, read, sealed or opened, and written; false when there is none. */
  step(): boolean {
    const first = Atomics.add(this.words, NEXT, 1) * this.perRange;
    if (first >= this.chunks || this.stopped) return false;
    const end = Math.min(first + this.perRange, this.chunks);
    const { way, input, output } = this.plan;
    const [from, to] = way === 'seal' ? [this.plainAt, this.sealedAt] : [this.sealedAt, this.plainAt];
    const bytes = readWholly(input, this.buffer.subarray(0, from(end) - from(first)), from(first));
    const [into, carry] = way === 'seal' ? [sealChunkInto, sealChunk] : [openChunkInto, openChunk];
    const out: Buffer[] = [];
    for (let at = first; at < end; at += 1) {
      const part = bytes.subarray(from(at) - from(first), from(at + 1) - from(first));
      const place = this.out.subarray(to(at) - to(first), to(at + 1) - to(first));
      const last = at === this.chunks - 1;
      if (into(this.keys, at, last, part, place) === place.length) out.push(place);
      else out.push(...carry(this.keys, at, last, part));
    }
    writeWholly(output, out, to(first));
    return true;
  }

  stop(): void {
    Atomics.store(this.words, STOPPED, 1);
  }

  get stopped(): boolean {
    return Atomics.load(this.words, STOPPED) === 1;
  }

  /** Of the whole sealed file. */
  get sealedEnd(): number {
    return this.sealedAt(this.chunks);
  }

  wipe(): void {
    this.keys.key.fill(0);
    this.buffer.fill(0);
    this.out.fill(0);
  }

  private readonly plainAt = (chunk: number): number => Math.min(chunk * this.chunk, this.plan.plain);
  private readonly sealedAt = (chunk: number): number => HEADER_BYTES + this.plainAt(chunk) + chunk * TAG_BYTES;
}

export function failureOf(error: unknown): LaneFailure {
  const ours = error instanceof TandemError;
  return { message: messageOf(error), code: errnoOf(error), hint: ours ? error.hint : undefined, ours };
}

// --- internal ---

/** More than a drive can serve. */
const MOST_LANES = 4;
/** Bytes of content from one reading. */
const RANGE = 1024 * 1024;

/** Words, and where the rest of the shared memory lies. */
const NEXT = 0;
const STOPPED = 1;
const KEY_AT = 8;
const HEADER_AT = KEY_AT + 32;

/** Never rejects: the failure, or undefined once the thread has ended well. */
function startHelper(plan: LanePlan, lane: Lane): Promise<unknown> {
  return new Promise((done) => {
    const mode = import.meta.url.endsWith('.ts') ? 'source' : 'bundle';
    const worker = new Worker(new URL('../shared/worker.mjs', import.meta.url), {
      argv: [mode, 'lane'],
      execArgv: [],
      workerData: plan,
      trackUnmanagedFds: false,
      resourceLimits: { maxYoungGenerationSizeMb: 16 },
    });
    let failure: unknown;
    const failed = (error: unknown): void => {
      failure ??= error;
      lane.stop();
    };
    worker.on('message', (told: LaneFailure) => failed(fromThere(told)));
    worker.on('error', failed);
    worker.on('exit', (code) => {
      if (code !== 0) failed(new Error('a helper thread ended before its work was done'));
      done(failure);
    });
  });
}

function fromThere({ message, code, hint, ours }: LaneFailure): Error {
  if (!ours) return Object.assign(new Error(message), { code });
  return new TandemError(code as ErrorCode, message, hint === undefined ? {} : { hint });
}

function readWholly(fd: number, into: Buffer, position: number): Buffer {
  for (let done = 0; done < into.length; ) {
    const read = readSync(fd, into, done, into.length - done, position + done);
    if (read === 0) throw changed();
    done += read;
  }
  return into;
}

/** As many buffers as one system call takes everywhere. */
const AT_ONCE = 1000;

function writeWholly(fd: number, pieces: readonly Uint8Array[], position: number): void {
  let at = position;
  for (let from = 0; from < pieces.length; from += AT_ONCE) {
    const some = pieces.slice(from, from + AT_ONCE);
    let done = writevSync(fd, some, at);
    for (const piece of some) {
      for (let rest = Math.min(done, piece.length); rest < piece.length; )
        rest += writeSync(fd, piece, rest, piece.length - rest, at + rest);
      done -= Math.min(done, piece.length);
      at += piece.length;
    }
  }
}

function changed(): TandemError {
  return new TandemError('failed', 'The file was changed while it was being read.', {
    hint: 'No file was written; try again when nothing writes to it.',
  });
}
