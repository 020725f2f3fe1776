// The OSTs as a check sees them: lists, lengths and repairs of objects. An OST that does not answer is
// said once and then left out; nothing is concluded from what it may have.

import {
  type ClusterMapCache,
  endpointOfTarget,
  isUp,
  targetOf,
} from "../../shared/cluster_map.ts";
import { pause } from "../../shared/deadline.ts";
import type { Environment } from "../../shared/environment.ts";
import { isRustreError, RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { ClusterMap, ObjectId, Usage } from "../../shared/model.ts";
import type { Endpoint, RpcClient } from "../../shared/rpc/client.ts";
import { ossService } from "../../shared/protocol/oss.ts";
import { retrying } from "../../shared/rpc/retry.ts";
import { workerOf } from "../../shared/rpc/worker_routes.ts";
import { parseObjectId } from "../../shared/layout.ts";
import type { RequiredObject } from "./rules.ts";

export interface ListedObject {
  readonly object: ObjectId;
  readonly lengthBytes: number;
}

export interface TargetsOptions {
  readonly environment: Environment;
  readonly rpc: RpcClient;
  readonly maps: ClusterMapCache;
  readonly signal?: AbortSignal | undefined;
  readonly onFailure: (targetIndex: number, error: RustreError) => void;
}

export class Targets {
  readonly #options: TargetsOptions;
  readonly #map: ClusterMap;
  readonly #failed = new Set<number>();
  readonly #known: Set<number>;
  readonly #unknown = new Set<number>();
  readonly #wereDown = new Set<number>();

  private constructor(options: TargetsOptions, map: ClusterMap) {
    this.#options = options;
    this.#map = map;
    this.#known = new Set(map.targets.map(({ index }) => index));
  }

  static async open(options: TargetsOptions): Promise<Targets> {
    return new Targets(options, await options.maps.get(options.signal));
  }

  get indexes(): readonly number[] {
    return this.#map.targets.map(({ index }) => index);
  }

  /** How many objects they said that they had. */
  get expectedObjects(): number {
    return this.#map.targets.reduce((total, { usage }) => total + usage.objects, 0);
  }

  get failed(): readonly number[] {
    return [...this.#failed].toSorted((a, b) => a - b);
  }

  /** Whether the cluster has the OST, or had when a file was made that has objects there. */
  async isKnown(index: number): Promise<boolean> {
    if (this.#unknown.has(index)) return false;
    const { environment, maps, signal } = this.#options;
    for (let isFirst = true; !this.#known.has(index); isFirst = false) {
      // Each mgs may have seen an OST that is new a moment later.
      if (!isFirst) await pause(environment.clock, limits.checkUsageDelayMs, signal);
      const { targets } = await this.#askMgs(() => maps.refresh(signal));
      for (const target of targets) this.#known.add(target.index);
      if (isFirst || this.#known.has(index)) continue;
      this.#unknown.add(index);
      return false;
    }
    return true;
  }

  /** What an OST says of its space; nothing where it is not up. */
  async usageOf(index: number): Promise<Usage | undefined> {
    if (this.#failed.has(index)) return undefined;
    const { maps, signal } = this.#options;
    // A change of the usage is no change of the map.
    const { map } = await this.#askMgs(() => maps.callMgs("getMap", {}, signal));
    const target = map?.targets.find((each) => each.index === index);
    return target && isUp(target) ? target.usage : undefined;
  }

  /** Whether an OST was up each time that this was asked. */
  async wasUp(index: number): Promise<boolean> {
    const { maps, signal } = this.#options;
    const map = await this.#askMgs(() => maps.refresh(signal));
    const target = map.targets.find((each) => each.index === index);
    if (!target || !isUp(target) || this.#failed.has(index)) this.#wereDown.add(index);
    return !this.#wereDown.has(index);
  }

  /** Every object of an OST in pages; ends early where it does not answer. */
  async *listObjects(index: number): AsyncGenerator<readonly ListedObject[]> {
    const workers = await this.#workersOf(index);
    for (let worker = 0; worker < (workers ?? 0); worker++) {
      let after: ObjectId | undefined;
      do {
        const limit = limits.objectsPerListMax;
        const request = after === undefined ? { limit } : { limit, after };
        const reply = await this.#try(index, (endpoint, timeoutMs) => {
          const { rpc, signal } = this.#options;
          const call = { signal, timeoutMs, worker };
          return rpc.call(endpoint, ossService, "listObjects", request, call);
        });
        if (reply?.objects.some(({ object }) => !isOfInode(object))) {
          const message = `Cannot list the objects of OST ${index}: some are of no inode`;
          return this.#fail(index, new RustreError("BAD_FRAME", message));
        }
        after = reply?.objects.at(-1)?.object;
        if (reply && after !== undefined) yield reply.objects;
      } while (after !== undefined);
    }
    const workersNow = await this.#workersOf(index);
    if (workersNow === undefined || workersNow === workers) return;
    // Which of them has an object has changed, and some were in no list.
    const message =
      `Cannot list the objects of OST ${index}: it was restarted with another number ` +
      "of workers; check again";
    this.#fail(index, new RustreError("WRONG_WORKER", message));
  }

  #workersOf(index: number): Promise<number | undefined> {
    return this.#try(index, (endpoint, timeoutMs) => {
      return this.#options.rpc.workerCount(endpoint, { signal: this.#options.signal, timeoutMs });
    });
  }

  /** As long as it takes until another mgs has taken over. */
  #askMgs<T>(ask: () => Promise<T>): Promise<T> {
    const { environment, signal } = this.#options;
    return retrying({ environment, timeoutMs: limits.mgsContactTimeoutMs, signal }, ask);
  }

  #fail(index: number, error: RustreError): void {
    this.#failed.add(index);
    this.#options.onFailure(index, error);
  }

  /** Null of an object that is not there; nothing at all where the OST does not answer. */
  async lengthsOf(
    index: number,
    objects: readonly ObjectId[],
  ): Promise<Map<ObjectId, number | null> | undefined> {
    const workers = await this.#workersOf(index);
    if (workers === undefined) return undefined;
    const lengths = new Map<ObjectId, number | null>();
    const shares = Map.groupBy(objects, (object) => workerOf(parseObjectId(object).ino, workers));
    for (const share of shares.values()) {
      for (let start = 0; start < share.length; start += limits.objectsPerListMax) {
        const some = share.slice(start, start + limits.objectsPerListMax);
        const reply = await this.#try(index, (endpoint, timeoutMs) => {
          const { rpc, signal } = this.#options;
          const call = { signal, timeoutMs };
          return rpc.call(endpoint, ossService, "statObjects", { objects: some }, call);
        });
        if (!reply) return undefined;
        for (const [at, object] of some.entries()) {
          lengths.set(object, reply.lengthsBytes[at] ?? null);
        }
      }
    }
    return lengths;
  }

  /** Has the primary bring all replicas of an object to the same bytes; whether all are right. */
  async repair({ object, lengthBytes, targets }: RequiredObject): Promise<boolean> {
    const { rpc, maps, environment, signal } = this.#options;
    const [primary, ...replicas] = targets;
    let lostBlocks = 0;
    for (let offsetBytes = 0; offsetBytes < lengthBytes;) {
      const length = Math.min(limits.framePayloadBytesMax, lengthBytes - offsetBytes);
      const retries = { environment, timeoutMs: limits.operationTimeoutMs, signal };
      const refreshMap = () => maps.refresh();
      const reply = await retrying({ ...retries, refreshMap }, async (_try, remainingMs) => {
        const map = await maps.get(signal);
        const endpoint = endpointOfTarget(targetOf(map, primary!));
        const range = { object, offsetBytes, lengthBytes: length, replicas };
        const call = { signal, timeoutMs: Math.min(limits.callTimeoutMs, remainingMs) };
        const request = { epoch: map.epoch, ...range };
        return await rpc.call(endpoint, ossService, "repairObject", request, call);
      });
      lostBlocks += reply.lostBlocks;
      offsetBytes += length;
    }
    return lostBlocks === 0;
  }

  /** Nothing where the OST does not answer within an operation's time. */
  async #try<T>(
    index: number,
    call: (endpoint: Endpoint, timeoutMs: number) => Promise<T>,
  ): Promise<T | undefined> {
    if (this.#failed.has(index)) return undefined;
    const { environment, maps, signal } = this.#options;
    const retries = { environment, timeoutMs: limits.operationTimeoutMs, signal };
    const refreshMap = () => maps.refresh();
    try {
      return await retrying({ ...retries, refreshMap }, async (_try, remainingMs) => {
        const target = targetOf(await maps.get(signal), index);
        if (!isUp(target)) throw new RustreError("TARGET_DOWN", `OST ${index} is down`);
        const timeoutMs = Math.min(limits.callTimeoutMs, remainingMs);
        return await call(endpointOfTarget(target), timeoutMs);
      });
    } catch (error) {
      if (!isRustreError(error) || signal?.aborted) throw error;
      // Of several calls at once the first one has said it.
      if (!this.#failed.has(index)) this.#fail(index, error);
      return undefined;
    }
  }
}

/** Whether the id has the number of an inode, which its schema does not show. */
function isOfInode(object: ObjectId): boolean {
  const ino = Number.parseInt(object.slice(0, 16), 16);
  return ino >= 1 && ino <= limits.inodeMax;
}
