import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as history from '../features/history.ts';
import * as steering from '../features/steering.ts';
import { type Context, type ContextOptions, createContext } from '../shared/context.ts';
import { TandemError } from '../shared/errors.ts';
import type { Paint } from '../shared/feature.ts';
import { thisProcess } from '../shared/machine.ts';
import { MIGRATIONS } from '../shared/schema.ts';
import './helpers/property.ts';

const GROUP = '550e8400-e29b-41d4-a716-446655440000';
const plain: Paint = (_style, text) => text;

async function withData(work: (ctx: Context, dir: string) => Promise<void>, options: ContextOptions = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'tandem-history-'));
  const ctx = createContext({ configDir: join(dir, 'config'), dataDir: join(dir, 'data'), ...options });
  try {
    await work(ctx, dir);
  } finally {
    await ctx.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

function start(over: Partial<history.OperationStart> = {}): history.OperationStart {
  const names = { group_id: GROUP, operation_type: 'sync', target_name: 'Archive', subpath: '' };
  return { uuid: randomUUID(), target_kind: 'group', ...names, ...over };
}

function result(over: Partial<history.OperationResult> = {}): history.OperationResult {
  const files = { files_copied: 0, files_skipped: 0, files_failed: 0, files_moved: 0, files_deleted: 0 };
  return { ...files, bytes_copied: 0, conflicts_detected: 0, verified: 'none', problems: [], reason: null, ...over };
}

function baseline(path: string, over: Partial<history.BaselineRow> = {}): history.BaselineRow {
  const facts = 'f 7 1700000000.1234567890 1700000001.0000000000 12345 644 0 0';
  const checks = { check_a: 0xffff_ffff, check_b: 1 };
  const texts = { checksum: 'ab'.repeat(32), checksum_algorithm: 'sha256', link_target: '', stored_name: '' };
  return { path, size: 7, ...texts, master_facts: facts, backup_facts: facts, doubt: '', ...checks, ...over };
}

async function failure(work: Promise<unknown> | (() => Promise<unknown>)): Promise<TandemError> {
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    assert.instance(error, TandemError);
    return error as TandemError;
  }
  throw new Error('It was expected to fail.');
}

/** A process of its own that runs `code` with `history`, `ctx` and `say`; it inherits this one's TypeScript loader. */
function child(dir: string, code: string): ChildProcess {
  const file = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  const program = `import * as history from ${file('../features/history.ts')};
    import * as steering from ${file('../features/steering.ts')};
    import { createContext } from ${file('../shared/context.ts')};
    const ctx = createContext({ configDir: ${JSON.stringify(join(dir, 'config'))}, dataDir: ${JSON.stringify(join(dir, 'data'))} });
    const say = (text) => process.stdout.write(text + '\\n');
    ${code}`;
  const args = [...process.execArgv, '--input-type=module', '-e', program];
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function firstLine(process: ChildProcess): Promise<string> {
  let text = '';
  for await (const part of process.stdout ?? []) {
    text += String(part);
    if (text.includes('\n')) break;
  }
  return text.slice(0, text.indexOf('\n'));
}

const database = suite('database');

database('is not created by reading', () =>
  withData(async (ctx) => {
    assert.equal(await history.listOperations({ limit: 'all' }, ctx), []);
    assert.equal(await history.historyStatistics(undefined, ctx), []);
    assert.is(await history.markInterrupted(ctx), 0);
    assert.is(await history.findPair('m', 'b', ctx), null);
    assert.equal(await history.readBaseline(1, '', ctx), []);
    assert.equal(await history.baselineChecks(1, '', ctx), { rows: 0, a: 0, b: 0, doubtful: 0 });
    assert.is(await history.needsSync(GROUP, 'a', '', new Date(), 0, ctx), true);
    assert.is((await failure(history.getOperation('1', ctx))).code, 'not_found');
    assert.not(existsSync(ctx.dataDir));
  }),
);

database('an empty file becomes a database of the newest version', () =>
  withData(async (ctx) => {
    mkdirSync(ctx.dataDir, { recursive: true });
    writeFileSync(join(ctx.dataDir, 'tandem.db'), '');
    await history.startOperation(start(), ctx);
    const row = await (await ctx.db()).get('PRAGMA user_version');
    assert.equal(row, { user_version: MIGRATIONS.length });
  }),
);

database('a newer version is refused', () =>
  withData(async (ctx, dir) => {
    const other = createContext({ configDir: ctx.configDir, dataDir: join(dir, 'data') });
    await (await other.db()).run('PRAGMA user_version = 999');
    await other.close();
    const error = await failure(history.startOperation(start(), ctx));
    assert.is(error.code, 'database');
    assert.match(error.message, /newer tandem \(schema 999/);
  }),
);

database('a file that is no database is refused and left alone', () =>
  withData(async (ctx) => {
    mkdirSync(ctx.dataDir, { recursive: true });
    const path = join(ctx.dataDir, 'tandem.db');
    const content = 'not a database, but somebody needs it '.repeat(200);
    writeFileSync(path, content);
    assert.is((await failure(history.listOperations({ limit: 1 }, ctx))).code, 'database');
    assert.is(readFileSync(path, 'utf8'), content);
  }),
);

database('two processes open a new database and write at once; nothing is lost', () =>
  withData(async (ctx, dir) => {
    const code = `for (let run = 0; run < 10; run += 1) {
        const uuid = crypto.randomUUID();
        const id = await history.startOperation({ uuid, group_id: 'g', operation_type: 'sync', target_kind: 'group',
          target_name: String(process.pid), subpath: '' }, ctx);
        const pair = await history.ensurePair('g', 'm', 'b', ctx);
        const actions = Array.from({ length: 300 }, (_, at) => ({ path: 'p' + at, action: 'copy', size: at, status: 'done' }));
        await history.recordActions(id, 0, actions, ctx);
        const rows = Array.from({ length: 50 }, (_, at) => ({ path: uuid + '/' + at, size: 1, checksum: '', checksum_algorithm: 'sha256',
          master_facts: '', backup_facts: '', link_target: '', stored_name: '', doubt: '', check_a: 1, check_b: 2 }));
        await history.writeBaseline(pair, 'g', 'sync', rows, [], ctx);
        await history.completeSyncOperation(id, { files_copied: 300 }, 'completed', ctx);
      }
      await ctx.close();`;
    const ends = await Promise.all([child(dir, code), child(dir, code)].map((one) => once(one, 'exit')));
    assert.equal(ends, [
      [0, null],
      [0, null],
    ]);
    const operations = await history.listOperations({ limit: 'all' }, ctx);
    assert.is(operations.length, 20);
    assert.is(new Set(operations.map((one) => one.target_name)).size, 2);
    assert.ok(operations.every((one) => one.status === 'completed' && one.files_copied === 300));
    for (const one of operations) assert.is((await history.operationFiles(one.id, ctx)).length, 300);
    const pair = (await history.findPair('m', 'b', ctx)) ?? -1;
    assert.equal(await history.baselineChecks(pair, '', ctx), { rows: 1000, a: 1000, b: 2000, doubtful: 0 });
  }),
);

const operations = suite('operations');

operations('a run is a row from its start to its end', () =>
  withData(async (ctx) => {
    const begun = start({ target_name: 'A\u001b[31m "x",\n', subpath: "Day 1/o'clock" });
    const id = await history.startOperation(begun, ctx);
    const running = await history.getOperation(begun.uuid, ctx);
    assert.is(running.status, 'running');
    assert.is(running.target_name, begun.target_name);
    assert.is(running.subpath, begun.subpath);
    assert.is(running.end_time, null);
    assert.is(running.process_id, process.pid);
    const problems = Array.from({ length: 1500 }, (_, at) => ({ path: `p\n${at}`, message: 'It failed.' }));
    await history.completeOperation(
      id,
      result({ files_copied: 3, bytes_copied: 2 ** 52 + 1, problems, verified: 'device' }),
      'failed',
      ctx,
    );
    const ended = await history.getOperation(String(id), ctx);
    assert.is(ended.status, 'failed');
    assert.is(ended.bytes_copied, 2 ** 52 + 1);
    assert.is(ended.verified, 'device');
    assert.equal(ended.problems, problems.slice(0, 1000));
    assert.ok(Date.parse(ended.end_time ?? '') >= Date.parse(ended.start_time));
    assert.is((await failure(history.completeOperation(id + 1, result(), 'completed', ctx))).code, 'not_found');
  }),
);

operations('are found by number, uuid and unique beginning', () =>
  withData(async (ctx) => {
    const uuids = [
      'aaaa1111-0000-4000-8000-000000000000',
      'aaaa2222-0000-4000-8000-000000000000',
      '2bbb0000-0000-4000-8000-000000000000',
    ];
    for (const uuid of uuids) await history.startOperation(start({ uuid }), ctx);
    const find = async (query: string): Promise<number> => (await history.getOperation(query, ctx)).id;
    assert.is(await find('2'), 2, 'a number wins over the beginning of a uuid');
    assert.is(await find('2b'), 3);
    assert.is(await find('AAAA2'), 2);
    assert.is(await find(uuids[0] ?? ''), 1);
    const ambiguous = await failure(history.getOperation('aaaa', ctx));
    assert.is(ambiguous.code, 'ambiguous');
    for (const query of ['', ' ', '%', '_', 'aaaa%', '3f', '99', "' OR 1=1 --"]) {
      assert.is((await failure(history.getOperation(query, ctx))).code, 'not_found', query);
    }
    const hostile = await failure(history.getOperation('\u001b]0;x\n', ctx));
    assert.not.match(hostile.message, '\u001b');
  }),
);

operations('are listed newest first, filtered, in pages', () =>
  withData(async (ctx) => {
    for (let run = 0; run < 6; run += 1) {
      const odd = run % 2 === 1;
      const id = await history.startOperation(start(odd ? { group_id: 'other', target_name: 'Other' } : {}), ctx);
      if (run < 4) await history.completeOperation(id, result(), odd ? 'cancelled' : 'completed', ctx);
    }
    const ids = async (filter: history.HistoryFilter): Promise<number[]> =>
      (await history.listOperations(filter, ctx)).map((one) => one.id);
    assert.equal(await ids({ limit: 'all' }), [6, 5, 4, 3, 2, 1]);
    assert.equal(await ids({ limit: 2 }), [6, 5]);
    assert.equal(await ids({ limit: 2, offset: 3 }), [3, 2]);
    assert.equal(await ids({ limit: 'all', offset: 4 }), [2, 1]);
    assert.equal(await ids({ limit: 'all', status: 'cancelled' }), [4, 2]);
    assert.equal(await ids({ limit: 'all', target: 'Archive' }), [5, 3, 1]);
    assert.equal(await ids({ limit: 'all', target: 'other' }), [6, 4, 2]);
    assert.equal(await ids({ limit: 'all', group_id: GROUP, status: 'running' }), [5]);
    assert.equal(await ids({ limit: 'all', target: "x' OR '1'='1" }), []);
  }),
);

operations('broken JSON in a row does not hide the history', () =>
  withData(async (ctx) => {
    const id = await history.startOperation(start(), ctx);
    await (await ctx.db()).run(`UPDATE sync_operations SET problems = '[{', progress = 'x'`);
    const found = await history.getOperation(String(id), ctx);
    assert.equal(found.problems, []);
    assert.is(found.progress, null);
  }),
);

const progress = {
  phase: 'copy',
  files_done: 3,
  files_total: 10,
  files_copied: 3,
  files_skipped: 0,
  files_failed: 0,
  bytes_done: 5,
  bytes_total: 9,
  rate: 1,
  eta: null,
  current: ['a\n\ud800'],
  paused: false,
} as const;

operations('progress is seen and control flags arrive', () =>
  withData(async (ctx) => {
    const id = await history.startOperation(start(), ctx);
    const report = async (): Promise<history.Control> =>
      (await steering.reportProgress(id, { ...progress, current: [...progress.current] }, ctx)).control;
    assert.is(await report(), '');
    const seen = await history.getOperation(String(id), ctx);
    assert.is(seen.progress?.files_done, 3);
    assert.equal(seen.progress?.current, progress.current);
    for (const control of ['pause', '', 'pause', 'cancel', 'cancel', 'stop'] as const) {
      await steering.setControl(seen, control, ctx);
      assert.is(await report(), control);
    }
    for (const control of ['', 'pause', 'cancel'] as const) {
      const error = await failure(steering.setControl(seen, control, ctx));
      assert.is(error.code, 'invalid');
      assert.match(error.message, 'already being cancelled');
    }
    assert.is(await report(), 'stop', 'a later wish never takes a cancel back');
    await history.completeOperation(id, result(), 'cancelled', ctx);
    const ended = await history.getOperation(String(id), ctx);
    assert.is(ended.progress, null);
    assert.is(ended.control, '');
    const refused = await failure(steering.setControl(ended, 'pause', ctx));
    assert.is(refused.code, 'invalid');
    assert.match(refused.message, 'its status is cancelled');
    assert.is((await failure(steering.reportProgress(id + 1, { ...progress, current: [] }, ctx))).code, 'not_found');
  }),
);

operations('a killed process is found out, a living one is left alone', () =>
  withData(async (ctx, dir) => {
    const code = `const id = await history.startSyncOperation('g', 'sync', ctx);
      await steering.reportProgress(id, ${JSON.stringify(progress)}, ctx);
      say(String(id)); setInterval(() => {}, 1000);`;
    const victim = child(dir, code);
    try {
      const id = await firstLine(victim);
      assert.is(await history.markInterrupted(ctx), 0);
      const alive = await history.getOperation(id, ctx);
      assert.is(alive.status, 'running');
      victim.kill('SIGKILL');
      await once(victim, 'exit');
      assert.is((await failure(steering.setControl(alive, 'cancel', ctx))).code, 'invalid');
      const dead = await history.getOperation(id, ctx);
      assert.is(dead.status, 'failed');
      assert.is(dead.reason, 'interrupted');
      assert.ok(dead.end_time);
      assert.is(dead.progress?.files_done, 3, 'how far it came stays visible');
      assert.is(await history.markInterrupted(ctx), 0);
    } finally {
      victim.kill('SIGKILL');
    }
  }),
);

operations('another boot and a reused process number count as gone, and the next start marks them', () =>
  withData(async (ctx) => {
    const ids: number[] = [];
    for (let run = 0; run < 4; run += 1) ids.push(await history.startOperation(start(), ctx));
    const db = await ctx.db();
    await db.run(`UPDATE sync_operations SET boot_id = 'another' WHERE id = ?`, [ids[0] ?? 0]);
    await db.run(`UPDATE sync_operations SET process_start = '1' WHERE id = ?`, [ids[1] ?? 0]);
    await db.run(`UPDATE sync_operations SET process_id = 4194305 WHERE id = ?`, [ids[2] ?? 0]);
    await history.startOperation(start(), ctx);
    const all = await history.listOperations({ limit: 'all' }, ctx);
    assert.equal(
      all.map((one) => one.status),
      ['running', 'running', 'failed', 'failed', 'failed'],
    );
    assert.equal(
      all.map((one) => one.reason),
      [null, null, 'interrupted', 'interrupted', 'interrupted'],
    );
  }),
);

operations('a run in another process namespace cannot be seen from here, and is left running', () =>
  withData(async (ctx) => {
    const id = await history.startOperation(start(), ctx);
    const db = await ctx.db();
    await db.run(`UPDATE sync_operations SET process_id = 4194305, pid_namespace = 'pid:[1]' WHERE id = ?`, [id]);
    assert.is(await history.markInterrupted(ctx), 0);
    await db.run('UPDATE sync_operations SET pid_namespace = ? WHERE id = ?', [thisProcess().pid_namespace, id]);
    assert.is(await history.markInterrupted(ctx), 1);
  }),
);

const actions = suite('per-file actions');

actions('keep their order across batches and their hostile texts', () =>
  withData(async (ctx) => {
    const id = await history.startOperation(start(), ctx);
    const first: history.FileAction[] = [
      { path: 'a\nb\u001b[31m"\\\'%_.jpg', action: 'copy', size: 2 ** 53 - 1, status: 'done' },
      { path: '123', action: 'update', size: 0, status: 'failed', message: 'changed\nduring "copy"' },
      { path: '📷/\u{10ffff}', action: 'copy', size: 1, status: 'skipped', message: '' },
    ];
    const second: history.FileAction[] = Array.from({ length: 2500 }, (_, at) => {
      return { path: `p${at}`, action: 'copy', size: at, status: 'done' };
    });
    await history.recordActions(id, 0, first, ctx);
    await history.recordActions(id, first.length, second, ctx);
    await history.recordActions(id, 5000, [], ctx);
    assert.equal(await history.operationFiles(id, ctx), [...first, ...second]);
  }),
);

actions('a name that no text can hold is shown with a sign; a number is never used twice', () =>
  withData(async (ctx) => {
    const id = await history.startOperation(start(), ctx);
    await history.recordActions(
      id,
      0,
      [{ path: 'x\ud800\0y', action: 'copy', size: 1, status: 'failed', message: '\udc00' }],
      ctx,
    );
    const [stored] = await history.operationFiles(id, ctx);
    assert.is(stored?.path, 'x\ufffd\ufffdy');
    assert.is(stored?.message, '\ufffd');
    let refused = false;
    const again: history.FileAction[] = ['new', 'twice'].map((path) => ({
      path,
      action: 'copy',
      size: 1,
      status: 'done',
    }));
    await history.recordActions(id, -1, again, ctx).catch(() => {
      refused = true;
    });
    assert.ok(refused);
    assert.is((await history.operationFiles(id, ctx)).length, 1, 'a refused batch leaves nothing behind');
  }),
);

actions('are pruned only beyond both limits; operations stay', async () => {
  let now = Date.parse('2026-01-01T00:00:00Z');
  await withData(
    async (ctx) => {
      mkdirSync(ctx.configDir, { recursive: true });
      writeFileSync(join(ctx.configDir, 'app.yaml'), 'history:\n  keep_operations: 3\n  keep_days: 10\n');
      const run = async (): Promise<void> => {
        const id = await history.startOperation(start(), ctx);
        await history.recordActions(id, 0, [{ path: 'a', action: 'copy', size: 1, status: 'done' }], ctx);
        await history.completeOperation(id, result(), 'completed', ctx);
      };
      const kept = async (): Promise<number[]> => {
        const all = await history.listOperations({ limit: 'all' }, ctx);
        const counts = await Promise.all(all.map((one) => history.operationFiles(one.id, ctx)));
        return all.filter((_, at) => counts[at]?.length === 1).map((one) => one.id);
      };
      for (let day = 0; day < 6; day += 1) await run();
      assert.equal(await kept(), [6, 5, 4, 3, 2, 1], 'many, but young');
      now += 11 * 86_400_000;
      await run();
      assert.equal(await kept(), [7, 6, 5], 'old, but among the last three');
      assert.is((await history.listOperations({ limit: 'all' }, ctx)).length, 7);
      writeFileSync(join(ctx.configDir, 'app.yaml'), 'history: [broken');
      now += 11 * 86_400_000;
      await run();
      assert.equal(await kept(), [8, 7, 6, 5], 'broken settings end no run and prune nothing');
    },
    { now: () => new Date(now) },
  );
});

const exporting = suite('export');
const HEAD =
  'Operation ID,Type,Status,Files Copied,Files Skipped,Files Failed,Bytes Copied,Duration (s),Start Time,End Time';

async function twoRuns(ctx: Context, clock: { now: number }): Promise<void> {
  clock.now = Date.parse('2026-01-14T10:00:00.000Z');
  const first = await history.startOperation(start(), ctx);
  clock.now += 145_300;
  await history.completeOperation(
    first,
    result({ files_copied: 1234, files_skipped: 567, bytes_copied: 4_500_000_000 }),
    'completed',
    ctx,
  );
  clock.now = Date.parse('2026-01-14T14:30:00.200Z');
  await history.startOperation(start({ operation_type: 'sync, "odd"\nkind' }), ctx);
}

exporting('CSV has the columns, times and quoting of the reference', async () => {
  const clock = { now: 0 };
  await withData(
    async (ctx) => {
      assert.is(await history.exportHistory('csv', { limit: 'all' }, ctx), `${HEAD}\n`);
      await twoRuns(ctx, clock);
      assert.is(
        await history.exportHistory('csv', { limit: 'all' }, ctx),
        `${HEAD}\n1,sync,completed,1234,567,0,4500000000,145.3,2026-01-14 10:00:00,2026-01-14 10:02:25\n` +
          '2,"sync, ""odd""\nkind",running,0,0,0,0,,2026-01-14 14:30:00,\n',
      );
    },
    { now: () => new Date(clock.now) },
  );
});

exporting('JSON has exactly the fields of the reference', async () => {
  const clock = { now: 0 };
  await withData(
    async (ctx) => {
      await twoRuns(ctx, clock);
      clock.now = Date.parse('2026-01-14T15:45:00.999Z');
      const document = JSON.parse(await history.exportHistory('json', { limit: 'all', status: 'completed' }, ctx));
      assert.equal(document, {
        operations: [
          {
            id: 1,
            group_id: GROUP,
            operation_type: 'sync',
            status: 'completed',
            start_time: '2026-01-14T10:00:00Z',
            end_time: '2026-01-14T10:02:25Z',
            files_copied: 1234,
            files_skipped: 567,
            files_failed: 0,
            bytes_copied: 4_500_000_000,
          },
        ],
        export_time: '2026-01-14T15:45:00Z',
        total_operations: 1,
      });
    },
    { now: () => new Date(clock.now) },
  );
});

exporting('statistics add up per group and leave interrupted times out', async () => {
  const clock = { now: Date.parse('2026-01-14T10:00:00Z') };
  await withData(
    async (ctx) => {
      const run = async (
        over: Partial<history.OperationStart>,
        seconds: number,
        end: Partial<history.OperationResult>,
        status: 'completed' | 'failed' = 'completed',
      ) => {
        const id = await history.startOperation(start(over), ctx);
        clock.now += seconds * 1000;
        await history.completeOperation(id, result(end), status, ctx);
      };
      await run({}, 10, { files_copied: 2, bytes_copied: 1000 });
      await run(
        { target_kind: 'project', target_name: 'Wedding' },
        30,
        { files_copied: 1, bytes_copied: 3000, files_failed: 1 },
        'failed',
      );
      await run({}, 5, {});
      await run({ operation_type: 'verify' }, 5, {});
      await run({ group_id: 'other', target_kind: 'project', target_name: 'Wedding' }, 1, {}, 'failed');
      const dead = await history.startOperation(start(), ctx);
      await (await ctx.db()).run(`UPDATE sync_operations SET boot_id = 'another' WHERE id = ?`, [dead]);
      clock.now += 1e9;
      await history.markInterrupted(ctx);
      const all = await history.historyStatistics(undefined, ctx);
      assert.equal(
        all.map((one) => one.group_name),
        ['Archive', null],
      );
      assert.equal(all[0], {
        group_id: GROUP,
        group_name: 'Archive',
        operations: { running: 0, completed: 3, failed: 2, cancelled: 0 },
        files_copied: 3,
        files_moved: 0,
        files_deleted: 0,
        files_failed: 1,
        bytes_copied: 4000,
        duration_seconds: 50,
        bytes_per_second: 100,
        last_success: '2026-01-14T10:00:45.000Z',
      });
      assert.is(all[1]?.bytes_per_second, null);
      assert.is(all[1]?.last_success, null);
      assert.equal(await history.historyStatistics('Archive', ctx), all.slice(0, 1));
      assert.equal(await history.historyStatistics('other', ctx), all.slice(1));
      assert.equal(await history.historyStatistics('Wedding', ctx), [], 'a project is no group');
    },
    { now: () => new Date(clock.now) },
  );
});

const base = suite('baseline');

async function pairOf(ctx: Context): Promise<number> {
  return history.ensurePair(GROUP, 'master', 'backup', ctx);
}

const byPath = (rows: readonly history.BaselineRow[]): history.BaselineRow[] =>
  [...rows].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));

base('a pair keeps its number, and roles matter', () =>
  withData(async (ctx) => {
    const id = await pairOf(ctx);
    assert.is(await pairOf(ctx), id);
    assert.is(await history.ensurePair('moved to another group', 'master', 'backup', ctx), id);
    assert.is.not(await history.ensurePair(GROUP, 'backup', 'master', ctx), id);
    assert.is(await history.findPair('master', 'backup', ctx), id);
    assert.is(await history.findPair('master', 'other', ctx), null);
  }),
);

base('hostile paths come back as they went in', () =>
  withData(async (ctx) => {
    const pair = await pairOf(ctx);
    const paths = [
      'a\nb',
      '\u001b[2J',
      '"',
      "'",
      '""\'\'',
      '\\',
      '\\u0041',
      '%',
      '_%',
      '📷.jpg',
      '\u{10ffff}',
      '\uffff',
      '\ufffd',
      'é',
      'e\u0301',
      '\u0001',
      '\u007f',
      '123',
      '0.1',
      'null',
      'true',
      '{"a":1}',
      '[1]',
      ' ',
      'x'.repeat(4000),
      '\u2028',
      'ÿ',
      '-- ; DROP TABLE pairs',
    ];
    const rows = paths.map((path, at) =>
      baseline(path, { link_target: path, stored_name: path, check_a: at, size: 2 ** 53 - 1 }),
    );
    await history.writeBaseline(pair, GROUP, 'sync', rows, [], ctx);
    assert.equal(await history.readBaseline(pair, '', ctx).then(byPath), byPath(rows));
    for (const row of rows) assert.equal(await history.readBaseline(pair, row.path, ctx), [row]);
    await history.writeBaseline(pair, GROUP, 'delete', [], paths.slice(1), ctx);
    assert.equal(await history.readBaseline(pair, '', ctx), rows.slice(0, 1));
  }),
);

base('a path that would come back as another is refused, with its whole batch', () =>
  withData(async (ctx) => {
    const pair = await pairOf(ctx);
    for (const bad of ['a\ud800', '\udc00b', 'a\0b']) {
      const error = await failure(
        history.writeBaseline(pair, GROUP, 'sync', [baseline('good'), baseline(bad)], [], ctx),
      );
      assert.is(error.code, 'invalid');
    }
    assert.equal(await history.readBaseline(pair, '', ctx), []);
  }),
);

base('a failing write leaves both rows and removals undone', () =>
  withData(async (ctx) => {
    const pair = await pairOf(ctx);
    await history.writeBaseline(pair, GROUP, 'sync', [baseline('a')], [], ctx);
    const broken = { ...baseline('b'), checksum: null } as unknown as history.BaselineRow;
    let refused = false;
    await history.writeBaseline(pair, GROUP, 'sync', [baseline('c'), broken], ['a'], ctx).catch(() => {
      refused = true;
    });
    assert.ok(refused);
    assert.equal(await history.readBaseline(pair, '', ctx), [baseline('a')]);
  }),
);

base('a path that is removed and recorded at once is recorded; one that is recorded twice keeps the last', () =>
  withData(async (ctx) => {
    const pair = await pairOf(ctx);
    await history.writeBaseline(pair, GROUP, 'sync', [baseline('a'), baseline('b')], [], ctx);
    await history.writeBaseline(
      pair,
      GROUP,
      'sync',
      [baseline('a', { size: 1 }), baseline('a', { size: 2 })],
      ['a', 'none'],
      ctx,
    );
    assert.equal(await history.readBaseline(pair, '', ctx).then(byPath), [baseline('a', { size: 2 }), baseline('b')]);
  }),
);

base('a subpath takes the folder and what is below it, nothing beside it, and no other pair', () =>
  withData(async (ctx) => {
    const pair = await pairOf(ctx);
    const inside = ['sub', 'sub/', 'sub/a', 'sub/a/b', 'sub/\u{10ffff}', 'sub/\u0001', 'sub//x'];
    const beside = [
      'su',
      'sub-other',
      'sub-other/a',
      'sub0',
      'sub0/a',
      'sub.',
      'sub\u0001',
      'subsub/a',
      'Sub/a',
      'a/sub/a',
      'sub\n/a',
      '',
    ];
    const rows = [...inside, ...beside].map((path) => baseline(path, { doubt: path.length % 2 === 0 ? 'racy' : '' }));
    await history.writeBaseline(pair, GROUP, 'sync', rows, [], ctx);
    const other = await history.ensurePair(GROUP, 'master', 'other', ctx);
    await history.writeBaseline(other, GROUP, 'sync', [baseline('sub/other')], [], ctx);
    const found = await history.readBaseline(pair, 'sub', ctx);
    assert.equal(found.map((row) => row.path).sort(), inside.filter((path) => path !== 'sub/').sort());
    assert.is((await history.readBaseline(pair, '', ctx)).length, rows.length);
    for (const subpath of ['', 'sub', 'sub/a', 'none']) {
      const part = await history.readBaseline(pair, subpath, ctx);
      const doubtful = part.filter((row) => row.doubt !== '').length;
      const sums = { rows: part.length, a: (part.length * 0xffff_ffff) % 2 ** 32, b: part.length, doubtful };
      assert.equal(await history.baselineChecks(pair, subpath, ctx), sums, subpath);
    }
  }),
);

base('sums stay exact beyond 2^53, pages join without a gap', () =>
  withData(async (ctx) => {
    const pair = await pairOf(ctx);
    const count = 45_001;
    const rows = Array.from({ length: count }, (_, at) =>
      baseline(`d/${at}`, { check_a: 2 ** 40 + at, check_b: 0xffff_ffff }),
    );
    await history.writeBaseline(pair, GROUP, 'sync', rows, [], ctx);
    let a = 0n;
    for (const row of rows) a += BigInt(row.check_a);
    const expected = {
      rows: count,
      a: Number(a & 0xffff_ffffn),
      b: Number((BigInt(count) * 0xffff_ffffn) & 0xffff_ffffn),
      doubtful: 0,
    };
    assert.equal(await history.baselineChecks(pair, '', ctx), expected);
    const read = await history.readBaseline(pair, 'd', ctx);
    assert.is(new Set(read.map((row) => row.path)).size, count);
    assert.is(read.length, count);
  }),
);

base('behaves like a map from path to row, whatever is written and removed', () =>
  withData(async (ctx) => {
    const name = fc.oneof(
      fc.constantFrom('sub', 'sub0', 'sub-other', 'a', '%', '\n', '📷'),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 6 }).filter((text) => !/[\0/]/.test(text)),
    );
    const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
    const row = fc
      .record({
        path,
        size: fc.maxSafeNat(),
        doubt: fc.constantFrom('' as const, 'pending' as const, 'racy' as const),
        check_a: fc.integer({ min: 0, max: 0xffff_ffff }),
        check_b: fc.integer({ min: 0, max: 0xffff_ffff }),
        link_target: fc.string({ unit: 'binary', maxLength: 5 }).filter((text) => !text.includes('\0')),
      })
      .map((over) => baseline(over.path, over));
    const step = fc.record({ rows: fc.array(row, { maxLength: 6 }), removed: fc.array(path, { maxLength: 3 }) });
    let run = 0;
    const check = fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 4 }), name, async (steps, subpath) => {
      run += 1;
      const pair = await history.ensurePair(GROUP, 'master', `backup ${run}`, ctx);
      const model = new Map<string, history.BaselineRow>();
      for (const { rows, removed } of steps) {
        for (const gone of removed) model.delete(gone);
        for (const one of rows) model.set(one.path, one);
        await history.writeBaseline(pair, GROUP, 'sync', rows, removed, ctx);
      }
      for (const folder of ['', subpath]) {
        const inside = (one: string): boolean => folder === '' || one === folder || one.startsWith(`${folder}/`);
        const expected = byPath([...model.values()].filter((one) => inside(one.path)));
        assert.equal(byPath(await history.readBaseline(pair, folder, ctx)), expected);
        const sum = (of: (one: history.BaselineRow) => number): number =>
          expected.reduce((total, one) => (total + of(one)) % 2 ** 32, 0);
        assert.equal(await history.baselineChecks(pair, folder, ctx), {
          rows: expected.length,
          a: sum((one) => one.check_a),
          b: sum((one) => one.check_b),
          doubtful: expected.filter((one) => one.doubt !== '').length,
        });
      }
    });
    await fc.assert(check, { numRuns: 60 });
  }),
);

base('the sums never read the wide rows', () =>
  withData(async (ctx) => {
    const db = await ctx.db();
    const sql =
      'SELECT sum(check_a), sum(check_b), sum(doubt) FROM file_sync_history WHERE pair_id = 1 AND relative_path > ?';
    const plan = await db.all<{ detail: string }>(`EXPLAIN QUERY PLAN ${sql}`, ['a']);
    assert.ok(
      plan.some((one) => one.detail.includes('COVERING INDEX file_sync_history_checks')),
      JSON.stringify(plan),
    );
  }),
);

const tracking = suite('tracking interface of the reference');

tracking('what was recorded needs no sync until size, checksum or mtime differ', async () => {
  let now = Date.parse('2026-01-14T10:00:00Z');
  await withData(
    async (ctx) => {
      const old = new Date(now - 1000);
      const needs = (checksum = 'abc', size = 5, mtime = old, path = 'a\n%.jpg'): Promise<boolean> =>
        history.needsSync(GROUP, path, checksum, mtime, size, ctx);
      assert.is(await needs(), true);
      await history.updateFileRecord(GROUP, 'a\n%.jpg', 'abc', 5, 'sync', ctx);
      assert.is(await needs(), false);
      assert.is(await needs('abd'), true);
      assert.is(await needs('abc', 6), true);
      assert.is(await needs('abc', 5, new Date(now + 1)), true);
      assert.is(await needs('abc', 5, old, 'a'), true);
      now += 5000;
      await history.updateFileRecord(GROUP, 'a\n%.jpg', 'abc', 5, 'delete', ctx);
      assert.is(await needs(), true);
    },
    { now: () => new Date(now) },
  );
});

tracking('rows of real runs count, unless nothing flushed them; a foreign record puts them in doubt', () =>
  withData(async (ctx) => {
    const pair = await pairOf(ctx);
    const rows = [baseline('a'), baseline('b', { doubt: 'pending' }), baseline('c', { checksum: '' })];
    await history.writeBaseline(pair, GROUP, 'sync', rows, [], ctx);
    const sum = baseline('a').checksum;
    const at = (ms: number): Date => new Date(1_700_000_000_123 + ms);
    assert.is(await history.needsSync(GROUP, 'a', sum, at(0), 7, ctx), false);
    assert.is(await history.needsSync(GROUP, 'a', sum, at(2), 7, ctx), true);
    assert.is(await history.needsSync(GROUP, 'b', sum, at(0), 7, ctx), true);
    assert.is(await history.needsSync(GROUP, 'c', sum, at(0), 7, ctx), true);
    await history.updateFileRecord(GROUP, 'a', 'new', 8, 'restore', ctx);
    const [row] = await history.readBaseline(pair, 'a', ctx);
    assert.is(row?.doubt, 'pending');
    assert.is(row?.master_facts, '');
    assert.is(await history.needsSync(GROUP, 'a', 'new', at(0), 8, ctx), false);
    assert.is(await history.needsSync('other group', 'a', 'new', at(0), 8, ctx), true);
  }),
);

tracking('operations start, end and are listed', () =>
  withData(async (ctx) => {
    for (let run = 0; run < 52; run += 1) {
      const id = await history.startSyncOperation(GROUP, 'sync', ctx);
      const dates = { start_time: new Date(), end_time: null };
      await history.completeSyncOperation(id, { files_copied: run, ...dates }, 'completed', ctx);
    }
    const newest = await history.getSyncHistory(GROUP, undefined, ctx);
    assert.is(newest.length, 50);
    assert.is(newest[0]?.files_copied, 51);
    assert.is(newest[0]?.files_failed, 0);
    assert.is((await history.getSyncHistory(GROUP, 2, ctx)).length, 2);
  }),
);

const face = suite('command and panel');

async function say(verb: string, ctx: Context, options: object = {}, args: object = {}) {
  const output = await history.command.verbs[verb]?.run({ args, options }, ctx, () => {});
  return { json: output?.json, text: output?.text(plain) ?? '' };
}

face('hostile names reach no terminal', () =>
  withData(async (ctx) => {
    const hostile = '\u001b]0;x\u0007\u202e\n';
    const id = await history.startOperation(
      start({ target_name: hostile, operation_type: hostile, subpath: hostile }),
      ctx,
    );
    await history.recordActions(
      id,
      0,
      [{ path: hostile, action: hostile, size: 1, status: 'failed', message: hostile }],
      ctx,
    );
    const problems = [{ path: hostile, message: hostile }];
    await history.completeOperation(id, result({ problems, reason: hostile }), 'failed', ctx);
    const texts = [
      (await say('list', ctx)).text,
      (await say('show', ctx, {}, { operation: '1' })).text,
      (await say('stats', ctx)).text,
    ];
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
    for (const text of texts) assert.not.match(text, /[\u0000-\u0009\u000b-\u001f\u202e]/);
    assert.is(texts[0]?.split('\n').length, 2, 'one line per operation');
    const [row] = await history.panel.rows(ctx);
    assert.ok(row);
    for (const column of history.panel.columns) assert.not.match(column.value(row), /[\n\u202e]/);
  }),
);

face('a list says when there is more', () =>
  withData(async (ctx) => {
    assert.match((await say('list', ctx)).text, 'sync run GROUP');
    for (let run = 0; run < 51; run += 1) await history.startOperation(start(), ctx);
    const first = await say('list', ctx);
    assert.is((first.json as unknown[]).length, 50);
    assert.match(first.text, '--offset 50');
    assert.not.match((await say('list', ctx, { limit: 'all' })).text, '--offset');
    assert.not.match((await say('list', ctx, { limit: 1, offset: 50 })).text, '--offset');
  }),
);

face('an export replaces a file only when asked, and never a device or a link itself', () =>
  withData(async (ctx, dir) => {
    await history.startOperation(start(), ctx);
    const out = join(dir, 'history.csv');
    await say('export', ctx, { format: 'csv', out });
    assert.match(readFileSync(out, 'utf8'), HEAD);
    writeFileSync(out, 'mine');
    const refused = await failure(say('export', ctx, { format: 'csv', out }));
    assert.is(refused.code, 'usage');
    assert.match(refused.hint ?? '', '--yes');
    assert.is(readFileSync(out, 'utf8'), 'mine');
    const answer = (yes: boolean): Context => ({
      ...ctx,
      prompts: { ...ctx.prompts, confirm: () => Promise.resolve(yes) },
    });
    assert.is((await failure(say('export', answer(false), { format: 'json', out }))).code, 'cancelled');
    assert.is(readFileSync(out, 'utf8'), 'mine');
    const link = join(dir, 'link');
    symlinkSync(out, link);
    await say('export', answer(true), { format: 'json', out: link });
    assert.is(JSON.parse(readFileSync(out, 'utf8')).total_operations, 1);
    assert.not(statSync(link).isSymbolicLink());
    for (const odd of ['/dev/null', dir]) {
      assert.is((await failure(say('export', answer(true), { format: 'csv', out: odd }))).code, 'invalid', odd);
    }
    assert.ok(statSync('/dev/null').isCharacterDevice());
    assert.is((await failure(say('export', ctx, {}))).code, 'usage');
  }),
);

face('a number that is none is refused', () => {
  const options = history.command.verbs['list']?.options ?? [];
  const parse = (flag: string, text: string): unknown =>
    options.find((one) => one.flags.startsWith(flag))?.parse?.(text);
  assert.is(parse('--limit', 'all'), 'all');
  assert.is(parse('--limit', '200'), 200);
  assert.is(parse('--offset', '0'), 0);
  for (const text of ['0', '-1', '1.5', '', 'ALL', '1e3', ' 5', '9999999999']) {
    assert.throws(
      () => parse('--limit', text),
      (error: TandemError) => error.code === 'usage',
      text,
    );
  }
});

for (const one of [database, operations, actions, exporting, base, tracking, face]) one.run();
