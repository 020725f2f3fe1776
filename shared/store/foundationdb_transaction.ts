// A transaction on FoundationDB: the store's promises in terms of the client library's calls. What
// the library promises itself (order, conflicts, own writes in reads) is left to it.

import { Buffer } from "node:buffer";
import { assert } from "../assert.ts";
import type { Clock } from "../environment.ts";
import type { NativeTransaction } from "./foundationdb_client.ts";
import { commitError, readError } from "./foundationdb_errors.ts";
import { bufferOf, readRows, readValue } from "./foundationdb_rows.ts";
import { isEmpty } from "./key_range.ts";
import type {
  GetOptions,
  Key,
  KeyRange,
  KeyValue,
  OpenTransaction,
  RangeOptions,
} from "./store.ts";
import {
  checkKey,
  checkLimit,
  checkRange,
  checkSize,
  checkValue,
  sizeOf,
  tooOld,
} from "./transaction_checks.ts";

/** What a transaction needs of its store. */
export interface TransactionOwner {
  readonly url: string;
  readonly clock: Clock;
  /** Throws STORE_CLOSED. */
  checkOpen(): void;
  /** Says that a commit is under way until the promise settles. */
  track<T>(commit: Promise<T>): Promise<T>;
  /** Takes a transaction back; reads that are under way fail. */
  release(native: NativeTransaction): void;
}

const addOperation = 2;

export class FoundationDbTransaction implements OpenTransaction {
  readonly #owner: TransactionOwner;
  readonly #native: NativeTransaction;
  readonly #begunMs: number;
  #snapshot: NativeTransaction | undefined;
  /** As FoundationDB counts it, or more. */
  #bytes = 0;
  #hasWrites = false;
  /** Set where a read conflict range asks for a version of its time; never rejects. */
  #version: Promise<void> | undefined;
  /** Why a read failed: nothing may be committed after it. */
  #failure: unknown;
  #ended = false;

  constructor(owner: TransactionOwner, native: NativeTransaction) {
    this.#owner = owner;
    this.#native = native;
    this.#begunMs = owner.clock.monotonicMs();
  }

  // ── reads ────────────────────────────────────────────────────────────────────────────────────

  get(key: Key, options?: GetOptions): Promise<Uint8Array | undefined> {
    return this.#attempt(async () => {
      checkKey(key);
      const snapshot = options?.snapshot === true;
      if (!snapshot) this.#bytes += sizeOf.readKey(key);
      return await readValue(this.#reader(snapshot), key);
    });
  }

  getRange(range: KeyRange, options: RangeOptions): Promise<KeyValue[]> {
    return this.#attempt(async () => {
      checkRange(range);
      const { limit, reverse = false, snapshot = false } = options;
      checkLimit(limit);
      if (!snapshot) this.#bytes += sizeOf.conflictRange(range);
      return await readRows(this.#reader(snapshot), range, limit, reverse);
    });
  }

  /** FoundationDB takes the version that it compares with at the first read, so this is one. */
  addReadConflictRange(range: KeyRange): void {
    this.#assertOpen();
    checkRange(range);
    this.#bytes += sizeOf.conflictRange(range);
    if (isEmpty(range)) return;
    this.#native.addReadConflictRange(bufferOf(range.begin), bufferOf(range.end));
    this.#version ??= this.#attempt(() => this.#native.getReadVersion())
      .then(() => {}, () => {/* kept as the failure of the transaction */});
  }

  // ── writes ───────────────────────────────────────────────────────────────────────────────────

  set(key: Key, value: Uint8Array): void {
    this.#beginWrite();
    checkKey(key);
    checkValue(key, value);
    this.#bytes += sizeOf.write(key, value.length);
    this.#native.set(bufferOf(key), viewOf(value));
  }

  delete(key: Key): void {
    this.#beginWrite();
    checkKey(key);
    this.#bytes += sizeOf.write(key, 0);
    this.#native.clear(bufferOf(key));
  }

  deleteRange(range: KeyRange): void {
    this.#beginWrite();
    checkRange(range);
    this.#bytes += sizeOf.deleteRange(range);
    if (!isEmpty(range)) this.#native.clearRange(bufferOf(range.begin), bufferOf(range.end));
  }

  add(key: Key, delta: bigint): void {
    this.#beginWrite();
    checkKey(key);
    const operand = Buffer.alloc(8);
    this.#bytes += sizeOf.write(key, operand.length);
    operand.writeBigInt64LE(BigInt.asIntN(64, delta));
    this.#native.atomicOpNative(addOperation, bufferOf(key), operand);
  }

  addWriteConflictRange(range: KeyRange): void {
    this.#beginWrite();
    checkRange(range);
    this.#bytes += sizeOf.conflictRange(range);
    if (isEmpty(range)) return;
    this.#native.addWriteConflictRange(bufferOf(range.begin), bufferOf(range.end));
  }

  // ── the end ──────────────────────────────────────────────────────────────────────────────────

  async commit(): Promise<void> {
    this.#assertOpen();
    this.#ended = true;
    try {
      this.#owner.checkOpen();
      await this.#owner.track(this.#commit());
    } catch (error) {
      throw commitError(this.#owner.url, error);
    } finally {
      this.#owner.release(this.#native);
    }
  }

  cancel(): Promise<void> {
    if (!this.#ended) {
      this.#ended = true;
      this.#owner.release(this.#native);
    }
    return Promise.resolve();
  }

  // ── inside ───────────────────────────────────────────────────────────────────────────────────

  async #commit(): Promise<void> {
    await this.#version;
    if (this.#failure !== undefined) throw this.#failure;
    this.#checkAge();
    checkSize(this.#bytes);
    // What a transaction reads is durable, and one that only reads conflicts with nothing.
    if (this.#hasWrites) await this.#native.rawCommit();
  }

  #reader(snapshot: boolean): NativeTransaction {
    return snapshot ? this.#snapshot ??= this.#native.snapshot() : this.#native;
  }

  async #attempt<T>(read: () => Promise<T>): Promise<T> {
    try {
      this.#assertOpen();
      this.#owner.checkOpen();
      this.#checkAge();
      return await read();
    } catch (error) {
      const translated = readError(this.#owner.url, error);
      this.#failure ??= translated;
      throw translated;
    }
  }

  #beginWrite(): void {
    this.#assertOpen();
    this.#hasWrites = true;
  }

  #assertOpen(): void {
    assert(!this.#ended, "a transaction was used after its end");
  }

  #checkAge(): void {
    const error = tooOld(this.#owner.clock.monotonicMs() - this.#begunMs);
    if (error !== undefined) throw error;
  }
}

/** The library copies what it is given before it returns. */
function viewOf(value: Uint8Array): Buffer {
  return Buffer.from(value.buffer, value.byteOffset, value.length);
}
