/**
 * Trees as literals: `world` builds one on disk, `treeOf` reads one back in a form that `assert.equal` compares.
 * Bytes of a name that are not UTF-8 stand in a literal as `\udc80` … `\udcff` (0xdc00 + the byte).
 */

import { createHash } from 'node:crypto';
import {
  chmodSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';

/** Text or bytes of a file, `null` for a folder (its key ends in `/`), or an entry with more to it. */
export type WorldEntry =
  | string
  | Uint8Array
  | null
  | { symlink: string; mtime?: number }
  | { hardlink: string }
  | { content?: string | Uint8Array; mode?: number; mtime?: number };

export type World = Readonly<Record<string, WorldEntry>>;

export interface Leaf {
  /** UTF-8 text up to 4 KiB; anything else as `sha256:…`. */
  content?: string;
  symlink?: string;
  /** Octal, for example `755`. */
  mode?: string;
  /** Nanoseconds since 1970, as text: `assert.equal` of uvu cannot show a bigint. */
  mtime?: string;
}

/** Makes the entries below `root`, folders as needed; `mtime` is in seconds. Times are set last, deepest first. */
export function world(entries: World, root: string): void {
  const times: [path: Buffer, mtime: number][] = [];
  mkdirSync(root, { recursive: true });
  for (const [key, entry] of Object.entries(entries)) {
    const path = bytesOf(root, key.replace(/\/$/, ''));
    mkdirSync(path.subarray(0, path.lastIndexOf(0x2f)), { recursive: true });
    if (key.endsWith('/')) mkdirSync(path, { recursive: true });
    if (entry === null || typeof entry === 'string' || entry instanceof Uint8Array) {
      if (!key.endsWith('/')) writeFileSync(path, entry ?? '');
      continue;
    }
    if ('hardlink' in entry) {
      linkSync(bytesOf(root, entry.hardlink), path);
      continue;
    }
    if ('symlink' in entry) symlinkSync(entry.symlink, path);
    else {
      if (!key.endsWith('/')) writeFileSync(path, entry.content ?? '');
      if (entry.mode !== undefined) chmodSync(path, entry.mode);
    }
    if (entry.mtime !== undefined) times.push([path, entry.mtime]);
  }
  times.sort((a, b) => b[0].length - a[0].length);
  for (const [path, mtime] of times) lutimesSync(path, mtime, mtime);
}

/**
 * Every entry below `root` except `.tandem/` at its top; folders end in `/`. Leave `mtime` or `mode` out where a test is
 * not about them.
 */
export function treeOf(root: string, omit: readonly ('mode' | 'mtime')[] = []): Record<string, Leaf> {
  const found: Record<string, Leaf> = {};
  const visit = (folder: string): void => {
    const names = readdirSync(bytesOf(root, folder), { encoding: 'buffer' }).map(decodeName).sort();
    for (const name of names) {
      const path = folder === '' ? name : `${folder}/${name}`;
      if (path === '.tandem') continue;
      const full = bytesOf(root, path);
      const stat = lstatSync(full, { bigint: true });
      const leaf: Leaf = {};
      if (stat.isSymbolicLink()) leaf.symlink = readlinkSync(full);
      else if (stat.isFile()) leaf.content = contentOf(readFileSync(full));
      if (!omit.includes('mode') && !stat.isSymbolicLink()) leaf.mode = (stat.mode & 0o7777n).toString(8);
      if (!omit.includes('mtime')) leaf.mtime = String(stat.mtimeNs);
      found[stat.isDirectory() ? `${path}/` : path] = leaf;
      if (stat.isDirectory()) visit(path);
    }
  };
  visit('');
  return found;
}

// --- internal ---

function contentOf(bytes: Buffer): string {
  const text = bytes.length <= 4096 ? bytes.toString('utf8') : undefined;
  const plain = text !== undefined && Buffer.from(text).equals(bytes);
  return plain ? text : `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function bytesOf(root: string, key: string): Buffer {
  const parts = key
    .split(/([\udc80-\udcff])/u)
    .map((part) => (/^[\udc80-\udcff]$/u.test(part) ? Buffer.from([part.charCodeAt(0) & 0xff]) : Buffer.from(part)));
  return Buffer.concat([Buffer.from(root), Buffer.from(key === '' ? '' : '/'), ...parts]);
}

function decodeName(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  if (Buffer.from(text).equals(bytes)) return text;
  return Array.from(bytes, (byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte)).join('');
}
