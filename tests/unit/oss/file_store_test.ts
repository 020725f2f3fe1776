// What the file store promises beyond the contract of every ObjectStore: where its files are, and
// what it does on a disk that fails.

import assert from "node:assert/strict";
import { FileObjectStore } from "../../../oss/file_store.ts";
import { localFiles } from "../../../oss/files.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { pattern, rejects } from "../../contract/object_store.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { FaultyFiles } from "./faulty_files.ts";

const random = new SeededRandom(1);
const object = objectId(7, 0);
const other = objectId(7, 1);

interface Opened {
  readonly directory: string;
  readonly files: FaultyFiles;
  readonly store: FileObjectStore;
}

function testStore(
  name: string,
  test: (opened: Opened) => Promise<void>,
  options: { openObjectsMax?: number } = {},
): void {
  Deno.test(`FileObjectStore ${name}`, async () => {
    const directory = await Deno.makeTempDir();
    const files = new FaultyFiles();
    const store = await FileObjectStore.open({
      directory,
      targetIndex: 3,
      random,
      files,
      ...options,
    });
    try {
      await test({ directory, files, store });
    } finally {
      await store.close();
      assert.equal(files.opened, 0, "a file was left open");
      await Deno.remove(directory, { recursive: true });
    }
  });
}

// ── where the files are ────────────────────────────────────────────────────────────────────────

testStore("keeps each object in a plain file", async ({ directory, store }) => {
  const files: [ino: number, seq: number, path: string][] = [
    [7, 0, "000/0000000000000007_00000000"],
    [255, 1, "000/00000000000000ff_00000001"],
    [256, 0, "001/0000000000000100_00000000"],
    [0xfffff, 0, "fff/00000000000fffff_00000000"],
    [0x100000, 0, "000/0000000000100000_00000000"],
    [Number.MAX_SAFE_INTEGER, 0xffff_ffff, "fff/001fffffffffffff_ffffffff"],
  ];
  for (const [ino, seq, path] of files) {
    await store.write(objectId(ino, seq), 0, pattern(ino % 100, 50));
    const bytes = await Deno.readFile(`${directory}/objects/${path}`);
    assert.deepEqual(bytes, pattern(ino % 100, 50));
  }
});

testStore("leaves files alone that are none of its own", async ({ directory, store }) => {
  await store.write(object, 0, pattern(1, 50));
  await store.close();
  const foreign = [
    "objects/note.txt",
    "objects/000/note.txt",
    "objects/000/0000000000000007_00000000.bak",
    "objects/000/ffffffffffffffff_00000000",
    "objects/000/0000000000000007_0000000G",
  ];
  for (const path of foreign) await Deno.writeTextFile(`${directory}/${path}`, "kept");
  const again = await FileObjectStore.open({ directory, targetIndex: 3, random });
  assert.equal(again.usage().objects, 1);
  assert.equal(await again.destroy([7]), 1);
  for (const path of foreign) {
    assert.equal(await Deno.readTextFile(`${directory}/${path}`), "kept");
  }
  await again.close();
});

Deno.test("FileObjectStore has a write verifier of the system's start, else of its own", async () => {
  const directory = await Deno.makeTempDir();
  const files = new FaultyFiles();
  const options = { directory, targetIndex: 3, random, files };
  const verifier = async () => {
    await using store = await FileObjectStore.open(options);
    return store.writeVerifier;
  };
  assert.equal(await verifier(), files.bootIdNow);
  files.bootIdNow = undefined;
  const unknown = [await verifier(), await verifier()];
  assert.equal(new Set(unknown).size, 2);
  for (const each of unknown) assert.match(each, /^[0-9a-f]{32}$/);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("localFiles.bootId() is the same each time, and of 32 digits, on Linux", () => {
  const bootId = localFiles.bootId();
  if (Deno.build.os === "linux") assert.match(bootId!, /^[0-9a-f]{32}$/);
  assert.equal(localFiles.bootId(), bootId);
});

testStore("tells of bytes that were lost behind its back", async ({ directory, store }) => {
  await store.write(object, 0, pattern(1, 300_000));
  await Deno.truncate(`${directory}/objects/000/0000000000000007_00000000`, 1_000);
  await rejects("DATA_MISSING", () => store.read(object, 0, 300_000), [object, "has 1000 bytes"]);
  await rejects("DATA_MISSING", () => store.read(object, 900, 200), [object, "has 1000 bytes"]);
});

testStore("keeps a bounded number of files open", async ({ files, store }) => {
  for (let ino = 1; ino <= 50; ino++) {
    await store.write(objectId(ino, 0), 0, pattern(ino, 100));
    assert.ok(files.opened <= 4);
  }
  await Promise.all(
    Array.from({ length: 50 }, (_, index) => store.write(objectId(index + 1, 1), 0, pattern(1, 9))),
  );
  for (let ino = 1; ino <= 50; ino++) {
    assert.deepEqual(await store.read(objectId(ino, 0), 0, 100), pattern(ino, 100));
    assert.deepEqual(await store.read(objectId(ino, 1), 0, 9), pattern(1, 9));
  }
  assert.ok(files.opened <= 4);
}, { openObjectsMax: 4 });

testStore("never closes a file in use", async ({ store }) => {
  const ids = Array.from({ length: 12 }, (_, seq) => objectId(7, seq));
  await Promise.all(ids.map((id, seq) => store.write(id, 0, pattern(seq, 300_000))));
  const reads = await Promise.all(ids.map((id) => store.read(id, 0, 300_000)));
  for (const [seq, bytes] of reads.entries()) assert.deepEqual(bytes, pattern(seq, 300_000));
}, { openObjectsMax: 1 });

testStore("opens no file twice while it is in use", async ({ files, store }) => {
  const size = limits.syncIoBytesMax + 1;
  const gate = Promise.withResolvers<void>();
  files.writeGate = gate.promise;
  const first = store.write(object, 0, pattern(1, size));
  // This one would close the first one's file, if that were not in use.
  await store.write(other, 0, pattern(2, 10));
  const second = store.write(object, size, pattern(3, size));
  while (files.writesAtGate < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  gate.resolve();
  await Promise.all([first, second]);
  assert.deepEqual([store.usage().usedBytes, store.usage().objects], [2 * size + 10, 2]);
  assert.equal(await store.stat(object), 2 * size);
}, { openObjectsMax: 1 });

testStore("close() ends after what is under way", async ({ directory, files, store }) => {
  const size = limits.syncIoBytesMax + 1;
  const gate = Promise.withResolvers<void>();
  files.writeGate = gate.promise;
  const steps: string[] = [];
  const written = store.write(object, 0, pattern(1, size)).then(() => steps.push("written"));
  while (files.writesAtGate < 1) await new Promise((resolve) => setTimeout(resolve, 1));
  const closed = store.close().then(() => steps.push("closed"));
  await rejects("SHUTTING_DOWN", () => store.write(other, 0, pattern(1, 1)), ["OST 3"]);
  gate.resolve();
  await Promise.all([written, closed]);
  assert.deepEqual(steps, ["written", "closed"]);
  const path = `${directory}/objects/000/0000000000000007_00000000`;
  assert.deepEqual(await Deno.readFile(path), pattern(1, size));
});

// ── what is synced ─────────────────────────────────────────────────────────────────────────────

testStore("sync() syncs the file, its directory and the one above", async (opened) => {
  const { directory, files, store } = opened;
  await store.write(object, 0, pattern(1, 50));
  files.synced.length = 0;
  await store.sync([object]);
  const root = `${directory}/objects`;
  const path = `${root}/000/0000000000000007_00000000`;
  assert.deepEqual(files.synced, [path, `${root}/000`, root]);
  files.synced.length = 0;
  await store.sync([object]);
  assert.deepEqual(files.synced, [], "all of it is on disk");
  await store.write(object, 0, pattern(2, 50));
  await store.sync([object]);
  assert.deepEqual(files.synced, [path], "the directory did not change");
  files.synced.length = 0;
  await store.write(other, 0, pattern(1, 50));
  await store.sync([other]);
  assert.deepEqual(files.synced, [`${root}/000/0000000000000007_00000001`, `${root}/000`]);
});

testStore("sync() of an object in a new directory syncs the one above", async (opened) => {
  const { directory, files, store } = opened;
  await store.write(object, 0, pattern(1, 50));
  await store.sync([object]);
  files.synced.length = 0;
  await store.write(objectId(256, 0), 0, pattern(1, 50));
  await store.sync([objectId(256, 0)]);
  assert.ok(files.synced.includes(`${directory}/objects`));
});

testStore("destroy() syncs the directory", async ({ directory, files, store }) => {
  await store.write(object, 0, pattern(1, 50));
  await store.sync([object]);
  files.synced.length = 0;
  await store.destroy([7]);
  assert.deepEqual(files.synced, [`${directory}/objects/000`]);
});

testStore("sync() of many new objects shares the sync of their directory", async (opened) => {
  const { directory, files, store } = opened;
  const ids = Array.from({ length: 100 }, (_, index) => objectId(1 + index, 0));
  for (const id of ids) await store.write(id, 0, pattern(1, 10));
  files.synced.length = 0;
  await Promise.all(ids.map((id) => store.sync([id])));
  const ofFiles = files.synced.filter((path) => path.includes("_"));
  const ofDirectory = files.synced.filter((path) => path === `${directory}/objects/000`);
  assert.equal(ofFiles.length, 100);
  assert.ok(ofDirectory.length < 50, `${ofDirectory.length} syncs of one directory`);
});

testStore("sync() trusts nothing that an earlier process left", async (opened) => {
  const { directory, files, store } = opened;
  await store.write(object, 0, pattern(1, 50));
  await store.close();
  const again = await FileObjectStore.open({ directory, targetIndex: 3, random, files });
  files.synced.length = 0;
  await again.sync([object]);
  assert.equal(files.synced.length, 3);
  await again.close();
});

testStore("syncs a file before it closes it for another", async ({ files, store }) => {
  await store.write(object, 0, pattern(1, 50));
  files.synced.length = 0;
  await store.write(other, 0, pattern(1, 50));
  assert.equal(files.synced.length, 1);
  assert.match(files.synced[0]!, /_00000000$/);
}, { openObjectsMax: 1 });

testStore("destroy() syncs again when the sync of an earlier process failed", async (opened) => {
  const { directory, files, store } = opened;
  await store.write(object, 0, pattern(1, 50));
  files.failure = (operation) => operation === "sync" ? "EIO" : undefined;
  await rejects("EIO", () => store.destroy([7]), [`${directory}/objects/000`, "OST 3"]);
  await rejects("EIO", () => store.destroy([7]), ["OST 3"]);
  await store.close();
  files.failure = () => undefined;
  const again = await FileObjectStore.open({ directory, targetIndex: 3, random, files });
  files.synced.length = 0;
  assert.equal(await again.destroy([7]), 0);
  assert.ok(files.synced.includes(`${directory}/objects/000`));
  await again.close();
});

// ── syncs that fail ────────────────────────────────────────────────────────────────────────────

testStore("a failed sync of an object is never taken back", async ({ files, store }) => {
  for (const id of [object, other]) await store.write(id, 0, pattern(1, 50));
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
  await rejects("EIO", () => store.read(object, 0, 10), parts);
  await rejects("EIO", () => store.write(object, 0, pattern(2, 50)), parts);
  await rejects("EIO", () => store.resize(object, 0, "cut"), parts);
  await rejects("EIO", () => store.sync([object]), parts);
  await store.sync([other]);
  assert.equal(await store.destroy([7]), 2);
  assert.deepEqual([store.usage().usedBytes, store.usage().objects], [0, 0]);
  assert.equal(await store.stat(object), undefined);
  await store.write(object, 0, pattern(2, 50));
  await store.sync([object]);
});

testStore("a sync that fails when a file is closed is not forgotten", async ({ files, store }) => {
  await store.write(object, 0, pattern(1, 50));
  files.failure = (operation) => operation === "sync" ? "EIO" : undefined;
  // This closes the first one's file.
  await store.write(other, 0, pattern(1, 50));
  files.failure = () => undefined;
  await rejects("EIO", () => store.sync([object]), [object, "an earlier sync"]);
  await store.sync([other]);
}, { openObjectsMax: 1 });

testStore("a failed sync of a directory fails every later one", async (opened) => {
  const { directory, files, store } = opened;
  await store.write(object, 0, pattern(1, 50));
  files.failure = (operation, path) =>
    operation === "sync" && path.endsWith("/000") ? "EIO" : undefined;
  await rejects("EIO", () => store.sync([object]), [`${directory}/objects/000`, "OST 3"]);
  files.failure = () => undefined;
  await rejects("EIO", () => store.sync([object]), ["OST 3"]);
  await store.write(other, 0, pattern(1, 50));
  await rejects("EIO", () => store.sync([other]), ["OST 3"]);
  await store.write(objectId(256, 0), 0, pattern(1, 50));
  await store.sync([objectId(256, 0)]);
});

// ── writes that fail ───────────────────────────────────────────────────────────────────────────

for (const size of [1_000, 300_000]) {
  testStore(`write() to a full disk keeps what was there, ${size} bytes`, async (opened) => {
    const { files, store } = opened;
    const before = pattern(1, 2 * size);
    await store.write(object, 0, before);
    files.spaceBytes = size / 2;
    const parts = [object, "OST 3", "no space left"];
    await rejects("ENOSPC", () => store.write(object, size, pattern(2, 2 * size)), parts);
    const expected = before.slice();
    expected.set(pattern(2, size / 2), size);
    assert.deepEqual(await store.read(object, 0, 2 * size), expected);
    assert.equal(await store.stat(object), 2 * size);
    await rejects("ENOSPC", () => store.write(other, 0, pattern(1, size)), [other]);
    assert.deepEqual([store.usage().usedBytes, store.usage().objects], [2 * size, 2]);
    files.spaceBytes = Infinity;
    await store.write(object, size, pattern(2, 2 * size));
    assert.deepEqual(await store.read(object, size, 2 * size), pattern(2, 2 * size));
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
    await rejects(code, () => store.write(object, 0, pattern(1, 10)), [object, "OST 3"]);
    files.failure = (operation) => operation === "create" ? platform : undefined;
    await rejects(code, () => store.write(other, 0, pattern(1, 10)), [other, "OST 3"]);
    files.failure = () => undefined;
    await store.write(object, 0, pattern(1, 10));
    await store.write(other, 0, pattern(1, 10));
  });
}

testStore("destroy() that fails half-way can be repeated", async ({ files, store }) => {
  for (let seq = 0; seq < 10; seq++) await store.write(objectId(7, seq), 0, pattern(1, 10));
  files.failure = (operation, path) =>
    operation === "remove" && path.endsWith("5") ? "EIO" : undefined;
  await rejects("EIO", () => store.destroy([7]), ["OST 3"]);
  files.failure = () => undefined;
  await store.destroy([7]);
  assert.deepEqual([store.usage().usedBytes, store.usage().objects], [0, 0]);
});

testStore("open() says which directory cannot be read", async ({ directory }) => {
  await Deno.writeTextFile(`${directory}/file`, "");
  await rejects(
    "EIO",
    () => FileObjectStore.open({ directory: `${directory}/file`, targetIndex: 3, random }),
    [`${directory}/file/objects`],
  );
});

// ── a disk that is really full ─────────────────────────────────────────────────────────────────

Deno.test("FileObjectStore on a full file system fails with ENOSPC and goes on", async (test) => {
  const directory = await Deno.makeTempDir();
  const mounted = await run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", directory);
  const files = new FaultyFiles();
  // Where mounting is not permitted, the disk that pretends to be full takes its place.
  if (!mounted) files.spaceBytes = 2 ** 20;
  try {
    await test.step(mounted ? "a tmpfs of 1 MiB" : "an injected limit of 1 MiB", async () => {
      await using store = await FileObjectStore.open({ directory, targetIndex: 3, random, files });
      await store.write(object, 0, pattern(1, 500_000));
      const size = 2 * limits.syncIoBytesMax;
      await rejects("ENOSPC", async () => {
        for (let index = 0; index < 10; index++) {
          await store.write(other, index * size, pattern(2, size));
        }
      }, [other, "OST 3", "no space left"]);
      await rejects("ENOSPC", async () => {
        for (let index = 0; index < 1_000; index++) {
          await store.write(objectId(8, 0), index * 4_096, pattern(3, 4_096));
        }
      }, [objectId(8, 0), "no space left"]);
      assert.deepEqual(await store.read(object, 0, 500_000), pattern(1, 500_000));
      await store.sync([object]);
      assert.equal(await store.destroy([7, 8]), 3);
      files.spaceBytes = Infinity;
      await store.write(other, 0, pattern(4, 500_000));
      assert.deepEqual(await store.read(other, 0, 500_000), pattern(4, 500_000));
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
