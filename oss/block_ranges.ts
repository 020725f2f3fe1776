// Ranges of objects in whole blocks: what is ordered, verified and mended together.

import { blockBytes } from "../shared/checksums.ts";
import type { ObjectId } from "../shared/model.ts";
import type { DamagedRange } from "./object_store.ts";
import type { Range } from "./range_locks.ts";

/** The blocks that a range touches, all of them. */
export function wholeBlocks(offsetBytes: number, lengthBytes: number): Range {
  return {
    startBytes: Math.floor(offsetBytes / blockBytes) * blockBytes,
    endBytes: Math.ceil((offsetBytes + lengthBytes) / blockBytes) * blockBytes,
  };
}

/** Neighbouring blocks as one range, up to the end of the object. `blocks` are in order. */
export function rangesOfBlocks(
  object: ObjectId,
  blocks: Iterable<number>,
  objectBytes: number,
): DamagedRange[] {
  const ranges: { object: ObjectId; offsetBytes: number; lengthBytes: number }[] = [];
  for (const block of blocks) {
    const offsetBytes = block * blockBytes;
    const lengthBytes = Math.min(blockBytes, objectBytes - offsetBytes);
    const last = ranges.at(-1);
    if (last && last.offsetBytes + last.lengthBytes === offsetBytes) {
      last.lengthBytes += lengthBytes;
    } else ranges.push({ object, offsetBytes, lengthBytes });
  }
  return ranges;
}
