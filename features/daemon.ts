/**
 * One process for all that goes on by itself: it keeps the watchers running (supervisor.ts), carries schedules out
 * (scheduler.ts), follows drives as they come and go, and if wanted serves metrics. There is one for each data folder. What
 * it does stands in the database, so that `status`, `watch list` and `schedule list` of any process show it; what is
 * changed there, or in the settings, it takes up by itself. Nothing that fails in it ends it.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isSilent } from '../shared/answering.ts';
import { keepLastGood, writeFileAtomic } from '../shared/config.ts';
import { type Context, type Exec, refusingPrompts } from '../shared/context.ts';
import {
  askToStop,
  beatDaemon,
  claimDaemon,
  type DaemonState,
  type DaemonStatus,
  daemonStatus,
  isAskedToStop,
  readDaemon,
  releaseDaemon,
} from '../shared/daemon-row.ts';
import { EXIT, messageOf, TandemError } from '../shared/errors.ts';
import {
  type Column,
  defineCommand,
  definePanel,
  type OptionSpec,
  type Output,
  type Paint,
  runIfMain,
  type Values,
  VERSION,
} from '../shared/feature.ts';
import { formatAge, formatTime, plural } from '../shared/format.ts';
import { listGroups } from '../shared/groups-file.ts';
import { log, logWritten } from '../shared/log.ts';
import { keepMemoryTogether } from '../shared/memory.ts';
import { createBell } from '../shared/mount-events.ts';
import { displayPath } from '../shared/paths.ts';
import { readProjects } from '../shared/projects-file.ts';
import { takeStrays } from '../shared/strays.ts';
import { type DriveEvent, type DriveInfo, listDrives, watchDrives } from './detect.ts';
import { type MetricsAddress, metricsAddress, serveMetrics } from './metrics.ts';
import { keepTime, Scheduler, type SchedulerDeps } from './schedule.ts';
import { Supervisor, type SupervisorDeps } from './supervisor.ts';
import { syncSentence } from './telling.ts';
import { serviceFor } from './unit.ts';

export { type DaemonStatus, daemonStatus } from '../shared/daemon-row.ts';

/** Something that happened, for the terminal or script that runs it. */
export interface DaemonEvent {
  kind: 'daemon' | 'drive' | 'watcher' | 'schedule' | 'warning';
  /** What it happened to; `''`: the daemon itself. */
  name: string;
  message: string;
}

export interface DaemonDeps {
  report(event: DaemonEvent): void;
  scheduler: Partial<SchedulerDeps>;
  supervisor: Partial<SupervisorDeps>;
}

/**
 * Goes on until `ctx.signal` aborts or another process asks it to stop, and then for as long as its runs need to end, ten
 * seconds at most.
 * @throws TandemError `locked` when one runs already; `config` for settings that are broken from the first; `failed` when
 * the metrics' address cannot be had, or its database was taken away.
 */
export async function runDaemon(
  options: { metrics?: MetricsAddress | undefined },
  ctx: Context,
  deps: Partial<DaemonDeps> = {},
): Promise<void> {
  for (const read of [() => ctx.settings(), () => listGroups(ctx), () => readProjects(ctx)]) read();
  const held = await claimDaemon(VERSION, ctx);
  if (held) throw runningAlready(held);
  const daemon = new Daemon(ctx, deps);
  try {
    await daemon.live(options.metrics);
  } finally {
    await releaseDaemon(ctx).catch(() => {});
    await logWritten();
  }
}

/** Asks the daemon to end, and waits for that, ten seconds at most. @returns what it was; null: none was running. */
export async function stopDaemon(ctx: Context): Promise<{ ended: boolean; process_id: number } | null> {
  const { running, process_id } = await readDaemon(ctx);
  if (!running || process_id === null) return null;
  await askToStop(ctx);
  for (const deadline = Date.now() + STOP_WITHIN; Date.now() < deadline && !ctx.signal.aborted; ) {
    if (!(await readDaemon(ctx)).running) return { ended: true, process_id };
    await sleep(100);
  }
  return { ended: false, process_id };
}

// --- internal ---

/** Milliseconds. */
const STOP_WITHIN = 10_000;
const LOOK_EVERY = 1000;
const BEAT_EVERY = 10_000;
const SUPERVISE_EVERY = 2000;
const DRIVES_EVERY = 60_000;
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 60_000;
const LIST_LIMIT = 30_000;
/** Errors of unknown origin, within so long. More of them, and the whole process begins anew. */
const MOST_STRAYS = 5;
const STRAYS_WITHIN = 600_000;

class Daemon {
  private readonly ctx: Context;
  private readonly ending = new AbortController();
  private readonly report: DaemonDeps['report'];
  private readonly scheduler: Scheduler;
  private readonly supervisor: Supervisor;
  private readonly bell: ReturnType<typeof createBell>;
  private readonly started: Date;
  private readonly database: number | undefined;
  private drives: readonly DriveInfo[] = [];
  private metrics = '';
  private trouble = '';
  /** Which file of the settings is broken; `''`: none. */
  private broken = '';
  private strays: number[] = [];
  private failure: unknown;

  constructor(ctx: Context, { report = () => {}, scheduler = {}, supervisor = {} }: Partial<DaemonDeps>) {
    this.report = report;
    this.started = ctx.now();
    this.database = databaseInode(ctx);
    this.ctx = {
      ...ctx,
      signal: AbortSignal.any([ctx.signal, this.ending.signal]),
      exec: withinLimit(ctx.exec),
      prompts: refusingPrompts,
      // Of runs that go on at the same time: their progress is in the journal.
      emit: (event) => {
        if (event.kind === 'warning' || event.kind === 'note') this.say('warning', '', event.message, 'warn');
      },
    };
    this.bell = createBell(this.ctx.signal);
    this.scheduler = new Scheduler(this.ctx, {
      report: ({ schedule_id, target, event, message }) =>
        this.report({ kind: 'schedule', name: schedule_id ?? target, message: `${event}. ${message}` }),
      wake: this.bell.ring,
      ...scheduler,
    });
    this.supervisor = new Supervisor(this.ctx, {
      state: (name, state, message) =>
        this.report({ kind: 'watcher', name, message: [state, message].filter(Boolean).join('. ') }),
      synced: (name, result) => this.report({ kind: 'watcher', name, message: syncSentence(result) }),
      ...supervisor,
    });
  }

  async live(metrics: MetricsAddress | undefined): Promise<void> {
    const facts = (): { started: Date; drives: readonly DriveInfo[] } => ({
      started: this.started,
      drives: this.drives,
    });
    const server = metrics && (await serveMetrics(metrics, facts, this.ctx));
    this.metrics = server?.address ?? '';
    const release = [
      keepLastGood((message, broken) => this.misread(message, broken)),
      takeStrays((error) => this.isBorne(error)),
    ];
    const at = server ? ` Metrics are at http://${server.address}/metrics.` : '';
    this.say('daemon', '', `The daemon began: process ${process.pid}, version ${VERSION}.${at}`);
    const drives = this.followDrives();
    try {
      await Promise.all([this.heart(), this.supervise(), keepTime(this.scheduler, this.bell, this.ctx)]);
    } finally {
      this.ending.abort();
      this.say('daemon', '', 'The daemon ends; files in flight are finished.');
      await Promise.all([this.scheduler.close(), this.supervisor.close(), server?.close()]);
      await Promise.race([drives, sleep(FIRST_PAUSE, undefined, { ref: false })]);
      for (const end of release) end();
    }
    if (this.failure !== undefined) throw this.failure;
    this.say('daemon', '', 'The daemon has ended.');
  }

  /** Says that it lives, and hears what is asked of it. */
  private async heart(): Promise<void> {
    let beatAt = Number.NEGATIVE_INFINITY;
    let said = '';
    while (!this.ctx.signal.aborted) {
      try {
        const database = databaseInode(this.ctx);
        if (database === undefined || database !== this.database) throw new Lost('Its database was taken away.');
        const now = Date.now();
        const news = JSON.stringify([this.metrics, this.message]);
        const due = now - beatAt >= BEAT_EVERY || now < beatAt || news !== said;
        const asked = due ? await beatDaemon({ metrics: this.metrics, message: this.message }, this.ctx) : '';
        if (due) [beatAt, said] = [now, news];
        if (asked === 'lost') throw new Lost('Another process took its place.');
        if (asked === 'stop' || (await isAskedToStop(this.ctx))) this.ending.abort();
        this.trouble = '';
      } catch (error) {
        if (error instanceof Lost) this.giveUp(error.message);
        // A database that is locked for long: it goes on, and says so once.
        else if (this.trouble !== messageOf(error)) this.say('warning', '', messageOf(error), 'warn');
        this.trouble = messageOf(error);
      }
      await sleep(LOOK_EVERY, undefined, { signal: this.ctx.signal }).catch(() => {});
    }
  }

  private get message(): string {
    return [this.trouble, this.broken].filter(Boolean).join(' ');
  }

  private misread(message: string, broken: boolean): void {
    this.broken = broken ? message : '';
    this.say('warning', '', message, 'warn');
  }

  private giveUp(why: string): void {
    this.failure = new TandemError('failed', `The daemon cannot go on: ${why}`, {
      hint: 'Start it again; as a service it begins anew by itself.',
    });
    log(this.ctx, 'error', 'daemon.failed', messageOf(this.failure));
    this.ending.abort();
  }

  private async supervise(): Promise<void> {
    let said = '';
    while (!this.ctx.signal.aborted) {
      try {
        await this.supervisor.look();
        said = '';
      } catch (error) {
        if (said !== messageOf(error)) this.say('warning', '', messageOf(error), 'warn');
        said = messageOf(error);
      }
      await sleep(SUPERVISE_EVERY, undefined, { signal: this.ctx.signal }).catch(() => {});
    }
  }

  private async followDrives(): Promise<void> {
    const watching = this.listAgain();
    for (let pause = FIRST_PAUSE; !this.ctx.signal.aborted; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      await watchDrives(this.ctx, (event) => this.heard(event)).catch((error: unknown) =>
        this.say('warning', '', `Drives cannot be watched: ${messageOf(error)}`, 'warn'),
      );
      await sleep(pause, undefined, { signal: this.ctx.signal }).catch(() => {});
    }
    await watching;
  }

  private async listAgain(): Promise<void> {
    while (!this.ctx.signal.aborted) {
      await this.listNow();
      await sleep(DRIVES_EVERY, undefined, { signal: this.ctx.signal }).catch(() => {});
    }
  }

  private async listNow(): Promise<void> {
    try {
      this.drives = await listDrives({ ...this.ctx, emit: () => {} });
    } catch {
      // Who watches the drives says so.
    }
  }

  private heard(event: DriveEvent): void {
    const { kind, drive } = event;
    const what = kind === 'unplugged' && isSilent(drive.mount_path) ? 'does not answer' : kind;
    if (kind !== 'changed') this.say('drive', drive.label, `${what}: ${drive.label} at ${drive.mount_path}`);
    void this.listNow();
    this.scheduler.drivesChanged(event);
    this.supervisor.drivesChanged(event);
  }

  /** An error that nobody caught: whichever watcher it came from begins anew, and the others with it. */
  private isBorne(error: unknown): boolean {
    const now = Date.now();
    this.strays = [...this.strays.filter((at) => Math.abs(now - at) < STRAYS_WITHIN), now];
    const stack = error instanceof Error ? error.stack : undefined;
    log(this.ctx, 'error', 'daemon.stray', messageOf(error), stack === undefined ? {} : { stack });
    if (this.strays.length > MOST_STRAYS) return false;
    this.report({ kind: 'warning', name: '', message: `${messageOf(error)} All watchers begin anew.` });
    this.supervisor.restart();
    return true;
  }

  private say(kind: DaemonEvent['kind'], name: string, message: string, level: 'info' | 'warn' = 'info'): void {
    log(this.ctx, level, kind === 'warning' ? 'warning' : kind === 'drive' ? 'drive.changed' : 'daemon.state', message);
    this.report({ kind, name, message });
  }
}

class Lost extends Error {}

/** Undefined: it is not there. */
function databaseInode({ dataDir }: Context): number | undefined {
  return statSync(join(dataDir, 'tandem.db'), { throwIfNoEntry: false })?.ino;
}

/** Programs that only list, and hang where a drive does. */
const LISTING = ['lsblk', 'findmnt', 'blkid'];

function withinLimit(exec: Exec): Exec {
  return (file, args) => {
    if (!LISTING.includes(file)) return exec(file, args);
    const stop = new AbortController();
    const late = sleep(LIST_LIMIT, undefined, { signal: stop.signal, ref: false }).then(() => {
      throw new Error(`${file} did not answer within ${LIST_LIMIT / 1000} s; a drive may hang.`);
    });
    late.catch(() => {});
    return Promise.race([exec(file, args), late]).finally(() => stop.abort());
  };
}

function runningAlready({ process_id, started, version }: DaemonState): TandemError {
  const since = started === null ? '' : ` since ${formatTime(new Date(started))}`;
  return new TandemError(
    'locked',
    `The daemon is running already: process ${process_id}${since}, version ${version}.`,
    {
      hint: 'See `tandem daemon status`; `tandem daemon stop` ends it.',
      details: { process_id },
    },
  );
}

function statusText(status: DaemonStatus, paint: Paint): string {
  const { running, answers, process_id, started, heartbeat, version, metrics, message, watchers, schedules } = status;
  const work = `${watchers.running} of ${plural(watchers.enabled, 'watcher')} running, ${plural(schedules.enabled, 'schedule')}${schedules.running > 0 ? ` (${schedules.running} running)` : ''}`;
  if (!running) {
    const owed = watchers.enabled + schedules.enabled > 0;
    return `${paint(owed ? 'warn' : 'dim', 'The daemon is not running.')}\n  ${work}`;
  }
  const since = started === null ? '' : `since ${formatTime(new Date(started))}`;
  const lines = [
    paint('good', `The daemon is running: process ${process_id} ${since}, version ${displayPath(version ?? '')}.`),
    `  ${work}`,
    `  metrics: ${metrics === null ? 'off' : `http://${displayPath(metrics)}/metrics`}`,
  ];
  if (!answers && heartbeat !== null)
    lines.push(
      paint('warn', `  It was last heard of ${formatAge(new Date(heartbeat), new Date())}; a drive may hang.`),
    );
  if (message !== '') lines.push(paint('warn', `  ${displayPath(message)}`));
  return lines.join('\n');
}

function eventText({ name, message }: DaemonEvent): string {
  return displayPath(name === '' ? message : `${name}: ${message}`);
}

const columns: readonly Column<DaemonStatus>[] = [
  {
    title: 'STATUS',
    value: ({ running, answers }) => (!running ? 'not running' : answers ? 'running' : 'does not answer'),
    style: ({ running, answers }) => (running && answers ? 'good' : 'warn'),
  },
  { title: 'PROCESS', value: ({ process_id }) => String(process_id ?? '—'), align: 'right' },
  { title: 'SINCE', value: ({ started }) => (started === null ? '—' : formatTime(new Date(started))) },
  { title: 'WATCHERS', value: ({ watchers }) => `${watchers.running}/${watchers.enabled}` },
  { title: 'SCHEDULES', value: ({ schedules }) => String(schedules.enabled) },
  { title: 'METRICS', value: ({ metrics }) => displayPath(metrics ?? '—') },
];

// --- command ---

const metricsOptions: readonly OptionSpec[] = [
  { flags: '--metrics <host:port>', description: 'serve Prometheus metrics there, e.g. 127.0.0.1:9464' },
  { flags: '--metrics-public', description: 'also at an address that others can reach' },
];

function metricsOf(options: Values): MetricsAddress | undefined {
  const text = options['metrics'] as string | undefined;
  if (text !== undefined) return metricsAddress(text, options['metricsPublic'] === true);
  if (!options['metricsPublic']) return undefined;
  throw new TandemError('usage', '--metrics-public belongs to --metrics.', { hint: 'Give both, or neither.' });
}

export const command = defineCommand({
  name: 'daemon',
  summary: 'One process for watchers, schedules and drives',
  verbs: {
    run: {
      summary: 'watch, carry schedules out and follow drives, until Ctrl-C',
      examples: ['tandem daemon run', 'tandem daemon run --metrics 127.0.0.1:9464'],
      options: metricsOptions,
      leaves: true,
      run: async ({ options }, ctx, write) => {
        keepMemoryTogether();
        const report = (event: DaemonEvent): void => {
          const at = ctx.now();
          write(
            options['json']
              ? JSON.stringify({ at: at.toISOString(), ...event })
              : `${formatTime(at)}  ${eventText(event)}`,
          );
        };
        await runDaemon({ metrics: metricsOf(options) }, ctx, { report });
        return undefined;
      },
    },
    status: {
      summary: 'whether it runs, since when, and what it carries out; exit code 1 when it does not',
      examples: ['tandem daemon status', 'tandem daemon status --json | jq .running'],
      run: async (_input, ctx): Promise<Output> => {
        const status = await daemonStatus(ctx);
        return {
          json: status,
          text: (paint) => statusText(status, paint),
          exitCode: status.running && status.answers ? EXIT.done : EXIT.failed,
        };
      },
    },
    stop: {
      summary: 'ask it to end, and wait for that up to ten seconds',
      examples: ['tandem daemon stop'],
      run: async (_input, ctx): Promise<Output> => {
        const stopped = await stopDaemon(ctx);
        if (stopped && !stopped.ended)
          throw new TandemError(
            'failed',
            `The daemon (process ${stopped.process_id}) was asked to end and has not ended within 10 s.`,
            {
              hint: 'It ends when the drive that it works on answers; `tandem status` shows its runs.',
            },
          );
        return {
          json: { stopped: stopped !== null, process_id: stopped?.process_id ?? null },
          text: () =>
            stopped ? `The daemon (process ${stopped.process_id}) has ended.` : 'The daemon is not running.',
        };
      },
    },
    install: {
      summary: 'print the service that starts it when you log in: a unit of systemd, a plist of launchd',
      examples: [
        'tandem daemon install',
        'tandem daemon install --write',
        'tandem daemon install --write --metrics 127.0.0.1:9464',
      ],
      options: [
        { flags: '--write', description: 'write it to where it belongs, and say what to do next' },
        ...metricsOptions,
      ],
      run: async ({ options }, ctx): Promise<Output> => {
        metricsOf(options);
        const words = [
          ...(options['metrics'] === undefined ? [] : ['--metrics', options['metrics'] as string]),
          ...(options['metricsPublic'] ? ['--metrics-public'] : []),
        ];
        const { path, text, next } = serviceFor(words, ctx);
        const written = options['write'] === true;
        if (written) writeService(path, text);
        const steps = next.map((line) => `  ${line}`).join('\n');
        return {
          json: { path, written, text, next },
          text: () => (written ? `Wrote ${displayPath(path)}. Then:\n${steps}` : text.trimEnd()),
        };
      },
    },
  },
});

/** Never over a file that somebody else wrote. */
function writeService(path: string, text: string): void {
  if (existsSync(path) && !readFileSync(path, 'utf8').includes('Written by tandem daemon install.'))
    throw new TandemError('invalid', `${displayPath(path)} is there already, and is not from tandem.`, {
      hint: 'Move it away, or put the text of `tandem daemon install` where you want it.',
    });
  writeFileAtomic(path, text);
}

export const panel = definePanel<DaemonStatus>({
  title: 'Daemon',
  rows: async (ctx) => [await daemonStatus(ctx)],
  columns,
  empty: '',
  actions: [
    {
      key: 'x',
      label: 'stop',
      disabled: ({ running }) => (running ? undefined : 'it is not running'),
      command: () => ['daemon', 'stop'],
    },
  ],
});

runIfMain(import.meta, command);
