// The one retry loop over calls. Every operation of rustre may be sent again: reads have no effect,
// mutations carry an id, writes of objects put the same bytes in the same place.

import { type Environment, sleep } from "../environment.ts";
import { isRustreError, RustreError } from "../errors.ts";
import { limits } from "../limits.ts";

export interface RetryOptions {
  readonly environment: Pick<Environment, "clock" | "random">;
  /** The whole operation, all its tries. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Fetches a newer cluster map, after errors that say that ours is old or a server is gone. */
  readonly refreshMap?: () => Promise<unknown>;
}

/**
 * Runs `attempt(0)`, `attempt(1)`, … until one succeeds, fails with an error that another try
 * cannot mend, or the time is over; then the last error is thrown. Attempts choose their server by
 * the number, so that each goes to another where there are several.
 */
export async function retrying<T>(
  options: RetryOptions,
  attempt: (tryNumber: number) => Promise<T>,
): Promise<T> {
  const { environment, signal } = options;
  const endMs = environment.clock.monotonicMs() + options.timeoutMs;
  for (let tryNumber = 0;; tryNumber++) {
    try {
      return await attempt(tryNumber);
    } catch (error) {
      if (!isRustreError(error) || error.retry === "never" || signal?.aborted) throw error;
      const delayMs = retryDelayMs(environment, tryNumber);
      if (environment.clock.monotonicMs() + delayMs >= endMs) throw error;
      await pause(options, delayMs);
      await refresh(options, error);
    }
  }
}

async function pause(options: RetryOptions, delayMs: number): Promise<void> {
  try {
    await sleep(options.environment.clock, delayMs, options.signal);
  } catch {
    // Only the signal ends a sleep early.
    throw new RustreError("INTERRUPTED", "Interrupted", { cause: options.signal?.reason });
  }
}

async function refresh(options: RetryOptions, cause: unknown): Promise<void> {
  const mayBeOld = isRustreError(cause) &&
    (cause.retry === "refresh-map" ||
      ["UNREACHABLE", "CONNECTION_LOST", "TIMED_OUT", "SHUTTING_DOWN", "TARGET_DOWN"].includes(
        cause.code,
      ));
  if (!mayBeOld || !options.refreshMap) return;
  try {
    await options.refreshMap();
  } catch (error) {
    // The next attempt uses the map we have; it fails with an error of its own if that is no good.
    if (!isRustreError(error)) throw error;
  }
}

function retryDelayMs(environment: Pick<Environment, "random">, tryNumber: number): number {
  const { retryDelayMinMs, retryDelayMaxMs } = limits;
  const ceilingMs = Math.min(retryDelayMinMs * 2 ** tryNumber, retryDelayMaxMs);
  return ceilingMs / 2 + environment.random.below(Math.ceil(ceilingMs / 2));
}
