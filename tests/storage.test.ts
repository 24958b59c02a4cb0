/** What a group says of its Backup's form: counts, space savings, and the doors by which it could become a Master. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findDrive, listDrives } from '../features/detect.ts';
import { createGroup, deleteGroup, getGroup, setGroupOptions, updateGroup } from '../features/groups.ts';
import { replaceDrive, swapRoles } from '../features/handover.ts';
import { initKeyring } from '../features/keyring.ts';
import { createProject, openProject } from '../features/projects.ts';
import { refillMaster } from '../features/refill.ts';
import { restoreFromBackup } from '../features/restore.ts';
import { syncSums } from '../features/run.ts';
import { keyringStatus } from '../features/slots.ts';
import { readStatus } from '../features/status.ts';
import { verifyFiles } from '../features/verify.ts';
import type { SparseOptions } from '../shared/options.ts';
import { addSavings, savingsText, spaceSavings } from '../shared/space.ts';
import { calculateSpaceSavings, type Storage, storageOf } from '../shared/storage.ts';
import './helpers/inline-workers.ts';
import { refusal, type TestPair, usersTree, withPair } from './helpers/pair.ts';

const test = suite('storage');

const old = new Date(Date.now() - 3_600_000);
const GZIP: SparseOptions = { enable_compression: true };
const SEALED: SparseOptions = { enable_encryption: true };

function put(root: string, path: string, content: string | Buffer): void {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), content);
  utimesSync(join(root, path), old, old);
}

function fill(root: string): void {
  put(root, 'notes.txt', 'line after line\n'.repeat(5000));
  put(root, 'Wedding/IMG_1.CR3', randomBytes(50_000));
  put(root, 'Wedding/archive.gz', 'only called so');
  put(root, 'empty', '');
}

async function set(pair: TestPair, options: SparseOptions): Promise<void> {
  const keys = { enable_compression: '', compression_type: '', compression_level: '', enable_encryption: '' };
  const words = Object.entries({ ...keys, ...options }).map(([key, value]) => `${key}=${String(value)}`);
  await setGroupOptions('Archive', words, undefined, pair.ctx);
}

/** A pair with a key ring and four files, whose Backup is stored so, and not yet synced. */
async function withStored(options: SparseOptions, work: (pair: TestPair) => Promise<void>): Promise<void> {
  await withPair({}, async (pair) => {
    const encryption_password_file = join(pair.box.root, 'password');
    writeFileSync(encryption_password_file, 'a wedding in June', { mode: 0o600 });
    const secret = { kind: 'password', password: 'a wedding in June' } as const;
    await initKeyring(getGroup('Archive', pair.ctx), secret, pair.ctx);
    await set(pair, { encryption_password_file, ...options });
    fill(pair.master);
    await work(pair);
  });
}

const storage = (pair: TestPair): Promise<Storage | null> => storageOf(getGroup('Archive', pair.ctx), pair.ctx);
const counts = async (pair: TestPair): Promise<unknown[]> => {
  const found = await storage(pair);
  return found === null ? [] : [found.form, found.files, found.plain, found.compressed, found.sealed, found.waiting];
};

test('the report has the figures of the reference', () => {
  const report = spaceSavings({ original_size: 1_000_000_000, compressed_size: 650_000_000, files_processed: 1234 });
  assert.is(report.compression_ratio.toFixed(2), '1.54');
  assert.is((report.space_saved_bytes / 1e6).toFixed(0), '350');
  assert.is(report.space_saved_percent.toFixed(1), '35.0');
  assert.is(report.files_processed, 1234);
  assert.equal(spaceSavings({ original_size: 0, compressed_size: 0, files_processed: 0 }), {
    original_size: 0,
    compressed_size: 0,
    compression_ratio: 1,
    space_saved_bytes: 0,
    space_saved_percent: 0,
    files_processed: 0,
  });
});

test('several reports are one, and larger files are said to be so', () => {
  assert.is(addSavings([undefined, undefined]), undefined);
  const one = { original_size: 10, compressed_size: 30, files_processed: 1 };
  assert.equal(
    addSavings([one, undefined, one]),
    spaceSavings({ original_size: 20, compressed_size: 60, files_processed: 2 }),
  );
  assert.match(savingsText(spaceSavings(one)), /20 B \(200\.0 %\) added, ratio 0\.33$/);
  assert.match(savingsText(spaceSavings({ ...one, compressed_size: 5 })), /5 B \(50\.0 %\) saved, ratio 2\.00$/);
});

test('a run reports what it compressed, to the byte that is on the Backup, and its group the same', async () => {
  await withStored(GZIP, async (pair) => {
    const first = await pair.sync();
    const files = ['notes.txt', 'Wedding/IMG_1.CR3', 'Wedding/archive.gz', 'empty'];
    const sum = (root: string, suffix: string): number =>
      files.reduce((total, file) => total + statSync(join(root, file + suffix)).size, 0);
    const expected = spaceSavings({
      original_size: sum(pair.master, ''),
      compressed_size: sum(pair.backup, '.gz'),
      files_processed: 4,
    });
    assert.equal(first.space_savings, expected);
    assert.ok(expected.space_saved_percent > 50, JSON.stringify(expected));
    assert.equal((await storage(pair))?.space_savings, expected);
    assert.equal(await calculateSpaceSavings(getGroup('Archive', pair.ctx), pair.ctx), expected);
    assert.not.ok('space_savings' in (await pair.sync()), 'nothing was compressed');
    put(pair.master, 'notes.txt', 'other line\n'.repeat(3000));
    const second = await pair.sync();
    assert.equal(
      [second.space_savings?.files_processed, second.space_savings?.original_size],
      [1, statSync(join(pair.master, 'notes.txt')).size],
    );
    const { space_savings } = syncSums.sum([first, second]);
    assert.is(space_savings?.files_processed, 5);
    assert.not.ok('space_savings' in syncSums.sum([]));
  });
});

test('calculate_space_savings=false reports nothing; a Backup that is sealed alone saves nothing to speak of', async () => {
  await withStored({ ...GZIP, calculate_space_savings: false }, async (pair) => {
    assert.not.ok('space_savings' in (await pair.sync()));
    assert.is((await storage(pair))?.space_savings, null);
    assert.is((await storage(pair))?.compressed, 4);
    assert.ok(await calculateSpaceSavings(getGroup('Archive', pair.ctx), pair.ctx));
  });
  await withStored(SEALED, async (pair) => {
    assert.not.ok('space_savings' in (await pair.sync()));
  });
});

test('files are counted by their form, and what waits for its conversion', async () => {
  await withStored({}, async (pair) => {
    await pair.sync();
    assert.is(await storage(pair), null, 'a plain Backup is nothing to talk of');
    await set(pair, SEALED);
    assert.equal(await counts(pair), ['sealed', 4, 4, 0, 0, 4]);
    await pair.sync({ path: 'Wedding' });
    // A file whose name ends in .gz is put into a container, so that its stored name says one thing.
    assert.equal(await counts(pair), ['sealed', 4, 2, 1, 2, 2]);
    await pair.sync();
    assert.equal(await counts(pair), ['sealed', 4, 0, 1, 4, 0]);
    await set(pair, { ...GZIP, ...SEALED });
    assert.equal(await counts(pair), ['gzip_sealed', 4, 0, 1, 4, 3]);
    await pair.sync();
    assert.equal(await counts(pair), ['gzip_sealed', 4, 0, 4, 4, 0]);
    await set(pair, {});
    assert.equal(await counts(pair), ['plain', 4, 0, 4, 4, 4]);
    await pair.sync();
    assert.is(await storage(pair), null);
  });
});

test('groups show and status, encrypt status and the overview say the form', async () => {
  await withStored({ ...GZIP, ...SEALED }, async (pair) => {
    await pair.sync();
    const { box } = pair;
    for (const words of [
      ['groups', 'show', 'Archive'],
      ['groups', 'status', 'Archive'],
      ['encrypt', 'status', 'Archive'],
    ]) {
      const { stdout } = await box.run(words);
      assert.match(stdout, /compressed with gzip and sealed; of 4 files: 4 sealed, 4 compressed\n/, words.join(' '));
      assert.match(stdout, /\d % ?\) saved, ratio \d/, words.join(' '));
      const { storage: found } = (await box.run([...words, '--json'])).json() as { storage: Storage };
      assert.equal(found, await storage(pair), words.join(' '));
    }
    assert.match((await box.run(['status'])).stdout, /Stored[\s\S]*compressed with gzip and sealed, \d+\.\d % saved/);
    assert.equal((await keyringStatus(getGroup('Archive', pair.ctx), pair.ctx)).storage, await storage(pair));
    await set(pair, SEALED);
    assert.match((await box.run(['encrypt', 'status', 'Archive'])).stdout, /3 of 4 files wait for conversion/);
    assert.match(
      (await box.run(['status'])).stdout,
      /3 of 4 files of Archive wait for conversion: tandem sync run Archive/,
    );
    const [row] = (await readStatus(pair.ctx)).groups;
    assert.is(row?.storage?.waiting, 3);
    put(pair.master, 'more.txt', 'a line, and again\n'.repeat(1000));
    await set(pair, GZIP);
    assert.match((await box.run(['sync', 'run', 'Archive'])).stdout, /in 5 files stored as .* saved, ratio/);
  });
});

test('a project that is opened on a stored Backup says that its files are not to be worked with there', async () => {
  await withStored(GZIP, async (pair) => {
    await pair.sync();
    await createProject({ name: 'Wedding', path: 'Wedding', group: 'Archive' }, pair.ctx);
    await pair.sync();
    await away(pair, pair.master);
    const ctx = pair.context();
    const [part] = await openProject('Wedding', { use: 'use-backup' }, ctx);
    assert.is(part?.access, 'fallback');
    assert.is(part?.storage?.compressed, 4);
    const shown = await pair.box.run(['projects', 'open', 'Wedding', '--use-backup']);
    assert.match(
      shown.stdout,
      /its files are compressed there; plain copies come with: tandem restore run Wedding --to/,
    );
    const resolved = await pair.box.run(['groups', 'resolve', 'Archive', '--use-backup']);
    assert.is(resolved.stdout.trim(), pair.backup);
    assert.match(resolved.stderr, /files are compressed; plain copies come with: tandem restore run Archive --to/);
  });
});

test('roles are exchanged only when the Backup is plain again', async () => {
  await withStored(GZIP, async (pair) => {
    await pair.sync();
    const before = [usersTree(pair.master), usersTree(pair.backup)];
    const refused = await refusal(swapRoles('Archive', pair.ctx));
    assert.is(refused.code, 'invalid');
    assert.match(refused.message, /compressed or sealed, so it cannot become the Master/);
    assert.equal([usersTree(pair.master), usersTree(pair.backup)], before);
    await set(pair, {});
    await pair.sync({ path: 'Wedding' });
    assert.is((await refusal(swapRoles('Archive', pair.ctx))).code, 'invalid', 'half of it is compressed still');
    await pair.sync();
    assert.is((await swapRoles('Archive', pair.ctx)).master_drive.label, 'BACKUP');
    const after = await pair.sync();
    assert.equal([after.files_copied, after.conflicts_detected, after.problems], [0, 0, []]);
    // What is asked for now holds for the new Backup.
    await set(pair, GZIP);
    assert.is((await pair.sync()).space_savings?.files_processed, 4);
    assert.ok(existsSync(join(pair.master, 'notes.txt.gz')) && existsSync(join(pair.backup, 'notes.txt')));
  });
});

for (const [form, options] of [
  ['compressed', GZIP],
  ['sealed', SEALED],
] as const)
  test(`a new Master gets the files of a ${form} Backup by a restore; a refill is refused`, async () => {
    await withStored(options, async (pair) => {
      await pair.sync();
      const kept = usersTree(pair.master);
      await newMaster(pair);
      const refused = await refusal(refillMaster('Archive', {}, pair.ctx));
      assert.is(refused.code, 'invalid');
      assert.match(refused.hint ?? '', /tandem restore run Archive`, then run `tandem sync run Archive/);
      // Also when nothing is to be stored so any more: the Backup still is.
      await set(pair, {});
      assert.is((await refusal(refillMaster('Archive', {}, pair.ctx))).code, 'invalid');
      await set(pair, options);
      assert.equal(readdirSync(pair.master), ['.tandem'], 'nothing was copied');
      const restored = await restoreFromBackup('Archive', {}, pair.ctx);
      assert.equal([restored.status, restored.problems], ['completed', []]);
      const now = usersTree(pair.master);
      assert.equal(Object.keys(now).sort(), Object.keys(kept).sort());
      for (const file of ['notes.txt', 'Wedding/archive.gz', 'empty']) assert.is(now[file], kept[file], file);
      const next = await pair.sync();
      assert.equal([next.status, next.files_copied, next.conflicts_detected, next.problems], ['completed', 0, 0, []]);
      assert.equal((await verifyFiles('Archive', {}, pair.ctx)).findings, []);
      assert.is((await pair.sync()).files_copied, 0);
      assert.is((await storage(pair))?.waiting, 0);
    });
  });

test('a new Backup of a sealed group carries the key ring before anything sealed', async () => {
  await withStored(SEALED, async (pair) => {
    await pair.sync();
    const ring = readFileSync(join(pair.backup, '.tandem/keyring.json'), 'utf8');
    for (const name of readdirSync(pair.backup)) rmSync(join(pair.backup, name), { recursive: true });
    await replaceDrive('Archive', 'backup', findDrive('BACKUP', await listDrives(pair.ctx)), pair.ctx);
    const run = await pair.sync();
    assert.equal([run.status, run.files_copied, run.problems], ['completed', 4, []]);
    assert.is(readFileSync(join(pair.backup, '.tandem/keyring.json'), 'utf8'), ring);
    assert.ok(existsSync(join(pair.backup, 'notes.txt.encrypted')));
  });
});

test('what replaces a Master says the way that works', async () => {
  await withStored(GZIP, async (pair) => {
    await pair.sync();
    rmSync(join(pair.master, '.tandem'), { recursive: true });
    const { stdout } = await pair.box.run(['groups', 'replace', 'Archive', '--master', 'MASTER', '--yes']);
    assert.match(stdout, /Next: tandem restore run /);
  });
});

test('a stored Backup joins no group as its Master, by whatever command', async () => {
  await withStored(SEALED, async (pair) => {
    const { ctx } = pair;
    await pair.sync();
    await deleteGroup('Archive', ctx);
    const drives = await listDrives(ctx);
    const [master, backup] = [findDrive('MASTER', drives), findDrive('BACKUP', drives)];
    const refused = await refusal(createGroup({ name: 'New', master: backup, backup: master }, ctx));
    assert.match(refused.message, /compressed or sealed.* cannot be a Master as it is/);
    assert.not.ok(existsSync(join(pair.backup, '.tandem/drive.json')), 'no signature is left');
    assert.is((await createGroup({ name: 'Other', master, backup }, ctx)).group.name, 'Other');
    await deleteGroup('Other', ctx);
    // A third drive is the Master, then the old Backup is to take its place.
    const third = join(pair.box.root, 'third');
    mkdirSync(third);
    await pair.box.run(['detect', 'add', third, '--label', 'THIRD']);
    const fresh = pair.context();
    const all = await listDrives(fresh);
    const made = { name: 'Third', master: findDrive('THIRD', all), backup: findDrive('MASTER', all) };
    await createGroup(made, fresh);
    const stored = findDrive('BACKUP', all);
    for (const attempt of [
      () => updateGroup('Third', { master: stored }, fresh),
      () => replaceDrive('Third', 'master', stored, fresh),
    ])
      assert.match((await refusal(attempt())).message, /cannot be a Master as it is/);
    assert.is(getGroup('Third', fresh).master_drive.label, 'THIRD');
  });
});

test('the Master of a stored group is no stored drive, also with files that are called like stored ones', async () => {
  await withStored(GZIP, async (pair) => {
    put(pair.master, 'notes.txt.gz', 'its own');
    await pair.sync();
    const drives = await listDrives(pair.ctx);
    const again = await updateGroup('Archive', { master: findDrive('MASTER', drives) }, pair.ctx);
    assert.is(again.group.master_drive.label, 'MASTER');
    await deleteGroup('Archive', pair.ctx);
    const free = await listDrives(pair.ctx);
    const [master, backup] = [findDrive('MASTER', free), findDrive('BACKUP', free)];
    assert.is((await createGroup({ name: 'Again', master, backup }, pair.ctx)).group.name, 'Again');
  });
});

// --- internal ---

/** Another, empty drive is the Master. */
async function newMaster(pair: TestPair): Promise<void> {
  for (const name of readdirSync(pair.master)) rmSync(join(pair.master, name), { recursive: true });
  const drives = await listDrives(pair.ctx);
  await replaceDrive('Archive', 'master', findDrive('MASTER', drives), pair.ctx);
}

/** Takes a virtual drive away. */
async function away(pair: TestPair, root: string): Promise<void> {
  const file = join(pair.box.config, 'app.yaml');
  writeFileSync(file, readFileSync(file, 'utf8').replaceAll(root, `${root}-away`));
}

test.run();
