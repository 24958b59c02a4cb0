/** Draws the screen of schedules: the daemon in one line, then a box for each panel. Pure. */
import { formatCount } from '../../shared/format.ts';
import type { Canvas } from '../canvas.ts';
import { drawPanel, type PanelLook, type Panels } from '../panels.ts';
import type { Plans } from '../reads/schedules.ts';
import { fit } from '../sanitize.ts';
import type { View } from '../screen.ts';
import { comingColumns, daemonWords, scheduleColumns, watcherColumns } from './schedules-rows.ts';

export const PANELS = ['schedules', 'watchers', 'coming'] as const;
type Panel = (typeof PANELS)[number];

export interface PlansState extends Panels<Panel> {
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
  const forWatchers = Math.max(4, Math.min(Math.floor(height / 4), (plans?.watchers.length ?? 0) + 3));
  const forComing = Math.max(5, Math.floor((height - forWatchers) / 3));
  const top = height - 1 - forWatchers - forComing;
  const wide = width >= WIDE;
  const empty = (text: string): string => error ?? (plans ? text : '');
  const hintOr = (rows: readonly unknown[], hint: string): string =>
    rows.length > 0 ? formatCount(rows.length) : hint;
  const { schedules = NONE, watchers = NONE, coming = NONE } = plans ?? {};
  const draw = <T extends object>(y: number, lines: number, look: PanelLook<Panel, T>, state: PlansState): PlansState =>
    drawPanel(canvas.area(0, y, width, lines), { x: 0, y }, look, state);
  let state: PlansState = { ...view.state, width };
  state = draw(
    1,
    top,
    {
      panel: 'schedules',
      title: 'Schedules',
      right: hintOr(schedules, 'n new  Enter details'),
      rows: schedules,
      columns: scheduleColumns(view.now, wide),
      empty: empty('No schedule yet. n makes one: every night, every hour, or when both drives are plugged in.'),
    },
    state,
  );
  state = draw(
    1 + top,
    forWatchers,
    {
      panel: 'watchers',
      title: 'Watchers',
      right: hintOr(watchers, 'Tab, then n new'),
      rows: watchers,
      columns: watcherColumns(view.now),
      empty: empty('Nothing is watched. Tab, then n has the daemon bring changes to the Backup as they happen.'),
    },
    state,
  );
  return draw(
    1 + top + forWatchers,
    forComing,
    {
      panel: 'coming',
      title: 'Next 7 days',
      right: hintOr(coming, ''),
      rows: coming,
      columns: comingColumns(view.now),
      head: false,
      empty: empty('Nothing is to run by the clock.'),
    },
    state,
  );
}

// --- internal ---

const NONE: readonly never[] = [];
