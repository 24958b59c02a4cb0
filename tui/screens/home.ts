/**
 * Home: drives, groups, what runs, what happened. With room each has a panel of its own; at 80x24 drives and groups share
 * one. Tab goes from panel to panel; keys mean the selected row of the panel that has them.
 */
import type { Column } from '../../shared/feature.ts';
import {
  formatAge,
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
  formatTime,
  plural,
} from '../../shared/format.ts';
import { type Canvas, drawBar, sparkline } from '../canvas.ts';
import { confirmLoss, tell } from '../dialogs.ts';
import type { FeedLine } from '../feed.ts';
import type { InputEvent } from '../input.ts';
import type { Overview, Running } from '../reads.ts';
import { fit } from '../sanitize.ts';
import { type Binding, defineScreen, type Step, type View } from '../screen.ts';
import {
  drawTable,
  emptyTable,
  selectedRow,
  type TableState,
  tableCount,
  tableKey,
  tableMouse,
  tablePaste,
  tableRows,
  wrap,
} from '../table.ts';
import { want } from '../wants.ts';
import {
  type DriveRow,
  driveColumns,
  driveFacts,
  driveRows,
  type GroupRow,
  groupColumns,
  groupFacts,
  groupRows,
  percentOf,
} from './home-rows.ts';

type Panel = 'drives' | 'groups' | 'runs' | 'events';
type Area = { x: number; y: number; width: number; height: number };

export interface HomeState {
  panel: Panel;
  drives: TableState;
  groups: TableState;
  runs: TableState;
  events: TableState;
  /** Where each panel's rows were drawn last, their head line included; for the mouse. */
  areas: Partial<Record<Panel, Area | undefined>>;
}

type HomeView = View<HomeState>;

const ORDER: readonly Panel[] = ['drives', 'groups', 'runs', 'events'];

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

// --- internal: keys ---

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

// --- internal: data ---

const NOTHING: Overview = {
  drives: [],
  groups: [],
  operations: [],
  watchers: [],
  daemon: {
    running: false,
    answers: false,
    process_id: null,
    version: null,
    started: null,
    heartbeat: null,
    metrics: null,
    message: '',
    watchers: { enabled: 0, running: 0 },
    schedules: { enabled: 0, running: 0 },
  },
  now: '',
  advice: [],
};

function driveRowsOf(view: HomeView): readonly DriveRow[] {
  return driveRows(view.read('status').value ?? NOTHING, view.read('running').value ?? NO_RUNS);
}

function groupRowsOf(view: HomeView): readonly GroupRow[] {
  return groupRows(view.read('status').value ?? NOTHING, view.read('running').value ?? NO_RUNS);
}

const NO_RUNS: readonly Running[] = [];

function chosenGroup(view: HomeView): GroupRow | undefined {
  return selectedRow(groupRowsOf(view), groupColumns, view.state.groups);
}

function chosenRun(view: HomeView): Running | undefined {
  return selectedRow(view.read('running').value ?? [], RUN_COLUMNS, view.state.runs);
}

function isHeld(run: Running): boolean {
  return run.control === 'pause' || run.progress?.paused === true;
}

const RUN_COLUMNS: readonly Column<Running>[] = [
  { title: 'Run', value: ({ operation_type, target_name }) => `${operation_type} ${target_name}` },
  { title: 'Progress', align: 'right', value: (run) => `${percentOf(run)}%` },
  { title: 'Rate', align: 'right', value: ({ progress }) => formatRate(progress?.rate ?? 0) },
];

/** The same columns for the same day: of today only the time is shown. */
function feedColumns(now: Date): readonly Column<FeedLine>[] {
  const today = formatTime(now).slice(0, 10);
  if (FEED.today !== today) {
    const time = (iso: string): string => {
      const text = formatTime(new Date(iso));
      return text.startsWith(today) ? text.slice(11) : text.slice(5, 16);
    };
    const plain = (style: FeedLine['style']) => (style === 'good' ? 'plain' : style);
    FEED = {
      today,
      columns: [
        { title: 'Time', value: (line) => time(line.time), style: () => 'dim' },
        { title: '', value: ({ sign }) => sign, style: ({ style }) => style },
        { title: 'Of', value: ({ subject }) => subject },
        { title: 'What', value: ({ text }) => text, style: ({ style }) => plain(style) },
      ],
    };
  }
  return FEED.columns;
}

let FEED: { today: string; columns: readonly Column<FeedLine>[] } = { today: '', columns: [] };

// --- internal: drawing ---

function drawWide(canvas: Canvas, view: HomeView): HomeState {
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

function drawNarrow(canvas: Canvas, view: HomeView): HomeState {
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

/** Draws a table into a box, and notes where. */
function drawPanel<T extends object>(
  canvas: Canvas,
  at: Place,
  what: {
    panel: Panel;
    title: string;
    right: string;
    rows: readonly T[];
    columns: readonly Column<T>[];
    empty: string;
    head?: boolean;
    below?: number;
  },
  state: HomeState,
): HomeState {
  const { panel, rows, columns } = what;
  const focus = state.panel === panel;
  const table = state[panel];
  const shown = tableRows(rows, columns, table).length;
  const count = table.filter !== '' || table.typing ? tableCount(table, shown, rows.length) : what.right;
  const box = canvas.box({ title: what.title, right: count, focus });
  const head = what.head ?? true;
  const list = box.area(0, 0, box.width, box.height - (what.below ?? 0));
  const fitted = drawTable(list, rows, columns, table, { focus, empty: what.empty, head });
  const y = at.y + 1 - (head ? 0 : 1);
  const area = { x: at.x + 2, y, width: list.width, height: list.height + (head ? 0 : 1) };
  return { ...state, [panel]: fitted, areas: { ...state.areas, [panel]: area } };
}

function drawDrives(canvas: Canvas, at: Place, rows: readonly DriveRow[], state: HomeState, view: HomeView): HomeState {
  const empty = waitingOr(
    view,
    'No drive is connected. Plug one in, or use a folder: `:` detect add PATH --label LABEL',
  );
  const what = {
    panel: 'drives' as const,
    title: 'Drives',
    right: 'Enter details',
    rows,
    columns: driveColumns,
    empty,
    below: 1,
  };
  const next = drawPanel(canvas, at, what, state);
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
  const empty = waitingOr(
    view,
    'No group yet. Connect two drives, then `:` groups create NAME --master DRIVE --backup DRIVE',
  );
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
  const fittedDrives = drawTable(
    upper,
    drives,
    narrow,
    state.drives,
    look('drives', 'No drive is connected: plug one in.'),
  );
  const fittedGroups = drawTable(
    lower,
    groups,
    groupColumns,
    state.groups,
    look('groups', 'No group yet: `:` groups create'),
  );
  const areas = {
    ...state.areas,
    drives: { x: 2, y: 0, width: upper.width, height: upper.height + 1 },
    groups: { x: 2, y: upper.height + 1, width: lower.width, height: lower.height + 1 },
  };
  return { ...state, drives: fittedDrives, groups: fittedGroups, areas };
}

function waitingOr(view: HomeView, empty: string): string {
  const { value, error } = view.read('status');
  return error ?? (value ? empty : 'Looking at drives and groups …');
}

function adviceHeight(canvas: Canvas, view: HomeView): number {
  return Math.min(8, Math.max(1, adviceLines(view, canvas.width - 4).length)) + 2;
}

function adviceLines(
  view: HomeView,
  width: number,
): { text: string; style: 'bad' | 'warn' | 'plain' | 'good' | 'dim' }[] {
  const { value, error } = view.read('status');
  if (!value) return [{ text: error ?? 'Reading …', style: error ? 'bad' : 'dim' }];
  if (value.advice.length === 0)
    return [{ text: '✓ Every group was synced within a day, and nothing waits for a decision.', style: 'good' }];
  const sign = { bad: '✗ ', warn: '! ', plain: '  ' };
  return value.advice.flatMap(({ style, text }) =>
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
  const empty = error ?? 'Nothing happened yet. Sync a group, and it appears here.';
  return drawPanel(
    canvas,
    at,
    {
      panel: 'events',
      title: 'Events',
      right: '/ filter',
      rows: value,
      columns: feedColumns(view.now),
      empty,
      head: false,
    },
    state,
  );
}
