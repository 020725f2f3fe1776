// Reads the journal that an earlier run left. What was synced is whole; behind it a crash of the
// machine may have left anything, and may have brought back segments that were deleted.

import { crc32c } from "@node-rs/crc32";
import { RustreError } from "../shared/errors.ts";
import type { Files, OpenFile } from "./files.ts";
import {
  headerCopiesAt,
  headerCopyBytes,
  type Segment,
  segmentFormat,
  segmentHeaderBytes,
  segmentMagic,
  segmentNumberOf,
  segmentPath,
} from "./journal.ts";
import {
  claimedLength,
  type DecodedRecord,
  decodeRecord,
  getNumber,
  type JournalRecord,
  type Lsn,
  paddingBytes,
  recordAlignmentBytes,
  recordBytesMax,
  recordHeaderBytes,
  recordMagic,
} from "./journal_record.ts";

export interface FoundRecord {
  readonly lsn: Lsn;
  readonly record: JournalRecord;
  readonly segment: Segment;
}

export class JournalReader {
  /** What has happened, in order. */
  readonly records: readonly FoundRecord[];
  /** Where a journal goes on after these records. */
  readonly nextLsn: Lsn;
  /** Higher than that of anything that was found, also of what did not happen. */
  readonly unusedLsn: Lsn;
  /** Higher than that of any segment. */
  readonly nextSegment: number;
  readonly #files: Files;
  readonly #directory: string;
  #segments: readonly Segment[];
  readonly #paths: readonly string[];

  /**
   * Reads all of it. Throws STORE_FORMAT where records are damaged that had been on disk: what is
   * missing there was acknowledged.
   */
  static async open(files: Files, directory: string): Promise<JournalReader> {
    const names = await files.list(directory);
    const numbers = names.flatMap((name) => segmentNumberOf(name) ?? []).sort((a, b) => a - b);
    return new JournalReader(files, directory, numbers);
  }

  private constructor(files: Files, directory: string, numbers: readonly number[]) {
    this.#files = files;
    this.#directory = directory;
    this.#paths = numbers.map((number) => segmentPath(directory, number));
    this.nextSegment = (numbers.at(-1) ?? 0) + 1;
    const segments: Segment[] = [];
    this.#segments = segments;
    try {
      for (const number of numbers) {
        const segment = openSegment(files, directory, number);
        // One without a header holds nothing: a crash came before that was on disk.
        if (segment) segments.push(segment);
      }
      const found = segments.map(readSegment);
      const needed = neededFrom(found);
      this.records = inSequence(found, needed);
      this.nextLsn = Math.max(needed, (this.records.at(-1)?.lsn ?? 0) + 1);
      this.unusedLsn = Math.max(this.nextLsn, ...found.map(unusedAfter));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Whether there is nothing but a segment that says so. */
  get isEnded(): boolean {
    return this.#paths.length <= 1 && this.records.every(({ record: { kind } }) => {
      return kind === "checkpoint";
    });
  }

  /** All of it is on disk: a process that was killed may have left it in the system's cache. */
  async sync(): Promise<void> {
    for (const { file } of this.#segments) await file.sync();
    await this.#files.syncDirectory(this.#directory);
  }

  close(): void {
    for (const { file } of this.#segments) file.close();
    this.#segments = [];
  }

  /** Deletes all that was read. */
  async remove(): Promise<void> {
    this.close();
    for (const path of this.#paths) await this.#files.remove(path);
  }
}

interface ReadSegment {
  readonly segment: Segment;
  readonly records: readonly (FoundRecord & { readonly durableLsn: Lsn })[];
  /** Of whole records behind one that is not: what was on disk when they were written. */
  readonly laterDurableLsn: Lsn;
}

/**
 * The first record that is needed, as the last checkpoint has it. A start brings such a record to
 * disk before the first change: changes without one are what is left of a journal.
 */
function neededFrom(found: readonly ReadSegment[]): Lsn {
  const records = found.flatMap((each) => each.records);
  let needed = 0;
  for (const { record } of records) {
    if (record.kind === "checkpoint") needed = Math.max(needed, record.firstLsn);
  }
  if (needed > 0) return needed;
  const { segment } = found[0] ?? {};
  if (!segment || segment.firstLsn === 1) return 1;
  // A start that has not come to its end may have confirmed what other journals have.
  if (records.some(({ record }) => record.kind !== "confirm")) {
    throw damaged(segment, "the segment before it is gone");
  }
  return segment.firstLsn;
}

/** The first LSN that is in no segment up to this one. */
function unusedAfter({ segment, records }: ReadSegment): Lsn {
  return segment.firstLsn + records.length;
}

/**
 * The records from `needed` on, as far as none is missing. Segments that do not go on where the ones
 * before end are left out: what crashes have left of writes that nobody had synced.
 */
function inSequence(found: readonly ReadSegment[], needed: Lsn): FoundRecord[] {
  const records: FoundRecord[] = [];
  let nextLsn = needed;
  for (const each of found) {
    if (each.segment.firstLsn !== nextLsn) continue;
    records.push(...each.records);
    nextLsn += each.records.length;
  }
  for (const { segment, records: own, laterDurableLsn } of found) {
    const durableLsn = Math.max(laterDurableLsn, own.at(-1)?.durableLsn ?? 0);
    if (durableLsn >= nextLsn) throw damaged(segment);
  }
  return records;
}

type Header = Pick<Segment, "firstLsn" | "nonce">;

function openSegment(files: Files, directory: string, number: number): Segment | undefined {
  const path = segmentPath(directory, number);
  const file = files.open(path);
  if (!file) return undefined;
  let header: Header | undefined;
  try {
    for (const position of headerCopiesAt) header ??= readHeader({ file, path }, number, position);
    if (header) return { path, file, ...header, endBytes: segmentHeaderBytes };
  } finally {
    if (!header) file.close();
  }
  return undefined;
}

/** One copy, `undefined` where it is damaged or of another segment. Throws on another format. */
function readHeader(
  { file, path }: Pick<Segment, "file" | "path">,
  number: number,
  positionBytes: number,
): Header | undefined {
  const header = new Uint8Array(headerCopyBytes);
  if (!readFully(file, header, positionBytes)) return undefined;
  const view = new DataView(header.buffer);
  const isWhole = view.getUint32(0, true) === segmentMagic &&
    view.getUint32(28, true) === crc32c(header.subarray(0, 28));
  if (!isWhole) return undefined;
  const format = view.getUint32(4, true);
  if (format !== segmentFormat) {
    const reason = `it has format ${format}, this version knows only ${segmentFormat}`;
    throw new RustreError("STORE_FORMAT", `Cannot read the journal "${path}": ${reason}`);
  }
  if (getNumber(view, 8) !== number) return undefined;
  return { firstLsn: getNumber(view, 16), nonce: view.getUint32(24, true) };
}

function readSegment(segment: Segment): ReadSegment {
  const buffer = new Uint8Array(recordBytesMax);
  const records: ReadSegment["records"][number][] = [];
  for (let nextLsn = segment.firstLsn;; nextLsn++) {
    const found = readRecord(segment, segment.endBytes, buffer);
    if (found?.decoded.lsn !== nextLsn) break;
    segment.endBytes += found.takenBytes;
    records.push({ ...found.decoded, segment });
  }
  let laterDurableLsn = 0;
  for (const position of magicPositions(segment)) {
    const later = readRecord(segment, position, buffer);
    if (later) laterDurableLsn = Math.max(laterDurableLsn, later.decoded.durableLsn);
  }
  return { segment, records, laterDurableLsn };
}

const windowBytes = 256 * 1024;

/** Where records may begin, behind those that were read. */
function* magicPositions({ file, nonce, endBytes: start }: Segment): Generator<number> {
  const magic = recordMagic(nonce);
  const window = new Uint8Array(windowBytes);
  const view = new DataView(window.buffer);
  for (let position = start; position < file.lengthBytes; position += windowBytes) {
    window.fill(0);
    readFully(file, window, position);
    for (let offset = 0; offset < windowBytes; offset += recordAlignmentBytes) {
      if (view.getUint32(offset, true) === magic) yield position + offset;
    }
  }
}

function readRecord(
  { file, nonce }: Segment,
  positionBytes: number,
  buffer: Uint8Array,
): { decoded: DecodedRecord; takenBytes: number } | undefined {
  const head = buffer.subarray(0, recordHeaderBytes);
  if (!readFully(file, head, positionBytes)) return undefined;
  const length = claimedLength(head, nonce);
  if (length === undefined) return undefined;
  const bytes = buffer.subarray(0, length);
  if (!readFully(file, bytes, positionBytes)) return undefined;
  const decoded = decodeRecord(bytes, positionBytes, nonce);
  return decoded && { decoded, takenBytes: length + paddingBytes(length) };
}

/** Whether all the bytes were there. */
export function readFully(file: OpenFile, into: Uint8Array, offsetBytes: number): boolean {
  for (let done = 0; done < into.length;) {
    const count = file.readSync(done === 0 ? into : into.subarray(done), offsetBytes + done);
    if (count === 0) return false;
    done += count;
  }
  return true;
}

function damaged(
  { path, endBytes }: Segment,
  reason: string = `it is damaged at ${endBytes}`,
): RustreError {
  return new RustreError(
    "STORE_FORMAT",
    `Cannot read the journal "${path}": ${reason}, so changes that were acknowledged are ` +
      "missing; check its disk, and if it stays so, take the OST for lost",
  );
}
