// Brings what is in the journal into the objects' files, so that the journal can begin anew. For a
// batch of objects, in this order:
//
//   1. an image of each object, as it is now
//   2. the bytes of its fills are synced, and a "confirm" says so
//   3. the journal is synced: from here on a crash repeats the rest
//   4. its writes and cuts are carried out on its file
//   5. its checksum file is written under another name
//   6. both are synced, and the directories of new files
//   7. the checksum file gets its name, and the directories are synced again
//
// Changes go on meanwhile: they are in newer records, and the images do not have them.

import type { Files, OpenFile } from "./files.ts";
import { forEachConcurrently } from "./concurrently.ts";
import { encodeChecksumFile } from "./checksum_file.ts";
import { type Journal, writeAll } from "./journal.ts";
import type { ObjectDirectories } from "./object_directories.ts";
import type { ObjectSnapshot, StoredObject } from "./stored_object.ts";
import { limits } from "../shared/limits.ts";

export interface CheckpointParts {
  readonly files: Files;
  readonly directories: ObjectDirectories;
  readonly journal: Journal;
  /** Opens the file of an object that has none yet, making it where it does not exist. */
  openFile(object: StoredObject): OpenFile;
  /** Steps 2 and 3 for one object: its fills up to `filledLsn` are on disk, and a record says so. */
  confirm(object: StoredObject, filledLsn: number): Promise<void>;
  /** Is told when any other sync has failed. */
  noteFailure(): Promise<void>;
}

/** Brings these objects, which somebody uses, to disk as they are now. */
export async function checkpointObjects(
  parts: CheckpointParts,
  objects: readonly StoredObject[],
): Promise<void> {
  const { journal, directories } = parts;
  const images = objects.filter((each) => each.isDirty).map((each) => each.snapshot());
  if (images.length === 0) return;
  await forEachConcurrently(images, limits.fileOperationsMax, ({ object, filledLsn }) => {
    return parts.confirm(object, filledLsn);
  });
  await journal.sync();
  const written: StoredObject[] = [];
  const sums: OpenFile[] = [];
  try {
    for (const image of images) {
      if (await carryOut(parts, image)) written.push(image.object);
      sums.push(writeChecksums(parts, image));
    }
    await syncAll(parts, written, sums);
  } finally {
    for (const sum of sums) sum.close();
  }
  // Checksums must not come to stand beside a file whose entry is lost.
  await directories.makeAllDurable();
  for (const { object } of images) directories.publishChecksums(object.object);
  // A cut that a crash repeats must not meet bytes that were written after it.
  await directories.makeAllDurable();
  for (const image of images) image.object.applied(image);
}

async function syncAll(
  { files, noteFailure }: CheckpointParts,
  written: readonly StoredObject[],
  sums: readonly OpenFile[],
): Promise<void> {
  try {
    await files.syncTogether([...written.map(({ file }) => file!), ...sums]);
  } catch (error) {
    // What was written here is written again the next time; what fills have written is not.
    for (const object of written) object.syncFailed(error);
    await noteFailure();
    throw error;
  }
}

/** Tells whether there was something to do. May have been done before a crash. */
async function carryOut(
  { openFile }: CheckpointParts,
  { object, pending, lengthBytes }: ObjectSnapshot,
): Promise<boolean> {
  for (const change of pending) {
    if (change.kind === "cut") {
      if (object.file && object.fileBytes > change.lengthBytes) {
        await object.file.truncate(change.lengthBytes);
        object.fileBytes = change.lengthBytes;
      }
      continue;
    }
    const file = object.file ?? openFile(object);
    const { segment, positionBytes, lengthBytes: writtenBytes } = change.bytes;
    // A block is written whole where something may be behind the object's end, else up to it.
    const isClean = object.fileBytes <= lengthBytes;
    const end = change.offsetBytes + writtenBytes;
    const keptEnd = isClean ? Math.min(end, lengthBytes) : end;
    const copied = Math.max(0, keptEnd - change.offsetBytes);
    // Before the first byte: a copy that fails half-way leaves some, which a cut must find.
    object.fileBytes = Math.max(object.fileBytes, keptEnd);
    copy(segment.file, positionBytes, file, change.offsetBytes, copied);
  }
  return pending.length > 0 && object.file !== undefined;
}

const copyBytesMax = 256 * 1024;

function copy(
  from: OpenFile,
  fromBytes: number,
  to: OpenFile,
  toBytes: number,
  lengthBytes: number,
): void {
  const buffer = new Uint8Array(Math.min(lengthBytes, copyBytesMax));
  for (let done = 0; done < lengthBytes;) {
    const part = buffer.subarray(0, lengthBytes - done);
    const count = from.readSync(part, fromBytes + done);
    if (count === 0) throw new Error("the journal has lost bytes");
    writeAll(to, part.subarray(0, count), toBytes + done);
    done += count;
  }
}

function writeChecksums(
  { directories }: CheckpointParts,
  { object, lengthBytes, checksums, lsn }: ObjectSnapshot,
): OpenFile {
  const file = directories.createChecksums(object.object);
  try {
    const sums = { lengthBytes, checksums, appliedLsn: lsn };
    writeAll(file, encodeChecksumFile(object.object, sums), 0);
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}
