// Blocks of this OST that were found damaged, each counted once: what the usage says of them. A
// block that is written again, by a repair or by anybody else, counts as repaired.

import { blockBytes } from "../shared/checksums.ts";
import { isRustreError } from "../shared/errors.ts";
import { parseObjectId } from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { ObjectId } from "../shared/model.ts";
import { wholeBlocks } from "./block_ranges.ts";
import type { DamagedRange, ObjectStore } from "./object_store.ts";

export class DamagedBlocks {
  /** Those that are damaged now, as far as is known. */
  readonly #damaged = new Map<ObjectId, Set<number>>();
  #remembered = 0;
  #corruptBlocks = 0;
  #repairedBlocks = 0;
  readonly #rememberedMax: number;

  constructor(rememberedMax: number = limits.damagedBlocksRemembered) {
    this.#rememberedMax = rememberedMax;
  }

  /** Since the start. */
  get counts(): { corruptBlocks: number; repairedBlocks: number } {
    return { corruptBlocks: this.#corruptBlocks, repairedBlocks: this.#repairedBlocks };
  }

  /** To be called with what a verify or a verified read found. */
  found(ranges: Iterable<DamagedRange>): void {
    for (const { object, offsetBytes, lengthBytes } of ranges) {
      const { startBytes, endBytes } = wholeBlocks(offsetBytes, lengthBytes);
      for (let start = startBytes; start < endBytes; start += blockBytes) {
        this.#add(object, start / blockBytes);
      }
    }
  }

  /** To be called where an operation met damage: looks how much of it there is in its range. */
  async lookInto(
    objects: ObjectStore,
    object: ObjectId,
    offsetBytes: number,
    lengthBytes: number,
  ): Promise<void> {
    try {
      this.found(await objects.verify(object, offsetBytes, lengthBytes));
    } catch (error) {
      // The operation's own error says more to its caller; the next one counts what this did not.
      if (!isRustreError(error)) throw error;
    }
  }

  /** To be called after a write, which only succeeds where each of its blocks is right afterwards. */
  written(object: ObjectId, offsetBytes: number, lengthBytes: number): void {
    const { startBytes, endBytes } = wholeBlocks(offsetBytes, lengthBytes);
    const mended = this.#forget(object, startBytes / blockBytes, endBytes / blockBytes);
    this.#repairedBlocks += mended;
  }

  /** To be called when an object is cut: what was damaged behind its new end is of no interest. */
  cut(object: ObjectId, lengthBytes: number): void {
    this.#forget(object, Math.ceil(lengthBytes / blockBytes), Infinity);
  }

  /** To be called when all objects of these inodes are deleted. */
  destroyed(inodes: readonly number[]): void {
    for (const object of this.#damaged.keys()) {
      if (inodes.includes(parseObjectId(object).ino)) this.cut(object, 0);
    }
  }

  #add(object: ObjectId, block: number): void {
    let blocks = this.#damaged.get(object);
    if (blocks?.has(block)) return;
    this.#corruptBlocks++;
    // With so many damaged the disk is, and it does not matter that some are counted twice.
    if (this.#remembered >= this.#rememberedMax) return;
    if (!blocks) this.#damaged.set(object, blocks = new Set());
    blocks.add(block);
    this.#remembered++;
  }

  #forget(object: ObjectId, firstBlock: number, endBlock: number): number {
    const blocks = this.#damaged.get(object);
    if (!blocks) return 0;
    let count = 0;
    for (const block of blocks) {
      if (block < firstBlock || block >= endBlock) continue;
      blocks.delete(block);
      count++;
    }
    this.#remembered -= count;
    if (blocks.size === 0) this.#damaged.delete(object);
    return count;
  }
}
