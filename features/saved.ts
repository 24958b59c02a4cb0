/**
 * Whether what a file says can be carried out as a plan, and which paths another says to leave out. Nothing of a plan is
 * believed: it may be cut, edited or forged.
 */
import { readFileSync } from 'node:fs';
import { messageOf, TandemError } from '../shared/errors.ts';
import { ALGORITHMS, type Algorithm } from '../shared/hash.ts';
import { displayPath, isInside, relPath } from '../shared/paths.ts';
import { alwaysExcluded } from '../shared/scan.ts';
import { isSuffix } from '../shared/stored.ts';

const KINDS: readonly string[] = [
  'mkdir',
  'move',
  'copy',
  'update',
  'convert',
  'meta',
  'adopt',
  'forget',
  'delete',
  'conflict',
  'skip',
];

/** Why a value from a file cannot be carried out as a plan, or undefined when it can. */
export function planProblem(value: unknown): string | undefined {
  const plan = record(value);
  if (plan?.['tandem_plan'] !== 1)
    return `tandem_plan is ${JSON.stringify(plan?.['tandem_plan'])}, this version takes 1`;
  const target = record(plan['target']);
  const texts = [target?.['group_id'], target?.['name'], target?.['subpath'], plan['master_uuid'], plan['backup_uuid']];
  const project = target?.['kind'] === 'project' && typeof target['project_id'] === 'string';
  if (!(target?.['kind'] === 'group' || project) || texts.some((text) => typeof text !== 'string'))
    return 'it names no group and drives';
  if (!['undefined', 'string'].includes(typeof target['role'])) return 'it names no role of a project';
  const { actions, problems, guards, settled } = plan;
  if (!Array.isArray(settled) || settled.some((path) => typeof path !== 'string')) return 'a list is missing';
  if (!Array.isArray(actions) || !Array.isArray(problems) || !Array.isArray(guards)) return 'a list is missing';
  if (record(plan['totals']) === undefined || typeof plan['failed'] !== 'number') return 'its totals are missing';
  const options = record(plan['options']);
  const known =
    ALGORITHMS.includes(options?.['checksum_algorithm'] as Algorithm) &&
    ['none', 'size', 'checksum'].includes(String(options?.['verify_checksums'])) &&
    typeof record(options?.['versions'])?.['enabled'] === 'boolean';
  const parallel = options?.['max_parallel_files'];
  if (
    !known ||
    typeof options?.['enable_parallel_copy'] !== 'boolean' ||
    !(parallel === 'auto' || (Number.isInteger(parallel) && Number(parallel) >= 1 && Number(parallel) <= 16))
  )
    return 'its options are not those of a plan';
  for (const action of actions) {
    const why = actionProblem(action, String(target['subpath']));
    if (why !== undefined) return why;
  }
  return undefined;
}

/**
 * The paths in a file: one a line; where there are NUL characters those stand between them, so that a path may hold anything.
 * @throws TandemError `invalid` for a file that cannot be read.
 */
export function readPaths(file: string): string[] {
  try {
    const text = readFileSync(file, 'utf8');
    return text.split(text.includes('\0') ? '\0' : /\r?\n/).filter((path) => path !== '');
  } catch (error) {
    throw new TandemError('invalid', `The paths to leave out cannot be read: ${messageOf(error)}.`, {
      hint: 'Write one path a line, or NUL characters between them.',
    });
  }
}

// --- internal ---

function actionProblem(value: unknown, subpath: string): string | undefined {
  const action = record(value);
  if (action === undefined || typeof action['path'] !== 'string') return 'a step of it has no path';
  const { path, link_to, from, stored = '', occupied = null } = action;
  const name = displayPath(path as string);
  if (!KINDS.includes(String(action['kind'])) || !['f', 'd', 'l'].includes(String(action['entry'])))
    return `the step for '${name}' is of no known kind`;
  if (!isSuffix(stored)) return `the step for '${name}' is of no known form`;
  const facts = [action['master'], action['backup'], occupied].every(
    (one) => one === null || (typeof one === 'string' && /^[fdlo] \d+ /.test(one)),
  );
  if (!facts || typeof action['size'] !== 'number' || typeof action['reason'] !== 'string')
    return `the step for '${name}' is incomplete`;
  if ((action['kind'] === 'move') !== (from !== undefined)) return `the step for '${name}' is incomplete`;
  for (const one of [path, link_to, from].filter((text) => text !== undefined)) {
    if (typeof one !== 'string' || !isSynced(one))
      return `'${displayPath(String(one))}' is not a path that is ever synced`;
    if (!isInside(one, subpath) && !(action['kind'] === 'mkdir' && isInside(subpath, one)))
      return `'${displayPath(one)}' lies outside of '${displayPath(subpath)}'`;
  }
  return undefined;
}

/** Inside the drive, and nothing of tandem's or the system's own. */
function isSynced(text: string): boolean {
  try {
    return text !== '' && relPath(text) === text && !alwaysExcluded(text);
  } catch {
    return false;
  }
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}
