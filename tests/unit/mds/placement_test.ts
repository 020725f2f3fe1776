import assert from "node:assert/strict";
import * as fc from "fast-check";
import { chooseLayout, mergeWishes } from "../../../mds/placement.ts";
import { limits } from "../../../shared/limits.ts";
import type { Target } from "../../../shared/model.ts";
import { noUsage } from "../../../shared/usage.ts";
import { checkProperty, testSeed } from "../../support/seed.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

function target(index: number, fields: Partial<Target> & { freeBytes?: number } = {}): Target {
  const { freeBytes = 2 ** 40, ...rest } = fields;
  return {
    nodeId: index.toString(16).padStart(32, "0"),
    address: { host: "h", port: 1 },
    hostName: `host${index}`,
    version: "1",
    index,
    state: "up",
    dataPath: "streaming",
    usage: { ...noUsage, capacityBytes: 2 ** 41, freeBytes },
    ...rest,
  };
}

const random = () => new SeededRandom(testSeed);
const wish = { stripeCount: 0, stripeBytes: limits.stripeBytesDefault, replicas: 1 };

Deno.test("chooseLayout() gives what was wished of those that are up, replicas never together", async () => {
  const roomy = fc.integer({ min: limits.targetReserveBytes, max: 2 ** 50 });
  const clusters = fc.array(
    fc.record({ up: fc.boolean(), host: fc.nat({ max: 3 }), freeBytes: roomy }),
    { minLength: 1, maxLength: 12 },
  );
  const property = fc.property(
    clusters,
    fc.nat({ max: 6 }),
    fc.integer({ min: 1, max: 4 }),
    fc.integer(),
    (servers, stripeCount, replicas, seed) => {
      const targets = servers.map(({ up, host, freeBytes }, index) =>
        target(index, { state: up ? "up" : "down", hostName: `host${host}`, freeBytes })
      );
      const up = targets.filter(({ state }) => state === "up");
      const full = { ...wish, stripeCount, replicas };
      const choose = () => chooseLayout(targets, full, new SeededRandom(seed));
      if (stripeCount > targets.length || replicas > targets.length) {
        return assert.throws(choose, { code: "EINVAL" });
      }
      if (up.length < replicas) return assert.throws(choose, { code: "NOT_ENOUGH_TARGETS" });
      const layout = choose();
      assert.equal(layout.targets.length, Math.min(stripeCount || up.length, up.length));
      assert.equal(new Set(layout.targets.map(([primary]) => primary)).size, layout.targets.length);
      const hostsUp = new Set(up.map(({ hostName }) => hostName)).size;
      for (const position of layout.targets) {
        assert.equal(position.length, replicas);
        assert.equal(new Set(position).size, replicas);
        assert(position.every((index) => up.some((each) => each.index === index)));
        const hosts = new Set(position.map((index) => targets[index]!.hostName));
        assert.equal(hosts.size, Math.min(replicas, hostsUp), "as many hosts as there are");
      }
    },
  );
  await checkProperty(property, { runs: 1_000 });
});

Deno.test("chooseLayout() leaves out full OSTs while there are enough others", () => {
  const full = { freeBytes: limits.targetReserveBytes - 1 };
  const targets = [target(0, full), target(1), target(2, full), target(3)];
  const indexes = (replicas: number) =>
    new Set(chooseLayout(targets, { ...wish, replicas }, random()).targets.flat());
  assert.deepEqual(indexes(1), new Set([1, 3]));
  assert.deepEqual(indexes(2), new Set([1, 3]));
  assert.deepEqual(indexes(3), new Set([0, 1, 2, 3]), "three replicas need a full one");
});

Deno.test("chooseLayout() gives more to those with more free space, something to all", () => {
  const targets = [target(0, { freeBytes: 90 * 2 ** 30 }), target(1, { freeBytes: 10 * 2 ** 30 })];
  const chance = random();
  const counts = [0, 0];
  for (let round = 0; round < 2_000; round++) {
    const layout = chooseLayout(targets, { ...wish, stripeCount: 1 }, chance);
    counts[layout.targets[0]![0]!]!++;
  }
  assert(counts[0]! > 1_650 && counts[0]! < 1_950, `${counts}`);
});

Deno.test("chooseLayout() spreads over full and enormous OSTs alike", () => {
  const full = [target(0, { freeBytes: 0 }), target(1, { freeBytes: 0 })];
  assert.equal(chooseLayout(full, wish, random()).targets.length, 2);
  const huge = Array.from({ length: 300 }, (_, index) => target(index, { freeBytes: 2 ** 52 }));
  const layout = chooseLayout(huge, wish, random());
  assert.equal(layout.targets.length, limits.stripeCountMax);
  assert.equal(new Set(layout.targets.flat()).size, limits.stripeCountMax);
});

Deno.test("chooseLayout() refuses odd stripe sizes, and says when nothing is up", () => {
  const stripeBytes = limits.stripeBytesMin + 1;
  const odd = () => chooseLayout([target(0)], { ...wish, stripeBytes }, random());
  assert.throws(odd, { code: "EINVAL" });
  assert.throws(() => chooseLayout([], wish, random()), {
    code: "NOT_ENOUGH_TARGETS",
    message: "a file needs an OST, and 0 of 0 are up; start more of them",
  });
});

Deno.test("mergeWishes() takes each field from the first that has it", () => {
  assert.deepEqual(mergeWishes(undefined, {}), wish);
  assert.deepEqual(
    mergeWishes({ replicas: 2 }, { replicas: 3, stripeCount: 4 }),
    { ...wish, replicas: 2, stripeCount: 4 },
  );
});

Deno.test("chooseLayout() draws no more OSTs than it needs, however many there are", () => {
  const targets = Array.from({ length: limits.targetsMax }, (_, index) => target(index));
  let draws = 0;
  const counted = new SeededRandom(testSeed);
  const below = counted.below.bind(counted);
  counted.below = (bound) => {
    draws++;
    return below(bound);
  };
  chooseLayout(targets, { ...wish, stripeCount: 3, replicas: 2 }, counted);
  assert.equal(draws, 4);
});
