/** Names of questions, without what answers them: the dashboard's own process loads this and not reads.ts. */
import type { ReadName, Want } from './reads.ts';

export function want(name: ReadName, ...args: string[]): Want {
  return { name, args };
}

export function keyOf({ name, args }: Want): string {
  return JSON.stringify([name, ...args]);
}
