/**
 * However the process ends, the terminal is given back as it was, and the exit code says why: 129 hung up, 130 Ctrl-C,
 * 131 quit, 143 terminated, 70 an error of the program itself (which is printed once the terminal is back).
 *
 * After a hang-up nothing may be written and `process.exit` must not be called inside the handler (Node 20 crashes): the
 * listeners are dropped and the signal is raised once more.
 */
import { writeSync } from 'node:fs';

export interface Guard {
  /** Takes the listeners off again. */
  release(): void;
}

/** @param restore gives the terminal back; must work twice and must not throw. */
export function guardTerminal(restore: () => void): Guard {
  const stop = (code: number) => (): void => {
    restore();
    process.exit(code);
  };
  const hangUp = (): void => {
    restore();
    process.removeAllListeners('SIGHUP');
    process.kill(process.pid, 'SIGHUP');
  };
  const crash = (error: unknown): void => {
    restore();
    report(error);
    process.exit(CRASHED);
  };
  const handlers: readonly (readonly [event: string, handler: (error: unknown) => void])[] = [
    ['SIGHUP', hangUp],
    ['SIGINT', stop(130)],
    ['SIGQUIT', stop(131)],
    ['SIGTERM', stop(143)],
    ['uncaughtException', crash],
    ['unhandledRejection', crash],
    ['exit', restore],
  ];
  const emitter: NodeJS.EventEmitter = process;
  // Before all others: a listener of the command line would print into the dashboard, and end with another code.
  for (const [event, handler] of handlers) emitter.prependListener(event, handler);
  return {
    release: () => {
      for (const [event, handler] of handlers) emitter.off(event, handler);
    },
  };
}

// --- internal ---

const CRASHED = 70;

/** Straight to the descriptor: a stream may not have written when the process ends. */
function report(error: unknown): void {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  try {
    writeSync(2, `tandem: the dashboard failed; what runs in other processes goes on.\n${text}\n`);
  } catch {
    // There is no terminal any more.
  }
}
