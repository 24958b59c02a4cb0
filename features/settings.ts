/**
 * The settings of this computer, as `app.yaml` has them: what counts, what would count without it, and where it comes from;
 * changed by `KEY=VALUE`, all of a command or nothing, with comments and order kept. Rows of lists have names of their
 * own: `notify.channels.phone.events=failed,overdue`. An address may be a secret: it is never shown, and comes on stdin.
 */
import { join } from 'node:path';
import { withFileLock } from '../shared/config.ts';
import type { Context } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import { type Column, defineCommand, definePanel, type Output, renderTable, runIfMain } from '../shared/feature.ts';
import { closest } from '../shared/format.ts';
import { quote } from '../shared/named.ts';
import { displayPath } from '../shared/paths.ts';
import { secretOnStdin } from '../shared/secrets.ts';
import {
  HIDDEN,
  ROW_NAMES,
  readSetting,
  type SettingPlace,
  type SettingSpec,
  settingPlace,
  settingSpecs,
  showSetting,
} from '../shared/setting-specs.ts';
import {
  defaultSettings,
  openSettingsFile,
  type SettingsFile,
  type SettingsProblem,
  saveSettings,
  settingsProblems,
} from '../shared/settings.ts';

/** `settings list --json`. */
export interface Setting extends SettingSpec {
  /** What counts now; addresses of channels are not among it. */
  value: unknown;
  default: unknown;
  /** Whether `app.yaml` says it. */
  source: 'app.yaml' | 'default';
}

/** Text as `KEY=VALUE` has it; null: as if it had never been said, of a row: taken away. */
export type SettingChanges = Readonly<Record<string, string | null>>;

/** @throws TandemError `config` with file, line and column for an `app.yaml` that cannot be read. */
export function listSettings(ctx: Context): Setting[] {
  const own = openSettingsFile(ctx.configDir).value as Tree;
  const defaults = defaultSettings() as Tree;
  return settingSpecs().map((spec) => {
    const [said, usual] = [own, defaults].map((tree) => at(tree, spec.key));
    const value = withoutSecrets(said ?? usual);
    return { ...spec, value, default: usual, source: said === undefined ? 'default' : 'app.yaml' };
  });
}

/** What is wrong with changes, by their keys; nothing: they may be made. Writes nothing. */
export function checkSettings(changes: SettingChanges, ctx: Context): Record<string, string> {
  const { problems } = changed(openSettingsFile(ctx.configDir).value, changes);
  return Object.fromEntries(problems.map(({ key, message }) => [key, message]));
}

/**
 * All of the changes, or none.
 * @param secret what `-` stands for, of an address
 * @returns the settings that the changes belong to
 * @throws TandemError `usage` for a key that is unknown, `invalid` for a value; `config` as `listSettings`
 */
export async function changeSettings(changes: SettingChanges, ctx: Context, secret?: string): Promise<Setting[]> {
  return withFileLock(join(ctx.configDir, 'app.yaml'), () => {
    const file = openSettingsFile(ctx.configDir);
    const { after, problems } = changed(file.value, changes, secret);
    const [first] = problems;
    if (first)
      throw new TandemError(first.unknown ? 'usage' : 'invalid', `${quote(first.key)} ${first.message}.`, {
        hint: first.hint ?? 'Nothing was changed. See `tandem settings list`.',
      });
    saveSettings(file, after);
    const touched = new Set(Object.keys(changes).map((key) => sectionKey(key)));
    return listSettings(ctx).filter(({ key }) => touched.has(key));
  });
}

// --- internal ---

type Row = Record<string, unknown>;
type Tree = Record<string, Row | undefined>;

interface Problem {
  key: string;
  message: string;
  hint?: string;
  unknown?: true;
}

/** `log.level` of `log.level`, `notify.channels` of `notify.channels.phone.events`. */
const sectionKey = (key: string): string => key.split('.').slice(0, 2).join('.');

function at(tree: Tree, key: string): unknown {
  const [section = '', name = ''] = key.split('.');
  return tree[section]?.[name];
}

const isSecret = (field: string): boolean => field === 'url';

function withoutSecrets(value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  const hidden = (field: string, one: unknown): unknown => (isSecret(field) ? HIDDEN : one);
  return value.map((row: unknown) =>
    typeof row === 'object' && row !== null
      ? Object.fromEntries(Object.entries(row).map(([field, one]) => [field, hidden(field, one)]))
      : row,
  );
}

/** Rows as they are in a tree, or those of the package until the first is added. */
function rowsIn(tree: Tree, list: string): Row[] {
  const rows = at(tree, list) ?? at(defaultSettings() as Tree, list);
  return Array.isArray(rows) ? (rows as Row[]) : [];
}

const nameOf = (row: Row, list: string): string => String(row[ROW_NAMES[list] ?? 'name']);

function changed(
  before: SettingsFile,
  changes: SettingChanges,
  secret?: string,
): { after: SettingsFile; problems: Problem[] } {
  const tree = structuredClone(before) as Tree;
  const problems: Problem[] = [];
  const places = new Map<string, SettingPlace>();
  for (const [key, text] of Object.entries(changes)) {
    const place = settingPlace(key, (list) => rowsIn(tree, list).map((row) => nameOf(row, list)));
    const problem = place ? (severalRows(tree, place) ?? change(tree, place, text, secret)) : unknownKey(key);
    if (problem) problems.push({ key, ...problem });
    if (place) places.set(key, place);
  }
  for (const found of problems.length > 0 ? [] : settingsProblems(tree))
    problems.push(placed(found, tree, places, changes));
  return { after: tree as SettingsFile, problems };
}

type Refusal = Omit<Problem, 'key'>;

function change(tree: Tree, place: SettingPlace, text: string | null, secret?: string): Refusal | undefined {
  if (text === null) return take(tree, place);
  if (place.kind === 'row' || (place.kind === 'setting' && place.spec.kind === 'rows')) {
    const list = place.kind === 'row' ? place.list.key : place.spec.key;
    const hint = `For example ${list}.NAME.FIELD=VALUE; --unset ${list}.NAME takes a row away.`;
    return { message: 'is a list with rows, which are set field by field', hint };
  }
  const given = place.kind === 'field' && isSecret(place.spec.key) ? secretFor(text, secret) : { text };
  if ('message' in given) return given;
  const value = readSetting(place.spec, given.text);
  if (value === undefined) return { message: `must be ${place.spec.takes}; ${quote(text)} is not` };
  if (place.kind === 'setting') put(tree, place.spec.key, value);
  else putField(tree, place.list.key, place.row, place.spec.key, value);
  return undefined;
}

/** Arguments are seen by every user of the machine. */
function secretFor(text: string, secret: string | undefined): { text: string } | Refusal {
  if (text === '-' && secret !== undefined) return { text: secret };
  if (text === '-') return { text: 'https://example.org/' };
  const hint = 'Give - and write it to stdin, or keep it in a file that url_file names.';
  return { message: 'may be a secret, and is never an argument', hint };
}

function put(tree: Tree, key: string, value: unknown): void {
  const [section = '', name = ''] = key.split('.');
  tree[section] = { ...tree[section], [name]: value };
}

function putField(tree: Tree, list: string, name: string, field: string, value: unknown): void {
  const rows = rowsIn(tree, list);
  const known = rows.find((row) => nameOf(row, list) === name);
  const row = { ...(known ?? { [ROW_NAMES[list] ?? 'name']: name }), [field]: value };
  put(tree, list, known ? rows.map((one) => (one === known ? row : one)) : [...rows, row]);
}

/** Why it is not clear which row is meant; undefined: it is. */
function severalRows(tree: Tree, place: SettingPlace): Refusal | undefined {
  if (place.kind === 'setting') return undefined;
  const list = place.list.key;
  const count = rowsIn(tree, list).filter((row) => nameOf(row, list) === place.row).length;
  const hint = 'Give them different names in app.yaml.';
  return count > 1 ? { message: `is not clear: ${count} rows are called ${quote(place.row)}`, hint } : undefined;
}

function take(tree: Tree, place: SettingPlace): Refusal | undefined {
  if (place.kind === 'setting') {
    const [section = '', name = ''] = place.spec.key.split('.');
    const { [name]: _taken, ...rest } = tree[section] ?? {};
    if (Object.keys(rest).length > 0) tree[section] = rest;
    else delete tree[section];
    return undefined;
  }
  const list = place.list.key;
  const rows = rowsIn(tree, list);
  const known = rows.find((row) => nameOf(row, list) === place.row);
  if (!known) return { message: `is not there: ${quote(list)} has no row ${quote(place.row)}` };
  if (place.kind === 'row')
    put(
      tree,
      list,
      rows.filter((row) => row !== known),
    );
  else {
    const { [place.spec.key]: _taken, ...rest } = known;
    put(
      tree,
      list,
      rows.map((row) => (row === known ? rest : row)),
    );
  }
  return undefined;
}

function unknownKey(key: string): Refusal {
  const keys = settingSpecs().map((spec) => spec.key);
  const guess = closest(key, keys) ?? keys.find((one) => one.endsWith(`.${key}`));
  const hint = guess === undefined ? `Settings are ${keys.join(', ')}.` : `Did you mean ${quote(guess)}?`;
  return { unknown: true, message: 'is not a setting', hint };
}

/** Which of the changes a complaint about the whole belongs to. */
function placed(
  { path, message }: SettingsProblem,
  tree: Tree,
  places: ReadonlyMap<string, SettingPlace>,
  changes: SettingChanges,
): Problem {
  const list = path.slice(0, 2).join('.');
  const row = typeof path[2] === 'number' ? rowsIn(tree, list)[path[2]] : undefined;
  const named = row && path.length > 2 ? `${list}.${nameOf(row, list)}` : list;
  const whole = [named, ...path.slice(3).filter((part) => typeof part === 'string')].join('.');
  const keys = [...places.keys()];
  const key = keys.find((one) => one === whole) ?? keys.find((one) => one.startsWith(`${named}.`)) ?? whole;
  const place = places.get(key);
  const own = place && place.kind !== 'row' && key === whole ? place.spec : undefined;
  const given = own && !isSecret(own.key) && typeof changes[key] === 'string' ? `; ${quote(changes[key])} is not` : '';
  // Sentences of our own begin so; those of the checker are for programmers.
  if (/^(must|needs|has|names) /.test(message)) return { key, message: message + (/^must/.test(message) ? given : '') };
  if (own) return { key, message: `must be ${own.takes}${given}` };
  return {
    key,
    message: message.replace(/^Unrecognized keys?: /, 'does not go with ').replace(/^Invalid/, 'is invalid'),
  };
}

/** Of a list with rows their names. */
function valueText({ key, kind, value }: Pick<Setting, 'key' | 'kind' | 'value'>): string {
  if (kind !== 'rows') return displayPath(showSetting(value)) || '(none)';
  return (value as Row[]).map((row) => displayPath(nameOf(row, key))).join(', ') || '(none)';
}

const columns: readonly Column<Setting>[] = [
  { title: 'SETTING', value: ({ key }) => key },
  { title: 'VALUE', value: valueText },
  {
    title: 'FROM',
    value: ({ source }) => source,
    style: ({ source }) => (source === 'default' ? 'dim' : 'plain'),
  },
  { title: 'DEFAULT', value: (setting) => valueText({ ...setting, value: setting.default }), style: () => 'dim' },
];

/** One value, or a row, or a field of one. @throws TandemError `usage`, `not_found` */
function valueFor(key: string, ctx: Context): unknown {
  const settings = listSettings(ctx);
  const rows = (list: string): Row[] => (settings.find((one) => one.key === list)?.value ?? []) as Row[];
  const place = settingPlace(key, (list) => rows(list).map((row) => nameOf(row, list)));
  if (!place) {
    const { message, hint = '' } = unknownKey(key);
    throw new TandemError('usage', `${quote(key)} ${message}.`, { hint });
  }
  if (place.kind === 'setting') return settings.find((one) => one.key === key)?.value;
  const list = place.list.key;
  const row = rows(list).find((one) => nameOf(one, list) === place.row);
  if (!row)
    throw new TandemError('not_found', `${quote(list)} has no row ${quote(place.row)}.`, {
      hint: `See \`tandem settings get ${list}\`.`,
    });
  return place.kind === 'row' ? row : row[place.spec.key];
}

function changesOf(assignments: readonly string[], unset: readonly string[]): Record<string, string | null> {
  if (assignments.length + unset.length === 0)
    throw new TandemError('usage', 'No setting is given.', {
      hint: 'For example: tandem settings set log.level=debug',
    });
  const given = assignments.map((text): [string, string] => {
    const equals = text.indexOf('=');
    if (equals > 0) return [text.slice(0, equals).trim(), text.slice(equals + 1)];
    throw new TandemError('usage', `${quote(text)} is not KEY=VALUE.`, { hint: 'For example: log.level=debug' });
  });
  return Object.fromEntries([...unset.map((key): [string, null] => [key, null]), ...given]);
}

async function changeOutput(changes: SettingChanges, ctx: Context): Promise<Output> {
  const asksForSecret = Object.entries(changes).some(
    ([key, text]) => text === '-' && isSecret(key.split('.').at(-1) ?? ''),
  );
  const settings = await changeSettings(changes, ctx, asksForSecret ? secretOnStdin() : undefined);
  const line = (setting: Setting): string =>
    `${setting.key}: ${valueText(setting)}${setting.source === 'default' ? ' (the default)' : ''}`;
  return { json: settings, text: () => settings.map(line).join('\n') };
}

// --- command ---

const KEY = { name: 'key', description: 'as in `settings list`; of a list also its rows and their fields' } as const;

export const command = defineCommand({
  name: 'settings',
  summary: 'What app.yaml says: show it, change it',
  verbs: {
    list: {
      summary: 'every setting: what counts, where it comes from, and the default',
      examples: ['tandem settings list', 'tandem settings list --json | jq ".[] | {key, help}"'],
      run: async (_input, ctx): Promise<Output> => {
        const settings = listSettings(ctx);
        return { json: settings, text: (paint) => renderTable(settings, columns, paint) };
      },
    },
    get: {
      summary: 'the value of one of them',
      examples: ['tandem settings get log.level', 'tandem settings get notify.channels.phone'],
      args: [KEY],
      run: async ({ args }, ctx): Promise<Output> => {
        const value = valueFor(args['key'] as string, ctx);
        const rows = typeof value === 'object' && value !== null && !Array.isArray(value);
        const isList = Array.isArray(value) && value.some((item) => typeof item === 'object');
        const text = rows || isList ? JSON.stringify(value, null, 2) : showSetting(value);
        return { json: value ?? null, text: () => text.split('\n').map(displayPath).join('\n') };
      },
    },
    set: {
      summary: 'change settings; all of them, or with a mistake none',
      examples: [
        'tandem settings set log.level=debug log.keep=10',
        'tandem settings set notify.channels.desk.type=desktop notify.channels.desk.events=failed,overdue',
        'tandem settings set drives.virtual.NAS.path=/mnt/nas/photos --unset drives.allow_fixed',
      ],
      args: [
        {
          name: 'setting',
          description: 'KEY=VALUE; a list as a,b or ["a","b"]; an address as - and on stdin',
          variadic: true,
          optional: true,
        },
      ],
      options: [{ flags: '--unset <key>', description: 'and take this one back to its default', repeat: true }],
      run: async ({ args, options }, ctx) =>
        changeOutput(changesOf((args['setting'] ?? []) as string[], (options['unset'] ?? []) as string[]), ctx),
    },
    unset: {
      summary: 'back to the default; of a list also one row, or a field of it',
      examples: ['tandem settings unset log.level', 'tandem settings unset notify.channels.phone'],
      args: [{ ...KEY, variadic: true }],
      run: async ({ args }, ctx) => changeOutput(changesOf([], args['key'] as string[]), ctx),
    },
  },
});

export const panel = definePanel<Setting>({
  title: 'Settings',
  rows: (ctx) => Promise.resolve(listSettings(ctx)),
  columns,
  empty: '',
  actions: [
    {
      key: 'D',
      label: 'back to the default',
      disabled: ({ source }) => (source === 'default' ? 'it is the default' : undefined),
      command: ({ key }) => ['settings', 'unset', key],
    },
  ],
});

runIfMain(import.meta, command);
