import assert from "node:assert/strict";
import fc from "fast-check";
import {
  checksumHeaderBytes,
  decodeChecksumFile,
  encodeChecksumFile,
  peekChecksumFile,
} from "../../../oss/checksum_file.ts";
import { objectId } from "../../../shared/layout.ts";
import { checkProperty } from "../../support/seed.ts";

const object = objectId(0x1_0000_0002, 3);
const golden = {
  sums: {
    lengthBytes: 8193,
    appliedLsn: 0x01_0203_0405,
    checksums: Uint32Array.of(0x0102_0304, 0, 0xa0b0_c0d0),
  },
  // Whoever changes a byte changes the format on disk: that needs a new format number.
  hex: "5253554d 01000000 f627d786 00100000 0200000001000000 03000000 03000000" +
    "0120000000000000 0504030201000000 04030201 00000000 d0c0b0a0",
};
const goldenBytes = Uint8Array.fromHex(golden.hex.replaceAll(" ", ""));

Deno.test("a checksum file has these bytes", () => {
  const hex = Buffer.from(encodeChecksumFile(object, golden.sums)).toString("hex");
  assert.equal(hex, golden.hex.replaceAll(" ", ""));
  assert.deepEqual(decodeChecksumFile(object, goldenBytes), golden.sums);
});

Deno.test("decodeChecksumFile() gives what was encoded", async () => {
  const sums = fc.record({
    lengthBytes: fc.maxSafeNat(),
    appliedLsn: fc.maxSafeNat(),
    checksums: fc.array(fc.nat(0xffff_ffff), { maxLength: 2_000 }).map((each) =>
      Uint32Array.from(each)
    ),
  }, { noNullPrototype: true });
  const ids = fc.tuple(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), fc.nat(0xffff_ffff));
  await checkProperty(
    fc.property(ids, sums, ([ino, seq], each) => {
      const id = objectId(ino, seq);
      assert.deepEqual(decodeChecksumFile(id, encodeChecksumFile(id, each)), each);
    }),
    { runs: 200 },
  );
});

Deno.test("decodeChecksumFile() refuses the file of another object", () => {
  for (const other of [objectId(0x1_0000_0002, 2), objectId(2, 3), objectId(0x1_0000_0003, 3)]) {
    assert.equal(decodeChecksumFile(other, goldenBytes), undefined);
  }
});

Deno.test("decodeChecksumFile() refuses a file with any bit flipped", () => {
  for (let bit = 0; bit < 8 * goldenBytes.length; bit++) {
    const bytes = goldenBytes.slice();
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(decodeChecksumFile(object, bytes), undefined, `bit ${bit}`);
  }
});

Deno.test("decodeChecksumFile() refuses a file that is cut short or goes on", () => {
  for (let length = 0; length < goldenBytes.length; length++) {
    assert.equal(decodeChecksumFile(object, goldenBytes.slice(0, length)), undefined);
  }
  for (let more = 1; more <= 8; more++) {
    const longer = Uint8Array.of(...goldenBytes, ...new Uint8Array(more));
    assert.equal(decodeChecksumFile(object, longer), undefined);
  }
});

Deno.test("peekChecksumFile() tells length and LSN from the header, and nothing from another", () => {
  const header = goldenBytes.slice(0, checksumHeaderBytes);
  const { lengthBytes, appliedLsn } = golden.sums;
  assert.deepEqual(peekChecksumFile(header), { lengthBytes, appliedLsn });
  const nothing = { lengthBytes: 0, appliedLsn: 0 };
  assert.deepEqual(peekChecksumFile(header.slice(1)), nothing);
  assert.deepEqual(peekChecksumFile(new Uint8Array(checksumHeaderBytes)), nothing);
});
