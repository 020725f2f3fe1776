// The rules that records of the store keep among each other, as pure functions: what fsck holds a
// live cluster to, and the tests a cluster at rest.

import * as v from "valibot";
import {
  fileBytesMax,
  objectCount,
  objectId,
  objectLengthBytes,
  targetsOfObject,
} from "../../shared/layout.ts";
import {
  attributesSchema,
  type FileType,
  inodeIdSchema,
  layoutSchema,
  layoutWishSchema,
  type ObjectId,
  rootInode,
} from "../../shared/model.ts";
import { checkName, symlinkBytes } from "../names.ts";
import type { Inode } from "../values.ts";
import type { FindingKind } from "./findings.ts";

/** A name in a directory, as the store has it. */
export interface Entry {
  readonly parent: number;
  readonly name: string;
  readonly ino: number;
  readonly type: FileType;
}

/** Whether there may be an entry of this name in a directory of this number. */
export function isEntry({ parent, name }: Pick<Entry, "parent" | "name">): boolean {
  if (!v.is(inodeIdSchema, parent) || typeof name !== "string") return false;
  try {
    checkName(name);
    return true;
  } catch {
    // Nobody could look it up.
    return false;
  }
}

export interface Problem {
  readonly kind: FindingKind;
  readonly message: string;
}

// ── an inode by itself ─────────────────────────────────────────────────────────────────────────

/** Those that every inode has, and that by themselves show whether they can be right. */
const fields = [
  ...["mode", "uid", "gid", "links", "sizeBytes", "dataEndBytes"] as const,
  ...["atimeNs", "mtimeNs", "ctimeNs"] as const,
];

/** What is wrong with the record under the key of inode `ino`, if anything. */
export function inodeProblem(ino: number, inode: Inode): string | undefined {
  if (inode.ino !== ino) return `it says that it is inode ${inode.ino}`;
  const bad = fields.find((field) => !v.is(attributesSchema.entries[field], inode[field]));
  if (bad) return `its ${bad} is ${inode[bad]}`;
  const { sizeBytes, dataEndBytes } = inode;
  if (dataEndBytes > sizeBytes) return `its data ends at ${dataEndBytes}, its size is ${sizeBytes}`;
  switch (inode.type) {
    case "file":
      return layoutProblem(inode);
    case "directory":
      return directoryProblem(inode);
    case "symlink":
      return symlinkProblem(inode);
  }
}

function layoutProblem({ layout, sizeBytes }: Inode): string | undefined {
  if (!v.is(layoutSchema, layout)) return "its layout is none";
  if (layout.targets.some((replicas) => new Set(replicas).size < replicas.length)) {
    return "its layout has two replicas of an object on one OST";
  }
  return sizeBytes > fileBytesMax(layout) ? `its size is ${sizeBytes}` : undefined;
}

function directoryProblem({ ino, parent, defaults }: Inode): string | undefined {
  if (ino === rootInode && parent !== rootInode) return "the root is in a directory";
  if (!v.is(inodeIdSchema, parent)) return "it is a directory in no directory";
  const areDefaults = defaults === undefined || v.is(layoutWishSchema, defaults);
  return areDefaults ? undefined : "its defaults for new files are none";
}

function symlinkProblem({ target, sizeBytes }: Inode): string | undefined {
  if (typeof target !== "string" || target === "") return "it is a link without a target";
  return symlinkBytes(target) === sizeBytes ? undefined : `its size is ${sizeBytes}`;
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
  // Without links and names it is no less lost: what loses its last link is removed.
  if (entries === expected && (entries > 0 || ino === rootInode)) return undefined;
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

/** How long the file's object `seq` is at most, where nobody is writing behind the data's end. */
export function longestBytes({ layout, dataEndBytes }: FileData, seq: number): number {
  return layout ? objectLengthBytes(layout, seq, dataEndBytes) : 0;
}

/** Whether the inode's object `seq` may be on that OST. */
export function mayHaveObject(inode: Inode, seq: number, targetIndex: number): boolean {
  return inode.layout !== undefined && targetsOfObject(inode.layout, seq).includes(targetIndex);
}
