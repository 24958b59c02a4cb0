/** Home as cells: four panels with room for them, at 80x24 drives and groups in one. Pure. */
import { formatAge, formatBytes, formatCount, formatDuration, formatRate, plural } from '../../shared/format.ts';
import { type Canvas, drawBar, sparkline } from '../canvas.ts';
import { drawPanel } from '../panels.ts';
import type { Running } from '../reads.ts';
import { fit } from '../sanitize.ts';
import { drawTable, selectedRow, wrap } from '../table.ts';
import {
  chosenRun,
  driveRowsOf,
  feedColumns,
  groupRowsOf,
  type HomeState,
  type HomeView,
  lacksDaemon,
  type Panel,
} from './home-data.ts';
import { type DriveRow, driveColumns, type GroupRow, groupColumns, percentOf } from './home-rows.ts';
import { isHeld } from './steering.ts';

export function drawWide(canvas: Canvas, view: HomeView): HomeState {
  const { width, height } = canvas;
  const drives = driveRowsOf(view);
  const groups = groupRowsOf(view);
  const running = view.read('running').value ?? [];
  const top = Math.max(7, Math.min(Math.floor(height / 3), Math.max(drives.length + 3, groups.length + 1) + 2));
  const middle =
    running.length > 0
      ? Math.min(12, 7 + Math.max(1, running[0]?.progress?.current.length ?? 0) + running.length - 1)
      : adviceHeight(canvas, view);
  const half = Math.floor(width / 2);
  let state = drawDrives(canvas.area(0, 0, half, top), { x: 0, y: 0 }, drives, view.state, view);
  state = drawGroups(canvas.area(half, 0, width - half, top), { x: half, y: 0 }, groups, state, view);
  state = drawRuns(canvas.area(0, top, width, middle), { x: 0, y: top }, running, state, view);
  const left = height - top - middle;
  return drawEvents(canvas.area(0, top + middle, width, left), { x: 0, y: top + middle }, state, view);
}

export function drawNarrow(canvas: Canvas, view: HomeView): HomeState {
  const { width, height } = canvas;
  const running = view.read('running').value ?? [];
  const middle = running.length > 0 ? 6 : Math.min(6, adviceHeight(canvas, view));
  const events = 6;
  const top = height - middle - events;
  let state = drawBoth(canvas.area(0, 0, width, top), view);
  state = drawRuns(canvas.area(0, top, width, middle), { x: 0, y: top }, running, state, view);
  return drawEvents(canvas.area(0, top + middle, width, events), { x: 0, y: top + middle }, state, view);
}

type Place = { x: number; y: number };

function drawDrives(canvas: Canvas, at: Place, rows: readonly DriveRow[], state: HomeState, view: HomeView): HomeState {
  const empty = waitingOr(view, NO_DRIVES);
  const next = drawPanel(
    canvas,
    at,
    { panel: 'drives', title: 'Drives', right: 'Enter details', rows, columns: driveColumns, empty, below: 1 },
    state,
  );
  const drive = selectedRow(rows, driveColumns, next.drives);
  if (drive?.share !== undefined && drive.share !== null) {
    const y = canvas.height - 2;
    const name = fit(`used ${drive.label}`, 18);
    const x = canvas.put(2, y, name, 'dim');
    const room = canvas.width - x - 9;
    drawBar(canvas, x + 1, y, room, drive.share);
    canvas.put(x + room + 2, y, `${Math.round(drive.share * 100)}%`.padStart(4));
  }
  return next;
}

function drawGroups(canvas: Canvas, at: Place, rows: readonly GroupRow[], state: HomeState, view: HomeView): HomeState {
  const empty = waitingOr(view, noGroups(view));
  return drawPanel(
    canvas,
    at,
    { panel: 'groups', title: 'Groups', right: 's sync  S sync all', rows, columns: groupColumns, empty },
    state,
  );
}

/** Drives, a line, groups: two lists in one box. */
function drawBoth(canvas: Canvas, view: HomeView): HomeState {
  const drives = driveRowsOf(view);
  const groups = groupRowsOf(view);
  const { state } = view;
  const focus = state.panel === 'drives' || state.panel === 'groups';
  const box = canvas.box({ title: 'Drives & groups', right: 's sync', focus });
  const forGroups = Math.max(2, Math.min(groups.length, box.height - Math.min(drives.length, 3) - 1));
  const upper = box.area(0, 0, box.width, box.height - forGroups - 1);
  const lower = box.area(0, upper.height + 1, box.width, forGroups);
  box.put(2, upper.height, '────', 'border');
  const look = (panel: Panel, empty: string) => ({
    focus: state.panel === panel,
    empty: waitingOr(view, empty),
    head: false,
  });
  const narrow = driveColumns.filter(({ title }) => title !== 'Health');
  const fittedDrives = drawTable(upper, drives, narrow, state.drives, look('drives', NO_DRIVES));
  const fittedGroups = drawTable(lower, groups, groupColumns, state.groups, look('groups', noGroups(view)));
  const areas = {
    ...state.areas,
    drives: { x: 2, y: 0, width: upper.width, height: upper.height + 1 },
    groups: { x: 2, y: upper.height + 1, width: lower.width, height: lower.height + 1 },
  };
  return { ...state, drives: fittedDrives, groups: fittedGroups, areas };
}

const NO_DRIVES =
  'No drive is connected. Plug in a USB disk, an SSD or a card; or press a to use a folder (a NAS mount, a disk in a dock) as a drive.';

/** What to do next depends on how many drives there are to pair. */
function noGroups(view: HomeView): string {
  const free = driveRowsOf(view).filter(({ drive, role }) => drive && role === null).length;
  if (free >= 2) return 'No group yet. Press n: the wizard makes two of the drives Master and Backup, step by step.';
  return `No group yet. Plug in ${free === 1 ? 'a second drive' : 'two drives'}, then press n: the wizard pairs them.`;
}

function waitingOr(view: HomeView, empty: string): string {
  const { value, error } = view.read('status');
  return error ?? (value ? empty : 'Looking at drives and groups …');
}

function adviceHeight(canvas: Canvas, view: HomeView): number {
  return Math.min(8, Math.max(1, adviceLines(view, canvas.width - 4).length)) + 2;
}

const NO_DAEMON = 'The daemon is not running: nothing carries out schedules and watchers. 5, then d starts it.';

function adviceLines(
  view: HomeView,
  width: number,
): { text: string; style: 'bad' | 'warn' | 'plain' | 'good' | 'dim' }[] {
  const { value, error } = view.read('status');
  if (!value) return [{ text: error ?? 'Reading …', style: error ? 'bad' : 'dim' }];
  const advice = [...(lacksDaemon(view) ? [{ style: 'warn' as const, text: NO_DAEMON }] : []), ...value.advice];
  if (advice.length === 0)
    return [{ text: '✓ Every group was synced within a day, and nothing waits for a decision.', style: 'good' }];
  const sign = { bad: '✗ ', warn: '! ', plain: '  ' };
  return advice.flatMap(({ style, text }) =>
    wrap(sign[style] + text, width).map((line, index) => ({ text: index === 0 ? line : `  ${line}`, style })),
  );
}

function drawRuns(canvas: Canvas, at: Place, running: readonly Running[], state: HomeState, view: HomeView): HomeState {
  if (running.length === 0) {
    const box = canvas.box({ title: 'Next' });
    adviceLines(view, box.width)
      .slice(0, box.height)
      .forEach(({ text, style }, y) => {
        box.put(0, y, text, style);
      });
    return { ...state, areas: { ...state.areas, runs: undefined } };
  }
  const run = chosenRun(view) ?? running[0];
  const focus = state.panel === 'runs';
  const more =
    running.length > 1
      ? ` (${formatCount(running.indexOf(run as Running) + 1)} of ${formatCount(running.length)})`
      : '';
  const held = run && isHeld(run);
  const title = `Active: ${run?.operation_type} ${run?.target_name}${more}`;
  const box = canvas.box({ title, right: `p ${held ? 'go on' : 'pause'}  x stop`, focus });
  const others = box.height > 4 ? running.filter((one) => one !== run) : [];
  if (run) drawRun(box.area(0, 0, box.width, box.height - Math.min(others.length, 3)), run, view);
  others.slice(0, 3).forEach((one, index) => {
    const y = box.height - Math.min(others.length, 3) + index;
    box.put(0, y, fit(`  ${one.operation_type} ${one.target_name}`, 34), 'dim');
    drawBar(box, 35, y, Math.max(5, box.width - 42), percentOf(one) / 100);
    box.putRight(box.width, y, `${percentOf(one)}%`);
  });
  const area = { x: at.x + 2, y: at.y, width: box.width, height: box.height + 1 };
  return { ...state, areas: { ...state.areas, runs: area } };
}

function drawRun(box: Canvas, run: Running, { now }: HomeView): void {
  const { progress } = run;
  if (!progress) {
    box.put(0, 0, `Starting … ${formatAge(new Date(run.start_time), now)}`, 'dim');
    return;
  }
  const percent = `${percentOf(run)}%`.padStart(5);
  const bytes = `${formatBytes(progress.bytes_done)} / ${formatBytes(progress.bytes_total)}`;
  const rate = formatRate(progress.rate);
  const state = isHeld(run) ? 'paused' : run.control === 'cancel' ? 'stopping' : progress.phase;
  const eta = isHeld(run) ? 'paused' : progress.eta === null ? '' : `ETA ${formatDuration(progress.eta)}`;
  const files = `${formatCount(progress.files_done)} / ${plural(progress.files_total, 'file')}`;
  const failed = progress.files_failed > 0 ? plural(progress.files_failed, 'error') : '0 errors';
  const wide = box.width >= 100;
  const tail = wide
    ? `${percent}   ${bytes}   ${eta.padEnd(16)}`
    : `${percent}  ${rate.padStart(9)}  ${eta.padEnd(15)}`;
  const bar = Math.max(10, box.width - tail.length - 1);
  drawBar(box, 0, 0, bar, percentOf(run) / 100);
  box.put(bar + 1, 0, tail);
  const spark = wide ? `${sparkline(run.rates, 30)} ${rate}     ` : `${bytes}   `;
  box.spans(0, 1, [
    [spark, wide ? 'bar' : 'plain'],
    [`${files}     `],
    [failed, progress.files_failed > 0 ? 'bad' : 'plain'],
    [`     ${state}`, isHeld(run) ? 'warn' : 'dim'],
  ]);
  const from = wide ? 3 : 2;
  progress.current.slice(0, box.height - from).forEach((path, index) => {
    box.put(
      0,
      from + index,
      fit(`${index === 0 ? '▸' : ' '} ${progress.phase.padEnd(8)} ${path}`, box.width, { cut: 'middle' }),
    );
  });
}

function drawEvents(canvas: Canvas, at: Place, state: HomeState, view: HomeView): HomeState {
  const { value = [], error } = view.read('feed');
  const running = (view.read('running').value?.length ?? 0) > 0;
  const empty = error ?? 'Nothing happened yet. Sync a group, and it appears here.';
  return drawPanel(
    canvas,
    at,
    {
      panel: 'events',
      title: 'Events',
      // While something runs there is no advice to say it in.
      right: lacksDaemon(view) && running ? '! the daemon is not running: 5, then d' : '/ filter',
      rows: value,
      columns: feedColumns(view.now),
      empty,
      head: false,
    },
    state,
  );
}
