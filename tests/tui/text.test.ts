/** Text from outside in cells: nothing can send a control sequence, shift a border, or take another width than it says. */
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { displayWidth } from '../../shared/format.ts';
import { PLAIN_LOOK } from '../../shared/settings.ts';
import { Canvas, drawBar, drawScrollbar, sparkline } from '../../tui/canvas.ts';
import { editLine, type Line, lineOf, visibleLine } from '../../tui/editor.ts';
import { cellsOf, clean, fit } from '../../tui/sanitize.ts';
import { attributeOf, type Theme, themeFor } from '../../tui/theme.ts';
import '../helpers/property.ts';

const test = suite('text');

const UTF8: Theme = { colours: 256, unicode: true };
const ASCII: Theme = { colours: 16, unicode: false };

/** Any text at all, rich in what breaks terminals. */
const nasty = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(
        '\x1b[31m',
        '\n',
        '\r',
        '\t',
        '\u009b2J',
        '\u202e',
        '\u200d',
        '👨‍👩‍👧',
        '🇳🇴',
        '1️⃣',
        '⚠️',
        '東京',
        'é',
        'e\u0301',
        '\u0301',
        'क्षि',
        '한',
        '한',
        '\ud800',
        '{bold}',
        '\u2028',
        '😀🏽',
      ),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(''));

const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u;

test('clean leaves nothing that a terminal obeys, and is the same a second time', () => {
  fc.assert(
    fc.property(nasty, (text) => {
      const safe = clean(text);
      assert.not.match(safe, UNSAFE);
      assert.not.match(safe, /\p{Emoji_Presentation}/u);
      assert.is(clean(safe), safe);
    }),
  );
});

test('known cases', () => {
  const cases: [string, string][] = [
    ['plain name.CR3', 'plain name.CR3'],
    ['a\x1b[2Jb', 'a␛[2Jb'],
    ['two\nlines', 'two␊lines'],
    ['evil\u202egpj.exe', 'evil�gpj.exe'],
    ['trip 📷 2026', 'trip ◇ 2026'],
    ['👨‍👩‍👧 family', '◇ family'],
    ['🇳🇴', '◇'],
    ['1️⃣', '◇'],
    ['Partial ⚠', 'Partial ⚠'],
    ['✓ ✗ ● ◐ ○ → ▸', '✓ ✗ ● ◐ ○ → ▸'],
    ['e\u0301', 'é'],
    ['\u0301x', '◌\u0301x'],
    ['z\u0301\u0302\u0303\u0304', 'ź\u0302\u0303'],
    ['한', '한'],
    ['東京', '東京'],
  ];
  for (const [from, to] of cases) assert.is(clean(from), to, JSON.stringify(from));
});

test('fit gives exactly the cells that were asked for', () => {
  const how = fc.record({
    cut: fc.constantFrom('end', 'middle'),
    align: fc.constantFrom('left', 'right'),
  }) as fc.Arbitrary<NonNullable<Parameters<typeof fit>[2]>>;
  fc.assert(
    fc.property(nasty, fc.integer({ min: 0, max: 40 }), how, (text, width, options) => {
      const fitted = fit(text, width, options);
      assert.is(displayWidth(fitted), width);
      assert.is(
        cellsOf(fitted).reduce((sum, cell) => sum + cell.width, 0),
        width,
      );
      assert.not.match(fitted, UNSAFE);
    }),
  );
});

test('a path keeps its name, a text its beginning', () => {
  assert.is(fit('video/2026/a very long folder/DSC_0001.MOV', 24, { cut: 'middle' }), 'video/2…der/DSC_0001.MOV');
  assert.is(fit('a long sentence', 8), 'a long …');
  assert.is(fit('東京東京', 6), '東京… ');
  assert.is(fit('7', 3, { align: 'right' }), '  7');
  assert.is(fit('ab', 1), '…');
});

test('whatever is put on a canvas, its lines have its width and its borders stand', () => {
  fc.assert(
    fc.property(nasty, nasty, fc.integer({ min: -5, max: 30 }), fc.boolean(), (one, other, x, unicode) => {
      const canvas = new Canvas(24, 4, unicode ? UTF8 : ASCII);
      const box = canvas.box({ title: one, right: other, focus: true });
      box.put(x, 0, one);
      box.put(x + 3, 0, other, 'good', true);
      box.area(3, 1, 5, 1).put(0, 0, one + other);
      for (const line of canvas.lines()) {
        assert.is(displayWidth(line), 24);
        if (!unicode) assert.match(line, /^[\x20-\x7e]*$/);
      }
      const side = unicode ? '│' : '|';
      for (const line of canvas.lines().slice(1, 3)) assert.equal([line[0], line.at(-1)], [side, side]);
    }),
  );
});

test('half of a wide letter never stays behind', () => {
  const canvas = new Canvas(6, 1, UTF8);
  canvas.put(0, 0, '東京東');
  canvas.put(1, 0, 'x');
  assert.equal(canvas.lines(), [' x京東']);
  canvas.put(2, 0, 'y');
  assert.equal(canvas.lines(), [' xy 東']);
  canvas.put(3, 0, '京');
  assert.equal(canvas.lines(), [' xy京 ']);
});

test('bars count in eighths, sparklines reach their highest value, scrollbars their ends', () => {
  const canvas = new Canvas(8, 5, UTF8);
  drawBar(canvas, 0, 0, 8, 0.5 + 1 / 64);
  drawBar(canvas, 0, 1, 8, 1);
  drawBar(canvas, 0, 2, 8, Number.NaN);
  assert.equal(canvas.lines().slice(0, 3), ['████▏░░░', '████████', '░░░░░░░░']);
  assert.is(sparkline([0, 5, 10], 8), '▁▄█');
  assert.is(sparkline([], 8), '');
  const column = (top: number): string => {
    const bar = new Canvas(1, 5, UTF8);
    drawScrollbar(bar, top, 50);
    return bar.lines().join('');
  };
  assert.is(column(0), '█││││');
  assert.is(column(45), '││││█');
});

test('NO_COLOR, TERM and locale decide; no theme lacks a tone', () => {
  const cases: [Record<string, string>, Theme][] = [
    [
      { TERM: 'xterm-256color', LANG: 'de_DE.UTF-8' },
      { colours: 256, unicode: true },
    ],
    [
      { TERM: 'tmux-256color', LC_ALL: 'C', LANG: 'C.UTF-8' },
      { colours: 256, unicode: false },
    ],
    [
      { TERM: 'screen', LANG: 'C.utf8' },
      { colours: 16, unicode: true },
    ],
    [{ TERM: 'linux' }, { colours: 8, unicode: false }],
    [
      { TERM: 'xterm-256color', NO_COLOR: '1' },
      { colours: 'mono', unicode: false },
    ],
    [
      { TERM: 'xterm-256color', NO_COLOR: '' },
      { colours: 256, unicode: false },
    ],
    [
      { TERM: 'xterm', COLORTERM: 'truecolor' },
      { colours: 256, unicode: false },
    ],
  ];
  for (const [env, theme] of cases) {
    assert.equal(themeFor(env, PLAIN_LOOK), theme);
    for (const selected of [true, false]) assert.type(attributeOf(theme, 'alarm', selected), 'number');
  }
});

test('the line editor keeps its cursor inside, and shows it', () => {
  const key = (name: string, text = ''): Parameters<typeof editLine>[1] => ({ kind: 'key', name, text });
  const moves = fc.constantFrom(
    ...['left', 'right', 'home', 'end', 'backspace', 'delete', 'C-u', 'C-k', 'C-w'].map((name) => key(name)),
    key('a', 'a'),
    key('京', '京'),
    { kind: 'paste' as const, text: 'x\ny 📷' },
  );
  fc.assert(
    fc.property(fc.array(moves, { maxLength: 40 }), fc.integer({ min: 2, max: 12 }), (events, width) => {
      const line = events.reduce<Line>((before, event) => editLine(before, event) ?? before, lineOf('start'));
      assert.ok(line.cursor >= 0 && line.cursor <= [...line.text].length);
      assert.not.match(line.text, UNSAFE);
      const { text, at } = visibleLine(line, width);
      assert.ok(displayWidth(text) <= width && at < width, `${JSON.stringify(line)} in ${width}`);
      assert.ok(!visibleLine(line, width, true).text.includes('a'));
    }),
  );
  assert.equal(editLine(lineOf('one two'), key('C-w')), lineOf('one '));
  assert.is(editLine(lineOf('x'), key('f5')), undefined);
});

test.run();
