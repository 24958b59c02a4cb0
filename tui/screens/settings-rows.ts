/** What the screen of settings shows, line by line, and what of it was changed and is not saved yet. Pure. */
import type { Setting, SettingChanges } from '../../features/settings.ts';
import { HIDDEN, readSetting, showSetting } from '../../shared/setting-specs.ts';
import type { Line } from '../editor.ts';
import type { SettingsView } from '../reads/settings.ts';
import type { Effect, UndoStep } from '../screen.ts';

export type Row = Readonly<Record<string, unknown>>;

export type Entry =
  | { kind: 'head'; title: string }
  | { kind: 'setting'; setting: Setting }
  /** Of a list. */
  | { kind: 'row'; list: Setting; name: string; row: Row }
  | { kind: 'add'; list: Setting; text: string };

export interface SettingsState {
  /** Selected line. */
  at: number;
  top: number;
  /** By key; null: back to the default. */
  drafts: SettingChanges;
  /** What is being typed. */
  typing: { key: string; line: Line } | null;
  /** Of the lines, as of the last drawing. */
  area: { x: number; y: number; width: number; height: number };
}

export const emptySettings: SettingsState = {
  at: 1,
  top: 0,
  drafts: {},
  typing: null,
  area: { x: 0, y: 0, width: 0, height: 0 },
};

const TITLES: Readonly<Record<string, string>> = {
  paths: 'Paths',
  drives: 'Drives',
  history: 'History',
  log: 'Log',
  notify: 'Notifications',
  dashboard: 'Dashboard',
};

const ADD: Readonly<Record<string, string>> = {
  'drives.virtual': 'n  take a folder as a drive',
  'notify.channels': 'n  a new channel',
};

/** The lines; the same ones for the same answer. */
export function entriesOf(view: SettingsView | undefined): readonly Entry[] {
  if (!view) return [];
  const known = ENTRIES.get(view);
  if (known) return known;
  const entries: Entry[] = [];
  for (const setting of view.settings) {
    const section = setting.key.split('.')[0] ?? '';
    const head = TITLES[section] ?? section;
    if (!entries.some((entry) => entry.kind === 'head' && entry.title === head))
      entries.push({ kind: 'head', title: head });
    entries.push({ kind: 'setting', setting });
    if (setting.kind === 'rows') entries.push(...rowEntries(setting));
  }
  ENTRIES.set(view, entries);
  return entries;
}

/** The nearest line that can be selected, in the direction of `step`. */
export function moved(entries: readonly Entry[], at: number, step: number): number {
  const last = entries.length - 1;
  let next = Math.max(0, Math.min(last, at + step));
  // Above the first title there is nothing.
  const direction = step < 0 && next > 0 ? -1 : 1;
  while (entries[next]?.kind === 'head' && next < last) next += direction;
  return next;
}

/** As it would be after saving. */
export function valueText({ key, kind, value, default: usual }: Setting, drafts: SettingChanges): string {
  const draft = drafts[key];
  if (kind === 'rows') return (value as readonly unknown[]).length === 0 ? '(none)' : '';
  return draft === undefined ? showSetting(value) : draft === null ? showSetting(usual) : draft;
}

/** Without what says the same as the file does by now. */
export function unsavedOf(drafts: SettingChanges, settings: readonly Setting[]): SettingChanges {
  const left = Object.entries(drafts).filter(([key, draft]) => {
    const setting = settings.find((one) => one.key === key);
    if (!setting) return true;
    if (draft === null) return setting.source !== 'default';
    return JSON.stringify(readSetting(setting, draft)) !== JSON.stringify(setting.value);
  });
  return left.length === Object.keys(drafts).length ? drafts : Object.fromEntries(left);
}

/** What is asked to be checked: what is unsaved, with what is being typed. */
export function checkedOf({ drafts, typing }: SettingsState): SettingChanges {
  return typing ? { ...drafts, [typing.key]: typing.line.text } : drafts;
}

/** The words that save, and those that take it back. */
export function savingOf(drafts: SettingChanges, settings: readonly Setting[]): Effect {
  const former = Object.fromEntries(
    Object.keys(drafts).map((key) => {
      const setting = settings.find((one) => one.key === key);
      return [key, setting?.source === 'app.yaml' ? showSetting(setting.value) : null];
    }),
  );
  const count = Object.keys(drafts).length;
  const label = count === 1 ? `setting ${Object.keys(drafts)[0]}` : `${count} settings`;
  return { kind: 'command', words: wordsOf(drafts), label, undo: { label, words: wordsOf(former) } };
}

/** @param changes neither keys nor values may be secrets */
export function wordsOf(changes: SettingChanges): string[] {
  const given = Object.entries(changes);
  return [
    ...['settings', 'set'],
    ...given.flatMap(([key, text]) => (text === null ? [] : [`${key}=${text}`])),
    ...given.flatMap(([key, text]) => (text === null ? [`--unset=${key}`] : [])),
  ];
}

/** The words that make a row of a list again; undefined: something of it is not known here. */
export function rowUndo(list: string, name: string, row: Row): UndoStep | undefined {
  const fields = Object.entries(row).filter(([field]) => field !== 'name' && field !== 'label');
  if (fields.some(([, value]) => value === HIDDEN)) return undefined;
  const words = wordsOf(
    Object.fromEntries(fields.map(([field, value]) => [`${list}.${name}.${field}`, showSetting(value)])),
  );
  return { label: `removing ${name}`, words };
}

/** One line on a row of a list. */
export function rowText({ key }: Setting, row: Row): string {
  const text = (value: unknown): string => showSetting(value);
  if (key === 'drives.virtual') return text(row['path']);
  const style = row['style'] === undefined ? '' : `, ${text(row['style'])}`;
  const events = row['events'] === undefined ? '' : `   ${text(row['events'])}`;
  const groups = row['groups'] === undefined ? '' : `   of ${text(row['groups'])}`;
  return `${text(row['type'])}${style}${events}${groups}`;
}

// --- internal ---

const ENTRIES = new WeakMap<SettingsView, readonly Entry[]>();

function rowEntries(list: Setting): Entry[] {
  const rows = list.value as Row[];
  const named = rows.map((row): Entry => {
    const name = String(row[list.key === 'drives.virtual' ? 'label' : 'name']);
    return { kind: 'row', list, name, row };
  });
  return [...named, { kind: 'add', list, text: ADD[list.key] ?? 'n  a new row' }];
}
