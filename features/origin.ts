/**
 * What a restore reads from and writes to: a drive of a group, or a drive alone that this computer has never seen; onto
 * the Master or into any folder. And what there is to restore: the files that stand there now, the versions in its trash,
 * or the state of a moment, made of both.
 */
import { mkdirSync, readdirSync, realpathSync, statfsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Context } from '../shared/context.ts';
import { errnoOf, messageOf, TandemError } from '../shared/errors.ts';
import { statsAt } from '../shared/folders.ts';
import { Entry, eachRecord, entryAt, factsOf } from '../shared/listing.ts';
import { listTrash, readManifest } from '../shared/manifest.ts';
import { displayPath, isInside } from '../shared/paths.ts';
import { filesystemName, mountOf } from '../shared/platform.ts';
import type { Rename } from '../shared/renames.ts';
import { keptOperations, manifestsOn } from '../shared/retention.ts';
import { alwaysExcluded, mountsBelow, scanTree } from '../shared/scan.ts';
import { closeDriveRoot, type DriveRoot, openDriveRoot } from '../shared/store.ts';
import { splitStored } from '../shared/stored.ts';
import { type Dir, rmdirAt, statAt } from '../shared/syscalls.ts';
import { trashFolder } from '../shared/trash.ts';
import { readMounts } from '../shared/volumes.ts';
import {
  type DriveInfo,
  defaultTraits,
  findDrive,
  listDrives,
  probeTraits,
  readSignature,
  type Traits,
} from './detect.ts';
import { connectPair, type Group, getGroup } from './groups.ts';
import { type BaselineRow, listOperations } from './history.ts';
import type { DriveSide } from './manifests.ts';
import { type Lying, Meanings, type Meant } from './meanings.ts';
import type { OpenPair } from './session.ts';

/** Where a restore reads: one drive, and the group that it belongs to where this computer knows it. */
export interface Origin {
  group: Group;
  /** This computer knows the group. */
  known: boolean;
  drive: DriveInfo;
  side: DriveSide;
}

/**
 * @param target a group, or a drive by label or mount path.
 * @throws TandemError `drive_missing` when that drive of the group is not connected, `not_found` when nothing is called so.
 */
export async function findOrigin(target: string, side: DriveSide, ctx: Context): Promise<Origin> {
  const drives = await listDrives(ctx);
  const group = groupCalled(target, ctx);
  if (group === undefined) return driveOrigin(findDrive(target, drives), ctx);
  const drive = (await connectPair(group, ctx, drives))[side];
  if (drive) return { group, known: true, drive, side };
  const role = side === 'master' ? 'Master' : 'Backup';
  const { label } = group[`${side}_drive`];
  throw new TandemError(
    'drive_missing',
    `The ${role} '${displayPath(label)}' of group '${displayPath(group.name)}' is not connected.`,
    { hint: `Plug it in, or read the other drive with --from ${side === 'master' ? 'backup' : 'master'}.` },
  );
}

/**
 * A pair whose other side is a folder: made if need be, and left without a trace of tandem when nothing in it was replaced.
 * @throws TandemError `invalid` for a folder that lies on the origin itself, where a restore would read what it writes.
 */
export function openFolderPair({ group, drive, side }: Origin, folder: string, readOnly: boolean): OpenPair {
  const path = resolve(folder);
  assertApart(drive, path);
  const missing = statSync(path, { throwIfNoEntry: false }) === undefined;
  if (missing && !readOnly) mkdirSync(path, { recursive: true });
  const roots: DriveRoot[] = [openDriveRoot(drive.mount_path, drive.label)];
  try {
    const at = missing && readOnly ? existingAbove(path) : path;
    roots.push(openDriveRoot(at, path));
    const [master, backup] = roots as [DriveRoot, DriveRoot];
    const filesystem = filesystemName(mountOf(realpathSync(at), readMounts())?.filesystem ?? '');
    const traits = readOnly ? defaultTraits(filesystem) : probeTraits(path, filesystem);
    const { bsize, blocks } = statfsSync(at);
    const size = { total_size: bsize * blocks, free_size: 0 };
    const sides = {
      group,
      master,
      backup,
      // Whoever reads a drive keeps others from writing to it; one without a signature gets no lock, nor anything else.
      masterDrive: { ...drive, read_only: drive.read_only || drive.drive_uuid === null },
      backupDrive: {
        ...drive,
        ...size,
        mount_path: path,
        label: path,
        read_only: false,
        network: false,
        drive_uuid: null,
      },
      masterTraits: traitsOf(master, drive),
      backupTraits: traits,
      masterUuid: drive.drive_uuid ?? '',
      backupUuid: '',
      storedSide: side === 'backup' ? ('master' as const) : null,
    };
    return folderPair(sides, roots, readOnly);
  } catch (error) {
    for (const root of roots) closeDriveRoot(root);
    throw error;
  }
}

/**
 * A folder by itself, as both sides of a pair, for the undo of what was restored into it.
 * @param stable whether change times and file ids were recorded of it.
 * @throws TandemError `not_found` when it is not there.
 */
export function openFolderAlone(
  names: { group_id: string; target_name: string },
  path: string,
  stable: boolean,
  readOnly: boolean,
): OpenPair {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new TandemError('not_found', `The folder ${displayPath(path)} that was restored into is not there.`, {
      hint: 'Mount the drive that it lies on, or put it back where it was, and repeat.',
    });
  }
  const filesystem = filesystemName(mountOf(realpathSync(path), readMounts())?.filesystem ?? '');
  const traits = { ...(readOnly ? defaultTraits(filesystem) : probeTraits(path, filesystem)), stable_ids: stable };
  const identity = { serial_number: null, label: path, total_size: 0 };
  const place = { device: '', disk: '', mount_path: path, fs_uuid: null, filesystem, free_size: 0, device_number: '' };
  const kind = { removable: false, transport: null, rotational: null, virtual: true, network: false };
  const drive = { ...identity, ...place, ...kind, drive_uuid: null, group_id: null, role: null };
  const time = new Date(0).toISOString();
  const { group_id: id, target_name: name } = names;
  const group = { id, name, created: time, modified: time, description: '', options: {} };
  const roots: DriveRoot[] = [openDriveRoot(path, path)];
  roots.push(openDriveRoot(path, path));
  const [master, backup] = roots as [DriveRoot, DriveRoot];
  const sides = {
    group: { ...group, master_drive: identity, backup_drive: identity },
    master,
    backup,
    // Locked once: it is one folder.
    masterDrive: { ...drive, read_only: true },
    backupDrive: { ...drive, read_only: false },
    masterTraits: traits,
    backupTraits: traits,
    masterUuid: '',
    backupUuid: '',
    storedSide: null,
  };
  return folderPair(sides, roots, readOnly);
}

/** A path that can be restored; `from`: where its content lies, from the drive's root, when that is elsewhere. */
export type Item = Meant;

/** What a restore brings back: what stands on the drive, what an operation replaced or removed, or the state of a moment. */
export type Moment = { kind: 'now' } | { kind: 'operation'; uuid: string } | { kind: 'date'; time: number };

/**
 * Everything there is at a moment, by path; read only from the drive itself.
 * @param rows recorded of the drive, where it is a Backup; null: files on it have their own names.
 */
export async function itemsAt(
  root: DriveRoot,
  traits: Traits,
  moment: Moment,
  rows: readonly BaselineRow[] | null,
  ctx: Context,
): Promise<Map<string, Item>> {
  const meanings = new Meanings(root.dir, rows ?? []);
  try {
    const found = [...(await lyingAt(root, traits, moment, ctx)).values()];
    const meant = found.map((item) => (rows === null ? ownName(item) : meanings.of(item)));
    return new Map(meant.sort((a, b) => a.rank - b.rank).map((item) => [item.path, item]));
  } finally {
    meanings.close();
  }
}

/** Where files have their own names. */
function ownName(item: Lying): Item {
  return { ...item, size: item.entry.size, rank: 0 };
}

/** By the names that the drive has, or had. */
async function lyingAt(root: DriveRoot, traits: Traits, moment: Moment, ctx: Context): Promise<Map<string, Lying>> {
  if (moment.kind === 'operation') return new Map((await keptItems(root, moment.uuid, ctx)).items);
  const items = await currentItems(root, traits, ctx);
  if (moment.kind === 'now') return items;
  // Back through what was done since, the newest first: versions come back, what was made goes, names are given back.
  for (const operation of (await operationsSince(root, moment.time, ctx)).reverse())
    rollBack(items, await keptItems(root, operation, ctx));
  return items;
}

/** One state of a path that can be had back. */
export interface Version {
  operation: string;
  side: DriveSide;
  path: string;
  kind: string;
  /** Bytes; of what is compressed and sealed at once those that it takes up. */
  size: number;
  /** ISO 8601, UTC. */
  mtime: string;
  /** When the operation replaced or removed it. */
  replaced_at: string;
}

/** Every version of a path, and of what was below it, in a drive's trash; newest first. */
export async function versionsAt(root: DriveRoot, side: DriveSide, path: string, ctx: Context): Promise<Version[]> {
  const found: Version[] = [];
  const meanings = new Meanings(root.dir, []);
  try {
    for (const { operation, time } of (await keptOperations(root.dir, ctx.signal)).reverse()) {
      const { items } = await keptItems(root, operation, ctx);
      for (const item of items.values()) {
        if (!isInside(item.path, path) && !isInside(splitStored(item.path).path, path)) continue;
        const { path: own, entry, size } = side === 'backup' ? meanings.of(item) : ownName(item);
        if (!isInside(own, path) || entry.kind === 'd') continue;
        const mtime = new Date(entry.mtimeMs).toISOString();
        const replaced_at = new Date(time).toISOString();
        found.push({ operation, side, path: own, kind: entry.kind, size: size ?? entry.size, mtime, replaced_at });
      }
    }
    return found;
  } finally {
    meanings.close();
  }
}

/** Facts, and the target of a link, of what stands at these paths. */
export function standing(root: DriveRoot, paths: Iterable<string>, stable: boolean): Map<string, Entry> {
  const found = new Map<string, Entry>();
  for (const [path, stat] of statsAt(root.dir, paths))
    found.set(path, new Entry(factsOf(stat, stable), path, stat.nlink));
  return found;
}

export function traitsOf(root: DriveRoot, drive: DriveInfo): Traits {
  return readSignature(root.dir.path)?.traits ?? defaultTraits(drive.filesystem);
}

// --- internal ---

/** In the names of each moment, as an undo does it. */
function rollBack(items: Map<string, Lying>, { items: versions, made, moves, at }: Kept): void {
  const momentOf = (path: string): number => at.get(path) ?? moves.length;
  for (let moment = moves.length; moment >= 0; moment -= 1) {
    for (const path of made) if (momentOf(path) === moment) items.delete(path);
    for (const [path, item] of versions) if (momentOf(path) === moment) items.set(path, item);
    const move = moves[moment - 1];
    if (move) rename(items, move);
  }
}

/** What is in a folder goes along; its content is still read where it stands now. */
function rename(items: Map<string, Lying>, { path: to, from, after }: Rename): void {
  const names = after.startsWith('d ') ? [...items.keys()].filter((name) => isInside(name, to)) : [to];
  for (const name of names) {
    const item = items.get(name);
    if (!item) continue;
    items.delete(name);
    const former = from + name.slice(to.length);
    items.set(former, { ...item, path: former, from: item.from ?? item.path });
  }
}

type Sides = Omit<OpenPair, 'careful' | 'borrowed' | 'reversed' | 'workers' | 'opened' | 'secret' | 'close'>;

/** A pair whose Backup is a folder, which is left as if tandem had never been there. */
function folderPair(sides: Sides, roots: readonly DriveRoot[], readOnly: boolean): OpenPair {
  const pair: OpenPair = {
    ...sides,
    careful: null,
    borrowed: null,
    reversed: false,
    secret: { key: null },
    workers: undefined,
    opened: null,
    close: async () => {
      await pair.workers?.close();
      pair.secret.key?.key.fill(0);
      if (!readOnly) leaveNoTrace(sides.backup.dir);
      for (const root of roots) closeDriveRoot(root);
    },
  };
  return pair;
}

function groupCalled(target: string, ctx: Context): Group | undefined {
  try {
    return getGroup(target, ctx);
  } catch (error) {
    if (error instanceof TandemError && error.code === 'not_found') return undefined;
    throw error;
  }
}

/** A group for a drive that stands alone: nothing is known of it but what the drive's signature says. */
function driveOrigin(drive: DriveInfo, ctx: Context): Origin {
  const time = ctx.now().toISOString();
  const { serial_number, label, total_size } = drive;
  const identity = { serial_number, label, total_size };
  const group: Group = {
    id: drive.group_id ?? drive.drive_uuid ?? drive.mount_path,
    name: label,
    created: time,
    modified: time,
    description: '',
    master_drive: identity,
    backup_drive: identity,
    options: {},
  };
  return { group, known: false, drive, side: drive.role ?? 'backup' };
}

function assertApart(drive: DriveInfo, path: string): void {
  const source = realpathSync(drive.mount_path);
  const below = realpathSync(existingAbove(path)) + path.slice(existingAbove(path).length);
  if (!isInside(below, source)) return;
  throw new TandemError(
    'invalid',
    `The folder ${displayPath(path)} lies on '${displayPath(drive.label)}', which is being restored from.`,
    { hint: 'Give --to a folder on another drive.' },
  );
}

function existingAbove(path: string): string {
  let at = path;
  while (statSync(at, { throwIfNoEntry: false }) === undefined && at !== '/') at = resolve(at, '..');
  return at;
}

/** Takes away what is empty of `.tandem/` in a folder that is no drive. */
function leaveNoTrace(root: Dir): void {
  for (const name of ['partial', 'intent', 'trash', 'operations', '']) {
    const path = name === '' ? '.tandem' : `.tandem/${name}`;
    try {
      if (statAt(root, path)?.kind === 'd' && readdirSync(`${root.path}/${path}`).length === 0) rmdirAt(root, path);
    } catch (error) {
      if (!['ENOTEMPTY', 'ENOENT', 'EIO', 'EROFS'].includes(errnoOf(error) ?? '')) throw error;
    }
  }
}

async function currentItems(root: DriveRoot, traits: Traits, ctx: Context): Promise<Map<string, Lying>> {
  const request = { root: root.dir, subpath: '', stable: traits.stable_ids, mounts: mountsBelow(root.mountPath) };
  const { bytes, unknown } = await scanTree(request, undefined, ctx.signal);
  for (const { path, message } of unknown)
    ctx.emit({ kind: 'warning', message: `${displayPath(path)} cannot be restored: ${message}` });
  const items = new Map<string, Lying>();
  eachRecord(bytes, (view) => {
    const path = bytes.toString('utf8', view.pathStart, view.pathEnd);
    if (!alwaysExcluded(path)) items.set(path, { path, entry: entryAt(bytes, view, path) });
  });
  return items;
}

interface Kept {
  items: Map<string, Lying>;
  /** Paths that the operation made where nothing was. */
  made: string[];
  /** What it renamed, in the order in which it did. */
  moves: readonly Rename[];
  /** By path, how many of them were done when it was worked on. */
  at: ReadonlyMap<string, number>;
}

/** What an operation keeps, under the paths that it had. */
async function keptItems(root: DriveRoot, operation: string, ctx: Context): Promise<Kept> {
  const trash = await listTrash(root.dir, operation, ctx.signal);
  const { changes = [], moves = [] } = readManifest(root.dir, operation) ?? {};
  const renamed = changes.filter(({ version, path }) => version !== undefined && version !== path);
  const items = new Map<string, Lying>();
  for (const [name, entry] of trash) {
    const other = renamed.find(({ version = '' }) => isInside(name, version));
    const path = other ? other.path + name.slice(other.version?.length) : name;
    // A name that another path's version has taken is only told apart by the manifest.
    if (items.has(path) && !other) continue;
    items.set(path, { path, entry, from: `${trashFolder(operation, '')}/${name}` });
  }
  const made = changes.filter(({ change }) => change === 'created').map(({ path }) => path);
  const at = new Map(changes.map(({ path, at: moment = moves.length }) => [path, moment]));
  return { items, made, moves, at };
}

/** Operations that began after a moment, as far as versions or a manifest tell of them here, oldest first. */
async function operationsSince(root: DriveRoot, time: number, ctx: Context): Promise<string[]> {
  const known = new Map((await listOperations({ limit: 'all' }, ctx)).map((one) => [one.uuid, one.start_time]));
  const ends = new Map(
    (await keptOperations(root.dir, ctx.signal)).map(({ operation, time: end }) => [operation, end]),
  );
  const found: { operation: string; start: number }[] = [];
  for (const operation of new Set([...ends.keys(), ...manifestsOn(root.dir)])) {
    const start = known.get(operation) ?? startOf(root, operation);
    found.push({ operation, start: start === undefined ? (ends.get(operation) ?? 0) : Date.parse(start) });
  }
  const since = found.filter(({ start }) => start > time).sort((a, b) => a.start - b.start);
  return since.map(({ operation }) => operation);
}

function startOf(root: DriveRoot, operation: string): string | undefined {
  try {
    return readManifest(root.dir, operation)?.start_time;
  } catch (error) {
    throw new Error(`the manifest of ${operation} cannot be read: ${messageOf(error)}`);
  }
}
