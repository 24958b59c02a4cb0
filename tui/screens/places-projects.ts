/** Forms and questions about projects. */
import { confirmLoss, type Field, type FormValues, fill } from '../dialogs.ts';
import { type PickDrive, pickFolder } from '../picker.ts';
import type { Effect, Overlay } from '../screen.ts';
import type { GroupRow } from './home-rows.ts';
import type { Drive, ProjectRow } from './places-rows.ts';
import { changedWords, command, freeDrives, nameTrouble } from './places-words.ts';

const PLAIN = 'none';

/** @param project undefined: a new one */
export function projectForm(
  project: ProjectRow | undefined,
  groups: readonly GroupRow[],
  drives: readonly Drive[],
): Overlay {
  const parts = project?.parts ?? [];
  const roles = parts.some(({ role }) => role !== null);
  const single = roles ? 'roles' : (parts[0]?.group_id ?? (project ? PLAIN : (groups[0]?.id ?? PLAIN)));
  const before = {
    name: project?.name ?? '',
    description: project?.description ?? '',
    group: single,
    path: project?.path ?? '',
  };
  const partsText = parts
    .map(({ role, group_name, group_id, path }) => partText(role, group_name ?? group_id, path, before.path))
    .join('; ');
  const fields: Field[] = [
    { type: 'text', name: 'name', label: 'Name', value: before.name },
    {
      type: 'text',
      name: 'description',
      label: 'Description',
      value: before.description,
      help: 'Notes; may stay empty',
    },
    {
      type: 'choice',
      name: 'group',
      label: 'Lies on',
      value: single,
      choices: [...groups.map(({ id }) => id), 'roles', PLAIN],
      names: {
        ...Object.fromEntries(groups.map(({ id, name }) => [id, `group ${name}`])),
        roles: 'several groups, by role',
        [PLAIN]: 'no group: a plain folder',
      },
      help: 'The pair of drives on which its folder is',
    },
    {
      type: 'text',
      name: 'path',
      label: 'Folder',
      value: before.path,
      blank: 'the whole drive',
      help: `From the drive's root, for example Projects/Wedding. Ctrl-O chooses on the drive${project ? '' : '; a missing one is made on the Master'}`,
      pick: (value, back) => pickFolder(mastersOf(groups, drives), value, back),
    },
    {
      type: 'text',
      name: 'roles',
      label: 'Roles',
      value: roles ? partsText : '',
      blank: 'only for several groups',
      help: 'ROLE=GROUP:SUBPATH, with ; between them, for example footage=FootageDrives:footage; renders=RenderDrives:out',
    },
  ];
  return fill({
    title: project ? `Project ${project.name}` : 'New project',
    fields,
    check: ({ name, group, roles: given }) => ({
      ...nameTrouble(String(name), 'project'),
      ...(group === 'roles' && String(given).trim() === '' && { roles: 'Say which role lies on which group.' }),
    }),
    save: (values) => saveProject(project, values, { ...before, roles: roles ? partsText : '' }),
  });
}

function partText(role: string | null, group: string, path: string, above: string): string {
  const below = above !== '' && path.startsWith(`${above}/`) ? path.slice(above.length + 1) : path;
  return `${role ?? ''}=${group}${below === '' ? '' : `:${below}`}`;
}

function saveProject(
  project: ProjectRow | undefined,
  values: FormValues,
  before: Readonly<Record<string, string>>,
): Effect[] {
  const { name, description, group, path, roles } = values;
  const moved =
    group !== before['group'] || path !== before['path'] || (group === 'roles' && roles !== before['roles']);
  const place =
    group === 'roles'
      ? String(roles)
          .split(';')
          .flatMap((part) => (part.trim() === '' ? [] : [`--role=${part.trim()}`]))
      : [`--group=${group}`];
  if (!project)
    return [
      command(
        [
          'projects',
          'create',
          String(name),
          `--path=${path}`,
          ...place,
          ...(description === '' ? [] : [`--description=${description}`]),
        ],
        `new project ${name}`,
      ),
    ];
  const words = changedWords({ name: name ?? '', description: description ?? '' }, before);
  // A plain folder that stays one has no group to name, and what was not changed is not judged anew.
  const all = [...words, ...(path === before['path'] ? [] : [`--path=${path}`]), ...(moved ? place : [])];
  if (all.length === 0) return [];
  const back = changedWords({ name: before['name'] ?? '', description: before['description'] ?? '' }, values);
  const verb = ['projects', 'edit', project.id];
  return [
    command([...verb, ...all], `edit of ${project.name}`, {
      ...(!moved && { undo: { label: `edit of ${project.name}`, words: [...verb, ...back] } }),
    }),
  ];
}

/** Where folders can be chosen: connected Masters, by label. */
function mastersOf(groups: readonly GroupRow[], drives: readonly Drive[]): PickDrive[] {
  const masters = new Set(groups.map(({ master_drive }) => master_drive.mount_path));
  return drives.flatMap(({ label, mount_path }) => (masters.has(mount_path) ? [{ label, mount: mount_path }] : []));
}

/** Pairs the drive of a plain project with a second one. */
export function groupForProject({ id, name, path }: ProjectRow, drives: readonly Drive[]): Overlay {
  const others = drives.filter(({ mount_path }) => !`${path}/`.startsWith(`${mount_path}/`));
  return fill({
    title: `Make a group for ${name}`,
    fields: [
      {
        type: 'choice',
        name: 'backup',
        label: 'Backup',
        ...freeDrives(others, 'no free drive is connected'),
        help: `The Master is the drive on which ${path} lies`,
      },
      { type: 'text', name: 'name', label: 'Name', value: '', blank: `${name} drives` },
    ],
    check: ({ backup }): Record<string, string> => (backup === '' ? { backup: 'Plug in the second drive first.' } : {}),
    save: ({ backup, name: given }) => [
      command(
        ['projects', 'create-group', id, `--backup=${backup}`, ...(given === '' ? [] : [`--name=${given}`])],
        `group for ${name}`,
      ),
    ],
  });
}

export function deleteProject({ id, name }: ProjectRow): Overlay {
  return confirmLoss(
    `Delete the project ${name}?`,
    ['What is known of it is removed: its name, folders, groups and options, here and on its drives. Never a file.'],
    'Yes, delete the project',
    [command(['projects', 'delete', id, '--yes'], `deletion of ${name}`)],
  );
}
