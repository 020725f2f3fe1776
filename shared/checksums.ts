// Checksums of objects: one for each block. Whoever moves a range of an object cuts it at the block
// boundaries of the object, and each part, whole block or piece of one, has a checksum of its own:
//
//   blocks of the object    |   0   |   1   |   2   |
//   a range                     |---|-------|--|
//   its checksums                 a     b     c
//
// A checksum is the CRC32C (RFC 3720, Castagnoli's polynomial) of the part's bytes, with 1 in the
// place of 0, so that 0 can stand for a block that was never written. That of a whole block is the
// same on the wire and on disk: it is kept from the first writer to the last reader.

import { crc32c } from "@node-rs/crc32";
import { assert } from "./assert.ts";
import { limits } from "./limits.ts";

export const blockBytes = limits.checksumBlockBytes;

/** Of a block that was never written and reads as zeros. No bytes have this checksum. */
export const noChecksum = 0;

/** The checksum of one part. */
export function checksumOf(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return crc === noChecksum ? 1 : crc;
}

/** How many parts a range of an object has. */
export function partCount(offsetBytes: number, lengthBytes: number): number {
  if (lengthBytes === 0) return 0;
  const first = Math.floor(offsetBytes / blockBytes);
  return Math.floor((offsetBytes + lengthBytes - 1) / blockBytes) - first + 1;
}

/** The checksums of the parts of `bytes`, which are at `offsetBytes` of an object. */
export function checksumsOf(offsetBytes: number, bytes: Uint8Array): Uint32Array<ArrayBuffer> {
  const checksums = new Uint32Array(partCount(offsetBytes, bytes.length));
  let end = blockBytes - offsetBytes % blockBytes;
  for (let part = 0, start = 0; part < checksums.length; part++) {
    checksums[part] = checksumOf(bytes.subarray(start, end));
    start = end;
    end += blockBytes;
  }
  return checksums;
}

/** The first part whose bytes do not have their checksum, by number; `undefined` where all do. */
export function firstMismatch(
  offsetBytes: number,
  bytes: Uint8Array,
  checksums: Uint32Array,
): number | undefined {
  assert(checksums.length === partCount(offsetBytes, bytes.length), "a checksum for each part");
  let end = blockBytes - offsetBytes % blockBytes;
  for (let part = 0, start = 0; part < checksums.length; part++) {
    if (checksumOf(bytes.subarray(start, end)) !== checksums[part]) return part;
    start = end;
    end += blockBytes;
  }
  return undefined;
}

/** As they are on the wire and on disk: 4 bytes each, little-endian. */
export function encodeChecksums(checksums: Uint32Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(checksums.length * 4);
  const view = new DataView(bytes.buffer);
  for (let part = 0; part < checksums.length; part++) {
    view.setUint32(part * 4, checksums[part]!, true);
  }
  return bytes;
}

/** `undefined` where they are not those of `count` parts. */
export function decodeChecksums(
  bytes: Uint8Array,
  count: number,
): Uint32Array<ArrayBuffer> | undefined {
  if (bytes.length !== count * 4) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Uint32Array.from({ length: count }, (_, part) => view.getUint32(part * 4, true));
}
