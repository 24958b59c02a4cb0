/** `restore undo` of what was restored into a folder: only what it made, and what is as it left it, goes. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { restoreFromBackup } from '../features/restore.ts';
import { planUndo, undoOperation } from '../features/undo.ts';
import { differences, refusal, snapshotOf, type TestPair, usersTree, versionsOf, withPair } from './helpers/pair.ts';

const test = suite('undo-folder');

const FILES = { 'a.txt': 'a', 'D/b.txt': 'b', 'D/E/c.txt': 'c' };

async function restored(work: (pair: TestPair, folder: string, operation: string) => Promise<void>, own = {}) {
  await withPair({ master: FILES }, async (pair) => {
    await pair.sync();
    const folder = join(pair.box.data, 'Rescued');
    for (const [name, text] of Object.entries<string>(own)) {
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    const { status, operation_id } = await restoreFromBackup('Archive', { to: folder }, pair.ctx);
    assert.is(status, 'completed');
    await work(pair, folder, operation_id);
  });
}

test('what was restored into a folder goes, also without any drive; the drives are never touched', () =>
  restored(async (pair, folder, operation) => {
    for (const root of [pair.master, pair.backup]) renameSync(root, `${root}-away`);
    const before = [pair.master, pair.backup].map((root) => snapshotOf(`${root}-away`));
    const { plans } = await planUndo(operation, pair.ctx);
    assert.equal(
      plans.map(({ away }) => away.length),
      [5],
    );
    assert.ok(existsSync(join(folder, 'D/E/c.txt')), 'a plan removes nothing');
    const undone = await undoOperation(operation, {}, pair.ctx);
    assert.equal([undone.status, undone.files_deleted, undone.problems], ['completed', 3, []]);
    assert.is(undone.conflicts_detected, 0);
    assert.equal(usersTree(folder), {});
    assert.equal(
      versionsOf(folder).map(([path]) => path),
      ['D/E/c.txt', 'D/b.txt', 'a.txt'],
    );
    [pair.master, pair.backup].forEach((root, index) => {
      assert.equal(differences(before[index] ?? {}, snapshotOf(`${root}-away`)), []);
    });
    const again = await undoOperation(undone.operation_id, {}, pair.ctx);
    assert.equal([again.status, again.problems], ['completed', []]);
    assert.is(readFileSync(join(folder, 'D/b.txt'), 'utf8'), 'b');
    for (const root of [pair.master, pair.backup]) renameSync(`${root}-away`, root);
    const run = await pair.sync();
    assert.equal([run.files_copied, run.files_deleted, run.conflicts_detected], [0, 0, 0], 'nothing waits');
  }));

test('what was changed or put there since stays, with a sentence; what was replaced comes back', () =>
  restored(
    async (pair, folder, operation) => {
      assert.is(readFileSync(join(folder, 'a.txt'), 'utf8'), 'a');
      writeFileSync(join(folder, 'D/b.txt'), 'edited here');
      writeFileSync(join(folder, 'D/E/mine'), 'mine');
      const undone = await undoOperation(operation, {}, pair.ctx);
      assert.is(undone.status, 'failed');
      assert.equal(undone.problems.map(({ path }) => path).sort(), ['D', 'D/E', 'D/b.txt']);
      assert.is(readFileSync(join(folder, 'a.txt'), 'utf8'), 'my own a');
      assert.is(readFileSync(join(folder, 'D/b.txt'), 'utf8'), 'edited here');
      assert.equal(readdirSync(join(folder, 'D/E')), ['mine']);
      assert.equal(Object.keys(usersTree(pair.master)).length, 5);
    },
    { 'a.txt': 'my own a' },
  ));

test('a folder that is gone, and one of which nothing is known any more, are refused with a hint', () =>
  restored(async (pair, folder, operation) => {
    rmSync(folder, { recursive: true });
    const gone = await refusal(undoOperation(operation, {}, pair.ctx));
    assert.equal([gone.code, /is not there/.test(gone.message), gone.hint !== undefined], ['not_found', true, true]);
    rmSync(join(pair.box.data, 'folders'), { recursive: true });
    const before = snapshotOf(pair.master);
    const unknown = await refusal(undoOperation(operation, {}, pair.ctx));
    assert.equal([unknown.code, unknown.hint !== undefined], ['invalid', true]);
    assert.equal(differences(before, snapshotOf(pair.master)), [], "the Master's files are not the folder's");
  }));

test.run();
