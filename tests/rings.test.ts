/** `tandem doctor` about the keys of sealed groups: every finding, and that it opens, asks for and writes nothing. */
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { runChecks } from '../features/doctor.ts';
import { getGroup, setGroupOptions } from '../features/groups.ts';
import { initKeyring } from '../features/keyring.ts';
import type { Check } from '../shared/checks.ts';
import { snapshotOf, type TestPair, withPair } from './helpers/pair.ts';

const test = suite('rings');

const RING = '.tandem/keyring.json';
const NAMES = ['key ring', 'encryption_password_file', 'encryption_key_file'];

async function withRing(work: (pair: TestPair, password: string) => Promise<void>): Promise<void> {
  await withPair({}, async (pair) => {
    const password = join(pair.box.root, 'password');
    writeFileSync(password, 'a wedding in June', { mode: 0o600 });
    await initKeyring(getGroup('Archive', pair.ctx), { kind: 'password', password: 'a wedding in June' }, pair.ctx);
    await set(pair, 'enable_encryption=true', `encryption_password_file=${password}`);
    await work(pair, password);
  });
}

async function set(pair: TestPair, ...words: string[]): Promise<void> {
  await setGroupOptions('Archive', words, undefined, pair.ctx);
}

/** What the doctor says of keys, as `name status message`. */
async function said(pair: TestPair): Promise<string[]> {
  const checks = (await runChecks(pair.context())).filter(({ name }) => NAMES.includes(name.split(':')[0] ?? ''));
  for (const { message, hint, status } of checks) {
    assert.match(message, /\.$/);
    assert.is(hint === null, status === 'ok');
  }
  return checks.map(({ name, status, message }: Check) => `${name} ${status} ${message}`);
}

const ringOf = (pair: TestPair): string => {
  const [name = ''] = readdirSync(join(pair.box.data, 'keyrings'));
  return join(pair.box.data, 'keyrings', name);
};

test('a plain group without a ring is nothing to talk of', async () => {
  await withPair({}, async (pair) => assert.equal(await said(pair), []));
});

test('all in order: one line for the ring, one for the file; no secret is opened and nothing is written', async () => {
  await withRing(async (pair, password) => {
    const roots = [pair.master, pair.backup, pair.box.data, pair.box.config];
    const before = roots.map(snapshotOf);
    const read = statSync(password, { bigint: true }).atimeNs;
    const [ring = '', file = '', ...rest] = await said(pair);
    assert.match(ring, /^key ring:Archive ok .* is the same wherever it was looked for/);
    assert.match(file, /^encryption_password_file:Archive ok .* only you can read it/);
    assert.equal(rest, []);
    assert.equal(roots.map(snapshotOf), before);
    assert.is(statSync(password, { bigint: true }).atimeNs, read);
  });
});

test('a group that is to be sealed and has no ring anywhere', async () => {
  await withPair({}, async (pair) => {
    await set(pair, 'enable_encryption=true');
    assert.match(
      (await said(pair))[0] ?? '',
      /^key ring:Archive fail .* has no key ring: its next sync will be refused/,
    );
    rmSync(join(pair.backup, '.tandem'), { recursive: true });
    assert.match((await said(pair))[0] ?? '', /fail .* no key ring is on this computer or a connected drive/);
  });
});

test('rings that differ: another key, an older one, a missing one, one that cannot be read', async () => {
  await withRing(async (pair) => {
    const good = readFileSync(join(pair.backup, RING), 'utf8');
    const put = (text: string): void => writeFileSync(join(pair.backup, RING), text);
    const id = (JSON.parse(good) as { key_id: string }).key_id;
    put(good.replaceAll(id, 'f'.repeat(32)));
    assert.match((await said(pair))[0] ?? '', /fail .* different keys: .*'MASTER' holds .*'BACKUP' holds ffffffff/);
    put(good.slice(0, 100));
    assert.match((await said(pair))[0] ?? '', /fail .* on the Backup 'BACKUP' cannot be used/);
    rmSync(join(pair.backup, RING));
    assert.match((await said(pair))[0] ?? '', /warn .* missing or older on the Backup 'BACKUP'/);
    put(good);
    const slotless = JSON.parse(readFileSync(ringOf(pair), 'utf8')) as { slots: unknown[] };
    writeFileSync(ringOf(pair), JSON.stringify({ ...slotless, slots: slotless.slots.slice(1) }));
    assert.match((await said(pair))[0] ?? '', /warn .* missing or older on this computer/);
  });
});

test('a drive that is away is no finding, and neither is encryption that was turned off', async () => {
  await withRing(async (pair) => {
    renameSync(join(pair.backup, '.tandem'), join(pair.backup, 'gone'));
    assert.match((await said(pair))[0] ?? '', /^key ring:Archive ok /);
    renameSync(join(pair.backup, 'gone'), join(pair.backup, '.tandem'));
    await set(pair, 'enable_encryption=false');
    assert.equal((await said(pair)).length, 1, 'the ring still opens old versions; the file is not needed');
  });
});

test('the file that holds the secret: missing, readable by others, no file', async () => {
  await withRing(async (pair, password) => {
    chmodSync(password, 0o644);
    assert.match((await said(pair))[1] ?? '', /^encryption_password_file:Archive fail .*read by others .*644/);
    rmSync(password);
    assert.match((await said(pair))[1] ?? '', /^encryption_password_file:Archive warn .* is not on this computer/);
    mkdirSync(password);
    assert.match((await said(pair))[1] ?? '', /fail .* is no file/);
    const key = join(pair.box.root, 'key');
    cpSync(process.execPath, key);
    chmodSync(key, 0o640);
    await set(pair, 'encryption_password_file=', `encryption_key_file=${key}`);
    assert.match((await said(pair))[1] ?? '', /^encryption_key_file:Archive fail .*640/);
  });
});

test.run();
