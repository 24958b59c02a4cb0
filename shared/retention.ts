/**
 * How long versions are kept: which operations' trash may go, oldest first, by age, by their share of the drive, or because
 * space is short. Never what was put there in the last 24 hours; nothing at all when the clock leapt, because then
 * every age is wrong.
 */
import { closeSync, readdirSync, readSync } from 'node:fs';
import { errnoOf } from './errors.ts';
import { FolderCache } from './folders.ts';
import { eachRecord, entryAt } from './listing.ts';
import { MANIFESTS, removeManifest } from './manifest.ts';
import { removeTree } from './recover.ts';
import { scanTree } from './scan.ts';
import { type Dir, OPEN_READ, openAt, statAt } from './syscalls.ts';
import { TRASH, trashFolder } from './trash.ts';

/** What one operation keeps in a drive's trash. */
export interface KeptOperation {
  operation: string;
  files: number;
  /** On the medium. */
  bytes: number;
  /** Milliseconds since 1970, when the operation ended. */
  time: number;
}

export interface RetentionRules {
  /** Milliseconds since 1970. */
  now: number;
  /** The last operation's end; null: none is known. */
  lastOperation: number | null;
  /** Seconds; null: for ever. */
  maxAge: number | null;
  /** Bytes that all versions together may take. */
  maxBytes: number;
  /** Bytes that have to become free, beyond these rules if need be. */
  needed: number;
}

const DAY = 86_400_000;
const LEAP = 30 * DAY;

export function clockLeapt({ now, lastOperation }: Pick<RetentionRules, 'now' | 'lastOperation'>): boolean {
  return lastOperation !== null && Math.abs(now - lastOperation) > LEAP;
}

/** Pure: which of them may go, oldest first. */
export function choosePrunable(kept: readonly KeptOperation[], rules: RetentionRules): KeptOperation[] {
  if (clockLeapt(rules)) return [];
  const { now, maxAge, maxBytes, needed } = rules;
  let total = kept.reduce((sum, { bytes }) => sum + bytes, 0);
  let freed = 0;
  const old = kept.filter(({ time }) => time <= now - DAY).sort((a, b) => a.time - b.time);
  return old.filter(({ time, bytes }) => {
    const aged = maxAge !== null && now - time > maxAge * 1000;
    if (!aged && total <= maxBytes && freed >= needed) return false;
    total -= bytes;
    freed += bytes;
    return true;
  });
}

/** Every operation that has versions in a drive's trash, with what they take. */
export async function keptOperations(root: Dir, signal?: AbortSignal): Promise<KeptOperation[]> {
  const { bytes } = await scanTree({ root, subpath: TRASH, stable: true, mounts: [] }, undefined, signal);
  const kept = new Map<string, KeptOperation>();
  const seen = new Set<string>();
  eachRecord(bytes, (view) => {
    const path = bytes.toString('utf8', view.pathStart, view.pathEnd).slice(TRASH.length + 1);
    if (path === '') return;
    const slash = path.indexOf('/');
    const operation = slash < 0 ? path : path.slice(0, slash);
    const entry = entryAt(bytes, view, path);
    const one = kept.get(operation) ?? { operation, files: 0, bytes: 0, time: 0 };
    kept.set(operation, one);
    // Its folder is made when the first version comes; the manifest, where there is one, knows the end.
    if (slash < 0) one.time = Math.max(entry.mtimeMs, entry.ctimeMs);
    if (entry.kind === 'd') return;
    one.files += 1;
    if (entry.nlink < 2 || !seen.has(entry.ino)) one.bytes += entry.blocks >= 0 ? entry.blocks * 512 : entry.size;
    if (entry.nlink > 1) seen.add(entry.ino);
  });
  for (const one of kept.values()) one.time = endOf(root, one.operation) ?? one.time;
  return [...kept.values()].sort((a, b) => a.time - b.time);
}

/** Removes what an operation keeps; its manifest last, so that a cut in between shows as versions that are gone. */
export function pruneOperation(root: Dir, operation: string): void {
  removeTree(root, trashFolder(operation, ''));
  removeManifest(root, operation);
}

/** Operations that left a manifest on the drive. */
export function manifestsOn(root: Dir): string[] {
  return namesIn(root).flatMap((name) => /^(.+)\.json$/.exec(name)?.[1] ?? []);
}

/** Manifests of operations that keep no version any more and are older than `maxAge` seconds. */
export function pruneManifests(root: Dir, now: number, maxAge: number): void {
  for (const operation of manifestsOn(root)) {
    if (statAt(root, trashFolder(operation, '')) !== null) continue;
    const end = endOf(root, operation);
    if (end !== undefined && end < now - Math.max(maxAge * 1000, DAY)) removeManifest(root, operation);
  }
}

// --- internal ---

/** The end of an operation, from the first line of its manifest. */
function endOf(root: Dir, operation: string): number | undefined {
  const folders = new FolderCache(root);
  try {
    const fd = openAt(folders.open(MANIFESTS), `${operation}.json`, OPEN_READ);
    try {
      const bytes = Buffer.alloc(4096);
      const head = bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0)).split('\n')[0] ?? '';
      const { end_time } = JSON.parse(`${head}]}`) as { end_time?: unknown };
      const time = typeof end_time === 'string' ? Date.parse(end_time) : Number.NaN;
      return Number.isNaN(time) ? undefined : time;
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  } finally {
    folders.clear();
  }
}

function namesIn(root: Dir): string[] {
  const folders = new FolderCache(root);
  try {
    return readdirSync(folders.open(MANIFESTS).path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  } finally {
    folders.clear();
  }
}
