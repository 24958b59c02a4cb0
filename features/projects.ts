import { statSync } from 'node:fs';
import { join } from 'node:path';
import { type Context, confirmed } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import {
  type Column,
  defineCommand,
  definePanel,
  type Output,
  type Paint,
  renderTable,
  runIfMain,
} from '../shared/feature.ts';
import { formatTime } from '../shared/format.ts';
import { quote, shellWord } from '../shared/named.ts';
import { flatten, PRESETS, showValue } from '../shared/options.ts';
import { displayPath } from '../shared/paths.ts';
import { disguiseText, isDisguised, type Storage, storageOf } from '../shared/storage.ts';
import { gatherProjects, homesOf, isOnDrive, knownProjects, type Project, partsOf, pickProject } from './catalog.ts';
import { type DriveInfo, findDrive, listDrives } from './detect.ts';
import { type Group, listGroups, type Role, resolveDrive } from './groups.ts';
import { matchPair } from './pairs.ts';
import { groupOf, type OptionSource, optionSources } from './targets.ts';

export type { Project, ProjectPart } from './catalog.ts';
export {
  createGroupForProject,
  createProject,
  deleteProject,
  type ProjectChanges,
  type ProjectPlace,
  setProjectOptions,
  updateProject,
} from './enrol.ts';

import {
  createGroupForProject,
  createProject,
  deleteProject,
  type ProjectChanges,
  setProjectOptions,
  updateProject,
} from './enrol.ts';

export type ProjectStatus = 'connected' | 'partial' | 'disconnected' | 'folder' | 'unknown_group';

export interface PartRow {
  role: string | null;
  group_id: string;
  /** Null when this computer does not know the group. */
  group_name: string | null;
  /** From the drive's root. */
  path: string;
  status: ProjectStatus;
}

export interface ProjectRow extends Project {
  /** The worst of its parts. */
  status: ProjectStatus;
  parts: PartRow[];
}

/** All projects that this computer or a connected drive knows, in the order in which they became known. */
export async function listProjects(ctx: Context): Promise<ProjectRow[]> {
  const drives = await listDrives(ctx);
  const projects = await gatherProjects(ctx, drives);
  return rowsOf(projects, drives, ctx);
}

/** The same without remembering what the drives tell; writes nothing. */
export async function readProjectRows(ctx: Context): Promise<ProjectRow[]> {
  const drives = await listDrives(ctx);
  return rowsOf(await knownProjects(ctx, drives), drives, ctx);
}

/** Options of each role, which differ where the groups do, with the place that each value comes from. */
export function projectOptions(project: Project, ctx: Context): { role: string | null; options: OptionRow[] }[] {
  const parts = partsOf(project);
  if (parts.length === 0) return [{ role: null, options: optionSources(project.options, null) }];
  return parts.map(({ role, group_id }) => {
    const group = listGroups(ctx).find(({ id }) => id === group_id);
    return { role, options: optionSources(project.options, group?.options ?? null) };
  });
}

/** @throws TandemError `not_found` with a guess, `ambiguous` with every project that fits. */
export async function getProject(query: string, ctx: Context): Promise<Project> {
  return pickProject(query, await gatherProjects(ctx));
}

export interface OptionRow {
  key: string;
  value: unknown;
  source: OptionSource;
}

export interface OpenPart {
  role: string | null;
  group_id: string | null;
  /** Of the folder to work in. */
  path: string;
  /** Null: a plain folder. */
  drive: Role | null;
  /** `fallback`: the Backup, whose edits come back as conflicts or are brought home with a restore. */
  access: 'primary' | 'fallback';
  /** On a Backup whose files are compressed or sealed: nothing there can be worked with as it is. */
  storage?: Storage;
}

/**
 * Where to work, for each role: on the Master when it is connected, else, if that is wanted, on the Backup.
 * @throws TandemError `drive_missing` "No drives available …", also when the answer is No; `not_found` for a folder that is not there.
 */
export async function openProject(
  query: string,
  choice: { use?: 'use-backup' | 'no-backup' | undefined; role?: string | undefined },
  ctx: Context,
): Promise<OpenPart[]> {
  const project = await getProject(query, ctx);
  const homes = homesOf(project).filter(({ role }) => choice.role === undefined || role === choice.role);
  if (partsOf(project).length === 0) return [plainPart(project)];
  if (homes.length === 0)
    throw new TandemError(
      'not_found',
      `The project ${quote(project.name)} has no role '${displayPath(choice.role ?? '')}'.`,
      {
        hint: `Its roles are ${partsOf(project)
          .map(({ role }) => displayPath(role ?? '(none)'))
          .join(', ')}.`,
      },
    );
  const parts: OpenPart[] = [];
  for (const { role, group_id, subpath } of homes) {
    const group = groupOf(project, group_id, ctx);
    const { path, drive } = await resolveDrive(group.id, ctx, choice.use);
    const here = (await listDrives(ctx)).find(({ mount_path }) => mount_path === path);
    if (here && !isOnDrive(here, subpath))
      throw new TandemError(
        'not_found',
        `The folder '${displayPath(subpath)}' of the project ${quote(project.name)} is not on ${quote(here.label)}.`,
        {
          hint:
            drive === 'backup'
              ? 'It was never synced to this drive.'
              : 'If it was moved, say where it is with `tandem projects edit --path`.',
        },
      );
    const access = drive === 'master' ? 'primary' : 'fallback';
    const storage = drive === 'backup' ? await storageOf(group, ctx) : null;
    const disguised = storage !== null && isDisguised(storage) ? { storage } : {};
    parts.push({ role, group_id, path: join(path, subpath), drive, access, ...disguised });
  }
  return parts;
}

// --- internal ---

function plainPart(project: Project): OpenPart {
  if (statSync(project.path, { throwIfNoEntry: false })?.isDirectory())
    return { role: null, group_id: null, path: project.path, drive: null, access: 'primary' };
  throw new TandemError(
    'not_found',
    `The folder '${displayPath(project.path)}' of the project ${quote(project.name)} is not there.`,
    {
      hint: 'If its disk is away, connect it; if it was moved, say where it is with `tandem projects edit --path`.',
    },
  );
}

const WORST: readonly ProjectStatus[] = ['unknown_group', 'disconnected', 'partial', 'connected'];

function rowsOf(projects: readonly Project[], drives: readonly DriveInfo[], ctx: Context): ProjectRow[] {
  const groups = new Map(listGroups(ctx).map((group) => [group.id, group]));
  const states = new Map<string, ProjectStatus>();
  const stateOf = (group: Group): ProjectStatus => {
    const { master, backup } = matchPair(group, drives, ctx);
    return master && backup ? 'connected' : master || backup ? 'partial' : 'disconnected';
  };
  for (const [id, group] of groups) states.set(id, stateOf(group));
  return projects.map((project) => {
    const parts = partsOf(project).map(({ role, group_id, subpath }): PartRow => {
      const path = [project.path, subpath].filter((part) => part !== '').join('/');
      const status = states.get(group_id) ?? 'unknown_group';
      return { role, group_id, group_name: groups.get(group_id)?.name ?? null, path, status };
    });
    const status = WORST.find((one) => parts.some((part) => part.status === one)) ?? 'folder';
    return { ...project, status, parts };
  });
}

const STATUS = {
  connected: { text: '✓ Both Connected', style: 'good' },
  partial: { text: '⚠ Partial', style: 'warn' },
  disconnected: { text: '✗ Disconnected', style: 'bad' },
  unknown_group: { text: '? Group not known', style: 'bad' },
  folder: { text: 'plain folder', style: 'dim' },
} as const;

const groupsText = ({ parts }: ProjectRow): string =>
  parts
    .map(({ role, group_name, group_id }) => {
      const name = displayPath(group_name ?? group_id.slice(0, 8));
      return role === null ? name : `${displayPath(role)}: ${name}`;
    })
    .join(', ');

const COLUMNS: readonly Column<ProjectRow>[] = [
  { title: 'Name', value: ({ name }) => displayPath(name) },
  { title: 'Status', value: ({ status }) => STATUS[status].text, style: ({ status }) => STATUS[status].style },
  { title: 'Groups', value: groupsText },
  { title: 'Path', value: ({ path }) => displayPath(path) },
  { title: 'Modified', value: ({ modified }) => formatTime(new Date(modified)), style: () => 'dim' },
];

const EMPTY = 'No projects yet. Make one with `tandem projects create NAME --path FOLDER --group GROUP`.';

function optionLines(rows: readonly { role: string | null; options: readonly OptionRow[] }[], paint: Paint): string[] {
  return rows.flatMap(({ role, options }) => [
    paint('bold', role === null ? 'Options' : `Options of ${displayPath(role)}`),
    ...options.map(({ key, value, source }) => {
      const line = `  ${key} = ${displayPath(showValue(value))} (${source})`;
      return source === 'default' ? paint('dim', line) : line;
    }),
  ]);
}

async function showOutput(query: string, ctx: Context): Promise<Output> {
  const drives = await listDrives(ctx);
  const project = pickProject(query, await gatherProjects(ctx, drives));
  const [row] = rowsOf([project], drives, ctx) as [ProjectRow];
  const options = projectOptions(project, ctx);
  const text = (paint: Paint): string =>
    [
      `${paint('bold', displayPath(row.name))}  ${paint(STATUS[row.status].style, STATUS[row.status].text)}`,
      ...(row.description === '' ? [] : [displayPath(row.description)]),
      `id        ${displayPath(row.id)}`,
      `path      ${displayPath(row.path)}`,
      ...row.parts.map(
        ({ role, group_name, group_id, path, status }) =>
          `${displayPath(role ?? 'group').padEnd(9)} ${displayPath(group_name ?? group_id)}: ${displayPath(path === '' ? 'the whole drive' : path)}  ${paint(STATUS[status].style, STATUS[status].text)}`,
      ),
      `created   ${formatTime(new Date(row.created_at))}`,
      `modified  ${formatTime(new Date(row.modified))}`,
      ...optionLines(options, paint),
    ].join('\n');
  return { json: { ...row, effective_options: options }, text };
}

function openLines(query: string, parts: readonly OpenPart[], paint: Paint): string {
  return parts
    .map(({ role, path, drive, access, storage }) => {
      const name = role === null ? '' : `${displayPath(role)}  `;
      if (access === 'primary')
        return `${name}${displayPath(path)}${drive === null ? '' : `  ${paint('master', 'Master')}`}`;
      if (storage)
        return `${name}${displayPath(path)}  ${paint('warn', '⚠ Backup')}: its files are ${disguiseText(storage)} there; plain copies come with: tandem restore run ${shellWord(query)} --to FOLDER`;
      return `${name}${displayPath(path)}  ${paint('warn', '⚠ Backup')}: what you change here comes back as conflicts; \`tandem restore run\` brings it home`;
    })
    .join('\n');
}

// --- command ---

const PROJECT = { name: 'project', description: 'id, unique start of an id, or name', complete: 'project' } as const;
const PLACE = [
  { flags: '--path <folder>', description: "folder, from the drives' root or in full", complete: 'path' },
  {
    flags: '--group <group>',
    description: 'group whose drives it lies on; none for a plain folder',
    complete: 'group',
  },
  {
    flags: '--role <part>',
    description: 'ROLE=GROUP:SUBPATH, a part below --path with a group of its own',
    repeat: true,
  },
] as const;

export const command = defineCommand({
  name: 'projects',
  summary: 'Named folders on one or several groups of drives',
  verbs: {
    list: {
      summary: 'all projects, with the status of their drives',
      examples: ['tandem projects list', 'tandem projects list --json'],
      run: async (_input, ctx) => {
        const rows = await listProjects(ctx);
        return { json: rows, text: (paint) => (rows.length > 0 ? renderTable(rows, COLUMNS, paint) : EMPTY) };
      },
    },
    show: {
      summary: 'one project: folders, drives, options and where their values come from',
      examples: ['tandem projects show Wedding'],
      args: [PROJECT],
      run: ({ args }, ctx) => showOutput(args['project'], ctx),
    },
    create: {
      summary: 'note a project; a folder that is missing on the Master is made',
      examples: [
        'tandem projects create Wedding --path Projects/Wedding --group Archive',
        'tandem projects create Film --path Film --role footage=A:footage --role renders=B:renders',
        'tandem projects create Notes --path ~/Notes',
      ],
      args: [{ name: 'name', description: 'name of the project' }],
      options: [...PLACE, { flags: '--description <text>', description: 'notes' }],
      run: async ({ args, options }, ctx) => {
        const path = options['path'] ?? (await ctx.prompts.input('Folder of the project:', '--path FOLDER'));
        const { group, role: roles, description } = options;
        const { project, made } = await createProject({ name: args['name'], path, group, roles, description }, ctx);
        return {
          json: { ...project, made },
          text: () =>
            [
              `Created ${quote(project.name)}: ${displayPath(project.path === '' ? 'the whole drive' : project.path)}.`,
              ...made.map((folder) => `Made ${displayPath(folder)}.`),
            ].join('\n'),
        };
      },
    },
    edit: {
      summary: 'change name, notes, folder or groups; no file is moved',
      examples: [
        'tandem projects edit Wedding --name "Wedding Meyer"',
        'tandem projects edit Wedding --group Archive2',
      ],
      args: [PROJECT],
      options: [
        { flags: '--name <name>', description: 'new name' },
        { flags: '--description <text>', description: 'new notes' },
        ...PLACE,
      ],
      run: async ({ args, options }, ctx) => {
        const { name, description, path, group, role: roles } = options;
        const changes: ProjectChanges = { name, description, path, group, roles };
        if (Object.values(changes).every((change) => change === undefined))
          throw new TandemError('usage', 'Nothing to change is given.', {
            hint: 'Give --name, --description, --path, --group or --role.',
          });
        const project = await updateProject(args['project'], changes, ctx);
        return { json: project, text: () => `Changed ${quote(project.name)}; no file was moved.` };
      },
    },
    delete: {
      summary: 'forget a project; no file is touched',
      examples: ['tandem projects delete Wedding'],
      args: [PROJECT],
      run: async ({ args }, ctx) => {
        const { id, name } = await getProject(args['project'], ctx);
        await confirmed(
          `Delete the project ${quote(name)}? Only what is known of it is removed; files are NOT deleted.`,
          ctx,
        );
        await deleteProject(id, ctx);
        return { json: { id, name }, text: () => `Deleted ${quote(name)}; no file was touched.` };
      },
    },
    open: {
      summary: 'print the folder to work in, for each role: on the Master, else (if wanted) on the Backup',
      examples: ['tandem projects open Wedding', 'tandem projects open Film --role footage --use-backup --json'],
      args: [PROJECT],
      options: [
        { flags: '--role <role>', description: 'only this part' },
        { flags: '--use-backup', description: 'take the Backup when the Master is away' },
        { flags: '--no-backup', description: 'never take the Backup' },
      ],
      run: async ({ args, options }, ctx) => {
        const use = options['useBackup'] ? 'use-backup' : options['backup'] === false ? 'no-backup' : undefined;
        const parts = await openProject(args['project'], { use, role: options['role'] }, ctx);
        return { json: parts, text: (paint) => openLines(args['project'], parts, paint) };
      },
    },
    'create-group': {
      summary: 'pair the drive that a plain project lies on with a second drive',
      examples: ['tandem projects create-group Wedding --backup PhotoBackup'],
      args: [PROJECT],
      options: [
        { flags: '--backup <drive>', description: 'the second drive', complete: 'drive' },
        { flags: '--name <name>', description: 'name of the group' },
      ],
      run: async ({ args, options }, ctx) => {
        const wanted =
          options['backup'] ?? (await ctx.prompts.input('Drive that becomes the Backup:', '--backup DRIVE'));
        const backup = findDrive(wanted, await listDrives(ctx));
        const { project, group, warnings } = await createGroupForProject(
          args['project'],
          { backup, name: options['name'] },
          ctx,
        );
        for (const message of warnings) ctx.emit({ kind: 'warning', message });
        return {
          json: { ...project, group, warnings },
          text: () =>
            `Created the group ${quote(group.name)}: ${quote(group.master_drive.label)} → ${quote(group.backup_drive.label)}. The project ${quote(project.name)} lies on it now.`,
        };
      },
    },
    set: {
      summary: "set options of a project over its group's; KEY= lets the group's hold again",
      examples: ['tandem projects set Wedding verify_checksums=checksum', 'tandem projects set Wedding --preset ssd'],
      args: [PROJECT, { name: 'assignment', description: 'KEY=VALUE', optional: true, variadic: true }],
      options: [{ flags: '--preset <name>', description: Object.keys(PRESETS).join(', ') }],
      run: async ({ args, options }, ctx) => {
        const assignments: string[] = args['assignment'] ?? [];
        const { project, keys, later, elsewhere } = await setProjectOptions(
          args['project'],
          assignments,
          options['preset'],
          ctx,
        );
        const changed = projectOptions(project, ctx).map(({ role, options: all }) => {
          return { role, options: all.filter(({ key }) => keys.includes(key)) };
        });
        const lines = (paint: Paint): string[] => optionLines(changed, paint);
        const rest = [
          ...(later.length > 0 ? [`Arrives with a later version: ${later.join(', ')}`] : []),
          ...(elsewhere.length > 0 ? [`Left out, since it belongs to the group: ${elsewhere.join(', ')}`] : []),
        ];
        return {
          json: { id: project.id, name: project.name, options: flatten(project.options), changed, later, elsewhere },
          text: (paint) => [...lines(paint), ...rest].join('\n'),
        };
      },
    },
  },
});

export const panel = definePanel<ProjectRow>({
  title: 'Projects',
  rows: listProjects,
  columns: COLUMNS,
  empty: EMPTY,
  actions: [
    { key: 's', label: 'sync', disabled: notSyncable, command: ({ id }) => ['sync', 'run', id] },
    { key: 'D', label: 'delete', command: ({ id }) => ['projects', 'delete', id] },
  ],
});

function notSyncable({ status }: ProjectRow): string | undefined {
  return status === 'connected' ? undefined : STATUS[status].text;
}

runIfMain(import.meta, command);
