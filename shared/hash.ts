/** Checksums, incremental and synchronous, as they are needed inside a copy loop. */
import { createHash, createHmac, type Hash, hash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import type { IHasher } from 'hash-wasm';

export const ALGORITHMS = ['sha256', 'xxh128', 'blake2b512'] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

/**
 * What is recorded of sealed groups: HMAC-SHA-256 of the checksum under a key of the group's. A checksum by itself would
 * tell whoever finds the drive which known files are on it.
 */
export type Keyed = `hmac-${Algorithm}`;
export type Recorded = Algorithm | Keyed;
export const RECORDED: readonly Recorded[] = [...ALGORITHMS, ...ALGORITHMS.map((one): Keyed => `hmac-${one}`)];

export function isKeyed(algorithm: string): algorithm is Keyed {
  return algorithm.startsWith('hmac-');
}

/** The checksum below a keyed one. */
export function plainAlgorithm(algorithm: Recorded): Algorithm {
  return (isKeyed(algorithm) ? algorithm.slice('hmac-'.length) : algorithm) as Algorithm;
}

/** Turns a checksum into a keyed one. */
export type KeyChecksum = (checksum: string) => string;

export interface Hasher {
  update(bytes: Uint8Array): void;
  /** Lower-case hexadecimal; the hasher is used up. */
  digest(): string;
  /** Another hasher over the same bytes so far; the two go on apart, one after the other. */
  fork(): Hasher;
  /** The second checksum, once `digest` gave the first; only of hashers that take two. */
  also?(): string;
}

export interface HasherFactory {
  (): Hasher;
  /** The checksum of what is wholly in memory, in one call. */
  once(bytes: Uint8Array): string;
  /** Makes hashers of the first checksum alone; only where these take two. */
  single?: HasherFactory;
  /** Makes hashers for large files, which work in a thread of their own. */
  large?: HasherFactory;
  /** Reads files for these hashers, which take its pieces as they lie; where they work in a thread of their own. */
  reader?(...file: FilePart): PieceReader;
}

/** An open file, and which bytes of it: from the second to the third, or to its end. */
export type FilePart = readonly [fd: number, from: number, end: number];

/** To be closed before the file is. */
export interface PieceReader {
  /** Not to be changed, and there until the next call; empty: there is no more. @throws system errors of reading. */
  next(): Buffer;
  close(): void;
}

/** xxh128 is WebAssembly and has to be loaded once; the others are there at once. */
export async function hasherFactory(algorithm: Algorithm): Promise<HasherFactory> {
  if (algorithm !== 'xxh128') {
    return Object.assign(() => nodeHasher(createHash(algorithm)), {
      once: (bytes: Uint8Array) => hash(algorithm, bytes, 'hex'),
    });
  }
  const { createXXHash128 } = await import('hash-wasm');
  const instance = await createXXHash128();
  const shared = { instance, user: undefined };
  const fresh = instance.init().save();
  const start = (): Hasher => new WasmHasher(shared, fresh);
  return Object.assign(start, {
    once: (bytes: Uint8Array) => {
      const hasher = start();
      hasher.update(bytes);
      return hasher.digest();
    },
  });
}

/** @param key of checksums (shared/keyring.ts). */
export function keyedChecksum(checksum: string, key: Uint8Array): string {
  return createHmac('sha256', key).update(checksum, 'latin1').digest('hex');
}

/** Hashers of keyed checksums; the key is needed only when one of them is read. */
export function keyedFactory(base: HasherFactory, keyed: KeyChecksum): HasherFactory {
  const once = (bytes: Uint8Array): string => keyed(base.once(bytes));
  return Object.assign(() => keyedHasher(base(), keyed), {
    once,
    ...(base.large && { large: keyedFactory(base.large, keyed) }),
    ...(base.reader && { reader: base.reader }),
  });
}

function keyedHasher(base: Hasher, keyed: KeyChecksum): Hasher {
  return {
    update: (bytes) => base.update(bytes),
    digest: () => keyed(base.digest()),
    fork: () => keyedHasher(base.fork(), keyed),
  };
}

/** Hashers that take two checksums of the same bytes in one pass. */
export function pairedFactory(first: HasherFactory, second: HasherFactory): HasherFactory {
  const start = (): Hasher => pairedHasher(first(), second());
  return Object.assign(start, {
    once: (bytes: Uint8Array) => first.once(bytes),
    single: first,
    ...(first.large && second.large && { large: pairedFactory(first.large, second.large) }),
    ...(first.reader && second.reader && { reader: first.reader }),
  });
}

function pairedHasher(one: Hasher, two: Hasher): Hasher {
  return {
    update: (bytes) => {
      one.update(bytes);
      two.update(bytes);
    },
    digest: () => one.digest(),
    also: () => two.digest(),
    fork: () => pairedHasher(one.fork(), two.fork()),
  };
}

function nodeHasher(hash: Hash): Hasher {
  return {
    update: (bytes) => void hash.update(bytes),
    digest: () => hash.digest('hex'),
    fork: () => nodeHasher(hash.copy()),
  };
}

/** One instance serves all hashers of a thread: whoever uses it puts away the state of the one before. */
class WasmHasher implements Hasher {
  private readonly shared: { instance: IHasher; user: WasmHasher | undefined };
  private state: Uint8Array;

  constructor(shared: WasmHasher['shared'], state: Uint8Array) {
    this.shared = shared;
    this.state = state;
  }

  update(bytes: Uint8Array): void {
    this.take().update(bytes);
  }

  digest(): string {
    const digest = this.take().digest('hex');
    this.shared.user = undefined;
    return digest;
  }

  fork(): Hasher {
    this.state = this.take().save();
    return new WasmHasher(this.shared, this.state);
  }

  private take(): IHasher {
    const { instance, user } = this.shared;
    if (user === this) return instance;
    if (user) user.state = instance.save();
    instance.load(this.state);
    this.shared.user = this;
    return instance;
  }
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
