/** What a watcher does when it cannot or must not follow: conflicts, guards, drives that went, limits, pauses, dead processes. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  disableRealtimeSync,
  enableRealtimeSync,
  isRealtimeSyncEnabled,
  listRealtimeWatchers,
} from '../features/watch.ts';
import { thisProcess } from '../shared/machine.ts';
import { REPOSITORY } from './helpers/cli.ts';
import { archive, edit, versionsOf, withPair } from './helpers/pair.ts';
import { overflow, pause, until, watched, withFewWatches } from './helpers/watching.ts';

const test = suite('watch states');

test('a change on the Backup becomes a conflict of the next look, not an endless row of them', () =>
  withPair({ master: { 'a/x': '1', 'a/y': '1' } }, (pair) =>
    watched(pair, {}, async ({ agreed, operations }) => {
      await agreed();
      edit(pair.backup, { 'a/x': 'changed here' });
      await pause(600);
      assert.is((await operations()).length, 0, 'the Backup is not watched');
      writeFileSync(join(pair.master, 'a/x'), 'and there');
      await until(async () => (await operations()).length === 1);
      await pause(1500);
      assert.equal(
        (await operations()).map(({ conflicts_detected }) => conflicts_detected),
        [1],
      );
      assert.is(readFileSync(join(pair.backup, 'a/x'), 'utf8'), 'changed here');
    }),
  ));

test('more than half deleted is refused, and not tried over and over', () =>
  withPair(
    { master: Object.fromEntries(Array.from({ length: 60 }, (_, at) => [`a/${at}`, `${at}`])) },
    async (pair) => {
      // So that no record is doubtful: to look at one again is an operation.
      await pause(100);
      await watched(pair, { scanEvery: 1, secondLook: 1 }, async ({ watcher, agreed, operations }) => {
        await agreed();
        for (let at = 0; at < 40; at += 1) rmSync(join(pair.master, `a/${at}`));
        await until(() => watcher.report.message.includes('more than half') || watcher.report.message);
        await pause(2500);
        assert.equal([await operations(), versionsOf(pair.backup)], [[], []]);
        assert.is(readFileSync(join(pair.backup, 'a/0'), 'utf8'), '0');
      });
    },
  ));

test('a drive that goes is waited for, nothing is deleted, and all is made up for when it is back', () =>
  withPair({ master: { 'a/x': '1', 'a/y': '2' } }, (pair) =>
    watched(pair, {}, async ({ watcher, agreed, operations }) => {
      await agreed();
      for (const side of [pair.master, pair.backup]) {
        renameSync(side, `${side}-away`);
        await until(() => watcher.state === 'waiting for drive' || watcher.state);
        writeFileSync(join(side === pair.master ? `${side}-away` : pair.master, 'a/meanwhile'), side);
        await pause(500);
        renameSync(`${side}-away`, side);
        await until(() => watcher.state === 'active' || watcher.state);
        await agreed();
      }
      writeFileSync(join(pair.master, 'a/after'), '3');
      await agreed();
      assert.equal(
        versionsOf(pair.backup).map(([path]) => path),
        ['a/meanwhile'],
      );
      assert.ok((await operations()).every(({ files_deleted }) => files_deleted === 0));
    }),
  ));

test('a drive that was pulled in the middle of a run comes back with the lock of this very process, and is no stranger', () =>
  withPair({ master: { 'a/x': '1' } }, (pair) =>
    watched(pair, {}, async ({ watcher, agreed }) => {
      await agreed();
      for (const side of [pair.master, pair.backup]) {
        renameSync(side, `${side}-away`);
        await until(() => watcher.state === 'waiting for drive' || watcher.state);
        const left = { token: 'let go of when the drive was gone', counter: 3, ...thisProcess() };
        writeFileSync(join(`${side}-away`, '.tandem/lock'), JSON.stringify(left).padEnd(1024));
        renameSync(`${side}-away`, side);
        edit(pair.master, { 'a/x': side });
        await agreed();
      }
      assert.equal([watcher.state, watcher.report.message], ['active', '']);
    }),
  ));

test('what a drive that comes back needs is done by the threads that wait: those begun each time leave memory behind', () =>
  withPair({ master: { 'a/x': '1', 'a/y': '2' } }, (pair) =>
    watched(pair, {}, async ({ watcher, agreed }) => {
      await agreed();
      let begun = 0;
      const count = (): void => {
        begun += 1;
      };
      try {
        for (const round of ['2', '3', '4']) {
          renameSync(pair.backup, `${pair.backup}-away`);
          await until(() => watcher.state === 'waiting for drive' || watcher.state);
          edit(pair.master, { 'a/x': round, 'a/new': round });
          await pause(500);
          renameSync(`${pair.backup}-away`, pair.backup);
          await agreed();
          // The first makes as many as may wait.
          if (round === '2') process.on('worker', count);
        }
      } finally {
        process.off('worker', count);
      }
      assert.is(begun, 0);
    }),
  ));

test('enable, list, pause, resume and disable, from another process', () =>
  withPair({ master: { 'a/x': '1' } }, async (pair) => {
    const [row] = await enableRealtimeSync('Archive', { debounce: 0.2 }, pair.ctx);
    const id = row?.watch_id ?? '';
    assert.ok(await isRealtimeSyncEnabled(id, pair.ctx));
    const child = spawn(process.execPath, [join(REPOSITORY, 'tui/tandem.mjs'), 'watch', 'run', 'Archive'], {
      env: { ...process.env, TANDEM_CONFIG: pair.box.config, TANDEM_DATA: pair.box.data },
      stdio: 'ignore',
    });
    const gone = new Promise((done) => child.on('exit', done));
    const state = async (): Promise<string> => (await listRealtimeWatchers(pair.ctx))[0]?.status ?? '';
    const reaches = (wanted: string): Promise<void> =>
      until(async () => ((await state()) === wanted ? true : await state()));
    try {
      await reaches('active');
      const twice = await pair.box.run(['watch', 'run', 'Archive']);
      assert.is(twice.code, 7, 'one process watches a target');
      assert.is((await pair.box.run(['watch', 'pause', 'Archive'])).code, 0);
      await reaches('paused');
      writeFileSync(join(pair.master, 'a/y'), '2');
      await pause(1500);
      assert.not.ok(existsSync(join(pair.backup, 'a/y')));
      await pair.box.run(['watch', 'resume', id.slice(0, 8)]);
      await until(() => existsSync(join(pair.backup, 'a/y')));
      const [listed] = (await pair.box.run(['watch', 'list', '--json'])).json() as Record<string, unknown>[];
      assert.equal(Object.keys(listed ?? {}).slice(0, 7), [
        'watch_id',
        'target',
        'watch_path',
        'status',
        'last_event',
        'last_sync',
        'queue_length',
      ]);
      assert.equal([listed?.['target'], listed?.['watch_path'], listed?.['enabled']], ['Archive', pair.master, true]);
      child.kill('SIGKILL');
      await gone;
      assert.is(await state(), 'stopped', 'a dead process shows as stopped');
    } finally {
      child.kill('SIGKILL');
      await gone;
    }
    writeFileSync(join(pair.master, 'a/z'), 'while nobody watched');
    await watched(pair, { watchId: id }, async ({ watcher, agreed }) => {
      await agreed();
      await disableRealtimeSync(id, pair.ctx);
      await watcher.ended();
    });
    assert.equal(await listRealtimeWatchers(pair.ctx), []);
    assert.is((await pair.box.run(['watch', 'disable', 'Archive'])).code, 2);
  }));

test('a watcher of a folder leaves the rest alone', () =>
  withPair({ master: { 'a/x': '1', 'b/y': '2' } }, async (pair) => {
    const { Watcher } = await import('../features/watch.ts');
    const watcher = new Watcher({ ...archive(pair.ctx), subpath: 'a' as never }, pair.ctx, { debounce: 0.2 });
    try {
      await watcher.start();
      writeFileSync(join(pair.master, 'a/new'), '1');
      writeFileSync(join(pair.master, 'b/new'), '1');
      await until(() => existsSync(join(pair.backup, 'a/new')));
      assert.not.ok(existsSync(join(pair.backup, 'b')));
    } finally {
      await watcher.close();
    }
    assert.is(watcher.state, 'stopped');
  }));

test('changes that the system dropped because too many came at once reach the Backup, and their folders are watched', () =>
  withPair({ master: { 'a/x': '1' } }, (pair) =>
    watched(pair, {}, async ({ agreed }) => {
      await agreed();
      overflow(join(pair.master, 'a'));
      mkdirSync(join(pair.master, 'a/dropped/deep'), { recursive: true });
      writeFileSync(join(pair.master, 'a/dropped/deep/x'), '1');
      await agreed();
      writeFileSync(join(pair.master, 'a/dropped/deep/y'), '1');
      await agreed();
    }),
  ));

test('past the limit of inotify it scans, and says so', () =>
  withFewWatches(20, () =>
    withPair({ master: Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`f${at}/x`, '1'])) }, (pair) =>
      watched(pair, { scanEvery: 1 }, async ({ watcher, agreed }) => {
        await agreed();
        assert.is(watcher.state, 'degraded: scanning every 1 s (inotify limit)');
        writeFileSync(join(pair.master, 'f39/new'), '2');
        await agreed();
        assert.is(watcher.state, 'degraded: scanning every 1 s (inotify limit)');
      }),
    ),
  ));

test.run();
