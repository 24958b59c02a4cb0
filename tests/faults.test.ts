/** Each call on a drive fails once, or from some moment on: nothing is lost or torn, and the next run finishes the work. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { constants as os, tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EXIT } from '../shared/errors.ts';
import { REPOSITORY } from './helpers/cli.ts';
import { skipped } from './helpers/drives.ts';
import type { FaultReport } from './helpers/faulty.ts';
import { inMemory } from './helpers/memory.ts';
import { edit, withPair } from './helpers/pair.ts';

const test = suite('faults');
const folder = mkdtempSync(join(tmpdir(), 'tandem-faults-'));
const library = join(folder, 'faults.so');
test.after(() => rmSync(folder, { recursive: true }));

/** Undefined when the library is there. */
function whyNot(): string | undefined {
  if (process.platform !== 'linux') return 'LD_PRELOAD is for Linux';
  const source = join(REPOSITORY, 'tests/fixtures/faults/faults.c');
  const built = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl'], { encoding: 'utf8' });
  return built.status === 0 ? undefined : `no C compiler: ${built.error?.message ?? built.stderr}`;
}

/** The share `mine` of `processes` in a process of its own. */
function trial(
  processes: number,
  mine: number,
  env: Record<string, string> = {},
  names: readonly string[] = [],
): Promise<FaultReport> {
  const seed = process.env['SEED'] === 'random' ? Math.floor(Math.random() * 10) : 0;
  const words = [
    '--import',
    'tsx',
    join(REPOSITORY, 'tests/helpers/faulty.ts'),
    library,
    processes,
    mine,
    seed,
    ...names,
  ];
  const child = spawn(process.execPath, words.map(String), {
    cwd: REPOSITORY,
    // One database is asked one thing at a time: more threads would only hand it around.
    env: { ...process.env, TANDEM_NO_FIND: '1', UV_THREADPOOL_SIZE: '1', LD_PRELOAD: library, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (text) => {
    stdout += String(text);
  });
  child.stderr.on('data', (text) => {
    stderr += String(text);
  });
  return new Promise((done, fail) => {
    child.on('close', (code) => {
      if (code === 0) done(JSON.parse(stdout) as FaultReport);
      else fail(new Error(`the trial ended with ${code}: ${stderr.slice(-2000)}`));
    });
  });
}

function sum(reports: readonly FaultReport[], of: 'hit' | 'ends'): Record<string, number> {
  const total: Record<string, number> = {};
  for (const report of reports)
    for (const [name, count] of Object.entries(report[of])) total[name] = (total[name] ?? 0) + count;
  return total;
}

const reason = whyNot();
const faultTest = (name: string, work: () => Promise<void>): void => {
  if (reason === undefined) test(name, () => inMemory(work));
  else skipped(name, reason);
};

faultTest(
  'every call of a sync fails, one by one or with all after it: old or new, nothing lost, the next run completes',
  async () => {
    // Both ways in: what the product calls by itself, and what Node calls for it.
    const own = ['openat', 'statx', 'renameat2', 'linkat', 'mkdirat', 'symlinkat', 'futimens', 'syncfs'];
    const nodes = ['read', 'fsync', 'scandir64', 'rmdir'];
    const reports = await Promise.all([trial(2, 0, {}, own), trial(2, 1, {}, nodes)]);
    assert.equal(
      reports.flatMap(({ broken }) => broken),
      [],
    );
    const hit = sum(reports, 'hit');
    const runs = Object.values(hit).reduce((total, count) => total + count, 0);
    assert.ok(runs >= (reports[0]?.calls ?? 1), `${runs} faults in ${reports[0]?.calls} calls`);
    for (const name of [...own, ...nodes]) assert.ok((hit[name] ?? 0) > 0, `${name} failed`);
    assert.ok((hit['pwrite64'] ?? 0) + (hit['write'] ?? 0) > 0, 'writing failed');
  },
);

faultTest('the same where there are no native calls: a share of them', async () => {
  const report = await trial(8, 3, { TANDEM_NO_FFI: '1' });
  assert.equal(report.broken, []);
  assert.ok(report.calls > 200, `${report.calls} calls`);
});

faultTest(
  'a drive that dies in the middle of the real program: a sentence, an exit code, and no half file',
  async () => {
    await withPair({ master: { a: 'old', 'd/b': 'old' } }, async (pair) => {
      await pair.sync();
      edit(pair.master, { a: 'new', 'd/b': 'new', c: 'new' });
      const env = { LD_PRELOAD: library, FAULT_ROOTS: `${pair.master}:${pair.backup}`, FAULT_FOREVER: '1' };
      for (const [at, name] of [
        [1, 'EIO'],
        [60, 'EACCES'],
        [120, 'EROFS'],
        [180, 'ENOSPC'],
        [240, 'EIO'],
      ] as const) {
        const faulty = { ...env, FAULT_AT: String(at), FAULT_ERRNO: String(os.errno[name]) };
        const { code, stderr, stdout } = await pair.box.run(['sync', 'run', 'Archive'], { env: faulty });
        const codes: number[] = [EXIT.done, EXIT.failed, EXIT.usage, EXIT.partial, EXIT.driveMissing, EXIT.guard];
        assert.ok(codes.includes(code), `exit ${code}: ${stdout}${stderr}`);
        assert.not.match(stderr, /\n\s+at .*:\d+:\d+/, 'no stack trace');
        assert.not.match(stderr, /^error: E[A-Z]+: /m, 'a sentence');
        assert.is.not(code, EXIT.locked, 'a drive that fails is no other process');
      }
      const next = await pair.sync();
      assert.equal([next.status, next.conflicts_detected], ['completed', 0]);
    });
  },
);

test.run();
