// Reads the journal that an earlier run left. What was synced is whole; behind it a crash of the
// machine may have left anything, and may have brought back segments that were deleted.

import { crc32c } from "@node-rs/crc32";
import { RustreError } from "../shared/errors.ts";
import type { Files, OpenFile } from "./files.ts";
import {
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
  recordBytesMax,
  recordHeaderBytes,
} from "./journal_record.ts";

export interface FoundRecord {
  readonly lsn: Lsn;
  readonly record: JournalRecord;
  readonly segment: Segment;
}

export class JournalReader {
  /** What has happened, in order. */
  readonly records: readonly FoundRecord[];
  /** Higher than that of any record. */
  readonly nextLsn: Lsn;
  /** Higher than that of any segment. */
  readonly nextSegment: number;
  readonly #files: Files;
  readonly #segments: readonly Segment[];
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
    this.#paths = numbers.map((number) => segmentPath(directory, number));
    this.nextSegment = (numbers.at(-1) ?? 0) + 1;
    // One without a header holds nothing: a crash came before that was on disk.
    this.#segments = numbers.flatMap((number) => openSegment(files, directory, number) ?? []);
    try {
      const found = this.#segments.map(readSegment);
      const needed = neededFrom(found);
      this.records = inSequence(found, needed);
      this.nextLsn = Math.max(needed, (this.records.at(-1)?.lsn ?? 0) + 1);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    for (const { file } of this.#segments) file.close();
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

/** The first record that is needed, as the last checkpoint has it. */
function neededFrom(found: readonly ReadSegment[]): Lsn {
  let needed = found[0]?.segment.firstLsn ?? 1;
  for (const { record } of found.flatMap(({ records }) => records)) {
    if (record.kind === "checkpoint") needed = Math.max(needed, record.firstLsn);
  }
  return needed;
}

/** The records from `needed` on, as far as none is missing. */
function inSequence(found: readonly ReadSegment[], needed: Lsn): FoundRecord[] {
  const records: FoundRecord[] = [];
  const needs = found.filter(({ segment }) => segment.firstLsn >= needed);
  let nextLsn = needed;
  for (const each of needs) {
    if (each.segment.firstLsn !== nextLsn) break;
    records.push(...each.records);
    nextLsn += each.records.length;
  }
  for (const { segment, records: own, laterDurableLsn } of needs) {
    const durableLsn = Math.max(laterDurableLsn, own.at(-1)?.durableLsn ?? 0);
    if (durableLsn >= nextLsn) throw damaged(segment);
  }
  return records;
}

function openSegment(files: Files, directory: string, number: number): Segment | undefined {
  const path = segmentPath(directory, number);
  const file = files.open(path);
  if (!file) return undefined;
  const header = readHeader(file, number);
  if (header) return { path, file, ...header, endBytes: segmentHeaderBytes };
  file.close();
  return undefined;
}

function readHeader(
  file: OpenFile,
  number: number,
): Pick<Segment, "firstLsn" | "nonce"> | undefined {
  const header = new Uint8Array(segmentHeaderBytes);
  if (!readFully(file, header, 0)) return undefined;
  const view = new DataView(header.buffer);
  if (view.getUint32(28, true) !== crc32c(header.subarray(0, 28))) return undefined;
  const isOurs = view.getUint32(0, true) === segmentMagic &&
    view.getUint32(4, true) === segmentFormat && getNumber(view, 8) === number;
  return isOurs ? { firstLsn: getNumber(view, 16), nonce: view.getUint32(24, true) } : undefined;
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
  for (let position = segment.endBytes; position < segment.file.lengthBytes; position += 8) {
    const later = readRecord(segment, position, buffer);
    if (later) laterDurableLsn = Math.max(laterDurableLsn, later.decoded.durableLsn);
  }
  return { segment, records, laterDurableLsn };
}

function readRecord(
  { file, nonce }: Segment,
  positionBytes: number,
  buffer: Uint8Array,
): { decoded: DecodedRecord; takenBytes: number } | undefined {
  const head = buffer.subarray(0, recordHeaderBytes);
  if (!readFully(file, head, positionBytes)) return undefined;
  const length = claimedLength(head);
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

function damaged({ path, endBytes }: Segment): RustreError {
  return new RustreError(
    "STORE_FORMAT",
    `Cannot read the journal "${path}": it is damaged at ${endBytes}, so changes that were ` +
      "acknowledged are missing; give the OST an empty directory",
  );
}
