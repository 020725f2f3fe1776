// Errors of the local file system as operating errors of rustre.

import { RustreError } from "../../shared/errors.ts";
import { platformCode, platformReason } from "../../shared/platform_errors.ts";

/** Runs `call`; the platform's errors become `Cannot {action}: {reason}`. */
export async function localCall<T>(action: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw localError(action, error);
  }
}

/** What is no error of the platform, a bug or an interruption, stays what it is. */
export function localError(action: string, error: unknown): unknown {
  if (platformCode(error) === undefined) return error;
  // That nobody reads our output any more is no failure of what we do.
  if (error instanceof Deno.errors.BrokenPipe) return error;
  const { code, reason } = platformReason(error);
  return new RustreError(code, `Cannot ${action}: ${reason}`, { cause: error });
}
