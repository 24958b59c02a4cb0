/**
 * Changes on the Master reach the Backup by themselves, within a second or so. What is to be watched are rows of the
 * database, which the daemon starts; `watch run` watches one target in the foreground. Every process sees the state of all
 * watchers. How a watcher works is in watcher.ts, what it does with a change in touched.ts.
 */
import type { Context } from '../shared/context.ts';
import { messageOf, TandemError } from '../shared/errors.ts';
import { type Column, defineCommand, definePanel, type OptionSpec, renderTable, runIfMain } from '../shared/feature.ts';
import { formatAge, plural } from '../shared/format.ts';
import { keepMemoryTogether } from '../shared/memory.ts';
import { OPTIONS } from '../shared/options.ts';
import { displayPath } from '../shared/paths.ts';
import { choiceOf, measured, targetOptions } from '../shared/run-options.ts';
import {
  changeWatcher,
  claimWatcher,
  ensureWatcher,
  readWatchers,
  removeWatcher,
  type WatchPlace,
  type WatchRow,
} from '../shared/watch-rows.ts';
import type { SyncResult } from './run.ts';
import { type Choice, type Target, targetName, targetsOf } from './targets.ts';
import { lastNotices, WatchTeller } from './telling.ts';
import { Watcher, type WatcherOptions, type WatchState } from './watcher.ts';

export type { WatchRow } from '../shared/watch-rows.ts';
export { Watcher, type WatcherOptions, type WatchState } from './watcher.ts';

/** All that is, or is to be, watched. Reference: `list_realtime_watchers`. */
export async function listRealtimeWatchers(ctx: Context): Promise<WatchRow[]> {
  return readWatchers(ctx);
}

/** Reference: `is_realtime_sync_enabled`. */
export async function isRealtimeSyncEnabled(watchId: string, ctx: Context): Promise<boolean> {
  return (await readWatchers(ctx)).some(({ watch_id, enabled }) => watch_id === watchId && enabled);
}

/**
 * Has the daemon watch a target from now on; a project with several roles gets a watcher for each.
 * @param choice `debounce`: seconds; left out, as the target's options say. Reference: `enable_realtime_sync`.
 */
export async function enableRealtimeSync(
  target: string,
  choice: Choice & { debounce?: number | undefined },
  ctx: Context,
): Promise<WatchRow[]> {
  const rows: WatchRow[] = [];
  for (const one of await targetsOf(target, choice, ctx)) {
    const row = await ensureWatcher(placeOf(one), ctx);
    const change = { enabled: true, debounce_seconds: choice.debounce ?? null };
    await changeWatcher(row.watch_id, change, ctx);
    rows.push({ ...row, ...change });
  }
  return rows;
}

/** It is not watched any more; whoever watches it stops. Reference: `disable_realtime_sync`. */
export async function disableRealtimeSync(watchId: string, ctx: Context): Promise<void> {
  await removeWatcher(watchId, ctx);
}

/** Stops following changes, or takes it up again with a look at everything. */
export async function pauseRealtimeSync(watchId: string, paused: boolean, ctx: Context): Promise<void> {
  await changeWatcher(watchId, { paused }, ctx);
}

/** What a row watches. @throws TandemError as `targetsOf`, when the group or project is gone. */
export async function watchedTarget(row: WatchPlace, ctx: Context): Promise<Target> {
  const choice: Choice = {};
  if (row.subpath !== '') choice.path = row.subpath;
  if (row.role !== '') choice.role = row.role;
  const [target] = await targetsOf(row.project_id === '' ? row.group_id : row.project_id, choice, ctx);
  return target as Target;
}

/**
 * Watches until `ctx.signal` aborts. @throws TandemError `locked` when another process watches one of them.
 * @param options for all of them; `watchId` is the row's own.
 */
export async function watchTargets(
  targets: readonly Target[],
  options: OwnOptions,
  listener: WatchListener,
  ctx: Context,
): Promise<void> {
  const open: { row: WatchRow; watcher: Watcher }[] = [];
  try {
    for (const target of targets) {
      const row = await ensureWatcher(placeOf(target), ctx);
      if (!(await claimWatcher(row.watch_id, ctx))) throw watchedElsewhere(row);
      const watcher = watcherOf(row, target, options, listener, ctx);
      open.push({ row, watcher });
      await watcher.start();
    }
    await Promise.all(open.map(({ watcher }) => watcher.ended()));
  } finally {
    for (const { row, watcher } of open) {
      await watcher.close();
      if (!row.enabled) await removeUnlessEnabled(row, ctx);
    }
    await lastNotices();
  }
}

/**
 * A watcher of a row that this process has claimed; it tells through `notify` what is new.
 * @param teller of the same row before, if there was one.
 */
export function watcherOf(
  row: WatchRow,
  target: Target,
  options: OwnOptions,
  listener: WatchListener,
  ctx: Context,
  teller: WatchTeller = new WatchTeller(target, ctx, row.message),
): Watcher {
  const name = targetName(target);
  const failed = (error: unknown): void => ctx.emit({ kind: 'warning', message: messageOf(error) });
  return new Watcher(target, ctx, {
    ...options,
    debounce: options.debounce ?? row.debounce_seconds ?? undefined,
    watchId: row.watch_id,
    onState: (state, message) => {
      teller.state(state, message);
      listener.state(name, state, message);
    },
    onResult: (result) => {
      void teller.synced(result).catch(failed);
      listener.synced(name, result);
    },
    onTrouble: (message) => teller.failed(message),
  });
}

/** What is the same for all watchers of a process. */
export type OwnOptions = Omit<WatcherOptions, 'watchId' | 'onState' | 'onResult' | 'onTrouble'>;

export interface WatchListener {
  state(target: string, state: WatchState, message: string): void;
  synced(target: string, result: SyncResult): void;
}

// --- internal ---

function placeOf(target: Target): WatchPlace {
  const { group, subpath, project } = target;
  return {
    target: targetName(target),
    group_id: group.id,
    project_id: project?.id ?? '',
    role: project?.role ?? '',
    subpath,
  };
}

/** It may have been enabled while it was watched in the foreground. */
async function removeUnlessEnabled({ watch_id }: WatchRow, ctx: Context): Promise<void> {
  if (!(await isRealtimeSyncEnabled(watch_id, ctx))) await removeWatcher(watch_id, ctx);
}

function watchedElsewhere({ target }: WatchRow): TandemError {
  return new TandemError('locked', `'${displayPath(target)}' is being watched by another process already.`, {
    hint: 'See `tandem watch list`.',
  });
}

/** The rows that a target means. @throws TandemError `not_found` when none of it is watched. */
async function rowsOf(target: string, choice: Choice, ctx: Context): Promise<WatchRow[]> {
  const rows = await readWatchers(ctx);
  const byId = rows.filter(
    ({ watch_id }) => watch_id === target || (target.length >= 4 && watch_id.startsWith(target)),
  );
  if (byId.length === 1) return byId;
  const places = (await targetsOf(target, choice, ctx)).map((one) => JSON.stringify(keyOf(placeOf(one))));
  const found = rows.filter((row) => places.includes(JSON.stringify(keyOf(row))));
  if (found.length > 0) return found;
  throw new TandemError('not_found', `'${displayPath(target)}' is not watched.`, {
    hint: 'See `tandem watch list`; `tandem watch enable TARGET` has the daemon watch it.',
  });
}

function keyOf({ group_id, project_id, role, subpath }: WatchPlace): string[] {
  return [group_id, project_id, role, subpath];
}

/** As `watch list --json` has it. */
function listed(row: WatchRow): object {
  const { watch_id, target, watch_path, status, last_event, last_sync, queue_length, ...more } = row;
  return { watch_id, target, watch_path, status, last_event, last_sync, queue_length, ...more };
}

const ago = (time: string | null): string => (time === null ? '—' : formatAge(new Date(time), new Date()));

const columns: readonly Column<WatchRow>[] = [
  { title: 'ID', value: ({ watch_id }) => watch_id.slice(0, 8) },
  {
    title: 'TARGET',
    value: ({ target, subpath, project_id }) =>
      displayPath(project_id === '' && subpath !== '' ? `${target}/${subpath}` : target),
  },
  {
    title: 'STATUS',
    value: ({ status, paused }) => (status === 'stopped' && paused ? 'stopped, paused' : status),
    style: ({ status }) => (status === 'active' ? 'good' : status === 'stopped' ? 'dim' : 'warn'),
  },
  { title: 'DAEMON', value: ({ enabled }) => (enabled ? 'yes' : 'no') },
  { title: 'LAST EVENT', value: ({ last_event }) => ago(last_event) },
  { title: 'LAST SYNC', value: ({ last_sync }) => ago(last_sync) },
  { title: 'QUEUE', value: ({ queue_length }) => String(queue_length), align: 'right' },
  { title: 'NOTE', value: ({ message }) => displayPath(message) },
];

const EMPTY =
  'Nothing is watched. `tandem watch run TARGET` watches here and now, `tandem watch enable TARGET` in the daemon.';

// --- command ---

const debounceOption: OptionSpec = {
  flags: '--debounce <seconds>',
  description: 'quiet that a change waits for, 0.1 to 60',
  parse: (text) =>
    measured(text, '--debounce', (value) => OPTIONS['realtime.debounce_seconds']?.read(value) as number, '0.5'),
};

const targetArgument = { name: 'target', description: 'group or project, by name or id', complete: 'target' } as const;
const watchedArgument = {
  name: 'target',
  description: 'group, project or watcher, by name or id',
  complete: 'target',
} as const;

export const command = defineCommand({
  name: 'watch',
  summary: 'Changes on the Master reach the Backup by themselves',
  verbs: {
    run: {
      summary: 'Watch a target until Ctrl-C, and sync what changes',
      examples: ['tandem watch run Archive', 'tandem watch run Wedding --role footage --debounce 2'],
      args: [targetArgument],
      options: [debounceOption, ...targetOptions],
      run: async ({ args, options }, ctx, write) => {
        keepMemoryTogether();
        const targets = await targetsOf(args['target'] as string, choiceOf(options), ctx);
        const say = (event: object, text: string): void =>
          write(options['json'] ? JSON.stringify({ at: ctx.now().toISOString(), ...event }) : `${clock(ctx)}  ${text}`);
        const listener: WatchListener = {
          state: (target, status, message) =>
            say(
              { target, status, message },
              [`${displayPath(target)}: ${status}`, displayPath(message)].filter(Boolean).join('. '),
            ),
          synced: (target, result) => say(result, `${displayPath(target)}: ${resultLine(result)}`),
        };
        await watchTargets(targets, { debounce: options['debounce'] as number | undefined }, listener, ctx);
        return undefined;
      },
    },
    list: {
      summary: 'What is watched, and how it goes',
      examples: ['tandem watch list', 'tandem watch list --json | jq .[].status'],
      run: async (_input, ctx) => {
        const rows = await listRealtimeWatchers(ctx);
        return {
          json: rows.map(listed),
          text: (paint) => (rows.length > 0 ? renderTable(rows, columns, paint) : EMPTY),
        };
      },
    },
    enable: {
      summary: 'Have the daemon watch a target',
      examples: ['tandem watch enable Archive', 'tandem watch enable Archive --path Projects/Wedding --debounce 2'],
      args: [targetArgument],
      options: [debounceOption, ...targetOptions],
      run: async ({ args, options }, ctx) => {
        const debounce = options['debounce'] as number | undefined;
        const rows = await enableRealtimeSync(args['target'] as string, { ...choiceOf(options), debounce }, ctx);
        return {
          json: rows.map(listed),
          text: (paint) =>
            paint('good', `The daemon watches ${rows.map(({ target }) => `'${displayPath(target)}'`).join(', ')}.`),
        };
      },
    },
    disable: {
      summary: 'Watch a target no longer',
      examples: ['tandem watch disable Archive'],
      args: [watchedArgument],
      options: targetOptions,
      run: ({ args, options }, ctx) =>
        changeRows(
          args['target'] as string,
          choiceOf(options),
          'is not watched any more',
          (id) => disableRealtimeSync(id, ctx),
          ctx,
        ),
    },
    pause: {
      summary: 'Let changes be until they are to be followed again',
      examples: ['tandem watch pause Archive'],
      args: [watchedArgument],
      options: targetOptions,
      run: ({ args, options }, ctx) =>
        changeRows(
          args['target'] as string,
          choiceOf(options),
          'is paused',
          (id) => pauseRealtimeSync(id, true, ctx),
          ctx,
        ),
    },
    resume: {
      summary: 'Look at everything, and follow changes again',
      examples: ['tandem watch resume Archive'],
      args: [watchedArgument],
      options: targetOptions,
      run: ({ args, options }, ctx) =>
        changeRows(
          args['target'] as string,
          choiceOf(options),
          'is followed again',
          (id) => pauseRealtimeSync(id, false, ctx),
          ctx,
        ),
    },
  },
});

async function changeRows(
  target: string,
  choice: Choice,
  what: string,
  change: (id: string) => Promise<void>,
  ctx: Context,
): Promise<{ json: unknown; text(): string }> {
  const rows = await rowsOf(target, choice, ctx);
  for (const { watch_id } of rows) await change(watch_id);
  return {
    json: rows.map(({ watch_id, target: name }) => ({ watch_id, target: name })),
    text: () => rows.map(({ target: name }) => `'${displayPath(name)}' ${what}.`).join('\n'),
  };
}

function clock(ctx: Context): string {
  return ctx.now().toTimeString().slice(0, 8);
}

function resultLine(result: SyncResult): string {
  const parts = [
    [result.files_copied, 'copied'],
    [result.files_moved, 'renamed'],
    [result.files_deleted, 'deleted'],
    [result.files_failed, 'failed'],
  ] as const;
  const done = parts.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
  if (result.conflicts_detected > 0) done.push(plural(result.conflicts_detected, 'conflict'));
  return `${result.status}${done.length > 0 ? `, ${done.join(', ')}` : ''}  operation ${result.operation_id.slice(0, 8)}`;
}

export const panel = definePanel<WatchRow>({
  title: 'Watch',
  rows: listRealtimeWatchers,
  columns,
  empty: EMPTY,
  actions: [
    {
      key: 'p',
      label: 'pause',
      disabled: ({ paused }) => (paused ? 'it is paused' : undefined),
      command: ({ watch_id }) => ['watch', 'pause', watch_id],
    },
    {
      key: 'r',
      label: 'resume',
      disabled: ({ paused }) => (paused ? undefined : 'it is not paused'),
      command: ({ watch_id }) => ['watch', 'resume', watch_id],
    },
    { key: 'd', label: 'disable', command: ({ watch_id }) => ['watch', 'disable', watch_id] },
  ],
});

runIfMain(import.meta, command);
