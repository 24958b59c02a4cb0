/**
 * How a file is stored on a Backup: under its own name, or compressed, sealed or both, with suffixes that say so:
 * `clip.mov.lz4.encrypted`. The suffixes alone tell the form, so names are never ambiguous: a file that is only sealed, and
 * whose own name ends as a compressed one does, is put into a container as well. Pure.
 */
import type { Compression } from './compressed.ts';
import { baseName, parentOf } from './paths.ts';

/** What a stored name has behind the file's own name. */
export type Suffix = '' | '.gz' | '.lz4' | '.encrypted' | '.gz.encrypted' | '.lz4.encrypted';

export interface Form {
  compression: Compression | null;
  sealed: boolean;
}

/** The longest first. */
export const SUFFIXES = ['.lz4.encrypted', '.gz.encrypted', '.encrypted', '.lz4', '.gz'] as const;

export function isSuffix(text: unknown): text is Suffix {
  return text === '' || SUFFIXES.some((one) => one === text);
}

export function suffixOf({ compression, sealed }: Form): Suffix {
  const packed = compression === null ? '' : compression === 'gzip' ? '.gz' : '.lz4';
  return `${packed}${sealed ? '.encrypted' : ''}` as Suffix;
}

export function formOf(suffix: Suffix): Form {
  const compression = suffix.startsWith('.gz') ? 'gzip' : suffix.startsWith('.lz4') ? 'lz4' : null;
  return { compression, sealed: suffix.endsWith('.encrypted') };
}

/** The suffix that a file of this name gets where `wanted` is asked for. */
export function suffixFor(path: string, wanted: Suffix): Suffix {
  return wanted === '.encrypted' && /\.(gz|lz4)$/.test(path) ? '.gz.encrypted' : wanted;
}

/** A stored path as a file's own path and its suffix; `''` where it has none, or nothing else. */
export function splitStored(path: string): { path: string; suffix: Suffix } {
  const name = baseName(path);
  const suffix = SUFFIXES.find((one) => name.length > one.length && name.endsWith(one)) ?? '';
  return { path: suffix === '' ? path : path.slice(0, -suffix.length), suffix };
}

/** What a record keeps of a path that is stored so: its name on the Backup, or `''` for its own. */
export function storedName(path: string, suffix: Suffix): string {
  return suffix === '' ? '' : baseName(path) + suffix;
}

/** Where a recorded path stands on the Backup. */
export function storedPath(path: string, stored: string): string {
  if (stored === '') return path;
  const folder = parentOf(path);
  return folder === '' ? stored : `${folder}/${stored}`;
}

/** The suffix of a recorded path. */
export function recordedSuffix({ path, stored_name }: { path: string; stored_name: string }): Suffix {
  if (stored_name === '') return '';
  const name = baseName(path);
  return SUFFIXES.find((suffix) => name + suffix === stored_name) ?? '';
}

/** How a Backup stores what is written to it now. */
export interface Storing {
  wanted: Suffix;
  /** What the options ask for, where this computer cannot make it; files that are stored so stay as they are. */
  asked: Suffix;
  /** Some of its files have names of this kind, or will have. */
  active: boolean;
  /** Some are sealed, or will be: the group's key is needed to read or write them. */
  sealed: boolean;
}

/** Every file under its own name. */
export const PLAIN: Storing = { wanted: '', asked: '', active: false, sealed: false };

/** Whether a file that is stored so may stay so. */
export function isStoredWell({ wanted, asked }: Storing, path: string, stored: Suffix): boolean {
  return stored === suffixFor(path, wanted) || stored === suffixFor(path, asked);
}

/** What a name on the Backup stands for. */
export interface StandsFor {
  path: string;
  stored: Suffix;
  /** Recorded as standing there. */
  claimed: boolean;
}

/** Which path each name on the Backup stands for: what is recorded counts, and else its suffix. */
export class BackupNames {
  private readonly wanted: Suffix;
  /** Rows by where they stand; of those under their own names only files. */
  private readonly claims = new Map<string, StandsFor>();
  private readonly recorded = new Set<string>();
  /** Recorded folders and links. */
  private readonly others = new Set<string>();

  constructor({ wanted }: Storing, rows: Iterable<{ path: string; stored_name: string; master_facts: string }>) {
    this.wanted = wanted;
    for (const row of rows) {
      const { path } = row;
      if (row.master_facts.startsWith('d') || row.master_facts.startsWith('l')) {
        this.others.add(path);
        continue;
      }
      this.claims.set(storedPath(path, row.stored_name), { path, stored: recordedSuffix(row), claimed: true });
      this.recorded.add(path);
    }
  }

  /** Of a file; null: a file under its own name where none should be. */
  of(place: string): StandsFor | null {
    const claim = this.claims.get(place);
    if (claim) return claim;
    const { path, suffix: stored } = splitStored(place);
    const own: StandsFor = { path: place, stored: '', claimed: false };
    if (this.wanted !== '') {
      if (stored !== '') return { path, stored, claimed: false };
      // It took the place of what is recorded, by a run that was interrupted or by somebody: its content tells.
      return this.others.has(place) ? own : null;
    }
    return stored !== '' && !this.recorded.has(place) && this.recorded.has(path)
      ? { path, stored, claimed: false }
      : own;
  }
}
