// The engine behind `fdb:CLUSTER_FILE`: a store that spans hosts. It keeps nothing itself. One
// isolate of a process may open it: a second one that loads the client library ends the process.

import { type Clock, sleep } from "../environment.ts";
import { isRustreError, RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import {
  checkClusterFile,
  type NativeDatabase,
  type NativeTransaction,
  openDatabase,
} from "./foundationdb_client.ts";
import { SharedReads } from "./foundationdb_reads.ts";
import { FoundationDbTransaction, type TransactionOwner } from "./foundationdb_transaction.ts";
import type { OpenReading, OpenTransaction, Store } from "./store.ts";

export interface FoundationDbOptions {
  /**
   * Told with each try that the database does not answer, and why. Without it nobody would know what
   * is waited for, and the first failure is the error.
   */
  readonly onWait?: (reason: string) => void;
  /** Ends the wait for the database. */
  readonly signal?: AbortSignal;
}

/** Resolves when the database answers; waits for that where `onWait` is given. */
export async function openFoundationDb(
  url: string,
  path: string,
  clock: Clock,
  options: FoundationDbOptions = {},
): Promise<Store> {
  await checkClusterFile(url, path);
  const database = await openDatabase(url, path, limits.transactionMs);
  const store = new FoundationDbStore(url, database, clock);
  try {
    await waitForDatabase(store, clock, options);
  } catch (error) {
    await store.close();
    throw error;
  }
  return store;
}

/** Reads until that succeeds. Rejects with what waiting cannot mend, and where the signal fires. */
export async function waitForDatabase(
  store: Store,
  clock: Clock,
  { onWait, signal }: FoundationDbOptions,
): Promise<void> {
  for (;;) {
    const transaction = store.begin();
    try {
      await transaction.get("");
      return;
    } catch (error) {
      const mayPass = isRustreError(error, "STORE_FAILED", "STORE_BUSY", "TRANSACTION_TOO_OLD");
      if (!mayPass || !onWait) throw error;
      onWait(error.message);
    } finally {
      await transaction.cancel();
    }
    await sleep(clock, limits.storeWaitMs, signal);
  }
}

export class FoundationDbStore implements Store, TransactionOwner {
  readonly url: string;
  readonly isRemote = true;
  readonly clock: Clock;
  readonly #database: NativeDatabase;
  readonly #reads = new SharedReads(this);
  readonly #commits = new Set<Promise<unknown>>();
  /** The platform frees one that is dropped only with a full collection: they are used again. */
  readonly #idle: NativeTransaction[] = [];
  #closing: Promise<void> | undefined;

  constructor(url: string, database: NativeDatabase, clock: Clock) {
    this.url = url;
    this.clock = clock;
    this.#database = database;
  }

  begin(): OpenTransaction {
    this.checkOpen();
    return new FoundationDbTransaction(this, this.take());
  }

  beginReading(): OpenReading {
    this.checkOpen();
    return this.#reads.begin();
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  checkOpen(): void {
    if (this.#closing === undefined) return;
    throw new RustreError("STORE_CLOSED", `Cannot use the store "${this.url}": it is closed`);
  }

  async track<T>(commit: Promise<T>): Promise<T> {
    this.#commits.add(commit);
    try {
      return await commit;
    } finally {
      this.#commits.delete(commit);
    }
  }

  take(): NativeTransaction {
    const idle = this.#idle.pop();
    // Once more: its timeout counts from the reset.
    idle?.rawReset();
    return idle ?? this.#database.rawCreateTransaction();
  }

  release(native: NativeTransaction): void {
    // Frees what it has read and written.
    native.rawReset();
    if (this.#closing !== undefined || this.#idle.length >= limits.storeIdleTransactionsMax) return;
    this.#idle.push(native);
  }

  async #close(): Promise<void> {
    this.#idle.length = 0;
    await Promise.allSettled(this.#commits);
    this.#database.close();
  }
}
