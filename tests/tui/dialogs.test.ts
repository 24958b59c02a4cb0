/** Questions, forms and texts as data: what closes them, what they hand back, and that no secret is shown. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Canvas } from '../../tui/canvas.ts';
import { ask, confirmLoss, type Form, type FormValues, fill, pick, tell } from '../../tui/dialogs.ts';
import type { InputEvent } from '../../tui/input.ts';
import { bindingFor, EVERYWHERE, footerHints, keyName, MOVE_KEYS } from '../../tui/keymap.ts';
import { matches, splitWords } from '../../tui/palette.ts';
import type { Effect, Overlay, View } from '../../tui/screen.ts';
import { SCREENS } from '../../tui/screens/index.ts';
import { NOW, THEME } from '../helpers/board.ts';

const test = suite('dialogs');

const view: View = { state: undefined, now: NOW, theme: THEME, frame: 0, readOnly: false, read: () => ({}) };

/** Presses keys, or pastes what begins with `paste:`; returns what is left and what came out. */
function play(overlay: Overlay, keys: readonly string[]): { overlay: Overlay | null; effects: readonly Effect[] } {
  let now: { overlay: Overlay | null; effects?: readonly Effect[] } = { overlay };
  for (const name of keys) {
    const event: InputEvent = name.startsWith('paste:')
      ? { kind: 'paste', text: name.slice(6) }
      : { kind: 'key', name, text: name.length === 1 ? name : name === 'space' ? ' ' : '' };
    assert.ok(now.overlay, `closed before ${name}`);
    now = now.overlay.input(event, view);
  }
  return { overlay: now.overlay, effects: now.effects ?? [] };
}

function shown(overlay: Overlay | null, width = 80, height = 22): string {
  const canvas = new Canvas(width, height, THEME);
  overlay?.draw(canvas, view);
  return canvas.lines().join('\n');
}

const quit: Effect = { kind: 'quit' };

test('a question about a loss names it, and takes neither Enter nor Esc for a yes', () => {
  const question = confirmLoss(
    'Delete the group Archive?',
    ['The pair is forgotten; no file is deleted.'],
    'Yes, delete',
    [quit],
  );
  assert.match(shown(question), '! Delete the group Archive?');
  assert.match(shown(question), 'The pair is forgotten');
  assert.equal(play(question, ['enter']).effects, []);
  assert.equal(play(question, ['esc']), { overlay: null, effects: [] });
  assert.equal(play(question, ['y']), { overlay: null, effects: [quit] });
  assert.equal(play(question, ['down', 'enter']), { overlay: null, effects: [quit] });
  assert.ok(play(question, ['x', 'k', 'k']).overlay);
});

test('one of many is taken by Enter or by a click, and none by Esc', () => {
  const options = Array.from({ length: 40 }, (_, index) => ({
    text: `run ${index} \x1b[31m`,
    help: 'ended',
    effects: [{ kind: 'go' as const, screen: String(index) }],
  }));
  const list = pick('Which run', options);
  assert.match(shown(list), 'run 0 ␛[31m');
  assert.equal(play(list, ['j', 'j', 'k', 'enter']).effects, [{ kind: 'go', screen: '1' }]);
  assert.equal(play(list, ['G', 'enter']).effects, [{ kind: 'go', screen: '39' }]);
  assert.equal(play(list, ['pgdn', 'g', 'enter']).effects, [{ kind: 'go', screen: '0' }]);
  assert.equal(play(list, ['esc']), { overlay: null, effects: [] });
  const lines = shown(list).split('\n');
  const y = lines.findIndex((line) => line.includes('run 3 '));
  const click = { kind: 'mouse', action: 'click', x: lines[y]?.indexOf('run 3') ?? 0, y: y + 1 } as const;
  assert.equal(list.input(click, view), { overlay: null, effects: [{ kind: 'go', screen: '3' }] });
  assert.ok(list.input({ ...click, x: 0 }, view).overlay);
});

test('a long question stays inside a small terminal', () => {
  const question = ask({
    title: 'x'.repeat(200),
    lines: ['word '.repeat(300)],
    choices: [{ key: 'a', label: 'A', effects: [] }],
  });
  for (const line of shown(question, 80, 22).split('\n')) assert.is([...line].length, 80);
});

function form(save: (values: FormValues) => readonly Effect[]): Form {
  return {
    title: 'Group',
    fields: [
      { name: 'name', label: 'Name', type: 'text', value: 'Archive' },
      { name: 'password', label: 'Password', type: 'text', value: '', secret: true },
      {
        name: 'verify',
        label: 'Verify',
        type: 'choice',
        value: 'size',
        choices: ['size', 'checksum'],
        help: 'After each copy',
      },
      { name: 'compress', label: 'Compress', type: 'toggle', value: false },
    ],
    check: ({ name }): Readonly<Record<string, string>> => (name === '' ? { name: 'It needs a name.' } : {}),
    save,
  };
}

test('a form is filled with keys and pastes, and hands its values back', () => {
  let saved: FormValues = {};
  const one = fill(
    form((values) => {
      saved = values;
      return [quit];
    }),
  );
  const keys = [
    'home',
    'M',
    'y',
    'space',
    'end',
    'backspace',
    'tab',
    'paste:s3cret\n',
    'tab',
    'space',
    'tab',
    'space',
    'C-s',
  ];
  assert.equal(play(one, keys), { overlay: null, effects: [quit] });
  assert.equal(saved, { name: 'My Archiv', password: 's3cret ', verify: 'checksum', compress: true });
});

test('a secret is never drawn, and what is wrong keeps the form open at its field', () => {
  const one = fill(form(() => [quit]));
  const typed = play(one, ['tab', 's', 'e', 'c', 'r', 'e', 't']).overlay;
  assert.match(shown(typed), '••••••');
  assert.not.match(shown(typed), 'secret');
  const refused = play(one, ['C-u', 'C-s']);
  assert.equal(refused.effects, []);
  assert.match(shown(refused.overlay), 'It needs a name.');
  assert.match(shown(play(one, ['tab', 'tab']).overlay), 'After each copy');
  assert.equal(play(one, ['x', 'esc']), { overlay: null, effects: [] });
});

test('a text scrolls to its ends and no further', () => {
  const text = tell(
    'Log',
    Array.from({ length: 100 }, (_, index) => `line ${index}`),
  );
  shown(text);
  assert.match(shown(text), 'line 0 ');
  const end = play(text, ['G']).overlay;
  assert.match(shown(end), 'line 99');
  assert.match(shown(play(end as Overlay, ['g']).overlay), 'line 0 ');
  assert.is(play(text, ['q']).overlay, null);
});

test('words are split as a shell does, and the palette finds verbs by any of their words', () => {
  assert.equal(splitWords(`sync run "My Group" --path 'a b' c\\ d x"y z"`), [
    'sync',
    'run',
    'My Group',
    '--path',
    'a b',
    'c d',
    'xy z',
  ]);
  assert.equal(splitWords('  '), []);
  assert.equal(splitWords('open "never closed'), ['open', 'never closed']);
  const entries = [
    { words: 'sync run', takes: '', summary: 'bring the Backup into step' },
    { words: 'sync', takes: '', summary: 'x' },
    { words: 'history list', takes: '', summary: 'Operations' },
  ];
  const found = (text: string): string[] => matches(text, entries).map(({ words }) => words);
  assert.equal(found('sync run Archive --dry-run'), ['sync run', 'sync']);
  assert.equal(found('backup'), ['sync run']);
  assert.equal(found('tandem hist'), ['history list']);
  assert.equal(found('nothing'), []);
});

test('no key means two things on a screen, and each has a sentence in the help', () => {
  for (const screen of SCREENS) {
    const names = screen.keys.flatMap(({ keys }) => keys);
    assert.is(new Set(names).size, names.length, screen.name);
    for (const binding of [...screen.keys, ...EVERYWHERE, ...MOVE_KEYS]) {
      assert.ok(binding.help.length > 3 && keyName(binding) !== '', binding.action);
    }
    for (const { hotkey } of SCREENS) assert.not.ok(names.includes(hotkey), `${screen.name} ${hotkey}`);
    assert.is(new Set(SCREENS.map(({ hotkey }) => hotkey)).size, SCREENS.length);
  }
  assert.is(bindingFor('C-c', [])?.action, 'quit');
});

test('the footer fits, and keeps what matters everywhere', () => {
  const keys = SCREENS[0]?.keys ?? [];
  for (const width of [30, 60, 78, 118]) {
    const hints = footerHints(keys as never, { ...view, state: SCREENS[0]?.start as never }, width);
    const length = hints.reduce((sum, [key, label]) => sum + key.length + label.length + 3, 0);
    assert.ok(length <= width || hints.length === 1, `${length} in ${width}`);
    if (width >= 60) assert.ok(hints.some(([key]) => key === 'q') && hints.some(([key]) => key === '?'));
  }
});

test.run();
