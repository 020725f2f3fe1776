// Tasks that run side by side, in slots that several groups may share. Whoever starts a task waits
// for a slot, so that walking a tree of any size needs the memory of the slots.

import { assert } from "../../shared/assert.ts";
import type { Semaphore } from "../../shared/semaphore.ts";

export class TaskGroup implements AsyncDisposable {
  readonly #slots: Semaphore;
  readonly #signal: AbortSignal | undefined;
  #running = 0;
  #failed: { error: unknown } | undefined;
  #idle = Promise.withResolvers<void>();

  constructor(slots: Semaphore, signal?: AbortSignal) {
    this.#slots = slots;
    this.#signal = signal;
  }

  /** Waits for a slot and starts `task` in it. Rejects where an earlier task of the group did. */
  async start(task: () => Promise<void>): Promise<void> {
    await this.#slots.acquire(1, this.#signal);
    if (this.#failed) {
      this.#slots.release();
      throw this.#failed.error;
    }
    this.#run(task);
  }

  /**
   * Starts `task` in a slot if one is free, and otherwise waits for it here. For tasks that start
   * tasks of their own in the same slots: none waits for a slot that its parent holds.
   */
  async startOrRun(task: () => Promise<void>): Promise<void> {
    if (this.#failed) throw this.#failed.error;
    if (this.#slots.tryAcquire()) this.#run(task);
    else await task();
  }

  /** Resolves when all tasks have ended; rejects with the first error of any. */
  async done(): Promise<void> {
    await this.#ended();
    if (this.#failed) throw this.#failed.error;
  }

  /** Whatever happened, no task outlives its group. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#ended();
  }

  async #ended(): Promise<void> {
    while (this.#running > 0) await this.#idle.promise;
  }

  #run(task: () => Promise<void>): void {
    this.#running++;
    task()
      .catch((error) => void (this.#failed ??= { error }))
      .finally(() => {
        this.#slots.release();
        this.#running--;
        assert(this.#running >= 0, "a task ended twice");
        if (this.#running > 0) return;
        this.#idle.resolve();
        this.#idle = Promise.withResolvers();
      });
  }
}
