// The store as one process of the simulation sees it: each read and each commit takes its time and is
// a step in which the process may end; some commits end without an answer.

import { RustreError } from "../../shared/errors.ts";
import type {
  GetOptions,
  Key,
  KeyRange,
  KeyValue,
  OpenTransaction,
  RangeOptions,
  Store,
} from "../../shared/store/store.ts";
import type { SeededRandom } from "../support/seeded_random.ts";
import type { HostProcess } from "./process.ts";

/** What a simulation gives the stores of its processes. */
export interface StoreOptions {
  readonly process: HostProcess;
  /** With the bug that is to be found, if any. */
  readonly inner: Store;
  readonly random: SeededRandom;
  /** Resolves when the host reaches the store. */
  readonly whenReachable: (process: HostProcess) => Promise<void> | undefined;
  /** How many commits there are for one that ends without an answer; 0 for no such. */
  readonly unansweredCommits: () => number;
  /** A commit took effect. */
  readonly onCommit: (process: HostProcess, written: ReadonlyMap<Key, Uint8Array>) => void;
}

export class ProcessStore implements Store {
  readonly url = "memory:";
  readonly #options: StoreOptions;

  constructor(options: StoreOptions) {
    this.#options = options;
  }

  begin(): OpenTransaction {
    return new ProcessTransaction(this.#options);
  }

  /** Of the process alone: others go on. */
  close(): Promise<void> {
    return Promise.resolve();
  }
}

class ProcessTransaction implements OpenTransaction {
  readonly #options: StoreOptions;
  readonly #inner: OpenTransaction;
  /** Values that were set. */
  readonly #written = new Map<Key, Uint8Array>();
  #writes = 0;

  constructor(options: StoreOptions) {
    this.#options = options;
    this.#inner = options.inner.begin();
  }

  async get(key: Key, options?: GetOptions): Promise<Uint8Array | undefined> {
    await this.#pause("read", "", 12);
    return await this.#inner.get(key, options);
  }

  async getRange(range: KeyRange, options: RangeOptions): Promise<KeyValue[]> {
    await this.#pause("read", "", 12);
    return await this.#inner.getRange(range, options);
  }

  set(key: Key, value: Uint8Array): void {
    this.#writes++;
    this.#written.set(key, value);
    this.#inner.set(key, value);
  }

  delete(key: Key): void {
    this.#writes++;
    this.#inner.delete(key);
  }

  deleteRange(range: KeyRange): void {
    this.#writes++;
    this.#inner.deleteRange(range);
  }

  add(key: Key, delta: bigint): void {
    this.#writes++;
    this.#inner.add(key, delta);
  }

  addReadConflictRange(range: KeyRange): void {
    this.#inner.addReadConflictRange(range);
  }

  addWriteConflictRange(range: KeyRange): void {
    this.#inner.addWriteConflictRange(range);
  }

  async commit(): Promise<void> {
    const { process, random, unansweredCommits, onCommit } = this.#options;
    if (this.#writes === 0) return await this.#inner.commit();
    await this.#pause("commit", `${this.#writes}`, 2);
    const rate = unansweredCommits();
    const isUnanswered = rate > 0 && random.below(rate) === 0;
    if (isUnanswered && random.below(2) === 0) await this.#inner.cancel();
    else {
      await this.#inner.commit();
      onCommit(process, this.#written);
    }
    await this.#pause("commit", "answer", 4);
    if (isUnanswered) {
      throw new RustreError("COMMIT_UNKNOWN", "Nobody knows what became of the commit");
    }
  }

  async cancel(): Promise<void> {
    await this.#inner.cancel();
  }

  /** One in `slow` takes a while. */
  async #pause(kind: "read" | "commit", what: string, slow: number): Promise<void> {
    const { process, random, whenReachable } = this.#options;
    const unreachable = whenReachable(process);
    if (unreachable) await unreachable;
    const delayMs = random.below(slow) > 0 ? 0 : 0.1 + random.below(40) / 10;
    await process.after(delayMs, kind, what);
  }
}
