/** What a plan leaves out, refuses and promises: filters, names that a drive cannot hold, guards, identity, saved plans. */
import { lutimesSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readSignature, writeSignature } from '../features/detect.ts';
import { type Plan, withoutPaths } from '../features/plan.ts';
import { applySavedPlan, readPlan } from '../features/sync.ts';
import { TandemError } from '../shared/errors.ts';
import { Filter, presetPatterns } from '../shared/filters.ts';
import { isInside, nameProblem, type RelPath } from '../shared/paths.ts';
import './helpers/inline-workers.ts';
import { differences, edit, refusal, snapshotOf, type TestPair, versionsOf, withPair } from './helpers/pair.ts';
import { treeOf } from './helpers/world.ts';
import './helpers/property.ts';

const test = suite('plan');

type Filters = Plan['options']['filters'];
const NONE: Filters = { exclude: [], include: [], min_size: null, max_size: null, max_age: null, preset: 'none' };
const filtered = (filters: Partial<Filters>): { options: { filters: Filters } } => ({
  options: { filters: { ...NONE, ...filters } },
});
const deleting = (filters: Partial<Filters>): Parameters<TestPair['plan']>[0] => ({
  options: { filters: { ...NONE, ...filters }, on_master_delete: 'trash' },
});
const kinds = (plan: Plan): string[] => plan.actions.map(({ kind, path }) => `${kind} ${path}`);

// --- filters ---

test('the quick test on first letters agrees with the patterns themselves', () => {
  const ignore = createRequire(import.meta.url)('ignore') as () => {
    add(patterns: string[]): { ignores(path: string): boolean };
  };
  const letter = fc.constantFrom('a', 'A', 'b', '.', '_', 'é', 'k', '\u212a', '1', ' ', '#', '!', '~', '\n', '\\');
  const name = fc.string({ unit: letter, minLength: 1, maxLength: 4 }).filter((text) => text !== '.' && text !== '..');
  const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
  const pattern = fc.oneof(
    fc.string({
      unit: fc.constantFrom('a', 'A', 'b', '.', '_', '*', '?', '/', '!', '[', ']', '\\', ' ', '#', 'é', 'k'),
      minLength: 1,
      maxLength: 5,
    }),
    fc.constantFrom('._*', '.DS_Store', '*.tmp', 'a/', '/a', 'a/**/b', '**', '!a'),
  );
  fc.assert(
    fc.property(fc.array(pattern, { maxLength: 4 }), path, fc.boolean(), (patterns, one, folder) => {
      const filter = new Filter({ ...NONE, exclude: patterns }, new Date());
      const wanted = ignore()
        .add(patterns)
        .ignores(folder ? `${one}/` : one);
      assert.is(filter.excludes(one, folder), wanted, JSON.stringify({ patterns, one, folder }));
      if (wanted) {
        const parts = one.split('/');
        const reached = parts.some((_, index) => {
          const bytes = Buffer.from(parts[index] ?? '');
          return (
            filter.mayMatch(bytes[0] ?? 0, bytes[1] ?? 0) &&
            filter.excludes(parts.slice(0, index + 1).join('/'), folder || index < parts.length - 1)
          );
        });
        assert.ok(
          reached,
          `a walk that asks name by name leaves it out too: ${JSON.stringify({ patterns, one, folder })}`,
        );
      }
    }),
    { numRuns: 3000 },
  );
});

test('exclude, include and presets; what a filter leaves out is neither copied nor deleted nor a conflict', async () => {
  const files = {
    'a.raw': '1',
    'a.tmp': '2',
    'keep.tmp': '3',
    '.DS_Store': '4',
    '._a.raw': '5',
    'Cache/x': '6',
    'd/Thumbs.db': '7',
  };
  await withPair({ master: files }, async (pair) => {
    assert.equal(
      kinds(await pair.plan()),
      ['copy Cache/x', 'copy a.raw', 'copy a.tmp', 'copy keep.tmp']
        .map((text) => text)
        .concat(['mkdir Cache', 'mkdir d'])
        .sort((a, b) => ((a.split(' ')[1] ?? '') < (b.split(' ')[1] ?? '') ? -1 : 1)),
    );
    const plan = await pair.plan(filtered({ exclude: ['*.tmp', 'cache/'], include: ['keep.tmp'], preset: 'os-junk' }));
    assert.equal(kinds(plan), ['copy a.raw', 'mkdir d', 'copy keep.tmp']);
    await pair.sync(filtered({}));
    assert.equal(treeOf(pair.backup), treeOf(pair.master), 'preset none takes all');
    edit(pair.master, { 'a.tmp': 'changed' });
    rmSync(join(pair.master, 'Cache'), { recursive: true });
    edit(pair.backup, { 'own.tmp': 'x' });
    assert.equal(kinds(await pair.plan(deleting({ exclude: ['*.tmp', 'Cache'] }))), []);
    assert.ok(presetPatterns('editing').length > presetPatterns('os-junk').length);
    assert.is((await refusal(pair.plan(filtered({ preset: 'os-junkk' })))).exitCode, 2);
  });
});

test('a filter that is new never deletes what it leaves out', async () => {
  await withPair(
    { master: { 'a/x': '1', 'b/y': '2', big: 'x'.repeat(5000), old: { content: '3', mtime: 1e9 } } },
    async (pair) => {
      await pair.sync();
      const before = treeOf(pair.backup);
      for (const filters of [{ exclude: ['a/'] }, { max_size: 1000 }, { min_size: 3000 }, { max_age: 86_400 }]) {
        const result = await pair.sync(deleting(filters));
        assert.equal(
          [result.files_deleted, result.conflicts_detected, result.files_copied],
          [0, 0, 0],
          JSON.stringify(filters),
        );
      }
      assert.equal(treeOf(pair.backup), before);
    },
  );
});

test('a filter that leaves everything out is not an emptied Master', async () => {
  await withPair({ master: { a: '1', b: '2' } }, async (pair) => {
    await pair.sync();
    assert.equal((await pair.plan(deleting({ exclude: ['*'] }))).guards, []);
    assert.equal((await pair.plan(deleting({ max_size: 0 }))).guards, []);
  });
});

test('limits of size and age hold in every state of a file: new, changed, gone from one side', async () => {
  await withPair(
    { master: { big: 'x'.repeat(5000), small: '1', old: { content: 'old', mtime: 1e9 } } },
    async (pair) => {
      assert.equal(kinds(await pair.plan(filtered({ max_size: 1000 }))), ['copy old', 'copy small']);
      assert.equal(kinds(await pair.plan(filtered({ min_size: 1000 }))), ['copy big']);
      assert.equal(kinds(await pair.plan(filtered({ max_age: 86_400 }))), ['copy big', 'copy small']);
      await pair.sync();
      for (const name of ['big', 'old']) rmSync(join(pair.backup, name));
      assert.equal(
        kinds(await pair.plan(filtered({ max_size: 1000, max_age: 86_400 }))),
        [],
        'missing on the Backup, and left out',
      );
      await pair.sync();
      for (const name of ['big', 'old']) rmSync(join(pair.master, name));
      assert.equal(
        kinds(await pair.plan(deleting({ max_size: 1000, max_age: 86_400 }))),
        [],
        'gone from the Master, and left out',
      );
      assert.equal(kinds(await pair.plan(deleting({}))), ['delete big', 'delete old']);
    },
  );
});

test('the command line reads sizes and ages, and refuses what it cannot read', async () => {
  await withPair({ master: { big: 'x'.repeat(5000), small: '1' } }, async (pair) => {
    const planned = (
      await pair.box.run([
        'sync',
        'plan',
        'Archive',
        '--json',
        '--max-size',
        '4kB',
        '--exclude',
        'nothing',
        '--exclude',
        '-x',
      ])
    ).json() as Plan;
    assert.equal(kinds(planned), ['copy small']);
    for (const args of [
      ['--max-size', 'much'],
      ['--max-age', '-3d'],
      ['--parallel', '0'],
      ['--parallel', '17'],
      ['--verify', 'well'],
    ]) {
      const refused = await pair.box.run(['sync', 'run', 'Archive', ...args]);
      assert.is(refused.code, 2, args.join(' '));
      assert.match(refused.stderr, args[1] ?? '');
    }
  });
});

// --- names ---

test('names that a filesystem cannot hold are found before the first byte; a folder takes what is in it along', async () => {
  await withPair({ master: { 'good/a': '1' } }, async (pair) => {
    const signature = readSignature(pair.backup);
    if (!signature) throw new Error('the drive is not signed');
    const traits = {
      ...signature.traits,
      filesystem: 'exfat',
      symlinks: false,
      case_sensitive: false,
      name_unit: 'utf16' as const,
      max_name: 255,
    };
    writeSignature(pair.backup, { ...signature, traits });
    const bad = ['a:b', 'q?', 'CON', 'nul.txt', 'dot.', 'space ', 'new\nline', 'back\\slash', 'pipe|', 'com¹'];
    edit(pair.master, {
      ...Object.fromEntries(bad.map((name) => [`names/${name}`, 'x'])),
      'folder:/one': '1',
      'folder:/sub/two': '2',
      link: { symlink: 'x' },
      IMG: '1',
      img: '2',
    });
    const plan = await pair.plan();
    const named = new Set(plan.problems.map(({ path }) => path));
    for (const path of [...bad.map((name) => `names/${name}`), 'folder:', 'link']) assert.ok(named.has(path), path);
    assert.ok(named.has('IMG') !== named.has('img'), 'one of two names that differ only by case');
    assert.equal(
      kinds(plan).filter((text) => text.includes(':') || text.includes('names/')),
      [],
    );
    assert.is(
      plan.failed,
      bad.length + 4,
      'each file that cannot be stored is counted: the link, one of IMG and img, two in the folder',
    );
    const result = await pair.box.run(['sync', 'run', 'Archive', '--json']);
    assert.is(result.code, 4, result.stderr);
    const again = await pair.plan();
    assert.equal(
      kinds(again).filter((text) => !text.startsWith('adopt') && !text.startsWith('meta')),
      [],
    );
    assert.equal(
      [...new Set(again.problems.map(({ path }) => path))].sort(),
      [...named].sort(),
      'and named again on each run',
    );
  });
  assert.is(nameProblem('a:b', { filesystem: 'ext4', maxName: 255, nameUnit: 'bytes' }), undefined);
  assert.match(
    nameProblem('é'.repeat(128), { filesystem: 'ext4', maxName: 255, nameUnit: 'bytes' }) ?? '',
    '256 bytes',
  );
});

test('a changed spelling on a drive that folds case ends in one record and a quiet next run', async () => {
  await withPair({ master: { 'img.jpg': '1', other: '2' } }, async (pair) => {
    const signature = readSignature(pair.backup);
    if (!signature) throw new Error('the drive is not signed');
    writeSignature(pair.backup, { ...signature, traits: { ...signature.traits, case_sensitive: false } });
    await pair.sync();
    renameSync(join(pair.master, 'img.jpg'), join(pair.master, 'IMG.jpg'));
    renameSync(join(pair.backup, 'img.jpg'), join(pair.backup, 'IMG.jpg'));
    await pair.sync();
    assert.equal(
      (await pair.rows()).map(({ path }) => path.toLowerCase()).filter((path) => path === 'img.jpg').length,
      1,
    );
    assert.equal((await pair.plan()).actions, []);
  });
});

// --- guards ---

test('an emptied Master deletes nothing: exit 6, until the guard is lifted by name', async () => {
  for (const rest of [{}, { '.DS_Store': 'litter', 'empty/': null }]) {
    await withPair({ master: { a: '1', 'd/b': '2' } }, async (pair) => {
      await pair.sync();
      const before = treeOf(pair.backup);
      for (const name of ['a', 'd']) rmSync(join(pair.master, name), { recursive: true });
      edit(pair.master, rest);
      for (const args of [
        ['--delete', '--yes'],
        ['--delete', '--force', 'free-space'],
      ]) {
        const refused = await pair.box.run(['sync', 'run', 'Archive', ...args]);
        assert.is(refused.code, 6, `${JSON.stringify(rest)} ${args.join(' ')}: ${refused.stdout}`);
        assert.match(refused.stderr, 'empty-master');
        assert.equal(treeOf(pair.backup), before);
      }
      assert.is((await pair.box.run(['sync', 'run', 'Archive', '--dry-run', '--delete'])).code, 6);
      assert.is((await pair.box.run(['sync', 'run', 'Archive', '--delete', '--force', 'empty-master'])).code, 0);
      assert.equal(
        versionsOf(pair.backup).map(([path]) => path),
        ['a', 'd/b'],
      );
    });
  }
});

test('an emptied folder is guarded as the whole drive is', async () => {
  await withPair({ master: { 'd/a': '1', b: '2' } }, async (pair) => {
    await pair.sync();
    rmSync(join(pair.master, 'd/a'));
    const error = await refusal(pair.sync({ path: 'd', options: { on_master_delete: 'trash' } }));
    assert.equal([error.exitCode, error.guard], [6, 'empty-master']);
    assert.is(readFileSync(join(pair.backup, 'd/a'), 'utf8'), '1');
  });
});

test('identity: a signature that is gone, another, doubled or swapped stops the run, and no force helps', async () => {
  const changes: Record<string, (pair: TestPair) => void> = {
    'gone from the Backup': ({ backup }) => rmSync(join(backup, '.tandem/drive.json')),
    'gone from the Master': ({ master }) => rmSync(join(master, '.tandem/drive.json')),
    'another on the Backup': ({ backup }) => {
      const signature = readSignature(backup);
      if (signature) writeSignature(backup, { ...signature, drive_uuid: '00000000-0000-4000-8000-000000000000' });
    },
    "the Master's on the Backup": ({ master, backup }) => {
      const signature = readSignature(master);
      if (signature) writeSignature(backup, signature);
    },
    swapped: ({ master, backup }) => {
      const [one, other] = [readSignature(master), readSignature(backup)];
      if (one && other) {
        writeSignature(master, other);
        writeSignature(backup, one);
      }
    },
    broken: ({ backup }) => writeFileSync(join(backup, '.tandem/drive.json'), '{'),
    'not a drive at all': ({ backup }) => rmSync(join(backup, '.tandem'), { recursive: true }),
  };
  for (const [what, change] of Object.entries(changes)) {
    await withPair({ master: { a: '1' } }, async (pair) => {
      await pair.sync();
      edit(pair.master, { a: 'changed', b: 'new' });
      change(pair);
      const before = [treeOf(pair.master), treeOf(pair.backup)];
      const result = await pair.box.run(['sync', 'run', 'Archive', '--force', '--delete', '--yes']);
      if (what === 'swapped') {
        // Each drive is found by its signature: the folder that says it is the Master is the Master, and nothing is lost.
        assert.ok([0, 3, 5, 6].includes(result.code));
        const contents = JSON.stringify([
          treeOf(pair.master),
          treeOf(pair.backup),
          versionsOf(pair.master),
          versionsOf(pair.backup),
        ]);
        for (const content of ['"1"', '"changed"', '"new"'])
          assert.ok(contents.includes(content), `${content} is still somewhere`);
        return;
      }
      assert.ok(
        result.code === 5 || result.code === 6 || result.code === 2,
        `${what}: ${result.code} ${result.stdout}${result.stderr}`,
      );
      assert.equal([treeOf(pair.master), treeOf(pair.backup)], before, what);
    });
  }
});

test('a drive that is not there: exit 5, and the folder in its place stays empty', async () => {
  await withPair({ master: { a: '1' } }, async (pair) => {
    await pair.sync();
    for (const [here, away] of [
      [pair.backup, `${pair.backup}-away`],
      [pair.master, `${pair.master}-away`],
    ] as const) {
      renameSync(here, away);
      assert.is((await pair.box.run(['sync', 'run', 'Archive'])).code, 5);
      mkdirSync(here);
      assert.is((await pair.box.run(['sync', 'run', 'Archive', '--delete', '--force'])).code, 5);
      assert.equal(differences(snapshotOf(here), snapshotOf(here)), []);
      assert.equal(Object.keys(treeOf(here)), []);
      rmSync(here, { recursive: true });
      renameSync(away, here);
    }
    assert.is((await pair.box.run(['sync', 'run', 'Archive'])).code, 0);
  });
});

// --- hard links ---

test('hard links: one content, further names; never to a path that is not proved equal', async () => {
  await withPair(
    { master: { a: '1', b: { hardlink: 'a' }, c: { hardlink: 'a' } }, backup: { b: 'other content' } },
    async (pair) => {
      const plan = await pair.plan();
      assert.equal(plan.totals.bytes, 1);
      const linked = plan.actions.filter(({ link_to }) => link_to !== undefined);
      assert.equal(linked.length, 1);
      assert.not(linked.some(({ link_to }) => link_to === 'b'));
      await pair.sync();
      assert.equal(
        ['a', 'b', 'c'].map((name) => readFileSync(join(pair.backup, name), 'utf8')),
        ['1', 'other content', '1'],
      );
    },
  );
});

// --- saved plans ---

async function saved(pair: TestPair, ...args: string[]): Promise<string> {
  const file = join(pair.box.root, 'plan.json');
  const made = await pair.box.run(['sync', 'plan', 'Archive', '--out', file, ...args]);
  assert.ok([0, 3].includes(made.code), made.stderr);
  return file;
}

test('paths are left out one by one, or as a file lists them', async () => {
  const odd = 'new\nline';
  const files = { a: '1', b: '1', [odd]: '1', 'sub/x': 'x', 'sub/y': 'y' };
  await withPair({ master: files }, async (pair) => {
    const file = await saved(pair);
    const list = join(pair.box.root, 'left');
    const apply = async (...args: string[]): Promise<number> =>
      ((await pair.box.run(['sync', 'apply', file, '--json', ...args])).json() as { files_copied: number })
        .files_copied;
    writeFileSync(list, `${odd}\0sub\0`);
    assert.is(await apply('--skip-from', list, '--skip', 'a'), 1);
    assert.equal(
      Object.keys(treeOf(pair.backup)).filter((path) => path !== 'b' && !path.startsWith('.tandem')),
      [],
    );
    writeFileSync(list, 'sub/y\r\nb\n\n');
    await apply('--skip-from', list);
    assert.equal([...Object.keys(files), 'sub/y'].filter((path) => !(path in treeOf(pair.backup))).length > 0, true);
    assert.not.ok('sub/y' in treeOf(pair.backup));
    assert.ok('sub/x' in treeOf(pair.backup) && odd in treeOf(pair.backup));
    const missing = await pair.box.run(['sync', 'apply', file, '--skip-from', join(pair.box.root, 'none')]);
    assert.is(missing.code, 2);
    assert.match(missing.stderr, 'The paths to leave out cannot be read');
    writeFileSync(list, '../outside');
    assert.is((await pair.box.run(['sync', 'apply', file, '--skip-from', list])).code, 2);
  });
});

test('what is left out of a plan is what lies at or below one of the paths, or comes from there', () => {
  const name = fc.constantFrom('a', 'b', 'ab', 'a.b');
  const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
  const step = fc.record({ path, from: fc.option(path, { nil: undefined }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), fc.array(path, { maxLength: 4 }), (steps, left) => {
      const actions = steps.map(({ path: at, from }) => ({
        ...{ kind: from === undefined ? 'copy' : 'move', path: at, entry: 'f', size: 1 },
        ...(from === undefined ? {} : { from }),
      }));
      const isLeft = (at: string): boolean => left.some((place) => isInside(at, place));
      const staying = steps.filter(({ from }) => from !== undefined && isLeft(from)).map((one) => one.path);
      const expected = actions.filter(
        (one) => !isLeft(one.path) && !staying.some((place) => isInside(one.path, place)),
      );
      const plan = { actions, totals: { skipped: 0 } } as unknown as Plan;
      assert.equal(withoutPaths(plan, left as RelPath[]).actions as unknown[], expected);
    }),
  );
});

test('a saved plan runs as it stands; what changed since is refused path by path', async () => {
  await withPair({ master: { a: '1', b: '1', c: '1', d: '1', e: '1', g: '1' } }, async (pair) => {
    await pair.sync();
    edit(pair.master, { a: '2', b: '2', c: '2', fresh: 'f', 'sub/x': 'x', 'sub/y': 'y' });
    for (const name of ['d', 'e']) rmSync(join(pair.master, name));
    const file = await saved(pair, '--delete');
    edit(pair.master, { b: '3 changed on the Master', e: 'back again', later: 'not in the plan' });
    edit(pair.backup, { c: 'changed on the Backup' });
    const result = await pair.box.run(['sync', 'apply', file, '--skip', 'sub/x', '--json']);
    const { files_copied, files_deleted, problems } = result.json() as {
      files_copied: number;
      files_deleted: number;
      problems: { path: string }[];
    };
    assert.is(result.code, 4, result.stderr);
    assert.equal([files_copied, files_deleted], [3, 1]);
    assert.equal(problems.map(({ path }) => path).sort(), ['b', 'c', 'e']);
    const now = (name: string): string => readFileSync(join(pair.backup, name), 'utf8');
    assert.equal(['a', 'b', 'c', 'e', 'fresh', 'sub/y'].map(now), ['2', '1', 'changed on the Backup', '1', 'f', 'y']);
    assert.equal(
      Object.keys(treeOf(pair.backup)).filter((path) => ['d', 'later', 'sub/x'].includes(path)),
      [],
    );
    const twice = await pair.box.run(['sync', 'apply', file]);
    assert.ok(twice.code === 3 || twice.code === 4, 'a plan runs once');
    assert.equal(['a', 'b', 'c'].map(now), ['2', '1', 'changed on the Backup']);
    await pair.sync();
    assert.equal(['b', 'later', 'sub/x'].map(now), ['3 changed on the Master', 'not in the plan', 'x']);
  });
});

test('a plan for other drives, a broken file, a foreign one, a path out of the drive: refused, nothing is written', async () => {
  await withPair({ master: { a: '1', gone: '1' } }, async (pair) => {
    await pair.sync();
    edit(pair.master, { a: '2', b: 'new' });
    const outside = join(pair.box.root, 'outside');
    edit(outside, { x: 'outside' });
    const good = JSON.parse(readFileSync(await saved(pair), 'utf8')) as Plan & Record<string, unknown>;
    const first = good.actions[0];
    const withAction = (change: Record<string, unknown>): unknown => ({ ...good, actions: [{ ...first, ...change }] });
    const bad: Record<string, unknown> = {
      'other drives': { ...good, backup_uuid: '00000000-0000-4000-8000-000000000000' },
      'other group': { ...good, target: { ...good.target, group_id: 'nobody' } },
      'newer version': { ...good, tandem_plan: 2 },
      'no actions': { ...good, actions: undefined },
      'a list': [],
      null: null,
      'a path with ..': withAction({ path: '../outside/x' }),
      'an absolute path': withAction({ path: '/etc/passwd' }),
      'a path that is no text': withAction({ path: 7 }),
      'an empty path': withAction({ path: '' }),
      "tandem's own folder": withAction({ kind: 'delete', path: '.tandem/drive.json' }),
      'a link out of the drive': withAction({ link_to: '../outside/x' }),
      'an action that is null': { ...good, actions: [null] },
      'an unknown kind': withAction({ kind: 'format' }),
      'a target out of the drive': { ...good, target: { ...good.target, subpath: '../outside' } },
      'a path outside of its target': { ...good, target: { ...good.target, subpath: 'elsewhere' } },
      'options of another kind': { ...good, options: { checksum_algorithm: 'rot13' } },
    };
    const before = [treeOf(pair.master), treeOf(pair.backup), treeOf(outside)];
    const wrong: string[] = [];
    for (const [what, value] of Object.entries(bad)) {
      const file = join(pair.box.root, 'bad.json');
      writeFileSync(file, JSON.stringify(value) ?? '');
      const outcome = await Promise.resolve()
        .then(() => applySavedPlan(readPlan(file), [], {}, pair.ctx))
        .catch((error: unknown) => error);
      if (!(outcome instanceof TandemError) || outcome.exitCode !== 2) wrong.push(`${what}: ${String(outcome)}`);
      if (JSON.stringify([treeOf(pair.master), treeOf(pair.backup), treeOf(outside)]) !== JSON.stringify(before))
        wrong.push(`${what}: something was written`);
      if (!readSignature(pair.backup)) wrong.push(`${what}: the signature is gone`);
    }
    assert.equal(wrong, []);
    for (const text of ['', '{', 'not json', '\0']) {
      const file = join(pair.box.root, 'bad.json');
      writeFileSync(file, text);
      assert.throws(
        () => readPlan(file),
        (error: { exitCode?: number }) => error.exitCode === 2,
      );
    }
    assert.is((await pair.box.run(['sync', 'apply', join(pair.box.root, 'missing.json')])).code, 2);
  });
});

test('a saved plan is no way around the guards', async () => {
  await withPair({ master: { a: '1' } }, async (pair) => {
    await pair.sync();
    rmSync(join(pair.master, 'a'));
    const plan = await pair.plan({ options: { on_master_delete: 'trash' } });
    assert.equal((await refusal(applySavedPlan(plan, [], {}, pair.ctx))).guard, 'empty-master');
    assert.is(readFileSync(join(pair.backup, 'a'), 'utf8'), '1');
  });
});

test('a plan that was made when the Master was full is no leave to delete when it is empty', async () => {
  await withPair({ master: { a: '1', b: '2' } }, async (pair) => {
    await pair.sync();
    rmSync(join(pair.master, 'a'));
    const plan = await pair.plan({ options: { on_master_delete: 'trash' } });
    renameSync(pair.master, `${pair.master}-away`);
    mkdirSync(join(pair.master, '.tandem'), { recursive: true });
    symlinkSync('elsewhere', join(pair.master, '.tandem/drive.json'));
    const error = await refusal(applySavedPlan(plan, [], {}, pair.ctx));
    assert.ok(error.exitCode === 5 || error.exitCode === 6);
    assert.is(readFileSync(join(pair.backup, 'a'), 'utf8'), '1');
  });
});

test('the totals of a plan are those of its actions', async () => {
  await withPair({ master: { a: '12345', b: { hardlink: 'a' }, 'd/c': '1', l: { symlink: 'a' } } }, async (pair) => {
    await pair.sync();
    edit(pair.master, { 'd/c': '22', n: '333' });
    lutimesSync(join(pair.master, 'l'), 1e9, 1e9);
    const { totals, actions } = await pair.plan();
    const count = (kind: string): number => actions.filter((one) => one.kind === kind && one.entry !== 'd').length;
    assert.equal(
      [totals.copy, totals.update, totals.delete, totals.conflict, totals.bytes],
      [
        count('copy'),
        count('update'),
        0,
        0,
        actions.filter(({ kind }) => kind === 'copy' || kind === 'update').reduce((sum, { size }) => sum + size, 0),
      ],
    );
  });
});

test.run();
