// Promises about concurrent transactions: which of them conflict, which do not.

import { strict as assert } from "node:assert";
import { isRustreError, RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { type OpenTransaction, prefixRange, type Store } from "../../shared/store/store.ts";
import { readOnly, transact } from "../../shared/store/transact.ts";
import {
  bytes,
  commitOn,
  integer,
  integerOf,
  put,
  read,
  rejectsWith,
  type StorePromise,
  textOf,
} from "./store.ts";

const range = { begin: "r/", end: "r0" };

/** One transaction reads and another commits before it does. */
interface Race {
  readonly name: string;
  readonly conflicts: boolean;
  readonly reader: (transaction: OpenTransaction) => Promise<unknown> | void;
  readonly writer: (transaction: OpenTransaction) => Promise<unknown> | void;
}

/** In a store with a, b, c and r/1, r/3, r/5. */
const races: Race[] = [
  {
    name: "a key that was read and changed (lost update)",
    conflicts: true,
    reader: (transaction) => transaction.get("a"),
    writer: (transaction) => transaction.set("a", bytes("2")),
  },
  {
    name: "a key that was read and deleted",
    conflicts: true,
    reader: (transaction) => transaction.get("a"),
    writer: (transaction) => transaction.delete("a"),
  },
  {
    name: "a key that was missing and made",
    conflicts: true,
    reader: (transaction) => transaction.get("missing"),
    writer: (transaction) => transaction.set("missing", bytes("2")),
  },
  {
    name: "a key that was read and deleted in a range",
    conflicts: true,
    reader: (transaction) => transaction.get("r/3"),
    writer: (transaction) => transaction.deleteRange(range),
  },
  {
    name: "a key that was read and added to",
    conflicts: true,
    reader: (transaction) => transaction.get("counter"),
    writer: (transaction) => transaction.add("counter", 1n),
  },
  {
    name: "another key than the one that was read",
    conflicts: false,
    reader: (transaction) => transaction.get("a"),
    writer: (transaction) => transaction.set("b", bytes("2")),
  },
  {
    name: "a new key in a range that was read (phantom)",
    conflicts: true,
    reader: (transaction) => transaction.getRange(range, { limit: 10 }),
    writer: (transaction) => transaction.set("r/2", bytes("2")),
  },
  {
    name: "a deleted key in a range that was read",
    conflicts: true,
    reader: (transaction) => transaction.getRange(range, { limit: 10, reverse: true }),
    writer: (transaction) => transaction.delete("r/5"),
  },
  {
    name: "a key at the end of a range that was read",
    conflicts: false,
    reader: (transaction) => transaction.getRange(range, { limit: 10 }),
    writer: (transaction) => transaction.set("r0", bytes("2")),
  },
  {
    name: "a key beyond where the limit ended the read",
    conflicts: false,
    reader: (transaction) => transaction.getRange(range, { limit: 2 }),
    writer: (transaction) => transaction.set("r/4", bytes("2")),
  },
  {
    name: "the last key that a limited read returned",
    conflicts: true,
    reader: (transaction) => transaction.getRange(range, { limit: 2 }),
    writer: (transaction) => transaction.set("r/3", bytes("2")),
  },
  {
    name: "a key between those that a limited read returned",
    conflicts: true,
    reader: (transaction) => transaction.getRange(range, { limit: 2 }),
    writer: (transaction) => transaction.set("r/2", bytes("2")),
  },
  {
    name: "a key beyond where the limit ended the read backwards",
    conflicts: false,
    reader: (transaction) => transaction.getRange(range, { limit: 2, reverse: true }),
    writer: (transaction) => transaction.set("r/2", bytes("2")),
  },
  {
    name: "the last key that a limited read backwards returned",
    conflicts: true,
    reader: (transaction) => transaction.getRange(range, { limit: 2, reverse: true }),
    writer: (transaction) => transaction.delete("r/3"),
  },
  {
    name: "an empty range that was read and filled (rmdir and create)",
    conflicts: true,
    reader: (transaction) => transaction.getRange(prefixRange("empty/"), { limit: 1 }),
    writer: (transaction) => transaction.set("empty/file", bytes("2")),
  },
  {
    name: "a key that was read as a snapshot",
    conflicts: false,
    reader: (transaction) => transaction.get("a", { snapshot: true }),
    writer: (transaction) => transaction.set("a", bytes("2")),
  },
  {
    name: "a range that was read as a snapshot",
    conflicts: false,
    reader: (transaction) => transaction.getRange(range, { limit: 10, snapshot: true }),
    writer: (transaction) => transaction.set("r/2", bytes("2")),
  },
  {
    name: "a key that was read as a snapshot and then for real",
    conflicts: true,
    async reader(transaction) {
      await transaction.get("a", { snapshot: true });
      await transaction.get("a");
    },
    writer: (transaction) => transaction.set("a", bytes("2")),
  },
  {
    name: "a read conflict range",
    conflicts: true,
    reader: (transaction) => transaction.addReadConflictRange(range),
    writer: (transaction) => transaction.set("r/4", bytes("2")),
  },
  {
    name: "a key beside a read conflict range",
    conflicts: false,
    reader: (transaction) => transaction.addReadConflictRange(range),
    writer: (transaction) => transaction.set("r0", bytes("2")),
  },
  {
    name: "a write conflict range over a key that was read",
    conflicts: true,
    reader: (transaction) => transaction.get("r/3"),
    writer: (transaction) => transaction.addWriteConflictRange(range),
  },
  {
    name: "a write conflict range over a range that was read",
    conflicts: true,
    reader: (transaction) => transaction.getRange(range, { limit: 10 }),
    writer: (transaction) => transaction.addWriteConflictRange({ begin: "r/7", end: "r/8" }),
  },
  {
    name: "a write conflict range over a read conflict range",
    conflicts: true,
    reader: (transaction) => transaction.addReadConflictRange(range),
    writer: (transaction) => transaction.addWriteConflictRange(range),
  },
  {
    name: "blind writes of one key",
    conflicts: false,
    reader: (transaction) => transaction.set("a", bytes("1")),
    writer: (transaction) => transaction.set("a", bytes("2")),
  },
  {
    name: "additions to one key",
    conflicts: false,
    reader: (transaction) => transaction.add("counter", 1n),
    writer: (transaction) => transaction.add("counter", 1n),
  },
];

async function prepare(store: Store): Promise<void> {
  await put(store, { a: "1", b: "1", c: "1", "r/1": "1", "r/3": "1", "r/5": "1" });
  await commitOn(store, (transaction) => transaction.set("counter", integer(40n)));
}

const racePromises = races.map(({ name, conflicts, reader, writer }): StorePromise => ({
  name: `${conflicts ? "conflict" : "no conflict"}: ${name}`,
  concurrent: true,
  async test({ store, other }) {
    await prepare(store);
    const transaction = store.begin();
    await reader(transaction);
    transaction.set("result", bytes("written"));
    await commitOn(other, async (concurrent) => void await writer(concurrent));
    if (conflicts) await rejectsWith("CONFLICT", transaction.commit());
    else await transaction.commit();
    assert.equal(await read(store, "result"), conflicts ? undefined : "written");
  },
}));

export const conflictPromises: StorePromise[] = [
  ...racePromises,
  {
    name: "of two that read what the other writes, one conflicts (write skew)",
    concurrent: true,
    async test({ store, other }) {
      await prepare(store);
      const first = store.begin();
      const second = other.begin();
      await first.get("a");
      await second.get("b");
      first.set("b", bytes("2"));
      second.set("a", bytes("2"));
      const results = await Promise.allSettled([first.commit(), second.commit()]);
      const rejected = results.filter((result) => result.status === "rejected");
      assert.equal(rejected.length, 1);
      assert.ok(isRustreError(rejected[0]!.reason, "CONFLICT"));
    },
  },
  {
    name: "a transaction that only reads never conflicts at its commit",
    concurrent: true,
    async test({ store, other }) {
      await prepare(store);
      const transaction = store.begin();
      assert.equal(textOf(await transaction.get("a")), "1");
      await put(other, { a: "2" });
      await transaction.commit();
    },
  },
  {
    name: "a read at any moment of a commit sees all of it or nothing",
    concurrent: true,
    async test({ store, other, context }) {
      await put(store, { left: "0", right: "0" });
      for (let turns = 0; turns < 30; turns++) {
        const text = String(turns);
        const commit = put(other, { left: text, right: text });
        for (let turn = 0; turn < turns; turn++) await Promise.resolve();
        const [left, right] = await readOnly(context, async (transaction) => {
          return [await transaction.get("left"), await transaction.get("right")];
        });
        assert.equal(textOf(left), textOf(right));
        await commit;
        assert.equal(await read(store, "right"), text);
      }
    },
  },
  {
    name: "additions of concurrent transactions all count",
    concurrent: true,
    async test({ store, other }) {
      const stores = [store, other];
      await Promise.all(Array.from({ length: 100 }, (_, index) => {
        return commitOn(stores[index % 2]!, (transaction) => transaction.add("sum", BigInt(index)));
      }));
      const transaction = store.begin();
      assert.equal(integerOf(await transaction.get("sum")), 4950n);
      await transaction.commit();
    },
  },
  {
    name: "readOnly() sees all that was acknowledged before it began, of one moment",
    concurrent: true,
    async test({ context, other }) {
      let acknowledged = 0;
      const writing = async () => {
        for (let round = 1; round <= 50; round++) {
          const value = bytes(String(round));
          await commitOn(other, (transaction) => {
            transaction.set("left", value);
            transaction.set("right", value);
          });
          acknowledged = round;
        }
      };
      const reading = async () => {
        while (acknowledged < 50) {
          const before = acknowledged;
          const [left, right, rows] = await readOnly(context, async (transaction) => {
            const left = await transaction.get("left");
            const rows = await transaction.getRange({ begin: "a", end: "z" }, { limit: 2 });
            return [left, await transaction.get("right"), rows];
          });
          assert.deepEqual(right, left);
          assert.deepEqual(rows.map(({ value }) => value), left ? [left, left] : []);
          const seen = left ? Number(new TextDecoder().decode(left)) : 0;
          assert.ok(seen >= before, `${seen} was read when ${before} was acknowledged`);
          // An engine in memory needs no more than promises, and would let nobody else run.
          await new Promise((resolve) => setTimeout(resolve));
        }
      };
      await Promise.all([writing(), ...Array.from({ length: 8 }, reading)]);
    },
  },
  {
    name: "transact() makes concurrent updates of one key all count",
    concurrent: true,
    async test({ store, other, context }) {
      const contexts = [context, { ...context, store: other }];
      await Promise.all(Array.from({ length: 40 }, (_, index) => {
        return transact(contexts[index % 2]!, async (transaction) => {
          const before = integerOf(await transaction.get("sum")) ?? 0n;
          transaction.set("sum", integer(before + 1n));
        });
      }));
      const transaction = store.begin();
      assert.equal(integerOf(await transaction.get("sum")), 40n);
      await transaction.commit();
    },
  },
  {
    name: "transact() runs again after CONFLICT and returns what the run that committed returned",
    concurrent: true,
    async test({ context, other }) {
      let runs = 0;
      const result = await transact(context, async (transaction) => {
        runs++;
        const seen = textOf(await transaction.get("a"));
        if (runs < 4) await put(other, { a: String(runs) });
        transaction.set("b", bytes("x"));
        return seen;
      });
      assert.equal(runs, 4);
      assert.equal(result, "3");
    },
  },
  {
    name: "transact() gives up after limits.transactionAttemptsMax with the CONFLICT",
    async test({ context }) {
      let runs = 0;
      const operation = () => {
        runs++;
        return Promise.reject(new RustreError("CONFLICT", "Cannot win: this is a test"));
      };
      const clock = {
        ...instantTimers,
        monotonicMs: () => context.environment.clock.monotonicMs(),
      };
      const environment = { clock, random: context.environment.random };
      await rejectsWith("CONFLICT", transact({ store: context.store, environment }, operation));
      assert.equal(runs, limits.transactionAttemptsMax);
    },
  },
  {
    name: "transact() does not run again after another error, and nothing is written",
    async test({ store, context }) {
      let runs = 0;
      const operation = (transaction: { set(key: string, value: Uint8Array): void }) => {
        runs++;
        transaction.set("a", bytes("1"));
        return Promise.reject(new RustreError("EEXIST", 'Cannot make "a": this is a test'));
      };
      await rejectsWith("EEXIST", transact(context, operation));
      assert.equal(runs, 1);
      assert.equal(await read(store, "a"), undefined);
    },
  },
];

const instantTimers = {
  nowMs: () => 0,
  setTimer(callback: () => void): () => void {
    queueMicrotask(callback);
    return () => {};
  },
};
