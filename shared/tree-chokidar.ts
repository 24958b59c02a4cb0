/**
 * What changes below a folder, by chokidar. It is made to watch folders only: their raw events name what changed in them, so
 * that a tree of files does not cost a watch for each.
 */
import { join } from 'node:path';
import type { FSWatcher } from 'chokidar';
import { errnoOf } from './errors.ts';
import { FLOOD, isHarmless, isLimit, type TreeEvents, type TreeListener, type TreeOptions } from './tree-events.ts';

/** @param root absolute. */
export function watchByChokidar(root: string, options: TreeOptions, listener: TreeListener): TreeEvents {
  return new ChokidarTree(root, options, listener);
}

// --- internal ---

/** What was put into a folder before it was watched told nobody: it is named once more. */
const AGAIN_MS = 1000;

class ChokidarTree implements TreeEvents {
  readonly ready: Promise<void>;
  private readonly root: string;
  private readonly options: TreeOptions;
  private readonly listener: TreeListener;
  private readonly patience: NodeJS.Timeout;
  private readonly again = new Set<NodeJS.Timeout>();
  private readonly opening: Promise<FSWatcher | undefined>;
  private closed = false;
  private isReady: () => void = () => {};

  constructor(root: string, options: TreeOptions, listener: TreeListener) {
    this.root = root;
    this.options = options;
    this.listener = listener;
    this.ready = new Promise((resolve) => {
      this.isReady = resolve;
    });
    // A link in an unlucky place keeps it from ever being ready.
    this.patience = setTimeout(() => this.lose('slow'), options.patience);
    FLOOD.join(this.flooded);
    this.opening = this.open().catch(() => {
      this.lose('error');
      return undefined;
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.patience);
    FLOOD.leave(this.flooded);
    for (const timer of this.again) clearTimeout(timer);
    this.isReady();
    await (await this.opening)?.close();
  }

  private readonly flooded = (): void => this.listener.flooded();

  private async open(): Promise<FSWatcher> {
    // Loaded only by whoever watches.
    const { watch } = await import('chokidar');
    const watcher = watch(this.root, {
      ignored: (path, stats) => {
        if (stats && !stats.isDirectory()) return true;
        const own = this.relative(path);
        return own !== undefined && own !== '' && this.options.ignored(own);
      },
      followSymlinks: false,
      ignoreInitial: true,
      atomic: false,
    });
    watcher.on('ready', () => {
      if (this.closed) return;
      clearTimeout(this.patience);
      this.listener.sighted();
      this.isReady();
    });
    watcher.on('raw', (_event, name, details) => {
      FLOOD.count();
      const folder = (details as { watchedPath?: string }).watchedPath;
      if (typeof folder !== 'string') return;
      this.tell(this.relative(typeof name === 'string' && folder !== name ? join(folder, name) : folder), false);
    });
    watcher.on('addDir', (path) => this.met(this.relative(path)));
    watcher.on('unlinkDir', (path) => this.tell(this.relative(path), false));
    watcher.on('error', (error) => {
      const code = errnoOf(error);
      if (isLimit(code)) this.lose('limit');
      else if (!isHarmless(code)) this.lose('error');
    });
    return watcher;
  }

  private relative(path: string): string | undefined {
    if (path === this.root) return '';
    return path.startsWith(`${this.root}/`) ? path.slice(this.root.length + 1) : undefined;
  }

  private tell(path: string | undefined, folder: boolean): void {
    if (path !== undefined && path !== '' && !this.closed) this.listener.changed(path, folder);
  }

  private met(path: string | undefined): void {
    this.tell(path, true);
    const timer = setTimeout(() => {
      this.again.delete(timer);
      this.tell(path, true);
    }, AGAIN_MS);
    this.again.add(timer);
  }

  private lose(reason: 'limit' | 'slow' | 'error'): void {
    if (this.closed) return;
    clearTimeout(this.patience);
    this.listener.blind(reason);
    this.isReady();
  }
}
