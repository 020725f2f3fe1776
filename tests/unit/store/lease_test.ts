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

leaseTest("Lease.keep() renews each second, asked each half of one", async (world) => {
  const [a, b] = [world.lease("a"), world.lease("b")];
  assert.equal(await a.keep(), true);
  for (let watch = 0; watch < 40; watch++) {
    await world.sleep(limits.leaseWatchMs);
    assert.deepEqual([await a.keep(), await b.keep()], [true, false]);
  }
  // Its holder dies: whoever keeps watching has it before five seconds are over.
  let waitedMs = 0;
  while (!await b.keep()) {
    await world.sleep(limits.leaseWatchMs);
    waitedMs += limits.leaseWatchMs;
  }
  assert(waitedMs <= limits.leaseMs + limits.leaseWatchMs, `${waitedMs} ms`);
});

leaseTest("Lease tells whether another had it since it was given back", async (world) => {
  const [a, b] = [world.lease("a"), world.lease("b")];
  await a.renew();
  assert.equal(a.wasLeftAlone, false);
  await a.release();
  await a.renew();
  assert.equal(a.wasLeftAlone, true);
  await a.renew();
  assert.equal(a.wasLeftAlone, true, "as long as it is held");
  await a.release();
  await b.renew();
  await b.release();
  await a.renew();
  assert.equal(a.wasLeftAlone, false, "the other one had it for a moment");
  // A fellow worker takes what this one gave back.
  const sequence = await a.release();
  const fellow = world.lease("fellow");
  fellow.noteReleased(sequence!);
  await fellow.renew();
  assert.equal(fellow.wasLeftAlone, true);
});

leaseTest("Lease: a new holder is not taken for the same one as long ago", async (world) => {
  const [a, b] = [world.lease("a"), world.lease("b")];
  await a.renew();
  assert.equal(await b.renew(), false);
  await a.release();
  await world.sleep(2 * limits.leaseMs);
  await a.renew();
  assert.equal(await b.renew(), false, "it has only just taken it");
});
