import assert from "node:assert/strict";
import * as fc from "fast-check";
import {
  blockBytes,
  checksumOf,
  checksumsOf,
  decodeChecksums,
  encodeChecksums,
  firstMismatch,
  joinChecksums,
  noChecksum,
} from "../../shared/checksums.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { checkProperty } from "../support/seed.ts";

/** A range of an object: where it is, and its bytes. */
const ranges = fc.record({
  offsetBytes: fc.oneof(
    fc.nat({ max: 3 }).map((block) => block * blockBytes),
    fc.nat({ max: 3 * blockBytes }),
  ),
  lengthBytes: fc.oneof(
    fc.integer({ min: 1, max: 12 }).map((blocks) => blocks * blockBytes),
    fc.integer({ min: 1, max: 12 * blockBytes }),
  ),
  seed: fc.nat(),
});

Deno.test("firstMismatch() finds the first part that is not as its checksum says", async () => {
  const changes = fc.array(fc.record({ at: fc.nat(), xor: fc.integer({ min: 1, max: 255 }) }));
  const property = fc.property(
    ranges,
    changes,
    ({ offsetBytes, lengthBytes, seed }, changes) => {
      const bytes = new SeededRandom(seed).bytes(lengthBytes);
      const checksums = checksumsOf(offsetBytes, bytes);
      assert.equal(firstMismatch(offsetBytes, bytes, checksums), undefined);
      for (const { at, xor } of changes) bytes[at % lengthBytes]! ^= xor;
      const now = checksumsOf(offsetBytes, bytes);
      const expected = checksums.findIndex((checksum, part) => checksum !== now[part]);
      const found = firstMismatch(offsetBytes, bytes, checksums);
      assert.equal(found, expected < 0 ? undefined : expected);
    },
  );
  await checkProperty(property, { runs: 300 });
});

Deno.test("firstMismatch() finds a checksum that is not its part's, whatever it is", async () => {
  const values = fc.oneof(fc.constantFrom(noChecksum, 1, 0xffff_ffff), fc.nat());
  const property = fc.property(
    ranges,
    fc.nat(),
    values,
    ({ offsetBytes, lengthBytes, seed }, at, value) => {
      const bytes = new SeededRandom(seed).bytes(lengthBytes);
      const checksums = checksumsOf(offsetBytes, bytes);
      const part = at % checksums.length;
      if (checksums[part] === value) return;
      checksums[part] = value;
      assert.equal(firstMismatch(offsetBytes, bytes, checksums), part);
    },
  );
  await checkProperty(property, { runs: 300 });
});

Deno.test("firstMismatch() finds blocks that have changed places", () => {
  const bytes = new SeededRandom(7).bytes(8 * blockBytes);
  const checksums = checksumsOf(0, bytes);
  const third = bytes.slice(2 * blockBytes, 3 * blockBytes);
  bytes.copyWithin(2 * blockBytes, 5 * blockBytes, 6 * blockBytes);
  bytes.set(third, 5 * blockBytes);
  assert.equal(firstMismatch(0, bytes, checksums), 2);
});

/** A block whose CRC is 0, which its checksum cannot be: its last 4 bytes are chosen for that. */
function blockWithoutCrc(): Uint8Array {
  const block = new SeededRandom(11).bytes(blockBytes);
  const end = block.subarray(blockBytes - 4);
  end.fill(0);
  const crc = crcOf(block);
  // Which bits of the CRC each bit of the end changes.
  const rows = Array.from({ length: 32 }, (_, input) => {
    end[input >> 3] = 1 << (input & 7);
    const row = { crc: crcOf(block) ^ crc, inputs: 2 ** input };
    end.fill(0);
    return row;
  });
  new DataView(end.buffer, end.byteOffset).setUint32(0, solve(rows, crc), true);
  return block;
}

/** 1 stands for 0 too, but no block of this test has a CRC of 1. */
function crcOf(block: Uint8Array): number {
  const checksum = checksumOf(block);
  return checksum === 1 ? 0 : checksum;
}

/** Inputs whose effects together are `wanted`, by Gauss's elimination. */
function solve(rows: { crc: number; inputs: number }[], wanted: number): number {
  let inputs = 0;
  let rest = wanted;
  const left = [...rows];
  for (let bit = 0; bit < 32; bit++) {
    const mask = (1 << bit) >>> 0;
    const index = left.findIndex(({ crc }) => (crc & mask) !== 0);
    const [pivot] = left.splice(index, 1);
    for (const row of left) {
      if ((row.crc & mask) === 0) continue;
      row.crc ^= pivot!.crc;
      row.inputs = (row.inputs ^ pivot!.inputs) >>> 0;
    }
    if ((rest & mask) === 0) continue;
    rest ^= pivot!.crc;
    inputs = (inputs ^ pivot!.inputs) >>> 0;
  }
  return inputs;
}

Deno.test("firstMismatch() knows a block whose CRC is 0 by the checksum that stands for it", () => {
  const odd = blockWithoutCrc();
  assert.equal(checksumOf(odd), 1);
  const bytes = new SeededRandom(13).bytes(8 * blockBytes);
  bytes.set(odd, 3 * blockBytes);
  const checksums = checksumsOf(0, bytes);
  assert.equal(firstMismatch(0, bytes, checksums), undefined);
  checksums[3] = noChecksum;
  assert.equal(firstMismatch(0, bytes, checksums), 3);
});

Deno.test("joinChecksums() of ranges that follow each other are those of the whole", async () => {
  const property = fc.property(
    fc.nat({ max: 3 * blockBytes }),
    fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 4 }),
    fc.integer({ min: 1, max: 2 * blockBytes }),
    fc.nat(),
    (offsetBytes, wholeBlocks, lastBytes, seed) => {
      const untilBlock = blockBytes - offsetBytes % blockBytes;
      const lengths = [untilBlock, ...wholeBlocks.map((count) => count * blockBytes), lastBytes];
      const all = new SeededRandom(seed).bytes(lengths.reduce((sum, each) => sum + each));
      let start = 0;
      const parts = lengths.map((length) => {
        const part = encodeChecksums(
          checksumsOf(offsetBytes + start, all.subarray(start, start + length)),
        );
        start += length;
        return part;
      });
      const expected = checksumsOf(offsetBytes, all);
      assert.deepEqual(decodeChecksums(joinChecksums(parts), expected.length), expected);
    },
  );
  await checkProperty(property, { runs: 200 });
});
