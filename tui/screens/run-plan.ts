/** Making, ticking, running and dropping a plan, as effects. Pure. */
import { formatBytes, formatCount, plural } from '../../shared/format.ts';
import { ask, confirmLoss } from '../dialogs.ts';
import type { PlanHead } from '../reads/plans.ts';
import type { Effect, Step } from '../screen.ts';
import {
  type PlanTarget,
  type Review,
  type RunState,
  type RunView,
  reviewOf,
  selectedFile,
  turnTo,
} from './run-data.ts';
import { withPassword } from './unlock.ts';

/** A process compares both drives and saves what it would do; the plan then appears on the screen of runs. */
export function makePlan(target: PlanTarget, view: RunView): Effect[] {
  if (view.state.review?.making)
    return [
      { kind: 'toast', style: 'warn', text: `The plan of ${view.state.review.target.name} is still being made.` },
    ];
  return withPassword(`plan of ${target.name}`, target.groups, view, (password) => beginPlan(target, password, view));
}

/** The selected file, with what is below it. */
export function tick(state: RunState): RunState {
  const row = selectedFile(state);
  if (!row || !state.review) return state;
  const next = { on: row.state === 'left', of: 'path' as const, path: row.path };
  const others = state.review.ticks.filter((one) => one.of !== 'path' || one.path !== row.path);
  return { ...state, review: { ...state.review, ticks: [...others, next] } };
}

/** After a question that says what will be done, and why it would be refused. */
export function applyPlan(view: RunView): Effect[] {
  const { state } = view;
  const review = reviewOf(state);
  const plan = state.shown?.plan;
  if (!review || !plan) return [];
  const { guards, left } = plan;
  const lines = [totalsOf(plan), ...(left > 0 ? [`${plural(left, 'row')} of the plan left out.`] : [])];
  const title = `plan of ${review.target.name}`;
  const effects = withPassword(title, review.target.groups, view, (password) => runIt(review, plan, password));
  if (guards.length > 0) {
    const why = guards.map(({ name, message }) => `${name}: ${message}`);
    const question = `Run the plan of ${plan.target} in spite of this?`;
    const overlay = confirmLoss(question, [...why, ...lines], 'Yes, run it in spite of that', effects);
    return [{ kind: 'overlay', overlay }];
  }
  const choices = [
    { key: 'n', label: 'No, look at it again', effects: [] },
    { key: 'y', label: 'Yes, run it', effects },
  ];
  const danger = plan.totals.delete > 0;
  return [{ kind: 'overlay', overlay: ask({ title: `Run the plan of ${plan.target}?`, lines, choices, danger }) }];
}

export function dropReview(state: RunState): Step<RunState> {
  const { review } = state;
  if (!review) return {};
  const gone = { ...turnTo(state, 'auto'), review: null };
  if (review.ticks.length === 0) return { state: gone, effects: [drop(review)] };
  const effects = [set((now) => ({ ...turnTo(now, 'auto'), review: null })), drop(review)];
  const loses = ['What you unticked is forgotten. Nothing was written to the drives.'];
  const overlay = confirmLoss(`Throw the plan of ${review.target.name} away?`, loses, 'Yes, throw it away', effects);
  return { effects: [{ kind: 'overlay', overlay }] };
}

// --- internal ---

function beginPlan(target: PlanTarget, password: string | undefined, view: RunView): Effect[] {
  const { id } = target;
  const label = `plan of ${target.name}`;
  const folder = view.read('plans').value;
  if (folder === undefined) return [{ kind: 'toast', style: 'warn', text: 'Not read yet; try again in a moment.' }];
  const name = `${id}-${view.now.getTime()}.json`;
  const review: Review = { name, folder, target, making: true, trouble: '', ticks: [] };
  const old = view.state.review;
  return [
    ...(old ? [drop(old)] : []),
    set((state) => ({ ...turnTo(state, 'plan'), review })),
    { kind: 'go', screen: 'run' },
    {
      kind: 'ask',
      name: 'plan-begin',
      args: [],
      after: [
        {
          kind: 'command',
          words: ['sync', 'plan', id, '--out', `${folder}/${name}`],
          label,
          ...(password !== undefined && { password }),
          ended: ({ style, text, lines }) => [
            set((state) => {
              if (state.review?.name !== name) return state;
              // A plan that would be refused, or that has conflicts, is there all the same; then nobody reads this.
              const trouble =
                style === 'good' ? '' : (lines.find((line) => line.startsWith('error: '))?.slice(7) ?? text);
              return { ...state, review: { ...state.review, making: false, trouble } };
            }),
          ],
        },
      ],
    },
  ];
}

function set(change: (state: RunState) => RunState): Effect {
  return { kind: 'set', screen: 'run', change };
}

function drop({ name }: Review): Effect {
  return { kind: 'ask', name: 'plan-drop', args: [name] };
}

function totalsOf({ totals, target }: PlanHead): string {
  const { copy, update, convert, move, delete: deleted, conflict, bytes } = totals;
  const parts: [number, string][] = [
    [copy, 'copied'],
    [update, 'replaced'],
    [convert, 'stored in another form'],
    [move, 'renamed'],
    [deleted, 'deleted on the Backup'],
  ];
  const said = parts.flatMap(([count, what]) => (count > 0 ? [`${formatCount(count)} ${what}`] : []));
  const waits = conflict > 0 ? ` ${plural(conflict, 'conflict')} will wait for your decision.` : '';
  return `${target}: ${said.join(', ') || 'nothing to be written'} (${formatBytes(bytes)}). What changed since is refused, path by path.${waits}`;
}

/** The plan's file goes when the run has ended. */
function runIt(review: Review, { guards }: PlanHead, password: string | undefined): Effect[] {
  const { target, name, folder, ticks } = review;
  const left = ticks.length > 0;
  const command: Effect = {
    kind: 'command',
    words: [
      'sync',
      'apply',
      `${folder}/${name}`,
      ...(left ? ['--skip-from', `${folder}/${name}.left`] : []),
      ...guards.flatMap((guard) => ['--force', guard.name]),
    ],
    label: `plan of ${target.name}`,
    ...(password !== undefined && { password }),
    ended: ({ style, text }) => [drop(review), { kind: 'toast', style, text }],
  };
  const started = set((state) => ({ ...turnTo(state, 'auto'), review: null }));
  const after = [started, command];
  return left ? [{ kind: 'ask', name: 'plan-left', args: [name, JSON.stringify(ticks)], after }] : after;
}
