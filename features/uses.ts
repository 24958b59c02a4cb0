/** Who relies on a group: the projects that lie on it, the schedules and watchers that work on it. Reads only. */
import type { Context } from '../shared/context.ts';
import { partsOf, readProjects } from '../shared/projects-file.ts';
import { readWatchers } from '../shared/watch-rows.ts';

/** Names as people know them; of schedules the ids. */
export interface GroupUses {
  projects: string[];
  schedules: string[];
  watchers: string[];
}

export async function groupUses(id: string, ctx: Context): Promise<GroupUses> {
  const lying = readProjects(ctx).projects.filter((project) =>
    partsOf(project).some(({ group_id }) => group_id === id),
  );
  const sql = 'SELECT schedule_id FROM schedules WHERE target_id = ? ORDER BY schedule_id';
  const rows = await (await ctx.dbIfExists())?.all<{ schedule_id: string }>(sql, [id]);
  const watchers = (await readWatchers(ctx)).filter(({ group_id }) => group_id === id);
  return {
    projects: lying.map(({ name }) => name),
    schedules: (rows ?? []).map(({ schedule_id }) => schedule_id),
    watchers: watchers.map(({ target, role }) => (role === '' ? target : `${target} (${role})`)),
  };
}
