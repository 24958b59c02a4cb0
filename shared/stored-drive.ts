/**
 * Whether a drive holds what the Backup of a group holds when its files are compressed or sealed. Such a drive is no
 * Master as it is: a sync from it would take the stored files for the user's own. Reads only what the drive carries.
 */
import { carriedRows } from './carry.ts';
import { factsField } from './listing.ts';
import { readState } from './state.ts';
import type { DriveRoot } from './store.ts';
import { storedPath } from './stored.ts';
import { statAt } from './syscalls.ts';

/** Looks at a sample of what its state records; a drive without a state that can be read holds none as far as it knows. */
export async function holdsStoredFiles(root: DriveRoot): Promise<boolean> {
  const { state } = readState(root.dir);
  if (state === null || state.generation === '') return false;
  const rows = await carriedRows({ root, state }).catch(() => []);
  const own = new Set(rows.map(({ path }) => path));
  // Both drives carry the record: a name counts that the Master cannot have, and only where it stands.
  const stored = rows.flatMap(({ path, stored_name, backup_facts }) => {
    const place = storedPath(path, stored_name);
    return stored_name === '' || own.has(place) ? [] : [{ place, size: factsField(backup_facts, 1) }];
  });
  const step = Math.max(1, Math.floor(stored.length / SAMPLE));
  return stored.some(({ place, size }, index) => {
    if (index % step !== 0) return false;
    const found = statAt(root.dir, place);
    return found?.kind === 'f' && String(found.size) === size;
  });
}

// --- internal ---

/** Files that are looked for. */
const SAMPLE = 200;
