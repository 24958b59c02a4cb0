/** Conflicts: nothing is decided by itself, what was decided stands on both sides, and no loser is lost. */
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listConflicts, resolveConflicts } from '../features/conflicts.ts';
import { setGroupOptions } from '../features/groups.ts';
import { besideName } from '../features/resolution.ts';
import { mergeConflict, resolvePaths } from '../features/settle.ts';
import { undoOperation } from '../features/undo.ts';
import { relPath } from '../shared/paths.ts';
import { driveTest } from './helpers/drives.ts';
import './helpers/inline-workers.ts';
import {
  age,
  archive,
  edit,
  refusal,
  snapshotOf,
  type TestPair,
  versionsOf,
  withPair,
  withRealPair,
} from './helpers/pair.ts';
import { treeOf, type World, world } from './helpers/world.ts';

const test = suite('conflicts');

/** Both sides as they were agreed on, then edited apart. */
async function apart(
  start: World,
  master: (root: string) => void,
  backup: (root: string) => void,
  work: (pair: TestPair) => Promise<void>,
): Promise<void> {
  await withPair({ master: start }, async (pair) => {
    await pair.sync();
    master(pair.master);
    backup(pair.backup);
    await work(pair);
  });
}

const NOW = Math.floor(Date.now() / 1000);
const write =
  (path: string, content: string, ago = 100) =>
  (root: string) => {
    edit(root, { [path]: { content, mtime: NOW - ago } } as World);
  };
const remove = (path: string) => (root: string) => rmSync(join(root, path), { recursive: true });
const nothing = (): void => {};

const types = async (pair: TestPair): Promise<[string, string][]> =>
  (await listConflicts('Archive', undefined, pair.ctx)).map(({ path, conflict_type }) => [path, conflict_type]);

const read = (root: string, path: string): string | null =>
  existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : null;

/** After it both sides are equal, nothing waits, and the next run finds nothing to do. */
async function settled(pair: TestPair): Promise<void> {
  assert.equal(await types(pair), []);
  assert.equal(treeOf(pair.backup), treeOf(pair.master));
  const result = await pair.sync();
  assert.equal([result.status, result.files_copied, result.conflicts_detected], ['completed', 0, 0]);
}

// Type, what the Master did, what the Backup did, and what stands for each choice: [master, backup].
const CASES: [string, (root: string) => void, (root: string) => void, { m: string | null; b: string | null }][] = [
  ['modified_both', write('a', 'M', 500), write('a', 'bb', 200), { m: 'M', b: 'bb' }],
  ['size_mismatch', write('a', 'M', 500), write('a', 'bb', 500), { m: 'M', b: 'bb' }],
  ['modified_backup', nothing, write('a', 'bb', 200), { m: 'old', b: 'bb' }],
  ['deleted_master', remove('a'), write('a', 'bb', 200), { m: null, b: 'bb' }],
];

for (const [type, master, backup, stands] of CASES) {
  for (const [keep, wanted] of [
    ['keep_master', stands.m],
    ['keep_backup', stands.b],
  ] as const) {
    test(`${type}: ${keep} stands on both sides, the loser is in the trash of its drive`, async () => {
      await apart({ a: 'old', z: 'z' }, master, backup, async (pair) => {
        const before = [read(pair.master, 'a'), read(pair.backup, 'a')];
        assert.is((await pair.sync()).conflicts_detected, 1);
        assert.equal([read(pair.master, 'a'), read(pair.backup, 'a')], before, 'a sync leaves both as they are');
        assert.equal((await types(pair))[0], ['a', type]);
        const result = await resolveConflicts('Archive', { a: keep }, pair.ctx);
        assert.equal([result.status, result.problems], ['completed', []]);
        assert.equal([read(pair.master, 'a'), read(pair.backup, 'a')], [wanted, wanted]);
        const kept = [...versionsOf(pair.master), ...versionsOf(pair.backup)].map(([, content]) => content);
        for (const content of before) assert.ok(content === null || content === wanted || kept.includes(content));
        await settled(pair);
      });
    });
  }
}

test('deleted_backup, where the group asks: restored, or deleted on the Master', async () => {
  for (const [keep, wanted] of [
    ['keep_master', 'old'],
    ['keep_backup', null],
  ] as const) {
    await apart({ a: 'old', z: 'z' }, nothing, remove('a'), async (pair) => {
      await setGroupOptions('Archive', ['on_backup_delete=ask'], undefined, pair.ctx);
      await pair.sync();
      assert.equal(await types(pair), [['a', 'deleted_backup']]);
      await resolveConflicts('Archive', { a: keep }, pair.ctx);
      assert.equal([read(pair.master, 'a'), read(pair.backup, 'a')], [wanted, wanted]);
      if (wanted === null) assert.equal(versionsOf(pair.master), [['a', 'old']]);
      await settled(pair);
    });
  }
});

test('keep_both: the Backup’s version stands beside the Master’s, on both sides, and takes no name that exists', async () => {
  const start = { 'Photo3.jpg': 'old', 'Photo3_backup.jpg': 'taken' };
  await apart(start, write('Photo3.jpg', 'M', 500), write('Photo3.jpg', 'bb', 200), async (pair) => {
    writeFileSync(join(pair.backup, 'Photo3_backup_2.jpg'), 'only here');
    await pair.sync();
    const result = await resolveConflicts('Archive', { 'Photo3.jpg': 'keep_both' }, pair.ctx);
    assert.equal(result.problems, []);
    for (const root of [pair.master, pair.backup]) {
      assert.is(read(root, 'Photo3.jpg'), 'M');
      assert.is(read(root, 'Photo3_backup.jpg'), 'taken');
      assert.is(read(root, 'Photo3_backup_3.jpg'), 'bb');
    }
    assert.is(read(pair.backup, 'Photo3_backup_2.jpg'), 'only here');
    assert.equal(await types(pair), [['Photo3_backup_2.jpg', 'new_backup']]);
  });
});

test('names beside: the extension stays, a sidecar keeps the name that it belongs to', () => {
  const cases: [string, number, string][] = [
    ['Photo3.jpg', 1, 'Photo3_backup.jpg'],
    ['Photo3.jpg', 2, 'Photo3_backup_2.jpg'],
    ['my.photo.jpg', 1, 'my.photo_backup.jpg'],
    ['IMG_1.CR3.xmp', 1, 'IMG_1_backup.CR3.xmp'],
    ['IMG_1.xmp', 1, 'IMG_1_backup.xmp'],
    ['README', 1, 'README_backup'],
    ['.hidden', 1, '.hidden_backup'],
  ];
  for (const [name, number, wanted] of cases) assert.is(besideName(name, number), wanted);
});

test('newest and largest choose by the files themselves, and refuse where they cannot tell', async () => {
  const start = { a: 'old', b: 'old', c: 'old', d: 'old' };
  const master = (root: string): void => {
    write('a', 'M', 500)(root);
    write('b', 'MMM', 200)(root);
    write('c', 'M1', 200)(root);
    remove('d')(root);
  };
  const backup = (root: string): void => {
    for (const [path, ago] of [
      ['a', 200],
      ['b', 500],
      ['c', 500],
      ['d', 200],
    ] as const)
      write(path, 'bb', ago)(root);
  };
  await apart(start, master, backup, async (pair) => {
    await pair.sync();
    const keep = new Map([
      ['a', 'newest'],
      ['b', 'largest'],
      ['c', 'largest'],
      ['d', 'newest'],
    ] as const);
    const result = await resolvePaths(archive(pair.ctx), { keep }, pair.ctx);
    assert.equal([read(pair.master, 'a'), read(pair.backup, 'a')], ['bb', 'bb']);
    assert.equal([read(pair.master, 'b'), read(pair.backup, 'b')], ['MMM', 'MMM']);
    assert.equal(
      result.problems.map(({ path }) => path),
      ['c', 'd'],
    );
    assert.equal(
      (await types(pair)).map(([path]) => path),
      ['c', 'd'],
      'what was refused waits on',
    );
    assert.is(result.conflicts_detected, 2);
  });
});

test('what a choice replaces is a version of its own operation, also where contents were read for it, and comes back', async () => {
  await apart({ a: 'old' }, write('a', 'MM', 500), write('a', 'bb', 200), async (pair) => {
    await pair.sync();
    for (const [keep, root] of [
      ['master', pair.backup],
      ['backup', pair.master],
    ] as const) {
      const before = [read(pair.master, 'a'), read(pair.backup, 'a')];
      const chosen = await resolvePaths(archive(pair.ctx), { keep: new Map([['a', keep]]) }, pair.ctx);
      assert.equal(versionsOf(root, chosen.operation_id), [['a', root === pair.backup ? 'bb' : 'MM']]);
      const undone = await undoOperation(chosen.operation_id, {}, pair.ctx);
      assert.equal([undone.status, undone.problems], ['completed', []]);
      assert.equal([read(pair.master, 'a'), read(pair.backup, 'a')], before);
    }
    for (const root of [pair.master, pair.backup]) assert.not(existsSync(join(root, '.tandem', 'trash', 'plan')));
  });
});

test('a choice is refused when a side changed since it was shown, and nothing is touched', async () => {
  await apart({ a: 'old' }, write('a', 'M', 500), write('a', 'bb', 200), async (pair) => {
    await pair.sync();
    for (const root of [pair.master, pair.backup]) {
      write('a', `later on ${root === pair.master}`, 10)(root);
      const before = [treeOf(pair.master), treeOf(pair.backup)];
      const result = await resolveConflicts('Archive', { a: 'keep_master' }, pair.ctx);
      assert.match(result.problems[0]?.message ?? '', /changed since the conflict was recorded/);
      assert.equal([treeOf(pair.master), treeOf(pair.backup)], before);
    }
    // Seen anew, it can be decided.
    assert.equal((await resolveConflicts('Archive', { a: 'keep_master' }, pair.ctx)).problems, []);
    await settled(pair);
  });
});

test('a path that waits for nothing is refused, as is an unknown resolution', async () => {
  await apart({ a: 'old' }, nothing, nothing, async (pair) => {
    assert.is((await refusal(resolveConflicts('Archive', { a: 'keep_master' }, pair.ctx))).code, 'not_found');
    assert.is((await refusal((async () => resolveConflicts('Archive', { a: 'keep_me' }, pair.ctx))())).code, 'invalid');
    assert.is(
      (await refusal((async () => resolveConflicts('Archive', { '../a': 'keep_both' }, pair.ctx))())).code,
      'invalid',
    );
  });
});

test('a conflict that the user settled by hand leaves the inbox with the next run; others keep their date', async () => {
  const start = { a: 'old', 'sub/b': 'old' };
  const backup = (root: string): void => {
    write('a', 'bb', 200)(root);
    write('sub/b', 'bb', 200)(root);
  };
  await apart(start, nothing, backup, async (pair) => {
    await pair.sync();
    const [, before] = await listConflicts('Archive', undefined, pair.ctx);
    cpSync(join(pair.master, 'a'), join(pair.backup, 'a'), { preserveTimestamps: true });
    await new Promise((done) => setTimeout(done, 200));
    await pair.sync({ path: 'sub' });
    assert.is((await types(pair)).length, 2, 'what a run did not look at waits on');
    await pair.sync();
    const [after, none] = await listConflicts('Archive', undefined, pair.ctx);
    assert.is(none, undefined);
    assert.equal(after, before);
  });
});

test('a whole folder that only the Backup has: taken over with all that is in it, or moved to the trash', async () => {
  const tree = { 'only/deep/a': '1', 'only/b': { symlink: 'deep/a' }, 'only/empty/': null } as World;
  for (const keep of ['backup', 'master'] as const) {
    await apart(
      { z: 'z' },
      nothing,
      (root) => edit(root, tree),
      async (pair) => {
        const was = treeOf(pair.backup);
        await pair.sync();
        const waiting = (await types(pair)).map(([path]) => path);
        const chosen = new Map(waiting.map((path) => [path, keep] as const));
        assert.equal((await resolvePaths(archive(pair.ctx), { keep: chosen }, pair.ctx)).problems, []);
        await settled(pair);
        if (keep === 'backup') assert.equal(Object.keys(treeOf(pair.master)), Object.keys(was));
        else {
          assert.not(existsSync(join(pair.backup, 'only')));
          assert.equal(
            versionsOf(pair.backup).map(([path]) => path),
            ['only/b', 'only/deep/a'],
          );
        }
      },
    );
  }
});

test('file against folder: either can stand', async () => {
  for (const keep of ['master', 'backup'] as const) {
    const master = (root: string): void => {
      remove('x')(root);
      write('x', 'now a file', 500)(root);
    };
    await apart({ 'x/1': 'one', 'x/sub/2': 'two' }, master, write('x/1', 'changed', 200), async (pair) => {
      await pair.sync();
      const waiting = (await types(pair)).map(([path]) => path);
      assert.equal(waiting, ['x']);
      const result = await resolvePaths(archive(pair.ctx), { keep: new Map([['x', keep]]) }, pair.ctx);
      assert.equal(result.problems, []);
      await settled(pair);
      if (keep === 'master') assert.is(read(pair.backup, 'x'), 'now a file');
      else assert.equal([read(pair.master, 'x/1'), read(pair.master, 'x/sub/2')], ['changed', 'two']);
      const lost = keep === 'master' ? versionsOf(pair.backup) : versionsOf(pair.master);
      assert.equal(lost.map(([, content]) => content).sort(), keep === 'master' ? ['changed', 'two'] : ['now a file']);
    });
  }
});

test('links: the one that is chosen stands, none is followed', async () => {
  const master = (root: string): void => {
    remove('l')(root);
    symlinkSync('/nowhere/m', join(root, 'l'));
    age(root);
  };
  const backup = (root: string): void => {
    remove('l')(root);
    symlinkSync('../../outside', join(root, 'l'));
    age(root);
  };
  await apart({ l: { symlink: 'a' }, a: 'a' } as World, master, backup, async (pair) => {
    await pair.sync();
    await resolveConflicts('Archive', { l: 'keep_backup' }, pair.ctx);
    assert.equal(versionsOf(pair.master), [['l', '-> /nowhere/m']]);
    await settled(pair);
  });
});

test('hostile names are resolved like any other', async () => {
  const names = ['n\nl', 'tab\tand \\ back', '-rf', 'é\u0301', 'a~2', '*', '[x]', '\u001b[31m'];
  const start = Object.fromEntries(names.map((name) => [name, 'old']));
  const all = (content: string) => (root: string) => {
    for (const name of names) write(name, content, 200)(root);
  };
  await apart(start, all('M'), all('bb'), async (pair) => {
    await pair.sync();
    const keep = Object.fromEntries(
      names.map((name, index) => [name, index % 2 === 0 ? 'keep_master' : 'keep_backup']),
    );
    assert.equal((await resolveConflicts('Archive', keep, pair.ctx)).problems, []);
    for (const [index, name] of names.entries()) assert.is(read(pair.master, name), index % 2 === 0 ? 'M' : 'bb');
    await settled(pair);
  });
});

test('policies settle a type within the run; what they cannot decide waits', async () => {
  const start = { a: 'old', b: 'old', c: 'old' };
  const master = (root: string): void => {
    write('a', 'M', 200)(root);
    remove('b')(root);
  };
  const backup = (root: string): void => {
    write('a', 'bb', 500)(root);
    write('b', 'bb', 500)(root);
    write('c', 'bb', 500)(root);
    write('new', 'n', 500)(root);
  };
  await apart(start, master, backup, async (pair) => {
    const policies = ['modified_both=newest', 'deleted_master=newest', 'modified_backup=backup', 'new_backup=backup'];
    await setGroupOptions(
      'Archive',
      policies.map((one) => `conflict_policy.${one}`),
      undefined,
      pair.ctx,
    );
    const plan = await pair.plan();
    assert.is(plan.totals.conflict, 4);
    const result = await pair.sync();
    assert.equal([read(pair.backup, 'a'), read(pair.master, 'c'), read(pair.master, 'new')], ['M', 'bb', 'n']);
    assert.equal(await types(pair), [['b', 'deleted_master']]);
    assert.is(result.conflicts_detected, 1);
  });
});

test('merge: what the program made stands on both sides; its failure changes nothing', async () => {
  const start = { 'notes.txt': 'one\ntwo\n' };
  await apart(start, write('notes.txt', 'ONE\ntwo\n', 500), write('notes.txt', 'one\nTWO\n', 200), async (pair) => {
    await pair.sync();
    const before = [treeOf(pair.master), treeOf(pair.backup)];
    const failing = refusal(mergeConflict(archive(pair.ctx), relPath('notes.txt'), ['false'], {}, pair.ctx));
    assert.match((await failing).message, /ended with 1/);
    assert.equal([treeOf(pair.master), treeOf(pair.backup)], before);
    const program = ['sh', '-c', 'cat "$0" "$1" > "$2"', '{master}', '{backup}', '{merged}'];
    const result = await mergeConflict(archive(pair.ctx), relPath('notes.txt'), program, {}, pair.ctx);
    assert.equal(result.problems, []);
    assert.is(read(pair.master, 'notes.txt'), 'ONE\ntwo\none\nTWO\n');
    assert.equal(versionsOf(pair.master), [['notes.txt', 'ONE\ntwo\n']]);
    assert.equal(versionsOf(pair.backup), [['notes.txt', 'one\nTWO\n']]);
    await settled(pair);
  });
});

test('a dry run of a resolution writes nothing, and the command speaks of both drives', async () => {
  await apart({ a: 'old' }, write('a', 'M', 500), write('a', 'bb', 200), async (pair) => {
    await pair.sync();
    const listed = await pair.box.run(['conflicts', 'list', '--json']);
    assert.is(listed.code, 3);
    const [conflict] = listed.json() as { path: string; master: { size: number }; baseline: { checksum: string } }[];
    assert.equal([conflict?.path, conflict?.master.size, conflict?.baseline.checksum.length], ['a', 1, 64]);
    const before = [snapshotOf(pair.master), snapshotOf(pair.backup)];
    const dry = await pair.box.run(['conflicts', 'resolve', 'Archive', '--all', '--keep', 'both', '-n']);
    assert.is(dry.code, 0, dry.stderr);
    assert.match(dry.stdout, /copy +on the Master: a_backup\nupdate +on the Backup: a\ncopy +on the Backup: a_backup/);
    assert.equal([snapshotOf(pair.master), snapshotOf(pair.backup)], before);
    const diff = await pair.box.run(['conflicts', 'diff', 'Archive', 'a']);
    assert.match(diff.stdout, /-M\n\\ No newline at end of file\n\+bb/);
    const unnamed = await pair.box.run(['conflicts', 'resolve', 'Archive', '--keep', 'both']);
    assert.is(unnamed.code, 2);
    const done = await pair.box.run(['conflicts', 'resolve', 'Archive', 'a', '--keep', 'backup']);
    assert.is(done.code, 0, done.stderr);
    assert.is((await pair.box.run(['conflicts', 'list'])).code, 0);
    await settled(pair);
  });
});

const DRIVES = [
  { label: 'CMASTER', fs: 'ext4' },
  { label: 'CBACKUP', fs: 'exfat' },
] as const;

driveTest(test, 'on real drives: both edited while apart, three resolutions', DRIVES, async (mounted) => {
  const start = { 'Photo1.jpg': 'one', 'Photo2.jpg': 'two', 'Photo3.jpg': 'three' };
  await withRealPair(mounted, { master: start }, async (pair) => {
    await pair.sync();
    for (const name of Object.keys(start)) {
      write(name, `M ${name}`, 500)(pair.master);
      write(name, `backup ${name}`, 200)(pair.backup);
    }
    assert.is((await pair.sync()).conflicts_detected, 3);
    const choices = { 'Photo1.jpg': 'keep_master', 'Photo2.jpg': 'keep_backup', 'Photo3.jpg': 'keep_both' };
    assert.equal((await resolveConflicts('Archive', choices, pair.ctx)).problems, []);
    for (const root of [pair.master, pair.backup]) {
      assert.is(read(root, 'Photo1.jpg'), 'M Photo1.jpg');
      assert.is(read(root, 'Photo2.jpg'), 'backup Photo2.jpg');
      assert.is(read(root, 'Photo3.jpg'), 'M Photo3.jpg');
      assert.is(read(root, 'Photo3_backup.jpg'), 'backup Photo3.jpg');
    }
    assert.equal(await types(pair), []);
    assert.equal([(await pair.sync()).files_copied, (await types(pair)).length], [0, 0]);
  });
});

for (const edited of ['master', 'backup'] as const)
  driveTest(
    test,
    `only contents differ, on the ${edited}, on drives that tell no change: found by --checksum, it waits until it is settled`,
    [
      { label: 'SMASTER', fs: 'exfat' },
      { label: 'SBACKUP', fs: 'exfat' },
    ],
    (mounted) => {
      const both = (content: string): World => ({
        'a.txt': { content, mtime: 1_700_000_000 },
        'b.txt': { content, mtime: 1_700_000_000 },
      });
      return withRealPair(mounted, { master: both('old content') }, async (pair) => {
        await pair.sync();
        world(both('new content'), pair[edited]);
        assert.is((await pair.sync()).conflicts_detected, 0, 'what it is about');
        const sums = { options: { checksum: true } };
        const db = await pair.ctx.db();
        await db.run("CREATE TRIGGER cut BEFORE INSERT ON conflicts BEGIN SELECT RAISE(ABORT, 'cut off'); END");
        await refusal(pair.sync(sums));
        await db.run('DROP TRIGGER cut');
        assert.equal(await types(pair), []);
        assert.is((await pair.sync()).conflicts_detected, 2, 'what a run found that was cut off then is not forgotten');
        assert.is((await pair.sync(sums)).conflicts_detected, 2);
        const found = await types(pair);
        assert.is(found.length, 2);
        assert.is(
          (await pair.sync()).conflicts_detected,
          2,
          'a run that trusts sizes and times has not forgotten them',
        );
        assert.equal(await types(pair), found);
        const wanted = read(pair.backup, 'a.txt');
        const keep = new Map([['a.txt', 'backup']] as const);
        assert.equal((await resolvePaths(archive(pair.ctx), { keep }, pair.ctx)).problems, []);
        assert.equal([read(pair.master, 'a.txt'), read(pair.backup, 'a.txt')], [wanted, wanted]);
        assert.equal(await types(pair), found.slice(1));
        world({ 'b.txt': { content: String(read(pair.master, 'b.txt')), mtime: 1_700_000_000 } }, pair.backup);
        assert.is((await pair.sync()).conflicts_detected, 0, 'both agree again');
        await settled(pair);
        assert.equal([(await pair.sync(sums)).conflicts_detected, await types(pair)], [0, []]);
      });
    },
  );

driveTest(
  test,
  'where the first half of keep_both cannot be done, the second is not begun and the conflict waits on',
  [
    { label: 'FMASTER', fs: 'ext4', size: 32 * 1024 * 1024 },
    { label: 'FBACKUP', fs: 'ext4', size: 64 * 1024 * 1024 },
  ],
  async (mounted) => {
    await withRealPair(mounted, { master: { a: 'old' } }, async (pair) => {
      await pair.sync();
      write('a', 'M', 500)(pair.master);
      write('a', 'b'.repeat(4_000_000), 200)(pair.backup);
      await pair.sync();
      const filler = openSync(join(pair.master, 'filler'), 'w');
      try {
        for (const piece of [1_000_000, 4096]) for (;;) writeSync(filler, Buffer.alloc(piece));
      } catch (error) {
        assert.is((error as NodeJS.ErrnoException).code, 'ENOSPC');
      } finally {
        closeSync(filler);
      }
      const result = await resolveConflicts('Archive', { a: 'keep_both' }, pair.ctx);
      assert.equal([result.status, result.problems.length > 0], ['failed', true]);
      assert.is(read(pair.master, 'a'), 'M');
      assert.is(read(pair.backup, 'a')?.length, 4_000_000, 'it still stands under its own name');
      assert.equal((await types(pair)).filter(([path]) => path === 'a').length, 1);
    });
  },
);

test('a second name that a drive cannot hold is refused, and nothing is touched', async () => {
  const long = `${'n'.repeat(250)}.jpg`;
  await apart({ [long]: 'old' }, write(long, 'M', 500), write(long, 'bb', 200), async (pair) => {
    await pair.sync();
    const result = await resolveConflicts('Archive', { [long]: 'keep_both' }, pair.ctx);
    assert.match(result.problems[0]?.message ?? '', /second name/);
    assert.equal([read(pair.master, long), read(pair.backup, long)], ['M', 'bb']);
    assert.is((await types(pair)).length, 1);
  });
});

test('what belongs to one shot is resolved together, unless only the named file is meant', async () => {
  const start = { 'I1.CR3': 'old', 'I1.xmp': 'old', 'I2.xmp': 'old' };
  const all = (content: string) => (root: string) => {
    for (const name of Object.keys(start)) write(name, content, 200)(root);
  };
  await apart(start, nothing, all('bb'), async (pair) => {
    await pair.sync();
    await pair.box.run(['conflicts', 'resolve', 'Archive', 'I1.CR3', '--keep', 'backup', '--only']);
    assert.equal(
      (await types(pair)).map(([path]) => path),
      ['I1.xmp', 'I2.xmp'],
    );
    for (const name of Object.keys(start)) write(name, 'ccc', 300)(pair.backup);
    await pair.sync();
    await pair.box.run(['conflicts', 'resolve', 'Archive', 'I1.xmp', '--keep', 'backup']);
    assert.equal(
      (await types(pair)).map(([path]) => path),
      ['I2.xmp'],
    );
    assert.equal([read(pair.master, 'I1.CR3'), read(pair.master, 'I1.xmp')], ['ccc', 'ccc']);
  });
});

test('a drive that is pulled in the middle leaves the conflict waiting', async () => {
  await apart({ a: 'old' }, write('a', 'M', 500), write('a', 'bb', 200), async (pair) => {
    await pair.sync();
    renameSync(join(pair.backup, '.tandem', 'drive.json'), join(pair.box.root, 'drive.json'));
    const error = await refusal(resolveConflicts('Archive', { a: 'keep_master' }, pair.ctx));
    assert.ok(['drive_missing', 'guard'].includes(error.code), error.code);
    assert.is((await types(pair)).length, 1);
    mkdirSync(join(pair.backup, '.tandem'), { recursive: true });
    renameSync(join(pair.box.root, 'drive.json'), join(pair.backup, '.tandem', 'drive.json'));
    await resolveConflicts('Archive', { a: 'keep_master' }, pair.ctx);
    await settled(pair);
  });
});

test.run();
