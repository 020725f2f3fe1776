// What a small object has in place of a checksum file: the same as an attribute of its file of bytes,
// so small that the file system keeps it in the inode. It changes in one step.
//
//   offset bytes
//        0     4  magic "RSA1"
//        4     4  CRC32C of inode (8 bytes), number of the object (4 bytes) and all that follows
//        8     8  length of the object
//       16     8  LSN: changes up to that of the journal are in the object's file and here
//       24     4  each: checksums of blocks, 0 for one that was never written
//
// All numbers are little-endian.

import { crc32c } from "@node-rs/crc32";
import { blockBytes, decodeChecksums, encodeChecksums } from "../shared/checksums.ts";
import { parseObjectId } from "../shared/layout.ts";
import type { ObjectId } from "../shared/model.ts";
import type { ChecksumFile } from "./checksum_file.ts";
import { getNumber, setNumber } from "./journal_record.ts";

const magic = 0x3141_5352;
const headerBytes = 24;

export function encodeChecksumAttribute(
  object: ObjectId,
  { lengthBytes, appliedLsn, checksums }: ChecksumFile,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(headerBytes + 4 * checksums.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic, true);
  setNumber(view, 8, lengthBytes);
  setNumber(view, 16, appliedLsn);
  bytes.set(encodeChecksums(checksums), headerBytes);
  view.setUint32(4, crcOf(object, bytes), true);
  return bytes;
}

/** `undefined` where it is not the attribute of that object, whole. */
export function decodeChecksumAttribute(
  object: ObjectId,
  bytes: Uint8Array,
): ChecksumFile | undefined {
  if (bytes.length < headerBytes) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const isWhole = view.getUint32(0, true) === magic &&
    view.getUint32(4, true) === crcOf(object, bytes);
  if (!isWhole) return undefined;
  const lengthBytes = getNumber(view, 8);
  const count = Math.ceil(lengthBytes / blockBytes);
  const checksums = decodeChecksums(bytes.subarray(headerBytes), count);
  return checksums && { lengthBytes, appliedLsn: getNumber(view, 16), checksums };
}

function crcOf(object: ObjectId, bytes: Uint8Array): number {
  const { ino, seq } = parseObjectId(object);
  const id = new Uint8Array(12);
  const view = new DataView(id.buffer);
  setNumber(view, 0, ino);
  view.setUint32(8, seq, true);
  return crc32c(bytes.subarray(8), crc32c(id));
}
