/**
 * Brings files back: a whole drive, single paths, a version that an operation replaced, or the state of a day; onto the
 * Master or into any folder, from a Backup alone on a computer that has never seen the group. The copying is that of a
 * sync, with the same checks, and what stands in the way is kept as a version. `undo` takes a whole operation back.
 */
import type { Context } from '../shared/context.ts';
import { EXIT, TandemError } from '../shared/errors.ts';
import {
  type Column,
  defineCommand,
  definePanel,
  type Output,
  type Paint,
  renderTable,
  runIfMain,
  type Values,
} from '../shared/feature.ts';
import { formatBytes, formatTime, parseDuration, plural } from '../shared/format.ts';
import { displayPath, isInside, relPath } from '../shared/paths.ts';
import { clockLeapt, type KeptOperation } from '../shared/retention.ts';
import { lockFlags, lockOptions, measured, roleOption } from '../shared/run-options.ts';
import { closeDriveRoot, openDriveRoot } from '../shared/store.ts';
import { listGroups } from './groups.ts';
import { assertGuards } from './guards.ts';
import { doubtRows, findPair, getOperation, listOperations, type Operation } from './history.ts';
import { type DriveSide, prune, retentionRules } from './manifests.ts';
import { findOrigin, type Moment, type Origin, openFolderPair, type Version, versionsAt } from './origin.ts';
import { runParts } from './parts.ts';
import type { Plan } from './plan.ts';
import { recall } from './recall.ts';
import { exitCodeOf, lockDrive, type Prepare, type RunFlags, runLocked, type SyncResult, syncSums } from './run.ts';
import { LOOKING, type OpenPair, openPair, reversedPair, type SyncOptions, syncOptions } from './session.ts';
import { pathWithin, type Target, targetsOf, wholeOf } from './targets.ts';
import { describeUndo, planUndo, undoOperation } from './undo.ts';

export { planUndo, undoOperation } from './undo.ts';

export interface RestoreFlags extends RunFlags {
  /** Paths from the drive's root, or patterns (`*`, `**`, `?`); each with what is below it. None: everything. */
  paths?: readonly string[];
  /** Named files alone, without what belongs to the same shot (RAW, sidecar, sound, proxy). */
  only?: boolean;
  /** Folder to restore into, under the paths that the files have on the drive; else the Master. */
  to?: string;
  /** Drive that is read; the Backup unless told otherwise. */
  from?: DriveSide;
  /** An operation, whose versions are wanted, or a date, whose state is; else what stands on the drive now. */
  version?: string;
}

/** Restores a group or a project, or a drive without a group into a folder. Reference: `restore_from_backup`. */
export async function restoreFromBackup(target: string, flags: RestoreFlags, ctx: Context): Promise<SyncResult> {
  const places = await placesOf(target, flags, ctx);
  const [first] = places as [Place, ...Place[]];
  if (first.target.project === null) return restorePlace(first, flags, ctx);
  const run = (one: Target, part: { parent?: number }): Promise<SyncResult> =>
    restorePlace(places.find((place) => place.target === one) ?? first, { ...flags, ...part }, ctx);
  const targets = places.map((place) => place.target);
  // Into one folder there is one writer at a time.
  return runParts(
    targets,
    { kind: 'restore', operation: flags.operation, inTurn: flags.to !== undefined, run, ...syncSums },
    ctx,
  );
}

async function restorePlace(place: Place, flags: RestoreFlags, ctx: Context): Promise<SyncResult> {
  const { origin, open, viewOf, agrees, moment } = await prepareRestore(place, flags, ctx);
  const views: OpenPair[] = [];
  const prepare: Prepare = async ({ pair, operation }, running) => {
    const view = viewOf(pair);
    if (view !== pair) views.push(view);
    const plan = await recall(
      view,
      { moment, paths: place.paths, only: flags.only === true, options: flags.options ?? {}, operation },
      running,
    );
    assertGuards(plan, ctx);
    if (!agrees && flags.to === undefined) await doubtRestored(plan, view, pair, running);
    return [{ plan, strict: false, reversed: view.reversed, agrees, pair: view }];
  };
  try {
    return await runLocked({ ...place.target, group: origin.group }, flags, ctx, prepare, 'restore', open);
  } finally {
    for (const view of views) await view.close();
  }
}

/** On a drive without file ids a former state can look like the recorded one to the last bit: the next run is to read it. */
async function doubtRestored({ actions }: Plan, view: OpenPair, pair: OpenPair, ctx: Context): Promise<void> {
  const pairId = view.backupTraits.stable_ids ? null : await findPair(pair.masterUuid, pair.backupUuid, ctx);
  const paths = actions.map(({ path }) => path);
  if (pairId !== null) await doubtRows(pairId, paths, ctx);
}

/** What `restoreFromBackup` would do, for each folder of a project; writes nothing anywhere. */
export async function planRestore(target: string, flags: RestoreFlags, ctx: Context): Promise<Plan[]> {
  const plans: Plan[] = [];
  for (const place of await placesOf(target, flags, ctx)) plans.push(await planPlace(place, flags, ctx));
  return plans;
}

async function planPlace(place: Place, flags: RestoreFlags, ctx: Context): Promise<Plan> {
  const { origin, viewOf, moment } = await prepareRestore(place, flags, ctx);
  const { to, only = false, options = {} } = flags;
  const pair = to === undefined ? await openPair(origin.group, ctx, true) : openFolderPair(origin, to, true);
  const view = viewOf(pair);
  try {
    return await recall(view, { moment, paths: place.paths, only, options, operation: LOOKING }, ctx);
  } finally {
    if (view !== pair) await view.close();
    await pair.close();
  }
}

/** Versions of a path, and of what was below it, on the connected drives of a target or on one drive; newest first. */
export async function listVersions(target: string, path: string, ctx: Context, role?: string): Promise<Version[]> {
  const found: Version[] = [];
  for (const place of await placesOf(target, { paths: [path], ...(role === undefined ? {} : { role }) }, ctx)) {
    for (const { drive, side } of await connectedOrigins(place.origin, ctx)) {
      const root = openDriveRoot(drive.mount_path, drive.label);
      try {
        found.push(...(await versionsAt(root, side, relPath(place.paths[0] ?? ''), ctx)));
      } finally {
        closeDriveRoot(root);
      }
    }
  }
  return found.sort((a, b) => (a.replaced_at < b.replaced_at ? 1 : -1));
}

export interface PruneFlags extends RunFlags {
  dryRun?: boolean;
  /** Seconds, instead of the group's `versions.max_age`. */
  olderThan?: number;
  /** So many of the newest operations stay whatever their age. */
  keepLast?: number;
}

export interface PruneResult {
  drive: string;
  pruned: KeptOperation[];
  kept: KeptOperation[];
}

/**
 * Removes old versions from the connected drives of a target, oldest first; never those of the last 24 hours.
 * @throws TandemError `guard` when the clock leapt, because then every age is wrong.
 */
export async function pruneVersions(target: string, flags: PruneFlags, ctx: Context): Promise<PruneResult[]> {
  const results: PruneResult[] = [];
  const places = await placesOf(target, {}, ctx);
  const origins = [...new Set(places.map(({ origin }) => origin))];
  const found = await Promise.all(origins.map((origin) => connectedOrigins(origin, ctx)));
  for (const { drive, group } of found.flat()) {
    const { versions } = syncOptions(group, {});
    const max_age = flags.olderThan ?? versions.max_age;
    const rules = await retentionRules(drive.total_size, { ...versions, max_age }, undefined, ctx);
    if (clockLeapt(rules) && !ctx.force.has('all') && !ctx.force.has('clock')) {
      throw new TandemError(
        'guard',
        'The clock stands more than 30 days from the last operation, so ages cannot be told.',
        {
          guard: 'clock',
          hint: 'Check the date of this computer; if it is right, repeat with --force clock.',
        },
      );
    }
    const root = openDriveRoot(drive.mount_path, drive.label);
    try {
      const dryRun = flags.dryRun === true || drive.read_only;
      const lock = dryRun ? undefined : await lockDrive(root, drive.network, flags, ctx);
      try {
        const all = { ...rules, lastOperation: null };
        results.push({ drive: drive.label, ...(await prune(root, all, dryRun, ctx, flags.keepLast)) });
      } finally {
        lock?.release();
      }
    } finally {
      closeDriveRoot(root);
    }
  }
  return results;
}

// --- internal ---

interface Restore {
  origin: Origin;
  moment: Moment;
  /** What is restored is what both sides agree on from then on. */
  agrees: boolean;
  open: ((ctx: Context) => Promise<OpenPair>) | undefined;
  /** The drives with the one that is read as Master, and the one that is written to as Backup. */
  viewOf(pair: OpenPair): OpenPair;
}

/** Where a restore looks: a group by its id, or a drive as the user names it. */
interface Place {
  origin: string;
  target: Target;
  /** From the drive's root; none: everything. */
  paths: string[];
}

/** @throws TandemError `usage` for paths that could belong to any of a project's roles. */
async function placesOf(query: string, flags: RestoreFlags, ctx: Context): Promise<Place[]> {
  const { paths = [], role } = flags;
  let targets: Target[];
  try {
    targets = await targetsOf(query, { role }, ctx);
  } catch (error) {
    if (!(error instanceof TandemError) || error.code !== 'not_found' || role !== undefined) throw error;
    // Not a group and not a project: a drive, perhaps one that no group here knows.
    const { group } = await findOrigin(query, 'backup', ctx);
    return [{ origin: query, target: wholeOf(group), paths: [...paths] }];
  }
  const meant =
    targets.length === 1 || paths.length === 0
      ? targets
      : targets.filter(({ subpath }) => paths.some((path) => isInside(path, subpath)));
  if (meant.length === 0)
    throw new TandemError(
      'usage',
      `'${displayPath(query)}' has several roles, and '${displayPath(paths[0] ?? '')}' could belong to any of them.`,
      {
        hint: "Say which one is meant with --role, or give the path from the drive's root.",
      },
    );
  return meant.map((target) => {
    const within =
      paths.length === 0 ? [target.subpath as string] : paths.map((path) => pathWithin(path, target.subpath));
    return { origin: target.group.id, target, paths: within.filter((path) => path !== '') };
  });
}

async function prepareRestore(place: Place, flags: RestoreFlags, ctx: Context): Promise<Restore> {
  const side = flags.from ?? 'backup';
  const found = await findOrigin(place.origin, side, ctx);
  const origin = found.known ? { ...found, group: place.target.group } : found;
  const moment = await momentOf(flags.version, ctx);
  const { to } = flags;
  if (to !== undefined) {
    const open = async (): Promise<OpenPair> => openFolderPair(origin, to, false);
    return { origin, moment, agrees: false, open, viewOf: (pair) => pair };
  }
  if (!origin.known) {
    throw new TandemError(
      'usage',
      `'${displayPath(origin.drive.label)}' is a drive of no group known here, so it has no Master to restore to.`,
      {
        hint: 'Give a folder: tandem restore run DRIVE --to FOLDER.',
      },
    );
  }
  if (side === 'master' && moment.kind === 'now') {
    throw new TandemError('usage', 'The Master cannot be restored from itself.', {
      hint: 'Leave --from master out, name a --version, or give --to a folder.',
    });
  }
  const sameDrive = side === 'master';
  const viewOf = sameDrive ? ownView : reversedPair;
  return { origin, moment, agrees: !sameDrive && moment.kind === 'now', open: undefined, viewOf };
}

/** A drive that its own versions go back to. */
function ownView(pair: OpenPair): OpenPair {
  const view = reversedPair(pair);
  view.master = pair.master;
  view.masterDrive = pair.masterDrive;
  view.masterTraits = pair.masterTraits;
  view.masterUuid = pair.masterUuid;
  view.storedSide = null;
  return view;
}

/** @throws TandemError `usage` for a text that is neither an operation nor a date. */
async function momentOf(version: string | undefined, ctx: Context): Promise<Moment> {
  if (version === undefined) return { kind: 'now' };
  const date = /^\d{4}-\d{2}-\d{2}([T ]|$)/.test(version) ? Date.parse(version.replace(' ', 'T')) : Number.NaN;
  if (!Number.isNaN(date)) return { kind: 'date', time: date };
  const operation = await getOperation(version, ctx).catch((error: unknown) => {
    if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(version)) return { uuid: version };
    if (!(error instanceof TandemError) || error.code !== 'not_found') throw error;
    throw new TandemError(
      'usage',
      `--version takes an operation or a date: current value is '${displayPath(version)}'.`,
      {
        hint: 'For example --version 12, or --version 2026-03-01 for the state of that morning; `tandem restore versions` lists operations.',
      },
    );
  });
  return { kind: 'operation', uuid: operation.uuid };
}

async function connectedOrigins(target: string, ctx: Context): Promise<Origin[]> {
  const first = await findOrigin(target, 'backup', ctx).catch((error: unknown) => error);
  if (!(first instanceof Error) && !(first as Origin).known) return [first as Origin];
  const other = await findOrigin(target, 'master', ctx).catch((error: unknown) => error);
  const found = [first, other].filter((one): one is Origin => !(one instanceof Error));
  if (found.length === 0) throw first;
  return found;
}

// --- command ---

function describeResult(result: SyncResult, paint: Paint): string {
  const style = result.status === 'completed' ? 'good' : result.status === 'failed' ? 'bad' : 'warn';
  const parts = [`${result.files_copied} copied`, `${result.files_skipped} unchanged`];
  if (result.files_moved > 0) parts.push(`${result.files_moved} put back`);
  if (result.files_deleted > 0) parts.push(`${result.files_deleted} to the trash`);
  if (result.files_failed > 0) parts.push(`${result.files_failed} failed`);
  const lines = [
    `${paint(style, `${displayPath(result.target)}: ${result.status}`)}  ${parts.join(', ')}`,
    `  ${formatBytes(result.bytes_copied)}  operation ${result.operation_id.slice(0, 8)}`,
    ...result.problems
      .slice(0, 20)
      .map(({ path, message }) => `  ${paint('warn', '!')} ${displayPath(path)}: ${displayPath(message)}`),
  ];
  if (result.problems.length > 20) lines.push(`  … and ${plural(result.problems.length - 20, 'other problem')}`);
  if (result.conflicts_detected > 0)
    lines.push(
      `  ${plural(result.conflicts_detected, 'path')} wait: \`tandem conflicts list\` says which state shall stand.`,
    );
  return lines.join('\n');
}

function describePlan(plan: Plan, paint: Paint): string {
  const shown = plan.actions.slice(0, 200);
  const lines = shown.map(
    ({ kind, path, reason }) => `${kind.padEnd(7)} ${displayPath(path)}  ${paint('dim', reason)}`,
  );
  if (plan.actions.length > shown.length)
    lines.push(`… and ${plural(plan.actions.length - shown.length, 'other step')}`);
  for (const { path, message } of plan.problems)
    lines.push(`${paint('warn', '!')} ${displayPath(path)}: ${displayPath(message)}`);
  for (const guard of plan.guards)
    lines.push(paint('bad', `This restore would be refused (${guard.name}): ${guard.message}`));
  const { copy, update, bytes, skipped } = plan.totals;
  lines.push(
    `${copy} to copy, ${update} to replace (${formatBytes(bytes)}), ${skipped} unchanged. Nothing was written.`,
  );
  return lines.join('\n');
}

function flagsOf(values: Values): RestoreFlags {
  const options: Partial<SyncOptions> = {};
  if (values['verify'] !== undefined) options.verify_checksums = values['verify'];
  if (values['checksum']) options.checksum = true;
  if (values['skipExisting']) options.skip_existing = true;
  return {
    ...lockFlags(values),
    options,
    only: values['only'] === true,
    ...(values['to'] === undefined ? {} : { to: values['to'] }),
    ...(values['from'] === undefined ? {} : { from: values['from'] }),
    ...(values['role'] === undefined ? {} : { role: values['role'] }),
    ...(values['version'] === undefined ? {} : { version: values['version'] }),
  };
}

const versionColumns: readonly Column<Version>[] = [
  { title: 'Replaced', value: ({ replaced_at }) => formatTime(new Date(replaced_at)) },
  { title: 'Operation', value: ({ operation }) => displayPath(operation.slice(0, 8)) },
  { title: 'On', value: ({ side }) => (side === 'master' ? 'Master' : 'Backup'), style: ({ side }) => side },
  { title: 'Size', align: 'right', value: ({ size }) => formatBytes(size) },
  { title: 'Modified', value: ({ mtime }) => formatTime(new Date(mtime)) },
  { title: 'Path', value: ({ path }) => displayPath(path) },
];

async function runPrune({ args, options }: { args: Values; options: Values }, ctx: Context): Promise<Output> {
  const results = await pruneVersions(
    args['target'],
    {
      ...lockFlags(options),
      dryRun: options['dryRun'] === true,
      ...(options['olderThan'] === undefined ? {} : { olderThan: options['olderThan'] }),
      ...(options['keepLast'] === undefined ? {} : { keepLast: options['keepLast'] }),
    },
    ctx,
  );
  const sum = (list: readonly KeptOperation[]): string =>
    formatBytes(list.reduce((total, { bytes }) => total + bytes, 0));
  const verb = options['dryRun'] ? 'would go' : 'removed';
  return {
    json: results,
    text: () =>
      results
        .map(
          ({ drive, pruned, kept }) =>
            `${displayPath(drive)}: versions of ${plural(pruned.length, 'operation')} ${verb} (${sum(pruned)}), ${kept.length} kept (${sum(kept)})`,
        )
        .join('\n'),
  };
}

export const command = defineCommand({
  name: 'restore',
  summary: 'bring back files, versions or a whole operation',
  verbs: {
    run: {
      summary: 'restore everything, or single paths, onto the Master or into a folder',
      examples: [
        'tandem restore run Archive Projects/Wedding',
        'tandem restore run PhotoBackup --to Rescued',
        "tandem restore run Archive 'Projects/**/*.xmp' --version 2026-03-01 --to March",
      ],
      args: [
        {
          name: 'target',
          description: 'group or project; or a drive by label or mount path, with --to',
          complete: 'target',
        },
        {
          name: 'paths',
          description: "paths or patterns, from the project's folder or the drive's root",
          variadic: true,
          optional: true,
          complete: 'path',
        },
      ],
      options: [
        { flags: '--to <folder>', description: 'restore into this folder instead of the Master', complete: 'path' },
        roleOption,
        {
          flags: '--from <side>',
          description: 'drive to read: backup (default) or master',
          choices: ['master', 'backup'],
        },
        {
          flags: '--version <version>',
          description: 'what an operation replaced, or the state of a date (2026-03-01)',
        },
        { flags: '--only', description: 'the named files alone, without what belongs to the same shot' },
        { flags: '-n, --dry-run', description: 'show what would be done; write nothing at all' },
        { flags: '--verify <level>', description: 'read back what was written', choices: ['none', 'size', 'checksum'] },
        { flags: '--checksum', description: 'compare contents instead of size and time' },
        { flags: '--skip-existing', description: 'leave every file that is there already' },
        ...lockOptions,
      ],
      run: async ({ args, options }, ctx) => {
        const flags = { ...flagsOf(options), paths: args['paths'] ?? [] };
        if (options['dryRun']) {
          const plans = await planRestore(args['target'], flags, ctx);
          const guarded = plans.some(({ guards }) => guards.length > 0);
          const exitCode = guarded ? EXIT.guard : plans.some(({ failed }) => failed > 0) ? EXIT.partial : EXIT.done;
          const text = (paint: Paint): string => plans.map((plan) => describePlan(plan, paint)).join('\n');
          return { json: plans.length === 1 ? plans[0] : plans, text, exitCode };
        }
        const result = await restoreFromBackup(args['target'], flags, ctx);
        return { json: result, text: (paint) => describeResult(result, paint), exitCode: exitCodeOf([result]) };
      },
    },
    versions: {
      summary: 'versions of a file, or of all files in a folder, newest first',
      examples: ['tandem restore versions Archive Projects/Wedding/cut.mov'],
      args: [
        { name: 'target', description: 'group or project, or a drive by label or mount path', complete: 'target' },
        { name: 'path', description: "from the project's folder or the drive's root", complete: 'path' },
      ],
      options: [roleOption],
      run: async ({ args, options }, ctx) => {
        const versions = await listVersions(args['target'], args['path'], ctx, options['role']);
        const none = 'No version of it is kept on the connected drives.';
        return {
          json: versions,
          text: (paint) => (versions.length > 0 ? renderTable(versions, versionColumns, paint) : none),
        };
      },
    },
    undo: {
      summary: 'put back what an operation replaced or removed, and take away what it made',
      examples: ['tandem restore undo 12', 'tandem restore undo 3f2a91 --dry-run'],
      args: [{ name: 'operation', description: 'number, id or beginning of the id', complete: 'operation' }],
      options: [
        { flags: '-n, --dry-run', description: 'show what would be done; write nothing at all' },
        ...lockOptions,
      ],
      run: async ({ args, options }, ctx) => {
        if (options['dryRun']) {
          const { operation, plans } = await planUndo(args['operation'], ctx);
          return {
            json: { operation_id: operation.uuid, plans },
            text: () => [...describeUndo(plans), 'Nothing was written.'].join('\n'),
          };
        }
        const result = await undoOperation(args['operation'], lockFlags(options), ctx);
        return { json: result, text: (paint) => describeResult(result, paint), exitCode: exitCodeOf([result]) };
      },
    },
    prune: {
      summary: 'remove old versions now; never those of the last 24 hours',
      examples: [
        'tandem restore prune Archive --dry-run',
        'tandem restore prune Archive --older-than 30d --keep-last 5',
      ],
      args: [
        { name: 'target', description: 'group or project, or a drive by label or mount path', complete: 'target' },
      ],
      options: [
        { flags: '-n, --dry-run', description: 'show what would go; remove nothing' },
        {
          flags: '--older-than <age>',
          description: "instead of the group's versions.max_age, e.g. 30d",
          parse: (text) => measured(text, '--older-than', parseDuration, '30d'),
        },
        {
          flags: '--keep-last <n>',
          description: 'keep the versions of so many operations',
          parse: (text) =>
            measured(text, '--keep-last', (word) => (/^\d{1,6}$/.test(word) ? Number(word) : undefined), '5'),
        },
        ...lockOptions,
      ],
      run: runPrune,
    },
  },
});

/** Operations that can be undone, for the dashboard. */
export const panel = definePanel<Operation>({
  title: 'Restore',
  rows: async (ctx) => {
    const groups = new Set(listGroups(ctx).map(({ id }) => id));
    return (await listOperations({ limit: 50 }, ctx)).filter(({ group_id }) => groups.has(group_id));
  },
  columns: [
    { title: 'No.', align: 'right', value: ({ id }) => String(id) },
    { title: 'TYPE', value: ({ operation_type }) => displayPath(operation_type) },
    { title: 'TARGET', value: ({ target_name }) => displayPath(target_name) },
    { title: 'STARTED', value: ({ start_time }) => formatTime(new Date(start_time)) },
    { title: 'STATUS', value: ({ status }) => status },
  ],
  empty: 'Nothing was synced yet, so there is nothing to undo.',
  actions: [
    {
      key: 'u',
      label: 'undo',
      disabled: ({ status }) => (status === 'running' ? 'it is running' : undefined),
      command: ({ id }) => ['restore', 'undo', String(id)],
    },
  ],
});

runIfMain(import.meta, command);
