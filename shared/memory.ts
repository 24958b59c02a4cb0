/** Keeps the memory of a process low: its peak in a large run, and what it holds after thousands of small ones. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { functionsOf } from './syscalls.ts';

/**
 * Collects garbage now. Making a plan of a hundred thousand paths leaves more behind than the plan itself takes, and V8
 * would let the heap grow by a multiple of that before it looks again. Takes some 50 ms; nothing but memory changes.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as unknown;
  if (typeof collect === 'function') collect();
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

/** Of malloc.h. */
const M_TRIM_THRESHOLD = -1;
const M_MMAP_THRESHOLD = -3;
const M_ARENA_MAX = -8;
/** Bytes; what glibc begins with. */
const LARGE = 128 * 1024;
