/**
 * The one place that talks to blessed, and to the terminal at all. blessed knows terminals (terminfo, the alternate
 * screen) and writes only the cells that changed; what it lacks in types and what it does badly is settled here:
 *
 * - Its widgets are not used. A whole canvas (canvas.ts) is put into its buffer of cells, and it sends the difference.
 * - Its keyboard is not used. It listens to a stream that stays silent, and input.ts reads the real one.
 * - It reads no 32-bit terminfo, so every modern terminal is an `xterm-256color` to it; the theme says how many colours.
 * - A wide letter is one cell and an empty one behind it, which is sent whenever the letter is (`refreshWide`).
 */
import { PassThrough } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { ReadStream, WriteStream } from 'node:tty';
import blessed from 'blessed';
import type { Canvas } from './canvas.ts';
import { Input, type InputEvent } from './input.ts';
import { attributeOf, attributeOfInk, type Theme } from './theme.ts';

export interface TerminalOptions {
  input: Pick<NodeJS.ReadableStream, 'on' | 'off' | 'resume' | 'pause'> & { setRawMode?(raw: boolean): unknown };
  output: WriteStream | NodeJS.WritableStream;
  theme: Theme;
  env: Readonly<Record<string, string | undefined>>;
  mouse: boolean;
  onInput(event: InputEvent): void;
  /** Also after the terminal came back from being suspended: all of it must be drawn again. */
  onResize(): void;
  /** The terminal is gone: nothing can be read from or written to it any more. */
  onGone(): void;
}

export interface Terminal {
  readonly width: number;
  readonly height: number;
  /** Sends what differs from what the terminal shows. */
  draw(canvas: Canvas): void;
  /** Forgets what the terminal shows, so that the next `draw` sends all of it. */
  forget(): void;
  /** From now on clicks and the wheel are events, or the terminal's own. */
  useMouse(on: boolean): void;
  /** Hands text to the clipboard of whoever sits at the terminal (OSC 52). @returns false: it is longer than terminals take. */
  copy(text: string): boolean;
  /** Gives the terminal back and stops the process group; everything is drawn again when it goes on. */
  suspend(): void;
  /** Gives the terminal back. May be called twice; never throws. */
  leave(): void;
}

export function openTerminal(options: TerminalOptions): Terminal {
  const { input, output, theme, env } = options;
  const screen = openScreen(output, theme, env);
  let { mouse } = options;
  let inside = true;
  const write = (text: string): void => {
    try {
      output.write(text);
    } catch {
      options.onGone();
    }
  };
  const enter = (): void => {
    inside = true;
    input.setRawMode?.(true);
    write(BEGIN + (mouse ? MOUSE_ON : ''));
  };
  const leave = (): void => {
    if (!inside) return;
    inside = false;
    try {
      output.write(MOUSE_OFF + END);
      screen.leave();
      screen.program.flush();
      input.setRawMode?.(false);
    } catch {
      // It is gone; there is nothing left to give back.
    }
  };
  const comeBack = (): void => {
    if (inside) leave();
    screen.enter();
    enter();
    options.onResize();
  };
  const stopReading = readKeys(options);
  // blessed makes its buffer anew when the size changes, and would then draw its widgets.
  screen.render = () => inside && options.onResize();
  output.on('error', options.onGone);
  process.on('SIGCONT', comeBack);
  enter();
  return {
    get width() {
      return screen.cols;
    },
    get height() {
      return screen.rows;
    },
    draw: (canvas) => {
      if (!inside) return;
      useColours(screen, canvas.theme);
      fillBuffer(screen, canvas);
      screen.draw(0, screen.lines.length - 1);
      screen.program.flush();
    },
    forget: () => screen.alloc(),
    useMouse: (on) => {
      if (inside && on !== mouse) write(on ? MOUSE_ON : MOUSE_OFF);
      mouse = on;
    },
    copy: (text) => {
      const encoded = Buffer.from(text).toString('base64');
      if (encoded.length > LONGEST_COPY) return false;
      if (inside) write(`\x1b]52;c;${encoded}\x07`);
      return true;
    },
    suspend: () => {
      leave();
      // The whole group: `npm start` and its shell have to stop as well, or the user's shell would go on waiting.
      process.kill(0, 'SIGTSTP');
    },
    leave: () => {
      process.off('SIGCONT', comeBack);
      stopReading();
      leave();
      screen.destroy();
    },
  };
}

// --- internal ---

/** What of blessed's screen is used here and missing in its types. A cell is its attributes and its letter. */
interface RawScreen {
  readonly cols: number;
  readonly rows: number;
  readonly lines: RawLine[];
  /** What the terminal shows. */
  readonly olines: RawLine[];
  readonly tput: { colors: number; brokenACS: boolean };
  readonly program: { flush(): void };
  render(): void;
  alloc(): void;
  enter(): void;
  leave(): void;
  destroy(): void;
  draw(from: number, to: number): void;
}

type RawLine = [attribute: number, letter: string][] & { dirty: boolean };

/** Bracketed paste. */
const BEGIN = '\x1b[?2004h';
const END = '\x1b[?2004l';
const MOUSE_ON = '\x1b[?1000h\x1b[?1006h';
/** Bytes of base64; several terminals take no more at a time. */
const LONGEST_COPY = 74_994;
const MOUSE_OFF = '\x1b[?1006l\x1b[?1000l';

function openScreen(output: TerminalOptions['output'], theme: Theme, env: TerminalOptions['env']): RawScreen {
  const silent = new PassThrough();
  const term = env['TERM'] ?? '';
  // With TMUX set blessed starts `tmux -V` and waits for it.
  const tmux = process.env['TMUX'];
  delete process.env['TMUX'];
  try {
    const screen = blessed.screen({
      input: silent as unknown as ReadStream,
      output: output as WriteStream,
      terminal: /^(linux|vt\d|dumb)/.test(term) ? term : 'xterm-256color',
      forceUnicode: true,
      fullUnicode: false,
      smartCSR: false,
    }) as unknown as RawScreen;
    useColours(screen, theme);
    screen.tput.brokenACS = true;
    return screen;
  } finally {
    if (tmux !== undefined) process.env['TMUX'] = tmux;
  }
}

/** What was drawn with other colours has to be drawn anew; the next `draw` does, since its cells have other attributes. */
function useColours({ tput }: RawScreen, { colours }: Theme): void {
  tput.colors = colours === 'mono' ? 8 : colours;
}

function readKeys({ input, env, onInput, onGone }: TerminalOptions): () => void {
  const keys = new Input({ emit: onInput, escapeDelay: env['SSH_CONNECTION'] ? 150 : 50 });
  const decoder = new StringDecoder('utf8');
  const onData = (chunk: Buffer): void => keys.feed(decoder.write(chunk));
  input.on('data', onData);
  input.on('end', onGone);
  input.on('error', onGone);
  input.resume();
  return () => {
    keys.close();
    input.off('data', onData);
    input.off('end', onGone);
    input.pause();
  };
}

function fillBuffer(screen: RawScreen, canvas: Canvas): void {
  for (let y = 0; y < screen.lines.length; y += 1) {
    const line = screen.lines[y];
    const shown = screen.olines[y];
    if (!line || !shown) continue;
    for (let x = 0; x < line.length; x += 1) {
      const cell = line[x];
      const old = shown[x];
      if (!cell || !old) continue;
      const { text, tone, selected, ink } = canvas.cell(x, y);
      cell[0] = ink ? attributeOfInk(ink) : attributeOf(canvas.theme, tone, selected);
      cell[1] = text;
      if (cell[0] === old[0] && text === old[1]) continue;
      line.dirty = true;
      refreshWide(line, shown, x, canvas);
    }
  }
}

/** Sending a wide letter moves the cursor by two, so the empty cell behind it has to count as sent with it. */
function refreshWide(line: RawLine, shown: RawLine, x: number, canvas: Canvas): void {
  const behind = shown[x + 1];
  if (behind && line[x]?.[1] !== '' && canvas.width > x + 1) behind[1] = WORN;
}

const WORN = '\0';
