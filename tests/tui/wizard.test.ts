/** The wizard that makes a group, the first run, and the dialog of a drive; once on real folders in a terminal. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkNewGroup } from '../../features/wizard.ts';
import { createContext } from '../../shared/context.ts';
import { spawnDetached } from '../../shared/detach.ts';
import { Canvas } from '../../tui/canvas.ts';
import type { InputEvent } from '../../tui/input.ts';
import { type PairingFacts, PLACE_READS } from '../../tui/reads/places.ts';
import type { Overlay, View } from '../../tui/screen.ts';
import { places } from '../../tui/screens/places.ts';
import { driveDialog } from '../../tui/screens/places-drive.ts';
import { keyOf, want } from '../../tui/wants.ts';
import {
  type Board,
  type BoardOptions,
  drive,
  group,
  matchesGolden,
  NOW,
  openBoard,
  overview,
  running,
  THEME,
} from '../helpers/board.ts';
import { sandbox } from '../helpers/cli.ts';
import { nobodyIn, openTmux, quit, TANDEM } from '../helpers/tmux.ts';

const test = suite('wizard');

const DRIVES = overview({
  drives: [
    drive('ATLAS-A', { group_id: 'id-photos', role: 'master' }),
    drive('NEW-M'),
    drive('NEW-B', { total_size: 1e12 }),
  ],
});
const [M, B] = ['/media/NEW-M', '/media/NEW-B'];
const FINE: PairingFacts = {
  master: null,
  backup: null,
  pair: null,
  name: null,
  warnings: [],
  refused: { '/media/ATLAS-A': "Drive already assigned to another group: 'ATLAS-A' is the Master of 'photos'." },
};

async function withWizard(options: BoardOptions, work: (board: Board) => Promise<void>): Promise<void> {
  const board = await openBoard({ screens: [places], ...options });
  try {
    board.give('status', DRIVES);
    board.give('running', []);
    board.give('projects', []);
    board.give('options', await PLACE_READS.options.read());
    for (const [master, backup] of [
      ['', ''],
      [M, ''],
      [M, B],
    ] as const)
      board.give('pairing', FINE, master, backup, '');
    board.give('pairing', { ...FINE, warnings: ['The Backup (1 TB) is smaller than the Master.'] }, M, B, 'Client');
    await board.lines();
    await work(board);
  } finally {
    board.close();
  }
}

const shows = async (board: Board): Promise<string> => (await board.lines()).join('\n');
const esc = async (board: Board): Promise<void> => {
  await board.press('\x1b');
  await new Promise((done) => setTimeout(done, 80));
};

for (const [name, options] of [
  ['wizard-120x35', {}],
  ['wizard-80x24', { width: 80, height: 24 }],
  ['wizard-ascii', { width: 80, height: 24, theme: { colours: 'mono', unicode: false } }],
] as const satisfies readonly (readonly [string, BoardOptions])[]) {
  test(`${name} is what it was`, () => withWizard(options, async (board) => matchesGolden(name, await board.lines())));
}

test('without a group it opens once by itself; Esc leaves it, n brings it back', () =>
  withWizard({}, async (board) => {
    assert.match(await shows(board), 'step 1 of 5');
    await esc(board);
    assert.not.match(await shows(board), 'step 1 of 5');
    board.give('status', { ...DRIVES });
    assert.not.match(await shows(board), 'step 1 of 5');
    await board.press('n');
    assert.match(await shows(board), 'step 1 of 5');
  }));

test('it does not open with a group, with --read-only, or before anything is known', async () => {
  for (const [readOnly, status] of [
    [false, overview({ groups: [group('photos', 'A', 'B')] })],
    [true, DRIVES],
    [false, undefined],
  ] as const) {
    const board = await openBoard({ screens: [places], readOnly });
    try {
      if (status) board.give('status', status);
      assert.not.match(await shows(board), 'step 1 of 5');
    } finally {
      board.close();
    }
  }
});

test('Master, Backup, name, preset: one command each, and then the question about the first sync', () =>
  withWizard({}, async (board) => {
    await board.press('\r');
    assert.match(await shows(board), 'already assigned to another group');
    await board.press('j', '\r');
    assert.match(await shows(board), '[2 Backup]');
    await board.press('\r');
    assert.match(await shows(board), '[3 Name]');
    await board.press('Client', '\r', 'Weddings', '\r');
    await board.press('j', 'j', '\r');
    const summary = await shows(board);
    for (const text of ['NEW-M at /media/NEW-M', 'Client', 'Weddings', 'hdd', '! The Backup (1 TB) is smaller'])
      assert.match(summary, text);
    await board.press('\r', '\r');
    assert.equal(board.started, [`groups create Client --master=${M} --backup=${B} --description=Weddings --json`]);
    board.finish({ style: 'good', text: 'done', lines: ['{', '  "id": "uuid-1",', '}'] });
    await board.lines();
    assert.is(board.started[1], 'groups set uuid-1 --preset hdd');
    board.finish({ style: 'good', text: 'done', lines: [] });
    assert.match(await shows(board), 'The group Client is made');
    await board.press('d');
    assert.is(board.started[2], 'sync run uuid-1 --dry-run');
  }));

test('every step is passed over and taken back; what is missing keeps it from being made', () =>
  withWizard({}, async (board) => {
    await board.press('\t', '\t', '\t', '\t', '\t');
    const shown = await shows(board);
    assert.match(shown, '[5 Create]');
    for (const text of ['No Master is chosen', 'No Backup is chosen', 'name of a group cannot be empty'])
      assert.match(shown, text);
    await board.press('\r');
    assert.equal(board.started, []);
    await board.press('\x1b[Z', '\x1b[Z', 'Client', '\x1b[Z', '\x1b[Z');
    assert.match(await shows(board), '[1 Master]');
    await board.press('j', '\r', '\t');
    assert.match(await shows(board), '[ Client');
  }));

test('when creating fails it is there again, with the answers and the reason', () =>
  withWizard({}, async (board) => {
    await board.press('j', '\r', '\r', 'Client', '\r', '\r', '\r', '\r');
    board.finish({ style: 'bad', text: 'new group Client: the drive is gone', hint: 'Plug it in.', lines: [] });
    await esc(board);
    const shown = await shows(board);
    assert.match(shown, '✗ new group Client: the drive is gone Plug it in.');
    assert.match(shown, 'NEW-M at /media/NEW-M');
  }));

test('with no drive it says what to plug in, and what is plugged in appears; one that goes is missed', () =>
  withWizard({ width: 80, height: 24 }, async (board) => {
    board.give('status', overview());
    assert.match(await shows(board), 'No drive is connected. Plug in both drives');
    board.give('status', DRIVES);
    await board.press('j', '\r');
    board.give('status', overview({ drives: [drive('NEW-B')] }));
    board.give('pairing', FINE, M, '', '');
    assert.match(await shows(board), 'Plug in the second drive');
    await board.press('\t', '\t', '\t');
    assert.match(await shows(board), 'is not connected any more');
  }));

test('a click chooses a drive, pasted text presses no key, hostile labels break nothing', () =>
  withWizard({ width: 80, height: 24 }, async (board) => {
    const name = `\x1b[2J\u202e\n${'📷長'.repeat(60)}`;
    board.give('status', overview({ drives: [drive(name, { mount_path: M }), drive('NEW-B')] }));
    const lines = await board.lines();
    assert.ok(
      lines.every((line) => !line.startsWith('┌│') || line.endsWith('│┐')),
      lines.join('\n'),
    );
    await board.press('\x1b[200~\r\t\x1b[201~');
    assert.match(await shows(board), '[1 Master]');
    const y = lines.findIndex((line) => line.includes('NEW-B'));
    await board.press(`\x1b[<0;20;${y + 1}M`);
    assert.match(await shows(board), '[2 Backup]');
  }));

// --- the dialog of a drive ---

const away = { ...group('x', 'x', 'ROVER').backup_drive, connected: false, mount_path: null };
const STATUS = overview({
  ...DRIVES,
  groups: [group('photos', 'ATLAS-A', 'ATLAS-B'), group('music', 'ATLAS-A', 'ROVER', { backup_drive: away })],
});

function viewOf(more: Partial<View> = {}, runs: unknown[] = []): View {
  const traits = {
    case_sensitive: false,
    symlinks: false,
    hard_links: false,
    permissions: false,
    xattrs: false,
    stable_ids: false,
  };
  const answers = new Map<string, unknown>([
    [keyOf(want('status')), { value: STATUS }],
    [keyOf(want('running')), { value: runs }],
    [keyOf(want('traits', '/media/ATLAS-A', 'exfat')), { value: { traits, probed: true } }],
  ]);
  const read = (name: Parameters<typeof want>[0], ...args: string[]) => answers.get(keyOf(want(name, ...args))) ?? {};
  return { state: undefined, now: NOW, theme: THEME, frame: 0, readOnly: false, read: read as View['read'], ...more };
}

function drawn(overlay: Overlay, view: View): string {
  const canvas = new Canvas(80, 22, THEME);
  overlay.draw(canvas, view);
  return canvas.lines().join('\n');
}

function press(overlay: Overlay, key: string, view: View): ReturnType<Overlay['input']> {
  const event: InputEvent = { kind: 'key', name: key, text: key };
  return overlay.input(event, view);
}

test('the dialog of a drive tells whose it is and what it can, and what cannot be done says why', () => {
  const view = viewOf();
  const dialog = driveDialog({ label: 'ATLAS-A', drive: STATUS.drives[0] });
  const shown = drawn(dialog, view);
  for (const text of [
    'M  Master',
    'photos',
    'ATLAS-B (connected)',
    'Both Connected ✓',
    'Real-Time Sync: off',
    'SN-ATLAS-A',
    'files and folders only',
  ])
    assert.match(shown, text);
  assert.match(shown, 'only a virtual drive is removed');
  assert.equal(press(dialog, 'g', view).effects, [{ kind: 'go', screen: 'places', pick: 'id-photos' }]);
  const [eject] = press(dialog, 'e', view).effects ?? [];
  assert.equal(eject?.kind === 'command' && eject.words, ['detect', 'eject', '/media/ATLAS-A']);
  const [asked] = press(dialog, 'e', viewOf({}, [running('photos')])).effects ?? [];
  assert.is(asked?.kind, 'overlay');
  const frozen = press(dialog, 'e', viewOf({ readOnly: true }));
  assert.ok(frozen.overlay);
  assert.match(JSON.stringify(frozen.effects), '--read-only');
  assert.match(drawn(driveDialog({ label: 'ROVER' }), view), /B {2}Backup[\s\S]*not connected/);
  const folder = { ...(STATUS.drives[1] as ReturnType<typeof drive>), virtual: true };
  const other = viewOf({
    read: ((name: string) => (name === 'status' ? { value: overview({ drives: [folder] }) } : {})) as View['read'],
  });
  const [confirm] = press(driveDialog({ label: 'NEW-M', drive: folder }), 'x', other).effects ?? [];
  const sure = confirm?.kind === 'overlay' ? press(confirm.overlay, 'y', other).effects?.[0] : undefined;
  assert.equal(sure?.kind === 'command' && sure.words, ['detect', 'remove', '/media/NEW-M', '--yes']);
});

// --- with real processes ---

test('what the reader tells of a pair is what the feature tells, and nothing is written', async () => {
  const box = sandbox();
  const ctx = createContext({ configDir: box.config, dataDir: box.data });
  try {
    const facts = await PLACE_READS.pairing.read([box.master, box.backup, 'New'], { ctx });
    const { refused, ...check } = facts;
    assert.equal(refused, {});
    assert.equal(check.master, null);
    assert.ok(check.warnings.length >= 0);
    assert.equal((await checkNewGroup({ name: '' }, ctx)).name?.message, 'The name of a group cannot be empty.');
    assert.equal(readdirSync(box.master), []);
    assert.equal(readdirSync(box.config), ['app.yaml']);
    await PLACE_READS.folders.read([box.master, '..'], { ctx }).then(
      () => assert.unreachable(),
      (error: Error) => assert.match(error.message, 'not a path inside a drive'),
    );
  } finally {
    await ctx.close();
    box.cleanup();
  }
});

/** Text of every file below. */
function everything(folder: string): string {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile())
    .map((path) => readFileSync(path, 'latin1'))
    .join('\n');
}

test('a command that is given a secret leaves what it printed in no file', async () => {
  const box = sandbox();
  try {
    await box.run(['groups', 'create', 'Archive', '--master', 'MASTER', '--backup', 'BACKUP']);
    const folders = { configDir: box.config, dataDir: box.data };
    const words = ['encrypt', 'init', 'Archive', '--password-file=-', '--json'];
    const command = spawnDetached(words, folders, { keepOutput: true, input: 'correct horse\n' });
    assert.is(await command.ended, 0, command.complaint());
    const { recovery_key: paper } = JSON.parse(command.printed()) as { recovery_key: string };
    assert.is(paper.split(' ').length, 4);
    for (const folder of [box.config, box.data, box.master, box.backup]) {
      const text = everything(folder);
      for (const secret of [paper.slice(0, 17), 'correct horse']) assert.not.ok(text.includes(secret), folder);
    }
    command.release();
    assert.is(command.printed(), '');
  } finally {
    box.cleanup();
  }
});

test('first run on two folders: the wizard makes the group, a form is refused and mended, a project is made', async () => {
  const box = sandbox();
  const tmux = openTmux(80, 24, { TANDEM_CONFIG: box.config, TANDEM_DATA: box.data });
  try {
    writeFileSync(join(box.master, 'a.txt'), '1');
    tmux.keys(`${TANDEM}; echo "code $?"`, 'Enter');
    await tmux.shows('step 1 of 5');
    await tmux.shows('● free');
    tmux.keys('Enter');
    await tmux.shows('[2 Backup]');
    tmux.keys('Enter');
    await tmux.shows('[3 Name]');
    tmux.keys('-l', 'Archive');
    tmux.keys('Enter', 'Enter');
    await tmux.shows('[4 Preset]');
    tmux.keys('Enter');
    await tmux.shows('Enter makes the group');
    tmux.keys('Enter');
    await tmux.shows('The group Archive is made');
    tmux.keys('s', '6');
    await tmux.shows('today');
    assert.ok(existsSync(join(box.backup, 'a.txt')));
    tmux.keys('e');
    await tmux.shows('[ Archive');
    tmux.keys('-l', ' 2');
    tmux.keys('C-s');
    await tmux.shows('Archive 2');
    await tmux.shows(/q quit/);
    tmux.keys('Tab', 'n');
    await tmux.shows('New project');
    tmux.keys('-l', 'Wedding');
    tmux.keys('Tab', 'Tab', 'Tab');
    tmux.keys('-l', '../out');
    tmux.keys('C-s');
    await tmux.shows('not a path inside a drive');
    tmux.keys('Escape');
    await tmux.shows(/^((?! · Esc).)*$/s);
    tmux.keys('C-u');
    tmux.keys('-l', 'Wedding');
    tmux.keys('C-s');
    await tmux.shows(/Wedding +Both Connected/);
    assert.ok(existsSync(join(box.master, 'Wedding')));
    await quit(tmux);
  } finally {
    tmux.close();
    await nobodyIn(box.data);
    box.cleanup();
  }
});

test.run();
