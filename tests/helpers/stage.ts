/** A scheduler on a clock that stands until a test moves it, with syncs that only say that they were. */
import type { NoticeInput } from '../../features/notify.ts';
import {
  addSchedule,
  listSchedules,
  type NewSchedule,
  type Schedule,
  Scheduler,
  type SchedulerDeps,
} from '../../features/schedule.ts';
import type { SyncResult } from '../../features/sync.ts';
import type { Trigger } from '../../shared/clock-times.ts';
import type { Context } from '../../shared/context.ts';
import { type TestPair, withPair } from './pair.ts';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export const cron = (expression: string, zone = 'UTC'): Trigger => ({ kind: 'cron', expression, zone });
export const every = (seconds: number): Trigger => ({ kind: 'interval', seconds });

export const RESULT: SyncResult = {
  operation_id: 'op',
  target: 'Archive',
  status: 'completed',
  files_copied: 1,
  files_skipped: 0,
  files_failed: 0,
  files_moved: 0,
  files_deleted: 0,
  bytes_copied: 1,
  conflicts_detected: 0,
  verified: 'none',
  problems: [],
  start_time: '',
  end_time: '',
};

interface Stage {
  pair: TestPair;
  ctx: Context;
  clock: { now: number };
  scheduler: Scheduler;
  /** When each sync began. */
  runs: number[];
  told: NoticeInput[];
  add(id: string, when: Trigger, more?: Partial<NewSchedule>): Promise<Schedule>;
  one(id: string): Promise<Schedule>;
  /** Looks until nothing more is started. */
  settle(): Promise<void>;
  another(deps?: Partial<SchedulerDeps>, ctx?: Context): Scheduler;
}

export async function onStage(
  work: (stage: Stage) => Promise<void>,
  deps: Partial<SchedulerDeps> = {},
  start = '2026-06-10T12:00:00Z',
): Promise<void> {
  await withPair({ master: { 'a.txt': 'a' } }, async (pair) => {
    const clock = { now: Date.parse(start) };
    const ctx = pair.context({ now: () => new Date(clock.now) });
    const runs: number[] = [];
    const told: NoticeInput[] = [];
    const another = (other: Partial<SchedulerDeps> = {}, on = ctx): Scheduler =>
      new Scheduler(on, {
        sync: () => {
          runs.push(clock.now);
          return Promise.resolve(RESULT);
        },
        notify: (notice) => told.push(notice),
        ...deps,
        ...other,
      });
    const scheduler = another();
    const stage: Stage = {
      pair,
      ctx,
      clock,
      scheduler,
      runs,
      told,
      add: (id, when, more = {}) => addSchedule({ schedule_id: id, target: 'Archive', when, ...more }, ctx),
      one: async (id) => (await listSchedules(ctx)).find(({ schedule_id }) => schedule_id === id) as Schedule,
      settle: async () => {
        for (let before = -1; runs.length !== before; ) {
          before = runs.length;
          await scheduler.tick();
          await scheduler.idle();
        }
      },
      another,
    };
    try {
      await work(stage);
    } finally {
      await scheduler.close();
    }
  });
}
