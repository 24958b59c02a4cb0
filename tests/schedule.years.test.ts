/** The scheduler over two simulated years, and with a thousand schedules. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listSchedules } from '../features/schedule.ts';
import { nextRuns } from '../shared/clock-times.ts';
import { cron, DAY, HOUR, MINUTE, onStage } from './helpers/stage.ts';

const test = suite('schedule.years');

test('the scheduler, two simulated years in five zones: every run takes place exactly once, whatever sleeps', () =>
  onStage(
    async ({ add, clock, settle, ctx, scheduler }) => {
      const zones = ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata', 'Pacific/Apia'];
      const [start, end] = [clock.now, clock.now + 2 * 365 * DAY];
      const seen = new Map<string, number>();
      for (const [index, zone] of zones.entries()) await add(`z${index}`, cron('30 2 * * *', zone));
      let random = 7;
      while (clock.now < end) {
        await settle();
        const all = await listSchedules(ctx);
        for (const { schedule_id, last_run } of all) {
          const key = `${schedule_id} ${last_run}`;
          if (last_run !== null && !seen.has(key)) seen.set(key, Date.parse(last_run));
        }
        random = (random * 1103515245 + 12345) % 2 ** 31;
        const next = Math.min(...all.map(({ next_run }) => Date.parse(next_run ?? '')));
        // Asleep for up to 5 hours now and then; the clock goes back by up to 50 minutes now and then.
        const late = random % 5 === 0 ? (random % 300) * MINUTE : 0;
        clock.now = Math.max(next, clock.now) + late;
        if (random % 7 === 0) {
          await settle();
          clock.now -= (random % 50) * MINUTE;
        }
      }
      for (const [index, zone] of zones.entries()) {
        const ran = [...seen].filter(([key]) => key.startsWith(`z${index} `)).map(([, time]) => time);
        const due = nextRuns(cron('30 2 * * *', zone), new Date(start), 740).map((time) => time.getTime());
        ran.sort((a, b) => a - b);
        assert.ok(ran.length >= 2 * 365 - 2, `${zone}: ${ran.length}`);
        for (const [at, time] of ran.entries()) {
          const expected = due[at] as number;
          assert.ok(time >= expected && time <= expected + 5.2 * HOUR, `${zone}: ${new Date(time).toISOString()}`);
        }
      }
      assert.equal(scheduler.running, []);
    },
    {},
    '2026-01-01T12:00:00Z',
  ));

test('a thousand schedules: all run once in their hour, and looking costs next to nothing', () =>
  onStage(async ({ ctx, clock, settle, runs, scheduler, add }) => {
    const db = await ctx.db();
    await add('m0', cron('0 * * * *'));
    await db.transaction(async () => {
      for (let one = 1; one < 1000; one += 1) await add(`m${one}`, cron(`${one % 60} * * * *`));
    });
    const before = performance.now();
    for (let look = 0; look < 20; look += 1) await scheduler.tick();
    const each = (performance.now() - before) / 20;
    assert.ok(each < 1500, `${each.toFixed(1)} ms a look`);
    clock.now += HOUR;
    await settle();
    assert.is(runs.length, 1000);
    assert.ok((await listSchedules(ctx)).every(({ last_status, due }) => last_status === 'completed' && due === null));
  }));

test.run();
