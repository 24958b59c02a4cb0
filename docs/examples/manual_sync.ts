/** One sync with progress, Ctrl-C and a look at conflicts: `npx tsx docs/examples/manual_sync.ts GROUP [FOLDER]` */
import { detectConflicts, syncToBackup } from '../../features/sync.ts';
import { createContext } from '../../shared/context.ts';
import { messageOf, TandemError } from '../../shared/errors.ts';
import { formatBytes } from '../../shared/format.ts';
import { displayPath } from '../../shared/paths.ts';

const [group, folder] = process.argv.slice(2);
const stop = new AbortController();
process.once('SIGINT', () => stop.abort());
const ctx = createContext({
  signal: stop.signal,
  emit: (event) => {
    if (event.kind === 'progress') console.log(`Progress: ${event.progress.files_done}/${event.progress.files_total}`);
  },
});
try {
  if (!group) throw new TandemError('usage', 'Give the name or id of a group, and if you like a folder of it.');
  const result = await syncToBackup(group, folder === undefined ? {} : { path: folder }, ctx);
  const seconds = (Date.parse(result.end_time) - Date.parse(result.start_time)) / 1000;
  console.log(`${result.status}: ${result.files_copied} copied, ${result.files_skipped} skipped`);
  console.log(`${formatBytes(result.bytes_copied)} in ${seconds.toFixed(1)} s`);
  for (const { path, message } of result.problems) console.log(`! ${displayPath(path)}: ${message}`);
  for (const conflict of result.conflicts_detected > 0 ? await detectConflicts(group, folder, ctx) : []) {
    console.log(`conflict: ${displayPath(conflict.relative_path)} (${conflict.conflict_type})`);
  }
} catch (error) {
  console.error(displayPath(messageOf(error)));
  process.exitCode = error instanceof TandemError ? error.exitCode : 1;
} finally {
  await ctx.close();
}
