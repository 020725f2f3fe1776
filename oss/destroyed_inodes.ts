// The fence around destroyed inodes: once a destroy has begun, nothing makes an object of these
// inodes again, neither a change that was waiting for its turn nor one that is still on its way.

import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";

interface Changes {
  count: number;
  readonly ended: PromiseWithResolvers<void>;
}

export class DestroyedInodes {
  /**
   * The last ones, oldest first. Inode numbers are never used again, so this needs no other end than
   * that of the requests which may be under way somewhere.
   */
  readonly #destroyed = new Set<number>();
  /** Changes under way, by inode. */
  readonly #changes = new Map<number, Changes>();
  readonly #countMax: number;

  constructor(countMax: number = limits.destroyedInodesRemembered) {
    this.#countMax = countMax;
  }

  /** Throws OBJECT_GONE where the inode is destroyed. */
  check(ino: number): void {
    if (!this.#destroyed.has(ino)) return;
    throw new RustreError("OBJECT_GONE", `Cannot use objects of inode ${ino}: it was deleted`);
  }

  /** Runs a change of an object, unless its inode is destroyed. A destroy waits for it. */
  async change<T>(ino: number, change: () => Promise<T>): Promise<T> {
    this.check(ino);
    let changes = this.#changes.get(ino);
    if (!changes) this.#changes.set(ino, changes = { count: 0, ended: Promise.withResolvers() });
    changes.count++;
    try {
      return await change();
    } finally {
      changes.count--;
      if (changes.count === 0) {
        this.#changes.delete(ino);
        changes.ended.resolve();
      }
    }
  }

  /** Runs `destroy` when no change of the inodes is under way, and lets none begin any more. */
  async destroy<T>(inodes: readonly number[], destroy: () => Promise<T>): Promise<T> {
    for (const ino of inodes) {
      // One that is destroyed again moves to the end.
      this.#destroyed.delete(ino);
      this.#destroyed.add(ino);
    }
    for (const oldest of this.#destroyed) {
      if (this.#destroyed.size <= this.#countMax) break;
      this.#destroyed.delete(oldest);
    }
    await Promise.all(inodes.map((ino) => this.#changes.get(ino)?.ended.promise));
    return await destroy();
  }
}
