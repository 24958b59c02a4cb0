/**
 * Brings the Backup into step with the Master: `plan` → `apply`, as one operation in the history, under the lock of both
 * drives. This file is the face of that: the typed API, the commands, the dashboard's panel. The decision lies in
 * reconcile.ts, the plan in plan.ts, its execution in apply.ts.
 */
import { readFileSync } from 'node:fs';
import { writeFileAtomic } from '../shared/config.ts';
import type { Context } from '../shared/context.ts';
import { EXIT, messageOf, type Problem, TandemError } from '../shared/errors.ts';
import type { Progress } from '../shared/events.ts';
import {
  type Column,
  defineCommand,
  definePanel,
  type Output,
  type Paint,
  runIfMain,
  type Values,
  type Verb,
} from '../shared/feature.ts';
import { formatBytes, formatDuration, formatRate, parseDuration, parseSize, plural } from '../shared/format.ts';
import { displayPath, relPath } from '../shared/paths.ts';
import { choiceOf, lockFlags, lockOptions, measured, targetOptions, wholeNumber } from '../shared/run-options.ts';
import { savingsText } from '../shared/space.ts';
import { runDetached } from './background.ts';
import { carryProjects } from './catalog.ts';
import { getGroup, listGroups } from './groups.ts';
import { assertGuards } from './guards.ts';
import { listOperations, type Operation } from './history.ts';
import { makeRoom } from './manifests.ts';
import { lastOf, runParts } from './parts.ts';
import { makePlan, type Plan, withoutPaths } from './plan.ts';
import type { Action, ConflictType } from './reconcile.ts';
import { refillVerb } from './refill.ts';
import { exitCodeOf, type RunFlags, runLocked, type SyncResult, syncSums } from './run.ts';
import { planProblem } from './saved.ts';
import { openPair, type SyncOptions, syncOptions, workersOf } from './session.ts';
import { settleByPolicy } from './settle.ts';
import { megabytesOf, steeringVerbs } from './steering.ts';
import { requireForm, sayPlainVersions } from './storing.ts';
import { type Target, targetName, targetOf, targetsOf } from './targets.ts';
import { lastNotices, toldSync } from './telling.ts';
import { lookAhead } from './travel.ts';

export { calculateChecksum } from '../shared/hash.ts';
export type { RunFlags, SyncResult } from './run.ts';

export interface FileConflict {
  relative_path: string;
  conflict_type: ConflictType;
  master_size: number | null;
  master_mtime: string | null;
  backup_size: number | null;
  backup_mtime: string | null;
  reason: string;
}

/** Syncs a group, a project, or a folder of one. Reference: `sync_to_backup`. */
export async function syncToBackup(target: string, flags: RunFlags, ctx: Context): Promise<SyncResult> {
  return syncTargets(await targetsOf(target, flags, ctx), () => flags, ctx);
}

/** Runs exactly a saved plan, without the paths in `skip`; what changed since is refused path by path. */
export async function applySavedPlan(
  plan: Plan,
  skip: readonly string[],
  flags: RunFlags,
  ctx: Context,
): Promise<SyncResult> {
  return runLocked(targetOfPlan(plan, ctx), flags, ctx, async ({ pair }) => {
    if (pair.masterUuid !== plan.master_uuid || pair.backupUuid !== plan.backup_uuid) {
      throw new TandemError('invalid', `The plan was made for other drives than group '${pair.group.name}' has now.`, {
        hint: 'Make a new plan with `tandem sync plan`.',
      });
    }
    if (pair.careful !== null && typeof plan.careful !== 'string')
      throw new TandemError('guard', `This plan was made before the run had to be careful. ${pair.careful}`, {
        guard: 'careful',
        hint: 'Make a new plan with `tandem sync plan`; --force careful runs this one.',
      });
    await requireForm(plan.options, pair, ctx);
    assertGuards(plan, ctx);
    const left = skip.map((path) => relPath(path));
    return [{ plan: withoutPaths(plan, left), strict: true }];
  });
}

/**
 * What `syncToBackup` would do; writes nothing anywhere.
 * @throws TandemError `usage` for a project with several roles: each has a plan of its own.
 */
export async function planSync(target: string, flags: RunFlags, ctx: Context): Promise<Plan> {
  return planTarget(await targetOf(target, flags, ctx), flags, ctx);
}

/** Reference: `detect_conflicts`. */
export async function detectConflicts(group: string, path: string | undefined, ctx: Context): Promise<FileConflict[]> {
  const plan = await planSync(group, path === undefined ? {} : { path }, ctx);
  return plan.actions.filter(({ kind }) => kind === 'conflict').map(conflictOf);
}

export interface SyncStatus {
  target: string;
  in_sync: boolean;
  pending: Plan['totals'];
  problems: Problem[];
  last_operation: Operation | null;
  last_success: string | null;
}

/** Whether Master and Backup agree now, by looking at both. Reference: `verify_sync_status`. */
export async function verifySyncStatus(target: string, path: string | undefined, ctx: Context): Promise<SyncStatus> {
  return statusOf(await targetOf(target, { path }, ctx), ctx);
}

async function statusOf(target: Target, ctx: Context): Promise<SyncStatus> {
  const plan = await planTarget(target, {}, ctx);
  const [last] = await listOperations({ group_id: target.group.id, type: 'sync', limit: 1 }, ctx);
  const good = await lastOf(target, 'sync', 'completed', ctx);
  const waiting = plan.actions.filter(({ kind }) => kind !== 'adopt' && kind !== 'forget' && kind !== 'skip');
  return {
    target: targetName(target),
    in_sync: waiting.length === 0 && plan.failed === 0,
    pending: plan.totals,
    problems: plan.problems,
    last_operation: last ?? null,
    last_success: good?.end_time ?? null,
  };
}

/** @throws TandemError `invalid` for a file that is not a plan of this version, or holds what no plan holds. */
export function readPlan(file: string): Plan {
  const hint = 'Make a new one with `tandem sync plan GROUP --out plan.json`.';
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new TandemError('invalid', `${file} cannot be read as a plan: ${messageOf(error)}.`, { hint });
  }
  const why = planProblem(value);
  if (why !== undefined) throw new TandemError('invalid', `${file} is not a plan that can be run: ${why}.`, { hint });
  return value as Plan;
}

// --- internal ---

function targetOfPlan(plan: Plan, ctx: Context): Target {
  const { kind, project_id: id = '', name, role = null } = plan.target;
  return {
    group: getGroup(plan.target.group_id, ctx),
    subpath: relPath(plan.target.subpath),
    project: kind === 'project' ? { id, name, role } : null,
  };
}

/** @param flagsFor the flags of a run on this target. */
async function syncTargets(
  targets: readonly Target[],
  flagsFor: (target: Target) => RunFlags,
  ctx: Context,
): Promise<SyncResult> {
  if (targets.some(({ project }) => project !== null)) await carryProjects(ctx);
  const operation = targets[0] && flagsFor(targets[0]).operation;
  const run = (target: Target, part: { operation?: string; parent?: number }): Promise<SyncResult> => {
    const { operation: _whole, ...flags } = flagsFor(target);
    return syncTarget(target, { ...flags, ...part }, ctx);
  };
  return runParts(targets, { kind: 'sync', operation, run, ...syncSums }, ctx);
}

function syncTarget(target: Target, flags: RunFlags, ctx: Context): Promise<SyncResult> {
  return runLocked(target, flags, ctx, async ({ pair, operation }, running) => {
    const options = syncOptions(target.group, flags.options ?? {});
    const plan = await makePlan(pair, target, options, running, () => workersOf(pair, operation, options).warm());
    await makeRoom(plan, pair, operation, ctx);
    assertGuards(plan, ctx);
    sayPlainVersions(pair, options, plan.totals.convert, ctx);
    return settleByPolicy(plan, options.conflict_policy, pair, running);
  });
}

async function planTarget(target: Target, flags: RunFlags, ctx: Context): Promise<Plan> {
  const pair = await openPair(target.group, ctx, true);
  try {
    await lookAhead(pair, ctx);
    return await makePlan(pair, target, syncOptions(target.group, flags.options ?? {}), ctx);
  } finally {
    await pair.close();
  }
}

function conflictOf(action: Action): FileConflict {
  const side = (facts: string | null): [number, string] | null => {
    if (facts === null) return null;
    const [, size = '0', mtime = '0'] = facts.split(' ');
    return [Number(size), new Date(Number(mtime) * 1000).toISOString()];
  };
  const master = side(action.master);
  const backup = side(action.backup);
  return {
    relative_path: action.path,
    conflict_type: action.conflict_type ?? 'modified_both',
    master_size: master?.[0] ?? null,
    master_mtime: master?.[1] ?? null,
    backup_size: backup?.[0] ?? null,
    backup_mtime: backup?.[1] ?? null,
    reason: action.reason,
  };
}

const SHOWN = 20;

function describeResult(result: SyncResult, paint: Paint): string {
  const seconds = Math.max(0.001, (Date.parse(result.end_time) - Date.parse(result.start_time)) / 1000);
  const style = result.status === 'completed' ? 'good' : result.status === 'failed' ? 'bad' : 'warn';
  const sign = { completed: '✓', failed: '✗', cancelled: '■' }[result.status];
  const parts = [`${result.files_copied} copied`, `${result.files_skipped} unchanged`];
  if (result.files_moved > 0) parts.splice(1, 0, `${result.files_moved} renamed`);
  if (result.files_deleted > 0) parts.push(`${result.files_deleted} deleted`);
  if (result.files_failed > 0) parts.push(`${result.files_failed} failed`);
  if (result.conflicts_detected > 0) parts.push(plural(result.conflicts_detected, 'conflict'));
  const lines = [
    `${paint(style, `${sign} ${displayPath(result.target)}: ${result.status}`)}  ${parts.join(', ')}`,
    `  ${formatBytes(result.bytes_copied)} in ${formatDuration(seconds)}${result.bytes_copied > 0 ? ` (${formatRate(result.bytes_copied / seconds)})` : ''}` +
      `${result.verified === 'none' ? '' : `, verified (${result.verified})`}  operation ${result.operation_id.slice(0, 8)}`,
  ];
  if (result.space_savings) lines.push(`  ${savingsText(result.space_savings)}`);
  lines.push(...describeProblems(result.problems, paint));
  if (result.conflicts_detected > 0)
    lines.push(`  Conflicts were left untouched on both drives: see \`tandem conflicts list\`.`);
  return lines.join('\n');
}

function describeProblems(problems: readonly Problem[], paint: Paint): string[] {
  const lines = problems
    .slice(0, SHOWN)
    .map(({ path, message }) => `  ${paint('warn', '!')} ${displayPath(path)}: ${displayPath(message)}`);
  if (problems.length > SHOWN) lines.push(`  … and ${plural(problems.length - SHOWN, 'other problem')}`);
  return lines;
}

const actionColumns: readonly Column<Action>[] = [
  {
    title: 'ACTION',
    value: ({ kind, link_to }) => (link_to === undefined ? kind : 'link'),
    style: ({ kind }) => (kind === 'conflict' ? 'warn' : kind === 'delete' ? 'bad' : 'plain'),
  },
  { title: 'SIZE', value: ({ size, entry }) => (entry === 'd' ? '' : formatBytes(size)), align: 'right' },
  {
    title: 'PATH',
    value: ({ path, from, entry }) =>
      `${from === undefined ? '' : `${displayPath(from)} → `}${displayPath(path)}${entry === 'd' ? '/' : ''}`,
  },
  {
    title: 'REASON',
    value: ({ reason, conflict_type }) => (conflict_type === undefined ? reason : `${conflict_type}: ${reason}`),
  },
];

const QUIET = new Set<Action['kind']>(['adopt', 'forget', 'meta', 'skip']);

function describePlan(plan: Plan, paint: Paint, all: boolean): string {
  const { totals } = plan;
  const shown = plan.actions.filter(({ kind }) => all || !QUIET.has(kind));
  const lines = shown
    .slice(0, all ? undefined : 200)
    .map((action) =>
      actionColumns
        .map((column) =>
          paint(column.style?.(action) ?? 'plain', column.value(action).padEnd(column.title === 'ACTION' ? 8 : 0)),
        )
        .join('  '),
    );
  if (shown.length > lines.length)
    lines.push(`… and ${plural(shown.length - lines.length, 'other step')} (-v shows all)`);
  lines.push(...describeProblems(plan.problems, paint));
  for (const guard of plan.guards)
    lines.push(paint('bad', `This run would be refused (${guard.name}): ${guard.message}`));
  lines.push(
    `${displayPath(plan.target.name)}: ${totals.copy} to copy, ${totals.update} to update (${formatBytes(totals.bytes)}), ` +
      `${totals.convert > 0 ? `${totals.convert} to store in another form, ` : ''}${totals.move > 0 ? `${totals.move} to rename, ` : ''}${totals.delete} to delete, ` +
      `${plural(totals.conflict, 'conflict')}, ${totals.skipped} unchanged. Nothing was written.`,
  );
  return lines.join('\n');
}

function planOutput(plans: readonly Plan[], verbose: boolean): Output {
  const guarded = plans.some(({ guards }) => guards.length > 0);
  const failed = plans.some((plan) => plan.failed > 0);
  const conflicts = plans.some(({ totals }) => totals.conflict > 0);
  return {
    json: plans.length === 1 ? plans[0] : plans,
    text: (paint) => plans.map((plan) => describePlan(plan, paint, verbose)).join('\n'),
    exitCode: guarded ? EXIT.guard : failed ? EXIT.partial : conflicts ? EXIT.conflicts : EXIT.done,
  };
}

// --- command ---

const runOptions: Verb['options'] = [
  ...targetOptions,
  { flags: '--verify <level>', description: 'read back what was written', choices: ['none', 'size', 'checksum'] },
  { flags: '--checksum', description: 'compare contents instead of size and time' },
  { flags: '--skip-existing', description: 'leave every file that is on the Backup already' },
  { flags: '--full', description: 'read every file on both sides and record everything anew' },
  { flags: '--delete', description: "move to the Backup's trash what was deleted on the Master" },
  { flags: '--trust-mtime', description: 'first sync: take equal size and time for equal content' },
  {
    flags: '--parallel <n>',
    description: 'files at the same time, 1 to 16',
    parse: (text) => wholeNumber(text, '--parallel', 1, 16),
  },
  {
    flags: '--bwlimit <mb>',
    description: 'megabytes per second, 0.1 to 1000; 0 for none',
    parse: (text) => megabytesOf(text, '--bwlimit'),
  },
  {
    flags: '--include <pattern>',
    description: 'bring back what an exclude leaves out (gitignore syntax)',
    repeat: true,
  },
  { flags: '--exclude <pattern>', description: 'leave out (gitignore syntax)', repeat: true },
  {
    flags: '--min-size <size>',
    description: 'leave out smaller files, e.g. 10kB',
    parse: (text) => measured(text, '--min-size', parseSize, '10kB'),
  },
  {
    flags: '--max-size <size>',
    description: 'leave out larger files, e.g. 4GB',
    parse: (text) => measured(text, '--max-size', parseSize, '4GB'),
  },
  {
    flags: '--max-age <age>',
    description: 'leave out files older than e.g. 30d',
    parse: (text) => measured(text, '--max-age', parseDuration, '30d'),
  },
];

/** It names folders on the drives, so it is nothing but a UUID. */
function uuidOf(text: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) return text;
  throw new TandemError('usage', `--operation-id takes a UUID: current value is '${displayPath(text)}'.`, {
    hint: 'Leave it out: a new one is made.',
  });
}

/** The flags of `sync run` and `sync plan` as options over the target's own. */
function flagsOf(values: Values, { group }: Target): RunFlags {
  const own = syncOptions(group, {});
  const options: Partial<SyncOptions> = {
    filters: {
      ...own.filters,
      exclude: [...own.filters.exclude, ...((values['exclude'] as string[] | undefined) ?? [])],
      include: [...own.filters.include, ...((values['include'] as string[] | undefined) ?? [])],
      min_size: (values['minSize'] as number | undefined) ?? own.filters.min_size,
      max_size: (values['maxSize'] as number | undefined) ?? own.filters.max_size,
      max_age: (values['maxAge'] as number | undefined) ?? own.filters.max_age,
    },
  };
  if (values['verify'] !== undefined) options.verify_checksums = values['verify'] as SyncOptions['verify_checksums'];
  if (values['checksum']) options.checksum = true;
  if (values['skipExisting']) options.skip_existing = true;
  if (values['full']) options.incremental = false;
  if (values['delete']) options.on_master_delete = 'trash';
  if (values['trustMtime']) options.trust_mtime = true;
  if (values['parallel'] !== undefined) {
    options.enable_parallel_copy = values['parallel'] > 1;
    options.max_parallel_files = values['parallel'] as number;
  }
  if (values['bwlimit'] !== undefined) {
    const megabytes = values['bwlimit'] as number;
    Object.assign(options, { enable_bandwidth_limit: megabytes > 0, bandwidth_timetable: null });
    if (megabytes > 0) options.bandwidth_limit_mbps = megabytes;
  }
  const flags: RunFlags = { options, ...lockFlags(values) };
  if (values['operationId'] !== undefined) flags.operation = uuidOf(values['operationId'] as string);
  return flags;
}

function namesOf(args: Values, options: Values, ctx: Context): string[] {
  const named = (args['targets'] as string[] | undefined) ?? [];
  if (options['all']) return listGroups(ctx).map(({ id }) => id);
  if (named.length > 0) return named;
  throw new TandemError('usage', 'No target was named.', {
    hint: 'Name groups or projects, or give --all for every group; `tandem groups list` and `tandem projects list` show them.',
  });
}

export const command = defineCommand({
  name: 'sync',
  summary: 'bring the Backup into step with the Master',
  verbs: {
    run: {
      summary: 'sync one or more groups or projects now',
      examples: [
        'tandem sync run Archive',
        'tandem sync run Archive --path Projects/Wedding --verify checksum',
        'tandem sync run Wedding --role footage',
        'tandem sync run --all --dry-run',
      ],
      args: [
        {
          name: 'targets',
          description: 'groups or projects, by name or id',
          variadic: true,
          optional: true,
          complete: 'target',
        },
      ],
      options: [
        { flags: '--all', description: 'every group' },
        { flags: '-n, --dry-run', description: 'show what would be done; write nothing at all' },
        { flags: '--detach', description: 'go on in the background and print the operation id' },
        { flags: '--operation-id <uuid>', description: 'name of the operation (used by --detach)' },
        ...runOptions,
        ...lockOptions,
      ],
      run: async ({ args, options }, ctx) => {
        const names = namesOf(args, options, ctx);
        if (options['dryRun']) return planOutput(await planAll(names, options, ctx), options['verbose'] === true);
        if (options['detach']) return runDetached(names, choiceOf(options), repeatFlags(options), ctx);
        const results = await runNamed(names, options, ctx);
        return {
          json: results.length === 1 ? results[0] : results,
          text: (paint) => results.map((result) => describeResult(result, paint)).join('\n'),
          exitCode: exitCodeOf(results),
        };
      },
    },
    plan: {
      summary: 'show what a sync would do, and save it to be run later',
      examples: ['tandem sync plan Archive --out plan.json', 'tandem sync plan Archive --json'],
      args: [{ name: 'target', description: 'group or project, by name or id', complete: 'target' }],
      options: [{ flags: '--out <file>', description: 'save the plan for `sync apply`' }, ...runOptions],
      run: async ({ args, options }, ctx) => {
        const target = await targetOf(args['target'] as string, choiceOf(options), ctx);
        const plan = await planTarget(target, flagsOf(options, target), ctx);
        if (options['out'] !== undefined)
          writeFileAtomic(options['out'] as string, `${JSON.stringify(plan, null, 1)}\n`);
        return planOutput([plan], options['verbose'] === true);
      },
    },
    refill: refillVerb,
    apply: {
      summary: 'run a saved plan, path by path; what changed since is refused',
      examples: ['tandem sync apply plan.json', 'tandem sync apply plan.json --skip Projects/Drafts'],
      args: [{ name: 'plan', description: 'file written by `sync plan --out`', complete: 'path' }],
      options: [
        { flags: '--skip <path>', description: 'leave this path, and what is below it, out', repeat: true },
        ...lockOptions,
      ],
      run: async ({ args, options }, ctx) => {
        const plan = readPlan(args['plan'] as string);
        const skip = (options['skip'] as string[] | undefined) ?? [];
        const run = (heard: Context): Promise<SyncResult> => applySavedPlan(plan, skip, lockFlags(options), heard);
        try {
          const result = await toldSync([targetOfPlan(plan, ctx)], run, ctx);
          return { json: result, text: (paint) => describeResult(result, paint), exitCode: exitCodeOf([result]) };
        } finally {
          await lastNotices();
        }
      },
    },
    status: {
      summary: 'compare both drives now, and say when they last agreed',
      examples: ['tandem sync status Archive'],
      args: [{ name: 'target', description: 'group or project, by name or id', complete: 'target' }],
      options: targetOptions,
      run: async ({ args, options }, ctx) => {
        const all: SyncStatus[] = [];
        for (const target of await targetsOf(args['target'] as string, choiceOf(options), ctx))
          all.push(await statusOf(target, ctx));
        return {
          json: all.length === 1 ? all[0] : all,
          text: (paint) => all.map((status) => describeStatus(status, paint)).join('\n'),
          exitCode: all.some(({ pending }) => pending.conflict > 0) ? EXIT.conflicts : EXIT.done,
        };
      },
    },
    ...steeringVerbs,
  },
});

async function runNamed(names: readonly string[], options: Values, ctx: Context): Promise<SyncResult[]> {
  const results: SyncResult[] = [];
  try {
    for (const name of names) {
      const targets = await targetsOf(name, choiceOf(options), ctx);
      const run = (heard: Context): Promise<SyncResult> =>
        syncTargets(targets, (target) => flagsOf(options, target), heard);
      results.push(await toldSync(targets, run, ctx));
      if (ctx.signal.aborted) break;
    }
    return results;
  } finally {
    await lastNotices();
  }
}

async function planAll(names: readonly string[], options: Values, ctx: Context): Promise<Plan[]> {
  const plans: Plan[] = [];
  for (const name of names)
    for (const target of await targetsOf(name, choiceOf(options), ctx))
      plans.push(await planTarget(target, flagsOf(options, target), ctx));
  return plans;
}

function describeStatus(status: SyncStatus, paint: Paint): string {
  const { pending } = status;
  const head = status.in_sync
    ? paint('good', `✓ ${displayPath(status.target)}: Master and Backup agree`)
    : paint(
        'warn',
        `⚠ ${displayPath(status.target)}: ${pending.copy} to copy, ${pending.update} to update (${formatBytes(pending.bytes)}), ${pending.delete} to delete, ${plural(pending.conflict, 'conflict')}`,
      );
  const last = status.last_operation;
  return [
    head,
    ...describeProblems(status.problems, paint),
    last ? `  last run: ${last.status} at ${last.start_time}, ${last.files_copied} copied` : '  never synced',
    ...(status.last_success === null ? [] : [`  last complete sync: ${status.last_success}`]),
  ].join('\n');
}

/** The same run options again, as words. */
function repeatFlags(options: Values): string[] {
  const words: string[] = [];
  for (const { flags } of [...(runOptions ?? []), ...(lockOptions ?? [])]) {
    const name = /--([a-z-]+)/.exec(flags)?.[1] ?? '';
    const value = options[name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())] as unknown;
    if (value === undefined || value === false) continue;
    for (const one of Array.isArray(value) ? value : [value])
      words.push(`--${name}`, ...(one === true ? [] : [String(one)]));
  }
  return words;
}

/** Running and recent runs, for the dashboard. */
export const panel = definePanel<Operation>({
  title: 'Run',
  rows: (ctx) => listOperations({ limit: 50 }, ctx),
  columns: [
    { title: 'OPERATION', value: ({ uuid }) => uuid.slice(0, 8) },
    { title: 'TARGET', value: ({ target_name }) => displayPath(target_name) },
    {
      title: 'STATUS',
      value: ({ status }) => status,
      style: ({ status }) =>
        (({ completed: 'good', failed: 'bad', cancelled: 'warn', running: 'plain' }) as const)[status],
    },
    { title: 'PROGRESS', value: ({ progress }) => describeProgress(progress), align: 'right' },
  ],
  empty: 'Nothing has run yet: press s on a group to sync it.',
  actions: [
    { key: 'x', label: 'cancel', disabled: notRunning, command: ({ uuid }) => ['sync', 'cancel', uuid] },
    { key: 'p', label: 'pause', disabled: notRunning, command: ({ uuid }) => ['sync', 'pause', uuid] },
  ],
});

function notRunning({ status }: Operation): string | undefined {
  return status === 'running' ? undefined : `it is ${status}`;
}

function describeProgress(progress: Progress | null): string {
  return progress === null ? '' : `${progress.files_done}/${progress.files_total}  ${formatRate(progress.rate)}`;
}

runIfMain(import.meta, command);
