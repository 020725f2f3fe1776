// fsck: nothing is found however much changes meanwhile.

import assert from "node:assert/strict";
import type { FileSystem } from "../../client/mod.ts";
import { limits } from "../../shared/limits.ts";
import { pattern } from "../support/object_bytes.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import {
  makeFile,
  makeTree,
  plant,
  runFsck,
  schema,
  slowStore,
  stripeBytes,
  watchedStore,
} from "../support/fsck.ts";
import { seeded, testSeed } from "../support/seed.ts";
import { SeededRandom } from "../support/seeded_random.ts";

Deno.test("fsck() finds nothing whatever happens between any two of its reads", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const { fileSystem } = await makeTree(cluster);
    await fileSystem.mkdir("/e");
    let turn = 0;
    const change = async () => {
      const [from, to] = turn++ % 2 === 0 ? ["/d", "/e"] : ["/e", "/d"];
      await fileSystem.rename(`${from}/file`, `${to}/file`);
      await fileSystem.rename(`${from}/below`, `${to}/below`);
      await fileSystem.setAttributes("/twice", { sizeBytes: 0 });
      await fileSystem.unlink("/d/twice");
      await fileSystem.link("/twice", "/d/twice");
      await makeFile(fileSystem, `${to}/new`);
      if (turn > 1) await fileSystem.unlink(`${from}/new`);
      await cluster.sleep(2_000);
      await using file = await fileSystem.openForWriting("/twice");
      await file.write(0, pattern(turn, 3 * stripeBytes + 7));
      await file.close();
    };
    await change();
    for (let last = 0, reads = 1; last < reads; last += 1 + Math.floor(last / 20)) {
      reads = 0;
      const store = watchedStore(cluster.store, async () => {
        if (reads++ === last) await change();
      });
      const { said, undecided } = await runFsck(cluster, { store, pageEntries: 3, repair: true });
      assert.deepEqual([said, undecided], [[], 0], `changed before read ${last}`);
      assert.ok(reads > 30);
    }
  });
});

Deno.test("fsck() does not decide about a file whose name it never meets", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.mkdir("/a");
    await fileSystem.mkdir("/z");
    await fileSystem.createEmpty("/z/f");
    await fileSystem.createEmpty("/a/first");
    const { begin } = schema.allOf("children");
    let isBehind = false;
    // It is always where the entries have been read already.
    const store = watchedStore(cluster.store, async (first) => {
      if (!first.startsWith(begin)) return;
      const goesBehind = first !== begin;
      if (goesBehind === isBehind) return;
      isBehind = goesBehind;
      const [from, to] = isBehind ? ["/z/f", "/a/f"] : ["/a/f", "/z/f"];
      await cluster.sleep(5);
      await fileSystem.rename(from, to);
    });
    // The page with "/a/first" is read before the file comes there.
    const outcome = await runFsck(cluster, { store, pageEntries: 3, repair: true });
    assert.deepEqual([outcome.said, outcome.undecided], [[], 1]);
    assert.deepEqual((await runFsck(cluster)).said, []);
  });
});

/** One client that does whatever its seed says until it is told to stop. */
async function work(
  cluster: TestCluster,
  fileSystem: FileSystem,
  random: SeededRandom,
  isOver: () => boolean,
): Promise<number> {
  const directories = ["", "/a", "/b", "/a/c"];
  const path = () => {
    return `${directories[random.below(4)]}/${"wxyz"[random.below(4)]}`;
  };
  const steps: (() => Promise<unknown>)[] = [
    () => makeFile(fileSystem, path(), 1 + random.below(2)),
    () => makeFile(fileSystem, path(), 1 + random.below(2)),
    () => fileSystem.mkdir(path()),
    () => fileSystem.mkdir(directories[1 + random.below(3)]!),
    () => fileSystem.symlink("target", path()),
    () => fileSystem.link(path(), path()),
    () => fileSystem.rename(path(), path()),
    () => fileSystem.rename(directories[1 + random.below(3)]!, path()),
    () => fileSystem.unlink(path()),
    () => fileSystem.rmdir(path()),
    () => fileSystem.setAttributes(path(), { sizeBytes: random.below(4 * stripeBytes) }),
  ];
  let done = 0;
  while (!isOver()) {
    try {
      await steps[random.below(steps.length)]!();
      done++;
    } catch (error) {
      assert.ok(error instanceof Error && error.name === "RustreError", String(error));
    }
    await cluster.sleep(random.below(20));
  }
  return done;
}

Deno.test("fsck() finds nothing while clients change everything all the time", async () => {
  await seeded(async () => {
    for (let round = 0; round < 2; round++) await checkUnderLoad(Math.abs(testSeed) + round);
  });
});

async function checkUnderLoad(seed: number): Promise<void> {
  await withCluster({ osts: 3, seed, commitJitter: seed }, async (cluster) => {
    let isOver = false;
    const clients = Array.from({ length: 3 }, (_, index) => {
      const random = new SeededRandom(seed * 10 + index);
      return work(cluster, cluster.fileSystem(), random, () => isOver);
    });
    for (let run = 0; run < 3; run++) {
      await cluster.sleep(500);
      const slow = slowStore(cluster, new SeededRandom(seed + run));
      const slowly = run === 0 ? { store: slow, pageEntries: 8 } : {};
      // With repair, for a false alarm that is repaired is the worst one.
      const { said, findings, undecided } = await runFsck(cluster, { repair: true, ...slowly });
      assert.deepEqual(said, [], `seed ${seed}, run ${run}`);
      assert.equal(undecided, 0, `seed ${seed}, run ${run}`);
      assert.equal(findings.repaired, 0, `seed ${seed}, run ${run}`);
    }
    isOver = true;
    const done = await Promise.all(clients);
    assert.ok(done.every((count) => count > 10), `seed ${seed}: ${done}`);
  });
}

Deno.test("fsck() takes no counter for wrong while what it counts is replaced", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const [pageEntries, count] = [2, 2 * limits.checkMomentPages + 20];
    await fileSystem.mkdir("/d");
    for (let index = 0; index < count; index++) await fileSystem.mkdir(`/d/${1000 + index}`);
    const atRest = await runFsck(cluster, { pageEntries });
    assert.deepEqual([atRest.said, atRest.uncomparedCounters], [[], 0]);
    // Somebody replaces one that was counted by one that will be, as often as they are counted.
    const { begin } = schema.allOf("ino");
    let [next, pages] = [0, 0];
    const store = watchedStore(cluster.store, async (first) => {
      if (!first.startsWith(begin)) return;
      pages = first === begin ? 1 : pages + 1;
      if (pages !== 40) return;
      await cluster.sleep(1);
      await fileSystem.rmdir(`/d/${1000 + next++}`);
      await fileSystem.mkdir(`/d/new${next}`);
    });
    const replacing = await runFsck(cluster, { pageEntries, store, repair: true });
    assert.deepEqual([replacing.said, replacing.uncomparedCounters], [[], 1]);
    await plant(cluster, (transaction) => transaction.add(schema.inodeCount, 1n));
    const { short } = await runFsck(cluster, { pageEntries, repair: true });
    assert.deepEqual(short, ["wrong-inode-count repaired"]);
    assert.deepEqual((await runFsck(cluster, { pageEntries })).said, []);
  });
});
