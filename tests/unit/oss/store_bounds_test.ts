// What the file store keeps bounded, and what it counts, also while its disk is slow, full or broken:
// open files, the journal, checkpoints that are tried again, the usage.

import assert from "node:assert/strict";
import type { FileObjectStore } from "../../../oss/file_store.ts";
import { type Logger, loggerOf } from "../../../shared/logging.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { copyDirectory, flipChecksums } from "../../support/file_attributes.ts";
import { pattern, readBytes, rejects, taken, writeBytes } from "../../support/object_bytes.ts";
import { type Opened, testStore } from "./opened_store.ts";

const object = objectId(7, 0);
const large = limits.directWriteBytesMin;
const ids = Array.from({ length: 50 }, (_, index) => objectId(1 + index, 0));
/** No checkpoint happens by itself. */
const never = {
  ...{ segmentBytes: 1e9, journalBytes: 1e9, changedObjects: 1e9, filledBytes: 1e9, batch: 8 },
};

/** A logger that counts its errors. */
function countingLog(): { log: Logger; errors: () => number } {
  let errors = 0;
  const log: Logger = Object.create(loggerOf("oss"), { error: { value: () => void errors++ } });
  return { log, errors: () => errors };
}

/** At one moment: a listing that another thread makes sees a segment that is about to go again. */
function segmentsOf({ directory }: Opened): string[] {
  return [...Deno.readDirSync(`${directory}/journal/1-0`)].map(({ name }) => name).sort();
}

/** Waits for what other threads do. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 1));
}

// ── open files ─────────────────────────────────────────────────────────────────────────────────

testStore("bounds its open files also while all objects have changes", async (opened) => {
  const { store, files } = opened;
  for (const id of ids) {
    await writeBytes(store, id, 0, pattern(1, 100));
    assert.ok(files.opened <= 8, `${files.opened} open files`);
  }
  for (const id of ids) assert.deepEqual(await readBytes(store, id, 0, 100), pattern(1, 100));
}, { openObjectsMax: 4, checkpointSizes: never });

testStore("reads on a full disk while all open objects have changes", async (opened) => {
  const { store, files } = opened;
  for (const id of ids) await writeBytes(store, id, 0, pattern(1, 100));
  files.spaceBytes = 0;
  for (const id of ids) assert.deepEqual(await readBytes(store, id, 0, 100), pattern(1, 100));
  assert.ok(files.opened <= 10, `${files.opened} open files`);
  const [first] = ids;
  await rejects("ENOSPC", () => writeBytes(store, first!, 0, pattern(2, 100)), [first!, "OST 3"]);
  files.spaceBytes = Infinity;
}, { openObjectsMax: 4, checkpointSizes: never });

testStore("leaves no file open when a start fails half-way", async (opened) => {
  for (const id of ids) await writeBytes(opened.store, id, 0, pattern(1, large));
  for (const id of ids) await writeBytes(opened.store, id, 10, pattern(2, 100));
  const copy = await Deno.makeTempDir();
  copyDirectory(opened.directory, copy);
  const before = opened.files.opened;
  for (const operation of ["write", "rename", "sync"] as const) {
    opened.files.failure = (each, path) =>
      each === operation && path.startsWith(`${copy}/objects/000/`) ? "EIO" : undefined;
    await rejects("EIO", () => opened.open({ directory: copy }), []);
    assert.equal(opened.files.opened, before, operation);
  }
  opened.files.failure = () => undefined;
  const again = await opened.open({ directory: copy });
  for (const id of ids) assert.deepEqual(await readBytes(again, id, 10, 100), pattern(2, 100));
  await again.close();
  await Deno.remove(copy, { recursive: true });
}, { checkpointSizes: never });

// ── the journal ────────────────────────────────────────────────────────────────────────────────

const bounded = { ...never, journalBytes: 200_000 };

testStore("lets changes wait while a slow disk keeps the journal full", async (opened) => {
  const { store, files } = opened;
  const gate = Promise.withResolvers<void>();
  files.syncGate = gate.promise;
  let written = 0;
  const writers = ids.slice(0, 8).map(async (id) => {
    for (let block = 0; block < 20; block++, written++) {
      await writeBytes(store, id, block * 4096, pattern(block, 4096));
    }
  });
  const most = Math.ceil(bounded.journalBytes / 4096) + writers.length;
  await until(() => written > 20);
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.ok(written <= most, `${written} writes did not wait`);
  gate.resolve();
  await Promise.all(writers);
  for (const id of ids.slice(0, 8)) {
    assert.deepEqual(await readBytes(store, id, 4096, 4096), pattern(1, 4096));
  }
}, { checkpointSizes: bounded });

testStore("bounds what a start has to read of large writes", async (opened) => {
  const { store, files } = opened;
  const checkpoints = () => files.synced.filter((path) => path.endsWith(".sum.new")).length;
  const writePart = (part: number) => writeBytes(store, object, part * large, pattern(1, large));
  // A checkpoint begins with a sync of the journal and a new segment: ours is behind that.
  const requireNone = async (firstPart: number) => {
    const segments = segmentsOf(opened);
    for (let part = firstPart; part < firstPart + 3; part++) await writePart(part);
    await store.sync([object]);
    assert.deepEqual(segmentsOf(opened), segments);
  };
  await requireNone(0);
  const { removed } = files;
  await writePart(3);
  // The last thing that a checkpoint does is to remove the old segment.
  await until(() => checkpoints() === 1 && files.removed > removed);
  // The count begins anew.
  await requireNone(4);
  assert.equal(checkpoints(), 1);
}, { checkpointSizes: { ...never, filledBytes: 4 * large } });

testStore("refuses a journal that is gone", async (opened) => {
  await writeBytes(opened.store, object, 0, pattern(1, 100));
  await opened.store.close();
  await Deno.rename(`${opened.directory}/journal`, `${opened.directory}/elsewhere`);
  await rejects("STORE_FORMAT", () => opened.open(), [`${opened.directory}/journal`, "is gone"]);
  await Deno.rename(`${opened.directory}/elsewhere`, `${opened.directory}/journal`);
  opened.store = await opened.open();
  assert.deepEqual(await readBytes(opened.store, object, 0, 100), pattern(1, 100));
});

testStore("leaves alone what is not of a journal", async (opened) => {
  await opened.store.close();
  const foreign = ["journal/note.txt", "journal/1-0/note.txt", "journal/1-0/00000000000000001"];
  for (const path of foreign) await Deno.writeTextFile(`${opened.directory}/${path}`, "kept");
  opened.store = await opened.open();
  await writeBytes(opened.store, object, 0, pattern(1, 100));
  await opened.reopen();
  for (const path of foreign) {
    assert.equal(await Deno.readTextFile(`${opened.directory}/${path}`), "kept");
  }
});

testStore("refuses a journal whose synced part decayed", async (opened) => {
  const { store, directory } = opened;
  for (const id of ids) {
    await writeBytes(store, id, 0, pattern(1, 5_000));
    await store.sync([id]);
  }
  // As a killed process leaves it.
  const copy = await Deno.makeTempDir();
  copyDirectory(directory, copy);
  const [segment] = segmentsOf(opened);
  const path = `${copy}/journal/1-0/${segment}`;
  const bytes = await Deno.readFile(path);
  bytes[20_000]! ^= 1;
  await Deno.writeFile(path, bytes);
  await rejects("STORE_FORMAT", () => opened.open({ directory: copy }), [path, "damaged"]);
  bytes[20_000]! ^= 1;
  await Deno.writeFile(path, bytes);
  const again = await opened.open({ directory: copy });
  for (const id of ids) assert.deepEqual(await readBytes(again, id, 0, 5_000), pattern(1, 5_000));
  await again.close();
  await Deno.remove(copy, { recursive: true });
}, { checkpointSizes: never });

// ── checkpoints that fail ──────────────────────────────────────────────────────────────────────

const counted = countingLog();

testStore("tries a failed checkpoint again after a while, and keeps few files", async (opened) => {
  const { store, files, clock } = opened;
  files.failure = (operation, path) =>
    operation === "attribute" || operation === "write" && path.endsWith(".sum.new")
      ? "EIO"
      : undefined;
  const before = counted.errors();
  for (let round = 0; round < 20; round++) {
    for (const id of ids) await writeBytes(store, id, round * 100, pattern(round, 100));
    await clock.pass(limits.checkpointIntervalMs);
  }
  assert.ok(counted.errors() - before <= 21, `${counted.errors() - before} errors in the log`);
  assert.ok(segmentsOf(opened).length <= 2, `${segmentsOf(opened)}`);
  files.failure = () => undefined;
  // Without any further change.
  await clock.pass(limits.checkpointIntervalMs);
  await until(() => segmentsOf(opened).length === 1);
  for (const id of ids) {
    assert.deepEqual(await readBytes(store, id, 1_900, 100), pattern(19, 100));
  }
}, { checkpointSizes: { ...never, changedObjects: 10 }, log: counted.log });

const countedWithoutSpace = countingLog();

testStore("leaves no segments when there is no space for them", async (opened) => {
  const { store, files, clock } = opened;
  await writeBytes(store, object, 0, pattern(1, 100));
  const before = segmentsOf(opened);
  files.spaceBytes = 0;
  for (let failed = countedWithoutSpace.errors(); failed < 5; failed++) {
    await clock.pass(limits.checkpointIntervalMs);
    await until(() => countedWithoutSpace.errors() > failed);
    assert.deepEqual(segmentsOf(opened), before);
  }
  files.spaceBytes = Infinity;
}, { log: countedWithoutSpace.log });

testStore("fails every change after a checkpoint could not sync the journal", async (opened) => {
  const { store, files, clock } = opened;
  await writeBytes(store, object, 0, pattern(1, 100));
  files.failure = (operation, path) =>
    operation === "sync" && path.includes("/journal/") ? "EIO" : undefined;
  await clock.pass(limits.checkpointIntervalMs);
  const write = () => writeBytes(store, object, 0, pattern(1, 100));
  await until(() => write().then(() => false, () => true));
  files.failure = () => undefined;
  await rejects("EIO", write, ["OST 3", "restart"]);
  await rejects("EIO", () => store.sync([object]), ["OST 3"]);
  assert.deepEqual(await readBytes(store, object, 0, 100), pattern(1, 100));
});

testStore(
  "sync() of a large write without space for its record can be repeated",
  async (opened) => {
    const { store, files } = opened;
    await writeBytes(store, object, 0, pattern(1, large));
    files.spaceBytes = 0;
    await rejects("ENOSPC", () => store.sync([object]), [object, "OST 3", "no space left"]);
    files.spaceBytes = Infinity;
    await store.sync([object]);
  },
);

testStore("destroy() says what the disk has no room for", async (opened) => {
  const { store, files } = opened;
  await writeBytes(store, object, 0, pattern(1, large));
  files.spaceBytes = 0;
  await rejects("ENOSPC", () => store.destroy([7]), ["Cannot destroy objects of OST 3", "record"]);
  assert.equal(await store.stat(object), undefined);
  files.spaceBytes = Infinity;
  assert.equal(await store.destroy([7]), 0);
});

testStore("destroy() finds what a checkpoint left that failed", async (opened) => {
  const { store, files, clock, objects } = opened;
  await store.resize(object, 50_000, "extend");
  files.failure = (operation) => operation === "rename" ? "EIO" : undefined;
  await clock.pass(limits.checkpointIntervalMs);
  await until(() => files.synced.some((path) => path.endsWith(".sum.new")));
  files.failure = () => undefined;
  assert.equal(await store.destroy([7]), 1);
  assert.deepEqual([...Deno.readDirSync(`${objects}/000`)], []);
});

// ── counts ─────────────────────────────────────────────────────────────────────────────────────

const spaceOf = (store: FileObjectStore) => {
  const { usedBytes, objects: count } = store.usage();
  return { usedBytes, count };
};

testStore("usage() counts an object with damaged checksums once, however often", async (opened) => {
  for (const id of ids) await writeBytes(opened.store, id, 0, pattern(1, 5_000));
  await opened.store.close();
  // The magic: nothing of the header is believed.
  flipChecksums(`${opened.objects}/000/0000000000000007_00000000`, 0);
  const store = opened.store = await opened.open();
  const before = spaceOf(store);
  assert.equal(before.count, ids.length);
  for (let round = 0; round < 3; round++) {
    await assert.rejects(() => store.read(object, 0, 100, { verified: true }));
    await assert.rejects(() => writeBytes(store, object, 10, pattern(1, 10)));
    // These close it.
    for (const id of ids) await store.stat(id);
  }
  assert.deepEqual(spaceOf(store), before);
  await store.resize(object, 10, "cut");
  assert.deepEqual(spaceOf(store), { usedBytes: 49 * 5_000 + 10, count: ids.length });
  assert.deepEqual(spaceOf(await opened.reopen()), spaceOf(store));
  assert.equal(await opened.store.destroy([7]), 1);
  assert.deepEqual(spaceOf(opened.store), { usedBytes: 49 * 5_000, count: ids.length - 1 });
}, { openObjectsMax: 4 });

testStore("usage() is exact after a start that repeats the journal", async (opened) => {
  const { store, directory } = opened;
  for (const id of ids) await writeBytes(store, id, 0, pattern(1, 5_000));
  await store.resize(ids[0]!, 9_000, "extend");
  await store.resize(ids[1]!, 10, "cut");
  await writeBytes(store, ids[2]!, 8192, pattern(1, large));
  await store.destroy([5, 6]);
  const expected = {
    usedBytes: 45 * 5_000 + 9_000 + 10 + 8192 + large,
    count: 48,
  };
  assert.deepEqual(spaceOf(store), expected);
  const copy = await Deno.makeTempDir();
  copyDirectory(directory, copy);
  const again = await opened.open({ directory: copy });
  assert.deepEqual(spaceOf(again), expected);
  assert.equal((await again.list(undefined, 100)).length, 48);
  await again.close();
  await Deno.remove(copy, { recursive: true });
}, { checkpointSizes: never });

testStore("read() gives zeros from memory where the object's file is shorter", async (opened) => {
  const { store } = opened;
  const lengthBytes = 2 * large + 100;
  await writeBytes(store, object, 0, pattern(1, lengthBytes));
  // Within the last block: it exists, the file has not all of it.
  await store.resize(object, lengthBytes + 3_000, "extend");
  const again = await opened.reopen();
  const data = await again.read(object, 0, lengthBytes + 3_000, { verified: false });
  const { bytes } = taken(data);
  assert.equal(bytes.length, lengthBytes + 3_000);
  assert.deepEqual(bytes.slice(lengthBytes), new Uint8Array(3_000));
});
