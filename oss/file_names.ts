// Which file an object is in: `{prefix}/{ino:016x}_{seq:08x}`, prefix = 3 hex digits of
// (ino >> 8) & 0xfff.
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

/** The object of a file; `undefined` where the name is none of ours. */
export function objectOfFile(name: string): { object: ObjectId; ino: number } | undefined {
  if (!/^[0-9a-f]{16}_[0-9a-f]{8}$/.test(name)) return undefined;
  const object = name.replace("_", ":");
  try {
    return { object, ino: parseObjectId(object).ino };
  } catch {
    // A number that no inode has.
    return undefined;
  }
}
