import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sqlite from 'sqlite3';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { databaseFile } from '../shared/db.ts';
import { TandemError } from '../shared/errors.ts';
import { MIGRATIONS } from '../shared/schema.ts';

const test = suite('database file');

/** A folder whose name a URI would misread, and the path of a database in it. */
async function withFolder(work: (path: string, dir: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'tandem-database-'));
  const dir = join(root, 'a %20?x=1#ä\n');
  mkdirSync(dir);
  try {
    await work(join(dir, 'tandem.db'), dir);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** Names, contents and times of everything in a folder. */
function snapshot(dir: string): Record<string, string> {
  const state = (name: string): string => {
    const hash = createHash('sha256')
      .update(readFileSync(join(dir, name)))
      .digest('hex');
    return `${hash} ${statSync(join(dir, name), { bigint: true }).mtimeNs}`;
  };
  return Object.fromEntries(
    readdirSync(dir)
      .sort()
      .map((name) => [name, state(name)]),
  );
}

const INSERT = "INSERT INTO pairs (group_id, master_uuid, backup_uuid) VALUES ('g', ?, 'b')";
const COUNT = 'SELECT count(*) AS n FROM pairs';

async function prepare(
  path: string,
  work: (run: (sql: string, params?: string[]) => Promise<unknown>) => Promise<void>,
) {
  const file = databaseFile(path);
  const db = await file.write();
  await work((sql, params) => db.run(sql, params));
  return file;
}

/** What a process killed between commit and checkpoint leaves: the files as they are while the writer lives. */
async function crashImage(path: string, dir: string, sql: string, params: string[] = []): Promise<void> {
  const file = await prepare(path, async (run) => void (await run(sql, params)));
  const copy = `${dir}-copy`;
  cpSync(dir, copy, { recursive: true });
  await file.close();
  rmSync(dir, { recursive: true });
  cpSync(copy, dir, { recursive: true });
  assert.ok(statSync(`${path}-wal`).size > 0);
  assert.ok(existsSync(`${path}-shm`));
}

async function failure(work: Promise<unknown>): Promise<TandemError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.instance(error, TandemError);
  return error as TandemError;
}

/** Another process that has the database open and writes a row each few milliseconds, opening and closing it anew. */
function otherWriter(path: string): ChildProcess {
  const program = `import { databaseFile } from ${JSON.stringify(new URL('../shared/db.ts', import.meta.url).href)};
    for (let n = 0; ; ) {
      const file = databaseFile(${JSON.stringify(path)});
      const db = await file.write();
      for (let row = 0; row < 5; row += 1) await db.run(${JSON.stringify(INSERT)}, [String(n += 1)]);
      await db.run('PRAGMA wal_checkpoint(TRUNCATE)');
      await db.run(${JSON.stringify(INSERT)}, [String(n += 1)]);
      await file.close();
      if (n === 6) process.stdout.write('ready\\n');
    }`;
  const args = [...process.execArgv, '--input-type=module', '-e', program];
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

test('read() of nothing makes nothing', () =>
  withFolder(async (path, dir) => {
    const file = databaseFile(join(dir, 'not', 'there', 'tandem.db'));
    assert.is(await file.read(), undefined);
    await file.close();
    assert.equal(readdirSync(dir), []);
    assert.is(await databaseFile(path).read(), undefined);
  }));

test('read() leaves the folder as it was, to the byte, after a clean end and after a crash', () =>
  withFolder(async (path, dir) => {
    await (await prepare(path, async (run) => void (await run(INSERT, ['1'])))).close();
    assert.equal(readdirSync(dir), ['tandem.db']);
    const clean = snapshot(dir);
    const first = databaseFile(path);
    assert.equal(await (await first.read())?.get(COUNT), { n: 1 });
    await first.close();
    assert.equal(snapshot(dir), clean, 'after a clean end');
    await crashImage(path, dir, INSERT, ['2']);
    const before = snapshot(dir);
    const file = databaseFile(path);
    assert.equal(await (await file.read())?.get(COUNT), { n: 2 }, 'what stands in the log is seen');
    await file.close();
    assert.equal(snapshot(dir), before, 'after a crash');
  }));

test('a log whose -shm was lost is read, and neither it nor the database changes', () =>
  withFolder(async (path, dir) => {
    await crashImage(path, dir, INSERT, ['1']);
    rmSync(`${path}-shm`);
    const before = snapshot(dir);
    for (let round = 0; round < 2; round += 1) {
      const file = databaseFile(path);
      assert.equal(await (await file.read())?.get(COUNT), { n: 1 });
      await file.close();
      const { 'tandem.db-shm': _, ...after } = snapshot(dir);
      assert.equal(after, before);
    }
  }));

test('read() leaves an empty log of a killed process where it is', () =>
  withFolder(async (path, dir) => {
    await (await prepare(path, async (run) => void (await run(INSERT, ['1'])))).close();
    const open = databaseFile(path);
    await open.write();
    const copy = `${dir}-copy`;
    cpSync(dir, copy, { recursive: true });
    await open.close();
    cpSync(copy, dir, { recursive: true });
    assert.equal(readdirSync(dir), ['tandem.db', 'tandem.db-shm', 'tandem.db-wal']);
    const before = snapshot(dir);
    const file = databaseFile(path);
    assert.equal(await (await file.read())?.get(COUNT), { n: 1 });
    await file.close();
    assert.equal(snapshot(dir), before);
    await (await file.write()).run(INSERT, ['2']);
    await file.close();
    assert.equal(readdirSync(dir), ['tandem.db']);
  }));

test('a log cut off behind its header, or whose header is torn, keeps nobody from reading or writing', () =>
  withFolder(async (path, dir) => {
    await (await prepare(path, async (run) => void (await run(INSERT, ['1'])))).close();
    const clean = `${dir}-clean`;
    cpSync(dir, clean, { recursive: true });
    await crashImage(path, dir, INSERT, ['2']);
    const log = readFileSync(`${path}-wal`);
    for (const [name, torn] of [
      ['header alone', log.subarray(0, 32)],
      ['half a header', log.subarray(0, 16)],
      ['half a frame', log.subarray(0, 1000)],
    ] as const) {
      cpSync(join(clean, 'tandem.db'), path);
      writeFileSync(`${path}-wal`, torn);
      writeFileSync(`${path}-shm`, readFileSync(`${dir}-copy/tandem.db-shm`));
      const file = databaseFile(path);
      const start = performance.now();
      assert.equal(await (await file.read())?.get(COUNT), { n: 1 }, name);
      await (await file.write()).run(INSERT, ['3']);
      assert.equal(await (await file.read())?.get(COUNT), { n: 2 }, name);
      await file.close();
      assert.ok(performance.now() - start < 30_000, name);
    }
  }));

test('read() cannot write', () =>
  withFolder(async (path, dir) => {
    await (await prepare(path, async () => {})).close();
    for (const crashed of [false, true]) {
      if (crashed) await crashImage(path, dir, INSERT, ['1']);
      const file = databaseFile(path);
      const reader = await file.read();
      const error = await reader?.all("DELETE FROM pairs WHERE group_id = 'g' RETURNING id").then(
        () => undefined,
        (reason: Error) => reason.message,
      );
      assert.match(String(error), /READONLY/);
      await file.close();
    }
  }));

test('a newer file is refused by read() and write() and stays as it was, also when its version stands in the log alone', () =>
  withFolder(async (path, dir) => {
    for (const crashed of [false, true]) {
      rmSync(dir, { recursive: true });
      mkdirSync(dir);
      if (crashed) {
        await (await prepare(path, async () => {})).close();
        await crashImage(path, dir, 'PRAGMA user_version = 999');
      } else {
        const newer = await prepare(path, async (run) => {
          await run('PRAGMA user_version = 999');
          await run('PRAGMA journal_mode = DELETE');
        });
        await newer.close();
      }
      const before = snapshot(dir);
      const file = databaseFile(path);
      for (const work of [() => file.read(), () => file.write(), () => file.read()]) {
        const error = await failure(work());
        assert.is(error.code, 'database');
        assert.match(error.message, /newer tandem \(schema 999/);
      }
      await file.close();
      assert.equal(snapshot(dir), before, crashed ? 'in the log' : 'in the file');
    }
  }));

test('an empty file is no database for reads, is not touched by them, and is migrated by the first write', () =>
  withFolder(async (path, dir) => {
    writeFileSync(path, '');
    const before = snapshot(dir);
    const file = databaseFile(path);
    assert.is(await file.read(), undefined);
    assert.equal(snapshot(dir), before);
    await (await file.write()).run(INSERT, ['1']);
    const reader = await file.read();
    assert.equal(await reader?.get('PRAGMA user_version'), { user_version: MIGRATIONS.length });
    await file.close();
    assert.equal(readdirSync(dir), ['tandem.db']);
  }));

test('what an older version of the program recorded is read, not taken for nothing', () =>
  withFolder(async (path) => {
    const former = [...(MIGRATIONS[0] ?? []), 'PRAGMA user_version = 1', INSERT.replace('?', "'m'")];
    const old = new sqlite.Database(path);
    await new Promise((done) => old.exec(former.join(';\n'), done));
    await new Promise((done) => old.close(done));
    const file = databaseFile(path);
    const reader = await file.read();
    assert.equal(await reader?.all('SELECT group_id, generation FROM pairs'), [{ group_id: 'g', generation: '' }]);
    await file.close();
  }));

test('a reader goes on past the first write, also after a crash, with reads under way', () =>
  withFolder(async (path, dir) => {
    await (await prepare(path, async (run) => void (await run(INSERT, ['0'])))).close();
    await crashImage(path, dir, INSERT, ['1']);
    const file = databaseFile(path);
    const reader = await file.read();
    assert.ok(reader);
    const reads = Array.from({ length: 20 }, () => reader.get(COUNT));
    const [first, second] = await Promise.all([file.write(), file.write()]);
    assert.is(first, second, 'one connection');
    assert.equal(await Promise.all(reads), Array(20).fill({ n: 2 }));
    await first.run(INSERT, ['2']);
    assert.equal(await reader.get(COUNT), { n: 3 });
    await file.close();
    await failure(reader.get(COUNT));
    assert.equal(readdirSync(dir), ['tandem.db']);
  }));

test('no database at all: an error that says so, from read() and write(), and the file stays', () =>
  withFolder(async (path, dir) => {
    writeFileSync(path, 'these are my notes, not a database\n'.repeat(200));
    const before = snapshot(dir);
    const file = databaseFile(path);
    for (const work of [() => file.read(), () => file.write()]) {
      assert.match((await failure(work())).message, /cannot be used: .*not a database/);
    }
    await file.close();
    assert.equal(snapshot(dir), before);
  }));

test('after a failed write the next one tries again', () =>
  withFolder(async (path) => {
    mkdirSync(path);
    const file = databaseFile(path);
    await failure(file.write());
    rmSync(path, { recursive: true });
    await (await file.write()).run(INSERT, ['1']);
    assert.equal(await (await file.read())?.get(COUNT), { n: 1 });
    await file.close();
  }));

test('reads beside another process that opens, writes, checkpoints and closes all the time are whole, and after its death', () =>
  withFolder(async (path, dir) => {
    const writer = otherWriter(path);
    try {
      await once(writer.stdout as NodeJS.ReadableStream, 'data');
      let last = 0;
      for (const end = performance.now() + 2500; performance.now() < end; ) {
        const file = databaseFile(path);
        const reader = await file.read();
        for (let look = 0; look < 4; look += 1) {
          const row = await reader?.get<{ n: number; top: number }>('SELECT count(*) AS n, max(id) AS top FROM pairs');
          assert.is(row?.n, row?.top);
          assert.ok((row?.n ?? 0) >= last, 'never older than what was seen before');
          last = row?.n ?? 0;
        }
        await file.close();
      }
      assert.ok(last > 20, String(last));
      writer.kill('SIGKILL');
      await once(writer, 'exit');
      const before = snapshot(dir);
      // A log that is nothing but its header of 32 bytes may go with the reader; it holds no change.
      const held = (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 32;
      const file = databaseFile(path);
      const row = await (await file.read())?.get<{ n: number; top: number }>(
        'SELECT count(*) AS n, max(id) AS top FROM pairs',
      );
      await file.close();
      if (held) assert.equal(snapshot(dir), before);
      else assert.is(snapshot(dir)['tandem.db'], before['tandem.db']);
      assert.is(row?.n, row?.top);
      assert.ok((row?.n ?? 0) >= last);
    } finally {
      writer.kill('SIGKILL');
    }
  }));

test.run();
