// What an oss answers, through the real wiring: mgs, OSTs and calls in one thread, in virtual time.

import assert from "node:assert/strict";
import { MemoryDisk } from "../../../oss/memory_disk.ts";
import { startOss } from "../../../oss/start.ts";
import { targetOf } from "../../../shared/cluster_map.ts";
import { sleep } from "../../../shared/environment.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { loggerOf } from "../../../shared/logging.ts";
import { pattern, rejects } from "../../support/object_bytes.ts";
import { object, testOss } from "../../support/oss_caller.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

/** Of an OST that was never without power. */
const verifier = new MemoryDisk().writeVerifier;

// ── writing and replicas ───────────────────────────────────────────────────────────────────────

testOss("writeObject puts the bytes on every replica", async (caller, cluster) => {
  await caller.write(0, pattern(1, 5_000), { replicas: [2], offsetBytes: 100 });
  assert.deepEqual(await caller.read(0, 100, 5_000), pattern(1, 5_000));
  assert.deepEqual(await caller.read(2, 100, 5_000), pattern(1, 5_000));
  await rejects("DATA_MISSING", () => caller.read(1, 0, 1), [object, "OST 1"]);
  assert.equal(cluster.targets[0]!.disk.synced.size, 0);
  await caller.write(0, pattern(2, 10), { replicas: [2], sync: true });
  for (const index of [0, 2]) assert.equal(cluster.targets[index]!.disk.synced.size, 1);
});

testOss(
  "writeObject leaves overlapping writes in one order everywhere",
  async (caller, cluster) => {
    const random = new SeededRandom(5);
    for (let round = 0; round < 20; round++) {
      const writes = Array.from({ length: 12 }, async (_, seed) => {
        await sleep(cluster.clock, random.below(5));
        const offsetBytes = random.below(3_000);
        const bytes = pattern(round * 12 + seed, 1 + random.below(3_000));
        await caller.write(0, bytes, { replicas: [1, 2], offsetBytes });
      });
      await Promise.all(writes);
      const { lengthBytes } = await caller.call(0, "statObject", { object });
      const bytes = await caller.read(0, 0, lengthBytes);
      assert.deepEqual(await caller.read(1, 0, lengthBytes), bytes);
      assert.deepEqual(await caller.read(2, 0, lengthBytes), bytes);
    }
  },
);

testOss("writeObject refuses replicas that are itself, twice, or unknown", async (caller) => {
  const bytes = pattern(1, 10);
  await rejects("BAD_REQUEST", () => caller.write(0, bytes, { replicas: [0] }), [object]);
  await rejects("BAD_REQUEST", () => caller.write(0, bytes, { replicas: [1, 1] }), [object]);
  await rejects("TARGET_DOWN", () => caller.write(0, bytes, { replicas: [1, 9] }), ["OST 9"]);
  await rejects("DATA_MISSING", () => caller.read(0, 0, 1), [object]);
});

testOss("writeObject fails and names the replica that is down", async (caller, cluster) => {
  await cluster.stop("oss2");
  await cluster.eventually(async () => {
    caller.map = await cluster.connect("watcher2").map();
    return targetOf(caller.map, 2).state === "down";
  });
  const write = () => caller.write(0, pattern(1, 10), { replicas: [2] });
  await rejects("TARGET_DOWN", write, [object, "OST 2 is down"]);
});

testOss("writeObject fails and names the replica that fails", async (caller, cluster) => {
  const { disk } = cluster.targets[2]!;
  disk.blockCount = disk.capacityBytes;
  const write = () => caller.write(0, pattern(1, 10), { replicas: [1, 2] });
  await rejects("ENOSPC", write, [object, "OST 2", "no space left"]);
});

testOss("writeObject refuses bytes that are not those of the checksums", async (caller) => {
  const bytes = pattern(1, 10_000);
  const { checksums: right } = caller.withChecksums(0, bytes);
  const cases: [code: "BAD_REQUEST" | "CHECKSUM_MISMATCH", checksums: Uint8Array][] = [
    ["BAD_REQUEST", right.slice(4)],
    ["BAD_REQUEST", Uint8Array.of(...right, 0, 0, 0, 0)],
    ["BAD_REQUEST", right.slice(1)],
    ["BAD_REQUEST", new Uint8Array(0)],
    ["CHECKSUM_MISMATCH", right.with(11, right[11]! ^ 1)],
    ["CHECKSUM_MISMATCH", new Uint8Array(right.length)],
  ];
  for (const [code, checksums] of cases) {
    const write = () => caller.write(0, bytes, { checksums, replicas: [1] });
    await rejects(code, write, [object]);
    for (const index of [0, 1]) {
      await rejects("DATA_MISSING", () => caller.read(index, 0, 1), [object]);
    }
  }
});

testOss("writeObject sends writes of any size to its replicas", async (caller, cluster) => {
  const disks = cluster.targets.map(({ disk }) => disk);
  const sizes = [1, limits.uncachedWriteBytesMin - 1, limits.uncachedWriteBytesMin, 3_000_000];
  for (const [seed, size] of sizes.entries()) {
    const bytes = pattern(seed, size);
    await caller.write(0, bytes, { replicas: [1, 2], offsetBytes: 100, sync: true });
    for (const index of [0, 1, 2]) {
      assert.deepEqual(await caller.read(index, 100, size, { verified: true }), bytes);
      assert.equal(disks[index]!.synced.get(object)?.lengthBytes, 100 + size);
    }
  }
  disks[2]!.blockCount = disks[2]!.capacityBytes;
  const fails = () =>
    caller.write(0, pattern(9, 3_000_000), { replicas: [1, 2], object: objectId(8, 0) });
  await rejects("ENOSPC", fails, ["OST 2"]);
});

testOss("writeObject refuses no bytes and what ends over the limit", async (caller) => {
  await rejects("BAD_REQUEST", () => caller.write(0, new Uint8Array(0)), [object]);
  const offsetBytes = limits.fileBytesMax - 5;
  await rejects("EFBIG", () => caller.write(0, pattern(1, 10), { offsetBytes }), [object]);
  await caller.write(0, pattern(1, 5), { offsetBytes });
});

testOss("refuses object ids that are none", async (caller) => {
  for (
    const bad of ["../../../../etc/passwd", "7:0", "", `${object}0`, object.toUpperCase() + "G"]
  ) {
    await rejects("BAD_REQUEST", () => caller.write(0, pattern(1, 10), { object: bad }), []);
    await rejects("BAD_REQUEST", () => caller.call(0, "statObject", { object: bad }), []);
  }
  // Of the right form, and no inode has the number.
  for (
    const bad of [
      "ffffffffffffffff:00000000",
      "0020000000000000:00000000",
      "0".repeat(16) + ":00000000",
    ]
  ) {
    const { epoch } = caller.map;
    await rejects("BAD_REQUEST", () => caller.write(0, pattern(1, 10), { object: bad }), [bad]);
    const sync = { epoch, objects: [object, bad], verifier };
    await rejects("BAD_REQUEST", () => caller.call(0, "syncObjects", sync), [bad]);
    await rejects("BAD_REQUEST", () => caller.call(0, "statObject", { object: bad }), [bad]);
    const resize = { epoch, object: bad, lengthBytes: 5, extend: true };
    await rejects("BAD_REQUEST", () => caller.call(0, "resizeObject", resize), [bad]);
    const repair = { epoch, object: bad, offsetBytes: 0, lengthBytes: 5, replicas: [] };
    await rejects("BAD_REQUEST", () => caller.call(0, "repairObject", repair), [bad]);
    const scrub = { from: { object: bad, offsetBytes: 0 }, bytesMax: 1 };
    await rejects("BAD_REQUEST", () => caller.call(0, "scrubObjects", scrub), [bad]);
  }
});

// ── the other messages ─────────────────────────────────────────────────────────────────────────

testOss("resizeObject, statObject and syncObjects do what they say", async (caller, cluster) => {
  const { epoch } = caller.map;
  const resize = (lengthBytes: number, extend: boolean) =>
    caller.call(0, "resizeObject", { epoch, object, lengthBytes, extend });
  await resize(100, false);
  await rejects("DATA_MISSING", () => caller.call(0, "statObject", { object }), [object, "OST 0"]);
  await resize(100, true);
  assert.deepEqual(await caller.call(0, "statObject", { object }), { lengthBytes: 100 });
  await resize(40, false);
  assert.deepEqual(await caller.call(0, "statObject", { object }), { lengthBytes: 40 });
  await caller.call(0, "syncObjects", { epoch, objects: [object], verifier });
  assert.equal(cluster.targets[0]!.disk.synced.get(object)?.lengthBytes, 40);
  const missing = objectId(7, 9);
  const objects = [object, missing];
  const sync = () => caller.call(0, "syncObjects", { epoch, objects, verifier });
  await rejects("DATA_MISSING", sync, [missing, "OST 0"]);
});

testOss("syncObjects refuses what it may have lost since", async (caller, cluster) => {
  await cluster.crash("oss2");
  cluster.targets[2]!.disk.crash();
  await cluster.startOss(2);
  await cluster.allUp();
  caller.map = await cluster.connect("watcher3").map();
  const { epoch } = caller.map;
  const other = cluster.targets[2]!.disk.writeVerifier;
  assert.notEqual(other, verifier);
  const written = await caller.write(0, pattern(1, 10), { replicas: [2, 1] });
  assert.deepEqual(written, { verifiers: [verifier, other, verifier] });
  const resize = { epoch, object, lengthBytes: 5, extend: true };
  assert.deepEqual(await caller.call(2, "resizeObject", resize), { verifier: other });
  const sync = { epoch, objects: [object] };
  const stale = () => caller.call(2, "syncObjects", { ...sync, verifier });
  await rejects("WRITES_LOST", stale, ["Cannot sync", "OST 2 was restarted", "write it again"]);
  assert.equal(cluster.targets[2]!.disk.synced.size, 0);
  const missing = { epoch, objects: [objectId(7, 9)], verifier };
  await rejects("WRITES_LOST", () => caller.call(2, "syncObjects", missing), ["OST 2"]);
  await caller.call(2, "syncObjects", { ...sync, verifier: other });
  assert.equal(cluster.targets[2]!.disk.synced.size, 1);
});

testOss("destroyInodes deletes and refuses what comes later", async (caller) => {
  await caller.write(0, pattern(1, 100));
  await caller.write(0, pattern(1, 100), { object: objectId(7, 5) });
  await caller.write(0, pattern(1, 100), { object: objectId(8, 0) });
  assert.deepEqual(await caller.call(0, "destroyInodes", { inodes: [7, 9] }), { objects: 2 });
  assert.deepEqual(await caller.call(0, "destroyInodes", { inodes: [7, 9] }), { objects: 0 });
  const { epoch } = caller.map;
  await rejects("OBJECT_GONE", () => caller.write(0, pattern(1, 100)), ["inode 7"]);
  const resize = { epoch, object, lengthBytes: 5, extend: true };
  await rejects("OBJECT_GONE", () => caller.call(0, "resizeObject", resize), ["inode 7"]);
  await rejects("OBJECT_GONE", () => caller.read(0, 0, 1), ["inode 7"]);
  const sync = { epoch, objects: [object], verifier };
  await rejects("OBJECT_GONE", () => caller.call(0, "syncObjects", sync), ["inode 7"]);
  await caller.call(0, "syncObjects", { epoch, objects: [objectId(8, 0)], verifier });
});

testOss("no write makes an object again after its destroy", async (caller, cluster) => {
  // Overlapping writes, so that most wait for their turn, while the destroy comes at any moment.
  for (let ino = 100; ino < 130; ino++) {
    const id = objectId(ino, 0);
    const writes = Promise.allSettled(
      Array.from(
        { length: 10 },
        (_, seed) =>
          caller.write(0, pattern(seed, 5_000), {
            object: id,
            replicas: [1],
            sync: seed % 2 === 0,
          }),
      ),
    );
    await sleep(cluster.clock, 0);
    for (let step = 0; step < ino; step++) await Promise.resolve();
    await Promise.all([0, 1].map((index) => {
      return caller.call(index, "destroyInodes", { inodes: [ino] });
    }));
    for (const { disk } of cluster.targets) assert.equal(disk.objects.has(id), false);
    for (const outcome of await writes) {
      if (outcome.status === "rejected") assert.equal(outcome.reason.code, "OBJECT_GONE");
    }
    for (const { disk } of cluster.targets) assert.equal(disk.objects.has(id), false);
  }
});

// ── epochs ─────────────────────────────────────────────────────────────────────────────────────

testOss("refuses the epoch of an older map", async (caller) => {
  const epoch = caller.map.epoch - 1;
  const parts = [`epoch ${epoch}`, `by ${caller.map.epoch}`];
  await rejects("STALE_MAP", () => caller.write(0, pattern(1, 10), { epoch }), parts);
  await rejects("STALE_MAP", () => caller.read(0, 0, 1, { epoch }), parts);
  const resize = { epoch, object, lengthBytes: 5, extend: true };
  await rejects("STALE_MAP", () => caller.call(0, "resizeObject", resize), parts);
  const sync = { epoch, objects: [object], verifier };
  await rejects("STALE_MAP", () => caller.call(0, "syncObjects", sync), parts);
  await rejects("DATA_MISSING", () => caller.read(0, 0, 1), [object]);
});

testOss(
  "fetches the map of a newer epoch, and serves it where there is one",
  async (caller, cluster) => {
    // Each of these raises the epoch, and the requests come before the OST hears of it.
    await cluster.stop("oss2");
    caller.map = await cluster.connect("watcher3").map();
    await Promise.all([
      caller.write(0, pattern(1, 10), { replicas: [1] }),
      caller.write(1, pattern(1, 10), { object: objectId(7, 1) }),
      caller.write(0, pattern(1, 10), { object: objectId(7, 2) }),
    ]);
    const epoch = caller.map.epoch + 1;
    await rejects("STALE_MAP", () => caller.read(0, 0, 1, { epoch }), [`epoch ${epoch}`]);
  },
);

// ── start and stop ─────────────────────────────────────────────────────────────────────────────

testOss("start waits for an mgs, and gives up when it is told to", async (_caller, cluster) => {
  const abort = new AbortController();
  const options = {
    environment: cluster.environment("oss7"),
    mgs: [{ host: "nowhere", port: 1 }],
    listen: { host: "oss7", port: 0 },
    advertise: (listening: { host: string; port: number }) => Promise.resolve(listening),
    storage: cluster.targets[0]!,
    targetIndex: 7,
    hostName: "oss7",
    version: "test",
    log: loggerOf("oss"),
    signal: abort.signal,
  };
  await rejects("EBUSY", () => startOss(options), ["another daemon"]);
  await cluster.stop("oss0");
  const starting = startOss(options);
  const outcome = starting.then(() => "started", (error) => error.code ?? error.name);
  await cluster.sleep(20_000);
  abort.abort();
  assert.match(await outcome, /INTERRUPTED|AbortError/);
  // It let go of the storage.
  await cluster.startOss(0);
});

testOss("start refuses storage of another OST and lets go of it", async (_caller, cluster) => {
  await cluster.stop("oss0");
  await cluster.stop("oss1");
  const [first, second] = cluster.targets;
  cluster.targets[1] = first!;
  await rejects("WRONG_CLUSTER", () => cluster.startOss(1), ["OST 0"]);
  cluster.targets[1] = second!;
  await cluster.startOss(0);
  await cluster.startOss(1);
});

testOss("close() lets requests under way finish and keeps the objects", async (caller, cluster) => {
  await caller.write(0, pattern(1, 100));
  const oss = cluster.servers.get("oss0")!;
  const { nodeId } = oss;
  const writes = Promise.allSettled(
    Array.from(
      { length: 20 },
      (_, index) => caller.write(0, pattern(index, 100), { offsetBytes: 100 * index }),
    ),
  );
  await cluster.stop("oss0");
  const acknowledged = (await writes).map(({ status }) => status === "fulfilled");
  const again = await cluster.startOss(0);
  assert.equal(again.nodeId, nodeId);
  await cluster.allUp();
  caller.map = await cluster.connect("watcher4").map();
  for (const [index, done] of acknowledged.entries()) {
    if (done) assert.deepEqual(await caller.read(0, 100 * index, 100), pattern(index, 100));
  }
});

// ── what is there, for fsck and cuts ───────────────────────────────────────────────────────────────

testOss("listObjects gives every object once, statObjects their lengths", async (caller) => {
  const { epoch } = caller.map;
  const objects = Array.from({ length: 7 }, (_, index) => objectId(1000 * (index + 1), index));
  for (const [index, each] of objects.entries()) {
    const lengthBytes = 10 * index;
    await caller.call(0, "resizeObject", { epoch, object: each, lengthBytes, extend: true });
  }
  const listed = new Map<string, number>();
  let after: string | undefined;
  for (;;) {
    const request = after === undefined ? { limit: 3 } : { limit: 3, after };
    const page = await caller.call(0, "listObjects", request);
    assert.ok(page.objects.length <= 3);
    for (const each of page.objects) listed.set(each.object, each.lengthBytes);
    after = page.objects.at(-1)?.object;
    if (after === undefined) break;
  }
  assert.deepEqual([...listed].sort(), objects.map((each, index) => [each, 10 * index]).sort());
  await caller.call(0, "destroyInodes", { inodes: [1000] });
  const asked = [objects[2]!, objects[0]!, objectId(5, 5), objects[6]!];
  const reply = await caller.call(0, "statObjects", { objects: asked });
  assert.deepEqual(reply.lengthsBytes, [20, null, null, 60]);
  const bad = "0000000000000000:00000000";
  await rejects("BAD_REQUEST", () => caller.call(0, "statObjects", { objects: [bad] }), [bad]);
  await rejects("BAD_REQUEST", () => caller.call(0, "listObjects", { after: bad, limit: 1 }), [
    bad,
  ]);
});

testOss("listInode gives the objects of one inode, from one on", async (caller) => {
  const { epoch } = caller.map;
  for (const [ino, seq] of [[6, 9], [7, 0], [7, 3], [7, 0xffff_ffff], [8, 0]] as const) {
    const each = objectId(ino, seq);
    await caller.call(0, "resizeObject", { epoch, object: each, lengthBytes: 5, extend: true });
  }
  const from = async (seq: number) => {
    const request = { epoch, object: objectId(7, seq) };
    const { objects } = await caller.call(0, "listInode", request);
    assert.ok(objects.every(({ lengthBytes }) => lengthBytes === 5));
    return objects.map((each) => each.object);
  };
  const all = [0, 3, 0xffff_ffff].map((seq) => objectId(7, seq));
  assert.deepEqual(await from(0), all);
  assert.deepEqual(await from(1), all.slice(1));
  assert.deepEqual(await from(3), all.slice(1));
  assert.deepEqual(await from(4), all.slice(2));
  const old = { epoch: epoch - 1, object };
  await rejects("STALE_MAP", () => caller.call(0, "listInode", old), [`epoch ${epoch - 1}`]);
  const bad = "0000000000000000:00000000";
  await rejects("BAD_REQUEST", () => caller.call(0, "listInode", { epoch, object: bad }), [bad]);
});
