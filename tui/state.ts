/** What the dashboard is at one moment, and the world around it: plain data that the model changes and the frame draws. */
import type { AnyScreen, Overlay, UndoStep, View } from './screen.ts';

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

/** The screen that is shown. */
export function screenOf(state: AppState, screens: readonly AnyScreen[]): AnyScreen {
  return (screens.find(({ name }) => name === state.screen) ?? screens[0]) as AnyScreen;
}

/** What a screen or an overlay sees. */
export function viewOf(state: AppState, world: World): View<never> {
  const { now, theme, frame, readOnly, read } = world;
  return { state: state.states[state.screen] as never, now, theme, frame, readOnly, read };
}

/** There is no room for a screen. */
export function isSmall({ width, height }: Pick<World, 'width' | 'height'>): boolean {
  return width < SMALLEST.width || height < SMALLEST.height;
}
