/**
 * Run: the files of a run, whoever started it, and of a plan before it is run. Runs that go on can be paused, stopped and
 * slowed down. A plan is made by a process of its own, looked through, unticked where something is to stay as it is, and
 * then run exactly as it stands.
 */
import { formatTime } from '../../shared/format.ts';
import { pick, tell } from '../dialogs.ts';
import type { InputEvent } from '../input.ts';
import { defineScreen, type Effect, type Step } from '../screen.ts';
import { tableKey, tableMouse, tablePaste } from '../table.ts';
import { want } from '../wants.ts';
import {
  choiceOf,
  columnsOf,
  fileFacts,
  type Group,
  goingRun,
  type PlanTarget,
  pagesWanted,
  type RunState,
  type RunView,
  reviewOf,
  selectedFile,
  startRun,
  targetOf,
  turnTo,
} from './run-data.ts';
import { drawRunScreen } from './run-draw.ts';
import { connected, runKeys } from './run-keys.ts';
import { applyPlan, dropReview, makePlan, tick } from './run-plan.ts';
import { againCommand, isHeld, limitForm, stopRun } from './steering.ts';
import { unlocked } from './unlock.ts';

/** Of the history, to choose from. */
const LATEST = ['20', '', ''];

export const run = defineScreen<RunState>({
  name: 'run',
  title: 'Run',
  short: 'Run',
  hotkey: '2',
  start: startRun,
  wants: (state) => [want('running'), want('status'), want('plans'), want('history', ...LATEST), ...pagesWanted(state)],
  draw: drawRunScreen,
  keys: runKeys(),
  act,
  input,
});

/** Shows an operation on this screen. */
export function showRun(uuid: string): Effect[] {
  return [
    { kind: 'set', screen: 'run', change: (state: RunState) => turnTo(state, uuid) },
    { kind: 'go', screen: 'run' },
  ];
}

/** Goes to this screen and makes a plan there. The screen that calls it has `plans` among its wants. */
export function showPlan(target: PlanTarget): Effect[] {
  return [
    { kind: 'set', screen: 'run', change: (state: RunState) => ({ ...state, planned: target }) },
    { kind: 'go', screen: 'run' },
    { kind: 'action', action: 'planned' },
  ];
}

// --- internal: input ---

function act(action: string, view: RunView): Step<RunState> {
  const { state } = view;
  const going = goingRun(view);
  switch (action) {
    case 'next':
      return { state: turnTo(state, nextSubject(view)) };
    case 'choose':
      return choose(view);
    case 'open':
      return open(state);
    case 'start':
      return start(view);
    case 'plan':
      return pickGroup('Plan a sync of', view, (group) => makePlan(targetOf(group), view));
    case 'planned':
      return state.planned ? { effects: makePlan(state.planned, view) } : {};
    case 'space':
      return reviewOf(state) ? { state: tick(state) } : pause(going);
    case 'pause':
      return pause(going);
    case 'stop':
      return going ? { effects: [{ kind: 'overlay', overlay: stopRun(going) }] } : {};
    case 'limit':
      return going ? { effects: [{ kind: 'overlay', overlay: limitForm(going) }] } : {};
    case 'tick':
    case 'untick':
      return { state: tickShown(state, action === 'tick') };
    case 'drop':
      return dropReview(state);
    case 'action':
      return { state: { ...state, action: nextAction(state), table: { ...state.table, at: 0, top: 0 } } };
    case 'errors':
      return { state: { ...state, errors: !state.errors, table: { ...state.table, at: 0, top: 0 } } };
    default:
      return {};
  }
}

function input(event: InputEvent, { state }: RunView): Step<RunState> | undefined {
  const { table, shown, area } = state;
  const columns = columnsOf(state, area.width);
  if (event.kind === 'paste') {
    const pasted = tablePaste(table, event.text);
    return pasted && { state: { ...state, table: pasted } };
  }
  if (event.kind === 'key') {
    const next = tableKey(table, event, shown?.window.count ?? 0, columns.length);
    return next && { state: { ...state, table: next } };
  }
  const next = tableMouse(table, event, area, shown?.rows ?? [], columns, shown?.window ?? { from: 0, count: 0 });
  if (!next) return undefined;
  const clicked = { ...state, table: next };
  const onTick = event.action === 'click' && event.y > area.y && event.x < area.x + TICKS && reviewOf(state) !== null;
  return { state: onTick ? tick(clicked) : clicked };
}

/** Cells of the first column of a plan. */
const TICKS = 5;

// --- internal: what is done ---

/** The runs that go on, then the plan; from there the newest run again. */
function nextSubject(view: RunView): string {
  const { state } = view;
  const all = [...(view.read('running').value ?? []).map(({ uuid }) => uuid), ...(state.review ? ['plan'] : [])];
  const at = all.indexOf(state.subject === 'auto' ? (state.shown?.run?.uuid ?? '') : state.subject);
  return all[at + 1] ?? all.find((one) => one !== state.subject) ?? 'auto';
}

function choose(view: RunView): Step<RunState> {
  const running = view.read('running').value ?? [];
  const latest = view.read('history', ...LATEST).value?.rows ?? [];
  const ended = latest.filter(({ status }) => status !== 'running');
  const of = (subject: string): Effect[] => [
    { kind: 'set', screen: 'run', change: (state: RunState) => turnTo(state, subject) },
  ];
  const { review } = view.state;
  const options = [
    { text: 'The newest', help: 'whatever runs', effects: of('auto') },
    ...(review ? [{ text: `Plan of ${review.target.name}`, help: 'not run yet', effects: of('plan') }] : []),
    ...[...running, ...ended].map(({ uuid, operation_type: type, target_name: name, status, start_time }) => {
      return { text: `${type} ${name}`, help: `${status}  ${formatTime(new Date(start_time))}`, effects: of(uuid) };
    }),
  ];
  return { effects: [{ kind: 'overlay', overlay: pick('Which run', options) }] };
}

function open(state: RunState): Step<RunState> {
  const row = selectedFile(state);
  if (!row) return {};
  const name = row.path.split('/').at(-1) ?? row.path;
  return { effects: [{ kind: 'overlay', overlay: tell(name, fileFacts(row, state.shown?.keeps ?? true)) }] };
}

function pause(going: ReturnType<typeof goingRun>): Step<RunState> {
  if (!going) return {};
  return { effects: [{ kind: 'control', operation: going, control: isHeld(going) ? '' : 'pause' }] };
}

function start(view: RunView): Step<RunState> {
  const { state } = view;
  if (reviewOf(state)) return { effects: applyPlan(view) };
  const shown = state.shown?.run;
  const again = shown && againCommand(shown);
  if (!shown || !again) {
    return pickGroup('Sync', view, ({ id, name }) =>
      unlocked({ kind: 'command', words: ['sync', 'run', id], label: `sync of ${name}` }, [id], view),
    );
  }
  return { state: turnTo(state, 'auto'), effects: unlocked(again, [shown.group_id], view) };
}

/** Of one group at once, of several after a choice; that of the run that is shown is chosen first. */
function pickGroup(title: string, view: RunView, work: (group: Group) => readonly Effect[]): Step<RunState> {
  const groups = connected(view);
  const [only, other] = groups;
  if (only && !other) return { effects: work(only) };
  const at = groups.findIndex(({ id }) => id === view.state.shown?.run?.group_id);
  const options = groups.map((group) => ({
    text: group.name,
    help: `${group.master_drive.label} → ${group.backup_drive.label}`,
    effects: work(group),
  }));
  return { effects: [{ kind: 'overlay', overlay: pick(title, options, Math.max(0, at)) }] };
}

function nextAction({ action, shown }: RunState): string {
  const all = ['', ...Object.keys(shown?.actions ?? {}).sort()];
  return all[(all.indexOf(action) + 1) % all.length] ?? '';
}

function tickShown(state: RunState, on: boolean): RunState {
  if (!state.review) return state;
  const { filter, action, errors } = choiceOf(state);
  const everything = filter === '' && action === '' && !errors;
  const ticks = everything
    ? [{ on, of: 'all' as const }]
    : [...state.review.ticks, { on, of: 'chosen' as const, choice: { filter, action, errors } }];
  return { ...state, review: { ...state.review, ticks } };
}
