// What RecentCommits remembers, and that it forgets.

import { strict as assert } from "node:assert";
import { limits } from "../../../shared/limits.ts";
import { type Reader, RecentCommits } from "../../../shared/store/conflicts.ts";

function reader(recent: RecentCommits, begunMs: number): Reader {
  const one = { readVersion: recent.version, begunMs };
  recent.addReader(one);
  return one;
}

/** A commit that is durable at once. */
function commit(recent: RecentCommits, keys: string[], nowMs = 0): void {
  recent.setDurable(recent.record(keys, []));
  recent.trim(nowMs);
}

Deno.test("RecentCommits knows the last write of a key while someone reads", () => {
  const recent = new RecentCommits();
  commit(recent, ["a"]);
  const { readVersion } = reader(recent, 0);
  commit(recent, ["b"]);
  commit(recent, ["b", "c"]);
  assert.equal(recent.lastWriteOf("a", readVersion), readVersion);
  assert.equal(recent.lastWriteOf("b", readVersion), readVersion + 2);
  assert.equal(recent.lastWriteIn({ begin: "a", end: "b" }, readVersion), readVersion);
  assert.equal(recent.lastWriteIn({ begin: "a", end: "b\x00" }, readVersion), readVersion + 2);
});

Deno.test("RecentCommits finds keys within written ranges", () => {
  const recent = new RecentCommits();
  const { readVersion } = reader(recent, 0);
  recent.record(["m"], []);
  recent.record([], [{ begin: "a", end: "c" }]);
  assert.equal(recent.lastWriteOf("b", readVersion), 2);
  assert.equal(recent.lastWriteOf("c", readVersion), readVersion);
  assert.equal(recent.lastWriteOf("m", readVersion), 1);
  assert.equal(recent.lastWriteIn({ begin: "bb", end: "z" }, readVersion), 2);
});

Deno.test("RecentCommits stays empty when nobody reads", () => {
  const recent = new RecentCommits();
  for (let n = 0; n < 5000; n++) commit(recent, [`key ${n}`]);
  assert.equal(recent.size, 0);
});

Deno.test("RecentCommits keeps what is not durable yet", () => {
  const recent = new RecentCommits();
  recent.record(["a"], []);
  recent.trim(0);
  assert.equal(recent.lastWriteOf("a", 0), 1);
  recent.setDurable(1);
  recent.trim(0);
  assert.equal(recent.size, 0);
  assert.equal(recent.lastWriteOf("a", 0), 0);
});

Deno.test("RecentCommits does not wait for an abandoned reader over its time", () => {
  const recent = new RecentCommits();
  reader(recent, 0);
  for (let n = 0; n < 100; n++) commit(recent, ["a"], limits.transactionMs);
  assert.equal(recent.size, 100);
  const { readVersion } = reader(recent, limits.transactionMs);
  commit(recent, ["b"], limits.transactionMs + 1);
  assert.equal(recent.size, 1);
  assert.equal(recent.lastWriteOf("b", readVersion), readVersion + 1);
});

Deno.test("RecentCommits takes back what was not committed after all", () => {
  const recent = new RecentCommits();
  const { readVersion } = reader(recent, 0);
  recent.record(["a"], []);
  recent.record(["a", "b"], [{ begin: "x", end: "y" }]);
  recent.revertTo(1);
  assert.equal(recent.version, 1);
  assert.equal(recent.lastWriteOf("a", readVersion), 1);
  assert.equal(recent.lastWriteOf("b", readVersion), readVersion);
  assert.equal(recent.lastWriteOf("x", readVersion), readVersion);
});
