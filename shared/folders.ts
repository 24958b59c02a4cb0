/**
 * Open descriptors of folders below a drive's root. A folder is opened one name at a time, each with
 * O_DIRECTORY|O_NOFOLLOW below its open parent, so that a symlink put in a parent's place is refused, never followed.
 */
import { errnoOf } from './errors.ts';
import { baseName, parentOf } from './paths.ts';
import { closeFolder, type Dir, mkdirAt, openFolder, type Stat, statAt } from './syscalls.ts';

/** Open folders kept from one item of a batch to the next. */
const KEEP = 64;

/** What stands at these paths, whose folders are opened one by one; a path where nothing is, is left out. */
export function* statsAt(root: Dir, paths: Iterable<string>): Generator<[path: string, stat: Stat]> {
  const folders = new FolderCache(root);
  try {
    for (const path of paths) {
      folders.trim();
      const stat = folders.exists(path) ? statAt(folders.open(parentOf(path)), baseName(path)) : null;
      if (stat) yield [path, stat];
    }
  } finally {
    folders.clear();
  }
}

export class FolderCache {
  private readonly root: Dir;
  private readonly known = new Map<string, Dir>();
  private readonly pinned = new Set<string>();

  constructor(root: Dir) {
    this.root = root;
  }

  /** The open folder; valid until the next `trim`, `forget` or `clear`. Throws ENOENT, ENOTDIR or ELOOP like the system. */
  open(path: string): Dir {
    return this.walk(path, false);
  }

  /** Like `open`, making what is missing. */
  make(path: string): Dir {
    return this.walk(path, true);
  }

  /** Like `make`; the folder outlasts `trim`. */
  makePinned(path: string): Dir {
    this.pinned.add(path);
    return this.walk(path, true);
  }

  /** Closes the oldest folders beyond a few; only between items, when no one holds a folder of this cache. */
  trim(): void {
    let excess = this.known.size - KEEP;
    for (const [path, dir] of this.known) {
      if (excess <= 0) return;
      if (this.pinned.has(path)) continue;
      closeFolder(dir);
      this.known.delete(path);
      excess -= 1;
    }
  }

  /** Whether anything has this name; an error other than "not there" is thrown, since it proves nothing. */
  exists(path: string): boolean {
    try {
      return statAt(this.open(parentOf(path)), baseName(path)) !== null;
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'ENOENT' || code === 'ENOTDIR') return false;
      throw error;
    }
  }

  /** The folder at `path`, and all below it, got another name or is gone. */
  forget(path: string): void {
    for (const [open, dir] of this.known) {
      if (open !== path && !open.startsWith(`${path}/`)) continue;
      closeFolder(dir);
      this.known.delete(open);
    }
  }

  clear(): void {
    for (const dir of this.known.values()) closeFolder(dir);
    this.known.clear();
  }

  private walk(path: string, make: boolean): Dir {
    if (path === '') return this.root;
    const open = this.known.get(path);
    if (open) return open;
    const parent = this.walk(parentOf(path), make);
    const name = baseName(path);
    let dir: Dir;
    try {
      dir = openFolder(parent, name);
    } catch (error) {
      if (!make || errnoOf(error) !== 'ENOENT') throw error;
      mkdirAtTolerant(parent, name);
      dir = openFolder(parent, name);
    }
    this.known.set(path, dir);
    return dir;
  }
}

function mkdirAtTolerant(parent: Dir, name: string): void {
  try {
    mkdirAt(parent, name, 0o700);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}
