/**
 * YAML on disk: reading with line and column in every complaint, edits that keep the user's comments and order, atomic
 * writes, one editor at a time. The parser (`yaml`) and the checker (`zod`) take longer to load than most commands to
 * run, so they are loaded on first use only, and `readYaml` does without them for bytes that were checked before.
 */
import { isUtf8 } from 'node:buffer';
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import type * as Yaml from 'yaml';
import type { z as Zod, ZodType } from 'zod';
import { errnoOf, messageOf, TandemError } from './errors.ts';
import { isGone, type ProcessIdentity, thisProcess } from './machine.ts';

const require = createRequire(import.meta.url);
const yaml = (): typeof Yaml => require('yaml') as typeof Yaml;

/** For schemas that are built on first use. */
export const zod = (): typeof Zod => (require('zod') as { z: typeof Zod }).z;

/** Whether a field of this name holds a secret, or is a place where people put one: its value is never repeated. */
export function holdsSecret(key: string): boolean {
  return /pass(word|phrase|wd)|secret|token|(^|_)(key|pwd|pin|url)(_|$)/i.test(key);
}

/** The folder `config/` that is part of the program: defaults, presets, schema. */
export const PACKAGE_CONFIG = join(dirname(fileURLToPath(import.meta.url)), '..', 'config');

export interface YamlFile<T> {
  path: string;
  /** For edits: `document.setIn(…)`, then `saveYaml`. */
  document: Yaml.Document.Parsed;
  value: T;
  /** `mtime:size:inode` of what was read; `absent` when there was no file. */
  stamp: string;
}

/**
 * Reads and checks a YAML file. A missing file reads as an empty document.
 * @throws TandemError `config` with `file:line:column` for a syntax error or a value that the schema refuses.
 */
export function loadYaml<T>(path: string, schema: ZodType<T>): YamlFile<T> {
  const stamp = fileStamp(path);
  const bytes = stamp === 'absent' ? Buffer.alloc(0) : readFileSync(path);
  const text = bytes.toString('utf8');
  const lines = new (yaml().LineCounter)();
  const document = yaml().parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const broken = document.errors[0];
  const mend = 'Mend the line; tandem never overwrites a file that it cannot read.';
  if (broken) throw configError(path, lines, broken.pos[0], broken.message, mend);
  if (!isUtf8(bytes)) throw configError(path, lines, text.indexOf('\ufffd'), 'This is not valid UTF-8.', mend);
  const checked = schema.safeParse(toValue(path, document));
  if (!checked.success) throw refusedValue(path, lines, document, checked.error.issues[0]);
  return { path, document, value: checked.data, stamp };
}

export interface YamlSource<T> {
  path: string;
  /** Called only when the bytes are new. */
  schema: () => ZodType<T>;
  /** `import.meta.url` of the module that holds the schema: another version of the program checks anew. */
  module: string;
  /** The value of a missing file. */
  empty: T;
  /** Where checked values are remembered; without it every call parses. */
  cacheDir?: string | undefined;
}

/**
 * The value of a YAML file that is read at every start. A remembered value counts only for exactly the same bytes and
 * the same program; failing to remember one is no error.
 * @throws TandemError `config` as `loadYaml` does.
 */
export function readYaml<T>(source: YamlSource<T>): T {
  const { path } = source;
  const former = guardian && good.get(path);
  const bare = isBare(path);
  try {
    if (former && bare) throw new Error(`${path} is gone or empty.`);
    const value = readNow(source);
    if (broken.delete(path)) guardian?.(`${path} is in order again.`, false);
    if (!bare) good.set(path, { value });
    return value;
  } catch (error) {
    if (!former) throw error;
    const message = messageOf(error);
    if (broken.get(path) !== message)
      guardian?.(`${message.replace(/\.?$/, '.')} What it said before counts until it is mended.`, true);
    broken.set(path, message);
    return former.value as T;
  }
}

function readNow<T>({ path, schema, module, empty, cacheDir }: YamlSource<T>): T {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return empty;
    throw new TandemError('config', `${path} cannot be read: ${messageOf(error)}.`, {
      hint: 'Check its permissions.',
      cause: error,
    });
  }
  if (cacheDir === undefined) return loadYaml(path, schema()).value;
  return rememberedValue({ module, path, cacheDir }, bytes, () => {
    const { value, stamp } = loadYaml(path, schema());
    return { value, lasts: fileStamp(path) === stamp && readFileSync(path).equals(bytes) };
  });
}

/**
 * What `check` makes of these bytes, or made of exactly the same bytes before in the same program. Failing to remember it
 * is no error.
 * @param check `lasts` is false when the value may not be that of these bytes.
 */
export function rememberedValue<T>(
  { module, path, cacheDir }: { module: string; path: string; cacheDir: string },
  bytes: Buffer,
  check: () => { value: T; lasts: boolean },
): T {
  const program = `${module}:${fileStamp(fileURLToPath(module))}`;
  const key = createHash('sha256').update(`${program}\0`).update(bytes).digest('hex');
  const place = createHash('sha256').update(`${module}\0${path}`).digest('hex').slice(0, 16);
  const remembered = join(cacheDir, `yaml-${place}.json`);
  try {
    const cached = JSON.parse(readFileSync(remembered, 'utf8')) as { key: string; value: T };
    if (cached.key === key) return cached.value;
  } catch {
    // Absent or damaged: checked anew.
  }
  const { value, lasts } = check();
  try {
    if (lasts) writeFileAtomic(remembered, JSON.stringify({ key, value }));
  } catch {
    // A read-only data folder only costs time.
  }
  return value;
}

/** Identity of a file's content for caches: changes whenever the file is replaced or edited. */
export function fileStamp(path: string): string {
  try {
    const stat = statSync(path);
    return `${stat.mtimeMs}:${stat.size}:${stat.ino}`;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 'absent';
    throw error;
  }
}

/**
 * From now on a file that was read before and is broken, empty or gone is answered with what it said last; for a process
 * that goes on for days. `say` hears of it once, and once more when the file is in order again. Returns what ends this.
 */
export function keepLastGood(say: (message: string, broken: boolean) => void): () => void {
  guardian = say;
  return () => {
    guardian = undefined;
    broken.clear();
  };
}

/** Writes the document back, atomically, through a symlink and with the file's mode; refuses when the file changed since it was read. */
export function saveYaml(file: YamlFile<unknown>): void {
  if (fileStamp(file.path) !== file.stamp) {
    throw new TandemError('config', `${file.path} was changed by another program while tandem was editing it.`, {
      hint: 'Run the command again; nothing was written.',
    });
  }
  const text = file.document.toString({ lineWidth: 0 });
  if (file.stamp === 'absent') writeFileAtomic(file.path, text);
  else writeFileAtomic(realpathSync(file.path), text, statSync(file.path).mode & 0o777);
}

/**
 * Brings the file from its value to `after` by touching only what differs, so that comments, order and spelling of the
 * rest stay, and writes it. Rows of a list are told apart by their `id`, `name` or `label`. Nothing is written unless the edited text
 * reads back as exactly `after` (an anchor used in two places would not).
 */
export function saveYamlValue<T>(file: YamlFile<T>, after: T, schema: ZodType<T>): void {
  patch(file.document, [], file.value, after);
  const again = schema.safeParse(yaml().parse(file.document.toString({ lineWidth: 0 })));
  if (!again.success || !isDeepStrictEqual(again.data, after)) {
    throw new TandemError('config', `${file.path} cannot be edited by tandem without changing something else in it.`, {
      hint: 'Write out its anchors, aliases and tags, or make the change by hand; nothing was written.',
    });
  }
  saveYaml(file);
}

/**
 * Runs `work` while no other process that uses this lock edits `target`. A lock whose process is gone is broken.
 * @throws TandemError `locked` when it stays taken for `waitMs`.
 */
export async function withFileLock<R>(target: string, work: () => R | Promise<R>, waitMs = 10_000): Promise<R> {
  const path = `${target}.lock`;
  const mine = JSON.stringify({ ...thisProcess(), token: randomBytes(8).toString('hex') });
  const deadline = Date.now() + waitMs;
  mkdirSync(dirname(path), { recursive: true });
  while (!takeLock(path, mine)) {
    breakStaleLock(path);
    if (Date.now() > deadline) {
      throw new TandemError('locked', `${target} is being edited by another process.`, {
        hint: `Try again in a moment; if no tandem is running, remove ${path}.`,
      });
    }
    await sleep(5 + Math.random() * 20);
  }
  try {
    return await work();
  } finally {
    if (readLock(path)?.text === mine) rmSync(path, { force: true });
  }
}

/** Keeps a file of before there were versions beside the one that takes its place; never over a copy that is there. */
export function keepFormer(path: string): void {
  if (fileStamp(path) === 'absent') return;
  for (let number = 0; ; number += 1) {
    try {
      copyFileSync(path, `${path}.v0${number === 0 ? '' : `-${number}`}.bak`, constants.COPYFILE_EXCL);
      return;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw new Error(`${path} cannot be copied first: ${messageOf(error)}`);
    }
  }
}

/** Write beside, flush, rename, flush the folder. */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  const partial = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const fd = openSync(partial, 'wx', mode);
  try {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    fsyncSync(fd);
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
  renameSync(partial, path);
  syncFolder(dirname(path));
}

function syncFolder(path: string): void {
  try {
    const fd = openSync(path, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    // Windows and some FUSE drivers cannot flush a folder; the rename itself is still atomic there.
  }
}

/** Runs `work` unless another process that uses this lock does so now. @returns whether it did */
export function ifLockFree(target: string, work: () => void): boolean {
  const path = `${target}.lock`;
  const mine = JSON.stringify({ ...thisProcess(), token: randomBytes(8).toString('hex') });
  breakStaleLock(path);
  if (!takeLock(path, mine)) return false;
  try {
    work();
  } finally {
    if (readLock(path)?.text === mine) rmSync(path, { force: true });
  }
  return true;
}

// --- internal ---

/** By path, what a file said when it was read last, and what is wrong with it now. */
const good = new Map<string, { value: unknown }>();
const broken = new Map<string, string>();
let guardian: ((message: string, broken: boolean) => void) | undefined;

/** Editors empty a file, or take it away, in the moment before they write it. */
function isBare(path: string): boolean {
  try {
    return statSync(path).size === 0;
  } catch (error) {
    return errnoOf(error) === 'ENOENT';
  }
}

function takeLock(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'wx' });
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw new TandemError('config', `The lock ${path} cannot be made: ${messageOf(error)}.`, {
      hint: 'Check that the folder can be written.',
      cause: error,
    });
  }
}

function readLock(path: string): { text: string; age: number } | undefined {
  try {
    return { text: readFileSync(path, 'utf8'), age: Date.now() - statSync(path).mtimeMs };
  } catch {
    return undefined;
  }
}

/** An edit takes milliseconds: a minute-old lock belongs to a process that died, whatever now has its number. */
function isStaleLock(lock: { text: string; age: number }): boolean {
  if (lock.age > 60_000) return true;
  try {
    return isGone(JSON.parse(lock.text) as ProcessIdentity);
  } catch {
    return lock.age > 2000;
  }
}

/** Only the holder of the second lock may remove a stale first one: otherwise two waiters could remove a fresh one. */
function breakStaleLock(path: string): void {
  const seen = readLock(path);
  if (!seen || !isStaleLock(seen)) return;
  const guard = `${path}.break`;
  if (!takeLock(guard, '')) {
    if ((readLock(guard)?.age ?? 0) > 2000) rmSync(guard, { force: true });
    return;
  }
  try {
    if (readLock(path)?.text === seen.text) rmSync(path, { force: true });
  } finally {
    rmSync(guard, { force: true });
  }
}

type Keys = (string | number)[];
type Row = Record<string, unknown>;

const isRow = (value: unknown): value is Row => typeof value === 'object' && value !== null && !Array.isArray(value);

const hasNames = (list: unknown, field: string): list is Row[] =>
  Array.isArray(list) &&
  list.every((row) => isRow(row) && typeof row[field] === 'string') &&
  new Set(list.map((row: Row) => row[field])).size === list.length;

/** The field that tells the rows of both lists apart; undefined: none does, or what was there before has another order. */
function nameField(before: unknown, after: unknown): string | undefined {
  return ['id', 'name', 'label'].find((field) => {
    if (!hasNames(before, field) || !hasNames(after, field)) return false;
    const names = (list: readonly Row[]): unknown[] => list.map((row) => row[field]);
    const kept = names(before).filter((name) => names(after).includes(name));
    return isDeepStrictEqual(names(after).slice(0, kept.length), kept);
  });
}

function patch(document: Yaml.Document, at: Keys, before: unknown, after: unknown): void {
  if (isDeepStrictEqual(before, after)) return;
  const node = at.length === 0 ? document.contents : document.getIn(at, true);
  if (isRow(before) && isRow(after) && (yaml().isMap(node) || at.length === 0)) {
    for (const key of Object.keys(before))
      if (!(key in after) && document.hasIn([...at, key])) document.deleteIn([...at, key]);
    for (const key of Object.keys(after)) patch(document, [...at, key], before[key], after[key]);
    return;
  }
  const field = yaml().isSeq(node) && node.items.length > 0 ? nameField(before, after) : undefined;
  if (field !== undefined) {
    patchRows(document, at, field, before as Row[], after as Row[]);
  } else if (yaml().isScalar(node) && (typeof after !== 'object' || after === null)) {
    node.value = after;
  } else {
    document.setIn(at, quoted(document.createNode(after)));
  }
}

function patchRows(
  document: Yaml.Document,
  at: Keys,
  field: string,
  before: readonly Row[],
  after: readonly Row[],
): void {
  for (let index = before.length - 1; index >= 0; index -= 1) {
    const row = before[index] as Row;
    const next = after.find((other) => other[field] === row[field]);
    if (next) patch(document, [...at, index], row, next);
    else document.deleteIn([...at, index]);
  }
  const known = new Set(before.map((row) => row[field]));
  for (const row of after) if (!known.has(row[field])) document.addIn(at, quoted(document.createNode(row)));
}

/** Empty sections left out; text in quotes: readers of YAML 1.1 take an unquoted time, `no` or `012` for something else. */
function quoted(node: Yaml.Node): Yaml.Node {
  yaml().visit(node, {
    Pair: (_key, pair) => (yaml().isMap(pair.value) && pair.value.items.length === 0 ? yaml().visit.REMOVE : undefined),
    Scalar: (key, scalar) => {
      if (key !== 'key' && typeof scalar.value === 'string') scalar.type = 'QUOTE_DOUBLE';
    },
  });
  return node;
}

function toValue(path: string, document: Yaml.Document): unknown {
  try {
    return document.toJS() ?? {};
  } catch (error) {
    throw new TandemError('config', `${path}:1:1: ${messageOf(error)}.`, {
      hint: 'Write out its aliases.',
      cause: error,
    });
  }
}

interface Issue {
  code: string;
  message: string;
  path: readonly PropertyKey[];
  keys?: string[];
}

function refusedValue(
  path: string,
  lines: Yaml.LineCounter,
  document: Yaml.Document,
  issue: Issue | undefined,
): TandemError {
  const at = (issue?.path ?? []) as Keys;
  const value = document.getIn(at);
  const shown = yaml().isNode(value) ? value.toJSON() : value;
  const silent = value === undefined || yaml().isCollection(value) || holdsSecret(String(at.at(-1)));
  const current = silent ? '' : ` (current value: ${JSON.stringify(shown)})`;
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys?.[0] : undefined;
  const place = unknown === undefined ? at : [...at, unknown];
  const message = `${place.length > 0 ? `${place.join('.')}: ` : ''}${issue?.message ?? 'not valid'}${current}`;
  return configError(
    path,
    lines,
    offsetOf(document, place),
    message,
    'See docs/formats.md for the fields and their values.',
  );
}

function configError(
  path: string,
  lines: Yaml.LineCounter,
  offset: number,
  message: string,
  hint: string,
): TandemError {
  const { line, col } = lines.linePos(offset);
  return new TandemError('config', `${path}:${Math.max(1, line)}:${Math.max(1, col)}: ${message}`, { hint });
}

/** Offset of the node at `at`, or of its nearest ancestor that is there. */
function offsetOf(document: Yaml.Document, at: readonly (string | number)[]): number {
  for (let length = at.length; length >= 0; length -= 1) {
    const node = length === 0 ? document.contents : document.getIn(at.slice(0, length), true);
    if (yaml().isNode(node) && node.range) return node.range[0];
  }
  return 0;
}
