/**
 * What becomes of an operation's versions when it ends: their manifest is written on the drive, and versions that have been
 * kept long enough make room. After an interruption the manifest is made from what the trash and the journal tell.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { BATCH_FILES, chunk } from '../shared/batches.ts';
import type { Context } from '../shared/context.ts';
import { messageOf } from '../shared/errors.ts';
import { FolderCache } from '../shared/folders.ts';
import { formatBytes, plural } from '../shared/format.ts';
import { factsOf } from '../shared/listing.ts';
import {
  type Change,
  type ChangeLog,
  findVersions,
  listTrash,
  type Manifest,
  readManifest,
  writeManifest,
} from '../shared/manifest.ts';
import { baseName, isInside, parentOf } from '../shared/paths.ts';
import { removeTree } from '../shared/recover.ts';
import { movedFrom, type Rename, Renames } from '../shared/renames.ts';
import {
  choosePrunable,
  clockLeapt,
  type KeptOperation,
  keptOperations,
  pruneManifests,
  pruneOperation,
} from '../shared/retention.ts';
import { type BaselineRow, sidesOf } from '../shared/rows.ts';
import { type DriveRoot, freeBytes } from '../shared/store.ts';
import { splitStored, storedPath } from '../shared/stored.ts';
import { closeFolder, openRoot, statAt } from '../shared/syscalls.ts';
import { trashFolder } from '../shared/trash.ts';
import { findPair, getOperation, listOperations, type Operation, operationFiles, readRows } from './history.ts';
import type { OpenPair, SyncOptions } from './session.ts';

export interface Ended {
  pair: OpenPair;
  operation: string;
  operationId: number;
  operationType: string;
  startTime: string;
  versions: SyncOptions['versions'];
}

/** Which drive of a pair, seen the usual way round. */
export type DriveSide = 'master' | 'backup';

/** Writes the manifests of both drives, as far as anything was done to them; what fails is only a warning. */
export async function writeManifests(
  ended: Ended,
  logs: Readonly<Record<DriveSide, ChangeLog>>,
  ctx: Context,
): Promise<void> {
  for (const side of ['master', 'backup'] as const) {
    const { changes, moves, bulk, isEmpty } = logs[side];
    if (isEmpty) continue;
    const root = ended.pair[side];
    const folder = (side === 'master' ? ended.pair.masterUuid : ended.pair.backupUuid) === '';
    try {
      if (!ended.versions.enabled) removeTree(root.dir, trashFolder(ended.operation, ''));
      const listed = await completeChanges(changes, moves, root, ended, side, bulk, ctx);
      const manifest = manifestOf(ended, side, changes, moves, ctx);
      if (bulk && !listed) manifest.journal = true;
      if (folder) keepAtHome({ ...manifest, folder: root.mountPath }, ctx);
      // In a folder that is no drive nothing is left behind, unless something in it was replaced.
      if (!folder || listed) writeManifest(root.dir, manifest);
    } catch (error) {
      ctx.emit({
        kind: 'warning',
        message: `What this run changed could not be noted on '${root.label}': ${messageOf(error)}.`,
      });
    }
  }
}

/** What an operation did to a folder that is no drive; null: that is not known on this computer. */
export function readFolderManifest(operation: string, ctx: Context): (Manifest & { folder: string }) | null {
  const home = folderManifests(ctx);
  if (!existsSync(home)) return null;
  const root = openRoot(home);
  try {
    const { folder, ...manifest } = readManifest(root, operation) ?? {};
    return typeof folder === 'string' ? ({ ...manifest, folder } as Manifest & { folder: string }) : null;
  } finally {
    closeFolder(root);
  }
}

/** An interrupted operation's manifest, from the trash and the journal; on this computer only, as far as they know. */
export async function repairManifests(pair: OpenPair, side: DriveSide, operations: readonly string[], ctx: Context) {
  for (const uuid of operations) {
    const operation = await getOperation(uuid, ctx).catch(() => null);
    if (operation === null || operation.uuid !== uuid) continue;
    const { changes, moves } = await journalled(pair, side, operation, ctx);
    if (changes.length + moves.length === 0) continue;
    const { operation_type: operationType, id: operationId, start_time: startTime } = operation;
    const versions = { enabled: true, max_age: null, max_share: 100 };
    const ended = { pair, operation: uuid, operationId, operationType, startTime, versions };
    writeManifest(pair[side].dir, { ...manifestOf(ended, side, changes, moves, ctx), reconstructed: true });
  }
}

/** What an operation did to a drive. */
export interface Done {
  changes: Change[];
  /** In the order in which they were done. */
  moves: Rename[];
}

/**
 * What an operation did to a drive, as far as the journal, the baseline and the trash know. What the operation left is
 * taken from the baseline, so it is right only while no later operation worked on the path.
 */
export async function journalled(
  pair: OpenPair,
  side: DriveSide,
  operation: Pick<Operation, 'id' | 'uuid' | 'operation_type'>,
  ctx: Context,
): Promise<Done> {
  const trash = await listTrash(pair[side].dir, operation.uuid, ctx.signal);
  const files = (await operationFiles(operation.id, ctx)).filter(({ status }) => status === 'done');
  const own = writesTo(operation.operation_type) === side;
  const rows = await rowsOf(pair, [...new Set(files.map(({ path }) => path))], ctx);
  const moves: Rename[] = [];
  /** What lies in the trash, by what it stands for, where that is another name. */
  const kept = new Map<string, string>();
  if (side === 'backup')
    for (const name of trash.keys()) if (!trash.has(splitStored(name).path)) kept.set(splitStored(name).path, name);
  const done = new Map<string, { action: string; path: string; at: number }>();
  for (const entry of files) {
    const from = own ? movedFrom(entry) : undefined;
    const row = rows.get(entry.path);
    const place = placeOf(entry.path, row, side);
    const suffix = place.slice(entry.path.length);
    if (from !== undefined) moves.push({ path: place, from: from + suffix, after: sideFacts(row, side) });
    else if (entry.action !== 'move')
      done.set(kept.get(entry.path) ?? place, { action: entry.action, path: entry.path, at: moves.length });
  }
  completeMoves(moves, pair[side], side === 'master' ? pair.masterTraits : pair.backupTraits);
  const changes: Change[] = own ? await copiedFiles(pair, side, operation.id, ctx) : [];
  for (const [path, { action, path: meant, at }] of done) {
    // Which of the two drives a run of another kind worked on, only the trash tells.
    if (!trash.has(path) || action === 'adopt' || action === 'copy') continue;
    const deleted = action === 'delete';
    const row = rows.get(meant);
    // Put in place under another name: what had this one is gone.
    const gone = deleted || placeOf(meant, row, side) !== path;
    const after = gone ? null : sideFacts(row, side);
    changes.push({ path, change: gone ? 'deleted' : 'replaced', before: null, after, at });
  }
  const folders = new Set([...trash.keys()].flatMap(foldersAbove));
  for (const [path, { kind }] of trash) {
    const known = [path, ...foldersAbove(path)].some((one) => done.has(one));
    if (!known && !(kind === 'd' && folders.has(path)))
      changes.push({ path, change: 'replaced', before: null, after: '' });
  }
  findVersions(changes, trash);
  return { changes: changes.sort(byPath), moves };
}

/** Files that an operation copied to where nothing was, of which the journal knows. */
export async function copiedFiles(
  pair: OpenPair,
  side: DriveSide,
  operationId: number,
  ctx: Context,
): Promise<Change[]> {
  const files = await operationFiles(operationId, ctx);
  const copied = files.filter(({ action, status }) => action === 'copy' && status === 'done').map(({ path }) => path);
  const rows = await rowsOf(pair, copied, ctx);
  return copied.map((path): Change => {
    const row = rows.get(path);
    return { path: placeOf(path, row, side), change: 'created', before: null, after: sideFacts(row, side) };
  });
}

/** The drive that operations of this kind write to. */
export function writesTo(operationType: string): DriveSide {
  return operationType === 'restore' ? 'master' : 'backup';
}

/** What was kept long enough goes, after a run, from the drives that it wrote to. */
export async function pruneAfterRun(
  ended: Ended,
  logs: Readonly<Record<DriveSide, ChangeLog>>,
  ctx: Context,
): Promise<void> {
  for (const side of ['master', 'backup'] as const) {
    const { pair } = ended;
    const drive = side === 'master' ? pair.masterDrive : pair.backupDrive;
    const uuid = side === 'master' ? pair.masterUuid : pair.backupUuid;
    if (uuid === '' || logs[side].isEmpty) continue;
    const now = ctx.now().getTime();
    const before = lastPruned.get(uuid);
    if (before !== undefined && now >= before && now < before + PRUNE_EVERY_MS) continue;
    try {
      const rules = await retentionRules(drive.total_size, ended.versions, ended.operation, ctx);
      await prune(pair[side], rules, false, ctx);
      lastPruned.set(uuid, now);
    } catch (error) {
      ctx.emit({ kind: 'warning', message: `Old versions on '${pair[side].label}' stay: ${messageOf(error)}.` });
    }
  }
}

/** Looking for what is old enough takes as long as the trash is large: a watcher's many small runs do it once an hour. */
const PRUNE_EVERY_MS = 3_600_000;
/** By the drive's uuid, in this process: milliseconds since 1970. */
const lastPruned = new Map<string, number>();

/** What a plan would write, as far as space is concerned. */
export interface SpacePlan {
  actions: readonly { kind: string; size: number; link_to?: string; sparse?: true }[];
  guards: { name: string }[];
  options: Pick<SyncOptions, 'versions'>;
}

/** Where space is short, what may be pruned goes before a run is refused; versions of the last 24 hours stay. */
export async function makeRoom(plan: SpacePlan, pair: OpenPair, operation: string, ctx: Context): Promise<void> {
  if (!plan.guards.some(({ name }) => name === 'free-space')) return;
  const copies = plan.actions.filter(({ kind, link_to, sparse }) => {
    return (kind === 'copy' || kind === 'update' || kind === 'mkdir') && link_to === undefined && !sparse;
  });
  const needed = copies.reduce((sum, { size }) => sum + Math.max(BLOCK, Math.ceil(size / BLOCK) * BLOCK), 0);
  const rules = await retentionRules(pair.backupDrive.total_size, plan.options.versions, operation, ctx);
  await prune(pair.backup, { ...rules, needed: needed - freeBytes(pair.backup) }, false, ctx);
  if (freeBytes(pair.backup) >= needed) plan.guards = plan.guards.filter(({ name }) => name !== 'free-space');
}

export type Rules = Parameters<typeof choosePrunable>[1];

/** @param current operation that is not counted as the last one. */
export async function retentionRules(
  size: number,
  { max_age, max_share }: SyncOptions['versions'],
  current: string | undefined,
  ctx: Context,
): Promise<Rules> {
  const recent = await listOperations({ limit: 2 }, ctx);
  const last = recent.find(({ uuid, end_time }) => uuid !== current && end_time !== null)?.end_time;
  return {
    now: ctx.now().getTime(),
    lastOperation: last == null ? null : Date.parse(last),
    maxAge: max_age,
    maxBytes: (size * max_share) / 100,
    needed: 0,
  };
}

/** Removes, oldest first, what the rules let go. Returns what went (or would go), and what stays. */
export async function prune(
  root: DriveRoot,
  rules: Rules,
  dryRun: boolean,
  ctx: Context,
  keepLast = 0,
): Promise<{ pruned: KeptOperation[]; kept: KeptOperation[] }> {
  const all = await keptOperations(root.dir, ctx.signal);
  const safe = new Set(keepLast > 0 ? all.slice(-keepLast) : []);
  const pruned = choosePrunable(all, rules).filter((one) => !safe.has(one));
  const kept = all.filter((one) => !pruned.includes(one));
  if (dryRun) return { pruned, kept };
  for (const { operation } of pruned) pruneOperation(root.dir, operation);
  if (!clockLeapt(rules) && rules.maxAge !== null) pruneManifests(root.dir, rules.now, rules.maxAge);
  const bytes = pruned.reduce((sum, one) => sum + one.bytes, 0);
  if (pruned.length > 0)
    ctx.emit({
      kind: 'note',
      message: `Versions of ${plural(pruned.length, 'earlier operation')} on '${root.label}' were removed to make room (${formatBytes(bytes)}).`,
    });
  return { pruned, kept };
}

// --- internal ---

const BLOCK = 4096;

/** Seconds: as long as the journal is kept. */
const AT_HOME = 90 * 86_400;

function folderManifests(ctx: Context): string {
  return join(ctx.dataDir, 'folders');
}

/** A folder that files were restored into is no drive: what was made in it is noted on this computer. */
function keepAtHome(manifest: Manifest, ctx: Context): void {
  const home = folderManifests(ctx);
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const root = openRoot(home);
  try {
    writeManifest(root, manifest);
    pruneManifests(root, ctx.now().getTime(), AT_HOME);
  } finally {
    closeFolder(root);
  }
}

function manifestOf(
  ended: Ended,
  side: DriveSide,
  changes: Change[],
  moves: readonly Rename[],
  ctx: Context,
): Manifest {
  const { pair, operation, operationType, startTime } = ended;
  const uuid = side === 'master' ? pair.masterUuid : pair.backupUuid;
  return {
    tandem_manifest: 1,
    operation,
    operation_type: operationType,
    group_id: pair.group.id,
    role: uuid === '' ? 'folder' : side,
    start_time: startTime,
    end_time: ctx.now().toISOString(),
    ...(moves.length > 0 ? { moves: [...moves] } : {}),
    changes,
  };
}

/**
 * Finds the versions, what was copied in bulk, and what stands now where no record says it.
 * @returns whether the files copied in bulk are listed: a first sync of many files keeps no version, and need not list them.
 */
async function completeChanges(
  changes: Change[],
  moves: readonly Rename[],
  root: DriveRoot,
  ended: Ended,
  side: DriveSide,
  bulk: boolean,
  ctx: Context,
) {
  const { pair, operation, operationId } = ended;
  const listed = statAt(root.dir, trashFolder(operation, '')) !== null;
  if (listed) {
    findVersions(changes, await listTrash(root.dir, operation));
    const known = new Set(changes.map(({ path }) => path));
    if (bulk)
      for (const one of await copiedFiles(pair, side, operationId, ctx)) if (!known.has(one.path)) changes.push(one);
  }
  const folders = new FolderCache(root.dir);
  const renames = new Renames(moves);
  try {
    for (const change of changes) {
      if (change.after !== '') continue;
      folders.trim();
      const path = renames.forward(change.path, change.at ?? moves.length);
      const there = folders.exists(path) ? statAt(folders.open(parentOf(path)), baseName(path)) : null;
      const traits = side === 'master' ? pair.masterTraits : pair.backupTraits;
      change.after = there && there.kind !== 'o' ? factsOf(there, traits.stable_ids) : '';
    }
  } finally {
    folders.clear();
  }
  changes.sort(byPath);
  return listed;
}

/** An undo records nothing in the baseline: what its renames left is what stands there. */
function completeMoves(moves: Rename[], root: DriveRoot, { stable_ids: stable }: OpenPair['masterTraits']): void {
  const folders = new FolderCache(root.dir);
  const later: Rename[] = [];
  try {
    for (const move of moves.toReversed()) {
      folders.trim();
      const path = later.reduce((now, { path, from }) => {
        return isInside(now, from) ? path + now.slice(from.length) : now;
      }, move.path);
      const there =
        move.after === '' && folders.exists(path) ? statAt(folders.open(parentOf(path)), baseName(path)) : null;
      // Of what is nowhere any more not even the kind is known; nothing can be renamed back there.
      if (move.after === '') move.after = there ? factsOf(there, stable) : 'f 0 0 - - 0 0 0';
      if (move.after.startsWith('d ')) later.unshift(move);
    }
  } finally {
    folders.clear();
  }
}

async function rowsOf(pair: OpenPair, paths: readonly string[], ctx: Context): Promise<Map<string, BaselineRow>> {
  const pairId = await findPair(pair.masterUuid, pair.backupUuid, ctx);
  const found = new Map<string, BaselineRow>();
  if (pairId === null) return found;
  for (const part of chunk(paths, BATCH_FILES))
    for (const row of await readRows(pairId, part, ctx)) found.set(row.path, row);
  return found;
}

function sideFacts(row: BaselineRow | undefined, side: DriveSide): string {
  return row === undefined ? '' : sidesOf(row, side === 'master').target;
}

/** Where a path stands on a drive, as far as its record says. */
function placeOf(path: string, row: BaselineRow | undefined, side: DriveSide): string {
  return row && side === 'backup' ? storedPath(path, row.stored_name) : path;
}

function foldersAbove(path: string): string[] {
  const above: string[] = [];
  for (let at: string = parentOf(path); at !== ''; at = parentOf(at)) above.push(at);
  return above;
}

function byPath(a: Change, b: Change): number {
  return a.path < b.path ? -1 : 1;
}
