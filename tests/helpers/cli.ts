/** Runs the real `tandem` in a process of its own, with folders of its own, and hands back what it said. */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface CliResult {
  /** Exit code; 128 + the signal's number when a signal ended it. */
  code: number;
  stdout: string;
  stderr: string;
  /** stdout as the one JSON document that it must be. */
  json(): unknown;
}

export interface CliOptions {
  env?: Record<string, string>;
  /** Text for stdin; without it stdin is empty. */
  input?: string;
  /** Milliseconds, default 30,000. */
  timeout?: number;
  /** Another program than `tui/tandem.mjs`, as words after `node`. */
  program?: readonly string[];
}

export interface Sandbox {
  readonly root: string;
  readonly config: string;
  readonly data: string;
  /** Folders that take part as the virtual drives MASTER and BACKUP. */
  readonly master: string;
  readonly backup: string;
  run(args: readonly string[], options?: CliOptions): Promise<CliResult>;
  cleanup(): void;
}

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));

/** Runs `tandem ARGS` with empty config and data folders that are removed afterwards. */
export async function run(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const root = mkdtempSync(join(tmpdir(), 'tandem-cli-'));
  try {
    const env = { TANDEM_CONFIG: join(root, 'config'), TANDEM_DATA: join(root, 'data'), ...options.env };
    return await runProgram(args, { ...options, env });
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** Folders for several runs that belong together; call `cleanup` in `finally`. */
export function sandbox(): Sandbox {
  const root = mkdtempSync(join(tmpdir(), 'tandem-sandbox-'));
  const at = (name: string): string => join(root, name);
  for (const name of ['config', 'data', 'master', 'backup']) mkdirSync(at(name));
  const drives = ['master', 'backup'].map(
    (name) => `    - path: ${JSON.stringify(at(name))}\n      label: ${name.toUpperCase()}\n`,
  );
  writeFileSync(join(at('config'), 'app.yaml'), `version: 1\ndrives:\n  virtual:\n${drives.join('')}`);
  const env = { TANDEM_CONFIG: at('config'), TANDEM_DATA: at('data') };
  return {
    root,
    config: at('config'),
    data: at('data'),
    master: at('master'),
    backup: at('backup'),
    run: (args, options = {}) => runProgram(args, { ...options, env: { ...env, ...options.env } }),
    cleanup: () => rmSync(root, { recursive: true, force: true }),
  };
}

// --- internal ---

function runProgram(args: readonly string[], options: CliOptions): Promise<CliResult> {
  const program = options.program ?? [join(REPOSITORY, 'tui', 'tandem.mjs')];
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [...program, ...args], {
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    let stdout = '';
    let stderr = '';
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    }, options.timeout ?? 30_000);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
    child.on('error', fail);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (late) return fail(new Error(`tandem ${args.join(' ')} did not end in time.\n${stdout}\n${stderr}`));
      const number = signal === null ? 0 : (constants.signals[signal] ?? 0);
      done({ code: code ?? 128 + number, stdout, stderr, json: () => parseJson(stdout, stderr) });
    });
  });
}

function parseJson(stdout: string, stderr: string): unknown {
  try {
    return JSON.parse(stdout);
  } catch {
    throw new Error(`stdout is not one JSON document:\n${stdout}\nstderr:\n${stderr}`);
  }
}
