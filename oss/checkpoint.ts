// Brings what is in the journal into the objects' files, so that the journal can begin anew. For a
// batch of objects, in this order:
//
//   1. an image of each object, as it is now
//   2. the bytes of its fills are synced, and a "confirm" says so; where a sync of the file has failed,
//      its bytes are written to it again before
//   3. the journal is synced: from here on a crash repeats the rest
//   4. its writes and cuts are carried out on its file
//   5. its checksums, unless an attribute has room for them, are written to a file with another name
//   6. both are synced, and the directories of new files
//   7. the checksums are published: the attribute is set, or the file beside gets its name; and the
//      files or directories are synced again
//   8. where a file beside takes the place of an attribute, that is taken away, and this synced
//
// As long as an object has the attribute, it counts: step 8 publishes what step 7 has prepared. An
// object with a checksum file keeps to that. Changes go on meanwhile: they are in newer records, and
// the images do not have them.

import type { Files, OpenFile } from "./files.ts";
import { forEachConcurrently } from "./concurrently.ts";
import { encodeChecksumAttribute } from "./checksum_attribute.ts";
import { encodeChecksumFile } from "./checksum_file.ts";
import { type Journal, writeAll } from "./journal.ts";
import type { ObjectDirectories } from "./object_directories.ts";
import type { ChecksumPlace, ObjectSnapshot, StoredObject } from "./stored_object.ts";
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
  const filled = images.filter(({ object, filledLsn }) => object.confirmedLsn < filledLsn);
  await forEachConcurrently(filled, limits.fileOperationsMax, ({ object, filledLsn }) => {
    return parts.confirm(object, filledLsn);
  });
  await journal.sync();
  const placed = images.map((image) => ({ ...image, place: placeOf(parts, image) }));
  await prepare(parts, placed);
  // Checksums must not come to stand beside a file whose entry is lost.
  await directories.makeAllDurable();
  await publish(parts, placed);
  for (const image of placed) image.object.applied(image);
}

type PlacedSnapshot = ObjectSnapshot & { readonly place: ChecksumPlace };

function placeOf(
  { directories }: CheckpointParts,
  { object, checksums }: ObjectSnapshot,
): ChecksumPlace {
  const isPossible = directories.usesAttributes && !object.refusesAttribute &&
    object.checksumsIn !== "file" && checksums.length <= limits.attributeChecksumsMax;
  return isPossible ? "attribute" : "file";
}

/** Everything is on disk, and nothing of it counts. */
async function prepare(parts: CheckpointParts, images: readonly PlacedSnapshot[]): Promise<void> {
  const written: StoredObject[] = [];
  const sums: OpenFile[] = [];
  try {
    for (const image of images) {
      if (await carryOut(parts, image)) written.push(image.object);
      if (image.place === "file") sums.push(writeChecksums(parts, image));
    }
    await syncAll(parts, written, sums);
  } finally {
    for (const sum of sums) sum.close();
  }
}

/**
 * When this has ended it lasts: a cut that a crash repeats must not meet bytes that were written
 * after it.
 */
async function publish(parts: CheckpointParts, images: readonly PlacedSnapshot[]): Promise<void> {
  const inAttributes = images.filter(({ place }) => place === "attribute");
  const inFiles = images.filter(({ place }) => place === "file");
  setAttributes(inAttributes);
  for (const { object, lsn } of inFiles) {
    parts.directories.publishChecksums(object.object);
    if (object.checksumsIn === "attribute") continue;
    object.checksumsIn = "file";
    object.publishedLsn = lsn;
  }
  await syncAll(parts, inAttributes.map(({ object }) => object), []);
  await parts.directories.makeAllDurable();
  const grown = inFiles.filter(({ object }) =>
    object.checksumsIn === "attribute" || object.mayKeepAttribute
  );
  for (const { object, lsn } of grown) {
    if (object.checksumsIn === "attribute") object.file!.setAttribute(undefined);
    object.checksumsIn = "file";
    object.mayKeepAttribute = true;
    object.publishedLsn = lsn;
  }
  await syncAll(parts, grown.map(({ object }) => object), []);
  for (const { object } of grown) object.mayKeepAttribute = false;
}

/** All that are taken, also where one is refused: no checkpoint for each of those. */
function setAttributes(images: readonly PlacedSnapshot[]): void {
  const refusals: unknown[] = [];
  for (const image of images) {
    try {
      setAttribute(image);
    } catch (error) {
      // The next checkpoint writes a file for it, or is told why not.
      image.object.refusesAttribute = true;
      refusals.push(error);
    }
  }
  if (refusals.length > 0) throw refusals[0];
}

function setAttribute({ object, lengthBytes, checksums, lsn }: PlacedSnapshot): void {
  const sums = { lengthBytes, checksums, appliedLsn: lsn };
  object.file!.setAttribute(encodeChecksumAttribute(object.object, sums));
  object.checksumsIn = "attribute";
  object.publishedLsn = lsn;
}

async function syncAll(
  { files, noteFailure }: CheckpointParts,
  written: readonly StoredObject[],
  sums: readonly OpenFile[],
): Promise<void> {
  if (written.length + sums.length === 0) return;
  const ended = Promise.withResolvers<void>();
  await Promise.all(written.map((object) => object.pauseSyncs(ended.promise)));
  try {
    await files.syncTogether([...written.map(({ file }) => file!), ...sums]);
  } catch (error) {
    // What was written here is written again the next time; what fills have written is not.
    for (const object of written) object.syncFailed(error);
    await noteFailure();
    throw error;
  } finally {
    ended.resolve();
  }
}

/** Tells whether there was something to do. May have been done before a crash. */
async function carryOut(
  { openFile }: CheckpointParts,
  { object, pending, lengthBytes }: ObjectSnapshot,
): Promise<boolean> {
  // Every object has one, and so nothing has a checksum file alone.
  const file = object.file ?? openFile(object);
  for (const change of pending) {
    // Again it would be undone first, and a crash then would repeat nothing of it.
    if (change.lsn <= object.publishedLsn) continue;
    if (change.kind === "cut") {
      if (object.fileBytes > change.lengthBytes) {
        await file.truncate(change.lengthBytes);
        object.fileBytes = change.lengthBytes;
      }
      continue;
    }
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
  return pending.length > 0;
}

/** Of one copy at a time, which does not wait. */
const copyBuffer = new Uint8Array(256 * 1024);

function copy(
  from: OpenFile,
  fromBytes: number,
  to: OpenFile,
  toBytes: number,
  lengthBytes: number,
): void {
  for (let done = 0; done < lengthBytes;) {
    const part = copyBuffer.subarray(0, lengthBytes - done);
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
