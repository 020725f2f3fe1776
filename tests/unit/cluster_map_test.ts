import assert from "node:assert/strict";
import { ClusterMapCache, targetOf } from "../../shared/cluster_map.ts";
import { isRustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { FakeWorld, mapOf } from "../support/fake_mgs.ts";

const mgs = (...hosts: string[]) => hosts.map((host) => ({ host, port: 9400 }));

function worldTest(name: string, test: (world: FakeWorld) => Promise<void>): void {
  Deno.test(name, async () => {
    const world = new FakeWorld();
    await world.run(() => test(world));
  });
}

function cacheOf(world: FakeWorld, hosts: string[], refreshMs?: number): ClusterMapCache {
  const log = world.log.logger;
  const environment = world.environment("node");
  return world.use(
    new ClusterMapCache({ environment, rpc: world.rpc(), mgs: mgs(...hosts), log, refreshMs }),
  );
}

worldTest("ClusterMapCache.get() gives up after a while, naming every mgs", async (world) => {
  const cache = cacheOf(world, ["dead0", "dead1"]);
  await assert.rejects(
    cache.get(),
    (error) => isRustreError(error, "UNREACHABLE") && /dead0:9400.*dead1:9400/.test(error.message),
  );
  const tookMs = world.clock.monotonicMs();
  assert(tookMs <= limits.mgsContactTimeoutMs && tookMs > limits.mgsContactTimeoutMs / 2);
});

worldTest("ClusterMapCache.get() waits for an mgs that comes a little later", async (world) => {
  const cache = cacheOf(world, ["mgs0"]);
  const waiting = cache.get();
  await world.sleep(limits.mgsContactTimeoutMs / 2);
  await world.startMgs({ getMap: () => Promise.resolve({ map: mapOf(1) }) });
  assert.equal((await waiting).epoch, 1);
});

worldTest(
  "ClusterMapCache.waitForMap() waits for as long as it takes, and says so once",
  async (world) => {
    const cache = cacheOf(world, ["mgs0"], limits.mapRefreshMs);
    const waiting = cache.waitForMap();
    await world.sleep(60_000);
    await world.startMgs({ getMap: () => Promise.resolve({ map: mapOf(1) }) });
    assert.equal((await waiting).epoch, 1);
    assert.deepEqual(world.log.lines, [
      "warn No mgs answers, trying on",
      "info An mgs answers again",
    ]);
  },
);

worldTest("ClusterMapCache.get() ends with its signal, and the next one goes on", async (world) => {
  const cache = cacheOf(world, ["mgs0"]);
  const abort = new AbortController();
  const waiting = cache.get(abort.signal);
  await world.sleep(100);
  abort.abort();
  await assert.rejects(waiting, (error) => isRustreError(error, "INTERRUPTED"));
  await world.startMgs({ getMap: () => Promise.resolve({ map: mapOf(1) }) });
  assert.equal((await cache.get()).epoch, 1);
});

worldTest(
  "ClusterMapCache goes past an mgs that hangs, and stays with one that answers",
  async (world) => {
    await world.startMgs({ getMap: () => new Promise(() => {}) }, { host: "hung" });
    await world.startMgs({ getMap: () => Promise.resolve({ map: mapOf(1, ["hung", "mgs0"]) }) });
    const cache = cacheOf(world, ["dead", "hung", "mgs0"]);
    await cache.get();
    const firstMs = world.clock.monotonicMs();
    assert(firstMs <= limits.mgsCallTimeoutMs + limits.callSweepMs, `${firstMs} ms`);
    await cache.refresh();
    assert.equal(world.clock.monotonicMs(), firstMs);
    assert.equal(cache.mgsAddresses()[0]?.host, "mgs0");
  },
);

worldTest("ClusterMapCache learns other mgs from the map and uses them", async (world) => {
  const first = await world.startMgs({
    getMap: () => Promise.resolve({ map: mapOf(1, ["mgs0", "mgs1"]) }),
  });
  await world.startMgs({ getMap: () => Promise.resolve({ map: mapOf(2) }) }, { host: "mgs1" });
  const cache = cacheOf(world, ["mgs0"]);
  await cache.get();
  await first.close();
  assert.equal((await cache.refresh()).epoch, 2);
});

worldTest("ClusterMapCache does not go past an mgs that refuses", async (world) => {
  await world.startMgs({}, { host: "mgs0" });
  await world.startMgs({ getMap: () => Promise.resolve({ map: mapOf(1) }) }, { host: "mgs1" });
  const cache = cacheOf(world, ["mgs0", "mgs1"]);
  await assert.rejects(cache.get(), (error) => isRustreError(error, "EPERM"));
  assert.equal(world.clock.monotonicMs(), 0);
});

worldTest("ClusterMapCache refuses another cluster", async (world) => {
  const server = await world.startMgs({ getMap: () => Promise.resolve({ map: mapOf(1) }) });
  const cache = cacheOf(world, ["mgs0"]);
  await cache.get();
  await server.close();
  await world.startMgs({ getMap: () => Promise.resolve({ map: mapOf(9) }) }, {
    id: "d".repeat(32),
  });
  await assert.rejects(cache.refresh(), (error) => isRustreError(error, "WRONG_CLUSTER"));
  assert.equal(cache.current?.epoch, 1);
});

worldTest("ClusterMapCache.refresh() of several at once is one request", async (world) => {
  let requests = 0;
  await world.startMgs({
    async getMap() {
      requests++;
      await world.sleep(10);
      return { map: mapOf(requests) };
    },
  });
  const cache = cacheOf(world, ["mgs0"]);
  await Promise.all([cache.refresh(), cache.refresh(), cache.get()]);
  assert.equal(requests, 1);
});

worldTest("ClusterMapCache never goes back to an older map", async (world) => {
  let epoch = 5;
  await world.startMgs({ getMap: () => Promise.resolve({ map: mapOf(epoch) }) });
  const cache = cacheOf(world, ["mgs0"]);
  await cache.get();
  epoch = 4;
  assert.equal((await cache.refresh()).epoch, 5);
});

worldTest("ClusterMapCache.noticeEpoch() fetches a newer map, and only then", async (world) => {
  let requests = 0;
  let epoch = 1;
  await world.startMgs({
    getMap() {
      requests++;
      return Promise.resolve({ map: mapOf(epoch) });
    },
  });
  const cache = cacheOf(world, ["mgs0"]);
  await cache.get();
  cache.noticeEpoch(1);
  await world.sleep(1_000);
  assert.equal(requests, 1);
  epoch = 2;
  cache.noticeEpoch(2);
  cache.noticeEpoch(2);
  await world.sleep(1_000);
  assert.equal(requests, 2);
  assert.equal(cache.current?.epoch, 2);
});

worldTest(
  "ClusterMapCache in the background asks by epoch, and for the usage now and then",
  async (world) => {
    const known: (number | undefined)[] = [];
    await world.startMgs({
      getMap({ knownEpoch }) {
        known.push(knownEpoch);
        return Promise.resolve(knownEpoch === undefined ? { map: mapOf(7) } : {});
      },
    });
    cacheOf(world, ["mgs0"], 1_000);
    await world.sleep(2 * limits.usageRefreshMs + 500);
    assert.equal(known[0], undefined);
    assert.equal(known.filter((epoch) => epoch === undefined).length, 3);
    assert.equal(known.filter((epoch) => epoch === 7).length, 8);
  },
);

worldTest("ClusterMapCache.close() ends a request under way", async (world) => {
  await world.startMgs({ getMap: () => new Promise(() => {}) });
  const cache = cacheOf(world, ["mgs0"]);
  const waiting = cache.refresh();
  await world.sleep(10);
  await Promise.all([
    assert.rejects(waiting, (error) => isRustreError(error, "SHUTTING_DOWN")),
    cache.close(),
  ]);
  assert.equal(world.clock.monotonicMs(), 10);
});

Deno.test("targetOf() names an OST that is not in the map", () => {
  assert.throws(
    () => targetOf(mapOf(3), 5),
    (error) => isRustreError(error, "WRONG_TARGET") && /OST 5.*epoch 3/.test(error.message),
  );
});
