/** Where a group's drives are, and which path to work on: `npx tsx docs/examples/storage_group_status.ts GROUP` */
import { connectPair, getBackupPath, getGroup, groupStatus, resolveDrive } from '../../features/groups.ts';
import { createContext } from '../../shared/context.ts';
import { messageOf, TandemError } from '../../shared/errors.ts';
import { displayPath } from '../../shared/paths.ts';

const ICON = { connected: '✓ Both Connected', partial: '⚠ Partial', disconnected: '✗ Disconnected' };
const [name] = process.argv.slice(2);
const ctx = createContext();
try {
  if (!name) throw new TandemError('usage', 'Give the name or id of a group.');
  const group = getGroup(name, ctx);
  console.log(`${displayPath(group.name)}: ${ICON[await groupStatus(group, ctx)]}`);
  const { master, backup } = await connectPair(group, ctx);
  console.log(`  master: ${master ? displayPath(master.mount_path) : 'not connected'}`);
  console.log(`  backup: ${backup ? displayPath(backup.mount_path) : 'not connected'}`);
  console.log(`  backup path: ${displayPath((await getBackupPath(name, ctx)) ?? 'none')}`);
  const { path, drive } = await resolveDrive(name, ctx, 'use-backup');
  console.log(`  work on: ${displayPath(path)} (${drive})`);
} catch (error) {
  console.error(displayPath(messageOf(error)));
  process.exitCode = error instanceof TandemError ? error.exitCode : 1;
} finally {
  await ctx.close();
}
