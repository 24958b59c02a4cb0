/**
 * Random lives of pairs whose Backup is compressed or sealed, and changes its form in mid-life: nothing is ever lost, each
 * file opens to what the Master has, and no file keeps a form that it is not to have.
 */
import { suite } from 'uvu';
import { storedLiveMany, suiteSeed } from './helpers/lives.ts';
import { inMemory } from './helpers/memory.ts';

const test = suite('model of stored Backups');

test('240 lives of compressed and sealed Backups, through every form and accident', async () => {
  await inMemory(() => Promise.all([storedLiveMany(120, suiteSeed()), storedLiveMany(120, suiteSeed() + 1)]));
});

test.run();
