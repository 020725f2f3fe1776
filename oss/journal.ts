// The journal of an OST: what was changed and is not yet in the files of its objects. A change is
// one record; it has happened when its record is written, and lasts when that is synced. Records are
// in segments, plain files that only grow, and go when a checkpoint has brought their changes into
// the objects' files:
//
//   {directory}/{number:016x}     header, then records as journal_record.ts has them
//
//   offset bytes
//        0     4  magic "RSJL"
//        4     4  format, 2
//        8     8  number of the segment
//       16     8  LSN of its first record
//       24     4  nonce: no bytes of a client look like a record of this segment
//       28     4  CRC32C of bytes 0 to 28
//       32  4064  zeros
//     4096    32  bytes 0 to 32 once more: without them nobody could tell what follows, and a disk
//                 that damages a block damages 4 KiB
//
// The scheme is that of write-ahead logs with redo only, as in ARIES (Mohan et al., 1992).

import { crc32c } from "@node-rs/crc32";
import { assert } from "../shared/assert.ts";
import { partCount } from "../shared/checksums.ts";
import type { Random } from "../shared/environment.ts";
import type { Files, OpenFile } from "./files.ts";
import {
  encodeRecordHead,
  type Lsn,
  noObject,
  paddingBytes,
  type RecordFields,
  recordHeaderBytes,
  setNumber,
} from "./journal_record.ts";
import { SharedSync } from "./shared_sync.ts";

export const segmentMagic = 0x4c4a_5352;
export const segmentFormat = 2;
/** Of the header, which is there twice: in two blocks of the disk. */
export const headerCopyBytes = 32;
export const headerCopiesAt = [0, 4096] as const;
export const segmentHeaderBytes = headerCopiesAt[1] + headerCopyBytes;
/** Data up to this is copied next to its record, so that one write takes both. */
const inlineBytesMax = 64 * 1024;

/** Where a record and its data are put together; of one write at a time, which does not wait. */
const inlineRecord = new Uint8Array(
  inlineBytesMax + recordHeaderBytes + 4 * partCount(1, inlineBytesMax),
);

/** In the place of a record's beginning. */
const noRecord = new Uint8Array(8);

export interface Segment {
  readonly path: string;
  readonly file: OpenFile;
  readonly nonce: number;
  readonly firstLsn: Lsn;
  endBytes: number;
}

/** Bytes that are in a segment. */
export interface JournalBytes {
  readonly segment: Segment;
  readonly positionBytes: number;
  readonly lengthBytes: number;
}

export function segmentPath(directory: string, number: number): string {
  return `${directory}/${number.toString(16).padStart(16, "0")}`;
}

/** The number of a segment's file; `undefined` where the name is none. */
export function segmentNumberOf(name: string): number | undefined {
  return /^[0-9a-f]{16}$/.test(name) ? Number.parseInt(name, 16) : undefined;
}

export interface JournalOptions {
  readonly files: Files;
  /** Exists; its entry is on disk. */
  readonly directory: string;
  readonly random: Random;
  /** Of the first record that is appended. */
  readonly nextLsn: Lsn;
  /** Of the first segment that is made: higher than those that are there. */
  readonly nextSegment: number;
  /** Is told when a sync has failed. */
  readonly noteFailure?: () => Promise<void>;
}

export class Journal {
  readonly #options: JournalOptions;
  /** In order; records go to the last one. */
  #segments: Segment[] = [];
  #nextLsn: Lsn;
  #nextSegment: number;
  #durableLsn: Lsn;
  /** Those that may have bytes that are not on disk. */
  #unsynced = new Set<Segment>();
  /** Paths of segments that are out of use. */
  readonly #retired: string[] = [];
  /** Whether a segment was made since the directory was synced. */
  #entriesChanged = false;
  #syncFailure: unknown;
  readonly #sync = new SharedSync(() => this.#syncNow());

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#nextLsn = options.nextLsn;
    this.#durableLsn = options.nextLsn - 1;
    this.#nextSegment = options.nextSegment;
    this.beginSegment();
  }

  /** Why no sync succeeds any more. */
  get syncFailure(): unknown {
    return this.#syncFailure;
  }

  get lastLsn(): Lsn {
    return this.#nextLsn - 1;
  }

  /** Bytes in all segments. */
  get bytes(): number {
    return this.#segments.reduce((sum, { endBytes }) => sum + endBytes, 0);
  }

  /** Bytes in the segment that records go to. */
  get segmentBytes(): number {
    return this.#last.endBytes;
  }

  get #last(): Segment {
    const last = this.#segments.at(-1);
    assert(last, "a journal without a segment");
    return last;
  }

  /**
   * Writes a record; it survives this process when this returns. A failed append leaves no trace: the
   * next one takes its place.
   */
  append(fields: RecordFields, data?: Uint8Array): { lsn: Lsn; bytes: JournalBytes } {
    const segment = this.#last;
    const lsn = this.#nextLsn;
    const stamp = { lsn, durableLsn: this.#durableLsn, nonce: segment.nonce };
    const head = encodeRecordHead(fields, stamp, data);
    const lengthBytes = data?.length ?? 0;
    const recordBytes = head.length + lengthBytes;
    const positionBytes = segment.endBytes + head.length;
    this.#unsynced.add(segment);
    try {
      writeRecord(segment, head, data);
    } catch (error) {
      leaveNoRecord(segment);
      throw error;
    }
    segment.endBytes += recordBytes + paddingBytes(recordBytes);
    this.#nextLsn++;
    return { lsn, bytes: { segment, positionBytes, lengthBytes } };
  }

  /** Everything up to `lsn` is on disk when this resolves. */
  async sync(lsn: Lsn = this.lastLsn): Promise<void> {
    if (this.#durableLsn < lsn) await this.#sync.request();
  }

  async #syncNow(): Promise<void> {
    const { files, directory } = this.#options;
    const lsn = this.lastLsn;
    const segments = [...this.#unsynced];
    const entriesChanged = this.#entriesChanged;
    this.#unsynced = new Set();
    this.#entriesChanged = false;
    try {
      for (const segment of segments) await segment.file.sync();
      if (entriesChanged) await files.syncDirectory(directory);
    } catch (error) {
      // The system may have dropped what it could not write, and call the next sync a success.
      this.#syncFailure = error;
      await this.#options.noteFailure?.();
      throw error;
    }
    this.#durableLsn = lsn;
  }

  /**
   * Begins a new segment; says which ones there were before it. Its first record has the next LSN,
   * but no lower one than `lowestLsn`.
   */
  beginSegment(lowestLsn: Lsn = 1): readonly Segment[] {
    const { files, directory, random } = this.#options;
    const before = this.#segments;
    const number = this.#nextSegment;
    const path = segmentPath(directory, number);
    const file = files.create(path);
    assert(file, `the journal segment "${path}" is there already`);
    const nonce = new DataView(random.bytes(4).buffer).getUint32(0, true);
    this.#entriesChanged = true;
    this.#nextSegment++;
    const firstLsn = Math.max(this.#nextLsn, lowestLsn);
    const segment = { path, file, nonce, firstLsn, endBytes: segmentHeaderBytes };
    try {
      writeAll(file, segmentHeader(number, segment), 0);
    } catch (error) {
      file.close();
      // On a full disk every try would leave one.
      files.removeSync(path);
      throw error;
    }
    this.#unsynced.add(segment);
    this.#nextLsn = firstLsn;
    this.#segments = [...before, segment];
    return before;
  }

  /**
   * Says, durably, that records before `lsn` are not needed any more: the deletions of their segments
   * may reach the disk in any order, and some of them not.
   */
  async markBegin(lsn: Lsn): Promise<void> {
    this.append({ kind: "checkpoint", object: noObject, position: lsn });
    await this.sync();
  }

  /** Takes segments out of use, the oldest ones: nothing of them is needed any more. */
  async retire(segments: readonly Segment[]): Promise<void> {
    const rest = this.#segments.slice(segments.length);
    const first = rest[0];
    assert(first && segments.every((each, index) => each === this.#segments[index]), "the oldest");
    await this.markBegin(first.firstLsn);
    this.#segments = this.#segments.slice(segments.length);
    for (const { file, path } of segments) {
      file.close();
      this.#retired.push(path);
    }
  }

  /** Deletes what was taken out of use. */
  async removeRetired(): Promise<void> {
    for (let path = this.#retired[0]; path !== undefined; path = this.#retired[0]) {
      await this.#options.files.remove(path);
      this.#retired.shift();
    }
  }

  close(): void {
    for (const segment of this.#segments) segment.file.close();
    this.#segments = [];
  }
}

function writeRecord(segment: Segment, head: Uint8Array, data: Uint8Array | undefined): void {
  const { file, endBytes } = segment;
  if (data === undefined) return writeAll(file, head, endBytes);
  if (data.length <= inlineBytesMax) {
    const record = inlineRecord.subarray(0, head.length + data.length);
    record.set(head);
    record.set(data, head.length);
    return writeAll(file, record, endBytes);
  }
  // The head last: without it there is no record.
  writeAll(file, data, endBytes + head.length);
  writeAll(file, head, endBytes);
}

/**
 * A record that was written in part might be whole, where the rest of it is there already. If the
 * disk does not take this either, the next record comes to stand there; only a crash before that
 * would find the change, which its sender was told has failed, and may have sent again.
 */
function leaveNoRecord({ file, endBytes }: Segment): void {
  try {
    writeAll(file, noRecord, endBytes);
  } catch {
    // The first error is the one to be told.
  }
}

export function writeAll(file: OpenFile, bytes: Uint8Array, offsetBytes: number): void {
  for (let done = 0; done < bytes.length;) {
    const count = file.writeSync(done === 0 ? bytes : bytes.subarray(done), offsetBytes + done);
    if (count === 0) throw new Error("the disk takes no bytes");
    done += count;
  }
}

function segmentHeader(
  number: number,
  { nonce, firstLsn }: Pick<Segment, "nonce" | "firstLsn">,
): Uint8Array {
  const header = new Uint8Array(headerCopyBytes);
  const view = new DataView(header.buffer);
  view.setUint32(0, segmentMagic, true);
  view.setUint32(4, segmentFormat, true);
  setNumber(view, 8, number);
  setNumber(view, 16, firstLsn);
  view.setUint32(24, nonce, true);
  view.setUint32(28, crc32c(header.subarray(0, 28)), true);
  const both = new Uint8Array(segmentHeaderBytes);
  for (const position of headerCopiesAt) both.set(header, position);
  return both;
}
