// A clock that a test moves: step by step, or in one jump, as a host sees it that was suspended.

import { setImmediate } from "node:timers";
import type { Clock } from "../../shared/environment.ts";

interface Timer {
  readonly dueMs: number;
  readonly callback: () => void;
}

export class SleepingClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Set<Timer>();

  nowMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  /** Passes each time that somebody looks: to what is measured, everything is so slow. */
  slowStepMs = 0;

  monotonicMs(): number {
    return this.#nowMs += this.slowStepMs;
  }

  setTimer(callback: () => void, delayMs: number): () => void {
    const timer = { dueMs: this.#nowMs + Math.max(0, delayMs), callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Time passes, and each timer rings when it is due. */
  async pass(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs;
    await quiet();
    for (let next = this.#next(endMs); next; next = this.#next(endMs)) {
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      await this.#ring(next);
    }
    this.#nowMs = endMs;
  }

  /** Nothing rings before the end; then everything that is due does. */
  async sleepThrough(durationMs: number): Promise<void> {
    await quiet();
    this.#nowMs += durationMs;
    await this.pass(0);
  }

  /** Time passes until `task` has settled. */
  async passDuring<T>(task: Promise<T>): Promise<T> {
    let settled = false;
    task.then(() => settled = true, () => settled = true);
    await quiet();
    while (!settled) await this.pass(100);
    return await task;
  }

  #next(endMs: number): Timer | undefined {
    const due = [...this.#timers].filter(({ dueMs }) => dueMs <= endMs);
    return due.sort((left, right) => left.dueMs - right.dueMs)[0];
  }

  async #ring(timer: Timer): Promise<void> {
    this.#timers.delete(timer);
    timer.callback();
    await quiet();
  }
}

/** Resolves when no microtask is left: a task of the event loop runs only then. */
function quiet(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
