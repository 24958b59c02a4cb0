/**
 * Where a path of a plan stands on either drive: under its own name, or on a Backup whose files are compressed or sealed
 * under another one; and what that makes of the work on it. A file that is stored in another form than before gets its new
 * name first; the old one goes when that is on the medium.
 */
import type { Recorded } from '../shared/hash.ts';
import type { BaselineRow } from '../shared/rows.ts';
import { recordedSuffix, type Suffix, storedPath, suffixFor } from '../shared/stored.ts';
import type { Retired, StageItem } from '../shared/tasks.ts';
import type { Action } from './reconcile.ts';
import type { OpenPair, SyncOptions } from './session.ts';
import { formsOf } from './storing.ts';

type Place = Pick<
  StageItem,
  'path' | 'from' | 'encode' | 'decode' | 'expect' | 'retire' | 'leftover' | 'backupFacts' | 'backupShared'
>;

export class Placing {
  /** The form of files that are written; empty where they keep their names. */
  readonly encode: Suffix;
  private readonly side: OpenPair['storedSide'];

  constructor({ storedSide }: OpenPair, options: SyncOptions) {
    this.side = storedSide;
    this.encode = storedSide === 'backup' ? formsOf(options).wanted : '';
  }

  /** The suffix that a file of this name gets. */
  encodes(path: string): Suffix {
    return suffixFor(path, this.encode);
  }

  /** Of a copy: where it is read and written, and what goes for it. */
  of(action: Action): Place {
    const { path, source_path, backup, backup_shared, leftover, stored = '' } = action;
    const shared = backup_shared === true;
    if (this.side === 'master') {
      const place = { path, from: source_path, backupFacts: backup, backupShared: shared };
      return stored === '' ? place : { ...place, from: source_path ?? path + stored, decode: stored };
    }
    const encode = action.entry === 'f' ? this.encodes(path) : '';
    if (encode === '' && stored === '' && !leftover)
      return { path, from: source_path, backupFacts: backup, backupShared: shared };
    const left = leftover && { leftover: { ...leftover, shared: false, keep: true } };
    const place = { path: path + encode, from: source_path ?? path, ...(encode === '' ? {} : { encode }), ...left };
    if (encode === stored && action.occupied === undefined && (backup === null || backup.startsWith('f')))
      return { ...place, backupFacts: backup, backupShared: shared };
    const retire: Retired | undefined =
      backup === null ? undefined : { path: path + stored, facts: backup, shared, keep: action.kind !== 'convert' };
    return { ...place, ...expected(action), backupFacts: action.occupied ?? null, ...(retire ? { retire } : {}) };
  }

  /** A further name of a file gets the form of the first one. */
  link(item: StageItem, { path, first }: { path: string; first: BaselineRow }): StageItem {
    if (this.side !== 'backup') return item;
    return { ...item, path: path + recordedSuffix(first), linkTo: storedPath(first.path, first.stored_name) };
  }

  /** How the Backup stores what was written: the form that it had where it was only read from. */
  left(
    { encode = '', linkTo }: Pick<StageItem, 'encode' | 'linkTo'>,
    { stored = '' }: Action,
    first?: BaselineRow,
  ): Suffix {
    if (this.side !== 'backup') return stored;
    return linkTo !== null && first ? recordedSuffix(first) : encode;
  }

  /** Of a path that is not copied: what its name on the drive that is written to has behind it. */
  suffix({ stored = '' }: Pick<Action, 'stored'>): Suffix {
    return this.side === 'backup' ? stored : '';
  }

  /** Where a recorded path stands on the drive that is written to. */
  stands({ path, stored_name }: Pick<BaselineRow, 'path' | 'stored_name'>): string {
    return this.side === 'backup' ? storedPath(path, stored_name) : path;
  }
}

// --- internal ---

/** The former form goes without a version: what is written has to be what was recorded of it. */
function expected({ kind, checksum, checksum_algorithm: algorithm }: Action): Pick<StageItem, 'expect'> {
  if (kind !== 'convert') return {};
  if (!checksum || !algorithm) throw new Error('a file whose content was never read cannot be converted');
  return { expect: { algorithm: algorithm as Recorded, checksum } };
}
