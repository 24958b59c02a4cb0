/** The state of Home, and what it means: the rows of its panels and which of them are chosen. Pure. */
import type { Column } from '../../shared/feature.ts';
import { formatRate, formatTime } from '../../shared/format.ts';
import type { FeedLine } from '../feed.ts';
import type { Overview, Running } from '../reads.ts';
import type { View } from '../screen.ts';
import { selectedRow, type TableState } from '../table.ts';
import { type DriveRow, driveRows, type GroupRow, groupColumns, groupRows, percentOf } from './home-rows.ts';

export type Panel = 'drives' | 'groups' | 'runs' | 'events';
export type Area = { x: number; y: number; width: number; height: number };

export interface HomeState {
  panel: Panel;
  drives: TableState;
  groups: TableState;
  runs: TableState;
  events: TableState;
  /** Where each panel's rows were drawn last, their head line included; for the mouse. */
  areas: Partial<Record<Panel, Area | undefined>>;
}

export type HomeView = View<HomeState>;

export const ORDER: readonly Panel[] = ['drives', 'groups', 'runs', 'events'];

const NOTHING: Overview = { drives: [], groups: [], operations: [], watchers: [], now: '', advice: [] };

export function driveRowsOf(view: HomeView): readonly DriveRow[] {
  return driveRows(view.read('status').value ?? NOTHING, view.read('running').value ?? NO_RUNS);
}

export function groupRowsOf(view: HomeView): readonly GroupRow[] {
  return groupRows(view.read('status').value ?? NOTHING, view.read('running').value ?? NO_RUNS);
}

const NO_RUNS: readonly Running[] = [];

export function chosenGroup(view: HomeView): GroupRow | undefined {
  return selectedRow(groupRowsOf(view), groupColumns, view.state.groups);
}

export function chosenRun(view: HomeView): Running | undefined {
  return selectedRow(view.read('running').value ?? [], RUN_COLUMNS, view.state.runs);
}

export function isHeld(run: Running): boolean {
  return run.control === 'pause' || run.progress?.paused === true;
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
        { title: 'Time', value: (line) => time(line.time), style: () => 'dim' },
        { title: '', value: ({ sign }) => sign, style: ({ style }) => style },
        { title: 'Of', value: ({ subject }) => subject },
        { title: 'What', value: ({ text }) => text, style: ({ style }) => plain(style) },
      ],
    };
  }
  return FEED.columns;
}

let FEED: { today: string; columns: readonly Column<FeedLine>[] } = { today: '', columns: [] };
