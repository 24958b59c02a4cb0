/** Fields that the files of groups and of projects have in common: how they are checked and brought into one form. */
import type { RefinementCtx, ZodType } from 'zod';
import { zod } from './config.ts';
import { type Owner, readOptions, type SparseOptions } from './options.ts';

/** A time as ISO 8601 in UTC; one without a zone is UTC. */
export function timeField(): ZodType<string> {
  const z = zod();
  const badTime = 'must be a time, for example "2026-01-12T10:00:00Z"';
  return z.string(badTime).transform((value, context) => {
    const date = parseTime(value);
    if (date) return isoTime(date);
    context.addIssue({ code: 'custom', message: badTime });
    return z.NEVER;
  });
}

/** Options, of which only those that are stated are kept. */
export function optionsField(owner: Owner): ZodType<SparseOptions> {
  const z = zod();
  const options = z.record(z.string(), z.unknown()).transform((value, context) => {
    const read = readOptions(value, owner);
    for (const { key, message } of read.problems) context.addIssue({ code: 'custom', message, path: key.split('.') });
    return read.options;
  });
  return options.nullish().transform((value) => value ?? {});
}

/** Unknown fields are kept, but not a password that somebody wrote there. */
export function refusePasswords(value: object, context: RefinementCtx): void {
  for (const key of Object.keys(value).filter((name) => /pass(word|phrase|wd)/i.test(name)))
    context.addIssue({
      code: 'custom',
      message:
        'is a secret, which does not belong in this file (put it into a file that only you can read, and name that in options.encryption_password_file)',
      path: [key],
    });
}

/** ISO 8601 in UTC, whole seconds. */
export function isoTime(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, 'Z');
}

// --- internal ---

function parseTime(text: string): Date | undefined {
  const zoned = /(z|[+-]\d\d:?\d\d)$/i.test(text) || !/\d[t ]\d/i.test(text) ? text : `${text}Z`;
  const date = new Date(zoned.replace(' ', 'T'));
  return Number.isNaN(date.getTime()) ? undefined : date;
}
