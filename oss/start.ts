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
import { ossService } from "../shared/rpc/protocol.ts";
import { serve } from "../shared/rpc/server.ts";
import { Epochs } from "./epochs.ts";
import { ossHandlers } from "./handlers.ts";
import type { TargetStorage } from "./object_store.ts";
import { Replication } from "./replication.ts";
import { TargetDirectory } from "./target_directory.ts";

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

  const listener = await environment.transport.listen(options.listen);
  started.defer(() => listener.close());
  const address = await options.advertise(listener.address, maps.mgsAddresses());
  const { hostName, version } = options;
  const self = { role: "oss", nodeId, address, hostName, version, targetIndex } as const;
  const describe = () => ({ ...self, usage: objects.usage() });
  const registration = new Registration({ environment, maps, log, describe });
  const handlers = ossHandlers({
    clock: environment.clock,
    targetIndex,
    objects,
    epochs: new Epochs(maps, targetIndex),
    replication: new Replication({ rpc, maps, targetIndex }),
    registration,
  });
  const identity = { role: "oss", clusterId, clusterName, nodeId, targetIndex } as const;
  started.use(serve({ environment, listener, service: ossService, handlers, identity, log }));
  started.use(registration).start();
  log.info("Serving", { address: formatAddress(address), targetIndex, ...objects.usage() });

  const { registered } = registration;
  return running({ address, nodeId, targetIndex, registered }, started.move(), log);
}

async function lockStorage(
  { environment, storage }: OssOptions,
  started: AsyncDisposableStack,
): Promise<TargetStorage> {
  const target = typeof storage === "string"
    ? new TargetDirectory(storage, environment.random)
    : storage;
  await target.lock();
  started.defer(() => target.unlock());
  return target;
}

function running(
  self: Pick<RunningOss, "address" | "nodeId" | "targetIndex" | "registered">,
  started: AsyncDisposableStack,
  log: Logger,
): RunningOss {
  const { targetIndex } = self;
  let closing: Promise<void> | undefined;
  const close = () =>
    closing ??= started.disposeAsync().then(() => log.info("Stopped", { targetIndex }));
  return { ...self, close, [Symbol.asyncDispose]: close };
}
