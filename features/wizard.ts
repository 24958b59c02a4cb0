/** The two questions that make a group: which drive is the Master, which the Backup; and what it is called. */
import type { Context } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import { formatBytes } from '../shared/format.ts';
import { ROLES, type Role } from '../shared/groups-file.ts';
import { type DriveInfo, findDrive, listDrives } from './detect.ts';
import { checkApart, describe, ROLE_NAME } from './pairs.ts';

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
