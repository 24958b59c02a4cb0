/** Inside a worker thread: carries out the tasks of shared/workers.ts one after the other. */
import { parentPort, workerData } from 'node:worker_threads';
import { asideFactory } from './aside.ts';
import { loadNative } from './compiled.ts';
import type { Control } from './content.ts';
import { type Digest, hashersFor } from './digests.ts';
import { errnoOf, messageOf } from './errors.ts';
import {
  type Algorithm,
  type HasherFactory,
  hasherFactory,
  isKeyed,
  keyedChecksum,
  keyedFactory,
  pairedFactory,
  plainAlgorithm,
  type Recorded,
} from './hash.ts';
import { checksumKey, type GroupKey } from './keyring.ts';
import { atWork } from './memory.ts';
import { ScrubTransfer } from './scrub.ts';
import type { StageItem } from './tasks.ts';
import { TokenBucket } from './throttle.ts';
import {
  BUCKET_AT,
  CANCEL,
  isText,
  KEY_BYTES,
  PAUSE,
  packed,
  SECRET_BYTES,
  STOP,
  type TaskMessage,
  unpacked,
  type WorkerData,
  type WorkerMessage,
  type WorkerReply,
  type WorkerSession,
} from './workers.ts';

const data = workerData as WorkerData;
const state = new Int32Array(data.shared, 0, 1);
const bytes = new BigInt64Array(data.shared, 8, 1);
const own = new BigInt64Array(data.own);
const bucket = new TokenBucket(data.shared, BUCKET_AT);
const secret = new Uint8Array(data.secret);
let inHand = '';
let told = { path: '', at: 0 };
/** Checksums of one content, two and two, that go with the next answer. */
const pairs: string[] = [];

/** Blocks here while the run is paused. */
function current(): number {
  let now = Atomics.load(state, 0);
  while (now === PAUSE) {
    Atomics.wait(state, 0, PAUSE, 1000);
    now = Atomics.load(state, 0);
  }
  return now;
}

const control: Control = {
  stop: () => current() === STOP,
  cancel: () => current() >= CANCEL,
  allowed: (wanted) =>
    bucket.take(wanted, (milliseconds) => {
      const now = current();
      if (now === STOP) return false;
      // Woken early by a change of the state.
      Atomics.wait(state, 0, now, milliseconds);
      return true;
    }),
  limited: () => bucket.rate > 0,
  moved: (count) => {
    Atomics.add(bytes, 0, BigInt(count));
    Atomics.add(own, 0, BigInt(count));
    tell();
  },
  holding: (path) => {
    inHand = path;
    Atomics.store(own, 0, 0n);
    tell();
  },
  paired: (checksum, also) => void pairs.push(checksum, also),
};

/** Which file is in hand, ten times a second at most: a small one passes unsaid, a large one is said with its first bytes. */
function tell(): void {
  if (told.path === inHand || Date.now() - told.at < 100) return;
  told = { path: inHand, at: Date.now() };
  reply({ holding: inHand });
}

function reply(message: WorkerReply, asIs = false): void {
  parentPort?.postMessage(packed(message, asIs));
}

interface Open {
  transfer: ScrubTransfer;
  mhl: boolean;
  isJunk(name: string): boolean;
}

let open: Promise<Open> | undefined;
let rest = (): void => {};

async function begin({ transfer, algorithm, junk, mhl, compressionLevel = 1 }: WorkerSession): Promise<Open> {
  const names = new Set(junk);
  return {
    transfer: new ScrubTransfer(transfer, algorithm, await makerOf(algorithm, mhl), control, {
      get key() {
        return groupKey();
      },
      compressionLevel,
    }),
    mhl,
    isJunk: (name) => names.has(name) || name.startsWith('._'),
  };
}

/** Views of the shared memory: the key is nowhere else. */
function groupKey(): GroupKey | null {
  if (Atomics.load(secret, 0) === 0) return null;
  const at = (from: number, bytes: number): Buffer => Buffer.from(data.secret, from, bytes);
  return { key: at(1, KEY_BYTES), keyId: at(1 + KEY_BYTES, SECRET_BYTES - 1 - KEY_BYTES) };
}

async function withLarge(algorithm: Algorithm): Promise<HasherFactory> {
  const near = await hasherFactory(algorithm);
  const large = asideFactory(algorithm, near);
  return large ? Object.assign(() => near(), { once: near.once, large }) : near;
}

let checksums: Buffer | undefined;

function keyChecksum(checksum: string): string {
  if (checksums === undefined) {
    const key = groupKey();
    if (key === null) throw new Error('the key of the group is not there');
    checksums = checksumKey(key);
  }
  return keyedChecksum(checksum, checksums);
}

/** With `mhl` each content that is read is also given the checksum of manifests. */
async function makerOf(algorithm: Recorded, mhl: boolean): Promise<HasherFactory> {
  const plain = await withLarge(plainAlgorithm(algorithm));
  const maker = isKeyed(algorithm) ? keyedFactory(plain, keyChecksum) : plain;
  return mhl && algorithm !== 'xxh128' ? pairedFactory(maker, await withLarge('xxh128')) : maker;
}

/** Puts in what cannot be sent to a thread. */
async function withFunctions(
  task: TaskMessage['task'],
  args: unknown[],
  { isJunk, mhl }: Omit<Open, 'transfer'>,
): Promise<unknown[]> {
  if (task === 'remove') return [args[0], isJunk];
  if (task === 'hash') return [args[0], args[1], await makerOf(args[2] as Recorded, mhl)];
  if (task === 'stage') {
    const expected = (args[0] as StageItem[]).flatMap(({ expect }) => expect?.algorithm ?? []);
    return expected.length === 0 ? args : [args[0], undefined, await hashersFor(expected, keyChecksum)];
  }
  if (task === 'scrub') return [args[0], args[1], args[2], await hashersFor(args[3] as Digest[], keyChecksum)];
  return args;
}

async function carryOut({ id, task, args }: TaskMessage): Promise<void> {
  if (!open) throw new Error('the worker thread has no session yet');
  const { transfer, ...rest } = await open;
  try {
    const method = transfer[task] as (...values: unknown[]) => unknown;
    const result = method.apply(transfer, await withFunctions(task, args, rest));
    reply({ id, result, ...(pairs.length > 0 ? { pairs: pairs.splice(0) } : {}) }, isText(task));
  } catch (error) {
    reply({ id, error: { message: messageOf(error), code: errnoOf(error) } });
  } finally {
    transfer.close();
  }
}

parentPort?.on('message', (sent: string | WorkerMessage) => {
  const message = unpacked(sent);
  if ('session' in message) {
    // Another run may have another key.
    checksums?.fill(0);
    checksums = undefined;
    pairs.length = 0;
    rest();
    if (message.session) rest = atWork();
    open = message.session ? begin(message.session) : undefined;
  } else void carryOut(message);
});

// Now, and not in the middle of a task: see WorkerPool.close.
loadNative();
reply({ ready: true });
