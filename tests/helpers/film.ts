/** Three pairs of virtual drives, and a film whose parts lie on them. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findDrive, listDrives } from '../../features/detect.ts';
import { createGroup } from '../../features/groups.ts';
import { type Context, type ContextOptions, createContext } from '../../shared/context.ts';
import { type Sandbox, sandbox } from './cli.ts';
import { edit } from './pair.ts';
import type { World } from './world.ts';

export const ROLES = ['footage', 'renders', 'assets'] as const;
export type FilmRole = (typeof ROLES)[number];

export interface Studio {
  readonly box: Sandbox;
  readonly ctx: Context;
  /** Root folder of a drive. */
  at(role: FilmRole, side: 'master' | 'backup', path?: string): string;
  /** Away, until it is called again. */
  unplug(role: FilmRole, side: 'master' | 'backup'): () => void;
  edit(role: FilmRole, side: 'master' | 'backup', entries: World): void;
  /** Another computer with the same drives. */
  elsewhere(): { ctx: Context; box: Sandbox };
  context(options?: ContextOptions): Context;
}

/** Groups `Footage`, `Renders` and `Assets`, each on the drives `footage-master`, `footage-backup` and so on. */
export async function withStudio(work: (studio: Studio) => Promise<void>): Promise<void> {
  const box = sandbox();
  const boxes = [box];
  const contexts: Context[] = [];
  const at = (role: FilmRole, side: 'master' | 'backup', path = ''): string => join(box.root, `${role}-${side}`, path);
  const lines = ROLES.flatMap((role) =>
    (['master', 'backup'] as const).map((side) => {
      mkdirSync(at(role, side));
      return `    - path: ${JSON.stringify(at(role, side))}\n      label: ${role}-${side}\n      total_size: 100000000000\n`;
    }),
  );
  const settings = `version: 1\ndrives:\n  virtual:\n${lines.join('')}`;
  const context = (home: Sandbox, options: ContextOptions = {}): Context => {
    const made = createContext({ configDir: home.config, dataDir: home.data, ...options });
    contexts.push(made);
    return made;
  };
  try {
    writeFileSync(join(box.config, 'app.yaml'), settings);
    const ctx = context(box);
    const drives = await listDrives(ctx);
    for (const role of ROLES) {
      const [master, backup] = [findDrive(`${role}-master`, drives), findDrive(`${role}-backup`, drives)];
      await createGroup({ name: role[0]?.toUpperCase() + role.slice(1), master, backup }, ctx);
    }
    await work({
      box,
      ctx,
      at,
      unplug: (role, side) => {
        renameSync(at(role, side), `${at(role, side)}-away`);
        return () => renameSync(`${at(role, side)}-away`, at(role, side));
      },
      edit: (role, side, entries) => edit(at(role, side), entries),
      elsewhere: () => {
        const other = sandbox();
        boxes.push(other);
        writeFileSync(join(other.config, 'app.yaml'), settings);
        return { ctx: context(other), box: other };
      },
      context: (options) => context(box, options),
    });
  } finally {
    for (const one of contexts) await one.close();
    for (const one of boxes) one.cleanup();
  }
}

export function carriedBy(root: string): { projects: Record<string, unknown>[]; deleted: { id: string }[] } {
  return JSON.parse(readFileSync(join(root, '.tandem', 'projects.json'), 'utf8'));
}
