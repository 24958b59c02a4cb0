/** The log of all processes: whole lines, each once, whoever writes and whenever a file is set aside; no secrets. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { command, followLog, type LogLine, readLog } from '../features/log.ts';
import { type Context, createContext } from '../shared/context.ts';
import type { Output, Values, Verb } from '../shared/feature.ts';
import { log, logFile, logWritten } from '../shared/log.ts';
import { REPOSITORY, type Sandbox, sandbox } from './helpers/cli.ts';
import { withPair } from './helpers/pair.ts';
import { until } from './helpers/watching.ts';

const test = suite('log');

async function atLog(settings: string, work: (ctx: Context, box: Sandbox) => Promise<void>): Promise<void> {
  const box = sandbox();
  writeFileSync(join(box.config, 'app.yaml'), `version: 1\nlog: ${settings}\n`);
  const ctx = createContext({ configDir: box.config, dataDir: box.data });
  try {
    await work(ctx, box);
  } finally {
    await ctx.close();
    box.cleanup();
  }
}

const numbersOf = (lines: readonly LogLine[]): number[] => lines.map(({ n }) => n as number);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, at) => at);

/** Follows until so many lines came. */
async function followed(ctx: Context, count: number, work: () => Promise<void> | void): Promise<LogLine[]> {
  const stop = new AbortController();
  const seen: LogLine[] = [];
  const following = followLog({}, 0, (line) => seen.push(line), { ...ctx, signal: stop.signal });
  try {
    await work();
    await until(() => seen.length >= count || `${seen.length} lines`, 20_000);
  } finally {
    stop.abort();
    await following;
  }
  return seen;
}

test('two processes write while files are set aside: every line is there once and whole, and is followed once', () =>
  atLog('{ max_size: 10kB, keep: 100 }', async (ctx, box) => {
    const script = `import { createContext } from ${JSON.stringify(join(REPOSITORY, 'shared/context.ts'))};
      import { log, logWritten } from ${JSON.stringify(join(REPOSITORY, 'shared/log.ts'))};
      const ctx = createContext();
      log(ctx, 'info', 'begin', '');
      await logWritten();
      for (let n = 0; n < 200; n += 1) {
        log(ctx, 'info', 'test', 'ü'.repeat(100), { n, from: process.argv[2] });
        if (n % 20 === 0) await new Promise((done) => setTimeout(done, 5));
      }
      await ctx.close();`;
    const file = join(box.root, 'writer.mts');
    writeFileSync(file, script);
    const writer = (name: string): Promise<number | null> =>
      new Promise((done) => {
        const env = { ...process.env, TANDEM_CONFIG: box.config, TANDEM_DATA: box.data };
        spawn(process.execPath, ['--import', import.meta.resolve('tsx'), file, name], { env, stdio: 'inherit' }).on(
          'exit',
          done,
        );
      });
    const seen = await followed(ctx, 402, async () => {
      assert.equal(await Promise.all([writer('a'), writer('b')]), [0, 0]);
    });
    const files = readdirSync(join(box.data, 'logs'));
    assert.ok(files.length >= 8, `${files.length} files`);
    assert.not.ok(files.some((name) => name.endsWith('.lock')));
    for (const lines of [readLog({}, 1000, ctx), seen]) {
      assert.is(lines.length, 402);
      for (const name of ['a', 'b'])
        assert.equal(
          numbersOf(lines.filter(({ from }) => from === name)).sort((x, y) => x - y),
          upTo(200),
        );
    }
  }));

test('a process that has the former file open goes on in the newest one, and the oldest are removed', () =>
  atLog('{ max_size: 10kB, keep: 2 }', async (ctx, box) => {
    const other = createContext({ configDir: box.config, dataDir: box.data });
    for (const n of upTo(600)) log(n % 2 === 0 ? ctx : other, 'info', 'test', 'x'.repeat(50), { n });
    await logWritten();
    assert.equal(readdirSync(join(box.data, 'logs')).sort(), ['tandem.log', 'tandem.log.1', 'tandem.log.2']);
    const kept = numbersOf(readLog({}, 1000, ctx));
    assert.equal(kept, upTo(600).slice(-kept.length), 'the newest, without a gap');
    assert.equal(numbersOf(readLog({}, 3, ctx)), [597, 598, 599]);
  }));

test('-f goes on in the next file', () =>
  atLog('{ max_size: 10kB, keep: 50 }', async (ctx) => {
    log(ctx, 'info', 'test', 'before', { n: -1 });
    await logWritten();
    const seen = await followed(ctx, 300, () => {
      for (const n of upTo(300)) log(ctx, 'info', 'test', 'y'.repeat(200), { n });
    });
    assert.equal(numbersOf(seen), upTo(300));
  }));

test('tandem log: level, text, number, JSON; what is no line of ours is passed over', () =>
  atLog('{ level: debug }', async (ctx) => {
    const show = async (options: Values): Promise<LogLine[]> =>
      ((await (command.verbs['log'] as Verb).run({ args: {}, options }, ctx, () => {})) as Output).json as LogLine[];
    assert.equal(await show({}), []);
    for (const level of ['debug', 'info', 'warn', 'error'] as const) log(ctx, level, 'test', `A ${level}\u001b[2J`);
    await logWritten();
    writeFileSync(logFile(ctx), 'half a li\n[]\n"x"\n', { flag: 'a' });
    assert.equal(
      (await show({ level: 'warn' })).map(({ msg }) => msg),
      ['A warn\u001b[2J', 'A error\u001b[2J'],
    );
    assert.equal((await show({ grep: 'a INFO' })).length, 1);
    assert.equal((await show({ lines: 1 })).length, 1);
    const output = (await (command.verbs['log'] as Verb).run({ args: {}, options: {} }, ctx, () => {})) as Output;
    assert.not.ok(output.text((_style, text) => text).includes('\u001b'));
  }));

test('what is below the level is not noted, and pino not loaded for it; a folder that cannot be written stops nothing', () =>
  atLog('{ level: error }', async (ctx, box) => {
    log(ctx, 'info', 'test', 'quiet');
    await logWritten();
    assert.equal(readLog({}, 10, ctx), []);
    writeFileSync(join(box.data, 'logs'), 'a file stands here');
    log(ctx, 'error', 'test', 'loud');
    await logWritten();
    assert.is(readFileSync(join(box.data, 'logs'), 'utf8'), 'a file stands here');
  }));

test('runs are noted with their counts and reasons, and without passwords, addresses and tokens', () =>
  withPair({ master: { 'a.txt': 'a' } }, async (pair) => {
    const file = join(pair.box.root, 'token');
    writeFileSync(file, 'tk_secret_1\n', { mode: 0o600 });
    const channel = {
      name: 'hook',
      type: 'webhook',
      url: 'http://127.0.0.1:9/path_secret_2',
      token_file: file,
      retries: 0,
    };
    const own = readFileSync(join(pair.box.config, 'app.yaml'), 'utf8');
    writeFileSync(
      join(pair.box.config, 'app.yaml'),
      `${own}notify: { channels: [${JSON.stringify({ ...channel, events: ['completed'] })}] }\n`,
    );
    const env = { TANDEM_PASSWORD: 'pw_secret_3' };
    assert.is((await pair.box.run(['sync', 'run', 'Archive'], { env })).code, 0);
    const lines = readLog({}, 100, pair.ctx);
    assert.equal(
      lines.map(({ event, level }) => [event, level]),
      [
        ['operation.started', 'info'],
        ['operation.completed', 'info'],
      ],
    );
    assert.equal(
      [lines[1]?.['files_copied'], lines[1]?.['target'], lines[1]?.msg],
      [1, 'Archive', 'Sync of Archive completed.'],
    );
    assert.not.match(readFileSync(logFile(pair.ctx), 'utf8'), /secret_/);
    writeFileSync(join(pair.backup, 'a.txt'), 'changed here');
    await pair.sync();
    await logWritten();
    assert.equal([readLog({ level: 'warn' }, 1, pair.ctx)[0]?.['conflicts_detected']], [1]);
  }));

test.run();
