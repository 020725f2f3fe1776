// Reads of one open object: which bytes go to the reader and from where, and which checksums with
// them.

import { blockBytes, checksumOf, noChecksum, partCount } from "../shared/checksums.ts";
import type { Payload } from "../shared/environment.ts";
import { limits } from "../shared/limits.ts";
import { corruptBytes, type DamagedRange, type ObjectData } from "./object_store.ts";
import type { StoredObject } from "./stored_object.ts";

interface Range {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** A range that the object has. `release` is for the caller to add. */
export async function readObject(
  open: StoredObject,
  range: Range,
  options: { verified: boolean; targetIndex: number },
): Promise<Omit<ObjectData, "release">> {
  const { offsetBytes, lengthBytes } = range;
  const { verified, targetIndex } = options;
  if (verified) return await readVerified(open, range, targetIndex);
  const isPlain = open.isPlain(offsetBytes, offsetBytes + lengthBytes);
  if (isPlain && open.file && lengthBytes > limits.syncIoBytesMax) {
    const payload: Payload = { file: open.file, offsetBytes, lengthBytes };
    return { payload, checksums: checksumsOfRange(open, range, targetIndex) };
  }
  const payload = new Uint8Array(lengthBytes);
  await open.compose(payload, offsetBytes);
  return { payload, checksums: checksumsOfRange(open, range, targetIndex) };
}

/** The bytes of all blocks that the range touches, right, and of them the range. */
async function readVerified(
  open: StoredObject,
  { offsetBytes, lengthBytes }: Range,
  targetIndex: number,
): Promise<Omit<ObjectData, "release">> {
  const firstBlock = Math.floor(offsetBytes / blockBytes);
  const blocks = new Uint8Array(partCount(offsetBytes, lengthBytes) * blockBytes);
  await open.compose(blocks, firstBlock * blockBytes);
  const bad = wrongBlock(open, firstBlock, blocks);
  if (bad !== undefined) {
    throw corruptBytes({ object: open.object, targetIndex }, bad * blockBytes, mismatch);
  }
  const start = offsetBytes - firstBlock * blockBytes;
  const payload = blocks.subarray(start, start + lengthBytes);
  return { payload, checksums: checksumsOfRange(open, { offsetBytes, lengthBytes }, targetIndex) };
}

const mismatch = "they do not match their checksum";

/**
 * The first of some whole blocks whose bytes do not have their checksum. One that was changed since
 * it was read is read again, on this thread, so that nothing comes in between.
 */
function wrongBlock(open: StoredObject, firstBlock: number, bytes: Uint8Array): number | undefined {
  for (let start = 0; start < bytes.length; start += blockBytes) {
    const block = firstBlock + start / blockBytes;
    const part = bytes.subarray(start, start + blockBytes);
    if (open.isRight(block, part)) continue;
    const again = open.verifiedBlock(block);
    if (!again) return block;
    part.set(again);
  }
  return undefined;
}

/**
 * The checksums that are kept for the whole blocks of a range; those of parts are made now, from
 * blocks that are verified for it.
 */
function checksumsOfRange(
  open: StoredObject,
  { offsetBytes, lengthBytes }: Range,
  targetIndex: number,
): Uint32Array<ArrayBuffer> {
  const endBytes = offsetBytes + lengthBytes;
  const firstBlock = Math.floor(offsetBytes / blockBytes);
  const checksums = new Uint32Array(partCount(offsetBytes, lengthBytes));
  for (let part = 0; part < checksums.length; part++) {
    const block = firstBlock + part;
    const start = Math.max(0, offsetBytes - block * blockBytes);
    const end = Math.min(blockBytes, endBytes - block * blockBytes);
    const isWhole = start === 0 && end === blockBytes;
    checksums[part] = isWhole
      ? open.checksumAt(block) || zeroChecksum(0, blockBytes)
      : checksumOfPart(open, block, { start, end }, targetIndex);
  }
  return checksums;
}

const zeros = new Uint8Array(blockBytes);
const ofZeroBlock = checksumOf(zeros);

function zeroChecksum(start: number, end: number): number {
  return end - start === blockBytes ? ofZeroBlock : checksumOf(zeros.subarray(start, end));
}

function checksumOfPart(
  open: StoredObject,
  block: number,
  { start, end }: { start: number; end: number },
  targetIndex: number,
): number {
  if (open.checksumAt(block) === noChecksum) return zeroChecksum(start, end);
  const bytes = open.verifiedBlock(block);
  if (bytes) return checksumOf(bytes.subarray(start, end));
  throw corruptBytes({ object: open.object, targetIndex }, block * blockBytes, mismatch);
}

/** The damaged blocks of a range, those that follow each other as one. */
export async function damagedBlocks(open: StoredObject, range: Range): Promise<DamagedRange[]> {
  const damaged: { object: string; offsetBytes: number; lengthBytes: number }[] = [];
  const endBytes = Math.min(range.offsetBytes + range.lengthBytes, open.lengthBytes);
  let block = Math.floor(range.offsetBytes / blockBytes);
  while (block * blockBytes < endBytes) {
    const count = Math.min(verifiedBlocks, Math.ceil(endBytes / blockBytes) - block);
    const bytes = new Uint8Array(count * blockBytes);
    await open.compose(bytes, block * blockBytes);
    for (let index = 0; index < count; index++) {
      const part = bytes.subarray(index * blockBytes, (index + 1) * blockBytes);
      // One that was changed since it was read is right at a second look.
      if (open.isRight(block + index, part) || open.verifiedBlock(block + index)) continue;
      const offsetBytes = (block + index) * blockBytes;
      const lengthBytes = Math.min(blockBytes, open.lengthBytes - offsetBytes);
      const last = damaged.at(-1);
      if (last && last.offsetBytes + last.lengthBytes === offsetBytes) {
        last.lengthBytes += lengthBytes;
      } else {
        damaged.push({ object: open.object, offsetBytes, lengthBytes });
      }
    }
    block += count;
  }
  return damaged;
}

/** Blocks that are read at once to be verified: 1 MiB. */
const verifiedBlocks = 256;
