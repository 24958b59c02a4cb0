/**
 * When is a job due? Intervals, cron expressions and a watermark ("accounted for up to here") in, times out: no clock is
 * read, nothing is stored. A time of day that the zone skips (spring) comes at the first moment after the gap; one that
 * it repeats (autumn) comes once, unless the expression runs in every hour: then the repeated hour is an hour as well.
 */
import { createRequire } from 'node:module';
import type { ParsedFields } from 'node-cron';
import { messageOf, TandemError } from './errors.ts';
import { displayPath } from './paths.ts';

export type Trigger =
  | { kind: 'interval'; seconds: number }
  /** @property zone IANA name; `''`: the computer's own. */
  | { kind: 'cron'; expression: string; zone: string }
  /** @property settle seconds for which both drives have to be there; the clock plays no part. */
  | { kind: 'on-connect'; settle: number };

/** What `dueSince` found. */
export interface Due {
  /** The first run that is due and not accounted for; null: none is. However many were missed, they are one. */
  first: Date | null;
  /** Whether a run of the last `GRACE` seconds is among them: it is on time, the others were missed. */
  recent: boolean;
  /** Accounted for up to here, once the run was noted; never before what was given, unless the clock was set back far. */
  covered: Date;
  /** The next run after `now`; null: there is none. */
  next: Date | null;
}

/** Seconds by which a run may be late without counting as missed. */
export const GRACE = 60;

/** Intervals by their names in `--preset`, and times of day that many people want. */
export const PRESET_TRIGGERS: Readonly<Record<string, Trigger>> = {
  '15m': { kind: 'interval', seconds: 900 },
  '30m': { kind: 'interval', seconds: 1800 },
  '60m': { kind: 'interval', seconds: 3600 },
  '4h': { kind: 'cron', expression: '0 */4 * * *', zone: '' },
  daily: { kind: 'cron', expression: '0 2 * * *', zone: '' },
  weekly: { kind: 'cron', expression: '0 9 * * MON', zone: '' },
  monthly: { kind: 'cron', expression: '0 0 1 * *', zone: '' },
};

/**
 * @throws TandemError `usage` for an interval below a second, an expression that cannot be read or that no day fits, and a
 * zone that this computer does not know.
 */
export function checkTrigger(trigger: Trigger, now: Date): void {
  if (trigger.kind === 'interval' && !(trigger.seconds >= 1 && trigger.seconds <= LONGEST))
    throw new TandemError('usage', `An interval has 1 second to 366 days, not ${trigger.seconds} seconds.`, {
      hint: 'For example --every 30m.',
    });
  if (trigger.kind === 'on-connect' && !(trigger.settle >= 0 && trigger.settle <= 86_400))
    throw new TandemError('usage', `--settle has 0 seconds to 1 day, not ${trigger.settle} seconds.`, {
      hint: 'For example --settle 10s.',
    });
  if (trigger.kind !== 'cron') return;
  checkZone(trigger.zone);
  if (nextRun(trigger, now) !== null) return;
  throw new TandemError('usage', `No day fits the cron expression '${displayPath(trigger.expression)}'.`, {
    hint: 'Days of the month and of the week have to fit both.',
  });
}

/** The first run after `from`; null: there is none. An interval counts from there. */
export function nextRun(trigger: Trigger, from: Date): Date | null {
  switch (trigger.kind) {
    case 'interval':
      return new Date(from.getTime() + trigger.seconds * 1000);
    case 'cron':
      return nextCron(fieldsOf(trigger.expression), trigger.zone, from);
    case 'on-connect':
      return null;
  }
}

/** The first `count` runs after `from`; fewer when there are no more. */
export function nextRuns(trigger: Trigger, from: Date, count: number): Date[] {
  const runs: Date[] = [];
  for (let at: Date | null = from; runs.length < count; ) {
    at = nextRun(trigger, at);
    if (at === null) break;
    runs.push(at);
  }
  return runs;
}

/**
 * @param covered every run up to here is accounted for: it took place, was skipped, or came before the schedule was made.
 * Of an interval, the next run is one interval later. A time in the future means that the clock was set back.
 */
export function dueSince(trigger: Trigger, covered: Date, now: Date): Due {
  const known = trueMark(trigger, covered, now);
  const first = nextRun(trigger, known);
  if (first === null || first > now) return { first: null, recent: false, covered: known, next: first };
  const late = new Date(Math.max(known.getTime(), now.getTime() - GRACE * 1000));
  if (trigger.kind !== 'interval') {
    const recent = (nextRun(trigger, late) ?? first) <= now;
    return { first, recent, covered: now, next: nextRun(trigger, now) };
  }
  // From run to run, not from look to look: else each look that comes late would shift all that follow.
  const step = trigger.seconds * 1000;
  const newest = new Date(known.getTime() + Math.floor((now.getTime() - known.getTime()) / step) * step);
  return { first, recent: newest >= late, covered: newest, next: nextRun(trigger, newest) };
}

/** `90` → `90s`, `1800` → `30m`, `86400` → `1d`; read back by `parseDuration`. */
export function shortDuration(seconds: number): string {
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
  ] as const)
    if (seconds >= size && seconds % size === 0) return `${seconds / size}${unit}`;
  return `${seconds}s`;
}

// --- internal ---

const LONGEST = 366 * 86_400;
const DAY = 86_400_000;
/** A 29th of February on a given day of the week can be 40 years away, where a century has no leap day. */
const HORIZON = 44 * 366;

/**
 * The clock was set back when `covered` lies ahead. What ran then does not run again when its time of day comes back, but
 * an interval goes on at once, an expression that runs in every hour waits one hour at most, and any other one day: more
 * means that the clock had been wrong.
 */
function trueMark(trigger: Trigger, covered: Date, now: Date): Date {
  const ahead = covered.getTime() - now.getTime();
  if (ahead <= 0) return covered;
  if (trigger.kind !== 'cron') return now;
  return ahead <= (isHourly(fieldsOf(trigger.expression)) ? 3_600_000 : DAY) ? covered : now;
}

// Cron expressions. node-cron reads them; it cannot be asked for times, because it leaves out what falls into a gap.

interface Cron extends ParsedFields {
  hourly: boolean;
}

const parsed = new Map<string, Cron>();

function fieldsOf(expression: string): Cron {
  const known = parsed.get(expression);
  if (known) return known;
  const { parse } = createRequire(import.meta.url)('node-cron') as typeof import('node-cron');
  let fields: ParsedFields;
  try {
    fields = parse(expression);
  } catch (error) {
    throw new TandemError(
      'usage',
      `The cron expression '${displayPath(expression)}' cannot be read: ${displayPath(messageOf(error))}.`,
      {
        hint: 'Minute, hour, day of the month, month, day of the week, and if wanted seconds before them: "0 2 * * *" is daily at 2.',
      },
    );
  }
  const sorted = (values: number[]): number[] => [...new Set(values)].sort((a, b) => a - b);
  const cron: Cron = {
    ...fields,
    second: sorted(fields.second),
    minute: sorted(fields.minute),
    hour: sorted(fields.hour),
    hourly: new Set(fields.hour).size === 24,
  };
  if (parsed.size > 5000) parsed.clear();
  parsed.set(expression, cron);
  return cron;
}

const isHourly = (cron: Cron): boolean => cron.hourly;

/** `wall`: what the clock on the wall shows, as if it were UTC; milliseconds. */
function nextCron(cron: Cron, zone: string, from: Date): Date | null {
  const after = from.getTime();
  const offset = offsetAt(after, zone);
  let wall = Math.floor((after + offset) / 1000) * 1000;
  let found: number | null = null;
  while (found === null) {
    const next = nextWall(cron, wall + 1000);
    if (next === null) return null;
    const instant = instantOf(next, zone);
    if (instant > after) found = instant;
    // In the second pass of a repeated hour, what the wall shows came already: look on behind it.
    else wall = Math.max(next, changeBetween(instant, after + 1000, zone) + next - instant - 1000);
  }
  const again = cron.hourly ? repeated(cron, zone, after, found) : null;
  return new Date(again ?? found);
}

/** A run in the second pass of a repeated hour, between both instants. */
function repeated(cron: Cron, zone: string, after: number, before: number): number | null {
  let start = after;
  let offset = offsetAt(after, zone);
  const later = offsetAt(before, zone);
  if (later < offset) {
    start = changeBetween(after, before, zone) - 1000;
    offset = later;
  }
  const next = nextWall(cron, Math.floor((start + offset) / 1000) * 1000 + 1000);
  const instant = next === null ? before : next - offset;
  return instant < before && offsetAt(instant, zone) === offset ? instant : null;
}

/** The first time from `wall` on that fits all fields; null: none does. */
function nextWall(cron: Cron, wall: number): number | null {
  const firstDay = Math.floor(wall / DAY) * DAY;
  for (let day = 0; day < HORIZON; day += 1) {
    const start = firstDay + day * DAY;
    if (!fitsDay(cron, new Date(start))) continue;
    const time = timeInDay(cron, day === 0 ? (wall - start) / 1000 : 0);
    if (time !== null) return start + time * 1000;
  }
  return null;
}

/** Seconds of the day: the first that fits, from `least` on. */
function timeInDay({ hour, minute, second }: Cron, least: number): number | null {
  for (const h of hour) {
    if (h * 3600 + 3599 < least) continue;
    for (const m of minute) {
      if (h * 3600 + m * 60 + 59 < least) continue;
      for (const s of second) {
        const time = h * 3600 + m * 60 + s;
        if (time >= least) return time;
      }
    }
  }
  return null;
}

/** The day of the month and the day of the week have to fit both. */
function fitsDay({ month, dayOfMonth, dayOfWeek }: Cron, at: Date): boolean {
  if (!month.includes(at.getUTCMonth() + 1)) return false;
  const day = at.getUTCDate();
  const last = new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 0)).getUTCDate();
  const weekday = at.getUTCDay();
  return (
    dayOfMonth.some((field) => fitsDayOfMonth(field, day, last, weekday)) &&
    dayOfWeek.some((field) => fitsDayOfWeek(field, day, last, weekday))
  );
}

/** A number, `L` (the last), `L-3`, `15W` (the weekday next to it, in the same month), `LW`. */
function fitsDayOfMonth(field: number | string, day: number, last: number, weekday: number): boolean {
  if (typeof field === 'number') return field === day;
  if (field === 'L') return day === last;
  const fromEnd = /^L-(\d+)$/.exec(field);
  if (fromEnd) return day === last - Number(fromEnd[1]);
  const near = /^(\d+|L)W$/.exec(field);
  if (!near) return false;
  const wanted = near[1] === 'L' ? last : Number(near[1]);
  if (wanted > last || wanted < 1) return false;
  const wantedWeekday = (((weekday + wanted - day) % 7) + 7) % 7;
  if (wantedWeekday === 6) return day === (wanted === 1 ? 3 : wanted - 1);
  if (wantedWeekday === 0) return day === (wanted === last ? last - 2 : wanted + 1);
  return day === wanted;
}

/** A number (Sunday is 0), `5L` (the last Friday), `1#2` (the second Monday). */
function fitsDayOfWeek(field: number | string, day: number, last: number, weekday: number): boolean {
  if (typeof field === 'number') return field === weekday;
  const [, number, kind, count] = /^(\d)(?:(L)|#(\d))$/i.exec(field) ?? [];
  if (number === undefined || Number(number) % 7 !== weekday) return false;
  return kind === undefined ? Math.ceil(day / 7) === Number(count) : day + 7 > last;
}

// Zones. The day before and the day after bound the offset: no zone changes it two times within three days.

/** When the wall first shows this; in a gap, the moment at which the gap ends. */
function instantOf(wall: number, zone: string): number {
  const day = Math.floor(wall / DAY) * DAY;
  const before = offsetAt(day - DAY, zone);
  const after = offsetAt(day + 2 * DAY, zone);
  if (before === after) return wall - before;
  const [one, other] = [wall - before, wall - after];
  if (offsetAt(one, zone) === before) return one;
  if (offsetAt(other, zone) === after) return other;
  return changeBetween(Math.min(one, other), Math.max(one, other), zone);
}

/** The instant from which another offset counts; milliseconds, a whole second. */
function changeBetween(from: number, to: number, zone: string): number {
  const former = offsetAt(from, zone);
  let [low, high] = [Math.floor(from / 1000), Math.ceil(to / 1000)];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetAt(middle * 1000, zone) === former) low = middle;
    else high = middle;
  }
  return high * 1000;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(zone: string): Intl.DateTimeFormat {
  const known = formats.get(zone);
  if (known) return known;
  const format = new Intl.DateTimeFormat('en-US', {
    ...(zone === '' ? {} : { timeZone: zone }),
    calendar: 'iso8601',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
  formats.set(zone, format);
  return format;
}

function checkZone(zone: string): void {
  try {
    formatOf(zone);
  } catch {
    throw new TandemError('usage', `This computer knows no time zone '${displayPath(zone)}'.`, {
      hint: 'Give a name such as Europe/Berlin, or leave --zone away for the time of this computer.',
    });
  }
}

/** The same moments are asked for again and again; asking the system takes a hundred times longer. */
const offsets = new Map<string, Map<number, number>>();
const MOST_OFFSETS = 4096;

/** Milliseconds by which the wall of the zone is ahead of UTC. */
function offsetAt(instant: number, zone: string): number {
  const second = Math.floor(instant / 1000) * 1000;
  if (zone === '') return localWall(second) - second;
  const known = offsets.get(zone) ?? new Map<number, number>();
  offsets.set(zone, known);
  let offset = known.get(second);
  if (offset === undefined) {
    if (known.size >= MOST_OFFSETS) known.clear();
    offset = wallIn(second, zone) - second;
    known.set(second, offset);
  }
  return offset;
}

function localWall(second: number): number {
  const at = new Date(second);
  const day = Date.UTC(at.getFullYear(), at.getMonth(), at.getDate());
  return day + ((at.getHours() * 60 + at.getMinutes()) * 60 + at.getSeconds()) * 1000;
}

function wallIn(second: number, zone: string): number {
  const part: Record<string, number> = {};
  for (const { type, value } of formatOf(zone).formatToParts(second)) part[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second: seconds = 0 } = part;
  return Date.UTC(year, month - 1, day, hour, minute, seconds);
}
