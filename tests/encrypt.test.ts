/** Sealed files: what goes in comes out, whatever is changed does not open, and nothing is left behind. */
import { spawn, spawnSync } from 'node:child_process';
import { createCipheriv, createDecipheriv, hkdfSync, pbkdf2Sync, randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openFile, type SealedHeader, type Secret, sealFile } from '../features/encrypt.ts';
import { createContext } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import { LANES_FROM, throughLanes } from '../shared/seal-lanes.ts';
import {
  HEADER_BYTES,
  Opener,
  openingKeys,
  plainSize,
  readHeader,
  Sealer,
  sealChunk,
  sealingKeys,
  TAG_BYTES,
} from '../shared/sealed.ts';
import { REPOSITORY, run } from './helpers/cli.ts';
import { skipped } from './helpers/drives.ts';
import { refusal } from './helpers/pair.ts';
import './helpers/property.ts';

const test = suite('encrypt');

const FAST = { iterations: 100_000, chunkSize: 4096 };
const KEY: Secret = { kind: 'key_file', bytes: Buffer.alloc(40, 7) };
const GROUP: Secret = { kind: 'group_key', key: Buffer.alloc(32, 3), keyId: Buffer.alloc(16, 9) };

function sealed(plain: Uint8Array, secret: Secret, pieces: readonly number[] = [], options = FAST): Buffer {
  const sealer = new Sealer(secret, options);
  const out = [sealer.header];
  let at = 0;
  for (const piece of pieces) {
    out.push(...sealer.update(plain.subarray(at, at + piece)));
    at += piece;
  }
  return Buffer.concat([...out, ...sealer.update(plain.subarray(at)), ...sealer.final()]);
}

function opened(bytes: Uint8Array, secret: Secret, pieces: readonly number[] = []): Buffer {
  const opener = new Opener(() => secret);
  const out: Buffer[] = [];
  let at = 0;
  for (const piece of pieces) {
    out.push(...opener.update(bytes.subarray(at, at + piece)));
    at += piece;
  }
  return Buffer.concat([...out, ...opener.update(bytes.subarray(at)), ...opener.final()]);
}

function refused(bytes: Uint8Array, secret: Secret = KEY): TandemError {
  const opener = new Opener(() => secret);
  try {
    opener.update(bytes);
    opener.final();
  } catch (error) {
    if (error instanceof TandemError) return error;
    throw error;
  }
  return assert.unreachable('it was opened') as never;
}

const pieces = fc.array(fc.integer({ min: 0, max: 9000 }), { maxLength: 6 });
/** Around every border of a chunk. */
const size = fc.oneof(
  fc
    .integer({ min: 0, max: 3 })
    .chain((chunks) => fc.integer({ min: -2, max: 2 }).map((near) => Math.max(0, chunks * 4096 + near))),
  fc.integer({ min: 0, max: 20_000 }),
);

test('what was sealed opens to the same, in pieces of any size, and the header tells its length', () => {
  fc.assert(
    fc.property(size, pieces, pieces, fc.constantFrom(KEY, GROUP), (length, inward, outward, secret) => {
      const plain = randomBytes(length);
      const bytes = sealed(plain, secret, inward);
      assert.ok(opened(bytes, secret, outward).equals(plain));
      assert.is(plainSize(bytes.length, readHeader(bytes)), length);
      assert.is(bytes.length, HEADER_BYTES + length + Math.max(1, Math.ceil(length / 4096)) * TAG_BYTES);
    }),
  );
});

test('any flipped bit, any cut, anything behind, chunks that change places: nothing of it opens', () => {
  fc.assert(
    fc.property(size, fc.nat(), fc.integer({ min: 0, max: 7 }), fc.nat(), (length, where, bit, cut) => {
      const bytes = sealed(randomBytes(length), KEY);
      const flipped = Buffer.from(bytes);
      flipped[where % bytes.length] = (flipped[where % bytes.length] ?? 0) ^ (1 << bit);
      refused(flipped);
      refused(bytes.subarray(0, cut % bytes.length));
      refused(Buffer.concat([bytes, randomBytes(1 + (cut % 20))]));
    }),
  );
  const chunk = 4096 + TAG_BYTES;
  const bytes = sealed(randomBytes(4096 * 3 + 10), KEY);
  const part = (index: number): Buffer =>
    bytes.subarray(HEADER_BYTES + index * chunk, HEADER_BYTES + (index + 1) * chunk);
  const head = bytes.subarray(0, HEADER_BYTES);
  for (const order of [[1, 0, 2, 3], [0, 0, 1, 2, 3], [0, 2, 3], [0, 1, 2], [0, 1, 2, 3, 3], [3]])
    assert.match(refused(Buffer.concat([head, ...order.map(part)])).message, /damaged/, String(order));
  const other = sealed(randomBytes(4096 * 3 + 10), KEY);
  refused(Buffer.concat([head, other.subarray(HEADER_BYTES)]));
});

test('no plaintext leaves before its tag was checked', () => {
  const bytes = sealed(Buffer.alloc(4096 * 4, 65), KEY);
  const inThird = HEADER_BYTES + 2 * (4096 + TAG_BYTES) + 5;
  bytes[inThird] = (bytes[inThird] ?? 0) ^ 1;
  const opener = new Opener(() => KEY);
  const out: Buffer[] = [];
  assert.throws(() => {
    for (let at = 0; at < bytes.length; at += 100) out.push(...opener.update(bytes.subarray(at, at + 100)));
    out.push(...opener.final());
  }, /its part 3 is not as it was sealed/);
  assert.is(Buffer.concat(out).length, 2 * 4096);
});

test('random bytes and forged headers never crash the decoder', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (noise, begins) => {
      const bytes = begins ? Buffer.concat([Buffer.from('TNDMENC1'), noise]) : noise;
      assert.ok(['failed', 'invalid', 'key'].includes(refused(bytes).code));
    }),
  );
  const good = sealed(randomBytes(10), KEY);
  const forged: [string, (header: Buffer) => void, RegExp][] = [
    ['newer version', (head) => head.write('TNDMENC2'), /another version/],
    ['older version', (head) => head.write('TNDMENC0'), /another version/],
    ['another file', (head) => head.write('%PDF'), /does not begin as one/],
    ['both flags', (head) => head.writeUInt8(3, 8), /values that no sealed file has/],
    ['an unknown way to a key', (head) => head.writeUInt8(9, 9), /values/],
    ['too few rounds', (head) => head.writeUInt32BE(99_999, head.writeUInt8(1, 9)), /values/],
    ['rounds for a year', (head) => head.writeUInt32BE(0xffff_ffff, head.writeUInt8(1, 9)), /values/],
    ['chunks of nothing', (head) => head.writeUInt32BE(0, 37), /values/],
    ['chunks of 4 GB', (head) => head.writeUInt32BE(0x8000_0000, 37), /values/],
    ['no power of two', (head) => head.writeUInt32BE(5000, 37), /values/],
    ['a key id', (head) => head.writeUInt8(1, 41), /values/],
    [
      'another salt',
      (head) => head.writeUInt8((head[20] ?? 0) ^ 1, 20),
      /password or key does not open this file, or its header/,
    ],
    ['another commitment', (head) => head.writeUInt8((head[60] ?? 0) ^ 1, 60), /password or key does not open/],
  ];
  for (const [what, forge, message] of forged) {
    const bytes = Buffer.from(good);
    forge(bytes);
    assert.match(refused(bytes).message, message, what);
  }
});

test('a wrong key is told by its commitment, exit 8, with the same words whatever was wrong', () => {
  const password = (text: string): Secret => ({ kind: 'password', password: text });
  const bytes = sealed(randomBytes(100), password('Grüße'));
  assert.ok(opened(bytes, password('Gru\u0308ße\n')), 'composed or not, with the newline of a file');
  const errors = ['gruße', 'Grüße ', 'Grüße\n\n', ''].map((text) => refused(bytes, password(text)));
  assert.is(new Set(errors.map(({ message }) => message)).size, 1);
  assert.equal([...new Set(errors.map(({ exitCode }) => exitCode))], [8]);
  assert.is(refused(sealed(randomBytes(1), KEY), { kind: 'key_file', bytes: Buffer.alloc(40, 8) }).exitCode, 8);
});

/** Published vectors against the primitives as they are used. */
test('AES-256-GCM, HKDF-SHA-256 and PBKDF2-HMAC-SHA-256 are those of the standards', () => {
  const hex = (text: string): Buffer => Buffer.from(text, 'hex');
  // GCM specification (McGrew, Viega), test case 16.
  const key = hex('feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308');
  const plain = hex(
    'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39',
  );
  const cipher = createCipheriv('aes-256-gcm', key, hex('cafebabefacedbaddecaf888')).setAAD(
    hex('feedfacedeadbeeffeedfacedeadbeefabaddad2'),
  );
  const body = Buffer.concat([cipher.update(plain), cipher.final()]);
  assert.is(
    body.toString('hex'),
    '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662',
  );
  assert.is(cipher.getAuthTag().toString('hex'), '76fc6ece0f4e1768cddf8853bb2d551b');
  const back = createDecipheriv('aes-256-gcm', key, hex('cafebabefacedbaddecaf888')).setAAD(
    hex('feedfacedeadbeeffeedfacedeadbeefabaddad2'),
  );
  back.setAuthTag(cipher.getAuthTag());
  assert.ok(Buffer.concat([back.update(body), back.final()]).equals(plain));
  // RFC 5869, test case 1, its first 32 bytes.
  const derived = hkdfSync(
    'sha256',
    hex('0b'.repeat(22)),
    hex('000102030405060708090a0b0c'),
    hex('f0f1f2f3f4f5f6f7f8f9'),
    32,
  );
  assert.is(Buffer.from(derived).toString('hex'), '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf');
  // RFC 7914, section 11, its first 32 bytes.
  assert.is(
    pbkdf2Sync('passwd', 'salt', 1, 32, 'sha256').toString('hex'),
    '55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc',
  );
});

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-encrypt-'));
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function secretFile(folder: string, name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

test('a file that cannot be opened to its end leaves nothing; one that is there is replaced only when that is wanted', () =>
  inFolder(async (folder) => {
    const ctx = createContext({ configDir: folder, dataDir: folder });
    const [plain, vault, out] = ['plain', 'vault', 'out'].map((name) => join(folder, name)) as [string, string, string];
    writeFileSync(plain, randomBytes(700_000));
    await sealFile(plain, vault, KEY, ctx);
    truncateSync(vault, 600_000);
    assert.match((await refusal(openFile(vault, out, () => KEY, ctx))).message, /damaged/);
    assert.match((await refusal(openFile(plain, out, () => KEY, ctx))).message, /not a sealed file/);
    assert.is((await refusal(openFile(join(folder, 'none'), out, () => KEY, ctx))).code, 'not_found');
    const stop = new AbortController();
    const stopped = createContext({ configDir: folder, dataDir: folder, signal: stop.signal });
    const sealing = sealFile(plain, out, KEY, stopped);
    stop.abort();
    assert.is((await refusal(sealing)).code, 'cancelled');
    assert.equal(readdirSync(folder).sort(), ['plain', 'vault']);
  }));

test('the command line: secrets from files and the environment, never from an argument; nothing readable by others', () =>
  inFolder(async (folder) => {
    const at = (name: string): string => join(folder, name);
    const content = randomBytes(10_000);
    writeFileSync(at('a'), content);
    const password = secretFile(folder, 'pw', 'secret\n');
    const key = secretFile(folder, 'key', randomBytes(64));
    const short = secretFile(folder, 'short', randomBytes(31));
    const cases: [string[], number, RegExp, Record<string, string>?][] = [
      [['seal', at('a'), '--password-file', password], 0, /Sealed/],
      [['seal', at('a'), '--password-file', password], 2, /--yes/],
      [['open', at('a.encrypted'), at('b'), '--password-file', password], 0, /Opened/],
      [['open', at('a.encrypted'), at('c'), '--key-file', key], 8, /sealed with a password/],
      [['open', at('a.encrypted'), at('c')], 8, /does not open/, { TANDEM_PASSWORD: 'wrong' }],
      [['open', at('a.encrypted'), at('c')], 0, /Opened/, { TANDEM_PASSWORD: 'secret' }],
      [['open', at('a.encrypted'), at('d')], 2, /--password-file FILE, --key-file FILE/],
      [['seal', at('a'), at('k'), '--key-file', key], 0, /Sealed/],
      [['open', at('k'), '--key-file', key], 2, /does not end in \.encrypted/],
      [['open', at('k'), at('l'), '--password-file', password], 8, /sealed with a key file/],
      [['seal', at('a'), at('x'), '--key-file', short], 2, /31 bytes, and needs at least 32/],
      [['seal', at('a'), at('x'), '--key-file', key, '--password-file', password], 2, /not both/],
      [['seal', at('a'), at('a'), '--key-file', key], 2, /the input itself/],
      [['seal', '-', at('x'), '--password-file', '-'], 2, /cannot be both/],
      [['inspect', at('a.encrypted')], 0, /password \(PBKDF2, 600000 rounds\)[\s\S]*\(10000\)/],
      [['inspect', at('a')], 2, /not a sealed file/],
    ];
    for (const [words, code, said, env = {}] of cases) {
      const result = await run(['encrypt', ...words], { env: { TANDEM_PASSWORD: '', ...env } });
      assert.is(result.code, code, `${words.join(' ')}: ${result.stdout}${result.stderr}`);
      assert.match(result.stdout + result.stderr, said, words.join(' '));
    }
    for (const name of ['b', 'c']) assert.ok(readFileSync(at(name)).equals(content));
    assert.not(existsSync(at('x')));
    chmodSync(password, 0o640);
    const open = await run(['encrypt', 'open', at('a.encrypted'), at('e'), '--password-file', password]);
    assert.equal([open.code, /Others may read/.test(open.stderr)], [2, true]);
    assert.equal(
      readdirSync(folder).filter((name) => name.endsWith('.partial')),
      [],
    );
  }));

test('streams: from a pipe to a pipe, much larger than memory may be', () =>
  inFolder(async (folder) => {
    const key = secretFile(folder, 'key', randomBytes(64));
    const tandem = join(REPOSITORY, 'tui', 'tandem.mjs');
    const script = `set -o pipefail; head -c 300000000 /dev/zero | node "$T" encrypt seal - - --key-file "$K" | node "$T" encrypt open - - --key-file "$K" | sha256sum`;
    const env = { ...process.env, T: tandem, K: key, NODE_OPTIONS: '--max-old-space-size=64' };
    const child = spawn('bash', ['-c', script], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (text) => {
      out += String(text);
    });
    const code = await new Promise((done) => child.on('close', done));
    const expected = spawnSync('bash', ['-c', 'head -c 300000000 /dev/zero | sha256sum'], { encoding: 'utf8' }).stdout;
    assert.equal([code, out], [0, expected]);
  }));

test('a last part that is empty behind others is none, for the length as for the decoder', () => {
  const keys = sealingKeys(KEY, FAST);
  const forged = Buffer.concat([
    keys.header,
    ...sealChunk(keys, 0, false, Buffer.alloc(4096)),
    ...sealChunk(keys, 1, true, Buffer.alloc(0)),
  ]);
  assert.match(refused(forged).message, /its last part is empty/);
  assert.throws(() => plainSize(forged.length, readHeader(forged)), /its end is missing/);
});

/** Both ways of one file through this many threads; `meanwhile` happens between two ranges of this one. */
async function inLanes(
  way: 'seal' | 'open',
  files: { input: string; output: string; lanes: number; chunkSize?: number },
  { signal = new AbortController().signal, meanwhile = (): void => {} } = {},
): Promise<void> {
  const input = openSync(files.input, 'r');
  const output = openSync(files.output, 'w+');
  try {
    const keys =
      way === 'seal'
        ? sealingKeys(KEY, { chunkSize: files.chunkSize ?? 4096 })
        : openingKeys(readFileSync(files.input).subarray(0, HEADER_BYTES), () => KEY);
    if (way === 'seal') writeSync(output, keys.header, 0, HEADER_BYTES, 0);
    setImmediate(meanwhile);
    const { read, written } = await throughLanes({ way, input, output }, keys, signal, files.lanes);
    assert.equal([read, written], [fstatSync(input).size, fstatSync(output).size]);
    assert.ok(keys.key.every((byte) => byte === 0));
  } finally {
    closeSync(input);
    closeSync(output);
  }
}

test('large files: through any number of threads it is the same format, and any damage is refused', () =>
  inFolder(async (folder) => {
    const [plain, vault, out] = ['plain', 'vault', 'out'].map((name) => join(folder, name)) as [string, string, string];
    const near = fc.integer({ min: -1, max: 1 });
    const length = fc
      .tuple(fc.integer({ min: 0, max: 5 }), fc.constantFrom(4096, 1024 * 1024), near)
      .map(([count, unit, off]) => Math.max(0, count * unit + off));
    const damage = fc.constantFrom('flip', 'cut', 'append', 'swap');
    await fc.assert(
      fc.asyncProperty(
        length,
        fc.constantFrom(4096, 65_536, 4 * 1024 * 1024),
        fc.integer({ min: 1, max: 3 }),
        damage,
        fc.nat(),
        async (bytes, chunkSize, lanes, how, where) => {
          const content = randomBytes(bytes);
          writeFileSync(plain, content);
          await inLanes('seal', { input: plain, output: vault, lanes, chunkSize });
          const whole = readFileSync(vault);
          assert.ok(opened(whole, KEY).equals(content), 'the decoder of streams opens it');
          writeFileSync(vault, sealed(content, KEY, [], { ...FAST, chunkSize }));
          await inLanes('open', { input: vault, output: out, lanes });
          assert.ok(readFileSync(out).equals(content), 'it opens what streams are sealed to');
          let bad: Buffer = Buffer.from(whole);
          const part = chunkSize + TAG_BYTES;
          if (how === 'cut') bad = bad.subarray(0, HEADER_BYTES + (where % (bad.length - HEADER_BYTES)));
          else if (how === 'append') bad = Buffer.concat([bad, randomBytes(1 + (where % 5000))]);
          else if (how === 'swap' && bytes > 2 * chunkSize) {
            whole.copy(bad, HEADER_BYTES, HEADER_BYTES + part, HEADER_BYTES + 2 * part);
            whole.copy(bad, HEADER_BYTES + part, HEADER_BYTES, HEADER_BYTES + part);
          } else {
            const at = HEADER_BYTES + (where % (bad.length - HEADER_BYTES));
            bad[at] = (bad[at] ?? 0) ^ 1;
          }
          writeFileSync(vault, bad);
          const error = await refusal(inLanes('open', { input: vault, output: out, lanes }));
          assert.equal([error.code, /damaged/.test(error.message), error.hint !== undefined], ['failed', true, true]);
        },
      ),
      { numRuns: 8 },
    );
  }));

test('large files: damaged, with another key or cancelled, they leave nothing behind', () =>
  inFolder(async (folder) => {
    const ctx = createContext({ configDir: folder, dataDir: folder });
    const [plain, vault, out] = ['plain', 'vault', 'out'].map((name) => join(folder, name)) as [string, string, string];
    const content = randomBytes(LANES_FROM + 12_345);
    writeFileSync(plain, content);
    const { bytes_in, bytes_out } = await sealFile(plain, vault, KEY, ctx);
    assert.equal([bytes_in, bytes_out], [content.length, statSync(vault).size]);
    await openFile(vault, out, () => KEY, ctx);
    assert.ok(readFileSync(out).equals(content));
    rmSync(out);
    const wrong: Secret = { kind: 'key_file', bytes: Buffer.alloc(40, 8) };
    assert.is((await refusal(openFile(vault, out, () => wrong, ctx))).code, 'key');
    for (const path of [plain, vault]) {
      const stop = new AbortController();
      const stopped = createContext({ configDir: folder, dataDir: folder, signal: stop.signal });
      const running = path === plain ? sealFile(path, out, KEY, stopped) : openFile(path, out, () => KEY, stopped);
      setImmediate(() => stop.abort());
      assert.is((await refusal(running)).code, 'cancelled');
    }
    const fd = openSync(vault, 'r+');
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, 60_000_000);
    byte[0] = (byte[0] ?? 0) ^ 1;
    writeSync(fd, byte, 0, 1, 60_000_000);
    closeSync(fd);
    assert.match((await refusal(openFile(vault, out, () => KEY, ctx))).message, /its part 229 is not as it was sealed/);
    assert.equal(readdirSync(folder).sort(), ['plain', 'vault']);
  }));

test('large files: one that changes while it is sealed, a cancellation and a full drive are errors of their own', () =>
  inFolder(async (folder) => {
    const [plain, vault] = [join(folder, 'plain'), join(folder, 'vault')];
    const length = 30 * 1024 * 1024;
    const changes: [string, () => void][] = [
      ['shorter', () => truncateSync(plain, length - 1)],
      ['longer', () => appendFileSync(plain, 'x')],
      ['other bytes', () => utimesSync(plain, 5, 5)],
    ];
    for (const [what, meanwhile] of changes)
      for (const lanes of [1, 2]) {
        writeFileSync(plain, Buffer.alloc(length));
        const error = await refusal(inLanes('seal', { input: plain, output: vault, lanes }, { meanwhile }));
        assert.match(error.message, /was changed while it was being read/, what);
      }
    writeFileSync(plain, Buffer.alloc(length));
    const stop = new AbortController();
    const cancelled = inLanes(
      'seal',
      { input: plain, output: vault, lanes: 3 },
      { signal: stop.signal, meanwhile: () => stop.abort() },
    );
    assert.is((await refusal(cancelled)).code, 'cancelled');
    if (!existsSync('/dev/full')) return;
    const [input, output] = [openSync(plain, 'r'), openSync('/dev/full', 'w')];
    for (const lanes of [1, 3]) {
      const { signal } = new AbortController();
      const error: unknown = await throughLanes({ way: 'seal', input, output }, sealingKeys(KEY), signal, lanes).catch(
        (reason: unknown) => reason,
      );
      assert.is((error as { code?: string }).code, 'ENOSPC', String(error));
    }
    closeSync(input);
    closeSync(output);
  }));

const python = spawnSync('python3', ['-c', 'import cryptography'], { encoding: 'utf8' });
if (python.status === 0) {
  test('a decoder in another language, written from the description alone, opens what tandem sealed', () =>
    inFolder(async (folder) => {
      const ctx = createContext({ configDir: folder, dataDir: folder });
      const secrets: [SealedHeader['key'], Secret, string][] = [
        ['password', { kind: 'password', password: 'Grüße\n' }, secretFile(folder, 'pw', 'Gru\u0308ße\n')],
        ['key_file', KEY, secretFile(folder, 'key', Buffer.alloc(40, 7))],
      ];
      for (const [kind, secret, file] of secrets)
        for (const length of [0, 1, 262_144, 262_145, 1_000_000, LANES_FROM + 1]) {
          const [plain, vault, out] = ['plain', 'vault', 'out'].map((name) => join(folder, name)) as [
            string,
            string,
            string,
          ];
          writeFileSync(plain, randomBytes(length));
          await sealFile(plain, vault, secret, ctx);
          const script = join(REPOSITORY, 'tests/fixtures/sealed/unseal.py');
          const { status, stderr } = spawnSync('python3', [script, kind, file, vault, out], { encoding: 'utf8' });
          assert.is(status, 0, stderr);
          assert.ok(readFileSync(out).equals(readFileSync(plain)), `${kind} ${length}`);
        }
    }));
} else skipped('a decoder in another language', 'python3-cryptography is not there');

test.run();
