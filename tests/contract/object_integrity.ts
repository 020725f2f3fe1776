// What every ObjectStore promises about checksums and damage (oss/object_store.ts), one test for each
// promise.

import assert from "node:assert/strict";
import * as fc from "fast-check";
import { prefixOf } from "../../oss/file_names.ts";
import type { ObjectStore } from "../../oss/object_store.ts";
import { blockBytes, checksumOf, checksumsOf } from "../../shared/checksums.ts";
import { objectId, parseObjectId } from "../../shared/layout.ts";
import type { ObjectId } from "../../shared/model.ts";
import { pattern, readBytes, rejects, taken, writeBytes } from "../support/object_bytes.ts";
import { checkProperty } from "../support/seed.ts";
import type { StoreUnderTest } from "./object_store.ts";

type Open = () => Promise<StoreUnderTest>;
type PromiseTest = (text: string, test: (opened: StoreUnderTest) => Promise<void>) => void;

const object = objectId(7, 0);
const blocks = (count: number) => count * blockBytes;

export function objectIntegrityContract(name: string, open: Open): void {
  const promise: PromiseTest = (text, test) =>
    Deno.test(`${name}: ${text}`, async () => {
      await using opened = await open();
      await test(opened);
    });
  testChecksumsOfWrites(promise);
  testChecksumsOfReads(promise, open, name);
  testDamage(promise);
  testMending(promise);
  testVerify(promise);
  testList(promise);
}

// ── on their way ───────────────────────────────────────────────────────────────────────────────

function testChecksumsOfWrites(promise: PromiseTest): void {
  // What takes each way into the store: within a block, several, many, at an edge and across it.
  const writes: [offset: number, length: number][] = [
    [0, 10],
    [100, 5_000],
    [0, blocks(3)],
    [blocks(2), 300_000],
    [blocks(1) - 1, 2],
  ];
  for (const [offsetBytes, lengthBytes] of writes) {
    const what = `${lengthBytes} bytes at ${offsetBytes}`;

    promise(`write() with a wrong checksum changes nothing, ${what}`, async ({ store }) => {
      const bytes = pattern(2, lengthBytes);
      const right = checksumsOf(offsetBytes, bytes);
      const wrong = () =>
        [0, right.length - 1].map((part) => right.with(part, right[part]! ^ 0x8000_0000));
      for (const checksums of wrong()) {
        const write = () => store.write(object, offsetBytes, bytes, checksums);
        await rejects("CHECKSUM_MISMATCH", write, [object]);
        assert.equal(await store.stat(object), undefined);
      }
      const before = pattern(1, 100_000);
      await writeBytes(store, object, 0, before);
      for (const checksums of wrong()) {
        const write = () => store.write(object, offsetBytes, bytes, checksums);
        await rejects("CHECKSUM_MISMATCH", write, [object]);
      }
      assert.deepEqual(await readBytes(store, object, 0, before.length), before);
      assert.equal(await store.stat(object), before.length);
    });

    promise(`write() of changed bytes changes nothing, ${what}`, async ({ store }) => {
      const bytes = pattern(2, lengthBytes);
      const checksums = checksumsOf(offsetBytes, bytes);
      for (const place of [0, lengthBytes - 1]) {
        const changed = bytes.with(place, bytes[place]! ^ 1);
        const write = () => store.write(object, offsetBytes, changed, checksums);
        await rejects("CHECKSUM_MISMATCH", write, [object]);
      }
      assert.equal(await store.stat(object), undefined);
      await store.write(object, offsetBytes, bytes, checksums);
      assert.deepEqual(await readBytes(store, object, offsetBytes, lengthBytes), bytes);
    });
  }
}

function testChecksumsOfReads(promise: PromiseTest, open: Open, name: string): void {
  promise("read() gives the checksums of bytes, zeros and parts", async ({ store }) => {
    await writeBytes(store, object, 100, pattern(1, 10));
    await writeBytes(store, object, blocks(5) + 1, pattern(2, blocks(2)));
    await store.resize(object, blocks(10) + 77, "extend");
    for (const verified of [false, true]) {
      for (const [offset, length] of [[0, blocks(10) + 77], [50, 100], [blocks(2) + 9, 20_000]]) {
        const data = await store.read(object, offset!, length!, { verified });
        const { bytes, checksums } = taken(data);
        assert.deepEqual(checksums, checksumsOf(offset!, bytes));
      }
    }
    const hole = taken(await store.read(object, blocks(2), blocks(2), { verified: false }));
    const ofZeros = checksumOf(new Uint8Array(blockBytes));
    assert.deepEqual(hole.checksums, Uint32Array.of(ofZeros, ofZeros));
  });

  promise("a cut within a block and an extension give right checksums", async ({ store }) => {
    await writeBytes(store, object, 0, pattern(1, 300_000));
    for (const lengthBytes of [200_001, blocks(40), blocks(39) + 1, 4_095, 1, 0]) {
      await store.resize(object, lengthBytes, "cut");
      const expected = new Uint8Array(lengthBytes + 9_000);
      expected.set(pattern(1, 300_000).subarray(0, lengthBytes));
      assert.deepEqual(
        await readBytes(store, object, 0, lengthBytes),
        expected.slice(0, lengthBytes),
      );
      await store.resize(object, lengthBytes + 9_000, "extend");
      assert.deepEqual(await readBytes(store, object, 0, expected.length), expected);
      assert.deepEqual(await store.verify(object, 0, expected.length), []);
    }
  });

  Deno.test(`${name}: any range reads as what was written there, with its checksums`, async () => {
    const range = fc.record({
      offset: fc.oneof(fc.nat(100_000), fc.nat(24).map(blocks)),
      length: fc.oneof(fc.integer({ min: 1, max: 120_000 }), fc.integer({ min: 1, max: 30 })),
    });
    const property = fc.asyncProperty(
      fc.array(range, { minLength: 1, maxLength: 6 }),
      fc.array(range, { minLength: 1, maxLength: 12 }),
      async (writes, reads) => {
        await using opened = await open();
        const model = new Uint8Array(220_001);
        await opened.store.resize(object, model.length, "extend");
        for (const [seed, { offset, length }] of writes.entries()) {
          await writeBytes(opened.store, object, offset, pattern(seed, length));
          model.set(pattern(seed, length), offset);
        }
        for (const { offset, length } of reads) {
          const bytes = await readBytes(opened.store, object, offset, length);
          assert.ok(Buffer.compare(bytes, model.subarray(offset, offset + length)) === 0);
        }
      },
    );
    await checkProperty(property, { runs: 30 });
  });

  promise("a verified read during writes is old or new, never damage", async ({ store }) => {
    const [old, fresh] = [pattern(1, blocks(30)), pattern(2, blocks(30))];
    await writeBytes(store, object, 0, old);
    let writing = true;
    const write = async () => {
      for (let round = 0; round < 30; round++) {
        await writeBytes(store, object, blocks(5), (round % 2 ? old : fresh).subarray(blocks(10)));
      }
    };
    const read = async () => {
      while (writing) {
        const { bytes } = taken(await store.read(object, 0, blocks(30), { verified: true }));
        assert.deepEqual(bytes.subarray(0, blocks(5)), old.subarray(0, blocks(5)));
        assert.deepEqual(await store.verify(object, 0, blocks(30)), []);
      }
    };
    const ended = await Promise.allSettled([write().finally(() => writing = false), read()]);
    for (const each of ended) if (each.status === "rejected") throw each.reason;
  });
}

// ── on disk ────────────────────────────────────────────────────────────────────────────────────

/** Ten blocks and a bit, of which one byte, or all checksums, is damaged. */
async function damagedStore(
  opened: StoreUnderTest,
  damage: number | "checksums",
): Promise<{ store: ObjectStore; bytes: Uint8Array }> {
  const bytes = pattern(1, damagedBytes);
  await writeBytes(opened.store, object, 0, bytes);
  return { store: await opened.damage(object, damage), bytes };
}

const damagedBytes = blocks(10) + 100;
const wholeObject = [{ object, offsetBytes: 0, lengthBytes: damagedBytes }];

const kindsOfDamage = [["a byte", damagedBytes - 1], ["its checksums", "checksums"]] as const;

function testDamage(promise: PromiseTest): void {
  promise("a verified read of a damaged byte is DATA_CORRUPT", async (opened) => {
    const { store, bytes } = await damagedStore(opened, blocks(3) + 5);
    const read = (offset: number, length: number) =>
      store.read(object, offset, length, { verified: true });
    await rejects("DATA_CORRUPT", () => read(0, damagedBytes), [object, `bytes at ${blocks(3)}`]);
    // The block is not to be trusted, not even where its bytes may be right.
    await rejects("DATA_CORRUPT", () => read(blocks(3) + 9, 1), [object]);
    for (const [offset, length] of [[0, blocks(3)], [blocks(4), blocks(6) + 100]]) {
      const data = taken(await read(offset!, length!));
      assert.deepEqual(data.bytes, bytes.slice(offset!, offset! + length!));
    }
  });

  promise("an unverified read of a damaged byte gives it away, or fails", async (opened) => {
    const { store, bytes } = await damagedStore(opened, blocks(3) + 5);
    const data = await store.read(object, blocks(2), blocks(4), { verified: false });
    const { bytes: read, checksums } = taken(data);
    assert.notDeepEqual(read, bytes.slice(blocks(2), blocks(6)));
    assert.deepEqual(checksums, checksumsOf(blocks(2), bytes.slice(blocks(2), blocks(6))));
    const part = () => store.read(object, blocks(3) + 1, 10, { verified: false });
    await rejects("DATA_CORRUPT", part, [object]);
  });

  for (const [what, damage] of kindsOfDamage) {
    promise(`the last block is found damaged, ${what}`, async (opened) => {
      const { store } = await damagedStore(opened, damage);
      const read = () => store.read(object, blocks(10), 100, { verified: true });
      await rejects("DATA_CORRUPT", read, [object]);
    });
  }

  promise("a partial write over a damaged block changes nothing", async (opened) => {
    const { store, bytes } = await damagedStore(opened, blocks(3) + 5);
    const writes: [offset: number, length: number][] = [
      [blocks(3), 10],
      [blocks(3) + 1, blocks(1) - 1],
      [blocks(1), blocks(2) + 1],
      [blocks(4) - 1, 100_000],
    ];
    for (const [offset, length] of writes) {
      const write = () => writeBytes(store, object, offset, pattern(9, length));
      await rejects("DATA_CORRUPT", write, [object]);
    }
    assert.equal(await store.stat(object), damagedBytes);
    assert.deepEqual(await readBytes(store, object, 0, blocks(3)), bytes.slice(0, blocks(3)));
    assert.deepEqual(
      await readBytes(store, object, blocks(4), blocks(6) + 100),
      bytes.slice(blocks(4)),
    );
  });

  promise("a cut within a damaged block leaves it damaged", async (opened) => {
    const { store, bytes } = await damagedStore(opened, blocks(3) + 5);
    await store.resize(object, blocks(3) + 50, "cut");
    const read = () => store.read(object, blocks(3), 50, { verified: true });
    await rejects("DATA_CORRUPT", read, [object]);
    assert.deepEqual(await readBytes(store, object, 0, blocks(3)), bytes.slice(0, blocks(3)));
    await store.resize(object, blocks(3), "cut");
    assert.deepEqual(await store.verify(object, 0, blocks(20)), []);
  });

  promise("damage stays where it is over syncs and restarts", async (opened) => {
    await damagedStore(opened, blocks(3) + 5);
    let store = await opened.reopen();
    await store.sync([object]);
    await writeBytes(store, object, 0, pattern(2, 100));
    store = await opened.reopen();
    const damaged = [{ object, offsetBytes: blocks(3), lengthBytes: blockBytes }];
    assert.deepEqual(await store.verify(object, 0, damagedBytes), damaged);
  });
}

function testMending(promise: PromiseTest): void {
  promise("writing a whole damaged block mends it", async (opened) => {
    const { store, bytes } = await damagedStore(opened, blocks(3) + 5);
    const written = pattern(5, blocks(2) + 10);
    await writeBytes(store, object, blocks(3), written);
    const expected = bytes.slice();
    expected.set(written, blocks(3));
    assert.deepEqual(await readBytes(store, object, 0, damagedBytes), expected);
    assert.deepEqual(await store.verify(object, 0, damagedBytes), []);
    const again = await opened.reopen();
    assert.deepEqual(await readBytes(again, object, 0, damagedBytes), expected);
  });

  promise("writing all that there is of the last block mends it", async (opened) => {
    const { store, bytes } = await damagedStore(opened, damagedBytes - 1);
    const short = () => writeBytes(store, object, blocks(10), bytes.slice(blocks(10), -1));
    await rejects("DATA_CORRUPT", short, [object]);
    await writeBytes(store, object, blocks(10), bytes.slice(blocks(10)));
    assert.deepEqual(await readBytes(store, object, 0, damagedBytes), bytes);
    await store.resize(object, blocks(12), "extend");
    const zeros = new Uint8Array(blocks(2) - 100);
    assert.deepEqual(await readBytes(store, object, damagedBytes, zeros.length), zeros);
  });

  promise("writing all blocks again mends lost checksums", async (opened) => {
    const { store, bytes } = await damagedStore(opened, "checksums");
    assert.deepEqual(await store.verify(object, 0, damagedBytes), wholeObject);
    await writeBytes(store, object, blocks(4), bytes.slice(blocks(4)));
    assert.deepEqual(await store.verify(object, 0, damagedBytes), [
      { object, offsetBytes: 0, lengthBytes: blocks(4) },
    ]);
    await writeBytes(store, object, 0, bytes.slice(0, blocks(4)));
    await store.sync([object]);
    const again = await opened.reopenAfterCrash();
    assert.deepEqual(await again.verify(object, 0, damagedBytes), []);
    assert.deepEqual(await readBytes(again, object, 0, damagedBytes), bytes);
  });

  for (const [what, damage] of kindsOfDamage) {
    promise(`a damaged object can be cut, extended and destroyed, ${what}`, async (opened) => {
      const { store } = await damagedStore(opened, damage);
      await store.resize(object, damagedBytes + 10, "extend");
      await store.resize(object, 10, "cut");
      assert.equal(await store.stat(object), 10);
      assert.equal(store.usage().usedBytes, 10);
      assert.equal(await store.destroy([7]), 1);
      assert.equal(store.usage().objects, 0);
    });
  }
}

function testVerify(promise: PromiseTest): void {
  promise("verify() finds nothing in what is right", async ({ store }) => {
    await writeBytes(store, object, 0, pattern(1, 300_000));
    await writeBytes(store, object, 123, pattern(2, 10_000));
    await writeBytes(store, object, 2_000_000, pattern(3, 5));
    assert.deepEqual(await store.verify(object, 0, 2_000_005), []);
    assert.deepEqual(await store.verify(object, 1_000_000, 10 ** 9), []);
    assert.deepEqual(await store.verify(object, 10 ** 9, 10), []);
  });

  promise("verify() of an object that does not exist is DATA_MISSING", async ({ store }) => {
    await rejects("DATA_MISSING", () => store.verify(object, 0, 10), [object]);
  });

  promise("verify() names damaged blocks within the range, whole", async (opened) => {
    await damagedStore(opened, blocks(3) + 5);
    await opened.damage(object, blocks(4));
    const store = await opened.damage(object, damagedBytes - 1);
    const middle = { object, offsetBytes: blocks(3), lengthBytes: blocks(2) };
    const end = { object, offsetBytes: blocks(10), lengthBytes: 100 };
    assert.deepEqual(await store.verify(object, 0, damagedBytes), [middle, end]);
    assert.deepEqual(await store.verify(object, 0, blocks(3)), []);
    assert.deepEqual(await store.verify(object, blocks(3) + 9, 1), [
      { ...middle, lengthBytes: blockBytes },
    ]);
    assert.deepEqual(await store.verify(object, blocks(9), blocks(100)), [end]);
  });
}

function testList(promise: PromiseTest): void {
  const inodes = [1, 255, 256, 257, 70_000, 2 ** 20 + 3, 2 ** 45];
  const ids = inodes.flatMap((ino) => [0, 2, 0xffff_ffff].map((seq) => objectId(ino, seq)));
  const keyOf = (id: ObjectId) => `${prefixOf(parseObjectId(id).ino)}/${id}`;
  const inOrder = ids.toSorted((a, b) => keyOf(a) < keyOf(b) ? -1 : 1);

  promise("list() gives every object once, in its order, page by page", async (opened) => {
    let { store } = opened;
    assert.deepEqual(await store.list(undefined, 10), []);
    for (const [index, id] of ids.entries()) {
      if (index === 7) store = await opened.reopen();
      await writeBytes(store, id, 0, pattern(1, 10 + index));
    }
    await store.resize(ids[3]!, 5_000, "extend");
    await store.resize(ids[8]!, 0, "cut");
    for (const limit of [1, 4, 100]) {
      const found: { object: ObjectId; lengthBytes: number }[] = [];
      for (;;) {
        const page = await store.list(found.at(-1)?.object, limit);
        assert.ok(page.length <= limit);
        if (page.length === 0) break;
        found.push(...page);
      }
      assert.deepEqual(found.map((each) => each.object), inOrder);
      for (const { object, lengthBytes } of found) {
        assert.equal(lengthBytes, await store.stat(object), object);
      }
    }
  });

  promise("list() gives the objects of one inode alone", async (opened) => {
    for (const id of ids) await writeBytes(opened.store, id, 0, pattern(1, 10));
    const store = await opened.reopen();
    for (const ino of inodes) {
      const list = async (after: ObjectId | undefined, limit: number) =>
        (await store.list(after, limit, ino)).map(({ object }) => object);
      const own = ids.filter((id) => parseObjectId(id).ino === ino);
      assert.deepEqual(await list(undefined, 100), own);
      assert.deepEqual(await list(undefined, 2), own.slice(0, 2));
      assert.deepEqual(await list(objectId(ino, 1), 100), own.slice(1));
    }
    assert.deepEqual(await store.list(undefined, 100, 2), []);
  });

  promise("list() goes on behind an object that is gone", async ({ store }) => {
    for (const id of ids) await writeBytes(store, id, 0, pattern(1, 10));
    const place = inOrder.indexOf(objectId(256, 2));
    await store.destroy([256]);
    const rest = inOrder.slice(place + 1).filter((id) => parseObjectId(id).ino !== 256);
    const listed = await store.list(objectId(256, 2), 100);
    assert.deepEqual(listed.map((each) => each.object), rest);
  });
}
