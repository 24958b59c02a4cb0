/**
 * The one place that talks to sqlite3. Statements are awaited one by one (the driver does not keep their order), every
 * write runs in BEGIN IMMEDIATE, inodes and nanoseconds travel as text because integers above 2^53 lose digits.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import type { Database as Driver } from 'sqlite3';
import { messageOf, TandemError } from './errors.ts';
import { MIGRATIONS } from './schema.ts';

export type SqlValue = string | number | null | Uint8Array;
export type Row = Record<string, SqlValue>;

export interface Database {
  run(sql: string, params?: readonly SqlValue[]): Promise<{ changes: number; lastId: number }>;
  get<T extends object = Row>(sql: string, params?: readonly SqlValue[]): Promise<T | undefined>;
  all<T extends object = Row>(sql: string, params?: readonly SqlValue[]): Promise<T[]>;
  /** Serialises with other transactions of this process; rolls back when `work` throws. */
  transaction<T>(work: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/**
 * Opens and migrates the database.
 * @returns undefined when it does not exist and `create` is false.
 * @throws TandemError `database` for a file of a newer version or one that is not a database.
 */
export function openDatabase(path: string, options: { create: boolean }): Promise<Database> | undefined {
  if (!options.create && !existsSync(path)) return undefined;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  return open(path);
}

async function open(path: string): Promise<Database> {
  const sqlite = createRequire(import.meta.url)('sqlite3') as typeof import('sqlite3');
  const driver = await new Promise<Driver>((done, fail) => {
    const opened = new sqlite.Database(path, (error) => (error ? fail(databaseError(path, error)) : done(opened)));
  });
  driver.configure('busyTimeout', 10_000);
  const database = wrap(driver);
  try {
    await database.run('PRAGMA journal_mode = WAL');
    await database.run('PRAGMA synchronous = NORMAL');
    await database.run('PRAGMA foreign_keys = ON');
    await migrate(database, path);
  } catch (error) {
    await database.close().catch(() => {});
    throw error instanceof TandemError ? error : databaseError(path, error);
  }
  return database;
}

function wrap(driver: Driver): Database {
  let queue: Promise<unknown> = Promise.resolve();
  const database: Database = {
    run: (sql, params = []) =>
      new Promise((done, fail) => {
        driver.run(sql, params, function (error) {
          if (error) fail(error);
          else done({ changes: this.changes, lastId: this.lastID });
        });
      }),
    get: <T>(sql: string, params: readonly SqlValue[] = []) =>
      new Promise<T | undefined>((done, fail) => {
        // `all` resets the statement; `get` would leave it open and pin an old snapshot.
        driver.all(sql, params, (error, rows) => (error ? fail(error) : done(rows[0] as T | undefined)));
      }),
    all: <T>(sql: string, params: readonly SqlValue[] = []) =>
      new Promise<T[]>((done, fail) => {
        driver.all(sql, params, (error, rows) => (error ? fail(error) : done(rows as T[])));
      }),
    transaction: (work) => {
      const turn = queue.then(async () => {
        await database.run('BEGIN IMMEDIATE');
        try {
          const result = await work();
          await database.run('COMMIT');
          return result;
        } catch (error) {
          await database.run('ROLLBACK').catch(() => {});
          throw error;
        }
      });
      queue = turn.catch(() => {});
      return turn;
    },
    close: async () => {
      await queue;
      await new Promise<void>((done, fail) => driver.close((error) => (error ? fail(error) : done())));
    },
  };
  return database;
}

/** Each migration runs once, in its own transaction, guarded by PRAGMA user_version. */
async function migrate(database: Database, path: string): Promise<void> {
  const version = async (): Promise<number> =>
    (await database.get<{ user_version: number }>('PRAGMA user_version'))?.user_version ?? 0;
  const found = await version();
  if (found > MIGRATIONS.length) {
    throw new TandemError('database', `${path} was written by a newer tandem (schema ${found}, this one knows ${MIGRATIONS.length}).`, {
      hint: 'Update tandem; the file was not touched.',
    });
  }
  if (found === MIGRATIONS.length) return;
  await database.transaction(async () => {
    for (let next = await version(); next < MIGRATIONS.length; next += 1) {
      for (const statement of MIGRATIONS[next] ?? []) await database.run(statement);
      await database.run(`PRAGMA user_version = ${next + 1}`);
    }
  });
}

function databaseError(path: string, error: unknown): TandemError {
  return new TandemError('database', `The database ${path} cannot be used: ${messageOf(error)}.`, {
    hint: 'Run `tandem doctor`. The drives are not affected; move the file away and sync again to rebuild it.',
    cause: error,
  });
}
