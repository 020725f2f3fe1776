// The file store where bytes or checksums are not what was written, and where checksums are kept.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { DamagedBlocks } from "../../../oss/damaged_blocks.ts";
import { localFiles } from "../../../oss/files.ts";
import { Scrubber } from "../../../oss/scrub.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { pattern, readBytes, rejects, writeBytes } from "../../support/object_bytes.ts";
import {
  attributeOf,
  copyDirectory,
  flipChecksums,
  setAttributeOf,
} from "../../support/file_attributes.ts";
import { Opened, testStore } from "./opened_store.ts";

const object = objectId(7, 0);

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
        const { store: objects, clock } = opened;
        const scrubber = new Scrubber({ clock, objects, damaged: new DamagedBlocks() });
        assert.deepEqual((await scrubber.scrub({ bytesMax: 1 })).damaged, damaged);
        assert.deepEqual(await objects.verify(object, 0, lengthBytes), damaged);
        await objects.close();
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
  assert.ok(existsSync(`${dataPath(opened)}.sum`));
  assert.deepEqual(await readBytes(store, object, 0, 100), pattern(1, 100));
  assert.equal(existsSync(`${opened.directory}/attributes`), false);
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

testStore("opens shards at once where there are no attributes", async (opened) => {
  await opened.store.close();
  await Deno.remove(`${opened.directory}/attributes`);
  opened.files.hasAttributes = false;
  await (await opened.open()).close();
  // Another thread is as far as this one, wherever this one is.
  opened.files.failure = (operation, path) => {
    if (operation === "create" && path.endsWith("/attributes.new")) {
      localFiles.create(path)?.close();
    }
    return undefined;
  };
  const shards = await Promise.all(
    [0, 1].map((index) => opened.open({ shard: { index, count: 2 } })),
  );
  for (const [index, shard] of shards.entries()) {
    await writeBytes(shard, objectId(8 + index, 0), 0, pattern(1, 100));
    await shard.close();
  }
  opened.files.failure = () => undefined;
  opened.store = await opened.open();
  assert.deepEqual(await readBytes(opened.store, objectId(9, 0), 0, 100), pattern(1, 100));
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
  assert.ok(existsSync(`${dataPath(opened)}.sum`));
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
  while (writes < 2 && !existsSync(otherSums)) {
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

/** Has a checkpoint begin, and waits until it has come to something. */
async function checkpointUntil({ clock }: Opened, condition: () => boolean): Promise<void> {
  await clock.pass(limits.checkpointIntervalMs);
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

testStore(
  "an attribute that a failed checkpoint has set does not outlive its time",
  async (opened) => {
    const { store, files } = opened;
    const most = limits.attributeChecksumsMax * 4096;
    await writeBytes(store, object, 0, pattern(1, 100));
    await writeBytes(store, objectId(8, 0), 0, pattern(2, 100));
    let failures = 0;
    files.failure = (operation, path) =>
      operation === "attribute" && path.endsWith("8_00000000") && failures++ === 0
        ? "EIO"
        : undefined;
    await checkpointUntil(opened, () => failures > 0);
    assert.ok(attributeOf(dataPath(opened)), "that of the first object was set");
    // More than an attribute takes, which must not count any more.
    await writeBytes(store, object, 100, pattern(3, most));
    await checkpointUntil(opened, () => existsSync(`${dataPath(opened)}.sum`));
    // The journal forgets that write with the next one.
    await writeBytes(store, objectId(9, 0), 0, pattern(4, 100));
    const again = await opened.reopen();
    assert.equal(attributeOf(dataPath(opened)), undefined);
    assert.deepEqual(await readBytes(again, object, 100, most), pattern(3, most));
  },
);

testStore("syncs again that an attribute is gone, when that has failed", async (opened) => {
  const most = limits.attributeChecksumsMax * 4096;
  await writeBytes(opened.store, object, 0, pattern(1, most));
  const store = await opened.reopen();
  // Nothing of it is in the journal, to be synced in its file.
  await writeBytes(store, object, most, pattern(2, limits.directWriteBytesMin));
  await store.sync([object]);
  const { files } = opened;
  let failures = 0;
  files.failure = (operation, path) =>
    operation === "sync" && path === dataPath(opened) && failures++ === 0 ? "EIO" : undefined;
  await checkpointUntil(opened, () => existsSync(`${opened.directory}/sync_failure`));
  assert.equal(attributeOf(dataPath(opened)), undefined);
  opened.takeSynced();
  const segments = () => Array.from(Deno.readDirSync(`${opened.directory}/journal/1-0`)).length;
  // The next checkpoint ends with the deletion of what the failed one has left.
  while (segments() > 1) {
    await opened.clock.pass(limits.checkpointIntervalMs);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.ok(opened.takeSynced().includes("objects/000/0000000000000007_00000000"));
});
