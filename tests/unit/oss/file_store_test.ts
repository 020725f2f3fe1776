// What the file store promises beyond the contract of every ObjectStore: where its files are, what
// it syncs, and what it does on a disk that fails. crash_test.ts has the crashes.

import assert from "node:assert/strict";
import { localFiles } from "../../../oss/files.ts";
import { bufferPool } from "../../../shared/buffer_pool.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { pattern, rejects } from "../../contract/object_store.ts";
import {
  attributeOf,
  copyDirectory,
  flipChecksums,
  setAttributeOf,
} from "../../support/file_attributes.ts";
import { readBytes, writeBytes } from "../../support/object_bytes.ts";
import { Opened, testStore } from "./opened_store.ts";

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
        assert.equal(await exists(`${sumsPath}.sum`), !isSmall);
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

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

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

// ── syncs that fail ────────────────────────────────────────────────────────────────────────────

testStore("a failed sync of an object's file is never taken back", async ({ files, store }) => {
  for (const id of [object, other]) await writeBytes(store, id, 0, pattern(1, large));
  files.failure = (operation, path) =>
    operation === "sync" && path.endsWith("_00000000") ? "EIO" : undefined;
  const syncs = await Promise.allSettled([
    store.sync([object]),
    store.sync([object]),
    store.sync([other]),
  ]);
  assert.deepEqual(syncs.map(({ status }) => status), ["rejected", "rejected", "fulfilled"]);
  // The kernel reports the failure once; from now on its syncs succeed.
  files.failure = () => undefined;
  const parts = [object, "OST 3", "an earlier sync"];
  await rejects("EIO", () => store.sync([object]), parts);
  await rejects("EIO", () => readBytes(store, object, 0, 10), parts);
  await rejects("EIO", () => writeBytes(store, object, 0, pattern(2, 50)), parts);
  await rejects("EIO", () => store.resize(object, 0, "cut"), parts);
  await store.sync([other]);
  assert.equal(await store.destroy([7]), 2);
  assert.deepEqual([store.usage().usedBytes, store.usage().objects], [0, 0]);
});

testStore("a failed sync of the journal fails every later change, not reads", async (opened) => {
  const { store, files } = opened;
  await writeBytes(store, object, 0, pattern(1, 50));
  files.failure = (operation) => operation === "sync" ? "EIO" : undefined;
  await rejects("EIO", () => store.sync([object]), ["journal", "OST 3"]);
  files.failure = () => undefined;
  await rejects("EIO", () => store.sync([object]), ["OST 3"]);
  await rejects("EIO", () => writeBytes(store, other, 0, pattern(1, 50)), ["OST 3", "restart"]);
  await rejects("EIO", () => store.resize(object, 10, "cut"), ["OST 3"]);
  await rejects("EIO", () => store.destroy([7]), ["OST 3"]);
  assert.deepEqual(await readBytes(store, object, 0, 50), pattern(1, 50));
});

for (
  const [operation, code, lengthBytes] of [
    ["write", "EIO", 50_000],
    ["rename", "EIO", 50_000],
    ["create", "ENOSPC", 50_000],
    ["attribute", "EIO", 5_000],
  ] as const
) {
  testStore(
    `a checkpoint that fails to ${operation} checksums loses nothing and is repeated`,
    async (opened) => {
      const { store, files, clock } = opened;
      await writeBytes(store, object, 0, pattern(1, lengthBytes));
      await store.sync([object]);
      const isOf = (path: string) => path.includes(".sum") || operation === "attribute";
      files.failure = (each, path) => each === operation && isOf(path) ? code : undefined;
      await clock.pass(limits.checkpointIntervalMs);
      const found = await readBytes(store, object, 0, lengthBytes);
      assert.deepEqual(found, pattern(1, lengthBytes));
      await writeBytes(store, object, 4_000, pattern(2, 5_000));
      files.failure = () => undefined;
      const again = await opened.reopen();
      assert.deepEqual(await readBytes(again, object, 0, 4_000), pattern(1, 4_000));
      assert.deepEqual(await readBytes(again, object, 4_000, 5_000), pattern(2, 5_000));
      assert.deepEqual(await again.verify(object, 0, 9_000), []);
    },
  );
}

testStore("cuts off what a checkpoint that failed half-way has left in a file", async (opened) => {
  const { store, files, clock } = opened;
  await writeBytes(store, object, 100, pattern(1, 600_000));
  let writes = 0;
  files.failure = (operation, path) => {
    return operation === "write" && path.endsWith("_00000000") && ++writes > 1 ? "EIO" : undefined;
  };
  await clock.pass(limits.checkpointIntervalMs);
  while (writes < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  files.failure = () => undefined;
  await store.resize(object, 5_000, "cut");
  const again = await opened.reopen();
  await again.resize(object, 20_000, "extend");
  assert.deepEqual(await again.verify(object, 0, 20_000), []);
  assert.deepEqual(await readBytes(again, object, 5_000, 15_000), new Uint8Array(15_000));
});

// ── writes that fail ───────────────────────────────────────────────────────────────────────────

for (const size of [1_000, 300_000]) {
  testStore(`write() to a full disk changes nothing, ${size} bytes`, async ({ files, store }) => {
    const before = pattern(1, 2 * size);
    await writeBytes(store, object, 0, before);
    files.spaceBytes = size / 2;
    const parts = [object, "OST 3", "no space left"];
    await rejects("ENOSPC", () => writeBytes(store, object, size, pattern(2, 2 * size)), parts);
    assert.deepEqual(await readBytes(store, object, 0, 2 * size), before);
    assert.equal(await store.stat(object), 2 * size);
    await rejects("ENOSPC", () => writeBytes(store, other, 0, pattern(1, size)), [other]);
    assert.equal(await store.stat(other), undefined);
    assert.deepEqual([store.usage().usedBytes, store.usage().objects], [2 * size, 1]);
    files.spaceBytes = Infinity;
    await writeBytes(store, object, size, pattern(2, 2 * size));
    assert.deepEqual(await readBytes(store, object, size, 2 * size), pattern(2, 2 * size));
  });
}

const failures: [platform: string, code: Parameters<typeof rejects>[0]][] = [
  ["EIO", "EIO"],
  ["EROFS", "EROFS"],
  ["EDQUOT", "ENOSPC"],
  ["EFBIG", "EFBIG"],
  ["EMFILE", "OVERLOADED"],
  ["EWHATEVER", "EIO"],
];
for (const [platform, code] of failures) {
  testStore(`write() is ${code} where the disk says ${platform}`, async ({ files, store }) => {
    files.failure = (operation) => operation === "write" ? platform : undefined;
    for (const size of [10, large]) {
      const write = () => writeBytes(store, object, 0, pattern(1, size));
      await rejects(code, write, [object, "OST 3"]);
    }
    files.failure = (operation) => operation === "create" ? platform : undefined;
    await rejects(code, () => writeBytes(store, other, 0, pattern(1, large)), [other, "OST 3"]);
    files.failure = () => undefined;
    for (const size of [10, large]) {
      await writeBytes(store, object, 0, pattern(1, size));
      await writeBytes(store, other, 0, pattern(1, size));
    }
  });
}

testStore("destroy() that fails half-way can be repeated", async (opened) => {
  for (let seq = 0; seq < 10; seq++) {
    await writeBytes(opened.store, objectId(7, seq), 0, pattern(1, 10));
  }
  const { files } = opened;
  const store = await opened.reopen();
  files.failure = (operation, path) =>
    operation === "remove" && path.endsWith("5") ? "EIO" : undefined;
  await rejects("EIO", () => store.destroy([7]), ["OST 3"]);
  files.failure = () => undefined;
  await store.destroy([7]);
  assert.deepEqual([store.usage().usedBytes, store.usage().objects], [0, 0]);
});

testStore("open() says which directory cannot be read", async (opened) => {
  await Deno.writeTextFile(`${opened.directory}/file`, "");
  await rejects("EIO", () => opened.open({ directory: `${opened.directory}/file` }), [
    `${opened.directory}/file/objects`,
  ]);
});

// ── what decays ────────────────────────────────────────────────────────────────────────────────

const dataPath = (opened: Opened) => `${opened.objects}/000/0000000000000007_00000000`;

async function flip(path: string, offset: number): Promise<void> {
  const bytes = await Deno.readFile(path);
  bytes[offset]! ^= 1;
  await Deno.writeFile(path, bytes);
}

testStore("finds a flipped bit, and a whole block mends it", async (opened) => {
  await writeBytes(opened.store, object, 0, pattern(1, 10_000));
  const store = await opened.reopen();
  await flip(dataPath(opened), 5_000);
  const damaged = [{ object, offsetBytes: 4096, lengthBytes: 4096 }];
  assert.deepEqual(await store.verify(object, 0, 10_000), damaged);
  await rejects("DATA_CORRUPT", () => store.read(object, 0, 10_000, { verified: true }), [object]);
  // A part of the block cannot be read or written without the rest.
  await rejects("DATA_CORRUPT", () => store.read(object, 5_000, 10, { verified: false }), [object]);
  await rejects("DATA_CORRUPT", () => writeBytes(store, object, 5_000, pattern(1, 10)), [object]);
  await writeBytes(store, object, 4096, pattern(1, 10_000).slice(4096, 8192));
  assert.deepEqual(await store.verify(object, 0, 10_000), []);
  assert.deepEqual(await readBytes(await opened.reopen(), object, 0, 10_000), pattern(1, 10_000));
});

for (
  const [lengthBytes, flips] of [
    [10_000, [0, 6, 9, 23, 35]],
    [50_000, [0, 13, 35, 50, 59]],
  ] as const
) {
  testStore(
    `takes an object of ${lengthBytes} bytes whose checksums are damaged for damaged, all of it`,
    async (opened) => {
      await writeBytes(opened.store, object, 0, pattern(1, lengthBytes));
      await opened.store.close();
      for (const offset of flips) {
        flipChecksums(dataPath(opened), offset);
        opened.store = await opened.open();
        const damaged = [{ object, offsetBytes: 0, lengthBytes }];
        assert.deepEqual(await opened.store.verify(object, 0, lengthBytes), damaged);
        await opened.store.close();
        flipChecksums(dataPath(opened), offset);
      }
      const attribute = attributeOf(dataPath(opened));
      if (attribute) setAttributeOf(dataPath(opened), attribute.subarray(0, 30));
      else await Deno.truncate(`${dataPath(opened)}.sum`, 50);
      opened.store = await opened.open();
      const read = () => opened.store.read(object, 0, 100, { verified: true });
      await rejects("DATA_CORRUPT", read, [object]);
      await writeBytes(opened.store, object, 0, pattern(2, lengthBytes));
      const store = await opened.reopen();
      assert.deepEqual(await readBytes(store, object, 0, lengthBytes), pattern(2, lengthBytes));
    },
  );
}

testStore("tells of bytes that were lost behind its back", async (opened) => {
  await writeBytes(opened.store, object, 0, pattern(1, 300_000));
  const store = await opened.reopen();
  await Deno.truncate(dataPath(opened), 1_000);
  const read = (offset: number) => () => store.read(object, offset, 100, { verified: true });
  await rejects("DATA_CORRUPT", read(900), [object]);
  await rejects("DATA_CORRUPT", read(200_000), [object]);
  const [damaged] = await store.verify(object, 0, 300_000);
  assert.deepEqual(damaged, { object, offsetBytes: 0, lengthBytes: 300_000 });
});

testStore("is an object that never was where its checksums are gone", async (opened) => {
  await writeBytes(opened.store, object, 0, pattern(1, 10_000));
  await opened.store.close();
  setAttributeOf(dataPath(opened), undefined);
  opened.store = await opened.open();
  await rejects("DATA_MISSING", () => readBytes(opened.store, object, 0, 10), [object]);
  // What the file holds must not come back behind a shorter new write.
  await writeBytes(opened.store, object, 0, pattern(2, 100));
  await opened.store.resize(object, 4_000, "extend");
  const store = await opened.reopen();
  assert.deepEqual(await readBytes(store, object, 100, 3_900), new Uint8Array(3_900));
});

// ── attributes ─────────────────────────────────────────────────────────────────────────────────

testStore("has a checksum file for each object where there are no attributes", async (opened) => {
  await opened.store.close();
  await Deno.remove(`${opened.directory}/attributes`);
  opened.files.hasAttributes = false;
  opened.store = await opened.open();
  await writeBytes(opened.store, object, 0, pattern(1, 100));
  const store = await opened.reopen();
  assert.ok(await exists(`${dataPath(opened)}.sum`));
  assert.deepEqual(await readBytes(store, object, 0, 100), pattern(1, 100));
  assert.equal(await exists(`${opened.directory}/attributes`), false);
  // A file system that has them is used from the next start on; what has a file keeps to it.
  opened.files.hasAttributes = true;
  await opened.reopen();
  await writeBytes(opened.store, object, 50, pattern(2, 100));
  await writeBytes(opened.store, objectId(8, 0), 0, pattern(3, 100));
  const again = await opened.reopen();
  assert.equal(attributeOf(dataPath(opened)), undefined);
  assert.ok(attributeOf(`${opened.objects}/000/0000000000000008_00000000`));
  assert.deepEqual(await readBytes(again, object, 50, 100), pattern(2, 100));
  assert.deepEqual(await readBytes(again, objectId(8, 0), 0, 100), pattern(3, 100));
});

testStore("refuses a copy without attributes", async (opened) => {
  await writeBytes(opened.store, object, 0, pattern(1, 100));
  await opened.store.close();
  const marker = `${opened.directory}/attributes`;
  const attribute = attributeOf(marker);
  setAttributeOf(marker, undefined);
  await rejects("STORE_FORMAT", () => opened.open(), [marker, "without attributes"]);
  setAttributeOf(marker, attribute);
  opened.store = await opened.open();
  assert.deepEqual(await readBytes(opened.store, object, 0, 100), pattern(1, 100));
});

testStore("moves the checksums of an object that grows into a file", async (opened) => {
  const most = limits.attributeChecksumsMax * 4096;
  await writeBytes(opened.store, object, 0, pattern(1, most));
  await opened.reopen();
  assert.equal(attributeOf(dataPath(opened))?.length, 24 + 4 * limits.attributeChecksumsMax);
  await writeBytes(opened.store, object, most, pattern(2, 1));
  await opened.reopen();
  assert.equal(attributeOf(dataPath(opened)), undefined);
  assert.ok(await exists(`${dataPath(opened)}.sum`));
  await opened.store.resize(object, 10, "cut");
  const store = await opened.reopen();
  assert.equal(attributeOf(dataPath(opened)), undefined);
  assert.deepEqual(await readBytes(store, object, 0, 10), pattern(1, 10));
});

testStore("does not carry out again what a failed checkpoint has published", async (opened) => {
  const { store, files, clock, directory } = opened;
  await writeBytes(store, object, 0, pattern(1, 5_000));
  await store.resize(object, 100, "cut");
  await writeBytes(store, object, 100, pattern(2, 4_900));
  const other = objectId(8, 0);
  await writeBytes(store, other, 0, pattern(3, 100));
  let failures = 0;
  files.failure = (operation, path) =>
    operation === "attribute" && path.endsWith("8_00000000") && ++failures ? "EIO" : undefined;
  await clock.pass(limits.checkpointIntervalMs);
  while (failures === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  // The next one would cut the file, and end before it has written the bytes again.
  let writes = 0;
  files.failure = (operation, path) => {
    if (operation === "write" && path === dataPath(opened) && ++writes === 2) return "EIO";
    // Another thread deletes what the journal no longer needs, perhaps while it is copied.
    return operation === "remove" && path.startsWith(`${directory}/journal/`) ? "EIO" : undefined;
  };
  await clock.pass(limits.checkpointIntervalMs);
  const otherSums = `${opened.objects}/000/0000000000000008_00000000.sum`;
  while (writes < 2 && !(await exists(otherSums))) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const copy = await Deno.makeTempDir();
  copyDirectory(directory, copy);
  files.failure = () => undefined;
  await using again = await opened.open({ directory: copy });
  assert.deepEqual(await again.verify(object, 0, 5_000), []);
  assert.deepEqual(await readBytes(again, object, 100, 4_900), pattern(2, 4_900));
  assert.deepEqual(await readBytes(again, other, 0, 100), pattern(3, 100));
  await Deno.remove(copy, { recursive: true });
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

// ── a disk that is really full ─────────────────────────────────────────────────────────────────

Deno.test("FileObjectStore on a full file system fails with ENOSPC and goes on", async (test) => {
  const directory = await Deno.makeTempDir();
  const mounted = await run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", directory);
  const opened = new Opened(directory, {});
  const { files } = opened;
  // Where mounting is not permitted, the disk that pretends to be full takes its place.
  if (!mounted) files.spaceBytes = 2 ** 21;
  try {
    await test.step(mounted ? "a tmpfs of 2 MiB" : "an injected limit of 2 MiB", async () => {
      await using store = await opened.open();
      await writeBytes(store, object, 0, pattern(1, 500_000));
      const size = 2 * large;
      await rejects("ENOSPC", async () => {
        for (let index = 0; index < 20; index++) {
          await writeBytes(store, other, index * size, pattern(2, size));
        }
      }, [other, "OST 3", "no space left"]);
      await rejects("ENOSPC", async () => {
        for (let index = 0; index < 1_000; index++) {
          await writeBytes(store, objectId(8, 0), index * 4_096, pattern(3, 4_096));
        }
      }, [objectId(8, 0), "no space left"]);
      assert.deepEqual(await readBytes(store, object, 0, 500_000), pattern(1, 500_000));
      await store.sync([object]);
      assert.ok(await store.destroy([7, 8]) >= 2);
      files.spaceBytes = Infinity;
      await writeBytes(store, objectId(9, 0), 0, pattern(4, 500_000));
      assert.deepEqual(await readBytes(store, objectId(9, 0), 0, 500_000), pattern(4, 500_000));
    });
  } finally {
    if (mounted) assert.ok(await run("umount", directory));
    await Deno.remove(directory, { recursive: true });
  }
});

async function run(command: string, ...args: string[]): Promise<boolean> {
  try {
    const options = { args, stdout: "null", stderr: "null" } as const;
    return (await new Deno.Command(command, options).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
