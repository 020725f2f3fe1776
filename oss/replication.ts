// The other replicas of an object: which they are, and how a write gets to them.

import { type ClusterMapCache, endpointOfTarget, isUp } from "../shared/cluster_map.ts";
import { isRustreError, messageOf, RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { ClusterMap, Target } from "../shared/model.ts";
import type { RpcClient } from "../shared/rpc/client.ts";
import { ossService } from "../shared/rpc/protocol.ts";
import type { RequestOf } from "../shared/rpc/service.ts";

export type WriteRequest = RequestOf<typeof ossService, "writeObject">;

export interface ReplicationOptions {
  readonly rpc: RpcClient;
  readonly maps: ClusterMapCache;
  /** The OST that forwards. */
  readonly targetIndex: number;
}

export class Replication {
  readonly #options: ReplicationOptions;

  constructor(options: ReplicationOptions) {
    this.#options = options;
  }

  /**
   * The replicas that a write is to be forwarded to. Throws BAD_REQUEST on a list that names this
   * OST or one twice, TARGET_DOWN where one cannot take writes.
   */
  replicasOf(request: WriteRequest, map: ClusterMap): Target[] {
    const { object, replicas } = request;
    const action = `Cannot write object "${object}"`;
    if (new Set([...replicas, this.#options.targetIndex]).size <= replicas.length) {
      const names = `OST ${replicas.join(", ")} and this OST ${this.#options.targetIndex}`;
      throw new RustreError("BAD_REQUEST", `${action}: its replicas, ${names}, are not different`);
    }
    return replicas.map((index) => {
      const target = map.targets.find((each) => each.index === index);
      if (target && isUp(target)) return target;
      const state = target ? "down" : "unknown";
      throw new RustreError("TARGET_DOWN", `${action}: its replica on OST ${index} is ${state}`);
    });
  }

  /** Writes the same bytes on a replica, and gives its verifier; the error says which one failed. */
  async forward(target: Target, request: WriteRequest, payload: Uint8Array): Promise<string> {
    const { rpc, maps } = this.#options;
    const forwarded = { ...request, replicas: [] };
    try {
      const endpoint = endpointOfTarget(target);
      const options = { payload, timeoutMs: limits.forwardTimeoutMs };
      const reply = await rpc.call(endpoint, ossService, "writeObject", forwarded, options);
      return reply.verifiers[0];
    } catch (error) {
      if (!isRustreError(error)) throw error;
      // Then the replica has a newer map than we have.
      if (error.code === "STALE_MAP") maps.noticeEpoch(request.epoch + 1);
      const what = `object "${request.object}" on its replica OST ${target.index}`;
      throw new RustreError(error.code, `Cannot write ${what}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}
