/** What Home shows of drives and groups: rows, columns and details, from the overview and what runs. Pure. */
import type { Column, Style } from '../../shared/feature.ts';
import { formatAge, formatBytes, plural } from '../../shared/format.ts';
import type { Overview, Running } from '../reads.ts';

type Group = Overview['groups'][number];
type Drive = Overview['drives'][number];

export interface DriveRow {
  label: string;
  role: 'master' | 'backup' | null;
  /** Undefined: not connected. */
  drive: Drive | undefined;
  group: Group | undefined;
  run: Running | undefined;
  /** Used part of it, 0 to 1; null: unknown. */
  share: number | null;
}

export interface GroupRow extends Group {
  run: Running | undefined;
  /** A process watches it now. */
  watched: boolean;
}

/** Connected drives, then those of groups that are away. The same rows for the same data. */
export function driveRows(status: Overview, running: readonly Running[]): readonly DriveRow[] {
  return remembered(DRIVES, status, running, () => {
    const connected = status.drives.map((drive): DriveRow => {
      const group = status.groups.find(({ id }) => id === drive.group_id);
      const share = drive.total_size > 0 ? 1 - drive.free_size / drive.total_size : null;
      return { label: drive.label, role: drive.role, drive, group, run: runOf(drive.group_id, running), share };
    });
    const away = status.groups.flatMap((group) =>
      (['master', 'backup'] as const).flatMap((role): DriveRow[] => {
        const { label, connected: here } = group[`${role}_drive`];
        return here ? [] : [{ label, role, drive: undefined, group, run: undefined, share: null }];
      }),
    );
    return [...connected, ...away];
  });
}

export function groupRows(status: Overview, running: readonly Running[]): readonly GroupRow[] {
  return remembered(GROUPS, status, running, () =>
    status.groups.map((group) => ({
      ...group,
      run: runOf(group.id, running),
      watched: status.watchers.some(({ group_id, process_id }) => group_id === group.id && process_id !== null),
    })),
  );
}

/** Whole per cent of a run, by bytes where there are any. */
export function percentOf({ progress }: Pick<Running, 'progress'>): number {
  if (!progress) return 0;
  const { bytes_done, bytes_total, files_done, files_total } = progress;
  const share = bytes_total > 0 ? bytes_done / bytes_total : files_total > 0 ? files_done / files_total : 0;
  return Math.max(0, Math.min(100, Math.floor(share * 100)));
}

const BADGE = { master: 'M', backup: 'B' } as const;

export const driveColumns: readonly Column<DriveRow>[] = [
  { title: 'Name', value: ({ label }) => label, style: ({ drive }) => (drive ? 'plain' : 'dim') },
  { title: 'Role', value: ({ role }) => (role ? BADGE[role] : '—'), style: ({ role }) => role ?? 'dim' },
  { title: 'State', value: driveState, style: driveStyle },
  {
    title: 'Free/Size',
    value: ({ drive }) => (drive ? `${formatBytes(drive.free_size)} / ${formatBytes(drive.total_size)}` : '—'),
    style: ({ share }) => (share !== null && share > 0.95 ? 'warn' : 'plain'),
  },
];

export const groupColumns: readonly Column<GroupRow>[] = [
  { title: 'Group', value: ({ name }) => name },
  { title: 'Pair', value: ({ master_drive: m, backup_drive: b }) => `${m.label} → ${b.label}`, style: () => 'dim' },
  {
    title: 'Last',
    value: lastOf,
    style: ({ days_since_last_success: days }) => (days === null || days >= 7 ? 'warn' : 'plain'),
    order: ({ last_success }) => (last_success === null ? Number.POSITIVE_INFINITY : -Date.parse(last_success)),
  },
  { title: 'State', value: groupState, style: groupStyle },
];

/** What Enter on a group tells. */
export function groupFacts(group: GroupRow, now: Date): string[] {
  const { master_drive: m, backup_drive: b, last_success, last_run } = group;
  const side = (name: string, drive: typeof m): string =>
    `${name}  ${drive.label}  ${drive.connected ? (drive.mount_path ?? 'connected') : 'not connected'}`;
  return [
    `Status      ${PAIR_STATE[group.status]}`,
    side('M  Master', m),
    side('B  Backup', b),
    '',
    `Last good   ${last_success === null ? 'never synced as a whole' : formatAge(new Date(last_success), now)}`,
    `Last run    ${last_run ? `${last_run.status}${last_run.reason === null ? '' : ` (${last_run.reason})`}` : '—'}`,
    `Conflicts   ${group.open_conflicts === 0 ? 'none' : plural(group.open_conflicts, 'conflict')}`,
    `Real-Time Sync: ${group.watched ? 'Active' : 'off'}`,
  ];
}

// --- internal ---

const PAIR_STATE = { connected: 'Both Connected ✓', partial: 'Partial ⚠', disconnected: 'Disconnected ✗' } as const;

type Cache<T> = WeakMap<Overview, { running: readonly Running[]; rows: readonly T[] }>;
const DRIVES: Cache<DriveRow> = new WeakMap();
const GROUPS: Cache<GroupRow> = new WeakMap();

function remembered<T>(cache: Cache<T>, status: Overview, running: readonly Running[], make: () => T[]): readonly T[] {
  const known = cache.get(status);
  if (known?.running === running) return known.rows;
  const rows = make();
  cache.set(status, { running, rows });
  return rows;
}

function runOf(groupId: string | null, running: readonly Running[]): Running | undefined {
  return running.find(({ group_id }) => groupId !== null && group_id === groupId);
}

function driveState({ drive, run, group }: DriveRow): string {
  if (!drive) return '○ away';
  if (run) return `◐ ${doing(run)}`;
  if (drive.read_only) return '! read-only';
  return group ? '● mounted' : '● free';
}

function driveStyle({ drive, run }: DriveRow): Style {
  if (!drive) return 'dim';
  return run ? 'plain' : drive.read_only ? 'warn' : 'good';
}

function doing({ operation_type: type, progress, control }: Running): string {
  if (control === 'pause' || progress?.paused) return 'paused';
  return { sync: 'syncing', verify: 'verifying', restore: 'restoring' }[type] ?? type;
}

function lastOf({ last_success, days_since_last_success: days }: GroupRow): string {
  if (last_success === null || days === null) return 'never';
  return days === 0 ? 'today' : `${days} d ago`;
}

function groupState(group: GroupRow): string {
  const { run, open_conflicts: conflicts, status, days_since_last_success: days, last_run } = group;
  if (run) return `◐ ${doing(run)} ${percentOf(run)}%`;
  if (conflicts > 0) return `! ${plural(conflicts, 'conflict')}`;
  if (last_run?.status === 'failed') return '✗ last run failed';
  if (status !== 'connected') {
    const away = [group.master_drive, group.backup_drive].filter(({ connected }) => !connected);
    return `○ needs ${away.map(({ label }) => label).join(', ')}`;
  }
  if (days === null) return '! never synced';
  if (days >= 7) return `! ${days} days old`;
  return group.watched ? '● real time' : '✓ in step';
}

function groupStyle(group: GroupRow): Style {
  const sign = groupState(group)[0];
  return sign === '✗' ? 'bad' : sign === '!' ? 'warn' : sign === '○' ? 'dim' : sign === '◐' ? 'plain' : 'good';
}
