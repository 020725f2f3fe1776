// Small questions about key ranges that every part of the store asks.

import { type Key, keyAfter, type KeyRange, type KeyValue } from "./store.ts";

export function contains(range: KeyRange, key: Key): boolean {
  return range.begin <= key && key < range.end;
}

export function overlaps(left: KeyRange, right: KeyRange): boolean {
  return left.begin < right.end && right.begin < left.end;
}

export function isEmpty(range: KeyRange): boolean {
  return range.begin >= range.end;
}

export function onlyKey(key: Key): KeyRange {
  return { begin: key, end: keyAfter(key) };
}

/** The part of `range` that was looked at when a limit ended the read at `lastKey`. */
export function rangeUpTo(range: KeyRange, lastKey: Key, reverse: boolean): KeyRange {
  return reverse
    ? { begin: lastKey, end: range.end }
    : { begin: range.begin, end: keyAfter(lastKey) };
}

/** What {@link rangeUpTo} leaves of `range`. */
export function rangeBeyond(range: KeyRange, lastKey: Key, reverse: boolean): KeyRange {
  return reverse
    ? { begin: range.begin, end: lastKey }
    : { begin: keyAfter(lastKey), end: range.end };
}

export function equalBytes(left: Uint8Array | undefined, right: Uint8Array | undefined): boolean {
  if (left === right) return true;
  if (left === undefined || right === undefined || left.length !== right.length) return false;
  for (let index = 0; index < left.length; index++) if (left[index] !== right[index]) return false;
  return true;
}

export function equalRows(left: readonly KeyValue[], right: readonly KeyValue[]): boolean {
  return left.length === right.length && left.every((row, index) => {
    const other = right[index]!;
    return row.key === other.key && equalBytes(row.value, other.value);
  });
}

/** The first index of the sorted `keys` whose key is not below `key`. */
export function lowerBound(keys: readonly Key[], key: Key): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

const shownCharactersMax = 200;

/** A key for a message: bytes that are not printable ASCII as \xNN, long ones cut. */
export function showKey(key: Key): string {
  const shown = key.slice(0, shownCharactersMax).replace(
    /[^\x20-\x7e]/g,
    (byte) => "\\x" + byte.charCodeAt(0).toString(16).padStart(2, "0"),
  );
  return `"${shown}${key.length > shownCharactersMax ? "…" : ""}"`;
}
