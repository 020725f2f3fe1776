// Promises of engines that keep their data: reopening, kill -9, several processes.

import { strict as assert } from "node:assert";
import { sleep } from "../../shared/environment.ts";
import { openStore } from "../../shared/store/open.ts";
import { prefixRange } from "../../shared/store/store.ts";
import { readOnly, transact } from "../../shared/store/transact.ts";
import { bytes, contents, integer, integerOf, put, type StorePromise } from "./store.ts";
import { ChildProcess } from "./store_child_process.ts";

export const persistencePromises: StorePromise[] = [
  {
    name: "what was committed is there after closing and opening again",
    persistent: true,
    async test({ store, context, open }) {
      await put(store, { a: "1", b: "2" });
      await store.close();
      const reopened = await open();
      assert.deepEqual(await contents({ ...context, store: reopened }), [["a", "1"], ["b", "2"]]);
    },
  },
  {
    name: "after kill -9 everything acknowledged is there, and nothing half",
    persistent: true,
    async test({ store, context, clock }) {
      const acknowledged = new Set<string>();
      for (let round = 0; round < 3; round++) {
        const child = new ChildProcess("pairs", store.url, String(round));
        for await (const line of child.lines()) {
          acknowledged.add(line);
          if (acknowledged.size >= 400 * (round + 1)) break;
        }
        for (const line of await child.kill()) acknowledged.add(line);
      }
      await store.close();
      const reopened = await openStore(store.url, clock);
      const found = new Map<string, number>();
      await transact({ ...context, store: reopened }, async (transaction) => {
        found.clear();
        let { begin, end } = prefixRange("pair/");
        for (;;) {
          const page = await transaction.getRange({ begin, end }, { limit: 1000 });
          for (const { key } of page) {
            const name = key.slice("pair/".length, key.lastIndexOf("/"));
            found.set(name, (found.get(name) ?? 0) + 1);
          }
          if (page.length < 1000) break;
          begin = page.at(-1)!.key + "\x00";
        }
      });
      await reopened.close();
      for (const [name, count] of found) assert.equal(count, 2, `half of "${name}" is there`);
      for (const name of acknowledged) assert.ok(found.has(name), `"${name}" was lost`);
    },
  },
  {
    name: "two processes that update the same counters lose nothing and show nothing half",
    persistent: true,
    async test({ store, context, clock }) {
      const children = [0, 1].map((each) => new ChildProcess("counters", store.url, String(each)));
      let running = children.length;
      const ends = children.map((child) => child.succeeds().finally(() => running--));
      let reads = 0;
      while (running > 0) {
        const [one, two] = await readOnly(context, async (transaction) => {
          return [await transaction.get("counter/0"), await transaction.get("twin/0")];
        });
        assert.equal(integerOf(one), integerOf(two), "a reader saw half a transaction");
        reads++;
        await sleep(clock, 0);
      }
      await Promise.all(ends);
      assert.ok(reads > 0);
      const rows = await readOnly(context, (transaction) => {
        return transaction.getRange(prefixRange("counter/"), { limit: 100 });
      });
      const sum = rows.reduce((total, { value }) => total + integerOf(value)!, 0n);
      assert.equal(sum, 2n * 1000n);
    },
  },
  {
    name: "what another process acknowledged is seen at once, and the other way round",
    persistent: true,
    async test({ store, context }) {
      const child = new ChildProcess("echo", store.url, "");
      const lines = child.lines();
      for (let round = 1n; round <= 100n; round++) {
        await transact(context, (transaction) => {
          transaction.set("here", integer(round));
          return Promise.resolve();
        });
        await child.send(String(round));
        const { value: line } = await lines.next();
        assert.equal(line, `${round}`, "the other process did not see this one's commit");
        const there = await readOnly(context, (transaction) => transaction.get("there"));
        assert.equal(integerOf(there), round, "this process did not see the other's commit");
      }
      await child.kill();
    },
  },
  {
    name: "a process killed with the store open does not stop the others",
    persistent: true,
    async test({ store, context }) {
      const child = new ChildProcess("pairs", store.url, "x");
      await child.lines().next();
      await child.kill();
      await put(store, { after: "1" });
      const value = await readOnly(context, (transaction) => transaction.get("after"));
      assert.deepEqual(value, bytes("1"));
    },
  },
];
