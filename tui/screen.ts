/**
 * What a screen is, and what it may ask for. A screen is one file `screens/NAME.ts` that exports a `Screen`, and one line
 * in `screens/index.ts`. It holds no feature logic: it draws data that the reader process (reads.ts) brings, and what it
 * wants done leaves as effects, which name the words of commands. All of its functions are pure, its state is plain data.
 */
import type { Control, Operation } from '../features/history.ts';
import type { Outcome } from './actions.ts';
import type { Canvas } from './canvas.ts';
import type { InputEvent } from './input.ts';
import type { Answer, ReadName, ReadResult, Want } from './reads.ts';
import type { Theme } from './theme.ts';

/** What a screen, or anything over it, sees of the world. */
export interface View<S = unknown> {
  readonly state: S;
  readonly now: Date;
  readonly theme: Theme;
  /** Turns of a spinner; stands still in tests. */
  readonly frame: number;
  readonly readOnly: boolean;
  /** What the reader last said to this question; `wants` has to ask it. */
  read<N extends ReadName>(name: N, ...args: string[]): Answer<ReadResult<N>>;
}

export interface Screen<S = unknown> {
  /** Scope of its keys, and what `go` takes. */
  readonly name: string;
  /** Of the tab; `short` where there is little room. */
  readonly title: string;
  readonly short: string;
  readonly hotkey: string;
  readonly start: S;
  /** What it shows, read while it is shown. */
  wants(state: S): readonly Want[];
  /** Fills the canvas (everything but the header and the two lines at the foot); returns the state as it fits this size. */
  draw(canvas: Canvas, view: View<S>): S;
  readonly keys: readonly Binding<S>[];
  /** Carries out the `action` of one of its keys. */
  act(action: string, view: View<S>): Step<S>;
  /** Keys, mouse and pastes before the key table sees them (tables, filters); undefined: not for it. Mouse cells count from the canvas. */
  input?(event: InputEvent, view: View<S>): Step<S> | undefined;
  /** A number beside the tab: what waits there. */
  badge?(view: Pick<View, 'read'>): number;
  /** What would be lost by leaving the dashboard, in one sentence; undefined: nothing. */
  unsaved?(state: S): string | undefined;
  /** The state in which the thing of this id is selected, for `go`. */
  pick?(state: S, id: string): S;
  /** What to begin with when the dashboard is opened; null: nothing, undefined: what it depends on is not known yet. */
  opening?(view: Pick<View, 'read' | 'readOnly'>): Overlay | null | undefined;
}

export interface Step<S> {
  state?: S;
  effects?: readonly Effect[];
}

/** One key of the table in keymap.ts. */
export interface Binding<S = unknown> {
  /** As input.ts names them. */
  keys: readonly string[];
  /** As people read it; left out, the first of `keys`. */
  show?: string;
  /** In the footer, where that is shorter. */
  brief?: string;
  action: string;
  /** One or two words for the footer. */
  label: string;
  /** A sentence for the help. */
  help: string;
  group: 'move' | 'do' | 'everywhere';
  /** In the footer, lowest first; left out: only in the help. */
  hint?: number;
  /** Changes something: not with --read-only. */
  writes?: boolean;
  /** Why it is not possible now; undefined: it is. */
  disabled?(view: View<S>): string | undefined;
}

/** What the application carries out for a screen. */
export type Effect =
  /** Words as on the command line, in a process of its own. */
  | Command
  /** A wish of `ASKS`; `after` follows when it was granted. */
  | { kind: 'ask'; name: string; args: readonly string[]; done?: string; after?: readonly Effect[] }
  /** Changes the state of a screen, shown or not. */
  | { kind: 'set'; screen: string; change: (state: never) => unknown }
  | { kind: 'control'; operation: Pick<Operation, 'uuid' | 'target_name'>; control: Control }
  | { kind: 'go'; screen: string; pick?: string }
  | { kind: 'overlay'; overlay: Overlay }
  | { kind: 'toast'; style: 'good' | 'warn' | 'bad'; text: string }
  /** One of everywhere, or else of the screen that is shown. */
  | { kind: 'action'; action: string }
  /** To the clipboard of the terminal. */
  | { kind: 'copy'; text: string }
  | { kind: 'quit' };

export interface Command {
  kind: 'command';
  words: readonly string[];
  label: string;
  /** What it printed is shown when it ends soon. */
  show?: boolean;
  /** What takes it back; a function where only its end tells. */
  undo?: UndoStep | ((outcome: Outcome) => UndoStep | undefined);
  /** Secrets: they are no words. What the command prints is then handed to `after` alone. */
  stdin?: string;
  /** The same for commands that take it from their environment; they print no secret. */
  password?: string;
  /** What it was filled in: stays open, takes no key meanwhile, closes when it is done and opens again when it failed. */
  form?: Overlay;
  /** Instead of a toast, however it ended. */
  ended?(outcome: Outcome): readonly Effect[];
  /** Instead of a toast, when it did not fail. */
  after?(outcome: Outcome): readonly Effect[];
}

export interface UndoStep {
  label: string;
  words: readonly string[];
}

/** Something over the screen that takes the keys: a question, a form, the help, the palette. Immutable. */
export interface Overlay {
  /** Instead of the footer. */
  readonly hints: string;
  readonly wants?: readonly Want[];
  draw(canvas: Canvas, view: View): void;
  /** The overlay as it is after the event, or `null` when it closes. */
  input(event: InputEvent, view: View): { overlay: Overlay | null; effects?: readonly Effect[] };
  /** The same after the command that it started failed, with the reason. */
  failed?(reason: string): Overlay;
}

/** Screens of any state in one list. */
export type AnyScreen = Screen<never> & Screen<unknown>;

/** Lets a screen with a state of its own stand in the list of all. */
export function defineScreen<S>(screen: Screen<S>): AnyScreen {
  return screen as unknown as AnyScreen;
}
