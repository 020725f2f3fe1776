// The values that are read again and again, as directories on the way of every path: spares SQLite
// the search. Two generations instead of a list in the order of use: what was not read while the
// younger one filled up is forgotten with the older one.

import { limits } from "../limits.ts";
import type { Key } from "./store.ts";

/** Holds what the database holds, or nothing: whoever writes a key forgets it here. */
export class ValueCache {
  #young = new Map<Key, Uint8Array>();
  #old = new Map<Key, Uint8Array>();

  get(key: Key): Uint8Array | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.add(key, old);
    return old;
  }

  add(key: Key, value: Uint8Array): void {
    if (value.length > limits.storeCachedValueBytesMax) return;
    if (this.#young.size >= limits.storeCachedValues) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }

  forget(key: Key): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }
}
