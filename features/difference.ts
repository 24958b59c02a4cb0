/**
 * How the two versions of a file differ: as texts line by line, as media by what programs say of them. A Backup's file that
 * is compressed or sealed is compared as what it holds.
 */
import { isUtf8 } from 'node:buffer';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Context } from '../shared/context.ts';
import { errnoOf } from '../shared/errors.ts';
import { formatBytes } from '../shared/format.ts';
import { displayPath, type RelPath } from '../shared/paths.ts';
import type { Suffix } from '../shared/stored.ts';
import type { Stat } from '../shared/syscalls.ts';
import type { OpenPair } from './session.ts';
import { copyOut } from './storing.ts';

/** How the two versions of a file differ. */
export interface Difference {
  /** Of two texts: as `diff -u` prints it; null for anything else. */
  text: string | null;
  /** What differs in size, times and, where exiftool or ffprobe are installed, in the media's own data. */
  fields: { field: string; master: string; backup: string }[];
}

/** @param stats of both files, the Master's first. */
export async function differenceOf(
  pair: OpenPair,
  path: RelPath,
  stored: Suffix,
  stats: [Stat, Stat],
  ctx: Context,
): Promise<Difference> {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-diff-'));
  try {
    const files: [string, string] = [join(pair.master.dir.path, path), join(pair.backup.dir.path, path)];
    if (stored !== '') {
      files[1] = join(folder, 'backup');
      await copyOut(pair, path, stored, files[1], ctx);
      stats[1] = { ...stats[1], size: statSync(files[1]).size };
    }
    const text = stats.every(({ size }) => size <= LARGEST_TEXT) ? await textDiff(files, folder, path, ctx) : null;
    const fields = [plainFields(stats[0]), plainFields(stats[1])] as const;
    if (text === null) {
      Object.assign(fields[0], await mediaFields(join(pair.master.mountPath, path), ctx));
      Object.assign(fields[1], await mediaFields(stored === '' ? join(pair.backup.mountPath, path) : files[1], ctx));
    }
    const keys = [...new Set([...Object.keys(fields[0]), ...Object.keys(fields[1])])];
    const shown = keys.map((field) => ({ field, master: fields[0][field] ?? '—', backup: fields[1][field] ?? '—' }));
    return { text, fields: shown.filter(({ master, backup }) => master !== backup) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

// --- internal ---

const LARGEST_TEXT = 4 * 1024 * 1024;

/** Null unless both are text. Works on copies, so that the program cannot be led elsewhere in the meantime. */
async function textDiff(
  originals: readonly string[],
  folder: string,
  path: RelPath,
  ctx: Context,
): Promise<string | null> {
  try {
    const files = originals.map((original, index) => {
      const content = readFileSync(original);
      const copy = join(folder, String(index));
      writeFileSync(copy, content);
      return { copy, text: isUtf8(content) && !content.includes(0) };
    });
    if (!files.every(({ text }) => text)) return null;
    const labels = ['Master', 'Backup'].flatMap((side) => ['--label', `${side}/${displayPath(path)}`]);
    const result = await ctx.exec('diff', ['-u', ...labels, '--', ...files.map(({ copy }) => copy)]);
    return result.code > 1 ? null : result.stdout.trimEnd();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}

function plainFields(stat: Stat): Record<string, string> {
  const { size, mtime, mode } = stat;
  return {
    size: `${formatBytes(size)} (${size})`,
    modified: new Date(mtime.seconds * 1000 + mtime.nanoseconds / 1e6).toISOString(),
    permissions: mode.toString(8),
  };
}

/** What the media say of themselves; empty where no program can tell. */
async function mediaFields(file: string, ctx: Context): Promise<Record<string, string>> {
  try {
    const { code, stdout } = await ctx.exec('exiftool', ['-j', '-n', '-x', 'SourceFile', '-x', 'Directory', file]);
    const [found] = code === 0 ? (JSON.parse(stdout) as Record<string, unknown>[]) : [];
    return Object.fromEntries(
      Object.entries(found ?? {})
        .filter(([field]) => !/^(SourceFile|Directory|File(Size|Name|Modify|Access|Inode|Permissions).*)$/.test(field))
        .map(([field, value]) => [field, displayPath(String(value))]),
    );
  } catch {
    return {};
  }
}
