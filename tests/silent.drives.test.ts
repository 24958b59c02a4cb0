/** Drives that do not answer: what stands behind them is another process or computer. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { answers, isSilent, mayBeSilent, silence } from '../shared/answering.ts';
import { readMounts } from '../shared/volumes.ts';
import { REPOSITORY } from './helpers/cli.ts';
import { drivesAvailable, skipped } from './helpers/drives.ts';

const test = suite('silent drives');

test('who may be silent: drivers in user space and the network, not the disks of the kernel', () => {
  const may = (filesystem: string): boolean => mayBeSilent({ filesystem });
  assert.equal(
    ['fuseblk', 'fuse.sshfs', 'fuse', 'nfs4', 'nfs', 'cifs', 'smb3', '9p'].filter((one) => !may(one)),
    [],
  );
  assert.equal(['ext4', 'exfat', 'ntfs3', 'vfat', 'btrfs', 'xfs', 'apfs', 'tmpfs'].filter(may), []);
});

test('what answers is silent to nobody, nor is what is not there any more', async () => {
  const [root] = readMounts().filter(({ mount_path }) => mount_path === '/');
  const late = (): void => assert.unreachable('nobody is late');
  for (const mount_path of ['/', '/no/such/place'])
    assert.is(await answers({ ...(root as NonNullable<typeof root>), filesystem: 'nfs', mount_path }, late), true);
  assert.equal([silence(), isSilent('/')], ['', false]);
});

for (const kind of ['ntfs', 'exfat'] as const) {
  const name = `a ${kind} drive whose driver stopped: the other pair is kept in step, and it goes on when it answers`;
  const alone = spawnSync('unshare', ['-m', 'true']).status === 0;
  if (!alone || !drivesAvailable(kind)) skipped(name, 'no such drives, or no namespace of their own');
  else
    test(name, () => {
      const words = ['-m', process.execPath, '--import', 'tsx', join(REPOSITORY, 'tests/helpers/silent.ts'), kind];
      const { status, stdout, stderr } = spawnSync('unshare', words, {
        cwd: REPOSITORY,
        encoding: 'utf8',
        timeout: 180_000,
      });
      assert.is(status, 0, `${stdout}\n${stderr}`);
    });
}

test.run();
