/**
 * The thread behind shared/aside.ts: takes orders one after the other, reads files into slots of the memory and hashes what lies in them.
 * Plain JavaScript without imports of ours, so that it starts the same in the bundle, under tsx and under type stripping,
 * and soon.
 */
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { workerData } from 'node:worker_threads';

const { shared, layout } = workerData;
const words = new Int32Array(shared, 0, layout.words);
const orders = new Float64Array(shared, layout.ordersAt, layout.orders * layout.orderWords);
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

/** That one file of the library: all of it takes as long to load as the thread takes to start. */
async function newXxh128() {
  const { default: library } = await import('hash-wasm/dist/xxhash128.umd.min.js');
  return (await library.createXXHash128()).init();
}

async function begin(algorithm) {
  return algorithm === 'xxh128' ? newXxh128() : createHash(algorithm);
}

async function forked(hasher) {
  return hasher.copy ? hasher.copy() : (await newXxh128()).load(hasher.save());
}

function read(fd, into, at) {
  try {
    return readSync(fd, into, 0, into.length, at);
  } catch {
    // Whoever asked tries by itself, and says what went wrong.
    return -1;
  }
}

async function carryOut(order) {
  const start = order * layout.orderWords;
  const [kind, subject, value, length, at] = orders.subarray(start, start + layout.orderWords);
  switch (layout.kinds[kind]) {
    case 'begin':
      hashers.set(subject, await begin(layout.algorithms[value]));
      break;
    case 'update':
      hashers.get(subject).update(new Uint8Array(shared, value, length));
      break;
    case 'read':
      Atomics.store(
        words,
        layout.read + (value - layout.slotsAt) / layout.slotBytes,
        read(subject, new Uint8Array(shared, value, length), at),
      );
      break;
    case 'fork':
      hashers.set(value, await forked(hashers.get(subject)));
      break;
    case 'digest':
      say(hashers.get(subject).digest('hex'));
      hashers.delete(subject);
      break;
    case 'drop':
      hashers.delete(subject);
      break;
  }
}

try {
  for (let done = 0; ; done += 1) {
    while (Atomics.load(words, layout.given) === done) Atomics.wait(words, layout.given, done);
    await carryOut(done % layout.orders);
    Atomics.store(words, layout.done, done + 1);
    Atomics.notify(words, layout.done);
  }
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
