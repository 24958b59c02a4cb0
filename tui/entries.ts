/** Every verb of the command line as a row of the palette, from the features' own command data. */
import type { Command } from '../shared/feature.ts';
import { FEATURES } from './features.ts';

export interface Entry {
  /** `sync run` */
  words: string;
  /** What it takes: `<target…> [--dry-run]`. */
  takes: string;
  summary: string;
}

export async function paletteEntries(): Promise<Entry[]> {
  const commands = await Promise.all(Object.values(FEATURES).map(async ({ load }) => (await load()).command));
  return commands.flatMap(entriesOf);
}

// --- internal ---

/** They go on until they are stopped, or they ask questions: not for a line without a terminal. */
const NOT_HERE = new Set(['demo', 'detect watch', 'watch run', 'schedule run', 'daemon run']);

function entriesOf({ name, verbs, single }: Command): Entry[] {
  return Object.entries(verbs).flatMap(([verb, { summary, args = [] }]) => {
    const words = single ? name : `${name} ${verb}`;
    const takes = args.map((arg) => (arg.optional ? `[${arg.name}]` : `<${arg.name}>`)).join(' ');
    return NOT_HERE.has(words) ? [] : [{ words, takes, summary }];
  });
}
