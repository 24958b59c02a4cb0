/**
 * Drives in memory, where the machine has some: for tests of thousands of small runs, about order and errors and not about
 * the medium, whose flushes would wait for each other.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';

/** `os.tmpdir()` is such a folder while `work` goes on, also for programs that it starts. */
export async function inMemory(work: () => Promise<unknown>): Promise<void> {
  const usual = tmpdir();
  const memory = existsSync('/dev/shm') ? mkdtempSync('/dev/shm/tandem-test-') : undefined;
  try {
    process.env['TMPDIR'] = memory ?? usual;
    await work();
  } finally {
    process.env['TMPDIR'] = usual;
    if (memory !== undefined) rmSync(memory, { recursive: true });
  }
}
