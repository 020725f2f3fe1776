// Copies a cluster from one store to another, of whichever engines, while no server runs: in batches,
// each a transaction that also says how far the copy is, so that an interrupted one goes on there. In
// the end both are read again and compared; only then the copy may be used.

import { createHash } from "node:crypto";
import { decode } from "@msgpack/msgpack";
import { interrupted, pause } from "../deadline.ts";
import { type Environment, randomHex } from "../environment.ts";
import { RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import { equalRows } from "./key_range.ts";
import {
  type CopyMark,
  copyMarkKey,
  readClusterId,
  readCopyMark,
  requireCluster,
  writeCopyMark,
} from "./cluster_id.ts";
import {
  type Key,
  keyAfter,
  type KeyRange,
  keyToBytes,
  type KeyValue,
  prefixRange,
  type Store,
  textToKey,
  type Transaction,
} from "./store.ts";
import { readOnly, transact, type TransactionContext } from "./transact.ts";

export interface CopyProgress {
  readonly stage: "waiting" | "copying" | "comparing";
  readonly pairs: number;
  readonly bytes: number;
}

export interface CopyOptions {
  readonly environment: Pick<Environment, "clock" | "random">;
  readonly from: Store;
  readonly to: Store;
  readonly clusterName: string;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: CopyProgress) => void) | undefined;
}

/** Of all keys and values of the cluster. */
export interface StoreDigest {
  readonly pairs: number;
  readonly bytes: number;
  readonly sha256: string;
}

export interface CopySummary extends StoreDigest {
  readonly clusterId: string;
  /** Pairs that an earlier, interrupted run had copied. */
  readonly resumedAtPairs: number;
}

export async function copyStore(options: CopyOptions): Promise<CopySummary> {
  return await new StoreCopy(options).run();
}

class StoreCopy {
  readonly #options: CopyOptions;
  readonly #from: TransactionContext;
  readonly #to: TransactionContext;
  /** All keys of the cluster. */
  readonly #range: KeyRange;
  readonly #copier: string;

  constructor(options: CopyOptions) {
    const { environment, from, to, clusterName } = options;
    this.#options = options;
    this.#from = { environment, store: from };
    this.#to = { environment, store: to };
    this.#range = prefixRange(`${textToKey(clusterName)}/`);
    this.#copier = randomHex(environment.random, 16);
  }

  async run(): Promise<CopySummary> {
    const { clock } = this.#options.environment;
    const clusterId = await this.#readSource();
    const startedMs = clock.monotonicMs();
    const leases = await this.#requireUnused();
    const begun = await this.#begin(clusterId);
    await this.#copyAll(begun);
    let digest = await this.#compare();
    if (!digest && begun.pairs > 0) {
      // The source was used between the runs: what was copied then is copied again.
      await this.#copyAll(await this.#beginAgain(clusterId));
      digest = await this.#compare();
    }
    // A server that runs takes within this time what another one gave back just before.
    const watchedMs = startedMs + 2 * limits.leaseWatchMs - clock.monotonicMs();
    await pause(clock, Math.max(0, watchedMs), this.#options.signal);
    if (!digest || !equalRows(leases, await this.#readLeases())) throw this.#changed();
    await this.#end();
    return { clusterId, ...digest, resumedAtPairs: begun.pairs };
  }

  // ── the source ───────────────────────────────────────────────────────────────────────────────

  #readSource(): Promise<string> {
    const { clusterName, from: { url } } = this.#options;
    return readOnly(
      this.#from,
      (transaction) => requireCluster(transaction, clusterName, { url, what: "copy" }),
    );
  }

  /** Servers that run renew their leases; servers that were killed have left theirs as they were. */
  async #requireUnused(): Promise<readonly KeyValue[]> {
    const { environment: { clock }, signal, from } = this.#options;
    const leases = await this.#readLeases();
    if (leases.every(({ value }) => isFree(value))) return leases;
    this.#progress({ stage: "waiting", pairs: 0, bytes: 0 });
    const endMs = clock.monotonicMs() + limits.leaseMs + limits.leaseRenewMs;
    while (clock.monotonicMs() < endMs) {
      await pause(clock, limits.leaseRenewMs / 2, signal);
      if (equalRows(leases, await this.#readLeases())) continue;
      throw new RustreError(
        "EBUSY",
        `Cannot copy the store "${from.url}": a server uses it; stop every mgs and mds first`,
      );
    }
    return leases;
  }

  #readLeases(): Promise<readonly KeyValue[]> {
    const range = prefixRange(`${this.#range.begin}lease/`);
    return readOnly(
      this.#from,
      (transaction) => transaction.getRange(range, { limit: limits.rangeEntriesMax }),
    );
  }

  #changed(): RustreError {
    const { from } = this.#options;
    return new RustreError(
      "CONFLICT",
      `Cannot complete the copy of the store "${from.url}": it was changed meanwhile; stop every ` +
        "mgs and mds and copy again",
    );
  }

  // ── the copy ─────────────────────────────────────────────────────────────────────────────────

  /** Marks the target as ours, or finds the mark of an earlier run. */
  #begin(clusterId: string): Promise<CopyMark> {
    const { clusterName } = this.#options;
    return transact(this.#to, async (transaction) => {
      const earlier = await readCopyMark(transaction, clusterName);
      if (earlier && earlier.clusterId !== clusterId) throw this.#refused("a copy of another one");
      if (!earlier) await this.#requireEmpty(transaction, clusterId);
      const begin = { clusterId, cursor: this.#range.begin, pairs: 0, bytes: 0 };
      const mark = { ...begin, ...earlier, copier: this.#copier };
      writeCopyMark(transaction, clusterName, mark);
      return mark;
    });
  }

  async #requireEmpty(transaction: Transaction, clusterId: string): Promise<void> {
    const everything = { begin: "", end: "\xff" };
    const [first] = await transaction.getRange(everything, { limit: 1 });
    if (!first) return;
    const id = await readClusterId(transaction, this.#options.clusterName);
    throw this.#refused(id === clusterId ? "this cluster already" : "something already");
  }

  #refused(what: string): RustreError {
    const { from, to } = this.#options;
    return new RustreError(
      "ENOTEMPTY",
      `Cannot copy the store "${from.url}" to "${to.url}": that holds ${what}`,
    );
  }

  async #beginAgain(clusterId: string): Promise<CopyMark> {
    const { clusterName } = this.#options;
    const mark = { clusterId, copier: this.#copier, cursor: this.#range.begin, pairs: 0, bytes: 0 };
    await transact(this.#to, async (transaction) => {
      await this.#requireOurs(transaction);
      writeCopyMark(transaction, clusterName, mark);
    });
    return mark;
  }

  async #copyAll(begin: CopyMark): Promise<void> {
    let mark = begin;
    for (let more = true; more;) {
      const page = await this.#readPage(this.#from, mark.cursor);
      more = page.length === limits.storeCopyPageEntries;
      const batches = [...batchesOf(page)];
      for (const [index, batch] of batches.entries()) {
        const isEnd = !more && index === batches.length - 1;
        mark = await this.#copyBatch(mark, batch, isEnd);
        this.#progress({ stage: "copying", ...mark });
      }
      // Behind the last pair of the source the target has nothing.
      if (!more && batches.length === 0) mark = await this.#copyBatch(mark, [], true);
    }
  }

  /** What the target had between the bounds of the batch goes. */
  async #copyBatch(
    before: CopyMark,
    batch: readonly KeyValue[],
    isEnd: boolean,
  ): Promise<CopyMark> {
    const last = batch.at(-1);
    const cursor = isEnd || !last ? this.#range.end : keyAfter(last.key);
    const pairs = before.pairs + batch.length;
    const after = { ...before, cursor, pairs, bytes: before.bytes + bytesOf(batch) };
    await transact(this.#to, async (transaction) => {
      // After a commit whose result is not known, the mark may be that of this batch.
      await this.#requireOurs(transaction, [before.cursor, cursor]);
      transaction.deleteRange({ begin: before.cursor, end: cursor });
      for (const { key, value } of batch) transaction.set(key, value);
      writeCopyMark(transaction, this.#options.clusterName, after);
    });
    return after;
  }

  async #requireOurs(transaction: Transaction, cursors?: readonly Key[]): Promise<void> {
    const { clusterName, to } = this.#options;
    const mark = await readCopyMark(transaction, clusterName);
    if (mark?.copier === this.#copier && (cursors?.includes(mark.cursor) ?? true)) return;
    throw new RustreError(
      "EBUSY",
      `Cannot go on with the copy to "${to.url}": another process copies to it too`,
    );
  }

  /** Removes the mark: from now on servers take the copy. */
  #end(): Promise<void> {
    return transact(this.#to, async (transaction) => {
      const mark = copyMarkKey(this.#options.clusterName);
      // A commit whose result was not known has removed it.
      if ((await transaction.get(mark)) === undefined) return;
      await this.#requireOurs(transaction);
      transaction.delete(mark);
    });
  }

  // ── comparing ────────────────────────────────────────────────────────────────────────────────

  /** Reads both again; nothing where they differ. */
  async #compare(): Promise<StoreDigest | undefined> {
    const source = await this.#digest(this.#from);
    const target = await this.#digest(this.#to);
    return source.sha256 === target.sha256 && source.pairs === target.pairs ? source : undefined;
  }

  async #digest(store: TransactionContext): Promise<StoreDigest> {
    const mark = copyMarkKey(this.#options.clusterName);
    const hash = createHash("sha256");
    let [pairs, bytes] = [0, 0];
    let cursor = this.#range.begin;
    for (let more = true; more;) {
      const page = await this.#readPage(store, cursor);
      const ofCluster = page.filter(({ key }) => key !== mark);
      hash.update(packed(ofCluster));
      pairs += ofCluster.length;
      bytes += bytesOf(ofCluster);
      const last = page.at(-1);
      if (last) cursor = keyAfter(last.key);
      more = page.length === limits.storeCopyPageEntries;
      this.#progress({ stage: "comparing", pairs, bytes });
    }
    return { pairs, bytes, sha256: hash.digest("hex") };
  }

  #readPage(store: TransactionContext, begin: Key): Promise<KeyValue[]> {
    const { signal } = this.#options;
    if (signal?.aborted) throw interrupted(signal);
    const limit = limits.storeCopyPageEntries;
    const range = { begin, end: this.#range.end };
    return readOnly(
      store,
      (transaction) => transaction.getRange(range, { limit, snapshot: true }),
    );
  }

  #progress({ stage, pairs, bytes }: CopyProgress): void {
    this.#options.onProgress?.({ stage, pairs, bytes });
  }
}

/** Cut so that each fits into a transaction. */
function* batchesOf(page: readonly KeyValue[]): Generator<readonly KeyValue[]> {
  let batch: KeyValue[] = [];
  let bytes = 0;
  for (const pair of page) {
    batch.push(pair);
    bytes += bytesOf([pair]);
    if (bytes < limits.storeCopyBatchBytes) continue;
    yield batch;
    [batch, bytes] = [[], 0];
  }
  if (batch.length > 0) yield batch;
}

function bytesOf(batch: readonly KeyValue[]): number {
  return batch.reduce((total, { key, value }) => total + key.length + value.length, 0);
}

/** Given back by a server that stopped in good order. */
function isFree(lease: Uint8Array): boolean {
  try {
    const record = decode(lease);
    return Array.isArray(record) && record[1] === "";
  } catch {
    // Nobody can read it; whether somebody renews it shows.
    return false;
  }
}

/** Both lengths of each pair, key and value: different pairs are different bytes. */
function packed(page: readonly KeyValue[]): Uint8Array {
  const bytes = new Uint8Array(bytesOf(page) + 8 * page.length);
  const view = new DataView(bytes.buffer);
  let offset = 0;
  for (const { key, value } of page) {
    view.setUint32(offset, key.length);
    view.setUint32(offset + 4, value.length);
    bytes.set(keyToBytes(key), offset + 8);
    bytes.set(value, offset + 8 + key.length);
    offset += 8 + key.length + value.length;
  }
  return bytes;
}
