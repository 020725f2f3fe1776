// Writes of a local file on other threads: past the system's cache where they can be, and with the
// disk's own error where it takes nothing.

import assert from "node:assert/strict";
import { localFiles } from "../../../oss/files.ts";
import { bufferPool } from "../../../shared/buffer_pool.ts";
import { pattern } from "../../support/object_bytes.ts";

const pageBytes = 4096;

/** Memory that begins with a page. */
function pages(count: number): Uint8Array {
  const bytes = bufferPool.take(Math.max(count * pageBytes, 16 * pageBytes));
  bytes.set(pattern(1, bytes.length));
  return bytes.subarray(0, count * pageBytes);
}

Deno.test("write() of a local file puts bytes where they belong, past the cache or not", async () => {
  const directory = await Deno.makeTempDir();
  const file = localFiles.create(`${directory}/file`)!;
  try {
    const content = new Uint8Array(40 * pageBytes);
    const writes: [number, Uint8Array][] = [
      [8 * pageBytes, pages(8)],
      [16 * pageBytes, pages(8)],
      [4 * pageBytes, pages(2).subarray(1)],
      [30 * pageBytes + 1, pages(8)],
      // Over bytes that are in the cache only.
      [30 * pageBytes, pages(1)],
    ];
    await Promise.all(
      writes.slice(0, 4).map(async ([offset, bytes]) => {
        assert.equal(await file.write(bytes, offset), bytes.length);
      }),
    );
    const [offset, bytes] = writes[4]!;
    assert.equal(await file.write(bytes, offset), bytes.length);
    for (const [offset, bytes] of writes) content.set(bytes, offset);
    const found = new Uint8Array(content.length);
    const count = file.readSync(found, 0);
    assert.equal(count, 38 * pageBytes + 1);
    assert.equal(Buffer.compare(found, content), 0);
  } finally {
    file.close();
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("write() of a local file fails with the disk's error, past the cache or not", async () => {
  const file = localFiles.open("/dev/full")!;
  try {
    for (const bytes of [pages(8), pages(8).subarray(1), pages(8)]) {
      await assert.rejects(() => file.write(bytes, 0), { code: "ENOSPC" });
    }
  } finally {
    file.close();
  }
});
