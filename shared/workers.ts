/**
 * The pool of worker threads behind every run: synchronous system calls inside, batches in and out. A task names a method
 * of `ScrubTransfer`; its result is what that method returns. Started only when there is work, once per run.
 */
import { Worker } from 'node:worker_threads';
import type { Digest } from './digests.ts';
import type { Recorded } from './hash.ts';
import type { GroupKey } from './keyring.ts';
import type { ScrubTransfer } from './scrub.ts';
import type { TransferSession } from './tasks.ts';
import { BUCKET_BYTES, TokenBucket } from './throttle.ts';

/** The methods of ScrubTransfer that a task can name, with their own parameters and results. */
export type TaskName =
  | 'stage'
  | 'stageNew'
  | 'placeNew'
  | 'verify'
  | 'commit'
  | 'hash'
  | 'scrub'
  | 'makeFolders'
  | 'move'
  | 'remove'
  | 'copyMetadata'
  | 'finishFolders'
  | 'restat'
  | 'retire'
  | 'takeAway'
  | 'remakeFolders'
  | 'putBack'
  | 'moveBack'
  | 'setMetadata'
  | 'flush';

/** What a thread has from its start. */
export interface WorkerData {
  /** Int32[0]: a RunState; BigInt64 at byte 8: bytes moved; from BUCKET_AT on the token bucket. */
  shared: SharedArrayBuffer;
  /** Of the group's key: a byte that says that it is there, the key, its name; all zero again when the pool is closed. */
  secret: SharedArrayBuffer;
  /** BigInt64[0]: bytes moved of the file in hand. */
  own: SharedArrayBuffer;
}

export const BUCKET_AT = 16;
export const KEY_BYTES = 32;
export const SECRET_BYTES = 1 + KEY_BYTES + 16;

/** What all tasks of a run work on. */
export interface WorkerSession {
  transfer: TransferSession;
  algorithm: Recorded;
  /** Names that may go to the trash with the folder they lie in. */
  junk: readonly string[];
  /** Take the checksum of manifests as well of all that is copied or compared. */
  mhl: boolean;
  /** Of what is compressed; needed only by whoever writes. */
  compressionLevel?: number;
}

export interface TaskMessage {
  id: number;
  task: TaskName;
  args: unknown[];
}

/** Without a session it forgets the one that it had. */
export type WorkerMessage = TaskMessage | { session: WorkerSession | null };

export type WorkerReply =
  | { id: number; result: unknown; pairs?: string[] }
  | { id: number; error: { message: string; code: string | undefined } }
  | { holding: string }
  /** Its native code is loaded; once. */
  | { ready: true };

export const RUN = 0;
export const PAUSE = 1;
export const CANCEL = 2;
export const STOP = 3;
export type RunState = typeof RUN | typeof PAUSE | typeof CANCEL | typeof STOP;

/** Bytes. */
const MUCH = 16 * 1024 * 1024;

interface Pending {
  message: TaskMessage;
  done: (outcome: never) => void;
  fail: (error: Error) => void;
  /** Only this worker may take it. */
  on: number | undefined;
}

interface Slot {
  id: number;
  worker: Worker;
  busy: Pending | undefined;
  holding: string;
  moved: BigInt64Array;
  /** It has started, or ended. */
  started: Promise<void>;
  hasStarted(): void;
}

export class WorkerPool {
  private readonly data: Omit<WorkerData, 'own'>;
  private size: number;
  private readonly most: number;
  private session: WorkerSession | undefined;
  private readonly slots: Slot[] = [];
  private readonly waiting: Pending[] = [];
  private readonly state: Int32Array;
  private readonly bytes: BigInt64Array;
  private readonly bucket: TokenBucket;
  private nextId = 1;
  private nextSlot = 1;
  private closed = false;
  private pairs: string[] = [];

  /**
   * Takes tasks once it is told what they work on, by `open`.
   * @param most workers that `grow` may lead to.
   */
  constructor(size: number, most = Number.POSITIVE_INFINITY) {
    const shared = new SharedArrayBuffer(BUCKET_AT + BUCKET_BYTES);
    this.data = { shared, secret: new SharedArrayBuffer(SECRET_BYTES) };
    this.size = size;
    this.most = most;
    this.state = new Int32Array(shared, 0, 1);
    this.bytes = new BigInt64Array(shared, 8, 1);
    this.bucket = new TokenBucket(shared, BUCKET_AT);
  }

  /** From now on so many workers, if there were fewer; they are started when they are needed. */
  grow(size: number): void {
    this.size = Math.max(this.size, Math.min(size, this.most));
  }

  open(session: WorkerSession): void {
    this.session = session;
    for (const { worker } of this.slots) worker.postMessage(packed({ session }));
    this.dispatch();
  }

  /** Runs a task on the next free worker; starts another worker while all are busy and there is room. */
  async run<T extends TaskName>(task: T, ...args: TaskArguments<T>): Promise<ReturnType<ScrubTransfer[T]>> {
    return (await this.enqueue(undefined, task, args)).result;
  }

  /** The same, and tells which worker it was. */
  runSomewhere<T extends TaskName>(
    task: T,
    ...args: TaskArguments<T>
  ): Promise<{ result: ReturnType<ScrubTransfer[T]>; on: number }> {
    return this.enqueue(undefined, task, args);
  }

  /** Runs a task on the worker that `runSomewhere` named. */
  async runOn<T extends TaskName>(
    on: number,
    task: T,
    ...args: TaskArguments<T>
  ): Promise<ReturnType<ScrubTransfer[T]>> {
    return (await this.enqueue(on, task, args)).result;
  }

  private enqueue<T extends TaskName>(
    on: number | undefined,
    task: T,
    args: unknown[],
  ): Promise<{ result: ReturnType<ScrubTransfer[T]>; on: number }> {
    return new Promise((done, fail) => {
      this.waiting.push({ message: { id: this.nextId++, task, args }, done: done as Pending['done'], fail, on });
      this.dispatch();
    });
  }

  setState(state: RunState): void {
    Atomics.store(this.state, 0, state);
    Atomics.notify(this.state, 0);
  }

  /** Bytes per second that all workers together may write; 0: without limit. */
  setRate(bytesPerSecond: number): void {
    if (this.bucket.rate === Math.round(bytesPerSecond)) return;
    this.bucket.setRate(bytesPerSecond);
    Atomics.notify(this.state, 0);
  }

  /** The key of the group, for whatever is begun from now on. It does not travel in messages, whose copies nobody wipes. */
  setKey({ key, keyId }: GroupKey): void {
    const secret = new Uint8Array(this.data.secret);
    secret.set(key, 1);
    secret.set(keyId, 1 + KEY_BYTES);
    secret[0] = 1;
  }

  /** Since the last call: the recorded checksum of a content, then that of manifests, and so on. */
  takePairs(): string[] {
    const pairs = this.pairs;
    this.pairs = [];
    return pairs;
  }

  get bytesMoved(): number {
    return Number(Atomics.load(this.bytes, 0));
  }

  /** The file that each busy worker holds, and so many bytes of it are done. */
  get holding(): { path: string; bytes: number }[] {
    return this.slots
      .filter((slot) => slot.busy && slot.holding !== '')
      .map(({ holding, moved }) => ({ path: holding, bytes: Number(Atomics.load(moved, 0)) }));
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const pending of this.waiting.splice(0)) pending.fail(new Error('the run ended before this task began'));
    // Ended while it loads native code, a thread would take the process with it.
    await Promise.all(this.slots.map(({ started, worker }) => started.then(() => worker.terminate())));
    new Uint8Array(this.data.secret).fill(0);
  }

  /**
   * The run is over, its workers wait for another one, and know nothing of it any more. False: they were ended instead,
   * because they still work, have died, or moved so much that they hold large buffers.
   */
  async rest(): Promise<boolean> {
    const idle = this.waiting.length === 0 && this.slots.length > 0 && this.slots.every(({ busy }) => !busy);
    if (this.closed || !idle || this.bytesMoved > MUCH) {
      await this.close();
      return false;
    }
    for (const { worker } of this.slots) worker.postMessage(packed({ session: null }));
    this.session = undefined;
    this.pairs = [];
    new Uint8Array(this.data.secret).fill(0);
    Atomics.store(this.bytes, 0, 0n);
    this.setRate(0);
    this.setState(RUN);
    return true;
  }

  /** Starts all workers ahead of their first task, so that their start-up overlaps with other work. */
  warm(): this {
    while (this.slots.length < this.size) this.start();
    return this;
  }

  private dispatch(): void {
    if (!this.session) return;
    for (let at = 0; at < this.waiting.length; ) {
      const next = this.waiting[at] as Pending;
      const slot = this.slotFor(next);
      if (slot === undefined) {
        at += 1;
        continue;
      }
      this.waiting.splice(at, 1);
      if (slot === null) next.fail(new Error('the worker thread that began this has ended'));
      else {
        slot.busy = next;
        slot.worker.postMessage(packed(next.message, isText(next.message.task)));
      }
    }
  }

  /** Undefined: none is free; null: the one that has to do it is gone. */
  private slotFor({ on }: Pending): Slot | null | undefined {
    if (on !== undefined) {
      const wanted = this.slots.find(({ id }) => id === on);
      if (!wanted) return null;
      return wanted.busy ? undefined : wanted;
    }
    const free = this.slots.find((one) => !one.busy);
    return free ?? (this.slots.length < this.size ? this.start() : undefined);
  }

  private start(): Slot {
    // The tests build the bundle of these very sources once, instead of compiling them in each of thousands of threads.
    const bundled = !import.meta.url.endsWith('.ts') || process.env['TANDEM_BUNDLED_WORKERS'] === '1';
    const argv = bundled ? ['bundle'] : [];
    // Descriptors are opened by native calls and closed at the end of each task, so Node need not follow them.
    const own = new SharedArrayBuffer(8);
    const worker = new Worker(new URL('../shared/worker.mjs', import.meta.url), {
      argv,
      // What this process loads ahead of its program is not loaded again in each thread.
      execArgv: [],
      workerData: { ...this.data, own } satisfies WorkerData,
      trackUnmanagedFds: false,
      resourceLimits: { maxYoungGenerationSizeMb: 16 },
    });
    let hasStarted = (): void => {};
    const started = new Promise<void>((done) => {
      hasStarted = done;
    });
    const moved = new BigInt64Array(own);
    const slot: Slot = { id: this.nextSlot++, worker, busy: undefined, holding: '', moved, started, hasStarted };
    worker.on('message', (sent: string | WorkerReply) => this.receive(slot, unpacked(sent)));
    worker.on('error', (error) => this.lose(slot, error));
    worker.on('exit', () => this.lose(slot, new Error('a worker thread ended')));
    if (this.session) worker.postMessage(packed({ session: this.session }));
    this.slots.push(slot);
    return slot;
  }

  private receive(slot: Slot, reply: WorkerReply): void {
    if ('ready' in reply) {
      slot.hasStarted();
      return;
    }
    if ('holding' in reply) {
      slot.holding = reply.holding;
      return;
    }
    const finished = slot.busy;
    slot.busy = undefined;
    slot.holding = '';
    if ('error' in reply) finished?.fail(Object.assign(new Error(reply.error.message), { code: reply.error.code }));
    else {
      if (reply.pairs) this.pairs.push(...reply.pairs);
      finished?.done({ result: reply.result, on: slot.id } as never);
    }
    this.dispatch();
  }

  private lose(slot: Slot, error: Error): void {
    slot.hasStarted();
    const index = this.slots.indexOf(slot);
    if (index >= 0) this.slots.splice(index, 1);
    const lost = slot.busy;
    slot.busy = undefined;
    lost?.fail(error);
    if (!this.closed) this.dispatch();
  }
}

/** One JSON text travels faster between threads than many small objects; what is one long text already goes as it is. */
export function packed<T extends WorkerMessage | WorkerReply>(message: T, asIs = false): string | T {
  return asIs ? message : JSON.stringify(message);
}

export function unpacked<T extends WorkerMessage | WorkerReply>(sent: string | T): T {
  return typeof sent === 'string' ? (JSON.parse(sent) as T) : sent;
}

/** Tasks whose arguments and results are long texts. */
export function isText(task: TaskName): boolean {
  return task === 'stageNew' || task === 'placeNew';
}

/** Functions do not travel: `remove` takes its junk list from the worker's data, `hash` and `scrub` the names of formats. */
type TaskArguments<T extends TaskName> = T extends 'remove'
  ? [Parameters<ScrubTransfer['remove']>[0]]
  : T extends 'hash'
    ? [
        ...side: Parameters<ScrubTransfer['hash']> extends [infer S, infer I, unknown] ? [S, I] : never,
        algorithm: Recorded,
      ]
    : T extends 'scrub'
      ? [
          ...what: Parameters<ScrubTransfer['scrub']> extends [infer S, infer I, infer D, unknown] ? [S, I, D] : never,
          formats: readonly Digest[],
        ]
      : Parameters<ScrubTransfer[T]>;
