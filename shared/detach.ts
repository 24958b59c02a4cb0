/** Starts tandem again as a process of its own that outlives this one and its terminal. */
import { spawn } from 'node:child_process';
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
  /** Lets this process end without it, and removes the file of its messages. */
  release(): void;
}

/** `words` as on the command line, without `tandem`. */
export function spawnDetached(words: readonly string[], ctx: Context): Detached {
  const launcher = join(fileURLToPath(new URL('.', import.meta.url)), '..', 'tui', 'tandem.mjs');
  mkdirSync(join(ctx.dataDir, 'log'), { recursive: true });
  const log = join(ctx.dataDir, 'log', `detached-${process.pid}-${Date.now()}.log`);
  const fd = openSync(log, 'w', 0o600);
  const child = spawn(process.execPath, [launcher, ...words, '--progress', 'none'], {
    detached: true,
    stdio: ['ignore', 'ignore', fd],
    env: { ...process.env, TANDEM_CONFIG: ctx.configDir, TANDEM_DATA: ctx.dataDir },
  });
  closeSync(fd);
  return {
    pid: child.pid ?? 0,
    ended: new Promise((done) => {
      child.on('error', () => done(1));
      child.on('exit', (code) => done(code ?? 1));
    }),
    complaint: () => readFileSync(log, 'utf8'),
    release: () => {
      child.unref();
      rmSync(log, { force: true });
    },
  };
}
