// The rules that records of the store keep among each other, as pure functions: what fsck holds a
// live cluster to, and the tests a cluster at rest.

import * as v from "valibot";
import { objectCount, objectId, objectLengthBytes, targetsOfObject } from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import { type FileType, layoutSchema, type ObjectId, rootInode } from "../../shared/model.ts";
import type { Inode } from "../schema.ts";
import type { FindingKind } from "./findings.ts";

/** A name in a directory, as the store has it. */
export interface Entry {
  readonly parent: number;
  readonly name: string;
  readonly ino: number;
  readonly type: FileType;
}

export interface Problem {
  readonly kind: FindingKind;
  readonly message: string;
}

// ── an inode by itself ─────────────────────────────────────────────────────────────────────────

/** What is wrong with the record under the key of inode `ino`, if anything. */
export function inodeProblem(ino: number, inode: Inode): string | undefined {
  if (inode.ino !== ino) return `it says that it is inode ${inode.ino}`;
  const { sizeBytes, dataEndBytes } = inode;
  for (const field of ["mode", "uid", "gid", "links", "sizeBytes", "dataEndBytes"] as const) {
    if (!isCount(inode[field])) return `its ${field} is ${inode[field]}`;
  }
  for (const field of ["atimeNs", "mtimeNs", "ctimeNs"] as const) {
    if (typeof inode[field] !== "bigint") return `its ${field} is no time`;
  }
  if (dataEndBytes > sizeBytes) return `its data ends at ${dataEndBytes}, its size is ${sizeBytes}`;
  if (sizeBytes > limits.fileBytesMax) return `its size is ${sizeBytes}`;
  switch (inode.type) {
    case "file":
      return v.is(layoutSchema, inode.layout) ? undefined : "its layout is none";
    case "directory":
      if (ino === rootInode && inode.parent !== rootInode) return "the root is in a directory";
      return isCount(inode.parent) ? undefined : "it is a directory in no directory";
    case "symlink":
      return typeof inode.target === "string" ? undefined : "it is a link without a target";
  }
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

// ── names and links ────────────────────────────────────────────────────────────────────────────

/** What is wrong between an entry and the inode of its number. */
export function entryProblem(entry: Entry, inode: Inode | undefined): Problem | undefined {
  const { parent, ino, type } = entry;
  const name = `${JSON.stringify(entry.name)} in directory ${parent}`;
  if (!inode) {
    const message = `${name} leads to inode ${ino}, which does not exist`;
    return { kind: "entry-without-inode", message };
  }
  if (inode.type !== type) {
    const message = `${name} says that inode ${ino} is a ${type}, and it is a ${inode.type}`;
    return { kind: "entry-of-another-type", message };
  }
  if (type === "directory" && inode.parent !== parent) {
    const message = `${name} leads to directory ${ino}, which says that it is in ${inode.parent}`;
    return { kind: "wrong-parent", message };
  }
  return undefined;
}

/** How many entries lead to an inode: a directory has one, and the root none. */
export function expectedEntries(inode: Pick<Inode, "ino" | "type" | "links">): number {
  if (inode.ino === rootInode) return 0;
  return inode.type === "directory" ? 1 : inode.links;
}

/** What is wrong where so many entries lead to an inode. */
export function linksProblem(inode: Inode, entries: number): Problem | undefined {
  const { ino, type } = inode;
  const expected = expectedEntries(inode);
  if (entries === expected) return undefined;
  if (entries === 0) {
    return { kind: "unnamed-inode", message: `no name leads to inode ${ino}, a ${type}` };
  }
  const message = `${entries} names lead to inode ${ino}, a ${type} that has ${expected}`;
  return { kind: "wrong-links", message };
}

// ── objects ────────────────────────────────────────────────────────────────────────────────────

export interface RequiredObject {
  readonly object: ObjectId;
  readonly seq: number;
  /** On each of its OSTs it is at least so long. */
  readonly lengthBytes: number;
  /** The primary first. */
  readonly targets: readonly number[];
}

type FileData = Pick<Inode, "ino" | "layout" | "dataEndBytes">;

/** The objects that a file's data takes. */
export function* requiredObjects(file: FileData): Generator<RequiredObject> {
  for (let seq = 0;; seq++) {
    const required = requiredObject(file, seq);
    if (!required) return;
    yield required;
  }
}

/** Its object `seq`, where its data reaches there. */
export function requiredObject(
  { ino, layout, dataEndBytes }: FileData,
  seq: number,
): RequiredObject | undefined {
  if (!layout || seq >= objectCount(layout, dataEndBytes)) return undefined;
  return {
    object: objectId(ino, seq),
    seq,
    lengthBytes: objectLengthBytes(layout, seq, dataEndBytes),
    targets: targetsOfObject(layout, seq),
  };
}

/** Whether the inode's object `seq` may be on that OST. */
export function mayHaveObject(inode: Inode, seq: number, targetIndex: number): boolean {
  return inode.layout !== undefined && targetsOfObject(inode.layout, seq).includes(targetIndex);
}
