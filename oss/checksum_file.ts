// The file beside an object's bytes: how long the object is, and the checksums of its blocks. It is
// written anew at each checkpoint of the object, and takes its name when it is whole.
//
//   offset bytes
//        0     4  magic "RSUM"
//        4     4  format, 1
//        8     4  CRC32C of all that follows
//       12     4  bytes of a block
//       16     8  inode
//       24     4  number of the object in its file
//       28     4  number of checksums
//       32     8  length of the object
//       40     8  LSN: changes up to that of the journal are in the object's file and here
//       48     4  each: checksums of blocks, 0 for one that was never written
//
// All numbers are little-endian.

import { crc32c } from "@node-rs/crc32";
import { blockBytes, decodeChecksums, encodeChecksums } from "../shared/checksums.ts";
import { parseObjectId } from "../shared/layout.ts";
import type { ObjectId } from "../shared/model.ts";
import { getNumber, type Lsn, setNumber } from "./journal_record.ts";

const magic = 0x4d55_5352;
const format = 1;
export const checksumHeaderBytes = 48;

export interface ChecksumFile {
  readonly lengthBytes: number;
  readonly appliedLsn: Lsn;
  readonly checksums: Uint32Array<ArrayBuffer>;
}

export function encodeChecksumFile(
  object: ObjectId,
  { lengthBytes, appliedLsn, checksums }: ChecksumFile,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(checksumHeaderBytes + 4 * checksums.length);
  const view = new DataView(bytes.buffer);
  const { ino, seq } = parseObjectId(object);
  view.setUint32(0, magic, true);
  view.setUint32(4, format, true);
  view.setUint32(12, blockBytes, true);
  setNumber(view, 16, ino);
  view.setUint32(24, seq, true);
  view.setUint32(28, checksums.length, true);
  setNumber(view, 32, lengthBytes);
  setNumber(view, 40, appliedLsn);
  bytes.set(encodeChecksums(checksums), checksumHeaderBytes);
  view.setUint32(8, crc32c(bytes.subarray(12)), true);
  return bytes;
}

/** `undefined` where it is not the file of that object, whole. */
export function decodeChecksumFile(object: ObjectId, bytes: Uint8Array): ChecksumFile | undefined {
  if (bytes.length < checksumHeaderBytes) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const isWhole = view.getUint32(0, true) === magic && view.getUint32(4, true) === format &&
    view.getUint32(8, true) === crc32c(bytes.subarray(12));
  if (!isWhole) return undefined;
  const { ino, seq } = parseObjectId(object);
  const isOfObject = getNumber(view, 16) === ino && view.getUint32(24, true) === seq &&
    view.getUint32(12, true) === blockBytes;
  if (!isOfObject) return undefined;
  const checksums = decodeChecksums(
    bytes.subarray(checksumHeaderBytes),
    view.getUint32(28, true),
  );
  return checksums &&
    { lengthBytes: getNumber(view, 32), appliedLsn: getNumber(view, 40), checksums };
}

/** What the header alone says, of a file that was not checked: to add up many. */
export function peekChecksumFile(header: Uint8Array): { lengthBytes: number; appliedLsn: Lsn } {
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  const isOurs = header.length === checksumHeaderBytes && view.getUint32(0, true) === magic;
  if (!isOurs) return { lengthBytes: 0, appliedLsn: 0 };
  return { lengthBytes: getNumber(view, 32), appliedLsn: getNumber(view, 40) };
}
