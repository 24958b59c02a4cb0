/** The bandwidth limit: how much goes when, over all threads together, whatever is changed meanwhile. */
import { spawn } from 'node:child_process';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { getOperation, listOperations } from '../features/history.ts';
import { setBandwidthLimit } from '../features/steering.ts';
import { type BandwidthOptions, BUCKET_BYTES, parseTimetable, rateAt, TokenBucket } from '../shared/throttle.ts';
import './helpers/property.ts';
import { edit, refusal, withPair } from './helpers/pair.ts';

const test = suite('throttle');

/** Threads that share a bucket and a clock which only waiting moves on: the one that is due first goes first. */
function drain(
  rate: number,
  threads: readonly number[],
): { bytes: number; seconds: number; pieces: [at: bigint, bytes: number][] } {
  let now = 5_000_000_000_000n;
  const began = now;
  const bucket = new TokenBucket(new SharedArrayBuffer(BUCKET_BYTES), 0, () => now);
  bucket.setRate(rate);
  const pieces: [bigint, number][] = [];
  for (const wanted of threads)
    for (let left = wanted; left > 0; ) {
      const got = bucket.take(left, (milliseconds) => {
        now += BigInt(Math.ceil(milliseconds * 1e6));
        return true;
      });
      pieces.push([now, got]);
      left -= got;
    }
  return { bytes: threads.reduce((sum, one) => sum + one, 0), seconds: Number(now - began) / 1e9, pieces };
}

test('over any time no more goes than the rate and one burst allow, and not less than the rate', () => {
  const rate = fc.integer({ min: 100_000, max: 1_000_000_000 });
  const sizes = fc.array(fc.integer({ min: 1, max: 50_000_000 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(rate, sizes, (perSecond, threads) => {
      const { bytes, seconds, pieces } = drain(perSecond, threads);
      const piece = Math.max(4096, perSecond / 10);
      const burst = perSecond * 0.1 + piece;
      assert.ok(bytes <= perSecond * seconds + burst + 1, `${bytes} bytes in ${seconds} s at ${perSecond}`);
      assert.ok(
        seconds <= bytes / perSecond + 0.001 * pieces.length,
        `${seconds} s for ${bytes} bytes at ${perSecond}`,
      );
      assert.is(
        pieces.reduce((sum, [, one]) => sum + one, 0),
        bytes,
      );
      for (const [, one] of pieces) assert.ok(one <= piece + 1, 'smooth: no piece is larger than a tenth of a second');
      let sent = 0;
      for (const [at, one] of pieces) {
        sent += one;
        const passed = Number(at - (pieces[0]?.[0] ?? 0n)) / 1e9;
        assert.ok(sent <= perSecond * passed + burst + piece + 1, 'at each moment');
      }
    }),
  );
});

const _never = (): boolean => {
  throw new Error('nothing waits');
};

const nobody = (): boolean => {
  throw new Error('nobody waits');
};

test('without a limit everything goes at once; a new rate holds at once, also for who is waiting', () => {
  let now = 0n;
  const bucket = new TokenBucket(new SharedArrayBuffer(BUCKET_BYTES), 0, () => now);
  assert.is(bucket.take(123_456_789, nobody), 123_456_789);
  bucket.setRate(100_000);
  assert.is(
    bucket.take(1_000_000, () => true),
    10_000,
  );
  let waited = 0;
  for (let left = 200_000; left > 0; )
    left -= bucket.take(left, (milliseconds) => {
      waited += milliseconds;
      now += BigInt(Math.ceil(milliseconds * 1e6));
      if (waited > 300) bucket.setRate(0);
      return true;
    });
  assert.ok(waited < 500, `${waited} ms instead of 2,000`);
});

test('who stops waiting is let go', () => {
  const bucket = new TokenBucket(new SharedArrayBuffer(BUCKET_BYTES), 0, () => 0n);
  bucket.setRate(1000);
  for (let count = 0; count < 5; count += 1)
    assert.is(
      bucket.take(4096, () => false),
      4096,
    );
});

const MINUTES: [string, [string, number][] | undefined][] = [
  [
    '08:00-18:00 10, otherwise off',
    [
      ['7:59', 0],
      ['8:00', 10],
      ['17:59', 10],
      ['18:00', 0],
    ],
  ],
  [
    '22:00-6:00 off, otherwise 2.5',
    [
      ['21:59', 2.5],
      ['22:00', 0],
      ['0:00', 0],
      ['5:59', 0],
      ['6:00', 2.5],
    ],
  ],
  [
    '12:00-13:00 1, 8:00-18:00 5',
    [
      ['12:30', 1],
      ['9:00', 5],
      ['20:00', 7],
    ],
  ],
  ['Otherwise OFF', [['1:00', 0]]],
  ['', undefined],
  ['8-18 10', undefined],
  ['08:00-18:00', undefined],
  ['08:00-18:00 0', undefined],
  ['08:00-18:00 1001', undefined],
  ['08:00-08:00 5', undefined],
  ['25:00-26:00 5', undefined],
  ['08:61-09:00 5', undefined],
  ['08:00-18:00 10,', undefined],
];

for (const [text, moments] of MINUTES) {
  test(`timetable '${text}'`, () => {
    assert.is(parseTimetable(text) === undefined, moments === undefined);
    const options: BandwidthOptions = {
      enable_bandwidth_limit: true,
      bandwidth_limit_mbps: 7,
      bandwidth_timetable: text,
    };
    for (const [time, megabytes] of moments ?? []) {
      const [hour = 0, minute = 0] = time.split(':').map(Number);
      assert.is(rateAt(options, new Date(2026, 5, 1, hour, minute)), megabytes * 1e6, time);
      assert.is(rateAt({ ...options, enable_bandwidth_limit: false }, new Date(2026, 5, 1, hour, minute)), 0);
    }
  });
}

test('a run keeps to its limit with several threads, small and large files; another process changes it', async () => {
  await withPair({}, async (pair) => {
    edit(pair.master, {
      large: 'x'.repeat(3_000_000),
      ...Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`s${at}`, 'y'.repeat(20_000)])),
    });
    const began = Date.now();
    const options = { enable_bandwidth_limit: true, bandwidth_limit_mbps: 2.5, max_parallel_files: 4 };
    assert.is((await pair.sync({ options })).files_copied, 101);
    const seconds = (Date.now() - began) / 1000;
    assert.ok(seconds > 5 / 2.5 - 0.5, `5 MB took ${seconds} s at 2.5 MB/s`);
  });
});

test('sync limit lifts the limit of a run that is going on; a run that ended has none', async () => {
  await withPair({}, async (pair) => {
    edit(pair.master, { large: 'x'.repeat(20_000_000) });
    const began = Date.now();
    const running = pair.sync({ options: { enable_bandwidth_limit: true, bandwidth_limit_mbps: 0.5 } }, pair.context());
    for (;;) {
      const [operation] = await listOperations({ limit: 1, status: 'running' }, pair.ctx);
      if (operation?.progress?.phase === 'copy') {
        const { code } = await pair.box.run(['sync', 'limit', operation.uuid, 'off']);
        assert.is(code, 0);
        break;
      }
      await new Promise((done) => setTimeout(done, 20));
    }
    const result = await running;
    assert.is(result.status, 'completed');
    assert.ok(Date.now() - began < 30_000, 'at 0.5 MB/s it would have taken 40 s');
    const operation = await getOperation(result.operation_id, pair.ctx);
    assert.match((await refusal(setBandwidthLimit(operation, 5, pair.ctx))).message, /is not running/);
    for (const wrong of ['0.05', '1001', 'fast', '-1']) {
      const { code, stderr } = await pair.box.run(['sync', 'limit', operation.uuid, '--', wrong]);
      assert.equal([code, /from 0.1 to 1000/.test(stderr)], [2, true], wrong);
    }
  });
});

test('a limited run can be cancelled at once', async () => {
  await withPair({}, async (pair) => {
    edit(pair.master, { large: 'x'.repeat(30_000_000), other: 'y'.repeat(30_000_000) });
    const program = ['--import', 'tsx', 'features/sync.ts', 'run', 'Archive', '--bwlimit', '0.1'];
    const env = { ...process.env, TANDEM_CONFIG: pair.box.config, TANDEM_DATA: pair.box.data };
    const child = spawn(process.execPath, program, { env, stdio: 'ignore' });
    const ended = new Promise<number | null>((done) => child.on('close', done));
    try {
      for (;;) {
        const [operation] = await listOperations({ limit: 1, status: 'running' }, pair.ctx);
        if (operation?.progress?.phase === 'copy') break;
        await new Promise((done) => setTimeout(done, 50));
      }
      const asked = Date.now();
      child.kill('SIGINT');
      setTimeout(() => child.kill('SIGINT'), 500);
      assert.is(await ended, 130);
      assert.ok(Date.now() - asked < 15_000, 'long before the ten minutes that it would take');
    } finally {
      child.kill('SIGKILL');
    }
    assert.is((await pair.sync()).status, 'completed');
  });
});

test.run();
