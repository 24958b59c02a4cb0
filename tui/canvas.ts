/**
 * A grid of cells to draw on: exactly `width` × `height`, whatever is written. A screen is a function from its data to a
 * canvas, so that it is tested without a terminal; `terminal.ts` alone knows how the cells get to one.
 *
 * `put` is the one way in. It cleans every text (sanitize.ts), clips at the edges, and writes plain ASCII where the
 * terminal takes nothing else, so no caller can break a border or send a control sequence.
 */
import { displayWidth } from '../shared/format.ts';
import { cellsOf, clean, fit } from './sanitize.ts';
import type { Ink, Theme, Tone } from './theme.ts';

export interface Box {
  title?: string;
  /** Stands at the right end of the upper border, for hints and counts. */
  right?: string;
  /** This panel has the keys. */
  focus?: boolean;
}

export interface Cell {
  text: string;
  tone: Tone;
  selected: boolean;
  /** Colours of its own, in place of those of its tone. */
  ink?: Ink | undefined;
}

export class Canvas {
  readonly width: number;
  readonly height: number;
  readonly theme: Theme;
  private readonly grid: Grid;
  /** Cell of the terminal in its upper left corner. */
  readonly left: number;
  readonly top: number;

  constructor(width: number, height: number, theme: Theme, within?: { grid: Grid; left: number; top: number }) {
    this.width = Math.max(0, Math.floor(width));
    this.height = Math.max(0, Math.floor(height));
    this.theme = theme;
    this.left = within?.left ?? 0;
    this.top = within?.top ?? 0;
    this.grid = within?.grid ?? new Grid(this.width, this.height);
  }

  /** A part of this canvas with coordinates of its own; what would lie outside of this one is cut off. */
  area(x: number, y: number, width: number, height: number): Canvas {
    const left = Math.max(0, Math.min(x, this.width));
    const top = Math.max(0, Math.min(y, this.height));
    return new Canvas(Math.min(width, this.width - left), Math.min(height, this.height - top), this.theme, {
      grid: this.grid,
      left: this.left + left,
      top: this.top + top,
    });
  }

  /** Writes text from cell `x` of line `y` on, and returns the cell after it. */
  put(x: number, y: number, text: string, tone: Tone = 'plain', selected = false): number {
    let at = x;
    const visible = y >= 0 && y < this.height;
    const safe = this.theme.unicode ? clean(text) : asciiOf(clean(text));
    for (const cell of SIMPLE.test(safe) ? safe : cellsOf(safe)) {
      const [letter, width] = typeof cell === 'string' ? [cell, 1] : [cell.text, cell.width];
      if (at + width > this.width) break;
      if (visible && at >= 0) this.grid.set(this.left + at, this.top + y, letter, width, tone, selected);
      at += width;
    }
    return at;
  }

  /** One sign in colours of its own, by their numbers among 256; left out, the terminal's. For pictures, not for texts. */
  paint(x: number, y: number, sign: string, foreground: number, background?: number): void {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return;
    this.grid.set(this.left + x, this.top + y, sign, 1, 'plain', false, { foreground, background });
  }

  /** One line of several texts. */
  spans(x: number, y: number, parts: readonly (readonly [text: string, tone?: Tone])[], selected = false): number {
    return parts.reduce((at, [text, tone]) => this.put(at, y, text, tone, selected), x);
  }

  /** Right-aligned: ends before cell `end`. Returns where it begins. */
  putRight(end: number, y: number, text: string, tone: Tone = 'plain', selected = false): number {
    const start = Math.max(0, end - displayWidth(this.theme.unicode ? clean(text) : asciiOf(clean(text))));
    this.put(start, y, text, tone, selected);
    return start;
  }

  /** Gives a whole line its ground. */
  fillLine(y: number, tone: Tone = 'plain', selected = false): void {
    this.put(0, y, ' '.repeat(this.width), tone, selected);
  }

  clear(): void {
    for (let y = 0; y < this.height; y += 1) this.fillLine(y);
  }

  /** A border with titles around all of this canvas; returns the inside, one free cell at the left and the right. */
  box({ title = '', right = '', focus = false }: Box): Canvas {
    const { width, height } = this;
    if (width < 4 || height < 2) return this.area(0, 0, 0, 0);
    const tone: Tone = focus ? 'focus' : 'border';
    const line = '─'.repeat(width - 2);
    this.put(0, 0, `┌${line}┐`, tone);
    for (let y = 1; y < height - 1; y += 1) {
      this.put(0, y, '│', tone);
      this.put(width - 1, y, '│', tone);
    }
    this.put(0, height - 1, `└${line}┘`, tone);
    const end = right === '' ? width - 2 : this.boxRight(right, Math.floor(width / 2), tone);
    const room = end - 4;
    if (title !== '' && room > 2) {
      const shown = fit(title, Math.min(displayWidth(clean(title)), room));
      this.spans(1, 0, [
        ['─', tone],
        [` ${shown} `, focus ? 'focus' : 'title'],
      ]);
    }
    return this.area(2, 1, width - 4, height - 2);
  }

  private boxRight(text: string, room: number, tone: Tone): number {
    const shown = fit(text, Math.min(displayWidth(clean(text)), room));
    this.putRight(this.width - 1, 0, '─', tone);
    return this.putRight(this.width - 2, 0, ` ${shown} `, 'dim');
  }

  /** What stands in a cell; the second half of a wide letter is ''. */
  cell(x: number, y: number): Cell {
    return this.grid.get(this.left + x, this.top + y);
  }

  /** The lines as text, for tests and for copying. */
  lines(): string[] {
    return Array.from({ length: this.height }, (_, y) =>
      Array.from({ length: this.width }, (_, x) => this.cell(x, y).text).join(''),
    );
  }
}

/** The part of `canvas` for something of this size, in the middle, cleared and with a border. */
export function dialogBox(canvas: Canvas, width: number, height: number, title: string, danger: boolean): Canvas {
  const [w, h] = [Math.min(width, canvas.width), Math.min(height, canvas.height)];
  const area = canvas.area(Math.floor((canvas.width - w) / 2), Math.floor((canvas.height - h) / 3), w, h);
  area.clear();
  return area.box({ title: danger ? `! ${title}` : title, focus: true });
}

/** `██████▌░░░`: eighths of a cell; `share` from 0 to 1. */
export function drawBar(canvas: Canvas, x: number, y: number, width: number, share: number): void {
  const eighths = Math.round(Math.max(0, Math.min(1, Number.isFinite(share) ? share : 0)) * width * 8);
  const full = Math.floor(eighths / 8);
  const part = eighths % 8 === 0 ? '' : (' ▏▎▍▌▋▊▉'[eighths % 8] ?? '');
  const at = canvas.put(x, y, '█'.repeat(full) + part, 'bar');
  canvas.put(at, y, '░'.repeat(Math.max(0, width - full - part.length)), 'track');
}

/** The newest `width` values as columns; the highest of them fills its cell. */
export function sparkline(values: readonly number[], width: number): string {
  const shown = values.slice(-width);
  const highest = Math.max(...shown, 0);
  return shown
    .map((value) => '▁▂▃▄▅▆▇█'[highest <= 0 ? 0 : Math.min(7, Math.floor((Math.max(0, value) / highest) * 7.99))])
    .join('');
}

/** In the last column of `canvas`: which part of `total` lines is seen. Nothing when all of them are. */
export function drawScrollbar(canvas: Canvas, top: number, total: number): void {
  const { width, height } = canvas;
  if (total <= height || height < 2) return;
  const length = Math.max(1, Math.floor((height * height) / total));
  const start = Math.round((top / Math.max(1, total - height)) * (height - length));
  for (let y = 0; y < height; y += 1) {
    const thumb = y >= start && y < start + length;
    canvas.put(width - 1, y, thumb ? '█' : '│', thumb ? 'border' : 'track');
  }
}

// --- internal ---

const SIMPLE = /^[\x20-\x7e─│┌┐└┘█░…·•●○◐✓✗▸→—]*$/;

class Grid {
  private readonly texts: string[];
  private readonly tones: Tone[];
  private readonly marks: Uint8Array;
  /** Of the few cells that have colours of their own. */
  private readonly inks = new Map<number, Ink>();
  private readonly width: number;

  constructor(width: number, height: number) {
    this.width = width;
    this.texts = new Array<string>(width * height).fill(' ');
    this.tones = new Array<Tone>(width * height).fill('plain');
    this.marks = new Uint8Array(width * height);
  }

  set(x: number, y: number, text: string, cells: number, tone: Tone, selected: boolean, ink?: Ink): void {
    const at = y * this.width + x;
    // Half of a wide letter cannot stay: what is left of it becomes a space.
    if (this.texts[at] === '' && x > 0) this.texts[at - 1] = ' ';
    const after = at + cells;
    if (x + cells < this.width && this.texts[after] === '') this.texts[after] = ' ';
    for (let cell = at; cell < after; cell += 1) {
      this.texts[cell] = cell === at ? text : '';
      this.tones[cell] = tone;
      this.marks[cell] = selected ? 1 : 0;
      if (ink) this.inks.set(cell, ink);
      else if (this.inks.size > 0) this.inks.delete(cell);
    }
  }

  get(x: number, y: number): Cell {
    const at = y * this.width + x;
    const [text, tone, ink] = [this.texts[at] ?? ' ', this.tones[at] ?? 'plain', this.inks.get(at)];
    return { text, tone, selected: this.marks[at] === 1, ink };
  }
}

const ASCII: Readonly<Record<string, string>> = {
  ...Object.fromEntries([...'─━'].map((sign) => [sign, '-'])),
  ...Object.fromEntries([...'│┃'].map((sign) => [sign, '|'])),
  ...Object.fromEntries([...'┌┐└┘├┤┬┴┼'].map((sign) => [sign, '+'])),
  ...Object.fromEntries([...'▁▂'].map((sign) => [sign, '_'])),
  ...Object.fromEntries([...'▏▎▍▌▋▊▉'].map((sign) => [sign, '='])),
  '▃': '.',
  '▄': ':',
  '▅': '-',
  '▆': '=',
  '▇': '+',
  '█': '#',
  '░': '.',
  '▸': '>',
  '→': '>',
  '←': '<',
  '⇄': '=',
  '↑': '^',
  '↓': 'v',
  '✓': '+',
  '✗': 'x',
  '⚠': '!',
  '●': '*',
  '◐': '%',
  '○': 'o',
  '•': '*',
  '·': '-',
  '—': '-',
  '–': '-',
  '…': '~',
  '×': 'x',
  '“': '"',
  '”': '"',
  '’': "'",
};

/** The same width in ASCII: a sign for a sign, a letter for an accented one, else `?`. */
function asciiOf(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text)) return text;
  return cellsOf(text)
    .map((cell) => {
      const known = ASCII[cell.text] ?? cell.text.normalize('NFD').replace(/\p{M}/gu, '');
      return /^[\x20-\x7e]$/.test(known) ? known : '?'.repeat(cell.width);
    })
    .join('');
}
