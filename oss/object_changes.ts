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
  /** Is told how many bytes a fill had. */
  noteFill(bytes: number): void;
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
  open.fillsUnderWay++;
  try {
    await parts.fileWrites.write(file, bytes, offsetBytes);
    // What an earlier write left there must not become the end of this block.
    if (hadMore && padding.length > 0) await parts.fileWrites.write(file, padding, endBytes);
  } finally {
    // What follows happens at once.
    open.fillsUnderWay--;
  }
  const ofBlocks = checksums.slice();
  if (padding.length > 0) ofBlocks[ofBlocks.length - 1] = paddedChecksum(bytes);
  const lengthBytes = Math.max(open.lengthBytes, endBytes);
  const fields = { object, position: offsetBytes, lengthBytes, checksums: ofBlocks };
  const { lsn } = parts.journal.append({ kind: "fill", ...fields });
  open.setChecksums(offsetBytes / blockBytes, ofBlocks);
  open.filledLsn = lsn;
  open.fileVersion++;
  parts.noteFill(bytes.length);
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
  const write = widenedWrite(open, offsetBytes, bytes, checksums, targetIndex);
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
  /** How many of `bytes`, at their end, are zeros that the object does not need. */
  readonly fillerBytes: number;
}

/**
 * What is to be written so that the blocks at the edges are right: one that is new is written whole,
 * one that exists keeps its other bytes, which have to be right for that.
 */
function widenedWrite(
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
  const write = new WidenedWrite(offsetBytes, bytes);
  for (const block of first === last ? [first] : [first, last]) {
    const blockStart = block * blockBytes;
    if (offsetBytes <= blockStart && endBytes >= blockStart + blockBytes) continue;
    const merged = mergedBlock(open, block, { offsetBytes, bytes }, targetIndex);
    ofBlocks[block - first] = checksumOf(merged);
    const isNew = open.checksumAt(block) === noChecksum;
    if (isNew) write.widen(blockStart, merged, endBytes);
    else if (isCrowded(open, block)) write.widen(blockStart, merged, open.lengthBytes);
  }
  return { ...write.whole(), checksums: ofBlocks };
}

/**
 * Whether a block consists of so many parts in the journal that it should be written whole: each of
 * its readers has to gather them. Not where a fill may yet be lost in a crash, as a whole: the record
 * would keep a part of it.
 */
function isCrowded(open: StoredObject, block: number): boolean {
  return open.pendingAt(block) >= limits.blockPartsMax && open.confirmedLsn >= open.filledLsn;
}

/** A write with whole blocks at its edges. */
class WidenedWrite {
  #startBytes: number;
  #endBytes: number;
  /** From where on there are only zeros. */
  #contentEndBytes: number;
  readonly #parts: { offsetBytes: number; bytes: Uint8Array }[];

  constructor(offsetBytes: number, bytes: Uint8Array) {
    this.#startBytes = offsetBytes;
    this.#endBytes = this.#contentEndBytes = offsetBytes + bytes.length;
    this.#parts = [{ offsetBytes, bytes }];
  }

  /** `block`: as it is afterwards; it counts up to `contentEndBytes`, behind which it has zeros. */
  widen(blockStart: number, block: Uint8Array, contentEndBytes: number): void {
    this.#parts.push({ offsetBytes: blockStart, bytes: block });
    const blockEnd = blockStart + block.length;
    this.#startBytes = Math.min(this.#startBytes, blockStart);
    if (blockEnd <= this.#endBytes) return;
    this.#contentEndBytes = Math.max(this.#endBytes, Math.min(blockEnd, contentEndBytes));
    this.#endBytes = blockEnd;
  }

  whole(): Omit<BlockWrite, "checksums"> {
    const [{ bytes: ofCaller } = { bytes: new Uint8Array(0) }] = this.#parts;
    const offsetBytes = this.#startBytes;
    const fillerBytes = this.#endBytes - this.#contentEndBytes;
    if (this.#parts.length === 1) return { offsetBytes, bytes: ofCaller, fillerBytes };
    const bytes = new Uint8Array(this.#endBytes - offsetBytes);
    for (const part of this.#parts) bytes.set(part.bytes, part.offsetBytes - offsetBytes);
    return { offsetBytes, bytes, fillerBytes };
  }
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

/** The object is brought up to date with a record. */
export function happened(open: StoredObject, lsn: Lsn, lengthBytes: number): void {
  open.exists = true;
  open.lastLsn = lsn;
  open.lengthBytes = lengthBytes;
}
