/**
 * A canvas as a picture: the cells and the looks that a terminal gets, as an SVG that needs no font of its own. Borders,
 * bars and curves are drawn as shapes, so they join whatever the font; every text is held to the width of its cells.
 */
import type { Canvas } from '../../tui/canvas.ts';
import { attributeOf, type Theme, type Tone } from '../../tui/theme.ts';

/** @param title for those who cannot see it */
export function pictureOf(canvas: Canvas, title: string): string {
  const [width, height] = [canvas.width * CELL.width + 2 * MARGIN, canvas.height * CELL.height + 2 * MARGIN];
  const runs = Array.from({ length: canvas.height }, (_, y) => runsOf(canvas, y)).flat();
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" rx="8" fill="${GROUND}"/>`,
    `<g transform="translate(${MARGIN} ${MARGIN})" font-family="${FONTS}" font-size="15" xml:space="preserve">`,
    ...paths(runs, groundOf, ({ look }) => look.bg, 'fill'),
    ...paths(runs, blockOf, ({ look }) => look.fg, 'fill'),
    ...paths(runs, shadeOf, ({ look }) => look.fg, 'fill-opacity="0.4" fill'),
    ...paths(runs, lineOf, ({ look }) => look.fg, 'fill="none" stroke'),
    ...runs.flatMap((run) => (SHAPES.test(run.text) ? [] : textOf(run))),
    '</g>',
    '</svg>',
  ].join('\n')}\n`;
}

// --- internal ---

const CELL = { width: 9, height: 19 };
const MARGIN = 12;
const GROUND = '#12171d';
const INK = '#d5dbe3';
const FONTS = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";
/** The first sixteen colours, which every terminal has its own of. */
const BASIC = (
  '#2b323b #e06c75 #8fc379 #d9b36c #6aa6e8 #c58fdc #5fbcc4 #c7ced8 ' +
  '#6b7683 #f08a92 #a9d893 #ecca88 #8cbcf2 #d7a9ea #82d2d9 #f2f5f8'
).split(' ');
const LEVELS = [0, 95, 135, 175, 215, 255];

interface Look {
  fg: string;
  bg: string | undefined;
  bold: boolean;
}

/** Neighbours on a line that look the same; shapes of one kind, or a text, or one letter of two cells. */
interface Run {
  x: number;
  y: number;
  cells: number;
  text: string;
  look: Look;
}

const SHAPES = /^[─│┌┐└┘█▏▎▍▌▋▊▉▁▂▃▄▅▆▇░]/;
/** Of these a row is one shape. */
const WHOLE = /[─█░]/;
const LEFT = ' ▏▎▍▌▋▊▉█';
const LOWER = ' ▁▂▃▄▅▆▇';

function runsOf(canvas: Canvas, y: number): Run[] {
  const runs: Run[] = [];
  for (let x = 0; x < canvas.width; x += 1) {
    const { text, tone, selected } = canvas.cell(x, y);
    if (text === '') continue;
    const cells = x + 1 < canvas.width && canvas.cell(x + 1, y).text === '' ? 2 : 1;
    const run = { x, y, cells, text, look: lookOf(canvas.theme, tone, selected) };
    const last = runs.at(-1);
    if (last && joins(last, run)) {
      last.text += text;
      last.cells += cells;
    } else runs.push(run);
  }
  return runs;
}

function joins(last: Run, next: Run): boolean {
  if (JSON.stringify(last.look) !== JSON.stringify(next.look)) return false;
  if (SHAPES.test(next.text)) return WHOLE.test(next.text) && last.text.endsWith(next.text);
  const isPlain = ({ text, cells }: Run): boolean => !SHAPES.test(text) && cells === [...text].length;
  return isPlain(last) && isPlain(next);
}

function lookOf(theme: Theme, tone: Tone, selected: boolean): Look {
  const code = attributeOf(theme, tone, selected);
  const [flags, fg, bg] = [code >> 18, (code >> 9) & 0x1ff, code & 0x1ff];
  const [ink, ground] = [colourOf(fg) ?? INK, colourOf(bg)];
  const inverse = (flags & 8) !== 0;
  return { fg: inverse ? (ground ?? GROUND) : ink, bg: inverse ? ink : ground, bold: (flags & 1) !== 0 };
}

/** By its number among the 256 of xterm; undefined: the terminal's own. */
function colourOf(number: number): string | undefined {
  if (number > 255) return undefined;
  if (number < 16) return BASIC[number];
  const grey = 8 + (number - 232) * 10;
  const cube = [36, 6, 1].map((size) => LEVELS[Math.floor((number - 16) / size) % 6] ?? 0);
  return `#${(number < 232 ? cube : [grey, grey, grey]).map((part) => part.toString(16).padStart(2, '0')).join('')}`;
}

/** One path for all shapes of a colour. */
function paths(
  runs: readonly Run[],
  shape: (run: Run) => string,
  colour: (run: Run) => string | undefined,
  attribute: string,
): string[] {
  const found = new Map<string, string>();
  for (const run of runs) {
    const own = colour(run);
    const drawn = own === undefined ? '' : shape(run);
    if (own !== undefined && drawn !== '') found.set(own, (found.get(own) ?? '') + drawn);
  }
  return [...found].map(([own, drawn]) => `<path ${attribute}="${own}" d="${drawn}"/>`);
}

function rectangle(x: number, y: number, width: number, height: number): string {
  return `M${round(x)} ${round(y)}h${round(width)}v${round(height)}h${round(-width)}z`;
}

function groundOf({ x, y, cells }: Run): string {
  return rectangle(x * CELL.width, y * CELL.height, cells * CELL.width, CELL.height);
}

/** Bars and curves: parts of a cell, from the left or from below. */
function blockOf({ x, y, text, cells }: Run): string {
  const [left, top] = [x * CELL.width, y * CELL.height];
  const wide = LEFT.indexOf(text[0] ?? '') / 8;
  if (wide > 0) return rectangle(left, top, (cells - 1 + wide) * CELL.width, CELL.height);
  const high = (LOWER.indexOf(text[0] ?? '') / 8) * CELL.height;
  return high > 0 ? rectangle(left, top + CELL.height - high, cells * CELL.width, high) : '';
}

function shadeOf(run: Run): string {
  return run.text.startsWith('░') ? groundOf(run) : '';
}

function lineOf({ x, y, text, cells }: Run): string {
  const [left, top] = [x * CELL.width, y * CELL.height];
  const [middle, centre] = [left + CELL.width / 2, top + CELL.height / 2];
  const [right, bottom] = [left + cells * CELL.width, top + CELL.height];
  const shapes: Readonly<Record<string, string>> = {
    '─': `M${left} ${centre}H${right}`,
    '│': `M${middle} ${top}V${bottom}`,
    '┌': `M${middle} ${bottom}V${centre}H${right}`,
    '┐': `M${middle} ${bottom}V${centre}H${left}`,
    '└': `M${middle} ${top}V${centre}H${right}`,
    '┘': `M${middle} ${top}V${centre}H${left}`,
  };
  return shapes[text[0] ?? ''] ?? '';
}

/** Without the spaces around it. */
function textOf({ x, y, text, cells, look }: Run): string[] {
  const shown = text.trim();
  if (shown === '') return [];
  const before = text.length - text.trimStart().length;
  const length = cells - before - (text.length - text.trimEnd().length);
  const place = `x="${(x + before) * CELL.width}" y="${y * CELL.height + 14}" textLength="${length * CELL.width}"`;
  const bold = look.bold ? ' font-weight="bold"' : '';
  return [`<text ${place} fill="${look.fg}"${bold}>${escaped(shown)}</text>`];
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
