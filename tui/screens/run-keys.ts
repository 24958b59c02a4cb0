/** The keys of the screen of runs, and when they do something. Pure. */
import { TABLE_KEYS } from '../keymap.ts';
import type { Binding } from '../screen.ts';
import { type Group, goingRun, type RunState, type RunView, reviewOf, selectedFile } from './run-data.ts';
import { againCommand } from './steering.ts';

export function runKeys(): Binding<RunState>[] {
  return [
    { keys: ['tab'], action: 'next', label: 'next run', help: 'the next of what runs, and the plan', group: 'move' },
    {
      keys: ['c'],
      action: 'choose',
      label: 'choose',
      help: 'which run is shown, of those that ended as well',
      group: 'do',
      hint: 9,
    },
    {
      keys: ['enter'],
      action: 'open',
      label: 'details',
      help: 'all that is known of the file',
      group: 'do',
      disabled: noFile,
      hint: 8,
    },
    {
      keys: ['s'],
      action: 'start',
      label: 'start',
      help: 'run the plan; else sync again what is shown',
      group: 'do',
      writes: true,
      disabled: noStart,
      hint: 3,
    },
    {
      keys: ['P'],
      action: 'plan',
      label: 'plan',
      help: 'what a sync would do, to be looked through first',
      group: 'do',
      writes: true,
      disabled: noPlan,
      hint: 4,
    },
    {
      keys: ['space'],
      action: 'space',
      label: 'pause/tick',
      help: 'pause the run or let it go on; in a plan: do this file, or leave it',
      group: 'do',
      disabled: noSpace,
      hint: 1,
    },
    {
      keys: ['p'],
      action: 'pause',
      label: 'pause',
      help: 'pause the run, or let it go on',
      group: 'do',
      writes: true,
      disabled: notGoing,
    },
    {
      keys: ['x'],
      action: 'stop',
      label: 'stop',
      help: 'stop the run, after a question',
      group: 'do',
      writes: true,
      disabled: notGoing,
      hint: 2,
    },
    {
      keys: ['b'],
      action: 'limit',
      label: 'bandwidth',
      help: 'how fast the run may write from now on',
      group: 'do',
      writes: true,
      disabled: notGoing,
      hint: 7,
    },
    {
      keys: ['+'],
      action: 'tick',
      label: 'tick',
      help: 'do all that is shown, of the plan',
      group: 'do',
      disabled: noReview,
    },
    {
      keys: ['-'],
      action: 'untick',
      label: 'untick',
      help: 'leave out all that is shown, of the plan',
      group: 'do',
      disabled: noReview,
    },
    { keys: ['D'], action: 'drop', label: 'drop plan', help: 'throw the plan away', group: 'do', disabled: noReview },
    { keys: ['a'], action: 'action', label: 'action', help: 'only copies, only moves …', group: 'do', hint: 6 },
    {
      keys: ['e'],
      action: 'errors',
      label: 'errors',
      help: 'only what failed or waits for a decision',
      group: 'do',
      hint: 6,
    },
    ...(TABLE_KEYS as Binding<RunState>[]),
  ];
}

/** Groups that can be synced now. */
export function connected(view: RunView): readonly Group[] {
  return (view.read('status').value?.groups ?? []).filter(({ status }) => status === 'connected');
}

// --- internal ---

function noFile({ state }: RunView): string | undefined {
  return selectedFile(state) ? undefined : 'no file is selected';
}

function noReview({ state }: RunView): string | undefined {
  if (!reviewOf(state)) return 'it is for plans: P makes one';
  return undefined;
}

function notGoing(view: RunView): string | undefined {
  return goingRun(view) ? undefined : 'nothing that is shown here is running';
}

function noSpace(view: RunView): string | undefined {
  if (reviewOf(view.state)) return undefined;
  return view.readOnly ? 'the dashboard was started with --read-only' : notGoing(view);
}

function noStart(view: RunView): string | undefined {
  const { state } = view;
  const { shown } = state;
  if (reviewOf(state)) {
    if (!shown?.plan) return 'the plan is not ready';
    return shown.total === shown.plan.left ? 'nothing of the plan is ticked' : undefined;
  }
  if (goingRun(view)) return 'it is running';
  return shown?.run && againCommand(shown.run) ? undefined : noPlan(view);
}

function noPlan(view: RunView): string | undefined {
  if (view.state.review?.making) return 'a plan is being made';
  return connected(view).length > 0 ? undefined : 'no group has both drives connected';
}
