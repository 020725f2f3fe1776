// Cuts the objects of one file to the end of its data, on all their replicas, durably.

import { isUp, targetOf } from "../shared/cluster_map.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import {
  objectCount,
  objectId,
  objectLengthBytes,
  parseObjectId,
  resizedObjects,
  targetsOfLayout,
  targetsOfObject,
} from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { ClusterMap, Layout, ObjectId, Target } from "../shared/model.ts";
import type { ossService } from "../shared/protocol/oss.ts";
import type { ReplyOf, RequestOf } from "../shared/rpc/service.ts";
import type { Inode } from "./values.ts";

/** Calls an OST, which the map shows up. */
export type CallTarget = <Name extends "resizeObject" | "syncObjects" | "listInode">(
  map: ClusterMap,
  index: number,
  name: Name,
  request: RequestOf<typeof ossService, Name>,
) => Promise<ReplyOf<typeof ossService, Name>>;

/** One file to be cut, by one cluster map. */
export class ObjectCuts {
  readonly #call: CallTarget;
  readonly #map: ClusterMap;
  readonly #inode: Inode & { readonly layout: Layout };

  constructor(call: CallTarget, map: ClusterMap, inode: Inode & { readonly layout: Layout }) {
    this.#call = call;
    this.#map = map;
    this.#inode = inode;
  }

  /** Where no object reaches further than in a file whose data ends at `beforeBytes`. */
  async cutFrom(beforeBytes: number): Promise<void> {
    const { layout, dataEndBytes } = this.#inode;
    // A cut that cannot be finished would be begun again in every round.
    for (const index of targetsToCut(layout, dataEndBytes, beforeBytes)) upTarget(this.#map, index);
    for (const { seq, lowerLengthBytes } of resizedObjects(layout, dataEndBytes, beforeBytes)) {
      await this.#cutReplicas(seq, lowerLengthBytes);
    }
  }

  /**
   * Where nobody knows how far the objects reach: each OST is asked for those that it has. By the
   * epoch of these requests none of them grows any more by what the file's last writers have sent.
   */
  async cutAll(): Promise<void> {
    const targets = targetsOfLayout(this.#inode.layout);
    for (const index of targets) upTarget(this.#map, index);
    for (const index of targets) await this.#cutThoseOf(index);
  }

  async #cutThoseOf(index: number): Promise<void> {
    const { ino, layout, dataEndBytes } = this.#inode;
    const { epoch } = this.#map;
    for (let nextSeq = 0;;) {
      const from = { epoch, object: objectId(ino, nextSeq) };
      const { objects } = await this.#call(this.#map, index, "listInode", from);
      for (const { object, lengthBytes } of objects) {
        const seq = seqOf(ino, object);
        if (seq < nextSeq) throw notAsked(index, object);
        const rightBytes = objectLengthBytes(layout, seq, dataEndBytes);
        if (lengthBytes > rightBytes) await this.#cutReplicas(seq, rightBytes);
      }
      const last = objects.at(-1);
      if (!last || objects.length < limits.objectsPerListMax) return;
      nextSeq = seqOf(ino, last.object) + 1;
    }
  }

  async #cutReplicas(seq: number, lengthBytes: number): Promise<void> {
    const [primary, ...others] = targetsOfObject(this.#inode.layout, seq);
    // A repair at the primary takes a copy that is shorter than its own for damaged, and would
    // bring back what was cut off there.
    if (primary !== undefined) await this.#cutReplica(primary, seq, lengthBytes);
    await Promise.all(others.map((index) => this.#cutReplica(index, seq, lengthBytes)));
  }

  /**
   * Durably, for after this nobody remembers that there was something to cut. WRITES_LOST where the
   * OST may have lost the cut before it was on disk: the next round cuts again.
   */
  async #cutReplica(index: number, seq: number, lengthBytes: number): Promise<void> {
    const { epoch } = this.#map;
    const object = objectId(this.#inode.ino, seq);
    const cut = { epoch, object, lengthBytes, extend: false };
    const { verifier } = await this.#call(this.#map, index, "resizeObject", cut);
    try {
      await this.#call(this.#map, index, "syncObjects", { epoch, objects: [object], verifier });
    } catch (error) {
      // An object that does not exist is short enough.
      if (!isRustreError(error, "DATA_MISSING")) throw error;
    }
  }
}

/** Below every number of an object where it is not one of the inode: an OST may answer anything. */
function seqOf(ino: number, object: ObjectId): number {
  return object.startsWith(objectId(ino, 0).slice(0, 17)) ? parseObjectId(object).seq : -1;
}

function notAsked(index: number, object: ObjectId): RustreError {
  const message =
    `Cannot cut objects on OST ${index}: it lists "${object}", which was not asked for`;
  return new RustreError("BAD_FRAME", message);
}

export function upTarget(map: ClusterMap, index: number): Target {
  const target = targetOf(map, index);
  if (isUp(target)) return target;
  throw new RustreError("TARGET_DOWN", `Cannot reach OST ${index}: it is down`);
}

/** The OSTs with something to cut: each position's first one is among the first of two sets. */
function targetsToCut(layout: Layout, dataEndBytes: number, beforeBytes: number): Set<number> {
  const targets = new Set<number>();
  const endSeq = objectCount(layout, dataEndBytes) + layout.targets.length;
  for (const { seq } of resizedObjects(layout, dataEndBytes, beforeBytes)) {
    if (seq >= endSeq) break;
    for (const index of targetsOfObject(layout, seq)) targets.add(index);
  }
  return targets;
}
