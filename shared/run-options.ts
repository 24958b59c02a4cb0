/** Options that every command shares which writes to drives, and how their values are read. */
import { TandemError } from './errors.ts';
import type { OptionSpec, Values } from './feature.ts';
import { parseDuration } from './format.ts';

export const lockOptions: readonly OptionSpec[] = [
  {
    flags: '--force [guard]',
    description: 'run in spite of all guards, or of the one named (empty-master, free-space)',
    repeat: true,
  },
  {
    flags: '--lock-wait <time>',
    description: 'wait for another writer, e.g. 60s',
    parse: (text) => measured(text, '--lock-wait', parseDuration, '60s'),
  },
  { flags: '--break-lock', description: 'take the lock whoever holds it' },
];

export function lockFlags(values: Values): { lockWait: number; breakLock: boolean } {
  return { lockWait: (values['lockWait'] as number | undefined) ?? 0, breakLock: values['breakLock'] === true };
}

/** @throws TandemError `usage` for a text that `parse` cannot read. */
export function measured(
  text: string,
  flag: string,
  parse: (text: string) => number | undefined,
  example: string,
): number {
  const value = parse(text);
  if (value !== undefined) return value;
  throw new TandemError('usage', `${flag} cannot be read: current value is '${text}'.`, {
    hint: `For example ${flag} ${example}.`,
  });
}
