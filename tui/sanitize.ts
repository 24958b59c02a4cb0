/**
 * Text from outside made fit for cells. Names of files, labels and messages may hold anything: control characters become
 * visible signs, what overrides the direction of writing becomes `�`, and every emoji becomes one `◇`, because no two
 * terminals agree on the width of an emoji and one cell too many breaks a border. After `clean`, `displayWidth` is exact.
 */
import { displayWidth } from '../shared/format.ts';
import { displayPath } from '../shared/paths.ts';

/** One line of text, safe for a terminal, whose width `displayWidth` tells. The same object again when nothing is to do. */
export function clean(text: string): string {
  if (PRINTABLE.test(text)) return text;
  const composed = text.normalize('NFC').replace(EMOJI, '◇').replace(SELECTORS, '');
  return displayPath(composed).replace(UNSTEADY, '\ufffd').replace(MARKS, boundMarks);
}

/** Cells of a cleaned text: a letter with its marks, and how many cells it takes. */
export function cellsOf(text: string): { text: string; width: number }[] {
  const cells: { text: string; width: number }[] = [];
  for (const char of text) {
    const width = displayWidth(char);
    const last = cells.at(-1);
    if (width === 0 && last) last.text += char;
    else if (width > 0) cells.push({ text: char, width });
  }
  return cells;
}

export interface FitOptions {
  /** What is cut off: the `end` of a text, or the `middle` of a path, whose name says most. */
  cut?: 'end' | 'middle';
  align?: 'left' | 'right';
}

/** Exactly `width` cells: cleaned, cut with an ellipsis, filled with spaces. */
export function fit(text: string, width: number, { cut = 'end', align = 'left' }: FitOptions = {}): string {
  if (width <= 0) return '';
  const safe = clean(text);
  const long = displayWidth(safe);
  const shown = long <= width ? safe : cut === 'middle' ? cutMiddle(safe, width) : `${take(safe, width - 1)}…`;
  const gap = ' '.repeat(Math.max(0, width - (long <= width ? long : displayWidth(shown))));
  return align === 'right' ? gap + shown : shown + gap;
}

// --- internal ---

const PRINTABLE = /^[\x20-\x7e]*$/;

/** With skin tones, joined families, flags, and whatever a variation selector makes an emoji of. */
const ONE = '(?:\\p{Emoji_Presentation}|[\\u{1f000}-\\u{1faff}]|\\p{Extended_Pictographic}(?=\\ufe0f))';
const MORE = '(?:\\ufe0f|\\u20e3|\\p{Emoji_Modifier}|[\\u{e0020}-\\u{e007f}])*';
const EMOJI = new RegExp(
  `\\p{Regional_Indicator}{1,2}|[0-9#*]\\ufe0f?\\u20e3|${ONE}${MORE}(?:\\u200d(?:${ONE}|\\p{Extended_Pictographic})${MORE})*`,
  'gu',
);
const SELECTORS = /[\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/gu;

/** Vowels and finals of Hangul that stand alone, private letters, and what no standard names: widths differ. */
const UNSTEADY = /[\u1160-\u11ff\ud7b0-\ud7ff]|[\p{Co}\p{Cn}]|[\u{1f000}-\u{1faff}]/gu;

const MARKS = /(^|[\s\S])([\p{Mn}\p{Me}]+)/gu;

/** No more than two marks to a letter, and none without a letter. */
function boundMarks(_match: string, letter: string, marks: string): string {
  return (letter === '' || letter === ' ' ? `${letter}◌` : letter) + [...marks].slice(0, 2).join('');
}

function take(text: string, width: number): string {
  let kept = '';
  let used = 0;
  for (const cell of cellsOf(text)) {
    if (used + cell.width > width) break;
    kept += cell.text;
    used += cell.width;
  }
  return kept;
}

/** Two thirds of the room for the end: `video/long…name-final.mov`. */
function cutMiddle(text: string, width: number): string {
  const head = take(text, Math.floor((width - 1) / 3));
  const cells = cellsOf(text);
  let room = width - 1 - displayWidth(head);
  let tail = '';
  for (let cell = cells.pop(); cell !== undefined && cell.width <= room; cell = cells.pop()) {
    tail = cell.text + tail;
    room -= cell.width;
  }
  return `${head}…${tail}`;
}
