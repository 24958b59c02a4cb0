/**
 * The folder `.tandem/` at a drive's root, where everything of ours on that drive lies. What a drive brings along is not
 * to be trusted: links are not followed, and pipes and files of absurd size are refused instead of read.
 */
import { closeSync, fstatSync, lstatSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, TandemError } from './errors.ts';
import { displayPath } from './paths.ts';
import { OPEN_READ } from './syscalls.ts';

/** Makes `.tandem/`. A link in its place could lead writes off the drive. */
export function ownFolder(root: string): void {
  const home = join(root, '.tandem');
  const stat = lstatSync(home, { throwIfNoEntry: false });
  if (!stat) mkdirSync(home);
  else if (!stat.isDirectory()) {
    throw new TandemError('config', `${displayPath(home)} is not a folder, so nothing is written there.`, {
      hint: 'Move it away; tandem keeps its own files in a folder of that name.',
    });
  }
}

/** The text of a file of at most `largest` bytes in a drive's `.tandem/`; undefined when it is not there. */
export function readSmallFile(root: string, name: string, largest = SMALL_FILE): string | undefined {
  const home = lstatSync(join(root, '.tandem'), { throwIfNoEntry: false });
  if (!home) return undefined;
  if (!home.isDirectory()) throw new Error('.tandem is not a folder');
  try {
    return readSmall(openSync(join(root, '.tandem', name), OPEN_READ), largest);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** The text of what was opened with OPEN_READ, and closes it; throws when that is no plain file or a large one. */
export function readSmall(fd: number, largest = SMALL_FILE): string {
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.size > largest) throw new Error('it is not a small plain file');
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

// --- internal ---

const SMALL_FILE = 256 * 1024;
