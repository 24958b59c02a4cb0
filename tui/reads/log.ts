/**
 * The log for its screen. While that is shown the reader follows the file and keeps the newest lines; each answer holds
 * those that the screen does not have yet, so that a log that grows fast costs as much as what is new in it.
 */
import { randomUUID } from 'node:crypto';
import { followLog, type LogLine } from '../../features/log.ts';
import { messageOf } from '../../shared/errors.ts';
import type { LogLevel } from '../../shared/settings.ts';
import { joinedTo } from '../../shared/signals.ts';
import type { Memory, Read } from '../reads.ts';

/** Lines `first` to `next - 1` of those that were followed since `epoch` began. */
export interface LogChunk {
  epoch: string;
  first: number;
  next: number;
  lines: LogLine[];
}

/** What the reader keeps of the log between two answers. */
export interface Following {
  readonly epoch: string;
  readonly level: string;
  readonly stop: AbortController;
  lines: LogLine[];
  /** Number of the line that comes next. */
  next: number;
  /** When it was last asked for. */
  asked: number;
  /** Why it cannot be followed. */
  failure: string | null;
}

/** Lines that are kept, and the most that an answer holds. */
export const KEPT = 2000;
/** Milliseconds for which it is followed although nobody asks: the time between two questions, and more. */
const UNASKED = 10_000;

export const logReads = {
  /** A level, and the number of the line from which on it is wanted. */
  log: {
    busy: 1000,
    idle: 1000,
    read: ([level = 'info', from = '0'], memory) => {
      const following = followed(level, memory);
      following.asked = performance.now();
      if (following.failure !== null) throw new Error(following.failure);
      const { epoch, lines, next } = following;
      const oldest = next - lines.length;
      const wanted = Number(from);
      // A screen that knows more than there is remembers another epoch.
      const first = wanted > next ? oldest : Math.max(oldest, wanted);
      return Promise.resolve({ epoch, first, next, lines: lines.slice(first - oldest) });
    },
  } satisfies Read<LogChunk>,
};

// --- internal ---

function followed(level: string, memory: Memory): Following {
  const former = memory.log;
  if (former && former.level === level && former.failure === null) return former;
  former?.stop.abort();
  const { controller, letGo } = joinedTo(memory.ctx.signal);
  const following: Following = {
    epoch: randomUUID(),
    level,
    stop: controller,
    lines: [],
    next: 0,
    asked: performance.now(),
    failure: null,
  };
  memory.log = following;
  void follow(following, memory, letGo);
  return following;
}

async function follow(following: Following, memory: Memory, letGo: () => void): Promise<void> {
  const { stop, level } = following;
  const watch = setInterval(() => {
    if (performance.now() - following.asked > UNASKED) stop.abort();
  }, UNASKED / 4);
  const ctx = { ...memory.ctx, signal: stop.signal };
  try {
    await followLog({ level: level as LogLevel }, KEPT, (line) => take(line, following, memory), ctx);
  } catch (error) {
    following.failure = messageOf(error);
    memory.news('log');
  } finally {
    clearInterval(watch);
    letGo();
    if (memory.log === following && following.failure === null) memory.log = undefined;
  }
}

function take(line: LogLine, following: Following, memory: Memory): void {
  following.lines.push(line);
  following.next += 1;
  // Twice as many before they are cut: cutting moves all of them.
  if (following.lines.length > 2 * KEPT) following.lines = following.lines.slice(-KEPT);
  memory.news('log');
}
