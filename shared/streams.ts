/** Stdin and stdout as data, for commands that are a part of a pipe, and files that a user names. */
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { errnoOf, explain, TandemError } from './errors.ts';
import { displayPath } from './paths.ts';

export function standardInput(): AsyncIterable<Buffer> {
  return process.stdin as AsyncIterable<Buffer>;
}

/** Waits while the reader is slower. */
export async function toStandardOutput(bytes: Uint8Array): Promise<void> {
  if (!process.stdout.write(bytes)) await once(process.stdout, 'drain');
}

/** A descriptor for reading. @throws TandemError `not_found`, `failed` */
export function openInput(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT')
      throw new TandemError('failed', `'${displayPath(path)}' cannot be read: ${explain(error)}.`, {
        hint: 'Check its permissions.',
        cause: error,
      });
    throw new TandemError('not_found', `There is no file '${displayPath(path)}'.`, {
      hint: 'Name a file, or - for stdin.',
    });
  }
}
