// A clock that nobody waits for: time jumps to the next timer when everything else has come to rest.
// Only for programs that wait for nothing but this clock and each other.

import { setImmediate } from "node:timers";
import { assert } from "../../shared/assert.ts";
import type { Clock } from "../../shared/environment.ts";

interface Timer {
  readonly dueMs: number;
  readonly callback: () => void;
}

export class VirtualClock implements Clock {
  #nowMs = 0;
  /** By due time, then in the order in which they were set. */
  #timers: Timer[] = [];

  nowMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  setTimer(callback: () => void, delayMs: number): () => void {
    const timer = { dueMs: this.#nowMs + Math.max(0, delayMs), callback };
    let index = this.#timers.length;
    while (index > 0 && this.#timers[index - 1]!.dueMs > timer.dueMs) index--;
    this.#timers.splice(index, 0, timer);
    return () => {
      const at = this.#timers.indexOf(timer);
      if (at >= 0) this.#timers.splice(at, 1);
    };
  }

  /** Timers that are set. */
  get timerCount(): number {
    return this.#timers.length;
  }

  /** Runs everything until `main` settles; time passes as fast as timers are due. */
  async run<T>(main: Promise<T>): Promise<T> {
    let settled = false;
    main.then(() => settled = true, () => settled = true);
    for (;;) {
      await quiet();
      if (settled) return main;
      const timer = this.#timers.shift();
      assert(timer, "deadlock: the program waits for something that is not a timer");
      this.#nowMs = timer.dueMs;
      timer.callback();
    }
  }
}

/** Resolves when no microtask is left: a task of the event loop runs only then. */
function quiet(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
