import assert from "node:assert/strict";
import { PendingCalls } from "../../../shared/rpc/pending_calls.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

interface TestCall {
  requestId: number;
  readonly name: number;
}

Deno.test("PendingCalls does what a map does, with request ids that nobody else has", () => {
  const random = new SeededRandom(4);
  // Ids go over the end of 32 bits on the way.
  const calls = new PendingCalls<TestCall>(0xffff_ffff - 5_000);
  const model = new Map<number, TestCall>();
  for (let name = 0; name < 20_000; name++) {
    // One call in a hundred stays for very long.
    if (model.size < 512 && random.below(2) === 0) {
      const call = { requestId: 0, name };
      calls.add(call);
      assert(call.requestId > 0 && call.requestId <= 0xffff_ffff);
      assert(!model.has(call.requestId), "an id of a call that is still there");
      model.set(call.requestId, call);
    } else {
      const ids = [...model.keys()].filter((id) => id % 100 !== 0);
      const requestId = ids[random.below(Math.max(1, ids.length))] ?? 5;
      assert.equal(calls.take(requestId), model.get(requestId));
      assert.equal(calls.take(requestId), undefined);
      model.delete(requestId);
    }
    assert.equal(calls.size, model.size);
  }
  assert(model.size > 10);
  const order = (a: TestCall, b: TestCall) => a.requestId - b.requestId;
  assert.deepEqual([...calls].sort(order), [...model.values()].sort(order));
});

Deno.test("PendingCalls.take() knows a late reply from the call that has its place now", () => {
  const calls = new PendingCalls<TestCall>();
  const early = { requestId: 0, name: 1 };
  calls.add(early);
  calls.take(early.requestId);
  for (let name = 2; name < 3_000; name++) {
    const call = { requestId: 0, name };
    calls.add(call);
    assert.equal(calls.take(early.requestId), undefined);
    calls.take(call.requestId);
  }
});

Deno.test("PendingCalls may lose calls while they are gone through", () => {
  const calls = new PendingCalls<TestCall>();
  const all = Array.from({ length: 10 }, (_, name) => ({ requestId: 0, name }));
  for (const call of all) calls.add(call);
  const seen: number[] = [];
  for (const call of calls) {
    seen.push(call.name);
    calls.take(call.requestId);
    calls.take(call.requestId + 1);
  }
  assert.deepEqual(seen, [0, 2, 4, 6, 8]);
  assert.equal(calls.size, 0);
});
