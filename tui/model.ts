/**
 * What events do to the dashboard: `onInput` turns one into the next state (state.ts) and into deeds for the application
 * (app.ts), `carryOut` does so with what screens and commands ask for. Pure; frame.ts draws the state.
 */
import type { Outcome as Ended } from './actions.ts';
import { ask, confirmLoss, tell } from './dialogs.ts';
import { tabAt } from './frame.ts';
import { help } from './help.ts';
import type { InputEvent } from './input.ts';
import { bindingFor, EVERYWHERE, keyName, whyNot } from './keymap.ts';
import { palette } from './palette.ts';
import type { Running, Want } from './reads.ts';
import type { AnyScreen, Binding, Command, Effect, Overlay, Step } from './screen.ts';
import { type AppState, isSmall, screenOf, type Toast, viewOf, type World } from './state.ts';
import { want } from './wants.ts';

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
  if (event.kind === 'mouse' && event.y === 0 && event.action === 'click') {
    const tab = tabAt(state, event.x, world);
    return { state: tab === undefined ? state : goTo(state, tab, world.screens), deeds: [] };
  }
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

// --- internal ---

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
