/**
 * A pair in other hands: a second computer takes over a group from its signed drives (`adopt`), a new drive takes the
 * place of a lost or reformatted one (`replace`), Master and Backup exchange their roles (`swap`). None of it touches a
 * file of the user's. A new drive starts an empty baseline: its first run compares, copies and deletes nothing.
 */
import { randomUUID } from 'node:crypto';
import { ensurePair } from '../shared/baseline.ts';
import { type Carrier, carryState, hasChanges, knownPair, mirrorRecord } from '../shared/carry.ts';
import type { Context } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import type { Output, Verb } from '../shared/feature.ts';
import { isoTime } from '../shared/fields.ts';
import {
  carriedGroup,
  type DriveIdentity,
  editGroup,
  editGroups,
  type Group,
  listGroups,
  pickGroup,
  ROLES,
  type Role,
  withoutSecretFiles,
} from '../shared/groups-file.ts';
import { DriveLock } from '../shared/lock.ts';
import { checkName, foldText, quote } from '../shared/named.ts';
import { readOptions } from '../shared/options.ts';
import { displayPath } from '../shared/paths.ts';
import { usableSerial } from '../shared/platform.ts';
import { recoverDrive } from '../shared/recover.ts';
import { type DriveState, readState } from '../shared/state.ts';
import { storageOf, storedForms } from '../shared/storage.ts';
import { closeDriveRoot, openDriveRoot } from '../shared/store.ts';
import { closeFolder, openRoot } from '../shared/syscalls.ts';
import { type DriveInfo, findDrive, listDrives, readSignature, writeSignature } from './detect.ts';
import {
  checkApart,
  checkEligible,
  checkJoins,
  checkPlain,
  connectPair,
  describe,
  freeDrives,
  identityOf,
  matchPair,
  pairWarnings,
  ROLE_NAME,
  signing,
} from './pairs.ts';

/**
 * Takes a group over from drives that another computer signed: id, drives, and, where they carry a state, name and
 * options. Signs nothing. A known group gets the roles and drives that the signatures state.
 * @param drive any drive of the group; undefined: the one group among the connected drives that is not known as it is.
 * @throws TandemError `not_found`, `ambiguous`, `drive_missing` when neither a drive nor a state tells who the other one is.
 */
export async function adoptGroup(
  drive: string | undefined,
  name: string | undefined,
  ctx: Context,
): Promise<{ group: Group; known: boolean; warnings: string[] }> {
  const drives = await listDrives(ctx);
  const groupId = drive === undefined ? theUnknown(drives, ctx) : signedGroup(findDrive(drive, drives));
  const members = drives.filter((one) => one.group_id === groupId);
  const state = newestState(members, groupId);
  const identities = ROLES.map((role) => memberIdentity(role, members, state)) as [DriveIdentity, DriveIdentity];
  const [master_drive, backup_drive] = identities;
  const before = listGroups(ctx).find(({ id }) => id === groupId);
  if (before) {
    const group = await editGroup(groupId, ctx, (next) => {
      next.master_drive = { ...next.master_drive, ...master_drive };
      next.backup_drive = { ...next.backup_drive, ...backup_drive };
    });
    return { group, known: true, warnings: [] };
  }
  const { options, problems } = readOptions((state?.group.options ?? {}) as Record<string, unknown>);
  const now = isoTime(ctx.now());
  const group: Group = {
    id: groupId,
    name: (name ?? state?.group.name ?? master_drive.label).trim(),
    created: Number.isNaN(Date.parse(state?.group.created ?? '')) ? now : (state?.group.created ?? now),
    modified: now,
    description: state?.group.description ?? '',
    master_drive,
    backup_drive,
    // A drive does not say which of this computer's files are read.
    options: withoutSecretFiles(options),
  };
  await editGroups(ctx, (groups) => {
    checkName(group.name, groups, 'group');
    return [...groups, group];
  });
  const warnings = problems.map(({ key, message }) => `The option ${displayPath(key)} was not taken over: ${message}.`);
  return { group, known: false, warnings };
}

/**
 * Puts `drive` in the place of the group's Master or Backup and signs it. The pair starts an empty baseline; the drive
 * that leaves loses its signature when it is connected.
 * @returns `reformatted`: the new drive looks like the old one, without its signature
 */
export async function replaceDrive(
  query: string,
  role: Role,
  drive: DriveInfo,
  ctx: Context,
): Promise<{ group: Group; reformatted: boolean; warnings: string[] }> {
  const group = pickGroup(query, listGroups(ctx));
  const drives = await listDrives(ctx);
  const known = group[`${role}_drive`];
  if (known.drive_uuid !== undefined && known.drive_uuid === drive.drive_uuid) {
    throw new TandemError('invalid', `${describe(drive)} is the ${ROLE_NAME[role]} of ${quote(group.name)} already.`, {
      hint: 'Name the drive that is to take its place.',
    });
  }
  checkEligible(drive, drives);
  const other = matchPair(group, drives, ctx)[role === 'master' ? 'backup' : 'master'];
  if (other) checkApart(role === 'master' ? drive : other, role === 'master' ? other : drive);
  checkJoins(drive, role, group, listGroups(ctx));
  const reformatted = looksReformatted(known, drive);
  const updated = await signing([{ role, drive }], group, ctx, ([signed]) =>
    editGroup(group.id, ctx, (next) => {
      next[`${role}_drive`] = { ...identityOf(drive), drive_uuid: signed?.drive_uuid ?? '' };
    }),
  );
  const left = drives.filter((one) => one.drive_uuid !== null && one.drive_uuid === known.drive_uuid);
  freeDrives(left, group.id);
  return { group: updated, reformatted, warnings: pairWarnings(updated.master_drive, updated.backup_drive) };
}

/** A drive that is here under the old one's name, but empty of its signature: it was formatted, not unplugged. */
export function looksReformatted(known: DriveIdentity, drive: DriveInfo): boolean {
  if (drive.drive_uuid !== null) return false;
  const serial = usableSerial(known.serial_number);
  const sameSize = Math.abs(drive.total_size - known.total_size) * 20 <= known.total_size;
  if (serial !== null && usableSerial(drive.serial_number) !== null)
    return serial === usableSerial(drive.serial_number) && sameSize;
  return sameSize && foldText(drive.label) === foldText(known.label);
}

/**
 * Exchanges Master and Backup: the record, the state on both drives, the signatures, and last the group itself. No file
 * is touched; a run after it finds nothing to do if there was nothing to do before.
 * @throws TandemError `drive_missing`, `locked`, and `invalid` when this computer's record is not that of the drives.
 */
export async function swapRoles(query: string, ctx: Context): Promise<Group> {
  const group = pickGroup(query, listGroups(ctx));
  const pair = await connectPair(group, ctx);
  const { master, backup } = pair;
  if (!master || !backup || master.drive_uuid === null || backup.drive_uuid === null) {
    throw new TandemError('drive_missing', `Both drives of ${quote(group.name)} have to be connected and signed.`, {
      hint: 'Plug both in; the first sync signs them.',
    });
  }
  const carriers: Carrier[] = [];
  const locks: DriveLock[] = [];
  try {
    for (const drive of [master, backup].sort((a, b) => ((a.drive_uuid ?? '') < (b.drive_uuid ?? '') ? -1 : 1))) {
      const root = openDriveRoot(drive.mount_path, drive.label);
      carriers.push({ root, state: null });
      const options = { label: drive.label, wait: 0, breakLock: false, network: drive.network, signal: ctx.signal };
      locks.push(await DriveLock.acquire(root.dir, options));
      recoverDrive(root.dir);
    }
    await checkConverted(pair.group, [master.drive_uuid, backup.drive_uuid], backup, ctx);
    await swapRecord(pair.group, [master.drive_uuid, backup.drive_uuid], carriers, ctx);
    for (const lock of locks) lock.confirm();
    return await swapSignatures(pair.group, master, backup, ctx);
  } finally {
    for (const lock of locks) lock.release();
    for (const { root } of carriers) closeDriveRoot(root);
  }
}

// --- internal ---

function signedGroup(drive: DriveInfo): string {
  if (drive.group_id !== null) return drive.group_id;
  throw new TandemError('invalid', `${describe(drive)} is not signed: it belongs to no group.`, {
    hint: 'Make one with `tandem groups create`.',
  });
}

/** The one group whose drives are here and which this computer does not know, or knows otherwise. */
function theUnknown(drives: readonly DriveInfo[], ctx: Context): string {
  const groups = listGroups(ctx);
  const strange = drives.filter(({ group_id, role, drive_uuid }) => {
    const group = groups.find(({ id }) => id === group_id);
    return group_id !== null && role !== null && group?.[`${role}_drive`].drive_uuid !== drive_uuid;
  });
  const [first, ...others] = strange;
  if (!first?.group_id) {
    throw new TandemError('not_found', 'No connected drive belongs to a group that this computer does not know.', {
      hint: 'Plug in both drives of the pair; `tandem detect list` shows what is connected.',
    });
  }
  if (others.every(({ group_id }) => group_id === first.group_id)) return first.group_id;
  throw new TandemError(
    'ambiguous',
    `Drives of several unknown groups are connected: ${strange.map(describe).join(', ')}.`,
    {
      hint: 'Name one of the drives: tandem groups adopt DRIVE.',
    },
  );
}

function newestState(members: readonly DriveInfo[], groupId: string): DriveState | null {
  let newest: DriveState | null = null;
  for (const { mount_path } of members) {
    const dir = openRoot(mount_path);
    try {
      const { state } = readState(dir);
      if (state?.group.id === groupId && (!newest || state.opened_at > newest.opened_at)) newest = state;
    } finally {
      closeFolder(dir);
    }
  }
  return newest;
}

/** A lost drive and the one that took its place both carry the signature: the newest state says which one counts. */
function memberIdentity(role: Role, members: readonly DriveInfo[], state: DriveState | null): DriveIdentity {
  const carried = state?.group[`${role}_drive`];
  const uuid = role === 'master' ? state?.master_uuid : state?.backup_uuid;
  const fitting = members.filter((one) => one.role === role);
  const here = fitting.find(({ drive_uuid }) => drive_uuid === uuid) ?? (fitting.length === 1 ? fitting[0] : undefined);
  if (here?.drive_uuid) return { ...identityOf(here), drive_uuid: here.drive_uuid };
  if (fitting.length > 1) {
    throw new TandemError(
      'ambiguous',
      `Several drives are signed as this ${ROLE_NAME[role]}: ${fitting.map(describe).join(', ')}.`,
      {
        hint: 'Disconnect the one that was replaced.',
      },
    );
  }
  if (carried && uuid !== undefined) {
    const { serial_number, label, total_size } = carried;
    return { serial_number, label, total_size, drive_uuid: uuid };
  }
  throw new TandemError(
    'drive_missing',
    `The ${ROLE_NAME[role]} of this group is not connected, and its other drive does not tell which one it is.`,
    {
      hint: 'Plug in both drives and repeat the command.',
    },
  );
}

/** A Backup becomes a Master only when all of its files are plain. */
async function checkConverted(
  group: Group,
  [master, backup]: [string, string],
  drive: DriveInfo,
  ctx: Context,
): Promise<void> {
  const known = await knownPair(master, backup, ctx);
  if (known && (await storedForms(known.id, ctx)).stored)
    throw new TandemError(
      'invalid',
      `The Backup of ${quote(group.name)} holds files that are compressed or sealed, so it cannot become the Master as it is.`,
      {
        hint: 'Turn it off (`tandem groups set GROUP enable_compression=false enable_encryption=false`) and sync: that makes the Backup plain. Then exchange the roles.',
      },
    );
  await checkPlain(drive);
}

/** The record with its sides exchanged, in the database and on the drives. */
async function swapRecord(
  group: Group,
  [master, backup]: [string, string],
  carriers: readonly Carrier[],
  ctx: Context,
): Promise<void> {
  const known = await knownPair(master, backup, ctx);
  for (const carrier of carriers) carrier.state = readState(carrier.root.dir).state;
  const agree = carriers.every(
    ({ state }) => (state?.generation ?? '') === (known?.generation ?? '') && (state?.doubt ?? '') === '',
  );
  if (!agree || (known && (await hasChanges(known, ctx)))) {
    throw new TandemError(
      'invalid',
      `What the drives of ${quote(group.name)} carry is not what this computer recorded last.`,
      {
        hint: 'Run `tandem sync run` for the group first, then exchange the roles.',
      },
    );
  }
  const id = await ensurePair(group.id, backup, master, ctx);
  await mirrorRecord(known?.id ?? null, id, group.id, ctx);
  const operation = randomUUID();
  const problems = await carryState(
    { id, generation: '' },
    carriers,
    {
      master_uuid: backup,
      backup_uuid: master,
      group: carriedGroup({ ...group, master_drive: group.backup_drive, backup_drive: group.master_drive }),
      open: operation,
      before: '',
      opened_at: ctx.now().toISOString(),
      closed: operation,
      doubt: '',
    },
    ctx,
  );
  if (problems[0]) {
    throw new TandemError('failed', `The roles of ${quote(group.name)} were not exchanged: ${problems[0].message}.`, {
      hint: 'Make the drive writable and free some space, then repeat the command; the next run is a careful one.',
    });
  }
}

/** The group's file comes last: until then the old roles hold, and the command can be repeated. */
async function swapSignatures(group: Group, master: DriveInfo, backup: DriveInfo, ctx: Context): Promise<Group> {
  const done: (() => void)[] = [];
  try {
    for (const [drive, role] of [
      [master, 'backup'],
      [backup, 'master'],
    ] as const) {
      const signature = readSignature(drive.mount_path);
      if (!signature) throw new TandemError('guard', `${describe(drive)} lost its signature.`, { guard: 'identity' });
      done.push(() => writeSignature(drive.mount_path, signature));
      writeSignature(drive.mount_path, { ...signature, role });
    }
    return await editGroup(group.id, ctx, (next) => {
      [next.master_drive, next.backup_drive] = [next.backup_drive, next.master_drive];
    });
  } catch (error) {
    for (const undo of done) undo();
    throw error;
  }
}

async function confirmed(question: string, ctx: Context): Promise<void> {
  if (await ctx.prompts.confirm(question, '--yes')) return;
  throw new TandemError('cancelled', 'The answer was No.', { hint: 'Nothing was changed.' });
}

const GROUP = { name: 'group', description: 'id, unique start of an id, or name', complete: 'group' } as const;

function groupOutput(group: Group, said: string, extra: object = {}): Output {
  const { id, name, master_drive, backup_drive } = group;
  return { json: { id, name, master_drive, backup_drive, ...extra }, text: () => said };
}

/** Verbs of the command `groups`. */
export const handoverVerbs: Readonly<Record<string, Verb>> = {
  adopt: {
    summary: 'take over a group whose drives another computer paired',
    examples: ['tandem groups adopt', 'tandem groups adopt PhotoMaster'],
    args: [{ name: 'drive', description: 'one of its drives', optional: true, complete: 'drive' }],
    options: [{ flags: '--name <name>', description: 'name of the group here' }],
    run: async ({ args, options }, ctx) => {
      const { group, known, warnings } = await adoptGroup(args['drive'], options['name'], ctx);
      for (const message of warnings) ctx.emit({ kind: 'warning', message });
      const pair = `${quote(group.master_drive.label)} → ${quote(group.backup_drive.label)}`;
      const said = `${known ? 'Updated' : 'Took over'} ${quote(group.name)}: ${pair}. Nothing was signed anew; the next sync goes on where the last one ended.`;
      return groupOutput(group, said, { known });
    },
  },
  replace: {
    summary: 'a new drive takes the place of a lost or reformatted one; no file is touched',
    examples: ['tandem groups replace Archive --backup NewBackup'],
    args: [GROUP],
    options: [
      { flags: '--master <drive>', description: 'the new Master', complete: 'drive' },
      { flags: '--backup <drive>', description: 'the new Backup', complete: 'drive' },
    ],
    run: async ({ args, options }, ctx) => {
      const group = pickGroup(args['group'], listGroups(ctx));
      const roles = ROLES.filter((role) => options[role] !== undefined);
      const [role] = roles;
      if (role === undefined || roles.length > 1) {
        throw new TandemError('usage', `Which drive of ${quote(group.name)} is replaced is not said.`, {
          hint: 'Give either --master DRIVE or --backup DRIVE.',
        });
      }
      const drives = await listDrives(ctx);
      const drive = findDrive(options[role], drives);
      const known = group[`${role}_drive`];
      const old = matchPair(group, drives, ctx)[role];
      const why = old
        ? `is connected at ${displayPath(old.mount_path)} and loses its signature`
        : looksReformatted(known, drive)
          ? 'was reformatted: it is this very drive, without its signature'
          : 'is not connected: if it comes back, it is no drive of this group any more';
      await confirmed(
        `Replace the ${ROLE_NAME[role]} of ${quote(group.name)}, ${quote(known.label)}, by ${describe(drive)}? The old one ${why}.`,
        ctx,
      );
      const storage = await storageOf(group, ctx);
      const { group: updated, reformatted, warnings } = await replaceDrive(group.id, role, drive, ctx);
      for (const message of warnings) ctx.emit({ kind: 'warning', message });
      const next = role === 'backup' ? 'sync run' : storage === null ? 'sync refill' : 'restore run';
      const said = `${describe(drive)} is the ${ROLE_NAME[role]} of ${quote(updated.name)} now. Nothing was copied or deleted. Next: tandem ${next} ${updated.id.slice(0, 8)}`;
      return groupOutput(updated, said, { reformatted });
    },
  },
  swap: {
    summary: 'exchange Master and Backup; no file is touched',
    examples: ['tandem groups swap Archive'],
    args: [GROUP],
    run: async ({ args }, ctx) => {
      const { id, name, master_drive, backup_drive } = pickGroup(args['group'], listGroups(ctx));
      await confirmed(
        `Exchange the roles of ${quote(name)}: ${quote(backup_drive.label)} becomes the Master, ${quote(master_drive.label)} the Backup?`,
        ctx,
      );
      const group = await swapRoles(id, ctx);
      return groupOutput(
        group,
        `${quote(group.master_drive.label)} is the Master of ${quote(group.name)} now, ${quote(group.backup_drive.label)} the Backup.`,
      );
    },
  },
};
