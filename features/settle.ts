/**
 * Settles conflicts as one operation: looks at both drives as they are now, checks the choices against that, and runs the
 * steps of features/resolution.ts. With a merge, what the user's program made takes the place of both versions.
 */
import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { extname, join } from 'node:path';
import type { Context } from '../shared/context.ts';
import { messageOf, type Problem, TandemError } from '../shared/errors.ts';
import { type OpenConflict, readConflicts } from '../shared/inbox.ts';
import { Entry, factsOf, sameInode } from '../shared/listing.ts';
import { POLICY_TYPES, type Policy } from '../shared/options.ts';
import { displayPath, isInside, parentOf, type RelPath, relPath } from '../shared/paths.ts';
import { closeDriveRoot, openDriveRoot } from '../shared/store.ts';
import { statAt } from '../shared/syscalls.ts';
import type { Group, GroupOptions } from './groups.ts';
import { findPair, readBaseline } from './history.ts';
import { makePlan, type Plan, planOf } from './plan.ts';
import type { Action } from './reconcile.ts';
import { type Choice, type Keep, resolutionSteps } from './resolution.ts';
import { type Prepare, type RunFlags, runLocked, type Step, type SyncResult } from './run.ts';
import { type OpenPair, openPair, reversedPair, syncOptions } from './session.ts';
import { copyOut } from './storing.ts';
import { type Target, wholeOf } from './targets.ts';
import { lookAhead } from './travel.ts';

export interface Resolution extends RunFlags {
  /** What shall stand, by path. */
  keep: ReadonlyMap<string, Keep>;
}

/**
 * Settles conflicts as one operation. A path is refused when a side changed since the conflict was recorded; it waits on,
 * as it is now.
 * @throws TandemError `not_found` for a path that waits for nothing.
 */
export async function resolvePaths(target: Target, resolution: Resolution, ctx: Context): Promise<SyncResult> {
  const choose = await chooser(target.group, resolution, ctx);
  const settle: Prepare = async ({ pair }, running) => (await choose(pair, running)).steps;
  return runLocked(target, resolution, ctx, settle, 'resolve');
}

/** What `resolvePaths` would do; writes nothing. */
export async function planResolution({ group }: Target, resolution: Resolution, ctx: Context): Promise<Step[]> {
  const choose = await chooser(group, resolution, ctx);
  const pair = await openPair(group, ctx, true);
  try {
    await lookAhead(pair, ctx);
    return (await choose(pair, ctx)).steps;
  } finally {
    await pair.close();
  }
}

/**
 * Has a program of the user's put both versions together; what it leaves takes the place of both, as one operation.
 * @param program with `{master}`, `{backup}` and `{merged}` for three files; `{merged}` starts as the Master's.
 * @throws TandemError `failed` when the program ends with an error: then nothing is changed.
 */
export async function mergeConflict(
  target: Target,
  path: RelPath,
  program: readonly string[],
  flags: RunFlags,
  ctx: Context,
): Promise<SyncResult> {
  const keep = new Map<string, Keep>([[path, 'master']]);
  const choose = await chooser(target.group, { ...flags, keep }, ctx);
  const work = new MergeFolder(ctx);
  try {
    const settle: Prepare = async ({ pair }, running) => {
      const { base, steps, choices } = await choose(pair, running);
      const [choice] = choices;
      if (!choice) return steps;
      const action = await work.merge(pair, choice.conflict, program, running);
      const [look, ...rest] = steps as [Step, ...Step[]];
      const merged = planOf(base, [action], []);
      // The Backup gets what the Master has after the merge, whose facts are not known yet.
      const first = { plan: merged, strict: false, agrees: false, pair: work.pair };
      return [look, first, ...rest.map((step) => ({ ...step, strict: false, follows: true }))];
    };
    return await runLocked(target, flags, ctx, settle, 'resolve');
  } finally {
    await work.close();
  }
}

/** The steps of a sync whose conflicts are settled, as far as the group's policies say how; the others wait. */
export async function settleByPolicy(
  plan: Plan,
  policies: GroupOptions['conflict_policy'],
  pair: OpenPair,
  ctx: Context,
): Promise<Step[]> {
  const choices = plan.actions.flatMap((conflict): Choice[] => {
    const keep = conflict.kind === 'conflict' ? policyFor(conflict.conflict_type, policies) : 'ask';
    return keep === 'ask' ? [] : [{ conflict, keep }];
  });
  // A careful run overwrites nothing, whatever a policy says.
  if (choices.length === 0 || pair.careful !== null) return [{ plan, strict: false }];
  const pairId = await findPair(pair.masterUuid, pair.backupUuid, ctx);
  const rows = pairId === null ? [] : await readBaseline(pairId, plan.target.subpath, ctx);
  const { steps, problems } = resolutionSteps(plan, choices, rows, pair);
  const resolved = new Set(steps.flatMap(({ resolves }) => resolves));
  const actions = plan.actions.filter(({ kind, path }) => kind !== 'conflict' || !resolved.has(path));
  const totals = { ...plan.totals, conflict: plan.totals.conflict - resolved.size };
  const first = { ...plan, actions, totals, problems: [...plan.problems, ...problems] };
  return [{ plan: first, strict: false }, ...steps];
}

function policyFor(type: string | undefined, policies: GroupOptions['conflict_policy']): Policy {
  const known = POLICY_TYPES.find((one) => one === type);
  return known ? policies[known] : 'ask';
}

/** The number of the group's pair of drives, or null when they were never synced with each other here. */
export function pairOf(group: Group, ctx: Context): Promise<number | null> {
  return findPair(group.master_drive.drive_uuid ?? '', group.backup_drive.drive_uuid ?? '', ctx);
}

// --- internal ---

interface Chosen {
  base: Plan;
  choices: Choice[];
  steps: Step[];
}

/** Looks at both drives, checks the choices against what is there now, and makes the steps. */
async function chooser(
  group: Group,
  { keep, options = {} }: Resolution,
  ctx: Context,
): Promise<(pair: OpenPair, ctx: Context) => Promise<Chosen>> {
  const pairId = await pairOf(group, ctx);
  const inbox = pairId === null ? [] : await readConflicts(pairId, '', ctx);
  const waiting = new Map(inbox.map((one) => [one.path, one]));
  for (const path of keep.keys()) if (!waiting.has(path)) throw notWaiting(path, group);
  return async (pair, running) => {
    const subpath = commonFolder([...keep.keys()], pair);
    const base = await makePlan(pair, { ...wholeOf(group), subpath }, syncOptions(group, options), running);
    const open = base.actions.filter(({ kind }) => kind === 'conflict');
    const choices: Choice[] = [];
    const refused: Problem[] = [];
    for (const [path, side] of keep) {
      const conflict = open.find((one) => one.path === path);
      const changed = conflict && hasChanged(conflict, waiting.get(path));
      if (changed)
        refused.push({ path, message: 'changed since the conflict was recorded; look at it again, then decide' });
      else if (conflict) choices.push({ conflict, keep: side });
    }
    const rows = pairId === null ? [] : await readBaseline(pairId, subpath, running);
    const { steps, problems } = resolutionSteps(base, choices, rows, pair);
    const resolved = new Set(steps.flatMap(({ resolves }) => resolves));
    const left = open.filter(({ path }) => !resolved.has(path));
    // First what the look itself brought: conflicts that are new, that changed, or that have settled themselves.
    const look = { ...planOf(base, left, [...refused, ...problems]), settled: base.settled };
    return { base, choices, steps: [{ plan: look, strict: true }, ...steps] };
  };
}

/** A conflict that was found while a run carried its plan out has no facts: the look now is the first. */
function hasChanged(now: Action, recorded: OpenConflict | undefined): boolean {
  if (!recorded || (recorded.master_facts === null && recorded.backup_facts === null)) return false;
  if (now.master !== recorded.master_facts) return true;
  const { backup_facts: facts } = recorded;
  // What was done to another name of the file moved its ctime.
  const shared = now.backup_shared && now.backup !== null && facts !== null && sameInode(now.backup, facts);
  return now.backup !== facts && !shared;
}

/** The deepest folder that all these paths lie in, and that is on one of the drives. */
function commonFolder(paths: readonly string[], pair: OpenPair): RelPath {
  let folder: string = parentOf(paths[0] ?? '');
  const holdsAll = (): boolean => paths.every((path) => isInside(path, folder));
  const exists = (): boolean => [pair.master, pair.backup].some(({ dir }) => statAt(dir, folder)?.kind === 'd');
  while (folder !== '' && !(holdsAll() && exists())) folder = parentOf(folder);
  return relPath(folder);
}

function notWaiting(path: string, group: Group): TandemError {
  return new TandemError(
    'not_found',
    `'${displayPath(path)}' is no open conflict of group '${displayPath(group.name)}'.`,
    {
      hint: `\`tandem conflicts list ${displayPath(group.name)}\` shows what waits.`,
    },
  );
}

/** A folder of this computer in which a program puts two versions together. */
class MergeFolder {
  private readonly path: string;
  private opened: OpenPair | undefined;

  constructor(ctx: Context) {
    mkdirSync(ctx.dataDir, { recursive: true, mode: 0o700 });
    this.path = mkdtempSync(join(ctx.dataDir, 'merge-'));
  }

  /** From this folder to the Master. */
  get pair(): OpenPair {
    if (!this.opened) throw new Error('nothing was merged yet');
    return this.opened;
  }

  /** Runs the program; returns the action that brings what it made to the Master. */
  async merge(pair: OpenPair, conflict: Action, program: readonly string[], ctx: Context): Promise<Action> {
    const { path, master } = conflict;
    if (!master?.startsWith('f ') || !conflict.backup?.startsWith('f '))
      throw new TandemError(
        'invalid',
        `'${displayPath(path)}' is not a file on both sides, so there is nothing to merge.`,
        {
          hint: 'Choose a side with `tandem conflicts resolve`.',
        },
      );
    const names = { master: '', backup: '', merged: '' };
    for (const one of ['master', 'backup', 'merged'] as const) {
      names[one] = `${one}${extname(path)}`;
      const to = join(this.path, names[one]);
      if (one !== 'backup') copyFileSync(join(pair.master.dir.path, path), to);
      else await copyOut(pair, path, conflict.stored ?? '', to, ctx);
    }
    await this.run(program, names, ctx);
    const root = openDriveRoot(this.path, 'merge');
    const other = reversedPair(pair);
    this.opened = {
      ...other,
      master: root,
      masterTraits: pair.masterTraits,
      masterUuid: '',
      storedSide: null,
      close: async () => {
        await this.opened?.workers?.close();
        closeDriveRoot(root);
      },
    };
    const stat = statAt(root.dir, names.merged);
    if (stat?.kind !== 'f')
      throw new TandemError('failed', 'The merge program left no merged file.', { hint: 'Nothing was changed.' });
    const facts = factsOf(stat, pair.masterTraits.stable_ids);
    const { size } = new Entry(facts, path);
    return {
      kind: 'update',
      path,
      entry: 'f',
      size,
      reason: 'merged',
      master: facts,
      backup: master,
      source_path: names.merged,
    };
  }

  async close(): Promise<void> {
    await this.opened?.close();
    rmSync(this.path, { recursive: true, force: true });
  }

  private async run(program: readonly string[], names: Readonly<Record<string, string>>, ctx: Context): Promise<void> {
    const words = program.map((word) =>
      word.replace(/\{(master|backup|merged)\}/g, (_, one: string) => join(this.path, names[one] ?? '')),
    );
    const code = await new Promise<number>((done, fail) => {
      const child = spawn(words[0] ?? '', words.slice(1), { stdio: 'inherit', signal: ctx.signal });
      child.once('error', fail);
      child.once('close', (ended) => done(ended ?? 1));
    }).catch((error: unknown) => {
      throw new TandemError('failed', `The merge program cannot be run: ${messageOf(error)}.`, {
        hint: 'Check the command; nothing was changed.',
      });
    });
    if (code !== 0)
      throw new TandemError('failed', `The merge program ended with ${code}.`, { hint: 'Nothing was changed.' });
  }
}
