// Starts and stops an mgs: finds or makes the cluster in the store, listens, puts itself into the
// map and probes. It keeps no state of its own; any number of them serve one store.

import { formatAddress } from "../shared/address.ts";
import type { Advertise } from "../shared/advertise.ts";
import type { Address, Environment } from "../shared/environment.ts";
import { isRustreError } from "../shared/errors.ts";
import type { Logger } from "../shared/logging.ts";
import { RpcClient } from "../shared/rpc/client.ts";
import { mgsService, type Registration } from "../shared/protocol/mgs.ts";
import { serve } from "../shared/rpc/server.ts";
import { Lease } from "../shared/store/lease.ts";
import type { Store } from "../shared/store/store.ts";
import {
  isOfSameProcess,
  isPredecessor,
  speaksForProcess,
  workerId,
  type WorkerPlace,
  type WorkerSelf,
} from "../shared/workers/peers.ts";
import { mgsHandlers } from "./handlers.ts";
import { Prober } from "./prober.ts";
import { openCluster, Registry } from "./registry.ts";
import { MgsSchema } from "./schema.ts";

export interface MgsOptions {
  readonly environment: Environment;
  /** Stays open when the mgs closes: another role may use it too. */
  readonly store: Store;
  readonly clusterName: string;
  readonly listen: Address;
  /** The address that others reach, from the one that is bound. */
  readonly advertise: Advertise;
  /** Stays the same over restarts where the operator gives it a place. */
  readonly nodeId: string;
  readonly hostName: string;
  readonly version: string;
  readonly log: Logger;
  /** Where it is one of several of its process; all have the same node id and address. */
  readonly worker?: WorkerSelf | undefined;
}

export interface RunningMgs extends AsyncDisposable {
  /** As published. */
  readonly address: Address;
  /** As bound. */
  readonly listening: Address;
  readonly nodeId: string;
  readonly clusterId: string;
  /** Leaves the map, lets requests under way finish, and closes its connections. Idempotent. */
  close(): Promise<void>;
}

/** Resolves when the mgs serves and is in the map. */
export async function startMgs(options: MgsOptions): Promise<RunningMgs> {
  const { environment, store, clusterName, log } = options;
  const schema = new MgsSchema(clusterName);
  const context = { store, environment };
  const clusterId = await openCluster(context, clusterName);
  // Undone in reverse order: by close(), or here where the start fails half-way.
  await using started = new AsyncDisposableStack();
  const rpc = started.use(new RpcClient({ environment, caller: "mgs", clusterId }));
  const shared = options.worker !== undefined;
  const listener = await environment.transport.listen(options.listen, { shared });
  started.defer(() => listener.close());
  const { nodeId, hostName, version } = options;
  const address = await options.advertise(listener.address, []);
  const self = { role: "mgs", nodeId, address, hostName, version } as const;
  const registry = new Registry({ context, schema, clusterId, clusterName, log });
  const lease = new Lease({
    context,
    key: schema.proberLease,
    ...leaseHolder(self, options.worker?.place),
  });
  const peers = options.worker?.peers;
  const prober = new Prober({ environment, rpc, registry, lease, self, log, peers });
  const identity = { role: "mgs", clusterId, clusterName, nodeId } as const;
  const handlers = mgsHandlers({ registry, prober, self });
  started.use(serve({ environment, listener, service: mgsService, handlers, identity, log }));
  await registry.apply([{ type: "registered", registration: self }]);
  if (speaksForProcess(options.worker)) started.defer(() => leaveMap(registry, self, log));
  started.use(prober).start();
  const place = { worker: options.worker?.place.index };
  log.info("Serving", {
    ...{ address: formatAddress(self.address), clusterId, store: store.url },
    ...place,
  });
  const running = started.move();
  let closing: Promise<void> | undefined;
  const close = () => closing ??= running.disposeAsync().then(() => log.info("Stopped", place));
  const listening = listener.address;
  return { address, listening, nodeId, clusterId, close, [Symbol.asyncDispose]: close };
}

/** One that had our address cannot be listening there any more, but for our fellow workers. */
function leaseHolder(
  { nodeId, address }: Registration,
  place: WorkerPlace | undefined,
): { holder: string; isGone: (holder: string) => boolean } {
  const ofAddress = ` ${formatAddress(address)}`;
  const isGone = (holder: string) => {
    if (!holder.endsWith(ofAddress)) return false;
    return !place || !isOfSameProcess(place, holder) || isPredecessor(place, holder);
  };
  return { holder: `${place ? workerId(place) : nodeId}${ofAddress}`, isGone };
}

async function leaveMap(registry: Registry, self: Registration, log: Logger): Promise<void> {
  try {
    await registry.apply([{ type: "unregistered", nodeId: self.nodeId }]);
  } catch (error) {
    if (!isRustreError(error)) throw error;
    log.warn("Cannot leave the cluster map", { reason: error.message });
  }
}
