// What the file store promises beyond the contract of every ObjectStore: where its files are, what
// it syncs, and what it does on a disk that fails. crash_test.ts has the crashes.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { localFiles } from "../../../oss/files.ts";
import { bufferPool } from "../../../shared/buffer_pool.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { pattern, readBytes, rejects, writeBytes } from "../../support/object_bytes.ts";
import { attributeOf } from "../../support/file_attributes.ts";
import { testStore } from "./opened_store.ts";

const object = objectId(7, 0);
const other = objectId(7, 1);
const large = limits.directWriteBytesMin;

const journalOf = (path: string) => path.startsWith("journal/1-0/");

// ── where the files are ────────────────────────────────────────────────────────────────────────

testStore(
  "keeps each object's bytes in a plain file, small ones after a checkpoint",
  async (opened) => {
    const files: [ino: number, seq: number, path: string][] = [
      [7, 0, "000/0000000000000007_00000000"],
      [255, 1, "000/00000000000000ff_00000001"],
      [256, 0, "001/0000000000000100_00000000"],
      [0xfffff, 0, "fff/00000000000fffff_00000000"],
      [0x100000, 0, "000/0000000000100000_00000000"],
      [Number.MAX_SAFE_INTEGER, 0xffff_ffff, "fff/001fffffffffffff_ffffffff"],
    ];
    for (const size of [50, large]) {
      for (const [ino, seq] of files) {
        await writeBytes(opened.store, objectId(ino, seq), 0, pattern(ino % 100, size));
      }
      await opened.reopen();
      for (const [ino, , path] of files) {
        const bytes = await Deno.readFile(`${opened.objects}/${path}`);
        assert.deepEqual(bytes, pattern(ino % 100, size));
        const sumsPath = `${opened.objects}/${path}`;
        const isSmall = size === 50;
        assert.equal(attributeOf(sumsPath)?.length, isSmall ? 28 : undefined);
        assert.equal(existsSync(`${sumsPath}.sum`), !isSmall);
        if (isSmall) continue;
        const { size: sumBytes } = await Deno.stat(`${sumsPath}.sum`);
        assert.equal(sumBytes, 48 + 4 * Math.ceil(size / 4096));
      }
    }
  },
);

testStore("puts a large new write into its file at once", async ({ store, objects }) => {
  await writeBytes(store, object, 0, pattern(1, large));
  const bytes = await Deno.readFile(`${objects}/000/0000000000000007_00000000`);
  assert.deepEqual(bytes, pattern(1, large));
});

testStore(
  "writes past the cache what is read through it, whatever is in memory",
  async (opened) => {
    const { store } = opened;
    const { uncachedWriteBytesMin } = limits;
    let offsetBytes = 0;
    for (const [seed, lengthBytes] of [0, 1, 4095, 4096, 300_001].entries()) {
      const bytes = pattern(seed, uncachedWriteBytesMin + lengthBytes);
      // At the start of a page, and not.
      const buffer = bufferPool.take(bytes.length + 1);
      for (const start of [0, 1]) {
        const placed = buffer.subarray(start, start + bytes.length);
        placed.set(bytes);
        await writeBytes(store, object, offsetBytes, placed);
        assert.deepEqual(await readBytes(store, object, offsetBytes, bytes.length), bytes);
        const endBytes = offsetBytes + bytes.length;
        offsetBytes = endBytes + (4096 - endBytes % 4096) % 4096;
      }
    }
    assert.deepEqual(await store.verify(object, 0, offsetBytes), []);
  },
);

testStore("says so when a disk is full in the middle of a large write", async (opened) => {
  const { store, files } = opened;
  const bytes = pattern(1, 2 * limits.uncachedWriteBytesMin);
  files.spaceBytes = limits.uncachedWriteBytesMin;
  await rejects("ENOSPC", () => writeBytes(store, object, 0, bytes), [object, "OST 3", "no space"]);
  files.spaceBytes = Infinity;
  await writeBytes(store, object, 0, bytes);
  assert.deepEqual(await readBytes(store, object, 0, bytes.length), bytes);
});

testStore("brings changes into the files after a while", async ({ store, objects, clock }) => {
  await writeBytes(store, object, 0, pattern(1, 50));
  await clock.pass(limits.checkpointIntervalMs);
  const path = `${objects}/000/0000000000000007_00000000`;
  // The checkpoint has begun; its disk is a real one.
  while (!attributeOf(path)) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.deepEqual(await Deno.readFile(path), pattern(1, 50));
});

testStore("leaves files alone that are none of its own", async (opened) => {
  await writeBytes(opened.store, object, 0, pattern(1, 50));
  await opened.store.close();
  const foreign = [
    "objects/note.txt",
    "objects/000/note.txt",
    "objects/000/0000000000000007_00000000.bak",
    "objects/000/ffffffffffffffff_00000000",
    "objects/000/0000000000000007_0000000G",
  ];
  for (const path of foreign) await Deno.writeTextFile(`${opened.directory}/${path}`, "kept");
  opened.store = await opened.open();
  assert.equal(opened.store.usage().objects, 1);
  assert.equal(await opened.store.destroy([7]), 1);
  for (const path of foreign) {
    assert.equal(await Deno.readTextFile(`${opened.directory}/${path}`), "kept");
  }
});

testStore("has a write verifier of the system's start, else of its own", async (opened) => {
  assert.equal(opened.store.writeVerifier, opened.files.bootIdNow);
  opened.files.bootIdNow = undefined;
  const unknown = [
    (await opened.reopen()).writeVerifier,
    (await opened.reopen()).writeVerifier,
  ];
  assert.equal(new Set(unknown).size, 2);
  for (const each of unknown) assert.match(each, /^[0-9a-f]{32}$/);
});

Deno.test("localFiles.bootId() is the same each time, and of 32 digits, on Linux", () => {
  const bootId = localFiles.bootId();
  if (Deno.build.os === "linux") assert.match(bootId!, /^[0-9a-f]{32}$/);
  assert.equal(localFiles.bootId(), bootId);
});

testStore("keeps a bounded number of files open", async ({ files, store }) => {
  for (let ino = 1; ino <= 50; ino++) {
    await writeBytes(store, objectId(ino, 0), 0, pattern(ino, large));
    assert.ok(files.opened <= 8, `${files.opened} open files`);
  }
  for (let ino = 1; ino <= 50; ino++) {
    assert.deepEqual(await readBytes(store, objectId(ino, 0), 0, large), pattern(ino, large));
  }
  assert.ok(files.opened <= 8, `${files.opened} open files`);
}, { openObjectsMax: 4 });

testStore("close() ends after what is under way", async (opened) => {
  const { store, files } = opened;
  const gate = Promise.withResolvers<void>();
  files.writeGate = gate.promise;
  // So slow a disk that the next write goes to another thread.
  opened.clock.slowStepMs = limits.slowWriteMs + 1;
  await writeBytes(store, other, 0, pattern(1, large));
  const steps: string[] = [];
  const written = writeBytes(store, object, 0, pattern(1, large)).then(() => steps.push("written"));
  while (files.writesAtGate < 1) await new Promise((resolve) => setTimeout(resolve, 1));
  const closed = store.close().then(() => steps.push("closed"));
  await rejects("SHUTTING_DOWN", () => writeBytes(store, other, 0, pattern(1, 1)), ["OST 3"]);
  gate.resolve();
  await Promise.all([written, closed]);
  assert.deepEqual(steps, ["written", "closed"]);
});

// ── what is synced ─────────────────────────────────────────────────────────────────────────────

testStore("sync() of small writes syncs the journal once for many", async (opened) => {
  const { store } = opened;
  const ids = Array.from({ length: 100 }, (_, index) => objectId(1 + index, 0));
  for (const id of ids) await writeBytes(store, id, 0, pattern(1, 10));
  opened.takeSynced();
  await Promise.all(ids.map((id) => store.sync([id])));
  const synced = opened.takeSynced();
  assert.ok(synced.length > 0 && synced.length <= 4, `${synced.length} syncs`);
  assert.ok(synced.every((path) => journalOf(path) || path === "journal/1-0"), String(synced));
  await store.sync(ids);
  assert.deepEqual(opened.takeSynced(), [], "all of it is on disk");
});

testStore(
  "sync() of a large write syncs the file, its directories and the journal",
  async (opened) => {
    const { store } = opened;
    await writeBytes(store, object, 0, pattern(1, large));
    opened.takeSynced();
    await store.sync([object]);
    const file = "objects/000/0000000000000007_00000000";
    assert.deepEqual(opened.takeSynced().slice(0, 3), [file, "objects/000", "objects"]);
    await store.sync([object]);
    assert.deepEqual(opened.takeSynced(), [], "all of it is on disk");
    await writeBytes(store, object, large, pattern(2, large));
    await store.sync([object]);
    const [first, ...others] = opened.takeSynced();
    assert.equal(first, file);
    assert.ok(others.every(journalOf), "the directory did not change");
  },
);

testStore("destroy() syncs the journal before it deletes", async (opened) => {
  const { store, files, objects } = opened;
  await writeBytes(store, object, 0, pattern(1, large));
  await store.sync([object]);
  files.failure = (operation, path) =>
    operation === "sync" && path.includes("/journal/") ? "EIO" : undefined;
  await rejects("EIO", () => store.destroy([7]), ["OST 3"]);
  assert.ok(await Deno.stat(`${objects}/000/0000000000000007_00000000`));
});

// ── shards ─────────────────────────────────────────────────────────────────────────────────────

testStore("keeps everything over other numbers of shards", async (opened) => {
  const ids = Array.from({ length: 20 }, (_, index) => objectId(1 + index, 0));
  for (const [round, count] of [1, 3, 2, 1].entries()) {
    // All journals are emptied before another number opens them.
    await opened.reopen();
    await opened.store.close();
    const shards = await Promise.all(
      Array.from({ length: count }, (_, index) => opened.open({ shard: { index, count } })),
    );
    for (const [index, id] of ids.entries()) {
      const shard = shards[(index + 1) % count]!;
      if (round > 0) assert.deepEqual(await readBytes(shard, id, 0, 50), pattern(index, 50));
      await writeBytes(shard, id, 0, pattern(index, 50));
    }
    const objects = shards.reduce((sum, shard) => sum + shard.usage().objects, 0);
    assert.equal(objects, ids.length);
    for (const shard of shards) await shard.close();
    opened.store = await opened.open();
  }
  for (const [index, id] of ids.entries()) {
    assert.deepEqual(await readBytes(opened.store, id, 0, 50), pattern(index, 50));
  }
});
