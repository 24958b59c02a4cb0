/** Everything impure that a feature needs arrives through a Context: clock, signal, folders, database, questions, events. */
import { spawn } from 'node:child_process';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Database, databaseFile, type Reader } from './db.ts';
import { TandemError } from './errors.ts';
import type { TandemEvent } from './events.ts';
import { loadSettings, type Settings } from './settings.ts';

/** Questions to a person. Without a terminal every question is an error that names the flag that answers it. */
export interface Prompts {
  readonly interactive: boolean;
  confirm(question: string, flag: string): Promise<boolean>;
  /** Index of the chosen row. */
  choose(question: string, rows: readonly string[], flag: string): Promise<number>;
  input(question: string, flag: string): Promise<string>;
  /** What is typed is not shown. */
  secret(question: string, flag: string): Promise<string>;
}

/** @throws TandemError `cancelled` unless the answer is Yes. */
export async function confirmed(question: string, ctx: Context): Promise<void> {
  if (await ctx.prompts.confirm(question, '--yes')) return;
  throw new TandemError('cancelled', 'The answer was No.', { hint: 'Nothing was changed.' });
}

export interface RunResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program without a shell; resolves for every exit code, rejects only when it cannot be started. */
export type Exec = (file: string, args: readonly string[]) => Promise<RunResult>;

export interface Context {
  now(): Date;
  /** Aborted by the first Ctrl-C: files in flight finish. */
  readonly signal: AbortSignal;
  /** Aborted by the second Ctrl-C: everything stops at once. */
  readonly hardSignal: AbortSignal;
  emit(event: TandemEvent): void;
  readonly configDir: string;
  readonly dataDir: string;
  settings(): Settings;
  /** Opened and migrated on first use; one connection per process. */
  db(): Promise<Database>;
  /** The database for reads that write nothing at all; undefined when there is none. */
  dbIfExists(): Promise<Reader | undefined>;
  readonly prompts: Prompts;
  readonly exec: Exec;
  readonly platform: NodeJS.Platform;
  /** Guards lifted by the user: `all` or names. */
  readonly force: ReadonlySet<string>;
  /** Who begins operations here, as the history keeps it; left out: a person on the command line. */
  readonly startedBy?: string;
  close(): Promise<void>;
}

export interface ContextOptions {
  configDir?: string | undefined;
  dataDir?: string | undefined;
  now?: () => Date;
  signal?: AbortSignal;
  hardSignal?: AbortSignal;
  emit?: (event: TandemEvent) => void;
  prompts?: Prompts;
  exec?: Exec;
  platform?: NodeJS.Platform;
  force?: Iterable<string>;
  startedBy?: string;
}

/** Default folders follow the XDG base directory specification; TANDEM_CONFIG and TANDEM_DATA override them. */
export function createContext(options: ContextOptions = {}): Context {
  const configDir = resolve(
    options.configDir ?? process.env['TANDEM_CONFIG'] ?? join(xdg('XDG_CONFIG_HOME', '.config'), 'tandem'),
  );
  const dataDir = resolve(
    options.dataDir ?? process.env['TANDEM_DATA'] ?? join(xdg('XDG_DATA_HOME', join('.local', 'share')), 'tandem'),
  );
  const startedBy = options.startedBy ?? process.env['TANDEM_STARTED_BY'];
  const never = new AbortController().signal;
  const database = databaseFile(join(dataDir, 'tandem.db'));
  return {
    now: options.now ?? (() => new Date()),
    signal: options.signal ?? never,
    hardSignal: options.hardSignal ?? never,
    emit: options.emit ?? (() => {}),
    configDir,
    dataDir,
    settings: () => loadSettings(configDir, join(dataDir, 'cache')),
    db: () => database.write(),
    dbIfExists: () => database.read(),
    prompts: options.prompts ?? refusingPrompts,
    exec: options.exec ?? execFile,
    platform: options.platform ?? process.platform,
    force: new Set(options.force),
    ...(startedBy ? { startedBy } : {}),
    close: () => database.close(),
  };
}

/** Prompts for a run without a terminal. */
export const refusingPrompts: Prompts = {
  interactive: false,
  confirm: (question, flag) => refuse(question, flag),
  choose: (question, _rows, flag) => refuse(question, flag),
  input: (question, flag) => refuse(question, flag),
  secret: (question, flag) => refuse(question, flag),
};

function refuse(question: string, flag: string): Promise<never> {
  return Promise.reject(
    new TandemError('usage', `An answer is needed and there is no terminal to ask on: ${question}`, {
      hint: `Give ${flag}.`,
    }),
  );
}

function xdg(variable: string, fallback: string): string {
  const value = process.env[variable];
  return value?.startsWith('/') ? value : join(homedir(), fallback);
}

const execFile: Exec = (file, args) =>
  new Promise((done, fail) => {
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C' } });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', fail);
    child.on('close', (code) => done({ code: code ?? 1, stdout, stderr }));
  });
