// Operations that only read, several to one version of the database. What begins while a version is
// asked for waits for the next one, together with all else that does: a version is never older than
// the operations that read it. They share its transaction, and what it has read: many operations in
// one directory read that directory once.

import { assert } from "../assert.ts";
import type { Clock } from "../environment.ts";
import type { NativeTransaction } from "./foundationdb_client.ts";
import { readError } from "./foundationdb_errors.ts";
import { readRows, readValue } from "./foundationdb_rows.ts";
import type { Key, KeyRange, KeyValue, OpenReading, RangeOptions } from "./store.ts";
import { checkKey, checkLimit, checkRange, tooOld } from "./transaction_checks.ts";

/** What reads need of their store. */
interface ReadOwner {
  readonly url: string;
  readonly clock: Clock;
  /** Throws STORE_CLOSED. */
  checkOpen(): void;
  /** A transaction as new. */
  take(): NativeTransaction;
  /** Takes it back; reads that are under way fail. */
  release(native: NativeTransaction): void;
}

/** Nothing is written, so nothing has to be looked for among writes. */
const readYourWritesDisable = 51;

export class SharedReads {
  readonly #owner: ReadOwner;
  /** Whom the next version is for. */
  #gathering: SharedVersion | undefined;
  #asking = false;

  constructor(owner: ReadOwner) {
    this.#owner = owner;
  }

  begin(): OpenReading {
    const version = this.#gathering ??= new SharedVersion(this.#owner);
    const reading = new Reading(this.#owner, version);
    if (!this.#asking) this.#ask();
    return reading;
  }

  #ask(): void {
    const version = this.#gathering;
    if (!version) return;
    this.#gathering = undefined;
    this.#asking = true;
    version.ask().finally(() => {
      this.#asking = false;
      this.#ask();
    });
  }
}

/** One version, and what was read of it; freed with its last reader. */
class SharedVersion {
  readonly #owner: ReadOwner;
  readonly #known = Promise.withResolvers<NativeTransaction>();
  readonly #values = new Map<Key, Promise<Uint8Array | undefined>>();
  #native: NativeTransaction | undefined;
  #readers = 0;

  constructor(owner: ReadOwner) {
    this.#owner = owner;
    this.#known.promise.catch(() => {/* each reader is told that waits for it */});
  }

  join(): void {
    this.#readers++;
  }

  leave(): void {
    this.#readers--;
    if (this.#readers > 0 || !this.#native) return;
    this.#owner.release(this.#native);
  }

  /** Resolves when the version is known or cannot be had. */
  async ask(): Promise<void> {
    if (this.#readers === 0) return;
    try {
      const native = this.#native = this.#owner.take();
      native.setOption(readYourWritesDisable);
      await native.getReadVersion();
      this.#known.resolve(native.snapshot());
    } catch (error) {
      this.#known.reject(error);
    }
  }

  async get(key: Key): Promise<Uint8Array | undefined> {
    const native = await this.#known.promise;
    let value = this.#values.get(key);
    if (!value) this.#values.set(key, value = readValue(native, key));
    return await value;
  }

  async getRange(range: KeyRange, limit: number, reverse: boolean): Promise<KeyValue[]> {
    return await readRows(await this.#known.promise, range, limit, reverse);
  }
}

class Reading implements OpenReading {
  readonly #owner: ReadOwner;
  readonly #version: SharedVersion;
  readonly #begunMs: number;
  #ended = false;

  constructor(owner: ReadOwner, version: SharedVersion) {
    this.#owner = owner;
    this.#version = version;
    this.#begunMs = owner.clock.monotonicMs();
    version.join();
  }

  get(key: Key): Promise<Uint8Array | undefined> {
    return this.#attempt(() => {
      checkKey(key);
      return this.#version.get(key);
    });
  }

  getRange(range: KeyRange, { limit, reverse = false }: RangeOptions): Promise<KeyValue[]> {
    return this.#attempt(() => {
      checkRange(range);
      checkLimit(limit);
      return this.#version.getRange(range, limit, reverse);
    });
  }

  end(): void {
    assert(!this.#ended, "a reading was ended twice");
    this.#ended = true;
    this.#version.leave();
  }

  async #attempt<T>(read: () => Promise<T>): Promise<T> {
    try {
      assert(!this.#ended, "a reading was used after its end");
      this.#owner.checkOpen();
      const error = tooOld(this.#owner.clock.monotonicMs() - this.#begunMs);
      if (error !== undefined) throw error;
      return await read();
    } catch (error) {
      throw readError(this.#owner.url, error);
    }
  }
}
