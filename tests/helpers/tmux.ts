/** A terminal that people use, driven by the test: one tmux server, screens polled for a text, never a pause. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { displayWidth } from '../../shared/format.ts';
import { REPOSITORY } from './cli.ts';

export interface Tmux {
  /** Types keys as tmux names them (`Enter`, `C-c`, `q`). */
  keys(...names: string[]): void;
  /** Letters as they are. */
  type(text: string): void;
  /** The button on the first letter of a text that is shown. */
  click(text: string): void;
  /** The lines that are shown. */
  screen(): string;
  /** Resolves with the screen once it shows the text; rejects with it when it does not in time. */
  shows(text: string | RegExp): Promise<string>;
  /** Resolves with the screen once it does not show the text any more. */
  hides(text: string | RegExp): Promise<string>;
  /** Everything that is sent to the terminal from now on goes to a file as well. */
  record(file: string): void;
  /** `alternate screen, mouse, cursor` as digits; `001` is a terminal given back. */
  flags(): string;
  resize(width: number, height: number): void;
  /** Number of the process that the pane's shell started last. */
  child(): number;
  close(): void;
}

/** `tandem` as a word of that shell. */
export const TANDEM = `${process.execPath} ${join(REPOSITORY, 'tui', 'tandem.mjs')}`;

export function openTmux(width: number, height: number, env: Readonly<Record<string, string>>): Tmux {
  count += 1;
  const server = `tandem-test-${process.pid}-${count}`;
  const tmux = (...words: string[]): string => {
    const { status, stdout, stderr } = spawnSync('tmux', ['-L', server, '-f', '/dev/null', ...words], {
      encoding: 'utf8',
      env: { ...process.env, ...env, NO_COLOR: '', LC_ALL: 'C.UTF-8', PS1: '$ ' },
    });
    if (status !== 0) throw new Error(`tmux ${words.join(' ')}: ${stderr}`);
    return stdout;
  };
  tmux('-u', 'new-session', '-d', '-x', String(width), '-y', String(height), 'bash --norc --noprofile');
  const screen = (): string => tmux('capture-pane', '-p');
  const becomes = async (text: string | RegExp, wanted: boolean): Promise<string> => {
    const until = Date.now() + PATIENCE;
    for (;;) {
      const shown = screen();
      if ((typeof text === 'string' ? shown.includes(text) : text.test(shown)) === wanted) return shown;
      if (Date.now() > until)
        throw new Error(`The screen ${wanted ? 'does not show' : 'still shows'} ${text}:\n${shown}`);
      await pause(50);
    }
  };
  const type = (text: string): void => void tmux('send-keys', '-l', text);
  return {
    screen,
    keys: (...names) => void tmux('send-keys', ...names),
    type,
    click: (text) => {
      const lines = screen().split('\n');
      const y = lines.findIndex((line) => line.includes(text));
      if (y < 0) throw new Error(`${text} is not shown:\n${lines.join('\n')}`);
      const x = displayWidth((lines[y] ?? '').split(text)[0] ?? '');
      type(`\x1b[<0;${x + 1};${y + 1}M\x1b[<0;${x + 1};${y + 1}m`);
    },
    shows: (text) => becomes(text, true),
    hides: (text) => becomes(text, false),
    record: (file) => void tmux('pipe-pane', `cat >> '${file}'`),
    flags: () => tmux('display-message', '-p', '#{alternate_on}#{mouse_any_flag}#{cursor_flag}').trim(),
    resize: (columns, rows) => void tmux('resize-window', '-x', String(columns), '-y', String(rows)),
    child: () => {
      const shell = tmux('display-message', '-p', '#{pane_pid}').trim();
      const { stdout } = spawnSync('ps', ['-o', 'pid=', '--ppid', shell], { encoding: 'utf8' });
      return Number(stdout.trim().split('\n').at(-1));
    },
    close: () => void spawnSync('tmux', ['-L', server, 'kill-server']),
  };
}

/** Leaves the dashboard as soon as it knows of no run any more: before that, `q` asks. */
export async function quit(tmux: Tmux): Promise<void> {
  await tmux.shows(/^ tandem .*[●*]/);
  tmux.keys('q');
  await tmux.shows('code 0');
}

/** Resolves when no process works in this data folder any more: a dashboard's reader ends a moment after the dashboard. */
export async function nobodyIn(data: string): Promise<void> {
  const isIn = (process: string): boolean => {
    try {
      return readFileSync(`/proc/${process}/environ`, 'latin1').includes(`TANDEM_DATA=${data}\0`);
    } catch {
      return false;
    }
  };
  const others = (): string[] => readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isIn(name));
  for (const until = Date.now() + PATIENCE; others().length > 0; ) {
    if (Date.now() > until) throw new Error(`These processes did not end: ${others().join(', ')}`);
    await pause(20);
  }
}

// --- internal ---

const PATIENCE = 60_000;
let count = 0;
