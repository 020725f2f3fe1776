// Promises about FoundationDB's limits, which every engine enforces.

import { strict as assert } from "node:assert";
import { AssertionError } from "../../shared/assert.ts";
import { limits } from "../../shared/limits.ts";
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
      const value = new Uint8Array(limits.valueBytesMax - 4);
      const fits = store.begin();
      for (let n = 0; n < 100; n++) fits.set(`k${String(n).padStart(3, "0")}`, value);
      await fits.commit();
      const over = store.begin();
      for (let n = 0; n < 100; n++) over.set(`k${String(n).padStart(3, "0")}`, value);
      over.delete("1");
      await rejectsWith("TRANSACTION_TOO_LARGE", over.commit());
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
