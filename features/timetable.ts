/**
 * The schedules of this computer, as they are kept in its database: what is to run, when, what was accounted for, what
 * is owed, who runs it and how the last run ended. Whoever carries one out claims it here first, with one statement, so
 * that two processes never run it both. The times lie in shared/clock-times.ts, the running in scheduler.ts.
 */
import { checkTrigger, dueSince, nextRun, shortDuration, type Trigger } from '../shared/clock-times.ts';
import type { Context } from '../shared/context.ts';
import type { Row, SqlValue } from '../shared/db.ts';
import { messageOf, TandemError } from '../shared/errors.ts';
import { closest } from '../shared/format.ts';
import { isGone, isThisProcess, type ProcessIdentity, readProcess, thisProcess } from '../shared/machine.ts';
import { quote } from '../shared/named.ts';
import { displayPath } from '../shared/paths.ts';
import { readProjects } from '../shared/projects-file.ts';
import { gatherProjects } from './catalog.ts';
import { listGroups } from './groups.ts';
import { type Target, targetsOf } from './targets.ts';

/** `schedule list --json`. Times are ISO 8601, UTC. */
export interface Schedule {
  schedule_id: string;
  /** Name of the group or project. */
  target: string;
  target_id: string;
  target_kind: 'group' | 'project';
  /** Only this part of a project; `''`: all of them. */
  role: string;
  /** Only this folder; `''`: all of it. */
  path: string;
  trigger: Trigger['kind'];
  /** `30m`, `0 2 * * *`, or what has to be there before a connected pair counts: `10s`. */
  expression: string;
  /** Of a cron expression; `''`: that of the computer. */
  zone: string;
  job: 'sync' | 'verify';
  /** Percent of the bytes that a verification reads; null: everything. */
  sample: number | null;
  /** A sync reads back what it copied, and with `sample` it verifies that share afterwards. */
  verify: boolean;
  /** Which drives are unmounted after a run that went well. */
  eject: '' | 'backup' | 'both';
  /** What becomes of runs that were missed while the computer slept or was off: one of them, or none. */
  missed: 'run' | 'skip';
  enabled: boolean;
  created: string;
  /** Null while it is paused, and where plugging in starts it. */
  next_run: string | null;
  /** Since when a run is owed; it waits, or goes on at this moment. */
  due: string | null;
  /** Why a run that is owed does not go on, or why none ever will. */
  waiting: string | null;
  last_run: string | null;
  last_status: 'running' | 'completed' | 'failed' | 'cancelled' | null;
  last_message: string | null;
  /** Id of the operation. */
  last_operation: string | null;
}

/** A row with what only the scheduler needs. */
export interface Entry extends Schedule {
  when: Trigger;
  covered: Date;
  /** The process that carries it out. */
  runner: ProcessIdentity | null;
}

export interface NewSchedule {
  schedule_id: string;
  /** Group or project, by name or id. */
  target: string;
  role?: string | undefined;
  path?: string | undefined;
  when: Trigger;
  job?: Schedule['job'] | undefined;
  sample?: number | undefined;
  verify?: boolean | undefined;
  eject?: Schedule['eject'] | undefined;
  missed?: Schedule['missed'] | undefined;
  /** Off until it is resumed. */
  paused?: boolean | undefined;
}

/** How a run ended. */
export interface Ending {
  status: 'completed' | 'failed' | 'cancelled';
  message: string;
  operation: string | null;
}

/**
 * @param replace a schedule of this id gives way to it; what is owed to it and how its last run ended stay.
 * @throws TandemError `invalid` for an id that is taken or cannot be one, `usage` for times that cannot be, `not_found` for
 * a target that is not known, or when there is nothing to replace.
 */
export async function addSchedule(input: NewSchedule, ctx: Context, replace = false): Promise<Schedule> {
  const { schedule_id: id, paused = false } = input;
  const former = replace ? await getSchedule(id, ctx) : undefined;
  const enabled = !paused;
  const definition = await definitionOf(input, ctx);
  const now = ctx.now();
  const times = {
    covered: now.toISOString(),
    next_run: enabled ? (nextRun(input.when, now)?.toISOString() ?? null) : null,
    due: null,
    waiting: null,
    enabled: enabled ? 1 : 0,
  };
  const db = await ctx.db();
  if (former) {
    // What is owed stays owed, unless it is owed to other times.
    const row = hasTimes(former, definition) && former.enabled === enabled ? definition : { ...definition, ...times };
    const sql = `UPDATE schedules SET ${Object.keys(row)
      .map((name) => `${name} = ?`)
      .join(', ')} WHERE schedule_id = ?`;
    await db.run(sql, [...Object.values(row), id]);
    return getSchedule(id, ctx);
  }
  const whole = { schedule_id: id, ...definition, ...times, created: now.toISOString() };
  const names = Object.keys(whole);
  const sql = `INSERT INTO schedules (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})
    ON CONFLICT (schedule_id) DO NOTHING`;
  const { changes } = await db.run(sql, Object.values(whole));
  if (changes === 0)
    throw new TandemError('invalid', `A schedule is already called ${quote(id)}.`, {
      hint: 'Take another id, or give --replace as well to have it changed.',
    });
  return getSchedule(id, ctx);
}

/** By the time of their next run; those without one last. */
export async function listSchedules(ctx: Context): Promise<Schedule[]> {
  const entries = await readEntries(ctx);
  const gone = goneTargets(ctx);
  return entries.map((entry) => {
    const { when: _when, covered: _covered, runner: _runner, ...schedule } = entry;
    return { ...schedule, waiting: gone(schedule) ?? schedule.waiting };
  });
}

/** @throws TandemError `not_found` with a guess. */
export async function getSchedule(id: string, ctx: Context): Promise<Schedule> {
  const all = await listSchedules(ctx);
  const found = all.find(({ schedule_id }) => schedule_id === id);
  if (found) return found;
  throw noSuchSchedule(
    id,
    all.map(({ schedule_id }) => schedule_id),
  );
}

/** What is owed is given up, and no run is missed until it is resumed. A run that goes on ends as it would. */
export async function pauseSchedule(id: string, ctx: Context): Promise<Schedule> {
  await getSchedule(id, ctx);
  const sql = 'UPDATE schedules SET enabled = 0, due = NULL, waiting = NULL, next_run = NULL WHERE schedule_id = ?';
  await (await ctx.db()).run(sql, [id]);
  return getSchedule(id, ctx);
}

/** Runs again from now on; what would have run meanwhile is not missed. */
export async function resumeSchedule(id: string, ctx: Context): Promise<Schedule> {
  const { enabled } = await getSchedule(id, ctx);
  const entry = (await readEntries(ctx)).find(({ schedule_id }) => schedule_id === id);
  if (enabled || !entry) return getSchedule(id, ctx);
  const now = ctx.now();
  const next = nextRun(entry.when, now)?.toISOString() ?? null;
  const sql = 'UPDATE schedules SET enabled = 1, covered = ?, next_run = ?, due = NULL WHERE schedule_id = ?';
  await (await ctx.db()).run(sql, [now.toISOString(), next, id]);
  return getSchedule(id, ctx);
}

/** A run that goes on ends as it would; the history keeps what ran. */
export async function removeSchedule(id: string, ctx: Context): Promise<Schedule> {
  const schedule = await getSchedule(id, ctx);
  await (await ctx.db()).run('DELETE FROM schedules WHERE schedule_id = ?', [id]);
  return schedule;
}

// What the scheduler asks and writes.

/** All of them, the next ones first. */
export async function readEntries(ctx: Context): Promise<Entry[]> {
  const db = await ctx.dbIfExists();
  const rows = await db?.all('SELECT * FROM schedules ORDER BY next_run IS NULL, next_run, schedule_id');
  return (rows ?? []).map(entryOf);
}

/** Differs as soon as anything in the database changed, by this process or another. */
export async function changeMark(ctx: Context): Promise<string> {
  const db = await ctx.dbIfExists();
  const sql = 'SELECT total_changes() AS own, (SELECT data_version FROM pragma_data_version) AS others';
  return JSON.stringify((await db?.get(sql)) ?? null);
}

/** The folders that it works on now. @throws TandemError `not_found` or `invalid` when the target is not known any more. */
export async function targetsOfEntry(entry: Schedule, ctx: Context): Promise<Target[]> {
  const why = goneTargets(ctx)(entry);
  if (why !== undefined) throw new TandemError('not_found', why, { hint: removeHint(entry) });
  return targetsOf(entry.target_id, choiceOf(entry), ctx);
}

export function choiceOf({ role, path }: Schedule): { role?: string; path?: string } {
  return { ...(role === '' ? {} : { role }), ...(path === '' ? {} : { path }) };
}

/**
 * Notes that runs came due, up to now, as one that is owed; with the policy `skip`, missed ones as none.
 * @returns the entry as it is now, or undefined when nothing is due, or another process has noted it.
 */
export async function noteDue(entry: Entry, ctx: Context): Promise<Entry | undefined> {
  const { first, recent, covered, next } = dueSince(entry.when, entry.covered, ctx.now());
  const reset = covered < entry.covered;
  if (first === null && !reset) return undefined;
  const owed = first !== null && (recent || entry.missed === 'run');
  const due = owed ? (entry.due ?? first.toISOString()) : entry.due;
  const next_run = next?.toISOString() ?? null;
  const sql = `UPDATE schedules SET covered = ?, next_run = ?, due = ?
    WHERE schedule_id = ? AND enabled = 1 AND covered = ?`;
  const params = [covered.toISOString(), next_run, due, entry.schedule_id, entry.covered.toISOString()];
  const { changes } = await (await ctx.db()).run(sql, params);
  return changes === 1 && owed ? { ...entry, covered, next_run, due } : undefined;
}

/** A run is owed from now on, whatever the clock says. */
export async function noteOwed(id: string, ctx: Context): Promise<boolean> {
  const sql = 'UPDATE schedules SET due = ? WHERE schedule_id = ? AND enabled = 1 AND due IS NULL';
  return (await (await ctx.db()).run(sql, [ctx.now().toISOString(), id])).changes === 1;
}

/** @returns whether that is news. */
export async function noteWaiting(id: string, reason: string | null, ctx: Context): Promise<boolean> {
  const sql = 'UPDATE schedules SET waiting = ?1 WHERE schedule_id = ?2 AND waiting IS NOT ?1';
  return (await (await ctx.db()).run(sql, [reason, id])).changes === 1;
}

/**
 * Takes the run that is owed.
 * @param wanted a user wants one now, owed or not, of a paused schedule too.
 * @returns false when another process has it, or it was paused or removed.
 */
export async function claimRun(id: string, ctx: Context, wanted = false): Promise<boolean> {
  const sql = `UPDATE schedules SET due = NULL, waiting = NULL, runner = ?, last_run = ?, last_status = 'running',
    last_message = NULL, last_operation = NULL
    WHERE schedule_id = ? AND runner IS NULL${wanted ? '' : ' AND due IS NOT NULL AND enabled = 1'}`;
  const params = [JSON.stringify(thisProcess()), ctx.now().toISOString(), id];
  const claimed = (await (await ctx.db()).run(sql, params)).changes === 1;
  if (claimed) ours.add(id);
  return claimed;
}

export async function endRun(id: string, { status, message, operation }: Ending, ctx: Context): Promise<void> {
  const sql = `UPDATE schedules SET runner = NULL, last_status = ?, last_message = ?, last_operation = ?
    WHERE schedule_id = ? AND runner = ?`;
  const params = [status, message, operation, id, JSON.stringify(thisProcess())];
  ours.delete(id);
  await (await ctx.db()).run(sql, params);
}

/** Gives back a run that could not begin: it stays owed. */
export async function returnRun(id: string, reason: string, ctx: Context): Promise<void> {
  const sql = `UPDATE schedules SET runner = NULL, due = coalesce(due, last_run), waiting = ?, last_status = NULL
    WHERE schedule_id = ? AND runner = ?`;
  ours.delete(id);
  await (await ctx.db()).run(sql, [reason, id, JSON.stringify(thisProcess())]);
}

/** Runs whose process is gone, or could not note how they ended, are owed again. @returns their schedules */
export async function releaseInterrupted(entries: readonly Entry[], ctx: Context): Promise<string[]> {
  const found: string[] = [];
  for (const { schedule_id, runner } of entries) {
    if (runner === null || !(isThisProcess(runner) ? !ours.has(schedule_id) : isGone(runner))) continue;
    const sql = `UPDATE schedules SET runner = NULL, due = CASE enabled WHEN 1 THEN coalesce(due, last_run) END,
      last_status = 'failed', last_message = 'interrupted' WHERE schedule_id = ? AND runner = ?`;
    const { changes } = await (await ctx.db()).run(sql, [schedule_id, JSON.stringify(runner)]);
    if (changes === 1) found.push(schedule_id);
  }
  return found;
}

/**
 * Whether it is for this process to tell that a Backup is overdue: nobody has for `every` milliseconds. What was noted by a
 * clock that has been set back since does not count.
 */
export async function claimReminder(group_id: string, every: number, ctx: Context): Promise<boolean> {
  const now = ctx.now();
  const sql = `INSERT INTO reminders (group_id, told) VALUES (?1, ?2)
    ON CONFLICT (group_id) DO UPDATE SET told = ?2 WHERE told > ?2 OR told <= ?3`;
  const before = new Date(now.getTime() - every).toISOString();
  return (await (await ctx.db()).run(sql, [group_id, now.toISOString(), before])).changes > 0;
}

// --- internal ---

/** Schedules that this process carries out at this moment. */
const ours = new Set<string>();

/** What runs when, checked. */
async function definitionOf(input: NewSchedule, ctx: Context): Promise<Record<string, SqlValue>> {
  const { schedule_id: id, when, job = 'sync', sample, verify = false, eject = '', missed = 'run' } = input;
  if (!/^[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]{0,63}$/u.test(id))
    throw new TandemError('invalid', `${quote(id)} cannot be the id of a schedule.`, {
      hint: 'Letters, digits, dots and dashes, up to 64: for example nightly-backup.',
    });
  checkTrigger(when, ctx.now());
  checkWork(input);
  const [first] = await targetsOf(input.target, { role: input.role, path: input.path }, ctx);
  if (!first) throw new TandemError('not_found', `No group or project is called ${quote(input.target)}.`);
  const { project, group } = first;
  if (project !== null) await gatherProjects(ctx);
  return {
    target_kind: project === null ? 'group' : 'project',
    target_id: project?.id ?? group.id,
    target_name: project?.name ?? group.name,
    role: input.role === undefined ? '' : (project?.role ?? ''),
    subpath: input.path === undefined ? '' : first.subpath,
    ...columnsOf(when),
    job,
    sample: sample ?? null,
    verify: verify ? 1 : 0,
    eject,
    missed,
  };
}

function hasTimes({ trigger, expression, zone }: Schedule, definition: Record<string, SqlValue>): boolean {
  const { trigger_kind, expression: other, zone: place } = definition;
  return trigger === trigger_kind && expression === other && zone === place;
}

function checkWork({ when, job = 'sync', sample, verify = false, eject = '' }: NewSchedule): void {
  const refuse = (message: string, hint: string): never => {
    throw new TandemError('usage', message, { hint });
  };
  if (sample !== undefined && !(sample > 0 && sample <= 100))
    refuse(`--sample takes a percentage above 0 and up to 100, not ${sample}.`, 'For example --sample 10.');
  if (job === 'verify' && verify) refuse('--verify is for syncs; this job is a verification.', 'Leave it out.');
  if (job === 'sync' && sample !== undefined && !verify)
    refuse('--sample belongs to a verification.', 'Give --job verify, or --verify as well.');
  if (eject !== '' && when.kind !== 'on-connect')
    refuse('--eject needs --on-connect: drives that are plugged in by hand are taken away by hand.', 'Leave it out.');
}

function columnsOf(when: Trigger): Record<string, SqlValue> {
  const others = { zone: '', seconds: 0 };
  switch (when.kind) {
    case 'interval':
      return { ...others, trigger_kind: when.kind, expression: shortDuration(when.seconds), seconds: when.seconds };
    case 'cron':
      return { ...others, trigger_kind: when.kind, expression: when.expression, zone: when.zone };
    case 'on-connect':
      return { ...others, trigger_kind: when.kind, expression: shortDuration(when.settle), seconds: when.settle };
  }
}

function triggerOf(row: Row): Trigger {
  const seconds = Number(row['seconds']);
  switch (row['trigger_kind'] as Trigger['kind']) {
    case 'interval':
      return { kind: 'interval', seconds };
    case 'cron':
      return { kind: 'cron', expression: String(row['expression']), zone: String(row['zone']) };
    case 'on-connect':
      return { kind: 'on-connect', settle: seconds };
  }
}

function entryOf(row: Row): Entry {
  const text = (key: string): string | null => row[key] as string | null;
  return {
    schedule_id: String(row['schedule_id']),
    target: String(row['target_name']),
    target_id: String(row['target_id']),
    target_kind: row['target_kind'] as Schedule['target_kind'],
    role: String(row['role']),
    path: String(row['subpath']),
    trigger: row['trigger_kind'] as Trigger['kind'],
    expression: String(row['expression']),
    zone: String(row['zone']),
    job: row['job'] as Schedule['job'],
    sample: row['sample'] as number | null,
    verify: row['verify'] === 1,
    eject: row['eject'] as Schedule['eject'],
    missed: row['missed'] as Schedule['missed'],
    enabled: row['enabled'] === 1,
    created: String(row['created']),
    next_run: text('next_run'),
    due: text('due'),
    waiting: text('waiting'),
    last_run: text('last_run'),
    last_status: text('last_status') as Schedule['last_status'],
    last_message: text('last_message'),
    last_operation: text('last_operation'),
    when: triggerOf(row),
    covered: new Date(String(row['covered'])),
    runner: readProcess(text('runner')),
  };
}

/** Says of a schedule why it can never run; undefined: its target is known. Looks at this computer's files only. */
function goneTargets(ctx: Context): (schedule: Schedule) => string | undefined {
  let groups: ReadonlySet<string>;
  let projects: ReadonlySet<string>;
  try {
    groups = new Set(listGroups(ctx).map(({ id }) => id));
    projects = new Set(readProjects(ctx).projects.map(({ id }) => id));
  } catch (error) {
    const why = messageOf(error);
    return () => why;
  }
  return ({ target_kind, target_id, target }) =>
    (target_kind === 'group' ? groups : projects).has(target_id)
      ? undefined
      : `The ${target_kind} ${quote(target)} is not known any more.`;
}

const removeHint = ({ schedule_id }: Schedule): string =>
  `Remove the schedule: tandem schedule remove ${displayPath(schedule_id)}`;

function noSuchSchedule(id: string, ids: readonly string[]): TandemError {
  const guess = closest(id, ids);
  return new TandemError('not_found', `No schedule is called ${quote(id)}.`, {
    hint:
      guess === undefined
        ? 'See `tandem schedule list`, or make one with `tandem schedule add`.'
        : `Did you mean ${quote(guess)}? See \`tandem schedule list\`.`,
  });
}
