/**
 * The options of groups (and of whatever refines them): one table of keys, defaults and values, from which the YAML
 * check, `KEY=VALUE` on the command line, the presets and the defaults all come. Keys with a dot stand in a section.
 */
import { readdirSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { holdsSecret, PACKAGE_CONFIG } from './config.ts';
import { messageOf, TandemError } from './errors.ts';
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
  /** How files are stored on the Backup: a property of the pair, so that no project may state these seven otherwise. */
  enable_compression: boolean;
  compression_type: 'gzip' | 'lz4';
  /** gzip: 1 to 9; lz4: 1 to 12. */
  compression_level: number;
  enable_encryption: boolean;
  encryption_type: 'aes-256-gcm';
  /** Files that only the user can read, for runs that nobody attends; absolute, or from `~/`. */
  encryption_key_file: string | null;
  encryption_password_file: string | null;
  calculate_space_savings: boolean;
  realtime: {
    /** Seconds. */
    debounce_seconds: number;
    /** Seconds between two looks at everything while it is watched. */
    full_scan_every: number;
  };
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
const SECTIONS = ['filters', 'conflict_policy', 'versions', 'realtime'] as const;
type Section = (typeof SECTIONS)[number];

/** Whose options are meant: a group's are a pair of drives', a project's hold for one folder of them. */
export type Owner = 'group' | 'project';

/** The values of `own` over the defaults. */
export function withDefaults(own: SparseOptions): GroupOptions {
  const defaults = Object.fromEntries(Object.entries(OPTIONS).map(([key, option]) => [key, option.fallback]));
  return unflatten(structuredClone({ ...defaults, ...flatten(own) })) as GroupOptions;
}

/**
 * `KEY=VALUE` → key and checked value; `KEY=` → key and undefined.
 * @throws TandemError `usage` for a key that is unknown or not available in this version, `invalid` for a value
 */
function parseAssignment(text: string, owner: Owner): [string, unknown] {
  const at = text.indexOf('=');
  if (at < 1) {
    throw new TandemError('usage', `'${displayPath(text)}' is not KEY=VALUE.`, {
      hint: 'For example: verify_checksums=size; KEY= resets to the default.',
    });
  }
  const key = text.slice(0, at).trim();
  const raw = text.slice(at + 1).trim();
  const problem = keyProblem(key, owner);
  if (problem)
    throw new TandemError('usage', `The option '${displayPath(key)}' ${problem.message}.`, { hint: problem.hint });
  const spec = OPTIONS[key];
  if (raw === '' || !spec) return [key, undefined];
  const value = spec.read(raw);
  if (value !== undefined) return [key, value];
  const shown = holdsSecret(key) ? 'what was given' : `'${displayPath(raw)}'`;
  throw new TandemError('invalid', `The option '${key}' must be ${spec.takes}; ${shown} is not.`, {
    hint: `Default: ${showValue(spec.fallback)}; ${key}= resets to it.`,
  });
}

/**
 * What `KEY=VALUE` words and a preset make of options; a preset's values come first, an empty value resets a key.
 * @returns the keys that are named, what of the preset a later version brings, what of it only the group can have, and the
 * change itself
 * @throws TandemError `usage` when nothing is given, or a key is unknown or not available in this version, `invalid` for a
 * value; the change, for values that do not go together.
 */
export function optionChange(
  assignments: readonly string[],
  preset: string | undefined,
  owner: Owner = 'group',
): { keys: string[]; later: string[]; elsewhere: string[]; change(options: SparseOptions): SparseOptions } {
  if (assignments.length === 0 && preset === undefined)
    throw new TandemError('usage', 'No option is given.', {
      hint: `Give KEY=VALUE or --preset NAME; options are ${Object.keys(OPTIONS).join(', ')}.`,
    });
  const chosen = preset === undefined ? undefined : presetNamed(preset);
  const values = Object.entries(chosen?.values ?? {});
  const fitting = values.filter(([key]) => owner === 'group' || !OF_THE_PAIR.has(key));
  const elsewhere = values.filter((one) => !fitting.includes(one)).map(([key, value]) => `${key}=${value}`);
  const given = assignments.map((text) => parseAssignment(text, owner));
  const changed: Flat = { ...Object.fromEntries(fitting), ...Object.fromEntries(given) };
  const change = (options: SparseOptions): SparseOptions => {
    const flat = flatten(options);
    for (const [key, value] of Object.entries(changed)) {
      if (value === undefined) delete flat[key];
      else flat[key] = value;
    }
    const problem = mixProblem(flat);
    if (problem)
      throw new TandemError('invalid', `The option '${problem.key}' ${problem.message}.`, { hint: problem.hint });
    return unflatten(flat);
  };
  return { keys: Object.keys(changed), later: [...(chosen?.later ?? [])], elsewhere, change };
}

/** What `optionChange` would refuse, key by key; empty: nothing. */
export function optionProblems(
  assignments: readonly string[],
  preset: string | undefined,
  owner: Owner,
  options: SparseOptions,
): Record<string, string> {
  const problems: Record<string, string> = {};
  const good: string[] = [];
  for (const text of assignments) {
    try {
      parseAssignment(text, owner);
      good.push(text);
    } catch (error) {
      problems[text.slice(0, Math.max(0, text.indexOf('=')))] = messageOf(error);
    }
  }
  if (good.length === 0 && preset === undefined) return problems;
  try {
    optionChange(good, preset, owner).change(options);
  } catch (error) {
    // What does not go together is told at the first of its keys that is given.
    const key = good.map((text) => text.slice(0, text.indexOf('='))).find((one) => messageOf(error).includes(one));
    problems[key ?? 'preset'] = messageOf(error);
  }
  return problems;
}

/**
 * Checks options as a YAML file states them and brings them into one form.
 * @returns the options, and per key what is wrong with it
 */
export function readOptions(
  raw: object,
  owner: Owner = 'group',
): { options: SparseOptions; problems: { key: string; message: string }[] } {
  const flat = flatten(raw);
  const problems: { key: string; message: string }[] = [];
  for (const [key, value] of Object.entries(flat)) {
    const problem = keyProblem(key, owner);
    const read = problem ? undefined : OPTIONS[key]?.read(value);
    if (problem) problems.push({ key, message: withHint(problem) });
    else if (read === undefined) problems.push({ key, message: `must be ${OPTIONS[key]?.takes}` });
    if (read === undefined) delete flat[key];
    else flat[key] = read;
  }
  const mixed = mixProblem(flat);
  if (mixed) {
    problems.push({ key: mixed.key, message: withHint(mixed) });
    delete flat[mixed.key];
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
  /** All values, where they are few words. */
  choices?: readonly string[];
  /** YAML value or command-line text → value; undefined when it is none. */
  read(value: unknown): unknown;
}

const flag = (fallback: boolean): OptionSpec => ({
  fallback,
  takes: 'true or false',
  choices: ['true', 'false'],
  read: (value) => {
    const word = String(value).toLowerCase();
    return /^(true|yes|on)$/.test(word) ? true : /^(false|no|off)$/.test(word) ? false : undefined;
  },
});
const choice = (fallback: string, ...others: string[]): OptionSpec => ({
  fallback,
  takes: `one of ${[fallback, ...others].join(', ')}`,
  choices: [fallback, ...others],
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
/** A secret stands in a file of its own, and only the file's name in the options. */
const secretFile: OptionSpec = {
  fallback: null,
  takes: 'the path of a file, absolute or from ~/',
  read: (value) => {
    if (value === null) return null;
    const path = typeof value === 'string' ? value.trim() : '';
    return isAbsolute(path) || /^~\/./.test(path) ? path : undefined;
  },
};
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
  enable_compression: flag(false),
  compression_type: choice('gzip', 'lz4'),
  compression_level: {
    fallback: 6,
    takes: 'a number from 1 to 9, with lz4 to 12',
    read: (value) => (/^([1-9]|1[0-2])$/.test(String(value)) ? Number(value) : undefined),
  },
  enable_encryption: flag(false),
  encryption_type: choice('aes-256-gcm'),
  encryption_key_file: secretFile,
  encryption_password_file: secretFile,
  calculate_space_savings: flag(true),
  'realtime.debounce_seconds': {
    fallback: 0.5,
    takes: 'seconds from 0.1 to 60',
    read: (value) => within(value, 0.1, 60),
  },
  'realtime.full_scan_every': {
    fallback: 3600,
    takes: 'a time from 1min to 1w, for example 1h',
    read: (value) => within(value, 60, 7 * 86_400),
  },
};

/** What a project cannot have otherwise than its group: both write to the same Backup, and a run of one would undo the other's. */
export const OF_THE_PAIR: ReadonlySet<string> = new Set([
  'enable_compression',
  'compression_type',
  'compression_level',
  'enable_encryption',
  'encryption_type',
  'encryption_key_file',
  'encryption_password_file',
]);

export interface Preset {
  values: Record<string, unknown>;
  later: readonly string[];
}

export const PRESETS: Readonly<Record<string, Preset>> = {
  ssd: { values: { enable_parallel_copy: true, max_parallel_files: 8, incremental: true }, later: [] },
  hdd: { values: { enable_parallel_copy: false, incremental: true, enable_compression: false }, later: [] },
  nas: {
    values: {
      enable_parallel_copy: true,
      max_parallel_files: 4,
      enable_bandwidth_limit: true,
      bandwidth_limit_mbps: 10,
      enable_compression: true,
    },
    later: [],
  },
  editing: { values: { incremental: true, enable_compression: false, 'realtime.debounce_seconds': 0.3 }, later: [] },
  archive: {
    values: { incremental: false, enable_compression: true, compression_level: 9, enable_encryption: true },
    later: [],
  },
};

// --- internal ---

/** A number of seconds, or a time with its unit. */
function within(value: unknown, min: number, max: number): number | undefined {
  const seconds = parseDuration(String(value));
  return seconds !== undefined && seconds >= min && seconds <= max ? seconds : undefined;
}

function ignorePresets(): string[] {
  return readdirSync(join(PACKAGE_CONFIG, 'ignore')).flatMap((name) => /^(.+)\.gitignore$/.exec(name)?.[1] ?? []);
}

function keyProblem(key: string, owner: Owner): { message: string; hint: string } | undefined {
  if (owner === 'project' && OF_THE_PAIR.has(key))
    return {
      message: 'belongs to the group, since it says how files are stored on the Backup',
      hint: 'Set it there with `tandem groups set`; it holds for all projects on the group.',
    };
  if (Object.hasOwn(OPTIONS, key)) return undefined;
  if (holdsSecret(key))
    return {
      message: 'is not available: a secret is never kept among options',
      hint: 'Put it into a file that only you can read, and name that file in encryption_password_file.',
    };
  const available = Object.keys(OPTIONS);
  const guess = closest(key, available) ?? available.find((name) => name.endsWith(`.${key}`));
  return { message: 'is not known', hint: guess ? `Did you mean '${guess}'?` : `Options are ${available.join(', ')}.` };
}

/** Values that are each valid, but not together. */
function mixProblem(flat: Flat): { key: string; message: string; hint: string } | undefined {
  const level = Number(flat['compression_level'] ?? 0);
  if (level > 9 && flat['compression_type'] !== 'lz4')
    return {
      key: 'compression_level',
      message: `must be from 1 to 9 with gzip; ${level} is not`,
      hint: 'Levels up to 12 need compression_type=lz4.',
    };
  if (typeof flat['encryption_key_file'] === 'string' && typeof flat['encryption_password_file'] === 'string')
    return {
      key: 'encryption_password_file',
      message: 'stands beside encryption_key_file, and one secret is enough',
      hint: 'Keep one of the two; an empty value resets the other.',
    };
  return undefined;
}

function withHint({ message, hint }: { message: string; hint: string }): string {
  return `${message} (${hint.replace(/\.$/, '')})`;
}
