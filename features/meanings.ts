/**
 * What the names on a Backup stand for, outside of a sync: in its trash, on a drive that this computer has never seen, or
 * where only a name is at hand. What is recorded counts; of any other file its first bytes tell whether it is a stored one.
 */
import { closeSync, readSync } from 'node:fs';
import { storedHead } from '../shared/codec.ts';
import type { Context } from '../shared/context.ts';
import { FolderCache } from '../shared/folders.ts';
import { Entry } from '../shared/listing.ts';
import { baseName, parentOf } from '../shared/paths.ts';
import { BackupNames, PLAIN, recordedSuffix, type Suffix, splitStored, storedPath } from '../shared/stored.ts';
import type { Dir } from '../shared/syscalls.ts';
import { OPEN_READ, openAt } from '../shared/syscalls.ts';
import { type BaselineRow, findPair, readBaseline } from './history.ts';
import type { OpenPair } from './session.ts';
import { storedForms } from './storing.ts';

/** Something that lies on a drive. */
export interface Lying {
  /** Its name at the moment that is meant. */
  path: string;
  entry: Entry;
  /** Where it lies, when that is another place. */
  from?: string;
}

export interface Meant extends Lying {
  /** Bytes of the content; null: only its content tells. */
  size: number | null;
  /** Of two names that stand for one path the higher counts: recorded so, a stored file, anything else. */
  rank: 0 | 1 | 2;
}

/** Turns names on a Backup into the paths that they stand for. */
export class Meanings {
  private readonly folders: FolderCache;
  private readonly claims = new Map<string, BaselineRow>();
  /** Recorded under their own names. */
  private readonly plain = new Set<string>();

  /** @param rows recorded of this drive, or carried by it. */
  constructor(root: Dir, rows: Iterable<BaselineRow>) {
    this.folders = new FolderCache(root);
    for (const row of rows) {
      if (row.stored_name !== '') this.claims.set(storedPath(row.path, row.stored_name), row);
      else this.plain.add(row.path);
    }
  }

  /** A stored file lies elsewhere than under the path that it stands for. */
  of({ path: place, entry, from }: Lying): Meant {
    const { facts, nlink, blocks, target } = entry;
    const recorded = from === undefined && this.plain.has(place);
    const own = { path: place, entry, size: entry.size, ...(from === undefined ? {} : { from }) };
    const plain: Meant = { ...own, rank: recorded ? 2 : 0 };
    const { path, suffix } = splitStored(place);
    if (entry.kind !== 'f' || suffix === '' || recorded) return plain;
    const meant = (name: string, stored: Suffix, size: number | null, rank: 1 | 2): Meant => {
      const held = new Entry(facts, name, nlink, blocks, target, stored);
      return { path: name, entry: held, from: from ?? place, size, rank };
    };
    const row = from === undefined ? this.claims.get(place) : undefined;
    if (row) return meant(row.path, recordedSuffix(row), row.backup_facts === facts ? row.size : null, 2);
    const head = this.headOf(from ?? place, suffix, entry.size);
    return head === null ? plain : meant(path, suffix, head.size, 1);
  }

  close(): void {
    this.folders.clear();
  }

  /** Null: it is no stored file of this form. */
  private headOf(place: string, suffix: Suffix, size: number): { size: number | null } | null {
    this.folders.trim();
    try {
      const fd = openAt(this.folders.open(parentOf(place)), baseName(place), OPEN_READ);
      try {
        const bytes = Buffer.alloc(256);
        return storedHead(suffix, bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, 0)), size);
      } finally {
        closeSync(fd);
      }
    } catch {
      // What cannot be read is brought back, and refused, under the name that it has.
      return null;
    }
  }
}

/** The path that each name on the Backup of a pair stands for, by its records and its suffix; identity for a plain one. */
export async function pathsMeant(pair: OpenPair, ctx: Context): Promise<(place: string) => string> {
  const [master, backup] =
    pair.storedSide === 'master' ? [pair.backupUuid, pair.masterUuid] : [pair.masterUuid, pair.backupUuid];
  const pairId = await findPair(master, backup, ctx);
  if (pairId === null || !(await storedForms(pairId, ctx)).stored) return (place) => place;
  const names = new BackupNames({ ...PLAIN, wanted: '.gz' }, await readBaseline(pairId, '', ctx));
  return (place) => names.of(place)?.path ?? place;
}
