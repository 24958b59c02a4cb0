/** Holes that other programs of this kind have fallen into, one test each. */
import { spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findPair } from '../features/history.ts';
import { writeBaseline } from '../shared/baseline.ts';
import { factsOf } from '../shared/listing.ts';
import { makeRow } from '../shared/rows.ts';
import { closeFolder, openRoot, statAt } from '../shared/syscalls.ts';
import { driveTest, skipped, type TestDrive } from './helpers/drives.ts';
import './helpers/inline-workers.ts';
import { edit, refusal, type TestPair, versionsOf, withPair, withRealPair } from './helpers/pair.ts';
import { treeOf } from './helpers/world.ts';

const test = suite('holes');
const TRASH = { options: { on_master_delete: 'trash' as const } };

/** Other bytes of the same length under the same time. */
function rewrite(file: string, content: string): void {
  const { mtimeMs } = lstatSync(file);
  writeFileSync(file, content);
  utimesSync(file, mtimeMs / 1000, mtimeMs / 1000);
}

/** Makes the record of `path` say what the Backup says now. */
async function recordAsIs(pair: TestPair, path: string, doubt: '' | 'pending'): Promise<void> {
  const known = (await pair.rows()).find((row) => row.path === path);
  assert.ok(known);
  if (!known) return;
  const root = openRoot(pair.backup);
  const stat = statAt(root, path);
  closeFolder(root);
  const now = stat ? factsOf(stat, true) : '';
  const row = makeRow(path, known.size, known.master_facts, now, {
    checksum: known.checksum,
    algorithm: known.checksum_algorithm,
  });
  const uuids = ['master', 'backup'].map((side) => {
    const file = join(side === 'master' ? pair.master : pair.backup, '.tandem/drive.json');
    return (JSON.parse(readFileSync(file, 'utf8')) as { drive_uuid: string }).drive_uuid;
  });
  const id = await findPair(uuids[0] ?? '', uuids[1] ?? '', pair.ctx);
  await writeBaseline(id ?? -1, '', 'sync', [{ ...row, doubt }], [], pair.ctx);
}

test('a record that no flush covered is not believed: the content decides', async () => {
  await withPair({ master: { a: 'whole', b: 'whole' } }, async (pair) => {
    await pair.sync();
    // As after a power cut: the size is there, the bytes are not.
    for (const path of ['a', 'b']) rewrite(join(pair.backup, path), '\0\0\0\0\0');
    await recordAsIs(pair, 'a', 'pending');
    await recordAsIs(pair, 'b', '');
    const { actions } = await pair.plan();
    assert.equal(
      actions.map(({ kind, path }) => [kind, path]),
      [['conflict', 'a']],
      'of two equal records only the pending one is doubted',
    );
    assert.is((await pair.sync()).conflicts_detected, 1);
    assert.is(readFileSync(join(pair.backup, 'a'), 'utf8'), '\0\0\0\0\0', 'nothing is overwritten by itself');
  });
});

test('same size and same time, other content: found on either side, and the Backup is not overwritten', async () => {
  await withPair({ master: { m: 'one', b: 'one' } }, async (pair) => {
    await pair.sync();
    await new Promise((done) => setTimeout(done, 50));
    rewrite(join(pair.master, 'm'), 'two');
    rewrite(join(pair.backup, 'b'), 'two');
    const result = await pair.sync();
    assert.equal([result.files_copied, result.conflicts_detected], [1, 1]);
    assert.is(readFileSync(join(pair.backup, 'm'), 'utf8'), 'two');
    assert.is(readFileSync(join(pair.backup, 'b'), 'utf8'), 'two');
    assert.is(readFileSync(join(pair.master, 'b'), 'utf8'), 'one');
    assert.equal(versionsOf(pair.backup), [['m', 'one']]);
  });
});

test('edits on the Backup while the Master is away stay, and are conflicts when it comes back', async () => {
  await withPair({ master: { edited: '1', deleted: '1', both: '1', same: '1' } }, async (pair) => {
    await pair.sync();
    renameSync(pair.master, `${pair.master}-away`);
    edit(pair.backup, { edited: 'on the Backup', both: 'on the Backup', fresh: 'on the Backup' });
    rmSync(join(pair.backup, 'deleted'));
    assert.is((await refusal(pair.sync())).code, 'drive_missing');
    edit(`${pair.master}-away`, { both: 'on the Master' });
    rmSync(join(`${pair.master}-away`, 'same'));
    renameSync(`${pair.master}-away`, pair.master);
    const master = treeOf(pair.master);
    const result = await pair.sync(TRASH);
    assert.equal([result.status, result.conflicts_detected, result.files_deleted], ['completed', 3, 1]);
    const { deleted, same, ...backup } = treeOf(pair.backup, ['mode', 'mtime']);
    assert.equal(backup, {
      both: { content: 'on the Backup' },
      edited: { content: 'on the Backup' },
      fresh: { content: 'on the Backup' },
    });
    assert.equal([deleted?.content, same], ['1', undefined], 'what was only deleted is restored');
    assert.equal(treeOf(pair.master), master);
  });
});

const nested = 'a mount inside the Master comes, hides a folder, and goes away: nothing of it is deleted or copied';
if (process.getuid?.() !== 0) skipped(nested, 'mounting takes root');
else
  test(nested, async () => {
    await withPair({ master: { 'd/sub/kept': '1', 'd/beside': '1' } }, async (pair) => {
      await pair.sync();
      const sub = join(pair.master, 'd/sub');
      const mounted = spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', sub], { encoding: 'utf8' });
      assert.is(mounted.status, 0, mounted.stderr);
      try {
        writeFileSync(join(sub, 'foreign'), 'foreign');
        rmSync(join(pair.master, 'd/beside'));
        const hidden = await pair.sync(TRASH);
        assert.equal([hidden.files_deleted, hidden.files_copied], [1, 0], JSON.stringify(hidden.problems));
        assert.ok(hidden.problems.some(({ path }) => path === 'd/sub'));
      } finally {
        spawnSync('umount', ['-l', sub]);
      }
      assert.is(readFileSync(join(pair.backup, 'd/sub/kept'), 'utf8'), '1');
      const back = await pair.sync(TRASH);
      assert.equal(
        [back.status, back.files_deleted, back.files_copied, back.conflicts_detected],
        ['completed', 0, 0, 0],
      );
      assert.equal(treeOf(pair.backup), treeOf(pair.master));
    });
  });

test('a parent folder that became a link: what it leads to is not read as the folder, its copies go to the trash', async () => {
  await withPair({ master: { 'd/one': '1', 'd/e/two': '2' } }, async (pair) => {
    await pair.sync();
    const elsewhere = join(pair.box.root, 'elsewhere');
    renameSync(join(pair.master, 'd'), elsewhere);
    edit(pair.master, { d: { symlink: elsewhere } });
    const result = await pair.sync(TRASH);
    assert.equal([result.status, result.conflicts_detected], ['completed', 0]);
    assert.equal(treeOf(pair.backup, ['mode', 'mtime']), { d: { symlink: elsewhere } });
    assert.equal(versionsOf(pair.backup), [
      ['d/e/two', '2'],
      ['d/one', '1'],
    ]);
    assert.is(readFileSync(join(elsewhere, 'one'), 'utf8'), '1');
  });
});

test('a folder that became a file, with a child that changed on the Backup: a conflict, and the child stays', async () => {
  await withPair({ master: { 'd/one': '1', 'd/two': '2', 'e/one': '1' } }, async (pair) => {
    await pair.sync();
    for (const path of ['d', 'e']) rmSync(join(pair.master, path), { recursive: true });
    edit(pair.master, { d: 'a file now', e: 'a file now' });
    edit(pair.backup, { 'd/two': 'changed' });
    const result = await pair.sync(TRASH);
    assert.ok(result.conflicts_detected > 0);
    assert.is(readFileSync(join(pair.backup, 'd/two'), 'utf8'), 'changed');
    assert.is(readFileSync(join(pair.backup, 'e'), 'utf8'), 'a file now');
    assert.equal(
      versionsOf(pair.backup).filter(([path]) => path.startsWith('e/')),
      [['e/one', '1']],
    );
  });
});

test('the clock leaps to 2040 and back: nothing is deleted, nothing is doubted for ever, versions stay', async () => {
  await withPair({ master: { a: 'first', b: 'first' } }, async (pair) => {
    await pair.sync();
    const leap = pair.context({ now: () => new Date('2040-06-01T00:00:00Z') });
    edit(pair.master, { a: 'second', c: { content: 'dated 2040', mtime: Date.parse('2040-06-01') / 1000 } });
    const far = await pair.sync(TRASH, leap);
    assert.equal([far.status, far.files_copied, far.files_deleted, far.conflicts_detected], ['completed', 2, 0, 0]);
    const back = await pair.sync(TRASH);
    assert.equal([back.status, back.files_copied, back.files_deleted, back.conflicts_detected], ['completed', 0, 0, 0]);
    edit(pair.master, { a: 'third' });
    assert.is((await pair.sync(TRASH)).files_copied, 1);
    assert.equal(
      versionsOf(pair.backup)
        .map(([, content]) => content)
        .sort(),
      ['first', 'second'],
    );
    assert.equal(treeOf(pair.backup), treeOf(pair.master));
  });
});

driveTest(
  test,
  'file ids that mean other files after a remount (exFAT): no file is taken for another one',
  [
    { label: 'Master', fs: 'exfat', size: 32 * 1024 * 1024 },
    { label: 'Backup', fs: 'exfat', size: 32 * 1024 * 1024 },
  ],
  async (drives) => {
    const names = Array.from({ length: 12 }, (_, index) => `f${index}`);
    const files = Object.fromEntries(
      names.map((name, index) => [name, { content: `c${index % 10}`, mtime: 1e9 + index * 4 }]),
    );
    await withRealPair(drives, { master: files }, async (pair) => {
      await pair.sync();
      for (const drive of drives as TestDrive[]) {
        spawnSync('umount', [drive.mount]);
        drive.replug();
        // The driver numbers files in the order in which they are asked for.
        for (const name of [...names].reverse()) lstatSync(join(drive.mount, name));
      }
      const quiet = await pair.sync(TRASH);
      assert.equal([quiet.files_copied, quiet.files_deleted, quiet.conflicts_detected], [0, 0, 0]);
      for (const name of ['f0', 'f1']) renameSync(join(pair.master, name), join(pair.master, `${name}x`));
      renameSync(join(pair.master, 'f0x'), join(pair.master, 'f1'));
      renameSync(join(pair.master, 'f1x'), join(pair.master, 'f0'));
      mkdirSync(join(pair.master, 'new'));
      writeFileSync(join(pair.master, 'new/file'), 'c0');
      const swapped = await pair.sync(TRASH);
      assert.equal([swapped.files_copied, swapped.conflicts_detected], [3, 0], JSON.stringify(swapped.problems));
      for (const name of [...names, 'new/file'])
        assert.is(readFileSync(join(pair.backup, name), 'utf8'), readFileSync(join(pair.master, name), 'utf8'), name);
    });
  },
);

test.run();
