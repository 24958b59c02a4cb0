/** Sealing and compressing takes the same memory whatever a file's size. */
import { spawnSync } from 'node:child_process';
import { statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { REPOSITORY } from './helpers/cli.ts';
import { withPair } from './helpers/pair.ts';
import { LZ4, put, SEALED, store } from './helpers/stored.ts';

const test = suite('stored Backups in little memory');
const GIB = 1024 ** 3;

test('a file of 4 GiB is stored with less than 250 MB of memory', async () => {
  await withPair({}, async (pair) => {
    await store(pair, { ...LZ4, ...SEALED });
    put(pair.master, 'large', '');
    truncateSync(join(pair.master, 'large'), 4 * GIB);
    const peak = join(pair.box.root, 'peak.mjs');
    const says = 'writeSync(2, "peak " + process.resourceUsage().maxRSS)';
    writeFileSync(peak, `import { writeSync } from 'node:fs'; process.on('exit', () => ${says});`);
    const words = ['sync', 'run', 'Archive', '--force', 'free-space'];
    const tandem = join(REPOSITORY, 'tui', 'tandem.mjs');
    const { status, stderr } = spawnSync(process.execPath, ['--import', peak, tandem, ...words], {
      encoding: 'utf8',
      env: { ...process.env, TANDEM_CONFIG: pair.box.config, TANDEM_DATA: pair.box.data },
    });
    assert.is(status, 0, stderr);
    const peaks = [...stderr.matchAll(/peak (\d+)/g)].map(([, kilobytes]) => Number(kilobytes) / 1000);
    assert.ok(peaks.length > 0 && Math.max(...peaks) < 250, `${Math.max(...peaks)} MB`);
    assert.ok(statSync(join(pair.backup, 'large.lz4.encrypted')).size < GIB);
  });
});

test.run();
