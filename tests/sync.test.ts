/** What a sync does and leaves alone, on virtual drives: through the exported functions, and through the real program. */

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listOperations, operationFiles } from '../features/history.ts';
import {
  applySavedPlan,
  calculateChecksum,
  detectConflicts,
  type FileConflict,
  syncToBackup,
  verifySyncStatus,
} from '../features/sync.ts';
import { factsOf, rowChecks } from '../shared/listing.ts';
import { closeFolder, openRoot, statAt } from '../shared/syscalls.ts';
import { differences, edit, refusal, snapshotOf, type TestPair, versionsOf, withPair } from './helpers/pair.ts';
import { boundTo } from './helpers/signals.ts';
import { treeOf, type World } from './helpers/world.ts';

const test = suite('sync');

const HOSTILE = [
  'new\nline',
  'quote\'"`$(id)',
  '🌄 😀',
  '-rf',
  '--delete',
  'trailing space ',
  ' leading',
  'a\\b',
  'tab\there',
  '\u001b[31mred',
  '*',
  '?',
  '[x]',
  '%s%d%P',
  '__proto__',
  'constructor',
  'é-nfc',
  'e\u0301-nfd',
  '\u202egnp.exe',
  '~',
  'a~2',
  'n'.repeat(255),
  '.hidden',
  'null',
  '\ufeffbom',
  'ﬃ',
  'ß',
  'İ',
];

const setXattr = (path: string, name: string, value: string): void =>
  void execFileSync('setfattr', ['-n', name, '-v', value, path]);
const xattrsOf = (path: string): string =>
  execFileSync('getfattr', ['-d', '-h', '--absolute-names', '-m', 'user', path], { encoding: 'utf8' });
const same = (pair: TestPair): void => assert.equal(treeOf(pair.backup), treeOf(pair.master));
const inodeOf = (path: string): bigint => lstatSync(path, { bigint: true }).ino;

/** Runs with a clean outcome: nothing failed, nothing in conflict, no problem. */
async function clean(
  pair: TestPair,
  flags: Parameters<TestPair['sync']>[0] = {},
): Promise<Awaited<ReturnType<TestPair['sync']>>> {
  const result = await pair.sync(flags);
  assert.equal(result.problems, []);
  assert.is(result.status, 'completed');
  assert.is(result.conflicts_detected, 0);
  return result;
}

async function inStep(pair: TestPair): Promise<void> {
  const again = await clean(pair);
  assert.is(again.files_copied + again.files_deleted, 0);
  assert.equal((await pair.plan()).actions, [], 'a second run finds nothing to do');
}

const conflictsOf = async (pair: TestPair): Promise<Record<string, string>> =>
  Object.fromEntries(
    (await detectConflicts('Archive', undefined, pair.ctx)).map((one: FileConflict) => [
      one.relative_path,
      one.conflict_type,
    ]),
  );

test('a first sync carries everything that a file has, whatever it is called', async () => {
  await withPair({}, async (pair) => {
    const { master, backup } = pair;
    const entries: Record<string, World[string]> = { 'empty file': '', 'empty folder/': null, 'sub/deep/er/x': 'x' };
    for (const name of HOSTILE)
      Object.assign(entries, { [`files/${name}`]: `content of ${name}`, [`folders/${name}/inside`]: name });
    entries['links/dangling'] = { symlink: 'nowhere/at all', mtime: 1_234_567_890 };
    entries['links/absolute'] = { symlink: '/etc/passwd' };
    entries['links/up'] = { symlink: '../../../..' };
    entries['links/folder'] = { symlink: '../folders' };
    entries['links/new\nline'] = { symlink: 'tar\nget\u001b[1m' };
    entries['modes/setuid'] = { content: 's', mode: 0o4755 };
    entries['modes/none'] = { content: 'secret', mode: 0 };
    entries['modes/all'] = { content: 'w', mode: 0o777 };
    entries['readonly/inside'] = 'r';
    entries['times/old'] = 'o';
    entries['times/zero'] = { content: 'z', mtime: 0 };
    entries['times/future'] = { content: 'f', mtime: 4_102_444_800 };
    edit(master, entries);
    linkSync(join(master, 'sub/deep/er/x'), join(master, 'sub/hard'));
    chmodSync(join(master, 'readonly'), 0o555);
    chmodSync(join(master, 'empty folder'), 0o700);
    execFileSync('touch', ['-d', '1969-12-31T23:59:58.123456789Z', join(master, 'times/ns')]);
    execFileSync('touch', ['-d', '1903-01-01T00:00:00Z', join(master, 'times/old')]);
    execFileSync('touch', ['-h', '-d', '2020-02-02T02:02:02.987654321Z', join(master, 'links/up')]);
    setXattr(join(master, 'modes/all'), 'user.rating', '5 stars');
    chownSync(join(master, 'modes/all'), 1234, 5678);
    const fd = openSync(join(master, 'sparse'), 'w');
    ftruncateSync(fd, 32 * 1024 * 1024);
    writeSync(fd, 'middle', 10 * 1024 * 1024 + 17);
    writeSync(fd, 'end', 32 * 1024 * 1024 - 3);
    closeSync(fd);
    lutimesSync(join(master, 'sparse'), 1e9, 1e9);
    for (const folder of ['times', 'links', 'sub', '.']) lutimesSync(join(master, folder), 1e9, 1e9);

    const files = Object.values(treeOf(master)).filter(
      (leaf) => leaf.content !== undefined || leaf.symlink !== undefined,
    ).length;
    const result = await clean(pair);
    assert.is(result.files_copied, files);
    same(pair);
    assert.is(inodeOf(join(backup, 'sub/hard')), inodeOf(join(backup, 'sub/deep/er/x')));
    assert.is(lstatSync(join(backup, 'sub/hard')).nlink, 2);
    assert.ok(lstatSync(join(backup, 'sparse')).blocks * 512 < 1024 * 1024, 'the holes stay holes');
    assert.match(xattrsOf(join(backup, 'modes/all')), 'user.rating="5 stars"');
    const { uid, gid } = statSync(join(backup, 'modes/all'));
    assert.equal([uid, gid], [1234, 5678]);
    assert.ok(
      (await pair.rows()).every(({ path, checksum }) => checksum !== '' || !lstatSync(join(master, path)).isFile()),
    );
    await inStep(pair);
    assert.is((await pair.sync()).files_skipped, files);
  });
});

test('what is recorded is what stands on the drives: every checksum, every size', async () => {
  await withPair({ master: { 'a/b': 'hello', c: 'x'.repeat(3_000_000), e: '' } }, async (pair) => {
    await clean(pair);
    for (const row of await pair.rows()) {
      if (row.master_facts.startsWith('d')) continue;
      assert.is(row.checksum, await calculateChecksum(join(pair.backup, row.path)), row.path);
      assert.is(row.size, lstatSync(join(pair.backup, row.path)).size, row.path);
      assert.is(row.checksum_algorithm, 'sha256');
    }
  });
});

test('one changed byte copies one file, and the former version lies in the trash under its path', async () => {
  await withPair({ master: { 'Day 1/a.raw': 'aaaa', 'Day 1/b.raw': 'bbbb', c: 'cccc' } }, async (pair) => {
    await clean(pair);
    const before = inodeOf(join(pair.backup, 'c'));
    edit(pair.master, { 'Day 1/a.raw': 'aaax' });
    const result = await clean(pair);
    assert.equal([result.files_copied, result.files_skipped, result.bytes_copied], [1, 2, 4]);
    assert.equal(versionsOf(pair.backup, result.operation_id), [['Day 1/a.raw', 'aaaa']]);
    assert.is(inodeOf(join(pair.backup, 'c')), before);
    same(pair);
    await inStep(pair);
  });
});

test('mode, owner, time or an attribute alone: content is not copied, the Backup follows', async () => {
  await withPair(
    { master: { mode: '1', time: '2', attribute: '3', owner: '4', 'folder/x': '5', link: { symlink: 'mode' } } },
    async (pair) => {
      const { master, backup } = pair;
      await clean(pair);
      chmodSync(join(master, 'mode'), 0o600);
      chmodSync(join(master, 'folder'), 0o2710);
      utimesSync(join(master, 'time'), 1e9, 1e9);
      lutimesSync(join(master, 'link'), 1e9, 1e9);
      setXattr(join(master, 'attribute'), 'user.a', '1');
      setXattr(join(master, 'folder'), 'user.f', '1');
      chownSync(join(master, 'owner'), 77, 88);
      assert.is((await pair.plan()).totals.files, 1, 'only the file with another time is copied again, or fewer');
      const result = await clean(pair);
      assert.ok(result.files_copied <= 1);
      same(pair);
      assert.match(xattrsOf(join(backup, 'attribute')), 'user.a="1"');
      assert.match(xattrsOf(join(backup, 'folder')), 'user.f="1"');
      assert.equal([statSync(join(backup, 'owner')).uid, statSync(join(backup, 'owner')).gid], [77, 88]);
      await inStep(pair);
    },
  );
});

test('an attribute that is gone from the Master goes from the Backup', async () => {
  await withPair({ master: { file: '1' } }, async (pair) => {
    setXattr(join(pair.master, 'file'), 'user.label', 'red');
    await clean(pair);
    assert.match(xattrsOf(join(pair.backup, 'file')), 'user.label');
    execFileSync('setfattr', ['-x', 'user.label', join(pair.master, 'file')]);
    await clean(pair);
    assert.not.match(xattrsOf(join(pair.backup, 'file')), 'user.label');
  });
});

test('a symbolic link keeps its owner', async () => {
  await withPair({ master: { link: { symlink: 'x' } } }, async (pair) => {
    execFileSync('chown', ['-h', '11:22', join(pair.master, 'link')]);
    await clean(pair);
    const { uid, gid } = lstatSync(join(pair.backup, 'link'));
    assert.equal([uid, gid], [11, 22]);
    await inStep(pair);
  });
});

test('hard links: a mode, a content, a deletion reaches all names in one run, without a conflict', async () => {
  await withPair({ master: { a: 'one', 'd/z': { hardlink: 'a' }, m: { hardlink: 'a' }, other: '1' } }, async (pair) => {
    const { master, backup } = pair;
    await clean(pair);
    const linked = (): void => assert.is(new Set(['a', 'd/z', 'm'].map((name) => inodeOf(join(backup, name)))).size, 1);
    linked();
    chmodSync(join(master, 'a'), 0o640);
    await clean(pair);
    same(pair);
    linked();
    await inStep(pair);
    writeFileSync(join(master, 'a'), 'two, longer');
    lutimesSync(join(master, 'a'), 1e9, 1e9);
    const result = await clean(pair);
    same(pair);
    linked();
    assert.equal(
      versionsOf(backup, result.operation_id).map(([, content]) => content),
      ['one', 'one', 'one'],
    );
    await inStep(pair);
    for (const name of ['a', 'd/z', 'm']) rmSync(join(master, name));
    const gone = await clean(pair, { options: { on_master_delete: 'trash' } });
    assert.is(gone.files_deleted, 3);
    same(pair);
  });
});

test('hard links: a broken link on the Master becomes two files on the Backup', async () => {
  await withPair({ master: { a: 'one', b: { hardlink: 'a' } } }, async (pair) => {
    await clean(pair);
    rmSync(join(pair.master, 'b'));
    edit(pair.master, { b: 'other' });
    const result = await clean(pair);
    same(pair);
    assert.is.not(inodeOf(join(pair.backup, 'a')), inodeOf(join(pair.backup, 'b')));
    await inStep(pair);
    const [version] = readdirSync(join(pair.backup, '.tandem/trash', result.operation_id));
    assert.is.not(
      inodeOf(join(pair.backup, '.tandem/trash', result.operation_id, version ?? '')),
      inodeOf(join(pair.backup, 'a')),
      'a version is no second name of a live file',
    );
  });
});

test('every conflict of the table stays untouched on both sides; exit code 3', async () => {
  const start: World = {
    both: 'b0',
    backup: 'k0',
    delMaster: 'd0',
    delBackup: 'e0',
    type: 't0',
    link: { symlink: 'l0' },
    adopt: 'q0',
    restore: 'r0',
    gone: 'g0',
    fine: 'f',
  };
  await withPair({ master: start }, async (pair) => {
    const { master, backup } = pair;
    await clean(pair);
    edit(master, {
      both: 'master',
      mismatch: { content: 'mm', mtime: 1e9 },
      newBoth: 'm1',
      adopt: 'equal',
      type: 'changed',
    });
    edit(backup, {
      both: 'backup!',
      backup: 'edited',
      delMaster: 'edited',
      mismatch: { content: 'bbb', mtime: 1e9 },
      newBoth: 'b22',
      onlyBackup: 'x',
      adopt: 'equal',
    });
    rmSync(join(backup, 'type'));
    mkdirSync(join(backup, 'type'));
    writeFileSync(join(backup, 'type/child'), 'c');
    for (const name of ['delMaster', 'gone', 'link']) rmSync(join(master, name));
    for (const name of ['restore', 'gone', 'delBackup']) rmSync(join(backup, name));
    edit(master, { link: { symlink: 'l1' } });
    rmSync(join(backup, 'link'));
    edit(backup, { link: { symlink: 'l2' } });
    const conflicting = [
      'both',
      'backup',
      'delMaster',
      'mismatch',
      'newBoth',
      'onlyBackup',
      'type',
      'type/child',
      'link',
    ];
    assert.equal(await conflictsOf(pair), {
      both: 'modified_both',
      backup: 'modified_backup',
      delMaster: 'deleted_master',
      mismatch: 'size_mismatch',
      newBoth: 'modified_both',
      onlyBackup: 'new_backup',
      type: 'modified_both',
      'type/child': 'new_backup',
      link: 'modified_both',
    });
    const before = { ...snapshotOf(master), ...snapshotOf(backup) };
    const touched = (): string[] => {
      const changed = differences(before, { ...snapshotOf(master), ...snapshotOf(backup) });
      return changed.filter((path) =>
        conflicting.includes(path.slice((path.startsWith(master) ? master : backup).length + 1)),
      );
    };
    const result = await pair.box.run(['sync', 'run', 'Archive', '--json']);
    assert.is(result.code, 3, result.stderr);
    assert.is((result.json() as { conflicts_detected: number }).conflicts_detected, conflicting.length);
    assert.equal(touched(), []);
    assert.is(readFileSync(join(backup, 'restore'), 'utf8'), 'r0');
    assert.is(readFileSync(join(backup, 'delBackup'), 'utf8'), 'e0');
    const again = await pair.sync({ options: { on_master_delete: 'trash' } });
    assert.is(
      again.conflicts_detected,
      conflicting.length,
      'a conflict is not worn down by running again, not even with --delete',
    );
    assert.equal(touched(), []);
    assert.equal(versionsOf(backup), []);
    const listed = (await operationFiles((await listOperations({ limit: 1 }, pair.ctx))[0]?.id ?? 0, pair.ctx)).filter(
      ({ status }) => status === 'conflict',
    );
    assert.equal(listed.map(({ path }) => path).sort(), [...conflicting].sort());
  });
});

test('deleted on the Master: ask, keep, trash; deleted on the Backup: restore, ask', async () => {
  await withPair({ master: { 'd/a': '1', 'd/e/b': '2', keep: '3', x: '4' } }, async (pair) => {
    const { master, backup } = pair;
    await clean(pair);
    rmSync(join(master, 'd'), { recursive: true });
    assert.equal(await conflictsOf(pair), { 'd/a': 'deleted_master', 'd/e/b': 'deleted_master' });
    assert.is((await pair.sync()).conflicts_detected, 2);
    assert.is((await clean(pair, { options: { on_master_delete: 'keep' } })).files_deleted, 0);
    assert.is(readFileSync(join(backup, 'd/e/b'), 'utf8'), '2');
    const result = await pair.box.run(['sync', 'run', 'Archive', '--delete', '--json']);
    assert.is(result.code, 0, result.stderr);
    const { operation_id, files_deleted } = result.json() as { operation_id: string; files_deleted: number };
    assert.is(files_deleted, 2);
    assert.equal(versionsOf(backup, operation_id), [
      ['d/a', '1'],
      ['d/e/b', '2'],
    ]);
    same(pair);
    await inStep(pair);
    rmSync(join(backup, 'x'));
    assert.equal(
      (await pair.plan({ options: { on_backup_delete: 'ask' } })).actions.map(({ kind, conflict_type }) => [
        kind,
        conflict_type,
      ]),
      [['conflict', 'deleted_backup']],
    );
    await clean(pair, { options: { on_backup_delete: 'restore' } });
    same(pair);
  });
});

test('a folder is deleted only when nothing of the user stays in it; OS litter goes along into the trash', async () => {
  await withPair({ master: { 'd/a': '1', 'e/b': '2', stays: '3' } }, async (pair) => {
    const { master, backup } = pair;
    await clean(pair);
    writeFileSync(join(backup, 'd/.DS_Store'), 'litter');
    writeFileSync(join(backup, 'e/own.txt'), 'mine');
    rmSync(join(master, 'd'), { recursive: true });
    rmSync(join(master, 'e'), { recursive: true });
    const result = await pair.sync({ options: { on_master_delete: 'trash' } });
    assert.not(existsSync(join(backup, 'd')));
    assert.equal(versionsOf(backup, result.operation_id), [
      ['d/.DS_Store', 'litter'],
      ['d/a', '1'],
      ['e/b', '2'],
    ]);
    assert.is(readFileSync(join(backup, 'e/own.txt'), 'utf8'), 'mine');
  });
});

const FORMS = ['file', 'folder', 'link'] as const;
function make(root: string, form: (typeof FORMS)[number], tag: string): void {
  rmSync(join(root, 'x'), { recursive: true, force: true });
  if (form === 'file') edit(root, { x: `file ${tag}` });
  else if (form === 'link') edit(root, { x: { symlink: `link ${tag}` } });
  else edit(root, { 'x/one': `one ${tag}`, 'x/sub/two': `two ${tag}`, 'x/empty/': null });
}

/** A run of the real program with its own environment, which must end well. */
async function runWith(pair: TestPair, env: Record<string, string>): Promise<{ operation_id: string }> {
  const result = await pair.box.run(['sync', 'run', 'Archive', '--json'], { env });
  assert.is(result.code, 0, `${result.stdout}${result.stderr}`);
  return result.json() as { operation_id: string };
}

for (const env of [undefined, 'TANDEM_NO_FFI']) {
  for (const from of FORMS) {
    test(`a ${from} becomes something else, and what it was is kept${env ? ` (${env})` : ''}`, async () => {
      await withPair({ master: { before: '1' } }, async (pair) => {
        for (const to of FORMS.filter((form) => form !== from)) {
          make(pair.master, from, to);
          await clean(pair, { options: { on_master_delete: 'trash' } });
          same(pair);
          make(pair.master, to, to);
          const { operation_id } = env === undefined ? await clean(pair) : await runWith(pair, { [env]: '1' });
          assert.equal(treeOf(pair.backup, ['mtime']), treeOf(pair.master, ['mtime']), `${from} to ${to}`);
          const kept = {
            file: [['x', `file ${to}`]],
            link: [['x', `-> link ${to}`]],
            folder: [
              ['x/one', `one ${to}`],
              ['x/sub/two', `two ${to}`],
            ],
          }[from];
          assert.equal(versionsOf(pair.backup, operation_id), kept);
          if (env === undefined) await inStep(pair);
          rmSync(join(pair.master, 'x'), { recursive: true });
          await pair.sync({ options: { on_master_delete: 'trash' } });
        }
      });
    });
  }
}

test('a folder that gives way to a file stays whole when anything in it changed, is new, or cannot be read', async () => {
  const disturb: Record<string, (backup: string) => unknown> = {
    changed: (backup) => edit(backup, { 'x/one': 'edited on the Backup' }),
    new: (backup) => edit(backup, { 'x/sub/new': 'only here' }),
    'not UTF-8': (backup) =>
      writeFileSync(Buffer.concat([Buffer.from(`${backup}/x/`), Buffer.from([0xff, 0xfe])]), 'odd'),
    ignored: (backup) => edit(backup, { 'x/sub/mine.tmp': 'left out by a filter' }),
    'a mount': (backup) => {
      mkdirSync(join(backup, 'x/sub/mnt'), { recursive: true });
      execFileSync('mount', ['-t', 'tmpfs', 'none', join(backup, 'x/sub/mnt')]);
      writeFileSync(join(backup, 'x/sub/mnt/file'), 'on another disk');
      return () => void spawnSync('umount', ['-l', join(backup, 'x/sub/mnt')]);
    },
  };
  for (const [why, change] of Object.entries(disturb)) {
    await withPair({ master: { 'x/one': '1', 'x/sub/two': '2', y: '3' } }, async (pair) => {
      await pair.sync();
      const undo = change(pair.backup);
      try {
        make(pair.master, 'file', 'new');
        const before = snapshotOf(join(pair.backup, 'x'));
        const { filters } = (await pair.plan()).options;
        await pair.sync({ options: { filters: { ...filters, exclude: ['*.tmp'] } } });
        assert.ok(lstatSync(join(pair.backup, 'x')).isDirectory(), `${why}: the folder stays`);
        assert.equal(differences(before, snapshotOf(join(pair.backup, 'x'))), [], `${why}: as it was`);
      } finally {
        if (typeof undo === 'function') undo();
      }
    });
  }
});

test('skip-existing leaves what is there, and never takes it for synced', async () => {
  await withPair(
    {
      master: { a: { content: 'new', mtime: 2e9 }, b: 'b', c: 'same' },
      backup: { a: { content: 'old one', mtime: 1e9 }, c: 'same' },
    },
    async (pair) => {
      const result = await clean(pair, { options: { skip_existing: true } });
      assert.is(result.files_copied, 1);
      assert.is(readFileSync(join(pair.backup, 'a'), 'utf8'), 'old one');
      assert.equal(
        (await pair.rows()).map(({ path }) => path),
        ['b'],
      );
      assert.equal(await conflictsOf(pair), { a: 'modified_both' });
      edit(pair.master, { b: 'b changed' });
      await clean(pair, { options: { skip_existing: true } });
      assert.is(readFileSync(join(pair.backup, 'b'), 'utf8'), 'b');
      await pair.sync();
      assert.is(readFileSync(join(pair.backup, 'b'), 'utf8'), 'b changed', 'a later run without it catches up');
    },
  );
});

test('both sides full of the same: adopted by content; --trust-mtime adopts by size and time without reading', async () => {
  const files: World = { 'd/a': { content: 'aaaa', mtime: 1e9 }, b: { content: 'bbbb', mtime: 1e9 } };
  await withPair({ master: files, backup: { ...files, b: { content: 'bbbb', mtime: 2e9 } } }, async (pair) => {
    const before = inodeOf(join(pair.backup, 'b'));
    const result = await clean(pair);
    assert.is(result.files_copied, 0);
    assert.is(inodeOf(join(pair.backup, 'b')), before);
    same(pair);
    await inStep(pair);
  });
  await withPair({ master: files, backup: { ...files, b: { content: 'BBBB', mtime: 1e9 } } }, async (pair) => {
    assert.is((await pair.sync({ options: { trust_mtime: true } })).conflicts_detected, 0);
    assert.ok(
      (await pair.rows()).every(({ checksum }) => checksum === ''),
      'what was not read has no checksum',
    );
    assert.equal((await pair.plan()).actions, []);
    const checked = await pair.plan({ options: { checksum: true } });
    assert.equal(
      checked.actions.filter(({ path }) => path === 'b').map(({ kind }) => kind),
      ['conflict'],
      'reading finds what was trusted wrongly',
    );
  });
});

/** As if the content had changed without size, time, ctime or inode telling: the record is moved to what stands there now. */
async function hideChange(pair: TestPair, side: 'master' | 'backup', path: string): Promise<void> {
  const root = openRoot(pair[side]);
  const stat = statAt(root, path);
  closeFolder(root);
  const row = (await pair.rows()).find((one) => one.path === path);
  if (!stat || !row) throw new Error(`${path} is not there`);
  const facts = { master: row.master_facts, backup: row.backup_facts, [side]: factsOf(stat, true) };
  const { a, b } = rowChecks(path, '', facts.master, facts.backup);
  const db = await pair.ctx.db();
  await db.run(
    'UPDATE file_sync_history SET master_facts = ?, backup_facts = ?, check_a = ?, check_b = ? WHERE relative_path = ?',
    [facts.master, facts.backup, a, b, path],
  );
}

test('--checksum finds a silent change on the Master and rot on the Backup; without it both look unchanged', async () => {
  await withPair({ master: { a: 'aaaa', b: 'bbbb', c: 'cccc' } }, async (pair) => {
    await clean(pair);
    edit(pair.master, { a: { content: 'AAAA', mtime: 1e9 } });
    edit(pair.backup, { b: { content: 'bbBb', mtime: 1e9 } });
    await hideChange(pair, 'master', 'a');
    await hideChange(pair, 'backup', 'b');
    assert.equal((await pair.plan()).actions, []);
    const plan = await pair.plan({ options: { checksum: true } });
    assert.equal(
      plan.actions
        .filter(({ kind }) => kind !== 'adopt')
        .map(({ path, kind, conflict_type }) => [path, kind, conflict_type]),
      [
        ['a', 'conflict', 'modified_both'],
        ['b', 'conflict', 'modified_backup'],
      ],
    );
    const full = await pair.plan({ options: { incremental: false } });
    assert.equal(
      full.actions.filter(({ kind }) => kind === 'update' || kind === 'conflict').map(({ path }) => path),
      ['a', 'b'],
    );
    const result = await pair.box.run(['sync', 'run', 'Archive', '--checksum']);
    assert.is(result.code, 3, result.stderr);
    assert.is(readFileSync(join(pair.backup, 'a'), 'utf8'), 'aaaa', 'the good copy stays');
    assert.is(readFileSync(join(pair.backup, 'b'), 'utf8'), 'bbBb', 'which side rotted is for the user to say');
  });
});

test('--full records everything anew and mends metadata', async () => {
  await withPair({ master: { a: 'a', 'd/b': 'b' } }, async (pair) => {
    await clean(pair);
    await clean(pair, { options: { incremental: false } });
    same(pair);
    await inStep(pair);
  });
});

test('--verify checksum reads back and says how deep it could look', async () => {
  await withPair(
    { master: { a: 'a', big: 'b'.repeat(9_000_001), e: '', 'n\n': 'x', l: { symlink: 'a' } } },
    async (pair) => {
      const result = await clean(pair, { options: { verify_checksums: 'checksum' } });
      assert.ok(result.verified === 'device' || result.verified === 'cache', result.verified);
      same(pair);
      assert.is((await clean(pair)).verified, 'none');
    },
  );
});

test('a file written in the very moment of the copy is looked at again, also under all of its names', async () => {
  await withPair({ master: { old: '1' } }, async (pair) => {
    await new Promise((done) => setTimeout(done, 100));
    for (const name of ['single', 'linked']) writeFileSync(join(pair.master, name), 'fresh');
    linkSync(join(pair.master, 'linked'), join(pair.master, 'second'));
    // For the run no time passes between this write and the copy.
    const { now } = Date;
    const moment = now();
    Date.now = () => moment;
    try {
      await clean(pair);
    } finally {
      Date.now = now;
    }
    const doubts = Object.fromEntries((await pair.rows()).map(({ path, doubt }) => [path, doubt]));
    assert.equal(doubts, { linked: 'racy', old: '', second: 'racy', single: 'racy' });
    await clean(pair);
    assert.ok(
      (await pair.rows()).every(({ doubt }) => doubt === ''),
      'and believed once it was',
    );
  });
});

test('a checksum is recorded under the algorithm that it was read with, also when the option changed since', async () => {
  await withPair({ master: { a: 'first', b: 'first' } }, async (pair) => {
    await clean(pair);
    const options = { checksum_algorithm: 'blake2b512' as const };
    for (const root of [pair.master, pair.backup])
      edit(root, { a: { content: 'other', mtime: 1.7e9 }, b: { content: 'first', mtime: 1.6e9 } });
    await clean(pair, { options });
    for (const { path, checksum, checksum_algorithm } of await pair.rows()) {
      const content = readFileSync(join(pair.master, path));
      assert.is(checksum, createHash(checksum_algorithm).update(content).digest('hex'), path);
    }
    await clean(pair, { options: { ...options, checksum: true } });
  });
});

test('a file dated in the future is not doubted for ever', async () => {
  await withPair({ master: { future: { content: '1', mtime: 4e9 } } }, async (pair) => {
    await clean(pair);
    await clean(pair);
    assert.equal((await pair.plan()).actions, []);
  });
});

/** A context whose journal calls `step` before each access: a way into the middle of a run. */
function interrupted(pair: TestPair, step: () => void): ReturnType<TestPair['context']> {
  const inner = pair.context();
  return {
    ...inner,
    db: () => {
      step();
      return inner.db();
    },
  };
}

test('hard links: content that changes between the first and the second name is not recorded for the second', async () => {
  await withPair({ master: { a: 'first', b: { hardlink: 'a' }, z: '1' } }, async (pair) => {
    let done = false;
    const ctx = interrupted(pair, () => {
      if (done || existsSync(join(pair.backup, 'a')) === existsSync(join(pair.backup, 'b'))) return;
      done = true;
      writeFileSync(join(pair.master, 'a'), 'second version');
      utimesSync(join(pair.master, 'a'), 1e9, 1e9);
    });
    await pair.sync({}, ctx);
    assert.ok(done, 'the change came in time');
    await pair.sync();
    await pair.sync();
    for (const name of ['a', 'b']) assert.is(readFileSync(join(pair.backup, name), 'utf8'), 'second version', name);
  });
});

test('what changes on the Backup after the plan was made is a conflict, not overwritten, not recorded', async () => {
  await withPair({ master: { a: 'a1', l1: 'x1', l2: { hardlink: 'l1' }, del: 'd1', meta: 'm' } }, async (pair) => {
    const { master, backup } = pair;
    await clean(pair);
    edit(master, { a: 'a2', l1: 'x2', fresh: 'f' });
    chmodSync(join(master, 'meta'), 0o600);
    rmSync(join(master, 'del'));
    const plan = await pair.plan({ options: { on_master_delete: 'trash' } });
    edit(backup, { a: 'mine', l2: 'mine too', del: 'mine as well', meta: 'and mine', fresh: 'here first' });
    const result = await applySavedPlan(plan, [], {}, pair.ctx);
    assert.is(result.conflicts_detected + result.files_failed, result.problems.length);
    for (const [name, content] of Object.entries({
      a: 'mine',
      l2: 'mine too',
      del: 'mine as well',
      meta: 'and mine',
      fresh: 'here first',
    })) {
      assert.is(readFileSync(join(backup, name), 'utf8'), content, name);
    }
    const after = await conflictsOf(pair);
    assert.equal(
      Object.keys(after).filter((name) => name !== 'l1'),
      ['a', 'del', 'fresh', 'l2', 'meta'],
      'the next run still sees each of them',
    );
    for (const name of ['a', 'l2', 'del', 'meta', 'fresh'])
      assert.ok(readFileSync(join(backup, name), 'utf8').match(/mine|here/), name);
  });
});

test('a file that grows, vanishes or is replaced during the copy is never recorded as something it is not', async () => {
  await withPair({}, async (pair) => {
    const { master, backup } = pair;
    const names = Array.from({ length: 40 }, (_, index) => `f${index}`);
    for (const name of names) writeFileSync(join(master, name), 'x'.repeat(200_000));
    const writer = spawnWriter(master, names);
    // The writer replaces more than half of them within seconds.
    const forced = pair.context({ force: ['mass-change'] });
    try {
      for (let round = 0; round < 4; round += 1) {
        await pair.sync({}, forced);
        for (const row of await pair.rows()) {
          const content = readFileSync(join(backup, row.path));
          assert.is(
            row.checksum,
            await calculateChecksum(join(backup, row.path)),
            `${row.path}: the checksum is that of the Backup's content`,
          );
          assert.is(row.size, content.length, `${row.path}: so is the size`);
        }
      }
    } finally {
      await writer.stop();
    }
    for (const [path] of Object.entries(treeOf(master))) lutimesSync(join(master, path), 1e9, 1e9);
    const settled = await pair.sync({ options: { on_master_delete: 'trash' } }, forced);
    assert.is(settled.files_failed, 0, JSON.stringify(settled.problems));
    await pair.sync({ options: { on_master_delete: 'trash' } }, forced);
    same(pair);
  });
});

function spawnWriter(folder: string, names: readonly string[]): { stop(): Promise<void> } {
  const script = `
    const fs = require('fs'); const path = require('path');
    const names = ${JSON.stringify(names)}; let n = 0; let go = true;
    process.on('SIGTERM', () => { go = false; });
    const turn = () => {
      const file = path.join(process.argv[1], names[Math.floor(Math.random() * names.length)]);
      try {
        const how = n++ % 4;
        if (how === 0) fs.appendFileSync(file, 'grow' + n);
        else if (how === 1) { fs.rmSync(file, { force: true }); }
        else if (how === 2) { fs.writeFileSync(file + '.new', 'r'.repeat(100 + (n % 300000))); fs.renameSync(file + '.new', file); }
        else { const fd = fs.openSync(file, 'r+'); fs.writeSync(fd, String(n), n % 1000); fs.closeSync(fd); }
      } catch {}
      if (go) setTimeout(turn, 1);
    };
    turn();`;
  const child = spawn(process.execPath, ['-e', script, folder], { stdio: 'ignore' });
  return {
    stop: async () => {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}

test('a batch that cannot be recorded ends the run; what stands is taken over by the next one, and nothing is copied twice', async () => {
  const files = Object.fromEntries(
    Array.from({ length: 7000 }, (_, at) => [`f/${String(at).padStart(4, '0')}`, `${at}`]),
  );
  await withPair({ master: files }, async (pair) => {
    const db = await pair.ctx.db();
    await db.run(`CREATE TRIGGER cut BEFORE INSERT ON file_sync_history WHEN new.relative_path = 'f/3000'
      BEGIN SELECT RAISE(ABORT, 'no room in the database'); END`);
    assert.match((await refusal(pair.sync())).message, 'no room in the database');
    await db.run('DROP TRIGGER cut');
    const [failed] = await listOperations({ limit: 1 }, pair.ctx);
    assert.is(failed?.status, 'failed');
    const recorded = (await pair.rows()).filter(({ path }) => path.startsWith('f/')).length;
    const standing = new Set(readdirSync(join(pair.backup, 'f')));
    assert.ok(recorded >= 1000 && recorded < standing.size && standing.size < 7000, `${recorded} of ${standing.size}`);
    for (const { path } of await pair.rows()) assert.ok(path === 'f' || standing.has(path.slice(2)), path);
    const rest = await pair.sync();
    assert.equal([rest.status, rest.files_copied], ['completed', 7000 - standing.size]);
    assert.equal(treeOf(pair.backup), treeOf(pair.master));
    assert.equal((await pair.plan()).actions, []);
  });
});

test('a dry run writes nothing at all: not on the drives, not in the settings, not in the journal', async () => {
  const files: World = { a: '1', 'd/b': '2', changed: 'old', gone: 'g', l: { symlink: 'a' } };
  await withPair({ master: files }, async (pair) => {
    const places = (): Record<string, string> => {
      const all = Object.assign(
        {},
        ...[pair.master, pair.backup, pair.box.config, pair.box.data].map(snapshotOf),
      ) as Record<string, string>;
      // SQLite's shared memory comes and goes beside a database that is only read.
      delete all[pair.box.data];
      return all;
    };
    const database = join(pair.box.data, 'tandem.db');
    rmSync(database, { force: true });
    await pair.ctx.close();
    await pair.box.run(['groups', 'list']);
    for (const args of [
      ['run', 'Archive', '--dry-run'],
      ['run', 'Archive', '-n', '--json', '--checksum', '--delete'],
      ['plan', 'Archive'],
      ['status', 'Archive'],
    ]) {
      const before = places();
      const result = await pair.box.run(['sync', ...args]);
      assert.is(result.code, 0, result.stderr);
      assert.equal(differences(before, places()), [], args.join(' '));
      assert.not(existsSync(database), `${args.join(' ')}: no database`);
    }
    await pair.sync();
    edit(pair.master, { changed: 'new content', fresh: 'f' });
    edit(pair.backup, { 'd/b': 'conflict' });
    rmSync(join(pair.master, 'gone'));
    await pair.ctx.close();
    const before = places();
    const result = await pair.box.run(['sync', 'run', 'Archive', '-n', '--delete', '--json']);
    assert.is(result.code, 3);
    const kinds = (result.json() as { actions: { kind: string; path: string }[] }).actions.map(
      ({ kind, path }) => `${kind} ${path}`,
    );
    assert.equal(kinds, ['update changed', 'conflict d/b', 'copy fresh', 'delete gone']);
    assert.equal(differences(before, places()), []);
  });
});

test('a dry run on a pair that was never signed leaves it unsigned', async () => {
  await withPair({ master: { a: '1' } }, async (pair) => {
    for (const root of [pair.master, pair.backup]) rmSync(join(root, '.tandem'), { recursive: true });
    const file = join(pair.box.config, 'storage_groups.yaml');
    writeFileSync(file, readFileSync(file, 'utf8').replace(/^\s*drive_uuid:.*\n/gm, ''));
    await pair.box.run(['groups', 'list']);
    const places = (): Record<string, string> =>
      Object.assign({}, ...[pair.master, pair.backup, pair.box.config].map(snapshotOf));
    const before = places();
    assert.is((await pair.box.run(['sync', 'run', 'Archive', '-n'])).code, 0);
    assert.equal(differences(before, places()), []);
    assert.is((await pair.box.run(['sync', 'run', 'Archive'])).code, 0);
    same(pair);
  });
});

test('a folder of the drive alone: nothing beside it is looked at, deleted or recorded', async () => {
  await withPair({ master: { 'x/y/a': '1', 'x/y/e/b': '2', 'x/other': '3', top: '4' } }, async (pair) => {
    const first = await clean(pair, { path: 'x/y' });
    assert.is(first.files_copied, 2);
    assert.equal(Object.keys(treeOf(pair.backup)), ['x/', 'x/y/', 'x/y/a', 'x/y/e/', 'x/y/e/b']);
    assert.equal((await pair.plan({ path: 'x/y' })).actions, []);
    await clean(pair);
    same(pair);
    rmSync(join(pair.master, 'x/other'));
    rmSync(join(pair.master, 'x/y/a'));
    assert.is((await clean(pair, { path: 'x/y', options: { on_master_delete: 'trash' } })).files_deleted, 1);
    assert.ok(existsSync(join(pair.backup, 'x/other')));
    assert.equal((await pair.plan({ path: 'x/y' })).actions, []);
  });
});

test("a path out of the drive, or into tandem's own folder, is refused", async () => {
  await withPair({ master: { 'a/b': '1' } }, async (pair) => {
    const before = { ...snapshotOf(pair.master), ...snapshotOf(pair.backup) };
    for (const path of [
      '.tandem',
      '.tandem/state',
      '../outside',
      '/etc',
      'a/../b',
      'lost+found',
      '.',
      'a\0b',
      'a//b',
    ]) {
      assert.is((await refusal(pair.sync({ path }))).exitCode, 2, path);
      assert.is((await refusal(pair.plan({ path }))).exitCode, 2, path);
    }
    assert.is((await pair.box.run(['sync', 'run', 'Archive', '--path', '.tandem'])).code, 2);
    const changed = differences(before, { ...snapshotOf(pair.master), ...snapshotOf(pair.backup) });
    const own = changed.filter((one) => !one.endsWith('/.tandem'));
    assert.equal(own, [], 'a lock may have come and gone');
  });
});

test('--path of a file, or of a link, forgets nothing and deletes nothing', async () => {
  await withPair({ master: { 'd/a': '1', 'd/b': '2', link: { symlink: 'd' } } }, async (pair) => {
    await clean(pair);
    const rows = await pair.rows();
    for (const path of ['d/a', 'link']) {
      await pair.sync({ path, options: { on_master_delete: 'trash' } }).catch(() => {});
      same(pair);
      assert.equal(
        (await pair.rows()).map((row) => row.path),
        rows.map((row) => row.path),
        path,
      );
    }
    await inStep(pair);
  });
});

test('hostile names reach the terminal without a control character', async () => {
  await withPair(
    {
      master: { 'bad\u001b[2Jname\n': '1', 'AUX\u202e': '2' },
      backup: { 'bad\u001b[2Jname\n': 'other', 'only\u0007': 'x' },
    },
    async (pair) => {
      for (const args of [
        ['run', 'Archive', '-n', '-v'],
        ['run', 'Archive'],
        ['status', 'Archive'],
        ['run', 'Archive', '--progress', 'plain'],
      ]) {
        const { stdout, stderr } = await pair.box.run(['sync', ...args]);
        // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there
        assert.not.match(`${stdout}${stderr}`.replace(/\n/g, ''), /[\u0000-\u001f\u202e]/);
      }
    },
  );
});

test('sockets, pipes and devices are left out and said so; the rest goes on', async () => {
  await withPair({ master: { a: '1' } }, async (pair) => {
    execFileSync('mkfifo', [join(pair.master, 'pipe')]);
    execFileSync('mknod', [join(pair.master, 'null'), 'c', '1', '3']);
    const result = await pair.sync();
    assert.is(result.files_copied, 1);
    assert.equal(result.problems.map(({ path }) => path).sort(), ['null', 'pipe']);
    assert.is(result.status, 'completed');
    rmSync(join(pair.master, 'a'));
    execFileSync('mkfifo', [join(pair.master, 'a')]);
    const swapped = await pair.sync({ options: { on_master_delete: 'trash' } });
    assert.is(swapped.files_deleted, 0, "a pipe in a file's place is no deletion");
    assert.ok(existsSync(join(pair.backup, 'a')));
  });
});

for (const env of [
  { TANDEM_NO_FFI: '1' },
  { TANDEM_NO_FIND: '1' },
  { TANDEM_NO_FFI: '1', TANDEM_NO_FIND: '1' },
] as Record<string, string>[]) {
  test(`without help (${Object.keys(env).join(', ')}) the main scenarios hold`, async () => {
    const odd: World = {
      'new\nline/é': '1',
      'a/b': '2',
      empty: '',
      'e/': null,
      l: { symlink: 'a' },
      h: { hardlink: 'a/b' },
      old: 'o',
      m: { content: 'm', mode: 0o600 },
    };
    await withPair({ master: odd }, async (pair) => {
      const { master, backup } = pair;
      const run = (...args: string[]): ReturnType<TestPair['box']['run']> =>
        pair.box.run(['sync', 'run', 'Archive', '--json', ...args], { env });
      execFileSync('touch', ['-d', '2021-01-01T00:00:00.123456Z', join(master, 'm')]);
      execFileSync('touch', ['-d', '1965-05-05T05:05:05.5Z', join(master, 'old')]);
      /** To 2 µs: what Node can set by itself. */
      const near = (root: string): unknown =>
        Object.fromEntries(
          Object.entries(treeOf(root)).map(([path, leaf]) => [
            path,
            { ...leaf, mtime: Math.round(Number(BigInt(leaf.mtime ?? 0) / 1000n) / 1e4) },
          ]),
        );
      assert.is((await run()).code, 0);
      assert.equal(near(backup), near(master));
      const again = (await run()).json() as { files_copied: number };
      assert.is(again.files_copied, 0);
      assert.is(
        (await pair.box.run(['sync', 'status', 'Archive', '--json'], { env })).json()?.['in_sync' as never],
        true,
      );
      edit(master, { 'a/b': 'changed', m: 'longer content' });
      rmSync(join(master, 'empty'));
      const second = await run('--delete');
      assert.is(second.code, 0, second.stdout + second.stderr);
      assert.equal(near(backup), near(master));
      assert.ok(versionsOf(backup).some(([path, content]) => path === 'm' && content === 'm'));
      edit(master, { m: 'master' });
      edit(backup, { m: 'backup!' });
      assert.is((await run()).code, 3);
      assert.is(readFileSync(join(backup, 'm'), 'utf8'), 'backup!');
    });
  });
}

test('a run leaves nothing behind on the signal that outlives it', async () => {
  await withPair({ master: { a: '1' } }, async (pair) => {
    const before = boundTo(pair.ctx.signal);
    await pair.sync();
    edit(pair.master, { a: '22' });
    await pair.sync();
    assert.is(boundTo(pair.ctx.signal), before);
  });
});

test('progress as NDJSON has the documented fields, and the history the counts', async () => {
  await withPair({ master: { a: '1', b: '22' } }, async (pair) => {
    edit(pair.master, { big: 'x'.repeat(20_000_000) });
    const result = await pair.box.run([
      'sync',
      'run',
      'Archive',
      '--json',
      '--bwlimit',
      '20',
      '--progress',
      'json',
      '--verify',
      'checksum',
      '--parallel',
      '1',
    ]);
    const events = result.stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string; operation_id?: string; progress?: Record<string, unknown> });
    const { operation_id } = result.json() as { operation_id: string };
    assert.is(events[0]?.kind, 'operation_started');
    assert.is(events.at(-1)?.kind, 'operation_ended');
    const progress = events.filter(({ kind }) => kind === 'progress');
    assert.ok(progress.length > 0);
    for (const event of progress) {
      assert.is(event.operation_id, operation_id);
      const fields = [
        'phase',
        'files_done',
        'files_total',
        'files_copied',
        'files_skipped',
        'files_failed',
        'bytes_done',
        'bytes_total',
        'rate',
        'eta',
        'current',
      ];
      for (const field of fields) assert.ok(field in (event.progress ?? {}), field);
      assert.ok(Number(event.progress?.['bytes_done']) <= Number(event.progress?.['bytes_total']));
    }
    const [operation] = await listOperations({ limit: 1 }, pair.ctx);
    assert.equal(
      [operation?.uuid, operation?.status, operation?.files_copied, operation?.bytes_copied],
      [operation_id, 'completed', 3, 20_000_003],
    );
    const status = await verifySyncStatus('Archive', undefined, pair.ctx);
    assert.ok(status.in_sync);
    assert.is(status.last_success, operation?.end_time);
  });
});

test('a run of several groups, an unknown group, no group at all', async () => {
  await withPair({ master: { a: '1' } }, async (pair) => {
    assert.is((await pair.box.run(['sync', 'run'])).code, 2);
    const unknown = await pair.box.run(['sync', 'run', 'Archiv']);
    assert.is(unknown.code, 2);
    assert.match(unknown.stderr, 'Archive');
    assert.is((await pair.box.run(['sync', 'run', '--all'])).code, 0);
    same(pair);
    assert.is((await refusal(syncToBackup('nothing', {}, pair.ctx))).exitCode, 2);
  });
});

test('two spellings of one rename: moving a tree aside and back ends where it began', async () => {
  await withPair({ master: { 'd/a': '1', 'd/b/c': '2' } }, async (pair) => {
    await clean(pair);
    renameSync(join(pair.master, 'd'), join(pair.master, 'e'));
    await clean(pair, { options: { on_master_delete: 'trash' } });
    same(pair);
    renameSync(join(pair.master, 'e'), join(pair.master, 'd'));
    await clean(pair, { options: { on_master_delete: 'trash' } });
    same(pair);
    await inStep(pair);
  });
});

test('a parent folder replaced by a link on the Backup is never written through', async () => {
  await withPair({ master: { 'd/a': '1', 'd/b': '2' } }, async (pair) => {
    await clean(pair);
    const outside = join(pair.box.root, 'outside');
    mkdirSync(outside);
    rmSync(join(pair.backup, 'd'), { recursive: true });
    symlinkSync(outside, join(pair.backup, 'd'));
    edit(pair.master, { 'd/a': 'changed', 'd/c': 'new' });
    await pair.sync({ options: { on_master_delete: 'trash' } });
    assert.equal(readdirSync(outside), []);
    unlinkSync(join(pair.backup, 'd'));
    await clean(pair);
    same(pair);
  });
});

test('a file restored to the Backup is whole, whatever its size, and a plain file does not count as sparse', async () => {
  const sizes = [65_535, 65_536, 65_537, 70_001, 4_194_305];
  const files = Object.fromEntries(sizes.map((size) => [`f${size}`, 'x'.repeat(size)]));
  await withPair({ master: files }, async (pair) => {
    await clean(pair);
    for (const name of Object.keys(files)) rmSync(join(pair.backup, name));
    assert.equal(
      (await pair.plan()).actions.filter(({ sparse }) => sparse).map(({ path }) => path),
      [],
    );
    await clean(pair);
    for (const [name, content] of Object.entries(files))
      assert.ok(readFileSync(join(pair.backup, name), 'utf8') === content, name);
  });
});

test('a sparse file of an odd size keeps its end', async () => {
  await withPair({}, async (pair) => {
    const fd = openSync(join(pair.master, 'disk.img'), 'w');
    writeSync(fd, 'head');
    writeSync(fd, 'tail', 20_000_003);
    closeSync(fd);
    lutimesSync(join(pair.master, 'disk.img'), 1e9, 1e9);
    await clean(pair);
    assert.ok(readFileSync(join(pair.backup, 'disk.img')).equals(readFileSync(join(pair.master, 'disk.img'))));
  });
});

test.run();
