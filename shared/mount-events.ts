/** Hearing of mounts as they happen, and waits that such news ends early. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { parseMountEvent } from './platform.ts';

/** Follows mounts as they happen; without findmnt the look each second has to do. Returns what ends it. */
export function followMounts(unmounted: Set<string>, ring: () => void): () => void {
  const child = spawn('findmnt', ['--poll', '-P', '-o', 'ACTION,TARGET'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, LC_ALL: 'C' },
  });
  child.on('error', () => {});
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    const event = parseMountEvent(line);
    if (event?.action === 'umount' || event?.action === 'move') unmounted.add(event.mount_path);
    ring();
  });
  return () => {
    lines.close();
    child.kill();
  };
}

export interface Bell {
  ring(): void;
  wait(milliseconds: number): Promise<void>;
}

/** Waits that end early when rung; a ring while nobody waits ends the next one. */
export function createBell(signal: AbortSignal): Bell {
  let rung = false;
  let wake: (() => void) | undefined;
  const ring = (): void => {
    rung = true;
    wake?.();
  };
  const wait = (milliseconds: number): Promise<void> =>
    new Promise((done) => {
      const finish = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', finish);
        wake = undefined;
        rung = false;
        done();
      };
      const timer = setTimeout(finish, milliseconds);
      signal.addEventListener('abort', finish, { once: true });
      wake = finish;
      if (rung || signal.aborted) finish();
    });
  return { ring, wait };
}
