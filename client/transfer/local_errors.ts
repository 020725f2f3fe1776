// Errors of the local file system as operating errors of rustre.

import { platformCode, platformReason } from "../../shared/platform_errors.ts";
import { NamedError } from "../named_errors.ts";

/** Runs `call`; the platform's errors become `Cannot {action}: {reason}`. */
export async function localCall<T>(action: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw localError(action, error);
  }
}

/** {@link localCall} of what is done on this thread. */
export function localCallSync<T>(action: string, call: () => T): T {
  try {
    return call();
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
  return new NamedError(code, `Cannot ${action}: ${reason}`, { cause: error });
}
