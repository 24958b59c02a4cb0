import { createRequire } from 'node:module';
import type { Ignore } from 'ignore';
import { withTheirSets } from '../shared/camera-sets.ts';
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
import { formatBytes, plural } from '../shared/format.ts';
import { isKeyed } from '../shared/hash.ts';
import { type OpenConflict, readConflicts } from '../shared/inbox.ts';
import { Entry } from '../shared/listing.ts';
import { displayPath, isInside, type RelPath, relPath } from '../shared/paths.ts';
import type { BaselineRow } from '../shared/rows.ts';
import { choiceOf, lockFlags, lockOptions, roleOption, targetOptions } from '../shared/run-options.ts';
import { recordedSuffix, type Suffix } from '../shared/stored.ts';
import { type Stat, statAt } from '../shared/syscalls.ts';
import { type Difference, differenceOf } from './difference.ts';
import { listGroups } from './groups.ts';
import { readRows } from './history.ts';
import { runParts } from './parts.ts';
import type { Keep } from './resolution.ts';
import { exitCodeOf, type RunFlags, type Step, type SyncResult, syncSums } from './run.ts';
import { openPair } from './session.ts';
import { mergeConflict, pairOf, planResolution, resolvePaths } from './settle.ts';
import { pathWithin, type Target, targetName, targetsOf, wholeOf } from './targets.ts';

export type { Difference } from './difference.ts';

/** One side of a conflict. */
export interface SideState {
  kind: 'f' | 'd' | 'l';
  /** Bytes. */
  size: number;
  /** ISO 8601, UTC. */
  mtime: string;
  /** As far as it is known: of the baseline, or of a side that is as it was then. */
  checksum?: string;
}

/** As `conflicts list --json` prints it. */
export interface Conflict {
  target: string;
  path: string;
  conflict_type: string;
  reason: string;
  master: SideState | null;
  backup: SideState | null;
  baseline: SideState | null;
  detected_at: string;
}

export const KEEPS = ['master', 'backup', 'both', 'newest', 'largest', 'skip'] as const;

/** Conflicts of a group or project, or of all groups; from the database, so the drives need not be connected. */
export async function listConflicts(
  name: string | undefined,
  path: string | undefined,
  ctx: Context,
  role?: string,
): Promise<Conflict[]> {
  const targets = name === undefined ? listGroups(ctx).map(wholeOf) : await targetsOf(name, { path, role }, ctx);
  const found: Conflict[] = [];
  for (const target of targets) found.push(...(await conflictsOf(target, ctx)));
  return found;
}

/**
 * Reference: `resolve_conflicts`.
 * @param target a group or a project.
 * @param resolutions by path: `keep_master`, `keep_backup`, `keep_both`, or one of `KEEPS`.
 */
export async function resolveConflicts(
  target: string,
  resolutions: Readonly<Record<string, string>>,
  ctx: Context,
): Promise<SyncResult> {
  const targets = await targetsOf(target, {}, ctx);
  const decided: Decided[] = [];
  for (const [path, value] of Object.entries(resolutions)) {
    const side = keepNamed(value.replace(/^keep_/, ''));
    const place = await placeOf(targets, path, ctx);
    if (side !== 'skip') decided.push({ ...place, side });
  }
  return settleAll(targets, decided, {}, ctx);
}

/** @throws TandemError `drive_missing` unless both drives are connected, `not_found` when a side has no such file. */
export async function diffConflict(target: string, path: string, ctx: Context, role?: string): Promise<Difference> {
  const place = await placeOf(await targetsOf(target, { role }, ctx), path, ctx);
  const name = place.path;
  const pair = await openPair(place.target.group, ctx, true);
  try {
    const stored = await storedOf(place.target, name, ctx);
    const stats = [pair.master, pair.backup].map(({ dir, label }, index) => {
      const stat = statAt(dir, index === 0 ? name : name + stored);
      if (stat?.kind === 'f') return stat;
      throw new TandemError('not_found', `There is no file '${displayPath(name)}' on '${displayPath(label)}'.`, {
        hint: '`tandem conflicts show` says what stands on either side.',
      });
    }) as [Stat, Stat];
    return await differenceOf(pair, name, stored, stats, ctx);
  } finally {
    await pair.close();
  }
}

/** How the Backup stores what is recorded under this path. */
export async function storedOf({ group }: Target, path: RelPath, ctx: Context): Promise<Suffix> {
  const pairId = await pairOf(group, ctx);
  const [row] = pairId === null ? [] : await readRows(pairId, [path], ctx);
  return row ? recordedSuffix(row) : '';
}

// --- internal ---

async function conflictsOf(target: Target, ctx: Context): Promise<Conflict[]> {
  const pairId = await pairOf(target.group, ctx);
  if (pairId === null) return [];
  const waiting = await readConflicts(pairId, target.subpath, ctx);
  const rows = await readRows(
    pairId,
    waiting.map(({ path }) => path),
    ctx,
  );
  const byPath = new Map(rows.map((row) => [row.path, row]));
  return waiting.map((open) => conflictOf(target, open, byPath.get(open.path)));
}

/** A path as a user gives it belongs to the first part where such a conflict waits, else to the first part. */
async function placeOf(
  targets: readonly Target[],
  path: string,
  ctx: Context,
): Promise<{ target: Target; path: RelPath }> {
  const places = targets.map((target) => ({ target, path: pathWithin(path, target.subpath) }));
  for (const place of places.length > 1 ? places : []) {
    const pairId = await pairOf(place.target.group, ctx);
    if (pairId !== null && (await readConflicts(pairId, place.path, ctx)).length > 0) return place;
  }
  return places[0] as { target: Target; path: RelPath };
}

interface Decided {
  target: Target;
  path: RelPath;
  side: Keep;
}

/** As one operation, with a part for each group that something was decided of. */
function settleAll(
  targets: readonly Target[],
  decided: readonly Decided[],
  flags: RunFlags,
  ctx: Context,
): Promise<SyncResult> {
  const concerned = targets.filter((target) => decided.some((one) => one.target === target));
  const run = (target: Target, part: { parent?: number }): Promise<SyncResult> =>
    resolvePaths(target, { keep: keptOf(target, decided), ...flags, ...part }, ctx);
  const some = concerned.length > 0 ? concerned : targets.slice(0, 1);
  return runParts(some, { kind: 'resolve', operation: undefined, run, ...syncSums }, ctx);
}

function keptOf(target: Target, decided: readonly Decided[]): Map<string, Keep> {
  return new Map(decided.filter((one) => one.target === target).map(({ path, side }) => [path, side]));
}

function conflictOf(target: Target, open: OpenConflict, row: BaselineRow | undefined): Conflict {
  // A keyed checksum is of no use to anybody who compares it with that of a file.
  const checksum = row && !isKeyed(row.checksum_algorithm) ? row.checksum : undefined;
  const known = (facts: string | null, recorded: string | undefined): SideState | null =>
    facts === null || facts === '' ? null : stateOf(facts, facts === recorded ? checksum : undefined);
  return {
    target: targetName(target),
    path: open.path,
    conflict_type: open.conflict_type,
    reason: open.reason,
    master: known(open.master_facts, row?.master_facts),
    backup: known(open.backup_facts, row?.backup_facts),
    baseline: row && row.master_facts !== '' ? stateOf(row.master_facts, checksum) : null,
    detected_at: open.detected_at,
  };
}

function stateOf(facts: string, checksum: string | undefined): SideState {
  const entry = new Entry(facts, '');
  const kind = entry.kind === 'o' ? 'f' : entry.kind;
  const state: SideState = { kind, size: entry.size, mtime: new Date(entry.mtimeMs).toISOString() };
  if (checksum) state.checksum = checksum;
  return state;
}

function keepNamed(text: string): Keep | 'skip' {
  const found = KEEPS.find((one) => one === text);
  if (found) return found;
  throw new TandemError('invalid', `'${displayPath(text)}' is no resolution.`, {
    hint: `Resolutions are ${KEEPS.join(', ')}.`,
  });
}

/** One target's conflicts, of which some may be chosen. */
interface Waiting {
  target: Target;
  conflicts: Conflict[];
}

/** The paths that the words of a command line mean, among those that wait. */
function chosen(
  all: readonly Waiting[],
  words: readonly string[],
  options: { all: boolean; only: boolean },
  name: string,
): { target: Target; conflict: Conflict }[] {
  const every = all.flatMap(({ target, conflicts }) => conflicts.map((conflict) => ({ target, conflict })));
  if (options.all) return every;
  if (words.length === 0)
    throw new TandemError('usage', 'No conflict was named.', {
      hint: 'Name paths or patterns, or give --all; `tandem conflicts list` shows what waits.',
    });
  const meant = new Set<Conflict>();
  for (const word of words) {
    const found = all.flatMap(({ target, conflicts }) => matching(conflicts, word, target.subpath, options.only));
    if (found.length === 0)
      throw new TandemError('not_found', `'${displayPath(word)}' is no open conflict of '${displayPath(name)}'.`, {
        hint: `\`tandem conflicts list ${displayPath(name)}\` shows what waits.`,
      });
    for (const conflict of found) meant.add(conflict);
  }
  return every.filter(({ conflict }) => meant.has(conflict));
}

/** Of one target: the path itself with its camera set, or what is in the folder, or what the pattern means. */
function matching(waiting: readonly Conflict[], word: string, home: string, only: boolean): Conflict[] {
  const given = word.replace(/\/+$/, '');
  const paths = [given, ...(home === '' ? [] : [`${home}/${given}`])];
  const named = waiting.filter(({ path }) => paths.includes(path));
  if (named.length > 0) {
    const every = waiting.map(({ path }) => path);
    const set = only
      ? undefined
      : withTheirSets(
          named.map(({ path }) => path),
          every,
        );
    return set === undefined ? named : waiting.filter(({ path }) => set.has(path));
  }
  const below = waiting.filter(({ path }) => paths.some((folder) => isInside(path, folder)));
  if (below.length > 0) return below;
  const pattern = (createRequire(import.meta.url)('ignore') as () => Ignore)().add(word);
  return waiting.filter(({ path }) => pattern.ignores(path));
}

/** One side, or for each path what the user answers. */
async function decisions(
  some: readonly { target: Target; conflict: Conflict }[],
  keep: string | undefined,
  ctx: Context,
): Promise<Decided[]> {
  const found: Decided[] = [];
  for (const { target, conflict } of some) {
    const side = keep === undefined ? await ask(conflict, ctx) : keepNamed(keep);
    if (side !== 'skip') found.push({ target, path: relPath(conflict.path), side });
  }
  return found;
}

async function ask(conflict: Conflict, ctx: Context): Promise<Keep | 'skip'> {
  const question = `${conflict.path} (${conflict.conflict_type}: ${conflict.reason})`;
  const rows = [
    `keep the Master's: ${describeSide(conflict.master)}`,
    `keep the Backup's: ${describeSide(conflict.backup)}`,
    'keep both',
    'decide later',
  ];
  const answer = await ctx.prompts.choose(question, rows, '--keep');
  return (['master', 'backup', 'both', 'skip'] as const)[answer] ?? 'skip';
}

function describeSide(side: SideState | null): string {
  if (side === null) return 'not there';
  const kind = { f: formatBytes(side.size), d: 'folder', l: 'link' }[side.kind];
  return `${kind}, ${side.mtime.slice(0, 19).replace('T', ' ')}`;
}

function describeResult(result: SyncResult, asked: number, paint: Paint): string {
  const wrong = new Set(result.problems.map(({ path }) => path)).size;
  const style = wrong > 0 ? 'warn' : 'good';
  return [
    paint(style, `${wrong > 0 ? '!' : '✓'} ${asked - wrong} of ${plural(asked, 'conflict')} settled.`) +
      `  operation ${result.operation_id.slice(0, 8)}; what was replaced is in the trash of its drive.`,
    ...result.problems.map(
      ({ path, message }) => `  ${paint('warn', '!')} ${displayPath(path)}: ${displayPath(message)}`,
    ),
    ...(result.conflicts_detected > 0 ? [`  ${plural(result.conflicts_detected, 'conflict')} there still wait.`] : []),
  ].join('\n');
}

// --- command ---

const columns: readonly Column<Conflict>[] = [
  { title: 'TARGET', value: ({ target }) => displayPath(target) },
  { title: 'TYPE', value: ({ conflict_type }) => conflict_type, style: () => 'warn' },
  { title: 'MASTER', value: ({ master }) => describeSide(master), style: () => 'master' },
  { title: 'BACKUP', value: ({ backup }) => describeSide(backup), style: () => 'backup' },
  { title: 'PATH', value: ({ path }) => displayPath(path) },
];

const target = { name: 'target', description: 'group or project, by name or id', complete: 'target' } as const;
const onePath = {
  name: 'path',
  description: "path of a conflict, from the project's folder or the drive's root",
  complete: 'path',
} as const;

export const command = defineCommand({
  name: 'conflicts',
  summary: 'decide what a sync would not decide by itself',
  verbs: {
    list: {
      summary: 'what waits for a decision (exit code 3 while anything does)',
      examples: ['tandem conflicts list', 'tandem conflicts list Archive --path Projects/Wedding --json'],
      args: [{ ...target, optional: true }],
      options: targetOptions,
      run: async ({ args, options }, ctx) => {
        const { path, role } = choiceOf(options);
        const found = await listConflicts(args['target'] as string | undefined, path, ctx, role);
        const none = 'No conflict waits.';
        return {
          json: found,
          text: (paint) => (found.length === 0 ? none : renderTable(found, columns, paint)),
          exitCode: found.length > 0 ? EXIT.conflicts : EXIT.done,
        };
      },
    },
    show: {
      summary: 'both sides of a conflict, and what was last agreed on',
      examples: ['tandem conflicts show Archive Photo1.jpg'],
      args: [target, onePath],
      options: [roleOption],
      run: async ({ args, options }, ctx) => {
        const found = await conflictAt(
          args['target'] as string,
          args['path'] as string,
          options['role'] as string | undefined,
          ctx,
        );
        const side = (name: string, state: SideState | null): string =>
          `  ${name.padEnd(9)} ${describeSide(state)}${state?.checksum === undefined ? '' : `  ${state.checksum}`}`;
        return {
          json: found,
          text: (paint) =>
            [
              `${displayPath(found.path)}  ${paint('warn', found.conflict_type)}: ${found.reason}`,
              side('Master', found.master),
              side('Backup', found.backup),
              side('agreed', found.baseline),
              `  since     ${found.detected_at}`,
            ].join('\n'),
        };
      },
    },
    diff: {
      summary: 'how the two versions differ: the text, or size, times and media data',
      examples: ['tandem conflicts diff Archive Notes/shotlist.txt'],
      args: [target, onePath],
      options: [roleOption],
      run: async ({ args, options }, ctx) => {
        const role = options['role'] as string | undefined;
        const found = await diffConflict(args['target'] as string, args['path'] as string, ctx, role);
        const fields = found.fields.map(
          ({ field, master, backup }) => `${field}: ${master} on the Master, ${backup} on the Backup`,
        );
        const text =
          found.text === null ? [] : found.text.split('\n').map((line) => displayPath(line.replaceAll('\t', '    ')));
        const lines = [...fields, ...text];
        return { json: found, text: () => (lines.length > 0 ? lines.join('\n') : 'Both versions are the same.') };
      },
    },
    resolve: {
      summary: 'let one side stand, or both; the loser is kept in the trash of its drive',
      examples: [
        'tandem conflicts resolve Archive Photo1.jpg --keep master',
        "tandem conflicts resolve Archive '*.xmp' --keep newest",
        'tandem conflicts resolve Archive --all --keep both',
      ],
      args: [
        target,
        {
          name: 'paths',
          description: 'paths, folders or patterns (gitignore syntax)',
          variadic: true,
          optional: true,
          complete: 'path',
        },
      ],
      options: [
        {
          flags: '--keep <side>',
          description: "what shall stand; master takes the Master's state, deletion included",
          choices: KEEPS,
        },
        { flags: '--all', description: 'every conflict of the target' },
        roleOption,
        { flags: '--only', description: 'the named files alone, without what belongs to the same shot' },
        { flags: '-n, --dry-run', description: 'show what would be done; write nothing at all' },
        ...lockOptions,
      ],
      run: ({ args, options }, ctx) => resolveCommand(args, options, ctx),
    },
    merge: {
      summary: 'have a program put both versions together; its result takes the place of both',
      examples: ["tandem conflicts merge Archive notes.txt --program 'meld {master} {merged} {backup}'"],
      args: [target, onePath],
      options: [
        {
          flags: '--program <command>',
          description: 'with {master}, {backup} and {merged}; else the variable TANDEM_MERGE',
        },
        roleOption,
        ...lockOptions,
      ],
      run: async ({ args, options }, ctx) => {
        const program = wordsOf((options['program'] as string | undefined) ?? process.env['TANDEM_MERGE']);
        const targets = await targetsOf(args['target'] as string, { role: options['role'] as string | undefined }, ctx);
        const { target: part, path } = await placeOf(targets, args['path'] as string, ctx);
        const result = await mergeConflict(part, path, program, lockFlags(options), ctx);
        return { json: result, text: (paint) => describeResult(result, 1, paint), exitCode: exitCodeOf([result]) };
      },
    },
  },
});

/** A command as words: quotes keep blanks together, nothing else is special. */
function wordsOf(text: string | undefined): string[] {
  const words = [...(text ?? '').matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    (match) => match[1] ?? match[2] ?? match[3] ?? '',
  );
  if (words.length > 0) return words;
  throw new TandemError('usage', 'No merge program was named.', {
    hint: "Give --program 'meld {master} {merged} {backup}', or set TANDEM_MERGE.",
  });
}

async function resolveCommand(args: Values, options: Values, ctx: Context): Promise<Output> {
  const name = args['target'] as string;
  const targets = await targetsOf(name, { role: options['role'] as string | undefined }, ctx);
  const waiting: Waiting[] = [];
  for (const target of targets) waiting.push({ target, conflicts: await conflictsOf(target, ctx) });
  const words = (args['paths'] as string[] | undefined) ?? [];
  const some = chosen(waiting, words, { all: options['all'] === true, only: options['only'] === true }, name);
  const decided = await decisions(some, options['keep'] as string | undefined, ctx);
  if (decided.length === 0)
    return { json: null, text: () => 'Nothing was decided, nothing was changed.', exitCode: EXIT.conflicts };
  if (options['dryRun']) return planned(targets, decided, lockFlags(options), ctx);
  const result = await settleAll(targets, decided, lockFlags(options), ctx);
  return {
    json: result,
    text: (paint) => describeResult(result, decided.length, paint),
    exitCode: exitCodeOf([result]),
  };
}

async function planned(
  targets: readonly Target[],
  decided: readonly Decided[],
  flags: RunFlags,
  ctx: Context,
): Promise<Output> {
  const steps: Step[] = [];
  for (const target of targets) {
    const keep = keptOf(target, decided);
    if (keep.size > 0) steps.push(...(await planResolution(target, { keep, ...flags }, ctx)));
  }
  const done = steps.flatMap(({ plan, reversed }) =>
    plan.actions
      .filter(({ kind }) => kind !== 'conflict')
      .map(({ kind, path, size }) => ({ kind, path, size, side: reversed ? 'master' : 'backup' })),
  );
  const problems = steps.flatMap(({ plan }) => plan.problems);
  const lines = done.map(
    ({ kind, path, side }) =>
      `${kind.padEnd(7)} on the ${side === 'master' ? 'Master' : 'Backup'}: ${displayPath(path)}`,
  );
  const wrong = problems.map(({ path, message }) => `! ${displayPath(path)}: ${displayPath(message)}`);
  return { json: { actions: done, problems }, text: () => [...lines, ...wrong, 'Nothing was written.'].join('\n') };
}

async function conflictAt(name: string, text: string, role: string | undefined, ctx: Context): Promise<Conflict> {
  const { target, path } = await placeOf(await targetsOf(name, { role }, ctx), text, ctx);
  const found = (await conflictsOf({ ...target, subpath: path }, ctx)).find((one) => one.path === path);
  if (found) return found;
  throw new TandemError('not_found', `'${displayPath(path)}' is no open conflict of '${displayPath(name)}'.`, {
    hint: `\`tandem conflicts list ${displayPath(name)}\` shows what waits.`,
  });
}

/** Every path that waits, for the dashboard. */
export const panel = definePanel<Conflict>({
  title: 'Conflicts',
  rows: (ctx) => listConflicts(undefined, undefined, ctx),
  columns,
  empty: 'No conflict waits: both drives of every group agree on what they hold.',
  actions: [
    {
      key: 'm',
      label: 'keep Master',
      command: ({ target: group, path }) => ['conflicts', 'resolve', group, path, '--keep', 'master'],
    },
    {
      key: 'b',
      label: 'keep Backup',
      command: ({ target: group, path }) => ['conflicts', 'resolve', group, path, '--keep', 'backup'],
    },
    {
      key: 't',
      label: 'keep both',
      command: ({ target: group, path }) => ['conflicts', 'resolve', group, path, '--keep', 'both'],
    },
  ],
});

runIfMain(import.meta, command);
