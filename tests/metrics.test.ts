/** What Prometheus reads, by a strict reader of the format; who may read it. */

import { request } from 'node:http';
import { connect } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listDrives } from '../features/detect.ts';
import { updateGroup } from '../features/groups.ts';
import { metricsAddress, metricsText, serveMetrics } from '../features/metrics.ts';
import { addSchedule } from '../features/schedule.ts';
import { enableRealtimeSync } from '../features/watch.ts';
import { withPair } from './helpers/pair.ts';

const test = suite('metrics');

interface Family {
  type: string;
  samples: { labels: Record<string, string>; value: number }[];
}

/** Throws at whatever the format 0.0.4 does not allow. */
function parse(text: string): Map<string, Family> {
  assert.ok(text.endsWith('\n') && !text.includes('\r'));
  const families = new Map<string, Family>();
  let current = '';
  let helped = '';
  for (const line of text.slice(0, -1).split('\n')) {
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line) ?? [];
    if (kind === 'HELP') {
      assert.not.ok(families.has(name), `${name} twice`);
      helped = name;
    } else if (kind === 'TYPE') {
      assert.is(name, helped);
      assert.ok(['gauge', 'counter'].includes(rest), line);
      assert.is(rest === 'counter', name.endsWith('_total'), `${name} is a ${rest}`);
      families.set(name, { type: rest, samples: [] });
      current = name;
    } else {
      const found = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
      assert.is(found?.[1], current, line);
      const value = Number(found?.[3]);
      assert.ok(!Number.isNaN(value) && found?.[3] !== '', line);
      families.get(current)?.samples.push({ labels: labelsOf(found?.[2] ?? ''), value });
    }
  }
  for (const [name, { samples }] of families) {
    const keys = samples.map(({ labels }) => JSON.stringify(labels));
    assert.is(new Set(keys).size, keys.length, `${name}: a sample twice`);
    assert.ok(keys.length > 0, `${name} is empty`);
  }
  return families;
}

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let rest = text;
  while (rest !== '') {
    const [all = '', name = '', value = ''] =
      /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/.exec(rest) ?? [];
    assert.ok(all !== '', `labels: ${rest}`);
    assert.not.ok(name in labels, `the label ${name} twice`);
    labels[name] = value.replace(/\\([\\"n])/g, (_, sign: string) => (sign === 'n' ? '\n' : sign));
    rest = rest.slice(all.length);
  }
  return labels;
}

test('names of any kind, runs, conflicts, drives, watchers and schedules are in it, in the right form', () =>
  withPair({ master: { 'a.txt': 'abc' } }, async (pair) => {
    const facts = { started: new Date(Date.now() - 5000), drives: await listDrives(pair.ctx) };
    const before = parse(await metricsText(facts, pair.ctx));
    assert.not.ok(before.has('tandem_group_last_success_timestamp_seconds'), 'never synced');
    await pair.sync();
    const name = 'A "quoted" \\ group, {x="1"}';
    await updateGroup('Archive', { name }, pair.ctx);
    await enableRealtimeSync(name, {}, pair.ctx);
    await addSchedule({ schedule_id: 'nightly', target: name, when: { kind: 'interval', seconds: 60 } }, pair.ctx);
    const families = parse(await metricsText(facts, pair.ctx));
    const value = (family: string, wanted: Record<string, string> = {}): number | undefined =>
      families
        .get(family)
        ?.samples.find(({ labels }) => Object.entries(wanted).every(([key, text]) => labels[key] === text))?.value;
    assert.is(value('tandem_group_bytes_copied_total', { group: name }), 3);
    assert.is(value('tandem_group_runs_total', { group: name, status: 'completed' }), 1);
    assert.is(value('tandem_group_runs_total', { group: name, status: 'failed' }), 0);
    assert.is(value('tandem_group_open_conflicts'), 0);
    assert.is(value('tandem_group_drive_connected', { role: 'backup' }), 1);
    assert.ok(Math.abs((value('tandem_group_last_success_timestamp_seconds') ?? 0) - Date.now() / 1000) < 600);
    assert.is(value('tandem_watcher_state', { target: name, state: 'stopped' }), 1);
    assert.is(value('tandem_watcher_state', { target: name, state: 'active' }), 0);
    assert.is(value('tandem_schedule_enabled', { schedule: 'nightly' }), 1);
    assert.is(value('tandem_schedule_last_result', { schedule: 'nightly', result: 'failed' }), 0);
    assert.is(value('tandem_drives_connected'), 2);
    for (const process of ['process_resident_memory_bytes', 'process_cpu_seconds_total', 'process_start_time_seconds'])
      assert.ok((value(process) ?? 0) > 0, process);
  }));

test('the reader is strict', () => {
  const wrong = [
    'a 1\n',
    '# HELP a x\n# TYPE a gauge\na{b="1} 1\n',
    '# HELP a x\n# TYPE a counter\na 1\n',
    '# HELP a x\n# TYPE a gauge\na{b="\\x"} 1\n',
    '# HELP a x\n# TYPE a gauge\na x\n',
    '# HELP a x\n# TYPE a gauge\na 1',
  ];
  const accepted = wrong.filter((text) => {
    try {
      return parse(text) !== undefined;
    } catch {
      return false;
    }
  });
  assert.equal(accepted, []);
});

test('other addresses than this computer need --metrics-public', () => {
  assert.equal(metricsAddress('127.0.0.1:9464', false), { host: '127.0.0.1', port: 9464 });
  for (const text of ['localhost:1', '[::1]:9464', '127.8.9.1:80']) metricsAddress(text, false);
  for (const text of ['0.0.0.0:9464', '[::]:9464', '192.168.1.2:9464', 'photos.example:9464', '[::ffff:8.8.8.8]:1']) {
    assert.throws(() => metricsAddress(text, false), /Others can reach/, text);
    metricsAddress(text, true);
  }
  for (const text of ['9464', ':9464', '127.0.0.1', '127.0.0.1:99999', '[x]:1', '::1:9464', 'a b:1'])
    assert.throws(() => metricsAddress(text, true), /is not an address/, text);
});

test('only GET, only its own paths and names, and idle connections are cut off', () =>
  withPair({}, async ({ ctx }) => {
    const server = await serveMetrics({ host: '127.0.0.1', port: 0 }, () => ({ started: new Date(), drives: [] }), ctx);
    const port = Number(server.address.split(':')[1]);
    const ask = (
      path: string,
      method = 'GET',
      host = server.address,
    ): Promise<{ code: number; type: string; body: string }> =>
      new Promise((done, fail) => {
        const asked = request({ host: '127.0.0.1', port, path, method, headers: { host } }, (response) => {
          let body = '';
          response.setEncoding('utf8').on('data', (text: string) => {
            body += text;
          });
          response.on('end', () =>
            done({ code: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', body }),
          );
        });
        asked.on('error', fail).end();
      });
    try {
      const { code, type, body } = await ask('/metrics');
      assert.equal([code, type], [200, 'text/plain; version=0.0.4; charset=utf-8']);
      assert.ok(parse(body).has('tandem_build_info'));
      assert.equal(
        [(await ask('/')).code, (await ask('/other')).code, (await ask('/metrics', 'POST')).code],
        [200, 404, 405],
      );
      assert.is((await ask('/metrics', 'GET', 'evil.example')).code, 403);
      const idle = connect(port, '127.0.0.1');
      await new Promise((done) => idle.on('connect', done));
      const cut = new Promise((done) => idle.on('close', done));
      await server.close();
      await cut;
      await serveMetrics({ host: '127.0.0.1', port }, () => ({ started: new Date(), drives: [] }), ctx).then((one) =>
        one.close(),
      );
    } finally {
      await server.close();
    }
  }));

test.run();
