/** What the reader tells of the files of an operation: those that its journal and, while it runs, its queue hold. */

import { getGroup } from '../../features/groups.ts';
import {
  type FileAction,
  getOperation,
  listOperations,
  type Operation,
  operationFilesFrom,
  partsOfOperation,
  targetOf,
} from '../../features/history.ts';
import { readQueue } from '../../features/queue.ts';
import { syncOptions } from '../../features/session.ts';
import type { Context } from '../../shared/context.ts';
import { movedFrom } from '../../shared/renames.ts';
import { splitStored } from '../../shared/stored.ts';
import { resultOf } from '../feed.ts';
import type { Memory, Running } from '../reads.ts';
import { type Choice, chosenRows, type FileRow, matcher, type Page, pageOf } from '../rows.ts';

export interface RunOf extends Running {
  /** As people call it. */
  target: string;
  /** What it came to so far. */
  result: string;
}

export interface RunFiles extends Page {
  /** Without its problems, of which the rows tell; null: nothing has run yet. */
  run: RunOf | null;
  /** What is being worked on, whatever the choice. */
  flight: FileRow[];
  /** What is deleted goes to the trash of its drive. */
  keeps: boolean;
}

/** @param query uuid of an operation; `auto`: the newest that runs, else the newest. */
export async function runFiles(query: string, choice: Choice, page: number, memory: Memory): Promise<RunFiles> {
  const { ctx } = memory;
  const operation = query === 'auto' ? await newest(ctx) : await getOperation(query, ctx);
  if (!operation) return { ...pageOf([], [], 0), run: null, flight: [], keeps: true };
  const store = storeOf(operation, memory);
  const rows = await store.read(operation, ctx);
  const flight = flightOf(operation, store);
  const chosen = withFlight(chosenRows(rows, choice), flight, choice);
  const found = pageOf(rows, chosen, page);
  const rates = memory.rates.get(operation.uuid) ?? [];
  const run = { ...operation, problems: [], rates, target: targetOf(operation), result: resultOf(operation) };
  return {
    ...found,
    rows: found.rows.map((row) => flight.get(row.path) ?? row),
    run,
    flight: [...flight.values()],
    keeps: keepsVersions(operation, ctx),
  };
}

// --- internal ---

async function newest(ctx: Context): Promise<Operation | undefined> {
  const [running] = await listOperations({ status: 'running', limit: 1 }, ctx);
  return running ?? (await listOperations({ whole: true, limit: 1 }, ctx))[0];
}

function keepsVersions({ group_id, target_kind }: Operation, ctx: Context): boolean {
  if (target_kind === 'folder') return true;
  try {
    return syncOptions(getGroup(group_id, ctx), {}).versions.enabled;
  } catch {
    return true;
  }
}

/** Files of the operations that were looked at last. */
const STORES = new WeakMap<Memory, Map<string, Store>>();
const KEPT = 3;

function storeOf({ uuid }: Operation, memory: Memory): Store {
  const stores = STORES.get(memory) ?? new Map<string, Store>();
  STORES.set(memory, stores);
  const store = stores.get(uuid) ?? new Store();
  stores.delete(uuid);
  stores.set(uuid, store);
  for (const old of stores.keys()) if (stores.size > KEPT) stores.delete(old);
  return store;
}

/** Grows with the journal: what is known already is not read again. */
class Store {
  rows: readonly FileRow[] = [];
  private readonly places = new Map<string, number>();
  /** By operation: number of the next action. An operation of several parts has the files of all of them. */
  private readonly next = new Map<number, number>();
  private queued = new Set<string>();
  private ended = false;
  private reading: Promise<readonly FileRow[]> | undefined;

  rowOf(path: string): FileRow | undefined {
    const place = this.places.get(path);
    return place === undefined ? undefined : this.rows[place];
  }

  /** Two questions at once are answered from one reading. */
  async read(operation: Operation, ctx: Context): Promise<readonly FileRow[]> {
    this.reading ??= this.update(operation, ctx).finally(() => {
      this.reading = undefined;
    });
    return this.reading;
  }

  private async update(operation: Operation, ctx: Context): Promise<readonly FileRow[]> {
    if (this.ended) return this.rows;
    const parts = operation.parts > 0 ? await partsOfOperation(operation, ctx) : [operation];
    const rows = [...this.rows];
    let changed = false;
    for (const part of parts) {
      if (part.status === 'running' && !this.queued.has(part.uuid))
        changed = this.addQueue(part.uuid, rows, ctx) || changed;
      const { files, next } = await operationFilesFrom(part.id, this.next.get(part.id) ?? 0, ctx);
      this.next.set(part.id, next);
      for (const file of files) this.add(rowFor(file), rows);
      changed ||= files.length > 0;
    }
    this.ended = operation.status !== 'running' && parts.every(({ status }) => status !== 'running');
    if (this.ended) this.rows = this.finished(rows, operation);
    else if (changed) this.rows = rows;
    return this.rows;
  }

  private addQueue(uuid: string, rows: FileRow[], ctx: Context): boolean {
    const queue = readQueue(uuid, ctx);
    if (queue.length === 0) return false;
    this.queued.add(uuid);
    for (const file of queue) if (!this.places.has(file.path)) this.add({ ...file, state: 'queued' }, rows);
    return true;
  }

  private add(row: FileRow, rows: FileRow[]): void {
    const place = this.places.get(row.path);
    const known = place === undefined ? undefined : rows[place];
    if (place !== undefined && known?.state === 'queued') {
      const { entry, size } = known;
      rows[place] = { ...row, entry, size: row.size || size };
      return;
    }
    this.places.set(row.path, rows.length);
    rows.push(row);
  }

  /** A run that was stopped left what is queued; one that ended needed no more of it. */
  private finished(rows: readonly FileRow[], { status, reason }: Operation): readonly FileRow[] {
    if (status === 'cancelled' || reason === 'interrupted')
      return rows.map((row) => (row.state === 'queued' ? { ...row, state: 'unfinished' } : row));
    return rows.filter(({ state }) => state !== 'queued');
  }
}

function rowFor(action: FileAction): FileRow {
  const { path, action: what, size, status, message } = action;
  const from = movedFrom(action);
  const row: FileRow = { path, action: what, entry: 'f', size, state: status };
  if (from !== undefined) return { ...row, from };
  return message === undefined ? row : { ...row, message };
}

/** What is being worked on, by its path. */
function flightOf({ status, progress }: Operation, store: Store): Map<string, FileRow> {
  const found = new Map<string, FileRow>();
  if (status !== 'running' || !progress) return found;
  progress.current.forEach((name, index) => {
    const row = store.rowOf(name) ?? store.rowOf(splitStored(name).path);
    if (row && row.state !== 'queued') return;
    const known = row ?? { path: name, action: progress.phase, entry: 'f', size: 0 };
    const done = progress.current_bytes?.[index];
    const share = done === undefined || known.size === 0 ? {} : { share: Math.min(1, done / known.size) };
    found.set(known.path, { ...known, state: 'flight', ...share });
  });
  return found;
}

/** In the order of the run what is being worked on comes first. */
function withFlight(
  chosen: readonly FileRow[],
  flight: ReadonlyMap<string, FileRow>,
  choice: Choice,
): readonly FileRow[] {
  if (flight.size === 0 || choice.sort !== undefined) return chosen;
  const first = [...flight.values()].filter(matcher(choice));
  return [...first, ...chosen.filter(({ path }) => !flight.has(path))];
}
