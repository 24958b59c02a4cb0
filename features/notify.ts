/**
 * Tells people of runs that they do not see: desktop, any program, web addresses, as `notify:` in app.yaml says. `notify`
 * returns at once and never throws; each channel has a queue of its own, so that a slow one holds up neither a run nor
 * the other channels. How a notice reaches its channel lies in channels.ts.
 */
import type { Context } from '../shared/context.ts';
import { EXIT, messageOf, TandemError } from '../shared/errors.ts';
import {
  type Column,
  defineCommand,
  definePanel,
  type Output,
  type Paint,
  renderTable,
  runIfMain,
} from '../shared/feature.ts';
import { closest } from '../shared/format.ts';
import { foldText, quote } from '../shared/named.ts';
import { displayPath } from '../shared/paths.ts';
import type { ChannelSetting, NoticeEvent } from '../shared/settings.ts';
import { deliver, type Notice } from './channels.ts';

export type { NoticeEvent } from '../shared/settings.ts';
export type { Notice } from './channels.ts';

export interface NoticeInput {
  event: NoticeEvent;
  /** The group's id, or the project's where it lies on several groups. */
  group_id: string;
  /** Names and ids by which channels may choose it besides `group_id` and `target`. */
  groups?: readonly string[] | undefined;
  /** Name of the group or project. */
  target: string;
  message: string;
  operation_id?: string | null | undefined;
  schedule_id?: string | null | undefined;
  /** Somebody sees it happen: only channels that name the event in `events` are told. */
  attended?: boolean | undefined;
}

/** Takes a notice for every channel that wants it. What goes wrong is a warning in `ctx.emit`. */
export function notify(input: NoticeInput, ctx: Context): void {
  let channels: ChannelSetting[];
  try {
    channels = ctx.settings().notify.channels;
  } catch (error) {
    ctx.emit({ kind: 'warning', message: `Nobody was told of it: ${messageOf(error)}` });
    return;
  }
  const { groups: _groups, attended: _attended, ...said } = input;
  const notice: Notice = {
    ...said,
    status: input.event,
    operation_id: input.operation_id ?? null,
    schedule_id: input.schedule_id ?? null,
    time: ctx.now().toISOString(),
  };
  for (const channel of channels) if (wants(channel, input)) enqueue(channel, notice, ctx);
}

/** Waits until all channels are done, but no longer than this; what is on its way then is given up. */
export async function drainNotices(milliseconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((done) => {
    timer = setTimeout(() => {
      for (const queue of queues.values()) queue.stop.abort();
      done();
    }, milliseconds);
  });
  await Promise.race([Promise.all([...queues.values()].map(({ last }) => last)), late]);
  clearTimeout(timer);
}

export interface ChannelResult {
  channel: string;
  type: ChannelSetting['type'];
  delivered: boolean;
  /** What went wrong; null: nothing. */
  message: string | null;
}

/** Sends a notice to one channel, or to all, whatever events and groups they take. @throws TandemError `not_found` */
export async function testChannels(name: string | undefined, ctx: Context): Promise<ChannelResult[]> {
  const { channels } = ctx.settings().notify;
  const chosen = name === undefined ? channels : channels.filter((channel) => channel.name === name);
  if (chosen.length === 0) throw noSuchChannel(name, channels);
  const notice: Notice = {
    event: 'completed',
    status: 'completed',
    group_id: '',
    target: '',
    message: 'This is a test of tandem; nothing has happened.',
    operation_id: null,
    schedule_id: null,
    time: ctx.now().toISOString(),
  };
  return Promise.all(
    chosen.map(async (channel): Promise<ChannelResult> => {
      const message = await deliver(channel, notice, ctx, ctx.signal);
      return { channel: channel.name, type: channel.type, delivered: message === undefined, message: message ?? null };
    }),
  );
}

// --- internal ---

/** Events that need a person. */
const USUAL: readonly NoticeEvent[] = ['failed', 'conflict', 'waiting', 'overdue'];
const HEALTH: readonly NoticeEvent[] = ['started', 'completed', 'failed'];

function eventsOf(channel: ChannelSetting): readonly NoticeEvent[] {
  if (channel.events !== undefined) return channel.events;
  return channel.type === 'webhook' && channel.style === 'healthchecks' ? HEALTH : USUAL;
}

function wants(channel: ChannelSetting, { event, group_id, target, groups = [], attended }: NoticeInput): boolean {
  const events = attended === true ? (channel.events ?? []) : eventsOf(channel);
  if (!events.includes(event)) return false;
  if (channel.groups === undefined) return true;
  const names = [group_id, target, ...groups].map(foldText);
  return channel.groups.some((group) => names.includes(foldText(group)));
}

interface Queue {
  /** Settles when everything that was taken is done. */
  last: Promise<void>;
  waiting: number;
  stop: AbortController;
}

/** Of a channel that cannot keep up, the newest are dropped. */
const LONGEST_QUEUE = 100;
const queues = new Map<string, Queue>();

function enqueue(channel: ChannelSetting, notice: Notice, ctx: Context): void {
  const queue = queues.get(channel.name) ?? { last: Promise.resolve(), waiting: 0, stop: new AbortController() };
  queues.set(channel.name, queue);
  const lost = (why: string): void =>
    ctx.emit({
      kind: 'warning',
      message: `The channel ${quote(channel.name)} was not told "${displayPath(notice.message)}": ${why}.`,
    });
  if (queue.waiting >= LONGEST_QUEUE) {
    lost(`${LONGEST_QUEUE} others wait`);
    return;
  }
  queue.waiting += 1;
  queue.last = queue.last.then(async () => {
    try {
      const why = await deliver(channel, notice, ctx, queue.stop.signal);
      if (why !== undefined) lost(why);
    } catch (error) {
      lost(messageOf(error));
    } finally {
      queue.waiting -= 1;
      if (queue.waiting === 0) queues.delete(channel.name);
    }
  });
}

function noSuchChannel(name: string | undefined, channels: readonly ChannelSetting[]): TandemError {
  const names = channels.map((channel) => channel.name);
  if (name === undefined || names.length === 0)
    return new TandemError('not_found', 'There is no channel to tell.', {
      hint: 'Name some under notify.channels in app.yaml; docs/guide.md shows how.',
    });
  const guess = closest(name, names);
  return new TandemError('not_found', `No channel is called ${quote(name)}.`, {
    hint: guess === undefined ? `There are ${names.map(quote).join(', ')}.` : `Did you mean ${quote(guess)}?`,
  });
}

function resultLine({ channel, type, delivered, message }: ChannelResult, paint: Paint): string {
  const name = `${displayPath(channel)} (${type})`;
  return delivered ? paint('good', `✓ ${name}: told`) : `${paint('bad', `✗ ${name}:`)} ${displayPath(message ?? '')}`;
}

const columns: readonly Column<ChannelSetting>[] = [
  { title: 'CHANNEL', value: ({ name }) => displayPath(name) },
  {
    title: 'TYPE',
    value: (channel) => (channel.type === 'webhook' ? `webhook, ${channel.style ?? 'json'}` : channel.type),
  },
  { title: 'EVENTS', value: (channel) => eventsOf(channel).join(', ') },
  { title: 'GROUPS', value: ({ groups }) => (groups === undefined ? 'all' : groups.map(displayPath).join(', ')) },
];

const EMPTY = 'Nobody is told of anything yet: name channels under notify.channels in app.yaml.';

export const command = defineCommand({
  name: 'notify',
  summary: 'Who is told of runs that nobody watches',
  verbs: {
    list: {
      summary: 'channels, and what they are told',
      examples: ['tandem notify list'],
      run: async (_input, ctx): Promise<Output> => {
        const { channels } = ctx.settings().notify;
        const json = channels.map((channel) => ({
          channel: channel.name,
          type: channel.type,
          events: eventsOf(channel),
          groups: channel.groups ?? null,
        }));
        return { json, text: (paint) => (channels.length > 0 ? renderTable(channels, columns, paint) : EMPTY) };
      },
    },
    test: {
      summary: 'send a notice to one channel, or to all of them',
      examples: ['tandem notify test', 'tandem notify test phone'],
      args: [{ name: 'channel', description: 'its name in app.yaml; all without it', optional: true }],
      run: async ({ args }, ctx): Promise<Output> => {
        const results = await testChannels(args['channel'] as string | undefined, ctx);
        return {
          json: results,
          text: (paint) => results.map((result) => resultLine(result, paint)).join('\n'),
          exitCode: results.every(({ delivered }) => delivered) ? EXIT.done : EXIT.failed,
        };
      },
    },
  },
});

export const panel = definePanel<ChannelSetting>({
  title: 'Notify',
  rows: (ctx) => Promise.resolve(ctx.settings().notify.channels),
  columns,
  empty: EMPTY,
  actions: [{ key: 't', label: 'test', command: ({ name }) => ['notify', 'test', name] }],
});

runIfMain(import.meta, command);
