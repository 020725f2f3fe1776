// Bounds what this client has under way to each OST, and perhaps to all of them: one that is slow
// takes its own room, not that of the others. Waiting is done here, before anything is held for a
// request.

import { interrupted } from "../shared/deadline.ts";
import { limits } from "../shared/limits.ts";
import { Semaphore } from "../shared/semaphore.ts";

/** Things to do at one OST, in order. */
export interface TargetLane<Item extends { readonly lengthBytes: number }> {
  readonly targetIndex: number;
  readonly items: Iterable<Item>;
}

/** What the lanes of one {@link TargetWindows.each} share. */
interface Run {
  readonly signal: AbortSignal | undefined;
  failed: { readonly error: unknown } | undefined;
}

export class TargetWindows {
  readonly #windowBytes: number;
  readonly #whole: Semaphore | undefined;
  readonly #rooms = new Map<number, Semaphore>();

  /** Each OST has room for so many bytes, and all of them together for `wholeBytes`. */
  constructor(windowBytes: number, wholeBytes?: number) {
    this.#windowBytes = windowBytes;
    if (wholeBytes !== undefined) this.#whole = new Semaphore(wholeBytes);
  }

  /** Bytes that count as under way to an OST. */
  inUseBytes(targetIndex: number): number {
    return this.#rooms.get(targetIndex)?.inUse ?? 0;
  }

  /**
   * Runs `task` on each item, the lanes side by side, each in order and as soon as its OST has room.
   * After a failure or the signal no further one begins. Rejects with the first failure, when all
   * that began have settled.
   */
  async each<Item extends { readonly lengthBytes: number }>(
    lanes: Iterable<TargetLane<Item>>,
    signal: AbortSignal | undefined,
    task: (item: Item) => Promise<void>,
  ): Promise<void> {
    const run: Run = { signal, failed: undefined };
    await Promise.all(Array.from(lanes, (lane) => this.#runLane(lane, run, task)));
    // The lanes have set it, which the compiler does not see.
    const { failed } = run as Run;
    if (failed) throw failed.error;
  }

  /** {@link each} of one item, which most files are. */
  async one<Item extends { readonly lengthBytes: number }>(
    { targetIndex, item }: { readonly targetIndex: number; readonly item: Item },
    signal: AbortSignal | undefined,
    task: (item: Item) => Promise<void>,
  ): Promise<void> {
    const room = this.#roomOf(targetIndex);
    const units = unitsOf(item);
    const run: Run = { signal, failed: undefined };
    const isFree = !this.#whole && !signal?.aborted && room.tryAcquire(units);
    if (!isFree && !(await this.#enter(room, units, run))) throw run.failed!.error;
    try {
      await task(item);
    } finally {
      this.#leave(room, units);
    }
  }

  async #runLane<Item extends { readonly lengthBytes: number }>(
    { targetIndex, items }: TargetLane<Item>,
    run: Run,
    task: (item: Item) => Promise<void>,
  ): Promise<void> {
    const room = this.#roomOf(targetIndex);
    const underWay = new Set<Promise<void>>();
    for (const item of items) {
      const units = unitsOf(item);
      if (!(await this.#enter(room, units, run))) break;
      const running = task(item)
        .catch((error) => void (run.failed ??= { error }))
        .finally(() => {
          this.#leave(room, units);
          underWay.delete(running);
        });
      underWay.add(running);
    }
    await Promise.all(underWay);
  }

  /** That of the OST first: what waits for it keeps nobody else waiting. */
  async #enter(room: Semaphore, units: number, run: Run): Promise<boolean> {
    if (!(await enter(room, units, run))) return false;
    if (!this.#whole || await enter(this.#whole, units, run)) return true;
    room.release(units);
    return false;
  }

  #leave(room: Semaphore, units: number): void {
    this.#whole?.release(units);
    room.release(units);
  }

  #roomOf(targetIndex: number): Semaphore {
    let room = this.#rooms.get(targetIndex);
    if (!room) this.#rooms.set(targetIndex, room = new Semaphore(this.#windowBytes));
    return room;
  }
}

/** What an item takes of its OST's room. */
function unitsOf({ lengthBytes }: { readonly lengthBytes: number }): number {
  return Math.max(lengthBytes, limits.targetWindowRequestBytes);
}

/** Waits for room; `false`, and no room taken, where the run has failed by then. */
async function enter(room: Semaphore, units: number, run: Run): Promise<boolean> {
  const { signal } = run;
  if (signal?.aborted) run.failed ??= { error: interrupted(signal) };
  if (run.failed) return false;
  if (room.tryAcquire(units)) return true;
  try {
    await room.acquire(units, signal);
  } catch {
    // Only the signal ends the wait.
    run.failed ??= { error: interrupted(signal!) };
    return false;
  }
  if (!run.failed) return true;
  room.release(units);
  return false;
}
