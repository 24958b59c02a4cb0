/** While a plan is made: what waits for a decision stays as it is, and what has settled itself is known as such. */
import type { OpenConflict } from '../shared/inbox.ts';
import { isInside, parentOf, type RelPath, relPath } from '../shared/paths.ts';
import type { Action } from './reconcile.ts';
import type { Survey } from './survey.ts';

const HARMLESS: readonly Action['kind'][] = ['adopt', 'skip', 'forget'];
const MAKING: readonly Action['kind'][] = ['mkdir', 'copy', 'update', 'move'];

/** What was undone stays as it is until the user says which state shall stand: no run may undo the undo. */
export function hold(actions: readonly Action[], waiting: readonly OpenConflict[]): readonly Action[] {
  const undone = new Map(
    waiting.filter(({ conflict_type }) => conflict_type === 'undone').map((one) => [one.path, one]),
  );
  if (undone.size === 0) return actions;
  // A folder that something else needs is made: what was undone in it waits by itself.
  const needed = new Set<string>();
  for (const { kind, path } of actions) {
    if (undone.has(path) || !MAKING.includes(kind)) continue;
    for (let at: string = parentOf(path); at !== '' && !needed.has(at); at = parentOf(at)) needed.add(at);
  }
  // Where a file stays, nothing can be put below it: the folder that was to take its place waits with all it holds.
  const blocked = actions.filter(({ entry, path, backup }) => entry === 'd' && undone.has(path) && isNoFolder(backup));
  const possible = actions.filter(
    ({ kind, path }) =>
      !MAKING.includes(kind) || !blocked.some((folder) => folder.path !== path && isInside(path, folder.path)),
  );
  return possible.map((action): Action => {
    const held = undone.get(action.path);
    // A folder that is on both sides again, or is needed, was no decision to be kept.
    const folder =
      action.entry === 'd' && (action.kind === 'meta' || (action.kind === 'mkdir' && needed.has(action.path)));
    const harmless = HARMLESS.includes(action.kind) || folder;
    if (!held || harmless) return action;
    const { path, entry, size, master, backup, stored, backup_shared } = action;
    const more = { ...(stored === undefined ? {} : { stored }), ...(backup_shared ? { backup_shared } : {}) };
    const facts = { master, backup, ...more };
    return { kind: 'conflict', path, entry, size, ...facts, reason: held.reason, conflict_type: 'undone' };
  });
}

/** What is no conflict any more, of what this plan looked at. */
export function noLonger(
  waiting: readonly OpenConflict[],
  actions: readonly Action[],
  { master, backup }: Survey,
  frozen: (path: string) => boolean,
): RelPath[] {
  const unknown = [...master.unknown, ...backup.unknown].map(({ path }) => path);
  const found = new Set(actions.filter(({ kind }) => kind === 'conflict').map(({ path }) => path));
  const gone = waiting.filter(
    ({ path }) => !found.has(path) && !frozen(path) && !unknown.some((place) => isInside(path, place)),
  );
  return gone.map(({ path }) => relPath(path));
}

function isNoFolder(facts: string | null): boolean {
  return facts !== null && !facts.startsWith('d');
}
