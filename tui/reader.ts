/**
 * The reader: a process beside the dashboard that looks at drives and database and sends what changed. It may block for
 * as long as a disk sleeps; the dashboard goes on answering keys. It writes nothing but the short wishes of `ASKS`, and
 * ends when the dashboard does.
 *
 * It looks four times a second while something runs and once a second else; whether the database changed is one cheap
 * question (`PRAGMA data_version`). What was sent already is not sent again.
 */
import { watchDrives } from '../features/detect.ts';
import type { Context } from '../shared/context.ts';
import { messageOf } from '../shared/errors.ts';
import { ASKS, type Memory, READS, type ReadName, type Running, type Want } from './reads.ts';
import { keyOf } from './wants.ts';

export type ToReader =
  | { kind: 'want'; wants: Want[] }
  | { kind: 'ask'; id: number; name: string; args: string[] }
  | { kind: 'refresh' };

export type FromReader =
  | { kind: 'data'; key: string; value: unknown }
  | { kind: 'error'; key: string; message: string }
  | { kind: 'answer'; id: number; error: string | null }
  /** It is not blocked. */
  | { kind: 'beat' };

export interface Channel {
  /** False: the other side does not take it in; it is to be offered again. */
  send(message: FromReader): boolean;
  receive(listener: (message: ToReader) => void): void;
}

/** Answers until `ctx.signal` aborts. */
export async function runReader(ctx: Context, channel: Channel): Promise<void> {
  const reader = new Reader(ctx, channel);
  channel.receive((message) => reader.take(message));
  await Promise.all([reader.look(), reader.followDrives()]);
}

// --- internal ---

const BUSY = 250;
const IDLE = 1000;
const BEAT = 2000;
/** A read that takes longer is told as an error; it goes on, and is not begun a second time. */
const LIMIT = 10_000;
/** The same question is not asked again sooner, however often the database changes. */
const GAP = { fast: 200, slow: 2000 };
const KEEP = 120;

interface Question {
  want: Want;
  asked: number;
  going: boolean;
  due: boolean;
  sent: string;
}

class Reader {
  private readonly ctx: Context;
  private readonly channel: Channel;
  private readonly memory: Memory;
  private questions = new Map<string, Question>();
  private busy = false;
  private version: unknown;
  private beat = 0;
  private sampled = 0;
  private wake = (): void => {};

  constructor(ctx: Context, channel: Channel) {
    const seen: Memory['seen'] = [];
    const emit: Context['emit'] = (event) => {
      if (event.kind !== 'warning' || seen.some((one) => 'warning' in one && one.warning === event.message)) return;
      note(seen, { time: ctx.now().toISOString(), warning: event.message });
    };
    this.ctx = { ...ctx, emit };
    this.channel = channel;
    this.memory = { ctx: this.ctx, seen, rates: new Map(), news: (name) => this.hear(name) };
  }

  take(message: ToReader): void {
    if (message.kind === 'want') {
      const before = this.questions;
      this.questions = new Map(
        message.wants.map((want) => [
          keyOf(want),
          before.get(keyOf(want)) ?? { want, asked: 0, going: false, due: true, sent: '' },
        ]),
      );
    } else if (message.kind === 'refresh') this.hurry();
    else void this.ask(message);
    this.wake();
  }

  async look(): Promise<void> {
    while (!this.ctx.signal.aborted) {
      await this.noticeChange();
      const now = performance.now();
      if (now - this.beat > BEAT && this.channel.send({ kind: 'beat' })) this.beat = now;
      for (const [key, question] of this.questions) if (this.isDue(question, now)) void this.answer(key, question);
      await this.pause(this.busy ? BUSY : IDLE);
    }
  }

  async followDrives(): Promise<void> {
    while (!this.ctx.signal.aborted) {
      try {
        await watchDrives(this.ctx, (drive) => {
          note(this.memory.seen, { time: this.ctx.now().toISOString(), drive });
          this.hurry();
        });
      } catch (error) {
        this.ctx.emit({ kind: 'warning', message: messageOf(error) });
        await new Promise((done) => setTimeout(done, 5000).unref());
      }
    }
  }

  private hear(name: ReadName): void {
    for (const question of this.questions.values()) if (question.want.name === name) question.due = true;
    this.wake();
  }

  private hurry(): void {
    for (const question of this.questions.values()) question.due = true;
    this.wake();
  }

  private isDue({ want, asked, going, due }: Question, now: number): boolean {
    if (going) return false;
    const { busy, idle } = READS[want.name];
    const every = this.busy ? busy : idle;
    const gap = busy <= 1000 ? GAP.fast : GAP.slow;
    return asked === 0 || now - asked >= every || (due && now - asked >= gap);
  }

  private async answer(key: string, question: Question): Promise<void> {
    Object.assign(question, { asked: performance.now(), going: true, due: false });
    const limit = setTimeout(() => {
      const message = `Reading ${question.want.name} takes longer than ${LIMIT / 1000} s; a drive may not answer.`;
      this.channel.send({ kind: 'error', key, message });
    }, LIMIT);
    try {
      const value = await READS[question.want.name].read(question.want.args, this.memory);
      if (question.want.name === 'running') this.noteRunning(value as Running[]);
      const text = JSON.stringify(value);
      if (text !== question.sent && this.channel.send({ kind: 'data', key, value })) question.sent = text;
    } catch (error) {
      if (this.channel.send({ kind: 'error', key, message: messageOf(error) })) question.sent = '';
    } finally {
      clearTimeout(limit);
      question.going = false;
    }
  }

  /** One sample a second and operation. */
  private noteRunning(running: readonly Running[]): void {
    const ended = this.busy && running.length === 0;
    this.busy = running.length > 0;
    if (ended) this.hurry();
    const now = performance.now();
    if (now - this.sampled < 950) return;
    this.sampled = now;
    const { rates } = this.memory;
    for (const { uuid, progress } of running) {
      rates.set(uuid, [...(rates.get(uuid) ?? []), progress?.paused ? 0 : (progress?.rate ?? 0)].slice(-KEEP));
    }
    for (const uuid of rates.keys()) if (!running.some((one) => one.uuid === uuid)) rates.delete(uuid);
  }

  private async ask({ id, name, args }: Extract<ToReader, { kind: 'ask' }>): Promise<void> {
    try {
      const work = ASKS[name];
      if (!work) throw new Error(`There is no wish '${name}'.`);
      await work(args, this.memory);
      this.channel.send({ kind: 'answer', id, error: null });
    } catch (error) {
      this.channel.send({ kind: 'answer', id, error: messageOf(error) });
    }
    this.hurry();
  }

  private async noticeChange(): Promise<void> {
    try {
      const row = await (await this.ctx.dbIfExists())?.get<{ data_version: number }>('PRAGMA data_version');
      if (row?.data_version === this.version) return;
      this.version = row?.data_version;
      for (const question of this.questions.values()) question.due = true;
    } catch {
      // The questions themselves tell what is wrong.
    }
  }

  private pause(milliseconds: number): Promise<void> {
    return new Promise((done) => {
      const timer = setTimeout(done, milliseconds);
      this.wake = () => {
        clearTimeout(timer);
        done();
      };
      if (this.ctx.signal.aborted) this.wake();
    });
  }
}

function note(seen: Memory['seen'], one: Memory['seen'][number]): void {
  seen.push(one);
  if (seen.length > KEEP) seen.shift();
}
