/**
 * History: every run with its result; beside the list all that is known of the selected one. Enter shows its files, and from
 * here it is undone, begun again, restored from, or all of them exported.
 */
import type { Canvas } from '../canvas.ts';
import { pick } from '../dialogs.ts';
import type { InputEvent } from '../input.ts';
import { TABLE_KEYS } from '../keymap.ts';
import { fit } from '../sanitize.ts';
import { type Binding, defineScreen, type Effect, type Step } from '../screen.ts';
import { drawTable, tableCount, tableKey, tableMouse, tablePaste, wrap } from '../table.ts';
import {
  chosen,
  columnsFor,
  detailLines,
  type HistoryState,
  type HistoryView,
  LIMITS,
  listed,
  rowsOf,
  STATUSES,
  startHistory,
  wanting,
  wantsOfHistory,
  withWanted,
} from './history-data.ts';
import { askUndo, exportForm, restoreForm } from './history-forms.ts';
import { showRun } from './run.ts';
import { againCommand } from './steering.ts';
import { unlocked } from './unlock.ts';

export const history = defineScreen<HistoryState>({
  name: 'history',
  title: 'History',
  short: 'Hist',
  hotkey: '4',
  start: startHistory,
  wants: wantsOfHistory,
  draw,
  keys: keys(),
  act,
  input,
  pick: wanting,
});

// --- internal: keys ---

function keys(): Binding<HistoryState>[] {
  return [
    {
      keys: ['enter'],
      action: 'files',
      label: 'files',
      help: 'what was done to each file',
      group: 'do',
      hint: 1,
      disabled: noRow,
    },
    {
      keys: ['u'],
      action: 'undo',
      label: 'undo',
      help: 'take the operation back; says first what that means',
      group: 'do',
      hint: 2,
      writes: true,
      disabled: noUndo,
    },
    {
      keys: ['R'],
      action: 'again',
      label: 'again',
      help: 'run the same again',
      group: 'do',
      hint: 3,
      writes: true,
      disabled: noAgain,
    },
    {
      keys: ['r'],
      action: 'restore',
      label: 'restore',
      help: 'what it worked on, into a folder',
      group: 'do',
      hint: 4,
      writes: true,
      disabled: noRestore,
    },
    {
      keys: ['E'],
      action: 'export',
      label: 'export',
      help: 'all operations as CSV or JSON',
      group: 'do',
      hint: 5,
      writes: true,
    },
    { keys: ['t'], action: 'target', label: 'target', help: 'only one group or project', group: 'do', hint: 6 },
    {
      keys: ['f'],
      action: 'status',
      label: 'status',
      help: 'only running, completed, failed or cancelled ones',
      group: 'do',
      hint: 7,
    },
    {
      keys: ['+', '-'],
      show: '+ -',
      action: 'more',
      label: 'how many',
      help: 'more of them, fewer of them: 50, 100, 200, 500, all',
      group: 'do',
      hint: 8,
    },
    { keys: ['f5'], show: 'F5', action: 'refresh', label: 'refresh', help: 'read it anew', group: 'everywhere' },
    ...(TABLE_KEYS as Binding<HistoryState>[]),
  ];
}

function act(action: string, view: HistoryView): Step<HistoryState> {
  const { state } = view;
  const row = chosen(view);
  switch (action) {
    case 'files':
      return row ? { effects: showRun(row.uuid) } : {};
    case 'undo':
      return row ? { effects: askUndo(row) } : {};
    case 'again': {
      const again = row && againCommand(row);
      return again ? { effects: unlocked(again, [row.group_id], view) } : {};
    }
    case 'restore':
      return row ? { effects: [{ kind: 'overlay', overlay: restoreForm(row) }] } : {};
    case 'export':
      return { effects: [{ kind: 'overlay', overlay: exportForm(view.now) }] };
    case 'target':
      return { effects: [pickTarget(view)] };
    case 'status':
      return { state: fromTop({ ...state, status: next(STATUSES, state.status, 1) }) };
    case 'refresh':
      return { effects: [{ kind: 'action', action: 'refresh' }] };
    default:
      return {};
  }
}

function pickTarget(view: HistoryView): Effect {
  const { limit, target, status } = view.state;
  const names = view.read('history', limit, target, status).value?.targets ?? [];
  const options = ['', ...names].map((name) => ({
    text: name === '' ? 'All' : name,
    effects: [
      { kind: 'set' as const, screen: 'history', change: (state: HistoryState) => fromTop({ ...state, target: name }) },
    ],
  }));
  return { kind: 'overlay', overlay: pick('Operations of', options, Math.max(0, ['', ...names].indexOf(target))) };
}

function fromTop(state: HistoryState): HistoryState {
  return { ...state, table: { ...state.table, at: 0, top: 0 } };
}

function next<T>(all: readonly T[], one: T, step: number): T {
  return all[(all.indexOf(one) + step + all.length) % all.length] ?? one;
}

function input(event: InputEvent, view: HistoryView): Step<HistoryState> | undefined {
  const { state } = view;
  const { table } = state;
  const rows = listed(view);
  if (event.kind === 'paste') {
    const pasted = tablePaste(table, event.text);
    return pasted && { state: { ...state, table: pasted } };
  }
  if (event.kind === 'mouse') {
    const window = { from: 0, count: rows.length };
    const clicked = tableMouse(table, event, state.area, rows, columnsFor(state.area.width), window);
    return clicked && { state: { ...state, table: clicked } };
  }
  if (!table.typing && (event.name === '+' || event.name === '-')) {
    const at = Math.max(0, Math.min(LIMITS.length - 1, LIMITS.indexOf(state.limit) + (event.name === '+' ? 1 : -1)));
    return { state: { ...state, limit: LIMITS[at] ?? state.limit } };
  }
  const columns = columnsFor(state.area.width);
  const moved = tableKey(table, event, rows.length, columns.length);
  return moved && { state: { ...state, table: moved } };
}

// --- internal: what is possible ---

function noRow(view: HistoryView): string | undefined {
  return chosen(view) ? undefined : 'no operation is selected';
}

function noUndo(view: HistoryView): string | undefined {
  const row = chosen(view);
  return row?.status === 'running' ? 'it is still running' : noRow(view);
}

function noAgain(view: HistoryView): string | undefined {
  const row = chosen(view);
  if (!row) return noRow(view);
  if (row.status === 'running') return 'it is still running';
  return againCommand(row)
    ? undefined
    : `the history does not say enough to begin a run of the kind ${row.operation_type} again`;
}

function noRestore(view: HistoryView): string | undefined {
  const row = chosen(view);
  return row?.target_kind === 'folder' ? 'it worked on a folder that is no drive' : noRow(view);
}

// --- internal: drawing ---

function draw(canvas: Canvas, before: HistoryView): HistoryState {
  const state = withWanted(before);
  const view = { ...before, state };
  const { limit, target, status, table } = state;
  const answer = view.read('history', limit, target, status);
  const width = canvas.width >= 100 ? canvas.width - 34 : 46;
  const columns = columnsFor(width - 4);
  const area = { x: 2, y: 1, width: width - 4, height: canvas.height - 2 };
  const rows = listed({ ...view, state: { ...state, area } });
  const filters = [target === '' ? '' : `of ${target}`, status].filter(Boolean).join(', ');
  const more = answer.value?.more ? ` of ${limit}+` : '';
  const missing =
    state.wanted !== '' && answer.value ? `operation ${state.wanted.slice(0, 8)} is not among these; + shows more` : '';
  const box = canvas.area(0, 0, width, canvas.height).box({
    title: missing || (filters === '' ? 'History' : `History · ${filters}`),
    right: `${tableCount(table, rows.length, rowsOf(view).length)}${more}`,
    focus: true,
  });
  const empty = answer.error ?? (answer.value ? emptyText(state) : 'Reading …');
  const fitted = drawTable(box, rows, columns, table, { focus: true, empty, window: { from: 0, count: rows.length } });
  const row = chosen({ ...view, state: { ...state, table: fitted, area } });
  drawDetails(canvas.area(width, 0, canvas.width - width, canvas.height), view, row);
  return { ...state, table: fitted, area, selected: row ? { uuid: row.uuid, parts: row.parts } : null };
}

function drawDetails(canvas: Canvas, view: HistoryView, row: ReturnType<typeof chosen>): void {
  const box = canvas.box({ title: row ? `${row.operation_type} ${row.id}` : 'Details' });
  if (!row) return;
  const parts = row.parts > 0 ? (view.read('parts', row.uuid).value ?? []) : [];
  const lines = detailLines(row, parts).flatMap(({ text, style }) =>
    wrap(text, box.width).map((line) => ({ line, style })),
  );
  lines.slice(0, box.height).forEach(({ line, style }, y) => {
    box.put(0, y, fit(line, box.width), style);
  });
}

function emptyText({ target, status }: HistoryState): string {
  if (target !== '' || status !== '') return 'No operation of this kind. t and f choose others.';
  return 'Nothing was synced yet. Sync a group on Home (1), and the run appears here.';
}
