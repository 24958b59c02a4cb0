/** Stdin and stdout as data, for commands that are a part of a pipe. */
import { once } from 'node:events';

export function standardInput(): AsyncIterable<Buffer> {
  return process.stdin as AsyncIterable<Buffer>;
}

/** Waits while the reader is slower. */
export async function toStandardOutput(bytes: Uint8Array): Promise<void> {
  if (!process.stdout.write(bytes)) await once(process.stdout, 'drain');
}
