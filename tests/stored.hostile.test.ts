/** Stored Backups under attack: names that collide, files that were exchanged, rings that are gone. */
import { randomBytes } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listConflicts } from '../features/conflicts.ts';
import { restoreFromBackup } from '../features/restore.ts';
import { verifyFiles } from '../features/verify.ts';
import type { SparseOptions } from '../shared/options.ts';
import { refusal, type TestPair, withPair } from './helpers/pair.ts';
import './helpers/inline-workers.ts';
import { contents, fingerprints, GZIP, LZ4, put, SEALED, setForm, store } from './helpers/stored.ts';

const test = suite('stored Backups under attack');

const withStored = (options: SparseOptions, work: (pair: TestPair) => Promise<void>): Promise<void> =>
  withPair({}, async (pair) => {
    await store(pair, options);
    await work(pair);
  });

/** The Backup is whole, nothing is left to do, and what comes back is what the Master has. */
async function settled(pair: TestPair, what: string): Promise<void> {
  const again = await pair.sync();
  assert.equal(
    [again.status, again.files_copied, again.conflicts_detected, again.problems],
    ['completed', 0, 0, []],
    what,
  );
  const verified = await verifyFiles('Archive', {}, pair.ctx);
  assert.equal([verified.status, verified.findings], ['completed', []], what);
  const out = join(pair.box.root, 'out');
  const restored = await restoreFromBackup('Archive', { to: out }, pair.ctx);
  assert.equal([restored.status, restored.problems], ['completed', []], what);
  assert.equal(contents(out), contents(pair.master), what);
  rmSync(out, { recursive: true });
}

const ALIKE = [
  'a',
  'a.gz',
  'a.lz4',
  'a.encrypted',
  'a.gz.encrypted',
  'a.lz4.encrypted',
  '.gz',
  '.lz4',
  '.encrypted',
  '.gz.encrypted',
  'd/.encrypted',
  'd/.encrypted.encrypted',
];

test('names that are stored names of each other: through every form, and back', async () => {
  await withStored({}, async (pair) => {
    for (const path of ALIKE) put(pair.master, path, `I am ${path}`);
    await pair.sync();
    const forms: [string, SparseOptions][] = [
      ['gzip', GZIP],
      ['plain', {}],
      ['lz4', LZ4],
      ['sealed', SEALED],
      ['gzip and sealed', { ...GZIP, ...SEALED }],
      ['lz4', LZ4],
      ['lz4 and sealed', { ...LZ4, ...SEALED }],
      ['gzip', GZIP],
      ['sealed', SEALED],
      ['plain', {}],
    ];
    for (const [name, form] of forms) {
      await setForm(pair, form);
      const first = await pair.sync();
      assert.equal([first.status, first.conflicts_detected, first.problems], ['completed', 0, []], name);
      assert.not.ok(existsSync(join(pair.backup, '.tandem/trash')), `${name}: a conversion keeps no version`);
      await settled(pair, name);
    }
  });
});

test('a first sync of such names in each form', async () => {
  for (const form of [GZIP, LZ4, SEALED, { ...GZIP, ...SEALED }]) {
    await withStored(form, async (pair) => {
      for (const path of ALIKE) put(pair.master, path, `I am ${path}`);
      const first = await pair.sync();
      assert.equal([first.status, first.files_copied, first.problems], ['completed', ALIKE.length, []]);
      await settled(pair, JSON.stringify(form));
      for (const path of ALIKE) put(pair.master, path, `I am ${path}, edited`);
      renameSync(join(pair.master, 'a'), join(pair.master, 'b'));
      renameSync(join(pair.master, 'a.gz'), join(pair.master, 'a'));
      rmSync(join(pair.master, 'a.encrypted'));
      const second = await pair.sync({ options: { on_master_delete: 'trash' } });
      assert.equal([second.status, second.conflicts_detected, second.problems], ['completed', 0, []]);
      await settled(pair, JSON.stringify(form));
    });
  }
});

for (const [name, make] of [
  ['folder', (root: string) => put(root, 'a.gz/inside', 'in a folder')],
  ['link', (root: string) => symlinkSync('elsewhere', join(root, 'a.gz'))],
] as const)
  test(`a ${name} that has the stored name of a file is a problem that stays the same, and nothing is lost`, async () => {
    await withStored(GZIP, async (pair) => {
      put(pair.master, 'a', 'the file');
      put(pair.master, 'other', 'another');
      make(pair.master);
      for (let turn = 0; turn < 3; turn += 1) {
        const run = await pair.sync();
        assert.equal(
          run.problems.map(({ path }) => path),
          ['a'],
          `${turn}: ${JSON.stringify(run.problems)}`,
        );
        assert.match(run.problems[0]?.message ?? '', 'a.gz');
        assert.is(run.conflicts_detected, 0);
      }
      assert.ok(existsSync(join(pair.backup, 'other.gz')));
      // The user renames one of the two.
      renameSync(join(pair.master, 'a'), join(pair.master, 'b'));
      const last = await pair.sync({ options: { on_master_delete: 'trash' } });
      assert.equal([last.status, last.problems], ['completed', []]);
      await settled(pair, name);
    });
  });

test('a folder takes the stored name of a file that is on the Backup already', async () => {
  await withStored(GZIP, async (pair) => {
    put(pair.master, 'a', 'the file');
    await pair.sync();
    put(pair.master, 'a.gz/inside', 'in a folder');
    for (let turn = 0; turn < 2; turn += 1) {
      const run = await pair.sync();
      assert.is(run.conflicts_detected, 0);
      assert.ok(run.problems.length > 0);
      assert.match(JSON.stringify(run.problems), 'a.gz');
    }
    const out = join(pair.box.root, 'out');
    await restoreFromBackup('Archive', { to: out, paths: ['a'] }, pair.ctx);
    assert.is(readFileSync(join(out, 'a'), 'utf8'), 'the file');
    rmSync(out, { recursive: true });
    rmSync(join(pair.master, 'a'));
    await pair.sync({ options: { on_master_delete: 'trash' } });
    const last = await pair.sync();
    assert.equal([last.status, last.problems], ['completed', []]);
    await settled(pair, 'after');
  });
});

test('a file that is converted onto the name of a folder stays as it is, with a problem', async () => {
  await withStored({}, async (pair) => {
    put(pair.master, 'a', 'the file');
    put(pair.master, 'a.gz/inside', 'in a folder');
    await pair.sync();
    await setForm(pair, GZIP);
    for (let turn = 0; turn < 2; turn += 1) {
      const run = await pair.sync();
      assert.equal(
        run.problems.map(({ path }) => path),
        ['a'],
        JSON.stringify(run.problems),
      );
      assert.is(run.conflicts_detected, 0);
    }
    assert.is(readFileSync(join(pair.backup, 'a'), 'utf8'), 'the file');
  });
});

test('names at the limit of the drive: what has no room for its suffix is said before anything is written', async () => {
  await withStored({ ...LZ4, ...SEALED }, async (pair) => {
    const long = 'x'.repeat(250);
    put(pair.master, long, 'long');
    put(pair.master, 'y'.repeat(242), 'too long by one');
    put(pair.master, 'z'.repeat(241), 'fits');
    const run = await pair.sync();
    assert.equal(run.problems.map(({ path }) => path).sort(), [long, 'y'.repeat(242)].sort());
    assert.is(run.files_copied, 1);
    assert.is((await pair.sync()).files_copied, 0);
  });
});

test('a long name that is on the Backup already stays plain, with a problem, when the form asks for a longer one', async () => {
  await withStored({}, async (pair) => {
    put(pair.master, 'x'.repeat(250), 'long');
    await pair.sync();
    await setForm(pair, SEALED);
    for (let turn = 0; turn < 2; turn += 1) {
      const run = await pair.sync();
      assert.is(run.problems.length, 1);
      assert.is(run.files_copied, 0);
    }
    put(pair.master, 'x'.repeat(250), 'long, and edited');
    assert.is((await pair.sync()).problems.length, 1);
    assert.is(readFileSync(join(pair.backup, 'x'.repeat(250)), 'utf8'), 'long');
  });
});

test("the Master's own copy of a stored file of this very Backup is content like any other", async () => {
  await withStored({ ...LZ4, ...SEALED }, async (pair) => {
    put(pair.master, 'a', 'content of a');
    await pair.sync();
    copyFileSync(join(pair.backup, 'a.lz4.encrypted'), join(pair.master, 'a.lz4.encrypted'));
    copyFileSync(join(pair.backup, 'a.lz4.encrypted'), join(pair.master, 'copied.lz4.encrypted'));
    await pair.sync();
    await settled(pair, 'sealed');
    await setForm(pair, {});
    assert.equal((await pair.sync()).problems, []);
    await settled(pair, 'plain');
    await setForm(pair, { ...LZ4, ...SEALED });
    assert.equal((await pair.sync()).problems, []);
    await settled(pair, 'sealed again');
  });
});

/** Bytes of one stored file in the place of another, with its times: what somebody does who has the drive, not the key. */
function exchange(root: string, one: string, other: string): void {
  const [a, b] = [one, other].map((path) => ({
    bytes: readFileSync(join(root, path)),
    stat: statSync(join(root, path)),
  }));
  for (const [path, { bytes }, { stat }] of [
    [one, b, a],
    [other, a, b],
  ] as [string, { bytes: Buffer }, { stat: { atime: Date; mtime: Date } }][]) {
    writeFileSync(join(root, path), bytes);
    utimesSync(join(root, path), stat.atime, stat.mtime);
  }
}

test('two stored files were exchanged: verify finds both, heals both, and a sync takes neither for content', async () => {
  await withStored(SEALED, async (pair) => {
    put(pair.master, 'd/one', 'the first file');
    put(pair.master, 'd/two', 'the other file');
    await pair.sync();
    exchange(pair.backup, 'd/one.encrypted', 'd/two.encrypted');
    const found = await verifyFiles('Archive', {}, pair.ctx);
    assert.equal(
      found.findings.map(({ path, side }) => `${path} ${side}`),
      ['d/one backup', 'd/two backup'],
    );
    const run = await pair.sync();
    assert.is(run.conflicts_detected, 2, JSON.stringify(run));
    assert.is(readFileSync(join(pair.master, 'd/one'), 'utf8'), 'the first file');
  });
});

test('an older stored version was put back: the run says so, and verify does', async () => {
  await withStored(SEALED, async (pair) => {
    put(pair.master, 'a', 'version 1');
    await pair.sync();
    const former = readFileSync(join(pair.backup, 'a.encrypted'));
    put(pair.master, 'a', 'version 2');
    utimesSync(join(pair.master, 'a'), new Date(1.6e12), new Date(1.6e12));
    await pair.sync();
    const { atime, mtime } = statSync(join(pair.backup, 'a.encrypted'));
    writeFileSync(join(pair.backup, 'a.encrypted'), former);
    utimesSync(join(pair.backup, 'a.encrypted'), atime, mtime);
    const found = await verifyFiles('Archive', {}, pair.ctx);
    assert.equal(
      found.findings.map(({ path, side }) => `${path} ${side}`),
      ['a backup'],
    );
    assert.is((await pair.sync()).conflicts_detected, 1);
    assert.equal(
      (await listConflicts('Archive', undefined, pair.ctx)).map(({ conflict_type }) => conflict_type),
      ['modified_backup'],
    );
  });
});

test('filters, --path and sizes mean what the Master has', async () => {
  await withStored({ ...LZ4, ...SEALED }, async (pair) => {
    put(pair.master, 'd/a.jpg', 'picture');
    put(pair.master, 'd/b.txt', 'text '.repeat(4000));
    put(pair.master, 'c', 'one file');
    const filters = (await pair.plan()).options.filters;
    await pair.sync({ options: { filters: { ...filters, exclude: ['*.jpg'] } } });
    assert.equal(Object.keys(contents(pair.backup)), ['c.lz4.encrypted', 'd', 'd/b.txt.lz4.encrypted']);
    await pair.sync({ options: { filters: { ...filters, max_size: 1000 } } });
    assert.ok(existsSync(join(pair.backup, 'd/a.jpg.lz4.encrypted')));
    const left = await pair.sync({ options: { filters: { ...filters, exclude: ['*.encrypted'] } } });
    assert.equal([left.files_copied, left.problems], [0, []]);
    for (const path of ['c', 'd/b.txt']) {
      put(pair.master, path, `${path}, edited`);
      const one = await pair.sync({ path });
      assert.equal([one.files_copied, one.conflicts_detected, one.problems], [1, 0, []], path);
      assert.equal((await verifyFiles('Archive', { path }, pair.ctx)).findings, []);
      const out = join(pair.box.root, 'one');
      await restoreFromBackup('Archive', { to: out, paths: [path] }, pair.ctx);
      assert.is(readFileSync(join(out, path), 'utf8'), `${path}, edited`);
      rmSync(out, { recursive: true });
    }
    rmSync(join(pair.master, 'c'));
    const gone = await pair.sync(
      { path: 'c', options: { on_master_delete: 'trash' } },
      pair.context({ force: new Set(['empty-master']) }),
    );
    assert.equal([gone.files_deleted, gone.problems], [1, []]);
    await settled(pair, 'after');
  });
});

test('large, sparse and empty files, cut and grown', async () => {
  await withStored({ ...LZ4, ...SEALED }, async (pair) => {
    put(pair.master, 'large', randomBytes(70 * 1024 * 1024));
    put(pair.master, 'empty', '');
    put(pair.master, 'sparse', '');
    truncateSync(join(pair.master, 'sparse'), 80 * 1024 * 1024);
    put(pair.master, 'text', 'line\n'.repeat(3_000_000));
    await pair.sync();
    await settled(pair, 'first');
    assert.ok(statSync(join(pair.backup, 'sparse.lz4.encrypted')).size < 1_000_000);
    truncateSync(join(pair.master, 'large'), 1024 * 1024);
    put(pair.master, 'empty', 'no longer');
    await pair.sync();
    await settled(pair, 'second');
  });
});

test('the key ring is gone from one drive: the run goes on and brings it back; from both: this computer has it', async () => {
  await withStored(SEALED, async (pair) => {
    put(pair.master, 'a', '1');
    await pair.sync();
    const rings = [pair.master, pair.backup].map((root) => join(root, '.tandem/keyring.json'));
    rmSync(rings[1] ?? '');
    put(pair.master, 'b', '2');
    assert.is((await pair.sync()).status, 'completed');
    assert.ok(existsSync(rings[1] ?? ''), 'the ring is on the Backup again');
    for (const ring of rings) rmSync(ring);
    put(pair.master, 'c', '3');
    assert.is((await pair.sync({}, pair.context())).status, 'completed');
    for (const ring of rings) assert.ok(existsSync(ring), ring);
    await settled(pair, 'after');
  });
});

test('the key ring is gone everywhere: nothing is written, and nothing is lost', async () => {
  await withStored(SEALED, async (pair) => {
    put(pair.master, 'a', '1');
    await pair.sync();
    for (const root of [pair.master, pair.backup]) rmSync(join(root, '.tandem/keyring.json'));
    rmSync(join(pair.box.data, 'keyrings'), { recursive: true });
    const before = fingerprints(pair.backup);
    put(pair.master, 'b', '2');
    assert.is((await refusal(pair.sync({}, pair.context()))).code, 'key');
    assert.equal(fingerprints(pair.backup), before);
  });
});

test('checksums that were recorded with the key are still compared when nothing is sealed any more', async () => {
  await withStored(SEALED, async (pair) => {
    put(pair.master, 'a', 'a file');
    await pair.sync();
    await setForm(pair, {});
    // As a conversion leaves it that ends before it was recorded.
    rmSync(join(pair.backup, 'a.encrypted'));
    put(pair.backup, 'a', 'a file');
    const first = await pair.sync({}, pair.context());
    assert.equal([first.status, first.conflicts_detected, first.problems], ['completed', 0, []]);
    const verified = await verifyFiles('Archive', {}, pair.context());
    assert.equal([verified.status, verified.findings], ['completed', []]);
    put(pair.master, 'b', 'another');
    const second = await pair.sync({ options: { checksum: true } }, pair.context());
    assert.equal([second.status, second.conflicts_detected, second.problems], ['completed', 0, []]);
    assert.equal((await verifyFiles('Archive', {}, pair.context())).findings, []);
  });
});

test("another group's key ring on a drive is refused, by name", async () => {
  await withStored(SEALED, async (pair) => {
    put(pair.master, 'a', '1');
    await pair.sync();
    const file = join(pair.backup, '.tandem/keyring.json');
    const ring = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    const before = fingerprints(pair.backup);
    put(pair.master, 'b', '2');
    writeFileSync(file, JSON.stringify({ ...ring, key_id: randomBytes(16).toString('hex') }));
    assert.is((await refusal(pair.sync({}, pair.context()))).code, 'key');
    assert.equal(fingerprints(pair.backup), before);
    writeFileSync(file, JSON.stringify({ ...ring, group_id: 'another' }));
    const kept = readFileSync(file, 'utf8');
    const run = await pair.sync({}, pair.context());
    assert.is(run.status, 'completed');
    assert.is(readFileSync(file, 'utf8'), kept, 'it is left as it is');
  });
});

test('a file sealed with another key is told from a change, and is never content', async () => {
  await withStored(SEALED, async (pair) => {
    put(pair.master, 'a', 'mine');
    put(pair.master, 'b', 'mine too');
    await pair.sync();
    const bytes = readFileSync(join(pair.backup, 'a.encrypted'));
    bytes.set(randomBytes(16), 41);
    writeFileSync(join(pair.backup, 'a.encrypted'), bytes);
    rmSync(join(pair.backup, 'b.encrypted'));
    mkdirSync(join(pair.backup, 'b.encrypted'));
    const run = await pair.sync();
    assert.is(run.conflicts_detected + run.problems.length > 1, true, JSON.stringify(run));
    assert.is(readFileSync(join(pair.master, 'a'), 'utf8'), 'mine');
    assert.equal(readdirSync(pair.master).sort(), ['.tandem', 'a', 'b']);
  });
});

test.run();
