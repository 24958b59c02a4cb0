/**
 * `tandem --demo`: the dashboard on two practice drives, while a sync runs that is held slow enough to be watched. All of it
 * lies in one temporary folder. A process beside the dashboard removes it when the dashboard is gone, whatever ended that:
 * a signal and a terminal that hangs up leave no time to wait for the sync.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { stopDaemon } from '../features/daemon.ts';
import { runDemo } from '../features/demo.ts';
import { listOperations } from '../features/history.ts';
import { setControl } from '../features/steering.ts';
import { type Context, createContext } from '../shared/context.ts';
import { forkBeside, spawnDetached } from '../shared/detach.ts';

export interface Practice {
  /** On the practice drives. */
  ctx: Pick<Context, 'configDir' | 'dataDir' | 'now'>;
  /** Stops what runs there and removes the folder. */
  end(write: (line: string) => void): Promise<void>;
}

/** Makes the drives, syncs them once, adds a shoot to the Master, and starts to sync it. */
export async function startPractice(ctx: Context, write: (line: string) => void): Promise<Practice> {
  write('Making two practice drives …');
  const folder = mkdtempSync(join(tmpdir(), PREFIX));
  const keeper = forkBeside(['practice-keeper', folder]);
  const kept = new Promise((done) => {
    keeper.on('error', done);
    keeper.on('exit', done);
  });
  const remove = async (): Promise<void> => {
    if (keeper.connected) keeper.disconnect();
    await kept;
  };
  try {
    await runDemo({ dir: folder }, ctx);
    addShoot(join(folder, 'PhotoMaster', '2026-07 Wedding'));
    const own = createContext({ ...foldersIn(folder), now: ctx.now });
    const sync = spawnDetached(['sync', 'run', 'Archive', '--bwlimit', '4'], own);
    keeper.send(sync.pid);
    return {
      ctx: own,
      end: async (say) => {
        say('Removing the practice drives …');
        sync.release();
        await own.close();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** The process beside it: waits until the channel closes, then stops what runs in the folder and removes it. */
export async function keepPractice(folder: string): Promise<void> {
  if (dirname(folder) !== tmpdir() || !basename(folder).startsWith(PREFIX)) return;
  let sync: number | undefined;
  process.on('message', (pid) => {
    sync = Number(pid);
  });
  await new Promise((done) => process.once('disconnect', done));
  await stopAll(folder, () => sync !== undefined && isThere(sync));
  // The reader of the dashboard ends by itself, and may write its cache once more.
  for (let gone = 0; gone < 4; gone = existsSync(folder) ? 0 : gone + 1) {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    await pause(250);
  }
}

// --- internal ---

const PREFIX = 'tandem-practice-';
/** Milliseconds for what runs to end: files in flight are finished. */
const PATIENCE = 60_000;
const SHOTS = 120;
const SHOT_SIZE = 2_500_000;

function foldersIn(folder: string): Pick<Context, 'configDir' | 'dataDir'> {
  return { configDir: join(folder, 'config'), dataDir: join(folder, 'data') };
}

/** Five minutes of copying at the speed of the demonstration would be too long; this is about one. */
function addShoot(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (let shot = 1; shot <= SHOTS; shot += 1) {
    const name = `IMG_${String(4400 + shot)}.RAF`;
    writeFileSync(join(folder, name), Buffer.alloc(SHOT_SIZE, shot));
  }
}

/** @param begins a sync that may have no row yet */
async function stopAll(folder: string, begins: () => boolean): Promise<void> {
  const ctx = createContext(foldersIn(folder));
  try {
    await stopDaemon(ctx);
    for (const begun = performance.now(); performance.now() - begun < PATIENCE; ) {
      const running = await listOperations({ status: 'running', limit: 'all' }, ctx);
      for (const operation of running) await setControl(operation, 'cancel', ctx).catch(() => {});
      if (running.length === 0 && !begins()) return;
      await pause(100);
    }
  } finally {
    await ctx.close();
  }
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
