// Operations that remove entries: unlink and rmdir.

import { RustreError } from "../../shared/errors.ts";
import type { MdsRequest, Mutation } from "../context.ts";
import {
  dropDirectory,
  dropLink,
  inodeOfChild,
  isEmptyDirectory,
  removeEntry,
  requireChild,
  walkToParent,
} from "../inodes.ts";
import { checkName } from "../names.ts";
import { requireRemoveEntry } from "../permissions.ts";
import type { Child, Inode } from "../values.ts";

type Nothing = Record<never, never>;

/** An entry that the caller may remove, whatever its type. */
async function entryToRemove(
  mutation: Mutation,
  { caller, directory: place, name }: MdsRequest<"unlink" | "rmdir">,
): Promise<{ directory: Inode; child: Child; inode: Inode }> {
  const { directory, child: found } = await walkToParent(mutation, caller, place, name);
  checkName(name);
  const child = requireChild(found);
  const inode = await inodeOfChild(mutation, child);
  requireRemoveEntry(directory, inode, caller);
  return { directory, child, inode };
}

export async function unlink(
  mutation: Mutation,
  request: MdsRequest<"unlink">,
): Promise<Nothing> {
  const { name } = request;
  const { directory, child, inode } = await entryToRemove(mutation, request);
  if (child.type === "directory") throw new RustreError("EISDIR", "is a directory");
  removeEntry(mutation, directory.ino, name, child);
  dropLink(mutation, inode);
  return {};
}

export async function rmdir(
  mutation: Mutation,
  request: MdsRequest<"rmdir">,
): Promise<Nothing> {
  const { name } = request;
  const { directory, child } = await entryToRemove(mutation, request);
  if (child.type !== "directory") throw new RustreError("ENOTDIR", "not a directory");
  if (!(await isEmptyDirectory(mutation, child.ino))) {
    throw new RustreError("ENOTEMPTY", "the directory is not empty");
  }
  removeEntry(mutation, directory.ino, name, child);
  dropDirectory(mutation, child.ino);
  return {};
}
