/** Compressed files: what goes in comes out, standard tools open them, whatever is changed does not open. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { crc32, deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compressFile, decompressFile } from '../shared/compress-files.ts';
import {
  availableCompression,
  COMPRESSED_SUFFIX,
  type Compression,
  Compressor,
  Decompressor,
  isLz4Available,
  levelProblem,
  MARK_BYTES,
  readMark,
} from '../shared/compressed.ts';
import { TandemError } from '../shared/errors.ts';
import { decodeBlock, encodeBlock, type Lz4Library, lz4Library, xxh32 } from '../shared/lz4-blocks.ts';
import { REPOSITORY } from './helpers/cli.ts';
import './helpers/property.ts';

const test = suite('compressed');

/** Content of a part; MIB is for amounts of anything. */
const UNIT = 512 * 1024;
const MIB = 1024 * 1024;
const KINDS: readonly Compression[] = ['gzip', 'lz4'];
const NONE = 'there is none here';
const LIBRARIES: readonly (Lz4Library | string)[] = [lz4Library(), NONE];
const MTIME = 1_700_000_000_123_456_789n;

interface Packing {
  level?: number;
  name?: string;
  mtime?: bigint;
  library?: Lz4Library | string;
  pieces?: readonly number[];
}

function packed(kind: Compression, plain: Uint8Array, packing: Packing = {}): Buffer {
  const { level = 1, name = 'a.txt', mtime = MTIME, library = lz4Library(), pieces = [] } = packing;
  const compressor = new Compressor(kind, level, { size: plain.length, mtime }, name, library);
  return joined(compressor, plain, pieces);
}

function opened(kind: Compression, bytes: Uint8Array, pieces: readonly number[] = [], library = lz4Library()): Buffer {
  return joined(new Decompressor(kind, library), bytes, pieces);
}

function joined(codec: Compressor | Decompressor, bytes: Uint8Array, pieces: readonly number[]): Buffer {
  const out: Buffer[] = [];
  let at = 0;
  for (const piece of pieces) {
    out.push(...codec.update(bytes.subarray(at, at + piece)));
    at += piece;
  }
  return Buffer.concat([...out, ...codec.update(bytes.subarray(at)), ...codec.final()]);
}

function refused(
  kind: Compression,
  bytes: Uint8Array,
  pieces: readonly number[] = [],
  library = lz4Library(),
): TandemError {
  try {
    opened(kind, bytes, pieces, library);
  } catch (error) {
    if (error instanceof TandemError) return error;
    throw error;
  }
  return assert.unreachable('it was opened') as never;
}

/** Words, so that it shrinks, or noise, or both in turns. */
function content(length: number, shape: 'words' | 'noise' | 'mixed'): Buffer {
  if (shape === 'noise') return randomBytes(length);
  const words = Buffer.alloc(length, 'A film of the wedding, taken by two cameras, and a list of all its takes. ');
  for (let at = 0; at < length; at += 97) words[at] = (at * 31) & 255;
  if (shape === 'mixed')
    for (let at = 0; at < length; at += 40_000) randomBytes(Math.min(20_000, length - at)).copy(words, at);
  return words;
}

const shape = fc.constantFrom('words', 'noise', 'mixed');
const kinds = fc.constantFrom(...KINDS);
const libraries = fc.constantFrom(...LIBRARIES);
const pieces = fc.array(fc.integer({ min: 0, max: 700_000 }), { maxLength: 6 });
/** Around the borders of parts, of stored blocks of deflate, of samples and of what LZ4 takes for a match. */
const size = fc.oneof(
  fc
    .tuple(fc.constantFrom(0, 4, 12, 16_384, 65_535, 131_070, UNIT, 2 * UNIT), fc.integer({ min: -2, max: 2 }))
    .map(([border, near]) => Math.max(0, border + near)),
  fc.integer({ min: 0, max: 300_000 }),
);

test('what was compressed opens to the same, in pieces of any size, with and without the library', () => {
  fc.assert(
    fc.property(
      fc.record({
        kind: kinds,
        length: size,
        shape,
        inward: pieces,
        outward: pieces,
        write: libraries,
        read: libraries,
      }),
      fc.integer({ min: 1, max: 9 }),
      fc.bigInt({ min: -(2n ** 65n), max: 2n ** 65n }),
      ({ kind, length, shape: what, inward, outward, write, read }, level, mtime) => {
        const plain = content(length, what);
        const bytes = packed(kind, plain, { level, mtime, library: write, pieces: inward });
        assert.ok(opened(kind, bytes, outward, read).equals(plain));
        assert.equal(readMark(kind, bytes), { size: length, mtime });
        assert.equal(readMark(kind, bytes.subarray(0, MARK_BYTES)), { size: length, mtime });
        assert.ok(bytes.length <= length + 120 + (length / UNIT) * 200, `${bytes.length} of ${length}`);
        if (what === 'words' && length > 1000) assert.ok(bytes.length < length * 0.7, `${bytes.length} of ${length}`);
      },
    ),
    { numRuns: 80 },
  );
});

test('every level of both kinds, and what each makes of a text', () => {
  const plain = Buffer.concat(
    ['shared', 'features'].flatMap((folder) =>
      readdirSync(join(REPOSITORY, folder))
        .filter((name) => name.endsWith('.ts'))
        .map((name) => readFileSync(join(REPOSITORY, folder, name))),
    ),
  ).subarray(0, UNIT + 1000);
  for (const [kind, highest] of [
    ['gzip', 9],
    ['lz4', 12],
  ] as const) {
    const sizes: number[] = [];
    for (let level = 1; level <= highest; level += 1) {
      const bytes = packed(kind, plain, { level });
      assert.ok(opened(kind, bytes).equals(plain));
      sizes.push(bytes.length);
    }
    const last = sizes.at(-1) ?? 0;
    assert.ok(last < (sizes[0] ?? 0) * 0.9, `${kind}: ${sizes.join(' ')}`);
    for (const [at, size] of sizes.entries()) assert.ok(size <= (sizes[at - 1] ?? size) * 1.01, sizes.join(' '));
  }
  assert.match(levelProblem('gzip', 10)?.hint ?? '', /from 1 to 9/);
  assert.match(levelProblem('lz4', 13)?.message ?? '', /Level 13 is none of LZ4's/);
  for (const level of [0, -1, 1.5, Number.NaN])
    for (const kind of KINDS) assert.throws(() => packed(kind, plain, { level }), /Level .* is none of/);
});

test('a file that grows or shrinks while it is read is refused', () => {
  for (const kind of KINDS) {
    const compressor = (length: number): Compressor => new Compressor(kind, 1, { size: length, mtime: 0n }, 'a');
    assert.throws(() => compressor(5).update(Buffer.alloc(6)), /had 5 bytes, and has more now/);
    assert.throws(() => compressor(0).update(Buffer.alloc(1)), /had 0 bytes, and has more now/);
    const short = compressor(5);
    short.update(Buffer.alloc(4));
    assert.throws(() => short.final(), /had 5 bytes, and has less now/);
  }
});

// --- damage ---

test('every single bit and every cut of a small file counts', () => {
  for (const kind of KINDS) {
    for (const plain of [Buffer.alloc(0), Buffer.from('x'), content(300, 'words'), randomBytes(40)]) {
      const bytes = packed(kind, plain, { level: 9 });
      for (let at = 0; at < bytes.length; at += 1) {
        refused(kind, bytes.subarray(0, at));
        for (let bit = 0; bit < 8; bit += 1) {
          bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
          for (const library of LIBRARIES) {
            const { code, message } = refused(kind, bytes, [], library);
            assert.ok(code === 'failed' ? /is damaged: / : at < 16 && code === 'invalid', `${at}: ${message}`);
          }
          bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
        }
      }
      assert.match(refused(kind, Buffer.concat([bytes, Buffer.alloc(1)])).message, /something follows its end/);
      assert.match(refused(kind, Buffer.concat([bytes, bytes])).message, /something follows its end/);
      assert.ok(opened(kind, bytes).equals(plain));
    }
  }
});

test('any flip, cut or swap in a large file is found, and what leaves before is right', () => {
  fc.assert(
    fc.property(kinds, shape, fc.nat(), fc.integer({ min: 0, max: 7 }), fc.nat(), (kind, what, where, bit, cut) => {
      const plain = content(2 * UNIT + 5000, what);
      const bytes = packed(kind, plain);
      const at = where % bytes.length;
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
      const decompressor = new Decompressor(kind);
      const out: Buffer[] = [];
      assert.throws(() => {
        for (let from = 0; from < bytes.length; from += 100_000)
          out.push(...decompressor.update(bytes.subarray(from, from + 100_000)));
        out.push(...decompressor.final());
      });
      const before = Buffer.concat(out);
      assert.ok(before.equals(plain.subarray(0, before.length)));
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
      refused(kind, bytes.subarray(0, cut % bytes.length));
      refused(kind, Buffer.concat([bytes, randomBytes(1 + (cut % 20))]));
    }),
    { numRuns: 25 },
  );
});

/** Where the parts of a file begin: their first bytes, the same in each. */
function partsOf(kind: Compression, bytes: Buffer): Buffer[] {
  const start = kind === 'gzip' ? bytes.subarray(0, 10) : bytes.subarray(0, 4);
  const starts = [0];
  for (let at = bytes.indexOf(start, 1); at >= 0; at = bytes.indexOf(start, at + 1)) starts.push(at);
  return starts.map((from, index) => bytes.subarray(from, starts[index + 1]));
}

test('parts that change places, are missing, come twice or are those of another file do not open', () => {
  for (const kind of KINDS) {
    const parts = partsOf(kind, packed(kind, content(4 * UNIT, 'words')));
    const others = partsOf(kind, packed(kind, content(4 * UNIT, 'mixed')));
    assert.is(parts.length, 4);
    assert.is(others.length, 4);
    const bytes = (order: readonly number[]): Buffer => Buffer.concat(order.map((at) => parts[at] as Buffer));
    assert.is(opened(kind, bytes([0, 1, 2, 3])).length, 4 * UNIT);
    for (const order of [
      [0, 2, 1, 3],
      [0, 1, 1, 3],
      [0, 1, 3],
      [0, 1, 2],
      [0, 1, 2, 3, 3],
      [1, 0, 2, 3],
      [3, 1, 2, 0],
    ])
      refused(kind, bytes(order));
    refused(kind, Buffer.concat([...parts.slice(0, 3), ...others.slice(3)]));
    refused(kind, Buffer.concat([...others.slice(0, 1), ...parts.slice(1)]));
  }
});

test('random bytes, absurd lengths and forged marks: refused, in little memory', () => {
  fc.assert(
    fc.property(kinds, fc.uint8Array({ maxLength: 400 }), fc.nat({ max: 60 }), (kind, noise, kept) => {
      const start = packed(kind, content(5000, 'words')).subarray(0, kept);
      const bytes = Buffer.concat([start, noise]);
      for (const library of LIBRARIES)
        assert.ok(['failed', 'invalid'].includes(refused(kind, bytes, [], library).code));
      assert.is(readMark(kind, noise), null);
    }),
    { numRuns: 500 },
  );
  for (const kind of KINDS) {
    const end = kind === 'gzip' ? 41 : 37;
    const forged = (change: (mark: Buffer) => void): Buffer => {
      const bytes = packed(kind, content(5000, 'words'));
      const mark = bytes.subarray(end - 25, end);
      change(mark);
      mark.writeUInt32LE(crc32(mark.subarray(0, 21)), 21);
      return bytes;
    };
    const before = process.memoryUsage().arrayBuffers;
    for (const size of [0n, 1n, 4999n, 5001n, 2n ** 40n, 2n ** 53n, 2n ** 64n - 1n])
      assert.match(
        refused(
          kind,
          forged((mark) => mark.writeBigUInt64LE(size, 1)),
        ).message,
        /is damaged/,
      );
    assert.match(
      refused(
        kind,
        forged((mark) => mark.writeUInt32LE(1e9, 17)),
      ).message,
      /is damaged/,
    );
    const other = forged((mark) => mark.writeUInt8(2, 0));
    assert.match(refused(kind, other).message, /another version of tandem/);
    assert.is(readMark(kind, other), null);
    const long = packed(kind, content(5000, 'words'));
    long.writeUInt32LE(0x7fff_ffff, kind === 'gzip' ? 45 : 48);
    assert.match(refused(kind, long).message, /its part 1 is not as it was written/);
    assert.ok(process.memoryUsage().arrayBuffers - before < 16 * MIB);
  }
});

/** The only part of a small file with another body, and every checksum right again. */
function rebuilt(kind: Compression, file: Buffer, body: Buffer): Buffer {
  const [start, end] = kind === 'gzip' ? [57, file.length - 8] : [52, file.length - 12];
  const head = Buffer.from(file.subarray(0, start));
  const tail = Buffer.from(file.subarray(end));
  const chain = kind === 'gzip' ? start - 4 : 37;
  if (kind === 'gzip') {
    head.writeUInt32LE(body.length, 45);
    head.writeUInt32LE(crc32(body), 49);
  } else {
    head.writeUInt32LE(body.length, start - 4);
    tail.writeUInt32LE(xxh32(body), 0);
  }
  head.writeUInt32LE(0, chain);
  head.writeUInt32LE(crc32(tail, crc32(head)), chain);
  return Buffer.concat([head, body, tail]);
}

test('a forged body whose checksums are right: too much, too little, none at all', () => {
  const plain = content(5000, 'words');
  for (const kind of KINDS) {
    const file = packed(kind, plain);
    const encoded = (bytes: Uint8Array): Buffer => (kind === 'gzip' ? deflateRawSync(bytes) : encodeBlock(bytes, 3));
    const right = Buffer.from(encoded(plain));
    const bodies = [
      Buffer.concat([right, Buffer.alloc(1)]),
      right.subarray(0, -1),
      Buffer.from(encoded(Buffer.concat([plain, Buffer.from('x')]))),
      Buffer.from(encoded(plain.subarray(1))),
      Buffer.from(encoded(Buffer.alloc(500_000))),
      Buffer.from(encoded(Buffer.alloc(5000))),
      randomBytes(3000),
      Buffer.alloc(1),
    ];
    for (const library of LIBRARIES) {
      assert.ok(opened(kind, rebuilt(kind, file, right), [], library).equals(plain));
      for (const [at, body] of bodies.entries())
        assert.match(
          refused(kind, rebuilt(kind, file, body), [], library).message,
          /its part 1 is not/,
          `${kind} ${at}`,
        );
    }
    fc.assert(
      fc.property(fc.nat(), fc.nat({ max: 255 }), (at, byte) => {
        const body = Buffer.from(right);
        body[at % body.length] = byte;
        for (const library of LIBRARIES) {
          try {
            assert.ok(opened(kind, rebuilt(kind, file, body), [], library).equals(plain));
          } catch (error) {
            assert.match(String(error), /its part 1 is not/);
          }
        }
      }),
      { numRuns: 300 },
    );
    assert.ok(opened(kind, file).equals(plain), 'the library still works');
  }
});

test('the decoder of LZ4 blocks never reads or writes beyond them, and agrees with the library', () => {
  const library = lz4Library();
  assert.not.type(library, 'string');
  const wasm = library as Lz4Library;
  const theirs = (block: Buffer, length: number): Buffer | undefined => {
    const sized = Buffer.concat([Buffer.alloc(4), block]);
    sized.writeUInt32LE(length, 0);
    try {
      const plain = wasm.decompress(sized);
      return plain.length === length ? Buffer.from(plain) : undefined;
    } catch {
      return undefined;
    }
  };
  fc.assert(
    fc.property(
      size,
      shape,
      fc.integer({ min: 1, max: 12 }),
      fc.nat(),
      fc.nat({ max: 255 }),
      (length, what, level, at, byte) => {
        const plain = content(Math.min(length, 140_000), what);
        for (const block of [Buffer.from(encodeBlock(plain, level)), Buffer.from(wasm.compress(plain).subarray(4))]) {
          const out = Buffer.alloc(plain.length);
          assert.ok(decodeBlock(block, out) && out.equals(plain));
          assert.ok(theirs(block, plain.length)?.equals(plain));
          assert.not.ok(decodeBlock(block, Buffer.alloc(plain.length + 1)));
          if (plain.length > 0) assert.not.ok(decodeBlock(block, Buffer.alloc(plain.length - 1)));
          const broken = Buffer.from(block);
          broken[at % broken.length] = byte;
          const room = Buffer.alloc(plain.length + 64, 0xee);
          const ours = decodeBlock(broken, room.subarray(32, 32 + plain.length));
          assert.ok(room.subarray(0, 32).every((value) => value === 0xee));
          assert.ok(room.subarray(32 + plain.length).every((value) => value === 0xee));
          const other = theirs(broken, plain.length);
          if (ours && other) assert.ok(other.equals(room.subarray(32, 32 + plain.length)));
        }
      },
    ),
    { numRuns: 60 },
  );
  assert.not.ok(decodeBlock(Buffer.alloc(0), Buffer.alloc(0)));
  assert.not.ok(decodeBlock(Buffer.from([0xff, 255, 255]), Buffer.alloc(100)));
});

test('xxHash32 by its published values', () => {
  // Of the empty input, and of two texts, seed 0.
  const cases: [string, number][] = [
    ['', 0x02cc5d05],
    ['abc', 0x32d153ff],
    ['Nobody inspects the spammish repetition', 0xe2293b2f],
  ];
  for (const [text, due] of cases) assert.is(xxh32(Buffer.from(text)), due, text);
});

// --- other programs ---

function piped(command: string, args: readonly string[], input: Uint8Array): Buffer {
  const { status, stdout, stderr, error } = spawnSync(command, args, { input, maxBuffer: 64 * MIB });
  assert.is(status, 0, `${command} ${args.join(' ')}: ${error ?? stderr}`);
  return stdout;
}

const SIZES = [0, 1, 13, 5000, 65_535, UNIT - 1, UNIT, UNIT + 1, 2 * UNIT + 77];

test('gunzip, zcat and lz4 open what tandem wrote, and a decoder in Python that was written from the docs', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-compressed-'));
  const script = join(REPOSITORY, 'tests', 'fixtures', 'compressed', 'expand.py');
  try {
    for (const kind of KINDS) {
      for (const length of SIZES) {
        for (const [what, level] of [
          ['words', 1],
          ['mixed', 6],
          ['noise', 9],
        ] as const) {
          const plain = content(length, what);
          const bytes = packed(kind, plain, { level });
          const [tool, ...args] = kind === 'gzip' ? ['gunzip', '-c'] : ['lz4', '-dc'];
          const label = `${kind} ${length} ${what}`;
          assert.ok(piped(tool as string, args, bytes).equals(plain), label);
          const file = join(folder, `in${COMPRESSED_SUFFIX[kind]}`);
          writeFileSync(file, bytes);
          if (kind === 'gzip') assert.ok(piped('zcat', [file], Buffer.alloc(0)).equals(plain), label);
          else piped('lz4', ['-tq', file], Buffer.alloc(0));
          if (what !== 'words' && length !== SIZES.at(-1)) continue;
          const out = join(folder, 'out');
          const says = piped('python3', [script, file, out], Buffer.alloc(0)).toString();
          assert.is(says.trim(), `${length} ${MTIME}`, label);
          assert.ok(readFileSync(out).equals(plain), label);
        }
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('what gzip and lz4 write is refused in a sentence and never taken for ours', () => {
  const plain = content(200_000, 'words');
  const made: [Compression, Buffer][] = [
    ['gzip', piped('gzip', ['-c'], plain)],
    ['gzip', piped('gzip', ['-1c'], Buffer.alloc(0))],
    ...[[], ['-BD'], ['-9', '-BX'], ['--no-frame-crc'], ['-l'], ['--content-size']].map(
      (args): [Compression, Buffer] => ['lz4', piped('lz4', ['-zc', ...args], plain)],
    ),
    ['lz4', piped('lz4', ['-zc'], Buffer.alloc(0))],
  ];
  for (const [kind, bytes] of made) {
    assert.is(readMark(kind, bytes), null);
    const { code, message, hint } = refused(kind, bytes);
    assert.is(code, 'invalid', message);
    assert.match(hint ?? '', kind === 'gzip' ? /gunzip opens it/ : /lz4 -d opens it/);
  }
  for (const kind of KINDS) {
    const other = kind === 'gzip' ? 'lz4' : 'gzip';
    assert.is(refused(other, packed(kind, plain)).code, 'invalid');
    assert.is(readMark(other, packed(kind, plain)), null);
  }
});

// --- what does not shrink, what is missing, what it costs ---

test('compressed contents are stored as they are, known by name and by sample', () => {
  for (const kind of KINDS) {
    const noise = randomBytes(3 * UNIT);
    assert.ok(packed(kind, noise).length < noise.length + 600);
    const words = content(3 * UNIT, 'words');
    for (const name of ['IMG_0001.CR3', 'clip.MOV', 'a.b.jpg', 'x.tar.gz', 'y.zip', 'z.dng', 'k.braw', 'l.encrypted'])
      assert.ok(packed(kind, words, { name }).length >= words.length, name);
    for (const name of ['a.xmp', 'b.wav', 'jpg', 'jpg.txt', 'project.prproj', 'sync.ts'])
      assert.ok(packed(kind, words, { name }).length < words.length / 2, name);
    const half = Buffer.concat([noise.subarray(0, UNIT), words.subarray(0, UNIT)]);
    const bytes = packed(kind, half);
    assert.ok(bytes.length < UNIT * 1.5, 'each part by itself');
    assert.ok(opened(kind, bytes).equals(half));
  }
});

test('without the library LZ4 becomes gzip, in a sentence; its files are read all the same', () => {
  const none = availableCompression('lz4', 12, NONE);
  assert.equal([none.kind, none.level], ['gzip', 9]);
  assert.match(none.note ?? '', /LZ4 is not available on this machine \(there is none here\).*gzip/);
  assert.equal(availableCompression('gzip', 7, NONE), { kind: 'gzip', level: 7 });
  assert.equal(availableCompression('lz4', 12), { kind: 'lz4', level: 12 });
  assert.ok(isLz4Available());
  const turnedOff = `import { availableCompression, isLz4Available } from '${REPOSITORY}/shared/compressed.ts';
    console.log(JSON.stringify([isLz4Available(), availableCompression('lz4', 3).kind]));`;
  const ran = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', turnedOff], {
    cwd: REPOSITORY,
    encoding: 'utf8',
    env: { ...process.env, TANDEM_NO_LZ4: '1' },
  });
  assert.equal(JSON.parse(ran.stdout), [false, 'gzip'], ran.stderr);
});

test('files: compressed, opened, with their time; nothing is left of what fails', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-compressed-'));
  try {
    const [input, output, back] = ['in.txt', 'in.txt.c', 'back.txt'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const plain = content(3 * UNIT, 'mixed');
    writeFileSync(input, plain);
    utimesSync(input, 1e9, 1e9);
    for (const kind of KINDS) {
      const made = compressFile(input, output, kind, 3);
      assert.equal(made, { input, output, kind, bytes_in: plain.length, bytes_out: statSync(output).size });
      assert.is(decompressFile(output, back).bytes_out, plain.length);
      assert.ok(readFileSync(back).equals(plain));
      assert.is(statSync(back).mtimeMs, 1e12);
      writeFileSync(output, readFileSync(output).subarray(0, -1));
      rmSync(back);
      assert.throws(() => decompressFile(output, back), /its end is missing/);
      assert.not.ok(existsSync(back));
    }
    assert.throws(() => decompressFile(input, back), /not a compressed file that tandem wrote/);
    assert.throws(() => compressFile(input, back, 'gzip', 10), /Level 10/);
    assert.equal(readdirSync(folder).sort(), ['in.txt', 'in.txt.c']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** A thread like those of a run: compresses and opens what it is told, and says how much memory the process ever had. */
const MEASURED = `
  import { readFileSync } from 'node:fs';
  import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
  const [tsx, module, kind, pieces] = isMainThread ? process.argv.slice(2) : workerData;
  if (isMainThread) new Worker(new URL(import.meta.url), { workerData: [tsx, module, kind, pieces] }).once('message', (told) => console.log(told));
  else {
    (await import(tsx)).register();
    const { Compressor, Decompressor } = await import(module);
    const piece = Buffer.alloc(4 * 1024 * 1024, 'many words, ');
    for (let at = 0; at < piece.length; at += 16) piece.writeUInt32LE((at * 2654435761) % 4294967296, at);
    const compressor = new Compressor(kind, 1, { size: piece.length * Number(pieces), mtime: 0n }, 'a');
    const decompressor = new Decompressor(kind);
    let [stored, bytes] = [0, 0];
    const take = (buffers) => {
      for (const buffer of buffers) {
        stored += buffer.length;
        for (const plain of decompressor.update(buffer)) bytes += plain.length;
      }
    };
    for (let at = 0; at < Number(pieces); at += 1) take(compressor.update(piece));
    take(compressor.final());
    decompressor.final();
    const peak = Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0) / 1024;
    parentPort.postMessage(JSON.stringify({ bytes, stored, peak }));
  }
`;

test('a large file passes through a worker thread in the memory of a small one', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-compressed-'));
  try {
    const script = join(folder, 'measure.mjs');
    writeFileSync(script, MEASURED);
    const module = pathToFileURL(join(REPOSITORY, 'shared', 'compressed.ts')).href;
    for (const [kind, large] of [
      ['gzip', 160],
      ['lz4', 320],
    ] as const) {
      const peaks = [4, large].map((pieces) => {
        const args = [script, import.meta.resolve('tsx/esm/api'), module, kind, String(pieces)];
        const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
        assert.ok(stdout.startsWith('{'), stderr);
        const told = JSON.parse(stdout) as { bytes: number; stored: number; peak: number };
        assert.is(told.bytes, pieces * 4 * MIB);
        assert.ok(told.stored < told.bytes * 0.8, `${kind}: ${told.stored} of ${told.bytes}`);
        return told.peak;
      });
      assert.ok((peaks[1] ?? 0) < (peaks[0] ?? 0) + 60, `${kind}: ${peaks.join(' and ')} MB`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();
