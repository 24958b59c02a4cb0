/**
 * What a pair's drives carry of it: `.tandem/state/state.json` says which generation of the baseline a drive holds and
 * which run it saw last; beside it lie the generation's files, one snapshot and the deltas after it. What a drive brings
 * along is never trusted: a file that is torn, altered or of a newer version is a reason, not a crash.
 */
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, fstatSync, fsyncSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { errnoOf, messageOf, TandemError } from './errors.ts';
import { FolderCache } from './folders.ts';
import { RECORDED } from './hash.ts';
import { rowChecks } from './listing.ts';
import { readSmall } from './own-folder.ts';
import { relPath } from './paths.ts';
import type { RowTuple } from './rows.ts';
import { alwaysExcluded } from './scan.ts';
import { recordedSuffix, storedPath } from './stored.ts';
import { type Dir, OPEN_CREATE, OPEN_READ, openAt, renameOver, unlinkAt } from './syscalls.ts';

/** The group as another computer needs it to take it over. */
export interface CarriedGroup {
  id: string;
  name: string;
  description: string;
  created: string;
  options: object;
  master_drive: CarriedDrive;
  backup_drive: CarriedDrive;
}

export interface CarriedDrive {
  serial_number: string | null;
  label: string;
  total_size: number;
  drive_uuid?: string | undefined;
}

/** Content of `state.json`. Runs are named by their operation's UUID; an empty text means none. */
export interface DriveState {
  tandem_state: 1;
  master_uuid: string;
  backup_uuid: string;
  group: CarriedGroup;
  /** The last run that was going to write on both drives, the one before it, and when it began (ISO 8601). */
  open: string;
  before: string;
  opened_at: string;
  /** The last run that came to its end. */
  closed: string;
  /** Why runs are careful until one of the whole drive has completed. */
  doubt: string;
  /** Of the baseline; empty: none is carried yet. */
  generation: string;
  /** Newest first. */
  ancestors: string[];
  /** A snapshot and the deltas after it, in `state/`. */
  files: StateFile[];
}

export interface StateFile {
  name: string;
  /** Compressed. */
  bytes: number;
}

/** First line of a state file. */
export interface StateHeader {
  tandem_state: 1;
  kind: 'snapshot' | 'delta';
  generation: string;
  /** What a delta goes onto. */
  parent: string;
  master_uuid: string;
  backup_uuid: string;
}

/** An open conflict as it travels; facts as in a listing. */
export type ConflictTuple = [
  path: string,
  conflict_type: string,
  reason: string,
  entry: string,
  master_facts: string | null,
  backup_facts: string | null,
  detected_at: string,
];

/** Takes in a chain of files, in order; of a path named twice the later word counts. */
export interface StateSink {
  rows(rows: RowTuple[]): Promise<void>;
  conflicts(conflicts: ConflictTuple[]): Promise<void>;
  dropRows(paths: string[]): Promise<void>;
  dropConflicts(paths: string[]): Promise<void>;
}

/** How many ancestors are remembered: a computer that was away for longer compares carefully. */
const ANCESTORS = 256;
const FOLDER = '.tandem/state';
const STATE = 'state.json';

/**
 * The state that a drive carries; null when there is none.
 * @returns `problem`: one sentence why what is there cannot be used.
 */
export function readState(root: Dir): { state: DriveState | null; problem: string | null } {
  const folders = new FolderCache(root);
  try {
    const text = readSmall(openAt(folders.open(FOLDER), STATE, OPEN_READ));
    const document = JSON.parse(text) as unknown;
    const why = stateProblem(document);
    if (why !== undefined) return { state: null, problem: why };
    const { checksum: _, ...state } = document as DriveState & { checksum: string };
    return { state, problem: null };
  } catch (error) {
    if (isAbsent(root, error)) return { state: null, problem: null };
    const code = errnoOf(error);
    if (code !== undefined && code !== 'ELOOP' && code !== 'ENOTDIR') throw unreadable(code);
    return { state: null, problem: messageOf(error) };
  } finally {
    folders.clear();
  }
}

/** That something is not there is proved by the list of its folder: a drive that fails can say so of what is there. */
function isAbsent(root: Dir, error: unknown): boolean {
  if (errnoOf(error) !== 'ENOENT') return false;
  const names = (path: string): string[] => {
    try {
      return readdirSync(join(root.path, path));
    } catch (failure) {
      if (errnoOf(failure) === 'ENOENT') return [];
      throw unreadable(errnoOf(failure) ?? messageOf(failure));
    }
  };
  if (names('.tandem').includes('state') && names(FOLDER).includes(STATE)) throw unreadable('ENOENT');
  return true;
}

/** A drive that cannot be read proves nothing about its past: the run ends before it draws a conclusion. */
function unreadable(code: string): TandemError {
  return new TandemError('failed', `${FOLDER}/${STATE} on a drive of this group cannot be read (${code}).`, {
    hint: `Check the drive and repeat. If it stays so, remove the folder ${FOLDER} on it: the next run is then a careful one.`,
  });
}

/** Replaces `state.json` in one step; on the medium when this returns. Files that it does not name are removed. */
export function writeState(root: Dir, state: DriveState): void {
  const whole = { ...state, ancestors: state.ancestors.slice(0, ANCESTORS) };
  const bytes = Buffer.from(JSON.stringify({ ...whole, checksum: checksumOf(whole) }));
  const file = createStateFile(root, STATE);
  try {
    file.write(bytes);
    file.keep();
  } finally {
    file.close();
  }
  sweep(root, new Set([STATE, ...state.files.map(({ name }) => name)]));
}

/** A file of `state/` that gets its name once it is whole and on the medium. */
export function createStateFile(
  root: Dir,
  name: string,
): { write(bytes: Uint8Array): void; keep(): void; close(): void } {
  const folders = new FolderCache(root);
  const dir = folders.make(FOLDER);
  const partial = `${name}.partial`;
  let kept = false;
  let fd: number;
  try {
    try {
      unlinkAt(dir, partial);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
    fd = openAt(dir, partial, OPEN_CREATE, 0o600);
  } catch (error) {
    folders.clear();
    throw error;
  }
  return {
    write: (bytes) => {
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    },
    keep: () => {
      fsyncSync(fd);
      renameOver(dir, partial, dir, name);
      kept = true;
      // What `state.json` names has its name on the medium with it: they lie in one folder.
      if (name === STATE) fsyncSync(dir.fd);
    },
    close: () => {
      closeSync(fd);
      try {
        if (!kept) unlinkAt(dir, partial);
      } catch {
        // A drive that is gone keeps it; the next state written there removes it.
      }
      folders.clear();
    },
  };
}

/** The last line of a state file, given the checksum over all lines before it. */
export function endLine(sha256: string): string {
  return `{"end":true,"sha256":"${sha256}"}\n`;
}

/**
 * Reads the files of a drive's state into `sink`. Nothing of it counts before this returns: the sink has to be able to
 * take back what it got.
 * @throws Error in one sentence when a file is missing, torn, altered, of a newer version, or does not follow the one before.
 */
export async function readStateFiles(root: Dir, state: DriveState, sink: StateSink): Promise<void> {
  let parent = '';
  for (const [index, { name }] of state.files.entries()) {
    const head = await readStateFile(root, name, sink);
    const follows = index === 0 ? head.kind === 'snapshot' : head.kind === 'delta' && head.parent === parent;
    if (!follows || head.master_uuid !== state.master_uuid || head.backup_uuid !== state.backup_uuid)
      throw new Error(`its file ${name} does not follow the one before it`);
    parent = head.generation;
  }
  if (parent !== state.generation) throw new Error('its files end at another generation than it names');
}

// --- internal ---

const MAX_LINE = 1024 * 1024;
/** Lines of one file compress to a tenth, and equal ones not to a two-hundredth. */
const MAX_RATIO = 200;
const PAGE = 5000;

async function readStateFile(root: Dir, name: string, sink: StateSink): Promise<StateHeader> {
  const folders = new FolderCache(root);
  let fd: number;
  try {
    fd = openAt(folders.open(FOLDER), name, OPEN_READ);
  } catch (error) {
    throw new Error(`its file ${name} cannot be opened (${errnoOf(error) ?? messageOf(error)})`);
  } finally {
    folders.clear();
  }
  const stat = fstatSync(fd);
  if (!stat.isFile()) {
    closeSync(fd);
    throw new Error(`its file ${name} is no plain file`);
  }
  const lines = new Lines(name, sink);
  const source = createReadStream('', { fd, highWaterMark: 262_144 });
  const plain = source.pipe(createGunzip({ chunkSize: 262_144 }));
  source.on('error', (error) => plain.destroy(error));
  let length = 0;
  try {
    for await (const chunk of plain as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > stat.size * MAX_RATIO + MAX_LINE) throw new Error(`its file ${name} unpacks to an absurd size`);
      await lines.take(chunk);
    }
    return await lines.end();
  } catch (error) {
    const code = errnoOf(error);
    throw code === undefined ? error : new Error(`its file ${name} cannot be read (${code})`);
  } finally {
    source.destroy();
    plain.destroy();
  }
}

/** Takes a file in chunk by chunk and hands on what its lines say, some thousand at a time. */
class Lines {
  private readonly name: string;
  private readonly sink: StateSink;
  private readonly hash = createHash('sha256');
  private rest: Buffer = Buffer.alloc(0);
  private header: StateHeader | undefined;
  private sealed = false;
  private tag: Tag = 'r';
  private batch: unknown[] = [];

  constructor(name: string, sink: StateSink) {
    this.name = name;
    this.sink = sink;
  }

  async take(chunk: Buffer): Promise<void> {
    if (this.sealed) throw this.damaged('something follows its end');
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const cut = bytes.lastIndexOf(0x0a) + 1;
    this.rest = bytes.subarray(cut);
    if (this.rest.length > MAX_LINE) throw this.damaged('one of its lines is absurdly long');
    let at = 0;
    while (at < cut) {
      const end = bytes.indexOf(0x0a, at) + 1;
      const line = bytes.subarray(at, end);
      if (this.sealed) throw this.damaged('something follows its end');
      if (line[0] === 0x7b && this.header) this.seal(parsed(line));
      else {
        this.hash.update(line);
        await this.line(parsed(line));
      }
      at = end;
    }
  }

  async end(): Promise<StateHeader> {
    if (!this.header || !this.sealed || this.rest.length > 0) throw this.damaged('it is cut short');
    await this.flush();
    return this.header;
  }

  private async line(value: unknown): Promise<void> {
    if (!this.header) {
      this.header = this.headerOf(value);
      return;
    }
    const tag = Array.isArray(value) ? (value[0] as Tag) : undefined;
    if (tag === undefined || !TAGS.includes(tag)) throw this.damaged('one of its lines is of no known kind');
    const [, ...fields] = value as unknown[];
    const item = tag === 'r' ? rowOf(fields) : tag === 'c' ? conflictOf(fields) : pathOf(fields[0]);
    if (item === undefined) throw this.damaged('one of its lines holds what no baseline holds');
    if (tag !== this.tag || this.batch.length >= PAGE) await this.flush();
    this.tag = tag;
    this.batch.push(item);
  }

  private async flush(): Promise<void> {
    const batch = this.batch;
    this.batch = [];
    if (batch.length === 0) return;
    switch (this.tag) {
      case 'r':
        return this.sink.rows(batch as RowTuple[]);
      case 'c':
        return this.sink.conflicts(batch as ConflictTuple[]);
      case 'r-':
        return this.sink.dropRows(batch as string[]);
      case 'c-':
        return this.sink.dropConflicts(batch as string[]);
      default:
        return this.tag satisfies never;
    }
  }

  private seal(value: unknown): void {
    const { end, sha256 } = (value ?? {}) as Record<string, unknown>;
    if (end !== true || sha256 !== this.hash.digest('hex')) throw this.damaged('its checksum is wrong');
    this.sealed = true;
  }

  private headerOf(value: unknown): StateHeader {
    const head = (value ?? {}) as StateHeader;
    if (head.tandem_state !== 1) throw this.damaged(`it is of version ${JSON.stringify(head.tandem_state)}, not 1`);
    const { kind, generation, parent, master_uuid, backup_uuid } = head;
    const texts = [generation, parent, master_uuid, backup_uuid].every((text) => typeof text === 'string');
    if (!texts || (kind !== 'snapshot' && kind !== 'delta')) throw this.damaged('its first line is no header');
    return head;
  }

  private damaged(why: string): Error {
    return new Error(`its file ${this.name} cannot be used: ${why}`);
  }
}

const TAGS = ['r', 'c', 'r-', 'c-'] as const;
type Tag = (typeof TAGS)[number];

function parsed(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString('utf8'));
  } catch {
    return undefined;
  }
}

const FACTS = /^[fdlo] \d+ -?\d+\.\d{10} (-|-?\d+\.\d{10}) (-|\d+) [0-7]+ \d+ \d+$/;
const isFacts = (value: unknown): boolean => typeof value === 'string' && (value === '' || FACTS.test(value));
const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= 65_536;
/** As texts of a database are; half of a surrogate pair would come back as another name. */
const isStorable = (value: unknown): boolean => isText(value) && !/[\0\p{Surrogate}]/u.test(value);

/** The checks are not taken from the drive: their sums decide whether anything is looked at. */
function rowOf(fields: unknown[]): RowTuple | undefined {
  const [path, size, , , doubt, checksum, algorithm, master, backup, link, stored] = fields as RowTuple;
  const good =
    pathOf(path) !== undefined &&
    Number.isSafeInteger(size) &&
    size >= 0 &&
    ['', 'pending', 'racy', 'unequal'].includes(doubt) &&
    isText(checksum) &&
    /^[0-9a-f]*$/.test(checksum) &&
    (algorithm === '' || (RECORDED as readonly unknown[]).includes(algorithm)) &&
    isFacts(master) &&
    isFacts(backup) &&
    isStorable(link) &&
    (stored === '' || recordedSuffix({ path, stored_name: stored }) !== '');
  if (!good) return undefined;
  const { a, b } = rowChecks(path, link, master, backup, storedPath(path, stored));
  return [path, size, a, b, doubt, checksum, algorithm, master, backup, link, stored];
}

function conflictOf(fields: unknown[]): ConflictTuple | undefined {
  const [path, type, reason, entry, master, backup, at] = fields as ConflictTuple;
  const good =
    pathOf(path) !== undefined &&
    isText(type) &&
    /^[a-z_]{1,40}$/.test(type) &&
    isStorable(reason) &&
    ['f', 'd', 'l'].includes(entry) &&
    (master === null || isFacts(master)) &&
    (backup === null || isFacts(backup)) &&
    isText(at) &&
    !Number.isNaN(Date.parse(at));
  return good ? [path, type, reason, entry, master, backup, at] : undefined;
}

/** A path that a run can ever have recorded. */
function pathOf(value: unknown): string | undefined {
  try {
    return isText(value) && value !== '' && isStorable(value) && relPath(value) === value && !alwaysExcluded(value)
      ? value
      : undefined;
  } catch {
    return undefined;
  }
}

const FILE_NAME = /^(snapshot|delta)-[0-9a-f-]{36}\.ndjson\.gz$/;

function stateProblem(value: unknown): string | undefined {
  const state = (value ?? {}) as DriveState & { checksum?: unknown };
  if (state.tandem_state !== 1)
    return `it was written by a newer version, or by none (tandem_state is ${JSON.stringify(state.tandem_state)}, this version reads 1)`;
  const { checksum, ...rest } = state;
  if (checksum !== checksumOf(rest)) return 'its checksum is wrong';
  const texts: unknown[] = [
    ...[state.master_uuid, state.backup_uuid, state.open, state.before, state.opened_at, state.closed, state.doubt],
    ...[state.generation, state.group?.id, state.group?.name, state.group?.description],
  ];
  const files = Array.isArray(state.files) && state.files.every(isStateFile);
  const line = Array.isArray(state.ancestors) && state.ancestors.every(isText);
  return files && line && texts.every(isText) ? undefined : 'a field is missing or has no valid value';
}

function isStateFile(value: unknown): boolean {
  const { name, bytes } = (value ?? {}) as StateFile;
  return isText(name) && FILE_NAME.test(name) && Number.isSafeInteger(bytes) && bytes >= 0;
}

function checksumOf(state: object): string {
  return createHash('sha256').update(JSON.stringify(state)).digest('hex');
}

/** Removes what an earlier state left; what is not a file of ours stays. */
function sweep(root: Dir, keep: ReadonlySet<string>): void {
  const folders = new FolderCache(root);
  try {
    const dir = folders.open(FOLDER);
    for (const name of readdirSync(dir.path)) {
      if (keep.has(name) || !(FILE_NAME.test(name.replace(/\.partial$/, '')) || name === `${STATE}.partial`)) continue;
      unlinkAt(dir, name);
    }
  } catch {
    // They only take up space; the next state written there tries again.
  } finally {
    folders.clear();
  }
}
