// What keys and ranges a transaction takes, and the errors that it ends with.

import { assert, AssertionError } from "../assert.ts";
import { RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import { onlyKey, showKey } from "./key_range.ts";
import type { Key, KeyRange } from "./store.ts";

// ── how large a transaction is ─────────────────────────────────────────────────────────────────

/** What FoundationDB counts for a change beside its bytes, or a little more. */
const mutationBytes = 64;
/** And for a range that it checks for conflicts. */
const conflictRangeBytes = 32;

/**
 * What parts of a transaction count towards limits.transactionBytesMax: at least as much as with
 * FoundationDB, so that it takes whatever the other engines take.
 */
export const sizeOf = {
  readKey: (key: Key) => conflictRangeBytes + 2 * key.length + 1,
  conflictRange: ({ begin, end }: KeyRange) => conflictRangeBytes + begin.length + end.length,
  /** A key's conflict range comes with each of its changes. */
  write: (key: Key, valueBytes: number) =>
    mutationBytes + key.length + valueBytes + sizeOf.readKey(key),
  deleteRange: (range: KeyRange) =>
    mutationBytes + range.begin.length + range.end.length + sizeOf.conflictRange(range),
} as const;

/** Throws TRANSACTION_TOO_LARGE. */
export function checkSize(bytes: number): void {
  if (bytes <= limits.transactionBytesMax) return;
  throw tooLarge(
    `Cannot commit a transaction of ${bytes} bytes: it may have at most ` +
      `${limits.transactionBytesMax}`,
  );
}

// ── what it may take ───────────────────────────────────────────────────────────────────────────

/** FoundationDB keeps what is its own from here on. */
const keysEnd = "\xff";

export function checkKey(key: Key, bytesMax: number = limits.keyBytesMax): void {
  if (key.length > bytesMax) {
    throw tooLarge(`Cannot use ${showKey(key)}: a key of ${key.length} bytes is over ${bytesMax}`);
  }
  let union = 0;
  for (let index = 0; index < key.length; index++) union |= key.charCodeAt(index);
  // The message is made only where it is needed: this runs for each key of each transaction.
  if (union > 0xff) throw new AssertionError(`the key ${showKey(key)} is not a byte string`);
  if (key >= keysEnd) throw new AssertionError(`the key ${showKey(key)} is FoundationDB's own`);
}

export function checkRange(range: KeyRange): void {
  // One byte more, for the end of a range that holds the longest key.
  if (range.begin !== keysEnd) checkKey(range.begin, limits.keyBytesMax + 1);
  if (range.end !== keysEnd) checkKey(range.end, limits.keyBytesMax + 1);
  assert(range.begin <= range.end, "a range must not end before it begins");
}

export function checkValue(key: Key, value: Uint8Array): void {
  if (value.length <= limits.valueBytesMax) return;
  throw tooLarge(
    `Cannot store ${value.length} bytes under ${showKey(key)}: a value has at most ` +
      `${limits.valueBytesMax}`,
  );
}

export function checkLimit(limit: number): void {
  assert(
    Number.isInteger(limit) && limit >= 1 && limit <= limits.rangeEntriesMax,
    `a range read needs a limit from 1 to ${limits.rangeEntriesMax}, not ${limit}`,
  );
}

/** The error of a transaction that is over its time. */
export function tooOld(ageMs: number): RustreError | undefined {
  if (ageMs <= limits.transactionMs) return undefined;
  return new RustreError(
    "TRANSACTION_TOO_OLD",
    `Cannot go on with a transaction after ${Math.round(ageMs)} ms: it may take ` +
      `${limits.transactionMs}`,
  );
}

export function conflict(what: Key | KeyRange): RustreError {
  const { begin } = typeof what === "string" ? onlyKey(what) : what;
  return new RustreError(
    "CONFLICT",
    `Cannot commit: a concurrent transaction changed what was read at ${showKey(begin)}`,
  );
}

function tooLarge(message: string): RustreError {
  return new RustreError("TRANSACTION_TOO_LARGE", message);
}
