/**
 * The command palette: a line in which any command of the command line can be typed, with the verbs that fit below it.
 * Tab takes the chosen verb, Enter runs the line in a process of its own and shows what it printed.
 */
import type { Canvas } from './canvas.ts';
import { dialogBox } from './dialogs.ts';
import { editLine, type Line, lineOf, visibleLine } from './editor.ts';
import type { Entry } from './entries.ts';
import { fit } from './sanitize.ts';
import type { Overlay, View } from './screen.ts';
import { want } from './wants.ts';

export function palette(line: Line = lineOf(''), at = 0): Overlay {
  return {
    hints: 'Enter run   Tab complete   ↑↓ choose   Esc close',
    wants: [want('commands')],
    draw: (canvas, view) => drawPalette(canvas, line, at, view),
    input: (event, view) => {
      const found = matches(line.text, view.read('commands').value ?? []);
      const chosen = found[Math.min(at, found.length - 1)];
      const key = event.kind === 'key' ? event.name : '';
      if (key === 'esc') return { overlay: null };
      if (key === 'down' || key === 'up') {
        return { overlay: palette(line, Math.max(0, Math.min(found.length - 1, at + (key === 'down' ? 1 : -1)))) };
      }
      if (key === 'tab') return { overlay: chosen ? palette(lineOf(`${chosen.words} `)) : palette(line, at) };
      if (key !== 'enter') {
        const next = editLine(line, event);
        return { overlay: palette(next ?? line, next && next.text !== line.text ? 0 : at) };
      }
      const words = splitWords(withoutName(line.text));
      if (chosen && !isWhole(words, found)) return { overlay: palette(lineOf(`${chosen.words} `)) };
      if (words.length === 0) return { overlay: null };
      return { overlay: null, effects: [{ kind: 'command', words, label: words.join(' '), show: true }] };
    },
  };
}

/** Entries that fit what is typed: those that begin with it, then those that contain its words in any order. */
export function matches(typed: string, entries: readonly Entry[]): Entry[] {
  const text = withoutName(typed).toLowerCase();
  const whole = entries.filter(({ words }) => text === words || text.startsWith(`${words} `));
  if (whole.length > 0) return whole;
  const parts = text.split(/\s+/).filter(Boolean);
  const begins = entries.filter(({ words }) => words.startsWith(text));
  const contains = entries.filter(
    (entry) =>
      !begins.includes(entry) && parts.every((part) => `${entry.words} ${entry.summary}`.toLowerCase().includes(part)),
  );
  return [...begins, ...contains];
}

/** As a shell splits words: quotes keep them together, a backslash takes the next character as it is. */
export function splitWords(text: string): string[] {
  return [...text.matchAll(/(?:"(?:\\.|[^"\\])*"?|'[^']*'?|\\.|[^\s"'\\])+/g)].map(([word]) =>
    word.replace(/"((?:\\.|[^"\\])*)"?|'([^']*)'?|\\(.)/g, (_, double?: string, single?: string, escaped?: string) =>
      double !== undefined ? double.replace(/\\(.)/g, '$1') : (single ?? escaped ?? ''),
    ),
  );
}

// --- internal ---

/** `tandem` may be typed before it, out of habit. */
function withoutName(text: string): string {
  return text.trimStart().replace(/^tandem\s+/, '');
}

function isWhole(words: readonly string[], entries: readonly Entry[]): boolean {
  const typed = words.join(' ');
  return entries.some((entry) => typed === entry.words || typed.startsWith(`${entry.words} `));
}

function drawPalette(canvas: Canvas, line: Line, at: number, view: View): void {
  const { value, error } = view.read('commands');
  const found = matches(line.text, value ?? []);
  const box = dialogBox(canvas, Math.min(canvas.width - 2, 96), Math.min(canvas.height, 16), 'Command', false);
  box.put(0, 0, ':', 'key');
  const shown = visibleLine(line, box.width - 3);
  box.put(2, 0, shown.text, 'bold');
  box.put(2 + shown.at, 0, box.cell(2 + shown.at, 0).text || ' ', 'plain', true);
  if (!value) box.put(0, 2, error ?? 'Reading the commands …', error ? 'bad' : 'dim');
  else if (found.length === 0) box.put(0, 2, 'No command fits; Enter runs the line as it is.', 'dim');
  const room = box.height - 2;
  const top = Math.max(0, Math.min(at - room + 1, found.length - room));
  found.slice(top, top + room).forEach((entry, y) => {
    const here = top + y === at;
    if (here) box.fillLine(2 + y, 'plain', true);
    box.put(0, 2 + y, fit(`${here ? '▸' : ' '} ${entry.words} ${entry.takes}`, 38), 'plain', here);
    box.put(39, 2 + y, fit(entry.summary, box.width - 39), 'dim', here);
  });
}
