/** Checksums, incremental and synchronous, as they are needed inside a copy loop. */
import { createHash, hash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';

export const ALGORITHMS = ['sha256', 'xxh128', 'blake2b512'] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

export interface Hasher {
  update(bytes: Uint8Array): void;
  /** Lower-case hexadecimal; the hasher is used up. */
  digest(): string;
}

export interface HasherFactory {
  (): Hasher;
  /** The checksum of what is wholly in memory, in one call. */
  once(bytes: Uint8Array): string;
}

/** xxh128 is WebAssembly and has to be loaded once; the others are there at once. */
export async function hasherFactory(algorithm: Algorithm): Promise<HasherFactory> {
  if (algorithm !== 'xxh128') {
    const start = (): Hasher => {
      const hash = createHash(algorithm);
      return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest('hex') };
    };
    return Object.assign(start, { once: (bytes: Uint8Array) => hash(algorithm, bytes, 'hex') });
  }
  const { createXXHash128 } = await import('hash-wasm');
  const instance = await createXXHash128();
  // One instance serves one file at a time: a worker hashes its files one after the other.
  const start = (): Hasher => {
    instance.init();
    return { update: (bytes) => void instance.update(bytes), digest: () => instance.digest('hex') };
  };
  return Object.assign(start, { once: (bytes: Uint8Array) => instance.init().update(bytes).digest('hex') });
}

/** Lower-case hexadecimal checksum of one file. Reference: `calculate_checksum` (SHA-256). */
export async function calculateChecksum(file: string, algorithm: Algorithm = 'sha256'): Promise<string> {
  const hasher = (await hasherFactory(algorithm))();
  const fd = openSync(file, 'r');
  try {
    const buffer = Buffer.allocUnsafe(1024 * 1024);
    for (let read = readSync(fd, buffer); read > 0; read = readSync(fd, buffer))
      hasher.update(buffer.subarray(0, read));
    return hasher.digest();
  } finally {
    closeSync(fd);
  }
}
