/**
 * Finds out whether the files are still what was recorded, before it is too late to mend them. `verifyFiles` reads one
 * drive or both past the page cache and compares with the baseline, all of it or a rolling sample of what was read
 * longest ago; on request it heals a damaged file from the other side. `verify manifest` writes and checks ASC MHL, so
 * that others can check a drive without tandem. A run lies in inspect.ts, the reading in scrub.ts, the
 * mending in heal.ts, the manifests in manifest.ts.
 */
import type { Context } from '../shared/context.ts';
import { EXIT, type ExitCode, TandemError } from '../shared/errors.ts';
import {
  type Column,
  defineCommand,
  definePanel,
  type Output,
  type Paint,
  runIfMain,
  type Values,
} from '../shared/feature.ts';
import { formatBytes, formatCount, formatDuration, formatTime, parseDuration, plural } from '../shared/format.ts';
import type { DriveLock } from '../shared/lock.ts';
import { MHL_FORMATS, type MhlFormat } from '../shared/mhl.ts';
import { displayPath } from '../shared/paths.ts';
import { targetOptions } from '../shared/run-options.ts';
import { listGroups } from './groups.ts';
import { listOperations, type Operation } from './history.ts';
import { DAMAGE, isDamage, type VerifyFlags, type VerifyResult, verifyFiles } from './inspect.ts';
import { type ManifestResult, manifestOf } from './manifest.ts';
import { ROLE_NAME } from './pairs.ts';
import { lockDrive } from './run.ts';
import { closeSides, type Finding, openSides } from './scrub.ts';
import { type Target, targetsOf } from './targets.ts';

export { type VerifyFlags, type VerifyResult, verifyFiles } from './inspect.ts';
export type { ManifestResult } from './manifest.ts';
export type { Finding, FindingKind } from './scrub.ts';

export interface ManifestFlags extends Pick<VerifyFlags, 'side' | 'path' | 'role' | 'lockWait' | 'breakLock'> {
  /** Compare with the newest generation and write nothing. */
  check?: boolean;
  /** Of a new generation; xxh128 when none is given. */
  hashes?: readonly MhlFormat[];
}

/**
 * Writes a generation of an ASC MHL history, or checks the folder against it; one result for each side. The history of a
 * whole drive is each drive's own. That of a folder belongs to the folder, as other programs' does: it is written on the
 * Master only, and a sync takes it to the Backup.
 * @throws TandemError `invalid` for a history that is missing, damaged, or to be written on the wrong side.
 */
export async function verifyManifest(name: string, flags: ManifestFlags, ctx: Context): Promise<ManifestResult[]> {
  const results: ManifestResult[] = [];
  for (const target of await targetsOf(name, flags, ctx)) results.push(...(await manifestsOf(target, flags, ctx)));
  return results;
}

async function manifestsOf(target: Target, flags: ManifestFlags, ctx: Context): Promise<ManifestResult[]> {
  const check = flags.check === true;
  const part = target.subpath !== '';
  if (part && !check && flags.side !== undefined && flags.side !== 'master') {
    throw new TandemError(
      'invalid',
      `The history of the folder '${displayPath(target.subpath)}' is written on the Master.`,
      {
        hint: 'Leave --side away and sync: the history goes to the Backup with its folder. --check works on either side.',
      },
    );
  }
  const side = flags.side ?? (part && !check ? 'master' : 'both');
  const sides = await openSides(target.group, side === 'both' ? ['master', 'backup'] : [side], ctx);
  const locks: (DriveLock | null)[] = [];
  try {
    for (const { root, drive } of sides) locks.push(check ? null : await lockDrive(root, drive.network, flags, ctx));
    const formats = flags.hashes ?? ['xxh128'];
    const results: ManifestResult[] = [];
    for (const [index, one] of sides.entries())
      results.push(await manifestOf({ ...target, side: one, formats, lock: locks[index] ?? null }, ctx));
    return results;
  } finally {
    for (const lock of locks) lock?.release();
    closeSides(sides);
  }
}

export interface VerifyState {
  group_id: string;
  group_name: string;
  /** The newest operation of type `verify`; null: none yet. */
  last: Operation | null;
}

/** When each group was verified last, and how that ended. */
export async function verifyStates(ctx: Context): Promise<VerifyState[]> {
  const states: VerifyState[] = [];
  for (const { id, name } of listGroups(ctx)) {
    const [last] = await listOperations({ group_id: id, type: 'verify', limit: 1 }, ctx);
    states.push({ group_id: id, group_name: name, last: last ?? null });
  }
  return states;
}

// --- internal ---

function exitCodeOf({ status, findings }: VerifyResult): ExitCode {
  if (status === 'cancelled') return EXIT.cancelled;
  return findings.some(isDamage) ? EXIT.partial : EXIT.done;
}

const SHOWN = 50;

const SIGN = { completed: '✓', failed: '✗', cancelled: '■' } as const;
const STYLE = { completed: 'good', failed: 'bad', cancelled: 'warn', running: 'plain' } as const;

function describe(result: VerifyResult, paint: Paint): string {
  const { status, findings, target, subpath } = result;
  const seconds = Math.max(0.001, (Date.parse(result.end_time) - Date.parse(result.start_time)) / 1000);
  const name = displayPath(subpath === '' ? target : `${target}, ${subpath}`);
  const counts: [number, string][] = [
    [result.files_rotten, 'rotten'],
    [result.files_unreadable, 'unreadable'],
    [result.files_differing, 'differing'],
    [result.files_healed, 'healed'],
    [result.files_edited, 'edited'],
    [result.files_missing, 'missing'],
    [result.files_skipped, 'read by the interrupted run'],
  ];
  const parts = counts.filter(([count]) => count > 0).map(([count, what]) => `${formatCount(count)} ${what}`);
  const level = result.verified === 'none' ? '' : `, past the cache: ${result.verified === 'device' ? 'yes' : 'no'}`;
  const sides = result.sides.map((side) => ROLE_NAME[side]).join(' and ');
  return [
    `${paint(STYLE[status], `${SIGN[status]} ${name}: ${status}`)}  ${[`${formatCount(result.files_verified)} as recorded`, ...parts].join(', ')}`,
    `  ${sides}: ${formatBytes(result.bytes_verified)} in ${formatDuration(seconds)}${level}  operation ${result.operation_id.slice(0, 8)}`,
    ...findings.slice(0, SHOWN).map((finding) => describeFinding(finding, paint)),
    ...(findings.length > SHOWN
      ? [`  … and ${plural(findings.length - SHOWN, 'other finding')} (--json has all)`]
      : []),
    ...(findings.some((one) => isDamage(one) && !one.message.includes('not healed'))
      ? ['  --repair heals damaged files from the other side, where that is as recorded.']
      : []),
  ].join('\n');
}

function describeFinding({ path, side, kind, message, healed, version }: Finding, paint: Paint): string {
  const what = healed ? paint('good', 'healed') : paint(DAMAGE.has(kind) ? 'bad' : 'warn', kind);
  const kept = version === null ? '' : `; the damaged file is ${displayPath(version)}`;
  return `  ${what}  ${paint(side, ROLE_NAME[side])}  ${displayPath(path)}: ${displayPath(message)}${kept}`;
}

function describeManifest(result: ManifestResult, paint: Paint): string {
  const { status, side, manifest, findings, generations } = result;
  const level = result.verified === 'none' ? '' : `, past the cache: ${result.verified === 'device' ? 'yes' : 'no'}`;
  const shown = findings
    .slice(0, SHOWN)
    .map(({ path, kind, message }) => `  ${paint('bad', kind)}  ${displayPath(path)}: ${displayPath(message)}`);
  return [
    `${paint(STYLE[status], `${SIGN[status]} ${ROLE_NAME[side]}: ${status}`)}  ${plural(result.files_verified, 'file')} (${formatBytes(result.bytes_verified)})${level}`,
    `  ${manifest === null ? 'no manifest' : displayPath(manifest)}, ${plural(generations, 'generation')}`,
    ...shown,
    ...(findings.length > SHOWN
      ? [`  … and ${plural(findings.length - SHOWN, 'other finding')} (--json has all)`]
      : []),
  ].join('\n');
}

// --- command ---

function percentage(text: string): number {
  const value = Number(text.replace(/%$/, ''));
  if (value > 0 && value <= 100) return value;
  throw new TandemError('usage', `--sample takes a percentage above 0 and up to 100, not '${displayPath(text)}'.`, {
    hint: 'For example --sample 10.',
  });
}

function waiting(text: string): number {
  const value = parseDuration(text);
  if (value !== undefined) return value;
  throw new TandemError('usage', `--lock-wait cannot be read: current value is '${displayPath(text)}'.`, {
    hint: 'For example --lock-wait 60s.',
  });
}

const common = {
  target: { name: 'target', description: 'group or project, by name or id', complete: 'target' },
  side: { flags: '--side <side>', description: 'which drive (default both)', choices: ['master', 'backup', 'both'] },
  lockWait: { flags: '--lock-wait <time>', description: 'wait for another writer, e.g. 60s', parse: waiting },
  breakLock: { flags: '--break-lock', description: 'take the lock whoever holds it' },
} as const;

function flagsOf(values: Values): VerifyFlags {
  const { side, path, role, sample, repair, lockWait, breakLock } = values;
  return {
    ...(side === undefined ? {} : { side }),
    ...(path === undefined ? {} : { path }),
    ...(role === undefined ? {} : { role }),
    ...(sample === undefined ? {} : { sample }),
    repair: repair === true,
    lockWait: lockWait ?? 0,
    breakLock: breakLock === true,
  };
}

export const command = defineCommand({
  name: 'verify',
  summary: 'Read files anew and compare them with what was recorded; heal what is damaged',
  verbs: {
    run: {
      summary: 'read the drives past the cache and look for rot',
      examples: [
        'tandem verify run Archive',
        'tandem verify run Archive --side backup --sample 10',
        'tandem verify run Archive --path Projects/Wedding --repair',
      ],
      args: [common.target],
      options: [
        common.side,
        ...targetOptions,
        {
          flags: '--sample <percent>',
          description: 'only this share of the bytes, those read longest ago',
          parse: percentage,
        },
        { flags: '--repair', description: 'heal damaged files from the other drive; the damaged ones go to the trash' },
        common.lockWait,
        common.breakLock,
      ],
      run: async ({ args, options }, ctx): Promise<Output> => {
        const result = await verifyFiles(args['target'] as string, flagsOf(options), ctx);
        return { json: result, text: (paint) => describe(result, paint), exitCode: exitCodeOf(result) };
      },
    },
    manifest: {
      summary: 'write ASC MHL, which other programs read, or check the files against it',
      examples: [
        'tandem verify manifest Archive',
        'tandem verify manifest Archive --path Projects/Wedding --hash xxh64 --hash c4',
        'tandem verify manifest Archive --side backup --check',
      ],
      args: [common.target],
      options: [
        common.side,
        ...targetOptions,
        { flags: '--check', description: 'compare with the newest manifest; write nothing' },
        {
          flags: '--hash <format>',
          description: 'of a new manifest (default xxh128)',
          choices: MHL_FORMATS,
          repeat: true,
        },
        common.lockWait,
        common.breakLock,
      ],
      run: async ({ args, options }, ctx): Promise<Output> => {
        const { side, path, role, lockWait, breakLock } = flagsOf(options);
        const flags: ManifestFlags = {
          check: options['check'] === true,
          lockWait: lockWait ?? 0,
          breakLock: breakLock === true,
        };
        if (side !== undefined) flags.side = side;
        if (path !== undefined) flags.path = path;
        if (role !== undefined) flags.role = role;
        if (options['hash'] !== undefined) flags.hashes = options['hash'] as MhlFormat[];
        const results = await verifyManifest(args['target'] as string, flags, ctx);
        const is = (status: ManifestResult['status']): boolean => results.some((one) => one.status === status);
        return {
          json: results,
          text: (paint) => results.map((one) => describeManifest(one, paint)).join('\n'),
          exitCode: is('cancelled') ? EXIT.cancelled : is('failed') ? EXIT.partial : EXIT.done,
        };
      },
    },
  },
});

const columns: readonly Column<VerifyState>[] = [
  { title: 'GROUP', value: ({ group_name }) => displayPath(group_name) },
  { title: 'LAST', value: ({ last }) => (last === null ? 'never' : formatTime(new Date(last.start_time))) },
  {
    title: 'RESULT',
    value: ({ last }) => last?.status ?? '—',
    style: ({ last }) => (last === null ? 'warn' : (STYLE[last.status] ?? 'plain')),
  },
  { title: 'GOOD', align: 'right', value: ({ last }) => (last === null ? '' : formatCount(last.files_skipped)) },
  { title: 'DAMAGED', align: 'right', value: ({ last }) => (last === null ? '' : formatCount(last.files_failed)) },
  { title: 'HEALED', align: 'right', value: ({ last }) => (last === null ? '' : formatCount(last.files_copied)) },
];

export const panel = definePanel<VerifyState>({
  title: 'Verify',
  rows: verifyStates,
  columns,
  empty: 'There is no group yet: create one, sync it, and verify it from time to time.',
  actions: [
    { key: 'v', label: 'verify a tenth', command: ({ group_id }) => ['verify', 'run', group_id, '--sample', '10'] },
    {
      key: 'enter',
      label: 'last findings',
      disabled: ({ last }) => (last === null ? 'it was never verified' : undefined),
      command: ({ last }) => ['history', 'show', last?.uuid ?? ''],
    },
  ],
});

runIfMain(import.meta, command);
