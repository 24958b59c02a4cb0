/** How a run or a plan looks: its state above, its files below. Pure. */
import {
  formatAge,
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
  formatTime,
  plural,
} from '../../shared/format.ts';
import { secondsOf } from '../../shared/history-files.ts';
import { type Canvas, drawBar, sparkline } from '../canvas.ts';
import type { RunFiles } from '../reads/files.ts';
import type { PlanHead } from '../reads/plans.ts';
import type { FileRow } from '../rows.ts';
import { fit } from '../sanitize.ts';
import { drawTable, tableCount, wrap } from '../table.ts';
import type { Tone } from '../theme.ts';
import { percentOf } from './home-rows.ts';
import { columnsOf, type RunState, type RunView, reviewOf, shownBy, troubleOf } from './run-data.ts';
import { isHeld } from './steering.ts';

type Run = NonNullable<RunFiles['run']>;

export function drawRunScreen(canvas: Canvas, view: RunView): RunState {
  const shown = shownBy(view);
  const state = { ...view.state, shown };
  const roomy = canvas.height >= 30;
  const lines = roomy ? 2 + (shown?.flight.length ? 1 + Math.min(4, shown.flight.length) : 0) : 2;
  const guards = shown?.plan ? Math.min(2, shown.plan.guards.length) : 0;
  drawHead(canvas.area(0, 0, canvas.width, lines + guards + 2), { ...view, state });
  return drawFiles(canvas.area(0, lines + guards + 2, canvas.width, canvas.height), lines + guards + 2, {
    ...view,
    state,
  });
}

/** `✓`, `!`, `✗`, `◐` and the word for it. */
export function resultOf({
  status,
  reason,
  conflicts_detected: conflicts,
  control,
  progress,
}: Pick<Run, 'status' | 'reason' | 'conflicts_detected' | 'control' | 'progress'>): {
  sign: string;
  word: string;
  tone: Tone;
} {
  const why = reason === null ? '' : ` (${reason})`;
  if (status === 'failed') return { sign: '✗', word: `failed${why}`, tone: 'bad' };
  if (status === 'cancelled') return { sign: '!', word: 'cancelled', tone: 'warn' };
  if (status === 'running')
    return { sign: '◐', word: isHeld({ control, progress }) ? 'paused' : 'running', tone: 'plain' };
  return conflicts > 0
    ? { sign: '!', word: 'completed', tone: 'warn' }
    : { sign: '✓', word: 'completed', tone: 'good' };
}

// --- internal ---

function drawHead(canvas: Canvas, view: RunView): void {
  const { state } = view;
  const review = reviewOf(state);
  if (review) {
    const plan = state.shown?.plan ?? null;
    const box = canvas.box({
      title: `Plan: ${plan?.target ?? review.target.name}`,
      right: plan ? 's run it  D throw away' : '',
    });
    if (plan) drawPlan(box, plan, state.shown?.total ?? 0, view);
    else {
      const waiting =
        review.trouble === '' ? `Comparing both drives of ${review.target.name} …` : `✗ ${review.trouble}`;
      wrap(waiting, box.width).forEach((line, y) => {
        box.put(0, y, line, review.trouble === '' ? 'dim' : 'bad');
      });
    }
    return;
  }
  const run = state.shown?.run ?? null;
  if (!run) {
    const trouble = troubleOf(view);
    const box = canvas.box({ title: 'Run' });
    box.put(0, 0, trouble ?? (state.shown ? 'Nothing has run yet.' : 'Reading …'), trouble ? 'bad' : 'dim');
    return;
  }
  const running = view.read('running').value ?? [];
  const at = running.findIndex(({ uuid }) => uuid === run.uuid);
  const which = at >= 0 && running.length > 1 ? ` (${at + 1} of ${running.length}, Tab next)` : '';
  const keys = run.status !== 'running' ? 's again' : `p ${isHeld(run) ? 'go on' : 'pause'}  x stop  b limit`;
  const box = canvas.box({ title: `Run: ${run.operation_type} ${run.target}${which}`, right: keys });
  if (run.status === 'running') drawGoing(box, run, state.shown?.flight ?? [], view);
  else drawEnded(box, run);
}

function drawGoing(box: Canvas, run: Run, flight: readonly FileRow[], { now }: RunView): void {
  const { progress } = run;
  if (!progress) {
    box.put(0, 0, `Starting … ${formatAge(new Date(run.start_time), now)}`, 'dim');
    return;
  }
  const wide = box.width >= 100;
  const bytes = `${formatBytes(progress.bytes_done)} / ${formatBytes(progress.bytes_total)}`;
  const rate = formatRate(progress.rate);
  const eta = isHeld(run) ? 'paused' : progress.eta === null ? '' : `ETA ${formatDuration(progress.eta)}`;
  const percent = `${percentOf(run)}%`.padStart(5);
  const tail = wide
    ? `${percent}   ${bytes}   ${eta.padEnd(16)}`
    : `${percent}  ${rate.padStart(9)}  ${eta.padEnd(15)}`;
  const bar = Math.max(10, box.width - tail.length - 1);
  drawBar(box, 0, 0, bar, percentOf(run) / 100);
  box.put(bar + 1, 0, tail);
  const state = isHeld(run) ? 'paused' : run.control === 'cancel' ? 'stopping' : progress.phase;
  box.spans(0, 1, [
    [wide ? `${sparkline(run.rates, 30)} ${rate}     ` : `${bytes}   `, wide ? 'bar' : 'plain'],
    [`${formatCount(progress.files_done)} / ${plural(progress.files_total, 'file')}     `],
    [plural(progress.files_failed, 'error'), progress.files_failed > 0 ? 'bad' : 'plain'],
    [`     ${state}`, isHeld(run) ? 'warn' : 'dim'],
  ]);
  flight.slice(0, Math.max(0, box.height - 3)).forEach((row, index) => {
    drawFlight(box, 3 + index, row);
  });
}

function drawFlight(box: Canvas, y: number, { action, path, size, share }: FileRow): void {
  const done =
    share === undefined ? '' : `${Math.floor(share * 100)}%   ${formatBytes(size * share)} / ${formatBytes(size)}`;
  const right = 20 + 4 + 27;
  box.put(0, y, fit(`  ${action.padEnd(7)} ${path}`, box.width - right - 2, { cut: 'middle' }));
  if (share === undefined) return;
  drawBar(box, box.width - right, y, 20, share);
  box.put(box.width - right + 21, y, done);
}

function drawEnded(box: Canvas, run: Run): void {
  const { sign, word, tone } = resultOf(run);
  const seconds = secondsOf(run);
  const by = run.started_by === '' ? '' : `   by ${run.started_by}`;
  box.spans(0, 0, [[`${sign} ${word}`, tone], [`   ${run.result}`]]);
  const took = seconds === null ? '' : `, ${formatDuration(seconds)}`;
  box.put(
    0,
    1,
    `${formatTime(new Date(run.start_time))}${took}${by}   ${formatCount(run.files_skipped)} unchanged`,
    'dim',
  );
}

function drawPlan(box: Canvas, plan: PlanHead, total: number, { now }: RunView): void {
  const { copy, update, convert, move, delete: deleted, conflict, bytes } = plan.totals;
  const parts: [number, string][] = [
    [convert, 'to store anew'],
    [move, 'to rename'],
  ];
  const some = parts.flatMap(([count, what]) => (count > 0 ? [`${formatCount(count)} ${what}`] : []));
  box.spans(0, 0, [
    [`${formatCount(copy)} to copy, ${formatCount(update)} to update (${formatBytes(bytes)}), `],
    [some.length > 0 ? `${some.join(', ')}, ` : ''],
    [`${formatCount(deleted)} to delete`, deleted > 0 ? 'bad' : 'plain'],
    [conflict > 0 ? `, ${plural(conflict, 'conflict')}` : '', 'warn'],
  ]);
  const left = plan.left > 0 ? `${formatCount(plan.left)} of ${formatCount(total)} left out` : 'everything is ticked';
  const careful = plan.careful === null ? '' : ` · careful: ${plan.careful}`;
  const problems = plan.problems.length > 0 ? ` · ${plural(plan.problems.length, 'problem')}` : '';
  box.put(0, 1, `${left} · made ${formatAge(new Date(plan.created_at), now)}${problems}${careful}`, 'dim');
  plan.guards.slice(0, 2).forEach(({ name, message }, index) => {
    box.put(0, 2 + index, fit(`! It would be refused (${name}): ${message}`, box.width), 'bad');
  });
}

function drawFiles(canvas: Canvas, y: number, view: RunView): RunState {
  const { state } = view;
  const { shown, table, action, errors } = state;
  const window = shown?.window ?? { from: 0, count: 0 };
  const filters = [action === '' ? '' : `action:${action}`, errors ? 'errors only' : ''].filter(Boolean).join(' · ');
  const count = tableCount(table, window.count, shown?.total ?? 0);
  const failed = shown && shown.errors > 0 && !errors ? ` · ! ${formatCount(shown.errors)}` : '';
  const title = filters === '' ? 'Files' : `Files · ${filters}`;
  const box = canvas.box({ title, right: `${count} rows${failed}`, focus: true });
  const fitted = drawTable(box, shown?.rows ?? [], columnsOf(state, box.width), table, {
    focus: true,
    empty: emptyText(view),
    window,
  });
  return { ...state, table: fitted, area: { x: 2, y: y + 1, width: box.width, height: box.height } };
}

function emptyText(view: RunView): string {
  const { shown, action, errors, review } = view.state;
  if (reviewOf(view.state)) {
    if (review?.trouble) return 'There is no plan. P tries again, Tab goes back to the runs.';
    if (!shown?.plan)
      return 'The plan appears here when both drives are compared. Nothing is written until you run it.';
  }
  if (!shown) return 'Reading …';
  if (errors) return 'Nothing failed. e shows all.';
  if (action !== '') return `Nothing to ${action}. a shows others.`;
  if (shown.plan) return 'Nothing to do: Master and Backup agree. D throws the plan away.';
  if (!shown.run) return 'Sync a group: s starts it, P shows what it would do before it does it.';
  if (shown.run.status === 'running')
    return 'Files appear here when the drives are compared and the first of them are done.';
  return 'It touched no file, or the list of its files was pruned (history: in app.yaml).';
}
