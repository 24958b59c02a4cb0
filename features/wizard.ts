/**
 * The two questions that make a group: which drive is the Master, which the Backup; and what it is called. And what
 * `createGroup` would say to answers, before anything is written.
 */
import type { Context } from '../shared/context.ts';
import { messageOf, TandemError } from '../shared/errors.ts';
import { formatBytes } from '../shared/format.ts';
import { type Group, listGroups, ROLES, type Role } from '../shared/groups-file.ts';
import { checkName } from '../shared/named.ts';
import { type DriveInfo, findDrive, listDrives } from './detect.ts';
import {
  checkApart,
  checkEligible,
  checkFree,
  checkPlain,
  checkWritable,
  describe,
  identityOf,
  pairWarnings,
  ROLE_NAME,
} from './pairs.ts';

export interface Refusal {
  message: string;
  hint: string;
}

export interface NewGroupCheck {
  /** Why the drive cannot have that role. */
  master: Refusal | null;
  backup: Refusal | null;
  /** Why the two cannot be a pair. */
  pair: Refusal | null;
  name: Refusal | null;
  /** Sentences about what is allowed but unwise. */
  warnings: string[];
}

/** What `createGroup` would refuse and warn of; what is left out is not judged. Writes nothing. */
export async function checkNewGroup(
  {
    name,
    master,
    backup,
  }: { name?: string | undefined; master?: DriveInfo | undefined; backup?: DriveInfo | undefined },
  ctx: Context,
  connected?: readonly DriveInfo[],
): Promise<NewGroupCheck> {
  const [drives, groups] = [connected ?? (await listDrives(ctx)), listGroups(ctx)];
  const side = (role: Role, drive: DriveInfo | undefined): Promise<Refusal | null> =>
    refusalOf(async () => {
      if (drive) await checkSide(role, drive, drives, groups);
    });
  return {
    master: await side('master', master),
    backup: await side('backup', backup),
    pair: await refusalOf(() => {
      if (master && backup) checkApart(master, backup);
    }),
    name: await refusalOf(() => {
      if (name !== undefined) checkName(name.trim(), groups, 'group');
    }),
    warnings: master && backup ? pairWarnings(identityOf(master), identityOf(backup)) : [],
  };
}

/** Asks for what the command line does not give: Master, Backup, name, description. */
export async function askForGroup(
  given: { name?: string; master?: string; backup?: string; description?: string },
  ctx: Context,
): Promise<{ name: string; master: DriveInfo; backup: DriveInfo; description: string }> {
  const drives = await listDrives(ctx);
  const asking = ctx.prompts.interactive && !(given.name && given.master && given.backup);
  const chosen: Partial<Record<Role, DriveInfo>> = {};
  for (const role of ROLES) if (given[role] !== undefined) chosen[role] = findDrive(given[role], drives);
  for (const [step, role] of ROLES.entries()) {
    if (chosen[role]) continue;
    const free = drives.filter(
      (drive) =>
        drive.group_id === null && !Object.values(chosen).some((other) => other.mount_path === drive.mount_path),
    );
    if (ctx.prompts.interactive && free.length === 0) {
      throw new TandemError('drive_missing', `No free drive is connected that could be the ${ROLE_NAME[role]}.`, {
        hint: 'Plug one in, allow a fixed one (drives.allow_fixed), or name a folder with `tandem detect add`.',
      });
    }
    const rows = free.map(
      (drive) => `${describe(drive)}, ${formatBytes(drive.total_size)}, ${formatBytes(drive.free_size)} free`,
    );
    const index = await ctx.prompts.choose(
      `Step ${step + 1} of 2: which drive is the ${ROLE_NAME[role]}?`,
      rows,
      `--${role} DRIVE`,
    );
    const drive = free[index];
    if (drive) chosen[role] = drive;
  }
  const { master, backup } = chosen;
  if (!master || !backup)
    throw new TandemError('usage', 'Two drives are needed for a group.', {
      hint: 'Give --master DRIVE and --backup DRIVE.',
    });
  checkApart(master, backup);
  const name = given.name ?? (await ctx.prompts.input('Name of the group:', 'NAME'));
  const description =
    given.description ?? (asking ? await ctx.prompts.input('Description (may stay empty):', '--description TEXT') : '');
  return { name, master, backup, description };
}

// --- internal ---

async function checkSide(
  role: Role,
  drive: DriveInfo,
  connected: readonly DriveInfo[],
  groups: readonly Group[],
): Promise<void> {
  checkEligible(drive, connected);
  checkFree(drive, groups);
  if (role === 'master') await checkPlain(drive);
  checkWritable(drive);
}

async function refusalOf(check: () => void | Promise<void>): Promise<Refusal | null> {
  try {
    await check();
    return null;
  } catch (error) {
    return { message: messageOf(error), hint: error instanceof TandemError ? (error.hint ?? '') : '' };
  }
}
