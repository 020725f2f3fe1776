// The optimistic transaction that the engines share: writes are buffered, reads are remembered, and
// the commit is refused when what was read has changed. Also the place where FoundationDB's limits
// are enforced. An engine gives the newest committed state and applies what passes validation.

import { assert } from "../assert.ts";
import type { Clock } from "../environment.ts";
import type { RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Reader, RecentCommits, Version } from "./conflicts.ts";
import { equalBytes, equalRows, isEmpty, rangeBeyond, rangeUpTo } from "./key_range.ts";
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
  conflict,
  sizeOf,
  tooOld,
} from "./transaction_checks.ts";
import { applyWrite, mergeWrites, type RangePiece, WriteBuffer } from "./write_buffer.ts";

/** The newest committed state, as one moment until the engine is given the next turn. */
export interface CommittedState {
  get(key: Key): Uint8Array | undefined;
  getRange(range: KeyRange, limit: number, reverse: boolean): KeyValue[];
}

export interface TransactionEngine {
  readonly clock: Clock;
  readonly recent: RecentCommits;
  readonly state: CommittedState;
  /**
   * The newest version at which commits happened that `recent` has no keys of, because another
   * process made them: transactions from before it check their reads by value.
   */
  readonly foreignVersion: Version;
  /** As foreignVersion, of commits that values do not show: their read transactions conflict. */
  readonly unverifiableVersion: Version;
  /** Throws STORE_CLOSED, STORE_FAILED. */
  checkOpen(): void;
  /**
   * Called before each read of `state`. After `first`, `state` has every commit that any process
   * acknowledged before; else it only must not mix moments. Throws STORE_CLOSED, STORE_FAILED.
   */
  prepareRead(first: boolean): void;
  /** Validates, applies and makes durable; see OpenTransaction.commit. */
  commit(transaction: BufferedTransaction): Promise<void>;
  /** Resolves when everything up to `version` is durable. */
  whenDurable(version: Version): Promise<void>;
}

/** The writes of a validated transaction, with its additions carried out. */
export interface ResolvedWrites {
  readonly clearedRanges: readonly KeyRange[];
  readonly values: readonly { readonly key: Key; readonly value: Uint8Array | undefined }[];
}

interface KeyRead {
  readonly value: Uint8Array | undefined;
  /** Whether the commit depends on it; otherwise it was a snapshot read. */
  conflicts: boolean;
}

interface RangeRead {
  readonly range: KeyRange;
  /** What the store had there, in key order; undefined where it was too much to keep. */
  readonly rows: readonly KeyValue[] | undefined;
  readonly conflicts: boolean;
}

export class BufferedTransaction implements OpenTransaction, Reader {
  readonly begunMs: number;
  older: Reader | undefined = undefined;
  newer: Reader | undefined = undefined;
  isListed = false;
  readonly #engine: TransactionEngine;
  readonly #buffer = new WriteBuffer();
  readonly #keyReads = new Map<Key, KeyRead>();
  readonly #rangeReads: RangeRead[] = [];
  readonly #writeConflicts: KeyRange[] = [];
  /** Of what is written, and of what is checked for conflicts, as FoundationDB counts. */
  #bytes = 0;
  /** Set by the first read. */
  #readVersion: Version | undefined;
  /** The newest commit that a read has seen. */
  #dependsOn: Version = 0;
  /** Why a read failed: nothing may be committed after it. */
  #failure: unknown;
  #ended = false;

  constructor(engine: TransactionEngine) {
    this.#engine = engine;
    this.begunMs = engine.clock.monotonicMs();
  }

  get readVersion(): Version {
    assert(this.#readVersion !== undefined, "the transaction has not read");
    return this.#readVersion;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get hasWrites(): boolean {
    return !this.#buffer.isEmpty || this.#writeConflicts.length > 0;
  }

  get hasWriteConflictRanges(): boolean {
    return this.#writeConflicts.length > 0;
  }

  // ── reads ────────────────────────────────────────────────────────────────────────────────────

  get(key: Key, options?: GetOptions): Promise<Uint8Array | undefined> {
    return this.#attempt(() => this.#get(key, options?.snapshot !== true));
  }

  getRange(range: KeyRange, options: RangeOptions): Promise<KeyValue[]> {
    return this.#attempt(() => {
      this.#assertOpen();
      checkRange(range);
      const { limit, reverse = false, snapshot = false } = options;
      checkLimit(limit);
      const found: KeyValue[] = [];
      for (const piece of this.#buffer.pieces(range, reverse)) {
        if (found.length < limit) this.#readPiece(piece, { limit, reverse, snapshot }, found);
      }
      return found;
    });
  }

  addReadConflictRange(range: KeyRange): void {
    this.#assertOpen();
    checkRange(range);
    this.#bytes += sizeOf.conflictRange(range);
    if (isEmpty(range)) return;
    try {
      this.#beginRead();
      this.#dependOn(this.#engine.recent.lastWriteIn(range, this.#recentFloor()), range);
      const rows = this.#engine.state.getRange(range, limits.rangeEntriesMax, false);
      const complete = rows.length < limits.rangeEntriesMax;
      this.#rangeReads.push({ range, rows: complete ? rows : undefined, conflicts: true });
    } catch (error) {
      throw this.#fail(error);
    }
  }

  // ── writes ───────────────────────────────────────────────────────────────────────────────────

  set(key: Key, value: Uint8Array): void {
    this.#assertOpen();
    checkKey(key);
    checkValue(key, value);
    this.#bytes += sizeOf.write(key, value.length);
    this.#buffer.set(key, value);
  }

  delete(key: Key): void {
    this.#assertOpen();
    checkKey(key);
    this.#bytes += sizeOf.write(key, 0);
    this.#buffer.delete(key);
  }

  deleteRange(range: KeyRange): void {
    this.#assertOpen();
    checkRange(range);
    this.#bytes += sizeOf.deleteRange(range);
    if (!isEmpty(range)) this.#buffer.deleteRange(range);
  }

  add(key: Key, delta: bigint): void {
    this.#assertOpen();
    checkKey(key);
    this.#bytes += sizeOf.write(key, 8);
    this.#buffer.add(key, delta);
  }

  addWriteConflictRange(range: KeyRange): void {
    this.#assertOpen();
    checkRange(range);
    this.#bytes += sizeOf.conflictRange(range);
    if (!isEmpty(range)) this.#writeConflicts.push(range);
  }

  // ── the end ──────────────────────────────────────────────────────────────────────────────────

  async commit(): Promise<void> {
    this.#assertOpen();
    this.#ended = true;
    try {
      this.#engine.checkOpen();
      if (this.#failure !== undefined) throw this.#failure;
      this.#checkAge();
      checkSize(this.#bytes);
      if (this.hasWrites) await this.#engine.commit(this);
      else await this.#engine.whenDurable(this.#dependsOn);
    } finally {
      this.#engine.recent.removeReader(this);
    }
  }

  async cancel(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#engine.recent.removeReader(this);
    await this.#engine.whenDurable(this.#dependsOn);
  }

  // ── for the engine, at the commit ────────────────────────────────────────────────────────────

  /** Throws CONFLICT where what was read is not what `state` has now, and TRANSACTION_TOO_OLD. */
  validate(): void {
    this.#checkAge();
    if (this.#readVersion === undefined) return;
    this.#checkRecentCommits();
    if (this.#readVersion < this.#engine.foreignVersion) this.#checkValues(false);
  }

  /** The error, once this transaction is over its time. */
  tooOld(): RustreError | undefined {
    return tooOld(this.#engine.clock.monotonicMs() - this.begunMs);
  }

  /** What to write; additions read `state`. Throws STORE_FORMAT. */
  resolveWrites(): ResolvedWrites {
    const values = [];
    for (const [key, write] of this.#buffer.writes) {
      const before = write.kind === "add" ? this.#engine.state.get(key) : undefined;
      values.push({ key, value: applyWrite(key, write, before) });
    }
    return { clearedRanges: this.#buffer.clearedRanges, values };
  }

  /** What other transactions conflict with. */
  writtenKeys(): Key[] {
    return [...this.#buffer.writes.keys()];
  }

  writtenRanges(): KeyRange[] {
    return [...this.#buffer.clearedRanges, ...this.#writeConflicts];
  }

  // ── inside ───────────────────────────────────────────────────────────────────────────────────

  #get(key: Key, conflicts: boolean): Uint8Array | undefined {
    this.#assertOpen();
    checkKey(key);
    const write = this.#buffer.find(key);
    if (write === undefined) return this.#readKey(key, conflicts);
    if (write.kind !== "add") return applyWrite(key, write, undefined);
    return applyWrite(key, write, this.#readKey(key, conflicts));
  }

  #readKey(key: Key, conflicts: boolean): Uint8Array | undefined {
    const earlier = this.#keyReads.get(key);
    if (earlier !== undefined) {
      if (conflicts && !earlier.conflicts) this.#addConflict(key, earlier);
      return earlier.value;
    }
    this.#beginRead();
    this.#dependOn(this.#engine.recent.lastWriteOf(key, this.#recentFloor()), key);
    const read = { value: this.#engine.state.get(key), conflicts: false };
    this.#keyReads.set(key, read);
    if (conflicts) this.#addConflict(key, read);
    return read.value;
  }

  /** Reads the part of `piece` that still fits into the limit, on to the end of `found`. */
  #readPiece(piece: RangePiece, options: Required<RangeOptions>, found: KeyValue[]): void {
    const { limit, reverse, snapshot } = options;
    if (piece.cleared) {
      return mergeWrites([], this.#buffer.inRange(piece, reverse), options, found);
    }
    this.#beginRead();
    const rows: KeyValue[] = [];
    let rest: KeyRange = piece;
    for (let exhausted = false; !exhausted && found.length < limit;) {
      const wanted = limit - found.length;
      const page = this.#engine.state.getRange(rest, wanted, reverse);
      exhausted = page.length < wanted;
      const lastKey = page.at(-1)?.key;
      const covered = exhausted ? rest : rangeUpTo(rest, lastKey!, reverse);
      mergeWrites(page, this.#buffer.inRange(covered, reverse), options, found);
      for (const row of page) rows.push(row);
      if (!exhausted) rest = rangeBeyond(rest, lastKey!, reverse);
    }
    const lastKey = found.at(-1)?.key;
    const observed = found.length < limit ? piece : rangeUpTo(piece, lastKey!, reverse);
    this.#dependOn(this.#engine.recent.lastWriteIn(observed, this.#recentFloor()), observed.begin);
    const seen = rows.filter(({ key }) => key >= observed.begin && key < observed.end);
    if (!snapshot) this.#bytes += sizeOf.conflictRange(observed);
    this.#rangeReads.push({
      range: { begin: observed.begin, end: observed.end },
      rows: reverse ? seen.reverse() : seen,
      conflicts: !snapshot,
    });
  }

  #beginRead(): void {
    const first = this.#readVersion === undefined;
    this.#engine.prepareRead(first);
    if (first) return this.#readNow();
    this.#checkAge();
    if (this.#readVersion! >= this.#engine.foreignVersion) return;
    // Another process has written. When all that was read is unchanged, then it is also what the
    // store holds now, and the transaction goes on from here.
    this.#checkRecentCommits();
    this.#checkValues(true);
    this.#readNow();
  }

  #readNow(): void {
    this.#readVersion = this.#engine.recent.version;
    this.#engine.recent.addReader(this);
    if (this.#engine.foreignVersion > this.#engine.recent.durableVersion) {
      this.#dependsOn = Math.max(this.#dependsOn, this.#engine.foreignVersion);
    }
  }

  /** From where on the recent commits matter to a read. */
  #recentFloor(): Version {
    return Math.min(this.#readVersion!, this.#engine.recent.durableVersion);
  }

  /** A read saw `version`, the newest commit that wrote what it read. */
  #dependOn(version: Version, what: Key | KeyRange): void {
    if (version > this.#readVersion!) throw conflict(what);
    if (version > this.#dependsOn) this.#dependsOn = version;
  }

  #checkRecentCommits(): void {
    const { recent } = this.#engine;
    const readVersion = this.#readVersion!;
    if (recent.version === readVersion) return;
    for (const [key, { conflicts }] of this.#keyReads) {
      if (conflicts && recent.lastWriteOf(key, readVersion) > readVersion) throw conflict(key);
    }
    for (const { range, conflicts } of this.#rangeReads) {
      if (conflicts && recent.lastWriteIn(range, readVersion) > readVersion) throw conflict(range);
    }
  }

  /** Compares what was read, with or without what was read as a snapshot, to what is there now. */
  #checkValues(withSnapshots: boolean): void {
    const { state, unverifiableVersion } = this.#engine;
    for (const [key, { value, conflicts }] of this.#keyReads) {
      if (!conflicts && !withSnapshots) continue;
      if (this.#readVersion! < unverifiableVersion) throw conflict(key);
      if (!equalBytes(state.get(key), value)) throw conflict(key);
    }
    for (const { range, rows, conflicts } of this.#rangeReads) {
      if (!conflicts && !withSnapshots) continue;
      if (this.#readVersion! < unverifiableVersion || rows === undefined) throw conflict(range);
      if (!equalRows(state.getRange(range, rows.length + 1, false), rows)) throw conflict(range);
    }
  }

  #attempt<T>(read: () => T): Promise<T> {
    try {
      return Promise.resolve(read());
    } catch (error) {
      return Promise.reject(this.#fail(error));
    }
  }

  #fail(error: unknown): unknown {
    this.#failure ??= error;
    return error;
  }

  #assertOpen(): void {
    assert(!this.#ended, "a transaction was used after its end");
  }

  #addConflict(key: Key, read: KeyRead): void {
    read.conflicts = true;
    this.#bytes += sizeOf.readKey(key);
  }

  #checkAge(): void {
    const error = this.tooOld();
    if (error !== undefined) throw error;
  }
}
