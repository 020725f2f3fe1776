// What an OST has lost is never replaced by zeros, whatever is written to the file afterwards.

import assert from "node:assert/strict";
import { blockBytes, checksumOf } from "../../shared/checksums.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";

const lengthBytes = 300_000;

/** A file with an object on each of two replicas, of which the OST loses what `lose` says. */
async function withLoss(
  lose: (cluster: TestCluster) => void,
  test: (cluster: TestCluster) => Promise<void>,
): Promise<void> {
  const uncheckedBecause = "an object is lost";
  await withCluster({ osts: 2, uncheckedBecause }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await using file = await fileSystem.create("/f", { layout: { stripeCount: 1, replicas: 2 } });
    await file.write(0, new Uint8Array(lengthBytes).fill(7));
    await file.close();
    lose(cluster);
    await test(cluster);
  });
}

/** On these OSTs. */
function loseOn(...indices: number[]) {
  return (cluster: TestCluster) => {
    for (const index of indices) cluster.targets[index]!.disk.objects.clear();
  };
}

for (const indices of [[0], [1], [0, 1]]) {
  Deno.test(`a write behind what OST ${indices.join(" and ")} lost is refused and makes no zeros`, async () => {
    await withLoss(loseOn(...indices), async (cluster) => {
      const fileSystem = cluster.fileSystem();
      await using file = await fileSystem.openForWriting("/f");
      for (const offsetBytes of [lengthBytes / 2, lengthBytes, 2 * lengthBytes]) {
        await assert.rejects(file.write(offsetBytes, new Uint8Array(10)), { code: "DATA_MISSING" });
      }
      await file.abandon();
      for (const index of indices) assert.equal(cluster.targets[index]!.disk.objects.size, 0);
    });
  });
}

Deno.test("a hole behind what an OST lost is refused and makes no zeros", async () => {
  await withLoss(loseOn(0, 1), async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await using file = await fileSystem.openForWriting("/f");
    // Into the next object: the first one would have to be made longer.
    await file.write(70 * 1024 * 1024, new Uint8Array(10));
    await assert.rejects(file.close(), { code: "DATA_MISSING" });
    await using reader = await fileSystem.open("/f");
    await assert.rejects(reader.read(0, 100), { code: "DATA_MISSING" });
  });
});

Deno.test("a write in the place of what was lost, from the object's begin on, is taken", async () => {
  await withLoss(loseOn(0, 1), async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await using file = await fileSystem.openForWriting("/f");
    await file.write(0, new Uint8Array(lengthBytes).fill(9));
    await file.close();
    await using reader = await fileSystem.open("/f");
    assert.deepEqual(await reader.read(0, lengthBytes), new Uint8Array(lengthBytes).fill(9));
  });
});

// ── copies that are shorter than they were ─────────────────────────────────────────────────────

const shortBytes = 100_000;

/** On these OSTs the object is as it was when it had `shortBytes`: with right checksums. */
function shortenOn(...indices: number[]) {
  return (cluster: TestCluster) => {
    for (const index of indices) {
      for (const content of cluster.targets[index]!.disk.objects.values()) {
        const last = Math.floor(shortBytes / blockBytes);
        const bytes = content.blocks.get(last)!.bytes.slice().fill(0, shortBytes % blockBytes);
        for (const block of [...content.blocks.keys()]) {
          if (block > last) content.blocks.delete(block);
        }
        content.blocks.set(last, { bytes, checksum: checksumOf(bytes) });
        content.lengthBytes = shortBytes;
      }
    }
  };
}

for (const indices of [[0], [1], [0, 1]]) {
  Deno.test(`no zeros are read where the copies of OST ${indices.join(" and ")} are short`, async () => {
    await withLoss(shortenOn(...indices), async (cluster) => {
      await using reader = await cluster.fileSystem().open("/f");
      for (const [offset, length] of [[0, lengthBytes], [99_000, 2_000], [200_000, 10]] as const) {
        const read = reader.read(offset, length);
        if (indices.length > 1) await assert.rejects(read, { code: "DATA_MISSING" });
        else assert.deepEqual(await read, new Uint8Array(length).fill(7));
      }
    });
  });
}

Deno.test("a write behind what is left of a short first copy is refused, and makes no zeros", async () => {
  await withLoss(shortenOn(0), async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await using file = await fileSystem.openForWriting("/f");
    await assert.rejects(file.write(200_000, new Uint8Array(10)), { code: "DATA_MISSING" });
    await file.abandon();
    await using reader = await fileSystem.open("/f");
    assert.deepEqual(await reader.read(150_000, 10), new Uint8Array(10).fill(7));
  });
});
