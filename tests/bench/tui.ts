/**
 * `npm run bench:tui`: the dashboard in a pseudo terminal of 120 × 35. First paint from the start of the process; from a key
 * to the first byte of its drawing, idle and while a sync of 100,000 files runs (BENCH_FILES); what an idle one costs; and
 * in this process, what one drawing costs. Absolute times belong to the machine. `npm run bench:tui soak` is soak.ts.
 */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Canvas } from '../../tui/canvas.ts';
import { drawApp } from '../../tui/frame.ts';
import { onInput } from '../../tui/model.ts';
import { SCREENS } from '../../tui/screens/index.ts';
import { startState, type World } from '../../tui/state.ts';
import { drawTable, emptyTable, tableKey } from '../../tui/table.ts';
import { drive, group, NOW, overview, running, THEME } from '../helpers/board.ts';
import { soak } from './soak.ts';

const FILES = Number(process.env['BENCH_FILES'] ?? 100_000);
const KEYS = Number(process.env['BENCH_KEYS'] ?? 200);
const IDLE_SECONDS = Number(process.env['BENCH_IDLE'] ?? 20);
const repo = fileURLToPath(new URL('../..', import.meta.url));
const tandem = join(repo, 'tui', 'tandem.mjs');
const home = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'tandem-bench-'));
/** Node would read these certificates at every start, which has to do with this machine only. */
const { NODE_EXTRA_CA_CERTS: _certificates, ...inherited } = process.env;
const env = {
  ...inherited,
  TANDEM_CONFIG: join(home, 'config'),
  TANDEM_DATA: join(home, 'data'),
  TERM: 'xterm-256color',
  NO_COLOR: '',
  LC_ALL: 'C.UTF-8',
};

interface Dashboard {
  child: ChildProcessWithoutNullStreams;
  /** Milliseconds from the start of `script` to the first border. */
  firstPaint: number;
  bytes(): number;
  /** Milliseconds from writing the key to the next byte. */
  key(name: string): Promise<number>;
  pids(): number[];
  quit(): Promise<void>;
}

async function open(): Promise<Dashboard> {
  const begun = performance.now();
  const line = `stty cols 120 rows 35; exec ${process.execPath} ${tandem}`;
  const child = spawn('script', ['-qec', line, '/dev/null'], { env, stdio: 'pipe' });
  child.stdin.on('error', () => {});
  let bytes = 0;
  let firstPaint = 0;
  let heard = (): void => {};
  child.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (firstPaint === 0 && chunk.includes('┌')) firstPaint = performance.now() - begun;
    heard();
  });
  const next = (): Promise<void> =>
    new Promise((done) => {
      heard = done;
    });
  while (firstPaint === 0) await next();
  return {
    child,
    firstPaint,
    bytes: () => bytes,
    key: async (name) => {
      const answer = next();
      const pressed = performance.now();
      child.stdin.write(name);
      await answer;
      return performance.now() - pressed;
    },
    pids: () => {
      const below = (pid: number): number[] => {
        const { stdout } = spawnSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' });
        const found = stdout.split('\n').map(Number).filter(Boolean);
        return found.flatMap((one) => [one, ...below(one)]);
      };
      return below(child.pid ?? 0);
    },
    quit: async () => {
      const ended = new Promise((done) => child.on('exit', done));
      child.stdin.write('q');
      await pause(300);
      child.stdin.write('d');
      await ended;
    },
  };
}

const quantile = (values: readonly number[], part: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? 0;
const ms = (value: number): string => `${value.toFixed(1)} ms`;

/** Seconds of processor time. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function memoryOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

async function keys(board: Dashboard, count: number): Promise<string> {
  const times: number[] = [];
  for (let index = 0; index < count; index += 1) {
    // A drawing that is due anyway would be taken for the key's.
    await pause(40 + (index % 7) * 13);
    times.push(await board.key(index % 2 === 0 ? '\t' : '\x1b[Z'));
  }
  return `p50 ${ms(quantile(times, 0.5))}, p95 ${ms(quantile(times, 0.95))}, longest ${ms(Math.max(...times))}`;
}

function makeDrives(): void {
  for (const name of ['config', 'data', 'M', 'B']) mkdirSync(join(home, name), { recursive: true });
  const drives = ['M', 'B'].map((name) => `    - { path: ${join(home, name)}, label: ${name} }`).join('\n');
  writeFileSync(join(home, 'config', 'app.yaml'), `version: 1\ndrives:\n  virtual:\n${drives}\n`);
  run('groups', 'create', 'Bench', '--master', 'M', '--backup', 'B');
  run('sync', 'run', 'Bench');
  for (let folder = 0; folder < FILES / 1000; folder += 1) {
    mkdirSync(join(home, 'M', `d${folder}`));
    for (let file = 0; file < 1000; file += 1)
      writeFileSync(join(home, 'M', `d${folder}`, `f${file}.raf`), 'x'.repeat(500));
  }
}

function run(...words: string[]): void {
  const { status, stderr } = spawnSync(process.execPath, [tandem, ...words], { env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`tandem ${words.join(' ')}: ${stderr}`);
}

/** How long Node itself takes to start here and now, for comparison: median of five. */
function nodeAlone(): number {
  const times = Array.from({ length: 5 }, () => {
    const begun = performance.now();
    spawnSync(process.execPath, ['-e', '0']);
    return performance.now() - begun;
  });
  return quantile(times, 0.5);
}

function drawing(): void {
  const world: World = {
    screens: SCREENS,
    theme: THEME,
    readOnly: false,
    now: NOW,
    frame: 0,
    width: 120,
    height: 35,
    trouble: undefined,
    read: (name) => ({ value: DATA[name] as never }),
  };
  let state = startState(SCREENS);
  const times: number[] = [];
  for (let round = 0; round < 500; round += 1) {
    const begun = performance.now();
    state = onInput(state, { kind: 'key', name: 'tab', text: '' }, world).state;
    state = drawApp(state, world).state;
    times.push(performance.now() - begun);
  }
  console.log(
    `one drawing of Home, 120 × 35, in cells    p50 ${ms(quantile(times, 0.5))}, p95 ${ms(quantile(times, 0.95))}`,
  );
  const rows = Array.from({ length: 100_000 }, (_, index) => ({ path: `2026/07/IMG_${index}.RAF` }));
  const columns = [{ title: 'File', value: (row: { path: string }) => row.path }];
  const steps: number[] = [];
  let table = emptyTable;
  for (let round = 0; round < 500; round += 1) {
    const begun = performance.now();
    table = tableKey(table, { kind: 'key', name: 'pgdn', text: '' }, rows.length, 1) ?? table;
    table = drawTable(new Canvas(120, 35, THEME), rows, columns, table, { focus: true, empty: '' });
    steps.push(performance.now() - begun);
  }
  console.log(
    `one key on a table of 100,000 rows          p50 ${ms(quantile(steps, 0.5))}, p95 ${ms(quantile(steps, 0.95))}`,
  );
}

const DATA: Readonly<Record<string, unknown>> = {
  status: overview({ drives: [drive('A'), drive('B')], groups: [group('photos', 'A', 'B')] }),
  running: [running('photos')],
  feed: [],
  commands: [],
};

async function measure(): Promise<void> {
  drawing();
  makeDrives();
  const paints: number[] = [];
  const works: number[] = [];
  for (let round = 0; round < 7; round += 1) {
    const board = await open();
    paints.push(board.firstPaint);
    works.push(cpuOf(board.pids()[0] ?? 0) * 1000);
    await board.quit();
  }
  console.log(
    `first paint, from the fork of a pseudo terminal  median ${ms(quantile(paints.slice(1), 0.5))} (first ${ms(paints[0] ?? 0)}), processor time about ${ms(quantile(works, 0.5))}; node alone ${ms(nodeAlone())}`,
  );
  const board = await open();
  await pause(3000);
  console.log(`key to first byte, idle                     ${await keys(board, KEYS)}`);
  await pause(5000);
  const [own = 0, reader = 0] = board.pids();
  const before = { bytes: board.bytes(), own: cpuOf(own), reader: cpuOf(reader) };
  await pause(IDLE_SECONDS * 1000);
  const share = (pid: number, from: number): string => `${(((cpuOf(pid) - from) / IDLE_SECONDS) * 100).toFixed(2)} %`;
  console.log(
    `idle for ${IDLE_SECONDS} s: dashboard ${share(own, before.own)}, reader ${share(reader, before.reader)} of a core, ${board.bytes() - before.bytes} bytes to the terminal`,
  );
  console.log(`memory: dashboard ${memoryOf(own).toFixed(0)} MB, reader ${memoryOf(reader).toFixed(0)} MB`);
  const sync = spawn(process.execPath, [tandem, 'sync', 'run', 'Bench', '--progress', 'none'], {
    env,
    stdio: 'ignore',
  });
  const ended = new Promise<void>((done) => sync.on('exit', () => done()));
  await pause(1000);
  console.log(`key to first byte, ${FILES} files being synced  ${await keys(board, KEYS)}`);
  console.log(sync.exitCode === null ? 'the sync still runs' : 'the sync had ended before the last key');
  await ended;
  console.log(`memory then: dashboard ${memoryOf(own).toFixed(0)} MB, reader ${memoryOf(reader).toFixed(0)} MB`);
  await board.quit();
}

try {
  console.log(`${cpus().length} × ${cpus()[0]?.model ?? 'processor'}, Node ${process.version}`);
  spawnSync(process.execPath, [join(repo, 'tui', 'build.mjs')]);
  if (process.argv[2] === 'soak') await soak(Number(process.env['BENCH_MINUTES'] ?? 6));
  else await measure();
} finally {
  rmSync(home, { recursive: true, force: true });
}
