// POSIX permission checks of the operations, pure. What a caller may do with one inode is in
// shared/permissions.ts.

import { RustreError } from "../shared/errors.ts";
import type { Caller } from "../shared/model.ts";
import { access, isInGroup, isRoot, mayAccess } from "../shared/permissions.ts";
import type { Inode } from "./values.ts";

export { access, isInGroup, isRoot, mayAccess } from "../shared/permissions.ts";

export const modeBits = { setuid: 0o4000, setgid: 0o2000, sticky: 0o1000 } as const;

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
