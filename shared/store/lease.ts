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

/** [format, holder, how often it was taken or renewed] */
const recordSchema = v.tuple([v.literal(1), v.string(), v.number()]);

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

  constructor(options: LeaseOptions) {
    this.#options = options;
  }

  /** Takes or renews the lease, and says whether it is ours. For each limits.leaseRenewMs. */
  async renew(): Promise<boolean> {
    const { context, key, holder } = this.#options;
    const startedMs = context.environment.clock.monotonicMs();
    const other = await transact(context, async (transaction) => {
      const record = decodeRecord(await transaction.get(key));
      if (record && !this.#mayTake(record)) return record;
      transaction.set(key, encode([1, holder, (record?.sequence ?? 0) + 1]));
      return undefined;
    });
    if (other && !this.#isSeen(other)) {
      this.#seen = { record: other, atMs: context.environment.clock.monotonicMs() };
    }
    if (!other) this.#seen = undefined;
    this.#heldAtMs = other ? undefined : startedMs;
    return other === undefined;
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
    const owner = record ? `"${record.holder}" has it` : "nobody has it";
    throw new RustreError("LEASE_LOST", `Cannot go on under the lease: ${owner}`);
  }

  /** Gives the lease back, so that another takes it at once. */
  async release(): Promise<void> {
    const { context, key, holder } = this.#options;
    if (this.#heldAtMs === undefined) return;
    this.#heldAtMs = undefined;
    await transact(context, async (transaction) => {
      const record = decodeRecord(await transaction.get(key));
      if (record?.holder === holder) transaction.delete(key);
    });
  }

  #mayTake(record: LeaseRecord): boolean {
    const { context, holder, isGone } = this.#options;
    if (record.holder === holder || isGone?.(record.holder)) return true;
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
