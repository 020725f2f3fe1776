import assert from "node:assert/strict";
import fc from "fast-check";
import {
  decodeChecksumAttribute,
  encodeChecksumAttribute,
} from "../../../oss/checksum_attribute.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { checkProperty } from "../../support/seed.ts";

const object = objectId(0x1_0000_0002, 3);
const golden = {
  sums: {
    lengthBytes: 8193,
    appliedLsn: 0x01_0203_0405,
    checksums: Uint32Array.of(0x0102_0304, 0, 0xa0b0_c0d0),
  },
  // Whoever changes a byte changes the format on disk: that needs a new format number.
  hex: "52534131 1c72a2d4 0120000000000000 0504030201000000 04030201 00000000 d0c0b0a0",
};
const goldenBytes = Uint8Array.fromHex(golden.hex.replaceAll(" ", ""));

Deno.test("a checksum attribute has these bytes", () => {
  const hex = Buffer.from(encodeChecksumAttribute(object, golden.sums)).toString("hex");
  assert.equal(hex, golden.hex.replaceAll(" ", ""));
  assert.deepEqual(decodeChecksumAttribute(object, goldenBytes), golden.sums);
});

Deno.test("the largest checksum attribute fits into an inode of ext4", () => {
  const count = limits.attributeChecksumsMax;
  const sums = { lengthBytes: count * 4096, appliedLsn: 1, checksums: new Uint32Array(count) };
  assert.ok(encodeChecksumAttribute(object, sums).length <= 64);
});

Deno.test("decodeChecksumAttribute() gives what was encoded", async () => {
  const sums = fc.record({
    lengthBytes: fc.nat(limits.attributeChecksumsMax * 4096),
    appliedLsn: fc.maxSafeNat(),
    seed: fc.nat(0xffff_ffff),
  }, { noNullPrototype: true });
  const ids = fc.tuple(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), fc.nat(0xffff_ffff));
  await checkProperty(
    fc.property(ids, sums, ([ino, seq], { lengthBytes, appliedLsn, seed }) => {
      const id = objectId(ino, seq);
      const checksums = new Uint32Array(Math.ceil(lengthBytes / 4096)).map((_, i) => seed ^ i);
      const each = { lengthBytes, appliedLsn, checksums };
      assert.deepEqual(decodeChecksumAttribute(id, encodeChecksumAttribute(id, each)), each);
    }),
    { runs: 200 },
  );
});

Deno.test("decodeChecksumAttribute() refuses the attribute of another object", () => {
  for (const other of [objectId(0x1_0000_0002, 2), objectId(2, 3), objectId(0x1_0000_0003, 3)]) {
    assert.equal(decodeChecksumAttribute(other, goldenBytes), undefined);
  }
});

Deno.test("decodeChecksumAttribute() refuses one with any bit flipped", () => {
  for (let bit = 0; bit < 8 * goldenBytes.length; bit++) {
    const bytes = goldenBytes.slice();
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(decodeChecksumAttribute(object, bytes), undefined, `bit ${bit}`);
  }
});

Deno.test("decodeChecksumAttribute() refuses one that is cut short or goes on", () => {
  for (let length = 0; length < goldenBytes.length; length++) {
    assert.equal(decodeChecksumAttribute(object, goldenBytes.slice(0, length)), undefined);
  }
  for (let more = 1; more <= 8; more++) {
    const longer = Uint8Array.of(...goldenBytes, ...new Uint8Array(more));
    assert.equal(decodeChecksumAttribute(object, longer), undefined);
  }
});
