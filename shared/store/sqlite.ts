// The engine behind `sqlite:PATH`, the embedded default. Concurrent commits share one SQLite
// transaction and one sync of its log, which runs beside the event loop. Several processes may have
// the file open: SQLite's lock orders their batches, and each notices what the others committed.

import { closeSync, fdatasync, openSync } from "node:fs";
import { resolve as absolutePath } from "node:path";
import { assert } from "../assert.ts";
import { type Clock, sleep } from "../environment.ts";
import { isRustreError, messageOf, RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import {
  BufferedTransaction,
  type CommittedState,
  type ResolvedWrites,
  type TransactionEngine,
} from "./buffered_transaction.ts";
import { CommitSignal } from "./commit_signal.ts";
import { RecentCommits, type Version } from "./conflicts.ts";
import {
  isSqliteError,
  openError,
  openSqliteDatabase,
  type SqliteDatabase,
} from "./sqlite_database.ts";
import { ValueCache } from "./value_cache.ts";
import type { Key, KeyRange, KeyValue, OpenTransaction, Store } from "./store.ts";

/** A commit that waits for its batch. */
interface PendingCommit {
  readonly transaction: BufferedTransaction;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export interface SqliteOptions {
  /** How many handles of this process share limits.storeCacheBytes. */
  readonly handles?: number | undefined;
}

/** Where tests stand in for a disk that is full or fails. */
export interface SqliteFaults {
  /** The size of the database file at which SQLite says that the disk is full. */
  readonly pagesMax?: number;
  /** Brings everything that was written to the log onto the disk. */
  readonly syncLog?: () => Promise<void>;
}

export class SqliteStore implements Store, TransactionEngine, CommittedState {
  readonly url: string;
  readonly clock: Clock;
  readonly recent = new RecentCommits();
  readonly #database: SqliteDatabase;
  readonly #signal: CommitSignal;
  readonly #logFile: number;
  readonly #syncLog: () => Promise<void>;
  #dataVersion: number;
  #conflictStamp: number;
  #foreignVersion: Version = 0;
  #unverifiableVersion: Version = 0;
  /** Whether an SQLite read transaction holds the moment that reads are of. */
  #holdsSnapshot = false;
  #cancelRelease: (() => void) | undefined;
  #queue: PendingCommit[] = [];
  /** What is being committed or synced. */
  #batch: PendingCommit[] = [];
  /**
   * What the batch that is being committed has written to single keys and SQLite does not have yet.
   * Transactions of a batch often write the same key, as a directory's time; the last write counts.
   */
  readonly #batchWrites = new Map<Key, Uint8Array | undefined>();
  readonly #cache = new ValueCache();
  /** So many of the queue get a batch of their own. */
  #singleCommits = 0;
  #committing: Promise<void> | undefined;
  #syncing: Promise<void> | undefined;
  #failure: RustreError | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    url: string,
    path: string,
    clock: Clock,
    { handles = 1, ...faults }: SqliteOptions & SqliteFaults = {},
  ) {
    this.url = url;
    this.clock = clock;
    const { pagesMax } = faults;
    this.#database = openSqliteDatabase(absolutePath(path), { handles, pagesMax });
    try {
      this.#dataVersion = this.#database.dataVersion();
      this.#conflictStamp = this.#database.conflictStamp();
      this.#signal = new CommitSignal(this.#database.signalPath, this.#database.handle);
      this.#signal.raise();
      this.#logFile = openSync(this.#database.logPath, "r");
    } catch (error) {
      this.#database.close();
      throw openError(path, error);
    }
    this.#syncLog = faults.syncLog ?? (() => syncFile(this.#logFile));
    // What is in the file now may be in another process's page cache only.
    this.#foreignVersion = this.recent.record([], []);
  }

  get state(): CommittedState {
    return this;
  }

  get foreignVersion(): Version {
    return this.#foreignVersion;
  }

  get unverifiableVersion(): Version {
    return this.#unverifiableVersion;
  }

  begin(): OpenTransaction {
    this.checkOpen();
    return new BufferedTransaction(this);
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  checkOpen(): void {
    if (this.#closing !== undefined) {
      throw new RustreError("STORE_CLOSED", `Cannot use the store "${this.url}": it is closed`);
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────

  get(key: Key): Uint8Array | undefined {
    if (this.#batchWrites.has(key)) return this.#batchWrites.get(key);
    const cached = this.#cache.get(key);
    if (cached !== undefined) return cached;
    const value = this.#reading(() => this.#database.get(key));
    if (value !== undefined) this.#cache.add(key, value);
    return value;
  }

  getRange(range: KeyRange, limit: number, reverse: boolean): KeyValue[] {
    this.#flushBatchWrites();
    return this.#reading(() => this.#database.getRange(range, limit, reverse));
  }

  /**
   * Reads are of a snapshot that SQLite holds. At a transaction's first read it must not be older
   * than the last commit that any process acknowledged, since who began the transaction may know.
   */
  prepareRead(first: boolean): void {
    this.checkOpen();
    if (this.#holdsSnapshot && !(first && this.#signal.wasRaised())) return;
    this.#reading(() => this.#takeSnapshot());
  }

  #takeSnapshot(): void {
    this.#releaseSnapshot();
    this.#signal.wasRaised();
    try {
      this.#database.beginRead();
      // Whoever made them may have died between its commit and its signal.
      if (this.#noticeForeignCommits()) this.#signal.raise();
    } catch (error) {
      this.#database.rollback();
      throw error;
    }
    this.#holdsSnapshot = true;
    // A snapshot that is never renewed keeps other processes from reusing the log.
    this.#cancelRelease ??= this.clock.setTimer(() => {
      this.#cancelRelease = undefined;
      this.#releaseSnapshot();
    }, limits.storeSnapshotMs);
  }

  #releaseSnapshot(): void {
    if (!this.#holdsSnapshot) return;
    this.#holdsSnapshot = false;
    this.#database.endRead();
  }

  /** To be called at the begin of each SQLite transaction. */
  #noticeForeignCommits(): boolean {
    const dataVersion = this.#database.dataVersion();
    if (dataVersion === this.#dataVersion) return false;
    this.#cache.clear();
    const stamp = this.#database.conflictStamp();
    this.#foreignVersion = this.recent.record([], []);
    if (stamp !== this.#conflictStamp) this.#unverifiableVersion = this.#foreignVersion;
    this.#conflictStamp = stamp;
    this.#dataVersion = dataVersion;
    this.recent.trim(this.clock.monotonicMs());
    return true;
  }

  #reading<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (isSqliteError(error, "busy", "locked")) {
        throw new RustreError("CONFLICT", `Cannot read "${this.url}": another process locks it`, {
          cause: error,
        });
      }
      throw new RustreError("STORE_FAILED", `Cannot read "${this.url}": ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  // ── committing ───────────────────────────────────────────────────────────────────────────────

  commit(transaction: BufferedTransaction): Promise<void> {
    this.checkOpen();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#queue.push({ transaction, resolve, reject });
    this.#committing ??= this.#commitQueue();
    return promise;
  }

  /** While one batch is synced, the next one gathers. */
  async #commitQueue(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        if (!this.#tryLockForWriting()) {
          await this.#waitForLock();
          continue;
        }
        // Nothing is awaited under the lock: a read in between would begin its own snapshot.
        this.#batch = this.#takeBatch();
        await this.#acknowledge(this.#commitBatch(this.#batch));
        this.#batch = [];
        this.#checkpointIfLong();
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#committing = undefined;
    }
  }

  #tryLockForWriting(): boolean {
    this.#releaseSnapshot();
    return this.#database.tryBeginWrite();
  }

  /** Other processes hold the lock for one batch at a time, never across a sync. */
  async #waitForLock(): Promise<void> {
    await sleep(this.clock, limits.storeLockRetryMs);
    this.#queue = this.#queue.filter(({ transaction, reject }) => {
      const tooOld = transaction.tooOld();
      if (tooOld !== undefined) reject(tooOld);
      return tooOld === undefined;
    });
  }

  #takeBatch(): PendingCommit[] {
    let bytes = 0;
    let count = 0;
    for (const { transaction } of this.#queue) {
      bytes += transaction.bytes;
      if (count > 0 && (bytes > limits.storeBatchBytesMax || this.#singleCommits > 0)) break;
      count++;
    }
    if (this.#singleCommits > 0) this.#singleCommits--;
    return this.#queue.splice(0, count);
  }

  /** Under the write lock, which it gives back. Returns what is committed; rejects the others. */
  #commitBatch(batch: readonly PendingCommit[]): PendingCommit[] {
    const refused = new Set<PendingCommit>();
    let versionBefore = this.recent.version;
    try {
      this.#noticeForeignCommits();
      versionBefore = this.recent.version;
      for (const pending of batch) {
        const writes = validatedWrites(pending);
        if (writes === undefined) refused.add(pending);
        else this.#apply(pending.transaction, writes);
      }
      const accepted = batch.filter((pending) => !refused.has(pending));
      const raisesStamp = accepted.some(({ transaction }) => transaction.hasWriteConflictRanges);
      if (raisesStamp) this.#database.raiseConflictStamp();
      this.#flushBatchWrites();
      this.#database.commit();
      this.#signal.raise();
      if (raisesStamp) this.#conflictStamp++;
      return accepted;
    } catch (error) {
      this.#batchWrites.clear();
      this.#cache.clear();
      this.#database.rollback();
      this.recent.revertTo(versionBefore);
      if (!isSqliteError(error, "full")) throw error;
      this.#checkpoint();
      this.#commitOneByOne(batch.filter((pending) => !refused.has(pending)), error);
      return [];
    }
  }

  #apply(transaction: BufferedTransaction, { clearedRanges, values }: ResolvedWrites): void {
    if (clearedRanges.length > 0) this.#flushBatchWrites();
    for (const range of clearedRanges) {
      this.#database.deleteRange(range);
      this.#cache.clear();
    }
    for (const { key, value } of values) this.#batchWrites.set(key, value);
    this.recent.record(transaction.writtenKeys(), transaction.writtenRanges());
  }

  /** In key order, so that neighbours in the tree are written one after the other. */
  #flushBatchWrites(): void {
    if (this.#batchWrites.size === 0) return;
    for (const key of [...this.#batchWrites.keys()].sort()) {
      const value = this.#batchWrites.get(key);
      this.#cache.forget(key);
      if (value === undefined) this.#database.delete(key);
      else this.#database.put(key, value);
    }
    this.#batchWrites.clear();
  }

  /**
   * The disk was full for all of them together; some may fit into the log, now that it is copied,
   * or even make space.
   */
  #commitOneByOne(pending: PendingCommit[], cause: unknown): void {
    const [only] = pending;
    if (pending.length === 1) {
      only!.reject(
        new RustreError("ENOSPC", `Cannot commit to "${this.url}": no space left on its device`, {
          cause,
        }),
      );
      return;
    }
    this.#queue.unshift(...pending);
    this.#singleCommits = pending.length;
  }

  async #acknowledge(committed: readonly PendingCommit[]): Promise<void> {
    for (const { transaction } of committed) this.recent.removeReader(transaction);
    if (committed.length > 0) await this.whenDurable(this.recent.version);
    for (const { resolve } of committed) resolve();
    this.recent.trim(this.clock.monotonicMs());
  }

  // ── durability ───────────────────────────────────────────────────────────────────────────────

  async whenDurable(version: Version): Promise<void> {
    while (this.recent.durableVersion < version) {
      if (this.#failure !== undefined) throw this.#failure;
      await (this.#syncing ??= this.#sync());
    }
  }

  /** One at a time; who needs a version that came after its begin needs the next one. */
  async #sync(): Promise<void> {
    const version = this.recent.version;
    try {
      await this.#syncLog();
      this.recent.setDurable(version);
    } catch (error) {
      // The kernel may have dropped the pages and call the next sync a success.
      this.#fail(error);
    } finally {
      this.#syncing = undefined;
    }
  }

  #checkpointIfLong(): void {
    this.#releaseSnapshot();
    const { logPages, copiedPages } = this.#database.logState();
    if (logPages - copiedPages >= limits.storeLogPages) this.#checkpoint();
  }

  #checkpoint(): void {
    this.#releaseSnapshot();
    try {
      this.#database.checkpoint();
    } catch (error) {
      // All leave the log as it is, and the next batch tries again.
      if (!isSqliteError(error, "full", "busy", "locked")) throw error;
    }
  }

  /** For good: what the disk has is not known any more. */
  #fail(cause: unknown): void {
    this.#failure ??= new RustreError(
      "STORE_FAILED",
      `Cannot write to "${this.url}": ${messageOf(cause)}; restart the server once its disk works`,
      { cause },
    );
    const waiting = [...this.#batch, ...this.#queue];
    this.#batch = [];
    this.#queue = [];
    for (const { reject } of waiting) reject(this.#failure);
  }

  async #close(): Promise<void> {
    await this.#committing;
    try {
      await this.whenDurable(this.recent.version);
    } catch (error) {
      // Whoever waited for durability has been told.
      assert(error === this.#failure, "only a failed store cannot sync");
    }
    this.#cancelRelease?.();
    this.#releaseSnapshot();
    this.#database.close();
    closeSync(this.#logFile);
    this.#signal.close();
  }
}

/** What `pending` writes; where it may not commit, it is rejected. */
function validatedWrites({ transaction, reject }: PendingCommit): ResolvedWrites | undefined {
  try {
    transaction.validate();
    return transaction.resolveWrites();
  } catch (error) {
    // After any other error SQLite may have ended the transaction of the whole batch.
    if (!isRustreError(error, "CONFLICT", "TRANSACTION_TOO_OLD", "STORE_FORMAT")) throw error;
    reject(error);
    return undefined;
  }
}

function syncFile(file: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(file, (error) => error ? reject(error) : resolve());
  });
}
