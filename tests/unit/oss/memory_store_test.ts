import assert from "node:assert/strict";
import { MemoryDisk } from "../../../oss/memory_disk.ts";
import { MemoryObjectStore, MemoryTarget } from "../../../oss/memory_store.ts";
import { objectId } from "../../../shared/layout.ts";
import { pattern, readBytes, rejects, writeBytes } from "../../support/object_bytes.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

const object = objectId(7, 0);

Deno.test("MemoryDisk.crash() leaves what was synced and nothing else", async () => {
  const disk = new MemoryDisk();
  const store = new MemoryObjectStore({ targetIndex: 0, disk });
  await writeBytes(store, object, 0, pattern(1, 10_000));
  await store.sync([object]);
  await writeBytes(store, object, 5_000, pattern(2, 10_000));
  await store.resize(object, 3_000, "cut");
  await writeBytes(store, objectId(7, 1), 0, pattern(3, 10));
  await writeBytes(store, objectId(8, 0), 0, pattern(3, 10));
  await store.sync([objectId(8, 0)]);
  await store.destroy([8]);
  await store.close();
  disk.crash();
  const again = new MemoryObjectStore({ targetIndex: 0, disk });
  assert.deepEqual(await readBytes(again, object, 0, 10_000), pattern(1, 10_000));
  assert.equal(again.usage().objects, 1);
  await writeBytes(again, object, 0, pattern(4, 10));
  disk.crash();
  assert.deepEqual(await readBytes(again, object, 0, 10), pattern(1, 10_000).slice(0, 10));
});

Deno.test("MemoryObjectStore.write() is ENOSPC on a full disk, and holes take no space", async () => {
  const disk = new MemoryDisk(10 * 4096);
  const store = new MemoryObjectStore({ targetIndex: 3, disk });
  await writeBytes(store, object, 2 ** 50, pattern(1, 10));
  await writeBytes(store, object, 0, pattern(1, 8 * 4096));
  await rejects("ENOSPC", () => writeBytes(store, object, 2 ** 40, pattern(2, 8192)), [
    object,
    "OST 3",
  ]);
  assert.equal(store.usage().freeBytes, 4096, "a part of it was written");
  assert.deepEqual(await readBytes(store, object, 2 ** 40, 8192), new Uint8Array(8192));
  assert.deepEqual(await readBytes(store, object, 0, 8 * 4096), pattern(1, 8 * 4096));
  await store.destroy([7]);
  assert.equal(store.usage().freeBytes, 10 * 4096);
});

Deno.test("MemoryTarget is locked by one and belongs to one", async () => {
  const target = new MemoryTarget(new SeededRandom(1));
  const owner = { clusterId: "1".repeat(32), clusterName: "a", targetIndex: 2 };
  await target.lock();
  await rejects("EBUSY", () => target.lock(), ["another"]);
  const { nodeId } = await target.open(owner);
  target.unlock();
  await target.lock();
  assert.equal((await target.open(owner)).nodeId, nodeId);
  const other = { ...owner, clusterId: "2".repeat(32) };
  await rejects("WRONG_CLUSTER", () => target.open(other), ["OST 2"]);
});
