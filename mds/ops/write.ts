// Writing to existing files: who has one open, how far its data goes, and cutting it.
//
// A cut changes the inode first and the objects later, by the collector; until then the inode has a
// truncation record. What lies behind the new end is never read again, since readers stop at the
// inode's data end; but a writer would uncover it, so nobody opens the file for writing while the
// record is there, and nobody cuts a file that is open for writing.
//
// The same record is left by a writer that ends without having committed all that it wrote behind
// the data's end. While others have the file open for writing it only waits: a cut would take what
// they are about to commit. They were writers at the same time as the one that failed, and if they
// make the file grow over its bytes, these show, as bytes that were written at that time may.

import { RustreError } from "../../shared/errors.ts";
import { fileBytesMax } from "../../shared/layout.ts";
import type { Attributes } from "../../shared/model.ts";
import type { MdsRequest, Mutation } from "../context.ts";
import {
  attributesOf,
  findInode,
  getInode,
  inOrder,
  leaveUncommitted,
  putInode,
  walk,
} from "../inodes.ts";
import { access, requireAccess } from "../permissions.ts";
import { decodeNumber, encodeNumber, type Inode, present, type Writer } from "../values.ts";

type Reply = { attributes: Attributes };

/** Who has the file open knows its size, and what lies behind its end, as they were before. */
export async function requireNoWriter({ transaction, context }: Mutation, ino: number) {
  const [writer] = await transaction.getRange(context.schema.writers(ino), { limit: 1 });
  if (writer) throw new RustreError("EBUSY", "the file is open for writing");
}

async function requireWriter({ transaction, context }: Mutation, writer: Writer): Promise<void> {
  if (await transaction.get(context.schema.writer(writer))) return;
  throw new RustreError("EBADF", "the file is not open for writing");
}

/** A truncation record under a writer waits for the last one, and is in nobody's way until then. */
async function requireNoCut({ transaction, context: { schema } }: Mutation, ino: number) {
  if (!await transaction.get(schema.truncation(ino))) return;
  const [writer] = await transaction.getRange(schema.writers(ino), { limit: 1 });
  if (!writer) throw new RustreError("EAGAIN", "the file is still being cut");
}

/** The inode with its new size; objects that reach over it are left to the collector to cut. */
export async function truncate(
  { transaction, context, noteCut }: Mutation,
  inode: Inode,
  sizeBytes: number,
): Promise<Inode> {
  if (sizeBytes >= inode.dataEndBytes) return { ...inode, sizeBytes };
  const key = context.schema.truncation(inode.ino);
  const earlier = await transaction.get(key);
  const before = Math.max(inode.dataEndBytes, earlier ? decodeNumber(earlier) : 0);
  transaction.set(key, encodeNumber(before));
  noteCut();
  return { ...inode, sizeBytes, dataEndBytes: sizeBytes };
}

export async function openWrite(
  mutation: Mutation,
  { caller, place, handle }: MdsRequest<"openWrite">,
): Promise<Reply> {
  const inode = await walk(mutation, caller, place, { follow: true });
  if (inode.type === "directory") throw new RustreError("EISDIR", "is a directory");
  if (!inode.layout) throw new RustreError("EINVAL", "not a regular file");
  requireAccess(inode, caller, access.write);
  await requireNoCut(mutation, inode.ino);
  const { transaction, context: { schema }, clientId } = mutation;
  const writer = { ino: inode.ino, clientId, handle };
  transaction.set(schema.writer(writer), present);
  transaction.set(schema.writing(writer), present);
  return { attributes: await attributesOf(mutation, inode) };
}

export async function commitWrite(
  mutation: Mutation,
  { ino, handle, dataEndBytes, mtimeNs }: MdsRequest<"commitWrite">,
): Promise<Reply> {
  const { clientId, nowNs } = mutation;
  const [, inode] = await inOrder([
    requireWriter(mutation, { ino, clientId, handle }),
    getInode(mutation, ino),
  ]);
  if (inode.layout && dataEndBytes > fileBytesMax(inode.layout)) {
    const most = fileBytesMax(inode.layout);
    throw new RustreError("EFBIG", `a file of this layout has at most ${most} bytes`);
  }
  const changed = {
    ...inode,
    dataEndBytes: Math.max(inode.dataEndBytes, dataEndBytes),
    sizeBytes: Math.max(inode.sizeBytes, dataEndBytes),
    mtimeNs: mtimeNs ?? nowNs,
    ctimeNs: nowNs,
  };
  putInode(mutation, changed);
  return { attributes: await attributesOf(mutation, changed) };
}

/** Closing what is not open is no error. */
export async function closeWrite(
  mutation: Mutation,
  { ino, handle, clean = false }: MdsRequest<"closeWrite">,
): Promise<Record<never, never>> {
  const { transaction, context: { schema }, clientId, noteCut } = mutation;
  const writer = { ino, clientId, handle };
  // What an earlier writer left may have waited for this one only.
  if (clean && await transaction.get(schema.truncation(ino), { snapshot: true })) noteCut();
  if (!clean && await transaction.get(schema.writer(writer))) {
    // The objects of a removed file are destroyed as a whole.
    if (await findInode(mutation, ino)) leaveUncommitted(mutation, ino);
  }
  transaction.delete(schema.writer(writer));
  transaction.delete(schema.writing(writer));
  return {};
}
