/**
 * Pictures in cells. With 256 colours `▀` puts two pixels into a cell, one as its foreground and one as its background;
 * with fewer colours, and in ASCII, a cell is one sign of a ramp from dark to light. Pure.
 */
import type { Canvas } from './canvas.ts';
import type { Theme } from './theme.ts';

export interface Picture {
  width: number;
  height: number;
  /** Three bytes for each pixel, line by line. */
  rgb: Uint8Array;
}

/** Draws it as large as fits, centred, without enlarging a pixel beyond a half cell; returns how many lines it takes. */
export function drawPicture(canvas: Canvas, picture: Picture): number {
  const fitted = fitInto(picture, canvas.width, canvas.height * 2);
  if (fitted.width === 0) return 0;
  const x = Math.floor((canvas.width - fitted.width) / 2);
  const { theme } = canvas;
  const lines = Math.ceil(fitted.height / 2);
  for (let line = 0; line < lines; line += 1) {
    for (let column = 0; column < fitted.width; column += 1) {
      const upper = pixelOf(fitted, column, line * 2);
      const lower = pixelOf(fitted, column, line * 2 + 1);
      if (theme.colours === 256 && theme.unicode) {
        // Where an odd height leaves a half cell free, it keeps the ground of the terminal.
        canvas.paint(x + column, line, '▀', nearest(upper ?? BLACK), lower && nearest(lower));
      } else canvas.put(x + column, line, shade(upper ?? BLACK, lower ?? upper ?? BLACK, theme));
    }
  }
  return lines;
}

/** The number of the colour of the 256 that looks most like this one: of the cube or of the greys, never of the user's 16. */
export function nearest([red, green, blue]: Rgb): number {
  const [r, g, b] = [level(red), level(green), level(blue)];
  const cube: Rgb = [LEVELS[r] ?? 0, LEVELS[g] ?? 0, LEVELS[b] ?? 0];
  const grey = Math.max(0, Math.min(23, Math.round(((red + green + blue) / 3 - 8) / 10)));
  const tone = 8 + grey * 10;
  const given: Rgb = [red, green, blue];
  return distance(given, [tone, tone, tone]) < distance(given, cube) ? 232 + grey : 16 + 36 * r + 6 * g + b;
}

/** The same picture within width × height pixels, each the mean of those that it stands for; smaller ones stay as they are. */
export function fitInto(picture: Picture, width: number, height: number): Picture {
  const share = Math.min(1, width / picture.width, height / picture.height);
  if (!(share > 0)) return { width: 0, height: 0, rgb: new Uint8Array() };
  const [w, h] = [Math.max(1, Math.floor(picture.width * share)), Math.max(1, Math.floor(picture.height * share))];
  if (w === picture.width && h === picture.height) return picture;
  const rgb = new Uint8Array(w * h * 3);
  for (let y = 0; y < h; y += 1) {
    const [top, bottom] = rangeOf(y, h, picture.height);
    for (let x = 0; x < w; x += 1) {
      const [left, right] = rangeOf(x, w, picture.width);
      rgb.set(meanOf(picture, left, right, top, bottom), (y * w + x) * 3);
    }
  }
  return { width: w, height: h, rgb };
}

// --- internal ---

type Rgb = readonly [red: number, green: number, blue: number];

const BLACK: Rgb = [0, 0, 0];

/** Of the colour cube that terminals have from 16 on. */
const LEVELS = [0, 95, 135, 175, 215, 255] as const;

function level(value: number): number {
  return value < 48 ? 0 : value < 115 ? 1 : Math.floor((value - 35) / 40);
}

function distance(one: Rgb, other: Rgb): number {
  return one.reduce((sum, value, index) => sum + (value - (other[index] ?? 0)) ** 2, 0);
}

/** From dark to light on a dark ground. */
const RAMP = { unicode: ' ░▒▓█', ascii: ' .:-=+*#%@' };

function shade(upper: Rgb, lower: Rgb, { unicode, light = false }: Theme): string {
  const bright = (luma(upper) + luma(lower)) / 2 / 256;
  const ramp = unicode ? RAMP.unicode : RAMP.ascii;
  return ramp[Math.floor((light ? 0.999 - bright : bright) * ramp.length)] ?? ' ';
}

function luma([red, green, blue]: Rgb): number {
  return 0.299 * red + 0.587 * green + 0.114 * blue;
}

function pixelOf({ width, height, rgb }: Picture, x: number, y: number): Rgb | undefined {
  if (y >= height) return undefined;
  const at = (y * width + x) * 3;
  return [rgb[at] ?? 0, rgb[at + 1] ?? 0, rgb[at + 2] ?? 0];
}

function rangeOf(index: number, count: number, total: number): readonly [from: number, to: number] {
  const from = Math.floor((index * total) / count);
  return [from, Math.max(from + 1, Math.floor(((index + 1) * total) / count))];
}

function meanOf({ width, rgb }: Picture, left: number, right: number, top: number, bottom: number): Rgb {
  let [red, green, blue] = [0, 0, 0];
  for (let y = top; y < bottom; y += 1) {
    for (let at = (y * width + left) * 3; at < (y * width + right) * 3; at += 3) {
      red += rgb[at] ?? 0;
      green += rgb[at + 1] ?? 0;
      blue += rgb[at + 2] ?? 0;
    }
  }
  const count = (right - left) * (bottom - top);
  return [Math.round(red / count), Math.round(green / count), Math.round(blue / count)];
}
