/**
 * Checksums taken in another thread while this one reads, seals and writes: what a hasher is given is copied into a ring
 * of slots in shared memory, and this thread goes on. Synchronous for the caller, like the hashers of hash.ts. One helper
 * thread serves all hashers of the thread that started it, begins with the first of them and ends with that thread. A
 * helper that fails or dies is an error of the call that waits for it, never a wait without end.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { messageOf } from './errors.ts';
import { ALGORITHMS, type Algorithm, type Hasher, type HasherFactory } from './hash.ts';

/**
 * Hashers that work aside; undefined where there is no second core to work on.
 * @param near takes the checksums of what is wholly in memory, for which no thread is started.
 */
export function asideFactory(algorithm: Algorithm, near: HasherFactory): AsideFactory | undefined {
  if (availableParallelism() < 2) return undefined;
  const start = (): AsideHasher => {
    if (helper === undefined || helper.ended) helper = new Aside();
    return helper.hasher(algorithm);
  };
  return Object.assign(start, { once: near.once });
}

export interface AsideHasher extends Hasher {
  fork(): AsideHasher;
  /**
   * A piece of the ring to read a file into: given to `update` from there, in whole or in part, it is not copied. What was
   * read may be sealed and written afterwards, until the next piece is asked for; it may not be changed, and no more than
   * a few calls of any hasher of this thread may come between.
   */
  lend(): Buffer;
}

export interface AsideFactory extends HasherFactory {
  (): AsideHasher;
}

export interface AsideOptions {
  /** The module of the helper thread. */
  entry?: URL;
  /** Seconds without any progress after which the helper counts as dead. */
  patience?: number;
}

/** One helper thread and the ring that leads to it. */
export class Aside {
  private readonly shared = new SharedArrayBuffer(LAYOUT.slotsAt + LAYOUT.slots * LAYOUT.slotBytes);
  private readonly words = new Int32Array(this.shared, 0, LAYOUT.words);
  private readonly orders = new Int32Array(this.shared, LAYOUT.ordersAt, LAYOUT.slots * LAYOUT.order);
  private readonly patience: number;
  private given = 0;
  private lastId = 0;
  private lost: string | undefined;
  /** The slot that was lent last, as the number of an order. */
  private lent = -1;

  constructor({ entry = new URL('../shared/aside-worker.mjs', import.meta.url), patience = 30 }: AsideOptions = {}) {
    this.patience = patience;
    // Its module is plain JavaScript: the loaders of the program would only delay it.
    const worker = new Worker(entry, { workerData: { shared: this.shared, layout: LAYOUT }, execArgv: [] });
    worker.on('error', (error) => this.lose(messageOf(error)));
    worker.on('exit', () => this.lose('its thread ended'));
    worker.unref();
  }

  /** It has failed: a hasher begun here would fail as well. */
  get ended(): boolean {
    return this.lost !== undefined || Atomics.load(this.words, LAYOUT.failed) === 1;
  }

  hasher(algorithm: Algorithm): AsideHasher {
    const id = this.newId();
    this.order('begin', id, LAYOUT.algorithms.indexOf(algorithm));
    return new RingHasher(this, id);
  }

  /** @internal For the hashers of this file. */
  update(id: number, bytes: Uint8Array): void {
    if (bytes.buffer === this.shared && bytes.byteOffset === this.slot().byteOffset) {
      this.order('update', id, bytes.length);
      return;
    }
    // Another order has come between, or there are two hashers: what was lent is not written over.
    if (this.given === this.lent) this.order('drop', 0);
    for (let at = 0; at < bytes.length; at += LAYOUT.slotBytes) {
      const part = bytes.subarray(at, at + LAYOUT.slotBytes);
      this.free();
      this.slot().set(part);
      this.order('update', id, part.length);
    }
  }

  /** @internal */
  lend(): Buffer {
    this.free();
    this.lent = this.given;
    return this.slot();
  }

  /** @internal */
  digest(id: number): string {
    this.order('digest', id);
    this.wait(this.given);
    return this.said();
  }

  /** @internal */
  fork(id: number): number {
    const other = this.newId();
    this.order('fork', id, other);
    return other;
  }

  /** @internal For one that nobody will ask any more. */
  drop(id: number): void {
    if (!this.ended) this.order('drop', id);
  }

  /** Of the next order. */
  private slot(): Buffer {
    const at = LAYOUT.slotsAt + (this.given % LAYOUT.slots) * LAYOUT.slotBytes;
    return Buffer.from(this.shared, at, LAYOUT.slotBytes);
  }

  private newId(): number {
    this.lastId += 1;
    return this.lastId;
  }

  private order(kind: Kind, id: number, value = 0): void {
    this.free();
    this.orders.set([LAYOUT.kinds.indexOf(kind), id, value], (this.given % LAYOUT.slots) * LAYOUT.order);
    this.given += 1;
    Atomics.store(this.words, LAYOUT.given, this.given);
    Atomics.notify(this.words, LAYOUT.given);
  }

  private free(): void {
    this.wait(this.given - LAYOUT.slots + 1);
  }

  /** Until so many orders are done. Counts periods and not the clock: a machine that sleeps loses none of its patience. */
  private wait(wanted: number): void {
    let quiet = 0;
    for (;;) {
      const done = Atomics.load(this.words, LAYOUT.done);
      if (this.ended) throw this.failure();
      if (done >= wanted) return;
      if (Atomics.wait(this.words, LAYOUT.done, done, 1000 * PERIOD) === 'timed-out') quiet += PERIOD;
      else quiet = 0;
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

/** Seconds between two looks at a helper that does nothing. */
const PERIOD = 0.25;

const KINDS = ['begin', 'update', 'fork', 'digest', 'drop'] as const;
type Kind = (typeof KINDS)[number];

/**
 * Int32 words: orders given, orders done, 1 once it has failed, length of the text. Then per slot an order (kind, hasher,
 * value), the text (a checksum, or why it failed), and the slots. The ring has to hold what is hashed while one piece of
 * a file is sealed and written, else the helper runs dry.
 */
const SLOTS = 8;
const LAYOUT = {
  words: 4,
  given: 0,
  done: 1,
  failed: 2,
  textLength: 3,
  order: 3,
  ordersAt: 16,
  textAt: 256,
  textBytes: 1024,
  slotsAt: 4096,
  slots: SLOTS,
  slotBytes: 1024 * 1024,
  kinds: KINDS,
  algorithms: ALGORITHMS,
};

class RingHasher implements AsideHasher {
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

  fork(): AsideHasher {
    return new RingHasher(this.aside, this.aside.fork(this.id));
  }

  lend(): Buffer {
    return this.aside.lend();
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
