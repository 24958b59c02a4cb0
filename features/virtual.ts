/**
 * Virtual drives: folders that take part as drives, under `drives.virtual` of the user's `app.yaml`. Comments and order there
 * stay, and no file in a folder is ever touched.
 */
import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { saveYaml, withFileLock } from '../shared/config.ts';
import { type Context, confirmed } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import type { Verb } from '../shared/feature.ts';
import { closest, parseSize } from '../shared/format.ts';
import { holderAt } from '../shared/lock.ts';
import { displayPath, isInside } from '../shared/paths.ts';
import { openSettingsFile, type VirtualDriveSetting } from '../shared/settings.ts';
import { readSignature } from '../shared/signature.ts';
import { realpathOr } from '../shared/volumes.ts';

/**
 * Makes a folder a virtual drive in the user's `app.yaml`; comments and order there stay.
 * @param size bytes; left out, the size of the filesystem below it counts.
 * @throws TandemError `invalid` for a path or label that cannot be taken.
 */
export async function addVirtualDrive(
  ctx: Context,
  folder: string,
  label: string,
  size?: number,
): Promise<VirtualDriveSetting> {
  const path = resolve(folder);
  if (path === '/')
    throw refused("The folder '/' cannot be a drive.", 'Name a folder of its own, such as /mnt/nas/photos.');
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    const hint = 'Create or mount it first; a virtual drive counts as connected while its folder exists.';
    throw refused(`There is no folder ${displayPath(path)}.`, hint);
  }
  if (label.trim() === '')
    throw refused('The label is empty.', 'Give --label a name that tells the drive from others.');
  const entry: VirtualDriveSetting = { path, label, ...(size === undefined ? {} : { total_size: size }) };
  return withFileLock(join(ctx.configDir, 'app.yaml'), () => {
    const file = openSettingsFile(ctx.configDir);
    const others = file.value.drives?.virtual ?? [];
    for (const other of others) checkBeside(entry, other);
    if (others.length > 0) file.document.addIn(['drives', 'virtual'], file.document.createNode(entry));
    else file.document.setIn(['drives', 'virtual'], file.document.createNode([entry]));
    saveYaml(file);
    return entry;
  });
}

/**
 * Takes a folder out again; what lies in it, its signature too, stays as it is.
 * @param query path or label
 * @throws TandemError `not_found` with a guess, `locked` while a run writes to it.
 */
export async function removeVirtualDrive(query: string, ctx: Context): Promise<VirtualDriveSetting> {
  return withFileLock(join(ctx.configDir, 'app.yaml'), () => {
    const file = openSettingsFile(ctx.configDir);
    const own = file.value.drives?.virtual ?? [];
    const found = virtualDriveNamed(query, own);
    const holder = holderAt(found.path);
    if (holder !== null)
      throw new TandemError(
        'locked',
        `'${displayPath(found.label)}' is in use by tandem itself (process ${holder.pid}).`,
        {
          hint: 'Wait until that run ends, or cancel it, and remove it again.',
        },
      );
    file.document.deleteIn(['drives', 'virtual', own.indexOf(found)]);
    saveYaml(file);
    return found;
  });
}

// --- internal ---

function virtualDriveNamed(query: string, own: readonly VirtualDriveSetting[]): VirtualDriveSetting {
  const lower = query.trim().toLowerCase();
  const found =
    own.find(({ path }) => path === query || resolve(path) === resolve(query)) ??
    own.find(({ label }) => label.toLowerCase() === lower);
  if (found) return found;
  const guess = closest(
    query,
    own.map(({ label }) => label),
  );
  throw new TandemError('not_found', `No virtual drive of app.yaml is called '${displayPath(query)}'.`, {
    hint: guess ? `Did you mean '${displayPath(guess)}'?` : '`tandem detect list` shows them, with `virtual`.',
  });
}

/** Of a folder whose signature cannot be read nothing is known, and it can be taken out all the same. */
function isSigned(path: string): boolean {
  try {
    return readSignature(path) !== null;
  } catch {
    return false;
  }
}

function refused(message: string, hint: string): TandemError {
  return new TandemError('invalid', message, { hint });
}

function checkBeside(entry: VirtualDriveSetting, other: VirtualDriveSetting): void {
  const taken = `'${displayPath(other.label)}' (${displayPath(other.path)})`;
  const [path, there] = [realpathOr(entry.path), realpathOr(other.path)];
  if (isInside(path, there) || isInside(there, path)) {
    const message = `${displayPath(entry.path)} is, holds or lies in the virtual drive ${taken}.`;
    throw refused(message, 'Drives may not lie inside each other.');
  }
  if (other.label.toLowerCase() !== entry.label.toLowerCase()) return;
  throw refused(`The label '${displayPath(entry.label)}' already belongs to ${taken}.`, 'Give --label another name.');
}

function sizeOption(text: string): number {
  const size = parseSize(text);
  if (size !== undefined && size > 0) return size;
  throw new TandemError('usage', `'${displayPath(text)}' is not a size.`, {
    hint: 'Write it as 500GB, 2TB or 1.5TiB.',
  });
}

/** Verbs of the command `detect`. */
export const virtualVerbs: Readonly<Record<string, Verb>> = {
  add: {
    summary: 'Use a folder as a drive: a NAS mount, a fixed disk in a dock, a practice folder',
    examples: [
      'tandem detect add /mnt/nas/photos --label NAS-Photos',
      'tandem detect add ~/practice/a --label A --size 2TB',
    ],
    args: [{ name: 'path', description: 'the folder', complete: 'path' }],
    options: [
      { flags: '--label <label>', description: 'the name of the drive (required)' },
      {
        flags: '--size <size>',
        description: 'its size, when it is not that of the filesystem below it',
        parse: sizeOption,
      },
    ],
    run: async ({ args, options }, ctx) => {
      if (options['label'] === undefined) {
        throw new TandemError('usage', 'A virtual drive needs a label.', {
          hint: 'Give --label, for example --label NAS-Photos.',
        });
      }
      const entry = await addVirtualDrive(ctx, String(args['path']), String(options['label']), options['size']);
      return {
        json: entry,
        text: () => `'${displayPath(entry.label)}' (${displayPath(entry.path)}) takes part as a drive now.`,
      };
    },
  },
  remove: {
    summary: 'Take a folder out that was a drive; no file in it is touched',
    examples: ['tandem detect remove NAS-Photos', 'tandem detect remove ~/practice/a'],
    args: [{ name: 'drive', description: 'label or folder', complete: 'drive' }],
    run: async ({ args }, ctx) => {
      const { path, label } = virtualDriveNamed(String(args['drive']), ctx.settings().virtualDrives);
      if (isSigned(path))
        await confirmed(
          `'${displayPath(label)}' (${displayPath(path)}) is a drive of a group, which will miss it. Take it out? Files are NOT deleted.`,
          ctx,
        );
      const entry = await removeVirtualDrive(path, ctx);
      return {
        json: entry,
        text: () =>
          `'${displayPath(entry.label)}' (${displayPath(entry.path)}) is no drive any more; no file was touched.`,
      };
    },
  },
};
