/**
 * Runs the tests: `npm test`, or `npx tsx tests/run.ts [-v] [filter…]`. A process per file, a time limit per file, and a
 * count that cannot be green by accident: whatever keeps a test from running, or leaves a drive mounted, is a failure.
 * The last line is `N passed, N failed`, with `, N skipped` when something could not run here.
 *
 * TANDEM_TEST_TIMEOUT: seconds per file (400). TANDEM_TEST_JOBS: files at a time (2, or 3 on four cores and more).
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, symlinkSync } from 'node:fs';
import { cpus, tmpdir, userInfo } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { removeBelow } from './helpers/drives.ts';

export interface RunOptions {
  /** Folder whose `*.test.ts`, at any depth, are run. */
  folder: string;
  /** Only files whose path below the folder contains one of these. */
  filters: readonly string[];
  verbose: boolean;
  jobs: number;
  /** Milliseconds per file. */
  timeout: number;
  /** Whether a skipped test is a failure. */
  strict: boolean;
  write(text: string): void;
}

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Runs every matching file and writes the report; the last line is the sum. */
export async function runTests(options: RunOptions): Promise<Counts> {
  const { folder, filters, write } = options;
  const files = testFiles(folder).filter(
    (file) => filters.length === 0 || filters.some((part) => relative(folder, file).includes(part)),
  );
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  const temporary = realpathSync(mkdtempSync(join(tmpdir(), 'tandem-test-')));
  const running = new Set<ChildProcess>();
  const stop = (): void => {
    for (const child of running) killGroup(child);
    removeBelow(temporary);
    process.exit(130);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  if (files.length === 0) {
    write(`No test file matches ${filters.join(' ') || folder}.\n`);
    total.failed += 1;
  }
  const queue = longFirst(files);
  const worker = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const result = await runFile(file, join(temporary, String(queue.length)), running, options);
      report(file, result, options);
      total.passed += result.passed;
      total.failed += result.failed;
      total.skipped += result.skipped;
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, options.jobs) }, worker));
  process.off('SIGINT', stop);
  process.off('SIGTERM', stop);
  try {
    removeBelow(temporary);
  } catch (error) {
    // A process that a test left to end by itself may still write there; the results stand.
    write(`left behind: ${temporary} (${String(error)})\n`);
  }
  write(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}\n`);
  return total;
}

export interface FileResult extends Counts {
  /** Why more failed than uvu counted. */
  reasons: string[];
  output: string;
  seconds: number;
}

/** What a finished test process amounts to. */
export function judge(
  output: string,
  exit: { code: number | null; late: boolean },
  strict: boolean,
): Counts & { reasons: string[] } {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes begin with ESC
  const plain = output.replace(/\u001b\[[\d;]*m/g, '');
  const last = (word: string): number | undefined => {
    const matches = [...plain.matchAll(new RegExp(`^\\s*${word}:\\s+(\\d+)\\s*$`, 'gm'))];
    const text = matches.at(-1)?.[1];
    return text === undefined ? undefined : Number(text);
  };
  const tests = last('Total');
  const passed = last('Passed') ?? 0;
  const unable = plain.match(/^SKIPPED: .+$/gm)?.length ?? 0;
  const skips = (last('Skipped') ?? 0) + unable;
  const reasons: string[] = [];
  if (exit.late) reasons.push('the time limit was reached');
  if (tests === undefined) reasons.push('there is no summary: a missing .run(), or the process ended early');
  else if (tests === 0 && unable === 0) reasons.push('there is no test in it');
  const counted = tests === undefined ? 0 : Math.max(0, tests - passed);
  if (exit.code !== 0 && !exit.late && counted === 0 && reasons.length === 0) {
    reasons.push(exit.code === null ? 'a signal ended the process' : `the process ended with code ${exit.code}`);
  }
  if (strict && skips > 0)
    reasons.push(...Array.from({ length: skips }, () => 'a test was skipped, which CI does not allow'));
  return { passed, failed: counted + reasons.length, skipped: strict ? 0 : skips, reasons };
}

// --- internal ---

const OUTPUT_LIMIT = 4 * 1024 * 1024;

function testFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** What takes longest, measured on two cores; begun last, one of them would keep a single core busy at the end. */
const LONG = [
  'crash',
  'cables',
  'daemon',
  'faults',
  'model',
  'schedule.years',
  'stored.crash',
  'stored.drives',
  'sync',
  'sync.drives',
  'verify.fuse.drives',
  'watch',
  'watch.plugs.drives',
  'watch.states',
];

function longFirst(files: readonly string[]): string[] {
  const isLong = (file: string): boolean => LONG.includes(basename(file, '.test.ts'));
  return [...files.filter(isLong), ...files.filter((file) => !isLong(file))];
}

async function runFile(
  file: string,
  temporary: string,
  running: Set<ChildProcess>,
  options: RunOptions,
): Promise<FileResult> {
  if (/\.only\s*\(/.test(readFileSync(file, 'utf8'))) {
    return {
      passed: 0,
      failed: 1,
      skipped: 0,
      reasons: ['it contains .only, which hides other tests'],
      output: '',
      seconds: 0,
    };
  }
  mkdirSync(temporary);
  shareCaches(dirname(temporary), temporary);
  const started = performance.now();
  const { output, code, late } = await runProcess(file, temporary, running, options.timeout);
  const judged = judge(output, { code, late }, options.strict);
  const left = removeBelow(temporary);
  if (left.length > 0) {
    judged.failed += 1;
    judged.reasons.push(`it left behind (now removed): ${left.join(', ')}`);
  }
  return { ...judged, output, seconds: (performance.now() - started) / 1000 };
}

/**
 * Compiled code is the same for every file: what tsx made of a source, which it keeps in the temporary folder, and what V8
 * made of the bundles. Both are written by all at the same time, and read only as far as they fit the source.
 */
function shareCaches(run: string, temporary: string): void {
  const tsx = `tsx-${process.geteuid?.() ?? userInfo().username}`;
  const code = join('cache', 'tandem', 'code');
  for (const [shared, own] of [
    [join(tmpdir(), tsx), join(temporary, tsx)],
    [join(run, code), join(temporary, code)],
  ] as const) {
    mkdirSync(shared, { recursive: true, mode: 0o700 });
    mkdirSync(dirname(own), { recursive: true, mode: 0o700 });
    symlinkSync(shared, own);
  }
}

/** The temporary folder and tandem's own folders are the file's alone, so that no test touches the user's. */
function runProcess(
  file: string,
  temporary: string,
  running: Set<ChildProcess>,
  timeout: number,
): Promise<{ output: string; code: number | null; late: boolean }> {
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), file], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      TMPDIR: temporary,
      TANDEM_CONFIG: join(temporary, 'config'),
      TANDEM_DATA: join(temporary, 'data'),
      XDG_CACHE_HOME: join(temporary, 'cache'),
      NO_COLOR: '1',
    },
  });
  running.add(child);
  let chunks: Buffer[] = [];
  let size = 0;
  const keep = (chunk: Buffer): void => {
    chunks.push(chunk);
    size += chunk.length;
    if (size <= OUTPUT_LIMIT) return;
    chunks = [Buffer.concat(chunks).subarray(-OUTPUT_LIMIT / 2)];
    size = OUTPUT_LIMIT / 2;
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  return new Promise((done, fail) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      killGroup(child);
    }, timeout);
    child.on('error', fail);
    // What the file started and did not end keeps the pipes open: it ends with the file.
    child.on('exit', () => killGroup(child));
    child.on('close', (code) => {
      clearTimeout(timer);
      running.delete(child);
      done({ output: Buffer.concat(chunks).toString('utf8'), code, late });
    });
  });
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Nobody of the group is left.
  }
}

function report(file: string, result: FileResult, { folder, verbose, write }: RunOptions): void {
  const counts = [`${result.passed} passed`];
  if (result.failed > 0) counts.push(`${result.failed} failed`);
  if (result.skipped > 0) counts.push(`${result.skipped} skipped`);
  const sign = result.failed > 0 ? '✗' : '✓';
  if (result.failed > 0 || verbose) write(result.output.replace(/\n*$/, '\n'));
  else for (const line of result.output.match(/^SKIPPED: .+$/gm) ?? []) write(`${line}\n`);
  write(`${sign} ${relative(folder, file)}  ${counts.join(', ')}  ${result.seconds.toFixed(1)} s\n`);
  for (const reason of new Set(result.reasons)) write(`    ${reason}\n`);
}

function isMain(): boolean {
  return process.argv[1] !== undefined && pathToFileURL(realpathSync(process.argv[1])).href === import.meta.url;
}

if (isMain()) {
  const words = process.argv.slice(2);
  const verbose = words.includes('-v') || words.includes('--verbose');
  // Worker threads of these very sources, compiled once: tests start thousands of them.
  const built = spawnSync(process.execPath, [fileURLToPath(new URL('../tui/build.mjs', import.meta.url))]);
  if (built.status !== 0) throw new Error(String(built.stderr));
  process.env['TANDEM_BUNDLED_WORKERS'] = '1';
  const { failed } = await runTests({
    folder: fileURLToPath(new URL('.', import.meta.url)),
    filters: words.filter((word) => !word.startsWith('-')),
    verbose,
    jobs: Number(process.env['TANDEM_TEST_JOBS']) || (cpus().length >= 4 ? 3 : 2),
    timeout: (Number(process.env['TANDEM_TEST_TIMEOUT']) || 400) * 1000,
    strict: process.env['CI'] === 'true' && process.getuid?.() === 0,
    write: (text) => void process.stdout.write(text),
  });
  process.exitCode = failed > 0 ? 1 : 0;
}
