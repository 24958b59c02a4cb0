/** One process for everything, and what must not end it: a second one, changed and broken settings, a crash, a kill. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { command, type DaemonDeps, daemonStatus, runDaemon, stopDaemon } from '../features/daemon.ts';
import { setGroupOptions } from '../features/groups.ts';
import { listOperations } from '../features/history.ts';
import { addSchedule, Scheduler } from '../features/schedule.ts';
import { serviceFor } from '../features/unit.ts';
import { enableRealtimeSync, listRealtimeWatchers, pauseRealtimeSync, Watcher } from '../features/watch.ts';
import type { Output, Verb } from '../shared/feature.ts';
import { isTaken } from '../shared/strays.ts';
import { REPOSITORY } from './helpers/cli.ts';
import { installed, skipped } from './helpers/drives.ts';
import { refusal, type TestPair, withPair } from './helpers/pair.ts';
import { every, RESULT } from './helpers/stage.ts';
import { until } from './helpers/watching.ts';

const test = suite('daemon');

/** The daemon in this process, until `work` is done. */
async function withDaemon(
  pair: TestPair,
  deps: Partial<DaemonDeps>,
  work: (said: string[]) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const said: string[] = [];
  const ctx = pair.context({ signal: stop.signal });
  const report: DaemonDeps['report'] = ({ name, message }) => void said.push(`${name}: ${message}`);
  const running = runDaemon({}, ctx, { report, ...deps });
  try {
    await until(async () => (await daemonStatus(pair.ctx)).running);
    await work(said);
  } finally {
    stop.abort();
    await running;
  }
}

/** `tandem daemon run` in a process of its own. */
function start(pair: TestPair): { child: ChildProcess; ended: Promise<number | null> } {
  const env = { ...process.env, TANDEM_CONFIG: pair.box.config, TANDEM_DATA: pair.box.data };
  const child = spawn(process.execPath, [join(REPOSITORY, 'tui/tandem.mjs'), 'daemon', 'run'], {
    env,
    stdio: 'ignore',
  });
  return { child, ended: new Promise((done) => child.on('exit', (code) => done(code))) };
}

const watcherOf = async (
  pair: TestPair,
): Promise<Awaited<ReturnType<typeof listRealtimeWatchers>>[number] | undefined> =>
  (await listRealtimeWatchers(pair.ctx))[0];

const reaches = (pair: TestPair, wanted: string): Promise<void> =>
  until(async () => {
    const status = (await watcherOf(pair))?.status ?? 'no watcher';
    return status === wanted || status;
  }, 30_000);

test('it watches and carries schedules out, takes up what changes, and there is one of it', () =>
  withPair({ master: { 'a/x': '1' } }, async (pair) => {
    const before = await daemonStatus(pair.ctx);
    assert.equal([before.running, before.process_id], [false, null]);
    await withDaemon(pair, {}, async (said) => {
      const second = await refusal(runDaemon({}, pair.ctx));
      assert.equal([second.code, second.exitCode, second.details?.['process_id']], ['locked', 7, process.pid]);
      assert.match(second.message, new RegExp(`process ${process.pid} since`));
      const [row] = await enableRealtimeSync('Archive', { debounce: 0.2 }, pair.ctx);
      await reaches(pair, 'active');
      assert.is(readFileSync(join(pair.backup, 'a/x'), 'utf8'), '1');
      writeFileSync(join(pair.master, 'a/y'), '2');
      await until(() => existsSync(join(pair.backup, 'a/y')));
      await pauseRealtimeSync(row?.watch_id ?? '', true, pair.ctx);
      await reaches(pair, 'paused');
      await addSchedule({ schedule_id: 'often', target: 'Archive', when: every(1) }, pair.ctx);
      writeFileSync(join(pair.master, 'a/z'), '3');
      await until(() => existsSync(join(pair.backup, 'a/z')));
      const { running, answers, watchers, schedules } = await daemonStatus(pair.ctx);
      assert.equal([running, answers, watchers, schedules.enabled], [true, true, { enabled: 1, running: 1 }, 1]);
      const completed = 'often: completed. Sync of Archive completed';
      await until(() => said.some((line) => line.startsWith(completed)) || said.join('\n'));
    });
    assert.equal([(await daemonStatus(pair.ctx)).running, (await watcherOf(pair))?.status], [false, 'stopped']);
    assert.is(await stopDaemon(pair.ctx), null, 'nothing is there to be stopped');
  }));

test('options that changed reach a watcher that runs; a broken file is told, kept, and its last good state counts', () =>
  withPair({ master: { 'a/x': '1' } }, async (pair) => {
    const groups = join(pair.box.config, 'storage_groups.yaml');
    await enableRealtimeSync('Archive', { debounce: 0.2 }, pair.ctx);
    await withDaemon(pair, {}, async () => {
      await reaches(pair, 'active');
      await setGroupOptions('Archive', ['filters.exclude=*.tmp'], undefined, pair.ctx);
      await until(async () => {
        writeFileSync(join(pair.master, 'a/b.tmp'), `${Date.now()}`);
        writeFileSync(join(pair.master, 'a/other'), `${Date.now()}`);
        rmSync(join(pair.backup, 'a/b.tmp'), { force: true });
        const marked = (await watcherOf(pair))?.status === 'active';
        await new Promise((done) => setTimeout(done, 1500));
        return marked && !existsSync(join(pair.backup, 'a/b.tmp'));
      }, 30_000);
      const good = readFileSync(groups, 'utf8');
      const broken = `${good}\n  - [`;
      writeFileSync(groups, broken);
      await until(async () => (await daemonStatus(pair.ctx)).message.includes('storage_groups.yaml'));
      writeFileSync(join(pair.master, 'a/later'), '1');
      await until(() => existsSync(join(pair.backup, 'a/later')));
      assert.is(readFileSync(groups, 'utf8'), broken);
      rmSync(groups);
      await until(async () => (await daemonStatus(pair.ctx)).message.includes('gone'));
      assert.is((await watcherOf(pair))?.status, 'active');
      writeFileSync(groups, good);
      await until(async () => (await daemonStatus(pair.ctx)).message === '');
    });
  }));

test('a watcher that crashes begins anew, later and later, and its row says why; errors of unknown origin are borne', () =>
  withPair({ master: { 'a/x': '1' } }, async (pair) => {
    await enableRealtimeSync('Archive', { debounce: 0.2 }, pair.ctx);
    let opened = 0;
    const open: DaemonDeps['supervisor']['open'] = (row, target, options, listener, ctx) => {
      opened += 1;
      const watcher = new Watcher(target, ctx, {
        ...options,
        watchId: row.watch_id,
        debounce: 0.2,
        onState: (state) => listener.state('', state, ''),
      });
      if (opened > 2) return watcher;
      watcher.start = () => Promise.reject(new Error(`Crash number ${opened}.`));
      return watcher;
    };
    await withDaemon(pair, { supervisor: { open } }, async () => {
      await until(async () => {
        const row = await watcherOf(pair);
        return (
          (row?.status === 'failed' && /Crash number 2\. It begins anew in 2/.test(row.message)) || `${row?.message}`
        );
      }, 20_000);
      await reaches(pair, 'active');
      assert.is(opened, 3);
      assert.ok(isTaken(new Error('Nobody caught this.')));
      await until(() => opened === 4);
      await reaches(pair, 'active');
      writeFileSync(join(pair.master, 'a/y'), '2');
      await until(() => existsSync(join(pair.backup, 'a/y')));
      for (let more = 0; more < 4; more += 1) assert.ok(isTaken(new Error('again')));
      assert.not.ok(isTaken(new Error('too often')));
    });
    assert.not.ok(isTaken(new Error('it has ended')));
  }));

test('a thousand schedules: a look that finds nothing due asks the database a few times, not a thousand', () =>
  withPair({ master: { 'a/x': '1' } }, async (pair) => {
    for (let at = 0; at < 1000; at += 1)
      await addSchedule(
        {
          schedule_id: `s${at}`,
          target: 'Archive',
          when: { kind: 'cron', expression: `${at % 60} 3 * * *`, zone: 'UTC' },
        },
        pair.ctx,
      );
    let asked = 0;
    const [db, reader] = [await pair.ctx.db(), await pair.ctx.dbIfExists()];
    const counted = <T extends object>(one: T): T =>
      new Proxy(one, {
        get: (target, key) => {
          if (['run', 'get', 'all'].includes(String(key))) asked += 1;
          return Reflect.get(target, key) as unknown;
        },
      });
    const now = new Date('2026-06-10T12:00:00Z');
    const ctx = {
      ...pair.ctx,
      now: () => now,
      db: () => Promise.resolve(counted(db)),
      dbIfExists: () => Promise.resolve(reader && counted(reader)),
    };
    const scheduler = new Scheduler(ctx, { sync: () => Promise.resolve(RESULT), notify: () => {} });
    await scheduler.tick();
    asked = 0;
    for (let look = 0; look < 10; look += 1) await scheduler.tick();
    assert.ok(asked <= 20, `${asked} questions in ten looks`);
    await scheduler.close();
  }));

test('kill -9 in the middle of a copy: the next one is not kept out, and its first run is whole', () =>
  withPair({ master: {} }, async (pair) => {
    await pair.sync();
    await setGroupOptions('Archive', ['enable_bandwidth_limit=true', 'bandwidth_limit_mbps=5'], undefined, pair.ctx);
    writeFileSync(join(pair.master, 'large.mov'), randomBytes(20_000_000));
    await enableRealtimeSync('Archive', { debounce: 0.2 }, pair.ctx);
    const first = start(pair);
    try {
      const partial = join(pair.backup, '.tandem', 'partial');
      await until(() => bytesBelow(partial) > 1_000_000);
    } finally {
      first.child.kill('SIGKILL');
      await first.ended;
    }
    assert.equal([(await daemonStatus(pair.ctx)).running, existsSync(join(pair.backup, 'large.mov'))], [false, false]);
    await setGroupOptions('Archive', ['enable_bandwidth_limit=false'], undefined, pair.ctx);
    await withDaemon(pair, {}, async () => {
      await until(() => existsSync(join(pair.backup, 'large.mov')));
      await reaches(pair, 'active');
    });
    assert.is(checksum(join(pair.backup, 'large.mov')), checksum(join(pair.master, 'large.mov')));
    const [, interrupted] = (await listOperations({ limit: 'all' }, pair.ctx)).reverse();
    assert.equal([interrupted?.status, interrupted?.reason], ['failed', 'interrupted']);
  }));

test('`daemon stop` in the middle of a large copy: it ends in time, and the next run goes on from the partial', () =>
  withPair({ master: {} }, async (pair) => {
    await pair.sync();
    await setGroupOptions('Archive', ['enable_bandwidth_limit=true', 'bandwidth_limit_mbps=20'], undefined, pair.ctx);
    writeFileSync(join(pair.master, 'large.mov'), randomBytes(300_000_000));
    await enableRealtimeSync('Archive', { debounce: 0.2 }, pair.ctx);
    const { child, ended } = start(pair);
    try {
      await until(() => bytesBelow(join(pair.backup, '.tandem', 'partial')) > 80_000_000, 60_000);
      const { code, stdout, stderr } = await pair.box.run(['daemon', 'stop']);
      assert.is(code, 0, stderr);
      assert.is(stdout, `The daemon (process ${child.pid}) has ended.\n`);
      assert.is(await ended, 0);
    } finally {
      child.kill('SIGKILL');
      await ended;
    }
    const resume = join(pair.backup, '.tandem', 'partial', 'resume');
    const [partial = ''] = readdirSync(resume).filter((name) => !name.endsWith('.note'));
    const { ino, size } = statSync(join(resume, partial));
    assert.ok(size >= 64 * 1024 * 1024 && size < 300_000_000, `${size} bytes`);
    await setGroupOptions('Archive', ['enable_bandwidth_limit=false'], undefined, pair.ctx);
    assert.is((await pair.sync()).status, 'completed');
    assert.is(statSync(join(pair.backup, 'large.mov')).ino, ino, 'it was finished, not written anew');
    assert.is(checksum(join(pair.backup, 'large.mov')), checksum(join(pair.master, 'large.mov')));
  }));

test('a database that is taken away ends it, for the service to begin anew', () =>
  withPair({}, async (pair) => {
    const ctx = pair.context();
    const running = runDaemon({}, ctx);
    const ended = refusal(running);
    await until(async () => (await daemonStatus(ctx)).running);
    renameSync(pair.box.data, `${pair.box.data}-away`);
    assert.match((await ended).message, /taken away/);
  }));

test('the service: systemd accepts it, and it names the folders that are in use', () =>
  withPair({}, async (pair) => {
    const odd = {
      ...pair.ctx,
      configDir: join(pair.box.root, 'with "quotes", 100 % $HOME'),
      platform: 'linux' as const,
    };
    const { text, path } = serviceFor(['--metrics', '127.0.0.1:9464'], odd);
    assert.match(path, /systemd\/user\/tandem\.service$/);
    assert.match(text, /^Environment="TANDEM_CONFIG=.*with \\"quotes\\", 100 %% \$HOME"$/m);
    for (const wrong of ['ProtectHome', 'ProtectSystem', 'PrivateTmp', 'RestrictSUIDSGID', 'MemoryDenyWriteExecute'])
      assert.not.match(text, new RegExp(`^${wrong}`, 'm'));
    const plist = serviceFor([], { ...odd, platform: 'darwin' }).text;
    assert.match(plist, /<string>.*with &quot;quotes&quot;/);
    assert.is(
      (await refusal(Promise.resolve().then(() => serviceFor([], { ...odd, platform: 'win32' })))).code,
      'failed',
    );
    const printed = (await (command.verbs['install'] as Verb).run(
      { args: {}, options: {} },
      pair.ctx,
      () => {},
    )) as Output;
    assert.match(
      printed.text((_style, words) => words),
      /ExecStart=.* daemon run --progress none/,
    );
    if (!installed('systemd-analyze')) return skipped('systemd verifies the unit', 'systemd-analyze is not installed');
    const folder = mkdtempSync(join(tmpdir(), 'tandem-unit-'));
    try {
      const file = join(folder, 'tandem.service');
      writeFileSync(file, text);
      mkdirSync(join(folder, 'run'));
      const env = { ...process.env, XDG_RUNTIME_DIR: join(folder, 'run') };
      const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--user', file], { env, encoding: 'utf8' });
      assert.equal([status, stderr], [0, '']);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }));

function bytesBelow(folder: string): number {
  if (!existsSync(folder)) return 0;
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0)
    .reduce((sum, size) => sum + size, 0);
}

function checksum(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

test.run();
