// What operations leave behind is cleaned up: by one mds at a time, whatever is down meanwhile.

import assert from "node:assert/strict";
import { decode } from "@msgpack/msgpack";
import type { FileSystem } from "../../client/mod.ts";
import { Schema } from "../../mds/schema.ts";
import { limits } from "../../shared/limits.ts";
import { transact } from "../../shared/store/transact.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
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
