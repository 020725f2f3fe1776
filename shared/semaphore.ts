// A counting semaphore with a first-come, first-served queue: the one way in which rustre waits for
// room instead of buffering.

import { assert } from "./assert.ts";

interface Waiter {
  readonly units: number;
  readonly resolve: () => void;
}

export class Semaphore {
  #free: number;
  readonly #capacity: number;
  readonly #waiting: Waiter[] = [];

  constructor(capacity: number) {
    assert(capacity > 0, "a semaphore without capacity");
    this.#capacity = capacity;
    this.#free = capacity;
  }

  get inUse(): number {
    return this.#capacity - this.#free;
  }

  /** Takes `units` if they are free and nobody waits; tells whether it did. */
  tryAcquire(units = 1): boolean {
    assert(units <= this.#capacity, "more units than the semaphore has");
    if (this.#waiting.length > 0 || this.#free < units) return false;
    this.#free -= units;
    return true;
  }

  /** Waits for `units`; rejects with the signal's reason if it fires first. */
  acquire(units = 1, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.tryAcquire(units)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const waiter = {
        units,
        resolve: () => {
          signal?.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(signal?.reason);
        this.#admit();
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting.push(waiter);
    });
  }

  release(units = 1): void {
    this.#free += units;
    assert(this.#free <= this.#capacity, "a semaphore released more often than acquired");
    this.#admit();
  }

  #admit(): void {
    for (let first = this.#waiting[0]; first && first.units <= this.#free;) {
      this.#waiting.shift();
      this.#free -= first.units;
      first.resolve();
      first = this.#waiting[0];
    }
  }
}
