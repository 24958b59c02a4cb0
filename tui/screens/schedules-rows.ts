/** What the screen of schedules shows: columns, plain words for times, details, and the words that make one again. Pure. */
import type { Schedule, Upcoming } from '../../features/schedule.ts';
import type { WatchRow } from '../../features/watch.ts';
import type { Column, Style } from '../../shared/feature.ts';
import { formatAge, formatDuration, formatTime, parseDuration, plural } from '../../shared/format.ts';
import type { Plans } from '../reads/schedules.ts';

/** The same columns for the same minute, so that what a table remembers of them holds. */
export function scheduleColumns(now: Date, wide: boolean): readonly Column<Schedule>[] {
  const key = `${Math.floor(now.getTime() / 1000)} ${wide}`;
  if (SCHEDULES.key === key) return SCHEDULES.columns;
  const columns: Column<Schedule>[] = [
    { title: 'On', value: ({ enabled }) => (enabled ? '[x]' : '[ ]') },
    { title: 'Name', value: ({ schedule_id }) => schedule_id },
    { title: 'Target', value: targetText },
    { title: 'When', value: (one) => (wide ? whenWords(one) : shortWhen(one)) },
    { title: 'Job', value: jobWords },
    { title: 'Next', value: (one) => nextWords(one, now), style: nextStyle, order: nextOrder },
    {
      title: 'Last',
      value: (one) => lastWords(one, now, wide),
      style: lastStyle,
      order: ({ last_run }) => newestFirst(last_run),
    },
  ];
  SCHEDULES = { key, columns: wide ? columns : columns.filter(({ title }) => title !== 'Job') };
  return SCHEDULES.columns;
}

export function watcherColumns(now: Date): readonly Column<WatchRow>[] {
  const key = String(Math.floor(now.getTime() / 1000));
  if (WATCHERS.key === key) return WATCHERS.columns;
  const ago = (time: string | null): string => (time === null ? '—' : formatAge(new Date(time), now));
  WATCHERS = {
    key,
    columns: [
      { title: 'Target', value: placeText },
      { title: 'State', value: watchWords, style: watchStyle },
      {
        title: 'Event',
        value: ({ last_event }) => ago(last_event),
        order: ({ last_event }) => newestFirst(last_event),
      },
      { title: 'Sync', value: ({ last_sync }) => ago(last_sync), order: ({ last_sync }) => newestFirst(last_sync) },
      { title: 'Queue', value: ({ queue_length }) => String(queue_length), align: 'right' },
    ],
  };
  return WATCHERS.columns;
}

export function comingColumns(now: Date): readonly Column<Upcoming>[] {
  const key = formatTime(now).slice(0, 10);
  if (COMING.key === key) return COMING.columns;
  COMING = {
    key,
    columns: [
      { title: 'Day', value: ({ at }) => dayWords(new Date(at), now) },
      { title: 'Time', value: ({ at, often }) => (often ? 'often' : clock(new Date(at))) },
      { title: 'Name', value: ({ schedule_id }) => schedule_id },
      { title: 'Target', value: ({ target }) => target, style: () => 'dim' },
    ],
  };
  return COMING.columns;
}

/** `every day 01:00`, `Mon–Fri 18:00`, `every 30 min`; an expression that has no short words stays as it is. */
export function whenWords({ trigger, expression, zone }: Pick<Schedule, 'trigger' | 'expression' | 'zone'>): string {
  const place = zone === '' ? '' : ` (${zone})`;
  if (trigger === 'on-connect') return `when both are plugged in, after ${expression}`;
  if (trigger === 'interval') {
    const seconds = parseDuration(expression);
    return seconds === undefined ? `every ${expression}` : `every ${roundWords(seconds)}`;
  }
  return `${cronWords(expression) ?? expression}${place}`;
}

/** Whether it is carried out; and what to do when nothing is there for it. */
export function daemonWords({ daemon, schedules, watchers }: Plans): { text: string; style: Style } {
  const enabled = schedules.filter((one) => one.enabled).length;
  const owed = [
    ...(enabled > 0 ? [plural(enabled, 'schedule')] : []),
    ...(watchers.some((one) => one.enabled) ? [plural(watchers.filter((one) => one.enabled).length, 'watcher')] : []),
  ].join(' and ');
  if (!daemon.running) {
    if (owed === '') return { text: '○ No daemon runs, and nothing waits for it. d starts it.', style: 'dim' };
    return { text: `! No daemon runs: nothing carries out ${owed}. d starts it.`, style: 'warn' };
  }
  const since = daemon.started === null ? '' : ` since ${formatTime(new Date(daemon.started)).slice(0, 16)}`;
  if (!daemon.answers)
    return { text: `! The daemon runs${since}, but does not answer; a drive may hang.`, style: 'warn' };
  if (daemon.message !== '') return { text: `! The daemon runs${since}. ${daemon.message}`, style: 'warn' };
  return { text: `● The daemon runs${since}${owed === '' ? '' : `: ${owed}`}.`, style: 'good' };
}

export function scheduleFacts(one: Schedule, now: Date): string[] {
  const { missed, next_run, due, waiting, last_run, last_status, last_message, last_operation, eject } = one;
  const at = (time: string | null): string => (time === null ? '—' : formatTime(new Date(time)));
  return [
    `Target      ${targetText(one)}`,
    `When        ${whenWords(one)}${one.trigger === 'cron' ? `   (${one.expression})` : ''}`,
    `Job         ${jobWords(one)}${eject === '' ? '' : `; ${eject === 'both' ? 'both drives are' : 'the Backup is'} ejected when it went well`}`,
    `Missed      ${missed === 'run' ? 'one run is caught up after sleep or downtime' : 'left out'}`,
    `State       ${one.enabled ? 'on' : 'off'}`,
    '',
    `Next        ${next_run === null ? nextWords(one, now) : `${at(next_run)}, ${nextWords(one, now)}`}`,
    ...(due === null ? [] : [`Owed since  ${at(due)}`]),
    ...(waiting === null ? [] : [`Waiting     ${waiting}`]),
    '',
    `Last run    ${at(last_run)}   ${last_status ?? ''}`,
    ...(last_message === null ? [] : [`            ${last_message}`]),
    ...(last_operation === null ? [] : [`Operation   ${last_operation}`]),
  ];
}

export function watcherFacts(row: WatchRow, now: Date): string[] {
  const ago = (time: string | null): string => (time === null ? '—' : formatAge(new Date(time), now));
  return [
    `Real-Time Sync: ${row.status === 'active' ? 'Active' : row.status}`,
    `Folder      ${row.watch_path === '' ? 'not seen yet' : row.watch_path}`,
    `Debounce    ${row.debounce_seconds === null ? 'as the options of the target say' : `${row.debounce_seconds} s`}`,
    `Daemon      ${row.enabled ? 'is to watch it' : 'is not to watch it; a process in the foreground does'}`,
    `Process     ${row.process_id ?? 'none'}`,
    '',
    `Last event  ${ago(row.last_event)}`,
    `Last sync   ${ago(row.last_sync)}`,
    `Queue       ${plural(row.queue_length, 'path')}`,
    ...(row.message === '' ? [] : ['', row.message]),
  ];
}

/** The words that make a schedule as it is, in the place of another one or of none. */
export function scheduleWords(one: Schedule, replace: boolean): string[] {
  const { schedule_id, target_id, trigger, expression, zone, role, path, job, sample, verify, eject, missed } = one;
  return [
    ...['schedule', 'add', schedule_id, target_id],
    ...(trigger === 'interval' ? [`--every=${expression}`] : []),
    ...(trigger === 'cron' ? [`--cron=${expression}`] : []),
    ...(trigger === 'on-connect' ? ['--on-connect', `--settle=${expression}`] : []),
    ...(zone === '' ? [] : [`--zone=${zone}`]),
    ...(role === '' ? [] : [`--role=${role}`]),
    ...(path === '' ? [] : [`--path=${path}`]),
    ...['--job', job],
    ...(sample === null ? [] : [`--sample=${sample}`]),
    ...(verify ? ['--verify'] : []),
    ...(eject === '' ? [] : [`--eject=${eject}`]),
    ...['--missed', missed],
    ...(one.enabled ? [] : ['--paused']),
    ...(replace ? ['--replace'] : []),
  ];
}

/** The words that have the daemon watch this again. */
export function watcherWords(row: WatchRow, debounce: number | null): string[] {
  return [
    ...['watch', 'enable', row.project_id === '' ? row.group_id : row.project_id],
    ...(row.role === '' ? [] : [`--role=${row.role}`]),
    ...(row.subpath === '' || row.project_id !== '' ? [] : [`--path=${row.subpath}`]),
    ...(debounce === null ? [] : [`--debounce=${debounce}`]),
  ];
}

export function targetText({ target, role, path }: Schedule): string {
  const named = role === '' ? target : `${target} (${role})`;
  return path === '' ? named : `${named}, ${path}`;
}

export function placeText({ target, subpath, project_id }: WatchRow): string {
  return project_id === '' && subpath !== '' ? `${target}/${subpath}` : target;
}

// --- internal ---

type Kept<T> = { key: string; columns: readonly Column<T>[] };
let SCHEDULES: Kept<Schedule> = { key: '', columns: [] };
let WATCHERS: Kept<WatchRow> = { key: '', columns: [] };
let COMING: Kept<Upcoming> = { key: '', columns: [] };

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

/** Without what Enter tells. */
function shortWhen(one: Schedule): string {
  return one.trigger === 'on-connect' ? 'when plugged in' : whenWords({ ...one, zone: '' });
}

const clock = (at: Date): string => formatTime(at).slice(11, 16);

function dayWords(at: Date, now: Date): string {
  const text = formatTime(at).slice(0, 10);
  if (text === formatTime(now).slice(0, 10)) return 'today';
  return `${DAYS[at.getDay()]} ${text.slice(5)}`;
}

/** `30 min`, `4 h`, `day`. */
function roundWords(seconds: number): string {
  for (const [size, unit, one] of [
    [86_400, 'days', 'day'],
    [3600, 'h', 'hour'],
    [60, 'min', 'minute'],
  ] as const)
    if (seconds >= size && seconds % size === 0) return seconds === size ? one : `${seconds / size} ${unit}`;
  return `${seconds} s`;
}

function cronWords(expression: string): string | undefined {
  const fields = expression.trim().split(/\s+/);
  const [minute = '', hour = '', day = '', month = '', weekday = ''] = fields;
  if (fields.length !== 5 || month !== '*') return undefined;
  const every = (text: string): string | undefined => /^\*\/(\d+)$/.exec(text)?.[1];
  if (day === '*' && weekday === '*' && hour === '*' && every(minute)) return `every ${every(minute)} min`;
  if (day === '*' && weekday === '*' && minute === '0' && every(hour)) return `every ${every(hour)} h`;
  if (!/^\d+$/.test(minute) || !/^\d+(,\d+)*$/.test(hour)) return undefined;
  const times = hour.split(',').map((one) => `${one.padStart(2, '0')}:${minute.padStart(2, '0')}`);
  const time = times.join(', ');
  if (day === '*' && weekday === '*') return `every day ${time}`;
  if (day === '*') return weekdayWords(weekday) && `${weekdayWords(weekday)} ${time}`;
  if (weekday !== '*') return undefined;
  return day === 'L' ? `last of the month ${time}` : /^\d+$/.test(day) ? `day ${day} of the month ${time}` : undefined;
}

function weekdayWords(text: string): string | undefined {
  const named = (one: string): string | undefined =>
    /^[0-7]$/.test(one) ? DAYS[Number(one) % 7] : DAYS.find((name) => name.toLowerCase() === one.toLowerCase());
  const range = text.split('-').map(named);
  if (range.length === 2 && range.every(Boolean)) return range.join('–');
  const days = text.split(',').map(named);
  return days.every(Boolean) ? days.join(', ') : undefined;
}

function jobWords({ job, sample, verify }: Schedule): string {
  const share = sample === null ? '' : ` ${sample} %`;
  return job === 'verify' ? `verify${share}` : verify ? `sync, verify${share}` : 'sync';
}

function nextWords({ enabled, due, waiting, next_run, last_status, trigger }: Schedule, now: Date): string {
  if (last_status === 'running') return '◐ running';
  if (!enabled) return 'off';
  if (waiting !== null) return /connected|plugged/.test(waiting) ? '○ waiting for drive' : '○ waiting';
  if (due !== null) return '! due';
  if (next_run === null) return trigger === 'on-connect' ? 'when plugged in' : 'never';
  const seconds = (Date.parse(next_run) - now.getTime()) / 1000;
  if (seconds < -120) return '! overdue';
  return seconds < 60
    ? 'in a moment'
    : `in ${formatDuration(Math.ceil(seconds / 60) * 60).replace(/ 00 (s|min|h)$/, '')}`;
}

/** What is owed comes before what is to come, and what never comes last. */
function nextOrder({ enabled, due, waiting, next_run, last_status }: Schedule): number {
  if (last_status === 'running') return Number.NEGATIVE_INFINITY;
  if (!enabled) return Number.POSITIVE_INFINITY;
  if (due !== null) return Date.parse(due);
  if (waiting !== null && next_run === null) return 0;
  return next_run === null ? Number.MAX_SAFE_INTEGER : Date.parse(next_run);
}

const newestFirst = (time: string | null): number => (time === null ? Number.POSITIVE_INFINITY : -Date.parse(time));

function nextStyle(one: Schedule): Style {
  if (!one.enabled) return 'dim';
  return one.waiting !== null || one.due !== null ? 'warn' : 'plain';
}

const SIGN = { completed: '✓', failed: '✗', cancelled: '!', running: '◐' } as const;

function lastWords({ last_status, last_run }: Schedule, now: Date, wide: boolean): string {
  if (last_status === null) return '—';
  const age = last_run === null || !wide ? '' : ` ${formatAge(new Date(last_run), now)}`;
  return `${SIGN[last_status]}${age}`;
}

function lastStyle({ last_status }: Schedule): Style {
  return last_status === null
    ? 'dim'
    : ({ completed: 'good', failed: 'bad', cancelled: 'warn', running: 'plain' } as const)[last_status];
}

function watchWords({ status, paused, enabled, process_id }: WatchRow): string {
  if (status === 'active') return '● Real-Time Sync: Active';
  if (paused || status === 'paused') return '○ paused';
  if (process_id === null) return enabled ? '! waits for the daemon' : '○ stopped';
  return `${status === 'starting' ? '◐' : status === 'waiting for drive' ? '○' : '!'} ${status}`;
}

function watchStyle(row: WatchRow): Style {
  const sign = watchWords(row)[0];
  return sign === '●' ? 'good' : sign === '!' ? 'warn' : sign === '○' ? 'dim' : 'plain';
}
