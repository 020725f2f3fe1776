// The journal down to the byte: what a record and a segment look like, and what the reader makes of
// torn and decayed ones. journal_damage_test.ts has segments that are missing, and forged records.
// Whoever changes a golden byte changes the format on disk: that needs a new format number.

import assert from "node:assert/strict";
import { crc32c } from "@node-rs/crc32";
import {
  headerCopiesAt,
  headerCopyBytes,
  Journal,
  segmentHeaderBytes,
  segmentPath,
} from "../../../oss/journal.ts";
import { JournalReader } from "../../../oss/journal_reader.ts";
import {
  decodeRecord,
  encodeRecordHead,
  type JournalRecord,
  noObject,
  type RecordFields,
  recordHeaderBytes,
} from "../../../oss/journal_record.ts";
import type { Random } from "../../../shared/environment.ts";
import { objectId } from "../../../shared/layout.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import {
  assertDamaged,
  bytesOf,
  checksums,
  contentOf,
  directory,
  extend,
  hexOf,
  newDisk,
  newJournal,
  object,
  pick,
  positionOf,
  read,
  withBitFlipped,
} from "./journal_on_disk.ts";

// ── golden bytes ───────────────────────────────────────────────────────────────────────────────

const stamp = { lsn: 0x01_0203_0405, durableLsn: 0x01_0203_0404, nonce: 0x1122_3344 };
const lengthBytes = 0x2_0000_0001;

interface GoldenRecord {
  readonly fields: RecordFields;
  readonly data?: Uint8Array;
  readonly record: JournalRecord;
  readonly hex: string;
}

/** LSN, durable LSN, inode and number of the object, as they are in most of them. */
const usualHex = "0504030201000000 0404030201000000 0200000001000000 03000000";

const goldenRecords: readonly GoldenRecord[] = [
  {
    fields: { kind: "write", object, position: 8192, lengthBytes, checksums, fillerBytes: 2 },
    data: Uint8Array.of(0x00, 0x7f, 0x80, 0x00, 0x00),
    record: {
      ...{ kind: "write", object, offsetBytes: 8192, lengthBytes, checksums, fillerBytes: 2 },
      data: { positionBytes: 1072, lengthBytes: 5 },
    },
    hex: `16606843 4d000000 7040e40e 00 00 0200 ${usualHex} 02000000` +
      "0020000000000000 0100000002000000 04030201 d0c0b0a0 007f800000",
  },
  {
    fields: { kind: "fill", object, position: 8192, lengthBytes, checksums },
    record: { kind: "fill", object, offsetBytes: 8192, lengthBytes, checksums },
    hex: `16606843 48000000 d9088c3f 01 00 0000 ${usualHex} 02000000` +
      "0020000000000000 0100000002000000 04030201 d0c0b0a0",
  },
  {
    fields: { kind: "confirm", object, position: 0x01_0203_0403 },
    record: { kind: "confirm", object, filledLsn: 0x01_0203_0403 },
    hex: `16606843 40000000 407a452b 02 00 0000 ${usualHex} 00000000` +
      "0304030201000000 0000000000000000",
  },
  {
    fields: { kind: "cut", object, lengthBytes: 5, checksums: checksums.slice(0, 1) },
    record: { kind: "cut", object, lengthBytes: 5, checksums: checksums.slice(0, 1) },
    hex: `16606843 44000000 8ac869a7 03 00 0000 ${usualHex} 01000000` +
      "0000000000000000 0500000000000000 04030201",
  },
  {
    fields: { kind: "extend", object, lengthBytes: 5 },
    record: { kind: "extend", object, lengthBytes: 5, checksums: new Uint32Array(0) },
    hex: `16606843 40000000 d39cc5b0 04 00 0000 ${usualHex} 00000000` +
      "0000000000000000 0500000000000000",
  },
  {
    fields: { kind: "remove", object: objectId(0x1_0000_0002, 0) },
    record: { kind: "remove", object: objectId(0x1_0000_0002, 0) },
    hex: "16606843 40000000 50a6b6b7 05 00 0000 0504030201000000 0404030201000000" +
      "0200000001000000 00000000 00000000 0000000000000000 0000000000000000",
  },
  {
    fields: { kind: "checkpoint", object: noObject, position: 0x01_0203_0402 },
    record: { kind: "checkpoint", firstLsn: 0x01_0203_0402 },
    hex: "16606843 40000000 fe83e86c 06 00 0000 0504030201000000 0404030201000000" +
      "0100000000000000 00000000 00000000 0204030201000000 0000000000000000",
  },
];

const goldenHeader = "52534a4c 02000000 0700000000000000 0504030201000000 44332211 f382a1dc";

for (const { fields, data, record, hex } of goldenRecords) {
  Deno.test(`a "${record.kind}" record has these bytes`, () => {
    const head = encodeRecordHead(fields, stamp, data);
    const bytes = Uint8Array.of(...head, ...data ?? []);
    assert.equal(hexOf(bytes), hex.replaceAll(" ", ""));
    const { lsn, durableLsn, nonce } = stamp;
    assert.deepEqual(decodeRecord(bytes, 1000, nonce), { lsn, durableLsn, record });
  });
}

Deno.test("a record with any other bit, or another nonce, is none", () => {
  for (const { hex } of goldenRecords) {
    const bytes = bytesOf(hex);
    assert.equal(decodeRecord(bytes, 0, stamp.nonce + 1), undefined);
    // What comes before the CRC says where the record ends, which the reader looks at.
    for (let bit = 8 * 8; bit < 8 * bytes.length; bit++) {
      const other = withBitFlipped(bytes, bit);
      assert.equal(decodeRecord(other, 0, stamp.nonce), undefined, `bit ${bit}`);
    }
  }
});

Deno.test("a segment begins with two headers, and records follow in steps of 8 bytes", () => {
  const disk = newDisk();
  const random: Random = {
    bytes: () => Uint8Array.of(0x44, 0x33, 0x22, 0x11),
    below: () => 0,
  };
  const journal = new Journal({
    ...{ files: disk, directory, random, nextLsn: stamp.lsn, nextSegment: 7 },
  });
  const [write] = goldenRecords;
  const { bytes } = journal.append(write!.fields, write!.data);
  const path = `${directory}/0000000000000007`;
  assert.deepEqual(disk.paths(), [path]);
  assert.equal(bytes.positionBytes, segmentHeaderBytes + recordHeaderBytes + 2 * 4);
  journal.append(goldenRecords[4]!.fields);
  const hex = hexOf(contentOf(disk, path));
  const header = goldenHeader.replaceAll(" ", "");
  const record = write!.hex.replaceAll(" ", "");
  assert.equal(hex.slice(0, 2 * 32), header);
  assert.match(hex.slice(2 * 32, 2 * 4096), /^0+$/);
  assert.equal(hex.slice(2 * 4096, 2 * 4128), header);
  const records = hex.slice(2 * 4128);
  assert.equal(records.slice(0, 2 * 77), record);
  assert.equal(records.slice(2 * 77, 2 * (80 + 4)), "000000" + "16606843");
  assert.equal(records.length, 2 * (80 + 64));
});

// ── reading ────────────────────────────────────────────────────────────────────────────────────

Deno.test("JournalReader reads what was written, in order, over segments", async () => {
  const disk = newDisk();
  const journal = newJournal(disk);
  extend(journal, 3);
  journal.beginSegment();
  const data = new SeededRandom(1).bytes(100_001);
  const fields = { object, position: 4096, lengthBytes: 104_097, fillerBytes: 7 };
  journal.append({ kind: "write", ...fields, checksums }, data);
  extend(journal, 1);
  const reader = await read(disk);
  assert.deepEqual(reader.lsns, [1, 2, 3, 4, 5]);
  const { segment, record } = reader.records[3]!;
  assert.equal(record.kind, "write");
  assert.ok(record.kind === "write");
  const found = new Uint8Array(record.data.lengthBytes);
  segment.file.readSync(found, record.data.positionBytes);
  assert.equal(Buffer.compare(found, data), 0);
  assert.deepEqual({ nextLsn: 6, nextSegment: 3 }, pick(reader));
});

Deno.test("JournalReader finds nothing in an empty directory", async () => {
  const { lsns, nextLsn, nextSegment } = await read(newDisk());
  assert.deepEqual({ lsns, nextLsn, nextSegment }, { lsns: [], nextLsn: 1, nextSegment: 1 });
});

Deno.test("JournalReader leaves out a last record that is torn at any byte", async () => {
  for (let lost = 1; lost <= recordHeaderBytes; lost++) {
    const disk = newDisk();
    const journal = newJournal(disk);
    extend(journal, 2);
    await journal.sync();
    extend(journal, 1);
    const file = disk.open(segmentPath(directory, 1))!;
    await file.truncate(file.lengthBytes - lost);
    const { lsns, nextLsn, unusedLsn } = await read(disk);
    assert.deepEqual({ lsns, nextLsn, unusedLsn }, { lsns: [1, 2], nextLsn: 3, unusedLsn: 3 });
  }
});

Deno.test("JournalReader leaves out what nobody synced from the first bad record on", async () => {
  for (let byte = 0; byte < recordHeaderBytes; byte++) {
    const disk = newDisk();
    const journal = newJournal(disk);
    extend(journal, 1);
    await journal.sync();
    extend(journal, 3);
    disk.corrupt(segmentPath(directory, 1), positionOf(2) + byte);
    assert.deepEqual((await read(disk)).lsns, [1], `byte ${byte}`);
  }
});

Deno.test("JournalReader refuses a journal with a changed byte where it had been synced", async () => {
  for (let byte = 0; byte < 2 * recordHeaderBytes; byte++) {
    const disk = newDisk();
    const journal = newJournal(disk);
    extend(journal, 3);
    await journal.sync();
    extend(journal, 1);
    disk.corrupt(segmentPath(directory, 1), positionOf(2) + byte);
    await assertDamaged(disk);
  }
});

Deno.test("JournalReader refuses a journal that was cut short where it had been synced", async () => {
  const disk = newDisk();
  const journal = newJournal(disk);
  extend(journal, 3);
  await journal.sync();
  journal.beginSegment();
  extend(journal, 1);
  await disk.open(segmentPath(directory, 1))!.truncate(positionOf(3));
  await assertDamaged(disk);
});

// ── headers ────────────────────────────────────────────────────────────────────────────────────

/** Of a disk: what it damages at once. */
const diskBlockBytes = 4096;

Deno.test("JournalReader needs one header of the two that a segment has", async () => {
  for (const copyAt of headerCopiesAt) {
    for (let byte = copyAt; byte < copyAt + headerCopyBytes; byte++) {
      const disk = newDisk();
      extend(newJournal(disk), 2);
      disk.corrupt(segmentPath(directory, 1), byte);
      assert.deepEqual((await read(disk)).lsns, [1, 2], `byte ${byte}`);
    }
  }
});

Deno.test("JournalReader loses no synced record silently with any one block of the disk", async () => {
  for (let block = 0; block < 4; block++) {
    const disk = newDisk();
    const journal = newJournal(disk);
    extend(journal, 150);
    await journal.sync();
    extend(journal, 1);
    const file = disk.open(segmentPath(directory, 1))!;
    assert.ok(file.lengthBytes > 3 * diskBlockBytes, "fewer blocks than are damaged here");
    const start = block * diskBlockBytes;
    const damaged = new Uint8Array(Math.min(diskBlockBytes, file.lengthBytes - start));
    file.writeSync(damaged, start);
    if (block === 0) assert.equal((await read(disk)).lsns.length, 151);
    // The last one is the end of the journal: nothing behind it tells that it was on disk.
    else if (block < 3) await assertDamaged(disk);
  }
});

Deno.test("JournalReader refuses a segment of another format", async () => {
  const disk = newDisk();
  const journal = newJournal(disk);
  extend(journal, 1);
  journal.beginSegment();
  const path = segmentPath(directory, 2);
  const file = disk.open(path)!;
  const header = contentOf(disk, path).slice(0, headerCopyBytes);
  const view = new DataView(header.buffer);
  view.setUint32(4, 1, true);
  view.setUint32(28, crc32c(header.subarray(0, 28)), true);
  file.writeSync(header, 0);
  await assert.rejects(() => JournalReader.open(disk, directory), {
    code: "STORE_FORMAT",
    message: `Cannot read the journal "${path}": it has format 1, this version knows only 2`,
  });
});

Deno.test("JournalReader takes a segment without a header for one that never was", async () => {
  for (const length of [0, 1, 31, 40, 4096, 4127, 4128, 5000]) {
    const disk = newDisk();
    extend(newJournal(disk), 2);
    const path = segmentPath(directory, 2);
    // A crash has kept the length of what was written, and not the bytes.
    disk.create(path)!.writeSync(new Uint8Array(length), 0);
    const reader = await read(disk);
    assert.deepEqual(reader.lsns, [1, 2]);
    assert.deepEqual(pick(reader), { nextLsn: 3, nextSegment: 3 });
    await reader.reader.remove();
    assert.deepEqual(disk.paths(), [], "it was left");
  }
});

Deno.test("JournalReader does not take a header for that of another segment's file", async () => {
  const disk = newDisk();
  extend(newJournal(disk), 2);
  disk.rename(segmentPath(directory, 1), segmentPath(directory, 2));
  assert.deepEqual((await read(disk)).lsns, []);
});
