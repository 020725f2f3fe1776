// Which files an object has: `{prefix}/{ino:016x}_{seq:08x}` with its bytes, and the same with ".sum"
// for its checksums if they are not in an attribute; prefix = 3 hex digits of (ino >> 8) & 0xfff.
//
// All objects of an inode are in one directory, so that a destroy reads one directory and no more.
// 256 consecutive inodes share it, so that a sync of many small new files, whose inode numbers are
// consecutive, syncs few directories; the next 256 are in another, which spreads them over 4,096.

import { objectId, parseObjectId } from "../shared/layout.ts";
import type { ObjectId } from "../shared/model.ts";

const inodesPerDirectory = 256;
const directories = 4096;

/** The directory of an inode's objects. Inode numbers have 53 bits: too many for `>>`. */
export function prefixOf(ino: number): string {
  const number = Math.floor(ino / inodesPerDirectory) % directories;
  return number.toString(16).padStart(3, "0");
}

export function isPrefix(name: string): boolean {
  return /^[0-9a-f]{3}$/.test(name);
}

export function fileNameOf(object: ObjectId): string {
  const { ino, seq } = parseObjectId(object);
  return objectId(ino, seq).replace(":", "_");
}

/** Behind the name of an object's file: that of its checksums. */
export const checksumsSuffix = ".sum";
/** Behind that name: of one that is being written. */
export const draftSuffix = ".new";

export type FileKind = "bytes" | "checksums" | "draft";

/** Whose file a name is, and which; `undefined` where the name is none of ours. */
export function objectOfFile(
  name: string,
): { object: ObjectId; ino: number; kind: FileKind } | undefined {
  const match = /^([0-9a-f]{16})_([0-9a-f]{8})(\.sum(?:\.new)?)?$/.exec(name);
  if (!match) return undefined;
  const object = `${match[1]}:${match[2]}`;
  try {
    const { ino } = parseObjectId(object);
    const suffix = match[3];
    if (suffix === undefined) return { object, ino, kind: "bytes" };
    return { object, ino, kind: suffix === checksumsSuffix ? "checksums" : "draft" };
  } catch {
    // A number that no inode has.
    return undefined;
  }
}
