/** What groups and projects have in common: a name and an id, by which people and other programs call them. */
import { TandemError } from './errors.ts';
import { closest } from './format.ts';
import { displayPath } from './paths.ts';

export interface Named {
  id: string;
  name: string;
}

/** Upper and lower case, composed and decomposed letters count as equal. */
export const foldText = (text: string): string => text.trim().normalize('NFC').toLowerCase();
export const quote = (text: string): string => `'${displayPath(text)}'`;

/**
 * The ones that `query` names, by the first of these that finds any: id, name (ignoring case), an id's prefix of four
 * characters or more.
 */
export function calledSo<T extends Named>(query: string, rows: readonly T[]): T[] {
  const lower = query.trim().toLowerCase();
  const ways: ((row: T) => boolean)[] = [
    (row) => row.id.toLowerCase() === lower,
    (row) => foldText(row.name) === foldText(query),
    (row) => lower.length >= 4 && row.id.toLowerCase().startsWith(lower),
  ];
  for (const way of ways) {
    const found = rows.filter(way);
    if (found.length > 0) return found;
  }
  return [];
}

/**
 * The one that `query` names.
 * @param what it is, as a word of a sentence, and the command that has them: `group` and `groups`.
 * @throws TandemError `not_found` with a guess, `ambiguous` with every one that fits.
 */
export function pickNamed<T extends Named>(query: string, rows: readonly T[], what: string, command: string): T {
  const [first, ...others] = calledSo(query, rows);
  if (first && others.length === 0) return first;
  if (first) {
    const names = [first, ...others].map((row) => `${quote(row.name)} (${displayPath(row.id)})`).join(' and ');
    throw new TandemError('ambiguous', `'${displayPath(query)}' could be ${names}.`, {
      hint: 'Give the whole id, or more of it.',
    });
  }
  const guess = closest(
    query,
    rows.map(({ name }) => name),
  );
  throw new TandemError('not_found', `No ${what} is called '${displayPath(query)}'.`, {
    hint: guess
      ? `Did you mean ${quote(guess)}? See \`tandem ${command} list\`.`
      : rows.length > 0
        ? `See \`tandem ${command} list\`.`
        : `There is none yet; make one with \`tandem ${command} create\`.`,
  });
}

/** @throws TandemError `invalid` for an empty or taken name, or one that a terminal cannot show. */
export function checkName(name: string, others: readonly Named[], what: string, self?: string): void {
  const hint = 'Give a descriptive name, for example Client-XYZ-2026.';
  if (name === '') throw new TandemError('invalid', `The name of a ${what} cannot be empty.`, { hint });
  if (displayPath(name) !== name)
    throw new TandemError('invalid', `The name ${quote(name)} holds characters that cannot be shown.`, { hint });
  const same = others.find(({ id, name: taken }) => id !== self && foldText(taken) === foldText(name));
  if (same)
    throw new TandemError('invalid', `A ${what} is already called ${quote(same.name)}.`, {
      hint: 'Names that differ only by case count as equal; choose another.',
    });
}

/** A name as a shell takes it, for commands that a user may copy. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${displayPath(text).replaceAll("'", "'\\''")}'`;
}
