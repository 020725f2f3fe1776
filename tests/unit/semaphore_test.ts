import assert from "node:assert/strict";
import fc from "fast-check";
import { Semaphore } from "../../shared/semaphore.ts";

Deno.test("Semaphore gives what is free at once", async () => {
  const semaphore = new Semaphore(3);
  await semaphore.acquire(2);
  assert.equal(semaphore.inUse, 2);
  assert(!semaphore.tryAcquire(2));
  assert(semaphore.tryAcquire());
  semaphore.release(3);
  assert.equal(semaphore.inUse, 0);
});

Deno.test("Semaphore admits in the order of asking, also behind a large one", async () => {
  const semaphore = new Semaphore(4);
  await semaphore.acquire(4);
  const order: string[] = [];
  const waiting = [["large", 3], ["small", 1], ["last", 1]].map(([name, units]) =>
    semaphore.acquire(units as number).then(() => order.push(name as string))
  );
  semaphore.release(1);
  assert(!semaphore.tryAcquire(), "nobody overtakes those who wait");
  await Promise.resolve();
  assert.deepEqual(order, []);
  semaphore.release(3);
  await Promise.all(waiting.slice(0, 2));
  assert.deepEqual(order, ["large", "small"]);
  semaphore.release(1);
  await waiting[2];
});

Deno.test("Semaphore.acquire() rejects with the signal's reason and leaves the queue", async () => {
  const semaphore = new Semaphore(2);
  await semaphore.acquire(2);
  const stop = new AbortController();
  const large = assert.rejects(semaphore.acquire(2, stop.signal), /enough/);
  const small = semaphore.acquire(1);
  semaphore.release(1);
  // The large one stood in the way of the small one.
  stop.abort(new Error("enough"));
  await large;
  await small;
  assert.equal(semaphore.inUse, 2);
  await assert.rejects(semaphore.acquire(1, stop.signal), /enough/);
  assert.equal(semaphore.inUse, 2);
});

Deno.test("Semaphore: a signal that fires after the admission changes nothing", async () => {
  const semaphore = new Semaphore(1);
  await semaphore.acquire();
  const stop = new AbortController();
  const next = semaphore.acquire(1, stop.signal);
  semaphore.release();
  stop.abort();
  await next;
  assert.equal(semaphore.inUse, 1);
});

Deno.test("Semaphore refuses to be released or asked for more than it has", async () => {
  const semaphore = new Semaphore(2);
  assert.throws(() => semaphore.release(), /released more often/);
  assert.throws(() => new Semaphore(2).tryAcquire(3), /more units/);
  assert.throws(() => new Semaphore(0), /without capacity/);
  await new Semaphore(1).acquire(0);
});

Deno.test("Semaphore never gives more than it has, and all of it in the end", async () => {
  const capacity = 10;
  const step = fc.record({
    units: fc.integer({ min: 0, max: capacity }),
    abort: fc.boolean(),
    turns: fc.nat(3),
  });
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
    const semaphore = new Semaphore(capacity);
    let held = 0;
    const users = steps.map(async ({ units, abort, turns }) => {
      const stop = new AbortController();
      const acquiring = semaphore.acquire(units, stop.signal);
      if (abort) stop.abort(new Error("left"));
      try {
        await acquiring;
      } catch {
        return;
      }
      held += units;
      assert(held <= capacity);
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      held -= units;
      semaphore.release(units);
    });
    await Promise.all(users);
    assert.equal(semaphore.inUse, 0);
  }));
});
