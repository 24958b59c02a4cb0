/** What can be done with a group or a project: why not, or the effects. Pure. */
import { ask, askLive, type Choice } from '../dialogs.ts';
import type { Effect, Overlay } from '../screen.ts';
import { want } from '../wants.ts';
import type { GroupRow } from './home-rows.ts';
import { groupsOf, overviewOf, type PlacesView } from './places-draw.ts';
import { addDriveForm, driveDialog, ejectEffects } from './places-drive.ts';
import { adoptGroup, deleteGroup, editGroup, replaceDrive, swapRoles } from './places-forms.ts';
import { encryptionDialog } from './places-keys.ts';
import { optionsForm } from './places-options.ts';
import { deleteProject, groupForProject, projectForm } from './places-projects.ts';
import { belowProject, type Drive, type ProjectRow, statedByProject } from './places-rows.ts';
import { command, look } from './places-words.ts';
import { showPlan } from './run.ts';
import type { PlanTarget } from './run-data.ts';
import { unlocked } from './unlock.ts';

/** Key, action, label, help, and the place in the footer. */
export const ACTIONS: readonly (readonly [key: string, action: string, label: string, help: string, hint?: number])[] =
  [
    ['n', 'new', 'new', 'a new group step by step, or a new project', 2],
    ['e', 'edit', 'edit', 'name, description, drives or folder', 3],
    ['p', 'options', 'options', 'every option: set, default, presets', 4],
    ['s', 'sync', 'sync', 'sync the group or the project', 5],
    ['P', 'review', 'plan', 'what a sync would do, to be looked through and unticked first', 6],
    ['d', 'plan', 'dry run', 'what a sync would do, as text; writes nothing'],
    ['v', 'verify', 'verify', 'read files anew, compare with the record', 7],
    ['x', 'eject', 'eject', 'let the drives of the group go', 8],
    ['i', 'drives', 'drives', 'what is known of a drive; use a folder as one'],
    ['c', 'encryption', 'encryption', 'key, passwords and recovery key of the group'],
    ['w', 'swap', 'swap', 'exchange Master and Backup'],
    ['R', 'replace', 'replace', 'a new drive in the place of a lost one'],
    ['A', 'adopt', 'adopt', 'take over a group that another computer made'],
    ['O', 'open', 'open', 'where to work on the project'],
    ['m', 'pair', 'make group', 'pair the drive of a plain project with a second one'],
    ['t', 'report', 'report', 'what is known of the copies of the project'],
    ['D', 'delete', 'delete', 'forget it; no file is touched', 9],
  ];

/** Plans, reports and where to work change nothing. */
export const LOOKS = new Set(['plan', 'open', 'report', 'encryption', 'drives']);

export interface Doing {
  /** Why it is not possible now. */
  why?: string | undefined;
  effects?: readonly Effect[];
}

export function groupAction(action: string, group: GroupRow | undefined, view: PlacesView): Doing {
  const { drives } = overviewOf(view);
  if (ONLY_PROJECTS.has(action)) return { why: 'it is for projects: Tab goes to their list' };
  if (!view.read('status').value) return { why: 'drives and groups are still being read' };
  if (action === 'adopt') return opens(adoptGroup(drives, groupsOf(view)));
  if (action === 'drives') return opens(drivesMenu(group?.id));
  if (!group) return { why: 'there is no group yet' };
  const { id, name } = group;
  const away = group.status === 'connected' ? undefined : 'a drive of it is not connected';
  switch (action) {
    case 'edit':
      return opens(editGroup(group, drives));
    case 'options': {
      const [table, facts] = [view.read('options').value, view.read('group', id).value];
      if (!table || !facts) return { why: 'its options are still being read' };
      return opens(optionsForm({ owner: 'group', id, name, set: facts.set, below: {} }, table));
    }
    case 'encryption':
      return opens(encryptionDialog({ id, name }));
    case 'swap':
      return away ? { why: away } : opens(swapRoles(group));
    case 'replace':
      return opens(replaceDrive(group, drives));
    case 'eject':
      return ejectGroup(group, view);
    case 'delete':
      return opens(deleteGroup(group, view.read('group', id).value));
    default:
      return work(
        action,
        { id, name, groups: [id] },
        view,
        away ?? (group.run && action !== 'plan' ? 'it is running' : undefined),
      );
  }
}

export function projectAction(action: string, project: ProjectRow | undefined, view: PlacesView): Doing {
  const { drives } = overviewOf(view);
  const groups = groupsOf(view);
  const known = view.read('status').value !== undefined;
  if (!known) return { why: 'drives and groups are still being read' };
  if (action === 'new') return opens(projectForm(undefined, groups, drives));
  if (ONLY_GROUPS.has(action)) return { why: 'it is for groups: Tab goes to their list' };
  if (!project)
    return { why: view.read('projects').value ? 'there is no project yet' : 'the projects are still being read' };
  const { id, name, status, parts } = project;
  switch (action) {
    case 'edit':
      return opens(projectForm(project, groups, drives));
    case 'options': {
      const [table, facts] = [view.read('options').value, view.read('project', id).value];
      if (!table || !facts) return { why: 'its options are still being read' };
      const stated = { set: statedByProject(facts), below: belowProject(facts) };
      return opens(optionsForm({ owner: 'project', id, name, ...stated }, table));
    }
    case 'open':
      return { effects: [openCommand(project)] };
    case 'pair':
      return parts.length > 0 ? { why: 'it lies on a group already' } : opens(groupForProject(project, drives));
    case 'report':
      return {
        effects: [look(['report', 'project', id], `report of ${name}`)],
      };
    case 'delete':
      return opens(deleteProject(project));
    default:
      return work(
        action,
        { id, name, groups: parts.map(({ group_id }) => group_id) },
        view,
        status === 'connected'
          ? undefined
          : parts.length === 0
            ? 'it is a plain folder without a group: m makes one'
            : 'a drive of it is not connected',
      );
  }
}

/** All actions with a letter each; those that are not possible say why. */
export function menu(
  name: string,
  actions: readonly (Doing & { key: string; label: string; help: string; writes: boolean })[],
  readOnly: boolean,
): Overlay {
  const here = actions.filter(({ why }) => !why?.startsWith('it is for '));
  return ask({
    title: name,
    lines: [],
    choices: here.map(
      ({ key, label, help, writes, why, effects = [] }): Choice => ({
        key,
        label: label.padEnd(11),
        help,
        effects,
        disabled: writes && readOnly ? FROZEN : why,
      }),
    ),
  });
}

// --- internal ---

const FROZEN = 'the dashboard was started with --read-only';
const ONLY_PROJECTS = new Set(['open', 'pair', 'report']);
const ONLY_GROUPS = new Set(['drives', 'encryption', 'swap', 'replace', 'adopt', 'eject']);

function opens(overlay: Overlay): Doing {
  return { effects: [{ kind: 'overlay', overlay }] };
}

function work(action: string, target: PlanTarget, view: PlacesView, why: string | undefined): Doing {
  const { id, name, groups } = target;
  const words = {
    sync: ['sync', 'run', id],
    plan: ['sync', 'run', id, '--dry-run'],
    review: [],
    verify: ['verify', 'run', id],
  }[action];
  if (words === undefined) return {};
  if (why !== undefined) return { why };
  if (action === 'review')
    return groups.length > 1 ? { why: 'it lies on several groups: plan each of them' } : { effects: showPlan(target) };
  const what = { sync: 'sync', plan: 'plan', verify: 'verification' }[action] ?? action;
  const label = `${what} of ${name}`;
  return {
    effects: unlocked(action === 'plan' ? look(words, label) : { kind: 'command', words, label }, groups, view),
  };
}

/** With the Master away the question whether the Backup will do is asked first. */
function openCommand({ id, name, status }: ProjectRow): Effect {
  const words = (flag: string): string[] => ['projects', 'open', id, flag];
  const label = `folder of ${name}`;
  if (status !== 'partial') return look(words('--no-backup'), label);
  const overlay = ask({
    title: `Open ${name}`,
    lines: [
      'A drive is not connected. When it is the Master, the Backup can be used: what is changed there comes back as conflicts.',
    ],
    choices: [
      {
        key: 'n',
        label: 'Only the Master',
        effects: [look(words('--no-backup'), label)],
      },
      {
        key: 'b',
        label: 'The Backup where the Master is away',
        effects: [look(words('--use-backup'), label)],
      },
    ],
  });
  return { kind: 'overlay', overlay };
}

/** The drives of the group first, then the others that are connected. */
function drivesMenu(groupId: string | undefined): Overlay {
  return askLive([want('status'), want('running')], (view) => {
    const { drives } = overviewOf(view);
    const group = groupsOf(view).find(({ id }) => id === groupId);
    const own = group ? [group.master_drive, group.backup_drive] : [];
    const others = drives.filter(({ mount_path }) => !own.some((one) => one.mount_path === mount_path)).slice(0, 9);
    const entry = (key: string, label: string, path: string | null): Choice => {
      const overlay = driveDialog({ label, drive: drives.find(({ mount_path }) => mount_path === path) });
      return { key, label, help: path ?? 'not connected', effects: [{ kind: 'overlay', overlay }] };
    };
    return {
      title: group ? `Drives of ${group.name}, and others` : 'Drives',
      lines: drives.length === 0 ? ['No drive is connected. Plug one in, or use a folder as one.'] : [],
      choices: [
        ...own.map((one, index) => entry('mb'[index] ?? '', one.label, one.mount_path)),
        ...others.map((drive, index) => entry(String(index + 1), drive.label, drive.mount_path)),
        {
          key: 'a',
          label: 'Use a folder as a drive',
          disabled: view.readOnly ? FROZEN : undefined,
          effects: [{ kind: 'overlay', overlay: addDriveForm() }],
        },
      ],
    };
  });
}

function ejectGroup(group: GroupRow, view: PlacesView): Doing {
  const running = view.read('running').value ?? [];
  const here = overviewOf(view).drives.filter(({ group_id, virtual }) => group_id === group.id && !virtual);
  const [drive] = here;
  if (!drive) return { why: 'none of its drives can be ejected' };
  if (here.length === 1) return { effects: ejectEffects(drive, running) };
  const one = (which: Drive): Choice => ({
    key: which.role === 'master' ? 'm' : 'b',
    label: `${which.role === 'master' ? 'Master' : 'Backup'} ${which.label}`,
    effects: ejectEffects(which, running),
  });
  const both: Effect[] = group.run
    ? ejectEffects(drive, running)
    : here.map((which) => command(['detect', 'eject', which.mount_path], `eject of ${which.label}`));
  return opens(
    ask({
      title: `Eject drives of ${group.name}`,
      lines: ['It is flushed and unmounted; then it may be pulled.'],
      choices: [{ key: 'a', label: 'Both', effects: both }, ...here.map(one), { key: 'n', label: 'None', effects: [] }],
    }),
  );
}
