/** Bytes changed on the medium of real drives, behind the filesystem's back. */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { getOperation, listOperations, operationFiles } from '../features/history.ts';
import { type VerifyFlags, type VerifyResult, verifyFiles } from '../features/verify.ts';
import { driveTest, type TestDrive } from './helpers/drives.ts';
import { differences, edit, refusal, snapshotOf, type TestPair, versionsOf, withRealPair } from './helpers/pair.ts';
import { brief, flip, remount, unique } from './helpers/rot.ts';

const test = suite('verify on drives');

const EXT4 = [
  { label: 'MASTER', fs: 'ext4', size: 16 * 1024 * 1024 },
  { label: 'BACKUP', fs: 'ext4', size: 16 * 1024 * 1024 },
] as const;

const verify = (pair: TestPair, flags: VerifyFlags = {}): Promise<VerifyResult> =>
  verifyFiles('Archive', flags, pair.ctx);

async function inSync(pair: TestPair): Promise<void> {
  const { actions } = await pair.plan();
  assert.equal(actions, []);
}

// --- rot ---

for (const [index, side] of ['master', 'backup'].entries()) {
  driveTest(
    test,
    `rot on the ${side} is found behind the cache and healed; the rotten file is kept`,
    EXT4,
    async (drives) => {
      const good = unique('good');
      await withRealPair(
        drives,
        { master: { 'dir/a.raw': { content: good, mode: 0o640 }, 'dir/b.raw': unique('other') } },
        async (pair) => {
          await pair.sync();
          const root = side === 'master' ? pair.master : pair.backup;
          const drive = drives[index] as TestDrive;
          assert.is(readFileSync(join(root, 'dir/a.raw'), 'utf8'), good, 'the page cache holds the good content');
          flip(drive, good);
          const found = await verify(pair);
          assert.equal(brief(found), [`${side} dir/a.raw rot`]);
          assert.is(found.verified, 'device');
          assert.is(found.status, 'failed');
          const healed = await verify(pair, { repair: true });
          assert.equal(brief(healed), [`${side} dir/a.raw rot healed`]);
          assert.is(healed.status, 'completed');
          assert.is(healed.files_healed, 1);
          await inSync(pair);
          remount(drive);
          assert.is(readFileSync(join(root, 'dir/a.raw'), 'utf8'), good);
          assert.is(statSync(join(root, 'dir/a.raw')).mode & 0o777, 0o640);
          const rotten = `${good.slice(0, 20)}#${good.slice(21)}`;
          assert.equal(versionsOf(root, healed.operation_id), [['dir/a.raw', rotten]]);
          assert.is(healed.findings[0]?.version, `.tandem/trash/${healed.operation_id}/dir/a.raw`);
          assert.is(readFileSync(join(root, healed.findings[0]?.version ?? ''), 'utf8'), rotten);
          const operation = await getOperation(healed.operation_id, pair.ctx);
          assert.equal(
            (await operationFiles(operation.id, pair.ctx)).map(({ action, status }) => [action, status]),
            [['heal', 'done']],
          );
          const again = await verify(pair);
          assert.equal(again.findings, []);
          assert.is(again.files_verified, 4);
          await inSync(pair);
        },
      );
    },
  );
}

driveTest(test, 'when both copies are wrong nothing is changed, and the run says so', EXT4, async (drives) => {
  const content = unique('both');
  await withRealPair(drives, { master: { 'a.raw': content } }, async (pair) => {
    await pair.sync();
    for (const drive of drives) flip(drive, content);
    for (const drive of drives) remount(drive);
    const before = [snapshotOf(pair.master), snapshotOf(pair.backup)] as const;
    for (const flags of [
      { repair: true },
      { repair: true, side: 'backup' },
      { repair: true, side: 'master' },
    ] as const) {
      const result = await verify(pair, flags);
      assert.is(result.status, 'failed');
      assert.is(result.files_healed, 0);
      for (const { message } of result.findings) assert.match(message, /not healed/);
    }
    assert.equal(versionsOf(pair.backup), []);
    assert.equal(versionsOf(pair.master), []);
    const own = (path: string): boolean => !path.includes('.tandem');
    assert.equal(differences(before[0], snapshotOf(pair.master)).filter(own), []);
    assert.equal(differences(before[1], snapshotOf(pair.backup)).filter(own), []);
  });
});

driveTest(test, 'a read-only drive is scrubbed, not repaired; its twin is healed from it', EXT4, async (drives) => {
  const [one, other] = [unique('one'), unique('two')];
  await withRealPair(drives, { master: { 'a.raw': one, 'b.raw': other } }, async (pair) => {
    await pair.sync();
    flip(drives[0] as TestDrive, one);
    flip(drives[1] as TestDrive, other);
    assert.is(spawnSync('mount', ['-o', 'remount,ro', pair.master]).status, 0);
    const result = await verify(pair, { repair: true });
    assert.equal(brief(result), ['master a.raw rot', 'backup b.raw rot healed']);
    assert.match(result.findings[0]?.message ?? '', /read-only/);
    assert.is(result.status, 'failed');
    assert.equal(
      versionsOf(pair.backup).map(([path]) => path),
      ['b.raw'],
    );
  });
});

driveTest(test, 'rot behind an edit of the other side is not healed with the edit', EXT4, async (drives) => {
  const content = unique('edited');
  await withRealPair(drives, { master: { 'a.raw': content } }, async (pair) => {
    await pair.sync();
    flip(drives[1] as TestDrive, content);
    edit(pair.master, { 'a.raw': content.replace('edited', 'EDITED') });
    assert.equal(brief(await verify(pair, { repair: true })), ['master a.raw edited', 'backup a.raw rot']);
    assert.equal(brief(await verify(pair, { repair: true, side: 'backup' })), ['backup a.raw rot']);
    assert.equal(versionsOf(pair.backup), []);
  });
});

driveTest(test, 'a file of several names is healed under each, and its versions are whole', EXT4, async (drives) => {
  const content = unique('names');
  await withRealPair(drives, { master: { 'a.raw': content, 'b.raw': { hardlink: 'a.raw' } } }, async (pair) => {
    await pair.sync();
    flip(drives[1] as TestDrive, content);
    const result = await verify(pair, { repair: true });
    assert.equal(brief(result), ['backup a.raw rot healed', 'backup b.raw rot healed']);
    remount(drives[1] as TestDrive);
    for (const name of ['a.raw', 'b.raw']) assert.is(readFileSync(join(pair.backup, name), 'utf8'), content);
    for (const [, version] of versionsOf(pair.backup)) assert.is(version.length, content.length);
    assert.is((await pair.sync()).conflicts_detected, 0);
    assert.equal((await verify(pair)).findings, []);
  });
});

driveTest(test, 'a drive that is pulled ends the run instead of calling its files missing', EXT4, async (drives) => {
  await withRealPair(drives, { master: { 'a.raw': unique('pulled') } }, async (pair) => {
    await pair.sync();
    const ctx = pair.context({
      emit: (event) => {
        if (event.kind !== 'operation_started') return;
        rmSync(join(pair.backup, 'a.raw'));
        drives[1]?.unplug();
      },
    });
    const error = await refusal(verifyFiles('Archive', {}, ctx));
    assert.is(error.code, 'drive_missing');
    const [last] = await listOperations({ type: 'verify', limit: 1 }, pair.ctx);
    assert.is(last?.status, 'failed');
    assert.equal(await operationFiles(last?.id ?? 0, pair.ctx), []);
    drives[1]?.replug();
  });
});

test.run();
