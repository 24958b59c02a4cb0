/** The watcher on real drives that come and go for as long as a day on location is. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { driveTest } from './helpers/drives.ts';
import { versionsOf, withRealPair } from './helpers/pair.ts';
import { until, watched } from './helpers/watching.ts';

const test = suite('watch with plugs');

driveTest(
  test,
  'thirty times pulled and plugged in, by turns: equal each time, nothing deleted',
  [
    { label: 'W_MASTER', fs: 'ext4' },
    { label: 'W_BACKUP', fs: 'ext4' },
  ],
  (drives) =>
    withRealPair(drives, { master: { 'a/x': '1' } }, (pair) =>
      watched(pair, { debounce: 0.1 }, async ({ watcher, agreed, operations }) => {
        await agreed();
        for (let cycle = 0; cycle < 30; cycle += 1) {
          const drive = drives[cycle % 2];
          drive?.unplug();
          await until(() => watcher.state === 'waiting for drive' || watcher.state);
          // The Backup is away: the Master goes on.
          if (cycle % 2 === 1) writeFileSync(join(pair.master, `a/away${cycle}`), `${cycle}`);
          drive?.replug();
          await until(() => watcher.state === 'active' || `${watcher.state} ${watcher.report.message}`);
          writeFileSync(join(pair.master, `a/cycle${cycle}`), `${cycle}`);
          await agreed();
        }
        assert.equal(versionsOf(pair.backup), []);
        assert.ok((await operations()).every(({ files_deleted }) => files_deleted === 0));
      }),
    ),
);

test.run();
