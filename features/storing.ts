/**
 * How the Backup of a pair stores its files: what its options ask for, what this computer can make, and the group's key
 * where something is sealed. The key is asked for only when something sealed is to be read or written.
 */
import { closeSync, copyFileSync, existsSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { boundsBelow } from '../shared/baseline.ts';
import { decoderFor } from '../shared/codec.ts';
import { availableCompression } from '../shared/compressed.ts';
import type { Context } from '../shared/context.ts';
import type { Problem } from '../shared/errors.ts';
import type { DriveRoot } from '../shared/store.ts';
import { PLAIN, type Storing, type Suffix, suffixOf } from '../shared/stored.ts';
import { groupKey, spreadKeyring } from './keyring.ts';
import type { OpenPair, SyncOptions } from './session.ts';

/** @param pairId null: these drives were never synced with each other. */
export async function storingOf(pairId: number | null, options: SyncOptions, ctx: Context): Promise<Storing> {
  const forms = formsOf(options);
  const kept = pairId === null ? { stored: false, sealed: false } : await storedForms(pairId, ctx);
  if (forms.wanted === '' && !kept.stored) return PLAIN;
  return { ...forms, active: true, sealed: options.enable_encryption || kept.sealed };
}

/** What files that are written now get, as options say. */
export function formsOf(
  options: Pick<SyncOptions, 'enable_compression' | 'compression_type' | 'compression_level' | 'enable_encryption'>,
): {
  wanted: Suffix;
  asked: Suffix;
} {
  const { enable_encryption: sealed, enable_compression, compression_type, compression_level } = options;
  if (!enable_compression) {
    const suffix = suffixOf({ compression: null, sealed });
    return { wanted: suffix, asked: suffix };
  }
  const { kind } = availableCompression(compression_type, compression_level);
  return {
    wanted: suffixOf({ compression: kind, sealed }),
    asked: suffixOf({ compression: compression_type, sealed }),
  };
}

/** Whether every recorded file at `subpath` and below is stored as it is to be. */
export async function allStoredWell(pairId: number, subpath: string, storing: Storing, ctx: Context): Promise<boolean> {
  if (!storing.active) return true;
  const db = await ctx.dbIfExists();
  // The name of a path in SQL: what is left when everything up to the last slash is trimmed off.
  const name = "substr(relative_path, length(rtrim(relative_path, replace(relative_path, '/', ''))) + 1)";
  const fits = (suffix: Suffix): string => {
    if (suffix === '') return "stored_name = ''";
    if (suffix !== '.encrypted') return `stored_name = ${name} || '${suffix}'`;
    const packed = `${name} GLOB '*.gz' OR ${name} GLOB '*.lz4'`;
    return `stored_name = ${name} || CASE WHEN ${packed} THEN '.gz.encrypted' ELSE '.encrypted' END`;
  };
  const sql = `SELECT 1 AS one FROM file_sync_history WHERE pair_id = ?1 AND master_facts GLOB 'f*'
    AND (relative_path = ?2 OR (relative_path > ?3 AND relative_path < ?4))
    AND NOT (${fits(storing.wanted)} OR ${fits(storing.asked)}) LIMIT 1`;
  return (await db?.get(sql, [pairId, subpath, ...boundsBelow(subpath)])) === undefined;
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

/** Whether any recorded file of a pair is compressed or sealed, and whether any is sealed. */
export async function storedForms(pairId: number, ctx: Context): Promise<{ stored: boolean; sealed: boolean }> {
  const db = await ctx.dbIfExists();
  const one = (condition: string): string =>
    `EXISTS (SELECT 1 FROM file_sync_history WHERE pair_id = ?1 AND stored_name <> '' ${condition})`;
  const sql = `SELECT ${one('')} AS stored, ${one("AND stored_name GLOB '*.encrypted'")} AS sealed`;
  const found = await db?.get<{ stored: number; sealed: number }>(sql, [pairId]);
  return { stored: found?.stored === 1, sealed: found?.sealed === 1 };
}
