/** The key of a sealed group: what opens it opens it, nothing else does, and no copy of its ring is lost or forged unnoticed. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findDrive, listDrives } from '../features/detect.ts';
import { type Group, getGroup, setGroupOptions } from '../features/groups.ts';
import { adoptGroup, replaceDrive } from '../features/handover.ts';
import {
  changeKeyring,
  checksumKey,
  type GroupKey,
  groupKey,
  hasKeyring,
  initKeyring,
  spreadKeyring,
  withDrives,
} from '../features/keyring.ts';
import { keyringStatus } from '../features/slots.ts';
import { type Context, type ContextOptions, createContext, type Prompts } from '../shared/context.ts';
import type { TandemEvent } from '../shared/events.ts';
import {
  isAuthentic,
  type Keyring,
  mergeRings,
  newGroupKey,
  type RingSecret,
  readRing,
  ringText,
  type Slot,
  signRing,
  unwrapKey,
  wrapKey,
} from '../shared/keyring.ts';
import { DriveLock } from '../shared/lock.ts';
import { isRecoveryLine, readRecoveryKey, recoveryLines } from '../shared/recovery-key.ts';
import { askedSecret, type GivenSecret } from '../shared/secrets.ts';
import { closeFolder, openRoot } from '../shared/syscalls.ts';
import { REPOSITORY } from './helpers/cli.ts';
import { skipped } from './helpers/drives.ts';
import { refusal, snapshotOf, type TestPair, withPair } from './helpers/pair.ts';
import './helpers/property.ts';

const test = suite('keyring');

const GROUP = '550e8400-e29b-41d4-a716-446655440000';
const CREATED = '2026-01-12T10:00:00Z';
const ABOUT = { label: '', created: CREATED, iterations: 100_000 };
const PASSWORD = { kind: 'password', password: 'correct horse' } as const;
const paper = (bytes: Uint8Array): RingSecret => ({ kind: 'recovery', bytes });

function ringOf(key: GroupKey, slots: Slot[], removed: string[] = [], modified = CREATED): Keyring {
  return signRing({ group_id: GROUP, key_id: key.keyId.toString('hex'), modified, slots, removed }, key);
}

// --- format ---

const secretBytes = fc.uint8Array({ minLength: 32, maxLength: 80 });

test('a wrapped key comes out as it went in; another secret, or any bit that changed, and nothing comes out', async () => {
  const fields = ['salt', 'nonce', 'wrapped'] as const;
  await fc.assert(
    fc.asyncProperty(
      secretBytes,
      fc.constantFrom('key_file', 'recovery'),
      fc.nat(),
      fc.nat(7),
      async (bytes, kind, at, bit) => {
        const key = newGroupKey();
        const secret = { kind, bytes } as RingSecret;
        const slot = wrapKey(key, GROUP, secret, ABOUT);
        const ring = ringOf(key, [slot]);
        const out = await unwrapKey(ring, slot, secret);
        assert.ok(out?.key.equals(key.key) && out.keyId.equals(key.keyId));
        const field = fields[at % 3] as (typeof fields)[number];
        const flipped = Buffer.from(slot[field], 'hex');
        flipped[at % flipped.length] = (flipped[at % flipped.length] ?? 0) ^ (1 << bit);
        assert.is(await unwrapKey(ring, { ...slot, [field]: flipped.toString('hex') }, secret), null);
        const keyId = Buffer.from(key.keyId);
        keyId[at % 16] = (keyId[at % 16] ?? 0) ^ (1 << bit);
        assert.is(await unwrapKey({ ...ring, key_id: keyId.toString('hex') }, slot, secret), null);
        assert.is(await unwrapKey({ ...ring, group_id: `${GROUP} ` }, slot, secret), null);
        const otherKind = kind === 'recovery' ? 'key_file' : 'recovery';
        assert.is(await unwrapKey(ring, { ...slot, kind: otherKind }, { kind: otherKind, bytes } as RingSecret), null);
        const other = Uint8Array.from(bytes);
        other[at % other.length] = (other[at % other.length] ?? 0) ^ (1 << bit);
        assert.is(await unwrapKey(ring, slot, { kind, bytes: other } as RingSecret), null);
      },
    ),
  );
});

test('a password opens composed or not, and with the newline of a file; nothing near it does', async () => {
  const key = newGroupKey();
  const slot = wrapKey(key, GROUP, { kind: 'password', password: 'Grüße' }, ABOUT);
  const ring = ringOf(key, [slot]);
  const opens = async (password: string, one = slot): Promise<boolean> =>
    (await unwrapKey(ring, one, { kind: 'password', password })) !== null;
  for (const right of ['Grüße', 'Gru\u0308ße', 'Grüße\n', 'Gru\u0308ße\r\n']) assert.ok(await opens(right), right);
  for (const wrong of ['grüße', 'Grüße ', 'Grüße\n\n', 'Gruße', '']) assert.not(await opens(wrong), wrong);
  assert.not(await opens('Grüße', { ...slot, iterations: 100_001 }));
});

test('the key that checksums are keyed with is the published derivation, and another for each group', () => {
  const key = { key: Buffer.alloc(32, 3), keyId: Buffer.alloc(16, 9) };
  // HKDF-SHA-256 by an independent implementation.
  assert.is(checksumKey(key).toString('hex'), '3a1efcb57ad7fe655dcff26762aa751a86a236a0c9ab194802f20afb7f98e7ca');
  assert.not(checksumKey(newGroupKey()).equals(checksumKey(newGroupKey())));
});

test('a ring that was altered anywhere is not authentic, and one that no tandem wrote is not read', () => {
  const key = newGroupKey();
  const slots = [1, 2].map((byte) => wrapKey(key, GROUP, paper(Buffer.alloc(32, byte)), ABOUT));
  const ring = ringOf(key, slots, ['00'.repeat(16)]);
  assert.ok(isAuthentic(readRing(ringText(ring), GROUP), key));
  assert.not(isAuthentic(ring, newGroupKey()));
  const [one, two] = slots as [Slot, Slot];
  const altered: Partial<Keyring>[] = [
    { modified: '2026-01-12T10:00:01Z' },
    { slots: [one] },
    { slots: [...ring.slots].reverse() },
    { slots: [{ ...one, label: 'x' }, two] },
    { slots: [{ ...one, created: '2026-01-12T10:00:01Z' }, two] },
    { removed: [] },
    { removed: [one.salt] },
  ];
  for (const change of altered) assert.not(isAuthentic({ ...ring, ...change }, key), JSON.stringify(change));
  const refused: [object | string, RegExp][] = [
    [ringText(ring).slice(0, -20), /cut off/],
    ['', /cut off/],
    ['null', /has no valid value/],
    [{ ...ring, version: 2 }, /newer tandem \(its version is 2/],
    [{ ...ring, version: 0 }, /'version'/],
    [{ ...ring, group_id: 'other' }, /another group/],
    [{ ...ring, extra: 1 }, /has no valid value/],
    [{ ...ring, slots: [] }, /'slots'/],
    [{ ...ring, slots: [{ ...one, wrapped: one.wrapped.slice(2) }] }, /'slots\.0\.wrapped'/],
    [{ ...ring, slots: [{ ...one, kind: 'guess' }] }, /'slots\.0\.kind'/],
    [{ ...ring, slots: [{ ...one, iterations: 1 }] }, /'slots\.0'/],
    [{ ...ring, slots: [{ ...one, kind: 'password', iterations: 4_000_000_000 }] }, /'slots\.0'/],
    [{ ...ring, slots: [{ ...one, kind: 'password', iterations: 99_999 }] }, /'slots\.0'/],
    [{ ...ring, slots: [{ ...one, label: 'two\nlines' }] }, /'slots\.0\.label'/],
    [{ ...ring, mac: 'no' }, /'mac'/],
  ];
  for (const [document, message] of refused) {
    const text = typeof document === 'string' ? document : JSON.stringify(document);
    assert.throws(() => readRing(text, GROUP), message);
  }
  fc.assert(
    fc.property(fc.json(), (text) => {
      assert.throws(() => readRing(text, GROUP), /./);
    }),
  );
});

test('copies come together the same in any order; an old one neither drops a slot nor brings one back', () => {
  const key = newGroupKey();
  const slots = Array.from({ length: 5 }, (_, index) => wrapKey(key, GROUP, paper(Buffer.alloc(32, index)), ABOUT));
  const part = fc.subarray(slots, { minLength: 1 });
  const copy = fc.record({ has: part, gone: fc.subarray(slots.map(({ salt }) => salt)) });
  fc.assert(
    fc.property(fc.array(copy, { minLength: 1, maxLength: 4 }), (copies) => {
      const rings = copies.map(({ has, gone }) => ringOf(key, has, gone));
      const merged = mergeRings(rings);
      assert.equal(mergeRings([...rings].reverse()), merged);
      assert.equal(mergeRings([ringOf(key, merged.slots, merged.removed), ...rings]), merged);
      const gone = new Set(copies.flatMap((one) => one.gone));
      const expected = new Set(
        copies.flatMap(({ has }) => has.map(({ salt }) => salt)).filter((one) => !gone.has(one)),
      );
      assert.equal(new Set(merged.slots.map(({ salt }) => salt)), expected);
    }),
  );
});

// --- paper ---

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const key32 = fc.uint8Array({ minLength: 32, maxLength: 32 });

test('a recovery key is read as it was written down: case, spaces, O for 0, I and L for 1', () => {
  fc.assert(
    fc.property(key32, fc.infiniteStream(fc.nat(5)), (bytes, choice) => {
      const lines = recoveryLines(bytes);
      assert.ok(
        lines.length === 4 && lines.every((line) => /^([0-9A-HJKMNP-TV-Z]{5}-){2}[0-9A-HJKMNP-TV-Z]{5}$/.test(line)),
      );
      lines.forEach((line, index) => {
        assert.ok(isRecoveryLine(line.toLowerCase(), index + 1));
        assert.not(isRecoveryLine(line, ((index + 1) % 4) + 1), 'a line knows its number');
      });
      const typed = Array.from(lines.join('\n'), (sign) => {
        const how = choice.next().value;
        if (how === 0) return sign.toLowerCase();
        if (how === 1) return `${sign} `;
        if (how === 2 && sign === '0') return 'o';
        if (how === 3 && sign === '1') return 'L';
        if (how === 4 && sign === '1') return 'i';
        return how === 5 && sign === '-' ? '' : sign;
      }).join('');
      const read = readRecoveryKey(`${typed}\n`);
      assert.ok(read && 'key' in read && read.key.equals(bytes));
    }),
  );
});

test('one wrong sign, two that changed places, lines in another order: refused, and the line is named', () => {
  const mistakes = fc.tuple(key32, fc.nat(59), fc.integer({ min: 1, max: 31 }), fc.integer({ min: 1, max: 14 }));
  fc.assert(
    fc.property(mistakes, ([bytes, at, by, far]) => {
      const signs = Array.from(recoveryLines(bytes).join('').replaceAll('-', ''));
      const line = Math.floor(at / 15);
      const wrong = [...signs];
      wrong[at] = ALPHABET[(ALPHABET.indexOf(signs[at] ?? '') + by) % 32] ?? '';
      assert.equal(readRecoveryKey(wrong.join('')), { wrong: [line + 1] });
      const other = line * 15 + (((at % 15) + far) % 15);
      const swapped = [...signs];
      [swapped[at], swapped[other]] = [signs[other] ?? '', signs[at] ?? ''];
      if (signs[at] !== signs[other]) assert.equal(readRecoveryKey(swapped.join('')), { wrong: [line + 1] });
      const turned = recoveryLines(bytes).reverse().join(' ');
      assert.ok('wrong' in (readRecoveryKey(turned) ?? {}));
    }),
  );
  for (const text of ['', 'correct horse', 'U'.repeat(60), '0'.repeat(59), '0'.repeat(61)])
    assert.is(readRecoveryKey(text), undefined, text);
});

test('at a prompt it may be typed line by line; a password that looks like a line stays one', async () => {
  const asked: string[] = [];
  const answering = (...answers: string[]): Context =>
    createContext({
      prompts: prompts((question) => {
        asked.push(question);
        return answers.shift() ?? '';
      }),
    });
  const lines = recoveryLines(randomBytes(32));
  const ask = (ctx: Context): Promise<GivenSecret> => askedSecret({ question: 'Key:', what: 'ring', flags: '' }, ctx);
  assert.equal(await ask(answering(...lines)), { kind: 'password', password: lines.join('\n') });
  assert.equal(
    asked.slice(1),
    [2, 3, 4].map((line) => `Recovery key, line ${line} of 4:`),
  );
  assert.equal(await ask(answering(lines.join(' '))), { kind: 'password', password: lines.join(' ') });
  assert.equal(await ask(answering(lines[0] ?? '', '')), { kind: 'password', password: lines[0] });
  assert.is((await refusal(ask(answering(lines[0] ?? '', lines[2] ?? '')))).exitCode, 8);
});

// --- a group ---

function prompts(answer: (question: string) => string): Prompts {
  const no = (): never => {
    throw new Error('not this question');
  };
  return { interactive: true, confirm: no, choose: no, input: no, secret: async (question) => answer(question) };
}

const ringAt = (root: string): string => join(root, '.tandem', 'keyring.json');
const readAt = (root: string): Keyring => JSON.parse(readFileSync(ringAt(root), 'utf8')) as Keyring;
const ownRing = ({ box }: TestPair, group: Group): string => join(box.data, 'keyrings', `${group.id}.json`);

interface Opened {
  key: GroupKey;
  warnings: string[];
}

/** As a process of its own would, with this typed at the prompt. */
async function open(pair: TestPair, typed: string, options: ContextOptions = {}): Promise<Opened> {
  const warnings: string[] = [];
  const emit = (event: TandemEvent): void => void (event.kind === 'warning' && warnings.push(event.message));
  const ctx = pair.context({ emit, prompts: prompts(() => typed), ...options });
  const group = getGroup('Archive', ctx);
  return { key: await withDrives(group, ctx, (drives) => groupKey(group, drives, ctx)), warnings };
}

const fails = async (pair: TestPair, typed: string, options?: ContextOptions) => refusal(open(pair, typed, options));

async function withRing(work: (pair: TestPair, group: Group, paper: string[]) => Promise<void>): Promise<void> {
  await withPair({}, async (pair) => {
    const group = getGroup('Archive', pair.ctx);
    const { recovery } = await initKeyring(group, { ...PASSWORD }, pair.ctx);
    await work(pair, group, recovery);
  });
}

async function withEnvironment<T>(password: string, work: () => Promise<T>): Promise<T> {
  const before = process.env['TANDEM_PASSWORD'];
  process.env['TANDEM_PASSWORD'] = password;
  try {
    return await work();
  } finally {
    if (before === undefined) delete process.env['TANDEM_PASSWORD'];
    else process.env['TANDEM_PASSWORD'] = before;
  }
}

function secretFile(pair: TestPair, name: string, content: string | Uint8Array): string {
  const path = join(pair.box.root, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

test('password and recovery key open the same key; it is asked for once in a process, and reading writes nothing', () =>
  withRing(async (pair, group, lines) => {
    const before = [snapshotOf(pair.master), snapshotOf(pair.backup)];
    const { key } = await open(pair, 'correct horse\n');
    for (const typed of [lines.join('\n'), lines.join('').toLowerCase()])
      assert.ok((await open(pair, typed)).key.key.equals(key.key));
    assert.equal([snapshotOf(pair.master), snapshotOf(pair.backup)], before);
    let asked = 0;
    const ctx = pair.context({
      prompts: prompts(() => {
        asked += 1;
        return PASSWORD.password;
      }),
    });
    const again = (): Promise<GroupKey> => withDrives(group, ctx, (drives) => groupKey(group, drives, ctx));
    (await again()).key.fill(0);
    assert.ok((await again()).key.equals(key.key), 'who wipes a key wipes a copy');
    assert.is(asked, 1);
    for (const path of [ringAt(pair.master), ringAt(pair.backup), ownRing(pair, group)])
      assert.is(readFileSync(path, 'utf8'), readFileSync(ringAt(pair.master), 'utf8'));
    assert.is(statSync(ownRing(pair, group)).mode & 0o777, 0o600);
    for (const drive of [pair.master, pair.backup])
      assert.not(JSON.stringify(readAt(drive)).includes(key.key.toString('hex')));
  }));

test('a wrong secret is exit 8 with the same words whatever was wrong; none at all, and no terminal, too', () =>
  withRing(async (pair, _group, lines) => {
    const mistyped = lines.join('').replace(/.$/, (sign) => (sign === '0' ? '2' : '0'));
    const errors = [
      await fails(pair, 'correct horsE'),
      await fails(pair, mistyped),
      await fails(pair, 'x'.repeat(500)),
    ];
    assert.equal(
      [...new Set(errors.map(({ message }) => message))],
      ["The password or key does not open the key ring of 'Archive'."],
    );
    assert.equal(
      errors.map(({ exitCode }) => exitCode),
      [8, 8, 8],
    );
    assert.match(errors[1]?.hint ?? '', /recovery key, line 4 has a mistake/);
    assert.not.match(errors.map(({ message, hint }) => `${message}${hint}`).join(), /correct|xxx/);
    const ctx = pair.context();
    const silent = await refusal(
      withDrives(getGroup('Archive', ctx), ctx, (drives) => groupKey(getGroup('Archive', ctx), drives, ctx)),
    );
    assert.equal(
      [silent.exitCode, /no terminal/.test(silent.message), /TANDEM_PASSWORD/.test(silent.hint ?? '')],
      [8, true, true],
    );
  }));

test('unattended: key file and password file of the options, then TANDEM_PASSWORD; readable by others is refused', () =>
  withRing(async (pair, group, lines) => {
    const { key } = await open(pair, 'correct horse');
    const bytes = randomBytes(64);
    const keyFile = secretFile(pair, 'key', bytes);
    await changeKeyring(group, key, (slots, wrap) => [...slots, wrap({ kind: 'key_file', bytes }, 'vault')], pair.ctx);
    const silently = async (...options: string[]): Promise<Opened> => {
      await setGroupOptions(
        'Archive',
        ['encryption_key_file=', 'encryption_password_file=', ...options],
        undefined,
        pair.ctx,
      );
      return open(pair, '', { prompts: prompts(() => assert.unreachable('nobody is asked') as never) });
    };
    const passwordFile = secretFile(pair, 'pw', 'correct horse\n');
    const paperFile = secretFile(pair, 'paper', `${lines.join('\n')}\n`);
    for (const option of [
      `encryption_key_file=${keyFile}`,
      `encryption_password_file=${passwordFile}`,
      `encryption_password_file=${paperFile}`,
    ])
      assert.ok((await silently(option)).key.key.equals(key.key), option);
    const elsewhere = await withEnvironment('correct horse', () => silently(`encryption_key_file=${keyFile}-away`));
    assert.match(elsewhere.warnings.join(), /not on this computer/);
    assert.is((await refusal(silently(`encryption_password_file=${secretFile(pair, 'no', 'wrong')}`))).exitCode, 8);
    assert.is(
      (await refusal(silently(`encryption_key_file=${secretFile(pair, 'other', randomBytes(64))}`))).exitCode,
      8,
    );
    assert.match(
      (await refusal(silently(`encryption_key_file=${secretFile(pair, 'short', randomBytes(31))}`))).message,
      /31 bytes/,
    );
    chmodSync(passwordFile, 0o604);
    const open604 = await refusal(silently(`encryption_password_file=${passwordFile}`));
    assert.match(open604.message, /Others may read .* \(its mode is 604\)/);
    assert.is((await refusal(withEnvironment('wrong', () => silently()))).exitCode, 8);
  }));

test('one drive alone, and a computer that never saw the group: the password is enough', () =>
  withRing(async (pair, group) => {
    const { key } = await open(pair, 'correct horse');
    for (const away of [pair.master, pair.backup]) {
      const data = mkdtempSync(join(tmpdir(), 'tandem-other-'));
      const config = mkdtempSync(join(tmpdir(), 'tandem-other-'));
      renameSync(away, `${away}-away`);
      try {
        writeFileSync(join(config, 'app.yaml'), readFileSync(join(pair.box.config, 'app.yaml')));
        writeFileSync(join(config, 'storage_groups.yaml'), readFileSync(join(pair.box.config, 'storage_groups.yaml')));
        const there = await open(pair, 'correct horse', { configDir: config, dataDir: data });
        assert.ok(there.key.key.equals(key.key));
        assert.not(existsSync(join(data, 'keyrings')), 'reading leaves nothing behind');
      } finally {
        renameSync(`${away}-away`, away);
        for (const folder of [data, config]) rmSync(folder, { recursive: true, force: true });
      }
    }
    const config = mkdtempSync(join(tmpdir(), 'tandem-other-'));
    try {
      writeFileSync(join(config, 'app.yaml'), readFileSync(join(pair.box.config, 'app.yaml')));
      const ctx = pair.context({ configDir: config, dataDir: config, prompts: prompts(() => 'correct horse') });
      const adopted = await adoptGroup(undefined, 'Taken', ctx);
      assert.is(adopted.group.id, group.id);
      const again = await withDrives(adopted.group, ctx, (drives) => groupKey(adopted.group, drives, ctx));
      assert.ok(again.key.equals(key.key));
    } finally {
      rmSync(config, { recursive: true, force: true });
    }
  }));

test('no ring: exit 8 with the next step; init wants both drives, no ring, and no other writer', () =>
  withPair({}, async (pair) => {
    const group = getGroup('Archive', pair.ctx);
    const none = await fails(pair, 'x');
    assert.equal([none.exitCode, none.hint], [8, 'Make it with: tandem encrypt init Archive']);
    assert.is(await withDrives(group, pair.ctx, (drives) => hasKeyring(group, drives, pair.ctx)), false);
    let asked = 0;
    const secret = (): GivenSecret => {
      asked += 1;
      return { ...PASSWORD };
    };
    const init = () => refusal(initKeyring(group, secret, pair.ctx));
    renameSync(pair.backup, `${pair.backup}-away`);
    const away = await init();
    assert.equal([away.exitCode, /Backup 'BACKUP' of 'Archive' is not connected/.test(away.message)], [5, true]);
    assert.match((await fails(pair, 'x')).message, /A drive that is not connected may carry it/);
    renameSync(`${pair.backup}-away`, pair.backup);
    assert.is(asked, 0, 'nobody is asked for nothing');
    const root = openRoot(pair.backup);
    const never = new AbortController().signal;
    const lock = await DriveLock.acquire(root, {
      label: 'BACKUP',
      wait: 0,
      breakLock: false,
      network: false,
      signal: never,
    });
    assert.is((await init()).exitCode, 7);
    lock.release();
    closeFolder(root);
    // What stands where the Backup's copy is written: the Master's is taken back.
    mkdirSync(`${ringAt(pair.backup)}.partial`);
    const failed = await init();
    assert.equal([failed.code, /could not be written/.test(failed.message)], ['failed', true]);
    for (const drive of [pair.master, pair.backup]) assert.not(existsSync(ringAt(drive)));
    assert.not(existsSync(ownRing(pair, group)));
    rmSync(`${ringAt(pair.backup)}.partial`, { recursive: true });
    for (const drive of [pair.master, pair.backup]) assert.not(existsSync(join(drive, '.tandem', 'lock')));
    await initKeyring(group, secret, pair.ctx);
    const before = readFileSync(ringAt(pair.master), 'utf8');
    const second = await init();
    assert.equal([second.code, /has a key ring already/.test(second.message)], ['invalid', true]);
    rmSync(ringAt(pair.master));
    rmSync(ringAt(pair.backup));
    assert.match((await init()).message, /already, on this computer/);
    assert.is(readFileSync(ownRing(pair, group), 'utf8'), before);
  }));

test('a copy that cannot be used is said and left alone, and the others open', () =>
  withRing(async (pair, group) => {
    const good = readFileSync(ringAt(pair.master), 'utf8');
    const { key } = await open(pair, 'correct horse');
    const cases: [string, RegExp][] = [
      [good.slice(0, 300), /cut off or no JSON/],
      ['', /cut off/],
      [good.replace('"version": 1', '"version": 2'), /newer tandem/],
      [good.replace(group.id, GROUP), /that of another group/],
      [`${' '.repeat(1024 * 1024)}${good}`, /not a small plain file/],
    ];
    for (const [text, message] of cases) {
      writeFileSync(ringAt(pair.master), text);
      const { key: again, warnings } = await open(pair, 'correct horse');
      assert.ok(again.key.equals(key.key));
      assert.is(warnings.length, 1);
      assert.match(warnings[0] ?? '', message);
      const changed = await changeKeyring(group, key, (slots) => [...slots], pair.ctx);
      assert.match(changed.problems.join(), message);
      assert.is(readFileSync(ringAt(pair.master), 'utf8'), text);
      const status = await keyringStatus(group, pair.ctx);
      assert.equal(
        [status.agree, status.copies.map(({ state }) => state)],
        [false, ['unusable', 'current', 'current']],
      );
    }
    rmSync(ringAt(pair.master));
    symlinkSync(ringAt(pair.backup), ringAt(pair.master));
    assert.is((await open(pair, 'correct horse')).warnings.length, 1, 'a link is not followed');
    rmSync(ringAt(pair.backup));
    rmSync(ownRing(pair, group));
    const only = await fails(pair, 'correct horse');
    assert.equal([only.exitCode, /on the Master 'MASTER' cannot be used/.test(only.message)], [8, true]);
    assert.match((await refusal(initKeyring(group, { ...PASSWORD }, pair.ctx))).message, /cannot be used/);
  }));

test('rings of different keys are a conflict, said with their places, and nothing is written', () =>
  withRing(async (pair, group) => {
    const { key } = await open(pair, 'correct horse');
    const other = newGroupKey();
    const slot = wrapKey(other, group.id, { kind: 'password', password: 'correct horse' }, ABOUT);
    const foreign = ringText(
      signRing(
        { group_id: group.id, key_id: other.keyId.toString('hex'), modified: CREATED, slots: [slot], removed: [] },
        other,
      ),
    );
    writeFileSync(ringAt(pair.backup), foreign);
    const error = await fails(pair, 'correct horse');
    assert.is(error.exitCode, 8);
    assert.match(error.message, /the Master 'MASTER' holds [0-9a-f]{8}, the Backup 'BACKUP' holds [0-9a-f]{8}/);
    assert.is((await refusal(changeKeyring(group, key, (slots) => [...slots], pair.ctx))).exitCode, 8);
    const problems = await withDrives(group, pair.ctx, (drives) =>
      spreadKeyring(group, key, drives, () => {}, pair.ctx),
    );
    assert.is(problems.length, 1);
    assert.is(readFileSync(ringAt(pair.backup), 'utf8'), foreign);
    const status = await keyringStatus(group, pair.ctx);
    assert.equal([status.key_id, status.agree, status.slots], [null, false, []]);
  }));

test('a removed password opens nothing, not even with an old ring put back; a forged removal locks nobody out', () =>
  withRing(async (pair, group, lines) => {
    const old = readFileSync(ringAt(pair.master), 'utf8');
    const { key } = await open(pair, 'correct horse');
    const isPassword = ({ kind }: Slot): boolean => kind === 'password';
    await changeKeyring(
      group,
      key,
      (slots, wrap) => [...slots.filter((one) => !isPassword(one)), wrap({ kind: 'password', password: 'second' }, '')],
      pair.ctx,
    );
    writeFileSync(ringAt(pair.master), old);
    assert.is((await fails(pair, 'correct horse')).exitCode, 8);
    assert.ok((await open(pair, 'second')).key.key.equals(key.key));
    assert.is((await keyringStatus(group, pair.ctx)).copies[0]?.state, 'older');
    assert.equal(
      await withDrives(group, pair.ctx, (drives) => spreadKeyring(group, key, drives, () => {}, pair.ctx)),
      [],
    );
    assert.equal(readAt(pair.master), readAt(pair.backup));
    const good = readAt(pair.backup);
    // Somebody who has the drive says that every slot was removed, or slips in one of his own.
    const theirs = wrapKey(newGroupKey(), group.id, { kind: 'password', password: 'evil' }, ABOUT);
    for (const forged of [
      { removed: good.slots.map(({ salt }) => salt) },
      { slots: [theirs] },
      { slots: [theirs, ...good.slots] },
    ]) {
      writeFileSync(ringAt(pair.backup), JSON.stringify({ ...good, ...forged }));
      for (const typed of ['second', lines.join('')]) {
        const { key: again, warnings } = await open(pair, typed);
        assert.ok(again.key.equals(key.key));
        assert.match(warnings.join(), /the Backup 'BACKUP' cannot be used: it was altered/);
      }
      assert.is((await fails(pair, 'evil')).exitCode, 8);
      const { ring, problems } = await changeKeyring(group, key, (slots) => [...slots], pair.ctx);
      assert.equal([ring.slots.length, problems.length], [2, 1]);
      assert.is(readAt(pair.master).slots.length, 2);
    }
  }));

test('changes: the last slot stays, a drive that was away gets it later, no other writer, the right drive', () =>
  withRing(async (pair, group) => {
    const { key } = await open(pair, 'correct horse');
    const before = readFileSync(ringAt(pair.master), 'utf8');
    const change = (ctx = pair.ctx) =>
      changeKeyring(
        group,
        key,
        (slots, wrap) => [...slots, wrap({ kind: 'password', password: 'more' }, 'second')],
        ctx,
      );
    const last = await refusal(changeKeyring(group, key, () => [], pair.ctx));
    assert.equal([last.code, /last slot .* cannot be removed/.test(last.message)], ['invalid', true]);
    const many = await refusal(
      changeKeyring(group, key, (slots) => Array.from({ length: 33 }, () => slots[0] as Slot), pair.ctx),
    );
    assert.is(many.code, 'invalid');
    const root = openRoot(pair.master);
    const never = new AbortController().signal;
    const lock = await DriveLock.acquire(root, {
      label: 'MASTER',
      wait: 0,
      breakLock: false,
      network: false,
      signal: never,
    });
    assert.is((await refusal(change())).exitCode, 7);
    lock.release();
    closeFolder(root);
    assert.is(readFileSync(ringAt(pair.master), 'utf8'), before);
    renameSync(pair.backup, `${pair.backup}-away`);
    await change();
    renameSync(pair.master, `${pair.master}-away`);
    assert.is((await refusal(change())).exitCode, 5);
    for (const drive of [pair.master, pair.backup]) renameSync(`${drive}-away`, drive);
    assert.is(readFileSync(ringAt(pair.backup), 'utf8'), before);
    const proved: number[] = [];
    const spread = () =>
      withDrives(group, pair.ctx, (drives) => spreadKeyring(group, key, drives, () => proved.push(1), pair.ctx));
    assert.equal([await spread(), await spread(), proved.length], [[], [], 1]);
    assert.equal(readAt(pair.backup), readAt(pair.master));
    assert.ok((await keyringStatus(group, pair.ctx)).agree);
    assert.equal(
      [pair.master, pair.backup].map((drive) =>
        readdirSync(join(drive, '.tandem')).filter((name) => /partial|lock/.test(name)),
      ),
      [[], []],
    );
  }));

test('a drive that took the place of a lost one gets the ring', () =>
  withRing(async (pair) => {
    const { key } = await open(pair, 'correct horse');
    rmSync(join(pair.backup, '.tandem'), { recursive: true });
    const drives = await listDrives(pair.ctx);
    const { group } = await replaceDrive('Archive', 'backup', findDrive('BACKUP', drives), pair.ctx);
    assert.not(existsSync(ringAt(pair.backup)));
    await withDrives(group, pair.ctx, (roots) => spreadKeyring(group, key, roots, () => {}, pair.ctx));
    assert.equal(readAt(pair.backup), readAt(pair.master));
  }));

// --- the command line ---

test('encrypt init, password and status, as they are typed', () =>
  withPair({}, async (pair) => {
    const file = (name: string, text: string | Uint8Array): string => secretFile(pair, name, text);
    const [first, second, keyFile] = [file('first', 'one\n'), file('second', 'two\n'), file('key', randomBytes(40))];
    const encrypt = async (
      words: string[],
      code = 0,
      env: Record<string, string> = {},
      input = '',
    ): Promise<string> => {
      const result = await pair.box.run(['encrypt', ...words], { env: { TANDEM_PASSWORD: '', ...env }, input });
      assert.is(result.code, code, `${words.join(' ')}: ${result.stdout}${result.stderr}`);
      return result.stdout + result.stderr;
    };
    const json = async (words: string[], env = {}): Promise<Record<string, never>> =>
      JSON.parse(await encrypt([...words, '--json'], 0, env)) as Record<string, never>;
    assert.match(await encrypt(['status', 'Archive']), /no key ring. Make it with: tandem encrypt init Archive/);
    assert.match(await encrypt(['password', 'Archive', '--add', '--password-file', first], 8), /has no key ring/);
    assert.match(await encrypt(['init', 'Archive'], 2), /--password-file FILE or --key-file FILE/);
    assert.match(await encrypt(['init', 'Archive', '--password-file', first, '--key-file', keyFile], 2), /not both/);
    const made = await json(['init', 'Archive', '--password-file', first, '--label', 'mine']);
    const recovery = String(made['recovery_key']);
    assert.ok('key' in (readRecoveryKey(recovery) ?? {}));
    for (const path of [ringAt(pair.master), join(pair.box.data, 'keyrings')])
      assert.not(
        JSON.stringify(existsSync(path) && statSync(path).isFile() ? readFileSync(path, 'utf8') : '').includes(
          recovery.slice(0, 17),
        ),
      );
    assert.match(await encrypt(['init', 'Archive', '--password-file', first], 2), /has a key ring already/);
    const listed = await encrypt(['password', 'Archive']);
    assert.match(listed, /1 {2}[0-9a-f]{8} {2}password +[-\d]+ [:\d]+ {2}mine\n +2 {2}[0-9a-f]{8} {2}recovery key/);
    assert.match(
      await encrypt(['password', 'Archive', '--add', '--new-key-file', keyFile, '--password-file', second], 8),
      /does not open/,
    );
    await encrypt(['password', 'Archive', '--add', '--new-key-file', keyFile], 0, { TANDEM_PASSWORD: recovery });
    await encrypt(['password', 'Archive', '--change', '--new-password-file', second, '--key-file', keyFile]);
    await encrypt(['password', 'Archive', '--add', '--recovery', '--password-file', first], 8);
    const more = await json(['password', 'Archive', '--add', '--recovery', '--password-file', second]);
    assert.not(String(more['recovery_key']) === recovery);
    assert.match(await encrypt(['password', 'Archive', '--remove', '1', '--password-file', second], 2), /Give --yes/);
    assert.match(
      await encrypt(['password', 'Archive', '--remove', '1', '--password-file', '-', '--yes'], 0, {}, 'two\n'),
      /Removed a slot/,
    );
    await encrypt(['password', 'Archive', '--remove', '1', '--password-file', file('old-paper', recovery), '--yes'], 8);
    const twice = ['--password-file', '-', '--new-password-file', '-'];
    await encrypt(['password', 'Archive', '--add', ...twice], 0, {}, 'two\nthree words\n');
    const added = await json(['password', 'Archive']);
    const fresh = (added['slots'] as unknown as { id: string; kind: string }[])
      .filter(({ kind }) => kind === 'password')
      .at(-1);
    const paper = `${String(more['recovery_key']).replaceAll(' ', '\n')}\nfour`;
    await encrypt(['password', 'Archive', '--change', String(fresh?.id), ...twice], 0, {}, paper);
    const slots = (await json(['password', 'Archive']))['slots'] as unknown as { id: string; kind: string }[];
    const last = slots.filter(({ kind }) => kind === 'password').at(-1);
    await encrypt(
      ['password', 'Archive', '--remove', String(last?.id), '--password-file', '-', '--yes'],
      0,
      {},
      'four\n',
    );
    const wrong: [string[], RegExp][] = [
      [['--remove', '9'], /has no slot '9'/],
      [['--change', '--remove', '1'], /one thing is done at a time/],
      [['--recovery'], /nothing that it is for/],
      [['--remove', '1', '--new-key-file', keyFile], /nothing that it is for/],
      [['--add', '--recovery', '--new-key-file', keyFile], /made by tandem/],
      [['--add', '--label', 'x'.repeat(61)], /at most 60/],
      [['--add', '--new-password-file', '-', '--password-file', '-'], /has one line/],
    ];
    for (const [words, message] of wrong)
      assert.match(
        await encrypt(
          [
            'password',
            'Archive',
            ...(words.includes('--password-file') ? words : [...words, '--password-file', second]),
          ],
          2,
        ),
        message,
      );
    const status = await json(['status', 'Archive']);
    assert.equal(
      [status['agree'], (status['slots'] as unknown as { kind: string }[]).map(({ kind }) => kind).sort()],
      [true, ['key_file', 'password', 'recovery']],
    );
    assert.match(
      (await pair.box.run(['groups', 'set', 'Archive', 'enable_encryption=true'])).stdout,
      /tandem encrypt init Archive/,
    );
  }));

const python = spawnSync('python3', ['-c', 'import cryptography'], { encoding: 'utf8' });
if (python.status === 0) {
  test('a program in another language, written from the description alone, gets the key out of the ring', () =>
    withRing(async (pair, group, lines) => {
      const { key } = await open(pair, 'correct horse');
      const bytes = randomBytes(50);
      await changeKeyring(
        group,
        key,
        (slots, wrap) => [...slots, wrap({ kind: 'key_file', bytes }, 'Grün & alt')],
        pair.ctx,
      );
      const secrets: [string, string][] = [
        ['password', secretFile(pair, 'pw', 'correct horse\n')],
        ['recovery', secretFile(pair, 'paper', lines.join('\n').toLowerCase())],
        ['key_file', secretFile(pair, 'key', bytes)],
      ];
      const script = join(REPOSITORY, 'tests/fixtures/sealed/ring.py');
      for (const [kind, file] of secrets) {
        const { stdout, stderr, status } = spawnSync('python3', [script, kind, file, ringAt(pair.backup)], {
          encoding: 'utf8',
        });
        assert.equal([status, stdout.trim()], [0, key.key.toString('hex')], `${kind}: ${stderr}`);
      }
      const wrong = spawnSync('python3', [script, 'password', secretFile(pair, 'no', 'x'), ringAt(pair.backup)]);
      assert.is(wrong.status, 1);
    }));
} else skipped('a key ring in another language', 'python3-cryptography is not there');

test.run();
