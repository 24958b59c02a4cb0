/** What was synced, and what the last run did: `npx tsx docs/examples/sync_history.ts GROUP [LIMIT]` */
import { getGroup } from '../../features/groups.ts';
import { exportHistory, getSyncHistory, operationFiles } from '../../features/history.ts';
import { createContext } from '../../shared/context.ts';
import { messageOf, TandemError } from '../../shared/errors.ts';
import { formatBytes } from '../../shared/format.ts';
import { displayPath } from '../../shared/paths.ts';

const [name, limit = '50'] = process.argv.slice(2);
const ctx = createContext();
try {
  if (!name) throw new TandemError('usage', 'Give the name or id of a group.');
  const group = getGroup(name, ctx);
  const operations = await getSyncHistory(group.id, Number(limit), ctx);
  for (const { id, status, start_time, files_copied, files_skipped, bytes_copied } of operations) {
    const counts = `${files_copied} copied, ${files_skipped} skipped, ${formatBytes(bytes_copied)}`;
    console.log(`${id}  ${start_time}  ${status}  ${counts}`);
  }
  const [last] = operations;
  for (const { action, status, path } of last ? await operationFiles(last.id, ctx) : []) {
    console.log(`  ${action} ${status}: ${displayPath(path)}`);
  }
  const csv = await exportHistory('csv', { group_id: group.id, limit: 'all' }, ctx);
  console.log(csv.trimEnd());
} catch (error) {
  console.error(displayPath(messageOf(error)));
  process.exitCode = error instanceof TandemError ? error.exitCode : 1;
} finally {
  await ctx.close();
}
