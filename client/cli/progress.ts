// The progress bar of a transfer: on standard error, and only where that is a terminal and the work
// takes long enough to be watched.

import type { SingleBar } from "cli-progress";
import type { Clock } from "../../shared/environment.ts";
import { limits } from "../../shared/limits.ts";
import type { TransferProgress } from "../transfer/transfer.ts";
import { formatBytes } from "./format.ts";

export class Progress implements Disposable {
  readonly #clock: Clock;
  readonly #makeBar: (() => SingleBar) | undefined;
  readonly #startMs: number;
  #bar: SingleBar | undefined;
  /** Of the transfers that have ended. */
  #before: TransferProgress = { expectedBytes: 0, movedBytes: 0 };
  #current: TransferProgress = this.#before;

  private constructor(clock: Clock, makeBar: (() => SingleBar) | undefined) {
    this.#clock = clock;
    this.#makeBar = makeBar;
    this.#startMs = clock.monotonicMs();
  }

  static async create(clock: Clock): Promise<Progress> {
    if (!Deno.stderr.isTerminal()) return new Progress(clock, undefined);
    const { default: { SingleBar } } = await import("cli-progress");
    return new Progress(clock, () =>
      new SingleBar({
        format: "{bar} {percentage}%  {moved} of {expected}  {rate}/s  {left} left",
        barsize: 24,
        hideCursor: false,
        clearOnComplete: true,
        gracefulExit: false,
      }));
  }

  /** To be called with the state of the transfer under way. */
  readonly update = (progress: TransferProgress): void => {
    this.#current = progress;
    if (!this.#makeBar) return;
    const passedMs = this.#clock.monotonicMs() - this.#startMs;
    if (passedMs < limits.progressDelayMs) return;
    const expectedBytes = this.#before.expectedBytes + progress.expectedBytes;
    const movedBytes = this.#before.movedBytes + progress.movedBytes;
    // A stream has no length that is known: its bar is full, its rate is what counts.
    const totalBytes = Math.max(expectedBytes, movedBytes);
    const bytesPerMs = movedBytes / passedMs;
    const payload = {
      moved: formatBytes(movedBytes),
      expected: formatBytes(totalBytes),
      rate: formatBytes(bytesPerMs * 1000),
      left: bytesPerMs > 0 ? formatDuration((totalBytes - movedBytes) / bytesPerMs) : "?",
    };
    if (!this.#bar) {
      this.#bar = this.#makeBar();
      this.#bar.start(totalBytes, movedBytes, payload);
    }
    this.#bar.setTotal(totalBytes);
    this.#bar.update(movedBytes, payload);
  };

  /** The next transfer counts from here. */
  next(): void {
    this.#before = {
      expectedBytes: this.#before.expectedBytes + this.#current.expectedBytes,
      movedBytes: this.#before.movedBytes + this.#current.movedBytes,
    };
    this.#current = { expectedBytes: 0, movedBytes: 0 };
  }

  /** Takes the bar away, for a message in its place or at the end; the next update shows it again. */
  readonly clear = (): void => {
    this.#bar?.stop();
    this.#bar = undefined;
  };

  [Symbol.dispose](): void {
    this.clear();
  }
}

/** `75 s`, `12 min`, `3.5 h` */
export function formatDuration(durationMs: number): string {
  const seconds = durationMs / 1000;
  if (seconds < 100) return `${Math.ceil(seconds)} s`;
  if (seconds < 6000) return `${Math.ceil(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
