/** Sealing takes little memory, however large the file is. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { REPOSITORY } from './helpers/cli.ts';

const test = suite('encrypt.memory');

/** Where there is room for a few GiB, in memory rather than on a drive. */
function roomy(bytes: number): string {
  const memory = existsSync('/dev/shm') ? statfsSync('/dev/shm') : undefined;
  return memory !== undefined && memory.bavail * memory.bsize > bytes ? '/dev/shm' : tmpdir();
}

test('a file of 4 GiB is sealed and opened in less than 250 MB of memory', async () => {
  const GIB = 1024 ** 3;
  const folder = mkdtempSync(join(roomy(12 * GIB), 'tandem-encrypt-'));
  try {
    const at = (name: string): string => join(folder, name);
    const key = at('key');
    writeFileSync(key, randomBytes(64), { mode: 0o600 });
    closeSync(openSync(at('a'), 'w'));
    truncateSync(at('a'), 4 * GIB);
    const tandem = join(REPOSITORY, 'tui', 'tandem.mjs');
    const peak = at('peak.mjs');
    const says = 'writeSync(2, "peak " + process.resourceUsage().maxRSS)';
    writeFileSync(peak, `import { writeSync } from 'node:fs'; process.on('exit', () => ${says});`);
    const encrypt = (...words: string[]): { status: number | null; stderr: string } =>
      spawnSync(process.execPath, ['--import', peak, tandem, 'encrypt', ...words, '--key-file', key], {
        encoding: 'utf8',
      });
    for (const words of [
      ['seal', at('a'), at('b')],
      ['open', at('b'), at('c')],
    ]) {
      const { status, stderr } = encrypt(...words);
      assert.is(status, 0, stderr);
      const peaks = [...stderr.matchAll(/peak (\d+)/g)].map(([, kilobytes]) => Number(kilobytes) / 1000);
      assert.ok(peaks.length > 0 && Math.max(...peaks) < 250, stderr);
    }
    assert.is(statSync(at('c')).size, 4 * GIB);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
