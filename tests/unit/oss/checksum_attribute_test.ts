import assert from "node:assert/strict";
import fc from "fast-check";
import {
  decodeChecksumAttribute,
  encodeChecksumAttribute,
} from "../../../oss/checksum_attribute.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { testChecksumCoding } from "../../contract/checksum_coding.ts";
import { checkProperty } from "../../support/seed.ts";

// Whoever changes a byte changes the format on disk: that needs a new format number.
const goldenHex = "52534131 1c72a2d4 0120000000000000 0504030201000000 04030201 00000000 d0c0b0a0";

testChecksumCoding({
  name: "a checksum attribute",
  encode: encodeChecksumAttribute,
  decode: decodeChecksumAttribute,
  goldenBytes: Uint8Array.fromHex(goldenHex.replaceAll(" ", "")),
});

Deno.test("the largest checksum attribute fits into an inode of ext4", () => {
  const count = limits.attributeChecksumsMax;
  const sums = { lengthBytes: count * 4096, appliedLsn: 1, checksums: new Uint32Array(count) };
  assert.ok(encodeChecksumAttribute(objectId(2, 0), sums).length <= 64);
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
