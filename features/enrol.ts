/**
 * Projects noted, changed, moved to other groups and forgotten. Where a project is to lie is checked against its drives and
 * against all other projects before anything is written; nothing here moves or deletes a file of the user's.
 */
import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { isAbsolute, join, relative, resolve } from 'node:path';
import type { Context } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import { isoTime } from '../shared/fields.ts';
import { FolderCache } from '../shared/folders.ts';
import { checkName, foldText, quote } from '../shared/named.ts';
import { optionChange } from '../shared/options.ts';
import { baseName, displayPath, parentOf, type RelPath } from '../shared/paths.ts';
import { laterThan } from '../shared/projects-file.ts';
import { closeDriveRoot, openDriveRoot } from '../shared/store.ts';
import { type Dir, mkdirAt } from '../shared/syscalls.ts';
import {
  changeProjects,
  checkHomes,
  gatherProjects,
  homesOf,
  isOnDrive,
  type Project,
  type ProjectPart,
  partsOf,
  pathOnDrives,
  pickProject,
} from './catalog.ts';
import { type DriveInfo, listDrives } from './detect.ts';
import { createGroup, type Group, getGroup, listGroups } from './groups.ts';
import { matchPair } from './pairs.ts';
import { groupOf } from './targets.ts';

/** Where a project lies: on one group, on several by role, or (all left out) in a plain folder of this computer. */
export interface ProjectPlace {
  path?: string | undefined;
  /** Name or id. */
  group?: string | undefined;
  /** `ROLE=GROUP:SUBPATH`, the subpath from the project's path. */
  roles?: readonly string[] | undefined;
}

/**
 * Notes a project, and makes its folders on the connected Masters where they are missing.
 * @returns the project, and the folders that were made
 * @throws TandemError `invalid` for a name that is taken, and a folder that leaves its drive or is another project's.
 */
export async function createProject(
  input: ProjectPlace & { name: string; description?: string | undefined },
  ctx: Context,
): Promise<{ project: Project; made: string[] }> {
  const drives = await listDrives(ctx);
  const now = isoTime(ctx.now());
  const project: Project = {
    id: randomUUID(),
    name: input.name.trim(),
    path: '',
    description: input.description?.trim() ?? '',
    created_at: now,
    modified: now,
    options: {},
  };
  checkName(project.name, listGroups(ctx), 'group');
  placeProject(project, input, drives, ctx);
  await changeProjects(
    ctx,
    (file) => {
      checkName(project.name, file.projects, 'project');
      checkHomes(project, file.projects);
      return { ...file, projects: [...file.projects, project] };
    },
    drives,
  );
  return { project, made: makeFolders(project, drives, ctx) };
}

export interface ProjectChanges extends ProjectPlace {
  name?: string | undefined;
  description?: string | undefined;
}

/** Changes what is known of a project; files stay where they are. @param changes `group: 'none'`: a plain folder. */
export async function updateProject(query: string, changes: ProjectChanges, ctx: Context): Promise<Project> {
  const drives = await listDrives(ctx);
  return editProject(query, ctx, drives, (next, others) => {
    if (changes.name !== undefined) {
      next.name = changes.name.trim();
      checkName(next.name, listGroups(ctx), 'group');
      checkName(next.name, others, 'project', next.id);
    }
    if (changes.description !== undefined) next.description = changes.description.trim();
    if ([changes.path, changes.group, changes.roles].every((one) => one === undefined)) return;
    placeProject(next, changes, drives, ctx);
    checkHomes(next, others);
  });
}

/** Forgets a project, on this computer and on its drives. No file of the user's is touched. */
export async function deleteProject(query: string, ctx: Context): Promise<Project> {
  let gone: Project | undefined;
  await changeProjects(ctx, (file) => {
    gone = pickProject(query, file.projects);
    const { id, modified } = gone;
    const projects = file.projects.filter((one) => one.id !== id);
    return { ...file, projects, deleted: [...file.deleted, { id, modified: laterThan(modified, ctx.now()) }] };
  });
  return gone as unknown as Project;
}

/** Sets `KEY=VALUE` for this project over its groups' options; an empty value lets the group's hold again. */
export async function setProjectOptions(
  query: string,
  assignments: readonly string[],
  preset: string | undefined,
  ctx: Context,
): Promise<{ project: Project; keys: string[]; later: string[]; elsewhere: string[] }> {
  const { keys, later, elsewhere, change } = optionChange(assignments, preset, 'project');
  const project = await editProject(query, ctx, undefined, (next) => {
    next.options = change(next.options);
  });
  return { project, keys, later, elsewhere };
}

/** Pairs the drive that a plain project lies on with a second one, and puts the project on that group. */
export async function createGroupForProject(
  query: string,
  input: { backup: DriveInfo; name?: string | undefined },
  ctx: Context,
): Promise<{ project: Project; group: Group; warnings: string[] }> {
  const project = pickProject(query, await gatherProjects(ctx));
  if (partsOf(project).length > 0)
    throw new TandemError('invalid', `The project ${quote(project.name)} has a group already.`, {
      hint: 'See `tandem projects show`; `tandem projects edit --group` gives it another one.',
    });
  const drives = await listDrives(ctx);
  const master = drives.find(({ mount_path }) => isBelow(project.path, mount_path));
  if (!master)
    throw new TandemError(
      'invalid',
      `The folder '${displayPath(project.path)}' of the project is not on a removable drive.`,
      {
        hint: 'Only what lies on such a drive can have a Master and a Backup; `tandem detect list` shows them.',
      },
    );
  const name = input.name ?? `${project.name} drives`;
  const { group, warnings } = await createGroup({ name, master, backup: input.backup, description: '' }, ctx);
  return { project: await updateProject(project.id, { group: group.id }, ctx), group, warnings };
}

// --- internal ---

function isBelow(path: string, folder: string): boolean {
  const below = relative(folder, resolve(path));
  return below !== '..' && !below.startsWith('../') && !isAbsolute(below);
}

async function editProject(
  query: string,
  ctx: Context,
  drives: readonly DriveInfo[] | undefined,
  change: (next: Project, others: readonly Project[]) => void,
): Promise<Project> {
  let edited: Project | undefined;
  await changeProjects(
    ctx,
    (file) => {
      edited = pickProject(query, file.projects);
      edited.modified = laterThan(edited.modified, ctx.now());
      change(edited, file.projects);
      return file;
    },
    drives,
  );
  return edited as unknown as Project;
}

/** Puts a project where `place` says; what is left out stays as it is. */
function placeProject(project: Project, place: ProjectPlace, drives: readonly DriveInfo[], ctx: Context): void {
  if (place.group !== undefined && place.roles !== undefined)
    throw new TandemError('usage', 'A project has either a group or roles.', {
      hint: 'Give --group or --role, not both.',
    });
  const former = partsOf(project);
  const path = place.path ?? project.path;
  const plain =
    place.group === 'none' || (place.group === undefined && place.roles === undefined && former.length === 0);
  if (plain) {
    project.path = plainPath(project, place, drives, ctx);
    delete project.storage_group_id;
    delete project.storage_groups;
    return;
  }
  if (place.roles !== undefined) {
    const parts = place.roles.map((text) => partNamed(text, ctx));
    const twice = parts.find(({ role }, at) =>
      parts.slice(0, at).some((other) => foldText(other.role) === foldText(role)),
    );
    if (twice)
      throw new TandemError('invalid', `The role ${quote(twice.role)} is named twice.`, {
        hint: 'Each role of a project is one folder on one group.',
      });
    delete project.storage_group_id;
    project.storage_groups = parts;
  } else if (place.group !== undefined) {
    delete project.storage_groups;
    project.storage_group_id = getGroup(place.group, ctx).id;
  }
  const groups = partsOf(project).map(({ group_id }) => groupOf(project, group_id, ctx));
  project.path = pathOnOneOf(path, groups, drives, ctx);
  for (const home of homesOf(project)) {
    const group = groupOf(project, home.group_id, ctx);
    const { master } = matchPair(group, drives, ctx);
    if (master) isOnDrive(master, home.subpath);
  }
}

/** What is absolute lies on a drive of one of the groups. */
function pathOnOneOf(path: string, groups: readonly Group[], drives: readonly DriveInfo[], ctx: Context): string {
  let failure: unknown;
  for (const group of groups) {
    try {
      return pathOnDrives(path, group, drives, ctx);
    } catch (error) {
      failure ??= error;
    }
  }
  throw failure;
}

/** The absolute path of a plain project; one that leaves its group stays on the drive where it is. */
function plainPath(project: Project, { path }: ProjectPlace, drives: readonly DriveInfo[], ctx: Context): string {
  const [home] = homesSafely(project);
  const full = path !== undefined || home === undefined ? resolve(path ?? project.path) : undefined;
  const group = home && listGroups(ctx).find(({ id }) => id === home.group_id);
  const drive = group && matchPair(group, drives, ctx).master;
  const found = full ?? (drive ? join(drive.mount_path, home?.subpath ?? '') : undefined);
  if (found === undefined)
    throw new TandemError('drive_missing', 'The drive that the project lies on is not connected.', {
      hint: 'Plug it in, or say where the folder is with --path.',
    });
  if (statSync(found, { throwIfNoEntry: false })?.isDirectory()) return found;
  throw new TandemError('not_found', `There is no folder '${displayPath(found)}'.`, {
    hint: 'A project without a group is a folder that is there already; give --group for one on a pair of drives.',
  });
}

function homesSafely(project: Project): ReturnType<typeof homesOf> {
  return partsOf(project).length === 0 ? [] : homesOf(project);
}

/** `ROLE=GROUP` or `ROLE=GROUP:SUBPATH`. */
function partNamed(text: string, ctx: Context): ProjectPart {
  const [, role = '', group = '', subpath] = /^([^=]+)=([^:]+)(?::(.*))?$/.exec(text) ?? [];
  if (role.trim() === '')
    throw new TandemError('usage', `'${displayPath(text)}' is not ROLE=GROUP:SUBPATH.`, {
      hint: 'For example --role footage=FootageDrives:footage.',
    });
  return { role: role.trim(), group_id: getGroup(group, ctx).id, subpath: subpath ?? role.trim() };
}

/** Missing folders on connected Masters. */
function makeFolders(project: Project, drives: readonly DriveInfo[], ctx: Context): string[] {
  return homesOf(project).flatMap(({ group_id, subpath }) => {
    const { master } = matchPair(groupOf(project, group_id, ctx), drives, ctx);
    if (!master || master.read_only || isOnDrive(master, subpath)) return [];
    const root = openDriveRoot(master.mount_path, master.label);
    try {
      makeAll(root.dir, subpath);
    } finally {
      closeDriveRoot(root);
    }
    return [join(master.mount_path, subpath)];
  });
}

/** Unlike the folders of tandem's own, others may look into these. */
function makeAll(root: Dir, subpath: RelPath): void {
  const folders = new FolderCache(root);
  const parts = subpath.split('/');
  try {
    for (let count = 1; count <= parts.length; count += 1) {
      const path = parts.slice(0, count).join('/');
      if (!folders.exists(path)) mkdirAt(folders.open(parentOf(path)), baseName(path), 0o777);
    }
  } finally {
    folders.clear();
  }
}
