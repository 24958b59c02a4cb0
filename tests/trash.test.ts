/** What is kept of versions, how long, and what a manifest that was tampered with can do. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { setGroupOptions } from '../features/groups.ts';
import { listVersions, pruneVersions } from '../features/restore.ts';
import { undoOperation } from '../features/undo.ts';
import { readManifest } from '../shared/manifest.ts';
import { choosePrunable, type KeptOperation, type RetentionRules } from '../shared/retention.ts';
import { closeFolder, openRoot } from '../shared/syscalls.ts';
import './helpers/inline-workers.ts';
import { edit, refusal, snapshotOf, versionsOf, withPair } from './helpers/pair.ts';

const test = suite('trash');

const DAY = 86_400_000;
const NOW = Date.parse('2026-06-01T12:00:00Z');

function rules(some: Partial<RetentionRules> = {}): RetentionRules {
  return { now: NOW, lastOperation: NOW - DAY, maxAge: 90 * 86_400, maxBytes: 1000, needed: 0, ...some };
}

function kept(...list: [days: number, bytes: number][]): KeptOperation[] {
  return list.map(([days, bytes]) => ({ operation: `${days}d`, files: 1, bytes, time: NOW - days * DAY }));
}

const names = (list: readonly KeptOperation[]): string[] => list.map(({ operation }) => operation);

test('what may go: by age, by share, by need, oldest first', () => {
  assert.equal(names(choosePrunable(kept([1.5, 10], [100, 10], [91, 10], [89, 10]), rules())), ['100d', '91d']);
  assert.equal(names(choosePrunable(kept([2, 400], [5, 400], [9, 400], [30, 400]), rules())), ['30d', '9d']);
  assert.equal(names(choosePrunable(kept([2, 10], [5, 10], [9, 10]), rules({ needed: 15 }))), ['9d', '5d']);
  assert.equal(names(choosePrunable(kept([500, 10]), rules({ maxAge: null }))), []);
});

test('never what was put there in the last 24 hours, nor what the clock dates in the future', () => {
  const fresh = kept([0.9, 5000], [0, 5000], [-3, 5000]);
  assert.equal(choosePrunable(fresh, rules({ needed: 1e9, maxAge: 1 })), []);
});

test('nothing at all when the clock leapt by more than 30 days, either way', () => {
  for (const days of [-31, 31, 5000])
    assert.equal(choosePrunable(kept([400, 5000]), rules({ lastOperation: NOW - days * DAY })), []);
  assert.is(choosePrunable(kept([400, 5000]), rules({ lastOperation: null })).length, 1);
});

test('a run prunes at its end, and a clock at 2040 prunes nothing', async () => {
  await withPair({ master: { 'a.txt': '1' } }, async (pair) => {
    await pair.sync();
    edit(pair.master, { 'a.txt': '22' });
    const second = await pair.sync();
    const later = (days: number) => pair.context({ now: () => new Date(Date.now() + days * DAY) });
    edit(pair.master, { 'a.txt': '333' });
    await pair.sync({}, later(5000));
    assert.is(versionsOf(pair.backup, second.operation_id).length, 1, 'the clock leapt');
    // The last operation is of that day now, so the next one, 100 days on in small steps, may prune.
    for (const days of [5029, 5058, 5087, 5100]) {
      edit(pair.master, { 'a.txt': `at day ${days}` });
      await pair.sync({}, later(days));
    }
    assert.equal(versionsOf(pair.backup, second.operation_id), [], 'kept long enough');
    assert.ok(versionsOf(pair.backup).length >= 3);
  });
});

test('of many small runs one an hour looks through the trash', async () => {
  await withPair({ master: { 'a.txt': '1' } }, async (pair) => {
    const began = Date.now();
    const run = async (days: number, minutes = 0): Promise<string> => {
      edit(pair.master, { 'a.txt': `at day ${days}, ${minutes} minutes` });
      const now = (): Date => new Date(began + days * DAY + minutes * 60_000);
      return (await pair.sync({}, pair.context({ now }))).operation_id;
    };
    await run(0);
    const first = await run(0, 1);
    const second = await run(0, 15);
    for (const days of [29, 58, 87]) await run(days);
    const kept = (): number[] => [first, second].map((operation) => versionsOf(pair.backup, operation).length);
    await run(90, 2);
    assert.equal(kept(), [0, 1]);
    await run(90, 20);
    assert.equal(kept(), [0, 1]);
    await run(90, 63);
    assert.equal(kept(), [0, 0]);
  });
});

test('versions off: what is replaced or deleted goes once it is on the medium and recorded', async () => {
  await withPair({ master: { 'a.txt': '1', 'b.txt': 'b' } }, async (pair) => {
    await setGroupOptions('Archive', ['versions.enabled=false'], undefined, pair.ctx);
    await pair.sync();
    edit(pair.master, { 'a.txt': '22' });
    rmSync(join(pair.master, 'b.txt'));
    const second = await pair.sync({ options: { on_master_delete: 'trash' } });
    assert.is(second.status, 'completed', JSON.stringify(second.problems));
    assert.is(second.files_deleted, 1);
    assert.equal(versionsOf(pair.backup), []);
    const undone = await undoOperation(second.operation_id, {}, pair.ctx);
    assert.is(undone.status, 'failed');
    assert.is(readFileSync(join(pair.backup, 'a.txt'), 'utf8'), '22');
  });
});

test('a manifest says what was replaced, deleted and made, and where its versions are', async () => {
  await withPair({ master: { 'a.txt': '1', 'manifest.json': 'mine', 'gone.txt': 'g' } }, async (pair) => {
    await pair.sync();
    edit(pair.master, { 'a.txt': '22', 'manifest.json': 'mine!', 'new.txt': 'n' });
    rmSync(join(pair.master, 'gone.txt'));
    const { operation_id } = await pair.sync({ options: { on_master_delete: 'trash' } });
    const root = openRoot(pair.backup);
    try {
      const changes = readManifest(root, operation_id)?.changes ?? [];
      assert.equal(
        changes.map(({ path, change, version }) => [path, change, version]),
        [
          ['a.txt', 'replaced', 'a.txt'],
          ['gone.txt', 'deleted', 'gone.txt'],
          ['manifest.json', 'replaced', 'manifest.json'],
          ['new.txt', 'created', undefined],
        ],
      );
      assert.match(changes[0]?.checksum ?? '', /^[0-9a-f]{64}$/);
    } finally {
      closeFolder(root);
    }
  });
});

test('a manifest that was tampered with, cut short or is missing costs details only', async () => {
  await withPair({ master: { 'a.txt': '1' } }, async (pair) => {
    await pair.sync();
    edit(pair.master, { 'a.txt': '22' });
    const { operation_id } = await pair.sync();
    const file = join(pair.backup, '.tandem', 'operations', `${operation_id}.json`);
    const whole = readFileSync(file, 'utf8');
    const outside = join(pair.box.root, 'outside.txt');
    writeFileSync(outside, 'not ours');
    const hostile = [
      whole.slice(0, whole.length / 2),
      'null',
      '{}',
      whole.replaceAll('a.txt', '../outside.txt'),
      whole.replaceAll('"version":"a.txt"', '"version":"../../../outside.txt"'),
      whole.replaceAll('"path":"a.txt"', '"path":".tandem/drive.json"'),
    ];
    for (const text of hostile) {
      writeFileSync(file, text);
      assert.is((await listVersions('Archive', 'a.txt', pair.ctx)).length, 1, text.slice(0, 40));
      assert.is(readFileSync(outside, 'utf8'), 'not ours');
    }
    const undone = await undoOperation(operation_id, {}, pair.ctx);
    assert.is(undone.status, 'completed', JSON.stringify(undone.problems));
    assert.is(readFileSync(join(pair.backup, 'a.txt'), 'utf8'), '1');
  });
});

test('prune by hand: a dry run removes nothing, --keep-last keeps, old ones go with their manifests', async () => {
  await withPair({ master: { 'a.txt': '1' } }, async (pair) => {
    await pair.sync();
    for (const text of ['22', '333', '4444']) {
      edit(pair.master, { 'a.txt': text });
      await pair.sync();
    }
    const ctx = pair.context({ now: () => new Date(Date.now() + 20 * DAY) });
    const before = snapshotOf(pair.backup);
    const dry = await pruneVersions('Archive', { dryRun: true, olderThan: 3600 }, ctx);
    assert.is(
      dry.reduce((sum, { pruned }) => sum + pruned.length, 0),
      3,
    );
    assert.equal(snapshotOf(pair.backup), before);
    await pruneVersions('Archive', { olderThan: 3600, keepLast: 1 }, ctx);
    assert.equal(versionsOf(pair.backup), [['a.txt', '333']]);
    const far = pair.context({ now: () => new Date(Date.now() + 5000 * DAY) });
    assert.is((await refusal(pruneVersions('Archive', {}, far))).guard, 'clock');
  });
});

test.run();
