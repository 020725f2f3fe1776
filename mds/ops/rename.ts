// rename, with replacement and the check that no directory moves into itself.

import { RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { type Caller, rootInode } from "../../shared/model.ts";
import type { MdsRequest, Mutation } from "../context.ts";
import {
  addEntry,
  dropDirectory,
  dropLink,
  getInode,
  inodeOfChild,
  inOrder,
  isEmptyDirectory,
  putInode,
  removeEntry,
  requireChild,
  walkToParent,
} from "../inodes.ts";
import { checkName } from "../names.ts";
import { access, requireAccess, requireAddEntry, requireRemoveEntry } from "../permissions.ts";
import type { Child, Inode } from "../values.ts";

export async function rename(
  mutation: Mutation,
  request: MdsRequest<"rename">,
): Promise<Record<never, never>> {
  const { caller, name, newName } = request;
  const [source, target] = await inOrder([
    walkToParent(mutation, caller, request.directory, name),
    walkToParent(mutation, caller, request.newDirectory, newName),
  ]);
  checkName(name);
  checkName(newName);
  const [from, to] = [source.directory, target.directory];
  const child = requireChild(source.child);
  const replaced = target.child;
  const inode = await inodeOfChild(mutation, child);
  requireRemoveEntry(from, inode, caller);
  if (replaced && request.noReplace) throw new RustreError("EEXIST", "already exists");
  // Two names of one file: both stay, as POSIX has it.
  if (replaced?.ino === child.ino) return {};
  if (inode.type === "directory") await requireMovable(mutation, { inode, from, to, caller });
  if (replaced) await removeReplaced(mutation, { child, replaced, to, newName, caller });
  else requireAddEntry(to, caller);

  removeEntry(mutation, from.ino, name, child);
  addEntry(mutation, to.ino, newName, child);
  const parent = inode.type === "directory" ? { parent: to.ino } : {};
  putInode(mutation, { ...inode, ...parent, ctimeNs: mutation.nowNs });
  return {};
}

/** A directory that changes its parent is written to, and must not come to lie below itself. */
async function requireMovable(
  mutation: Mutation,
  { inode, from, to, caller }: { inode: Inode; from: Inode; to: Inode; caller: Caller },
): Promise<void> {
  if (from.ino === to.ino) return;
  requireAccess(inode, caller, access.write);
  let above = to;
  for (let depth = 0; above.ino !== rootInode; depth++) {
    if (above.ino === inode.ino) {
      throw new RustreError("EINVAL", "a directory cannot move into itself");
    }
    if (depth >= limits.directoryDepthMax) {
      throw new RustreError("ELOOP", `over ${limits.directoryDepthMax} levels of directories`);
    }
    above = await getInode(mutation, above.parent ?? rootInode);
  }
}

/** Removes what the new name leads to, where a rename may replace it. */
async function removeReplaced(
  mutation: Mutation,
  { child, replaced, to, newName, caller }: {
    child: Child;
    replaced: Child;
    to: Inode;
    newName: string;
    caller: Caller;
  },
): Promise<void> {
  const inode = await inodeOfChild(mutation, replaced);
  requireRemoveEntry(to, inode, caller);
  if (replaced.type === "directory") {
    if (child.type !== "directory") throw new RustreError("EISDIR", "the target is a directory");
    if (!(await isEmptyDirectory(mutation, replaced.ino))) {
      throw new RustreError("ENOTEMPTY", "the target directory is not empty");
    }
    removeEntry(mutation, to.ino, newName, replaced);
    dropDirectory(mutation, replaced.ino);
    return;
  }
  if (child.type === "directory") {
    throw new RustreError("ENOTDIR", "the target is not a directory");
  }
  removeEntry(mutation, to.ino, newName, replaced);
  dropLink(mutation, inode);
}
