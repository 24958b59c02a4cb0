/** Pairs two connected drives: `npx tsx docs/examples/create_storage_group.ts NAME MASTER BACKUP [DESCRIPTION]` */
import { findDrive, listDrives } from '../../features/detect.ts';
import { createGroup } from '../../features/groups.ts';
import { createContext } from '../../shared/context.ts';
import { messageOf, TandemError } from '../../shared/errors.ts';
import { displayPath } from '../../shared/paths.ts';

const [name, master, backup, description] = process.argv.slice(2);
const ctx = createContext();
try {
  if (!name || !master || !backup) throw new TandemError('usage', 'Give NAME MASTER BACKUP [DESCRIPTION].');
  const drives = await listDrives(ctx);
  const { group, warnings } = await createGroup(
    { name, master: findDrive(master, drives), backup: findDrive(backup, drives), description },
    ctx,
  );
  console.log(`Created ${displayPath(group.name)} (${group.id})`);
  console.log(`  master: ${displayPath(group.master_drive.label)}, signed as ${group.master_drive.drive_uuid}`);
  console.log(`  backup: ${displayPath(group.backup_drive.label)}, signed as ${group.backup_drive.drive_uuid}`);
  for (const warning of warnings) console.log(`  note: ${warning}`);
} catch (error) {
  console.error(displayPath(messageOf(error)));
  process.exitCode = error instanceof TandemError ? error.exitCode : 1;
} finally {
  await ctx.close();
}
