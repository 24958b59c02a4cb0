/**
 * `tandem --demo`: the dashboard on two practice drives, while a sync runs that is held slow enough to be watched. All of it
 * lies in one temporary folder, which is removed at the end.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runDemo } from '../features/demo.ts';
import { listOperations } from '../features/history.ts';
import { setControl } from '../features/steering.ts';
import { type Context, createContext } from '../shared/context.ts';
import { spawnDetached } from '../shared/detach.ts';

export interface Practice {
  /** On the practice drives. */
  ctx: Pick<Context, 'configDir' | 'dataDir' | 'now'>;
  /** Stops what runs there and removes the folder. */
  end(write: (line: string) => void): Promise<void>;
}

/** Makes the drives, syncs them once, adds a shoot to the Master, and starts to sync it. */
export async function startPractice(ctx: Context, write: (line: string) => void): Promise<Practice> {
  write('Making two practice drives …');
  const folder = mkdtempSync(join(tmpdir(), 'tandem-practice-'));
  try {
    await runDemo({ dir: folder }, ctx);
    addShoot(join(folder, 'PhotoMaster', '2026-07 Wedding'));
    const own = createContext({ configDir: join(folder, 'config'), dataDir: join(folder, 'data'), now: ctx.now });
    const sync = spawnDetached(['sync', 'run', 'Archive', '--bwlimit', '4'], own);
    return {
      ctx: own,
      end: async (say) => {
        say('Removing the practice drives …');
        for (const operation of await listOperations({ status: 'running', limit: 'all' }, own))
          await setControl(operation, 'cancel', own).catch(() => {});
        await sync.ended;
        sync.release();
        await own.close();
        rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
      },
    };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

// --- internal ---

const SHOTS = 120;
const SHOT_SIZE = 2_500_000;

/** Five minutes of copying at the speed of the demonstration would be too long; this is about one. */
function addShoot(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (let shot = 1; shot <= SHOTS; shot += 1) {
    const name = `IMG_${String(4400 + shot)}.RAF`;
    writeFileSync(join(folder, name), Buffer.alloc(SHOT_SIZE, shot));
  }
}
