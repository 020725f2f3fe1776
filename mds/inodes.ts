// Reads and writes of single inodes and entries, and the walk of a path: what all operations share.

import { assert } from "../shared/assert.ts";
import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { type Attributes, type Caller, rootInode } from "../shared/model.ts";
import type { Place } from "../shared/protocol/mds.ts";
import type { Mutation, ReadOperation } from "./context.ts";
import { mayBeName, namesOf } from "./names.ts";
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
  encodeNumber,
  endUnknown,
  type Inode,
  present,
} from "./values.ts";

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

export function requireChild(child: Child | undefined): Child {
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

/** The results of what runs at once; of several errors the first in the list, not in time. */
export async function inOrder<Results extends readonly unknown[]>(
  running: readonly [...{ [Index in keyof Results]: Promise<Results[Index]> }],
): Promise<Results> {
  const settled = await Promise.allSettled(running);
  return settled.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  }) as unknown as Results;
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
    links: emptyDirectoryLinks + decodeCounter(links),
    mtimeNs,
    ctimeNs: ctimeNs > inode.ctimeNs ? ctimeNs : inode.ctimeNs,
  };
}

/** Its own name and its "."; each directory in it adds one, by its "..". */
const emptyDirectoryLinks = 2;

/** Of a directory that was just made: nothing is kept beside it yet. */
export function newDirectoryAttributes(inode: Inode): Attributes {
  return { ...plainAttributes(inode), links: emptyDirectoryLinks };
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

/** Where a walk is: an inode and, read with it, the entry that the walk asks for next. */
interface Step {
  readonly inode: Inode;
  readonly next: Child | undefined;
}

/**
 * Reads an inode and the entry of that name in it, if it is a directory, together: neither is needed
 * to ask for the other.
 */
async function stepTo(
  operation: ReadOperation,
  ino: number,
  next: string | undefined,
): Promise<Step | undefined> {
  const finding = findInode(operation, ino);
  const [inode, child] = next === undefined
    ? [await finding]
    : await Promise.all([finding, findChild(operation, ino, next)]);
  return inode && { inode, next: child };
}

/** {@link stepTo} where the walk begins, or goes on from a number that may be of nothing. */
async function beginAt(
  operation: ReadOperation,
  ino: number,
  next: string | undefined,
): Promise<Step> {
  const step = await stepTo(operation, ino, next);
  if (!step) throw new RustreError("ENOENT", "no such file or directory");
  return step;
}

/** The first of the names that is an entry's, unless the walk goes up before it. */
function nextEntry(names: readonly string[], last: string | undefined): string | undefined {
  const name = names.find((name) => name !== "" && name !== ".") ?? last;
  return name === undefined || name === ".." || !mayBeName(name) ? undefined : name;
}

/**
 * The inode at a place, and its entry `last`, if it is a directory that has it. Each directory on the
 * way must be searchable by the caller. Symbolic links on the way are followed, one at the end only
 * with `follow`.
 */
async function walkOn(
  operation: ReadOperation,
  caller: Caller,
  place: Place,
  { follow, last }: { readonly follow: boolean; readonly last?: string },
): Promise<Step> {
  const names = namesOf(place.path);
  let { inode: current, next } = await beginAt(operation, place.ino, nextEntry(names, last));
  let linksFollowed = 0;
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (current.type !== "directory") throw new RustreError("ENOTDIR", "not a directory");
    if (name === "" || name === ".") continue;
    requireAccess(current, caller, access.execute);
    const after = nextEntry(names, last);
    const step: Step = name === ".."
      ? await beginAt(operation, current.parent ?? rootInode, after)
      : await stepToChild(operation, next, after);
    if (step.inode.type === "symlink" && (names.length > 0 || follow)) {
      if (++linksFollowed > limits.symlinksFollowedMax) {
        throw new RustreError("ELOOP", "too many symbolic links");
      }
      const target = step.inode.target ?? "";
      names.unshift(...namesOf(target));
      const from = target.startsWith("/") ? rootInode : current.ino;
      ({ inode: current, next } = await beginAt(operation, from, nextEntry(names, last)));
    } else {
      ({ inode: current, next } = step);
    }
  }
  return { inode: current, next };
}

/** An entry without an inode is a broken store. */
async function stepToChild(
  operation: ReadOperation,
  child: Child | undefined,
  after: string | undefined,
): Promise<Step> {
  const { ino, type } = requireChild(child);
  const step = await stepTo(operation, ino, type === "directory" ? after : undefined);
  assert(step, `a directory entry names inode ${ino}, which does not exist`);
  return step;
}

/** The inode at a place; symbolic links are followed, one at the end only with `follow`. */
export async function walk(
  operation: ReadOperation,
  caller: Caller,
  place: Place,
  options: { follow: boolean },
): Promise<Inode> {
  return (await walkOn(operation, caller, place, options)).inode;
}

/** {@link walk} to a directory. */
export async function walkToDirectory(
  operation: ReadOperation,
  caller: Caller,
  place: Place,
): Promise<Inode> {
  const inode = await walk(operation, caller, place, { follow: true });
  return requireDirectory(inode);
}

function requireDirectory(inode: Inode): Inode {
  if (inode.type !== "directory") throw new RustreError("ENOTDIR", "not a directory");
  return inode;
}

/**
 * A directory for an operation on a name in it, which has to search it, and what it has under that
 * name; of a name that no entry may have nothing, and the caller refuses it.
 */
export async function walkToParent(
  operation: ReadOperation,
  caller: Caller,
  place: Place,
  name: string,
): Promise<{ directory: Inode; child: Child | undefined }> {
  const { inode, next } = await walkOn(operation, caller, place, { follow: true, last: name });
  const directory = requireDirectory(inode);
  requireAccess(directory, caller, access.execute);
  return { directory, child: next };
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

/**
 * Somebody who wrote the file has left behind the end of its data what he never committed, or may
 * have. The collector cuts it off when nobody has the file open for writing any more; it must not
 * become data when the data ends behind it.
 */
export function leaveUncommitted(
  { transaction, context: { schema }, noteCut }: Mutation,
  ino: number,
): void {
  transaction.set(schema.truncation(ino), encodeNumber(endUnknown));
  noteCut();
}

/** Leaves the inode's objects, on every OST that may hold one, to the collector. */
export function addGarbage({ transaction, context, noteGarbage }: Mutation, inode: Inode): void {
  if (inode.layout) noteGarbage();
  for (const target of new Set(inode.layout?.targets.flat())) {
    transaction.set(context.schema.garbage(target, inode.ino), present);
  }
}
