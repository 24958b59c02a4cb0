/**
 * Where copies of a group's key ring live: in `.tandem/keyring.json` of both drives, and in the data folder of this
 * computer. All that is done on a drive goes through its root's descriptor; a ring takes its name when it is whole and on
 * the medium.
 */
import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from './config.ts';
import type { Context } from './context.ts';
import { errnoOf, explain } from './errors.ts';
import { FolderCache } from './folders.ts';
import { type Group, ROLES, type Role } from './groups-file.ts';
import { type Keyring, readRing } from './keyring.ts';
import { quote } from './named.ts';
import { readSmallFile } from './own-folder.ts';
import type { DriveRoot } from './store.ts';
import { OPEN_CREATE, openAt, renameOver, unlinkAt } from './syscalls.ts';

/** Bytes; a ring with the most slots and removals that are allowed has a fifth of it. */
export const LARGEST_RING = 1024 * 1024;

/** The drives of a group that are open. */
export interface Drives {
  master: DriveRoot | null;
  backup: DriveRoot | null;
}

/** Where a copy of the ring may be, and what is there. */
export interface RingPlace {
  where: Role | 'computer';
  /** For messages. */
  name: string;
  root: DriveRoot | null;
  ring: Keyring | null;
  /** Why what is there cannot be used; ends a sentence. */
  problem: string | null;
  /** What is there, byte for byte. */
  text: string | undefined;
}

/** Every place that is there, with its copy of the ring; the drives that are away are left out. */
export function findRings(group: Group, drives: Drives, ctx: Context): RingPlace[] {
  const found: RingPlace[] = [];
  for (const where of [...ROLES, 'computer'] as const) {
    const root = where === 'computer' ? null : drives[where];
    if (where !== 'computer' && root === null) continue;
    const name =
      root === null ? 'this computer' : `the ${where === 'master' ? 'Master' : 'Backup'} ${quote(root.label)}`;
    found.push({ where, name, root, ...readPlace(group, root, ctx) });
  }
  return found;
}

/** What is there now. */
export function readPlace(
  group: Group,
  root: DriveRoot | null,
  ctx: Context,
): Pick<RingPlace, 'ring' | 'problem' | 'text'> {
  let text: string | undefined;
  try {
    text = root === null ? readOwn(group, ctx) : readSmallFile(root.dir.path, NAME, LARGEST_RING);
    return { ring: text === undefined ? null : readRing(text, group.id), problem: null, text };
  } catch (error) {
    return { ring: null, problem: explain(error), text };
  }
}

/** @param prove called before a drive is written to: it is still the right one, and locked. */
export function writeRing({ root }: RingPlace, group: Group, text: string, prove: () => void, ctx: Context): void {
  if (root === null) {
    writeFileAtomic(ownFile(group, ctx), text, 0o600);
    return;
  }
  prove();
  const folders = new FolderCache(root.dir);
  try {
    const dir = folders.make('.tandem');
    const partial = `${NAME}.partial`;
    try {
      unlinkAt(dir, partial);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
    // Readable to all: another user on another computer needs it to get at the files, and it opens nothing by itself.
    const fd = openAt(dir, partial, OPEN_CREATE, 0o644);
    try {
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameOver(dir, partial, dir, NAME);
    fsyncSync(dir.fd);
  } finally {
    folders.clear();
  }
}

/** Takes back what `writeRing` wrote. */
export function discardRing(place: RingPlace, group: Group, text: string, ctx: Context): void {
  try {
    if (readPlace(group, place.root, ctx).text !== text) return;
    if (place.root === null) rmSync(ownFile(group, ctx));
    else unlinkAt(place.root.dir, `.tandem/${NAME}`);
  } catch {
    // A drive that is gone keeps a ring that nothing was sealed with.
  }
}

// --- internal ---

const NAME = 'keyring.json';

/** An id that a file brought along names no file by itself. */
function ownFile(group: Group, ctx: Context): string {
  const plain = /^[0-9a-z-]{1,64}$/i.test(group.id);
  const name = plain ? group.id.toLowerCase() : createHash('sha256').update(group.id).digest('hex');
  return join(ctx.dataDir, 'keyrings', `${name}.json`);
}

function readOwn(group: Group, ctx: Context): string | undefined {
  try {
    return readFileSync(ownFile(group, ctx), 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
