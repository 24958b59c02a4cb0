/** Stored files as a test makes and reads them, one by one and without the product's pipeline. */
import { readFileSync } from 'node:fs';
import { decoderFor, encoderFor, storedHead } from '../../shared/codec.ts';
import type { GroupKey } from '../../shared/keyring.ts';
import { baseName } from '../../shared/paths.ts';
import { type Suffix, splitStored } from '../../shared/stored.ts';

/** The stored form of a content. */
export function encoded(path: string, content: string | Buffer, suffix: Suffix, key: GroupKey | null): Buffer {
  const bytes = Buffer.from(content);
  if (suffix === '') return bytes;
  const file = { name: baseName(path), size: bytes.length, mtime: 1_000_000_000_000_000_000n };
  const encoder = encoderFor(suffix, { key, compressionLevel: 1 }, file);
  return Buffer.concat([...encoder.update(bytes).map((one) => Buffer.from(one)), ...encoder.final()]);
}

/** What a file at this place stands for, by what it holds; one that is damaged has the content `damaged`. */
export function meaningOf(
  place: string,
  bytes: Buffer,
  key: GroupKey | null,
): { path: string; suffix: Suffix; content: string } {
  const { path, suffix } = splitStored(place);
  if (suffix === '' || storedHead(suffix, bytes.subarray(0, 256), bytes.length) === null)
    return { path: place, suffix: '', content: bytes.toString('utf8') };
  return { path, suffix, content: decoded(bytes, suffix, key).toString('utf8') };
}

export function decoded(bytes: Buffer, suffix: Suffix, key: GroupKey | null): Buffer {
  try {
    const decoder = decoderFor(suffix, key);
    const begin = decoder.update(bytes).map((one) => Buffer.from(one));
    return Buffer.concat([...begin, ...decoder.final().map((one) => Buffer.from(one))]);
  } catch {
    return Buffer.from('damaged');
  }
}

/** The same of a file on a drive. */
export function meaningAt(root: string, place: string, key: GroupKey | null): ReturnType<typeof meaningOf> {
  return meaningOf(place, readFileSync(`${root}/${place}`), key);
}
