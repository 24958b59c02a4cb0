/** The form of all options, of a group or of a project. */
import { type Field, type Form, type FormValues, fill } from '../dialogs.ts';
import type { OptionRow, OptionTable } from '../reads/places.ts';
import type { Overlay } from '../screen.ts';
import { want } from '../wants.ts';
import { command } from './places-words.ts';

export interface Stated {
  owner: 'group' | 'project';
  id: string;
  name: string;
  /** What it states itself; a key that is missing has what `below` says. */
  set: Readonly<Record<string, string>>;
  below: Readonly<Record<string, string>>;
}

/** Every option of the table, in sections; `''` stands for what is not stated. */
export function optionsForm({ owner, id, name, set, below }: Stated, { options, presets }: OptionTable): Overlay {
  const shown = options.filter(({ pair }) => owner === 'group' || !pair);
  const sections = new Set<string>();
  const fields = shown.map((option): Field => {
    const section = sections.has(option.section) ? {} : { section: option.section };
    sections.add(option.section);
    return {
      ...optionField(option, set[option.key] ?? '', below[option.key] ?? `default: ${option.fallback}`),
      ...section,
    };
  });
  const words = (values: FormValues): string[] =>
    shown.flatMap(({ key }) => (values[key] === (set[key] ?? '') ? [] : [`${key}=${values[key]}`]));
  const preset = (values: FormValues): string => String(values['preset'] ?? '');
  const asked = (values: FormValues): string[] => [owner, id, preset(values), ...words(values)];
  const form: Form = {
    title: `Options of ${name}`,
    fields: [presetField(presets), ...fields],
    wants: (values) => [want('option-problems', ...asked(values))],
    check: (values, view) => view.read('option-problems', ...asked(values)).value ?? {},
    notes: (values) => {
      const count = words(values).length;
      const chosen = presets.find((one) => one.name === preset(values));
      const changes = count === 0 ? 'Nothing is changed yet.' : `To be changed: ${words(values).join('  ')}`;
      return [chosen ? `Preset ${chosen.name}: ${chosen.sets}` : '', changes].filter(Boolean);
    },
    save: (values) => {
      const changes = words(values);
      const chosen = preset(values);
      if (changes.length === 0 && chosen === '') return [];
      const verb = [owner === 'group' ? 'groups' : 'projects', 'set', id];
      const sets = presets.find((one) => one.name === chosen)?.sets.split(' ') ?? [];
      const keys = [...new Set([...sets, ...changes].map((word) => word.slice(0, word.indexOf('='))))];
      const fitting = keys.filter((key) => shown.some((option) => option.key === key));
      return [
        command([...verb, ...(chosen === '' ? [] : ['--preset', chosen]), ...changes], `options of ${name}`, {
          undo: { label: `options of ${name}`, words: [...verb, ...fitting.map((key) => `${key}=${set[key] ?? ''}`)] },
        }),
      ];
    },
  };
  return fill(form);
}

// --- internal ---

function presetField(presets: OptionTable['presets']): Field {
  return {
    type: 'choice',
    name: 'preset',
    label: 'Preset',
    value: '',
    choices: ['', ...presets.map(({ name }) => name)],
    names: { '': 'none' },
    help: 'Values for a kind of drive or work; what is changed below goes before them',
  };
}

function optionField({ key, note, takes, choices }: OptionRow, value: string, below: string): Field {
  const common = { name: key, label: key, help: `${note}. Must be ${takes}.` };
  if (choices === null) return { ...common, type: 'text', value, blank: below };
  return { ...common, type: 'choice', value, choices: ['', ...choices], names: { '': below, ...named(choices) } };
}

/** What is stated is told from what is not without colours, too. */
function named(choices: readonly string[]): Record<string, string> {
  return Object.fromEntries(choices.map((choice) => [choice, `${choice}  · set`]));
}
