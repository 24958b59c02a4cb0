/**
 * The inbox of conflicts: what a sync would not decide by itself waits here until somebody does. Shows both sides and what
 * was last agreed on, and settles one path, a pattern or all of them; what loses is kept in the trash of its drive, and
 * everything is in the history and can be undone.
 */
import { isUtf8 } from 'node:buffer';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ignore } from 'ignore';
import { withTheirSets } from '../shared/camera-sets.ts';
import type { Context } from '../shared/context.ts';
import { EXIT, errnoOf, TandemError } from '../shared/errors.ts';
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
import { type OpenConflict, readConflicts } from '../shared/inbox.ts';
import { Entry } from '../shared/listing.ts';
import { displayPath, isInside, type RelPath, relPath } from '../shared/paths.ts';
import type { BaselineRow } from '../shared/rows.ts';
import { lockFlags, lockOptions } from '../shared/run-options.ts';
import { type Stat, statAt } from '../shared/syscalls.ts';
import { type Group, getGroup, listGroups } from './groups.ts';
import { readBaseline } from './history.ts';
import type { Keep } from './resolution.ts';
import { exitCodeOf, type SyncResult } from './run.ts';
import { type OpenPair, openPair } from './session.ts';
import { mergeConflict, pairOf, planResolution, resolvePaths } from './settle.ts';

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

/** Conflicts of a group, or of all; from the database, so the drives need not be connected. */
export async function listConflicts(
  group: string | undefined,
  path: string | undefined,
  ctx: Context,
): Promise<Conflict[]> {
  const groups = group === undefined ? listGroups(ctx) : [getGroup(group, ctx)];
  const subpath = path === undefined ? relPath('') : relPath(path);
  const found: Conflict[] = [];
  for (const one of groups) {
    const pairId = await pairOf(one, ctx);
    if (pairId === null) continue;
    for (const open of await readConflicts(pairId, subpath, ctx)) {
      const row = (await readBaseline(pairId, open.path, ctx)).find((each) => each.path === open.path);
      found.push(conflictOf(one, open, row));
    }
  }
  return found;
}

/**
 * Reference: `resolve_conflicts`.
 * @param resolutions by path: `keep_master`, `keep_backup`, `keep_both`, or one of `KEEPS`.
 */
export function resolveConflicts(
  groupId: string,
  resolutions: Readonly<Record<string, string>>,
  ctx: Context,
): Promise<SyncResult> {
  const keep = new Map<string, Keep>();
  for (const [path, value] of Object.entries(resolutions)) {
    const side = keepNamed(value.replace(/^keep_/, ''));
    if (side !== 'skip') keep.set(relPath(path), side);
  }
  return resolvePaths(groupId, { keep }, ctx);
}

/** How the two versions of a file differ. */
export interface Difference {
  /** Of two texts: as `diff -u` prints it; null for anything else. */
  text: string | null;
  /** What differs in size, times and, where exiftool or ffprobe are installed, in the media's own data. */
  fields: { field: string; master: string; backup: string }[];
}

/** @throws TandemError `drive_missing` unless both drives are connected, `not_found` when a side has no such file. */
export async function diffConflict(group: string, path: string, ctx: Context): Promise<Difference> {
  const name = relPath(path);
  const pair = await openPair(getGroup(group, ctx), ctx, true);
  try {
    const stats = [pair.master, pair.backup].map(({ dir, label }) => {
      const stat = statAt(dir, name);
      if (stat?.kind === 'f') return stat;
      throw new TandemError('not_found', `There is no file '${displayPath(name)}' on '${displayPath(label)}'.`, {
        hint: '`tandem conflicts show` says what stands on either side.',
      });
    }) as [Stat, Stat];
    const text = stats.every(({ size }) => size <= LARGEST_TEXT) ? await textDiff(pair, name, ctx) : null;
    const fields = [plainFields(stats[0]), plainFields(stats[1])] as const;
    if (text === null) {
      Object.assign(fields[0], await mediaFields(join(pair.master.mountPath, name), ctx));
      Object.assign(fields[1], await mediaFields(join(pair.backup.mountPath, name), ctx));
    }
    const keys = [...new Set([...Object.keys(fields[0]), ...Object.keys(fields[1])])];
    const shown = keys.map((field) => ({ field, master: fields[0][field] ?? '—', backup: fields[1][field] ?? '—' }));
    return { text, fields: shown.filter(({ master, backup }) => master !== backup) };
  } finally {
    await pair.close();
  }
}

// --- internal ---

const LARGEST_TEXT = 4 * 1024 * 1024;

/** Null unless both are text. Works on copies, so that the program cannot be led elsewhere in the meantime. */
async function textDiff(pair: OpenPair, path: RelPath, ctx: Context): Promise<string | null> {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-diff-'));
  try {
    const files = [pair.master, pair.backup].map(({ dir }, index) => {
      const content = readFileSync(join(dir.path, path));
      const copy = join(folder, String(index));
      writeFileSync(copy, content);
      return { copy, text: isUtf8(content) && !content.includes(0) };
    });
    if (!files.every(({ text }) => text)) return null;
    const labels = ['Master', 'Backup'].flatMap((side) => ['--label', `${side}/${displayPath(path)}`]);
    const result = await ctx.exec('diff', ['-u', ...labels, '--', ...files.map(({ copy }) => copy)]);
    return result.code > 1 ? null : result.stdout.trimEnd();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function plainFields(stat: Stat): Record<string, string> {
  const { size, mtime, mode } = stat;
  return {
    size: `${formatBytes(size)} (${size})`,
    modified: new Date(mtime.seconds * 1000 + mtime.nanoseconds / 1e6).toISOString(),
    permissions: mode.toString(8),
  };
}

/** What the media say of themselves; empty where no program can tell. */
async function mediaFields(file: string, ctx: Context): Promise<Record<string, string>> {
  try {
    const { code, stdout } = await ctx.exec('exiftool', ['-j', '-n', '-x', 'SourceFile', '-x', 'Directory', file]);
    const [found] = code === 0 ? (JSON.parse(stdout) as Record<string, unknown>[]) : [];
    return Object.fromEntries(
      Object.entries(found ?? {})
        .filter(([field]) => !/^(SourceFile|Directory|File(Size|Name|Modify|Access|Inode|Permissions).*)$/.test(field))
        .map(([field, value]) => [field, displayPath(String(value))]),
    );
  } catch {
    return {};
  }
}

function conflictOf(group: Group, open: OpenConflict, row: BaselineRow | undefined): Conflict {
  const known = (facts: string | null, recorded: string | undefined): SideState | null =>
    facts === null || facts === '' ? null : stateOf(facts, facts === recorded ? row?.checksum : undefined);
  return {
    target: group.name,
    path: open.path,
    conflict_type: open.conflict_type,
    reason: open.reason,
    master: known(open.master_facts, row?.master_facts),
    backup: known(open.backup_facts, row?.backup_facts),
    baseline: row && row.master_facts !== '' ? stateOf(row.master_facts, row.checksum) : null,
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

/** The paths that the words of a command line mean, among those that wait. */
function chosen(
  waiting: readonly Conflict[],
  words: readonly string[],
  options: { all: boolean; only: boolean },
  group: string,
): string[] {
  if (options.all) return waiting.map(({ path }) => path);
  if (words.length === 0)
    throw new TandemError('usage', 'No conflict was named.', {
      hint: 'Name paths or patterns, or give --all; `tandem conflicts list` shows what waits.',
    });
  const ignore = createRequire(import.meta.url)('ignore') as () => Ignore;
  const every = waiting.map(({ path }) => path);
  const found = words.flatMap((word) => {
    const path = word.replace(/\/+$/, '');
    const named = waiting.filter((one) => one.path === path);
    const below = named.length > 0 ? named : waiting.filter((one) => isInside(one.path, path));
    const pattern = ignore().add(word);
    const matching = below.length > 0 ? below : waiting.filter((one) => pattern.ignores(one.path));
    if (named.length > 0 && !options.only) return [...withTheirSets([path], every)];
    if (matching.length > 0) return matching.map((one) => one.path);
    throw new TandemError('not_found', `'${displayPath(word)}' is no open conflict of '${displayPath(group)}'.`, {
      hint: `\`tandem conflicts list ${displayPath(group)}\` shows what waits.`,
    });
  });
  return [...new Set(found)];
}

/** One side, or for each path what the user answers. */
async function decisions(
  waiting: readonly Conflict[],
  paths: readonly string[],
  keep: string | undefined,
  ctx: Context,
): Promise<Map<string, Keep>> {
  const found = new Map<string, Keep>();
  for (const path of paths) {
    const conflict = waiting.find((one) => one.path === path) as Conflict;
    const side = keep === undefined ? await ask(conflict, ctx) : keepNamed(keep);
    if (side !== 'skip') found.set(path, side);
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
  { title: 'GROUP', value: ({ target }) => displayPath(target) },
  { title: 'TYPE', value: ({ conflict_type }) => conflict_type, style: () => 'warn' },
  { title: 'MASTER', value: ({ master }) => describeSide(master), style: () => 'master' },
  { title: 'BACKUP', value: ({ backup }) => describeSide(backup), style: () => 'backup' },
  { title: 'PATH', value: ({ path }) => displayPath(path) },
];

const target = { name: 'target', description: 'group, by name or id', complete: 'target' } as const;
const onePath = { name: 'path', description: "path of a conflict, from the drive's root", complete: 'path' } as const;

export const command = defineCommand({
  name: 'conflicts',
  summary: 'decide what a sync would not decide by itself',
  verbs: {
    list: {
      summary: 'what waits for a decision (exit code 3 while anything does)',
      examples: ['tandem conflicts list', 'tandem conflicts list Archive --path Projects/Wedding --json'],
      args: [{ ...target, optional: true }],
      options: [{ flags: '--path <subpath>', description: 'only this folder', complete: 'path' }],
      run: async ({ args, options }, ctx) => {
        const found = await listConflicts(
          args['target'] as string | undefined,
          options['path'] as string | undefined,
          ctx,
        );
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
      run: async ({ args }, ctx) => {
        const found = await conflictAt(args['target'] as string, args['path'] as string, ctx);
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
      run: async ({ args }, ctx) => {
        const found = await diffConflict(args['target'] as string, args['path'] as string, ctx);
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
        { flags: '--all', description: 'every conflict of the group' },
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
        ...lockOptions,
      ],
      run: async ({ args, options }, ctx) => {
        const program = wordsOf((options['program'] as string | undefined) ?? process.env['TANDEM_MERGE']);
        const group = args['target'] as string;
        const path = args['path'] as string;
        const result = await mergeConflict(group, path, program, lockFlags(options), ctx);
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
  const group = args['target'] as string;
  const waiting = await listConflicts(group, undefined, ctx);
  const words = (args['paths'] as string[] | undefined) ?? [];
  const paths = chosen(waiting, words, { all: options['all'] === true, only: options['only'] === true }, group);
  const keep = await decisions(waiting, paths, options['keep'] as string | undefined, ctx);
  if (keep.size === 0)
    return { json: null, text: () => 'Nothing was decided, nothing was changed.', exitCode: EXIT.conflicts };
  if (options['dryRun']) {
    const steps = await planResolution(group, { keep, ...lockFlags(options) }, ctx);
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
  const result = await resolvePaths(group, { keep, ...lockFlags(options) }, ctx);
  return { json: result, text: (paint) => describeResult(result, keep.size, paint), exitCode: exitCodeOf([result]) };
}

async function conflictAt(group: string, path: string, ctx: Context): Promise<Conflict> {
  const name = relPath(path);
  const found = (await listConflicts(group, name, ctx)).find((one) => one.path === name);
  if (found) return found;
  throw new TandemError('not_found', `'${displayPath(name)}' is no open conflict of '${displayPath(group)}'.`, {
    hint: `\`tandem conflicts list ${displayPath(group)}\` shows what waits.`,
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
