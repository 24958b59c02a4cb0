import { chmodSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { getOperation } from '../features/history.ts';
import { type VerifyFlags, type VerifyResult, verifyFiles, verifyStates } from '../features/verify.ts';
import { differences, edit, refusal, snapshotOf, type TestPair, versionsOf, withPair } from './helpers/pair.ts';

const test = suite('verify');

const verify = (pair: TestPair, flags: VerifyFlags = {}): Promise<VerifyResult> =>
  verifyFiles('Archive', flags, pair.ctx);

const brief = (result: VerifyResult): string[] =>
  result.findings.map(({ side, path, kind, healed }) => `${side} ${path} ${kind}${healed ? ' healed' : ''}`);

async function inSync(pair: TestPair): Promise<void> {
  const { actions } = await pair.plan();
  assert.equal(actions, []);
}

// --- clean ---

test('a clean run counts every file on both sides, dates the rows and touches neither drive', () =>
  withPair(
    { master: { 'a.txt': 'one', 'b/c.txt': 'two', 'b/empty': '', 'b/link': { symlink: '../a.txt' } } },
    async (pair) => {
      await pair.sync();
      const before = [snapshotOf(pair.master), snapshotOf(pair.backup)] as const;
      const result = await verify(pair);
      assert.equal(result.findings, []);
      assert.is(result.status, 'completed');
      assert.is(result.files_verified, 6);
      assert.is(result.bytes_verified, 12);
      assert.equal(differences(before[0], snapshotOf(pair.master)), []);
      assert.equal(differences(before[1], snapshotOf(pair.backup)), []);
      const db = await pair.ctx.db();
      const dated = await db.all(
        'SELECT relative_path FROM file_sync_history WHERE master_verified IS NOT NULL AND backup_verified IS NOT NULL ORDER BY 1',
      );
      assert.equal(
        dated.map((row) => row['relative_path']),
        ['a.txt', 'b/c.txt', 'b/empty'],
      );
      const operation = await getOperation(result.operation_id, pair.ctx);
      assert.equal([operation.operation_type, operation.status, operation.files_failed], ['verify', 'completed', 0]);
      assert.is((await verifyStates(pair.ctx))[0]?.last?.uuid, result.operation_id);
      await inSync(pair);
    },
  ));

test('a run over a folder, one side, or a drive whose twin is away reads just that', () =>
  withPair({ master: { 'a.txt': 'one', 'b/c.txt': 'two' } }, async (pair) => {
    await pair.sync();
    assert.is((await verify(pair, { path: 'b' })).files_verified, 2);
    assert.is((await verify(pair, { path: 'b/c.txt', side: 'master' })).files_verified, 1);
    rmSync(join(pair.backup, '.tandem', 'drive.json'));
    const error = await refusal(verify(pair));
    assert.is(error.code, 'drive_missing');
    assert.match(error.hint ?? '', '--side master');
    assert.is((await verify(pair, { side: 'master' })).files_verified, 2);
    assert.is((await refusal(verify(pair, { repair: true, side: 'master' }))).code, 'drive_missing');
  }));

test('what was never synced, or is never synced, is refused', () =>
  withPair({ master: { 'a.txt': 'one' } }, async (pair) => {
    assert.is((await refusal(verify(pair))).code, 'invalid');
    await pair.sync();
    assert.is((await refusal(verify(pair, { path: 'nowhere' }))).code, 'invalid');
    assert.is((await refusal(verify(pair, { path: '.tandem' }))).code, 'invalid');
    assert.is((await refusal(verify(pair, { path: '../etc' }))).code, 'invalid');
  }));

// --- edits ---

test('edits are not mistaken for rot: new content, another size, reset times, a link or folder in its place, absence', () =>
  withPair(
    {
      master: {
        'same-size': 'aaaa',
        'other-size': 'aaaa',
        'time-reset': 'aaaa',
        touched: 'aaaa',
        mode: 'aaaa',
        link: 'aaaa',
        folder: 'aaaa',
        gone: 'aaaa',
        'deep/below': 'aaaa',
        kept: 'aaaa',
      },
    },
    async (pair) => {
      await pair.sync();
      const at = (name: string): string => join(pair.backup, name);
      writeFileSync(at('same-size'), 'bbbb');
      writeFileSync(at('other-size'), 'bbbbb');
      const { atime, mtime } = statSync(at('time-reset'));
      writeFileSync(at('time-reset'), 'bbbb');
      utimesSync(at('time-reset'), atime, mtime);
      utimesSync(at('touched'), 1, 1);
      chmodSync(at('mode'), 0o600);
      rmSync(at('link'));
      symlinkSync('kept', at('link'));
      rmSync(at('folder'));
      edit(pair.backup, { 'folder/': null });
      rmSync(at('gone'));
      rmSync(at('deep'), { recursive: true });
      symlinkSync('.', at('deep'));
      writeFileSync(at('below'), 'aaaa');
      const before = snapshotOf(pair.backup);
      const result = await verify(pair, { repair: true });
      assert.equal(brief(result), [
        'backup deep/below missing',
        'backup folder edited',
        'backup gone missing',
        'backup link edited',
        'backup other-size edited',
        'backup same-size edited',
        'backup time-reset edited',
      ]);
      assert.is(result.status, 'completed');
      assert.is(result.files_verified, 10 + 3);
      assert.equal(
        differences(before, snapshotOf(pair.backup)).filter((path) => !path.includes('.tandem')),
        [pair.backup].filter(() => false),
      );
      assert.equal(versionsOf(pair.backup), []);
    },
  ));

test('a row that may have missed an edit never makes rot; one behind which another content was found does', () =>
  withPair({ master: { 'a.txt': 'one' } }, async (pair) => {
    await pair.sync();
    const db = await pair.ctx.db();
    for (const [doubt, kind] of [
      ['racy', 'edited'],
      ['unequal', 'rot'],
    ]) {
      await db.run(
        "UPDATE file_sync_history SET doubt = ?, checksum = replace(checksum, substr(checksum, 1, 4), '0000')",
        [doubt ?? ''],
      );
      assert.equal(brief(await verify(pair)), [`master a.txt ${kind}`, `backup a.txt ${kind}`]);
    }
  }));

// --- rows without checksum ---

test('adopted files get their checksum when both sides agree, and are findings when they do not', () =>
  withPair({}, async (pair) => {
    const time = Math.floor(Date.now() / 1000) - 7200;
    for (const root of [pair.master, pair.backup])
      edit(root, {
        'equal.txt': { content: 'same', mtime: time },
        'other.txt': { content: root === pair.master ? 'this' : 'that', mtime: time },
      });
    await pair.sync({ options: { trust_mtime: true } });
    assert.equal(
      (await pair.rows()).map(({ checksum }) => checksum),
      ['', ''],
    );
    assert.is((await verify(pair, { side: 'backup' })).files_verified, 0);
    const result = await verify(pair, { repair: true });
    assert.equal(brief(result), ['master other.txt differs', 'backup other.txt differs']);
    assert.is(result.checksums_recorded, 1);
    assert.is(result.status, 'failed');
    const [equal, other] = await pair.rows();
    assert.is(equal?.checksum.length, 64);
    assert.is(other?.checksum, '');
    await inSync(pair);
  }));

// --- samples ---

test('a sample takes what was read longest ago, and in ten tenths comes to everything once', () =>
  withPair({}, async (pair) => {
    edit(
      pair.master,
      Object.fromEntries(
        Array.from({ length: 20 }, (_, index) => [`f${String(index).padStart(2, '0')}`, 'x'.repeat(1000)]),
      ),
    );
    await pair.sync();
    const db = await pair.ctx.db();
    const seen = new Map<string, number>();
    let last = '';
    for (let round = 0; round < 10; round += 1) {
      const moment = new Date(Date.UTC(2030, 0, 1 + round));
      const result = await verifyFiles('Archive', { sample: 10, side: 'backup' }, pair.context({ now: () => moment }));
      assert.is(result.files_verified, 2);
      const rows = await db.all('SELECT relative_path FROM file_sync_history WHERE backup_verified = ?', [
        moment.toISOString(),
      ]);
      for (const row of rows) seen.set(String(row['relative_path']), (seen.get(String(row['relative_path'])) ?? 0) + 1);
      last = moment.toISOString();
    }
    assert.is(seen.size, 20);
    assert.ok(
      [...seen.values()].every((count) => count === 1),
      'none was read twice before all were read once',
    );
    await db.run(
      "UPDATE file_sync_history SET backup_verified = '2020-01-01T00:00:00.000Z' WHERE relative_path = 'f13'",
    );
    await verify(pair, { sample: 1, side: 'backup' });
    const [f13] = await db.all("SELECT backup_verified FROM file_sync_history WHERE relative_path = 'f13'");
    assert.ok(String(f13?.['backup_verified']) > '2020-01-02' && last !== '');
    const none = await db.all('SELECT count(*) AS n FROM file_sync_history WHERE master_verified IS NOT NULL');
    assert.is(none[0]?.['n'], 0);
  }));

test('a sync that records a file anew forgets when it was read', () =>
  withPair({ master: { 'a.txt': 'one', 'b.txt': 'two' } }, async (pair) => {
    await pair.sync();
    await verify(pair);
    edit(pair.master, { 'a.txt': 'newer' });
    await pair.sync();
    const db = await pair.ctx.db();
    const rows = await db.all(
      'SELECT relative_path AS path FROM file_sync_history WHERE backup_verified IS NULL ORDER BY 1',
    );
    assert.equal(
      rows.map(({ path }) => path),
      ['a.txt'],
    );
  }));

// --- cancel ---

test('a cancelled run keeps what it has read, and the next one goes on from there', () =>
  withPair({}, async (pair) => {
    edit(
      pair.master,
      Object.fromEntries(Array.from({ length: 6 }, (_, index) => [`f${index}`, Buffer.alloc(9 * 1024 * 1024, index)])),
    );
    await pair.sync();
    const stop = new AbortController();
    const ctx = pair.context({
      signal: stop.signal,
      emit: (event) => {
        if (event.kind === 'progress' && event.progress.bytes_done > 0) stop.abort();
      },
    });
    const first = await verifyFiles('Archive', { side: 'backup' }, ctx);
    if (first.status === 'cancelled') {
      assert.ok(first.files_verified < 6);
      const second = await verify(pair, { side: 'backup' });
      assert.is(second.files_skipped, first.files_verified);
      assert.is(second.files_verified, 6 - first.files_verified);
      assert.is(second.status, 'completed');
    } else assert.is(first.files_verified, 6, 'it was done before it could be cancelled');
    const third = await verify(pair, { side: 'backup' });
    assert.is(third.files_skipped, 0);
    assert.is(third.files_verified, 6);
  }));

test('a run that is cancelled before it begins reads nothing and heals nothing', () =>
  withPair({ master: { 'a.txt': 'one' } }, async (pair) => {
    await pair.sync();
    const result = await verifyFiles('Archive', { repair: true }, pair.context({ signal: AbortSignal.abort() }));
    assert.is(result.status, 'cancelled');
    assert.is(result.files_verified, 0);
  }));

// --- locks ---

test('a scrub runs beside a writer; a repair waits for it', () =>
  withPair({ master: { 'a.txt': 'one' } }, async (pair) => {
    await pair.sync();
    const { DriveLock } = await import('../shared/lock.ts');
    const { closeFolder, openRoot } = await import('../shared/syscalls.ts');
    const root = openRoot(pair.backup);
    const lock = await DriveLock.acquire(root, {
      label: 'B',
      wait: 0,
      breakLock: false,
      network: false,
      signal: pair.ctx.signal,
    });
    try {
      assert.is((await verify(pair)).status, 'completed');
      assert.is((await refusal(verify(pair, { repair: true }))).code, 'locked');
    } finally {
      lock.release();
      closeFolder(root);
    }
    assert.is((await verify(pair, { repair: true })).status, 'completed');
  }));

// --- command line ---

test('the command prints one document, exits 4 on damage and hides hostile names', () =>
  withPair({ master: { 'a\u001b[31m.txt': 'one', 'b.txt': 'two' } }, async (pair) => {
    await pair.sync();
    const clean = await pair.box.run(['verify', 'run', 'Archive', '--json']);
    assert.is(clean.code, 0, clean.stderr);
    assert.is((clean.json() as VerifyResult).files_verified, 4);
    const db = await pair.ctx.db();
    await db.run(
      "UPDATE file_sync_history SET checksum = replace(checksum, substr(checksum, 1, 8), '00000000') WHERE checksum <> ''",
    );
    const bad = await pair.box.run(['verify', 'run', 'Archive', '--side', 'backup']);
    assert.is(bad.code, 4);
    assert.not.match(bad.stdout, '\u001b[31m.txt');
    assert.match(bad.stdout, /rot/);
    for (const sample of ['0', '101', 'x'])
      assert.is((await pair.box.run(['verify', 'run', 'Archive', '--sample', sample])).code, 2);
    assert.is((await pair.box.run(['verify', 'run', 'Nobody'])).code, 2);
  }));

test.run();
