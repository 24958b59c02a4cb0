/**
 * Both drives of a group, open and proved to be the right ones, with the worker threads of the run. Every step of a sync
 * works on this; nothing in it decides anything.
 */
import { silence } from '../shared/answering.ts';
import type { Context } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import type { Recorded } from '../shared/hash.ts';
import type { GroupKey } from '../shared/keyring.ts';
import { type Lanes, lanesFor } from '../shared/lanes.ts';
import type { Side } from '../shared/listing.ts';
import { atWork } from '../shared/memory.ts';
import { displayPath, timeLimits } from '../shared/paths.ts';
import { type BaselineRow, type ClockRules, clockRules } from '../shared/rows.ts';
import { assertPresent, closeDriveRoot, type DriveRoot, openDriveRoot } from '../shared/store.ts';
import { hasNative } from '../shared/syscalls.ts';
import type { TransferSession } from '../shared/tasks.ts';
import { WorkerPool } from '../shared/workers.ts';
import { type DriveInfo, defaultTraits, listDrives, readSignature, type Traits } from './detect.ts';
import { connectPair, ensureSigned, type Group, type GroupOptions, type Pair, resolveOptions } from './groups.ts';
import { matchPair } from './pairs.ts';

/** The group's options with the flags of this run over them. */
export interface SyncOptions extends GroupOptions {
  checksum: boolean;
  trust_mtime: boolean;
}

/** Both drives of a pair, open and proved. */
export interface OpenPair {
  group: Group;
  master: DriveRoot;
  backup: DriveRoot;
  masterDrive: DriveInfo;
  backupDrive: DriveInfo;
  masterTraits: Traits;
  backupTraits: Traits;
  masterUuid: string;
  backupUuid: string;
  /** Seen the other way round, to write onto the Master: `master` is the Backup, and the reverse. */
  reversed: boolean;
  /** Which of the two is the Backup of a group, whose files may be compressed or sealed; null: neither. */
  storedSide: Side | null;
  /** The key of the group, once it was needed; shared by all views of a pair. */
  secret: { key: GroupKey | null };
  /** Started by `workersOf`, shared by all steps of a run. */
  workers: WorkerPool | undefined;
  /** The operation that they work for; null: they were not told what to work on yet. */
  opened: string | null;
  /** Why this run deletes and overwrites nothing, in one sentence; null: it is an ordinary one. */
  careful: string | null;
  /** Rows that the drives carry and the database lacks, for a run that may not take them over. */
  borrowed: BaselineRow[] | null;
  close(): Promise<void>;
}

/**
 * Finds, signs if need be (never when `readOnly`), opens and proves both drives of a group.
 * @throws TandemError `drive_missing` (exit 5) naming what to plug in, `guard` for an impostor.
 */
export async function openPair(group: Group, ctx: Context, readOnly: boolean): Promise<OpenPair> {
  const drives = await listDrives(ctx);
  const found = readOnly ? lookAtPair(group, drives, ctx) : await connectPair(group, ctx, drives);
  requireBoth(found, drives);
  const pair = readOnly ? found : await ensureSigned(found, ctx);
  const { master, backup } = requireBoth(pair, drives);
  const roots: DriveRoot[] = [];
  const close = (): void => {
    for (const root of roots) closeDriveRoot(root);
  };
  try {
    const masterRoot = openDriveRoot(master.mount_path, master.label);
    roots.push(masterRoot);
    const backupRoot = openDriveRoot(backup.mount_path, backup.label);
    roots.push(backupRoot);
    const open: OpenPair = {
      // What was found and signed, with the options that the caller means.
      group: { ...pair.group, options: group.options },
      master: masterRoot,
      backup: backupRoot,
      masterDrive: master,
      backupDrive: backup,
      masterTraits: traitsOf(masterRoot, master),
      backupTraits: traitsOf(backupRoot, backup),
      masterUuid: pair.group.master_drive.drive_uuid ?? '',
      backupUuid: pair.group.backup_drive.drive_uuid ?? '',
      reversed: false,
      storedSide: 'backup',
      secret: { key: null },
      workers: undefined,
      opened: null,
      careful: null,
      borrowed: null,
      close: async () => {
        await open.workers?.close();
        open.secret.key?.key.fill(0);
        close();
        rest();
      },
    };
    assertIdentity(open);
    const rest = atWork();
    return open;
  } catch (error) {
    close();
    throw error;
  }
}

/** The same pair for copying from the Backup to the Master, with worker threads of its own. */
export function reversedPair(pair: OpenPair): OpenPair {
  const other: OpenPair = {
    group: pair.group,
    master: pair.backup,
    backup: pair.master,
    masterDrive: pair.backupDrive,
    backupDrive: pair.masterDrive,
    masterTraits: pair.backupTraits,
    backupTraits: pair.masterTraits,
    masterUuid: pair.backupUuid,
    backupUuid: pair.masterUuid,
    reversed: !pair.reversed,
    storedSide: pair.storedSide === null ? null : pair.storedSide === 'backup' ? 'master' : 'backup',
    secret: pair.secret,
    careful: pair.careful,
    borrowed: null,
    workers: undefined,
    opened: null,
    close: async () => other.workers?.close(),
  };
  return other;
}

/** The operation of who only looks: what it would write would be nobody's. */
export const LOOKING = 'plan';

/**
 * The run's worker threads. Who has looked may go on to write: versions and partials are those of the operation then.
 * @param operation its id, or `LOOKING`.
 */
export function workersOf(pair: OpenPair, operation: string, options: SyncOptions): WorkerPool {
  if (pair.opened === null || (pair.opened === LOOKING && operation !== LOOKING)) {
    const { small } = lanesOf(pair, options);
    pair.workers ??= new WorkerPool(small);
    pair.workers.grow(small);
    pair.workers.open({
      transfer: transferSession(pair, operation),
      algorithm: recordedAlgorithm(pair, options),
      junk: OS_JUNK,
      mhl: options.mhl,
      compressionLevel: options.compression_level,
    });
    if (pair.secret.key) pair.workers.setKey(pair.secret.key);
    pair.opened = operation;
  } else if (operation !== LOOKING && operation !== pair.opened)
    throw new Error(`the threads of this pair work for ${pair.opened}, not for ${operation}`);
  return pair.workers as WorkerPool;
}

/** What is recorded of a file's content: of sealed groups a keyed checksum, which tells a finder of the drive nothing. */
export function recordedAlgorithm({ storedSide }: Pick<OpenPair, 'storedSide'>, options: SyncOptions): Recorded {
  const { checksum_algorithm: plain, enable_encryption } = options;
  return enable_encryption && storedSide !== null ? `hmac-${plain}` : plain;
}

/** How many files a run copies at the same time. */
export function lanesOf({ masterDrive, backupDrive }: OpenPair, options: SyncOptions): Lanes {
  return lanesFor(options, [masterDrive, backupDrive]);
}

/**
 * Both drives are still where they were, and still the drives that were signed for this pair.
 * @throws TandemError `drive_missing` or `guard` (`identity`, which nothing can force).
 */
export function assertIdentity(pair: OpenPair): void {
  for (const [root, uuid] of [
    [pair.master, pair.masterUuid],
    [pair.backup, pair.backupUuid],
  ] as const) {
    assertSide(root, uuid);
  }
}

/** The same of one drive. */
export function assertSide(root: DriveRoot, uuid: string): void {
  assertPresent(root);
  if (uuid === '') return;
  const found = readSignature(root.dir.path)?.drive_uuid ?? null;
  if (found === uuid) return;
  throw new TandemError(
    'guard',
    `The drive at ${root.mountPath} is not '${root.label}' of this group: its signature is ${found ?? 'missing'}, expected ${uuid}.`,
    {
      guard: 'identity',
      hint: 'Nothing was written. Plug in the right drive; for a new or reformatted drive edit the group with `tandem groups edit`.',
    },
  );
}

/** The options of a group with flags over them. */
export function syncOptions(group: Group, flags: Partial<SyncOptions>): SyncOptions {
  return { ...resolveOptions(group), checksum: false, trust_mtime: false, ...flags };
}

/** What a worker needs to know of the pair. */
export function transferSession(pair: OpenPair, operation: string): TransferSession {
  const traits = pair.backupTraits;
  const [minTime, maxTime] = timeLimits(traits.filesystem);
  return {
    master: pair.master.dir,
    backup: pair.backup.dir,
    reversed: pair.reversed,
    masterStable: pair.masterTraits.stable_ids,
    masterClock: masterClock(pair),
    operation,
    owner: carriesOwner(pair),
    traits: {
      stable: traits.stable_ids,
      permissions: traits.permissions,
      hardLinks: traits.hard_links,
      exchange: traits.exchange && hasNative(),
      minTime,
      maxTime,
    },
  };
}

// --- internal ---

/** How finely the Master dates changes. */
export function masterClock({ masterTraits }: OpenPair): ClockRules {
  return clockRules(masterTraits.stable_ids, masterTraits.mtime_granularity_ns);
}

/** Names of operating systems' litter: it may go to the trash with its folder. */
export const OS_JUNK: readonly string[] = [
  '.DS_Store',
  '.localized',
  'Thumbs.db',
  'ehthumbs.db',
  'desktop.ini',
  'Desktop.ini',
  '.directory',
  'Icon\r',
];

/** Like `connectPair`, but a changed label is not even noted in the groups file. */
function lookAtPair(group: Group, drives: readonly DriveInfo[], ctx: Context): Pair {
  const { problem, master, backup } = matchPair(group, drives, ctx);
  if (problem) throw problem;
  return { group, master, backup };
}

interface Both extends Pair {
  master: DriveInfo;
  backup: DriveInfo;
}

/** @throws TandemError `drive_missing`, with the reason where a drive is there but is not, or no longer, the signed one. */
function requireBoth(pair: Pair, drives: readonly DriveInfo[]): Both {
  const { group, master, backup } = pair;
  if (master && backup) return { group, master, backup };
  const sides = [
    { found: master, role: 'Master', flag: '--master', wanted: group.master_drive },
    { found: backup, role: 'Backup', flag: '--backup', wanted: group.backup_drive },
  ].filter(({ found }) => found === null);
  const names = sides.map(({ role, wanted }) => `${role} '${displayPath(wanted.label)}'`).join(' and the ');
  const alike = sides.flatMap(({ wanted, flag }) => {
    const drive = drives.find(
      ({ label, drive_uuid }) => label.toLowerCase() === wanted.label.toLowerCase() && drive_uuid !== wanted.drive_uuid,
    );
    return drive
      ? [
          `A drive labelled '${displayPath(drive.label)}' is at ${displayPath(drive.mount_path)}, but without this group's signature; if it was reformatted or takes over: tandem groups replace ${group.id} ${flag} ${displayPath(drive.mount_path)}.`,
        ]
      : [];
  });
  throw new TandemError(
    'drive_missing',
    `The ${names} of group '${displayPath(group.name)}' ${sides.length > 1 ? 'are' : 'is'} not connected${silence()}.`,
    {
      hint: alike[0] ?? 'Plug it in and repeat the command; `tandem detect list` shows what is connected.',
      details: { master_connected: master !== null, backup_connected: backup !== null },
    },
  );
}

export function traitsOf(root: DriveRoot, drive: DriveInfo): Traits {
  return readSignature(root.dir.path)?.traits ?? defaultTraits(drive.filesystem);
}

/** Owner and group are carried over: the process may set them, and both drives keep them. */
export function carriesOwner(pair: OpenPair): boolean {
  return process.geteuid?.() === 0 && pair.masterTraits.permissions && pair.backupTraits.permissions;
}
