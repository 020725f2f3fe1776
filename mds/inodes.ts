// Reads and writes of single inodes and entries, and the walk of a path: what all operations share.

import { assert } from "../shared/assert.ts";
import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { type Attributes, type Caller, rootInode } from "../shared/model.ts";
import type { Place } from "../shared/rpc/protocol.ts";
import type { Mutation, ReadOperation } from "./context.ts";
import { namesOf } from "./names.ts";
import { access, requireAccess } from "./permissions.ts";
import {
  type Child,
  decodeChild,
  decodeCounter,
  decodeDirectoryTimes,
  decodeInode,
  encodeChild,
  encodeDirectoryTimes,
  encodeInode,
  type Inode,
  present,
} from "./schema.ts";

// ── reading ────────────────────────────────────────────────────────────────────────────────────

export async function findInode(
  { transaction, context }: ReadOperation,
  ino: number,
): Promise<Inode | undefined> {
  const value = await transaction.get(context.schema.inode(ino));
  return value && decodeInode(value);
}

export async function getInode(operation: ReadOperation, ino: number): Promise<Inode> {
  const inode = await findInode(operation, ino);
  if (!inode) throw new RustreError("ENOENT", "no such file or directory");
  return inode;
}

export async function findChild(
  { transaction, context }: ReadOperation,
  directory: number,
  name: string,
): Promise<Child | undefined> {
  const value = await transaction.get(context.schema.child(directory, name));
  return value && decodeChild(value);
}

export async function getChild(
  operation: ReadOperation,
  directory: number,
  name: string,
): Promise<Child> {
  const child = await findChild(operation, directory, name);
  if (!child) throw new RustreError("ENOENT", "no such file or directory");
  return child;
}

/** The inode that an entry names; an entry without one is a broken store. */
export async function inodeOfChild(operation: ReadOperation, child: Child): Promise<Inode> {
  const inode = await findInode(operation, child.ino);
  assert(inode, `a directory entry names inode ${child.ino}, which does not exist`);
  return inode;
}

export async function isEmptyDirectory(
  { transaction, context }: ReadOperation,
  ino: number,
): Promise<boolean> {
  const first = await transaction.getRange(context.schema.children(ino), { limit: 1 });
  return first.length === 0;
}

/** An inode as callers see it; of a directory with what is kept beside it. */
export async function attributesOf(operation: ReadOperation, inode: Inode): Promise<Attributes> {
  if (inode.type !== "directory") return plainAttributes(inode);
  const { transaction, context: { schema } } = operation;
  const [links, times] = await Promise.all([
    transaction.get(schema.directoryLinks(inode.ino)),
    transaction.get(schema.directoryTimes(inode.ino)),
  ]);
  const { mtimeNs, ctimeNs } = times ? decodeDirectoryTimes(times) : inode;
  return {
    ...plainAttributes(inode),
    links: 2 + decodeCounter(links),
    mtimeNs,
    ctimeNs: ctimeNs > inode.ctimeNs ? ctimeNs : inode.ctimeNs,
  };
}

/** Field by field: leaving out some by a rest pattern costs five times as much. */
function plainAttributes(inode: Inode): Attributes {
  const { layout, defaults } = inode;
  const attributes: Attributes = {
    ino: inode.ino,
    type: inode.type,
    mode: inode.mode,
    uid: inode.uid,
    gid: inode.gid,
    links: inode.links,
    sizeBytes: inode.sizeBytes,
    dataEndBytes: inode.dataEndBytes,
    atimeNs: inode.atimeNs,
    mtimeNs: inode.mtimeNs,
    ctimeNs: inode.ctimeNs,
  };
  if (layout) attributes.layout = layout;
  if (defaults) attributes.defaults = defaults;
  return attributes;
}

// ── walking ────────────────────────────────────────────────────────────────────────────────────

/**
 * The inode at a place. Each directory on the way must be searchable by the caller. Symbolic links
 * on the way are followed, one at the end only with `follow`.
 */
export async function walk(
  operation: ReadOperation,
  caller: Caller,
  place: Place,
  options: { follow: boolean },
): Promise<Inode> {
  let current = await getInode(operation, place.ino);
  const names = namesOf(place.path);
  let linksFollowed = 0;
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (current.type !== "directory") throw new RustreError("ENOTDIR", "not a directory");
    if (name === "" || name === ".") continue;
    requireAccess(current, caller, access.execute);
    const next: Inode = name === ".."
      ? await getInode(operation, current.parent ?? rootInode)
      : await inodeOfChild(operation, await getChild(operation, current.ino, name));
    if (next.type === "symlink" && (names.length > 0 || options.follow)) {
      if (++linksFollowed > limits.symlinksFollowedMax) {
        throw new RustreError("ELOOP", "too many symbolic links");
      }
      const target = next.target ?? "";
      names.unshift(...namesOf(target));
      if (target.startsWith("/")) current = await getInode(operation, rootInode);
    } else {
      current = next;
    }
  }
  return current;
}

/** {@link walk} to a directory. */
export async function walkToDirectory(
  operation: ReadOperation,
  caller: Caller,
  place: Place,
): Promise<Inode> {
  const inode = await walk(operation, caller, place, { follow: true });
  if (inode.type !== "directory") throw new RustreError("ENOTDIR", "not a directory");
  return inode;
}

/** {@link walkToDirectory} for an operation on a name in it, which has to search it. */
export async function walkToParent(
  operation: ReadOperation,
  caller: Caller,
  place: Place,
): Promise<Inode> {
  const directory = await walkToDirectory(operation, caller, place);
  requireAccess(directory, caller, access.execute);
  return directory;
}

// ── writing ────────────────────────────────────────────────────────────────────────────────────

export function putInode({ transaction, context }: Mutation, inode: Inode): void {
  transaction.set(context.schema.inode(inode.ino), encodeInode(inode));
}

/** Adds an entry and counts it where it is a directory. The caller has checked that it is free. */
export function addEntry(mutation: Mutation, directory: number, name: string, child: Child): void {
  const { transaction, context: { schema } } = mutation;
  transaction.set(schema.child(directory, name), encodeChild(child));
  if (child.type === "directory") transaction.add(schema.directoryLinks(directory), 1n);
  touchDirectory(mutation, directory);
}

/** Removes an entry, not what it names. */
export function removeEntry(
  mutation: Mutation,
  directory: number,
  name: string,
  child: Child,
): void {
  const { transaction, context: { schema } } = mutation;
  transaction.delete(schema.child(directory, name));
  if (child.type === "directory") transaction.add(schema.directoryLinks(directory), -1n);
  touchDirectory(mutation, directory);
}

function touchDirectory({ transaction, context, nowNs }: Mutation, directory: number): void {
  const times = { mtimeNs: nowNs, ctimeNs: nowNs };
  transaction.set(context.schema.directoryTimes(directory), encodeDirectoryTimes(times));
}

/** A new inode that is in the tree, counted. */
export function addInode(mutation: Mutation, inode: Inode): void {
  putInode(mutation, inode);
  mutation.transaction.add(mutation.context.schema.inodeCount, 1n);
}

/** Takes one link from a file or symbolic link; without links left it is garbage. */
export function dropLink(mutation: Mutation, inode: Inode): void {
  assert(inode.type !== "directory", "a directory loses no links");
  const { transaction, context: { schema } } = mutation;
  if (inode.links > 1) {
    putInode(mutation, { ...inode, links: inode.links - 1, ctimeNs: mutation.nowNs });
    return;
  }
  transaction.delete(schema.inode(inode.ino));
  transaction.add(schema.inodeCount, -1n);
  transaction.delete(schema.truncation(inode.ino));
  addGarbage(mutation, inode);
}

/** Removes an empty directory's inode. */
export function dropDirectory({ transaction, context: { schema } }: Mutation, ino: number): void {
  transaction.delete(schema.inode(ino));
  transaction.delete(schema.directoryLinks(ino));
  transaction.delete(schema.directoryTimes(ino));
  transaction.add(schema.inodeCount, -1n);
}

/** Leaves the inode's objects, on every OST that may hold one, to the collector. */
export function addGarbage({ transaction, context, noteGarbage }: Mutation, inode: Inode): void {
  if (inode.layout) noteGarbage();
  for (const target of new Set(inode.layout?.targets.flat())) {
    transaction.set(context.schema.garbage(target, inode.ino), present);
  }
}
