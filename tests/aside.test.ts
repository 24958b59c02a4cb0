/** Checksums taken in another thread: the same as those of this one, and no helper's death is a wait without end. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Aside, type AsideOptions, asideFactory } from '../shared/aside.ts';
import {
  ALGORITHMS,
  type Algorithm,
  type Hasher,
  type HasherFactory,
  hasherFactory,
  pairedFactory,
} from '../shared/hash.ts';
import { REPOSITORY } from './helpers/cli.ts';
import './helpers/property.ts';

const test = suite('aside');

/** An end of the process would end a helper that hangs as well; a test that hangs is a failure all the same. */
const AT_MOST = 10_000;

const near = new Map<Algorithm, HasherFactory>();
test.before(async () => {
  for (const algorithm of ALGORITHMS) near.set(algorithm, await hasherFactory(algorithm));
});

/** Updates of any size, forks and other hashers in between. */
const step = fc.record({
  hasher: fc.nat(),
  what: fc.oneof(
    fc.record({ kind: fc.constant('update' as const), size: fc.oneof(fc.nat(100), fc.nat(3_500_000)) }),
    fc.record({ kind: fc.constant('fork' as const) }),
    fc.record({ kind: fc.constant('digest' as const) }),
    fc.record({ kind: fc.constant('begin' as const), algorithm: fc.constantFrom(...ALGORITHMS) }),
  ),
});

test('any hashers, forked and interleaved at will, say what those of this thread say', () => {
  const aside = new Aside();
  const noise = randomBytes(4_000_000);
  const fresh = (algorithm: Algorithm): [Hasher, Hasher] => [
    (near.get(algorithm) as () => Hasher)(),
    aside.hasher(algorithm),
  ];
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), (steps) => {
      const open = [fresh('sha256')];
      const ended = ([here, there]: [Hasher, Hasher]): void => assert.is(there.digest(), here.digest());
      for (const { hasher, what } of steps) {
        const at = hasher % Math.max(1, open.length);
        const pair = open[at] ?? fresh('blake2b512');
        if (what.kind === 'update') {
          const bytes = noise.subarray(hasher % 1000, (hasher % 1000) + what.size);
          for (const one of pair) one.update(bytes);
        } else if (what.kind === 'fork') open.push([pair[0].fork(), pair[1].fork()]);
        else if (what.kind === 'digest') open.splice(at, 1).forEach(ended);
        else open.push(fresh(what.algorithm));
      }
      open.forEach(ended);
    }),
    { numRuns: 30 },
  );
});

test('what was given may be overwritten at once: it was copied', () => {
  const [here, there] = [near.get('sha256')?.() as Hasher, new Aside().hasher('sha256')];
  const bytes = Buffer.alloc(5_000_000);
  for (let round = 0; round < 20; round += 1) {
    bytes.fill(round);
    here.update(bytes);
    there.update(bytes);
  }
  assert.is(there.digest(), here.digest());
});

test('a lent piece is hashed where it lies, and stays as it is while it is sealed and written', () => {
  const aside = new Aside();
  const noise = randomBytes(2_000_000);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(1024 * 1024), fc.constantFrom('plain', 'fork', 'other', 'late'))),
      (pieces) => {
        const [here, there] = [near.get('xxh128')?.() as Hasher, aside.hasher('xxh128')];
        const [hereOther, thereOther] = [near.get('sha256')?.() as Hasher, aside.hasher('sha256')];
        for (const [length, between] of pieces) {
          const expected = noise.subarray(length % 77, (length % 77) + length);
          const piece = there.lend().subarray(0, length);
          expected.copy(piece);
          if (between === 'fork') assert.is(there.fork().digest(), here.fork().digest());
          if (between === 'late') thereOther.update(noise);
          there.update(piece);
          if (between === 'other') thereOther.update(piece);
          assert.ok(piece.equals(expected));
          here.update(expected);
          if (between === 'late') hereOther.update(noise);
          if (between === 'other') hereOther.update(expected);
        }
        assert.is(there.digest(), here.digest());
        assert.is(thereOther.digest(), hereOther.digest());
      },
    ),
    { numRuns: 30 },
  );
});

test('the factory serves where hashers of this thread did, paired ones as well', () => {
  const both = (algorithm: Algorithm): { own: HasherFactory; aside: HasherFactory } => {
    const own = near.get(algorithm);
    assert.ok(own);
    const aside = asideFactory(algorithm, own);
    assert.ok(aside, 'two cores');
    return { own, aside };
  };
  const [sha, xxh] = [both('sha256'), both('xxh128')];
  const bytes = randomBytes(3_000_000);
  const hasher = pairedFactory(sha.aside, xxh.aside)();
  hasher.update(bytes);
  assert.equal([hasher.digest(), hasher.also?.()], [sha.own.once(bytes), xxh.own.once(bytes)]);
  assert.is(sha.aside.once(bytes), sha.own.once(bytes));
});

async function withEntry(code: string, work: (entry: URL) => void | Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-aside-'));
  try {
    const file = join(folder, 'entry.mjs');
    writeFileSync(file, code);
    await work(pathToFileURL(file));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Milliseconds until the hashing of more than the ring holds has failed. */
function failing(options: AsideOptions, message: RegExp): number {
  const began = performance.now();
  const aside = new Aside(options);
  const hashing = (): string => {
    const hasher = aside.hasher('sha256');
    for (let at = 0; at < 40; at += 1) hasher.update(Buffer.alloc(1024 * 1024));
    return hasher.digest();
  };
  assert.throws(hashing, message);
  assert.ok(aside.ended);
  assert.throws(() => aside.hasher('sha256'), /thread that takes the checksums has failed/, 'and stays so');
  return performance.now() - began;
}

test('a helper that cannot start, hangs, throws or ends is an error', async () => {
  const real = new URL('../shared/aside-worker.mjs', import.meta.url).href;
  const cases: [what: string, code: string, message: RegExp][] = [
    ['cannot be read', 'this is no program', /does not answer/],
    ['hangs', 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);', /does not answer/],
  ];
  for (const [what, code, message] of cases)
    await withEntry(code, (entry) => {
      assert.ok(failing({ entry, patience: 1 }, message) < AT_MOST, what);
    });
  // Where the real one hashes: told at once, in its own words.
  const breaking = (
    how: string,
  ): string => `import crypto from 'node:crypto'; import { syncBuiltinESMExports } from 'node:module';
    const make = crypto.createHash; let calls = 0;
    crypto.createHash = (name) => { const hash = make(name); hash.update = () => { calls += 1; if (calls > 20) ${how}; return hash; }; return hash; };
    syncBuiltinESMExports(); await import('${real}');`;
  for (const [how, message] of [
    ["throw new Error('a broken core')", /a broken core/],
    ['process.exit(0)', /its thread ended/],
  ] as const)
    await withEntry(breaking(how), (entry) => {
      failing({ entry, patience: 1000 }, message);
    });
});

test('an unknown algorithm is an error, and the next file has a new helper', () => {
  const own = near.get('sha256');
  assert.ok(own);
  const wrong = asideFactory('sha257' as Algorithm, own)?.();
  assert.throws(() => wrong?.digest(), /thread that takes the checksums has failed/);
  const right = asideFactory('sha256', own)?.();
  right?.update(Buffer.from('a'));
  assert.is(right?.digest(), own.once(Buffer.from('a')));
});

/** In a worker thread that never returns to its event loop, as the workers of a run do; then that worker ends or is ended. */
const INSIDE = `
import { parentPort, workerData } from 'node:worker_threads';
const { asideFactory } = await import('${REPOSITORY}/shared/aside.ts');
const { hasherFactory } = await import('${REPOSITORY}/shared/hash.ts');
const near = await hasherFactory('sha256');
const bytes = Buffer.alloc(3_000_000, 7);
for (let file = 0; file < 3; file += 1) {
  const [here, there] = [near(), asideFactory('sha256', near)()];
  for (let at = 0; at < 20; at += 1) { here.update(bytes); there.update(bytes); }
  if (here.digest() !== there.digest()) throw new Error('they differ');
}
parentPort.postMessage('same');
if (workerData === 'stay') setInterval(() => {}, 1000);
`;

test('inside a worker thread: the same, and the helper ends with it, whether it returns or is ended', () =>
  withEntry(
    `const { register } = await import('${import.meta.resolve('tsx/esm/api')}'); register();\n${INSIDE}`,
    async (entry) => {
      for (const workerData of ['return', 'stay']) {
        const worker = new Worker(entry, { workerData });
        const said = await new Promise((done, fail) => worker.on('message', done).on('error', fail));
        assert.is(said, 'same');
        const began = performance.now();
        if (workerData === 'stay') await worker.terminate();
        else await new Promise((done) => worker.on('exit', done));
        assert.ok(performance.now() - began < AT_MOST);
      }
    },
  ));

test('a program whose helper waits for more ends by itself', () =>
  withEntry('', (entry) => {
    const script = `${entry.pathname}.mts`;
    writeFileSync(script, INSIDE.replace('parentPort.postMessage', 'console.log'));
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', script], {
      cwd: REPOSITORY,
      encoding: 'utf8',
      timeout: AT_MOST,
    });
    assert.equal([status, stdout, stderr], [0, 'same\n', '']);
  }));

test.run();
