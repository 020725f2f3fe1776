// The simulator in the suite: seeds that are always the same, seeds of this run, the same trace from
// the same seed, and the bugs that are put in on purpose.

import assert from "node:assert/strict";
import { testSeed } from "../support/seed.ts";
import { bugs } from "./bugs.ts";
import { replayLine, SimulationPool } from "./pool.ts";

const threads = Math.min(2, navigator.hardwareConcurrency);
const seedsEach = 100;
const bugSeedsMax = 500;
/** Traces are longer than one is lucky for so many times. */
const replayedSeeds = 8;

async function requireNoFailure(first: number): Promise<void> {
  using pool = new SimulationPool(threads);
  const failures: string[] = [];
  await pool.runSeeds({ first, count: seedsEach }, ({ seed, failure }) => {
    if (failure !== undefined) failures.push(`${replayLine({ seed })}  # ${failure}`);
    return "go on";
  });
  assert.equal(failures.length, 0, failures.join("\n"));
}

Deno.test("simulated clusters keep their promises, in the same 100 runs", async () => {
  await requireNoFailure(1);
});

const freshSeed = Math.abs(testSeed);

Deno.test(`simulated clusters keep their promises, in 100 new runs from ${freshSeed}`, async () => {
  await requireNoFailure(freshSeed);
});

Deno.test("a seed gives the same trace whenever and wherever it runs", async () => {
  using pool = new SimulationPool(threads);
  const seeds = Array.from({ length: replayedSeeds }, (_, index) => 1_000 + index);
  const once = await Promise.all(seeds.map((seed) => pool.run({ seed })));
  // In another order, so that each thread has run others before.
  const again = await Promise.all(seeds.toReversed().map((seed) => pool.run({ seed })));
  for (const { seed, hash, events } of once) {
    const other = again.find((each) => each.seed === seed)!;
    assert.deepEqual([other.hash, other.events], [hash, events], replayLine({ seed }));
  }
  assert.equal(new Set(once.map(({ hash }) => hash)).size, seeds.length, "all are different");
});

Deno.test("the simulator finds each bug that is put in", async (t) => {
  using pool = new SimulationPool(threads);
  for (const bug of Object.keys(bugs)) {
    await t.step(bug, async () => {
      let found: number | undefined;
      await pool.runSeeds({ first: 1, count: bugSeedsMax, bug }, ({ seed, failure }) => {
        if (failure === undefined) return "go on";
        found = seed;
        return "enough";
      });
      assert(found !== undefined, `not within ${bugSeedsMax} seeds`);
    });
  }
});
