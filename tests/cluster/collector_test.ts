// What operations leave behind is cleaned up: by one mds at a time, whatever is down meanwhile.

import assert from "node:assert/strict";
import { decode } from "@msgpack/msgpack";
import type { FileSystem } from "../../client/mod.ts";
import { Schema } from "../../mds/schema.ts";
import { limits } from "../../shared/limits.ts";
import type { KeyRange, Store } from "../../shared/store/store.ts";
import { transact } from "../../shared/store/transact.ts";
import { leftovers } from "../support/check_store.ts";
import { root, type TestCluster, withCluster } from "../support/cluster.ts";
import { UncertainStore } from "../support/uncertain_store.ts";

const schema = new Schema("test");

async function put(fileSystem: FileSystem, path: string, replicas = 2): Promise<void> {
  await using file = await fileSystem.create(path, { layout: { replicas } });
  await file.write(0, new Uint8Array(10_000).fill(1));
  await file.close();
}

/** The node id and run of the mds that collects. */
async function collectorOf(cluster: TestCluster): Promise<string | undefined> {
  const context = { store: cluster.store, environment: cluster.environment("watcher") };
  const value = await transact(
    context,
    (transaction) => transaction.get(schema.collectorLease),
  );
  return value && String((decode(value) as unknown[])[1]);
}

Deno.test("rm with an OST down frees the others' space at once, its own after it is back", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    for (let index = 0; index < 10; index++) await put(fileSystem, `/f${index}`);
    const left = () => cluster.targets.map(({ disk }) => disk.objects.size);
    await cluster.crash("oss1");
    const kept = left()[1]!;
    assert(kept > 0);
    for (let index = 0; index < 10; index++) await fileSystem.unlink(`/f${index}`);
    await cluster.eventually(() => left()[0] === 0 && left()[2] === 0, 15_000);
    await cluster.sleep(60_000);
    assert.equal(left()[1], kept);
    await cluster.startOss(1);
    await cluster.eventually(() => left()[1] === 0, 5_000);
  });
});

Deno.test("an OST that hangs does not hold up the collection on the others", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    for (let index = 0; index < 10; index++) await put(fileSystem, `/f${index}`);
    cluster.network.freeze("oss1");
    for (let index = 0; index < 10; index++) await fileSystem.unlink(`/f${index}`);
    const { disk } = cluster.targets[0]!;
    await cluster.eventually(() => disk.objects.size === 0, limits.callTimeoutMs + 2_000);
    cluster.network.freeze("oss1", false);
    await cluster.eventually(() => cluster.usage().objects === 0, 15_000);
  });
});

/** Which mds have removed a garbage record. */
async function withWatchedCollectors(
  test: (cluster: TestCluster, collected: Map<string, number>) => Promise<void>,
): Promise<void> {
  const collected = new Map<string, number>();
  await withCluster({
    mdsStore: (inner, mds) => {
      const store = new UncertainStore(inner);
      store.beforeCommit = (written) => {
        const isCollection = !written.some((key) => key.includes("/idem/")) &&
          written.some((key) => key.includes("/gc/"));
        if (isCollection) collected.set(mds, (collected.get(mds) ?? 0) + 1);
        return Promise.resolve();
      };
      return store;
    },
  }, async (cluster) => {
    await cluster.startMds("mds1");
    await cluster.allUp();
    await test(cluster, collected);
  });
}

async function makeGarbage(cluster: TestCluster): Promise<void> {
  const clients = Array.from({ length: 6 }, () => cluster.fileSystem());
  await Promise.all(clients.map(async (client, index) => {
    for (let round = 0; round < 3; round++) {
      await put(client, `/g${index}`);
      await client.unlink(`/g${index}`);
    }
  }));
  await cluster.eventually(() => cluster.usage().objects === 0, 5_000);
}

Deno.test("of two mds exactly one collects, and the other at once when that one stops", async () => {
  await withWatchedCollectors(async (cluster, collected) => {
    await makeGarbage(cluster);
    assert.deepEqual([...collected.keys()], ["mds0"]);
    await cluster.stop("mds0");
    const stoppedMs = cluster.clock.monotonicMs();
    await cluster.eventually(async () => await collectorOf(cluster) !== undefined, 2_000);
    assert(cluster.clock.monotonicMs() - stoppedMs <= 2 * limits.leaseRenewMs);
    collected.clear();
    await makeGarbage(cluster);
    assert.deepEqual([...collected.keys()], ["mds1"]);
  });
});

Deno.test("another mds collects within the lease after one lost the store", async () => {
  const stores = new Map<string, UncertainStore>();
  await withCluster({
    mdsStore: (inner, mds) => {
      const store = new UncertainStore(inner);
      stores.set(mds, store);
      return store;
    },
  }, async (cluster) => {
    await cluster.startMds("mds1");
    await cluster.allUp();
    const before = await collectorOf(cluster);
    stores.get("mds0")!.fail(true);
    const limitMs = limits.leaseMs + 2 * limits.leaseRenewMs;
    await cluster.eventually(async () => await collectorOf(cluster) !== before, limitMs);
    const after = await collectorOf(cluster);
    stores.get("mds0")!.fail(false);
    await cluster.sleep(20_000);
    assert.equal(await collectorOf(cluster), after, "it does not go back and forth");
    await makeGarbage(cluster);
  });
});

const stripeBytes = limits.stripeBytesMin;

/** A store that tells of each range that is read. */
function watchRanges(inner: Store, onRange: (range: KeyRange) => void): Store {
  return {
    get url() {
      return inner.url;
    },
    begin() {
      const transaction = inner.begin();
      const getRange = transaction.getRange.bind(transaction);
      transaction.getRange = (range, options) => {
        onRange(range);
        return getRange(range, options);
      };
      return transaction;
    },
    close: () => inner.close(),
  };
}

/** From its restart on, each cut of an object of the OST takes so long. */
async function slowCutsDown(cluster: TestCluster, index: number, delayMs: number): Promise<void> {
  const target = cluster.targets[index]!;
  await cluster.stop(`oss${index}`);
  const open = target.open.bind(target);
  target.open = async (owner) => {
    const opened = await open(owner);
    const store = opened.objects;
    const resize = store.resize.bind(store);
    store.resize = async (object, lengthBytes, how) => {
      if (how === "cut") await cluster.sleep(delayMs);
      await resize(object, lengthBytes, how);
    };
    return opened;
  };
  await cluster.startOss(index);
  await cluster.allUp();
}

Deno.test("slow cuts delay neither the end of sessions nor the destruction of objects", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    await slowCutsDown(cluster, 1, 5_000);
    const fileSystem = cluster.fileSystem();
    await put(fileSystem, "/victim");
    const cuts = Array.from({ length: 12 }, (_, index) => `/cut${index}`);
    for (const path of cuts) await put(fileSystem, path);
    const pending = await cluster.connect("doomed").fileSystem(root).create("/pending");
    await pending.write(0, new Uint8Array(10));
    cluster.network.kill("doomed");
    for (const path of cuts) await fileSystem.setAttributes(path, { sizeBytes: 0 });
    await cluster.sleep(2 * limits.collectIntervalMs);
    const isLeft = async (kind: string) =>
      (await leftovers(cluster)).some((key) => key.includes(`/${kind}/`));
    await fileSystem.unlink("/victim");
    await cluster.eventually(async () => !(await isLeft("gc")), 500);
    const expiryMs = limits.sessionLeaseMs + 2 * limits.collectIntervalMs;
    await cluster.eventually(async () => !(await isLeft("pending")), expiryMs);
    assert(await isLeft("truncate"), "cuts were under way all the time");
  });
});

Deno.test("the cut of a file with an OST down is not begun", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    // The first object of some is on the OST that stays up.
    const paths = Array.from({ length: 8 }, (_, index) => `/f${index}`);
    for (const path of paths) {
      await using file = await fileSystem.create(path, { layout: { stripeBytes } });
      await file.write(0, new Uint8Array(2 * stripeBytes).fill(1));
      await file.close();
    }
    await cluster.stop("oss1");
    await cluster.sleep(2 * limits.probeSilenceMs);
    for (const path of paths) await fileSystem.setAttributes(path, { sizeBytes: 0 });
    await cluster.sleep(5 * limits.collectIntervalMs);
    assert.equal(cluster.usage().bytes, paths.length * 2 * stripeBytes);
    await cluster.startOss(1);
    await cluster.eventually(() => cluster.usage().bytes === 0, 5_000);
  });
});

Deno.test("garbage does not make the collector scan sessions and truncations more often", async () => {
  const scans = { sessions: 0, truncations: 0, garbage: 0 };
  await withCluster({
    mdsStore: (inner) =>
      watchRanges(inner, ({ begin }) => {
        if (begin === schema.sessions().begin) scans.sessions++;
        if (begin === schema.truncations().begin) scans.truncations++;
        if (begin === schema.garbageOf(0).begin) scans.garbage++;
      }),
  }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    // Before that, a new collector ends no sessions.
    await cluster.sleep(limits.sessionLeaseMs + 5_000);
    Object.assign(scans, { sessions: 0, truncations: 0, garbage: 0 });
    const intervals = 5;
    for (let tenth = 0; tenth < 10 * intervals; tenth++) {
      await put(fileSystem, "/f");
      await fileSystem.unlink("/f");
      await cluster.sleep(limits.collectIntervalMs / 10);
    }
    assert(scans.garbage > 5 * intervals, "garbage is collected at once");
    for (const count of [scans.sessions, scans.truncations]) {
      assert(count >= intervals - 1 && count <= intervals + 2, `${count} scans`);
    }
  });
});

Deno.test("a file that was cut can soon be opened for writing", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await put(fileSystem, "/f");
    for (let round = 0; round < 5; round++) {
      await fileSystem.setAttributes("/f", { sizeBytes: 10 - round });
      const startMs = cluster.clock.monotonicMs();
      await using _file = await fileSystem.openForWriting("/f");
      const tookMs = cluster.clock.monotonicMs() - startMs;
      assert(tookMs < limits.collectIntervalMs / 4, `${tookMs} ms`);
    }
  });
});

Deno.test("mutations that leave no garbage do not wake the collector", async () => {
  let reads = 0;
  await withCluster({
    mdsStore: (inner) =>
      watchRanges(inner, ({ begin }) => {
        if (begin === schema.garbageOf(0).begin) reads++;
      }),
  }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.mkdir("/d");
    await cluster.sleep(10 * limits.collectIntervalMs);
    reads = 0;
    for (let round = 0; round < 20; round++) {
      await put(fileSystem, `/d/${round}`);
      await fileSystem.rename(`/d/${round}`, `/${round}`);
      await fileSystem.setAttributes(`/${round}`, { mode: 0o600 });
    }
    await cluster.connect().close();
    assert(reads <= 1, `${reads} reads of an empty list`);
  });
});

Deno.test("a removed file that is open for writing is destroyed when it is closed", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await put(fileSystem, "/f", 1);
    await put(fileSystem, "/g", 1);
    const file = await fileSystem.openForWriting("/f");
    await fileSystem.unlink("/f");
    await fileSystem.unlink("/g");
    await cluster.eventually(() => cluster.usage().objects === 1, 5_000);
    // An OST that had destroyed the objects would have forgotten it by now.
    await cluster.crash("oss0");
    await cluster.startOss(0);
    await file.write(5_000, new Uint8Array(10_000).fill(2));
    await assert.rejects(file.close(), { code: "ENOENT" });
    await cluster.eventually(() => cluster.usage().objects === 0, 5_000);
  });
});
