/**
 * The log, live. It follows the newest line until one looks at another; then it stands still, and says how many came
 * meanwhile. Only what is seen is drawn, and only what is new is fetched, so a log that grows fast costs little.
 */
import { displayWidth, formatCount } from '../../shared/format.ts';
import { LOG_LEVELS } from '../../shared/settings.ts';
import { type Canvas, drawScrollbar } from '../canvas.ts';
import { tell } from '../dialogs.ts';
import { editLine, lineOf } from '../editor.ts';
import type { InputEvent } from '../input.ts';
import { clean } from '../sanitize.ts';
import { type Binding, defineScreen, type Step, type View } from '../screen.ts';
import { wrap } from '../table.ts';
import { want } from '../wants.ts';
import {
  brokenParts,
  emptyLog,
  findFrom,
  type LogState,
  lineAt,
  lineParts,
  lineText,
  nextOf,
  type Part,
  select,
  selectedAt,
  withChunk,
} from './log-lines.ts';

type LogView = View<LogState>;

export const log = defineScreen<LogState>({
  name: 'log',
  title: 'Log',
  short: 'Log',
  hotkey: '7',
  start: emptyLog,
  wants: (state) => [want('log', state.level, String(nextOf(state)))],
  draw,
  keys: keys(),
  act,
  input,
});

// --- internal: keys ---

function keys(): Binding<LogState>[] {
  const some = ({ state }: LogView): string | undefined => (state.lines.length > 0 ? undefined : 'there is no line');
  const searched = ({ state }: LogView): string | undefined =>
    state.search === '' ? 'nothing is searched for; / begins' : undefined;
  return [
    {
      keys: ['f'],
      action: 'follow',
      label: 'follow',
      help: 'go with the newest line, or stand still',
      group: 'do',
      hint: 1,
    },
    {
      keys: ['v'],
      action: 'level',
      label: 'level',
      help: 'debug, info, warn, error: this and what is worse',
      group: 'do',
      hint: 2,
    },
    { keys: ['/'], action: 'search', label: 'search', help: 'for what is typed; Esc ends it', group: 'do', hint: 3 },
    {
      keys: ['n'],
      show: 'n N',
      brief: 'n/N',
      action: 'older',
      label: 'next',
      help: 'n: the next older line that contains it; N: the next newer one',
      group: 'do',
      hint: 4,
      disabled: searched,
    },
    {
      keys: ['N'],
      action: 'newer',
      label: 'next newer',
      help: 'the next newer line that contains it',
      group: 'do',
      disabled: searched,
    },
    { keys: ['w'], action: 'wrap', label: 'wrap', help: 'long lines whole, or one row each', group: 'do', hint: 5 },
    {
      keys: ['y'],
      action: 'copy',
      label: 'copy',
      help: 'the whole line, as it is in the file, to the clipboard of this terminal',
      group: 'do',
      hint: 6,
      disabled: some,
    },
    {
      keys: ['enter'],
      action: 'open',
      label: 'operation',
      help: 'the operation that the line is of, in the history; else all of the line',
      group: 'do',
      hint: 7,
      disabled: some,
    },
  ];
}

function act(action: string, view: LogView): Step<LogState> {
  const { state, now } = view;
  switch (action) {
    case 'follow':
      return { state: { ...state, at: state.at === null ? selectedAt(state) : null } };
    case 'level': {
      const level = LOG_LEVELS[(LOG_LEVELS.indexOf(state.level) + 1) % LOG_LEVELS.length] ?? 'info';
      return { state: { ...state, level, epoch: '', first: 0, lines: [], at: null, top: 0 } };
    }
    case 'search':
      return { state: { ...state, typing: true, search: '' } };
    case 'older':
    case 'newer':
      return jump(state, selectedAt(state), action === 'older' ? -1 : 1, now);
    case 'wrap':
      return { state: { ...state, wrap: !state.wrap } };
    case 'copy': {
      const line = lineAt(state, selectedAt(state));
      return line ? { effects: [{ kind: 'copy', text: clean(JSON.stringify(line)) }] } : {};
    }
    case 'open':
      return open(view);
    default:
      return {};
  }
}

/** Stands still at a line that contains it, also when that is the newest. */
function jump(state: LogState, from: number, step: 1 | -1, now: Date): Step<LogState> {
  const found = findFrom(state, from, step, now);
  if (found !== undefined) return { state: { ...state, at: found } };
  const text = `Nothing ${step < 0 ? 'older' : 'newer'} contains “${state.search}”`;
  return { effects: [{ kind: 'toast', style: 'warn', text }] };
}

function open({ state, now }: LogView): Step<LogState> {
  const line = lineAt(state, selectedAt(state));
  if (!line) return {};
  const operation = line['operation_id'];
  if (typeof operation === 'string' && operation !== '') {
    return { effects: [{ kind: 'go', screen: 'history', pick: operation }] };
  }
  const fields = Object.entries(line).flatMap(([name, value]) =>
    (typeof value === 'string' ? value : JSON.stringify(value))
      .split('\n')
      .map((text, index) => `${(index === 0 ? name : '').padEnd(12)}${text}`),
  );
  return { effects: [{ kind: 'overlay', overlay: tell(lineText(line, now).slice(0, 40), fields) }] };
}

function input(event: InputEvent, { state, now }: LogView): Step<LogState> | undefined {
  if (event.kind === 'mouse') return onMouse(event, state);
  if (state.typing) return type(event, state, now);
  if (event.kind === 'paste') return undefined;
  const at = selectedAt(state);
  const half = Math.ceil(state.page / 2);
  const steps: Readonly<Record<string, number>> = {
    j: 1,
    down: 1,
    k: -1,
    up: -1,
    pgdn: state.page,
    pgup: -state.page,
    'C-d': half,
    'C-u': -half,
    g: Number.NEGATIVE_INFINITY,
    home: Number.NEGATIVE_INFINITY,
    G: Number.POSITIVE_INFINITY,
    end: Number.POSITIVE_INFINITY,
  };
  const step = steps[event.name];
  if (step !== undefined) return { state: select(state, at + step) };
  if (event.name === 'esc' && state.search !== '') return { state: { ...state, search: '' } };
  return undefined;
}

function onMouse(event: Extract<InputEvent, { kind: 'mouse' }>, state: LogState): Step<LogState> | undefined {
  const { x, y, width, height } = state.area;
  if (event.x < x || event.x >= x + width || event.y < y || event.y >= y + height) return undefined;
  if (event.action !== 'click')
    return { state: select(state, selectedAt(state) + (event.action === 'wheelup' ? -3 : 3)) };
  const number = state.rows[event.y - y];
  return number === undefined ? {} : { state: { ...state, at: number } };
}

/** Every letter searches anew, from the newest line backwards. */
function type(event: InputEvent, state: LogState, now: Date): Step<LogState> {
  const key = event.kind === 'key' ? event.name : '';
  if (key === 'esc') return { state: { ...state, typing: false, search: '' } };
  if (key === 'enter') return { state: { ...state, typing: false } };
  const search = editLine(lineOf(state.search), event)?.text ?? state.search;
  const next = { ...state, search };
  const found = search === '' ? undefined : findFrom(next, nextOf(state), -1, now);
  return { state: { ...next, at: found ?? state.at } };
}

// --- internal: drawing ---

function draw(canvas: Canvas, view: LogView): LogState {
  const { level, epoch } = view.state;
  const { value, error } = view.read('log', level, String(nextOf(view.state)));
  let state = withChunk(view.state, value);
  const box = canvas.box({ title: titleOf(state), right: rightOf(state), focus: true });
  const width = box.width - 1;
  state = { ...state, page: Math.max(1, box.height), area: { x: 2, y: 1, width: box.width, height: box.height } };
  if (state.lines.length === 0) {
    const nothing = epoch === '' && !value ? 'Reading …' : `Nothing was noted yet at the level ${level} or above.`;
    const hint = 'Runs, watchers, schedules and the daemon note here what they do.';
    [...wrap(error ?? nothing, box.width), ...(error ? [] : wrap(hint, box.width))].forEach((line, y) => {
      box.put(0, y, line, error ? 'bad' : 'dim');
    });
    return { ...state, rows: [] };
  }
  const rowsOf = (number: number): Part[][] => {
    const line = lineAt(state, number);
    const parts = line ? lineParts(line, view.now) : [];
    return state.wrap ? brokenParts(parts, width) : [parts];
  };
  const top = topOf(state, rowsOf);
  const rows: number[] = [];
  for (let number = top; number < nextOf(state) && rows.length < box.height; number += 1) {
    for (const parts of rowsOf(number)) {
      if (rows.length >= box.height) break;
      const area = box.area(0, rows.length, width, 1);
      drawRow(area, parts, number === selectedAt(state) && state.at !== null, state.search);
      rows.push(number);
    }
  }
  drawScrollbar(box, top - state.first, state.lines.length);
  return { ...state, top, rows };
}

/** The first line that is seen, so that the selected one is seen whole. */
function topOf(state: LogState, rowsOf: (number: number) => Part[][]): number {
  const at = selectedAt(state);
  let lowest = at;
  for (let used = rowsOf(at).length; lowest > state.first; lowest -= 1) {
    used += rowsOf(lowest - 1).length;
    if (used > state.page) break;
  }
  return state.at === null ? lowest : Math.max(lowest, Math.min(state.top, at));
}

function titleOf({ search, typing }: LogState): string {
  return typing || search !== '' ? `Log · /${search}${typing ? '_' : ''}` : 'Log';
}

function rightOf(state: LogState): string {
  const after = nextOf(state) - 1 - selectedAt(state);
  const follow = state.at === null ? 'follow on' : `follow off, ${formatCount(Math.max(0, after))} below`;
  return `level: ${state.level}${state.level === 'error' ? '' : '+'}  ${follow}`;
}

function drawRow(area: Canvas, parts: readonly Part[], selected: boolean, search: string): void {
  if (selected) area.fillLine(0, 'plain', true);
  let x = 0;
  for (const { text, style } of parts) x = area.put(x, 0, text, style, selected);
  if (search === '') return;
  // Over what stands there: marked by the ground, or on the selected line by the letters.
  const whole = parts.map(({ text }) => text).join('');
  const wanted = search.toLowerCase();
  for (let at = whole.toLowerCase().indexOf(wanted); at >= 0; ) {
    const start = displayWidth(whole.slice(0, at));
    if (start >= area.width) break;
    area.put(start, 0, whole.slice(at, at + search.length), selected ? 'key' : 'bold', !selected);
    at = whole.toLowerCase().indexOf(wanted, at + search.length);
  }
}
