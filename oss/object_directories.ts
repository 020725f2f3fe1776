// The directories of a file store: opens, makes, lists and removes the files of objects, and knows
// whether what was made and removed in each directory is on disk.

import type { ObjectId } from "../shared/model.ts";
import { parseObjectId } from "../shared/layout.ts";
import { RustreError } from "../shared/errors.ts";
import { decodeChecksumAttribute } from "./checksum_attribute.ts";
import {
  type ChecksumFile,
  checksumHeaderBytes,
  decodeChecksumFile,
  peekChecksumFile,
} from "./checksum_file.ts";
import {
  checksumsSuffix,
  draftSuffix,
  type FileKind,
  fileNameOf,
  isPrefix,
  objectOfFile,
  prefixOf,
} from "./file_names.ts";
import { codeOf, type Files, type OpenFile } from "./files.ts";
import { readFully } from "./journal_reader.ts";
import { forEachConcurrently } from "./concurrently.ts";
import { DurableDirectory, SharedSync } from "./shared_sync.ts";
import type { ChecksumPlace } from "./stored_object.ts";
import { limits } from "../shared/limits.ts";

/** Of the files of an object: what makes it exist goes last. */
const suffixes: readonly [FileKind, string][] = [
  ["bytes", ""],
  ["draft", checksumsSuffix + draftSuffix],
  ["checksums", checksumsSuffix],
];

/** In the place of checksums that are damaged. */
const unknownSums = { lengthBytes: 0, appliedLsn: 0 };

/** An object that has files, and which. */
export interface FilesOfObject {
  readonly object: ObjectId;
  readonly ino: number;
  readonly kinds: ReadonlySet<FileKind>;
}

/** What is kept of an object beside its bytes, and where; "damaged" if it is not what was written. */
export interface FoundChecksums {
  readonly place: ChecksumPlace;
  readonly sums: ChecksumFile | "damaged";
}

export class ObjectDirectories {
  /** Whether small objects have their checksums in attributes; before the store is used. */
  usesAttributes = false;
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

  /** Whether an object seems to have a checksum file: see Files.seems. */
  seemsToHaveChecksumFile(object: ObjectId): boolean {
    return this.#files.seems(this.#pathOf(object) + checksumsSuffix);
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
   * The checksums of an object, of which `file` has the bytes. `undefined` where there are none: it
   * does not exist. An attribute counts, whatever file is beside: see checkpoint.ts.
   */
  readChecksums(object: ObjectId, file: OpenFile | undefined): FoundChecksums | undefined {
    const attribute = this.#attributeOf(file);
    if (attribute) {
      const sums = decodeChecksumAttribute(object, attribute) ?? "damaged";
      return { place: "attribute", sums };
    }
    const sumFile = this.#files.open(this.#pathOf(object) + checksumsSuffix);
    if (!sumFile) return undefined;
    try {
      const bytes = new Uint8Array(sumFile.lengthBytes);
      const isWhole = readFully(sumFile, bytes, 0);
      const sums = isWhole ? decodeChecksumFile(object, bytes) : undefined;
      return { place: "file", sums: sums ?? "damaged" };
    } finally {
      sumFile.close();
    }
  }

  #attributeOf(file: OpenFile | undefined): Uint8Array | undefined {
    return this.usesAttributes ? file?.attribute() : undefined;
  }

  /**
   * What they begin with, in a file unchecked: to look at very many. `undefined` where the object
   * does not exist.
   */
  peekChecksums(object: ObjectId): { lengthBytes: number; appliedLsn: number } | undefined {
    const attribute = this.#peekAttribute(object);
    if (attribute) return decodeChecksumAttribute(object, attribute) ?? unknownSums;
    const file = this.#files.open(this.#pathOf(object) + checksumsSuffix);
    if (!file) return undefined;
    try {
      const header = new Uint8Array(checksumHeaderBytes);
      readFully(file, header, 0);
      return peekChecksumFile(header);
    } finally {
      file.close();
    }
  }

  #peekAttribute(object: ObjectId): Uint8Array | undefined {
    const file = this.usesAttributes ? this.open(object) : undefined;
    try {
      return file?.attribute();
    } finally {
      file?.close();
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

  /** Deletes the files of an object. */
  async remove({ object, ino, kinds }: FilesOfObject): Promise<void> {
    const path = this.#pathOf(object);
    for (const [kind, suffix] of suffixes) {
      if (kinds.has(kind)) await this.#files.remove(path + suffix);
    }
    this.#entriesOf(prefixOf(ino)).changed();
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
   * The objects that have files in a prefix's directory, in order of their ids. Other files there are
   * none of ours.
   */
  async list(prefix: string): Promise<FilesOfObject[]> {
    const found = new Map<ObjectId, FilesOfObject & { kinds: Set<FileKind> }>();
    for (const name of await this.#files.list(`${this.#root}/${prefix}`)) {
      const file = objectOfFile(name);
      if (!file) continue;
      const { object, ino, kind } = file;
      const known = found.get(object);
      if (known) known.kinds.add(kind);
      else found.set(object, { object, ino, kinds: new Set([kind]) });
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
