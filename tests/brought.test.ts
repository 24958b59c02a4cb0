/** Attacks on the option `mhl`: what a run brought is listed on both drives, unread; what is not known is said. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SyncResult } from '../features/sync.ts';
import { type ManifestFlags, type ManifestResult, verifyManifest } from '../features/verify.ts';
import { calculateChecksum } from '../shared/hash.ts';
import { type HashList, parseHashList } from '../shared/mhl.ts';
import { edit, snapshotOf, type TestPair, withPair } from './helpers/pair.ts';

const test = suite('brought');

const sync = (pair: TestPair, options = {}): Promise<SyncResult> => pair.sync({ options: { mhl: true, ...options } });
const check = (pair: TestPair, flags: ManifestFlags = {}): Promise<ManifestResult[]> =>
  verifyManifest('Archive', { check: true, ...flags }, pair.ctx);

function listsOf(root: string): HashList[] {
  const home = join(root, 'ascmhl');
  const names = existsSync(home) ? readdirSync(home).sort() : [];
  return names
    .filter((name) => name.endsWith('.mhl'))
    .map((name) => parseHashList(readFileSync(join(home, name), 'utf8')));
}

/** One line for each file of the newest generation, on each drive the same. */
function newest(pair: TestPair): string[] {
  const [one, other] = [pair.master, pair.backup].map((root) => {
    const list = listsOf(root).at(-1);
    const files = list?.files.map(({ path, hashes, previousPath }) => {
      const actions = [...new Set(hashes.map(({ action }) => action))].join();
      return `${path} ${actions}${previousPath === undefined ? '' : ` from ${previousPath}`}`;
    });
    return [...(files ?? []), ...(list?.removed.map((path) => `${path} removed`) ?? [])].sort();
  });
  assert.equal(one, other, 'both drives say the same');
  return one ?? [];
}

async function clean(pair: TestPair, files: number): Promise<void> {
  const results = await check(pair);
  assert.equal(
    results.flatMap(({ side, findings }) => findings.map(({ path, kind }) => `${side} ${path} ${kind}`)),
    [],
  );
  assert.equal(
    results.map(({ files_verified }) => files_verified),
    [files, files],
  );
}

test('a run lists what it brought, with the hash of the bytes that were copied', () =>
  withPair({ master: { 'a.txt': 'one', 'b/empty': '', 'b/big.mov': 'x'.repeat(3_000_000) } }, async (pair) => {
    for (const algorithm of ['sha256', 'blake2b512', 'xxh128'] as const) {
      edit(pair.master, { [`${algorithm}.txt`]: algorithm });
      const result = await sync(pair, { checksum_algorithm: algorithm });
      assert.equal(result.problems, []);
    }
    assert.equal(newest(pair), ['xxh128.txt original']);
    for (const root of [pair.master, pair.backup]) {
      assert.is(listsOf(root).length, 3);
      for (const { path, size, hashes } of listsOf(root).flatMap(({ files }) => files)) {
        assert.is(hashes[0]?.value, await calculateChecksum(join(root, path), 'xxh128'));
        assert.is(size, readFileSync(join(root, path)).length);
      }
    }
    await clean(pair, 6);
    await sync(pair);
    assert.is(listsOf(pair.backup).length, 3, 'a run that brought nothing adds nothing');
    assert.equal((await pair.plan()).actions, []);
  }));

test('without the option no hash is taken and nothing is written', () =>
  withPair({ master: { 'a.txt': 'one' } }, async (pair) => {
    await pair.sync();
    assert.not(existsSync(join(pair.master, 'ascmhl')));
    assert.equal(await (await pair.ctx.db()).all('SELECT * FROM mhl_hashes'), []);
  }));

test('nothing is read a second time', () =>
  withPair({ master: { 'big.mov': Buffer.alloc(48_000_000, 'film') } }, async (pair) => {
    const before = bytesRead();
    const result = await sync(pair);
    assert.equal(result.problems, []);
    assert.equal(newest(pair), ['big.mov original']);
    const read = bytesRead() - before;
    assert.ok(read > 48_000_000 && read < 80_000_000, `${read} bytes were read`);
  }));

test('new, replaced, renamed and deleted files, and all of them again', () =>
  withPair(
    { master: { 'a.txt': 'one', 'b.txt': 'two', 'c.txt': 'three', 'd/e.txt': 'four', 'd/f.txt': 'five' } },
    async (pair) => {
      await sync(pair);
      rmSync(join(pair.master, 'a.txt'));
      edit(pair.master, { 'b.txt': 'TWO TWO', 'n.txt': 'new' });
      renameSync(join(pair.master, 'c.txt'), join(pair.master, 'C2.txt'));
      renameSync(join(pair.master, 'd'), join(pair.master, 'D2'));
      const result = await sync(pair, { on_master_delete: 'trash' });
      assert.is(result.status, 'completed');
      assert.is(result.files_moved, 3);
      assert.equal(newest(pair), [
        'C2.txt original from c.txt',
        'D2/e.txt original from d/e.txt',
        'D2/f.txt original from d/f.txt',
        'a.txt removed',
        'b.txt original',
        'n.txt original',
      ]);
      await clean(pair, 5);
      edit(pair.master, { 'a.txt': 'another one', 'c.txt': 'another three' });
      await sync(pair);
      await clean(pair, 7);
      await verifyManifest('Archive', {}, pair.ctx);
      assert.ok(listsOf(pair.master).at(-1)?.complete);
      await clean(pair, 7);
    },
  ));

test('files that take each other’s names, that are moved and edited, that give way to a folder', () =>
  withPair({ master: { 'a.txt': 'aaaa', 'b.txt': 'bbbbbb', 'c.txt': 'cc', 'd.txt': 'ddd' } }, async (pair) => {
    await sync(pair);
    const at = (name: string): string => join(pair.master, name);
    renameSync(at('a.txt'), at('x'));
    renameSync(at('b.txt'), at('a.txt'));
    renameSync(at('x'), at('b.txt'));
    renameSync(at('c.txt'), at('moved.txt'));
    rmSync(at('d.txt'));
    edit(pair.master, { 'moved.txt': 'edited too', 'd.txt/inside.txt': 'folder' });
    await sync(pair, { on_master_delete: 'trash' });
    await clean(pair, 4);
  }));

test('a file that vanished otherwise stays missing, and a changed one altered', () =>
  withPair({ master: { 'a.txt': 'one', 'b.txt': 'two', 'c.txt': 'three' } }, async (pair) => {
    await sync(pair);
    rmSync(join(pair.backup, 'a.txt'));
    edit(pair.backup, { 'b.txt': 'TWO' });
    edit(pair.master, { 'n.txt': 'new' });
    await sync(pair, { on_backup_delete: 'ask' });
    const found = (await check(pair, { side: 'backup' })).flatMap(({ findings }) => findings);
    assert.equal(
      found.map(({ path, kind }) => `${path} ${kind}`),
      ['a.txt missing', 'b.txt altered'],
    );
  }));

test('what was never hashed is said and never guessed; what was compared is known', () =>
  withPair(
    {
      master: { 'old.txt': 'old', 'same.txt': 'same', 'gone.txt': 'to be moved' },
      backup: { 'same.txt': 'same' },
    },
    async (pair) => {
      await pair.sync();
      await sync(pair);
      assert.not(existsSync(join(pair.master, 'ascmhl')), 'nothing was brought');
      edit(pair.master, { 'n.txt': 'new' });
      const first = await sync(pair);
      assert.is(first.status, 'completed');
      assert.equal(newest(pair), ['n.txt original']);
      assert.is(first.problems.length, 1);
      assert.match(first.problems[0]?.message ?? '', /3 files without a hash .*gone.txt, old.txt, same.txt/);
      await verifyManifest('Archive', {}, pair.ctx);
      renameSync(join(pair.master, 'gone.txt'), join(pair.master, 'here.txt'));
      edit(pair.master, { 'm.txt': 'more' });
      const second = await sync(pair);
      assert.equal(second.problems, []);
      assert.equal(newest(pair), ['here.txt original from gone.txt', 'm.txt original']);
      await clean(pair, 5);
    },
  ));

test('what was on both drives already is listed from the reading that compared it', () =>
  withPair({ master: { 'a.txt': 'same', 'b.txt': 'b' }, backup: { 'a.txt': 'same' } }, async (pair) => {
    const result = await sync(pair);
    assert.equal(result.problems, []);
    assert.equal(newest(pair), ['a.txt original', 'b.txt original']);
    await clean(pair, 2);
  }));

test('a history further down is referred to, followed when it is renamed, and missed when it is changed', () =>
  withPair({ master: { 'P/Card/Clips/c1.mov': 'clip', 'P/Card/x.txt': 'x', 'P/b.txt': 'b' } }, async (pair) => {
    await pair.sync();
    await verifyManifest('Archive', { path: 'P/Card' }, pair.ctx);
    rmSync(join(pair.backup, 'P'), { recursive: true });
    await sync(pair);
    for (const root of [pair.master, pair.backup]) {
      const text = listsOf(root).at(-1);
      assert.equal(
        text?.references.map(({ path }) => path.replace(/\d{4}-.*/, '')),
        ['P/Card/ascmhl/0001_Card_'],
      );
    }
    assert.equal(newest(pair), ['P/b.txt original']);
    await clean(pair, 3);
    edit(pair.master, { 'P/Card/late.txt': 'not in the history of the card' });
    await sync(pair);
    assert.equal(newest(pair), ['P/Card/late.txt original']);
    await clean(pair, 4);
    renameSync(join(pair.master, 'P/Card'), join(pair.master, 'P/A001'));
    await sync(pair);
    assert.equal(newest(pair), ['P/A001/late.txt original from P/Card/late.txt', 'P/Card removed']);
    await clean(pair, 4);
    await verifyManifest('Archive', {}, pair.ctx);
    const complete = listsOf(pair.backup).at(-1);
    assert.equal(complete?.files.map(({ path }) => path).sort(), ['P/A001/late.txt', 'P/b.txt']);
    assert.is(complete?.references.length, 1);
    await clean(pair, 4);
    const home = join(pair.backup, 'P/A001/ascmhl');
    edit(pair.backup, { 'P/A001/x.txt': 'y' });
    appendFileSync(join(home, readdirSync(home).sort()[0] ?? ''), '\n');
    const found = (await check(pair, { side: 'backup' })).flatMap(({ findings }) => findings.map(({ kind }) => kind));
    assert.ok(found.includes('history'));
    rmSync(home, { recursive: true });
    const gone = (await check(pair, { side: 'backup' })).flatMap(({ findings }) => findings);
    assert.ok(gone.some(({ path, kind }) => kind === 'history' && path.startsWith('P/A001/ascmhl/')));
  }));

test('a manifest that cannot be written fails no file, is a problem, and is made up for', () =>
  withPair({ master: { 'a.txt': 'one' } }, async (pair) => {
    await sync(pair);
    const home = join(pair.backup, 'ascmhl');
    const good = new Map(readdirSync(home).map((name) => [name, readFileSync(join(home, name))] as const));
    for (const name of good.keys()) appendFileSync(join(home, name), '<');
    edit(pair.master, { 'b.txt': 'two' });
    const damaged = await sync(pair);
    assert.equal([damaged.status, damaged.files_copied, damaged.files_failed], ['completed', 1, 0]);
    assert.match(damaged.problems.map(({ message }) => message).join(), /no manifest .* on the Backup: .*damaged/);
    rmSync(home, { recursive: true });
    writeFileSync(home, 'a file in the way');
    edit(pair.master, { 'c.txt': 'three' });
    const blocked = await sync(pair);
    assert.is(blocked.status, 'completed');
    assert.is(blocked.problems.length, 1);
    rmSync(home);
    mkdirSync(home);
    for (const [name, bytes] of good) writeFileSync(join(home, name), bytes);
    edit(pair.master, { 'd.txt': 'four' });
    assert.equal((await sync(pair)).problems, []);
    assert.equal(
      listsOf(pair.backup)
        .at(-1)
        ?.files.map(({ path }) => path),
      ['b.txt', 'c.txt', 'd.txt'],
    );
    await clean(pair, 4);
  }));

test('a dry run and a cancelled one write no manifest', () =>
  withPair({ master: { 'a.txt': 'one' } }, async (pair) => {
    await pair.sync();
    edit(pair.master, { 'b.txt': 'two', 'c.txt': 'three' });
    edit(pair.backup, { 'c.txt': 'three' });
    const before = [snapshotOf(pair.master), snapshotOf(pair.backup)];
    await pair.plan({ options: { mhl: true } });
    assert.equal([snapshotOf(pair.master), snapshotOf(pair.backup)], before);
    assert.equal(await (await pair.ctx.db()).all('SELECT * FROM mhl_hashes'), []);
    const stop = new AbortController();
    const ctx = pair.context({ signal: stop.signal, emit: ({ kind }) => kind === 'operation_started' && stop.abort() });
    const { status } = await pair.sync({ options: { mhl: true } }, ctx);
    assert.is(status, 'cancelled');
    for (const root of [pair.master, pair.backup]) assert.not(existsSync(join(root, 'ascmhl')));
  }));

test('names that no document can hold are said, ignored ones are left out, as on the command line', () =>
  withPair({ master: { 'a.txt': 'one', 'c\u001b.txt': 'x', '._a.txt': 'fork' } }, async (pair) => {
    const set = await pair.box.run(['groups', 'set', 'Archive', 'mhl=true', 'filters.preset=none']);
    assert.is(set.code, 0, set.stderr);
    const run = await pair.box.run(['sync', 'run', 'Archive', '--yes']);
    assert.is(run.code, 0, run.stderr);
    assert.match(run.stdout, /1 file without a hash/);
    assert.not.match(run.stdout, '\u001b.txt');
    assert.equal(newest(pair), ['a.txt original']);
    const checked = await pair.box.run(['verify', 'manifest', 'Archive', '--check', '--json']);
    const results = checked.json() as ManifestResult[];
    assert.equal(
      results.flatMap(({ findings }) => findings.map(({ kind }) => kind)),
      ['unlisted', 'unlisted'],
    );
  }));

// --- internal ---

/** By all threads of this process. */
function bytesRead(): number {
  return Number(/rchar: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
}

test.run();
