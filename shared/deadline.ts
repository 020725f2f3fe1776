// Bounds how long something may wait, by a signal. Signals that live long are listened to and left
// again: AbortSignal.any would keep a reference in them for each wait.

import { type Clock, sleep } from "./environment.ts";
import { RustreError } from "./errors.ts";

/**
 * Runs `task` with a signal that fires when `signal` does, and with TIMED_OUT after `timeoutMs`.
 * The task is to end soon after its signal fires.
 */
export async function withDeadline<T>(
  clock: Clock,
  timeoutMs: number,
  task: (signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const stop = new AbortController();
  const cancel = clock.setTimer(() => {
    stop.abort(new RustreError("TIMED_OUT", `No answer within ${timeoutMs} ms`));
  }, timeoutMs);
  const onAbort = () => stop.abort(signal?.reason);
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await task(stop.signal);
  } finally {
    cancel();
    signal?.removeEventListener("abort", onAbort);
  }
}

/** `promise`, or a rejection as soon as the signal fires; what the promise is of goes on. */
export function withSignal<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(interrupted(signal));
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    const leave = () => signal.removeEventListener("abort", onAbort);
    promise.finally(leave).then(resolve, reject);
  });
}

/** What an operation rejects with when its signal fires: the reason, if that is an operating error. */
export function interrupted(signal: AbortSignal, what?: string): RustreError {
  if (signal.reason instanceof RustreError) return signal.reason;
  const message = what === undefined ? "Interrupted" : `Interrupted ${what}`;
  return new RustreError("INTERRUPTED", message, { cause: signal.reason });
}

/** Sleeps; rejects as {@link interrupted} when the signal fires. */
export async function pause(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  const sleeping = sleep(clock, delayMs, signal);
  await (signal ? withSignal(sleeping, signal) : sleeping);
}

/** Resolves when the signal fires. */
export function fired(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
