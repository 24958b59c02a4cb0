/**
 * The dashboard as data: which screen, what lies over it, which toasts. `onInput` turns an event into the next state and
 * into effects for the application (app.ts); `drawApp` turns a state into cells. Both are pure.
 *
 * The frame: tabs in the first line, the screen, toasts over its last line, key hints in the last one.
 */
import { displayWidth } from '../shared/format.ts';
import type { Outcome as Ended } from './actions.ts';
import { Canvas } from './canvas.ts';
import { ask, confirmLoss, tell } from './dialogs.ts';
import { help } from './help.ts';
import type { InputEvent } from './input.ts';
import { bindingFor, EVERYWHERE, footerHints, keyName, whyNot } from './keymap.ts';
import { palette } from './palette.ts';
import type { Running, Want } from './reads.ts';
import { clean, fit } from './sanitize.ts';
import type { AnyScreen, Binding, Command, Effect, Overlay, Step, UndoStep, View } from './screen.ts';
import { want } from './wants.ts';

export const SMALLEST = { width: 80, height: 24 };

export interface Toast {
  style: 'good' | 'warn' | 'bad';
  text: string;
  /** Milliseconds since 1970; null: until Esc. */
  until: number | null;
}

export interface AppState {
  screen: string;
  /** Screens that Esc goes back to, the nearest last. */
  back: readonly string[];
  /** Of each screen, by its name. */
  states: Readonly<Record<string, unknown>>;
  overlays: readonly Overlay[];
  toasts: readonly Toast[];
  /** The newest last. */
  undo: readonly UndoStep[];
  /** What the dashboard begins with was opened, or there is nothing. */
  opened: boolean;
}

/** Everything outside of the state that a reducer or a drawing looks at. */
export interface World extends Omit<View, 'state'> {
  readonly screens: readonly AnyScreen[];
  readonly width: number;
  readonly height: number;
  /** Why what is shown may be old. */
  readonly trouble: string | undefined;
}

/** What is left for the application to do. */
export type Deed =
  | Extract<Effect, { kind: 'control' | 'ask' | 'action' | 'copy' | 'quit' }>
  /** `held`: its form, as it is while the command runs. */
  | (Command & { held?: Held });

/** A form whose command runs. */
export interface Held extends Overlay {
  readonly form: Overlay;
}

export interface Outcome {
  state: AppState;
  deeds: readonly Deed[];
}

export function startState(screens: readonly AnyScreen[]): AppState {
  return {
    screen: screens[0]?.name ?? '',
    back: [],
    states: Object.fromEntries(screens.map(({ name, start }) => [name, start])),
    overlays: [],
    toasts: [],
    undo: [],
    opened: false,
  };
}

/** What is to be read for what is shown. Running operations are always: the tabs, `q` and the pace depend on them. */
export function wantsOf(state: AppState, { screens }: Pick<World, 'screens'>): Want[] {
  const own = screenOf(state, screens).wants(state.states[state.screen]);
  return [want('running'), want('status'), want('look'), ...own, ...state.overlays.flatMap(({ wants = [] }) => wants)];
}

export function onInput(state: AppState, event: InputEvent, world: World): Outcome {
  if (isSmall(world)) return onSmall(state, event, world);
  const over = state.overlays.at(-1);
  const always = event.kind === 'key' ? ALWAYS[event.name] : undefined;
  if (always !== undefined) return act(state, always, world);
  const stuck = state.toasts.some(({ until }) => until === null);
  // An error covers the last line of what lies below it: Esc takes it away first.
  if (over && stuck && event.kind === 'key' && event.name === 'esc')
    return { state: goBack(state, world.screens), deeds: [] };
  if (over) {
    const taken = event.kind === 'key' && event.name === 'C-c' ? { ...event, name: 'esc' } : event;
    const { overlay, effects = [] } = over.input(taken, viewOf(state, world));
    const overlays = [...state.overlays.slice(0, -1), ...(overlay ? [overlay] : [])];
    return carryOut({ ...state, overlays }, effects, world);
  }
  if (event.kind === 'mouse' && event.y === 0 && event.action === 'click') return onTab(state, event.x, world);
  const dismisses = event.kind === 'key' && event.name === 'esc' && state.toasts.some(({ until }) => until === null);
  if (dismisses) return { state: goBack(state, world.screens), deeds: [] };
  const screen = screenOf(state, world.screens);
  const below = event.kind === 'mouse' ? { ...event, y: event.y - 1 } : event;
  const taken = screen.input?.(below, viewOf(state, world));
  if (taken) return takeStep(state, taken, world);
  return event.kind === 'key' ? onKey(state, event.name, screen, world) : { state, deeds: [] };
}

/** Whatever lies over the screen. */
const ALWAYS: Readonly<Record<string, string>> = { 'C-l': 'redraw', 'C-z': 'suspend' };

/** What effects do to the state; what they ask of the world is handed on. */
export function carryOut(state: AppState, effects: readonly Effect[], world: World): Outcome {
  let next = state;
  const deeds: Deed[] = [];
  for (const effect of effects) {
    if (effect.kind === 'go') next = picked(goTo(next, effect.screen, world.screens), effect.pick, world.screens);
    else if (effect.kind === 'overlay') next = { ...next, overlays: [...next.overlays, effect.overlay] };
    else if (effect.kind === 'set') {
      const states = { ...next.states, [effect.screen]: effect.change(next.states[effect.screen] as never) };
      next = { ...next, states };
    } else if (effect.kind === 'toast') next = addToast(next, effect, world.now);
    else if (effect.kind === 'action') {
      const everywhere = EVERYWHERE.some(({ action }) => action === effect.action);
      const after = everywhere
        ? act(next, effect.action, world)
        : takeStep(next, screenOf(next, world.screens).act(effect.action, viewOf(next, world)), world);
      next = after.state;
      deeds.push(...after.deeds);
    } else if (effect.kind === 'command' && effect.form) {
      const held = holding(effect.form, effect.label);
      next = { ...next, overlays: [...next.overlays, held] };
      deeds.push({ ...effect, held });
    } else deeds.push(effect);
  }
  return { state: next, deeds };
}

/** What the end of a command does. `soon`: so soon that what it printed may be shown. */
export function onEnd(
  state: AppState,
  deed: Extract<Deed, { kind: 'command' }>,
  outcome: Ended,
  soon: boolean,
  world: World,
): Outcome {
  const { held, undo, show, ended, after, label, stdin } = deed;
  const bad = outcome.style === 'bad';
  const reason = [outcome.text, outcome.hint ?? ''].join(' ').trim();
  const overlays = state.overlays.flatMap((one) => {
    if (one !== held) return [one];
    return bad ? [held.form.failed?.(reason) ?? held.form] : [];
  });
  const step = bad ? undefined : typeof undo === 'function' ? undo(outcome) : undo;
  const next = { ...state, overlays, undo: step ? [...state.undo, step].slice(-20) : state.undo };
  if (ended) return carryOut(next, ended(outcome), world);
  if (bad) return { state: addToast(next, outcome, world.now), deeds: [] };
  if (after) return carryOut(next, after(outcome), world);
  const tells = show === true && soon && outcome.lines.length > 0 && stdin === undefined;
  if (!tells) return { state: addToast(next, outcome, world.now), deeds: [] };
  return carryOut(next, [{ kind: 'overlay', overlay: tell(label, outcome.lines) }], world);
}

/** Once, as soon as it is known: what a screen wants to begin with, unless the user was faster. */
export function openFirst(state: AppState, world: World): AppState {
  if (state.opened || isSmall(world)) return state;
  if (state.overlays.length > 0 || state.screen !== world.screens[0]?.name) return { ...state, opened: true };
  const first = world.screens.flatMap(({ opening }) => (opening ? [opening(world)] : []));
  if (first.includes(undefined)) return state;
  const overlay = first.find((one) => one !== null);
  return { ...state, opened: true, overlays: overlay ? [overlay] : [] };
}

const TOAST_TIME = 4000;

/** Errors stay until Esc. */
export function addToast(state: AppState, { style, text }: Omit<Toast, 'until'>, now: Date): AppState {
  const until = style === 'bad' ? null : now.getTime() + TOAST_TIME;
  const others = state.toasts.filter((toast) => toast.text !== text).slice(-4);
  return { ...state, toasts: [...others, { style, text, until }] };
}

export function dropOldToasts(state: AppState, now: Date): AppState {
  const toasts = state.toasts.filter(({ until }) => until === null || until > now.getTime());
  return toasts.length === state.toasts.length ? state : { ...state, toasts };
}

/** All cells of the terminal. The state comes back as it fits this size. */
export function drawApp(state: AppState, world: World): { canvas: Canvas; state: AppState } {
  const canvas = new Canvas(world.width, world.height, world.theme);
  if (isSmall(world)) {
    drawSmall(canvas);
    return { canvas, state };
  }
  const screen = screenOf(state, world.screens);
  drawTabs(canvas, state, world);
  const body = canvas.area(0, 1, world.width, world.height - 2);
  const fitted = screen.draw(body, viewOf(state, world));
  for (const overlay of state.overlays) overlay.draw(body, viewOf(state, world));
  drawToast(body, state, world);
  drawFooter(canvas, state, screen, world);
  return { canvas, state: { ...state, states: { ...state.states, [screen.name]: fitted } } };
}

// --- internal ---

function screenOf(state: AppState, screens: readonly AnyScreen[]): AnyScreen {
  return (screens.find(({ name }) => name === state.screen) ?? screens[0]) as AnyScreen;
}

function viewOf(state: AppState, world: World): View<never> {
  const { now, theme, frame, readOnly, read } = world;
  return { state: state.states[state.screen] as never, now, theme, frame, readOnly, read };
}

function isSmall({ width, height }: Pick<World, 'width' | 'height'>): boolean {
  return width < SMALLEST.width || height < SMALLEST.height;
}

function onSmall(state: AppState, event: InputEvent, world: World): Outcome {
  const leave = event.kind === 'key' && (event.name === 'q' || event.name === 'C-c');
  // There is no room for a question; what runs goes on, as it says on the screen.
  if (leave) return { state, deeds: [{ kind: 'quit' }] };
  if (event.kind === 'key' && event.name === 'C-z') return act(state, 'suspend', world);
  return { state, deeds: [] };
}

function takeStep(state: AppState, { state: own, effects = [] }: Step<unknown>, world: World): Outcome {
  const next = own === undefined ? state : { ...state, states: { ...state.states, [state.screen]: own } };
  return carryOut(next, effects, world);
}

function onKey(state: AppState, key: string, screen: AnyScreen, world: World): Outcome {
  const tab = world.screens.find(({ hotkey }) => hotkey === key);
  if (tab) return { state: goTo(state, tab.name, world.screens), deeds: [] };
  const own: readonly Binding[] = screen.keys;
  const binding = bindingFor(key, own);
  if (!binding) return { state, deeds: [] };
  const why = whyNot(binding, viewOf(state, world));
  if (why !== undefined) {
    const text = `${keyName(binding)} ${binding.label}: ${why}`;
    return { state: addToast(state, { style: 'warn', text }, world.now), deeds: [] };
  }
  if (own.includes(binding)) return takeStep(state, screen.act(binding.action, viewOf(state, world)), world);
  return act(state, binding.action, world);
}

/** The actions of everywhere. Those that need the terminal are the application's. */
function act(state: AppState, action: string, world: World): Outcome {
  switch (action) {
    case 'back':
      return { state: goBack(state, world.screens), deeds: [] };
    case 'palette':
      return { state: { ...state, overlays: [...state.overlays, palette()] }, deeds: [] };
    case 'help': {
      const overlay = help(screenOf(state, world.screens), world.screens);
      return { state: { ...state, overlays: [...state.overlays, overlay] }, deeds: [] };
    }
    case 'undo':
      return undo(state, world);
    case 'quit':
      return quit(state, world);
    default:
      return { state, deeds: [{ kind: 'action', action }] };
  }
}

function goTo(state: AppState, name: string, screens: readonly AnyScreen[]): AppState {
  if (name === state.screen || !screens.some((screen) => screen.name === name)) return state;
  return { ...state, screen: name, back: [...state.back.filter((one) => one !== name), state.screen].slice(-8) };
}

/** Esc: an error that stays goes first, then the screen before, then the first one. */
function goBack(state: AppState, screens: readonly AnyScreen[]): AppState {
  const stuck = state.toasts.findIndex(({ until }) => until === null);
  if (stuck >= 0) return { ...state, toasts: state.toasts.filter((_, index) => index !== stuck) };
  const before = state.back.at(-1) ?? screens[0]?.name ?? state.screen;
  return { ...state, screen: before, back: state.back.slice(0, -1) };
}

function undo(state: AppState, world: World): Outcome {
  const last = state.undo.at(-1);
  if (!last) {
    const text = 'u undo: nothing was done here yet that can be taken back';
    return { state: addToast(state, { style: 'warn', text }, world.now), deeds: [] };
  }
  const deed: Deed = { kind: 'command', words: last.words, label: `undo: ${last.label}` };
  return { state: { ...state, undo: state.undo.slice(0, -1) }, deeds: [deed] };
}

function picked(state: AppState, id: string | undefined, screens: readonly AnyScreen[]): AppState {
  const { name, pick } = screenOf(state, screens);
  if (id === undefined || !pick) return state;
  return { ...state, states: { ...state.states, [name]: pick(state.states[name] as never, id) } };
}

function holding(form: Overlay, label: string): Held {
  const held: Held = {
    form,
    hints: `${label} …   Esc leave it, it goes on`,
    draw: (canvas, view) => form.draw(canvas, view),
    input: (event) => ({ overlay: event.kind === 'key' && event.name === 'esc' ? null : held }),
  };
  return held;
}

function quit(state: AppState, world: World): Outcome {
  const running = world.read('running').value ?? [];
  const unsaved = world.screens.flatMap((screen) => screen.unsaved?.(state.states[screen.name] as never) ?? []);
  if (unsaved.length > 0 && running.length === 0)
    return carryOut(
      state,
      [{ kind: 'overlay', overlay: confirmLoss('Quit?', unsaved, 'Yes, throw it away', [{ kind: 'quit' }]) }],
      world,
    );
  if (running.length === 0) return { state, deeds: [{ kind: 'quit' }] };
  return { state: { ...state, overlays: [...state.overlays, quitQuestion(running, unsaved)] }, deeds: [] };
}

function quitQuestion(running: readonly Running[], unsaved: readonly string[]): Overlay {
  const names = running.map(({ operation_type, target_name }) => `${operation_type} of ${target_name}`).join(', ');
  const stop = running.map((operation): Effect => ({ kind: 'control', operation, control: 'cancel' }));
  return ask({
    title: 'Something is running',
    lines: [`${names}.`, 'It runs in a process of its own, and does not need this dashboard.', ...unsaved],
    choices: [
      { key: 'd', label: 'Detach', help: 'quit; it goes on', effects: [{ kind: 'quit' }] },
      { key: 's', label: 'Stay', help: 'go on watching', effects: [] },
      {
        key: 'x',
        label: 'Stop it and quit',
        help: 'files in flight are finished',
        effects: [...stop, { kind: 'quit' }],
      },
    ],
  });
}

interface Tab {
  name: string;
  x: number;
  text: string;
  badge: string;
}

function tabsOf(state: AppState, world: World): Tab[] {
  const long = world.screens.reduce((sum, { title }) => sum + title.length + 6, 20) < world.width;
  let x = 8;
  return world.screens.map((screen) => {
    const here = screen.name === state.screen;
    const label = `${screen.hotkey} ${long ? screen.title : screen.short}`;
    const count = screen.badge?.(world) ?? 0;
    const tab = {
      name: screen.name,
      x,
      text: here ? `[${label}]` : ` ${label} `,
      badge: count > 0 ? `•${count > 99 ? '99' : count}` : '',
    };
    x += displayWidth(tab.text) + tab.badge.length;
    return tab;
  });
}

function onTab(state: AppState, x: number, world: World): Outcome {
  const tab = tabsOf(state, world).findLast((one) => x >= one.x && x < one.x + displayWidth(one.text));
  return { state: tab ? goTo(state, tab.name, world.screens) : state, deeds: [] };
}

const SPINNER = '◐◓◑◒';

function drawTabs(canvas: Canvas, state: AppState, world: World): void {
  canvas.put(1, 0, 'tandem', 'bold');
  for (const tab of tabsOf(state, world)) {
    const at = canvas.put(tab.x, 0, tab.text, tab.name === state.screen ? 'here' : 'tab');
    canvas.put(at, 0, tab.badge, 'warn');
  }
  const running = world.read('running').value?.length ?? 0;
  const time = `${String(world.now.getHours()).padStart(2, '0')}:${String(world.now.getMinutes()).padStart(2, '0')}`;
  const spin = world.theme.unicode ? (SPINNER[world.frame % SPINNER.length] ?? '◐') : '%';
  const wide = world.width >= 100;
  const sign = world.trouble ? '!' : running > 0 ? spin : '●';
  const words = [
    world.readOnly ? 'read-only' : '',
    running > 0 && wide ? `${running} running` : '',
    wide ? time : '',
  ].filter(Boolean);
  const text = [sign, ...words].join('  ');
  canvas.putRight(world.width - 1, 0, text, world.trouble ? 'alarm' : running > 0 ? 'bold' : 'dim');
}

function drawToast(body: Canvas, { toasts }: AppState, { trouble }: World): void {
  const stuck = toasts.findLast(({ until }) => until === null);
  const toast =
    stuck ?? toasts.at(-1) ?? (trouble === undefined ? undefined : { style: 'warn' as const, text: trouble, until: 0 });
  if (!toast) return;
  const sign = { good: '✓', warn: '!', bad: '✗' }[toast.style];
  const end = toast.until === null ? '  · Esc' : '';
  const text = ` ${sign} ${fit(toast.text, Math.min(displayWidth(clean(toast.text)), body.width - 8 - end.length))}${end} `;
  const tone = { good: 'toast', warn: 'warn', bad: 'alarm' } as const;
  body.put(1, body.height - 1, text, tone[toast.style]);
}

function drawFooter(canvas: Canvas, state: AppState, screen: AnyScreen, world: World): void {
  const y = canvas.height - 1;
  const over = state.overlays.at(-1);
  if (over) {
    canvas.put(1, y, over.hints, 'dim');
    return;
  }
  let x = 1;
  for (const [key, label, possible] of footerHints(screen.keys, viewOf(state, world), canvas.width - 2)) {
    x = canvas.put(x, y, key, possible ? 'key' : 'dim');
    x = canvas.put(x + 1, y, label, possible ? 'plain' : 'dim') + 2;
  }
}

function drawSmall(canvas: Canvas): void {
  const lines = [
    `tandem needs ${SMALLEST.width}x${SMALLEST.height}; this is ${canvas.width}x${canvas.height}.`,
    'What runs goes on.',
    'q quits.',
  ];
  lines.forEach((line, index) => {
    const y = Math.max(0, Math.floor((canvas.height - lines.length) / 2)) + index;
    canvas.put(
      Math.max(0, Math.floor((canvas.width - displayWidth(line)) / 2)),
      y,
      line,
      index === 0 ? 'bold' : 'plain',
    );
  });
}
