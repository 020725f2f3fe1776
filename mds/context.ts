// What every operation of the mds is given.

import type { ClusterMapCache } from "../shared/cluster_map.ts";
import type { Environment } from "../shared/environment.ts";
import type { Logger } from "../shared/logging.ts";
import type { RpcClient } from "../shared/rpc/client.ts";
import type { RequestOf } from "../shared/rpc/service.ts";
import type { mdsService } from "../shared/protocol/mds.ts";
import type { ReadTransaction, Store, Transaction } from "../shared/store/store.ts";
import type { InodeAllocator } from "./inode_allocator.ts";
import type { Schema } from "./schema.ts";

export interface MdsContext {
  readonly environment: Environment;
  readonly store: Store;
  readonly schema: Schema;
  readonly allocator: InodeAllocator;
  readonly maps: ClusterMapCache;
  readonly rpc: RpcClient;
  readonly log: Logger;
}

/** One read operation, in its transaction. */
export interface ReadOperation {
  readonly context: MdsContext;
  readonly transaction: ReadTransaction;
}

/** One mutation, in its transaction; runs again from the start when that conflicts. */
export interface Mutation {
  readonly context: MdsContext;
  readonly transaction: Transaction;
  readonly clientId: string;
  /** The time that the mutation gives to what it changes. */
  readonly nowNs: bigint;
  /** To be called when this run leaves garbage; what it says counts if the run is committed. */
  readonly noteGarbage: () => void;
  /** The mutation leaves objects to cut, so that its file cannot be written until that is done. */
  readonly noteCut: () => void;
}

export type MdsRequest<Name extends keyof typeof mdsService["methods"]> = RequestOf<
  typeof mdsService,
  Name
>;
