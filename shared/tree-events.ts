/**
 * What changes below a folder, as paths from it, as soon as the system tells. Only folders are watched: their events name
 * what changed in them, so that a tree of files costs one watch for each folder. Events are hints: one that is missing or
 * doubled must do no harm.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FSWatcher } from 'chokidar';
import { errnoOf } from './errors.ts';

export interface TreeListener {
  /** `folder`: a folder that is new here, with all that is in it. */
  changed(path: string, folder: boolean): void;
  /** It sees no longer, or not everything: somebody has to look. `slow`: it goes on trying, and tells what it sees. */
  blind(reason: 'limit' | 'slow' | 'error'): void;
  /** Everything is watched, if late. */
  sighted(): void;
  /** So much came at once that the system may have left something out. */
  flooded(): void;
}

export interface TreeOptions {
  /** Folders that nobody wants to hear of. */
  ignored(path: string): boolean;
  /** Milliseconds until all folders have to be watched. */
  patience: number;
}

export interface TreeEvents {
  /** Resolves when everything is watched, or `blind` was said. */
  readonly ready: Promise<void>;
  close(): Promise<void>;
}

/** @param root absolute. */
export async function watchTree(root: string, options: TreeOptions, listener: TreeListener): Promise<TreeEvents> {
  // Loaded only by whoever watches.
  const { watch } = await import('chokidar');
  const relative = (path: string): string | undefined =>
    path === root ? '' : path.startsWith(`${root}/`) ? path.slice(root.length + 1) : undefined;
  const watcher: FSWatcher = watch(root, {
    ignored: (path, stats) => {
      if (stats && !stats.isDirectory()) return true;
      const own = relative(path);
      return own !== undefined && own !== '' && options.ignored(own);
    },
    followSymlinks: false,
    ignoreInitial: true,
    atomic: false,
  });
  const flood = new Flood(listener);
  let done: () => void = () => {};
  const ready = new Promise<void>((resolve) => {
    done = resolve;
  });
  const blind = (reason: Parameters<TreeListener['blind']>[0]): void => {
    clearTimeout(timer);
    listener.blind(reason);
    done();
  };
  // A link in an unlucky place keeps it from ever being ready.
  const timer = setTimeout(() => blind('slow'), options.patience);
  watcher.on('ready', () => {
    clearTimeout(timer);
    listener.sighted();
    done();
  });
  watcher.on('raw', (_event, name, details) => {
    flood.count();
    const folder = (details as { watchedPath?: string }).watchedPath;
    if (typeof folder !== 'string') return;
    const path = relative(typeof name === 'string' && folder !== name ? join(folder, name) : folder);
    if (path !== undefined && path !== '') listener.changed(path, false);
  });
  watcher.on('addDir', (path) => {
    const own = relative(path);
    if (own !== undefined && own !== '') listener.changed(own, true);
  });
  watcher.on('unlinkDir', (path) => {
    const own = relative(path);
    if (own !== undefined && own !== '') listener.changed(own, false);
  });
  watcher.on('error', (error) => {
    const code = errnoOf(error);
    if (code === 'ENOSPC' || code === 'EMFILE') blind('limit');
    // A folder that vanished while it was being looked at, or that is closed to us, is no loss of sight.
    else if (code !== 'ENOENT' && code !== 'EACCES' && code !== 'EPERM' && code !== 'ENOTDIR') blind('error');
  });
  return {
    ready,
    close: async () => {
      clearTimeout(timer);
      flood.close();
      done();
      await watcher.close();
    },
  };
}

// --- internal ---

const FLOOD_MS = 500;

/** A queue of the kernel's that overflows drops events without a word; so does whoever is too slow to empty it. */
class Flood {
  private seen = 0;
  private readonly most = queueLength() / 2;
  private readonly listener: TreeListener;
  private timer: NodeJS.Timeout | undefined;

  constructor(listener: TreeListener) {
    this.listener = listener;
  }

  count(): void {
    this.seen += 1;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      if (this.seen > this.most) this.listener.flooded();
      this.seen = 0;
    }, FLOOD_MS);
  }

  close(): void {
    clearTimeout(this.timer);
  }
}

function queueLength(): number {
  try {
    return Number(readFileSync('/proc/sys/fs/inotify/max_queued_events', 'utf8')) || 16_384;
  } catch {
    return 16_384;
  }
}
