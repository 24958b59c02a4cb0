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
  const draw = <T extends object>(y: number, lines: number, look: PanelLook<Panel, T>, state: PlansState): PlansState =>
    drawPanel(canvas.area(0, y, width, lines), { x: 0, y }, look, state);
  const looks = looksOf(view, width >= WIDE);
  let state = draw(1, top, looks.schedules, { ...view.state, width });
  state = draw(1 + top, forWatchers, looks.watchers, state);
  return draw(1 + top + forWatchers, forComing, looks.coming, state);
}

// --- internal ---

const NONE: readonly never[] = [];

/** What each panel shows. */
function looksOf(view: PlansView, wide: boolean) {
  const { value: plans, error } = view.read('schedules');
  const { schedules = NONE, watchers = NONE, coming = NONE } = plans ?? {};
  const empty = (text: string): string => error ?? (plans ? text : '');
  const right = (rows: readonly unknown[], hint: string): string => (rows.length > 0 ? formatCount(rows.length) : hint);
  return {
    schedules: {
      panel: 'schedules',
      title: 'Schedules',
      right: right(schedules, 'n new  Enter details'),
      rows: schedules,
      columns: scheduleColumns(view.now, wide),
      empty: empty('No schedule yet. n makes one: every night, every hour, or when both drives are plugged in.'),
    },
    watchers: {
      panel: 'watchers',
      title: 'Watchers',
      right: right(watchers, 'Tab, then n new'),
      rows: watchers,
      columns: watcherColumns(view.now),
      empty: empty('Nothing is watched. Tab, then n has the daemon bring changes to the Backup as they happen.'),
    },
    coming: {
      panel: 'coming',
      title: 'Next 7 days',
      right: right(coming, ''),
      rows: coming,
      columns: comingColumns(view.now),
      head: false,
      empty: empty('Nothing is to run by the clock.'),
    },
  } as const;
}
