/**
 * The one place that talks to sqlite3. Statements are awaited one by one (the driver does not keep their order), every
 * write runs in BEGIN IMMEDIATE, inodes and nanoseconds travel as text because integers above 2^53 lose digits.
 */
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
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

/** What can be done without writing. Stays good until its file is closed, also past the first write. */
export type Reader = Pick<Database, 'get' | 'all'>;

/** The database file of one process, which has one of these and no second; nothing is opened before it is asked for. */
export interface DatabaseFile {
  /**
   * Creates and migrates it when needed.
   * @throws TandemError `database` for a file of a newer version (left untouched) or one that is not a database.
   */
  write(): Promise<Database>;
  /**
   * For reads that change nothing in the folder. Undefined when there is no database, or an empty one. One of an older
   * version of the program is migrated first, which changes its form and nothing of what it says.
   * @throws TandemError `database` as `write` does.
   */
  read(): Promise<Reader | undefined>;
  close(): Promise<void>;
}

export function databaseFile(path: string): DatabaseFile {
  let connection: Promise<Database | undefined> | undefined;
  let writer: Promise<Database> | undefined;
  // Without the right to put a log in order, a read can meet one that another process is just starting: it looks again.
  const ask = async <T>(question: (database: Database) => Promise<T>): Promise<T> => {
    for (let attempt = 1; ; attempt += 1) {
      const asked = connection;
      const database = await asked;
      if (!database)
        throw new TandemError('database', `The database ${path} was closed.`, { hint: 'Run the command again.' });
      try {
        return await question(database);
      } catch (error) {
        if (attempt === ATTEMPTS || writer || !isDisturbed(error)) throw error;
        if (connection === asked)
          connection = closeQuietly(asked)
            .then(pause)
            .then(() => openForReading(path));
      }
    }
  };
  const reader: Reader = {
    get: (sql, params) => ask((database) => database.get(sql, params)),
    all: (sql, params) => ask((database) => database.all(sql, params)),
  };
  return {
    write: () => {
      if (writer) return writer;
      const before = connection;
      // Closed first: a connection that may not write its -shm would keep any other of this process from doing so.
      const opening = closeQuietly(before).then(() => openForWriting(path));
      writer = opening;
      connection = opening;
      opening.catch(() => {
        if (writer !== opening) return;
        writer = undefined;
        connection = undefined;
      });
      return opening;
    },
    read: async () => {
      const opening = connection ?? openForReading(path);
      connection = opening;
      const forget = (): void => {
        if (connection === opening && !writer) connection = undefined;
      };
      const database = await opening.catch((error: unknown) => {
        forget();
        throw error;
      });
      if (!database) forget();
      return database && reader;
    },
    close: async () => {
      const open = connection;
      connection = undefined;
      writer = undefined;
      await (await open?.catch(() => undefined))?.close();
    },
  };
}

/**
 * Runs `sql` for rows that travel as JSON in its last parameter, to be called inside a transaction. A thousand rows a
 * statement take up to 40 % less time than all of them in one, whose text outgrows the processor's caches.
 */
export async function writePacked(db: Database, sql: string, fixed: readonly SqlValue[], rows: readonly unknown[]) {
  for (let at = 0; at < rows.length; at += 1000) {
    await db.run(sql, [...fixed, JSON.stringify(rows.slice(at, at + 1000))]);
  }
}

/** The columns of such a row of `count` values. */
export function fieldsOf(count: number): string {
  return Array.from({ length: count }, (_, index) => `value ->> ${index}`).join(', ');
}

/** Half of a surrogate pair has no UTF-8 form, and NUL ends a text in SQLite. */
export function storable(text: string): string {
  return text.replace(/[\0\p{Surrogate}]/gu, '\ufffd');
}

/**
 * Looks through the whole file, after a crash.
 * @throws TandemError `database` when it is damaged.
 */
export async function assertSound(database: Reader, folder: string): Promise<void> {
  const said = await database.all<{ quick_check: string }>('PRAGMA quick_check(1)');
  if (said.length === 1 && said[0]?.quick_check === 'ok') return;
  throw databaseError(
    join(folder, 'tandem.db'),
    new Error(`it is damaged: ${said.map((row) => row.quick_check).join('; ')}`),
  );
}

/**
 * Moves a damaged database aside, with its log; nothing is deleted. The next run makes a new one from what the drives
 * carry. Only while no other process uses it.
 * @returns the new name
 */
export function moveDatabaseAside(path: string, now: Date): string {
  const aside = `${path}.damaged-${now.toISOString().replace(/[:.]/g, '-')}`;
  for (const end of ['-wal', '-shm', '']) if (existsSync(path + end)) renameSync(path + end, aside + end);
  return aside;
}

// --- internal ---

const ATTEMPTS = 10;
/** Milliseconds. */
const TURNS_FOR = 5000;

function isDisturbed(error: unknown): boolean {
  return /^SQLITE_(READONLY|CANTOPEN)/.test(messageOf(error));
}

function pause(): Promise<void> {
  return new Promise((done) => setTimeout(done, 20));
}

async function closeQuietly(database: Promise<Database | undefined> | undefined): Promise<void> {
  const open = await database?.catch(() => undefined);
  await open?.close().catch(() => {});
}

/** SQLite does not wait for a lock while two processes make the same new database: they take turns here. */
async function openForWriting(path: string): Promise<Database> {
  for (const end = Date.now() + TURNS_FOR; ; ) {
    try {
      return await openOnce(path);
    } catch (error) {
      const why = error instanceof TandemError ? error.cause : error;
      if (Date.now() > end || !/^SQLITE_BUSY/.test(messageOf(why))) throw error;
      await pause();
    }
  }
}

async function openOnce(path: string): Promise<Database> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // A newer file is refused before anything that could write to it: journal mode, recovery, the checkpoint of a close.
  await (await lookInto(path))?.database.close();
  const database = await connect(path, 'write');
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

async function openForReading(path: string): Promise<Database | undefined> {
  const found = await lookInto(path);
  if (!found || found.version === MIGRATIONS.length) return found?.database;
  await found.database.close();
  if (found.version === 0) return undefined;
  // What an older version of the program wrote would be taken for nothing: then a plan would be one of a first sync.
  await (await openForWriting(path)).close();
  return (await lookInto(path))?.database;
}

/** Opens the file, if it is there, without changing anything in its folder. */
async function lookInto(path: string): Promise<{ database: Connection; version: number } | undefined> {
  let log = hasLog(path);
  for (let attempt = 1; existsSync(path); attempt += 1) {
    let database: Connection | undefined;
    try {
      database = await connect(path, log ? 'read beside a log' : 'read');
      await database.run('PRAGMA query_only = ON');
      const version = await versionOf(database);
      if (version > MIGRATIONS.length) throw newerError(path, version);
      return { database, version };
    } catch (error) {
      await database?.close().catch(() => {});
      if (error instanceof TandemError) throw error;
      const unreadable = log && /^SQLITE_PROTOCOL/.test(messageOf(error));
      // The last writer of another process may have gone, and its log with it, since we looked.
      if (attempt === ATTEMPTS || !(unreadable || isDisturbed(error))) throw databaseError(path, error);
      await pause();
      log = !unreadable && hasLog(path);
    }
  }
  return undefined;
}

/** A log that is nothing but its header of 32 bytes holds no change, and SQLite cannot read past it without writing. */
function hasLog(path: string): boolean {
  const size = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size;
  return size !== undefined && size !== 32;
}

/**
 * `read`: a database without a log. Opened for writing, because only so SQLite removes on closing the empty -wal and -shm
 * that every reader needs.
 * `read beside a log`: a process writes it now, or was killed. The log is read through, and neither worked into the
 * database nor removed on closing, as any connection that may write would do. (A log whose -shm is lost gets a new one.)
 */
function connect(path: string, how: 'write' | 'read' | 'read beside a log'): Promise<Connection> {
  const sqlite = createRequire(import.meta.url)('sqlite3') as typeof import('sqlite3');
  const beside = how === 'read beside a log';
  const name = beside ? `${pathToFileURL(path).href}?readonly_shm=${existsSync(`${path}-shm`) ? 1 : 0}` : path;
  const access = beside ? sqlite.OPEN_READONLY | sqlite.OPEN_URI : sqlite.OPEN_READWRITE;
  const mode = how === 'write' ? access | sqlite.OPEN_CREATE : access;
  return new Promise((done, fail) => {
    const driver: Driver = new sqlite.Database(name, mode, (error) => {
      if (error) return fail(how === 'write' ? databaseError(path, error) : error);
      driver.configure('busyTimeout', 10_000);
      done(wrap(driver));
    });
  });
}

/** Also runs several statements in one text. */
interface Connection extends Database {
  script(sql: string): Promise<void>;
}

function wrap(driver: Driver): Connection {
  let queue: Promise<unknown> = Promise.resolve();
  const database: Connection = {
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
    script: (sql) =>
      new Promise((done, fail) => {
        driver.exec(sql, (error) => (error ? fail(error) : done()));
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

/** Each migration runs once, guarded by PRAGMA user_version; all that are missing in one transaction. */
async function migrate(database: Connection, path: string): Promise<void> {
  const found = await versionOf(database);
  if (found > MIGRATIONS.length) throw newerError(path, found);
  if (found === MIGRATIONS.length) return;
  await database.transaction(async () => {
    const missing = MIGRATIONS.slice(await versionOf(database)).flat();
    await database.script([...missing, `PRAGMA user_version = ${MIGRATIONS.length}`].join(';\n'));
  });
}

async function versionOf(database: Database): Promise<number> {
  return (await database.get<{ user_version: number }>('PRAGMA user_version'))?.user_version ?? 0;
}

function newerError(path: string, version: number): TandemError {
  const schemas = `schema ${version}, this one knows ${MIGRATIONS.length}`;
  return new TandemError('database', `${path} was written by a newer tandem (${schemas}).`, {
    hint: 'Update tandem; the file was not touched.',
  });
}

function databaseError(path: string, error: unknown): TandemError {
  return new TandemError('database', `The database ${path} cannot be used: ${messageOf(error)}.`, {
    hint: 'The drives are not affected. If it is damaged, `tandem doctor --repair` moves it aside, and the next sync rebuilds it from the drives.',
    cause: error,
  });
}
