/**
 * The key ring of a group (docs/formats.md, "Key ring"): the 32 random bytes that its files are sealed with, wrapped once
 * for each secret that opens it. A slot is never altered: another password is another slot, and the salts of slots that
 * were removed stay noted, so that copies of the ring on drives that were away can be brought together in any order. The
 * whole is signed with the group's key. Bytes in, bytes out; no files, no questions.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';
import type { ZodType } from 'zod';
import { zod } from './config.ts';
import { ITERATIONS, keyMaterial, passwordMaterial } from './sealed.ts';

/** The key of a group, and the 16 bytes that name it. */
export interface GroupKey {
  key: Buffer;
  keyId: Buffer;
}

/** What opens a slot. */
export type RingSecret =
  | { kind: 'password'; password: string }
  /** At least 32 bytes. */
  | { kind: 'key_file'; bytes: Uint8Array }
  /** The 32 bytes that stand on paper. */
  | { kind: 'recovery'; bytes: Uint8Array };

/** One way to the key; bytes as hexadecimal. Its salt is its name. */
export interface Slot {
  kind: RingSecret['kind'];
  /** As the user called it. */
  label: string;
  /** ISO 8601, UTC. */
  created: string;
  /** Of PBKDF2-HMAC-SHA-256; 0 without a password. */
  iterations: number;
  salt: string;
  nonce: string;
  /** The key, 32 bytes, and the tag of 16. */
  wrapped: string;
}

export interface Keyring {
  version: 1;
  group_id: string;
  key_id: string;
  /** ISO 8601, UTC; of the last change. */
  modified: string;
  slots: Slot[];
  /** Salts of slots that were removed. */
  removed: string[];
  mac: string;
}

/** More would only be there to make somebody wait. */
export const MOST_SLOTS = 32;
export const MOST_REMOVED = 1000;
const LONGEST_LABEL = 60;

/** A key for a new ring. */
export function newGroupKey(): GroupKey {
  const key = randomBytes(32);
  return { key, keyId: keyIdOf(key) };
}

/** What the checksums of a sealed group's files are keyed with, 32 bytes. */
export function checksumKey({ key, keyId }: GroupKey): Buffer {
  return Buffer.from(hkdfSync('sha256', key, keyId, 'tandem checksum v1', 32));
}

/** @param about `iterations` from 100,000 to 10,000,000, of a password. */
export function wrapKey(
  { key, keyId }: GroupKey,
  groupId: string,
  secret: RingSecret,
  about: { label: string; created: string; iterations?: number },
): Slot {
  const { label, created } = about;
  const iterations = secret.kind === 'password' ? (about.iterations ?? ITERATIONS) : 0;
  const [salt, nonce] = [randomBytes(16), randomBytes(12)];
  const wrapping = wrappingKey(secret, salt, iterations);
  const cipher = createCipheriv('aes-256-gcm', wrapping, nonce);
  cipher.setAAD(slotHeader(groupId, keyId, { kind: secret.kind, iterations, salt }));
  const wrapped = Buffer.concat([cipher.update(key), cipher.final(), cipher.getAuthTag()]);
  wrapping.fill(0);
  const hex = (bytes: Buffer): string => bytes.toString('hex');
  return { kind: secret.kind, label, created, iterations, salt: hex(salt), nonce: hex(nonce), wrapped: hex(wrapped) };
}

/** @returns null when this secret does not open this slot, or the slot was altered. */
export async function unwrapKey(
  { group_id, key_id }: Pick<Keyring, 'group_id' | 'key_id'>,
  slot: Slot,
  secret: RingSecret,
): Promise<GroupKey | null> {
  if (slot.kind !== secret.kind) return null;
  const [salt, nonce, wrapped] = [slot.salt, slot.nonce, slot.wrapped].map((text) => Buffer.from(text, 'hex')) as [
    Buffer,
    Buffer,
    Buffer,
  ];
  const keyId = Buffer.from(key_id, 'hex');
  const material =
    secret.kind === 'password' ? await passwordMaterial(secret.password, salt, slot.iterations) : undefined;
  const wrapping = wrappingKey(secret, salt, slot.iterations, material);
  const cipher = createDecipheriv('aes-256-gcm', wrapping, nonce, { authTagLength: 16 });
  wrapping.fill(0);
  cipher.setAAD(slotHeader(group_id, keyId, { ...slot, salt }));
  cipher.setAuthTag(wrapped.subarray(32));
  const key = cipher.update(wrapped.subarray(0, 32));
  try {
    cipher.final();
    if (timingSafeEqual(keyIdOf(key), keyId)) return { key, keyId };
  } catch {
    // The tag does not fit: another secret, or other bytes.
  }
  key.fill(0);
  return null;
}

/** The ring with the signature of its key, its slots in the order in which they were made. */
export function signRing(ring: Omit<Keyring, 'version' | 'mac'>, key: GroupKey): Keyring {
  const { group_id, key_id, modified } = ring;
  const sorted = { slots: inOrder(ring.slots), removed: [...ring.removed].sort() };
  const whole = { version: 1, group_id, key_id, modified, ...sorted } as const;
  return { ...whole, mac: signature(whole, key).toString('hex') };
}

/** Whether all of the ring is as somebody who had the key wrote it. */
export function isAuthentic(ring: Keyring, key: GroupKey): boolean {
  return timingSafeEqual(signature(ring, key), Buffer.from(ring.mac, 'hex'));
}

/**
 * What several copies of one ring come to: every slot of any of them that none of them has removed. A copy that was put
 * back from an earlier day neither drops a slot nor brings one back.
 */
export function mergeRings(rings: readonly Keyring[]): Pick<Keyring, 'modified' | 'slots' | 'removed'> {
  const removed = new Set(rings.flatMap((ring) => ring.removed));
  const slots = new Map(rings.flatMap((ring) => ring.slots.map((slot) => [slot.salt, slot])));
  for (const salt of removed) slots.delete(salt);
  const modified = rings.map((ring) => ring.modified).sort(order);
  return { modified: modified.at(-1) ?? '', slots: inOrder([...slots.values()]), removed: [...removed].sort() };
}

/** @throws Error in words that end the sentence "the key ring cannot be used: …". */
export function readRing(text: string, groupId: string): Keyring {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw new Error('it is cut off or no JSON');
  }
  const version: unknown = (document as { version?: unknown } | null)?.version;
  if (typeof version === 'number' && version > 1)
    throw new Error(`it was written by a newer tandem (its version is ${version}, this one reads 1)`);
  const read = schema().safeParse(document);
  if (!read.success) {
    const [issue] = read.error.issues;
    throw new Error(`its field '${issue?.path.join('.')}' is missing, unknown or has no valid value`);
  }
  if (read.data.group_id !== groupId) throw new Error('it is that of another group');
  return read.data;
}

/** The ring as it stands in a file. */
export function ringText(ring: Keyring): string {
  return `${JSON.stringify(ring, null, 1)}\n`;
}

/** What a user may call a slot: one short line. */
export function isLabel(text: string): boolean {
  return text.length <= LONGEST_LABEL && !/[\p{Cc}\p{Surrogate}\u2028\u2029]/u.test(text);
}

// --- internal ---

const KINDS = { password: 1, key_file: 2, recovery: 3 } as const;

/** Of plain text that every computer sorts alike. */
const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function inOrder(slots: readonly Slot[]): Slot[] {
  return [...slots].sort(
    (a, b) => order(a.created, b.created) || KINDS[a.kind] - KINDS[b.kind] || order(a.salt, b.salt),
  );
}

function keyIdOf(key: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', key, new Uint8Array(0), 'tandem key id v1', 16));
}

/** @param known what a password was stretched to already. */
function wrappingKey(secret: RingSecret, salt: Uint8Array, iterations: number, known?: Uint8Array): Buffer {
  const plain = secret.kind === 'password' ? secret : ({ kind: 'key_file', bytes: secret.bytes } as const);
  const material = known ?? keyMaterial(plain, salt, iterations);
  const key = Buffer.from(hkdfSync('sha256', material, salt, 'tandem slot v1', 32));
  material.fill(0);
  return key;
}

/** What a slot's tag covers besides the key. */
function slotHeader(
  groupId: string,
  keyId: Uint8Array,
  { kind, iterations, salt }: { kind: RingSecret['kind']; iterations: number; salt: Uint8Array },
): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(KINDS[kind], 0);
  head.writeUInt32BE(iterations, 1);
  return Buffer.concat([Buffer.from('tandem key slot v1\0'), head, salt, keyId, Buffer.from(groupId)]);
}

/** Over lines of text; a label is the last of its line and holds no line break. */
function signature(ring: Omit<Keyring, 'mac'>, { key, keyId }: GroupKey): Buffer {
  const lines = [
    'tandem key ring v1',
    ring.group_id,
    ring.key_id,
    ring.modified,
    ...ring.slots.map(
      ({ kind, created, iterations, salt, nonce, wrapped, label }) =>
        `slot ${kind} ${created} ${iterations} ${salt} ${nonce} ${wrapped} ${label}`,
    ),
    ...ring.removed.map((salt) => `removed ${salt}`),
  ];
  const signing = Buffer.from(hkdfSync('sha256', key, keyId, 'tandem key ring v1', 32));
  const mac = createHmac('sha256', signing)
    .update(lines.map((line) => `${line}\n`).join(''))
    .digest();
  signing.fill(0);
  return mac;
}

let built: ZodType<Keyring> | undefined;

function schema(): ZodType<Keyring> {
  if (built) return built;
  const z = zod();
  const hex = (bytes: number): ZodType<string> => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`));
  const time = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  const slot = z
    .strictObject({
      kind: z.enum(Object.keys(KINDS) as [Slot['kind']]),
      label: z.string().refine(isLabel),
      created: time,
      iterations: z.number().int(),
      salt: hex(16),
      nonce: hex(12),
      wrapped: hex(48),
    })
    .refine(({ kind, iterations }) =>
      kind === 'password' ? iterations >= 100_000 && iterations <= 10_000_000 : iterations === 0,
    );
  built = z.strictObject({
    version: z.literal(1),
    group_id: z.string().min(1),
    key_id: hex(16),
    modified: time,
    slots: z.array(slot).min(1).max(MOST_SLOTS),
    removed: z.array(hex(16)).max(MOST_REMOVED),
    mac: hex(32),
  });
  return built;
}
