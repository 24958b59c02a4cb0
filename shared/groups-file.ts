/**
 * The file of groups, `storage_groups.yaml`: read once and again whenever it changes, edited by one process at a time,
 * the user's comments kept. A file that is broken or newer is an error and stays as it is.
 */
import { join } from 'node:path';
import type { ZodType } from 'zod';
import { fileStamp, loadYaml, readYaml, saveYamlValue, withFileLock, zod } from './config.ts';
import type { Context } from './context.ts';
import { TandemError } from './errors.ts';
import { closest } from './format.ts';
import { readOptions, type SparseOptions } from './options.ts';
import { displayPath } from './paths.ts';
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

/**
 * The one group that `query` names: id, name (ignoring case) or an id's unique prefix of four characters or more.
 * @throws TandemError `not_found` with a guess, `ambiguous` with every group that fits.
 */
export function pickGroup(query: string, groups: readonly Group[]): Group {
  const lower = query.trim().toLowerCase();
  const ways: ((group: Group) => boolean)[] = [
    (group) => group.id.toLowerCase() === lower,
    (group) => foldText(group.name) === foldText(query),
    (group) => lower.length >= 4 && group.id.toLowerCase().startsWith(lower),
  ];
  for (const way of ways) {
    const found = groups.filter(way);
    if (found.length === 1 && found[0]) return found[0];
    if (found.length > 1) {
      const names = found.map((group) => `${quote(group.name)} (${displayPath(group.id)})`).join(' and ');
      throw new TandemError('ambiguous', `'${displayPath(query)}' could be ${names}.`, {
        hint: 'Give the whole id, or more of it.',
      });
    }
  }
  const guess = closest(
    query,
    groups.map((group) => group.name),
  );
  throw new TandemError('not_found', `No group is called '${displayPath(query)}'.`, {
    hint: guess
      ? `Did you mean ${quote(guess)}? See \`tandem groups list\`.`
      : groups.length > 0
        ? 'See `tandem groups list`.'
        : 'There is none yet; make one with `tandem groups create`.',
  });
}

/** @throws TandemError `invalid` for an empty or taken name, or one that a terminal cannot show. */
export function checkName(name: string, groups: readonly Group[], self?: string): void {
  const hint = 'Give a descriptive name, for example Client-XYZ-2026.';
  if (name === '') throw new TandemError('invalid', 'The name of a group cannot be empty.', { hint });
  if (displayPath(name) !== name)
    throw new TandemError('invalid', `The name ${quote(name)} holds characters that cannot be shown.`, { hint });
  const same = groups.find((group) => group.id !== self && foldText(group.name) === foldText(name));
  if (same)
    throw new TandemError('invalid', `A group is already called ${quote(same.name)}.`, {
      hint: 'Names that differ only by case count as equal; choose another.',
    });
}

/** The group as its drives carry it, for other computers. */
export function carriedGroup(group: Group): CarriedGroup {
  const { id, name, description, created, options, master_drive, backup_drive } = group;
  return { id, name, description, created, options, master_drive, backup_drive };
}

/** ISO 8601 in UTC, whole seconds. */
export function isoTime(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, 'Z');
}

/** Upper and lower case, composed and decomposed letters count as equal. */
export const foldText = (text: string): string => text.trim().normalize('NFC').toLowerCase();
export const quote = (text: string): string => `'${displayPath(text)}'`;

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
  const badTime = 'must be a time, for example "2026-01-12T10:00:00Z"';
  const time = z.string(badTime).transform((value, context) => {
    const date = parseTime(value);
    if (date) return isoTime(date);
    context.addIssue({ code: 'custom', message: badTime });
    return z.NEVER;
  });
  const drive = z.looseObject({
    serial_number: text.nullish().transform((value) => value ?? null),
    label: text,
    total_size: z.number('must be a size in bytes').int().nonnegative(),
    drive_uuid: text.min(1).optional(),
  });
  const options = z.record(z.string(), z.unknown()).transform((value, context) => {
    const read = readOptions(value);
    for (const { key, message } of read.problems) context.addIssue({ code: 'custom', message, path: key.split('.') });
    return read.options;
  });
  const group = z.looseObject({
    id: text.min(1),
    name: text,
    created: time,
    modified: time,
    description: text.nullish().transform((value) => value ?? ''),
    master_drive: drive,
    backup_drive: drive,
    options: options.nullish().transform((value) => value ?? {}),
  });
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

/** Times without a zone are UTC. */
function parseTime(text: string): Date | undefined {
  const zoned = /(z|[+-]\d\d:?\d\d)$/i.test(text) || !/\d[t ]\d/i.test(text) ? text : `${text}Z`;
  const date = new Date(zoned.replace(' ', 'T'));
  return Number.isNaN(date.getTime()) ? undefined : date;
}
