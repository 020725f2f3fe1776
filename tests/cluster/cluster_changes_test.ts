// Servers that stop, die, hang and come back while clients work.

import assert from "node:assert/strict";
import type { FileSystem } from "../../client/mod.ts";
import { limits } from "../../shared/limits.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";

const layout = { stripeBytes: limits.stripeBytesMin, replicas: 2 };
const content = Uint8Array.from({ length: 300_000 }, (_, index) => index % 253);

async function put(fileSystem: FileSystem, path: string): Promise<void> {
  await using file = await fileSystem.create(path, { layout, replace: true });
  await file.write(0, content);
  await file.close();
}

async function read(fileSystem: FileSystem, path: string): Promise<Uint8Array> {
  await using file = await fileSystem.open(path);
  return await file.read(0, file.sizeBytes);
}

/** Works until told to stop, and fails with the first operation that fails. */
async function work(
  cluster: TestCluster,
  name: string,
  stop: { now: boolean },
): Promise<number> {
  const fileSystem = cluster.fileSystem();
  await fileSystem.mkdir(`/${name}`);
  let rounds = 0;
  for (; !stop.now; rounds++) {
    const path = `/${name}/f${rounds % 3}`;
    await put(fileSystem, path);
    assert.deepEqual(await read(fileSystem, path), content);
    await fileSystem.rename(path, `${path}.renamed`);
    await fileSystem.unlink(`${path}.renamed`);
    await fileSystem.createEmpty(`/${name}/e${rounds}`);
    await cluster.sleep(50);
  }
  const entries = await Array.fromAsync(fileSystem.readdir(`/${name}`));
  assert.equal(entries.length, rounds, "every acknowledged create is there, once");
  return rounds;
}

async function underLoad(
  cluster: TestCluster,
  change: () => Promise<void>,
): Promise<void> {
  const stop = { now: false };
  const workers = ["one", "two", "three"].map((name) => work(cluster, name, stop));
  await Promise.race([change(), Promise.all(workers)]);
  stop.now = true;
  for (const rounds of await Promise.all(workers)) assert(rounds > 3, "there was load");
}

Deno.test("a rolling restart of every mds under load fails no operation", async () => {
  await withCluster({}, async (cluster) => {
    await cluster.startMds("mds1");
    await cluster.allUp();
    await underLoad(cluster, async () => {
      for (const name of ["mds0", "mds1", "mds0", "mds1"]) {
        await cluster.stop(name);
        await cluster.sleep(1_000);
        await cluster.startMds(name);
        await cluster.sleep(1_000);
      }
    });
  });
});

Deno.test("an mds that dies under load fails no operation while there is another", async () => {
  await withCluster({}, async (cluster) => {
    await cluster.startMds("mds1");
    await cluster.allUp();
    await underLoad(cluster, async () => {
      await cluster.sleep(500);
      await cluster.crash("mds1");
      await cluster.sleep(5_000);
      await cluster.startMds("mds1");
      await cluster.sleep(500);
      await cluster.crash("mds0");
      await cluster.sleep(5_000);
    });
  });
});

Deno.test("the only mds may be away for some seconds", async () => {
  await withCluster({}, async (cluster) => {
    await underLoad(cluster, async () => {
      await cluster.sleep(500);
      await cluster.crash("mds0");
      await cluster.sleep(5_000);
      await cluster.startMds("mds0");
      await cluster.sleep(1_000);
    });
  });
});

Deno.test("a rolling restart of every OST under load fails no operation", async () => {
  await withCluster({ osts: 4 }, async (cluster) => {
    await underLoad(cluster, async () => {
      for (const index of cluster.targets.keys()) {
        await cluster.sleep(500);
        await cluster.stop(`oss${index}`);
        await cluster.sleep(1_000);
        await cluster.startOss(index);
      }
      await cluster.sleep(500);
    });
  });
});

Deno.test("an OST that dies during writes is waited for, and nothing is lost", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await using file = await fileSystem.create("/f", { layout });
    await file.write(0, content.subarray(0, 100_000));
    await cluster.crash("oss1");
    const rest = file.write(100_000, content.subarray(100_000));
    await cluster.sleep(4_000);
    await cluster.startOss(1);
    await rest;
    await file.close();
    assert.deepEqual(await read(fileSystem, "/f"), content);
  });
});

Deno.test("a write that an OST does not come back for fails, and the file with it", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const file = await fileSystem.create("/f", { layout });
    await file.write(0, content.subarray(0, 100_000));
    await cluster.crash("oss1");
    await assert.rejects(file.write(100_000, content.subarray(100_000)), { code: "TARGET_DOWN" });
    await file.abandon();
    assert.equal(await fileSystem.find("/f"), undefined);
    await cluster.startOss(1);
    await cluster.eventually(() => cluster.usage().objects === 0);
  });
});

Deno.test("a file with two replicas is read while either OST is down", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await put(fileSystem, "/f");
    for (const index of [0, 1]) {
      await cluster.crash(`oss${index}`);
      assert.deepEqual(await read(fileSystem, "/f"), content, "before the map says so");
      await cluster.sleep(5_000);
      assert.deepEqual(await read(fileSystem, "/f"), content, "after it does");
      await cluster.startOss(index);
    }
  });
});

Deno.test("reads do not wait long for an OST that hangs while there is another replica", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await put(fileSystem, "/f");
    await using file = await fileSystem.open("/f");
    await file.read(0, 10);
    for (const index of [0, 1]) {
      cluster.network.freeze(`oss${index}`);
      const startMs = cluster.clock.monotonicMs();
      assert.deepEqual(await file.read(0, content.length), content);
      const tookMs = cluster.clock.monotonicMs() - startMs;
      assert(tookMs <= limits.replicaTimeoutMs + limits.callSweepMs + 100, `took ${tookMs} ms`);
      cluster.network.freeze(`oss${index}`, false);
      await cluster.sleep(5_000);
    }
  });
});

Deno.test("a lost object is an error, never zeros, and another replica mends the read", async () => {
  await withCluster({
    osts: 2,
    uncheckedBecause: "an object is lost on purpose, for good",
  }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await put(fileSystem, "/f");
    const [first, second] = cluster.targets.map(({ disk }) => disk);
    const object = [...first!.objects.keys()][0]!;
    first!.objects.delete(object);
    assert.deepEqual(await read(fileSystem, "/f"), content);
    second!.objects.delete(object);
    await assert.rejects(read(fileSystem, "/f"), { code: "DATA_MISSING" });
    await using file = await fileSystem.create("/g", { layout: { ...layout, replicas: 1 } });
    await file.write(0, content);
    await file.close();
    const short = [...first!.objects.entries()].find(([id]) => id.startsWith(hex(file)))!;
    short[1].lengthBytes -= 1;
    await assert.rejects(read(fileSystem, "/g"), { code: "DATA_MISSING" });
  });
});

function hex(file: { attributes: { ino: number } }): string {
  return file.attributes.ino.toString(16).padStart(16, "0");
}
