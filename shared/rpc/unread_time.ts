// How long requests of a connection may have waited for their server to read them, because it had no
// room for more. Their sender's patience began when it sent them: what is too late for it must not
// be carried out any more, since the same was perhaps sent again, and something newer after it.

import type { Clock } from "../environment.ts";
import { limits } from "../limits.ts";

export class UnreadTime {
  readonly #clock: Clock;
  /** How often whatever had arrived has been read, so far. */
  readonly #timesEmptied: () => number;
  /** Since when, on the monotonic clock; `undefined` where nothing waits for long. */
  #sinceMs: number | undefined;
  #emptiedBefore = 0;

  constructor(clock: Clock, timesEmptied: () => number) {
    this.#clock = clock;
    this.#timesEmptied = timesEmptied;
  }

  /** Of what was read last, at most about; 0 where it is less than limits.unreadMs. */
  get ms(): number {
    return this.#sinceMs === undefined ? 0 : this.#clock.monotonicMs() - this.#sinceMs;
  }

  /** Waits for room, while nothing is read. */
  async during(wait: Promise<void>): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    await wait;
    if (this.#clock.monotonicMs() - startMs < limits.unreadMs) return;
    this.#sinceMs ??= startMs;
    this.#emptiedBefore = this.#timesEmptied();
  }

  /** To be called when all that was read has been handed out. */
  noteDone(): void {
    if (this.#timesEmptied() > this.#emptiedBefore) this.#sinceMs = undefined;
  }
}
