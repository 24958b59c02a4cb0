/** All groups with their drives and status: `npx tsx docs/examples/list_storage_groups.ts` */
import { listDrives } from '../../features/detect.ts';
import { getDriveByRole, groupStatus, listGroups } from '../../features/groups.ts';
import { createContext } from '../../shared/context.ts';
import { messageOf } from '../../shared/errors.ts';
import { formatBytes } from '../../shared/format.ts';
import { displayPath } from '../../shared/paths.ts';

const ctx = createContext();
try {
  const groups = listGroups(ctx);
  const drives = groups.length > 0 ? await listDrives(ctx) : [];
  console.log(groups.length === 0 ? 'No groups yet.' : `Groups: ${groups.length}`);
  for (const group of groups) {
    console.log(`${displayPath(group.name)} (${group.id}): ${await groupStatus(group, ctx, drives)}`);
    for (const role of ['master', 'backup'] as const) {
      const { label, total_size, serial_number } = getDriveByRole(group, role);
      const serial = serial_number === null ? 'no serial number' : `serial ${displayPath(serial_number)}`;
      console.log(`  ${role}: ${displayPath(label)}, ${formatBytes(total_size)}, ${serial}`);
    }
  }
} catch (error) {
  console.error(displayPath(messageOf(error)));
  process.exitCode = 1;
} finally {
  await ctx.close();
}
