// Starts and stops an mds: wires the store, the cluster map, the handlers, the collector.

import { formatAddress } from "../shared/address.ts";
import type { Advertise } from "../shared/advertise.ts";
import { ClusterMapCache } from "../shared/cluster_map.ts";
import { type Address, type Environment, nowNs, randomHex } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Logger } from "../shared/logging.ts";
import { rootInode } from "../shared/model.ts";
import { Registration } from "../shared/registration.ts";
import { RpcClient } from "../shared/rpc/client.ts";
import { mdsService } from "../shared/protocol/mds.ts";
import { serve } from "../shared/rpc/server.ts";
import { readClusterId, requireStoreFormat } from "../shared/store/cluster_id.ts";
import { Lease } from "../shared/store/lease.ts";
import type { Store } from "../shared/store/store.ts";
import { readOnly, transact } from "../shared/store/transact.ts";
import type { WorkerSelf } from "../shared/workers/peers.ts";
import { Collector } from "./collector.ts";
import type { MdsContext } from "./context.ts";
import { mdsHandlers } from "./handlers.ts";
import { InodeAllocator } from "./inode_allocator.ts";
import { Schema } from "./schema.ts";
import { encodeInode } from "./values.ts";

export interface MdsOptions {
  readonly environment: Environment;
  readonly store: Store;
  readonly clusterName: string;
  readonly mgs: readonly Address[];
  readonly listen: Address;
  /** The address that others reach, from the one that is bound. */
  readonly advertise: Advertise;
  /** Stays the same over restarts where the operator gives it a place. */
  readonly nodeId: string;
  readonly hostName: string;
  readonly version: string;
  /** Who owns the root directory of a new file system. */
  readonly rootOwner: { readonly uid: number; readonly gid: number };
  readonly log: Logger;
  /** Where it is one of several of its process; all have the same node id and address. */
  readonly worker?: WorkerSelf | undefined;
  /** Ends the wait for an mgs at the start. */
  readonly signal?: AbortSignal;
}

export interface RunningMds extends AsyncDisposable {
  /** The advertised one. */
  readonly address: Address;
  readonly nodeId: string;
  /** Resolves when the cluster map has this mds. */
  readonly registered: Promise<void>;
  close(): Promise<void>;
}

/** Resolves when the mds serves; it registers in the background. */
export async function startMds(options: MdsOptions): Promise<RunningMds> {
  const { environment, store, nodeId, hostName, version, log } = options;
  // Undone in reverse order: by close(), or here where the start fails half-way.
  await using started = new AsyncDisposableStack();
  const rpc = started.use(new RpcClient({ environment, caller: "mds" }));
  const refreshMs = limits.mapRefreshMs;
  const cache = new ClusterMapCache({ environment, rpc, mgs: options.mgs, log, refreshMs });
  const maps = started.use(cache);
  const { clusterId, clusterName } = await maps.waitForMap(options.signal);
  requireSameCluster(clusterName, options);
  const schema = new Schema(clusterName);
  await requireSameStore(clusterId, options);
  await makeRoot(options, schema);

  const allocator = new InodeAllocator({ store, environment }, schema);
  const context: MdsContext = { environment, store, schema, allocator, maps, rpc, log };
  // The holder is this run of the process, not the node: a restarted one is another.
  const holder = `${nodeId} ${randomHex(environment.random, 8)}`;
  const lease = new Lease({ context, key: schema.collectorLease, holder });
  const collector = started.use(new Collector(context, lease, options.worker?.peers));

  const shared = options.worker !== undefined;
  const listener = await environment.transport.listen(options.listen, { shared });
  started.defer(() => listener.close());
  const address = await options.advertise(listener.address, maps.mgsAddresses());
  const self = { role: "mds", nodeId, address, hostName, version } as const;
  const { worker } = options;
  const registration = new Registration({ environment, maps, log, describe: () => self, worker });
  const handlers = mdsHandlers(context, { collector, registration });
  const identity = { role: "mds", clusterId, clusterName, nodeId } as const;
  started.use(serve({ environment, listener, service: mdsService, handlers, identity, log }));
  started.use(registration).start();
  collector.start();
  const place = { worker: worker?.place.index };
  log.info("Serving", {
    ...{ address: formatAddress(address), clusterId, store: store.url },
    ...place,
  });
  const running = started.move();
  let closing: Promise<void> | undefined;
  const close = () => closing ??= running.disposeAsync().then(() => log.info("Stopped", place));
  const { registered } = registration;
  return { address, nodeId, registered, close, [Symbol.asyncDispose]: close };
}

/** The store is shared by name, the map by id: both must be of one cluster. */
function requireSameCluster(ofMgs: string, { clusterName }: MdsOptions): void {
  if (ofMgs === clusterName) return;
  throw new RustreError(
    "WRONG_CLUSTER",
    `Cannot start an mds of cluster "${clusterName}": the mgs is of cluster "${ofMgs}"`,
  );
}

/** Not a store of its own, on which it would begin an empty file system. */
async function requireSameStore(
  clusterId: string,
  { environment, store, clusterName }: MdsOptions,
): Promise<void> {
  const id = await readOnly({ store, environment }, async (transaction) => {
    const id = await readClusterId(transaction, clusterName);
    if (id !== undefined) await requireStoreFormat(transaction, clusterName, store.url);
    return id;
  });
  if (id === clusterId) return;
  throw new RustreError(
    "WRONG_CLUSTER",
    `Cannot start an mds on the store "${store.url}": the mgs of cluster "${clusterName}" ` +
      "keeps it in another store",
  );
}

/** A new file system begins with an empty root directory. */
async function makeRoot(
  { environment, store, rootOwner }: MdsOptions,
  schema: Schema,
): Promise<void> {
  await transact({ store, environment }, async (transaction) => {
    if (await transaction.get(schema.inode(rootInode))) return;
    const timeNs = nowNs(environment.clock);
    const root = {
      ino: rootInode,
      type: "directory",
      mode: 0o755,
      ...rootOwner,
      links: 1,
      sizeBytes: 0,
      dataEndBytes: 0,
      atimeNs: timeNs,
      mtimeNs: timeNs,
      ctimeNs: timeNs,
      parent: rootInode,
    } as const;
    transaction.set(schema.inode(rootInode), encodeInode(root));
    transaction.add(schema.inodeCount, 1n);
  });
}
