/**
 * Syncs and verifications by the clock, or when both drives of a pair are plugged in. A schedule is a row in the database;
 * `schedule run` (or the daemon) carries schedules out. This file is the face of that: the typed API under the names of
 * the reference, the commands, the dashboard's panel. When something is due lies in shared/clock-times.ts, what is kept in
 * timetable.ts, the running in scheduler.ts, one run in job.ts.
 */
import { checkTrigger, dueSince, GRACE, nextRuns, PRESET_TRIGGERS, type Trigger } from '../shared/clock-times.ts';
import type { Context } from '../shared/context.ts';
import { EXIT, type ExitCode, TandemError } from '../shared/errors.ts';
import {
  type Column,
  defineCommand,
  definePanel,
  type Output,
  type Paint,
  renderTable,
  runIfMain,
  type Values,
} from '../shared/feature.ts';
import { formatTime, parseDuration } from '../shared/format.ts';
import { keepMemoryTogether } from '../shared/memory.ts';
import { displayPath } from '../shared/paths.ts';
import { choiceOf, measured, targetOptions, wholeNumber } from '../shared/run-options.ts';
import type { JobResult } from './job.ts';
import { type JobEvent, runScheduleNow, runScheduler } from './scheduler.ts';
import {
  addSchedule,
  getSchedule,
  listSchedules,
  type NewSchedule,
  pauseSchedule,
  readEntries,
  removeSchedule,
  resumeSchedule,
  type Schedule,
} from './timetable.ts';

export { type JobEvent, keepTime, runScheduleNow, runScheduler, Scheduler, type SchedulerDeps } from './scheduler.ts';
export {
  addSchedule,
  listSchedules,
  type NewSchedule,
  pauseSchedule,
  removeSchedule,
  resumeSchedule,
  type Schedule,
} from './timetable.ts';

/** @param path only this folder of it; undefined: all of it. */
export function addIntervalSchedule(
  scheduleId: string,
  target: string,
  path: string | undefined,
  intervalMinutes: number,
  ctx: Context,
): Promise<Schedule> {
  return addSchedule(
    { schedule_id: scheduleId, target, path, when: { kind: 'interval', seconds: intervalMinutes * 60 } },
    ctx,
  );
}

/** In the time of this computer. @param path only this folder of it; undefined: all of it. */
export function addCronSchedule(
  scheduleId: string,
  target: string,
  path: string | undefined,
  cronExpression: string,
  ctx: Context,
): Promise<Schedule> {
  const when: Trigger = { kind: 'cron', expression: cronExpression, zone: '' };
  return addSchedule({ schedule_id: scheduleId, target, path, when }, ctx);
}

/** The next times of a schedule, a missed one left out; none for one that plugging in starts. */
export async function nextTimes(id: string, count: number, ctx: Context): Promise<Date[]> {
  await getSchedule(id, ctx);
  const entry = (await readEntries(ctx)).find(({ schedule_id }) => schedule_id === id);
  if (!entry) return [];
  return nextRuns(entry.when, dueSince(entry.when, entry.covered, ctx.now()).covered, count);
}

/** A run to come. */
export interface Upcoming {
  schedule_id: string;
  target: string;
  /** ISO 8601, UTC. */
  at: string;
  /** More than four a day are to come, and only the first is listed. */
  often: boolean;
}

/** The runs of the next days of all schedules that are on, in their order; those that plugging in starts are not known. */
export async function upcomingRuns(days: number, ctx: Context): Promise<Upcoming[]> {
  const end = ctx.now().getTime() + days * 86_400_000;
  const runs = (await readEntries(ctx)).flatMap(({ when, covered, enabled, schedule_id, target }): Upcoming[] => {
    if (!enabled) return [];
    const most = days * 4 + 1;
    const times = nextRuns(when, dueSince(when, covered, ctx.now()).covered, most).filter((at) => at.getTime() <= end);
    const often = times.length === most;
    return times.slice(0, often ? 1 : most).map((at) => ({ schedule_id, target, at: at.toISOString(), often }));
  });
  return runs.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
}

// --- internal ---

function exitCodeOf({ status, conflicts }: JobResult): ExitCode {
  if (status === 'cancelled') return EXIT.cancelled;
  if (status === 'failed') return EXIT.partial;
  return conflicts > 0 ? EXIT.conflicts : EXIT.done;
}

const STYLE = { completed: 'good', failed: 'bad', cancelled: 'warn', running: 'plain' } as const;
const EVENT_STYLE = {
  started: 'plain',
  completed: 'good',
  failed: 'bad',
  conflict: 'warn',
  waiting: 'warn',
  overdue: 'warn',
} as const;

const timeText = (time: string | null): string => (time === null ? '—' : formatTime(new Date(time)));

function targetText({ target, role, path }: Schedule): string {
  const named = role === '' ? target : `${target} (${role})`;
  return displayPath(path === '' ? named : `${named}, ${path}`);
}

function whenText({ trigger, expression, zone }: Schedule): string {
  const text = { interval: `every ${expression}`, cron: expression, 'on-connect': `on connect, after ${expression}` };
  return displayPath(zone === '' ? text[trigger] : `${text[trigger]} (${zone})`);
}

function jobText({ job, sample, verify, eject }: Schedule): string {
  const share = sample === null ? '' : ` ${sample} %`;
  const parts = [job === 'verify' ? `verify${share}` : verify ? `sync, verify${share}` : 'sync'];
  if (eject !== '') parts.push(eject === 'both' ? 'eject both' : 'eject');
  return parts.join(', ');
}

function stateOf({ enabled, due, waiting, next_run, last_status, trigger }: Schedule): string {
  if (last_status === 'running') return 'running';
  if (!enabled) return 'paused';
  if (waiting !== null) return `waiting: ${displayPath(waiting)}`;
  if (due !== null) return 'due';
  return next_run === null && trigger === 'on-connect' ? 'when plugged in' : timeText(next_run);
}

const columns: readonly Column<Schedule>[] = [
  { title: 'ID', value: ({ schedule_id }) => displayPath(schedule_id) },
  { title: 'TARGET', value: targetText },
  { title: 'WHEN', value: whenText },
  { title: 'JOB', value: jobText },
  { title: 'LAST', value: ({ last_run }) => timeText(last_run) },
  {
    title: 'RESULT',
    value: ({ last_status }) => last_status ?? '—',
    style: ({ last_status }) => (last_status === null ? 'dim' : STYLE[last_status]),
  },
  {
    title: 'NEXT',
    value: stateOf,
    style: ({ enabled, waiting }) => (!enabled ? 'dim' : waiting === null ? 'plain' : 'warn'),
  },
];

const EMPTY = 'No schedule yet: tandem schedule add nightly GROUP --preset daily';

/** `now`: what is long past was not run, so nobody carries schedules out. */
function listText(schedules: readonly Schedule[], now: Date, paint: Paint): string {
  if (schedules.length === 0) return EMPTY;
  const late = (time: string | null): boolean => time !== null && Date.parse(time) < now.getTime() - 2 * GRACE * 1000;
  const idle = schedules.some(({ enabled, next_run }) => enabled && late(next_run));
  const hint = idle ? `\n${paint('warn', 'Nothing carries them out at this moment: start `tandem daemon run`.')}` : '';
  return renderTable(schedules, columns, paint) + hint;
}

function oneText(schedule: Schedule, paint: Paint): string {
  const { schedule_id, waiting, missed } = schedule;
  const lines = [
    `${paint('bold', displayPath(schedule_id))}  ${targetText(schedule)}`,
    `  ${jobText(schedule)}, ${whenText(schedule)}; missed runs: ${missed === 'run' ? 'one is caught up' : 'left out'}`,
    `  next: ${stateOf(schedule)}`,
  ];
  return (waiting === null ? lines : [...lines, `  ${paint('warn', displayPath(waiting))}`]).join('\n');
}

// --- command ---

function duration(text: string, flag: string, example: string): number {
  return measured(text, flag, parseDuration, example);
}

function presetOf(name: string): Trigger {
  return PRESET_TRIGGERS[name] as Trigger;
}

/** The one way that the flags name. */
function triggerOf(values: Values): Trigger {
  const zone = (values['zone'] as string | undefined) ?? '';
  const settle = values['settle'] as number | undefined;
  const ways: [string, Trigger | undefined][] = [
    ['--every', values['every'] === undefined ? undefined : { kind: 'interval', seconds: values['every'] }],
    ['--cron', values['cron'] === undefined ? undefined : { kind: 'cron', expression: values['cron'], zone }],
    ['--preset', values['preset'] === undefined ? undefined : presetOf(values['preset'])],
    ['--on-connect', values['onConnect'] ? { kind: 'on-connect', settle: settle ?? DEFAULT_SETTLE } : undefined],
  ];
  const [given, ...others] = ways.filter(([, trigger]) => trigger !== undefined);
  const when = given?.[1];
  if (!given || !when || others.length > 0) {
    const flags = [given, ...others].flatMap((way) => (way ? [way[0]] : []));
    const said = flags.length === 0 ? 'It is not said when to run.' : `${flags.join(' and ')} are given together.`;
    throw new TandemError('usage', said, { hint: 'Give one of --every, --cron, --preset and --on-connect.' });
  }
  if (settle !== undefined && when.kind !== 'on-connect')
    throw new TandemError('usage', '--settle belongs to --on-connect.', { hint: 'Leave it out.' });
  if (zone !== '' && when.kind !== 'cron')
    throw new TandemError('usage', '--zone belongs to times of the day.', {
      hint: 'Give it with --cron, or with the presets 4h, daily, weekly and monthly.',
    });
  return when.kind === 'cron' ? { ...when, zone } : when;
}

const DEFAULT_SETTLE = 10;

function newSchedule(args: Values, options: Values): NewSchedule {
  const eject = options['eject'] as string | true | undefined;
  return {
    schedule_id: args['id'] as string,
    target: args['target'] as string,
    ...choiceOf(options),
    when: triggerOf(options),
    job: options['job'] as NewSchedule['job'],
    sample: options['sample'] as number | undefined,
    verify: options['verify'] === true,
    eject: eject === undefined ? '' : eject === true ? 'backup' : (eject as 'backup' | 'both'),
    missed: options['missed'] as NewSchedule['missed'],
    paused: options['paused'] === true,
  };
}

const ID = { name: 'id', description: 'its name, as in `schedule list`' } as const;
const ZONE = {
  flags: '--zone <zone>',
  description: 'of --cron and of presets, e.g. Europe/Berlin; else that of the computer',
};

function oneOutput(schedule: Schedule): Output {
  return { json: schedule, text: (paint) => oneText(schedule, paint) };
}

function eventLine(event: JobEvent, at: Date, paint: Paint): string {
  const name = event.schedule_id ?? event.target;
  return `${formatTime(at)}  ${displayPath(name)}  ${paint(EVENT_STYLE[event.event], event.event)}  ${displayPath(event.message)}`;
}

const plain: Paint = (_style, text) => text;

export const command = defineCommand({
  name: 'schedule',
  summary: 'Syncs and verifications by the clock, or when drives are plugged in',
  verbs: {
    add: {
      summary: 'make a schedule for a group or project',
      examples: [
        'tandem schedule add nightly Archive --preset daily',
        'tandem schedule add work Archive --every 30m --path Projects/Wedding',
        'tandem schedule add monday Archive --cron "0 9 * * MON" --zone Europe/Berlin',
        'tandem schedule add plugged Archive --on-connect --settle 10s --verify --eject',
        'tandem schedule add scrub Archive --preset weekly --job verify --sample 10',
        'tandem schedule add nightly Archive --cron "30 3 * * *" --replace',
      ],
      args: [
        { name: 'id', description: 'how the schedule is called from now on' },
        { name: 'target', description: 'group or project, by name or id', complete: 'target' },
      ],
      options: [
        {
          flags: '--every <time>',
          description: 'again and again after so long: 30m, 4h, 1d',
          parse: (text) => duration(text, '--every', '30m'),
        },
        { flags: '--cron <expression>', description: 'minute hour day month weekday, if wanted seconds before them' },
        { flags: '--preset <name>', description: 'a usual time', choices: Object.keys(PRESET_TRIGGERS) },
        { flags: '--on-connect', description: 'as soon as both drives are plugged in' },
        ZONE,
        {
          flags: '--settle <time>',
          description: 'both drives have to be there for so long (default 10s)',
          parse: (text) => duration(text, '--settle', '10s'),
        },
        { flags: '--job <job>', description: 'what to do (default sync)', choices: ['sync', 'verify'] },
        {
          flags: '--sample <percent>',
          description: 'of a verification: only this share, what was read longest ago',
          parse: (text) => Number(text.replace(/%$/, '')),
        },
        {
          flags: '--verify',
          description: 'after a sync, read back what it copied; with --sample that share of all files too',
        },
        {
          flags: '--eject [which]',
          description: 'unmount the Backup, or both drives, after a run that went well (backup, both)',
          choices: ['backup', 'both'],
        },
        {
          flags: '--missed <policy>',
          description: 'after sleep or downtime: run once what was missed, or skip it (default run)',
          choices: ['run', 'skip'],
        },
        { flags: '--paused', description: 'off until it is resumed' },
        { flags: '--replace', description: 'in the place of the schedule of this id, which has to be there' },
        ...targetOptions,
      ],
      run: async ({ args, options }, ctx) =>
        oneOutput(await addSchedule(newSchedule(args, options), ctx, options['replace'] === true)),
    },
    list: {
      summary: 'all schedules, their next and last runs',
      examples: ['tandem schedule list', 'tandem schedule list --json'],
      run: async (_input, ctx): Promise<Output> => {
        const schedules = await listSchedules(ctx);
        return { json: schedules, text: (paint) => listText(schedules, ctx.now(), paint) };
      },
    },
    pause: {
      summary: 'start no run of it until it is resumed',
      examples: ['tandem schedule pause nightly'],
      args: [ID],
      run: async ({ args }, ctx) => oneOutput(await pauseSchedule(args['id'] as string, ctx)),
    },
    resume: {
      summary: 'go on from now; what a pause left out is not missed',
      examples: ['tandem schedule resume nightly'],
      args: [ID],
      run: async ({ args }, ctx) => oneOutput(await resumeSchedule(args['id'] as string, ctx)),
    },
    remove: {
      summary: 'forget a schedule; its runs stay in the history',
      examples: ['tandem schedule remove nightly'],
      args: [ID],
      run: async ({ args }, ctx): Promise<Output> => {
        const schedule = await removeSchedule(args['id'] as string, ctx);
        return { json: schedule, text: () => `Removed the schedule '${displayPath(schedule.schedule_id)}'.` };
      },
    },
    now: {
      summary: 'carry one out at once; its next time stays as it is',
      examples: ['tandem schedule now nightly'],
      args: [ID],
      run: async ({ args }, ctx): Promise<Output> => {
        const done = await runScheduleNow(args['id'] as string, ctx);
        const { status, message, operation, conflicts, result } = done;
        return {
          json: {
            schedule_id: args['id'],
            status,
            message,
            operation_id: operation,
            conflicts_detected: conflicts,
            result,
          },
          text: (paint) => paint(STYLE[status], message),
          exitCode: exitCodeOf(done),
        };
      },
    },
    next: {
      summary: 'the next times of a schedule, or of a cron expression',
      examples: [
        'tandem schedule next nightly -n 5',
        'tandem schedule next --cron "0 9 * * MON#1" --zone America/New_York',
      ],
      args: [{ ...ID, optional: true }],
      options: [
        { flags: '--cron <expression>', description: 'instead of a schedule' },
        ZONE,
        {
          flags: '-n, --count <n>',
          description: 'how many (default 5)',
          parse: (text) => wholeNumber(text, '--count', 1, 1000),
        },
      ],
      run: async ({ args, options }, ctx): Promise<Output> => {
        const times = await timesOf(args['id'] as string | undefined, options, ctx);
        const zone = options['zone'] as string | undefined;
        return {
          json: times.map((time) => time.toISOString()),
          text: () => times.map((time) => timeIn(time, zone)).join('\n') || 'No time is set: plugging in starts it.',
        };
      },
    },
    run: {
      summary: 'carry schedules out until Ctrl-C: the scheduler in the foreground',
      examples: ['tandem schedule run', 'tandem schedule run --json | jq .message'],
      run: async ({ options }, ctx, write) => {
        keepMemoryTogether();
        await runScheduler(ctx, {
          report: (event) => {
            const at = ctx.now();
            write(options['json'] ? JSON.stringify({ at: at.toISOString(), ...event }) : eventLine(event, at, plain));
          },
        });
        return undefined;
      },
    },
  },
});

async function timesOf(id: string | undefined, options: Values, ctx: Context): Promise<Date[]> {
  const expression = options['cron'] as string | undefined;
  const count = (options['count'] as number | undefined) ?? 5;
  if ((id === undefined) === (expression === undefined))
    throw new TandemError('usage', 'One schedule, or one expression, has to be given.', {
      hint: 'tandem schedule next ID, or tandem schedule next --cron "0 2 * * *".',
    });
  if (expression === undefined) return nextTimes(id ?? '', count, ctx);
  const when: Trigger = { kind: 'cron', expression, zone: (options['zone'] as string | undefined) ?? '' };
  checkTrigger(when, ctx.now());
  return nextRuns(when, ctx.now(), count);
}

/** Local time, and that of a zone beside it where one was given. */
function timeIn(time: Date, zone: string | undefined): string {
  if (zone === undefined) return formatTime(time);
  const there = time.toLocaleString('sv-SE', { timeZone: zone });
  return `${formatTime(time)}  (${there} in ${displayPath(zone)})`;
}

export const panel = definePanel<Schedule>({
  title: 'Schedules',
  rows: listSchedules,
  columns,
  empty: EMPTY,
  actions: [
    { key: 'n', label: 'run now', command: ({ schedule_id }) => ['schedule', 'now', schedule_id] },
    {
      key: 'p',
      label: 'pause',
      disabled: ({ enabled }) => (enabled ? undefined : 'it is paused already'),
      command: ({ schedule_id }) => ['schedule', 'pause', schedule_id],
    },
    {
      key: 'r',
      label: 'resume',
      disabled: ({ enabled }) => (enabled ? 'it is not paused' : undefined),
      command: ({ schedule_id }) => ['schedule', 'resume', schedule_id],
    },
    { key: 'D', label: 'remove', command: ({ schedule_id }) => ['schedule', 'remove', schedule_id] },
  ],
});

runIfMain(import.meta, command);
