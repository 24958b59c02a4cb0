/** Which paths a run looks at: gitignore patterns, presets of config/ignore/, and limits of size and age. */
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Ignore } from 'ignore';
import { PACKAGE_CONFIG } from './config.ts';
import { TandemError } from './errors.ts';
import { closest } from './format.ts';

export interface FilterOptions {
  /** Patterns in gitignore syntax, from the drive's root. */
  exclude: readonly string[];
  /** Bring back what an exclude or the preset leaves out. */
  include: readonly string[];
  /** Bytes. */
  min_size: number | null;
  max_size: number | null;
  /** Seconds; older files are left out. */
  max_age: number | null;
  /** Name of a file in config/ignore/, or `none`. */
  preset: string;
}

const PRESETS = join(PACKAGE_CONFIG, 'ignore');

export class Filter {
  /** Files are left out by size or age, which a look at the names cannot tell. */
  readonly limits: boolean;
  private readonly rules: Ignore | undefined;
  /** By the first two bytes of a name: whether any pattern could match it; undefined: any name may match. */
  private readonly starts: Uint8Array | undefined;
  private readonly options: FilterOptions;
  private readonly oldest: bigint | undefined;

  constructor(options: FilterOptions, now: Date) {
    this.options = options;
    const patterns = [
      ...presetPatterns(options.preset),
      ...options.exclude,
      ...options.include.map((pattern) => `!${pattern}`),
    ];
    this.limits = options.min_size !== null || options.max_size !== null || options.max_age !== null;
    this.oldest = options.max_age === null ? undefined : BigInt(now.getTime() - options.max_age * 1000) * 1_000_000n;
    if (patterns.length === 0) {
      this.starts = new Uint8Array(65_536);
      return;
    }
    const ignore = createRequire(import.meta.url)('ignore') as () => Ignore;
    this.rules = ignore().add(patterns);
    this.starts = startsOf(patterns);
  }

  /** Quick test on the first two bytes of the last name of a path (0: none): false means that no pattern matches the path itself. */
  mayMatch(first: number, second: number): boolean {
    return this.starts === undefined || this.starts[(first << 8) | second] === 1;
  }

  /** Whether the path, or a folder above it, is left out by name. */
  excludes(path: string, folder: boolean): boolean {
    if (!this.rules || !this.mayMatchAny(path)) return false;
    return this.rules.ignores(folder ? `${path}/` : path);
  }

  /** Whether the path is left out by name, be it a file or a folder. */
  excludesAny(path: string): boolean {
    if (!this.rules || !this.mayMatchAny(path)) return false;
    return this.rules.ignores(path) || this.rules.ignores(`${path}/`);
  }

  /** No pattern reaches beyond ASCII in its first letters, so other names cannot match. */
  private mayMatchAny(path: string): boolean {
    if (this.starts === undefined) return true;
    for (let at = 0; at >= 0; at = path.indexOf('/', at) + 1 || -1) {
      const first = path.charCodeAt(at);
      const next = path.charCodeAt(at + 1);
      const second = next === 0x2f || Number.isNaN(next) ? 0 : next;
      if (first < 256 && (second > 255 || this.starts[(first << 8) | second] === 1)) return true;
    }
    return false;
  }

  /** Whether a file is left out by its size (bytes) or age (mtime in ns). */
  beyondLimits(size: number, mtime: bigint): boolean {
    const { min_size, max_size } = this.options;
    if (min_size !== null && size < min_size) return true;
    if (max_size !== null && size > max_size) return true;
    return this.oldest !== undefined && mtime < this.oldest;
  }
}

/** @throws TandemError `usage` for a preset that is not there. */
export function presetPatterns(name: string): string[] {
  if (name === 'none') return [];
  const names = presetNames();
  if (!names.includes(name)) {
    const guess = closest(name, names);
    throw new TandemError('usage', `There is no ignore preset '${name}'.`, {
      hint: `${guess ? `Did you mean '${guess}'? ` : ''}Presets: none, ${names.join(', ')}.`,
    });
  }
  return readFileSync(join(PRESETS, `${name}.gitignore`), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
}

export function presetNames(): string[] {
  return readdirSync(PRESETS)
    .filter((name) => name.endsWith('.gitignore'))
    .map((name) => name.slice(0, -'.gitignore'.length))
    .sort();
}

/** Undefined as soon as one pattern could match a name with any first letter, or looks at more than the name. */
function startsOf(patterns: readonly string[]): Uint8Array | undefined {
  const table = new Uint8Array(65_536);
  for (const pattern of patterns) {
    if (pattern.startsWith('!')) continue;
    const name = pattern.replace(/\/$/, '');
    const first = name[0] ?? '*';
    const second = name[1];
    if (name.includes('/') || isWild(first)) return undefined;
    for (const byte of [first.toLowerCase(), first.toUpperCase()].map((letter) => letter.charCodeAt(0))) {
      if (second === undefined) table[byte << 8] = 1;
      else if (isWild(second)) table.fill(1, byte << 8, (byte + 1) << 8);
      else
        for (const letter of [second.toLowerCase(), second.toUpperCase()])
          table[(byte << 8) | letter.charCodeAt(0)] = 1;
    }
  }
  return table;
}

/** Not plainly one ASCII letter: stands for others, or is written in several bytes. */
function isWild(letter: string): boolean {
  return letter > '\x7e' || /[*?[\\]/.test(letter);
}
