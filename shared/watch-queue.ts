/**
 * Which paths have changed and are now to be looked at? Takes in what a watcher hears, path by path, and hands it out in
 * batches: when all is quiet for the debounce, or at the latest after a longest wait, without what goes on changing. Pure:
 * the time is given with every call, in milliseconds, and files are never looked at.
 */
import { baseName, isInside, parentOf } from './paths.ts';
import { alwaysExcluded } from './scan.ts';

/** A batch waits so many times the debounce, and no longer, for the quiet. */
const PATIENCE = 4;

/** Written by editors and file managers beside the file that is meant, and gone again soon; a full look takes what stays. */
const NOISE: readonly RegExp[] = [
  /^4913$/,
  /\.sw[a-z]$/i,
  /~$/,
  /^\._/,
  /^\.goutputstream-/,
  /^\.#/,
  /^#.*#$/,
  /^~\$/,
  /^\.nfs[0-9a-f]+$/,
];

/** A path that no batch is made for: tandem's and the system's own folders, and what editors leave for a moment. */
export function isNoise(path: string): boolean {
  return alwaysExcluded(path) || NOISE.some((pattern) => pattern.test(baseName(path)));
}

interface Touch {
  /** When it was touched first since it was last handed out. */
  first: number;
  /** Not before then. */
  ready: number;
}

export class TouchQueue {
  private readonly touches = new Map<string, Touch>();
  private readonly debounce: number;

  /** @param debounce milliseconds. */
  constructor(debounce: number) {
    this.debounce = debounce;
  }

  get length(): number {
    return this.touches.size;
  }

  /** @param delay milliseconds until it may be looked at; the debounce unless said otherwise. */
  touch(path: string, now: number, delay = this.debounce): void {
    if (isNoise(path)) return;
    const known = this.touches.get(path);
    if (known) known.ready = Math.max(known.ready, now + delay);
    else this.touches.set(path, { first: now, ready: now + delay });
  }

  /** When the next batch is due; undefined: nothing waits. A clock that was set back delays nothing for longer than it would have. */
  due(): number | undefined {
    if (this.touches.size === 0) return undefined;
    let [quiet, soonest, oldest] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (const { first, ready } of this.touches.values()) {
      quiet = Math.max(quiet, ready);
      soonest = Math.min(soonest, ready);
      oldest = Math.min(oldest, first);
    }
    return Math.min(quiet, Math.max(soonest, oldest + PATIENCE * this.debounce));
  }

  /** The batch that is due, in the order in which its paths were touched first; empty before that. */
  take(now: number): string[] {
    const due = this.due();
    if (due === undefined || now < due) return [];
    const taken = [...this.touches].filter(([, { ready }]) => ready <= now).map(([path]) => path);
    for (const path of taken) this.touches.delete(path);
    return taken;
  }

  clear(): void {
    this.touches.clear();
  }
}

/**
 * The places whose looking at covers all of these paths: none lies in another one, and there are at most `most`. While there
 * are more, the deepest give way to the folders that they lie in.
 */
export function coveringPlaces(paths: Iterable<string>, most: number): string[] {
  let places = outermost(paths);
  while (places.length > most) {
    const depth = places.reduce((deepest, place) => Math.max(deepest, levelsOf(place)), 0);
    places = outermost(places.map((place) => (levelsOf(place) === depth ? parentOf(place) : place)));
  }
  return places;
}

/** The deepest folder, or the path itself, that holds them all; `''` for the drive's root. */
export function commonPlace(paths: readonly string[]): string {
  const [first = '', ...others] = paths;
  let place = first;
  for (const path of others) while (place !== '' && !isInside(path, place)) place = parentOf(place);
  return place;
}

// --- internal ---

function levelsOf(path: string): number {
  return path === '' ? 0 : path.split('/').length;
}

function outermost(paths: Iterable<string>): string[] {
  const all = new Set(paths);
  const covered = (path: string): boolean => {
    for (let at = path; at !== ''; ) {
      at = parentOf(at);
      if (all.has(at)) return true;
    }
    return false;
  };
  return [...all].filter((path) => !covered(path));
}
