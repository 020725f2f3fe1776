// Bytes in and out of an object store as a client does it: with checksums, which are checked.

import type { ErrorCode } from "../../shared/errors.ts";
import assert from "node:assert/strict";
import type { ObjectData, ObjectStore } from "../../oss/object_store.ts";
import { checksumsOf } from "../../shared/checksums.ts";
import type { Payload } from "../../shared/environment.ts";
import { readRange } from "../../shared/file_ranges.ts";
import type { ObjectId } from "../../shared/model.ts";

export function writeBytes(
  store: ObjectStore,
  object: ObjectId,
  offsetBytes: number,
  bytes: Uint8Array,
): Promise<void> {
  return store.write(object, offsetBytes, bytes, checksumsOf(offsetBytes, bytes));
}

/** Reads a range, in the way that leaves the check to the receiver, and checks it. */
export async function readBytes(
  store: ObjectStore,
  object: ObjectId,
  offsetBytes: number,
  lengthBytes: number,
): Promise<Uint8Array> {
  const data = await store.read(object, offsetBytes, lengthBytes, { verified: false });
  const { bytes, checksums } = taken(data);
  assert.equal(bytes.length, lengthBytes);
  assert.deepEqual(checksums, checksumsOf(offsetBytes, bytes), "the checksums are of other bytes");
  return bytes;
}

/** What a read gave, as memory; lets go of it. */
export function taken({ payload, checksums, release }: ObjectData): {
  bytes: Uint8Array;
  checksums: Uint32Array;
} {
  const bytes = bytesOf(payload);
  release();
  return { bytes, checksums };
}

function bytesOf(payload: Payload): Uint8Array {
  if (payload instanceof Uint8Array) return payload.slice();
  const bytes = new Uint8Array(payload.lengthBytes);
  assert.equal(readRange(payload, bytes), bytes.length, "the file is shorter than announced");
  return bytes;
}

/** Bytes without a zero, different for each seed at each place. */
export function pattern(seed: number, lengthBytes: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: lengthBytes }, (_, index) => 1 + (index * 7 + seed * 31) % 251);
}

export function spaceOf(store: ObjectStore): { usedBytes: number; objects: number } {
  const { usedBytes, objects } = store.usage();
  return { usedBytes, objects };
}

/** Asserts that `action` fails with `code` and a message that has all of `parts`. */
export async function rejects(
  code: ErrorCode,
  action: () => Promise<unknown>,
  parts: readonly string[],
): Promise<void> {
  await assert.rejects(action, (error: Error & { code?: string }) => {
    assert.equal(error.code, code, error.message);
    for (const part of parts) {
      assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
    }
    return true;
  });
}
