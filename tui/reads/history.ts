/** The history as the dashboard lists it. */
import { getGroup } from '../../features/groups.ts';
import {
  getOperation,
  type HistoryFilter,
  listOperations,
  markInterrupted,
  type Operation,
  type OperationStatus,
  operationTargets,
  partsOfOperation,
  targetOf,
} from '../../features/history.ts';
import type { Context } from '../../shared/context.ts';
import { resultOf } from '../feed.ts';

export interface HistoryRow extends Operation {
  /** As people call it: with folder or role. */
  target: string;
  /** Null: the group is not known here any more. */
  group_name: string | null;
  /** What it did, in numbers. */
  result: string;
  /** All of them; `problems` holds the first. */
  problem_count: number;
}

export interface HistoryPage {
  rows: HistoryRow[];
  /** There are older ones. */
  more: boolean;
  /** Names to choose from, the latest first. */
  targets: string[];
}

/** Newest first; an operation of several parts is one row. */
export async function historyPage(limit: string, target: string, status: string, ctx: Context): Promise<HistoryPage> {
  await markInterrupted(ctx);
  const most = limit === 'all' ? 'all' : Number(limit);
  const filter: HistoryFilter = { whole: true, limit: most === 'all' ? most : most + 1 };
  if (target !== '') filter.target = target;
  if (status !== '') filter.status = status as OperationStatus;
  const found = await listOperations(filter, ctx);
  const shown = most === 'all' ? found : found.slice(0, most);
  const names = new Map<string, string | null>();
  return {
    rows: shown.map((operation) => rowOf(operation, names, ctx)),
    more: found.length > shown.length,
    targets: await operationTargets(ctx),
  };
}

/** The parts of an operation on several groups. */
export async function historyParts(uuid: string, ctx: Context): Promise<HistoryRow[]> {
  const names = new Map<string, string | null>();
  return (await partsOfOperation(await getOperation(uuid, ctx), ctx)).map((part) => rowOf(part, names, ctx));
}

// --- internal ---

const PROBLEMS = 20;

function rowOf(operation: Operation, names: Map<string, string | null>, ctx: Context): HistoryRow {
  const { group_id: id, problems } = operation;
  if (!names.has(id)) names.set(id, nameOf(id, ctx));
  const group_name = names.get(id) ?? null;
  return {
    ...operation,
    target: targetOf(operation),
    result: resultOf(operation),
    group_name,
    problems: problems.slice(0, PROBLEMS),
    problem_count: problems.length,
  };
}

function nameOf(id: string, ctx: Context): string | null {
  try {
    return getGroup(id, ctx).name;
  } catch {
    return null;
  }
}
