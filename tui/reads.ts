/**
 * What the dashboard can ask. The questions are answered in the reader, a process of its own (reader.ts), because looking
 * at drives and at the database can block: a disk that sleeps, a network mount that hangs. The dashboard's own process
 * imports only the types of this file, and draws whatever was answered last.
 *
 * A new question is a row of `READS`; a new wish to a running operation, or another short write, is a row of `ASKS`.
 * Questions take texts and answer with plain data. Long work is never an ask: it is a command in a process of its own.
 */
import { type Control, getOperation, listOperations, markInterrupted, type Operation } from '../features/history.ts';
import { adviceFor, readStatus, type Status } from '../features/status.ts';
import { setBandwidthLimit, setControl } from '../features/steering.ts';
import type { Context } from '../shared/context.ts';
import { type Entry, paletteEntries } from './entries.ts';
import { type FeedLine, feedOf, type Seen } from './feed.ts';
import type { PreviewQueue } from './preview-queue.ts';
import { conflictReads } from './reads/conflicts.ts';
import { type RunFiles, runFiles } from './reads/files.ts';
import { type HistoryPage, type HistoryRow, historyPage, historyParts } from './reads/history.ts';
import { type Following, logReads } from './reads/log.ts';
import { askingGroups, PLACE_READS } from './reads/places.ts';
import { beginPlan, dropPlan, type PlanFiles, planFiles, planFolder, writeLeft } from './reads/plans.ts';
import { scheduleReads } from './reads/schedules.ts';
import { settingReads } from './reads/settings.ts';

/** What the reader remembers between two answers. */
export interface Memory {
  readonly ctx: Context;
  /** Newest last; bounded. */
  readonly seen: Seen[];
  /** Rates of running operations in bytes per second, by uuid, newest last; bounded. */
  readonly rates: Map<string, number[]>;
  /** The log, while it is shown. */
  log?: Following | undefined;
  /** Files of conflicts that are decoded, once one was looked at. */
  previews?: PreviewQueue;
  /** A question has another answer now. */
  news(name: 'log' | 'sides'): void;
}

export interface Read<T> {
  /** Milliseconds after which it is asked again while something runs, and while nothing does. It is also asked again when the database or the drives change. */
  busy: number;
  idle: number;
  read(args: readonly string[], memory: Memory): Promise<T>;
}

/** A running operation with its rates of the last minutes. */
export interface Running extends Operation {
  rates: number[];
}

export interface Overview extends Status {
  advice: ReturnType<typeof adviceFor>;
  /** Ids of groups whose key no file opens: who starts a run of theirs is asked for the password. */
  sealed: string[];
}

export const READS = {
  /** Operations that run in any process, newest first. */
  running: define<Running[]>(250, 1000, async (_args, memory) => {
    await markInterrupted(memory.ctx);
    const found = await listOperations({ status: 'running', limit: 'all' }, memory.ctx);
    return found.map((operation) => ({ ...operation, rates: memory.rates.get(operation.uuid) ?? [] }));
  }),
  /** Drives, groups, watchers, conflicts, and what to do next. */
  status: define<Overview>(10_000, 60_000, async (_args, { ctx }) => {
    const status = await readStatus(ctx);
    return { ...status, advice: adviceFor(status), sealed: askingGroups(ctx) };
  }),
  /** What happened lately. */
  feed: define<FeedLine[]>(1000, 60_000, async (_args, { ctx, seen }) =>
    feedOf(await listOperations({ whole: true, limit: 60 }, ctx), seen),
  ),
  /** operation or `auto`, choice, page: files of a run. */
  files: define<RunFiles>(500, 5000, ([query = 'auto', choice = '', page = '0'], memory) =>
    runFiles(query, JSON.parse(choice), Number(page), memory),
  ),
  /** name, choice, ticks, page: files of a plan. */
  plan: define<PlanFiles>(1000, 2000, ([name = '', choice = '', ticks = '[]', page = '0'], memory) =>
    planFiles(name, JSON.parse(choice), JSON.parse(ticks), Number(page), memory),
  ),
  /** Where plans are kept. */
  plans: define<string>(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, async (_args, { ctx }) => planFolder(ctx)),
  /** how many, target, status: the history. */
  history: define<HistoryPage>(2000, 60_000, ([limit = '50', target = '', status = ''], { ctx }) =>
    historyPage(limit, target, status, ctx),
  ),
  /** operation: the parts of one. */
  parts: define<HistoryRow[]>(2000, 60_000, ([uuid = ''], { ctx }) => historyParts(uuid, ctx)),
  /** Every command of the command line, for the palette. */
  commands: define<Entry[]>(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, () => paletteEntries()),
  ...conflictReads,
  ...scheduleReads,
  ...logReads,
  ...settingReads,
  ...PLACE_READS,
};

export const ASKS: Readonly<Record<string, (args: readonly string[], memory: Memory) => Promise<void>>> = {
  /** operation, what is asked of it */
  control: async ([operation = '', control = ''], { ctx }) =>
    setControl(await getOperation(operation, ctx), control as Control, ctx),
  /** operation, megabytes per second; '' as its options say */
  limit: async ([operation = '', megabytes = ''], { ctx }) =>
    setBandwidthLimit(await getOperation(operation, ctx), megabytes === '' ? null : Number(megabytes), ctx),
  'plan-begin': async (_args, { ctx }) => beginPlan(ctx),
  /** plan, ticks */
  'plan-left': async ([name = '', ticks = '[]'], memory) => writeLeft(name, JSON.parse(ticks), memory),
  'plan-drop': async ([name = ''], { ctx }) => dropPlan(name, ctx),
};

export type ReadName = keyof typeof READS;
export type ReadResult<N extends ReadName> = Awaited<ReturnType<(typeof READS)[N]['read']>>;

export interface Want {
  readonly name: ReadName;
  readonly args: readonly string[];
}

/** What is known of a question. Both at once: it was answered before, and cannot be now. */
export interface Answer<T> {
  value?: T;
  error?: string;
}

// --- internal ---

function define<T>(busy: number, idle: number, read: Read<T>['read']): Read<T> {
  return { busy, idle, read };
}
