import assert from "node:assert/strict";
import fc from "fast-check";
import {
  checksumHeaderBytes,
  decodeChecksumFile,
  encodeChecksumFile,
  peekChecksumFile,
} from "../../../oss/checksum_file.ts";
import { objectId } from "../../../shared/layout.ts";
import { goldenSums, testChecksumCoding } from "../../contract/checksum_coding.ts";
import { checkProperty } from "../../support/seed.ts";

// Whoever changes a byte changes the format on disk: that needs a new format number.
const goldenHex = "5253554d 01000000 f627d786 00100000 0200000001000000 03000000 03000000" +
  "0120000000000000 0504030201000000 04030201 00000000 d0c0b0a0";
const goldenBytes = Uint8Array.fromHex(goldenHex.replaceAll(" ", ""));

testChecksumCoding({
  name: "a checksum file",
  encode: encodeChecksumFile,
  decode: decodeChecksumFile,
  goldenBytes,
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

Deno.test("peekChecksumFile() tells length and LSN from the header, and nothing from another", () => {
  const header = goldenBytes.slice(0, checksumHeaderBytes);
  const { lengthBytes, appliedLsn } = goldenSums;
  assert.deepEqual(peekChecksumFile(header), { lengthBytes, appliedLsn });
  const nothing = { lengthBytes: 0, appliedLsn: 0 };
  assert.deepEqual(peekChecksumFile(header.slice(1)), nothing);
  assert.deepEqual(peekChecksumFile(new Uint8Array(checksumHeaderBytes)), nothing);
});
