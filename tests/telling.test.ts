/** Who is told of syncs by hand and of watchers: what nobody saw, and only what is new. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { drainNotices } from '../features/notify.ts';
import { syncToBackup } from '../features/sync.ts';
import { toldSync, WatchTeller } from '../features/telling.ts';
import { refusingPrompts } from '../shared/context.ts';
import { writeConflicts } from '../shared/inbox.ts';
import { withHook } from './helpers/hook.ts';
import { archive, edit, refusal, withPair } from './helpers/pair.ts';
import { RESULT } from './helpers/stage.ts';

const test = suite('telling');

const ALL = ['started', 'completed', 'failed', 'conflict', 'waiting', 'overdue'];

test('a sync by hand, without a terminal: started, completed, conflict, failed', () =>
  withPair({ master: { 'a.txt': 'a' } }, (pair) =>
    withHook(pair.box, ALL, async (told) => {
      assert.is((await pair.box.run(['sync', 'run', 'Archive'])).code, 0);
      assert.equal(
        told.map(({ event }) => event),
        ['started', 'completed'],
      );
      assert.match(told[1]?.message ?? '', /^Sync of Archive completed: 1 file copied/);
      assert.ok(told[0]?.operation_id !== null && told[0]?.operation_id === told[1]?.operation_id);
      told.length = 0;
      edit(pair.backup, { 'a.txt': 'changed here' });
      assert.is((await pair.box.run(['sync', 'run', 'Archive', '--quiet'])).code, 3);
      assert.equal(
        told.map(({ event }) => event),
        ['started', 'completed', 'conflict'],
      );
      told.length = 0;
      renameSync(pair.backup, `${pair.backup}-away`);
      assert.is((await pair.box.run(['sync', 'run', 'Archive'])).code, 5);
      assert.equal(
        told.map(({ event, operation_id }) => [event, operation_id]),
        [['failed', null]],
      );
      assert.match(told[0]?.message ?? '', /BACKUP.*not connected.*Plug it in/);
    }),
  ));

test('what a user sees at a terminal is told only to channels that name the event', () =>
  withPair({ master: { 'a.txt': 'a' } }, async (pair) => {
    const seen = async (events: readonly string[] | undefined): Promise<string[]> => {
      const heard: string[] = [];
      await withHook(pair.box, events, async (told) => {
        const ctx = pair.context({ prompts: { ...refusingPrompts, interactive: true } });
        renameSync(pair.backup, `${pair.backup}-away`);
        await refusal(toldSync([archive(ctx)], (other) => syncToBackup('Archive', {}, other), ctx));
        renameSync(`${pair.backup}-away`, pair.backup);
        await drainNotices(5000);
        heard.push(...told.map(({ event }) => event));
      });
      return heard;
    };
    assert.equal(await seen(['failed']), ['failed']);
    const file = join(pair.box.config, 'app.yaml');
    writeFileSync(
      file,
      'version: 1\ndrives:\n  virtual:\n' +
        ['master', 'backup']
          .map((side) => `    - { path: ${JSON.stringify(join(pair.box.root, side))}, label: ${side.toUpperCase()} }\n`)
          .join(''),
    );
    assert.equal(await seen(undefined), []);
  }));

test('a watcher tells of a trouble once, of each absence once, and of conflicts that are new', () =>
  withPair({ master: { 'a.txt': 'a' } }, (pair) =>
    withHook(pair.box, ALL, async (told) => {
      await pair.sync();
      const pairId = (await (await pair.ctx.db()).get<{ id: number }>('SELECT id FROM pairs'))?.id ?? 0;
      const teller = new WatchTeller(archive(pair.ctx), pair.ctx, 'The Backup is away.');
      const waits = (why: string): void => teller.state('waiting for drive', why);
      waits('The Backup is away.');
      teller.state('active', '');
      waits('The Backup is away.');
      waits('The Master is away as well.');
      waits('The Backup is away.');
      teller.state('active', '');
      teller.failed('It cannot be read.');
      teller.state('active', 'It cannot be read.');
      teller.failed('It cannot be read.');
      teller.failed('It is full.');
      teller.state('degraded: scanning every 60 s (inotify limit)', '');
      teller.failed('It is full.');
      const run = { ...RESULT, start_time: pair.ctx.now().toISOString() };
      const conflict = {
        path: 'a.txt',
        conflict_type: 'modified_both',
        reason: '',
        entry: 'f' as const,
        master_facts: null,
        backup_facts: null,
      };
      await teller.synced({ ...run, conflicts_detected: 1 });
      await writeConflicts(pairId, archive(pair.ctx).group.id, null, [conflict], pair.ctx);
      await teller.synced({ ...run, conflicts_detected: 1 });
      const later = new Date(Date.now() + 1000).toISOString();
      await teller.synced({ ...run, start_time: later, conflicts_detected: 1 });
      for (const bytes_copied of [1, 2]) {
        const problems = [{ path: 'b.txt', message: 'permission denied' }];
        await teller.synced({ ...run, status: 'failed', files_failed: 1, bytes_copied, problems });
      }
      await drainNotices(5000);
      assert.equal(
        told.map(({ event, message }) => `${event} ${message}`),
        [
          'waiting Archive: The Backup is away.',
          'failed Archive: It cannot be read.',
          'failed Archive: It is full.',
          'failed Archive: It is full.',
          'conflict Archive: 1 conflict waits in Archive, untouched on both drives: tandem conflicts list Archive',
          'failed Archive: b.txt: permission denied',
        ],
      );
    }),
  ));

test.run();
