import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type VerifyFlags, type VerifyResult, verifyFiles, verifyManifest } from '../features/verify.ts';
import type { Context } from '../shared/context.ts';
import { parseHashList } from '../shared/mhl.ts';
import { type DriveKind, driveTest, type TestDrive } from './helpers/drives.ts';
import { edit, type TestPair, versionsOf, withRealPair } from './helpers/pair.ts';
import { brief, flip, remount, unique } from './helpers/rot.ts';

const test = suite('verify on exFAT and NTFS');

const SIZE = 32 * 1024 * 1024;
const both = (master: DriveKind, backup: DriveKind) =>
  [
    { label: 'MASTER', fs: master, size: SIZE },
    { label: 'BACKUP', fs: backup, size: SIZE },
  ] as const;

const SIDES = ['master', 'backup'] as const;
type Side = (typeof SIDES)[number];

const rotten = (content: string): string => `${content.slice(0, 20)}#${content.slice(21)}`;

const verify = (pair: TestPair, flags: VerifyFlags = {}, ctx: Context = pair.ctx): Promise<VerifyResult> =>
  verifyFiles('Archive', flags, ctx);
for (const [master, backup] of [
  ['exfat', 'ntfs'],
  ['ntfs', 'exfat'],
] as const)
  driveTest(
    test,
    `rot on ${master} and on ${backup} is found behind both caches and healed; the rotten files are kept`,
    both(master, backup),
    async (drives) => {
      const good = { master: unique('good'), backup: unique('other') };
      const files = { 'dir/master': good.master, 'dir/backup': good.backup, 'dir/empty': '' };
      await withRealPair(drives, { master: files }, async (pair) => {
        const read = (side: Side): string => readFileSync(join(pair[side], 'dir', side), 'utf8');
        const look = (side: Side): number[] => {
          const { size, mtimeMs } = statSync(join(pair[side], 'dir', side));
          return [size, mtimeMs];
        };
        const copied = await pair.sync({ options: { verify_checksums: 'checksum' } });
        assert.is(copied.verified, 'device');
        const before = SIDES.map(look);
        for (const [index, side] of SIDES.entries()) {
          assert.ok(read(side) === good[side]);
          flip(drives[index] as TestDrive, good[side]);
          assert.ok(read(side) === good[side], 'a cache still has the good content');
        }
        const found = await verify(pair);
        assert.equal(brief(found), ['backup dir/backup rot', 'master dir/master rot']);
        assert.equal([found.verified, found.files_verified], ['device', 4]);
        assert.equal(SIDES.map(look), before, 'only the content tells');
        const healed = await verify(pair, { repair: true });
        assert.equal(brief(healed), ['backup dir/backup rot healed', 'master dir/master rot healed']);
        assert.is(healed.status, 'completed');
        assert.equal((await pair.plan()).actions, []);
        for (const drive of drives) remount(drive);
        for (const side of SIDES) {
          assert.ok(read(side) === good[side], 'the good content');
          const [version, ...more] = versionsOf(pair[side], healed.operation_id);
          assert.ok(version?.[0] === `dir/${side}` && version[1] === rotten(good[side]) && more.length === 0);
        }
        assert.equal((await verify(pair)).findings, []);
        // ntfs-3g dates a folder once more when it is unmounted.
        const { actions } = await pair.plan();
        assert.equal(
          actions.filter(({ entry }) => entry !== 'd'),
          [],
        );
      });
    },
  );

driveTest(
  test,
  'nothing is healed from a copy that is wrong too, nor claimed where a cache cannot be emptied',
  both('exfat', 'ntfs'),
  async (drives) => {
    const content = unique('both');
    await withRealPair(drives, { master: { 'a.raw': content, 'b.raw': unique('b') } }, async (pair) => {
      await pair.sync();
      for (const drive of drives) flip(drive, content);
      const ctx = pair.context({
        exec: (program, args) => {
          if (program.endsWith('blockdev')) return Promise.resolve({ code: 1, stdout: '', stderr: 'no permission' });
          return pair.ctx.exec(program, args);
        },
      });
      assert.is((await verify(pair, {}, ctx)).verified, 'cache');
      const result = await verify(pair, { repair: true });
      assert.equal(brief(result), ['master a.raw rot', 'backup a.raw rot']);
      assert.is(result.files_healed, 0);
      for (const drive of drives) remount(drive);
      for (const root of [pair.master, pair.backup]) {
        assert.equal(versionsOf(root), []);
        assert.ok(readFileSync(join(root, 'a.raw'), 'utf8') === rotten(content), 'the medium is as it was');
      }
    });
  },
);

for (const fs of ['exfat', 'ntfs'] as const)
  driveTest(
    test,
    `manifests on ${fs}: written by a run, checked past the caches, no rot vouched for`,
    both('ext4', fs),
    async (drives) => {
      const content = unique('film');
      await withRealPair(drives, { master: { 'P/a.mov': content, 'P/b.mov': unique('b') } }, async (pair) => {
        const first = await pair.sync({ options: { mhl: true, verify_checksums: 'checksum' } });
        assert.equal([first.status, first.problems, first.verified], ['completed', [], 'device']);
        const clean = await verifyManifest('Archive', { check: true }, pair.ctx);
        assert.equal(
          clean.map(({ status, files_verified, verified }) => [status, files_verified, verified]),
          [
            ['completed', 2, 'device'],
            ['completed', 2, 'device'],
          ],
        );
        flip(drives[1] as TestDrive, content);
        const [checked] = await verifyManifest('Archive', { check: true, side: 'backup' }, pair.ctx);
        assert.equal(
          checked?.findings.map(({ path, kind }) => [path, kind]),
          [['P/a.mov', 'altered']],
        );
        const [written] = await verifyManifest('Archive', { side: 'backup' }, pair.ctx);
        assert.equal(
          written?.findings.map(({ path, kind }) => [path, kind]),
          [['P/a.mov', 'rot']],
        );
        const newest = readFileSync(join(pair.backup, written?.manifest ?? ''), 'utf8');
        assert.equal(
          parseHashList(newest).files.map(({ path, hashes }) => [path, hashes[0]?.action]),
          [
            ['P/a.mov', 'failed'],
            ['P/b.mov', 'verified'],
          ],
        );
        assert.is((await verify(pair, { repair: true })).files_healed, 1);
        edit(pair.master, { 'P/c.mov': 'new' });
        assert.equal((await pair.sync({ options: { mhl: true } })).problems, []);
        remount(drives[1] as TestDrive);
        const last = await verifyManifest('Archive', { check: true }, pair.ctx);
        assert.equal(
          last.flatMap(({ findings }) => findings),
          [],
        );
        assert.is(readdirSync(join(pair.backup, 'ascmhl')).length, 4);
      });
    },
  );

test.run();
