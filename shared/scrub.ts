/**
 * Reads files as the medium has them, to tell whether they are still what was recorded. Runs in worker threads; looks at
 * a path before and after reading it, judges nothing and writes nothing.
 */
import { BulkTransfer } from './bulk-transfer.ts';
import { decoderFor } from './codec.ts';
import type { Content } from './content.ts';
import type { Digest, Hashers } from './digests.ts';
import { errnoOf, explain, TandemError } from './errors.ts';
import type { FolderCache } from './folders.ts';
import { factsOf, type Side } from './listing.ts';
import { baseName, parentOf } from './paths.ts';
import type { Suffix } from './stored.ts';
import { type Dir, type Stat, statAt } from './syscalls.ts';

export interface ScrubItem {
  path: string;
  /** A file of another size is not read; null: read whatever its size. */
  size: number | null;
  formats: readonly Digest[];
  /** Its name has this behind `path`, and its content is inside. */
  stored?: Suffix;
}

/**
 * `read`: its checksums are known · `resized`: not read, see ScrubItem · `other`: no regular file, or reached through a
 * link · `missing` · `unreadable` · `changed`: written while it was read, twice · `stopped`: the run ended before.
 */
export type ScrubState = 'read' | 'resized' | 'other' | 'missing' | 'unreadable' | 'changed' | 'stopped';

export interface ScrubResult {
  path: string;
  state: ScrubState;
  /** As a listing would have them now; empty where nothing could be looked at. */
  facts: string;
  /** The file has other names. */
  shared: boolean;
  /** In the order of the formats asked for. */
  checksums: string[];
  /** Unreadable because of the medium, not for want of a permission. */
  damaged: boolean;
  message: string;
  /** Read past the page cache. */
  direct: boolean;
}

/** Errors that say that the medium or the filesystem on it is at fault. */
const DAMAGE: ReadonlySet<string> = new Set(['EIO', 'EBADMSG', 'EUCLEAN', 'ENODATA', 'EREMOTEIO']);

export class ScrubTransfer extends BulkTransfer {
  /** @param direct ask for a way around the page cache. */
  scrub(side: Side, items: readonly ScrubItem[], direct: boolean, hashers: Hashers): ScrubResult[] {
    this.close();
    const cache = side === 'master' ? this.masters : this.backups;
    const stable = side === 'master' ? this.session.masterStable : this.session.traits.stable;
    return items.map((item) => {
      if (this.control.cancel()) return nothing(item.path, 'stopped', 'cancelled before it was read');
      this.nextItem(item.path);
      try {
        const first = this.look(cache, item, stable, direct, hashers);
        return first.state === 'changed' ? this.look(cache, item, stable, direct, hashers) : first;
      } catch (error) {
        return trouble(item.path, error);
      }
    });
  }

  private look(cache: FolderCache, item: ScrubItem, stable: boolean, direct: boolean, hashers: Hashers): ScrubResult {
    const dir = cache.open(parentOf(item.path));
    const before = statAt(dir, baseName(item.path) + (item.stored ?? ''));
    if (before === null) return nothing(item.path, 'missing', 'is not there');
    const seen = { facts: factsOf(before, stable), shared: before.nlink > 1 };
    if (before.kind !== 'f') return { ...nothing(item.path, 'other', 'is no longer a regular file'), ...seen };
    if (item.size !== null && before.size !== item.size)
      return { ...nothing(item.path, 'resized', 'has another size'), ...seen };
    try {
      return { ...this.read(dir, item, before, stable, direct, hashers), shared: seen.shared };
    } catch (error) {
      return { ...trouble(item.path, error), ...seen };
    }
  }

  /** A stored file that does not open to its end holds other content than was recorded: no checksum stands for it. */
  private readWhole(
    read: () => ReturnType<Content['digests']>,
    count: number,
    direct: boolean,
  ): ReturnType<Content['digests']> {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof TandemError)) throw error;
      return { checksums: Array.from({ length: count }, () => ''), direct };
    }
  }

  private read(
    dir: Dir,
    { path, formats, stored }: ScrubItem,
    before: Stat,
    stable: boolean,
    direct: boolean,
    hashers: Hashers,
  ): ScrubResult {
    const makers = formats.map((format) => {
      const make = hashers.get(format);
      if (!make) throw new Error(`no hasher was loaded for ${format}`);
      return make;
    });
    const name = baseName(path) + (stored ?? '');
    const decoder = stored ? () => decoderFor(stored, this.codec.key) : undefined;
    const read = this.readWhole(() => this.content.digests(dir, name, direct, makers, decoder), makers.length, direct);
    if (read === null) return nothing(path, 'stopped', 'stopped while it was being read');
    const facts = factsOf(before, stable);
    const after = statAt(dir, name);
    if (after === null || factsOf(after, stable) !== facts)
      return { ...nothing(path, 'changed', 'changed while it was being read'), facts };
    return { ...nothing(path, 'read', ''), facts, checksums: read.checksums, direct: read.direct };
  }
}

function nothing(path: string, state: ScrubState, message: string): ScrubResult {
  return { path, state, facts: '', shared: false, checksums: [], damaged: false, message, direct: true };
}

function trouble(path: string, error: unknown): ScrubResult {
  const code = errnoOf(error) ?? '';
  if (code === 'ENOENT' || code === 'ENOTDIR') return nothing(path, 'missing', 'is not there');
  if (code === 'ELOOP') return nothing(path, 'other', explain(error));
  return { ...nothing(path, 'unreadable', explain(error)), damaged: DAMAGE.has(code) };
}
