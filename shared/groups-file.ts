/**
 * The file of groups, `storage_groups.yaml`: read once and again whenever it changes, edited by one process at a time,
 * the user's comments kept. A file that is broken or newer is an error and stays as it is.
 */
import { join } from 'node:path';
import type { ZodType } from 'zod';
import { fileStamp, keepFormer, loadYaml, readYaml, saveYamlValue, withFileLock, zod } from './config.ts';
import type { Context } from './context.ts';
import { isoTime, optionsField, refusePasswords, timeField } from './fields.ts';
import { pickNamed } from './named.ts';
import type { SparseOptions } from './options.ts';
import type { CarriedGroup } from './state.ts';

export const ROLES = ['master', 'backup'] as const;
export type Role = (typeof ROLES)[number];

/** How a group knows a drive; size in bytes. Once there is a `drive_uuid`, it alone decides. */
export interface DriveIdentity {
  serial_number: string | null;
  label: string;
  total_size: number;
  drive_uuid?: string | undefined;
}

export interface Group {
  id: string;
  name: string;
  /** ISO 8601, UTC. */
  created: string;
  modified: string;
  description: string;
  master_drive: DriveIdentity;
  backup_drive: DriveIdentity;
  options: SparseOptions;
}

/** The groups in the file's order. @throws TandemError `config` with file, line and column. */
export function listGroups(ctx: Context): Group[] {
  const path = ctx.settings().storageGroupsFile;
  const stamp = fileStamp(path);
  let known = memory.get(path);
  if (known?.stamp !== stamp) {
    const cacheDir = join(ctx.dataDir, 'cache');
    const file = readYaml({ path, schema, module: import.meta.url, empty: { groups: [] }, cacheDir });
    known = { stamp, groups: freeze(file.groups) };
    memory.set(path, known);
  }
  return [...known.groups];
}

/** One process edits at a time, each on what is in the file now; `change` gets a copy that it may alter. */
export async function editGroups(ctx: Context, change: (groups: Group[]) => Group[]): Promise<Group[]> {
  const path = ctx.settings().storageGroupsFile;
  return withFileLock(path, () => {
    const file = loadYaml(path, schema());
    const groups = change(structuredClone(file.value.groups));
    if (file.stamp === 'absent') file.document.commentBefore = HEADER;
    else if (file.value.version === undefined) keepFormer(path);
    saveYamlValue(file, { version: 1, ...file.value, groups }, schema());
    // Read back once here, where the parser is loaded anyway: the next start then finds it remembered.
    listGroups(ctx);
    return groups;
  });
}

export async function editGroup(
  id: string,
  ctx: Context,
  change: (next: Group, groups: readonly Group[]) => void,
): Promise<Group> {
  let edited: Group | undefined;
  await editGroups(ctx, (groups) => {
    edited = groups.find((group) => group.id === id) ?? pickGroup(id, groups);
    edited.modified = isoTime(ctx.now());
    change(edited, groups);
    return groups;
  });
  return edited as unknown as Group;
}

/** @throws TandemError `not_found` with a guess, `ambiguous` with every group that fits. */
export function pickGroup(query: string, groups: readonly Group[]): Group {
  return pickNamed(query, groups, 'group', 'groups');
}

/** The group as its drives carry it, for other computers; where secrets lie on this one concerns nobody there. */
export function carriedGroup(group: Group): CarriedGroup {
  const { id, name, description, created, master_drive, backup_drive } = group;
  return { id, name, description, created, options: withoutSecretFiles(group.options), master_drive, backup_drive };
}

/** Options without the names of files that belong to one computer. */
export function withoutSecretFiles(options: SparseOptions): SparseOptions {
  const { encryption_key_file: _key, encryption_password_file: _password, ...rest } = options;
  return rest;
}

// --- internal ---

interface GroupsFile {
  version?: 1 | undefined;
  groups: Group[];
}

const HEADER = " tandem's groups: each is a Master and a Backup drive. You may edit this file; comments are kept.";

const memory = new Map<string, { stamp: string; groups: readonly Group[] }>();

/** What is handed out is shared by all callers of the process. */
function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) for (const part of Object.values(Object.freeze(value))) freeze(part);
  return value;
}

function schema(): ZodType<GroupsFile> {
  const z = zod();
  const text = z.string('must be text; put a number in quotes');
  const drive = z.looseObject({
    serial_number: text.nullish().transform((value) => value ?? null),
    label: text,
    total_size: z.number('must be a size in bytes').int().nonnegative(),
    drive_uuid: text.min(1).optional(),
  });
  const group = z
    .looseObject({
      id: text.min(1),
      name: text,
      created: timeField(),
      modified: timeField(),
      description: text.nullish().transform((value) => value ?? ''),
      master_drive: drive,
      backup_drive: drive,
      options: optionsField('group'),
    })
    .superRefine(refusePasswords);
  return z
    .looseObject({
      version: z
        .literal(1, 'was written by a newer tandem; this one reads version 1 and leaves the file untouched')
        .optional(),
      groups: z
        .array(group, 'must be a list of groups')
        .nullish()
        .transform((value) => value ?? []),
    })
    .superRefine((file, context) => {
      const seen = new Set<string>();
      const once = (value: string | undefined, path: (string | number)[]): void => {
        if (value !== undefined && seen.has(value))
          context.addIssue({ code: 'custom', message: 'is used twice', path });
        if (value !== undefined) seen.add(value);
      };
      for (const [index, one] of file.groups.entries()) {
        once(one.id, ['groups', index, 'id']);
        for (const role of ROLES)
          once(one[`${role}_drive`].drive_uuid, ['groups', index, `${role}_drive`, 'drive_uuid']);
      }
    });
}
