/**
 * What a command works on. A target is a group, or a project: then one folder on the drives of each of its groups, with
 * the project's options over the group's. A path is understood from the project's folder as well as from the drive's root.
 */
import type { Context } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import { calledSo, foldText, quote } from '../shared/named.ts';
import { flatten, type SparseOptions, unflatten, withDefaults } from '../shared/options.ts';
import { displayPath, isInside, joinPath, type RelPath, relPath } from '../shared/paths.ts';
import { alwaysExcluded } from '../shared/scan.ts';
import { homesOf, knownProjects, type Project } from './catalog.ts';
import { type Group, getGroup, listGroups } from './groups.ts';

/** A folder that both drives of a group have, or should have. */
export interface Target {
  /** With the options that hold here. */
  group: Group;
  /** From the drives' root; `''`: all of it. */
  subpath: RelPath;
  /** The project that the folder belongs to; null: the group itself is meant. */
  project: { id: string; name: string; role: string | null } | null;
}

export interface Choice {
  /** Only this folder. */
  path?: string | undefined;
  /** Only this part of a project. */
  role?: string | undefined;
}

/**
 * The one or, for a project with several roles, the several targets that a name means.
 * @throws TandemError `not_found`, `ambiguous`; `invalid` for a project whose group is gone, or a role that it has not.
 */
export async function targetsOf(query: string, choice: Choice, ctx: Context): Promise<Target[]> {
  const groups = calledSo(query, listGroups(ctx));
  const known = await projectsUnlessSure(groups, query, ctx);
  const projects = calledSo(query, known);
  if (projects.length === 0) return [groupTarget(query, choice, ctx, known)];
  if (projects.length > 1 || groups.length > 0) throw severalFit(query, groups, projects);
  return projectTargets(projects[0] as Project, choice, ctx);
}

/** Of a command that works on one folder alone. @throws TandemError `usage` when a role has to be named. */
export async function targetOf(query: string, choice: Choice, ctx: Context): Promise<Target> {
  const [target, ...others] = await targetsOf(query, choice, ctx);
  if (target && others.length === 0) return target;
  const roles = [target, ...others].map((one) => displayPath(one?.project?.role ?? '')).join(', ');
  throw new TandemError('usage', `The project '${displayPath(query)}' has several roles: ${roles}.`, {
    hint: 'Say which one is meant with --role.',
  });
}

export function projectTargets(project: Project, { path, role }: Choice, ctx: Context): Target[] {
  const homes = homesOf(project);
  if (homes.length === 0)
    throw new TandemError(
      'invalid',
      `The project ${quote(project.name)} is a plain folder without a group, so there is nothing to keep in step.`,
      {
        hint: 'Give it drives with `tandem projects create-group`, or a group with `tandem projects edit --group`.',
      },
    );
  const chosen = homes.filter((home) => role === undefined || foldText(home.role ?? '') === foldText(role));
  if (chosen.length === 0)
    throw noSuchRole(
      project,
      role ?? '',
      homes.flatMap((home) => home.role ?? []),
    );
  if (path !== undefined && chosen.length > 1)
    throw new TandemError(
      'usage',
      `--path means a folder of one role, and the project ${quote(project.name)} has ${homes.length}.`,
      {
        hint: 'Say which one is meant with --role.',
      },
    );
  return chosen.map((home) => {
    const group = groupOf(project, home.group_id, ctx);
    const subpath = path === undefined ? home.subpath : pathWithin(path, home.subpath);
    const named = { id: project.id, name: project.name, role: home.role };
    return { group: { ...group, options: overlaid(group.options, project.options) }, subpath, project: named };
  });
}

/** @throws TandemError `invalid` when this computer does not know the group (any more). */
export function groupOf(project: Project, id: string, ctx: Context): Group {
  const group = listGroups(ctx).find((one) => one.id === id);
  if (group) return group;
  throw new TandemError(
    'invalid',
    `The group ${displayPath(id)} of the project ${quote(project.name)} is not known here.`,
    {
      hint: 'Plug in its drives and take it over with `tandem groups adopt`, or give the project another one with `tandem projects edit --group`.',
    },
  );
}

/** All of a group's drives. */
export function wholeOf(group: Group): Target {
  return { group, subpath: '' as RelPath, project: null };
}

/** A path that a user gives for a folder of a target: as it is from the drive's root, else from the target's folder. */
export function pathWithin(text: string, home: RelPath): RelPath {
  const path = relPath(text);
  const full = home === '' || path === '' || isInside(path, home) ? path : joinPath(home, path);
  if (!alwaysExcluded(full)) return full === '' ? home : full;
  throw new TandemError('invalid', `'${displayPath(full)}' is never synced: it belongs to tandem or to the system.`, {
    hint: 'Choose another folder.',
  });
}

export function targetName({ group, project }: Target): string {
  if (project === null) return group.name;
  return project.role === null ? project.name : `${project.name} (${project.role})`;
}

/** The nearer options over the farther ones, key by key. */
export function overlaid(...layers: readonly SparseOptions[]): SparseOptions {
  return unflatten(Object.assign({}, ...layers.map(flatten)) as Record<string, unknown>);
}

/** Where the value of an option comes from. */
export type OptionSource = 'project' | 'group' | 'default';

/** Every option with its value and where that comes from; `group` null: of a plain folder. */
export function optionSources(
  project: SparseOptions,
  group: SparseOptions | null,
): { key: string; value: unknown; source: OptionSource }[] {
  const own = flatten(project);
  const theirs = flatten(group ?? {});
  return Object.entries(flatten(withDefaults(overlaid(group ?? {}, project)))).map(([key, value]) => {
    return { key, value, source: key in own ? 'project' : key in theirs ? 'group' : 'default' };
  });
}

// --- internal ---

/** A group's name needs no look at the drives, unless a project that was seen here is called so too. */
async function projectsUnlessSure(groups: readonly Group[], query: string, ctx: Context): Promise<Project[]> {
  if (groups.length === 0) return knownProjects(ctx);
  return calledSo(query, await knownProjects(ctx, []));
}

function groupTarget(query: string, { path, role }: Choice, ctx: Context, projects: readonly Project[]): Target {
  let group: Group;
  try {
    group = getGroup(query, ctx);
  } catch (error) {
    if (!(error instanceof TandemError) || error.code !== 'not_found' || projects.length === 0) throw error;
    throw new TandemError('not_found', `No group or project is called '${displayPath(query)}'.`, {
      hint: 'See `tandem groups list` and `tandem projects list`.',
    });
  }
  if (role !== undefined)
    throw new TandemError('usage', `--role is for projects, and ${quote(group.name)} is a group.`, {
      hint: 'Leave --role out, or name the project.',
    });
  return { group, subpath: path === undefined ? ('' as RelPath) : pathWithin(path, '' as RelPath), project: null };
}

function severalFit(query: string, groups: readonly Group[], projects: readonly Project[]): TandemError {
  const names = [
    ...groups.map(({ name, id }) => `the group ${quote(name)} (${displayPath(id)})`),
    ...projects.map(({ name, id }) => `the project ${quote(name)} (${displayPath(id)})`),
  ];
  return new TandemError('ambiguous', `'${displayPath(query)}' could be ${names.join(' and ')}.`, {
    hint: 'Give the id of the one that is meant, or rename one of them.',
  });
}

function noSuchRole(project: Project, role: string, roles: readonly string[]): TandemError {
  const known =
    roles.length > 0
      ? `Its roles are ${roles.map(displayPath).join(', ')}.`
      : 'It has one folder and no roles: leave --role out.';
  return new TandemError('not_found', `The project ${quote(project.name)} has no role '${displayPath(role)}'.`, {
    hint: known,
  });
}
