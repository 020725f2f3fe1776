// What both codings of an object's checksums must do, the attribute's and the file's: the same bytes
// for ever, and nothing decoded from bytes that are another's or damaged.

import assert from "node:assert/strict";
import type { ChecksumFile } from "../../oss/checksum_file.ts";
import { objectId } from "../../shared/layout.ts";
import type { ObjectId } from "../../shared/model.ts";

const object = objectId(0x1_0000_0002, 3);
export const goldenSums: ChecksumFile = {
  lengthBytes: 8193,
  appliedLsn: 0x01_0203_0405,
  checksums: Uint32Array.of(0x0102_0304, 0, 0xa0b0_c0d0),
};

export interface ChecksumCoding {
  readonly name: string;
  readonly encode: (object: ObjectId, sums: ChecksumFile) => Uint8Array;
  readonly decode: (object: ObjectId, bytes: Uint8Array) => ChecksumFile | undefined;
  /** What {@link goldenSums} are. */
  readonly goldenBytes: Uint8Array;
}

export function testChecksumCoding({ name, encode, decode, goldenBytes }: ChecksumCoding): void {
  Deno.test(`${name} has these bytes`, () => {
    assert.equal(Buffer.from(encode(object, goldenSums)).toString("hex"), goldenBytes.toHex());
    assert.deepEqual(decode(object, goldenBytes), goldenSums);
  });

  Deno.test(`${name} of another object is refused`, () => {
    for (const other of [objectId(0x1_0000_0002, 2), objectId(2, 3), objectId(0x1_0000_0003, 3)]) {
      assert.equal(decode(other, goldenBytes), undefined);
    }
  });

  Deno.test(`${name} with any bit flipped is refused`, () => {
    for (let bit = 0; bit < 8 * goldenBytes.length; bit++) {
      const bytes = goldenBytes.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(decode(object, bytes), undefined, `bit ${bit}`);
    }
  });

  Deno.test(`${name} that is cut short or goes on is refused`, () => {
    for (let length = 0; length < goldenBytes.length; length++) {
      assert.equal(decode(object, goldenBytes.slice(0, length)), undefined);
    }
    for (let more = 1; more <= 8; more++) {
      const longer = Uint8Array.of(...goldenBytes, ...new Uint8Array(more));
      assert.equal(decode(object, longer), undefined);
    }
  });
}
