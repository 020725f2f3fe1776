// The sqlite engine on disks that are full, fail or are slow, and beside other processes.

import { strict as assert } from "node:assert";
import { DatabaseSync } from "node:sqlite";
import { isRustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { systemEnvironment } from "../../../shared/platform.ts";
import { type SqliteFaults, SqliteStore } from "../../../shared/store/sqlite.ts";
import { AdjustableClock, commitOn, put, read, rejectsWith } from "../../contract/store.ts";

const { clock } = systemEnvironment();

async function withStore(
  faults: SqliteFaults,
  test: (store: SqliteStore, path: string) => Promise<void>,
  storeClock = clock,
): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "rustre-sqlite-" });
  const path = `${directory}/meta.db`;
  const store = new SqliteStore(`sqlite:${path}`, path, storeClock, faults);
  try {
    await test(store, path);
  } finally {
    await store.close();
    await Deno.remove(directory, { recursive: true });
  }
}

const value = new Uint8Array(50_000);

Deno.test("a full disk is ENOSPC, and the store goes on", async () => {
  await withStore({ pagesMax: 40 }, async (store) => {
    await commitOn(store, (transaction) => transaction.set("first", value));
    const commits = Array.from({ length: 4 }, (_, number) => {
      return commitOn(store, (transaction) => transaction.set(`big ${number}`, value));
    });
    const results = await Promise.allSettled([...commits, put(store, { small: "1" })]);
    const failed = results.filter((result) => result.status === "rejected");
    assert.ok(failed.length > 0, "nothing met the end of the disk");
    for (const { reason } of failed) {
      assert.ok(isRustreError(reason, "ENOSPC"), String(reason));
      assert.match(reason.message, /sqlite:.*meta\.db.*no space left/);
    }
    assert.equal(results.at(-1)!.status, "fulfilled", "what fits was refused with what does not");
    await commitOn(store, (transaction) => {
      transaction.delete("first");
      transaction.delete("big 0");
    });
    await commitOn(store, (transaction) => transaction.set("again", value));
    assert.equal(await read(store, "small"), "1");
  });
});

Deno.test("what shared a batch with a full disk is there or not, as it was answered", async () => {
  await withStore({ pagesMax: 40 }, async (store) => {
    const numbers = Array.from({ length: 12 }, (_, number) => number);
    const results = await Promise.allSettled(numbers.map((number) => {
      return commitOn(store, async (transaction) => {
        await transaction.get(`key ${number}`);
        transaction.set(`key ${number}`, new Uint8Array(20_000));
      });
    }));
    const stored = await Promise.all(numbers.map((number) => read(store, `key ${number}`)));
    for (const number of numbers) {
      assert.equal(stored[number] !== undefined, results[number]!.status === "fulfilled");
    }
    for (const result of results) {
      if (result.status === "rejected") assert.ok(isRustreError(result.reason, "ENOSPC"));
    }
    assert.ok(results.some(({ status }) => status === "rejected"));
    assert.ok(results.some(({ status }) => status === "fulfilled"));
  });
});

Deno.test("after a failed sync the store refuses everything with STORE_FAILED", async () => {
  let broken = false;
  const syncLog = () => broken ? Promise.reject(new Error("EIO")) : Promise.resolve();
  await withStore({ syncLog }, async (store) => {
    await put(store, { a: "1" });
    const open = store.begin();
    await open.get("a");
    broken = true;
    const queued = [put(store, { a: "2" }), put(store, { b: "2" })];
    for (const commit of queued) await rejectsWith("STORE_FAILED", commit);
    broken = false;
    await rejectsWith("STORE_FAILED", put(store, { c: "3" }));
    await rejectsWith("STORE_FAILED", read(store, "a"));
    open.set("d", value);
    await rejectsWith("STORE_FAILED", open.commit());
  });
});

/** A sync that ends when the test says so. */
class GatedSync {
  #gate: PromiseWithResolvers<void> | undefined;

  readonly syncLog = () => this.#gate?.promise ?? Promise.resolve();

  hold(): Disposable {
    this.#gate = Promise.withResolvers();
    return { [Symbol.dispose]: () => this.release() };
  }

  release(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }
}

async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  promise.finally(() => settled = true).catch(() => {/* the caller looks at it */});
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
  return settled;
}

Deno.test("nobody is told of a commit that is not durable", async () => {
  const gate = new GatedSync();
  await withStore({ syncLog: gate.syncLog }, async (store) => {
    await put(store, { old: "1" });
    await read(store, "old");
    using _held = gate.hold();
    const commit = put(store, { new: "1" });
    assert.equal(await isSettled(commit), false);
    const reader = store.begin();
    assert.notEqual(await reader.get("new"), undefined);
    const readerEnds = reader.commit();
    const refuser = store.begin();
    await refuser.getRange({ begin: "n", end: "o" }, { limit: 1 });
    const refuserEnds = refuser.cancel();
    assert.equal(await isSettled(readerEnds), false);
    assert.equal(await isSettled(refuserEnds), false);
    assert.equal(await read(store, "old"), "1", "what is durable must not wait");
    gate.release();
    await Promise.all([commit, readerEnds, refuserEnds]);
  });
});

Deno.test("what another process committed is synced before it is told", async () => {
  const gate = new GatedSync();
  await withStore({ syncLog: gate.syncLog }, async (store, path) => {
    await read(store, "x");
    const other = new SqliteStore(store.url, path, clock);
    await put(other, { x: "1" });
    using _held = gate.hold();
    const reader = store.begin();
    assert.notEqual(await reader.get("x"), undefined);
    const ends = reader.commit();
    assert.equal(await isSettled(ends), false);
    gate.release();
    await ends;
    await other.close();
  });
});

Deno.test("a commit waits for another process's lock, and no longer than a transaction may", async () => {
  const adjustable = new AdjustableClock();
  await withStore({}, async (store, path) => {
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    const tooLate = put(store, { a: "1" });
    assert.equal(await isSettled(tooLate), false);
    adjustable.advance(limits.transactionMs + 1);
    await rejectsWith("TRANSACTION_TOO_OLD", tooLate);
    const inTime = put(store, { b: "1" });
    assert.equal(await isSettled(inTime), false);
    other.exec("ROLLBACK");
    other.close();
    await inTime;
    assert.equal(await read(store, "a"), undefined);
    assert.equal(await read(store, "b"), "1");
  }, adjustable);
});

Deno.test("the log is copied and used again under steady commits", async () => {
  await withStore({}, async (store, path) => {
    let largestBytes = 0;
    for (let round = 0; round < 300; round++) {
      await commitOn(store, (transaction) => {
        for (let number = 0; number < 8; number++) transaction.set(`k${number}`, value);
      });
      await read(store, "k1");
      largestBytes = Math.max(largestBytes, (await Deno.stat(`${path}-wal`)).size);
    }
    const pageBytes = 4096 + 24;
    assert.ok(largestBytes < 2 * limits.storeLogPages * pageBytes, `${largestBytes} bytes of log`);
  });
});
