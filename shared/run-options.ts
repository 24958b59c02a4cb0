/** Options that commands share, and how their values are read. */
import { TandemError } from './errors.ts';
import type { OptionSpec, Values } from './feature.ts';
import { parseDuration } from './format.ts';
import { displayPath } from './paths.ts';

export const lockOptions: readonly OptionSpec[] = [
  {
    flags: '--force [guard]',
    description: 'run in spite of all guards, or of the one named (empty-master, mass-change, free-space, careful)',
    repeat: true,
  },
  {
    flags: '--lock-wait <time>',
    description: 'wait for another writer, e.g. 60s',
    parse: (text) => measured(text, '--lock-wait', parseDuration, '60s'),
  },
  { flags: '--break-lock', description: 'take the lock whoever holds it' },
];

export const roleOption: OptionSpec = { flags: '--role <role>', description: 'only this part of a project' };

/** Which part of a target is meant. */
export const targetOptions: readonly OptionSpec[] = [
  {
    flags: '--path <subpath>',
    description: "only this folder, from the project's folder or the drive's root",
    complete: 'path',
  },
  roleOption,
];

export function choiceOf(values: Values): { path?: string | undefined; role?: string | undefined } {
  return { path: values['path'] as string | undefined, role: values['role'] as string | undefined };
}

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

/** @throws TandemError `usage` for a text that is no whole number between both. */
export function wholeNumber(text: string, flag: string, min: number, max = 999_999_999): number {
  const value = Number(text);
  if (/^\d{1,9}$/.test(text) && value >= min && value <= max) return value;
  const range = max === 999_999_999 ? `from ${min}` : `from ${min} to ${max}`;
  throw new TandemError('usage', `${flag} takes a whole number ${range}, not '${displayPath(text)}'.`, {
    hint: `For example ${flag} ${min + 1}.`,
  });
}
