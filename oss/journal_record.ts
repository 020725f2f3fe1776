// The records of an OST's journal, down to the byte; journal.ts has the files they are in.
//
//   offset bytes
//        0     4  magic: "RSJR" as a number, exclusive or the segment's nonce
//        4     4  length of the record without its padding
//        8     4  CRC32C of all that follows, begun with the segment's nonce
//       12     1  kind, see below
//       13     1  zero
//       14     2  of a "write": zeros at the end of its bytes, to fill a block
//       16     8  LSN: 1 more than that of the record before
//       24     8  durable LSN: records up to it were on disk when this one was written
//       32     8  inode
//       40     4  number of the object in its file
//       44     4  number of checksums
//       48     8  offset of the bytes in the object; of a "confirm" and a "checkpoint" an LSN
//       56     8  length of the object afterwards
//       64     4  each: checksums of whole blocks
//              …  the bytes, of a "write"
//              …  zeros up to a multiple of 8
//
// All numbers are little-endian.

import { crc32c } from "@node-rs/crc32";
import { assert } from "../shared/assert.ts";
import { decodeChecksums, encodeChecksums, partCount } from "../shared/checksums.ts";
import { objectId, parseObjectId } from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { ObjectId } from "../shared/model.ts";

/** Log sequence number. */
export type Lsn = number;

export type JournalRecord =
  /** The record has the bytes; the file gets them at the next checkpoint. */
  | ObjectRecord & { kind: "write"; offsetBytes: number; data: DataAt; fillerBytes: number }
  /** The object's file has the bytes, in blocks that were never written before. */
  | ObjectRecord & { kind: "fill"; offsetBytes: number }
  /** The object is not longer than that; `checksums`: of the block that was cut through. */
  | ObjectRecord & { kind: "cut" }
  /** The object is at least that long, and exists. */
  | ObjectRecord & { kind: "extend" }
  /** What fills up to an LSN have put into the object's file is on disk. */
  | { kind: "confirm"; object: ObjectId; filledLsn: Lsn }
  /** Every object of the inode is gone; of `object` the inode alone counts. */
  | { kind: "remove"; object: ObjectId }
  /** Records before `firstLsn` are not needed any more. Of no object. */
  | { kind: "checkpoint"; firstLsn: Lsn };

interface ObjectRecord {
  readonly object: ObjectId;
  /** Of the object, afterwards. */
  readonly lengthBytes: number;
  /** Of the blocks that the record is about, as they are afterwards. */
  readonly checksums: Uint32Array;
}

/** Where a record's bytes are in its segment. */
export interface DataAt {
  readonly positionBytes: number;
  readonly lengthBytes: number;
}

const magic = 0x524a_5352;
export const recordHeaderBytes = 64;
export const recordAlignmentBytes = 8;
const kinds = ["write", "fill", "confirm", "cut", "extend", "remove", "checkpoint"] as const;
/** In a record that is about no object. */
export const noObject = objectId(1, 0);

/** What a record can need at most: the largest write with a block more at each end. */
const dataBytesMax = limits.framePayloadBytesMax + 2 * limits.checksumBlockBytes;
const checksumsMax = partCount(0, dataBytesMax);
export const recordBytesMax = recordHeaderBytes + 4 * checksumsMax + dataBytesMax +
  recordAlignmentBytes;

export interface RecordFields {
  readonly kind: JournalRecord["kind"];
  readonly object: ObjectId;
  /** Offset or LSN; 0 where the kind has none. */
  readonly position?: number;
  /** Of the object, afterwards. */
  readonly lengthBytes?: number;
  readonly checksums?: Uint32Array;
  /** How many bytes at the end of a write are there only to fill its last block. */
  readonly fillerBytes?: number;
}

export interface RecordStamp {
  readonly lsn: Lsn;
  readonly durableLsn: Lsn;
  readonly nonce: number;
}

const noChecksums = new Uint32Array(0);
const noBytes = new Uint8Array(0);

/** The bytes of a record before its data, with the CRC of both. */
export function encodeRecordHead(
  fields: RecordFields,
  stamp: RecordStamp,
  data: Uint8Array = noBytes,
): Uint8Array<ArrayBuffer> {
  const { kind, object, position = 0, lengthBytes = 0, checksums = noChecksums } = fields;
  const { fillerBytes = 0 } = fields;
  const { ino, seq } = parseObjectId(object);
  const head = new Uint8Array(recordHeaderBytes + 4 * checksums.length);
  const view = new DataView(head.buffer);
  assert(head.length + data.length <= recordBytesMax, "a journal record over the limit");
  view.setUint32(0, recordMagic(stamp.nonce), true);
  view.setUint32(4, head.length + data.length, true);
  view.setUint8(12, kinds.indexOf(kind));
  view.setUint16(14, fillerBytes, true);
  setNumber(view, 16, stamp.lsn);
  setNumber(view, 24, stamp.durableLsn);
  setNumber(view, 32, ino);
  view.setUint32(40, seq, true);
  view.setUint32(44, checksums.length, true);
  setNumber(view, 48, position);
  setNumber(view, 56, lengthBytes);
  head.set(encodeChecksums(checksums), recordHeaderBytes);
  const crc = crc32c(head.subarray(12), stamp.nonce);
  view.setUint32(8, data.length === 0 ? crc : crc32c(data, crc), true);
  return head;
}

/** How many zeros follow a record of that length. */
export function paddingBytes(lengthBytes: number): number {
  return (recordAlignmentBytes - lengthBytes % recordAlignmentBytes) % recordAlignmentBytes;
}

/**
 * What a record of a segment begins with. Of a client's bytes, which may be full of what any record
 * begins with, none is even looked at.
 */
export function recordMagic(nonce: number): number {
  return (magic ^ nonce) >>> 0;
}

/** The length that a record's first 8 bytes claim; `undefined` where they begin none. */
export function claimedLength(bytes: Uint8Array, nonce: number): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < recordHeaderBytes || view.getUint32(0, true) !== recordMagic(nonce)) {
    return undefined;
  }
  const length = view.getUint32(4, true);
  return length >= recordHeaderBytes && length <= recordBytesMax ? length : undefined;
}

export interface DecodedRecord {
  readonly lsn: Lsn;
  readonly durableLsn: Lsn;
  readonly record: JournalRecord;
}

/**
 * The record that `bytes` are, whole and without padding, at a position of its segment; `undefined`
 * where they are none that {@link encodeRecordHead} makes with this nonce.
 */
export function decodeRecord(
  bytes: Uint8Array,
  positionBytes: number,
  nonce: number,
): DecodedRecord | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(8, true) !== crc32c(bytes.subarray(12), nonce)) return undefined;
  const count = view.getUint32(44, true);
  const headBytes = recordHeaderBytes + 4 * count;
  const checksums = decodeChecksums(bytes.subarray(recordHeaderBytes, headBytes), count);
  if (!checksums) return undefined;
  const record = recordOf(kinds[view.getUint8(12)], {
    object: objectId(getNumber(view, 32), view.getUint32(40, true)),
    position: getNumber(view, 48),
    lengthBytes: getNumber(view, 56),
    checksums,
    fillerBytes: view.getUint16(14, true),
    data: { positionBytes: positionBytes + headBytes, lengthBytes: bytes.length - headBytes },
  });
  if (!record) return undefined;
  return { lsn: getNumber(view, 16), durableLsn: getNumber(view, 24), record };
}

interface DecodedFields extends Required<Omit<RecordFields, "kind">> {
  readonly data: DataAt;
}

function recordOf(
  kind: JournalRecord["kind"] | undefined,
  { object, position, lengthBytes, checksums, fillerBytes, data }: DecodedFields,
): JournalRecord | undefined {
  const changed = { object, lengthBytes, checksums };
  switch (kind) {
    case "write":
      return { kind, ...changed, offsetBytes: position, data, fillerBytes };
    case "fill":
      return { kind, ...changed, offsetBytes: position };
    case "cut":
    case "extend":
      return { kind, ...changed };
    case "confirm":
      return { kind, object, filledLsn: position };
    case "remove":
      return { kind, object };
    case "checkpoint":
      return { kind, firstLsn: position };
    case undefined:
      return undefined;
  }
}

const halfValues = 2 ** 32;

/** 8 bytes of a safe integer; in halves, which needs no BigInt. */
export function setNumber(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value % halfValues, true);
  view.setUint32(offset + 4, Math.floor(value / halfValues), true);
}

export function getNumber(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + halfValues * view.getUint32(offset + 4, true);
}
