// Calls to the OSTs: reads and writes pieces of objects, retries. Knows layouts, not names.

import { endpointOfTarget, targetOf } from "../shared/cluster_map.ts";
import { checksumsOf, encodeChecksums, joinChecksums } from "../shared/checksums.ts";
import type { GatheredPayload } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import { objectId, type ObjectRange, type Piece } from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { ClusterMap, Target } from "../shared/model.ts";
import { ossService } from "../shared/protocol/oss.ts";
import {
  existingBytesOf,
  type FileObjects,
  type IntegrityCounts,
  type ObjectClientParts,
  replicasOf,
  requireUp,
} from "./object_parts.ts";
import { tryOperation } from "./operation.ts";
import { Repairs } from "./repairs.ts";
import { ReplicaReader } from "./replica_reader.ts";
import { TargetWindows } from "./target_windows.ts";
import type { UnsyncedGroup, WriteAnswer } from "./unsynced_objects.ts";

export interface ObjectClientOptions extends ObjectClientParts {
  /** Whether readers compare bytes and checksums. */
  readonly verifyChecksums: boolean;
}

/** Bytes of an object on their way there. */
export interface PieceContent {
  readonly payload: GatheredPayload;
  /** Of its parts, as checksums.ts cuts and encodes them. */
  readonly checksums: Uint8Array;
}

/** Gives what is to be written at an offset of an object; asked again for each try. */
export type ContentOf = (offsetInObjectBytes: number) => PieceContent;

/**
 * What is in memory, and stays there until it is written: buffers that follow each other in the
 * object, all but the last of whole blocks.
 */
export function contentOfBytes(...buffers: readonly Uint8Array[]): ContentOf {
  return (offsetBytes) => ({ payload: buffers, checksums: checksumsOfAll(offsetBytes, buffers) });
}

function checksumsOfAll(offsetBytes: number, buffers: readonly Uint8Array[]): Uint8Array {
  let nextBytes = offsetBytes;
  return joinChecksums(buffers.map((bytes) => {
    const checksums = encodeChecksums(checksumsOf(nextBytes, bytes));
    nextBytes += bytes.length;
    return checksums;
  }));
}

export interface WritePieceOptions {
  readonly sync: boolean;
  readonly signal?: AbortSignal | undefined;
}

export class ObjectClient implements AsyncDisposable {
  /** Bound what all files of this client have under way, from the OSTs and to them. */
  readonly readWindows = new TargetWindows(limits.targetWindowBytes);
  readonly writeWindows = new TargetWindows(
    limits.writeWindowBytes,
    limits.writesUnderWayBytes,
  );
  readonly #options: ObjectClientOptions;
  readonly #counts: IntegrityCounts = {
    mismatches: 0,
    damagedCopies: 0,
    otherReplicaReads: 0,
    repairedBlocks: 0,
  };
  readonly #repairs: Repairs;
  readonly #replicas: ReplicaReader;

  constructor(options: ObjectClientOptions) {
    this.#options = options;
    this.#repairs = new Repairs(options, this.#counts);
    this.#replicas = new ReplicaReader({
      ...options,
      repairs: this.#repairs,
      counts: this.#counts,
    });
  }

  get counts(): Readonly<IntegrityCounts> {
    return this.#counts;
  }

  /** Reads one piece from the first of its replicas that has it right. `into` has its length. */
  read(file: FileObjects, piece: Piece, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    return tryOperation(this.#options, signal, ({ map, tryNumber, timeoutMs }) => {
      const isFirst = tryNumber === 0;
      return this.#replicas.read({ map, file, piece, into, isFirst, signal, timeoutMs });
    });
  }

  /**
   * Writes a range of an object to all its replicas, which answer; with `sync` onto their disks.
   * `contentOf` is asked for each try: what was changed on its way, or in its file while it was sent,
   * is read again.
   */
  write(
    file: FileObjects,
    range: ObjectRange,
    contentOf: ContentOf,
    { sync, signal }: WritePieceOptions,
  ): Promise<WriteAnswer[]> {
    const { seq, offsetInObjectBytes: offsetBytes } = range;
    return tryOperation(this.#options, signal, async ({ map, timeoutMs }) => {
      const [primary, ...others] = writableTargets(map, file, seq);
      if (!primary) throw new RustreError("EINVAL", "Cannot write: the layout has no OST");
      const { payload, checksums } = contentOf(offsetBytes);
      const request = {
        epoch: map.epoch,
        object: objectId(file.ino, seq),
        ...existingBytesOf(file, seq),
        offsetBytes,
        replicas: others.map((target) => target.index),
        sync,
        checksums,
      };
      const call = { payload, signal, timeoutMs };
      const endpoint = endpointOfTarget(primary);
      const { rpc } = this.#options;
      const { verifiers } = await rpc.call(endpoint, ossService, "writeObject", request, call);
      return [primary, ...others].map(({ index }, position) =>
        answerOf(index, verifiers[position])
      );
    });
  }

  /** Makes an object at least so long, on all its replicas, which answer; it gains zeros. */
  async extend(
    file: FileObjects,
    seq: number,
    lengthBytes: number,
    signal?: AbortSignal,
  ): Promise<WriteAnswer[]> {
    return await tryOperation(this.#options, signal, ({ map, timeoutMs }) => {
      const object = objectId(file.ino, seq);
      const place = { epoch: map.epoch, object, ...existingBytesOf(file, seq) };
      const request = { ...place, lengthBytes, extend: true };
      const call = { signal, timeoutMs };
      return Promise.all(
        writableTargets(map, file, seq).map(async (target) => {
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
      await tryOperation(this.#options, signal, ({ map, timeoutMs }) => {
        const endpoint = endpointOfTarget(requireUp(targetOf(map, targetIndex)));
        const request = { epoch: map.epoch, objects: batch, verifier };
        const call = { signal, timeoutMs };
        return this.#options.rpc.call(endpoint, ossService, "syncObjects", request, call);
      });
    }
  }

  /** Waits for repairs that readers have begun, within a bound. */
  close(): Promise<void> {
    return this.#repairs.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Every replica of an object; a write that one would miss is refused. */
function writableTargets(map: ClusterMap, file: FileObjects, seq: number): Target[] {
  file.requireLease?.();
  return replicasOf(map, file, seq).map(requireUp);
}

function answerOf(targetIndex: number, verifier: string | undefined): WriteAnswer {
  if (verifier !== undefined) return { targetIndex, verifier };
  throw new RustreError("BAD_FRAME", `The answer to a write has no verifier of OST ${targetIndex}`);
}
