import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { REPOSITORY } from './helpers/cli.ts';

const test = suite('architecture');

/** docs/architecture.md holds the same table: which features a feature may import. */
const MAY_IMPORT: Readonly<Record<string, readonly string[] | 'any'>> = {
  detect: ['virtual'],
  virtual: [],
  uses: [],
  history: [],
  channels: [],
  notify: ['channels'],
  sides: [],
  reconcile: ['sides'],
  colliding: ['history', 'reconcile'],
  evidence: ['reconcile', 'session', 'storing'],
  pairs: ['detect'],
  handover: ['detect', 'pairs'],
  wizard: ['detect', 'pairs'],
  groups: ['detect', 'handover', 'pairs', 'uses', 'wizard'],
  encrypt: ['groups', 'keyring', 'slots'],
  keyring: ['detect', 'groups', 'pairs'],
  slots: ['groups', 'keyring'],
  catalog: ['detect', 'groups', 'pairs'],
  targets: ['catalog', 'groups'],
  enrol: ['catalog', 'detect', 'groups', 'pairs', 'targets'],
  projects: ['catalog', 'detect', 'enrol', 'groups', 'pairs', 'targets'],
  rings: ['detect', 'groups', 'keyring', 'pairs', 'slots'],
  orphans: ['catalog', 'groups'],
  parts: ['history', 'targets'],
  storing: ['keyring', 'session'],
  placing: ['reconcile', 'session', 'storing'],
  meanings: ['history', 'session', 'storing'],
  difference: ['session', 'storing'],
  resolution: ['detect', 'plan', 'reconcile', 'session', 'storing'],
  settle: ['groups', 'history', 'plan', 'reconcile', 'resolution', 'run', 'session', 'storing', 'targets', 'travel'],
  conflicts: ['difference', 'groups', 'history', 'parts', 'resolution', 'run', 'session', 'settle', 'targets'],
  session: ['detect', 'groups', 'pairs'],
  travel: ['detect', 'history', 'pairs', 'session'],
  survey: ['detect', 'history', 'reconcile', 'session'],
  moves: ['reconcile'],
  guards: ['history', 'reconcile', 'session', 'survey'],
  plan: [
    'colliding',
    'detect',
    'evidence',
    'groups',
    'guards',
    'history',
    'moves',
    'pairs',
    'reconcile',
    'session',
    'storing',
    'survey',
    'targets',
    'waiting',
  ],
  bulk: ['reconcile'],
  steering: ['history'],
  control: ['history', 'steering'],
  arrange: ['history', 'reconcile', 'session'],
  finish: ['history', 'placing', 'plan', 'reconcile', 'record'],
  queue: ['history', 'reconcile'],
  apply: [
    'queue',
    'arrange',
    'bulk',
    'colliding',
    'control',
    'finish',
    'history',
    'placing',
    'plan',
    'reconcile',
    'session',
    'record',
  ],
  run: [
    'detect',
    'groups',
    'guards',
    'history',
    'storing',
    'reconcile',
    'session',
    'plan',
    'apply',
    'steering',
    'targets',
    'travel',
    'manifests',
    'brought',
  ],
  refill: ['detect', 'groups', 'history', 'plan', 'run', 'session', 'guards', 'targets'],
  record: ['history', 'session'],
  manifests: ['history', 'session'],
  saved: [],
  sync: [
    'background',
    'telling',
    'saved',
    'detect',
    'refill',
    'groups',
    'guards',
    'catalog',
    'parts',
    'steering',
    'targets',
    'history',
    'encrypt',
    'settle',
    'storing',
    'notify',
    'reconcile',
    'session',
    'travel',
    'plan',
    'apply',
    'run',
    'manifests',
  ],
  retrace: ['history', 'manifests', 'meanings', 'session'],
  undo: [
    'control',
    'groups',
    'history',
    'manifests',
    'meanings',
    'origin',
    'parts',
    'retrace',
    'run',
    'session',
    'targets',
  ],
  origin: ['detect', 'groups', 'history', 'manifests', 'meanings', 'session'],
  recall: ['history', 'origin', 'plan', 'reconcile', 'session', 'storing', 'targets'],
  restore: [
    'guards',
    'groups',
    'history',
    'manifests',
    'origin',
    'plan',
    'recall',
    'run',
    'session',
    'undo',
    'detect',
    'targets',
    'parts',
    'encrypt',
    'sync',
  ],
  verify: [
    'detect',
    'groups',
    'history',
    'encrypt',
    'pairs',
    'parts',
    'run',
    'scrub',
    'inspect',
    'manifest',
    'targets',
  ],
  scrub: ['detect', 'groups', 'history', 'pairs', 'session'],
  heal: ['history', 'session'],
  touched: [
    'guards',
    'history',
    'manifests',
    'plan',
    'reconcile',
    'run',
    'session',
    'settle',
    'storing',
    'targets',
    'travel',
  ],
  watcher: ['detect', 'run', 'session', 'targets', 'touched'],
  watch: ['run', 'targets', 'telling', 'watcher'],
  supervisor: ['detect', 'targets', 'telling', 'watch'],
  metrics: ['detect', 'history', 'schedule'],
  unit: [],
  log: [],
  settings: [],
  background: ['history', 'targets'],
  telling: ['notify', 'run', 'targets'],
  inspect: [
    'control',
    'groups',
    'heal',
    'history',
    'pairs',
    'run',
    'scrub',
    'session',
    'targets',
    'parts',
    'keyring',
    'storing',
  ],
  manifest: ['generation', 'groups', 'history', 'scrub', 'session', 'keyring', 'storing'],
  generation: ['session'],
  brought: ['generation', 'history', 'reconcile', 'session'],
  timetable: ['catalog', 'groups', 'targets'],
  job: ['detect', 'groups', 'pairs', 'sync', 'targets', 'telling', 'timetable', 'verify'],
  scheduler: ['detect', 'groups', 'job', 'notify', 'parts', 'targets', 'telling', 'timetable'],
  schedule: ['job', 'scheduler', 'timetable'],
  daemon: ['detect', 'history', 'metrics', 'notify', 'schedule', 'supervisor', 'telling', 'unit', 'watch'],
  report: ['catalog', 'history', 'parts', 'settle', 'targets'],
  status: 'any',
  doctor: 'any',
  demo: 'any',
  waiting: ['reconcile', 'survey'],
};

/** Steps of other features, and what `groups` stands on: without a command of their own. */
const WITHOUT_COMMAND = [
  'background',
  'telling',
  'supervisor',
  'metrics',
  'unit',
  'queue',
  'wizard',
  'uses',
  'virtual',
  'sides',
  'colliding',
  'evidence',
  'channels',
  'timetable',
  'job',
  'scheduler',
  'touched',
  'watcher',
  'storing',
  'placing',
  'meanings',
  'difference',
  'finish',
  'keyring',
  'slots',
  'steering',
  'catalog',
  'rings',
  'orphans',
  'targets',
  'enrol',
  'parts',
  'saved',
  'waiting',
  'pairs',
  'reconcile',
  'moves',
  'guards',
  'session',
  'survey',
  'plan',
  'arrange',
  'bulk',
  'control',
  'record',
  'apply',
  'run',
  'travel',
  'handover',
  'refill',
  'scrub',
  'heal',
  'inspect',
  'manifest',
  'generation',
  'brought',
  'resolution',
  'settle',
  'manifests',
  'retrace',
  'undo',
  'origin',
  'recall',
];
/** What a pure function may work with: neither reads, writes nor asks the clock. */
const PURE = ['shared/paths.ts', 'shared/listing.ts', 'shared/rows.ts', 'features/reconcile.ts', 'features/sides.ts'];
const PURE_FEATURES = ['features/reconcile.ts', 'features/moves.ts', 'features/sides.ts'];
const FOLDERS = ['features', 'shared', 'tui', 'config', 'tests', 'docs', 'dist', 'node_modules', '.ci', '.git'];
const MAX_LINES = 600;

/** What every start loads. */
const STARTING = ['tui/main.ts', 'tui/features.ts', 'tui/tandem.mjs'];
/** What calls features at run time: the reader, a process beside the dashboard, and the practice drives. */
const AT_WORK = ['tui/reads.ts', 'tui/reads/', 'tui/reader.ts', 'tui/feed.ts', 'tui/practice.ts'];
/** With these a screen could do what only other processes may. */
const IMPURE = [
  'shared/context.ts',
  'shared/db.ts',
  'shared/detach.ts',
  'shared/volumes.ts',
  'tui/reads.ts',
  'tui/reads/',
];

/** Packages that one place alone may name. */
const ONE_HOME: Readonly<Record<string, RegExp>> = {
  sqlite3: /^shared\/db\.ts$/,
  koffi: /^shared\/syscalls\.ts$/,
  blessed: /^tui\/terminal\.ts$/,
  sharp: /^tui\/preview-picture\.ts$/,
  'exiftool-vendored.pl': /^tui\/preview-media\.ts$/,
  commander: /^shared\/cli\.ts$/,
  pino: /^shared\/log\.ts$/,
};

interface Import {
  /** Path from the repository's root, or the package's name. */
  target: string;
  lazy: boolean;
  typeOnly: boolean;
}

/** Every module that a source names: static, dynamic, re-exported, `require`d, in a type. */
function importsOf(file: string, source: string): Import[] {
  const code = withoutComments(source);
  const found: Import[] = [];
  const add = (specifier: string, lazy: boolean, typeOnly: boolean): void => {
    const target = specifier.startsWith('.') ? normalize(join(dirname(file), specifier)) : specifier;
    found.push({ target, lazy, typeOnly });
  };
  for (const match of code.matchAll(/\b(import|export)\s+(type\s)?[^'"`;()]*?\bfrom\s*['"]([^'"]+)['"]/g)) {
    add(match[3] ?? '', false, match[2] !== undefined);
  }
  for (const match of code.matchAll(/\bimport\s*['"]([^'"]+)['"]/g)) add(match[1] ?? '', false, false);
  for (const match of code.matchAll(/(typeof\s+|[<:|&]\s*)?\bimport\s*\(\s*([^)]*?)\s*,?\s*\)/g)) {
    const literal = /^(['"`])([^$]*)\1$/.exec(match[2] ?? '');
    add(literal?.[2] ?? `computed: ${match[2]}`, true, match[1] !== undefined);
  }
  for (const match of code.matchAll(/\brequire\w*\)?\s*\(\s*['"]([^'"]+)['"]/g)) add(match[1] ?? '', true, false);
  for (const match of code.matchAll(/createRequire\([^)]*\)\s*\(\s*['"]([^'"]+)['"]/g))
    add(match[1] ?? '', true, false);
  return found;
}

function withoutComments(source: string): string {
  return source.replace(/\/\*\*?[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}

/** What is wrong with one file; a sentence each. */
function violations(file: string, source: string): string[] {
  const wrong: string[] = [];
  const [layer = '', name = ''] = file.replace(/\.(ts|mjs)$/, '').split('/');
  for (const { target, lazy, typeOnly } of importsOf(file, source)) {
    const say = (why: string): void => void wrong.push(`${file} imports ${target}: ${why}`);
    const to = target.split('/')[0];
    const feature = /^features\/(\w+)\.ts$/.exec(target)?.[1];
    if (target.startsWith('computed: ') && file !== 'tui/tandem.mjs') say('a computed name cannot be checked');
    if (to === 'tests' || target.startsWith('..')) say('it is not part of the program');
    if (layer === 'shared' && (to === 'features' || to === 'tui')) say('the kernel knows neither features nor tui');
    if (layer === 'features' && to === 'tui') say('tui composes features, not the other way round');
    if (layer === 'tui' && to === 'features' && STARTING.includes(file) && !lazy)
      say('a start loads no feature but the one that is asked for');
    if (file === 'tui/main.ts' && to === 'tui' && target !== 'tui/features.ts' && !lazy && !typeOnly)
      say('the dashboard is loaded only when it is opened');
    const isScreen = file.startsWith('tui/screens/');
    const works = [...AT_WORK, ...STARTING].some((one) => file === one || (one.endsWith('/') && file.startsWith(one)));
    if (layer === 'tui' && to === 'features' && !typeOnly && !isScreen && !works)
      say(`the dashboard watches: features are called in ${AT_WORK.join(', ')} alone`);
    const impure = target.startsWith('node:') || IMPURE.some((one) => target.startsWith(one));
    if (isScreen && !typeOnly && impure)
      say('a screen is pure: it draws what the reader brings, and asks for commands');
    if (layer === 'features' && feature !== undefined) {
      const allowed = MAY_IMPORT[name];
      if (allowed !== 'any' && !allowed?.includes(feature))
        say(`${name} may import ${allowed?.join(', ') || 'no feature'}`);
    }
    if (PURE_FEATURES.includes(file) && !PURE.includes(target) && !(typeOnly && target.startsWith('shared/')))
      say(`${name} is pure: only ${PURE.join(', ')} and types of shared/`);
    for (const [home, place] of Object.entries(ONE_HOME)) {
      if ((target === home || target.startsWith(`${home}/`)) && !typeOnly && !place.test(file))
        say(`only ${place.source} may`);
    }
  }
  if (layer === 'features') wrong.push(...featureViolations(file, name, withoutComments(source)));
  const lines = source.split('\n').length - 1;
  if (lines > MAX_LINES) wrong.push(`${file} has ${lines} lines, more than ${MAX_LINES}`);
  return wrong;
}

function featureViolations(file: string, name: string, code: string): string[] {
  const wrong: string[] = [];
  if (!(name in MAY_IMPORT)) wrong.push(`${file} is not in the table of docs/architecture.md`);
  for (const match of code.matchAll(/\bprocess\s*\.\s*(exit|exitCode|stdout|stderr|stdin|argv)\b/g)) {
    wrong.push(`${file} uses process.${match[1]}; a feature returns its output and throws its errors`);
  }
  for (const match of code.matchAll(/\bconsole\.\w+/g)) wrong.push(`${file} uses ${match[0]}`);
  for (const match of code.matchAll(/['"](sqlite3|koffi|blessed)['"]/g)) wrong.push(`${file} names ${match[1]}`);
  if (WITHOUT_COMMAND.includes(name)) {
    if (/\bexport const command\b/.test(code)) wrong.push(`${file} is a slice without a command`);
    return wrong;
  }
  if (!/\bexport const command\b/.test(code)) wrong.push(`${file} exports no command`);
  if (!/\nrunIfMain\(import\.meta, command\);\s*$/.test(code))
    wrong.push(`${file} does not end in runIfMain(import.meta, command);`);
  return wrong;
}

function sources(): string[] {
  return ['features', 'shared', 'tui'].flatMap((folder) =>
    readdirSync(join(REPOSITORY, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|mjs)$/.test(name))
      .map((name) => `${folder}/${name}`),
  );
}

test('the code holds to the table of who may import whom', () => {
  const files = sources();
  assert.ok(files.length > 20, 'there are sources to look at');
  const wrong = files.flatMap((file) => violations(file, readFileSync(join(REPOSITORY, file), 'utf8')));
  assert.equal(wrong, []);
});

test('the table has no circle', () => {
  const reached = (from: string, seen: readonly string[] = []): void => {
    assert.not.ok(seen.includes(from), `${[...seen, from].join(' → ')}`);
    const next = MAY_IMPORT[from] ?? [];
    if (next !== 'any') for (const to of next) reached(to, [...seen, from]);
  };
  for (const name of Object.keys(MAY_IMPORT)) reached(name);
});

test('an upward import is found in every form', () => {
  const end = '\nexport const command = 1;\nrunIfMain(import.meta, command);\n';
  const cases: [file: string, source: string][] = [
    ['features/detect.ts', `import { x } from './sync.ts';${end}`],
    ['features/detect.ts', `import type { X } from './sync.ts';${end}`],
    ['features/detect.ts', `import {\n  a,\n  type B,\n} from './sync.ts';${end}`],
    ['features/detect.ts', `import './sync.ts';${end}`],
    ['features/detect.ts', `export * from './sync.ts';${end}`],
    ['features/detect.ts', `const x = await import('./sync.ts');${end}`],
    ['features/detect.ts', `type T = typeof import('./sync.ts');${end}`],
    ['features/detect.ts', `let t: import('./sync.ts').T;${end}`],
    ['features/detect.ts', `const n = 'sync'; await import(\`./\${n}.ts\`);${end}`],
    ['features/detect.ts', `import { x } from '../tui/main.ts';${end}`],
    ['features/detect.ts', `createRequire(import.meta.url)('sqlite3');${end}`],
    ['features/detect.ts', `import blessed from 'blessed';${end}`],
    ['features/detect.ts', `process.exit(1);${end}`],
    ['features/detect.ts', `process . stdout.write('x');${end}`],
    ['features/detect.ts', 'export const command = 1;\n'],
    ['features/groups.ts', `import { x } from './history.ts';${end}`],
    ['features/other.ts', end],
    ['features/groups.ts', `import { x } from './sync.ts';${end}`],
    ['features/apply.ts', "import { x } from './sync.ts';\n"],
    ['features/apply.ts', 'export const command = 1;\n'],
    ['features/pairs.ts', "import type { X } from './groups.ts';\n"],
    ['features/plan.ts', "import { x } from './apply.ts';\n"],
    ['features/reconcile.ts', "import { x } from '../shared/db.ts';\n"],
    ['features/reconcile.ts', "import { x } from './history.ts';\n"],
    ['features/reconcile.ts', "import { readFileSync } from 'node:fs';\n"],
    ['features/moves.ts', "import { statAt } from '../shared/syscalls.ts';\n"],
    ['shared/paths.ts', "import { x } from '../features/detect.ts';\n"],
    ['shared/paths.ts', "const x = () => import('../features/detect.ts');\n"],
    ['shared/paths.ts', "const k = require('koffi');\n"],
    ['shared/paths.ts', "import sqlite from 'sqlite3';\n"],
    ['tui/main.ts', "import { x } from '../features/detect.ts';\n"],
    ['tui/board.ts', "const x = () => import('../features/detect.ts');\n"],
    ['tui/board.ts', "import blessed from 'blessed';\n"],
    ['tui/main.ts', "import { x } from './dashboard.ts';\n"],
    ['tui/screens/board.ts', "import { spawn } from 'node:child_process';\n"],
    ['tui/screens/board.ts', "import { createContext } from '../../shared/context.ts';\n"],
    ['tui/screens/board.ts', "import { READS } from '../reads.ts';\n"],
    ['tui/screens/board.ts', "import { logReads } from '../reads/log.ts';\n"],
    ['shared/long.ts', '\n'.repeat(MAX_LINES + 1)],
  ];
  for (const [file, source] of cases) assert.ok(violations(file, source).length > 0, `${file}: ${source}`);
  const good = `// import { x } from './sync.ts';\nimport { a } from '../shared/paths.ts';${end}`;
  assert.equal(violations('features/detect.ts', good), []);
  assert.equal(violations('tui/main.ts', "const x = { load: () => import('../features/detect.ts') };\n"), []);
  assert.equal(violations('features/groups.ts', `import { x } from './detect.ts';${end}`), []);
  assert.equal(violations('tui/screens/board.ts', "import { panel } from '../../features/detect.ts';\n"), []);
  assert.equal(violations('features/reconcile.ts', "import { x } from '../shared/listing.ts';\n"), []);
  assert.equal(violations('features/reconcile.ts', "import type { X } from '../shared/errors.ts';\n"), []);
  assert.equal(violations('features/apply.ts', "import type { X } from './plan.ts';\n"), []);
});

test('there are no other folders at the top', () => {
  const present = readdirSync(REPOSITORY, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  assert.equal(
    present.map((entry) => entry.name).filter((name) => !FOLDERS.includes(name)),
    [],
  );
  if (!existsSync(join(REPOSITORY, '.git'))) return;
  const tracked = spawnSync('git', ['-C', REPOSITORY, 'ls-files', '-z'], { encoding: 'utf8' }).stdout.split('\0');
  const tops = new Set(tracked.filter((path) => path.includes('/')).map((path) => path.split('/')[0] ?? ''));
  assert.equal(
    [...tops].filter((name) => !FOLDERS.includes(name) || ['dist', 'node_modules', '.git'].includes(name)),
    [],
  );
});

test.run();
