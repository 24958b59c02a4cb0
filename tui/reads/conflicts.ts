/** Conflicts that wait, and both versions of one of them as they are on the drives now. */
import { type Home, homesOf, knownProjects, type Project } from '../../features/catalog.ts';
import { type Conflict, listConflicts, storedOf } from '../../features/conflicts.ts';
import { type DriveInfo, listDrives } from '../../features/detect.ts';
import { type Group, getGroup, listGroups, resolveOptions } from '../../features/groups.ts';
import { matchPair } from '../../features/pairs.ts';
import { wholeOf } from '../../features/targets.ts';
import type { Context } from '../../shared/context.ts';
import { errnoOf } from '../../shared/errors.ts';
import { statsAt } from '../../shared/folders.ts';
import { isInside, type RelPath, relPath } from '../../shared/paths.ts';
import { formsOf } from '../../shared/storage.ts';
import { SUFFIXES, type Suffix } from '../../shared/stored.ts';
import { closeFolder, openRoot, readlinkAt, type Stat } from '../../shared/syscalls.ts';
import { startDecoder } from '../preview-process.ts';
import { PreviewQueue } from '../preview-queue.ts';
import { noPreview, type Preview, type PreviewFile } from '../previews.ts';
import type { Memory, Read } from '../reads.ts';

export interface ConflictRow extends Conflict {
  group_id: string;
  /** The project whose folder it lies in, with its role; null: none. */
  project: string | null;
  /** What loses is kept in the trash of its drive. */
  keeps: boolean;
}

/** One version as it is now; what is recorded of it stands in the row. */
export interface SideNow {
  /** Its drive is connected. */
  here: boolean;
  /** Null: nothing has this name there. */
  state: { kind: Stat['kind']; size: number; mtime: string } | null;
  /** Undefined: it is still being made. */
  preview?: Preview | undefined;
}

export interface Sides {
  master: SideNow;
  backup: SideNow;
}

export const conflictReads = {
  /** Of all groups, by group and path. */
  conflicts: {
    busy: 2000,
    idle: 60_000,
    read: (_args, { ctx }) => conflictRows(ctx),
  } satisfies Read<ConflictRow[]>,
  /** Id of the group, path. */
  sides: {
    busy: 1000,
    idle: 5000,
    read: ([id = '', path = ''], memory) => sidesOf(id, relPath(path), memory),
  } satisfies Read<Sides>,
};

// --- internal ---

async function conflictRows(ctx: Context): Promise<ConflictRow[]> {
  const projects = await knownProjects(ctx, []);
  const rows: ConflictRow[] = [];
  for (const group of listGroups(ctx)) {
    const { enabled: keeps } = resolveOptions(group).versions;
    for (const conflict of await listConflicts(group.id, undefined, ctx)) {
      const project = projectAt(group, conflict.path, projects);
      rows.push({ ...conflict, target: group.name, group_id: group.id, project, keeps });
    }
  }
  return rows;
}

function projectAt(group: Group, path: string, projects: readonly Project[]): string | null {
  for (const project of projects)
    for (const { role, group_id: id, subpath } of homesUnlessBroken(project))
      if (id === group.id && isInside(path, subpath)) return role === null ? project.name : `${project.name} (${role})`;
  return null;
}

/** A project whose path no drive can hold is no reason to show no conflict. */
function homesUnlessBroken(project: Project): Home[] {
  try {
    return homesOf(project);
  } catch {
    return [];
  }
}

/** Which versions were asked for last, by reader: an older question that comes late starts nothing. */
const LATEST = new WeakMap<Memory, string>();

async function sidesOf(id: string, path: RelPath, memory: Memory): Promise<Sides> {
  const { ctx } = memory;
  LATEST.set(memory, `${id} ${path}`);
  const group = getGroup(id, ctx);
  const stored = await storedOf(wholeOf(group), path, ctx);
  const { master, backup } = matchPair(group, await listDrives(ctx), ctx);
  const wanted = stored === '' && formsOf(resolveOptions(group)).wanted !== '';
  const found = [look(master, path, ['']), look(backup, path, wanted ? ['', ...SUFFIXES] : [stored])] as const;
  const files = found.flatMap(({ file }) => (file ? [file] : []));
  const known = LATEST.get(memory) === `${id} ${path}` ? queueOf(memory).look(files) : [];
  const side = ({ now, file }: Found): SideNow => (file ? { ...now, preview: known[files.indexOf(file)] } : now);
  return { master: side(found[0]), backup: side(found[1]) };
}

interface Found {
  now: SideNow;
  /** A plain file, to be decoded. */
  file?: PreviewFile;
}

function look(drive: DriveInfo | null, path: RelPath, suffixes: readonly Suffix[]): Found {
  if (!drive) return { now: { here: false, state: null, preview: noPreview('its drive is not connected') } };
  try {
    return lookBelow(drive.mount_path, path, suffixes);
  } catch (error) {
    return { now: { here: true, state: null, preview: noPreview(`it cannot be read (${errnoOf(error)})`) } };
  }
}

function lookBelow(mount: string, path: RelPath, suffixes: readonly Suffix[]): Found {
  const root = openRoot(mount);
  try {
    const places = new Map(suffixes.map((stored) => [path + stored, stored]));
    const [found] = statsAt(root, places.keys());
    if (!found) return { now: { here: true, state: null, preview: noPreview('') } };
    const [place, { kind, size, mtime: time }] = found;
    const mtime = time.seconds * 1000 + Math.floor(time.nanoseconds / 1e6);
    const state = { kind, size, mtime: new Date(mtime).toISOString() };
    if (kind === 'f')
      return { now: { here: true, state }, file: { mount, path, stored: places.get(place) ?? '', size, mtime } };
    const link = kind === 'l' ? `a link to ${readlinkAt(root, place)}` : '';
    const note = { d: 'a folder', l: link, o: 'neither a file nor a folder: no preview' }[kind];
    return { now: { here: true, state, preview: noPreview(note) } };
  } finally {
    closeFolder(root);
  }
}

function queueOf(memory: Memory): PreviewQueue {
  if (memory.previews) return memory.previews;
  const queue = new PreviewQueue({ start: startDecoder, changed: () => memory.news('sides') });
  memory.previews = queue;
  memory.ctx.signal.addEventListener('abort', () => queue.close());
  return queue;
}
