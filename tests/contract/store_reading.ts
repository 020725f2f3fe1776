// Promises about what a transaction reads: order, paging, its own writes, one moment.

import { strict as assert } from "node:assert";
import { AssertionError } from "../../shared/assert.ts";
import type {
  KeyValue,
  OpenTransaction,
  RangeOptions,
  ReadTransaction,
} from "../../shared/store/store.ts";
import { bytesToKey, prefixRange, textToKey } from "../../shared/store/store.ts";
import {
  bytes,
  commitOn,
  contents,
  everything,
  integer,
  integerOf,
  put,
  read,
  rejectsWith,
  type StorePromise,
  textOf,
  throwsWith,
} from "./store.ts";

export const readingPromises: StorePromise[] = [
  {
    name: "a value is read back, an empty one is not a missing one, the empty key is a key",
    async test({ store }) {
      await put(store, { "": "of the empty key", full: "text", empty: "" });
      assert.equal(await read(store, ""), "of the empty key");
      assert.equal(await read(store, "full"), "text");
      assert.equal(await read(store, "empty"), "");
      assert.equal(await read(store, "missing"), undefined);
    },
  },
  {
    name: "values keep every byte",
    async test({ store }) {
      const value = Uint8Array.from({ length: 256 }, (_, index) => index);
      await commitOn(store, (transaction) => transaction.set("all", value));
      const transaction = store.begin();
      assert.deepEqual(Array.from((await transaction.get("all"))!), Array.from(value));
      await transaction.commit();
    },
  },
  {
    name: "getRange() returns the keys in byte order, 0x00 to 0xff, a prefix before the longer key",
    async test({ store, context }) {
      const keys = Array.from({ length: 255 }, (_, byte) => bytesToKey(Uint8Array.of(byte)));
      keys.push("a\x00", "a\x00\x00", "a\xff", "ab", "b\xfe\xff", textToKey("ä"), textToKey("z€"));
      const shuffled = keys.toReversed();
      await commitOn(store, (transaction) => {
        for (const key of shuffled) transaction.set(key, bytes("x"));
      });
      assert.deepEqual((await contents(context)).map(([key]) => key), keys.toSorted(byteOrder));
    },
  },
  {
    name: "getRange() takes its begin and leaves out its end",
    async test({ store }) {
      await put(store, { a: "1", b: "2", c: "3", d: "4" });
      await inTransaction(store.begin(), async (transaction) => {
        assert.deepEqual(await keysIn(transaction, "b", "d"), ["b", "c"]);
        assert.deepEqual(await keysIn(transaction, "b", "b"), []);
        assert.deepEqual(await keysIn(transaction, "b", "b\x00"), ["b"]);
        assert.deepEqual(await keysIn(transaction, "bb", "cc"), ["c"]);
        assert.deepEqual(await keysIn(transaction, "e", "z"), []);
      });
    },
  },
  {
    name: "pages forwards and backwards join to the whole",
    async test({ store }) {
      const keys = Array.from({ length: 1000 }, (_, n) => `page/${String(n).padStart(4, "0")}`);
      await commitOn(store, (transaction) => {
        transaction.set("page.", bytes("before"));
        transaction.set("page0", bytes("after"));
        for (const key of keys) transaction.set(key, bytes(key));
      });
      for (const limit of [7, 999, 1000, 1001]) {
        await inTransaction(store.begin(), async (transaction) => {
          assert.deepEqual(await allPages(transaction, { limit }), keys);
          const backwards = await allPages(transaction, { limit, reverse: true });
          assert.deepEqual(backwards, keys.toReversed());
        });
      }
    },
  },
  {
    name: "a transaction reads its own writes, and nobody else does before the commit",
    async test({ store }) {
      await put(store, { old: "old", gone: "gone" });
      const transaction = store.begin();
      transaction.set("new", bytes("new"));
      transaction.set("old", bytes("changed"));
      transaction.delete("gone");
      assert.equal(textOf(await transaction.get("new")), "new");
      assert.equal(textOf(await transaction.get("old")), "changed");
      assert.equal(await transaction.get("gone"), undefined);
      assert.equal(await read(store, "new"), undefined);
      assert.equal(await read(store, "old"), "old");
      assert.equal(await read(store, "gone"), "gone");
      await transaction.commit();
      assert.equal(await read(store, "new"), "new");
      assert.equal(await read(store, "gone"), undefined);
    },
  },
  {
    name: "getRange() sees set, delete, deleteRange and add of its transaction, limit and reverse",
    async test({ store, context }) {
      await put(store, { a: "a", b: "b", c: "c", d: "d", e: "e", f: "f" });
      await inTransaction(store.begin(), async (transaction) => {
        transaction.delete("b");
        transaction.deleteRange({ begin: "d", end: "f" });
        transaction.set("dd", bytes("new"));
        transaction.set("aa", bytes("new"));
        transaction.add("g", 7n);
        const expected = ["a", "aa", "c", "dd", "f", "g"];
        for (let limit = 1; limit <= 7; limit++) {
          const forwards = await transaction.getRange(everything, { limit });
          assert.deepEqual(forwards.map(({ key }) => key), expected.slice(0, limit));
          const backwards = await transaction.getRange(everything, { limit, reverse: true });
          assert.deepEqual(
            backwards.map(({ key }) => key),
            expected.toReversed().slice(0, limit),
          );
        }
        const [last] = await transaction.getRange(everything, { limit: 1, reverse: true });
        assert.equal(integerOf(last!.value), 7n);
      });
      assert.deepEqual(
        (await contents(context)).map(([key]) => key),
        ["a", "aa", "c", "dd", "f", "g"],
      );
    },
  },
  {
    name: "the order of set, delete and deleteRange within a transaction counts",
    async test({ store, context }) {
      await put(store, { a: "old", b: "old", c: "old" });
      await commitOn(store, (transaction) => {
        transaction.set("a", bytes("lost"));
        transaction.deleteRange({ begin: "a", end: "c" });
        transaction.set("b", bytes("kept"));
        transaction.set("c", bytes("lost"));
        transaction.delete("c");
      });
      assert.deepEqual(await contents(context), [["b", "kept"]]);
    },
  },
  {
    name: "everything a transaction reads is of one moment, or the read fails with CONFLICT",
    concurrent: true,
    async test({ store, other }) {
      await put(store, { a: "1", b: "1" });
      const transaction = store.begin();
      assert.equal(textOf(await transaction.get("a", { snapshot: true })), "1");
      await put(other, { a: "2", b: "2" });
      assert.equal(await read(store, "a"), "2");
      let b: string | undefined;
      try {
        b = textOf(await transaction.get("b", { snapshot: true }));
      } catch {
        await rejectsWith("CONFLICT", transaction.get("b"));
      }
      assert.ok(b === undefined || b === "1", `read b=${b} beside a=1`);
      await transaction.cancel();
    },
  },
  {
    name: "a transaction goes on reading while others write what it does not read",
    concurrent: true,
    async test({ store, other }) {
      await put(store, { a: "1", b: "1", c: "1" });
      const transaction = store.begin();
      for (const key of ["a", "b", "c"]) {
        assert.equal(textOf(await transaction.get(key)), "1");
        await put(other, { elsewhere: key });
        assert.equal(await read(store, "elsewhere"), key);
      }
      transaction.set("a", bytes("2"));
      await transaction.commit();
    },
  },
  {
    name: "a transaction sees what was committed before it began",
    concurrent: true,
    async test({ store, other }) {
      for (let round = 0; round < 50; round++) {
        const text = String(round);
        await put(round % 2 === 0 ? store : other, { round: text });
        assert.equal(await read(store, "round"), text);
        assert.equal(await read(other, "round"), text);
      }
    },
  },
  {
    name: "add() counts from 0, below 0 and around the end of 64 bits",
    async test({ store }) {
      const largest = 2n ** 63n - 1n;
      await commitOn(store, (transaction) => {
        transaction.add("fresh", 5n);
        transaction.add("negative", -3n);
        transaction.set("wraps", integer(largest));
      });
      await commitOn(store, (transaction) => {
        transaction.add("fresh", -7n);
        transaction.add("negative", 1n);
        transaction.add("wraps", 2n);
        transaction.add("huge", 2n ** 64n + 9n);
      });
      await inTransaction(store.begin(), async (transaction) => {
        assert.equal(integerOf(await transaction.get("fresh")), -2n);
        assert.equal(integerOf(await transaction.get("negative")), -2n);
        assert.equal(integerOf(await transaction.get("wraps")), -largest);
        assert.equal(integerOf(await transaction.get("huge")), 9n);
      });
    },
  },
  {
    name: "add() joins with the other writes and reads of its transaction",
    async test({ store }) {
      await commitOn(store, (transaction) => transaction.add("stored", 10n));
      const transaction = store.begin();
      transaction.add("stored", 1n);
      transaction.add("stored", 2n);
      assert.equal(integerOf(await transaction.get("stored")), 13n);
      transaction.add("stored", -1n);
      transaction.set("set", integer(100n));
      transaction.add("set", 1n);
      transaction.delete("deleted");
      transaction.add("deleted", 3n);
      await transaction.commit();
      await inTransaction(store.begin(), async (later) => {
        assert.equal(integerOf(await later.get("stored")), 12n);
        assert.equal(integerOf(await later.get("set")), 101n);
        assert.equal(integerOf(await later.get("deleted")), 3n);
      });
    },
  },
  {
    name: "add() to a value of another length is STORE_FORMAT, and nothing is written",
    seesAdditions: true,
    async test({ store }) {
      await put(store, { text: "seven b" });
      const transaction = store.begin();
      transaction.set("beside", bytes("x"));
      transaction.add("text", 1n);
      await rejectsWith("STORE_FORMAT", transaction.commit());
      assert.equal(await read(store, "beside"), undefined);
      assert.equal(await read(store, "text"), "seven b");
    },
  },
  {
    name: "a cancelled transaction leaves nothing, and cancelling after the end does nothing",
    async test({ store, context }) {
      const cancelled = store.begin();
      cancelled.set("a", bytes("1"));
      await cancelled.cancel();
      await cancelled.cancel();
      assert.deepEqual(await contents(context), []);
      const committed = store.begin();
      committed.set("a", bytes("2"));
      await committed.commit();
      await committed.cancel();
      assert.equal(await read(store, "a"), "2");
    },
  },
  {
    name: "using a transaction after its end is a bug that shows",
    async test({ store }) {
      for (const end of ["commit", "cancel"] as const) {
        const transaction = store.begin();
        await transaction[end]();
        await assert.rejects(transaction.get("a"), AssertionError);
        await assert.rejects(transaction.getRange(everything, { limit: 1 }), AssertionError);
        await assert.rejects(transaction.commit(), AssertionError);
        assert.throws(() => transaction.set("a", bytes("1")), AssertionError);
        assert.throws(() => transaction.delete("a"), AssertionError);
        assert.throws(() => transaction.deleteRange(everything), AssertionError);
        assert.throws(() => transaction.add("a", 1n), AssertionError);
        assert.throws(() => transaction.addReadConflictRange(everything), AssertionError);
        assert.throws(() => transaction.addWriteConflictRange(everything), AssertionError);
      }
    },
  },
  {
    name: "close() waits for commits under way, and everything later fails with STORE_CLOSED",
    async test({ store }) {
      const reading = store.begin();
      const writing = store.begin();
      writing.set("b", bytes("1"));
      let committed = false;
      const transaction = store.begin();
      transaction.set("a", bytes("1"));
      const commit = transaction.commit().then(() => committed = true);
      const closing = store.close();
      throwsWith("STORE_CLOSED", () => store.begin());
      await rejectsWith("STORE_CLOSED", reading.get("a"));
      await rejectsWith("STORE_CLOSED", writing.commit());
      await closing;
      assert.ok(committed);
      await commit;
      await store.close();
      throwsWith("STORE_CLOSED", () => store.begin());
    },
  },
];

function byteOrder(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

async function inTransaction(
  transaction: OpenTransaction,
  body: (transaction: OpenTransaction) => Promise<void>,
): Promise<void> {
  await body(transaction);
  await transaction.commit();
}

async function keysIn(transaction: ReadTransaction, begin: string, end: string): Promise<string[]> {
  const rows = await transaction.getRange({ begin, end }, { limit: 100 });
  return rows.map(({ key }) => key);
}

/** Every key under "page/", page by page. */
async function allPages(transaction: ReadTransaction, options: RangeOptions): Promise<string[]> {
  const keys: string[] = [];
  let { begin, end } = prefixRange("page/");
  for (;;) {
    const page: KeyValue[] = await transaction.getRange({ begin, end }, options);
    for (const { key, value } of page) {
      assert.equal(textOf(value), key);
      keys.push(key);
    }
    if (page.length < options.limit) return keys;
    if (options.reverse) end = keys.at(-1)!;
    else begin = keys.at(-1)! + "\x00";
  }
}
