// A clock that nobody waits for: time jumps to the next timer when everything else has come to rest.
// Only for programs that wait for nothing but this clock and each other.

import { setImmediate } from "node:timers";
import { assert } from "../../shared/assert.ts";
import type { Clock } from "../../shared/environment.ts";

interface Timer {
  readonly dueMs: number;
  /** Counts timers up: of two that are due together the one that was set first is first. */
  readonly order: number;
  /** `undefined` once it was called or cancelled. */
  callback: (() => void) | undefined;
}

export class VirtualClock implements Clock {
  #nowMs = 0;
  #order = 0;
  #count = 0;
  /** A heap, with the next one first; those that were cancelled are left in it. */
  readonly #timers: Timer[] = [];

  nowMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  setTimer(callback: () => void, delayMs: number): () => void {
    const dueMs = this.#nowMs + Math.max(0, delayMs);
    const timer: Timer = { dueMs, order: this.#order++, callback };
    this.#push(timer);
    this.#count++;
    return () => {
      if (timer.callback !== undefined) this.#count--;
      timer.callback = undefined;
    };
  }

  /** Timers that are set. */
  get timerCount(): number {
    return this.#count;
  }

  /** Runs everything until `main` settles; time passes as fast as timers are due. */
  async run<T>(main: Promise<T>): Promise<T> {
    let settled = false;
    main.then(() => settled = true, () => settled = true);
    for (;;) {
      await quiet();
      if (settled) return main;
      const timer = this.#next();
      assert(timer, "deadlock: the program waits for something that is not a timer");
      this.#nowMs = timer.dueMs;
      const { callback } = timer;
      timer.callback = undefined;
      this.#count--;
      callback!();
    }
  }

  #next(): Timer | undefined {
    let timer = this.#pop();
    while (timer && timer.callback === undefined) timer = this.#pop();
    return timer;
  }

  #push(timer: Timer): void {
    const timers = this.#timers;
    let index = timers.push(timer) - 1;
    while (index > 0) {
      const above = (index - 1) >> 1;
      if (!isBefore(timer, timers[above]!)) break;
      timers[index] = timers[above]!;
      index = above;
    }
    timers[index] = timer;
  }

  #pop(): Timer | undefined {
    const timers = this.#timers;
    const first = timers[0];
    const last = timers.pop();
    if (first === last || last === undefined) return first;
    let index = 0;
    for (;;) {
      let below = 2 * index + 1;
      if (below >= timers.length) break;
      if (below + 1 < timers.length && isBefore(timers[below + 1]!, timers[below]!)) below++;
      if (!isBefore(timers[below]!, last)) break;
      timers[index] = timers[below]!;
      index = below;
    }
    timers[index] = last;
    return first;
  }
}

function isBefore(one: Timer, other: Timer): boolean {
  return one.dueMs < other.dueMs || (one.dueMs === other.dueMs && one.order < other.order);
}

/** Resolves when no microtask is left: a task of the event loop runs only then. */
function quiet(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
