// One line on standard error that says how far a command is: only where that is a terminal, and the
// work takes long enough to be watched.

import type { Clock } from "../shared/environment.ts";
import { limits } from "../shared/limits.ts";

export class StatusLine implements Disposable {
  readonly #clock: Clock;
  readonly #isTerminal = Deno.stderr.isTerminal();
  readonly #startMs: number;
  #shownAtMs = -Infinity;
  #isShown = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startMs = clock.monotonicMs();
  }

  /** Since the command began. */
  get passedMs(): number {
    return this.#clock.monotonicMs() - this.#startMs;
  }

  readonly show = (text: string): void => {
    if (!this.#isTerminal || this.passedMs < limits.progressDelayMs) return;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#shownAtMs < limits.progressLineMs) return;
    this.#shownAtMs = nowMs;
    this.#isShown = true;
    this.#write(`\r\x1b[2K${text}`);
  };

  /** Takes the line away, for a message in its place or at the end. */
  readonly clear = (): void => {
    if (this.#isShown) this.#write("\r\x1b[2K");
    this.#isShown = false;
    this.#shownAtMs = -Infinity;
  };

  [Symbol.dispose](): void {
    this.clear();
  }

  #write(text: string): void {
    try {
      Deno.stderr.writeSync(new TextEncoder().encode(text));
    } catch {
      // Nobody reads standard error; the command goes on without showing how far it is.
    }
  }
}
