/**
 * The long mode of the model: `npm run soak` lives random lives until it is stopped, or for SOAK_MINUTES. The first failure
 * is shrunk and printed with what repeats it: `npm run soak -- SEED PATH`. Every odd seed lives on a Backup that is compressed
 * or sealed.
 */
import { messageOf } from '../shared/errors.ts';
import { liveMany, storedLiveMany } from './helpers/lives.ts';
import { inMemory } from './helpers/memory.ts';

const BATCH = 100;
const livesOf = (seed: number): typeof liveMany => (seed % 2 === 1 ? storedLiveMany : liveMany);

async function soak(): Promise<number> {
  const minutes = Number(process.env['SOAK_MINUTES']) || Number.POSITIVE_INFINITY;
  const started = Date.now();
  let lived = 0;
  for (let seed = Date.now() % 2 ** 31; Date.now() - started < minutes * 60_000; seed += 1) {
    try {
      await livesOf(seed)(BATCH, seed);
    } catch (error) {
      process.stdout.write(`\nseed ${seed}, after ${lived} lives:\n${messageOf(error)}\n`);
      return 1;
    }
    lived += BATCH;
    process.stdout.write(`\r${lived} lives in ${((Date.now() - started) / 60_000).toFixed(1)} min`);
  }
  process.stdout.write('\n');
  return 0;
}

const [seed, path] = process.argv.slice(2);
await inMemory(async () => {
  if (seed === undefined) process.exitCode = await soak();
  else await livesOf(Number(seed))(path === undefined ? BATCH : 1, Number(seed), path);
});
