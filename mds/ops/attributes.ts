// setattr and the layout defaults of directories.

import { RustreError } from "../../shared/errors.ts";
import { fileBytesMax } from "../../shared/layout.ts";
import type { Attributes } from "../../shared/model.ts";
import type { MdsRequest, Mutation } from "../context.ts";
import { attributesOf, inOrder, putInode, walk, walkToDirectory } from "../inodes.ts";
import {
  access,
  isInGroup,
  isRoot,
  modeBits,
  requireAccess,
  requireOwner,
  withoutForeignSetgid,
} from "../permissions.ts";
import { checkStripeBytes } from "../placement.ts";
import { encodeDirectoryTimes, type Inode } from "../values.ts";
import { requireNoWriter, truncate } from "./write.ts";

type Reply = { attributes: Attributes };
type SetAttributes = MdsRequest<"setattr">;

export async function setattr(mutation: Mutation, request: SetAttributes): Promise<Reply> {
  let inode = await walk(mutation, request.caller, request.place, { follow: request.follow });
  inode = changeOwner(inode, request);
  inode = changeMode(inode, request);
  inode = changeTimes(mutation, inode, request);
  inode = await changeSize(mutation, inode, request);
  inode = { ...inode, ctimeNs: mutation.nowNs };
  putInode(mutation, inode);
  if (inode.type === "directory" && request.mtimeNs !== undefined) {
    const key = mutation.context.schema.directoryTimes(inode.ino);
    mutation.transaction.set(key, encodeDirectoryTimes(inode));
  }
  return { attributes: await attributesOf(mutation, inode) };
}

/** Root gives files away; an owner only to a group that he is in. */
function changeOwner(inode: Inode, { caller, uid, gid }: SetAttributes): Inode {
  if (uid === undefined && gid === undefined) return inode;
  if (!isRoot(caller)) {
    requireOwner(inode, caller);
    if (uid !== undefined && uid !== inode.uid) {
      throw new RustreError("EPERM", "only root gives a file to another user");
    }
    if (gid !== undefined && gid !== inode.gid && !isInGroup(caller, gid)) {
      throw new RustreError("EPERM", `not a member of group ${gid}`);
    }
  }
  const dropped = inode.type === "file" ? modeBits.setuid | modeBits.setgid : 0;
  return { ...inode, uid: uid ?? inode.uid, gid: gid ?? inode.gid, mode: inode.mode & ~dropped };
}

function changeMode(inode: Inode, { caller, mode }: SetAttributes): Inode {
  if (mode === undefined) return inode;
  requireOwner(inode, caller);
  if (inode.type === "symlink") {
    throw new RustreError("EINVAL", "a symbolic link has no mode of its own");
  }
  return {
    ...inode,
    mode: inode.type === "file" ? withoutForeignSetgid(mode, inode.gid, caller) : mode,
  };
}

/** Explicit times are for the owner, "now" is for whoever may write as well. */
function changeTimes({ nowNs }: Mutation, inode: Inode, request: SetAttributes): Inode {
  const { caller, atimeNs, mtimeNs } = request;
  if (atimeNs === undefined && mtimeNs === undefined) return inode;
  const explicit = typeof atimeNs === "bigint" || typeof mtimeNs === "bigint";
  if (explicit) requireOwner(inode, caller);
  else if (caller.uid !== inode.uid) requireAccess(inode, caller, access.write);
  const resolve = (time: bigint | "now" | undefined, old: bigint) =>
    time === undefined ? old : time === "now" ? nowNs : time;
  return {
    ...inode,
    atimeNs: resolve(atimeNs, inode.atimeNs),
    mtimeNs: resolve(mtimeNs, inode.mtimeNs),
  };
}

async function changeSize(
  mutation: Mutation,
  inode: Inode,
  { caller, sizeBytes, mtimeNs }: SetAttributes,
): Promise<Inode> {
  if (sizeBytes === undefined) return inode;
  if (inode.type === "directory") throw new RustreError("EISDIR", "is a directory");
  if (!inode.layout) throw new RustreError("EINVAL", "not a regular file");
  requireAccess(inode, caller, access.write);
  if (sizeBytes > fileBytesMax(inode.layout)) {
    const most = fileBytesMax(inode.layout);
    throw new RustreError("EFBIG", `a file of this layout has at most ${most} bytes`);
  }
  const [, resized] = await inOrder([
    requireNoWriter(mutation, inode.ino),
    truncate(mutation, inode, sizeBytes),
  ]);
  return mtimeNs === undefined ? { ...resized, mtimeNs: mutation.nowNs } : resized;
}

export async function setLayoutDefaults(
  mutation: Mutation,
  request: MdsRequest<"setLayoutDefaults">,
): Promise<Reply> {
  const inode = await walkToDirectory(mutation, request.caller, request.directory);
  requireOwner(inode, request.caller);
  checkStripeBytes(request.defaults.stripeBytes);
  const defaults = { ...inode.defaults, ...request.defaults };
  const changed = { ...inode, defaults, ctimeNs: mutation.nowNs };
  putInode(mutation, changed);
  return { attributes: await attributesOf(mutation, changed) };
}
