/**
 * The `tandem` command: finds the feature that the first word names, loads only that one, and hands the words to the
 * command line. Everything that can be answered without a feature (version, overview) is answered without loading any.
 */
import { type Command, VERSION } from '../shared/feature.ts';
import { closest } from '../shared/format.ts';

interface Feature {
  /** The same sentence as in the feature's own command. */
  summary: string;
  load(): Promise<{ command: Command }>;
}

/** The only place outside of `features/` that imports features. */
const FEATURES: Readonly<Record<string, Feature>> = {
  status: {
    summary: 'Drives, groups, running operations and days since the last good sync',
    load: () => import('../features/status.ts'),
  },
  detect: {
    summary: 'Drives that are connected: list, watch, eject',
    load: () => import('../features/detect.ts'),
  },
  groups: {
    summary: 'Pairs of Master and Backup drives',
    load: () => import('../features/groups.ts'),
  },
  projects: {
    summary: 'Named folders on one or several groups of drives',
    load: () => import('../features/projects.ts'),
  },
  sync: {
    summary: 'bring the Backup into step with the Master',
    load: () => import('../features/sync.ts'),
  },
  watch: {
    summary: 'Changes on the Master reach the Backup by themselves',
    load: () => import('../features/watch.ts'),
  },
  report: {
    summary: 'What is known of the copies of a project',
    load: () => import('../features/report.ts'),
  },
  encrypt: {
    summary: 'Seal single files, and keep the key of a sealed group',
    load: () => import('../features/encrypt.ts'),
  },
  conflicts: {
    summary: 'decide what a sync would not decide by itself',
    load: () => import('../features/conflicts.ts'),
  },
  verify: {
    summary: 'Read files anew and compare them with what was recorded; heal what is damaged',
    load: () => import('../features/verify.ts'),
  },
  restore: {
    summary: 'bring back files, versions or a whole operation',
    load: () => import('../features/restore.ts'),
  },
  history: {
    summary: 'What was synced, restored and verified, when, and with what result',
    load: () => import('../features/history.ts'),
  },
  schedule: {
    summary: 'Syncs and verifications by the clock, or when drives are plugged in',
    load: () => import('../features/schedule.ts'),
  },
  notify: {
    summary: 'Who is told of runs that nobody watches',
    load: () => import('../features/notify.ts'),
  },
  daemon: {
    summary: 'One process for watchers, schedules and drives',
    load: () => import('../features/daemon.ts'),
  },
  log: {
    summary: 'What all runs, watchers and schedules noted',
    load: () => import('../features/log.ts'),
  },
  doctor: {
    summary: 'Check what this machine offers, and say how to mend it',
    load: () => import('../features/doctor.ts'),
  },
  demo: {
    summary: 'The whole job on two practice drives, nothing of yours touched',
    load: () => import('../features/demo.ts'),
  },
};

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
  const { runCommandLine, splitGlobals } = await import('../shared/cli.ts');
  const { globals, rest } = splitGlobals(words);
  const named = rest[0] === 'help' ? rest.slice(1) : rest;
  const wantsOverview = named.length === 0 && rest[0] === 'help';
  if (wantsOverview || rest[0] === '--help' || rest[0] === '-h') return say(overview());
  if (rest[0] === '--version' || rest[0] === '-V') return say(VERSION);
  const [feature = 'status', ...own] = named;
  const help = rest[0] === 'help' ? ['--help'] : [];
  await runCommandLine([feature, ...globals, ...own, ...help], load);
}

async function load(name: string): Promise<Command> {
  const feature = Object.hasOwn(FEATURES, name) ? FEATURES[name] : undefined;
  if (feature) return (await feature.load()).command;
  if (name === 'completion') return (await import('../shared/completion.ts')).completionCommand;
  const { TandemError } = await import('../shared/errors.ts');
  const see = 'See `tandem --help`.';
  if (name.startsWith('-')) {
    throw new TandemError('usage', `The option '${name}' stands before the command.`, {
      hint: `Options of a command come after it: tandem COMMAND ${name}. ${see}`,
    });
  }
  const near = closest(name, [...Object.keys(FEATURES), 'completion', 'help']);
  throw new TandemError('usage', `There is no command 'tandem ${name}'.`, {
    hint: near ? `Did you mean '${near}'? ${see}` : see,
  });
}

/** The script that `tandem completion SHELL` printed asks here, at every press of the Tab key. */
async function answerShell(words: readonly string[]): Promise<void> {
  const { printCompletions } = await import('../shared/completion.ts');
  const features = Object.entries(FEATURES).map(([name, { summary }]) => ({ name, summary }));
  await printCompletions(words, features, load);
}

function overview(): string {
  const rows = [
    ...Object.entries(FEATURES).map(([name, { summary }]) => [name, summary]),
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
    'Without a command: tandem status. `tandem help COMMAND` or `tandem COMMAND --help` tells more.',
  ].join('\n');
}

function say(text: string): void {
  process.stdout.on('error', () => {});
  process.stdout.write(`${text}\n`);
}
