// Registration, probes and the cluster map, on a whole cluster in one thread.

import assert from "node:assert/strict";
import { startMgs } from "../../mgs/start.ts";
import { MemoryTarget } from "../../oss/memory_store.ts";
import type { TargetStorage } from "../../oss/object_store.ts";
import { startOss } from "../../oss/start.ts";
import { isRustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { loggerOf } from "../../shared/logging.ts";
import { RpcClient } from "../../shared/rpc/client.ts";
import { mgsService, type Registration } from "../../shared/protocol/mgs.ts";
import type { Cluster } from "../../client/mod.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import { startFakeMds } from "../support/fake_node.ts";
import { pausableClock } from "../support/pausable_clock.ts";
import { SeededRandom } from "../support/seeded_random.ts";

/** What issue and design promise for changes of state, both ways. */
const showsWithinMs = 3_000;

async function stateOf(client: Cluster, index: number): Promise<string | undefined> {
  return (await client.map()).targets.find((target) => target.index === index)?.state;
}

function register(cluster: TestCluster, mgs: string, registration: Registration) {
  const rpc = new RpcClient({ environment: cluster.environment("node"), caller: "mds" });
  const endpoint = { role: "mgs", address: { host: mgs, port: 9400 } } as const;
  return rpc.call(endpoint, mgsService, "register", registration).finally(() => rpc.close());
}

function fakeMds(cluster: TestCluster, clusterId: string, answersAs?: string) {
  return startFakeMds(cluster.environment("fake"), clusterId, {
    listen: { host: "fake", port: 0 },
    nodeId: "f".repeat(32),
    ...(answersAs === undefined ? {} : { answersAs }),
  });
}

/** Kills a server: its connections break, and it stops without telling anybody. */
function kill(cluster: TestCluster, name: string): void {
  cluster.network.cut(name);
}

Deno.test("an OST that hangs shows as down within 3 s, and as up again within 3 s", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const client = cluster.connect();
    cluster.network.freeze("oss1");
    await cluster.eventually(async () => await stateOf(client, 1) === "down", showsWithinMs);
    assert.equal(await stateOf(client, 0), "up");
    cluster.network.freeze("oss1", false);
    await cluster.eventually(async () => await stateOf(client, 1) === "up", showsWithinMs);
  });
});

Deno.test("no request to the mgs waits for a node that hangs", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const client = cluster.connect();
    await client.map();
    cluster.network.freeze("oss1");
    for (let round = 0; round < 40; round++) {
      const startMs = cluster.clock.monotonicMs();
      await client.status();
      assert.equal(cluster.clock.monotonicMs() - startMs, 0);
      await cluster.sleep(97);
    }
  });
});

Deno.test("a killed OST goes down once and stays in the map", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const client = cluster.connect();
    kill(cluster, "oss0");
    await cluster.eventually(async () => await stateOf(client, 0) === "down", showsWithinMs);
    const { epoch } = await client.map();
    // It still runs and tries to register, but does not answer at its address any more.
    await cluster.sleep(60_000);
    const map = await client.map();
    assert.equal(map.targets[0]?.state, "down");
    assert.equal(map.epoch, epoch, "the map does not flap");
  });
});

Deno.test("an mds that is down is forgotten after a while", async () => {
  await withCluster({ osts: 0 }, async (cluster) => {
    const client = cluster.connect();
    kill(cluster, "mds0");
    await cluster.eventually(async () => (await client.map()).mds[0]?.state === "down", 3_000);
    await cluster.sleep(limits.serverForgetMs - 1_000);
    assert.equal((await client.map()).mds.length, 1);
    await cluster.sleep(3_000);
    assert.equal((await client.map()).mds.length, 0);
  });
});

Deno.test("a node that the mgs has forgotten registers again by itself", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const client = cluster.connect();
    const nodeId = (await client.map()).mds[0]!.nodeId;
    const rpc = new RpcClient({ environment: cluster.environment("node"), caller: "mds" });
    const endpoint = { role: "mgs", address: { host: "mgs0", port: 9400 } } as const;
    await rpc.call(endpoint, mgsService, "unregister", { nodeId });
    assert.equal((await client.map()).mds.length, 0);
    const withinMs = limits.probeSilenceMs + 2 * limits.registerIntervalMs;
    await cluster.eventually(async () => (await client.map()).mds.length === 1, withinMs);
    await rpc.close();
  });
});

Deno.test("register is refused to a node that does not answer where it says", async () => {
  await withCluster({ osts: 0 }, async (cluster) => {
    const { clusterId } = await cluster.connect().map();
    const refused = (message: RegExp) => (error: unknown) =>
      isRustreError(error, "ADDRESS_UNREACHABLE") && message.test(error.message);
    await using node = await fakeMds(cluster, clusterId);
    const wrongPort = { ...node.registration, address: { host: "fake", port: 7 } };
    await assert.rejects(register(cluster, "mgs0", wrongPort), refused(/"fake:7".*--advertise/));
    await assert.rejects(
      register(cluster, "mgs0", { ...node.registration, role: "oss", targetIndex: 1 }),
      refused(/OST 1/),
    );
    cluster.network.freeze("fake");
    const startMs = cluster.clock.monotonicMs();
    await assert.rejects(register(cluster, "mgs0", node.registration), refused(/No answer/));
    assert(cluster.clock.monotonicMs() - startMs <= limits.probeTimeoutMs + limits.callSweepMs);
    cluster.network.freeze("fake", false);
  });
});

Deno.test("a probe that another node answers has failed", async () => {
  await withCluster({ osts: 0 }, async (cluster) => {
    const client = cluster.connect();
    const { clusterId } = await client.map();
    await using liar = await fakeMds(cluster, clusterId, "0".repeat(32));
    await assert.rejects(
      register(cluster, "mgs0", liar.registration),
      (error) => isRustreError(error, "ADDRESS_UNREACHABLE") && /Another node/.test(error.message),
    );
    await liar[Symbol.asyncDispose]();

    const honest = await fakeMds(cluster, clusterId);
    await register(cluster, "mgs0", honest.registration);
    await honest[Symbol.asyncDispose]();
    await using other = await startFakeMds(cluster.environment("fake"), clusterId, {
      listen: honest.registration.address,
      nodeId: "e".repeat(32),
    });
    const state = async () =>
      (await client.map()).mds.find((mds) => mds.address.host === "fake")?.state;
    await cluster.eventually(async () => await state() === "down", showsWithinMs);
    await register(cluster, "mgs0", other.registration);
    assert.equal(await state(), "up", "who registers is up at once");
    assert.equal((await client.map()).mds.length, 2, "and takes the place of who was there");
  });
});

Deno.test("an OST of an index that another directory has is refused for good", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    await using second = await startOss({
      environment: cluster.environment("second"),
      mgs: [{ host: "mgs0", port: 9400 }],
      listen: { host: "second", port: 0 },
      advertise: (listening) => Promise.resolve(listening),
      storage: new MemoryTarget(new SeededRandom(7)),
      targetIndex: 0,
      hostName: "second",
      version: "test",
      log: loggerOf("oss"),
    });
    await assert.rejects(
      second.registered,
      (error) =>
        isRustreError(error, "WRONG_TARGET") && /OST 0 at "second:\d+"/.test(error.message),
    );
    assert.equal((await cluster.connect().map()).targets[0]?.address.host, "oss0");
  });
});

Deno.test("a copy of an OST's directory is refused while the original is served", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const { nodeId } = (await cluster.connect().map()).targets[0]!;
    const memory = new MemoryTarget(new SeededRandom(7));
    const copy: TargetStorage = {
      lock: () => memory.lock(),
      open: async (owner) => ({ ...await memory.open(owner), nodeId }),
      unlock: () => memory.unlock(),
    };
    const start = () =>
      startOss({
        environment: cluster.environment("second"),
        mgs: [{ host: "mgs0", port: 9400 }],
        listen: { host: "second", port: 0 },
        advertise: (listening) => Promise.resolve(listening),
        storage: copy,
        targetIndex: 0,
        hostName: "second",
        version: "test",
        log: loggerOf("oss"),
      });
    {
      await using second = await start();
      await assert.rejects(
        second.registered,
        (error) =>
          isRustreError(error, "WRONG_TARGET") && /served at "oss0:\d+"/.test(error.message),
      );
    }
    kill(cluster, "oss0");
    await using second = await start();
    await second.registered;
    const target = (await cluster.connect().map()).targets[0];
    assert.deepEqual([target?.state, target?.address.host], ["up", "second"]);
  });
});

Deno.test("of two mgs one probes, both serve the same map, each is in it", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    await cluster.startMgs("mgs1");
    const client = cluster.connect();
    const { clusterId } = await client.map();
    await using node = await fakeMds(cluster, clusterId);
    await register(cluster, "mgs1", node.registration);
    await cluster.sleep(1.5 * limits.probeIntervalMs);
    const before = node.probes;
    await cluster.sleep(20 * limits.probeIntervalMs);
    assert.equal(node.probes - before, 20);
    const status = await client.status();
    assert.deepEqual(status.map.mgs.map((mgs) => `${mgs.address.host} ${mgs.state}`), [
      "mgs0 up",
      "mgs1 up",
    ]);
    const ids = [...status.map.mgs, ...status.map.mds, ...status.map.targets].map((each) =>
      each.nodeId
    );
    for (const nodeId of ids) {
      assert((status.heartbeatAgesMs[nodeId] ?? Infinity) <= limits.probeIntervalMs, nodeId);
    }
  });
});

Deno.test("another mgs takes over at once from one that stops", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    await cluster.startMgs("mgs1");
    const client = cluster.connect();
    await client.map();
    await cluster.sleep(2_000);
    await cluster.stop("mgs0");
    kill(cluster, "oss0");
    const withinMs = showsWithinMs + limits.leaseRenewMs;
    await cluster.eventually(async () => await stateOf(client, 0) === "down", withinMs);
    const map = await client.map();
    assert.deepEqual(map.mgs.map((mgs) => mgs.address.host), ["mgs1"]);
    assert.equal(map.mds[0]?.state, "up");
  });
});

Deno.test("an mgs takes over from one that sleeps, which changes nothing when it wakes", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    await cluster.stop("mgs0");
    const { clock, pause } = pausableClock(cluster.clock);
    await using _sleeper = await startMgs({
      environment: { ...cluster.environment("sleeper"), clock },
      store: cluster.store,
      clusterName: "test",
      listen: { host: "sleeper", port: 9400 },
      advertise: (listening) => Promise.resolve(listening),
      nodeId: "5".repeat(32),
      hostName: "sleeper",
      version: "test",
      log: loggerOf("mgs"),
    });
    await cluster.startMgs("mgs0");
    const client = cluster.connect();
    await using node = await fakeMds(cluster, (await client.map()).clusterId);
    await register(cluster, "mgs0", node.registration);
    await cluster.sleep(3_500);

    pause(true);
    cluster.network.freeze("sleeper");
    const probesBefore = node.probes;
    kill(cluster, "oss0");
    const withinMs = limits.leaseMs + showsWithinMs + limits.leaseRenewMs;
    await cluster.eventually(async () => await stateOf(client, 0) === "down", withinMs);
    assert(node.probes > probesBefore, "the other mgs probes now");
    await cluster.sleep(2_000);
    const before = await client.map();
    assert.equal(before.mgs.find((mgs) => mgs.address.host === "sleeper")?.state, "down");
    assert.equal(before.mds.length, 2);

    pause(false);
    cluster.network.freeze("sleeper", false);
    await cluster.sleep(1_500);
    const probes = node.probes;
    await cluster.sleep(10 * limits.probeIntervalMs);
    assert.equal(node.probes - probes, 10, "one mgs probes");
    const after = await client.map();
    assert.equal(after.epoch, before.epoch + 1, "the only change: the sleeper is up again");
    assert(after.mgs.every((mgs) => mgs.state === "up"));
    assert.equal(after.targets[0]?.state, "down");
  });
});

Deno.test("servers wait for an mgs and go on when a new one comes", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    await cluster.stop("mgs0");
    await cluster.sleep(60_000);
    const mgs = await cluster.startMgs();
    const client = cluster.connect();
    await cluster.eventually(async () => await stateOf(client, 0) === "up", showsWithinMs);
    assert.equal((await client.map()).clusterId, mgs.clusterId);
    assert.equal((await client.map()).mds.length, 1);
  });
});

Deno.test("startMgs() that fails leaves nothing behind", async () => {
  await withCluster({ osts: 0 }, async (cluster) => {
    const options = {
      environment: cluster.environment("mgs0"),
      store: cluster.store,
      clusterName: "test",
      listen: { host: "mgs0", port: 9400 },
      nodeId: "9".repeat(32),
      hostName: "mgs0",
      version: "test",
      log: loggerOf("mgs"),
    };
    const advertise = () => Promise.reject(new Error("no way"));
    await assert.rejects(
      startMgs({ ...options, advertise }),
      (error) => isRustreError(error, "EBUSY"),
    );
    const listen = { host: "mgs0", port: 9500 };
    await assert.rejects(startMgs({ ...options, listen, advertise }), /no way/);
    const listener = await options.environment.transport.listen(listen);
    listener.close();
    assert.equal((await cluster.connect().map()).mgs.length, 1);
  });
});
