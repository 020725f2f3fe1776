import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import fc from "fast-check";
import { type Range, RangeLocks, wholeObject } from "../../../oss/range_locks.ts";
import { objectId } from "../../../shared/layout.ts";
import { rejects } from "../../support/object_bytes.ts";

const object = objectId(1, 0);

/** An action that runs until it is told to end, and the order in which such actions began. */
class Recorder {
  readonly began: number[] = [];
  readonly running = new Map<number, () => void>();

  action(id: number): () => Promise<number> {
    return async () => {
      this.began.push(id);
      await new Promise<void>((resolve) => this.running.set(id, resolve));
      this.running.delete(id);
      return id;
    };
  }
}

const range = fc.oneof(
  { weight: 9, arbitrary: fc.tuple(fc.nat(20), fc.integer({ min: 1, max: 10 })) },
  { weight: 1, arbitrary: fc.constant(undefined) },
).map((pair): Range => pair ? { startBytes: pair[0], endBytes: pair[0] + pair[1] } : wholeObject);

Deno.test("RangeLocks runs what overlaps alone and in order, the rest at once", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(range, { minLength: 1, maxLength: 25 }),
      fc.infiniteStream(fc.nat()),
      async (ranges, choices) => {
        const locks = new RangeLocks();
        const recorder = new Recorder();
        const done = new Set<number>();
        const all = ranges.map((each, id) => locks.run(object, each, recorder.action(id)));
        for (; done.size < ranges.length;) {
          await settle();
          // Exactly those run that overlap with no earlier one that is not done.
          const expected = ranges.flatMap((each, id) => {
            const blocked = ranges.slice(0, id).some((earlier, index) =>
              !done.has(index) && overlap(earlier, each)
            );
            return done.has(id) || blocked ? [] : [id];
          });
          const running = [...recorder.running.keys()].sort((a, b) => a - b);
          assert.deepEqual(running, expected);
          const chosen = running[choices.next().value! % running.length]!;
          recorder.running.get(chosen)!();
          done.add(chosen);
        }
        assert.deepEqual(await Promise.all(all), ranges.map((_, id) => id));
        assert.equal(locks.objectCount, 0);
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("RangeLocks keeps objects apart", async () => {
  const locks = new RangeLocks();
  const recorder = new Recorder();
  const both = [object, objectId(1, 1)].map((each, id) =>
    locks.run(each, wholeObject, recorder.action(id))
  );
  await settle();
  assert.deepEqual(recorder.began, [0, 1]);
  for (const end of recorder.running.values()) end();
  await Promise.all(both);
});

Deno.test("RangeLocks goes on after an action that fails", async () => {
  const locks = new RangeLocks();
  const failing = locks.run(object, wholeObject, () => Promise.reject(new Error("no")));
  const throwing = locks.run(object, wholeObject, () => {
    throw new Error("never");
  });
  const next = locks.run(object, wholeObject, () => Promise.resolve("yes"));
  await assert.rejects(failing, /no/);
  await assert.rejects(throwing, /never/);
  assert.equal(await next, "yes");
  assert.equal(locks.objectCount, 0);
});

Deno.test("RangeLocks refuses what is over the length of the queue", async () => {
  const locks = new RangeLocks(3);
  const recorder = new Recorder();
  const three = [0, 1, 2].map((id) => locks.run(object, wholeObject, recorder.action(id)));
  await rejects("OVERLOADED", () => locks.run(object, wholeObject, recorder.action(3)), [object]);
  for (const id of [0, 1, 2]) {
    await settle();
    recorder.running.get(id)!();
  }
  await Promise.all(three);
  assert.deepEqual(recorder.began, [0, 1, 2]);
  assert.equal(await locks.run(object, wholeObject, () => Promise.resolve(4)), 4);
});

function overlap(a: Range, b: Range): boolean {
  return Math.max(a.startBytes, b.startBytes) < Math.min(a.endBytes, b.endBytes);
}

/** Resolves when no microtask is left. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
