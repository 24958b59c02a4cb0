/**
 * Groups: which drive is the Master and which the Backup of which pair, and how the pair is to be kept in step.
 *
 * The pairs live in a YAML file that people may edit (`storage_groups.yaml`). A group knows a drive by the `drive_uuid`
 * in the drive's signature; groups that another program wrote know it by serial number, or by label and size, until the
 * first run with both drives signs them. Everything else asks this file one of three things: which group is meant, are
 * its drives here, and with which options. Deleting a group never touches a file of the user's.
 */
import { randomUUID } from 'node:crypto';
import { type Context, confirmed } from '../shared/context.ts';
import { messageOf, TandemError } from '../shared/errors.ts';
import {
  type Column,
  defineCommand,
  definePanel,
  type Output,
  type Paint,
  renderTable,
  runIfMain,
} from '../shared/feature.ts';
import { isoTime } from '../shared/fields.ts';
import { formatAge, formatBytes, formatTime } from '../shared/format.ts';
import {
  type DriveIdentity,
  editGroup,
  editGroups,
  type Group,
  listGroups,
  pickGroup,
  ROLES,
  type Role,
} from '../shared/groups-file.ts';
import { checkName, quote, shellWord } from '../shared/named.ts';
import { flatten, type GroupOptions, optionChange, PRESETS, showValue, withDefaults } from '../shared/options.ts';
import { displayPath } from '../shared/paths.ts';
import { disguiseText, isDisguised, type Storage, storageLines, storageOf } from '../shared/storage.ts';
import { type DriveInfo, findDrive, listDrives, writeSignature } from './detect.ts';
import { handoverVerbs } from './handover.ts';
import {
  checkApart,
  checkEligible,
  checkFree,
  checkJoins,
  connectPair,
  describe,
  ensureSigned,
  freeDrives,
  type GroupStatus,
  identityOf,
  matchPair,
  pairWarnings,
  ROLE_NAME,
  signing,
  statusOf,
} from './pairs.ts';
import { groupUses } from './uses.ts';
import { askForGroup } from './wizard.ts';

export { type DriveIdentity, type Group, listGroups, type Role } from '../shared/groups-file.ts';
export type { GroupOptions } from '../shared/options.ts';
export {
  connectPair,
  ensureSigned,
  type GroupStatus,
  getDriveRole,
  groupStatus,
  matchesDrive,
  type Pair,
} from './pairs.ts';

export interface GroupChanges {
  name?: string | undefined;
  description?: string | undefined;
  master?: DriveInfo | undefined;
  backup?: DriveInfo | undefined;
}

/**
 * The one group that `query` names: id, name (ignoring case) or an id's unique prefix of four characters or more.
 * @throws TandemError `not_found` with a guess, `ambiguous` with every group that fits.
 */
export function getGroup(query: string, ctx: Context): Group {
  return pickGroup(query, listGroups(ctx));
}

/** How the group knows its drive of that role. */
export function getDriveByRole(group: Group, role: Role): DriveIdentity {
  return group[`${role}_drive`];
}

/**
 * Pairs two connected drives and writes a signature on each.
 * @throws TandemError `invalid` when the drives or the name cannot be used; no group and no signature is left then.
 */
export async function createGroup(
  input: { name: string; master: DriveInfo; backup: DriveInfo; description?: string | undefined },
  ctx: Context,
): Promise<{ group: Group; warnings: string[] }> {
  const { master, backup } = input;
  const connected = await listDrives(ctx);
  for (const drive of [master, backup]) checkEligible(drive, connected);
  checkApart(master, backup);
  const now = isoTime(ctx.now());
  const group: Group = {
    id: randomUUID(),
    name: input.name.trim(),
    created: now,
    modified: now,
    description: input.description?.trim() ?? '',
    master_drive: identityOf(master),
    backup_drive: identityOf(backup),
    options: {},
  };
  await editGroups(ctx, (groups) => {
    checkName(group.name, groups, 'group');
    for (const drive of [master, backup]) checkFree(drive, groups);
    return [...groups, group];
  });
  try {
    const pair = await ensureSigned({ group, master, backup }, ctx);
    return { group: pair.group, warnings: pairWarnings(group.master_drive, group.backup_drive) };
  } catch (error) {
    await editGroups(ctx, (groups) => groups.filter((other) => other.id !== group.id)).catch((second: unknown) => {
      ctx.emit({ kind: 'warning', message: messageOf(second) });
    });
    throw error;
  }
}

/**
 * Changes name, description or drives. A drive that joins is signed, one that leaves is freed if it is connected; giving
 * the drive that the group has already records its present label and size.
 */
export async function updateGroup(
  query: string,
  changes: GroupChanges,
  ctx: Context,
): Promise<{ group: Group; warnings: string[] }> {
  const group = getGroup(query, ctx);
  const connected = await listDrives(ctx);
  const joining = ROLES.flatMap((role) => (changes[role] ? [{ role, drive: changes[role] }] : []));
  for (const { drive } of joining) checkEligible(drive, connected);
  const present = matchPair(group, connected, ctx);
  const after = { master: changes.master ?? present.master, backup: changes.backup ?? present.backup };
  if (joining.length > 0 && after.master && after.backup) checkApart(after.master, after.backup);
  for (const { role, drive } of joining) checkJoins(drive, role, group, listGroups(ctx));
  const updated = await signing(joining, group, ctx, (signed) =>
    editGroup(group.id, ctx, (next, groups) => {
      if (changes.name !== undefined) {
        next.name = changes.name.trim();
        checkName(next.name, groups, 'group', group.id);
      }
      if (changes.description !== undefined) next.description = changes.description.trim();
      for (const { role, drive, drive_uuid } of signed) next[`${role}_drive`] = { ...identityOf(drive), drive_uuid };
    }),
  );
  if (joining.length === 0) return { group: updated, warnings: [] };
  const kept = ROLES.map((role) => updated[`${role}_drive`].drive_uuid);
  freeDrives(
    connected.filter((drive) => drive.group_id === group.id && !kept.includes(drive.drive_uuid ?? undefined)),
    group.id,
  );
  return { group: updated, warnings: pairWarnings(updated.master_drive, updated.backup_drive) };
}

/**
 * Sets `KEY=VALUE` pairs, or with an empty value resets a key to its default; a preset's values come first.
 * @returns the keys that changed with their values, and what of the preset a later version brings
 * @throws TandemError `usage` for a key that is unknown or not available in this version, `invalid` for a value.
 */
export async function setGroupOptions(
  query: string,
  assignments: readonly string[],
  preset: string | undefined,
  ctx: Context,
): Promise<{ group: Group; changed: Record<string, unknown>; later: string[] }> {
  const { keys, later, change } = optionChange(assignments, preset);
  const group = await editGroup(getGroup(query, ctx).id, ctx, (next) => {
    next.options = change(next.options);
  });
  const effective = flatten(resolveOptions(group));
  return { group, changed: Object.fromEntries(keys.map((key) => [key, effective[key]])), later };
}

/**
 * Forgets the relationship; no file of the user's is touched. Signatures on connected drives are removed.
 * @returns labels of the drives that were freed, and of those that were away or could not be written
 */
export async function deleteGroup(
  query: string,
  ctx: Context,
): Promise<{ group: Group; freed: string[]; signed: string[] }> {
  const group = getGroup(query, ctx);
  const drives = (await listDrives(ctx)).filter((drive) => drive.group_id === group.id);
  const released = freeDrives(drives, group.id);
  try {
    await editGroups(ctx, (groups) => groups.filter((other) => other.id !== group.id));
  } catch (error) {
    for (const { drive, signature } of released) writeSignature(drive.mount_path, signature);
    throw error;
  }
  const freed = released.map(({ drive }) => drive.label);
  const uuids = new Set(released.map(({ signature }) => signature.drive_uuid));
  const identities = [group.master_drive, group.backup_drive];
  const signed = identities.filter(({ drive_uuid }) => drive_uuid !== undefined && !uuids.has(drive_uuid));
  return { group, freed, signed: signed.map(({ label }) => label) };
}

/**
 * The path to work on: the Master's if it is connected; else the Backup's, if the user wants that.
 * @throws TandemError `drive_missing` "No drives available …", also when the answer is No.
 */
export async function resolveDrive(
  query: string,
  ctx: Context,
  choice?: 'use-backup' | 'no-backup',
): Promise<{ path: string; drive: Role }> {
  const { group, master, backup } = await connectPair(getGroup(query, ctx), ctx);
  if (master) return { path: master.mount_path, drive: 'master' };
  const names = {
    group: displayPath(group.name),
    master: quote(group.master_drive.label),
    backup: quote(group.backup_drive.label),
  };
  if (!backup) {
    throw new TandemError(
      'drive_missing',
      `No drives available for '${names.group}': neither Master ${names.master} nor Backup ${names.backup} is connected.`,
      {
        hint: 'Connect the Master (preferred) or the Backup and try again.',
      },
    );
  }
  const question = `Master ${names.master} of '${names.group}' is not connected. Use Backup ${names.backup}?`;
  const yes =
    choice === undefined ? await ctx.prompts.confirm(question, '--use-backup or --no-backup') : choice === 'use-backup';
  if (yes) return { path: backup.mount_path, drive: 'backup' };
  throw new TandemError(
    'drive_missing',
    `No drives available for '${names.group}': Master ${names.master} is not connected, and Backup ${names.backup} was declined.`,
    {
      hint: 'Connect the Master, or use the Backup with --use-backup.',
    },
  );
}

/** Mount path of the Backup; null when it is not connected. */
export async function getBackupPath(query: string, ctx: Context): Promise<string | null> {
  return (await connectPair(getGroup(query, ctx), ctx)).backup?.mount_path ?? null;
}

/** The group's own options over the defaults. */
export function resolveOptions(group: Group): GroupOptions {
  return withDefaults(group.options);
}

// --- internal ---

// What the command line and the dashboard show.

interface DriveRow extends Omit<DriveIdentity, 'drive_uuid'> {
  drive_uuid: string | null;
  connected: boolean;
  mount_path: string | null;
}

interface GroupRow extends Omit<Group, 'master_drive' | 'backup_drive' | 'options'> {
  status: GroupStatus;
  master_drive: DriveRow;
  backup_drive: DriveRow;
}

async function groupRows(ctx: Context, groups: readonly Group[] = listGroups(ctx)): Promise<GroupRow[]> {
  const drives = groups.length > 0 ? await listDrives(ctx) : [];
  return groups.map((group) => {
    const { problem, ...pair } = matchPair(group, drives, ctx);
    if (problem) ctx.emit({ kind: 'warning', message: problem.message });
    const { id, name, description, created, modified } = group;
    const [master_drive, backup_drive] = ROLES.map((role): DriveRow => {
      const { serial_number, label, total_size, drive_uuid } = group[`${role}_drive`];
      const here = pair[role];
      return {
        serial_number,
        label,
        total_size,
        drive_uuid: drive_uuid ?? null,
        connected: here !== null,
        mount_path: here?.mount_path ?? null,
      };
    }) as [DriveRow, DriveRow];
    return { id, name, description, created, modified, status: statusOf(pair), master_drive, backup_drive };
  });
}

const STATUS = {
  connected: { text: '✓ Both Connected', style: 'good' },
  partial: { text: '⚠ Partial', style: 'warn' },
  disconnected: { text: '✗ Disconnected', style: 'bad' },
} as const;

const driveText = (drive: DriveRow): string => `${displayPath(drive.label)}${drive.connected ? '' : ' (away)'}`;
const timeText = (time: string): string => formatTime(new Date(time));

const COLUMNS: readonly Column<GroupRow>[] = [
  { title: 'Name', value: (row) => displayPath(row.name) },
  { title: 'Status', value: (row) => STATUS[row.status].text, style: (row) => STATUS[row.status].style },
  {
    title: 'Master',
    value: (row) => driveText(row.master_drive),
    style: (row) => (row.master_drive.connected ? 'master' : 'dim'),
  },
  {
    title: 'Backup',
    value: (row) => driveText(row.backup_drive),
    style: (row) => (row.backup_drive.connected ? 'backup' : 'dim'),
  },
  { title: 'Modified', value: (row) => timeText(row.modified), style: () => 'dim' },
  { title: 'Description', value: (row) => displayPath(row.description) },
];

/** With how the Backup stores its files; null: plain. */
interface StatusRow extends GroupRow {
  storage: Storage | null;
}

async function statusOutput(groups: readonly Group[] | undefined, ctx: Context): Promise<Output> {
  const known = groups ?? listGroups(ctx);
  const rows: StatusRow[] = [];
  for (const [index, row] of (await groupRows(ctx, known)).entries())
    rows.push({ ...row, storage: await storageOf(known[index] as Group, ctx) });
  const listed = listOutput(rows, groups === undefined ? rows : rows[0]);
  const stored = rows.flatMap(({ name, storage }) =>
    storage === null ? [] : [`Backup of ${quote(name)}: ${storageLines(storage).join('\n  ')}`],
  );
  return { ...listed, text: (paint) => [listed.text?.(paint) ?? '', ...stored].join('\n') };
}

const EMPTY = 'No groups yet. Connect two drives and run `tandem groups create`.';

function listOutput(rows: readonly GroupRow[], json: unknown = rows): Output {
  return { json, text: (paint) => (rows.length > 0 ? renderTable(rows, COLUMNS, paint) : EMPTY) };
}

async function showOutput(group: Group, ctx: Context): Promise<Output> {
  const [row] = await groupRows(ctx, [group]);
  if (!row) throw new TandemError('failed', `The group ${quote(group.name)} cannot be shown.`);
  const effective = resolveOptions(group);
  const own = flatten(group.options);
  const storage = await storageOf(group, ctx);
  const drive = (one: DriveRow): string =>
    [
      displayPath(one.label),
      formatBytes(one.total_size),
      one.serial_number === null ? 'no serial number' : `serial ${displayPath(one.serial_number)}`,
      one.connected ? displayPath(one.mount_path ?? '') : 'not connected',
      one.drive_uuid === null ? 'not signed yet' : '',
    ]
      .filter((part) => part !== '')
      .join(', ');
  const text = (paint: Paint): string =>
    [
      `${paint('bold', displayPath(row.name))}  ${paint(STATUS[row.status].style, STATUS[row.status].text)}`,
      ...(row.description === '' ? [] : [displayPath(row.description)]),
      `id        ${displayPath(row.id)}`,
      `Master    ${paint('master', drive(row.master_drive))}`,
      `Backup    ${paint('backup', drive(row.backup_drive))}`,
      ...(storage === null ? [] : [`stored    ${storageLines(storage).join('\n          ')}`]),
      `created   ${timeText(row.created)}`,
      `modified  ${timeText(row.modified)} (${formatAge(new Date(row.modified), ctx.now())})`,
      paint('bold', 'Options'),
      ...Object.entries(flatten(effective)).map(([key, value]) =>
        key in own
          ? `  ${key} = ${displayPath(showValue(value))}`
          : paint('dim', `  ${key} = ${showValue(value)} (default)`),
      ),
    ].join('\n');
  return { json: { ...row, storage, options: group.options, effective_options: effective }, text };
}

function warn(warnings: readonly string[], ctx: Context): void {
  for (const message of warnings) ctx.emit({ kind: 'warning', message });
}

const GROUP = { name: 'group', description: 'id, unique start of an id, or name', complete: 'group' } as const;

export const command = defineCommand({
  name: 'groups',
  summary: 'Pairs of Master and Backup drives',
  verbs: {
    list: {
      summary: 'all groups with the status of their drives',
      examples: ['tandem groups list', 'tandem groups list --json'],
      run: async (_input, ctx) => listOutput(await groupRows(ctx)),
    },
    show: {
      summary: 'one group: drives, status, options',
      examples: ['tandem groups show Archive'],
      args: [GROUP],
      run: ({ args }, ctx) => showOutput(getGroup(args['group'], ctx), ctx),
    },
    status: {
      summary: 'whether the drives of a group are connected, and how its Backup stores files',
      examples: ['tandem groups status', 'tandem groups status Archive'],
      args: [{ ...GROUP, optional: true }],
      run: ({ args }, ctx) =>
        statusOutput(args['group'] === undefined ? undefined : [getGroup(args['group'], ctx)], ctx),
    },
    create: {
      summary: 'pair two connected drives (asks for what is not given)',
      examples: ['tandem groups create', 'tandem groups create Archive --master PhotoMaster --backup PhotoBackup'],
      args: [{ name: 'name', description: 'name of the group', optional: true }],
      options: [
        { flags: '--master <drive>', description: 'label, serial, device or mount path', complete: 'drive' },
        { flags: '--backup <drive>', description: 'label, serial, device or mount path', complete: 'drive' },
        { flags: '--description <text>', description: 'notes' },
      ],
      run: async ({ args, options }, ctx) => {
        const { group, warnings } = await createGroup(await askForGroup({ ...options, name: args['name'] }, ctx), ctx);
        warn(warnings, ctx);
        const [row] = await groupRows(ctx, [group]);
        const pair = `${quote(group.master_drive.label)} → ${quote(group.backup_drive.label)}`;
        return {
          json: { ...row, warnings },
          text: () => `Created ${quote(group.name)}: ${pair}. Next: tandem sync run ${shellWord(group.name)}`,
        };
      },
    },
    edit: {
      summary: 'change name, description or drives',
      examples: ['tandem groups edit Archive --name "Archive 2026"', 'tandem groups edit Archive --backup NewBackup'],
      args: [GROUP],
      options: [
        { flags: '--name <name>', description: 'new name' },
        { flags: '--description <text>', description: 'new notes' },
        { flags: '--master <drive>', description: 'another Master', complete: 'drive' },
        { flags: '--backup <drive>', description: 'another Backup', complete: 'drive' },
      ],
      run: async ({ args, options }, ctx) => {
        const group = getGroup(args['group'], ctx);
        const changes: GroupChanges = { name: options['name'], description: options['description'] };
        const drives = options['master'] || options['backup'] ? await listDrives(ctx) : [];
        for (const role of ROLES) if (options[role] !== undefined) changes[role] = findDrive(options[role], drives);
        if (Object.values(changes).every((change) => change === undefined)) {
          throw new TandemError('usage', `Nothing to change in ${quote(group.name)}.`, {
            hint: 'Give --name, --description, --master or --backup.',
          });
        }
        for (const role of ROLES) {
          const drive = changes[role];
          if (drive)
            await confirmed(
              `${ROLE_NAME[role]} of ${quote(group.name)}: ${quote(group[`${role}_drive`].label)} → ${describe(drive)}. Sign it?`,
              ctx,
            );
        }
        const { group: updated, warnings } = await updateGroup(group.id, changes, ctx);
        warn(warnings, ctx);
        const [row] = await groupRows(ctx, [updated]);
        return { json: { ...row, warnings }, text: () => `Changed ${quote(updated.name)}.` };
      },
    },
    set: {
      summary: 'set options of a group; KEY= resets to the default',
      examples: [
        'tandem groups set Archive verify_checksums=checksum',
        'tandem groups set Archive --preset hdd filters.exclude=*.tmp,cache/',
      ],
      args: [GROUP, { name: 'assignment', description: 'KEY=VALUE', optional: true, variadic: true }],
      options: [{ flags: '--preset <name>', description: Object.keys(PRESETS).join(', ') }],
      run: async ({ args, options }, ctx) => {
        const assignments: string[] = args['assignment'] ?? [];
        const { group, changed, later } = await setGroupOptions(args['group'], assignments, options['preset'], ctx);
        const lines = Object.entries(changed).map(([key, value]) => `${key} = ${displayPath(showValue(value))}`);
        if (later.length > 0) lines.push(`Arrives with a later version: ${later.join(', ')}`);
        if (changed['enable_encryption'] === true)
          lines.push(`It needs a key ring, made once with: tandem encrypt init ${shellWord(group.name)}`);
        return {
          json: { id: group.id, name: group.name, options: group.options, changed, later },
          text: () => lines.join('\n'),
        };
      },
    },
    delete: {
      summary: 'forget a pair; no file is touched',
      examples: ['tandem groups delete Archive'],
      args: [GROUP],
      run: async ({ args }, ctx) => {
        const { id, name } = getGroup(args['group'], ctx);
        const uses = await groupUses(id, ctx);
        const used = uses.projects.map(quote).join(', ');
        const schedules = uses.schedules.map(quote).join(', ');
        const watchers = uses.watchers.map(quote).join(', ');
        const more = [
          used === '' ? '' : ` Projects that lie on it: ${used}.`,
          schedules === '' ? '' : ` Schedules that will not run any more: ${schedules}.`,
          watchers === '' ? '' : ` Watchers that will not run any more: ${watchers}.`,
        ].join('');
        await confirmed(
          `Delete the group ${quote(name)}? Only the relationship is removed; files are NOT deleted.${more}`,
          ctx,
        );
        const { group, freed, signed } = await deleteGroup(id, ctx);
        warn(
          signed.map(
            (label) =>
              `The drive ${quote(label)} keeps its signature: it is not connected or cannot be written to. Remove .tandem/drive.json there before it joins another group.`,
          ),
          ctx,
        );
        const idle =
          schedules === '' ? '' : ` Without a group now: the schedules ${schedules}; see \`tandem schedule remove\`.`;
        const orphans =
          used === '' ? '' : ` Without a group now: ${used}; \`tandem projects edit --group\` gives them another one.`;
        return {
          json: { id: group.id, name: group.name, freed, signed, projects: uses.projects },
          text: () => `Deleted ${quote(group.name)}; no file was touched.${orphans}${idle}`,
        };
      },
    },
    ...handoverVerbs,
    resolve: {
      summary: 'print the path to work on: the Master, else (if wanted) the Backup',
      examples: ['cd "$(tandem groups resolve Archive)"', 'tandem groups resolve Archive --use-backup'],
      args: [GROUP],
      options: [
        { flags: '--use-backup', description: 'take the Backup when the Master is away' },
        { flags: '--no-backup', description: 'never take the Backup' },
      ],
      run: async ({ args, options }, ctx) => {
        const choice = options['backup'] === false ? 'no-backup' : options['useBackup'] ? 'use-backup' : undefined;
        const resolved = await resolveDrive(args['group'], ctx, choice);
        const group = getGroup(args['group'], ctx);
        const storage = resolved.drive === 'backup' ? await storageOf(group, ctx) : null;
        if (storage !== null && isDisguised(storage))
          warn(
            [
              `On the Backup of ${quote(group.name)} files are ${disguiseText(storage)}; plain copies come with: tandem restore run ${shellWord(group.name)} --to FOLDER`,
            ],
            ctx,
          );
        return { json: resolved, text: () => displayPath(resolved.path) };
      },
    },
  },
});

export const panel = definePanel<GroupRow>({
  title: 'Groups',
  rows: (ctx) => groupRows(ctx),
  columns: COLUMNS,
  empty: EMPTY,
  actions: [
    { key: 'enter', label: 'show', command: (row) => ['groups', 'show', row.id] },
    { key: 'D', label: 'delete', command: (row) => ['groups', 'delete', row.id] },
  ],
});

runIfMain(import.meta, command);
