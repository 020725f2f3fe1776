import assert from "node:assert/strict";
import type { ByteSource } from "../../../../client/transfer/byte_streams.ts";
import { downloadStream } from "../../../../client/transfer/download.ts";
import { uploadStream } from "../../../../client/transfer/upload.ts";
import { limits } from "../../../../shared/limits.ts";
import { withCluster } from "../../../support/cluster.ts";

function bytesOf(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 13)) & 0xff);
}

/** Gives `bytes` in portions of at most `most`, then ends, or fails. */
function sourceOf(bytes: Uint8Array, most: number, failure?: Error): ByteSource {
  let given = 0;
  return {
    read(into) {
      const part = bytes.subarray(given, given + Math.min(most, into.length));
      if (part.length === 0) return failure ? Promise.reject(failure) : Promise.resolve(null);
      into.set(part);
      given += part.length;
      return Promise.resolve(part.length);
    },
  };
}

/** Takes at most `most` bytes at once. */
function collector(most = Infinity) {
  const parts: Uint8Array[] = [];
  return {
    write(bytes: Uint8Array) {
      const part = bytes.slice(0, most);
      parts.push(part);
      return Promise.resolve(part.length);
    },
    bytes(): Uint8Array {
      const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
      let offset = 0;
      for (const part of parts) {
        whole.set(part, offset);
        offset += part.length;
      }
      return whole;
    },
  };
}

const { transferBytes } = limits;

Deno.test("a stream of every length around a transfer comes back as it went", () =>
  withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const around = [-1, 0, 1].flatMap((more) => [transferBytes + more, 3 * transferBytes + more]);
    for (const length of [0, 1, ...around]) {
      const bytes = bytesOf(length);
      const path = `/${length}`;
      const source = sourceOf(bytes, 100_003);
      const options = { name: "source", layout: { stripeBytes: 65_536 } };
      const summary = await uploadStream(fileSystem, source, path, options);
      assert.deepEqual([summary.files, summary.bytes], [1, length]);
      const sink = collector(77_777);
      await downloadStream(fileSystem, path, sink, { name: "sink" });
      assert.deepEqual(sink.bytes(), bytes);
    }
  }));

Deno.test("downloadStream() gives the range that is asked for, of sparse files too", () =>
  withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const length = 2 * transferBytes + 5;
    const bytes = new Uint8Array(length + transferBytes);
    bytes.set(bytesOf(length));
    await uploadStream(fileSystem, sourceOf(bytesOf(length), length), "/file", { name: "source" });
    await fileSystem.setAttributes("/file", { sizeBytes: bytes.length });
    const ranges = [[0, 1], [transferBytes - 1, 2], [1, transferBytes], [length - 1, 10], [5, 0]];
    ranges.push([length + 1, Infinity], [bytes.length, 5], [bytes.length + 5, 5], [0, Infinity]);
    for (const [offsetBytes = 0, lengthBytes = 0] of ranges) {
      const sink = collector();
      const options = { name: "sink", offsetBytes, lengthBytes };
      await downloadStream(fileSystem, "/file", sink, options);
      const expected = bytes.subarray(offsetBytes, offsetBytes + lengthBytes);
      assert.deepEqual(sink.bytes(), expected, `${offsetBytes}+${lengthBytes}`);
    }
  }));

Deno.test("uploadStream() leaves nothing when its source fails or it is interrupted", () =>
  withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const bytes = bytesOf(3 * transferBytes);
    const failing = sourceOf(bytes, transferBytes, new Error("disk on fire"));
    const options = { name: "source" };
    await assert.rejects(uploadStream(fileSystem, failing, "/a", options), /disk on fire/);
    const stop = new AbortController();
    const endless: ByteSource = {
      read(into) {
        stop.abort();
        return Promise.resolve(into.length);
      },
    };
    await assert.rejects(
      uploadStream(fileSystem, endless, "/b", { ...options, signal: stop.signal }),
    );
    assert.deepEqual(await Array.fromAsync(fileSystem.readdir("/")), []);
    await cluster.eventually(() => cluster.usage().objects === 0);
  }));

Deno.test("downloadStream() ends with its sink's error, and gives all its slots back", () =>
  withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const bytes = bytesOf(40 * transferBytes);
    await uploadStream(fileSystem, sourceOf(bytes, bytes.length), "/a", { name: "source" });
    const full = { write: () => Promise.reject(new Error("full")) };
    await assert.rejects(downloadStream(fileSystem, "/a", full, { name: "sink" }), /full/);
    const sink = collector();
    const moved: number[] = [];
    await downloadStream(fileSystem, "/a", sink, {
      name: "sink",
      onProgress: ({ movedBytes, expectedBytes }) => {
        assert.equal(expectedBytes, bytes.length);
        moved.push(movedBytes);
      },
    });
    assert.deepEqual(sink.bytes(), bytes);
    assert.equal(moved.at(-1), bytes.length);
  }));
