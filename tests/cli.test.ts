import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Candidate, candidates } from '../shared/completion.ts';
import { type Command, defineCommand, VERSION } from '../shared/feature.ts';
import { type CliResult, REPOSITORY, run, sandbox } from './helpers/cli.ts';

const test = suite('cli');
const folder = mkdtempSync(join(tmpdir(), 'tandem-cli-test-'));
const program = join(folder, 'made-up.mts');
const shared = (name: string): string => pathToFileURL(join(REPOSITORY, 'shared', name)).href;
const TSX = ['--import', import.meta.resolve('tsx')];
const ESC = '\u001b';

/** A made-up feature with every kind of option; `echo` gives back what it was given. */
writeFileSync(
  program,
  `import { runCommandLine } from '${shared('cli.ts')}';
import { TandemError } from '${shared('errors.ts')}';
const echo = async (input, ctx) => ({ json: { ...input, force: [...ctx.force], config: ctx.configDir }, text: (paint) => paint('good', JSON.stringify(input.args)) });
const parse = (text) => { if (!/^\\d+$/.test(text)) throw new TandemError('usage', "The number '" + text + "' is none.", { hint: 'Give digits.' }); return Number(text); };
const verbs = {
  list: { summary: 'Lists things.', examples: ['tandem thing list'], run: echo },
  run: {
    summary: 'Runs things.', examples: ['tandem thing run A'],
    args: [{ name: 'target', description: 't' }, { name: 'more', description: 'm', optional: true, variadic: true }],
    options: [
      { flags: '-n, --dry-run', description: 'd' }, { flags: '--limit <n>', description: 'l', parse }, { flags: '--path <p>', description: 'p', repeat: true },
      { flags: '--level <l>', description: 'v', choices: ['none', 'size', 'checksum'], repeat: true }, { flags: '--no-backup', description: 'b' },
      { flags: '--force [guard]', description: 'f', repeat: true, choices: ['deletions', 'empty'] },
    ], run: echo },
  ask: { summary: 'a', examples: ['x'], run: async (_, ctx) => { const yes = await ctx.prompts.confirm('Sure?', '--yes'); return { json: { yes }, text: () => String(yes) }; } },
  fail: { summary: 'f', examples: ['x'], args: [{ name: 'how', description: 'h' }], run: async ({ args }) => {
    if (args.how === 'guard') throw new TandemError('guard', 'Refused.', { hint: 'Look.', guard: 'deletions', details: { count: 3, code: 'forged' } });
    if (args.how === 'late') return await new Promise(() => setTimeout(() => { throw new Error('from a timer'); }, 10));
    throw new Error('plain ' + args.how); } },
  many: { summary: 'm', examples: ['x'], run: async () => ({ json: [], text: () => Array.from({ length: 200000 }, (_, i) => 'line ' + i).join('\\n'), exitCode: 3 }) },
  flow: { summary: 'w', examples: ['x'], run: async (_, ctx, write) => { for (let i = 0; !ctx.signal.aborted; i += 1) { write('line ' + i); await new Promise((done) => setTimeout(done, 5)); } return undefined; } },
  wait: { summary: 'w', examples: ['x'], run: async (_, ctx, write) => {
    if (process.env.OPERATION) ctx.emit({ kind: 'operation_started', operation_id: '1', target: 'A' });
    if (process.env.OPERATION === 'ended') ctx.emit({ kind: 'operation_ended', operation_id: '1', target: 'A', status: 'completed' });
    write('ready'); const timer = setInterval(() => {}, 1000);
    await new Promise((done) => ctx.signal.addEventListener('abort', done)); write('soft');
    if (process.env.STUBBORN) await new Promise(() => {});
    await new Promise((done) => ctx.hardSignal.addEventListener('abort', done)); write('hard'); clearInterval(timer);
    throw new TandemError('cancelled', 'Cancelled.'); } },
};
const single = process.env.SINGLE ? { single: true } : {};
await runCommandLine(['thing', ...process.argv.slice(2)], async () => ({ name: 'thing', summary: 'Things.', verbs: process.env.SINGLE ? { run: verbs.run } : verbs, ...single }));
`,
);
test.after(() => rmSync(folder, { recursive: true, force: true }));

const thing = (args: string[], env: Record<string, string> = {}): Promise<CliResult> =>
  run(args, { program: [...TSX, program], env });

async function inputOf(
  args: string[],
): Promise<{ args: Record<string, unknown>; options: Record<string, unknown>; force: string[]; config: string }> {
  const result = await thing(['--json', ...args]);
  assert.is(result.code, 0, result.stdout + result.stderr);
  return result.json() as Awaited<ReturnType<typeof inputOf>>;
}

function usage(result: CliResult, ...parts: (string | RegExp)[]): void {
  assert.is(result.code, 2, result.stderr);
  assert.is(result.stdout, '');
  assert.match(result.stderr, /^error: .+[.?]\nhint: {2}.+\n$/);
  for (const part of parts) assert.match(result.stderr, part);
}

test('options of every kind arrive as their verb declared them', async () => {
  const { args, options, force } = await inputOf([
    'run',
    'A',
    'b',
    'c',
    '-n',
    '--limit',
    '7',
    '--path',
    'x',
    '--path',
    'y',
    '--no-backup',
    '--force',
  ]);
  assert.equal(args, { target: 'A', more: ['b', 'c'] });
  assert.equal([options['dryRun'], options['limit'], options['path'], options['backup']], [true, 7, ['x', 'y'], false]);
  assert.equal(force, ['all']);
});

test('--force lifts named guards, several, or all', async () => {
  assert.equal((await inputOf(['run', 'A', '--force', 'deletions', '--force', 'empty'])).force, ['deletions', 'empty']);
  assert.equal((await inputOf(['run', 'A', '--force=empty'])).force, ['empty']);
  assert.equal((await inputOf(['run', 'A'])).force, []);
  usage(await thing(['run', '--force', 'Archive']), 'Allowed are deletions, empty');
});

test('global options may stand anywhere, and none is lost', async () => {
  for (const words of [
    ['--config', folder, 'list', '--no-color'],
    [`--config=${folder}`, '--no-color', 'list'],
    ['list', '--no-color', '--config', folder],
  ]) {
    const { options, config } = await inputOf(words);
    assert.is(config, folder);
    assert.is(options['color'], false);
  }
});

test('a mistake is exit 2 with one sentence and a hint', async () => {
  usage(
    await thing(['run', 'A', '--dyr-run']),
    "error: Unknown option '--dyr-run'.",
    'Did you mean --dry-run?',
    '`tandem thing run --help`',
  );
  usage(await thing(['run']), "Missing required argument 'target'.");
  usage(await thing(['list', 'too', 'much']), 'Too many arguments');
  usage(await thing(['lsit']), "has no verb 'lsit'", "Did you mean 'list'?");
  usage(await thing([]), 'needs a verb', 'list, run');
  usage(await thing(['constructor']), "has no verb 'constructor'");
  usage(await thing(['--dry-run', 'run', 'A']), 'stands before the verb');
  usage(await thing(['run', 'A', '--level', 'chcksum']), 'Allowed are none, size, checksum', 'Did you mean checksum?');
  usage(await thing(['run', 'A', '--limit', 'x']), "The number 'x' is none.", 'Give digits.');
  usage(await thing(['run', 'A', '--limit']), 'argument missing');
  usage(await thing(['--progress', 'loud', 'list']), 'Allowed are auto');
});

test('a hostile word cannot drive the terminal', async () => {
  for (const args of [['run', 'A', `--${ESC}[31m\nhint: run rm`], [`${ESC}]0;x`], ['fail', `${ESC}[2J\r\u202e`]]) {
    const { stderr } = await thing(args);
    assert.not.match(stderr, ESC);
    assert.not.match(stderr, /[\r\u202e]/);
    assert.is(stderr.trimEnd().split('\n').length, 2);
  }
});

test('after -- a word is no option', async () => {
  assert.equal((await inputOf(['run', '--', '--json'])).args['target'], '--json');
  const result = await thing(['run', '--', 'A', '--json']);
  assert.is(result.stdout, '{"target":"A","more":["--json"]}\n');
});

test('help is on every level, examples first, exit 0 on stdout', async () => {
  for (const args of [['--help'], ['-h'], ['help'], ['run', '--help'], ['help', 'run'], ['run', '-h', '--nonsense']]) {
    const { code, stdout, stderr } = await thing(args);
    assert.equal([code, stderr], [0, ''], args.join(' '));
    assert.match(stdout, /^Examples:\n {2}tandem thing/);
    assert.match(stdout, /Usage: tandem thing/);
  }
  const { stdout } = await thing(['run', '--help']);
  assert.match(stdout, /--dry-run/);
  assert.match(stdout, /Global options:[\s\S]*--json/);
});

test('a single verb needs no name', async () => {
  const result = await thing(['A', '--json', '-n'], { SINGLE: '1' });
  assert.equal((result.json() as { args: unknown }).args, { target: 'A', more: [] });
  assert.match((await thing(['--help'], { SINGLE: '1' })).stdout, /Usage: tandem thing \[options\]/);
  usage(await thing([], { SINGLE: '1' }), 'Missing required argument');
});

test('errors have one shape in JSON, and details cannot forge it', async () => {
  const guard = await thing(['--json', 'fail', 'guard']);
  assert.equal([guard.code, guard.stderr], [6, '']);
  assert.equal(guard.json(), {
    error: { count: 3, code: 'guard', message: 'Refused.', hint: 'Look.', guard: 'deletions' },
  });
  const plain = await thing(['fail', 'x', '--json']);
  assert.is(plain.code, 1);
  assert.match((plain.json() as { error: { hint: string } }).error.hint, 'TANDEM_DEBUG=1');
  const wrong = await thing(['run', '--json']);
  assert.equal([wrong.code, (wrong.json() as { error: { code: string } }).error.code], [2, 'usage']);
});

test('an unexpected error is a sentence, its stack is shown on request only', async () => {
  const { code, stderr } = await thing(['fail', 'boom']);
  assert.equal([code, stderr], [1, 'error: plain boom\nhint:  Set TANDEM_DEBUG=1 to see where it happened.\n']);
  assert.match((await thing(['fail', 'boom'], { TANDEM_DEBUG: '1' })).stderr, /\n {4}at /);
  const late = await thing(['fail', 'late']);
  assert.equal([late.code, late.stderr.split('\n')[0]], [1, 'error: from a timer']);
});

test('questions without a terminal name the flag; --yes answers; -q is silent', async () => {
  usage(await thing(['ask']), 'no terminal to ask on: Sure?', '--yes');
  assert.is((await thing(['ask', '--yes'])).stdout, 'true\n');
  assert.equal((await thing(['-y', 'ask', '--json'])).json(), { yes: true });
  assert.is((await thing(['-q', 'list'])).stdout, '');
  assert.is((await thing(['-q', 'list', '--json'])).stdout.length > 0, true);
});

test('a reader that goes away is no error, and ends what would go on for ever', async () => {
  const shell = (verb: string): ReturnType<typeof spawnSync> =>
    spawnSync(
      'bash',
      ['-c', `set -o pipefail; node "$@" ${verb} | head -1; echo "codes \${PIPESTATUS[*]}"`, 'x', ...TSX, program],
      { encoding: 'utf8', timeout: 30_000 },
    );
  const many = shell('many');
  assert.equal([many.stdout, many.stderr], ['line 0\ncodes 3 0\n', '']);
  const flow = shell('flow');
  assert.equal([flow.stdout, flow.stderr], ['line 0\ncodes 0 0\n', '']);
});

test('a full disk below stdout is an error', () => {
  if (!existsSync('/dev/full')) return assert.ok(process.platform !== 'linux');
  const { status, stderr } = spawnSync('bash', ['-c', 'node "$@" many > /dev/full', 'x', ...TSX, program], {
    encoding: 'utf8',
  });
  assert.is(status, 1);
  assert.match(stderr, /^error: .*ENOSPC/);
});

async function interrupt(
  times: number,
  env: Record<string, string> = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [...TSX, program, 'wait'], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  let sent = 0;
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    if (sent === 0 || (sent === 1 && stdout.includes('soft'))) {
      for (let more = sent === 0 ? 1 : times - 1; more > 0; more -= 1)
        setTimeout(() => child.kill('SIGINT'), more * 50);
      sent += 1;
    }
  });
  const code = await new Promise<number | null>((done) => child.on('close', done));
  clearTimeout(timer);
  return { code, stdout, stderr };
}

test('Ctrl-C is heard softly, then hard, and the third always ends the process', async () => {
  const hard = await interrupt(2);
  assert.equal([hard.code, hard.stdout], [130, 'ready\nsoft\nhard\n']);
  const stubborn = await interrupt(3, { STUBBORN: '1' });
  assert.equal([stubborn.code, stubborn.stdout], [130, 'ready\nsoft\n']);
});

test('Ctrl-C speaks of files in flight only while an operation runs', async () => {
  assert.match((await interrupt(2, { OPERATION: 'running' })).stderr, 'files in flight are finished');
  assert.not.match((await interrupt(2, { OPERATION: 'ended' })).stderr, 'files in flight');
  assert.not.match((await interrupt(2)).stderr, 'files in flight');
});

test('colours only on a terminal, and never against NO_COLOR or --no-color', () => {
  const onTerminal = (words: string, env: Record<string, string>): string =>
    spawnSync('script', ['-qec', `node ${TSX.join(' ')} ${program} list ${words}`, '/dev/null'], {
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '', TERM: 'xterm', ...env },
    }).stdout;
  assert.match(onTerminal('', {}), `${ESC}[32m`);
  assert.not.match(onTerminal('--no-color', {}), ESC);
  assert.not.match(onTerminal('', { NO_COLOR: '1' }), ESC);
  assert.not.match(onTerminal('', { TERM: 'dumb' }), ESC);
});

test('tandem tells its version and its commands', async () => {
  assert.is((await run(['--version'])).stdout, `${VERSION}\n`);
  assert.is(JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')).version, VERSION);
  const help = await run(['--help']);
  assert.is(help.code, 0);
  for (const word of ['detect', 'groups', 'sync', 'history', 'status', 'doctor', 'demo', 'completion'])
    assert.match(help.stdout, word);
  assert.is((await run(['help'])).stdout, help.stdout);
  assert.is((await run(['--json', '--help'])).stdout, help.stdout);
  usage(await run(['grups', 'list']), "no command 'tandem grups'", "Did you mean 'groups'?");
  usage(await run(['constructor']), "no command 'tandem constructor'");
  usage(await run(['--nonsense', 'groups']), "'--nonsense' stands before the command");
});

test('each feature is named in the overview as it names itself, and all its verbs can be parsed', async () => {
  const overview = (await run(['--help'])).stdout;
  const main = readFileSync(join(REPOSITORY, 'tui', 'main.ts'), 'utf8');
  for (const name of [...main.matchAll(/import\('\.\.\/features\/(\w+)\.ts'\)/g)].map((match) => match[1] ?? '')) {
    const { command } = (await import(join(REPOSITORY, 'features', `${name}.ts`))) as { command: Command };
    assert.is(command.name, name);
    assert.match(overview, `${name.padEnd(10)}  ${command.summary}`);
    for (const [verb, { examples }] of Object.entries(command.verbs)) {
      assert.ok(examples.length > 0, `${name} ${verb} has examples`);
      const words = command.single ? [name, '--help'] : [name, verb, '--help'];
      const { code, stdout } = await run(words);
      assert.equal([code, stdout.startsWith('Examples:\n')], [0, true], words.join(' '));
    }
  }
});

test('global options stand before the feature, through a link and from anywhere', async () => {
  const box = sandbox();
  try {
    const link = join(folder, 'tandem-link');
    symlinkSync(join(REPOSITORY, 'tui', 'tandem.mjs'), link);
    const drives = (await box.run(['--json', '--no-color', 'detect', 'list'], { program: [link] })).json() as {
      label: string;
    }[];
    assert.equal(drives.filter(({ label }) => /^(MASTER|BACKUP)$/.test(label)).length, 2);
  } finally {
    box.cleanup();
  }
});

test('a bundle runs only while it is what the sources are', async () => {
  const copy = mkdtempSync(join(tmpdir(), 'tandem-copy-'));
  try {
    for (const name of ['features', 'shared', 'tui', 'config', 'package.json']) {
      cpSync(join(REPOSITORY, name), join(copy, name), { recursive: true });
    }
    symlinkSync(join(REPOSITORY, 'node_modules'), join(copy, 'node_modules'));
    const built = spawnSync(process.execPath, [join(copy, 'tui', 'build.mjs')], { encoding: 'utf8', cwd: '/' });
    assert.equal([built.status, built.stderr], [0, '']);
    const program = [join(copy, 'tui', 'tandem.mjs')];
    const main = join(copy, 'dist', 'main.js');
    writeFileSync(main, `process.stdout.write('bundle ');${readFileSync(main, 'utf8')}`);
    const version = async (): Promise<string> => {
      const { stdout, stderr } = await run(['--version'], { program });
      assert.is(stderr, '');
      return stdout.trim();
    };
    assert.is(await version(), `bundle ${VERSION}`);
    const source = join(copy, 'shared', 'feature.ts');
    utimesSync(source, new Date(), new Date());
    assert.is(await version(), `bundle ${VERSION}`, 'the same content at another time');
    const text = readFileSync(source, 'utf8');
    writeFileSync(source, text.replace(`'${VERSION}'`, "'9.9.9'"));
    assert.is(await version(), '9.9.9', 'another content of the same size');
    writeFileSync(source, text);
    assert.is(await version(), `bundle ${VERSION}`);
    writeFileSync(source, `${text}\n`);
    assert.is(await version(), VERSION, 'another size');
    writeFileSync(source, text);
    rmSync(join(copy, 'features', 'demo.ts'));
    assert.is(await version(), VERSION, 'an input is gone');
    writeFileSync(join(copy, 'dist', 'inputs.json'), '[{');
    assert.is(await version(), VERSION, 'a damaged list');
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
});

const features = [
  { name: 'groups', summary: 'pairs' },
  { name: 'history', summary: 'past' },
];
const rows = [
  { id: 'aaaa1111', name: 'Archive', description: 'main' },
  { id: 'bbbb2222', name: '$(touch pwned)', description: `${ESC}[31m` },
  { id: '`x`', name: 'a b', description: '' },
];
const listed = defineCommand({
  name: 'groups',
  summary: 'pairs',
  verbs: {
    list: { summary: 'all', examples: ['x'], run: async () => ({ json: rows, text: () => '' }) },
    show: {
      summary: 'one',
      examples: ['x'],
      args: [
        { name: 'group', description: 'g', complete: 'group' },
        { name: 'file', description: 'f', complete: 'path' },
      ],
      options: [
        { flags: '-f, --format <kind>', description: 'k', choices: ['csv', 'json'] },
        { flags: '--from <g>', description: 'k', complete: 'group' },
      ],
      run: async () => undefined,
    },
  },
});

test('completion knows features, verbs, options, choices and names', async () => {
  const at = async (...words: string[]): Promise<string[] | string> => {
    const found = await candidates(words, features, async () => listed);
    return found === 'files' ? found : found.map(({ value }: Candidate) => value);
  };
  assert.equal(await at('gr'), ['groups']);
  assert.equal(await at('--json', ''), ['groups', 'history', 'completion', 'help']);
  assert.equal(await at('groups', ''), ['list', 'show']);
  assert.equal(await at('help', 'groups', 's'), ['show']);
  assert.equal(
    await at('groups', 'show', ''),
    ['Archive', 'bbbb2222'],
    'names that a shell would expand are offered by id or not at all',
  );
  assert.equal(await at('groups', 'show', 'Archive', ''), 'files');
  assert.equal(await at('groups', 'show', '--format', ''), ['csv', 'json']);
  assert.equal(await at('groups', 'show', '--format', 'csv', 'A'), ['Archive']);
  assert.equal(await at('groups', '--json', 'show', '--fr'), ['--from']);
  assert.equal(await at('groups', 'show', '--from', 'Ar'), ['Archive']);
  assert.equal(await at('groups', 'show', '--', '--fr'), []);
  assert.equal(await at('--progress', 'p'), ['plain']);
  assert.is(await at('--config', ''), 'files');
  assert.equal(await at('completion', ''), ['bash', 'zsh', 'fish']);
  assert.equal(await at('groups', 'nonsense', ''), []);
});

test('the shells get a script, and the scripts an answer', async () => {
  const bash = await run(['completion', 'bash']);
  assert.is(bash.code, 0);
  assert.is(spawnSync('bash', ['-n'], { input: bash.stdout, encoding: 'utf8' }).stderr, '');
  for (const shell of ['zsh', 'fish']) assert.match((await run(['completion', shell])).stdout, 'tandem complete --');
  usage(await run(['completion', 'tcsh']), "no completion for the shell 'tcsh'");
  usage(await run(['completion']), "Missing required argument 'shell'");
  assert.match((await run(['complete', '--', 'det'])).stdout, /^detect\t.+\n:4\n$/);
  assert.is((await run(['complete', '--', 'nonsense', 'x', ''])).stdout, ':4\n');
});

test.run();
