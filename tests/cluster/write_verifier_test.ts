// An OST that loses its power loses what was written and not synced. Whoever wrote it is told, and
// never by a sync that succeeds.

import assert from "node:assert/strict";
import type { FileSystem } from "../../client/mod.ts";
import type { ByteSource } from "../../client/transfer/byte_streams.ts";
import { uploadStream } from "../../client/transfer/upload.ts";
import { MemoryTarget } from "../../oss/memory_store.ts";
import type { OpenTarget, TargetOwner } from "../../oss/object_store.ts";
import { limits } from "../../shared/limits.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";

const stripeBytes = limits.stripeBytesMin;
const narrow = { stripeBytes, stripeCount: 1 };
const lost = {
  code: "WRITES_LOST",
  message: /Cannot sync "\/f": .*OST \d was restarted and may have lost .*; write it again$/,
};

function bytes(length: number, fill: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length).fill(fill);
}

async function writeFile(fileSystem: FileSystem, content: Uint8Array): Promise<void> {
  await using file = await fileSystem.create("/f", { layout: narrow });
  await file.write(0, content);
  await file.close();
}

async function readFile(fileSystem: FileSystem): Promise<Uint8Array> {
  await using file = await fileSystem.open("/f");
  return await file.read(0, file.sizeBytes);
}

/** Gives so many portions of one transfer each, the last one after `beforeLast`. */
function sourceOf(portions: number, beforeLast: () => Promise<void>): ByteSource {
  let filled = 0;
  return {
    async read(into) {
      const portion = Math.floor(filled / limits.transferBytes);
      if (portion === portions) return null;
      if (filled === (portions - 1) * limits.transferBytes) await beforeLast();
      const length = Math.min(into.length, (portion + 1) * limits.transferBytes - filled);
      into.fill(2, 0, length);
      filled += length;
      return length;
    },
  };
}

/** The oss is killed and started again; the machine with its cache goes on. */
async function restart(cluster: TestCluster, index: number): Promise<void> {
  await cluster.crash(`oss${index}`);
  await cluster.startOss(index);
}

/** The power of an OST goes and comes back: only what was synced is left. */
async function cutPower(cluster: TestCluster, index: number): Promise<void> {
  await cluster.crash(`oss${index}`);
  cluster.targets[index]!.disk.crash();
  await cluster.startOss(index);
}

// ── an existing file ───────────────────────────────────────────────────────────────────────────

Deno.test("sync() and close() fail when the OST lost power after the write", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await writeFile(fileSystem, bytes(1000, 1));
    const file = await fileSystem.openForWriting("/f");
    await file.write(0, bytes(2000, 2));
    await cutPower(cluster, 0);
    await assert.rejects(file.sync(), lost);
    await assert.rejects(file.sync(), lost);
    await assert.rejects(file.close(), lost);
    assert.deepEqual(await readFile(fileSystem), bytes(1000, 1), "what was synced is left");
  });
});

Deno.test("what an open file has lost is not made good by later writes", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await writeFile(fileSystem, bytes(1000, 1));
    const file = await fileSystem.openForWriting("/f");
    await file.write(0, bytes(10, 2));
    await cutPower(cluster, 0);
    await file.write(100, bytes(10, 3));
    await assert.rejects(file.sync(), lost);
    await file.write(200, bytes(10, 4), { sync: true });
    await assert.rejects(file.close(), lost);
    await using again = await fileSystem.openForWriting("/f");
    await again.write(0, bytes(10, 5));
    await again.close();
    await cutPower(cluster, 0);
    assert.deepEqual((await readFile(fileSystem)).subarray(0, 10), bytes(10, 5));
  });
});

Deno.test("sync() succeeds when only the process of the OST was restarted", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await writeFile(fileSystem, bytes(1000, 1));
    await using file = await fileSystem.openForWriting("/f");
    await file.write(0, bytes(1000, 2));
    await restart(cluster, 0);
    await file.write(1000, bytes(1000, 2));
    await file.sync();
    await cutPower(cluster, 0);
    await file.close();
    assert.deepEqual(await readFile(fileSystem), bytes(2000, 2));
  });
});

Deno.test("power that goes after a sync() is none of the next one's business", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await writeFile(fileSystem, bytes(1000, 1));
    await using file = await fileSystem.openForWriting("/f");
    for (let round = 0; round < 3; round++) {
      await file.write(0, bytes(1000, round));
      await file.sync();
      await cutPower(cluster, 0);
      await file.sync();
    }
    await file.write(1000, bytes(1000, 2));
    await file.close();
    assert.deepEqual(await readFile(fileSystem), bytes(2000, 2));
  });
});

Deno.test("a write that was synced at once survives the power and closes well", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await using file = await fileSystem.create("/f", { layout: { ...narrow, replicas: 2 } });
    await file.write(0, bytes(1000, 1), { sync: true });
    for (const index of [0, 1]) await cutPower(cluster, index);
    await file.close();
    assert.deepEqual(await readFile(fileSystem), bytes(1000, 1));
  });
});

Deno.test("sync() fails when the length that a hole gave an object was lost", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.createEmpty("/f", { layout: { stripeBytes, stripeCount: 2 } });
    for (const cut of [true, false]) {
      const file = await fileSystem.openForWriting("/f");
      const [holder] = file.attributes.layout.targets[0]!;
      await file.write(stripeBytes, bytes(10, 1));
      assert.deepEqual(await file.read(0, 10), bytes(10, 0), "makes the object of the hole");
      if (cut) {
        await cutPower(cluster, holder!);
        await assert.rejects(file.sync(), { ...lost, message: new RegExp(`OST ${holder} was`) });
        await assert.rejects(file.close(), lost);
      } else {
        await restart(cluster, holder!);
        await file.close();
      }
    }
    await cutPower(cluster, 0);
    await cutPower(cluster, 1);
    const expected = bytes(stripeBytes + 10, 0);
    expected.fill(1, stripeBytes);
    assert.deepEqual(await readFile(fileSystem), expected);
  });
});

// ── a new file ─────────────────────────────────────────────────────────────────────────────────

for (const position of [0, 1]) {
  Deno.test(`a new file one of whose replicas was lost, number ${position}, is not there`, async () => {
    await withCluster({ osts: 2 }, async (cluster) => {
      const fileSystem = cluster.fileSystem();
      const file = await fileSystem.create("/f", { layout: { ...narrow, replicas: 2 } });
      const index = file.attributes.layout.targets[0]![position]!;
      await file.write(0, bytes(1000, 1));
      await cutPower(cluster, index);
      await assert.rejects(file.close(), { ...lost, message: new RegExp(`OST ${index} was`) });
      assert.equal(await fileSystem.find("/f"), undefined);
      await cluster.eventually(() => cluster.usage().objects === 0, 5_000);
    });
  });
}

Deno.test("each replica is synced under its own verifier", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    await cutPower(cluster, 1);
    for (let times = 0; times < 2; times++) await cutPower(cluster, 2);
    const fileSystem = cluster.fileSystem();
    await using file = await fileSystem.create("/f", { layout: { stripeBytes, replicas: 3 } });
    await file.write(0, bytes(1000, 1));
    // Makes the objects in between longer, too.
    await file.write(3 * stripeBytes, bytes(10, 1));
    await file.close();
    assert.equal((await readFile(fileSystem)).length, 3 * stripeBytes + 10);
  });
});

Deno.test("a put fails when the OST lost power meanwhile, and leaves what was there", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    for (const before of [bytes(0, 0), bytes(1000, 1)]) {
      const replace = before.length > 0;
      if (replace) await writeFile(fileSystem, before);
      const source = sourceOf(3, async () => {
        // Also the put's own bytes are there before they are lost.
        const written = before.length + 2 * limits.transferBytes;
        await cluster.eventually(() => cluster.usage().bytes === written);
        await cutPower(cluster, 0);
      });
      const put = uploadStream(fileSystem, source, "/f", { name: "source", replace });
      await assert.rejects(put, lost);
      if (replace) assert.deepEqual(await readFile(fileSystem), before);
      else assert.equal(await fileSystem.find("/f"), undefined);
      await cluster.eventually(() => cluster.usage().bytes === before.length, 5_000);
    }
  });
});

// ── what the mds does with objects ─────────────────────────────────────────────────────────────

/** An OST whose power goes and comes back between the answer to a cut and the sync after it. */
class FailingTarget extends MemoryTarget {
  powerCuts = 0;
  #armed = false;

  arm(): void {
    this.#armed = true;
  }

  override async open(owner: TargetOwner): Promise<OpenTarget> {
    const { nodeId, objects } = await super.open(owner);
    let reads = 0;
    Object.defineProperty(objects, "writeVerifier", {
      get: () => {
        // The first one goes into the answer, the second one is compared at the sync.
        if (this.#armed && ++reads === 2) {
          this.disk.crash();
          this.powerCuts++;
        }
        return this.disk.writeVerifier;
      },
    });
    return { nodeId, objects };
  }
}

Deno.test("a cut that the OST lost before it was synced is done again", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const target = new FailingTarget(new SeededRandom(3));
    await cluster.stop("oss0");
    cluster.targets.push(target);
    await cluster.startOss(1);
    const fileSystem = cluster.fileSystem();
    await writeFile(fileSystem, bytes(1000, 1));
    target.arm();
    await fileSystem.setAttributes("/f", { sizeBytes: 10 });
    const lengths = () => [...target.disk.synced.values()].map(({ lengthBytes }) => lengthBytes);
    await cluster.eventually(() => lengths()[0] === 10, 10_000);
    assert.equal(target.powerCuts, 1);
    assert.deepEqual(await readFile(fileSystem), bytes(10, 1));
  });
});
