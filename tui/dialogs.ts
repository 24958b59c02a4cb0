/**
 * What asks or tells over a screen: a question, a list to choose from, a form, a text to read. Each is an immutable
 * `Overlay` made from plain data; closing one hands back effects. A question about something that cannot be had back names
 * what will be lost, and its safe answer is chosen first.
 */
import { displayWidth } from '../shared/format.ts';
import { type Canvas, dialogBox, drawScrollbar } from './canvas.ts';
import type { Want } from './reads.ts';
import { clean, fit } from './sanitize.ts';
import type { Effect, Overlay, View } from './screen.ts';
import { wrap } from './table.ts';
import type { Tone } from './theme.ts';

export { dialogBox } from './canvas.ts';
export { type Field, type Form, type FormValues, fill } from './form.ts';

export interface Choice {
  /** One letter that chooses it at once. */
  key: string;
  label: string;
  /** Shown beside it. */
  help?: string;
  effects: readonly Effect[];
  /** Why it cannot be chosen now. */
  disabled?: string | undefined;
}

export interface Question {
  title: string;
  /** What is asked, and what will be lost; one paragraph each. */
  lines: readonly string[];
  /** The first is the safe one. Esc takes none. */
  choices: readonly Choice[];
  danger?: boolean;
}

/** A few answers below each other, with a letter for each; a click chooses as well. */
export function ask(question: Question, at = 0): Overlay {
  return askLive([], () => question, at);
}

/** A question that is made anew from what is known at the moment. */
export function askLive(wants: readonly Want[], make: (view: View) => Question, at = 0): Overlay {
  let first = { x: 0, y: 0, count: 0 };
  return {
    hints: 'Enter choose   Esc leave as it is',
    wants,
    draw: (canvas, view) => {
      first = drawQuestion(canvas, make(view), at);
    },
    input: (event, view) => {
      const { choices } = make(view);
      const key = event.kind === 'key' ? event.name : '';
      const row = event.kind === 'mouse' && event.action === 'click' && event.x >= first.x ? event.y - first.y : -1;
      const chosen =
        key === 'enter'
          ? choices[at]
          : row >= 0 && row < first.count
            ? choices[row]
            : choices.find((choice) => choice.key === key);
      if (chosen?.disabled !== undefined) {
        const text = `${chosen.label}: ${chosen.disabled}`;
        const overlay = askLive(wants, make, choices.indexOf(chosen));
        return { overlay, effects: [{ kind: 'toast', style: 'warn', text }] };
      }
      if (chosen) return { overlay: null, effects: chosen.effects };
      if (key === 'esc') return { overlay: null };
      return { overlay: askLive(wants, make, moved(key, at, choices.length)) };
    },
  };
}

/** A yes-or-no question about something that cannot be had back. */
export function confirmLoss(
  title: string,
  loses: readonly string[],
  label: string,
  effects: readonly Effect[],
): Overlay {
  return ask({
    title,
    lines: loses,
    danger: true,
    choices: [
      { key: 'n', label: 'No, leave it as it is', effects: [] },
      { key: 'y', label, effects },
    ],
  });
}

export interface Option {
  text: string;
  /** Shown beside it. */
  help?: string;
  effects: readonly Effect[];
}

/** One of many, with scrolling; typing nothing, Enter or a click takes it. */
export function pick(title: string, options: readonly Option[], at = 0): Overlay {
  let place = { left: 0, top: 0, width: 0, height: 0, from: 0 };
  const take = (option: Option | undefined) => ({ overlay: null, effects: option?.effects ?? [] });
  const go = (to: number) => ({ overlay: pick(title, options, Math.max(0, Math.min(options.length - 1, to))) });
  return {
    hints: 'jk choose   Enter take   Esc close',
    draw: (canvas) => {
      const widest = Math.max(
        ...options.map(({ text, help = '' }) => displayWidth(clean(text)) + displayWidth(clean(help))),
      );
      const width = Math.min(canvas.width - 4, Math.max(40, widest + 12));
      const height = Math.min(canvas.height - 2, options.length + 2);
      const box = dialogBox(canvas, width, height, title, false);
      const from = Math.max(0, Math.min(at - Math.floor(box.height / 2), options.length - box.height));
      const [left, top] = [Math.floor((canvas.width - width) / 2), Math.floor((canvas.height - height) / 3)];
      // The canvas begins below the line of tabs.
      place = { left: left + 2, top: top + 2, width: box.width, height: box.height, from };
      options.slice(from, from + box.height).forEach(({ text, help = '' }, y) => {
        const here = from + y === at;
        if (here) box.fillLine(y, 'plain', true);
        const end = box.put(
          0,
          y,
          fit(`${here ? '▸' : ' '} ${text}`, box.width - 2 - displayWidth(clean(help))),
          'plain',
          here,
        );
        box.put(end + 1, y, help, 'dim', here);
      });
      drawScrollbar(box, from, options.length);
    },
    input: (event) => {
      if (event.kind === 'mouse') {
        if (event.action !== 'click') return go(at + (event.action === 'wheelup' ? -3 : 3));
        const [x, y] = [event.x - place.left, event.y - place.top];
        const inside = x >= 0 && x < place.width && y >= 0 && y < place.height;
        return inside ? take(options[place.from + y]) : go(at);
      }
      const key = event.kind === 'key' ? event.name : '';
      if (key === 'esc' || key === 'q') return { overlay: null };
      if (key === 'enter') return take(options[at]);
      return go(at + (LIST_STEPS[key] ?? 0) * (key === 'g' || key === 'G' ? options.length : 1));
    },
  };
}

/** A text to read, with scrolling; for what a command printed. */
export function tell(title: string, lines: readonly string[], top = 0): Overlay {
  let last = 0;
  return {
    hints: 'jk scroll   Esc close',
    draw: (canvas) => {
      const width = Math.min(canvas.width - 2, Math.max(40, ...lines.map((line) => displayWidth(clean(line)) + 5)));
      const box = dialogBox(canvas, width, Math.min(canvas.height - 2, lines.length + 2), title, false);
      last = Math.max(0, lines.length - box.height);
      lines.slice(Math.min(top, last), Math.min(top, last) + box.height).forEach((line, y) => {
        box.put(0, y, fit(line, box.width - 1));
      });
      drawScrollbar(box, Math.min(top, last), lines.length);
    },
    input: (event) => {
      if (event.kind === 'mouse') {
        if (event.action === 'click') return { overlay: tell(title, lines, top) };
        return {
          overlay: tell(title, lines, Math.max(0, Math.min(last, top + (event.action === 'wheelup' ? -3 : 3)))),
        };
      }
      const key = event.kind === 'key' ? event.name : '';
      if (key === 'esc' || key === 'enter' || key === 'q') return { overlay: null };
      const step = (key === 'space' ? 10 : (LIST_STEPS[key] ?? 0)) * (key === 'g' || key === 'G' ? lines.length : 1);
      return { overlay: tell(title, lines, Math.max(0, Math.min(last, top + step))) };
    },
  };
}

// --- internal ---

const LIST_STEPS: Readonly<Record<string, number>> = { j: 1, down: 1, k: -1, up: -1, pgdn: 10, pgup: -10, g: -1, G: 1 };

function moved(key: string, at: number, count: number): number {
  const step = { j: 1, down: 1, tab: 1, k: -1, up: -1, 'S-tab': -1 }[key] ?? 0;
  return (at + step + count) % count;
}

function drawQuestion(
  canvas: Canvas,
  { title, lines, choices, danger = false }: Question,
  at: number,
): {
  x: number;
  y: number;
  count: number;
} {
  const width = Math.min(canvas.width - 4, 72);
  const text = lines.flatMap((line) => wrap(line, width - 4));
  const box = dialogBox(canvas, width, text.length + choices.length + 3, title, danger);
  const room = Math.max(0, Math.min(text.length, box.height - choices.length - 1));
  text.slice(0, room).forEach((line, y) => {
    box.put(0, y, line);
  });
  const from = room + (room === 0 ? 0 : 1);
  choices.forEach((choice, index) => {
    const here = index === at;
    if (here) box.fillLine(from + index, 'plain', true);
    const off = choice.disabled !== undefined;
    const label: [string, Tone?][] = [
      [here ? '▸ ' : '  '],
      [choice.key, off ? 'dim' : 'key'],
      [`  ${choice.label}`, off ? 'dim' : 'plain'],
    ];
    const help = choice.disabled === undefined ? choice.help : `(not now: ${choice.disabled})`;
    box.spans(0, from + index, help ? [...label, [`  ${help}`, 'dim']] : label, here);
  });
  return { x: box.left, y: box.top + from, count: choices.length };
}
