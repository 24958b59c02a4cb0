/** Checksums taken in another thread: the same as those of this one, and no helper's death is a wait without end. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Aside, type AsideOptions, asideFactory } from '../shared/aside.ts';
import { Content } from '../shared/content.ts';
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

/** A file of `bytes`, open for reading; closed and removed in any case. */
function withFile(bytes: Uint8Array, work: (fd: number) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-aside-'));
  try {
    writeFileSync(join(folder, 'file'), bytes);
    const fd = openSync(join(folder, 'file'), 'r');
    try {
      work(fd);
    } finally {
      closeSync(fd);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const reading = fc.record({
  from: fc.nat(6_100_000),
  length: fc.oneof(fc.nat(3_000_000), fc.constant(9_000_000)),
  /** What is done with each piece before the next one, over and over. */
  between: fc.array(fc.constantFrom('nothing', 'wait', 'fork', 'other', 'copy', 'small', 'part'), { minLength: 1 }),
  most: fc.oneof(fc.constant(100), fc.nat(4)),
});

test('pieces of a file are what it holds, are hashed where they lie, and stay as they are until the next', () => {
  const aside = new Aside();
  const noise = randomBytes(6_000_000);
  withFile(noise, (fd) =>
    fc.assert(
      fc.property(reading, ({ from, length, between, most }) => {
        const [here, there] = [near.get('xxh128')?.() as Hasher, aside.hasher('xxh128')];
        const [hereOther, thereOther] = [near.get('sha256')?.() as Hasher, aside.hasher('sha256')];
        const reader = aside.reader(fd, from, from + length);
        let at = from;
        for (let round = 0; round < most; round += 1) {
          const piece = reader.next();
          if (piece.length === 0) break;
          const expected = noise.subarray(at, at + piece.length);
          at += piece.length;
          const step = between[round % between.length];
          if (step === 'wait') assert.is(aside.hasher('sha256').digest(), near.get('sha256')?.().digest());
          if (step === 'fork') assert.is(there.fork().digest(), here.fork().digest());
          if (step === 'copy') thereOther.update(noise);
          for (let small = 0; step === 'small' && small < 40; small += 1) thereOther.update(noise.subarray(0, 90_000));
          const some = step === 'part' ? Math.floor(piece.length / 3) : 0;
          there.update(piece.subarray(some));
          if (step === 'other') thereOther.update(piece);
          assert.ok(piece.equals(expected));
          here.update(expected.subarray(some));
          if (step === 'copy') hereOther.update(noise);
          for (let small = 0; step === 'small' && small < 40; small += 1) hereOther.update(noise.subarray(0, 90_000));
          if (step === 'other') hereOther.update(expected);
        }
        reader.close();
        if (most === 100) assert.is(at, Math.max(from, Math.min(from + length, noise.length)), 'to the end');
        assert.is(there.digest(), here.digest());
        assert.is(thereOther.digest(), hereOther.digest());
      }),
      { numRuns: 60 },
    ),
  );
});

test('a file that cannot be read fails with what the system says, wherever it was read', () => {
  const aside = new Aside();
  const fd = openSync(tmpdir(), 'r');
  try {
    const here = aside.reader(fd, 0, 100);
    assert.throws(() => here.next(), /EISDIR/);
    here.close();
    aside.hold(0);
    aside.read(0, fd, 0, 100);
    assert.is(aside.hasRead(0), undefined);
    aside.release(0);
    withFile(Buffer.alloc(5_000_000), (file) => {
      const hasher = aside.hasher('sha256');
      const whole = aside.reader(file, 0, 5_000_000);
      for (let piece = whole.next(); piece.length > 0; piece = whole.next()) hasher.update(piece);
      whole.close();
      assert.is(hasher.digest(), near.get('sha256')?.once(Buffer.alloc(5_000_000)), 'the helper goes on');
    });
  } finally {
    closeSync(fd);
  }
});

test('a slow drive is no dead helper', () => {
  const real = new URL('../shared/aside-worker.mjs', import.meta.url).href;
  const slow = `import fs from 'node:fs'; import { syncBuiltinESMExports } from 'node:module';
    const read = fs.readSync; fs.readSync = (...words) => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500); return read(...words);
    }; syncBuiltinESMExports(); await import('${real}');`;
  return withEntry(slow, (entry) => {
    const aside = new Aside({ entry, patience: 0.5 });
    withFile(Buffer.alloc(3_000_000, 7), (fd) => {
      const [here, there] = [near.get('sha256')?.() as Hasher, aside.hasher('sha256')];
      assert.is(there.fork().digest().length, 64, 'it has begun');
      const reader = aside.reader(fd, 0, 3_000_000);
      for (let piece = reader.next(); piece.length > 0; piece = reader.next()) {
        here.update(piece);
        there.update(piece);
      }
      reader.close();
      assert.is(there.digest(), here.digest());
    });
  });
});

test('two readers at once do not take what the other has read', () => {
  const aside = new Aside();
  const noise = randomBytes(3_500_000);
  withFile(noise, (fd) => {
    const ends = [3_500_000, 2_200_000] as const;
    const readers = ends.map((end) => aside.reader(fd, 0, end));
    const found = ends.map((): Buffer[] => []);
    for (let round = 0; round < 5; round += 1)
      readers.forEach((reader, index) => {
        assert.is(aside.hasher('sha256').digest().length, 64, 'the helper has nothing to do, and reads on');
        found[index]?.push(Buffer.from(reader.next()));
      });
    for (const reader of readers) reader.close();
    for (const [index, end] of ends.entries())
      assert.ok(Buffer.concat(found[index] ?? []).equals(noise.subarray(0, end)));
  });
});

test('a reader that is closed leaves no reading behind', () => {
  const aside = new Aside();
  withFile(Buffer.alloc(4_000_000), (fd) => {
    for (let round = 0; round < 30; round += 1) {
      assert.is(aside.hasher('sha256').digest().length, 64);
      const reader = aside.reader(fd, 0, 4_000_000);
      assert.is(reader.next().length, 1024 * 1024);
      reader.close();
      assert.ok(aside.idle);
    }
  });
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

test('a large file is stored as without a helper, and one that grows, shrinks or is stopped is told apart', () => {
  const LENGTH = 70 * 1024 * 1024 + 5;
  const own = near.get('sha256');
  assert.ok(own);
  const large = Object.assign(() => own(), { once: own.once, large: asideFactory('sha256', own) }) as HasherFactory;
  const content = randomBytes(LENGTH);
  /** Stores the file; `meanwhile` is called with each piece. */
  const stored = (newHasher: HasherFactory, meanwhile: (file: string, pieces: number) => boolean | undefined) => {
    const folder = mkdtempSync(join(tmpdir(), 'tandem-aside-'));
    const [file, vault] = [join(folder, 'file'), join(folder, 'vault')];
    writeFileSync(file, content);
    const [input, output] = [openSync(file, 'r'), openSync(vault, 'w+')];
    try {
      let pieces = 0;
      const control = {
        stop: () => meanwhile(file, pieces++) === true,
        cancel: () => false,
        moved: () => {},
        holding: () => {},
        allowed: (wanted: number) => wanted,
      };
      const inverted = (bytes: Uint8Array): Uint8Array => Buffer.from(bytes.map((byte) => byte ^ 255));
      const encoder = { update: (bytes: Uint8Array) => [inverted(bytes)], final: () => [Buffer.from('end')] };
      const how = { plain: false, also: own() };
      const copied = new Content(newHasher, control).encode(input, output, LENGTH, encoder, how);
      return { copied, vault: readFileSync(vault) };
    } finally {
      for (const fd of [input, output]) closeSync(fd);
      rmSync(folder, { recursive: true, force: true });
    }
  };
  const nothing = (): undefined => undefined;
  const [here, aside] = [stored(own, nothing), stored(large, nothing)];
  assert.equal(aside.copied, here.copied);
  assert.ok(aside.vault.equals(here.vault));
  assert.is(aside.copied?.checksum, own.once(content));
  const at =
    (wanted: number, work: (file: string) => void) =>
    (file: string, pieces: number): undefined => {
      if (pieces === wanted) work(file);
    };
  const grown = stored(
    large,
    at(20, (file) => appendFileSync(file, 'more')),
  );
  assert.is(grown.copied?.bytes, LENGTH + 1);
  const cut = stored(
    large,
    at(20, (file) => truncateSync(file, 30 * 1024 * 1024)),
  );
  assert.ok((cut.copied?.bytes ?? 0) < LENGTH);
  for (const wanted of [0, 1, 30])
    assert.is(stored(large, (_, pieces) => pieces === wanted).copied, null, `stopped at ${wanted}`);
  assert.equal(stored(large, nothing).copied, here.copied, 'the next one is as the first');
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
