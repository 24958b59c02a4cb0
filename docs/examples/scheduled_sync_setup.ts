/** Schedules by interval and by cron expression: `npx tsx docs/examples/scheduled_sync_setup.ts GROUP [FOLDER]` */
import {
  addCronSchedule,
  addIntervalSchedule,
  listSchedules,
  nextTimes,
  pauseSchedule,
  removeSchedule,
  resumeSchedule,
} from '../../features/schedule.ts';
import { createContext } from '../../shared/context.ts';
import { messageOf, TandemError } from '../../shared/errors.ts';
import { formatTime } from '../../shared/format.ts';
import { displayPath } from '../../shared/paths.ts';

const [group, folder] = process.argv.slice(2);
const ctx = createContext();
try {
  if (!group) throw new TandemError('usage', 'Give the name or id of a group, and if you like a folder of it.');
  for (const { schedule_id } of await listSchedules(ctx)) {
    if (['project-auto-sync', 'nightly-backup'].includes(schedule_id)) await removeSchedule(schedule_id, ctx);
  }
  await addIntervalSchedule('project-auto-sync', group, folder, 30, ctx);
  await addCronSchedule('nightly-backup', group, folder, '0 2 * * *', ctx);
  await pauseSchedule('project-auto-sync', ctx);
  await resumeSchedule('project-auto-sync', ctx);
  for (const { schedule_id, target, enabled } of await listSchedules(ctx)) {
    const times = await nextTimes(schedule_id, 3, ctx);
    console.log(`${schedule_id}: ${displayPath(target)}, ${enabled ? 'enabled' : 'paused'}`);
    for (const time of times) console.log(`  ${formatTime(time)}`);
  }
  console.log('Carry them out with: tandem daemon run');
} catch (error) {
  console.error(displayPath(messageOf(error)));
  process.exitCode = error instanceof TandemError ? error.exitCode : 1;
} finally {
  await ctx.close();
}
