/**
 * Tasks for worker threads are carried out at once, in the thread of the test: no thread has to be started for each of
 * thousands of small runs, and what happens in them happens in a known order. Import it before the first run.
 *
 * For tests about what a run decides and leaves behind. What is about threads themselves, kills, stops in mid-file, pauses and
 * limits, progress, real drives that go, or key rings stays on real threads: sync, sync.drives, transfer, workers, resume,
 * crash, cables, throttle, verify, manifest, watch and more.
 */

import { type Digest, type Hashers, hashersFor } from '../../shared/digests.ts';
import {
  type HasherFactory,
  hasherFactory,
  isKeyed,
  keyedChecksum,
  keyedFactory,
  plainAlgorithm,
  type Recorded,
} from '../../shared/hash.ts';
import { checksumKey, type GroupKey } from '../../shared/keyring.ts';
import { ScrubTransfer } from '../../shared/scrub.ts';
import type { StageItem } from '../../shared/tasks.ts';
import { type TaskName, WorkerPool, type WorkerSession } from '../../shared/workers.ts';

/** `loops`: the compiled loops of the bulk copy may be used; their system calls are out of reach of JavaScript. */
export const inlineWorkers = { loops: false };

type Call = (...args: unknown[]) => unknown;

/** Tasks are carried out one by one here: one buffer of this size, which each of them asks for, serves them all. */
function shareBuffers(): void {
  const allocate = Buffer.allocUnsafeSlow;
  const large = allocate(4 * 1024 * 1024);
  Buffer.allocUnsafeSlow = (size) => (size === large.length ? large : allocate(size));
}

function wrapWorkers(): void {
  const pools = new WeakMap<WorkerPool, { transfer: ScrubTransfer; junk: ReadonlySet<string> }>();
  const keys = new WeakMap<WorkerPool, GroupKey>();
  const makerOf = async (algorithm: Recorded, owner: WorkerPool): Promise<HasherFactory> => {
    const plain = await hasherFactory(plainAlgorithm(algorithm));
    const keyed = (checksum: string): string => keyedChecksum(checksum, checksumKey(keys.get(owner) as GroupKey));
    return isKeyed(algorithm) ? keyedFactory(plain, keyed) : plain;
  };
  const expectedHashers = (items: readonly StageItem[], owner: WorkerPool): Promise<Hashers> => {
    const formats = items.flatMap(({ expect }) => expect?.algorithm ?? []);
    return hashersFor(formats, (checksum) => keyedChecksum(checksum, checksumKey(keys.get(owner) as GroupKey)));
  };
  const copy = <T>(value: T): T => (value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T));
  const carryOut = async (pool: WorkerPool, task: TaskName, given: unknown[]): Promise<unknown> => {
    const open = pools.get(pool);
    if (!open) throw new Error('the pool has no session yet');
    const args = copy(given);
    if (task === 'scrub')
      args[3] = await hashersFor(args[3] as Digest[], (checksum) =>
        keyedChecksum(checksum, checksumKey(keys.get(pool) as GroupKey)),
      );
    if (task === 'hash') args[2] = await makerOf(args[2] as Recorded, pool);
    if (task === 'stage') args[2] = await expectedHashers(args[0] as StageItem[], pool);
    if (task === 'remove') args[1] = (name: string): boolean => open.junk.has(name) || name.startsWith('._');
    try {
      return copy((open.transfer[task] as Call).apply(open.transfer, args));
    } finally {
      open.transfer.close();
    }
  };
  const hasher = hasherFactory('sha256');
  const pool = WorkerPool.prototype as unknown as Record<string, unknown>;
  pool['setKey'] = function (this: WorkerPool, { key, keyId }: GroupKey) {
    keys.set(this, { key: Buffer.from(key), keyId: Buffer.from(keyId) });
  };
  const opening = new WeakMap<WorkerPool, Promise<void>>();
  pool['open'] = function (this: WorkerPool, { transfer, algorithm, junk, compressionLevel = 1 }: WorkerSession) {
    const begin = async (): Promise<void> => {
      const newHasher = algorithm === 'sha256' ? await hasher : await makerOf(algorithm, this);
      const control = {
        stop: () => false,
        cancel: () => false,
        moved: () => {},
        holding: () => {},
        allowed: (wanted: number) => wanted,
        limited: () => !inlineWorkers.loops,
      };
      const key = (): GroupKey | null => keys.get(this) ?? null;
      const codec = {
        get key() {
          return key();
        },
        compressionLevel,
      };
      const work = new ScrubTransfer(transfer, algorithm, newHasher, control, codec);
      pools.set(this, { transfer: work, junk: new Set(junk) });
    };
    opening.set(this, begin());
  };
  pool['run'] = async function (this: WorkerPool, task: TaskName, ...args: unknown[]) {
    await opening.get(this);
    return carryOut(this, task, args);
  };
  pool['runSomewhere'] = async function (this: WorkerPool, task: TaskName, ...args: unknown[]) {
    await opening.get(this);
    return { result: await carryOut(this, task, args), on: 1 };
  };
  pool['runOn'] = async function (this: WorkerPool, _on: number, task: TaskName, ...args: unknown[]) {
    return carryOut(this, task, args);
  };
  pool['warm'] = function (this: WorkerPool) {
    return this;
  };
  pool['close'] = async () => {};
}

shareBuffers();
wrapWorkers();
