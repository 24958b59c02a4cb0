/**
 * Real drives for tests: images on loop devices, with the filesystems that photographers use. Everything lies below
 * `os.tmpdir()`, so that the runner can tell what belongs to a test, and nothing outlives `withDrives`.
 */
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type DriveKind = 'ext4' | 'exfat' | 'ntfs';

export interface DriveSpec {
  label: string;
  fs: DriveKind;
  /** Bytes, default 64 MiB. */
  size?: number;
}

export interface TestDrive {
  readonly label: string;
  readonly fs: DriveKind;
  readonly image: string;
  /** Changes with `replug`. */
  device: string;
  /** Changes with `replug` to another place. */
  mount: string;
  /** Gone at once, as when the cable is pulled: files that are open stay open, the path leads nowhere. */
  unplug(): void;
  replug(mountPath?: string): void;
}

/** Whether this machine lets a test make drives of this kind. */
export function drivesAvailable(kind: DriveKind): boolean {
  return whyNot(kind) === undefined;
}

/** Makes the drives, runs `work`, and removes every trace of them, also after a failure. */
export async function withDrives(
  specs: readonly DriveSpec[],
  work: (drives: TestDrive[]) => Promise<void> | void,
): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'tandem-drives-'));
  try {
    await work(specs.map((spec, index) => makeDrive(spec, join(root, String(index)))));
  } finally {
    removeBelow(root);
  }
}

/** Registers a test on real drives with `test`, or reports it as skipped where this machine cannot make them. */
export function driveTest(
  test: (name: string, work: () => Promise<void>) => void,
  name: string,
  specs: readonly DriveSpec[],
  work: (drives: TestDrive[]) => Promise<void> | void,
): void {
  const missing = specs.find(({ fs }) => !drivesAvailable(fs));
  if (missing === undefined) test(name, () => withDrives(specs, work));
  else skipped(name, whyNot(missing.fs) ?? '');
}

/** Tells the runner of a test that cannot run here; it counts as skipped, in CI as failed. */
export function skipped(name: string, reason: string): void {
  process.stdout.write(`SKIPPED: ${`${name}: ${reason}`.replace(/\s+/g, ' ')}\n`);
}

/**
 * Unmounts and detaches everything below `root`, then removes it, but never through a mount that could not be released.
 * @returns what was still mounted or attached, one sentence each.
 */
export function removeBelow(root: string): string[] {
  const found = releaseBelow(root);
  if (mountsBelow(root).length === 0) rmSync(root, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  return found;
}

// --- internal ---

/**
 * Looks only below `root`, never at all mounts or loop devices: other people's drives are on this machine too.
 */
function releaseBelow(root: string): string[] {
  const found: string[] = [];
  for (const mount of mountsBelow(root).reverse()) {
    found.push(`mounted: ${mount}`);
    run('umount', ['-l', mount]);
  }
  for (const { device, image } of loopsBelow(root)) {
    found.push(`loop device: ${device} (${image})`);
    detach(device, image);
  }
  return found;
}

const TOOLS: Readonly<Record<DriveKind, readonly string[]>> = {
  ext4: ['mkfs.ext4'],
  exfat: ['mkfs.exfat', 'mount.exfat-fuse'],
  ntfs: ['mkfs.ntfs', 'ntfs-3g'],
};

function whyNot(kind: DriveKind): string | undefined {
  if (process.getuid?.() !== 0) return 'making drives takes root';
  const missing = ['losetup', 'mount', 'umount', ...TOOLS[kind]].find((tool) => !installed(tool));
  if (missing !== undefined) return `${missing} is not installed`;
  if (!existsSync('/dev/loop-control')) return 'there are no loop devices';
  if (kind !== 'ext4' && !existsSync('/dev/fuse')) return 'there is no /dev/fuse';
  return undefined;
}

export function installed(tool: string): boolean {
  return [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'].some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function makeDrive(spec: DriveSpec, folder: string): TestDrive {
  const { label, fs, size = 64 * 1024 * 1024 } = spec;
  const image = join(folder, 'image');
  mkdirSync(folder);
  writeFileSync(image, '');
  truncateSync(image, size);
  const make = { ext4: ['-q', '-F', '-m', '0', '-L'], exfat: ['-L'], ntfs: ['-q', '-F', '-f', '-L'] }[fs];
  must(`mkfs.${fs}`, [...make, label, image]);
  const drive: TestDrive = {
    label,
    fs,
    image,
    device: '',
    mount: join(folder, 'mount'),
    unplug: () => {
      must('umount', ['-l', drive.mount]);
      detach(drive.device, image);
    },
    replug: (mountPath = drive.mount) => {
      drive.device = must('losetup', ['--find', '--show', image]).trim();
      drive.mount = mountPath;
      mkdirSync(mountPath, { recursive: true });
      const driver = { ext4: ['mount', '-t', 'ext4'], exfat: ['mount.exfat-fuse'], ntfs: ['ntfs-3g'] }[fs];
      must(driver[0] ?? '', [...driver.slice(1), drive.device, mountPath]);
    },
  };
  drive.replug();
  return drive;
}

/**
 * A driver in user space may hold the device after a lazy unmount; it gets a moment, then it is ended. Once it is free
 * another process may take the device for an image of its own, which is left alone.
 */
function detach(device: string, image: string): void {
  run('losetup', ['-d', device]);
  for (let tries = 0; tries < 100 && holds(device, image); tries += 1) {
    if (tries === 40) for (const pid of holdersOf(device)) process.kill(pid, 'SIGKILL');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 25);
    run('losetup', ['-d', device]);
  }
}

function holds(device: string, image: string): boolean {
  try {
    const file = join('/sys/block', device.replace('/dev/', ''), 'loop', 'backing_file');
    return readFileSync(file, 'utf8').startsWith(image);
  } catch {
    return false;
  }
}

/** Filesystem drivers, other than this process, that have the device open: of FUSE those that answer for what is mounted. */
export function holdersOf(device: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        const driver = /^(mount\.exfat|mount\.exfat-fu|ntfs-3g)/.test(readFileSync(`/proc/${pid}/comm`, 'utf8'));
        return driver && readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === device);
      } catch {
        return false;
      }
    })
    .map(Number);
}

function mountsBelow(root: string): string[] {
  if (!existsSync('/proc/self/mountinfo')) return [];
  const targets = readFileSync('/proc/self/mountinfo', 'latin1')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '');
  return targets
    .map((text) => text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))))
    .map((text) => Buffer.from(text, 'latin1').toString('utf8'))
    .filter((path) => path.startsWith(`${root}/`));
}

function loopsBelow(root: string): { device: string; image: string }[] {
  if (!existsSync('/sys/block')) return [];
  return readdirSync('/sys/block')
    .filter((name) => name.startsWith('loop'))
    .flatMap((name) => {
      try {
        const image = readFileSync(join('/sys/block', name, 'loop', 'backing_file'), 'utf8').trim();
        return image.startsWith(`${root}/`) ? [{ device: `/dev/${name}`, image }] : [];
      } catch {
        return [];
      }
    });
}

function run(tool: string, args: readonly string[]): ReturnType<typeof spawnSync> & { stdout: string; stderr: string } {
  const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' };
  const result = spawnSync(tool, args, { encoding: 'utf8', env });
  return { ...result, stdout: result.stdout ?? '', stderr: result.stderr ?? '' };
}

function must(tool: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = run(tool, args);
  if (status !== 0) throw new Error(`${tool} ${args.join(' ')} failed: ${error?.message ?? stderr.trim()}`);
  return stdout;
}
