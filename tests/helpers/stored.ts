/** A pair whose Backup is compressed, sealed or both. */
import { createHash, randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { getGroup, setGroupOptions } from '../../features/groups.ts';
import { groupKey, initKeyring } from '../../features/keyring.ts';
import type { GroupKey } from '../../shared/keyring.ts';
import type { SparseOptions } from '../../shared/options.ts';
import type { TestPair } from './pair.ts';

/** Makes a key ring that a key file opens (no password is hashed), and has the group store its files so. Returns the key. */
export async function store(pair: TestPair, options: SparseOptions): Promise<GroupKey> {
  const file = join(pair.box.root, 'key');
  const bytes = randomBytes(32);
  writeFileSync(file, bytes, { mode: 0o600 });
  await initKeyring(getGroup('Archive', pair.ctx), { kind: 'key_file', bytes }, pair.ctx);
  await setForm(pair, { encryption_key_file: file, ...options });
  return groupKey(getGroup('Archive', pair.ctx), { master: null, backup: null }, pair.ctx);
}

const FORM_KEYS = ['enable_compression', 'compression_type', 'compression_level', 'enable_encryption'] as const;

/** What is not named is as it is by default. */
export async function setForm(pair: TestPair, options: SparseOptions): Promise<void> {
  const words = Object.entries({ ...Object.fromEntries(FORM_KEYS.map((key) => [key, ''])), ...options });
  const assignments = words.map(([key, value]) => `${key}=${String(value)}`);
  await setGroupOptions('Archive', assignments, undefined, pair.ctx);
}

export const GZIP: SparseOptions = { enable_compression: true, compression_level: 1 };
export const LZ4: SparseOptions = { enable_compression: true, compression_type: 'lz4', compression_level: 1 };
export const SEALED: SparseOptions = { enable_encryption: true };

/** A file of an hour ago. */
export function put(root: string, path: string, content: string | Buffer): void {
  const old = new Date(Date.now() - 3_600_000);
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
  utimesSync(join(root, path), old, old);
}

/** What a user would find: names, contents, links. */
export function contents(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const full = join(entry.parentPath, entry.name);
    const path = full.slice(root.length + 1);
    if (path === '.tandem' || path.startsWith('.tandem/') || path === 'lost+found') continue;
    const stat = lstatSync(full);
    if (stat.isSymbolicLink()) found[path] = `-> ${readlinkSync(full)}`;
    else if (stat.isDirectory()) found[path] = 'd';
    else found[path] = createHash('sha256').update(readFileSync(full)).digest('hex');
  }
  return Object.fromEntries(Object.entries(found).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Of every file below: inode, time and bytes. */
export function fingerprints(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [path, checksum] of Object.entries(contents(root))) {
    const { ino, mtimeNs } = lstatSync(join(root, path), { bigint: true });
    found[path] = checksum === 'd' ? 'd' : `${ino} ${mtimeNs} ${checksum}`;
  }
  return found;
}
