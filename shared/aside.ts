/**
 * Checksums taken in another thread while this one seals and writes, and the reading of what comes next as far as that
 * thread has nothing to hash. What a hasher is given is copied into slots of shared memory, unless it was read into them.
 * Synchronous for the caller, like the hashers of hash.ts. One helper thread serves all of the thread that started it,
 * begins with the first of them and ends with that thread. A helper that fails or dies is an error of the call that waits
 * for it, never a wait without end.
 */
import { readSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { messageOf } from './errors.ts';
import {
  ALGORITHMS,
  type Algorithm,
  type FilePart,
  type Hasher,
  type HasherFactory,
  type PieceReader,
} from './hash.ts';

/**
 * Hashers that work aside; undefined where there is no second core to work on.
 * @param near takes the checksums of what is wholly in memory, for which no thread is started.
 */
export function asideFactory(algorithm: Algorithm, near: HasherFactory): HasherFactory | undefined {
  if (availableParallelism() < 2) return undefined;
  const start = (): Hasher => theHelper().hasher(algorithm);
  return Object.assign(start, { once: near.once, reader: (...file: FilePart) => theHelper().reader(...file) });
}

export interface AsideOptions {
  /** The module of the helper thread. */
  entry?: URL;
  /** Seconds without any progress after which the helper counts as dead, while it does not read. */
  patience?: number;
}

/** One helper thread, the orders that it is given and the memory that they are about. */
export class Aside {
  private readonly shared = new SharedArrayBuffer(LAYOUT.slotsAt + LAYOUT.slots * LAYOUT.slotBytes);
  private readonly words = new Int32Array(this.shared, 0, LAYOUT.words);
  private readonly orders = new Float64Array(this.shared, LAYOUT.ordersAt, LAYOUT.orders * LAYOUT.orderWords);
  private readonly patience: number;
  /** Of each slot, the number of the last order about it; `HELD` while a reader has it. */
  private readonly lastOrders = new Float64Array(LAYOUT.slots);
  /** The slot that was written to last, and how much of it. */
  private filling = { slot: -1, used: 0 };
  private given = 0;
  private lastRead = 0;
  /** Of each slot, the number of the order that reads into it. */
  private readonly reads = new Float64Array(LAYOUT.slots);
  private lastId = 0;
  private lost: string | undefined;

  constructor({ entry = new URL('../shared/aside-worker.mjs', import.meta.url), patience = 30 }: AsideOptions = {}) {
    this.patience = patience;
    // Its module is plain JavaScript: the loaders of the program would only delay it.
    const worker = new Worker(entry, {
      workerData: { shared: this.shared, layout: LAYOUT },
      execArgv: [],
      trackUnmanagedFds: false,
    });
    worker.on('error', (error) => this.lose(messageOf(error)));
    worker.on('exit', () => this.lose('its thread ended'));
    worker.unref();
  }

  /** It has failed: a hasher begun here would fail as well. */
  get ended(): boolean {
    return this.lost !== undefined || Atomics.load(this.words, LAYOUT.failed) === 1;
  }

  hasher(algorithm: Algorithm): Hasher {
    const id = this.newId();
    this.order('begin', id, LAYOUT.algorithms.indexOf(algorithm));
    return new AsideHasher(this, id);
  }

  /** The bytes of an open file from `from` on, `end` at most, piece by piece. To be closed before the file is. */
  reader(...file: FilePart): PieceReader {
    return new AsideReader(this, file);
  }

  /** @internal For the hashers and readers of this file, like all that follows. */
  update(id: number, bytes: Uint8Array): void {
    if (bytes.buffer === this.shared) {
      this.order('update', id, bytes.byteOffset, bytes.length);
      return;
    }
    for (let at = 0; at < bytes.length; at += LAYOUT.slotBytes) {
      const part = bytes.subarray(at, at + LAYOUT.slotBytes);
      const place = this.placeFor(part.length);
      place.set(part);
      this.order('update', id, place.byteOffset, place.length);
    }
  }

  digest(id: number): string {
    this.order('digest', id);
    this.wait(this.given);
    return this.said();
  }

  fork(id: number): number {
    const other = this.newId();
    this.order('fork', id, other);
    return other;
  }

  /** One that nobody will ask any more. */
  drop(id: number): void {
    if (!this.ended) this.order('drop', id);
  }

  /** The number of a slot that is of no use to anybody any more: the first, whose memory is the nearest. */
  take(): number {
    for (;;) {
      const done = Atomics.load(this.words, LAYOUT.done);
      const free = this.lastOrders.findIndex((last) => last <= done);
      if (free === this.filling.slot) this.filling = { slot: -1, used: 0 };
      if (free >= 0) return free;
      this.wait(Math.min(...this.lastOrders));
    }
  }

  hold(slot: number): void {
    this.lastOrders[slot] = HELD;
  }

  /** Whoever holds it needs it no more; what was ordered is still to be done. */
  release(slot: number): void {
    this.lastOrders[slot] = this.given;
  }

  slot(slot: number, length: number = LAYOUT.slotBytes): Buffer {
    return Buffer.from(this.shared, LAYOUT.slotsAt + slot * LAYOUT.slotBytes, length);
  }

  get idle(): boolean {
    return Atomics.load(this.words, LAYOUT.done) === this.given;
  }

  /** Orders that so much of a file be read into a slot that is held. */
  read(slot: number, fd: number, at: number, length: number): void {
    this.order('read', fd, LAYOUT.slotsAt + slot * LAYOUT.slotBytes, length, at);
    this.lastRead = this.given;
    this.reads[slot] = this.given;
  }

  /** Bytes that were read into a slot; undefined when that failed. */
  hasRead(slot: number): number | undefined {
    this.wait(this.reads[slot] ?? 0);
    const read = Atomics.load(this.words, LAYOUT.read + slot);
    return read < 0 ? undefined : read;
  }

  /** Until no file is read any more, or never will be. */
  quiet(): void {
    if (!this.ended) this.wait(this.lastRead);
  }

  /** Small parts lie side by side: what is written in pieces is hashed in bursts. */
  private placeFor(length: number): Buffer {
    const { slot, used } = this.filling;
    const fits = slot >= 0 && this.lastOrders[slot] !== HELD && used + length <= LAYOUT.slotBytes;
    this.filling = fits ? { slot, used: used + length } : { slot: this.take(), used: length };
    return this.slot(this.filling.slot).subarray(this.filling.used - length, this.filling.used);
  }

  private newId(): number {
    this.lastId += 1;
    return this.lastId;
  }

  private order(kind: Kind, ...values: number[]): void {
    this.wait(this.given - LAYOUT.orders + 1);
    this.orders.set([LAYOUT.kinds.indexOf(kind), ...values], (this.given % LAYOUT.orders) * LAYOUT.orderWords);
    this.given += 1;
    if (kind === 'update') this.used(values[1] ?? 0);
    Atomics.store(this.words, LAYOUT.given, this.given);
    Atomics.notify(this.words, LAYOUT.given);
  }

  private used(offset: number): void {
    const slot = Math.floor((offset - LAYOUT.slotsAt) / LAYOUT.slotBytes);
    if (this.lastOrders[slot] !== HELD) this.lastOrders[slot] = this.given;
  }

  /** Until so many orders are done. Counts periods and not the clock: a machine that sleeps loses none of its patience. */
  private wait(wanted: number): void {
    let quiet = 0;
    for (;;) {
      const done = Atomics.load(this.words, LAYOUT.done);
      if (this.ended) throw this.failure();
      if (done >= wanted) return;
      const still = Atomics.wait(this.words, LAYOUT.done, done, 1000 * PERIOD) === 'timed-out';
      // A drive may take its time.
      quiet = still && done >= this.lastRead ? quiet + PERIOD : 0;
      if (quiet >= this.patience) this.lose('it does not answer');
    }
  }

  private failure(): Error {
    return new Error(`the thread that takes the checksums has failed: ${this.lost ?? this.said()}`);
  }

  private said(): string {
    const length = Atomics.load(this.words, LAYOUT.textLength);
    return Buffer.from(this.shared, LAYOUT.textAt, length).toString('utf8');
  }

  private lose(why: string): void {
    if (!this.ended) this.lost = why;
  }
}

// --- internal ---

/** Of the thread that has loaded this module. */
let helper: Aside | undefined;

function theHelper(): Aside {
  if (helper === undefined || helper.ended) helper = new Aside();
  return helper;
}

/** Seconds between two looks at a helper that does nothing. */
const PERIOD = 0.25;

const HELD = Number.POSITIVE_INFINITY;

const KINDS = ['begin', 'update', 'fork', 'digest', 'drop', 'read'] as const;
type Kind = (typeof KINDS)[number];

const SLOTS = 8;

/**
 * Int32 words: orders given, orders done, 1 once it has failed, length of the text, and of each slot the bytes that were read into it or -1. Then
 * the orders (Float64: kind, hasher or descriptor, and up to three values), the text (a checksum, or why it failed), and
 * the slots. These have to hold what is hashed while one piece of a file is sealed and written, else the helper runs dry.
 */
const LAYOUT = {
  words: 4 + SLOTS,
  given: 0,
  done: 1,
  failed: 2,
  textLength: 3,
  read: 4,
  orders: 64,
  orderWords: 5,
  ordersAt: 64,
  textAt: 3072,
  textBytes: 1024,
  slotsAt: 4096,
  slots: SLOTS,
  slotBytes: 1024 * 1024,
  kinds: KINDS,
  algorithms: ALGORITHMS,
};

class AsideHasher implements Hasher {
  private readonly aside: Aside;
  private readonly id: number;

  constructor(aside: Aside, id: number) {
    this.aside = aside;
    this.id = id;
    forgotten.register(this, { aside, id }, this);
  }

  update(bytes: Uint8Array): void {
    this.aside.update(this.id, bytes);
  }

  digest(): string {
    forgotten.unregister(this);
    return this.aside.digest(this.id);
  }

  fork(): Hasher {
    return new AsideHasher(this.aside, this.aside.fork(this.id));
  }
}

/** The piece in hand, and the next one where the helper reads it already; each in a slot of its own. */
class AsideReader implements PieceReader {
  private readonly aside: Aside;
  private readonly fd: number;
  private readonly end: number;
  private at: number;
  private slot: number | undefined;
  private ahead: number | undefined;

  constructor(aside: Aside, [fd, from, end]: FilePart) {
    this.aside = aside;
    this.fd = fd;
    this.at = from;
    this.end = end;
  }

  next(): Buffer {
    this.release();
    const read = this.ahead === undefined ? undefined : this.aside.hasRead(this.ahead);
    this.slot = this.ahead ?? this.hold();
    this.ahead = undefined;
    const piece = this.aside.slot(this.slot);
    // What the helper cannot read fails here once more, or does not.
    const length = read ?? readSync(this.fd, piece, 0, this.wanted, this.at);
    this.at += length;
    if (length > 0 && this.wanted > 0 && this.aside.idle) {
      this.ahead = this.hold();
      this.aside.read(this.ahead, this.fd, this.at, this.wanted);
    }
    return piece.subarray(0, length);
  }

  close(): void {
    this.release();
    this.aside.quiet();
    if (this.ahead !== undefined) this.aside.release(this.ahead);
    this.ahead = undefined;
  }

  private get wanted(): number {
    return Math.min(LAYOUT.slotBytes, this.end - this.at);
  }

  private hold(): number {
    const slot = this.aside.take();
    this.aside.hold(slot);
    return slot;
  }

  private release(): void {
    if (this.slot !== undefined) this.aside.release(this.slot);
    this.slot = undefined;
  }
}

/** A copy that was stopped never asks for its checksum. */
const forgotten = new FinalizationRegistry<{ aside: Aside; id: number }>(({ aside, id }) => {
  try {
    aside.drop(id);
  } catch {
    // A helper that has died has forgotten it.
  }
});
