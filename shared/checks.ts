/** Findings of `tandem doctor`. */
import { messageOf, TandemError } from './errors.ts';
import { displayPath } from './paths.ts';

export interface Check {
  /** What is checked, and for a drive whose: `lsblk`, `database`, `signature:Archive/backup`. */
  name: string;
  /** `warn`: works, but not as well or not as safely as it could. `fail`: something does not work, or data is in danger. */
  status: 'ok' | 'warn' | 'fail';
  /** One sentence, safe for a terminal. */
  message: string;
  /** How to mend it; null when there is nothing to mend. */
  hint: string | null;
}

export const ok = (name: string, message: string): Check => ({ name, status: 'ok', message, hint: null });
export const warn = (name: string, message: string, hint: string): Check => ({ name, status: 'warn', message, hint });
export const fail = (name: string, message: string, hint: string): Check => ({ name, status: 'fail', message, hint });

/** A check that could not be carried out. */
export function failed(name: string, error: unknown): Check {
  const hint = error instanceof TandemError ? error.hint : undefined;
  return fail(
    name,
    sentence(displayPath(messageOf(error))),
    displayPath(hint ?? 'Mend the cause and run `tandem doctor` again.'),
  );
}

export const sentence = (text: string): string => (/[.?!]$/.test(text) ? text : `${text}.`);
