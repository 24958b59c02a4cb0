/**
 * The thread behind shared/aside.ts: takes orders from the ring one after the other and hashes what lies in their slots.
 * Plain JavaScript without imports of ours, so that it starts the same in the bundle, under tsx and under type stripping,
 * and soon.
 */
import { createHash } from 'node:crypto';
import { workerData } from 'node:worker_threads';

const { shared, layout } = workerData;
const words = new Int32Array(shared, 0, layout.words);
const orders = new Int32Array(shared, layout.ordersAt, layout.slots * layout.order);
const text = new Uint8Array(shared, layout.textAt, layout.textBytes);
const hashers = new Map();
let failed = false;

/** What the other side reads once it has seen that the order is done, or that there will be no more. */
function say(message) {
  // No view of shared memory goes into an encoder.
  const bytes = new TextEncoder().encode(message).subarray(0, layout.textBytes);
  text.set(bytes);
  Atomics.store(words, layout.textLength, bytes.length);
}

function fail(message) {
  if (failed) return;
  failed = true;
  say(message);
  Atomics.store(words, layout.failed, 1);
  // Whoever waits looks at this word when it is woken.
  Atomics.notify(words, layout.done);
}

/** Also of an error that nobody caught, and of an end without any. */
process.on('exit', () => fail('its thread ended'));

async function begin(algorithm) {
  if (algorithm !== 'xxh128') return createHash(algorithm);
  const { createXXHash128 } = await import('hash-wasm');
  return (await createXXHash128()).init();
}

async function forked(hasher) {
  if (hasher.copy) return hasher.copy();
  const { createXXHash128 } = await import('hash-wasm');
  return (await createXXHash128()).init().load(hasher.save());
}

async function carryOut(slot) {
  const [kind, id, value] = orders.subarray(slot * layout.order, (slot + 1) * layout.order);
  switch (layout.kinds[kind]) {
    case 'begin':
      hashers.set(id, await begin(layout.algorithms[value]));
      break;
    case 'update':
      hashers.get(id).update(new Uint8Array(shared, layout.slotsAt + slot * layout.slotBytes, value));
      break;
    case 'fork':
      hashers.set(value, await forked(hashers.get(id)));
      break;
    case 'digest':
      say(hashers.get(id).digest('hex'));
      hashers.delete(id);
      break;
    case 'drop':
      hashers.delete(id);
      break;
  }
}

try {
  for (let done = 0; ; done += 1) {
    while (Atomics.load(words, layout.given) === done) Atomics.wait(words, layout.given, done);
    await carryOut(done % layout.slots);
    Atomics.store(words, layout.done, done + 1);
    Atomics.notify(words, layout.done);
  }
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
