/**
 * What changes below a folder, as paths from it, as soon as the system tells. Only folders are watched: their events name
 * what changed in them, so that a tree of files costs one watch for each folder. Events are hints: one that is missing or
 * doubled must do no harm.
 */
import { type FSWatcher, lstatSync, readFileSync, watch } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errnoOf } from './errors.ts';
import { parentOf } from './paths.ts';

export interface TreeListener {
  /** `folder`: a folder that is new here, with all that is in it; what changes in it from now on is told. */
  changed(path: string, folder: boolean): void;
  /** It sees no longer, or not everything: somebody has to look. `slow`: it goes on trying, and tells what it sees. */
  blind(reason: 'limit' | 'slow' | 'error'): void;
  /** Everything is watched, if late. */
  sighted(): void;
  /** So much came at once that the system may have left something out. All folders are watched again. */
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

/** By `fs.watch` on each folder, which on Linux is one inotify watch. @param root absolute. */
export function watchFolders(root: string, options: TreeOptions, listener: TreeListener): TreeEvents {
  return new Tree(root, options, listener);
}

/** No more folders can be watched. */
export function isLimit(code: string | undefined): boolean {
  return code === 'ENOSPC' || code === 'EMFILE';
}

/** A folder that vanished while it was being looked at, or that is closed to us, is no loss of sight. */
export function isHarmless(code: string | undefined): boolean {
  return ['ENOENT', 'EACCES', 'EPERM', 'ENOTDIR'].includes(code ?? '');
}

// --- internal ---

/** Folders that are listed at a time. */
const AT_A_TIME = 8;
/** Names that are looked at without letting anything else come in between. */
const IN_A_ROW = 256;

interface Folder {
  path: string;
  watcher: FSWatcher;
  below: Map<string, Folder> | undefined;
}

class Tree implements TreeEvents {
  readonly ready: Promise<void>;
  private readonly root: string;
  private readonly options: TreeOptions;
  private readonly listener: TreeListener;
  private readonly timer: NodeJS.Timeout;
  private readonly identity: string | undefined;
  private top: Folder | undefined;
  private closed = false;
  private isReady: () => void = () => {};
  /** Where a folder may have come, gone or been exchanged. */
  private readonly stirred = new Set<string>();
  private work: Promise<void> | undefined;

  constructor(root: string, options: TreeOptions, listener: TreeListener) {
    this.root = root;
    this.options = options;
    this.listener = listener;
    this.ready = new Promise((resolve) => {
      this.isReady = resolve;
    });
    this.identity = identityOf(root);
    this.timer = setTimeout(() => this.lose('slow'), options.patience);
    FLOOD.join(this.drown);
    this.stir('');
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    FLOOD.leave(this.drown);
    this.isReady();
    await this.work;
    closeAll(this.top);
    this.top = undefined;
  }

  private readonly drown = (): void => this.stir('');

  private lose(reason: 'limit' | 'slow' | 'error'): void {
    if (this.closed) return;
    clearTimeout(this.timer);
    if (reason !== 'slow') this.closed = true;
    this.listener.blind(reason);
    this.isReady();
  }

  private stir(path: string): void {
    this.stirred.add(path);
    this.work ??= this.settle().finally(() => {
      this.work = undefined;
    });
  }

  /** Watches what is there now instead of what was. Begins when the events that are waiting have been taken in. */
  private async settle(): Promise<void> {
    await turn();
    while (this.stirred.size > 0 && !this.closed) {
      const paths = this.stirred.has('') ? [''] : [...this.stirred];
      this.stirred.clear();
      for (const [index, path] of paths.entries()) {
        if (index % IN_A_ROW === IN_A_ROW - 1) await turn();
        if (path === '') await this.again();
        else await this.look(path);
        if (this.closed) return;
      }
    }
  }

  /** All of it: at the start, and when events may have been lost. */
  private async again(): Promise<void> {
    const former = this.top;
    this.top = await this.watchFolder('', false);
    closeAll(former);
    if (this.closed) return;
    if (this.top === undefined) return this.lose('error');
    clearTimeout(this.timer);
    if (former) this.listener.flooded();
    else this.listener.sighted();
    this.isReady();
  }

  private async look(path: string): Promise<void> {
    const above = this.find(parentOf(path));
    if (!above) return;
    const name = basename(path);
    const former = above.below?.get(name);
    // One that was exchanged for another of the same name is watched by its new self; the old one goes after that.
    const now = isFolder(join(this.root, path)) ? await this.watchFolder(path, true) : undefined;
    closeAll(former);
    if (now) {
      above.below ??= new Map();
      above.below.set(name, now);
    } else above.below?.delete(name);
  }

  private find(path: string): Folder | undefined {
    let at = this.top;
    if (path !== '') for (const name of path.split('/')) at = at?.below?.get(name);
    return at;
  }

  /** With all that is below it. Each is watched before it is listed, so that nothing comes into it unseen. */
  private async watchFolder(path: string, tell: boolean): Promise<Folder | undefined> {
    const first = this.watchOne(path);
    const unlisted = first ? [first] : [];
    while (unlisted.length > 0 && !this.closed) {
      const found = await Promise.all(unlisted.splice(-AT_A_TIME).map((folder) => this.list(folder)));
      unlisted.push(...found.flat());
    }
    if (this.closed) closeAll(first);
    else if (tell) eachFolder(first, (folder) => this.listener.changed(folder.path, true));
    return this.closed ? undefined : first;
  }

  private watchOne(path: string): Folder | undefined {
    if (this.closed || (path !== '' && this.options.ignored(path))) return undefined;
    try {
      const watcher = watch(join(this.root, path), (kind, name) => this.heard(path, kind, name));
      watcher.on('error', (error) => this.failed(error));
      return { path, watcher, below: undefined };
    } catch (error) {
      this.failed(error);
      return undefined;
    }
  }

  private async list(folder: Folder): Promise<Folder[]> {
    const found: Folder[] = [];
    try {
      for (const entry of await readdir(join(this.root, folder.path), { withFileTypes: true })) {
        if (!entry.isDirectory()) continue;
        const below = this.watchOne(folder.path === '' ? entry.name : `${folder.path}/${entry.name}`);
        if (!below) continue;
        folder.below ??= new Map();
        folder.below.set(entry.name, below);
        found.push(below);
      }
    } catch (error) {
      this.failed(error);
    }
    return found;
  }

  private heard(folder: string, kind: 'rename' | 'change', name: string | null): void {
    FLOOD.count();
    if (this.closed) return;
    if (name === null) {
      if (folder !== '') this.listener.changed(folder, false);
      return;
    }
    // So speaks a folder of itself as well, when it is moved, removed or unmounted.
    if (folder === '' && name === basename(this.root) && this.identity !== identityOf(this.root)) {
      this.lose('error');
      return;
    }
    const path = folder === '' ? name : `${folder}/${name}`;
    this.listener.changed(path, false);
    if (kind === 'rename') this.stir(path);
  }

  private failed(error: unknown): void {
    const code = errnoOf(error);
    if (isLimit(code)) this.lose('limit');
    else if (!isHarmless(code)) this.lose('error');
  }
}

const turn = (): Promise<void> => new Promise((done) => setImmediate(done));

function isFolder(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  } catch {
    return false;
  }
}

function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = lstatSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

function eachFolder(folder: Folder | undefined, visit: (folder: Folder) => void): void {
  if (!folder) return;
  visit(folder);
  for (const one of folder.below?.values() ?? []) eachFolder(one, visit);
}

function closeAll(folder: Folder | undefined): void {
  eachFolder(folder, ({ watcher }) => watcher.close());
}

const FLOOD_MS = 500;

/**
 * The queue of the kernel, one for all trees of a process, drops events without a word when it overflows; so does whoever is
 * too slow to empty it.
 */
class Flood {
  private seen = 0;
  private most = 0;
  private timer: NodeJS.Timeout | undefined;
  private readonly listeners = new Set<() => void>();

  join(listener: () => void): void {
    this.most ||= queueLength() / 2;
    this.listeners.add(listener);
  }

  leave(listener: () => void): void {
    this.listeners.delete(listener);
  }

  count(): void {
    this.seen += 1;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      if (this.seen > this.most) for (const listener of this.listeners) listener();
      this.seen = 0;
    }, FLOOD_MS).unref();
  }
}

/** Of all trees of this process. */
export const FLOOD = new Flood();

function queueLength(): number {
  try {
    return Number(readFileSync('/proc/sys/fs/inotify/max_queued_events', 'utf8')) || 16_384;
  } catch {
    return 16_384;
  }
}
