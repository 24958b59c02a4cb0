/**
 * The log: one line of JSON for each thing that happened, in `logs/tandem.log` of the data folder, written by every process
 * that works (daemon, runs by hand, detached runs). Each line is one write to a file that is open for appending, so that
 * lines of several processes never run into each other and none waits in memory when a process is killed. Before each
 * line the file is looked at: one that another process has set aside is left, one that is full is set aside.
 *
 * pino makes the lines. It is loaded for the first of them, so that commands that note nothing do without it.
 */
import { closeSync, constants, fstatSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import { ifLockFree } from './config.ts';
import type { Context } from './context.ts';
import { LOG_LEVELS, type LogLevel, type Settings } from './settings.ts';

/** What a line says besides `level`, `time`, `pid`, `event` and `msg`; names of files as they are. */
export type LogFields = Readonly<Record<string, unknown>>;

export const logFile = (ctx: Pick<Context, 'dataDir'>): string => join(ctx.dataDir, 'logs', 'tandem.log');

/** The file before `.1`, `.2` …: the higher, the older. */
export const formerLog = (file: string, number: number): string => `${file}.${number}`;

/**
 * Notes something; never throws and never waits. A log that cannot be written is no reason to stop a run.
 * @param event what kind of thing, for programs: `operation.completed`, `watcher.state` …
 */
export function log(ctx: Context, level: LogLevel, event: string, message: string, fields: LogFields = {}): void {
  let settings: Settings['log'];
  try {
    settings = ctx.settings().log;
  } catch {
    // Settings that cannot be read are told elsewhere.
    settings = FALLBACK;
  }
  if (LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(settings.level)) return;
  const target = targetOf(logFile(ctx), settings);
  const time = ctx.now();
  if (target.logger) {
    write(target.logger, { level, event, message, fields, time });
    return;
  }
  target.waiting.push({ level, event, message, fields, time });
  if (target.waiting.length > 1) return;
  const opened = open(target).catch(() => void target.waiting.splice(0));
  loading = Promise.all([loading, opened]);
}

/** Waits until what was noted is in the file; only the first lines of a process ever wait. */
export async function logWritten(): Promise<void> {
  await loading;
}

// --- internal ---

const FALLBACK: Settings['log'] = { level: 'info', maxSize: 10_000_000, keep: 5 };

interface Line {
  level: LogLevel;
  event: string;
  message: string;
  fields: LogFields;
  time: Date;
}

interface Target {
  file: string;
  settings: Settings['log'];
  logger: Logger | undefined;
  waiting: Line[];
  fd: number | undefined;
}

const targets = new Map<string, Target>();
let loading: Promise<unknown> = Promise.resolve();

function targetOf(file: string, settings: Settings['log']): Target {
  const target = targets.get(file) ?? { file, settings, logger: undefined, waiting: [], fd: undefined };
  target.settings = settings;
  targets.set(file, target);
  return target;
}

async function open(target: Target): Promise<void> {
  const { pino } = await import('pino');
  // Not pino's own destination: that one buffers, and follows no file that another process sets aside.
  const destination = { write: (text: string): void => append(target, text) };
  const logger = pino(
    {
      level: 'debug',
      base: { pid: process.pid },
      timestamp: false,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  target.logger = logger;
  for (const line of target.waiting.splice(0)) write(logger, line);
}

function write(logger: Logger, { level, event, message, fields, time }: Line): void {
  logger[level]({ time: time.toISOString(), event, ...fields }, message);
}

function append(target: Target, text: string): void {
  try {
    const fd = fileFor(target, Buffer.byteLength(text));
    const bytes = Buffer.from(text);
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
  } catch {
    // A full disk, a folder without permission: the run goes on without its notes.
    forget(target);
  }
}

/** The open file that is the newest one now, with room for so many bytes. */
function fileFor(target: Target, bytes: number): number {
  for (let tries = 0; ; tries += 1) {
    target.fd ??= openLog(target.file);
    const { fd } = target;
    const mine = fstatSync(fd);
    const now = statSync(target.file, { throwIfNoEntry: false });
    const isNewest = now?.ino === mine.ino && now.dev === mine.dev;
    const isFull = mine.size > 0 && mine.size + bytes > target.settings.maxSize;
    // While another process sets it aside, it may grow by the few lines of that moment.
    if (tries === 3 || (isNewest && !(isFull && setAside(target)))) return fd;
    forget(target);
  }
}

function openLog(file: string): number {
  mkdirSync(dirname(file), { recursive: true });
  return openSync(file, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o600);
}

function forget(target: Target): void {
  if (target.fd !== undefined) closeSync(target.fd);
  target.fd = undefined;
}

/** False: another process does it at this moment. */
function setAside({ file, settings, fd }: Target): boolean {
  return ifLockFree(file, () => {
    // Another process may have been faster.
    if (fd === undefined || statSync(file, { throwIfNoEntry: false })?.ino !== fstatSync(fd).ino) return;
    for (let number = settings.keep; number >= 1; number -= 1) {
      const from = number === 1 ? file : formerLog(file, number - 1);
      if (statSync(from, { throwIfNoEntry: false })) renameSync(from, formerLog(file, number));
    }
    for (let number = settings.keep + 1; statSync(formerLog(file, number), { throwIfNoEntry: false }); number += 1)
      rmSync(formerLog(file, number), { force: true });
  });
}
