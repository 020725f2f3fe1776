// Changes of one open object: which way its bytes take, and the record that makes it happen.
//
// - Large writes to blocks that were never written go to the object's file, and then a record says
//   that they are there ("fill"). Without the record the blocks count as never written, so a write
//   that a crash cut short did not happen.
// - All others go to the journal with their bytes ("write"): the file gets them at the next
//   checkpoint, when the record is on disk, so that whatever crashes, old bytes or new can be had.

import { blockBytes, checksumOf, noChecksum } from "../shared/checksums.ts";
import { limits } from "../shared/limits.ts";
import type { FileWrites } from "./file_writes.ts";
import type { OpenFile } from "./files.ts";
import type { Journal } from "./journal.ts";
import type { Lsn } from "./journal_record.ts";
import { corruptBytes } from "./object_store.ts";
import type { StoredObject } from "./stored_object.ts";

export interface ChangeParts {
  readonly journal: Journal;
  readonly targetIndex: number;
  /** Opens the file of an object that has none yet, making it where it does not exist. */
  openFile(object: StoredObject): OpenFile;
  readonly fileWrites: FileWrites;
}

/** Makes the object, if it does not exist. */
export function makeObject(parts: ChangeParts, open: StoredObject): void {
  if (!open.exists) extendObject(parts, open, 0);
}

/** Makes the object at least so long; what is new was never written. */
export function extendObject(
  { journal }: ChangeParts,
  open: StoredObject,
  lengthBytes: number,
): void {
  if (open.exists && open.lengthBytes >= lengthBytes) return;
  const { lsn } = journal.append({ kind: "extend", object: open.object, lengthBytes });
  happened(open, lsn, lengthBytes);
}

/** Makes the object at most so long. */
export function cutObject({ journal }: ChangeParts, open: StoredObject, lengthBytes: number): void {
  if (!open.exists || open.lengthBytes <= lengthBytes) return;
  const { object } = open;
  const checksums = checksumsOfCut(open, lengthBytes);
  const { lsn } = journal.append({ kind: "cut", object, lengthBytes, checksums });
  open.cut(lsn, lengthBytes);
  open.setChecksums(Math.floor(lengthBytes / blockBytes), checksums);
  happened(open, lsn, lengthBytes);
}

/**
 * The new checksum of a block that a cut goes through. A damaged one keeps its old one: it must not
 * look right because it was cut.
 */
function checksumsOfCut(open: StoredObject, lengthBytes: number): Uint32Array {
  const inBlockBytes = lengthBytes % blockBytes;
  const block = Math.floor(lengthBytes / blockBytes);
  const checksum = open.checksumAt(block);
  if (inBlockBytes === 0 || checksum === noChecksum) return new Uint32Array(0);
  const bytes = open.verifiedBlock(block);
  if (!bytes) return Uint32Array.of(checksum);
  bytes.fill(0, inBlockBytes);
  return Uint32Array.of(checksumOf(bytes));
}

/** Writes bytes, of which `checksums` are those of the parts. */
export async function writeObject(
  parts: ChangeParts,
  open: StoredObject,
  offsetBytes: number,
  bytes: Uint8Array,
  checksums: Uint32Array,
): Promise<void> {
  const endBytes = offsetBytes + bytes.length;
  const isNew = open.isAbsent(offsetBytes, endBytes) && !open.hasPendingCut;
  if (isNew && bytes.length >= limits.directWriteBytesMin && offsetBytes % blockBytes === 0) {
    await fill(parts, open, offsetBytes, bytes, checksums);
  } else {
    writeToJournal(parts, open, offsetBytes, bytes, checksums);
  }
}

// ── by the file ────────────────────────────────────────────────────────────────────────────────

async function fill(
  parts: ChangeParts,
  open: StoredObject,
  offsetBytes: number,
  bytes: Uint8Array,
  checksums: Uint32Array,
): Promise<void> {
  const { object } = open;
  const file = open.file ?? parts.openFile(open);
  const endBytes = offsetBytes + bytes.length;
  const padding = new Uint8Array((blockBytes - endBytes % blockBytes) % blockBytes);
  const hadMore = open.fileBytes > endBytes;
  // Before the first byte: a write that fails half-way leaves some.
  open.fileBytes = Math.max(open.fileBytes, endBytes);
  await parts.fileWrites.write(file, bytes, offsetBytes);
  // What an earlier write left there must not become the end of this block.
  if (hadMore && padding.length > 0) await parts.fileWrites.write(file, padding, endBytes);
  const ofBlocks = checksums.slice();
  if (padding.length > 0) ofBlocks[ofBlocks.length - 1] = paddedChecksum(bytes);
  const lengthBytes = Math.max(open.lengthBytes, endBytes);
  const fields = { object, position: offsetBytes, lengthBytes, checksums: ofBlocks };
  const { lsn } = parts.journal.append({ kind: "fill", ...fields });
  open.setChecksums(offsetBytes / blockBytes, ofBlocks);
  open.filledLsn = lsn;
  open.fileVersion++;
  happened(open, lsn, lengthBytes);
}

/** Of the last block of bytes that begin with a block: as if zeros followed. */
function paddedChecksum(bytes: Uint8Array): number {
  const block = new Uint8Array(blockBytes);
  block.set(bytes.subarray(bytes.length - bytes.length % blockBytes));
  return checksumOf(block);
}

// ── by the journal ─────────────────────────────────────────────────────────────────────────────

/** On this thread and in one step, so that records are in the order of the changes. */
function writeToJournal(
  { journal, targetIndex }: ChangeParts,
  open: StoredObject,
  offsetBytes: number,
  bytes: Uint8Array,
  checksums: Uint32Array,
): void {
  const { object } = open;
  const write = wholeBlocks(open, offsetBytes, bytes, checksums, targetIndex);
  const { offsetBytes: position, checksums: ofBlocks, fillerBytes } = write;
  const lengthBytes = Math.max(open.lengthBytes, offsetBytes + bytes.length);
  const fields = { object, position, lengthBytes, checksums: ofBlocks, fillerBytes };
  const record = journal.append({ kind: "write", ...fields }, write.bytes);
  open.setChecksums(Math.floor(position / blockBytes), ofBlocks);
  open.addPendingWrite(record.lsn, position, record.bytes);
  happened(open, record.lsn, lengthBytes);
}

interface BlockWrite {
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
  /** Of every block that is touched, as it is afterwards. */
  readonly checksums: Uint32Array;
  /** How many of `bytes` follow those that the caller gave. */
  readonly fillerBytes: number;
}

/**
 * What is to be written so that the blocks at the edges are right: one that is new is written whole,
 * one that exists keeps its other bytes, which have to be right for that.
 */
function wholeBlocks(
  open: StoredObject,
  offsetBytes: number,
  bytes: Uint8Array,
  checksums: Uint32Array,
  targetIndex: number,
): BlockWrite {
  const endBytes = offsetBytes + bytes.length;
  const first = Math.floor(offsetBytes / blockBytes);
  const last = Math.floor((endBytes - 1) / blockBytes);
  const ofBlocks = checksums.slice();
  let start = offsetBytes;
  let end = endBytes;
  for (const block of first === last ? [first] : [first, last]) {
    const blockStart = block * blockBytes;
    const blockEnd = blockStart + blockBytes;
    if (offsetBytes <= blockStart && endBytes >= blockEnd) continue;
    const merged = mergedBlock(open, block, { offsetBytes, bytes }, targetIndex);
    ofBlocks[block - first] = checksumOf(merged);
    if (open.checksumAt(block) !== noChecksum) continue;
    start = Math.min(start, blockStart);
    end = Math.max(end, blockEnd);
  }
  const fillerBytes = end - endBytes;
  const whole = padded(bytes, offsetBytes - start, fillerBytes);
  return { offsetBytes: start, bytes: whole, checksums: ofBlocks, fillerBytes };
}

function mergedBlock(
  open: StoredObject,
  block: number,
  write: { offsetBytes: number; bytes: Uint8Array },
  targetIndex: number,
): Uint8Array {
  const blockStart = block * blockBytes;
  const merged = oldBytes(open, block, write, targetIndex);
  const from = Math.max(0, blockStart - write.offsetBytes);
  const to = blockStart + blockBytes - write.offsetBytes;
  merged.set(write.bytes.subarray(from, to), Math.max(0, write.offsetBytes - blockStart));
  return merged;
}

/** Zeros where nothing of the block is kept. */
function oldBytes(
  open: StoredObject,
  block: number,
  { offsetBytes, bytes }: { offsetBytes: number; bytes: Uint8Array },
  targetIndex: number,
): Uint8Array {
  const blockStart = block * blockBytes;
  const keptEnd = Math.min(blockStart + blockBytes, open.lengthBytes);
  const isCovered = offsetBytes <= blockStart && offsetBytes + bytes.length >= keptEnd;
  if (isCovered || open.checksumAt(block) === noChecksum) return new Uint8Array(blockBytes);
  const old = open.verifiedBlock(block);
  if (old) return old;
  const reason = "a part of a block cannot be written while the rest is damaged";
  throw corruptBytes({ object: open.object, targetIndex }, blockStart, reason);
}

function padded(bytes: Uint8Array, before: number, behind: number): Uint8Array {
  if (before === 0 && behind === 0) return bytes;
  const whole = new Uint8Array(before + bytes.length + behind);
  whole.set(bytes, before);
  return whole;
}

/** The object is brought up to date with a record. */
export function happened(open: StoredObject, lsn: Lsn, lengthBytes: number): void {
  open.exists = true;
  open.lastLsn = lsn;
  open.lengthBytes = lengthBytes;
}
