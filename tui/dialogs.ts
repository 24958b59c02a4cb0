/**
 * What asks or tells over a screen: a question, a list to choose from, a form, a text to read. Each is an immutable
 * `Overlay` made from plain data; closing one hands back effects. A question about something that cannot be had back names
 * what will be lost, and its safe answer is chosen first.
 */
import { displayWidth } from '../shared/format.ts';
import { type Canvas, drawScrollbar } from './canvas.ts';
import { editLine, type Line, lineOf, visibleLine } from './editor.ts';
import type { InputEvent } from './input.ts';
import type { Want } from './reads.ts';
import { clean, fit } from './sanitize.ts';
import type { Effect, Overlay, View } from './screen.ts';
import { wrap } from './table.ts';
import type { Tone } from './theme.ts';

type Key = Extract<InputEvent, { kind: 'key' }>;

export interface Choice {
  /** One letter that chooses it at once. */
  key: string;
  label: string;
  /** Shown beside it. */
  help?: string;
  effects: readonly Effect[];
}

export interface Question {
  title: string;
  /** What is asked, and what will be lost; one paragraph each. */
  lines: readonly string[];
  /** The first is the safe one. Esc takes none. */
  choices: readonly Choice[];
  danger?: boolean;
}

/** A few answers below each other, with a letter for each. */
export function ask(question: Question, at = 0): Overlay {
  const { title, lines, choices, danger = false } = question;
  return {
    hints: 'Enter choose   Esc leave as it is',
    draw: (canvas) => {
      const width = Math.min(canvas.width - 4, 72);
      const text = lines.flatMap((line) => wrap(line, width - 4));
      const box = dialogBox(canvas, width, text.length + choices.length + 3, title, danger);
      text.forEach((line, y) => {
        box.put(0, y, line);
      });
      choices.forEach((choice, index) => {
        const y = text.length + 1 + index;
        if (index === at) box.fillLine(y, 'plain', true);
        const label: [string, Tone?][] = [[index === at ? '▸ ' : '  '], [choice.key, 'key'], [`  ${choice.label}`]];
        box.spans(0, y, choice.help ? [...label, [`  ${choice.help}`, 'dim']] : label, index === at);
      });
    },
    input: (event) => {
      const key = event.kind === 'key' ? event.name : '';
      const chosen = key === 'enter' ? choices[at] : choices.find((choice) => choice.key === key);
      if (chosen) return { overlay: null, effects: chosen.effects };
      if (key === 'esc') return { overlay: null };
      return { overlay: ask(question, moved(key, at, choices.length)) };
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

export type Field = {
  name: string;
  label: string;
  help?: string;
  /** Whether it belongs to the other values; else it is left out. */
  when?(values: FormValues): boolean;
} & (
  | { type: 'text'; value: string; secret?: boolean }
  | { type: 'choice'; value: string; choices: readonly string[] }
  | { type: 'toggle'; value: boolean }
);

export type FormValues = Readonly<Record<string, string | boolean>>;

export interface Form {
  title: string;
  fields: readonly Field[];
  /** What is wrong with the values, by the name of the field; nothing: they can be saved. */
  check?(values: FormValues, view: View): Readonly<Record<string, string>>;
  /** What saving does. Secrets are among the values: they must not become words of a command. */
  save(values: FormValues): readonly Effect[];
  /** What the notes and the check need to know of these values. */
  wants?(values: FormValues): readonly Want[];
  /** Below the fields, at most `noteLines` of them: what the values amount to. */
  notes?(values: FormValues, view: View): readonly (readonly [text: string, tone?: Tone])[];
  noteLines?: number;
}

/** Fields below each other; Ctrl-S saves, Esc throws away. */
export function fill(form: Form, at = 0, lines: Readonly<Record<string, Line>> = linesOf(form)): Overlay {
  const values: FormValues = Object.fromEntries(form.fields.map(({ name, value }) => [name, value]));
  const fields = form.fields.filter(({ when }) => when?.(values) ?? true);
  const field = fields[Math.min(at, fields.length - 1)];
  const goTo = (index: number): { overlay: Overlay } => ({ overlay: fill(form, index, lines) });
  let place = { x: 0, y: 0, top: 0, width: 0 };
  return {
    hints: 'Tab next   Shift-Tab back   Space switches   Ctrl-S save   Esc throw away',
    wants: form.wants?.(values) ?? [],
    draw: (canvas, view) => {
      place = drawForm(canvas, { ...form, fields }, field, lines, values, view);
    },
    input: (event, view) => {
      const key = event.kind === 'key' ? event.name : '';
      if (key === 'esc') return { overlay: null };
      const here = field ? fields.indexOf(field) : 0;
      if (key === 'C-s' || (key === 'enter' && here === fields.length - 1)) {
        const wrong = form.check?.(values, view) ?? {};
        const first = fields.findIndex(({ name }) => wrong[name] !== undefined);
        return first < 0 ? { overlay: null, effects: form.save(values) } : goTo(first);
      }
      const step = { tab: 1, down: 1, enter: 1, 'S-tab': -1, up: -1 }[key];
      if (step !== undefined) return goTo((here + step + fields.length) % fields.length);
      const clicked = event.kind === 'mouse' ? fieldAt(event, place, fields.length) : undefined;
      if (clicked !== undefined && clicked !== here) return goTo(clicked);
      const press: InputEvent = clicked === undefined ? event : { kind: 'key', name: 'space', text: '' };
      const next =
        field && !(clicked === here && field.type === 'text') ? changed(field, lines[field.name], press) : undefined;
      if (!field || !next) return goTo(here);
      const changedFields = form.fields.map((one) => (one === field ? next.field : one));
      const kept = next.line ? { ...lines, [field.name]: next.line } : lines;
      return { overlay: fill({ ...form, fields: changedFields }, here, kept) };
    },
  };
}

/** The part of `canvas` for something of this size, in the middle, cleared and with a border. */
export function dialogBox(canvas: Canvas, width: number, height: number, title: string, danger: boolean): Canvas {
  const [w, h] = [Math.min(width, canvas.width), Math.min(height, canvas.height)];
  const area = canvas.area(Math.floor((canvas.width - w) / 2), Math.floor((canvas.height - h) / 3), w, h);
  area.clear();
  return area.box({ title: danger ? `! ${title}` : title, focus: true });
}

// --- internal ---

const LIST_STEPS: Readonly<Record<string, number>> = { j: 1, down: 1, k: -1, up: -1, pgdn: 10, pgup: -10, g: -1, G: 1 };

function moved(key: string, at: number, count: number): number {
  const step = { j: 1, down: 1, tab: 1, k: -1, up: -1, 'S-tab': -1 }[key] ?? 0;
  return (at + step + count) % count;
}

function linesOf({ fields }: Form): Record<string, Line> {
  return Object.fromEntries(
    fields.flatMap((field) => (field.type === 'text' ? [[field.name, lineOf(field.value)]] : [])),
  );
}

function changed(field: Field, line: Line | undefined, event: InputEvent): { field: Field; line?: Line } | undefined {
  if (field.type === 'text') {
    const next = editLine(line ?? lineOf(field.value), event);
    return next && { field: { ...field, value: next.text }, line: next };
  }
  const step = event.kind === 'key' ? switchStep(event) : 0;
  if (step === 0) return undefined;
  if (field.type === 'toggle') return { field: { ...field, value: !field.value } };
  const { choices, value } = field;
  return {
    field: { ...field, value: choices[(choices.indexOf(value) + step + choices.length) % choices.length] ?? value },
  };
}

function switchStep({ name }: Key): number {
  return { space: 1, right: 1, l: 1, left: -1, h: -1 }[name] ?? 0;
}

/** Which field a click means; the event counts from the terminal's first line, the form from the line below the tabs. */
function fieldAt(
  { action, x, y }: Extract<InputEvent, { kind: 'mouse' }>,
  place: { x: number; y: number; top: number; width: number },
  count: number,
): number | undefined {
  const index = place.top + y - 1 - place.y;
  const inside = x >= place.x && x < place.x + place.width && y > place.y && index >= 0 && index < count;
  return action === 'click' && inside ? index : undefined;
}

/** Returns where the first visible field stands on `canvas`, and which one that is. */
function drawForm(
  canvas: Canvas,
  { title, fields, check, notes, noteLines = 0 }: Form,
  field: Field | undefined,
  lines: Readonly<Record<string, Line>>,
  values: FormValues,
  view: View,
): { x: number; y: number; top: number; width: number } {
  const width = Math.min(canvas.width - 2, 76);
  const labels = Math.max(...fields.map(({ label }) => displayWidth(label))) + 2;
  const below = noteLines > 0 ? noteLines + 1 : 0;
  const height = Math.min(canvas.height, fields.length + below + 5);
  const box = dialogBox(canvas, width, height, title, false);
  const room = Math.max(1, box.height - 2 - below);
  const at = field ? fields.indexOf(field) : 0;
  const top = Math.max(0, Math.min(at - Math.floor(room / 2), fields.length - room));
  fields.slice(top, top + room).forEach((one, y) => {
    const here = one === field;
    box.put(0, y, here ? '▸' : ' ', 'focus');
    box.put(2, y, one.label, here ? 'bold' : 'plain');
    drawField(box.area(labels + 2, y, box.width - labels - 2, 1), one, lines[one.name], here);
  });
  const notesAt = Math.min(fields.length, room) + 1;
  (notes?.(values, view) ?? []).slice(0, noteLines).forEach(([text, tone = 'plain'], index) => {
    box.put(0, notesAt + index, fit(text, box.width), tone);
  });
  const trouble = field && check?.(values, view)[field.name];
  if (field) box.put(0, box.height - 1, fit(trouble ?? field.help ?? '', box.width), trouble ? 'bad' : 'dim');
  const y = Math.floor((canvas.height - Math.min(height, canvas.height)) / 3) + 1;
  return { x: Math.floor((canvas.width - width) / 2), y, top, width };
}

function drawField(area: Canvas, field: Field, line: Line | undefined, here: boolean): void {
  if (field.type === 'toggle') {
    area.put(0, 0, field.value ? '[x]' : '[ ]', here ? 'focus' : 'plain');
    return;
  }
  if (field.type === 'choice') {
    area.put(0, 0, `< ${field.value} >`, here ? 'focus' : 'plain');
    return;
  }
  const { text, at } = visibleLine(line ?? lineOf(field.value), area.width - 4, field.secret === true);
  area.spans(0, 0, [['[ ', 'dim'], [fit(text, area.width - 4)], [' ]', 'dim']]);
  if (here) area.put(2 + at, 0, area.cell(2 + at, 0).text || ' ', 'plain', true);
}
