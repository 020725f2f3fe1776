// The check of objects, both ways: those that files need are on their OSTs, long enough; those that
// are on an OST are of a file that has them there.

import { parseObjectId } from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import type { ObjectId } from "../../shared/model.ts";
import { keyAfter, type KeyRange, type ReadTransaction } from "../../shared/store/store.ts";
import { readOnly } from "../../shared/store/transact.ts";
import { decodeNumber, type Inode } from "../schema.ts";
import type { Repair } from "./findings.ts";
import type { Tree } from "./namespace.ts";
import { type CheckContext, inodeIn, pause, sameBytes, valuesOf } from "./reading.ts";
import { addGarbage, raiseNextIno } from "./repairs.ts";
import {
  inodeProblem,
  mayHaveObject,
  type RequiredObject,
  requiredObject,
  requiredObjects,
} from "./rules.ts";
import type { ListedObject, Targets } from "./targets.ts";

// ── what files need ────────────────────────────────────────────────────────────────────────────

/** An object of a file that is to be on an OST. */
interface Wanted {
  readonly required: RequiredObject;
  readonly ino: number;
  readonly targetIndex: number;
  /** The inode's record that says so. */
  readonly value: Uint8Array;
}

/** One that is not, or not as long as it is to be. */
interface Missing extends Wanted {
  readonly length: number | null;
}

/** Looks objects up in batches, so that what it holds is bounded. */
export class RequiredObjects {
  readonly #context: CheckContext;
  readonly #targets: Targets;
  #wanted: Wanted[] = [];

  constructor(context: CheckContext, targets: Targets) {
    this.#context = context;
    this.#targets = targets;
  }

  readonly add = async (inode: Inode, value: Uint8Array): Promise<void> => {
    for (const required of requiredObjects(inode)) {
      for (const targetIndex of required.targets) {
        this.#wanted.push({ required, ino: inode.ino, targetIndex, value });
      }
      if (this.#wanted.length >= this.#context.pageEntries) await this.flush();
    }
  };

  async flush(): Promise<void> {
    const wanted = this.#wanted;
    this.#wanted = [];
    const byTarget = Map.groupBy(wanted, ({ targetIndex }) => targetIndex);
    const missing = await Promise.all(
      Array.from(byTarget, ([target, ofTarget]) => this.#missingAmong(target, ofTarget)),
    );
    await this.#lookAgain(missing.flat());
  }

  async #missingAmong(targetIndex: number, wanted: readonly Wanted[]): Promise<Missing[]> {
    const objects = wanted.map(({ required }) => required.object);
    const lengths = await this.#targets.lengthsOf(targetIndex, objects);
    if (!lengths) return [];
    return wanted.flatMap((each) => {
      const length = lengths.get(each.required.object) ?? null;
      const isThere = length !== null && length >= each.required.lengthBytes;
      return isThere ? [] : [{ ...each, length }];
    });
  }

  /**
   * An object is missing where the inode's record said before and after the look that it must be
   * there, and has not changed between: not been cut and written again.
   */
  async #lookAgain(missing: readonly Wanted[]): Promise<void> {
    for (let round = 0; missing.length > 0; round++) {
      if (round === limits.checkRoundsMax) return this.#context.report.addUndecided(missing.length);
      await pause(this.#context, limits.checkPauseMs);
      const wanted = await this.#wantedNow(missing);
      const byTarget = Map.groupBy(wanted, ({ targetIndex }) => targetIndex);
      const changed: Wanted[] = [];
      for (const [target, ofTarget] of byTarget) {
        const stillMissing = await this.#missingAmong(target, ofTarget);
        const keys = stillMissing.map(({ ino }) => this.#context.schema.inode(ino));
        const values = await valuesOf(this.#context, keys);
        for (const [index, each] of stillMissing.entries()) {
          if (sameBytes(values[index], each.value)) await this.#addMissing(each);
          else changed.push(each);
        }
      }
      missing = changed;
    }
  }

  /** Those that are still wanted, as the inodes are now. */
  async #wantedNow(missing: readonly Wanted[]): Promise<Wanted[]> {
    const keys = missing.map(({ ino }) => this.#context.schema.inode(ino));
    const values = await valuesOf(this.#context, keys);
    return missing.flatMap(({ ino, targetIndex, required: { seq } }, index) => {
      const value = values[index];
      const inode = inodeIn(value);
      const required = inode && !inodeProblem(ino, inode) && requiredObject(inode, seq);
      return value && required ? [{ ino, targetIndex, required, value }] : [];
    });
  }

  async #addMissing({ ino, targetIndex, required, length }: Missing): Promise<void> {
    const { object } = required;
    const which = `object ${object} of inode ${ino} on OST ${targetIndex}`;
    const finding = length === null
      ? { kind: "missing-object", message: `${which} does not exist` } as const
      : {
        kind: "short-object",
        message: `${which} has ${length} bytes, and its file needs ${required.lengthBytes}`,
      } as const;
    const repair: Repair | string = required.targets.length < 2
      ? "there is no other replica"
      : () => this.#repair(required, targetIndex);
    await this.#context.report.add({ ...finding, ino, targetIndex, object }, repair);
  }

  async #repair(required: RequiredObject, targetIndex: number): Promise<boolean> {
    await this.#targets.repair(required);
    const lengths = await this.#targets.lengthsOf(targetIndex, [required.object]);
    return (lengths?.get(required.object) ?? -1) >= required.lengthBytes;
  }
}

// ── what is on the OSTs ────────────────────────────────────────────────────────────────────────

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
      for await (const page of this.#targets.listObjects(index)) {
        await this.#checkPage(index, page);
        this.totals.objects += page.length;
        for (const { lengthBytes } of page) this.totals.bytes += lengthBytes;
        this.#context.onProgress({
          ...{ stage: "objects", done: this.totals.objects },
          expected: this.#targets.expectedObjects,
        });
      }
    }
  }

  async #checkPage(targetIndex: number, page: readonly ListedObject[]): Promise<void> {
    const { schema } = this.#context;
    const byInode = Map.groupBy(page, ({ object }) => parseObjectId(object).ino);
    const inos = [...byInode.keys()];
    const values = await valuesOf(this.#context, inos.map((ino) => schema.inode(ino)));
    const unknown: Unknown[] = [];
    for (const [index, ino] of inos.entries()) {
      const objects = byInode.get(ino)!.map(({ object }) => object);
      if (this.#watched.has(ino)) this.#seen.add(ino);
      const value = values[index];
      if (!value) unknown.push({ ino, objects });
      else await this.#checkPlaces(targetIndex, ino, { inode: inodeIn(value), objects });
    }
    if (unknown.length > 0) await this.#checkUnknown(targetIndex, unknown);
  }

  /** A layout never changes, so what is astray once is astray for good. */
  async #checkPlaces(
    targetIndex: number,
    ino: number,
    { inode, objects }: { inode: Inode | undefined; objects: readonly ObjectId[] },
  ): Promise<void> {
    // What is wrong with the inode itself is said already.
    if (!inode || inodeProblem(ino, inode)) return;
    for (const object of objects) {
      const { seq } = parseObjectId(object);
      if (mayHaveObject(inode, seq, targetIndex)) continue;
      const message = `object ${object} is on OST ${targetIndex}, and inode ${ino} has none there`;
      await this.#context.report.add(
        { kind: "astray-object", ino, targetIndex, object, message },
        "an OST destroys all objects of an inode or none",
      );
    }
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
    return { gone, nextIno: next ? decodeNumber(next) : 2 };
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
