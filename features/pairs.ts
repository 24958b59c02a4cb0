/**
 * A group's drives: which connected drive is whose Master or Backup, which drives may become a pair, and the signatures
 * that tie them. A drive is trusted by its signature; what cannot be told apart is refused, never guessed.
 */
import { randomUUID } from 'node:crypto';
import { realpathSync } from 'node:fs';
import type { Context } from '../shared/context.ts';
import { messageOf, TandemError } from '../shared/errors.ts';
import { VERSION } from '../shared/feature.ts';
import { isoTime } from '../shared/fields.ts';
import { formatBytes } from '../shared/format.ts';
import { type DriveIdentity, editGroup, type Group, listGroups, ROLES, type Role } from '../shared/groups-file.ts';
import { foldText, quote } from '../shared/named.ts';
import { displayPath, isInside } from '../shared/paths.ts';
import { usableSerial } from '../shared/platform.ts';
import { closeDriveRoot, openDriveRoot } from '../shared/store.ts';
import { holdsStoredFiles } from '../shared/stored-drive.ts';
import {
  type DriveInfo,
  listDrives,
  probeTraits,
  readSignature,
  removeSignature,
  type Signature,
  writeSignature,
} from './detect.ts';

export type GroupStatus = 'connected' | 'partial' | 'disconnected';

export const ROLE_NAME = { master: 'Master', backup: 'Backup' } as const;

/** A group and those of its drives that are connected. */
export interface Pair {
  group: Group;
  master: DriveInfo | null;
  backup: DriveInfo | null;
}

/**
 * Whether a drive is the one that a group knows: by signature once the group has a `drive_uuid`; else by serial number
 * where both have one, else by label (ignoring case) and size within 5 %.
 */
export function matchesDrive(
  identity: DriveIdentity,
  drive: Pick<DriveInfo, 'serial_number' | 'label' | 'total_size' | 'drive_uuid'>,
): boolean {
  if (identity.drive_uuid !== undefined) return identity.drive_uuid === drive.drive_uuid;
  const serials = [usableSerial(identity.serial_number), usableSerial(drive.serial_number)];
  if (serials[0] !== null && serials[1] !== null) return serials[0] === serials[1];
  return foldText(identity.label) === foldText(drive.label) && sizeFits(identity.total_size, drive.total_size);
}

/**
 * Finds both drives of a group. A drive whose label changed under a right signature has its label updated in the file.
 * @throws TandemError `guard` (`impostor`) when a signature is on two volumes, or on one of another size.
 */
export async function connectPair(group: Group, ctx: Context, drives?: readonly DriveInfo[]): Promise<Pair> {
  const { problem, ...pair } = matchPair(group, drives ?? (await listDrives(ctx)), ctx);
  if (problem) throw problem;
  const renamed = ROLES.filter((role) => {
    const known = group[`${role}_drive`];
    const label = pair[role]?.label ?? '';
    return known.drive_uuid !== undefined && label !== '' && label !== known.label;
  });
  if (renamed.length === 0) return { group, ...pair };
  try {
    const updated = await editGroup(group.id, ctx, (next) => {
      for (const role of renamed) next[`${role}_drive`].label = pair[role]?.label ?? '';
    });
    return { group: updated, ...pair };
  } catch (error) {
    ctx.emit({ kind: 'warning', message: `The changed label of a drive could not be noted: ${messageOf(error)}` });
    return { group, ...pair };
  }
}

/**
 * Signs the drives of a group that has no `drive_uuid` yet, when both are connected; otherwise returns the pair as it is.
 * @throws TandemError `invalid` when a drive is signed for another group or role, or is read-only.
 */
export async function ensureSigned(pair: Pair, ctx: Context): Promise<Pair> {
  const { group, master, backup } = pair;
  if (!master || !backup || (group.master_drive.drive_uuid && group.backup_drive.drive_uuid)) return pair;
  checkApart(master, backup);
  const joining = ROLES.map((role) => ({ role, drive: role === 'master' ? master : backup }));
  for (const { role, drive } of joining) checkJoins(drive, role, group, listGroups(ctx));
  return signing(joining, group, ctx, async (signed) => {
    const updated = await editGroup(group.id, ctx, (next) => {
      for (const { role, drive, drive_uuid } of signed) {
        const { label, total_size } = drive;
        next[`${role}_drive`] = { ...next[`${role}_drive`], label, total_size, drive_uuid };
      }
    });
    const [one, other] = signed.map(({ role, drive, drive_uuid }) => ({
      ...drive,
      drive_uuid,
      group_id: group.id,
      role,
    }));
    return { group: updated, master: one ?? master, backup: other ?? backup };
  });
}

/** A drive that is there twice (see `connectPair`) counts as not connected. */
export async function groupStatus(group: Group, ctx: Context, drives?: readonly DriveInfo[]): Promise<GroupStatus> {
  return statusOf(matchPair(group, drives ?? (await listDrives(ctx)), ctx));
}

/** As `connectPair`, but writes nothing and returns the problem beside what could be found. */
export function matchPair(
  group: Group,
  drives: readonly DriveInfo[],
  ctx: Context,
): Omit<Pair, 'group'> & { problem?: TandemError } {
  const master = matchSide(group, 'master', drives, ctx);
  const backup = matchSide(group, 'backup', drives, ctx);
  let problem = master instanceof TandemError ? master : backup instanceof TandemError ? backup : undefined;
  const pair = {
    master: master instanceof TandemError ? null : master,
    backup: backup instanceof TandemError ? null : backup,
  };
  if (pair.master && pair.master === pair.backup) {
    problem = impostor(`${describe(pair.master)} fits both Master and Backup of ${quote(group.name)}`);
    return { master: null, backup: null, problem };
  }
  return problem ? { ...pair, problem } : pair;
}

export function statusOf(pair: Omit<Pair, 'group'>): GroupStatus {
  if (pair.master && pair.backup) return 'connected';
  return pair.master || pair.backup ? 'partial' : 'disconnected';
}

/** The group that a drive belongs to, and as what; a signature goes before serial number and label. */
export async function getDriveRole(
  drive: Pick<DriveInfo, 'serial_number' | 'label' | 'total_size' | 'drive_uuid'>,
  ctx: Context,
): Promise<{ group: Group; role: Role } | null> {
  return roleIn(drive, listGroups(ctx)) ?? null;
}

/** @throws TandemError `invalid` unless the drive is among the connected ones, which detect has found removable or allowed */
export function checkEligible(drive: DriveInfo, connected: readonly DriveInfo[]): void {
  if (connected.some((other) => other.mount_path === drive.mount_path && other.device === drive.device)) return;
  if (!drive.removable && !drive.virtual) {
    throw new TandemError('invalid', `The drive ${describe(drive)} is not removable.`, {
      hint: 'Groups take removable drives; drives.allow_fixed in app.yaml allows others.',
    });
  }
  throw new TandemError('invalid', `The drive ${describe(drive)} is not connected.`, {
    hint: 'Connect it and try again; see `tandem detect list`.',
  });
}

/** @throws TandemError `invalid` when the copies would share a volume, a folder or a disk */
export function checkApart(master: DriveInfo, backup: DriveInfo): void {
  const [one, other] = [realPath(master.mount_path), realPath(backup.mount_path)];
  const sameUuid = master.drive_uuid !== null && master.drive_uuid === backup.drive_uuid;
  const real = !master.virtual && !backup.virtual;
  if (
    one === other ||
    sameUuid ||
    (real && (master.device === backup.device || master.device_number === backup.device_number))
  ) {
    throw new TandemError(
      'invalid',
      `Master and Backup cannot be the same drive: ${describe(master)}, ${describe(backup)}.`,
      { hint: 'Choose two different physical devices.' },
    );
  }
  if (isInside(one, other) || isInside(other, one)) {
    throw new TandemError(
      'invalid',
      `Master and Backup cannot lie inside each other: ${describe(master)}, ${describe(backup)}.`,
      { hint: 'Choose two separate folders or drives.' },
    );
  }
  if (real && master.disk === backup.disk) {
    throw new TandemError(
      'invalid',
      `Master and Backup cannot be on the same disk: ${describe(master)} and ${describe(backup)} are both on ${displayPath(master.disk)}.`,
      {
        hint: 'When that disk fails both copies are gone; choose a second device.',
      },
    );
  }
}

/** Sentences about what is allowed but unwise. */
export function pairWarnings(master: DriveIdentity, backup: DriveIdentity): string[] {
  const warnings: string[] = [];
  if (foldText(master.label) === foldText(backup.label)) {
    warnings.push(
      `Master and Backup have the same label ${quote(master.label)}; labels such as PhotoMaster and PhotoBackup keep them apart.`,
    );
  }
  for (const label of new Set([master.label, backup.label])) {
    if (GENERIC.test(label.trim()))
      warnings.push(
        `The label ${quote(label)} is generic; a descriptive label such as Video2026-M is easier to recognise.`,
      );
  }
  if (backup.total_size < master.total_size) {
    warnings.push(
      `The Backup (${formatBytes(backup.total_size)}) is smaller than the Master (${formatBytes(master.total_size)}) and may fill up.`,
    );
  }
  if (master.serial_number !== null && master.serial_number === backup.serial_number) {
    warnings.push(
      `Both drives report the serial number ${quote(master.serial_number)}, as drives in one dock do; their signatures tell them apart.`,
    );
  }
  return warnings;
}

/**
 * @param self the group that the drive joins, if there is one already
 * @throws TandemError `invalid` when the drive belongs to another group, known here or not
 */
export function checkFree(drive: DriveInfo, groups: readonly Group[], self?: Group): Signature | null {
  const signature = readSignature(drive.mount_path);
  const owner = roleIn(
    { ...drive, drive_uuid: signature?.drive_uuid ?? null },
    groups.filter((group) => group.id !== self?.id),
  );
  if (owner) {
    throw new TandemError(
      'invalid',
      `Drive already assigned to another group: ${quote(drive.label)} is the ${ROLE_NAME[owner.role]} of ${quote(owner.group.name)}.`,
      {
        hint: `Edit or delete ${quote(owner.group.name)} first, or choose another drive.`,
      },
    );
  }
  if (signature && signature.group_id !== self?.id) {
    throw new TandemError(
      'invalid',
      `Drive already assigned to another group: ${describe(drive)} is signed for the group ${displayPath(signature.group_id)}, which this computer does not know.`,
      {
        hint: 'Take that group over with `tandem groups adopt`; if it is gone for good, remove .tandem/drive.json from the drive.',
      },
    );
  }
  return signature;
}

/** @throws TandemError `invalid` when the drive belongs to another group or has the other role in this one */
export function checkJoins(drive: DriveInfo, role: Role, group: Group, groups: readonly Group[]): void {
  const signature = checkFree(drive, groups, group);
  if (signature && signature.role !== role) {
    throw new TandemError(
      'invalid',
      `${describe(drive)} is signed as the ${ROLE_NAME[signature.role]} of ${quote(group.name)} and cannot become its ${ROLE_NAME[role]}.`,
      {
        hint: 'Exchange the roles of the pair with `tandem groups swap`.',
      },
    );
  }
}

export interface Signed {
  role: Role;
  drive: DriveInfo;
  drive_uuid: string;
}

/**
 * @throws TandemError `invalid` for a drive whose files are compressed or sealed: as a Master it would pass them on as the
 * user's own.
 */
export async function checkPlain(drive: DriveInfo): Promise<void> {
  const root = openDriveRoot(drive.mount_path, drive.label);
  try {
    if (!(await holdsStoredFiles(root))) return;
  } finally {
    closeDriveRoot(root);
  }
  throw new TandemError(
    'invalid',
    `${describe(drive)} holds files that are compressed or sealed, as the Backup of a group stores them: it cannot be a Master as it is.`,
    {
      hint: 'Bring the files to the Master with `tandem restore run`; or turn compression and encryption of that group off and sync it once, which makes its Backup plain.',
    },
  );
}

/** @throws TandemError `invalid` for a drive that takes no signature */
export function checkWritable(drive: DriveInfo): void {
  if (!drive.read_only) return;
  throw new TandemError('invalid', `The drive ${describe(drive)} is read-only and cannot be signed.`, {
    hint: 'Mount it writable and try again.',
  });
}

/** Signs the drives, then records them; when either fails, every drive is as it was. */
export async function signing<T>(
  drives: readonly { role: Role; drive: DriveInfo }[],
  group: Group,
  ctx: Context,
  record: (signed: Signed[]) => Promise<T>,
): Promise<T> {
  const undo: (() => void)[] = [];
  const signed: Signed[] = [];
  try {
    for (const { role, drive } of drives) {
      if (role === 'master') await checkPlain(drive);
      const { mount_path: root, label, serial_number, total_size, filesystem } = drive;
      const before = readSignature(root);
      const drive_uuid = before?.drive_uuid ?? randomUUID();
      signed.push({ role, drive, drive_uuid });
      if (before && before.label === label && before.total_size === total_size) continue;
      checkWritable(drive);
      const traits = probeTraits(root, filesystem);
      undo.push(() => (before ? writeSignature(root, before) : removeSignature(root)));
      const created_at = before?.created_at ?? isoTime(ctx.now());
      writeSignature(root, {
        tandem_version: VERSION,
        drive_uuid,
        group_id: group.id,
        role,
        label,
        serial_number,
        total_size,
        created_at,
        traits,
      });
    }
    return await record(signed);
  } catch (error) {
    for (const step of undo) quietly(step, ctx);
    throw error;
  }
}

/** Removes this group's signatures; drives that cannot be written to keep theirs. */
export function freeDrives(
  drives: readonly DriveInfo[],
  groupId: string,
): { drive: DriveInfo; signature: Signature }[] {
  return drives.flatMap((drive) => {
    try {
      const signature = readSignature(drive.mount_path);
      if (signature?.group_id !== groupId) return [];
      removeSignature(drive.mount_path);
      return [{ drive, signature }];
    } catch {
      return [];
    }
  });
}

export const describe = (drive: Pick<DriveInfo, 'label' | 'mount_path'>): string =>
  `${quote(drive.label)} at ${displayPath(drive.mount_path)}`;

export function identityOf(drive: DriveInfo): DriveIdentity {
  return { serial_number: usableSerial(drive.serial_number), label: drive.label, total_size: drive.total_size };
}

// --- internal ---

const sizeFits = (size: number, reference: number): boolean => Math.abs(size - reference) * 20 <= reference;

function matchSide(
  group: Group,
  role: Role,
  drives: readonly DriveInfo[],
  ctx: Context,
): DriveInfo | null | TandemError {
  const known = group[`${role}_drive`];
  let found = drives.filter((drive) => matchesDrive(known, drive));
  // A serial number may name a dock or a disk with several volumes.
  const exact = found.filter(
    (drive) => foldText(known.label) === foldText(drive.label) && sizeFits(known.total_size, drive.total_size),
  );
  if (known.drive_uuid === undefined && exact.length > 0) found = exact;
  const [drive, second] = found;
  if (!drive) return null;
  const whose = `${ROLE_NAME[role]} ${quote(known.label)} of ${quote(group.name)}`;
  if (second) return impostor(`${describe(drive)} and ${describe(second)} both look like ${whose}`);
  const sizeKnown =
    !drive.virtual ||
    ctx.settings().virtualDrives.some((one) => one.path === drive.mount_path && one.total_size !== undefined);
  if (known.drive_uuid === undefined || !sizeKnown || sizeFits(drive.total_size, known.total_size)) return drive;
  return impostor(
    `${describe(drive)} (${formatBytes(drive.total_size)}) carries the signature of ${whose} (${formatBytes(known.total_size)})`,
  );
}

function impostor(what: string): TandemError {
  return new TandemError('guard', `${what}: one of them is a copy, or a drive was changed.`, {
    guard: 'impostor',
    hint: 'Disconnect the copy; if the drive is right and only its size changed, record it anew with `tandem groups edit GROUP --master DRIVE` (or --backup).',
  });
}

/** For cleaning up after a failure, which must not hide the failure. */
function quietly(step: () => void, ctx: Context): void {
  try {
    step();
  } catch (error) {
    ctx.emit({ kind: 'warning', message: messageOf(error) });
  }
}

function roleIn(
  drive: Parameters<typeof matchesDrive>[1],
  groups: readonly Group[],
): { group: Group; role: Role } | undefined {
  for (const signed of [true, false]) {
    for (const group of groups) {
      for (const role of ROLES) {
        const known = group[`${role}_drive`];
        if ((known.drive_uuid !== undefined) === signed && matchesDrive(known, drive)) return { group, role };
      }
    }
  }
  return undefined;
}

const GENERIC =
  /^(|(my|new|the)?[ _-]?(usb|usb[ _-]?(drive|disk|stick)|drive|disk|volume|external([ _-]?(drive|disk))?)|untitled.*|no[ _-]?name|removable disk|local disk|[a-z]:?[\\/]?)$/i;

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
