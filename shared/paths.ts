/**
 * Paths inside a drive. A RelPath runs from the drive's root, uses `/`, never starts with one, holds no `.`, `..` or
 * empty part and no NUL; it is the only form in which the kernel and the baseline name a user's file.
 */
import { TandemError } from './errors.ts';

declare const brand: unique symbol;
export type RelPath = string & { readonly [brand]: 'RelPath' };

/** Checks text that comes from outside; throws `invalid` for anything that could leave the drive. */
export function relPath(text: string): RelPath {
  let end = text.length;
  while (text[end - 1] === '/') end -= 1;
  const parts = text.slice(0, end).split('/');
  const bad = parts.find((part) => part === '' || part === '.' || part === '..' || part.includes('\0'));
  if (bad !== undefined && text !== '') {
    throw new TandemError('invalid', `The path '${displayPath(text)}' is not a path inside a drive.`, {
      hint: "Give a path relative to the drive's root, without '..', for example Projects/Wedding.",
    });
  }
  return parts.join('/') as RelPath;
}

export function joinPath(parent: string, name: string): RelPath {
  return (parent === '' ? name : `${parent}/${name}`) as RelPath;
}

export function parentOf(path: string): RelPath {
  const slash = path.lastIndexOf('/');
  return (slash < 0 ? '' : path.slice(0, slash)) as RelPath;
}

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

export function isInside(path: string, folder: string): boolean {
  return folder === '' || path === folder || path.startsWith(`${folder}/`);
}

/** Inside of one of them; takes as long for many as for one. */
export function isInsideAny(path: string, folders: ReadonlySet<string>): boolean {
  if (folders.size === 0) return false;
  for (let at = path; ; at = parentOf(at)) {
    if (folders.has(at)) return true;
    if (at === '') return false;
  }
}

export function depthOf(path: string): number {
  let depth = 0;
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) depth += 1;
  return depth;
}

/** Parents first, siblings in code-unit order. Sorted folder by folder: many short lists take less than one long one. */
export function sortPaths(paths: ReadonlySet<string>): string[] {
  const children = new Map<string, string[]>();
  const listOf = (folder: string): string[] => {
    const known = children.get(folder);
    if (known) return known;
    const list: string[] = [];
    children.set(folder, list);
    // A folder that is not among the paths has a place among them all the same.
    if (folder !== '' && !paths.has(folder)) listOf(parentOf(folder)).push(folder);
    return list;
  };
  let folder = '';
  let list = listOf('');
  for (const path of paths) {
    // Listings go through a folder from one end to the other: most paths lie where the one before does.
    const slash = path.lastIndexOf('/');
    if (slash !== folder.length || !path.startsWith(folder)) {
      folder = parentOf(path);
      list = listOf(folder);
    }
    list.push(path);
  }
  const sorted: string[] = [];
  const visit = (siblings: readonly string[]): void => {
    for (const path of siblings) {
      if (paths.has(path)) sorted.push(path);
      const inside = children.get(path);
      if (inside) visit(inside.sort());
    }
  };
  visit((children.get('') ?? []).sort());
  return sorted;
}

export interface KeyRules {
  /** Either drive takes `A` and `a` for the same name. */
  foldCase: boolean;
  /** Either drive takes composed and decomposed letters for the same name. */
  normalise: boolean;
}

/** Two paths with the same key cannot stand beside each other on both drives. */
export function pathKey(path: string, rules: KeyRules): string {
  let key = path;
  if (rules.normalise) key = key.normalize('NFC');
  // Down, up and down again: 'ẞ', 'ß' and 'SS' meet only after all three, and so does the Kelvin sign with 'k'.
  if (rules.foldCase) key = key.toLowerCase().toUpperCase().toLowerCase();
  return key;
}

/** Control, format (bidi, zero-width, tags) and separator characters, lone surrogates, letters without a shape. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029\u115f\u1160\u3164\uffa0]|\u034f/gu;

/** A path or label made safe for a terminal: control, bidi and zero-width characters become visible signs. */
export function displayPath(path: string): string {
  return path.replace(UNSAFE, (char) => {
    const code = char.codePointAt(0) ?? 0;
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    return code === 0x7f ? '␡' : '\ufffd';
  });
}

const WINDOWS_RESERVED = /^(con|conin\$|conout\$|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?$/i;

export interface NameRules {
  /** Family of the drive's filesystem as detect names it, e.g. `ext4`, `exfat`, `vfat`, `ntfs`. */
  filesystem: string;
  /** Longest name and the unit in which it is counted. */
  maxName: number;
  nameUnit: 'bytes' | 'utf16';
}

/** Why this drive cannot hold `name`, or undefined. Judged by filesystem type: drivers accept more than others can read. */
export function nameProblem(name: string, rules: NameRules): string | undefined {
  const length = rules.nameUnit === 'bytes' ? Buffer.byteLength(name) : name.length;
  if (length > rules.maxName) return `the name is ${length} ${rules.nameUnit} long, the drive takes ${rules.maxName}`;
  if (!isWindowsFamily(rules.filesystem)) return undefined;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: forbidden by these filesystems
  const forbidden = /[<>:"|?*\\\u0000-\u001f]/.exec(name);
  if (forbidden) return `${rules.filesystem} does not allow '${displayPath(forbidden[0])}' in a name`;
  if (/[. ]$/.test(name)) return `${rules.filesystem} does not allow a name that ends in a dot or a space`;
  if (WINDOWS_RESERVED.test(name)) return `'${displayPath(name)}' is a reserved name on ${rules.filesystem}`;
  return undefined;
}

export function isWindowsFamily(filesystem: string): boolean {
  return /^(exfat|vfat|fat|msdos|ntfs)/.test(filesystem);
}

/** Seconds since 1970. FAT and exFAT count years from 1980 to 2107. */
export function timeLimits(filesystem: string): [min: number, max: number] {
  if (!isWindowsFamily(filesystem) || filesystem.startsWith('ntfs'))
    return [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
  return [315_532_800, 4_354_819_198];
}
