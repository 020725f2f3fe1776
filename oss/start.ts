// Starts and stops an oss: locks the OST's storage, learns from an mgs which cluster this is, opens
// the objects, listens and registers.

import { formatAddress } from "../shared/address.ts";
import type { Advertise } from "../shared/advertise.ts";
import { ClusterMapCache } from "../shared/cluster_map.ts";
import type { Address, Environment } from "../shared/environment.ts";
import { limits } from "../shared/limits.ts";
import type { Logger } from "../shared/logging.ts";
import { Registration } from "../shared/registration.ts";
import { RpcClient } from "../shared/rpc/client.ts";
import { ossService } from "../shared/protocol/oss.ts";
import { serve } from "../shared/rpc/server.ts";
import type { WorkerSelf } from "../shared/workers/peers.ts";
import { DamagedBlocks } from "./damaged_blocks.ts";
import { Epochs } from "./epochs.ts";
import { ossHandlers } from "./handlers.ts";
import type { TargetStorage } from "./object_store.ts";
import { Replication } from "./replication.ts";
import { TargetDirectory } from "./target_directory.ts";
import { OssWorker } from "./worker.ts";

export interface OssOptions {
  readonly environment: Environment;
  readonly mgs: readonly Address[];
  readonly listen: Address;
  /** The address that others reach, from the one that is bound. */
  readonly advertise: Advertise;
  /** The directory of the OST, or what a test puts in its place. */
  readonly storage: string | TargetStorage;
  readonly targetIndex: number;
  readonly hostName: string;
  readonly version: string;
  readonly log: Logger;
  /** Where it is one of several of its process, and has only its own share of the objects. */
  readonly worker?: WorkerSelf | undefined;
  /** Ends the wait for an mgs at the start. */
  readonly signal?: AbortSignal;
}

export interface RunningOss extends AsyncDisposable {
  /** The advertised one. */
  readonly address: Address;
  readonly nodeId: string;
  readonly targetIndex: number;
  /** Resolves when the cluster map has this OST; rejects where it refuses it for good. */
  readonly registered: Promise<void>;
  /** Unregisters, lets requests under way finish, lets go of the storage. Idempotent. */
  close(): Promise<void>;
}

/** Resolves when the oss serves; it registers in the background. */
export async function startOss(options: OssOptions): Promise<RunningOss> {
  const { environment, targetIndex, log } = options;
  // Undone in reverse order: by close(), or here where the start fails half-way.
  await using started = new AsyncDisposableStack();
  const storage = await lockStorage(options, started);

  const rpc = started.use(new RpcClient({ environment, caller: "oss" }));
  const refreshMs = limits.mapRefreshMs;
  const maps = started.use(
    new ClusterMapCache({ environment, rpc, mgs: options.mgs, log, refreshMs }),
  );
  const { clusterId, clusterName } = await maps.waitForMap(options.signal);
  const { nodeId, objects } = await storage.open({ clusterId, clusterName, targetIndex });
  started.use(objects);
  // Which inodes were destroyed, and what else it refused, it has forgotten. So it serves nothing
  // that was sent before now.
  await maps.waitForNewEpoch(options.signal);

  const { transport } = environment;
  const worker = options.worker && started.use(new OssWorker(transport, options.worker));
  const listener = await (worker ?? transport).listen(options.listen);
  started.defer(() => listener.close());
  const address = await options.advertise(listener.address, maps.mgsAddresses());
  const { hostName, version } = options;
  const dataPath = await transport.dataPath();
  const self = { role: "oss", nodeId, address, hostName, version, targetIndex, dataPath } as const;
  const damaged = new DamagedBlocks();
  const ownUsage = () => ({ ...objects.usage(), ...damaged.counts });
  const usage = () => worker ? worker.totalUsage(ownUsage()) : ownUsage();
  const describe = () => ({ ...self, usage: usage() });
  const registration = new Registration({
    ...{ environment, maps, log, describe },
    worker: options.worker,
  });
  const handlers = ossHandlers({
    clock: environment.clock,
    targetIndex,
    objects,
    damaged,
    epochs: new Epochs(maps, targetIndex),
    replication: new Replication({ rpc, maps, targetIndex }),
    registration,
    log,
  });
  const identity = { role: "oss", clusterId, clusterName, nodeId, targetIndex } as const;
  started.use(serve({
    ...{ environment, listener, service: ossService, log },
    handlers: worker ? worker.guard(handlers) : handlers,
    identity: worker ? { ...identity, workerPorts: worker.ports } : identity,
    workers: options.worker?.place.count,
  }));
  worker?.start(environment.clock, ownUsage);
  started.use(registration).start();
  log.info("Serving", {
    address: formatAddress(address),
    targetIndex,
    dataPath,
    ...objects.usage(),
    worker: options.worker?.place.index,
  });

  const { registered } = registration;
  const place = { worker: options.worker?.place.index };
  const stopped = () => log.info("Stopped", { targetIndex, ...place });
  return running({ address, nodeId, targetIndex, registered }, started.move(), stopped);
}

async function lockStorage(
  { environment, storage, worker }: OssOptions,
  started: AsyncDisposableStack,
): Promise<TargetStorage> {
  const target = typeof storage === "string"
    ? new TargetDirectory(storage, environment, worker?.place)
    : storage;
  await target.lock();
  started.defer(() => target.unlock());
  return target;
}

function running(
  self: Pick<RunningOss, "address" | "nodeId" | "targetIndex" | "registered">,
  started: AsyncDisposableStack,
  onStopped: () => void,
): RunningOss {
  let closing: Promise<void> | undefined;
  const close = () => closing ??= started.disposeAsync().then(onStopped);
  return { ...self, close, [Symbol.asyncDispose]: close };
}
