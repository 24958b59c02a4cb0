/**
 * Names on a Backup whose files are compressed or sealed that two paths would have: `a` is stored as `a.gz`, and a folder,
 * a link or another file is called so. Where the other one goes on to a name of its own in the same run, the order settles
 * it; all else is a problem that is said before the first byte. Pure.
 */
import type { Problem } from '../shared/errors.ts';
import { displayPath, type KeyRules } from '../shared/paths.ts';
import { type Storing, storedPath, suffixFor } from '../shared/stored.ts';
import type { BaselineRow } from './history.ts';
import { type Action, keyOf } from './reconcile.ts';

/** What stands on the drives under the names that files may get. */
export interface Standing {
  /** Keys of folders and links, on either drive, whose names end as stored ones do. */
  others: ReadonlySet<string>;
  rows: readonly BaselineRow[];
}

const WRITING: readonly string[] = ['copy', 'update', 'convert'];

/** @returns the actions that can be done, and why the others cannot. */
export function withoutCollisions(
  actions: readonly Action[],
  { others, rows }: Standing,
  { active, wanted }: Storing,
  keys: KeyRules,
): { actions: readonly Action[]; problems: Problem[]; files: number } {
  if (!active) return { actions, problems: [], files: 0 };
  const problems: Problem[] = [];
  const taken = new Map<string, string>();
  for (const { path, stored_name, master_facts } of rows)
    if (master_facts.startsWith('f')) taken.set(keyOf(storedPath(path, stored_name), keys), path);
  const byKey = new Map(actions.map((action) => [keyOf(action.path, keys), action]));
  const place = ({ path, entry }: Action): string => path + (entry === 'f' ? suffixFor(path, wanted) : '');
  let files = 0;
  /** Whoever stands there is gone when its turn comes. */
  const leaves = (owner: string, name: string): boolean => {
    const action = byKey.get(keyOf(owner, keys));
    if (!action) return false;
    if (action.kind === 'move' || action.kind === 'forget' || (WRITING.includes(action.kind) && action.backup === null))
      return true;
    return WRITING.includes(action.kind) && keyOf(place(action), keys) !== name;
  };
  const why = (action: Action): string | undefined => {
    const writes = WRITING.includes(action.kind) || action.kind === 'mkdir';
    if (!writes) return undefined;
    const name = keyOf(place(action), keys);
    const shown = displayPath(place(action));
    const suffixed = place(action) !== action.path;
    if (suffixed && others.has(name)) return `it would be stored as '${shown}', and a folder or link has this name`;
    const owner = taken.get(name);
    if (owner === undefined || keyOf(owner, keys) === keyOf(action.path, keys) || leaves(owner, name)) return undefined;
    return suffixed
      ? `it would be stored as '${shown}', which another file stands under`
      : `'${displayPath(owner)}' is stored under this name`;
  };
  const kept = actions.filter((action) => {
    const reason = why(action);
    if (reason === undefined) return true;
    if (action.entry !== 'd') files += 1;
    problems.push({
      path: action.path,
      message: `cannot be stored on the Backup: ${reason}; rename one of the two`,
    });
    return false;
  });
  return { actions: kept, problems, files };
}

/**
 * Files that are written, in rounds: whatever stands under the name that a file gets goes to its own new name in an
 * earlier one.
 * @param place where an action puts its file.
 */
export function inRounds(actions: readonly Action[], place: (action: Action) => string): Action[][] {
  const standing = new Map<string, Action>();
  for (const action of actions) {
    const { path, backup, stored = '' } = action;
    if (backup !== null && place(action) !== path + stored) standing.set(path + stored, action);
  }
  if (standing.size === 0) return [[...actions]];
  const rounds: Action[][] = [];
  for (const action of actions) {
    let round = 0;
    for (let next = standing.get(place(action)); next && next !== action && round < standing.size; round += 1)
      next = standing.get(place(next));
    const there = rounds[round];
    if (there) there.push(action);
    else rounds[round] = [action];
  }
  return rounds.filter((round) => round !== undefined);
}
