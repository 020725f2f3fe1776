// What was written behind the end of a file and never committed does not become data later.

import assert from "node:assert/strict";
import type { FileSystem, OpenFile } from "../../client/mod.ts";
import { objectId } from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import { OssCaller } from "../support/oss_caller.ts";

const stripeBytes = limits.stripeBytesMin;
/** The tail lies in the second object, which the committed bytes have not made. */
const layout = { stripeBytes, stripeCount: 2, replicas: 2 };
const tailAt = 100_000;
const tail = new Uint8Array(10_000).fill(7);
const endsAt = 200_000;

async function make(fileSystem: FileSystem, path = "/f"): Promise<void> {
  await using file = await fileSystem.create(path, { layout });
  await file.write(0, new Uint8Array(100).fill(1));
  await file.close();
}

/** Somebody writes behind the end, and the bytes are on the OSTs. */
async function writeTail(fileSystem: FileSystem): Promise<OpenFile> {
  const file = await fileSystem.openForWriting("/f");
  await file.write(tailAt, tail, { sync: true });
  return file;
}

/** Makes the file grow over the tail; the bytes that are there then, where the tail was. */
async function grownOver(fileSystem: FileSystem, at = tailAt): Promise<Uint8Array> {
  await using file = await fileSystem.openForWriting("/f");
  await file.write(endsAt, Uint8Array.of(9));
  await file.close();
  await using reader = await fileSystem.open("/f");
  assert.equal(reader.sizeBytes, endsAt + 1);
  return await reader.read(at, tail.length);
}

const zeros = new Uint8Array(tail.length);

/** On the OSTs, of all replicas. */
function requireTail(cluster: TestCluster): void {
  assert(cluster.usage().bytes > 2 * tail.length, "the tail has not been written");
}

Deno.test("what an abandoned file left behind its end is zeros when the file grows", async () => {
  for (const cutAt of [undefined, 50, 50_000]) {
    await withCluster({ osts: 3 }, async (cluster) => {
      const fileSystem = cluster.fileSystem();
      await make(fileSystem);
      const file = await writeTail(fileSystem);
      requireTail(cluster);
      await file.abandon();
      if (cutAt !== undefined) await fileSystem.setAttributes("/f", { sizeBytes: cutAt });
      assert.deepEqual(await grownOver(fileSystem), zeros);
    });
  }
});

Deno.test("the space of what was never committed is given back", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await make(fileSystem);
    await (await writeTail(fileSystem)).abandon();
    await cluster.eventually(() => cluster.usage().bytes === 2 * 100, 5_000);
  });
});

Deno.test("what a dead client left behind the end of a file is zeros when it grows", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await make(fileSystem);
    await writeTail(cluster.connect("dead").fileSystem({ uid: 0, gid: 0, groups: [] }));
    cluster.network.kill("dead");
    await cluster.sleep(limits.sessionLeaseMs + 5_000);
    assert.deepEqual(await grownOver(fileSystem), zeros);
  });
});

Deno.test("a client that closes with a file open leaves nothing behind the file's end", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await make(fileSystem);
    const leaving = cluster.connect("leaving");
    await writeTail(leaving.fileSystem({ uid: 0, gid: 0, groups: [] }));
    await leaving.close();
    assert.deepEqual(await grownOver(fileSystem), zeros);
  });
});

Deno.test("a cut of one writer's tail takes nothing of what another one commits", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const [fileSystem, other] = [cluster.fileSystem(), cluster.fileSystem()];
    await make(fileSystem);
    const writing = await other.openForWriting("/f");
    await writing.write(endsAt, tail);
    await (await writeTail(fileSystem)).abandon();
    // While somebody writes, others may too.
    await using third = await fileSystem.openForWriting("/f");
    await third.close();
    await cluster.sleep(3 * limits.collectIntervalMs);
    await writing.close();
    await cluster.eventually(async () => {
      await using file = await fileSystem.openForWriting("/f");
      await file.close();
      return true;
    });
    await using reader = await fileSystem.open("/f");
    assert.deepEqual(await reader.read(endsAt, tail.length), tail);
  });
});

Deno.test("a tail is cut when the last of several writers has left, whoever was the last", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const [fileSystem, other] = [cluster.fileSystem(), cluster.fileSystem()];
    await make(fileSystem);
    const reading = await other.openForWriting("/f");
    await (await writeTail(fileSystem)).abandon();
    await cluster.sleep(3 * limits.collectIntervalMs);
    requireTail(cluster);
    await reading.close();
    assert.deepEqual(await grownOver(fileSystem), zeros);
  });
});

/** OST 1 stops before its tail can be cut. */
async function leaveTailOnStopped(cluster: TestCluster, fileSystem: FileSystem): Promise<void> {
  await make(fileSystem);
  const file = await writeTail(fileSystem);
  await cluster.stop("oss1");
  await file.abandon();
}

Deno.test("a tail is cut at once when the last writer has left, though he left none himself", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const [fileSystem, other] = [cluster.fileSystem(), cluster.fileSystem()];
    await make(fileSystem);
    for (let round = 0; round < 20; round++) {
      const last = await other.openForWriting("/f");
      await (await writeTail(fileSystem)).abandon();
      await last.close();
      const closedMs = cluster.clock.monotonicMs();
      await cluster.eventually(() => cluster.usage().bytes === 2 * 100, 5_000);
      const tookMs = cluster.clock.monotonicMs() - closedMs;
      assert(tookMs < limits.collectIntervalMs / 4, `it took ${tookMs} ms`);
      await cluster.sleep(37 * round);
    }
  });
});

Deno.test("a tail on an OST that is down is cut before the file is written again", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await leaveTailOnStopped(cluster, fileSystem);
    await assert.rejects(fileSystem.openForWriting("/f"), { code: "EAGAIN" });
    const growing = grownOver(fileSystem);
    await cluster.startOss(1);
    assert.deepEqual(await growing, zeros);
  });
});

Deno.test("a tail is cut by the next mds where one died before", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await leaveTailOnStopped(cluster, fileSystem);
    await cluster.crash("mds0");
    await cluster.startMds("mds1");
    await cluster.startOss(1);
    assert.deepEqual(await grownOver(fileSystem), zeros);
  });
});

Deno.test("what a failed write left behind a file's end is zeros when the file grows", async () => {
  for (const how of ["new", "existing"]) {
    await withCluster({ osts: 2 }, async (cluster) => {
      const fileSystem = cluster.fileSystem();
      if (how === "existing") await make(fileSystem);
      const file = how === "new"
        ? await fileSystem.create("/f", { layout })
        : await fileSystem.openForWriting("/f");
      await file.write(0, new Uint8Array(100).fill(1));
      // The primary has them, the other replica does not answer, and the writer cannot know.
      const at = file.attributes.layout.targets[1]![0] === 0 ? tailAt : tailAt + stripeBytes;
      cluster.network.freeze("oss1");
      await assert.rejects(file.write(at, tail));
      requireTail(cluster);
      cluster.network.freeze("oss1", false);
      await cluster.allUp();
      await file.close();
      assert.deepEqual(await grownOver(fileSystem, at), zeros);
    });
  }
});

Deno.test("no late write of a writer that gave up lands behind the cut", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await make(fileSystem);
    const late = new OssCaller(cluster.rpc("late"), await cluster.connect("watcher").map());
    const file = await writeTail(fileSystem);
    await file.abandon();
    await cluster.eventually(() => cluster.usage().bytes === 2 * 100, 5_000);
    for (const index of [0, 1]) {
      for (const seq of [0, 1, 2]) {
        const write = late.write(index, tail, { object: objectId(file.attributes.ino, seq) });
        await assert.rejects(write, { code: "STALE_MAP" });
      }
    }
    assert.equal(cluster.usage().bytes, 2 * 100);
  });
});

Deno.test("a writer that has committed all it wrote leaves nothing to cut", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await make(fileSystem);
    const { epoch } = await cluster.connect("watcher").map();
    for (const end of ["close", "abandon"] as const) {
      const file = await fileSystem.openForWriting("/f");
      await file.write(tailAt, tail);
      await file.sync();
      await file.write(tailAt - 10, tail.subarray(0, 20));
      await file[end]();
    }
    await using again = await fileSystem.openForWriting("/f");
    await again.abandon();
    await cluster.sleep(3 * limits.collectIntervalMs);
    assert.equal((await cluster.connect("watcher").map()).epoch, epoch, "nothing was fenced");
    await using reader = await fileSystem.open("/f");
    assert.deepEqual(await reader.read(tailAt + 10, 100), tail.subarray(0, 100));
  });
});

Deno.test("a file that is removed while a dead writer's tail waits leaves nothing", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await make(fileSystem);
    const file = await writeTail(fileSystem);
    await fileSystem.unlink("/f");
    await file.abandon();
    await cluster.eventually(() => cluster.usage().objects === 0);
  });
});
