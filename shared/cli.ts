/**
 * Turns command data into a command line: global options, help on every level, progress, errors, exit codes. Loaded only
 * to run a command; the parser itself is loaded only for a verb's own words.
 */
import { isatty } from 'node:tty';
import { type Context, createContext, refusingPrompts } from './context.ts';
import { EXIT, messageOf, TandemError } from './errors.ts';
import type { TandemEvent } from './events.ts';
import type { Command, OptionSpec, Output, Paint, Style, Verb, VerbInput } from './feature.ts';
import { closest } from './format.ts';
import { log } from './log.ts';
import { displayPath } from './paths.ts';
import { ProgressView } from './progress.ts';
import { terminalPrompts } from './prompts.ts';
import { isTaken } from './strays.ts';

export interface GlobalOptions {
  json?: boolean;
  config?: string;
  data?: string;
  progress?: 'auto' | 'bar' | 'plain' | 'json' | 'none';
  yes?: boolean;
  force?: boolean | string | (boolean | string)[];
  quiet?: boolean;
  verbose?: boolean;
  color?: boolean;
}

/** Options of every verb; they may stand before the feature, before the verb or after it. */
export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  { flags: '--json', description: 'one JSON document on stdout' },
  { flags: '--config <dir>', description: 'folder of app.yaml and the groups (TANDEM_CONFIG)' },
  { flags: '--data <dir>', description: 'folder of the database (TANDEM_DATA)' },
  {
    flags: '--progress <how>',
    description: 'how a run reports on stderr',
    choices: ['auto', 'bar', 'plain', 'json', 'none'],
  },
  { flags: '-y, --yes', description: 'answer yes to every question' },
  { flags: '-q, --quiet', description: 'print nothing but errors' },
  { flags: '-v, --verbose', description: 'print more' },
  { flags: '--no-color', description: 'no colours (also NO_COLOR)' },
];

/**
 * Runs `words` (`['groups', 'list', '--json']`) with the command that `load` brings, sets `process.exitCode`, and never
 * throws. Ctrl-C aborts the context's signal first, its hard signal the second time, and ends the process the third.
 */
export async function runCommandLine(
  words: readonly string[],
  load: (name: string) => Promise<Command>,
): Promise<void> {
  const json = optionWords(words).includes('--json');
  const crashed = (error: unknown): void => {
    if (!isTaken(error)) process.exit(reportError(error, json));
  };
  process.on('uncaughtException', crashed);
  // A reader that went away (`| head -1`) is no failure, and a closed terminal must not end a run half-way.
  process.stdout.on('error', ignoreBrokenPipe);
  process.stderr.on('error', () => {});
  try {
    process.exitCode = await dispatch(await load(words[0] ?? ''), words.slice(1));
  } catch (error) {
    process.exitCode = reportError(error, json);
  } finally {
    process.off('uncaughtException', crashed);
  }
}

/** Splits the global options that stand before the first other word from what follows. */
export function splitGlobals(words: readonly string[]): { globals: string[]; rest: string[] } {
  let at = 0;
  while (at < words.length) {
    const [flag = '', value] = splitFlag(words[at] ?? '');
    const option = GLOBAL_OPTIONS.find((spec) => flagsOf(spec).includes(flag));
    if (!option) break;
    at += takesValue(option) && value === undefined ? 2 : 1;
  }
  return { globals: words.slice(0, at), rest: words.slice(at) };
}

/** `-n, --dry-run` → `['-n', '--dry-run']`. */
export function flagsOf(spec: OptionSpec): string[] {
  return spec.flags.split(/[ ,]+/).filter((part) => part.startsWith('-'));
}

export function takesValue(spec: OptionSpec): boolean {
  return /<.+>/.test(spec.flags);
}

/** Colours only on a terminal, never with a non-empty NO_COLOR or --no-color. */
export function painter(globals: GlobalOptions, tty: boolean): Paint {
  const colour = tty && globals.color !== false && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb';
  return (style, text) => (colour && SGR[style] !== '' && text !== '' ? `\u001b[${SGR[style]}m${text}\u001b[0m` : text);
}

/** Prints one sentence and a hint on stderr (or one JSON document on stdout) and returns the exit code. */
export function reportError(error: unknown, json: boolean): number {
  const known = error instanceof TandemError ? error : undefined;
  const message = messageOf(error);
  const hint = known ? known.hint : 'Set TANDEM_DEBUG=1 to see where it happened.';
  if (json) {
    const body = { code: known?.code ?? 'failed', message, hint: hint ?? null, guard: known?.guard ?? null };
    process.stdout.write(`${JSON.stringify({ error: { ...known?.details, ...body } }, null, 2)}\n`);
  } else {
    const paint = painter({ color: !process.argv.includes('--no-color') }, isatty(2));
    const lines = [`${paint('bad', 'error:')} ${displayPath(message)}`];
    if (hint) lines.push(`${paint('dim', 'hint:')}  ${displayPath(hint)}`);
    process.stderr.write(`${lines.join('\n')}\n`);
  }
  if (process.env['TANDEM_DEBUG'] && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return known?.exitCode ?? EXIT.failed;
}

// --- internal ---

const SGR: Record<Style | 'bold', string> = {
  good: '32',
  bad: '31',
  warn: '33',
  dim: '2',
  master: '34',
  backup: '32',
  plain: '',
  bold: '1',
};

/** Finds the verb among the words of one feature, then parses and runs it; or prints help. */
async function dispatch(command: Command, words: readonly string[]): Promise<number> {
  const { globals, rest } = splitGlobals(words);
  const single = command.single ? Object.values(command.verbs)[0] : undefined;
  if (single) return runParsed(await parseWords(`tandem ${command.name}`, single, [...globals, ...rest]));
  const first = rest[0];
  if (first === '--help' || first === '-h' || (first === 'help' && rest[1] === undefined)) {
    await writeOut(featureHelp(command));
    return EXIT.done;
  }
  const asksHelp = first === 'help';
  const name = asksHelp ? rest[1] : first;
  const verb = name !== undefined && Object.hasOwn(command.verbs, name) ? command.verbs[name] : undefined;
  if (!verb) throw noSuchVerb(command, name);
  const own = asksHelp ? ['--help'] : rest.slice(1);
  return runParsed(await parseWords(`tandem ${command.name} ${name}`, verb, [...globals, ...own]));
}

function noSuchVerb(command: Command, name: string | undefined): TandemError {
  const verbs = Object.keys(command.verbs);
  const see = `See \`tandem ${command.name} --help\`.`;
  if (name === undefined) {
    return new TandemError('usage', `\`tandem ${command.name}\` needs a verb.`, {
      hint: `One of: ${verbs.join(', ')}. ${see}`,
    });
  }
  if (name.startsWith('-')) {
    return new TandemError('usage', `The option '${name}' stands before the verb.`, {
      hint: `Options of a verb come after it: tandem ${command.name} VERB ${name}. ${see}`,
    });
  }
  const near = closest(name, verbs);
  return new TandemError('usage', `\`tandem ${command.name}\` has no verb '${name}'.`, {
    hint: near ? `Did you mean '${near}'? ${see}` : `One of: ${verbs.join(', ')}. ${see}`,
  });
}

function featureHelp(command: Command): string {
  const verbs = Object.entries(command.verbs);
  const width = Math.max(...verbs.map(([name]) => name.length));
  const examples = verbs.flatMap(([, verb]) => verb.examples.slice(0, 1)).slice(0, 5);
  return [
    'Examples:',
    ...examples.map((line) => `  ${line}`),
    '',
    `Usage: tandem ${command.name} VERB [options]`,
    '',
    command.summary,
    '',
    'Verbs:',
    ...verbs.map(([name, verb]) => `  ${name.padEnd(width)}  ${verb.summary}`),
    '',
    `\`tandem ${command.name} VERB --help\` shows what a verb takes.`,
  ].join('\n');
}

interface Parsed {
  verb: Verb;
  input: VerbInput;
  globals: GlobalOptions;
}

/** @returns undefined when the words asked for help, which was printed. */
async function parseWords(name: string, verb: Verb, words: readonly string[]): Promise<Parsed | undefined> {
  const { Command: Program, CommanderError } = await import('commander');
  const program = new Program(name);
  let help = '';
  let parsed: Parsed | undefined;
  program
    .description(verb.summary)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => {
        help += text;
      },
      writeErr: () => {},
      outputError: () => {},
    })
    .helpOption('-h, --help', 'show this help')
    .addHelpText('before', `Examples:\n${verb.examples.map((line) => `  ${line}`).join('\n')}\n`);
  const specs = verb.args ?? [];
  for (const spec of specs) {
    const dots = spec.variadic ? '...' : '';
    program.argument(spec.optional ? `[${spec.name}${dots}]` : `<${spec.name}${dots}>`, spec.description);
  }
  for (const spec of verb.options ?? []) program.addOption(await optionFrom(spec));
  for (const spec of GLOBAL_OPTIONS) program.addOption((await optionFrom(spec)).helpGroup('Global options:'));
  program.action((...received: unknown[]) => {
    const options = program.opts<Record<string, unknown>>();
    const args = Object.fromEntries(specs.map((spec, index) => [spec.name, received[index]]));
    parsed = { verb, input: { args, options }, globals: options as GlobalOptions };
  });
  try {
    program.parse([...words], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw usageError(error.message, name);
    await writeOut(help.trimEnd());
  }
  return parsed;
}

async function optionFrom(spec: OptionSpec): Promise<import('commander').Option> {
  const { InvalidArgumentError, Option } = await import('commander');
  const option = new Option(spec.flags, spec.description);
  const { choices, parse, repeat } = spec;
  if (!choices && !parse && !repeat) return option;
  if (choices) option.choices([...choices]);
  return option.argParser((text: string, before: unknown) => {
    if (choices && !choices.includes(text)) {
      const near = closest(text, choices);
      throw new InvalidArgumentError(`Allowed are ${choices.join(', ')}.${near ? `\n(Did you mean ${near}?)` : ''}`);
    }
    const value = parse ? parse(text) : text;
    if (!repeat) return value;
    return before === undefined ? [value] : [...(Array.isArray(before) ? before : [before]), value];
  });
}

/** The parser's message as a sentence, its suggestion as part of the hint. */
function usageError(raw: string, name: string): TandemError {
  const text = raw.replace(/^error: /, '');
  const suggestion = /\s*\((Did you mean .+\?)\)\s*$/s.exec(text);
  const message = (suggestion ? text.slice(0, suggestion.index) : text).replace(/\s*\n\s*/g, ' ').trim();
  const sentence = `${message.slice(0, 1).toUpperCase()}${message.slice(1)}${/[.?!]$/.test(message) ? '' : '.'}`;
  const see = `See \`${name} --help\`.`;
  return new TandemError('usage', sentence, { hint: suggestion ? `${suggestion[1]} ${see}` : see });
}

async function runParsed(parsed: Parsed | undefined): Promise<number> {
  if (!parsed) return EXIT.done;
  const { verb, input, globals } = parsed;
  const soft = new AbortController();
  const hard = new AbortController();
  const view = new ProgressView(globals);
  let inOperation = false;
  const stop = (): void => {
    if (hard.signal.aborted) {
      view.end();
      process.exit(EXIT.cancelled);
    }
    if (soft.signal.aborted) hard.abort();
    else if (inOperation) view.note('Stopping: files in flight are finished. Ctrl-C again stops at once.');
    soft.abort();
  };
  for (const signal of STOP_SIGNALS) process.on(signal, stop);
  const noReader = (): void => soft.abort();
  process.stdout.once('error', noReader);
  const noteEvent = (event: TandemEvent): void => {
    if (event.kind === 'operation_started' || event.kind === 'operation_ended')
      inOperation = event.kind === 'operation_started';
    if (event.kind === 'warning' && inOperation) log(ctx, 'warn', 'warning', event.message);
    view.show(event);
  };
  const ctx = contextFor(globals, soft.signal, hard.signal, noteEvent, view);
  const write = (line: string): void => {
    if (!globals.quiet || globals.json) process.stdout.write(`${line}\n`);
  };
  try {
    const output = await verb.run(input, ctx, write);
    view.end();
    if (output) await print(output, globals);
    return output?.exitCode ?? EXIT.done;
  } finally {
    view.end();
    // A drive that does not answer holds up neither the database nor the end.
    if (verb.leaves) setTimeout(() => process.exit(), LEAVE_AFTER).unref();
    await ctx.close();
    process.stdout.off('error', noReader);
    for (const signal of STOP_SIGNALS) process.off(signal, stop);
  }
}

/** Milliseconds. */
const LEAVE_AFTER = 500;
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

function contextFor(
  globals: GlobalOptions,
  signal: AbortSignal,
  hardSignal: AbortSignal,
  emit: (event: TandemEvent) => void,
  view: ProgressView,
): Context {
  const interactive = isatty(0) && isatty(2) && globals.json !== true;
  return createContext({
    configDir: globals.config,
    dataDir: globals.data,
    signal,
    hardSignal,
    emit,
    force: liftedGuards(globals.force),
    prompts: terminalPrompts({
      interactive,
      yes: globals.yes === true,
      signal,
      fallback: refusingPrompts,
      during: (question) => view.during(question),
    }),
  });
}

/** `--force` alone lifts every guard, `--force NAME` the named one; it may be given several times. */
function liftedGuards(force: GlobalOptions['force']): string[] {
  const given = Array.isArray(force) ? force : [force ?? false];
  return given.flatMap((one) => (one === true ? ['all'] : one === false ? [] : [one]));
}

async function print(output: Output, globals: GlobalOptions): Promise<void> {
  if (globals.quiet && !globals.json) return;
  const text = globals.json ? JSON.stringify(output.json, null, 2) : output.text(painter(globals, isatty(1)));
  if (text !== '') await writeOut(text);
}

/** Resolves when the text has left the process; a disk that is full is an error, a reader that is gone is not. */
function writeOut(text: string): Promise<void> {
  return new Promise((done, fail) => {
    process.stdout.write(`${text}\n`, (error) => (error && !isBrokenPipe(error) ? fail(error) : done()));
  });
}

function ignoreBrokenPipe(error: Error): void {
  if (!isBrokenPipe(error)) process.exitCode = EXIT.failed;
}

function isBrokenPipe(error: Error): boolean {
  return ['EPIPE', 'EIO', 'ECONNRESET'].includes((error as NodeJS.ErrnoException).code ?? '');
}

function splitFlag(word: string): [flag: string, value: string | undefined] {
  const equals = word.startsWith('--') ? word.indexOf('=') : -1;
  return equals < 0 ? [word, undefined] : [word.slice(0, equals), word.slice(equals + 1)];
}

/** The words up to `--`, which ends the options. */
function optionWords(words: readonly string[]): readonly string[] {
  const end = words.indexOf('--');
  return end < 0 ? words : words.slice(0, end);
}
