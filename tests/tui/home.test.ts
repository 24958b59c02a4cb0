/** Home as a terminal shows it, and what its keys do. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { FeedLine } from '../../tui/feed.ts';
import {
  ago,
  type Board,
  type BoardOptions,
  daemon,
  drive,
  group,
  matchesGolden,
  openBoard,
  overview,
  running,
} from '../helpers/board.ts';

const test = suite('home');

const FEED: FeedLine[] = [
  { time: ago(0), style: 'warn', sign: '!', subject: 'work', text: 'sync: nothing to do; 2 conflicts waiting' },
  { time: ago(2), style: 'plain', sign: '◐', subject: 'photos', text: 'sync started' },
  { time: ago(122), style: 'good', sign: '✓', subject: 'archive 東京', text: 'sync: 212 files copied, 8.10 GB' },
  { time: ago(320), style: 'dim', sign: '○', subject: 'ROVER', text: 'drive gone' },
  {
    time: ago(3000),
    style: 'bad',
    sign: '✗',
    subject: 'music',
    text: 'sync failed (the drive is full), 3 files failed',
  },
];

const STATUS = overview({
  drives: [
    drive('ATLAS-A', { group_id: 'id-photos', role: 'master' }),
    drive('ATLAS-B', { group_id: 'id-photos', role: 'backup', free_size: 398e9 }),
    drive('NEU 💾', { free_size: 1.9e12 }),
  ],
  groups: [
    group('photos', 'ATLAS-A', 'ATLAS-B'),
    group('work', 'ATLAS-A', 'ATLAS-B', { open_conflicts: 2 }),
    group('music', 'ATLAS-A', 'ROVER', {
      status: 'partial',
      days_since_last_success: 3,
      backup_drive: { ...group('x', 'x', 'ROVER').backup_drive, connected: false, mount_path: null },
    }),
  ],
  advice: [
    { style: 'warn', text: '2 conflicts wait in work, untouched on both drives: tandem conflicts list work' },
    { style: 'plain', text: "Backup of music is 3 days old: connect 'ROVER', then tandem sync run music" },
  ],
});

async function withHome(options: BoardOptions, work: (board: Board) => Promise<void>): Promise<void> {
  const board = await openBoard(options);
  try {
    board.give('status', STATUS);
    board.give('running', [running('photos')]);
    board.give('feed', FEED);
    await work(board);
  } finally {
    board.close();
  }
}

const SIZES: readonly (readonly [name: string, options: BoardOptions])[] = [
  ['home-120x35', {}],
  ['home-80x24', { width: 80, height: 24 }],
  ['home-ascii', { theme: { colours: 16, unicode: false } }],
  ['home-mono', { width: 80, height: 24, theme: { colours: 'mono', unicode: true } }],
];

for (const [name, options] of SIZES) {
  test(`${name} is what it was`, () => withHome(options, async (board) => matchesGolden(name, await board.lines())));
}

test('an idle dashboard sends nothing to the terminal', () =>
  withHome({}, async (board) => {
    await board.lines();
    const before = board.sent();
    board.give('feed', [...FEED]);
    board.give('status', { ...STATUS });
    await board.lines();
    assert.is(board.sent(), before);
  }));

test('mono uses no colour, and shows the selection all the same', () =>
  withHome({ theme: { colours: 'mono', unicode: true } }, async (board) => {
    const lines = await board.lines();
    const looks = lines.flatMap((line, y) => [...line].map((_, x) => board.look(x, y)));
    assert.not.ok(looks.some((look) => look.includes('fg') || look.includes('bg')));
    const y = lines.findIndex((line) => line.includes('▸ photos'));
    assert.equal(board.look(lines[y]?.indexOf('photos') ?? 0, y), ['inverse', 'bold']);
  }));

test('with colours the selected row has a ground, and only in the panel that has the keys', () =>
  withHome({}, async (board) => {
    const y = (await board.lines()).findIndex((line) => line.includes('▸ photos'));
    assert.ok(board.look(70, y).includes('bg'));
    assert.not.ok(board.look(10, y).includes('bg'));
    await board.press('\x1b[Z');
    await board.lines();
    assert.ok(board.look(10, y).includes('bg'));
    assert.not.ok(board.look(70, y).includes('bg'));
  }));

test('the size changes in both directions, and everything is there again', () =>
  withHome({}, async (board) => {
    const wide = await board.lines();
    await board.resize(80, 24);
    assert.match((await board.lines()).join('\n'), 'Drives & groups');
    await board.resize(60, 20);
    const small = (await board.lines()).join('\n');
    assert.match(small, 'tandem needs 80x24; this is 60x20.');
    assert.match(small, 'What runs goes on.');
    await board.resize(120, 35);
    assert.equal(await board.lines(), wide);
  }));

test('s syncs the selected group, and says why it cannot', () =>
  withHome({}, async (board) => {
    await board.press('s');
    assert.equal(board.started, []);
    assert.match((await board.lines()).join('\n'), '! s sync: it is running');
    await board.press('j', 's');
    assert.equal(board.started, ['sync run id-work']);
    board.finish({ style: 'bad', text: 'sync of work: the drive is full', lines: [] });
    assert.match((await board.lines()).join('\n'), '✗ sync of work: the drive is full  · Esc');
    await board.press('\x1b');
    await new Promise((done) => setTimeout(done, 80));
    assert.not.match((await board.lines()).join('\n'), 'the drive is full  · Esc');
  }));

test('x asks, names what is lost, and No is chosen first', () =>
  withHome({}, async (board) => {
    await board.press('x');
    const shown = (await board.lines()).join('\n');
    assert.match(shown, '4,318 files will not be copied now');
    await board.press('\r');
    assert.equal(board.asked, []);
    await board.press('x', 'y');
    assert.equal(board.asked, ['control uuid-photos cancel']);
  }));

test('p pauses what runs and lets it go on', () =>
  withHome({}, async (board) => {
    await board.press('p');
    board.give('running', [running('photos', { control: 'pause' })]);
    await board.press('p');
    assert.equal(board.asked, ['control uuid-photos pause', 'control uuid-photos ']);
  }));

test('with --read-only no key changes anything', () =>
  withHome({ readOnly: true }, async (board) => {
    await board.press('j', 's', 'S', 'p', 'x', 'u');
    assert.equal([...board.started, ...board.asked], []);
    assert.match((await board.lines()).join('\n'), 'the dashboard was started with --read-only');
  }));

test('Enter on a drive tells its group, the paired drive, the status and the free space, and leads to the group', () =>
  withHome({}, async (board) => {
    await board.press('\x1b[Z', '\r');
    const shown = (await board.lines()).join('\n');
    assert.match(shown, /Group {7}photos/);
    assert.match(shown, /Paired {6}ATLAS-B \(connected\)/);
    assert.match(shown, 'Both Connected ✓');
    assert.match(shown, 'Real-Time Sync: off');
    assert.match(shown, 'Free        412 GB of 2.00 TB');
    await board.press('g');
    assert.match((await board.lines()).join('\n'), '[6 Groups]');
  }));

test('a daemon that is missed is told of, also while something runs, and not where nothing waits for it', () =>
  withHome({}, async (board) => {
    const told = async (more: Parameters<typeof daemon>[0]): Promise<string> => {
      board.give('status', { ...STATUS, daemon: daemon(more) });
      return (await board.lines()).join('\n');
    };
    const owed = { schedules: { enabled: 2, running: 0 } };
    assert.match(await told(owed), '! the daemon is not running: 5, then d');
    board.give('running', []);
    const words = 'The daemon is not running: nothing carries out schedules and watchers. 5, then d starts it.';
    assert.match(await told(owed), words);
    assert.match(await told({ watchers: { enabled: 1, running: 0 } }), words);
    for (const fine of [{}, { ...owed, running: true }, { watchers: { enabled: 1, running: 1 } }])
      assert.not.match(await told(fine), 'The daemon is not running');
  }));

test('the password of a sealed group is asked for before a sync or a plan, and is no word of it', () =>
  withHome({}, async (board) => {
    board.give('running', []);
    board.give('plans', '/data/plans');
    board.give('status', { ...STATUS, sealed: ['id-photos', 'id-music'] });
    await board.lines();
    for (const key of ['s', 'S', 'P']) {
      await board.press('1', key);
      assert.match((await board.lines()).join('\n'), 'The Backup of photos is sealed.', key);
      await board.press('pw', '\x13');
      board.finish({ style: 'good', text: 'done', lines: [] });
      assert.not.match((await board.lines()).join('\n'), 'is sealed');
    }
    assert.equal(board.started.slice(0, 2), ['sync run id-photos', 'sync run --all']);
    assert.match(board.started[2] ?? '', 'sync plan id-photos --out /data/plans/id-photos-');
    assert.equal(
      board.secrets.map(({ password }) => password),
      ['pw', 'pw', 'pw'],
    );
    await board.press('1', 'j', 's');
    assert.is(board.started[3], 'sync run id-work');
  }));

test('P plans a sync of the selected group, and shows the plan', () =>
  withHome({}, async (board) => {
    board.give('plans', '/data/plans');
    await board.press('j', 'P');
    assert.equal(board.asked, ['plan-begin']);
    assert.match(board.started.join('\n'), /^sync plan id-work --out \/data\/plans\/id-work-\d+\.json$/);
    const shown = (await board.lines()).join('\n');
    assert.match(shown, '[2 Run]');
    assert.match(shown, 'Comparing both drives of work …');
    await board.press('1', 'P');
    assert.match((await board.lines()).join('\n'), 'The plan of work is still being made.');
  }));

test('a filter is typed, shown, and taken away by Esc; a click selects, the wheel scrolls', () =>
  withHome({}, async (board) => {
    await board.press('/', 'm', 'u', 's', 'q');
    assert.match((await board.lines()).join('\n'), 'Nothing matches “musq”');
    await board.press('\x7f', '\r');
    const filtered = (await board.lines()).join('\n');
    assert.match(filtered, '1 of 3 · /mus');
    await board.press('\x1b');
    await new Promise((done) => setTimeout(done, 80));
    await board.press('\x1b[<0;70;5M', 's');
    assert.equal(board.started, ['sync run id-work'], 'the second row of the groups was clicked');
  }));

test('q asks while something runs: detach, stay, stop', () =>
  withHome({}, async (board) => {
    await board.press('q');
    assert.match((await board.lines()).join('\n'), 'Detach');
    await board.press('s');
    assert.not.match((await board.lines()).join('\n'), 'Detach');
    await board.press('\x03', 'x');
    assert.is(await board.app.ended, 'quit');
    assert.equal(board.asked, ['control uuid-photos cancel']);
  }));

test('over a question Ctrl-L redraws, and Ctrl-C only closes it', () =>
  withHome({}, async (board) => {
    await board.press('x');
    const asked = await board.lines();
    const before = board.sent();
    await board.press('\x0c');
    assert.equal(await board.lines(), asked);
    assert.ok(board.sent() - before > 3000, 'all of it was sent anew');
    await board.press('\x03');
    assert.not.match((await board.lines()).join('\n'), 'Yes, stop it');
    assert.equal(board.asked, []);
  }));

test('q leaves at once when nothing runs', () =>
  withHome({}, async (board) => {
    board.give('running', []);
    await board.lines();
    await board.press('q');
    assert.is(await board.app.ended, 'quit');
  }));

test('an error of the reader is a line, and what was known stays', () =>
  withHome({}, async (board) => {
    board.fail('feed', 'The database is locked.');
    board.fail('status', 'The settings cannot be read.');
    const shown = (await board.lines()).join('\n');
    assert.match(shown, 'ATLAS-A');
    board.give('status', overview());
    board.fail('status', 'The settings cannot be read.');
    assert.match((await board.lines()).join('\n'), 'The settings cannot be read.');
  }));

test('without drives and groups it says what to plug in and which key comes next', () =>
  withHome({}, async (board) => {
    // From here on the wizard does not open by itself any more.
    await board.lines();
    board.give('status', overview({ advice: [{ style: 'plain', text: 'No group yet: tandem groups create' }] }));
    board.give('running', []);
    board.give('feed', []);
    const shown = async (): Promise<string> => (await board.lines()).join('\n').replace(/[\s│▸]+/g, ' ');
    assert.match(await shown(), 'No drive is connected. Plug in');
    assert.match(await shown(), 'Plug in two drives, then press n');
    assert.match(await shown(), 'Nothing happened yet');
    board.give('status', overview({ drives: [drive('A')] }));
    assert.match(await shown(), 'Plug in a second drive, then press n');
    board.give('status', overview({ drives: [drive('A'), drive('B')] }));
    assert.match(await shown(), 'No group yet. Press n');
    await board.press('a');
    assert.match(await shown(), 'Use a folder as a drive');
  }));

test('the palette runs a command and shows what it printed; pasted text presses no key', () =>
  withHome({}, async (board) => {
    board.give('commands', [
      { words: 'history list', takes: '', summary: 'Operations, newest first' },
      { words: 'sync run', takes: '<target>', summary: 'Sync' },
    ]);
    await board.press('\x1b[200~qx\rs\x1b[201~');
    assert.equal(board.started, []);
    await board.press(':', 'his', '\t', '\x1b[200~--limit\n3\x1b[201~', '\r');
    assert.equal(board.started, ['history list --limit 3']);
    board.finish({ style: 'good', text: 'done', lines: ['No.  Type', '  1  sync \x1b[31mred'] });
    const shown = (await board.lines()).join('\n');
    assert.match(shown, 'No.  Type');
    assert.match(shown, '␛[31mred');
  }));

test('the help lists every key once and is searched by typing', () =>
  withHome({}, async (board) => {
    board.give('running', []);
    await board.press('?');
    const all = (await board.lines()).join('\n');
    for (const text of ['MOVE', 'DO', 'EVERYWHERE', 'Ctrl-Z', '(not now:']) assert.match(all, text);
    await board.press('p', 'a', 'u', 's', 'e');
    const found = (await board.lines()).join('\n');
    assert.match(found, 'pause what runs');
    assert.not.match(found, 'Ctrl-Z');
  }));

test.run();
