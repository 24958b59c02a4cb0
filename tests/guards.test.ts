/** What stops a run that could be carried out, what does not, and what a filter or a clock can never make it do. */
import { renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SyncOptions } from '../features/session.ts';
import { applySavedPlan } from '../features/sync.ts';
import './helpers/inline-workers.ts';
import { edit, refusal, type TestPair, versionsOf, withPair } from './helpers/pair.ts';
import { treeOf, type World } from './helpers/world.ts';

const test = suite('guards');

const many = (count: number, text = 'x'): World =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`d${index % 3}/f${index}`, `${text} ${index}`]));

const DELETE = { options: { on_master_delete: 'trash' } } as const;

function remove(pair: TestPair, from: number, to: number): void {
  for (let index = from; index < to; index += 1) rmSync(join(pair.master, `d${index % 3}/f${index}`));
}

test('more than half deleted: refused with what it would have done; --force mass-change runs it and counts from there', async () => {
  await withPair({ master: many(60) }, async (pair) => {
    await pair.sync();
    remove(pair, 0, 40);
    const error = await refusal(pair.sync(DELETE));
    assert.equal([error.exitCode, error.guard], [6, 'mass-change']);
    assert.match(error.message, 'delete 40 files and replace 0');
    assert.is(Object.keys(treeOf(pair.backup)).length, 63, 'nothing was deleted');
    assert.equal(versionsOf(pair.backup), []);
    const other = await pair.box.run(['sync', 'run', 'Archive', '--delete', '--force', 'free-space']);
    assert.is(other.code, 6);
    const forced = await pair.box.run(['sync', 'run', 'Archive', '--delete', '--force', 'mass-change']);
    assert.is(forced.code, 0);
    assert.is(versionsOf(pair.backup).length, 40);
    remove(pair, 40, 45);
    assert.is((await pair.sync(DELETE)).files_deleted, 5, 'what was acknowledged is not counted again');
  });
});

test('a drive that loses its files bit by bit loses them all the same: a day is added up', async () => {
  await withPair({ master: many(60) }, async (pair) => {
    await pair.sync();
    for (const at of [0, 10, 20]) {
      remove(pair, at, at + 10);
      assert.is((await pair.sync(DELETE)).files_deleted, 10);
    }
    remove(pair, 30, 34);
    const error = await refusal(pair.sync(DELETE));
    assert.is(error.guard, 'mass-change');
    assert.match(error.message, '34 files together with the last 24 hours');
    const tomorrow = pair.context({ now: () => new Date(Date.now() + 25 * 3_600_000) });
    assert.is((await pair.sync(DELETE, tomorrow)).files_deleted, 4);
  });
});

test('replacing counts as deleting does, renaming does not, and few files are no mass', async () => {
  await withPair({ master: many(40) }, async (pair) => {
    await pair.sync();
    renameSync(join(pair.master, 'd0'), join(pair.master, 'e0'));
    renameSync(join(pair.master, 'd1'), join(pair.master, 'e1'));
    renameSync(join(pair.master, 'd2'), join(pair.master, 'e2'));
    assert.is((await pair.sync(DELETE)).files_moved, 40);
    edit(
      pair.master,
      Object.fromEntries(
        Object.entries(many(40, 'encrypted by somebody')).map(([path, text]) => [`e${path.slice(1)}`, text]),
      ),
    );
    const error = await refusal(pair.sync());
    assert.is(error.guard, 'mass-change');
    assert.match(error.message, 'delete 0 files and replace 40');
  });
  await withPair({ master: many(19) }, async (pair) => {
    await pair.sync();
    remove(pair, 0, 18);
    assert.is((await pair.sync(DELETE)).files_deleted, 18);
  });
});

test('half of the bytes in few large files, or of the files in few bytes: both count; a small part of many does not', async () => {
  const big = (): World => ({
    ...many(60),
    ...Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`big${at}`, 'B'.repeat(50_000)])),
  });
  await withPair({ master: big() }, async (pair) => {
    await pair.sync();
    remove(pair, 0, 30);
    assert.is((await pair.plan(DELETE)).guards.length, 0, '30 of 80 files, hardly any bytes');
    for (let at = 0; at < 20; at += 1) rmSync(join(pair.master, `big${at}`));
    assert.is((await pair.plan(DELETE)).guards[0]?.name, 'mass-change');
  });
});

test('a folder of the drive is measured by itself', async () => {
  await withPair(
    { master: { ...many(90), ...Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`card/${at}`, `${at}`])) } },
    async (pair) => {
      await pair.sync();
      for (let at = 0; at < 25; at += 1) rmSync(join(pair.master, `card/${at}`));
      assert.is((await pair.plan({ ...DELETE, path: 'card' })).guards[0]?.name, 'mass-change');
      assert.equal((await pair.plan(DELETE)).guards, []);
    },
  );
});

test('a first sync and a refused one are no losses; a saved plan keeps its guard', async () => {
  await withPair({ master: many(60) }, async (pair) => {
    assert.equal((await pair.plan()).guards, []);
    await pair.sync();
    remove(pair, 0, 40);
    await refusal(pair.sync(DELETE));
    await refusal(pair.sync(DELETE));
    const plan = JSON.parse(JSON.stringify(await pair.plan(DELETE)));
    assert.match(plan.guards[0].message, 'delete 40 files');
    assert.is((await refusal(applySavedPlan(plan, [], {}, pair.ctx))).guard, 'mass-change');
  });
});

// --- filters ---

test('a filter that newly leaves files out deletes none of them, says so once, and forgets no record', async () => {
  await withPair(
    { master: { 'a.tmp': 'a', 'd/b.tmp': 'b', 'd/keep.txt': 'k', 'e/c.tmp': 'c', 'large.bin': 'L'.repeat(5000) } },
    async (pair) => {
      await pair.sync();
      const notes: string[] = [];
      const ctx = pair.context({
        emit: (event) => {
          if (event.kind === 'note') notes.push(event.message);
        },
      });
      const filters = (more: Partial<SyncOptions['filters']>): { options: Partial<SyncOptions> } => ({
        options: {
          ...DELETE.options,
          filters: { exclude: [], include: [], min_size: null, max_size: null, max_age: null, preset: 'none', ...more },
        },
      });
      const before = treeOf(pair.backup);
      // Left out by name and, in the same run, gone from the Master: also the folder around it.
      rmSync(join(pair.master, 'a.tmp'));
      rmSync(join(pair.master, 'e'), { recursive: true });
      const first = await pair.sync(filters({ exclude: ['*.tmp'], max_size: 4000 }), ctx);
      assert.is(first.files_deleted, 0);
      assert.equal(treeOf(pair.backup), before);
      assert.equal(
        notes.filter((note) => note.startsWith('The filter changed')),
        ['The filter changed: 4 files that were in sync are left out now. What the Backup has of them stays as it is.'],
      );
      const records = (await pair.rows()).map(({ path }) => path);
      for (const path of ['a.tmp', 'd/b.tmp', 'e/c.tmp', 'large.bin']) assert.ok(records.includes(path), path);
      notes.length = 0;
      await pair.sync(filters({ exclude: ['*.tmp'], max_size: 4000 }), ctx);
      assert.equal(notes, [], 'said once');
      // A limit of age works on what grows old by itself.
      utimesSync(join(pair.master, 'd/keep.txt'), 1e9, 1e9);
      await pair.sync(filters({ exclude: ['*.tmp'] }), ctx);
      rmSync(join(pair.master, 'd/keep.txt'));
      await pair.sync(filters({ exclude: ['*.tmp'], max_age: 3600 * 24 }), ctx);
      assert.ok('d/keep.txt' in treeOf(pair.backup), 'too old for the filter, so not deleted');
    },
  );
});

test('a folder that is renamed never takes along what the filter leaves out', async () => {
  await withPair({ master: { 'd/a.raw': 'raw', 'd/b.tmp': 'temp' } }, async (pair) => {
    await pair.sync();
    renameSync(join(pair.master, 'd'), join(pair.master, 'e'));
    const filters = { exclude: ['*.tmp'], include: [], min_size: null, max_size: null, max_age: null, preset: 'none' };
    const result = await pair.sync({ options: { ...DELETE.options, filters } });
    assert.is(result.files_moved, 1);
    assert.equal(Object.keys(treeOf(pair.backup)).sort(), ['d/', 'd/b.tmp', 'e/', 'e/a.raw']);
  });
});

// --- clocks ---

for (const [name, shift] of [
  ['in 2040', 14 * 365 * 86_400_000],
  ['in the past', -20 * 365 * 86_400_000],
] as const) {
  test(`a clock ${name} deletes nothing and overwrites nothing, and what it acknowledged covers nothing later`, async () => {
    await withPair({ master: many(60) }, async (pair) => {
      await pair.sync();
      const wrong = pair.context({ now: () => new Date(Date.now() + shift) });
      const before = treeOf(pair.backup);
      const quiet = await pair.sync(DELETE, wrong);
      assert.equal([quiet.files_copied, quiet.files_deleted, quiet.conflicts_detected], [0, 0, 0]);
      assert.equal(treeOf(pair.backup), before);
      remove(pair, 0, 35);
      assert.is((await refusal(pair.sync(DELETE, wrong))).guard, 'mass-change');
      const forced = pair.context({ now: wrong.now, force: ['mass-change'] });
      assert.is((await pair.sync(DELETE, forced)).files_deleted, 35);
      assert.is(versionsOf(pair.backup).length, 35);
      remove(pair, 35, 56);
      assert.is((await refusal(pair.sync(DELETE))).guard, 'mass-change');
    });
  });
}

test('files dated far in the future, or before 1970, are copied once and then left alone', async () => {
  await withPair({ master: { a: 'a', b: 'b' } }, async (pair) => {
    utimesSync(join(pair.master, 'a'), 4e9, 4e9);
    utimesSync(join(pair.master, 'b'), -1e6, -1e6);
    assert.is((await pair.sync()).files_copied, 2);
    assert.equal((await pair.plan()).actions, []);
    writeFileSync(join(pair.backup, 'a'), 'edited on the Backup, with an older date');
    utimesSync(join(pair.backup, 'a'), 1e9, 1e9);
    const result = await pair.sync();
    assert.equal([result.files_copied, result.conflicts_detected], [0, 1], 'the newer date decides nothing');
  });
});

test.run();
