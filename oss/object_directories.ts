// The directories of a file store: opens, makes, lists and removes the files of objects, and knows
// whether what was made and removed in each directory is on disk.

import type { ObjectId } from "../shared/model.ts";
import { parseObjectId } from "../shared/layout.ts";
import { RustreError } from "../shared/errors.ts";
import {
  type ChecksumFile,
  checksumHeaderBytes,
  decodeChecksumFile,
  peekChecksumFile,
} from "./checksum_file.ts";
import {
  checksumsSuffix,
  draftSuffix,
  fileNameOf,
  isPrefix,
  objectOfFile,
  prefixOf,
} from "./file_names.ts";
import { codeOf, type Files, type OpenFile } from "./files.ts";
import { readFully } from "./journal_reader.ts";
import { forEachConcurrently } from "./concurrently.ts";
import { DurableDirectory, SharedSync } from "./shared_sync.ts";
import { limits } from "../shared/limits.ts";

export class ObjectDirectories {
  readonly #files: Files;
  /** The directory of all prefixes. */
  readonly #root: string;
  readonly #rootSync: SharedSync;
  /** By prefix; there are at most 4,096. */
  readonly #entries = new Map<string, DurableDirectory>();
  /** Prefixes whose directories are on disk, whichever shard or process made them. */
  readonly #durablePrefixes = new Set<string>();

  constructor(files: Files, root: string) {
    this.#files = files;
    this.#root = root;
    this.#rootSync = new SharedSync(() => files.syncDirectory(root));
  }

  /** The file of an object; `undefined` where there is none. */
  open(object: ObjectId): OpenFile | undefined {
    return this.#files.open(this.#pathOf(object));
  }

  /** Makes the file of an object; `undefined` where there is one. */
  create(object: ObjectId): OpenFile | undefined {
    const prefix = prefixOf(parseObjectId(object).ino);
    const file = this.#createIn(prefix, this.#pathOf(object));
    if (file) this.#entriesOf(prefix).changed();
    return file;
  }

  #createIn(prefix: string, path: string): OpenFile | undefined {
    try {
      return this.#files.create(path);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
    this.#files.makeDirectory(`${this.#root}/${prefix}`);
    return this.#files.create(path);
  }

  /**
   * What the file beside an object's has. `undefined` where there is none, "damaged" where it is not
   * what was written.
   */
  readChecksums(object: ObjectId): ChecksumFile | "damaged" | undefined {
    const file = this.#files.open(this.#pathOf(object) + checksumsSuffix);
    if (!file) return undefined;
    try {
      const bytes = new Uint8Array(file.lengthBytes);
      if (!readFully(file, bytes, 0)) return "damaged";
      return decodeChecksumFile(object, bytes) ?? "damaged";
    } finally {
      file.close();
    }
  }

  /** What the header of that file says, unchecked: to look at very many. */
  peekChecksums(object: ObjectId): { lengthBytes: number; appliedLsn: number } {
    const file = this.#files.open(this.#pathOf(object) + checksumsSuffix);
    if (!file) return { lengthBytes: 0, appliedLsn: 0 };
    try {
      const header = new Uint8Array(checksumHeaderBytes);
      readFully(file, header, 0);
      return peekChecksumFile(header);
    } finally {
      file.close();
    }
  }

  /** A file for checksums, empty, that is not in force before it is published. */
  createChecksums(object: ObjectId): OpenFile {
    const prefix = prefixOf(parseObjectId(object).ino);
    const path = this.#pathOf(object) + checksumsSuffix + draftSuffix;
    // What a crash left is in the way.
    const file = this.#createIn(prefix, path) ?? this.#createAgain(path);
    if (file) return file;
    throw new RustreError("EIO", `Cannot create "${path}": another process has just made it`);
  }

  #createAgain(path: string): OpenFile | undefined {
    this.#files.removeSync(path);
    return this.#files.create(path);
  }

  /** Puts the checksums that were written last in force. */
  publishChecksums(object: ObjectId): void {
    const path = this.#pathOf(object) + checksumsSuffix;
    this.#files.rename(path + draftSuffix, path);
    this.#entriesOf(prefixOf(parseObjectId(object).ino)).changed();
  }

  /** Deletes the files of an object; tells whether it had checksums, that is, existed. */
  async remove(object: ObjectId): Promise<boolean> {
    const path = this.#pathOf(object);
    await this.#files.remove(path);
    await this.#files.remove(path + checksumsSuffix + draftSuffix);
    const existed = await this.#files.remove(path + checksumsSuffix);
    this.#entriesOf(prefixOf(parseObjectId(object).ino)).changed();
    return existed;
  }

  /** An earlier process may have changed the entries of an inode's directory and not synced them. */
  suspect(ino: number): void {
    this.#entriesOf(prefixOf(ino)).changed();
  }

  /** Every prefix that has a directory. */
  async prefixes(): Promise<string[]> {
    return (await this.#files.list(this.#root)).filter(isPrefix);
  }

  /**
   * The objects that have files in a prefix's directory, in order of their ids, and which of their
   * files they have. Other files there are none of ours.
   */
  async list(prefix: string): Promise<{ object: ObjectId; ino: number; exists: boolean }[]> {
    const found = new Map<ObjectId, { object: ObjectId; ino: number; exists: boolean }>();
    for (const name of await this.#files.list(`${this.#root}/${prefix}`)) {
      const file = objectOfFile(name);
      if (!file) continue;
      const { object, ino } = file;
      const exists = file.what === "checksums" || found.get(object)?.exists === true;
      found.set(object, { object, ino, exists });
    }
    return [...found.values()].sort((a, b) => a.object < b.object ? -1 : 1);
  }

  /** What was made, renamed and removed so far is on disk when this resolves. */
  async makeAllDurable(): Promise<void> {
    const prefixes = [...this.#entries].filter(([_prefix, entries]) => !entries.isDurable);
    await forEachConcurrently(prefixes, limits.fileOperationsMax, ([prefix]) => {
      return this.makeDurable(prefix);
    });
  }

  /** What was made and removed in a prefix's directory so far is on disk when this resolves. */
  async makeDurable(prefix: string): Promise<void> {
    const isDurable = this.#durablePrefixes.has(prefix);
    if (!isDurable && this.#files.lengthOf(`${this.#root}/${prefix}`) === undefined) return;
    await this.#entriesOf(prefix).makeDurable();
    if (isDurable) return;
    await this.#rootSync.request();
    this.#durablePrefixes.add(prefix);
  }

  #entriesOf(prefix: string): DurableDirectory {
    let entries = this.#entries.get(prefix);
    if (!entries) {
      const path = `${this.#root}/${prefix}`;
      entries = new DurableDirectory(() => this.#files.syncDirectory(path));
      this.#entries.set(prefix, entries);
    }
    return entries;
  }

  #pathOf(object: ObjectId): string {
    return `${this.#root}/${prefixOf(parseObjectId(object).ino)}/${fileNameOf(object)}`;
  }
}
