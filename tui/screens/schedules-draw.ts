/** Draws the screen of schedules: the daemon in one line, then a box for each panel. Pure. */
import type { Column } from '../../shared/feature.ts';
import { formatCount } from '../../shared/format.ts';
import type { Canvas } from '../canvas.ts';
import type { Plans } from '../reads/schedules.ts';
import { fit } from '../sanitize.ts';
import type { View } from '../screen.ts';
import { drawTable, type TableState, tableCount, tableRows } from '../table.ts';
import { comingColumns, daemonWords, scheduleColumns, watcherColumns } from './schedules-rows.ts';

export const PANELS = ['schedules', 'watchers', 'coming'] as const;
type Panel = (typeof PANELS)[number];
type Area = { x: number; y: number; width: number; height: number };

export interface PlansState extends Record<Panel, TableState> {
  panel: Panel;
  /** Where the rows of each panel were drawn, their head line included; for the mouse. */
  areas: Partial<Record<Panel, Area>>;
  /** Of the last drawing: it decides which columns there are. */
  width: number;
}

export type PlansView = View<PlansState>;

/** From here on there is room for all columns. */
export const WIDE = 100;

export function plansOf(view: PlansView): Plans | undefined {
  return view.read('schedules').value;
}

export function drawPlans(canvas: Canvas, view: PlansView): PlansState {
  const { width, height } = canvas;
  const plans = plansOf(view);
  const { error } = view.read('schedules');
  const daemon = plans
    ? daemonWords(plans)
    : { text: error ?? 'Looking at schedules and watchers …', style: 'dim' as const };
  canvas.put(1, 0, fit(daemon.text, width - 2), daemon.style);
  const watchers = Math.max(4, Math.min(Math.floor(height / 4), (plans?.watchers.length ?? 0) + 3));
  const coming = Math.max(5, Math.floor((height - watchers) / 3));
  const top = height - 1 - watchers - coming;
  const wide = width >= WIDE;
  const empty = (text: string): string => error ?? (plans ? text : '');
  let state: PlansState = { ...view.state, width };
  state = drawPanel(canvas, 1, top, state, {
    panel: 'schedules',
    title: 'Schedules',
    hint: 'n new  Enter details',
    rows: plans?.schedules ?? NONE,
    columns: scheduleColumns(view.now, wide),
    empty: empty('No schedule yet. n makes one: every night, every hour, or when both drives are plugged in.'),
  });
  state = drawPanel(canvas, 1 + top, watchers, state, {
    panel: 'watchers',
    title: 'Watchers',
    hint: 'Tab, then n new',
    rows: plans?.watchers ?? NONE,
    columns: watcherColumns(view.now),
    empty: empty('Nothing is watched. Tab, then n has the daemon bring changes to the Backup as they happen.'),
  });
  return drawPanel(canvas, 1 + top + watchers, coming, state, {
    panel: 'coming',
    title: 'Next 7 days',
    hint: '',
    rows: plans?.coming ?? NONE,
    columns: comingColumns(view.now),
    head: false,
    empty: empty('Nothing is to run by the clock.'),
  });
}

// --- internal ---

const NONE: readonly never[] = [];

interface Listed<T> {
  panel: Panel;
  title: string;
  hint: string;
  rows: readonly T[];
  columns: readonly Column<T>[];
  empty: string;
  head?: boolean;
}

function drawPanel<T extends object>(
  canvas: Canvas,
  y: number,
  height: number,
  state: PlansState,
  { panel, title, hint, rows, columns, empty, head = true }: Listed<T>,
): PlansState {
  const table = state[panel];
  const shown = tableRows(rows, columns, table).length;
  const filtered = table.filter !== '' || table.typing;
  const right = filtered ? tableCount(table, shown, rows.length) : rows.length > 0 ? formatCount(rows.length) : hint;
  const focus = state.panel === panel;
  const box = canvas.area(0, y, canvas.width, height).box({ title, right, focus });
  const fitted = drawTable(box, rows, columns, table, { focus, empty, head });
  // A list without a head has its first row where the head would be.
  const lift = head ? 0 : 1;
  const area = { x: 2, y: y + 1 - lift, width: box.width, height: box.height + lift };
  return { ...state, [panel]: fitted, areas: { ...state.areas, [panel]: area } };
}
