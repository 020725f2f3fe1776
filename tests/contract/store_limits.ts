// Promises about FoundationDB's limits, which every engine enforces.

import { strict as assert } from "node:assert";
import { AssertionError } from "../../shared/assert.ts";
import { limits } from "../../shared/limits.ts";
import { sizeOf } from "../../shared/store/transaction_checks.ts";
import {
  bytes,
  commitOn,
  everything,
  put,
  read,
  rejectsWith,
  type StorePromise,
  throwsWith,
} from "./store.ts";
import type { Transaction } from "../../shared/store/store.ts";

/** Sets keys to values that make a transaction as large as it may be, to the byte. */
function fillUp(transaction: Transaction, valueBytesMax: number): void {
  let leftBytes: number = limits.transactionBytesMax;
  for (let n = 0;; n++) {
    const key = `k${String(n).padStart(6, "0")}`;
    const rest = leftBytes - sizeOf.write(key, 0);
    // The last one takes what is too little for one more.
    const last = rest <= valueBytesMax + sizeOf.write(key, 0);
    const valueBytes = last ? Math.min(rest, limits.valueBytesMax) : valueBytesMax;
    transaction.set(key, new Uint8Array(valueBytes));
    leftBytes -= sizeOf.write(key, valueBytes);
    if (last) break;
  }
  assert.equal(leftBytes, 0);
}

export const limitPromises: StorePromise[] = [
  {
    name: "keys and values up to their limits are stored",
    async test({ store }) {
      const key = "k".repeat(limits.keyBytesMax);
      const value = new Uint8Array(limits.valueBytesMax).fill(7);
      await commitOn(store, (transaction) => transaction.set(key, value));
      const transaction = store.begin();
      const range = { begin: key, end: key + "\x00" };
      const [row] = await transaction.getRange(range, { limit: 1 });
      assert.equal(row!.key, key);
      assert.deepEqual(row!.value, value);
      await transaction.commit();
    },
  },
  {
    name: "keys and values over their limits are TRANSACTION_TOO_LARGE",
    async test({ store }) {
      const key = "k".repeat(limits.keyBytesMax + 1);
      const value = new Uint8Array(limits.valueBytesMax + 1);
      const transaction = store.begin();
      throwsWith("TRANSACTION_TOO_LARGE", () => transaction.set(key, bytes("x")));
      throwsWith("TRANSACTION_TOO_LARGE", () => transaction.set("a", value));
      throwsWith("TRANSACTION_TOO_LARGE", () => transaction.delete(key));
      throwsWith("TRANSACTION_TOO_LARGE", () => transaction.add(key, 1n));
      await rejectsWith("TRANSACTION_TOO_LARGE", transaction.get(key));
      await transaction.cancel();
    },
  },
  {
    name: "a transaction up to its limit commits, one over it is TRANSACTION_TOO_LARGE",
    async test({ store }) {
      for (const valueBytesMax of [limits.valueBytesMax, 10]) {
        const fits = store.begin();
        fillUp(fits, valueBytesMax);
        await fits.commit();
        const over = store.begin();
        fillUp(over, valueBytesMax);
        over.delete("1");
        await rejectsWith("TRANSACTION_TOO_LARGE", over.commit());
      }
    },
  },
  {
    name: "a key that is no byte string is a bug that shows",
    async test({ store }) {
      const transaction = store.begin();
      assert.throws(() => transaction.set("€", bytes("x")), AssertionError);
      await assert.rejects(transaction.get("€"), AssertionError);
      await transaction.cancel();
    },
  },
  {
    name: "a key that is FoundationDB's own is a bug that shows, as the end of a range it is none",
    async test({ store }) {
      const transaction = store.begin();
      assert.throws(() => transaction.set("\xff", bytes("x")), AssertionError);
      assert.throws(() => transaction.deleteRange({ begin: "a", end: "\xff\x00" }), AssertionError);
      await assert.rejects(transaction.get("\xff/conf"), AssertionError);
      await transaction.cancel();
      await commitOn(store, (transaction) => transaction.deleteRange(everything));
    },
  },
  {
    name: "a range read without a limit in bounds, or of a range that ends first, is a bug",
    async test({ store }) {
      const transaction = store.begin();
      for (const limit of [0, -1, 1.5, NaN, limits.rangeEntriesMax + 1]) {
        await assert.rejects(transaction.getRange(everything, { limit }), AssertionError);
      }
      const backwards = { begin: "b", end: "a" };
      await assert.rejects(transaction.getRange(backwards, { limit: 1 }), AssertionError);
      assert.throws(() => transaction.deleteRange(backwards), AssertionError);
      await transaction.cancel();
    },
  },
  {
    name: "a transaction over its time is TRANSACTION_TOO_OLD, reading and committing",
    async test({ store, clock }) {
      await put(store, { a: "1" });
      const [reading, writing] = [store.begin(), store.begin()];
      await reading.get("a");
      await writing.get("a");
      writing.set("b", bytes("1"));
      clock.advance(limits.transactionMs + 1);
      await rejectsWith("TRANSACTION_TOO_OLD", reading.get("b"));
      await rejectsWith("TRANSACTION_TOO_OLD", writing.commit());
      assert.equal(await read(store, "b"), undefined);
      await reading.cancel();
    },
  },
];
