/**
 * The `tandem` command: finds the feature that the first word names, loads only that one, and hands the words to the
 * command line. Everything that can be answered without a feature (version, overview) is answered without loading any.
 */
import { type Command, VERSION } from '../shared/feature.ts';
import { closest } from '../shared/format.ts';
import { DASHBOARD_SUMMARY, FEATURES } from './features.ts';

const EXAMPLES = [
  'tandem demo                                                    see what it does, on practice drives',
  'tandem detect list                                             which drives are connected',
  'tandem groups create Archive --master PhotoMaster --backup PhotoBackup',
  'tandem sync run Archive --dry-run                              what a sync would do',
  'tandem sync run Archive',
];

void main(process.argv.slice(2));

async function main(words: readonly string[]): Promise<void> {
  const first = words[0];
  if (first === '--version' || first === '-V') return say(VERSION);
  if (first === '--help' || first === '-h' || (first === 'help' && words[1] === undefined)) return say(overview());
  if (first === 'complete' && words[1] === '--') return answerShell(words.slice(2));
  if (first === 'dashboard-reader' && process.channel) return readForDashboard();
  if (first === 'dashboard-previews' && process.channel) return decodeForDashboard();
  if (first === 'practice-keeper' && process.channel)
    return (await import('./practice.ts')).keepPractice(words[1] ?? '');
  const { runCommandLine, splitGlobals } = await import('../shared/cli.ts');
  const { globals, rest } = splitGlobals(words);
  const named = rest[0] === 'help' ? rest.slice(1) : rest;
  const wantsOverview = named.length === 0 && rest[0] === 'help';
  if (wantsOverview || rest[0] === '--help' || rest[0] === '-h') return say(overview());
  if (rest[0] === '--version' || rest[0] === '-V') return say(VERSION);
  const practice = rest[0] === '--demo' ? ['dashboard', '--demo'] : undefined;
  const [feature = withoutWords(), ...own] = practice ? [...practice, ...rest.slice(1)] : named;
  const help = rest[0] === 'help' ? ['--help'] : [];
  await runCommandLine([feature, ...globals, ...own, ...help], load);
}

/** On a terminal the dashboard opens; else the overview is printed. */
function withoutWords(): string {
  return process.stdin.isTTY && process.stdout.isTTY && process.env['TERM'] !== 'dumb' ? 'dashboard' : 'status';
}

/** The process beside the dashboard that reads for it; ends when the dashboard does. */
async function readForDashboard(): Promise<void> {
  const [{ createContext }, { runReader }] = await Promise.all([import('../shared/context.ts'), import('./reader.ts')]);
  const gone = new AbortController();
  process.on('disconnect', () => gone.abort());
  let waiting = 0;
  const ctx = createContext({ signal: gone.signal });
  await runReader(ctx, {
    send: (message) => {
      if (waiting > 16 || !process.connected) return false;
      waiting += 1;
      process.send?.(message, () => {
        waiting -= 1;
      });
      return true;
    },
    receive: (listener) => process.on('message', (message) => listener(message as Parameters<typeof listener>[0])),
  });
  await ctx.close();
  process.exit();
}

/** The process beside the reader that decodes previews; ends when the reader does, with the program it may have started. */
async function decodeForDashboard(): Promise<void> {
  process.on('disconnect', () => process.kill(process.platform === 'win32' ? process.pid : -process.pid, 'SIGKILL'));
  const { runPreviewWorker } = await import('./preview-worker.ts');
  runPreviewWorker({
    send: (message) => void process.send?.(message),
    receive: (listener) => process.on('message', (file) => listener(file as Parameters<typeof listener>[0])),
  });
}

async function load(name: string): Promise<Command> {
  const feature = Object.hasOwn(FEATURES, name) ? FEATURES[name] : undefined;
  if (feature) return (await feature.load()).command;
  if (name === 'dashboard') return (await import('./dashboard.ts')).command;
  if (name === 'completion') return (await import('../shared/completion.ts')).completionCommand;
  const { TandemError } = await import('../shared/errors.ts');
  const see = 'See `tandem --help`.';
  if (name.startsWith('-')) {
    throw new TandemError('usage', `The option '${name}' stands before the command.`, {
      hint: `Options of a command come after it: tandem COMMAND ${name}. ${see}`,
    });
  }
  const near = closest(name, [...Object.keys(FEATURES), 'dashboard', 'completion', 'help']);
  throw new TandemError('usage', `There is no command 'tandem ${name}'.`, {
    hint: near ? `Did you mean '${near}'? ${see}` : see,
  });
}

/** The script that `tandem completion SHELL` printed asks here, at every press of the Tab key. */
async function answerShell(words: readonly string[]): Promise<void> {
  const { printCompletions } = await import('../shared/completion.ts');
  const features = Object.entries({ ...FEATURES, dashboard: { summary: DASHBOARD_SUMMARY } }).map(
    ([name, { summary }]) => ({
      name,
      summary,
    }),
  );
  await printCompletions(words, features, load);
}

function overview(): string {
  const rows = [
    ...Object.entries(FEATURES).map(([name, { summary }]) => [name, summary]),
    ['dashboard', DASHBOARD_SUMMARY],
    ['completion', 'Word completion for bash, zsh or fish'],
  ];
  return [
    'tandem keeps projects safe on paired removable drives, Master and Backup.',
    '',
    'Examples:',
    ...EXAMPLES.map((line) => `  ${line}`),
    '',
    'Usage: tandem COMMAND [VERB] [options]',
    '',
    'Commands:',
    ...rows.map(([name = '', summary = '']) => `  ${name.padEnd(10)}  ${summary}`),
    '',
    'Without a command: the dashboard on a terminal, else tandem status. `tandem help COMMAND` or `tandem COMMAND --help` tells more.',
  ].join('\n');
}

function say(text: string): void {
  process.stdout.on('error', () => {});
  process.stdout.write(`${text}\n`);
}
