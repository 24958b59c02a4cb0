/**
 * `npm run bench watch`, or `npx tsx tests/bench/watch.ts [PART…]`: a whole process, `tandem watch run`, as users have it.
 *
 * - `large`: 50,000 files in 5,000 folders: until it is active, a change to the Backup, processor time a minute later, memory
 * - `burst`: 20,000 files that come at once, against a plain sync of them
 * - `slow`: a file of 1 GiB that takes its time
 * - `changes`: 10,000 changes: what the process has grown by, after 10,000 others
 * - `plugs`: a real drive pulled and plugged in 100 times (as root), after 50 others
 *
 * Medians of BENCH_ROUNDS (3). Trees lie on tmpfs where there is one, drives are virtual but for those of `plugs`.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import * as assert from 'uvu/assert';
import { REPOSITORY } from '../helpers/cli.ts';
import { drivesAvailable, withDrives } from '../helpers/drives.ts';
import { type TestPair, withPair, withRealPair } from '../helpers/pair.ts';
import { contents } from '../helpers/stored.ts';
import { pause, until } from '../helpers/watching.ts';

if (existsSync('/dev/shm')) process.env['TMPDIR'] = '/dev/shm';
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 3);
const DEBOUNCE_MS = 500;
const MINUTE = 60_000;
/** After which a process that has nothing to do has had its garbage collected: shared/memory.ts. */
const REST_MS = 13_000;
const TANDEM = join(REPOSITORY, 'tui', 'tandem.mjs');

interface Running {
  pid: number;
  /** Milliseconds from its start until it was active. */
  ready: number;
  state(): string;
  /** Results of runs, as they are printed. */
  runs: { files_copied: number; bytes_copied: number }[];
}

/** @param alone where it hears of no mounts but its own: each one on the machine has it look at all drives. */
async function running(
  pair: TestPair,
  debounce: number,
  work: (one: Running) => Promise<void>,
  alone = false,
): Promise<void> {
  const began = performance.now();
  const words = [TANDEM, 'watch', 'run', 'Archive', '--json', '--debounce', String(debounce / 1000)];
  const command = [...(alone && process.getuid?.() === 0 ? ['unshare', '-m'] : []), process.execPath, ...words];
  const child: ChildProcess = spawn(command[0] as string, command.slice(1), {
    env: environment(pair),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((done) => child.once('exit', done));
  let state = '';
  const runs: Running['runs'] = [];
  if (child.stdout)
    createInterface({ input: child.stdout }).on('line', (line) => {
      const said = JSON.parse(line);
      if (said.operation_id === undefined) state = said.status;
      else runs.push(said);
    });
  try {
    await until(() => state === 'active' || state, 2 * MINUTE);
    await work({ pid: child.pid as number, ready: performance.now() - began, state: () => state, runs });
  } finally {
    child.kill('SIGINT');
    await ended;
  }
}

const environment = ({ box }: TestPair): NodeJS.ProcessEnv => ({
  ...process.env,
  TANDEM_CONFIG: box.config,
  TANDEM_DATA: box.data,
});

/** Milliseconds of a run by hand. */
function plainSync(pair: TestPair): number {
  const began = performance.now();
  const { status, stderr } = spawnSync(process.execPath, [TANDEM, 'sync', 'run', 'Archive', '--progress', 'none'], {
    env: environment(pair),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return performance.now() - began;
}

/** Its MB, now and at most; what its helpers take, in MB; its open descriptors. */
function weigh(pid: number): { now: number; peak: number; helpers: number; descriptors: number } {
  const field = (of: number, name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(textOf(`/proc/${of}/status`))?.[1] ?? 0) / 1024;
  return {
    now: field(pid, 'VmRSS'),
    peak: field(pid, 'VmHWM'),
    helpers: childrenOf(pid).reduce((sum, child) => sum + field(child, 'VmRSS'), 0),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** Milliseconds of processor time of the process and its helpers. */
function processorTime(pid: number): number {
  return [pid, ...childrenOf(pid)].reduce((sum, one) => {
    // Its own, and that of children that have ended.
    const ticks = textOf(`/proc/${one}/stat`)
      .replace(/^.*\) /, '')
      .split(' ')
      .slice(11, 15);
    return ticks.reduce((total, tick) => total + Number(tick) * 10, sum);
  }, 0);
}

/** Empty when the process has just ended. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

function build(root: string, folders: number, files: number, size: number): void {
  const then = Date.now() / 1000 - 3600;
  for (let folder = 0; folder < folders; folder += 1) {
    const path = join(root, `${folder % 50}/${folder}`);
    mkdirSync(path, { recursive: true });
    for (let file = 0; file < files; file += 1) {
      writeFileSync(join(path, `${file}.raw`), Buffer.alloc(size, folder));
      utimesSync(join(path, `${file}.raw`), then, then);
    }
  }
}

const sorted = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b);
const median = (values: readonly number[]): number => sorted(values)[Math.floor(values.length / 2)] ?? 0;
const say = (text: string): void => console.log(`  ${text}`);
const range = (values: readonly number[]): string => `(${values.map((value) => Math.round(value)).join(', ')})`;

async function large(): Promise<void> {
  await withPair({}, async (pair) => {
    build(pair.master, 5000, 10, 1);
    plainSync(pair);
    const [ready, latency, rest, now, peak, helpers]: number[][] = [[], [], [], [], [], []];
    for (let round = 0; round < ROUNDS; round += 1)
      await running(
        pair,
        DEBOUNCE_MS,
        async (one) => {
          ready?.push(one.ready);
          for (let change = 0; change < 20; change += 1) {
            const path = `${change}/${change}/changed${round}-${change}.raw`;
            const start = performance.now();
            writeFileSync(join(pair.master, path), `${change}`);
            while (!existsSync(join(pair.backup, path))) await pause(2);
            latency?.push(performance.now() - start - DEBOUNCE_MS);
            await pause(1000);
          }
          await pause(MINUTE);
          const before = processorTime(one.pid);
          await pause(30_000);
          rest?.push((processorTime(one.pid) - before) / 300);
          const weight = weigh(one.pid);
          now?.push(weight.now);
          peak?.push(weight.peak);
          helpers?.push(weight.helpers);
        },
        true,
      );
    console.log('\n50,000 files in 5,000 folders');
    say(`active after ${Math.round(median(ready ?? []))} ms ${range(ready ?? [])}  (promised: under 3000)`);
    const at = sorted(latency ?? []);
    const p95 = Math.round(at[Math.floor(at.length * 0.95)] ?? 0);
    say(`a change beyond the debounce: median ${Math.round(median(at))} ms, p95 ${p95} ms  (promised: at most 200)`);
    say(
      `at rest: ${median(rest ?? []).toFixed(2)} % of a core (${(rest ?? []).map((one) => one.toFixed(2)).join(', ')})  (promised: under 0.5)`,
    );
    say(`memory: ${Math.round(median(now ?? []))} MB ${range(now ?? [])}  (promised: under 150)`);
    say(
      `  at most ${Math.round(Math.max(...(peak ?? [])))} MB; findmnt beside it ${median(helpers ?? []).toFixed(0)} MB`,
    );
  });
}

/** From the last file that was written until all are on the Backup and their run has ended. */
async function burst(): Promise<void> {
  const [times, plain]: number[][] = [[], []];
  for (let round = 0; round < ROUNDS; round += 1) {
    await withPair({}, async (pair) => {
      build(join(pair.master, 'burst'), 200, 100, 8192);
      plain?.push(plainSync(pair));
    });
    await withPair({ master: { 'a/x': '1' } }, async (pair) => {
      const source = join(pair.box.root, 'source');
      build(source, 200, 100, 8192);
      await running(pair, DEBOUNCE_MS, async (one) => {
        spawnSync('cp', ['-r', source, join(pair.master, 'burst')]);
        const began = performance.now();
        const copied = (): number => one.runs.reduce((sum, run) => sum + run.files_copied, 0);
        await until(() => copied() >= 20_001 || `${copied()} copied`, 5 * MINUTE);
        times?.push(performance.now() - began);
      });
      assert.equal(contents(join(pair.backup, 'burst')), contents(join(pair.master, 'burst')));
    });
  }
  const [mine, other] = [median(times ?? []), median(plain ?? [])];
  console.log('\n20,000 files of 8 KiB at once');
  say(`on the Backup ${Math.round(mine)} ms after the last was written ${range(times ?? [])}`);
  say(`plain sync of the same ${Math.round(other)} ms ${range(plain ?? [])}`);
  say(`ratio ${(mine / other).toFixed(2)}  (promised: at most 2)`);
}

async function slow(): Promise<void> {
  await withPair({ master: { 'a/x': '1' } }, async (pair) => {
    plainSync(pair);
    await running(pair, DEBOUNCE_MS, async (one) => {
      const part = Buffer.alloc(64 * 1024 * 1024, 7);
      const file = openSync(join(pair.master, 'a/clip.mov'), 'w');
      for (let at = 0; at < 16; at += 1) {
        writeSync(file, part);
        await pause(700);
      }
      closeSync(file);
      const before = one.runs.length;
      await until(() => one.runs.some(({ bytes_copied }) => bytes_copied >= 2 ** 30) || 'not copied', 2 * MINUTE);
      await pause(3000);
      const same = spawnSync('cmp', [join(pair.master, 'a/clip.mov'), join(pair.backup, 'a/clip.mov')]).status === 0;
      console.log('\n1 GiB written in 11 s');
      say(`runs before it was closed ${before}, after that ${one.runs.length - before}, the same: ${same}`);
      say(`memory at most ${Math.round(weigh(one.pid).peak)} MB`);
      if (before > 0 || one.runs.length - before !== 1 || !same) throw new Error('not synced once and whole');
    });
  });
}

async function changes(): Promise<void> {
  await withPair({}, async (pair) => {
    build(pair.master, 50, 10, 100);
    plainSync(pair);
    await running(pair, 100, async (one) => {
      const weights: ReturnType<typeof weigh>[] = [];
      const file = (at: number): string => join(`${at % 50}/${at % 50}`, `change${at % 100}`);
      for (let batch = 0; batch < 400; batch += 1) {
        for (let at = 0; at < 50; at += 1) writeFileSync(join(pair.master, file(at)), `${batch} ${at}`);
        const arrived = (at: number): boolean => {
          const path = join(pair.backup, file(at));
          return existsSync(path) && readFileSync(path, 'utf8') === `${batch} ${at}`;
        };
        await until(() => Array.from({ length: 50 }, (_, at) => at).every(arrived) || `batch ${batch}`, MINUTE);
        await pause(500);
        if (batch % 20 === 19) weights.push(await atRest(one.pid));
      }
      console.log('\n10,000 changes in 200 batches, after as many; weighed at rest after each 1000');
      grown(weights.slice(9));
    });
  });
}

async function atRest(pid: number): Promise<ReturnType<typeof weigh>> {
  await pause(REST_MS);
  return weigh(pid);
}

/** What came before is left out: functions are compiled until then that had not run often enough. */
function grown(weights: readonly ReturnType<typeof weigh>[]): void {
  const memory = weights.map(({ now }) => now);
  const [first = 0, last = 0] = [memory[0], memory.at(-1)];
  say(`memory ${first.toFixed(1)} MB, then ${last.toFixed(1)} MB  (promised: no growth)`);
  say(`  in between ${memory.map((one) => one.toFixed(1)).join(', ')}`);
  const descriptors = weights.map((one) => one.descriptors);
  say(`descriptors ${descriptors[0]}, then ${descriptors.at(-1)}, at most ${Math.max(...descriptors)}`);
}

async function plugs(): Promise<void> {
  if (!drivesAvailable('ext4')) return say('plugs: drives cannot be made here');
  const specs = ['W_MASTER', 'W_BACKUP'].map((label) => ({ label, fs: 'ext4' as const }));
  await withDrives(specs, (drives) =>
    withRealPair(drives, { master: { 'a/x': '1' } }, (pair) =>
      running(pair, 100, async (one) => {
        const weights: ReturnType<typeof weigh>[] = [];
        for (let cycle = 0; cycle < 150; cycle += 1) {
          const drive = drives[cycle % 2];
          drive?.unplug();
          await until(() => one.state() === 'waiting for drive' || one.state(), MINUTE);
          drive?.replug();
          await until(() => one.state() === 'active' || one.state(), MINUTE);
          const path = join('a', `cycle${cycle}`);
          writeFileSync(join(pair.master, path), `${cycle}`);
          await until(() => existsSync(join(pair.backup, path)) || `cycle ${cycle}`, MINUTE);
          await pause(500);
          if (cycle % 10 === 9) weights.push(await atRest(one.pid));
        }
        console.log('\n100 times pulled and plugged in, by turns, after 50 times; weighed at rest after each 10');
        grown(weights.slice(4));
        const trash = join(pair.backup, '.tandem', 'trash');
        if (existsSync(trash) && readdirSync(trash).length > 0) throw new Error('something was deleted or replaced');
      }),
    ),
  );
}

const parts: Record<string, () => Promise<void>> = { large, burst, slow, changes, plugs };
const wanted = process.argv.slice(2);
const built = spawnSync(process.execPath, [join(REPOSITORY, 'tui', 'build.mjs')], { encoding: 'utf8' });
if (built.status !== 0) throw new Error(built.stderr);
for (const [name, part] of Object.entries(parts)) if (wanted.length === 0 || wanted.includes(name)) await part();
