// What the reader of a journal makes of segments that are missing or none of its own, and of bytes
// that look like records.

import assert from "node:assert/strict";
import { Journal, segmentPath } from "../../../oss/journal.ts";
import { encodeRecordHead } from "../../../oss/journal_record.ts";
import { CrashDisk } from "../../support/crash_disk.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import {
  assertDamaged,
  checksums,
  contentOf,
  directory,
  extend,
  newDisk,
  newJournal,
  nonceOf,
  object,
  positionOf,
  read,
} from "./journal_on_disk.ts";

// ── segments that are missing, and others ──────────────────────────────────────────────────────

/** Its first segment is as a start leaves it, after others that are gone. */
async function runningJournal(disk: CrashDisk): Promise<Journal> {
  const journal = newJournal(disk, { nextLsn: 10, nextSegment: 4 });
  await journal.markBegin(10);
  extend(journal, 2);
  await journal.sync();
  return journal;
}

Deno.test("JournalReader reads a journal that goes on after a start", async () => {
  const disk = newDisk();
  await runningJournal(disk);
  assert.deepEqual((await read(disk)).lsns, [10, 11, 12]);
});

Deno.test("JournalReader refuses a journal without its first segment", async () => {
  const disk = newDisk();
  const journal = await runningJournal(disk);
  journal.beginSegment();
  extend(journal, 1);
  disk.removeSync(segmentPath(directory, 4));
  await assertDamaged(disk);
});

Deno.test("JournalReader takes confirmations of a start that did not get to a checkpoint", async () => {
  const disk = newDisk();
  const journal = newJournal(disk, { nextLsn: 10, nextSegment: 4 });
  journal.append({ kind: "confirm", object, position: 3 });
  assert.deepEqual((await read(disk)).lsns, [10]);
});

Deno.test("JournalReader refuses a journal without a later segment that had been synced", async () => {
  const disk = newDisk();
  const journal = await runningJournal(disk);
  for (let segment = 5; segment <= 6; segment++) {
    journal.beginSegment();
    extend(journal, 2);
    await journal.sync();
  }
  extend(journal, 1);
  disk.removeSync(segmentPath(directory, 5));
  await assertDamaged(disk);
});

Deno.test("JournalReader leaves out a segment behind one that a crash took", async () => {
  const disk = newDisk();
  const journal = await runningJournal(disk);
  for (let segment = 5; segment <= 6; segment++) {
    journal.beginSegment();
    extend(journal, 2);
  }
  disk.removeSync(segmentPath(directory, 5));
  const { lsns, nextLsn, unusedLsn } = await read(disk);
  assert.deepEqual(lsns, [10, 11, 12]);
  // Nothing else may ever have the number of a record that somebody might find.
  assert.deepEqual({ nextLsn, unusedLsn }, { nextLsn: 13, unusedLsn: 17 });
});

Deno.test("JournalReader leaves out a segment that came back after it was dropped", async () => {
  for (const hasSuccessor of [false, true]) {
    const disk = newDisk();
    const journal = await runningJournal(disk);
    const path = segmentPath(directory, 4);
    const old = contentOf(disk, path);
    const before = journal.beginSegment();
    extend(journal, 1);
    await journal.retire(before);
    await journal.removeRetired();
    extend(journal, 1);
    if (hasSuccessor) {
      journal.beginSegment();
      extend(journal, 1);
    }
    disk.create(path)!.writeSync(old, 0);
    const expected = [13, 14, 15, ...hasSuccessor ? [16] : []];
    assert.deepEqual((await read(disk)).lsns, expected);
  }
});

// ── bytes that look like records ───────────────────────────────────────────────────────────────

Deno.test("JournalReader takes no records of another segment's nonce", async () => {
  const other = newDisk();
  extend(newJournal(other, { nonceSeed: 2 }), 4);
  const records = contentOf(other, segmentPath(directory, 1)).slice(positionOf(2));
  const disk = newDisk();
  extend(newJournal(disk), 1);
  disk.open(segmentPath(directory, 1))!.writeSync(records, positionOf(2));
  assert.deepEqual((await read(disk)).lsns, [1]);
});

Deno.test("JournalReader believes what looks like a record in bytes of a client only with the nonce", async () => {
  for (const isForged of [false, true]) {
    const disk = newDisk();
    const journal = newJournal(disk);
    extend(journal, 1);
    const nonce = nonceOf(disk);
    const data = encodeRecordHead({ kind: "extend", object }, {
      ...{ lsn: 100, durableLsn: 99, nonce: isForged ? nonce : nonce ^ 1 },
    });
    const fields = { object, position: 0, lengthBytes: data.length };
    // With two checksums the bytes begin where a record may.
    journal.append({ kind: "write", ...fields, checksums }, data);
    // The record is torn, so its data is looked through.
    disk.corrupt(segmentPath(directory, 1), positionOf(2) + 20);
    if (isForged) await assertDamaged(disk);
    else assert.deepEqual((await read(disk)).lsns, [1]);
  }
});

Deno.test("JournalReader does not try to read records in bytes of a client", async () => {
  const disk = newDisk();
  const journal = newJournal(disk);
  extend(journal, 1);
  // As many beginnings of large records as there is room for.
  const begin = encodeRecordHead({ kind: "extend", object }, { lsn: 9, durableLsn: 8, nonce: 0 });
  new DataView(begin.buffer).setUint32(4, 1_000_000, true);
  const data = new Uint8Array(1_000_000);
  for (let start = 0; start < data.length; start += 8) data.set(begin.subarray(0, 8), start);
  const fields = { object, position: 0, lengthBytes: data.length };
  journal.append({ kind: "write", ...fields, checksums }, data);
  disk.corrupt(segmentPath(directory, 1), positionOf(2) + 20);
  let reads = 0;
  const open = disk.open.bind(disk);
  disk.open = (path) => {
    const file = open(path)!;
    const readSync = file.readSync.bind(file);
    file.readSync = (into, offsetBytes) => {
      reads++;
      return readSync(into, offsetBytes);
    };
    return file;
  };
  assert.deepEqual((await read(disk)).lsns, [1]);
  assert.ok(reads < 50, `${reads} reads`);
});

Deno.test("Journal.append() leaves no trace when it fails, and the next one takes its place", async () => {
  const disk = newDisk();
  const journal = newJournal(disk);
  extend(journal, 1);
  const data = new SeededRandom(3).bytes(5_000);
  const fields = { kind: "write", object, lengthBytes: 5_000, checksums } as const;
  for (let failure = 0; failure < 5; failure++) {
    disk.isFull = true;
    assert.throws(() => journal.append(fields, data), { code: "ENOSPC" });
    disk.isFull = false;
    assert.deepEqual((await read(disk)).lsns, [1]);
  }
  assert.equal(journal.append(fields, data).lsn, 2);
  extend(journal, 1);
  assert.deepEqual((await read(disk)).lsns, [1, 2, 3]);
});
