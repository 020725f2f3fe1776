import assert from "node:assert/strict";
import { BufferPool } from "../../shared/buffer_pool.ts";
import { bytesToPage, largePageBytes } from "../../shared/libc.ts";
import { SeededRandom } from "../support/seeded_random.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

Deno.test("BufferPool gives a buffer again to whoever takes about as much", () => {
  const pool = new BufferPool(4 * MiB);
  const first = pool.take(MiB);
  pool.give(first);
  const second = pool.take(MiB - 1);
  assert.equal(second.buffer, first.buffer);
  assert.equal(second.length, MiB - 1);
  assert.notEqual(pool.take(MiB).buffer, first.buffer);
  pool.give(second);
  assert.notEqual(pool.take(MiB / 2).buffer, first.buffer, "half of a large buffer is a waste");
});

Deno.test("BufferPool gives what is asked for, never twice at once, and keeps no more than told", () => {
  const random = new SeededRandom(31);
  const pool = new BufferPool(3 * MiB);
  const taken = new Set<Uint8Array<ArrayBuffer>>();
  for (let step = 0; step < 5_000; step++) {
    if (random.below(2) === 0 && taken.size < 20) {
      const length = random.below(random.below(2) === 0 ? 100 : MiB + 1);
      const bytes = pool.take(length);
      assert.equal(bytes.length, length);
      assert(length === 0 || ![...taken].some(({ buffer }) => buffer === bytes.buffer));
      taken.add(bytes);
    } else {
      const [bytes] = taken;
      if (!bytes) continue;
      taken.delete(bytes);
      pool.give(bytes);
    }
    assert(pool.idleBytes <= 3 * MiB);
  }
});

Deno.test("BufferPool gives buffers that begin with a page, new or used", () => {
  const pool = new BufferPool(4 * MiB);
  for (const length of [16 * KiB, 100_000, MiB, MiB, 2 * MiB, 3 * MiB, 4 * MiB, 3 * MiB]) {
    const bytes = pool.take(length);
    assert.equal(bytes.length, length);
    assert.equal(bytesToPage(bytes), 0);
    if (length >= 2 * MiB) assert.equal(bytesToPage(bytes, largePageBytes), 0);
    pool.give(bytes);
  }
});

Deno.test("BufferPool finds out who gives a buffer back twice, or a part of another one", () => {
  const pool = new BufferPool(4 * MiB);
  const bytes = pool.take(MiB);
  pool.give(bytes);
  assert.throws(() => pool.give(bytes), /twice/);
  assert.throws(() => pool.give(new Uint8Array(100_000)), /not of the pool/);
});
