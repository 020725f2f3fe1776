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

/**
 * The first part whose bytes do not have their checksum, by number; `undefined` where all do. Whole
 * blocks are compared together first, which costs half as much as one by one.
 */
export function firstMismatch(
  offsetBytes: number,
  bytes: Uint8Array,
  checksums: Uint32Array,
): number | undefined {
  assert(checksums.length === partCount(offsetBytes, bytes.length), "a checksum for each part");
  let start = 0;
  let end = blockBytes - offsetBytes % blockBytes;
  let part = 0;
  if (offsetBytes % blockBytes === 0) {
    part = matchingBlocks(bytes, checksums);
    start = part * blockBytes;
    end = start + blockBytes;
  }
  for (; part < checksums.length; part++) {
    if (checksumOf(bytes.subarray(start, end)) !== checksums[part]) return part;
    start = end;
    end += blockBytes;
  }
  return undefined;
}

/** All whole blocks at the start of `bytes` where they have their checksums, else 0. */
function matchingBlocks(bytes: Uint8Array, checksums: Uint32Array): number {
  const blocks = Math.floor(bytes.length / blockBytes);
  if (blocks < togetherMin) return 0;
  const whole = crcOfBlocks(checksums, blocks);
  return whole !== undefined && whole === crc32c(bytes.subarray(0, blocks * blockBytes))
    ? blocks
    : 0;
}

/** Below it one by one is as quick. */
const togetherMin = 4;

/**
 * What the CRC32C of whole blocks in a row is if each has its checksum. To compare it finds what
 * comparing each would: of one wrong block or checksum always as much, of several all but one case
 * in 2^32. `undefined` where a checksum is no CRC, or may stand for another.
 */
function crcOfBlocks(checksums: Uint32Array, blocks: number): number | undefined {
  const [first, second, third, fourth] = blockShift ??= shiftTables();
  let crc = 0;
  for (let block = 0; block < blocks; block++) {
    const checksum = checksums[block]!;
    if (checksum <= 1) return undefined;
    crc = first[crc & 0xff]! ^ second[crc >>> 8 & 0xff]! ^ third[crc >>> 16 & 0xff]! ^
      fourth[crc >>> 24]! ^ checksum;
  }
  return crc >>> 0;
}

/** For each byte of a CRC, and each of its values, what {@link shifted} makes of it. */
type ShiftTables = readonly [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
let blockShift: ShiftTables | undefined;

function shiftTables(): ShiftTables {
  const zeros = new Uint8Array(blockBytes);
  const table = (byte: number) =>
    Uint32Array.from({ length: 256 }, (_, value) => shifted((value << 8 * byte) >>> 0, zeros));
  return [table(0), table(1), table(2), table(3)];
}

/**
 * The share that bytes with the CRC `crc` have in that of themselves and a block behind them: with
 * the block's own CRC, by exclusive or, it is the CRC of both.
 */
function shifted(crc: number, block: Uint8Array): number {
  return crc32c(block, crc) ^ crc32c(block);
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

/** A buffer for bytes whose checksums are wanted, again and again: it leaves no garbage behind. */
export class ChecksumScratch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #blocks: readonly Uint8Array[];

  constructor(lengthBytes: number) {
    const bytes = this.bytes = new Uint8Array(lengthBytes);
    this.#blocks = Array.from(
      { length: Math.floor(lengthBytes / blockBytes) },
      (_, block) => bytes.subarray(block * blockBytes, (block + 1) * blockBytes),
    );
  }

  /** Of its first `lengthBytes`, which are at `offsetBytes` of an object, to the start of `into`. */
  encodeChecksums(offsetBytes: number, lengthBytes: number, into: Uint8Array): void {
    if (offsetBytes % blockBytes !== 0 || lengthBytes % blockBytes !== 0) {
      const checksums = checksumsOf(offsetBytes, this.bytes.subarray(0, lengthBytes));
      return into.set(encodeChecksums(checksums));
    }
    const view = new DataView(into.buffer, into.byteOffset, into.length);
    for (let block = 0; block < lengthBytes / blockBytes; block++) {
      view.setUint32(block * 4, checksumOf(this.#blocks[block]!), true);
    }
  }
}

/** Of ranges that follow each other, all but the last of which end with a block, as one range's. */
export function joinChecksums(encoded: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(encoded.reduce((bytes, { length }) => bytes + length, 0));
  let filledBytes = 0;
  for (const each of encoded) {
    all.set(each, filledBytes);
    filledBytes += each.length;
  }
  return all;
}

/** `undefined` where they are not those of `count` parts. */
export function decodeChecksums(
  bytes: Uint8Array,
  count: number,
): Uint32Array<ArrayBuffer> | undefined {
  if (bytes.length !== count * 4) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const checksums = new Uint32Array(count);
  for (let part = 0; part < count; part++) checksums[part] = view.getUint32(part * 4, true);
  return checksums;
}
