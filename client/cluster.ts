// The way into a cluster for programs: from the addresses of some mgs to a file system.

import { ClusterMapCache } from "../shared/cluster_map.ts";
import type { Address, Environment } from "../shared/environment.ts";
import { loggerOf } from "../shared/logging.ts";
import type { Caller, ClusterMap } from "../shared/model.ts";
import { systemEnvironment } from "../shared/platform.ts";
import { RpcClient } from "../shared/rpc/client.ts";
import type { mgsService } from "../shared/protocol/mgs.ts";
import type { ReplyOf } from "../shared/rpc/service.ts";
import { FileSystem } from "./file_system.ts";
import { MetadataClient } from "./metadata_client.ts";
import { ObjectClient } from "./object_client.ts";
import type { IntegrityCounts } from "./object_parts.ts";
import { scrub, type ScrubOptions, type ScrubParts, type ScrubSummary } from "./scrub.ts";

export interface ClusterOptions {
  /** At least one; the others are learnt from it. */
  readonly mgs: readonly Address[];
  /** The real one by default. */
  readonly environment?: Environment;
  /**
   * Whether what is read is compared with its checksums; true by default. Without it a byte that was
   * changed on an OST's disk or on its way is not noticed: for measurements.
   */
  readonly verifyChecksums?: boolean;
}

export type ClusterStatus = ReplyOf<typeof mgsService, "status">;

/** Connections to one cluster. Nothing is sent before the first use. */
export class Cluster implements AsyncDisposable {
  readonly #environment: Environment;
  readonly #rpc: RpcClient;
  readonly #maps: ClusterMapCache;
  readonly #metadata: MetadataClient;
  readonly #objects: ObjectClient;
  readonly #scrubParts: ScrubParts;

  constructor(options: ClusterOptions) {
    const { mgs, environment = systemEnvironment(), verifyChecksums = true } = options;
    const log = loggerOf("client");
    this.#environment = environment;
    this.#rpc = new RpcClient({ environment, caller: "client" });
    this.#maps = new ClusterMapCache({ environment, rpc: this.#rpc, mgs, log });
    const parts = { environment, rpc: this.#rpc, maps: this.#maps, log };
    this.#metadata = new MetadataClient(parts);
    this.#objects = new ObjectClient({ ...parts, verifyChecksums });
    this.#scrubParts = { ...parts, metadata: this.#metadata };
  }

  /** The file system, used as `caller`. */
  fileSystem(caller: Caller): FileSystem {
    const { clock } = this.#environment;
    return new FileSystem({ metadata: this.#metadata, objects: this.#objects, caller, clock });
  }

  /** What this client has met of damaged data so far. */
  get integrity(): Readonly<IntegrityCounts> {
    return this.#objects.counts;
  }

  /** Has the OSTs check every object against its checksums, and repairs what is damaged. */
  scrub(options: ScrubOptions = {}): Promise<ScrubSummary> {
    return scrub(this.#scrubParts, options);
  }

  /** A fresh cluster map. */
  map(signal?: AbortSignal): Promise<ClusterMap> {
    return this.#maps.current ? this.#maps.refresh(signal) : this.#maps.get(signal);
  }

  /**
   * Every server with its state and the age of its last heartbeat. The mgs that probes knows the
   * ages, so all are asked.
   */
  async status(signal?: AbortSignal): Promise<ClusterStatus> {
    await this.map(signal);
    const status = await this.#maps.callMgs("status", {}, signal);
    const heartbeatAgesMs = { ...status.heartbeatAgesMs };
    for (const reply of await this.#maps.callEveryMgs("status", {}, signal)) {
      for (const [nodeId, ageMs] of Object.entries(reply.heartbeatAgesMs)) {
        heartbeatAgesMs[nodeId] = Math.min(ageMs, heartbeatAgesMs[nodeId] ?? ageMs);
      }
    }
    return { map: status.map, heartbeatAgesMs };
  }

  /**
   * Waits a little for repairs that reads have begun, ends the session and closes the connections.
   * Idempotent.
   */
  async close(): Promise<void> {
    await this.#objects.close();
    await this.#metadata.close();
    await this.#maps.close();
    await this.#rpc.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
