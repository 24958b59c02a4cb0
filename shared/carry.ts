/**
 * The baseline's way between the database and the drives: packs it into the files of a state, as a snapshot or as what
 * changed since the generation before, and takes a drive's state over into the database, all or nothing.
 */
import { createHash, randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { BASELINE_COLUMNS, dropRows, putRows, readBaseline } from './baseline.ts';
import type { Context } from './context.ts';
import { type Database, fieldsOf, type SqlValue, writePacked } from './db.ts';
import { explain, type Problem } from './errors.ts';
import { type BaselineRow, makeRow, type RowTuple, rowOfTuple, rowTuple } from './rows.ts';
import {
  createStateFile,
  type DriveState,
  endLine,
  readStateFiles,
  type StateFile,
  type StateHeader,
  type StateSink,
  writeState,
} from './state.ts';
import type { DriveRoot } from './store.ts';
import { recordedSuffix } from './stored.ts';

/** A pair as the database knows it. */
export interface KnownPair {
  id: number;
  /** The last generation that this computer carried to the drives or took over from them; empty: none. */
  generation: string;
}

/** What is noted on the drives beside the baseline. */
export type StateNotes = Omit<DriveState, 'tandem_state' | 'generation' | 'ancestors' | 'files'>;

/** A drive that carries the state, and the state of this pair that it holds now. */
export interface Carrier {
  root: DriveRoot;
  state: DriveState | null;
}

/** Null when these drives were never synced with each other here. Writes nothing. */
export async function knownPair(masterUuid: string, backupUuid: string, ctx: Context): Promise<KnownPair | null> {
  const db = await ctx.dbIfExists();
  const sql = 'SELECT id, generation FROM pairs WHERE master_uuid = ? AND backup_uuid = ?';
  return (await db?.get<KnownPair>(sql, [masterUuid, backupUuid])) ?? null;
}

/** Whether the database holds something of the pair that its generation on the drives does not. */
export async function hasChanges({ id, generation }: KnownPair, ctx: Context): Promise<boolean> {
  const db = await ctx.dbIfExists();
  const table = generation === '' ? 'file_sync_history' : 'state_changes';
  return (await db?.get(`SELECT 1 AS one FROM ${table} WHERE pair_id = ? LIMIT 1`, [id])) !== undefined;
}

/**
 * Replaces what the database holds of the pair by what the drive carries, conflicts included.
 * @throws Error in one sentence when the state cannot be used; the database is as it was then.
 */
export async function takeOver(pairId: number, groupId: string, from: Carrier, ctx: Context): Promise<void> {
  const { root, state } = from;
  if (!state) throw new Error('it carries none');
  const db = await ctx.db();
  await db.transaction(async () => {
    // Without a generation no change is noted: all of this is on the drive already.
    await db.run("UPDATE pairs SET generation = '', group_id = ? WHERE id = ?", [groupId, pairId]);
    for (const table of ['file_sync_history', 'conflicts', 'state_changes'])
      await db.run(`DELETE FROM ${table} WHERE pair_id = ?`, [pairId]);
    const dropConflicts = 'DELETE FROM conflicts WHERE pair_id = ?1 AND path IN (SELECT value FROM json_each(?2))';
    await readStateFiles(root.dir, state, {
      rows: (rows) => putRows(db, pairId, groupId, 'sync', rows, ctx),
      dropRows: (paths) => dropRows(db, pairId, paths),
      conflicts: (conflicts) => writePacked(db, PUT_CONFLICTS, [pairId, groupId], conflicts),
      dropConflicts: (paths) => writePacked(db, dropConflicts, [pairId], paths),
    });
    await db.run('UPDATE pairs SET generation = ? WHERE id = ?', [state.generation, pairId]);
  });
}

/** The rows that a drive carries, for a run that may not write. @throws Error as `takeOver` does. */
export async function carriedRows({ root, state }: Carrier): Promise<BaselineRow[]> {
  if (!state) throw new Error('it carries none');
  const rows = new Map<string, BaselineRow>();
  const sink: StateSink = {
    rows: async (tuples) => {
      for (const tuple of tuples) rows.set(tuple[0], rowOfTuple(tuple));
    },
    dropRows: async (paths) => {
      for (const path of paths) rows.delete(path);
    },
    conflicts: async () => {},
    dropConflicts: async () => {},
  };
  await readStateFiles(root.dir, state, sink);
  return [...rows.values()];
}

/**
 * Brings the drives to what the database holds of the pair, with `notes`. A drive at the generation before gets what
 * changed; any other, and one whose deltas outgrew a fifth of its snapshot, gets all.
 * @returns what could not be written; the drive keeps its former state then.
 */
export async function carryState(
  pair: KnownPair,
  carriers: readonly Carrier[],
  notes: StateNotes,
  ctx: Context,
): Promise<Problem[]> {
  const db = await ctx.db();
  const extent = await extentOf(db, pair);
  const known = pair.generation;
  const generation = known !== '' && extent.changes === 0 ? known : randomUUID();
  const header = {
    tandem_state: 1,
    generation,
    master_uuid: notes.master_uuid,
    backup_uuid: notes.backup_uuid,
  } as const;
  const shares = carriers.map((carrier) => ({ carrier, how: shareOf(carrier, known, generation, extent) }));
  const packed = new Map<Carrier, StateFile>();
  const problems: Problem[] = [];
  for (const kind of ['delta', 'snapshot'] as const) {
    const taking = shares.filter(({ how }) => how === kind).map(({ carrier }) => carrier);
    if (taking.length === 0) continue;
    const parent = kind === 'delta' ? known : '';
    await packInto(taking, { ...header, kind, parent }, linesOf(db, pair.id, kind, extent.mark), packed, problems);
  }
  const lineage = [known, ...carriers.flatMap(({ state }) => (state ? [state.generation, ...state.ancestors] : []))];
  const ancestors = [...new Set(lineage)].filter((one) => one !== '' && one !== generation);
  let carried = false;
  for (const { carrier, how } of shares) {
    const file = packed.get(carrier);
    if (how !== 'notes' && !file) continue;
    const before = how === 'snapshot' ? [] : (carrier.state?.files ?? []);
    const files = file ? [...before, file] : before;
    // A run that one drive may not have seen in full is not noted as ended on the other.
    const closed = problems.length > 0 ? (carrier.state?.closed ?? '') : notes.closed;
    const written = writeNotes(carrier, { ...notes, closed, tandem_state: 1, generation, ancestors, files });
    if (written) problems.push(written);
    else carried = true;
  }
  if (!carried) return problems;
  await db.transaction(async () => {
    await db.run('UPDATE pairs SET generation = ? WHERE id = ?', [generation, pair.id]);
    await db.run('DELETE FROM state_changes WHERE pair_id = ? AND id <= ?', [pair.id, extent.mark]);
  });
  return problems;
}

/** Makes the record of a pair that of `to`, whose Master is the other's Backup. All or nothing. */
export async function mirrorRecord(from: number | null, to: number, groupId: string, ctx: Context): Promise<void> {
  const rows = from === null ? [] : await readBaseline(from, '', ctx);
  const db = await ctx.db();
  await db.transaction(async () => {
    await db.run("UPDATE pairs SET generation = '' WHERE id = ?", [to]);
    for (const table of ['file_sync_history', 'conflicts', 'state_changes'])
      await db.run(`DELETE FROM ${table} WHERE pair_id = ?`, [to]);
    const mirrored = rows.map((row): RowTuple => {
      const { path, size, checksum, checksum_algorithm: algorithm, link_target: target, doubt } = row;
      const extras = { checksum, algorithm, target, stored: recordedSuffix(row) };
      return rowTuple({ ...makeRow(path, size, row.backup_facts, row.master_facts, extras), doubt });
    });
    await putRows(db, to, groupId, 'sync', mirrored, ctx);
  });
}

/** Notes alone, with the baseline that the drive carries already. Returns what went wrong. */
export function writeNotes({ root }: Carrier, state: DriveState): Problem | undefined {
  try {
    writeState(root.dir, state);
    return undefined;
  } catch (error) {
    return unwritten(root, error);
  }
}

// --- internal ---

const COMPACT_SHARE = 5;
const MOST_FILES = 64;
/** Rows; their text is what is held in memory at a time. */
const PAGE = 1000;
const compress = promisify(gzip);
/** Lines repeat the one before: a short window finds that as well, in half the time. */
const GZIP = { level: 1, windowBits: 12, memLevel: 9, chunkSize: 131_072 };
/** Pages that are compressed at the same time. */
const PAGES = 2;

const CONFLICT_FIELDS = ['path', 'conflict_type', 'reason', 'entry', 'master_facts', 'backup_facts', 'detected_at'];
const PUT_CONFLICTS = `INSERT INTO conflicts (pair_id, group_id, ${CONFLICT_FIELDS.join(', ')})
  SELECT ?1, ?2, ${fieldsOf(CONFLICT_FIELDS.length)} FROM jsonb_each(?3) WHERE true
  ON CONFLICT (pair_id, path) DO UPDATE SET
  ${CONFLICT_FIELDS.slice(1)
    .map((column) => `${column} = excluded.${column}`)
    .join(', ')}`;

interface Extent {
  rows: number;
  changes: number;
  /** Changes up to this number are packed; later ones wait for the next run. */
  mark: number;
}

async function extentOf(db: Database, { id }: KnownPair): Promise<Extent> {
  const sql = `SELECT (SELECT count(*) FROM file_sync_history WHERE pair_id = ?1) AS rows,
    count(*) AS changes, coalesce(max(id), 0) AS mark FROM state_changes WHERE pair_id = ?1`;
  return (await db.get<Extent>(sql, [id])) ?? { rows: 0, changes: 0, mark: 0 };
}

function shareOf(carrier: Carrier, known: string, generation: string, extent: Extent): StateHeader['kind'] | 'notes' {
  const { state } = carrier;
  if (!state || known === '' || state.generation !== known || state.files.length === 0) return 'snapshot';
  if (generation === known) return 'notes';
  const [snapshot, ...deltas] = state.files;
  const grown = deltas.reduce((total, { bytes }) => total + bytes, 0) * COMPACT_SHARE > (snapshot?.bytes ?? 0);
  const large = extent.changes * COMPACT_SHARE > extent.rows;
  return grown || large || state.files.length >= MOST_FILES ? 'snapshot' : 'delta';
}

/** The same bytes onto each drive; one that fails does not keep the other from getting them. */
async function packInto(
  carriers: readonly Carrier[],
  header: StateHeader,
  pages: AsyncIterable<string>,
  packed: Map<Carrier, StateFile>,
  problems: Problem[],
): Promise<void> {
  const name = `${header.kind}-${header.kind === 'delta' ? header.generation : randomUUID()}.ndjson.gz`;
  const open = new Map<Carrier, ReturnType<typeof createStateFile>>();
  const attempt = (carrier: Carrier, step: () => void): void => {
    try {
      step();
    } catch (error) {
      problems.push(unwritten(carrier.root, error));
      open.get(carrier)?.close();
      open.delete(carrier);
    }
  };
  for (const carrier of carriers) attempt(carrier, () => open.set(carrier, createStateFile(carrier.root.dir, name)));
  const hash = createHash('sha256');
  let bytes = 0;
  const parts: Promise<Buffer>[] = [];
  const write = async (text: string, most: number): Promise<void> => {
    const next = compress(text, GZIP);
    // Whoever stops early never asks how this one ended.
    next.catch(() => {});
    parts.push(next);
    while (parts.length > most) {
      const part = (await parts.shift()) as Buffer;
      bytes += part.length;
      for (const [carrier, file] of [...open]) attempt(carrier, () => file.write(part));
    }
  };
  try {
    let page = `${JSON.stringify(header)}\n`;
    for await (const more of ahead(pages)) {
      hash.update(page);
      await write(page, PAGES);
      page = more;
    }
    hash.update(page);
    await write(page + endLine(hash.digest('hex')), 0);
    for (const [carrier, file] of [...open]) {
      attempt(carrier, () => {
        file.keep();
        packed.set(carrier, { name, bytes });
      });
    }
  } finally {
    for (const file of open.values()) file.close();
  }
}

/** The same, and the next one is on its way while one is worked on. */
async function* ahead<T>(pages: AsyncIterable<T>): AsyncIterable<T> {
  const iterator = pages[Symbol.asyncIterator]();
  const fetch = (): Promise<IteratorResult<T>> => {
    const next = iterator.next();
    // Whoever stops early never asks how this one ended.
    next.catch(() => {});
    return next;
  };
  for (let next = fetch(); ; ) {
    const { done, value } = await next;
    if (done) return;
    next = fetch();
    yield value;
  }
}

/** NDJSON in pages, made by the database itself. */
async function* linesOf(db: Database, pairId: number, kind: StateHeader['kind'], mark: number): AsyncIterable<string> {
  const row = `json_array('r', ${BASELINE_COLUMNS.map((column) => `t.${column}`).join(', ')})`;
  const conflict = `json_array('c', ${CONFLICT_FIELDS.map((column) => `t.${column}`).join(', ')})`;
  for (const [tag, table, path, line] of [
    ['r', 'file_sync_history', 'relative_path', row],
    ['c', 'conflicts', 'path', conflict],
  ] as const) {
    const whole = `SELECT ${line} AS line, t.${path} AS path FROM ${table} AS t WHERE t.pair_id = ?1 AND t.${path} > ?2`;
    const changed = `SELECT iif(t.id IS NULL, json_array('${tag}-', s.path), ${line}) AS line, s.path AS path
      FROM state_changes AS s LEFT JOIN ${table} AS t ON t.pair_id = s.pair_id AND t.${path} = s.path
      WHERE s.pair_id = ?1 AND s.path > ?2 AND s.kind = '${tag}' AND s.id <= ?3`;
    const source = kind === 'snapshot' ? whole : changed;
    const sql = `SELECT group_concat(line, char(10)) AS lines, max(path) AS last
      FROM (${source} ORDER BY 2 LIMIT ${PAGE}) WHERE ?3 IS NOT NULL`;
    let last: SqlValue = '';
    for (;;) {
      const page: { lines: string | null; last: string | null } | undefined = await db.get(sql, [pairId, last, mark]);
      if (!page || page.lines === null || page.last === null) break;
      yield `${page.lines}\n`;
      last = page.last;
    }
  }
}

function unwritten(root: DriveRoot, error: unknown): Problem {
  const why = explain(error);
  return { path: '.tandem/state', message: `the state of '${root.label}' could not be written: ${why}` };
}
