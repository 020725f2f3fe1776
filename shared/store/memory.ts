// The engine behind `memory:`, for tests and the simulator: deterministic, with real conflicts, and
// without timers; a commit takes effect within the call and resolves in a microtask.

import type { Clock } from "../environment.ts";
import { RustreError } from "../errors.ts";
import { BufferedTransaction, type TransactionEngine } from "./buffered_transaction.ts";
import { RecentCommits } from "./conflicts.ts";
import { SortedMap } from "./sorted_map.ts";
import type { OpenTransaction, Store } from "./store.ts";

export class MemoryStore implements Store, TransactionEngine {
  readonly url = "memory:";
  readonly clock: Clock;
  readonly recent = new RecentCommits();
  readonly state = new SortedMap();
  readonly foreignVersion = 0;
  readonly unverifiableVersion = 0;
  #closed = false;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  begin(): OpenTransaction {
    this.checkOpen();
    return new BufferedTransaction(this);
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  prepareRead(): void {
    this.checkOpen();
  }

  // deno-lint-ignore require-await -- a failure must be a rejection.
  async commit(transaction: BufferedTransaction): Promise<void> {
    transaction.validate();
    const writes = transaction.resolveWrites();
    for (const range of writes.clearedRanges) this.state.deleteRange(range);
    for (const { key, value } of writes.values) {
      if (value === undefined) this.state.delete(key);
      else this.state.set(key, value);
    }
    this.recent.removeReader(transaction);
    this.recent.setDurable(
      this.recent.record(transaction.writtenKeys(), transaction.writtenRanges()),
    );
    this.recent.trim(this.clock.monotonicMs());
  }

  whenDurable(): Promise<void> {
    return Promise.resolve();
  }

  checkOpen(): void {
    if (!this.#closed) return;
    throw new RustreError("STORE_CLOSED", `Cannot use the store "${this.url}": it is closed`);
  }
}
