/** The watcher on real drives: pulled in the middle of a burst, plugged in again. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { driveTest } from './helpers/drives.ts';
import { versionsOf, withRealPair } from './helpers/pair.ts';
import { pause, until, watched } from './helpers/watching.ts';

const test = suite('watch on drives');

const MASTER = { label: 'W_MASTER', fs: 'ext4' } as const;
const BACKUP = { label: 'W_BACKUP', fs: 'ext4' } as const;

driveTest(
  test,
  'either drive pulled in mid-burst: nothing is deleted, and it goes on by itself',
  [MASTER, BACKUP],
  (drives) =>
    withRealPair(drives, { master: { 'a/x': '1', 'a/y': '2' } }, (pair) =>
      watched(pair, {}, async ({ watcher, agreed, operations }) => {
        await agreed();
        let round = 0;
        for (const drive of drives) {
          round += 1;
          mkdirSync(join(pair.master, `burst${round}`));
          for (let file = 0; file < 300; file += 1)
            writeFileSync(join(pair.master, `burst${round}/${file}`), `${file}`);
          await pause(round === 1 ? 250 : 600);
          drive.unplug();
          await until(() => watcher.state === 'waiting for drive' || watcher.state);
          await pause(500);
          drive.replug();
          await until(() => watcher.state === 'active' || `${watcher.state} ${watcher.report.message}`);
          await agreed();
        }
        assert.equal(versionsOf(pair.backup), []);
        assert.ok((await operations()).every(({ files_deleted }) => files_deleted === 0));
        writeFileSync(join(pair.master, 'a/after'), 'heard again');
        await agreed();
      }),
    ),
);

driveTest(
  test,
  'a drive that is unmounted under open files and mounted again at once, in mid-burst, is the one that is heard',
  [MASTER, BACKUP],
  (drives) =>
    withRealPair(drives, { master: { 'a/x': '1' } }, (pair) =>
      watched(pair, {}, async ({ agreed, operations }) => {
        await agreed();
        for (const [round, drive] of [...drives, ...drives].entries()) {
          for (let file = 0; file < 100; file += 1) writeFileSync(join(pair.master, `a/${round}-${file}`), `${file}`);
          await pause(150 * (round + 1));
          // No look of the watcher comes in between.
          spawnSync('umount', ['-l', drive.mount]);
          assert.is(spawnSync('mount', [drive.device, drive.mount]).status, 0);
          writeFileSync(join(pair.master, `a/${round}-after`), 'heard by the one that is mounted now');
          await agreed();
        }
        assert.equal(versionsOf(pair.backup), []);
        assert.ok((await operations()).every(({ files_deleted }) => files_deleted === 0));
      }),
    ),
);

test.run();
