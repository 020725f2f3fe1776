// What oss_kill_test.ts and its child, killed_store_child.ts, have in common: the store, and the lines
// in which the child tells what it does.

import type { CheckpointSizes } from "../../oss/checkpointer.ts";
import { FileObjectStore } from "../../oss/file_store.ts";
import type { ObjectId } from "../../shared/model.ts";
import { systemEnvironment } from "../../shared/platform.ts";
import type { ObjectChange } from "../support/object_history.ts";
import { SeededRandom } from "../support/seeded_random.ts";

/** So small that a checkpoint is under way most of the time. */
const checkpointSizes: CheckpointSizes = {
  segmentBytes: 600_000,
  journalBytes: 1_500_000,
  changedObjects: 4,
  filledBytes: 2_000_000,
  batch: 2,
};
/** Fewer than there are: some have to be closed, and opened again. */
const openObjectsMax = 6;

export function openStore(directory: string): Promise<FileObjectStore> {
  const { clock, random } = systemEnvironment();
  return FileObjectStore.open({
    ...{ directory, clock, random, checkpointSizes, openObjectsMax },
    targetIndex: 0,
  });
}

/** What the child is to do: one line of its input. */
export interface Order {
  /** "change": objects, for ever. "open": the store, and close it. */
  readonly task: "change" | "open";
  readonly directory: string;
  readonly seed: number;
  /** From this one on, inode numbers were never used. */
  readonly unusedInode: number;
}

/** A change without its bytes, which come from a seed. */
export type ReportedChange =
  | { kind: "write"; object: ObjectId; offsetBytes: number; lengthBytes: number; seed: number }
  | { kind: "extend" | "cut"; object: ObjectId; lengthBytes: number }
  | { kind: "destroy"; ino: number };

/** What the child tells, one line each. A writer has one change under way at a time. */
export type Report =
  | { what: "opening" | "open" | "closed" }
  | { what: "begin"; writer: number; change: ReportedChange }
  | { what: "done"; writer: number };

export function objectChangeOf(
  change: Exclude<ReportedChange, { kind: "destroy" }>,
): ObjectChange {
  if (change.kind !== "write") return change;
  const { kind, object, offsetBytes, lengthBytes, seed } = change;
  return { kind, object, offsetBytes, bytes: bytesFrom(seed, lengthBytes) };
}

function bytesFrom(seed: number, lengthBytes: number): Uint8Array<ArrayBuffer> {
  const random = new SeededRandom(seed);
  const words = new Uint32Array(Math.ceil(lengthBytes / 4));
  for (let index = 0; index < words.length; index++) words[index] = random.uint32();
  return new Uint8Array(words.buffer, 0, lengthBytes);
}
