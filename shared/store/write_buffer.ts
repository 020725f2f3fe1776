// The writes of one transaction before its commit: the last write of each key, over a set of
// cleared ranges. A write of a key hides the cleared range that it lies in.

import { RustreError } from "../errors.ts";
import { contains, lowerBound, overlaps, showKey } from "./key_range.ts";
import type { Key, KeyRange, KeyValue } from "./store.ts";

export type Write =
  | { readonly kind: "set"; readonly value: Uint8Array }
  | { readonly kind: "delete" }
  | { readonly kind: "add"; readonly delta: bigint };

export interface KeyWrite {
  readonly key: Key;
  readonly write: Write;
}

/** A part of a range that was asked for: cleared by the transaction, or as the store has it. */
export interface RangePiece extends KeyRange {
  readonly cleared: boolean;
}

const deleted: Write = { kind: "delete" };
const integerBytes = 8;

export class WriteBuffer {
  readonly #writes = new Map<Key, Write>();
  /** The keys of #writes in order; made when a range is asked for, dropped by a new key. */
  #sortedKeys: Key[] | undefined;
  /** Sorted, and no two of them overlap. */
  #cleared: KeyRange[] = [];

  get isEmpty(): boolean {
    return this.#writes.size === 0 && this.#cleared.length === 0;
  }

  /** In the order in which they take effect: first these... */
  get clearedRanges(): readonly KeyRange[] {
    return this.#cleared;
  }

  /** ...then these. */
  get writes(): ReadonlyMap<Key, Write> {
    return this.#writes;
  }

  set(key: Key, value: Uint8Array): void {
    this.#put(key, { kind: "set", value });
  }

  delete(key: Key): void {
    this.#put(key, deleted);
  }

  add(key: Key, delta: bigint): void {
    const write = this.find(key);
    if (write === undefined) this.#put(key, { kind: "add", delta });
    else if (write.kind === "add") this.#put(key, { kind: "add", delta: write.delta + delta });
    else this.#put(key, { kind: "set", value: addToInteger(key, valueAfter(write), delta) });
  }

  deleteRange(range: KeyRange): void {
    for (const { key } of this.inRange(range, false)) this.#writes.delete(key);
    this.#sortedKeys = undefined;
    let { begin, end } = range;
    const apart: KeyRange[] = [];
    for (const cleared of this.#cleared) {
      if (!overlaps(cleared, range)) {
        apart.push(cleared);
        continue;
      }
      if (cleared.begin < begin) begin = cleared.begin;
      if (cleared.end > end) end = cleared.end;
    }
    apart.push({ begin, end });
    this.#cleared = apart.sort((left, right) => left.begin < right.begin ? -1 : 1);
  }

  /** What this transaction does to `key`; a key in a cleared range is deleted. */
  find(key: Key): Write | undefined {
    const write = this.#writes.get(key);
    if (write !== undefined || this.#cleared.length === 0) return write;
    return this.#cleared.some((range) => contains(range, key)) ? deleted : undefined;
  }

  /** The writes of single keys within `range`, in key order or reverse. */
  inRange(range: KeyRange, reverse: boolean): KeyWrite[] {
    if (this.#writes.size === 0) return [];
    this.#sortedKeys ??= [...this.#writes.keys()].sort(byteOrder);
    const keys = this.#sortedKeys;
    const found: KeyWrite[] = [];
    for (let index = lowerBound(keys, range.begin); index < keys.length; index++) {
      const key = keys[index]!;
      if (key >= range.end) break;
      found.push({ key, write: this.#writes.get(key)! });
    }
    return reverse ? found.reverse() : found;
  }

  /** `range` in pieces, each wholly cleared or not at all, in key order or reverse. */
  pieces(range: KeyRange, reverse: boolean): RangePiece[] {
    const pieces: RangePiece[] = [];
    let begin = range.begin;
    for (const cleared of this.#cleared) {
      if (!overlaps(cleared, range)) continue;
      if (begin < cleared.begin) pieces.push({ begin, end: cleared.begin, cleared: false });
      const clearedBegin = cleared.begin > begin ? cleared.begin : begin;
      const clearedEnd = cleared.end < range.end ? cleared.end : range.end;
      pieces.push({ begin: clearedBegin, end: clearedEnd, cleared: true });
      begin = clearedEnd;
    }
    if (begin < range.end) pieces.push({ begin, end: range.end, cleared: false });
    return reverse ? pieces.reverse() : pieces;
  }

  #put(key: Key, write: Write): void {
    if (this.#sortedKeys !== undefined && !this.#writes.has(key)) this.#sortedKeys = undefined;
    this.#writes.set(key, write);
  }
}

/** What `key` holds after `write`, when it held `before`. */
export function applyWrite(
  key: Key,
  write: Write,
  before: Uint8Array | undefined,
): Uint8Array | undefined {
  return write.kind === "add" ? addToInteger(key, before, write.delta) : valueAfter(write);
}

/** Appends to `found` the rows with the writes applied, both in the same order, up to the limit. */
export function mergeWrites(
  rows: readonly KeyValue[],
  writes: readonly KeyWrite[],
  { limit, reverse = false }: { readonly limit: number; readonly reverse?: boolean },
  found: KeyValue[],
): void {
  let nextRow = 0;
  let nextWrite = 0;
  while (found.length < limit) {
    const row = rows[nextRow];
    const own = writes[nextWrite];
    if (own === undefined || (row !== undefined && comesBefore(row.key, own.key, reverse))) {
      if (row === undefined) return;
      found.push(row);
      nextRow++;
      continue;
    }
    nextWrite++;
    const overwrites = row?.key === own.key;
    if (overwrites) nextRow++;
    const value = applyWrite(own.key, own.write, overwrites ? row?.value : undefined);
    if (value !== undefined) found.push({ key: own.key, value });
  }
}

function comesBefore(left: Key, right: Key, reverse: boolean): boolean {
  return reverse ? left > right : left < right;
}

function valueAfter(write: Exclude<Write, { kind: "add" }>): Uint8Array | undefined {
  return write.kind === "set" ? write.value : undefined;
}

function addToInteger(key: Key, before: Uint8Array | undefined, delta: bigint): Uint8Array {
  const sum = BigInt.asIntN(64, (before === undefined ? 0n : decodeInteger(key, before)) + delta);
  const value = new Uint8Array(integerBytes);
  new DataView(value.buffer).setBigInt64(0, sum, true);
  return value;
}

function decodeInteger(key: Key, value: Uint8Array): bigint {
  if (value.length !== integerBytes) {
    throw new RustreError(
      "STORE_FORMAT",
      `Cannot add to ${showKey(key)}: its value has ${value.length} bytes and not ${integerBytes}`,
    );
  }
  return new DataView(value.buffer, value.byteOffset, integerBytes).getBigInt64(0, true);
}

function byteOrder(left: Key, right: Key): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
