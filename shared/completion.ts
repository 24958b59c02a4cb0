/**
 * Word completion in the shell. The scripts for bash, zsh and fish come from @bomb.sh/tab; they ask back with
 * `tandem complete -- WORDS`, answered here from the command data: one candidate a line, TAB, a description, and at the
 * end `:4` (these are all) or `:0` (file names of the shell's own).
 *
 * Shells put candidates into the command line as they are, and bash even expands them. A name from a drive or a file may
 * hold `$(…)`, so names are offered only when they are plain; the others are offered by id.
 */
import { flagsOf, GLOBAL_OPTIONS, splitGlobals, takesValue } from './cli.ts';
import { type Context, createContext } from './context.ts';
import { TandemError } from './errors.ts';
import { type Command, type Completion, defineCommand, type OptionSpec, type Verb } from './feature.ts';
import { displayPath } from './paths.ts';

export interface Candidate {
  value: string;
  description: string;
}

type Load = (name: string) => Promise<Command>;

const SHELLS = ['bash', 'zsh', 'fish'] as const;

/** `tandem completion SHELL` prints the shell's script. */
export const completionCommand = defineCommand({
  name: 'completion',
  summary: 'Word completion for bash, zsh or fish',
  single: true,
  verbs: {
    script: {
      summary: "Prints a shell's completion script.",
      examples: ['source <(tandem completion bash)', 'tandem completion fish > ~/.config/fish/completions/tandem.fish'],
      args: [{ name: 'shell', description: SHELLS.join(', ') }],
      run: async ({ args }) => {
        const shell: string = args['shell'];
        if (!SHELLS.some((known) => known === shell)) {
          throw new TandemError('usage', `There is no completion for the shell '${shell}'.`, {
            hint: `Give one of ${SHELLS.join(', ')}.`,
          });
        }
        const script = await scriptFor(shell);
        return { json: { shell, script }, text: () => script };
      },
    },
  },
});

/** Prints what may stand at the last of `words`; silent about every trouble, since a person is typing. */
export async function printCompletions(
  words: readonly string[],
  features: readonly { name: string; summary: string }[],
  load: Load,
): Promise<void> {
  process.stdout.on('error', () => {});
  const found = await candidates(words, features, load).catch(() => []);
  const lines = found === 'files' ? [':0'] : [...found.map(lineOf), ':4'];
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** What may stand at the last of `words` (an empty word where a new one begins). */
export async function candidates(
  words: readonly string[],
  features: readonly { name: string; summary: string }[],
  load: Load,
): Promise<Candidate[] | 'files'> {
  const typed = words.at(-1) ?? '';
  const { globals, rest } = splitGlobals(words.slice(0, -1));
  const pending = GLOBAL_OPTIONS.find((spec) => takesValue(spec) && flagsOf(spec).includes(globals.at(-1) ?? ''));
  const starting = (list: Candidate[]): Candidate[] => list.filter(({ value }) => value.startsWith(typed));
  if (pending && rest.length === 0) return valuesOf(pending, load, starting);
  if (rest.length === 0) {
    if (typed.startsWith('-')) return starting(optionCandidates(GLOBAL_OPTIONS));
    const own = features.map(({ name, summary }) => ({ value: name, description: summary }));
    const completion = { value: 'completion', description: completionCommand.summary };
    return starting([...own, completion, { value: 'help', description: 'Explain a command' }]);
  }
  const [first = '', ...more] = rest;
  if (first === 'help') return candidates([...more, typed], features, load);
  if (first === 'completion') return starting(SHELLS.map((shell) => ({ value: shell, description: '' })));
  const command = await load(first);
  const single = command.single ? Object.values(command.verbs)[0] : undefined;
  const inner = splitGlobals(more).rest;
  if (!single && inner.length === 0) {
    if (typed.startsWith('-')) return starting(optionCandidates(GLOBAL_OPTIONS));
    return starting(Object.entries(command.verbs).map(([value, verb]) => ({ value, description: verb.summary })));
  }
  const verb = single ?? command.verbs[inner[0] ?? ''];
  return verb ? verbCandidates(verb, single ? more : inner.slice(1), typed, load, starting) : [];
}

// --- internal ---

type Filter = (list: Candidate[]) => Candidate[];

/** Candidates after `before`, the words that follow the verb. */
function verbCandidates(
  verb: Verb,
  before: readonly string[],
  typed: string,
  load: Load,
  starting: Filter,
): Promise<Candidate[] | 'files'> | Candidate[] | 'files' {
  const options = [...(verb.options ?? []), ...GLOBAL_OPTIONS];
  let position = 0;
  let literal = false;
  let waiting: OptionSpec | undefined;
  for (const word of before) {
    if (waiting) waiting = undefined;
    else if (word === '--' && !literal) literal = true;
    else if (!literal && word.startsWith('-') && word !== '-') {
      const option = options.find((spec) => flagsOf(spec).includes(word));
      if (option && takesValue(option)) waiting = option;
    } else position += 1;
  }
  if (waiting) return valuesOf(waiting, load, starting);
  if (!literal && typed.startsWith('-')) return starting(optionCandidates(options));
  const args = verb.args ?? [];
  const last = args.at(-1);
  const argument = args[position] ?? (last?.variadic ? last : undefined);
  return argument ? valuesOf(argument, load, starting) : [];
}

async function valuesOf(
  spec: { choices?: readonly string[]; complete?: Completion; flags?: string },
  load: Load,
  starting: Filter,
): Promise<Candidate[] | 'files'> {
  if (spec.choices) return starting(spec.choices.map((value) => ({ value, description: '' })));
  if (spec.complete === 'path' || spec.flags?.includes('<dir>')) return 'files';
  return spec.complete ? starting(await namesOf(spec.complete, load)) : [];
}

function optionCandidates(options: readonly OptionSpec[]): Candidate[] {
  return options.map((spec) => ({ value: flagsOf(spec).at(-1) ?? '', description: spec.description }));
}

interface List {
  feature: string;
  name: string;
  id: string;
}

const GROUPS: List = { feature: 'groups', name: 'name', id: 'id' };
const PROJECTS: List = { feature: 'projects', name: 'name', id: 'id' };

/** Where the names of a kind come from: verbs that list them, and the fields that name a row. */
const LISTS: Readonly<Record<Exclude<Completion, 'path'>, readonly List[]>> = {
  group: [GROUPS],
  project: [PROJECTS],
  target: [GROUPS, PROJECTS],
  drive: [{ feature: 'detect', name: 'label', id: 'mount_path' }],
  operation: [{ feature: 'history', name: 'id', id: 'uuid' }],
};

const PLAIN = /^[\p{L}\p{N}_/@.][\p{L}\p{N}_/@.+-]*$/u;

async function namesOf(kind: Exclude<Completion, 'path'>, load: Load): Promise<Candidate[]> {
  const ctx = createContext();
  try {
    const found: Candidate[] = [];
    for (const list of LISTS[kind]) found.push(...(await namesIn(list, load, ctx)));
    return found;
  } finally {
    await ctx.close();
  }
}

async function namesIn({ feature, name, id }: List, load: Load, ctx: Context): Promise<Candidate[]> {
  const output = await (await load(feature)).verbs['list']?.run({ args: {}, options: {} }, ctx, () => {});
  const rows = Array.isArray(output?.json) ? (output.json as Record<string, unknown>[]) : [];
  return rows.flatMap((row) => {
    const value = [row[name], row[id]].map(String).find((text) => PLAIN.test(text));
    const description = String(row[value === String(row[name]) ? 'description' : name] ?? '');
    return value === undefined ? [] : [{ value, description }];
  });
}

function lineOf({ value, description }: Candidate): string {
  return `${value}\t${displayPath(description)}`;
}

/** The package prints a script, so what it prints is caught. */
async function scriptFor(shell: string): Promise<string> {
  const { script } = await import('@bomb.sh/tab');
  const lines: string[] = [];
  const log = console.log;
  console.log = (text: string) => lines.push(text);
  try {
    script(shell, 'tandem', 'tandem');
  } finally {
    console.log = log;
  }
  // bash falls back to file names only when the function was registered so.
  if (shell === 'bash') lines.push('complete -o default -F __tandem_complete tandem');
  return lines.join('\n').trimEnd();
}
