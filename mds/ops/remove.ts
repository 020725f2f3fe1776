// Operations that remove entries: unlink and rmdir.

import { RustreError } from "../../shared/errors.ts";
import type { MdsRequest, Mutation } from "../context.ts";
import {
  dropDirectory,
  dropLink,
  getChild,
  inodeOfChild,
  isEmptyDirectory,
  removeEntry,
  walkToParent,
} from "../inodes.ts";
import { checkName } from "../names.ts";
import { requireRemoveEntry } from "../permissions.ts";

type Nothing = Record<never, never>;

export async function unlink(
  mutation: Mutation,
  { caller, directory: place, name }: MdsRequest<"unlink">,
): Promise<Nothing> {
  const directory = await walkToParent(mutation, caller, place);
  checkName(name);
  const child = await getChild(mutation, directory.ino, name);
  const inode = await inodeOfChild(mutation, child);
  requireRemoveEntry(directory, inode, caller);
  if (child.type === "directory") throw new RustreError("EISDIR", "is a directory");
  removeEntry(mutation, directory.ino, name, child);
  dropLink(mutation, inode);
  return {};
}

export async function rmdir(
  mutation: Mutation,
  { caller, directory: place, name }: MdsRequest<"rmdir">,
): Promise<Nothing> {
  const directory = await walkToParent(mutation, caller, place);
  checkName(name);
  const child = await getChild(mutation, directory.ino, name);
  const inode = await inodeOfChild(mutation, child);
  requireRemoveEntry(directory, inode, caller);
  if (child.type !== "directory") throw new RustreError("ENOTDIR", "not a directory");
  if (!(await isEmptyDirectory(mutation, child.ino))) {
    throw new RustreError("ENOTEMPTY", "the directory is not empty");
  }
  removeEntry(mutation, directory.ino, name, child);
  dropDirectory(mutation, child.ino);
  return {};
}
