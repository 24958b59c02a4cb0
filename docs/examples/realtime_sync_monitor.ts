/** Watches a group for some seconds, and says what it did: `npx tsx docs/examples/realtime_sync_monitor.ts GROUP [SECONDS]` */
import {
  enableRealtimeSync,
  isRealtimeSyncEnabled,
  listRealtimeWatchers,
  Watcher,
  watchedTarget,
} from '../../features/watch.ts';
import { createContext } from '../../shared/context.ts';
import { messageOf, TandemError } from '../../shared/errors.ts';
import { displayPath } from '../../shared/paths.ts';

const [name, seconds = '30'] = process.argv.slice(2);
const ctx = createContext();
try {
  if (!name) throw new TandemError('usage', 'Give the name or id of a group or project.');
  const rows = await enableRealtimeSync(name, { debounce: 0.5 }, ctx);
  for (const row of rows) {
    console.log(`${displayPath(row.target)}: enabled ${await isRealtimeSyncEnabled(row.watch_id, ctx)}`);
    const watcher = new Watcher(await watchedTarget(row, ctx), ctx, {
      watchId: row.watch_id,
      onState: (state) => console.log(`${displayPath(row.target)}: ${state}`),
      onResult: ({ status, files_copied }) => console.log(`${status}: ${files_copied} copied`),
    });
    await watcher.start();
    await new Promise((done) => setTimeout(done, Number(seconds) * 1000));
    await watcher.close();
  }
  for (const { target, status, last_sync } of await listRealtimeWatchers(ctx))
    console.log(`${displayPath(target)}: ${status}, last sync ${last_sync ?? 'never'}`);
} catch (error) {
  console.error(displayPath(messageOf(error)));
  process.exitCode = error instanceof TandemError ? error.exitCode : 1;
} finally {
  await ctx.close();
}
