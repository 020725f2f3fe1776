// A store whose commits end without an answer when a test says so: COMMIT_UNKNOWN, with the commit
// carried out or not. Everything else is the inner store's.

import { RustreError } from "../../shared/errors.ts";
import type { Key, KeyRange, OpenTransaction, Store } from "../../shared/store/store.ts";

export type CommitFate = "committed" | "not committed";

export class UncertainStore implements Store {
  readonly #inner: Store;
  readonly #fates: { readonly writes: string; readonly fate: CommitFate }[] = [];
  #failing = false;
  /** Runs before each commit, after the operation has done its reads. */
  beforeCommit: (written: readonly Key[]) => Promise<void> = () => Promise.resolve();

  constructor(inner: Store) {
    this.#inner = inner;
  }

  get url(): string {
    return this.#inner.url;
  }

  /** Commits that were left without an answer. */
  unanswered = 0;

  /** The next commit that writes a key holding `writes` meets `fate`, and nobody is told which. */
  leaveUnanswered(writes: string, fate: CommitFate): void {
    this.#fates.push({ writes, fate });
  }

  /** Whether every transaction fails. */
  fail(failing: boolean): void {
    this.#failing = failing;
  }

  begin(): OpenTransaction {
    if (this.#failing) throw new RustreError("STORE_FAILED", "The store cannot be reached");
    const inner = this.#inner.begin();
    const written: Key[] = [];
    const commit = async () => {
      await this.beforeCommit(written);
      const next = this.#fates[0];
      if (!next || !written.some((key) => key.includes(next.writes))) return await inner.commit();
      this.#fates.shift();
      if (next.fate === "committed") await inner.commit();
      else await inner.cancel();
      this.unanswered++;
      throw new RustreError("COMMIT_UNKNOWN", "Nobody knows what became of the commit");
    };
    return {
      get: (key, options) => inner.get(key, options),
      getRange: (range, options) => inner.getRange(range, options),
      set: (key, value) => {
        written.push(key);
        inner.set(key, value);
      },
      delete: (key) => {
        written.push(key);
        inner.delete(key);
      },
      deleteRange: (range: KeyRange) => inner.deleteRange(range),
      add: (key, delta) => inner.add(key, delta),
      addReadConflictRange: (range) => inner.addReadConflictRange(range),
      addWriteConflictRange: (range) => inner.addWriteConflictRange(range),
      commit,
      cancel: () => inner.cancel(),
    };
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
