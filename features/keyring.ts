/**
 * The key ring of a group: how a sealed pair's key is had, and where its ring lives. Both drives carry it, so that either
 * of them opens on a computer that never saw the group; this computer keeps a copy in its data folder. Copies come
 * together by what they hold (see shared/keyring.ts); one that cannot be read, was altered or holds another key is said
 * and left as it is. Drives are locked before a ring is written there, and it takes its name only when it is whole.
 */
import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import type { Context } from '../shared/context.ts';
import { explain, TandemError } from '../shared/errors.ts';
import { isoTime } from '../shared/fields.ts';
import { type Group, ROLES, type Role } from '../shared/groups-file.ts';
import {
  type GroupKey,
  isAuthentic,
  type Keyring,
  MOST_REMOVED,
  MOST_SLOTS,
  mergeRings,
  newGroupKey,
  type RingSecret,
  readRing,
  ringText,
  type Slot,
  signRing,
  unwrapKey,
  wrapKey,
} from '../shared/keyring.ts';
import { DriveLock } from '../shared/lock.ts';
import { quote, shellWord } from '../shared/named.ts';
import { withDefaults } from '../shared/options.ts';
import { readSmallFile } from '../shared/own-folder.ts';
import { displayPath } from '../shared/paths.ts';
import { readRecoveryKey, recoveryLines } from '../shared/recovery-key.ts';
import {
  type Drives,
  discardRing,
  findRings,
  LARGEST_RING,
  type RingPlace,
  readPlace,
  writeRing,
} from '../shared/ring-files.ts';
import { askedSecret, type GivenSecret, secretInEnvironment, secretInFile } from '../shared/secrets.ts';
import { assertPresent, closeDriveRoot, type DriveRoot, openDriveRoot } from '../shared/store.ts';
import { type DriveInfo, listDrives, readSignature } from './detect.ts';
import { connectPair, ensureSigned, listGroups } from './groups.ts';
import { matchPair } from './pairs.ts';

export { checksumKey, type GroupKey, type Keyring, type Slot } from '../shared/keyring.ts';
export { type Drives, findRings, type RingPlace } from '../shared/ring-files.ts';
export type { GivenSecret } from '../shared/secrets.ts';

/**
 * The group's key, unwrapped with what its options name (`encryption_key_file`, `encryption_password_file`), else
 * TANDEM_PASSWORD, else what the user types. Asked for once in a process; writes nothing.
 * @param given opens the ring instead of all these; the bytes of a key file are wiped.
 * @throws TandemError `key` (exit 8): no ring, rings that hold different keys, a secret that opens none, or none given.
 */
export async function groupKey(group: Group, drives: Drives, ctx: Context, given?: GivenSecret): Promise<GroupKey> {
  const places = findRings(group, drives, ctx);
  const rings = agreeing(group, places);
  const name = `${group.id} ${rings[0].key_id}`;
  const remembered = given === undefined ? known.get(ctx.db)?.get(name) : undefined;
  if (remembered) return copyOf(remembered);
  for (const place of places)
    if (place.problem !== null) ctx.emit({ kind: 'warning', message: unusable(group, place, place.problem) });
  const secrets = given === undefined ? await secretFor(group, rings, ctx) : candidates(given);
  const key = await unlocked(group, places, secrets, ctx);
  const keys = known.get(ctx.db) ?? new Map<string, GroupKey>();
  known.set(ctx.db, keys.set(name, copyOf(key)));
  return key;
}

/**
 * The key of the group that a file was sealed for: by the ring of the drive that it lies on, or one on this computer.
 * @param given opens the ring; without it the user is asked.
 * @throws TandemError `key` when no ring of this name is found, or the secret does not open it.
 */
export async function keyOfFile(path: string, keyId: string, ctx: Context, given?: GivenSecret): Promise<GroupKey> {
  const known = listGroups(ctx).find((group) => ringHere(group, keyId, ctx));
  if (known) return groupKey(known, { master: null, backup: null }, ctx, given);
  for (let at = dirname(resolve(path)); ; at = dirname(at)) {
    const groupId = ringAbove(at, keyId);
    if (groupId !== undefined) {
      const root = openDriveRoot(at, basename(at) || at);
      try {
        return await groupKey(strangeGroup(groupId, root.label), { master: null, backup: root }, ctx, given);
      } finally {
        closeDriveRoot(root);
      }
    }
    if (at === dirname(at)) break;
  }
  throw new TandemError('key', `The key ring with the key ${keyId} is not on this computer, nor on the file's drive.`, {
    hint: 'Open the file where it lies on its Backup, or connect that drive once to this computer.',
  });
}

/** Whether there is a ring, also one that cannot be used, on any of the drives or on this computer. */
export function hasKeyring(group: Group, drives: Drives, ctx: Context): boolean {
  return findRings(group, drives, ctx).some(({ ring, problem }) => ring !== null || problem !== null);
}

/**
 * Brings the drives and this computer to the same ring: a drive that is new, or was away when a password changed.
 * @param prove called before a drive is written to: it is still the right one, and locked by the caller.
 * @returns sentences about copies that were left as they are.
 */
export function spreadKeyring(group: Group, key: GroupKey, drives: Drives, prove: () => void, ctx: Context): string[] {
  const places = findRings(group, drives, ctx);
  return brought(group, key, places, intactRings(places, key), prove, ctx).problems;
}

export interface MadeKeyring {
  ring: Keyring;
  /** Lines of the recovery key, to be shown once. */
  recovery: string[];
}

/**
 * Makes the ring of a group, with a slot for the secret and one for a recovery key, on both drives and this computer.
 * @param secret a function is asked when nothing else stands against it.
 * @throws TandemError `drive_missing` unless both drives are connected, `invalid` when there is a ring, `locked`.
 */
export async function initKeyring(
  group: Group,
  secret: GivenSecret | (() => GivenSecret | Promise<GivenSecret>),
  ctx: Context,
  label = '',
): Promise<MadeKeyring> {
  await withDrives(group, ctx, (drives) => {
    const missing = ROLES.filter((role) => drives[role] === null);
    if (missing.length > 0) throw notConnected(group, missing);
    checkNone(group, findRings(group, drives, ctx));
  });
  const given = typeof secret === 'function' ? await secret() : secret;
  return onLockedDrives(group, 'both', ctx, (drives, prove) => {
    const places = findRings(group, drives, ctx);
    checkNone(group, places);
    const key = newGroupKey();
    const paper = randomBytes(32);
    const created = isoTime(ctx.now());
    const slots = [
      wrapKey(key, group.id, given, { label, created }),
      wrapKey(key, group.id, { kind: 'recovery', bytes: paper }, { label: '', created }),
    ];
    const about = { group_id: group.id, key_id: key.keyId.toString('hex'), modified: created };
    const ring = signRing({ ...about, slots, removed: [] }, key);
    writeFirst(places, group, checkedText(ring), prove, ctx);
    const made = { ring, recovery: recoveryLines(paper) };
    for (const bytes of [key.key, paper]) bytes.fill(0);
    return made;
  });
}

/** What a change makes of the slots: some left out, others made with `wrap`. */
export type SlotChange = (slots: readonly Slot[], wrap: (secret: RingSecret, label: string) => Slot) => Slot[];

/**
 * Changes what opens the ring, on the drives that are connected and this computer; no file is sealed anew.
 * @returns the new ring, and sentences about copies that still are as they were.
 * @throws TandemError `drive_missing` when neither drive is connected, `key` when no copy is intact, `invalid` for a ring
 * without a slot or with too many, `locked`, `failed` when it could be written nowhere.
 */
export async function changeKeyring(
  group: Group,
  key: GroupKey,
  change: SlotChange,
  ctx: Context,
): Promise<{ ring: Keyring; problems: string[] }> {
  return onLockedDrives(group, 'any', ctx, (drives, prove) => {
    const places = findRings(group, drives, ctx);
    agreeing(group, places);
    const intact = intactRings(places, key);
    if (intact.length === 0)
      throw new TandemError('key', `No copy of the key ring of ${quote(group.name)} is as it was written.`, {
        hint: 'It opens still; put a good copy of .tandem/keyring.json back on a drive before you change it.',
      });
    const before = mergeRings(intact);
    const created = isoTime(ctx.now());
    const slots = change(before.slots, (one, label) => wrapKey(key, group.id, one, { label, created }));
    const gone = before.slots.filter((slot) => !slots.includes(slot)).map(({ salt }) => salt);
    const removed = [...before.removed, ...gone];
    checkSlots(group, slots, removed);
    const modified = [before.modified, created].sort().at(-1) ?? created;
    const about = { group_id: group.id, key_id: key.keyId.toString('hex'), modified };
    const ring = signRing({ ...about, slots, removed }, key);
    const { written, problems } = brought(group, key, places, [...intact, ring], prove, ctx);
    if (written === 0)
      throw new TandemError('failed', problems[0] ?? 'The key ring could not be written.', {
        hint: 'What opened it opens it still; check that a drive is writable and not full.',
      });
    return { ring, problems };
  });
}

/** Opens the connected drives of a group; nothing is written. @throws TandemError `guard` for an impostor */
export async function withDrives<T>(group: Group, ctx: Context, work: (drives: Drives) => T | Promise<T>): Promise<T> {
  const { problem, ...pair } = matchPair(group, await listDrives(ctx), ctx);
  if (problem) throw problem;
  const drives: Drives = { master: null, backup: null };
  try {
    for (const role of ROLES) {
      const drive = pair[role];
      if (drive) drives[role] = openDriveRoot(drive.mount_path, drive.label);
    }
    return await work(drives);
  } finally {
    closeAll(drives);
  }
}

/** Where a file lies that options name. */
export function secretPath(path: string): string {
  return path.startsWith('~/') ? join(homedir(), path.slice(2)) : path;
}

// --- internal ---

const ALTERED = 'it was altered by somebody who does not have its key';

/** Keys that were had in this process, by what is the same in all views of one context. */
const known = new WeakMap<Context['db'], Map<string, GroupKey>>();

const copyOf = ({ key, keyId }: GroupKey): GroupKey => ({ key: Buffer.from(key), keyId: Buffer.from(keyId) });

/** The rings that can be used, at least one; all of one key. */
function agreeing(group: Group, places: readonly RingPlace[]): [Keyring, ...Keyring[]] {
  const withRing = places.flatMap(({ name, ring }) => (ring === null ? [] : [{ name, ring }]));
  const [first, ...others] = withRing.map(({ ring }) => ring);
  if (first === undefined) throw noRing(group, places);
  if (others.every(({ key_id }) => key_id === first.key_id)) return [first, ...others];
  const held = withRing.map(({ name, ring }) => `${name} holds ${ring.key_id.slice(0, 8)}`).join(', ');
  throw new TandemError('key', `The key rings of ${quote(group.name)} are of different keys: ${held}.`, {
    hint: 'Nothing was changed. Disconnect the drive, or move away the ring (.tandem/keyring.json, on this computer keyrings/ in the data folder), that does not belong to the sealed files.',
  });
}

function noRing(group: Group, places: readonly RingPlace[]): TandemError {
  const [broken] = places.filter(({ problem }) => problem !== null);
  if (broken)
    return new TandemError('key', unusable(group, broken, broken.problem ?? ''), {
      hint: 'Connect the other drive, which carries it too, or put a good copy back from an older one; nothing was changed.',
    });
  const away = places.length < 3 ? ' A drive that is not connected may carry it.' : '';
  return new TandemError('key', `The group ${quote(group.name)} has no key ring.${away}`, {
    hint: `Make it with: tandem encrypt init ${shellWord(group.name)}`,
  });
}

function unusable(group: Group, { name }: RingPlace, why: string): string {
  return `The key ring of ${quote(group.name)} on ${name} cannot be used: ${why}. It was left as it is.`;
}

function ringHere(group: Group, keyId: string, ctx: Context): boolean {
  return readPlace(group, null, ctx).ring?.key_id === keyId;
}

/** The group whose ring with this key is in `.tandem` of a folder. */
function ringAbove(folder: string, keyId: string): string | undefined {
  try {
    const text = readSmallFile(folder, 'keyring.json', LARGEST_RING) ?? '{}';
    const { group_id: groupId, key_id: found } = JSON.parse(text) as Record<string, unknown>;
    return found === keyId && typeof groupId === 'string' ? groupId : undefined;
  } catch {
    return undefined;
  }
}

/** A group that this computer does not know, as far as a question about it goes. */
function strangeGroup(id: string, label: string): Group {
  const time = new Date(0).toISOString();
  const drive = { serial_number: null, label, total_size: 0 };
  const names = { id, name: label, created: time, modified: time, description: '' };
  return { ...names, master_drive: drive, backup_drive: drive, options: {} };
}

// --- opening ---

function intactRings(places: readonly RingPlace[], key: GroupKey): Keyring[] {
  const keyId = key.keyId.toString('hex');
  return places.flatMap(({ ring }) => (ring !== null && ring.key_id === keyId && isAuthentic(ring, key) ? [ring] : []));
}

/** What a user gave may be a password that looks like a recovery key. */
function candidates(given: GivenSecret): RingSecret[] {
  if (given.kind === 'key_file') return [given];
  const paper = readRecoveryKey(given.password);
  if (paper === undefined || 'wrong' in paper) return [given];
  return [{ kind: 'recovery', bytes: paper.key }, given];
}

/**
 * Slots that a copy calls removed are tried last, and count only when that copy turns out to be forged.
 * @throws TandemError `key`, with the same words whatever is wrong.
 */
async function unlocked(
  group: Group,
  places: readonly RingPlace[],
  secrets: readonly RingSecret[],
  ctx: Context,
): Promise<GroupKey> {
  const rings = agreeing(group, places);
  const live = mergeRings(rings).slots;
  const salts = new Set(live.map(({ salt }) => salt));
  const others = rings.flatMap(({ slots }) => slots).filter(({ salt }) => !salts.has(salt));
  for (const slot of [...live, ...others]) {
    const tried: (GroupKey | null)[] = [];
    for (const secret of secrets) tried.push(await unwrapKey(rings[0], slot, secret));
    const key = tried.find((one) => one !== null);
    if (!key) continue;
    wipe(secrets);
    const intact = intactRings(places, key);
    if (intact.some(({ removed }) => removed.includes(slot.salt))) {
      key.key.fill(0);
      break;
    }
    for (const place of places)
      if (place.ring !== null && !intact.includes(place.ring))
        ctx.emit({ kind: 'warning', message: unusable(group, place, ALTERED) });
    return key;
  }
  wipe(secrets);
  throw wrongSecret(group, secrets);
}

function wipe(secrets: readonly RingSecret[]): void {
  for (const secret of secrets) if (secret.kind !== 'password') secret.bytes.fill(0);
}

function wrongSecret(group: Group, secrets: readonly RingSecret[]): TandemError {
  const typed = secrets.find((one) => one.kind === 'password');
  const paper = typed && readRecoveryKey(typed.password);
  const lines =
    paper && 'wrong' in paper ? ` If it is the recovery key, line ${paper.wrong.join(', ')} has a mistake.` : '';
  return new TandemError('key', `The password or key does not open the key ring of ${quote(group.name)}.`, {
    hint: `\`tandem encrypt status\` says what opens it; the recovery key does, too.${lines}`,
  });
}

/** What the options name, the environment, or the user at a prompt. */
async function secretFor(group: Group, rings: readonly Keyring[], ctx: Context): Promise<RingSecret[]> {
  const { encryption_key_file, encryption_password_file } = withDefaults(group.options);
  const named = {
    keyFile: hereOnly(encryption_key_file, ctx),
    passwordFile: hereOnly(encryption_password_file, ctx),
  };
  const given = secretInFile(named) ?? secretInEnvironment();
  if (given) return candidates(given);
  const kinds = new Set(rings.flatMap(({ slots }) => slots.map(({ kind }) => kind)));
  const flags =
    'the variable TANDEM_PASSWORD, or the option encryption_password_file or encryption_key_file of the group';
  if (!ctx.prompts.interactive)
    throw new TandemError(
      'key',
      `No password or key for ${quote(group.name)} is given, and there is no terminal to ask on.`,
      {
        hint: `Give ${flags}.`,
      },
    );
  const what = kinds.has('password') ? 'Password or recovery key' : 'Recovery key';
  return candidates(await askedSecret({ question: `${what} of ${quote(group.name)}:`, what: 'ring', flags }, ctx));
}

/** Options travel with the drives, the files that they name do not. */
function hereOnly(path: string | null, ctx: Context): string | undefined {
  if (path === null) return undefined;
  const full = secretPath(path);
  if (statSync(full, { throwIfNoEntry: false })) return full;
  ctx.emit({
    kind: 'warning',
    message: `The file ${quote(path)} that the group's options name is not on this computer.`,
  });
  return undefined;
}

// --- writing ---

/** Writes what the rings come to wherever an intact copy, or none, is; `written` counts the drives that have it now. */
function brought(
  group: Group,
  key: GroupKey,
  places: readonly RingPlace[],
  rings: readonly Keyring[],
  prove: () => void,
  ctx: Context,
): { written: number; problems: string[] } {
  const problems: string[] = [];
  let written = 0;
  const [first] = rings;
  const whole = first && signRing({ ...first, ...mergeRings(rings) }, key);
  const text = whole && checkedText(whole);
  for (const place of places) {
    const ours = place.ring === null ? place.problem === null : rings.includes(place.ring);
    if (!ours) problems.push(unusable(group, place, place.problem ?? ALTERED));
    if (!ours || text === undefined) continue;
    try {
      if (place.text !== text) writeRing(place, group, text, prove, ctx);
      if (place.root !== null) written += 1;
    } catch (error) {
      if (error instanceof TandemError) throw error;
      problems.push(`The key ring of ${quote(group.name)} could not be written on ${place.name}: ${explain(error)}.`);
    }
  }
  return { written, problems };
}

/** What no tandem could read again is never written. */
function checkedText(ring: Keyring): string {
  const text = ringText(ring);
  readRing(text, ring.group_id);
  return text;
}

function checkSlots(group: Group, slots: readonly Slot[], removed: readonly string[]): void {
  if (slots.length === 0)
    throw new TandemError(
      'invalid',
      `The last slot of ${quote(group.name)} cannot be removed: nothing would open it.`,
      {
        hint: 'Add another password or key first.',
      },
    );
  if (slots.length > MOST_SLOTS || removed.length > MOST_REMOVED)
    throw new TandemError(
      'invalid',
      `The key ring of ${quote(group.name)} would have ${slots.length} slots and ${removed.length} that were removed.`,
      {
        hint: `At most ${MOST_SLOTS} and ${MOST_REMOVED} are possible; remove a slot first.`,
      },
    );
}

function checkNone(group: Group, places: readonly RingPlace[]): void {
  const broken = places.find(({ problem }) => problem !== null);
  if (broken)
    throw new TandemError('invalid', unusable(group, broken, broken.problem ?? ''), {
      hint: 'Files on the drives may be sealed with its key: keep it, and move it away before you make another one.',
    });
  const there = places.filter(({ ring }) => ring !== null);
  if (there.length === 0) return;
  throw new TandemError(
    'invalid',
    `The group ${quote(group.name)} has a key ring already, on ${there.map(({ name }) => name).join(' and ')}.`,
    { hint: 'Files may be sealed with its key. `tandem encrypt password` changes what opens it.' },
  );
}

/** All copies, or none: without the recovery key that is shown afterwards, half of them would be of no use. */
function writeFirst(places: readonly RingPlace[], group: Group, text: string, prove: () => void, ctx: Context): void {
  const done: RingPlace[] = [];
  try {
    for (const place of places) {
      done.push(place);
      writeRing(place, group, text, prove, ctx);
      if (readPlace(group, place.root, ctx).text !== text)
        throw new TandemError('failed', `The key ring that was written on ${place.name} reads back otherwise.`, {
          hint: 'Check the drive with `tandem doctor`; no file was sealed.',
        });
    }
  } catch (error) {
    for (const place of done) discardRing(place, group, text, ctx);
    if (error instanceof TandemError) throw error;
    throw new TandemError('failed', `The key ring of ${quote(group.name)} could not be written: ${explain(error)}.`, {
      hint: 'No key ring was made; check that both drives are writable and not full.',
      cause: error,
    });
  }
}

/** Both drives, or those that are there, locked and proved to be the group's. */
async function onLockedDrives<T>(
  group: Group,
  need: 'both' | 'any',
  ctx: Context,
  work: (drives: Drives, prove: () => void) => T | Promise<T>,
): Promise<T> {
  const found = await connectPair(group, ctx);
  const missing = ROLES.filter((role) => found[role] === null);
  if (missing.length > (need === 'both' ? 0 : 1)) throw notConnected(group, missing);
  const pair = need === 'both' ? await ensureSigned(found, ctx) : found;
  const drives: Drives = { master: null, backup: null };
  const locks: DriveLock[] = [];
  const prove = (): void => {
    for (const role of ROLES) {
      const root = drives[role];
      if (root) assertSame(root, pair.group[`${role}_drive`].drive_uuid);
    }
    for (const lock of locks) lock.confirm();
  };
  try {
    const inOrder = ROLES.flatMap((role) => (pair[role] ? [{ role, drive: pair[role] }] : [])).sort((a, b) =>
      (a.drive.drive_uuid ?? '') < (b.drive.drive_uuid ?? '') ? -1 : 1,
    );
    for (const { role, drive } of inOrder) {
      const root = openDriveRoot(drive.mount_path, drive.label);
      drives[role] = root;
      if (!drive.read_only) locks.push(await lockOf(root, drive, ctx));
    }
    prove();
    return await work(drives, prove);
  } finally {
    for (const lock of locks) lock.release();
    closeAll(drives);
  }
}

function closeAll(drives: Drives): void {
  for (const root of [drives.master, drives.backup]) if (root) closeDriveRoot(root);
}

async function lockOf(root: DriveRoot, { label, network }: DriveInfo, ctx: Context): Promise<DriveLock> {
  try {
    return await DriveLock.acquire(root.dir, { label, wait: 0, breakLock: false, network, signal: ctx.signal });
  } catch (error) {
    if (error instanceof TandemError || ctx.signal.aborted) throw error;
    throw new TandemError('failed', `The drive ${quote(label)} cannot be locked for writing: ${explain(error)}.`, {
      hint: 'Check that it is writable and not full; `tandem doctor` looks at it.',
      cause: error,
    });
  }
}

function assertSame(root: DriveRoot, uuid: string | undefined): void {
  assertPresent(root);
  if (uuid !== undefined && readSignature(root.dir.path)?.drive_uuid === uuid) return;
  throw new TandemError(
    'guard',
    `The drive at ${displayPath(root.mountPath)} is not, or no longer, ${quote(root.label)} of this group.`,
    {
      guard: 'identity',
      hint: 'Nothing was written. Plug in the right drive.',
    },
  );
}

function notConnected(group: Group, missing: readonly Role[]): TandemError {
  const names = missing.map(
    (role) => `${role === 'master' ? 'Master' : 'Backup'} ${quote(group[`${role}_drive`].label)}`,
  );
  return new TandemError(
    'drive_missing',
    `The ${names.join(' and the ')} of ${quote(group.name)} ${missing.length > 1 ? 'are' : 'is'} not connected.`,
    { hint: 'The key ring is kept on both drives: plug it in and repeat the command.' },
  );
}
