// The FoundationDB engine over a client library that does what a test says: errors, retries, pages,
// and the life of transactions and of the store. What the real one does is the contract's part.

import { strict as assert } from "node:assert";
import { Buffer } from "node:buffer";
import { AssertionError } from "../../../shared/assert.ts";
import { sleep } from "../../../shared/environment.ts";
import { type ErrorCode, isRustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { systemEnvironment } from "../../../shared/platform.ts";
import { FoundationDbStore, waitForDatabase } from "../../../shared/store/foundationdb.ts";
import { checkClusterFile } from "../../../shared/store/foundationdb_client.ts";
import { commitError, readError } from "../../../shared/store/foundationdb_errors.ts";
import { transact } from "../../../shared/store/transact.ts";
import { FakeDatabase, NativeError } from "../../support/fake_foundationdb.ts";
import { VirtualClock } from "../../support/virtual_clock.ts";

const url = "fdb:/etc/foundationdb/fdb.cluster";

function open(): { database: FakeDatabase; store: FoundationDbStore; clock: VirtualClock } {
  const database = new FakeDatabase();
  const clock = new VirtualClock();
  return { database, clock, store: new FoundationDbStore(url, database, clock) };
}

async function rejects(promise: Promise<unknown>, code: ErrorCode, message = /./): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(isRustreError(error, code), String(error));
    assert.match(error.message, message);
    return true;
  });
}

const value = new Uint8Array([1]);

function textOf(value: Uint8Array | undefined): string {
  return new TextDecoder().decode(value);
}

/** All that can go on without a timer has. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

// ── errors ─────────────────────────────────────────────────────────────────────────────────────

Deno.test("FoundationDB's errors mean what the store interface has for them", () => {
  const rows: [number: number, read: ErrorCode, commit: ErrorCode][] = [
    [1007, "TRANSACTION_TOO_OLD", "TRANSACTION_TOO_OLD"],
    [1009, "STORE_BUSY", "STORE_BUSY"],
    [1020, "CONFLICT", "CONFLICT"],
    [1021, "STORE_FAILED", "COMMIT_UNKNOWN"],
    [1025, "STORE_FAILED", "COMMIT_UNKNOWN"],
    [1031, "STORE_FAILED", "COMMIT_UNKNOWN"],
    [1037, "STORE_BUSY", "STORE_BUSY"],
    [1038, "STORE_FAILED", "STORE_FAILED"],
    [1039, "STORE_BUSY", "COMMIT_UNKNOWN"],
    [1213, "STORE_BUSY", "STORE_BUSY"],
    [1515, "STORE_FAILED", "STORE_FAILED"],
    [2101, "TRANSACTION_TOO_LARGE", "TRANSACTION_TOO_LARGE"],
    [2102, "TRANSACTION_TOO_LARGE", "TRANSACTION_TOO_LARGE"],
    [2203, "WRONG_VERSION", "WRONG_VERSION"],
    [4242, "STORE_FAILED", "STORE_FAILED"],
  ];
  for (const [number, read, commit] of rows) {
    const native = new NativeError(number, "Something happened.");
    for (const [translate, code] of [[readError, read], [commitError, commit]] as const) {
      const error = translate(url, native);
      assert.ok(isRustreError(error, code), `${number}: ${error}`);
      assert.match(error.message, new RegExp(`^Cannot .* the store "${url}": .*\\(${number}\\)$`));
      assert.equal(error.cause, native);
    }
  }
});

Deno.test("a commit is only retried where nothing happened or its outcome is recognised", () => {
  for (let number = 1000; number < 3000; number++) {
    const error = commitError(url, new NativeError(number, "x"));
    assert.ok(isRustreError(error));
    // What says that nothing was applied must be sure of it; these are FoundationDB's own words.
    const surelyNot = [1007, 1009, 1020, 1037, 1042, 1051, 1078, 1213, 1223];
    const refused = [2101, 2102, 2103, 2201, 2202, 2203];
    if (error.applied === "no") assert.ok([...surelyNot, ...refused].includes(number), `${number}`);
  }
});

Deno.test("errors that are not FoundationDB's pass as they are", () => {
  for (const error of [new AssertionError("a bug"), new TypeError("another one")]) {
    assert.equal(readError(url, error), error);
    assert.equal(commitError(url, error), error);
  }
});

Deno.test("the engine tries nothing again by itself, and transact() does", async () => {
  const { database, store, clock } = open();
  let commits = 0;
  database.script.commit = () => {
    const number = [1020, 1021, 1009][commits++];
    return number ? Promise.reject(new NativeError(number, "x")) : Promise.resolve();
  };
  const transaction = store.begin();
  transaction.set("a", value);
  await rejects(transaction.commit(), "CONFLICT");
  assert.equal(commits, 1);
  const environment = { clock, random: systemEnvironment().random };
  const done = transact({ store, environment }, (transaction) => {
    transaction.set("a", value);
    return Promise.resolve();
  });
  await clock.run(done);
  assert.equal(commits, 4);
});

Deno.test("a transaction of which a read failed does not commit", async () => {
  const { database, store } = open();
  database.script.get = () => Promise.reject(new NativeError(1031, "x"));
  const transaction = store.begin();
  await rejects(transaction.get("a"), "STORE_FAILED", /no answer in time/);
  transaction.set("b", value);
  await rejects(transaction.commit(), "STORE_FAILED");
  assert.ok(!database.calls.includes("commit"));
});

// ── calls ──────────────────────────────────────────────────────────────────────────────────────

Deno.test("a transaction that only reads asks for no commit", async () => {
  const { database, store } = open();
  const transaction = store.begin();
  await Promise.all([transaction.get("a"), transaction.get("b", { snapshot: true })]);
  await transaction.commit();
  assert.deepEqual(database.taken(), ["get a", "get snapshot b"]);
});

Deno.test("reads of one operation are under way together", async () => {
  const { database, store } = open();
  const answers: (() => void)[] = [];
  database.script.get = () =>
    new Promise((resolve) => answers.push(() => resolve(Buffer.from("x"))));
  const transaction = store.begin();
  const reads = ["a", "b", "c"].map((key) => transaction.get(key));
  assert.deepEqual(database.taken(), ["get a", "get b", "get c"]);
  for (const answer of answers) answer();
  assert.equal((await Promise.all(reads)).length, 3);
});

Deno.test("writes are FoundationDB's, and keys and integers keep their bytes", async () => {
  const { database, store } = open();
  const transaction = store.begin();
  transaction.set("a", new Uint8Array([0x31]));
  transaction.delete("b");
  transaction.deleteRange({ begin: "c", end: "d" });
  transaction.deleteRange({ begin: "c", end: "c" });
  transaction.add("e", -2n);
  transaction.add("e", 2n ** 64n + 9n);
  transaction.addWriteConflictRange({ begin: "f", end: "g" });
  await transaction.commit();
  assert.deepEqual(database.taken(), [
    "set a 1",
    "clear b",
    "clearRange c d",
    "atomic 2 e feffffffffffffff",
    "atomic 2 e 0900000000000000",
    "writeConflict f g",
    "commit",
  ]);
});

Deno.test("a read conflict range takes its version at once, and its failure fails the commit", async () => {
  const { database, store } = open();
  const range = { begin: "a", end: "b" };
  const transaction = store.begin();
  transaction.addReadConflictRange(range);
  transaction.addReadConflictRange(range);
  transaction.set("x", value);
  await transaction.commit();
  assert.deepEqual(database.taken().slice(0, 3), [
    "readConflict a b",
    "getReadVersion",
    "readConflict a b",
  ]);
  database.script.getReadVersion = () => Promise.reject(new NativeError(1031, "x"));
  const failing = store.begin();
  failing.addReadConflictRange(range);
  failing.set("x", value);
  await rejects(failing.commit(), "STORE_FAILED");
});

Deno.test("getRange() goes on where a reply ended before the range and the limit", async () => {
  for (const reverse of [false, true]) {
    const { database, store } = open();
    const keys = ["k1", "k2", "k3", "k4", "k5"];
    database.script.getRange = (begin, end, limit) => {
      const inRange = keys.filter((key) => key >= begin && key < end);
      const ordered = reverse ? inRange.toReversed() : inRange;
      const page = ordered.slice(0, Math.min(2, limit));
      const results = page.map((key): [Buffer, Buffer] => [Buffer.from(key), Buffer.from("v")]);
      return Promise.resolve({ results, more: page.length < ordered.length });
    };
    const transaction = store.begin();
    const read = async (limit: number) => {
      const rows = await transaction.getRange({ begin: "k", end: "l" }, { limit, reverse });
      return rows.map(({ key }) => key);
    };
    const expected = reverse ? keys.toReversed() : keys;
    assert.deepEqual(await read(10), expected);
    assert.deepEqual(await read(3), expected.slice(0, 3));
    assert.deepEqual(await read(2), expected.slice(0, 2));
    await transaction.cancel();
  }
});

// ── operations that only read ──────────────────────────────────────────────────────────────────

Deno.test("readings that begin while a version is asked for share the next one, and what it reads", async () => {
  const { database, store } = open();
  const versions: (() => void)[] = [];
  database.script.getReadVersion = () => new Promise<void>((resolve) => versions.push(resolve));
  database.script.get = (key) => Promise.resolve(Buffer.from(key));
  const first = store.beginReading();
  const firstRead = first.get("a");
  const others = [store.beginReading(), store.beginReading(), store.beginReading()];
  const reads = others.map((reading) => Promise.all([reading.get("a"), reading.get("b")]));
  await settle();
  // Those that came later have no part in a version that was asked for before.
  assert.deepEqual(database.taken(), ["option 51", "getReadVersion"]);
  versions[0]!();
  assert.equal(textOf(await firstRead), "snapshot a");
  assert.deepEqual(database.taken(), ["get snapshot a", "option 51", "getReadVersion"]);
  versions[1]!();
  for (const read of reads) {
    assert.deepEqual((await read).map(textOf), ["snapshot a", "snapshot b"]);
  }
  assert.deepEqual(database.taken(), ["get snapshot a", "get snapshot b"]);
  const resets = () => database.calls.filter((call) => call === "reset").length;
  for (const reading of others) {
    assert.equal(resets(), 0, "a version is freed with its last reader");
    reading.end();
  }
  assert.equal(resets(), 1);
  first.end();
  assert.equal(resets(), 2);
});

Deno.test("a version that cannot be had fails its readings, and not the next ones", async () => {
  const { database, store } = open();
  database.script.getReadVersion = () => Promise.reject(new NativeError(1031, "x"));
  const [failing, next] = [store.beginReading(), store.beginReading()];
  const failed = rejects(failing.get("a"), "STORE_FAILED", /no answer in time/);
  database.script.getReadVersion = () => Promise.resolve();
  await failed;
  assert.equal(await next.get("a"), undefined);
  failing.end();
  next.end();
});

Deno.test("a reading without readers asks for nothing, and none goes on beyond its time or its store", async () => {
  const { database, store, clock } = open();
  const version = Promise.withResolvers<void>();
  database.script.getReadVersion = () => version.promise;
  const asked = store.beginReading();
  store.beginReading().end();
  version.resolve();
  await asked.get("a");
  await settle();
  assert.equal(database.calls.filter((call) => call === "getReadVersion").length, 1);
  const old = store.beginReading();
  await clock.run(sleep(clock, limits.transactionMs + 1));
  await rejects(old.get("a"), "TRANSACTION_TOO_OLD");
  await store.close();
  await rejects(asked.get("b"), "STORE_CLOSED");
  assert.throws(() => store.beginReading(), (error) => isRustreError(error, "STORE_CLOSED"));
  for (const reading of [asked, old]) reading.end();
  assert.throws(() => old.end(), AssertionError);
});

// ── lives ──────────────────────────────────────────────────────────────────────────────────────

Deno.test("transactions are used again, as new, and not more are kept than the limit says", async () => {
  const { database, store } = open();
  for (let turn = 0; turn < 10; turn++) {
    const transaction = store.begin();
    transaction.set("a", value);
    await (turn % 2 ? transaction.commit() : transaction.cancel());
    await transaction.cancel();
  }
  assert.equal(database.created, 1);
  // One when it ends, which ends its reads and frees its memory; one when its time begins.
  assert.equal(database.calls.filter((call) => call === "reset").length, 19);
  const count = limits.storeIdleTransactionsMax + 10;
  const round = async () => {
    const transactions = Array.from({ length: count }, () => store.begin());
    for (const transaction of transactions) await transaction.cancel();
  };
  await round();
  assert.equal(database.created, count);
  await round();
  assert.equal(database.created, count + 10);
});

Deno.test("close() waits for commits under way, and then nothing begins", async () => {
  const { database, store } = open();
  const committing = Promise.withResolvers<void>();
  database.script.commit = async () => {
    await committing.promise;
    database.calls.push("committed");
  };
  const [writing, reading] = [store.begin(), store.begin()];
  writing.set("a", value);
  const committed = writing.commit();
  const closed = store.close();
  assert.throws(() => store.begin(), (error) => isRustreError(error, "STORE_CLOSED"));
  await rejects(reading.get("a"), "STORE_CLOSED");
  await rejects(reading.commit(), "STORE_CLOSED");
  assert.equal(database.calls.at(-1), "reset");
  committing.resolve();
  await Promise.all([committed, closed, store.close()]);
  const ends = database.calls.filter((call) => call === "committed" || call === "close");
  assert.deepEqual(ends, ["committed", "close"]);
});

Deno.test("waiting for a database says so at each try, and ends when it answers", async () => {
  const { database, store, clock } = open();
  let tries = 0;
  database.script.get = () =>
    ++tries < 4 ? Promise.reject(new NativeError(1031, "x")) : Promise.resolve(undefined);
  const reasons: string[] = [];
  await clock.run(waitForDatabase(store, clock, { onWait: (reason) => reasons.push(reason) }));
  assert.equal(tries, 4);
  assert.equal(reasons.length, 3);
  assert.match(reasons[0]!, /^Cannot read the store "fdb:.*no answer in time/);
  assert.ok(clock.monotonicMs() >= 3 * limits.storeWaitMs);
});

Deno.test("waiting for a database ends with the signal, an error that stays, or unwatched", async () => {
  const { database, store, clock } = open();
  database.script.get = () => Promise.reject(new NativeError(1031, "x"));
  const stop = new AbortController();
  const waiting = waitForDatabase(store, clock, {
    signal: stop.signal,
    onWait: () => stop.abort(),
  });
  await assert.rejects(waiting, { name: "AbortError" });
  await rejects(waitForDatabase(store, clock, {}), "STORE_FAILED");
  database.script.get = () => Promise.reject(new NativeError(2203, "x"));
  await rejects(waitForDatabase(store, clock, { onWait: assert.fail }), "WRONG_VERSION");
});

// ── opening ────────────────────────────────────────────────────────────────────────────────────

Deno.test("a cluster file is checked before the client library is loaded", async () => {
  const directory = await Deno.makeTempDir({ prefix: "rustre-fdb-" });
  try {
    const path = `${directory}/fdb.cluster`;
    const check = () => checkClusterFile(`fdb:${path}`, path);
    await rejects(check(), "ENOENT", /cluster file cannot be read/);
    await rejects(checkClusterFile(`fdb:${directory}`, directory), "EISDIR");
    for (const text of ["", "# no line\n", "notes", "a:b@host", "a:b@h:1\nc:d@h:2", "@h:1"]) {
      await Deno.writeTextFile(path, text);
      await rejects(check(), "EINVAL", /is no FoundationDB cluster file/);
    }
    const valid = ["a:b@10.0.0.1:4500", "# c\na:b@h:1:tls,[::1]:2,name.example:3\n"];
    for (const text of valid) {
      await Deno.writeTextFile(path, text);
      await check();
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
