/**
 * A stored file's bytes from plain ones, and back: compressed, then sealed, as its suffix says. Pieces in, pieces out, in
 * worker threads; nothing leaves a decoder before it was proved.
 */
import { Compressor, Decompressor, readMark } from './compressed.ts';
import { TandemError } from './errors.ts';
import type { GroupKey } from './keyring.ts';
import { Opener, plainSize, readHeader, Sealer } from './sealed.ts';
import { formOf, type Suffix } from './stored.ts';

/** What stored files are made with. */
export interface CodecSettings {
  key: GroupKey | null;
  compressionLevel: number;
}

/** The file that is stored, as far as its container says it. */
export interface StoredFile {
  /** Without folders. */
  name: string;
  /** Bytes. */
  size: number;
  /** Nanoseconds since 1970. */
  mtime: bigint;
}

/** A piece that comes out holds until the next call. */
export interface Codec {
  update(bytes: Uint8Array): Uint8Array[];
  /** @throws TandemError `failed` by a decoder whose input is not whole. */
  final(): Uint8Array[];
  /** `update` and `final` of all there is, where that is cheaper. */
  whole?(bytes: Uint8Array): Uint8Array[];
}

/** @throws TandemError `key` when the form is sealed and there is no key. */
export function encoderFor(suffix: Suffix, settings: CodecSettings, { name, size, mtime }: StoredFile): Codec {
  const { compression, sealed } = formOf(suffix);
  const steps: Codec[] = [];
  if (compression !== null) steps.push(new Compressor(compression, settings.compressionLevel, { size, mtime }, name));
  if (sealed) {
    // What a container adds to content that does not shrink is less than this.
    const most = Math.ceil(size + size / 64) + 512;
    // Behind a compressor it is given several pieces in a row.
    const sealer = new Sealer({ kind: 'group_key', ...needed(settings.key) }, {}, most, compression === null);
    steps.push(withHeader(sealer));
  }
  return chained(steps);
}

/** @throws TandemError `key` when the form is sealed and there is no key, or another one. */
export function decoderFor(suffix: Suffix, key: GroupKey | null): Codec {
  const { compression, sealed } = formOf(suffix);
  const steps: Codec[] = [];
  if (sealed) {
    const known = needed(key);
    steps.push(
      new Opener((header) => {
        if (header.key_id === known.keyId.toString('hex')) return { kind: 'group_key', ...known };
        throw new TandemError('key', 'It was sealed with another key than that of this group.', {
          hint: '`tandem encrypt inspect FILE` names the key; a file of another group opens with the key ring of that one.',
        });
      }),
    );
  }
  if (compression !== null) steps.push(new Decompressor(compression));
  return chained(steps);
}

/**
 * Whether a file of this suffix begins as one that a Backup stores so.
 * @param head its first bytes, 256 of them if it has so many.
 * @returns null when it does not; `size` of its content, null where only the content tells.
 */
export function storedHead(suffix: Suffix, head: Uint8Array, size: number): { size: number | null } | null {
  const { compression, sealed } = formOf(suffix);
  if (sealed) {
    try {
      const header = readHeader(head);
      if (header.key !== 'group_key') return null;
      return { size: compression === null ? plainSize(size, header) : null };
    } catch {
      return null;
    }
  }
  const mark = compression === null ? null : readMark(compression, head);
  return mark && { size: mark.size };
}

// --- internal ---

function needed(key: GroupKey | null): GroupKey {
  if (key !== null) return key;
  throw new TandemError('key', 'The key of the group is not there.', {
    hint: 'Give the password, or name a file that holds it with the option encryption_password_file.',
  });
}

function withHeader(sealer: Sealer): Codec {
  let begun = false;
  const header = (): Uint8Array[] => {
    if (begun) return [];
    begun = true;
    return [sealer.header];
  };
  return {
    update: (bytes) => [...header(), ...sealer.update(bytes)],
    final: () => [...header(), ...sealer.final()],
    whole: (bytes) => [sealer.header, ...sealer.whole(bytes)],
  };
}

/** What one step gives is what the next one gets. */
function chained(steps: readonly Codec[]): Codec {
  const [first, second] = steps;
  if (!first) return { update: (bytes) => [bytes], final: () => [] };
  if (!second) return first;
  return {
    update: (bytes) => first.update(bytes).flatMap((one) => second.update(one)),
    final: () => [...first.final().flatMap((one) => second.update(one)), ...second.final()],
  };
}
