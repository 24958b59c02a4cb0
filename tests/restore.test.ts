/** `restore run`: everything, single paths, versions and days come back to the byte; nothing newer is lost on the way. */

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listVersions, planRestore, restoreFromBackup } from '../features/restore.ts';
import { resolvePaths } from '../features/settle.ts';
import { type Target, targetsOf } from '../features/targets.ts';
import { createContext } from '../shared/context.ts';
import { sandbox } from './helpers/cli.ts';
import { driveTest } from './helpers/drives.ts';
import './helpers/inline-workers.ts';
import { age, edit, refusal, snapshotOf, usersTree, versionsOf, withPair, withRealPair } from './helpers/pair.ts';
import { treeOf, type World, world } from './helpers/world.ts';

const test = suite('restore');

/** Files by path. */
function contentsOf(root: string): Record<string, string> {
  const files = Object.entries(treeOf(root, ['mode', 'mtime'])).filter(([path]) => !path.endsWith('/'));
  return Object.fromEntries(files.map(([path, { content }]) => [path, content ?? '']));
}

const read = (...parts: string[]): string => readFileSync(join(...parts), 'utf8');

/** A tree with everything that is hard to bring back. */
function hardTree(root: string): void {
  edit(root, {
    'Projects/Wedding/cut.mov': 'film',
    'Projects/Wedding/manifest.json': '{}',
    'a~2': 'two',
    a: 'one',
    'new\nline.txt': 'odd name',
    'dated.txt': { content: 'dated', mode: 0o640, mtime: 1_234_567_890.5 },
    'Empty/': null,
  });
  symlinkSync('Projects/Wedding', join(root, 'link'));
  linkSync(join(root, 'a'), join(root, 'second-name'));
  writeFileSync(join(root, 'sparse.bin'), 'x');
  truncateSync(join(root, 'sparse.bin'), 8 * 1024 * 1024);
  spawnSync('setfattr', ['-n', 'user.note', '-v', 'kept', join(root, 'dated.txt')]);
  chmodSync(join(root, 'Projects'), 0o711);
  age(root);
}

driveTest(
  test,
  'a whole group comes back onto an emptied Master to the byte: modes, times, links, sparse files, attributes',
  [
    { label: 'M', fs: 'ext4' },
    { label: 'B', fs: 'ext4' },
  ],
  (drives) =>
    withRealPair(drives, {}, async (pair) => {
      hardTree(pair.master);
      await pair.sync();
      const former = usersTree(pair.master);
      for (const name of Object.keys(former).filter((path) => !path.includes('/')))
        if (name !== 'lost+found') rmSync(join(pair.master, name), { recursive: true });
      const result = await restoreFromBackup('Archive', {}, pair.ctx);
      assert.is(result.status, 'completed', JSON.stringify(result.problems));
      assert.equal(usersTree(pair.master), former);
      assert.is(statSync(join(pair.master, 'a')).ino, statSync(join(pair.master, 'second-name')).ino, 'hard links');
      assert.ok(statSync(join(pair.master, 'sparse.bin')).blocks < 1024, 'sparse');
      const attribute = spawnSync('getfattr', ['--only-values', '-n', 'user.note', join(pair.master, 'dated.txt')]);
      if (attribute.error === undefined) assert.is(attribute.stdout.toString(), 'kept');
      const again = await pair.sync();
      assert.is(again.conflicts_detected + again.files_copied, 0, 'both sides agree');
    }),
);

driveTest(
  test,
  'an exFAT Backup alone, on a computer that never saw the group, is restored into a folder',
  [
    { label: 'M', fs: 'ext4' },
    { label: 'B', fs: 'exfat' },
  ],
  (drives) =>
    withRealPair(drives, { master: { 'Projects/x.txt': 'x', 'y.txt': 'y' } }, async (pair) => {
      await pair.sync();
      const box = sandbox();
      const to = join(box.root, 'Rescued');
      writeFileSync(
        join(box.config, 'app.yaml'),
        `version: 1\ndrives:\n  allow_fixed: ${JSON.stringify([pair.backup])}\n`,
      );
      const ctx = createContext({ configDir: box.config, dataDir: box.data });
      try {
        const result = await restoreFromBackup(pair.backup, { to }, ctx);
        assert.is(result.status, 'completed', JSON.stringify(result.problems));
        assert.is(read(to, 'Projects/x.txt'), 'x');
        assert.is(read(to, 'y.txt'), 'y');
        assert.not.ok(existsSync(join(to, '.tandem')), 'nothing of tandem is left in the folder');
        assert.match((await refusal(restoreFromBackup(pair.backup, {}, ctx))).message, /no group/);
      } finally {
        await ctx.close();
        box.cleanup();
      }
    }),
);

test('single paths and patterns; files that are equal are skipped; a newer file is kept as a version', async () => {
  await withPair({ master: { 'A/1.xmp': 'one', 'A/2.raw': 'two', 'B/3.xmp': 'three', 'c.txt': 'c' } }, async (pair) => {
    await pair.sync();
    rmSync(join(pair.master, 'A'), { recursive: true });
    rmSync(join(pair.master, 'B'), { recursive: true });
    writeFileSync(join(pair.master, 'c.txt'), 'newer c');
    const xmp = await restoreFromBackup('Archive', { paths: ['**/*.xmp'] }, pair.ctx);
    assert.is(xmp.files_copied, 2);
    assert.not.ok(existsSync(join(pair.master, 'A/2.raw')));
    const kept = await restoreFromBackup('Archive', { paths: ['c.txt'], options: { skip_existing: true } }, pair.ctx);
    assert.is(kept.files_copied, 0);
    assert.is(read(pair.master, 'c.txt'), 'newer c');
    const all = await restoreFromBackup('Archive', {}, pair.ctx);
    assert.is(all.status, 'completed', JSON.stringify(all.problems));
    assert.is(all.files_copied, 2, 'A/2.raw and c.txt');
    assert.is(all.files_skipped, 2);
    assert.is(read(pair.master, 'c.txt'), 'c');
    assert.equal(versionsOf(pair.master, all.operation_id), [['c.txt', 'newer c']]);
    const none = await restoreFromBackup('Archive', { paths: ['nothing.here'] }, pair.ctx);
    assert.is(none.files_copied, 0);
    assert.is(none.problems.length, 1);
  });
});

test('a version by operation and by date, of files whose names look like ours', async () => {
  const first = { 'a.txt': 'v1', 'a.txt~2': 'other v1', 'manifest.json': 'mine v1', 'n\n.txt': 'odd v1' };
  await withPair({ master: first }, async (pair) => {
    await pair.sync();
    const between = new Date();
    await new Promise((done) => setTimeout(done, 20));
    edit(pair.master, {
      'a.txt': 'v2!',
      'a.txt~2': 'other v2!',
      'manifest.json': 'mine v2!',
      'n\n.txt': 'odd v2!',
      'late.txt': 'late',
    });
    const second = await pair.sync();
    assert.is(second.files_copied, 5);
    const versions = await listVersions('Archive', 'a.txt', pair.ctx);
    assert.equal(
      versions.map(({ operation, size, side }) => [operation, size, side]),
      [[second.operation_id, 2, 'backup']],
    );
    const to = join(pair.box.root, 'Day');
    const day = await restoreFromBackup('Archive', { to, version: between.toISOString() }, pair.ctx);
    assert.is(day.status, 'completed', JSON.stringify(day.problems));
    for (const [name, content] of Object.entries(first)) assert.is(read(to, name), content, name);
    assert.not.ok(existsSync(join(to, 'late.txt')), 'it was not there on that day');
    const byOperation = await restoreFromBackup(
      'Archive',
      { paths: ['a.txt'], version: second.operation_id },
      pair.ctx,
    );
    assert.is(byOperation.files_copied, 1, JSON.stringify(byOperation.problems));
    assert.is(read(pair.master, 'a.txt'), 'v1');
    assert.equal(versionsOf(pair.master, byOperation.operation_id), [['a.txt', 'v2!']]);
    const back = await restoreFromBackup('Archive', { from: 'master', version: byOperation.operation_id }, pair.ctx);
    assert.is(back.files_copied, 1, JSON.stringify(back.problems));
    assert.is(read(pair.master, 'a.txt'), 'v2!', "the Master's own version came back");
  });
});

test('the state of a date has the names of that day: files and folders renamed since, replaced and moved again', async () => {
  const first = { 'Old/a': 'a1', 'Old/deep/b': 'b1', c: 'c1', gone: 'gone', stays: 'stays' };
  await withPair({ master: first }, async (pair) => {
    await pair.sync();
    const dates: [Date, Record<string, string>][] = [];
    const day = async (): Promise<void> => {
      dates.push([new Date(), contentsOf(pair.master)]);
      await new Promise((done) => setTimeout(done, 20));
    };
    await day();
    renameSync(join(pair.master, 'Old'), join(pair.master, 'New'));
    renameSync(join(pair.master, 'c'), join(pair.master, 'd'));
    assert.is((await pair.sync()).files_moved, 3);
    await day();
    edit(pair.master, { 'New/a': 'a2 longer', c: 'another c' });
    rmSync(join(pair.master, 'gone'));
    await pair.sync({ options: { on_master_delete: 'trash' } });
    await day();
    renameSync(join(pair.master, 'New/deep'), join(pair.master, 'deep'));
    renameSync(join(pair.master, 'New'), join(pair.master, 'Newest'));
    renameSync(join(pair.master, 'd'), join(pair.master, 'Newest/d'));
    await pair.sync({ options: { on_master_delete: 'trash' } });
    await day();
    rmSync(join(pair.master, 'deep'), { recursive: true });
    edit(pair.master, { 'Newest/d': 'd2' });
    await pair.sync({ options: { on_master_delete: 'trash' } });
    for (const [index, [date, wanted]] of dates.entries()) {
      const to = join(pair.box.root, `day-${index}`);
      const result = await restoreFromBackup('Archive', { to, version: date.toISOString() }, pair.ctx);
      assert.equal([result.status, result.problems], ['completed', []]);
      assert.equal(contentsOf(to), wanted, `day ${index}`);
    }
  });
});

/** Same size, same time, another content: a tool that sets times back. */
const retimed = (content: string): World => ({ 'a.txt': { content, mtime: 1_700_000_000 } });

test('a version of the size and time of what stands there is brought back, once', async () => {
  await withPair({ master: retimed('old content') }, async (pair) => {
    await pair.sync();
    world(retimed('new content'), pair.master);
    const second = await pair.sync();
    assert.is(second.files_copied, 1);
    const wanted = { version: second.operation_id, paths: ['a.txt'] };
    const to = join(pair.box.root, 'elsewhere');
    mkdirSync(to);
    world(retimed('new content'), to);
    for (const where of [{ to }, {}]) {
      assert.is((await planRestore('Archive', { ...wanted, ...where }, pair.ctx))[0]?.totals.files, 1);
      assert.is((await restoreFromBackup('Archive', { ...wanted, ...where }, pair.ctx)).files_copied, 1);
      assert.is((await restoreFromBackup('Archive', { ...wanted, ...where }, pair.ctx)).files_copied, 0, 'it is there');
    }
    assert.equal(
      [readFileSync(join(to, 'a.txt'), 'utf8'), contentsOf(pair.master)['a.txt']],
      Array(2).fill('old content'),
    );
    assert.is((await pair.sync()).files_copied, 1);
    assert.is(contentsOf(pair.backup)['a.txt'], 'old content');
  });
});

driveTest(
  test,
  'what was restored onto a Master that tells no change is seen by the next run',
  [
    { label: 'RMASTER', fs: 'exfat' },
    { label: 'RBACKUP', fs: 'exfat' },
  ],
  (drives) =>
    withRealPair(drives, { master: retimed('old content') }, async (pair) => {
      await pair.sync();
      world(retimed('new content'), pair.master);
      await pair.sync({ options: { checksum: true } });
      const keep = new Map([['a.txt', 'master']] as const);
      const [target] = await targetsOf('Archive', {}, pair.ctx);
      const taken = await resolvePaths(target as Target, { keep }, pair.ctx);
      assert.is(contentsOf(pair.backup)['a.txt'], 'new content');
      const back = await restoreFromBackup('Archive', { version: taken.operation_id }, pair.ctx);
      assert.equal([back.files_copied, contentsOf(pair.master)['a.txt']], [1, 'old content']);
      const next = await pair.sync();
      assert.equal([next.files_copied, next.conflicts_detected], [1, 0]);
      assert.is(contentsOf(pair.backup)['a.txt'], 'old content');
      assert.is((await pair.sync()).files_copied, 0);
    }),
);

test('a deleted folder comes back from its versions', async () => {
  await withPair({ master: { 'Old/Deep/a.txt': 'a', 'Old/b.txt': 'b', 'keep.txt': 'k' } }, async (pair) => {
    await pair.sync();
    rmSync(join(pair.master, 'Old'), { recursive: true });
    const gone = await pair.sync({ options: { on_master_delete: 'trash' } });
    assert.not.ok(existsSync(join(pair.backup, 'Old')));
    const result = await restoreFromBackup('Archive', { paths: ['Old'], version: gone.operation_id }, pair.ctx);
    assert.is(result.status, 'completed', JSON.stringify(result.problems));
    assert.equal(result.problems, []);
    assert.is(read(pair.master, 'Old/Deep/a.txt'), 'a');
    assert.is(read(pair.master, 'Old/b.txt'), 'b');
  });
});

test('into a folder that holds other things: what is replaced is kept there; a dry run writes nothing at all', async () => {
  await withPair({ master: { 'x.txt': 'from backup', 'D/y.txt': 'y' } }, async (pair) => {
    await pair.sync();
    const to = mkdtempSync(join(tmpdir(), 'tandem-restore-'));
    try {
      edit(to, { 'x.txt': 'mine', 'other.txt': 'other', D: 'a file in the way' });
      const before = [snapshotOf(to), snapshotOf(pair.backup)];
      const [plan] = await planRestore('Archive', { to }, pair.ctx);
      assert.ok((plan?.actions.length ?? 0) > 0);
      assert.equal([snapshotOf(to), snapshotOf(pair.backup)], before);
      const result = await restoreFromBackup('Archive', { to }, pair.ctx);
      assert.is(result.status, 'completed', JSON.stringify(result.problems));
      assert.is(read(to, 'x.txt'), 'from backup');
      assert.is(read(to, 'D/y.txt'), 'y');
      assert.is(read(to, 'other.txt'), 'other');
      assert.equal(versionsOf(to), [
        ['D', 'a file in the way'],
        ['x.txt', 'mine'],
      ]);
    } finally {
      rmSync(to, { recursive: true, force: true });
    }
  });
});

test('a folder on the drive that is read from is refused, also through a link', async () => {
  await withPair({ master: { 'x.txt': 'x' } }, async (pair) => {
    await pair.sync();
    symlinkSync(pair.backup, join(pair.box.root, 'alias'));
    for (const to of [pair.backup, join(pair.backup, 'New/Folder'), join(pair.box.root, 'alias', 'in')]) {
      const before = snapshotOf(pair.backup);
      assert.match((await refusal(restoreFromBackup('Archive', { to }, pair.ctx))).message, /lies on/);
      assert.equal(snapshotOf(pair.backup), before);
    }
    assert.match((await refusal(restoreFromBackup('Archive', { from: 'master' }, pair.ctx))).message, /itself/);
  });
});

driveTest(
  test,
  'a drive that is pulled in mid-restore leaves old or new content, and the next restore finishes',
  [
    { label: 'M', fs: 'ext4' },
    { label: 'B', fs: 'ext4' },
  ],
  (drives) =>
    withRealPair(drives, {}, async (pair) => {
      const files = Object.fromEntries(
        Array.from({ length: 400 }, (_, n) => [`F/${n}.txt`, `content ${n}`.repeat(200)]),
      );
      edit(pair.master, files);
      await pair.sync();
      for (let n = 0; n < 400; n += 1) writeFileSync(join(pair.master, `F/${n}.txt`), 'other');
      const running = restoreFromBackup('Archive', {}, pair.context({}));
      const [, backup] = drives;
      await new Promise((done) => setTimeout(done, 400));
      backup?.unplug();
      await running.catch(() => undefined);
      for (const [path, content] of Object.entries(files))
        assert.ok([content, 'other'].includes(read(pair.master, path)), `${path} is whole`);
      backup?.replug();
      const result = await restoreFromBackup('Archive', {}, pair.context({}));
      assert.is(result.status, 'completed', JSON.stringify(result.problems.slice(0, 3)));
      for (const [path, content] of Object.entries(files)) assert.is(read(pair.master, path), content);
    }),
);

test('the command: restore run, versions, undo, prune', async () => {
  await withPair({ master: { 'a.txt': 'one' } }, async ({ box, sync, master }) => {
    await sync();
    edit(master, { 'a.txt': 'two!' });
    const { operation_id } = await sync();
    const versions = await box.run(['restore', 'versions', 'Archive', 'a.txt', '--json']);
    assert.is((versions.json() as unknown[]).length, 1, versions.stderr);
    const dry = await box.run(['restore', 'undo', operation_id, '--dry-run']);
    assert.is(dry.code, 0, dry.stderr);
    const undo = await box.run(['restore', 'undo', operation_id, '--json']);
    assert.is(undo.code, 3, undo.stderr);
    const run = await box.run(['restore', 'run', 'Archive', '--to', join(box.root, 'Out'), '--json']);
    assert.is(run.code, 0, run.stderr);
    assert.is(read(box.root, 'Out/a.txt'), 'one');
    const prune = await box.run(['restore', 'prune', 'Archive', '--dry-run', '--json']);
    assert.is(prune.code, 0, prune.stderr);
    assert.is((await box.run(['restore', 'run', 'BACKUP'])).code, 2);
  });
});

test.run();
