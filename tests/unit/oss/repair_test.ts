// repairObject through the real wiring, on OSTs in memory whose disks go bad.

import assert from "node:assert/strict";
import type { CopiedBytes, ObjectCopy } from "../../../oss/object_copies.ts";
import type { Range } from "../../../oss/range_locks.ts";
import { repair as runRepair } from "../../../oss/repair.ts";
import { blockBytes, checksumsOf } from "../../../shared/checksums.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { pattern, rejects } from "../../support/object_bytes.ts";
import type { TestCluster } from "../../support/cluster.ts";
import { RecordedLog } from "../../support/fake_mgs.ts";
import { object, type OssCaller, testOss } from "../../support/oss_caller.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { seeded, testSeed } from "../../support/seed.ts";

const blocks = (count: number) => count * blockBytes;

/** Asks the first of some OSTs to repair an object from its start. */
function repair(
  caller: OssCaller,
  [primary, ...replicas]: readonly [number, ...number[]],
  fields: { object?: string; offsetBytes?: number; lengthBytes?: number; epoch?: number } = {},
) {
  const { epoch } = caller.map;
  const range = { offsetBytes: 0, lengthBytes: limits.framePayloadBytesMax };
  const request = { epoch, object, ...range, replicas, ...fields };
  return caller.call(primary, "repairObject", request);
}

function diskOf(cluster: TestCluster, index: number) {
  return cluster.targets[index]!.disk;
}

/** Every copy is right, by its own OST's judgement, and the same. */
async function assertGood(caller: OssCaller, indices: readonly number[], bytes: Uint8Array) {
  for (const index of indices) {
    const copy = await caller.read(index, 0, bytes.length, { verified: true });
    assert.deepEqual(copy, bytes, `the copy on OST ${index}`);
  }
}

async function countsOf(caller: OssCaller, index: number) {
  const { epoch } = caller.map;
  const { usage } = await caller.call(index, "probe", { epoch, mgs: [] });
  return { corrupt: usage!.corruptBlocks, repaired: usage!.repairedBlocks };
}

// ── what is mended ─────────────────────────────────────────────────────────────────────────────

for (const [where, damaged] of [["the primary", 0], ["a replica", 2]] as const) {
  testOss(`repairObject mends ${where} from another copy, on disk`, async (caller, cluster) => {
    const bytes = pattern(1, blocks(8) + 100);
    await caller.write(0, bytes, { replicas: [1, 2], sync: true });
    const disk = diskOf(cluster, damaged);
    disk.corruptByte(object, blocks(3) + 17);
    disk.corruptChecksum(object, 4);
    disk.corruptByte(object, blocks(8) + 99);
    await rejects("DATA_CORRUPT", () => caller.read(damaged, blocks(8), 100), [
      object,
      `OST ${damaged}`,
    ]);
    const result = await repair(caller, [0, 1, 2]);
    assert.deepEqual(result, { repairedBlocks: 3, lostBlocks: 0 });
    await assertGood(caller, [0, 1, 2], bytes);
    assert.deepEqual(await countsOf(caller, damaged), { corrupt: 3, repaired: 3 });
    assert.deepEqual(await countsOf(caller, 1), { corrupt: 0, repaired: 0 });
    assert.deepEqual(await repair(caller, [0, 1, 2]), { repairedBlocks: 0, lostBlocks: 0 });
    await cluster.crash(`oss${damaged}`);
    disk.crash();
    await cluster.startOss(damaged);
    await cluster.allUp();
    caller.map = await cluster.connect("watcher3").map();
    await assertGood(caller, [damaged], bytes);
  });
}

testOss("repairObject mends different blocks from different copies", async (caller, cluster) => {
  const bytes = pattern(2, blocks(10));
  await caller.write(0, bytes, { replicas: [1, 2] });
  for (const block of [1, 2, 5]) diskOf(cluster, 0).corruptByte(object, blocks(block));
  for (const block of [2, 3, 9]) diskOf(cluster, 1).corruptByte(object, blocks(block));
  for (const block of [0, 5, 9]) diskOf(cluster, 2).corruptChecksum(object, block);
  assert.deepEqual(await repair(caller, [0, 1, 2]), { repairedBlocks: 9, lostBlocks: 0 });
  await assertGood(caller, [0, 1, 2], bytes);
});

testOss("repairObject leaves a block alone that is bad everywhere", async (caller, cluster) => {
  const bytes = pattern(3, blocks(4));
  await caller.write(0, bytes, { replicas: [1] });
  for (const index of [0, 1]) diskOf(cluster, index).corruptByte(object, blocks(1) + index);
  diskOf(cluster, 0).corruptByte(object, blocks(2));
  assert.deepEqual(await repair(caller, [0, 1]), { repairedBlocks: 1, lostBlocks: 2 });
  const corrupt = () => caller.read(0, 0, blocks(4), { verified: true });
  await rejects("DATA_CORRUPT", corrupt, [`bytes at ${blocks(1)}`]);
  assert.deepEqual(await caller.read(0, blocks(2), blocks(2)), bytes.slice(blocks(2)));
  // Whoever writes it again makes it right.
  const fresh = pattern(4, blocks(1));
  await caller.write(0, fresh, { offsetBytes: blocks(1), replicas: [1] });
  bytes.set(fresh, blocks(1));
  await assertGood(caller, [0, 1], bytes);
  assert.deepEqual(await countsOf(caller, 0), { corrupt: 2, repaired: 2 });
});

testOss("repairObject brings back a list of checksums that is lost", async (caller, cluster) => {
  const bytes = pattern(5, blocks(5) + 1);
  await caller.write(0, bytes, { replicas: [2] });
  diskOf(cluster, 2).corruptChecksums(object);
  assert.deepEqual(await repair(caller, [0, 2]), { repairedBlocks: 6, lostBlocks: 0 });
  await assertGood(caller, [0, 2], bytes);
});

for (const lost of [0, 1]) {
  testOss(`repairObject brings back an object that OST ${lost} lost`, async (caller, cluster) => {
    const bytes = pattern(6, blocks(3) + 7);
    await caller.write(0, bytes, { replicas: [1] });
    diskOf(cluster, lost).drop(object);
    assert.deepEqual(await repair(caller, [0, 1]), { repairedBlocks: 4, lostBlocks: 0 });
    await assertGood(caller, [0, 1], bytes);
  });
}

testOss("repairObject makes a replica as long as the primary, in pieces too", async (caller) => {
  const bytes = pattern(7, blocks(6) + 50);
  await caller.write(0, bytes);
  await caller.write(1, bytes.slice(0, blocks(2) + 50));
  for (let block = 0; block < 7; block++) {
    const range = { offsetBytes: blocks(block), lengthBytes: blockBytes };
    const { repairedBlocks } = await repair(caller, [0, 1], range);
    assert.equal(repairedBlocks, block < 2 ? 0 : 1);
  }
  await assertGood(caller, [0, 1], bytes);
});

testOss("repairObject does not bring back what is being cut off", async (caller) => {
  const bytes = pattern(8, blocks(4));
  await caller.write(0, bytes, { replicas: [1] });
  const { epoch } = caller.map;
  // The collector cuts at the primary first.
  await caller.call(0, "resizeObject", { epoch, object, lengthBytes: 100, extend: false });
  assert.deepEqual(await repair(caller, [0, 1]), { repairedBlocks: 0, lostBlocks: 0 });
  assert.deepEqual(await caller.call(0, "statObject", { object }), { lengthBytes: 100 });
});

testOss("repairObject takes holes for what they are", async (caller, cluster) => {
  await caller.write(0, pattern(9, 10), { offsetBytes: blocks(5), replicas: [1] });
  diskOf(cluster, 1).corruptByte(object, blocks(2));
  assert.deepEqual(await repair(caller, [0, 1]), { repairedBlocks: 1, lostBlocks: 0 });
  await assertGood(caller, [0, 1], await caller.read(0, 0, blocks(5) + 10));
});

testOss("repairObject mends a whole frame of bad blocks", async (caller, cluster) => {
  const bytes = pattern(10, limits.framePayloadBytesMax);
  await caller.write(0, bytes, { replicas: [1] });
  diskOf(cluster, 1).corruptChecksums(object);
  assert.deepEqual(await repair(caller, [0, 1]), { repairedBlocks: 1024, lostBlocks: 0 });
  await assertGood(caller, [0, 1], bytes);
});

// ── what is refused ────────────────────────────────────────────────────────────────────────────

testOss("repairObject refuses what it cannot do", async (caller) => {
  await caller.write(0, pattern(1, 10), { replicas: [1] });
  await rejects("BAD_REQUEST", () => repair(caller, [0, 0]), [object, "not different"]);
  await rejects("BAD_REQUEST", () => repair(caller, [0, 1, 1]), [object, "not different"]);
  const stale = { epoch: caller.map.epoch - 1 };
  await rejects("STALE_MAP", () => repair(caller, [0, 1], stale), ["epoch"]);
  const other = { object: objectId(9, 9) };
  await rejects("DATA_MISSING", () => repair(caller, [0, 1], other), [other.object]);
  await caller.call(0, "destroyInodes", { inodes: [7] });
  await rejects("OBJECT_GONE", () => repair(caller, [0, 1]), ["inode 7"]);
});

testOss(
  "repairObject does with the copies that are up, as far as it can",
  async (caller, cluster) => {
    const bytes = pattern(1, blocks(4));
    await caller.write(0, bytes, { replicas: [1, 2] });
    diskOf(cluster, 0).corruptByte(object, 0);
    await cluster.stop("oss2");
    caller.map = await cluster.connect("watcher4").map();
    assert.deepEqual(await repair(caller, [0, 1, 2]), { repairedBlocks: 1, lostBlocks: 0 });
    // What is bad in all copies that are up is not lost: the one that is down may be good.
    for (const index of [0, 1]) diskOf(cluster, index).corruptByte(object, blocks(2));
    diskOf(cluster, 1).corruptByte(object, 0);
    await rejects("TARGET_DOWN", () => repair(caller, [0, 1, 2]), [object, "OST 2"]);
    assert.deepEqual(
      await caller.read(1, 0, blocks(2), { verified: true }),
      bytes.slice(0, blocks(2)),
    );
  },
);

testOss("repairObject of a single copy counts what is lost", async (caller, cluster) => {
  await caller.write(0, pattern(1, blocks(4)));
  diskOf(cluster, 0).corruptByte(object, blocks(1));
  assert.deepEqual(await repair(caller, [0]), { repairedBlocks: 0, lostBlocks: 1 });
});

// ── writes ─────────────────────────────────────────────────────────────────────────────────────

for (const [where, damaged] of [["the primary", 0], ["a replica", 1]] as const) {
  testOss(`a partial write over a damaged block of ${where} repairs it first`, async (
    caller,
    cluster,
  ) => {
    const bytes = pattern(1, blocks(4));
    await caller.write(0, bytes, { replicas: [1] });
    for (const block of [1, 2]) diskOf(cluster, damaged).corruptByte(object, blocks(block));
    const written = pattern(2, blocks(1));
    await caller.write(0, written, { offsetBytes: blocks(1) + 100, replicas: [1] });
    bytes.set(written, blocks(1) + 100);
    await assertGood(caller, [0, 1], bytes);
    assert.deepEqual(await countsOf(caller, damaged), { corrupt: 2, repaired: 2 });
  });
}

testOss("a partial write over a block that is lost fails and changes nothing", async (
  caller,
  cluster,
) => {
  const bytes = pattern(1, blocks(4));
  await caller.write(0, bytes, { replicas: [1] });
  for (const index of [0, 1]) diskOf(cluster, index).corruptByte(object, blocks(1) + index);
  const write = () => caller.write(0, pattern(2, 10), { offsetBytes: blocks(1), replicas: [1] });
  await rejects("DATA_CORRUPT", write, [object, "OST 0"]);
  const alone = () => caller.write(0, pattern(2, 10), { offsetBytes: blocks(1) });
  await rejects("DATA_CORRUPT", alone, [object, "OST 0"]);
  assert.deepEqual(await caller.read(1, 0, blocks(1)), bytes.slice(0, blocks(1)));
});

testOss(
  "repairs and writes at the same time lose nothing",
  (caller, cluster) => seeded(() => repairAndWrite(caller, cluster)),
);

async function repairAndWrite(caller: OssCaller, cluster: TestCluster): Promise<void> {
  const random = new SeededRandom(testSeed);
  const lengthBytes = blocks(12) + 500;
  const model = pattern(random.below(1000), lengthBytes);
  await caller.write(0, model, { replicas: [1, 2] });
  for (let round = 0; round < 20; round++) {
    // Blocks 0 to 5 are damaged, each in at most two copies.
    for (let block = 0; block < 6; block++) {
      const good = random.below(3);
      for (const index of [0, 1, 2]) {
        if (index === good || random.below(2) === 0) continue;
        diskOf(cluster, index).corruptByte(object, blocks(block) + random.below(blockBytes));
      }
    }
    // One write to each third of the object, so that they do not overlap.
    const third = Math.floor(lengthBytes / 3);
    const writes = [0, 1, 2].map(async (part) => {
      const offsetBytes = part * third + random.below(third / 2);
      const bytes = pattern(round * 3 + part, 1 + random.below(third / 2));
      await cluster.sleep(random.below(3));
      await caller.write(0, bytes, { offsetBytes, replicas: [1, 2] });
      model.set(bytes, offsetBytes);
    });
    const repairs = Array.from({ length: 3 }, async () => {
      await cluster.sleep(random.below(3));
      const offsetBytes = random.below(lengthBytes);
      await repair(caller, [0, 1, 2], { offsetBytes, lengthBytes: 1 + random.below(lengthBytes) });
    });
    await Promise.all([...writes, ...repairs]);
    const { lostBlocks } = await repair(caller, [0, 1, 2]);
    assert.equal(lostBlocks, 0);
    await assertGood(caller, [0, 1, 2], model);
  }
}

// ── what is said ───────────────────────────────────────────────────────────────────────────────

/** A copy of four blocks of zeros, of which some are damaged. */
class FakeCopy implements ObjectCopy {
  readonly targetIndex: number;
  readonly damaged: Set<number>;
  /** Whether what is written is right afterwards. */
  mends = true;

  constructor(targetIndex: number, damaged: readonly number[]) {
    this.targetIndex = targetIndex;
    this.damaged = new Set(damaged);
  }

  lengthBytes = () => Promise.resolve(blocks(4));

  damagedBlocks({ startBytes, endBytes }: Range): Promise<number[]> {
    const inRange = (block: number) => blocks(block) >= startBytes && blocks(block) < endBytes;
    return Promise.resolve([...this.damaged].filter(inRange).sort());
  }

  read({ startBytes, endBytes }: Range): Promise<CopiedBytes> {
    const bytes = new Uint8Array(endBytes - startBytes);
    return Promise.resolve({ bytes, checksums: checksumsOf(startBytes, bytes) });
  }

  write(offsetBytes: number, { checksums }: CopiedBytes): Promise<void> {
    const first = offsetBytes / blockBytes;
    if (this.mends) { for (const part of checksums.keys()) this.damaged.delete(first + part); }
    return Promise.resolve();
  }

  sync = () => Promise.resolve();
}

function repairCopies(local: FakeCopy, ...replicas: FakeCopy[]) {
  const { logger: log, lines } = new RecordedLog();
  const range = { startBytes: 0, endBytes: blocks(4) };
  const result = runRepair({ object, range, local, replicas, unreachable: [], log });
  return { result, lines };
}

Deno.test("repair() logs each range that it repaired or that is lost, once", async () => {
  const { result, lines } = repairCopies(new FakeCopy(0, [0, 1, 3]), new FakeCopy(1, [3]));
  assert.deepEqual(await result, { repairedBlocks: 2, lostBlocks: 2 });
  assert.deepEqual(lines, [
    "warn Repaired a damaged range of an object",
    "error Lost a range of an object: no copy of it is good",
  ]);
  const good = repairCopies(new FakeCopy(0, []), new FakeCopy(1, []));
  assert.deepEqual(await good.result, { repairedBlocks: 0, lostBlocks: 0 });
  assert.deepEqual(good.lines, []);
});

Deno.test("repair() does not call a disk right that is not", async () => {
  const bad = new FakeCopy(1, [2]);
  bad.mends = false;
  const { result, lines } = repairCopies(new FakeCopy(0, []), bad);
  await rejects("DATA_CORRUPT", () => result, [object, "OST 1", `bytes at ${blocks(2)}`]);
  assert.deepEqual(lines, []);
});
