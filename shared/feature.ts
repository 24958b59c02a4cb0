/**
 * The shape of a feature's face: a command and a panel, both plain data. This file turns a command into a running
 * program and is, with `tui/`, the only place that touches `process` for features.
 */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Context } from './context.ts';
import type { ExitCode } from './errors.ts';
import { displayWidth } from './format.ts';

/** The same as in package.json. */
export const VERSION = '0.1.0';

export type Style = 'good' | 'bad' | 'warn' | 'dim' | 'master' | 'backup' | 'plain';

/** One column of a list; the command line and the dashboard print from the same columns. */
export interface Column<T> {
  title: string;
  value(row: T): string;
  align?: 'right';
  style?(row: T): Style;
  /** What its rows are sorted by, where that is not the text. */
  order?(row: T): number;
}

/** What a dashboard panel is made of; `tui/` draws it, features declare it. */
export interface Panel<T> {
  title: string;
  /** Rows for the panel, read through the same functions as the command's. */
  rows(ctx: Context): Promise<T[]>;
  columns: readonly Column<T>[];
  /** What to say when there is no row: what to do next. */
  empty: string;
  actions: readonly PanelAction<T>[];
}

export interface PanelAction<T> {
  key: string;
  label: string;
  /** Why the action is not possible on this row, or undefined when it is. */
  disabled?(row: T): string | undefined;
  /** The words of the command that carries it out, in a process of its own. */
  command(row: T): string[];
}

export type Completion = 'group' | 'project' | 'drive' | 'operation' | 'target' | 'path';

export interface ArgumentSpec {
  name: string;
  description: string;
  optional?: boolean;
  variadic?: boolean;
  complete?: Completion;
}

export interface OptionSpec {
  /** As commander writes it: `--path <subpath>`, `-n, --dry-run`, `--no-backup`. */
  flags: string;
  description: string;
  choices?: readonly string[];
  complete?: Completion;
  /** May be given several times; arrives as an array. */
  repeat?: boolean;
  /** Turns the text into the value; throws TandemError `usage`. */
  parse?: (text: string) => unknown;
}

// biome-ignore lint/suspicious/noExplicitAny: commander's values; each verb narrows its own
export type Values = Record<string, any>;

export interface VerbInput {
  args: Values;
  options: Values;
}

/** What a verb hands back. Long-running verbs may also print lines as they come through `write`. */
export interface Output {
  /** The one document of `--json`. */
  json: unknown;
  /** For people, without a trailing newline; colours through `paint`. */
  text(paint: Paint): string;
  exitCode?: ExitCode;
}

export type Paint = (style: Style | 'bold', text: string) => string;

export interface Verb {
  summary: string;
  /** Shown first in the help. */
  examples: readonly string[];
  args?: readonly ArgumentSpec[];
  options?: readonly OptionSpec[];
  /** When it has ended the process ends, whatever still goes on in it. */
  leaves?: true;
  /** `write` prints one line to stdout at once (for verbs that go on, such as `detect watch`). */
  run(input: VerbInput, ctx: Context, write: (line: string) => void): Promise<Output | undefined>;
}

export interface Command {
  name: string;
  summary: string;
  verbs: Readonly<Record<string, Verb>>;
  /** The command is its own single verb (`tandem status`). */
  single?: boolean;
}

export function defineCommand(command: Command): Command {
  return command;
}

export function definePanel<T>(panel: Panel<T>): Panel<T> {
  return panel;
}

/**
 * Runs the feature's command when its file is the program (`npx tsx features/sync.ts run Archive`). Not awaited by the
 * caller, so that the module finishes loading first; sets the exit code and never throws.
 */
export function runIfMain(meta: ImportMeta, command: Command): void {
  if (!isProgram(meta.url)) return;
  void import('./cli.ts').then(({ runCommandLine }) =>
    runCommandLine([command.name, ...process.argv.slice(2)], () => Promise.resolve(command)),
  );
}

/** A table for the terminal: two spaces between columns, the last one not padded. */
export function renderTable<T>(rows: readonly T[], columns: readonly Column<T>[], paint: Paint): string {
  const cells = rows.map((row) => columns.map((column) => column.value(row)));
  const widths = columns.map((column, index) =>
    cells.reduce((width, line) => Math.max(width, displayWidth(line[index] ?? '')), displayWidth(column.title)),
  );
  const pad = (text: string, index: number): string => {
    const gap = ' '.repeat(Math.max(0, (widths[index] ?? 0) - displayWidth(text)));
    if (columns[index]?.align === 'right') return gap + text;
    return index === columns.length - 1 ? text : text + gap;
  };
  const head = columns.map((column, index) => paint('bold', pad(column.title, index))).join('  ');
  const body = cells.map((line, at) =>
    line
      .map((text, index) => {
        const row = rows[at];
        const style = row === undefined ? 'plain' : (columns[index]?.style?.(row) ?? 'plain');
        return paint(style, pad(text, index));
      })
      .join('  '),
  );
  return [head, ...body].map((line) => line.trimEnd()).join('\n');
}

// --- internal ---

/** The program may have been named through a symlink or without its `.ts`; a bundle is never a feature's own program. */
function isProgram(url: string): boolean {
  const started = process.argv[1];
  if (started === undefined || !url.endsWith('.ts')) return false;
  const self = fileURLToPath(url);
  return [started, `${started}.ts`].some((path) => realPath(path) === self);
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
