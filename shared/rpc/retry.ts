// The one retry loop over calls. Every operation of rustre may be sent again: reads have no effect,
// mutations carry an id, writes of objects put the same bytes in the same place.

import { interrupted, pause, withDeadline, withSignal } from "../deadline.ts";
import type { Environment } from "../environment.ts";
import { isRustreError, type RustreError } from "../errors.ts";
import { limits } from "../limits.ts";

export interface RetryOptions {
  readonly environment: Pick<Environment, "clock" | "random">;
  /** The whole operation, all its tries. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Fetches a newer cluster map, after errors that say that ours is old or a server is gone. */
  readonly refreshMap?: () => Promise<unknown>;
  /** Whether no try will succeed any more. */
  readonly isOver?: () => boolean;
}

/**
 * Runs `attempt(0)`, `attempt(1)`, … until one succeeds, fails with an error that another try
 * cannot mend, or the time is over; then the last error is thrown. Attempts choose their server by
 * the number, so that each goes to another where there are several, and bound their calls by the
 * time that is left.
 */
export async function retrying<T>(
  options: RetryOptions,
  attempt: (tryNumber: number, remainingMs: number) => Promise<T>,
): Promise<T> {
  const { environment: { clock, random }, signal } = options;
  const endMs = clock.monotonicMs() + options.timeoutMs;
  let remainingMs = options.timeoutMs;
  for (let tryNumber = 0;; tryNumber++) {
    if (signal?.aborted) throw interrupted(signal);
    try {
      return await attempt(tryNumber, remainingMs);
    } catch (error) {
      if (!isRustreError(error) || error.retry === "never" || options.isOver?.()) throw error;
      const delayMs = retryDelayMs(random, tryNumber);
      remainingMs = endMs - clock.monotonicMs() - delayMs;
      if (remainingMs <= 0) throw error;
      await pause(clock, delayMs, signal);
      await refresh(options, error, remainingMs);
      remainingMs = endMs - clock.monotonicMs();
      if (remainingMs <= 0) throw error;
    }
  }
}

const goneCodes = ["UNREACHABLE", "CONNECTION_LOST", "TIMED_OUT", "SHUTTING_DOWN", "TARGET_DOWN"];

async function refresh(
  options: RetryOptions,
  cause: RustreError,
  remainingMs: number,
): Promise<void> {
  const { environment, signal, refreshMap } = options;
  const mayBeOld = cause.retry === "refresh-map" || goneCodes.includes(cause.code);
  if (!mayBeOld || !refreshMap) return;
  try {
    const refreshing = (stop: AbortSignal) => withSignal(refreshMap(), stop);
    await withDeadline(environment.clock, remainingMs, refreshing, signal);
  } catch (error) {
    // The next attempt uses the map we have; it fails with an error of its own if that is no good.
    if (!isRustreError(error)) throw error;
    if (signal?.aborted) throw interrupted(signal);
  }
}

function retryDelayMs(random: Environment["random"], tryNumber: number): number {
  const { retryDelayMinMs, retryDelayMaxMs } = limits;
  const ceilingMs = Math.min(retryDelayMinMs * 2 ** tryNumber, retryDelayMaxMs);
  return ceilingMs / 2 + random.below(Math.ceil(ceilingMs / 2));
}
