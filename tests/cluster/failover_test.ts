// Any mgs or mds may die, hang, or be cut off from the others or from the store: another one carries
// on in time, nobody who lives is taken for dead, and what wakes up later changes nothing.

import assert from "node:assert/strict";
import type { Cluster } from "../../client/mod.ts";
import { type RunningMgs, startMgs } from "../../mgs/start.ts";
import type { Environment, Transport } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { loggerOf } from "../../shared/logging.ts";
import type { ClusterMap } from "../../shared/model.ts";
import { RpcClient } from "../../shared/rpc/client.ts";
import { mgsService } from "../../shared/protocol/mgs.ts";
import type { Store } from "../../shared/store/store.ts";
import { root, type TestCluster, withCluster } from "../support/cluster.ts";
import { type FakeNode, startFakeMds } from "../support/fake_node.ts";
import { pausableClock } from "../support/pausable_clock.ts";
import { UncertainStore } from "../support/uncertain_store.ts";

/** What the issue promises: from the death of the one that probes or collects to the next one. */
const takeOverMs = 5_000;
/** From the death of a server to its state in the map, while an mgs probes. */
const showsWithinMs = 3_000;

/** A store that a process can be cut off from, or die on without a word. */
class SeverableStore implements Store {
  readonly url: string;
  isCut = false;
  readonly #inner: Store;

  constructor(inner: Store) {
    this.#inner = inner;
    this.url = inner.url;
  }

  begin(): ReturnType<Store["begin"]> {
    if (this.isCut) throw new RustreError("STORE_FAILED", "The store cannot be reached");
    return this.#inner.begin();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** A network on which this host can be kept from reaching single others. */
function blockable(inner: Transport) {
  const blocked = new Set<string>();
  const transport: Transport = {
    listen: (address, options) => inner.listen(address, options),
    dataPath: () => inner.dataPath(),
    connect: (address, options) =>
      blocked.has(address.host)
        ? Promise.reject(new RustreError("UNREACHABLE", `No way to ${address.host}`))
        : inner.connect(address, options),
  };
  return { transport, blocked };
}

interface World {
  readonly cluster: TestCluster;
  readonly client: Cluster;
  /** Runs on host "prober", and probes; the one on host "mgs0" waits for its lease. */
  readonly prober: RunningMgs;
  readonly stores: { readonly prober: SeverableStore; readonly mgs0: SeverableStore };
  readonly blocked: Set<string>;
  /** Counts its probes, whoever they are from. */
  readonly node: FakeNode;
}

async function withTwoMgs(
  test: (world: World) => Promise<void>,
  { osts = 2, settleMs = 3_500 } = {},
): Promise<void> {
  await withCluster({ osts }, async (cluster) => {
    await cluster.stop("mgs0");
    const { network } = cluster;
    const stores = {
      prober: new SeverableStore(cluster.store),
      mgs0: new SeverableStore(cluster.store),
    };
    const inner = cluster.environment("prober");
    const { transport, blocked } = blockable(inner.transport);
    await using prober = await startMgsAt("prober", { ...inner, transport }, stores.prober);
    await using _waiting = await startMgsAt("mgs0", cluster.environment("mgs0"), stores.mgs0);
    const client = cluster.connect();
    const { clusterId } = await client.map();
    await using node = await startFakeMds(cluster.environment("fake"), clusterId, {
      listen: { host: "fake", port: 0 },
      nodeId: "f".repeat(32),
    });
    await register(cluster, node);
    await cluster.sleep(settleMs);
    await test({ cluster, client, prober, stores, blocked, node });
    for (const store of Object.values(stores)) store.isCut = false;
    for (const host of ["prober", "mgs0", "fake"]) network.revive(host);
  });
}

function startMgsAt(host: string, environment: Environment, store: Store): Promise<RunningMgs> {
  return startMgs({
    environment,
    store,
    clusterName: "test",
    listen: { host, port: 9400 },
    advertise: (listening) => Promise.resolve(listening),
    nodeId: (host === "mgs0" ? "6" : "5").repeat(32),
    hostName: host,
    version: "test",
    log: loggerOf("mgs"),
  });
}

async function register(cluster: TestCluster, node: FakeNode): Promise<void> {
  await using rpc = new RpcClient({ environment: cluster.environment("node"), caller: "mds" });
  const endpoint = { role: "mgs", address: { host: "mgs0", port: 9400 } } as const;
  await rpc.call(endpoint, mgsService, "register", node.registration);
}

/** The servers that the map calls down, by their hosts. */
function downIn({ mgs, mds, targets }: ClusterMap): string[] {
  return [...mgs, ...mds, ...targets].filter(({ state }) => state === "down")
    .map(({ address }) => address.host).sort();
}

// ── the mgs that probes ────────────────────────────────────────────────────────────────────────

Deno.test("another mgs probes within 5 s of the death of the one that did, whenever it dies", async () => {
  for (let settleMs = 3_000; settleMs < 4_000; settleMs += 130) {
    await withTwoMgs(async ({ cluster, stores, node }) => {
      cluster.network.kill("prober");
      stores.prober.isCut = true;
      const diedMs = cluster.clock.monotonicMs();
      const before = node.probes;
      await cluster.eventually(() => node.probes > before, 10_000);
      const tookMs = cluster.clock.monotonicMs() - diedMs;
      assert(tookMs <= takeOverMs, `${tookMs} ms when it died after ${settleMs} ms`);
    }, { settleMs });
  }
});

Deno.test("a prober that is cut off from all but the store takes nobody for dead, another takes over", async () => {
  await withTwoMgs(async ({ cluster, client, node }) => {
    const before = await client.map();
    cluster.network.freeze("prober");
    const cutMs = cluster.clock.monotonicMs();
    const probes = node.probes;
    await cluster.eventually(() => node.probes > probes, takeOverMs);
    while (cluster.clock.monotonicMs() < cutMs + 60_000) {
      const down = downIn(await client.map());
      assert(down.every((host) => host === "prober"), `${down} are down`);
      await cluster.sleep(100);
    }
    const during = await client.map();
    assert.deepEqual(downIn(during), ["prober"]);
    assert.equal(during.epoch, before.epoch + 1, "nothing else has changed");
    cluster.network.freeze("prober", false);
    await cluster.eventually(async () => downIn(await client.map()).length === 0, showsWithinMs);
  });
});

Deno.test("a prober that is cut off from the store takes nobody for dead, another takes over", async () => {
  await withTwoMgs(async ({ cluster, client, stores, node }) => {
    const { epoch } = await client.map();
    stores.prober.isCut = true;
    await cluster.sleep(takeOverMs);
    cluster.network.cut("oss1");
    await cluster.eventually(
      async () => downIn(await client.map()).join() === "oss1",
      showsWithinMs,
    );
    await cluster.sleep(20_000);
    assert.equal((await client.map()).epoch, epoch + 1, "one change by one prober");
    stores.prober.isCut = false;
    const before = node.probes;
    await cluster.sleep(10 * limits.probeIntervalMs);
    assert.equal(node.probes - before, 10, "one mgs probes");
    assert.deepEqual(downIn(await client.map()), ["oss1"]);
  });
});

Deno.test("two mgs that are both cut off from all others take nobody for dead", async () => {
  await withTwoMgs(async ({ cluster, client }) => {
    const before = await client.map();
    cluster.network.freeze("prober");
    cluster.network.freeze("mgs0");
    await cluster.sleep(60_000);
    cluster.network.freeze("prober", false);
    cluster.network.freeze("mgs0", false);
    await cluster.sleep(3 * limits.probeIntervalMs);
    const after = await client.map();
    assert.deepEqual(downIn(after), []);
    assert.equal(after.epoch, before.epoch);
  });
});

Deno.test("servers that die together with the other mgs show as down within 3 s, most of them in 6", async () => {
  const together: [hosts: string[], withinMs: number][] = [
    [["mgs0"], showsWithinMs],
    [["mgs0", "oss1"], showsWithinMs],
    [["fake", "mgs0", "oss0", "oss1"], 6_000],
  ];
  for (const [hosts, withinMs] of together) {
    await withTwoMgs(async ({ cluster, stores, prober }) => {
      for (const host of hosts) cluster.network.kill(host);
      stores.mgs0.isCut = true;
      await using rpc = new RpcClient({
        environment: cluster.environment("observer"),
        caller: "client",
      });
      const endpoint = { role: "mgs", address: prober.address } as const;
      const down = async () => {
        const { map } = await rpc.call(endpoint, mgsService, "getMap", {});
        return downIn(map!).join();
      };
      await cluster.eventually(async () => await down() === hosts.join(), withinMs);
      for (const host of hosts) cluster.network.revive(host);
      for (const name of hosts.filter((each) => each.startsWith("oss"))) await cluster.stop(name);
    });
  }
});

Deno.test("a server that only the prober does not reach is not taken for dead", async () => {
  await withTwoMgs(async ({ cluster, client, blocked }) => {
    const { epoch } = await client.map();
    blocked.add("oss1");
    cluster.network.disconnect("oss1");
    await cluster.sleep(30_000);
    const map = await client.map();
    assert.deepEqual([downIn(map), map.epoch], [[], epoch]);
    // When it does die, nobody reaches it.
    cluster.network.cut("oss1");
    await cluster.eventually(
      async () => downIn(await client.map()).join() === "oss1",
      showsWithinMs,
    );
  });
});

// ── clients ────────────────────────────────────────────────────────────────────────────────────

Deno.test("no operation of a client waits 2 s for an mds that vanishes, and later ones not at all", async () => {
  for (const vanish of ["freeze", "kill"] as const) {
    await withCluster({ osts: 1 }, async (cluster) => {
      await cluster.startMds("mds1");
      await cluster.allUp();
      const clients = Array.from({ length: 8 }, () => cluster.fileSystem());
      const timed = async (operation: Promise<unknown>) => {
        const startMs = cluster.clock.monotonicMs();
        await operation;
        return cluster.clock.monotonicMs() - startMs;
      };
      await Promise.all(clients.map((each, who) => each.mkdir(`/${who}`)));
      assert(cluster.network.connectionsOf("mds0") > 0, "some clients use this one");
      cluster.network[vanish]("mds0");
      const create = (round: number) =>
        Promise.all(clients.map((each, who) => timed(each.mkdir(`/${who}/${round}`))));
      const first = Math.max(...await create(0));
      assert(first < 2_000, `${first} ms`);
      for (let round = 1; round < 20; round++) {
        const longest = Math.max(...await create(round));
        assert(longest < 100, `${longest} ms at round ${round}`);
        await cluster.sleep(50);
      }
      if (vanish === "freeze") cluster.network.freeze("mds0", false);
      else {
        await cluster.stop("mds0");
        cluster.network.revive("mds0");
      }
      for (const [who, client] of clients.entries()) {
        assert.equal((await client.stat(`/${who}`)).links, 22);
      }
    });
  }
});

Deno.test("clients spread over the mds that are up", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    await cluster.startMds("mds1");
    await cluster.startMds("mds2");
    await cluster.allUp();
    const before = ["mds0", "mds1", "mds2"].map((each) => cluster.network.connectionsOf(each));
    const clients = Array.from({ length: 30 }, () => cluster.fileSystem());
    await Promise.all(clients.map((each) => each.stat("/")));
    for (const [index, count] of before.entries()) {
      const share = cluster.network.connectionsOf(`mds${index}`) - count;
      assert(share >= 4, `mds${index} has ${share} of 30`);
    }
  });
});

Deno.test("a client goes on with the mgs that it has learnt when the one it was given dies", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    await cluster.startMgs("mgs1");
    await cluster.allUp();
    // By then the servers have learnt it too.
    await cluster.sleep(2 * limits.probeIntervalMs);
    const client = cluster.connect();
    await client.map();
    await cluster.stop("mgs0");
    assert.deepEqual((await client.map()).mgs.map(({ address }) => address.host), ["mgs1"]);
    // Only the newest map tells where a new file may go.
    await cluster.stop("oss1");
    await cluster.sleep(1);
    await using file = await client.fileSystem(root).create("/f");
    await file.write(0, new Uint8Array(10));
    await file.close();
    await cluster.startMgs("mgs0");
  });
});

// ── the mds that collects ──────────────────────────────────────────────────────────────────────

Deno.test("another mds collects within 5 s of the death of the one that did", async () => {
  const stores = new Map<string, UncertainStore>();
  const mdsStore = (inner: Store, mds: string) => {
    const store = new UncertainStore(inner);
    stores.set(mds, store);
    return store;
  };
  await withCluster({ osts: 1, mdsStore }, async (cluster) => {
    await cluster.startMds("mds1");
    await cluster.allUp();
    await cluster.sleep(2_000);
    const fileSystem = cluster.fileSystem();
    const put = async () => {
      await using file = await fileSystem.create("/f");
      await file.write(0, new Uint8Array(1_000));
      await file.close();
    };
    await put();
    cluster.network.kill("mds0");
    stores.get("mds0")!.fail(true);
    const diedMs = cluster.clock.monotonicMs();
    await fileSystem.unlink("/f");
    await cluster.eventually(() => cluster.usage().objects === 0, 10_000);
    const tookMs = cluster.clock.monotonicMs() - diedMs;
    assert(tookMs <= takeOverMs + limits.collectIntervalMs, `${tookMs} ms`);
    await cluster.stop("mds0");
    stores.get("mds0")!.fail(false);
    cluster.network.revive("mds0");
  });
});

Deno.test("an mds that collected, slept and wakes up changes nothing of what another one did since", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    await cluster.stop("mds0");
    const { clock, pause } = pausableClock(cluster.clock);
    await cluster.startMds("mds0", { environment: { ...cluster.environment("mds0"), clock } });
    await cluster.sleep(2_000);
    await cluster.startMds("mds1");
    await cluster.allUp();
    const holder = async () => {
      const transaction = cluster.store.begin();
      const value = await transaction.get("test/lease/collector");
      await transaction.cancel();
      return new TextDecoder().decode(value).match(/[0-9a-f]{32} [0-9a-f]{16}/)?.[0];
    };
    const sleeper = await holder();
    const fileSystem = cluster.fileSystem();
    const put = async (path: string, text: string) => {
      await using file = await fileSystem.create(path, { replace: true });
      await file.write(0, new TextEncoder().encode(text));
      await file.close();
    };
    await put("/cut", "0123456789");
    await put("/gone", "gone");

    pause(true);
    cluster.network.freeze("mds0");
    await fileSystem.unlink("/gone");
    await fileSystem.setAttributes("/cut", { sizeBytes: 4 });
    await cluster.eventually(async () => await holder() !== sleeper, takeOverMs);
    const successor = await holder();
    await cluster.sleep(2 * limits.collectIntervalMs);
    await using file = await fileSystem.openForWriting("/cut");
    await file.write(4, new TextEncoder().encode("new"));
    await file.close();
    await put("/gone", "back");

    pause(false);
    cluster.network.freeze("mds0", false);
    await cluster.sleep(10 * limits.collectIntervalMs);
    assert.equal(await holder(), successor, "it does not collect any more");
    for (const [path, expected] of [["/cut", "0123new"], ["/gone", "back"]] as const) {
      await using file = await fileSystem.open(path);
      assert.equal(new TextDecoder().decode(await file.read(0, 100)), expected);
    }
    assert.deepEqual(downIn(await cluster.connect().map()), []);
  });
});

Deno.test("a session lives on whatever the clock of the mds that collects says", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    await cluster.stop("mds0");
    const environment = cluster.environment("mds1");
    const ahead = { nowMs: () => cluster.clock.nowMs() + 3_600_000 };
    const clock = {
      ...ahead,
      monotonicMs: () => cluster.clock.monotonicMs(),
      setTimer: cluster.clock.setTimer.bind(cluster.clock),
    };
    await cluster.startMds("mds1", { environment: { ...environment, clock } });
    await cluster.sleep(2_000);
    await cluster.startMds("mds0");
    await cluster.allUp();
    const clients = Array.from({ length: 6 }, () => cluster.fileSystem());
    const files = await Promise.all(clients.map((each, who) => each.create(`/${who}`)));
    await cluster.sleep(4 * limits.sessionLeaseMs);
    for (const file of files) await file.close();
    assert.equal((await Array.fromAsync(clients[0]!.readdir("/"))).length, 6);
  });
});
