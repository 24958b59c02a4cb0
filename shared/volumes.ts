/**
 * The volumes that are mounted now, as each system tells: which may be drives, what they are called, how large they are
 * and on which disk they lie. Found anew on each call; the parsers of what the systems print are in platform.ts.
 */
import { existsSync, readFileSync, realpathSync, statfsSync, statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { answers, forgetUnmounted } from './answering.ts';
import type { Context, RunResult } from './context.ts';
import { errnoOf, TandemError } from './errors.ts';
import { displayPath } from './paths.ts';
import {
  type BlockDevice,
  filesystemName,
  isAllowed,
  type Mount,
  mountOf,
  parseBlkid,
  parseDiskutilInfo,
  parseDiskutilList,
  parseLsblk,
  parseMacMounts,
  parseMountInfo,
  parseWindowsVolumes,
  readBlockDevice,
  type Volume,
  WINDOWS_SCRIPT,
} from './platform.ts';
import type { VirtualDriveSetting } from './settings.ts';
import { deviceNumber } from './syscalls.ts';

/** Volumes that may be drives, and all mounts, to tell what lies below a virtual drive. */
export interface Listing {
  volumes: Volume[];
  mounts: Mount[];
}

/** Volumes that are removable, or allowed by the settings; only those that can be reached under their paths. */
export function listVolumes(ctx: Context): Promise<Listing> {
  return { linux: listLinux, darwin: listMac, win32: listWindows }[systemOf(ctx)](ctx);
}

/** A folder that the settings name as a drive, as a volume; undefined when it is not there. */
export async function virtualVolume(
  setting: VirtualDriveSetting,
  mounts: readonly Mount[],
  ctx: Context,
): Promise<Volume | undefined> {
  const path = resolve(setting.path);
  // To follow links is to ask as well.
  const named = mountOf(path, mounts);
  if (!(await isAnswering(named, ctx))) return undefined;
  const real = realpathOr(path);
  const below = mountOf(real, mounts);
  if (below !== named && !(await isAnswering(below, ctx))) return undefined;
  const size = sizesOf(real);
  if (!size || !statSync(real, { throwIfNoEntry: false })?.isDirectory()) return undefined;
  const fuse = below?.filesystem.startsWith('fuse') && below.source.startsWith('/dev/');
  const type = fuse && below ? (await askBlkid(below.source, ctx))?.filesystem : undefined;
  const total_size = setting.total_size ?? size.total_size;
  return {
    device: path,
    disk: path,
    mount_path: path,
    label: setting.label,
    serial_number: null,
    fs_uuid: null,
    filesystem: filesystemName(type ?? below?.filesystem ?? 'unknown'),
    total_size,
    free_size: Math.min(size.free_size, total_size),
    removable: true,
    transport: null,
    rotational: null,
    read_only: below?.read_only ?? false,
    restricted: false,
  };
}

export function readMounts(): Mount[] {
  return parseMountInfo(readFileSync('/proc/self/mountinfo'));
}

/** The mounts of block devices, one for each device; those on the system's disks are marked. */
export function blockMounts(mounts: readonly Mount[]): Candidate[] {
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
export function blockNumber(mount: Mount): string | undefined {
  if (!mount.device_number.startsWith('0:')) return mount.device_number;
  return mount.source.startsWith('/dev/') ? blockNumberOf(mount.source) : undefined;
}

/** Undefined when the program is not there. */
export async function tryRun(ctx: Context, program: string, args: readonly string[]): Promise<RunResult | undefined> {
  try {
    return await ctx.exec(program, args);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EACCES') return undefined;
    throw error;
  }
}

export function powershell(ctx: Context, script: string): Promise<RunResult> {
  return ctx.exec('powershell.exe', ['-NoProfile', '-NonInteractive', '-Command', script]);
}

export function systemOf(ctx: Context): 'linux' | 'darwin' | 'win32' {
  const { platform } = ctx;
  if (platform === 'linux' || platform === 'darwin' || platform === 'win32') return platform;
  throw new TandemError('failed', `tandem cannot list drives on the system '${platform}'.`, {
    hint: 'Linux, macOS and Windows are supported.',
  });
}

export function realpathOr(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** `major:minor` of what is mounted at a path, or undefined when the path is not there. */
export function deviceNumberOf(path: string, ctx: Context): string | undefined {
  try {
    const { dev } = statSync(path);
    if (ctx.platform === 'win32') return `0:${dev}`;
    return ctx.platform === 'darwin' ? `${(dev >> 24) & 0xff}:${dev & 0xffffff}` : deviceNumber(dev);
  } catch {
    return undefined;
  }
}

// --- internal ---

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

async function listLinux(ctx: Context): Promise<Listing> {
  const mounts = readMounts();
  forgetUnmounted(mounts);
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

async function listMac(ctx: Context): Promise<Listing> {
  const [list, mounts] = await Promise.all([ctx.exec('diskutil', ['list', '-plist']), ctx.exec('mount', [])]);
  const infos = parseDiskutilList(list.stdout).map((device) => ctx.exec('diskutil', ['info', '-plist', device]));
  const volumes = (await Promise.all(infos)).flatMap((info) => parseDiskutilInfo(info.stdout) ?? []);
  return { volumes: volumes.filter((volume) => isEligible(volume, ctx)), mounts: parseMacMounts(mounts.stdout) };
}

async function listWindows(ctx: Context): Promise<Listing> {
  const { stdout } = await powershell(ctx, WINDOWS_SCRIPT);
  return { volumes: parseWindowsVolumes(stdout).filter((volume) => isEligible(volume, ctx)), mounts: [] };
}

function isEligible(volume: Volume, ctx: Context): boolean {
  return (volume.removable && !volume.restricted) || isAllowed(volume, ctx.settings().allowFixed);
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
  if (!(await isAnswering(mount, ctx))) return undefined;
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

/** Of what does not answer nothing more is asked: who does hangs as well. */
async function isAnswering(mount: Mount | undefined, ctx: Context): Promise<boolean> {
  if (mount === undefined) return true;
  return answers(mount, () => {
    const place = displayPath(mount.mount_path);
    const message = `What is mounted at ${place} does not answer, and is left out until it does. Check its cable or network.`;
    ctx.emit({ kind: 'warning', message });
  });
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

function sizesOf(path: string): { total_size: number; free_size: number } | undefined {
  try {
    const { blocks, bavail, bsize } = statfsSync(path);
    return { total_size: blocks * bsize, free_size: bavail * bsize };
  } catch {
    return undefined;
  }
}
