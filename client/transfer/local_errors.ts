// Errors of the local file system as operating errors of rustre.

import {
  type ErrorCode,
  errorCodes,
  meaningOf,
  messageOf,
  RustreError,
} from "../../shared/errors.ts";

/** Codes that are named after an errno. */
const errnoCodes = new Map<string, ErrorCode>(
  errorCodes().filter(({ code }) => code.startsWith("E")).map(({ code }) => [code, code]),
);

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
  const code = platformCode(error);
  // That nobody reads our output any more is no failure of what we do.
  if (code === undefined || error instanceof Deno.errors.BrokenPipe) return error;
  const known = errnoCodes.get(code);
  // "No such file or directory (os error 2): open '/a'": the action says the rest.
  const reason = known ? meaningOf(known) : messageOf(error).replace(/ \(os error.*/s, "");
  return new RustreError(known ?? "EIO", `Cannot ${action}: ${reason}`, { cause: error });
}

/** The name of the errno, such as "ENOENT", or `undefined` where it is none of the platform's. */
export function platformCode(error: unknown): string | undefined {
  if (error instanceof RustreError || !(error instanceof Error)) return undefined;
  const code = "code" in error ? error.code : undefined;
  if (typeof code === "string") return code;
  return /\(os error \d+\)/.test(error.message) ? "EIO" : undefined;
}
