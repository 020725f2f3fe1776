// What every ObjectStore promises (oss/object_store.ts), one test for each promise.

import assert from "node:assert/strict";
import type { ObjectStore } from "../../oss/object_store.ts";
import { blockBytes } from "../../shared/checksums.ts";
import { objectId } from "../../shared/layout.ts";
import type { ObjectId } from "../../shared/model.ts";
import { pattern, readBytes, rejects, spaceOf, writeBytes } from "../support/object_bytes.ts";
import { testModel } from "./object_store_history.ts";

/** A store on storage of its own that starts empty. */
export interface StoreUnderTest extends AsyncDisposable {
  readonly store: ObjectStore;
  /** Closes the store and opens another one on the same storage. */
  reopen(): Promise<ObjectStore>;
  /** The same with a crash of the machine in between. */
  reopenAfterCrash(): Promise<ObjectStore>;
  /**
   * The same with damage on the disk in between: one byte of an object that was written is another,
   * or the object's list of checksums is.
   */
  damage(object: ObjectId, what: number | "checksums"): Promise<ObjectStore>;
}

export type Open = () => Promise<StoreUnderTest>;

/** Small enough for the caller's own thread, and large enough for another one. */
const sizes = [100, 5_000, 300_000];
const object = objectId(7, 0);
const other = objectId(7, 1);

export function objectStoreContract(name: string, open: Open): void {
  const promise = (text: string, test: (store: ObjectStore) => Promise<void>) =>
    Deno.test(`${name}: ${text}`, async () => {
      await using opened = await open();
      await test(opened.store);
    });
  testWrites(promise);
  testReads(promise);
  testResizes(promise);
  testSync(promise);
  testDestroy(promise);
  testUsage(promise);
  testLifetime(name, open);
  testModel(name, open);
}

type PromiseTest = (text: string, test: (store: ObjectStore) => Promise<void>) => void;

function testWrites(promise: PromiseTest): void {
  for (const size of sizes) {
    promise(`read() gives what write() put, ${size} bytes`, async (store) => {
      const bytes = pattern(1, size);
      await writeBytes(store, object, 0, bytes);
      assert.deepEqual(await readBytes(store, object, 0, size), bytes);
      assert.equal(await store.stat(object), size);
    });

    promise(`write() over a part keeps what is around it, ${size} bytes`, async (store) => {
      const before = pattern(1, 3 * size);
      const after = pattern(2, size);
      await writeBytes(store, object, 0, before);
      await writeBytes(store, object, size, after);
      const expected = before.slice();
      expected.set(after, size);
      assert.deepEqual(await readBytes(store, object, 0, 3 * size), expected);
    });

    promise(`write() beyond the end leaves a hole of zeros, ${size} bytes`, async (store) => {
      await writeBytes(store, object, 0, pattern(1, 10));
      await writeBytes(store, object, size + 10, pattern(2, size));
      assert.deepEqual(await readBytes(store, object, 10, size), new Uint8Array(size));
      assert.deepEqual(await readBytes(store, object, size + 10, size), pattern(2, size));
    });

    promise(`write() of neighbouring blocks at once keeps each, ${size} bytes`, async (store) => {
      const stepBytes = Math.ceil(size / blockBytes) * blockBytes;
      const pieces = Array.from({ length: 20 }, (_, index) => index);
      await Promise.all(pieces.map((index) => {
        return writeBytes(store, object, index * stepBytes, pattern(index, size));
      }));
      for (const index of pieces) {
        const bytes = await readBytes(store, object, index * stepBytes, size);
        assert.deepEqual(bytes, pattern(index, size));
      }
      assert.equal(store.usage().usedBytes, 19 * stepBytes + size);
    });
  }

  promise("write() of no bytes makes the object and leaves its length", async (store) => {
    await writeBytes(store, object, 1000, new Uint8Array(0));
    assert.equal(await store.stat(object), 0);
    await writeBytes(store, object, 0, pattern(1, 10));
    await writeBytes(store, object, 1000, new Uint8Array(0));
    assert.equal(await store.stat(object), 10);
  });

  promise("write() keeps objects and inodes apart", async (store) => {
    const objects = [object, other, objectId(8, 0), objectId(7 + 2 ** 20, 0), objectId(2 ** 52, 9)];
    for (const [index, each] of objects.entries()) {
      await writeBytes(store, each, 0, pattern(index, 50));
    }
    for (const [index, each] of objects.entries()) {
      assert.deepEqual(await readBytes(store, each, 0, 50), pattern(index, 50));
    }
  });

  promise("write() takes bytes that lie within a larger buffer", async (store) => {
    const buffer = pattern(3, 400_000);
    await writeBytes(store, object, 0, buffer.subarray(11, 300_011));
    assert.deepEqual(await readBytes(store, object, 0, 300_000), buffer.slice(11, 300_011));
  });
}

function testReads(promise: PromiseTest): void {
  for (const size of sizes) {
    promise(`read() of bytes beyond the end is DATA_MISSING, ${size} bytes`, async (store) => {
      await writeBytes(store, object, 0, pattern(1, size));
      await rejects("DATA_MISSING", () => readBytes(store, object, 1, size), [
        object,
        `${size} bytes`,
      ]);
      await rejects("DATA_MISSING", () => readBytes(store, object, size, 1), [object]);
      await rejects("DATA_MISSING", () => readBytes(store, object, size + 10, 1), [object]);
    });
  }

  promise("read() of an object that does not exist is DATA_MISSING", async (store) => {
    await writeBytes(store, other, 0, pattern(1, 10));
    await rejects("DATA_MISSING", () => readBytes(store, object, 0, 10), [
      object,
      "does not exist",
    ]);
    await rejects("DATA_MISSING", () => readBytes(store, object, 0, 0), [object]);
    assert.equal(await store.stat(object), undefined);
  });

  promise("read() of no bytes gives none, up to the end", async (store) => {
    await writeBytes(store, object, 0, pattern(1, 10));
    assert.equal((await readBytes(store, object, 10, 0)).length, 0);
    await rejects("DATA_MISSING", () => readBytes(store, object, 11, 0), [object]);
  });

  promise("read() gives bytes that later writes leave alone", async (store) => {
    await writeBytes(store, object, 0, pattern(1, 5_000));
    const bytes = await readBytes(store, object, 0, 5_000);
    await writeBytes(store, object, 0, pattern(2, 5_000));
    assert.deepEqual(bytes, pattern(1, 5_000));
  });
}

function testResizes(promise: PromiseTest): void {
  promise("resize() to extend adds zeros and never cuts", async (store) => {
    await writeBytes(store, object, 0, pattern(1, 100));
    await store.resize(object, 10_000, "extend");
    assert.deepEqual(await readBytes(store, object, 0, 100), pattern(1, 100));
    assert.deepEqual(await readBytes(store, object, 100, 9_900), new Uint8Array(9_900));
    await store.resize(object, 50, "extend");
    assert.equal(await store.stat(object), 10_000);
  });

  promise("resize() to extend makes a missing object, of length 0 too", async (store) => {
    await store.resize(object, 0, "extend");
    await store.resize(other, 5, "extend");
    assert.equal(await store.stat(object), 0);
    assert.deepEqual(await readBytes(store, other, 0, 5), new Uint8Array(5));
    assert.equal(store.usage().objects, 2);
  });

  promise("resize() to cut shortens and never extends", async (store) => {
    await writeBytes(store, object, 0, pattern(1, 10_000));
    await store.resize(object, 5_001, "cut");
    assert.equal(await store.stat(object), 5_001);
    assert.deepEqual(await readBytes(store, object, 0, 5_001), pattern(1, 10_000).slice(0, 5_001));
    await rejects("DATA_MISSING", () => readBytes(store, object, 5_000, 2), [object]);
    await store.resize(object, 9_000, "cut");
    assert.equal(await store.stat(object), 5_001);
  });

  promise("resize() to cut leaves a missing object missing", async (store) => {
    await store.resize(object, 0, "cut");
    assert.equal(await store.stat(object), undefined);
    assert.equal(store.usage().objects, 0);
  });

  promise("resize() down and up again shows zeros, not the old bytes", async (store) => {
    for (const keep of [0, 1, 4_095, 4_096, 4_097]) {
      await writeBytes(store, object, 0, pattern(1, 20_000));
      await store.sync([object]);
      await store.resize(object, keep, "cut");
      await store.resize(object, 20_000, "extend");
      const expected = new Uint8Array(20_000);
      expected.set(pattern(1, 20_000).subarray(0, keep));
      assert.deepEqual(await readBytes(store, object, 0, 20_000), expected);
    }
  });

  promise("write() beyond the end after a cut shows zeros, not the old bytes", async (store) => {
    await writeBytes(store, object, 0, pattern(1, 10_000));
    await store.resize(object, 10, "cut");
    await writeBytes(store, object, 9_000, pattern(2, 10));
    assert.deepEqual(await readBytes(store, object, 10, 8_990), new Uint8Array(8_990));
  });
}

function testSync(promise: PromiseTest): void {
  promise("sync() of objects that exist succeeds, again and again", async (store) => {
    await writeBytes(store, object, 0, pattern(1, 100));
    await writeBytes(store, other, 0, pattern(2, 300_000));
    await store.sync([object, other, object]);
    await store.sync([object, other]);
    await store.sync([]);
    await Promise.all(Array.from({ length: 20 }, () => store.sync([object, other])));
    assert.deepEqual(await readBytes(store, object, 0, 100), pattern(1, 100));
  });

  promise("sync() of an object that does not exist is DATA_MISSING", async (store) => {
    await writeBytes(store, other, 0, pattern(1, 10));
    await rejects("DATA_MISSING", () => store.sync([other, object]), [object, "does not exist"]);
  });
}

function testDestroy(promise: PromiseTest): void {
  promise("destroy() deletes every object of the inodes and of no other", async (store) => {
    // 7 shares its directory with 8, and 7 + 2^20 with 7.
    const doomed = [7, 300].flatMap((ino) =>
      [0, 1, 5, 0xffff_ffff].map((seq) => objectId(ino, seq))
    );
    const kept = [8, 299, 7 + 2 ** 20].map((ino) => objectId(ino, 0));
    for (const each of [...doomed, ...kept]) await writeBytes(store, each, 0, pattern(1, 100));
    assert.equal(await store.destroy([7, 300, 12_345]), doomed.length);
    for (const each of doomed) {
      await rejects("DATA_MISSING", () => readBytes(store, each, 0, 1), [each]);
      await rejects("DATA_MISSING", () => store.sync([each]), [each]);
    }
    for (const each of kept) {
      assert.deepEqual(await readBytes(store, each, 0, 100), pattern(1, 100));
    }
  });

  promise("destroy() of what is gone or never was says 0", async (store) => {
    assert.equal(await store.destroy([7]), 0);
    await writeBytes(store, object, 0, pattern(1, 100));
    assert.equal(await store.destroy([7, 7]), 1);
    assert.equal(await store.destroy([7]), 0);
    assert.equal(await store.destroy([]), 0);
  });

  promise("destroy() at the same time counts each object once", async (store) => {
    for (let seq = 0; seq < 50; seq++) {
      await writeBytes(store, objectId(7, seq), 0, pattern(seq, 100));
    }
    const counts = await Promise.all([store.destroy([7]), store.destroy([7]), store.destroy([7])]);
    assert.equal(counts[0] + counts[1] + counts[2], 50);
    assert.deepEqual(spaceOf(store), { usedBytes: 0, objects: 0 });
  });

  promise("read() during destroy() gives the bytes or DATA_MISSING", async (store) => {
    await writeBytes(store, object, 0, pattern(1, 300_000));
    const destroyed = store.destroy([7]);
    const reads = await Promise.allSettled(
      Array.from({ length: 10 }, () => readBytes(store, object, 0, 300_000)),
    );
    await destroyed;
    for (const read of reads) {
      if (read.status === "fulfilled") assert.deepEqual(read.value, pattern(1, 300_000));
      else assert.equal(read.reason.code, "DATA_MISSING");
    }
    await rejects("DATA_MISSING", () => readBytes(store, object, 0, 1), [object]);
  });
}

function testUsage(promise: PromiseTest): void {
  promise("usage() adds up lengths and objects through every operation", async (store) => {
    assert.deepEqual(spaceOf(store), { usedBytes: 0, objects: 0 });
    await writeBytes(store, object, 100, pattern(1, 100));
    assert.deepEqual(spaceOf(store), { usedBytes: 200, objects: 1 });
    await writeBytes(store, object, 0, pattern(1, 150));
    await writeBytes(store, other, 0, pattern(1, 200_000));
    assert.deepEqual(spaceOf(store), { usedBytes: 200_200, objects: 2 });
    await store.resize(other, 50, "cut");
    await store.resize(object, 1_000, "extend");
    assert.deepEqual(spaceOf(store), { usedBytes: 1_050, objects: 2 });
    await store.destroy([7]);
    assert.deepEqual(spaceOf(store), { usedBytes: 0, objects: 0 });
  });

  promise("usage() tells the disk's space", (store) => {
    const { capacityBytes, freeBytes } = store.usage();
    assert.ok(freeBytes > 0 && freeBytes <= capacityBytes);
    return Promise.resolve();
  });
}

function testLifetime(name: string, open: Open): void {
  Deno.test(`${name}: a store opened again has the objects and their usage`, async () => {
    await using opened = await open();
    await writeBytes(opened.store, object, 10, pattern(1, 300_000));
    await writeBytes(opened.store, objectId(1_000, 3), 0, pattern(2, 10));
    await opened.store.resize(other, 77, "extend");
    await opened.store.destroy([1_000]);
    const space = spaceOf(opened.store);
    const again = await opened.reopen();
    assert.deepEqual(spaceOf(again), space);
    assert.deepEqual(space, { usedBytes: 300_010 + 77, objects: 2 });
    assert.deepEqual(await readBytes(again, object, 10, 300_000), pattern(1, 300_000));
    await rejects("DATA_MISSING", () => readBytes(again, objectId(1_000, 3), 0, 1), [
      "does not exist",
    ]);
  });

  Deno.test(`${name}: the write verifier stays over a restart, not over a crash`, async () => {
    await using opened = await open();
    await writeBytes(opened.store, object, 0, pattern(1, 10));
    await opened.store.sync([object]);
    const verifiers = [opened.store.writeVerifier];
    assert.match(verifiers[0]!, /^[0-9a-f]{32}$/);
    assert.equal((await opened.reopen()).writeVerifier, verifiers[0]);
    for (let crashes = 1; crashes <= 3; crashes++) {
      const again = await opened.reopenAfterCrash();
      assert(!verifiers.includes(again.writeVerifier));
      verifiers.push(again.writeVerifier);
      assert.deepEqual(await readBytes(again, object, 0, 10), pattern(1, 10));
      assert.equal((await opened.reopen()).writeVerifier, again.writeVerifier);
    }
  });

  Deno.test(`${name}: a closed store refuses everything`, async () => {
    await using opened = await open();
    const { store } = opened;
    await writeBytes(store, object, 0, pattern(1, 10));
    await store.close();
    await store.close();
    await rejects("SHUTTING_DOWN", () => writeBytes(store, object, 0, pattern(1, 10)), ["OST"]);
    await rejects("SHUTTING_DOWN", () => readBytes(store, object, 0, 10), ["OST"]);
    await rejects("SHUTTING_DOWN", () => store.resize(object, 0, "cut"), ["OST"]);
    await rejects("SHUTTING_DOWN", () => store.sync([object]), ["OST"]);
    await rejects("SHUTTING_DOWN", () => store.stat(object), ["OST"]);
    await rejects("SHUTTING_DOWN", () => store.destroy([7]), ["OST"]);
  });

  Deno.test(`${name}: close() lets operations under way finish`, async () => {
    await using opened = await open();
    const { store } = opened;
    // No two touch the same block.
    const stepBytes = 74 * 4096;
    const writes = Array.from(
      { length: 8 },
      (_, index) => writeBytes(store, object, index * stepBytes, pattern(index, 300_000)),
    );
    const outcomes = Promise.allSettled(writes);
    // Lets them begin.
    await Promise.resolve();
    await store.close();
    const again = await opened.reopen();
    for (const [index, outcome] of (await outcomes).entries()) {
      if (outcome.status === "fulfilled") {
        const bytes = await readBytes(again, object, index * stepBytes, 300_000);
        assert.deepEqual(bytes, pattern(index, 300_000));
      } else assert.equal(outcome.reason.code, "SHUTTING_DOWN");
    }
  });
}
