/** Many random lives (model.ts), for the suite and for the soak. */
import './inline-workers.ts';
import './calls.ts';
import fc from 'fast-check';
import { live, lives, MODEL } from './model.ts';
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
