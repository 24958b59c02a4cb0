/**
 * What people are told of runs besides those of schedules: of syncs by hand when they begin and end, of watchers only what
 * is new: a watcher that fails over and over, or waits for a drive all night, says so once.
 */
import type { Context } from '../shared/context.ts';
import { messageOf, TandemError } from '../shared/errors.ts';
import { formatBytes, formatCount, plural } from '../shared/format.ts';
import { countConflictsSince } from '../shared/inbox.ts';
import { log } from '../shared/log.ts';
import { shellWord } from '../shared/named.ts';
import { displayPath } from '../shared/paths.ts';
import { drainNotices, type NoticeInput, notify } from './notify.ts';
import type { SyncResult } from './run.ts';
import { type Target, targetName } from './targets.ts';

/** One sentence on how a sync went. */
export function syncSentence(result: SyncResult): string {
  const { files_copied, files_moved, files_deleted, files_skipped, files_failed, conflicts_detected } = result;
  const counts: [number, string][] = [
    [files_moved, 'renamed'],
    [files_deleted, 'deleted'],
    [files_failed, 'failed'],
  ];
  const parts = [
    `${plural(files_copied, 'file')} copied (${formatBytes(result.bytes_copied)})`,
    ...counts.flatMap(([count, what]) => (count > 0 ? [`${formatCount(count)} ${what}`] : [])),
    `${formatCount(files_skipped)} unchanged`,
    ...(conflicts_detected > 0 ? [plural(conflicts_detected, 'conflict')] : []),
  ];
  const [problem] = result.problems;
  const why = problem ? ` ${displayPath(problem.path)}: ${displayPath(problem.message)}` : '';
  return `Sync of ${displayPath(result.target)} ${result.status}: ${parts.join(', ')}.${why}`;
}

/** The next step for a person, where conflicts wait. */
export function conflictSentence(target: string, count: number): string {
  const wait = count === 1 ? '1 conflict waits' : `${formatCount(count)} conflicts wait`;
  return `${wait} in ${displayPath(target)}, untouched on both drives: tandem conflicts list ${shellWord(target)}`;
}

/** What went wrong, and what to do about it. */
export function sentenceOf(error: unknown): string {
  const hint = error instanceof TandemError && error.hint !== undefined ? ` ${error.hint}` : '';
  return `${messageOf(error)}${hint}`;
}

/**
 * Carries a sync out, and tells of it. A user at a terminal sees it anyway: then only channels are told that name the event.
 * @param run gets a context that notices when the run begins.
 * @throws what `run` throws.
 */
export async function toldSync(
  targets: readonly Target[],
  run: (ctx: Context) => Promise<SyncResult>,
  ctx: Context,
): Promise<SyncResult> {
  const [first] = targets;
  if (!first) return run(ctx);
  const tell = (event: NoticeInput['event'], message: string, operation_id: string | null): void =>
    notify({ ...namesOf(targets), event, message, operation_id, attended: ctx.prompts.interactive }, ctx);
  const target = namesOf(targets).target;
  let begun: string | null = null;
  const emit: Context['emit'] = (event) => {
    ctx.emit(event);
    if (event.kind !== 'operation_started' || begun !== null) return;
    begun = event.operation_id;
    tell('started', `Sync of ${displayPath(target)} started.`, begun);
  };
  try {
    const result = await run({ ...ctx, emit });
    if (result.status !== 'cancelled') tell(result.status, syncSentence(result), result.operation_id);
    if (result.conflicts_detected > 0)
      tell('conflict', conflictSentence(target, result.conflicts_detected), result.operation_id);
    return result;
  } catch (error) {
    if (!ctx.signal.aborted) {
      tell('failed', `Sync of ${displayPath(target)} failed: ${sentenceOf(error)}`, begun);
      if (begun === null) log(ctx, 'error', 'run.refused', messageOf(error), { target });
    }
    throw error;
  }
}

/** Lets what is on its way to channels arrive, at the end of a process; a dead one costs no more than this. */
export function lastNotices(): Promise<void> {
  return drainNotices(LAST_NOTICES);
}

/** Tells of one watcher what is new. */
export class WatchTeller {
  private readonly names: Pick<NoticeInput, 'group_id' | 'groups' | 'target'>;
  private readonly group: string;
  private readonly ctx: Context;
  /** What it was last told to be failing with, or waiting for; empty: nothing is wrong. */
  private trouble: string;
  private waiting = false;

  /** @param former what a process before this one said last of the same watcher: that is no news. */
  constructor(target: Target, ctx: Context, former = '') {
    this.names = namesOf([target]);
    this.group = target.group.id;
    this.ctx = ctx;
    this.trouble = former;
  }

  /** It is in this state now. */
  state(state: string, message: string): void {
    if (state === 'waiting for drive') {
      if (!this.waiting && message !== this.trouble) this.tell('waiting', message);
      this.waiting = true;
      this.trouble = message;
    } else if (state === 'active' || state.startsWith('degraded')) {
      this.waiting = false;
      if (message === '') this.trouble = '';
    }
  }

  /** It could not do its work. */
  failed(message: string, operation: string | null = null): void {
    if (message === this.trouble) return;
    this.trouble = message;
    this.tell('failed', message, operation);
  }

  async synced(result: SyncResult): Promise<void> {
    const { operation_id, status, problems, conflicts_detected, start_time } = result;
    // Not the counts: they differ each time that the same file fails.
    const [problem] = problems;
    if (status === 'failed')
      this.failed(
        problem ? `${displayPath(problem.path)}: ${displayPath(problem.message)}` : 'Files failed.',
        operation_id,
      );
    if (conflicts_detected === 0) return;
    const fresh = await countConflictsSince(this.group, start_time, this.ctx);
    if (fresh > 0) this.tell('conflict', conflictSentence(this.names.target, fresh), operation_id);
  }

  private tell(event: NoticeInput['event'], message: string, operation_id: string | null = null): void {
    const attended = this.ctx.prompts.interactive;
    notify(
      { ...this.names, event, message: `${displayPath(this.names.target)}: ${message}`, operation_id, attended },
      this.ctx,
    );
  }
}

// --- internal ---

/** Milliseconds. */
const LAST_NOTICES = 3000;

/** As the history names a run on these targets. */
function namesOf(targets: readonly Target[]): Pick<NoticeInput, 'group_id' | 'groups' | 'target'> {
  const [first] = targets as [Target];
  const groups = [...new Map(targets.map(({ group }) => [group.id, group])).values()];
  const several = groups.length > 1;
  return {
    group_id: several ? (first.project?.id ?? first.group.id) : first.group.id,
    groups: groups.flatMap(({ id, name }) => [id, name]),
    target: targets.length > 1 ? (first.project?.name ?? first.group.name) : targetName(first),
  };
}
