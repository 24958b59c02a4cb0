/**
 * Screens of several tables: one of them has the keys, a click gives them to another. Drawing and input are the same for
 * all such screens; what the rows are, each screen says itself. Pure.
 */
import type { Column } from '../shared/feature.ts';
import type { Canvas } from './canvas.ts';
import type { InputEvent } from './input.ts';
import { drawTable, type TableState, tableCount, tableKey, tableMouse, tablePaste, tableRows } from './table.ts';

export interface Area {
  x: number;
  y: number;
  width: number;
  height: number;
}

export type Panels<P extends string> = Record<P, TableState> & {
  panel: P;
  /** Where each panel's rows were drawn last, their head line included; for the mouse. */
  areas: Partial<Record<P, Area | undefined>>;
};

/** Calls `work` with the rows and columns of a panel. */
export type OnTable<P extends string> = <R>(
  panel: P,
  work: <T extends object>(rows: readonly T[], columns: readonly Column<T>[]) => R,
) => R;

/** The state after a key or a paste for the panel that has them, or a click or a wheel on any; undefined: not for a panel. */
export function panelInput<P extends string, S extends Panels<P>>(
  event: InputEvent,
  state: S,
  order: readonly P[],
  onTable: OnTable<P>,
): S | undefined {
  if (event.kind === 'mouse') {
    for (const panel of order) {
      const area = state.areas[panel];
      const table = area && onTable(panel, (rows, columns) => tableMouse(state[panel], event, area, rows, columns));
      if (table) return { ...state, panel, [panel]: table };
    }
    return undefined;
  }
  const { panel } = state;
  const table = onTable(panel, (rows, columns) => {
    if (event.kind === 'paste') return tablePaste(state[panel], event.text);
    return tableKey(state[panel], event, tableRows(rows, columns, state[panel]).length, columns.length);
  });
  return table && { ...state, [panel]: table };
}

export interface PanelLook<P extends string, T> {
  panel: P;
  title: string;
  /** In the upper border while no filter is; left out, how many rows there are. */
  right?: string | undefined;
  rows: readonly T[];
  columns: readonly Column<T>[];
  /** What to say when there is no row: what to do next. */
  empty: string;
  /** False: no head line. */
  head?: boolean;
  /** Lines that stay free below the rows. */
  below?: number;
}

/**
 * A box with the rows of one panel.
 * @param canvas the box alone
 * @param at where the box lies on the screen
 */
export function drawPanel<P extends string, S extends Panels<P>, T extends object>(
  canvas: Canvas,
  at: Pick<Area, 'x' | 'y'>,
  { panel, title, right, rows, columns, empty, head = true, below = 0 }: PanelLook<NoInfer<P>, T>,
  state: S & Panels<P>,
): S {
  const focus = state.panel === panel;
  const table = state[panel];
  const counted = right === undefined || table.filter !== '' || table.typing;
  const count = counted ? tableCount(table, tableRows(rows, columns, table).length, rows.length) : right;
  const box = canvas.box({ title, right: count, focus });
  const list = box.area(0, 0, box.width, box.height - below);
  const fitted = drawTable(list, rows, columns, table, { focus, empty, head });
  // A list without a head has its first row where the head would be.
  const lift = head ? 0 : 1;
  const area = { x: at.x + 2, y: at.y + 1 - lift, width: list.width, height: list.height + lift };
  return { ...state, [panel]: fitted, areas: { ...state.areas, [panel]: area } };
}
