// Runs a task on many things, a bounded number of them at once.

import { interrupted } from "../shared/deadline.ts";
import { Semaphore } from "../shared/semaphore.ts";

export class TransferWindow {
  readonly #room: Semaphore;

  constructor(size: number) {
    this.#room = new Semaphore(size);
  }

  /**
   * Runs `task` on each item, in order, as soon as there is room. After a failure or the signal no
   * further one begins. Rejects with the first failure, when all that began have settled.
   */
  async each<Item>(
    items: Iterable<Item>,
    signal: AbortSignal | undefined,
    task: (item: Item) => Promise<void>,
  ): Promise<void> {
    const underWay = new Set<Promise<void>>();
    let failed: { error: unknown } | undefined;
    for (const item of items) {
      try {
        await this.#room.acquire(1, signal);
      } catch {
        // Only the signal ends the wait.
        failed ??= { error: interrupted(signal!) };
        break;
      }
      if (failed) {
        this.#room.release();
        break;
      }
      const running = task(item)
        .catch((error) => void (failed ??= { error }))
        .finally(() => {
          this.#room.release();
          underWay.delete(running);
        });
      underWay.add(running);
    }
    await Promise.all(underWay);
    if (failed) throw failed.error;
  }
}
