// The objects of which a sync failed. The kernel reports such a failure once and may then take the
// lost bytes for written; this remembers, so that no later sync succeeds and no reader is given
// bytes that nobody may have. It forgets with the process: whoever asked for the sync was told.

import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { ObjectId } from "../shared/model.ts";

export class FailedObjects {
  readonly #reasons = new Map<ObjectId, string>();
  readonly #countMax: number;
  /** More failed than are remembered: the disk is at fault and every object is suspect. */
  #everything = false;

  constructor(countMax: number = limits.failedObjectsRemembered) {
    this.#countMax = countMax;
  }

  add(object: ObjectId, reason: string): void {
    if (this.#reasons.size >= this.#countMax) this.#everything = true;
    else this.#reasons.set(object, reason);
  }

  /** A destroyed object is nobody's concern. */
  forget(object: ObjectId): void {
    this.#reasons.delete(object);
  }

  has(object: ObjectId): boolean {
    return this.#reasonOf(object) !== undefined;
  }

  #reasonOf(object: ObjectId): string | undefined {
    return this.#everything ? "too many objects could not be synced" : this.#reasons.get(object);
  }

  /** Throws EIO if a sync of the object failed. */
  check(action: string, where: { object: ObjectId; targetIndex: number }): void {
    const reason = this.#reasonOf(where.object);
    if (reason === undefined) return;
    throw new RustreError(
      "EIO",
      `Cannot ${action} object "${where.object}" on OST ${where.targetIndex}: an earlier sync ` +
        `failed (${reason}), so its bytes may be lost`,
    );
  }
}
