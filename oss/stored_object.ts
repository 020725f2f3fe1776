// One object while it is open: its length and checksums as they are now, its file, and the changes
// that are in the journal and not yet in the file. Answers what the object's bytes are; who changes
// it is object_changes.ts and checkpoint.ts.

import { blockBytes, checksumOf, noChecksum } from "../shared/checksums.ts";
import { limits } from "../shared/limits.ts";
import type { ObjectId } from "../shared/model.ts";
import { writeElsewhere } from "./file_writes.ts";
import type { OpenFile } from "./files.ts";
import type { JournalBytes } from "./journal.ts";
import type { Lsn } from "./journal_record.ts";
import { type PendingChange, PendingChanges } from "./pending_changes.ts";
import { SharedSync } from "./shared_sync.ts";

/** Where the checksums of an object are: in an attribute of its file, or in a file beside. */
export type ChecksumPlace = "attribute" | "file";

/** What a checkpoint brings to disk: an object as it is at one moment. */
export interface ObjectSnapshot {
  readonly object: StoredObject;
  readonly lsn: Lsn;
  readonly filledLsn: Lsn;
  readonly lengthBytes: number;
  readonly checksums: Uint32Array<ArrayBuffer>;
  /** What its file needs of the changes that it does not have yet, and how many these are. */
  readonly pending: readonly PendingChange[];
  readonly pendingCount: number;
}

export class StoredObject {
  readonly object: ObjectId;
  /** Whether any change has made it; one that is only being made does not exist. */
  exists = false;
  lengthBytes = 0;
  /** Has a file for the object's bytes; one that was never written to has none. */
  file: OpenFile | undefined;
  /** Where the file may hold bytes. Those of absent blocks mean nothing: a failed write left them. */
  fileBytes = 0;
  /** Of the last change, of the last fill, and up to which each is safe. */
  lastLsn: Lsn = 0;
  appliedLsn: Lsn = 0;
  /** Up to which its files have all, for good: a checkpoint that failed may have come so far. */
  publishedLsn: Lsn = 0;
  filledLsn: Lsn = 0;
  confirmedLsn: Lsn = 0;
  /** Fills that have begun to write and have no record yet. */
  fillsUnderWay = 0;
  /** Operations under way, which need the descriptor. */
  users = 0;
  /** What it counts for in the store's totals; `undefined` where it does not. */
  countedBytes: number | undefined;
  /** Where those that count are; `undefined` where there are none. */
  checksumsIn: ChecksumPlace | undefined;
  /** The attribute was taken away, and may be there again after a crash: that was not synced. */
  mayKeepAttribute = false;
  /** Its file has not taken an attribute. */
  refusesAttribute = false;
  /** Out of the cache: the last user closes the file. */
  forgotten = false;
  /** Changes whenever bytes of the file come to mean something else. */
  fileVersion = 0;
  readonly #sync = new SharedSync(() => this.file?.sync() ?? Promise.resolve());
  readonly #pending = new PendingChanges();
  #checksums = new Uint32Array(1);

  constructor(object: ObjectId) {
    this.object = object;
  }

  /** Whether the journal is still needed for it. */
  get isDirty(): boolean {
    return this.lastLsn > this.appliedLsn;
  }

  get hasPendingCut(): boolean {
    return this.#pending.hasCut;
  }

  /** How many changes have to be laid over the file's bytes of a block. */
  pendingAt(block: number): number {
    return this.#pending.countAt(block);
  }

  // ── checksums ────────────────────────────────────────────────────────────────────────────────

  /** Of a block; {@link noChecksum} where it was never written. */
  checksumAt(block: number): number {
    return this.#checksums[block] ?? noChecksum;
  }

  setChecksums(firstBlock: number, checksums: Uint32Array): void {
    const count = firstBlock + checksums.length;
    if (count > this.#checksums.length) {
      const larger = new Uint32Array(Math.max(count, 2 * this.#checksums.length));
      larger.set(this.#checksums);
      this.#checksums = larger;
    }
    this.#checksums.set(checksums, firstBlock);
  }

  /** Whether no block of the range was ever written. */
  isAbsent(offsetBytes: number, endBytes: number): boolean {
    const end = Math.min(Math.ceil(endBytes / blockBytes), this.#checksums.length);
    for (let block = Math.floor(offsetBytes / blockBytes); block < end; block++) {
      if (this.#checksums[block] !== noChecksum) return false;
    }
    return true;
  }

  /** Whether the file alone has all bytes of the range. */
  isPlain(offsetBytes: number, endBytes: number): boolean {
    // Behind the end of its file an object may have zeros.
    if (!this.file || endBytes > this.fileBytes) return false;
    const end = Math.ceil(endBytes / blockBytes);
    for (let block = Math.floor(offsetBytes / blockBytes); block < end; block++) {
      const isAbsent = this.checksumAt(block) === noChecksum;
      if (isAbsent || this.#pending.countAt(block) > 0) return false;
    }
    return true;
  }

  // ── changes ──────────────────────────────────────────────────────────────────────────────────

  /** The object is as `length` and `checksums` have it, after a start or a repair. */
  restore(lengthBytes: number, checksums: Uint32Array<ArrayBuffer>, appliedLsn: Lsn): void {
    this.exists = true;
    this.lengthBytes = lengthBytes;
    this.#checksums = checksums;
    this.lastLsn =
      this.appliedLsn =
      this.publishedLsn =
      this.filledLsn =
      this.confirmedLsn =
        appliedLsn;
  }

  addPendingWrite(lsn: Lsn, offsetBytes: number, bytes: JournalBytes): void {
    this.#pending.addWrite({ kind: "write", lsn, offsetBytes, bytes });
  }

  /** Forgets the blocks behind the new end, and what the block that it is in has behind it. */
  cut(lsn: Lsn, lengthBytes: number): void {
    this.#pending.addCut({ kind: "cut", lsn, lengthBytes });
    this.#checksums.fill(noChecksum, Math.ceil(lengthBytes / blockBytes));
    this.lengthBytes = lengthBytes;
  }

  snapshot(): ObjectSnapshot {
    const blocks = Math.ceil(this.lengthBytes / blockBytes);
    const checksums = new Uint32Array(blocks);
    checksums.set(this.#checksums.subarray(0, blocks));
    return {
      object: this,
      lsn: this.lastLsn,
      filledLsn: this.filledLsn,
      lengthBytes: this.lengthBytes,
      checksums,
      pending: this.#pending.needed(),
      pendingCount: this.#pending.count,
    };
  }

  /** What a snapshot has is in the file and beside it. */
  applied(snapshot: ObjectSnapshot): void {
    this.#pending.dropFirst(snapshot.pendingCount);
    this.appliedLsn = snapshot.lsn;
    this.fileVersion++;
  }

  // ── bytes ────────────────────────────────────────────────────────────────────────────────────

  /**
   * Puts the object's bytes at an offset into `into`, unverified; zeros where it has none. The
   * changes of the journal are laid over the file's bytes, whether it has them by now or not.
   */
  async compose(into: Uint8Array, offsetBytes: number): Promise<void> {
    if (into.length <= limits.syncIoBytesMax || !this.file) {
      return this.composeSync(into, offsetBytes);
    }
    for (;;) {
      const version = this.fileVersion;
      const count = await readUpTo(this.file, into, offsetBytes);
      // Otherwise a checkpoint may have taken changes out of the journal that this read was before.
      if (version !== this.fileVersion) continue;
      into.fill(0, count);
      return this.#layOver(into, offsetBytes);
    }
  }

  /** {@link compose} on this thread, for what is small. */
  composeSync(into: Uint8Array, offsetBytes: number): void {
    let count = 0;
    // One that the journal alone has has an empty file.
    while (this.file && count < into.length && offsetBytes + count < this.fileBytes) {
      const read = this.file.readSync(into.subarray(count), offsetBytes + count);
      if (read === 0) break;
      count += read;
    }
    into.fill(0, count);
    this.#layOver(into, offsetBytes);
  }

  #layOver(into: Uint8Array, offsetBytes: number): void {
    this.#pending.layOver(into, offsetBytes);
    this.#clearAbsent(into, offsetBytes);
    into.fill(0, Math.max(0, this.lengthBytes - offsetBytes));
  }

  #clearAbsent(into: Uint8Array, offsetBytes: number): void {
    const endBlock = Math.ceil((offsetBytes + into.length) / blockBytes);
    for (let block = Math.floor(offsetBytes / blockBytes); block < endBlock; block++) {
      if (this.checksumAt(block) !== noChecksum) continue;
      const start = Math.max(0, block * blockBytes - offsetBytes);
      into.fill(0, start, (block + 1) * blockBytes - offsetBytes);
    }
  }

  /** The bytes of a whole block; `undefined` where they do not have their checksum. */
  verifiedBlock(block: number): Uint8Array<ArrayBuffer> | undefined {
    const bytes = new Uint8Array(blockBytes);
    this.composeSync(bytes, block * blockBytes);
    return this.isRight(block, bytes) ? bytes : undefined;
  }

  /** Whether `bytes` are what was written to a block, all of it. */
  isRight(block: number, bytes: Uint8Array): boolean {
    const checksum = this.checksumAt(block);
    return checksum === noChecksum || checksum === checksumOf(bytes);
  }

  /** Every byte that is in the file is on disk when this resolves. */
  syncFile(): Promise<void> {
    return this.#sync.request();
  }

  /**
   * To be awaited before a sync of the file that is made for something else: of two at once the
   * system tells one that it has failed, and the other one would be taken for a success.
   */
  pauseSyncs(until: Promise<void>): Promise<void> {
    return this.#sync.pause(until);
  }

  /**
   * To be called when a sync of the file, made for something else, has failed: the system tells so
   * once, so that {@link syncFile} would find nothing wrong with what fills have put there.
   */
  syncFailed(error: unknown): void {
    if (this.fillsUnderWay > 0 || this.filledLsn > this.confirmedLsn) this.#sync.fail(error);
  }

  /**
   * Every byte that the file has of blocks that were written is written to it once more, and on disk
   * when this resolves. After a failed sync: the system may have taken what it could not write for
   * written. What it has lost is wrong before and after.
   */
  async rewriteFile(): Promise<void> {
    const { file } = this;
    if (!file) return;
    const buffer = new Uint8Array(rewriteBytes);
    const endBlock = Math.ceil(this.fileBytes / blockBytes);
    for (let block = 0; block < endBlock;) {
      const count = this.#writtenFrom(block, Math.min(endBlock, block + rewriteBytes / blockBytes));
      const offsetBytes = block * blockBytes;
      block += Math.max(1, count);
      if (count === 0) continue;
      // Others are perhaps writing to blocks next to these, and to none of them: a fill takes those
      // that were never written, and those of a cut not before a checkpoint has carried it out.
      const into = buffer.subarray(0, count * blockBytes);
      const bytes = into.subarray(0, await readUpTo(file, into, offsetBytes));
      await writeElsewhere(file, bytes, offsetBytes);
    }
    await file.sync();
  }

  /** How many blocks in a row from one on were written. */
  #writtenFrom(block: number, endBlock: number): number {
    let end = block;
    while (end < endBlock && this.checksumAt(end) !== noChecksum) end++;
    return end - block;
  }

  /** Gives the file back when nobody needs it; the object must be out of the cache. */
  closeFile(): void {
    this.file?.close();
    this.file = undefined;
  }
}

/** Of a file at a time, where it is read and written again. */
const rewriteBytes = 256 * 1024;

/** Fewer bytes only at the end of the file. */
async function readUpTo(file: OpenFile, into: Uint8Array, offsetBytes: number): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const count = await file.read(done === 0 ? into : into.subarray(done), offsetBytes + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}
