/** What README and docs/ say is so: links, commands and their options, tables of options, exit codes, formats, layers. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { flagsOf, GLOBAL_OPTIONS, takesValue } from '../shared/cli.ts';
import { completionCommand } from '../shared/completion.ts';
import { EXIT } from '../shared/errors.ts';
import type { Command, OptionSpec, Verb } from '../shared/feature.ts';
import { OPTIONS, optionChange, PRESETS, showValue } from '../shared/options.ts';
import { MIGRATIONS } from '../shared/schema.ts';
import { command as dashboardCommand } from '../tui/dashboard.ts';
import { REPOSITORY, type Sandbox, sandbox } from './helpers/cli.ts';
import { world } from './helpers/world.ts';

const test = suite('docs');

/** Markdown files by their path from the repository's root. */
const DOCS = new Map(
  [
    'README.md',
    ...readdirSync(join(REPOSITORY, 'docs'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md'))
      .map((name) => `docs/${name}`),
  ].map((path) => [path, readFileSync(join(REPOSITORY, path), 'utf8')]),
);

const doc = (path: string): string => DOCS.get(path) ?? '';

// --- Markdown ---

const withoutCode = (text: string): string => text.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '');
const codeBlocks = (text: string): string[] =>
  [...text.matchAll(/^```\w*\n([\s\S]*?)^```/gm)].map(([, code]) => code ?? '');
const codeSpans = (text: string): string[] =>
  [...text.replace(/^```[\s\S]*?^```/gm, '').matchAll(/`([^`]+)`/g)].map(([, code]) =>
    (code ?? '').replace(/\s+/g, ' '),
  );

/** As GitHub makes anchors of headings. */
const anchorsOf = (text: string): string[] =>
  [...text.replace(/^```[\s\S]*?^```/gm, '').matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    (title ?? '')
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

/** Rows below the first table with this head, cells without their backticks at the ends. */
function table(text: string, head: string): string[][] {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => line.replace(/ +/g, ' ') === head);
  assert.ok(start >= 0, `there is a table ${head}`);
  const end = lines.findIndex((line, index) => index > start && !line.startsWith('|'));
  return lines.slice(start + 2, end < 0 ? undefined : end).map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const plain = (cell: string | undefined): string => (cell ?? '').replace(/^`(.*)`$/, '$1');
const wordsIn = (cell: string | undefined): string[] =>
  [...(cell ?? '').matchAll(/`([^`]+)`/g)].map(([, word]) => word ?? '');

/** `[text](target)` outside of code: what is wrong with the targets. */
function brokenLinks(path: string, text: string): string[] {
  return [...withoutCode(text).matchAll(/\[[^\]]*\]\(([^)\s]+)\)/g)].flatMap(([, link = '']) => {
    if (/^[a-z]+:/.test(link)) return [];
    const [file = '', anchor] = link.split('#');
    const target = file === '' ? path : relative(REPOSITORY, resolve(REPOSITORY, dirname(path), file));
    const full = join(REPOSITORY, target);
    if (!existsSync(full)) return [`${path}: ${link}: there is no ${target}`];
    if (anchor === undefined || statSync(full).isDirectory()) return [];
    return anchorsOf(readFileSync(full, 'utf8')).includes(anchor) ? [] : [`${path}: ${link}: there is no such heading`];
  });
}

test('every relative link and anchor resolves', () => {
  const links = [...DOCS].flatMap(([, text]) => [...withoutCode(text).matchAll(/\]\(/g)]);
  assert.ok(links.length > 40, `${links.length} links`);
  assert.equal(
    [...DOCS].flatMap(([path, text]) => brokenLinks(path, text)),
    [],
  );
  assert.is(
    brokenLinks('docs/guide.md', '[a](nothing.md) [b](safety.md#nothing) [c](safety.md#promises) [d](#sync)').length,
    2,
  );
});

test('every page is reached from the README', () => {
  const seen = new Set(['README.md']);
  for (const path of seen) {
    for (const [, link = ''] of withoutCode(doc(path)).matchAll(/\]\(([^)\s#]+)[^)]*\)/g)) {
      const target = relative(REPOSITORY, resolve(REPOSITORY, dirname(path), link));
      if (DOCS.has(target)) seen.add(target);
    }
  }
  assert.equal(
    [...DOCS.keys()].filter((path) => !seen.has(path)),
    [],
  );
});

// --- commands ---

async function loadCommands(): Promise<Map<string, Command>> {
  const commands = new Map<string, Command>([
    ['completion', completionCommand],
    ['dashboard', dashboardCommand],
  ]);
  for (const name of readdirSync(join(REPOSITORY, 'features'))) {
    const { command } = (await import(join(REPOSITORY, 'features', name))) as { command?: Command };
    if (command) commands.set(command.name, command);
  }
  return commands;
}

/** The words of a shell command up to its end: a pipe, a redirection, a bracket, a comment. */
function shellWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (const [part, double, single, blank, end] of text.matchAll(
    /"([^"]*)"|'([^']*)'|(\s+)|([|>;&)#])|[^\s"'|>;&)#]+/g,
  )) {
    if (end !== undefined && (end !== '#' || word === undefined)) break;
    if (blank !== undefined) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? '') + (double ?? single ?? part);
  }
  return word === undefined ? words : [...words, word];
}

/** Every `tandem …` that a page tells people to type. */
function commandsIn(text: string): string[] {
  const lines = codeBlocks(text).flatMap((code) => code.split('\n'));
  const typed = lines.flatMap((line) =>
    [...line.matchAll(/(?:^(?:\$ )?|[$<]\()tandem(?: (.*))?$/g)].map(([, words]) => words ?? ''),
  );
  const spans = codeSpans(text).flatMap((span) =>
    /^tandem [^…]/.test(span) && !span.includes('…') ? [span.slice(7)] : [],
  );
  return [...typed, ...spans];
}

function complaint(words: readonly string[], commands: ReadonlyMap<string, Command>): string | undefined {
  const [feature = 'status', ...rest] = words;
  if (feature === 'help' || feature.startsWith('--')) return undefined;
  const command = commands.get(feature);
  if (!command) return `there is no command ${feature}`;
  const verb = command.single ? Object.values(command.verbs)[0] : command.verbs[rest.shift() ?? ''];
  return verb ? verbComplaint(verb, rest) : `${feature} has no such verb`;
}

function verbComplaint(verb: Verb, words: readonly string[]): string | undefined {
  const specs: readonly OptionSpec[] = [...(verb.options ?? []), ...GLOBAL_OPTIONS];
  const values: string[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const [flag = '', given] = (words[at] ?? '').split(/=(.*)/s);
    if (flag === '--help') continue;
    if (!flag.startsWith('-')) {
      values.push(words[at] ?? '');
      continue;
    }
    const spec = specs.find((one) => flagsOf(one).includes(flag));
    if (!spec) return `there is no option ${flag}`;
    const optional = /\[.+\]/.test(spec.flags) && words[at + 1]?.startsWith('-') === false;
    const separate = given === undefined && (takesValue(spec) || optional);
    if (separate) at += 1;
    const value = separate ? words[at] : given;
    if (takesValue(spec) && value === undefined) return `${flag} needs a value`;
    if (spec.choices && value !== undefined && !spec.choices.includes(value)) return `${flag} does not take ${value}`;
    if (spec.parse && value !== undefined && !/^[A-Z]+$/.test(value)) spec.parse(value);
  }
  const args = verb.args ?? [];
  const least = args.filter(({ optional }) => !optional).length;
  if (values.length < least) return `needs ${least} arguments`;
  if (values.length > args.length && !args.at(-1)?.variadic) return `takes ${args.length} arguments`;
  if (args.at(-1)?.name === 'assignment') for (const value of values.slice(1)) optionChange([value], undefined);
  return undefined;
}

test('every command in the docs exists, with its verb, options, values and number of arguments', async () => {
  const commands = await loadCommands();
  const wrong: string[] = [];
  let count = 0;
  for (const [path, text] of DOCS) {
    for (const line of commandsIn(text)) {
      count += 1;
      const why = complaint(shellWords(line), commands);
      if (why !== undefined) wrong.push(`${path}: tandem ${line}: ${why}`);
    }
  }
  assert.equal(wrong, []);
  assert.ok(count > 120, `${count} commands were looked at`);
});

test('a wrong command in the docs is found', async () => {
  const commands = await loadCommands();
  const lines = commandsIn(
    '```sh\ncd "$(tandem groups reslove A)"\n$ tandem sync run A --dyr-run\n```\n`tandem undo 3`',
  );
  assert.equal(
    lines.map((line) => complaint(shellWords(line), commands)),
    ['groups has no such verb', 'there is no option --dyr-run', 'there is no command undo'],
  );
  const wrong = [
    'groups create a b',
    'groups show',
    'sync run A --verify deep',
    'sync run A --path',
    'history export --format xml',
  ];
  for (const line of wrong) assert.ok(complaint(shellWords(line), commands), line);
  assert.throws(() => complaint(shellWords('groups set A verify=size'), commands));
  assert.is(complaint(shellWords("sync run A --exclude '*.tmp' # all | of it"), commands), undefined);
});

test('every option, verb and option of a group that the text names exists', async () => {
  const commands = await loadCommands();
  const verbs = [...commands.values()].flatMap(({ verbs: all }) => Object.values(all));
  const flags = new Set([...GLOBAL_OPTIONS, ...verbs.flatMap(({ options }) => options ?? [])].flatMap(flagsOf));
  const wrong: string[] = [];
  for (const [path, text] of DOCS) {
    for (const span of codeSpans(text)) {
      const flag = /^(--[a-z-]+)( |$)/.exec(span)?.[1];
      if (flag !== undefined && !flags.has(flag)) wrong.push(`${path}: ${span}`);
      if (/^[a-z_.]+=\w+$/.test(span)) {
        const key = span.split('=')[0] ?? '';
        if (!(key in OPTIONS)) wrong.push(`${path}: ${span}`);
        else optionChange([span], undefined);
      }
    }
  }
  assert.equal(wrong, []);
});

// --- tables ---

test('the table of exit codes is EXIT', () => {
  const rows = table(doc('docs/guide.md'), '| Code | Name | Meaning |');
  assert.equal(Object.fromEntries(rows.map(([code, name]) => [plain(name), Number(code)])), { ...EXIT });
});

test('the table of options is that of the code: keys, defaults, values, flags', async () => {
  const rows = table(doc('docs/guide.md'), '| Key | Default | Must be | Flag |');
  const stated = rows.map(([key, fallback, takes]) => [plain(key), plain(fallback), takes]);
  const built = Object.entries(OPTIONS).map(([key, { fallback, takes }]) => [key, showValue(fallback), takes]);
  assert.equal(stated, built);
  const run = (await loadCommands()).get('sync')?.verbs['run'];
  const flags = (run?.options ?? []).flatMap(flagsOf);
  for (const [key, , , flag] of rows) {
    const [word] = wordsIn(flag);
    if (word !== undefined) assert.ok(flags.includes(word.split(' ')[0] ?? ''), `${key}: ${word}`);
  }
});

test('the table of presets is that of the code', () => {
  const rows = table(doc('docs/guide.md'), '| Preset | For | Sets |');
  const built = Object.entries(PRESETS).map(([name, { values }]) => [
    name,
    Object.entries(values)
      .map(([key, value]) => `${key}=${showValue(value)}`)
      .join(' '),
  ]);
  assert.equal(
    rows.map(([name, , sets]) => [plain(name), plain(sets)]),
    built,
  );
});

test('the defaults of app.yaml are those of the file', () => {
  const rows = table(doc('docs/formats.md'), '| Field | Default | Meaning |');
  const file: unknown = parse(readFileSync(join(REPOSITORY, 'config', 'app.yaml'), 'utf8'));
  const flat = (value: unknown, path = ''): [string, string][] =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.entries(value).flatMap(([key, one]) => flat(one, path === '' ? key : `${path}.${key}`))
      : [[path, Array.isArray(value) ? JSON.stringify(value) : String(value)]];
  assert.equal(
    rows.map(([field, fallback]) => [plain(field), plain(fallback)]),
    flat(file),
  );
});

test('the tables of the database are those of the schema', () => {
  const rows = table(doc('docs/formats.md'), '| Table | Columns |');
  const built = MIGRATIONS.flat().flatMap((sql) => {
    const [, name, body = ''] = /^CREATE TABLE (\w+) \(([\s\S]*)\)/.exec(sql) ?? [];
    const columns = body.split('\n').flatMap((line) => /^\s+([a-z_]+) [A-Z]/.exec(line)?.[1] ?? []);
    return name === undefined ? [] : [[name, ...columns]];
  });
  for (const sql of MIGRATIONS.flat()) {
    const [, name, column] = /^ALTER TABLE (\w+) ADD COLUMN (\w+)/.exec(sql) ?? [];
    built.find(([table]) => table === name)?.push(column ?? '');
  }
  assert.is(built.length, rows.length);
  assert.equal(
    rows.map(([name, columns]) => [plain(name), ...wordsIn(columns)]),
    built,
  );
});

async function practised(work: (box: Sandbox) => Promise<void>): Promise<void> {
  const box = sandbox();
  try {
    world({ 'a.txt': 'one', 'b/c.txt': 'two' }, box.master);
    world({ 'a.txt': 'other' }, box.backup);
    const { code, stderr } = await box.run(['groups', 'create', 'GROUP', '--master', 'MASTER', '--backup', 'BACKUP']);
    assert.is(code, 0, stderr);
    assert.is((await box.run(['projects', 'create', 'P', '--path', 'Projects/P', '--group', 'GROUP'])).code, 0);
    assert.is((await box.run(['schedule', 'add', 'nightly', 'GROUP', '--preset', 'daily'])).code, 0);
    await work(box);
  } finally {
    box.cleanup();
  }
}

test('the documents that commands print have no field that the formats page lacks', () =>
  practised(async (box) => {
    const page = doc('docs/formats.md');
    const keysOf = async (line: string): Promise<string[]> => {
      const { stdout } = await box.run(shellWords(line), { env: { TANDEM_PASSWORD: 'practice' } });
      const document = JSON.parse(stdout) as object | object[];
      const first = Array.isArray(document) ? document[0] : document;
      const { actions, checks, operations } = first as Record<string, object[] | undefined>;
      const inner = [actions, checks, line.startsWith('history') ? operations : undefined].flatMap(
        (list) => list ?? [],
      );
      return [first, ...inner].flatMap((one) => Object.keys(one ?? {}));
    };
    const plan = [...table(page, '| Field | Meaning |'), ...table(page, '| Field of an action | Meaning |')];
    const planFields = page.slice(page.indexOf('### Plan'), page.indexOf('### Others'));
    assert.ok(plan.length > 10);
    for (const key of await keysOf('sync plan GROUP --json')) assert.ok(planFields.includes(`\`${key}\``), key);
    for (const [command, fields] of table(page, '| Command | Document |')) {
      const keys = await keysOf(plain(command).replace(/^tandem /, ''));
      assert.ok(keys.length > 0, command);
      assert.equal(
        keys.filter((key) => !wordsIn(fields).includes(key)),
        [],
        command,
      );
    }
    const exported = page.slice(page.indexOf('### Exports'), page.indexOf('### Events'));
    for (const key of await keysOf('history export --format json')) assert.ok(exported.includes(`\`${key}\``), key);
    const csv = (await box.run(['history', 'export', '--format', 'csv'])).stdout.split('\n')[0] ?? '';
    assert.ok(exported.includes(csv), csv);
    const signature = JSON.parse(readFileSync(join(box.master, '.tandem', 'drive.json'), 'utf8')) as Record<
      string,
      object
    >;
    const signed = page.slice(page.indexOf('### drive.json'), page.indexOf('## Database'));
    for (const key of [...Object.keys(signature), ...Object.keys(signature['traits'] ?? {})])
      assert.ok(signed.includes(`\`${key}\``), key);
  }));

// --- layers ---

test('docs/architecture.md names every feature with what it imports, and every file of the kernel', () => {
  const page = doc('docs/architecture.md');
  const rows = table(page, '| Feature | What it is | Imports |').map(
    ([name, , imports]) => [plain(name), imports ?? ''] as const,
  );
  const files = readdirSync(join(REPOSITORY, 'features')).map((name) => name.replace(/\.ts$/, ''));
  assert.equal(rows.map(([name]) => name).sort(), files.sort());
  for (const [name, imports] of rows) {
    const source = readFileSync(join(REPOSITORY, 'features', `${name}.ts`), 'utf8');
    const used = new Set([...source.matchAll(/from '\.\/(\w+)\.ts'/g)].map(([, feature]) => feature ?? ''));
    if (imports !== 'all') assert.equal([...used].sort(), wordsIn(imports).sort(), name);
  }
  const kernel = table(page, '| File | What it holds |').flatMap(([cell]) => wordsIn(cell));
  const shared = readdirSync(join(REPOSITORY, 'shared')).filter((name) => name.endsWith('.ts'));
  assert.equal(kernel.sort(), shared.sort());
  const dashboard = table(page, '| Where | What it holds |').flatMap(([cell]) => wordsIn(cell));
  const tui = readdirSync(join(REPOSITORY, 'tui')).filter((name) => name.endsWith('.ts') && name !== 'main.ts');
  assert.equal(dashboard.sort(), [...tui, 'reads/', 'screens/'].sort());
});

test('nothing in the docs belongs to one machine', () => {
  for (const [path, text] of DOCS) {
    const found = /(?:^|[\s`"'(])\/(?:tmp|root|home|work|Users|var)\b[^\s`]*/.exec(text)?.[0];
    assert.is(found, undefined, path);
    assert.not.ok(text.includes(REPOSITORY.replace(/\/$/, '')), path);
  }
});

test.run();
