// Keys, values and rows as the client library of FoundationDB has them, and the reads of them.

import { Buffer } from "node:buffer";
import type { KeySelector, NativeTransaction } from "./foundationdb_client.ts";
import { isEmpty, rangeBeyond } from "./key_range.ts";
import type { Key, KeyRange, KeyValue } from "./store.ts";

/** All rows up to the limit in one reply, where they are on one server. */
const exactMode = 0;

export async function readValue(
  native: NativeTransaction,
  key: Key,
): Promise<Uint8Array | undefined> {
  const value = await native.get(bufferOf(key));
  return value && bytesOf(value);
}

export async function readRows(
  native: NativeTransaction,
  range: KeyRange,
  limit: number,
  reverse: boolean,
): Promise<KeyValue[]> {
  const rows: KeyValue[] = [];
  let rest = range;
  for (let iteration = 1; !isEmpty(rest); iteration++) {
    const [begin, end] = [selectorOf(rest.begin), selectorOf(rest.end)];
    const wanted = limit - rows.length;
    const page = await native.getRangeNative(begin, end, wanted, 0, exactMode, iteration, reverse);
    for (const [key, value] of page.results) rows.push({ key: keyOf(key), value: bytesOf(value) });
    const last = rows.at(-1);
    if (!page.more || rows.length >= limit || last === undefined) break;
    rest = rangeBeyond(rest, last.key, reverse);
  }
  return rows;
}

/** The first key that is not below `key`. */
function selectorOf(key: Key): KeySelector {
  return { key: bufferOf(key), orEqual: false, offset: 1, _isKeySelector: true };
}

/** Keys are byte strings: their units are the bytes. */
export function bufferOf(key: Key): Buffer {
  return Buffer.from(key, "latin1");
}

function keyOf(buffer: Buffer): Key {
  return buffer.toString("latin1");
}

function bytesOf(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}
