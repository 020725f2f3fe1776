// Repeats what the journals of earlier runs have, and brings it into the objects' files. Nothing is
// carried out on a file before its record is on disk, and all of it can be repeated, so a crash in
// the middle of this is like one before it.

import { blockBytes, checksumOf, noChecksum } from "../shared/checksums.ts";
import type { Random } from "../shared/environment.ts";
import { parseObjectId } from "../shared/layout.ts";
import type { ObjectId } from "../shared/model.ts";
import type { Files } from "./files.ts";
import { Journal, type Segment, writeAll } from "./journal.ts";
import { type FoundRecord, JournalReader, readFully } from "./journal_reader.ts";
import type { JournalRecord, Lsn } from "./journal_record.ts";
import { happened } from "./object_changes.ts";
import type { StoredObject } from "./stored_object.ts";

export interface RecoveryParts {
  readonly files: Files;
  readonly random: Random;
  /** Of the store's own journal. */
  readonly directory: string;
  /** Of journals that it takes over. */
  readonly others: readonly string[];
  /** The highest LSN that any object's files have. */
  readonly appliedLsn: Lsn;
  /** The object as its files have it, or one that does not exist; it stays open. */
  load(object: ObjectId): StoredObject;
  /** An earlier process may have changed entries of the inode's directory and not synced them. */
  suspect(ino: number): void;
  /** Deletes every object of some inodes, and forgets those that are open. */
  remove(inodes: ReadonlySet<number>): Promise<void>;
  /** Is told when a sync of the store's own journal has failed. */
  noteFailure(): Promise<void>;
  /** Takes the journal into use. */
  use(journal: Journal): void;
  /** Brings every open object to disk, also as it was found, and every change of directories. */
  checkpoint(): Promise<void>;
}

export async function recoverJournals(parts: RecoveryParts): Promise<void> {
  const { files, random, directory } = parts;
  const own = await JournalReader.open(files, directory);
  const readers = [own];
  try {
    for (const each of parts.others) readers.push(await JournalReader.open(files, each));
    // What a process that was killed has left may be in the system's cache alone.
    for (const reader of readers) await reader.sync();
    const { nextLsn, nextSegment } = own;
    const noteFailure = () => parts.noteFailure();
    const journal = new Journal({ files, directory, random, nextLsn, nextSegment, noteFailure });
    parts.use(journal);
    await new Replay(parts, readers).run();
    await parts.checkpoint();
    const unusedLsn = Math.max(parts.appliedLsn + 1, ...readers.map(({ unusedLsn }) => unusedLsn));
    await journal.retire(journal.beginSegment(unusedLsn));
    await journal.removeRetired();
    for (const [index, reader] of readers.entries()) {
      if (reader !== own && reader.isEnded) continue;
      // Deletions may reach the disk in any order, and some of them not.
      if (reader !== own) await endJournal(parts, parts.others[index - 1]!, reader, unusedLsn);
      await reader.remove();
    }
  } finally {
    for (const reader of readers) reader.close();
  }
}

/** Says in a journal that was taken over that nothing of it is needed any more. */
async function endJournal(
  { files, random }: RecoveryParts,
  directory: string,
  { nextSegment }: JournalReader,
  nextLsn: Lsn,
): Promise<void> {
  const journal = new Journal({ files, directory, random, nextLsn, nextSegment });
  try {
    await journal.markBegin(nextLsn);
  } finally {
    journal.close();
  }
}

class Replay {
  readonly #parts: RecoveryParts;
  readonly #records: readonly FoundRecord[];
  /** Up to where the fills of an object are known to be on disk. */
  readonly #confirmed = new Map<ObjectId, Lsn>();
  readonly #removed = new Set<number>();
  /** Objects that have lost fills, which nobody had synced. */
  readonly #lostFills = new Set<StoredObject>();

  constructor(parts: RecoveryParts, readers: readonly JournalReader[]) {
    this.#parts = parts;
    this.#records = readers.flatMap(({ records }) => records);
    for (const { record } of this.#records) {
      if (record.kind === "confirm") this.#confirm(record.object, record.filledLsn);
      if (record.kind === "remove") this.#removed.add(parseObjectId(record.object).ino);
    }
  }

  /** The confirmation of what another journal has may be in the store's own. */
  #confirm(object: ObjectId, filledLsn: Lsn): void {
    this.#confirmed.set(object, Math.max(filledLsn, this.#confirmed.get(object) ?? 0));
  }

  async run(): Promise<void> {
    for (const found of this.#records) {
      const { record } = found;
      if (record.kind === "checkpoint") continue;
      const { ino } = parseObjectId(record.object);
      this.#parts.suspect(ino);
      // Inode numbers are used once: what is removed at the end need not be made before.
      if (!this.#removed.has(ino)) this.#repeat(found, record);
    }
    if (this.#removed.size > 0) await this.#parts.remove(this.#removed);
  }

  #repeat({ lsn, segment }: FoundRecord, record: JournalRecord & { object: ObjectId }): void {
    if (record.kind === "confirm" || record.kind === "remove") return;
    const open = this.#parts.load(record.object);
    if (lsn <= open.appliedLsn) return;
    switch (record.kind) {
      case "fill":
        return this.#repeatFill(open, lsn, record);
      case "write":
        return this.#repeatWrite(open, lsn, record, segment);
      case "cut":
        return this.#repeatCut(open, lsn, record);
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
    record: JournalRecord & { kind: "write" },
    segment: Segment,
  ): void {
    const { offsetBytes, data, fillerBytes, checksums } = record;
    const endBytes = offsetBytes + data.lengthBytes;
    const hasLost = this.#lostFills.has(open);
    const mended = hasLost ? edgesToMend(open, offsetBytes, endBytes) : [];
    open.setChecksums(Math.floor(offsetBytes / blockBytes), checksums);
    open.addPendingWrite(lsn, offsetBytes, { segment, ...data });
    const lengthBytes = Math.max(open.lengthBytes, endBytes - fillerBytes);
    happened(open, lsn, hasLost ? lengthBytes : record.lengthBytes);
    for (const block of mended) mendChecksum(open, block);
  }

  #repeatCut(
    open: StoredObject,
    lsn: Lsn,
    { lengthBytes, checksums }: JournalRecord & { kind: "cut" },
  ): void {
    if (open.lengthBytes <= lengthBytes) {
      // Without the lost fills there was nothing to cut.
      if (open.exists) open.lastLsn = lsn;
      return;
    }
    const block = Math.floor(lengthBytes / blockBytes);
    const isThere = checksums.length > 0 && open.checksumAt(block) !== noChecksum;
    const wasRight = isThere && open.verifiedBlock(block) !== undefined;
    open.cut(lsn, lengthBytes);
    if (isThere) open.setChecksums(block, checksums);
    happened(open, lsn, lengthBytes);
    const countsLost = wasRight && this.#lostFills.has(open) && !open.verifiedBlock(block);
    if (countsLost) mendChecksum(open, block);
  }
}

/**
 * Blocks of which a write has a part, while the checksum in its record may be that of a block with
 * bytes that were lost. What a lost fill has left of them is cleared away.
 */
function edgesToMend(open: StoredObject, startBytes: number, endBytes: number): number[] {
  const edges = new Set<number>();
  if (startBytes % blockBytes !== 0) edges.add(Math.floor(startBytes / blockBytes));
  if (endBytes % blockBytes !== 0) edges.add(Math.floor(endBytes / blockBytes));
  for (const block of edges) if (open.checksumAt(block) === noChecksum) clearBlock(open, block);
  // One that is damaged must stay so.
  return [...edges].filter((block) => open.verifiedBlock(block) !== undefined);
}

function clearBlock(open: StoredObject, block: number): void {
  const startBytes = block * blockBytes;
  const count = Math.min(blockBytes, open.fileBytes - startBytes);
  if (open.file && count > 0) writeAll(open.file, new Uint8Array(count), startBytes);
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
