/** A thousand random lives of a pair of drives: no content is ever lost, whatever the order of edits, runs and accidents. */
import { suite } from 'uvu';
import { liveMany, suiteSeed } from './helpers/lives.ts';
import { inMemory } from './helpers/memory.ts';

const test = suite('model');

test('1,000 lives: no content is gone without a version, the Master is only read, runs settle, conflicts stay', async () => {
  // Side by side: one computes while the other waits for its database.
  await inMemory(() => Promise.all([liveMany(500, suiteSeed()), liveMany(500, suiteSeed() + 1)]));
});

test.run();
