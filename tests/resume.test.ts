/** Large copies go on where they stopped, and only on what is proved to be the source's. */
import {
  appendFileSync,
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ALGORITHMS, hasherFactory } from '../shared/hash.ts';
import { type TestPair, withPair } from './helpers/pair.ts';
import { treeOf } from './helpers/world.ts';

const test = suite('resume');
const MIB = 1024 * 1024;
const SIZE = 100 * MIB + 12_345;

/** No two MiB are alike. */
function content(seed: number): Buffer {
  const bytes = Buffer.alloc(SIZE, seed);
  for (let at = 0; at + 8 <= SIZE; at += 4096) bytes.writeDoubleLE(at + seed, at);
  return bytes;
}

function put(path: string, bytes: Buffer): void {
  writeFileSync(path, bytes);
  utimesSync(path, 1_700_000_000, 1_700_000_000);
}

/** Stops a run of a large file at about the middle, in the hard way; returns where its partial waits. */
async function interrupted(pair: TestPair, algorithm = 'sha256'): Promise<string> {
  const hard = new AbortController();
  const ctx = pair.context({ signal: hard.signal, hardSignal: hard.signal });
  const waiting = join(pair.backup, '.tandem', 'partial');
  const timer = setInterval(() => {
    const parts = existsSync(waiting) ? (readdirSync(waiting, { recursive: true }) as string[]) : [];
    const big = parts.some((name) => !name.endsWith('.note') && statSync(join(waiting, name)).size > 70 * MIB);
    if (big) hard.abort();
  }, 1);
  try {
    const options = { checksum_algorithm: algorithm as 'sha256' };
    assert.is((await pair.sync({ options }, ctx)).status, 'cancelled');
  } finally {
    clearInterval(timer);
  }
  return join(waiting, 'resume');
}

function partialIn(folder: string): string {
  const names = readdirSync(folder).filter((name) => !name.endsWith('.note'));
  assert.is(names.length, 1, names.join());
  return join(folder, names[0] ?? '');
}

async function finished(pair: TestPair, algorithm = 'sha256'): Promise<void> {
  const result = await pair.sync({ options: { checksum_algorithm: algorithm as 'sha256' } });
  assert.equal([result.status, result.problems], ['completed', []]);
  const master = treeOf(pair.master);
  assert.equal(treeOf(pair.backup), master);
  assert.not(existsSync(join(pair.backup, '.tandem', 'partial', 'resume', 'x')));
  const [row] = await pair.rows();
  if (algorithm === 'sha256') assert.is(`sha256:${row?.checksum}`, master['a.mov']?.content);
}

for (const algorithm of ALGORITHMS) {
  test(`${algorithm}: an interrupted copy keeps its partial, and the next run goes on from there`, async () => {
    await withPair({}, async (pair) => {
      put(join(pair.master, 'a.mov'), content(1));
      const waiting = await interrupted(pair, algorithm);
      const partial = partialIn(waiting);
      const before = statSync(partial);
      assert.ok(before.size >= 64 * MIB, String(before.size));
      assert.not(existsSync(join(pair.backup, 'a.mov')), 'half a file has no name');
      await finished(pair, algorithm);
      // The same inode: it was finished, not written anew.
      assert.is(statSync(join(pair.backup, 'a.mov')).ino, before.ino);
      assert.equal(existsSync(waiting) ? readdirSync(waiting) : [], []);
    });
  });
}

// What is done to the partial, its note or the source between the two runs: the result is right whatever it is.
const DAMAGE: [string, (partial: string, pair: TestPair) => void][] = [
  [
    'a byte of the partial changed',
    (partial) => {
      const fd = openSync(partial, 'r+');
      writeSync(fd, 'X', 60 * MIB);
      closeSync(fd);
    },
  ],
  [
    'its first byte changed',
    (partial) => {
      const fd = openSync(partial, 'r+');
      writeSync(fd, 'X', 3);
      closeSync(fd);
    },
  ],
  [
    'the partial was cut',
    (partial) => {
      const fd = openSync(partial, 'r+');
      ftruncateSync(fd, 50 * MIB);
      closeSync(fd);
    },
  ],
  [
    'its end was lost to zeros',
    (partial) => {
      const fd = openSync(partial, 'r+');
      ftruncateSync(fd, 10 * MIB);
      ftruncateSync(fd, 75 * MIB);
      closeSync(fd);
    },
  ],
  ['the note is gone', (partial) => renameSync(`${partial}.note`, `${partial}.gone`)],
  ['the note is nonsense', (partial) => writeFileSync(`${partial}.note`, '\0{"path":1}\n99999999 abc\n')],
  [
    'the note claims more than there is',
    (partial) => {
      const note = readFileSync(`${partial}.note`, 'utf8');
      writeFileSync(`${partial}.note`, `${note}${95 * MIB} ${'0'.repeat(64)}\n`);
    },
  ],
  [
    'the source is another one of the same size',
    (_partial, pair) => {
      put(join(pair.master, 'a.mov'), content(2));
      utimesSync(join(pair.master, 'a.mov'), 1_700_000_001, 1_700_000_001);
    },
  ],
  [
    'the source has other content under the same size and time',
    (_partial, pair) => put(join(pair.master, 'a.mov'), content(3)),
  ],
  [
    'a folder stands in place of the partial',
    (partial) => {
      renameSync(partial, `${partial}.gone`);
      mkdirSync(partial);
    },
  ],
];

for (const [what, harm] of DAMAGE) {
  test(`${what}: the Backup ends up right all the same`, async () => {
    await withPair({}, async (pair) => {
      put(join(pair.master, 'a.mov'), content(1));
      harm(partialIn(await interrupted(pair)), pair);
      await finished(pair);
    });
  });
}

test('on a Master whose file ids do not last, equal size and time are no proof: the bytes are compared', async () => {
  await withPair({}, async (pair) => {
    const signature = join(pair.master, '.tandem', 'drive.json');
    const text = JSON.parse(readFileSync(signature, 'utf8')) as { traits: Record<string, unknown> };
    text.traits['stable_ids'] = false;
    writeFileSync(signature, JSON.stringify(text));
    put(join(pair.master, 'a.mov'), content(1));
    partialIn(await interrupted(pair));
    const other = content(1);
    other[5] = 99;
    put(join(pair.master, 'a.mov'), other);
    await finished(pair);
  });
});

test('a large file that grows while it is copied is reported, and copied by the next run', async () => {
  await withPair({}, async (pair) => {
    put(join(pair.master, 'a.mov'), content(1));
    const grow = setInterval(() => appendFileSync(join(pair.master, 'a.mov'), 'more'), 2);
    const result = await pair.sync().finally(() => clearInterval(grow));
    assert.is(result.files_failed, 1);
    assert.match(result.problems[0]?.message ?? '', /changed during copy/);
    assert.not(existsSync(join(pair.backup, 'a.mov')));
    await finished(pair);
  });
});

test('a partial that no run needs any more is removed', async () => {
  await withPair({}, async (pair) => {
    put(join(pair.master, 'a.mov'), content(1));
    const waiting = await interrupted(pair);
    renameSync(join(pair.master, 'a.mov'), join(pair.box.root, 'elsewhere'));
    writeFileSync(join(pair.master, 'b'), 'b');
    await pair.sync();
    assert.equal(existsSync(waiting) ? readdirSync(waiting) : [], []);
  });
});

test('a forked hasher and its origin go on apart', async () => {
  for (const algorithm of ALGORITHMS) {
    const create = await hasherFactory(algorithm);
    const text = (value: string): Buffer => Buffer.from(value);
    const origin = create();
    origin.update(text('one'));
    const fork = origin.fork();
    fork.update(text('two'));
    origin.update(text('three'));
    assert.is(fork.digest(), create.once(text('onetwo')), algorithm);
    assert.is(origin.digest(), create.once(text('onethree')), algorithm);
  }
});

test.run();
