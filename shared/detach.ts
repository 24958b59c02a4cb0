/** Starts tandem again: as a process of its own that outlives this one and its terminal, or as a helper beside it. */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Context } from './context.ts';

export interface Detached {
  pid: number;
  /** Resolves with the exit code once the process has ended. */
  ended: Promise<number>;
  /** What it printed on stderr so far. */
  complaint(): string;
  /** What it printed on stdout so far, where that is kept. */
  printed(): string;
  /** Lets this process end without it, and removes the file of its messages. */
  release(): void;
}

interface SpawnOptions {
  keepOutput?: boolean;
  startedBy?: string;
  input?: string | undefined;
  password?: string | undefined;
}

/**
 * @param words as on the command line, without `tandem`
 * @param keepOutput what it prints on stdout can be asked for
 * @param startedBy who begins its operations, for the history
 * @param input for its stdin, when it holds a secret; then what it prints is kept in memory and never in a file
 * @param password for the key of a sealed group, in its environment
 */
export function spawnDetached(
  words: readonly string[],
  ctx: Pick<Context, 'configDir' | 'dataDir'>,
  { keepOutput = false, startedBy = '', input, password }: SpawnOptions = {},
): Detached {
  mkdirSync(join(ctx.dataDir, 'log'), { recursive: true });
  const log = join(ctx.dataDir, 'log', `detached-${process.pid}-${randomUUID().slice(0, 8)}.log`);
  const output = `${log}.out`;
  const fd = openSync(log, 'w', 0o600);
  const secret = input !== undefined;
  const out = keepOutput && !secret ? openSync(output, 'w', 0o600) : undefined;
  const child = spawn(process.execPath, [LAUNCHER, ...words, '--progress', 'none'], {
    detached: true,
    stdio: [secret ? 'pipe' : 'ignore', out ?? (keepOutput ? 'pipe' : 'ignore'), fd],
    env: {
      ...process.env,
      TANDEM_CONFIG: ctx.configDir,
      TANDEM_DATA: ctx.dataDir,
      TANDEM_STARTED_BY: startedBy,
      ...(password !== undefined && { TANDEM_PASSWORD: password }),
    },
  });
  closeSync(fd);
  if (out !== undefined) closeSync(out);
  let told = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    told += text;
  });
  // It may end before it has read all of that.
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  return {
    pid: child.pid ?? 0,
    ended: new Promise((done) => {
      child.on('error', () => done(1));
      // With a pipe the last of what it printed may come after its exit.
      child.on(secret ? 'close' : 'exit', (code) => done(code ?? 1));
    }),
    complaint: () => readFileSync(log, 'utf8'),
    printed: () => (out === undefined ? told : readFileSync(output, 'utf8')),
    release: () => {
      child.unref();
      told = '';
      child.stdout?.destroy();
      for (const file of [log, output]) rmSync(file, { force: true });
    },
  };
}

/** A helper with a channel to this process: the words name what it does, and it ends some time after the channel does. */
export function forkBeside(
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
  nodeOptions: readonly string[] = [],
): ChildProcess {
  return fork(LAUNCHER, words, {
    detached: true,
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    execArgv: [...nodeOptions],
    env: { ...process.env, ...env },
  });
}

// --- internal ---

const LAUNCHER = join(fileURLToPath(new URL('.', import.meta.url)), '..', 'tui', 'tandem.mjs');
