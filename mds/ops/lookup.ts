// Operations that only read: stat, readlink, readdir, statfs.

import { isUp } from "../../shared/cluster_map.ts";
import { RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Attributes, Usage } from "../../shared/model.ts";
import type { DirectoryEntry } from "../../shared/protocol/mds.ts";
import { keyAfter } from "../../shared/store/store.ts";
import { totalUsage } from "../../shared/usage.ts";
import type { MdsRequest, ReadOperation } from "../context.ts";
import { attributesOf, findInode, walk, walkToDirectory } from "../inodes.ts";
import { access, requireAccess } from "../permissions.ts";
import { type Child, decodeChild, decodeCounter } from "../values.ts";

export async function stat(
  operation: ReadOperation,
  { caller, place, follow, access: wanted }: MdsRequest<"stat">,
): Promise<{ attributes: Attributes }> {
  const inode = await walk(operation, caller, place, { follow });
  requireAccess(inode, caller, wanted);
  return { attributes: await attributesOf(operation, inode) };
}

export async function readlink(
  operation: ReadOperation,
  { caller, place }: MdsRequest<"readlink">,
): Promise<{ target: string }> {
  const inode = await walk(operation, caller, place, { follow: false });
  if (inode.target === undefined) throw new RustreError("EINVAL", "not a symbolic link");
  return { target: inode.target };
}

/**
 * One page of a directory. Pages are transactions of their own: an entry that is there all the time
 * is listed exactly once, one that comes or goes meanwhile may or may not be.
 */
export async function readdir(
  operation: ReadOperation,
  { caller, directory, after, limit, withAttributes }: MdsRequest<"readdir">,
): Promise<{ entries: DirectoryEntry[]; more: boolean }> {
  const { transaction, context: { schema } } = operation;
  if (withAttributes && limit > limits.readdirPlusPageMax) {
    throw new RustreError(
      "EINVAL",
      `a page with attributes has at most ${limits.readdirPlusPageMax}`,
    );
  }
  const inode = await walkToDirectory(operation, caller, directory);
  requireAccess(inode, caller, access.read);
  const { begin, end } = schema.children(inode.ino);
  const from = after === "" ? begin : keyAfter(schema.child(inode.ino, after));
  const rows = await transaction.getRange({ begin: from, end }, { limit, snapshot: true });
  const entries = rows.map(({ key, value }) => ({
    name: schema.childName(inode.ino, key),
    ...decodeChild(value),
  }));
  const more = rows.length === limit;
  if (!withAttributes) return { entries, more };
  requireAccess(inode, caller, access.execute);
  const whole = await Promise.all(entries.map((each) => withInode(operation, each)));
  const page = whole.slice(0, entriesThatFit(whole));
  return { entries: page, more: more || page.length < whole.length };
}

/** How many entries, one at least, surely fit into a reply: layouts may be wide. */
function entriesThatFit(entries: readonly DirectoryEntry[]): number {
  let roomBytes: number = limits.replyBodyBytesMax;
  let count = 0;
  for (const { name, attributes } of entries) {
    const targets = attributes?.layout?.targets.flat().length ?? 0;
    roomBytes -= 512 + name.length * 3 + targets * 8;
    if (roomBytes < 0 && count > 0) break;
    count++;
  }
  return count;
}

async function withInode(
  operation: ReadOperation,
  entry: Child & { name: string },
): Promise<DirectoryEntry> {
  const inode = await findInode(operation, entry.ino);
  if (!inode) throw new RustreError("STORE_FORMAT", `"${entry.name}" names no inode`);
  return { ...entry, attributes: await attributesOf(operation, inode) };
}

export async function statfs(
  { transaction, context }: ReadOperation,
): Promise<{ inodes: number; usage: Usage; targetsUp: number }> {
  const inodes = decodeCounter(await transaction.get(context.schema.inodeCount));
  const up = (context.maps.current?.targets ?? []).filter(isUp);
  const usage = totalUsage(up.map((target) => target.usage));
  return { inodes: Math.max(0, inodes), usage, targetsUp: up.length };
}
