// When a change of an object may happen: after those before it that touch the same blocks, by the
// cluster map that is in force, and not after its inode was destroyed.

import type { Clock } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import { parseObjectId } from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { ObjectId } from "../shared/model.ts";
import { DestroyedInodes } from "./destroyed_inodes.ts";
import type { Epochs } from "./epochs.ts";
import { type Range, RangeLocks } from "./range_locks.ts";

export interface ChangeOrderOptions {
  readonly clock: Clock;
  readonly epochs: Epochs;
}

export class ChangeOrder {
  readonly #options: ChangeOrderOptions;
  readonly #locks = new RangeLocks();
  readonly #destroyed = new DestroyedInodes();
  /** Changes that have passed the check of their epoch and are under way, by inode. */
  readonly #underWay = new Map<number, Set<Promise<unknown>>>();

  constructor(options: ChangeOrderOptions) {
    this.#options = options;
  }

  /** Throws OBJECT_GONE where the object's inode is destroyed. */
  check(object: ObjectId): void {
    this.#destroyed.check(inodeOf(object));
  }

  /**
   * Runs a change when those before it that overlap are done, if it may still run then. One that
   * waited for long, here or to be read, is refused: its sender has given up, has perhaps sent it
   * again and written something newer since. What it does to the object here goes through `here`.
   */
  async inTurn<T>(
    { object, epoch, unreadMs = 0 }: { object: ObjectId; epoch: number; unreadMs?: number },
    range: Range,
    change: (here: <Result>(step: () => Promise<Result>) => Promise<Result>) => Promise<T>,
  ): Promise<T> {
    const { clock, epochs } = this.#options;
    const ino = inodeOf(object);
    this.#destroyed.check(ino);
    const endMs = clock.monotonicMs() + limits.changeWaitMs - unreadMs;
    return await this.#locks.run(object, range, async () => {
      if (clock.monotonicMs() > endMs) {
        const message = `Cannot change object "${object}": the changes before it took too long`;
        throw new RustreError("OVERLOADED", message);
      }
      epochs.check(epoch);
      this.#destroyed.check(ino);
      return await this.#noted(ino, change((step) => this.#destroyed.change(ino, step)));
    });
  }

  /**
   * Waits for the changes of an inode that are under way. What comes later is checked against the
   * epoch that is known now.
   */
  async settled(ino: number): Promise<void> {
    await Promise.allSettled(this.#underWay.get(ino) ?? []);
  }

  async #noted<T>(ino: number, change: Promise<T>): Promise<T> {
    let changes = this.#underWay.get(ino);
    if (!changes) this.#underWay.set(ino, changes = new Set());
    changes.add(change);
    try {
      return await change;
    } finally {
      changes.delete(change);
      if (changes.size === 0) this.#underWay.delete(ino);
    }
  }

  /** Runs `destroy` when no change of the inodes is under way here, and lets none begin any more. */
  destroy<T>(inodes: readonly number[], destroy: () => Promise<T>): Promise<T> {
    return this.#destroyed.destroy(inodes, destroy);
  }
}

/** The inode of an object id from the wire; BAD_REQUEST where no inode has such a number. */
export function inodeOf(object: ObjectId): number {
  try {
    return parseObjectId(object).ino;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const message = `Cannot use object "${object}": no inode has that number`;
    throw new RustreError("BAD_REQUEST", message, { cause: error });
  }
}
