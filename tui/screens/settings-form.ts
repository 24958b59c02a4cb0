/** The forms of rows: a channel that is told of runs, a folder that takes part as a drive. Pure. */
import type { SettingChanges } from '../../features/settings.ts';
import type { SettingSpec } from '../../shared/setting-specs.ts';
import { showSetting } from '../../shared/setting-specs.ts';
import { type Field, type FormValues, fill } from '../dialogs.ts';
import type { SettingsView } from '../reads/settings.ts';
import type { Effect, Overlay, View } from '../screen.ts';
import { want } from '../wants.ts';
import { type Row, wordsOf } from './settings-rows.ts';

const LIST = 'notify.channels';

/** @param former the channel that is changed; left out, a new one is made. */
export function channelForm({ channelFields, settings }: SettingsView, former?: Row): Overlay {
  const names = former ? [] : namesOf(settings.find(({ key }) => key === LIST)?.value);
  const changes = (values: FormValues): SettingChanges => channelChanges(values, channelFields, former);
  return fill({
    title: former ? `Channel ${String(former['name'])}` : 'New channel',
    fields: inOrder(channelFields).flatMap((spec) => fieldOf(spec, former)),
    wants: (values) => [want('mistakes', JSON.stringify(changes(values)))],
    check: (values, view) => channelMistakes(values, changes(values), names, view),
    save: (values) => [saved(values, changes(values), former)],
  });
}

export function driveForm(): Overlay {
  return fill({
    title: 'Take a folder as a drive',
    fields: [
      { name: 'path', label: 'Folder', type: 'text', value: '', help: 'Absolute: a NAS mount, a fixed disk in a dock' },
      { name: 'label', label: 'Label', type: 'text', value: '', help: 'The name of the drive' },
      {
        name: 'size',
        label: 'Size',
        type: 'text',
        value: '',
        help: 'Like 2TB; empty: that of the filesystem below it',
      },
    ],
    check: ({ path, label }) => ({
      ...(String(path).startsWith('/') ? {} : { path: 'An absolute path begins with /.' }),
      ...(String(label).trim() === '' ? { label: 'It needs a name.' } : {}),
    }),
    save: ({ path, label, size }) => {
      const name = String(label).trim();
      const words = ['detect', 'add', String(path), `--label=${name}`, ...(size === '' ? [] : [`--size=${size}`])];
      const undo = { label: `drive ${name}`, words: ['settings', 'unset', `drives.virtual.${name}`] };
      return [{ kind: 'command', words, label: `drive ${name}`, undo }];
    },
  });
}

// --- internal ---

/** Which fields belong to a type; the others to every one. */
const ONLY: Readonly<Record<string, string>> = {
  command: 'command',
  shell: 'command',
  style: 'webhook',
  url: 'webhook',
  url_file: 'webhook',
  url_env: 'webhook',
  token_file: 'webhook',
  token_env: 'webhook',
};

/** What a channel is, where it leads, and only then what it is told. */
function inOrder(specs: readonly SettingSpec[]): SettingSpec[] {
  const rank = ({ key }: SettingSpec): number => (key === 'name' ? 0 : key === 'type' ? 1 : ONLY[key] ? 2 : 3);
  return [...specs].sort((a, b) => rank(a) - rank(b));
}

function namesOf(rows: unknown): string[] {
  return Array.isArray(rows) ? rows.map((row: Row) => String(row['name'])) : [];
}

function fieldOf({ key, kind, choices, help, takes }: SettingSpec, former?: Row): Field[] {
  if (key === 'name' && former) return [];
  const given = former?.[key];
  const when = ONLY[key];
  const shared = {
    name: key,
    label: key.replaceAll('_', ' '),
    help: key === 'url' ? URL_HELP : help || `Must be ${takes}`,
    ...(when === undefined ? {} : { when: ({ type }: FormValues) => type === when }),
  };
  if (kind === 'choice') {
    const value = given === undefined ? (choices[0] ?? '') : String(given);
    return [{ ...shared, type: 'choice', value, choices }];
  }
  if (key === 'url') return [{ ...shared, type: 'text', value: '', secret: true }];
  return [{ ...shared, type: 'text', value: showSetting(given) }];
}

const URL_HELP = 'May be a secret, and is not shown again; empty: as it is. A file or a variable may hold it instead';

const nameIn = (values: FormValues, former?: Row): string => String(former?.['name'] ?? values['name'] ?? '');

/** What of the row differs from what it was; fields of other types go. */
function channelChanges(values: FormValues, specs: readonly SettingSpec[], former?: Row): SettingChanges {
  const name = nameIn(values, former);
  const changes: Record<string, string | null> = {};
  for (const { key } of specs) {
    const was = former?.[key];
    const fits = ONLY[key] === undefined || ONLY[key] === values['type'];
    const text = fits ? String(values[key] ?? '').trim() : '';
    const keptSecret = key === 'url' && fits && values['url_file'] === '' && values['url_env'] === '';
    if (key === 'name' || (text === '' && (was === undefined || keptSecret))) continue;
    if (text === '') changes[`${LIST}.${name}.${key}`] = null;
    else if (key === 'url') changes[`${LIST}.${name}.${key}`] = '-';
    else if (was === undefined || showSetting(was) !== text) changes[`${LIST}.${name}.${key}`] = text;
  }
  return changes;
}

function channelMistakes(
  values: FormValues,
  changes: SettingChanges,
  names: readonly string[],
  view: View,
): Record<string, string> {
  const { name, url } = values;
  const wrong: Record<string, string> = {};
  if (name !== undefined && !/^[\w.-]{1,40}$/.test(String(name))) wrong['name'] = 'Letters, digits, dots and dashes.';
  if (names.includes(String(name))) wrong['name'] = `A channel is already called ${name}.`;
  if (url !== '' && values['type'] === 'webhook' && !/^https?:\/\/[^\s/@]+(\/\S*)?$/.test(String(url)))
    wrong['url'] = 'It begins with http:// or https://, without a password in it.';
  if (wrong['name'] !== undefined || Object.keys(changes).length === 0) return wrong;
  for (const [key, message] of Object.entries(view.read('mistakes', JSON.stringify(changes)).value ?? {})) {
    const field = key.split('.').at(-1) ?? '';
    const own = Object.hasOwn(values, field) ? field : 'type';
    wrong[own] ??= `${own === field ? 'It' : 'The channel'} ${message}.`;
  }
  return wrong;
}

function saved(values: FormValues, changes: SettingChanges, former?: Row): Effect {
  const name = nameIn(values, former);
  const secret = Object.values(changes).includes('-') ? { stdin: String(values['url']).trim() } : {};
  const label = `channel ${name}`;
  if (Object.keys(changes).length === 0) return { kind: 'toast', style: 'good', text: `${label}: nothing was changed` };
  if (former === undefined) {
    const undo = { label, words: ['settings', 'unset', `${LIST}.${name}`] };
    return { kind: 'command', words: wordsOf(changes), label, undo, ...secret };
  }
  const back = Object.fromEntries(
    Object.keys(changes).map((key) => {
      const was = former[key.split('.').at(-1) ?? ''];
      return [key, was === undefined ? null : showSetting(was)];
    }),
  );
  // An address that was replaced is known nowhere any more.
  const known = !Object.keys(changes).some((key) => key.endsWith('.url') && former['url'] !== undefined);
  const undo = known ? { undo: { label, words: wordsOf(back) } } : {};
  return { kind: 'command', words: wordsOf(changes), label, ...undo, ...secret };
}
