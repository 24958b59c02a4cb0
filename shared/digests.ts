/**
 * Checksums by the name of their format: those that the baseline records, and those of ASC MHL. C4 is SHA-512 written in
 * base 58 (SMPTE ST 2114); all others are hexadecimal.
 */
import { createHash } from 'node:crypto';
import {
  ALGORITHMS,
  type Algorithm,
  type Hasher,
  hasherFactory,
  isKeyed,
  type KeyChecksum,
  type Keyed,
  plainAlgorithm,
} from './hash.ts';

export const DIGESTS = [...ALGORITHMS, 'c4', 'md5', 'sha1', 'xxh3', 'xxh64'] as const;
export type Digest = (typeof DIGESTS)[number] | Keyed;

/** Makers of hashers that are at hand without waiting. One hasher of a format is in use at a time. */
export type Hashers = ReadonlyMap<Digest, () => Digester>;

/**
 * Loads what the formats need; each format is loaded once in a thread.
 * @param keyed makes the keyed ones.
 */
export async function hashersFor(formats: Iterable<Digest>, keyed: KeyChecksum = noKey): Promise<Hashers> {
  const found = new Map<Digest, () => Digester>();
  for (const format of formats) {
    const plain = isKeyed(format) ? plainAlgorithm(format) : format;
    const make = loaded.get(plain) ?? makerOf(plain);
    loaded.set(plain, make);
    const maker = await make;
    found.set(format, isKeyed(format) ? () => keyedDigester(maker(), keyed) : maker);
  }
  return found;
}

function keyedDigester(base: Digester, keyed: KeyChecksum): Digester {
  return { update: (bytes) => base.update(bytes), digest: () => keyed(base.digest()) };
}

function noKey(): never {
  throw new Error('a keyed checksum was asked for without a key');
}

/** The checksum of what is wholly in memory. */
export function digestOf(bytes: Uint8Array, format: Digest, hashers: Hashers): string {
  const hasher = hashers.get(format)?.();
  if (!hasher) throw new Error(`no hasher was loaded for ${format}`);
  hasher.update(bytes);
  return hasher.digest();
}

/** The bytes that a checksum's text stands for; undefined for a text that its format never has. */
export function digestBytes(text: string, format: Plain): Buffer | undefined {
  if (format === 'c4') return c4Bytes(text);
  return text.length === HEX_LENGTH[format] && /^[0-9a-f]+$/.test(text) ? Buffer.from(text, 'hex') : undefined;
}

// --- internal ---

type Plain = Exclude<Digest, Keyed>;

const HEX_LENGTH: Readonly<Record<Exclude<Plain, 'c4'>, number>> = {
  sha256: 64,
  xxh128: 32,
  blake2b512: 128,
  md5: 32,
  sha1: 40,
  xxh3: 16,
  xxh64: 16,
};

/** All that a digest of a whole file needs of a hasher. */
export type Digester = Pick<Hasher, 'update' | 'digest'>;

const loaded = new Map<Plain, Promise<() => Digester>>();

async function makerOf(format: Plain): Promise<() => Digester> {
  if ((ALGORITHMS as readonly string[]).includes(format)) return hasherFactory(format as Algorithm);
  if (format === 'xxh64' || format === 'xxh3') {
    const { createXXHash64, createXXHash3 } = await import('hash-wasm');
    const instance = await (format === 'xxh64' ? createXXHash64() : createXXHash3());
    return () => {
      instance.init();
      return { update: (bytes) => void instance.update(bytes), digest: () => instance.digest('hex') };
    };
  }
  return () => {
    const hash = createHash(format === 'c4' ? 'sha512' : format);
    return {
      update: (bytes) => void hash.update(bytes),
      digest: () => (format === 'c4' ? c4Text(hash.digest()) : hash.digest('hex')),
    };
  };
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const C4_DIGITS = 88;

function c4Text(sha512: Buffer): string {
  let value = BigInt(`0x${sha512.toString('hex')}`);
  let digits = '';
  for (; value > 0n; value /= 58n) digits = BASE58.charAt(Number(value % 58n)) + digits;
  return `c4${digits.padStart(C4_DIGITS, BASE58.charAt(0))}`;
}

function c4Bytes(text: string): Buffer | undefined {
  if (text.length !== C4_DIGITS + 2 || !text.startsWith('c4')) return undefined;
  let value = 0n;
  for (const char of text.slice(2)) {
    const digit = BASE58.indexOf(char);
    if (digit < 0) return undefined;
    value = value * 58n + BigInt(digit);
  }
  const hex = value.toString(16).padStart(128, '0');
  return hex.length === 128 ? Buffer.from(hex, 'hex') : undefined;
}
