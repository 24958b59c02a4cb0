/**
 * What a run has before it, for whoever watches it from another process: the files of its plan, in a file beside the
 * database from when the run has taken longer than a moment until its end. What became of them is in the journal. Nothing
 * depends on it: a run that cannot write it goes on, and one that dies leaves it to the next that writes one.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { chunk } from '../shared/batches.ts';
import type { Context } from '../shared/context.ts';
import { listOperations } from './history.ts';
import type { Action } from './reconcile.ts';

export interface QueuedFile {
  action: string;
  entry: Action['entry'];
  /** Bytes. */
  size: number;
  path: string;
  /** Of a move: its name until then. */
  from?: string;
}

/**
 * Shows the files of these actions until the returned function is called.
 * @param after milliseconds; a run that ends sooner writes nothing.
 */
export function shareQueue(operation: string, actions: readonly Action[], ctx: Context, after = 500): () => void {
  const file = queueFile(operation, ctx);
  let ended = false;
  const timer = setTimeout(() => void write(file, actions, () => ended, ctx).catch(() => {}), after);
  return () => {
    ended = true;
    clearTimeout(timer);
    rmSync(file, { force: true });
  };
}

/** In the order of the plan; empty when the run shows none, or has ended. */
export function readQueue(operation: string, ctx: Context): QueuedFile[] {
  try {
    const lines = readFileSync(queueFile(operation, ctx), 'utf8').split('\n');
    return lines.flatMap((line) => (line === '' ? [] : (JSON.parse(line) as Row[]))).map(fromRow);
  } catch {
    return [];
  }
}

// --- internal ---

type Row = [action: string, entry: Action['entry'], size: number, path: string, from?: string];

/** What the journal says of others, if it does, it says when they are done. */
const SHOWN: readonly Action['kind'][] = ['move', 'copy', 'update', 'convert', 'meta', 'delete'];
const PART = 2000;

function queueFolder({ dataDir }: Pick<Context, 'dataDir'>): string {
  return join(dataDir, 'queues');
}

function queueFile(operation: string, ctx: Pick<Context, 'dataDir'>): string {
  return join(queueFolder(ctx), operation);
}

async function write(file: string, actions: readonly Action[], ended: () => boolean, ctx: Context): Promise<void> {
  const files = actions.filter(({ kind, entry }) => SHOWN.includes(kind) && !(kind === 'meta' && entry === 'd'));
  if (files.length === 0) return;
  await prepareFolder(ctx);
  const draft = `${file}.${process.pid}`;
  try {
    const handle = await open(draft, 'w', 0o600);
    try {
      for (const part of chunk(files, PART)) {
        if (ended()) return;
        await handle.write(`${JSON.stringify(part.map(toRow))}\n`);
      }
    } finally {
      await handle.close();
    }
    if (!ended()) renameSync(draft, file);
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Without what runs left that died. */
async function prepareFolder(ctx: Context): Promise<void> {
  const folder = queueFolder(ctx);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const running = await listOperations({ status: 'running', limit: 'all' }, ctx);
  for (const name of readdirSync(folder))
    if (!running.some(({ uuid }) => name.startsWith(uuid))) rmSync(join(folder, name), { force: true });
}

function toRow({ kind, entry, size, path, from, link_to, backup }: Action): Row {
  const action = link_to !== undefined ? 'link' : kind === 'copy' && backup !== null ? 'update' : kind;
  return from === undefined ? [action, entry, size, path] : [action, entry, size, path, from];
}

function fromRow([action, entry, size, path, from]: Row): QueuedFile {
  return { action, entry, size, path, ...(from === undefined ? {} : { from }) };
}
