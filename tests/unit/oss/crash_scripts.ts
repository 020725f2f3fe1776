// Sequences of changes in which the order of every single operation matters: crash_test.ts has them
// crash before each operation.

import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import type { Change } from "../../support/object_history.ts";

/**
 * A change, or time for a checkpoint, or some time, or a disk that is full, or is not, or that takes
 * only some attributes from now on, or that fails once.
 */
export type Action =
  | Change
  | "checkpoint"
  | "pause"
  | "full"
  | "not full"
  | "some attributes"
  | "a sync fails";

/** Steps one after the other; what is in one of them happens at once, a list in it in order. */
export interface Script {
  readonly shards: number;
  readonly steps: readonly (readonly (Action | readonly Action[])[])[];
}

const KiB = 1024;
const object = objectId(7, 0);
const other = objectId(8, 0);
const others = [9, 10, 11, 12, 13].map((ino) => objectId(ino, 0));
let written = 0;

function write(offsetBytes: number, lengthBytes: number, to = object): Change {
  const bytes = new Uint8Array(lengthBytes).fill(1 + written++ % 255);
  return { kind: "write", object: to, offsetBytes, bytes };
}

/** One after the other, all in one block. */
function manyParts(offsetBytes: number): Change[] {
  const count = limits.blockPartsMax + 2;
  return Array.from({ length: count }, (_, part) => write(offsetBytes + 3 * part, 5));
}

const cut = (lengthBytes: number): Change => ({ kind: "cut", object, lengthBytes });
const extend = (lengthBytes: number): Change => ({ kind: "extend", object, lengthBytes });
const sync = (...objects: string[]): Change => ({ kind: "sync", objects });
const destroy = (ino: number): Change => ({ kind: "destroy", ino });

export const scripts: Readonly<Record<string, Script>> = {
  "small changes within a large write that may be lost": {
    shards: 1,
    steps: [
      [write(0, 70_000)],
      [write(5_000, 100)],
      [write(5_050, 100)],
      [cut(5_075)],
      [extend(9_000)],
      [write(6_000, 10)],
      ["checkpoint"],
    ],
  },
  "so many parts of a block that it is written whole": {
    shards: 1,
    steps: [
      [write(0, 9_000)],
      [sync(object)],
      [manyParts(4_100)],
      [cut(4_500)],
      [manyParts(4_300)],
      [sync(object)],
      ["checkpoint", manyParts(8_000)],
      [extend(13_000)],
    ],
  },
  "many parts of a block of a large write that may be lost": {
    shards: 1,
    steps: [
      [write(0, 70_000)],
      [manyParts(69_000)],
      [write(80_000, 10), manyParts(100)],
      ["checkpoint"],
    ],
  },
  "a large write that is lost under one that is not whole blocks": {
    shards: 1,
    steps: [
      [extend(1)],
      [sync(object)],
      [write(0, 64 * KiB)],
      [write(100, 64 * KiB)],
      [write(64 * KiB + 300, 10)],
      [extend(80_000)],
      ["checkpoint"],
    ],
  },
  "large writes past the cache that end within a page": {
    shards: 1,
    steps: [
      [write(0, 256 * KiB + 300)],
      [extend(600 * KiB)],
      [write(300 * KiB, 256 * KiB + 1), sync(object)],
      ["checkpoint", cut(400 * KiB + 5)],
      [write(404 * KiB, 256 * KiB), sync(object)],
      [write(256 * KiB + 200, 300)],
    ],
  },
  "a large write to where a cut has been": {
    shards: 1,
    steps: [
      [write(0, 128 * KiB)],
      [sync(object)],
      [cut(4_000)],
      ["checkpoint", write(100, 10, other)],
      [write(4 * KiB, 64 * KiB)],
      [cut(3_000)],
      [write(4 * KiB, 64 * KiB)],
      ["checkpoint"],
      [write(8 * KiB, 64 * KiB)],
      [sync(object)],
    ],
  },
  "large writes while their object is synced": {
    shards: 1,
    steps: [
      [write(0, 64 * KiB)],
      [sync(object), write(64 * KiB, 64 * KiB)],
      [write(128 * KiB, 64 * KiB), sync(object), sync(object)],
      [write(60 * KiB, 8 * KiB)],
      ["checkpoint", write(192 * KiB, 64 * KiB)],
    ],
  },
  "a large write to where a checkpoint is about to cut": {
    shards: 1,
    steps: [
      [write(0, 400_000)],
      [sync(object)],
      [cut(4_000)],
      [
        "checkpoint",
        [64, 128, 192, 256].flatMap((place): Action[] => ["pause", write(place * KiB, 64 * KiB)]),
      ],
    ],
  },
  "changes while a checkpoint carries out others": {
    shards: 1,
    steps: [
      [...others.map((each) => write(0, 9_000, each))],
      [sync(...others)],
      [...others.map((each) => write(100, 5_000, each))],
      [
        "checkpoint",
        others.toReversed().flatMap((each): Action[] => ["pause", write(300, 6_000, each)]),
        others.flatMap((each): Action[] => ["pause", "pause", write(700, 4_000, each)]),
      ],
    ],
  },
  "changes where a large write has failed": {
    shards: 1,
    steps: [
      [extend(1)],
      ["full"],
      [write(0, 200_000)],
      ["not full"],
      [write(0, 70_001)],
      [write(80_000, 50)],
      [extend(75_000), write(0, 10, other)],
      [write(100_100, 5_000)],
      ["checkpoint"],
      [extend(200_000)],
      [sync(object)],
    ],
  },
  "an object that outgrows its attribute and shrinks again": {
    shards: 1,
    steps: [
      [write(0, 9_000), write(0, 100, other)],
      [sync(object, other)],
      ["checkpoint", write(200, 300)],
      [write(8_000, 40_000)],
      [cut(37_000)],
      [sync(object)],
      ["checkpoint", write(50, 10)],
      [write(6_000, 60_000), sync(object)],
      ["checkpoint", cut(5_000)],
      [sync(object)],
      ["checkpoint", write(4_000, 90_000)],
    ],
  },
  "a small object whose file has perhaps no room for an attribute": {
    shards: 1,
    steps: [
      [write(0, 5_000)],
      [sync(object)],
      ["some attributes"],
      ["checkpoint"],
      ["pause"],
      ["checkpoint", "full"],
      ["pause"],
      ["not full"],
      [cut(4_500)],
      [write(4_600, 3_000), sync(object)],
      ["checkpoint"],
      ["full"],
      ["checkpoint", write(5_000, 10)],
      ["not full"],
      [write(100, 9_000), sync(object)],
    ],
  },
  "a small object that grows when perhaps not all attributes could be set": {
    shards: 1,
    steps: [
      [write(0, 100), write(0, 100, other)],
      [sync(object, other)],
      ["some attributes"],
      ["checkpoint"],
      ["pause"],
      [write(100, 40_000), write(50, 40_000, other)],
      [sync(object, other)],
      ["checkpoint"],
      [write(0, 10, others[0])],
      ["checkpoint"],
      [write(0, 10, others[1]), sync(object, other)],
    ],
  },
  "objects that are destroyed while others are checkpointed": {
    shards: 2,
    steps: [
      [write(0, 70_000), write(0, 500, other)],
      [sync(object, other)],
      ["checkpoint", write(1_000, 500, other), write(4_000, 500)],
      [destroy(7), write(2_000, 500, other)],
      [write(3_000, 500, other)],
      ["checkpoint"],
      [destroy(8)],
    ],
  },
};

/** Of these nobody may ask after a kill: the system has bytes that the disk never gets. */
export const failingScripts: Readonly<Record<string, Script>> = {
  "an object whose sync fails, and the checkpoints of others": {
    shards: 1,
    steps: [
      [write(0, 70_000), write(0, 5_000, other)],
      [write(100_000, 70_000), write(5_000, 100)],
      ["a sync fails"],
      [sync(object), write(100, 9_000, other)],
      ["checkpoint", write(200, 50_000, other)],
      [sync(other)],
      [write(300, 10, other)],
      ["checkpoint"],
      [sync(other)],
    ],
  },
  "a checkpoint that cannot sync what it has carried out": {
    shards: 1,
    steps: [
      [write(0, 9_000), write(0, 5_000, other)],
      [sync(object, other)],
      ["a sync fails"],
      ["checkpoint"],
      [cut(5_000), write(4_000, 3_000, other)],
      ["a sync fails"],
      ["checkpoint"],
      ["pause"],
      ["checkpoint", write(8_000, 30_000)],
      [sync(object, other)],
      ["a sync fails", "a sync fails"],
      ["checkpoint"],
      ["pause"],
      ["checkpoint"],
      [write(0, 10, other)],
      ["checkpoint"],
      [sync(object, other)],
    ],
  },
};
