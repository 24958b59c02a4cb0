/** A group on two drives, and what the tests of the sync engine ask of it again and again. */
import { createHash } from 'node:crypto';
import { lstatSync, lutimesSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findDrive, listDrives } from '../../features/detect.ts';
import { createGroup, getGroup } from '../../features/groups.ts';
import { type BaselineRow, findPair, readBaseline } from '../../features/history.ts';
import type { Plan } from '../../features/plan.ts';
import { planSync, type RunFlags, type SyncResult, syncToBackup } from '../../features/sync.ts';
import { type Target, wholeOf } from '../../features/targets.ts';
import { type Context, type ContextOptions, createContext } from '../../shared/context.ts';
import { TandemError } from '../../shared/errors.ts';
import { type Sandbox, sandbox } from './cli.ts';
import type { TestDrive } from './drives.ts';
import { type World, world } from './world.ts';

export interface TestPair {
  readonly box: Sandbox;
  readonly ctx: Context;
  /** Root folders of the drives. */
  readonly master: string;
  readonly backup: string;
  /** Another context on the same folders; closed with the pair. */
  context(options?: ContextOptions): Context;
  sync(flags?: RunFlags, ctx?: Context): Promise<SyncResult>;
  plan(flags?: RunFlags): Promise<Plan>;
  /** The baseline. */
  rows(): Promise<BaselineRow[]>;
}

export interface Worlds {
  master?: World;
  backup?: World;
}

/** The group 'Archive' on two virtual drives. Files get times an hour old, so that none is within the clock's granule. */
export async function withPair(worlds: Worlds, work: (pair: TestPair) => Promise<void>): Promise<void> {
  const box = sandbox();
  try {
    await onDrives(box, box.master, box.backup, ['MASTER', 'BACKUP'], worlds, work);
  } finally {
    box.cleanup();
  }
}

/** The same on two real drives. */
export async function withRealPair(
  drives: readonly TestDrive[],
  worlds: Worlds,
  work: (pair: TestPair) => Promise<void>,
): Promise<void> {
  const [master, backup] = drives as [TestDrive, TestDrive];
  const box = sandbox();
  writeFileSync(
    join(box.config, 'app.yaml'),
    `version: 1\ndrives:\n  allow_fixed: ${JSON.stringify([master.mount, backup.mount])}\n`,
  );
  try {
    await onDrives(box, master.mount, backup.mount, [master.mount, backup.mount], worlds, work);
  } finally {
    box.cleanup();
  }
}

/** Gives every entry below `root` (not `.tandem`) that was touched in the last minute a time an hour ago. */
export function age(root: string): void {
  const now = Date.now() / 1000;
  for (const path of pathsBelow(root).reverse()) {
    const { mtimeMs } = lstatSync(path);
    if (mtimeMs / 1000 > now - 60) lutimesSync(path, now - 3600, now - 3600);
  }
}

/** The pair's group as a target. */
export const archive = (ctx: Context): Target => wholeOf(getGroup('Archive', ctx));

/** Writes entries and ages the tree. */
export function edit(root: string, entries: World): void {
  world(entries, root);
  age(root);
}

/** Every kept version, as `[path below .tandem/trash/<operation>/, content]`; links as `-> target`. */
export function versionsOf(backup: string, operation?: string): [path: string, content: string][] {
  const trash = Buffer.from(join(backup, '.tandem', 'trash'));
  const found: [string, string][] = [];
  const visit = (folder: Buffer, depth: number, path: string): void => {
    for (const name of namesIn(folder)) {
      if (depth === 0 && operation !== undefined && name.toString() !== operation) continue;
      const full = Buffer.concat([folder, Buffer.from('/'), name]);
      const below = depth === 0 ? '' : path === '' ? name.toString() : `${path}/${name}`;
      const stat = lstatSync(full);
      if (stat.isDirectory()) visit(full, depth + 1, below);
      else found.push([below, stat.isSymbolicLink() ? `-> ${readlinkSync(full)}` : readFileSync(full, 'latin1')]);
    }
  };
  visit(trash, 0, '');
  return found.sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Everything below `root`, tandem's own folder included, down to inode, ctime and content. */
export function snapshotOf(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const path of [Buffer.from(root), ...pathsBelow(root, true)]) {
    const stat = lstatSync(path, { bigint: true });
    const content = stat.isFile() ? checksum(readFileSync(path)) : stat.isSymbolicLink() ? readlinkSync(path) : '';
    found[path.toString('latin1')] =
      `${stat.mode} ${stat.ino} ${stat.nlink} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs} ${content}`;
  }
  return found;
}

/** What a user has on a drive: mode, size, time to the nanosecond, content. Inodes and ctimes move with every rename. */
export function usersTree(root: string): Record<string, string> {
  const tree: Record<string, string> = {};
  for (const [path, text] of Object.entries(snapshotOf(root))) {
    const own = path.slice(Buffer.byteLength(root) + 1);
    if (own === '' || own === '.tandem' || own.startsWith('.tandem/') || own === 'lost+found') continue;
    const [mode, , , size, mtime, , ...content] = text.split(' ');
    const folder = (Number(mode) & 0o170000) === 0o040000;
    tree[own] = [mode, folder ? '' : size, mtime, ...content].join(' ');
  }
  return tree;
}

/** Paths whose entries in two snapshots are not the same. */
export function differences(before: Record<string, string>, after: Record<string, string>): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((path) => before[path] !== after[path])
    .sort();
}

/** The TandemError that a promise must end in. */
export async function refusal(promise: Promise<unknown>): Promise<TandemError> {
  const outcome = await promise.then(
    (value) => new Error(`nothing was refused: ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  );
  if (outcome instanceof TandemError) return outcome;
  throw outcome;
}

// --- internal ---

async function onDrives(
  box: Sandbox,
  master: string,
  backup: string,
  names: readonly [string, string],
  worlds: Worlds,
  work: (pair: TestPair) => Promise<void>,
): Promise<void> {
  const contexts: Context[] = [];
  const context = (options: ContextOptions = {}): Context => {
    const made = createContext({ configDir: box.config, dataDir: box.data, ...options });
    contexts.push(made);
    return made;
  };
  const ctx = context();
  try {
    edit(master, worlds.master ?? {});
    edit(backup, worlds.backup ?? {});
    const drives = await listDrives(ctx);
    await createGroup(
      { name: 'Archive', master: findDrive(names[0], drives), backup: findDrive(names[1], drives) },
      ctx,
    );
    await work({
      box,
      ctx,
      master,
      backup,
      context,
      sync: (flags = {}, other = ctx) => syncToBackup('Archive', flags, other),
      plan: (flags = {}) => planSync('Archive', flags, ctx),
      rows: async () => {
        const [one, other] = ['master', 'backup'].map((side) => uuidAt(side === 'master' ? master : backup)) as [
          string,
          string,
        ];
        const id = await findPair(one, other, ctx);
        return id === null ? [] : readBaseline(id, '', ctx);
      },
    });
  } finally {
    for (const one of contexts) await one.close();
  }
}

function checksum(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function uuidAt(root: string): string {
  return (JSON.parse(readFileSync(join(root, '.tandem', 'drive.json'), 'utf8')) as { drive_uuid: string }).drive_uuid;
}

function namesIn(folder: Buffer): Buffer[] {
  try {
    return readdirSync(folder, { encoding: 'buffer' });
  } catch {
    return [];
  }
}

/** Parents before children; the bytes of names as they are. */
function pathsBelow(root: string, own = false): Buffer[] {
  const found: Buffer[] = [];
  const visit = (folder: Buffer, top: boolean): void => {
    for (const name of namesIn(folder)) {
      if (top && !own && name.toString() === '.tandem') continue;
      const path = Buffer.concat([folder, Buffer.from('/'), name]);
      found.push(path);
      if (lstatSync(path).isDirectory()) visit(path, false);
    }
  };
  visit(Buffer.from(root), true);
  return found;
}
