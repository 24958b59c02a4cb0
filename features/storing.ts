/**
 * How the Backup of a pair stores its files: what its options ask for, what this computer can make, and the group's key
 * where something is sealed. The key is asked for only when something sealed is to be read or written.
 */
import { closeSync, copyFileSync, existsSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { findPair } from '../shared/baseline.ts';
import { decoderFor } from '../shared/codec.ts';
import { availableCompression } from '../shared/compressed.ts';
import type { Context } from '../shared/context.ts';
import { type Problem, TandemError } from '../shared/errors.ts';
import { displayPath } from '../shared/paths.ts';
import { formsOf, storedForms } from '../shared/storage.ts';
import type { DriveRoot } from '../shared/store.ts';
import { PLAIN, type Storing, type Suffix } from '../shared/stored.ts';
import { statAt } from '../shared/syscalls.ts';
import { TRASH } from '../shared/trash.ts';
import { groupKey, spreadKeyring } from './keyring.ts';
import { type OpenPair, type SyncOptions, syncOptions } from './session.ts';

export { allStoredWell, formsOf, storedForms } from '../shared/storage.ts';

/** @param pairId null: these drives were never synced with each other. */
export async function storingOf(pairId: number | null, options: SyncOptions, ctx: Context): Promise<Storing> {
  const forms = formsOf(options);
  const kept = pairId === null ? { stored: false, sealed: false } : await storedForms(pairId, ctx);
  if (forms.wanted === '' && !kept.stored) return PLAIN;
  const { note } = availableCompression(options.compression_type, options.compression_level);
  if (forms.wanted !== forms.asked && note !== undefined) ctx.emit({ kind: 'note', message: note });
  return { ...forms, active: true, sealed: options.enable_encryption || kept.sealed };
}

/**
 * For a plan that was made earlier: it is carried out only where files are stored as it says.
 * @throws TandemError `invalid` where the group's options say otherwise now; `key`.
 */
export async function requireForm(planned: SyncOptions, pair: OpenPair, ctx: Context): Promise<void> {
  const [then, now] = [formsOf(planned), formsOf(syncOptions(pair.group, {}))];
  if (then.asked !== now.asked)
    throw new TandemError('invalid', 'The plan was made for a Backup whose files are stored in another form.', {
      hint: 'Make a new plan with `tandem sync plan`.',
    });
  const pairId = await findPair(pair.masterUuid, pair.backupUuid, ctx);
  if ((await storingOf(pairId, planned, ctx)).sealed) await haveKey(pair, ctx);
}

/** A plain copy of a file of the Backup on this computer, whatever its form. @throws TandemError for one that cannot be opened. */
export async function copyOut(pair: OpenPair, path: string, stored: Suffix, to: string, ctx: Context): Promise<void> {
  const from = join(pair.backup.dir.path, path + stored);
  if (stored === '') {
    copyFileSync(from, to);
    return;
  }
  if (stored.endsWith('.encrypted')) await haveKey(pair, ctx);
  const decoder = decoderFor(stored, pair.secret.key);
  const [source, target] = [openSync(from, 'r'), openSync(to, 'wx', 0o600)];
  try {
    const buffer = Buffer.alloc(1024 * 1024);
    const write = (pieces: readonly Uint8Array[]): void => {
      for (const piece of pieces) for (let at = 0; at < piece.length; ) at += writeSync(target, piece, at);
    };
    for (let read = readSync(source, buffer); read > 0; read = readSync(source, buffer))
      write(decoder.update(buffer.subarray(0, read)));
    write(decoder.final());
  } finally {
    closeSync(source);
    closeSync(target);
  }
}

/**
 * Has the group's key ready for all that is read and written from now on.
 * @throws TandemError `key` when there is none, or the secret does not open it.
 */
export async function haveKey(pair: OpenPair, ctx: Context): Promise<void> {
  if (pair.secret.key === null) {
    const [master, backup] = pair.storedSide === 'master' ? [pair.backup, pair.master] : [pair.master, pair.backup];
    pair.secret.key = await groupKey(pair.group, { master, backup }, ctx);
  }
  if (pair.secret.key) pair.workers?.setKey(pair.secret.key);
}

/** Versions from before the Backup was sealed are as they were: whoever seals is told so. */
export function sayPlainVersions(pair: OpenPair, options: SyncOptions, converted: number, ctx: Context): void {
  if (!options.enable_encryption || converted === 0 || statAt(pair.backup.dir, TRASH) === null) return;
  ctx.emit({
    kind: 'note',
    message: `Versions on '${displayPath(pair.backup.label)}' from before it was sealed are not: \`tandem restore prune ${displayPath(pair.group.name)} --older-than 1d\` removes those that are older than a day.`,
  });
}

/**
 * Both drives carry the ring before anything more is sealed: a drive that is new, that was away when a password changed,
 * or whose ring was deleted. Both are locked, unless they cannot be written to.
 * @param prove called before a drive is written to.
 */
export function bringRing(pair: OpenPair, prove: () => void, ctx: Context): Problem[] {
  const { group, master, backup, masterDrive, secret, storedSide } = pair;
  if (secret.key === null || storedSide !== 'backup' || pair.masterUuid === '') return [];
  const drives = { master: masterDrive.read_only ? null : master, backup };
  const problems = spreadKeyring(group, secret.key, drives, prove, ctx);
  return problems.map((message) => ({ path: '.tandem/keyring.json', message }));
}

/** A drive of a sealed pair has no key ring. */
export function lacksRing({ master, backup, masterDrive }: OpenPair): boolean {
  const has = ({ dir }: DriveRoot): boolean => existsSync(join(dir.path, '.tandem/keyring.json'));
  return !has(backup) || !(masterDrive.read_only || has(master));
}
