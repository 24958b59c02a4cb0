/** Questions of the screen of schedules and watchers. */
import { existsSync } from 'node:fs';
import { type DaemonStatus, daemonStatus } from '../../features/daemon.ts';
import { listSchedules, type Schedule, type Upcoming, upcomingRuns } from '../../features/schedule.ts';
import { serviceFor } from '../../features/unit.ts';
import { listRealtimeWatchers, type WatchRow } from '../../features/watch.ts';
import { checkTrigger, nextRuns, PRESET_TRIGGERS, type Trigger } from '../../shared/clock-times.ts';
import { messageOf, TandemError } from '../../shared/errors.ts';
import { parseDuration } from '../../shared/format.ts';
import { listGroups } from '../../shared/groups-file.ts';
import { readProjects } from '../../shared/projects-file.ts';
import type { Read } from '../reads.ts';

export interface Plans {
  schedules: Schedule[];
  watchers: WatchRow[];
  daemon: DaemonStatus;
  /** Of the next seven days. */
  coming: Upcoming[];
  /** Whether the system starts the daemon at each login. */
  installed: boolean;
  /** Names of groups and projects that can be a target. */
  targets: string[];
}

export interface Preview {
  /** ISO 8601, UTC. */
  times: string[];
  /** Why there are none, one sentence; null: nothing is wrong. */
  error: string | null;
}

const DAYS = 7;
const COUNT = 5;

export const scheduleReads = {
  schedules: {
    busy: 1000,
    idle: 5000,
    read: async (_args, { ctx }) => ({
      schedules: await listSchedules(ctx),
      watchers: await listRealtimeWatchers(ctx),
      daemon: await daemonStatus(ctx),
      coming: await upcomingRuns(DAYS, ctx),
      installed: existsSync(serviceFor([], ctx).path),
      targets: [...listGroups(ctx), ...readProjects(ctx).projects].map(({ name }) => name),
    }),
  } satisfies Read<Plans>,
  /** `every`, `cron` or `preset`; its text; a zone → the next runs. */
  preview: {
    busy: Number.POSITIVE_INFINITY,
    idle: Number.POSITIVE_INFINITY,
    read: ([way = '', text = '', zone = ''], { ctx }) => Promise.resolve(preview(way, text, zone, ctx.now())),
  } satisfies Read<Preview>,
};

// --- internal ---

function preview(way: string, text: string, zone: string, now: Date): Preview {
  try {
    const when = triggerFor(way, text, zone);
    checkTrigger(when, now);
    return { times: nextRuns(when, now, COUNT).map((time) => time.toISOString()), error: null };
  } catch (error) {
    return { times: [], error: messageOf(error) };
  }
}

function triggerFor(way: string, text: string, zone: string): Trigger {
  if (way === 'cron') return { kind: 'cron', expression: text, zone };
  const preset = way === 'preset' ? PRESET_TRIGGERS[text] : undefined;
  if (preset) return preset.kind === 'cron' ? { ...preset, zone } : preset;
  const seconds = parseDuration(text);
  if (seconds !== undefined) return { kind: 'interval', seconds };
  throw new TandemError('usage', `'${text}' is no time: 30m, 4h and 1d are.`);
}
