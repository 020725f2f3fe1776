// fsck: nothing is found where all is well, and what it does where it cannot look everywhere.

import assert from "node:assert/strict";
import { encode } from "@msgpack/msgpack";
import { writeClusterId } from "../../shared/store/cluster_id.ts";
import { Lease } from "../../shared/store/lease.ts";
import { pattern } from "../support/object_bytes.ts";
import { withCluster } from "../support/cluster.ts";
import { loseInode, makeTree, plant, runFsck, schema, stripeBytes } from "../support/fsck.ts";
import { unchecked } from "../support/fsck_damage.ts";

Deno.test("fsck() finds nothing in a cluster at rest, and counts what there is", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    await makeTree(cluster);
    const { said, failures, undecided, ...outcome } = await runFsck(cluster);
    assert.deepEqual([said, failures, undecided], [[], [], 0]);
    assert.equal(outcome.inodes, 6);
    assert.equal(outcome.entries, 6);
    const { objects, bytes } = cluster.usage();
    assert.deepEqual([outcome.objects, outcome.bytes], [objects, bytes]);
    const ofStore = await runFsck(cluster, { mgs: undefined });
    assert.deepEqual([ofStore.said, ofStore.inodes, ofStore.objects], [[], 6, 0]);
  });
});

Deno.test("fsck() takes files that are pending, open or being cut for what they are", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const { fileSystem } = await makeTree(cluster);
    const layout = { stripeBytes, stripeCount: 3, replicas: 1 };
    await using pending = await fileSystem.create("/pending", { layout });
    await pending.write(0, pattern(2, 5 * stripeBytes));
    await using open = await fileSystem.openForWriting("/twice");
    await open.write(10 * stripeBytes, pattern(3, stripeBytes));
    await fileSystem.setAttributes("/d/file", { sizeBytes: 10 });
    const during = await runFsck(cluster, { repair: true });
    assert.deepEqual([during.said, during.undecided], [[], 0]);
    await pending.close();
    await open.close();
    assert.equal((await fileSystem.stat("/pending")).sizeBytes, 5 * stripeBytes);
    const after = await runFsck(cluster, { repair: true });
    assert.deepEqual([after.said, after.undecided], [[], 0]);
  });
});

Deno.test("fsck() refuses a store without the cluster", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const refused = runFsck(cluster, { clusterName: "other" });
    await assert.rejects(refused, { code: "WRONG_CLUSTER" });
  });
});

Deno.test("fsck() refuses a store that is not that of the mgs", async () => {
  await withCluster(unchecked, async (cluster) => {
    await plant(cluster, (transaction) => writeClusterId(transaction, "test", "f".repeat(32)));
    await assert.rejects(runFsck(cluster, { repair: true }), {
      code: "WRONG_CLUSTER",
      message: /the mgs is of another cluster/,
    });
  });
});

Deno.test("fsck() refuses a store of a newer format", async () => {
  await withCluster(unchecked, async (cluster) => {
    await plant(cluster, (transaction) => transaction.set("test/format", encode([1, 99])));
    await assert.rejects(runFsck(cluster, { repair: true }), {
      code: "STORE_FORMAT",
      message: /it has format 99/,
    });
  });
});

Deno.test("fsck() finds nothing wrong with a cut that waits for the last writer", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.createEmpty("/f");
    const writing = await fileSystem.openForWriting("/f");
    const failing = await fileSystem.openForWriting("/f");
    await failing.write(100, new Uint8Array(100));
    await failing.abandon();
    assert.deepEqual((await runFsck(cluster)).said, []);
    assert.ok(cluster.usage().bytes > 0);
    await writing.close();
    await cluster.eventually(() => cluster.usage().bytes === 0);
  });
});

Deno.test("fsck() says which OSTs it could not ask, and draws no conclusions from that", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    await makeTree(cluster);
    await cluster.crash("oss1");
    await cluster.sleep(5_000);
    const { said, failures, failedTargets } = await runFsck(cluster, { repair: true });
    assert.deepEqual(said, []);
    assert.deepEqual(failures, ["OST 1: TARGET_DOWN"]);
    assert.deepEqual(failedTargets, [1]);
    await cluster.startOss(1);
  });
});

Deno.test("fsck() keeps the name of a file that is lost as long as an OST cannot be asked", async () => {
  await withCluster(unchecked, async (cluster) => {
    const { file } = await makeTree(cluster);
    await loseInode(cluster, file.ino);
    for (const index of file.layout!.targets.flat()) await cluster.crash(`oss${index}`);
    await cluster.sleep(5_000);
    const { short, said } = await runFsck(cluster, { repair: true });
    assert.deepEqual(short, ["entry-without-inode unrepaired"]);
    assert.match(said[0]!.reason!, /not every OST could be asked/);
  });
});

// ── one repair at a time ───────────────────────────────────────────────────────────────────────

Deno.test("fsck() repairs beside no other one, and waits for one that was killed", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const context = { store: cluster.store, environment: cluster.environment("other") };
    const other = new Lease({ context, key: schema.fsckLease, holder: "another one" });
    let isAlive = true;
    const renewing = (async () => {
      for (; isAlive; await cluster.sleep(1_000)) await other.renew();
    })();
    await cluster.sleep(1);
    await assert.rejects(runFsck(cluster, { repair: true }), { code: "EBUSY" });
    assert.deepEqual((await runFsck(cluster)).said, [], "one that only looks is in nobody's way");
    isAlive = false;
    await renewing;
    assert.deepEqual((await runFsck(cluster, { repair: true })).said, []);
    const startMs = cluster.clock.monotonicMs();
    await runFsck(cluster, { repair: true });
    assert.ok(cluster.clock.monotonicMs() - startMs < 1_000, "the last one gave its lease back");
  });
});
