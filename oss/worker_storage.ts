// What the main thread of an oss does for its workers: it has the lock of the OST's directory for all
// of them, and finishes what the process before it left, which may have had another number of them.

import { ClusterMapCache } from "../shared/cluster_map.ts";
import { limits } from "../shared/limits.ts";
import { RpcClient } from "../shared/rpc/client.ts";
import type { OssOptions } from "./start.ts";
import { TargetDirectory } from "./target_directory.ts";

/**
 * Resolves when workers can open their shards of the directory; to be disposed of when all of them
 * have ended. Rejects as the start of a lone oss does.
 */
export async function prepareStorage(
  { environment, mgs, targetIndex, log, signal }: Omit<OssOptions, "storage">,
  directory: string,
): Promise<AsyncDisposable> {
  await using locked = new AsyncDisposableStack();
  const storage = new TargetDirectory(directory, environment);
  await storage.lock();
  locked.defer(() => storage.unlock());
  await using rpc = new RpcClient({ environment, caller: "oss" });
  const refreshMs = limits.mapRefreshMs;
  await using maps = new ClusterMapCache({ environment, rpc, mgs, log, refreshMs });
  const { clusterId, clusterName } = await maps.waitForMap(signal);
  // As a whole: so it repeats the journals of all shards, however many there were.
  const { objects } = await storage.open({ clusterId, clusterName, targetIndex });
  await objects.close();
  return locked.move();
}
