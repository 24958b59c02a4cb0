/** What a run shows to other processes: its queue, the file in hand, and who began it. */
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listOperations, operationFilesFrom, operationTargets } from '../features/history.ts';
import type { Plan } from '../features/plan.ts';
import { readQueue, shareQueue } from '../features/queue.ts';
import { setControl } from '../features/steering.ts';
import { withPair } from './helpers/pair.ts';

const test = suite('queue');

type Action = Plan['actions'][number];

const action = (kind: Action['kind'], path: string, more: Partial<Action> = {}): Action => {
  return { kind, path, entry: 'f', size: 5, reason: '', master: 'f 5 1 1 1 1 1 1', backup: null, ...more };
};

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 30_000; !(await what()); ) {
    if (Date.now() > end) throw new Error('it did not come to that');
    await pause(10);
  }
}

test('files are shown as they are named, and only those that the journal will tell of', async () => {
  await withPair({}, async ({ ctx }) => {
    const names = ['a\nb', 'tab\there', '"quoted"', 'back\\slash', '🎞 \u202etxt', ' '];
    const actions = [
      ...names.map((path) => action('copy', path)),
      action('move', 'new', { from: 'old' }),
      action('copy', 'replaced', { backup: 'f 1 1 1 1 1 1 1' }),
      action('copy', 'again', { link_to: 'first' }),
      action('delete', 'gone'),
      ...(['adopt', 'forget', 'skip', 'conflict', 'mkdir'] as const).map((kind) => action(kind, kind)),
      action('meta', 'folder', { entry: 'd' }),
    ];
    const hide = shareQueue('0000-1', actions, ctx, 0);
    await until(() => readQueue('0000-1', ctx).length > 0);
    const shown = readQueue('0000-1', ctx);
    assert.equal(
      shown.map(({ path }) => path),
      [...names, 'new', 'replaced', 'again', 'gone'],
    );
    assert.equal(shown.find(({ path }) => path === 'new')?.from, 'old');
    assert.is(shown.find(({ path }) => path === 'replaced')?.action, 'update');
    assert.is(shown.find(({ path }) => path === 'again')?.action, 'link');
    assert.is(statSync(join(ctx.dataDir, 'queues')).mode & 0o077, 0, 'nobody else reads the names');
    hide();
    assert.equal(readdirSync(join(ctx.dataDir, 'queues')), []);
    assert.equal(readQueue('0000-1', ctx), []);
  });
});

test('a run that ends at once shows nothing; one that died leaves nothing for ever', async () => {
  await withPair({}, async ({ ctx }) => {
    shareQueue('0000-2', [action('copy', 'a')], ctx, 0)();
    await pause(30);
    assert.not.ok(existsSync(join(ctx.dataDir, 'queues')));
    mkdirSync(join(ctx.dataDir, 'queues'));
    writeFileSync(join(ctx.dataDir, 'queues', 'dead'), 'torn [');
    assert.equal(readQueue('dead', ctx), []);
    const hide = shareQueue('0000-3', [action('copy', 'a')], ctx, 0);
    await until(() => readQueue('0000-3', ctx).length > 0);
    assert.equal(readdirSync(join(ctx.dataDir, 'queues')), ['0000-3']);
    hide();
  });
});

test('while a sync goes on others see what it has before it, and how far the file in hand is', async () => {
  const large = Buffer.alloc(3_000_000, 1).toString('latin1');
  await withPair({ master: { 'one.mov': large, 'two.mov': large, 'three.mov': large } }, async ({ sync, context }) => {
    const run = sync(
      { options: { enable_bandwidth_limit: true, bandwidth_limit_mbps: 0.5 } },
      context({ startedBy: 'test' }),
    );
    const watching = context();
    try {
      await until(async () => {
        const [operation] = await listOperations({ status: 'running', limit: 1 }, watching);
        if (!operation) return false;
        const { current = [], current_bytes = [] } = operation.progress ?? {};
        const [done = 0] = current_bytes;
        return readQueue(operation.uuid, watching).length === 3 && current.length > 0 && done > 0 && done < 3_000_000;
      });
      const [operation] = await listOperations({ status: 'running', limit: 1 }, watching);
      assert.is(operation?.started_by, 'test');
      if (operation) await setControl(operation, 'stop', watching);
    } finally {
      await run;
    }
    assert.equal(readdirSync(join(watching.dataDir, 'queues')), []);
  });
});

test('the journal is read on from where it was left', async () => {
  await withPair({ master: { a: '1', b: '2' } }, async ({ sync, ctx }) => {
    await sync();
    const [operation] = await listOperations({ limit: 1 }, ctx);
    const id = operation?.id ?? 0;
    const all = await operationFilesFrom(id, 0, ctx);
    assert.equal(all.files.map(({ path }) => path).sort(), ['a', 'b']);
    assert.equal(await operationFilesFrom(id, all.next, ctx), { files: [], next: all.next });
    assert.is((await operationFilesFrom(id, 1, ctx)).files.length, all.files.length - 1);
    assert.equal(await operationTargets(ctx), ['Archive']);
  });
});

test.run();
