/**
 * `npm run bench [name…]`: whole processes, start included, tandem and its peers in turn, medians of five and the ratio
 * of the medians. Trees lie on tmpfs, drives are virtual. Absolute times belong to the machine; quote the ratios.
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
const repo = fileURLToPath(new URL('../..', import.meta.url));
const tandem = join(repo, 'tui', 'tandem.mjs');
const home = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'tandem-bench-'));
/** Node would read these certificates at every start; no peer does. */
const { NODE_EXTRA_CA_CERTS: _certificates, ...inherited } = process.env;
const env = { ...inherited, TANDEM_CONFIG: join(home, 'config'), TANDEM_DATA: join(home, 'data') };

interface Measured {
  milliseconds: number;
  /** Peak resident memory in MB; 0 where the platform does not tell. */
  peak: number;
}

interface Runner {
  name: string;
  /** Not measured, before each run. */
  before?(): void;
  command: string[];
}

function measure({ command, before }: Runner): Promise<Measured> {
  before?.();
  return new Promise((done, fail) => {
    const started = performance.now();
    const child = spawn(command[0] ?? '', command.slice(1), { env, stdio: ['ignore', 'ignore', 'pipe'] });
    let peak = 0;
    let complaint = '';
    const look = (): void => {
      try {
        peak = Math.max(
          peak,
          Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1] ?? 0) / 1024,
        );
      } catch {
        // It has just ended, or there is no /proc.
      }
    };
    const timer = setInterval(look, 20);
    child.stderr.on('data', (text) => {
      complaint += String(text);
    });
    child.on('error', fail);
    child.on('close', (code) => {
      clearInterval(timer);
      if (code === 0) done({ milliseconds: performance.now() - started, peak });
      else fail(new Error(`${command.join(' ')} ended with ${code}: ${complaint}`));
    });
  });
}

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

/** The first runner is tandem's, the second the peer of the promise; all take turns. */
async function compare(title: string, runners: Runner[], promise?: number): Promise<void> {
  const results = runners.map((): Measured[] => []);
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const [index, runner] of runners.entries()) {
      const result = await measure(runner);
      if (round > 0) results[index]?.push(result);
    }
  }
  const times = results.map((runs) => median(runs.map(({ milliseconds }) => milliseconds)));
  console.log(`\n${title}`);
  for (const [index, { name }] of runners.entries()) {
    const all = (results[index] ?? []).map(({ milliseconds }) => Math.round(milliseconds));
    const peak = Math.max(...(results[index] ?? []).map((run) => run.peak));
    console.log(
      `  ${name.padEnd(34)} ${Math.round(times[index] ?? 0)
        .toString()
        .padStart(6)} ms  (${Math.min(...all)}–${Math.max(...all)})  peak ${Math.round(peak)} MB`,
    );
  }
  for (const [index, { name }] of runners.entries()) {
    if (index === 0) continue;
    const bound = index === 1 && promise !== undefined ? `  (promised: at most ${promise})` : '';
    console.log(`  ratio to ${name.padEnd(25)} ${((times[0] ?? 0) / (times[index] ?? 1)).toFixed(2)}${bound}`);
  }
}

/** `count` files of `size` bytes, 100 to a folder, all an hour old. */
function buildTree(root: string, count: number, size: number): void {
  const then = Date.now() / 1000 - 3600;
  for (let at = 0; at < count; at += 1) {
    const folder = join(
      root,
      `Shoot-${String(Math.floor(at / 1000)).padStart(3, '0')}`,
      `Card-${Math.floor(at / 100) % 10}`,
    );
    if (at % 100 === 0) mkdirSync(folder, { recursive: true });
    const file = join(folder, `IMG_${String(at).padStart(6, '0')}.CR3`);
    writeFileSync(file, size > 0 ? randomBytes(size) : '');
    utimesSync(file, then, then);
  }
}

function reset(...folders: string[]): void {
  for (const folder of folders) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
  }
}

function run(...words: string[]): void {
  const result = spawnSync(tandem, words, { env, encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`tandem ${words.join(' ')}: ${result.stdout}${result.stderr}`);
}

const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
const master = join(home, 'master');
const backup = join(home, 'backup');
const peers = join(home, 'peers');

function freshPair(): void {
  reset(env.TANDEM_CONFIG, env.TANDEM_DATA, backup);
  rmSync(join(master, '.tandem'), { recursive: true, force: true });
  const drive = (path: string, label: string): string =>
    `    - { path: ${path}, label: ${label}, total_size: 100000000000 }`;
  writeFileSync(
    join(env.TANDEM_CONFIG, 'app.yaml'),
    `drives:\n  virtual:\n${drive(master, 'BenchMaster')}\n${drive(backup, 'BenchBackup')}\n`,
  );
  run('groups', 'create', 'Bench', '--master', 'BenchMaster', '--backup', 'BenchBackup');
}

async function firstSync(): Promise<void> {
  reset(master);
  buildTree(master, 20_000, 8192);
  const fresh = (): void => reset(peers);
  const runners: Runner[] = [
    { name: 'tandem sync run (SHA-256 recorded)', before: freshPair, command: [tandem, 'sync', 'run', 'Bench'] },
    { name: 'rsync -a', before: fresh, command: ['rsync', '-a', '--exclude=.tandem', `${master}/`, `${peers}/`] },
    { name: 'cp -a', before: fresh, command: ['cp', '-a', `${master}/.`, peers] },
  ];
  if (has('rclone'))
    runners.push({
      name: 'rclone copy',
      before: fresh,
      command: ['rclone', 'copy', '--config', '/dev/null', master, peers],
    });
  await compare('First sync: 20,000 files of 8 KiB', runners, 1.1);
  reset(peers, backup);
}

async function noChange(): Promise<void> {
  reset(master, peers);
  buildTree(master, 100_000, 0);
  freshPair();
  const first = await measure({ name: 'first', command: [tandem, 'sync', 'run', 'Bench'] });
  console.log(
    `\nFirst sync of 100,000 empty files: ${Math.round(first.milliseconds)} ms, peak ${Math.round(first.peak)} MB (promised: under 300)`,
  );
  spawnSync('rsync', ['-a', '--exclude=.tandem', `${master}/`, `${peers}/`]);
  const rsync: Runner = {
    name: 'rsync -an',
    command: ['rsync', '-an', '--exclude=.tandem', `${master}/`, `${peers}/`],
  };
  const runners: Runner[] = [{ name: 'tandem sync run', command: [tandem, 'sync', 'run', 'Bench'] }, rsync];
  if (has('rclone'))
    runners.push({
      name: 'rclone sync --dry-run',
      command: ['rclone', 'sync', '--dry-run', '--config', '/dev/null', '--exclude', '/.tandem/**', master, peers],
    });
  await compare('Nothing changed: 100,000 files', runners, 1.5);
  let tick = 0;
  const touch = (): void => {
    tick += 1;
    writeFileSync(join(master, 'Shoot-050', 'Card-5', 'IMG_050500.CR3'), `edit ${tick}`);
  };
  await compare('One file of 100,000 changed', [
    { name: 'tandem sync run', before: touch, command: [tandem, 'sync', 'run', 'Bench'] },
    { ...rsync, name: 'rsync -a', before: touch, command: rsync.command.map((word) => (word === '-an' ? '-a' : word)) },
  ]);
}

async function moves(): Promise<void> {
  reset(master, peers);
  buildTree(join(master, 'Year'), 10_000, 8192);
  freshPair();
  run('sync', 'run', 'Bench');
  let [now, next] = ['Year', 'Year renamed'];
  const rename = (): void => {
    renameSync(join(master, now), join(master, next));
    [now, next] = [next, now];
  };
  const command = [tandem, 'sync', 'run', 'Bench'];
  await compare('A folder of 10,000 files renamed (promised: under 2,000 ms)', [
    { name: 'tandem sync run', before: rename, command },
  ]);
  const scatter = (): void => {
    for (let at = 0; at < 10; at += 1) {
      for (let card = 0; card < 10; card += 1) {
        const folder = join(master, now, `Shoot-${String(at).padStart(3, '0')}`, `Card-${card}`);
        for (const name of readdirSync(folder)) renameSync(join(folder, name), join(folder, `x${name}`));
      }
    }
  };
  await compare('10,000 files renamed one by one', [{ name: 'tandem sync run', before: scatter, command }]);
}

async function largeFile(): Promise<void> {
  reset(master, peers);
  const chunk = randomBytes(8 * 1024 * 1024);
  for (let at = 0; at < 4; at += 1)
    writeFileSync(join(master, `clip-${at}.mov`), Buffer.concat(Array.from({ length: 32 }, () => chunk)));
  for (let at = 0; at < 4; at += 1) utimesSync(join(master, `clip-${at}.mov`), 1e9, 1e9);
  const fresh = (): void => reset(peers);
  await compare('Four files of 256 MiB', [
    { name: 'tandem sync run (SHA-256 recorded)', before: freshPair, command: [tandem, 'sync', 'run', 'Bench'] },
    { name: 'rsync -a', before: fresh, command: ['rsync', '-a', '--exclude=.tandem', `${master}/`, `${peers}/`] },
    { name: 'cp -a', before: fresh, command: ['cp', '-a', `${master}/.`, peers] },
  ]);
}

async function start(): Promise<void> {
  reset(master, backup);
  freshPair();
  const empty = join(home, 'empty.ts');
  writeFileSync(empty, '');
  const tsx = join(repo, 'node_modules', '.bin', 'tsx');
  await compare(
    'Start: tandem groups list',
    [
      { name: 'tandem groups list', command: [tandem, 'groups', 'list'] },
      { name: 'tsx empty.ts', command: [tsx, empty] },
    ],
    1.5,
  );
}

/** A library call in a fresh process, after loading the module. */
async function hundredGroups(): Promise<void> {
  reset(env.TANDEM_CONFIG, env.TANDEM_DATA);
  const group = (at: number): string =>
    [
      `  - id: "550e8400-e29b-41d4-a716-${String(at).padStart(12, '0')}"`,
      `    name: "Archive ${at}"`,
      '    created: "2026-01-12T10:00:00Z"',
      '    modified: "2026-01-12T10:00:00Z"',
      '    description: "Primary storage for photo projects"',
      ...['master', 'backup'].flatMap((role) => [
        `    ${role}_drive:`,
        `      serial_number: "${role}-${at}"`,
        `      label: "${role}${at}"`,
        '      total_size: 2000000000000',
      ]),
    ].join('\n');
  writeFileSync(
    join(env.TANDEM_CONFIG, 'storage_groups.yaml'),
    `version: 1\ngroups:\n${Array.from({ length: 100 }, (_, at) => group(at)).join('\n')}\n`,
  );
  const script = join(home, 'load.ts');
  writeFileSync(
    script,
    `import { createContext } from '${repo}/shared/context.ts';\nimport { listGroups } from '${repo}/features/groups.ts';\n` +
      'const ctx = createContext();\nconst started = performance.now();\nconst groups = listGroups(ctx);\n' +
      "if (groups.length !== 100) throw new Error('not 100');\nconsole.log(performance.now() - started);\n",
  );
  const tsx = join(repo, 'node_modules', '.bin', 'tsx');
  const once = (): number => Number(spawnSync(tsx, [script], { env, encoding: 'utf8' }).stdout);
  const first = once();
  const times = Array.from({ length: ROUNDS }, once);
  console.log(
    `\n100 groups, library call in a fresh process: ${median(times).toFixed(1)} ms (first ever ${first.toFixed(1)} ms; promised: under 10)`,
  );
}

/** Each run replaces 10,000 files; its undo puts them back. */
async function undo(): Promise<void> {
  reset(master);
  buildTree(master, 10_000, 8192);
  freshPair();
  run('sync', 'run', 'Bench');
  const times: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round += 1) {
    buildTree(master, 10_000, 8000 + round);
    const began = performance.now();
    run('sync', 'run', 'Bench', '--force', 'mass-change');
    times[0].push(performance.now() - began);
    const listed = spawnSync(tandem, ['history', 'list', '--limit', '1', '--json'], { env, encoding: 'utf8' });
    const [{ id }] = JSON.parse(listed.stdout) as [{ id: number }];
    const undoing = performance.now();
    const { status } = spawnSync(tandem, ['restore', 'undo', String(id)], { env });
    times[1].push(performance.now() - undoing);
    if (status !== 3) throw new Error(`the undo ended with ${status}`);
    // An undo of the undo lets the next round replace them again.
    run('restore', 'undo', String(id + 1));
  }
  const [runs, undos] = [median(times[0]), median(times[1])];
  console.log(
    `\n10,000 files replaced: run ${Math.round(runs)} ms, its undo ${Math.round(undos)} ms (promised: no longer)`,
  );
  await undoOfFolder();
}

/** A folder of 10,000 files is renamed and named back. */
async function undoOfFolder(): Promise<void> {
  reset(master);
  buildTree(join(master, 'Former'), 10_000, 8192);
  freshPair();
  run('sync', 'run', 'Bench');
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    renameSync(join(master, 'Former'), join(master, 'Later'));
    run('sync', 'run', 'Bench');
    const listed = spawnSync(tandem, ['history', 'list', '--limit', '1', '--json'], { env, encoding: 'utf8' });
    const [{ id }] = JSON.parse(listed.stdout) as [{ id: number }];
    const undoing = performance.now();
    const { status } = spawnSync(tandem, ['restore', 'undo', String(id)], { env });
    times.push(performance.now() - undoing);
    if (status !== 3) throw new Error(`the undo ended with ${status}`);
    // Where both sides say the same again, the next round finds a rename.
    renameSync(join(master, 'Later'), join(master, 'Former'));
    run('sync', 'run', 'Bench');
  }
  console.log(`a folder of 10,000 files renamed: its undo ${Math.round(median(times))} ms`);
}

/** 1,000 projects on one group, known here and carried by both drives; a whole process each time. */
async function thousandProjects(): Promise<void> {
  reset(master);
  freshPair();
  run('projects', 'create', 'P 0', '--path', 'P/0', '--group', 'Bench');
  const file = join(env.TANDEM_CONFIG, 'projects.yaml');
  const text = readFileSync(file, 'utf8');
  const row = text.slice(text.indexOf('  - id:'), text.indexOf('deleted:') < 0 ? undefined : text.indexOf('deleted:'));
  const id = /id: "([^"]*)"/.exec(row)?.[1] ?? '';
  const rows = Array.from({ length: 999 }, (_, at) => {
    const own = `${String(at + 1).padStart(8, '0')}${id.slice(8)}`;
    return row
      .replace(id, own)
      .replace('"P 0"', `"P ${at + 1}"`)
      .replace('"P/0"', `"P/${at + 1}"`);
  });
  writeFileSync(file, text.replace(row, row + rows.join('')));
  run('projects', 'list');
  const times = Array.from({ length: ROUNDS }, () => {
    const began = performance.now();
    const listed = spawnSync(tandem, ['projects', 'list', '--json'], { env, encoding: 'utf8', maxBuffer: 1e8 });
    const took = performance.now() - began;
    if ((JSON.parse(listed.stdout) as unknown[]).length !== 1000) throw new Error(listed.stderr);
    return took;
  });
  console.log(`\n1,000 projects, tandem projects list: ${Math.round(median(times))} ms (promised: under 300)`);
}

/** 200 MB, half in one file and half in files of 100 kB, as one user would see it: the whole process by the clock. */
async function throttled(): Promise<void> {
  reset(master);
  buildTree(master, 1000, 100_000);
  writeFileSync(join(master, 'large.mov'), randomBytes(100_000_000));
  const rates = Array.from({ length: Math.min(ROUNDS, 3) }, () => {
    freshPair();
    const began = performance.now();
    run('sync', 'run', 'Bench', '--bwlimit', '10');
    return 200_000 / (performance.now() - began);
  });
  console.log(`\n200 MB at 10 MB/s: ${rates.map((rate) => rate.toFixed(2)).join(', ')} MB/s (promised: 9.5 to 10.5)`);
}

/** Sealed backups of the same tree: against the plain run, and against those whose whole business it is. */
async function sealedSync(): Promise<void> {
  const secret = join(home, 'password');
  writeFileSync(secret, 'a password of the bench', { mode: 0o600 });
  const sealed =
    (...options: string[]) =>
    (): void => {
      freshPair();
      run('groups', 'set', 'Bench', 'enable_encryption=true', `encryption_password_file=${secret}`, ...options);
      run('encrypt', 'init', 'Bench', '--password-file', secret);
    };
  const sync = [tandem, 'sync', 'run', 'Bench'];
  const runners: Runner[] = [
    { name: 'tandem, sealed', before: sealed(), command: sync },
    { name: 'tandem, plain', before: freshPair, command: sync },
  ];
  if (has('restic')) {
    const [restic, store] = [['restic', '-q', '-r', peers, '--password-file', secret], () => reset(peers)];
    const init = (): void => {
      store();
      spawnSync('restic', [...restic.slice(1), 'init'], { env });
    };
    runners.push({ name: 'restic backup', before: init, command: [...restic, 'backup', '-e', '.tandem', master] });
  }
  if (has('rclone')) {
    const config = join(home, 'rclone.conf');
    const obscured = spawnSync('rclone', ['obscure', 'a password'], { encoding: 'utf8' }).stdout.trim();
    writeFileSync(config, `[vault]\ntype = crypt\nremote = ${peers}\npassword = ${obscured}\n`);
    const copy = ['rclone', 'copy', '--config', config, '--exclude', '.tandem/**', master, 'vault:'];
    runners.push({ name: 'rclone copy to a crypt remote', before: () => reset(peers), command: copy });
  }
  for (const [title, count, size, bound] of [
    ['20,000 files of 8 KiB', 20_000, 8192, 1.6],
    ['40 files of 25 MB', 40, 25_000_000, undefined],
  ] as const) {
    reset(master);
    buildTree(master, count, size);
    await compare(`First sealed sync: ${title}`, runners, bound);
  }
  reset(peers, backup, master);
}

/** The codec of stored files, in one process that takes turns: sources of this repository as text, and noise. */
function compression(): Promise<void> {
  const script = join(home, 'compress.mts');
  writeFileSync(
    script,
    `import { randomBytes } from 'node:crypto';\nimport { readdirSync, readFileSync } from 'node:fs';
import { Compressor } from '${repo}/shared/compressed.ts';
const names = ['shared', 'features', 'tests', 'docs'].flatMap((folder) =>
  readdirSync('${repo}/' + folder).filter((name) => /\\.(ts|md)$/.test(name)).map((name) => '${repo}/' + folder + '/' + name));
const text = Buffer.concat(names.map((name) => readFileSync(name)));
const noise = randomBytes(text.length);
const copied = Buffer.alloc(text.length);
const pack = (kind, level, plain, name) => () => {
  const compressor = new Compressor(kind, level, { size: plain.length, mtime: 0n }, name);
  const parts = [...compressor.update(plain), ...compressor.final()];
  return parts.reduce((sum, { length }) => sum + length, 0);
};
const all = [
  ['gzip -1 of text', pack('gzip', 1, text, 'a')],
  ['LZ4 -1 of text', pack('lz4', 1, text, 'a')],
  ['LZ4 -9 of text', pack('lz4', 9, text, 'a')],
  ['gzip of noise', pack('gzip', 1, noise, 'a')],
  ['LZ4 of noise', pack('lz4', 1, noise, 'a')],
  ['LZ4 of a .mov', pack('lz4', 1, noise, 'a.mov')],
  ['a copy in memory', () => noise.copy(copied)],
].map(([name, work]) => ({ name, work, bytes: work(), times: [] }));
for (let round = 0; round < ${4 * ROUNDS}; round += 1) for (const part of all) {
  const began = performance.now();
  part.work();
  part.times.push(performance.now() - began);
}
for (const part of all) part.time = part.times.sort((a, b) => a - b)[Math.floor(part.times.length / 2)];
for (const { name, time, bytes } of all)
  console.log('  ' + name.padEnd(20) + (text.length / time / 1000).toFixed(0).padStart(6) + ' MB/s' + (bytes / text.length).toFixed(3).padStart(8));
console.log('  LZ4 -1 to gzip -1: ' + (all[0].time / all[1].time).toFixed(2) + ' times as fast (promised: at least 2)');
`,
  );
  const { stdout, stderr, status } = spawnSync(join(repo, 'node_modules', '.bin', 'tsx'), [script], {
    env,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  console.log(`\nCompression, medians, and what is left of the size:\n${stdout.trimEnd()}`);
  return Promise.resolve();
}

const SEALED_BYTES = 1_500_000_000;

/**
 * Memory that a virtual machine has given back to its host comes back slowly, by far more than all that is measured here:
 * it is taken before each run.
 */
function warmMemory(): void {
  const file = join(home, 'warm');
  const zeros = Buffer.alloc(8_000_000);
  const fd = openSync(file, 'w');
  for (let at = 0; at < SEALED_BYTES; at += zeros.length) writeSync(fd, zeros);
  closeSync(fd);
  rmSync(file);
}

function largeRandomFile(path: string): void {
  const fd = openSync(path, 'w');
  for (let at = 0; at < SEALED_BYTES; at += 10_000_000) writeSync(fd, randomBytes(10_000_000));
  closeSync(fd);
}

/** The cipher alone, on memory, as fast as node:crypto does it: chunks of 256 KiB, each with its nonce, in calls of 64 KiB. */
const CIPHER = `import { createCipheriv, randomBytes } from 'node:crypto';
const [key, chunk, left] = [randomBytes(32), randomBytes(262144), Number(process.argv[2])];
for (let at = 0; at < left; at += chunk.length) {
  const cipher = createCipheriv('aes-256-gcm', key, randomBytes(12));
  for (let from = 0; from < chunk.length; from += 65536) cipher.update(chunk.subarray(from, from + 65536));
  cipher.final();
  cipher.getAuthTag();
}
`;

/** One large file: the whole process against the cipher alone; then sealing with a checksum against each of the two alone. */
async function sealing(): Promise<void> {
  reset(peers);
  const [plain, vault, out, key, cipher] = ['plain', 'vault', 'out', 'key', 'cipher.mjs'].map((name) =>
    join(peers, name),
  ) as [string, string, string, string, string];
  largeRandomFile(plain);
  writeFileSync(key, randomBytes(64), { mode: 0o600 });
  writeFileSync(cipher, CIPHER);
  const fresh = (path: string) => (): void => {
    rmSync(path, { force: true });
    warmMemory();
  };
  const alone: Runner = {
    name: 'AES-256-GCM alone, one core, memory',
    before: warmMemory,
    command: [process.execPath, cipher, String(SEALED_BYTES)],
  };
  const encrypt = (...words: string[]): string[] => [tandem, 'encrypt', ...words, '--key-file', key];
  await compare(
    'Sealing 1.5 GB on tmpfs',
    [{ name: 'tandem encrypt seal', before: fresh(vault), command: encrypt('seal', plain, vault) }, alone],
    1.25,
  );
  await compare('Opening 1.5 GB on tmpfs', [
    { name: 'tandem encrypt open', before: fresh(out), command: encrypt('open', vault, out) },
    alone,
  ]);
  rmSync(out);
  sealingWithChecksum(plain, vault);
  reset(peers);
}

/**
 * In fresh processes, without their start, as a run does it: `hash` reads and hashes, `seal` reads, seals and writes,
 * `both` all of it. They write over a file that is there: new memory for it would take longer than all the rest, and never
 * the same.
 */
const STAGES = `
const { fstatSync, openSync } = await import('node:fs');
const { asideFactory } = await import('${repo}/shared/aside.ts');
const { Content } = await import('${repo}/shared/content.ts');
const { hasherFactory } = await import('${repo}/shared/hash.ts');
const { Sealer } = await import('${repo}/shared/sealed.ts');
const [mode, algorithm, plain, vault] = process.argv.slice(2);
const near = await hasherFactory(algorithm);
const nothing = () => ({ update: () => {}, digest: () => '', fork: nothing });
const [input, output] = [openSync(plain, 'r'), openSync(vault, 'r+')];
const control = { stop: () => false, cancel: () => false, moved: () => {}, holding: () => {}, allowed: (wanted) => wanted };
const began = performance.now();
if (mode === 'hash') new Content(near, control).checksum(input, near);
else {
  const sealer = new Sealer({ kind: 'key_file', bytes: Buffer.alloc(64, 1) }, {}, 262144, true);
  const encoder = { update: (bytes) => sealer.update(bytes), final: () => sealer.final() };
  const hashers = mode === 'seal' ? nothing : Object.assign(() => near(), { large: asideFactory(algorithm, near) });
  const { size } = fstatSync(input);
  const copied = new Content(hashers, control).encode(input, output, size, encoder, { plain: false, also: undefined });
  if (copied.bytes !== size || (mode === 'both' && copied.checksum === '')) throw new Error('not all of it');
}
console.log(performance.now() - began);
process.exit();
`;

function sealingWithChecksum(plain: string, vault: string): void {
  const script = join(peers, 'stages.mts');
  writeFileSync(script, STAGES);
  const once = (mode: string, algorithm: string): number => {
    const words = ['--import', 'tsx', script, mode, algorithm, plain, vault];
    const { stdout, stderr } = spawnSync(process.execPath, words, { cwd: repo, encoding: 'utf8' });
    if (!(Number(stdout) > 0)) throw new Error(stderr);
    return Number(stdout);
  };
  for (const algorithm of ['sha256', 'xxh128', 'blake2b512']) {
    const times = { hash: [] as number[], seal: [] as number[], both: [] as number[] };
    for (let round = 0; round < ROUNDS; round += 1)
      for (const mode of ['hash', 'seal', 'both'] as const) times[mode].push(once(mode, algorithm));
    const [hash, seal, both] = [median(times.hash), median(times.seal), median(times.both)];
    console.log(
      `\n1.5 GB sealed with ${algorithm}: hash alone ${Math.round(hash)} ms, seal alone ${Math.round(seal)} ms, both ${Math.round(both)} ms`,
    );
    console.log(`  slower stage / both: ${(Math.max(hash, seal) / both).toFixed(2)}  (promised: at least 0.9)`);
  }
}

/** In a process of its own, which is what it measures. */
function watching(): Promise<void> {
  const script = join(repo, 'tests', 'bench', 'watch.ts');
  const { status } = spawnSync(join(repo, 'node_modules', '.bin', 'tsx'), [script], { stdio: 'inherit' });
  if (status !== 0) throw new Error(`${script} ended with ${status}`);
  return Promise.resolve();
}

const all: Record<string, () => Promise<void>> = {
  watch: watching,
  compress: compression,
  seal: sealing,
  sealed: sealedSync,
  throttle: throttled,
  projects: thousandProjects,
  undo,
  groups: hundredGroups,
  start,
  first: firstSync,
  large: largeFile,
  none: noChange,
  moves,
};
const wanted = process.argv.slice(2);
try {
  // What users run is the bundle, and it is run only while it is made of the sources that are here.
  const built = spawnSync(process.execPath, [join(repo, 'tui', 'build.mjs')], { encoding: 'utf8' });
  if (built.status !== 0) throw new Error(built.stderr);
  run('--version');
  for (const [name, part] of Object.entries(all)) if (wanted.length === 0 || wanted.includes(name)) await part();
} finally {
  rmSync(home, { recursive: true, force: true });
}
