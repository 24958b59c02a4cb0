/** What the forms of groups and projects have in common: words of commands, and drives to choose from. */
import { type Field, type FormValues, tell } from '../dialogs.ts';
import type { Command, Effect } from '../screen.ts';
import type { Drive } from './places-rows.ts';

/** Commands tell their warnings on stderr; they are shown, else it is a toast. */
export function command(words: readonly string[], label: string, more: Partial<Command> = {}): Command {
  return {
    kind: 'command',
    words,
    label,
    after: ({ lines, text, style }) => {
      const warnings = lines.filter((line) => line.startsWith('warning:'));
      const toast: Effect = { kind: 'toast', style: style === 'bad' ? 'bad' : style, text };
      return warnings.length === 0
        ? [toast]
        : [toast, ...warnings.map((line): Effect => ({ kind: 'toast', style: 'warn', text: line }))];
    },
    ...more,
  };
}

/** `--name=VALUE` for what differs; one word, so that no value is taken for an option. */
export function changedWords(values: FormValues, before: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(values).flatMap(([key, value]) => (value === before[key] ? [] : [`--${key}=${value}`]));
}

/** A command that is started for what it prints: that is shown however long it took. */
export function look(words: readonly string[], label: string): Command {
  return {
    kind: 'command',
    words,
    label,
    after: ({ lines, text }) =>
      lines.length === 0
        ? [{ kind: 'toast', style: 'good', text }]
        : [{ kind: 'overlay', overlay: tell(label, lines) }],
  };
}

/** Free drives as choices of a field. @param none what to say when there is none */
export function freeDrives(
  drives: readonly Drive[],
  none: string,
): Pick<Extract<Field, { type: 'choice' }>, 'value' | 'choices' | 'names'> {
  return drivesToChoose(
    drives.filter(({ group_id }) => group_id === null),
    none,
  );
}

export function drivesToChoose(
  drives: readonly Drive[],
  none: string,
): Required<Pick<Extract<Field, { type: 'choice' }>, 'value' | 'choices' | 'names'>> {
  const paths = drives.map(({ mount_path }) => mount_path);
  const names = Object.fromEntries(drives.map((one) => [one.mount_path, `${one.label} at ${one.mount_path}`]));
  return { value: paths[0] ?? '', choices: paths.length === 0 ? [''] : paths, names: { '': none, ...names } };
}

/** Why a name cannot be the first word of a command, or be one at all. */
export function nameTrouble(name: string, what: string): Record<string, string> {
  if (name.trim() === '') return { name: `The name of a ${what} cannot be empty.` };
  return name.startsWith('-') ? { name: 'A name that begins with - would be taken for an option.' } : {};
}
