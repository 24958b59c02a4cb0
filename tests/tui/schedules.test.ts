/** Schedules and watchers as a terminal shows them, what their keys and forms ask for, and one journey on real drives. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  addSchedule,
  listSchedules,
  type NewSchedule,
  removeSchedule,
  type Schedule,
  upcomingRuns,
} from '../../features/schedule.ts';
import { noteOwed } from '../../features/timetable.ts';
import type { WatchRow } from '../../features/watch.ts';
import type { Trigger } from '../../shared/clock-times.ts';
import type { Plans } from '../../tui/reads/schedules.ts';
import { scheduleReads } from '../../tui/reads/schedules.ts';
import { scheduleWords, whenWords } from '../../tui/screens/schedules-rows.ts';
import { ago, type Board, type BoardOptions, daemon, matchesGolden, NOW, openBoard } from '../helpers/board.ts';
import { withPair } from '../helpers/pair.ts';
import { cron, DAY, every, HOUR, onStage } from '../helpers/stage.ts';
import { nobodyIn, openTmux, TANDEM } from '../helpers/tmux.ts';

const test = suite('schedules');

function schedule(id: string, more: Partial<Schedule> = {}): Schedule {
  return {
    schedule_id: id,
    target: 'Archive',
    target_id: 'id-archive',
    target_kind: 'group',
    role: '',
    path: '',
    trigger: 'cron',
    expression: '0 1 * * *',
    zone: '',
    job: 'sync',
    sample: null,
    verify: false,
    eject: '',
    missed: 'run',
    enabled: true,
    created: ago(100_000),
    next_run: ago(-627),
    due: null,
    waiting: null,
    last_run: ago(813),
    last_status: 'completed',
    last_message: 'Sync of Archive completed.',
    last_operation: 'op-1',
    ...more,
  };
}

function watcher(target: string, more: Partial<WatchRow> = {}): WatchRow {
  return {
    watch_id: `watch-${target}`,
    target,
    group_id: `id-${target}`,
    project_id: '',
    role: '',
    subpath: '',
    watch_path: `/media/${target}`,
    debounce_seconds: null,
    enabled: true,
    paused: false,
    status: 'active',
    message: '',
    last_event: ago(3),
    last_sync: ago(2),
    queue_length: 4,
    process_id: 77,
    ...more,
  };
}

const EVIL = 'p\u001b[2Jwn \u202eevil\u202c 📷\nsecond line';

const PLANS: Plans = {
  schedules: [
    schedule('nightly'),
    schedule('on-plug', {
      target: 'music 東京',
      trigger: 'on-connect',
      expression: '10s',
      next_run: null,
      due: ago(60),
      waiting: "The drive 'ROVER' is not connected.",
      eject: 'both',
      verify: true,
    }),
    schedule('weekly', { expression: '0 18 * * SUN', enabled: false, next_run: null, last_status: 'failed' }),
    schedule('hourly', { trigger: 'interval', expression: '1h', next_run: ago(-0.5), last_status: 'running' }),
    schedule('x', {
      target: EVIL,
      expression: '0 0 L * 1#2',
      zone: 'Europe/Berlin',
      next_run: null,
      last_status: null,
    }),
  ],
  watchers: [
    watcher('Archive'),
    watcher('work', { status: 'paused', paused: true, queue_length: 0 }),
    watcher(EVIL, { status: 'stopped', process_id: null, message: EVIL, last_event: null }),
  ],
  daemon: daemon({
    running: true,
    answers: true,
    process_id: 77,
    started: ago(600),
    watchers: { enabled: 3, running: 2 },
    schedules: { enabled: 4, running: 1 },
  }),
  coming: [
    { schedule_id: 'hourly', target: 'Archive', at: ago(-0.5), often: true },
    { schedule_id: 'nightly', target: 'Archive', at: ago(-627), often: false },
    { schedule_id: 'nightly', target: 'Archive', at: ago(-627 - 1440), often: false },
  ],
  installed: false,
  targets: ['Archive', 'music 東京'],
};

const IDLE: Plans = { ...PLANS, daemon: daemon() };

async function withPlans(
  options: BoardOptions,
  work: (board: Board) => Promise<void>,
  plans: Plans | undefined = PLANS,
): Promise<void> {
  const board = await openBoard(options);
  try {
    board.give('running', []);
    if (plans) board.give('schedules', plans);
    await board.press('5');
    await work(board);
  } finally {
    board.close();
  }
}

const shown = async (board: Board): Promise<string> => (await board.lines()).join('\n');

for (const [name, options] of [
  ['schedules-120x35', {}],
  ['schedules-80x24', { width: 80, height: 24 }],
  ['schedules-ascii', { width: 80, height: 24, theme: { colours: 16, unicode: false } }],
] as const)
  test(`${name} is what it was`, () => withPlans(options, async (board) => matchesGolden(name, await board.lines())));

test('NEXT and LAST are sorted by time: what runs and what is owed first, what is off last', () =>
  withPlans({}, async (board) => {
    const day = schedule('daily', { next_run: ago(-9 * 60) });
    const names = async (): Promise<string> =>
      (await board.lines())
        .slice(3, 10)
        .flatMap((line) => /nightly|on-plug|weekly|hourly|daily/.exec(line) ?? [])
        .join(' ');
    board.give('schedules', {
      ...PLANS,
      schedules: [...PLANS.schedules.filter(({ schedule_id }) => schedule_id !== 'x'), day],
    });
    await board.press('o', 'o', 'o', 'o', 'o', 'o', 'o', 'o', 'o', 'o', 'o');
    assert.match((await board.lines()).join('\n'), 'NEXT↑');
    assert.is(await names(), 'hourly on-plug daily nightly weekly');
    await board.press('o');
    assert.is(await names(), 'weekly nightly daily on-plug hourly');
  }));

test('mono says every state without a colour', () =>
  withPlans({ theme: { colours: 'mono', unicode: true } }, async (board) => {
    const text = await shown(board);
    for (const state of [
      '● Real-Time Sync: Active',
      '○ paused',
      '! waits for the daemon',
      '○ waiting for drive',
      '◐ running',
    ])
      assert.match(text, state);
    const looks = (await board.lines()).flatMap((line, y) => [...line].map((_, x) => board.look(x, y)));
    assert.not.ok(looks.some((look) => look.includes('fg') || look.includes('bg')));
  }));

test('Real-Time Sync: Active is green', () =>
  withPlans({}, async (board) => {
    const y = (await board.lines()).findIndex((line) => line.includes('● Real-Time'));
    const x = (await board.lines())[y]?.indexOf('Real-Time') ?? 0;
    assert.ok(board.look(x, y).includes('fg'));
  }));

test('no name from outside sends a sequence, or shifts a border', () =>
  withPlans({}, async (board) => {
    for (const line of (await board.lines()).slice(2, -1)) assert.match(line.trimEnd(), /^[┌│└].*[┐│┘]$/u);
    assert.not.match(board.raw(), '\u001b[2Jwn');
    assert.not.match(board.raw(), '\u202e');
    assert.match(await shown(board), 'p␛[2Jwn');
  }));

test('Space, s and D say their words; u takes them back; D asks first', () =>
  withPlans({}, async (board) => {
    await board.press(' ');
    board.finish({ style: 'good', text: 'done', lines: [] });
    await board.press('u', 's', 'j', 'j', ' ');
    assert.equal(board.started, [
      'schedule pause nightly',
      'schedule resume nightly',
      'schedule now nightly',
      'schedule resume weekly',
    ]);
    await board.press('D');
    assert.match(await shown(board), 'Remove the schedule weekly?');
    await board.press('\r');
    assert.is(board.started.length, 4);
    await board.press('D', 'y');
    board.finish({ style: 'good', text: 'done', lines: [] });
    await board.press('u');
    assert.equal(board.started.slice(4), [
      'schedule remove weekly',
      'schedule add weekly id-archive --cron=0 18 * * SUN --job sync --missed run --paused',
    ]);
  }));

test('watchers are paused, taken off and given another debounce', () =>
  withPlans({}, async (board) => {
    await board.press('\t', ' ', 'j', ' ', 'k', 'D', 'y', 'e', '1', '.', '5', '\x13');
    assert.equal(board.started, [
      'watch pause watch-Archive',
      'watch resume watch-work',
      'watch disable watch-Archive',
      'watch enable id-Archive --debounce=1.5',
    ]);
    board.finish({ style: 'good', text: 'done', lines: [] });
    await board.press('e', '9', '9', '\x13');
    assert.match(await shown(board), 'Seconds from 0.1 to 60, not 99.');
    assert.is(board.started.length, 4);
  }));

test('the form of a schedule shows the next runs, and what is wrong, while one types', () =>
  withPlans({}, async (board) => {
    board.give('preview', { times: [ago(-720)], error: null }, 'preset', 'daily', '');
    await board.press('n', 'w', 'o', 'r', 'k');
    const at = new Date(NOW.getTime() + 720 * 60_000);
    assert.match(await shown(board), `${['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'][at.getDay()]} 2026-11-21`);
    await board.press('\t', '\t', '\t', '\t', ' ', ' ', '\t', '\x15', '9');
    board.give('preview', { times: [], error: "The cron expression '9' cannot be read." }, 'cron', '9', '');
    assert.match(await shown(board), "The cron expression '9' cannot be read.");
    await board.press('\x13');
    assert.equal(board.started, []);
    await board.press('\x15', '0 9 * * MON', '\x13');
    board.give('preview', { times: [], error: null }, 'cron', '0 9 * * MON', '');
    assert.equal(board.started, ['schedule add work Archive --cron=0 9 * * MON --job sync --missed run']);
  }));

test('plugging in has settle and eject; a preset has neither; a change keeps what it does not name', () =>
  withPlans({}, async (board) => {
    await board.press('j', 'e');
    const form = await shown(board);
    for (const text of ['Settle', 'Eject', '< both >', '< on connect >']) assert.match(form, text);
    assert.not.match(form, 'Zone');
    await board.press('\x13');
    assert.equal(board.started, [
      'schedule add on-plug id-archive --on-connect --settle=10s --job sync --verify --eject=both --missed run --replace',
    ]);
  }));

test('the daemon is started after a word on logins, and stopped after a question', () =>
  withPlans(
    {},
    async (board) => {
      assert.match(
        await shown(board),
        '! No daemon runs: nothing carries out 4 schedules and 3 watchers. d starts it.',
      );
      await board.press('d');
      assert.match(await shown(board), 'tandem daemon install --write');
      await board.press('\r');
      board.give('schedules', PLANS);
      assert.match(await shown(board), '● The daemon runs since');
      await board.press('d', 'y');
      assert.equal(board.started, ['daemon run --quiet', 'daemon stop']);
    },
    IDLE,
  ));

test('--read-only starts and changes nothing', () =>
  withPlans({ readOnly: true }, async (board) => {
    await board.press(' ', 'n', 'e', 'D', 's', 'd', '\t', ' ', 'D');
    assert.equal([...board.started, ...board.asked], []);
    assert.match(await shown(board), '--read-only');
    await board.press('\r');
    assert.match(await shown(board), 'Real-Time Sync: Active');
  }));

test('nothing at all says what to do next, and a trouble is told', () =>
  withPlans(
    { width: 80, height: 24 },
    async (board) => {
      for (const text of ['No schedule yet. n makes one', 'Nothing is watched. Tab, then n', 'Nothing is to run by'])
        assert.match(await shown(board), text);
      board.fail('schedules', 'The database is locked.');
      assert.match(await shown(board), 'The database is locked.');
    },
    { ...PLANS, schedules: [], watchers: [], coming: [] },
  ));

test('a click chooses a row and its panel, on a title it sorts', () =>
  withPlans({}, async (board) => {
    await board.press('\x1b[<0;10;7M');
    await board.press(' ');
    assert.equal(board.started, ['schedule resume weekly']);
    const y = (await board.lines()).findIndex((line) => line.includes('TARGET   ') && line.includes('QUEUE'));
    await board.press(`\x1b[<0;10;${y + 3}M`, ' ');
    assert.equal(board.started.slice(1), ['watch resume watch-work']);
    await board.press('\x1b[<0;11;4M');
    assert.match(await shown(board), 'NAME↑');
  }));

test('times in plain words', () => {
  const words = (expression: string, trigger: Schedule['trigger'] = 'cron'): string =>
    whenWords({ trigger, expression, zone: '' });
  const cases: [string, string][] = [
    ['0 1 * * *', 'every day 01:00'],
    ['30 6,18 * * *', 'every day 06:30, 18:30'],
    ['0 9 * * MON', 'Mon 09:00'],
    ['0 18 * * 7', 'Sun 18:00'],
    ['0 18 * * mon-fri', 'Mon–Fri 18:00'],
    ['0 0 1 * *', 'day 1 of the month 00:00'],
    ['0 0 L * *', 'last of the month 00:00'],
    ['*/15 * * * *', 'every 15 min'],
    ['0 */4 * * *', 'every 4 h'],
    ['0 0 1 1 *', '0 0 1 1 *'],
    ['0 9 * * MON#1', '0 9 * * MON#1'],
    ['10 0 9 * * *', '10 0 9 * * *'],
  ];
  for (const [expression, expected] of cases) assert.is(words(expression), expected);
  assert.is(words('90m', 'interval'), 'every 90 min');
  assert.is(words('1d', 'interval'), 'every day');
});

test('words that make a schedule again make the same one, in its place or anew', () =>
  withPair({ master: { 'Wedding/a': 'a' } }, async ({ ctx, box }) => {
    const whens: [Trigger, Partial<NewSchedule>][] = [
      [cron('0 9 * * MON#1', 'Europe/Berlin'), { job: 'verify', sample: 10, missed: 'skip' }],
      [
        { kind: 'on-connect', settle: 90 },
        { verify: true, eject: 'both', path: 'Wedding' },
      ],
      [every(1800), { paused: true }],
    ];
    for (const [index, [when, more]] of whens.entries())
      await addSchedule({ schedule_id: `s${index}`, target: 'Archive', when, ...more }, ctx);
    const definitions = async (): Promise<object[]> =>
      (await listSchedules(ctx))
        .map((one) => ({ ...one, created: '', next_run: one.next_run === null }))
        .sort((a, b) => (a.schedule_id < b.schedule_id ? -1 : 1));
    const before = await definitions();
    for (const one of await listSchedules(ctx)) {
      if (one.schedule_id === 's1') await removeSchedule('s1', ctx);
      const { code, stderr } = await box.run(scheduleWords(one, one.schedule_id !== 's1'));
      assert.is(code, 0, stderr);
    }
    assert.equal(await definitions(), before);
  }));

test('a change keeps what is owed unless its times change; what is not there cannot be replaced', () =>
  onStage(async ({ add, one, clock, ctx }) => {
    await add('a', every(3600));
    await noteOwed('a', ctx);
    const { due } = await one('a');
    assert.ok(due);
    clock.now += 60_000;
    await addSchedule({ schedule_id: 'a', target: 'Archive', when: every(3600), missed: 'skip' }, ctx, true);
    assert.equal([(await one('a')).due, (await one('a')).missed], [due, 'skip']);
    await addSchedule({ schedule_id: 'a', target: 'Archive', when: every(7200) }, ctx, true);
    assert.is((await one('a')).due, null);
    assert.is((await one('a')).next_run, new Date(clock.now + 2 * HOUR).toISOString());
    let refused = '';
    await addSchedule({ schedule_id: 'b', target: 'Archive', when: every(60) }, ctx, true).catch((error: Error) => {
      refused = error.message;
    });
    assert.match(refused, "No schedule is called 'b'");
  }));

test('the runs of the next days are in order, and what comes often stands there once', () =>
  onStage(async ({ add, clock, ctx }) => {
    await add('night', cron('0 2 * * *'));
    await add('often', every(900));
    await add('off', cron('0 3 * * *'), { paused: true });
    await add('plug', { kind: 'on-connect', settle: 5 });
    const runs = await upcomingRuns(7, ctx);
    assert.equal(
      runs.map(({ schedule_id, often }) => [schedule_id, often]),
      [['often', true], ...Array.from({ length: 7 }, () => ['night', false])],
    );
    assert.ok(runs.every(({ at }) => Date.parse(at) <= clock.now + 7 * DAY));
  }));

test('the reader answers with what is on this computer, and with previews', () =>
  withPair({}, async (pair) => {
    await addSchedule({ schedule_id: 'a', target: 'Archive', when: every(3600) }, pair.ctx);
    const memory = { ctx: pair.ctx, seen: [], rates: new Map(), news: () => {} };
    const plans = await scheduleReads.schedules.read([], memory);
    assert.equal(plans.targets, ['Archive']);
    assert.is(plans.schedules[0]?.schedule_id, 'a');
    assert.is(plans.daemon.running, false);
    const preview = (...args: string[]) => scheduleReads.preview.read(args, memory);
    assert.is((await preview('cron', '0 2 * * *', 'Europe/Berlin')).times.length, 5);
    assert.is((await preview('every', '30m', '')).times.length, 5);
    assert.is((await preview('preset', 'weekly', '')).error, null);
    for (const wrong of [
      ['cron', '61 * * * *', ''],
      ['cron', '0 2 * * *', 'Moon/Base'],
      ['every', 'soon', ''],
      ['every', '', ''],
    ])
      assert.type((await preview(...wrong)).error, 'string', wrong.join());
  }));

test('a journey: a schedule is made, the daemon is started, a change arrives by itself, and it is stopped', () =>
  withPair({ master: { 'a.txt': 'one' } }, async (pair) => {
    await pair.sync();
    const tmux = openTmux(120, 35, { TANDEM_CONFIG: pair.box.config, TANDEM_DATA: pair.box.data });
    try {
      tmux.keys(TANDEM, 'Enter');
      await tmux.shows('in step');
      tmux.keys('5');
      await tmux.shows('No schedule yet');
      tmux.keys('n');
      await tmux.shows('Next runs');
      tmux.keys('nightly', 'C-s');
      await tmux.shows('every day 02:00');
      assert.is((await listSchedules(pair.ctx))[0]?.schedule_id, 'nightly');
      tmux.keys('Tab', 'n');
      await tmux.shows('New watcher');
      tmux.keys('C-s');
      await tmux.shows('waits for the daemon');
      tmux.keys('d');
      await tmux.shows('Start the daemon?');
      tmux.keys('s');
      await tmux.shows('● The daemon runs');
      await tmux.shows('● Real-Time Sync: Active');
      writeFileSync(join(pair.master, 'new.txt'), 'new');
      tmux.keys('7');
      await tmux.shows(/files_copied=1/);
      tmux.keys('5', 'd');
      await tmux.shows('Stop the daemon?');
      tmux.keys('y');
      await tmux.shows('! No daemon runs');
      tmux.keys('q');
    } finally {
      await pair.box.run(['daemon', 'stop']);
      tmux.close();
      await nobodyIn(pair.box.data);
    }
  }));

test.run();
