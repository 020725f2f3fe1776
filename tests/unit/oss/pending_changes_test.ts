// Many small changes of the same blocks: what the journal has of them, laid over each other and over
// the file, is what was written, and costs no more the more there are.

import assert from "node:assert/strict";
import { PendingChanges } from "../../../oss/pending_changes.ts";
import { blockBytes } from "../../../shared/checksums.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { pattern, readBytes, writeBytes } from "../../support/object_bytes.ts";
import { seeded, testSeed } from "../../support/seed.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { type Opened, testStore } from "./opened_store.ts";

const object = objectId(7, 0);
const large = limits.directWriteBytesMin;

/** No checkpoint happens by itself. */
const checkpointSizes = {
  ...{ segmentBytes: 1e9, journalBytes: 1e9, changedObjects: 1e9, filledBytes: 1e9, batch: 8 },
};

testStore(
  "has what was written after many small changes in any order",
  (opened) =>
    seeded(async () => {
      for (let round = 0; round < 10; round++) await changeAndRead(opened, round);
    }),
  { checkpointSizes },
);

async function changeAndRead({ store, clock }: Opened, round: number): Promise<void> {
  const random = new SeededRandom(testSeed + round);
  const object = objectId(1 + round, 0);
  let expected = new Uint8Array(0);
  const resized = (lengthBytes: number) => {
    const other = new Uint8Array(lengthBytes);
    other.set(expected.subarray(0, lengthBytes));
    return other;
  };
  for (let step = 0; step < 150; step++) {
    const kind = random.below(40);
    const offsetBytes = random.below(3) * blockBytes + random.below(500);
    if (kind === 0) {
      await store.resize(object, offsetBytes, "cut");
      if (expected.length > offsetBytes) expected = resized(offsetBytes);
    } else if (kind === 1) {
      await writeBytes(store, object, 0, new Uint8Array(0));
      await store.resize(object, offsetBytes, "extend");
      if (expected.length < offsetBytes) expected = resized(offsetBytes);
    } else if (kind === 2) {
      await clock.pass(limits.checkpointIntervalMs);
    } else {
      const length = [1, 20, 300, 4096, 9_000, large][Math.min(5, random.below(20))]!;
      const bytes = random.bytes(random.below(2) === 0 ? 5 : length);
      await writeBytes(store, object, offsetBytes, bytes);
      if (expected.length < offsetBytes + bytes.length) {
        expected = resized(offsetBytes + bytes.length);
      }
      expected.set(bytes, offsetBytes);
    }
    if (expected.length === 0) continue;
    const found = await readBytes(store, object, 0, expected.length);
    assert.equal(Buffer.compare(found, expected), 0, `other bytes after step ${step}`);
  }
}

testStore("reads few parts of a block, however many were written", async (opened) => {
  const { store, files } = opened;
  const bytes = pattern(1, 2 * blockBytes);
  await writeBytes(store, object, 0, bytes);
  for (let part = 0; part < 500; part++) {
    const offsetBytes = part % blockBytes;
    const changed = Uint8Array.of(part % 251);
    bytes.set(changed, offsetBytes);
    files.reads = 0;
    await writeBytes(store, object, offsetBytes, changed);
    assert.ok(files.reads <= limits.blockPartsMax + 2, `write ${part}: ${files.reads} reads`);
  }
  files.reads = 0;
  assert.deepEqual(await readBytes(store, object, 0, bytes.length), bytes);
  assert.ok(files.reads <= limits.blockPartsMax + 3, `${files.reads} reads`);
  await opened.reopen();
  assert.deepEqual(await readBytes(opened.store, object, 0, bytes.length), bytes);
}, { checkpointSizes });

Deno.test("PendingChanges gives a checkpoint what later changes have left of earlier ones", () => {
  const changes = new PendingChanges();
  const write = (lsn: number, offsetBytes: number, lengthBytes: number) => {
    const bytes = { segment: undefined!, positionBytes: 0, lengthBytes };
    changes.addWrite({ kind: "write", lsn, offsetBytes, bytes });
  };
  write(1, 0, 10);
  write(2, blockBytes - 5, 10);
  write(3, 0, blockBytes);
  write(4, 2 * blockBytes, blockBytes);
  assert.deepEqual(changes.needed().map(({ lsn }) => lsn), [2, 3, 4]);
  changes.addCut({ kind: "cut", lsn: 5, lengthBytes: blockBytes + 100 });
  assert.deepEqual(changes.needed().map(({ lsn }) => lsn), [2, 3, 5]);
  assert.deepEqual([0, 1, 2].map((block) => changes.countAt(block)), [1, 2, 0]);
  assert.equal(changes.hasCut, true);
  changes.dropFirst(4);
  assert.deepEqual(changes.needed().map(({ lsn }) => lsn), [5]);
  changes.dropFirst(1);
  assert.deepEqual([changes.count, changes.hasCut], [0, false]);
});
