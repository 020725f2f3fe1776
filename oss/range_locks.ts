// The order of writes and resizes of an object: those whose ranges overlap run one after the other
// as they came, the others at the same time.

import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { ObjectId } from "../shared/model.ts";

export interface Range {
  readonly startBytes: number;
  /** The first byte after it. */
  readonly endBytes: number;
}

export const wholeObject: Range = { startBytes: 0, endBytes: Infinity };

interface Entry {
  readonly range: Range;
  /** Earlier entries that overlap and are not done. It runs when there is none. */
  blockers: number;
  readonly run: () => void;
}

export class RangeLocks {
  /** Who runs and who waits, in the order in which they came. */
  readonly #queues = new Map<ObjectId, Set<Entry>>();
  readonly #queueMax: number;

  constructor(queueMax: number = limits.objectQueueMax) {
    this.#queueMax = queueMax;
  }

  /** Objects that somebody has locked. */
  get objectCount(): number {
    return this.#queues.size;
  }

  /**
   * Runs `action` when every earlier one that overlaps is done. Throws OVERLOADED, without running
   * it, where too many are in line.
   */
  async run<T>(object: ObjectId, range: Range, action: () => Promise<T>): Promise<T> {
    let queue = this.#queues.get(object);
    if (!queue) this.#queues.set(object, queue = new Set());
    if (queue.size >= this.#queueMax) {
      const message = `Cannot change object "${object}": ${queue.size} changes wait for their turn`;
      throw new RustreError("OVERLOADED", message);
    }
    const turn = Promise.withResolvers<void>();
    const entry: Entry = { range, blockers: countOverlaps(queue, range), run: turn.resolve };
    queue.add(entry);
    if (entry.blockers > 0) await turn.promise;
    try {
      return await action();
    } finally {
      this.#leave(object, queue, entry);
    }
  }

  #leave(object: ObjectId, queue: Set<Entry>, entry: Entry): void {
    queue.delete(entry);
    if (queue.size === 0) this.#queues.delete(object);
    for (const other of queue) {
      // An entry that overlaps and is not blocked by this one came before it and is done: so every
      // one that is here came later and counted this one.
      if (overlap(other.range, entry.range) && --other.blockers === 0) other.run();
    }
  }
}

function countOverlaps(queue: Set<Entry>, range: Range): number {
  let count = 0;
  for (const entry of queue) if (overlap(entry.range, range)) count++;
  return count;
}

function overlap(a: Range, b: Range): boolean {
  return a.startBytes < b.endBytes && b.startBytes < a.endBytes;
}
