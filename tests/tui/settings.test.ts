/** Settings as a form: what is changed waits, marked; what is saved is one command; addresses are handed over on stdin. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkSettings } from '../../features/settings.ts';
import { type Context, createContext } from '../../shared/context.ts';
import { PLAIN_LOOK } from '../../shared/settings.ts';
import { settingReads } from '../../tui/reads/settings.ts';
import type { Memory } from '../../tui/reads.ts';
import { themeFor } from '../../tui/theme.ts';
import { type Board, type BoardOptions, matchesGolden, openBoard } from '../helpers/board.ts';
import { sandbox } from '../helpers/cli.ts';
import { withPair } from '../helpers/pair.ts';
import { nobodyIn, openTmux, quit, TANDEM } from '../helpers/tmux.ts';

const test = suite('settings screen');

const EVIL = 'g\u001b[31m\u202eruops 📷';

const FILE = `drives:
  virtual:
    - path: /mnt/nas
      label: NAS
log:
  level: warn
notify:
  channels:
    - name: desk
      type: desktop
      events: [failed, overdue]
      groups: [${JSON.stringify(EVIL)}]
    - name: phone
      type: webhook
      style: ntfy
      url: https://ntfy.example/t0pic
`;

interface Opened {
  board: Board;
  ctx: Context;
  file: string;
  /** Answers as the reader would, with the file as it is now. */
  refresh(): Promise<void>;
  /** What is wrong with these changes, answered as the reader would. */
  answer(changes: Record<string, string | null>): void;
}

async function withSettings(
  options: BoardOptions,
  work: (opened: Opened) => Promise<void>,
  text = FILE,
): Promise<void> {
  const box = sandbox();
  const file = join(box.config, 'app.yaml');
  writeFileSync(file, text);
  const ctx = createContext({ configDir: box.config, dataDir: box.data });
  const memory: Memory = { ctx, seen: [], rates: new Map(), news: () => {} };
  const board = await openBoard(options);
  const refresh = async (): Promise<void> => {
    const view = await settingReads.settings.read([], memory);
    board.give('settings', { ...view, path: '~/.config/tandem/app.yaml' });
    await board.lines();
  };
  try {
    board.give('running', []);
    await refresh();
    await board.press('8');
    await work({
      board,
      ctx,
      file,
      refresh,
      answer: (changes) => board.give('mistakes', checkSettings(changes, ctx), JSON.stringify(changes)),
    });
  } finally {
    board.close();
    await ctx.close();
    box.cleanup();
  }
}

const shown = async (board: Board): Promise<string> => (await board.lines()).join('\n');

/** Moves to the line that shows this. */
async function goTo(board: Board, text: string): Promise<void> {
  await board.press('g');
  for (let times = 0; times < 40; times += 1) {
    if ((await board.lines()).some((line) => line.includes('▸') && line.includes(text))) return;
    await board.press('j');
  }
  throw new Error(`There is no line ${text}:\n${await shown(board)}`);
}

for (const [name, options] of [
  ['settings-120x35', {}],
  ['settings-80x24', { width: 80, height: 24 }],
  ['settings-mono', { width: 80, height: 24, theme: { colours: 'mono', unicode: false } }],
] as const)
  test(`${name} is what it was`, () =>
    withSettings(options, async ({ board }) => matchesGolden(name, await board.lines())));

test('changes are marked and saved by one command, and u takes them back', () =>
  withSettings({}, async ({ board, file, refresh }) => {
    await goTo(board, 'level');
    await board.press(' ');
    await goTo(board, 'mouse');
    await board.press('\r');
    await goTo(board, 'keep days');
    await board.press('\r', '\x15', '365', '\r');
    const text = await shown(board);
    assert.match(text, '* 3 unsaved');
    assert.match(text, /level +< error > +\* unsaved/);
    await board.press('\x13');
    assert.equal(board.started, ['settings set log.level=error dashboard.mouse=false history.keep_days=365']);
    writeFileSync(file, `${FILE.replace('warn', 'error')}history: { keep_days: 365 }\ndashboard: { mouse: false }\n`);
    await refresh();
    board.finish({ style: 'good', text: '3 settings: done', lines: [] });
    assert.not.match(await shown(board), 'unsaved');
    await board.press('u');
    assert.equal(board.started.slice(1), [
      'settings set log.level=warn --unset=dashboard.mouse --unset=history.keep_days',
    ]);
  }));

test('a mistake is told while one types, and nothing is saved with it', () =>
  withSettings({}, async ({ board, answer }) => {
    await goTo(board, 'fps');
    await board.press('\r', '\x15', '99');
    answer({ 'dashboard.fps': '99' });
    assert.match(await shown(board), "dashboard.fps must be a whole number from 1 to 30; '99' is not.");
    await board.press('\r', 'g', '\x13');
    assert.equal(board.started, []);
    assert.match(await shown(board), 'Nothing was saved: dashboard.fps must be');
    assert.match(await shown(board), /▸ fps .*! wrong/);
    await board.press('D');
    assert.not.match(await shown(board), 'unsaved');
  }));

test('Esc leaves what is typed, and asks before it throws changes away; q asks as well', () =>
  withSettings({}, async ({ board }) => {
    const esc = async (): Promise<void> => {
      await board.press('\x1b');
      await new Promise((done) => setTimeout(done, 80));
    };
    await goTo(board, 'keep days');
    await board.press('\r', '7');
    await esc();
    assert.not.match(await shown(board), 'unsaved');
    await goTo(board, 'theme');
    await board.press('l');
    await esc();
    assert.match(await shown(board), 'Throw the changes away?');
    await board.press('n', '1', '8', 'q');
    assert.match(await shown(board), 'Unsaved settings: dashboard.theme.');
    await board.press('n');
    await esc();
    await board.press('y');
    assert.not.match(await shown(board), 'unsaved');
    await esc();
    assert.match(await shown(board), '[1 Home]');
  }));

test('a channel is tried, changed and taken out; what is not kept elsewhere is said', () =>
  withSettings({}, async ({ board, answer }) => {
    await goTo(board, 'desk');
    await board.press('t', '\r', '\t');
    assert.match(await shown(board), 'Channel desk');
    await board.press('\x15', 'failed', '\x13');
    board.finish({ style: 'good', text: 'done', lines: [] });
    answer({ 'notify.channels.desk.events': 'failed' });
    assert.equal(board.started, ['notify test desk', 'settings set notify.channels.desk.events=failed']);
    await board.press('D');
    assert.not.match(await shown(board), 'not kept anywhere else');
    await board.press('n');
    await goTo(board, 'phone');
    await board.press('D');
    assert.match(await shown(board), 'Its address is not kept anywhere else');
    await board.press('y');
    assert.is(board.started.at(-1), 'settings unset notify.channels.phone');
  }));

test('an address goes over stdin, and is neither shown nor a word', () =>
  withSettings({}, async ({ board }) => {
    await goTo(board, 'n  a new channel');
    await board.press('\r', 'pager', '\t', ' ', ' ', '\t', '\t', 'https://ntfy.example/s3cret');
    const form = await shown(board);
    assert.match(form, '••••');
    assert.not.match(board.raw(), 's3cret');
    await board.press('\x13');
    assert.equal(board.started, [
      'settings set notify.channels.pager.type=webhook notify.channels.pager.style=json notify.channels.pager.url=-',
    ]);
    assert.equal(board.handed, ['https://ntfy.example/s3cret']);
    assert.not.match(board.raw(), 't0pic');
  }));

test('a folder becomes a drive by the command that checks it, and is taken out again', () =>
  withSettings({}, async ({ board }) => {
    await goTo(board, 'n  take a folder');
    await board.press('n', 'relative', '\x13');
    assert.match(await shown(board), 'An absolute path begins with /.');
    await board.press('\x15', '/mnt/dock', '\t', 'Dock', '\x13');
    board.finish({ style: 'good', text: 'done', lines: [] });
    await goTo(board, 'NAS');
    await board.press('D', 'y');
    assert.equal(board.started, ['detect add /mnt/dock --label=Dock', 'settings unset drives.virtual.NAS']);
  }));

test('the mouse chooses a line, and a second click changes it', () =>
  withSettings({}, async ({ board }) => {
    const y = (await board.lines()).findIndex((line) => line.includes('mouse'));
    const click = `\x1b[<0;20;${y + 1}M`;
    await board.press(click);
    assert.match(await shown(board), '▸ mouse');
    await board.press(click);
    assert.match(await shown(board), /mouse +\[ \] +\* unsaved/);
  }));

test('--read-only changes nothing, names from outside stay harmless, a broken file is named', async () => {
  await withSettings({ readOnly: true }, async ({ board }) => {
    for (const line of ['theme', 'mouse', 'desk']) {
      await goTo(board, line);
      await board.press(' ', '\r', 'l', 'D', 't', 'n', '\x13');
    }
    assert.equal(board.started, []);
    assert.not.match(await shown(board), 'unsaved');
    assert.not.match(board.raw(), '\u001b[31m\u202e');
  });
  const board = await openBoard({ screens: (await import('../../tui/screens/index.ts')).SCREENS });
  try {
    board.fail('settings', 'app.yaml:3:1: log.levl: Unrecognized key.');
    await board.press('8');
    assert.match(await shown(board), 'app.yaml:3:1');
    assert.match(await shown(board), 'Mend the file');
  } finally {
    board.close();
  }
});

test('look and mouse of the dashboard change while it is open', async () => {
  const looks: string[] = [];
  const board = await openBoard({
    look: (settings) => {
      looks.push(settings.theme);
      return { theme: themeFor({ TERM: 'xterm-256color', LANG: 'C.UTF-8' }, settings), pace: 5, mouse: settings.mouse };
    },
  });
  try {
    board.give('running', []);
    await board.lines();
    board.give('look', { ...PLAIN_LOOK, icons: 'ascii', theme: 'mono', mouse: false });
    const text = await shown(board);
    assert.match(text, '+- ');
    assert.not.match(text, '┌');
    assert.match(board.raw(), '\u001b[?1000l');
    board.give('look', PLAIN_LOOK);
    assert.match(await shown(board), '┌');
    assert.equal(looks, ['mono', 'auto']);
  } finally {
    board.close();
  }
});

test('settings go before what the terminal says, but for NO_COLOR', () => {
  const env = { TERM: 'xterm-256color', LANG: 'C.UTF-8', COLORFGBG: '0;15' };
  const look = (more: Partial<typeof PLAIN_LOOK>) => themeFor(env, { ...PLAIN_LOOK, ...more });
  assert.equal(look({}), { colours: 256, unicode: true, light: true });
  assert.equal(look({ theme: 'dark', colours: 16, icons: 'ascii' }), { colours: 16, unicode: false });
  assert.equal(look({ theme: 'mono', colours: 256 }), { colours: 'mono', unicode: true });
  assert.equal(themeFor({ ...env, NO_COLOR: '1' }, { ...PLAIN_LOOK, colours: 256 }).colours, 'mono');
  assert.equal(themeFor({ TERM: 'vt220' }, { ...PLAIN_LOOK, colours: 8, theme: 'light' }), {
    colours: 8,
    unicode: false,
    light: true,
  });
});

test('a journey: a setting is changed in a terminal, the file keeps its comments, the look follows', () =>
  withPair({}, async ({ box }) => {
    const file = join(box.config, 'app.yaml');
    writeFileSync(file, `${readFileSync(file, 'utf8')}# for the old terminal\nlog:\n  level: warn # mine\n`);
    const tmux = openTmux(120, 35, { TANDEM_CONFIG: box.config, TANDEM_DATA: box.data });
    try {
      tmux.keys(`${TANDEM}; echo "code $?"`, 'Enter');
      await tmux.shows('never synced');
      tmux.keys('8');
      await tmux.shows('Dashboard');
      tmux.keys('G', 'k', 'k', 'Space', 'Space');
      await tmux.shows('< ascii >');
      tmux.keys('C-s');
      await tmux.shows('+- Settings');
      await quit(tmux);
    } finally {
      tmux.close();
      await nobodyIn(box.data);
    }
    const text = readFileSync(file, 'utf8');
    assert.match(text, /icons: "?ascii/);
    assert.match(text, '# for the old terminal\nlog:\n  level: warn # mine');
  }));

test.run();
