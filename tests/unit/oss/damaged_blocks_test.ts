import assert from "node:assert/strict";
import { DamagedBlocks } from "../../../oss/damaged_blocks.ts";
import { MemoryDisk } from "../../../oss/memory_disk.ts";
import { MemoryObjectStore } from "../../../oss/memory_store.ts";
import { objectId } from "../../../shared/layout.ts";
import { pattern, writeBytes } from "../../support/object_bytes.ts";

const object = objectId(7, 0);
const other = objectId(7, 1);
const range = (offsetBytes: number, lengthBytes: number, of = object) => ({
  object: of,
  offsetBytes,
  lengthBytes,
});

Deno.test("DamagedBlocks counts each block once, and again when it was mended in between", () => {
  const damaged = new DamagedBlocks();
  damaged.found([range(4096, 8192), range(0, 10, other)]);
  damaged.found([range(4096, 4096), range(8192, 5000)]);
  assert.deepEqual(damaged.counts, { corruptBlocks: 4, repairedBlocks: 0 });
  damaged.written(object, 4100, 1);
  damaged.written(object, 100_000, 10);
  damaged.written(objectId(8, 0), 0, 100_000);
  assert.deepEqual(damaged.counts, { corruptBlocks: 4, repairedBlocks: 1 });
  damaged.found([range(4096, 1)]);
  damaged.written(object, 0, 100_000);
  assert.deepEqual(damaged.counts, { corruptBlocks: 5, repairedBlocks: 4 });
});

Deno.test("DamagedBlocks forgets what is cut off or destroyed, which is not repaired", () => {
  const damaged = new DamagedBlocks();
  damaged.found([range(0, 3 * 4096), range(0, 4096, other), range(0, 4096, objectId(8, 0))]);
  damaged.cut(object, 4097);
  damaged.destroyed([8, 9]);
  damaged.written(objectId(8, 0), 0, 4096);
  damaged.written(object, 0, 3 * 4096);
  assert.deepEqual(damaged.counts, { corruptBlocks: 5, repairedBlocks: 2 });
});

Deno.test("DamagedBlocks remembers a bounded number", () => {
  const damaged = new DamagedBlocks(10);
  damaged.found([range(0, 20 * 4096)]);
  damaged.found([range(0, 10 * 4096)]);
  assert.equal(damaged.counts.corruptBlocks, 20);
  damaged.written(object, 0, 20 * 4096);
  assert.equal(damaged.counts.repairedBlocks, 10);
  damaged.found([range(0, 4096)]);
  damaged.found([range(0, 4096)]);
  assert.equal(damaged.counts.corruptBlocks, 21);
});

Deno.test("DamagedBlocks.lookInto() counts what a store finds, and survives its errors", async () => {
  const disk = new MemoryDisk();
  const store = new MemoryObjectStore({ targetIndex: 0, disk });
  const damaged = new DamagedBlocks();
  await writeBytes(store, object, 0, pattern(1, 20_000));
  for (const offset of [0, 9_000, 19_999]) disk.corruptByte(object, offset);
  await damaged.lookInto(store, object, 5_000, 100_000);
  assert.equal(damaged.counts.corruptBlocks, 2);
  await damaged.lookInto(store, other, 0, 10);
  assert.equal(damaged.counts.corruptBlocks, 2);
});
