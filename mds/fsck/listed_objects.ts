// The check that objects have their files: each that an OST has is of a file that has it there.

import { parseObjectId } from "../../shared/layout.ts";
import type { ObjectId } from "../../shared/model.ts";
import { keyAfter, type KeyRange, type ReadTransaction } from "../../shared/store/store.ts";
import { readOnly } from "../../shared/store/transact.ts";
import type { Inode } from "../values.ts";
import { checkLongObjects } from "./long_objects.ts";
import type { Tree } from "./namespace.ts";
import { type CheckContext, inodeIn, nextInoIn, valuesOf } from "./reading.ts";
import { addGarbage, raiseNextIno } from "./repairs.ts";
import { inodeProblem, longestBytes, mayHaveObject } from "./rules.ts";
import type { ListedObject, Targets } from "./targets.ts";
import { checkUsage, Listing } from "./usage.ts";

/** The objects of one inode on one OST that nobody seems to know. */
interface Unknown {
  readonly ino: number;
  readonly objects: readonly ObjectId[];
}

export interface ListedTotals {
  objects: number;
  bytes: number;
}

export class ListedObjects {
  readonly totals: ListedTotals = { objects: 0, bytes: 0 };
  readonly #context: CheckContext;
  readonly #targets: Targets;
  readonly #tree: Tree;
  /** Of these, objects were seen; asked of inodes that are lost. */
  readonly #watched: ReadonlySet<number>;
  readonly #seen = new Set<number>();

  /** `watched`: inodes of which is to be known whether they have objects. */
  constructor(
    context: CheckContext,
    { targets, tree, watched }: { targets: Targets; tree: Tree; watched: ReadonlySet<number> },
  ) {
    this.#context = context;
    this.#targets = targets;
    this.#tree = tree;
    this.#watched = watched;
  }

  /** Whether an OST has objects of a watched inode; nothing where not all could be asked. */
  readonly hasObjects = (ino: number): boolean | undefined => {
    if (this.#seen.has(ino)) return true;
    return this.#targets.failed.length > 0 ? undefined : false;
  };

  async check(): Promise<void> {
    for (const index of this.#targets.indexes) {
      const listing = new Listing();
      for await (const page of this.#targets.listObjects(index)) {
        listing.add(page);
        await this.#checkPage(index, page);
        this.#context.onProgress({
          ...{ stage: "objects", done: this.totals.objects + listing.objects },
          expected: this.#targets.expectedObjects,
        });
      }
      this.totals.objects += listing.objects;
      this.totals.bytes += listing.bytes;
      await checkUsage(this.#context, this.#targets, index, listing);
    }
  }

  async #checkPage(targetIndex: number, page: readonly ListedObject[]): Promise<void> {
    const { schema } = this.#context;
    const byInode = Map.groupBy(page, ({ object }) => parseObjectId(object).ino);
    const inos = [...byInode.keys()];
    const values = await valuesOf(this.#context, inos.map((ino) => schema.inode(ino)));
    const unknown: Unknown[] = [];
    const long: ObjectId[] = [];
    for (const [index, ino] of inos.entries()) {
      const objects = byInode.get(ino)!;
      if (this.#watched.has(ino)) this.#seen.add(ino);
      const value = values[index];
      if (!value) unknown.push({ ino, objects: objects.map(({ object }) => object) });
      else long.push(...await this.#checkPlaces(targetIndex, ino, inodeIn(value), objects));
    }
    if (unknown.length > 0) await this.#checkUnknown(targetIndex, unknown);
    await checkLongObjects(this.#context, this.#targets, targetIndex, long);
  }

  /**
   * Returns those that seem to be too long. A layout never changes, so what is astray once is astray
   * for good.
   */
  async #checkPlaces(
    targetIndex: number,
    ino: number,
    inode: Inode | undefined,
    objects: readonly ListedObject[],
  ): Promise<ObjectId[]> {
    const long: ObjectId[] = [];
    // What is wrong with the inode itself is said already.
    if (!inode || inodeProblem(ino, inode)) return long;
    for (const { object, lengthBytes } of objects) {
      const { seq } = parseObjectId(object);
      if (mayHaveObject(inode, seq, targetIndex)) {
        if (lengthBytes > longestBytes(inode, seq)) long.push(object);
        continue;
      }
      const message = `object ${object} is on OST ${targetIndex}, and inode ${ino} has none there`;
      await this.#context.report.add(
        { kind: "astray-object", ino, targetIndex, object, message },
        "an OST destroys all objects of an inode or none",
      );
    }
    return long;
  }

  async #checkUnknown(targetIndex: number, unknown: readonly Unknown[]): Promise<void> {
    const inos = unknown.map(({ ino }) => ino);
    const { gone, nextIno } = await goneInodes(this.#context, targetIndex, inos);
    const ofGone = unknown.filter(({ ino }) => gone.has(ino));
    if (ofGone.length === 0) return;
    // What was destroyed just before that moment was no orphan.
    const objects = ofGone.flatMap((each) => each.objects);
    const lengths = await this.#targets.lengthsOf(targetIndex, objects);
    for (const { ino, objects } of ofGone) {
      const left = objects.filter((object) => typeof lengths?.get(object) === "number");
      if (left.length > 0) await this.#addOrphan(targetIndex, { ino, objects: left }, nextIno);
    }
  }

  async #addOrphan(
    targetIndex: number,
    { ino, objects }: Unknown,
    nextIno: number,
  ): Promise<void> {
    const { report } = this.#context;
    const [object] = objects;
    const which = objects.length === 1 ? `object ${object}` : `${objects.length} objects`;
    const where = { ino, targetIndex, ...(object === undefined ? {} : { object }) };
    if (ino >= nextIno) {
      const message = `${which} on OST ${targetIndex} of inode ${ino}, which was never handed ` +
        `out: the next number is ${nextIno}. Is the store older than the OSTs?`;
      const repair = () => raiseNextIno(this.#context, ino);
      return await report.add({ kind: "number-not-handed-out", message, ...where }, repair);
    }
    const message = `${which} on OST ${targetIndex} of inode ${ino}, which does not exist`;
    const repair = this.#whyKept(ino) ?? (() => addGarbage(this.#context, targetIndex, ino));
    await report.add({ kind: "orphan-object", message, ...where }, repair);
  }

  /** Why orphans of the inode are not to be destroyed, where there is a reason. */
  #whyKept(ino: number): string | undefined {
    if (this.#mayBeNamed(ino)) return "an entry leads to it, or may: its inode may have been lost";
    if (this.#context.deleteOrphans) return undefined;
    return "it may be all there is of a file; --delete-orphans destroys it";
  }

  #mayBeNamed(ino: number): boolean {
    return this.#tree.unreadableEntries > 0 || this.#tree.links.entriesOf(ino) > 0;
  }
}

/**
 * Which of some inodes are neither in the tree nor pending nor to be destroyed, all at one moment:
 * an inode goes from pending to the tree to garbage, and never back.
 */
function goneInodes(
  context: CheckContext,
  targetIndex: number,
  inos: readonly number[],
): Promise<{ gone: Set<number>; nextIno: number }> {
  const { schema } = context;
  return readOnly(context, async (transaction) => {
    const snapshot = { snapshot: true };
    const next = await transaction.get(schema.nextIno, snapshot);
    const keys = inos.flatMap((ino) => [schema.inode(ino), schema.garbage(targetIndex, ino)]);
    const values = await Promise.all(keys.map((key) => transaction.get(key, snapshot)));
    const gone = new Set(inos.filter((_ino, at) => !values[2 * at] && !values[2 * at + 1]));
    if (gone.size > 0) await removePending(transaction, context, gone);
    return { gone, nextIno: nextInoIn(next) };
  });
}

async function removePending(
  transaction: ReadTransaction,
  { schema, pageEntries: limit }: CheckContext,
  inos: Set<number>,
): Promise<void> {
  let { begin, end }: KeyRange = schema.allOf("pending");
  for (;;) {
    const page = await transaction.getRange({ begin, end }, { limit, snapshot: true });
    for (const { key } of page) inos.delete(schema.inoOf(key));
    const last = page.at(-1);
    if (!last || page.length < limit) return;
    begin = keyAfter(last.key);
  }
}
