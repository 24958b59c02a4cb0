/** Schedules: the store, the scheduler under a clock of its own, and the real one on virtual drives. */
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { deleteGroup, setGroupOptions } from '../features/groups.ts';
import { listOperations } from '../features/history.ts';
import {
  addCronSchedule,
  addIntervalSchedule,
  addSchedule,
  listSchedules,
  pauseSchedule,
  removeSchedule,
  resumeSchedule,
  runScheduleNow,
  runScheduler,
} from '../features/schedule.ts';
import type { SyncResult } from '../features/sync.ts';
import { TandemError } from '../shared/errors.ts';
import { refusal, withPair } from './helpers/pair.ts';
import { cron, DAY, every, HOUR, MINUTE, onStage, RESULT } from './helpers/stage.ts';
import { treeOf } from './helpers/world.ts';

const test = suite('schedule');
test('what was missed is caught up once, or left out; what is a minute late is neither', () =>
  onStage(async ({ add, clock, settle, runs, one }) => {
    await add('caught', cron('0 * * * *'));
    await add('left', cron('0 * * * *'), { missed: 'skip' });
    clock.now += 5 * HOUR + 30 * MINUTE;
    await settle();
    assert.is(runs.length, 1);
    assert.is((await one('caught')).last_status, 'completed');
    assert.is((await one('left')).last_run, null);
    assert.is((await one('left')).next_run, '2026-06-10T18:00:00.000Z');
    clock.now = Date.parse('2026-06-10T18:00:40Z');
    await settle();
    assert.is(runs.length, 3, 'both, on time');
    clock.now += 10 * MINUTE;
    await settle();
    assert.is(runs.length, 3);
  }));

test('a run whose drive is away waits, says so once, survives a restart, and takes place once when the drive comes', () =>
  onStage(async ({ pair, add, clock, settle, runs, told, one, another }) => {
    await add('nightly', cron('0 * * * *'));
    renameSync(pair.backup, `${pair.backup}-away`);
    for (let hour = 0; hour < 4; hour += 1) {
      clock.now += HOUR;
      await settle();
    }
    assert.equal(runs, []);
    const waiting = await one('nightly');
    assert.is(waiting.waiting, "The Backup 'BACKUP' of 'Archive' is not connected.");
    assert.is(waiting.due, '2026-06-10T13:00:00.000Z');
    assert.equal(
      told.map(({ event }) => event),
      ['waiting'],
    );
    renameSync(`${pair.backup}-away`, pair.backup);
    const restarted = another();
    await restarted.tick();
    await restarted.idle();
    await restarted.tick();
    await restarted.idle();
    assert.is(runs.length, 1);
    const { waiting: after, due, last_status } = await one('nightly');
    assert.equal([after, due, last_status], [null, null, 'completed']);
    await restarted.close();
  }));

test('a drive that comes starts what waits for it at the next look', () =>
  onStage(async ({ pair, add, clock, settle, runs, scheduler }) => {
    await add('nightly', cron('0 * * * *'));
    renameSync(pair.master, `${pair.master}-away`);
    clock.now += HOUR;
    await settle();
    clock.now += 10_000;
    renameSync(`${pair.master}-away`, pair.master);
    await settle();
    assert.equal(runs, [], 'not looked at yet');
    scheduler.drivesChanged();
    await settle();
    assert.is(runs.length, 1);
  }));

test('on one drive one run at a time; the longest wait goes first; a failure is told and stops nobody', async () => {
  const order: string[] = [];
  let open = 0;
  let most = 0;
  await onStage(
    async ({ add, clock, scheduler, told, one, ctx }) => {
      await add('all-the-time', every(1));
      await add('b-fails', cron('0 * * * *'), { path: 'fails' });
      await add('c', cron('1 * * * *'), { path: 'c' });
      clock.now += HOUR + 2 * MINUTE;
      for (let look = 0; look < 30; look += 1) {
        await scheduler.tick();
        await scheduler.idle();
        clock.now += 1500;
      }
      assert.is(most, 1, 'runs at the same time');
      assert.ok(order.indexOf('c') >= 0 && order.indexOf('c') < 4, order.join(' '));
      assert.ok(order.filter((path) => path === '').length > 10, order.join(' '));
      const failed = await one('b-fails');
      assert.is(failed.last_status, 'failed');
      assert.is(failed.last_message, 'The disk is on fire. Call the fire brigade.');
      assert.equal(
        told.filter(({ event }) => event === 'failed').map(({ schedule_id }) => schedule_id),
        ['b-fails'],
      );
      assert.is((await listSchedules(ctx)).filter(({ due }) => due !== null).length <= 1, true);
    },
    {
      sync: async (_target, { path = '' }) => {
        order.push(path);
        open += 1;
        most = Math.max(most, open);
        await sleep(5);
        open -= 1;
        if (path === 'fails')
          throw new TandemError('failed', 'The disk is on fire.', { hint: 'Call the fire brigade.' });
        return RESULT;
      },
    },
  );
});

test('a run whose end could not be noted does not hold its schedule up for as long as the process lives', () =>
  onStage(async ({ add, clock, scheduler, settle, runs, one, ctx }) => {
    await add('hourly', cron('0 * * * *'));
    const db = await ctx.db();
    await db.run(`CREATE TRIGGER cut BEFORE UPDATE OF last_status ON schedules WHEN new.last_status = 'completed'
      BEGIN SELECT RAISE(ABORT, 'the disk is full'); END`);
    clock.now += HOUR;
    await scheduler.tick();
    await scheduler.idle();
    assert.equal([runs.length, (await one('hourly')).last_status], [1, 'running']);
    await db.run('DROP TRIGGER cut');
    clock.now += 2 * MINUTE;
    await settle();
    assert.equal([runs.length, (await one('hourly')).last_status], [2, 'completed'], 'it is owed again');
    clock.now += HOUR;
    await settle();
    assert.is(runs.length, 3);
  }));

test('two schedulers on one database run what is due once', () =>
  onStage(async ({ pair, add, clock, runs, another }) => {
    for (let one = 0; one < 5; one += 1) await add(`s${one}`, cron('0 * * * *'));
    const now = () => new Date(clock.now);
    const both = [another({}, pair.context({ now })), another({}, pair.context({ now }))];
    clock.now += HOUR;
    for (let look = 0; look < 10; look += 1) {
      await Promise.all(both.map((scheduler) => scheduler.tick()));
      await Promise.all(both.map((scheduler) => scheduler.idle()));
    }
    assert.is(runs.length, 5);
    for (const scheduler of both) await scheduler.close();
  }));

test('a run whose process is gone is owed again, and the schedule says why', () =>
  onStage(async ({ add, settle, runs, one, ctx, clock }) => {
    await add('nightly', cron('0 2 * * *'));
    const gone = { machine_id: 'this', boot_id: 'another', pid_namespace: '', pid: 1, start: '' };
    const { thisProcess } = await import('../shared/machine.ts');
    const runner = JSON.stringify({ ...thisProcess(), ...gone, machine_id: thisProcess().machine_id });
    const db = await ctx.db();
    await db.run("UPDATE schedules SET runner = ?, last_status = 'running', last_run = ?", [
      runner,
      '2026-06-10T02:00:00.000Z',
    ]);
    await settle();
    assert.is(runs.length, 1);
    assert.is((await one('nightly')).last_status, 'completed');
    const parent = JSON.stringify({ ...thisProcess(), pid: process.ppid, start: '' });
    await db.run("UPDATE schedules SET runner = ?, last_status = 'running'", [parent]);
    clock.now += 2 * MINUTE;
    await settle();
    assert.is(runs.length, 1, 'one that lives is left alone');
  }));

test('a drive that another process writes to is waited for', async () => {
  let locked = true;
  await onStage(
    async ({ add, clock, settle, one, told, scheduler }) => {
      await add('nightly', cron('0 * * * *'));
      clock.now += HOUR;
      await settle();
      const kept = await one('nightly');
      assert.match(kept.waiting ?? '', /is in use/);
      assert.is(kept.due, '2026-06-10T13:00:00.000Z');
      for (let minute = 0; minute < 3; minute += 1) {
        clock.now += MINUTE;
        await scheduler.tick();
        await scheduler.idle();
      }
      locked = false;
      clock.now += MINUTE;
      await scheduler.tick();
      await scheduler.idle();
      assert.is((await one('nightly')).last_status, 'completed');
      assert.equal(
        told.map(({ event }) => event),
        ['waiting', 'completed'],
        'told once, not every minute',
      );
    },
    {
      sync: () =>
        locked ? Promise.reject(new TandemError('locked', 'The drive is in use.')) : Promise.resolve(RESULT),
    },
  );
});

test('what a stop cuts short stays owed', () =>
  onStage(async ({ pair, add, clock, one, another }) => {
    await add('nightly', cron('0 * * * *'));
    clock.now += HOUR;
    const stop = new AbortController();
    const ctx = pair.context({ now: () => new Date(clock.now), signal: stop.signal });
    const scheduler = another(
      {
        sync: (_target, _flags, { signal }) =>
          new Promise((done) => signal.addEventListener('abort', () => done({ ...RESULT, status: 'cancelled' }))),
      },
      ctx,
    );
    await scheduler.tick();
    assert.equal(scheduler.running, ['nightly']);
    assert.is((await one('nightly')).last_status, 'running');
    const before = Date.now();
    stop.abort();
    await scheduler.close();
    assert.ok(Date.now() - before < 20_000);
    const { due, waiting } = await one('nightly');
    assert.ok(due !== null);
    assert.match(waiting ?? '', /was stopped/);
  }));

test('plugging in: both drives there for so long, then sync, verification and eject, once for each connection', async () => {
  const deeds: string[] = [];
  await onStage(
    async ({ pair, add, clock, scheduler, one }) => {
      await add('plugged', { kind: 'on-connect', settle: 10 }, { verify: true, sample: 5, eject: 'both' });
      const look = async (seconds: number): Promise<void> => {
        clock.now += seconds * 1000;
        await scheduler.tick();
        await scheduler.idle();
      };
      await look(0);
      await look(9);
      assert.equal(deeds, [], 'not settled yet');
      assert.is(scheduler.nextWake().getTime(), clock.now + 1000);
      await look(1);
      assert.equal(deeds.splice(0), ['sync checksum', 'verify 5', 'eject BACKUP', 'eject MASTER']);
      const message = (await one('plugged')).last_message ?? '';
      assert.match(message, /The Backup 'BACKUP' is safe to remove\. The Master 'MASTER' is safe to remove\.$/);
      for (let minute = 0; minute < 5; minute += 1) await look(60);
      assert.equal(deeds, [], 'not again while it stays');
      renameSync(pair.backup, `${pair.backup}-away`);
      scheduler.drivesChanged();
      await look(1);
      renameSync(`${pair.backup}-away`, pair.backup);
      scheduler.drivesChanged();
      await look(5);
      await look(5);
      assert.equal(deeds, [], 'the time counts anew');
      await look(5);
      assert.is(deeds.splice(0).length, 4);
    },
    {
      sync: (_target, { options }) => {
        deeds.push(`sync ${options?.verify_checksums}`);
        return Promise.resolve(RESULT);
      },
      verify: (_target, { sample }) => {
        deeds.push(`verify ${sample}`);
        return Promise.resolve({ ...RESULT, files_verified: 1, bytes_verified: 1 } as never);
      },
      eject: ({ label }) => {
        deeds.push(`eject ${label}`);
        return Promise.resolve();
      },
    },
  );
});

test('nothing is ejected after a run that failed, and a drive that stays mounted does not make it one', async () => {
  let status: SyncResult['status'] = 'failed';
  let ejected = 0;
  await onStage(async ({ ctx, add, one }) => {
    await add('plugged', { kind: 'on-connect', settle: 0 }, { eject: 'backup' });
    const deps = {
      sync: () => Promise.resolve({ ...RESULT, status }),
      eject: () => {
        ejected += 1;
        return Promise.reject(new TandemError('locked', 'A program uses it.', { hint: 'Close it.' }));
      },
    };
    await runScheduleNow('plugged', ctx, deps);
    assert.is(ejected, 0);
    status = 'completed';
    assert.is((await runScheduleNow('plugged', ctx, deps)).status, 'completed');
    assert.match((await one('plugged')).last_message ?? '', /was not ejected: A program uses it\. Close it\.$/);
  });
  assert.is(ejected, 1);
});

test('paused: no run, none missed; resumed: from then on; removed while it runs: it ends as it would', () =>
  onStage(async ({ add, clock, settle, runs, ctx, one }) => {
    await add('hourly', cron('0 * * * *'));
    await pauseSchedule('hourly', ctx);
    clock.now += 5 * HOUR;
    await settle();
    assert.is((await one('hourly')).next_run, null);
    await resumeSchedule('hourly', ctx);
    await settle();
    assert.equal(runs, []);
    assert.is((await one('hourly')).next_run, '2026-06-10T18:00:00.000Z');
    clock.now += HOUR;
    await settle();
    assert.is(runs.length, 1);
    await removeSchedule('hourly', ctx);
    clock.now += HOUR;
    await settle();
    assert.is(runs.length, 1);
    const missing = await refusal(pauseSchedule('hourli', ctx));
    assert.is(missing.code, 'not_found');
  }));

test('a schedule whose group was deleted says so and does not run; the others do', () =>
  onStage(async ({ pair, add, clock, settle, runs, told, ctx }) => {
    await add('orphan', cron('0 * * * *'));
    await deleteGroup('Archive', ctx);
    const [listed] = await listSchedules(ctx);
    assert.is(listed?.waiting, "The group 'Archive' is not known any more.");
    for (let hour = 0; hour < 3; hour += 1) {
      clock.now += HOUR;
      await settle();
    }
    assert.equal(runs, []);
    assert.equal(
      told.map(({ event, message }) => `${event}: ${message}`),
      ["failed: The group 'Archive' is not known any more."],
    );
    assert.is((await refusal(runScheduleNow('orphan', ctx))).code, 'not_found');
    assert.ok(existsSync(join(pair.master, 'a.txt')));
  }));

test('a clock set far back, and one that had been wrong by years, leave the rhythm', () =>
  onStage(async ({ add, clock, settle, runs, one }) => {
    await add('half', every(1800));
    await add('daily', cron('0 2 * * *'));
    clock.now += 3 * 365 * DAY;
    await settle();
    assert.is(runs.length, 2);
    clock.now -= 3 * 365 * DAY;
    await settle();
    assert.is((await one('half')).next_run, '2026-06-10T12:30:00.000Z');
    assert.is((await one('daily')).next_run, '2026-06-11T02:00:00.000Z');
    clock.now += 31 * MINUTE;
    await settle();
    assert.is(runs.length, 3);
  }));

test('a Backup that is too old is told once a day, by whichever process is there', () =>
  onStage(async ({ clock, scheduler, told, another }) => {
    clock.now = Date.now() + 9 * DAY + HOUR;
    for (let hour = 0; hour < 26; hour += 1) {
      await scheduler.tick();
      clock.now += HOUR;
    }
    const overdue = (): string[] => told.filter(({ event }) => event === 'overdue').map(({ message }) => message);
    assert.equal(overdue(), ['Archive was never synced as a whole.', 'Archive was never synced as a whole.']);
    const restarted = another();
    try {
      await restarted.tick();
      assert.is(overdue().length, 2, 'the process before it has told that today');
      clock.now += DAY;
      await Promise.all([restarted.tick(), scheduler.tick()]);
      assert.is(overdue().length, 3);
      clock.now -= 5 * DAY;
      await restarted.tick();
      assert.is(overdue().length, 3, 'not old enough by the clock that was set back');
      clock.now += DAY;
      await restarted.tick();
      assert.is(overdue().length, 4, 'a clock that was ahead does not silence it');
    } finally {
      await restarted.close();
    }
  }));

test('a sealed group without a key file fails with the sentence of the key, and never asks', () =>
  withPair({ master: { 'a.txt': 'a' } }, async ({ ctx, box }) => {
    const made = await box.run(['encrypt', 'init', 'Archive'], { env: { TANDEM_PASSWORD: 'practice' } });
    assert.is(made.code, 0, made.stderr);
    await setGroupOptions('Archive', ['enable_encryption=true'], undefined, ctx);
    await addCronSchedule('nightly', 'Archive', undefined, '0 2 * * *', ctx);
    const refused = await refusal(runScheduleNow('nightly', ctx));
    const [schedule] = await listSchedules(ctx);
    assert.is(schedule?.last_status, 'failed');
    assert.ok(schedule?.last_message?.startsWith(refused.message), schedule?.last_message ?? '');
    assert.is(refused.exitCode, 8, refused.message);
  }));

test('in the foreground, on real clock and virtual drives: every second, a drive that comes, an end that takes its time', () =>
  withPair({ master: { 'a.txt': 'a' } }, async (pair) => {
    await addSchedule({ schedule_id: 'second', target: 'Archive', when: cron('* * * * * *') }, pair.ctx);
    const stop = new AbortController();
    const lines: string[] = [];
    const running = runScheduler(pair.context({ signal: stop.signal }), {
      notify: () => {},
      report: ({ event }) => lines.push(event),
    });
    const until = async (done: () => boolean): Promise<void> => {
      for (const deadline = Date.now() + 15_000; !done() && Date.now() < deadline; ) await sleep(50);
      assert.ok(done(), lines.join(' '));
    };
    await until(() => lines.filter((event) => event === 'completed').length >= 2);
    writeFileSync(join(pair.master, 'later.txt'), 'later');
    await until(() => existsSync(join(pair.backup, 'later.txt')));
    renameSync(pair.backup, `${pair.backup}-away`);
    await until(() => lines.includes('waiting'));
    assert.not.ok(existsSync(pair.backup), 'nothing is made in its place');
    lines.length = 0;
    renameSync(`${pair.backup}-away`, pair.backup);
    await until(() => lines.includes('completed'));
    const before = Date.now();
    stop.abort();
    await running;
    assert.ok(Date.now() - before < 10_000);
    assert.equal(Object.keys(treeOf(pair.backup)), ['a.txt', 'later.txt']);
    const operations = await listOperations({ type: 'sync', limit: 'all' }, pair.ctx);
    assert.ok(operations.every(({ status }) => status !== 'running'));
  }));

test('the names of the reference', () =>
  withPair({}, async ({ ctx }) => {
    const interval = await addIntervalSchedule('project-auto-sync', 'Archive', 'Projects/Mine', 30, ctx);
    assert.equal([interval.trigger, interval.expression, interval.path], ['interval', '30m', 'Projects/Mine']);
    const nightly = await addCronSchedule('nightly-backup', 'Archive', undefined, '0 2 * * *', ctx);
    assert.equal([nightly.trigger, nightly.expression, nightly.zone], ['cron', '0 2 * * *', '']);
    assert.is((await listSchedules(ctx))[0]?.schedule_id, 'project-auto-sync', 'the next one first');
  }));

test.run();
