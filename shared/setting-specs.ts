/**
 * The settings one by one, as config/app.schema.json describes them: names, what each takes, help, defaults. A setting is
 * called by its section and its field (`log.level`), a row of a list by its own name, and so is a field of the row
 * (`notify.channels.phone.events`). Whether a value may stand is for settings.ts to say.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE_CONFIG } from './config.ts';

export interface SettingSpec {
  key: string;
  /** `patterns`: true, false or a list of texts; `rows`: a list of rows with names. */
  kind: 'switch' | 'choice' | 'number' | 'text' | 'list' | 'patterns' | 'rows';
  /** Of a choice. */
  choices: readonly string[];
  /** Ends the sentence "must be …". */
  takes: string;
  /** One or two sentences. */
  help: string;
}

/** Lists with rows, and the field by which a row is called. */
export const ROW_NAMES: Readonly<Record<string, string>> = { 'drives.virtual': 'label', 'notify.channels': 'name' };

/** Instead of an address, which may be a secret. */
export const HIDDEN = '(not shown)';

/** What a key means. */
export type SettingPlace =
  | { kind: 'setting'; spec: SettingSpec }
  | { kind: 'row'; list: SettingSpec; row: string }
  | { kind: 'field'; list: SettingSpec; row: string; spec: SettingSpec };

/** In the order of the schema. */
export function settingSpecs(): readonly SettingSpec[] {
  known ??= Object.entries(readSchema().properties ?? {}).flatMap(([section, { properties = {} }]) =>
    Object.entries(properties).map(([name, node]) => specOf(`${section}.${name}`, node)),
  );
  return known;
}

/** Fields that a row of the list may have, its name first. */
export function rowSpecs(list: string): readonly SettingSpec[] {
  const [section = '', name = ''] = list.split('.');
  const items = readSchema().properties?.[section]?.properties?.[name]?.items ?? {};
  const variants = items.oneOf ?? [items];
  const fields = new Map<string, Node[]>();
  for (const { properties = {} } of variants)
    for (const [field, node] of Object.entries(properties)) fields.set(field, [...(fields.get(field) ?? []), node]);
  return [...fields].map(([field, nodes]) => specOf(field, merged(nodes)));
}

/** @param rows names of the rows that a list has now. Undefined: there is no such setting. */
export function settingPlace(key: string, rows: (list: string) => readonly string[]): SettingPlace | undefined {
  const spec = settingSpecs().find((one) => one.key === key);
  if (spec) return { kind: 'setting', spec };
  const list = settingSpecs().find((one) => one.kind === 'rows' && key.startsWith(`${one.key}.`));
  if (!list) return undefined;
  const rest = key.slice(list.key.length + 1);
  if (rows(list.key).includes(rest)) return { kind: 'row', list, row: rest };
  // The name of a row may have dots in it, that of a field has none.
  const dot = rest.lastIndexOf('.');
  const field = rowSpecs(list.key).find((one) => one.key === rest.slice(dot + 1));
  return dot > 0 && field ? { kind: 'field', list, row: rest.slice(0, dot), spec: field } : undefined;
}

/** Text as people type it → the value; undefined: it can be none. */
export function readSetting({ kind, choices, key }: SettingSpec, text: string): unknown {
  const word = text.trim().toLowerCase();
  const flag = /^(true|yes|on)$/.test(word) ? true : /^(false|no|off)$/.test(word) ? false : undefined;
  switch (kind) {
    case 'switch':
      return flag;
    case 'choice': {
      const chosen = choices.find((one) => one === text.trim());
      return chosen !== undefined && /^\d+$/.test(chosen) ? Number(chosen) : chosen;
    }
    case 'number':
      return /^-?\d+(\.\d+)?$/.test(word) ? Number(word) : undefined;
    case 'list':
      return readList(text);
    case 'patterns':
      return flag ?? readList(text);
    case 'text':
      return key === 'log.max_size' && /^\d+$/.test(word) ? Number(word) : text;
    case 'rows':
      return undefined;
  }
}

/** A value as `readSetting` takes it. */
export function showSetting(value: unknown): string {
  if (!Array.isArray(value)) return value === undefined ? '' : String(value);
  const plain = value.every((item) => typeof item === 'string' && /^[^,[\]"\s]([^,"]*[^,"\s])?$/.test(item));
  return plain ? value.join(', ') : JSON.stringify(value);
}

// --- internal ---

/** As much of JSON Schema as app.schema.json uses. */
interface Node {
  type?: string | string[];
  properties?: Record<string, Node>;
  items?: Node;
  oneOf?: Node[];
  enum?: unknown[];
  const?: unknown;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  description?: string;
}

let schema: Node | undefined;
let known: readonly SettingSpec[] | undefined;

function readSchema(): Node {
  schema ??= JSON.parse(readFileSync(join(PACKAGE_CONFIG, 'app.schema.json'), 'utf8')) as Node;
  return schema;
}

/** The same field of several kinds of rows. */
function merged(nodes: readonly Node[]): Node {
  const constants = nodes.flatMap((node) => (node.const === undefined ? [] : [node.const]));
  return constants.length > 0 ? { enum: constants } : (nodes[0] ?? {});
}

function specOf(key: string, node: Node): SettingSpec {
  const choices = (node.enum ?? []).map(String);
  return { key, kind: kindOf(node), choices, takes: takesOf(node), help: node.description ?? '' };
}

function kindOf({ type, items, oneOf, enum: values }: Node): SettingSpec['kind'] {
  if (values) return 'choice';
  if (oneOf) return 'patterns';
  if (type === 'array') return items?.oneOf || items?.properties ? 'rows' : 'list';
  if (type === 'boolean') return 'switch';
  return type === 'integer' || type === 'number' ? 'number' : 'text';
}

function takesOf(node: Node): string {
  const { type, minimum, maximum, exclusiveMinimum, items, pattern } = node;
  switch (kindOf(node)) {
    case 'switch':
      return 'true or false';
    case 'choice':
      return `one of ${(node.enum ?? []).join(', ')}`;
    case 'patterns':
      return 'true, false or a list of patterns';
    case 'list':
      return items?.enum ? `a list of ${items.enum.join(', ')}` : 'a list of texts';
    case 'rows':
      return 'a list of rows';
    case 'number': {
      const what = type === 'integer' ? 'a whole number' : 'a number';
      const least = exclusiveMinimum === undefined ? minimum : `above ${exclusiveMinimum}`;
      if (least === undefined) return what;
      const from = exclusiveMinimum === undefined ? ` from ${least}` : ` ${least}`;
      return `${what}${from}${maximum === undefined ? '' : exclusiveMinimum === undefined ? ` to ${maximum}` : `, up to ${maximum}`}`;
    }
    case 'text':
      return Array.isArray(type) ? 'a size, for example 10MB' : pattern === '^/' ? 'an absolute path' : 'a text';
  }
}

/** A list in brackets, as JSON has it, or texts with commas between them. */
function readList(text: string): string[] | undefined {
  if (!text.trim().startsWith('[')) return text.split(',').flatMap((item) => (item.trim() === '' ? [] : [item.trim()]));
  try {
    const items: unknown = JSON.parse(text);
    return Array.isArray(items) && items.every((item) => typeof item === 'string') ? items : undefined;
  } catch {
    return undefined;
  }
}
