// The objects of a store that are open: at most so many, those used last. One that the journal is
// still needed for stays until a checkpoint has taken care of it.

import { limits } from "../shared/limits.ts";
import type { ObjectId } from "../shared/model.ts";
import type { StoredObject } from "./stored_object.ts";

export class ObjectCache {
  /** In the order of their last use. */
  readonly #objects = new Map<ObjectId, StoredObject>();
  readonly #countMax: number;

  constructor(countMax: number = limits.openObjectsMax) {
    this.#countMax = countMax;
  }

  /** Whether {@link makeRoom} must come before {@link add}. */
  get full(): boolean {
    return this.#objects.size >= this.#countMax;
  }

  /** The object for one more user, who releases it. */
  use(object: ObjectId): StoredObject | undefined {
    const open = this.#objects.get(object);
    if (!open) return undefined;
    this.#objects.delete(object);
    this.#objects.set(object, open);
    open.users++;
    return open;
  }

  /** The object where it is open, without using it. */
  peek(object: ObjectId): StoredObject | undefined {
    return this.#objects.get(object);
  }

  /** Adds an object with its first user. */
  add(open: StoredObject): void {
    this.#objects.set(open.object, open);
    open.users++;
  }

  release(open: StoredObject): void {
    open.users--;
    if (open.users > 0) return;
    if (open.forgotten) open.closeFile();
    // Its making failed.
    else if (!open.exists) this.forget(open.object);
  }

  /**
   * Closes objects that nobody uses, those not used for longest first, until there is room; for
   * several, since it has to pass by all that cannot be closed.
   */
  makeRoom(): void {
    const enough = this.#countMax - 1 - Math.floor(this.#countMax / 32);
    for (const open of this.#objects.values()) {
      if (this.#objects.size <= enough) return;
      if (open.users === 0 && !open.isDirty) this.forget(open.object);
    }
  }

  /** Takes an object out; its file is closed once nobody uses it. */
  forget(object: ObjectId): void {
    const open = this.#objects.get(object);
    if (!open) return;
    this.#objects.delete(object);
    open.forgotten = true;
    if (open.users === 0) open.closeFile();
  }

  forgetAll(): void {
    for (const object of [...this.#objects.keys()]) this.forget(object);
  }

  [Symbol.iterator](): IterableIterator<StoredObject> {
    return this.#objects.values();
  }
}
