/** Many random lives (model.ts), for the suite and for the soak. */
import './inline-workers.ts';
import './calls.ts';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { getGroup, setGroupOptions } from '../../features/groups.ts';
import { groupKey, initKeyring } from '../../features/keyring.ts';
import { live, lives, MODEL, storedLives } from './model.ts';
import { withPair } from './pair.ts';
import './property.ts';

/** The seed of tests/helpers/property.ts. */
export function suiteSeed(): number {
  return fc.readConfigureGlobal()?.seed ?? 0;
}

/** `count` lives of one pair; a failure is shrunk, and says its seed and its path. */
export async function liveMany(count: number, seed: number, path?: string): Promise<void> {
  await withPair({}, async (pair) => {
    await pair.sync();
    const settings = path === undefined ? {} : { path, endOnFailure: true };
    await fc.assert(
      fc.asyncProperty(lives(MODEL, 12), (story) => live(pair, story)),
      { numRuns: count, seed, ...settings },
    );
  });
}

/** The same on a pair whose Backup is compressed or sealed, and changes its form. The key comes from a file: no password is hashed. */
export async function storedLiveMany(count: number, seed: number, path?: string): Promise<void> {
  await withPair({}, async (pair) => {
    const file = join(pair.box.root, 'key');
    const bytes = randomBytes(32);
    writeFileSync(file, bytes, { mode: 0o600 });
    await initKeyring(getGroup('Archive', pair.ctx), { kind: 'key_file', bytes: Buffer.from(bytes) }, pair.ctx);
    await setGroupOptions('Archive', [`encryption_key_file=${file}`], undefined, pair.ctx);
    await pair.sync();
    const key = await groupKey(getGroup('Archive', pair.ctx), { master: null, backup: null }, pair.ctx);
    const settings = path === undefined ? {} : { path, endOnFailure: true };
    await fc.assert(
      fc.asyncProperty(storedLives(12), (story) => live(pair, story, key)),
      { numRuns: count, seed, ...settings },
    );
  });
}
