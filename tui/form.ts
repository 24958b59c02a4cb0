/**
 * Forms: fields below each other, in sections where there are many. Like every overlay a form is made from plain data and
 * immutable; saving hands back effects, and a form whose command fails is there again with what was typed.
 */
import { displayWidth } from '../shared/format.ts';
import { type Canvas, dialogBox, drawScrollbar } from './canvas.ts';
import { editLine, type Line, lineOf, visibleLine } from './editor.ts';
import type { InputEvent } from './input.ts';
import type { Want } from './reads.ts';
import { clean, fit } from './sanitize.ts';
import type { Effect, Overlay, View } from './screen.ts';
import { wrap } from './table.ts';
import type { Tone } from './theme.ts';

type Key = Extract<InputEvent, { kind: 'key' }>;

export type Field = {
  name: string;
  label: string;
  help?: string;
  /** A line above it, for the first of several. */
  section?: string;
  /** Whether it belongs to the other values; else it is left out. */
  when?(values: FormValues): boolean;
} & (
  | {
      type: 'text';
      value: string;
      secret?: boolean;
      /** In place of an empty text. */
      blank?: string;
      /** Ctrl-O: something to choose the text from; `back` gives the form, with what was chosen. */
      pick?(value: string, back: (picked: string | null) => Overlay): Overlay;
    }
  /** `names`: how a choice is shown, where that is not the choice itself. */
  | { type: 'choice'; value: string; choices: readonly string[]; names?: Readonly<Record<string, string>> }
  | { type: 'toggle'; value: boolean }
);

export type FormValues = Readonly<Record<string, string | boolean>>;

export interface Form {
  title: string;
  fields: readonly Field[];
  /** What `check` and `notes` look at. */
  wants?(values: FormValues): readonly Want[];
  /** What is wrong with the values, by the name of the field; nothing: they can be saved. */
  check?(values: FormValues, view: View): Readonly<Record<string, string>>;
  /** Below the fields, such as what will come of the values: sentences, or lines with a tone of their own. */
  notes?(values: FormValues, view: View): readonly (string | Note)[];
  /** Room for so many lines of them is kept, so that the form stays in its place while they change. */
  noteLines?: number;
  /**
   * What saving does. Secrets are among the values: they must not become words of a command. The first command holds the
   * form: it closes when that is done, and is there again, with the reason, when it failed.
   */
  save(values: FormValues): readonly Effect[];
  /** Saving begins something that takes long: the form closes at once. */
  closes?: boolean;
}

type Note = readonly [line: string, tone?: Tone];

interface Filling {
  at: number;
  lines: Readonly<Record<string, Line>>;
  /** Why saving failed. */
  failed: string;
}

/** Fields below each other; Ctrl-S saves, Esc throws away. */
export function fill(form: Form, filling: Filling = { at: 0, lines: linesOf(form), failed: '' }): Overlay {
  const values: FormValues = Object.fromEntries(form.fields.map(({ name, value }) => [name, value]));
  const fields = form.fields.filter(({ when }) => when?.(values) ?? true);
  const { lines } = filling;
  const at = Math.min(filling.at, fields.length - 1);
  const field = fields[at];
  let drawn: Drawn = { x: 0, y: 0, rows: [] };
  const here = (more: Partial<Filling>, changed: readonly Field[] = form.fields): Overlay =>
    fill({ ...form, fields: changed }, { ...filling, at, ...more });
  const after = (next: { field: Field; line?: Line }): Overlay =>
    here(
      { failed: '', ...(next.line && { lines: { ...lines, [next.field.name]: next.line } }) },
      form.fields.map((one) => (one === field ? next.field : one)),
    );
  const overlay: Overlay = {
    hints: `Tab next  Shift-Tab back  Space switch  ${field?.type === 'text' && field.pick ? 'Ctrl-O pick  ' : ''}Ctrl-S save  Esc discard`,
    wants: form.wants?.(values) ?? [],
    failed: (reason) => here({ failed: reason }),
    draw: (canvas, view) => {
      const wrong = form.check?.(values, view) ?? {};
      drawn = drawForm(canvas, { ...form, fields }, { ...filling, at }, wrong, form.notes?.(values, view) ?? []);
    },
    input: (event, view) => {
      const key = event.kind === 'key' ? event.name : '';
      if (key === 'esc') return { overlay: null };
      if (event.kind === 'mouse') return { overlay: here({ at: atMouse(event, drawn, at, fields.length) }) };
      if (key === 'C-s' || (key === 'enter' && at === fields.length - 1)) {
        const wrong = form.check?.(values, view) ?? {};
        const first = fields.findIndex(({ name }) => wrong[name] !== undefined);
        return first < 0
          ? { overlay: null, effects: form.closes ? form.save(values) : heldBy(overlay, form.save(values)) }
          : { overlay: here({ at: first }) };
      }
      const step = { tab: 1, down: 1, enter: 1, 'S-tab': -1, up: -1 }[key];
      if (step !== undefined) return { overlay: here({ at: (at + step + fields.length) % fields.length }) };
      const page = { pgdn: PAGE, pgup: -PAGE }[key];
      if (page !== undefined) return { overlay: here({ at: Math.max(0, Math.min(fields.length - 1, at + page)) }) };
      if (key === 'C-o' && field?.type === 'text' && field.pick) {
        const back = (picked: string | null): Overlay =>
          picked === null ? overlay : after({ field: { ...field, value: picked }, line: lineOf(picked) });
        return { overlay: field.pick(field.value, back) };
      }
      const next = field ? changed(field, lines[field.name], event) : undefined;
      return { overlay: next ? after(next) : overlay };
    },
  };
  return overlay;
}

// --- internal ---

const PAGE = 10;

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

/** Where the fields were drawn: cell of the first row, and which field each row shows; null: a title. */
interface Drawn {
  x: number;
  y: number;
  rows: readonly (number | null)[];
}

function drawForm(
  canvas: Canvas,
  { title, fields, noteLines = 0 }: Form,
  { at, lines, failed }: Filling,
  wrong: Readonly<Record<string, string>>,
  notes: readonly (string | Note)[],
): Drawn {
  const width = Math.min(canvas.width - 2, 78);
  const labels = Math.max(...fields.map(({ label }) => displayWidth(label))) + 2;
  const rows = fields.flatMap(({ section }, index) => (section === undefined ? [index] : [null, index]));
  const said = notes.flatMap((note): Note[] =>
    typeof note === 'string' ? wrap(note, width - 4).map((line) => [line, 'dim']) : [note],
  );
  const kept = Math.max(said.length, noteLines);
  const field = fields[at];
  const trouble = (field && wrong[field.name]) ?? (failed === '' ? undefined : failed);
  const foot = wrap(trouble ?? field?.help ?? '', width - 4).slice(0, 3);
  const height = Math.min(canvas.height, rows.length + kept + 3 + Math.max(2, foot.length));
  const box = dialogBox(canvas, width, height, title, false);
  const room = Math.max(1, box.height - kept - 1 - Math.max(2, foot.length));
  const top = Math.max(0, Math.min(rows.indexOf(at) - Math.floor(room / 2), rows.length - room));
  const shown = rows.slice(top, top + room);
  shown.forEach((index, y) => {
    if (index === null) {
      box.put(0, y, fields[rows[top + y + 1] ?? 0]?.section ?? '', 'title');
      return;
    }
    const one = fields[index] as Field;
    const here = index === at;
    box.put(0, y, here ? '▸' : wrong[one.name] === undefined ? ' ' : '!', here ? 'focus' : 'bad');
    box.put(2, y, one.label, here ? 'bold' : 'plain');
    drawField(box.area(labels + 2, y, box.width - labels - 3, 1), one, lines[one.name], here);
  });
  drawScrollbar(box.area(0, 0, box.width, room), top, rows.length);
  said.forEach(([line, tone = 'plain'], index) => {
    box.put(0, room + index, fit(line, box.width), tone);
  });
  foot.forEach((line, index) => {
    box.put(0, box.height - foot.length + index, line, trouble === undefined ? 'dim' : 'bad');
  });
  return { x: box.left, y: box.top, rows: shown };
}

function drawField(area: Canvas, field: Field, line: Line | undefined, here: boolean): void {
  if (field.type === 'toggle') {
    area.put(0, 0, field.value ? '[x]' : '[ ]', here ? 'focus' : 'plain');
    return;
  }
  if (field.type === 'choice') {
    const shown = field.names?.[field.value] ?? field.value;
    area.put(0, 0, `< ${fit(shown, Math.min(displayWidth(clean(shown)), area.width - 4))} >`, here ? 'focus' : 'plain');
    return;
  }
  const { text, at } = visibleLine(line ?? lineOf(field.value), area.width - 4, field.secret === true);
  const blank = text === '' && field.blank !== undefined;
  area.spans(0, 0, [
    ['[ ', 'dim'],
    [fit(blank ? (field.blank ?? '') : text, area.width - 4), blank ? 'dim' : 'plain'],
    [' ]', 'dim'],
  ]);
  if (here) area.put(2 + at, 0, area.cell(2 + at, 0).text || ' ', 'plain', true);
}

function atMouse(
  { action, y }: Extract<InputEvent, { kind: 'mouse' }>,
  drawn: Drawn,
  at: number,
  count: number,
): number {
  if (action === 'click') return drawn.rows[y - drawn.y] ?? at;
  return Math.max(0, Math.min(count - 1, at + (action === 'wheelup' ? -1 : 1)));
}

/** The first command of them holds the form. */
function heldBy(form: Overlay, effects: readonly Effect[]): Effect[] {
  const first = effects.find(({ kind }) => kind === 'command');
  return effects.map((effect) => (effect === first && effect.kind === 'command' ? { ...effect, form } : effect));
}
