// Scrubbing: every object is read against its checksums, in pieces, so that whoever asks sees how
// far it is and other requests get their turn. It finds damage; repair.ts mends it.

import { blockBytes } from "../shared/checksums.ts";
import { type Clock, sleep } from "../shared/environment.ts";
import { isRustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { ObjectId } from "../shared/model.ts";
import type { ossService, ScrubPlace } from "../shared/protocol/oss.ts";
import type { ReplyOf, RequestOf } from "../shared/rpc/service.ts";
import { Semaphore } from "../shared/semaphore.ts";
import { inodeOf } from "./change_order.ts";
import type { DamagedBlocks } from "./damaged_blocks.ts";
import type { DamagedRange, ObjectStore } from "./object_store.ts";

type ScrubRequest = RequestOf<typeof ossService, "scrubObjects">;
type ScrubReply = ReplyOf<typeof ossService, "scrubObjects">;

export interface ScrubberOptions {
  readonly clock: Clock;
  readonly objects: ObjectStore;
  readonly damaged: DamagedBlocks;
}

/** A piece has at most so many ranges: every other block. */
const rangesPerPieceMax = limits.scrubPieceBytes / blockBytes / 2;

/** What one request has done so far, and how much more it may do. */
class Progress {
  objects = 0;
  bytes = 0;
  readonly damaged: { object: ObjectId; offsetBytes: number; lengthBytes: number }[] = [];
  readonly #clock: Clock;
  readonly #bytesMax: number;
  readonly #endMs: number;
  #pausedAtBytes = 0;
  #pausedAtMs: number;

  constructor(clock: Clock, bytesMax: number) {
    this.#clock = clock;
    this.#bytesMax = bytesMax;
    this.#pausedAtMs = clock.monotonicMs();
    this.#endMs = this.#pausedAtMs + limits.scrubRequestMs;
  }

  get isOver(): boolean {
    return this.bytes >= this.#bytesMax || this.#clock.monotonicMs() >= this.#endMs ||
      this.damaged.length + rangesPerPieceMax > limits.scrubDamagedMax;
  }

  /** What goes on where the last one ends is one with it. */
  addDamage(range: DamagedRange): void {
    const { object, offsetBytes, lengthBytes } = range;
    const last = this.damaged.at(-1);
    const goesOn = last?.object === object && last.offsetBytes + last.lengthBytes === offsetBytes;
    if (goesOn) last.lengthBytes += lengthBytes;
    else this.damaged.push({ ...range });
  }

  /** Lets others have their turn, when it is time to. */
  async pause(): Promise<void> {
    const isTime = this.bytes - this.#pausedAtBytes >= limits.scrubPieceBytes ||
      this.#clock.monotonicMs() - this.#pausedAtMs >= limits.scrubTurnMs;
    if (!isTime) return;
    await sleep(this.#clock, 0);
    this.#pausedAtBytes = this.bytes;
    this.#pausedAtMs = this.#clock.monotonicMs();
  }
}

export class Scrubber {
  readonly #options: ScrubberOptions;
  /** However many ask, the disk and the processor have other things to do. */
  readonly #turn = new Semaphore(1);

  constructor(options: ScrubberOptions) {
    this.#options = options;
  }

  async scrub(request: ScrubRequest): Promise<ScrubReply> {
    if (request.from) inodeOf(request.from.object);
    await this.#turn.acquire();
    try {
      return await this.#scrub(request);
    } finally {
      this.#turn.release();
    }
  }

  async #scrub({ from, bytesMax }: ScrubRequest): Promise<ScrubReply> {
    const { clock, objects } = this.#options;
    const progress = new Progress(clock, bytesMax);
    let place = from && await this.#resume(from, progress);
    while (!progress.isOver) {
      const batch = await objects.list(place?.object, limits.scrubListMax);
      if (batch.length === 0) return replyOf(progress);
      for (const { object, lengthBytes } of batch) {
        progress.objects++;
        const length = await this.#lengthOf(object, lengthBytes);
        place = await this.#scrubObject({ object, offsetBytes: 0 }, length, progress);
        if (progress.isOver) break;
      }
    }
    return place ? { ...replyOf(progress), next: place } : replyOf(progress);
  }

  /**
   * What a list says is only peeked at: where that is damaged, it is of no length. Of one that cannot
   * be read there is something to be read, so that it is found.
   */
  async #lengthOf(object: ObjectId, listedBytes: number): Promise<number> {
    try {
      return await this.#options.objects.stat(object) ?? 0;
    } catch (error) {
      if (isRustreError(error, "EIO")) return Math.max(1, listedBytes);
      throw error;
    }
  }

  async #resume(from: ScrubPlace, progress: Progress): Promise<ScrubPlace> {
    const { object, offsetBytes } = from;
    try {
      const lengthBytes = await this.#options.objects.stat(object);
      // It may be gone: as if it had never been met.
      return lengthBytes === undefined ? from : this.#scrubObject(from, lengthBytes, progress);
    } catch (error) {
      if (!isRustreError(error, "EIO")) throw error;
      progress.addDamage({ object, offsetBytes, lengthBytes: blockBytes });
      return from;
    }
  }

  /** Goes on with an object until it or the request is over; says how far it has come. */
  async #scrubObject(
    { object, offsetBytes }: ScrubPlace,
    lengthBytes: number,
    progress: Progress,
  ): Promise<ScrubPlace> {
    while (offsetBytes < lengthBytes && !progress.isOver) {
      const pieceBytes = Math.min(limits.scrubPieceBytes, lengthBytes - offsetBytes);
      await this.#verify(object, offsetBytes, pieceBytes, progress);
      offsetBytes += pieceBytes;
      progress.bytes += pieceBytes;
      await progress.pause();
    }
    return { object, offsetBytes };
  }

  async #verify(
    object: ObjectId,
    offsetBytes: number,
    lengthBytes: number,
    progress: Progress,
  ): Promise<void> {
    try {
      const ranges = await this.#options.objects.verify(object, offsetBytes, lengthBytes);
      this.#options.damaged.found(ranges);
      for (const range of ranges) progress.addDamage(range);
    } catch (error) {
      if (isRustreError(error, "EIO")) {
        // The disk cannot read it: no better than damaged, and no reason to stop here.
        progress.addDamage({ object, offsetBytes, lengthBytes });
      } else if (!isRustreError(error, "DATA_MISSING")) {
        throw error;
      }
      // Otherwise it was destroyed meanwhile.
    }
  }
}

function replyOf({ objects, bytes, damaged }: Progress): ScrubReply {
  return { objects, bytes, damaged };
}
