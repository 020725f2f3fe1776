// Repeats what the journal of an earlier run has, and brings it into the objects' files. Nothing is
// carried out on a file before its record is on disk, and all of it can be repeated, so a crash in
// the middle of this is like one before it.

import { blockBytes, checksumOf, noChecksum } from "../shared/checksums.ts";
import { parseObjectId } from "../shared/layout.ts";
import type { ObjectId } from "../shared/model.ts";
import type { Files } from "./files.ts";
import { type Journal, type Segment, writeAll } from "./journal.ts";
import { type FoundRecord, JournalReader, readFully } from "./journal_reader.ts";
import type { JournalRecord, Lsn } from "./journal_record.ts";
import { happened } from "./object_changes.ts";
import type { StoredObject } from "./stored_object.ts";

export interface RecoveryParts {
  readonly files: Files;
  /** Of journals: the store's own first, then others that it takes over. */
  readonly directories: readonly [string, ...string[]];
  /** The highest LSN that any object's files have. */
  readonly appliedLsn: Lsn;
  /** The object as its files have it, or one that does not exist; it stays open. */
  load(object: ObjectId): StoredObject;
  /** Deletes every object of an inode, durably, and forgets those that are open. */
  remove(ino: number): Promise<void>;
  /** Begins the journal that goes on where the old ones end. */
  begin(nextLsn: Lsn, nextSegment: number): Journal;
  /** Brings every open object to disk. */
  checkpoint(): Promise<void>;
}

export async function recoverJournals(parts: RecoveryParts): Promise<void> {
  const readers: JournalReader[] = [];
  try {
    for (const directory of parts.directories) {
      readers.push(await JournalReader.open(parts.files, directory));
    }
    for (const { records } of readers) await repeat(parts, records);
    const nextLsn = Math.max(parts.appliedLsn + 1, ...readers.map(({ nextLsn }) => nextLsn));
    const journal = parts.begin(nextLsn, readers[0]?.nextSegment ?? 1);
    await parts.checkpoint();
    await journal.markBegin(nextLsn);
    for (const reader of readers) await reader.remove();
  } catch (error) {
    for (const reader of readers) reader.close();
    throw error;
  }
}

async function repeat(parts: RecoveryParts, records: readonly FoundRecord[]): Promise<void> {
  const replay = new Replay(parts, records);
  const removed = new Set<number>();
  for (const { record } of records) {
    if (record.kind === "remove") removed.add(parseObjectId(record.object).ino);
  }
  for (const found of records) {
    const { record } = found;
    if (record.kind === "checkpoint" || record.kind === "remove") continue;
    // Inode numbers are used once: what is removed at the end need not be made before.
    if (!removed.has(parseObjectId(record.object).ino)) replay.repeat(found, record);
  }
  for (const ino of removed) await parts.remove(ino);
}

class Replay {
  readonly #parts: RecoveryParts;
  /** Up to where the fills of an object are known to be on disk. */
  readonly #confirmed = new Map<ObjectId, Lsn>();
  /** Objects that have lost fills, which nobody had synced. */
  readonly #lostFills = new Set<StoredObject>();

  constructor(parts: RecoveryParts, records: readonly FoundRecord[]) {
    this.#parts = parts;
    for (const { record } of records) {
      if (record.kind === "confirm") this.#confirmed.set(record.object, record.filledLsn);
    }
  }

  repeat({ lsn, segment }: FoundRecord, record: JournalRecord & { object: ObjectId }): void {
    if (record.kind === "confirm" || record.kind === "remove") return;
    const open = this.#parts.load(record.object);
    if (lsn <= open.appliedLsn) return;
    switch (record.kind) {
      case "fill":
        return this.#repeatFill(open, lsn, record);
      case "write":
        return this.#repeatWrite(open, lsn, record, segment);
      case "cut":
        return repeatCut(open, lsn, record);
      case "extend":
        return happened(open, lsn, Math.max(open.lengthBytes, record.lengthBytes));
    }
  }

  /** One that nobody synced counts if all of its bytes are there: it happened as a whole or not. */
  #repeatFill(
    open: StoredObject,
    lsn: Lsn,
    { object, offsetBytes, lengthBytes, checksums }: JournalRecord & { kind: "fill" },
  ): void {
    const isConfirmed = lsn <= (this.#confirmed.get(object) ?? 0);
    if (!isConfirmed && !hasBlocks(open, offsetBytes / blockBytes, checksums)) {
      this.#lostFills.add(open);
      if (open.exists) open.lastLsn = lsn;
      return;
    }
    open.setChecksums(offsetBytes / blockBytes, checksums);
    open.filledLsn = lsn;
    if (isConfirmed) open.confirmedLsn = lsn;
    happened(open, lsn, Math.max(open.lengthBytes, lengthBytes));
  }

  #repeatWrite(
    open: StoredObject,
    lsn: Lsn,
    { offsetBytes, data, lengthBytes, checksums }: JournalRecord & { kind: "write" },
    segment: Segment,
  ): void {
    const endBytes = offsetBytes + data.lengthBytes;
    const torn = this.#lostFills.has(open) ? absentEdges(open, offsetBytes, endBytes) : [];
    for (const block of torn) clearBlock(open, block);
    open.setChecksums(Math.floor(offsetBytes / blockBytes), checksums);
    open.addPendingWrite(lsn, offsetBytes, { segment, ...data });
    // After a lost fill the object is shorter than the record knew it.
    happened(open, lsn, Math.min(lengthBytes, Math.max(open.lengthBytes, endBytes)));
    // The record has the checksums of these with the bytes that were lost.
    for (const block of torn) mendChecksum(open, block);
  }
}

function repeatCut(
  open: StoredObject,
  lsn: Lsn,
  { lengthBytes, checksums }: JournalRecord & { kind: "cut" },
): void {
  const block = Math.floor(lengthBytes / blockBytes);
  const isThere = open.checksumAt(block) !== noChecksum;
  open.cut(lsn, Math.min(lengthBytes, open.lengthBytes));
  if (isThere) open.setChecksums(block, checksums);
  happened(open, lsn, open.lengthBytes);
}

/** Blocks that the range has a part of, and that were never written. */
function absentEdges(open: StoredObject, startBytes: number, endBytes: number): number[] {
  const edges = new Set<number>();
  if (startBytes % blockBytes !== 0) edges.add(Math.floor(startBytes / blockBytes));
  if (endBytes % blockBytes !== 0) edges.add(Math.floor(endBytes / blockBytes));
  return [...edges].filter((block) => open.checksumAt(block) === noChecksum);
}

/** What a lost fill has left of a block must not come back with a part of it. */
function clearBlock(open: StoredObject, block: number): void {
  const startBytes = block * blockBytes;
  if (!open.file || open.fileBytes <= startBytes) return;
  writeAll(open.file, new Uint8Array(blockBytes), startBytes);
}

function mendChecksum(open: StoredObject, block: number): void {
  const bytes = new Uint8Array(blockBytes);
  open.composeSync(bytes, block * blockBytes);
  open.setChecksums(block, Uint32Array.of(checksumOf(bytes)));
}

/** Whether the object's file has these blocks. */
function hasBlocks(open: StoredObject, firstBlock: number, checksums: Uint32Array): boolean {
  const { file } = open;
  if (!file) return false;
  const bytes = new Uint8Array(blockBytes);
  return checksums.every((checksum, index) => {
    const offsetBytes = (firstBlock + index) * blockBytes;
    bytes.fill(0);
    readFully(file, bytes, offsetBytes);
    return checksumOf(bytes) === checksum;
  });
}
