/**
 * Home: drives, groups, what runs, what happened. Tab goes from panel to panel; keys mean the selected row of the panel
 * that has them.
 */
import type { Column } from '../../shared/feature.ts';
import { tell } from '../dialogs.ts';
import type { InputEvent } from '../input.ts';
import { TABLE_KEYS } from '../keymap.ts';
import { panelInput } from '../panels.ts';
import { type Binding, defineScreen, type Step } from '../screen.ts';
import { emptyTable } from '../table.ts';
import { want } from '../wants.ts';
import {
  chosenDrive,
  chosenGroup,
  chosenRun,
  driveRowsOf,
  feedColumns,
  groupRowsOf,
  type HomeState,
  type HomeView,
  ORDER,
  type Panel,
  RUN_COLUMNS,
} from './home-data.ts';
import { drawNarrow, drawWide } from './home-draw.ts';
import { driveColumns, type GroupRow, groupColumns, groupFacts } from './home-rows.ts';
import { addDriveForm, driveDialog } from './places-drive.ts';
import { groupWizard } from './places-wizard.ts';
import { showPlan } from './run.ts';
import { targetOf } from './run-data.ts';
import { isHeld, stopRun } from './steering.ts';
import { unlocked } from './unlock.ts';

export const home = defineScreen<HomeState>({
  name: 'home',
  title: 'Home',
  short: 'Home',
  hotkey: '1',
  start: { panel: 'groups', drives: emptyTable, groups: emptyTable, runs: emptyTable, events: emptyTable, areas: {} },
  wants: () => [want('status'), want('running'), want('feed'), want('plans')],
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
      keys: ['P'],
      action: 'plan',
      label: 'plan',
      help: 'what a sync of the selected group would do, to be looked through first',
      group: 'do',
      hint: 7,
      writes: true,
      disabled: noSync,
    },
    {
      keys: ['n'],
      action: 'new-group',
      label: 'new group',
      help: 'pair two drives, step by step',
      group: 'do',
      writes: true,
    },
    {
      keys: ['a'],
      action: 'add-drive',
      label: 'add drive',
      help: 'use a folder as a drive: a NAS mount, a disk in a dock',
      group: 'do',
      writes: true,
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
    ...(TABLE_KEYS as Binding<HomeState>[]),
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
      return group ? sync(['sync', 'run', group.id], group.name, [group], view) : {};
    case 'sync-all':
      return sync(['sync', 'run', '--all'], 'all groups', connected(view), view);
    case 'plan':
      return group ? { effects: showPlan(targetOf(group)) } : {};
    case 'new-group':
      return { effects: [{ kind: 'overlay', overlay: groupWizard() }] };
    case 'add-drive':
      return { effects: [{ kind: 'overlay', overlay: addDriveForm() }] };
    case 'pause':
      if (!run) return {};
      return { effects: [{ kind: 'control', operation: run, control: isHeld(run) ? '' : 'pause' }] };
    case 'stop':
      return run ? { effects: [{ kind: 'overlay', overlay: stopRun(run) }] } : {};
    case 'open':
      return open(view);
    default:
      return {};
  }
}

function sync(words: string[], name: string, groups: readonly GroupRow[], view: HomeView): Step<HomeState> {
  const ids = groups.map(({ id }) => id);
  return { effects: unlocked({ kind: 'command', words, label: `sync of ${name}` }, ids, view) };
}

function connected(view: HomeView): readonly GroupRow[] {
  return groupRowsOf(view).filter(({ status }) => status === 'connected');
}

function open(view: HomeView): Step<HomeState> {
  const { panel } = view.state;
  const drive = panel === 'drives' ? chosenDrive(view) : undefined;
  if (drive) return { effects: [{ kind: 'overlay', overlay: driveDialog(drive) }] };
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
  return connected(view).length > 0 ? undefined : 'no group has both drives connected';
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
  const next = panelInput(event, view.state, ORDER, (panel, work) => onTable(panel, view, work));
  return next && { state: next };
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
