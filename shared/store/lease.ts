// A lease in the store: of several processes exactly one does a job, and another takes over when it
// dies. Two things make it safe without synchronised clocks: whoever waits measures with its own
// clock for how long the record stays the same, and whatever the holder writes is written in a
// transaction that requires the lease, so that a holder that slept through its end changes nothing.

import { decode, encode } from "@msgpack/msgpack";
import * as v from "valibot";
import { RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Key, ReadTransaction } from "./store.ts";
import { transact, type TransactionContext } from "./transact.ts";

/** [format, holder, how often it was taken, renewed or given back]; nobody's holder is "" */
const recordSchema = v.tuple([v.literal(1), v.string(), v.number()]);

const nobody = "";

interface LeaseRecord {
  readonly holder: string;
  readonly sequence: number;
}

export interface LeaseOptions {
  readonly context: TransactionContext;
  readonly key: Key;
  /** Who we are: never the same for two processes. */
  readonly holder: string;
  /** Whether `holder` is certainly gone, so that nobody need wait for its lease to end. */
  readonly isGone?: (holder: string) => boolean;
}

export class Lease {
  readonly #options: LeaseOptions;
  /** The record of somebody else as we saw it first, on the monotonic clock. */
  #seen: { record: LeaseRecord; atMs: number } | undefined;
  /** When we took or renewed it last, on the monotonic clock. */
  #heldAtMs: number | undefined;
  /** The record as we left it when we gave it back. */
  #releasedSequence: number | undefined;
  #wasLeftAlone = false;

  constructor(options: LeaseOptions) {
    this.#options = options;
  }

  /** Takes the lease where it is free, renews it where that is due. For each limits.leaseWatchMs. */
  async keep(): Promise<boolean> {
    if (this.#heldAtMs === undefined) return await this.renew();
    const ageMs = this.#options.context.environment.clock.monotonicMs() - this.#heldAtMs;
    // At the watch that is nearest: a timer is never exact.
    return ageMs < limits.leaseRenewMs - limits.leaseWatchMs / 2 || await this.renew();
  }

  /** Takes or renews the lease, and says whether it is ours. */
  async renew(): Promise<boolean> {
    const { context, key, holder } = this.#options;
    const startedMs = context.environment.clock.monotonicMs();
    const { record, taken } = await transact(context, async (transaction) => {
      const record = decodeRecord(await transaction.get(key));
      if (record && !this.#mayTake(record)) return { record, taken: false };
      transaction.set(key, encode([1, holder, (record?.sequence ?? 0) + 1]));
      return { record, taken: true };
    });
    if (taken) this.#noteTaken(record, startedMs);
    else if (record) this.#noteOther(record);
    return taken;
  }

  #noteTaken(before: LeaseRecord | undefined, startedMs: number): void {
    if (before?.holder !== this.#options.holder) {
      this.#wasLeftAlone = before !== undefined && before.sequence === this.#releasedSequence;
    }
    this.#seen = undefined;
    this.#heldAtMs = startedMs;
  }

  #noteOther(record: LeaseRecord): void {
    if (!this.#isSeen(record)) {
      this.#seen = { record, atMs: this.#options.context.environment.clock.monotonicMs() };
    }
    this.#heldAtMs = undefined;
  }

  /** Of a lease that is held: nobody has had it between our giving it back and our taking it. */
  get wasLeftAlone(): boolean {
    return this.#wasLeftAlone;
  }

  /** A fellow worker has given it back, as {@link release} told it. */
  noteReleased(sequence: number): void {
    this.#releasedSequence = sequence;
  }

  /** Whether the lease is still ours as far as we can tell without asking the store. */
  isHeld(): boolean {
    if (this.#heldAtMs === undefined) return false;
    const { clock } = this.#options.context.environment;
    return clock.monotonicMs() - this.#heldAtMs < limits.leaseMs;
  }

  /** Fails with LEASE_LOST, also at the commit, unless the lease is ours in this transaction. */
  async requireHeld(transaction: ReadTransaction): Promise<void> {
    const record = decodeRecord(await transaction.get(this.#options.key));
    if (record?.holder === this.#options.holder) return;
    this.#heldAtMs = undefined;
    const owner = record && record.holder !== nobody
      ? `"${record.holder}" has it`
      : "nobody has it";
    throw new RustreError("LEASE_LOST", `Cannot go on under the lease: ${owner}`);
  }

  /**
   * Gives the lease back, so that another takes it at once. Resolves to the sequence with which the
   * record stays until somebody does; to nothing where the lease was not ours.
   */
  async release(): Promise<number | undefined> {
    const { context, key, holder } = this.#options;
    if (this.#heldAtMs === undefined) return undefined;
    this.#heldAtMs = undefined;
    const sequence = await transact(context, async (transaction) => {
      const record = decodeRecord(await transaction.get(key));
      if (record?.holder !== holder) return undefined;
      // Not deleted: counting on, no record is ever taken for an earlier one.
      transaction.set(key, encode([1, nobody, record.sequence + 1]));
      return record.sequence + 1;
    });
    this.#releasedSequence = sequence;
    return sequence;
  }

  #mayTake(record: LeaseRecord): boolean {
    const { context, holder, isGone } = this.#options;
    const isFree = record.holder === nobody || record.holder === holder;
    if (isFree || isGone?.(record.holder)) return true;
    if (!this.#seen || !this.#isSeen(record)) return false;
    return context.environment.clock.monotonicMs() - this.#seen.atMs >= limits.leaseMs;
  }

  #isSeen(record: LeaseRecord): boolean {
    const seen = this.#seen?.record;
    return seen?.holder === record.holder && seen.sequence === record.sequence;
  }
}

function decodeRecord(value: Uint8Array | undefined): LeaseRecord | undefined {
  if (value === undefined) return undefined;
  try {
    const [, holder, sequence] = v.parse(recordSchema, decode(value));
    return { holder, sequence };
  } catch (error) {
    throw new RustreError("STORE_FORMAT", "Cannot read a lease in the store", { cause: error });
  }
}
