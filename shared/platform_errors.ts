// Errors of the operating system, as the platform throws them, in the codes and words of rustre.

import { type ErrorCode, errorCodes, meaningOf, messageOf, RustreError } from "./errors.ts";

/** Codes that are named after an errno, by name and by number. */
const errnoCodes = new Map<string, ErrorCode>();
const errnoNames = new Map<number, string>();
for (const { code, kind } of errorCodes().filter(({ code }) => code.startsWith("E"))) {
  errnoCodes.set(code, code);
  errnoNames.set(kind.number, code);
}

/** The name of the errno, such as "ENOENT", or `undefined` where it is none of the platform's. */
export function platformCode(error: unknown): string | undefined {
  if (error instanceof RustreError || !(error instanceof Error)) return undefined;
  const code = "code" in error ? error.code : undefined;
  if (typeof code === "string") return code;
  // Deno names only some of them, and numbers all.
  const errno = /\(os error (\d+)\)/.exec(error.message)?.[1];
  return errno === undefined ? undefined : errnoNames.get(Number(errno)) ?? "EIO";
}

/** What an error of the platform means; what has no code of its own is `EIO` in its own words. */
export function platformReason(error: unknown): { code: ErrorCode; reason: string } {
  const code = errnoCodes.get(platformCode(error) ?? "");
  if (code) return { code, reason: meaningOf(code) };
  // "Too many open files (os error 24): open '/a'" of Deno, "EMFILE: too many open files, open '/a'"
  // of Node: the action says the rest.
  const reason = messageOf(error).replace(/^E[A-Z0-9]+: /, "").replace(
    /( \(os error|, [a-z]+ ').*/s,
    "",
  );
  return { code: "EIO", reason };
}
