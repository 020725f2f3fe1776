// The check that files have their objects: each is on its OSTs, and long enough.

import { targetsOfLayout } from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import { RustreError } from "../../shared/errors.ts";
import { equalBytes } from "../../shared/store/key_range.ts";
import type { Inode } from "../values.ts";
import type { Repair } from "./findings.ts";
import { type CheckContext, inodeIn, pause, valuesOf } from "./reading.ts";
import { inodeProblem, type RequiredObject, requiredObject, requiredObjects } from "./rules.ts";
import type { Targets } from "./targets.ts";

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
    const unknown = await this.#unknownTargets(inode);
    for (const required of requiredObjects(inode)) {
      for (const targetIndex of required.targets) {
        if (unknown.includes(targetIndex)) continue;
        this.#wanted.push({ required, ino: inode.ino, targetIndex, value });
      }
      if (this.#wanted.length >= this.#context.pageEntries) await this.flush();
    }
  };

  /** OSTs that the layout names and the cluster does not have: nothing of the file there is left. */
  async #unknownTargets({ ino, layout }: Inode): Promise<readonly number[]> {
    const unknown: number[] = [];
    for (const targetIndex of layout ? targetsOfLayout(layout) : []) {
      if (await this.#targets.isKnown(targetIndex)) continue;
      unknown.push(targetIndex);
      const message = `the layout of inode ${ino} names OST ${targetIndex}, which the cluster ` +
        "does not have";
      const reason = "start that OST, or restore the file";
      await this.#context.report.add(
        { kind: "unknown-target", ino, targetIndex, message },
        reason,
      );
    }
    return unknown;
  }

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
          if (equalBytes(values[index], each.value)) await this.#addMissing(each);
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

  /** Throws where the object is no better than before: that is no work under way. */
  async #repair(required: RequiredObject, targetIndex: number): Promise<boolean> {
    const { object, lengthBytes, targets: [primary] } = required;
    const isRight = await this.#targets.repair(required);
    const lengths = await this.#targets.lengthsOf(targetIndex, [object]);
    if (isRight && (lengths?.get(object) ?? -1) >= lengthBytes) return true;
    const reason = targetIndex === primary
      ? "an object is taken to be as long as its first copy: copy the file, and remove the old one"
      : "no replica has all of it, or an OST did not answer";
    throw new RustreError("DATA_MISSING", reason);
  }
}
