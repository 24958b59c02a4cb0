/**
 * The compiled functions of shared/bulk-native.c. `npm run build` compiles them where there is a C compiler; each has a
 * counterpart in TypeScript, which does the same more slowly where they are not there.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { functionsOf, hasNative } from './syscalls.ts';

export type Compiled = NonNullable<ReturnType<typeof load>>;

let library: Compiled | null | undefined;

/** Null where there are none. Loaded on first use. */
export function compiled(): Compiled | null {
  library ??= load();
  return library;
}

/** Loads them, and the system calls, ahead of their use. */
export function loadNative(): void {
  hasNative();
  compiled();
}

// --- internal ---

function load() {
  if (process.platform !== 'linux') return null;
  const source = fileURLToPath(new URL('../shared/bulk-native.c', import.meta.url));
  if (!existsSync(source)) return null;
  // The build names it after its source: what was compiled from another one is not used.
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16);
  const file = fileURLToPath(new URL(`../dist/bulk-native-${hash}.so`, import.meta.url));
  if (!existsSync(file)) return null;
  return functionsOf(file, {
    stage: 'void tandem_stage(int, const void*, const void*, int, const void*, void*, const void*, const void*)',
    place: 'int tandem_place(int, const void*, const void*, int, const void*, void*, const char*, void*)',
    seal: 'int tandem_seal(const void*, const void*, uint32_t, int, const void*, int, void*)',
    open: 'int tandem_open(const void*, const void*, uint32_t, int, const void*, int, void*)',
  });
}
