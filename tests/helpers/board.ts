/**
 * The dashboard in this process: real application, screens and blessed, in front of a terminal that is a program
 * (@xterm/headless), with answers that the test gives instead of the reader's.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import xterm from '@xterm/headless';
import * as assert from 'uvu/assert';
import type { Outcome, Secrets } from '../../tui/actions.ts';
import { type App, type AppOptions, startApp } from '../../tui/app.ts';
import type { Canvas } from '../../tui/canvas.ts';
import type { Overview, ReadName, ReadResult, Running, Want } from '../../tui/reads.ts';
import type { AnyScreen } from '../../tui/screen.ts';
import { SCREENS } from '../../tui/screens/index.ts';
import { openTerminal } from '../../tui/terminal.ts';
import type { Theme } from '../../tui/theme.ts';
import { keyOf, want } from '../../tui/wants.ts';
import { pictureOf } from './picture.ts';

/** The moment at which the clock of the dashboard stands. */
export const NOW = new Date(2026, 10, 20, 14, 32, 7);

/** `minutes` before it, as the journal writes times. */
export const ago = (minutes: number): string => new Date(NOW.getTime() - minutes * 60_000).toISOString();

export interface BoardOptions {
  width?: number;
  height?: number;
  theme?: Theme;
  readOnly?: boolean;
  screens?: readonly AnyScreen[];
  look?: AppOptions['look'];
  /** Its clock; left out, it stands at `NOW`. */
  now?: () => Date;
  /** False: what was sent is counted, and not kept. */
  keep?: boolean;
}

export interface Board {
  readonly app: App;
  /** What was started, as words in one text each. */
  readonly started: string[];
  /** What each of them was told beside its words. */
  readonly secrets: Secrets[];
  /** Wishes to the reader, `name arg …`. */
  readonly asked: string[];
  /** What was handed over on stdin. */
  readonly handed: string[];
  /** Everything that was sent to the terminal so far. */
  raw(): string;
  /** Ends what was started. */
  finish(outcome: Outcome): void;
  give<N extends ReadName>(name: N, value: ReadResult<N>, ...args: string[]): void;
  fail(name: ReadName, error: string): void;
  /** What the dashboard wants to be read now. */
  wanted(): readonly Want[];
  /** As if none of these questions had been answered. */
  forget(name: ReadName): void;
  /** Bytes as a terminal sends them; resolves when all is drawn. */
  press(...bytes: string[]): Promise<void>;
  resize(width: number, height: number): Promise<void>;
  /** The lines that the terminal shows. */
  lines(): Promise<string[]>;
  /** What a cell looks like: `inverse`, `bold`, `fg`, `bg` where they are set. */
  look(x: number, y: number): string[];
  /** Bytes that were sent to the terminal so far. */
  sent(): number;
  close(): void;
}

/** 256 colours on a UTF-8 terminal. */
export const THEME: Theme = { colours: 256, unicode: true };

export async function openBoard(options: BoardOptions = {}): Promise<Board> {
  const { width = 120, height = 35, theme = THEME, readOnly = false, screens = SCREENS } = options;
  const terminal = new xterm.Terminal({ cols: width, rows: height, allowProposedApi: true });
  const output = new FakeOutput(terminal, width, height, options.keep ?? true);
  const input = new PassThrough();
  const answers = new Map<string, { value?: unknown; error?: string }>();
  const [started, asked, handed]: [string[], string[], string[]] = [[], [], []];
  const secrets: Secrets[] = [];
  let ends: ((outcome: Outcome) => void)[] = [];
  let changed = (): void => {};
  let wanted: readonly Want[] = [];
  let drawn: Canvas | undefined;
  const app = startApp({
    screens,
    theme,
    readOnly,
    pace: 5,
    now: options.now ?? (() => NOW),
    spin: false,
    ...(options.look && { look: options.look }),
    open: (events) => {
      const stream = output as unknown as NodeJS.WriteStream;
      const real = openTerminal({ input, output: stream, theme, env: {}, mouse: true, ...events });
      const { draw } = real;
      real.draw = (canvas) => {
        drawn = canvas;
        draw(canvas);
      };
      return real;
    },
    source: (onChange) => {
      changed = onChange;
      return {
        want: (wants) => {
          wanted = wants;
        },
        answer: (one) => answers.get(keyOf(one)) ?? {},
        ask: async (name, args) => void asked.push([name, ...args].join(' ')),
        refresh: () => {},
        trouble: () => undefined,
        close: () => {},
      };
    },
    commands: {
      start: (words, _label, onEnd, told = {}) => {
        started.push(words.join(' '));
        secrets.push(told);
        if (told.stdin !== undefined) handed.push(told.stdin);
        ends.push(onEnd);
      },
      release: () => {},
    },
  });
  const settle = async (): Promise<void> => {
    // Commands that the test has not ended yet are no reason to wait.
    do await new Promise((done) => setTimeout(done, 10));
    while (!app.idle() && ends.length === 0);
    await output.flushed();
  };
  return {
    app,
    started,
    secrets,
    asked,
    handed,
    raw: () => output.text,
    finish: (outcome) => {
      const waiting = ends;
      ends = [];
      for (const end of waiting) end(outcome);
    },
    give: (name, value, ...args) => {
      answers.set(keyOf(want(name, ...args)), { value });
      changed();
    },
    fail: (name, error) => {
      answers.set(keyOf(want(name)), { ...answers.get(keyOf(want(name))), error });
      changed();
    },
    wanted: () => wanted,
    forget: (name) => {
      for (const key of answers.keys()) if ((JSON.parse(key) as string[])[0] === name) answers.delete(key);
    },
    press: async (...bytes) => {
      for (const one of bytes) {
        input.write(one);
        await settle();
      }
    },
    resize: async (columns, rows) => {
      terminal.resize(columns, rows);
      output.resize(columns, rows);
      await settle();
    },
    lines: async () => {
      await settle();
      const buffer = terminal.buffer.active;
      const lines = Array.from({ length: terminal.rows }, (_, y) => buffer.getLine(y)?.translateToString(true) ?? '');
      if (drawn) CANVASES.set(lines, drawn);
      return lines;
    },
    look: (x, y) => {
      const cell = terminal.buffer.active.getLine(y)?.getCell(x);
      const parts: [string, boolean][] = [
        ['inverse', cell?.isInverse() !== 0],
        ['bold', cell?.isBold() !== 0],
        ['fg', cell?.isFgDefault() === false],
        ['bg', cell?.isBgDefault() === false],
      ];
      return parts.flatMap(([name, set]) => (set ? [name] : []));
    },
    sent: () => output.bytes,
    close: () => {
      app.close();
      terminal.dispose();
    },
  };
}

/**
 * Compares with `tests/tui/golden/NAME.txt`; `TANDEM_GOLDEN=write` writes what is shown there. What is shown at 120x35 is
 * compared with its picture in `docs/pictures` too; `npm run pictures` writes those alone.
 */
export function matchesGolden(name: string, lines: readonly string[]): void {
  const mode = process.env['TANDEM_GOLDEN'];
  matchesFile(`tests/tui/golden/${name}.txt`, `${lines.join('\n')}\n`, mode === 'write');
  const [screen] = name.split('-120x35');
  const canvas = CANVASES.get(lines);
  if (screen === name || !canvas) return;
  const picture = pictureOf(canvas, `The dashboard of tandem: ${screen}`);
  assert.ok(picture.length < 60_000, `${name} is a small file: ${picture.length} bytes`);
  matchesFile(`docs/pictures/${screen}.svg`, picture, mode === 'write' || mode === 'pictures');
}

type Group = Overview['groups'][number];
type Drive = Overview['drives'][number];

export function drive(label: string, more: Partial<Drive> = {}): Drive {
  return {
    device: `/dev/${label.toLowerCase()}`,
    disk: `/dev/${label.toLowerCase()}`,
    mount_path: `/media/${label}`,
    label,
    serial_number: `SN-${label}`,
    fs_uuid: `FS-${label}`,
    filesystem: 'exfat',
    total_size: 2e12,
    free_size: 412e9,
    removable: true,
    transport: 'usb',
    rotational: true,
    read_only: false,
    drive_uuid: `id-${label}`,
    virtual: false,
    group_id: null,
    role: null,
    network: false,
    device_number: '8:1',
    ...more,
  };
}

export function group(name: string, master: string, backup: string, more: Partial<Group> = {}): Group {
  const side = (label: string) => ({
    serial_number: `SN-${label}`,
    label,
    total_size: 2e12,
    drive_uuid: `id-${label}`,
    connected: true,
    mount_path: `/media/${label}`,
  });
  return {
    id: `id-${name}`,
    name,
    description: '',
    created: ago(100_000),
    modified: ago(100_000),
    status: 'connected',
    master_drive: side(master),
    backup_drive: side(backup),
    last_success: ago(120),
    days_since_last_success: 0,
    open_conflicts: 0,
    last_run: null,
    storage: null,
    ...more,
  };
}

export function running(name: string, more: Partial<Running> = {}): Running {
  return {
    id: 1,
    uuid: `uuid-${name}`,
    group_id: `id-${name}`,
    operation_type: 'sync',
    target_kind: 'group',
    target_name: name,
    subpath: '',
    role: '',
    parent_id: null,
    parts: 0,
    status: 'running',
    start_time: ago(2),
    end_time: null,
    process_id: 1,
    started_by: '',
    control: '',
    files_copied: 0,
    files_skipped: 0,
    files_failed: 0,
    bytes_copied: 0,
    files_moved: 0,
    files_deleted: 0,
    conflicts_detected: 0,
    verified: 'none',
    problems: [],
    reason: null,
    progress: {
      phase: 'copy',
      files_done: 4812,
      files_total: 9130,
      files_copied: 4812,
      files_skipped: 0,
      files_failed: 0,
      bytes_done: 18.4e9,
      bytes_total: 29.6e9,
      rate: 46e6,
      eta: 250,
      current: ['2026/07/IMG_4410.RAF', '2026/07/IMG_4411.RAF', '2026/07 東京/IMG_4409 📷.RAF'],
      paused: false,
    },
    rates: [20, 30, 50, 60, 70, 75, 60, 50, 55, 60, 75, 80, 75, 60, 50, 30].map((rate) => rate * 1e6),
    ...more,
  };
}

export function daemon(more: Partial<Overview['daemon']> = {}): Overview['daemon'] {
  return {
    running: false,
    answers: false,
    process_id: null,
    version: null,
    started: null,
    heartbeat: null,
    metrics: null,
    message: '',
    watchers: { enabled: 0, running: 0 },
    schedules: { enabled: 0, running: 0 },
    ...more,
  };
}

export function overview(more: Partial<Overview> = {}): Overview {
  const now = NOW.toISOString();
  return {
    drives: [],
    groups: [],
    operations: [],
    watchers: [],
    daemon: daemon(),
    now,
    advice: [],
    sealed: [],
    ...more,
  };
}

// --- internal ---

/** What the lines of a board were drawn from. */
const CANVASES = new WeakMap<readonly string[], Canvas>();

function matchesFile(file: string, text: string, write: boolean): void {
  const path = fileURLToPath(new URL(`../../${file}`, import.meta.url));
  if (write) writeFileSync(path, text);
  assert.ok(existsSync(path), `${file} is there; TANDEM_GOLDEN=write makes it`);
  assert.fixture(text, readFileSync(path, 'utf8'), file);
}

/** A terminal's output side as Node has it. */
class FakeOutput extends PassThrough {
  readonly isTTY = true;
  columns: number;
  rows: number;
  bytes = 0;
  text = '';
  private readonly terminal: xterm.Terminal;
  private unread = 0;

  constructor(terminal: xterm.Terminal, columns: number, rows: number, keep: boolean) {
    super();
    this.terminal = terminal;
    this.columns = columns;
    this.rows = rows;
    this.on('data', (chunk: Buffer) => {
      this.unread += 1;
      this.bytes += chunk.length;
      if (keep) this.text += chunk.toString();
      this.terminal.write(chunk, () => {
        this.unread -= 1;
      });
    });
  }

  resize(columns: number, rows: number): void {
    this.columns = columns;
    this.rows = rows;
    this.emit('resize');
  }

  async flushed(): Promise<void> {
    do await new Promise((done) => setTimeout(done, 5));
    while (this.unread > 0 || this.readableLength > 0);
  }
}
