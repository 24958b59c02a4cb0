/**
 * The overview: which drives are connected, which groups are complete, how old each Backup is, what is running at this
 * moment in any process, and what to do next. It looks at drives, groups and the journal only, never at the files on the
 * drives, so that it answers at once; whether the files agree is the question of `tandem sync status`.
 */
import type { Context } from '../shared/context.ts';
import { type DaemonStatus, daemonStatus } from '../shared/daemon-row.ts';
import {
  type Column,
  defineCommand,
  definePanel,
  type Output,
  type Paint,
  renderTable,
  runIfMain,
} from '../shared/feature.ts';
import { formatAge, formatCount, formatTime, plural } from '../shared/format.ts';
import { countConflicts } from '../shared/inbox.ts';
import { displayPath } from '../shared/paths.ts';
import { barLine } from '../shared/progress.ts';
import { formText, type Storage, storageOf } from '../shared/storage.ts';
import { readWatchers, type WatchRow } from '../shared/watch-rows.ts';
import { type DriveInfo, panel as drivesPanel, listDrives } from './detect.ts';
import { panel as groupsPanel, listGroups } from './groups.ts';
import { listOperations, markInterrupted, type Operation, targetOf } from './history.ts';

/** One group as `groups list` has it. */
type ListedGroup = Awaited<ReturnType<typeof groupsPanel.rows>>[number];

export interface LastRun {
  operation_id: string;
  status: Operation['status'];
  reason: string | null;
  files_failed: number;
  conflicts_detected: number;
  end_time: string | null;
}

export interface StatusGroup extends ListedGroup {
  /** End of the newest completed sync of the whole group; ISO 8601, UTC. */
  last_success: string | null;
  /** Whole days, never negative. */
  days_since_last_success: number | null;
  /** As the newest run of the whole group, or a later one of a folder, saw them; whichever saw more. */
  open_conflicts: number;
  /** The newest sync that has ended, of the group or a folder of it. */
  last_run: LastRun | null;
  /** How the Backup stores its files, and what that saves; null: plain. */
  storage: Storage | null;
}

export interface Status {
  drives: DriveInfo[];
  groups: StatusGroup[];
  /** What is running now, in any process; newest first. */
  operations: Operation[];
  /** What is, or is to be, watched. */
  watchers: WatchRow[];
  daemon: DaemonStatus;
  /** ISO 8601, UTC. */
  now: string;
}

/**
 * Everything that the overview shows. Operations whose process is gone are marked as interrupted first.
 * @throws TandemError `config` for settings or groups that cannot be read, `database` for a journal that cannot.
 */
export async function readStatus(ctx: Context): Promise<Status> {
  await markInterrupted(ctx);
  const heard = withoutEchoes(ctx);
  const [drives, listed, operations] = await Promise.all([
    listDrives(heard),
    groupsPanel.rows(heard),
    listOperations({ status: 'running', limit: 'all' }, ctx),
  ]);
  const now = ctx.now();
  const groups: StatusGroup[] = [];
  const waiting = await countConflicts(ctx);
  const known = new Map(listGroups(heard).map((group) => [group.id, group]));
  for (const group of listed) {
    const whole = known.get(group.id);
    const storage = whole ? await storageOf(whole, ctx) : null;
    groups.push({ ...group, ...summarise(await runsOf(group.id, ctx), waiting.get(group.id) ?? 0, now), storage });
  }
  return {
    drives,
    groups,
    operations,
    watchers: await readWatchers(ctx),
    daemon: await daemonStatus(ctx),
    now: now.toISOString(),
  };
}

/** What needs attention, and the next step, in the order of urgency; sentences that are safe for a terminal. */
export function adviceFor(status: Status): { style: 'bad' | 'warn' | 'plain'; text: string }[] {
  const { drives, groups } = status;
  if (groups.length === 0) return [firstStep(drives)];
  return groups.flatMap(groupAdvice);
}

// --- internal ---

/** Drives are listed twice at the same time, and each listing may complain of the same drive. */
function withoutEchoes(ctx: Context): Context {
  const said = new Set<string>();
  return {
    ...ctx,
    emit: (event) => {
      const text = JSON.stringify(event);
      if (said.has(text)) return;
      said.add(text);
      ctx.emit(event);
    },
  };
}

const PAGE = 50;

/** The group's ended syncs, newest first, back to the newest completed one of the whole group. */
async function runsOf(groupId: string, ctx: Context): Promise<Operation[]> {
  const found: Operation[] = [];
  for (let offset = 0; ; offset += PAGE) {
    const page = await listOperations({ group_id: groupId, limit: PAGE, offset }, ctx);
    for (const run of page) {
      if (run.operation_type !== 'sync' || run.status === 'running') continue;
      found.push(run);
      if (run.status === 'completed' && isWhole(run)) return found;
    }
    if (page.length < PAGE) return found;
  }
}

const isWhole = (run: Operation): boolean => run.target_kind === 'group' && run.subpath === '';

function summarise(
  runs: readonly Operation[],
  open_conflicts: number,
  now: Date,
): Omit<StatusGroup, keyof ListedGroup | 'storage'> {
  const last_success = runs.find((run) => run.status === 'completed' && isWhole(run))?.end_time ?? null;
  const [last] = runs;
  return {
    last_success,
    days_since_last_success:
      last_success === null ? null : Math.max(0, Math.floor((now.getTime() - Date.parse(last_success)) / 86_400_000)),
    open_conflicts,
    last_run: last ? lastRun(last) : null,
  };
}

function lastRun(run: Operation): LastRun {
  const { uuid: operation_id, status, reason, files_failed, conflicts_detected, end_time } = run;
  return { operation_id, status, reason, files_failed, conflicts_detected, end_time };
}

function firstStep(drives: readonly DriveInfo[]): { style: 'plain'; text: string } {
  const next =
    drives.length >= 2
      ? 'tandem groups create'
      : 'connect two drives, then tandem groups create (tandem demo shows it all on practice drives)';
  return { style: 'plain', text: `No group yet: ${next}` };
}

const STALE_DAYS = 7;

function groupAdvice(group: StatusGroup): ReturnType<typeof adviceFor> {
  const advice: ReturnType<typeof adviceFor> = [];
  const name = displayPath(group.name);
  const { last_run: last, open_conflicts: conflicts, days_since_last_success: days } = group;
  const show = last ? `tandem history show ${last.operation_id.slice(0, 8)}` : '';
  if (last?.status === 'failed') {
    const why = last.reason === null ? '' : ` (${displayPath(last.reason.replace(/\.$/, ''))})`;
    advice.push({ style: 'bad', text: `The last run of ${name} failed${why}: ${show}` });
  }
  if (conflicts > 0) {
    const wait = conflicts === 1 ? '1 conflict waits' : `${plural(conflicts, 'conflict')} wait`;
    advice.push({
      style: 'warn',
      text: `${wait} in ${name}, untouched on both drives: tandem conflicts list ${word(group)}`,
    });
  }
  const converting = group.storage?.waiting ?? 0;
  if (converting > 0)
    advice.push({
      style: 'plain',
      text: `${formatCount(converting)} of ${plural(group.storage?.files ?? 0, 'file')} of ${name} wait for conversion: ${nextStep(group)}`,
    });
  if (days !== null && days < 1) return advice;
  const age = days === null ? `${name} was never synced as a whole` : `Backup of ${name} is ${plural(days, 'day')} old`;
  const old = days === null || days >= STALE_DAYS;
  advice.push({ style: old ? 'warn' : 'plain', text: `${age}: ${nextStep(group)}` });
  return advice;
}

function nextStep(group: StatusGroup): string {
  const away = [group.master_drive, group.backup_drive].filter(({ connected }) => !connected);
  const run = `tandem sync run ${word(group)}`;
  if (away.length === 0) return run;
  return `connect ${away.map(({ label }) => `'${displayPath(label)}'`).join(' and ')}, then ${run}`;
}

/** The group's name as one word of a shell, or its id when the name would need quotes. */
function word({ name, id }: StatusGroup): string {
  return /^[\p{L}\p{N}_][\p{L}\p{N}_@%+=:,./-]*$/u.test(name) ? name : displayPath(id.slice(0, 8));
}

const DRIVE_TITLES = ['ROLE', 'LABEL', 'MOUNT', 'SIZE', 'FREE'];
const driveColumns = drivesPanel.columns.filter(({ title }) => DRIVE_TITLES.includes(title));

const columns: readonly Column<StatusGroup>[] = [
  ...groupsPanel.columns.filter(({ title }) => ['Name', 'Status', 'Master', 'Backup'].includes(title)),
  {
    title: 'Last good sync',
    value: ({ days_since_last_success: days }) =>
      days === null ? 'never' : days === 0 ? 'within a day' : `${plural(days, 'day')} ago`,
    style: ({ days_since_last_success: days }) => (days === null || days >= STALE_DAYS ? 'warn' : 'good'),
  },
  {
    title: 'Conflicts',
    value: ({ open_conflicts }) => (open_conflicts === 0 ? '—' : formatCount(open_conflicts)),
    align: 'right',
    style: ({ open_conflicts }) => (open_conflicts === 0 ? 'dim' : 'warn'),
  },
];

/** Shown where a Backup is not plain. */
const storedColumn: Column<StatusGroup> = {
  title: 'Stored',
  value: ({ storage }) => {
    if (storage === null) return 'plain';
    const percent = storage.space_savings?.space_saved_percent;
    return formText(storage) + (percent === undefined ? '' : `, ${percent.toFixed(1)} % saved`);
  },
};

/** Terminals are rarely narrower; a line that is too long only wraps. */
const LINE_WIDTH = 110;

function operationLines(operation: Operation, now: Date): string[] {
  const since = formatAge(new Date(operation.start_time), now);
  const asked = operation.control === '' ? '' : `, asked to ${operation.control}`;
  const head = `${displayPath(operation.operation_type)} of ${targetOf(operation)}  ${operation.uuid.slice(0, 8)}, process ${operation.process_id}, started ${since}${asked}`;
  return operation.progress ? [head, `  ${barLine(operation.progress, LINE_WIDTH)}`] : [head];
}

function watcherLine({ target, status, message }: WatchRow): string {
  return [`${displayPath(target)}: ${status}`, ...(message === '' ? [] : [displayPath(message)])].join('. ');
}

/** Undefined: it is not there, and nothing waits for it. */
function daemonLine(
  { running, answers, started, watchers, schedules }: DaemonStatus,
  paint: Paint,
): string | undefined {
  const parts = [
    ...(watchers.enabled > 0 ? [plural(watchers.enabled, 'watcher')] : []),
    ...(schedules.enabled > 0 ? [plural(schedules.enabled, 'schedule')] : []),
  ];
  if (running) {
    const since = `running since ${started === null ? '—' : formatTime(new Date(started))}`;
    const how = answers ? paint('good', since) : paint('warn', `${since}, but it does not answer`);
    return parts.length > 0 ? `${how}, ${parts.join(', ')}` : how;
  }
  if (parts.length === 0) return undefined;
  const idle = watchers.enabled > watchers.running || schedules.enabled > 0;
  const wait = parts.length === 1 && watchers.enabled + schedules.enabled === 1 ? 'waits' : 'wait';
  return idle ? paint('warn', `not running: ${parts.join(' and ')} ${wait} for tandem daemon run`) : undefined;
}

const NO_DRIVE = 'No drive is connected. Plug one in, or use a folder: tandem detect add PATH --label LABEL';

function statusText(status: Status, paint: Paint): string {
  const { drives, groups, operations, watchers } = status;
  const now = new Date(status.now);
  const part = (title: string, body: string): string => `${paint('bold', title)}\n${body}`;
  const parts = [part('Drives', drives.length > 0 ? renderTable(drives, driveColumns, paint) : NO_DRIVE)];
  const shown = groups.some(({ storage }) => storage !== null) ? [...columns, storedColumn] : columns;
  if (groups.length > 0) parts.push(part('Groups', renderTable(groups, shown, paint)));
  if (operations.length > 0) {
    parts.push(part('Running', operations.flatMap((operation) => operationLines(operation, now)).join('\n')));
  }
  const daemon = daemonLine(status.daemon, paint);
  if (daemon !== undefined) parts.push(part('Daemon', daemon));
  if (watchers.length > 0) parts.push(part('Watched', watchers.map(watcherLine).join('\n')));
  const sign = { bad: '✗ ', warn: '⚠ ', plain: '' };
  const advice = adviceFor(status).map(({ style, text }) => paint(style, sign[style] + text));
  if (advice.length > 0) parts.push(part('Next', advice.join('\n')));
  return parts.join('\n\n');
}

export const command = defineCommand({
  name: 'status',
  summary: 'Drives, groups, running operations and days since the last good sync',
  single: true,
  verbs: {
    status: {
      summary: 'Drives, groups, running operations and days since the last good sync',
      examples: ['tandem status', 'tandem status --json | jq .groups[].days_since_last_success'],
      run: async (_input, ctx): Promise<Output> => {
        const status = await readStatus(ctx);
        return { json: status, text: (paint) => statusText(status, paint) };
      },
    },
  },
});

export const panel = definePanel<StatusGroup>({
  title: 'Overview',
  rows: async (ctx) => (await readStatus(ctx)).groups,
  columns,
  empty: 'No group yet. Connect two drives and run `tandem groups create`.',
  actions: [
    {
      key: 's',
      label: 'sync',
      disabled: ({ status }) => (status === 'connected' ? undefined : 'a drive of it is not connected'),
      command: ({ id }) => ['sync', 'run', id],
    },
    { key: 'enter', label: 'show', command: ({ id }) => ['groups', 'show', id] },
  ],
});

runIfMain(import.meta, command);
