/**
 * `tandem dashboard`: puts terminal, reader, screens and commands together. Loaded only when the dashboard is opened, and
 * with it blessed.
 */
import { isatty } from 'node:tty';
import { TandemError } from '../shared/errors.ts';
import { defineCommand } from '../shared/feature.ts';
import { startCommands } from './actions.ts';
import { startApp } from './app.ts';
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

const PACE = { local: 100, ssh: 250 };

async function show(ctx: Practice['ctx'], { readOnly, mouse }: { readOnly: boolean; mouse: boolean }): Promise<void> {
  const theme = themeFor(process.env);
  let terminal: Terminal | undefined;
  const guard = guardTerminal(() => terminal?.leave());
  const app = startApp({
    screens: SCREENS,
    theme,
    readOnly,
    pace: process.env['SSH_CONNECTION'] ? PACE.ssh : PACE.local,
    now: () => ctx.now(),
    spin: true,
    open: (events) => {
      terminal = openTerminal({
        input: process.stdin,
        output: process.stdout,
        theme,
        env: process.env,
        mouse,
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
