/**
 * The application: carries events to the model and deeds to the world, and draws. It never works itself (see
 * docs/decisions): answers come from the reader, work is started in processes of its own.
 *
 * A key is drawn at once; everything else at most ten times a second, over SSH four times. Nothing is sent while nothing
 * changes.
 */
import { messageOf } from '../shared/errors.ts';
import { formatCount } from '../shared/format.ts';
import type { LookSetting } from '../shared/settings.ts';
import type { Commands, Outcome as Ended } from './actions.ts';
import { drawApp } from './frame.ts';
import type { InputEvent } from './input.ts';
import { addToast, carryOut, type Deed, dropOldToasts, onEnd, onInput, openFirst, wantsOf } from './model.ts';
import type { Answer, ReadName, ReadResult } from './reads.ts';
import type { AnyScreen, Effect } from './screen.ts';
import type { Source } from './source.ts';
import { type AppState, startState, type World } from './state.ts';
import type { Terminal, TerminalOptions } from './terminal.ts';
import type { Theme } from './theme.ts';
import { want } from './wants.ts';

export interface AppOptions {
  screens: readonly AnyScreen[];
  theme: Theme;
  readOnly: boolean;
  /** Milliseconds between two drawings that no key asked for. */
  pace: number;
  now(): Date;
  /** How it looks by settings that were changed meanwhile; left out, it stays as it is. */
  look?(settings: LookSetting): Look;
  /** False: the spinner stands still. */
  spin: boolean;
  open(events: Pick<TerminalOptions, 'onInput' | 'onResize' | 'onGone'>): Terminal;
  source(onChange: () => void): Source;
  commands: Commands;
}

/** What of it the settings say. */
export interface Look extends Pick<AppOptions, 'theme' | 'pace'> {
  mouse: boolean;
}

export interface App {
  /** Resolves when it was left: by `q`, or because the terminal is gone. */
  readonly ended: Promise<'quit' | 'gone'>;
  /** For tests: no drawing is owed, and no wish or command unanswered. */
  idle(): boolean;
  /** Gives the terminal back and lets go of everything; may be called twice. */
  close(): void;
}

/** Opens the dashboard and returns at once. */
export function startApp(options: AppOptions): App {
  return new Application(options);
}

// --- internal ---

/** A command that ends sooner shows what it printed; one that took long is told in a toast. */
const SHOW_WITHIN = 4000;
const TURN = 250;

class Application implements App {
  readonly ended: Promise<'quit' | 'gone'>;
  private readonly options: AppOptions;
  private readonly terminal: Terminal;
  private readonly source: Source;
  private state: AppState;
  private look: Pick<Look, 'theme' | 'pace'>;
  private lookedAt: unknown;
  private frame = 0;
  private owed: NodeJS.Timeout | undefined;
  private drawn = 0;
  private shown = '';
  private pending = 0;
  /** Those among them that the reader has not carried out yet. */
  private wishes = 0;
  private clock: NodeJS.Timeout | undefined;
  private closed = false;
  private end: (how: 'quit' | 'gone') => void = () => {};

  constructor(options: AppOptions) {
    this.options = options;
    this.look = options;
    this.state = startState(options.screens);
    this.ended = new Promise((done) => {
      this.end = done;
    });
    this.terminal = options.open({
      onInput: (event) => this.take(event),
      onResize: () => this.draw(),
      onGone: () => this.finish('gone'),
    });
    this.source = options.source(() => this.drawSoon());
    this.draw();
    this.tick();
  }

  idle(): boolean {
    return this.owed === undefined && this.pending === 0;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.owed);
    this.owed = undefined;
    clearTimeout(this.clock);
    this.terminal.leave();
    this.source.close();
    this.options.commands.release();
  }

  private take(event: InputEvent): void {
    if (this.closed) return;
    const { state, deeds } = onInput(this.state, event, this.world());
    this.state = state;
    for (const deed of deeds) this.carry(deed);
    this.draw();
  }

  private carry(deed: Deed): void {
    switch (deed.kind) {
      case 'quit':
        this.quitWhenAsked();
        break;
      case 'command':
        this.command(deed);
        break;
      case 'control': {
        const word = { cancel: 'cancelling', stop: 'stopping', pause: 'pausing', '': 'going on' }[deed.control];
        this.ask('control', [deed.operation.uuid, deed.control], `${deed.operation.target_name}: ${word}`);
        break;
      }
      case 'ask':
        this.ask(deed.name, deed.args, deed.done, deed.after);
        break;
      case 'action':
        this.act(deed.action);
        break;
      case 'copy':
        this.copy(deed.text);
        break;
    }
  }

  /** What comes of something that was begun before. */
  private follow(effects: readonly Effect[]): void {
    if (this.closed || effects.length === 0) return;
    const { state, deeds } = carryOut(this.state, effects, this.world());
    this.state = state;
    for (const deed of deeds) this.carry(deed);
    this.drawSoon();
  }

  private act(action: string): void {
    if (action === 'redraw') this.terminal.forget();
    else if (action === 'refresh') this.source.refresh();
    else if (action === 'suspend') this.terminal.suspend();
  }

  private copy(text: string): void {
    const long = !this.terminal.copy(text);
    const what = `${formatCount(text.length)} characters`;
    this.toast('good', long ? `Too long to copy: ${what}` : `Copied ${what}, if this terminal lets programs do that`);
  }

  /** Wishes that were just sent arrive before the reader is let go. */
  private quitWhenAsked(): void {
    const started = performance.now();
    const wait = (): void => {
      if (this.wishes === 0 || performance.now() - started > 3000) this.finish('quit');
      else setTimeout(wait, 20);
    };
    wait();
  }

  private ask(name: string, args: readonly string[], done = '', after: readonly Effect[] = []): void {
    this.pending += 1;
    this.wishes += 1;
    this.source
      .ask(name, args)
      .then(() => {
        if (done !== '') this.toast('good', done);
        this.follow(after);
      })
      .catch((error: unknown) => this.toast('bad', messageOf(error)))
      .finally(() => {
        this.pending -= 1;
        this.wishes -= 1;
      });
  }

  private command(deed: Extract<Deed, { kind: 'command' }>): void {
    const { words, label, stdin, password, held } = deed;
    const begun = performance.now();
    const started = `${label}: started`;
    this.pending += 1;
    const end = (outcome: Ended): void => {
      this.pending -= 1;
      const toasts = this.state.toasts.filter(({ text }) => text !== started);
      const soon = performance.now() - begun < SHOW_WITHIN;
      const { state, deeds } = onEnd({ ...this.state, toasts }, deed, outcome, soon, this.world());
      this.state = state;
      for (const one of deeds) this.carry(one);
      this.source.refresh();
      this.drawSoon();
    };
    try {
      this.options.commands.start(words, label, end, { stdin, password });
      if (!held) this.toast('good', started);
    } catch (error) {
      end({ style: 'bad', text: `${label}: ${messageOf(error)}`, lines: [] });
    }
  }

  private toast(style: 'good' | 'bad', text: string): void {
    this.state = addToast(this.state, { style, text }, this.options.now());
    this.drawSoon();
  }

  private finish(how: 'quit' | 'gone'): void {
    this.close();
    this.end(how);
  }

  private world(): World {
    const { screens, readOnly, now } = this.options;
    const { theme } = this.look;
    return {
      screens,
      theme,
      readOnly,
      now: now(),
      frame: this.frame,
      width: this.terminal.width,
      height: this.terminal.height,
      trouble: this.source.trouble(performance.now()),
      read: <N extends ReadName>(name: N, ...args: string[]) =>
        this.source.answer(want(name, ...args)) as Answer<ReadResult<N>>,
    };
  }

  private drawSoon(): void {
    if (this.closed || this.owed !== undefined) return;
    const wait = Math.max(0, this.drawn + this.look.pace - performance.now());
    this.owed = setTimeout(() => this.draw(), wait);
  }

  private draw(): void {
    clearTimeout(this.owed);
    this.owed = undefined;
    if (this.closed || this.terminal === undefined || this.source === undefined) return;
    this.takeLook();
    this.state = openFirst(dropOldToasts(this.state, this.options.now()), this.world());
    const { canvas, state } = drawApp(this.state, this.world());
    this.state = state;
    // What is selected is known only now, and with it what is wanted of it.
    this.source.want(wantsOf(this.state, this.options));
    this.terminal.draw(canvas);
    this.drawn = performance.now();
    this.shown = this.quietState();
  }

  private takeLook(): void {
    const settings = this.source.answer(want('look')).value as LookSetting | undefined;
    if (!settings || settings === this.lookedAt || !this.options.look) return;
    this.lookedAt = settings;
    const look = this.options.look(settings);
    this.look = look;
    this.terminal.useMouse(look.mouse);
  }

  /** What changes by itself while nothing runs. */
  private quietState(): string {
    return `${Math.floor(this.options.now().getTime() / 60_000)} ${this.source.trouble(performance.now()) ?? ''}`;
  }

  /** Spinner and toasts move on four times a second; else only the clock, each minute, and news of the reader's health. */
  private tick(): void {
    const running = (this.source.answer(want('running')).value as unknown[] | undefined)?.length ?? 0;
    const moving = running > 0 || this.state.toasts.some(({ until }) => until !== null);
    this.clock = setTimeout(
      () => {
        if (running > 0 && this.options.spin) this.frame += 1;
        if (moving || this.quietState() !== this.shown) this.drawSoon();
        this.tick();
      },
      moving ? TURN : 1000,
    );
  }
}
