/**
 * Plans that the dashboard reviews: files in a private folder of the data folder, made there by `sync plan --out` and run
 * by `sync apply`. The reader shows their rows and what is left of them without the unticked ones, by the very function that
 * `sync apply` uses, and writes down for it which paths those are.
 */
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Plan, type PlanTotals, withoutPaths } from '../../features/plan.ts';
import { readPlan } from '../../features/sync.ts';
import { fileStamp } from '../../shared/config.ts';
import type { Context } from '../../shared/context.ts';
import { Entry } from '../../shared/listing.ts';
import { isInside, parentOf, type RelPath } from '../../shared/paths.ts';
import type { Memory } from '../reads.ts';
import { type Choice, chosenRows, type FileRow, type Page, pageOf, type Seen } from '../rows.ts';

/** One step of ticking and unticking, in their order: everything, what a choice of rows shows, or one path. */
export type Tick = { on: boolean } & ({ of: 'all' } | { of: 'chosen'; choice: Choice } | { of: 'path'; path: string });

export interface PlanHead {
  target: string;
  /** ISO 8601, UTC. */
  created_at: string;
  careful: string | null;
  guards: Plan['guards'];
  problems: Plan['problems'];
  /** So many files cannot be copied. */
  failed: number;
  /** Of what is ticked. */
  totals: PlanTotals;
  /** Rows that are not done when it is applied. */
  left: number;
}

export interface PlanFiles extends Page {
  /** Null: it is not there, or not yet. */
  plan: PlanHead | null;
}

/** @param name of the file in the folder of plans. */
export async function planFiles(
  name: string,
  choice: Choice,
  ticks: readonly Tick[],
  page: number,
  memory: Memory,
): Promise<PlanFiles> {
  const known = knownPlan(planFile(name, memory.ctx), memory);
  if (!known) return { ...pageOf([], [], 0), plan: null };
  const { plan } = known;
  const { rows, totals } = ticked(known, ticks);
  const found = pageOf(rows, chosenRows(rows, choice), page);
  const { target, created_at, careful, guards, problems, failed } = plan;
  const head = {
    created_at,
    careful,
    guards,
    failed,
    totals,
    target: target.role ? `${target.name} (${target.role})` : target.name,
  };
  const left = rows.filter(({ state }) => state === 'left').length;
  return { ...found, plan: { ...head, problems: problems.slice(0, 100), left } };
}

export function planFolder({ dataDir }: Pick<Context, 'dataDir'>): string {
  return join(dataDir, 'plans');
}

/** Makes room for a plan; those that nobody took away go after a day. */
export function beginPlan(ctx: Context): void {
  const folder = planFolder(ctx);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const yesterday = ctx.now().getTime() - 86_400_000;
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    if (statSync(file).mtimeMs < yesterday) rmSync(file, { recursive: true, force: true });
  }
}

/** Writes the paths that are not ticked beside the plan, for `sync apply --skip-from`. */
export function writeLeft(name: string, ticks: readonly Tick[], memory: Memory): void {
  const known = knownPlan(planFile(name, memory.ctx), memory);
  if (!known) throw new Error('The plan is gone; make a new one.');
  writeFileSync(planFile(`${name}.left`, memory.ctx), `${leftPaths(known, ticks).join('\0')}\0`, { mode: 0o600 });
}

export function dropPlan(name: string, ctx: Context): void {
  for (const one of [name, `${name}.left`]) rmSync(planFile(one, ctx), { force: true });
}

// --- internal ---

interface Known {
  stamp: string;
  plan: Plan;
  rows: FileRow[];
  /** By the ticks: their result. */
  ticks: string;
  result: { rows: readonly FileRow[]; totals: PlanTotals } | undefined;
}

/** The plan that was looked at last. */
const KNOWN = new WeakMap<Memory, { file: string; known: Known }>();

function planFile(name: string, ctx: Pick<Context, 'dataDir'>): string {
  return join(planFolder(ctx), basename(name));
}

function knownPlan(file: string, memory: Memory): Known | undefined {
  const stamp = fileStamp(file);
  if (stamp === 'absent') return undefined;
  const last = KNOWN.get(memory);
  if (last?.file === file && last.known.stamp === stamp) return last.known;
  const plan = readPlan(file);
  const known: Known = { stamp, plan, rows: plan.actions.filter(isShown).map(toRow), ticks: '', result: undefined };
  KNOWN.set(memory, { file, known });
  return known;
}

/** What only brings records up to date is done in any case, as `sync plan` does not list it. */
function isShown({ kind }: Plan['actions'][number]): boolean {
  return kind !== 'adopt' && kind !== 'forget' && kind !== 'skip' && kind !== 'meta';
}

function toRow({
  kind,
  path,
  from,
  entry,
  size,
  reason,
  conflict_type: type,
  link_to,
  master,
  backup,
}: Plan['actions'][number]): FileRow {
  const row: FileRow = {
    path,
    action: link_to === undefined ? kind : 'link',
    entry,
    size: entry === 'd' ? 0 : size,
    state: 'ticked',
    message: type === undefined ? reason : `${type}: ${reason}`,
    master: seen(master),
    backup: seen(backup),
  };
  return from === undefined ? row : { ...row, from };
}

function seen(facts: string | null): Seen | null {
  if (facts === null) return null;
  const entry = new Entry(facts, '');
  return { size: entry.size, mtime: new Date(entry.mtimeMs).toISOString() };
}

function ticked(known: Known, ticks: readonly Tick[]): NonNullable<Known['result']> {
  const key = JSON.stringify(ticks);
  if (known.result && known.ticks === key) return known.result;
  const { plan, rows } = known;
  const kept = ticks.length === 0 ? plan : withoutPaths(plan, leftPaths(known, ticks));
  const paths = new Set(kept.actions.map(({ path }) => path));
  const result = {
    rows:
      ticks.length === 0 ? rows : rows.map((row) => (paths.has(row.path) ? row : { ...row, state: 'left' as const })),
    totals: kept.totals,
  };
  Object.assign(known, { ticks: key, result });
  return result;
}

/** Without those that lie in another one of them. */
function leftPaths({ rows }: Known, ticks: readonly Tick[]): RelPath[] {
  const left = new Set<string>();
  for (const tick of ticks) {
    if (tick.of === 'all') {
      left.clear();
      if (!tick.on) for (const { path } of rows) left.add(path);
      continue;
    }
    const meant =
      tick.of === 'path' ? rows.filter(({ path }) => isInside(path, tick.path)) : chosenRows(rows, tick.choice);
    for (const row of meant) {
      if (tick.on) free(row, left);
      else left.add(row.path);
    }
  }
  return [...left].filter((path) => !hasAbove(path, left)) as RelPath[];
}

/** Nothing of it is done while a folder above it, or above its former name, is left out. */
function free({ path, from }: FileRow, left: Set<string>): void {
  for (const name of from === undefined ? [path] : [path, from])
    for (let at: string = name; at !== ''; at = parentOf(at)) left.delete(at);
}

function hasAbove(path: string, left: ReadonlySet<string>): boolean {
  for (let at: string = parentOf(path); at !== ''; at = parentOf(at)) if (left.has(at)) return true;
  return false;
}
