/** A pool whose run is over waits for another one, to which nothing of the first is known. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openPair, recordedAlgorithm, syncOptions, workersOf } from '../features/session.ts';
import { haveKey } from '../features/storing.ts';
import { factsOf } from '../shared/listing.ts';
import { relPath } from '../shared/paths.ts';
import { type Stat, statAt } from '../shared/syscalls.ts';
import { WorkerPool } from '../shared/workers.ts';
import { archive, type TestPair, withPair } from './helpers/pair.ts';
import { SEALED, store } from './helpers/stored.ts';

const test = suite('workers');

/** What a sealed group records of its file, taken by this pool, and whether the pool can be used again. */
async function checksumBy(pool: WorkerPool, { ctx }: TestPair): Promise<{ checksum: string; kept: boolean }> {
  const { group } = archive(ctx);
  const pair = await openPair(group, ctx, false);
  pair.workers = pool;
  await haveKey(pair, ctx);
  const options = syncOptions(group, {});
  const path = relPath('a/x');
  const facts = factsOf(statAt(pair.master.dir, path) as Stat, pair.masterTraits.stable_ids);
  const workers = workersOf(pair, 'plan', options);
  const [read] = await workers.run('hash', 'master', [{ path, facts }], recordedAlgorithm(pair, options));
  pair.workers = undefined;
  const kept = await pool.rest();
  await pair.close();
  return { checksum: read?.checksum ?? '', kept };
}

test('threads that are used again for a group with another key record what fresh ones would', () =>
  withPair({ master: { 'a/x': 'the same content' } }, (one) =>
    withPair({ master: { 'a/x': 'the same content' } }, async (other) => {
      await store(one, SEALED);
      await store(other, SEALED);
      const [pool, fresh] = [new WorkerPool(1), new WorkerPool(1)];
      try {
        const first = await checksumBy(pool, one);
        const second = await checksumBy(pool, other);
        const again = await checksumBy(pool, one);
        assert.equal([first.kept, second.kept, again.kept], [true, true, true]);
        assert.is.not(first.checksum, second.checksum, 'checksums are keyed');
        assert.equal([second.checksum, again.checksum], [(await checksumBy(fresh, other)).checksum, first.checksum]);
      } finally {
        await pool.close();
        await fresh.close();
      }
    }),
  ));

test('a pool that is still at work when its run ends is ended with it', () =>
  withPair({ master: { 'a/x': '1' } }, async ({ ctx }) => {
    const pool = new WorkerPool(1);
    const pair = await openPair(archive(ctx).group, ctx, false);
    pair.workers = pool;
    const options = syncOptions(archive(ctx).group, {});
    const working = workersOf(pair, 'plan', options).run('flush');
    working.catch(() => {});
    assert.is(await pool.rest(), false);
    assert.is(
      await working.then(
        () => 'done',
        () => 'ended',
      ),
      'ended',
    );
    await pair.close();
  }));

test.run();
