/** One line of text that is being typed, with a cursor in it. Pure. */
import type { InputEvent } from './input.ts';
import { cellsOf, clean } from './sanitize.ts';

export interface Line {
  text: string;
  /** In characters, from 0 to the length. */
  cursor: number;
}

export function lineOf(text: string): Line {
  return { text, cursor: [...text].length };
}

/** The line after an event, or undefined for what does not edit. Pasted line breaks become spaces. */
export function editLine({ text, cursor }: Line, event: InputEvent): Line | undefined {
  if (event.kind === 'mouse') return undefined;
  const chars = [...text];
  const replace = (from: number, to: number, by: string): Line => {
    const added = [...by];
    return { text: [...chars.slice(0, from), ...added, ...chars.slice(to)].join(''), cursor: from + added.length };
  };
  if (event.kind === 'paste') return replace(cursor, cursor, clean(event.text.replace(/[\r\n\t]+/g, ' ')));
  switch (event.name) {
    case 'left':
    case 'C-b':
      return { text, cursor: Math.max(0, cursor - 1) };
    case 'right':
    case 'C-f':
      return { text, cursor: Math.min(chars.length, cursor + 1) };
    case 'home':
    case 'C-a':
      return { text, cursor: 0 };
    case 'end':
    case 'C-e':
      return { text, cursor: chars.length };
    case 'backspace':
      return cursor === 0 ? { text, cursor } : replace(cursor - 1, cursor, '');
    case 'delete':
      return { ...replace(cursor, Math.min(chars.length, cursor + 1), ''), cursor };
    case 'C-u':
      return replace(0, cursor, '');
    case 'C-k':
      return replace(cursor, chars.length, '');
    case 'C-w':
      return replace(wordBefore(chars, cursor), cursor, '');
    default:
      return event.text === '' ? undefined : replace(cursor, cursor, event.text);
  }
}

/** The part of the line that fits into `width` cells, and the cell of the cursor in it. */
export function visibleLine({ text, cursor }: Line, width: number, secret = false): { text: string; at: number } {
  const chars = [...(secret ? '•'.repeat([...text].length) : text)].map((char) => clean(char));
  const sizes = chars.map((char) => cellsOf(char).reduce((sum, cell) => sum + cell.width, 0));
  let from = 0;
  const used = (to: number): number => sizes.slice(from, to).reduce((sum, size) => sum + size, 0);
  while (from < cursor && used(cursor) > width - 1) from += 1;
  let to = cursor;
  while (to < chars.length && used(to + 1) <= width) to += 1;
  return { text: chars.slice(from, to).join(''), at: used(cursor) };
}

// --- internal ---

function wordBefore(chars: readonly string[], cursor: number): number {
  let at = cursor;
  while (at > 0 && chars[at - 1] === ' ') at -= 1;
  while (at > 0 && chars[at - 1] !== ' ') at -= 1;
  return at;
}
