/** When is a job due? Against times worked out by walking through two years minute by minute, and against sleep and odd clocks. */
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  checkTrigger,
  dueSince,
  nextRun,
  nextRuns,
  PRESET_TRIGGERS,
  shortDuration,
  type Trigger,
} from '../shared/clock-times.ts';
import { TandemError } from '../shared/errors.ts';
import { parseDuration } from '../shared/format.ts';
import './helpers/property.ts';

const test = suite('clock-times');
const ZONES = ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata', 'Pacific/Apia'] as const;
const MINUTE = 60_000;
const HOUR = 3_600_000;
const DAY = 86_400_000;
const START = Date.parse('2026-01-01T00:00:00Z');
const END = Date.parse('2028-01-01T00:00:00Z');

const cron = (expression: string, zone = 'UTC'): Trigger => ({ kind: 'cron', expression, zone });
const at = (time: string): Date => new Date(time);
const times = (expression: string, zone: string, from: string, count: number): string =>
  nextRuns(cron(expression, zone), at(from), count)
    .map((time) => time.toISOString().replace(':00.000Z', 'Z'))
    .join(' ');

test('times of the day in gaps and repeats of five zones, and of a day that a zone left out', () => {
  const cases: [expression: string, zone: string, from: string, expected: string][] = [
    ['30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00:00Z', '2026-03-29T01:00Z 2026-03-30T00:30Z'],
    ['0,30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00:00Z', '2026-03-29T01:00Z 2026-03-30T00:00Z'],
    ['30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00:00Z', '2026-10-25T00:30Z 2026-10-26T01:30Z'],
    ['30 2 * * *', 'Europe/Berlin', '2026-10-25T00:30:00Z', '2026-10-26T01:30Z 2026-10-27T01:30Z'],
    ['45 2 * * *', 'Europe/Berlin', '2026-10-25T01:30:00Z', '2026-10-26T01:45Z 2026-10-27T01:45Z'],
    ['30 * * * *', 'Europe/Berlin', '2026-10-25T00:10:00Z', '2026-10-25T00:30Z 2026-10-25T01:30Z'],
    ['0 2 * * *', 'America/New_York', '2026-03-07T12:00:00Z', '2026-03-08T07:00Z 2026-03-09T06:00Z'],
    ['30 1 * * *', 'America/New_York', '2026-10-31T12:00:00Z', '2026-11-01T05:30Z 2026-11-02T06:30Z'],
    ['45 1 * * *', 'Australia/Lord_Howe', '2026-04-04T00:00:00Z', '2026-04-04T14:45Z 2026-04-05T15:15Z'],
    ['15 2 * * *', 'Australia/Lord_Howe', '2026-10-03T00:00:00Z', '2026-10-03T15:30Z 2026-10-04T15:15Z'],
    ['0 12 * * *', 'Pacific/Apia', '2011-12-29T12:00:00Z', '2011-12-29T22:00Z 2011-12-30T10:00Z'],
    ['30 0 * * *', 'Asia/Beirut', '2026-03-28T12:00:00Z', '2026-03-28T22:00Z 2026-03-29T21:30Z'],
    ['30 23 * * *', 'Asia/Beirut', '2026-10-24T12:00:00Z', '2026-10-24T20:30Z 2026-10-25T21:30Z'],
    ['0 9 * * *', 'Asia/Kolkata', '2026-01-01T00:00:00Z', '2026-01-01T03:30Z 2026-01-02T03:30Z'],
  ];
  for (const [expression, zone, from, expected] of cases)
    assert.is(times(expression, zone, from, 2), expected, `${expression} in ${zone}`);
});

test('names, steps, lists, seconds, leap days, last days, weekdays near a day, the nth of a month', () => {
  const cases: [expression: string, from: string, expected: string][] = [
    ['0 9 * * MON', '2026-01-01T00:00:00Z', '2026-01-05T09:00Z 2026-01-12T09:00Z'],
    ['0 9 * JAN-MAR,DEC sunday', '2026-03-25T00:00:00Z', '2026-03-29T09:00Z 2026-12-06T09:00Z'],
    ['*/20 22-23 * * *', '2026-01-01T22:30:00Z', '2026-01-01T22:40Z 2026-01-01T23:00Z'],
    ['0 0 * * 7', '2026-01-01T00:00:00Z', '2026-01-04T00:00Z 2026-01-11T00:00Z'],
    ['0 0 29 2 *', '2026-01-01T00:00:00Z', '2028-02-29T00:00Z 2032-02-29T00:00Z'],
    ['0 0 29 2 *', '2096-03-01T00:00:00Z', '2104-02-29T00:00Z 2108-02-29T00:00Z'],
    ['0 0 29 2 MON', '2026-01-01T00:00:00Z', '2044-02-29T00:00Z 2072-02-29T00:00Z'],
    ['0 0 L * *', '2028-01-31T00:00:00Z', '2028-02-29T00:00Z 2028-03-31T00:00Z'],
    ['0 0 L-2 2 *', '2026-01-01T00:00:00Z', '2026-02-26T00:00Z 2027-02-26T00:00Z'],
    ['0 0 LW * *', '2026-01-01T00:00:00Z', '2026-01-30T00:00Z 2026-02-27T00:00Z'],
    ['0 0 1W * *', '2026-07-15T00:00:00Z', '2026-08-03T00:00Z 2026-09-01T00:00Z'],
    ['0 0 15W * *', '2026-02-01T00:00:00Z', '2026-02-16T00:00Z 2026-03-16T00:00Z'],
    ['0 9 * * MON#1', '2026-01-05T09:00:00Z', '2026-02-02T09:00Z 2026-03-02T09:00Z'],
    ['0 9 * * 5L', '2026-01-01T00:00:00Z', '2026-01-30T09:00Z 2026-02-27T09:00Z'],
    ['0 0 13 * FRI', '2026-01-01T00:00:00Z', '2026-02-13T00:00Z 2026-03-13T00:00Z'],
    ['@monthly', '2026-01-01T00:00:00Z', '2026-02-01T00:00Z 2026-03-01T00:00Z'],
  ];
  for (const [expression, from, expected] of cases) assert.is(times(expression, 'UTC', from, 2), expected, expression);
  const seconds = nextRuns(cron('*/20 * * * * *'), at('2026-01-01T00:00:50.500Z'), 3).map((time) => time.getTime());
  assert.equal(
    seconds,
    [60, 80, 100].map((second) => START + second * 1000),
  );
  assert.equal(
    nextRuns({ kind: 'interval', seconds: 90 }, at('2026-01-01T00:00:00Z'), 2).map((time) => time.getTime() - START),
    [90_000, 180_000],
  );
  assert.is(nextRun({ kind: 'on-connect', settle: 5 }, at('2026-01-01T00:00:00Z')), null);
});

test('what cannot be is refused in a sentence with its value', () => {
  const wrong: [Trigger, RegExp][] = [
    [cron('61 * * * *'), /'61 \* \* \* \*' cannot be read/],
    [cron('* * * *'), /expected 5 or 6 fields/],
    [cron('0 0 31 2 *'), /impossible/],
    [cron('0 0 L-30 2 *'), /No day fits/],
    [cron('0 2 * * *', 'Mars/Olympus'), /no time zone 'Mars\/Olympus'/],
    [cron('\u001b[2J'), /␛\[2J/],
    [{ kind: 'interval', seconds: 0 }, /1 second to 366 days/],
    [{ kind: 'interval', seconds: Number.NaN }, /1 second to 366 days/],
    [{ kind: 'on-connect', settle: -1 }, /--settle/],
  ];
  for (const [trigger, message] of wrong) {
    let error: unknown;
    try {
      checkTrigger(trigger, at('2026-01-01T00:00:00Z'));
    } catch (thrown) {
      error = thrown;
    }
    assert.instance(error, TandemError, JSON.stringify(trigger));
    assert.match((error as TandemError).message, message);
    assert.is((error as TandemError).code, 'usage');
  }
  for (const trigger of Object.values(PRESET_TRIGGERS)) checkTrigger(trigger, at('2026-01-01T00:00:00Z'));
});

test('an interval is written as it is read', () => {
  for (const seconds of [1, 59, 60, 90, 900, 3600, 5400, 86_400, 172_800, 0.5])
    assert.is(parseDuration(shortDuration(seconds)), seconds);
});

// --- against two years, minute by minute ---

const formats = new Map<string, Intl.DateTimeFormat>();

/** Minutes by which the zone's wall is ahead; asked for once every quarter of an hour, since no zone changes in between. */
function wallMinutes(zone: string): (utcMinute: number) => number {
  const known = new Map<number, number>();
  const format =
    formats.get(zone) ??
    new Intl.DateTimeFormat('en-GB', { timeZone: zone, timeZoneName: 'longOffset', year: 'numeric' });
  formats.set(zone, format);
  return (utcMinute) => {
    const quarter = Math.floor(utcMinute / 15);
    let offset = known.get(quarter);
    if (offset === undefined) {
      const text = format.formatToParts(quarter * 15 * MINUTE).find(({ type }) => type === 'timeZoneName')?.value ?? '';
      const [, sign, hours = '0', minutes = '0'] = /GMT([+-])(\d\d):(\d\d)/.exec(text) ?? [];
      offset = (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
      known.set(quarter, offset);
    }
    return utcMinute + offset;
  };
}

interface Simple {
  expression: string;
  fits(minute: number, hour: number, day: number, weekday: number): boolean;
  /** Runs in every hour. */
  hourly: boolean;
}

const SIMPLE: readonly Simple[] = [
  { expression: '30 2 * * *', hourly: false, fits: (m, h) => m === 30 && h === 2 },
  { expression: '*/20 1-3 * * *', hourly: false, fits: (m, h) => m % 20 === 0 && h >= 1 && h <= 3 },
  { expression: '0 */4 * * *', hourly: false, fits: (m, h) => m === 0 && h % 4 === 0 },
  { expression: '45 1 * * SUN', hourly: false, fits: (m, h, _d, w) => m === 45 && h === 1 && w === 0 },
  { expression: '59 23 31 * *', hourly: false, fits: (m, h, d) => m === 59 && h === 23 && d === 31 },
  { expression: '10 * * * *', hourly: true, fits: (m) => m === 10 },
  { expression: '*/15 * * * SAT,SUN', hourly: true, fits: (m, _h, _d, w) => m % 15 === 0 && (w === 0 || w === 6) },
];

/** The rules in other words: what the wall skipped comes at once, what it shows again counts only for hourly ones. */
function walked({ fits, hourly }: Simple, zone: string): number[] {
  const wallOf = wallMinutes(zone);
  const fitsWall = (wall: number): boolean => {
    const date = new Date(wall * MINUTE);
    return fits(date.getUTCMinutes(), date.getUTCHours(), date.getUTCDate(), date.getUTCDay());
  };
  const found: number[] = [];
  let highest = wallOf(START / MINUTE);
  for (let minute = START / MINUTE + 1; minute < END / MINUTE; minute += 1) {
    const wall = wallOf(minute);
    let due = wall > highest || hourly ? fitsWall(wall) : false;
    for (let skipped = highest + 1; skipped < wall; skipped += 1) due ||= fitsWall(skipped);
    if (due) found.push(minute * MINUTE);
    highest = Math.max(highest, wall);
  }
  return found;
}

const WALKED = new Map<string, number[]>();
function occurrences(simple: Simple, zone: string): number[] {
  const key = `${simple.expression} ${zone}`;
  const known = WALKED.get(key) ?? walked(simple, zone);
  WALKED.set(key, known);
  return known;
}

for (const zone of ZONES) {
  test(`two years in ${zone}: every run comes, and comes once`, () => {
    for (const simple of SIMPLE) {
      const expected = occurrences(simple, zone);
      assert.ok(expected.length > 10, simple.expression);
      const found: number[] = [];
      for (let next = nextRun(cron(simple.expression, zone), new Date(START)); next && next.getTime() < END; ) {
        found.push(next.getTime());
        next = nextRun(cron(simple.expression, zone), next);
      }
      assert.equal(found.length, expected.length, simple.expression);
      assert.equal(found, expected, simple.expression);
    }
  });
}

/** How many of the sorted times lie after `from` and not after `to`. */
function between(sorted: readonly number[], from: number, to: number): number {
  const upTo = (limit: number): number => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sorted[middle] as number) <= limit) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return upTo(to) - upTo(from);
}

test('with sleeps of up to 5 hours and clocks set back, every run is accounted for exactly once', () => {
  const moves = fc.array(
    fc.oneof(
      { weight: 6, arbitrary: fc.constant(0) },
      { weight: 3, arbitrary: fc.integer({ min: 1, max: 5 * 3600 }) },
      { weight: 2, arbitrary: fc.integer({ min: -3500, max: -1 }) },
    ),
    { minLength: 300, maxLength: 300 },
  );
  const inZone = (zone: string) =>
    fc.property(fc.constantFrom(...SIMPLE), moves, (simple, steps) => {
      const due = occurrences(simple, zone);
      const trigger = cron(simple.expression, zone);
      let now = START;
      let covered = new Date(START);
      let next: Date | null = null;
      for (let step = 0; ; step += 1) {
        // As a scheduler does: asleep until the next time, or longer; a clock set back in between.
        const move = steps[step % steps.length] as number;
        if (move < 0) now = Math.max(now + move * 1000, covered.getTime() - HOUR);
        else now = Math.max(now, (next ?? new Date(now + DAY)).getTime()) + move * 1000;
        if (now >= END) break;
        const look = dueSince(trigger, covered, new Date(now));
        assert.ok(look.covered >= covered, 'what was accounted for stays so');
        const missed = between(due, covered.getTime(), now);
        assert.is(look.first !== null, missed > 0, `${simple.expression} ${zone} ${new Date(now).toISOString()}`);
        if (look.first)
          assert.ok(look.first.getTime() <= now && between(due, covered.getTime(), look.first.getTime()) === 1);
        assert.ok(look.next === null || look.next.getTime() > now);
        covered = look.covered;
        next = look.next;
      }
    });
  for (const zone of ZONES) fc.assert(inZone(zone), { numRuns: 2, endOnFailure: true });
});

test('an interval goes on in its own rhythm after sleep, and never pauses for longer than two of it when the clock is set back', () => {
  const trigger: Trigger = { kind: 'interval', seconds: 1800 };
  const look = dueSince(trigger, new Date(START), new Date(START + 5 * 3_600_000 + 123_000));
  assert.is(look.first?.getTime(), START + 1_800_000);
  assert.is(look.covered.getTime(), START + 5 * 3_600_000);
  assert.is(look.next?.getTime(), START + 5.5 * 3_600_000);
  assert.is(look.recent, false);
  const steps = fc.array(fc.integer({ min: -30 * DAY, max: 5 * 3_600_000 }), { minLength: 50, maxLength: 50 });
  fc.assert(
    fc.property(steps, (moves) => {
      // `real` is what a stopwatch says, `now` what the clock says.
      let [real, now, covered] = [0, START, new Date(START)];
      let last = 0;
      for (const move of moves) {
        for (let look = 0; look < 200; look += 1) {
          real += MINUTE;
          now += MINUTE;
          if (look === 100) now += Math.min(0, move);
          if (look === 100 && move > 0) {
            real += move;
            now += move;
          }
          const { first, covered: after } = dueSince(trigger, covered, new Date(now));
          covered = after;
          if (first === null) assert.ok(real - last <= 2 * 1_800_000 + MINUTE, 'none is lost');
          else last = real;
        }
      }
    }),
    { numRuns: 30 },
  );
});

test('a clock set back does not repeat a run; one that had been wrong by days does not stop them', () => {
  const daily = cron('0 2 * * *');
  const ran = at('2026-06-10T02:00:01Z');
  for (const back of ['2026-06-10T01:30:00Z', '2026-06-09T12:00:00Z']) {
    const look = dueSince(daily, ran, at(back));
    assert.is(look.first, null);
    assert.is(look.next?.toISOString(), '2026-06-11T02:00:00.000Z', back);
    assert.is(dueSince(daily, look.covered, at('2026-06-10T02:00:00Z')).first, null, 'not again');
  }
  const wrong = dueSince(daily, at('2031-01-01T00:00:00Z'), at('2026-06-10T01:30:00Z'));
  assert.is(wrong.next?.toISOString(), '2026-06-10T02:00:00.000Z');
  const often = dueSince(cron('*/15 * * * *'), ran, at('2026-06-09T20:00:00Z'));
  assert.is(often.next?.toISOString(), '2026-06-09T20:15:00.000Z');
});

test('what is a minute late is on time, what is later was missed', () => {
  const daily = cron('0 2 * * *');
  const covered = at('2026-06-09T02:00:00Z');
  assert.is(dueSince(daily, covered, at('2026-06-10T02:00:59Z')).recent, true);
  assert.is(dueSince(daily, covered, at('2026-06-10T02:01:01Z')).recent, false);
  assert.is(
    dueSince(daily, covered, at('2026-06-12T02:00:10Z')).recent,
    true,
    'of several missed ones, the last is on time',
  );
  assert.is(dueSince({ kind: 'interval', seconds: 3600 }, covered, at('2026-06-09T05:00:30Z')).recent, true);
  assert.is(dueSince({ kind: 'interval', seconds: 3600 }, covered, at('2026-06-09T05:02:30Z')).recent, false);
});

test('a thousand expressions are worked out without ado', () => {
  const before = performance.now();
  for (let one = 0; one < 1000; one += 1)
    nextRun(cron(`${one % 60} ${one % 24} * * *`, ZONES[one % ZONES.length]), new Date(START + one * DAY));
  assert.ok(performance.now() - before < 20_000, `${performance.now() - before} ms`);
});

test.run();
