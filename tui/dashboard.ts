/**
 * `tandem dashboard`: puts terminal, reader, screens and commands together. Loaded only when the dashboard is opened, and
 * with it blessed.
 */
import { join } from 'node:path';
import { isatty } from 'node:tty';
import { TandemError } from '../shared/errors.ts';
import { defineCommand } from '../shared/feature.ts';
import { type LookSetting, loadSettings, PLAIN_LOOK } from '../shared/settings.ts';
import { startCommands } from './actions.ts';
import { type Look, startApp } from './app.ts';
import { DASHBOARD_SUMMARY } from './features.ts';
import { guardTerminal } from './guard.ts';
import { type Practice, startPractice } from './practice.ts';
import { SCREENS } from './screens/index.ts';
import { startReader } from './source.ts';
import { openTerminal, type Terminal } from './terminal.ts';
import { themeFor } from './theme.ts';

export const command = defineCommand({
  name: 'dashboard',
  summary: DASHBOARD_SUMMARY,
  single: true,
  verbs: {
    dashboard: {
      summary: DASHBOARD_SUMMARY,
      examples: ['tandem', 'tandem dashboard --read-only', 'tandem dashboard --demo'],
      options: [
        { flags: '--read-only', description: 'look only: no key starts, stops or changes anything' },
        { flags: '--demo', description: 'on two practice drives with a running sync; removed again at the end' },
        { flags: '--no-mouse', description: 'leave the mouse to the terminal' },
      ],
      run: async ({ options }, ctx, write) => {
        if (!isatty(0) || !isatty(1)) {
          throw new TandemError('usage', 'The dashboard needs a terminal.', {
            hint: '`tandem status` prints the same as text.',
          });
        }
        const practice = options['demo'] ? await startPractice(ctx, write) : undefined;
        try {
          await show(practice?.ctx ?? ctx, {
            readOnly: options['readOnly'] === true,
            mouse: options['mouse'] !== false,
          });
        } finally {
          await practice?.end(write);
        }
        return undefined;
      },
    },
  },
});

// --- internal ---

/** Milliseconds between two drawings, at least: whatever the settings say, a remote line is not flooded. */
const SSH_PACE = 250;

/** `mouse` of the command line may only take it away. */
function lookOf(settings: LookSetting, mouse: boolean): Look {
  const pace = Math.max(Math.round(1000 / settings.fps), process.env['SSH_CONNECTION'] ? SSH_PACE : 0);
  return { theme: themeFor(process.env, settings), pace, mouse: mouse && settings.mouse };
}

/** Settings that cannot be read are told by the reader; the dashboard opens all the same. */
function firstSettings(ctx: Practice['ctx']): LookSetting {
  try {
    return loadSettings(ctx.configDir, join(ctx.dataDir, 'cache')).dashboard;
  } catch {
    return PLAIN_LOOK;
  }
}

async function show(ctx: Practice['ctx'], { readOnly, mouse }: { readOnly: boolean; mouse: boolean }): Promise<void> {
  const look = lookOf(firstSettings(ctx), mouse);
  let terminal: Terminal | undefined;
  const guard = guardTerminal(() => terminal?.leave());
  const app = startApp({
    screens: SCREENS,
    theme: look.theme,
    pace: look.pace,
    look: (settings) => lookOf(settings, mouse),
    readOnly,
    now: () => ctx.now(),
    spin: true,
    open: (events) => {
      terminal = openTerminal({
        input: process.stdin,
        output: process.stdout,
        theme: look.theme,
        env: process.env,
        mouse: look.mouse,
        ...events,
      });
      return terminal;
    },
    source: (onChange) => startReader(ctx, onChange),
    commands: startCommands(ctx),
  });
  try {
    // As if the terminal had hung up: there is nobody left to show anything to.
    if ((await app.ended) === 'gone') process.kill(process.pid, 'SIGHUP');
  } finally {
    app.close();
    guard.release();
  }
}
