/** Checksums, incremental and synchronous, as they are needed inside a copy loop. */
import { createHash } from 'node:crypto';

export const ALGORITHMS = ['sha256', 'xxh128', 'blake2b512'] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

export interface Hasher {
  update(bytes: Uint8Array): void;
  /** Lower-case hexadecimal; the hasher is used up. */
  digest(): string;
}

export type HasherFactory = () => Hasher;

/** xxh128 is WebAssembly and has to be loaded once; the others are there at once. */
export async function hasherFactory(algorithm: Algorithm): Promise<HasherFactory> {
  if (algorithm !== 'xxh128') return () => nodeHasher(algorithm);
  const { createXXHash128 } = await import('hash-wasm');
  const instance = await createXXHash128();
  return () => {
    // One instance serves one file at a time: a worker hashes its files one after the other.
    instance.init();
    return { update: (bytes) => void instance.update(bytes), digest: () => instance.digest('hex') };
  };
}

function nodeHasher(algorithm: 'sha256' | 'blake2b512'): Hasher {
  const hash = createHash(algorithm);
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest('hex') };
}
