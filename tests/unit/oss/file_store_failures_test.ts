// The file store on a disk that fails: syncs, writes, deletions, and one that is full.

import assert from "node:assert/strict";
import { DamagedBlocks } from "../../../oss/damaged_blocks.ts";
import { Scrubber } from "../../../oss/scrub.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { pattern, readBytes, rejects, spaceOf, writeBytes } from "../../support/object_bytes.ts";
import { RecordedLog } from "../../support/fake_mgs.ts";
import { Opened, testStore } from "./opened_store.ts";

const object = objectId(7, 0);
const other = objectId(7, 1);
const large = limits.directWriteBytesMin;

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

// ── files that cannot be read ──────────────────────────────────────────────────────────────────

for (
  const [path, readAgain] of [
    ["7_00000000", false],
    ["7_00000000.sum", false],
    ["7_00000000", true],
  ] as const
) {
  const until = readAgain ? "until it can" : "for ever";
  testStore(`does without an object of which ${path} cannot be read, ${until}`, async (opened) => {
    const { files } = opened;
    // More checksums than an attribute takes.
    for (const id of [object, other]) await writeBytes(opened.store, id, 0, pattern(1, 50_000));
    await opened.store.close();
    files.failure = (operation, of) =>
      operation === "open" && of.endsWith(path) ? "EIO" : undefined;
    const store = opened.store = await opened.open();
    await rejects("EIO", () => readBytes(store, object, 0, 10), [object]);
    await rejects("EIO", () => writeBytes(store, object, 0, pattern(2, 10)), [object]);
    assert.deepEqual(await readBytes(store, other, 0, 50_000), pattern(1, 50_000));
    const listed = (await store.list(undefined, 10)).map(({ object }) => object);
    assert.deepEqual(listed, [object, other]);
    const scrubber = new Scrubber({
      ...{ clock: opened.clock, objects: store, damaged: new DamagedBlocks() },
    });
    const { damaged } = await scrubber.scrub({ bytesMax: 1e9 });
    assert.deepEqual(damaged.map((range) => range.object), [object]);
    assert.deepEqual(spaceOf(store), { usedBytes: 50_000, objects: 2 });
    if (readAgain) {
      files.failure = () => undefined;
      assert.deepEqual(await readBytes(store, object, 0, 50_000), pattern(1, 50_000));
      assert.deepEqual(spaceOf(store), { usedBytes: 100_000, objects: 2 });
    }
    assert.equal(await store.destroy([7]), 2);
    assert.deepEqual(await store.list(undefined, 10), []);
    assert.deepEqual(spaceOf(store), { usedBytes: 0, objects: 0 });
  });
}

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

const refusals = new RecordedLog();

testStore("has one checkpoint fail where many files take no attribute", async (opened) => {
  const { store, files, clock, objects } = opened;
  const ids = Array.from({ length: 20 }, (_, index) => objectId(7, index));
  for (const id of ids) await writeBytes(store, id, 0, pattern(1, 100));
  files.failure = (operation, path) =>
    operation === "attribute" && path.startsWith(objects) ? "ENOSPC" : undefined;
  const last = `${objects}/000/0000000000000007_00000013.sum`;
  for (let tries = 0; tries < 2000 && !files.seems(last); tries++) {
    await clock.pass(limits.checkpointIntervalMs);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const again = await opened.reopen();
  for (const id of ids) assert.deepEqual(await readBytes(again, id, 0, 100), pattern(1, 100));
  const failure = "error A checkpoint failed and will be tried again";
  assert.deepEqual(refusals.lines.filter((line) => line === failure), [failure]);
}, { log: refusals.logger });

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
