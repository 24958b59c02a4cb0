/**
 * Schedules and watchers: what goes on by itself, when it comes next, and whether a daemon is there to carry it out. Three
 * panels below each other; keys mean the selected row of the one that has them.
 */
import type { Schedule } from '../../features/schedule.ts';
import type { WatchRow } from '../../features/watch.ts';
import type { Column } from '../../shared/feature.ts';
import { plural } from '../../shared/format.ts';
import { ask, confirmLoss, tell } from '../dialogs.ts';
import type { InputEvent } from '../input.ts';
import { TABLE_KEYS } from '../keymap.ts';
import { panelInput } from '../panels.ts';
import type { Plans } from '../reads/schedules.ts';
import { type Binding, defineScreen, type Effect, type Step } from '../screen.ts';
import { emptyTable, selectedRow } from '../table.ts';
import { want } from '../wants.ts';
import { drawPlans, PANELS, type PlansState, type PlansView, plansOf, WIDE } from './schedules-draw.ts';
import { scheduleForm, watcherForm } from './schedules-form.ts';
import {
  comingColumns,
  placeText,
  scheduleColumns,
  scheduleFacts,
  scheduleWords,
  targetText,
  watcherColumns,
  watcherFacts,
  watcherWords,
} from './schedules-rows.ts';

export const schedules = defineScreen<PlansState>({
  name: 'schedules',
  title: 'Schedules',
  short: 'Sched',
  hotkey: '5',
  start: {
    panel: 'schedules',
    schedules: emptyTable,
    watchers: emptyTable,
    coming: emptyTable,
    areas: {},
    width: WIDE,
  },
  wants: () => [want('schedules')],
  draw: drawPlans,
  keys: keys(),
  act,
  input,
});

// --- internal: keys ---

function keys(): Binding<PlansState>[] {
  const known = (view: PlansView): string | undefined => (plansOf(view) ? undefined : 'it is still being read');
  const row = (view: PlansView): string | undefined =>
    chosenSchedule(view) || chosenWatcher(view) ? undefined : 'no schedule or watcher is selected';
  const schedule = (view: PlansView): string | undefined =>
    chosenSchedule(view) ? undefined : 'no schedule is selected';
  const write = { group: 'do', writes: true } as const;
  return [
    { keys: ['tab'], action: 'next', label: 'panel', help: 'next panel', group: 'move', hint: 9 },
    { keys: ['S-tab'], action: 'previous', label: 'panel before', help: 'panel before', group: 'move' },
    {
      ...write,
      keys: ['space'],
      action: 'switch',
      label: 'on/off',
      help: 'schedule on or off; watcher paused or going on',
      hint: 1,
      disabled: row,
    },
    {
      ...write,
      keys: ['n'],
      action: 'new',
      label: 'new',
      help: 'new schedule, or in their panel a new watcher',
      hint: 2,
      disabled: known,
    },
    { ...write, keys: ['e'], action: 'edit', label: 'edit', help: 'change it', hint: 3, disabled: row },
    {
      ...write,
      keys: ['D'],
      action: 'delete',
      label: 'delete',
      help: 'remove a schedule, watch a target no longer; asks',
      hint: 4,
      disabled: row,
    },
    {
      ...write,
      keys: ['s'],
      action: 'now',
      label: 'run now',
      help: 'carry the schedule out at once',
      hint: 5,
      disabled: schedule,
    },
    {
      ...write,
      keys: ['d'],
      action: 'daemon',
      label: 'daemon',
      help: 'start the daemon, or stop it after a question',
      hint: 6,
      disabled: known,
    },
    { keys: ['enter'], action: 'open', label: 'details', help: 'all that is known of it', group: 'do', hint: 7 },
    ...(TABLE_KEYS as Binding<PlansState>[]),
  ];
}

function act(action: string, view: PlansView): Step<PlansState> {
  const plans = plansOf(view);
  const schedule = chosenSchedule(view);
  const watcher = chosenWatcher(view);
  switch (action) {
    case 'next':
    case 'previous': {
      const at = PANELS.indexOf(view.state.panel) + (action === 'next' ? 1 : -1);
      return { state: { ...view.state, panel: PANELS[(at + PANELS.length) % PANELS.length] ?? 'schedules' } };
    }
    case 'new':
      if (!plans) return {};
      return over(view.state.panel === 'watchers' ? watcherForm(plans) : scheduleForm(plans));
    case 'edit':
      if (!plans) return {};
      return schedule ? over(scheduleForm(plans, schedule)) : watcher ? over(watcherForm(plans, watcher)) : {};
    case 'switch':
      return { effects: [...(schedule ? switched(schedule) : []), ...(watcher ? paused(watcher) : [])] };
    case 'now': {
      if (!schedule) return {};
      const words = ['schedule', 'now', schedule.schedule_id];
      return { effects: [{ kind: 'command', words, label: schedule.schedule_id }] };
    }
    case 'delete':
      return schedule ? over(removal(schedule)) : watcher ? over(unwatching(watcher)) : {};
    case 'daemon':
      return plans ? daemon(plans) : {};
    case 'open':
      if (schedule) return over(tell(`Schedule ${schedule.schedule_id}`, scheduleFacts(schedule, view.now)));
      return watcher ? over(tell(`Watcher of ${placeText(watcher)}`, watcherFacts(watcher, view.now))) : {};
    default:
      return {};
  }
}

function over(overlay: Extract<Effect, { kind: 'overlay' }>['overlay']): Step<PlansState> {
  return { effects: [{ kind: 'overlay', overlay }] };
}

function switched({ schedule_id: id, enabled }: Schedule): Effect[] {
  const words = (verb: string): string[] => ['schedule', verb, id];
  const [verb, back] = enabled ? ['pause', 'resume'] : ['resume', 'pause'];
  const label = `${id} ${enabled ? 'off' : 'on'}`;
  return [{ kind: 'command', words: words(verb ?? ''), label, undo: { label, words: words(back ?? '') } }];
}

function paused(row: WatchRow): Effect[] {
  const words = (verb: string): string[] => ['watch', verb, row.watch_id];
  const [verb, back] = row.paused ? ['resume', 'pause'] : ['pause', 'resume'];
  const label = `${placeText(row)} ${row.paused ? 'goes on' : 'paused'}`;
  return [{ kind: 'command', words: words(verb ?? ''), label, undo: { label, words: words(back ?? '') } }];
}

function removal(schedule: Schedule) {
  const { schedule_id: id } = schedule;
  return confirmLoss(
    `Remove the schedule ${id}?`,
    [
      `${targetText(schedule)} is not brought into step by it any more. Its runs stay in the history; no file is touched.`,
      'u makes it again, without its last result.',
    ],
    'Yes, remove it',
    [
      {
        kind: 'command',
        words: ['schedule', 'remove', id],
        label: `remove ${id}`,
        undo: { label: `remove ${id}`, words: scheduleWords(schedule, false) },
      },
    ],
  );
}

function unwatching(row: WatchRow) {
  const queue =
    row.queue_length > 0 ? ` ${plural(row.queue_length, 'change')} that wait are left to the next sync.` : '';
  const label = `no longer watch ${placeText(row)}`;
  return confirmLoss(
    `Watch ${placeText(row)} no longer?`,
    [`Its changes reach the Backup only when something else syncs it.${queue}`],
    'Yes, watch it no longer',
    [
      {
        kind: 'command',
        words: ['watch', 'disable', row.watch_id],
        label,
        undo: { label, words: watcherWords(row, row.debounce_seconds) },
      },
    ],
  );
}

function daemon(plans: Plans): Step<PlansState> {
  if (!plans.daemon.running) return startDaemon(plans.installed);
  const enabled = plans.schedules.filter((one) => one.enabled).length;
  const { watchers } = plans.daemon;
  return over(
    confirmLoss(
      'Stop the daemon?',
      [
        `Nothing carries out ${plural(enabled, 'schedule')} and ${plural(watchers.enabled, 'watcher')} until it is started again.`,
        'Files in flight are finished; what was cut short is taken up later.',
      ],
      'Yes, stop it',
      [{ kind: 'command', words: ['daemon', 'stop'], label: 'stop the daemon' }],
    ),
  );
}

/** Where the system does not start it at each login, how that is to be had is said first. */
function startDaemon(installed: boolean): Step<PlansState> {
  const start: Effect = { kind: 'command', words: ['daemon', 'run', '--quiet'], label: 'daemon' };
  if (installed) return { effects: [start] };
  return over(
    ask({
      title: 'Start the daemon?',
      lines: [
        'It runs in a process of its own, and goes on when this dashboard and its terminal are gone.',
        'To have it start at each login: tandem daemon install --write',
      ],
      choices: [
        { key: 's', label: 'Start it now', effects: [start] },
        { key: 'n', label: 'Not now', effects: [] },
      ],
    }),
  );
}

function chosenSchedule(view: PlansView): Schedule | undefined {
  if (view.state.panel !== 'schedules') return undefined;
  const columns = scheduleColumns(view.now, view.state.width >= WIDE);
  return selectedRow(plansOf(view)?.schedules ?? [], columns, view.state.schedules);
}

function chosenWatcher(view: PlansView): WatchRow | undefined {
  if (view.state.panel !== 'watchers') return undefined;
  return selectedRow(plansOf(view)?.watchers ?? [], watcherColumns(view.now), view.state.watchers);
}

function input(event: InputEvent, view: PlansView): Step<PlansState> | undefined {
  const next = panelInput(event, view.state, PANELS, (panel, work) => onTable(panel, view, work));
  return next && { state: next };
}

function onTable<R>(
  panel: PlansState['panel'],
  view: PlansView,
  work: <T extends object>(rows: readonly T[], columns: readonly Column<T>[]) => R,
): R {
  const plans = plansOf(view);
  if (panel === 'schedules') return work(plans?.schedules ?? [], scheduleColumns(view.now, view.state.width >= WIDE));
  if (panel === 'watchers') return work(plans?.watchers ?? [], watcherColumns(view.now));
  return work(plans?.coming ?? [], comingColumns(view.now));
}
