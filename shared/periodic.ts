// A task that is repeated in the background until it is stopped: probes, renewals, refreshes.

import { type Clock, sleep } from "./environment.ts";

export interface PeriodicOptions {
  readonly clock: Clock;
  /** From one start to the next; a run that takes longer is followed by the next one at once. */
  readonly intervalMs: number;
  /** Given a signal that fires at the stop. Handles its own errors: one that it throws is a bug. */
  readonly task: (signal: AbortSignal) => Promise<void>;
  /** The first run starts after an interval, not at once. */
  readonly delayFirst?: boolean;
}

/** One run at a time. */
export class Periodic implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: PeriodicOptions) {
    this.#running = repeat(options, this.#stop.signal);
  }

  /** Fires the task's signal and resolves when it has returned. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function repeat(options: PeriodicOptions, signal: AbortSignal): Promise<void> {
  const { clock, intervalMs, task, delayFirst = false } = options;
  // The only reason for which a sleep rejects here is the stop.
  if (delayFirst) await sleep(clock, intervalMs, signal).catch(() => {});
  while (!signal.aborted) {
    const startedMs = clock.monotonicMs();
    await task(signal);
    const restMs = Math.max(0, startedMs + intervalMs - clock.monotonicMs());
    await sleep(clock, restMs, signal).catch(() => {});
  }
}
