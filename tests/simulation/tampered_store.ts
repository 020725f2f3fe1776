// A store between a process and the real one, that does some things otherwise.

import type { OpenTransaction, Store } from "../../shared/store/store.ts";

/** What of a transaction is done otherwise. */
export type Otherwise = (transaction: OpenTransaction) => Partial<OpenTransaction>;

export function tamperedStore(inner: Store, otherwise: Otherwise): Store {
  return {
    url: inner.url,
    close: () => inner.close(),
    begin: () => {
      const transaction = inner.begin();
      return { ...forwarding(transaction), ...otherwise(transaction) };
    },
  };
}

function forwarding(transaction: OpenTransaction): OpenTransaction {
  return {
    get: (key, options) => transaction.get(key, options),
    getRange: (range, options) => transaction.getRange(range, options),
    set: (key, value) => transaction.set(key, value),
    delete: (key) => transaction.delete(key),
    deleteRange: (range) => transaction.deleteRange(range),
    add: (key, delta) => transaction.add(key, delta),
    addReadConflictRange: (range) => transaction.addReadConflictRange(range),
    addWriteConflictRange: (range) => transaction.addWriteConflictRange(range),
    commit: () => transaction.commit(),
    cancel: () => transaction.cancel(),
  };
}
