/**
 * Sealed files, `.encrypted` version 1 (docs/formats.md): a header of 89 bytes and chunks of AES-256-GCM in the STREAM
 * construction (Hoang, Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and its Nonce-Reuse
 * Misuse-Resistance", 2015). A sealed file has a key of its own; a chunk that is missing, repeated, moved, cut or changed
 * fails, and nothing leaves `Opener` before its tag was checked. Bytes in, bytes out; no files, no questions.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  hkdfSync,
  pbkdf2,
  pbkdf2Sync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { promisify } from 'node:util';
import { compiled } from './compiled.ts';
import { TandemError } from './errors.ts';

/** What a key is made of. */
export type Secret =
  | { kind: 'password'; password: string }
  /** At least 32 bytes. */
  | { kind: 'key_file'; bytes: Uint8Array }
  /** The key of a group, and the 16 bytes that name it. */
  | { kind: 'group_key'; key: Uint8Array; keyId: Uint8Array };

/** The header in plain terms; holds no secret. */
export interface SealedHeader {
  version: 1;
  key: 'password' | 'key_file' | 'group_key';
  /** Of PBKDF2-HMAC-SHA-256; 0 without a password. */
  iterations: number;
  /** Bytes of plaintext in a chunk. */
  chunk_size: number;
  /** Hexadecimal; null unless the key is a group's. */
  key_id: string | null;
}

export const HEADER_BYTES = 89;
export const TAG_BYTES = 16;
export const LEAST_KEY_FILE = 32;
const MAGIC = 'TNDMENC1';
export const ITERATIONS = 600_000;
const CHUNK = 262_144;
const PREFIX_AT = 30;
const PREFIX_BYTES = 7;
const LAST_COUNTER = 0xffff_ffff;
const NOTHING = Buffer.alloc(0);

export interface SealOptions {
  /** From 100,000 to 10,000,000. */
  iterations?: number;
  /** Bytes; a power of two from 4 KiB to 16 MiB. */
  chunkSize?: number;
}

/** What seals or opens the chunks of one file, in any order and in any thread. The key is the caller's to wipe. */
export interface ChunkKeys {
  key: Uint8Array;
  /** All of it is bound into every chunk. */
  header: Buffer;
}

/** Of a new file. */
export function sealingKeys(
  secret: Secret,
  { iterations = ITERATIONS, chunkSize = CHUNK }: SealOptions = {},
): ChunkKeys {
  const salt = randomPart(16);
  const rounds = secret.kind === 'password' ? iterations : 0;
  const { key, commitment } = keysOf(secret, salt, rounds);
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 0, 'latin1');
  header[8] = secret.kind === 'group_key' ? 2 : 1;
  header[9] = KDF[secret.kind];
  header.writeUInt32BE(rounds, 10);
  salt.copy(header, 14);
  header.set(randomPart(PREFIX_BYTES), PREFIX_AT);
  header.writeUInt32BE(chunkSize, 37);
  if (secret.kind === 'group_key') header.set(secret.keyId, 41);
  commitment.copy(header, 57);
  readHeader(header);
  return { key, header };
}

/** Of a file that begins so. @throws TandemError `key` for a secret that does not fit. */
export function openingKeys(head: Uint8Array, secretFor: (header: SealedHeader) => Secret): ChunkKeys {
  const header = Buffer.from(head.subarray(0, HEADER_BYTES));
  const secret = secretFor(readHeader(header));
  const { key, commitment } = keysOf(secret, header.subarray(14, 30), header.readUInt32BE(10));
  if (!timingSafeEqual(commitment, header.subarray(57, 89))) {
    key.fill(0);
    throw new TandemError('key', 'The password or key does not open this file, or its header was changed.', {
      hint: 'Check the password or the key file; `tandem encrypt inspect` says what kind of key it was sealed with.',
    });
  }
  return { key, header };
}

/** The sealed chunk in pieces. Each counter may be used once for content, or its key is broken. */
export function sealChunk({ key, header }: ChunkKeys, counter: number, last: boolean, plain: Uint8Array): Buffer[] {
  const cipher = createCipheriv('aes-256-gcm', key, nonceOf(header, counter, last));
  cipher.setAAD(header);
  const out = inPieces(cipher, plain);
  cipher.final();
  out.push(cipher.getAuthTag());
  return out;
}

/**
 * The same into memory that is there, with as many bytes more as a tag has: nothing has to be made and collected.
 * @returns the bytes there, or null where that is not possible.
 */
export function sealChunkInto(
  keys: ChunkKeys,
  counter: number,
  last: boolean,
  plain: Uint8Array,
  out: Buffer,
): number | null {
  assertCountable(counter);
  const { key, header } = keys;
  const bytes = compiled()?.seal(key, header, counter, last ? 1 : 0, plain, plain.length, out) ?? -1;
  return bytes < 0 ? null : bytes;
}

/** The counterpart; null also where the chunk is damaged, which `openChunk` then says. */
export function openChunkInto(
  keys: ChunkKeys,
  counter: number,
  last: boolean,
  sealed: Uint8Array,
  out: Buffer,
): number | null {
  const { key, header } = keys;
  const bytes = compiled()?.open(key, header, counter, last ? 1 : 0, sealed, sealed.length, out) ?? -1;
  return bytes < 0 ? null : bytes;
}

/** The content in pieces, once its tag was checked. @throws TandemError `failed` for a chunk that is damaged or another one. */
export function openChunk({ key, header }: ChunkKeys, counter: number, last: boolean, sealed: Uint8Array): Buffer[] {
  const end = sealed.length - TAG_BYTES;
  const nonce = nonceOf(header, counter, last);
  const cipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(header);
  cipher.setAuthTag(sealed.subarray(end));
  const out = inPieces(cipher, sealed.subarray(0, end));
  try {
    cipher.final();
  } catch {
    for (const piece of out) piece.fill(0);
    throw damaged(`its part ${counter + 1} is not as it was sealed`);
  }
  return out;
}

/** Seals one file: `header`, then what `update` and `final` return, in order. */
export class Sealer {
  readonly header: Buffer;
  private readonly keys: ChunkKeys;
  private readonly size: number;
  private readonly expected: number;
  private pending: Buffer = NOTHING;
  private filled = 0;
  private counter = 0;
  /** Where chunks are put, where what comes out need not last; else each gets memory of its own. */
  private out: Buffer | undefined;
  private used = 0;

  /**
   * @param expected bytes of content, as far as it is known: so much memory is taken at first.
   * @param reuse what comes out holds until the next call only.
   */
  constructor(secret: Secret, options: SealOptions = {}, expected: number = CHUNK, reuse = false) {
    if (reuse) this.out = NOTHING;
    this.keys = sealingKeys(secret, options);
    this.header = this.keys.header;
    this.size = options.chunkSize ?? CHUNK;
    this.expected = expected;
  }

  /** `update` and `final` of all there is, without a copy of it where it fits into one chunk. */
  whole(plain: Uint8Array): Buffer[] {
    if (plain.length > this.size) {
      const most = this.update(plain);
      // `final` would begin at the same place of the memory again.
      return this.out ? [...most.map((piece) => Buffer.from(piece)), ...this.final()] : [...most, ...this.final()];
    }
    this.makeRoom(plain.length);
    const out = this.seal(plain, true);
    this.keys.key.fill(0);
    return out;
  }

  /** A full chunk is sealed only when more follows: the last one is marked. */
  update(plain: Uint8Array): Buffer[] {
    const out: Buffer[] = [];
    this.makeRoom(this.filled + plain.length);
    for (let at = 0; at < plain.length; ) {
      if (this.filled === this.size) out.push(...this.sealPending(false));
      // What more follows after needs no copy.
      if (this.filled === 0 && plain.length - at > this.size) {
        out.push(...this.seal(plain.subarray(at, at + this.size), false));
        at += this.size;
        continue;
      }
      const part = plain.subarray(at, at + this.size - this.filled);
      while (this.filled + part.length > this.pending.length) this.grow();
      this.pending.set(part, this.filled);
      this.filled += part.length;
      at += part.length;
    }
    return out;
  }

  /** The last chunk; wipes the key and what is left of the content. */
  final(): Buffer[] {
    this.makeRoom(this.filled);
    const out = this.sealPending(true);
    this.keys.key.fill(0);
    this.pending.fill(0);
    return out;
  }

  private grow(): void {
    const larger = Buffer.allocUnsafe(this.pending === NOTHING ? Math.min(this.size, this.expected) : this.size);
    larger.set(this.pending.subarray(0, this.filled));
    this.pending.fill(0);
    this.pending = larger;
  }

  private sealPending(last: boolean): Buffer[] {
    const sealed = this.seal(this.pending.subarray(0, this.filled), last);
    this.filled = 0;
    return sealed;
  }

  private seal(plain: Uint8Array, last: boolean): Buffer[] {
    const { counter } = this;
    this.counter += 1;
    if (this.out) {
      const place = this.out.subarray(this.used);
      const bytes = sealChunkInto(this.keys, counter, last, plain, place);
      if (bytes !== null) {
        this.used += bytes;
        return [place.subarray(0, bytes)];
      }
    }
    return sealChunk(this.keys, counter, last, plain);
  }

  /** For all chunks of one call, of so much content. */
  private makeRoom(content: number): void {
    if (!this.out) return;
    this.used = 0;
    const bytes = content + (Math.floor(content / this.size) + 1) * TAG_BYTES;
    if (this.out.length < bytes) this.out = Buffer.allocUnsafeSlow(bytes);
  }
}

/**
 * Opens one sealed file, fed in pieces of any size.
 * @throws TandemError `key` for a secret that does not fit, `invalid` for bytes that are no sealed file, `failed` for one that is damaged.
 */
export class Opener {
  private readonly secret: (header: SealedHeader) => Secret;
  private head: Buffer = Buffer.alloc(0);
  private keys: ChunkKeys | undefined;
  private pending: Buffer = Buffer.alloc(0);
  private filled = 0;
  private counter = 0;

  /** @param secret asked for once the header is there. */
  constructor(secret: (header: SealedHeader) => Secret) {
    this.secret = secret;
  }

  update(bytes: Uint8Array): Buffer[] {
    let rest = bytes;
    if (this.keys === undefined) {
      const missing = HEADER_BYTES - this.head.length;
      this.head = Buffer.concat([this.head, rest.subarray(0, missing)]);
      rest = rest.subarray(missing);
      if (this.head.length < HEADER_BYTES) return [];
      this.keys = openingKeys(this.head, this.secret);
      this.pending = Buffer.allocUnsafe(readHeader(this.head).chunk_size + TAG_BYTES);
    }
    const out: Buffer[] = [];
    for (let at = 0; at < rest.length; ) {
      if (this.filled === this.pending.length) out.push(...this.openPending(this.keys, false));
      if (this.filled === 0 && rest.length - at > this.pending.length) {
        out.push(...this.open(this.keys, rest.subarray(at, at + this.pending.length), false));
        at += this.pending.length;
        continue;
      }
      const part = rest.subarray(at, at + this.pending.length - this.filled);
      this.pending.set(part, this.filled);
      this.filled += part.length;
      at += part.length;
    }
    return out;
  }

  final(): Buffer[] {
    if (this.keys === undefined) {
      readHeader(this.head);
      throw damaged('it ends within its header');
    }
    if (this.filled < TAG_BYTES) throw damaged('its end is missing');
    const last = this.openPending(this.keys, true);
    if (last.length === 0 && this.counter > 1) throw damaged('its last part is empty');
    this.keys.key.fill(0);
    return last;
  }

  private openPending(keys: ChunkKeys, last: boolean): Buffer[] {
    const plain = this.open(keys, this.pending.subarray(0, this.filled), last);
    this.filled = 0;
    return plain;
  }

  private open(keys: ChunkKeys, sealed: Uint8Array, last: boolean): Buffer[] {
    const plain = openChunk(keys, this.counter, last, sealed);
    this.counter += 1;
    return plain;
  }
}

/** @throws TandemError `invalid` for what is no header of this version, `failed` for a damaged one. */
export function readHeader(bytes: Uint8Array): SealedHeader {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, HEADER_BYTES));
  const magic = head.toString('latin1', 0, 8);
  if (/^TNDMENC[^1]$/.test(magic)) throw notSealed('it was sealed by another version of tandem');
  if (magic !== MAGIC.slice(0, magic.length) || magic === '') throw notSealed('it does not begin as one');
  if (head.length < HEADER_BYTES) throw damaged('it ends within its header');
  const [flags, kdf] = [head[8], head[9] ?? 0];
  const [iterations, chunk] = [head.readUInt32BE(10), head.readUInt32BE(37)];
  const key = (Object.keys(KDF) as (keyof typeof KDF)[]).find((kind) => KDF[kind] === kdf);
  const group = key === 'group_key';
  const rounds = key === 'password' ? iterations >= 100_000 && iterations <= 10_000_000 : iterations === 0;
  const size = chunk >= 4096 && chunk <= 16_777_216 && (chunk & (chunk - 1)) === 0;
  const named = head.subarray(41, 57).some((byte) => byte !== 0);
  if (key === undefined || flags !== (group ? 2 : 1) || !rounds || !size || (named && !group))
    throw damaged('its header holds values that no sealed file has');
  return { version: 1, key, iterations, chunk_size: chunk, key_id: group ? head.toString('hex', 41, 57) : null };
}

/** Bytes of the content of a sealed file of this size. @throws TandemError `failed` for a size that none has. */
export function plainSize(sealed: number, { chunk_size }: SealedHeader): number {
  const body = sealed - HEADER_BYTES;
  const chunks = Math.max(1, Math.ceil(body / (chunk_size + TAG_BYTES)));
  const size = body - chunks * TAG_BYTES;
  if (size < 0 || (chunks > 1 && size <= (chunks - 1) * chunk_size)) throw damaged('its end is missing');
  return size;
}

/** What the keys of a file or of a slot are derived from, 32 bytes; of a group's key these are its own bytes, not a copy. */
export function keyMaterial(secret: Secret, salt: Uint8Array, iterations: number): Uint8Array {
  if (secret.kind === 'group_key') return secret.key;
  if (secret.kind === 'key_file')
    return new Uint8Array(hkdfSync('sha256', secret.bytes, salt, 'tandem key file v1', 32));
  const password = passwordBytes(secret.password);
  const derived = pbkdf2Sync(password, salt, Math.max(1, iterations), 32, 'sha256');
  password.fill(0);
  return derived;
}

/** The same of a password, in a thread of its own: this one goes on meanwhile. */
export async function passwordMaterial(text: string, salt: Uint8Array, iterations: number): Promise<Uint8Array> {
  const password = passwordBytes(text);
  const derived = await derive(password, salt, Math.max(1, iterations), 32, 'sha256');
  password.fill(0);
  return derived;
}

// --- internal ---

const derive = promisify(pbkdf2);

function passwordBytes(text: string): Buffer {
  return Buffer.from(text.replace(/\r?\n$/, '').normalize('NFC'));
}

const KDF = { group_key: 0, password: 1, key_file: 2 } as const;

function keysOf(secret: Secret, salt: Uint8Array, iterations: number): { key: Buffer; commitment: Buffer } {
  const ikm = keyMaterial(secret, salt, iterations);
  // HKDF (RFC 5869) for one block of output: node:crypto's own takes several times as long, which shows on small files.
  const secretKey = hmac(salt, ikm);
  const derive = (info: string): Buffer => hmac(secretKey, Buffer.from(`${info}\x01`, 'latin1'));
  const keys = { key: derive('tandem file v1'), commitment: derive('tandem commit v1') };
  if (secret.kind !== 'group_key') ikm.fill(0);
  secretKey.fill(0);
  return keys;
}

let random = Buffer.alloc(0);

/** Random bytes, drawn by the page: one call for many files. Each is given once. */
function randomPart(bytes: number): Buffer {
  if (random.length < bytes) random = randomBytes(4096);
  const part = random.subarray(0, bytes);
  random = random.subarray(bytes);
  return part;
}

function hmac(key: Uint8Array, bytes: Uint8Array): Buffer {
  return createHmac('sha256', key).update(bytes).digest();
}

/** A counter that begins anew would use a nonce twice. */
function assertCountable(counter: number): void {
  if (counter > LAST_COUNTER) throw damaged('it has more parts than can be counted');
}

function nonceOf(header: Uint8Array, counter: number, last: boolean): Buffer {
  assertCountable(counter);
  const nonce = Buffer.alloc(12);
  nonce.set(header.subarray(PREFIX_AT, PREFIX_AT + PREFIX_BYTES), 0);
  nonce.writeUInt32BE(counter, 7);
  nonce[11] = last ? 1 : 0;
  return nonce;
}

/** Results of this size stay in the processor's cache, and memory for them is at hand without asking the system. */
const AT_ONCE = 65_536;

function inPieces(cipher: { update(bytes: Uint8Array): Buffer }, bytes: Uint8Array): Buffer[] {
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += AT_ONCE) out.push(cipher.update(bytes.subarray(at, at + AT_ONCE)));
  return out;
}

function notSealed(why: string): TandemError {
  return new TandemError('invalid', `This is not a sealed file that can be opened: ${why}.`, {
    hint: 'Sealed files end in .encrypted and begin with TNDMENC1; a newer tandem may know it.',
  });
}

function damaged(why: string): TandemError {
  return new TandemError('failed', `The sealed file is damaged: ${why}.`, {
    hint: 'Nothing of the damaged part was written; take another copy of the file.',
  });
}
