// Bounds how long something may wait, by a signal.

import type { Clock } from "./environment.ts";
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
  const timeout = new AbortController();
  const cancel = clock.setTimer(() => {
    timeout.abort(new RustreError("TIMED_OUT", `No answer within ${timeoutMs} ms`));
  }, timeoutMs);
  try {
    return await task(signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal);
  } finally {
    cancel();
  }
}
