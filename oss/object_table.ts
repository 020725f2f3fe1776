// The objects of a store: which exist, how many bytes they have in all, and those that are open.

import { blockBytes } from "../shared/checksums.ts";
import { isRustreError, messageOf } from "../shared/errors.ts";
import { parseObjectId } from "../shared/layout.ts";
import type { Logger } from "../shared/logging.ts";
import type { ObjectId } from "../shared/model.ts";
import { prefixOf } from "./file_names.ts";
import { codeOf, type OpenFile } from "./files.ts";
import type { Lsn } from "./journal_record.ts";
import { ObjectCache } from "./object_cache.ts";
import type { FilesOfObject, ObjectDirectories } from "./object_directories.ts";
import { StoredObject } from "./stored_object.ts";

/** In the place of a checksum that is lost: no bytes are right. */
const lostChecksum = 0xffff_ffff;

/** In the place of a length and an LSN that the disk cannot read. */
const unreadable = { lengthBytes: 0, appliedLsn: 0 };

/** An error of the disk, or of a file system that finds itself damaged, not of this process. */
function isUnreadable(error: unknown): boolean {
  return isRustreError(error, "EIO") || ["EIO", "EUCLEAN", "EBADMSG"].includes(codeOf(error));
}

export interface ObjectTableOptions {
  readonly directories: ObjectDirectories;
  /** Whether the objects of an inode are this store's. */
  readonly owns: (ino: number) => boolean;
  readonly targetIndex: number;
  readonly log: Logger;
  readonly openObjectsMax: number | undefined;
}

export class ObjectTable {
  readonly #options: ObjectTableOptions;
  readonly #cache: ObjectCache;
  /** Those that could not be read at the start: their bytes are not in the totals. */
  readonly #uncounted = new Set<ObjectId>();
  #usedBytes = 0;
  #objectCount = 0;

  constructor(options: ObjectTableOptions) {
    this.#options = options;
    this.#cache = new ObjectCache(options.openObjectsMax);
  }

  get totals(): { usedBytes: number; objects: number } {
    return { usedBytes: this.#usedBytes, objects: this.#objectCount };
  }

  /** Counts the objects that are there at the start; gives the highest LSN that any of them has. */
  async addUp(): Promise<Lsn> {
    const { directories, owns } = this.#options;
    let highestLsn = 0;
    for (const prefix of await directories.prefixes()) {
      for (const { object, ino } of await directories.list(prefix)) {
        const sums = owns(ino) ? this.#peek(object) : undefined;
        if (!sums) continue;
        if (sums === unreadable) this.#uncounted.add(object);
        const { lengthBytes, appliedLsn } = sums;
        highestLsn = Math.max(highestLsn, appliedLsn);
        this.#usedBytes += lengthBytes;
        this.#objectCount++;
      }
    }
    return highestLsn;
  }

  /** One that the disk cannot read is there, and no reason to do without all others. */
  #peek(object: ObjectId): { lengthBytes: number; appliedLsn: Lsn } | undefined {
    const { directories, targetIndex, log } = this.#options;
    try {
      return directories.peekChecksums(object);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      const fields = { object, targetIndex, reason: messageOf(error) };
      log.error("The checksums of an object cannot be read", fields);
      return unreadable;
    }
  }

  // ── open objects ─────────────────────────────────────────────────────────────────────────────

  /** Closes objects that nobody uses, if another is to be opened; tells whether there is room. */
  makeRoomFor(object: ObjectId): boolean {
    if (!this.#cache.full || this.#cache.peek(object)) return true;
    this.#cache.makeRoom();
    return !this.#cache.full;
  }

  /** The object for one more user, who releases it; it may not exist. One to "make" has a file. */
  use(object: ObjectId, how: "find" | "make" = "find"): StoredObject {
    const known = this.#cache.use(object);
    if (known) return known;
    const open = this.#load(object, how);
    this.#cache.add(open);
    return open;
  }

  release(open: StoredObject): void {
    this.#cache.release(open);
  }

  /** With its file, which a fill may have made. It stays open until {@link endRecovery}. */
  useForRecovery(object: ObjectId): StoredObject {
    const known = this.#cache.peek(object);
    if (known) return known;
    const open = this.use(object);
    open.file ??= this.#options.directories.open(object);
    open.fileBytes = open.file?.lengthBytes ?? 0;
    return open;
  }

  endRecovery(): void {
    for (const open of [...this.#cache]) {
      this.recount(open);
      this.release(open);
    }
    this.closeAll();
  }

  /** Objects that the journal is needed for. */
  dirty(): StoredObject[] {
    return [...this.#cache].filter((open) => open.exists && open.isDirty);
  }

  /** Of the objects that are open. */
  openFiles(): OpenFile[] {
    return [...this.#cache].flatMap(({ file }) => file ? [file] : []);
  }

  closeAll(): void {
    this.#cache.forgetAll();
  }

  /** The object as its files have it; one that does not exist where they have none. */
  #load(object: ObjectId, how: "find" | "make"): StoredObject {
    const { directories } = this.#options;
    const open = new StoredObject(object);
    // What can be made is not there: that costs less than to look for it first.
    open.file = how === "make" ? directories.create(object) : undefined;
    const isMade = open.file !== undefined;
    open.file ??= directories.open(object);
    open.fileBytes = open.file?.lengthBytes ?? 0;
    try {
      // One that has lost its bytes still has its checksums, and is no new object.
      if (isMade && !directories.seemsToHaveChecksumFile(object)) return open;
      return this.#restore(open);
    } catch (error) {
      open.closeFile();
      throw error;
    }
  }

  #restore(open: StoredObject): StoredObject {
    const { directories, targetIndex, log } = this.#options;
    const { object } = open;
    const found = directories.readChecksums(object, open.file);
    if (!found) return open;
    const { sums, place } = found;
    open.checksumsIn = place;
    if (sums !== "damaged") {
      open.countedBytes = sums.lengthBytes;
      open.restore(sums.lengthBytes, sums.checksums, sums.appliedLsn);
      if (this.#uncounted.delete(object)) this.#usedBytes += sums.lengthBytes;
      return open;
    }
    log.error("The checksums of an object are damaged", { object, targetIndex });
    const blocks = Math.ceil(open.fileBytes / blockBytes);
    open.countedBytes = this.#uncounted.delete(object)
      ? 0
      : directories.peekChecksums(object)?.lengthBytes;
    open.restore(open.fileBytes, new Uint32Array(blocks).fill(lostChecksum), 0);
    return open;
  }

  /** A file that is there and of which nobody knows holds what a crash has left. */
  openFile(open: StoredObject): OpenFile {
    const { directories } = this.#options;
    const file = directories.create(open.object) ?? directories.open(open.object);
    if (!file) throw new Error("its file came and went");
    open.file = file;
    open.fileBytes = file.lengthBytes;
    return file;
  }

  /** The totals have the object as it is now. */
  recount(open: StoredObject): void {
    const before = open.countedBytes;
    const now = open.exists ? open.lengthBytes : undefined;
    this.#usedBytes += (now ?? 0) - (before ?? 0);
    this.#objectCount += Number(now !== undefined) - Number(before !== undefined);
    open.countedBytes = now;
  }

  // ── all objects ──────────────────────────────────────────────────────────────────────────────

  /** See ObjectStore.list. */
  async list(
    after: ObjectId | undefined,
    limit: number,
    ino?: number,
  ): Promise<{ object: ObjectId; lengthBytes: number }[]> {
    const found: { object: ObjectId; lengthBytes: number }[] = [];
    const afterPrefix = after === undefined ? "" : prefixOfObject(after);
    // Those of a directory that only the journal has have no file there yet.
    const journaled = Map.groupBy(this.dirty(), ({ object }) => prefixOfObject(object));
    const all = new Set([...await this.#options.directories.prefixes(), ...journaled.keys()]);
    const prefixes = [...all].filter((each) => ino === undefined || each === prefixOf(ino));
    for (const prefix of prefixes.filter((each) => each >= afterPrefix).sort()) {
      const objects = new Set(journaled.get(prefix)?.map(({ object }) => object));
      for (const { object, ino } of await this.#options.directories.list(prefix)) {
        if (this.#options.owns(ino)) objects.add(object);
      }
      for (const object of [...objects].sort()) {
        if (prefix === afterPrefix && object <= (after ?? "")) continue;
        if (ino !== undefined && parseObjectId(object).ino !== ino) continue;
        const lengthBytes = this.#lengthOf(object);
        if (lengthBytes === undefined) continue;
        if (found.length >= limit) return found;
        found.push({ object, lengthBytes });
      }
    }
    return found;
  }

  /** `undefined` where it does not exist, as what a crash has left. */
  #lengthOf(object: ObjectId): number | undefined {
    const open = this.#cache.peek(object);
    if (open) return open.exists ? open.lengthBytes : undefined;
    return this.#peek(object)?.lengthBytes;
  }

  /** Forgets the open objects of some inodes, which exist no more; gives those that did. */
  forget(inodes: ReadonlySet<number>): Set<ObjectId> {
    const removed = new Set<ObjectId>();
    for (const open of [...this.#cache]) {
      if (!inodes.has(parseObjectId(open.object).ino)) continue;
      if (open.exists) removed.add(open.object);
      open.exists = false;
      this.recount(open);
      this.#cache.forget(open.object);
    }
    return removed;
  }

  /** Deletes the files of an object that is not open; adds it to `removed` where it existed. */
  async removeFiles(files: FilesOfObject, removed: Set<ObjectId>): Promise<void> {
    const { directories } = this.#options;
    const { object } = files;
    const sums = removed.has(object) ? undefined : this.#peek(object);
    await directories.remove(files);
    if (!sums || removed.has(object)) return;
    removed.add(object);
    if (!this.#uncounted.delete(object)) this.#usedBytes -= sums.lengthBytes;
    this.#objectCount--;
  }
}

export function prefixOfObject(object: ObjectId): string {
  return prefixOf(parseObjectId(object).ino);
}
