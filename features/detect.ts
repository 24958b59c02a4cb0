/**
 * Drives that are connected: which mounted volumes may take part, who they are, what their filesystems can do, when they
 * come and go, and how to let them go safely.
 *
 * A drive is a mounted removable volume, a fixed one that the user allowed (`drives.allow_fixed`), or a virtual drive: a
 * folder named under `drives.virtual`. A drive that belongs to a group carries its identity with it, in the signature
 * `.tandem/drive.json` at its root. Everything here is found anew on each call; nothing is remembered between calls.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { answers, mayBeSilent, silence } from '../shared/answering.ts';
import { fileStamp } from '../shared/config.ts';
import type { Context } from '../shared/context.ts';
import { ejectVolume } from '../shared/eject.ts';
import { messageOf, TandemError } from '../shared/errors.ts';
import { type Column, defineCommand, definePanel, type Paint, renderTable, runIfMain } from '../shared/feature.ts';
import { closest, formatBytes, formatTime } from '../shared/format.ts';
import { holderAt } from '../shared/lock.ts';
import { createBell, followMounts } from '../shared/mount-events.ts';
import { displayPath } from '../shared/paths.ts';
import { isNetworkFilesystem, type Mount, mountOf, parseMountInfo, type Volume } from '../shared/platform.ts';
import { readSignature, SIGNATURE } from '../shared/signature.ts';
import { deviceNumberOf, type Listing, listVolumes, realpathOr, virtualVolume } from '../shared/volumes.ts';
import { virtualVerbs } from './virtual.ts';

export { readSignature, removeSignature, type Signature, writeSignature } from '../shared/signature.ts';
export { defaultTraits, probeTraits, type Traits } from '../shared/traits.ts';
export { addVirtualDrive } from './virtual.ts';

/** A connected drive; sizes in bytes. `drive_uuid`, `group_id` and `role` come from its signature. */
export interface DriveInfo extends Omit<Volume, 'restricted'> {
  drive_uuid: string | null;
  virtual: boolean;
  group_id: string | null;
  role: 'master' | 'backup' | null;
  network: boolean;
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
  const { volumes, mounts } = await listVolumes(ctx);
  const virtual = await virtualDrives(mounts, ctx);
  const taken = new Set(virtual.map((drive) => realpathOr(drive.mount_path)));
  const real = volumes.flatMap((volume) => (taken.has(volume.mount_path) ? [] : (driveOf(volume, false, ctx) ?? [])));
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

/** Tells of drives that come, go, move and change, until `ctx.signal` aborts. Drives that are there already are no event. */
export async function watchDrives(ctx: Context, onEvent: (event: DriveEvent) => void): Promise<void> {
  const linux = ctx.platform === 'linux';
  const bell = createBell(ctx.signal);
  const unmounted = new Set<string>();
  const unfollow = linux ? followMounts(unmounted, bell.ring) : () => {};
  const quiet: Context = { ...ctx, emit: () => {} };
  const fingerprint = new Fingerprint(ctx);
  let complaint = '';
  try {
    let drives = await listDrives(ctx);
    let seen = linux ? await fingerprint.of(drives) : '';
    while (!ctx.signal.aborted) {
      let events: DriveEvent[] = [];
      try {
        const stamp = linux ? await fingerprint.of(drives) : '';
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
  const holder = holderAt(drive.mount_path);
  if (holder !== null) {
    throw new TandemError('locked', `${name} is in use by tandem itself (process ${holder.pid}).`, {
      hint: 'Wait until that run ends, or cancel it, and eject again.',
      details: { pid: holder.pid },
    });
  }
  if (deviceNumberOf(drive.mount_path, ctx) !== drive.device_number) {
    throw new TandemError('drive_missing', `${name} is not mounted at ${displayPath(drive.mount_path)} any more.`, {
      hint: 'See `tandem detect list` for what is connected now.',
    });
  }
  await ejectVolume(drive, ctx);
}

// --- internal ---

/** Undefined for a volume that vanished since it was listed. */
function driveOf(volume: Volume, virtual: boolean, ctx: Context): DriveInfo | undefined {
  const device_number = deviceNumberOf(volume.mount_path, ctx);
  if (device_number === undefined) return undefined;
  const { restricted: _, ...facts } = volume;
  const network = virtual && isNetworkFilesystem(volume.filesystem);
  return { ...facts, drive_uuid: null, group_id: null, role: null, virtual, network, device_number };
}

async function virtualDrives(mounts: Listing['mounts'], ctx: Context): Promise<DriveInfo[]> {
  const unique = new Map(ctx.settings().virtualDrives.map((setting) => [resolve(setting.path), setting]));
  const volumes = await Promise.all([...unique.values()].map((setting) => virtualVolume(setting, mounts, ctx)));
  return volumes.flatMap((volume) => (volume ? (driveOf(volume, true, ctx) ?? []) : []));
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

function ambiguous(query: string, found: readonly DriveInfo[]): TandemError {
  const names = found.map((drive) => `'${displayPath(drive.label)}' at ${displayPath(drive.mount_path)}`);
  return new TandemError('ambiguous', `'${displayPath(query)}' fits ${found.length} drives: ${names.join(', ')}.`, {
    hint: 'Name the one you mean by its mount path.',
    details: { mount_paths: found.map((drive) => drive.mount_path) },
  });
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

/** Of what may be silent, only so often: another process is sent ahead each time. */
const ASK_EVERY_MS = 10_000;

/** Everything that can change the list and costs next to nothing to look at. */
class Fingerprint {
  private readonly ctx: Context;
  private readonly asked = new Map<string, { at: number; stamp: string }>();
  private mountinfo = Buffer.alloc(0);
  private mounts: readonly Mount[] = [];

  constructor(ctx: Context) {
    this.ctx = ctx;
  }

  async of(drives: readonly DriveInfo[]): Promise<string> {
    const { virtualDrives, allowFixed } = this.ctx.settings();
    const mountinfo = readFileSync('/proc/self/mountinfo');
    if (!mountinfo.equals(this.mountinfo)) {
      this.mountinfo = mountinfo;
      this.mounts = parseMountInfo(mountinfo);
      this.asked.clear();
    }
    const stamps = await Promise.all([
      ...virtualDrives.map(({ path }) =>
        this.look('place', resolve(path), () => deviceNumberOf(path, this.ctx) ?? 'absent'),
      ),
      ...drives.map(({ device, mount_path }) =>
        this.look('drive', mount_path, () => `${existsSync(device)} ${stampOf(join(mount_path, SIGNATURE))}`),
      ),
    ]);
    // A drive that is silent is in no list, and is looked for as soon as it answers.
    return JSON.stringify([mountinfo.toString('latin1'), virtualDrives, allowFixed, stamps, silence()]);
  }

  private async look(what: string, path: string, stamp: () => string): Promise<string> {
    const mount = mountOf(path, this.mounts);
    if (!mount || !mayBeSilent(mount)) return stamp();
    const key = `${what} ${path}`;
    const known = this.asked.get(key);
    const age = Date.now() - (known?.at ?? 0);
    if (known && age >= 0 && age < ASK_EVERY_MS) return known.stamp;
    const found = (await answers(mount)) ? stamp() : 'silent';
    this.asked.set(key, { at: Date.now(), stamp: found });
    return found;
  }
}

function stampOf(path: string): string {
  try {
    return fileStamp(path);
  } catch (error) {
    return messageOf(error);
  }
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
    ...virtualVerbs,
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
