// Asks OSTs to repair what a reader found damaged, in the background: the reader has its bytes from
// another replica. The same damage is reported once at a time, and no more at once than is bounded.

import { endpointOfTarget, targetOf } from "../shared/cluster_map.ts";
import { sleep } from "../shared/environment.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { objectId, type Piece, targetsOfObject } from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { ObjectId } from "../shared/model.ts";
import { ossService } from "../shared/protocol/oss.ts";
import { Semaphore } from "../shared/semaphore.ts";
import {
  type FileObjects,
  type IntegrityCounts,
  type ObjectClientParts,
  requireUp,
} from "./object_parts.ts";
import { tryOperation } from "./operation.ts";

/** Repairs read whole runs of this: neighbours of a bad block are often bad too. */
const alignBytes = limits.transferBytes;

interface ObjectRange {
  readonly object: ObjectId;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export class Repairs {
  readonly #parts: ObjectClientParts;
  readonly #counts: IntegrityCounts;
  readonly #slots = new Semaphore(limits.clientRepairsInFlight);
  /** By object and range. */
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();

  constructor(parts: ObjectClientParts, counts: IntegrityCounts) {
    this.#parts = parts;
    this.#counts = counts;
  }

  /** Starts the repair of what is damaged around a piece, unless there is too much to do already. */
  start(file: FileObjects, piece: Piece): void {
    const { seq, offsetInObjectBytes, lengthBytes } = piece;
    const offsetBytes = offsetInObjectBytes - offsetInObjectBytes % alignBytes;
    const pieceEndBytes = offsetInObjectBytes + lengthBytes;
    const endBytes = Math.ceil(pieceEndBytes / alignBytes) * alignBytes;
    const object = objectId(file.ino, seq);
    const key = `${object} ${offsetBytes} ${endBytes}`;
    if (this.#underWay.has(key) || this.#underWay.size >= limits.clientRepairsMax) return;
    const where = { object, offsetBytes, lengthBytes: endBytes - offsetBytes };
    const repairing = this.#repair(targetsOfObject(file.layout, seq), where)
      .finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, repairing);
  }

  /** Waits for those under way, for limits.clientRepairsCloseMs at most. */
  async close(): Promise<void> {
    if (this.#underWay.size === 0) return;
    const { clock } = this.#parts.environment;
    const done = new AbortController();
    const ended = Promise.all(this.#underWay.values()).then(() => done.abort());
    const late = sleep(clock, limits.clientRepairsCloseMs, done.signal).then(
      () => this.#stop.abort(new RustreError("SHUTTING_DOWN", "The client is closed")),
      () => {},
    );
    await Promise.all([ended, late]);
  }

  /** Never rejects: what failed is asked for again by the next reader, or found by a scrub. */
  async #repair(targets: readonly number[], where: ObjectRange): Promise<void> {
    const { log } = this.#parts;
    try {
      await this.#slots.acquire(1, this.#stop.signal);
    } catch {
      // The client is closed.
      return;
    }
    try {
      const { repairedBlocks, lostBlocks } = await this.#ask(targets, where);
      this.#counts.repairedBlocks += repairedBlocks;
      if (lostBlocks > 0) {
        log.warn("Blocks of an object have no good copy", { ...where, lostBlocks });
      } else log.info("A damaged copy was repaired", { ...where, repairedBlocks });
    } catch (error) {
      if (!isRustreError(error)) throw error;
      log.warn("Cannot have a damaged copy repaired", { ...where, reason: error.message });
    } finally {
      this.#slots.release();
    }
  }

  #ask(
    [primary, ...replicas]: readonly number[],
    where: ObjectRange,
  ): Promise<{ repairedBlocks: number; lostBlocks: number }> {
    const { signal } = this.#stop;
    return tryOperation(this.#parts, signal, ({ map, timeoutMs }) => {
      const endpoint = endpointOfTarget(requireUp(targetOf(map, primary!)));
      const request = { epoch: map.epoch, ...where, replicas };
      const call = { signal, timeoutMs };
      return this.#parts.rpc.call(endpoint, ossService, "repairObject", request, call);
    });
  }
}
