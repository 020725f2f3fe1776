// How every operation of the client is tried: within one time for all its tries, by the newest map
// that is known, each try bounded by what is left.

import type { ClusterMapCache } from "../shared/cluster_map.ts";
import type { Environment } from "../shared/environment.ts";
import { limits } from "../shared/limits.ts";
import type { ClusterMap } from "../shared/model.ts";
import type { RpcClient } from "../shared/rpc/client.ts";
import { retrying } from "../shared/rpc/retry.ts";

/** One of several tries. */
export interface Attempt {
  readonly map: ClusterMap;
  /** From 0. */
  readonly tryNumber: number;
  /** What a call may take. */
  readonly timeoutMs: number;
}

export interface OperationParts {
  readonly environment: Environment;
  readonly maps: ClusterMapCache;
  /** Once it is closed there is no further try. */
  readonly rpc: RpcClient;
}

/** {@link retrying}, with a map for each attempt. */
export function tryOperation<T>(
  { environment, maps, rpc }: OperationParts,
  signal: AbortSignal | undefined,
  attempt: (attempt: Attempt) => Promise<T>,
): Promise<T> {
  return retrying({
    environment,
    timeoutMs: limits.operationTimeoutMs,
    signal,
    refreshMap: () => maps.refresh(),
    isOver: () => rpc.isClosed,
  }, async (tryNumber, remainingMs) => {
    const map = maps.current ?? await maps.get(signal);
    return attempt({ map, tryNumber, timeoutMs: Math.min(limits.callTimeoutMs, remainingMs) });
  });
}
