// What keys and ranges a transaction takes, and the errors that it ends with.

import { assert, AssertionError } from "../assert.ts";
import { RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import { onlyKey, showKey } from "./key_range.ts";
import type { Key, KeyRange } from "./store.ts";

export function checkKey(key: Key, bytesMax: number = limits.keyBytesMax): void {
  if (key.length > bytesMax) {
    throw tooLarge(`Cannot use ${showKey(key)}: a key of ${key.length} bytes is over ${bytesMax}`);
  }
  let union = 0;
  for (let index = 0; index < key.length; index++) union |= key.charCodeAt(index);
  // The message is made only where it is needed: this runs for each key of each transaction.
  if (union > 0xff) throw new AssertionError(`the key ${showKey(key)} is not a byte string`);
}

export function checkRange(range: KeyRange): void {
  // One byte more, for the end of a range that holds the longest key.
  checkKey(range.begin, limits.keyBytesMax + 1);
  checkKey(range.end, limits.keyBytesMax + 1);
  assert(range.begin <= range.end, "a range must not end before it begins");
}

export function conflict(what: Key | KeyRange): RustreError {
  const { begin } = typeof what === "string" ? onlyKey(what) : what;
  return new RustreError(
    "CONFLICT",
    `Cannot commit: a concurrent transaction changed what was read at ${showKey(begin)}`,
  );
}

export function tooLarge(message: string): RustreError {
  return new RustreError("TRANSACTION_TOO_LARGE", message);
}
