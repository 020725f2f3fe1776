import assert from "node:assert/strict";
import { isRustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { Lease } from "../../../shared/store/lease.ts";
import { MemoryStore } from "../../../shared/store/memory.ts";
import { transact } from "../../../shared/store/transact.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { VirtualClock } from "../../support/virtual_clock.ts";

interface World {
  readonly lease: (holder: string, isGone?: (holder: string) => boolean) => Lease;
  readonly sleep: (delayMs: number) => Promise<void>;
  /** Whether a transaction that requires the lease commits. */
  readonly writesUnder: (lease: Lease) => Promise<boolean>;
}

function leaseTest(name: string, test: (world: World) => Promise<void>): void {
  Deno.test(name, async () => {
    const clock = new VirtualClock();
    const environment = { clock, random: new SeededRandom(1) };
    const context = { store: new MemoryStore(clock), environment };
    await clock.run(test({
      lease: (holder, isGone) =>
        new Lease({ context, key: "lease", holder, ...(isGone ? { isGone } : {}) }),
      sleep: (delayMs) => new Promise((resolve) => clock.setTimer(resolve, delayMs)),
      async writesUnder(lease) {
        try {
          await transact(context, async (transaction) => {
            await lease.requireHeld(transaction);
            transaction.set("written", new Uint8Array(1));
          });
          return true;
        } catch (error) {
          assert(isRustreError(error, "LEASE_LOST"));
          return false;
        }
      },
    }));
  });
}

leaseTest("Lease is held by the first that asks, as long as it renews", async (world) => {
  const [a, b] = [world.lease("a"), world.lease("b")];
  assert.deepEqual(await Promise.all([a.renew(), b.renew()]), [true, false]);
  for (let second = 0; second < 20; second++) {
    await world.sleep(limits.leaseRenewMs);
    assert.deepEqual([await a.renew(), await b.renew()], [true, false]);
  }
  assert.deepEqual([a.isHeld(), b.isHeld()], [true, false]);
  assert.deepEqual([await world.writesUnder(a), await world.writesUnder(b)], [true, false]);
});

leaseTest(
  "Lease passes on when its holder is silent for limits.leaseMs, not before",
  async (world) => {
    const [a, b] = [world.lease("a"), world.lease("b")];
    await a.renew();
    await b.renew();
    await world.sleep(limits.leaseMs - 1);
    assert.equal(await b.renew(), false);
    assert.equal(a.isHeld(), true);
    await world.sleep(1);
    assert.equal(a.isHeld(), false, "the holder knows by itself that its time is over");
    assert.equal(await b.renew(), true);
    assert.equal(await world.writesUnder(a), false);
    assert.equal(await a.renew(), false);
    assert.equal(await world.writesUnder(b), true);
  },
);

leaseTest("Lease: who comes later waits a whole lease by its own clock", async (world) => {
  const a = world.lease("a");
  await a.renew();
  await world.sleep(10 * limits.leaseMs);
  const b = world.lease("b");
  assert.equal(await b.renew(), false);
  await world.sleep(limits.leaseMs);
  assert.equal(await b.renew(), true);
});

leaseTest(
  "Lease is free at once when it is released, or its holder is known to be gone",
  async (world) => {
    const [a, b] = [world.lease("a"), world.lease("b")];
    await a.renew();
    await a.release();
    assert.equal(a.isHeld(), false);
    assert.equal(await world.writesUnder(a), false);
    assert.equal(await b.renew(), true);
    await a.release();
    assert.equal(await world.writesUnder(b), true, "who does not hold it cannot release it");
    assert.equal(await world.lease("c", (holder) => holder === "b").renew(), true);
  },
);

leaseTest("Lease that was lost and won back is held", async (world) => {
  const [a, b] = [world.lease("a"), world.lease("b")];
  await a.renew();
  await b.renew();
  await world.sleep(limits.leaseMs);
  await b.renew();
  assert.equal(await a.renew(), false);
  await b.release();
  assert.equal(await a.renew(), true);
  assert.equal(await world.writesUnder(a), true);
});
