// The other replicas of an object: which they are, and how what is done here gets to them.

import { type ClusterMapCache, endpointOfTarget, isUp } from "../shared/cluster_map.ts";
import type { Payload } from "../shared/environment.ts";
import { isRustreError, messageOf, RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { ClusterMap, ObjectId, Target } from "../shared/model.ts";
import type { RpcClient } from "../shared/rpc/client.ts";
import { ossService } from "../shared/protocol/oss.ts";
import type { ReplyOf, RequestOf } from "../shared/rpc/service.ts";

export type WriteRequest = RequestOf<typeof ossService, "writeObject">;

/** An object and its other replicas, as the primary is told. */
export interface Replicated {
  readonly object: ObjectId;
  readonly replicas: readonly number[];
}

/** A call to a replica: which, for what, and for messages what is done. */
export interface ReplicaCall {
  readonly target: Target;
  readonly action: string;
  readonly of: { readonly epoch: number; readonly object: ObjectId };
  readonly timeoutMs: number;
  readonly payload?: Payload;
}

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
  replicasOf(request: Replicated, map: ClusterMap): Target[] {
    const action = `Cannot write object "${request.object}"`;
    this.#checkReplicas(action, request);
    return request.replicas.map((index) => {
      const target = map.targets.find((each) => each.index === index);
      if (target && isUp(target)) return target;
      const state = target ? "down" : "unknown";
      throw new RustreError("TARGET_DOWN", `${action}: its replica on OST ${index} is ${state}`);
    });
  }

  /** The replicas that a repair has to do with. Throws BAD_REQUEST as {@link replicasOf}. */
  reachableOf(request: Replicated, map: ClusterMap): { up: Target[]; down: number[] } {
    this.#checkReplicas(`Cannot repair object "${request.object}"`, request);
    const { replicas } = request;
    const up = map.targets.filter((target) => isUp(target) && replicas.includes(target.index));
    return { up, down: replicas.filter((index) => !up.some((target) => target.index === index)) };
  }

  #checkReplicas(action: string, { replicas }: Replicated): void {
    const { targetIndex } = this.#options;
    if (new Set([...replicas, targetIndex]).size > replicas.length) return;
    const names = `OST ${replicas.join(", ")} and this OST ${targetIndex}`;
    throw new RustreError("BAD_REQUEST", `${action}: its replicas, ${names}, are not different`);
  }

  /** Writes the same bytes on a replica, and gives its verifier. */
  async forward(target: Target, request: WriteRequest, payload: Payload): Promise<string> {
    const forwarded = { ...request, replicas: [] };
    const timeoutMs = limits.forwardTimeoutMs;
    const call = { target, action: "write", of: request, payload, timeoutMs };
    return (await this.call(call, "writeObject", forwarded)).verifiers[0];
  }

  /** One call to a replica; the error says which one failed. */
  call<Name extends Exclude<keyof typeof ossService["methods"], "readObject">>(
    call: ReplicaCall,
    name: Name,
    request: RequestOf<typeof ossService, Name>,
  ): Promise<ReplyOf<typeof ossService, Name>> {
    const { target, timeoutMs, payload } = call;
    return this.#naming(call, () => {
      const endpoint = endpointOfTarget(target);
      return this.#options.rpc.call(endpoint, ossService, name, request, { timeoutMs, payload });
    });
  }

  /** {@link call} of readObject. */
  download(
    call: ReplicaCall,
    request: RequestOf<typeof ossService, "readObject">,
  ): Promise<{ reply: ReplyOf<typeof ossService, "readObject">; payload: Uint8Array }> {
    const { target, timeoutMs } = call;
    return this.#naming(call, () => {
      const endpoint = endpointOfTarget(target);
      return this.#options.rpc.download(endpoint, ossService, "readObject", request, { timeoutMs });
    });
  }

  async #naming<T>({ target, action, of }: ReplicaCall, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      if (!isRustreError(error)) throw error;
      // Then the replica has a newer map than we have.
      if (error.code === "STALE_MAP") this.#options.maps.noticeEpoch(of.epoch + 1);
      const what = `object "${of.object}" on its replica OST ${target.index}`;
      throw new RustreError(error.code, `Cannot ${action} ${what}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}
