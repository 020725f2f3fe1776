// One connection to an SQLite file that holds a store: how it is opened and checked, its statements,
// and what its errors mean. Transactions and durability are sqlite.ts's.

import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  openSync,
  realpathSync,
  statSync,
} from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { messageOf, RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Key, KeyRange, KeyValue } from "./store.ts";
import { keyToBytes } from "./store.ts";

/** "rstr" in ASCII, in the header of each file that is ours. */
const applicationId = 0x72737472;
/** Of the tables below. A file with a higher one was written by a newer rustre. */
const formatVersion = 1;

const schema = [
  "CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
  // handles: how often the file was opened; gives each handle a number of its own.
  // conflict_stamp: how many batches held write conflict ranges, which change no value that another
  // process could see.
  "CREATE TABLE shared_state (" +
  "only INTEGER PRIMARY KEY CHECK (only = 0), handles INTEGER NOT NULL, " +
  "conflict_stamp INTEGER NOT NULL)",
  "INSERT INTO shared_state VALUES (0, 0, 0)",
  `PRAGMA application_id = ${applicationId}`,
  `PRAGMA user_version = ${formatVersion}`,
];

/** The result codes of SQLite that mean something here; without their details where below 256. */
const resultCodes = {
  busy: [5],
  locked: [6],
  readOnly: [8],
  corrupt: [11],
  // The second: no space for the index of the log (SQLITE_IOERR_SHMSIZE).
  full: [13, 4874],
  cannotOpen: [14],
  notADatabase: [26],
} as const;

type ResultName = keyof typeof resultCodes;

/** All statements run through get(): run() also makes an object of counts, at a microsecond each. */
type Row = unknown[];

export interface CheckpointState {
  /** Pages in the write-ahead log... */
  readonly logPages: number;
  /** ...of which so many are in the database file. */
  readonly copiedPages: number;
}

export class SqliteDatabase {
  readonly path: string;
  /** No other user of the file has or had this number. */
  readonly handle: number;
  readonly #database: DatabaseSync;
  readonly #beginRead: StatementSync;
  readonly #beginWrite: StatementSync;
  readonly #commit: StatementSync;
  readonly #rollback: StatementSync;
  readonly #dataVersion: StatementSync;
  readonly #get: StatementSync;
  readonly #forwards: StatementSync;
  readonly #backwards: StatementSync;
  readonly #put: StatementSync;
  readonly #delete: StatementSync;
  readonly #deleteRange: StatementSync;
  readonly #stamp: StatementSync;
  readonly #raiseStamp: StatementSync;
  readonly #logState: StatementSync;
  readonly #checkpoint: StatementSync;

  /** Use {@link openSqliteDatabase}. */
  constructor(path: string, handle: number, database: DatabaseSync) {
    this.path = path;
    this.handle = handle;
    this.#database = database;
    const prepare = (sql: string) => prepareArrays(database, sql);
    this.#beginRead = prepare("BEGIN DEFERRED");
    this.#beginWrite = prepare("BEGIN IMMEDIATE");
    this.#commit = prepare("COMMIT");
    this.#rollback = prepare("ROLLBACK");
    this.#dataVersion = prepare("PRAGMA data_version");
    this.#get = prepare("SELECT value FROM kv WHERE key = ?");
    const range = "SELECT key, value FROM kv WHERE key >= ? AND key < ? ORDER BY key";
    this.#forwards = prepare(`${range} LIMIT ?`);
    this.#backwards = prepare(`${range} DESC LIMIT ?`);
    this.#put = prepare(
      "INSERT INTO kv VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    );
    this.#delete = prepare("DELETE FROM kv WHERE key = ?");
    this.#deleteRange = prepare("DELETE FROM kv WHERE key >= ? AND key < ?");
    this.#stamp = prepare("SELECT conflict_stamp FROM shared_state");
    this.#raiseStamp = prepare(
      "UPDATE shared_state SET conflict_stamp = conflict_stamp + 1",
    );
    this.#logState = prepare("PRAGMA wal_checkpoint(NOOP)");
    this.#checkpoint = prepare("PRAGMA wal_checkpoint(PASSIVE)");
  }

  /** The path of the write-ahead log; it is the same file for as long as this connection is open. */
  get logPath(): string {
    return `${this.path}-wal`;
  }

  get signalPath(): string {
    return `${this.path}-commits`;
  }

  get(key: Key): Uint8Array | undefined {
    const row = this.#get.get(scratchBytes(key)) as Row | undefined;
    return row?.[0] as Uint8Array | undefined;
  }

  getRange(range: KeyRange, limit: number, reverse: boolean): KeyValue[] {
    const statement = reverse ? this.#backwards : this.#forwards;
    const rows = statement.all(keyToBytes(range.begin), keyToBytes(range.end), limit);
    return (rows as unknown as Row[]).map(([key, value]) => {
      return { key: flatKey(key as Uint8Array), value: value as Uint8Array };
    });
  }

  put(key: Key, value: Uint8Array): void {
    this.#put.get(scratchBytes(key), value);
  }

  delete(key: Key): void {
    this.#delete.get(scratchBytes(key));
  }

  deleteRange(range: KeyRange): void {
    this.#deleteRange.get(keyToBytes(range.begin), keyToBytes(range.end));
  }

  /** From the next statement on all reads are of one moment, until {@link endRead}. */
  beginRead(): void {
    this.#beginRead.get();
  }

  endRead(): void {
    if (this.#database.isTransaction) this.#commit.get();
  }

  /** Takes the write lock of the file; false when another process has it. */
  tryBeginWrite(): boolean {
    try {
      this.#beginWrite.get();
      return true;
    } catch (error) {
      if (isSqliteError(error, "busy", "locked")) return false;
      throw error;
    }
  }

  commit(): void {
    this.#commit.get();
  }

  /** Ends the transaction, if the error that led here has not done so. */
  rollback(): void {
    if (this.#database.isTransaction) this.#rollback.get();
  }

  /** Differs from its last value when another process has committed. Begins the read. */
  dataVersion(): number {
    return (this.#dataVersion.get() as unknown as [number])[0];
  }

  conflictStamp(): number {
    return (this.#stamp.get() as unknown as [number])[0];
  }

  raiseConflictStamp(): void {
    this.#raiseStamp.get();
  }

  logState(): CheckpointState {
    const [, logPages, copiedPages] = this.#logState.get() as unknown as [number, number, number];
    return { logPages, copiedPages };
  }

  /** Copies what it can of the log into the database file, and syncs both. */
  checkpoint(): void {
    this.#checkpoint.get();
  }

  close(): void {
    this.#database.close();
  }
}

/** Opens the store in the file at `givenPath`, or makes it. */
export function openSqliteDatabase(
  givenPath: string,
  { handles, pagesMax }: { readonly handles: number; readonly pagesMax: number | undefined },
): SqliteDatabase {
  checkPlace(givenPath);
  // SQLite keeps the log beside the file that a link leads to.
  const path = existsSync(givenPath) ? realpathSync(givenPath) : givenPath;
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: limits.storeOpenTryMs });
    // In one transaction: another thread or process may be making the file just now.
    run(database, "BEGIN");
    checkFormat(path, database);
    run(database, "ROLLBACK");
    run(database, "PRAGMA synchronous = FULL");
    run(database, "PRAGMA journal_mode = WAL");
    const handle = createSchema(path, database);
    syncDirectory(dirname(path));
    for (
      const pragma of [
        // From here on sqlite.ts syncs the log, and copies it when it has grown.
        "synchronous = NORMAL",
        "wal_autocheckpoint = 0",
        `journal_size_limit = ${limits.storeLogBytesKept}`,
        `cache_size = -${Math.floor(limits.storeCacheBytes / handles / 1024)}`,
        "temp_store = MEMORY",
        // Whoever waits for the lock does so without blocking the event loop.
        "busy_timeout = 0",
      ]
    ) run(database, `PRAGMA ${pragma}`);
    if (pagesMax !== undefined) run(database, `PRAGMA max_page_count = ${pagesMax}`);
    return new SqliteDatabase(path, handle, database);
  } catch (error) {
    database?.close();
    throw openError(path, error);
  }
}

/** Whether `error` came from SQLite, with one of these results. */
export function isSqliteError(error: unknown, ...results: ResultName[]): boolean {
  if (!(error instanceof Error) || !("errcode" in error)) return false;
  const code = Number(error.errcode);
  return results.some((result) => {
    return resultCodes[result].some((known) => known === code || known === (code & 0xff));
  });
}

function prepareArrays(database: DatabaseSync, sql: string): StatementSync {
  const statement = database.prepare(sql);
  // In Deno and Node, but not in the types that come with Deno.
  (statement as StatementSync & { setReturnArrays(on: boolean): void }).setReturnArrays(true);
  return statement;
}

/** Statements that are prepared report SQLite's result code; DatabaseSync.exec does not. */
function run(database: DatabaseSync, sql: string): Row | undefined {
  return prepareArrays(database, sql).get() as Row | undefined;
}

function checkPlace(path: string): void {
  const directory = dirname(path);
  if (!existsSync(directory)) {
    throw new RustreError(
      "ENOENT",
      `Cannot open the store "${path}": the directory "${directory}" does not exist; make it first`,
    );
  }
  const exists = existsSync(path);
  const info = exists ? statSync(path) : undefined;
  if (info?.isDirectory()) {
    throw new RustreError("EISDIR", `Cannot open the store "${path}": it is a directory`);
  }
  if (info?.isFile() === false) {
    throw new RustreError("EINVAL", `Cannot open the store "${path}": it is not a file`);
  }
  try {
    accessSync(exists ? path : directory, constants.R_OK | constants.W_OK);
  } catch (error) {
    throw new RustreError(
      "EACCES",
      `Cannot open the store "${path}": ${exists ? "it" : `"${directory}"`} is not writable`,
      { cause: error },
    );
  }
}

/** Before anything is written: the file is empty, or ours, and not newer than this program. */
function checkFormat(path: string, database: DatabaseSync): void {
  const id = Number(run(database, "PRAGMA application_id")?.[0]);
  const version = Number(run(database, "PRAGMA user_version")?.[0]);
  const tables = Number(run(database, "SELECT count(*) FROM sqlite_schema")?.[0]);
  if (id === 0 && version === 0 && tables === 0) return;
  if (id !== applicationId) {
    throw new RustreError(
      "STORE_FORMAT",
      `Cannot open the store "${path}": it is an SQLite database of another application`,
    );
  }
  if (version > formatVersion) {
    throw new RustreError(
      "STORE_FORMAT",
      `Cannot open the store "${path}": it has format ${version} of a newer rustre; ` +
        `this one knows up to ${formatVersion}`,
    );
  }
}

/** Two processes may make the same file: the second finds it made. Returns the handle's number. */
function createSchema(path: string, database: DatabaseSync): number {
  run(database, "BEGIN IMMEDIATE");
  checkFormat(path, database);
  if (Number(run(database, "PRAGMA application_id")?.[0]) === 0) {
    for (const statement of schema) run(database, statement);
  }
  const row = run(database, "UPDATE shared_state SET handles = handles + 1 RETURNING handles");
  run(database, "COMMIT");
  return Number(row?.[0]);
}

/** Makes the names of the database file and its log durable. */
function syncDirectory(directory: string): void {
  const file = openSync(directory, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

export function openError(path: string, error: unknown): RustreError {
  if (error instanceof RustreError) return error;
  const failure = (code: ConstructorParameters<typeof RustreError>[0], reason: string) =>
    new RustreError(code, `Cannot open the store "${path}": ${reason}`, { cause: error });
  if (isSqliteError(error, "notADatabase")) {
    return failure("STORE_FORMAT", "the file is not an SQLite database");
  }
  if (isSqliteError(error, "corrupt")) return failure("STORE_FORMAT", "the file is damaged");
  if (isSqliteError(error, "full")) return failure("ENOSPC", "no space left on its device");
  if (isSqliteError(error, "readOnly", "cannotOpen")) {
    return failure("EACCES", "the file or its directory is not writable");
  }
  if (isSqliteError(error, "busy", "locked")) return failure("EBUSY", "another process locks it");
  return failure("STORE_FAILED", messageOf(error));
}

/**
 * One array for each length of key: SQLite copies what is bound, so that the next key may take the
 * same memory. Longer keys are rare.
 */
const scratch: Uint8Array[] = Array.from({ length: 257 }, (_, length) => new Uint8Array(length));

function scratchBytes(key: Key): Uint8Array {
  const bytes = scratch[key.length];
  if (bytes === undefined) return keyToBytes(key);
  for (let index = 0; index < key.length; index++) bytes[index] = key.charCodeAt(index);
  return bytes;
}

/** As bytesToKey, but in one piece of memory: range reads make many. */
function flatKey(bytes: Uint8Array): Key {
  return String.fromCharCode.apply(null, bytes as unknown as number[]);
}
