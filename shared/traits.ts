/**
 * What a drive's filesystem can do. Tried out on the drive itself where a trial tells the truth, else known by the type of
 * the filesystem: a drive is used on several computers, whose drivers differ, and Windows and macOS may come after Linux.
 */
import {
  chmodSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { messageOf, TandemError } from './errors.ts';
import { ownFolder } from './own-folder.ts';
import { displayPath, isWindowsFamily } from './paths.ts';
import {
  closeFolder,
  type Dir,
  exchange,
  hasNative,
  linkAt,
  openRoot,
  readAttributes,
  setTimesAt,
  settableGranularity,
  statAt,
  writeAttributes,
} from './syscalls.ts';

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
  /** Two files can change places in one step, and the filesystem's own log keeps a crash from tearing it. */
  exchange: boolean;
  /** File ids and ctimes survive a remount. */
  stable_ids: boolean;
  max_name: number;
  name_unit: 'bytes' | 'utf16';
  probed_at: string;
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

// --- internal ---

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

function probe(folder: string, filesystem: string): Partial<Traits> {
  const known = FAMILIES[filesystem];
  const windows = isWindowsFamily(filesystem);
  const file = join(folder, 'aB');
  writeFileSync(file, '1');
  const composed = '\u00e9';
  writeFileSync(join(folder, composed), '22');
  const keptForm = readdirSync(folder).includes(composed);
  const dir = openRoot(folder);
  try {
    return {
      mtime_granularity_ns: Math.max(measureGranularity(dir, 'aB'), known?.mtime_granularity_ns ?? 1),
      // Linux drivers for NTFS tell names apart that Windows and macOS do not.
      case_sensitive: !windows && !isThere(join(folder, 'Ab')),
      normalises: !keptForm || isThere(join(folder, composed.normalize('NFD'))),
      symlinks: succeeds(() => symlinkSync('aB', join(folder, 'symlink'))),
      hard_links: succeeds(() => linkAt(dir, 'aB', dir, 'link')) && statAt(dir, 'link')?.ino === statAt(dir, 'aB')?.ino,
      permissions: [0o640, 0o600].every(
        (mode) => succeeds(() => chmodSync(file, mode)) && (statSync(file).mode & 0o777) === mode,
      ),
      xattrs: hasNative() ? keepsAttributes(file) : (known?.xattrs ?? false),
      // Some drivers of FAT swap names, but in two writes: where no log guards them, a pulled cable would tear it.
      exchange: known?.exchange !== false && (hasNative() ? swaps(dir, 'aB', composed) : known !== undefined),
    };
  } finally {
    closeFolder(dir);
  }
}

const MOMENT = { seconds: 1_600_000_001, nanoseconds: 123_456_789 };

/** From what the drive makes of a moment that no coarser clock can hold: 1 to 1,000,000,000 ns, or 2 s. */
function measureGranularity(dir: Dir, name: string): number {
  setTimesAt(dir, name, MOMENT);
  const kept = statAt(dir, name)?.mtime;
  if (!kept || kept.seconds !== MOMENT.seconds) return 2_000_000_000;
  let granule = 1;
  while (granule < 1_000_000_000 && kept.nanoseconds % (granule * 10) === 0) granule *= 10;
  return granule <= settableGranularity() ? 1 : granule;
}

function keepsAttributes(file: string): boolean {
  const fd = openSync(file, 'r+');
  try {
    const value = Buffer.from('probe');
    if (!writeAttributes(fd, [['user.tandem', value]])) return false;
    return readAttributes(fd).some(([name, kept]) => name === 'user.tandem' && kept.equals(value));
  } finally {
    closeSync(fd);
  }
}

/** The files differ in size, so that a driver that says yes and does nothing is found out. */
function swaps(dir: Dir, a: string, b: string): boolean {
  const before = [statAt(dir, a)?.size, statAt(dir, b)?.size];
  return (
    succeeds(() => exchange(dir, a, dir, b)) && statAt(dir, a)?.size === before[1] && statAt(dir, b)?.size === before[0]
  );
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
