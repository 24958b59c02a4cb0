/** Groups and projects as a terminal shows them, and the commands that their keys and forms start. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { OPTION_GROUPS } from '../../shared/option-notes.ts';
import { OPTIONS } from '../../shared/options.ts';
import type { Outcome } from '../../tui/actions.ts';
import { PLACE_READS } from '../../tui/reads/places.ts';
import type { ReadResult } from '../../tui/reads.ts';
import { places } from '../../tui/screens/places.ts';
import {
  ago,
  type Board,
  type BoardOptions,
  drive,
  group,
  matchesGolden,
  openBoard,
  overview,
  running,
} from '../helpers/board.ts';

const test = suite('places');

type Project = ReadResult<'projects'>[number];

const STATUS = overview({
  drives: [
    drive('ATLAS-A', { group_id: 'id-photos', role: 'master' }),
    drive('ATLAS-B', { group_id: 'id-photos', role: 'backup' }),
    drive('SPARE', { virtual: true }),
  ],
  groups: [
    group('photos', 'ATLAS-A', 'ATLAS-B', { description: 'Weddings', created: ago(600), modified: ago(600) }),
    group('music', 'ATLAS-A', 'ROVER', {
      status: 'partial',
      days_since_last_success: 9,
      backup_drive: { ...group('x', 'x', 'ROVER').backup_drive, connected: false, mount_path: null },
    }),
  ],
});

function project(name: string, more: Partial<Project> = {}): Project {
  return {
    id: `id-${name}`,
    name,
    path: `Projects/${name}`,
    description: '',
    created_at: ago(5000),
    modified: ago(5000),
    options: {},
    status: 'connected',
    parts: [{ role: null, group_id: 'id-photos', group_name: 'photos', path: `Projects/${name}`, status: 'connected' }],
    ...more,
  };
}

const PROJECTS = [project('Wedding'), project('Notes', { status: 'folder', parts: [], path: '/home/ada/Notes' })];
const USES = { projects: ['Wedding'], schedules: ['nightly'], watchers: ['photos'] };
const PROJECT_OPTIONS = Object.entries(OPTIONS).map(([key, { fallback }]) => ({
  key,
  value: key === 'mhl' ? 'true' : String(fallback),
  source: key === 'mhl' ? 'project' : 'default',
  below: key === 'mhl' ? 'group: false' : `default: ${fallback}`,
}));

async function withPlaces(options: BoardOptions, work: (board: Board) => Promise<void>): Promise<void> {
  const board = await openBoard({ screens: [places], ...options });
  try {
    board.give('status', STATUS);
    board.give('running', []);
    board.give('projects', PROJECTS);
    board.give('options', await PLACE_READS.options.read());
    board.give('group', { set: { verify_checksums: 'size' }, uses: USES }, 'id-photos');
    board.give('group', { set: {}, uses: { projects: [], schedules: [], watchers: [] } }, 'id-music');
    board.give('project', [{ role: '', options: PROJECT_OPTIONS }], 'id-Wedding');
    await board.lines();
    await work(board);
  } finally {
    board.close();
  }
}

const esc = async (board: Board): Promise<void> => {
  await board.press('\x1b');
  await new Promise((done) => setTimeout(done, 80));
  await board.lines();
};
const screenText = async (board: Board): Promise<string> => (await board.lines()).join('\n');
const done: Outcome = { style: 'good', text: 'done', lines: [] };
const CTRL_S = '\x13';

const SIZES: readonly (readonly [name: string, options: BoardOptions])[] = [
  ['places-120x35', {}],
  ['places-80x24', { width: 80, height: 24 }],
  ['places-ascii', { width: 80, height: 24, theme: { colours: 'mono', unicode: false } }],
];

for (const [name, options] of SIZES) {
  test(`${name} is what it was`, () => withPlaces(options, async (board) => matchesGolden(name, await board.lines())));
}

test('the form of options is what it was at 80x24', () =>
  withPlaces({ width: 80, height: 24 }, async (board) => {
    await board.press('p');
    matchesGolden('places-options', await board.lines());
  }));

test('keys start commands in words of the command line', () =>
  withPlaces({}, async (board) => {
    await board.press('s', 'd', 'v');
    assert.equal(board.started, ['sync run id-photos', 'sync run id-photos --dry-run', 'verify run id-photos']);
    await board.press('j', 's');
    assert.match(await screenText(board), 's sync: a drive of it is not connected');
    await board.press('\t', 's', 'O', 't');
    assert.equal(board.started.slice(3), [
      'sync run id-Wedding',
      'projects open id-Wedding --no-backup',
      'report project id-Wedding',
    ]);
    await board.press('w');
    assert.match(await screenText(board), 'w swap: it is for groups');
    board.finish({ style: 'good', text: 'done', lines: ['what was printed \x1b[31m'] });
    assert.match(await screenText(board), 'what was printed ␛[31m');
  }));

test('deleting a group names what used it, and No is chosen first', () =>
  withPlaces({}, async (board) => {
    await board.press('D');
    const shown = await screenText(board);
    for (const text of ['removes the relationship, never a file', 'Wedding', 'nightly', 'Watchers that will not run'])
      assert.match(shown, text);
    await board.press('\r');
    assert.equal(board.started, []);
    await board.press('D', 'y');
    assert.equal(board.started, ['groups delete id-photos --yes']);
  }));

test('a name is edited, taken back with u, and a form whose command fails is there again with the reason', () =>
  withPlaces({}, async (board) => {
    await board.press('e', '2', CTRL_S);
    assert.equal(board.started, ['groups edit id-photos --name=photos2']);
    assert.match(await screenText(board), 'edit of photos …');
    board.finish({ style: 'bad', text: 'edit of photos: the name is taken', hint: 'Choose another.', lines: [] });
    const shown = await screenText(board);
    assert.match(shown, 'the name is taken Choose another.');
    assert.match(shown, '[ photos2');
    await esc(board);
    assert.match(await screenText(board), '[ photos2');
    await board.press('3', CTRL_S);
    board.finish(done);
    assert.not.match(await screenText(board), '[ photos23');
    await board.press('u');
    assert.equal(board.started.slice(1), [
      'groups edit id-photos --name=photos23',
      'groups edit id-photos --name=photos',
    ]);
  }));

test('options: what differs is set, what was emptied is reset, presets go before, u takes all of it back', () =>
  withPlaces({}, async (board) => {
    await board.press('p', ' ');
    const shown = await screenText(board);
    assert.match(shown, 'Preset ssd: enable_parallel_copy=true');
    for (const { title } of OPTION_GROUPS.slice(0, 4)) assert.match(shown, title);
    const keys = OPTION_GROUPS.flatMap(({ notes }) => Object.keys(notes));
    const to = (key: string, from: string): string[] =>
      Array.from({ length: keys.indexOf(key) - keys.indexOf(from) }, () => '\t');
    await board.press(
      '\t',
      ...to('filters.exclude', 'incremental'),
      '*.tmp',
      ...to('verify_checksums', 'filters.exclude'),
    );
    assert.match(await screenText(board), '< size  · set >');
    await board.press('\x1b[D', '\x1b[D', CTRL_S);
    assert.equal(board.started, ['groups set id-photos --preset ssd filters.exclude=*.tmp verify_checksums=']);
    board.finish(done);
    await board.press('u');
    assert.equal(board.started.slice(1), [
      'groups set id-photos enable_parallel_copy= max_parallel_files= incremental= filters.exclude= verify_checksums=size',
    ]);
  }));

test("the feature's own message stands at the field before anything is saved", () =>
  withPlaces({}, async (board) => {
    const keys = OPTION_GROUPS.flatMap(({ notes }) => Object.keys(notes));
    await board.press('p', ...Array.from({ length: keys.indexOf('bandwidth_limit_mbps') + 1 }, () => '\t'), '0');
    const message = "The option 'bandwidth_limit_mbps' must be a number of megabytes per second";
    board.give(
      'option-problems',
      { bandwidth_limit_mbps: message },
      'group',
      'id-photos',
      '',
      'bandwidth_limit_mbps=0',
    );
    assert.match(await screenText(board), message);
    await board.press(CTRL_S);
    assert.equal(board.started, []);
    assert.match(await screenText(board), 'Options of photos');
  }));

test('a project has no options of its pair, and shows where each value comes from', () =>
  withPlaces({}, async (board) => {
    await board.press('\t', 'p');
    const shown = await screenText(board);
    assert.not.match(shown, 'enable_compression');
    assert.match(shown, 'default: ask');
    await esc(board);
    assert.match(await screenText(board), 'mhl = true (project)');
  }));

test('a new project, with a folder chosen on the drive', () =>
  withPlaces({}, async (board) => {
    await board.press('\t', 'n', 'Film', '\t', '\t', '\t', '\x0f');
    board.give('folders', { names: ['Projects', 'x\x1b[31m\u202e💾'], more: false }, '/media/ATLAS-A', '');
    assert.match(await screenText(board), 'x␛[31m�◇');
    board.give('folders', { names: ['Film'], more: false }, '/media/ATLAS-A', 'Projects');
    await board.press('\r', '\r', CTRL_S);
    assert.match(await screenText(board), '[ Projects/Film');
    await board.press(CTRL_S);
    assert.equal(board.started, ['projects create Film --path=Projects/Film --group=id-photos']);
    board.finish(done);
    await board.press('n', '--yes');
    assert.match(await screenText(board), 'would be taken for an option');
  }));

test('drives: replaced, exchanged, adopted', () =>
  withPlaces({}, async (board) => {
    await board.press('R');
    assert.match(await screenText(board), 'ATLAS-B is no drive of photos after that');
    await board.press(CTRL_S);
    board.finish(done);
    await board.press('w', 'y', 'A', CTRL_S);
    assert.equal(board.started, [
      'groups replace id-photos --backup=/media/SPARE --yes',
      'groups swap id-photos --yes',
      'groups adopt',
    ]);
  }));

test('the dialogs of drives are reached from their group', () =>
  withPlaces({}, async (board) => {
    await board.press('i');
    const shown = await screenText(board);
    for (const text of ['m  ATLAS-A', 'b  ATLAS-B', '1  SPARE']) assert.match(shown, text);
    await board.press('1', 'x', 'y');
    assert.equal(board.started, ['detect remove /media/SPARE --yes']);
    board.finish(done);
    await board.press('i', 'a', '/mnt/nas', '\t', 'NAS', CTRL_S);
    assert.is(board.started[1], 'detect add /mnt/nas --label=NAS');
    board.finish(done);
    await board.press('u', 'i', 'm', 'g');
    assert.is(board.started[2], 'detect remove /mnt/nas');
    assert.match(await screenText(board), '▸ photos');
  }));

test('ejecting asks while something runs, and offers to stop it', () =>
  withPlaces({}, async (board) => {
    board.give('running', [running('photos')]);
    await board.lines();
    await board.press('x', 'm');
    assert.match(await screenText(board), 'The sync of photos is running on it');
    await board.press('x');
    assert.equal([board.started, board.asked], [[], ['control uuid-photos cancel']]);
    board.give('running', []);
    await board.lines();
    await board.press('x', 'a');
    assert.equal(board.started, ['detect eject /media/ATLAS-A', 'detect eject /media/ATLAS-B']);
  }));

const RING = {
  group_id: 'id-photos',
  name: 'photos',
  enable_encryption: false,
  key_id: null,
  slots: [],
  copies: [{ where: 'master' as const, state: 'none' as const, key_id: null, problem: null }],
  storage: null,
  agree: false,
};
const PAPER = ['AAAAA-BBBBB-CCCCC', 'DDDDD-EEEEE-FFFFF', 'GGGGG-HHHHH-JJJJJ', 'KKKKK-MMMMM-NNNNN'];

test('a password is typed two times, goes to stdin, and the recovery key is shown until a yes, and nowhere after', () =>
  withPlaces({}, async (board) => {
    board.give('keyring', RING, 'id-photos');
    await board.press('c', 'i', '\t', 's3cret word', '\t', 's3cret', CTRL_S);
    assert.match(await screenText(board), 'The two passwords differ.');
    assert.equal(board.started, []);
    await board.press(' word', CTRL_S);
    assert.equal(board.started, ['encrypt init id-photos --password-file=- --json']);
    assert.equal(board.secrets[0]?.stdin, 's3cret word\n');
    assert.not.match(await screenText(board), 's3cret');
    const printed = JSON.stringify({ key_id: 'ab', recovery_key: PAPER.join(' ') }, null, 2);
    board.finish({ style: 'good', text: 'key of photos: done', lines: printed.split('\n') });
    await board.press('\x1b', '\r', 'q', '\x03');
    await new Promise((after) => setTimeout(after, 80));
    const shown = await screenText(board);
    for (const line of PAPER) assert.match(shown, line);
    await board.press('y');
    const later = await screenText(board);
    assert.not.match(later, PAPER[0] ?? '');
    assert.match(later, 'Seal the Backup of photos from now on?');
    await board.press('y');
    assert.is(board.started.at(-1), 'groups set id-photos enable_encryption=true');
    board.finish(done);
    await board.press('u');
    assert.is(board.started.at(-1), 'groups set id-photos enable_encryption=false');
    await board.press('?');
    for (const line of PAPER) assert.not.match(await screenText(board), line);
  }));

test('two secrets go through one stdin; a slot is removed only after a question', () =>
  withPlaces({}, async (board) => {
    const slot = { slot: 1, id: 'aabbccdd', kind: 'password' as const, label: 'mine', created: ago(100) };
    board.give('keyring', { ...RING, key_id: 'k'.repeat(32), slots: [slot] }, 'id-photos');
    await board.press('c', 'p', '\t', 'old', '\t', '\t', '\t', 'new', '\t', 'new', CTRL_S);
    assert.equal(board.started, [
      'encrypt password id-photos --change=aabbccdd --password-file=- --new-password-file=- --json',
    ]);
    assert.is(board.secrets[0]?.stdin, 'old\nnew\n');
    board.finish({ style: 'bad', text: 'key of photos: it does not open', lines: [] });
    assert.match(await screenText(board), 'it does not open');
    await esc(board);
    await esc(board);
    await board.press('c', 'x', '\t', 'old', CTRL_S);
    assert.is(board.started.length, 1);
    await board.press('y');
    assert.is(board.started[1], 'encrypt password id-photos --remove=aabbccdd --yes --password-file=- --json');
    assert.is(board.secrets[1]?.stdin, 'old\n');
  }));

test('the password of a sealed group is asked for before a run, and is no word of it', () =>
  withPlaces({}, async (board) => {
    board.give('status', { ...STATUS, sealed: ['id-photos'] });
    await board.lines();
    await board.press('s');
    assert.match(await screenText(board), 'The Backup of photos is sealed.');
    await board.press('pw', CTRL_S);
    assert.equal([board.started, board.secrets[0]?.password], [['sync run id-photos'], 'pw']);
    assert.not.match(await screenText(board), 'is sealed');
    board.finish(done);
    board.give('status', STATUS);
    await board.lines();
    await board.press('s');
    assert.equal([board.started.length, board.secrets[1]?.password], [2, undefined]);
  }));

test('with --read-only nothing is changed, and looking goes on', () =>
  withPlaces({ readOnly: true }, async (board) => {
    await board.press('s', 'e', 'p', 'n', 'D', 'w', 'x', 'A', '\r', 's', '\x1b');
    await new Promise((after) => setTimeout(after, 80));
    assert.equal([...board.started, ...board.asked], []);
    assert.match(await screenText(board), 'with --read-only');
    await board.press('d');
    assert.equal(board.started, ['sync run id-photos --dry-run']);
  }));

test('a click selects, a second one opens the menu, and a click there chooses', () =>
  withPlaces({}, async (board) => {
    const y = (await board.lines()).findIndex((line) => line.includes('music'));
    await board.press(`\x1b[<0;10;${y + 1}M`);
    assert.match((await board.lines())[y] ?? '', '▸ music');
    await board.press(`\x1b[<0;10;${y + 1}M`);
    const menu = await board.lines();
    const row = menu.findIndex((line) => line.includes('d  dry run'));
    assert.ok(row > 0);
    const edit = menu.findIndex((line) => line.includes('e  edit'));
    await board.press(`\x1b[<0;40;${edit + 1}M`);
    assert.match(await screenText(board), 'Group music');
  }));

test('hostile names break no border, and 100,000 projects are a list like any other', () =>
  withPlaces({ width: 80, height: 24 }, async (board) => {
    const name = `\x1b[2J\n\u202e${'長い📷'.repeat(40)}`;
    board.give('status', { ...STATUS, groups: [group(name, name, name, { id: 'id-photos', description: name })] });
    board.give(
      'projects',
      Array.from({ length: 100_000 }, (_, index) => project(`${name}${index}`, { id: `p${index}`, description: name })),
    );
    const widths = (await board.lines()).filter((line) => /^[┌│└]/.test(line));
    assert.ok(
      widths.every((line) => /[┐│┘]$/.test(line)),
      widths.join('\n'),
    );
    await board.press('\r');
    await esc(board);
    await board.press('D');
    assert.not.match(await screenText(board), '\x1b');
    await board.press('n', '\t', 'G');
    assert.match(await screenText(board), '100,000');
  }));

test('without groups and projects it says what to do next; what the reader cannot tell is said', () =>
  withPlaces({}, async (board) => {
    board.give('status', overview());
    board.give('projects', []);
    const shown = await screenText(board);
    assert.match(shown, 'No group yet. Connect two drives and press n');
    assert.match(shown, 'No project yet.');
    board.fail('projects', 'The file projects.yaml cannot be read.');
    assert.match(await screenText(board), 'The file projects.yaml cannot be read.');
  }));

test.run();
