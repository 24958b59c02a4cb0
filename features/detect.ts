/**
 * Drives that are connected: which mounted volumes may take part, who they are, what their filesystems can do, when they
 * come and go, and how to let them go safely.
 *
 * A drive is a mounted removable volume, a fixed one that the user allowed (`drives.allow_fixed`), or a virtual drive: a
 * folder named under `drives.virtual`. A drive that belongs to a group carries its identity with it, in the signature
 * `.tandem/drive.json` at its root. Everything here is found anew on each call; nothing is remembered between calls.
 */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileStamp, saveYaml, withFileLock, writeFileAtomic } from '../shared/config.ts';
import type { Context, RunResult } from '../shared/context.ts';
import { errnoOf, messageOf, TandemError } from '../shared/errors.ts';
import { type Column, defineCommand, definePanel, type Paint, renderTable, runIfMain } from '../shared/feature.ts';
import { closest, formatBytes, formatTime, parseSize } from '../shared/format.ts';
import { lockHolder } from '../shared/lock.ts';
import { displayPath, isInside } from '../shared/paths.ts';
import {
  type BlockDevice,
  filesystemName,
  isAllowed,
  isNetworkFilesystem,
  type Mount,
  mountOf,
  parseBlkid,
  parseDiskutilInfo,
  parseDiskutilList,
  parseLsblk,
  parseMacMounts,
  parseMountEvent,
  parseMountInfo,
  parseWindowsVolumes,
  readBlockDevice,
  type Volume,
  WINDOWS_SCRIPT,
} from '../shared/platform.ts';
import { openSettingsFile, type VirtualDriveSetting } from '../shared/settings.ts';
import { closeFolder, deviceNumber, openRoot } from '../shared/syscalls.ts';

/** What a drive's filesystem can do, as probed on the drive itself. */
export interface Traits {
  filesystem: string;
  mtime_granularity_ns: number;
  case_sensitive: boolean;
  /** Composed and decomposed letters name the same file. */
  normalises: boolean;
  symlinks: boolean;
  hard_links: boolean;
  permissions: boolean;
  xattrs: boolean;
  /** Two files can change places in one step. */
  exchange: boolean;
  /** File ids and ctimes survive a remount. */
  stable_ids: boolean;
  max_name: number;
  name_unit: 'bytes' | 'utf16';
  probed_at: string;
}

/** Content of `.tandem/drive.json`; sizes in bytes. */
export interface Signature {
  tandem_version: string;
  drive_uuid: string;
  group_id: string;
  role: 'master' | 'backup';
  label: string;
  serial_number: string | null;
  total_size: number;
  created_at: string;
  traits: Traits;
}

/** A connected drive; sizes in bytes. `drive_uuid`, `group_id` and `role` come from its signature. */
export interface DriveInfo {
  device: string;
  mount_path: string;
  label: string;
  serial_number: string | null;
  fs_uuid: string | null;
  drive_uuid: string | null;
  filesystem: string;
  total_size: number;
  free_size: number;
  removable: boolean;
  virtual: boolean;
  transport: string | null;
  rotational: boolean | null;
  group_id: string | null;
  role: 'master' | 'backup' | null;
  read_only: boolean;
  network: boolean;
  /** The physical disk, e.g. `/dev/sdb`, or the device itself. */
  disk: string;
  /** `major:minor` of the mount's st_dev, e.g. `8:17`. */
  device_number: string;
}

/** `changed`: same drive, same place, other facts (label, signature, read-only …). */
export interface DriveEvent {
  kind: 'plugged' | 'unplugged' | 'remounted' | 'changed';
  drive: DriveInfo;
  previous?: DriveInfo;
}

/**
 * The drives that are mounted now and may take part, in the order of their mount paths, virtual ones last. A signature
 * that cannot be read is a warning, and the drive is listed as one without a group.
 */
export async function listDrives(ctx: Context): Promise<DriveInfo[]> {
  const { volumes, mounts } = await SYSTEMS[systemOf(ctx)].list(ctx);
  const virtual = await virtualDrives(mounts, ctx);
  const taken = new Set(virtual.map((drive) => realpathOr(drive.mount_path)));
  const real = volumes.flatMap((volume) => (taken.has(volume.mount_path) ? [] : (driveOf(volume, ctx) ?? [])));
  real.sort((a, b) => (a.mount_path < b.mount_path ? -1 : 1));
  return [...real, ...virtual].map((drive) => signed(drive, ctx));
}

/**
 * The one drive that `query` names: drive or filesystem id, device, mount path, serial number, label, or an id's unique
 * prefix of four characters or more.
 * @throws TandemError `not_found` with a guess, `ambiguous` with every drive that fits.
 */
export function findDrive(query: string, drives: readonly DriveInfo[]): DriveInfo {
  const lower = query.toLowerCase();
  const path = query.includes('/') ? resolve(query) : query;
  const ids = (drive: DriveInfo): string[] =>
    [drive.drive_uuid, drive.fs_uuid].flatMap((id) => id?.toLowerCase() ?? []);
  const ways: ((drive: DriveInfo) => boolean)[] = [
    (drive) => drive.drive_uuid?.toLowerCase() === lower,
    (drive) => drive.mount_path === query || drive.mount_path === path || drive.device === path,
    (drive) => drive.fs_uuid?.toLowerCase() === lower,
    (drive) => drive.label === query || drive.serial_number === query,
    (drive) => drive.label.toLowerCase() === lower || drive.serial_number?.toLowerCase() === lower,
    (drive) => lower.length >= 4 && ids(drive).some((id) => id.startsWith(lower)),
  ];
  for (const way of ways) {
    const found = drives.filter(way);
    if (found.length === 1 && found[0]) return found[0];
    if (found.length > 1) throw ambiguous(query, found);
  }
  const guess = closest(
    query,
    drives.flatMap((drive) => [drive.label, drive.mount_path]),
  );
  const known = drives.map((drive) => `'${displayPath(drive.label)}'`).join(', ');
  const hint = guess
    ? `Did you mean '${displayPath(guess)}'?`
    : known === ''
      ? 'No drive is connected; plug one in and see `tandem detect list`.'
      : `Connected are ${known}; see \`tandem detect list\`.`;
  throw new TandemError('not_found', `No connected drive is called '${displayPath(query)}'.`, { hint });
}

/**
 * The signature at a drive's root; null when there is none.
 * @throws TandemError `config` when it is there but cannot be read or is not a signature.
 */
export function readSignature(root: string): Signature | null {
  const path = join(root, SIGNATURE);
  const broken = (why: string, cause?: unknown): TandemError =>
    new TandemError('config', `The drive's signature ${displayPath(path)} cannot be used: ${why}.`, {
      hint: 'Look at the file; when it is damaged, move it away and adopt or replace the drive in its group.',
      cause,
    });
  let text: string | undefined;
  try {
    text = readSmallFile(root, 'drive.json');
  } catch (error) {
    throw broken(messageOf(error), error);
  }
  if (text === undefined) return null;
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw broken('it is not JSON', error);
  }
  const wrong = wrongField(document, SIGNATURE_FIELDS) ?? wrongField((document as Signature).traits, TRAIT_FIELDS);
  if (wrong !== undefined) throw broken(`its field '${wrong}' is missing or has no valid value`);
  return document as Signature;
}

/** Writes the signature atomically and flushed, and beside it a note in plain words when there is none yet. */
export function writeSignature(root: string, signature: Signature): void {
  ownFolder(root);
  const note = join(root, '.tandem', 'README.txt');
  if (!lstatSync(note, { throwIfNoEntry: false })) writeFileAtomic(note, README);
  writeFileAtomic(join(root, SIGNATURE), `${JSON.stringify(signature, null, 2)}\n`);
}

/** Removes the signature alone; versions and state stay. */
export function removeSignature(root: string): void {
  ownFolder(root);
  rmSync(join(root, SIGNATURE), { force: true });
}

/**
 * Tries out what the drive can do, with files in `.tandem/probe-…` that are gone afterwards.
 * @param filesystem as `DriveInfo` names it
 * @throws TandemError `failed` when the drive cannot be written to.
 */
export function probeTraits(root: string, filesystem: string): Traits {
  const home = join(root, '.tandem');
  const fresh = !existsSync(home);
  let folder: string | undefined;
  try {
    ownFolder(root);
    folder = mkdtempSync(join(home, 'probe-'));
    return { ...defaultTraits(filesystem), ...probe(folder, filesystem) };
  } catch (error) {
    if (error instanceof TandemError) throw error;
    throw new TandemError('failed', `The drive at ${displayPath(root)} cannot be written to: ${messageOf(error)}.`, {
      hint: 'Check that it is not write-protected, not full, and that you may write to it.',
      cause: error,
    });
  } finally {
    if (folder) rmSync(folder, { recursive: true, force: true });
    if (fresh && existsSync(home) && readdirSync(home).length === 0) rmdirSync(home);
  }
}

/** What is known of a filesystem without writing to it, for drives that are read-only. */
export function defaultTraits(filesystem: string): Traits {
  const known = FAMILIES[filesystem] ?? UNKNOWN;
  return { filesystem, ...known, max_name: 255, probed_at: new Date().toISOString() };
}

/** Tells of drives that come, go, move and change, until `ctx.signal` aborts. Drives that are there already are no event. */
export async function watchDrives(ctx: Context, onEvent: (event: DriveEvent) => void): Promise<void> {
  const linux = ctx.platform === 'linux';
  const bell = createBell(ctx.signal);
  const unmounted = new Set<string>();
  const unfollow = linux ? followMounts(unmounted, bell.ring) : () => {};
  const quiet: Context = { ...ctx, emit: () => {} };
  let complaint = '';
  try {
    let drives = await listDrives(ctx);
    let seen = linux ? fingerprint(ctx, drives) : '';
    while (!ctx.signal.aborted) {
      let events: DriveEvent[] = [];
      try {
        const stamp = linux ? fingerprint(ctx, drives) : '';
        if (!linux || stamp !== seen || unmounted.size > 0) {
          const gone = new Set(unmounted);
          unmounted.clear();
          const next = await listDrives(quiet);
          events = compareDrives(drives, next, gone);
          drives = next;
          seen = stamp;
        }
        complaint = '';
      } catch (error) {
        if (complaint !== messageOf(error)) ctx.emit({ kind: 'warning', message: messageOf(error) });
        complaint = messageOf(error);
      }
      for (const event of events) onEvent(event);
      await bell.wait(linux ? 1000 : 3000);
    }
  } finally {
    unfollow();
  }
}

/** What happened between two listings. `unmounted`: mount paths that were unmounted meanwhile, perhaps mounted again. */
export function compareDrives(
  before: readonly DriveInfo[],
  after: readonly DriveInfo[],
  unmounted: ReadonlySet<string> = new Set(),
): DriveEvent[] {
  const left = new Set(before);
  const pairs = new Map<DriveInfo, DriveInfo>();
  for (const same of SAME_DRIVE) {
    for (const drive of after) {
      if (pairs.has(drive)) continue;
      const previous = [...left].find((other) => same(other, drive));
      if (!previous) continue;
      pairs.set(drive, previous);
      left.delete(previous);
    }
  }
  const events: DriveEvent[] = [...left].map((drive) => ({ kind: 'unplugged', drive }));
  for (const drive of after) {
    const previous = pairs.get(drive);
    const kind = previous ? howChanged(previous, drive, unmounted) : 'plugged';
    if (kind) events.push(previous ? { kind, drive, previous } : { kind, drive });
  }
  return events;
}

/**
 * Flushes and unmounts a drive, so that it may be pulled; powers a USB disk down where udisks can.
 * @throws TandemError `locked` while a run or another program uses it, `invalid` for a virtual drive.
 */
export async function ejectDrive(drive: DriveInfo, ctx: Context): Promise<void> {
  const name = `'${displayPath(drive.label)}'`;
  if (drive.virtual) {
    throw new TandemError('invalid', `${name} is a folder that takes part as a drive; it cannot be ejected.`, {
      hint: 'Unmount what lies below it, or remove it from drives.virtual in app.yaml.',
    });
  }
  const holder = holderOf(drive);
  if (holder !== undefined) {
    throw new TandemError('locked', `${name} is in use by tandem itself (process ${holder}).`, {
      hint: 'Wait until that run ends, or cancel it, and eject again.',
      details: { pid: holder },
    });
  }
  if (deviceNumberOf(drive.mount_path, ctx) !== drive.device_number) {
    throw new TandemError('drive_missing', `${name} is not mounted at ${displayPath(drive.mount_path)} any more.`, {
      hint: 'See `tandem detect list` for what is connected now.',
    });
  }
  await SYSTEMS[systemOf(ctx)].eject(drive, ctx);
}

/**
 * Makes a folder a virtual drive in the user's `app.yaml`; comments and order there stay.
 * @param size bytes; left out, the size of the filesystem below it counts.
 * @throws TandemError `invalid` for a path or label that cannot be taken.
 */
export async function addVirtualDrive(
  ctx: Context,
  folder: string,
  label: string,
  size?: number,
): Promise<VirtualDriveSetting> {
  const path = resolve(folder);
  if (path === '/')
    throw refused("The folder '/' cannot be a drive.", 'Name a folder of its own, such as /mnt/nas/photos.');
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    const hint = 'Create or mount it first; a virtual drive counts as connected while its folder exists.';
    throw refused(`There is no folder ${displayPath(path)}.`, hint);
  }
  if (label.trim() === '')
    throw refused('The label is empty.', 'Give --label a name that tells the drive from others.');
  const entry: VirtualDriveSetting = { path, label, ...(size === undefined ? {} : { total_size: size }) };
  return withFileLock(join(ctx.configDir, 'app.yaml'), () => {
    const file = openSettingsFile(ctx.configDir);
    const others = file.value.drives?.virtual ?? [];
    for (const other of others) checkBeside(entry, other);
    if (others.length > 0) file.document.addIn(['drives', 'virtual'], file.document.createNode(entry));
    else file.document.setIn(['drives', 'virtual'], file.document.createNode([entry]));
    saveYaml(file);
    return entry;
  });
}

// --- internal ---

const SIGNATURE = join('.tandem', 'drive.json');
const SMALL_FILE = 256 * 1024;

const README = `This folder belongs to tandem, a program that keeps a Master and a Backup drive in step.
Please leave it where it is: without it, tandem does not know this drive any more.

Your files are not in here. They lie beside this folder as ordinary files: to get them back without
tandem, copy them from this drive with any file manager.

drive.json   says which drive this is: its id, its group, and whether it is the Master or the Backup
trash/       older versions of files that a run replaced or removed, one folder for each run, with their
             former paths; copy out what you miss
state/       what both drives looked like when they last agreed
partial/     files that were being copied; safe to delete while tandem is not running
lock         there while tandem works on this drive

A file whose name ends in .gz or .lz4 opens with gunzip or lz4. A file that ends in .encrypted is sealed
and needs tandem and your password, key file or recovery key; keyring.json holds the locked key: keep it.
`;

type Fields<T> = Record<keyof T, (value: unknown) => boolean>;

const isText = (value: unknown): boolean => typeof value === 'string';
const isFlag = (value: unknown): boolean => typeof value === 'boolean';
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) > 0;

const SIGNATURE_FIELDS: Fields<Signature> = {
  tandem_version: isText,
  drive_uuid: (value) => isText(value) && /^[\w-]{1,64}$/.test(String(value)),
  group_id: (value) => isText(value) && value !== '',
  role: (value) => value === 'master' || value === 'backup',
  label: isText,
  serial_number: (value) => value === null || isText(value),
  total_size: (value) => value === 0 || isCount(value),
  created_at: isText,
  traits: (value) => typeof value === 'object' && value !== null,
};

const TRAIT_FIELDS: Fields<Traits> = {
  filesystem: isText,
  mtime_granularity_ns: isCount,
  case_sensitive: isFlag,
  normalises: isFlag,
  symlinks: isFlag,
  hard_links: isFlag,
  permissions: isFlag,
  xattrs: isFlag,
  exchange: isFlag,
  stable_ids: isFlag,
  max_name: isCount,
  name_unit: (value) => value === 'bytes' || value === 'utf16',
  probed_at: isText,
};

/** Fields that a later version added are let through. */
function wrongField<T>(value: unknown, fields: Fields<T>): string | undefined {
  const record = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  return (Object.keys(fields) as (keyof T & string)[]).find((key) => !fields[key](record[key]));
}

type Family = Omit<Traits, 'filesystem' | 'max_name' | 'probed_at'>;

const UNKNOWN: Family = {
  mtime_granularity_ns: 1,
  case_sensitive: true,
  normalises: false,
  symlinks: false,
  hard_links: false,
  permissions: false,
  xattrs: false,
  exchange: false,
  stable_ids: false,
  name_unit: 'bytes',
};
const UNIX: Family = {
  ...UNKNOWN,
  symlinks: true,
  hard_links: true,
  permissions: true,
  xattrs: true,
  exchange: true,
  stable_ids: true,
};
const EXT2: Family = { ...UNIX, mtime_granularity_ns: 1_000_000_000, exchange: false };
const EXFAT: Family = { ...UNKNOWN, mtime_granularity_ns: 10_000_000, case_sensitive: false, name_unit: 'utf16' };
const FAMILIES: Record<string, Family> = {
  ext2: EXT2,
  ext3: EXT2,
  ext4: UNIX,
  xfs: UNIX,
  btrfs: UNIX,
  f2fs: UNIX,
  tmpfs: UNIX,
  apfs: { ...UNIX, case_sensitive: false, normalises: true },
  hfsplus: { ...EXT2, case_sensitive: false, normalises: true, name_unit: 'utf16' },
  ntfs: {
    ...UNIX,
    mtime_granularity_ns: 100,
    case_sensitive: false,
    permissions: false,
    exchange: false,
    name_unit: 'utf16',
  },
  exfat: EXFAT,
  vfat: { ...EXFAT, mtime_granularity_ns: 2_000_000_000 },
  cifs: { ...UNKNOWN, mtime_granularity_ns: 100 },
};

interface System {
  /** Volumes that may be drives, and all mounts, to tell what lies below a virtual drive. */
  list(ctx: Context): Promise<{ volumes: Volume[]; mounts: Mount[] }>;
  eject(drive: DriveInfo, ctx: Context): Promise<void>;
}

const SYSTEMS: Record<'linux' | 'darwin' | 'win32', System> = {
  linux: { list: listLinux, eject: ejectLinux },
  darwin: { list: listMac, eject: ejectMac },
  win32: { list: listWindows, eject: ejectWindows },
};

function systemOf(ctx: Context): keyof typeof SYSTEMS {
  if (ctx.platform in SYSTEMS) return ctx.platform as keyof typeof SYSTEMS;
  throw new TandemError('failed', `tandem cannot list drives on the system '${ctx.platform}'.`, {
    hint: 'Linux, macOS and Windows are supported.',
  });
}

// Mounts of these, and the swap devices, tell which disks belong to the system.
const SYSTEM_PLACES = new Set(['/', '/boot', '/boot/efi', '/efi', '/usr', '/home', '/var']);
// Images and discs that can never be written.
const NEVER = new Set(['squashfs', 'erofs', 'iso9660', 'cramfs', 'romfs']);

/** A mounted block device; one for each device, however often it is mounted. */
interface Candidate {
  mount: Mount;
  /** `major:minor` of the block device. */
  number: string;
  block: BlockDevice;
  restricted: boolean;
}

async function listLinux(ctx: Context): Promise<{ volumes: Volume[]; mounts: Mount[] }> {
  const mounts = readMounts();
  const allow = ctx.settings().allowFixed;
  // Labels are known only after programs were asked, so with patterns every device stays in the running until then.
  const maybe = allow === true || (Array.isArray(allow) && allow.length > 0);
  const candidates = blockMounts(mounts).filter(({ block, restricted }) => maybe || (block.removable && !restricted));
  if (candidates.length === 0) return { volumes: [], mounts };
  const columns = 'NAME,MAJ:MIN,LABEL,UUID,FSTYPE,SERIAL,TRAN,ROTA,RM,HOTPLUG';
  const answer = await tryRun(ctx, 'lsblk', ['-J', '-b', '-o', columns]);
  const facts = parseLsblk(answer?.stdout ?? '');
  const volumes = await Promise.all(candidates.map((each) => linuxVolume(each, facts, ctx)));
  return { volumes: volumes.flatMap((volume) => (volume && isEligible(volume, ctx) ? [volume] : [])), mounts };
}

function isEligible(volume: Volume, ctx: Context): boolean {
  return (volume.removable && !volume.restricted) || isAllowed(volume, ctx.settings().allowFixed);
}

function readMounts(): Mount[] {
  return parseMountInfo(readFileSync('/proc/self/mountinfo'));
}

function blockMounts(mounts: readonly Mount[]): Candidate[] {
  const system = systemDisks(mounts);
  const top = new Map(mounts.map((mount) => [mount.mount_path, mount]));
  const found = new Map<string, Candidate>();
  for (const mount of mounts) {
    if (NEVER.has(mount.filesystem) || top.get(mount.mount_path) !== mount) continue;
    const number = blockNumber(mount);
    const earlier = number === undefined ? undefined : found.get(number);
    if (number === undefined || earlier?.mount.root === '/' || (earlier && mount.root !== '/')) continue;
    const block = earlier?.block ?? readBlockDevice(number);
    if (!block) continue;
    found.set(number, { mount, number, block, restricted: block.loop || block.disks.some((disk) => system.has(disk)) });
  }
  return [...found.values()];
}

/** The block device of a mount; FUSE and btrfs mounts have numbers of their own and name the device as their source. */
function blockNumber(mount: Mount): string | undefined {
  if (!mount.device_number.startsWith('0:')) return mount.device_number;
  return mount.source.startsWith('/dev/') ? blockNumberOf(mount.source) : undefined;
}

function blockNumberOf(device: string): string | undefined {
  try {
    const stat = statSync(device);
    return stat.isBlockDevice() ? deviceNumber(stat.rdev) : undefined;
  } catch {
    return undefined;
  }
}

function systemDisks(mounts: readonly Mount[]): Set<string> {
  const numbers = mounts.flatMap((mount) => (SYSTEM_PLACES.has(mount.mount_path) ? (blockNumber(mount) ?? []) : []));
  const swaps = existsSync('/proc/swaps') ? readFileSync('/proc/swaps', 'utf8') : '';
  for (const match of swaps.matchAll(/^(\/dev\/\S+)/gm)) numbers.push(blockNumberOf(match[1] ?? '') ?? '');
  return new Set(numbers.flatMap((number) => readBlockDevice(number)?.disks ?? []));
}

/** Undefined when the mount cannot be reached under its path. */
async function linuxVolume(
  candidate: Candidate,
  facts: ReturnType<typeof parseLsblk>,
  ctx: Context,
): Promise<Volume | undefined> {
  const { mount, number, block, restricted } = candidate;
  const device = mount.source.startsWith('/dev/') && existsSync(mount.source) ? mount.source : `/dev/${block.name}`;
  const known = facts?.get(number);
  const asked = known?.fs_uuid && known.filesystem ? undefined : await askBlkid(device, ctx);
  const type = mount.filesystem.startsWith('fuse') ? (known?.filesystem ?? asked?.filesystem) : undefined;
  const size = isReachable(mount, device, ctx) ? sizesOf(mount.mount_path) : undefined;
  if (!size) return undefined;
  return {
    device,
    disk: block.disks[0] ?? device,
    mount_path: mount.mount_path,
    label: known?.label ?? asked?.label ?? (basename(mount.mount_path) || block.name),
    serial_number: known?.serial_number ?? null,
    fs_uuid: known?.fs_uuid ?? asked?.fs_uuid ?? null,
    filesystem: filesystemName(type ?? mount.filesystem),
    ...size,
    removable: block.removable || (known?.removable ?? false),
    transport: known?.transport ?? block.transport,
    rotational: known?.rotational ?? null,
    read_only: mount.read_only,
    restricted,
  };
}

/** False when another mount hides it, this user may not enter it, no string names it, or it is gone by now. */
function isReachable(mount: Mount, device: string, ctx: Context): boolean {
  if (mount.nameable) {
    const number = deviceNumberOf(mount.mount_path, ctx);
    // st_dev of btrfs names the subvolume, so that it cannot show a hidden mount there.
    return number !== undefined && (number === mount.device_number || mount.filesystem === 'btrfs');
  }
  const message = `${displayPath(device)} is mounted at a path that is not valid UTF-8 and cannot take part.`;
  ctx.emit({ kind: 'warning', message: `${message} Mount it elsewhere.` });
  return false;
}

async function askBlkid(device: string, ctx: Context): Promise<ReturnType<typeof parseBlkid> | undefined> {
  const answer = await tryRun(ctx, 'blkid', ['-p', '-o', 'udev', device]);
  return answer ? parseBlkid(answer.stdout) : undefined;
}

/** Undefined when the program is not there. */
async function tryRun(ctx: Context, program: string, args: readonly string[]): Promise<RunResult | undefined> {
  try {
    return await ctx.exec(program, args);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EACCES') return undefined;
    throw error;
  }
}

async function listMac(ctx: Context): Promise<{ volumes: Volume[]; mounts: Mount[] }> {
  const [list, mounts] = await Promise.all([ctx.exec('diskutil', ['list', '-plist']), ctx.exec('mount', [])]);
  const infos = parseDiskutilList(list.stdout).map((device) => ctx.exec('diskutil', ['info', '-plist', device]));
  const volumes = (await Promise.all(infos)).flatMap((info) => parseDiskutilInfo(info.stdout) ?? []);
  return { volumes: volumes.filter((volume) => isEligible(volume, ctx)), mounts: parseMacMounts(mounts.stdout) };
}

async function listWindows(ctx: Context): Promise<{ volumes: Volume[]; mounts: Mount[] }> {
  const { stdout } = await powershell(ctx, WINDOWS_SCRIPT);
  return { volumes: parseWindowsVolumes(stdout).filter((volume) => isEligible(volume, ctx)), mounts: [] };
}

function powershell(ctx: Context, script: string): Promise<RunResult> {
  return ctx.exec('powershell.exe', ['-NoProfile', '-NonInteractive', '-Command', script]);
}

/** Undefined for a volume that vanished since it was listed. */
function driveOf(volume: Volume, ctx: Context): DriveInfo | undefined {
  const device_number = deviceNumberOf(volume.mount_path, ctx);
  if (device_number === undefined) return undefined;
  const { restricted: _, ...facts } = volume;
  return { ...facts, ...UNSIGNED, virtual: false, network: false, device_number };
}

const UNSIGNED = { drive_uuid: null, group_id: null, role: null } as const;

async function virtualDrives(mounts: readonly Mount[], ctx: Context): Promise<DriveInfo[]> {
  const unique = new Map(ctx.settings().virtualDrives.map((setting) => [resolve(setting.path), setting]));
  const drives = await Promise.all([...unique].map(([path, setting]) => virtualDrive(path, setting, mounts, ctx)));
  return drives.flatMap((drive) => drive ?? []);
}

/** Undefined when its folder is not there. */
async function virtualDrive(
  path: string,
  setting: VirtualDriveSetting,
  mounts: readonly Mount[],
  ctx: Context,
): Promise<DriveInfo | undefined> {
  const real = realpathOr(path);
  const size = sizesOf(real);
  const device_number = deviceNumberOf(real, ctx);
  if (!size || device_number === undefined || !statSync(real).isDirectory()) return undefined;
  const below = mountOf(real, mounts);
  const fuse = below?.filesystem.startsWith('fuse') && below.source.startsWith('/dev/');
  const type = fuse && below ? (await askBlkid(below.source, ctx))?.filesystem : undefined;
  const filesystem = filesystemName(type ?? below?.filesystem ?? 'unknown');
  const total_size = setting.total_size ?? size.total_size;
  return {
    ...UNSIGNED,
    device: path,
    disk: path,
    mount_path: path,
    label: setting.label,
    serial_number: null,
    fs_uuid: null,
    filesystem,
    total_size,
    free_size: Math.min(size.free_size, total_size),
    removable: true,
    virtual: true,
    transport: null,
    rotational: null,
    read_only: below?.read_only ?? false,
    network: isNetworkFilesystem(filesystem),
    device_number,
  };
}

function signed(drive: DriveInfo, ctx: Context): DriveInfo {
  try {
    const signature = readSignature(drive.mount_path);
    if (!signature) return drive;
    return { ...drive, drive_uuid: signature.drive_uuid, group_id: signature.group_id, role: signature.role };
  } catch (error) {
    ctx.emit({ kind: 'warning', message: messageOf(error) });
    return drive;
  }
}

function realpathOr(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function sizesOf(path: string): { total_size: number; free_size: number } | undefined {
  try {
    const { blocks, bavail, bsize } = statfsSync(path);
    return { total_size: blocks * bsize, free_size: bavail * bsize };
  } catch {
    return undefined;
  }
}

/** `major:minor` of what is mounted at a path, or undefined when the path is not there. */
function deviceNumberOf(path: string, ctx: Context): string | undefined {
  try {
    const { dev } = statSync(path);
    if (ctx.platform === 'win32') return `0:${dev}`;
    return ctx.platform === 'darwin' ? `${(dev >> 24) & 0xff}:${dev & 0xffffff}` : deviceNumber(dev);
  } catch {
    return undefined;
  }
}

function ambiguous(query: string, found: readonly DriveInfo[]): TandemError {
  const names = found.map((drive) => `'${displayPath(drive.label)}' at ${displayPath(drive.mount_path)}`);
  return new TandemError('ambiguous', `'${displayPath(query)}' fits ${found.length} drives: ${names.join(', ')}.`, {
    hint: 'Name the one you mean by its mount path.',
    details: { mount_paths: found.map((drive) => drive.mount_path) },
  });
}

/**
 * A file in a drive's `.tandem/`; undefined when it is not there. What lies on a drive is not to be trusted: links are
 * not followed, and pipes and files of absurd size are refused instead of read.
 */
function readSmallFile(root: string, name: string): string | undefined {
  const home = lstatSync(join(root, '.tandem'), { throwIfNoEntry: false });
  if (!home) return undefined;
  if (!home.isDirectory()) throw new Error('.tandem is not a folder');
  let fd: number;
  try {
    const safely = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
    fd = openSync(join(root, '.tandem', name), constants.O_RDONLY | safely);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.size > SMALL_FILE) throw new Error('it is not a small plain file');
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

/** Makes `.tandem/`. A link in its place could lead writes off the drive. */
function ownFolder(root: string): void {
  const home = join(root, '.tandem');
  const stat = lstatSync(home, { throwIfNoEntry: false });
  if (!stat) mkdirSync(home);
  else if (!stat.isDirectory()) {
    throw new TandemError('config', `${displayPath(home)} is not a folder, so nothing is written there.`, {
      hint: 'Move it away; tandem keeps its own files in a folder of that name.',
    });
  }
}

function probe(folder: string, filesystem: string): Partial<Traits> {
  const file = join(folder, 'aB');
  writeFileSync(file, '');
  const composed = '\u00e9';
  writeFileSync(join(folder, composed), '');
  const keptForm = readdirSync(folder).includes(composed);
  return {
    mtime_granularity_ns: Math.max(measureGranularity(file), FAMILIES[filesystem]?.mtime_granularity_ns ?? 1),
    case_sensitive: !isThere(join(folder, 'Ab')),
    normalises: !keptForm || isThere(join(folder, composed.normalize('NFD'))),
    symlinks: succeeds(() => symlinkSync('aB', join(folder, 'symlink'))),
    hard_links: succeeds(() => linkSync(file, join(folder, 'link'))),
    permissions: [0o640, 0o600].every(
      (mode) => succeeds(() => chmodSync(file, mode)) && (statSync(file).mode & 0o777) === mode,
    ),
  };
}

/** Node sets microseconds: a filesystem that keeps those is taken to keep nanoseconds. */
function measureGranularity(file: string): number {
  const odd = 1_600_000_001;
  utimesSync(file, odd + 0.234567, odd + 0.234567);
  const { mtimeNs } = lstatSync(file, { bigint: true });
  if (mtimeNs / 1_000_000_000n !== BigInt(odd)) return 2_000_000_000;
  const fraction = mtimeNs % 1_000_000_000n;
  if (fraction === 0n) return 1_000_000_000;
  return fraction % 1_000_000n === 0n ? 10_000_000 : 1;
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function succeeds(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}

/** From the surest to the weakest; a drive of the earlier listing is taken by the first that fits. */
const SAME_DRIVE: readonly ((a: DriveInfo, b: DriveInfo) => boolean)[] = [
  (a, b) =>
    samePlace(a, b) && agree(a.drive_uuid, b.drive_uuid) && agree(a.fs_uuid, b.fs_uuid) && a.virtual === b.virtual,
  (a, b) => a.drive_uuid !== null && a.drive_uuid === b.drive_uuid && agree(a.fs_uuid, b.fs_uuid),
  (a, b) => a.fs_uuid !== null && a.fs_uuid === b.fs_uuid && agree(a.drive_uuid, b.drive_uuid),
  (a, b) =>
    !a.virtual &&
    !b.virtual &&
    a.fs_uuid === null &&
    b.fs_uuid === null &&
    agree(a.drive_uuid, b.drive_uuid) &&
    a.serial_number !== null &&
    a.serial_number === b.serial_number &&
    a.label === b.label &&
    a.total_size === b.total_size,
];

function samePlace(a: DriveInfo, b: DriveInfo): boolean {
  return a.mount_path === b.mount_path && a.device === b.device && a.device_number === b.device_number;
}

function agree(a: string | null, b: string | null): boolean {
  return a === null || b === null || a === b;
}

const FACTS = [
  'label',
  'serial_number',
  'fs_uuid',
  'drive_uuid',
  'filesystem',
  'total_size',
  'read_only',
  'group_id',
  'role',
] as const;

function howChanged(
  before: DriveInfo,
  after: DriveInfo,
  unmounted: ReadonlySet<string>,
): DriveEvent['kind'] | undefined {
  if (!samePlace(before, after) || unmounted.has(before.mount_path)) return 'remounted';
  return FACTS.some((key) => before[key] !== after[key]) ? 'changed' : undefined;
}

/** Everything that can change the list and costs next to nothing to look at. */
function fingerprint(ctx: Context, drives: readonly DriveInfo[]): string {
  const { virtualDrives, allowFixed } = ctx.settings();
  const folders = virtualDrives.map(({ path }) => deviceNumberOf(path, ctx) ?? 'absent');
  const signatures = drives.map((drive) => [existsSync(drive.device), stampOf(join(drive.mount_path, SIGNATURE))]);
  return JSON.stringify([
    readFileSync('/proc/self/mountinfo', 'latin1'),
    virtualDrives,
    allowFixed,
    folders,
    signatures,
  ]);
}

function stampOf(path: string): string {
  try {
    return fileStamp(path);
  } catch (error) {
    return messageOf(error);
  }
}

/** Follows mounts as they happen; without findmnt the look each second has to do. Returns what ends it. */
function followMounts(unmounted: Set<string>, ring: () => void): () => void {
  const child = spawn('findmnt', ['--poll', '-P', '-o', 'ACTION,TARGET'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, LC_ALL: 'C' },
  });
  child.on('error', () => {});
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    const event = parseMountEvent(line);
    if (event?.action === 'umount' || event?.action === 'move') unmounted.add(event.mount_path);
    ring();
  });
  return () => {
    lines.close();
    child.kill();
  };
}

/** Waits that end early when rung; a ring while nobody waits ends the next one. */
function createBell(signal: AbortSignal): { ring: () => void; wait: (milliseconds: number) => Promise<void> } {
  let rung = false;
  let wake: (() => void) | undefined;
  const ring = (): void => {
    rung = true;
    wake?.();
  };
  const wait = (milliseconds: number): Promise<void> =>
    new Promise((done) => {
      const finish = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', finish);
        wake = undefined;
        rung = false;
        done();
      };
      const timer = setTimeout(finish, milliseconds);
      signal.addEventListener('abort', finish, { once: true });
      wake = finish;
      if (rung || signal.aborted) finish();
    });
  return { ring, wait };
}

/** The living process that holds the drive's lock. The root is closed again at once: it would keep the drive busy. */
function holderOf(drive: DriveInfo): number | undefined {
  try {
    const root = openRoot(drive.mount_path);
    try {
      return lockHolder(root)?.pid;
    } finally {
      closeFolder(root);
    }
  } catch {
    return undefined;
  }
}

async function ejectLinux(drive: DriveInfo, ctx: Context): Promise<void> {
  const flushed = await tryRun(ctx, 'sync', ['-f', '--', drive.mount_path]);
  if (flushed && flushed.code !== 0) throw ejectError(drive, flushed, 'its data could not be written out');
  const here = readMounts().find((mount) => mount.mount_path === drive.mount_path && blockNumber(mount) !== undefined);
  const number = here ? blockNumber(here) : undefined;
  const mounts = readMounts().filter((mount) => number !== undefined && blockNumber(mount) === number);
  // While a second mount of the device is left, pulling it would lose data: all of them go, the newest first.
  for (const mount of mounts.reverse()) await unmountLinux(drive, mount.mount_path, ctx);
  const rest = readMounts().find((mount) => number !== undefined && blockNumber(mount) === number);
  if (rest) throw ejectError(drive, undefined, `it is still mounted at ${displayPath(rest.mount_path)}`);
  await powerOff(drive, ctx);
}

const BUSY = /busy|in use|couldn't be unmounted/i;

/** udisks may unmount for a plain user; where it is missing or its service does not run, umount does for root. */
async function unmountLinux(drive: DriveInfo, path: string, ctx: Context): Promise<void> {
  const ask = ['unmount', '--no-user-interaction', '-b', drive.device];
  const asked = path === drive.mount_path ? await tryRun(ctx, 'udisksctl', ask) : undefined;
  if (asked?.code === 0) return;
  if (asked && BUSY.test(asked.stderr)) throw ejectError(drive, asked, 'it is busy');
  const result = await tryRun(ctx, 'umount', ['--', path]);
  if (result?.code !== 0) throw ejectError(drive, result ?? asked, 'it could not be unmounted');
}

/** A drive that stays powered is safe to pull all the same, so that a refusal is only a note. */
async function powerOff(drive: DriveInfo, ctx: Context): Promise<void> {
  if (drive.transport !== 'usb') return;
  const shared = blockMounts(readMounts()).some(({ block }) => block.disks.includes(drive.disk));
  if (shared) {
    ctx.emit({ kind: 'note', message: `${displayPath(drive.disk)} stays powered: another of its volumes is mounted.` });
    return;
  }
  const result = await tryRun(ctx, 'udisksctl', ['power-off', '--no-user-interaction', '-b', drive.disk]);
  if (result && result.code !== 0)
    ctx.emit({ kind: 'note', message: `${displayPath(drive.disk)} stays powered: ${firstLine(result)}` });
}

async function ejectMac(drive: DriveInfo, ctx: Context): Promise<void> {
  await tryRun(ctx, 'sync', []);
  const result = await ctx.exec('diskutil', ['eject', drive.device]);
  if (result.code !== 0) throw ejectError(drive, result, 'it could not be ejected');
}

async function ejectWindows(drive: DriveInfo, ctx: Context): Promise<void> {
  const letter = /^([A-Za-z]):\\?$/.exec(drive.mount_path)?.[1];
  if (!letter) throw ejectError(drive, undefined, 'it has no drive letter');
  const shell = `(New-Object -ComObject Shell.Application).Namespace(17).ParseName('${letter}:').InvokeVerb('Eject')`;
  const gone = `for ($i = 0; $i -lt 20 -and (Test-Path '${letter}:\\'); $i++) { Start-Sleep -Milliseconds 250 }`;
  const check = `if (Test-Path '${letter}:\\') { [Console]::Error.WriteLine('the volume is in use'); exit 1 }`;
  const result = await powershell(ctx, [`Write-VolumeCache -DriveLetter ${letter}`, shell, gone, check].join('; '));
  if (result.code !== 0) throw ejectError(drive, result, 'it could not be ejected');
}

function ejectError(drive: DriveInfo, result: RunResult | undefined, why: string): TandemError {
  const said = result ? firstLine(result) : '';
  const name = `'${displayPath(drive.label)}'`;
  if (BUSY.test(said)) {
    return new TandemError('locked', `${name} cannot be ejected: a program still uses it.`, {
      hint: `See which one with \`lsof +f -- ${displayPath(quoteForShell(drive.mount_path))}\`, close it and eject again.`,
    });
  }
  return new TandemError('failed', `${name} cannot be ejected: ${why}${said ? ` (${said})` : ''}.`, {
    hint: 'Do not pull it yet; mend the cause and eject again.',
  });
}

function firstLine(result: RunResult): string {
  return displayPath((result.stderr || result.stdout).trim().split('\n')[0] ?? '').replace(/\.$/, '');
}

function quoteForShell(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

const EMPTY = [
  'No drive is connected. Plug one in, or:',
  '  allow fixed disks, with drives.allow_fixed in app.yaml',
  '  use a folder as a drive: tandem detect add PATH --label LABEL',
].join('\n');

function badge(drive: DriveInfo): string {
  return drive.role === 'master' ? 'M' : drive.role === 'backup' ? 'B' : '—';
}

const columns: readonly Column<DriveInfo>[] = [
  { title: 'ROLE', value: badge, style: (drive) => drive.role ?? 'dim' },
  { title: 'LABEL', value: (drive) => displayPath(drive.label) },
  { title: 'MOUNT', value: (drive) => displayPath(drive.mount_path) },
  { title: 'FILESYSTEM', value: (drive) => `${displayPath(drive.filesystem)}${drive.read_only ? ' (read-only)' : ''}` },
  { title: 'SIZE', value: (drive) => formatBytes(drive.total_size), align: 'right' },
  { title: 'FREE', value: (drive) => formatBytes(drive.free_size), align: 'right' },
  { title: 'REMOVABLE', value: (drive) => (drive.virtual ? 'virtual' : drive.removable ? 'yes' : 'no') },
  { title: 'TRANSPORT', value: (drive) => (drive.network ? 'network' : displayPath(drive.transport ?? '—')) },
  { title: 'SERIAL', value: (drive) => displayPath(drive.serial_number ?? '—') },
  { title: 'DEVICE', value: (drive) => displayPath(drive.virtual ? '—' : drive.device) },
];

/** The other drive of the same group, and whether the pair is complete; null without a group. */
function pairOf(
  drive: DriveInfo,
  drives: readonly DriveInfo[],
): { paired: DriveInfo | null; status: 'connected' | 'partial' | null } {
  if (drive.group_id === null) return { paired: null, status: null };
  const paired = drives.find((other) => other.group_id === drive.group_id && other.role !== drive.role) ?? null;
  return { paired, status: paired ? 'connected' : 'partial' };
}

function showText(drive: DriveInfo, drives: readonly DriveInfo[], paint: Paint): string {
  const { paired, status } = pairOf(drive, drives);
  const state = {
    connected: 'Both Connected ✓',
    partial: 'Partial ⚠ (the other drive of its group is away)',
    none: 'in no group',
  }[status ?? 'none'];
  const spin = drive.rotational === null ? '' : drive.rotational ? ', rotating disk' : ', solid state';
  const lines: [string, string][] = [
    ['Role', drive.role === null ? '—' : drive.role === 'master' ? 'Master' : 'Backup'],
    ['Status', state],
    ['Group', drive.group_id ?? '—'],
    ['Paired drive', paired ? `${paired.label} at ${paired.mount_path} (${paired.drive_uuid})` : '—'],
    ['Mounted at', drive.mount_path],
    [
      'Filesystem',
      `${drive.filesystem}${drive.read_only ? ', read-only' : ''}${drive.network ? ', on the network' : ''}`,
    ],
    ['Size', `${formatBytes(drive.total_size)}, ${formatBytes(drive.free_size)} free`],
    [
      'Kind',
      `${drive.virtual ? 'virtual' : drive.removable ? 'removable' : 'fixed'}${drive.transport ? `, ${drive.transport}` : ''}${spin}`,
    ],
    ['Device', `${drive.device} (${drive.device_number}) on ${drive.disk}`],
    ['Serial number', drive.serial_number ?? '—'],
    ['Filesystem id', drive.fs_uuid ?? '—'],
    ['Drive id', drive.drive_uuid ?? '— (written when it joins a group)'],
  ];
  return [
    paint('bold', displayPath(drive.label)),
    ...lines.map(([name, value]) => `  ${name.padEnd(14)} ${displayPath(value)}`),
  ].join('\n');
}

function eventLine(event: DriveEvent, at: Date): string {
  const { drive, kind } = event;
  const moved = kind === 'remounted' && event.previous && event.previous.mount_path !== drive.mount_path;
  const from = moved && event.previous ? `  (was at ${event.previous.mount_path})` : '';
  return displayPath(
    `${formatTime(at)}  ${kind.padEnd(9)}  ${badge(drive)}  ${drive.label}  ${drive.mount_path}${from}`,
  );
}

function refused(message: string, hint: string): TandemError {
  return new TandemError('invalid', message, { hint });
}

function checkBeside(entry: VirtualDriveSetting, other: VirtualDriveSetting): void {
  const taken = `'${displayPath(other.label)}' (${displayPath(other.path)})`;
  const [path, there] = [realpathOr(entry.path), realpathOr(other.path)];
  if (isInside(path, there) || isInside(there, path)) {
    const message = `${displayPath(entry.path)} is, holds or lies in the virtual drive ${taken}.`;
    throw refused(message, 'Drives may not lie inside each other.');
  }
  if (other.label.toLowerCase() !== entry.label.toLowerCase()) return;
  throw refused(`The label '${displayPath(entry.label)}' already belongs to ${taken}.`, 'Give --label another name.');
}

function sizeOption(text: string): number {
  const size = parseSize(text);
  if (size !== undefined && size > 0) return size;
  throw new TandemError('usage', `'${displayPath(text)}' is not a size.`, {
    hint: 'Write it as 500GB, 2TB or 1.5TiB.',
  });
}

const driveArgument = {
  name: 'drive',
  description: 'label, id (or its first characters), serial number, device or mount path',
  complete: 'drive',
} as const;

export const command = defineCommand({
  name: 'detect',
  summary: 'Drives that are connected: list, watch, eject',
  verbs: {
    list: {
      summary: 'List the connected drives',
      examples: ['tandem detect list', 'tandem detect list --json'],
      run: async (_input, ctx) => {
        const drives = await listDrives(ctx);
        return { json: drives, text: (paint) => (drives.length > 0 ? renderTable(drives, columns, paint) : EMPTY) };
      },
    },
    show: {
      summary: 'Show one drive, its group and its paired drive',
      examples: ['tandem detect show PhotoMaster', 'tandem detect show /media/ada/PhotoMaster --json'],
      args: [driveArgument],
      run: async ({ args }, ctx) => {
        const drives = await listDrives(ctx);
        const drive = findDrive(String(args['drive']), drives);
        const { paired, status } = pairOf(drive, drives);
        return { json: { ...drive, status, paired_drive: paired }, text: (paint) => showText(drive, drives, paint) };
      },
    },
    watch: {
      summary: 'Print a line whenever a drive comes, goes, moves or changes, until Ctrl-C',
      examples: ['tandem detect watch', 'tandem detect watch --json | jq .kind'],
      run: async ({ options }, ctx, write) => {
        await watchDrives(ctx, (event) => {
          const at = ctx.now();
          write(options['json'] ? JSON.stringify({ at: at.toISOString(), ...event }) : eventLine(event, at));
        });
        return undefined;
      },
    },
    eject: {
      summary: 'Flush and unmount a drive, so that it may be pulled',
      examples: ['tandem detect eject PhotoBackup'],
      args: [driveArgument],
      run: async ({ args }, ctx) => {
        const drive = findDrive(String(args['drive']), await listDrives(ctx));
        await ejectDrive(drive, ctx);
        const { label, device, mount_path } = drive;
        return {
          json: { ejected: true, label, device, mount_path },
          text: (paint) => paint('good', `'${displayPath(label)}' is unmounted and may be pulled.`),
        };
      },
    },
    add: {
      summary: 'Use a folder as a drive: a NAS mount, a fixed disk in a dock, a practice folder',
      examples: [
        'tandem detect add /mnt/nas/photos --label NAS-Photos',
        'tandem detect add ~/practice/a --label A --size 2TB',
      ],
      args: [{ name: 'path', description: 'the folder', complete: 'path' }],
      options: [
        { flags: '--label <label>', description: 'the name of the drive (required)' },
        {
          flags: '--size <size>',
          description: 'its size, when it is not that of the filesystem below it',
          parse: sizeOption,
        },
      ],
      run: async ({ args, options }, ctx) => {
        if (options['label'] === undefined) {
          throw new TandemError('usage', 'A virtual drive needs a label.', {
            hint: 'Give --label, for example --label NAS-Photos.',
          });
        }
        const entry = await addVirtualDrive(ctx, String(args['path']), String(options['label']), options['size']);
        return {
          json: entry,
          text: () => `'${displayPath(entry.label)}' (${displayPath(entry.path)}) takes part as a drive now.`,
        };
      },
    },
  },
});

export const panel = definePanel<DriveInfo>({
  title: 'Drives',
  rows: listDrives,
  columns,
  empty: EMPTY,
  actions: [
    {
      key: 'e',
      label: 'eject',
      disabled: (drive) => (drive.virtual ? 'a virtual drive cannot be ejected' : undefined),
      command: (drive) => ['detect', 'eject', drive.mount_path],
    },
  ],
});

runIfMain(import.meta, command);
