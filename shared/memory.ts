/** Keeps the memory of a process low: its peak in a large run, and what it holds after thousands of small ones. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { functionsOf } from './syscalls.ts';

/**
 * Collects garbage now. Making a plan of a hundred thousand paths leaves more behind than the plan itself takes, and V8
 * would let the heap grow by a multiple of that before it looks again. Takes some 50 ms; nothing but memory changes.
 */
export function collectGarbage(): void {
  collector ??= exposed();
  collector?.();
}

/**
 * Work begins. When none has been under way for some seconds what it left behind is collected, in the thread that calls
 * this: V8 itself lets garbage lie for as long as there is room, and a process that waits for days would hold it. Some
 * seconds later once more: the room for new objects, up to 48 MB, is given back only by a collection before which little was
 * allocated for five seconds.
 * @returns what ends this work.
 */
export function atWork(): () => void {
  let ended = false;
  works += 1;
  clearTimeout(resting);
  return () => {
    if (ended) return;
    ended = true;
    works -= 1;
    if (works === 0) collectAtRest(2);
  };
}

/**
 * For a process that is to run for weeks, at its start. The allocator of glibc learns from the first large buffer that is
 * freed to take all others out of the heaps of its threads, where they leave gaps: what a watcher held after 50,000 changes
 * was 16 MB more, and still grew. From now on it takes them from the system and gives them back, and makes no further
 * heaps. Changes by themselves cost nothing by that, a run over 20,000 files some 3 percent. Other C libraries know nothing
 * of it.
 */
export function keepMemoryTogether(): void {
  const library = functionsOf(null, { mallopt: 'int mallopt(int, int)' });
  library?.mallopt(M_MMAP_THRESHOLD, LARGE);
  library?.mallopt(M_TRIM_THRESHOLD, LARGE);
  library?.mallopt(M_ARENA_MAX, 1);
}

// --- internal ---

const REST_MS = 6000;
let works = 0;
let resting: NodeJS.Timeout | undefined;
let collector: (() => void) | undefined;

function collectAtRest(times: number): void {
  const collect = (): void => {
    collectGarbage();
    if (times > 1) collectAtRest(times - 1);
  };
  resting = setTimeout(collect, REST_MS).unref();
}

/**
 * The flag does not stay: V8 keeps no compiled code of a process with other flags than the next one's. It is the same for all
 * threads, so that one may take it back before another has got what it was for; that one tries again, now or the next time.
 */
function exposed(): (() => void) | undefined {
  for (let attempt = 0; attempt < 5; attempt += 1) {
    setFlagsFromString('--expose-gc');
    const found = runInNewContext('globalThis.gc') as unknown;
    setFlagsFromString('--no-expose-gc');
    if (typeof found === 'function') return found as () => void;
  }
  return undefined;
}

/** Of malloc.h. */
const M_TRIM_THRESHOLD = -1;
const M_MMAP_THRESHOLD = -3;
const M_ARENA_MAX = -8;
/** Bytes; what glibc begins with. */
const LARGE = 128 * 1024;
