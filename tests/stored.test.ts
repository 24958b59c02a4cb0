/** Groups whose Backup is compressed, sealed or both: every feature works on it as on a plain one. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listConflicts, resolveConflicts } from '../features/conflicts.ts';
import { inspectSealed, openFile } from '../features/encrypt.ts';
import { getGroup, setGroupOptions } from '../features/groups.ts';
import { initKeyring, keyOfFile } from '../features/keyring.ts';
import { planRestore, restoreFromBackup } from '../features/restore.ts';
import { undoOperation } from '../features/undo.ts';
import { verifyFiles } from '../features/verify.ts';
import type { TandemError } from '../shared/errors.ts';
import type { SparseOptions } from '../shared/options.ts';
import './helpers/inline-workers.ts';
import { type TestPair, withPair } from './helpers/pair.ts';

const test = suite('stored');

const PASSWORD = 'a wedding in June';
const old = new Date(Date.now() - 3_600_000);

/** A pair whose Backup is stored so, with a key ring and some files. */
async function withStored(options: SparseOptions, work: (pair: TestPair) => Promise<void>): Promise<void> {
  await withPair({}, async (pair) => {
    const file = join(pair.box.root, 'password');
    writeFileSync(file, PASSWORD, { mode: 0o600 });
    await initKeyring(getGroup('Archive', pair.ctx), { kind: 'password', password: PASSWORD }, pair.ctx);
    await setForm(pair, { encryption_password_file: file, ...options });
    fill(pair.master);
    await work(pair);
  });
}

const FORM_KEYS = ['enable_compression', 'compression_type', 'compression_level', 'enable_encryption'] as const;

/** What is not named is as it is by default. */
async function setForm(pair: TestPair, options: SparseOptions): Promise<void> {
  const words = Object.entries({ ...Object.fromEntries(FORM_KEYS.map((key) => [key, ''])), ...options });
  await setGroupOptions(
    'Archive',
    words.map(([key, value]) => `${key}=${String(value)}`),
    undefined,
    pair.ctx,
  );
}

function put(root: string, path: string, content: string | Buffer): void {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), content);
  utimesSync(join(root, path), old, old);
}

function fill(root: string): void {
  put(root, 'notes.txt', 'line after line\n'.repeat(5000));
  put(root, 'Wedding/IMG_1.CR3', randomBytes(200_000));
  put(root, 'Wedding/IMG_1.xmp', '<x/>');
  put(root, 'Wedding/archive.gz', 'not compressed, only called so');
  put(root, 'Wedding/cube.lz4', randomBytes(3000));
  put(root, 'Wedding/contract.pdf.encrypted', 'sealed by nobody');
  put(root, 'empty', '');
  put(root, '-dash \\ "quote" €.txt', 'hostile');
  symlinkSync('notes.txt', join(root, 'link'));
  linkSync(join(root, 'notes.txt'), join(root, 'same-notes.txt'));
}

/** What a user would find: names, contents, times to the second. */
function tree(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name).slice(root.length + 1);
    if (path.startsWith('.tandem')) continue;
    if (entry.isFile())
      found[path] =
        `${readFileSync(join(root, path)).toString('base64').slice(0, 400)} ${Math.floor(statSync(join(root, path)).mtimeMs / 1000)}`;
    else found[path] = entry.isDirectory() ? 'd' : 'l';
  }
  return found;
}

const names = (root: string): string[] => Object.keys(tree(root)).sort();

const FORMS: [string, SparseOptions][] = [
  ['gzip', { enable_compression: true }],
  ['lz4', { enable_compression: true, compression_type: 'lz4', compression_level: 1 }],
  ['sealed', { enable_encryption: true }],
  [
    'lz4 and sealed',
    { enable_encryption: true, enable_compression: true, compression_type: 'lz4', compression_level: 1 },
  ],
];

for (const [form, options] of FORMS)
  test(`${form}: copied, edited, renamed, deleted, verified and restored as it was`, async () => {
    await withStored(options, async (pair) => {
      const first = await pair.sync();
      assert.equal([first.status, first.files_copied, first.problems], ['completed', 10, []]);
      const stored = names(pair.backup).filter((name) => !['Wedding', 'link'].includes(name));
      assert.ok(
        stored.every((name) => /\.(gz|lz4|encrypted)$/.test(name)),
        stored.join(),
      );
      assert.is((await pair.sync()).files_copied, 0);
      appendFileSync(join(pair.master, 'empty'), 'no longer');
      renameSync(join(pair.master, 'Wedding'), join(pair.master, 'Wedding 2026'));
      renameSync(join(pair.master, 'same-notes.txt'), join(pair.master, 'renamed.txt'));
      unlinkSync(join(pair.master, '-dash \\ "quote" €.txt'));
      const second = await pair.sync({ options: { on_master_delete: 'trash' } });
      // One of several names of a file is no rename: it goes, and the other name comes.
      assert.equal([second.status, second.files_deleted, second.problems], ['completed', 2, []]);
      const verified = await verifyFiles('Archive', {}, pair.ctx);
      assert.equal([verified.status, verified.findings], ['completed', []]);
      const out = join(pair.box.root, 'out');
      const restored = await restoreFromBackup('Archive', { to: out }, pair.ctx);
      assert.equal([restored.status, restored.problems], ['completed', []]);
      assert.equal(tree(out), tree(pair.master));
      assert.is((await pair.sync()).files_copied, 0);
    });
  });

test('other programs open what is compressed', async () => {
  await withStored({ enable_compression: true }, async (pair) => {
    await pair.sync();
    const plain = spawnSync('gunzip', ['-c', join(pair.backup, 'notes.txt.gz')], { maxBuffer: 1e8 });
    assert.ok(plain.stdout.equals(readFileSync(join(pair.master, 'notes.txt'))));
    await setForm(pair, { enable_compression: true, compression_type: 'lz4', compression_level: 9 });
    await pair.sync();
    const other = spawnSync('lz4', ['-dc', join(pair.backup, 'notes.txt.lz4')], { maxBuffer: 1e8 });
    assert.ok(other.stdout.equals(readFileSync(join(pair.master, 'notes.txt'))));
  });
});

test('from any form to any other: every file is converted once, and each state between is whole', async () => {
  await withStored({}, async (pair) => {
    const file = join(pair.box.root, 'password');
    const turns: SparseOptions[] = [{}, ...FORMS.map(([, one]) => one), {}, ...FORMS.map(([, one]) => one).reverse()];
    await pair.sync();
    for (const one of turns) {
      await setForm(pair, { encryption_password_file: file, ...one });
      const part = await pair.sync({ path: 'Wedding' });
      assert.equal([part.status, part.problems], ['completed', []], JSON.stringify(one));
      const verified = await verifyFiles('Archive', { side: 'backup' }, pair.ctx);
      assert.equal([verified.status, verified.findings], ['completed', []], JSON.stringify(one));
      const rest = await pair.sync();
      assert.equal([rest.status, rest.problems], ['completed', []], JSON.stringify(one));
      const none = await pair.sync();
      assert.equal([none.files_copied, none.problems], [0, []], JSON.stringify(one));
      const out = join(pair.box.root, 'out');
      await restoreFromBackup('Archive', { to: out }, pair.ctx);
      assert.equal(tree(out), tree(pair.master), JSON.stringify(one));
      rmSync(out, { recursive: true });
    }
    assert.not.ok(existsSync(join(pair.backup, '.tandem/trash')), 'conversions keep no version');
  });
});

test('what rotted on the Master is not converted: the good copy stays', async () => {
  await withStored({}, async (pair) => {
    await pair.sync();
    const [row] = (await pair.rows()).filter(({ path }) => path === 'notes.txt');
    const db = await pair.ctx.db();
    // The record is of other content: as if the Master's had changed without a trace.
    await db.run("UPDATE file_sync_history SET checksum = ? WHERE relative_path IN ('notes.txt', 'same-notes.txt')", [
      'ab'.repeat(32),
    ]);
    await setForm(pair, { enable_encryption: true });
    const run = await pair.sync();
    assert.equal(
      run.problems.map(({ message }) => message),
      [
        'Master: the content is not what was recorded; its copy stays as it is',
        'stays as it is stored, as its other name does',
      ],
    );
    assert.ok(existsSync(join(pair.backup, 'notes.txt')) && !existsSync(join(pair.backup, 'notes.txt.encrypted')));
    assert.is((await pair.rows()).find(({ path }) => path === 'notes.txt')?.backup_facts, row?.backup_facts);
  });
});

test('a record without a checksum is proved before its file is converted', async () => {
  await withStored({}, async (pair) => {
    await pair.sync();
    await (await pair.ctx.db()).run("UPDATE file_sync_history SET checksum = '', checksum_algorithm = ''", []);
    await setForm(pair, { enable_compression: true });
    assert.equal([(await pair.sync()).files_copied, (await pair.sync()).files_copied], [9, 0]);
    assert.equal((await verifyFiles('Archive', {}, pair.ctx)).findings, []);
  });
});

test('a keyed checksum that a cut conversion left behind keeps no file from another form once the key is gone', async () => {
  await withStored({ enable_encryption: true }, async (pair) => {
    await pair.sync();
    const keyed = (await pair.rows()).find(({ path }) => path === 'empty');
    await setForm(pair, {});
    await pair.sync();
    await (await pair.ctx.db()).run(
      "UPDATE file_sync_history SET checksum = ?, checksum_algorithm = ? WHERE relative_path = 'empty'",
      [keyed?.checksum ?? '', keyed?.checksum_algorithm ?? ''],
    );
    for (const root of [pair.master, pair.backup]) rmSync(join(root, '.tandem/keyring.json'));
    rmSync(join(pair.ctx.dataDir, 'keyrings'), { recursive: true, force: true });
    await setForm(pair, { enable_compression: true });
    const run = await pair.sync();
    assert.equal([run.status, run.problems, run.files_copied], ['completed', [], 9]);
    assert.is((await pair.rows()).find(({ path }) => path === 'empty')?.checksum_algorithm, 'sha256');
    assert.equal((await verifyFiles('Archive', {}, pair.ctx)).findings, []);
    put(pair.master, 'empty', 'edited');
    await (await pair.ctx.db()).run(
      "UPDATE file_sync_history SET checksum = ?, checksum_algorithm = ? WHERE relative_path = 'empty'",
      [keyed?.checksum ?? '', keyed?.checksum_algorithm ?? ''],
    );
    const edited = await pair.sync();
    assert.equal([edited.problems, edited.files_copied], [[], 1], 'nor from an edit');
  });
});

test('a second form that a cut conversion left gives way to an edit; one that somebody changed since does not', async () => {
  await withStored({ enable_compression: true }, async (pair) => {
    await pair.sync();
    await setForm(pair, {});
    // As it is when a process dies after the plain form got its name.
    put(pair.backup, 'Wedding/IMG_1.xmp', '<x/>');
    put(pair.backup, 'empty', 'mine');
    for (const path of ['Wedding/IMG_1.xmp', 'empty']) put(pair.master, path, 'edited on the Master');
    const run = await pair.sync();
    const message = 'is on the Backup in two forms; this one is left as it is';
    assert.equal([run.status, run.problems], ['failed', [{ path: 'empty', message }]]);
    assert.is(readFileSync(join(pair.backup, 'empty'), 'utf8'), 'mine');
    assert.ok(existsSync(join(pair.backup, 'empty.gz')), 'nor does the form that is recorded go');
    assert.is(readFileSync(join(pair.backup, 'Wedding/IMG_1.xmp'), 'utf8'), 'edited on the Master');
    assert.not(existsSync(join(pair.backup, 'Wedding/IMG_1.xmp.gz')));
    assert.equal((await pair.sync()).problems, [{ path: 'empty', message }], 'until somebody decides');
    unlinkSync(join(pair.backup, 'empty'));
    assert.equal([(await pair.sync()).status, names(pair.backup)], ['completed', names(pair.master)]);
  });
});

test('a plain file on a sealed Backup is a problem, never content', async () => {
  await withStored({ enable_encryption: true }, async (pair) => {
    await pair.sync();
    rmSync(join(pair.backup, 'notes.txt.encrypted'));
    writeFileSync(join(pair.backup, 'notes.txt'), 'planted');
    const result = await pair.sync();
    assert.equal([result.status, result.problems.map(({ path }) => path)], ['completed', ['notes.txt']]);
    assert.is(readFileSync(join(pair.backup, 'notes.txt'), 'utf8'), 'planted');
    put(pair.backup, 'empty', 'planted');
    const out = join(pair.box.root, 'out');
    await restoreFromBackup('Archive', { to: out, paths: ['notes.txt', 'empty'] }, pair.ctx);
    assert.is(readFileSync(join(out, 'empty'), 'utf8'), '');
    assert.equal(readFileSync(join(out, 'notes.txt')), readFileSync(join(pair.master, 'notes.txt')));
  });
});

test('a stored file that was changed or damaged is a conflict when the Master changed, rot when nothing else did', async () => {
  await withStored({ enable_encryption: true }, async (pair) => {
    await pair.sync();
    const place = join(pair.backup, 'notes.txt.encrypted');
    appendFileSync(place, 'x');
    appendFileSync(join(pair.master, 'notes.txt'), 'and an edit');
    // It has two names.
    assert.is((await pair.sync()).conflicts_detected, 2);
    const [conflict] = await listConflicts('Archive', undefined, pair.ctx);
    assert.is(conflict?.conflict_type, 'modified_both');
    const keep = { 'notes.txt': 'keep_master', 'same-notes.txt': 'keep_master' };
    const settled = await resolveConflicts('Archive', keep, pair.ctx);
    assert.equal([settled.status, settled.problems], ['completed', []]);
    assert.is((await verifyFiles('Archive', {}, pair.ctx)).status, 'completed');
    const before = statSync(place);
    const bytes = readFileSync(place);
    bytes[500] = (bytes[500] ?? 0) ^ 1;
    writeFileSync(place, bytes);
    utimesSync(place, before.atime, before.mtime);
    const found = await verifyFiles('Archive', {}, pair.ctx);
    assert.equal(
      found.findings.map(({ path, side, kind }) => `${path} ${side} ${kind}`),
      ['notes.txt backup edited'],
    );
    assert.is((await pair.sync()).conflicts_detected, 1);
    assert.is((await resolveConflicts('Archive', { 'notes.txt': 'keep_master' }, pair.ctx)).status, 'completed');
    assert.equal((await verifyFiles('Archive', {}, pair.ctx)).findings, []);
  });
});

test('both versions of a conflict are kept, and the Backup stands where it is chosen', async () => {
  await withStored({ enable_encryption: true, enable_compression: true }, async (pair) => {
    await pair.sync();
    const former = readFileSync(join(pair.master, 'notes.txt'));
    const xmp = readFileSync(join(pair.master, 'Wedding/IMG_1.xmp'));
    // The Backup's files are as they were, under other times: somebody copied them there again.
    for (const path of ['notes.txt', 'Wedding/IMG_1.xmp']) {
      appendFileSync(join(pair.master, path), 'edited');
      utimesSync(join(pair.backup, `${path}.gz.encrypted`), new Date(), new Date());
    }
    const run = await pair.sync();
    assert.equal([run.files_copied, run.conflicts_detected], [3, 0], 'equal content is no change');
    await undoOperation(run.operation_id, {}, pair.ctx);
    const settled = await resolveConflicts(
      'Archive',
      { 'notes.txt': 'keep_both', 'same-notes.txt': 'keep_master', 'Wedding/IMG_1.xmp': 'keep_backup' },
      pair.ctx,
    );
    assert.equal([settled.status, settled.problems], ['completed', []]);
    assert.equal(readFileSync(join(pair.master, 'notes_backup.txt')), former);
    assert.equal(readFileSync(join(pair.master, 'Wedding/IMG_1.xmp')), xmp);
    const next = await pair.sync();
    assert.equal([next.files_copied, next.conflicts_detected, next.problems], [0, 0, []]);
    assert.equal((await verifyFiles('Archive', {}, pair.ctx)).findings, []);
  });
});

test('an undo takes a run back on a stored Backup, and the paths that wait are those of the Master', async () => {
  await withStored({ enable_encryption: true }, async (pair) => {
    await pair.sync();
    const before = tree(pair.backup);
    appendFileSync(join(pair.master, 'notes.txt'), 'edited');
    renameSync(join(pair.master, 'Wedding'), join(pair.master, 'Party'));
    put(pair.master, 'new.txt', 'new');
    rmSync(join(pair.master, 'empty'));
    const run = await pair.sync({ options: { on_master_delete: 'trash' } });
    const undone = await undoOperation(run.operation_id, {}, pair.ctx);
    assert.equal([undone.status, undone.problems], ['completed', []]);
    assert.equal(Object.keys(tree(pair.backup)).sort(), Object.keys(before).sort());
    const waiting = (await listConflicts('Archive', undefined, pair.ctx)).map(({ path }) => path);
    assert.ok(waiting.includes('notes.txt') && waiting.includes('new.txt') && waiting.includes('empty'));
    assert.not.ok(waiting.some((path) => path.endsWith('.encrypted') && !path.includes('contract')));
    const again = await resolveConflicts(
      'Archive',
      Object.fromEntries(waiting.map((path) => [path, 'keep_master'])),
      pair.ctx,
    );
    assert.equal([again.status, again.problems], ['completed', []]);
    assert.is((await verifyFiles('Archive', {}, pair.ctx)).status, 'completed');
    assert.is((await pair.sync()).conflicts_detected, 0);
  });
});

test('a version in the trash comes back plain, by operation and by path', async () => {
  await withStored({ enable_encryption: true, enable_compression: true }, async (pair) => {
    await pair.sync();
    const former = readFileSync(join(pair.master, 'notes.txt'));
    put(pair.master, 'notes.txt', 'quite another text');
    const run = await pair.sync();
    const out = join(pair.box.root, 'out');
    await restoreFromBackup('Archive', { to: out, version: run.operation_id, paths: ['notes.txt'] }, pair.ctx);
    assert.equal(readFileSync(join(out, 'notes.txt')), former);
    const [plan] = await planRestore('Archive', { paths: ['notes.txt'], version: run.operation_id }, pair.ctx);
    assert.is(plan?.actions[0]?.kind, 'update');
    await restoreFromBackup('Archive', { version: run.operation_id, paths: ['notes.txt'] }, pair.ctx);
    assert.equal(readFileSync(join(pair.master, 'notes.txt')), former);
  });
});

test('a single stored file opens where it lies, with the password alone', async () => {
  await withStored({ enable_encryption: true }, async (pair) => {
    await pair.sync();
    const file = join(pair.backup, 'notes.txt.encrypted');
    const { key_id } = inspectSealed(file);
    const secret = { kind: 'password', password: PASSWORD } as const;
    // A computer that never saw the group.
    const stranger = pair.context({ dataDir: join(pair.box.root, 'other'), configDir: join(pair.box.root, 'none') });
    const { key, keyId } = await keyOfFile(file, key_id ?? '', stranger, secret);
    const out = join(pair.box.root, 'notes.txt');
    await openFile(file, out, () => ({ kind: 'group_key', key, keyId }), stranger);
    assert.ok(readFileSync(out).equals(readFileSync(join(pair.master, 'notes.txt'))));
    const attempts = [
      () => keyOfFile(file, key_id ?? '', stranger, { kind: 'password', password: 'x' }),
      () => keyOfFile(out, key_id ?? '', stranger, secret),
    ];
    for (const attempt of attempts) {
      const error = await attempt().catch((caught: unknown) => caught);
      assert.is((error as TandemError).code, 'key');
    }
  });
});

test('nothing on the drives tells what the files are: no plain checksum, no content', async () => {
  await withStored({ enable_encryption: true }, async (pair) => {
    await pair.sync();
    const rows = await pair.rows();
    assert.ok(
      rows
        .filter(({ checksum }) => checksum !== '')
        .every(({ checksum_algorithm }) => checksum_algorithm === 'hmac-sha256'),
    );
    for (const name of readdirSync(pair.backup, { recursive: true, encoding: 'utf8' })) {
      const place = join(pair.backup, name);
      if (name === 'link' || !statSync(place).isFile()) continue;
      const bytes = readFileSync(place);
      assert.not.ok(bytes.includes('line after line'), name);
    }
  });
});

test.run();
