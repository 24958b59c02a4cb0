/** Projects that have lost their home: for `tandem doctor`. Reads only what this computer remembers. */
import { statSync } from 'node:fs';
import { type Check, failed, ok, warn } from '../shared/checks.ts';
import type { Context } from '../shared/context.ts';
import { plural } from '../shared/format.ts';
import { quote } from '../shared/named.ts';
import { displayPath } from '../shared/paths.ts';
import { homesOf, knownProjects, type Project, partsOf } from './catalog.ts';
import type { Group } from './groups.ts';

/** One line when all is well; else one for each thing that is wrong. */
export async function projectChecks(groups: readonly Group[], ctx: Context): Promise<Check[]> {
  let projects: Project[];
  try {
    projects = await knownProjects(ctx);
  } catch (error) {
    return [failed('projects', error)];
  }
  if (projects.length === 0) return [];
  const wrong = projects.flatMap((project) => checksOf(project, groups));
  return wrong.length > 0 ? wrong : [ok('projects', `${plural(projects.length, 'project')} with a home.`)];
}

// --- internal ---

function checksOf(project: Project, groups: readonly Group[]): Check[] {
  const name = `project:${project.name}`;
  const called = `The project ${quote(project.name)}`;
  if (partsOf(project).length === 0) {
    if (statSync(project.path, { throwIfNoEntry: false })?.isDirectory()) return [];
    return [
      warn(
        name,
        `${called} has no folder: '${displayPath(project.path)}' is not there.`,
        'Connect its disk, or say where the folder is with `tandem projects edit --path`.',
      ),
    ];
  }
  try {
    homesOf(project);
  } catch (error) {
    return [failed(name, error)];
  }
  return partsOf(project).flatMap(({ role, group_id }) => {
    const part = role === null ? called : `${called} (${displayPath(role)})`;
    const group = groups.find(({ id }) => id === group_id);
    if (!group)
      return [
        warn(
          name,
          `${part} lies on the group ${displayPath(group_id)}, which this computer does not know.`,
          'Plug in its drives and take it over with `tandem groups adopt`, or give the project another group with `tandem projects edit --group`.',
        ),
      ];
    const unseen = [group.master_drive, group.backup_drive].filter(({ drive_uuid }) => drive_uuid === undefined);
    return unseen.map(({ label }) =>
      warn(
        name,
        `${part} lies on ${quote(label)} of the group ${quote(group.name)}, a drive that was never seen here.`,
        'Plug in both drives of the group and sync once: then they are signed.',
      ),
    );
  });
}
