/**
 * Flushing and unmounting a volume, so that its disk may be pulled: udisks or umount on Linux, diskutil on macOS, the
 * shell's eject on Windows.
 */
import type { Context, RunResult } from './context.ts';
import { TandemError } from './errors.ts';
import { displayPath } from './paths.ts';
import type { Volume } from './platform.ts';
import { blockMounts, blockNumber, powershell, readMounts, systemOf, tryRun } from './volumes.ts';

/** What an eject needs to know of a volume. */
type Mounted = Pick<Volume, 'label' | 'mount_path' | 'device' | 'disk' | 'transport'>;

/**
 * Writes out everything, unmounts, and powers a USB disk down where udisks can.
 * @throws TandemError `locked` while a program uses it, `failed` for any other refusal.
 */
export async function ejectVolume(volume: Mounted, ctx: Context): Promise<void> {
  await { linux: ejectLinux, darwin: ejectMac, win32: ejectWindows }[systemOf(ctx)](volume, ctx);
}

// --- internal ---

async function ejectLinux(drive: Mounted, ctx: Context): Promise<void> {
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
async function unmountLinux(drive: Mounted, path: string, ctx: Context): Promise<void> {
  const ask = ['unmount', '--no-user-interaction', '-b', drive.device];
  const asked = path === drive.mount_path ? await tryRun(ctx, 'udisksctl', ask) : undefined;
  if (asked?.code === 0) return;
  if (asked && BUSY.test(asked.stderr)) throw ejectError(drive, asked, 'it is busy');
  const result = await tryRun(ctx, 'umount', ['--', path]);
  if (result?.code !== 0) throw ejectError(drive, result ?? asked, 'it could not be unmounted');
}

/** A drive that stays powered is safe to pull all the same, so that a refusal is only a note. */
async function powerOff(drive: Mounted, ctx: Context): Promise<void> {
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

async function ejectMac(drive: Mounted, ctx: Context): Promise<void> {
  await tryRun(ctx, 'sync', []);
  const result = await ctx.exec('diskutil', ['eject', drive.device]);
  if (result.code !== 0) throw ejectError(drive, result, 'it could not be ejected');
}

async function ejectWindows(drive: Mounted, ctx: Context): Promise<void> {
  const letter = /^([A-Za-z]):\\?$/.exec(drive.mount_path)?.[1];
  if (!letter) throw ejectError(drive, undefined, 'it has no drive letter');
  const shell = `(New-Object -ComObject Shell.Application).Namespace(17).ParseName('${letter}:').InvokeVerb('Eject')`;
  const gone = `for ($i = 0; $i -lt 20 -and (Test-Path '${letter}:\\'); $i++) { Start-Sleep -Milliseconds 250 }`;
  const check = `if (Test-Path '${letter}:\\') { [Console]::Error.WriteLine('the volume is in use'); exit 1 }`;
  const result = await powershell(ctx, [`Write-VolumeCache -DriveLetter ${letter}`, shell, gone, check].join('; '));
  if (result.code !== 0) throw ejectError(drive, result, 'it could not be ejected');
}

function ejectError(drive: Mounted, result: RunResult | undefined, why: string): TandemError {
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
