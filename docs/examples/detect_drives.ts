/** Drives that are connected, and whose they are: `npx tsx docs/examples/detect_drives.ts` */
import { listDrives } from '../../features/detect.ts';
import { getDriveRole } from '../../features/groups.ts';
import { createContext } from '../../shared/context.ts';
import { messageOf } from '../../shared/errors.ts';
import { formatBytes } from '../../shared/format.ts';
import { displayPath } from '../../shared/paths.ts';

const ctx = createContext();
try {
  const drives = await listDrives(ctx);
  console.log(drives.length === 0 ? 'No drive is connected.' : `Drives: ${drives.length}`);
  for (const drive of drives) {
    const found = await getDriveRole(drive, ctx);
    const role = found ? `${found.role} of ${displayPath(found.group.name)}` : 'in no group';
    const kind = drive.virtual ? 'virtual' : drive.removable ? 'removable' : 'fixed';
    console.log(`${displayPath(drive.label)} at ${displayPath(drive.mount_path)}: ${role}`);
    console.log(
      `  ${kind}, ${drive.filesystem}, ${formatBytes(drive.free_size)} of ${formatBytes(drive.total_size)} free`,
    );
  }
} catch (error) {
  console.error(displayPath(messageOf(error)));
  process.exitCode = 1;
} finally {
  await ctx.close();
}
