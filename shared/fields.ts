/** Fields that the files of groups and of projects have in common: how they are checked and brought into one form. */
import type { ZodType } from 'zod';
import { zod } from './config.ts';
import { readOptions, type SparseOptions } from './options.ts';

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
export function optionsField(): ZodType<SparseOptions> {
  const z = zod();
  const options = z.record(z.string(), z.unknown()).transform((value, context) => {
    const read = readOptions(value);
    for (const { key, message } of read.problems) context.addIssue({ code: 'custom', message, path: key.split('.') });
    return read.options;
  });
  return options.nullish().transform((value) => value ?? {});
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
