/**
 * The options of groups (and of whatever refines them): one table of keys, defaults and values, from which the YAML
 * check, `KEY=VALUE` on the command line, the presets and the defaults all come. Keys with a dot stand in a section.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE_CONFIG } from './config.ts';
import { TandemError } from './errors.ts';
import { closest, parseDuration, parseSize } from './format.ts';
import { displayPath } from './paths.ts';
import { parseTimetable, readMegabytes } from './throttle.ts';

export interface GroupOptions {
  incremental: boolean;
  skip_existing: boolean;
  verify_checksums: 'none' | 'size' | 'checksum';
  checksum_algorithm: 'sha256' | 'xxh128' | 'blake2b512';
  on_master_delete: 'ask' | 'trash' | 'keep';
  on_backup_delete: 'restore' | 'ask';
  /** Take the checksum of ASC MHL while copying, and add a generation to each drive's history at the end. */
  mhl: boolean;
  filters: {
    exclude: string[];
    include: string[];
    /** Bytes. */
    min_size: number | null;
    max_size: number | null;
    /** Seconds. */
    max_age: number | null;
    /** `none` or the name of a file in `config/ignore/`. */
    preset: string;
  };
  /** How a run settles conflicts of a type by itself. */
  conflict_policy: Record<PolicyType, Policy>;
  versions: {
    /** False: what is replaced or deleted is kept only until the batch that does it is on the medium. */
    enabled: boolean;
    /** Seconds; null: for ever. */
    max_age: number | null;
    /** Percent of the drive. */
    max_share: number;
  };
  enable_bandwidth_limit: boolean;
  /** Megabytes (1,000,000 bytes) per second. */
  bandwidth_limit_mbps: number;
  /** `08:00-18:00 10, otherwise off`; null: always the same. */
  bandwidth_timetable: string | null;
  enable_parallel_copy: boolean;
  max_parallel_files: number | 'auto';
}

export const POLICY_TYPES = [
  'modified_both',
  'modified_backup',
  'deleted_master',
  'deleted_backup',
  'size_mismatch',
  'new_backup',
] as const;
export type PolicyType = (typeof POLICY_TYPES)[number];
export type Policy = 'ask' | 'master' | 'backup' | 'both' | 'newest' | 'largest';

/** Options as a group states them: only those that differ from the defaults on purpose. */
export type SparseOptions = { [K in Exclude<keyof GroupOptions, Section>]?: GroupOptions[K] } & {
  [K in Section]?: Partial<GroupOptions[K]>;
};

/** Options that are groups of options. */
const SECTIONS = ['filters', 'conflict_policy', 'versions'] as const;
type Section = (typeof SECTIONS)[number];

/** The values of `own` over the defaults. */
export function withDefaults(own: SparseOptions): GroupOptions {
  const defaults = Object.fromEntries(Object.entries(OPTIONS).map(([key, option]) => [key, option.fallback]));
  return unflatten(structuredClone({ ...defaults, ...flatten(own) })) as GroupOptions;
}

/**
 * `KEY=VALUE` → key and checked value; `KEY=` → key and undefined.
 * @throws TandemError `usage` for a key that is unknown or not available in this version, `invalid` for a value
 */
function parseAssignment(text: string): [string, unknown] {
  const at = text.indexOf('=');
  if (at < 1) {
    throw new TandemError('usage', `'${displayPath(text)}' is not KEY=VALUE.`, {
      hint: 'For example: verify_checksums=size; KEY= resets to the default.',
    });
  }
  const key = text.slice(0, at).trim();
  const raw = text.slice(at + 1).trim();
  const problem = keyProblem(key);
  if (problem)
    throw new TandemError('usage', `The option '${displayPath(key)}' ${problem.message}.`, { hint: problem.hint });
  const spec = OPTIONS[key];
  if (raw === '' || !spec) return [key, undefined];
  const value = spec.read(raw);
  if (value !== undefined) return [key, value];
  throw new TandemError('invalid', `The option '${key}' must be ${spec.takes}; '${displayPath(raw)}' is not.`, {
    hint: `Default: ${showValue(spec.fallback)}; ${key}= resets to it.`,
  });
}

/**
 * What `KEY=VALUE` words and a preset make of options; a preset's values come first, an empty value resets a key.
 * @returns the keys that are named, what of the preset a later version brings, and the change itself
 * @throws TandemError `usage` when nothing is given, or a key is unknown or not available in this version, `invalid` for a value.
 */
export function optionChange(
  assignments: readonly string[],
  preset: string | undefined,
): { keys: string[]; later: string[]; change(options: SparseOptions): SparseOptions } {
  if (assignments.length === 0 && preset === undefined)
    throw new TandemError('usage', 'No option is given.', {
      hint: `Give KEY=VALUE or --preset NAME; options are ${Object.keys(OPTIONS).join(', ')}.`,
    });
  const chosen = preset === undefined ? undefined : presetNamed(preset);
  const changed: Flat = { ...chosen?.values, ...Object.fromEntries(assignments.map(parseAssignment)) };
  const change = (options: SparseOptions): SparseOptions => {
    const flat = flatten(options);
    for (const [key, value] of Object.entries(changed)) {
      if (value === undefined) delete flat[key];
      else flat[key] = value;
    }
    return unflatten(flat);
  };
  return { keys: Object.keys(changed), later: [...(chosen?.later ?? [])], change };
}

/**
 * Checks options as a YAML file states them and brings them into one form.
 * @returns the options, and per key what is wrong with it
 */
export function readOptions(raw: object): { options: SparseOptions; problems: { key: string; message: string }[] } {
  const flat = flatten(raw);
  const problems: { key: string; message: string }[] = [];
  for (const [key, value] of Object.entries(flat)) {
    const problem = keyProblem(key);
    flat[key] = problem ? undefined : OPTIONS[key]?.read(value);
    if (problem) problems.push({ key, message: `${problem.message} (${problem.hint.replace(/\.$/, '')})` });
    else if (flat[key] === undefined) problems.push({ key, message: `must be ${OPTIONS[key]?.takes}` });
  }
  return { options: unflatten(flat), problems };
}

/** Values for a kind of drive or work, and what of them a later version brings. @throws TandemError `usage` */
function presetNamed(name: string): Preset {
  const preset = Object.hasOwn(PRESETS, name) ? PRESETS[name] : undefined;
  if (preset) return preset;
  const guess = closest(name, Object.keys(PRESETS));
  throw new TandemError('usage', `There is no preset '${displayPath(name)}'.`, {
    hint: `${guess ? `Did you mean '${guess}'? ` : ''}Presets: ${Object.keys(PRESETS).join(', ')}.`,
  });
}

type Flat = Record<string, unknown>;

/** `{ filters: { preset } }` → `{ 'filters.preset': … }` */
export function flatten(options: object): Flat {
  const flat: Flat = {};
  for (const [key, value] of Object.entries(options)) {
    const section = isSection(key) && typeof value === 'object' && value !== null && !Array.isArray(value);
    if (section) for (const [name, one] of Object.entries(value)) flat[`${key}.${name}`] = one;
    else flat[key] = value;
  }
  return flat;
}

export function unflatten(flat: Flat): SparseOptions {
  const options: Flat = {};
  for (const [key, value] of Object.entries(flat)) {
    const dot = key.indexOf('.');
    const section = key.slice(0, Math.max(dot, 0));
    if (!isSection(section)) options[key] = value;
    else options[section] = { ...(options[section] as Flat | undefined), [key.slice(dot + 1)]: value };
  }
  return options as SparseOptions;
}

function isSection(key: string): key is Section {
  return SECTIONS.some((section) => section === key);
}

/** A value as `KEY=VALUE` takes it. */
export function showValue(value: unknown): string {
  if (Array.isArray(value)) return value.length > 0 ? value.join(',') : '(none)';
  return value === null ? '(none)' : String(value);
}

export interface OptionSpec {
  fallback: unknown;
  /** Ends the sentence "must be …". */
  takes: string;
  /** YAML value or command-line text → value; undefined when it is none. */
  read(value: unknown): unknown;
}

const flag = (fallback: boolean): OptionSpec => ({
  fallback,
  takes: 'true or false',
  read: (value) => {
    const word = String(value).toLowerCase();
    return /^(true|yes|on)$/.test(word) ? true : /^(false|no|off)$/.test(word) ? false : undefined;
  },
});
const choice = (fallback: string, ...others: string[]): OptionSpec => ({
  fallback,
  takes: `one of ${[fallback, ...others].join(', ')}`,
  read: (value) => [fallback, ...others].find((word) => word === value),
});
const list: OptionSpec = {
  fallback: [],
  takes: 'a list of patterns',
  read: (value) => {
    const items: unknown = typeof value === 'string' ? value.split(',').map((item) => item.trim()) : value;
    return Array.isArray(items) && items.every((item) => typeof item === 'string')
      ? items.filter((item) => item !== '')
      : undefined;
  },
};
const amount = (takes: string, parse: (text: string) => number | undefined): OptionSpec => ({
  fallback: null,
  takes,
  read: (value) =>
    value === null ? null : typeof value === 'string' || typeof value === 'number' ? parse(String(value)) : undefined,
});
const verifyChoice = choice('none', 'size', 'checksum');

/** The options of this version: key, default and values as docs/formats.md lists them. */
export const OPTIONS: Readonly<Record<string, OptionSpec>> = {
  incremental: flag(true),
  skip_existing: flag(false),
  verify_checksums: {
    ...verifyChoice,
    read: (value) =>
      String(value) === 'true' ? 'checksum' : String(value) === 'false' ? 'none' : verifyChoice.read(value),
  },
  checksum_algorithm: choice('sha256', 'xxh128', 'blake2b512'),
  on_master_delete: choice('ask', 'trash', 'keep'),
  on_backup_delete: choice('restore', 'ask'),
  mhl: flag(false),
  'filters.exclude': list,
  'filters.include': list,
  'filters.min_size': amount('a size, for example 500kB or 2GiB', parseSize),
  'filters.max_size': amount('a size, for example 500kB or 2GiB', parseSize),
  'filters.max_age': amount('an age, for example 12h or 90d', parseDuration),
  'filters.preset': {
    fallback: 'os-junk',
    takes: 'none or the name of a file in config/ignore',
    read: (value) => ['none', ...ignorePresets()].find((name) => name === value),
  },
  ...Object.fromEntries(
    POLICY_TYPES.map((type) => [
      `conflict_policy.${type}`,
      choice('ask', 'master', 'backup', 'both', 'newest', 'largest'),
    ]),
  ),
  'versions.enabled': flag(true),
  'versions.max_age': { ...amount('an age, for example 12h or 90d', parseDuration), fallback: 90 * 86_400 },
  'versions.max_share': {
    fallback: 20,
    takes: 'a share of the drive from 1 to 100 %',
    read: (value) => {
      const percent = Number(/^(\d{1,3}) ?%?$/.exec(String(value))?.[1]);
      return percent >= 1 && percent <= 100 ? percent : undefined;
    },
  },
  enable_bandwidth_limit: flag(false),
  bandwidth_limit_mbps: {
    fallback: 10,
    takes: 'a number of megabytes per second from 0.1 to 1000',
    read: (value) => readMegabytes(String(value)),
  },
  bandwidth_timetable: {
    fallback: null,
    takes: 'a timetable, for example 08:00-18:00 10, otherwise off',
    read: (value) => {
      if (value === null) return null;
      const text = typeof value === 'string' ? value.trim() : '';
      return parseTimetable(text) ? text : undefined;
    },
  },
  enable_parallel_copy: flag(true),
  max_parallel_files: {
    fallback: 'auto',
    takes: 'auto or a number from 2 to 16',
    read: (value) => (value === 'auto' ? value : /^([2-9]|1[0-6])$/.test(String(value)) ? Number(value) : undefined),
  },
};

/** Keys of the same table that this version refuses rather than ignores: an encrypted pair must never be copied plain. */
const LATER =
  /^(enable_compression|compression_type|compression_level|enable_encryption|encryption_(type|key_file|password_file)|calculate_space_savings|realtime(\.(debounce_seconds|full_scan_every))?)$/;

export interface Preset {
  values: Record<string, unknown>;
  later: readonly string[];
}

export const PRESETS: Readonly<Record<string, Preset>> = {
  ssd: { values: { enable_parallel_copy: true, max_parallel_files: 8, incremental: true }, later: [] },
  hdd: { values: { enable_parallel_copy: false, incremental: true }, later: ['enable_compression=false'] },
  nas: {
    values: {
      enable_parallel_copy: true,
      max_parallel_files: 4,
      enable_bandwidth_limit: true,
      bandwidth_limit_mbps: 10,
    },
    later: ['enable_compression=true'],
  },
  editing: { values: { incremental: true }, later: ['realtime.debounce_seconds=0.3', 'enable_compression=false'] },
  archive: {
    values: { incremental: false },
    later: ['enable_compression=true', 'compression_level=9', 'enable_encryption=true'],
  },
};

// --- internal ---

function ignorePresets(): string[] {
  return readdirSync(join(PACKAGE_CONFIG, 'ignore')).flatMap((name) => /^(.+)\.gitignore$/.exec(name)?.[1] ?? []);
}

function keyProblem(key: string): { message: string; hint: string } | undefined {
  if (Object.hasOwn(OPTIONS, key)) return undefined;
  const available = Object.keys(OPTIONS);
  if (LATER.test(key))
    return { message: 'is not available in this version', hint: `Available are ${available.join(', ')}.` };
  const guess = closest(key, available) ?? available.find((name) => name.endsWith(`.${key}`));
  return { message: 'is not known', hint: guess ? `Did you mean '${guess}'?` : `Options are ${available.join(', ')}.` };
}
