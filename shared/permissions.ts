// POSIX permission checks of one inode, pure. The first class that fits the caller decides: an owner
// without the bit is refused although "other" has it.

import type { Attributes, Caller } from "./model.ts";

export const access = { read: 4, write: 2, execute: 1 } as const;

export function isRoot(caller: Caller): boolean {
  return caller.uid === 0;
}

export function isInGroup(caller: Caller, gid: number): boolean {
  return caller.gid === gid || caller.groups.includes(gid);
}

/** Whether `caller` has all of `wanted`, an or of {@link access}. */
export function mayAccess(
  inode: Pick<Attributes, "type" | "mode" | "uid" | "gid">,
  caller: Caller,
  wanted: number,
): boolean {
  if (isRoot(caller)) {
    // Root reads and writes everything, and executes what anybody may.
    const executes = (wanted & access.execute) !== 0;
    return !executes || inode.type === "directory" || (inode.mode & 0o111) !== 0;
  }
  const shift = inode.uid === caller.uid ? 6 : isInGroup(caller, inode.gid) ? 3 : 0;
  return ((inode.mode >> shift) & wanted) === wanted;
}
