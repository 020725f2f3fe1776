// POSIX permission checks, pure. The first class that fits the caller decides: an owner without the
// bit is refused although "other" has it.

import { RustreError } from "../shared/errors.ts";
import type { Caller } from "../shared/model.ts";
import type { Inode } from "./schema.ts";

export const access = { read: 4, write: 2, execute: 1 } as const;

export const modeBits = { setuid: 0o4000, setgid: 0o2000, sticky: 0o1000 } as const;

export function isRoot(caller: Caller): boolean {
  return caller.uid === 0;
}

export function isInGroup(caller: Caller, gid: number): boolean {
  return caller.gid === gid || caller.groups.includes(gid);
}

/** Whether `caller` has all of `wanted`, an or of {@link access}. */
export function mayAccess(inode: Inode, caller: Caller, wanted: number): boolean {
  if (isRoot(caller)) {
    // Root reads and writes everything, and executes what anybody may.
    const executes = (wanted & access.execute) !== 0;
    return !executes || inode.type === "directory" || (inode.mode & 0o111) !== 0;
  }
  const shift = inode.uid === caller.uid ? 6 : isInGroup(caller, inode.gid) ? 3 : 0;
  return ((inode.mode >> shift) & wanted) === wanted;
}

export function requireAccess(inode: Inode, caller: Caller, wanted: number): void {
  if (!mayAccess(inode, caller, wanted)) throw new RustreError("EACCES", "permission denied");
}

/** Only the owner and root may change an inode's mode, explicit times, and defaults. */
export function requireOwner(inode: Inode, caller: Caller): void {
  if (!isRoot(caller) && inode.uid !== caller.uid) {
    throw new RustreError("EPERM", "only the owner may do that");
  }
}

/** Making an entry in `directory`. */
export function requireAddEntry(directory: Inode, caller: Caller): void {
  requireAccess(directory, caller, access.write | access.execute);
}

/** Removing or replacing the entry of `inode` in `directory`, sticky bit included. */
export function requireRemoveEntry(directory: Inode, inode: Inode, caller: Caller): void {
  requireAccess(directory, caller, access.write | access.execute);
  const sticky = (directory.mode & modeBits.sticky) !== 0;
  if (!sticky || isRoot(caller)) return;
  if (inode.uid !== caller.uid && directory.uid !== caller.uid) {
    throw new RustreError("EPERM", "the directory is sticky and the entry another user's");
  }
}

/** Owner, group and mode of a new inode: a setgid directory hands on its group. */
export function newOwnership(
  directory: Inode,
  caller: Caller,
  wish: { mode: number; isDirectory: boolean },
): { uid: number; gid: number; mode: number } {
  const inherits = (directory.mode & modeBits.setgid) !== 0;
  const gid = inherits ? directory.gid : caller.gid;
  let mode = wish.mode;
  if (wish.isDirectory && inherits) mode |= modeBits.setgid;
  else if (!wish.isDirectory) mode = withoutForeignSetgid(mode, gid, caller);
  return { uid: caller.uid, gid, mode };
}

/** A file's setgid bit is only for those who are in its group. */
export function withoutForeignSetgid(mode: number, gid: number, caller: Caller): number {
  return isRoot(caller) || isInGroup(caller, gid) ? mode : mode & ~modeBits.setgid;
}
