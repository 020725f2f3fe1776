// A disk that fails once: the system tells of what it could not write a single time, and takes it
// for written from then on. Nobody may be told later, by this process or the next, that it is.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { pattern, readBytes, rejects, writeBytes } from "../../support/object_bytes.ts";
import { type Opened, testStore } from "./opened_store.ts";

const object = objectId(7, 0);
const large = limits.directWriteBytesMin;

/** Waits for what other threads do. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

for (const path of ["/000/0000000000000007_00000000", "/journal/1-0/"]) {
  testStore(`notes that a sync of ${path} has failed, for later processes`, async (opened) => {
    const { store, files, clock, directory } = opened;
    await writeBytes(store, object, 0, pattern(1, large));
    files.failure = (operation, of) =>
      operation === "sync" && of.includes(path) ? "EIO" : undefined;
    // Nobody has asked for this sync, so nobody is told.
    await clock.pass(limits.checkpointIntervalMs);
    await until(() => existsSync(`${directory}/sync_failure`) && files.synced.includes(directory));
    files.failure = () => undefined;
    const before = store.writeVerifier;
    await rejects("EIO", () => store.sync([object]), ["OST 3"]);
    const { writeVerifier } = await opened.reopen();
    assert.match(writeVerifier, /^[0-9a-f]{32}$/);
    assert.notEqual(writeVerifier, before);
    assert.equal((await opened.reopen()).writeVerifier, writeVerifier);
    assert.deepEqual(Array.from(Deno.readDirSync(directory), ({ name }) => name).sort(), [
      ...["attributes", "journal", "objects", "sync_failure"],
    ]);
  });
}

testStore("takes a damaged note of a failure for any failure", async (opened) => {
  await Deno.writeTextFile(`${opened.directory}/sync_failure`, "d");
  const first = (await opened.reopen()).writeVerifier;
  assert.notEqual((await opened.reopen()).writeVerifier, first);
});

testStore("goes on where it cannot note a failure", async (opened) => {
  const { store, files } = opened;
  await writeBytes(store, object, 0, pattern(1, large));
  files.failure = (operation, path) =>
    operation === "sync" && path.includes("/objects/") || path.includes("sync_failure")
      ? "EIO"
      : undefined;
  await rejects("EIO", () => store.sync([object]), [object, "OST 3"]);
  files.failure = () => undefined;
  await writeBytes(store, objectId(8, 0), 0, pattern(1, large));
  await store.sync([objectId(8, 0)]);
});

testStore("sync() fails where a checkpoint was told that the file could not be", async (opened) => {
  const { files, clock, objects } = opened;
  // With more checksums than an attribute takes.
  const lengthBytes = 10 * 4096;
  await writeBytes(opened.store, object, 0, pattern(1, lengthBytes));
  await opened.reopen();
  await writeBytes(opened.store, object, 0, pattern(2, 100));
  const gate = Promise.withResolvers<void>();
  let failures = 0;
  files.failure = (operation, path) => {
    if (operation !== "sync") return undefined;
    // Those of the journal come first; the others wait.
    if (path.includes("/journal/")) files.syncGate = gate.promise;
    return path.endsWith("_00000000") && failures++ === 0 ? "EIO" : undefined;
  };
  await clock.pass(limits.checkpointIntervalMs);
  await until(() => existsSync(`${objects}/000/0000000000000007_00000000.sum.new`));
  // Not a part of the checkpoint, but of the file that it is about to sync.
  await writeBytes(opened.store, object, lengthBytes, pattern(3, large));
  gate.resolve();
  await until(() => failures > 0);
  const noted = `${opened.directory}/sync_failure`;
  await until(() => existsSync(noted));
  await rejects("EIO", () => opened.store.sync([object]), [object, "OST 3"]);
});

/** Checkpoints only where changes wait for one, after some 40 writes of a block. */
const rareCheckpoints = {
  checkpointSizes: {
    ...{
      segmentBytes: 1e9,
      journalBytes: 200_000,
      changedObjects: 1e9,
      filledBytes: 1e9,
      batch: 8,
    },
  },
};

/** The disk drops what it could not write, tells of it so often, and works from then on. */
async function failSyncs({ store, files }: Opened, failuresMax: number): Promise<void> {
  let failures = 0;
  files.failure = (operation, path) =>
    operation === "sync" && path.endsWith("7_00000000") && failures++ < failuresMax
      ? "EIO"
      : undefined;
  await rejects("EIO", () => store.sync([object]), [object, "OST 3"]);
}

for (const hasLostBytes of [false, true]) {
  testStore(
    `takes changes of others when a sync of an object has failed, with ${
      hasLostBytes ? "bytes that are lost" : "all bytes there"
    }`,
    async (opened) => {
      const { store, objects } = opened;
      await writeBytes(store, object, 0, pattern(1, large));
      await writeBytes(store, object, large + 50_000, pattern(2, large));
      // The journal alone has these, one in a block of a fill and one in a hole.
      await writeBytes(store, object, 5_000, pattern(3, 100));
      await writeBytes(store, object, large + 10_000, pattern(4, 100));
      await failSyncs(opened, 1);
      const lostAt = 8192;
      if (hasLostBytes) {
        using file = await Deno.open(`${objects}/000/0000000000000007_00000000`, { write: true });
        file.seekSync(lostAt, Deno.SeekMode.Start);
        file.writeSync(new Uint8Array(4096));
      }
      for (let block = 0; block < 200; block++) {
        await writeBytes(store, objectId(8, 0), block * 4096, pattern(block, 4096));
      }
      await store.sync([objectId(8, 0)]);
      // It has failed all the same.
      const reason = [object, "OST 3", "an earlier sync"];
      await rejects("EIO", () => store.sync([object]), reason);
      await rejects("EIO", () => readBytes(store, object, 0, 10), reason);
      await rejects("EIO", () => writeBytes(store, object, 0, pattern(2, 50)), reason);
      const again = await opened.reopen();
      const lost = hasLostBytes ? [{ object, offsetBytes: lostAt, lengthBytes: 4096 }] : [];
      assert.deepEqual(await again.verify(object, 0, 1e9), lost);
      assert.deepEqual(await readBytes(again, object, 0, 5_000), pattern(1, large).slice(0, 5_000));
      assert.deepEqual(await readBytes(again, object, 5_000, 100), pattern(3, 100));
      assert.deepEqual(await readBytes(again, object, large + 10_000, 100), pattern(4, 100));
      assert.deepEqual(await readBytes(again, object, large + 50_000, large), pattern(2, large));
    },
    rareCheckpoints,
  );
}

testStore(
  "takes changes again once an object that can never be synced is destroyed",
  async (opened) => {
    const { store } = opened;
    await writeBytes(store, object, 0, pattern(1, large));
    await failSyncs(opened, Infinity);
    const write = (block: number) =>
      writeBytes(store, objectId(8, 0), block * 4096, pattern(block, 4096));
    let block = 0;
    await assert.rejects(async () => {
      for (; block < 100; block++) await write(block);
    }, { code: "EIO", message: new RegExp(object) });
    assert.ok(block > 20, "the journal has room for so many");
    assert.equal(await store.destroy([7]), 1);
    for (; block < 100; block++) await write(block);
    await store.sync([objectId(8, 0)]);
  },
  rareCheckpoints,
);
