// The cluster's state in the store: read as a whole, changed by the pure functions of
// cluster_state.ts in one transaction that writes only what changed.

import { readOnly, transact, type TransactionContext } from "../shared/store/transact.ts";
import { formatAddress } from "../shared/address.ts";
import { type Environment, randomHex } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Logger } from "../shared/logging.ts";
import type { ClusterMap, Usage } from "../shared/model.ts";
import { Semaphore } from "../shared/semaphore.ts";
import { readClusterId, requireStoreFormat, writeClusterId } from "../shared/store/cluster_id.ts";
import type { Lease } from "../shared/store/lease.ts";
import type { KeyRange, KeyValue, ReadTransaction, Transaction } from "../shared/store/store.ts";
import {
  applyEvents,
  type ClusterEvent,
  clusterMapOf,
  type ClusterState,
} from "./cluster_state.ts";
import { codecs, type MgsSchema } from "./schema.ts";
import type { ServerRecord, TargetRecord } from "./schema.ts";

export interface RegistryOptions {
  readonly context: TransactionContext;
  readonly schema: MgsSchema;
  readonly clusterId: string;
  readonly clusterName: string;
  readonly log: Logger;
}

/**
 * The id of the cluster in the store. The first mgs on an empty store makes it. Throws STORE_FORMAT
 * where another version of rustre wrote the store.
 */
export function openCluster(
  context: TransactionContext & { readonly environment: Pick<Environment, "random"> },
  clusterName: string,
): Promise<string> {
  const newId = randomHex(context.environment.random, 16);
  return transact(context, async (transaction) => {
    const id = await readClusterId(transaction, clusterName);
    if (id === undefined) writeClusterId(transaction, clusterName, newId);
    else await requireStoreFormat(transaction, clusterName, context.store.url);
    return id ?? newId;
  });
}

export class Registry {
  readonly #options: RegistryOptions;
  /** Our own transactions one by one: they all read what they all write. */
  readonly #turn = new Semaphore(1);
  /** Of the monotonic clock; for its usage, which the epoch does not cover. */
  #cached: { map: ClusterMap; atMs: number } | undefined;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  get clusterId(): string {
    return this.#options.clusterId;
  }

  state(): Promise<ClusterState> {
    return readOnly(this.#options.context, (transaction) => this.#read(transaction));
  }

  /**
   * Applies events, in one transaction; under a lease where one is given: LEASE_LOST and no change
   * unless it is ours. Resolves to the state after it; throws where a registration is refused.
   */
  async apply(events: readonly ClusterEvent[], lease?: Lease): Promise<ClusterState> {
    const { context } = this.#options;
    const nowMs = context.environment.clock.nowMs();
    await this.#turn.acquire();
    try {
      const { before, after } = await transact(context, async (transaction) => {
        await lease?.requireHeld(transaction);
        const before = await this.#read(transaction);
        const after = applyEvents(before, events, nowMs);
        this.#write(transaction, before, after);
        return { before, after };
      });
      this.#logChanges(before, after);
      return after;
    } finally {
      this.#turn.release();
    }
  }

  /** The map of now, or nothing where its epoch is `knownEpoch`. */
  async currentMap(knownEpoch?: number): Promise<ClusterMap | undefined> {
    const { context, clusterId, clusterName } = this.#options;
    const atMs = context.environment.clock.monotonicMs();
    const cached = this.#cached;
    const fresh = cached && atMs - cached.atMs < limits.probeIntervalMs ? cached.map : undefined;
    const map = await readOnly(context, async (transaction) => {
      const epoch = await this.#readEpoch(transaction);
      if (epoch === knownEpoch) return undefined;
      if (epoch === fresh?.epoch) return fresh;
      return clusterMapOf({ clusterId, clusterName }, await this.#read(transaction));
    });
    if (map && map !== fresh) this.#cached = { map, atMs };
    return map;
  }

  async #readEpoch(transaction: ReadTransaction): Promise<number> {
    const value = await transaction.get(this.#options.schema.epoch);
    return value === undefined ? 0 : codecs.epoch.decode(value);
  }

  async #read(transaction: ReadTransaction): Promise<ClusterState> {
    const { schema } = this.#options;
    const [epoch, mgs, mds, targets, usages] = await Promise.all([
      this.#readEpoch(transaction),
      readAll(transaction, schema.servers("mgs")),
      readAll(transaction, schema.servers("mds")),
      readAll(transaction, schema.targets),
      readAll(transaction, schema.usages),
    ]);
    return {
      epoch,
      mgs: serversOf(mgs),
      mds: serversOf(mds),
      targets: targetsOf(targets),
      usages: new Map(usages.map(({ key, value }) => [
        schema.indexOf(key),
        codecs.usage.decode(value),
      ])),
    };
  }

  #write(transaction: Transaction, before: ClusterState, after: ClusterState): void {
    const { schema } = this.#options;
    for (const role of ["mgs", "mds"] as const) {
      const changes = changesOf(before[role], after[role]);
      for (const [, was, is] of changes) {
        if (is) transaction.set(schema.server(role, is.address), codecs.server.encode(is));
        else if (was) transaction.delete(schema.server(role, was.address));
      }
    }
    for (const [index, , is] of changesOf(before.targets, after.targets)) {
      if (is) transaction.set(schema.target(index), codecs.target.encode(is));
    }
    for (const [index, , is] of changesOf<number, Usage>(before.usages, after.usages)) {
      if (is) transaction.set(schema.usage(index), codecs.usage.encode(is));
    }
    if (after.epoch !== before.epoch) {
      transaction.set(schema.epoch, codecs.epoch.encode(after.epoch));
    }
  }

  #logChanges(before: ClusterState, after: ClusterState): void {
    const { epoch } = after;
    for (const role of ["mgs", "mds"] as const) {
      for (const [, was, is] of changesOf(before[role], after[role])) {
        this.#logChange({ role }, epoch, was, is);
      }
    }
    for (const [index, was, is] of changesOf(before.targets, after.targets)) {
      this.#logChange({ targetIndex: index }, epoch, was, is);
    }
  }

  #logChange(
    who: Record<string, unknown>,
    epoch: number,
    was: ServerRecord | undefined,
    is: ServerRecord | undefined,
  ): void {
    const record = is ?? was;
    if (!record) return;
    const fields = { ...who, address: formatAddress(record.address), epoch };
    const { log } = this.#options;
    if (!is) log.info("A server left the cluster", fields);
    else if (is.state === "down") log.warn("A server is down", fields);
    else if (was?.state === "up") log.info("A server changed", fields);
    else log.info("A server is up", fields);
  }
}

async function readAll(transaction: ReadTransaction, range: KeyRange): Promise<KeyValue[]> {
  const entries = await transaction.getRange(range, { limit: limits.rangeEntriesMax });
  if (entries.length < limits.rangeEntriesMax) return entries;
  // Registrations are refused long before: nobody of this kind wrote them.
  throw new RustreError("STORE_FORMAT", `Cannot read the cluster map: too many "${range.begin}"`);
}

function serversOf(entries: readonly KeyValue[]): Map<string, ServerRecord> {
  const records = entries.map(({ value }) => codecs.server.decode(value));
  return new Map(records.map((record) => [formatAddress(record.address), record]));
}

function targetsOf(entries: readonly KeyValue[]): Map<number, TargetRecord> {
  const records = entries.map(({ value }) => codecs.target.decode(value));
  return new Map(records.map((record) => [record.index, record]));
}

/** What is not the same object in both: key, before, after. */
function changesOf<K, R>(
  before: ReadonlyMap<K, R>,
  after: ReadonlyMap<K, R>,
): [K, R | undefined, R | undefined][] {
  const changes: [K, R | undefined, R | undefined][] = [];
  for (const [key, was] of before) if (!after.has(key)) changes.push([key, was, undefined]);
  for (const [key, is] of after) {
    if (before.get(key) !== is) changes.push([key, before.get(key), is]);
  }
  return changes;
}
