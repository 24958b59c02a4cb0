/**
 * How many files are copied at the same time, and which: as many as the slower of the two drives likes, small files on no
 * more threads than the computer has cores. Small files keep a thread's core busy, large ones let it wait for the drive.
 */
import { availableParallelism } from 'node:os';
import { isLargeGroup } from './batches.ts';
import type { GroupOptions } from './options.ts';
import type { Volume } from './platform.ts';

/** A drive as far as this is concerned. */
export type LaneDrive = Pick<Volume, 'rotational' | 'transport'> & { virtual: boolean; network: boolean };

export interface Lanes {
  /** Files at the same time while there are large ones among them; 1 to 16. */
  all: number;
  /** Of these, how many take small files; at most `all`. */
  small: number;
}

type LaneOptions = Pick<GroupOptions, 'enable_parallel_copy' | 'max_parallel_files'>;

/**
 * @param drives both of a copy, or the one that is read.
 * @param cores of this computer.
 */
export function lanesFor(
  { enable_parallel_copy, max_parallel_files: asked }: LaneOptions,
  drives: readonly LaneDrive[],
  cores: number = availableParallelism(),
): Lanes {
  if (!enable_parallel_copy) return { all: 1, small: 1 };
  if (asked !== 'auto') return { all: asked, small: asked };
  const all = Math.min(MOST, ...drives.map(lanesOfDrive));
  // A thread that waits for a network is no load.
  const waits = drives.some(({ network }) => network);
  return { all, small: waits ? all : Math.min(all, Math.max(LEAST, cores)) };
}

/** So many there are in any case, before the drives are known. */
export function leastLanes({ enable_parallel_copy, max_parallel_files: asked }: LaneOptions): number {
  return !enable_parallel_copy ? 1 : asked === 'auto' ? LEAST : asked;
}

/**
 * Works on groups of items in their order, several at the same time; the lanes beyond the `small` ones take only groups that
 * are one large file. A lane ends with the first group that fails; the others go on.
 * @param started how many lanes there are, before the first of them begins.
 */
export async function inLanes<T extends { readonly items: readonly { size: number }[] }>(
  groups: readonly T[],
  { all, small }: Lanes,
  started: (lanes: number) => void,
  work: (group: T) => Promise<void>,
  isOver: () => boolean,
): Promise<PromiseSettledResult<void>[]> {
  const large = groups.flatMap(({ items }, index) => (isLargeGroup(items) ? [index] : []));
  const taken = new Set<number>();
  let next = 0;
  let nextLarge = 0;
  const anything = (): number => {
    while (taken.has(next)) next += 1;
    return next++;
  };
  const largeOnly = (): number => {
    while (nextLarge < large.length && (large[nextLarge] ?? 0) < next) nextLarge += 1;
    const found = large[nextLarge++] ?? groups.length;
    taken.add(found);
    return found;
  };
  const lane = async (take: () => number): Promise<void> => {
    while (!isOver()) {
      const group = groups[take()];
      if (!group) return;
      await work(group);
    }
  };
  const more = Math.min(all - small, Math.floor(large.length / WORTH));
  started(small + more);
  return Promise.allSettled(Array.from({ length: small + more }, (_, at) => lane(at < small ? anything : largeOnly)));
}

// --- internal ---

const MOST = 16;
const LEAST = 2;
/** Large files for which a further thread is worth its start. */
const WORTH = 10;

/** Where it is not known whether a disk rotates, it is taken for one of a medium kind. */
function lanesOfDrive({ rotational, transport, virtual, network }: LaneDrive): number {
  if (network || virtual) return 4;
  if (rotational === true) return 2;
  return transport === 'usb' || rotational === null ? 4 : 8;
}
