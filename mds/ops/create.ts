// Operations that make entries: mkdir, symlink, create with commit and abort, link.

import { RustreError } from "../../shared/errors.ts";
import { fileBytesMax } from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import type { Attributes, Caller } from "../../shared/model.ts";
import type { MdsRequest, Mutation } from "../context.ts";
import type { MutationId } from "../mutation.ts";
import {
  addEntry,
  addGarbage,
  addInode,
  attributesOf,
  dropLink,
  findChild,
  findInode,
  inodeOfChild,
  inOrder,
  leaveUncommitted,
  newDirectoryAttributes,
  putInode,
  walk,
  walkToParent,
} from "../inodes.ts";
import { checkName, checkSymlinkTarget, symlinkBytes } from "../names.ts";
import { newOwnership, requireAddEntry, requireRemoveEntry } from "../permissions.ts";
import { chooseLayout, mergeWishes } from "../placement.ts";
import { type Child, decodePending, encodePending, type Inode } from "../values.ts";

type Reply = { attributes: Attributes };

/** A directory in which `caller` may make `name`, which is free. */
async function directoryForNewEntry(
  mutation: Mutation,
  request: { caller: Caller; directory: { ino: number; path: string }; name: string },
): Promise<Inode> {
  const { caller, name } = request;
  const { directory, child } = await walkToParent(mutation, caller, request.directory, name);
  if (name === "." || name === "..") throw new RustreError("EEXIST", "already exists");
  checkName(name);
  if (child) throw new RustreError("EEXIST", "already exists");
  requireAddEntry(directory, caller);
  return directory;
}

function newInode(
  mutation: Mutation,
  fields: Pick<Inode, "ino" | "type" | "uid" | "gid" | "mode"> & Partial<Inode>,
): Inode {
  const { nowNs } = mutation;
  return {
    links: 1,
    sizeBytes: 0,
    dataEndBytes: 0,
    atimeNs: nowNs,
    mtimeNs: nowNs,
    ctimeNs: nowNs,
    ...fields,
  };
}

export async function mkdir(
  mutation: Mutation,
  request: MdsRequest<"mkdir">,
  ino: number,
): Promise<Reply> {
  const directory = await directoryForNewEntry(mutation, request);
  const ownership = newOwnership(directory, request.caller, {
    mode: request.mode,
    isDirectory: true,
  });
  const inode = newInode(mutation, {
    ino,
    type: "directory",
    ...ownership,
    parent: directory.ino,
    defaults: directory.defaults,
  });
  addInode(mutation, inode);
  addEntry(mutation, directory.ino, request.name, inode);
  return { attributes: newDirectoryAttributes(inode) };
}

export async function symlink(
  mutation: Mutation,
  request: MdsRequest<"symlink">,
  ino: number,
): Promise<Reply> {
  checkSymlinkTarget(request.target);
  const directory = await directoryForNewEntry(mutation, request);
  const ownership = newOwnership(directory, request.caller, { mode: 0o777, isDirectory: false });
  const inode = newInode(mutation, {
    ino,
    type: "symlink",
    ...ownership,
    sizeBytes: symlinkBytes(request.target),
    target: request.target,
  });
  addInode(mutation, inode);
  addEntry(mutation, directory.ino, request.name, inode);
  return { attributes: await attributesOf(mutation, inode) };
}

/** An empty file, in the tree at once or pending. */
export async function create(
  mutation: Mutation,
  request: MdsRequest<"create">,
  ino: number,
): Promise<Reply> {
  const inode = request.pending
    ? await createPending(mutation, request, ino)
    : await createVisible(mutation, request, ino);
  return { attributes: await attributesOf(mutation, inode) };
}

type NewFile = Omit<MdsRequest<"create">, keyof MutationId | "pending">;

async function createVisible(mutation: Mutation, request: NewFile, ino: number): Promise<Inode> {
  if (request.replace) throw new RustreError("EINVAL", "only a pending create replaces a file");
  const directory = await directoryForNewEntry(mutation, request);
  const inode = newFile(mutation, request, directory, ino);
  addInode(mutation, inode);
  addEntry(mutation, directory.ino, request.name, inode);
  return inode;
}

/**
 * A file that nobody sees before its commit. It reserves nothing: of several pending creates of one
 * name the first commit wins, so that a client that dies blocks nobody. Where it fails it has written
 * nothing.
 */
export async function createPending(
  mutation: Mutation,
  request: NewFile,
  ino: number,
): Promise<Inode> {
  const { name, replace } = request;
  const directory = replace
    ? await directoryForReplacement(mutation, request)
    : await directoryForNewEntry(mutation, request);
  const inode = newFile(mutation, request, directory, ino);
  const pending = { inode, parent: directory.ino, name, replace };
  const { context: { schema }, transaction, clientId } = mutation;
  transaction.set(schema.pending(clientId, ino), encodePending(pending));
  return inode;
}

function newFile(
  mutation: Mutation,
  { caller, mode, layout: wish }: NewFile,
  directory: Inode,
  ino: number,
): Inode {
  const { maps, environment: { random } } = mutation.context;
  const targets = maps.current?.targets ?? [];
  const ownership = newOwnership(directory, caller, { mode, isDirectory: false });
  const layout = chooseLayout(targets, mergeWishes(wish, directory.defaults), random);
  return newInode(mutation, { ino, type: "file", ...ownership, layout });
}

/** Refuses early what the commit would refuse; the commit checks again. */
async function directoryForReplacement(
  mutation: Mutation,
  request: NewFile,
): Promise<Inode> {
  const { caller, name } = request;
  const { directory, child } = await walkToParent(mutation, caller, request.directory, name);
  checkName(name);
  await replaceable(mutation, { directory, child }, request);
  return directory;
}

/** What an entry leads to if a file with `replace` may replace it, `undefined` if there is none. */
async function replaceable(
  mutation: Mutation,
  { directory, child }: { directory: Inode; child: Child | undefined },
  { caller, replace }: { caller: Caller; replace: boolean },
): Promise<Inode | undefined> {
  if (!child) {
    requireAddEntry(directory, caller);
    return undefined;
  }
  if (!replace) throw new RustreError("EEXIST", "already exists");
  if (child.type === "directory") throw new RustreError("EISDIR", "is a directory");
  const inode = await inodeOfChild(mutation, child);
  requireRemoveEntry(directory, inode, caller);
  return inode;
}

export async function commit(mutation: Mutation, request: MdsRequest<"commit">): Promise<Reply> {
  const inode = await commitPending(mutation, request);
  return { attributes: await attributesOf(mutation, inode) };
}

/**
 * Gives a pending file its name, size and data, all at once. Where it fails it has written nothing.
 */
export async function commitPending(
  mutation: Mutation,
  request: Omit<MdsRequest<"commit">, keyof MutationId>,
): Promise<Inode> {
  const { transaction, context: { schema }, clientId } = mutation;
  const key = schema.pending(clientId, request.ino);
  const value = await transaction.get(key);
  if (!value) throw new RustreError("ENOENT", "the create was not pending any more");
  const pending = decodePending(value);
  checkSizes(pending.inode, request);
  const [directory, child] = await Promise.all([
    findInode(mutation, pending.parent),
    findChild(mutation, pending.parent, pending.name),
  ]);
  if (!directory) throw new RustreError("ENOENT", "the directory was removed meanwhile");
  const { caller } = request;
  const { replace } = pending;
  const replaced = await replaceable(mutation, { directory, child }, { caller, replace });
  if (replaced) dropLink(mutation, replaced);
  const inode = {
    ...pending.inode,
    sizeBytes: request.sizeBytes,
    dataEndBytes: request.dataEndBytes,
    atimeNs: request.atimeNs ?? mutation.nowNs,
    mtimeNs: request.mtimeNs ?? mutation.nowNs,
    ctimeNs: mutation.nowNs,
  };
  transaction.delete(key);
  addInode(mutation, inode);
  addEntry(mutation, directory.ino, pending.name, inode);
  if (!request.clean) leaveUncommitted(mutation, inode.ino);
  return inode;
}

function checkSizes(
  { layout }: Inode,
  { sizeBytes, dataEndBytes }: { sizeBytes: number; dataEndBytes: number },
): void {
  if (dataEndBytes > sizeBytes) {
    throw new RustreError(
      "EINVAL",
      `the data ends at ${dataEndBytes}, after the size ${sizeBytes}`,
    );
  }
  if (layout && sizeBytes > fileBytesMax(layout)) {
    throw new RustreError(
      "EFBIG",
      `a file of this layout has at most ${fileBytesMax(layout)} bytes`,
    );
  }
}

/** Removes a pending file; one that is gone already is no error. */
export async function abort(
  mutation: Mutation,
  { ino }: MdsRequest<"abort">,
): Promise<Record<never, never>> {
  const { transaction, context: { schema }, clientId } = mutation;
  const key = schema.pending(clientId, ino);
  const value = await transaction.get(key);
  if (value) {
    transaction.delete(key);
    addGarbage(mutation, decodePending(value).inode);
  }
  return {};
}

export async function link(mutation: Mutation, request: MdsRequest<"link">): Promise<Reply> {
  const [source, directory] = await inOrder([
    walk(mutation, request.caller, request.source, { follow: false }),
    directoryForNewEntry(mutation, request),
  ]);
  if (source.type === "directory") {
    throw new RustreError("EPERM", "a directory has no hard links");
  }
  if (source.links >= limits.linksMax) {
    throw new RustreError("EMLINK", `a file has at most ${limits.linksMax} links`);
  }
  const inode = { ...source, links: source.links + 1, ctimeNs: mutation.nowNs };
  putInode(mutation, inode);
  addEntry(mutation, directory.ino, request.name, inode);
  return { attributes: await attributesOf(mutation, inode) };
}
