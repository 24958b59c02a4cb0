/**
 * Which projects there are: those that this computer has seen, and those that the connected drives carry. Of two states
 * the later one counts, and what is changed is written to every connected drive that the project lives on; a drive that
 * is away gets it the next time. Where a project lies is decided here too, and that no two of them lie in each other.
 */
import { lstatSync, readdirSync } from 'node:fs';
import { isAbsolute, join, relative, resolve } from 'node:path';
import type { Context } from '../shared/context.ts';
import { messageOf, TandemError } from '../shared/errors.ts';
import { foldText, quote } from '../shared/named.ts';
import { displayPath, isInside, joinPath, type RelPath, relPath } from '../shared/paths.ts';
import {
  carriedProjects,
  editProjects,
  mergeProjects,
  type Project,
  type ProjectsFile,
  partsOf,
  readProjects,
  writeCarried,
} from '../shared/projects-file.ts';
import { alwaysExcluded } from '../shared/scan.ts';
import { type DriveInfo, listDrives } from './detect.ts';
import { type Group, listGroups } from './groups.ts';
import { matchPair } from './pairs.ts';

export { type Project, type ProjectPart, partsOf, pickProject } from '../shared/projects-file.ts';

/** Projects by this computer and its connected drives; writes nothing. */
export async function knownProjects(ctx: Context, drives?: readonly DriveInfo[]): Promise<Project[]> {
  return gathered(readProjects(ctx), drives ?? (await listDrives(ctx)), ctx).projects;
}

/** The same, remembered on this computer; the drives are only read. */
export async function gatherProjects(ctx: Context, connected?: readonly DriveInfo[]): Promise<Project[]> {
  const drives = connected ?? (await listDrives(ctx));
  const own = readProjects(ctx);
  const file = gathered(own, drives, ctx);
  const news = JSON.stringify([file.projects, file.deleted]) !== JSON.stringify([own.projects, own.deleted]);
  return news ? (await editProjects(ctx, (now) => gathered(now, drives, ctx))).projects : file.projects;
}

/** Brings every connected drive that a project lives on to what is known: one that was away when it changed. */
export async function carryProjects(ctx: Context): Promise<void> {
  const drives = await listDrives(ctx);
  await gatherProjects(ctx, drives);
  carryAll(gathered(readProjects(ctx), drives, ctx), drives, ctx);
}

/**
 * Changes what this computer and the connected drives know.
 * @param change gets all that is known.
 */
export async function changeProjects(
  ctx: Context,
  change: (file: ProjectsFile) => ProjectsFile,
  connected?: readonly DriveInfo[],
): Promise<Project[]> {
  const drives = connected ?? (await listDrives(ctx));
  const file = await editProjects(ctx, (own) => change(gathered(own, drives, ctx)));
  carryAll(file, drives, ctx);
  return file.projects;
}

/** One folder that is kept in step: on a group's drives, from their root. */
export interface Home {
  role: string | null;
  group_id: string;
  subpath: RelPath;
}

/**
 * Where a project lies on its groups' drives; empty for one without a group.
 * @throws TandemError `invalid` for a path that would lead off a drive, or that no drive can hold.
 */
export function homesOf(project: Project): Home[] {
  return partsOf(project).map(({ role, group_id, subpath }) => {
    const below = subpath === '' ? '' : relPath(subpath);
    const path =
      project.path === '' ? below : below === '' ? relPath(project.path) : joinPath(relPath(project.path), below);
    return { role, group_id, subpath: path as RelPath };
  });
}

/**
 * A path as a user gives it, from the root of the group's drives: what is absolute has to lie on one of them.
 * @throws TandemError `invalid` for a path that is not on the drives, leaves them, or belongs to tandem or the system.
 */
export function pathOnDrives(text: string, group: Group, drives: readonly DriveInfo[], ctx: Context): RelPath {
  const windows = WINDOWS.exec(text);
  const path = windows
    ? relPath((windows[1] ?? '').replaceAll('\\', '/'))
    : isAbsolute(text)
      ? belowMount(resolve(text), group, drives, ctx)
      : relPath(text.replace(/^\.(\/|$)/, ''));
  if (path !== '' && alwaysExcluded(path))
    throw new TandemError('invalid', `'${displayPath(path)}' is never synced: it belongs to tandem or to the system.`, {
      hint: 'Choose another folder.',
    });
  return path;
}

/** @throws TandemError `invalid` when the project has no folder of its own: another one's lies in it, or it in another's. */
export function checkHomes(project: Project, others: readonly Project[]): void {
  const own = homesOf(project);
  const clash = (a: Home, b: Home): boolean =>
    a.group_id === b.group_id &&
    (isInside(foldText(a.subpath), foldText(b.subpath)) || isInside(foldText(b.subpath), foldText(a.subpath)));
  own.forEach((one, index) => {
    const twin = own.slice(index + 1).find((other) => clash(one, other));
    if (twin)
      throw new TandemError(
        'invalid',
        `The roles ${quote(one.role ?? '')} and ${quote(twin.role ?? '')} lie in one another: '${displayPath(one.subpath)}' and '${displayPath(twin.subpath)}'.`,
        {
          hint: 'Give each role a folder of its own.',
        },
      );
  });
  for (const other of others.filter(({ id }) => id !== project.id)) {
    const [mine, theirs] = overlap(project, own, other, clash);
    if (mine === undefined) continue;
    throw new TandemError(
      'invalid',
      `'${displayPath(mine)}' and '${displayPath(theirs ?? '')}' of the project ${quote(other.name)} lie in one another.`,
      {
        hint: 'A project has a folder of its own; choose another one, or delete the other project (no file is touched).',
      },
    );
  }
}

/**
 * Whether the folder is on the drive.
 * @throws TandemError `invalid` when a link or something that is no folder stands in its place or above it.
 */
export function isOnDrive(drive: DriveInfo, subpath: RelPath): boolean {
  const parts = subpath === '' ? [] : subpath.split('/');
  for (let count = 1; count <= parts.length; count += 1) {
    const path = parts.slice(0, count).join('/');
    const stat = lstatSync(join(drive.mount_path, path), { throwIfNoEntry: false });
    if (stat === undefined) return false;
    if (stat.isDirectory()) continue;
    const what = stat.isSymbolicLink() ? 'a link, which could lead off the drive' : 'no folder';
    throw new TandemError('invalid', `'${displayPath(path)}' on ${quote(drive.label)} is ${what}.`, {
      hint: 'A project lies in a folder of the drive itself.',
    });
  }
  return true;
}

/**
 * Names of the folders in a folder of a drive, sorted; links are not followed, and what is never synced is left out.
 * @param limit names at most; more than that are told by `more`.
 * @throws TandemError `invalid` for a path that leaves the drive or leads through a link; `not_found`.
 */
export function listFolders(drive: DriveInfo, subpath: string, limit = 5000): { names: string[]; more: boolean } {
  const path = relPath(subpath);
  if (!isOnDrive(drive, path))
    throw new TandemError('not_found', `There is no folder '${displayPath(path)}' on ${quote(drive.label)}.`, {
      hint: 'It may have been renamed; look in the folder above it.',
    });
  const names = readdirSync(join(drive.mount_path, path), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !alwaysExcluded(joinPath(path, entry.name)))
    .map(({ name }) => name)
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  return { names: names.slice(0, limit), more: names.length > limit };
}

// --- internal ---

function gathered(own: ProjectsFile, drives: readonly DriveInfo[], ctx: Context): ProjectsFile {
  const { projects, ...rest } = mergeProjects([own, ...carried(drives, ctx)]);
  return { ...rest, projects: projects.map((project) => settled(project, drives, ctx)) };
}

function carryAll(file: ProjectsFile, drives: readonly DriveInfo[], ctx: Context): void {
  const groups = new Map(listGroups(ctx).map((group) => [group.id, group]));
  for (const drive of drives) {
    const group = groups.get(drive.group_id ?? '');
    const ours =
      group && [group.master_drive, group.backup_drive].some(({ drive_uuid }) => drive_uuid === drive.drive_uuid);
    if (ours && !drive.read_only) carry(drive, group, file, ctx);
  }
}

/** A path with which another program, or a person, named a place on one computer becomes one from the drive's root. */
function settled(project: Project, drives: readonly DriveInfo[], ctx: Context): Project {
  const [first] = partsOf(project);
  const group = first && listGroups(ctx).find(({ id }) => id === first.group_id);
  if (!group || !(isAbsolute(project.path) || WINDOWS.test(project.path))) return project;
  try {
    return { ...project, path: pathOnDrives(project.path, group, drives, ctx) };
  } catch {
    return project;
  }
}

const WINDOWS = /^[A-Za-z]:[\\/]+(.*)$/;

function overlap(
  project: Project,
  own: readonly Home[],
  other: Project,
  clash: (a: Home, b: Home) => boolean,
): [mine?: string, theirs?: string] {
  if (own.length === 0) {
    if (partsOf(other).length > 0) return [];
    const [mine, theirs] = [resolve(project.path), resolve(other.path)];
    const apart = relative(mine, theirs).startsWith('..') && relative(theirs, mine).startsWith('..');
    return apart ? [] : [mine, theirs];
  }
  for (const mine of own) {
    const theirs = safeHomes(other).find((one) => clash(mine, one));
    if (theirs) return [mine.subpath, theirs.subpath];
  }
  return [];
}

/** A project that came with a drive may lie nowhere. */
function safeHomes(project: Project): Home[] {
  try {
    return homesOf(project);
  } catch {
    return [];
  }
}

function carried(drives: readonly DriveInfo[], ctx: Context): ProjectsFile[] {
  return drives.flatMap((drive) => {
    if (drive.drive_uuid === null) return [];
    try {
      const file = carriedProjects(drive.mount_path, ctx);
      // A drive speaks for what lives on it, and for nothing else.
      const own = ({ group_id }: { group_id: string }): boolean => group_id === drive.group_id;
      return file ? { ...file, projects: file.projects.filter((project) => partsOf(project).some(own)) } : [];
    } catch (error) {
      ctx.emit({ kind: 'warning', message: unusable(drive, error) });
      return [];
    }
  });
}

function carry(drive: DriveInfo, group: Group, file: ProjectsFile, ctx: Context): void {
  const projects = file.projects.filter((one) => partsOf(one).some(({ group_id }) => group_id === group.id));
  try {
    const there = carriedProjects(drive.mount_path, ctx);
    if (there === null && projects.length === 0) return;
    writeCarried(drive.mount_path, { projects, deleted: file.deleted });
  } catch (error) {
    ctx.emit({ kind: 'warning', message: unusable(drive, error) });
  }
}

function unusable(drive: DriveInfo, error: unknown): string {
  return `The projects on the drive ${quote(drive.label)} cannot be used: ${messageOf(error)}. Look at .tandem/projects.json there; it was left as it is.`;
}

function belowMount(path: string, group: Group, drives: readonly DriveInfo[], ctx: Context): RelPath {
  const { master, backup } = matchPair(group, drives, ctx);
  for (const drive of [master, backup]) {
    if (!drive) continue;
    const below = relative(drive.mount_path, path);
    if (below === '') return '' as RelPath;
    if (below !== '..' && !below.startsWith('../') && !isAbsolute(below)) return relPath(below);
  }
  const where = [master, backup].flatMap((drive) => (drive ? [displayPath(drive.mount_path)] : []));
  throw new TandemError('invalid', `'${displayPath(path)}' is not on a drive of group ${quote(group.name)}.`, {
    hint:
      where.length > 0
        ? `Its drives are at ${where.join(' and ')}; give a folder there, or its path from the drive's root.`
        : "Neither of its drives is connected; give the folder's path from the drive's root.",
  });
}
