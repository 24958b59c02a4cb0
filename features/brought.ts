/**
 * The option `mhl`: what a run brought is added to the ASC MHL history of each drive, without reading anything again. The
 * checksums were taken while the files were copied or compared. A generation of a run lists what is new or renewed since
 * the history was written last, names renamed files with where they were, and says what was removed on purpose.
 */
import type { Context } from '../shared/context.ts';
import { type Hashers, hashersFor } from '../shared/digests.ts';
import { messageOf, type Problem } from '../shared/errors.ts';
import { FolderCache } from '../shared/folders.ts';
import { plural } from '../shared/format.ts';
import { Entry, type Side } from '../shared/listing.ts';
import type { DriveLock } from '../shared/lock.ts';
import { canBeListed, MHL_FORMATS, type MhlAction, type MhlFile, type MhlReference } from '../shared/mhl.ts';
import { pairsKnown } from '../shared/mhl-hashes.ts';
import { baseName, displayPath, isInside, joinPath, parentOf, type RelPath } from '../shared/paths.ts';
import { statAt } from '../shared/syscalls.ts';
import { addGeneration, CHAIN, FOLDER, type History, isIgnored, readHistory, referenceTo } from './generation.ts';
import { type BaselineRow, operationFiles, readBaseline } from './history.ts';
import type { Action } from './reconcile.ts';
import { assertSide, type OpenPair } from './session.ts';

export interface BroughtTask {
  pair: OpenPair;
  pairId: number;
  operationId: number;
  locks: readonly DriveLock[];
  /** Everything that the run meant to do, in the order in which it did it. */
  actions: readonly Action[];
}

/**
 * Adds a generation to the history of each drive that can be written, unless there is nothing to tell.
 * @returns what could not be told: of a whole manifest, or of files whose checksum was never taken. Never throws.
 */
export async function listBrought(task: BroughtTask, ctx: Context): Promise<Problem[]> {
  const problems: Problem[] = [];
  try {
    const known = await loadKnown(task, ctx);
    const stored = [...known.rows.values()].some(({ stored_name }) => stored_name !== '');
    for (const side of ['master', 'backup'] as const) {
      // Manifests list plain files: those of a Backup that compresses or seals them are the Master's.
      if (side === 'backup' && stored) continue;
      if (task.pair[`${side}Drive`].read_only) continue;
      try {
        const found = new Drive(task, side, known).write(ctx);
        if (found) problems.push(found);
      } catch (error) {
        problems.push(unwritten(side, error));
      }
    }
  } catch (error) {
    problems.push(unwritten('master', error), unwritten('backup', error));
  }
  // Both drives lack the same files nearly always.
  return problems.filter(({ message }, index) => problems.findIndex((one) => one.message === message) === index);
}

// --- internal ---

interface Known {
  rows: ReadonlyMap<string, BaselineRow>;
  /** xxh128 by the checksum that is recorded. */
  pairs: ReadonlyMap<string, string>;
  /** Paths whose content this run put in place. */
  copied: ReadonlySet<string>;
  /** Of files and folders, in the order in which they were made. */
  moves: readonly { path: string; from: string }[];
  /** Where something was, as far as the run's plan goes. */
  left: ReadonlySet<string>;
  hashers: Hashers;
}

async function loadKnown({ pairId, operationId, actions }: BroughtTask, ctx: Context): Promise<Known> {
  const rows = (await readBaseline(pairId, '', ctx)).filter(isFile);
  const done = (await operationFiles(operationId, ctx)).filter(({ status }) => status === 'done');
  const moved = new Set(done.filter(({ action }) => action === 'move').map(({ path }) => path));
  const moves = actions.flatMap(({ kind, path, from }) => {
    return kind === 'move' && from !== undefined && moved.has(path) ? [{ path, from }] : [];
  });
  const gone = actions.filter(({ kind, backup }) => {
    return kind === 'delete' || kind === 'forget' || (kind === 'update' && backup !== null);
  });
  return {
    rows: new Map(rows.map((row) => [row.path, row])),
    pairs: await pairsKnown(pairId, ctx),
    copied: new Set(done.filter(({ action }) => action === 'copy' || action === 'update').map(({ path }) => path)),
    moves,
    left: new Set([...gone.map(({ path }) => path), ...moves.map(({ from }) => from)]),
    hashers: await hashersFor(MHL_FORMATS),
  };
}

function isFile({ master_facts }: BaselineRow): boolean {
  return master_facts.startsWith('f');
}

function unwritten(side: Side, error: unknown): Problem {
  const name = side === 'master' ? 'Master' : 'Backup';
  return {
    path: FOLDER,
    message: `no manifest of this run was written on the ${name}: ${displayPath(messageOf(error))}; \`tandem verify manifest\` tells more`,
  };
}

/** One drive's history, and what it lacks. */
class Drive {
  private readonly task: BroughtTask;
  private readonly side: Side;
  private readonly known: Known;
  private readonly history: History;
  private readonly folders: FolderCache;
  private readonly files: MhlFile[] = [];
  private readonly references = new Map<string, MhlReference>();
  private readonly untold: string[] = [];
  /** Histories further down, by the folder that has them. */
  private readonly others = new Map<string, History | null>();

  constructor(task: BroughtTask, side: Side, known: Known) {
    this.task = task;
    this.side = side;
    this.known = known;
    this.folders = new FolderCache(task.pair[side].dir);
    this.history = readHistory(task.pair[side].dir, '' as RelPath, known.hashers);
  }

  /** @returns what is not told of; undefined: everything is. */
  write(ctx: Context): Problem | undefined {
    const { history, task, side } = this;
    const [trouble] = history.troubles;
    if (trouble) throw new Error(`nothing is added to a damaged history, ${trouble.path} ${trouble.message}`);
    let removed: string[];
    try {
      for (const row of this.known.rows.values()) this.look(row);
      removed = this.removed();
    } finally {
      this.folders.clear();
    }
    const references = [...this.references.values()];
    if (this.files.length + references.length + removed.length > 0) {
      const prove = (): void => {
        assertSide(task.pair[side], task.pair[`${side}Uuid`]);
        for (const lock of task.locks) lock.confirm();
      };
      const place = { root: task.pair[side], subpath: '' as RelPath, history, prove };
      const list = { files: this.files, complete: false, references, removed };
      const process = side === 'master' ? 'in-place' : 'transfer';
      addGeneration(place, list, process, this.known.hashers, ctx.now());
    }
    return this.lacking();
  }

  private lacking(): Problem | undefined {
    const { untold } = this;
    if (untold.length === 0) return undefined;
    const some = untold.slice(0, SHOWN).map((path) => displayPath(path));
    const more = untold.length > SHOWN ? ' …' : '';
    return {
      path: FOLDER,
      message: `${plural(untold.length, 'file')} without a hash in the manifest (${some.join(', ')}${more}); \`tandem verify manifest\` reads them`,
    };
  }

  private look(row: BaselineRow): void {
    const { path } = row;
    const { history, known } = this;
    const brought = known.copied.has(path);
    const expected = history.expected.has(path);
    const hash = row.checksum_algorithm === 'xxh128' ? row.checksum : (known.pairs.get(row.checksum) ?? '');
    const before = history.known.get(path);
    const same = before?.get('xxh128') === hash;
    const origin = this.origin(path);
    if (expected && !brought && origin === undefined && (hash === '' || same || !before?.has('xxh128'))) return;
    if (isIgnored(path)) return;
    if (!canBeListed(path)) {
      this.untold.push(path);
      return;
    }
    if (this.isElsewhere(path)) return;
    const carried = hash === '' && origin !== undefined && !brought ? history.known.get(origin) : undefined;
    if (hash === '' && !carried) {
      this.untold.push(path);
      return;
    }
    const facts = new Entry(row[`${this.side}_facts`], path);
    const renamed = origin !== undefined && history.expected.has(origin) && !this.folders.exists(origin);
    const action: MhlAction = expected && same ? 'verified' : 'original';
    const values = carried ? [...carried] : [['xxh128', hash] as const];
    this.files.push({
      path,
      size: facts.size,
      mtime: facts.mtimeMs,
      hashes: values.map(([format, value]) => ({ format, value, action })),
      ...(renamed ? { previousPath: origin } : {}),
      ...(brought ? {} : { undated: true }),
    });
  }

  /** Where what has this name now was before the run; undefined: it was not renamed. */
  private origin(path: string): string | undefined {
    let at = path;
    for (const { path: to, from } of this.known.moves.toReversed())
      if (isInside(at, to)) at = `${from}${at.slice(to.length)}`;
    return at === path ? undefined : at;
  }

  /** A history further down lists it: then that is referred to. */
  private isElsewhere(path: string): boolean {
    for (let at = parentOf(path); at !== ''; at = parentOf(at)) {
      const other = this.historyAt(at);
      if (!other || other.troubles.length > 0) continue;
      if (!other.expected.has(path.slice(at.length + 1))) return false;
      this.refer(at, other);
      return true;
    }
    return false;
  }

  private historyAt(folder: RelPath): History | null {
    const found = this.others.get(folder);
    if (found !== undefined) return found;
    const there = this.folders.exists(joinPath(joinPath(folder, FOLDER), CHAIN));
    const history = there ? readHistory(this.task.pair[this.side].dir, folder, this.known.hashers) : null;
    this.folders.trim();
    this.others.set(folder, history);
    return history;
  }

  /** Only to the topmost: it refers to those below it. */
  private refer(folder: RelPath, other: History): void {
    for (let at = parentOf(folder); at !== ''; at = parentOf(at)) if (this.historyAt(at)) return;
    const reference = referenceTo(folder, other);
    const before = this.history.references.get(folder);
    if (reference && (before?.path !== reference.path || before.c4 !== reference.c4))
      this.references.set(folder, reference);
  }

  /** What the history expects, the run took away, and is provably not there; a file that went otherwise stays missing. */
  private removed(): string[] {
    const { left, rows } = this.known;
    if (left.size === 0) return [];
    const renamed = new Set(this.files.flatMap(({ previousPath }) => previousPath ?? []));
    return [...this.history.expected, ...this.history.references.keys()].filter((path) => {
      if (rows.has(path) || renamed.has(path) || !isAtOrBelow(path, left)) return false;
      this.folders.trim();
      return !this.isThere(path, this.history.references.has(path) ? 'd' : 'f');
    });
  }

  private isThere(path: string, kind: 'f' | 'd'): boolean {
    if (!this.folders.exists(path)) return false;
    return statAt(this.folders.open(parentOf(path)), baseName(path))?.kind === kind;
  }
}

/** Paths named in a problem. */
const SHOWN = 3;

function isAtOrBelow(path: string, folders: ReadonlySet<string>): boolean {
  for (let at = path; at !== ''; at = parentOf(at)) if (folders.has(at)) return true;
  return false;
}
