import assert from "node:assert/strict";
import * as fc from "fast-check";
import { LocalSource } from "../../../../client/transfer/local_source.ts";
import { checksumsOf, encodeChecksums } from "../../../../shared/checksums.ts";
import type { FileRange } from "../../../../shared/environment.ts";
import { limits } from "../../../../shared/limits.ts";
import { checkProperty } from "../../../support/seed.ts";

const sizeBytes = 1_000_000;
const content = Uint8Array.from({ length: sizeBytes }, (_, at) => (at * 13 + (at >> 10)) & 0xff);

async function withFile(test: (path: string) => Promise<void> | void): Promise<void> {
  const path = Deno.makeTempFileSync({ prefix: "rustre_" });
  Deno.writeFileSync(path, content);
  try {
    await test(path);
  } finally {
    Deno.removeSync(path);
  }
}

Deno.test("LocalSource gives a piece with its checksums, from memory and from the file", () =>
  withFile(async (path) => {
    using source = new LocalSource(path, sizeBytes);
    const property = fc.property(
      fc.nat({ max: sizeBytes - 1 }),
      fc.integer({ min: 1, max: 3 * limits.fileCopyBytes }),
      fc.oneof(fc.constant(0), fc.nat({ max: 10_000 }), fc.constant(limits.checksumBlockBytes)),
      (offsetBytes, length, offsetInObjectBytes) => {
        const bytes = content.subarray(offsetBytes, offsetBytes + length);
        const piece = [{ offsetBytes, lengthBytes: bytes.length }];
        const checksums = encodeChecksums(checksumsOf(offsetInObjectBytes, bytes));
        const buffer = new Uint8Array(bytes.length);
        const inMemory = source.throughBuffer(piece, buffer)(offsetInObjectBytes);
        assert.deepEqual(inMemory.payload, [buffer]);
        assert.equal(Buffer.compare(buffer, bytes), 0);
        assert.deepEqual(inMemory.checksums, checksums);
        const inFile = source.fromFile(piece)(offsetInObjectBytes);
        assert.deepEqual(inFile.checksums, checksums);
        const [range] = inFile.payload as [FileRange];
        assert.deepEqual([range.offsetBytes, range.lengthBytes], [offsetBytes, bytes.length]);
        assert.equal(range.file.readSync(buffer, offsetBytes), bytes.length);
        assert.equal(Buffer.compare(buffer, bytes), 0);
      },
    );
    await checkProperty(property, { runs: 200 });
    source.requireEnd();
  }));

Deno.test("LocalSource gives ranges that are apart in the file as one piece", () =>
  withFile((path) => {
    using source = new LocalSource(path, sizeBytes);
    const { checksumBlockBytes: blockBytes } = limits;
    const at = 3 * blockBytes + 100;
    const ranges = [
      { offsetBytes: 500_000, lengthBytes: blockBytes - 100 },
      { offsetBytes: 7, lengthBytes: limits.fileCopyBytes + blockBytes },
      { offsetBytes: sizeBytes - 5_000, lengthBytes: 5_000 },
    ];
    const parts = ranges.map(({ offsetBytes, lengthBytes }) =>
      content.subarray(offsetBytes, offsetBytes + lengthBytes)
    );
    const whole = new Uint8Array(Buffer.concat(parts));
    const checksums = encodeChecksums(checksumsOf(at, whole));
    const buffer = new Uint8Array(whole.length);
    const inMemory = source.throughBuffer(ranges, buffer)(at);
    assert.equal(Buffer.compare(buffer, whole), 0);
    assert.deepEqual(inMemory, { payload: [buffer], checksums });
    const inFile = source.fromFile(ranges)(at);
    assert.deepEqual(inFile.checksums, checksums);
    const sent = inFile.payload as FileRange[];
    const places = sent.map(({ offsetBytes, lengthBytes }) => ({ offsetBytes, lengthBytes }));
    assert.deepEqual(places, ranges);
  }));

Deno.test("LocalSource refuses a file that is shorter or longer than it was", () =>
  withFile((path) => {
    using source = new LocalSource(path, sizeBytes);
    const piece = [{ offsetBytes: sizeBytes - 100, lengthBytes: 100 }];
    Deno.truncateSync(path, sizeBytes - 1);
    const shorter = {
      code: "EBUSY",
      message: `Cannot upload "${path}": its size changed from 1000000 to 999999 bytes while it ` +
        "was read",
    };
    assert.throws(() => source.throughBuffer(piece, new Uint8Array(100))(0), shorter);
    assert.throws(() => source.fromFile(piece)(0), shorter);
    Deno.truncateSync(path, sizeBytes + 5);
    source.fromFile(piece)(0);
    assert.throws(() => source.requireEnd(), { code: "EBUSY", message: /to 1000005 bytes/ });
  }));
