/**
 * Home: drives, groups, what runs, what happened. Tab goes from panel to panel; keys mean the selected row of the panel
 * that has them.
 */
import type { Column } from '../../shared/feature.ts';
import { plural } from '../../shared/format.ts';
import { confirmLoss, tell } from '../dialogs.ts';
import type { InputEvent } from '../input.ts';
import type { Running } from '../reads.ts';
import { type Binding, defineScreen, type Step } from '../screen.ts';
import { emptyTable, selectedRow, tableKey, tableMouse, tablePaste, tableRows } from '../table.ts';
import { want } from '../wants.ts';
import {
  chosenGroup,
  chosenRun,
  driveRowsOf,
  feedColumns,
  groupRowsOf,
  type HomeState,
  type HomeView,
  isHeld,
  ORDER,
  type Panel,
  RUN_COLUMNS,
} from './home-data.ts';
import { drawNarrow, drawWide } from './home-draw.ts';
import { driveColumns, driveFacts, groupColumns, groupFacts } from './home-rows.ts';

export const home = defineScreen<HomeState>({
  name: 'home',
  title: 'Home',
  short: 'Home',
  hotkey: '1',
  start: { panel: 'groups', drives: emptyTable, groups: emptyTable, runs: emptyTable, events: emptyTable, areas: {} },
  wants: () => [want('status'), want('running'), want('feed')],
  draw: (canvas, view) =>
    canvas.height >= 30 && canvas.width >= 100 ? drawWide(canvas, view) : drawNarrow(canvas, view),
  keys: keys(),
  act,
  input,
});

// --- internal ---

function keys(): Binding<HomeState>[] {
  return [
    { keys: ['tab'], action: 'next', label: 'panel', help: 'next panel', group: 'move', hint: 1 },
    { keys: ['S-tab'], action: 'previous', label: 'panel before', help: 'panel before', group: 'move' },
    {
      keys: ['enter'],
      action: 'open',
      label: 'details',
      help: 'details of the drive, the group or the run',
      group: 'do',
      hint: 6,
    },
    {
      keys: ['s'],
      action: 'sync',
      label: 'sync',
      help: 'sync the selected group',
      group: 'do',
      hint: 3,
      writes: true,
      disabled: noSync,
    },
    {
      keys: ['S'],
      action: 'sync-all',
      label: 'sync all',
      help: 'sync every group whose drives are connected',
      group: 'do',
      writes: true,
      disabled: noSyncAll,
    },
    {
      keys: ['p'],
      action: 'pause',
      label: 'pause',
      help: 'pause what runs, or let it go on',
      group: 'do',
      hint: 4,
      writes: true,
      disabled: noRun,
    },
    {
      keys: ['x'],
      action: 'stop',
      label: 'stop',
      help: 'stop what runs, after a question',
      group: 'do',
      hint: 5,
      writes: true,
      disabled: noRun,
    },
    {
      keys: ['/'],
      action: 'filter',
      label: 'filter',
      help: 'only rows that contain what is typed; Esc shows all',
      group: 'move',
      hint: 90,
    },
    {
      keys: ['o'],
      action: 'sort',
      label: 'sort',
      help: 'by the next column; a click on a column title does it too',
      group: 'move',
    },
  ];
}

function act(action: string, view: HomeView): Step<HomeState> {
  const { state } = view;
  const group = chosenGroup(view);
  const run = chosenRun(view);
  switch (action) {
    case 'next':
    case 'previous':
      return { state: { ...state, panel: nextPanel(view, action === 'next' ? 1 : -1) } };
    case 'sync':
      if (!group) return {};
      return { effects: [{ kind: 'command', words: ['sync', 'run', group.id], label: `sync of ${group.name}` }] };
    case 'sync-all':
      return { effects: [{ kind: 'command', words: ['sync', 'run', '--all'], label: 'sync of all groups' }] };
    case 'pause':
      if (!run) return {};
      return { effects: [{ kind: 'control', operation: run, control: isHeld(run) ? '' : 'pause' }] };
    case 'stop':
      return run ? { effects: [{ kind: 'overlay', overlay: stopQuestion(run) }] } : {};
    case 'open':
      return open(view);
    default:
      return {};
  }
}

function stopQuestion(run: Running) {
  const left = run.progress ? run.progress.files_total - run.progress.files_done : 0;
  const text = left > 0 ? `${plural(left, 'file')} will not be copied now.` : 'What is left is not done now.';
  return confirmLoss(
    `Stop the ${run.operation_type} of ${run.target_name}?`,
    [`Files in flight are finished. ${text} Nothing that was copied is lost; the next run goes on from there.`],
    'Yes, stop it',
    [{ kind: 'control', operation: run, control: 'cancel' }],
  );
}

function open(view: HomeView): Step<HomeState> {
  const { panel } = view.state;
  const { value } = view.read('status');
  if (panel === 'drives') {
    const drive = selectedRow(driveRowsOf(view), driveColumns, view.state.drives);
    if (!drive || !value) return {};
    return { effects: [{ kind: 'overlay', overlay: tell(`Drive ${drive.label}`, driveFacts(drive, value)) }] };
  }
  const group = panel === 'groups' ? chosenGroup(view) : undefined;
  if (group)
    return { effects: [{ kind: 'overlay', overlay: tell(`Group ${group.name}`, groupFacts(group, view.now)) }] };
  const run = panel === 'runs' ? chosenRun(view) : undefined;
  if (run)
    return {
      effects: [
        {
          kind: 'command',
          words: ['history', 'show', run.uuid],
          label: `${run.operation_type} of ${run.target_name}`,
          show: true,
        },
      ],
    };
  return {};
}

function noSync(view: HomeView): string | undefined {
  const group = chosenGroup(view);
  if (!group) return view.read('status').value ? 'there is no group yet' : 'the groups are still being read';
  if (group.status !== 'connected') return 'a drive of it is not connected';
  return group.run ? 'it is running' : undefined;
}

function noSyncAll(view: HomeView): string | undefined {
  return groupRowsOf(view).some(({ status }) => status === 'connected')
    ? undefined
    : 'no group has both drives connected';
}

function noRun(view: HomeView): string | undefined {
  return chosenRun(view) ? undefined : 'nothing is running';
}

function nextPanel(view: HomeView, step: number): Panel {
  const there = ORDER.filter((panel) => panel !== 'runs' || (view.read('running').value?.length ?? 0) > 0);
  const at = there.indexOf(view.state.panel);
  return there[(at + step + there.length) % there.length] ?? 'groups';
}

function input(event: InputEvent, view: HomeView): Step<HomeState> | undefined {
  const { state } = view;
  if (event.kind === 'mouse') {
    for (const panel of ORDER) {
      const area = state.areas[panel];
      const table =
        area && onTable(panel, view, (rows, columns) => tableMouse(state[panel], event, area, rows, columns));
      if (table) return { state: { ...state, panel, [panel]: table } };
    }
    return undefined;
  }
  const { panel } = state;
  const next = onTable(panel, view, (rows, columns) => {
    if (event.kind === 'paste') return tablePaste(state[panel], event.text);
    return tableKey(state[panel], event, tableRows(rows, columns, state[panel]).length, columns.length);
  });
  return next && { state: { ...state, [panel]: next } };
}

/** Calls `work` with the rows and columns of a panel. */
function onTable<R>(
  panel: Panel,
  view: HomeView,
  work: <T extends object>(rows: readonly T[], columns: readonly Column<T>[]) => R,
): R {
  switch (panel) {
    case 'drives':
      return work(driveRowsOf(view), driveColumns);
    case 'groups':
      return work(groupRowsOf(view), groupColumns);
    case 'runs':
      return work(view.read('running').value ?? [], RUN_COLUMNS);
    case 'events':
      return work(view.read('feed').value ?? [], feedColumns(view.now));
  }
}
