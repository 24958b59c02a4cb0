/** Notices on their way to programs and servers: what they carry, who gets which, time limits, attempts, secrets. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { deliver, type Notice } from '../features/channels.ts';
import { drainNotices, type NoticeInput, notify, testChannels } from '../features/notify.ts';
import { addSchedule, runScheduler, Scheduler } from '../features/schedule.ts';
import { type Context, createContext } from '../shared/context.ts';
import type { TandemEvent } from '../shared/events.ts';
import { type CliResult, type Sandbox, sandbox } from './helpers/cli.ts';
import { withPair } from './helpers/pair.ts';
import { boundTo } from './helpers/signals.ts';

const test = suite('notify');

interface Request {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** Answers with the statuses in turn, the last one again and again; `slow`: never. */
async function withServer(
  statuses: readonly (number | 'slow')[],
  work: (url: string, seen: Request[]) => Promise<void>,
): Promise<void> {
  const seen: Request[] = [];
  const server: Server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      const status = statuses[Math.min(seen.length, statuses.length - 1)] ?? 200;
      seen.push({ path: request.url ?? '', headers: request.headers, body });
      if (status !== 'slow') response.writeHead(status, status === 302 ? { location: '/elsewhere' } : {}).end('ok');
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  try {
    await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen);
  } finally {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
}

interface Desk {
  box: Sandbox;
  ctx: Context;
  warnings: string[];
  /** Writes `notify.channels`. */
  channels(...channels: object[]): void;
}

async function atDesk(work: (desk: Desk) => Promise<void>): Promise<void> {
  const box = sandbox();
  const warnings: string[] = [];
  const emit = (event: TandemEvent): void => {
    if (event.kind === 'warning') warnings.push(event.message);
  };
  const ctx = createContext({ configDir: box.config, dataDir: box.data, emit });
  const app = join(box.config, 'app.yaml');
  const base = readFileSync(app, 'utf8');
  const channels = (...list: object[]): void =>
    writeFileSync(app, `${base}notify:\n  channels: ${JSON.stringify(list)}\n`);
  try {
    await work({ box, ctx, warnings, channels });
  } finally {
    await drainNotices(100);
    await ctx.close();
    box.cleanup();
  }
}

const NOTICE: NoticeInput = {
  event: 'failed',
  group_id: 'g-1',
  target: 'Archive',
  message: 'The Backup caught fire; "quoted" $HOME `x` ünï.',
  operation_id: 'op-1',
  schedule_id: 'nightly',
};

test('a webhook gets the notice as JSON, with its token, which comes from a file or a variable', () =>
  atDesk(({ ctx, channels, box, warnings }) =>
    withServer([200], async (url, seen) => {
      const file = join(box.root, 'token');
      writeFileSync(file, 'tk_secret\n', { mode: 0o600 });
      process.env['NOTIFY_TEST_URL'] = `${url}/from-env`;
      process.env['NOTIFY_TEST_TOKEN'] = 'tk_env';
      channels(
        { name: 'one', type: 'webhook', url: `${url}/hook?x=1`, token_file: file },
        { name: 'two', type: 'webhook', url_env: 'NOTIFY_TEST_URL', token_env: 'NOTIFY_TEST_TOKEN' },
      );
      notify(NOTICE, ctx);
      await drainNotices(5000);
      const [one, two] = seen.sort((a, b) => (a.path > b.path ? -1 : 1));
      assert.is(one?.path, '/hook?x=1');
      assert.is(one?.headers.authorization, 'Bearer tk_secret');
      assert.is(two?.headers.authorization, 'Bearer tk_env');
      const { time, ...body } = JSON.parse(one?.body ?? '') as Record<string, unknown>;
      assert.equal(body, { ...NOTICE, status: 'failed' });
      assert.ok(!Number.isNaN(Date.parse(String(time))));
      assert.equal(warnings, []);
    }),
  ));

test('ntfy and healthchecks get what they understand', () =>
  atDesk(({ ctx, channels }) =>
    withServer([200], async (url, seen) => {
      const events = ['started', 'completed', 'failed'];
      channels(
        { name: 'n', type: 'webhook', style: 'ntfy', url: `${url}/topic` },
        { name: 'h', type: 'webhook', style: 'healthchecks', url: `${url}/ping/uuid` },
      );
      for (const event of ['started', 'completed', 'failed'] as const)
        notify({ ...NOTICE, event, target: 'Fotos ü' }, ctx);
      await drainNotices(5000);
      const health = seen.filter(({ path }) => path.startsWith('/ping'));
      assert.equal(
        health.map(({ path }) => path),
        ['/ping/uuid/start', '/ping/uuid', '/ping/uuid/fail'],
        events.join(),
      );
      const ntfy = seen.filter(({ path }) => path === '/topic');
      assert.is(ntfy.length, 1, 'only what needs a person');
      assert.is(ntfy[0]?.body, NOTICE.message);
      assert.is(ntfy[0]?.headers['priority'], 'high');
      const title = String(ntfy[0]?.headers['title']);
      const [, base64 = ''] = /^=\?UTF-8\?B\?(.+)\?=$/.exec(title) ?? [];
      assert.is(Buffer.from(base64, 'base64').toString(), 'Run failed: Fotos ü');
    }),
  ));

test('events and groups decide who is told', () =>
  atDesk(({ ctx, channels }) =>
    withServer([200], async (url, seen) => {
      channels(
        { name: 'all', type: 'webhook', url: `${url}/all`, events: ['started', 'completed', 'overdue'] },
        { name: 'mine', type: 'webhook', url: `${url}/mine`, groups: ['archive'] },
        { name: 'byid', type: 'webhook', url: `${url}/byid`, groups: ['g-1'] },
        { name: 'other', type: 'webhook', url: `${url}/other`, groups: ['Other'] },
        { name: 'home', type: 'webhook', url: `${url}/home`, groups: ['Drive pair'] },
      );
      notify({ ...NOTICE, event: 'completed' }, ctx);
      notify({ ...NOTICE, event: 'conflict', groups: ['g-9', 'drive pair'] }, ctx);
      await drainNotices(5000);
      assert.equal(seen.map(({ path }) => path).sort(), ['/all', '/byid', '/home', '/mine']);
    }),
  ));

test('trouble that passes is tried again; an answer that will not change, and a redirect, are not', () =>
  atDesk(async ({ ctx, channels, warnings }) => {
    await withServer([503, 429, 200], async (url, seen) => {
      channels({ name: 'w', type: 'webhook', url });
      notify(NOTICE, ctx);
      await drainNotices(10_000);
      assert.is(seen.length, 3);
      assert.equal(warnings, []);
    });
    for (const status of [404, 302]) {
      await withServer([status, 200], async (url, seen) => {
        channels({ name: 'w', type: 'webhook', url: `${url}/secret-topic` });
        notify(NOTICE, ctx);
        await drainNotices(10_000);
        assert.is(seen.length, 1);
        assert.match(
          warnings.splice(0)[0] ?? '',
          new RegExp(`'w' was not told .*: 127\\.0\\.0\\.1:\\d+ answered ${status}`),
        );
      });
    }
    channels({ name: 'w', type: 'webhook', url: 'http://127.0.0.1:9/secret-topic', retries: 0 });
    notify(NOTICE, ctx);
    await drainNotices(10_000);
    assert.match(warnings[0] ?? '', /127\.0\.0\.1:9 cannot be reached/);
    assert.not.match(warnings[0] ?? '', /secret-topic/);
  }));

test('a slow server holds up neither the caller, nor other channels, nor the end', () =>
  atDesk(({ ctx, channels, warnings }) =>
    withServer(['slow'], (slow) =>
      withServer([200], async (fast, seen) => {
        channels(
          { name: 'slow', type: 'webhook', url: slow, timeout: 0.3, retries: 1 },
          { name: 'fast', type: 'webhook', url: fast },
        );
        const before = performance.now();
        for (let one = 0; one < 150; one += 1) notify(NOTICE, ctx);
        assert.ok(performance.now() - before < 10_000, 'the caller goes on');
        while (seen.length < 100 && performance.now() - before < 60_000) await sleep(20);
        assert.ok(seen.length >= 100, `${seen.length} arrived`);
        const end = performance.now();
        await drainNotices(500);
        assert.ok(performance.now() - end < 20_000);
        assert.ok(
          warnings.some((text) => /100 others wait/.test(text)),
          'a queue has an end',
        );
      }),
    ),
  ));

test('a notice leaves nothing behind on the signal that outlives it, whether it arrived or not', () =>
  atDesk(({ ctx }) =>
    withServer([200, 500, 'slow'], async (url) => {
      const { signal } = new AbortController();
      const channel = { name: 'w', type: 'webhook', url, timeout: 0.3, retries: 0 } as const;
      const notice = { ...NOTICE, time: '2026-01-01T00:00:00Z', status: NOTICE.event } as Notice;
      const said: (string | undefined)[] = [];
      for (let round = 0; round < 3; round += 1) said.push(await deliver(channel, notice, ctx, signal));
      assert.is(said[0], undefined);
      assert.match(said[1] ?? '', /answered 500/);
      assert.match(said[2] ?? '', /did not answer within 0.3 s/);
      assert.is(boundTo(signal), 0);
      // What the helper counts is what Node has.
      const kept = AbortSignal.any([signal]);
      assert.ok(boundTo(signal) === 1 && !kept.aborted);
    }),
  ));

test('a sync takes no longer because nobody answers', () =>
  withServer(['slow'], (url) =>
    withPair({ master: { 'a.txt': 'a' } }, async ({ box, context }) => {
      const app = join(box.config, 'app.yaml');
      const channel = { name: 'slow', type: 'webhook', url, events: ['started', 'completed'], timeout: 30 };
      writeFileSync(app, `${readFileSync(app, 'utf8')}notify:\n  channels: ${JSON.stringify([channel])}\n`);
      const ctx = context();
      await addSchedule({ schedule_id: 's', target: 'Archive', when: { kind: 'on-connect', settle: 0 } }, ctx);
      const scheduler = new Scheduler(ctx);
      const before = performance.now();
      await scheduler.tick();
      await scheduler.idle();
      assert.ok(performance.now() - before < 25_000);
      await scheduler.close();
      assert.ok(performance.now() - before < 29_000, 'the end waits a second for it');
    }),
  ));

test('a command gets the notice on stdin and nothing of it as words; no shell unless it is asked for; no password', () =>
  atDesk(async ({ ctx, channels, box, warnings }) => {
    const out = join(box.root, 'out');
    const script = join(box.root, 'tell');
    writeFileSync(script, '#!/bin/sh\ncat > "$1"; echo "$2|$TANDEM_PASSWORD" >> "$1"\n');
    chmodSync(script, 0o755);
    process.env['TANDEM_PASSWORD'] = 'never';
    try {
      channels({ name: 'c', type: 'command', command: [script, out, '$(touch x); *'] });
      notify(NOTICE, ctx);
      await drainNotices(5000);
    } finally {
      delete process.env['TANDEM_PASSWORD'];
    }
    const [json, words] = readFileSync(out, 'utf8').split('\n');
    assert.is((JSON.parse(json ?? '') as NoticeInput).message, NOTICE.message);
    assert.is(words, '$(touch x); *|');
    channels({ name: 'sh', type: 'command', shell: `wc -c > '${out}.size'` });
    notify(NOTICE, ctx);
    await drainNotices(5000);
    assert.ok(Number(readFileSync(`${out}.size`, 'utf8')) > 50);
    assert.equal(warnings, []);
  }));

test('a command that hangs is ended with all it started; one that fails, or is not there, is a warning', () =>
  atDesk(async ({ ctx, channels, box, warnings }) => {
    const late = join(box.root, 'late');
    channels({ name: 'hangs', type: 'command', shell: `(sleep 2; touch '${late}') & sleep 60`, timeout: 0.3 });
    notify(NOTICE, ctx);
    await drainNotices(5000);
    assert.match(warnings.splice(0)[0] ?? '', /it took longer than 0\.3 s/);
    channels({ name: 'fails', type: 'command', shell: 'echo "no \u001b[31mpaper" >&2; exit 3' });
    notify(NOTICE, ctx);
    channels({ name: 'missing', type: 'command', command: ['/no/such/program'] });
    notify(NOTICE, ctx);
    await drainNotices(5000);
    assert.ok(
      warnings.some((text) => text.endsWith('it ended with code 3: no ␛[31mpaper.')),
      warnings.join('\n'),
    );
    assert.ok(
      warnings.some((text) => /there is no program '\/no\/such\/program'/.test(text)),
      warnings.join('\n'),
    );
    await sleep(2200);
    assert.not.ok(existsSync(late));
  }));

test('the desktop gets title and text as words that cannot be taken for options or markup', () =>
  atDesk(async ({ ctx, channels, box, warnings }) => {
    const bin = join(box.root, 'bin');
    const out = join(box.root, 'out');
    mkdirSync(bin);
    for (const name of ['notify-send', 'osascript']) {
      writeFileSync(join(bin, name), `#!/bin/sh\nfor word in "$@"; do echo "$word"; done > '${out}'\n`);
      chmodSync(join(bin, name), 0o755);
    }
    const path = process.env['PATH'];
    process.env['PATH'] = `${bin}:${path}`;
    try {
      channels({ name: 'desk', type: 'desktop' });
      notify({ ...NOTICE, target: '--help', message: '-x <b>& "do shell script"' }, ctx);
      await drainNotices(5000);
      const words = readFileSync(out, 'utf8').trimEnd().split('\n');
      assert.equal(words.slice(-3), ['--', 'Run failed: --help', '-x &lt;b&gt;&amp; "do shell script"']);
      notify({ ...NOTICE, message: '" & (do shell script "x") & "' }, { ...ctx, platform: 'darwin' });
      await drainNotices(5000);
      const mac = readFileSync(out, 'utf8').trimEnd().split('\n');
      assert.equal(mac.slice(-2), ['Run failed: Archive', '" & (do shell script "x") & "']);
      assert.equal(warnings, []);
    } finally {
      process.env['PATH'] = path;
    }
  }));

test('secrets that others may read, empty variables and addresses of other kinds are refused', () =>
  atDesk(async ({ ctx, channels, box }) => {
    const open = join(box.root, 'open');
    writeFileSync(open, 'https://example.invalid/topic\n', { mode: 0o644 });
    const odd = join(box.root, 'odd');
    writeFileSync(odd, 'file:///etc/hostname\n', { mode: 0o600 });
    channels(
      { name: 'open', type: 'webhook', url_file: open },
      { name: 'odd', type: 'webhook', url_file: odd },
      { name: 'empty', type: 'webhook', url_env: 'NOTIFY_TEST_NO_SUCH' },
    );
    const results = await testChannels(undefined, ctx);
    assert.equal(
      results.map(({ delivered }) => delivered),
      [false, false, false],
    );
    assert.match(results[0]?.message ?? '', /Others may read/);
    assert.match(results[1]?.message ?? '', /does not begin with http/);
    assert.match(results[2]?.message ?? '', /NOTIFY_TEST_NO_SUCH is empty/);
  }));

test('the command line: test and list; a mistake in app.yaml has its line', () =>
  atDesk(async ({ box, channels }) => {
    const run = (...words: string[]): Promise<CliResult> => box.run(['notify', ...words]);
    assert.match((await run('list')).stdout, /^Nobody is told/);
    assert.is((await run('test')).code, 2);
    const out = join(box.root, 'out');
    channels(
      { name: 'good', type: 'command', command: ['tee', out] },
      { name: 'bad', type: 'command', command: ['false'] },
    );
    const good = await run('test', 'good', '--json');
    assert.is(good.code, 0, good.stderr);
    assert.equal(good.json(), [{ channel: 'good', type: 'command', delivered: true, message: null }]);
    assert.match(readFileSync(out, 'utf8'), /This is a test of tandem/);
    const both = await run('test');
    assert.is(both.code, 1);
    assert.match(both.stdout, /✓ good \(command\): told\n✗ bad \(command\): it ended with code 1/);
    assert.match((await run('test', 'goof')).stderr, /Did you mean 'good'/);
    assert.match((await run('list')).stdout, /good +command +failed, conflict, waiting, overdue +all/);
    for (const wrong of [
      { name: 'x', type: 'webhook' },
      { name: 'x', type: 'webhook', url: 'https://user:secret@example.invalid/' },
      { name: 'x', type: 'webhook', url: 'https://example.invalid', token: 'tk' },
      { name: 'x', type: 'command', command: ['a'], shell: 'b' },
      { name: 'x', type: 'desktop', events: ['exploded'] },
      { name: 'x y', type: 'desktop' },
    ]) {
      channels(wrong);
      const { code, stderr } = await run('list');
      assert.is(code, 2, JSON.stringify(wrong));
      assert.match(stderr, /app\.yaml:\d+:\d+: notify/, JSON.stringify(wrong));
      assert.not.match(stderr, /secret@|"tk"/, 'no secret is repeated');
    }
  }));

test('a scheduler that runs tells of a start and an end, with the operation', () =>
  withServer([200], (url, seen) =>
    withPair({ master: { 'a.txt': 'a' } }, async ({ box, context }) => {
      const app = join(box.config, 'app.yaml');
      const channel = { name: 'all', type: 'webhook', url, events: ['started', 'completed'] };
      writeFileSync(app, `${readFileSync(app, 'utf8')}notify:\n  channels: ${JSON.stringify([channel])}\n`);
      const stop = new AbortController();
      const ctx = context({ signal: stop.signal });
      await addSchedule({ schedule_id: 'plugged', target: 'Archive', when: { kind: 'on-connect', settle: 0 } }, ctx);
      const running = runScheduler(ctx);
      for (const end = Date.now() + 15_000; seen.length < 2 && Date.now() < end; ) await sleep(50);
      stop.abort();
      await running;
      const [started, completed] = seen.map(({ body }) => JSON.parse(body) as Record<string, unknown>);
      assert.equal([started?.['event'], completed?.['event']], ['started', 'completed']);
      assert.match(String(started?.['operation_id']), /^[0-9a-f-]{36}$/);
      assert.is(started?.['operation_id'], completed?.['operation_id']);
      assert.is(completed?.['schedule_id'], 'plugged');
      assert.match(String(completed?.['message']), /1 file copied/);
    }),
  ));

test.run();
