/**
 * Projects as they are kept: in `projects.yaml` of this computer, which people may edit, and in `.tandem/projects.json` of
 * the drives that they live on, which travels. Both hold the same fields. Of two states of a project the one that was
 * modified later counts; one that was deleted leaves its id behind, so that a drive which was away does not bring it back.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { ZodType } from 'zod';
import {
  keepFormer,
  loadYaml,
  readYaml,
  rememberedValue,
  saveYamlValue,
  withFileLock,
  writeFileAtomic,
  zod,
} from './config.ts';
import type { Context } from './context.ts';
import { isoTime, optionsField, refusePasswords, timeField } from './fields.ts';
import { foldText, pickNamed } from './named.ts';
import type { SparseOptions } from './options.ts';
import { ownFolder, readSmallFile } from './own-folder.ts';

/** A part of a project that has a home of its own. */
export interface ProjectPart {
  role: string;
  group_id: string;
  /** Below the project's path; `''`: the project's folder itself. */
  subpath: string;
}

/** Exactly the reference's fields, and `id`, `modified`, `options`. */
export interface Project {
  id: string;
  name: string;
  /** From the root of its drives; of a project without a group the absolute path of its folder. */
  path: string;
  storage_group_id?: string | undefined;
  storage_groups?: ProjectPart[] | undefined;
  description: string;
  /** ISO 8601, UTC. */
  created_at: string;
  modified: string;
  options: SparseOptions;
}

export interface Tombstone {
  id: string;
  modified: string;
}

export interface ProjectsFile {
  version?: 1 | undefined;
  projects: Project[];
  deleted: Tombstone[];
}

/** What `projects.yaml` says. @throws TandemError `config` with file, line and column. */
export function readProjects(ctx: Context): ProjectsFile {
  const cacheDir = join(ctx.dataDir, 'cache');
  return readYaml({ path: projectsFile(ctx), schema, module: import.meta.url, empty: NONE, cacheDir });
}

/**
 * One process edits at a time, each on what is in the file now; nothing is written when nothing changes. A file of before
 * there were versions is kept beside the new one.
 */
export async function editProjects(ctx: Context, change: (file: ProjectsFile) => ProjectsFile): Promise<ProjectsFile> {
  const path = projectsFile(ctx);
  return withFileLock(path, () => {
    const file = loadYaml(path, schema());
    const before = JSON.stringify(file.value);
    const after = change(structuredClone(file.value));
    if (JSON.stringify(after) === before) return after;
    // From now on the id is in the file, and no longer follows name and path.
    file.value.projects.forEach(({ id }, index) => {
      if (!file.document.hasIn(['projects', index, 'id'])) file.document.setIn(['projects', index, 'id'], id);
    });
    if (file.stamp === 'absent') file.document.commentBefore = HEADER;
    else if (file.value.version === undefined) keepFormer(path);
    saveYamlValue(file, { version: 1, ...after }, schema());
    readProjects(ctx);
    return after;
  });
}

/** @throws TandemError `not_found` with a guess, `ambiguous` with every project that fits. */
export function pickProject(query: string, projects: readonly Project[]): Project {
  return pickNamed(query, projects, 'project', 'projects');
}

/**
 * What a drive carries; null when it carries nothing.
 * @throws when the file is there and cannot be used.
 */
export function carriedProjects(root: string, ctx: Context): ProjectsFile | null {
  const text = readSmallFile(root, CARRIED, LARGEST);
  if (text === undefined) return null;
  const bytes = Buffer.from(text);
  return rememberedValue({ module: import.meta.url, path: root, cacheDir: join(ctx.dataDir, 'cache') }, bytes, () => {
    const checked = schema().safeParse(JSON.parse(text));
    if (checked.success) return { value: checked.data, lasts: true };
    const [issue] = checked.error.issues;
    throw new Error(`${issue?.path.join('.')}: ${issue?.message}`);
  });
}

/** Writes what a drive is to carry, unless it carries exactly that. */
export function writeCarried(root: string, file: ProjectsFile): void {
  const { deleted } = file;
  const projects = file.projects.map(inOrder);
  const text = `${JSON.stringify({ version: 1, projects, deleted }, null, 1)}\n`;
  if (readSmallFile(root, CARRIED, LARGEST) === text) return;
  ownFolder(root);
  writeFileAtomic(join(root, '.tandem', CARRIED), text);
}

/** Of each project the state that was modified last; a deletion goes before an edit of the same second. */
export function mergeProjects(files: readonly ProjectsFile[]): ProjectsFile {
  const projects = new Map<string, Project>();
  const deleted = new Map<string, Tombstone>();
  for (const file of files) {
    for (const one of file.projects) {
      const known = projects.get(one.id);
      if (known === undefined || known.modified < one.modified) projects.set(one.id, one);
    }
    for (const one of file.deleted) {
      const known = deleted.get(one.id);
      if (known === undefined || known.modified < one.modified) deleted.set(one.id, one);
    }
  }
  for (const { id, modified } of deleted.values()) {
    if ((projects.get(id)?.modified ?? '') <= modified) projects.delete(id);
    else deleted.delete(id);
  }
  return { version: 1, projects: [...projects.values()], deleted: [...deleted.values()] };
}

/** A time for `modified` that comes after the former one, whatever the clock says. */
export function laterThan(former: string | undefined, now: Date): string {
  const least = former === undefined ? 0 : Date.parse(former) + 1000;
  return isoTime(new Date(Math.max(least, now.getTime())));
}

/** The groups that a project lives on, with the role of each. */
export function partsOf(project: Project): { role: string | null; group_id: string; subpath: string }[] {
  if (project.storage_groups) return project.storage_groups;
  return project.storage_group_id === undefined
    ? []
    : [{ role: null, group_id: project.storage_group_id, subpath: '' }];
}

// --- internal ---

/** People read these files too. */
function inOrder(project: Project): Project {
  const { id, name, path, storage_group_id, storage_groups, description, created_at, modified, options, ...rest } =
    project;
  const place = {
    ...(storage_group_id === undefined ? {} : { storage_group_id }),
    ...(storage_groups === undefined ? {} : { storage_groups }),
  };
  return { id, name, path, ...place, description, created_at, modified, options, ...rest };
}

const CARRIED = 'projects.json';
/** Bytes; some ten thousand projects. */
const LARGEST = 16 * 1024 * 1024;
const NONE: ProjectsFile = { version: 1, projects: [], deleted: [] };
const HEADER = " tandem's projects, as far as this computer has seen them. You may edit this file; comments are kept.";

export function projectsFile(ctx: Context): string {
  return join(ctx.configDir, 'projects.yaml');
}

function schema(): ZodType<ProjectsFile> {
  const z = zod();
  const text = z.string('must be text; put a number in quotes');
  const optional = text.nullish().transform((value) => value ?? undefined);
  const role = text.min(1, 'must not be empty');
  const part = z.looseObject({
    role,
    group_id: text.min(1),
    subpath: text.nullish().transform((value) => value ?? ''),
  });
  const project = z
    .looseObject({
      // The reference's project has none: then name and path make one, the same wherever the file is read.
      id: optional,
      name: text.min(1, 'must not be empty'),
      path: text,
      storage_group_id: optional,
      storage_groups: z
        .array(part, 'must be a list of role, group_id and subpath')
        .nullish()
        .transform((value) => value ?? undefined),
      description: text.nullish().transform((value) => value ?? ''),
      created_at: timeField().nullish(),
      modified: timeField().nullish(),
      options: optionsField('project'),
    })
    .superRefine(refusePasswords)
    .superRefine(({ storage_group_id, storage_groups }, context) => {
      const issue = (message: string, ...path: (string | number)[]): void =>
        context.addIssue({ code: 'custom', message, path });
      if (storage_group_id !== undefined && storage_groups !== undefined)
        issue('has storage_group_id as well; keep one of them', 'storage_groups');
      const roles = new Set<string>();
      for (const [index, one] of (storage_groups ?? []).entries()) {
        if (roles.has(foldText(one.role))) issue('is used twice in this project', 'storage_groups', index, 'role');
        roles.add(foldText(one.role));
      }
    })
    .transform(({ id, created_at, modified, storage_group_id, storage_groups, ...rest }): Project => {
      const created = created_at ?? '1970-01-01T00:00:00Z';
      return {
        ...rest,
        id: id ?? derivedId(rest.name, rest.path),
        ...(storage_group_id === undefined ? {} : { storage_group_id }),
        ...(storage_groups === undefined ? {} : { storage_groups }),
        created_at: created,
        modified: modified ?? created,
      };
    });
  const tombstone = z.looseObject({ id: text.min(1), modified: timeField() });
  return z
    .looseObject({
      version: z
        .literal(1, 'was written by a newer tandem; this one reads version 1 and leaves the file untouched')
        .optional(),
      projects: z
        .array(project, 'must be a list of projects')
        .nullish()
        .transform((value) => value ?? []),
      deleted: z
        .array(tombstone, 'must be a list')
        .nullish()
        .transform((value) => value ?? []),
    })
    .superRefine((file, context) => {
      const seen = new Set<string>();
      for (const [index, { id }] of file.projects.entries()) {
        if (seen.has(id))
          context.addIssue({ code: 'custom', message: 'is used twice', path: ['projects', index, 'id'] });
        seen.add(id);
      }
    });
}

function derivedId(name: string, path: string): string {
  const hex = createHash('sha256').update(`${name}\0${path}`).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
}
