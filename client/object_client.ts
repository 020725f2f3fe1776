// Calls to the OSTs: reads and writes pieces of objects, chooses replicas, retries. Knows layouts,
// not names.

import { type ClusterMapCache, endpointOfTarget, targetOf } from "../shared/cluster_map.ts";
import type { Environment } from "../shared/environment.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { objectId, type Piece, targetsOfObject } from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { ClusterMap, Layout, Target } from "../shared/model.ts";
import type { RpcClient } from "../shared/rpc/client.ts";
import { ossService } from "../shared/rpc/protocol.ts";
import type { UnsyncedGroup, WriteAnswer } from "./unsynced_objects.ts";
import { tryOperation } from "./operation.ts";

export interface ObjectClientOptions {
  readonly environment: Environment;
  readonly rpc: RpcClient;
  readonly maps: ClusterMapCache;
}

/** What the objects of one file are reached by. */
export interface FileObjects {
  readonly ino: number;
  readonly layout: Layout;
  /** Of a file that is written: fails when the client has no right to write any more. */
  readonly requireLease?: (() => void) | undefined;
}

/** One of several tries; all but the first go by a fresh map. */
interface Attempt {
  readonly isFirst: boolean;
  /** What a call may take. */
  readonly timeoutMs: number;
}

export class ObjectClient {
  readonly #options: ObjectClientOptions;

  constructor(options: ObjectClientOptions) {
    this.#options = options;
  }

  /** Reads one piece from the first of its replicas that has it. */
  read(file: FileObjects, piece: Piece, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#retrying(
      signal,
      (map, attempt) => this.#readFromReplicas(map, file, piece, { signal, ...attempt }),
    );
  }

  /** Writes one piece to all its replicas, which answer; with `sync` onto their disks. */
  async write(
    file: FileObjects,
    piece: Piece,
    bytes: Uint8Array,
    options: { sync: boolean; signal?: AbortSignal | undefined },
  ): Promise<WriteAnswer[]> {
    return await this.#retrying(options.signal, async (map, { timeoutMs }) => {
      const targets = this.#writableTargets(map, file, piece.seq);
      const [primary, ...replicas] = targets;
      if (!primary) throw new RustreError("EINVAL", "Cannot write: the layout has no OST");
      const request = {
        epoch: map.epoch,
        object: objectId(file.ino, piece.seq),
        offsetBytes: piece.offsetInObjectBytes,
        replicas: replicas.map((target) => target.index),
        sync: options.sync,
      };
      const call = { payload: bytes, signal: options.signal, timeoutMs };
      const { verifiers } = await this.#options.rpc.call(
        endpointOfTarget(primary),
        ossService,
        "writeObject",
        request,
        call,
      );
      return targets.map(({ index }, position) => answerOf(index, verifiers[position]));
    });
  }

  /** Makes an object at least so long, on all its replicas, which answer; it gains zeros. */
  async extend(
    file: FileObjects,
    seq: number,
    lengthBytes: number,
    signal?: AbortSignal,
  ): Promise<WriteAnswer[]> {
    return await this.#retrying(signal, (map, { timeoutMs }) => {
      const object = objectId(file.ino, seq);
      const request = { epoch: map.epoch, object, lengthBytes, extend: true };
      const call = { signal, timeoutMs };
      return Promise.all(
        this.#writableTargets(map, file, seq).map(async (target) => {
          const endpoint = endpointOfTarget(target);
          const { rpc } = this.#options;
          const { verifier } = await rpc.call(endpoint, ossService, "resizeObject", request, call);
          return { targetIndex: target.index, verifier };
        }),
      );
    });
  }

  /**
   * Puts objects and their directory entries onto the disk of one of their OSTs. WRITES_LOST where
   * it may have lost what it answered.
   */
  async sync(file: FileObjects, group: UnsyncedGroup, signal?: AbortSignal): Promise<void> {
    const { targetIndex, verifier } = group;
    const objects = [...group.seqs].map((seq) => objectId(file.ino, seq));
    for (let first = 0; first < objects.length; first += limits.objectsPerSyncMax) {
      const batch = objects.slice(first, first + limits.objectsPerSyncMax);
      await this.#retrying(signal, (map, { timeoutMs }) => {
        const endpoint = endpointOfTarget(requireUp(targetOf(map, targetIndex)));
        const request = { epoch: map.epoch, objects: batch, verifier };
        const call = { signal, timeoutMs };
        return this.#options.rpc.call(endpoint, ossService, "syncObjects", request, call);
      });
    }
  }

  async #readFromReplicas(
    map: ClusterMap,
    file: FileObjects,
    piece: Piece,
    options: Attempt & { signal: AbortSignal | undefined },
  ): Promise<Uint8Array> {
    const { signal, isFirst } = options;
    const targets = targetsOfObject(file.layout, piece.seq).map((index) => targetOf(map, index));
    const up = targets.filter((target) => target.state === "up");
    const failures: RustreError[] = targets.filter((target) => target.state !== "up").map(isDown);
    for (const [position, target] of up.entries()) {
      // With another replica to turn to, a server that hangs is not waited for. Those that are down
      // may be up by now: the next attempt, with a fresh map, knows.
      const isLast = position === up.length - 1 && (!isFirst || targets.length === 1);
      const boundMs = isLast ? limits.callTimeoutMs : limits.replicaTimeoutMs;
      const timeoutMs = Math.min(boundMs, options.timeoutMs);
      try {
        return await this.#readFrom(target, map.epoch, file, piece, { signal, timeoutMs });
      } catch (error) {
        if (!isRustreError(error) || signal?.aborted) throw error;
        failures.push(error);
      }
    }
    // A replica that may come back is worth another try, before lost bytes are reported.
    throw failures.find((error) => error.retry !== "never") ?? failures[0] ??
      new RustreError("DATA_MISSING", "Cannot read: the object has no replica");
  }

  async #readFrom(
    target: Target,
    epoch: number,
    file: FileObjects,
    piece: Piece,
    options: { signal: AbortSignal | undefined; timeoutMs: number },
  ): Promise<Uint8Array> {
    const request = {
      epoch,
      object: objectId(file.ino, piece.seq),
      offsetBytes: piece.offsetInObjectBytes,
      lengthBytes: piece.lengthBytes,
    };
    const endpoint = endpointOfTarget(target);
    const { rpc } = this.#options;
    const { payload } = await rpc.download(endpoint, ossService, "readObject", request, options);
    if (payload.length === piece.lengthBytes) return payload;
    throw new RustreError(
      "DATA_MISSING",
      `OST ${target.index} sent ${payload.length} of ${piece.lengthBytes} bytes of object ` +
        request.object,
    );
  }

  /** Every replica of an object; a write that one would miss is refused. */
  #writableTargets(map: ClusterMap, file: FileObjects, seq: number): Target[] {
    file.requireLease?.();
    return targetsOfObject(file.layout, seq).map((index) => requireUp(targetOf(map, index)));
  }

  #retrying<T>(
    signal: AbortSignal | undefined,
    attempt: (map: ClusterMap, attempt: Attempt) => Promise<T>,
  ): Promise<T> {
    return tryOperation(
      this.#options,
      signal,
      ({ map, tryNumber, timeoutMs }) => attempt(map, { isFirst: tryNumber === 0, timeoutMs }),
    );
  }
}

function answerOf(targetIndex: number, verifier: string | undefined): WriteAnswer {
  if (verifier !== undefined) return { targetIndex, verifier };
  throw new RustreError("BAD_FRAME", `The answer to a write has no verifier of OST ${targetIndex}`);
}

function isDown(target: Target): RustreError {
  return new RustreError("TARGET_DOWN", `OST ${target.index} is down`);
}

function requireUp(target: Target): Target {
  if (target.state !== "up") throw isDown(target);
  return target;
}
