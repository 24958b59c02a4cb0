/** The sync on real filesystems: ext4, exFAT and NTFS on loop devices, each with what it cannot do. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readSignature } from '../features/detect.ts';
import { listOperations } from '../features/history.ts';
import { type DriveKind, type DriveSpec, driveTest, type TestDrive } from './helpers/drives.ts';
import { edit, refusal, versionsOf, withRealPair } from './helpers/pair.ts';
import { treeOf, type World } from './helpers/world.ts';

const test = suite('sync on real drives');
const MB = 1024 * 1024;

const pairOf = (master: DriveKind, backup: DriveKind, sizes: [number, number] = [64, 64]): DriveSpec[] => [
  { label: 'Master', fs: master, size: sizes[0] * MB },
  { label: 'Backup', fs: backup, size: sizes[1] * MB },
];

/** Paths, contents and times to the second: what every filesystem keeps. */
const contentsOf = (root: string): Record<string, string> =>
  Object.fromEntries(
    Object.entries(treeOf(root, ['mode', 'mtime']))
      .filter(([path]) => path !== 'lost+found/')
      .map(([path, leaf]) => [path, leaf.content ?? leaf.symlink ?? '']),
  );

const TREE: World = {
  'Day 1/a.raw': 'aaaa',
  'Day 1/ünï 😀.txt': 'b',
  'Day 2/': null,
  empty: '',
  big: 'x'.repeat(3_000_001),
  old: { content: 'o', mtime: 1e9 },
};

const inode = (path: string): bigint => lstatSync(path, { bigint: true }).ino;

for (const [master, backup] of [
  ['ext4', 'ext4'],
  ['ext4', 'exfat'],
  ['ext4', 'ntfs'],
  ['exfat', 'ext4'],
  ['ntfs', 'exfat'],
] as [DriveKind, DriveKind][]) {
  driveTest(
    test,
    `${master} to ${backup}: first sync, nothing to do, replacement, deletion, remount`,
    pairOf(master, backup),
    async (drives) => {
      await withRealPair(drives, { master: TREE }, async (pair) => {
        const first = await pair.sync({ options: { verify_checksums: 'checksum' } });
        assert.equal([first.status, first.files_copied, first.problems], ['completed', 5, []]);
        assert.equal(contentsOf(pair.backup), contentsOf(pair.master));
        assert.is(Math.floor(lstatSync(join(pair.backup, 'old')).mtimeMs / 1000), 1e9);
        assert.equal((await pair.plan()).actions, []);
        edit(pair.master, { 'Day 1/a.raw': 'changed', fresh: 'f' });
        rmSync(join(pair.master, 'empty'));
        const second = await pair.sync({ options: { on_master_delete: 'trash' } });
        assert.equal([second.files_copied, second.files_deleted, second.problems], [2, 1, []]);
        assert.equal(contentsOf(pair.backup), contentsOf(pair.master));
        assert.equal(versionsOf(pair.backup, second.operation_id), [
          ['Day 1/a.raw', 'aaaa'],
          ['empty', ''],
        ]);
        assert.equal((await pair.plan()).actions, []);
        for (const drive of drives) {
          spawnSync('umount', [drive.mount]);
          drive.replug();
        }
        const quiet = await pair.plan();
        assert.equal(
          quiet.actions.filter(({ kind }) => kind !== 'adopt' && kind !== 'meta'),
          [],
          'a remount changes nothing that matters',
        );
        const again = await pair.sync();
        assert.equal([again.files_copied, again.conflicts_detected, again.files_failed], [0, 0, 0]);
        assert.equal((await pair.plan()).actions, []);
      });
    },
  );
}

driveTest(
  test,
  'ext4 to exFAT: what it cannot hold is said before the first byte, the rest is kept',
  pairOf('ext4', 'exfat'),
  async (drives) => {
    await withRealPair(
      drives,
      {
        master: {
          'a:b': '1',
          link: { symlink: 'x' },
          'Case.txt': 'one',
          'case.TXT': 'two',
          'ends.': '1',
          AUX: '1',
          good: 'g',
        },
      },
      async (pair) => {
        execFileSync('touch', ['-d', '1965-01-01T00:00:00Z', join(pair.master, 'ancient')]);
        execFileSync('touch', ['-d', '2200-01-01T00:00:00Z', join(pair.master, 'future')]);
        const result = await pair.box.run(['sync', 'run', 'Archive', '--json']);
        assert.is(result.code, 4, result.stderr);
        const named = (result.json() as { problems: { path: string }[] }).problems.map(({ path }) => path);
        for (const path of ['a:b', 'link', 'ends.', 'AUX', 'ancient', 'future']) assert.ok(named.includes(path), path);
        assert.is(named.filter((path) => path.toLowerCase() === 'case.txt').length, 1);
        assert.is(readFileSync(join(pair.backup, 'good'), 'utf8'), 'g');
        assert.is(new Date(lstatSync(join(pair.backup, 'ancient')).mtimeMs).getUTCFullYear(), 1980);
        assert.is(new Date(lstatSync(join(pair.backup, 'future')).mtimeMs).getUTCFullYear(), 2107);
        assert.ok(['one', 'two'].includes(readFileSync(join(pair.backup, 'case.txt'), 'utf8')));
        const again = await pair.sync();
        assert.equal(
          [again.files_copied, again.conflicts_detected],
          [0, 0],
          'clamped times and collisions do not come back as changes',
        );
        assert.equal((await pair.plan()).actions, []);
      },
    );
  },
);

driveTest(
  test,
  'exFAT has neither ctime nor ids: --checksum finds what size and time hide',
  pairOf('exfat', 'exfat'),
  async (drives) => {
    await withRealPair(
      drives,
      { master: { a: { content: 'aaaa', mtime: 1e9 }, b: { content: 'bbbb', mtime: 1e9 } } },
      async (pair) => {
        await pair.sync();
        edit(pair.master, { a: { content: 'AAAA', mtime: 1e9 } });
        edit(pair.backup, { b: { content: 'bbBb', mtime: 1e9 } });
        assert.equal((await pair.plan()).actions, []);
        const plan = await pair.plan({ options: { checksum: true } });
        assert.equal(
          plan.actions.filter(({ kind }) => kind !== 'adopt').map(({ kind, path }) => `${kind} ${path}`),
          ['conflict a', 'conflict b'],
        );
      },
    );
  },
);

driveTest(
  test,
  'FAT-like clocks: times shifted by whole hours are read before they are believed',
  pairOf('exfat', 'exfat'),
  async (drives) => {
    await withRealPair(
      drives,
      { master: { a: { content: 'aaaa', mtime: 1e9 }, b: { content: 'bbbb', mtime: 1e9 } } },
      async (pair) => {
        await pair.sync();
        for (const name of ['a', 'b']) utimesSync(join(pair.backup, name), 1e9 + 3600, 1e9 + 3600);
        edit(pair.backup, { b: { content: 'BBBB', mtime: 1e9 + 3600 } });
        const plan = await pair.plan();
        assert.equal(
          plan.actions.filter(({ kind }) => kind === 'conflict' || kind === 'update').map(({ path }) => path),
          ['b'],
        );
      },
    );
  },
);

driveTest(
  test,
  'a crash between the two renames on exFAT is put right by the next run',
  pairOf('ext4', 'exfat'),
  async (drives) => {
    await withRealPair(drives, { master: { 'd/x': 'new content', y: '1' } }, async (pair) => {
      edit(pair.master, { 'd/x': 'old' });
      await pair.sync();
      edit(pair.master, { 'd/x': 'new content' });
      // As the cable is pulled just after the first rename.
      const own = join(pair.backup, '.tandem');
      for (const folder of ['partial/dead', 'trash/dead/d', 'intent'])
        mkdirSync(join(own, folder), { recursive: true });
      writeFileSync(join(own, 'partial/dead/1'), 'new content');
      renameSync(join(pair.backup, 'd/x'), join(own, 'trash/dead/d/x'));
      writeFileSync(
        join(own, 'intent/dead-1.json'),
        JSON.stringify([{ path: 'd/x', partial: '.tandem/partial/dead/1', trash: '.tandem/trash/dead/d/x' }]),
      );
      const result = await pair.sync({ options: { on_master_delete: 'trash' } });
      assert.equal([result.status, result.conflicts_detected, result.files_deleted], ['completed', 0, 0]);
      assert.is(readFileSync(join(pair.backup, 'd/x'), 'utf8'), 'new content');
      assert.is(readFileSync(join(own, 'trash/dead/d/x'), 'utf8'), 'old');
      assert.equal([readdirSync(join(own, 'intent')), readdirSync(join(own, 'partial'))], [[], []]);
      assert.equal((await pair.plan()).actions, []);
    });
  },
);

driveTest(
  test,
  'NTFS keeps the old file under its inode: a version is the file itself, not a copy',
  pairOf('ext4', 'ntfs'),
  async (drives) => {
    await withRealPair(drives, { master: { a: 'one', l1: 'l', l2: { hardlink: 'l1' } } }, async (pair) => {
      await pair.sync();
      assert.is(inode(join(pair.backup, 'l1')), inode(join(pair.backup, 'l2')));
      const before = inode(join(pair.backup, 'a'));
      edit(pair.master, { a: 'two' });
      const { operation_id } = await pair.sync();
      const version = join(pair.backup, '.tandem/trash', operation_id, 'a');
      assert.equal(
        [readFileSync(version, 'utf8'), inode(version) === before, lstatSync(version).nlink],
        ['one', true, 1],
      );
      assert.equal((await pair.plan()).actions, []);
    });
  },
);

// --- room, rights, presence ---

driveTest(
  test,
  'a Backup that is too small: exit 6 before the first byte; with --force as much as fits, exit 4, nothing half',
  pairOf('ext4', 'ext4', [96, 24]),
  async (drives) => {
    const files = Object.fromEntries(
      Array.from({ length: 12 }, (_, index) => [`f${index}`, Buffer.alloc(4 * MB, index + 1)]),
    );
    await withRealPair(drives, { master: { ...files, small: 's' } }, async (pair) => {
      const refused = await pair.box.run(['sync', 'run', 'Archive']);
      assert.is(refused.code, 6, refused.stdout);
      assert.match(refused.stderr, 'free-space');
      assert.equal(treeOf(pair.backup), {
        ...(existsSync(join(pair.backup, 'lost+found')) ? { 'lost+found/': treeOf(pair.backup)['lost+found/'] } : {}),
      });
      const forced = await pair.box.run(['sync', 'run', 'Archive', '--force', 'free-space', '--json']);
      assert.is(forced.code, 4, forced.stderr);
      const { files_copied, files_failed, problems } = forced.json() as {
        files_copied: number;
        files_failed: number;
        problems: { message: string }[];
      };
      assert.is(files_copied + files_failed, 13);
      assert.ok(files_copied >= 2 && files_failed >= 1, `${files_copied} copied`);
      assert.match(problems[0]?.message ?? '', 'full');
      for (const [path, leaf] of Object.entries(treeOf(pair.backup))) {
        if (path.startsWith('lost')) continue;
        assert.is(leaf.content, treeOf(pair.master)[path]?.content, `${path} is whole`);
      }
      assert.equal(
        existsSync(join(pair.backup, '.tandem/partial')) ? readdirSync(join(pair.backup, '.tandem/partial')) : [],
        [],
      );
      assert.is((await listOperations({ limit: 1 }, pair.ctx))[0]?.status, 'failed');
      for (const name of Object.keys(files)) rmSync(join(pair.master, name));
      assert.is((await pair.box.run(['sync', 'run', 'Archive', '--delete'])).code, 0);
    });
  },
);

driveTest(test, 'a file that is restored needs its room too', pairOf('ext4', 'ext4', [64, 24]), async (drives) => {
  await withRealPair(drives, { master: { a: Buffer.alloc(12 * MB, 1), small: 's' } }, async (pair) => {
    await pair.sync();
    rmSync(join(pair.backup, 'a'));
    writeFileSync(join(pair.backup, 'filler'), Buffer.alloc(14 * MB, 2));
    assert.equal((await refusal(pair.sync())).guard, 'free-space');
  });
});

driveTest(
  test,
  'a read-only Backup: exit 1 and a hint; a read-only Master is all a sync needs',
  pairOf('ext4', 'ext4'),
  async (drives) => {
    await withRealPair(drives, { master: { a: '1' } }, async (pair) => {
      const [master, backup] = drives as [TestDrive, TestDrive];
      execFileSync('mount', ['-o', 'remount,ro', backup.mount]);
      const refused = await pair.box.run(['sync', 'run', 'Archive']);
      assert.is(refused.code, 1, refused.stdout);
      assert.match(refused.stderr, 'read-only');
      assert.match(refused.stderr, 'hint');
      execFileSync('mount', ['-o', 'remount,rw', backup.mount]);
      execFileSync('mount', ['-o', 'remount,ro', master.mount]);
      const result = await pair.box.run(['sync', 'run', 'Archive']);
      assert.is(result.code, 0, result.stderr);
      assert.is(readFileSync(join(pair.backup, 'a'), 'utf8'), '1');
    });
  },
);

driveTest(
  test,
  'a copy of the Backup plugged in beside it is an impostor: exit 6, both are named, no force helps',
  [...pairOf('ext4', 'ext4'), { label: 'Backup', fs: 'ext4' }],
  async (drives) => {
    const [, backup, copy] = drives as [TestDrive, TestDrive, TestDrive];
    await withRealPair(drives, { master: { a: '1' } }, async (pair) => {
      await pair.sync();
      edit(pair.master, { a: '2' });
      writeFileSync(
        join(pair.box.config, 'app.yaml'),
        `version: 1\ndrives:\n  allow_fixed: ${JSON.stringify(drives.map(({ mount }) => mount))}\n`,
      );
      mkdirSync(join(copy.mount, '.tandem'), { recursive: true });
      writeFileSync(join(copy.mount, '.tandem/drive.json'), readFileSync(join(backup.mount, '.tandem/drive.json')));
      const result = await pair.box.run(['sync', 'run', 'Archive', '--force']);
      assert.is(result.code, 6, result.stdout);
      for (const mount of [backup.mount, copy.mount]) assert.match(result.stderr, mount);
      assert.is(readFileSync(join(backup.mount, 'a'), 'utf8'), '1');
    });
  },
);

for (const [name, index, kind] of [
  ['Backup', 1, 'ext4'],
  ['Master', 0, 'ext4'],
  ['Backup', 1, 'exfat'],
] as const) {
  driveTest(
    test,
    `the ${name} (${kind}) is pulled in mid-run: exit 5, nothing beside the drive, the next run completes`,
    pairOf('ext4', index === 1 ? kind : 'ext4', [200, 200]),
    async (drives) => {
      const files = Object.fromEntries(
        Array.from({ length: 30 }, (_, at) => [`d${at % 3}/f${at}`, Buffer.alloc(4 * MB, at + 1)]),
      );
      await withRealPair(drives, { master: { ...files, replaced: 'old' } }, async (pair) => {
        const drive = drives[index] as TestDrive;
        await pair.sync({ options: { filters: { ...(await pair.plan()).options.filters, max_size: 1000 } } });
        edit(pair.master, { replaced: 'new' });
        const run = pair.box.run(['sync', 'run', 'Archive', '--parallel', '1', '--json']);
        await until(
          () =>
            existsSync(join(pair.backup, '.tandem/partial')) &&
            readdirSync(join(pair.backup, '.tandem/partial')).length > 0,
        );
        drive.unplug();
        const result = await run;
        assert.is(result.code, 5, `${result.stdout}${result.stderr}`);
        assert.equal(readdirSync(drive.mount), [], 'nothing was written below the mount point');
        drive.replug();
        const whole = contentsOf(pair.master);
        for (const [path, content] of Object.entries(contentsOf(pair.backup))) {
          if (path.endsWith('/')) continue;
          assert.ok(content === whole[path] || (path === 'replaced' && content === 'old'), `${path} is whole`);
        }
        const [operation] = await listOperations({ limit: 1 }, pair.ctx);
        assert.is(operation?.status, 'failed');
        const next = await pair.sync();
        assert.equal([next.status, next.conflicts_detected], ['completed', 0], JSON.stringify(next.problems));
        const kept = contentsOf(pair.backup);
        assert.equal(
          Object.keys(whole).filter((path) => kept[path] !== whole[path]),
          [],
        );
        assert.ok(readSignature(pair.backup));
      });
    },
  );
}

async function until(condition: () => boolean, milliseconds = 15_000): Promise<void> {
  for (const deadline = Date.now() + milliseconds; !condition(); ) {
    if (Date.now() > deadline) throw new Error('what the test waits for did not happen');
    await new Promise((done) => setTimeout(done, 5));
  }
}

driveTest(
  test,
  'another drive appears over the Backup in mid-run: the run ends, the newcomer stays empty',
  [...pairOf('ext4', 'ext4', [200, 200]), { label: 'Other', fs: 'ext4' }],
  async (drives) => {
    const [, backup, other] = drives as [TestDrive, TestDrive, TestDrive];
    const files = Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`f${at}`, Buffer.alloc(4 * MB, at + 1)]));
    await withRealPair(drives, { master: files }, async (pair) => {
      const run = pair.box.run(['sync', 'run', 'Archive', '--parallel', '1']);
      await until(
        () =>
          existsSync(join(backup.mount, '.tandem/partial')) &&
          readdirSync(join(backup.mount, '.tandem/partial')).length > 0,
      );
      execFileSync('mount', ['--bind', other.mount, backup.mount]);
      try {
        const result = await run;
        assert.ok(result.code === 5 || result.code === 6, `${result.code} ${result.stdout}`);
        assert.equal(
          readdirSync(other.mount).filter((name) => name !== 'lost+found'),
          [],
        );
      } finally {
        spawnSync('umount', ['-l', backup.mount]);
      }
      assert.is((await pair.box.run(['sync', 'run', 'Archive'])).code, 0);
      assert.equal(contentsOf(pair.backup)['f29'], contentsOf(pair.master)['f29']);
    });
  },
);

driveTest(
  test,
  'another process fills the Backup between plan and copy: files fail one by one, and the old ones stay',
  pairOf('ext4', 'ext4', [64, 32]),
  async (drives) => {
    await withRealPair(drives, { master: { a: 'old', b: 'old' } }, async (pair) => {
      await pair.sync();
      edit(pair.master, { a: Buffer.alloc(6 * MB, 1), b: Buffer.alloc(6 * MB, 2) });
      const filler = spawn(
        'sh',
        [
          '-c',
          'while [ -z "$(ls "$1/.tandem/partial")" ]; do :; done; dd if=/dev/zero of="$1/filler" bs=1M 2>/dev/null',
          'sh',
          pair.backup,
        ],
        { stdio: 'ignore' },
      );
      const ended = new Promise((done) => filler.once('exit', done));
      const result = await pair.sync();
      await ended;
      for (const name of ['a', 'b']) {
        const content = readFileSync(join(pair.backup, name));
        assert.ok(
          content.toString() === 'old' || content.equals(readFileSync(join(pair.master, name))),
          `${name} is old or new, nothing between`,
        );
      }
      assert.is(result.files_copied + result.files_failed, 2);
      rmSync(join(pair.backup, 'filler'));
      const next = await pair.sync();
      assert.is(next.files_failed, 0);
      lutimesSync(join(pair.master, 'a'), 1e9, 1e9);
    });
  },
);

test.run();
