/** One file copied at a limited rate: `npx tsx docs/examples/throttled_copy.ts FROM TO MEGABYTES_PER_SECOND` */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { messageOf, TandemError } from '../../shared/errors.ts';
import { displayPath } from '../../shared/paths.ts';
import { BUCKET_BYTES, readMegabytes, TokenBucket } from '../../shared/throttle.ts';

const [from, to, rate = ''] = process.argv.slice(2);
try {
  const megabytes = readMegabytes(rate);
  if (!from || !to || megabytes === undefined)
    throw new TandemError('usage', 'Give two files and a rate from 0.1 to 1000.');
  // Threads that share the memory share the rate, too.
  const bucket = new TokenBucket(new SharedArrayBuffer(BUCKET_BYTES));
  bucket.setRate(megabytes * 1_000_000);
  const still = new Int32Array(new SharedArrayBuffer(4));
  const wait = (milliseconds: number): boolean => Atomics.wait(still, 0, 0, milliseconds) === 'timed-out';
  const [source, target] = [openSync(from, 'r'), openSync(to, 'wx')];
  const buffer = Buffer.alloc(65_536);
  const started = performance.now();
  let bytes = 0;
  for (let read = readSync(source, buffer); read > 0; read = readSync(source, buffer)) {
    for (let at = 0; at < read; ) at += writeSync(target, buffer, at, bucket.take(read - at, wait));
    bytes += read;
  }
  for (const fd of [source, target]) closeSync(fd);
  const seconds = (performance.now() - started) / 1000;
  console.log(`${bytes} bytes in ${seconds.toFixed(1)} s: ${(bytes / 1e6 / seconds).toFixed(1)} MB/s`);
} catch (error) {
  console.error(displayPath(messageOf(error)));
  process.exitCode = error instanceof TandemError ? error.exitCode : 1;
}
