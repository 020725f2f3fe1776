// An ordered map for the memory engine: values by key in a hash map, keys in sorted chunks, so that
// a million keys cost a binary search and a short splice for each change.

import { lowerBound } from "./key_range.ts";
import type { Key, KeyRange, KeyValue } from "./store.ts";

/** A chunk over this is cut in halves. */
const chunkKeysMax = 512;

export class SortedMap {
  readonly #values = new Map<Key, Uint8Array>();
  /** Sorted, each sorted, none empty. */
  #chunks: Key[][] = [];

  get size(): number {
    return this.#values.size;
  }

  get(key: Key): Uint8Array | undefined {
    return this.#values.get(key);
  }

  set(key: Key, value: Uint8Array): void {
    const isNew = !this.#values.has(key);
    this.#values.set(key, value);
    if (isNew) this.#insertKey(key);
  }

  delete(key: Key): void {
    if (!this.#values.delete(key)) return;
    const index = this.#chunkIndex(key);
    const chunk = this.#chunks[index]!;
    chunk.splice(lowerBound(chunk, key), 1);
    if (chunk.length === 0) this.#chunks.splice(index, 1);
  }

  deleteRange(range: KeyRange): void {
    const first = this.#chunkIndex(range.begin);
    const kept: Key[][] = [];
    let index = first;
    for (; index < this.#chunks.length && this.#chunks[index]![0]! < range.end; index++) {
      const chunk = this.#chunks[index]!;
      const begin = lowerBound(chunk, range.begin);
      const removed = chunk.splice(begin, lowerBound(chunk, range.end) - begin);
      for (const key of removed) this.#values.delete(key);
      if (chunk.length > 0) kept.push(chunk);
    }
    if (kept.length < index - first) this.#chunks.splice(first, index - first, ...kept);
  }

  getRange(range: KeyRange, limit: number, reverse: boolean): KeyValue[] {
    return reverse ? this.#backwards(range, limit) : this.#forwards(range, limit);
  }

  #forwards(range: KeyRange, limit: number): KeyValue[] {
    const found: KeyValue[] = [];
    let position = -1;
    for (let index = this.#chunkIndex(range.begin); index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index]!;
      position = position < 0 ? lowerBound(chunk, range.begin) : 0;
      for (; position < chunk.length; position++) {
        const key = chunk[position]!;
        if (key >= range.end || found.length === limit) return found;
        found.push({ key, value: this.#values.get(key)! });
      }
    }
    return found;
  }

  #backwards(range: KeyRange, limit: number): KeyValue[] {
    const found: KeyValue[] = [];
    if (this.#chunks.length === 0) return found;
    const last = this.#chunkIndex(range.end);
    for (let index = last; index >= 0; index--) {
      const chunk = this.#chunks[index]!;
      let position = (index === last ? lowerBound(chunk, range.end) : chunk.length) - 1;
      for (; position >= 0; position--) {
        const key = chunk[position]!;
        if (key < range.begin || found.length === limit) return found;
        found.push({ key, value: this.#values.get(key)! });
      }
    }
    return found;
  }

  #insertKey(key: Key): void {
    if (this.#chunks.length === 0) {
      this.#chunks.push([key]);
      return;
    }
    const index = this.#chunkIndex(key);
    const chunk = this.#chunks[index]!;
    chunk.splice(lowerBound(chunk, key), 0, key);
    if (chunk.length > chunkKeysMax) {
      this.#chunks.splice(index + 1, 0, chunk.splice(chunkKeysMax >>> 1));
    }
  }

  /** The last chunk that begins at or below `key`, or else the first. */
  #chunkIndex(key: Key): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#chunks[middle]![0]! <= key) low = middle + 1;
      else high = middle;
    }
    return Math.max(low - 1, 0);
  }
}
