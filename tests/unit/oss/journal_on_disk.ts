// A journal on a disk in memory, and what its reader finds there: for the tests of both.

import assert from "node:assert/strict";
import { Journal, segmentHeaderBytes, segmentPath } from "../../../oss/journal.ts";
import { type FoundRecord, JournalReader } from "../../../oss/journal_reader.ts";
import { recordHeaderBytes } from "../../../oss/journal_record.ts";
import { objectId } from "../../../shared/layout.ts";
import { CrashDisk } from "../../support/crash_disk.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

export const directory = "/journal";
export const object = objectId(0x1_0000_0002, 3);
/** Two: what follows them in a record begins where another record might. */
export const checksums = Uint32Array.of(0x0102_0304, 0xa0b0_c0d0);

export function newDisk(): CrashDisk {
  return new CrashDisk(new SeededRandom(1), directory);
}

export function newJournal(
  disk: CrashDisk,
  { nextLsn = 1, nextSegment = 1, nonceSeed = 1 } = {},
): Journal {
  const random = new SeededRandom(nonceSeed);
  return new Journal({ files: disk, directory, random, nextLsn, nextSegment });
}

/** Appends records of which each takes just its header. */
export function extend(journal: Journal, count: number): void {
  for (let index = 0; index < count; index++) journal.append({ kind: "extend", object });
}

/** Where the record with that number of a segment is, where all before are as short as that. */
export function positionOf(number: number): number {
  return segmentHeaderBytes + (number - 1) * recordHeaderBytes;
}

export interface Found {
  readonly reader: JournalReader;
  readonly records: readonly FoundRecord[];
  readonly lsns: number[];
  readonly nextLsn: number;
  readonly unusedLsn: number;
  readonly nextSegment: number;
}

export async function read(disk: CrashDisk): Promise<Found> {
  const reader = await JournalReader.open(disk, directory);
  const { records, nextLsn, unusedLsn, nextSegment } = reader;
  const lsns = records.map(({ lsn }) => lsn);
  return { reader, records, lsns, nextLsn, unusedLsn, nextSegment };
}

export function pick({ nextLsn, nextSegment }: Found) {
  return { nextLsn, nextSegment };
}

export async function assertDamaged(disk: CrashDisk): Promise<void> {
  await assert.rejects(() => JournalReader.open(disk, directory), {
    code: "STORE_FORMAT",
    message: /^Cannot read the journal "\/journal\/0{15}[0-9]": /,
  });
}

export function nonceOf(disk: CrashDisk): number {
  const bytes = contentOf(disk, segmentPath(directory, 1));
  return new DataView(bytes.buffer).getUint32(24, true);
}

export function contentOf(disk: CrashDisk, path: string): Uint8Array<ArrayBuffer> {
  const file = disk.open(path)!;
  const bytes = new Uint8Array(file.lengthBytes);
  file.readSync(bytes, 0);
  return bytes;
}

export function withBitFlipped(bytes: Uint8Array, bit: number): Uint8Array {
  const other = bytes.slice();
  other[bit >> 3]! ^= 1 << (bit & 7);
  return other;
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.fromHex(hex.replaceAll(" ", ""));
}
