/**
 * Conflicts: every path that waits for a decision, with both versions side by side. A key decides: the command settles it on
 * both drives, and what gives way is kept in the trash of its drive.
 */

import { tell } from '../dialogs.ts';
import type { InputEvent } from '../input.ts';
import { TABLE_KEYS } from '../keymap.ts';
import { type Binding, defineScreen, type Step } from '../screen.ts';
import { type TableState, tableKey, tableMouse, tablePaste } from '../table.ts';
import {
  type ConflictsState,
  type ConflictsView,
  chosen,
  columnsFor,
  conflictFacts,
  type Keep,
  keyOfRow,
  listed,
  markedRows,
  rowsOf,
  sidesOf,
  startConflicts,
  toggled,
  wantsOfConflicts,
} from './conflicts-data.ts';
import { askForAll, decide, mergeForm, showDifference } from './conflicts-decide.ts';
import { drawConflicts } from './conflicts-draw.ts';

export const conflicts = defineScreen<ConflictsState>({
  name: 'conflicts',
  title: 'Conflicts',
  short: 'Conf',
  hotkey: '3',
  start: startConflicts,
  wants: wantsOfConflicts,
  draw: drawConflicts,
  keys: keys(),
  act,
  input,
  badge: ({ read }) => (read('status').value?.groups ?? []).reduce((sum, group) => sum + group.open_conflicts, 0),
});

// --- internal ---

function keys(): Binding<ConflictsState>[] {
  const decides = (key: string, action: Keep, label: string, help: string, hint?: number): Binding<ConflictsState> => ({
    ...{ keys: [key], action, label, help, group: 'do', writes: true, disabled: noRow },
    ...(hint !== undefined && { hint }),
  });
  return [
    decides('<', 'master', 'Master', "let the Master's state stand, deletion included", 1),
    decides('>', 'backup', 'Backup', "let the Backup's state stand, deletion included", 2),
    decides('=', 'both', 'both', "keep both: the Backup's under a second name", 3),
    decides('n', 'newest', 'newest', 'let the version with the later time stand', 6),
    decides('l', 'largest', 'largest', 'let the version with more bytes stand', 7),
    {
      keys: ['s'],
      action: 'skip',
      label: 'later',
      help: 'decide later, and go to the next',
      group: 'do',
      hint: 9,
      disabled: noRow,
    },
    {
      keys: ['m'],
      action: 'merge',
      label: 'merge',
      help: 'have a program of yours put both versions together',
      group: 'do',
      hint: 8,
      writes: true,
      disabled: noMerge,
    },
    {
      keys: ['d'],
      action: 'diff',
      label: 'diff',
      help: 'how the versions differ, all of it',
      group: 'do',
      hint: 4,
      disabled: noDiff,
    },
    {
      keys: ['*'],
      action: 'all',
      label: 'same for all',
      help: 'one choice for all that are marked, or for all of the group',
      group: 'do',
      hint: 5,
      writes: true,
      disabled: noRow,
    },
    {
      keys: ['space'],
      action: 'mark',
      label: 'mark',
      help: 'mark it for *, or take the mark away',
      group: 'do',
      disabled: noRow,
    },
    {
      keys: ['enter'],
      action: 'open',
      label: 'details',
      help: 'all that is known of both versions',
      group: 'do',
      disabled: noRow,
    },
    ...(TABLE_KEYS as Binding<ConflictsState>[]),
  ];
}

function act(action: string, view: ConflictsView): Step<ConflictsState> {
  const { state } = view;
  const row = chosen(view);
  if (!row) return {};
  switch (action) {
    case 'skip':
      return {
        state: stepped({ ...state, signs: { ...state.signs, later: toggled(state.signs.later, keyOfRow(row)) } }),
      };
    case 'mark':
      return {
        state: stepped({ ...state, signs: { ...state.signs, marked: toggled(state.signs.marked, keyOfRow(row)) } }),
      };
    case 'open': {
      const lines = conflictFacts(row, sidesOf(view, row).value);
      return { effects: [{ kind: 'overlay', overlay: tell(row.path, lines) }] };
    }
    case 'diff':
      return { effects: showDifference(row, view) };
    case 'merge':
      return { effects: [{ kind: 'overlay', overlay: mergeForm(row, view) }] };
    case 'all':
      return { effects: [{ kind: 'overlay', overlay: askForAll(row, markedRows(view), rowsOf(view), view) }] };
    default:
      return { effects: decide(row, action as Keep, rowsOf(view), view) };
  }
}

/** On to the next row. */
function stepped(state: ConflictsState): ConflictsState {
  return { ...state, table: { ...state.table, at: state.table.at + 1 }, selected: null };
}

function input(event: InputEvent, view: ConflictsView): Step<ConflictsState> | undefined {
  const { state } = view;
  const { table, area } = state;
  const columns = columnsFor(state, area.width);
  const rows = listed(view);
  const next = (moved: TableState | undefined): Step<ConflictsState> | undefined =>
    moved && { state: { ...state, table: moved, selected: null } };
  if (event.kind === 'paste') return next(tablePaste(table, event.text));
  if (event.kind === 'mouse')
    return next(tableMouse(table, event, area, rows, columns, { from: 0, count: rows.length }));
  return next(tableKey(table, event, rows.length, columns.length));
}

function noRow(view: ConflictsView): string | undefined {
  return chosen(view) ? undefined : 'no conflict is selected';
}

function noMerge(view: ConflictsView): string | undefined {
  const row = chosen(view);
  if (row && (row.master?.kind !== 'f' || row.backup?.kind !== 'f')) return 'it is not a file on both sides';
  return noDiff(view);
}

function noDiff(view: ConflictsView): string | undefined {
  const row = chosen(view);
  if (row?.path.startsWith('-')) return 'its name looks like an option; compare it by hand';
  if (row && (row.master === null || row.backup === null)) return 'only one side has it';
  return noRow(view);
}
