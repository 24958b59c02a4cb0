/** Questions about groups, projects, drives and their options; answered in the reader, like all of reads.ts. */
import { knownProjects, listFolders, type Project, pickProject } from '../../features/catalog.ts';
import { type DriveInfo, defaultTraits, listDrives, readSignature, type Traits } from '../../features/detect.ts';
import { getGroup, listGroups } from '../../features/groups.ts';
import { projectOptions, readProjectRows } from '../../features/projects.ts';
import { type KeyringStatus, keyringStatus } from '../../features/slots.ts';
import { type GroupUses, groupUses } from '../../features/uses.ts';
import { checkNewGroup, type NewGroupCheck } from '../../features/wizard.ts';
import type { Context } from '../../shared/context.ts';
import { OPTION_GROUPS } from '../../shared/option-notes.ts';
import {
  flatten,
  OF_THE_PAIR,
  OPTIONS,
  optionProblems,
  PRESETS,
  type SparseOptions,
  showValue,
  withDefaults,
} from '../../shared/options.ts';

export interface OptionRow {
  key: string;
  /** Title of the group of options that it belongs to. */
  section: string;
  note: string;
  takes: string;
  fallback: string;
  choices: readonly string[] | null;
  /** Only a group has it, no project. */
  pair: boolean;
}

export interface OptionTable {
  options: OptionRow[];
  /** Name, and `KEY=VALUE` words that it stands for. */
  presets: { name: string; sets: string }[];
}

export interface GroupFacts {
  /** Options that the group states, as text. */
  set: Record<string, string>;
  uses: GroupUses;
}

/** Each option of a project, for each of its roles ('': it has none); `below`: what holds where it states nothing. */
export type ProjectFacts = {
  role: string;
  options: { key: string; value: string; source: string; below: string }[];
}[];

export interface PairingFacts extends NewGroupCheck {
  /** Why a connected drive can be in no new group, by mount path. */
  refused: Record<string, string>;
}

/** Ids of groups that are to be sealed with a key that no file of theirs opens. */
export function askingGroups(ctx: Context): string[] {
  return listGroups(ctx).flatMap(({ id, options }) => {
    const { enable_encryption, encryption_key_file, encryption_password_file } = withDefaults(options);
    return enable_encryption && encryption_key_file === null && encryption_password_file === null ? [id] : [];
  });
}

export const PLACE_READS = {
  options: { busy: Number.POSITIVE_INFINITY, idle: Number.POSITIVE_INFINITY, read: async () => optionTable() },
  /** id */
  group: read<GroupFacts>(async ([id = ''], ctx) => ({
    set: texts(flatten(getGroup(id, ctx).options)),
    uses: await groupUses(id, ctx),
  })),
  projects: read((_args, ctx) => readProjectRows(ctx)),
  /** id */
  project: read<ProjectFacts>(async ([id = ''], ctx) => {
    const project = await projectOf(id, ctx);
    const below = projectOptions({ ...project, options: {} }, ctx);
    return projectOptions(project, ctx).map(({ role, options }, part) => ({
      role: role ?? '',
      options: options.map(({ key, value, source }, index) => {
        const other = below[part]?.options[index];
        return { key, value: showValue(value), source, below: `${other?.source}: ${showValue(other?.value)}` };
      }),
    }));
  }),
  /** `group` or `project`, id, preset or '', then `KEY=VALUE` */
  'option-problems': read<Record<string, string>>(async ([owner, id = '', preset = '', ...words], ctx) =>
    optionProblems(
      words,
      preset === '' ? undefined : preset,
      owner === 'project' ? 'project' : 'group',
      await ownOptions(owner, id, ctx),
    ),
  ),
  /** Mount paths of Master and Backup and the name, each '' when it is not chosen yet */
  pairing: read<PairingFacts>(async ([master = '', backup = '', name = ''], ctx) => {
    const drives = await listDrives(ctx);
    const at = (path: string): DriveInfo | undefined => drives.find(({ mount_path }) => mount_path === path);
    const given = { name: name === '' ? undefined : name, master: at(master), backup: at(backup) };
    const refused: Record<string, string> = {};
    for (const drive of drives) {
      const { backup: why } = await checkNewGroup({ backup: drive }, ctx, drives);
      if (why) refused[drive.mount_path] = why.message;
    }
    return { ...(await checkNewGroup(given, ctx, drives)), refused };
  }),
  /** mount path, folder from the drive's root */
  folders: read(async ([mount = '', folder = ''], ctx) => {
    const drive = (await listDrives(ctx)).find(({ mount_path }) => mount_path === mount);
    if (!drive) throw new Error('The drive is not connected any more.');
    return listFolders(drive, folder);
  }),
  /** mount path, filesystem */
  traits: read<{ traits: Traits; probed: boolean }>(async ([mount = '', filesystem = '']) => {
    const signature = readSignature(mount);
    // The time at which nothing was tried out is no news.
    return { traits: signature?.traits ?? { ...defaultTraits(filesystem), probed_at: '' }, probed: signature !== null };
  }),
  /** id of the group */
  keyring: read<KeyringStatus>(async ([id = ''], ctx) => keyringStatus(getGroup(id, ctx), ctx)),
};

// --- internal ---

function read<T>(work: (args: readonly string[], ctx: Context) => Promise<T>) {
  return {
    busy: 10_000,
    idle: 60_000,
    read: (args: readonly string[], { ctx }: { ctx: Context }): Promise<T> => work(args, ctx),
  };
}

function optionTable(): OptionTable {
  const options = OPTION_GROUPS.flatMap(({ title, notes }) =>
    Object.entries(notes).flatMap(([key, note]): OptionRow[] => {
      const spec = OPTIONS[key];
      if (!spec) return [];
      const { takes, fallback, choices = null } = spec;
      return [{ key, section: title, note, takes, fallback: showValue(fallback), choices, pair: OF_THE_PAIR.has(key) }];
    }),
  );
  const presets = Object.entries(PRESETS).map(([name, { values }]) => {
    return {
      name,
      sets: Object.entries(values)
        .map(([key, value]) => `${key}=${showValue(value)}`)
        .join(' '),
    };
  });
  return { options, presets };
}

function texts(flat: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.entries(flat).map(([key, value]) => [key, value === null ? '' : showValue(value)]));
}

/** Without remembering what the drives tell: the reader writes nothing. */
async function projectOf(id: string, ctx: Context): Promise<Project> {
  return pickProject(id, await knownProjects(ctx));
}

async function ownOptions(owner: string | undefined, id: string, ctx: Context): Promise<SparseOptions> {
  if (owner === 'project') return (await projectOf(id, ctx)).options;
  return listGroups(ctx).find((group) => group.id === id)?.options ?? {};
}
