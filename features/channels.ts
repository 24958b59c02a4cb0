/**
 * One notice to one channel: a note on the desktop, a program, a web address. Each attempt has a time limit, and what a
 * program is given or a server is asked never holds more than the notice and the channel's own token.
 */
import { spawn } from 'node:child_process';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../shared/context.ts';
import { errnoOf, messageOf } from '../shared/errors.ts';
import { displayPath } from '../shared/paths.ts';
import { secretLine } from '../shared/secrets.ts';
import type { ChannelSetting, NoticeEvent } from '../shared/settings.ts';
import { joinedTo } from '../shared/signals.ts';

/** What a webhook gets as JSON, and a command on stdin. */
export interface Notice {
  event: NoticeEvent;
  /** The group's id, or the project's where it lies on several groups. */
  group_id: string;
  /** The same word as `event`. */
  status: NoticeEvent;
  /** One sentence. */
  message: string;
  /** Id of the operation; null where there is none (yet). */
  operation_id: string | null;
  /** Name of the group or project. */
  target: string;
  schedule_id: string | null;
  /** ISO 8601, UTC. */
  time: string;
}

/**
 * Tries until it arrives or the attempts are used up.
 * @returns undefined, or what went wrong at last: a sentence without address and token
 */
export async function deliver(
  channel: ChannelSetting,
  notice: Notice,
  ctx: Context,
  signal: AbortSignal,
): Promise<string | undefined> {
  const retries = channel.retries ?? (channel.type === 'webhook' ? 3 : 0);
  for (let attempt = 0; ; attempt += 1) {
    const failure = await attemptOn(channel, notice, ctx, signal).catch(
      (error: unknown): Failure => ({ message: withoutAddress(error), lasting: true }),
    );
    if (failure === undefined) return undefined;
    if (failure.lasting || attempt >= retries || signal.aborted) return failure.message;
    await sleep(Math.min(FIRST_PAUSE * 2 ** attempt, LONGEST_PAUSE), undefined, { signal, ref: false }).catch(() => {});
  }
}

// --- internal ---

interface Failure {
  message: string;
  /** Trying again would not help. */
  lasting: boolean;
}

/** Milliseconds; doubled after each attempt. */
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 60_000;
/** Seconds. */
const TIME_LIMIT = 10;

type Of<T extends ChannelSetting['type']> = Extract<ChannelSetting, { type: T }>;

async function attemptOn(
  channel: ChannelSetting,
  notice: Notice,
  ctx: Context,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  const milliseconds = (channel.timeout ?? TIME_LIMIT) * 1000;
  switch (channel.type) {
    case 'desktop':
      return runProgram(desktopWords(notice, ctx.platform), '', milliseconds, signal);
    case 'command': {
      const words = channel.command ?? ['/bin/sh', '-c', channel.shell ?? ''];
      return runProgram(words, `${JSON.stringify(notice)}\n`, milliseconds, signal);
    }
    case 'webhook':
      return post(channel, notice, milliseconds, signal);
  }
}

const TITLE: Record<NoticeEvent, string> = {
  started: 'Run started',
  completed: 'Run completed',
  failed: 'Run failed',
  conflict: 'Conflicts wait',
  waiting: 'Waiting for a drive',
  overdue: 'Backup overdue',
};

const titleOf = ({ event, target }: Notice): string =>
  displayPath(target === '' ? TITLE[event] : `${TITLE[event]}: ${target}`);
const isUrgent = ({ event }: Notice): boolean => event === 'failed' || event === 'overdue';

/** The texts are arguments of their own, so that nothing in them is taken for markup, an option or a script. */
function desktopWords(notice: Notice, platform: NodeJS.Platform): string[] {
  const [title, body] = [titleOf(notice), displayPath(notice.message)];
  if (platform === 'darwin') {
    const script = ['on run argv', 'display notification (item 2 of argv) with title (item 1 of argv)', 'end run'];
    return ['osascript', ...script.flatMap((line) => ['-e', line]), title, body];
  }
  const escaped = body.replace(/[&<>]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[sign] ?? sign);
  return [
    'notify-send',
    '--app-name=tandem',
    `--urgency=${isUrgent(notice) ? 'critical' : 'normal'}`,
    '--',
    title,
    escaped,
  ];
}

/** A group of its own, so that what it started ends with it when the time is up. */
function runProgram(
  [file = '', ...args]: readonly string[],
  input: string,
  milliseconds: number,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  const { TANDEM_PASSWORD: _password, ...env } = process.env;
  return new Promise((done) => {
    const child = spawn(file, args, { stdio: ['pipe', 'ignore', 'pipe'], env, detached: true });
    let complaint = '';
    let stopped: string | undefined;
    const stop = (why: string): void => {
      stopped ??= why;
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        child.kill('SIGKILL');
      }
    };
    const timer = setTimeout(() => stop(`it took longer than ${milliseconds / 1000} s`), milliseconds);
    const abort = (): void => stop('it was stopped');
    signal.addEventListener('abort', abort, { once: true });
    const end = (failure: Failure | undefined): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      done(failure);
    };
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (complaint.length < 500) complaint += text;
    });
    child.on('error', (error) => {
      const why = errnoOf(error) === 'ENOENT' ? `there is no program '${displayPath(file)}'` : messageOf(error);
      end({ message: why, lasting: true });
    });
    // Not `close`: a program that it left running may hold the pipe.
    child.on('exit', (code, killed) => {
      child.stderr.destroy();
      if (code === 0 && stopped === undefined) return end(undefined);
      const said = complaint.trim() === '' ? '' : `: ${displayPath(complaint.trim().slice(0, 300))}`;
      end({ message: `${stopped ?? `it ended with ${killed ?? `code ${code}`}`}${said}`, lasting: false });
    });
    if (signal.aborted) abort();
  });
}

async function post(
  channel: Of<'webhook'>,
  notice: Notice,
  milliseconds: number,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  const { url, headers, body } = requestFor(channel, notice);
  const { controller, letGo } = joinedTo(signal);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    controller.abort();
  }, milliseconds);
  let response: Response;
  try {
    // A redirect would carry the token to another server.
    response = await fetch(url, {
      method: 'POST',
      headers,
      body,
      redirect: 'manual',
      signal: controller.signal,
    });
    await response.body?.cancel();
  } catch (error) {
    if (late) return { message: `${url.host} did not answer within ${milliseconds / 1000} s`, lasting: false };
    return {
      message: `${url.host} cannot be reached: ${withoutAddress((error as Error).cause ?? error)}`,
      lasting: false,
    };
  } finally {
    clearTimeout(timer);
    letGo();
  }
  if (response.ok) return undefined;
  const lasting = response.status < 500 && response.status !== 429 && response.status !== 408;
  return { message: `${url.host} answered ${response.status}`, lasting };
}

function requestFor(
  channel: Of<'webhook'>,
  notice: Notice,
): { url: URL; headers: Record<string, string>; body: string } {
  const url = addressOf(channel);
  const token = tokenOf(channel);
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  switch (channel.style ?? 'json') {
    case 'json':
      return { url, headers: { 'content-type': 'application/json', ...authorization }, body: JSON.stringify(notice) };
    case 'ntfy': {
      const headers = {
        title: headerText(titleOf(notice)),
        priority: isUrgent(notice) ? 'high' : 'default',
        tags: notice.event === 'completed' ? 'white_check_mark' : isUrgent(notice) ? 'warning' : 'floppy_disk',
      };
      return { url, headers: { ...headers, ...authorization }, body: notice.message };
    }
    case 'healthchecks': {
      const end = {
        started: '/start',
        completed: '',
        failed: '/fail',
        conflict: '/log',
        waiting: '/log',
        overdue: '/fail',
      };
      url.pathname = `${url.pathname.replace(/\/+$/, '')}${end[notice.event]}`;
      return { url, headers: { 'content-type': 'text/plain; charset=utf-8', ...authorization }, body: notice.message };
    }
  }
}

/** Headers hold Latin letters only; others travel encoded, as in mails. */
function headerText(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) ? text : `=?UTF-8?B?${Buffer.from(text).toString('base64')}?=`;
}

function addressOf({ url, url_file, url_env }: Of<'webhook'>): URL {
  const text = url ?? (url_file === undefined ? variable(url_env ?? '') : secretLine(atHome(url_file)));
  const address = URL.canParse(text) ? new URL(text) : undefined;
  if (address && /^https?:$/.test(address.protocol) && address.username === '' && address.password === '')
    return address;
  throw new Error('its address does not begin with http:// or https://, or has a password in it');
}

function tokenOf({ token_file, token_env }: Of<'webhook'>): string | undefined {
  if (token_file !== undefined) return secretLine(atHome(token_file));
  return token_env === undefined ? undefined : variable(token_env);
}

function variable(name: string): string {
  const value = process.env[name]?.trim() ?? '';
  if (value !== '') return value;
  throw new Error(`the variable ${displayPath(name)} is empty`);
}

const atHome = (path: string): string => (path.startsWith('~/') ? join(homedir(), path.slice(2)) : path);

/** Of an error of the network only its name: its message may hold the address. */
function withoutAddress(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && /^[A-Z_]+$/.test(code) ? code : messageOf(error).replace(/https?:\/\/\S+/g, '…');
}
