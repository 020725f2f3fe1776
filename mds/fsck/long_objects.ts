// Objects that reach behind the end of their file's data, where nobody writes and nothing is to be
// cut: if the file grows over it, what is there shows as its data.

import { parseObjectId } from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import type { ObjectId } from "../../shared/model.ts";
import { equalBytes } from "../../shared/store/key_range.ts";
import type { ReadTransaction } from "../../shared/store/store.ts";
import { readOnly } from "../../shared/store/transact.ts";
import { type CheckContext, inodeIn, pause } from "./reading.ts";
import { addCut } from "./repairs.ts";
import { inodeProblem, longestBytes } from "./rules.ts";
import type { Targets } from "./targets.ts";

interface Long {
  readonly object: ObjectId;
  readonly ino: number;
  /** The inode's record that says how long the object is at most. */
  readonly value: Uint8Array;
  readonly longestBytes: number;
}

/**
 * Each look at the OST is between two at the store that find the same: the file as it was, no
 * writer, no cut. A writer that failed between them, and was cut, would show in one look at the
 * most; so there are several, and all must find the object too long.
 */
export async function checkLongObjects(
  context: CheckContext,
  targets: Targets,
  targetIndex: number,
  objects: readonly ObjectId[],
): Promise<void> {
  let long = await restingNow(context, objects);
  let lengths: ReadonlyMap<ObjectId, number | null> | undefined;
  for (let look = 0; look < limits.checkLooks && long.length > 0; look++) {
    if (look > 0) await pause(context, limits.checkPauseMs);
    lengths = await targets.lengthsOf(targetIndex, long.map(({ object }) => object));
    const isLong = (each: Long) => (lengths?.get(each.object) ?? 0) > each.longestBytes;
    long = await stillResting(context, long.filter(isLong));
  }
  const byInode = Map.groupBy(long, ({ ino }) => ino);
  for (const [ino, [first, ...others]] of byInode) {
    const { object, value, longestBytes } = first!;
    const more = others.length === 0 ? "" : `, and ${others.length} more of it`;
    const message = `object ${object} of inode ${ino} on OST ${targetIndex} has ` +
      `${lengths?.get(object)} bytes, and its file has ${longestBytes} there${more}`;
    const repair = context.deleteOrphans
      ? () => addCut(context, { ino, value })
      : "it may be all there is of what was written; --delete-orphans cuts it off";
    await context.report.add({ kind: "long-object", ino, targetIndex, object, message }, repair);
  }
}

async function stillResting(context: CheckContext, long: readonly Long[]): Promise<Long[]> {
  const now = await restingNow(context, long.map(({ object }) => object));
  const byObject = new Map(now.map((each) => [each.object, each.value]));
  return long.filter(({ object, value }) => equalBytes(byObject.get(object), value));
}

/** Those whose file nobody writes, and that nobody is to cut, all at one moment. */
function restingNow(context: CheckContext, objects: readonly ObjectId[]): Promise<Long[]> {
  if (objects.length === 0) return Promise.resolve([]);
  return readOnly(context, async (transaction) => {
    const resting = await Promise.all(
      objects.map((object) => restingFile(transaction, context, object)),
    );
    return resting.flatMap((each) => each ? [each] : []);
  });
}

async function restingFile(
  transaction: ReadTransaction,
  { schema }: CheckContext,
  object: ObjectId,
): Promise<Long | undefined> {
  const { ino, seq } = parseObjectId(object);
  const snapshot = { snapshot: true };
  const [value, cut, writers] = await Promise.all([
    transaction.get(schema.inode(ino), snapshot),
    transaction.get(schema.truncation(ino), snapshot),
    transaction.getRange(schema.writers(ino), { limit: 1, ...snapshot }),
  ]);
  const inode = inodeIn(value);
  if (!value || !inode || inodeProblem(ino, inode) || cut || writers.length > 0) return undefined;
  return { object, ino, value, longestBytes: longestBytes(inode, seq) };
}
