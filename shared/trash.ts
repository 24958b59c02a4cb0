/**
 * Where an operation keeps what it replaces or deletes: `.tandem/trash/<operation>/<path>` on the same drive, a version of
 * each file that was there. An entry is never overwritten: the second of a name is `name~2`.
 */
import type { FolderCache } from './folders.ts';
import { baseName, parentOf } from './paths.ts';
import { type Dir, renameNoReplace, statAt } from './syscalls.ts';

export const TRASH = '.tandem/trash';

/** Its folder for versions of what lies in `folder`. */
export function trashFolder(operation: string, folder: string): string {
  return folder === '' ? `${TRASH}/${operation}` : `${TRASH}/${operation}/${folder}`;
}

export interface Slot {
  dir: Dir;
  name: string;
}

export class Trash {
  private readonly folders: FolderCache;
  private readonly operation: string;

  constructor(folders: FolderCache, operation: string) {
    this.folders = folders;
    this.operation = operation;
  }

  /** Its folder is made; nothing has the name yet. */
  slot(path: string): Slot {
    const dir = this.folders.make(trashFolder(this.operation, parentOf(path)));
    const base = baseName(path);
    for (let copy = 1; ; copy += 1) {
      const name = copy === 1 ? base : `${base}~${copy}`;
      if (statAt(dir, name) === null) return { dir, name };
    }
  }

  /** Moves what has this name there. */
  take(dir: Dir, name: string, path: string): void {
    for (;;) {
      const slot = this.slot(path);
      if (renameNoReplace(dir, name, slot.dir, slot.name)) return;
    }
  }
}
