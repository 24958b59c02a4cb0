/** What the screen of groups and projects shows: columns and details, from what the reader answered. Pure. */
import type { Column, Style } from '../../shared/feature.ts';
import { formatAge, formatBytes, formatTime, plural } from '../../shared/format.ts';
import type { GroupFacts, ProjectFacts } from '../reads/places.ts';
import type { Overview, ReadResult } from '../reads.ts';
import type { GroupRow } from './home-rows.ts';

export type Drive = Overview['drives'][number];
export type ProjectRow = ReadResult<'projects'>[number];

export const PAIR_STATE = {
  connected: { text: 'Both Connected ✓', style: 'good' },
  partial: { text: 'Partial ⚠', style: 'warn' },
  disconnected: { text: 'Disconnected ✗', style: 'bad' },
} as const;

const PROJECT_STATE = {
  ...PAIR_STATE,
  folder: { text: 'plain folder', style: 'dim' },
  unknown_group: { text: 'Group not known ?', style: 'bad' },
} as const;

/** How a Backup stores its files, in few letters. */
export function storedText(storage: GroupRow['storage']): string {
  return storage ? storage.form.replace('_', ', ') : 'plain';
}

export const groupColumns: readonly Column<GroupRow>[] = [
  { title: 'Group', value: ({ name }) => name },
  { title: 'Pair', value: ({ master_drive: m, backup_drive: b }) => `${m.label} → ${b.label}`, style: () => 'dim' },
  { title: 'Status', value: ({ status }) => PAIR_STATE[status].text, style: ({ status }) => PAIR_STATE[status].style },
  {
    title: 'Last sync',
    value: lastSync,
    style: lastStyle,
    order: ({ last_success }) => (last_success === null ? Number.POSITIVE_INFINITY : -Date.parse(last_success)),
  },
  { title: 'Stored', value: ({ storage }) => storedText(storage) },
];

export const projectColumns: readonly Column<ProjectRow>[] = [
  { title: 'Project', value: ({ name }) => name },
  {
    title: 'Status',
    value: ({ status }) => PROJECT_STATE[status].text,
    style: ({ status }) => PROJECT_STATE[status].style,
  },
  { title: 'Groups', value: groupsText },
  { title: 'Folder', value: ({ path }) => (path === '' ? 'the whole drive' : path), style: () => 'dim' },
];

/** A line of the detail pane. */
export type Fact = readonly [text: string, style?: Style | 'title'];

export function groupDetails(group: GroupRow, facts: GroupFacts | undefined, now: Date): Fact[] {
  const { master_drive: m, backup_drive: b, storage, last_run, status } = group;
  const uses = facts?.uses;
  const set = Object.entries(facts?.set ?? {});
  const side = (name: string, drive: typeof m): Fact[] => [
    [`${name}  ${drive.label}`, drive.connected ? 'plain' : 'dim'],
    [`   ${formatBytes(drive.total_size)}  ${drive.connected ? drive.mount_path : 'not connected'}`, 'dim'],
  ];
  return [
    [PAIR_STATE[status].text, PAIR_STATE[status].style],
    ...(group.description === '' ? [] : [[group.description] as const]),
    ...side('M', m),
    ...side('B', b),
    ['', 'plain'],
    [`Last good sync  ${lastSync(group)}`, lastStyle(group)],
    [
      `Last run        ${last_run ? `${last_run.status}${last_run.reason === null ? '' : `: ${last_run.reason}`}` : '—'}`,
    ],
    [`Conflicts       ${group.open_conflicts === 0 ? 'none' : plural(group.open_conflicts, 'conflict')}`],
    [`Real-Time Sync: ${group.watched ? 'Active' : 'off'}`, group.watched ? 'good' : 'plain'],
    [
      `Stored          ${storedText(storage)}${storage && storage.waiting > 0 ? `, ${plural(storage.waiting, 'file')} not yet` : ''}`,
    ],
    ...(storage?.space_savings
      ? [[`Saved           ${Math.round(storage.space_savings.space_saved_percent)} %`] as const]
      : []),
    [`Created         ${formatTime(new Date(group.created))}`, 'dim'],
    [`Modified        ${formatAge(new Date(group.modified), now)}`, 'dim'],
    ...usedBy(uses),
    ['', 'plain'],
    ['Options that are set', 'title'],
    ...(facts === undefined
      ? [['Reading …', 'dim'] as const]
      : set.length === 0
        ? [['none: all have their defaults', 'dim'] as const]
        : set.map(([key, value]): Fact => [`${key} = ${value}`])),
  ];
}

export function projectDetails(project: ProjectRow, facts: ProjectFacts | undefined): Fact[] {
  const own = facts?.flatMap(({ role, options }) =>
    options.filter(({ source }) => source !== 'default').map((one) => ({ ...one, role })),
  );
  return [
    [PROJECT_STATE[project.status].text, PROJECT_STATE[project.status].style],
    ...(project.description === '' ? [] : [[project.description] as const]),
    [`Folder    ${project.path === '' ? 'the whole drive' : project.path}`],
    ...project.parts.flatMap(({ role, group_name, group_id, path, status }): Fact[] => [
      [`${role ?? 'Group'}  ${group_name ?? group_id}`],
      [`   ${path === '' ? 'the whole drive' : path}  ${PROJECT_STATE[status].text}`, 'dim'],
    ]),
    [`Modified  ${formatTime(new Date(project.modified))}`, 'dim'],
    ['', 'plain'],
    ['Options, and where they come from', 'title'],
    ...(own === undefined
      ? [['Reading …', 'dim'] as const]
      : own.length === 0
        ? [['all have their defaults', 'dim'] as const]
        : own.map(
            ({ role, key, value, source }): Fact => [
              `${role === '' ? '' : `${role}: `}${key} = ${value} (${source})`,
              source === 'project' ? 'plain' : 'dim',
            ],
          )),
  ];
}

/** What of the options a group states; those that a project states over it. */
export function statedByProject(facts: ProjectFacts): Record<string, string> {
  const [first] = facts;
  return Object.fromEntries(
    (first?.options ?? []).flatMap(({ key, value, source }) => (source === 'project' ? [[key, noNone(value)]] : [])),
  );
}

/** What holds where a project states nothing: the value of its group, else the default; by key. */
export function belowProject(facts: ProjectFacts): Record<string, string> {
  return Object.fromEntries((facts[0]?.options ?? []).map(({ key, below }) => [key, below]));
}

// --- internal ---

const noNone = (value: string): string => (value === '(none)' ? '' : value);

function lastSync({ last_success, days_since_last_success: days }: GroupRow): string {
  if (last_success === null || days === null) return 'never';
  return days === 0 ? 'today' : `${days} d ago`;
}

function lastStyle({ days_since_last_success: days }: GroupRow): Style {
  return days === null || days >= 7 ? 'warn' : 'plain';
}

function groupsText({ parts }: ProjectRow): string {
  const name = ({ group_name, group_id }: ProjectRow['parts'][number]): string => group_name ?? group_id.slice(0, 8);
  return parts.map((part) => (part.role === null ? name(part) : `${part.role}: ${name(part)}`)).join(', ');
}

function usedBy(uses: GroupFacts['uses'] | undefined): Fact[] {
  if (!uses) return [];
  const lines: [string, readonly string[]][] = [
    ['Projects', uses.projects],
    ['Schedules', uses.schedules],
    ['Watchers', uses.watchers],
  ];
  return lines.flatMap(([title, names]): Fact[] =>
    names.length === 0 ? [] : [[`${title.padEnd(15)} ${names.join(', ')}`]],
  );
}
