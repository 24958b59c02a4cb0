/**
 * What the daemon tells Prometheus: text of the exposition format 0.0.4 at `/metrics`
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). Reads the database and what the daemon knows already, never a
 * drive. Only GET is answered, connections have time limits, and scrapes that come close to each other share one text.
 */
import { readdirSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, BlockList, isIP } from 'node:net';
import type { Context } from '../shared/context.ts';
import { errnoOf, messageOf, TandemError } from '../shared/errors.ts';
import { VERSION } from '../shared/feature.ts';
import { listGroups } from '../shared/groups-file.ts';
import { countConflicts } from '../shared/inbox.ts';
import { displayPath } from '../shared/paths.ts';
import { readWatchers } from '../shared/watch-rows.ts';
import type { DriveInfo } from './detect.ts';
import { historyStatistics } from './history.ts';
import { listSchedules } from './schedule.ts';

/** What the daemon knows without asking. */
export interface DaemonFacts {
  started: Date;
  drives: readonly DriveInfo[];
}

export interface MetricsAddress {
  host: string;
  port: number;
}

/**
 * @param text `127.0.0.1:9464`, `localhost:9464`, `[::1]:9464`
 * @param anyone addresses that others can reach are allowed.
 * @throws TandemError `usage`
 */
export function metricsAddress(text: string, anyone: boolean): MetricsAddress {
  const [, v6, name, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = v6 ?? name ?? '';
  const port = Number(digits);
  if (host === '' || port > 65_535 || (v6 !== undefined && isIP(v6) !== 6))
    throw new TandemError('usage', `'${displayPath(text)}' is not an address to serve metrics at.`, {
      hint: 'Write it as 127.0.0.1:9464 or [::1]:9464.',
    });
  if (!anyone && !isLoopback(host))
    throw new TandemError(
      'usage',
      `Others can reach ${displayPath(host)}, and would read names of groups and drives there.`,
      {
        hint: 'Take 127.0.0.1, or give --metrics-public if that is meant.',
      },
    );
  return { host, port };
}

/** Serves until it is closed. @throws TandemError `failed` when the address cannot be had. */
export async function serveMetrics(
  { host, port }: MetricsAddress,
  facts: () => DaemonFacts,
  ctx: Context,
): Promise<{ address: string; close(): Promise<void> }> {
  let text: { value: Promise<string>; until: number } | undefined;
  const shared = (): Promise<string> => {
    const now = Date.now();
    if (!text || now >= text.until || text.until - now > SHARED_FOR)
      text = { value: metricsText(facts(), ctx), until: now + SHARED_FOR };
    return text.value;
  };
  const server = createServer(
    { headersTimeout: TIME_LIMIT, requestTimeout: TIME_LIMIT, keepAliveTimeout: 1000, maxHeaderSize: 8192 },
    (request, response) => {
      void answer(request, response, shared, isLoopback(host)).catch(() => response.destroy());
    },
  );
  server.maxConnections = MOST_CONNECTIONS;
  server.setTimeout(TIME_LIMIT * 2, (socket) => socket.destroy());
  await listen(server, host, port);
  const { address, family, port: real } = server.address() as AddressInfo;
  return {
    address: `${family === 'IPv6' ? `[${address}]` : address}:${real}`,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

export async function metricsText({ started, drives }: DaemonFacts, ctx: Context): Promise<string> {
  const page = new Page();
  const now = ctx.now().getTime();
  page.gauge('tandem_build_info', 'Version of tandem and Node; always 1.', [
    [{ version: VERSION, node: process.version }, 1],
  ]);
  page.gauge('tandem_daemon_uptime_seconds', 'For how long the daemon has been running.', [
    [{}, Math.max(0, (now - started.getTime()) / 1000)],
  ]);
  await groupMetrics(page, drives, now, ctx);
  await watcherMetrics(page, ctx);
  await scheduleMetrics(page, ctx);
  processMetrics(page, now);
  return page.text();
}

// --- internal ---

/** Milliseconds. */
const SHARED_FOR = 2000;
const TIME_LIMIT = 5000;
const MOST_CONNECTIONS = 32;

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

class Page {
  private readonly lines: string[] = [];

  gauge(name: string, help: string, samples: readonly Sample[]): void {
    this.add(name, 'gauge', help, samples);
  }

  counter(name: string, help: string, samples: readonly Sample[]): void {
    this.add(name, 'counter', help, samples);
  }

  text(): string {
    return `${this.lines.join('\n')}\n`;
  }

  private add(name: string, type: string, help: string, samples: readonly Sample[]): void {
    if (samples.length === 0) return;
    this.lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [labels, value] of samples) this.lines.push(`${name}${labelText(labels)} ${value}`);
  }
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

/** Names may hold anything; what is no whole character would not be UTF-8. */
function escaped(value: string): string {
  const signs: Record<string, string> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };
  return Buffer.from(value.replace(/[\\"\n]/g, (sign) => signs[sign] ?? sign)).toString();
}

const seconds = (time: string | null): number => Date.parse(time ?? '') / 1000;

/** One sample for each state that there may be, of which one is 1. */
function states(labels: Labels, name: string, all: readonly string[], now: string | null): Sample[] {
  return all.map((state) => [{ ...labels, [name]: state }, state === now ? 1 : 0] as const);
}

async function groupMetrics(page: Page, drives: readonly DriveInfo[], now: number, ctx: Context): Promise<void> {
  const [statistics, conflicts, good] = [
    await historyStatistics(undefined, ctx),
    await countConflicts(ctx),
    await lastSuccesses(ctx),
  ];
  const groups = listGroups(ctx).map((group) => {
    const found = statistics.find(({ group_id }) => group_id === group.id);
    return { group, found, last: good.get(group.id), labels: { group: group.name, group_id: group.id } };
  });
  const each = (value: (one: (typeof groups)[number]) => number): Sample[] =>
    groups.map((one): Sample => [one.labels, value(one)]).filter(([, number]) => !Number.isNaN(number));
  page.gauge(
    'tandem_group_last_success_timestamp_seconds',
    'When the last sync of the whole group was completed; missing before the first.',
    each(({ last }) => seconds(last ?? null)),
  );
  page.gauge(
    'tandem_group_backup_age_seconds',
    'Time since the last completed sync of the whole group, or since the group was made.',
    each(({ last, group }) => Math.max(0, now / 1000 - seconds(last ?? group.created))),
  );
  page.counter(
    'tandem_group_bytes_copied_total',
    'Bytes that runs have copied.',
    each(({ found }) => found?.bytes_copied ?? 0),
  );
  page.counter(
    'tandem_group_files_copied_total',
    'Files that runs have copied.',
    each(({ found }) => found?.files_copied ?? 0),
  );
  page.counter(
    'tandem_group_files_failed_total',
    'Files that runs could not copy.',
    each(({ found }) => found?.files_failed ?? 0),
  );
  page.counter(
    'tandem_group_runs_total',
    'Runs that have ended, by how.',
    groups.flatMap(({ labels, found }) =>
      (['completed', 'failed', 'cancelled'] as const).map(
        (status): Sample => [{ ...labels, status }, found?.operations[status] ?? 0],
      ),
    ),
  );
  page.gauge(
    'tandem_group_runs_running',
    'Runs that go on now.',
    each(({ found }) => found?.operations.running ?? 0),
  );
  page.gauge(
    'tandem_group_open_conflicts',
    'Conflicts that wait for a decision.',
    each(({ group }) => conflicts.get(group.id) ?? 0),
  );
  page.gauge(
    'tandem_group_drive_connected',
    'Whether the drive of this role is connected.',
    groups.flatMap(({ labels, group }) =>
      (['master', 'backup'] as const).map((role): Sample => {
        const wanted = group[`${role}_drive`].drive_uuid;
        const here = drives.some(({ drive_uuid }) => drive_uuid !== null && drive_uuid === wanted);
        return [{ ...labels, role }, here ? 1 : 0];
      }),
    ),
  );
  page.gauge('tandem_drives_connected', 'Drives that are connected, of groups or not.', [[{}, drives.length]]);
}

/** By group, the end of the newest completed sync of all of it. */
async function lastSuccesses(ctx: Context): Promise<Map<string, string>> {
  const db = await ctx.dbIfExists();
  const rows = await db?.all<{ group_id: string; last: string }>(
    `SELECT group_id, max(end_time) AS last FROM sync_operations WHERE status = 'completed' AND operation_type = 'sync'
      AND target_kind = 'group' AND subpath = '' GROUP BY group_id`,
  );
  return new Map((rows ?? []).map(({ group_id, last }) => [group_id, last]));
}

const WATCHER_STATES = ['starting', 'active', 'degraded', 'waiting', 'paused', 'failed', 'stopped'] as const;

async function watcherMetrics(page: Page, ctx: Context): Promise<void> {
  const rows = (await readWatchers(ctx)).map((row) => ({
    row,
    labels: { target: row.target, subpath: row.subpath, watch_id: row.watch_id },
  }));
  page.gauge(
    'tandem_watcher_state',
    'Which state the watcher is in: 1 for that one.',
    rows.flatMap(({ row, labels }) => states(labels, 'state', WATCHER_STATES, /^[a-z]*/.exec(row.status)?.[0] ?? null)),
  );
  page.gauge(
    'tandem_watcher_queue_length',
    'Paths that were touched and wait.',
    rows.map(({ row, labels }) => [labels, row.queue_length]),
  );
  page.gauge(
    'tandem_watcher_last_sync_timestamp_seconds',
    'When the watcher last brought something over; missing before.',
    rows.flatMap(({ row, labels }): Sample[] => (row.last_sync === null ? [] : [[labels, seconds(row.last_sync)]])),
  );
}

async function scheduleMetrics(page: Page, ctx: Context): Promise<void> {
  const rows = (await listSchedules(ctx)).map((row) => ({
    row,
    labels: { schedule: row.schedule_id, target: row.target },
  }));
  const when = (name: 'last_run' | 'next_run'): Sample[] =>
    rows.flatMap(({ row, labels }): Sample[] => (row[name] === null ? [] : [[labels, seconds(row[name])]]));
  page.gauge(
    'tandem_schedule_enabled',
    'Whether the schedule is carried out.',
    rows.map(({ row, labels }) => [labels, row.enabled ? 1 : 0]),
  );
  page.gauge(
    'tandem_schedule_last_result',
    'How its last run ended: 1 for that one, all 0 before the first.',
    rows.flatMap(({ row, labels }) =>
      states(labels, 'result', ['completed', 'failed', 'cancelled', 'running'], row.last_status),
    ),
  );
  page.gauge(
    'tandem_schedule_waiting',
    'Whether a run is owed and cannot go on.',
    rows.map(({ row, labels }) => [labels, row.waiting === null ? 0 : 1]),
  );
  page.gauge(
    'tandem_schedule_last_run_timestamp_seconds',
    'When its last run began; missing before the first.',
    when('last_run'),
  );
  page.gauge(
    'tandem_schedule_next_run_timestamp_seconds',
    'When it runs next; missing where plugging in starts it.',
    when('next_run'),
  );
}

/** Under the names that all exporters use. */
function processMetrics(page: Page, now: number): void {
  const { user, system } = process.cpuUsage();
  page.counter('process_cpu_seconds_total', 'Processor time of the daemon.', [[{}, (user + system) / 1e6]]);
  page.gauge('process_resident_memory_bytes', 'Memory of the daemon.', [[{}, process.memoryUsage.rss()]]);
  page.gauge('process_start_time_seconds', 'When the process began.', [[{}, now / 1000 - process.uptime()]]);
  const open = openDescriptors();
  if (open !== undefined) page.gauge('process_open_fds', 'Files that the daemon has open.', [[{}, open]]);
}

function openDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined;
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  text: () => Promise<string>,
  onlyHere: boolean,
): Promise<void> {
  const reply = (code: number, body: string, headers: Record<string, string> = {}): void => {
    response.writeHead(code, { 'content-type': 'text/plain; charset=utf-8', connection: 'close', ...headers });
    response.end(request.method === 'HEAD' ? undefined : body);
  };
  const path = (request.url ?? '').split('?')[0];
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return reply(405, 'Only GET is answered.\n', { allow: 'GET, HEAD' });
  // A page of the web that has its own name lead to this address must not read it.
  if (onlyHere && !isLoopback(hostOf(request.headers.host))) return reply(403, 'Ask for it by its address.\n');
  if (path === '/') return reply(200, 'tandem: metrics are at /metrics\n');
  if (path !== '/metrics') return reply(404, 'Metrics are at /metrics\n');
  try {
    reply(200, await text(), { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
  } catch (error) {
    reply(503, `${displayPath(messageOf(error))}\n`);
  }
}

function hostOf(header: string | undefined): string {
  const host = (header ?? 'localhost').replace(/:\d+$/, '');
  return host.replace(/^\[(.*)\]$/, '$1');
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

function isLoopback(host: string): boolean {
  const kind = isIP(host);
  return kind === 0 ? host.toLowerCase() === 'localhost' : LOOPBACK.check(host, kind === 6 ? 'ipv6' : 'ipv4');
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((done, fail) => {
    server.once('error', (error) => {
      const why = errnoOf(error) === 'EADDRINUSE' ? 'another program uses that port' : messageOf(error);
      fail(
        new TandemError('failed', `Metrics cannot be served at ${displayPath(host)}:${port}: ${why}.`, {
          hint: 'Choose another port with --metrics.',
        }),
      );
    });
    server.listen(port, host, () => {
      server.on('error', () => {});
      done();
    });
  });
}
