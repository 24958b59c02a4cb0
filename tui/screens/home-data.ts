/** The state of Home, and what it means: the rows of its panels and which of them are chosen. Pure. */
import type { Column } from '../../shared/feature.ts';
import { formatRate, formatTime } from '../../shared/format.ts';
import type { FeedLine } from '../feed.ts';
import { NO_STATUS } from '../nothing.ts';
import type { Panels } from '../panels.ts';
import type { Running } from '../reads.ts';
import type { View } from '../screen.ts';
import { selectedRow } from '../table.ts';
import {
  type DriveRow,
  driveColumns,
  driveRows,
  type GroupRow,
  groupColumns,
  groupRows,
  percentOf,
} from './home-rows.ts';

export type Panel = 'drives' | 'groups' | 'runs' | 'events';
export type HomeState = Panels<Panel>;

export type HomeView = View<HomeState>;

export const ORDER: readonly Panel[] = ['drives', 'groups', 'runs', 'events'];

export function driveRowsOf(view: HomeView): readonly DriveRow[] {
  return driveRows(view.read('status').value ?? NO_STATUS, view.read('running').value ?? NO_RUNS);
}

export function groupRowsOf(view: HomeView): readonly GroupRow[] {
  return groupRows(view.read('status').value ?? NO_STATUS, view.read('running').value ?? NO_RUNS);
}

/** Schedules and watchers wait, and nobody is there to carry them out. */
export function lacksDaemon({ read }: Pick<View, 'read'>): boolean {
  const { daemon } = read('status').value ?? NO_STATUS;
  if (daemon.running) return false;
  return daemon.schedules.enabled > 0 || daemon.watchers.enabled > daemon.watchers.running;
}

const NO_RUNS: readonly Running[] = [];

export function chosenGroup(view: HomeView): GroupRow | undefined {
  return selectedRow(groupRowsOf(view), groupColumns, view.state.groups);
}

export function chosenDrive(view: HomeView): DriveRow | undefined {
  return selectedRow(driveRowsOf(view), driveColumns, view.state.drives);
}

export function chosenRun(view: HomeView): Running | undefined {
  return selectedRow(view.read('running').value ?? [], RUN_COLUMNS, view.state.runs);
}

export const RUN_COLUMNS: readonly Column<Running>[] = [
  { title: 'Run', value: ({ operation_type, target_name }) => `${operation_type} ${target_name}` },
  { title: 'Progress', align: 'right', value: (run) => `${percentOf(run)}%` },
  { title: 'Rate', align: 'right', value: ({ progress }) => formatRate(progress?.rate ?? 0) },
];

/** The same columns for the same day: of today only the time is shown. */
export function feedColumns(now: Date): readonly Column<FeedLine>[] {
  const today = formatTime(now).slice(0, 10);
  if (FEED.today !== today) {
    const time = (iso: string): string => {
      const text = formatTime(new Date(iso));
      return text.startsWith(today) ? text.slice(11) : text.slice(5, 16);
    };
    const plain = (style: FeedLine['style']) => (style === 'good' ? 'plain' : style);
    FEED = {
      today,
      columns: [
        {
          title: 'Time',
          value: (line) => time(line.time),
          style: () => 'dim',
          order: (line) => Date.parse(line.time),
        },
        { title: '', value: ({ sign }) => sign, style: ({ style }) => style },
        { title: 'Of', value: ({ subject }) => subject },
        { title: 'What', value: ({ text }) => text, style: ({ style }) => plain(style) },
      ],
    };
  }
  return FEED.columns;
}

let FEED: { today: string; columns: readonly Column<FeedLine>[] } = { today: '', columns: [] };
